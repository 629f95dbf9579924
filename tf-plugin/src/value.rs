//! Dynamic values of Terraform and their types.

use crate::path::{Path, Step};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// Deepest nesting that a decoder accepts.
pub const DEPTH_LIMIT: usize = 256;

/// A type constraint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// Text.
    String,
    /// A number of any size.
    Number,
    /// True or false.
    Bool,
    /// Any type; the value carries its own.
    Dynamic,
    /// A sequence of one type.
    List(Box<Type>),
    /// An unordered collection of one type.
    Set(Box<Type>),
    /// Named elements of one type.
    Map(Box<Type>),
    /// A fixed set of named attributes.
    Object(BTreeMap<String, Type>),
    /// A fixed sequence of types.
    Tuple(Vec<Type>),
}

impl Type {
    /// `list(element)`.
    pub fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }

    /// `set(element)`.
    pub fn set(element: Self) -> Self {
        Self::Set(Box::new(element))
    }

    /// `map(element)`.
    pub fn map(element: Self) -> Self {
        Self::Map(Box::new(element))
    }

    /// `object({...})`.
    pub fn object<N: Into<String>>(attributes: impl IntoIterator<Item = (N, Self)>) -> Self {
        Self::Object(attributes.into_iter().map(|(n, t)| (n.into(), t)).collect())
    }

    /// Whether `dynamic` occurs anywhere in the type.
    pub fn has_dynamic(&self) -> bool {
        match self {
            Self::String | Self::Number | Self::Bool => false,
            Self::Dynamic => true,
            Self::List(e) | Self::Set(e) | Self::Map(e) => e.has_dynamic(),
            Self::Object(a) => a.values().any(Self::has_dynamic),
            Self::Tuple(e) => e.iter().any(Self::has_dynamic),
        }
    }
}

/// As in the Terraform language: `list(string)`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::Dynamic => f.write_str("any"),
            Self::List(e) => write!(f, "list({e})"),
            Self::Set(e) => write!(f, "set({e})"),
            Self::Map(e) => write!(f, "map({e})"),
            Self::Object(attributes) => {
                f.write_str("object({")?;
                for (i, (name, ty)) in attributes.iter().enumerate() {
                    write!(f, "{}{name}={ty}", if i == 0 { "" } else { "," })?;
                }
                f.write_str("})")
            }
            Self::Tuple(elements) => {
                f.write_str("tuple([")?;
                for (i, ty) in elements.iter().enumerate() {
                    write!(f, "{}{ty}", if i == 0 { "" } else { "," })?;
                }
                f.write_str("])")
            }
        }
    }
}

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

/// What is known about an unknown value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refinements {
    /// The value will not be null.
    pub not_null: bool,
    /// The string will begin so.
    pub prefix: Option<String>,
    /// Lower bound of a number; true when the bound itself is possible.
    pub lower: Option<(Number, bool)>,
    /// Upper bound of a number; true when the bound itself is possible.
    pub upper: Option<(Number, bool)>,
    /// Least length of a collection.
    pub min_length: Option<u64>,
    /// Greatest length of a collection.
    pub max_length: Option<u64>,
}

impl Refinements {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a value may take the place of the unknown. An unknown may always.
    pub fn admit(&self, value: &Value) -> bool {
        let length = |n: usize| {
            self.min_length.is_none_or(|min| n as u64 >= min) && self.max_length.is_none_or(|max| n as u64 <= max)
        };
        match value {
            Value::Null => !self.not_null,
            Value::String(s) => self.prefix.as_ref().is_none_or(|p| s.starts_with(p.as_str())),
            Value::Number(n) => {
                self.lower.as_ref().is_none_or(|(l, incl)| n > l || (*incl && n == l))
                    && self.upper.as_ref().is_none_or(|(u, incl)| n < u || (*incl && n == u))
            }
            Value::List(l) => length(l.len()),
            Value::Set(s) => s.is_wholly_known() && length(s.len()) || !s.is_wholly_known(),
            Value::Map(m) => length(m.len()),
            Value::Dynamic(_, v) => self.admit(v),
            Value::Unknown(_) | Value::Bool(_) | Value::Object(_) | Value::Tuple(_) => true,
        }
    }
}

/// One value. Its type is known from the schema, so `Null` and `Unknown` need none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Not set.
    Null,
    /// Known only after apply.
    Unknown(Option<Box<Refinements>>),
    /// Text.
    String(String),
    /// A number.
    Number(Number),
    /// True or false.
    Bool(bool),
    /// Elements of one type, in order.
    List(Vec<Value>),
    /// Elements of one type without order.
    Set(Set),
    /// Elements of one type by key.
    Map(BTreeMap<String, Value>),
    /// Attributes by name.
    Object(Object),
    /// Elements of various types, in order.
    Tuple(Vec<Value>),
    /// A value at a place of type `dynamic`, with its own type. Where that type is itself not known, the place holds
    /// `Null` or `Unknown` directly.
    Dynamic(Type, Box<Value>),
}

/// A null to refer to.
static NULL: Value = Value::Null;

impl Value {
    /// An unknown of which nothing is known.
    pub const UNKNOWN: Self = Self::Unknown(None);

    /// An unknown that will not be null.
    pub fn unknown_not_null() -> Self {
        Self::refined(Refinements { not_null: true, ..Refinements::default() })
    }

    /// An unknown of which something is known.
    pub fn refined(refinements: Refinements) -> Self {
        Self::Unknown((!refinements.is_empty()).then(|| Box::new(refinements)))
    }

    /// A set.
    pub fn set(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::Set(elements.into_iter().collect())
    }

    /// A list.
    pub fn list(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::List(elements.into_iter().collect())
    }

    /// A map.
    pub fn map<K: Into<String>>(elements: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(elements.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// An object.
    pub fn object<K: Into<String>>(attributes: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(attributes.into_iter().collect())
    }

    /// Whether the value is null; a null of dynamic type counts.
    pub fn is_null(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Dynamic(_, v) => v.is_null(),
            _ => false,
        }
    }

    /// Whether the value itself is unknown; elements may be unknown without that.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Dynamic(_, v) => v.is_unknown(),
            _ => false,
        }
    }

    /// Whether neither the value nor anything in it is unknown.
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Self::Unknown(_) => false,
            Self::Null | Self::String(_) | Self::Number(_) | Self::Bool(_) => true,
            Self::List(e) | Self::Tuple(e) => e.iter().all(Self::is_wholly_known),
            Self::Set(s) => s.is_wholly_known(),
            Self::Map(m) => m.values().all(Self::is_wholly_known),
            Self::Object(o) => o.0.values().all(Self::is_wholly_known),
            Self::Dynamic(_, v) => v.is_wholly_known(),
        }
    }

    /// The value behind `Dynamic`, or the value.
    pub fn inner(&self) -> &Self {
        match self {
            Self::Dynamic(_, v) => v.inner(),
            other => other,
        }
    }

    /// The text, if it is a known string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(s) = self.inner() { Some(s) } else { None }
    }

    /// The number, if it is a known number.
    pub fn as_number(&self) -> Option<&Number> {
        if let Self::Number(n) = self.inner() { Some(n) } else { None }
    }

    /// The number as `i64`, if it is known and fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number().and_then(|n| n.to_i64().ok())
    }

    /// The truth value, if known.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self.inner() { Some(*b) } else { None }
    }

    /// The elements, if it is a known list, tuple or set.
    pub fn as_elements(&self) -> Option<&[Self]> {
        match self.inner() {
            Self::List(e) | Self::Tuple(e) => Some(e),
            Self::Set(s) => Some(&s.0),
            _ => None,
        }
    }

    /// The elements, if it is a known map.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Self>> {
        if let Self::Map(m) = self.inner() { Some(m) } else { None }
    }

    /// The object, if it is a known object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(o) = self.inner() { Some(o) } else { None }
    }

    /// The object, if it is a known object; for changes.
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(o) => Some(o),
            Self::Dynamic(_, v) => v.as_object_mut(),
            _ => None,
        }
    }

    /// Equality that ignores what is known about unknowns, as Terraform compares plans.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown(_), Self::Unknown(_)) => true,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Self::Set(a), Self::Set(b)) => {
                a == b || (a.len() == b.len() && !a.is_wholly_known() && a.bare() == b.bare())
            }
            (Self::Map(a), Self::Map(b)) | (Self::Object(Object(a)), Self::Object(Object(b))) => {
                a.len() == b.len() && a.iter().zip(b).all(|((ak, a), (bk, b))| ak == bk && a.same(b))
            }
            (Self::Dynamic(at, a), Self::Dynamic(bt, b)) => at == bt && a.same(b),
            (a, b) => a == b,
        }
    }

    /// The value without anything that is known about its unknowns.
    pub fn without_refinements(&self) -> Self {
        self.rebuild(&mut |v| matches!(v, Self::Unknown(_)).then_some(Self::UNKNOWN))
    }

    /// The value with every unknown replaced by null, as Terraform saves an answer that still has some.
    pub fn unknown_as_null(&self) -> Self {
        self.rebuild(&mut |v| matches!(v, Self::Unknown(_)).then_some(Self::Null))
    }

    /// A copy; where `replace` answers, its answer stands in place of the value and all within.
    pub fn rebuild(&self, replace: &mut dyn FnMut(&Self) -> Option<Self>) -> Self {
        if let Some(new) = replace(self) {
            return new;
        }
        match self {
            Self::List(e) => Self::List(e.iter().map(|v| v.rebuild(replace)).collect()),
            Self::Tuple(e) => Self::Tuple(e.iter().map(|v| v.rebuild(replace)).collect()),
            Self::Set(s) => Self::set(s.iter().map(|v| v.rebuild(replace))),
            Self::Map(m) => Self::Map(m.iter().map(|(k, v)| (k.clone(), v.rebuild(replace))).collect()),
            Self::Object(o) => Self::object(o.iter().map(|(k, v)| (k, v.rebuild(replace)))),
            Self::Dynamic(t, v) => Self::Dynamic(t.clone(), Box::new(v.rebuild(replace))),
            leaf => leaf.clone(),
        }
    }

    /// One step down. Nothing for a step that does not fit, or into null and unknown.
    pub fn step(&self, step: &Step) -> Option<&Self> {
        match (self, step) {
            (Self::Dynamic(_, v), _) => v.step(step),
            (Self::Object(o), Step::Attr(name)) => o.0.get(name),
            (Self::Map(m), Step::Key(key)) => m.get(key),
            (Self::List(e) | Self::Tuple(e), Step::Index(i)) => e.get(*i),
            (Self::Set(s), Step::Element(v)) => s.iter().find(|e| *e == v.as_ref()),
            _ => None,
        }
    }

    /// The value at a path below this one.
    pub fn lookup(&self, path: &Path) -> Option<&Self> {
        path.steps().iter().try_fold(self, |v, s| v.step(s))
    }

    /// Visits the value and everything in it, outermost first. The path of a set element holds the element.
    pub fn walk(&self, visit: &mut dyn FnMut(&Path, &Self)) {
        self.walk_from(&mut Path::root(), visit);
    }

    fn walk_from(&self, path: &mut Path, visit: &mut dyn FnMut(&Path, &Self)) {
        visit(path, self);
        let mut down = |step: Step, v: &Self| {
            path.push(step);
            v.walk_from(path, visit);
            path.pop();
        };
        match self.inner() {
            Self::List(e) | Self::Tuple(e) => {
                for (i, v) in e.iter().enumerate() {
                    down(Step::Index(i), v);
                }
            }
            Self::Set(s) => {
                for v in s {
                    down(Step::Element(Box::new(v.clone())), v);
                }
            }
            Self::Map(m) => {
                for (k, v) in m {
                    down(Step::Key(k.clone()), v);
                }
            }
            Self::Object(o) => {
                for (k, v) in &o.0 {
                    down(Step::Attr(k.clone()), v);
                }
            }
            _ => {}
        }
    }

    /// Checks that the value is of the type. The error is the place and what is wrong there.
    pub fn conforms(&self, ty: &Type) -> Result<(), (Path, String)> {
        let at = |step: Step| move |(path, text): (Path, String)| (path.prepended(step), text);
        match (self, ty) {
            (Self::Null | Self::Unknown(_), _)
            | (Self::String(_), Type::String)
            | (Self::Number(_), Type::Number)
            | (Self::Bool(_), Type::Bool) => Ok(()),
            (Self::Dynamic(inner, v), Type::Dynamic) => v.conforms(inner),
            (Self::List(e), Type::List(t)) => {
                e.iter().enumerate().try_for_each(|(i, v)| v.conforms(t).map_err(at(Step::Index(i))))
            }
            (Self::Set(s), Type::Set(t)) => {
                s.iter().try_for_each(|v| v.conforms(t).map_err(at(Step::Element(Box::new(v.clone())))))
            }
            (Self::Map(m), Type::Map(t)) => {
                m.iter().try_for_each(|(k, v)| v.conforms(t).map_err(at(Step::Key(k.clone()))))
            }
            (Self::Tuple(e), Type::Tuple(t)) if e.len() == t.len() => {
                e.iter().zip(t).enumerate().try_for_each(|(i, (v, t))| v.conforms(t).map_err(at(Step::Index(i))))
            }
            (Self::Object(o), Type::Object(types)) => {
                for (name, t) in types {
                    let v = o.get(name).ok_or_else(|| (Path::root(), format!("attribute {name:?} is missing")))?;
                    v.conforms(t).map_err(at(Step::Attr(name.clone())))?;
                }
                match o.0.keys().find(|k| !types.contains_key(*k)) {
                    Some(extra) => Err((Path::root(), format!("attribute {extra:?} is not in the schema"))),
                    None => Ok(()),
                }
            }
            (v, t) => Err((Path::root(), format!("a value of type {t} is needed, this is {}", v.kind_name()))),
        }
    }

    /// What the value is, for messages: never the value itself.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Unknown(_) => "unknown",
            Self::String(_) => "a string",
            Self::Number(_) => "a number",
            Self::Bool(_) => "a bool",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
            Self::Object(_) => "an object",
            Self::Tuple(_) => "a tuple",
            Self::Dynamic(..) => "a value of dynamic type",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<Number> for Value {
    fn from(n: Number) -> Self {
        Self::Number(n)
    }
}

impl From<Object> for Value {
    fn from(o: Object) -> Self {
        Self::Object(o)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Elements without order. Equal elements that are wholly known are one; others stay apart, since they may differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Set(Vec<Value>); // Sorted, so derived equality ignores the order in which elements came.

impl Set {
    /// The elements, in a fixed order that means nothing.
    pub fn iter(&self) -> std::slice::Iter<'_, Value> {
        self.0.iter()
    }

    /// The elements, in a fixed order that means nothing.
    pub fn as_slice(&self) -> &[Value] {
        &self.0
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no element holds an unknown.
    pub fn is_wholly_known(&self) -> bool {
        self.0.iter().all(Value::is_wholly_known)
    }

    /// Whether an equal element is in the set.
    pub fn contains(&self, value: &Value) -> bool {
        self.0.binary_search(value).is_ok()
    }

    /// The elements.
    pub fn into_vec(self) -> Vec<Value> {
        self.0
    }

    fn bare(&self) -> Self {
        self.0.iter().map(Value::without_refinements).collect()
    }
}

impl FromIterator<Value> for Set {
    fn from_iter<I: IntoIterator<Item = Value>>(elements: I) -> Self {
        let mut elements: Vec<Value> = elements.into_iter().collect();
        elements.sort();
        elements.dedup_by(|a, b| a == b && a.is_wholly_known());
        Self(elements)
    }
}

impl<'a> IntoIterator for &'a Set {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Set {
    type Item = Value;
    type IntoIter = std::vec::IntoIter<Value>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Attributes and blocks by name. A decoded object holds every name of its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object(BTreeMap<String, Value>);

impl Object {
    /// An object without attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The attribute of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The attribute of that name; null when there is none.
    pub fn attr(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&NULL)
    }

    /// The attribute of that name, for changes.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }

    /// Sets an attribute.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets an attribute and returns the object.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Takes an attribute out; null stays in its place.
    pub fn take(&mut self, name: &str) -> Value {
        self.0.get_mut(name).map_or(Value::Null, |v| std::mem::replace(v, Value::Null))
    }

    /// Removes an attribute together with its name.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Attributes by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// Attributes by name, for changes.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value)> {
        self.0.iter_mut().map(|(k, v)| (k.as_str(), v))
    }

    /// Number of attributes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no attribute.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value at a written path such as `a.b[0]` or `ports["http"].number`.
    pub fn at(&self, path: &str) -> Option<&Value> {
        self.lookup(&path.parse().ok()?)
    }

    /// The value at a path.
    pub fn lookup(&self, path: &Path) -> Option<&Value> {
        let (first, rest) = path.steps().split_first()?;
        let Step::Attr(name) = first else { return None };
        rest.iter().try_fold(self.get(name)?, |v, s| v.step(s))
    }

    /// Sets the value at a path. False when the path leads through null, unknown, a set or something that is not there.
    #[must_use]
    pub fn set_at(&mut self, path: &Path, value: impl Into<Value>) -> bool {
        let Some((Step::Attr(name), rest)) = path.steps().split_first() else { return false };
        if rest.is_empty() {
            self.set(name.clone(), value);
            return true;
        }
        let Some(first) = self.0.get_mut(name) else { return false };
        let place = rest.iter().try_fold(first, |v, step| {
            let v = if let Value::Dynamic(_, inner) = v { inner } else { v };
            match (v, step) {
                (Value::Object(o), Step::Attr(name)) => o.0.get_mut(name),
                (Value::Map(m), Step::Key(key)) => m.get_mut(key),
                (Value::List(e) | Value::Tuple(e), Step::Index(i)) => e.get_mut(*i),
                _ => None,
            }
        });
        place.map(|p| *p = value.into()).is_some()
    }

    /// Visits every attribute and everything in it, outermost first.
    pub fn walk(&self, visit: &mut dyn FnMut(&Path, &Value)) {
        for (name, value) in self.iter() {
            value.walk_from(&mut Path::attr(name), visit);
        }
    }

    /// Paths at which two objects differ, as deep as both sides have the same shape. Sets differ as a whole.
    pub fn diff(&self, other: &Self) -> Vec<Path> {
        let mut found = Vec::new();
        diff_maps(&self.0, &other.0, Step::Attr, &mut Path::root(), &mut found);
        found
    }

    /// Equality that ignores what is known about unknowns.
    pub fn same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|((ak, a), (bk, b))| ak == bk && a.same(b))
    }

    /// Whether no attribute holds an unknown.
    pub fn is_wholly_known(&self) -> bool {
        self.0.values().all(Value::is_wholly_known)
    }
}

fn diff_maps(
    a: &BTreeMap<String, Value>,
    b: &BTreeMap<String, Value>,
    step: fn(String) -> Step,
    path: &mut Path,
    found: &mut Vec<Path>,
) {
    let names = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k)));
    for name in names {
        path.push(step(name.clone()));
        match (a.get(name), b.get(name)) {
            (Some(a), Some(b)) => diff(a, b, path, found),
            (Some(v), None) | (None, Some(v)) if v.is_null() && matches!(path.last(), Some(Step::Attr(_))) => {}
            _ => found.push(path.clone()),
        }
        path.pop();
    }
}

fn diff(a: &Value, b: &Value, path: &mut Path, found: &mut Vec<Path>) {
    match (a, b) {
        (a, b) if a.same(b) => {}
        (Value::Object(Object(a)), Value::Object(Object(b))) => diff_maps(a, b, Step::Attr, path, found),
        (Value::Map(a), Value::Map(b)) => diff_maps(a, b, Step::Key, path, found),
        (Value::List(a), Value::List(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                path.push(Step::Index(i));
                diff(a, b, path, found);
                path.pop();
            }
        }
        _ => found.push(path.clone()),
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(attributes: I) -> Self {
        Self(attributes.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = std::collections::btree_map::IntoIter<String, Value>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A short form of text for a message.
pub(crate) fn clip(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// Types and values for property tests.
#[cfg(test)]
pub(crate) mod strategy {
    use super::*;
    use proptest::prelude::*;

    /// Any type.
    pub fn any_type() -> impl Strategy<Value = Type> {
        let leaf = prop_oneof![Just(Type::String), Just(Type::Number), Just(Type::Bool), Just(Type::Dynamic)];
        leaf.prop_recursive(3, 12, 3, |t| {
            prop_oneof![
                t.clone().prop_map(Type::list),
                t.clone().prop_map(Type::set),
                t.clone().prop_map(Type::map),
                prop::collection::btree_map("[a-z]{1,3}", t.clone(), 0..4).prop_map(Type::Object),
                prop::collection::vec(t, 0..3).prop_map(Type::Tuple),
            ]
        })
    }

    /// Any number but the infinities.
    pub fn number() -> impl Strategy<Value = Number> {
        prop_oneof![
            any::<i64>().prop_map(Number::from),
            any::<u64>().prop_map(Number::from),
            (-200_i64..70_000).prop_map(Number::from),
            any::<f64>().prop_filter_map("finite", |f| f.is_finite().then(|| Number::from_f64(f)).flatten()),
            ("-?[0-9]{1,40}(\\.[0-9]{1,30})?(e-?[0-9]{1,4})?").prop_map(|t| Number::parse(&t).unwrap()),
        ]
    }

    fn refinements(ty: &Type) -> BoxedStrategy<Refinements> {
        let not_null = any::<bool>();
        match ty {
            Type::String => (not_null, prop::option::of("[a-zä]{1,8}"))
                .prop_map(|(not_null, prefix)| Refinements { not_null, prefix, ..Refinements::default() })
                .boxed(),
            Type::Number => {
                let bound = || prop::option::of((number(), any::<bool>()));
                (not_null, bound(), bound())
                    .prop_filter("not too long", |(_, l, u)| {
                        [l, u].into_iter().flatten().all(|(n, _)| n.to_string().len() < 400)
                    })
                    .prop_map(|(not_null, lower, upper)| Refinements {
                        not_null,
                        lower,
                        upper,
                        ..Refinements::default()
                    })
                    .boxed()
            }
            Type::List(_) | Type::Set(_) | Type::Map(_) => {
                let bound = || prop::option::of(0..=i64::MAX as u64);
                (not_null, bound(), bound())
                    .prop_map(|(not_null, min_length, max_length)| Refinements {
                        not_null,
                        min_length,
                        max_length,
                        ..Refinements::default()
                    })
                    .boxed()
            }
            Type::Dynamic => Just(Refinements::default()).boxed(),
            _ => not_null.prop_map(|not_null| Refinements { not_null, ..Refinements::default() }).boxed(),
        }
    }

    /// A value of a type, with unknowns or without.
    pub fn of_type(ty: &Type, unknowns: bool) -> BoxedStrategy<Value> {
        let many = |t: &Type| prop::collection::vec(of_type(t, unknowns), 0..4);
        let known = match ty {
            Type::String => ".{0,40}".prop_map(Value::from).boxed(),
            Type::Number => number().prop_map(Value::Number).boxed(),
            Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Type::List(t) => many(t).prop_map(Value::List).boxed(),
            Type::Set(t) => many(t).prop_map(Value::set).boxed(),
            Type::Map(t) => {
                prop::collection::btree_map(".{0,6}", of_type(t, unknowns), 0..4).prop_map(Value::Map).boxed()
            }
            Type::Tuple(types) => {
                types.iter().map(|t| of_type(t, unknowns)).collect::<Vec<_>>().prop_map(Value::Tuple).boxed()
            }
            Type::Object(types) => {
                let (names, types): (Vec<String>, Vec<&Type>) = types.iter().map(|(k, t)| (k.clone(), t)).unzip();
                let values: Vec<_> = types.into_iter().map(|t| of_type(t, unknowns)).collect();
                values.prop_map(move |v| Value::object(names.clone().into_iter().zip(v))).boxed()
            }
            Type::Dynamic => {
                let inner = prop_oneof![
                    Just(Type::String),
                    Just(Type::Number),
                    Just(Type::list(Type::Bool)),
                    Just(Type::object([("a", Type::set(Type::String))]))
                ];
                inner
                    .prop_flat_map(move |t| {
                        of_type(&t, unknowns).prop_map(move |v| Value::Dynamic(t.clone(), Box::new(v)))
                    })
                    .boxed()
            }
        };
        let with_null = prop_oneof![8 => known, 1 => Just(Value::Null)];
        if unknowns {
            prop_oneof![8 => with_null, 1 => Just(Value::UNKNOWN), 1 => refinements(ty).prop_map(Value::refined)]
                .boxed()
        } else {
            with_null.boxed()
        }
    }

    /// A type and a value of it.
    pub fn typed(unknowns: bool) -> impl Strategy<Value = (Type, Value)> {
        any_type().prop_flat_map(move |t| of_type(&t, unknowns).prop_map(move |v| (t.clone(), v)))
    }

    /// A value of any type.
    pub fn any_value() -> impl Strategy<Value = Value> {
        typed(true).prop_map(|(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::strategy::{any_value, number};
    use super::*;
    use crate::path;
    use proptest::prelude::*;

    fn n(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    proptest! {
        #[test]
        fn a_number_comes_back_from_its_text(a in number()) {
            prop_assert_eq!(n(&a.to_string()), a);
        }

        #[test]
        fn numbers_are_in_order_of_amount(a in any::<i32>(), b in any::<i32>(), e in -30_i32..30) {
            let (x, y) = (n(&format!("{a}e{e}")), n(&format!("{b}e{e}")));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn floats_come_back_exactly(f in any::<f64>()) {
            if let Some(number) = Number::from_f64(f) {
                prop_assert_eq!(number.to_f64_exact().unwrap().to_bits(), (f + 0.0).to_bits());
            }
        }

        #[test]
        fn a_value_is_the_same_as_itself_and_as_itself_without_refinements(v in any_value()) {
            prop_assert!(v.same(&v));
            prop_assert!(v.same(&v.without_refinements()));
            prop_assert!(v.unknown_as_null().is_wholly_known());
        }

        #[test]
        fn every_visited_place_can_be_looked_up(v in any_value()) {
            let mut places = Vec::new();
            v.walk(&mut |p, v| places.push((p.clone(), v.clone())));
            for (p, at) in places {
                prop_assert_eq!(v.lookup(&p), Some(&at));
            }
        }
    }

    #[test]
    fn numbers_are_equal_by_amount() {
        assert_eq!(n("5"), n("5.0"));
        assert_eq!(n("5"), n("0.5e1"));
        assert_eq!(n("-0"), n("0"));
        assert_eq!(n("1e30"), n("1000000000000000000000000000000"));
        assert_ne!(n("9007199254740993"), n("9007199254740992"));
        for wrong in ["", "-", ".", "1e", "e1", "1_0", "0x1", "NaN", "inf", "1.2.3", "1e99999999999999999999", "٣"] {
            assert!(Number::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_that_does_not_fit_says_so() {
        assert_eq!(n("1.5").to_i64().unwrap_err().to_string(), "1.5 is not a whole number");
        assert!(n("9223372036854775808").to_i64().is_err());
        assert_eq!(n("18446744073709551615").to_u64(), Ok(u64::MAX));
        assert!(n("18446744073709551616").to_u64().is_err());
        assert!(n("-1").to_u32().is_err());
        assert!(n("2147483648").to_i32().is_err());
        assert!(n("0.1").to_f64_exact().is_err());
        assert_eq!(n("0.5").to_f64_exact(), Ok(0.5));
    }

    #[test]
    fn a_set_merges_known_elements_only() {
        let set = Value::set(["b".into(), "a".into(), "b".into(), Value::UNKNOWN, Value::UNKNOWN]);
        assert_eq!(set.as_elements().unwrap().len(), 4);
        assert_eq!(set.unknown_as_null().as_elements().unwrap().len(), 3);
        assert_eq!(Value::set(["a".into(), "b".into()]), Value::set(["b".into(), "a".into()]));
    }

    #[test]
    fn differences_are_as_deep_as_the_shapes_agree() {
        let a =
            Object::new().with("l", Value::list([1.into(), 2.into()])).with("s", Value::set([1.into()])).with("x", 1);
        let b =
            Object::new().with("l", Value::list([1.into(), 3.into()])).with("s", Value::set([2.into()])).with("x", 1);
        assert_eq!(a.diff(&b), [path!("l", [1]), path!("s")]);
        assert!(a.diff(&a).is_empty());
    }

    #[test]
    fn refinements_admit_what_they_allow() {
        let r = Refinements { not_null: true, prefix: Some("ab".into()), ..Refinements::default() };
        assert!(r.admit(&"abc".into()) && !r.admit(&"b".into()) && !r.admit(&Value::Null));
        let r = Refinements { lower: Some((n("1"), false)), upper: Some((n("3"), true)), ..Refinements::default() };
        assert!(!r.admit(&1.into()) && r.admit(&3.into()) && !r.admit(&4.into()) && r.admit(&Value::Null));
        let r = Refinements { max_length: Some(1), ..Refinements::default() };
        assert!(r.admit(&Value::list([1.into()])) && !r.admit(&Value::list([1.into(), 2.into()])));
    }

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for text in ["a", "a.b[0].c", r#"ports["ht\"tp"].number"#, r#"m["]"][12]"#] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
        for wrong in [".", "a.", "a..b", "a[", "a[x]", "a[\"k]", "a b]["] {
            assert!(wrong.parse::<Path>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_set_at_a_place() {
        let mut o = Object::new().with("l", Value::list([Value::object([("a", 1.into())])]));
        assert!(o.set_at(&path!("l", [0], "a"), 2));
        assert_eq!(o.at("l[0].a"), Some(&2.into()));
        assert!(!o.set_at(&path!("l", [1], "a"), 2));
        assert!(!o.set_at(&path!("x", "a"), 2));
        assert!(o.set_at(&path!("x"), 2));
    }
}
