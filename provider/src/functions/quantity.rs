//! Amounts of CPU and memory.

use super::text;
use sampan_schema::quantity::millis;
use tf_plugin::{FunctionDef, FunctionError, Number, Parameter, Type, Value};

/// Digits after the point that a quantity may have.
const DIGITS: usize = 9;
const SUFFIXES: &str = "none, m, k, M, G, T, Ki, Mi, Gi or Ti";

pub(super) fn parse_definition() -> FunctionDef {
    FunctionDef::new(Type::Number)
        .summary("The amount of a quantity as a number.")
        .describe("`500m` is 0.5 and `1Gi` is 1073741824: cores of CPU, or bytes.")
        .parameter(Parameter::new("quantity", Type::String).describe("Such as `500m`, `0.5`, `512Mi` or `1Gi`."))
}

pub(super) fn parse(arguments: &[Value]) -> Result<Value, FunctionError> {
    let quantity = text(arguments, 0);
    let wrong = || {
        let text = format!("{quantity:?} is no quantity: a number that is not negative, with a suffix of {SUFFIXES}.");
        FunctionError::at(0, text)
    };
    let amount = millis(quantity).ok_or_else(wrong)?;
    let number = Number::parse(&format!("{}.{:03}", amount / 1000, amount % 1000)).map_err(|_| wrong())?;
    Ok(number.into())
}

pub(super) fn format_definition() -> FunctionDef {
    FunctionDef::new(Type::String)
        .summary("An amount as a quantity with a suffix.")
        .describe("`format_quantity(1073741824, \"Gi\")` is `1Gi`. An amount that the suffix cannot write exactly is an error.")
        .parameter(Parameter::new("amount", Type::Number).describe("Cores or bytes, in steps of a thousandth."))
        .parameter(Parameter::new("suffix", Type::String).describe(format!("{SUFFIXES}; none is the empty text.")))
}

pub(super) fn format(arguments: &[Value]) -> Result<Value, FunctionError> {
    let amount = arguments.first().and_then(Value::as_number).map(ToString::to_string).unwrap_or_default();
    let suffix = text(arguments, 1);
    let Some(whole) = millis(&amount) else {
        let text = format!("{amount} is no amount: it is negative, finer than a thousandth or too large.");
        return Err(FunctionError::at(0, text));
    };
    let Some(unit) = millis(&format!("1{suffix}")) else {
        return Err(FunctionError::at(1, format!("{suffix:?} is no suffix; use {SUFFIXES}.")));
    };
    let mut written = (whole / unit).to_string();
    let mut rest = whole % unit;
    if rest > 0 {
        written.push('.');
    }
    for _ in 0..DIGITS {
        if rest == 0 {
            break;
        }
        rest *= 10;
        written.push_str(&(rest / unit).to_string());
        rest %= unit;
    }
    if rest > 0 {
        return Err(FunctionError::at(1, format!("{amount} has no exact form with the suffix {suffix}.")));
    }
    Ok(format!("{written}{suffix}").into())
}
