//! Refusals of the server and of the schema, in Terraform's words.

use sampan_client::Error;
use sampan_schema::{Kind, Violation};
use serde_json::Value;
use tf_plugin::{Diagnostic, Diagnostics, Path, Step};

/// An error without a place.
pub(crate) fn plain(summary: impl Into<String>, error: &Error) -> Diagnostic {
    Diagnostic::error(summary, format!("{error}."))
}

/// The place of a field, when the kind has it; what is deeper than it knows is cut.
pub(crate) fn place(kind: &Kind, field: &str) -> Option<Path> {
    let path: Path = field.parse().ok()?;
    let Some(Step::Attr(first)) = path.steps().first() else { return None };
    kind.spec_schema().get("properties")?.get(first)?;
    Some(path)
}

/// A broken rule of the schema.
pub(crate) fn violation(kind: &Kind, v: &Violation) -> Diagnostic {
    let what = if v.field_path.is_empty() { "Configuration" } else { &v.field_path };
    Diagnostic::error(
        format!("Invalid {} of {}", what.to_lowercase(), kind.name),
        format!("{what} {} ({}).", v.message, v.rule),
    )
    .at(place(kind, &v.field_path))
}

/// What the server said about a write, each field error at its attribute.
pub(crate) fn refusal(kind: &Kind, summary: &str, error: &Error) -> Diagnostics {
    let Some(problem) = error.problem() else { return plain(summary, error).into() };
    if !problem.errors.is_empty() {
        let one = |e: &sampan_schema::problem::FieldError| {
            let detail = format!("{} {} ({}, {}).", e.field_path, e.message, problem.code, e.rule);
            Diagnostic::error(summary, detail).at(place(kind, &e.field_path))
        };
        return problem.errors.iter().map(one).collect();
    }
    let mut detail = error.to_string();
    if let Some(by) = problem.members.get("by").and_then(Value::as_array) {
        let names: Vec<String> = by.iter().map(|b| b.as_str().map_or_else(|| b.to_string(), str::to_owned)).collect();
        detail = format!("{detail}: {}", names.join(", "));
    }
    let field = problem.members.get("field_path").and_then(Value::as_str).and_then(|field| place(kind, field));
    Diagnostic::error(summary, format!("{detail}.")).at(field).into()
}

/// The object is there already: how to take it over.
pub(crate) fn already_exists(kind: &Kind, id: &str) -> Diagnostic {
    let label = id.rsplit('/').next().unwrap_or(id).replace('-', "_");
    Diagnostic::error(
        format!("{id} exists already"),
        format!(
            "There is a {} with the id {id}, and it is not in this state. To manage it here, add this block (with the \
             address of this resource) and apply again:\n\nimport {{\n  to = sampan_{}.{label}\n  id = \"{id}\"\n}}\n\n\
             Otherwise choose another name.",
            kind.name, kind.name
        ),
    )
}
