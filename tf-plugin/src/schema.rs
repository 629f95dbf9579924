//! Schemas: attributes, blocks and what the framework does with them.
//!
//! Everything is built at run time, so a schema can be made by a program; [`Schema::check`] finds what is not allowed.

use crate::diagnostic::Diagnostics;
use crate::path::Path;
use crate::validate::{Rule, Validator};
use crate::value::{Object, Type, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

mod check;
mod fields;

use check::{INVALID, RESERVED, Within, check_fields};
pub(crate) use fields::{Field, Fields, objects};
use fields::{add_secret, number_fits, take_fields, validate_fields, visit};

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

/// A type of one's own: a kind with a meaning, used by several attributes.
///
/// ```
/// use tf_plugin::{Attr, CustomType, Kind, validate};
///
/// let quantity = CustomType::new("quantity", Kind::String)
///     .semantic(|a, b| a.as_str().map(str::len) == b.as_str().map(str::len))
///     .validate(validate::length(1..=20));
/// let cpu = Attr::custom("cpu", &quantity).optional();
/// assert_eq!(cpu.validators.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct CustomType {
    /// Name for the documentation.
    pub name: &'static str,
    /// What it is on the wire.
    pub kind: Kind,
    /// Equality in meaning.
    pub semantic: Option<Semantic>,
    /// Checks of every value.
    pub validators: Vec<Validator>,
}

impl CustomType {
    /// A type without a meaning yet.
    pub fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, semantic: None, validators: Vec::new() }
    }

    /// Two spellings of one meaning are no change. Not applied within sets.
    pub fn semantic(mut self, equal: fn(&Value, &Value) -> bool) -> Self {
        self.semantic = Some(Semantic { name: self.name, equal });
        self
    }

    /// A check of every known value.
    pub fn validate(mut self, validator: Validator) -> Self {
        self.validators.push(validator);
        self
    }
}

/// Where a schema is used, for what may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    /// In a resource.
    Resource,
    /// In a provider block, `provider_meta` or a data source.
    Other,
    /// In an ephemeral resource.
    Ephemeral,
    /// In an action or a list, which have arguments only.
    Arguments,
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

    /// An attribute of a type of one's own.
    pub fn custom(name: impl Into<String>, of: &CustomType) -> Self {
        Self { semantic: of.semantic, validators: of.validators.clone(), ..Self::new(name, of.kind.clone()) }
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
        self.check_for(Usage::Resource)
    }

    /// As [`Schema::check`], for a schema that is used elsewhere than in a resource.
    ///
    /// # Errors
    /// All that was found, each with its place in the schema.
    pub fn check_for(&self, usage: Usage) -> Result<(), Diagnostics> {
        let mut d = Diagnostics::new();
        if self.version < 0 {
            d.error(None, INVALID, "the version is negative");
        }
        // Arguments of actions and lists stand in a block of their own.
        let taken = |name: &&str| usage != Usage::Arguments && RESERVED.contains(name);
        for name in self.fields().iter().map(|f| f.name()).filter(taken) {
            d.error(Path::attr(name), INVALID, "the language takes this name at the root of a resource");
        }
        check_fields(self, self.fields(), &self.body.rules, &mut Path::root(), Within::default(), &mut d);
        if usage != Usage::Resource && self.fields().any(&|a| a.write_only) {
            d.error(None, INVALID, "only a resource has write-only attributes");
        }
        if usage == Usage::Arguments && self.fields().any(&|a| a.computed) {
            d.error(None, INVALID, "it has arguments only, so nothing in it is computed");
        }
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

#[cfg(test)]
mod tests;
