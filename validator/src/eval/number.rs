//! Numbers as Terraform computes them: binary floating point whose precision belongs to each value.
//!
//! Literals and decoded text carry 512 bits, counts 64, results of `pow` and `log` 53; an operation takes the larger of its
//! operands' and rounds to nearest even. The same bits give the same comparison and the same text, so `0.1 + 0.2 == 0.3` has
//! Terraform's answer and not a decimal one. What lies outside the bounds below has no representation here: every
//! operation that would leave them answers `None`, and the caller makes that an unknown value.

use num_bigint::{BigInt, BigUint, Sign};
use std::cmp::Ordering;
use std::sync::Arc;

/// Precision of literals and of numbers read from text, in bits.
pub const LITERAL_BITS: u32 = 512;
/// Precision of counts and indices, in bits.
pub const COUNT_BITS: u32 = 64;
/// Precision of what comes out of 64-bit floating point, in bits.
pub const FLOAT_BITS: u32 = 53;

/// Largest magnitude of the binary exponent; ten to the 1,200th is well inside.
const MAX_EXPONENT: i64 = 4_096;
/// Powers of ten that Terraform applies without rounding them first; beyond, its own result depends on its intermediate steps.
const MAX_DECIMALS: i64 = 240;

/// A number with its precision.
#[derive(Clone, Debug)]
pub struct Number(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Small {
        value: i64,
        bits: u32,
    },
    /// Zero with a sign, which shows when it is written.
    MinusZero {
        bits: u32,
    },
    Big(Arc<Big>),
}

/// `mantissa * 2^exponent`, the mantissa odd.
#[derive(Debug)]
struct Big {
    mantissa: BigInt,
    exponent: i64,
    bits: u32,
}

/// What became of a text that should be a number.
#[derive(Clone, Debug)]
pub enum Parsed {
    /// The number.
    Number(Number),
    /// Not a number for Terraform either.
    Invalid,
    /// Terraform may accept it; its value is not known here.
    Unsure,
}

impl Number {
    /// A whole number of the precision of counts.
    pub fn count(value: i64) -> Self {
        Self(Repr::Small { value, bits: COUNT_BITS })
    }

    /// A whole number of the precision of literals.
    pub fn literal(value: i64) -> Self {
        Self(Repr::Small { value, bits: LITERAL_BITS })
    }

    /// A whole number of any size, with at least the precision of counts: what reading an integer gives.
    pub fn integer(value: BigInt) -> Option<Self> {
        let bits = u32::try_from(value.bits()).ok()?.max(COUNT_BITS);
        Self::rounded(value, 0, bits, false)
    }

    /// The exact value of a finite 64-bit float.
    pub fn float(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let raw = value.to_bits();
        let fraction = raw & ((1 << 52) - 1);
        let biased = ((raw >> 52) & 0x7ff) as i64;
        let (mantissa, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | (1 << 52), biased - 1075) };
        let mantissa = BigInt::from(mantissa) * if value.is_sign_negative() { -1 } else { 1 };
        Self::rounded(mantissa, exponent, FLOAT_BITS, false)
    }

    /// Reads decimal text: sign, digits, fraction, exponent.
    pub fn parse(text: &str) -> Parsed {
        let Some((negative, digits, decimals)) = split_decimal(text) else {
            return if is_surely_invalid(text) { Parsed::Invalid } else { Parsed::Unsure };
        };
        if digits.len() > 1_024 {
            return Parsed::Unsure;
        }
        let Some(magnitude) = BigUint::parse_bytes(digits.as_bytes(), 10) else { return Parsed::Unsure };
        let mantissa = BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, magnitude);
        if mantissa.sign() == Sign::NoSign {
            return Parsed::Number(if negative { Self::literal(0).neg() } else { Self::literal(0) });
        }
        let Some(decimals) = decimals.filter(|d| d.abs() <= MAX_DECIMALS) else { return Parsed::Unsure };
        let power = BigInt::from(10).pow(decimals.unsigned_abs() as u32);
        let number = if decimals <= 0 {
            Self::rounded(mantissa * power, 0, LITERAL_BITS, false)
        } else {
            Self::ratio(&mantissa, 0, &power, 0, LITERAL_BITS)
        };
        number.map_or(Parsed::Unsure, Parsed::Number)
    }

    /// Rounds `mantissa * 2^exponent` (plus something below its last bit, if `sticky`) to `bits`.
    fn rounded(mantissa: BigInt, exponent: i64, bits: u32, sticky: bool) -> Option<Self> {
        let (sign, mut magnitude) = mantissa.into_parts();
        if sign == Sign::NoSign {
            return Some(Self(Repr::Small { value: 0, bits }));
        }
        let mut exponent = exponent;
        let surplus = magnitude.bits() as i64 - i64::from(bits);
        if surplus > 0 {
            let half = magnitude.bit(surplus as u64 - 1);
            let below = sticky || magnitude.trailing_zeros().is_some_and(|z| (z as i64) < surplus - 1);
            magnitude >>= surplus as u64;
            exponent += surplus;
            if half && (below || magnitude.bit(0)) {
                magnitude += 1u32;
            }
        }
        let zeros = magnitude.trailing_zeros().unwrap_or(0);
        magnitude >>= zeros;
        exponent += zeros as i64;
        let top = exponent + magnitude.bits() as i64;
        if !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&top) {
            return None;
        }
        if exponent >= 0 && top < 63 {
            let value = u64::try_from(magnitude).ok()? << exponent;
            let value = i64::try_from(value).ok()?;
            return Some(Self(Repr::Small { value: if sign == Sign::Minus { -value } else { value }, bits }));
        }
        Some(Self(Repr::Big(Arc::new(Big { mantissa: BigInt::from_biguint(sign, magnitude), exponent, bits }))))
    }

    /// `a * 2^ea / (b * 2^eb)` rounded to `bits`; `b` is not zero.
    fn ratio(a: &BigInt, ea: i64, b: &BigInt, eb: i64, bits: u32) -> Option<Self> {
        let shift = (i64::from(bits) + 2 + b.bits() as i64 - a.bits() as i64).max(0);
        let scaled = a << (shift as u64);
        let quotient = &scaled / b;
        let exact = &quotient * b == scaled;
        Self::rounded(quotient, ea - eb - shift, bits, !exact)
    }

    fn zero(negative: bool, bits: u32) -> Self {
        Self(if negative { Repr::MinusZero { bits } } else { Repr::Small { value: 0, bits } })
    }

    fn bits(&self) -> u32 {
        match &self.0 {
            Repr::Small { bits, .. } | Repr::MinusZero { bits } => *bits,
            Repr::Big(big) => big.bits,
        }
    }

    /// Mantissa and binary exponent.
    fn parts(&self) -> (BigInt, i64) {
        match &self.0 {
            Repr::Small { value, .. } => (BigInt::from(*value), 0),
            Repr::MinusZero { .. } => (BigInt::from(0), 0),
            Repr::Big(big) => (big.mantissa.clone(), big.exponent),
        }
    }

    /// The sum, at the larger precision.
    pub fn add(&self, other: &Self) -> Option<Self> {
        self.add_at(other, self.bits().max(other.bits()))
    }

    fn add_at(&self, other: &Self, bits: u32) -> Option<Self> {
        if let (Repr::Small { value: a, .. }, Repr::Small { value: b, .. }) = (&self.0, &other.0) {
            if let Some(value) = a.checked_add(*b).filter(|v| fits(*v, bits)) {
                return Some(Self(Repr::Small { value, bits }));
            }
        }
        if self.is_zero() && other.is_zero() && self.is_negative() && other.is_negative() {
            return Some(Self(Repr::MinusZero { bits }));
        }
        let ((a, ea), (b, eb)) = (self.parts(), other.parts());
        let low = ea.min(eb);
        Self::rounded((a << ((ea - low) as u64)) + (b << ((eb - low) as u64)), low, bits, false)
    }

    /// The difference.
    pub fn sub(&self, other: &Self) -> Option<Self> {
        self.add(&other.neg())
    }

    /// The product. It keeps the larger precision, or what it needs of 512 bits if that is more.
    pub fn mul(&self, other: &Self) -> Option<Self> {
        let bits = self.bits().max(other.bits());
        if self.is_zero() || other.is_zero() {
            return Some(Self::zero(self.is_negative() != other.is_negative(), bits));
        }
        if let (Repr::Small { value: a, .. }, Repr::Small { value: b, .. }) = (&self.0, &other.0) {
            if let Some(value) = a.checked_mul(*b).filter(|v| fits(*v, bits)) {
                return Some(Self(Repr::Small { value, bits }));
            }
        }
        let ((a, ea), (b, eb)) = (self.parts(), other.parts());
        let product = Self::rounded(a * b, ea + eb, LITERAL_BITS, false)?;
        let (mantissa, exponent) = product.parts();
        let needed = (mantissa.bits() - mantissa.trailing_zeros().unwrap_or(0)) as u32;
        Self::rounded(mantissa, exponent, bits.max(needed), false)
    }

    /// The quotient; `None` for a zero divisor as well.
    pub fn div(&self, other: &Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        let bits = self.bits().max(other.bits());
        if self.is_zero() {
            return Some(Self::zero(self.is_negative() != other.is_negative(), bits));
        }
        let ((a, ea), (b, eb)) = (self.parts(), other.parts());
        Self::ratio(&a, ea, &b, eb, bits)
    }

    /// The remainder of truncated division, computed the way Terraform does: divide, truncate, multiply, subtract.
    pub fn rem(&self, other: &Self) -> Option<Self> {
        if other.is_zero() {
            return Some(self.clone());
        }
        let (whole, exponent) = self.div(other)?.truncated().parts();
        let whole = Self::rounded(whole, exponent, self.bits(), false)?;
        let ((a, ea), (b, eb)) = (other.parts(), whole.parts());
        let product = Self::rounded(a * b, ea + eb, self.bits(), false)?;
        self.add_at(&product.neg(), self.bits())
    }

    /// The value with its sign changed.
    pub fn neg(&self) -> Self {
        match &self.0 {
            Repr::Small { value: 0, bits } => Self::zero(true, *bits),
            Repr::MinusZero { bits } => Self::zero(false, *bits),
            Repr::Small { value, bits } => match value.checked_neg() {
                Some(value) => Self(Repr::Small { value, bits: *bits }),
                None => self.clone(),
            },
            Repr::Big(big) => Self(Repr::Big(Arc::new(Big {
                mantissa: -big.mantissa.clone(),
                exponent: big.exponent,
                bits: big.bits,
            }))),
        }
    }

    /// Sign: -1, 0 or 1.
    pub fn signum(&self) -> i64 {
        match &self.0 {
            Repr::Small { value, .. } => value.signum(),
            Repr::MinusZero { .. } => 0,
            Repr::Big(big) => {
                if big.mantissa.sign() == Sign::Minus {
                    -1
                } else {
                    1
                }
            }
        }
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        matches!(self.0, Repr::Small { value: 0, .. } | Repr::MinusZero { .. })
    }

    /// Whether it is written with a minus sign.
    pub fn is_negative(&self) -> bool {
        self.signum() < 0 || matches!(self.0, Repr::MinusZero { .. })
    }

    /// Whether it has no fraction.
    pub fn is_integer(&self) -> bool {
        match &self.0 {
            Repr::Small { .. } | Repr::MinusZero { .. } => true,
            Repr::Big(big) => big.exponent >= 0,
        }
    }

    /// The value without its fraction, at the same precision.
    fn truncated(&self) -> Self {
        match &self.0 {
            Repr::Big(big) if big.exponent < 0 => {
                let (sign, magnitude) = big.mantissa.clone().into_parts();
                let whole = BigInt::from_biguint(sign, magnitude >> (-big.exponent) as u64);
                Self::rounded(whole, 0, big.bits, false)
                    .unwrap_or_else(|| Self(Repr::Small { value: 0, bits: big.bits }))
            }
            Repr::MinusZero { bits } => Self::zero(false, *bits),
            _ => self.clone(),
        }
    }

    /// The largest whole number not above.
    pub fn floor(&self) -> Option<Self> {
        self.towards(-1)
    }

    /// The smallest whole number not below.
    pub fn ceil(&self) -> Option<Self> {
        self.towards(1)
    }

    fn towards(&self, direction: i64) -> Option<Self> {
        let whole = self.truncated();
        if self.is_integer() || self.signum() != direction {
            return Some(whole);
        }
        whole.add_at(&Self::count(direction), self.bits())
    }

    /// The value as a machine integer, if it is one.
    pub fn to_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Small { value, .. } => Some(*value),
            Repr::MinusZero { .. } => Some(0),
            Repr::Big(_) => self.to_bigint().and_then(|v| i64::try_from(v).ok()),
        }
    }

    /// The value as a whole number, if it is one.
    pub fn to_bigint(&self) -> Option<BigInt> {
        let (mantissa, exponent) = self.parts();
        (exponent >= 0).then(|| mantissa << exponent as u64)
    }

    /// The nearest 64-bit float, ties to even; `None` outside the normal range.
    pub fn to_f64(&self) -> Option<f64> {
        let (mantissa, exponent) = self.parts();
        let near = Self::rounded(mantissa, exponent, FLOAT_BITS, false)?;
        let (mantissa, exponent) = near.parts();
        let value = i64::try_from(mantissa).ok()? as f64;
        let scale = i32::try_from(exponent).ok().filter(|e| (-900..=900).contains(e))?;
        Some(value * 2f64.powi(scale))
    }

    /// Decimal digits (no leading or trailing zeros) and the place of the point: `0.digits * 10^point`.
    fn decimal(mantissa: &BigInt, exponent: i64) -> (Vec<u8>, i64) {
        let magnitude = mantissa.magnitude();
        let (scaled, decimals) = if exponent >= 0 {
            (magnitude << exponent as u64, 0)
        } else {
            (magnitude * BigUint::from(5u32).pow((-exponent) as u32), exponent)
        };
        let mut digits = scaled.to_str_radix(10).into_bytes();
        let point = digits.len() as i64 + decimals;
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        (digits, point)
    }

    /// The exact decimal digits and the place of the point: `0.digits * 10^point`; no digits for zero.
    pub fn exact_decimal(&self) -> (Vec<u8>, i64) {
        let (mantissa, exponent) = self.parts();
        if mantissa.sign() == Sign::NoSign { (Vec::new(), 0) } else { Self::decimal(&mantissa, exponent) }
    }

    /// The fewest decimal digits that still mean this number at its precision, and the place of the point.
    pub fn shortest_decimal(&self) -> (Vec<u8>, i64) {
        let (mantissa, exponent) = self.parts();
        if mantissa.sign() == Sign::NoSign {
            return (Vec::new(), 0);
        }
        let (digits, point) = Self::decimal(&mantissa, exponent);
        if matches!(self.0, Repr::Small { value, bits } if fits(value, bits)) {
            return (digits, point);
        }
        let zeros = mantissa.trailing_zeros().unwrap_or(0);
        let (mantissa, exponent) = (mantissa >> zeros, exponent + zeros as i64);
        // Half a unit in the last place on both sides, counted in units of half that.
        let shift = i64::from(self.bits()) + 1 - mantissa.bits() as i64;
        let (wide, exponent) =
            (BigInt::from(mantissa.magnitude().clone()) << shift.max(0) as u64, exponent - shift.max(0));
        let (lower, _) = Self::decimal(&(&wide - 1), exponent);
        let (upper, _) = Self::decimal(&(&wide + 1), exponent);
        let inclusive = !wide.bit(1);
        shorten(digits, point, &lower, &upper, inclusive)
    }
}

/// Cuts the digits at the first place where the cut stays between the neighbours.
fn shorten(digits: Vec<u8>, point: i64, lower: &[u8], upper: &[u8], inclusive: bool) -> (Vec<u8>, i64) {
    let at = |d: &[u8], i: usize| d.get(i).copied().unwrap_or(b'0');
    for (i, &m) in digits.iter().enumerate() {
        let (l, u) = (at(lower, i), at(upper, i));
        let down = l != m || (inclusive && i + 1 == lower.len());
        let up = m != u && (inclusive || m + 1 < u || i + 1 < upper.len());
        match (down, up) {
            (true, true) => {
                let next = at(&digits, i + 1);
                let tie = next == b'5' && i + 2 >= digits.len();
                let odd = (m - b'0') % 2 == 1;
                return cut(&digits, point, i + 1, if tie { odd } else { next >= b'5' });
            }
            (true, false) => return cut(&digits, point, i + 1, false),
            (false, true) => return cut(&digits, point, i + 1, true),
            (false, false) => {}
        }
    }
    (digits, point)
}

/// The first `keep` digits, one added to the last if `up`.
fn cut(digits: &[u8], point: i64, keep: usize, up: bool) -> (Vec<u8>, i64) {
    let mut kept = digits[..keep.min(digits.len())].to_vec();
    let mut point = point;
    if up {
        while kept.last() == Some(&b'9') {
            kept.pop();
        }
        match kept.last_mut() {
            Some(last) => *last += 1,
            None => {
                kept.push(b'1');
                point += 1;
            }
        }
    }
    while kept.last() == Some(&b'0') {
        kept.pop();
    }
    (kept, point)
}

/// Rounds decimal digits (`0.digits * 10^point`) to `places` after the point, ties to even.
pub fn round_decimal(digits: &[u8], point: i64, places: i64) -> (Vec<u8>, i64) {
    let keep = point + places;
    if keep >= digits.len() as i64 {
        return (digits.to_vec(), point);
    }
    if keep < 0 {
        return (Vec::new(), 0);
    }
    let keep = keep as usize;
    let next = digits[keep];
    let tie = next == b'5' && keep + 1 == digits.len();
    let odd = keep > 0 && (digits[keep - 1] - b'0') % 2 == 1;
    cut(digits, point, keep, if tie { odd } else { next >= b'5' })
}

impl std::fmt::Display for Number {
    /// Plain decimal notation without an exponent, the shortest that means the number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Repr::Small { value, bits } if fits(value, bits) => return write!(f, "{value}"),
            _ => {}
        }
        let (digits, point) = self.shortest_decimal();
        if self.is_negative() {
            f.write_str("-")?;
        }
        f.write_str(&plain(&digits, point, None))
    }
}

/// Plain notation of `0.digits * 10^point`, with exactly `places` after the point if given.
pub fn plain(digits: &[u8], point: i64, places: Option<usize>) -> String {
    let digit = |i: i64| usize::try_from(i).ok().and_then(|i| digits.get(i)).map_or('0', |d| char::from(*d));
    let mut text = String::new();
    if point > 0 {
        text.extend((0..point).map(digit));
    } else {
        text.push('0');
    }
    let places = places.map_or((digits.len() as i64 - point).max(0), |p| p as i64);
    if places > 0 {
        text.push('.');
        text.extend((0..places).map(|i| digit(point + i)));
    }
    text
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Repr::Small { value: a, .. }, Repr::Small { value: b, .. }) = (&self.0, &other.0) {
            return a.cmp(b);
        }
        let ((a, ea), (b, eb)) = (self.parts(), other.parts());
        let low = ea.min(eb);
        (a << ((ea - low) as u64)).cmp(&(b << ((eb - low) as u64)))
    }
}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match &self.0 {
            Repr::Small { value, .. } => value.hash(state),
            Repr::MinusZero { .. } => 0i64.hash(state),
            Repr::Big(big) => (&big.mantissa, big.exponent).hash(state),
        }
    }
}

fn fits(value: i64, bits: u32) -> bool {
    value.unsigned_abs().checked_ilog2().is_none_or(|top| top < bits.min(62))
}

/// Sign, digits without the point, and how many of them stand after it (an exponent subtracted). `None` if it is no plain decimal;
/// the count is `None` if the exponent is out of all bounds.
fn split_decimal(text: &str) -> Option<(bool, String, Option<i64>)> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (number, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let exponent = match exponent {
        None => Some(0),
        Some(e) => {
            let digits = e.strip_prefix(['+', '-']).unwrap_or(e);
            if digits.is_empty() || !all_digits(digits) {
                return None;
            }
            e.parse::<i64>().ok()
        }
    };
    let trimmed = fraction.trim_end_matches('0');
    let decimals = exponent.and_then(|e| (trimmed.len() as i64).checked_sub(e));
    Some((negative, format!("{whole}{trimmed}"), decimals))
}

/// Texts that no reading of Terraform's accepts. Letters of `inf`, a binary exponent and digit separators make others unsure.
fn is_surely_invalid(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    if body.eq_ignore_ascii_case("inf") {
        return false;
    }
    let sign_inside = body.bytes().any(|b| matches!(b, b'p' | b'P' | b'_'));
    !(sign_inside && body.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.'))
}
