//! Conversion between types and the one type that several have in common, by Terraform's rules.
//!
//! A conversion is first decided by the types alone and then carried out on the value: an empty list of lists is no list of
//! strings, though it has no element that fails.

use super::number::{Number, Parsed};
use super::types::{ObjectType, Type};
use super::value::{Cause, CauseKind, Data, Refinement, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a value cannot have the wanted type, in Terraform's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch(pub String);

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which conversions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only those that always succeed.
    Safe,
    /// Also those that depend on the value, such as text to number.
    Unsafe,
}

/// Converts a value. Unknown parts stay unknown, of the new type.
pub fn convert(value: &Value, to: &Type) -> Result<Value, Mismatch> {
    if *to == Type::Dynamic {
        return Ok(value.clone());
    }
    let from = value.ty();
    if from == *to {
        return Ok(value.clone());
    }
    if to.has_dynamic() && !value.is_settled() {
        // The type that `any` takes depends on what is unknown.
        return if !from.is_primitive() {
            let cause = value.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::Failed, "conversion"));
            Ok(Value::unknown(Type::Dynamic, cause).marked(value.deep_marks()).like(value))
        } else {
            Err(mismatch(&from, to))
        };
    }
    if !convertible(&from, to, Mode::Unsafe) {
        return Err(mismatch(&from, to));
    }
    apply(value, to, Mode::Unsafe)
}

fn mismatch(from: &Type, to: &Type) -> Mismatch {
    Mismatch(match (from, to) {
        (Type::Object(f), Type::Object(t)) => {
            let missing: Vec<&str> = t
                .attributes
                .keys()
                .filter(|k| !f.attributes.contains_key(*k) && !t.optional.contains(*k))
                .map(|k| &**k)
                .collect();
            match missing[..] {
                [] => t
                    .attributes
                    .iter()
                    .find_map(|(k, t)| {
                        let f = f.attributes.get(k)?;
                        (!convertible(f, t, Mode::Unsafe)).then(|| format!("attribute \"{k}\": {}", mismatch(f, t)))
                    })
                    .unwrap_or_else(|| "object required".into()),
                [one] => format!("attribute \"{one}\" is required"),
                [..] => format!("attributes \"{}\" are required", missing.join("\", \"")),
            }
        }
        (_, Type::List(t) | Type::Set(t) | Type::Map(t)) => format!("{} of {} required", kind(to), t.friendly()),
        (_, Type::Dynamic) => "a value is required".into(),
        _ => format!("{} required", to.friendly()),
    })
}

fn kind(ty: &Type) -> &'static str {
    match ty {
        Type::List(_) => "list",
        Type::Set(_) => "set",
        Type::Map(_) => "map",
        _ => "value",
    }
}

/// Whether values of one type may become values of the other.
pub fn convertible(from: &Type, to: &Type, mode: Mode) -> bool {
    match (from, to) {
        (_, Type::Dynamic) => true,
        (Type::Dynamic, _) => mode == Mode::Unsafe,
        (Type::Number | Type::Bool, Type::String) => true,
        (Type::String, Type::Number | Type::Bool) => mode == Mode::Unsafe,
        (Type::Object(f), Type::Object(t)) => t.attributes.iter().all(|(name, want)| match f.attributes.get(name) {
            Some(have) => have == want || convertible(have, want, mode),
            None => t.optional.contains(name),
        }),
        (Type::Tuple(f), Type::Tuple(t)) => {
            f.len() == t.len() && f.iter().zip(t.iter()).all(|(f, t)| f == t || convertible(f, t, mode))
        }
        (Type::List(f) | Type::Set(f), Type::List(t)) | (Type::Set(f), Type::Set(t)) | (Type::Map(f), Type::Map(t)) => {
            f == t || convertible(f, t, mode)
        }
        (Type::List(f), Type::Set(t)) => mode == Mode::Unsafe && (f == t || convertible(f, t, mode)),
        (Type::Tuple(f), Type::List(t) | Type::Set(t)) => all_convertible(f.iter(), t, mode),
        (Type::Object(f), Type::Map(t)) => map_convertible(f, t, mode),
        (Type::Map(f), Type::Object(t)) => {
            mode == Mode::Unsafe
                && t.attributes
                    .iter()
                    .all(|(name, want)| **f == *want || convertible(f, want, mode) || t.optional.contains(name))
        }
        (f, t) => f == t,
    }
}

fn all_convertible<'a>(from: impl ExactSizeIterator<Item = &'a Type> + Clone, to: &Type, mode: Mode) -> bool {
    if from.len() == 0 {
        return true;
    }
    let common;
    let to = if *to == Type::Dynamic {
        let types: Vec<Type> = from.clone().cloned().collect();
        match unify(&types, mode) {
            Some(Type::Dynamic) => return types.iter().all(|t| *t == Type::Dynamic),
            Some(ty) => {
                common = ty;
                &common
            }
            None => return false,
        }
    } else {
        to
    };
    from.into_iter().all(|f| f == to || convertible(f, to, mode))
}

fn map_convertible(from: &ObjectType, to: &Type, mode: Mode) -> bool {
    if from.attributes.is_empty() {
        return true;
    }
    let common;
    let to = if *to == Type::Dynamic {
        let types: Vec<Type> = from.attributes.values().cloned().collect();
        match unify(&types, mode) {
            Some(ty) => {
                common = ty;
                &common
            }
            None => return false,
        }
    } else {
        to
    };
    from.attributes.values().all(|f| f == to || convertible(f, to, mode))
}

/// Carries out a conversion that the types allow.
fn apply(value: &Value, to: &Type, mode: Mode) -> Result<Value, Mismatch> {
    if *to == Type::Dynamic {
        return Ok(value.clone());
    }
    let converted = match value.data() {
        Data::Unknown(u) => {
            let ty = settle(&u.ty, &to.without_optional());
            let refinement = carry(&u.ty, &u.refinement, &ty);
            Value::refined(ty, refinement, u.cause.clone())
        }
        Data::Null(t) => Value::null(settle(t, &to.without_optional())),
        Data::Bool(b) => match to {
            Type::String => Value::string(if *b { "true" } else { "false" }),
            Type::Bool => value.clone(),
            _ => return Err(mismatch(&Type::Bool, to)),
        },
        Data::Number(n) => match to {
            Type::String => Value::string(n.to_string()),
            Type::Number => value.clone(),
            _ => return Err(mismatch(&Type::Number, to)),
        },
        Data::String(s) => from_string(s, to, value)?,
        Data::List(_) | Data::Set(_) | Data::Tuple(_) => from_seq(value, to, mode)?,
        Data::Map(_) | Data::Object(_) => from_dict(value, to, mode)?,
    };
    Ok(converted.marked(value.marks()).like(value))
}

fn from_string(text: &str, to: &Type, value: &Value) -> Result<Value, Mismatch> {
    match to {
        Type::String => Ok(value.clone()),
        Type::Number => match Number::parse(text) {
            Parsed::Number(n) => Ok(Value::number(n)),
            Parsed::Invalid => Err(Mismatch("a number is required".into())),
            Parsed::Unsure => {
                let needs = "a number outside the range that is computed here";
                Ok(Value::unknown_not_null(Type::Number, Cause::new(CauseKind::NotAnalysed, needs)))
            }
        },
        Type::Bool => match text {
            "true" | "1" => Ok(Value::bool(true)),
            "false" | "0" => Ok(Value::bool(false)),
            _ => Err(Mismatch(match text.to_ascii_lowercase().as_str() {
                word @ ("true" | "false") => {
                    format!("a bool is required; to convert from string, use lowercase \"{word}\"")
                }
                _ => "a bool is required".into(),
            })),
        },
        _ => Err(mismatch(&Type::String, to)),
    }
}

/// The type that `any` stands for among these values; `Dynamic` if each has none.
fn common_type<'a>(items: impl Iterator<Item = &'a Value>, mode: Mode) -> Result<Type, Mismatch> {
    let types: Vec<Type> = items.map(Value::ty).collect();
    match types.first() {
        Some(first) if types.iter().all(|t| t == first) => Ok(first.clone()),
        Some(_) => {
            unify(&types, mode).ok_or_else(|| Mismatch("cannot find a common base type for all elements".into()))
        }
        None => Ok(Type::Dynamic),
    }
}

/// Items converted to `element`, and, where that leaves parts open, to the type they then have in common.
fn elements<'a>(
    items: impl Iterator<Item = &'a Value> + Clone,
    element: &Type,
    mode: Mode,
) -> Result<(Type, Vec<Value>), Mismatch> {
    let target = if *element == Type::Dynamic { common_type(items.clone(), mode)? } else { element.clone() };
    let mut converted = Vec::new();
    for item in items {
        converted.push(apply(item, &target, mode)?);
    }
    if !target.has_dynamic() && converted.iter().all(|v| !matches!(v.data(), Data::Null(Type::Dynamic))) {
        return Ok((target.without_optional(), converted));
    }
    let common = common_type(converted.iter(), mode)?;
    if common == Type::Dynamic {
        return with_untyped_nulls(converted);
    }
    let mut unified = Vec::new();
    for item in &converted {
        let item = apply(item, &common, mode)?;
        if item.ty() != common {
            return Err(Mismatch("element types must all match for conversion".into()));
        }
        unified.push(item);
    }
    Ok((common, unified))
}

/// Nulls without a type go along with elements of any one type.
fn with_untyped_nulls(items: Vec<Value>) -> Result<(Type, Vec<Value>), Mismatch> {
    let untyped = |v: &Value| matches!(v.data(), Data::Null(Type::Dynamic));
    let Some(ty) = items.iter().find(|v| !untyped(v)).map(Value::ty) else { return Ok((Type::Dynamic, items)) };
    if items.iter().any(|v| !untyped(v) && v.ty() != ty) {
        return Err(Mismatch("element types must all match for conversion".into()));
    }
    let typed = |v: Value| if untyped(&v) { Value::null(ty.clone()).marked(v.marks()).like(&v) } else { v };
    let items = items.into_iter().map(typed).collect();
    Ok((ty, items))
}

fn from_seq(value: &Value, to: &Type, mode: Mode) -> Result<Value, Mismatch> {
    let items = value.as_seq().unwrap_or_default();
    let inner = |element: &Type| -> Type {
        match (element, value.data()) {
            (Type::Dynamic, Data::List(_) | Data::Set(_)) => value.ty().element().cloned().unwrap_or(Type::Dynamic),
            (element, _) => element.without_optional(),
        }
    };
    match to {
        Type::List(element) if items.is_empty() => Ok(Value::list(inner(element), Vec::new())),
        Type::Set(element) if items.is_empty() => Ok(Value::set(inner(element), Vec::new())),
        Type::List(element) => {
            let (ty, items) = elements(items.iter(), element, mode)?;
            Ok(Value::list(ty, items))
        }
        Type::Set(element) => {
            let (ty, items) = elements(items.iter(), element, mode)?;
            Ok(Value::set(ty, items))
        }
        Type::Tuple(types) if types.len() == items.len() => {
            let items: Result<Vec<_>, _> = items.iter().zip(types.iter()).map(|(v, t)| apply(v, t, mode)).collect();
            Ok(Value::tuple(items?))
        }
        _ => Err(mismatch(&value.ty(), to)),
    }
}

fn from_dict(value: &Value, to: &Type, mode: Mode) -> Result<Value, Mismatch> {
    let empty = BTreeMap::new();
    let items = value.as_dict().unwrap_or(&empty);
    match to {
        Type::Map(element) if items.is_empty() => {
            let ty = match (&**element, value.data()) {
                (Type::Dynamic, Data::Map(_)) => value.ty().element().cloned().unwrap_or(Type::Dynamic),
                (element, _) => element.without_optional(),
            };
            Ok(Value::map(ty, BTreeMap::new()))
        }
        Type::Map(element) => {
            let (ty, converted) = elements(items.values(), element, mode)?;
            Ok(Value::map(ty, items.keys().cloned().zip(converted).collect()))
        }
        Type::Object(object) => {
            let mut attributes = BTreeMap::new();
            for (name, want) in &object.attributes {
                let attribute = match items.get(name) {
                    Some(item) if convertible(&item.ty(), want, Mode::Unsafe) || item.ty() == *want => {
                        apply(item, want, mode)?
                    }
                    Some(item) => {
                        return Err(Mismatch(format!(
                            "map element type is incompatible with attribute \"{name}\": {}",
                            mismatch(&item.ty(), want)
                        )));
                    }
                    None if object.optional.contains(name) => Value::null(want.without_optional()),
                    None => return Err(Mismatch(format!("map has no element for required attribute \"{name}\""))),
                };
                attributes.insert(name.clone(), attribute);
            }
            Ok(Value::object(attributes))
        }
        _ => Err(mismatch(&value.ty(), to)),
    }
}

/// The type of an unknown or null after conversion: `to`, with what `from` knows where `to` says `any`.
fn settle(from: &Type, to: &Type) -> Type {
    match (from, to) {
        (Type::Dynamic, to) => to.clone(),
        (from, Type::Dynamic) => from.clone(),
        (Type::Map(f), Type::Map(t)) => Type::map(settle(f, t)),
        (Type::Object(f), Type::Map(t)) => {
            let types: Vec<Type> = f.attributes.values().cloned().collect();
            Type::map(unify(&types, Mode::Unsafe).map_or_else(|| (**t).clone(), |u| settle(&u, t)))
        }
        (Type::List(f) | Type::Set(f), Type::List(t)) => Type::list(settle(f, t)),
        (Type::List(f) | Type::Set(f), Type::Set(t)) => Type::set(settle(f, t)),
        (Type::Tuple(f), Type::List(t)) => {
            Type::list(unify(f, Mode::Unsafe).map_or_else(|| (**t).clone(), |u| settle(&u, t)))
        }
        (Type::Tuple(f), Type::Set(t)) => {
            Type::set(unify(f, Mode::Unsafe).map_or_else(|| (**t).clone(), |u| settle(&u, t)))
        }
        (Type::Tuple(f), Type::Tuple(t)) if f.len() == t.len() => {
            Type::tuple(f.iter().zip(t.iter()).map(|(f, t)| settle(f, t)).collect::<Vec<_>>())
        }
        (Type::Object(f), Type::Object(t)) => Type::object(
            t.attributes
                .iter()
                .map(|(name, t)| (name.clone(), f.attributes.get(name).map_or_else(|| t.clone(), |f| settle(f, t))))
                .collect(),
        ),
        (Type::Map(f), Type::Object(t)) => {
            Type::object(t.attributes.iter().map(|(name, t)| (name.clone(), settle(f, t))).collect())
        }
        (_, to) => to.clone(),
    }
}

/// What stays certain of an unknown when its type changes.
fn carry(from: &Type, refinement: &Refinement, to: &Type) -> Refinement {
    let mut kept = Refinement { not_null: refinement.not_null, ..Refinement::default() };
    match (from, to) {
        (Type::Object(o), Type::Map(_)) => {
            (kept.min_len, kept.max_len) = (o.attributes.len(), Some(o.attributes.len()));
        }
        (Type::Tuple(ts), Type::List(_)) => (kept.min_len, kept.max_len) = (ts.len(), Some(ts.len())),
        (Type::Tuple(ts), Type::Set(_)) => (kept.min_len, kept.max_len) = (ts.len().min(1), Some(ts.len())),
        (f, Type::Set(_)) if f.element().is_some() => {
            (kept.min_len, kept.max_len) = (refinement.min_len.min(1), refinement.max_len);
        }
        (f, t) if f.element().is_some() && t.element().is_some() => {
            (kept.min_len, kept.max_len) = (refinement.min_len, refinement.max_len);
        }
        (f, t) if f == t => return refinement.clone(),
        _ => {}
    }
    kept
}

/// The one type that values of all these types may become; `None` if there is none.
pub fn unify(types: &[Type], mode: Mode) -> Option<Type> {
    let first = types.first()?;
    if types.iter().all(|t| t == first) {
        return Some(first.clone());
    }
    let count = |test: fn(&Type) -> bool| types.iter().filter(|t| test(t)).count();
    let maps = count(|t| matches!(t, Type::Map(_)));
    let lists = count(|t| matches!(t, Type::List(_)));
    let sets = count(|t| matches!(t, Type::Set(_)));
    let objects = count(|t| matches!(t, Type::Object(_)));
    let tuples = count(|t| matches!(t, Type::Tuple(_)));
    let dynamic = count(|t| *t == Type::Dynamic);
    let all = types.len();
    if maps > 0 && maps + dynamic == all {
        return unify_elements(types, dynamic, mode, Type::map);
    }
    if maps > 0 && maps + objects + dynamic == all {
        if let Some(ty @ Type::Map(_)) = as_collections(types, mode) {
            return Some(ty);
        }
    } else if lists > 0 && lists + dynamic == all {
        return unify_elements(types, dynamic, mode, Type::list);
    } else if lists > 0 && lists + tuples + dynamic == all {
        if let Some(ty @ Type::List(_)) = as_collections(types, mode) {
            return Some(ty);
        }
    } else if sets > 0 && sets + dynamic == all {
        return unify_elements(types, dynamic, mode, Type::set);
    } else if objects > 0 && objects + dynamic == all {
        return if dynamic > 0 { Some(Type::Dynamic) } else { unify_objects(types, mode) };
    } else if tuples > 0 && tuples + dynamic == all {
        return if dynamic > 0 { Some(Type::Dynamic) } else { unify_tuples(types, mode) };
    } else if objects > 0 && tuples > 0 {
        return None;
    }
    let order = preference(types);
    order
        .into_iter()
        .map(|i| &types[i])
        .find(|want| types.iter().all(|t| t == *want || convertible(t, want, mode)))
        .cloned()
}

fn unify_elements(types: &[Type], dynamic: usize, mode: Mode, make: fn(Type) -> Type) -> Option<Type> {
    if dynamic > 0 {
        return Some(Type::Dynamic);
    }
    let elements: Vec<Type> = types.iter().filter_map(Type::element).cloned().collect();
    unify(&elements, mode).map(make)
}

/// Objects taken as maps, or tuples as lists, beside the maps or lists that are there.
fn as_collections(types: &[Type], mode: Mode) -> Option<Type> {
    let structures: Vec<Type> =
        types.iter().filter(|t| matches!(t, Type::Object(_) | Type::Tuple(_))).cloned().collect();
    let common = match structures.first()? {
        Type::Object(_) => objects_as_map(&structures, mode)?,
        _ => tuples_as_list(&structures, mode)?,
    };
    let mixed: Vec<Type> = types
        .iter()
        .map(|t| if matches!(t, Type::Object(_) | Type::Tuple(_)) { common.clone() } else { t.clone() })
        .collect();
    unify(&mixed, mode)
}

fn objects_as_map(types: &[Type], mode: Mode) -> Option<Type> {
    let all: Vec<Type> = types
        .iter()
        .filter_map(|t| if let Type::Object(o) = t { Some(o.attributes.values().cloned()) } else { None })
        .flatten()
        .collect();
    let ty = Type::map(unify(&all, mode)?);
    types.iter().all(|t| *t == ty || convertible(t, &ty, mode)).then_some(ty)
}

fn tuples_as_list(types: &[Type], mode: Mode) -> Option<Type> {
    let all: Vec<Type> = types
        .iter()
        .filter_map(|t| if let Type::Tuple(ts) = t { Some(ts.iter().cloned()) } else { None })
        .flatten()
        .collect();
    let ty = Type::list(unify(&all, mode)?);
    types.iter().all(|t| *t == ty || convertible(t, &ty, mode)).then_some(ty)
}

fn unify_objects(types: &[Type], mode: Mode) -> Option<Type> {
    let objects: Vec<&ObjectType> =
        types.iter().filter_map(|t| if let Type::Object(o) = t { Some(&**o) } else { None }).collect();
    let first = objects.first()?;
    if !objects.iter().all(|o| o.attributes.keys().eq(first.attributes.keys())) {
        return objects_as_map(types, mode);
    }
    let mut attributes: BTreeMap<Arc<str>, Type> = BTreeMap::new();
    for name in first.attributes.keys() {
        let across: Vec<Type> = objects.iter().filter_map(|o| o.attributes.get(name)).cloned().collect();
        attributes.insert(name.clone(), unify(&across, mode)?);
    }
    let ty = Type::object(attributes);
    if types.iter().all(|t| *t == ty || convertible(t, &ty, mode)) { Some(ty) } else { objects_as_map(types, mode) }
}

fn unify_tuples(types: &[Type], mode: Mode) -> Option<Type> {
    let tuples: Vec<&[Type]> =
        types.iter().filter_map(|t| if let Type::Tuple(ts) = t { Some(&**ts) } else { None }).collect();
    let len = tuples.first()?.len();
    if !tuples.iter().all(|t| t.len() == len) {
        return tuples_as_list(types, mode);
    }
    let mut elements = Vec::with_capacity(len);
    for i in 0..len {
        let across: Vec<Type> = tuples.iter().filter_map(|t| t.get(i)).cloned().collect();
        elements.push(unify(&across, mode)?);
    }
    let ty = Type::tuple(elements);
    if types.iter().all(|t| *t == ty || convertible(t, &ty, mode)) { Some(ty) } else { tuples_as_list(types, mode) }
}

/// Indices with the more general types first. Many equal types count once: the comparison of pairs is quadratic.
fn preference(types: &[Type]) -> Vec<usize> {
    let mut distinct: Vec<usize> = Vec::new();
    for (i, ty) in types.iter().enumerate() {
        if !distinct.iter().any(|&j| types[j] == *ty) {
            distinct.push(i);
        }
    }
    let n = distinct.len();
    let mut below = vec![0usize; n];
    let mut edges = vec![Vec::new(); n];
    for i in 0..n {
        for j in i + 1..n {
            match compare(&types[distinct[i]], &types[distinct[j]]) {
                c if c < 0 => {
                    edges[i].push(j);
                    below[j] += 1;
                }
                c if c > 0 => {
                    edges[j].push(i);
                    below[i] += 1;
                }
                _ => {}
            }
        }
    }
    let mut queue: Vec<usize> = (0..n).filter(|&i| below[i] == 0).collect();
    let mut at = 0;
    while let Some(&i) = queue.get(at) {
        at += 1;
        for &j in &edges[i] {
            below[j] -= 1;
            if below[j] == 0 {
                queue.push(j);
            }
        }
    }
    queue.into_iter().map(|i| distinct[i]).collect()
}

/// Negative if `a` is the more general, positive if `b` is, zero if neither.
fn compare(a: &Type, b: &Type) -> i32 {
    match (a, b) {
        (Type::Dynamic, Type::Dynamic) => 0,
        (_, Type::Dynamic) => -1,
        (Type::Dynamic, _) => 1,
        (Type::String, b) if b.is_primitive() && *b != Type::String => -1,
        (a, Type::String) if a.is_primitive() && *a != Type::String => 1,
        (Type::List(a), Type::List(b)) | (Type::Set(a), Type::Set(b)) | (Type::Map(a), Type::Map(b)) => compare(a, b),
        (Type::Tuple(_) | Type::List(_), Type::Set(_)) => -1,
        (Type::Set(_), Type::Tuple(_) | Type::List(_)) => 1,
        (Type::List(_), Type::Tuple(_)) | (Type::Map(_), Type::Object(_)) => -1,
        (Type::Tuple(_), Type::List(_)) | (Type::Object(_), Type::Map(_)) => 1,
        (Type::Object(a), Type::Object(b)) if a.attributes.keys().eq(b.attributes.keys()) => {
            sided(a.attributes.values().zip(b.attributes.values()))
        }
        (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => sided(a.iter().zip(b.iter())),
        _ => 0,
    }
}

fn sided<'a>(pairs: impl Iterator<Item = (&'a Type, &'a Type)>) -> i32 {
    let (mut left, mut right) = (false, false);
    for (a, b) in pairs {
        let c = compare(a, b);
        left |= c < 0;
        right |= c > 0;
    }
    match (left, right) {
        (true, false) => -1,
        (false, true) => 1,
        _ => 0,
    }
}
