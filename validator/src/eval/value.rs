//! Three-valued values: known, unknown with a type and a cause, and marks that every operation hands on.
//!
//! A value never guesses: what the configuration alone does not decide is [`Data::Unknown`], and it says what it waits for.
//! Containers count their own size and depth when they are made, so that a budget is checked without walking them.

use super::number::Number;
use super::types::Type;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a file of the evaluated configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// Index of the file in the caller's list.
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

/// Where a value came from: the expression that wrote it, and the names it passed through, first to last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The expression that wrote it, if a file did.
    pub site: Option<Site>,
    /// Definitions it passed through: default, local, argument of a call, output.
    pub via: Option<Arc<[Site]>>,
}

/// Names that a trail keeps; in the middle of a longer one the oldest are dropped.
const TRAIL: usize = 8;

impl Origin {
    /// The same origin with one more step.
    fn through(&self, site: Site) -> Self {
        if self.site.is_none() {
            return Self { site: Some(site), via: self.via.clone() };
        }
        if self.last() == Some(site) {
            return self.clone();
        }
        let mut via: Vec<Site> = self.via.as_deref().unwrap_or_default().to_vec();
        if via.len() >= TRAIL {
            via.remove(1);
        }
        via.push(site);
        Self { site: self.site, via: Some(via.into()) }
    }

    /// The last place it passed through.
    pub fn last(&self) -> Option<Site> {
        self.via.as_deref().and_then(<[Site]>::last).copied().or(self.site)
    }
}

/// What must not be printed, or not be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks(u8);

impl Marks {
    /// No mark.
    pub const NONE: Self = Self(0);
    /// Never printed.
    pub const SENSITIVE: Self = Self(1);
    /// Not stored in plan or state.
    pub const EPHEMERAL: Self = Self(2);

    /// Both sets of marks.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// The marks without those of `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// Whether `other` is among them.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Why a value is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CauseKind {
    /// An input that was not given.
    Input,
    /// An attribute that exists only after an apply, or a read by a provider.
    Computed,
    /// A module that is not at hand.
    Module,
    /// A function whose result depends on the moment, or that is not computed here.
    Function,
    /// A budget of the run was used up.
    Budget,
    /// Source that was not analysed.
    NotAnalysed,
    /// An error that is reported where it arose.
    Failed,
}

/// Why a value is unknown, and what would settle it, such as `var.env`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    /// The kind.
    pub kind: CauseKind,
    /// What would settle it, as the configuration names it.
    pub needs: Arc<str>,
}

impl Cause {
    /// A cause of this kind.
    pub fn new(kind: CauseKind, needs: impl Into<Arc<str>>) -> Self {
        Self { kind, needs: needs.into() }
    }
}

/// What is certain about an unknown value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refinement {
    /// Not null.
    pub not_null: bool,
    /// How the string begins.
    pub prefix: Option<Arc<str>>,
    /// Bounds of the number, and whether they are inclusive.
    pub min: Option<(Number, bool)>,
    /// See `min`.
    pub max: Option<(Number, bool)>,
    /// Fewest elements.
    pub min_len: usize,
    /// Most elements.
    pub max_len: Option<usize>,
}

/// An unknown value.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// Its type, or `Dynamic`.
    pub ty: Type,
    /// What is certain all the same.
    pub refinement: Refinement,
    /// Why.
    pub cause: Cause,
}

/// What a container knows of its content, so that nobody walks it twice.
#[derive(Clone, Copy, Debug, Default)]
struct Meta {
    /// Bytes, roughly; shared parts count each time.
    size: u64,
    depth: u16,
    unknown: bool,
    unsettled: bool,
    marks: Marks,
}

impl Meta {
    fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let mut meta = Self { size: 32, depth: 1, ..Self::default() };
        for value in values {
            let inner = value.meta();
            meta.size = meta.size.saturating_add(inner.size);
            meta.depth = meta.depth.max(inner.depth.saturating_add(1));
            meta.unknown |= inner.unknown;
            meta.unsettled |= inner.unsettled;
            meta.marks = meta.marks.union(inner.marks);
        }
        meta
    }
}

/// Elements in order.
#[derive(Clone, Debug)]
pub struct Seq {
    /// Element type; `Dynamic` for tuples.
    element: Type,
    items: Vec<Value>,
    meta: Meta,
}

/// Elements by name.
#[derive(Clone, Debug)]
pub struct Dict {
    /// Element type; `Dynamic` for objects.
    element: Type,
    items: BTreeMap<Arc<str>, Value>,
    meta: Meta,
}

/// What a value is, apart from marks and origin.
#[derive(Clone, Debug)]
pub enum Data {
    /// Null of a type.
    Null(Type),
    /// Not decided by the configuration.
    Unknown(Arc<Unknown>),
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text in Unicode normal form C.
    String(Arc<str>),
    /// `list(T)`
    List(Arc<Seq>),
    /// `set(T)`: wholly known, in Terraform's order, without duplicates and without marks inside.
    Set(Arc<Seq>),
    /// A tuple.
    Tuple(Arc<Seq>),
    /// `map(T)`
    Map(Arc<Dict>),
    /// An object.
    Object(Arc<Dict>),
}

/// A value with its marks and its origin.
#[derive(Clone, Debug)]
pub struct Value {
    data: Data,
    marks: Marks,
    /// A null whose type is not certain yet.
    open: bool,
    origin: Origin,
}

impl From<Data> for Value {
    fn from(data: Data) -> Self {
        Self { data, marks: Marks::NONE, open: false, origin: Origin::default() }
    }
}

impl Value {
    /// Null of a type.
    pub fn null(ty: Type) -> Self {
        Data::Null(ty).into()
    }
    /// A null that will have some type, which is not certain yet.
    pub fn open_null() -> Self {
        Self { open: true, ..Self::null(Type::Dynamic) }
    }
    /// A bool.
    pub fn bool(value: bool) -> Self {
        Data::Bool(value).into()
    }
    /// A number.
    pub fn number(value: Number) -> Self {
        Data::Number(value).into()
    }
    /// A count or an index.
    pub fn count(value: usize) -> Self {
        Self::number(Number::count(i64::try_from(value).unwrap_or(i64::MAX >> 1)))
    }
    /// Text, brought to normal form C.
    pub fn string(value: impl AsRef<str>) -> Self {
        Data::String(normal_form(value.as_ref())).into()
    }

    /// An unknown value of a type.
    pub fn unknown(ty: Type, cause: Cause) -> Self {
        Self::refined(ty, Refinement::default(), cause)
    }
    /// An unknown value that is certainly not null.
    pub fn unknown_not_null(ty: Type, cause: Cause) -> Self {
        Self::refined(ty, Refinement { not_null: true, ..Refinement::default() }, cause)
    }
    /// An unknown value of which something is certain.
    pub fn refined(ty: Type, refinement: Refinement, cause: Cause) -> Self {
        Data::Unknown(Arc::new(Unknown { ty, refinement, cause })).into()
    }

    /// A tuple.
    pub fn tuple(items: Vec<Self>) -> Self {
        let meta = Meta::of(items.iter());
        Data::Tuple(Arc::new(Seq { element: Type::Dynamic, items, meta })).into()
    }
    /// A list; the items have the type `element`.
    pub fn list(element: Type, items: Vec<Self>) -> Self {
        let meta = Meta::of(items.iter());
        Data::List(Arc::new(Seq { element, items, meta })).into()
    }
    /// A set of items of the type `element`: sorted, without duplicates, the items' marks on the whole. With an unknown item
    /// the set is unknown, because not even its length is certain.
    pub fn set(element: Type, items: Vec<Self>) -> Self {
        let meta = Meta::of(items.iter());
        // Terraform keeps both zeros of a set apart, in no certain order.
        let minus_zero = |v: &Self| v.as_number().is_some_and(|n| n.is_zero() && n.is_negative());
        if meta.unknown || items.iter().any(minus_zero) {
            let most = items.len();
            let refinement = Refinement { not_null: true, min_len: 1, max_len: Some(most), ..Refinement::default() };
            let cause = items.iter().find_map(Self::deep_cause).unwrap_or_else(|| Cause::new(CauseKind::Failed, "set"));
            return Self::refined(Type::set(element), refinement, cause).marked(meta.marks);
        }
        let mut items: Vec<Self> =
            if meta.marks.is_none() { items } else { items.iter().map(Self::unmarked_deep).collect() };
        if element.is_primitive() {
            items.sort_by(primitive_order);
            items.dedup_by(|a, b| same(a, b));
        } else {
            let mut keyed: Vec<(Vec<u8>, Self)> = items.into_iter().map(|v| (set_key(&v), v)).collect();
            keyed.sort_by(|(a, x), (b, y)| x.is_null().cmp(&y.is_null()).then_with(|| a.cmp(b)));
            keyed.dedup_by(|(a, x), (b, y)| a == b && same(x, y));
            items = keyed.into_iter().map(|(_, v)| v).collect();
        }
        let size = Meta::of(items.iter());
        Self::from(Data::Set(Arc::new(Seq { element, items, meta: size }))).marked(meta.marks)
    }
    /// A map; the items have the type `element`.
    pub fn map(element: Type, items: BTreeMap<Arc<str>, Self>) -> Self {
        let meta = dict_meta(&items);
        Data::Map(Arc::new(Dict { element, items, meta })).into()
    }
    /// An object.
    pub fn object(items: BTreeMap<Arc<str>, Self>) -> Self {
        let meta = dict_meta(&items);
        Data::Object(Arc::new(Dict { element: Type::Dynamic, items, meta })).into()
    }

    /// The value with more marks.
    pub fn marked(mut self, marks: Marks) -> Self {
        self.marks = self.marks.union(marks);
        self
    }
    /// The value without marks at the top.
    pub fn unmarked(mut self) -> Self {
        self.marks = Marks::NONE;
        self
    }
    /// The value without the given marks at the top.
    pub fn without_marks(mut self, marks: Marks) -> Self {
        self.marks = self.marks.without(marks);
        self
    }
    /// The value without marks anywhere.
    pub fn unmarked_deep(&self) -> Self {
        if self.deep_marks().is_none() {
            return self.clone();
        }
        let plain = |items: &[Self]| items.iter().map(Self::unmarked_deep).collect::<Vec<_>>();
        let by_name =
            |items: &BTreeMap<Arc<str>, Self>| items.iter().map(|(k, v)| (k.clone(), v.unmarked_deep())).collect();
        let mut value = match &self.data {
            Data::List(s) => Self::list(s.element.clone(), plain(&s.items)),
            Data::Tuple(s) => Self::tuple(plain(&s.items)),
            Data::Map(d) => Self::map(d.element.clone(), by_name(&d.items)),
            Data::Object(d) => Self::object(by_name(&d.items)),
            _ => Self::from(self.data.clone()),
        };
        value.origin = self.origin.clone();
        value
    }

    /// The value as written at `site`, unless it has an origin already.
    pub fn at(mut self, site: Site) -> Self {
        if self.origin.site.is_none() {
            self.origin.site = Some(site);
        }
        self
    }
    /// The value after it passed through the definition at `site`.
    pub fn through(mut self, site: Site) -> Self {
        self.origin = self.origin.through(site);
        self
    }
    /// The value with the origin of another.
    pub fn like(mut self, other: &Self) -> Self {
        if self.origin.site.is_none() {
            self.origin = other.origin.clone();
        }
        self
    }

    /// What it is.
    pub fn data(&self) -> &Data {
        &self.data
    }
    /// Marks at the top.
    pub fn marks(&self) -> Marks {
        self.marks
    }
    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    fn meta(&self) -> Meta {
        let mut meta = match &self.data {
            Data::List(s) | Data::Set(s) | Data::Tuple(s) => s.meta,
            Data::Map(d) | Data::Object(d) => d.meta,
            Data::String(s) => Meta { size: 16 + s.len() as u64, ..Meta::default() },
            Data::Unknown(u) => Meta { size: 32, unknown: true, unsettled: u.ty.has_dynamic(), ..Meta::default() },
            _ => Meta { size: 16, unsettled: self.open, ..Meta::default() },
        };
        meta.marks = meta.marks.union(self.marks);
        meta
    }

    /// Bytes it takes, roughly; shared parts count each time they occur.
    pub fn size(&self) -> u64 {
        self.meta().size
    }
    /// Levels of containers.
    pub fn depth(&self) -> u16 {
        self.meta().depth
    }
    /// Marks of it and of everything in it.
    pub fn deep_marks(&self) -> Marks {
        self.meta().marks
    }
    /// Not unknown at the top; parts may be.
    pub fn is_known(&self) -> bool {
        !matches!(self.data, Data::Unknown(_))
    }
    /// No part is unknown.
    pub fn is_wholly_known(&self) -> bool {
        !self.meta().unknown
    }
    /// No part may still take another type.
    pub fn is_settled(&self) -> bool {
        !self.meta().unsettled
    }
    /// Known to be null.
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null(_))
    }
    /// Known, and not null.
    pub fn is_certainly_not_null(&self) -> bool {
        match &self.data {
            Data::Null(_) => false,
            Data::Unknown(u) => u.refinement.not_null,
            _ => true,
        }
    }
    /// Unknown, or null, without any type.
    pub fn is_untyped(&self) -> bool {
        match &self.data {
            Data::Null(t) => *t == Type::Dynamic,
            Data::Unknown(u) => u.ty == Type::Dynamic,
            _ => false,
        }
    }

    /// The unknown, if it is one.
    pub fn as_unknown(&self) -> Option<&Unknown> {
        match &self.data {
            Data::Unknown(u) => Some(u),
            _ => None,
        }
    }
    /// Why it is unknown, if it is.
    pub fn cause(&self) -> Option<&Cause> {
        self.as_unknown().map(|u| &u.cause)
    }
    /// Why it, or the first unknown part of it, is unknown.
    pub fn deep_cause(&self) -> Option<Cause> {
        if !self.meta().unknown {
            return None;
        }
        match &self.data {
            Data::Unknown(u) => Some(u.cause.clone()),
            Data::List(s) | Data::Set(s) | Data::Tuple(s) => s.items.iter().find_map(Self::deep_cause),
            Data::Map(d) | Data::Object(d) => d.items.values().find_map(Self::deep_cause),
            _ => None,
        }
    }
    /// The text, if it is known text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::String(s) => Some(s),
            _ => None,
        }
    }
    /// The bool, if it is a known one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.data {
            Data::Bool(b) => Some(b),
            _ => None,
        }
    }
    /// The number, if it is a known one.
    pub fn as_number(&self) -> Option<&Number> {
        match &self.data {
            Data::Number(n) => Some(n),
            _ => None,
        }
    }
    /// The whole number, if it is a known one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number().and_then(Number::to_i64)
    }
    /// Elements of a known list, set or tuple.
    pub fn as_seq(&self) -> Option<&[Self]> {
        match &self.data {
            Data::List(s) | Data::Set(s) | Data::Tuple(s) => Some(&s.items),
            _ => None,
        }
    }
    /// Elements of a known map or object.
    pub fn as_dict(&self) -> Option<&BTreeMap<Arc<str>, Self>> {
        match &self.data {
            Data::Map(d) | Data::Object(d) => Some(&d.items),
            _ => None,
        }
    }
    /// Number of elements, if certain: also of an unknown one whose length is.
    pub fn len(&self) -> Option<usize> {
        match &self.data {
            Data::Unknown(u) => match (&u.ty, &u.refinement) {
                (Type::Tuple(ts), _) => Some(ts.len()),
                (_, r) => r.max_len.filter(|max| *max == r.min_len),
            },
            _ => self.as_seq().map(<[Self]>::len).or_else(|| self.as_dict().map(BTreeMap::len)),
        }
    }
    /// Whether it is certain that there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Its type.
    pub fn ty(&self) -> Type {
        match &self.data {
            Data::Null(t) => t.clone(),
            Data::Unknown(u) => u.ty.clone(),
            Data::Bool(_) => Type::Bool,
            Data::Number(_) => Type::Number,
            Data::String(_) => Type::String,
            Data::List(s) => Type::list(s.element.clone()),
            Data::Set(s) => Type::set(s.element.clone()),
            Data::Map(d) => Type::map(d.element.clone()),
            Data::Tuple(s) => Type::tuple(s.items.iter().map(Self::ty).collect::<Vec<_>>()),
            Data::Object(d) => Type::object(d.items.iter().map(|(k, v)| (k.clone(), v.ty())).collect()),
        }
    }

    /// Its type where that costs nothing: a known tuple or object shows no elements here, so only its kind means anything.
    pub fn shape(&self) -> Type {
        match &self.data {
            Data::Tuple(_) => Type::tuple(Vec::new()),
            Data::Object(_) => Type::object(BTreeMap::new()),
            _ => self.ty(),
        }
    }

    /// Whether the two are equal: an unknown bool if it depends on what is unknown.
    pub fn equals(&self, other: &Self) -> Self {
        let one_null = self.is_null() != other.is_null();
        let marks = if one_null { self.marks.union(other.marks) } else { self.deep_marks().union(other.deep_marks()) };
        let value = match equal(self, other) {
            Some(answer) => Self::bool(answer),
            None => {
                let cause = self.deep_cause().or_else(|| other.deep_cause());
                Self::unknown_not_null(Type::Bool, cause.unwrap_or_else(|| Cause::new(CauseKind::Failed, "comparison")))
            }
        };
        value.marked(marks)
    }
}

fn dict_meta(items: &BTreeMap<Arc<str>, Value>) -> Meta {
    let mut meta = Meta::of(items.values());
    meta.size = meta.size.saturating_add(items.keys().map(|k| 32 + k.len() as u64).sum());
    meta
}

/// The part of a known beginning that no following text can change: a letter may still merge with a mark that follows it.
pub fn safe_prefix(text: &str) -> &str {
    let open = |c: char| c.is_alphanumeric() || !c.is_ascii() || matches!(c, '<' | '>' | '=' | '\r');
    match text.char_indices().next_back() {
        Some((at, last)) if open(last) => &text[..at],
        _ => text,
    }
}

/// Unicode normal form C, which is how Terraform keeps all text.
pub fn normal_form(text: &str) -> Arc<str> {
    if text.is_ascii() {
        return text.into();
    }
    icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(text).as_ref().into()
}

/// Identical data: for removing duplicates among wholly known values.
fn same(a: &Value, b: &Value) -> bool {
    equal(a, b) == Some(true)
}

/// Equality; `None` where it depends on what is unknown.
fn equal(a: &Value, b: &Value) -> Option<bool> {
    if a.is_null() && b.is_certainly_not_null() || b.is_null() && a.is_certainly_not_null() {
        return Some(false);
    }
    match (&a.data, &b.data) {
        (Data::Null(_), Data::Null(_)) => Some(true),
        (Data::Unknown(x), Data::Unknown(y)) => {
            differ_by_type(&x.ty, &y.ty, x.refinement.not_null || y.refinement.not_null)
        }
        (Data::Unknown(u), _) => unknown_equal(u, b),
        (_, Data::Unknown(u)) => unknown_equal(u, a),
        (Data::Bool(x), Data::Bool(y)) => Some(x == y),
        (Data::Number(x), Data::Number(y)) => Some(x == y),
        (Data::String(x), Data::String(y)) => Some(x == y),
        (Data::List(x), Data::List(y)) | (Data::Set(x), Data::Set(y)) => {
            if x.element == y.element {
                seq_equal(&x.items, &y.items)
            } else {
                typed_apart(a, b)
            }
        }
        (Data::Tuple(x), Data::Tuple(y)) => {
            if x.items.len() != y.items.len() {
                Some(false)
            } else {
                structural_equal(a, b, || seq_equal(&x.items, &y.items))
            }
        }
        (Data::Map(x), Data::Map(y)) => {
            if x.element == y.element {
                dict_equal(&x.items, &y.items)
            } else {
                typed_apart(a, b)
            }
        }
        (Data::Object(x), Data::Object(y)) => {
            if !x.items.keys().eq(y.items.keys()) {
                Some(false)
            } else {
                structural_equal(a, b, || dict_equal(&x.items, &y.items))
            }
        }
        _ => Some(false),
    }
}

/// Values of one kind whose types differ are unequal, unless a type is not settled yet.
fn typed_apart(a: &Value, b: &Value) -> Option<bool> {
    if a.is_settled() && b.is_settled() && !a.ty().has_dynamic() && !b.ty().has_dynamic() { Some(false) } else { None }
}

/// Tuples and objects are equal only if their types are.
fn structural_equal(a: &Value, b: &Value, parts: impl FnOnce() -> Option<bool>) -> Option<bool> {
    let (x, y) = (a.ty(), b.ty());
    if x == y || x.has_dynamic() || y.has_dynamic() {
        return parts().filter(|equal| *equal == (x == y) || !*equal);
    }
    Some(false)
}

fn seq_equal(a: &[Value], b: &[Value]) -> Option<bool> {
    if a.len() != b.len() {
        return Some(false);
    }
    all_equal(a.iter().zip(b))
}

fn dict_equal(a: &BTreeMap<Arc<str>, Value>, b: &BTreeMap<Arc<str>, Value>) -> Option<bool> {
    if !a.keys().eq(b.keys()) {
        return Some(false);
    }
    all_equal(a.values().zip(b.values()))
}

/// One certain difference decides, whatever else is unknown.
fn all_equal<'a>(pairs: impl Iterator<Item = (&'a Value, &'a Value)>) -> Option<bool> {
    let mut sure = true;
    for (x, y) in pairs {
        match equal(x, y) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => sure = false,
        }
    }
    sure.then_some(true)
}

/// Different types make values unequal, if they are certain and not both could be null.
fn differ_by_type(a: &Type, b: &Type, not_null: bool) -> Option<bool> {
    (not_null && a != b && !a.has_dynamic() && !b.has_dynamic()).then_some(false)
}

fn unknown_equal(unknown: &Unknown, known: &Value) -> Option<bool> {
    let outside = match &known.data {
        Data::Null(_) => false,
        Data::String(s) => unknown.refinement.prefix.as_ref().is_some_and(|p| !s.starts_with(&**p)),
        Data::Number(n) => {
            let below = unknown.refinement.min.as_ref().is_some_and(|(m, inclusive)| n < m || (!inclusive && n == m));
            let above = unknown.refinement.max.as_ref().is_some_and(|(m, inclusive)| n > m || (!inclusive && n == m));
            below || above
        }
        _ => known.len().is_some_and(|len| {
            unknown.ty.element().is_some()
                && (len < unknown.refinement.min_len || unknown.refinement.max_len.is_some_and(|max| len > max))
        }),
    };
    if outside {
        return Some(false);
    }
    if known.is_null() {
        return None;
    }
    // A known value is not null, so that a value of another type differs even if it turns out to be null.
    differ_by_type(&unknown.ty, &known.ty(), true)
}

fn primitive_order(a: &Value, b: &Value) -> std::cmp::Ordering {
    a.is_null().cmp(&b.is_null()).then_with(|| match (&a.data, &b.data) {
        (Data::Bool(x), Data::Bool(y)) => x.cmp(y),
        (Data::Number(x), Data::Number(y)) => x.cmp(y),
        (Data::String(x), Data::String(y)) => x.cmp(y),
        _ => std::cmp::Ordering::Equal,
    })
}

/// The bytes by which Terraform orders the elements of a set of structures.
fn set_key(value: &Value) -> Vec<u8> {
    let mut key = Vec::new();
    push_key(value, &mut key);
    key
}

fn push_key(value: &Value, key: &mut Vec<u8>) {
    match &value.data {
        Data::Unknown(_) => key.push(b'?'),
        Data::Null(_) => key.push(b'~'),
        Data::Bool(b) => key.push(if *b { b'T' } else { b'F' }),
        Data::Number(n) => key.extend_from_slice(super::functions::format::general(n, Some(10)).as_bytes()),
        Data::String(s) => push_quoted(s, key),
        Data::List(s) | Data::Set(s) => push_all(s.items.iter(), b"[]", key),
        Data::Tuple(s) => push_all(s.items.iter(), b"<>", key),
        Data::Object(d) => push_all(d.items.values(), b"<>", key),
        Data::Map(d) => {
            key.push(b'{');
            for (name, item) in &d.items {
                push_quoted(name, key);
                key.push(b':');
                push_key(item, key);
                key.push(b';');
            }
            key.push(b'}');
        }
    }
}

fn push_all<'a>(items: impl Iterator<Item = &'a Value>, brackets: &[u8; 2], key: &mut Vec<u8>) {
    key.push(brackets[0]);
    for item in items {
        push_key(item, key);
        key.push(b';');
    }
    key.push(brackets[1]);
}

/// Quoted the way the sort key of sets quotes.
fn push_quoted(text: &str, key: &mut Vec<u8>) {
    key.push(b'"');
    for c in text.chars() {
        match c {
            '"' => key.extend_from_slice(b"\\\""),
            '\\' => key.extend_from_slice(b"\\\\"),
            '\u{7}' => key.extend_from_slice(b"\\a"),
            '\u{8}' => key.extend_from_slice(b"\\b"),
            '\u{c}' => key.extend_from_slice(b"\\f"),
            '\n' => key.extend_from_slice(b"\\n"),
            '\r' => key.extend_from_slice(b"\\r"),
            '\t' => key.extend_from_slice(b"\\t"),
            '\u{b}' => key.extend_from_slice(b"\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                key.extend_from_slice(format!("\\x{:02x}", c as u32).as_bytes());
            }
            c => key.extend_from_slice(c.to_string().as_bytes()),
        }
    }
    key.push(b'"');
}
