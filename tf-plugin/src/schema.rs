//! Schemas: attributes, blocks and what the framework does with them.
//!
//! Everything is built at run time, so a schema can be made by a program; [`Schema::check`] finds what is not allowed.

use crate::diagnostic::Diagnostics;
use crate::path::{Path, Step};
use crate::validate::{Rule, Validator};
use crate::value::{Object, Type, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// How nested objects are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nesting {
    /// One object or null.
    Single,
    /// Objects in order.
    List,
    /// Objects without order.
    Set,
    /// Objects by name.
    Map,
    /// One object that is never null; only for blocks.
    Group,
}

impl Nesting {
    fn wrap(self, object: Type) -> Type {
        match self {
            Self::Single | Self::Group => object,
            Self::List => Type::list(object),
            Self::Set => Type::set(object),
            Self::Map => Type::map(object),
        }
    }
}

/// What an attribute holds. The sized numbers are `number` on the wire, and other amounts are refused with the path.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Text.
    String,
    /// True or false.
    Bool,
    /// A number of any size.
    Number,
    /// A whole number of 64 bits.
    Int64,
    /// A whole number of 32 bits.
    Int32,
    /// A number that a 64-bit float holds, rounded.
    Float64,
    /// A number that a 32-bit float holds, rounded.
    Float32,
    /// Any type.
    Dynamic,
    /// Elements of one type, in order.
    List(Type),
    /// Elements of one type, without order.
    Set(Type),
    /// Elements of one type, by key.
    Map(Type),
    /// One value with fixed attributes, without flags of their own.
    Object(BTreeMap<String, Type>),
    /// Objects whose attributes have flags of their own.
    Nested(Nesting, Vec<Attr>),
}

/// When two values of an attribute mean the same.
#[derive(Clone, Copy)]
pub struct Semantic {
    /// Name for the documentation.
    pub name: &'static str,
    /// True when both mean the same. Both are known and neither is null.
    pub equal: fn(&Value, &Value) -> bool,
}

impl fmt::Debug for Semantic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Semantic({})", self.name)
    }
}

/// When a change of an attribute replaces the resource.
#[derive(Clone, Default)]
pub enum Replace {
    /// Never.
    #[default]
    Never,
    /// On every change.
    OnChange,
    /// On every change to a value that is set in the configuration.
    IfConfigured,
    /// On a change for which the function answers true: (prior, planned).
    If(Arc<dyn Fn(&Value, &Value) -> bool + Send + Sync>),
}

impl fmt::Debug for Replace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "Never",
            Self::OnChange => "OnChange",
            Self::IfConfigured => "IfConfigured",
            Self::If(_) => "If(..)",
        })
    }
}

/// What a modifier sees of one attribute.
#[derive(Debug)]
pub struct ModifyRequest<'a> {
    /// The place.
    pub path: &'a Path,
    /// The value in the configuration.
    pub config: &'a Value,
    /// The value in the prior state; null when there is none, or when no element of a set corresponds.
    pub prior: &'a Value,
    /// The prior state as a whole; nothing on create.
    pub prior_state: Option<&'a Object>,
    /// The configuration as a whole.
    pub config_root: &'a Object,
    /// The plan as a whole, before the modifiers ran.
    pub plan_root: &'a Object,
}

/// A modifier of one attribute's planned value. True in the last argument asks for replacement.
pub type Modifier = Arc<dyn Fn(&ModifyRequest<'_>, &mut Value, &mut bool, &mut Diagnostics) + Send + Sync>;

/// An attribute.
#[derive(Clone)]
pub struct Attr {
    /// Name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// The configuration must set it.
    pub required: bool,
    /// The configuration may set it.
    pub optional: bool,
    /// The provider may set it.
    pub computed: bool,
    /// Hidden in output.
    pub sensitive: bool,
    /// Never in plan or state.
    pub write_only: bool,
    /// Text for those who still use it.
    pub deprecated: Option<String>,
    /// Markdown.
    pub description: String,
    /// Planned where the configuration is null; makes the attribute optional and computed.
    pub default: Option<Value>,
    /// When computed, keeps the prior value on update; also a null one.
    pub keep_state: bool,
    /// When computed, keeps the prior value on update unless it is null.
    pub keep_non_null_state: bool,
    /// When computed and otherwise kept: becomes unknown when one of these differs from the prior state.
    pub unknown_when: Vec<Path>,
    /// When a change replaces the resource.
    pub replace: Replace,
    /// Equality in meaning.
    pub semantic: Option<Semantic>,
    /// Checks of the value.
    pub validators: Vec<Validator>,
    /// Checks over the attributes of each nested object.
    pub rules: Vec<Rule>,
    /// Own steps of the plan.
    pub modifiers: Vec<Modifier>,
}

impl fmt::Debug for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attr").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Attr {
    /// An attribute of a kind, without flags.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            required: false,
            optional: false,
            computed: false,
            sensitive: false,
            write_only: false,
            deprecated: None,
            description: String::new(),
            default: None,
            keep_state: false,
            keep_non_null_state: false,
            unknown_when: Vec::new(),
            replace: Replace::Never,
            semantic: None,
            validators: Vec::new(),
            rules: Vec::new(),
            modifiers: Vec::new(),
        }
    }

    /// Text.
    pub fn string(name: impl Into<String>) -> Self {
        Self::new(name, Kind::String)
    }

    /// True or false.
    pub fn bool(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Bool)
    }

    /// A whole number of 64 bits.
    pub fn int64(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Int64)
    }

    /// A whole number of 32 bits.
    pub fn int32(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Int32)
    }

    /// A 64-bit float.
    pub fn float64(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Float64)
    }

    /// A 32-bit float.
    pub fn float32(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Float32)
    }

    /// A number of any size.
    pub fn number(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Number)
    }

    /// Any type.
    pub fn dynamic(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Dynamic)
    }

    /// Elements in order.
    pub fn list(name: impl Into<String>, element: Type) -> Self {
        Self::new(name, Kind::List(element))
    }

    /// Elements without order.
    pub fn set(name: impl Into<String>, element: Type) -> Self {
        Self::new(name, Kind::Set(element))
    }

    /// Elements by key.
    pub fn map(name: impl Into<String>, element: Type) -> Self {
        Self::new(name, Kind::Map(element))
    }

    /// A value with fixed attributes, without flags of their own.
    pub fn object<N: Into<String>>(name: impl Into<String>, attributes: impl IntoIterator<Item = (N, Type)>) -> Self {
        Self::new(name, Kind::Object(attributes.into_iter().map(|(n, t)| (n.into(), t)).collect()))
    }

    /// One object with attributes that have flags.
    pub fn nested_single(name: impl Into<String>, attrs: impl IntoIterator<Item = Self>) -> Self {
        Self::nested(name, Nesting::Single, attrs)
    }

    /// A list of such objects.
    pub fn nested_list(name: impl Into<String>, attrs: impl IntoIterator<Item = Self>) -> Self {
        Self::nested(name, Nesting::List, attrs)
    }

    /// A set of such objects.
    pub fn nested_set(name: impl Into<String>, attrs: impl IntoIterator<Item = Self>) -> Self {
        Self::nested(name, Nesting::Set, attrs)
    }

    /// A map of such objects.
    pub fn nested_map(name: impl Into<String>, attrs: impl IntoIterator<Item = Self>) -> Self {
        Self::nested(name, Nesting::Map, attrs)
    }

    /// Objects with attributes that have flags.
    pub fn nested(name: impl Into<String>, nesting: Nesting, attrs: impl IntoIterator<Item = Self>) -> Self {
        Self::new(name, Kind::Nested(nesting, attrs.into_iter().collect()))
    }

    /// The attribute `timeouts` with a duration such as `30m` for each operation.
    pub fn timeouts<N: Into<String>>(operations: impl IntoIterator<Item = N>) -> Self {
        let attrs = operations.into_iter().map(|op| {
            let op = op.into();
            let text = format!("How long {op} may take, such as `30s`, `10m` or `1h30m`.");
            Self::string(op).optional().describe(text).validate(crate::validate::duration())
        });
        Self::nested_single("timeouts", attrs).optional().describe("How long operations may take.")
    }

    /// The configuration must set it.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The configuration may set it.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The provider may set it.
    pub fn computed(mut self) -> Self {
        self.computed = true;
        self
    }

    /// Hidden in output, and masked in the text of diagnostics.
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Never in plan or state; needs Terraform 1.11.
    pub fn write_only(mut self) -> Self {
        self.write_only = true;
        self
    }

    /// Terraform warns those who set it with this text.
    pub fn deprecated(mut self, text: impl Into<String>) -> Self {
        self.deprecated = Some(text.into());
        self
    }

    /// Markdown for the documentation.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Planned where the configuration is null. Makes the attribute optional and computed.
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self.optional = true;
        self.computed = true;
        self
    }

    /// When computed, keeps the prior value on update instead of becoming unknown.
    pub fn keep_state(mut self) -> Self {
        self.keep_state = true;
        self
    }

    /// As [`Attr::keep_state`], but a null in the prior state becomes unknown.
    pub fn keep_non_null_state(mut self) -> Self {
        self.keep_non_null_state = true;
        self
    }

    /// With [`Attr::keep_state`]: unknown all the same when one of these places differs from the prior state.
    pub fn unknown_when(mut self, paths: impl IntoIterator<Item = Path>) -> Self {
        self.unknown_when.extend(paths);
        self
    }

    /// A change replaces the resource.
    pub fn replace_on_change(mut self) -> Self {
        self.replace = Replace::OnChange;
        self
    }

    /// A change to a value that is set in the configuration replaces the resource.
    pub fn replace_if_configured(mut self) -> Self {
        self.replace = Replace::IfConfigured;
        self
    }

    /// A change for which the function of prior and planned value answers true replaces the resource.
    pub fn replace_if(mut self, when: impl Fn(&Value, &Value) -> bool + Send + Sync + 'static) -> Self {
        self.replace = Replace::If(Arc::new(when));
        self
    }

    /// Two spellings of one meaning are no change. Not applied within sets.
    pub fn semantic(mut self, name: &'static str, equal: fn(&Value, &Value) -> bool) -> Self {
        self.semantic = Some(Semantic { name, equal });
        self
    }

    /// A check of every known value.
    pub fn validate(mut self, validator: Validator) -> Self {
        self.validators.push(validator);
        self
    }

    /// A check over the attributes of each nested object.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// An own step of the plan for this attribute.
    pub fn modify(
        mut self,
        step: impl Fn(&ModifyRequest<'_>, &mut Value, &mut bool, &mut Diagnostics) + Send + Sync + 'static,
    ) -> Self {
        self.modifiers.push(Arc::new(step));
        self
    }

    /// The type on the wire.
    pub fn wire_type(&self) -> Type {
        match &self.kind {
            Kind::String => Type::String,
            Kind::Bool => Type::Bool,
            Kind::Number | Kind::Int64 | Kind::Int32 | Kind::Float64 | Kind::Float32 => Type::Number,
            Kind::Dynamic => Type::Dynamic,
            Kind::List(t) => Type::list(t.clone()),
            Kind::Set(t) => Type::set(t.clone()),
            Kind::Map(t) => Type::map(t.clone()),
            Kind::Object(attributes) => Type::Object(attributes.clone()),
            Kind::Nested(nesting, attrs) => {
                nesting.wrap(Type::Object(attrs.iter().map(|a| (a.name.clone(), a.wire_type())).collect()))
            }
        }
    }

    /// The nested attributes, if it has some.
    pub fn nested_attrs(&self) -> Option<(Nesting, &[Self])> {
        if let Kind::Nested(nesting, attrs) = &self.kind { Some((*nesting, attrs)) } else { None }
    }
}

/// A nested block. New schemas use nested attributes instead.
#[derive(Clone, Debug)]
pub struct Block {
    /// Name of the block type.
    pub name: String,
    /// How the blocks are held.
    pub nesting: Nesting,
    /// What is within.
    pub body: Body,
    /// Fewest blocks.
    pub min_items: u64,
    /// Most blocks; 0 is no limit.
    pub max_items: u64,
    /// The provider may set it when the configuration does not (protocol 6.11).
    pub computed: bool,
}

impl Block {
    fn new(name: impl Into<String>, nesting: Nesting, body: Body) -> Self {
        Self { name: name.into(), nesting, body, min_items: 0, max_items: 0, computed: false }
    }

    /// Blocks in order.
    pub fn list(name: impl Into<String>, body: Body) -> Self {
        Self::new(name, Nesting::List, body)
    }

    /// Blocks without order.
    pub fn set(name: impl Into<String>, body: Body) -> Self {
        Self::new(name, Nesting::Set, body)
    }

    /// At most one block.
    pub fn single(name: impl Into<String>, body: Body) -> Self {
        Self::new(name, Nesting::Single, body)
    }

    /// At most one block; without it an object of nulls.
    pub fn group(name: impl Into<String>, body: Body) -> Self {
        Self::new(name, Nesting::Group, body)
    }

    /// Blocks by label.
    pub fn map(name: impl Into<String>, body: Body) -> Self {
        Self::new(name, Nesting::Map, body)
    }

    /// How many there may be, both ends included: `1..=16`, `1..`.
    pub fn items(mut self, range: impl RangeBounds<u64>) -> Self {
        self.min_items = match range.start_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n.saturating_add(1),
            Bound::Unbounded => 0,
        };
        self.max_items = match range.end_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n.saturating_sub(1),
            Bound::Unbounded => 0,
        };
        self
    }

    /// A single block that must be there.
    pub fn required(self) -> Self {
        self.items(1..=1)
    }

    /// The provider may set it when the configuration does not (protocol 6.11).
    pub fn computed(mut self) -> Self {
        self.computed = true;
        self
    }

    /// The type on the wire.
    pub fn wire_type(&self) -> Type {
        self.nesting.wrap(self.body.object_type())
    }
}

/// Attributes and blocks of a schema or block.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Attributes, in the order of the documentation.
    pub attrs: Vec<Attr>,
    /// Nested blocks.
    pub blocks: Vec<Block>,
    /// Markdown.
    pub description: String,
    /// Text for those who still use it.
    pub deprecated: Option<String>,
    /// Checks over several attributes.
    pub rules: Vec<Rule>,
}

impl Body {
    /// An empty body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an attribute.
    pub fn attr(mut self, attr: Attr) -> Self {
        self.attrs.push(attr);
        self
    }

    /// Adds a block.
    pub fn block(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    /// Markdown for the documentation.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Terraform warns those who use it with this text.
    pub fn deprecated(mut self, text: impl Into<String>) -> Self {
        self.deprecated = Some(text.into());
        self
    }

    /// A check over several attributes.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The object type of all attributes and blocks.
    pub fn object_type(&self) -> Type {
        let attrs = self.attrs.iter().map(|a| (a.name.clone(), a.wire_type()));
        Type::Object(attrs.chain(self.blocks.iter().map(|b| (b.name.clone(), b.wire_type()))).collect())
    }

    /// The object of a body that configures nothing: nulls, and empty collections for blocks.
    pub fn empty_object(&self) -> Object {
        let attrs = self.attrs.iter().map(|a| (a.name.clone(), Value::Null));
        let blocks = self.blocks.iter().map(|b| (b.name.clone(), b.empty_value()));
        attrs.chain(blocks).collect()
    }
}

impl Block {
    /// What an absent block is on the wire.
    pub fn empty_value(&self) -> Value {
        match self.nesting {
            Nesting::Single => Value::Null,
            Nesting::List => Value::list([]),
            Nesting::Set => Value::set([]),
            Nesting::Map => Value::Map(BTreeMap::new()),
            Nesting::Group => self.body.empty_object().into(),
        }
    }
}

/// A schema with its version.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// Version of the state's shape.
    pub version: i64,
    /// What is in it.
    pub body: Body,
}

impl Schema {
    /// An empty schema of that version.
    pub fn new(version: i64) -> Self {
        Self { version, body: Body::default() }
    }

    /// Adds an attribute.
    pub fn attr(mut self, attr: Attr) -> Self {
        self.body.attrs.push(attr);
        self
    }

    /// Adds attributes.
    pub fn attrs(mut self, attrs: impl IntoIterator<Item = Attr>) -> Self {
        self.body.attrs.extend(attrs);
        self
    }

    /// Adds a block.
    pub fn block(mut self, block: Block) -> Self {
        self.body.blocks.push(block);
        self
    }

    /// Markdown for the documentation.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.body.description = text.into();
        self
    }

    /// Terraform warns those who use it with this text.
    pub fn deprecated(mut self, text: impl Into<String>) -> Self {
        self.body.deprecated = Some(text.into());
        self
    }

    /// A check over several attributes.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.body.rules.push(rule);
        self
    }

    /// The attribute of that name.
    pub fn find(&self, name: &str) -> Option<&Attr> {
        self.body.attrs.iter().find(|a| a.name == name)
    }

    /// The type of the whole, as values are encoded.
    pub fn object_type(&self) -> Type {
        self.body.object_type()
    }

    /// An object with every name: nulls, and empty collections for blocks.
    pub fn empty_object(&self) -> Object {
        self.body.empty_object()
    }

    /// Finds everything in the schema that Terraform refuses or that cannot work. For tests and the start.
    ///
    /// # Errors
    /// All that was found, each with its place in the schema.
    pub fn check(&self) -> Result<(), Diagnostics> {
        let mut d = Diagnostics::new();
        if self.version < 0 {
            d.error(None, INVALID, "the version is negative");
        }
        for name in self.fields().iter().map(|f| f.name()).filter(|n| RESERVED.contains(n)) {
            d.error(Path::attr(name), INVALID, "the language takes this name at the root of a resource");
        }
        check_fields(self, self.fields(), &self.body.rules, &mut Path::root(), Within::default(), &mut d);
        if d.is_empty() { Ok(()) } else { Err(d) }
    }

    /// Refuses numbers that do not fit the kind of their attribute, at their place.
    pub fn check_values(&self, object: &Object, d: &mut Diagnostics) {
        visit(self.fields(), object, &mut Path::root(), &mut |attr, value, path| {
            if let Some(number) = value.as_number()
                && let Err(why) = number_fits(&attr.kind, number)
            {
                d.error(path.clone(), "Number does not fit", why);
            }
        });
    }

    /// Runs the validators of attributes and the rules over a configuration. Unknown values are skipped.
    pub fn validate(&self, config: &Object, d: &mut Diagnostics) {
        validate_fields(self.fields(), &self.body.rules, config, &mut Path::root(), d);
    }

    /// Every text within sensitive and write-only attributes, for masking: also each line of a text of many lines,
    /// and the form in which quotes and line ends are escaped.
    pub fn secrets(&self, object: &Object) -> Vec<String> {
        let mut found = BTreeSet::new();
        visit(self.fields(), object, &mut Path::root(), &mut |attr, value, _| {
            if attr.sensitive || attr.write_only {
                value.walk(&mut |_, v| match v {
                    Value::String(s) => add_secret(s, &mut found),
                    Value::Number(n) => {
                        found.insert(n.to_string());
                    }
                    _ => {}
                });
            }
        });
        found.into_iter().collect()
    }

    /// Takes all write-only values out of an object: null stays behind; the result holds them and nothing else.
    ///
    /// In the result, lists keep their length, and maps their keys, wherever something is taken from an element.
    pub fn take_write_only(&self, object: &mut Object) -> Object {
        take_fields(self.fields(), object)
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::of(&self.body)
    }
}

/// Attributes and blocks of one level.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) attrs: &'a [Attr],
    pub(crate) blocks: &'a [Block],
}

/// An attribute or a block.
#[derive(Clone, Copy)]
pub(crate) enum Field<'a> {
    Attr(&'a Attr),
    Block(&'a Block),
}

impl<'a> Fields<'a> {
    fn of(body: &'a Body) -> Self {
        Self { attrs: &body.attrs, blocks: &body.blocks }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Field<'a>> {
        self.attrs.iter().map(Field::Attr).chain(self.blocks.iter().map(Field::Block))
    }

    /// Whether the answer is yes for an attribute here or below.
    pub(crate) fn any(self, test: &dyn Fn(&Attr) -> bool) -> bool {
        self.iter().any(|f| f.attr().is_some_and(test) || f.nested().is_some_and(|(_, below)| below.any(test)))
    }

    /// The field that a path of names leads to.
    fn find(self, names: &[&str]) -> Option<Field<'a>> {
        let (first, rest) = names.split_first()?;
        let field = self.iter().find(|f| f.name() == *first)?;
        match (rest.is_empty(), field.nested(), field) {
            (true, ..) => Some(field),
            (false, Some((_, below)), _) => below.find(rest),
            // Names below that are attributes of a plain object type, or whatever a dynamic value has.
            (false, None, Field::Attr(a)) if matches!(a.kind, Kind::Object(_) | Kind::Dynamic) => Some(field),
            _ => None,
        }
    }
}

impl<'a> Field<'a> {
    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Attr(a) => &a.name,
            Self::Block(b) => &b.name,
        }
    }

    pub(crate) fn attr(self) -> Option<&'a Attr> {
        if let Self::Attr(a) = self { Some(a) } else { None }
    }

    /// What is within, unless the field is a plain attribute.
    pub(crate) fn nested(self) -> Option<(Nesting, Fields<'a>)> {
        match self {
            Self::Attr(a) => a.nested_attrs().map(|(nesting, attrs)| (nesting, Fields { attrs, blocks: &[] })),
            Self::Block(b) => Some((b.nesting, Fields::of(&b.body))),
        }
    }

    pub(crate) fn computed(self) -> bool {
        match self {
            Self::Attr(a) => a.computed,
            Self::Block(b) => b.computed,
        }
    }

    pub(crate) fn write_only(self) -> bool {
        self.attr().is_some_and(|a| a.write_only)
    }

    fn rules(self) -> &'a [Rule] {
        match self {
            Self::Attr(a) => &a.rules,
            Self::Block(b) => &b.body.rules,
        }
    }
}

/// The objects that a nested value consists of, with the step that leads to each; nothing for [`Nesting::Single`].
pub(crate) fn objects(value: &Value) -> Vec<(Option<Step>, &Object)> {
    match value {
        Value::Object(o) => vec![(None, o)],
        Value::List(e) => {
            e.iter().enumerate().filter_map(|(i, v)| Some((Some(Step::Index(i)), v.as_object()?))).collect()
        }
        Value::Set(s) => {
            s.iter().filter_map(|v| Some((Some(Step::Element(Box::new(v.clone()))), v.as_object()?))).collect()
        }
        Value::Map(m) => m.iter().filter_map(|(k, v)| Some((Some(Step::Key(k.clone())), v.as_object()?))).collect(),
        _ => Vec::new(),
    }
}

/// Visits the values of all attributes, outermost first.
fn visit(fields: Fields<'_>, object: &Object, path: &mut Path, f: &mut dyn FnMut(&Attr, &Value, &Path)) {
    for field in fields.iter() {
        let value = object.attr(field.name());
        path.push(Step::Attr(field.name().to_owned()));
        if let Some(attr) = field.attr() {
            f(attr, value, path);
        }
        if let Some((_, below)) = field.nested() {
            for (step, object) in objects(value) {
                path.down(step, |path| visit(below, object, path, f));
            }
        }
        path.pop();
    }
}

fn number_fits(kind: &Kind, number: &crate::value::Number) -> Result<(), String> {
    let float = number.to_f64_lossy();
    match kind {
        Kind::Int64 => number.to_i64().map(drop).map_err(|e| format!("{e}.")),
        Kind::Int32 => number.to_i32().map(drop).map_err(|e| format!("{e}.")),
        Kind::Float64 if number.is_finite() && float.is_infinite() => {
            Err("The number is outside of the range of a 64-bit float.".to_owned())
        }
        Kind::Float32 if number.is_finite() && (float as f32).is_infinite() => {
            Err("The number is outside of the range of a 32-bit float.".to_owned())
        }
        _ => Ok(()),
    }
}

fn validate_fields(fields: Fields<'_>, rules: &[Rule], object: &Object, path: &mut Path, d: &mut Diagnostics) {
    for field in fields.iter() {
        let value = object.attr(field.name());
        path.push(Step::Attr(field.name().to_owned()));
        for validator in field.attr().map(|a| a.validators.as_slice()).unwrap_or_default() {
            validator.run(value, path, d);
        }
        if let Some((_, below)) = field.nested() {
            for (step, object) in objects(value) {
                path.down(step, |path| validate_fields(below, field.rules(), object, path, d));
            }
        }
        path.pop();
    }
    if rules.is_empty() {
        return;
    }
    // Rules see blocks that are not there as null, as they see attributes.
    let mut seen = object.clone();
    for block in fields.blocks {
        let value = object.attr(&block.name);
        if *value == block.empty_value() {
            seen.set(block.name.clone(), Value::Null);
        }
    }
    for rule in rules {
        rule.run(&seen, path, d);
    }
}

fn add_secret(text: &str, found: &mut BTreeSet<String>) {
    let escaped = format!("{text:?}");
    let lines = text.lines().map(str::trim).filter(|l| text.contains('\n') && l.len() >= 8);
    found.extend(lines.map(str::to_owned));
    for form in [text, text.trim(), &escaped[1..escaped.len() - 1]] {
        if !form.is_empty() {
            found.insert(form.to_owned());
        }
    }
}

fn take_fields(fields: Fields<'_>, object: &mut Object) -> Object {
    let mut taken = Object::new();
    for field in fields.iter() {
        let name = field.name();
        if field.write_only() {
            let value = object.take(name);
            if !value.is_null() {
                taken.set(name, value);
            }
        } else if let Some((_, below)) = field.nested()
            && below.any(&|a| a.write_only)
            && let Some(value) = object.get_mut(name)
            && let Some(found) = take_nested(below, value)
        {
            taken.set(name, found);
        }
    }
    taken
}

/// What was taken out of a nested value, unless that is nothing.
fn take_nested(fields: Fields<'_>, value: &mut Value) -> Option<Value> {
    match value {
        Value::Object(o) => Some(take_fields(fields, o)).filter(|t| !t.is_empty()).map(Value::Object),
        Value::List(elements) => {
            let taken: Vec<Option<Value>> = elements.iter_mut().map(|v| take_nested(fields, v)).collect();
            let any = taken.iter().any(Option::is_some);
            any.then(|| Value::list(taken.into_iter().map(|v| v.unwrap_or_else(|| Object::new().into()))))
        }
        Value::Map(elements) => {
            let taken: BTreeMap<String, Value> =
                elements.iter_mut().filter_map(|(k, v)| Some((k.clone(), take_nested(fields, v)?))).collect();
            (!taken.is_empty()).then_some(Value::Map(taken))
        }
        // The schema check forbids it; what is there all the same must not be stored.
        Value::Set(elements) => {
            let mut elements = std::mem::take(elements).into_vec();
            for v in &mut elements {
                take_nested(fields, v);
            }
            *value = Value::set(elements);
            None
        }
        _ => None,
    }
}

const INVALID: &str = "Invalid schema";

/// Names that the language takes at the root of a resource or data source.
const RESERVED: [&str; 7] = ["count", "depends_on", "for_each", "lifecycle", "provider", "provisioner", "connection"];

/// What the level is within.
#[derive(Clone, Copy, Default)]
struct Within {
    set: bool,
    write_only: bool,
}

fn check_fields(
    schema: &Schema,
    fields: Fields<'_>,
    rules: &[Rule],
    path: &mut Path,
    within: Within,
    d: &mut Diagnostics,
) {
    let mut names = BTreeSet::new();
    for field in fields.iter() {
        let name = field.name();
        path.push(Step::Attr(name.to_owned()));
        let mut wrong = |text: &str| d.error(path.clone(), INVALID, text);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            wrong("a name consists of lowercase letters, digits and underscores");
        } else if name.starts_with(|c: char| c.is_ascii_digit()) {
            wrong("a name does not begin with a digit");
        }
        if !names.insert(name) {
            wrong("the name is there twice");
        }
        match field {
            Field::Attr(attr) => check_attr(schema, attr, within, &mut wrong),
            Field::Block(block) => check_block(block, within, &mut wrong),
        }
        if let Some((nesting, below)) = field.nested() {
            let within = Within {
                set: within.set || nesting == Nesting::Set,
                write_only: within.write_only || field.write_only(),
            };
            check_fields(schema, below, field.rules(), path, within, d);
        }
        path.pop();
    }
    for name in rules.iter().flat_map(Rule::names).filter(|n| !names.contains(n.as_str())) {
        d.error(path.clone(), INVALID, format!("a rule is about {name:?}, which is not there"));
    }
}

fn check_attr(schema: &Schema, attr: &Attr, within: Within, wrong: &mut dyn FnMut(&str)) {
    let Attr { required, optional, computed, write_only, .. } = *attr;
    if !(required || optional || computed) {
        wrong("it is neither required nor optional nor computed");
    }
    if required && (optional || computed) {
        wrong("required excludes optional, computed and a default");
    }
    if write_only && computed {
        wrong("a write-only attribute is not computed and has no default, since nothing is stored for it");
    }
    if within.write_only && computed {
        wrong("within a write-only attribute nothing is computed");
    }
    if within.set && write_only {
        wrong("a set does not contain write-only attributes");
    }
    if within.set && attr.wire_type().has_dynamic() {
        wrong("a set does not contain dynamic attributes");
    }
    match &attr.kind {
        Kind::Set(element) if element.has_dynamic() => wrong("a set does not contain dynamic values"),
        Kind::Nested(Nesting::Group, _) => wrong("only blocks have the nesting of a group"),
        Kind::Nested(..) => {}
        _ if !attr.rules.is_empty() => wrong("only nested attributes have rules; others have validators"),
        _ => {}
    }
    let keeps = attr.keep_state || attr.keep_non_null_state;
    if keeps && !computed {
        wrong("only a computed attribute keeps its state");
    }
    if keeps && attr.default.is_some() {
        wrong("an attribute with a default does not keep its state");
    }
    if !attr.unknown_when.is_empty() && !keeps {
        wrong("unknown_when is for attributes that keep their state");
    }
    for place in &attr.unknown_when {
        let names: Vec<&str> = place.attribute_names().collect();
        if schema.fields().find(&names).is_none() {
            wrong(&format!("unknown_when names {place}, which is not in the schema"));
        }
    }
    if let Some(default) = &attr.default {
        if !computed {
            wrong("an attribute with a default is computed");
        }
        if default.is_null() || !default.is_wholly_known() {
            wrong("a default is known and not null");
        }
        if let Err((place, why)) = default.conforms(&attr.wire_type()) {
            let at = if place.is_root() { String::new() } else { format!(" at {place}") };
            wrong(&format!("the default is not of the type{at}: {why}"));
        }
        if let Some(Err(why)) = default.as_number().map(|n| number_fits(&attr.kind, n)) {
            wrong(&format!("the default does not fit: {why}"));
        }
        let mut d = Diagnostics::new();
        attr.validators.iter().filter(|v| v.problem().is_none()).for_each(|v| v.run(default, &Path::root(), &mut d));
        if d.has_errors() {
            wrong(&format!("the default is refused by a validator: {d}"));
        }
    }
    if write_only && !matches!(attr.replace, Replace::Never) {
        wrong("a write-only attribute is never seen to change, so it cannot replace the resource");
    }
    for problem in attr.validators.iter().filter_map(|v| v.problem()) {
        wrong(&format!("a validator cannot work: {problem}"));
    }
}

fn check_block(block: &Block, within: Within, wrong: &mut dyn FnMut(&str)) {
    let (min, max) = (block.min_items, block.max_items);
    let good = match block.nesting {
        Nesting::Single => min == max && max <= 1,
        Nesting::Group | Nesting::Map => min == 0 && max == 0,
        Nesting::List | Nesting::Set => max == 0 || min <= max,
    };
    if !good {
        wrong("the limits of the number of blocks do not fit the nesting");
    }
    if within.write_only {
        wrong("a write-only attribute holds no blocks");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostic;
    use crate::validate::{exactly_one_of, length, range, regex};
    use crate::{Number, path};

    fn one(attr: Attr) -> Schema {
        Schema::new(0).attr(attr)
    }

    fn good() -> Schema {
        Schema::new(2)
            .attr(Attr::string("name").required().replace_on_change().validate(length(1..=40)))
            .attr(Attr::int64("replicas").optional().validate(range(0..=10_000)))
            .attr(Attr::int32("size").default(3))
            .attr(Attr::string("id").computed().keep_state().unknown_when([path!("ports", ["x"], "number")]))
            .attr(Attr::string("token").optional().sensitive())
            .attr(Attr::string("token_wo").optional().write_only())
            .attr(
                Attr::nested_map(
                    "ports",
                    [Attr::int64("number").required(), Attr::string("key_wo").optional().write_only()],
                )
                .optional(),
            )
            .attr(Attr::nested_set("tags", [Attr::string("k").required(), Attr::string("v").default("x")]).optional())
            .attr(Attr::nested_list("many", [Attr::string("p").optional().write_only()]).optional())
            .attr(Attr::timeouts(["create"]))
            .block(
                Block::list(
                    "rule",
                    Body::new()
                        .attr(Attr::string("a").optional())
                        .attr(Attr::bool("b").optional())
                        .rule(exactly_one_of(["a", "b"])),
                )
                .items(..=16),
            )
            .block(Block::single("one", Body::new()).required())
    }

    #[test]
    fn a_good_schema_passes() {
        assert_eq!(good().check(), Ok(()));
    }

    #[test]
    fn each_fault_of_a_schema_is_found() {
        let s = |n| Attr::string(n).optional();
        let table = [
            (one(Attr::string("a")), "neither required"),
            (one(Attr::string("a").required().optional()), "required excludes"),
            (one(Attr::string("a").required().default("x")), "required excludes"),
            (one(s("a").computed().write_only()), "not computed"),
            (one(Attr::string("a").default("x").write_only()), "not computed"),
            (one(s("a").keep_state()), "only a computed"),
            (one(s("a").computed().unknown_when([path!("a")])), "unknown_when is for"),
            (one(s("a").computed().keep_state().unknown_when([path!("b", "c")])), "names b.c"),
            (one(Attr::string("a").default("x").keep_state()), "with a default"),
            (one(Attr::int64("a").default("x")), "not of the type"),
            (one(Attr::int32("a").default(3_000_000_000_u32)), "does not fit"),
            (one(Attr::string("a").default("").validate(length(1..))), "refused by a validator"),
            (one(Attr::string("a").default(Value::UNKNOWN)), "is known"),
            (one(s("a").validate(regex("("))), "cannot work"),
            (one(s("a").rule(exactly_one_of(["b"]))), "only nested"),
            (one(s("a").write_only().replace_on_change()), "never seen"),
            (one(s("A")), "lowercase"),
            (one(s("")), "lowercase"),
            (one(s("1a")), "digit"),
            (one(s("a")).attr(s("a")), "twice"),
            (one(s("a")).block(Block::list("a", Body::new())), "twice"),
            (one(s("count")), "takes this name"),
            (one(Attr::nested("a", Nesting::Group, [s("b")]).optional()), "group"),
            (one(Attr::nested_set("a", [s("b").write_only()]).optional()), "write-only"),
            (
                one(Attr::nested_set("a", [Attr::nested_single("b", [Attr::dynamic("c").optional()]).optional()])
                    .optional()),
                "dynamic",
            ),
            (one(Attr::set("a", Type::Dynamic).optional()), "dynamic"),
            (one(Attr::nested_single("a", [s("b").computed()]).optional().write_only()), "within a write-only"),
            (one(Attr::nested_list("a", [Attr::string("b")]).optional()), "neither required"),
            (Schema::new(0).block(Block::set("a", Body::new().attr(Attr::dynamic("b").optional()))), "dynamic"),
            (Schema::new(0).block(Block::single("a", Body::new()).items(0..=1)), "limits"),
            (Schema::new(0).block(Block::map("a", Body::new()).items(1..)), "limits"),
            (Schema::new(0).block(Block { min_items: 3, ..Block::list("a", Body::new()).items(..=2) }), "limits"),
            (one(s("a")).rule(exactly_one_of(["a", "z"])), "\"z\""),
            (Schema::new(-1), "negative"),
        ];
        for (schema, wanted) in table {
            let found = schema.check().expect_err(wanted);
            assert!(found.to_string().contains(wanted), "{wanted}: {found}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_at_their_place() {
        let s = one(Attr::nested_list("l", [Attr::int64("i").optional(), Attr::float32("f").optional()]).optional());
        let e = |i: &str, f: &str| {
            Value::object([("i", Number::parse(i).unwrap().into()), ("f", Number::parse(f).unwrap().into())])
        };
        let mut d = Diagnostics::new();
        s.check_values(&Object::new().with("l", Value::list([e("1", "0.1"), e("1.5", "1e39")])), &mut d);
        let found: Vec<String> = d.iter().filter_map(|d| d.path.as_ref()).map(Path::to_string).collect();
        assert_eq!(found, ["l[1].i", "l[1].f"]);
    }

    #[test]
    fn validators_and_rules_run_at_every_depth() {
        let rule = |a: Value, b: Value| Value::object([("a", a), ("b", b)]);
        let config = good()
            .empty_object()
            .with("name", "")
            .with("replicas", 10_001)
            .with("timeouts", Value::object([("create", "soon".into())]))
            .with("rule", Value::list([rule("x".into(), Value::Null), rule("x".into(), true.into())]));
        let mut d = Diagnostics::new();
        good().validate(&config, &mut d);
        let found: Vec<String> = d.iter().filter_map(|d| d.path.as_ref()).map(Path::to_string).collect();
        assert_eq!(found, ["name", "replicas", "timeouts.create", "rule[1]"]);
    }

    #[test]
    fn a_rule_sees_an_absent_block_as_null() {
        let s = one(Attr::string("a").optional()).block(Block::list("b", Body::new())).rule(exactly_one_of(["a", "b"]));
        let mut d = Diagnostics::new();
        s.validate(&s.empty_object().with("a", "x"), &mut d);
        assert!(d.is_empty());
        s.validate(&s.empty_object(), &mut d);
        assert_eq!(d.len(), 1);
    }

    #[test]
    fn write_only_values_are_taken_out_with_their_place() {
        let port = |key: Value| Value::object([("number", 1.into()), ("key_wo", key)]);
        let item = |p: Value| Value::object([("p", p)]);
        let mut o = good()
            .empty_object()
            .with("name", "n")
            .with("token_wo", "s")
            .with("ports", Value::map([("a", port("k".into())), ("b", port(Value::Null))]))
            .with("many", Value::list([item(Value::Null), item(Value::UNKNOWN)]));
        let taken = good().take_write_only(&mut o);
        let wanted = Object::new()
            .with("token_wo", "s")
            .with("ports", Value::map([("a", Value::object([("key_wo", "k".into())]))]))
            .with("many", Value::list([Object::new().into(), item(Value::UNKNOWN)]));
        assert_eq!(taken, wanted);
        assert!(o.at("token_wo").unwrap().is_null() && o.at(r#"ports["a"].key_wo"#).unwrap().is_null());
        assert_eq!(o.at(r#"ports["a"].number"#), Some(&1.into()));
        assert!(good().take_write_only(&mut o).is_empty());
    }

    #[test]
    fn secrets_are_masked_in_every_form() {
        let o = good()
            .empty_object()
            .with("name", "public")
            .with("token", "line-one-x\nline \"two\" y")
            .with("token_wo", "wo-secret");
        let secrets = good().secrets(&o);
        let text = format!("got {:?}, {} and line-one-x; public", "line-one-x\nline \"two\" y", "wo-secret");
        let d = Diagnostic::error(text, "line \"two\" y").redacted(&secrets);
        assert_eq!(d.summary, "got \"(sensitive)\", (sensitive) and (sensitive); public");
        assert_eq!(d.detail, "(sensitive)");
    }
}
