//! Checks a document against the declared JSON Schema: types, names, bounds. Reports everything, with paths.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use regex_lite::Regex;
use serde_json::{Map, Value, json};

use crate::violation::Violation;
use crate::{image_ref, normalise, quantity};

/// The marker of a value that is not known yet (a plan's unknown). It satisfies every rule.
pub fn unknown() -> Value {
    json!({ "$unknown": true })
}

/// Whether `v` is [`unknown`].
pub fn is_unknown(v: &Value) -> bool {
    v.as_object().is_some_and(|o| o.len() == 1 && o.contains_key("$unknown"))
}

/// Whether anything in `v` is unknown.
pub fn has_unknown(v: &Value) -> bool {
    is_unknown(v)
        || match v {
            Value::Object(o) => o.values().any(has_unknown),
            Value::Array(a) => a.iter().any(has_unknown),
            _ => false,
        }
}

/// Every place where `v` does not fit `schema`. Null members count as absent.
pub fn check(schema: &Value, v: &Value) -> Vec<Violation> {
    let mut out = Vec::new();
    walk(schema, v, "", false, &mut out);
    out
}

/// The patterns of the schemas are few, so each is compiled once. One that does not compile matches nothing.
fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: LazyLock<RwLock<HashMap<String, Option<Regex>>>> = LazyLock::new(RwLock::default);
    let is_match = |compiled: &Option<Regex>| compiled.as_ref().is_some_and(|regex| regex.is_match(text));
    if let Some(known) = COMPILED.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
        return is_match(known);
    }
    let compiled = Regex::new(pattern).ok();
    let found = is_match(&compiled);
    COMPILED.write().unwrap_or_else(PoisonError::into_inner).insert(pattern.to_owned(), compiled);
    found
}

/// `hidden`: the value is secret, so no message repeats it.
fn walk(schema: &Value, v: &Value, path: &str, hidden: bool, out: &mut Vec<Violation>) {
    let hidden = hidden || schema.get("x-sampan").is_some_and(|x| x.get("sensitive") == Some(&Value::Bool(true)));
    if is_unknown(v) {
        return;
    }
    let mut say = |rule: &str, message: String| out.push(Violation::new(path, rule, message));
    if let Some(Value::Array(allowed)) = schema.get("enum") {
        if !allowed.contains(v) {
            let list: Vec<_> = allowed.iter().map(|a| a.to_string()).collect();
            say("SMP003", format!("is {v}, want one of {}", list.join(", ")));
        }
        return;
    }
    let want = schema.get("type").and_then(Value::as_str).unwrap_or("");
    let fits = match want {
        "string" => v.is_string(),
        "integer" => v.is_i64() || v.is_u64(),
        "number" => v.is_number(),
        "boolean" => v.is_boolean(),
        "array" => v.is_array(),
        "object" => v.is_object(),
        _ => true,
    };
    if !fits {
        let is = if hidden { "has the wrong type".to_owned() } else { format!("is {v}") };
        say("SMP002", format!("{is}, want {} {want}", if want.starts_with(['i', 'a', 'o']) { "an" } else { "a" }));
        return;
    }
    let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
    match v {
        Value::String(s) => {
            let n = s.chars().count() as f64;
            if limit("minLength").is_some_and(|m| n < m) || limit("maxLength").is_some_and(|m| n > m) {
                let bound = |k| schema.get(k).map_or_else(|| "any".to_owned(), Value::to_string);
                say("SMP005", format!("has {n} characters, want {} to {}", bound("minLength"), bound("maxLength")));
            }
            if let Some(p) = schema.get("pattern").and_then(Value::as_str)
                && !matches(p, s)
            {
                say("SMP004", format!("is {s:?}, want {}", describe(p)));
            }
            match normalise::semantic(schema) {
                Some("quantity") => quantity(schema, s, &mut say),
                Some("image_ref") => {
                    if let Err(e) = image_ref::parse(s) {
                        say("SMP020", format!("{s:?} {e}"));
                    }
                }
                _ => {}
            }
        }
        Value::Number(n) => {
            let n = n.as_f64().unwrap_or(f64::NAN);
            if limit("minimum").is_some_and(|m| n < m) || limit("maximum").is_some_and(|m| n > m) {
                let bound = |k| schema.get(k).map_or_else(|| "any".to_owned(), Value::to_string);
                say("SMP006", format!("is {v}, want {} to {}", bound("minimum"), bound("maximum")));
            }
        }
        Value::Array(items) => {
            let n = items.len() as f64;
            if limit("minItems").is_some_and(|m| n < m) || limit("maxItems").is_some_and(|m| n > m) {
                say("SMP007", format!("has {n} entries, above or below the limit"));
            }
            if let Some(item) = schema.get("items") {
                for (i, x) in items.iter().enumerate() {
                    walk(item, x, &format!("{path}[{i}]"), hidden, out);
                }
            }
        }
        Value::Object(o) => object(schema, o, path, hidden, out),
        _ => {}
    }
}

/// An amount within `x-sampan.range`, `[least, most]`.
fn quantity(schema: &Value, s: &str, say: &mut dyn FnMut(&str, String)) {
    let Some(range) = schema.pointer("/x-sampan/range").and_then(Value::as_array) else { return };
    let bound = |i: usize| range.get(i).and_then(Value::as_str).unwrap_or_default();
    let (least, most) = (bound(0), bound(1));
    match quantity::millis(s) {
        None => say("SMP016", format!("{s:?} is no quantity: write for example {least}, or up to {most}")),
        Some(amount) => {
            if quantity::millis(least).is_some_and(|m| amount < m) || quantity::millis(most).is_some_and(|m| amount > m)
            {
                say("SMP017", format!("{s:?} is outside {least} to {most}"));
            }
        }
    }
}

fn object(schema: &Value, o: &Map<String, Value>, path: &str, hidden: bool, out: &mut Vec<Violation>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let present = |name: &str| o.get(name).is_some_and(|v| !v.is_null());
    if let Some(m) = schema.get("maxProperties").and_then(Value::as_u64)
        && o.len() as u64 > m
    {
        out.push(Violation::new(path, "SMP007", format!("has {} entries, the limit is {m}", o.len())));
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !present(name) {
            out.push(Violation::new(join(name), "SMP001", "is required"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    for (name, v) in o.iter().filter(|(_, v)| !v.is_null()) {
        match (properties.and_then(|p| p.get(name)), additional) {
            (Some(p), _) => walk(p, v, &join(name), hidden, out),
            (None, Some(Value::Bool(false))) => {
                let known: Vec<_> = properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default();
                out.push(Violation::new(
                    join(name),
                    "SMP008",
                    format!("is no attribute here: there are {}", known.join(", ")),
                ));
            }
            (None, Some(value)) => walk(value, v, &format!("{path}[{name:?}]"), hidden, out),
            (None, None) => {}
        }
    }
}

fn describe(pattern: &str) -> String {
    match pattern {
        crate::name::PATTERN => {
            "a name: 1 to 40 lower-case letters, digits and \"-\", beginning with a letter, not ending in \"-\"".into()
        }
        crate::int_or_percent::PATTERN => "a number or a percentage, such as 2 or 25%".into(),
        "^/" => "something that begins with \"/\"".into(),
        p => format!("a match of {p}"),
    }
}
