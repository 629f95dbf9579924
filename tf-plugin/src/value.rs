//! Dynamic values of Terraform and their types.

pub use crate::number::{Number, NumberError};
use crate::path::{Path, Step};
use std::borrow::Cow;
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
pub(crate) mod strategy;

#[cfg(test)]
mod tests;
