//! Numbers of Terraform: decimals of any size.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use crate::value::{Value, clip};

/// A number of any size, held as a decimal, so no digit is lost.
///
/// Equality and order are by amount: `5`, `5.0` and `5e0` are the same number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(Repr);

/// Normal form: `Int` whenever it fits, digits without zeros at either end otherwise, so derived equality is exact.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Int(i64),
    Decimal { negative: bool, digits: Box<str>, exponent: i64 },
    Infinity { negative: bool },
}

/// Why text is no number, or why a number does not fit a machine type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NumberError(String);

/// Largest power of ten; beyond it the arithmetic of Terraform itself overflows.
const EXPONENT_LIMIT: i64 = 600_000_000;
/// Longest numeral that is written without an exponent.
const PLAIN_LIMIT: i64 = 1_000;

impl Number {
    /// Reads a decimal numeral with optional sign, fraction and exponent.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        if let Ok(i) = text.parse::<i64>() {
            return Ok(Self(Repr::Int(i)));
        }
        let bad = || NumberError(format!("{:?} is not a number", clip(text)));
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => {
                let digits = &rest[at + 1..];
                let bare = digits.strip_prefix(['+', '-']).unwrap_or(digits);
                if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad());
                }
                let e = digits.parse::<i64>().ok().filter(|e| e.abs() <= EXPONENT_LIMIT);
                (&rest[..at], e.ok_or_else(|| NumberError(format!("the exponent of {} is too large", clip(text))))?)
            }
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        Ok(Self::from_digits(negative, [whole, fraction].concat(), exponent - fraction.len() as i64))
    }

    /// `digits` are ASCII digits.
    fn from_digits(negative: bool, digits: String, exponent: i64) -> Self {
        let trimmed = digits.trim_start_matches('0');
        let body = trimmed.trim_end_matches('0');
        if body.is_empty() {
            return Self(Repr::Int(0));
        }
        let exponent = exponent + (trimmed.len() - body.len()) as i64;
        if exponent >= 0 && body.len() as i64 + exponent <= 19 {
            let mut text = String::from(if negative { "-" } else { "" });
            text.push_str(body);
            text.extend(std::iter::repeat_n('0', exponent as usize));
            if let Ok(i) = text.parse::<i64>() {
                return Self(Repr::Int(i));
            }
        }
        Self(Repr::Decimal { negative, digits: body.into(), exponent })
    }

    /// The exact amount of a float; `None` for NaN, which is not a number in Terraform either.
    pub fn from_f64(float: f64) -> Option<Self> {
        if float.is_nan() {
            return None;
        }
        if float.is_infinite() {
            return Some(Self(Repr::Infinity { negative: float < 0.0 }));
        }
        // No float has more than 767 significant digits, so this text is exact.
        Self::parse(&format!("{float:.770e}")).ok()
    }

    /// The number as `i64`; the error says what would be lost.
    pub fn to_i64(&self) -> Result<i64, NumberError> {
        match &self.0 {
            Repr::Int(i) => Ok(*i),
            Repr::Decimal { exponent, .. } if *exponent < 0 => {
                Err(NumberError(format!("{self} is not a whole number")))
            }
            _ => Err(NumberError(format!("{self} is outside of the range of a 64-bit integer"))),
        }
    }

    /// The number as `i32`.
    pub fn to_i32(&self) -> Result<i32, NumberError> {
        let i = self.to_i64()?;
        i32::try_from(i).map_err(|_| NumberError(format!("{i} is outside of the range of a 32-bit integer")))
    }

    /// The number as `u32`.
    pub fn to_u32(&self) -> Result<u32, NumberError> {
        let i = self.to_i64()?;
        u32::try_from(i).map_err(|_| NumberError(format!("{i} is not between 0 and {}", u32::MAX)))
    }

    /// The number as `u64`.
    pub fn to_u64(&self) -> Result<u64, NumberError> {
        match &self.0 {
            Repr::Decimal { negative: false, exponent, .. } if *exponent >= 0 => {
                self.to_string().parse().map_err(|_| NumberError(format!("{self} is not between 0 and {}", u64::MAX)))
            }
            _ => {
                let i = self.to_i64()?;
                u64::try_from(i).map_err(|_| NumberError(format!("{i} is not between 0 and {}", u64::MAX)))
            }
        }
    }

    /// The nearest float.
    pub fn to_f64_lossy(&self) -> f64 {
        match &self.0 {
            Repr::Int(i) => *i as f64,
            Repr::Decimal { .. } => self.to_string().parse().unwrap_or(f64::NAN),
            Repr::Infinity { negative } => {
                if *negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
        }
    }

    /// The number as a float of exactly the same amount.
    pub fn to_f64_exact(&self) -> Result<f64, NumberError> {
        let float = self.to_f64_lossy();
        if Self::from_f64(float).as_ref() == Some(self) {
            Ok(float)
        } else {
            Err(NumberError(format!("{self} has no exact 64-bit float")))
        }
    }

    /// Whether the number has no fraction.
    pub fn is_whole(&self) -> bool {
        match &self.0 {
            Repr::Int(_) => true,
            Repr::Decimal { exponent, .. } => *exponent >= 0,
            Repr::Infinity { .. } => false,
        }
    }

    /// Whether the number is neither infinity.
    pub fn is_finite(&self) -> bool {
        !matches!(self.0, Repr::Infinity { .. })
    }

    /// Sign, digits without zeros at either end, and exponent; nothing for zero and infinities.
    fn parts(&self) -> (bool, Cow<'_, str>, i64) {
        match &self.0 {
            Repr::Int(i) => {
                let text = i.unsigned_abs().to_string();
                let body = text.trim_end_matches('0');
                (*i < 0, Cow::Owned(body.to_owned()), (text.len() - body.len()) as i64)
            }
            Repr::Decimal { negative, digits, exponent } => (*negative, Cow::Borrowed(digits), *exponent),
            Repr::Infinity { negative } => (*negative, Cow::Borrowed(""), 0),
        }
    }

    fn sign(&self) -> i8 {
        match &self.0 {
            Repr::Int(i) => i.signum() as i8,
            Repr::Decimal { negative, .. } | Repr::Infinity { negative } => 1 - 2 * i8::from(*negative),
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Repr::Int(a), Repr::Int(b)) = (&self.0, &other.0) {
            return a.cmp(b);
        }
        let sign = self.sign();
        if sign != other.sign() || sign == 0 {
            return sign.cmp(&other.sign());
        }
        let by_amount = match (self.is_finite(), other.is_finite()) {
            (true, true) => {
                let ((_, a, ae), (_, b, be)) = (self.parts(), other.parts());
                // Digits begin with a non-zero one, so the place of the first digit decides, then the digits as text.
                (a.len() as i64 + ae).cmp(&(b.len() as i64 + be)).then_with(|| a.cmp(&b))
            }
            (a, b) => b.cmp(&a),
        };
        if sign < 0 { by_amount.reverse() } else { by_amount }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The shortest plain numeral; with an exponent only beyond a thousand digits.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Int(i) => write!(f, "{i}"),
            Repr::Infinity { negative } => f.write_str(if *negative { "-Infinity" } else { "Infinity" }),
            Repr::Decimal { negative, digits, exponent } => {
                if *negative {
                    f.write_str("-")?;
                }
                let point = digits.len() as i64 + exponent;
                if exponent.abs() > PLAIN_LIMIT {
                    write!(f, "{digits}e{exponent}")
                } else if *exponent >= 0 {
                    write!(f, "{digits}{:0<1$}", "", *exponent as usize)
                } else if point > 0 {
                    let (whole, fraction) = digits.split_at(point as usize);
                    write!(f, "{whole}.{fraction}")
                } else {
                    write!(f, "0.{:0<1$}{digits}", "", point.unsigned_abs() as usize)
                }
            }
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Number {
    type Err = NumberError;
    fn from_str(text: &str) -> Result<Self, NumberError> {
        Self::parse(text)
    }
}

macro_rules! number_from {
    ($($t:ty),*) => {$(
        impl From<$t> for Number {
            fn from(i: $t) -> Self {
                Self(Repr::Int(i.into()))
            }
        }
        impl From<$t> for Value {
            fn from(i: $t) -> Self {
                Self::Number(i.into())
            }
        }
    )*};
}
number_from!(i64, i32, i16, u8, u16, u32);

impl From<u64> for Number {
    fn from(i: u64) -> Self {
        i64::try_from(i).map_or_else(|_| Self::from_digits(false, i.to_string(), 0), Self::from)
    }
}

impl From<u64> for Value {
    fn from(i: u64) -> Self {
        Self::Number(i.into())
    }
}
