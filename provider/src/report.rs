//! Refusals of the server and of the schema, in Terraform's words.

use sampan_client::Error;
use sampan_schema::{Kind, Violation};
use serde_json::Value;
use tf_plugin::{Diagnostic, Diagnostics, Path, Step, path};

/// An error without a place.
pub(crate) fn plain(summary: impl Into<String>, error: &Error) -> Diagnostic {
    Diagnostic::error(summary, format!("{error}."))
}

/// Why the server cannot be worked with at all; `token` is where the token came from.
pub(crate) fn unusable(error: &Error, token: Option<&str>) -> Diagnostic {
    const TOKEN: &str = "Set token_file or token in this block, or the variable SAMPAN_TOKEN_FILE or SAMPAN_TOKEN. \
                         `sampan dev` names its token_file in the line with which it is ready.";
    match (error, token) {
        (Error::Connection { .. }, _) => Diagnostic::error(
            "The server cannot be reached",
            format!(
                "{error}.\n\nStart it, for example with `sampan dev --data-dir DIR`, or correct endpoint in this block \
                 or the variable SAMPAN_ENDPOINT."
            ),
        )
        .at(path!("endpoint")),
        (Error::Version { .. }, _) => plain("Server and provider do not fit", error).at(path!("endpoint")),
        (Error::Settings(_), _) => plain("Provider cannot be configured", error),
        (Error::Problem(problem), None) if problem.status == 401 => {
            Diagnostic::error("The server wants a token", format!("No token is set. {TOKEN}"))
        }
        (Error::Problem(problem), Some(token)) if problem.status == 401 => Diagnostic::error(
            "The server refuses the token",
            format!("It does not know the token from {token}: is it one of this server? {TOKEN}"),
        ),
        _ => Diagnostic::error(
            "The server cannot be used",
            format!("{error}.\n\nIs endpoint the address of the API of a Sampan server?"),
        )
        .at(path!("endpoint")),
    }
}

/// What the server thinks of a plan. Its text begins with the path of the field that it is about, if it is about one.
pub(crate) fn warning(kind: &Kind, id: &str, text: &str) -> Diagnostic {
    let about = text.split_once(": ").and_then(|(field, rest)| Some((field, rest, place(kind, field)?)));
    match about {
        Some((field, rest, path)) => {
            Diagnostic::warning(format!("The server doubts {field} of {id}"), format!("{rest}.")).at(path)
        }
        None => Diagnostic::warning(format!("The server about {id}"), format!("{text}.")),
    }
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
            let detail = format!("{}: {} ({}, {}).", e.field_path, e.message, problem.code, e.rule);
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
