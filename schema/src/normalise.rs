//! One form for documents that mean the same, driven by the declared schema.

use serde_json::{Map, Value};

use crate::{int_or_percent, quantity};

/// Removes null members at every depth: null is absence.
pub fn strip_nulls(v: &Value) -> Value {
    match v {
        Value::Object(o) => {
            Value::Object(o.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), strip_nulls(v))).collect())
        }
        Value::Array(a) => Value::Array(a.iter().map(strip_nulls).collect()),
        v => v.clone(),
    }
}

/// Defaults in force, empty collections gone (unless `empty` says that they are values), quantities in one
/// spelling, sets sorted.
pub fn normalise(schema: &Value, v: &Value) -> Value {
    walk(schema, &strip_nulls(v))
}

fn walk(schema: &Value, v: &Value) -> Value {
    if crate::check::is_unknown(v) {
        return v.clone();
    }
    match v {
        Value::Object(o) => {
            let mut out = Map::new();
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, p) in properties.into_iter().flatten() {
                let value = match (o.get(name), p.get("default")) {
                    (Some(v), _) => walk(p, v),
                    (None, Some(d)) => walk(p, d),
                    (None, None) => continue,
                };
                if !is_empty(&value) || keeps_empty(p) {
                    out.insert(name.clone(), value);
                }
            }
            let additional = schema.get("additionalProperties").unwrap_or(&Value::Null);
            for (name, v) in o.iter().filter(|(n, _)| properties.is_none_or(|p| !p.contains_key(*n))) {
                out.insert(name.clone(), walk(additional, v));
            }
            Value::Object(out)
        }
        Value::Array(a) => {
            let item = schema.get("items").unwrap_or(&Value::Null);
            let mut items: Vec<_> = a.iter().map(|v| walk(item, v)).collect();
            if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
                items.sort_by_key(crate::canonical);
                items.dedup();
            }
            Value::Array(items)
        }
        Value::String(s) => match semantic(schema) {
            Some("quantity") => quantity::canonical(s).into(),
            _ => v.clone(),
        },
        v => v.clone(),
    }
}

/// Value of `x-sampan.semantic`.
pub fn semantic(schema: &Value) -> Option<&str> {
    schema.get("x-sampan")?.get("semantic")?.as_str()
}

/// Whether two values of a property mean the same.
pub fn equal(schema: &Value, a: &Value, b: &Value) -> bool {
    walk(schema, &strip_nulls(a)) == walk(schema, &strip_nulls(b))
}

fn is_empty(v: &Value) -> bool {
    match v {
        Value::Object(o) => o.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => false,
    }
}

fn keeps_empty(schema: &Value) -> bool {
    schema.get("x-sampan").and_then(|x| x.get("empty")).is_some()
}

/// Whether `s` is an int-or-percent.
pub fn is_int_or_percent(s: &str) -> bool {
    int_or_percent::of(s, 100, true).is_some()
}
