//! From objects to Terraform configuration, by the schema alone: every kind goes the same way.

use std::collections::BTreeSet;

use sampan_client::Object;
use sampan_schema::{KINDS, Kind, normalise};
use serde_json::{Map, Value, json};

use super::hcl::{Block, Expr, quoted};
use crate::output::plain;

/// The start of every configuration: the oldest Terraform with write-only arguments, and the provider.
const HEAD: &str = r#"terraform {
  required_version = ">= 1.11"
  required_providers {
    sampan = {
      source = "sampan/sampan"
    }
  }
}

# The address and the token of the server come from SAMPAN_ENDPOINT and SAMPAN_TOKEN_FILE.
provider "sampan" {}
"#;

/// A file of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub text: String,
}

/// The files, in the order in which they are read best. Only files that say something.
///
/// `objects` are those of one namespace, and the namespace. The order in which they come does not matter.
pub fn files(objects: &[(&'static Kind, Object)]) -> Vec<File> {
    let mut objects: Vec<&(&'static Kind, Object)> = objects.iter().collect();
    objects.sort_by_key(|(kind, object)| (rank(kind.name), name(object)));
    let known: BTreeSet<(&str, &str)> = objects.iter().map(|(kind, object)| (kind.name, name(object))).collect();
    let variables = objects.iter().flat_map(|(kind, object)| variables(kind, object)).collect();
    let mut parts = vec![("main".to_owned(), HEAD.to_owned()), ("variables".to_owned(), joined(variables))];
    for kind in KINDS {
        let of_kind = objects.iter().filter(|(of, _)| of.name == kind.name);
        let resources = of_kind.map(|(kind, object)| resource(kind, object, &known)).collect();
        parts.push((kind.collection.replace('-', "_"), joined(resources)));
    }
    parts.push(("imports".to_owned(), joined(objects.iter().map(|(kind, object)| import(kind, object)).collect())));
    let said = parts.into_iter().filter(|(_, text)| !text.is_empty());
    said.map(|(name, text)| File { name: format!("{name}.tf"), text }).collect()
}

/// Every name that a file can have.
pub fn file_names() -> impl Iterator<Item = String> {
    let kinds = KINDS.iter().map(|kind| kind.collection.replace('-', "_"));
    let names = ["main", "variables", "imports"].map(str::to_owned).into_iter().chain(kinds);
    names.map(|name| format!("{name}.tf"))
}

fn joined(blocks: Vec<Block>) -> String {
    blocks.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The place of a kind in the order in which kinds depend on each other.
fn rank(kind: &str) -> usize {
    KINDS.iter().position(|of| of.name == kind).unwrap_or(KINDS.len())
}

fn name(object: &Object) -> &str {
    object.get("name").as_str().unwrap_or_default()
}

/// The name in Terraform. Names of objects have no `_`, so two never meet.
fn label(name: &str) -> String {
    name.replace('-', "_")
}

fn address(kind: &Kind, object: &Object) -> String {
    format!("sampan_{}.{}", kind.name, label(name(object)))
}

fn resource(kind: &'static Kind, object: &Object, known: &BTreeSet<(&str, &str)>) -> Block {
    let mut spec = object.spec(kind);
    if let Some(labels) = spec.get_mut("labels").and_then(Value::as_object_mut) {
        // The server's own; nobody else may write them.
        labels.retain(|key, _| !key.starts_with("sampan."));
    }
    let writer = Writer { below: rank(kind.name), known };
    let mut attributes = Vec::new();
    for (property, schema) in properties(kind.spec_schema()) {
        if is_write_only(schema) {
            attributes.push((property.clone(), Expr::Raw(format!("var.{}", variable(kind, object, property)))));
        } else if let Some(value) = writer.member(kind.spec_schema(), (property, schema), &spec) {
            attributes.push((property.clone(), value));
        }
    }
    let head = format!("resource \"sampan_{}\" {}", kind.name, quoted(&label(name(object))));
    Block { comment: Vec::new(), head, attributes }
}

/// `import` takes what the provider calls the id.
fn import(kind: &Kind, object: &Object) -> Block {
    let namespace = object.get("namespace").as_str().unwrap_or_default();
    let to = ("to".to_owned(), Expr::Raw(address(kind, object)));
    let id = ("id".to_owned(), Expr::Text(kind.id(namespace, name(object))));
    Block { comment: Vec::new(), head: "import".to_owned(), attributes: vec![to, id] }
}

/// One variable for each property whose values nobody can read.
fn variables(kind: &Kind, object: &Object) -> Vec<Block> {
    let hidden = properties(kind.spec_schema()).filter(|(_, schema)| is_write_only(schema));
    let word = |text: &str| Expr::Raw(text.to_owned());
    let block = |(property, schema): (&String, &Value)| {
        let what = format!("{property} of {}", address(kind, object));
        let mut comment = vec![
            "The server does not show these values. Null keeps what it has; anything else is sent when wo_version is raised."
                .to_owned(),
            "An object that is made anew needs them.".to_owned(),
        ];
        let keys = object.status().get("keys").and_then(Value::as_array);
        let keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
        if !keys.is_empty() {
            comment.push(format!("Its keys: {}.", plain(&keys.join(", "))));
        }
        let attributes = [
            ("description", Expr::Text(what)),
            ("type", Expr::Raw(type_of(schema))),
            ("sensitive", word("true")),
            ("ephemeral", word("true")),
            ("default", word("null")),
        ];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
        Block { comment, head: format!("variable {}", quoted(&variable(kind, object, property))), attributes }
    };
    hidden.map(block).collect()
}

/// `secret_keys_data` for `data_wo` of the secret `keys`.
fn variable(kind: &Kind, object: &Object, property: &str) -> String {
    format!("{}_{}_{}", kind.name, label(name(object)), property.trim_end_matches("_wo"))
}

/// The type constraint of a variable.
fn type_of(schema: &Value) -> String {
    let inner = |key: &str| type_of(schema.get(key).unwrap_or(&Value::Null));
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => "bool".to_owned(),
        Some("integer" | "number") => "number".to_owned(),
        Some("array") if is_set(schema) => format!("set({})", inner("items")),
        Some("array") => format!("list({})", inner("items")),
        Some("object") if properties(schema).next().is_some() => "any".to_owned(),
        Some("object") => format!("map({})", inner("additionalProperties")),
        _ => "string".to_owned(),
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn hint<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema.get("x-sampan")?.get(key)
}

fn is_write_only(schema: &Value) -> bool {
    hint(schema, "write_only") == Some(&Value::Bool(true))
}

fn is_set(schema: &Value) -> bool {
    schema.get("uniqueItems") == Some(&Value::Bool(true))
}

fn is_required(schema: &Value, property: &str) -> bool {
    let mut required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    required.any(|name| name == property)
}

/// Whether absence says the same, as the provider sees it: a missing scalar is its default, and a missing collection is
/// one of defaults.
fn is_implied(schema: &Value, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(_) | Value::Array(_) => {
            let whole = json!({ "type": "object", "properties": { "it": schema } });
            normalise::equal(&whole, &json!({}), &json!({ "it": value }))
        }
        Value::Number(number) => {
            let default = schema.get("default").and_then(Value::as_f64);
            default.is_some() && default == number.as_f64()
        }
        scalar => schema.get("default") == Some(scalar),
    }
}

/// Writes values of one resource.
struct Writer<'a> {
    /// Kinds before this one may be referred to: they never refer back.
    below: usize,
    /// Kind and name of what is in the configuration.
    known: &'a BTreeSet<(&'a str, &'a str)>,
}

impl Writer<'_> {
    /// A member of an object; nothing where absence says the same.
    fn member(&self, of: &Value, (property, schema): (&str, &Value), object: &Value) -> Option<Expr> {
        let value = object.get(property).filter(|value| !value.is_null())?;
        let written = is_required(of, property) || !is_implied(schema, value);
        written.then(|| self.value(schema, None, value))
    }

    /// `named` is the kind that a text is the name of.
    fn value(&self, schema: &Value, named: Option<&str>, value: &Value) -> Expr {
        let named = hint(schema, "reference").and_then(Value::as_str).or(named);
        match value {
            Value::Array(elements) => {
                let of = schema.get("items").unwrap_or(&Value::Null);
                let mut elements: Vec<&Value> = elements.iter().collect();
                if is_set(schema) {
                    elements.sort_by_key(sampan_schema::canonical);
                }
                Expr::List(elements.into_iter().map(|element| self.value(of, named, element)).collect())
            }
            Value::Object(members) if properties(schema).next().is_some() => {
                let written = properties(schema).filter_map(|(property, below)| {
                    let below = named.filter(|_| property == "name").map_or_else(
                        || self.member(schema, (property, below), value),
                        |kind| members.get(property).map(|name| self.value(below, Some(kind), name)),
                    );
                    Some((property.clone(), below?))
                });
                Expr::Object(written.collect())
            }
            Value::Object(entries) => self.entries(schema, entries),
            Value::String(text) => self.text(named, text),
            Value::Number(number) => Expr::Raw(number_text(number)),
            // An attribute of text, whatever the server sends.
            Value::Null | Value::Bool(_) => Expr::Raw(value.to_string()),
        }
    }

    /// A map, by key.
    fn entries(&self, schema: &Value, entries: &Map<String, Value>) -> Expr {
        let of = schema.get("additionalProperties").unwrap_or(&Value::Null);
        let mut entries: Vec<(&String, &Value)> = entries.iter().filter(|(_, value)| !value.is_null()).collect();
        entries.sort_by_key(|(key, _)| *key);
        Expr::Object(entries.into_iter().map(|(key, value)| (key.clone(), self.value(of, None, value))).collect())
    }

    /// A name becomes a reference when what it names is here, so that Terraform sees the order.
    fn text(&self, named: Option<&str>, text: &str) -> Expr {
        match named.filter(|kind| rank(kind) < self.below && self.known.contains(&(*kind, text))) {
            Some(kind) => Expr::Raw(format!("sampan_{kind}.{}.name", label(text))),
            None => Expr::Text(text.to_owned()),
        }
    }
}

/// A number without a fraction that says nothing.
fn number_text(number: &serde_json::Number) -> String {
    let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15);
    match (number.is_f64(), whole) {
        (true, Some(n)) => (n as i64).to_string(),
        _ => number.to_string(),
    }
}
