//! `format` and `formatlist`, and the notations of numbers.

use super::{Call, Fault, Outcome};
use crate::eval::convert::convert;
use crate::eval::number::{Number, plain, round_decimal};
use crate::eval::types::Type;
use crate::eval::value::{Refinement, Value, safe_prefix};
use std::fmt::Write as _;

/// Widths and precisions beyond this are not computed.
const MAX_FIELD: usize = 4_096;

/// The general notation: exponents for very small and very large numbers. `digits` limits the significant digits; without it,
/// the fewest that mean the number.
pub fn general(n: &Number, digits: Option<usize>) -> String {
    let (mantissa, point) = match digits {
        None => n.shortest_decimal(),
        Some(limit) => {
            let (all, point) = n.exact_decimal();
            round_decimal(&all, point, limit.max(1) as i64 - point)
        }
    };
    let sign = if n.is_negative() { "-" } else { "" };
    let len = mantissa.len() as i64;
    let threshold = match digits {
        None => 6,
        Some(limit) => {
            let limit = limit.max(1) as i64;
            if limit > len && len >= point { len } else { limit }
        }
    };
    let exponent = if mantissa.is_empty() { -1 } else { point - 1 };
    if exponent < -4 || exponent >= threshold {
        return format!("{sign}{}", scientific(&mantissa, point, mantissa.len().saturating_sub(1), 'e'));
    }
    format!("{sign}{}", plain(&mantissa, point, None))
}

/// `d.ddde±dd` of `0.digits * 10^point`.
fn scientific(digits: &[u8], point: i64, places: usize, letter: char) -> String {
    let digit = |i: usize| digits.get(i).map_or('0', |d| char::from(*d));
    let mut text = String::from(digit(0));
    if places > 0 {
        text.push('.');
        text.extend((1..=places).map(digit));
    }
    let exponent = if digits.is_empty() { 0 } else { point - 1 };
    let _ = write!(text, "{letter}{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    text
}

/// One `%…` of a format string.
#[derive(Default)]
struct Verb {
    zero: bool,
    sharp: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
    mode: char,
}

/// What applying a format gives: text, or nothing definite.
type Formatted = Result<Option<String>, Fault>;

pub(super) fn format(call: &Call<'_>) -> Outcome {
    let template = call.arg(0)?;
    let unknown = |prefix: Option<&str>| {
        let refinement = Refinement {
            not_null: true,
            prefix: prefix.map(safe_prefix).filter(|p| !p.is_empty()).map(Into::into),
            ..Refinement::default()
        };
        let cause = call.args.iter().find_map(Value::deep_cause).unwrap_or_else(|| call.not_computed());
        Value::refined(Type::String, refinement, cause)
    };
    let Some(text) = template.as_str() else { return Ok(unknown(None)) };
    let rest = call.args.get(1..).unwrap_or_default();
    // Terraform has no definite result for a null without a type.
    if rest.iter().any(|a| a.is_null() && a.is_untyped()) {
        return Ok(call.undecided());
    }
    if rest.iter().any(|a| !a.is_wholly_known()) {
        return Ok(unknown(text.find('%').map(|at| &text[..at])));
    }
    Ok(apply(call, text, rest)?.map_or_else(|| unknown(None), Value::string))
}

pub(super) fn formatlist(call: &Call<'_>) -> Outcome {
    let list = Type::list(Type::String);
    let template = call.arg(0)?;
    let Some(text) = template.as_str() else { return Ok(call.unknown(list)) };
    let rest = call.args.get(1..).unwrap_or_default();
    if rest.is_empty() {
        let only = apply(call, text, &[])?;
        return Ok(Value::list(Type::String, vec![only.map_or_else(|| call.unknown(Type::String), Value::string)]));
    }
    if rest.iter().any(Value::is_untyped) {
        return Ok(call.undecided());
    }
    let mut length: Option<usize> = None;
    for (i, arg) in rest.iter().enumerate() {
        if !arg.is_null() && arg.ty().is_sequence() {
            let Some(items) = arg.as_seq() else { return Ok(call.unknown(list)) };
            if length.is_some_and(|l| l != items.len()) {
                return Err(Fault::argument(i + 1, format!("argument {} has an inconsistent length", i + 1)));
            }
            length = Some(items.len());
        }
    }
    let mut results = Vec::new();
    let mut bytes = 0u64;
    for row in 0..length.unwrap_or(1) {
        let args: Vec<Value> = rest.iter().map(|a| a.as_seq().and_then(|s| s.get(row)).unwrap_or(a).clone()).collect();
        let result =
            if args.iter().all(|a| a.is_wholly_known() && !a.is_untyped()) { apply(call, text, &args)? } else { None };
        bytes += result.as_ref().map_or(0, String::len) as u64 + 32;
        if !call.fits(bytes) {
            return Ok(call.too_large(list));
        }
        results.push(result.map_or_else(|| call.unknown(Type::String), Value::string));
    }
    Ok(Value::list(Type::String, results))
}

fn apply(call: &Call<'_>, template: &str, args: &[Value]) -> Formatted {
    let mut out = String::new();
    let mut chars = template.char_indices().peekable();
    let (mut next, mut highest) = (1usize, 0usize);
    while let Some((offset, c)) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.next_if(|(_, c)| *c == '%').is_some() {
            out.push('%');
            continue;
        }
        let mut verb = Verb::default();
        let mut number = next;
        parse_flags(&mut chars, &mut verb);
        if let Some((_, c)) = chars.next_if(|(_, c)| matches!(c, '1'..='9')) {
            verb.width = Some(digits(&mut chars, c.to_digit(10)));
        }
        if chars.next_if(|(_, c)| *c == '.').is_some() {
            verb.precision = Some(digits(&mut chars, None));
        }
        if chars.next_if(|(_, c)| *c == '[').is_some() {
            let Some((_, c)) = chars.next_if(|(_, c)| matches!(c, '1'..='9')) else { return Err(unrecognized(offset)) };
            number = digits(&mut chars, c.to_digit(10));
            if chars.next_if(|(_, c)| *c == ']').is_none() {
                return Err(unrecognized(offset));
            }
        }
        let Some((_, mode)) = chars.next_if(|(_, c)| c.is_ascii_alphabetic()) else { return Err(unrecognized(offset)) };
        verb.mode = mode;
        highest = highest.max(number);
        let Some(arg) = number.checked_sub(1).and_then(|i| args.get(i)) else {
            return Err(Fault::call(format!(
                "not enough arguments for verb at {offset}: need index {number} but have {} total",
                args.len()
            )));
        };
        match append(&verb, arg, offset)? {
            Some(text) => out.push_str(&text),
            None => return Ok(None),
        }
        if !call.fits(out.len() as u64) {
            return Ok(None);
        }
        next = number + 1;
    }
    if highest < args.len() {
        return Err(Fault::argument(highest + 1, format!("too many arguments; only {highest} used by format string")));
    }
    Ok(Some(out))
}

fn unrecognized(offset: usize) -> Fault {
    Fault::argument(0, format!("unrecognized format character in the verb that starts at offset {offset}"))
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

fn parse_flags(chars: &mut Chars<'_>, verb: &mut Verb) {
    while let Some((_, c)) = chars.next_if(|(_, c)| matches!(c, '0' | '#' | '-' | '+' | ' ')) {
        match c {
            '0' => verb.zero = true,
            '#' => verb.sharp = true,
            '-' => verb.minus = true,
            '+' => verb.plus = true,
            _ => verb.space = true,
        }
    }
}

/// A decimal number, its first digit perhaps read already. Saturates far above [`MAX_FIELD`].
fn digits(chars: &mut Chars<'_>, first: Option<u32>) -> usize {
    let mut value = first.unwrap_or(0) as usize;
    while let Some((_, c)) = chars.next_if(|(_, c)| c.is_ascii_digit()) {
        value = (value * 10 + c.to_digit(10).unwrap_or(0) as usize).min(1 << 30);
    }
    value
}

fn append(verb: &Verb, arg: &Value, offset: usize) -> Formatted {
    let unsupported = |why: String| Fault::call(format!("unsupported value for %{} at {offset}: {why}", verb.mode));
    if verb.mode != 'v' && arg.is_null() {
        return Err(unsupported("null value cannot be formatted".into()));
    }
    if verb.width.is_some_and(|w| w > MAX_FIELD) || verb.precision.is_some_and(|p| p > MAX_FIELD) {
        return Ok(None);
    }
    match verb.mode {
        'v' => {
            let text = match (verb.sharp, arg.as_str(), arg.as_number()) {
                (false, Some(text), _) => text.to_string(),
                (false, _, Some(n)) => general(n, None),
                _ => super::json::encode(arg),
            };
            Ok(padded(verb, text))
        }
        't' => {
            let value = convert(arg, &Type::Bool).map_err(|e| unsupported(e.to_string()))?;
            Ok(Some(if value.as_bool() == Some(true) { "true" } else { "false" }.into()))
        }
        'b' | 'd' | 'o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'g' | 'G' => {
            let value = convert(arg, &Type::Number).map_err(|e| unsupported(e.to_string()))?;
            let Some(n) = value.as_number() else { return Ok(None) };
            if verb.minus && verb.zero {
                return Ok(None);
            }
            if matches!(verb.mode, 'e' | 'E' | 'f' | 'g' | 'G') {
                return Ok(Some(fraction(verb, n)));
            }
            integer(verb, n).map(Some).ok_or_else(|| unsupported("an integer is required".into()))
        }
        's' | 'q' => {
            let value = convert(arg, &Type::String).map_err(|e| unsupported(e.to_string()))?;
            let Some(text) = value.as_str() else { return Ok(None) };
            let text = match verb.precision.filter(|p| *p > 0) {
                Some(keep) => match super::text::graphemes(text) {
                    Some(parts) => parts.into_iter().take(keep).collect::<String>(),
                    None => return Ok(None),
                },
                None => text.to_string(),
            };
            Ok(padded(verb, if verb.mode == 'q' { super::json::encode(&Value::string(text)) } else { text }))
        }
        mode => Err(Fault::call(format!("unsupported format verb '{mode}' at offset {offset}"))),
    }
}

/// Pads to the width in graphemes; `None` if they cannot be counted.
fn padded(verb: &Verb, text: String) -> Option<String> {
    let Some(width) = verb.width else { return Some(text) };
    let have = super::text::graphemes(&text)?.len();
    let fill = if verb.zero { "0" } else { " " }.repeat(width.saturating_sub(have));
    Some(if verb.minus { text + &fill } else { fill + &text })
}

fn integer(verb: &Verb, n: &Number) -> Option<String> {
    let value = n.to_bigint()?;
    let (radix, prefix) = match verb.mode {
        'b' => (2, "0b"),
        'o' => (8, "0"),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        _ => (10, ""),
    };
    let mut digits = value.magnitude().to_str_radix(radix);
    if verb.mode == 'X' {
        digits.make_ascii_uppercase();
    }
    let sign = if n.signum() < 0 {
        "-"
    } else if verb.plus {
        "+"
    } else if verb.space {
        " "
    } else {
        ""
    };
    let prefix = if verb.sharp { prefix } else { "" };
    let mut zeros = 0;
    if let Some(precision) = verb.precision {
        if digits.len() < precision {
            zeros = precision - digits.len();
        } else if digits == "0" && precision == 0 {
            return Some(String::new());
        }
    }
    let (mut left, mut right) = (0, 0);
    let length = sign.len() + prefix.len() + zeros + digits.len();
    let missing = verb.width.unwrap_or(0).saturating_sub(length);
    match (verb.minus, verb.zero && verb.precision.is_none()) {
        (true, _) => right = missing,
        (false, true) => zeros = missing,
        (false, false) => left = missing,
    }
    Some(format!("{}{sign}{prefix}{}{digits}{}", " ".repeat(left), "0".repeat(zeros), " ".repeat(right)))
}

fn fraction(verb: &Verb, n: &Number) -> String {
    let (all, point) = n.exact_decimal();
    let body = match verb.mode {
        'f' => {
            let places = verb.precision.unwrap_or(6);
            let (digits, point) = round_decimal(&all, point, places as i64);
            plain(&digits, point, Some(places))
        }
        'e' | 'E' => {
            let places = verb.precision.unwrap_or(6);
            let (digits, point) = round_decimal(&all, point, 1 + places as i64 - point);
            scientific(&digits, point, places, verb.mode)
        }
        _ => {
            let text = general(n, verb.precision);
            let text = text.strip_prefix('-').map(str::to_string).unwrap_or(text);
            if verb.mode == 'G' { text.to_ascii_uppercase() } else { text }
        }
    };
    let sign = if n.is_negative() {
        "-"
    } else if verb.plus {
        "+"
    } else if verb.space {
        " "
    } else {
        ""
    };
    let fill = verb.width.unwrap_or(0).saturating_sub(sign.len() + body.len());
    match (verb.zero, verb.minus) {
        (true, _) => format!("{sign}{}{body}", "0".repeat(fill)),
        (false, true) => format!("{sign}{body}{}", " ".repeat(fill)),
        (false, false) => format!("{}{sign}{body}", " ".repeat(fill)),
    }
}
