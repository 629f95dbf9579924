//! Values and type constraints as JSON (facts 7.1 and 7.4).
//!
//! Numbers are read from their text, so none loses a digit.

use crate::diagnostic::Diagnostic;
use crate::path::{Path, Step};
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
    write(&mut out, value, ty, 0)?;
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

/// The place of an element of a set; the element itself is not repeated.
fn some_element() -> Step {
    Step::Element(Box::new(Value::UNKNOWN))
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
        ("object", [attributes] | [attributes, _]) => {
            let mut types = BTreeMap::new();
            for (name, t) in part::<BTreeMap<String, &RawValue>>(attributes)? {
                types.insert(name, read_type(t, below)?);
            }
            Some(Type::Object(types))
        }
        ("tuple", [elements]) => {
            let mut types = Vec::new();
            for t in part::<Vec<&RawValue>>(elements)? {
                types.push(read_type(t, below)?);
            }
            Some(Type::Tuple(types))
        }
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
    if raw.get() == "null" {
        return Ok(Value::Null);
    }
    // Loops in functions of their own keep the stack small: values may be nested to the limit.
    let below = depth + 1;
    match ty {
        Type::String | Type::Number | Type::Bool => read_scalar(raw, ty),
        Type::List(t) => read_elements(raw, ty, |_| t, attributes, below).map(Value::List),
        Type::Set(t) => read_elements(raw, ty, |_| t, attributes, below).map(Value::set),
        Type::Tuple(types) => read_elements(raw, ty, |i| &types[i], attributes, below).map(Value::Tuple),
        Type::Map(t) => read_map(raw, ty, t, attributes, below),
        Type::Object(types) => read_object(raw, ty, types, attributes, below),
        Type::Dynamic => {
            let typed: Typed<'_> = part(raw).ok_or_else(|| misfit(raw, ty))?;
            let inner = read_type(typed.ty, 0).ok_or_else(|| broken("a dynamic value has no valid type"))?;
            let value = read(typed.value, &inner, attributes, below)?;
            Ok(Value::Dynamic(inner, Box::new(value)))
        }
    }
}

fn misfit(raw: &RawValue, ty: &Type) -> Diagnostic {
    broken(format!("a value of type {ty} is needed, this is {}", json_name(raw.get())))
}

fn read_scalar(raw: &RawValue, ty: &Type) -> Result<Value, Diagnostic> {
    let text = raw.get();
    let found = match (ty, text.as_bytes().first()) {
        (Type::String, Some(b'"')) => scalar::<String>(raw).map(Value::String),
        (Type::String, Some(b'[' | b'{') | None) => None,
        (Type::String, Some(_)) => Some(Value::from(text)),
        (Type::Number, _) => match scalar::<String>(raw) {
            Some(quoted) => Number::parse(&quoted).ok().map(Value::Number),
            None => Number::parse(text).ok().map(Value::Number),
        },
        _ => match text {
            "true" | "\"true\"" => Some(Value::Bool(true)),
            "false" | "\"false\"" => Some(Value::Bool(false)),
            _ => None,
        },
    };
    found.ok_or_else(|| misfit(raw, ty))
}

fn read_elements<'t>(
    raw: &RawValue,
    ty: &Type,
    element: impl Fn(usize) -> &'t Type,
    attributes: Attributes,
    depth: usize,
) -> Result<Vec<Value>, Diagnostic> {
    let parts: Vec<&RawValue> = part(raw).ok_or_else(|| misfit(raw, ty))?;
    if matches!(ty, Type::Tuple(types) if types.len() != parts.len()) {
        return Err(misfit(raw, ty));
    }
    let mut elements = Vec::with_capacity(parts.len());
    for (i, raw) in parts.into_iter().enumerate() {
        match read(raw, element(i), attributes, depth) {
            Ok(v) => elements.push(v),
            Err(d) if matches!(ty, Type::Set(_)) => return Err(d.within(some_element())),
            Err(d) => return Err(d.within(Step::Index(i))),
        }
    }
    Ok(elements)
}

fn read_map(
    raw: &RawValue,
    ty: &Type,
    element: &Type,
    attributes: Attributes,
    depth: usize,
) -> Result<Value, Diagnostic> {
    let parts: BTreeMap<String, &RawValue> = part(raw).ok_or_else(|| misfit(raw, ty))?;
    let mut map = BTreeMap::new();
    for (key, raw) in parts {
        match read(raw, element, attributes, depth) {
            Ok(v) => map.insert(key, v),
            Err(d) => return Err(d.within(Step::Key(key))),
        };
    }
    Ok(Value::Map(map))
}

fn read_object(
    raw: &RawValue,
    ty: &Type,
    types: &BTreeMap<String, Type>,
    attributes: Attributes,
    depth: usize,
) -> Result<Value, Diagnostic> {
    let parts: BTreeMap<String, &RawValue> = part(raw).ok_or_else(|| misfit(raw, ty))?;
    if attributes == Attributes::Exact
        && let Some(extra) = parts.keys().find(|k| !types.contains_key(*k))
    {
        return Err(broken("the schema has no such attribute").within(Step::Attr(extra.clone())));
    }
    let mut object = Object::new();
    for (name, t) in types {
        let value = match parts.get(name) {
            Some(raw) => read(raw, t, attributes, depth),
            None if attributes == Attributes::Lenient => Ok(Value::Null),
            None => Err(broken("the attribute is missing")),
        };
        object.set(name.clone(), value.map_err(|d| d.within(Step::Attr(name.clone())))?);
    }
    Ok(Value::Object(object))
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

fn write(out: &mut Vec<u8>, value: &Value, ty: &Type, depth: usize) -> Result<(), Diagnostic> {
    if depth > DEPTH_LIMIT {
        return Err(broken("the value is nested too deeply"));
    }
    let below = depth + 1;
    let none = |what: &str| Diagnostic::error("Value has no JSON form", format!("JSON cannot hold {what} value."));
    match (value, ty) {
        (Value::Null, _) => out.extend_from_slice(b"null"),
        (Value::Unknown(_), _) => return Err(none("an unknown")),
        (Value::String(s), Type::String) => write_text(out, s),
        (Value::Number(n), Type::Number) if n.is_finite() => out.extend_from_slice(n.to_string().as_bytes()),
        (Value::Number(_), Type::Number) => return Err(none("an infinite")),
        (Value::Bool(b), Type::Bool) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        (Value::List(elements), Type::List(t)) => write_elements(out, elements.iter().map(|v| (v, t.as_ref())), below)?,
        (Value::Set(elements), Type::Set(t)) => {
            let elements = elements.iter().map(|v| (v, t.as_ref()));
            write_elements(out, elements, below).map_err(|mut d| {
                // An element of a set has no index.
                d.path = d.path.map(|p| {
                    Path::from_steps(
                        p.steps().iter().enumerate().map(|(i, s)| if i == 0 { some_element() } else { s.clone() }),
                    )
                });
                d
            })?;
        }
        (Value::Tuple(elements), Type::Tuple(types)) if elements.len() == types.len() => {
            write_elements(out, elements.iter().zip(types), below)?;
        }
        (Value::Map(elements), Type::Map(t)) => {
            out.push(b'{');
            for (i, (key, v)) in elements.iter().enumerate() {
                comma(out, i);
                write_text(out, key);
                out.push(b':');
                write(out, v, t, below).map_err(|d| d.within(Step::Key(key.clone())))?;
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
                write(out, v, t, below).map_err(at)?;
            }
            out.push(b'}');
        }
        (Value::Dynamic(inner, v), Type::Dynamic) => {
            out.extend_from_slice(br#"{"type":"#);
            write_type(out, inner);
            out.extend_from_slice(br#","value":"#);
            write(out, v, inner, below)?;
            out.push(b'}');
        }
        (v, t) => return Err(broken(format!("a value of type {t} is needed, this is {}", v.kind_name()))),
    }
    Ok(())
}

fn write_elements<'a>(
    out: &mut Vec<u8>,
    elements: impl Iterator<Item = (&'a Value, &'a Type)>,
    depth: usize,
) -> Result<(), Diagnostic> {
    out.push(b'[');
    for (i, (v, t)) in elements.enumerate() {
        comma(out, i);
        write(out, v, t, depth).map_err(|d| d.within(Step::Index(i)))?;
    }
    out.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;
    use crate::value::strategy::{any_type, typed};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_known_value_comes_back_as_it_was((ty, value) in typed(false)) {
            let bytes = encode(&value, &ty).unwrap();
            prop_assert!(serde_json::from_slice::<&RawValue>(&bytes).is_ok());
            prop_assert_eq!(decode(&bytes, &ty, Attributes::Exact).unwrap(), value.clone());
            prop_assert_eq!(decode(&bytes, &ty, Attributes::Lenient).unwrap(), value);
        }

        #[test]
        fn every_type_comes_back_as_it_was(ty in any_type()) {
            prop_assert_eq!(decode_type(&encode_type(&ty)).unwrap(), ty);
        }

        #[test]
        fn no_text_makes_the_reader_panic((ty, value) in typed(false), other in any_type(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = encode(&value, &ty).unwrap();
            if let Ok(read) = decode(&bytes, &other, Attributes::Lenient) {
                prop_assert!(read.conforms(&other).is_ok());
            }
            let i = at.index(bytes.len());
            bytes[i] = byte;
            let _ = decode(&bytes, &ty, Attributes::Exact);
            let _ = decode_type(&bytes);
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        let text = b"12345678901234567890.123456789012345678901";
        let value = decode(text, &Type::Number, Attributes::Exact).unwrap();
        assert_eq!(encode(&value, &Type::Number).unwrap(), text);
    }

    #[test]
    fn indented_state_is_read() {
        let ty = Type::object([("a", Type::list(Type::Number)), ("b", Type::String)]);
        let text = b"{\n  \"a\": [\n    1,\n    2.50\n  ],\n  \"b\": null\n}\n";
        let o = decode_object(text, &ty, Attributes::Exact).unwrap().unwrap();
        assert_eq!(o.at("a[1]").unwrap().as_number().unwrap().to_string(), "2.5");
    }

    #[test]
    fn lenient_reading_drops_and_adds_attributes() {
        let ty = Type::object([("a", Type::String), ("b", Type::object([("c", Type::Bool)]))]);
        let text = br#"{"b":{"old":1},"gone":[{}]}"#;
        let o = decode_object(text, &ty, Attributes::Lenient).unwrap().unwrap();
        assert_eq!(Value::from(o), Value::object([("a", Value::Null), ("b", Value::object([("c", Value::Null)]))]));
        let d = decode_object(text, &ty, Attributes::Exact).unwrap_err();
        assert_eq!(d.path, Some(path!("gone")));
    }

    #[test]
    fn scalars_change_their_type_as_in_terraform() {
        let read = |text: &str, ty: &Type| decode(text.as_bytes(), ty, Attributes::Exact).ok();
        assert_eq!(read("1.50", &Type::String), Some("1.50".into()));
        assert_eq!(read("true", &Type::String), Some("true".into()));
        assert_eq!(read("\"7\"", &Type::Number), Some(7.into()));
        assert_eq!(read("\"true\"", &Type::Bool), Some(true.into()));
        assert_eq!(read("{}", &Type::String), None);
        assert_eq!(read("\"x\"", &Type::Number), None);
        assert_eq!(read("1", &Type::Bool), None);
    }

    #[test]
    fn an_error_names_the_place_and_repeats_no_value() {
        let ty = Type::object([("a", Type::list(Type::map(Type::Number)))]);
        let d = decode(br#"{"a":[{},{"k":"geheim"}]}"#, &ty, Attributes::Exact).unwrap_err();
        assert_eq!(d.path, Some(path!("a", [1], ["k"])));
        assert!(!d.to_string().contains("geheim"));
        let d = decode(br#"{"a": geheim}"#, &ty, Attributes::Exact).unwrap_err();
        assert!(!d.to_string().contains("geheim"));
        let value = Value::object([("a", Value::list([Value::map([("k", Value::UNKNOWN)])]))]);
        let d = encode(&value, &ty).unwrap_err();
        assert_eq!(d.path, Some(path!("a", [0], ["k"])));
        let sets = Type::object([("s", Type::set(Type::Bool))]);
        let d = encode(&Value::object([("s", Value::set([Value::UNKNOWN]))]), &sets).unwrap_err();
        assert_eq!(d.path.unwrap().to_string(), "s[element]");
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let deep = |n: usize| [b"[".repeat(n), b"]".repeat(n)].concat();
        let ty = (0..DEPTH_LIMIT).fold(Type::Bool, |t, _| Type::list(t));
        assert!(decode(&deep(DEPTH_LIMIT), &ty, Attributes::Exact).is_ok());
        assert!(decode(&deep(DEPTH_LIMIT + 1), &ty, Attributes::Exact).is_err());
        assert!(decode_type(&encode_type(&ty)).is_ok());
        assert!(decode_type(&br#"["list","#.repeat(100_000)).is_err());
        let deeper = Type::list(Type::list(ty));
        assert!(decode_type(&encode_type(&deeper)).is_err());
    }

    #[test]
    fn what_json_cannot_hold_is_an_error() {
        assert!(encode(&Value::UNKNOWN, &Type::String).is_err());
        let infinite = Number::from_f64(f64::INFINITY).unwrap();
        assert!(encode(&infinite.into(), &Type::Number).is_err());
    }
}
