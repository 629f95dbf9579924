//! What is said of an argument for people: on the pages of the Registry and in an editor.

use serde_json::Value;

/// A key of the extension `x-sampan`.
pub fn extension<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    schema.get("x-sampan")?.get(key)
}

/// The change class of an argument: its own, or else that of what it is a part of.
pub fn class<'a>(schema: &'a Value, above: &'a str) -> &'a str {
    extension(schema, "class").and_then(Value::as_str).unwrap_or(above)
}

/// The description on one line.
pub fn description(schema: &Value) -> Option<String> {
    schema.get("description").and_then(Value::as_str).map(|text| text.replace('\n', " "))
}

/// Everything that is said of an argument besides its type, as sentences. `class` is its change class, or empty.
pub fn words(schema: &Value, class: &str) -> Vec<String> {
    let mut words: Vec<String> = description(schema).into_iter().collect();
    words.extend(limits(schema));
    words.extend(default(schema));
    if let Some(target) = extension(schema, "reference").and_then(Value::as_str) {
        words.push(match schema.get("type").and_then(Value::as_str) {
            Some("array") => format!("Names of `sampan_{target}` resources that exist."),
            Some("object") => format!("Its `name` is that of a `sampan_{target}`."),
            _ => format!("Name of a `sampan_{target}` that exists."),
        });
    }
    if !class.is_empty() {
        words.push(format!("Change: `{class}`."));
    }
    if extension(schema, "remote").is_some() {
        words.push("The class may be milder: only the server knows.".into());
    }
    words
}

/// The type of an argument as the pages of the Terraform Registry write it.
pub fn type_name(schema: &Value) -> String {
    let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
    let collection = if unique { "Set" } else { "List" };
    match schema.get("type").and_then(Value::as_str) {
        _ if schema.get("properties").is_some() => "Attributes".into(),
        Some("object") => match schema.get("additionalProperties") {
            Some(below) if below.get("properties").is_some() => "Attributes Map".into(),
            Some(below) => format!("Map of {}", type_name(below)),
            None => "Map".into(),
        },
        Some("array") => match schema.get("items") {
            Some(below) if below.get("properties").is_some() => format!("Attributes {collection}"),
            Some(below) => format!("{collection} of {}", type_name(below)),
            None => collection.into(),
        },
        Some("integer" | "number") => "Number".into(),
        Some("boolean") => "Boolean".into(),
        _ => "String".into(),
    }
}

/// What a value must be, in words.
fn limits(schema: &Value) -> Vec<String> {
    let number = |key: &str| schema.get(key).and_then(Value::as_i64);
    let mut out = Vec::new();
    let mut range = |low: Option<i64>, high: Option<i64>, unit: &str| match (low, high) {
        (Some(low), Some(high)) => out.push(format!("{low} to {high}{unit}.")),
        (Some(low), None) => out.push(format!("At least {low}{unit}.")),
        (None, Some(high)) => out.push(format!("At most {high}{unit}.")),
        (None, None) => {}
    };
    range(number("minimum"), number("maximum"), "");
    range(number("minLength"), number("maxLength"), " characters");
    range(number("minItems"), number("maxItems"), " elements");
    range(number("minProperties"), number("maxProperties"), " entries");
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        out.push(format!("One of {}.", words.join(", ")));
    }
    match schema.get("pattern").and_then(Value::as_str) {
        Some(crate::name::PATTERN) => {
            out.push("A name: lower-case letters, digits and `-`, from a letter on, at most 40 characters.".into());
        }
        Some(pattern) if extension(schema, "semantic").is_none() => out.push(format!("Matches `{pattern}`.")),
        _ => {}
    }
    match extension(schema, "semantic").and_then(Value::as_str) {
        Some("quantity") => out.push("A quantity such as `500m` or `1Gi`; equal amounts are equal.".into()),
        Some("int_or_percent") => out.push("A number or a percentage, as text.".into()),
        _ => {}
    }
    out
}

fn default(schema: &Value) -> Option<String> {
    match schema.get("default")? {
        Value::Null | Value::Object(_) => None,
        value => Some(format!("Default: `{value}`.")),
    }
}
