//! Values and type constraints as JSON (facts 7.1 and 7.4).
//!
//! Numbers are read from their text, so none loses a digit.

use crate::diagnostic::Diagnostic;
use crate::path::Step;
use crate::value::{DEPTH_LIMIT, Number, Object, Type, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What to do with an object whose attributes are not those of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// An error.
    Exact,
    /// Missing ones are null, others are dropped: state that an older release wrote.
    Lenient,
}

/// Reads a value of a type, numbers with all digits.
///
/// As Terraform does, a number or bool is taken where a string is needed, and the reverse when the text allows.
///
/// # Errors
/// JSON that is no value of the type, at its place.
pub fn decode(bytes: &[u8], ty: &Type, attributes: Attributes) -> Result<Value, Diagnostic> {
    read(parse(bytes)?, ty, attributes, 0)
}

/// Reads an object or null.
///
/// # Errors
/// As [`decode`].
pub fn decode_object(bytes: &[u8], ty: &Type, attributes: Attributes) -> Result<Option<Object>, Diagnostic> {
    match decode(bytes, ty, attributes)? {
        Value::Null => Ok(None),
        Value::Object(o) => Ok(Some(o)),
        other => Err(broken(format!("an object is needed, this is {}", other.kind_name()))),
    }
}

/// Writes a value of a type.
///
/// # Errors
/// An unknown or infinite value, which JSON has no form for, or one that is not of the type; at its place.
pub fn encode(value: &Value, ty: &Type) -> Result<Vec<u8>, Diagnostic> {
    let mut out = Vec::new();
    write(&mut out, value, ty)?;
    Ok(out)
}

/// Reads a type constraint such as `["list","string"]`.
///
/// # Errors
/// Text that is no type constraint, or one that is nested too deeply.
pub fn decode_type(bytes: &[u8]) -> Result<Type, Diagnostic> {
    let bad = || broken("this is not a type constraint");
    read_type(parse(bytes)?, 0).ok_or_else(bad)
}

/// Writes a type constraint.
pub fn encode_type(ty: &Type) -> Vec<u8> {
    let mut out = Vec::new();
    write_type(&mut out, ty);
    out
}

fn broken(why: impl Into<String>) -> Diagnostic {
    Diagnostic::error("JSON value cannot be read", why)
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Diagnostic> {
    serde_json::from_slice(bytes).map_err(|e| {
        // The text of the error may repeat a value; the place does not.
        broken(format!("the JSON is broken or of another shape at line {}, column {}", e.line(), e.column()))
    })
}

fn part<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn scalar<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn read_type(raw: &RawValue, depth: usize) -> Option<Type> {
    if depth > DEPTH_LIMIT {
        return None;
    }
    if raw.get().starts_with('"') {
        return match scalar::<String>(raw)?.as_str() {
            "string" => Some(Type::String),
            "number" => Some(Type::Number),
            "bool" => Some(Type::Bool),
            "dynamic" => Some(Type::Dynamic),
            _ => None,
        };
    }
    let parts: Vec<&RawValue> = part(raw)?;
    let (head, rest) = parts.split_first()?;
    let below = depth + 1;
    match (scalar::<String>(head)?.as_str(), rest) {
        ("list", [t]) => Some(Type::list(read_type(t, below)?)),
        ("set", [t]) => Some(Type::set(read_type(t, below)?)),
        ("map", [t]) => Some(Type::map(read_type(t, below)?)),
        // The names of optional attributes play no part in values.
        ("object", [attributes] | [attributes, _]) => part::<BTreeMap<String, &RawValue>>(attributes)?
            .into_iter()
            .map(|(name, t)| Some((name, read_type(t, below)?)))
            .collect::<Option<_>>()
            .map(Type::Object),
        ("tuple", [types]) => part::<Vec<&RawValue>>(types)?
            .into_iter()
            .map(|t| read_type(t, below))
            .collect::<Option<_>>()
            .map(Type::Tuple),
        _ => None,
    }
}

fn write_type(out: &mut Vec<u8>, ty: &Type) {
    let mut wrap = |name: &str, element: &Type| {
        out.extend_from_slice(format!("[\"{name}\",").as_bytes());
        write_type(out, element);
        out.push(b']');
    };
    match ty {
        Type::String => out.extend_from_slice(br#""string""#),
        Type::Number => out.extend_from_slice(br#""number""#),
        Type::Bool => out.extend_from_slice(br#""bool""#),
        Type::Dynamic => out.extend_from_slice(br#""dynamic""#),
        Type::List(t) => wrap("list", t),
        Type::Set(t) => wrap("set", t),
        Type::Map(t) => wrap("map", t),
        Type::Object(attributes) => {
            out.extend_from_slice(br#"["object",{"#);
            for (i, (name, t)) in attributes.iter().enumerate() {
                comma(out, i);
                write_text(out, name);
                out.push(b':');
                write_type(out, t);
            }
            out.extend_from_slice(b"}]");
        }
        Type::Tuple(types) => {
            out.extend_from_slice(br#"["tuple",["#);
            for (i, t) in types.iter().enumerate() {
                comma(out, i);
                write_type(out, t);
            }
            out.extend_from_slice(b"]]");
        }
    }
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    ty: &'a RawValue,
    #[serde(borrow)]
    value: &'a RawValue,
}

fn read(raw: &RawValue, ty: &Type, attributes: Attributes, depth: usize) -> Result<Value, Diagnostic> {
    if depth > DEPTH_LIMIT {
        return Err(broken("the value is nested too deeply"));
    }
    let text = raw.get();
    if text == "null" {
        return Ok(Value::Null);
    }
    let below = depth + 1;
    let misfit = || broken(format!("a value of type {ty} is needed, this is {}", json_name(text)));
    let array = || part::<Vec<&RawValue>>(raw).ok_or_else(misfit);
    let map = || part::<BTreeMap<String, &RawValue>>(raw).ok_or_else(misfit);
    let some_element = || Step::Element(Box::new(Value::UNKNOWN));
    match ty {
        Type::String => match text.as_bytes().first() {
            Some(b'"') => scalar::<String>(raw).map(Value::String).ok_or_else(misfit),
            Some(b'[' | b'{') | None => Err(misfit()),
            Some(_) => Ok(Value::from(text)),
        },
        Type::Number => match scalar::<String>(raw) {
            Some(quoted) => Number::parse(&quoted),
            None => Number::parse(text),
        }
        .map(Value::Number)
        .map_err(|_| misfit()),
        Type::Bool => match text {
            "true" | "\"true\"" => Ok(Value::Bool(true)),
            "false" | "\"false\"" => Ok(Value::Bool(false)),
            _ => Err(misfit()),
        },
        Type::List(t) => array()?
            .into_iter()
            .enumerate()
            .map(|(i, raw)| read(raw, t, attributes, below).map_err(|d| d.within(Step::Index(i))))
            .collect::<Result<_, _>>()
            .map(Value::List),
        Type::Set(t) => array()?
            .into_iter()
            .map(|raw| read(raw, t, attributes, below).map_err(|d| d.within(some_element())))
            .collect::<Result<_, _>>()
            .map(Value::Set),
        Type::Tuple(types) => {
            let parts = array()?;
            if parts.len() != types.len() {
                return Err(misfit());
            }
            let parts = parts.into_iter().zip(types).enumerate();
            parts
                .map(|(i, (raw, t))| read(raw, t, attributes, below).map_err(|d| d.within(Step::Index(i))))
                .collect::<Result<_, _>>()
                .map(Value::Tuple)
        }
        Type::Map(t) => map()?
            .into_iter()
            .map(|(k, raw)| match read(raw, t, attributes, below) {
                Ok(v) => Ok((k, v)),
                Err(d) => Err(d.within(Step::Key(k))),
            })
            .collect::<Result<_, _>>()
            .map(Value::Map),
        Type::Object(types) => {
            let parts = map()?;
            if attributes == Attributes::Exact
                && let Some(extra) = parts.keys().find(|k| !types.contains_key(*k))
            {
                return Err(broken("the schema has no such attribute").within(Step::Attr(extra.clone())));
            }
            let mut object = Object::new();
            for (name, t) in types {
                let at = |d: Diagnostic| d.within(Step::Attr(name.clone()));
                let value = match parts.get(name) {
                    Some(raw) => read(raw, t, attributes, below).map_err(at)?,
                    None if attributes == Attributes::Lenient => Value::Null,
                    None => return Err(at(broken("the attribute is missing"))),
                };
                object.set(name.clone(), value);
            }
            Ok(Value::Object(object))
        }
        Type::Dynamic => {
            let typed: Typed<'_> = part(raw).ok_or_else(misfit)?;
            let inner = read_type(typed.ty, 0).ok_or_else(|| broken("a dynamic value has no valid type"))?;
            let value = read(typed.value, &inner, attributes, below)?;
            Ok(Value::Dynamic(inner, Box::new(value)))
        }
    }
}

fn json_name(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "a bool",
        _ => "a number",
    }
}

fn comma(out: &mut Vec<u8>, i: usize) {
    if i > 0 {
        out.push(b',');
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string always has a JSON form, and a Vec takes every byte");
}

fn write(out: &mut Vec<u8>, value: &Value, ty: &Type) -> Result<(), Diagnostic> {
    let none = |what: &str| Diagnostic::error("Value has no JSON form", format!("JSON cannot hold {what} value."));
    match (value, ty) {
        (Value::Null, _) => out.extend_from_slice(b"null"),
        (Value::Unknown(_), _) => return Err(none("an unknown")),
        (Value::String(s), Type::String) => write_text(out, s),
        (Value::Number(n), Type::Number) if n.is_finite() => out.extend_from_slice(n.to_string().as_bytes()),
        (Value::Number(_), Type::Number) => return Err(none("an infinite")),
        (Value::Bool(b), Type::Bool) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        (Value::List(elements), Type::List(t)) => write_elements(out, elements.iter().map(|v| (v, t.as_ref())))?,
        (Value::Set(elements), Type::Set(t)) => write_elements(out, elements.iter().map(|v| (v, t.as_ref())))?,
        (Value::Tuple(elements), Type::Tuple(types)) if elements.len() == types.len() => {
            write_elements(out, elements.iter().zip(types))?;
        }
        (Value::Map(elements), Type::Map(t)) => {
            out.push(b'{');
            for (i, (key, v)) in elements.iter().enumerate() {
                comma(out, i);
                write_text(out, key);
                out.push(b':');
                write(out, v, t).map_err(|d| d.within(Step::Key(key.clone())))?;
            }
            out.push(b'}');
        }
        (Value::Object(o), Type::Object(types)) => {
            if let Some((extra, _)) = o.iter().find(|(k, _)| !types.contains_key(*k)) {
                return Err(broken("the schema has no such attribute").within(Step::Attr(extra.to_owned())));
            }
            out.push(b'{');
            for (i, (name, t)) in types.iter().enumerate() {
                comma(out, i);
                write_text(out, name);
                out.push(b':');
                let at = |d: Diagnostic| d.within(Step::Attr(name.clone()));
                let v = o.get(name).ok_or_else(|| at(broken("the attribute is missing")))?;
                write(out, v, t).map_err(at)?;
            }
            out.push(b'}');
        }
        (Value::Dynamic(inner, v), Type::Dynamic) => {
            out.extend_from_slice(br#"{"type":"#);
            write_type(out, inner);
            out.extend_from_slice(br#","value":"#);
            write(out, v, inner)?;
            out.push(b'}');
        }
        (v, t) => return Err(broken(format!("a value of type {t} is needed, this is {}", v.kind_name()))),
    }
    Ok(())
}

fn write_elements<'a>(
    out: &mut Vec<u8>,
    elements: impl Iterator<Item = (&'a Value, &'a Type)>,
) -> Result<(), Diagnostic> {
    out.push(b'[');
    for (i, (v, t)) in elements.enumerate() {
        comma(out, i);
        write(out, v, t).map_err(|d| d.within(Step::Index(i)))?;
    }
    out.push(b']');
    Ok(())
}
