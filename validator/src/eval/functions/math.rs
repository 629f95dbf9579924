//! Arithmetic functions.

use super::{Call, Fault, Outcome};
use crate::eval::number::Number;
use crate::eval::types::Type;
use crate::eval::value::Value;
use num_bigint::BigInt;

/// The number, or an unknown one if it has no representation here.
fn known(call: &Call<'_>, number: Option<Number>) -> Value {
    number.map_or_else(|| call.unknown(Type::Number), Value::number)
}

pub(super) fn abs(call: &Call<'_>) -> Outcome {
    let n = call.number(0)?;
    Ok(Value::number(if n.is_negative() { n.neg() } else { n.clone() }))
}

pub(super) fn ceil(call: &Call<'_>) -> Outcome {
    Ok(known(call, call.number(0)?.ceil()))
}

pub(super) fn floor(call: &Call<'_>) -> Outcome {
    Ok(known(call, call.number(0)?.floor()))
}

pub(super) fn signum(call: &Call<'_>) -> Outcome {
    let n = call.number(0)?;
    if !n.is_integer() {
        return Err(Fault::argument(0, "value must be a whole number"));
    }
    Ok(Value::number(Number::count(n.signum())))
}

fn extreme(call: &Call<'_>, better: fn(&Number, &Number) -> bool) -> Outcome {
    let mut best: Option<&Number> = None;
    for i in 0..call.args.len() {
        let n = call.number(i)?;
        if best.is_none_or(|b| better(n, b)) {
            best = Some(n);
        }
    }
    best.map(|n| Value::number(n.clone())).ok_or_else(|| Fault::call("must pass at least one number"))
}

pub(super) fn max(call: &Call<'_>) -> Outcome {
    extreme(call, |a, b| a > b)
}

pub(super) fn min(call: &Call<'_>) -> Outcome {
    extreme(call, |a, b| a < b)
}

/// Reads an integer in a base from 2 to 62; above 36 upper-case letters are the larger digits.
pub(super) fn parseint(call: &Call<'_>) -> Outcome {
    if !matches!(call.arg(0)?.ty(), Type::String) {
        return Err(Fault::argument(
            0,
            format!("first argument must be a string, not {}", call.arg(0)?.ty().friendly()),
        ));
    }
    let (text, base) = (call.text(0)?, call.int(1)?);
    if !(2..=62).contains(&base) {
        return Err(Fault::argument(1, "base must be a whole number between 2 and 62 inclusive"));
    }
    if text.len() > 1_024 {
        return Ok(call.unknown(Type::Number));
    }
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fail = || Fault::argument(0, format!("cannot parse {text:?} as a base {base} integer"));
    if body.is_empty() {
        return Err(fail());
    }
    let mut value = BigInt::from(0);
    for c in body.chars() {
        let digit = match c {
            '0'..='9' => c as i64 - '0' as i64,
            'a'..='z' => c as i64 - 'a' as i64 + 10,
            'A'..='Z' => c as i64 - 'A' as i64 + if base > 36 { 36 } else { 10 },
            _ => return Err(fail()),
        };
        if digit >= base {
            return Err(fail());
        }
        value = value * base + digit;
    }
    if text.starts_with('-') {
        value = -value;
    }
    Ok(known(call, Number::integer(value)))
}

#[expect(clippy::float_cmp, reason = "exact special cases of the definition")]
/// Whole powers, computed step by step as Terraform's runtime does; others need its own exponential and stay unknown.
pub(super) fn pow(call: &Call<'_>) -> Outcome {
    let (Some(base), Some(power)) = (call.number(0)?.to_f64(), call.number(1)?.to_f64()) else {
        return Ok(call.unknown(Type::Number));
    };
    if power == 0.0 || base == 1.0 {
        return Ok(known(call, Number::float(1.0)));
    }
    if power == 1.0 {
        return Ok(known(call, Number::float(base)));
    }
    if power.fract() != 0.0 || power.abs() > 4_096.0 || base == 0.0 {
        return Ok(call.unknown(Type::Number));
    }
    let (mut factor, mut exponent) = split(base);
    let (mut result, mut scale) = (1.0f64, 0i64);
    let mut left = power.abs() as u32;
    while left != 0 {
        if !(-4_096..=4_096).contains(&exponent) {
            return Ok(call.unknown(Type::Number));
        }
        if left & 1 == 1 {
            result *= factor;
            scale += exponent;
        }
        factor *= factor;
        exponent <<= 1;
        if factor.abs() < 0.5 {
            factor += factor;
            exponent -= 1;
        }
        left >>= 1;
    }
    if power < 0.0 {
        result = 1.0 / result;
        scale = -scale;
    }
    let (mantissa, more) = split(result);
    let total = scale + more;
    if !(-1_000..=1_000).contains(&total) {
        return Ok(call.unknown(Type::Number));
    }
    Ok(known(call, Number::float(mantissa * 2f64.powi(total as i32))))
}

/// Mantissa in `[0.5, 1)` and exponent of a normal number.
fn split(value: f64) -> (f64, i64) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), exponent)
}

#[expect(clippy::float_cmp, reason = "an exact special case of the definition")]
/// The quotient of two natural logarithms, each by the reduction and polynomial that Terraform's runtime uses.
pub(super) fn log(call: &Call<'_>) -> Outcome {
    let (Some(value), Some(base)) = (call.number(0)?.to_f64(), call.number(1)?.to_f64()) else {
        return Ok(call.unknown(Type::Number));
    };
    if value <= 0.0 || base <= 0.0 || base == 1.0 {
        return Ok(call.unknown(Type::Number));
    }
    Ok(known(call, Number::float(natural_log(value) / natural_log(base))))
}

fn natural_log(x: f64) -> f64 {
    const LN2_HI: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LO: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    const L1: f64 = f64::from_bits(0x3fe5_5555_5555_5593);
    const L2: f64 = f64::from_bits(0x3fd9_9999_9997_fa04);
    const L3: f64 = f64::from_bits(0x3fd2_4924_9422_9359);
    const L4: f64 = f64::from_bits(0x3fcc_71c5_1d8e_78af);
    const L5: f64 = f64::from_bits(0x3fc7_4664_96cb_03de);
    const L6: f64 = f64::from_bits(0x3fc3_9a09_d078_c69f);
    const L7: f64 = f64::from_bits(0x3fc2_f112_df3e_5244);
    let (mut f1, mut k) = split(x);
    if f1 < std::f64::consts::FRAC_1_SQRT_2 {
        f1 *= 2.0;
        k -= 1;
    }
    let f = f1 - 1.0;
    let k = k as f64;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let t1 = s2 * (L1 + s4 * (L3 + s4 * (L5 + s4 * L7)));
    let t2 = s4 * (L2 + s4 * (L4 + s4 * L6));
    let r = t1 + t2;
    let half = 0.5 * f * f;
    k * LN2_HI - ((half - (s * (half + r) + k * LN2_LO)) - f)
}

/// Numbers from start to end, at most 1,024 of them.
pub(super) fn range(call: &Call<'_>) -> Outcome {
    // The implied start has the precision of 64-bit floats, the implied step that of counts.
    let (zero, one) = (Number::float(0.0).unwrap_or_else(|| Number::count(0)), Number::count(1));
    let n = |i: usize| call.number(i).cloned();
    let step_towards = |start: &Number, end: &Number| if end < start { one.neg() } else { one.clone() };
    let (start, end, step) = match call.args.len() {
        1 => (zero.clone(), n(0)?, step_towards(&zero, &n(0)?)),
        2 => (n(0)?, n(1)?, step_towards(&n(0)?, &n(1)?)),
        3 => (n(0)?, n(1)?, n(2)?),
        _ => return Err(Fault::call("must have one, two, or three arguments")),
    };
    if step.is_zero() {
        // Terraform compares with its own zero, so only a step that was written as such is refused by name.
        return Err(Fault::argument(2, "step must not be zero"));
    }
    let down = step.signum() < 0;
    if down && end > start {
        return Err(Fault::argument(1, "end must be less than start when step is negative"));
    }
    if !down && end < start {
        return Err(Fault::argument(1, "end must be greater than start when step is positive"));
    }
    let mut items = Vec::new();
    let mut next = start;
    while if down { next > end } else { next < end } {
        if items.len() >= 1_024 {
            return Err(Fault::call("more than 1024 values were generated; use a smaller range or a larger step"));
        }
        let Some(sum) = next.add(&step) else { return Ok(call.unknown(Type::list(Type::Number))) };
        items.push(Value::number(std::mem::replace(&mut next, sum)));
    }
    Ok(Value::list(Type::Number, items))
}
