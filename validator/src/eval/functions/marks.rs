//! Marks and conversions that a user asks for by name.

use super::{Call, Fault, Outcome};
use crate::eval::convert::{Mode, convert, convertible};
use crate::eval::types::Type;
use crate::eval::value::{Data, Marks, Value};

pub(super) fn sensitive(call: &Call<'_>) -> Outcome {
    Ok(call.arg(0)?.clone().marked(Marks::SENSITIVE))
}

pub(super) fn nonsensitive(call: &Call<'_>) -> Outcome {
    Ok(call.arg(0)?.clone().without_marks(Marks::SENSITIVE))
}

pub(super) fn issensitive(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    Ok(match value.marks().has(Marks::SENSITIVE) {
        true => Value::bool(true),
        false if !value.is_known() => call.unknown(Type::Bool),
        false => Value::bool(false),
    })
}

/// Every ephemeral part becomes a null of its type.
pub(super) fn ephemeralasnull(call: &Call<'_>) -> Outcome {
    Ok(without_ephemeral(call.arg(0)?))
}

fn without_ephemeral(value: &Value) -> Value {
    if !value.deep_marks().has(Marks::EPHEMERAL) {
        return value.clone();
    }
    if value.marks().has(Marks::EPHEMERAL) {
        return Value::null(value.ty()).marked(value.marks().without(Marks::EPHEMERAL));
    }
    let rebuilt = match value.data() {
        Data::Tuple(_) => Value::tuple(value.as_seq().unwrap_or_default().iter().map(without_ephemeral).collect()),
        Data::List(_) => {
            let element = value.ty().element().cloned().unwrap_or(Type::Dynamic);
            Value::list(element, value.as_seq().unwrap_or_default().iter().map(without_ephemeral).collect())
        }
        Data::Map(_) | Data::Object(_) => {
            let items = value.as_dict().into_iter().flatten().map(|(k, v)| (k.clone(), without_ephemeral(v))).collect();
            match value.ty() {
                Type::Map(element) => Value::map((*element).clone(), items),
                _ => Value::object(items),
            }
        }
        _ => value.clone(),
    };
    rebuilt.marked(value.marks())
}

fn to(call: &Call<'_>, ty: &Type) -> Outcome {
    let value = call.arg(0)?;
    let from = value.ty();
    let cannot = || Fault::argument(0, format!("cannot convert {} to {}", from.friendly(), constraint_name(ty)));
    if value.is_settled() && from != *ty && !convertible(&from, ty, Mode::Unsafe) {
        return Err(cannot());
    }
    convert(value, ty).map_err(|e| Fault::argument(0, format!("{}: {e}", cannot().message)))
}

fn constraint_name(ty: &Type) -> String {
    match ty {
        Type::List(_) => "list of any single type".into(),
        Type::Set(_) => "set of any single type".into(),
        Type::Map(_) => "map of any single type".into(),
        other => other.friendly(),
    }
}

pub(super) fn tobool(call: &Call<'_>) -> Outcome {
    to(call, &Type::Bool)
}
pub(super) fn tonumber(call: &Call<'_>) -> Outcome {
    to(call, &Type::Number)
}
pub(super) fn tostring(call: &Call<'_>) -> Outcome {
    to(call, &Type::String)
}
pub(super) fn tolist(call: &Call<'_>) -> Outcome {
    to(call, &Type::list(Type::Dynamic))
}
pub(super) fn tomap(call: &Call<'_>) -> Outcome {
    to(call, &Type::map(Type::Dynamic))
}
pub(super) fn toset(call: &Call<'_>) -> Outcome {
    to(call, &Type::set(Type::Dynamic))
}
