//! Operations on sets.

use super::{Call, Fault, Outcome};
use crate::eval::convert::{Mode, convert, unify};
use crate::eval::types::Type;
use crate::eval::value::{Refinement, Value};

/// All arguments as sets of one type. A set without any type is empty and takes the others'.
fn common(call: &Call<'_>) -> Result<Result<(Type, Vec<Vec<Value>>), Value>, Fault> {
    let mut types = Vec::new();
    for arg in &call.args {
        match arg.ty() {
            Type::Set(element) if *element == Type::Dynamic && arg.is_empty() => {}
            Type::Set(element) => types.push((*element).clone()),
            _ => return Ok(Err(call.undecided())),
        }
    }
    let element = if types.is_empty() {
        Type::Dynamic
    } else {
        unify(&types, Mode::Unsafe).ok_or_else(|| Fault::call("given sets must all have compatible element types"))?
    };
    let ty = Type::set(element.clone());
    let mut sets = Vec::new();
    for (i, arg) in call.args.iter().enumerate() {
        let set = convert(arg, &ty).map_err(|e| Fault::argument(i, e.to_string()))?;
        match set.as_seq() {
            Some(items) => sets.push(items.to_vec()),
            None => return Ok(Err(call.unknown(ty))),
        }
    }
    Ok(Ok((element, sets)))
}

fn fold(call: &Call<'_>, keep: fn(&Value, &[Value]) -> bool) -> Outcome {
    let (element, sets) = match common(call)? {
        Ok(sets) => sets,
        Err(unknown) => return Ok(unknown),
    };
    let mut sets = sets.into_iter();
    let mut result = sets.next().unwrap_or_default();
    for other in sets {
        result.retain(|item| keep(item, &other));
    }
    Ok(Value::set(element, result))
}

fn has(items: &[Value], wanted: &Value) -> bool {
    items.iter().any(|i| i.equals(wanted).as_bool() == Some(true))
}

pub(super) fn intersection(call: &Call<'_>) -> Outcome {
    fold(call, |item, other| has(other, item))
}

pub(super) fn subtract(call: &Call<'_>) -> Outcome {
    fold(call, |item, other| !has(other, item))
}

pub(super) fn union(call: &Call<'_>) -> Outcome {
    Ok(match common(call)? {
        Ok((element, sets)) => Value::set(element, sets.into_iter().flatten().collect()),
        Err(unknown) => unknown,
    })
}

/// Every combination of one element of each: a list if all arguments are ordered, else a set.
pub(super) fn product(call: &Call<'_>) -> Outcome {
    if call.args.len() < 2 {
        return Err(Fault::call("at least two arguments are required"));
    }
    if call.args.iter().any(|a| !a.is_settled() || a.is_untyped()) {
        return Ok(call.undecided());
    }
    let mut types = Vec::new();
    let mut ordered = true;
    for (i, arg) in call.args.iter().enumerate() {
        types.push(match arg.ty() {
            Type::Set(element) => {
                ordered = false;
                (*element).clone()
            }
            Type::List(element) => (*element).clone(),
            Type::Tuple(elements) if elements.is_empty() => Type::Dynamic,
            Type::Tuple(elements) => unify(&elements, Mode::Unsafe)
                .ok_or_else(|| Fault::argument(i, "all elements must be of the same type"))?,
            _ => return Err(Fault::argument(i, "a set or a list is required")),
        });
    }
    let element = Type::tuple(types.clone());
    let ty = if ordered { Type::list(element.clone()) } else { Type::set(element.clone()) };
    if call.args.iter().any(|a| !a.is_known()) {
        let lengths: Option<usize> = call.args.iter().map(Value::len).try_fold(1usize, |n, l| n.checked_mul(l?));
        let refinement = match lengths {
            Some(n) if ordered => Refinement { not_null: true, min_len: n, max_len: Some(n), ..Refinement::default() },
            _ => Refinement { not_null: true, ..Refinement::default() },
        };
        let cause = call.args.iter().find_map(Value::deep_cause).unwrap_or_else(|| call.not_computed());
        return Ok(Value::refined(ty, refinement, cause));
    }
    let mut factors = Vec::new();
    for (arg, ty) in call.args.iter().zip(&types) {
        let items: Result<Vec<Value>, _> = arg.as_seq().unwrap_or_default().iter().map(|v| convert(v, ty)).collect();
        factors.push(items.map_err(|e| Fault::call(e.to_string()))?);
    }
    let total = factors.iter().try_fold(1u64, |n, f| n.checked_mul(f.len() as u64));
    let row = factors.iter().flatten().map(Value::size).max().unwrap_or(0).saturating_mul(factors.len() as u64) + 64;
    if !total.and_then(|n| n.checked_mul(row)).is_some_and(|bytes| call.fits(bytes)) {
        return Ok(call.too_large(ty));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for factor in &factors {
        rows = rows
            .iter()
            .flat_map(|row| factor.iter().map(move |v| row.iter().cloned().chain([v.clone()]).collect::<Vec<_>>()))
            .collect();
    }
    let rows: Vec<Value> = rows.into_iter().map(Value::tuple).collect();
    let element = match rows.first() {
        // Elements that have nothing in common but "any" do not make a collection.
        Some(first) if element.has_dynamic() => {
            let ty = first.ty();
            if rows.iter().any(|row| row.ty() != ty) {
                return Err(Fault::call("all elements must be of the same type"));
            }
            ty
        }
        _ => element,
    };
    Ok(if ordered { Value::list(element, rows) } else { Value::set(element, rows) })
}
