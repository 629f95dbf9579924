//! Taking an attribute or an element out of a value.

use super::convert::convert;
use super::number::Number;
use super::types::Type;
use super::value::{Data, Marks, Value};

/// `value.name`
pub fn attribute(value: &Value, name: &str) -> Result<Value, String> {
    if value.is_null() {
        return Err(
            "attempt to get attribute from null value: this value is null, so it does not have any attributes".into()
        );
    }
    match (value.data(), value.as_unknown().map(|u| &u.ty)) {
        (Data::Object(_), _) => match value.as_dict().and_then(|d| d.get(name)) {
            Some(item) => Ok(item.clone().marked(value.marks())),
            None => Err(format!("unsupported attribute: this object does not have an attribute named \"{name}\"")),
        },
        (Data::Map(_), _) => match value.as_dict().and_then(|d| d.get(name)) {
            Some(item) => Ok(item.clone().marked(value.marks())),
            None => Err(format!("missing map element: this map does not have an element with the key \"{name}\"")),
        },
        (Data::Unknown(_), Some(Type::Object(o))) => match o.attributes.get(name) {
            Some(ty) => Ok(part(value, ty.clone(), name)),
            None => Err(format!("unsupported attribute: this object does not have an attribute named \"{name}\"")),
        },
        (Data::Unknown(_), Some(Type::Map(element))) => Ok(part(value, (**element).clone(), name)),
        (Data::Unknown(_), Some(Type::Dynamic)) => Ok(part(value, Type::Dynamic, name)),
        _ => {
            let ty = value.ty();
            Err(match &ty {
                Type::List(element) | Type::Set(element) if matches!(**element, Type::Object(_)) => format!(
                    "unsupported attribute: cannot access attributes on a {}; select one element, or use [*] for all",
                    ty.friendly()
                ),
                ty if ty.is_primitive() => {
                    format!(
                        "unsupported attribute: cannot access attributes on a primitive-typed value ({})",
                        ty.friendly()
                    )
                }
                _ => "unsupported attribute: this value does not have any attributes".into(),
            })
        }
    }
}

/// An unknown part of an unknown value.
fn part(value: &Value, ty: Type, _name: &str) -> Value {
    match value.as_unknown() {
        Some(unknown) => Value::unknown(ty, unknown.cause.clone()).marked(value.marks()),
        None => value.clone(),
    }
}

/// `value[key]`
pub fn index(value: &Value, key: &Value) -> Result<Value, String> {
    if value.is_null() {
        return Err("attempt to index null value: this value is null, so it does not have any indices".into());
    }
    if key.is_null() {
        return Err("invalid index: can't use a null value as an indexing key".into());
    }
    let marks = value.marks().union(key.marks());
    if value.is_untyped() {
        return Ok(part(value, Type::Dynamic, "").marked(marks));
    }
    match value.shape() {
        Type::List(_) | Type::Tuple(_) => sequence(value, key, marks),
        Type::Map(element) => {
            let key = convert(key, &Type::String).map_err(|e| no_element(&e.to_string()))?;
            match (value.as_dict(), key.as_str()) {
                (Some(items), Some(name)) => match items.get(name) {
                    Some(item) => Ok(item.clone().marked(marks)),
                    None => Err(no_element("")),
                },
                _ => Ok(open(value, &key, (*element).clone()).marked(marks)),
            }
        }
        Type::Object(object) => {
            let key = convert(key, &Type::String).map_err(|e| no_element(&e.to_string()))?;
            let Some(name) = key.as_str() else { return Ok(open(value, &key, Type::Dynamic).marked(marks)) };
            let there = value.as_dict().map_or_else(|| object.attributes.contains_key(name), |d| d.contains_key(name));
            if !there {
                return Err(no_element(""));
            }
            attribute(value, name).map(|v| v.marked(marks))
        }
        Type::Set(_) => {
            Err("invalid index: elements of a set are identified only by their value and have no index".into())
        }
        _ => Err("invalid index: this value does not have any indices".into()),
    }
}

fn no_element(why: &str) -> String {
    let tail = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!("invalid index: the given key does not identify an element in this collection value{tail}")
}

/// The unknown element of a collection, unknown because of one or the other.
fn open(value: &Value, key: &Value, ty: Type) -> Value {
    match value.as_unknown().or_else(|| key.as_unknown()) {
        Some(unknown) => Value::unknown(ty, unknown.cause.clone()),
        None => value.clone(),
    }
}

fn sequence(value: &Value, key: &Value, marks: Marks) -> Result<Value, String> {
    let key = convert(key, &Type::Number).map_err(|e| no_element(&e.to_string()))?;
    let ty = value.shape();
    let Some(number) = key.as_number() else {
        return Ok(open(value, &key, ty.element().cloned().unwrap_or(Type::Dynamic)).marked(marks));
    };
    if !number.is_integer() {
        return Err(no_element(
            "indexing a sequence requires a whole number, but the given index has a fractional part",
        ));
    }
    if *number < Number::count(0) {
        return Err(no_element("a negative number is not a valid index for a sequence"));
    }
    let at = number.to_i64().and_then(|n| usize::try_from(n).ok());
    let beyond = || no_element("the given index is greater than or equal to the length of the collection");
    if let Some(items) = value.as_seq() {
        return at.and_then(|at| items.get(at)).map(|item| item.clone().marked(marks)).ok_or_else(beyond);
    }
    match &ty {
        Type::Tuple(types) => {
            let ty = at.and_then(|at| types.get(at)).ok_or_else(beyond)?;
            Ok(open(value, &key, ty.clone()).marked(marks))
        }
        _ => {
            let most = value.as_unknown().and_then(|u| u.refinement.max_len);
            if most.is_some_and(|most| at.is_none_or(|at| at >= most)) {
                return Err(beyond());
            }
            Ok(open(value, &key, ty.element().cloned().unwrap_or(Type::Dynamic)).marked(marks))
        }
    }
}
