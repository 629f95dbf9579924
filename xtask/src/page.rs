//! Pages of the Terraform Registry, in its own form: front matter, example, schema with anchors, import.

use sampan_schema::Kind;
use sampan_schema::doc::{self, extension};
use sampan_schema::report::Report;
use serde_json::{Map, Value, json};

/// Arguments of the provider block: name, type, text. The test `docs` compares them with the provider itself.
const PROVIDER: &[(&str, &str, &str)] = &[
    (
        "endpoint",
        "String",
        "URL of the server. Plain http is allowed on loopback only. Required here or as `SAMPAN_ENDPOINT`.",
    ),
    ("token", "String, Sensitive", "Token; may be ephemeral. Environment: `SAMPAN_TOKEN`."),
    (
        "token_file",
        "String",
        "File with the token, read again when the server refuses it. Environment: `SAMPAN_TOKEN_FILE`.",
    ),
    ("namespace", "String", "Namespace of resources that name none. Environment: `SAMPAN_NAMESPACE`."),
    (
        "default_labels",
        "Map of String",
        "Labels of every resource that can have some. Those of the resource win; `effective_labels` shows both.",
    ),
    (
        "retries",
        "Number",
        "Further tries of a request after connection errors and the statuses 429, 502, 503 and 504, with growing pauses \
         or those that the server asks for. 0 to 20. Default: `4`.",
    ),
    (
        "proxy",
        "String, Sensitive",
        "URL of an HTTP proxy. Environment: `SAMPAN_PROXY`, else `HTTPS_PROXY` and `NO_PROXY`. Loopback is asked directly \
         unless this is set.",
    ),
    (
        "ca_file",
        "String",
        "File with certificates (PEM) that are trusted beside those of the system. Environment: `SAMPAN_CA_FILE`.",
    ),
];

const WRITE_ONLY: &str =
    "[Write-only](https://developer.hashicorp.com/terraform/language/resources/ephemeral#write-only-arguments)";

/// Where a schema is shown: this decides about groups and about what is said of each attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Resource,
    /// Nothing is set, all is shown.
    Reading,
}

pub(crate) fn front(title: &str, description: &str) -> String {
    format!("---\npage_title: \"{title}\"\nsubcategory: \"\"\ndescription: |-\n  {description}\n---\n\n")
}

/// `docs/index.md`.
pub fn index(example: &str) -> String {
    let about = "Sampan runs container images as isolated, scalable, in-place updatable applications.";
    let mut out = front("Provider: Sampan", about);
    out += "# Sampan Provider\n\n";
    out += about;
    out += "\n\nA server for a first try is one command: `sampan dev`. It prints its address and where its token is.\n";
    out += "In the same folder, `read-only.token` may read and change nothing, which is enough for `terraform plan`.\n";
    out += "Terraform 1.11 or newer is needed, because secrets go in as write-only arguments.\n\n";
    out += &format!("## Example Usage\n\n```terraform\n{example}\n```\n\n## Schema\n\n### Optional\n\n");
    for (name, kind, text) in PROVIDER {
        out += &format!("- `{name}` ({kind}) {text}\n");
    }
    out
}

/// `docs/resources/KIND.md`.
pub fn resource(kind: &Kind, example: &str, import: &str) -> String {
    let name = format!("sampan_{}", kind.name);
    let mut out = front(&format!("{name} Resource - sampan"), kind.about);
    out += &format!("# {name} (Resource)\n\n{}\n\n", kind.about);
    out += &format!("## Example Usage\n\n```terraform\n{example}\n```\n\n## Schema\n\n");
    out += "`Change` says what a change of an attribute does to running instances: `metadata` nothing, `scale` adds or\n\
            removes some, `in_place_restart` replaces the container and keeps sandbox and address, `recreate` replaces the\n\
            sandbox, `replace` makes Terraform destroy and create.\n\n";
    let mut nested = Vec::new();
    let spec = kind.spec_schema();
    let mut required = required(spec);
    // The provider block may name it.
    required.retain(|name| name != "namespace");
    let (mut must, mut may) = (String::new(), String::new());
    for (attribute, schema) in properties(spec) {
        let at = if required.iter().any(|r| r == attribute) { &mut must } else { &mut may };
        *at += &line(attribute, schema, "metadata", &[], View::Resource, &mut nested);
    }
    let timeouts = timeouts(kind);
    if kind.has_operations() {
        may += &line("timeouts", &timeouts, "", &[], View::Resource, &mut nested);
    }
    let status = computed(kind, false);
    let mut read = String::new();
    for (attribute, schema) in properties(&status) {
        read += &line(attribute, schema, "", &[], View::Reading, &mut nested);
    }
    out += &format!("### Required\n\n{must}\n### Optional\n\n{may}\n### Read-Only\n\n{read}");
    out += &below(nested);
    out += &format!("\n## Import\n\n```shell\n{import}\n```\n");
    out
}

/// `docs/data-sources/KIND.md`.
pub fn data_source(kind: &Kind, example: &str) -> String {
    let name = format!("sampan_{}", kind.name);
    let mut out = front(&format!("{name} Data Source - sampan"), kind.about);
    out += &format!("# {name} (Data Source)\n\n{}\n\n", kind.about);
    out += &format!("## Example Usage\n\n```terraform\n{example}\n```\n\n## Schema\n\n### Required\n\n");
    let mut nested = Vec::new();
    let spec = kind.spec_schema();
    let find = |name: &str| properties(spec).find(|(key, _)| *key == name);
    if let Some((key, schema)) = find("name") {
        out += &line(key, schema, "", &[], View::Reading, &mut nested);
    }
    if let Some((key, schema)) = find("namespace") {
        out += "\n### Optional\n\n";
        out += &line(key, schema, "", &[], View::Reading, &mut nested);
    }
    out += "\n### Read-Only\n\n";
    let all = computed(kind, true);
    let rest = properties(spec)
        .filter(|(key, schema)| *key != "name" && *key != "namespace" && extension(schema, "write_only").is_none());
    for (attribute, schema) in rest.chain(properties(&all)) {
        out += &line(attribute, schema, "", &[], View::Reading, &mut nested);
    }
    out += &below(nested);
    out
}

/// `docs/data-sources/REPORT.md`.
pub fn report(report: &Report, example: &str) -> String {
    let name = format!("sampan_{}", report.name);
    let mut out = front(&format!("{name} Data Source - sampan"), report.about);
    out += &format!("# {name} (Data Source)\n\n{}\n\n", report.about);
    out += &format!("## Example Usage\n\n```terraform\n{example}\n```\n\n## Schema\n\n### Required\n\n");
    let mut nested = Vec::new();
    let (argument, about) = report.argument;
    let text = |about: &str| json!({ "type": "string", "description": about });
    let named = text(about);
    let namespace = text("Namespace of the application. Null means the provider's.");
    out += &line(argument, &named, "", &[], View::Reading, &mut nested);
    if report.namespaced {
        out += "\n### Optional\n\n";
        out += &line("namespace", &namespace, "", &[], View::Reading, &mut nested);
    }
    out += "\n### Read-Only\n\n";
    let schema = report.schema();
    for (attribute, schema) in properties(&schema).filter(|(name, _)| *name != argument) {
        out += &line(attribute, schema, "", &[], View::Reading, &mut nested);
    }
    out += &below(nested);
    out
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn required(schema: &Value) -> Vec<String> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Server attributes of an object. The state of a resource keeps what moves slowly; a data source shows all.
fn computed(kind: &Kind, volatile: bool) -> Value {
    let mut status = kind.status_schema().clone();
    if let Some(members) = status.get_mut("properties").and_then(Value::as_object_mut) {
        members.retain(|_, schema| volatile || extension(schema, "computed") != Some(&"volatile".into()));
    }
    status["description"] = "What the server observes.".into();
    let mut members = Map::new();
    let id = if kind.namespaced { "`NAMESPACE/NAME`." } else { "The name." };
    members.insert("id".into(), json!({ "type": "string", "description": id }));
    if volatile {
        let own = "Belongs to this very object; a new one of the same name has another.";
        members.insert("uid".into(), json!({ "type": "string", "description": own }));
        members.insert("create_time".into(), json!({ "type": "string", "description": "RFC 3339." }));
        let moves = json!({ "type": "string", "description": "RFC 3339; moves with `generation`." });
        members.insert("generation".into(), json!({ "type": "integer", "description": "Counts changes of the spec." }));
        members.insert("update_time".into(), moves);
    }
    if !volatile && properties(kind.spec_schema()).any(|(name, _)| name == "labels") {
        let text =
            "All labels of the object, also those of `default_labels` in the provider block; null without these.";
        let map = json!({ "type": "object", "additionalProperties": { "type": "string" }, "description": text });
        members.insert("effective_labels".into(), map);
    }
    if kind.name == "application" && !volatile {
        let text = "What the last change did to running instances; in a plan, what the change will do. Unknown where only \
                    the server can tell.";
        members.insert("last_change_class".into(), json!({ "type": "string", "description": text }));
    }
    if properties(&status).next().is_some() {
        members.insert("status".into(), status);
    }
    json!({ "type": "object", "properties": members })
}

fn timeouts(kind: &Kind) -> Value {
    let text = |seconds: u64| format!("A duration such as `90s` or `10m`. Default: `{}m`.", seconds / 60);
    let [create, update, delete] = kind.timeouts.map(text);
    json!({
        "type": "object",
        "description": "How long Terraform waits. A timeout ends the waiting, not the operation.",
        "properties": {
            "create": { "type": "string", "description": create },
            "update": { "type": "string", "description": update },
            "delete": { "type": "string", "description": delete },
        }
    })
}

/// The part of a schema that has members of its own, below a map or list if need be.
fn members(schema: &Value) -> Option<&Value> {
    [Some(schema), schema.get("additionalProperties"), schema.get("items")]
        .into_iter()
        .flatten()
        .find(|part| part.get("properties").is_some())
}

/// A part of the page that follows, with the place it belongs to.
struct Nested<'a> {
    path: Vec<String>,
    schema: &'a Value,
    class: String,
    view: View,
}

fn line<'a>(
    name: &str,
    schema: &'a Value,
    above: &str,
    path: &[String],
    view: View,
    nested: &mut Vec<Nested<'a>>,
) -> String {
    let class = doc::class(schema, above);
    let mut kind = doc::type_name(schema);
    if extension(schema, "sensitive").is_some() {
        kind += ", Sensitive";
    }
    if extension(schema, "write_only").is_some() {
        kind = format!("{kind}, {WRITE_ONLY}");
    }
    let mut words = match view {
        View::Resource => doc::words(schema, class),
        View::Reading => doc::description(schema).into_iter().collect(),
    };
    if let Some(below) = members(schema) {
        let path: Vec<String> = path.iter().cloned().chain([name.to_owned()]).collect();
        words.push(format!("(see [below for nested schema](#nestedatt--{}))", path.join("--")));
        nested.push(Nested { path, schema: below, class: class.to_owned(), view });
    }
    format!("- `{name}` ({kind}) {}\n", words.join(" ")).replace(" \n", "\n")
}

/// The nested schemas, each followed by what is below it.
fn below(nested: Vec<Nested>) -> String {
    let mut out = String::new();
    for part in nested {
        let Nested { path, schema, class, view } = part;
        out +=
            &format!("\n<a id=\"nestedatt--{}\"></a>\n### Nested Schema for `{}`\n", path.join("--"), path.join("."));
        let mut deeper = Vec::new();
        let required = required(schema);
        let mut group = |title: &str, wanted: &dyn Fn(&str) -> bool| {
            let lines: String = properties(schema)
                .filter(|(name, _)| wanted(name))
                .map(|(name, member)| line(name, member, &class, &path, view, &mut deeper))
                .collect();
            if !lines.is_empty() {
                out += &format!("\n{title}:\n\n{lines}");
            }
        };
        if view == View::Reading {
            group("Read-Only", &|_| true);
        } else {
            group("Required", &|name| required.iter().any(|r| r == name));
            group("Optional", &|name| !required.iter().any(|r| r == name));
        }
        out += &below(deeper);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_type_limits_default_and_class() {
        let schema =
            json!({ "type": "integer", "minimum": 0, "maximum": 5, "default": 1, "description": "Number\nof them." });
        let text = line("replicas", &schema, "scale", &[], View::Resource, &mut Vec::new());
        assert_eq!(text, "- `replicas` (Number) Number of them. 0 to 5. Default: `1`. Change: `scale`.\n");
    }

    #[test]
    fn every_nested_schema_that_is_named_is_there() {
        let check = |name: &str, page: &str| {
            for link in page.split("(#").skip(1) {
                let anchor = link.split(')').next().unwrap();
                assert!(page.contains(&format!("<a id=\"{anchor}\"></a>")), "{name}: {anchor}");
            }
        };
        for kind in sampan_schema::KINDS {
            check(kind.name, &resource(kind, "", ""));
            check(kind.name, &data_source(kind, ""));
        }
        for one in sampan_schema::report::REPORTS {
            check(one.name, &report(one, ""));
        }
    }

    #[test]
    fn a_write_only_member_is_on_no_data_source_page() {
        let kind = sampan_schema::kind("secret").unwrap();
        assert!(resource(kind, "", "").contains("`data_wo` (Map of String, Sensitive, [Write-only]"));
        assert!(!data_source(kind, "").contains("- `data_wo`"));
    }
}
