//! Functions over lists, sets, maps, tuples and objects.

use super::{Call, Fault, Outcome};
use crate::eval::convert::{Mode, convert, unify};
use crate::eval::number::Number;
use crate::eval::types::Type;
use crate::eval::value::{Data, Marks, Refinement, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A list of these items if they have one type, as a collection function returns it.
fn list_like(source: &Value, items: Vec<Value>) -> Value {
    match source.ty() {
        Type::List(element) | Type::Set(element) => Value::list((*element).clone(), items),
        _ => Value::tuple(items),
    }
}

pub(super) fn length(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    if let Some(text) = value.as_str() {
        return Ok(super::text::graphemes(text).map_or_else(|| call.unknown(Type::Number), |g| Value::count(g.len())));
    }
    match value.shape() {
        Type::Bool | Type::Number => {
            Err(Fault::argument(0, "argument must be a string, a collection type, or a structural type"))
        }
        Type::Object(o) => Ok(Value::count(value.len().unwrap_or(o.attributes.len()))),
        _ if value.len().is_some() => Ok(Value::count(value.len().unwrap_or(0))),
        _ => {
            let Some(unknown) = value.as_unknown() else { return Ok(call.unknown(Type::Number)) };
            let bound = |n: usize| (Number::count(n as i64), true);
            let refinement = Refinement {
                not_null: true,
                min: Some(bound(unknown.refinement.min_len)),
                max: unknown.refinement.max_len.map(bound),
                ..Refinement::default()
            };
            Ok(Value::refined(Type::Number, refinement, unknown.cause.clone()))
        }
    }
}

fn quantified(call: &Call<'_>, decisive: bool) -> Outcome {
    let Some(items) = call.arg(0)?.as_seq() else { return Ok(call.unknown(Type::Bool)) };
    let mut sure = true;
    for item in items {
        match (item.as_bool(), item.is_known()) {
            (Some(b), _) if b == decisive => return Ok(Value::bool(decisive)),
            // A null counts as false.
            (None, true) if !decisive => return Ok(Value::bool(false)),
            (None, false) => sure = false,
            _ => {}
        }
    }
    Ok(if sure { Value::bool(!decisive) } else { call.unknown(Type::Bool) })
}

pub(super) fn alltrue(call: &Call<'_>) -> Outcome {
    quantified(call, false)
}

pub(super) fn anytrue(call: &Call<'_>) -> Outcome {
    quantified(call, true)
}

pub(super) fn coalesce(call: &Call<'_>) -> Outcome {
    if call.args.iter().any(|a| !a.is_settled()) {
        return Ok(call.undecided());
    }
    let types: Vec<Type> = call.args.iter().map(Value::ty).collect();
    let ty = unify(&types, Mode::Unsafe).ok_or_else(|| Fault::call("all arguments must have the same type"))?;
    for arg in &call.args {
        let Ok(value) = convert(arg, &ty) else {
            return Err(Fault::call("all arguments must have the same type"));
        };
        if !value.is_known() {
            return Ok(call.unknown(ty));
        }
        if value.is_null() || ty == Type::String && value.as_str() == Some("") {
            continue;
        }
        return Ok(value);
    }
    Err(Fault::call("no non-null, non-empty-string arguments"))
}

pub(super) fn coalescelist(call: &Call<'_>) -> Outcome {
    if call.args.is_empty() {
        return Err(Fault::call("at least one argument is required"));
    }
    for arg in call.args.iter().take_while(|v| v.is_known()) {
        let open_null = arg.is_null() && !arg.is_settled();
        if !open_null && !matches!(arg.shape(), Type::List(_) | Type::Tuple(_)) {
            return Err(Fault::call("coalescelist arguments must be lists or tuples"));
        }
    }
    for arg in &call.args {
        if !arg.is_known() {
            return Ok(call.undecided());
        }
        if arg.as_seq().is_some_and(|s| !s.is_empty()) {
            return Ok(arg.clone());
        }
    }
    Err(Fault::call("no non-null arguments"))
}

pub(super) fn compact(call: &Call<'_>) -> Outcome {
    let items = call.arg(0)?.as_seq().unwrap_or_default();
    let kept = items.iter().filter(|v| v.as_str().is_some_and(|s| !s.is_empty())).cloned().collect();
    Ok(Value::list(Type::String, kept))
}

pub(super) fn concat(call: &Call<'_>) -> Outcome {
    if call.args.is_empty() {
        return Err(Fault::call("at least one argument is required"));
    }
    for (i, arg) in call.args.iter().enumerate() {
        if !matches!(arg.shape(), Type::List(_) | Type::Tuple(_) | Type::Dynamic) {
            return Err(Fault::argument(
                i,
                format!("all arguments must be lists or tuples; got {}", arg.ty().friendly()),
            ));
        }
    }
    if call.args.iter().any(|a| !a.is_known() && !a.is_settled()) {
        return Ok(call.undecided());
    }
    let all_lists = call.args.iter().all(|a| matches!(a.ty(), Type::List(_)));
    if all_lists {
        let types: Vec<Type> = call.args.iter().map(Value::ty).collect();
        if let Some(ty) = unify(&types, Mode::Unsafe) {
            return concat_lists(call, &ty);
        }
    }
    let mut items = Vec::new();
    for arg in &call.args {
        let Some(part) = arg.as_seq() else { return Ok(call.undecided()) };
        items.extend(part.iter().cloned());
    }
    Ok(Value::tuple(items))
}

fn concat_lists(call: &Call<'_>, ty: &Type) -> Outcome {
    if call.args.iter().any(|a| !a.is_known()) {
        let bounds = |v: &Value| {
            v.as_unknown().map_or((v.len().unwrap_or(0), v.len()), |u| (u.refinement.min_len, u.refinement.max_len))
        };
        let refinement = Refinement {
            not_null: true,
            min_len: call.args.iter().map(|v| bounds(v).0).fold(0, usize::saturating_add),
            max_len: call.args.iter().map(|v| bounds(v).1).try_fold(0usize, |sum, n| sum.checked_add(n?)),
            ..Refinement::default()
        };
        let cause = call.args.iter().find_map(Value::deep_cause).unwrap_or_else(|| call.not_computed());
        return Ok(Value::refined(ty.clone(), refinement, cause));
    }
    let mut items = Vec::new();
    for (i, arg) in call.args.iter().enumerate() {
        let part = convert(arg, ty).map_err(|e| Fault::argument(i, e.to_string()))?;
        let Some(part) = part.as_seq() else { return Ok(call.unknown(ty.clone())) };
        items.extend(part.iter().cloned());
    }
    Ok(Value::list(ty.element().cloned().unwrap_or(Type::Dynamic), items))
}

pub(super) fn contains(call: &Call<'_>) -> Outcome {
    let (list, wanted) = (call.arg(0)?, call.arg(1)?);
    if !matches!(list.shape(), Type::List(_) | Type::Set(_) | Type::Tuple(_) | Type::Dynamic) {
        return Err(Fault::call("argument must be list, tuple, or set"));
    }
    let Some(items) = list.as_seq() else { return Ok(call.unknown(Type::Bool)) };
    let mut sure = true;
    for item in items {
        match wanted.equals(item).as_bool() {
            Some(true) => return Ok(Value::bool(true)),
            Some(false) => {}
            None => sure = false,
        }
    }
    Ok(if sure { Value::bool(false) } else { call.unknown(Type::Bool) })
}

pub(super) fn distinct(call: &Call<'_>) -> Outcome {
    let list = call.arg(0)?;
    let mut kept: Vec<Value> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in list.as_seq().unwrap_or_default() {
        // Text, by far the most frequent, does not need the comparison of all pairs.
        let new = match item.as_str() {
            Some(text) => seen.insert(text.to_string()),
            None => !kept.iter().any(|k| k.equals(item).as_bool() == Some(true)),
        };
        if new {
            kept.push(item.clone());
        }
    }
    Ok(list_like(list, kept))
}

pub(super) fn chunklist(call: &Call<'_>) -> Outcome {
    let (list, size) = (call.arg(0)?, call.int(1)?);
    let Ok(size) = usize::try_from(size) else { return Err(Fault::call("the size argument must be positive")) };
    let items = list.as_seq().unwrap_or_default();
    let chunks = match (items.is_empty(), size) {
        (true, _) => Vec::new(),
        (false, 0) => vec![list.clone()],
        (false, size) => items.chunks(size).map(|c| list_like(list, c.to_vec())).collect(),
    };
    Ok(Value::list(list.ty(), chunks))
}

pub(super) fn element(call: &Call<'_>) -> Outcome {
    let list = call.arg(0)?;
    match list.shape() {
        Type::List(_) | Type::Tuple(_) | Type::Dynamic => {}
        other => return Err(Fault::call(format!("cannot read elements from {}", other.friendly()))),
    }
    if !call.arg(1)?.is_known() {
        let ty = list.ty().element().cloned().unwrap_or(Type::Dynamic);
        return Ok(Value::unknown(ty, call.arg(1)?.deep_cause().unwrap_or_else(|| call.not_computed())));
    }
    let index = call.int(1)?;
    if index < 0 {
        // An error in Terraform 1.11, the last elements in later versions.
        return Ok(call.undecided());
    }
    let pick = |len: usize| usize::try_from(index.rem_euclid(len as i64)).unwrap_or(0);
    let empty = || Fault::call("cannot use element function with an empty list");
    match (list.as_seq(), list.as_unknown()) {
        (Some([]), _) => Err(empty()),
        (Some(items), _) => Ok(items[pick(items.len())].clone()),
        (None, Some(unknown)) => {
            let ty = match &unknown.ty {
                Type::Tuple(types) if types.is_empty() => return Err(empty()),
                Type::Tuple(types) => types[pick(types.len())].clone(),
                other => other.element().cloned().unwrap_or(Type::Dynamic),
            };
            Ok(Value::unknown(ty, unknown.cause.clone()))
        }
        (None, None) => Ok(call.undecided()),
    }
}

/// All elements of nested sequences in one tuple.
pub(super) fn flatten(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    if !matches!(value.ty(), Type::List(_) | Type::Set(_) | Type::Tuple(_) | Type::Dynamic) {
        return Err(Fault::call("can only flatten lists, sets and tuples"));
    }
    let mut marks = Marks::NONE;
    let mut items = Vec::new();
    if !push_flat(value, &mut items, &mut marks) {
        return Ok(call.undecided().marked(marks));
    }
    Ok(Value::tuple(items).marked(marks))
}

/// Whether all that is there is known to be, or not to be, a sequence.
fn push_flat(value: &Value, items: &mut Vec<Value>, marks: &mut Marks) -> bool {
    *marks = marks.union(value.marks());
    let Some(parts) = value.as_seq() else { return false };
    let mut sure = true;
    for part in parts {
        let ty_is_sequence = match part.data() {
            Data::List(_) | Data::Set(_) | Data::Tuple(_) => true,
            Data::Unknown(u) if u.ty == Type::Dynamic => {
                sure = false;
                continue;
            }
            Data::Unknown(u) => u.ty.is_sequence(),
            _ => false,
        };
        if ty_is_sequence {
            sure &= push_flat(part, items, marks);
        } else {
            items.push(part.clone());
        }
    }
    sure
}

pub(super) fn index(call: &Call<'_>) -> Outcome {
    let (list, wanted) = (call.arg(0)?, call.arg(1)?);
    if !matches!(list.shape(), Type::List(_) | Type::Tuple(_) | Type::Dynamic) {
        return Err(Fault::call("argument must be a list or tuple"));
    }
    let Some(items) = list.as_seq() else { return Ok(call.unknown(Type::Number)) };
    if items.is_empty() {
        return Err(Fault::call("cannot search an empty list"));
    }
    for (i, item) in items.iter().enumerate() {
        // Terraform's comparison refuses nulls here.
        if item.is_null() {
            return Err(Fault::call("argument must not be null"));
        }
        match item.equals(wanted).as_bool() {
            Some(true) => return Ok(Value::count(i)),
            Some(false) => {}
            None => return Ok(call.unknown(Type::Number)),
        }
    }
    Err(Fault::call("item not found"))
}

pub(super) fn keys(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    match (value.ty(), value.as_dict()) {
        (Type::Object(o), _) => Ok(Value::tuple(o.attributes.keys().map(Value::string).collect())),
        (Type::Map(_), Some(items)) => Ok(Value::list(Type::String, items.keys().map(Value::string).collect())),
        (Type::Map(_), None) => Ok(call.unknown(Type::list(Type::String))),
        (Type::Dynamic, _) => Ok(call.undecided()),
        _ => Err(Fault::argument(0, "must have map or object type")),
    }
}

pub(super) fn values(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    let items = || value.as_dict().into_iter().flat_map(|d| d.values().cloned()).collect();
    match value.ty() {
        Type::Object(_) => Ok(Value::tuple(items())),
        Type::Map(element) => Ok(Value::list((*element).clone(), items())),
        _ => Err(Fault::call("values() requires a map as the first argument")),
    }
}

pub(super) fn lookup(call: &Call<'_>) -> Outcome {
    if call.args.len() > 3 {
        return Err(Fault::call(format!("lookup() takes two or three arguments, got {}", call.args.len())));
    }
    let (map, key, default) = (call.arg(0)?, call.arg(1)?, call.args.get(2));
    let ty = map.shape();
    match &ty {
        Type::Object(_) | Type::Dynamic => {}
        Type::Map(element) => {
            if default.is_some_and(|d| convert(d, element).is_err()) {
                return Err(Fault::argument(2, "the default value must have the same type as the map elements"));
            }
        }
        _ => return Err(Fault::argument(0, "lookup() requires a map as the first argument")),
    }
    let element = ty.element().cloned().unwrap_or(Type::Dynamic);
    let Some(key_text) = key.as_str() else {
        return Ok(Value::unknown(element, key.deep_cause().unwrap_or_else(|| call.not_computed())));
    };
    let Some(items) = map.as_dict() else {
        let ty = match &ty {
            Type::Object(o) => o.attributes.get(key_text).cloned().unwrap_or(Type::Dynamic),
            _ => element,
        };
        return Ok(Value::unknown(ty, map.deep_cause().unwrap_or_else(|| call.not_computed())));
    };
    if let Some(found) = items.get(key_text) {
        return Ok(found.clone());
    }
    match (default, &ty) {
        (Some(default), Type::Map(element)) => convert(default, element).map_err(|e| Fault::argument(2, e.to_string())),
        (Some(default), _) => Ok(default.clone()),
        (None, Type::Object(_)) => {
            Err(Fault::argument(0, format!("the given object has no attribute \"{}\"", shown(key))))
        }
        (None, _) => Err(Fault::call(format!("lookup failed to find key \"{}\"", shown(key)))),
    }
}

/// The text of a key, if it may be shown.
fn shown(key: &Value) -> &str {
    if key.marks().is_none() { key.as_str().unwrap_or("…") } else { "(sensitive value)" }
}

pub(super) fn matchkeys(call: &Call<'_>) -> Outcome {
    let (values, keys, wanted) = (call.arg(0)?, call.arg(1)?, call.arg(2)?);
    let ty = unify(&[keys.ty(), wanted.ty()], Mode::Unsafe)
        .ok_or_else(|| Fault::call("keys and searchset must be of the same type"))?;
    let (Ok(keys), Ok(wanted)) = (convert(keys, &ty), convert(wanted, &ty)) else {
        return Err(Fault::call("keys and searchset must be of the same type"));
    };
    let items = |v: &Value| v.as_seq().unwrap_or_default().to_vec();
    let (all, keys, wanted) = (items(values), items(&keys), items(&wanted));
    if all.len() != keys.len() {
        return Err(Fault::call("length of keys and values should be equal"));
    }
    if wanted.iter().chain(&keys).any(Value::is_null) {
        return Ok(call.undecided());
    }
    let found = all
        .iter()
        .zip(&keys)
        .filter(|(_, key)| wanted.iter().any(|w| w.equals(key).as_bool() == Some(true)))
        .map(|(value, _)| value.clone())
        .collect();
    Ok(list_like(values, found))
}

pub(super) fn merge(call: &Call<'_>) -> Outcome {
    for arg in &call.args {
        if !arg.is_untyped() && !arg.shape().is_mapping() {
            return Err(Fault::call(format!("arguments must be maps or objects, got \"{}\"", arg.ty().friendly())));
        }
    }
    if call.args.is_empty() {
        return Ok(Value::object(BTreeMap::new()));
    }
    if call.args.iter().any(|a| a.is_null() && !a.is_settled()) {
        return Ok(call.undecided());
    }
    if call.args.iter().any(|a| matches!(a.data(), Data::Null(Type::Dynamic))) {
        // Terraform itself has no type for the result of a merge with an untyped null.
        return merge_with_untyped_null(call);
    }
    let first = call.args.first().map(effective_type).unwrap_or(Type::Dynamic);
    let same = call.args.iter().all(|a| effective_type(a) == first);
    if call.args.iter().any(|a| !a.is_known()) {
        return Ok(match (same, &first) {
            (true, Type::Map(_)) => call.unknown(first),
            (true, Type::Object(_)) => call.unknown(first),
            _ => call.undecided(),
        });
    }
    let merged = merged_items(call);
    Ok(match (same, first) {
        (true, Type::Map(element)) => Value::map((*element).clone(), merged),
        _ => Value::object(merged),
    })
}

fn merge_with_untyped_null(call: &Call<'_>) -> Outcome {
    if call.args.iter().any(|a| !a.is_known()) {
        return Ok(call.undecided());
    }
    Ok(Value::object(merged_items(call)))
}

/// A null object counts as one without attributes.
fn effective_type(value: &Value) -> Type {
    match value.data() {
        Data::Null(Type::Object(_)) => Type::object(BTreeMap::new()),
        _ => value.ty(),
    }
}

fn merged_items(call: &Call<'_>) -> BTreeMap<Arc<str>, Value> {
    let mut merged = BTreeMap::new();
    for items in call.args.iter().filter_map(Value::as_dict) {
        merged.extend(items.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    merged
}

pub(super) fn one(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    let wrong = || Fault::argument(0, "must be a list, set, or tuple value with either zero or one elements");
    if !matches!(value.ty(), Type::List(_) | Type::Set(_) | Type::Tuple(_) | Type::Dynamic) {
        return Err(wrong());
    }
    let element = value.ty().element().cloned().unwrap_or(Type::Dynamic);
    match (value.as_seq(), value.as_unknown()) {
        (Some([]), _) => Ok(Value::null(element)),
        (Some([only]), _) => Ok(only.clone()),
        (Some(_), _) => Err(wrong()),
        (None, Some(unknown)) => {
            if unknown.refinement.min_len > 1 || matches!(&unknown.ty, Type::Tuple(ts) if ts.len() > 1) {
                return Err(wrong());
            }
            Ok(Value::unknown(element, unknown.cause.clone()))
        }
        (None, None) => Ok(call.undecided()),
    }
}

pub(super) fn reverse(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    let Some(items) = value.as_seq() else {
        return Err(Fault::argument(
            0,
            format!("can only reverse list or tuple values, not {}", value.ty().friendly()),
        ));
    };
    Ok(list_like(value, items.iter().rev().cloned().collect()))
}

pub(super) fn slice(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    if !matches!(value.ty(), Type::List(_) | Type::Tuple(_)) {
        return Err(Fault::argument(0, "must be a list or tuple value"));
    }
    let items = value.as_seq().unwrap_or_default();
    let bound = |i: usize, what: &str| -> Result<usize, Fault> {
        let n = usize::try_from(call.int(i)?)
            .map_err(|_| Fault::argument(i, format!("{what} index must not be less than zero")))?;
        if n > items.len() {
            return Err(Fault::argument(i, format!("{what} index must not be greater than the length of the list")));
        }
        Ok(n)
    };
    let (start, end) = (bound(1, "start")?, bound(2, "end")?);
    if start > end {
        return Err(Fault::argument(1, "start index must not be greater than end index"));
    }
    Ok(list_like(value, items[start..end].to_vec()))
}

pub(super) fn sort(call: &Call<'_>) -> Outcome {
    let list = call.arg(0)?;
    if !list.is_wholly_known() {
        let len = list.len();
        let (min, max) =
            list.as_unknown().map_or((len.unwrap_or(0), len), |u| (u.refinement.min_len, u.refinement.max_len));
        let refinement = Refinement { not_null: true, min_len: min, max_len: max, ..Refinement::default() };
        let cause = list.deep_cause().unwrap_or_else(|| call.not_computed());
        return Ok(Value::refined(Type::list(Type::String), refinement, cause));
    }
    let mut items = list.as_seq().unwrap_or_default().to_vec();
    if items.iter().any(Value::is_null) {
        return Err(Fault::call("a null string cannot be sorted"));
    }
    items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    Ok(Value::list(Type::String, items))
}

pub(super) fn sum(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    let Some(items) = value.as_seq() else {
        return Err(Fault::argument(
            0,
            if value.as_dict().is_some() { "argument must be list, set, or tuple" } else { "cannot sum noniterable" },
        ));
    };
    let wrong = || Fault::argument(0, "argument must be list, set, or tuple of number values");
    let mut total: Option<Number> = None;
    for item in items {
        let item = convert(item, &Type::Number).map_err(|_| wrong())?;
        if item.is_null() {
            return Err(wrong());
        }
        let Some(n) = item.as_number() else { return Ok(call.unknown(Type::Number)) };
        total = match total {
            None => Some(n.clone()),
            Some(t) => match t.add(n) {
                Some(sum) => Some(sum),
                None => return Ok(call.unknown(Type::Number)),
            },
        };
    }
    total.map(Value::number).ok_or_else(|| Fault::argument(0, "cannot sum an empty list"))
}

pub(super) fn transpose(call: &Call<'_>) -> Outcome {
    let mut turned: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
    for (name, list) in call.arg(0)?.as_dict().into_iter().flatten() {
        let Some(items) = list.as_seq() else { return Err(Fault::call("input must not contain null list")) };
        for item in items {
            let Some(text) = item.as_str() else { return Err(Fault::call("input list must not contain null string")) };
            turned.entry(text.into()).or_default().push(Value::string(name));
        }
    }
    let lists = turned.into_iter().map(|(k, v)| (k, Value::list(Type::String, v))).collect();
    Ok(Value::map(Type::list(Type::String), lists))
}

pub(super) fn zipmap(call: &Call<'_>) -> Outcome {
    let (keys, values) = (call.arg(0)?, call.arg(1)?);
    if !matches!(values.ty(), Type::List(_) | Type::Tuple(_) | Type::Dynamic) {
        return Err(Fault::call("values argument must be a list or tuple value"));
    }
    if !keys.is_wholly_known() || !values.is_known() {
        return Ok(match values.ty() {
            Type::List(element) => call.unknown(Type::map((*element).clone())),
            _ => call.undecided(),
        });
    }
    let (names, items) = (keys.as_seq().unwrap_or_default(), values.as_seq().unwrap_or_default());
    if names.len() != items.len() {
        let (n, m) = (names.len(), items.len());
        return Err(Fault::call(format!("number of keys ({n}) does not match number of values ({m})")));
    }
    let mut marks = Marks::NONE;
    let mut zipped = BTreeMap::new();
    for (i, (name, item)) in names.iter().zip(items).enumerate() {
        marks = marks.union(name.marks());
        let Some(text) = name.as_str() else {
            return Err(Fault::call(format!("keys list has null value at index {i}")));
        };
        zipped.insert(Arc::from(text), item.clone());
    }
    Ok(match values.ty() {
        Type::List(element) => Value::map((*element).clone(), zipped),
        _ => Value::object(zipped),
    }
    .marked(marks))
}
