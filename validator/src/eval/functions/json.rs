//! JSON in both directions, byte for byte as Terraform writes it.

use super::{Call, Fault, Outcome};
use crate::eval::number::{Number, Parsed};
use crate::eval::types::Type;
use crate::eval::value::{Cause, CauseKind, Data, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

pub(super) fn jsonencode(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    if !call.fits(value.size()) {
        return Ok(call.too_large(Type::String));
    }
    Ok(Value::string(encode(value)))
}

/// The JSON of a wholly known value.
pub fn encode(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value.data() {
        Data::Null(_) | Data::Unknown(_) => out.push_str("null"),
        Data::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Data::Number(n) => {
            let _ = write!(out, "{n}");
        }
        Data::String(s) => write_string(s, out),
        Data::List(_) | Data::Set(_) | Data::Tuple(_) => {
            out.push('[');
            for (i, item) in value.as_seq().unwrap_or_default().iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Data::Map(_) | Data::Object(_) => {
            out.push('{');
            for (i, (name, item)) in value.as_dict().into_iter().flatten().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write(item, out);
            }
            out.push('}');
        }
    }
}

/// Quoted, with the characters escaped that would be dangerous in HTML or JavaScript.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

pub(super) fn jsondecode(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    if !call.fits((text.len() as u64).saturating_mul(8)) {
        return Ok(call.too_large(Type::Dynamic));
    }
    decode(text).map_err(|e| Fault::argument(0, e))
}

/// A value of the type that the JSON implies: objects and tuples.
pub fn decode(text: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    <&serde_json::value::RawValue as serde::Deserialize>::deserialize(&mut reader).map_err(|e| e.to_string()).and_then(
        |raw| {
            reader.end().map_err(|_| "extra characters after the JSON value".to_string())?;
            parse(raw.get(), 0)
        },
    )
}

/// Levels of JSON that are read; serde_json itself reads 128.
const MAX_DEPTH: usize = 100;

fn parse(raw: &str, depth: usize) -> Result<Value, String> {
    let not_analysed = |what: &str| Value::unknown(Type::Dynamic, Cause::new(CauseKind::NotAnalysed, what.to_string()));
    if depth > MAX_DEPTH {
        return Ok(not_analysed("JSON that is nested too deeply"));
    }
    let raw = raw.trim_matches([' ', '\t', '\n', '\r']);
    match raw.as_bytes().first() {
        Some(b'n') => Ok(Value::null(Type::Dynamic)),
        Some(b't') => Ok(Value::bool(true)),
        Some(b'f') => Ok(Value::bool(false)),
        Some(b'"') => serde_json::from_str::<String>(raw).map(Value::string).map_err(|e| e.to_string()),
        Some(b'[') => {
            let parts: Vec<&serde_json::value::RawValue> = serde_json::from_str(raw).map_err(|e| e.to_string())?;
            let items: Result<Vec<Value>, String> = parts.iter().map(|p| parse(p.get(), depth + 1)).collect();
            Ok(Value::tuple(items?))
        }
        Some(b'{') => {
            let Members(parts) = serde_json::from_str(raw).map_err(|e| e.to_string())?;
            let mut items: BTreeMap<Arc<str>, Value> = BTreeMap::new();
            for (name, part) in parts {
                let value = parse(part.get(), depth + 1)?;
                let name = crate::eval::value::normal_form(&name);
                if items.get(&name).is_some_and(|old| old.ty() != value.ty()) {
                    // The last one counts in Terraform 1.11; later versions refuse it.
                    return Ok(not_analysed("JSON with a repeated property"));
                }
                items.insert(name, value);
            }
            Ok(Value::object(items))
        }
        _ => match Number::parse(raw) {
            Parsed::Number(n) => Ok(Value::number(n)),
            _ => Ok(Value::unknown_not_null(
                Type::Number,
                Cause::new(CauseKind::NotAnalysed, "a number outside the range that is computed here"),
            )),
        },
    }
}

/// Members in order, also those whose name occurs twice.
struct Members<'a>(Vec<(String, &'a serde_json::value::RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Visitor)
    }
}
