//! Operators, and the choice between two values.

use super::convert::{Mode, convert, unify};
use super::number::Number;
use super::types::Type;
use super::value::{Cause, CauseKind, Data, Refinement, Value};
use crate::ast::{BinaryOp, UnaryOp};

/// A known bool, or why it is not known.
fn operand(value: &Value, ty: &Type, side: &str) -> Result<Value, String> {
    let value = convert(value, ty).map_err(|e| format!("invalid operand: unsuitable value for {side} operand: {e}"))?;
    if value.is_null() {
        return Err(format!("operation failed: {side} operand is null"));
    }
    Ok(value)
}

fn unknown(ty: Type, a: &Value, b: &Value) -> Value {
    let cause = a.deep_cause().or_else(|| b.deep_cause());
    Value::unknown_not_null(
        ty,
        cause.unwrap_or_else(|| Cause::new(CauseKind::NotAnalysed, "a number that is out of range or infinite")),
    )
}

/// `!value` and `-value`
pub fn unary(op: UnaryOp, value: &Value) -> Result<Value, String> {
    let ty = if op == UnaryOp::Not { Type::Bool } else { Type::Number };
    let operand = operand(value, &ty, "unary")?;
    let result = match (op, operand.data()) {
        (UnaryOp::Not, Data::Bool(b)) => Value::bool(!b),
        (UnaryOp::Negate, Data::Number(n)) => Value::number(n.neg()),
        _ => unknown(ty, &operand, &operand),
    };
    Ok(result.marked(value.marks()))
}

/// What a logical operator is decided by: `false` for `&&`, `true` for `||`.
pub fn decisive(op: BinaryOp) -> Option<bool> {
    match op {
        BinaryOp::And => Some(false),
        BinaryOp::Or => Some(true),
        _ => None,
    }
}

/// `left op right`
pub fn binary(op: BinaryOp, left: &Value, right: &Value) -> Result<Value, String> {
    match op {
        BinaryOp::Equal => return Ok(left.equals(right)),
        BinaryOp::NotEqual => {
            let equal = left.equals(right);
            return unary(UnaryOp::Not, &equal);
        }
        _ => {}
    }
    let ty = if decisive(op).is_some() { Type::Bool } else { Type::Number };
    let (a, b) = (operand(left, &ty, "left")?, operand(right, &ty, "right")?);
    let result = match decisive(op) {
        Some(decisive) => logical(decisive, &a, &b),
        None => arithmetic(op, &a, &b)?,
    };
    Ok(result.marked(left.marks()).marked(right.marks()))
}

fn logical(decisive: bool, a: &Value, b: &Value) -> Value {
    match (a.as_bool(), b.as_bool()) {
        (Some(x), _) if x == decisive => Value::bool(decisive),
        (_, Some(y)) if y == decisive => Value::bool(decisive),
        (Some(_), Some(_)) => Value::bool(!decisive),
        _ => unknown(Type::Bool, a, b),
    }
}

fn arithmetic(op: BinaryOp, a: &Value, b: &Value) -> Result<Value, String> {
    let zero = |v: &Value| v.as_number().is_some_and(Number::is_zero);
    if op == BinaryOp::Divide && zero(a) && zero(b) {
        return Err("operation failed: can't divide zero by zero".into());
    }
    let (Some(x), Some(y)) = (a.as_number(), b.as_number()) else { return Ok(half_known(op, a, b)) };
    let number = match op {
        BinaryOp::Less => return Ok(Value::bool(x < y)),
        BinaryOp::LessEqual => return Ok(Value::bool(x <= y)),
        BinaryOp::Greater => return Ok(Value::bool(x > y)),
        BinaryOp::GreaterEqual => return Ok(Value::bool(x >= y)),
        BinaryOp::Add => x.add(y),
        BinaryOp::Subtract => x.sub(y),
        BinaryOp::Multiply => x.mul(y),
        BinaryOp::Divide => x.div(y),
        _ => x.rem(y),
    };
    Ok(number.map_or_else(|| unknown(Type::Number, a, b), Value::number))
}

/// Bounds of an unknown number can decide a comparison.
fn half_known(op: BinaryOp, a: &Value, b: &Value) -> Value {
    let flipped = match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        _ => return unknown(Type::Number, a, b),
    };
    let answer = match (a.as_unknown(), b.as_unknown()) {
        (Some(u), None) => b.as_number().and_then(|n| decide(op, &u.refinement, n)),
        (None, Some(u)) => a.as_number().and_then(|n| decide(flipped, &u.refinement, n)),
        _ => None,
    };
    answer.map_or_else(|| unknown(Type::Bool, a, b), Value::bool)
}

/// `unknown op n` from the unknown's bounds.
fn decide(op: BinaryOp, bounds: &Refinement, n: &Number) -> Option<bool> {
    let above =
        |strict: bool| bounds.min.as_ref().is_some_and(|(m, inclusive)| m > n || m == n && (!strict || !inclusive));
    let below =
        |strict: bool| bounds.max.as_ref().is_some_and(|(m, inclusive)| m < n || m == n && (!strict || !inclusive));
    match op {
        BinaryOp::Less if below(true) => Some(true),
        BinaryOp::Less if above(false) => Some(false),
        BinaryOp::LessEqual if below(false) => Some(true),
        BinaryOp::LessEqual if above(true) => Some(false),
        BinaryOp::Greater if above(true) => Some(true),
        BinaryOp::Greater if below(false) => Some(false),
        BinaryOp::GreaterEqual if above(false) => Some(true),
        BinaryOp::GreaterEqual if below(true) => Some(false),
        _ => None,
    }
}

/// One side of a conditional.
#[derive(Debug)]
pub enum Branch {
    /// Its value, which is certain to be one.
    Value(Value),
    /// Its value, unless it turns out to fail.
    Fallible(Value),
    /// It failed, which matters only if it is taken. Terraform still gives it a type, which is this one if it is certain.
    Failed(Option<Type>),
}

/// The value of `condition ? yes : no` for a known condition: the side that is taken, in the type that both have in common.
///
/// The other side decides the type. While it may still take any type, only what no type changes is certain.
pub fn choose(taken: &Value, other: &Branch) -> Result<Value, String> {
    let fallible = matches!(other, Branch::Fallible(_));
    let stand_in;
    let other = match other {
        Branch::Value(other) | Branch::Fallible(other) => other,
        Branch::Failed(Some(Type::Dynamic)) => return Ok(taken.clone()),
        Branch::Failed(Some(ty)) => {
            stand_in = Value::unknown(ty.clone(), Cause::new(CauseKind::Failed, "conditional"));
            &stand_in
        }
        Branch::Failed(None) => {
            let cause = Cause::new(CauseKind::Failed, "the side of a conditional that is not taken");
            return Ok(Value::unknown(Type::Dynamic, cause).marked(taken.deep_marks()).like(taken));
        }
    };
    if untyped_null(other) {
        return Ok(taken.clone());
    }
    if taken.is_null() && taken.is_untyped() {
        let settled = other.is_settled() && taken.is_settled() && !fallible;
        let null = if settled { Value::null(other.ty()) } else { Value::open_null() };
        return Ok(null.marked(taken.marks()).like(taken));
    }
    if !other.is_settled() || !taken.is_settled() {
        if taken.as_str().is_some() {
            return Ok(taken.clone());
        }
        return Ok(undecided(taken, other));
    }
    let ty = match common(taken, other) {
        Ok(ty) => ty,
        Err(_) if !taken.is_wholly_known() || !other.is_wholly_known() => return Ok(undecided(taken, other)),
        Err(mismatch) => return Err(mismatch),
    };
    if fallible && taken.ty() != ty && taken.as_str().is_none() {
        return Ok(undecided(taken, other));
    }
    convert(taken, &ty).map_err(|e| format!("inconsistent conditional result types: {e}"))
}

/// A literal null, which takes the type of the other side.
fn untyped_null(value: &Value) -> bool {
    matches!(value.data(), Data::Null(Type::Dynamic)) && value.is_settled()
}

/// A side that is not known yet may still fail, and then it does not decide the type.
fn undecided(taken: &Value, other: &Value) -> Value {
    let cause = other.deep_cause().or_else(|| taken.deep_cause());
    let cause = cause.unwrap_or_else(|| Cause::new(CauseKind::Failed, "conditional"));
    Value::unknown(Type::Dynamic, cause).marked(taken.deep_marks()).like(taken)
}

fn common(a: &Value, b: &Value) -> Result<Type, String> {
    let (x, y) = (a.ty(), b.ty());
    if x == Type::Dynamic || y == Type::Dynamic {
        return Ok(Type::Dynamic);
    }
    unify(&[x.clone(), y.clone()], Mode::Unsafe).ok_or_else(|| {
        format!("inconsistent conditional result types: one value is {}, the other is {}", x.friendly(), y.friendly())
    })
}

/// The value of a conditional whose condition is unknown because of `cause`.
pub fn either(yes: &Branch, no: &Branch, cause: Cause) -> Result<Value, String> {
    let (Branch::Value(a) | Branch::Fallible(a), Branch::Value(b) | Branch::Fallible(b)) = (yes, no) else {
        return Ok(Value::unknown(Type::Dynamic, cause));
    };
    let fallible = matches!(yes, Branch::Fallible(_)) || matches!(no, Branch::Fallible(_));
    let marks = a.deep_marks().union(b.deep_marks());
    let ty = match (untyped_null(a), untyped_null(b)) {
        (true, true) => return Ok(a.clone()),
        (true, false) => b.ty(),
        (false, true) => a.ty(),
        _ if !a.is_settled() || !b.is_settled() || fallible && a.ty() != b.ty() => {
            return Ok(Value::unknown(Type::Dynamic, cause).marked(marks));
        }
        _ => match common(a, b) {
            Ok(ty) => ty,
            Err(_) if !a.is_wholly_known() || !b.is_wholly_known() => {
                return Ok(Value::unknown(Type::Dynamic, cause).marked(marks));
            }
            Err(mismatch) => return Err(mismatch),
        },
    };
    let (Ok(a), Ok(b)) = (convert(a, &ty), convert(b, &ty)) else {
        return Ok(Value::unknown(ty, cause).marked(marks));
    };
    // A condition that failed, or may have, decides for neither side.
    let sound = cause.kind != CauseKind::Failed;
    if sound && a.is_wholly_known() && b.is_wholly_known() && a.equals(&b).as_bool() == Some(true) && a.ty() == b.ty() {
        return Ok(a.marked(marks));
    }
    let bound = |v: &Value, upper: bool| match (v.as_number(), v.as_unknown()) {
        (Some(n), _) => Some((n.clone(), true)),
        (None, Some(u)) => {
            if upper {
                u.refinement.max.clone()
            } else {
                u.refinement.min.clone()
            }
        }
        _ => None,
    };
    let len = |v: &Value| {
        v.as_unknown().map_or((v.len().unwrap_or(0), v.len()), |u| (u.refinement.min_len, u.refinement.max_len))
    };
    let not_null = a.is_certainly_not_null() && b.is_certainly_not_null();
    let mut refinement = Refinement { not_null, ..Refinement::default() };
    if not_null {
        refinement.min = bound(&a, false).zip(bound(&b, false)).map(|(x, y)| if x.0 <= y.0 { x } else { y });
        refinement.max = bound(&a, true).zip(bound(&b, true)).map(|(x, y)| if x.0 >= y.0 { x } else { y });
        refinement.min_len = len(&a).0.min(len(&b).0);
        refinement.max_len = len(&a).1.zip(len(&b).1).map(|(x, y)| x.max(y));
    }
    Ok(Value::refined(ty, refinement, cause).marked(marks))
}
