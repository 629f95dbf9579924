//! Registry pages of what the provider has beside resources and data sources: functions, ephemeral resources, actions and
//! lists. Made from the provider's own definitions.

use std::collections::BTreeMap;

use tf_plugin::{Attr, Catalogue, FunctionDef, Kind, Parameter, Schema, Type};

use crate::page::front;

/// Reads `examples/` of the repository.
pub type Example<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// The pages, by their path in the repository.
///
/// # Errors
/// An example that is missing.
pub fn pages(example: Example<'_>) -> Result<BTreeMap<String, String>, String> {
    let all = Catalogue::of(&terraform_provider_sampan::Sampan);
    let mut pages = BTreeMap::new();
    for (name, definition) in &all.functions {
        let shown = example(&format!("examples/functions/{name}/function.tf"))?;
        pages.insert(format!("docs/functions/{name}.md"), function(name, definition, &shown));
    }
    for (name, schema) in &all.ephemeral_resources {
        let shown = example(&format!("examples/ephemeral-resources/{name}/ephemeral-resource.tf"))?;
        let text = typed(name, "Ephemeral Resource", schema, &shown, "Terraform 1.11 or newer is needed.");
        pages.insert(format!("docs/ephemeral-resources/{}.md", short(name)), text);
    }
    for (name, schema) in &all.actions {
        let call = format!(
            "Terraform 1.14 or newer is needed. `terraform apply -invoke=action.{name}.cart` runs it alone; \
             `action_trigger` in the `lifecycle` of a resource runs it with a change."
        );
        pages.insert(format!("docs/actions/{}.md", short(name)), typed(name, "Action", schema, &action(name), &call));
    }
    for (name, schema) in &all.list_resources {
        let call = "Terraform 1.14 or newer is needed. The block belongs into a file `NAME.tfquery.hcl`; `terraform query` \
                    runs it, and with `-generate-config-out=FILE` writes configuration and `import` blocks.";
        let text = typed(name, "List Resource", schema, &list(name, schema), call);
        pages.insert(format!("docs/list-resources/{}.md", short(name)), text);
    }
    Ok(pages)
}

fn short(name: &str) -> &str {
    name.trim_start_matches("sampan_")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn function(name: &str, definition: &FunctionDef, example: &str) -> String {
    let mut out = front(&format!("{name} function - sampan"), &definition.summary);
    out += &format!("# function: {name}\n\n{}\n\n", one_line(&definition.description));
    out += &format!("## Example Usage\n\n```terraform\n{example}\n```\n\n## Signature\n\n");
    let all = definition.parameters.iter().map(|p| format!("{} {}", p.name, word(&p.ty)));
    let rest = definition.variadic.iter().map(|p| format!("{} {}...", p.name, word(&p.ty)));
    let arguments: Vec<String> = all.chain(rest).collect();
    out += &format!("```text\n{name}({}) {}\n```\n\n", arguments.join(", "), word(&definition.returns));
    out += "## Arguments\n\n";
    let numbered =
        definition.parameters.iter().map(|p| (p, "")).chain(definition.variadic.iter().map(|p| (p, "Variadic, ")));
    for (parameter, how) in numbered {
        out += &format!(
            "1. `{}` ({how}{}{}) {}\n",
            parameter.name,
            typename(&parameter.ty),
            null(parameter),
            one_line(&parameter.description)
        );
    }
    out += &format!("\n## Return Type\n\n{}\n", typename(&definition.returns));
    out
}

fn null(parameter: &Parameter) -> &'static str {
    if parameter.allow_null { ", Nullable" } else { "" }
}

fn typed(name: &str, what: &str, schema: &Schema, example: &str, call: &str) -> String {
    let about = one_line(&schema.body.description);
    let mut out = front(&format!("{name} {what} - sampan"), &about);
    out += &format!("# {name} ({what})\n\n{about}\n\n{call}\n\n");
    out += &format!("## Example Usage\n\n```terraform\n{example}\n```\n\n## Schema\n");
    let groups: [(&str, fn(&Attr) -> bool); 3] =
        [("Required", |a| a.required), ("Optional", |a| a.optional), ("Read-Only", |a| !a.required && !a.optional)];
    if schema.body.attrs.is_empty() {
        out += "\nThere are no arguments.\n";
    }
    for (title, belongs) in groups {
        let lines: String = schema.body.attrs.iter().filter(|attr| belongs(attr)).map(line).collect();
        if !lines.is_empty() {
            out += &format!("\n### {title}\n\n{lines}");
        }
    }
    out
}

fn line(attr: &Attr) -> String {
    let sensitive = if attr.sensitive { ", Sensitive" } else { "" };
    format!("- `{}` ({}{sensitive}) {}\n", attr.name, typename(&attr.wire_type()), one_line(&attr.description))
}

/// As the Registry names a type on a page.
fn typename(ty: &Type) -> String {
    match ty {
        Type::String => "String".into(),
        Type::Number => "Number".into(),
        Type::Bool => "Boolean".into(),
        Type::Dynamic => "Dynamic".into(),
        Type::List(of) => format!("List of {}", typename(of)),
        Type::Set(of) => format!("Set of {}", typename(of)),
        Type::Map(of) => format!("Map of {}", typename(of)),
        Type::Object(of) => {
            let members: Vec<String> = of.iter().map(|(name, ty)| format!("{name}: {}", typename(ty))).collect();
            format!("Object({})", members.join(", "))
        }
        Type::Tuple(of) => format!("Tuple({})", of.iter().map(typename).collect::<Vec<_>>().join(", ")),
    }
}

/// As the Registry names a type in a signature.
fn word(ty: &Type) -> String {
    match ty {
        Type::List(of) => format!("list of {}", word(of)),
        Type::Set(of) => format!("set of {}", word(of)),
        Type::Map(of) => format!("map of {}", word(of)),
        Type::Object(_) => "object".into(),
        Type::Bool => "bool".into(),
        other => typename(other).to_lowercase(),
    }
}

/// An action has no example of its own: all are told alike.
fn action(name: &str) -> String {
    format!("action \"{name}\" \"cart\" {{\n  config {{\n    namespace = \"shop\"\n    name      = \"cart\"\n  }}\n}}")
}

fn list(name: &str, schema: &Schema) -> String {
    let namespaced = schema.body.attrs.iter().any(|attr| attr.name == "namespace" && matches!(attr.kind, Kind::String));
    let config = if namespaced { "\n  config {\n    namespace = \"shop\"\n  }" } else { "" };
    format!("list \"{name}\" \"all\" {{\n  provider = sampan{config}\n}}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end at once")]

    use super::*;

    #[test]
    fn everything_that_the_provider_offers_has_a_page_with_every_argument() {
        let pages = pages(&|_| Ok("EXAMPLE".into())).unwrap();
        let all = Catalogue::of(&terraform_provider_sampan::Sampan);
        let counts = [
            ("docs/functions/", all.functions.len()),
            ("docs/ephemeral-resources/", all.ephemeral_resources.len()),
            ("docs/actions/", all.actions.len()),
            ("docs/list-resources/", all.list_resources.len()),
        ];
        for (folder, wanted) in counts {
            assert!(wanted > 0, "{folder}");
            assert_eq!(pages.keys().filter(|path| path.starts_with(folder)).count(), wanted, "{folder}");
        }
        let page = &pages["docs/functions/canary_steps.md"];
        assert!(page.contains("canary_steps(pause_seconds number, weight_percent number...) list of object"), "{page}");
        assert!(page.contains("1. `weight_percent` (Variadic, Number)"), "{page}");
        let page = &pages["docs/ephemeral-resources/api_token.md"];
        assert!(page.contains("- `token` (String, Sensitive)") && page.contains("### Read-Only"), "{page}");
        for (path, page) in &pages {
            assert!(
                !page.contains("  \n") && !page.contains(") \n"),
                "{path} has an attribute without a text:\n{page}"
            );
        }
    }
}
