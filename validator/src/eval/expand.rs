//! Instances that `count` and `for_each` make, and what a body looks like in each of them.

use super::convert::convert;
use super::definition::{Definition, ResourceId, Source, site};
use super::expr::{Evaluated, Failure};
use super::graph::{Bound, Graph, Instance, Scope};
use super::number::Number;
use super::types::Type;
use super::value::{Cause, CauseKind, Data, Marks, Site, Value};
use crate::ast::{Attribute, Block, Body, Expr, ExprId};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Which instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The only one.
    Single,
    /// `[0]`
    Index(usize),
    /// `["name"]`
    Name(Arc<str>),
    /// `[*]`: any number of them.
    AnyIndex,
    /// `["*"]`: any number of them.
    AnyName,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Single => Ok(()),
            Self::Index(i) => write!(f, "[{i}]"),
            Self::Name(name) => write!(f, "[{:?}]", &**name),
            Self::AnyIndex => f.write_str("[*]"),
            Self::AnyName => f.write_str("[\"*\"]"),
        }
    }
}

/// Whether an instance, or a block, is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exists {
    /// Certainly.
    Yes,
    /// It depends on this.
    Maybe(Cause),
}

/// One instance of a repeated block.
#[derive(Clone, Debug)]
pub struct Each {
    /// Which one.
    pub key: Key,
    /// Whether it is there.
    pub exists: Exists,
    /// `each.key` and `each.value`
    pub each: Option<(Value, Value)>,
    /// `count.index`
    pub count: Option<Value>,
}

impl Each {
    fn single() -> Self {
        Self { key: Key::Single, exists: Exists::Yes, each: None, count: None }
    }
}

/// Most instances that one block makes here; more are as good as any number.
const MAX_INSTANCES: usize = 10_000;

/// The instances of a block. After an error there is one that may or may not exist.
pub(super) fn expand(scope: &Scope<'_, '_>, definition: &Definition<'_>) -> Vec<Each> {
    if let Some((source, attribute)) = definition.attribute("count") {
        return counted(scope, source, attribute);
    }
    if let Some((source, attribute)) = definition.attribute("for_each") {
        return mapped(scope, source, attribute);
    }
    vec![Each::single()]
}

fn any_index(cause: Cause) -> Vec<Each> {
    let index = Value::unknown_not_null(Type::Number, cause.clone());
    vec![Each { key: Key::AnyIndex, exists: Exists::Maybe(cause), each: None, count: Some(index) }]
}

fn any_name(cause: Cause, value: Type) -> Vec<Each> {
    let each = (Value::unknown_not_null(Type::String, cause.clone()), Value::unknown(value, cause.clone()));
    vec![Each { key: Key::AnyName, exists: Exists::Maybe(cause), each: Some(each), count: None }]
}

/// Notes the error and goes on as if nothing were known.
fn blame(scope: &Scope<'_, '_>, source: Source<'_>, attribute: &Attribute, message: String) -> Cause {
    let site = site(source, source.ast.span(attribute.value));
    scope.graph.report(&Failure { site, message: message.clone() });
    Cause::new(CauseKind::Failed, message)
}

fn cause_of(value: &Value) -> Cause {
    value.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::Failed, "repetition"))
}

fn counted(scope: &Scope<'_, '_>, source: Source<'_>, attribute: &Attribute) -> Vec<Each> {
    let value = scope.graph.settled(scope.attribute(source, attribute));
    let wrong =
        |message: &str| any_index(blame(scope, source, attribute, format!("invalid count argument: {message}")));
    if value.is_null() {
        return wrong("the given \"count\" argument value is null; an integer is required");
    }
    if !value.marks().is_none() {
        return wrong("sensitive or ephemeral values cannot be used as count");
    }
    let number = match convert(&value, &Type::Number) {
        Ok(number) => number,
        Err(e) => return wrong(&e.to_string()),
    };
    if let Some(unknown) = number.as_unknown() {
        let never = unknown.refinement.max.as_ref().is_some_and(|(max, _)| *max == Number::count(0));
        return if never { Vec::new() } else { any_index(unknown.cause.clone()) };
    }
    match number.as_i64() {
        Some(n) if n < 0 => wrong("must be greater than or equal to zero"),
        Some(n) if n as usize <= MAX_INSTANCES => (0..n as usize)
            .map(|i| Each { key: Key::Index(i), exists: Exists::Yes, each: None, count: Some(Value::count(i)) })
            .collect(),
        Some(_) => any_index(Cause::new(CauseKind::Budget, "more instances than are looked at")),
        None => wrong("a whole number is required"),
    }
}

fn mapped(scope: &Scope<'_, '_>, source: Source<'_>, attribute: &Attribute) -> Vec<Each> {
    let value = scope.graph.settled(scope.attribute(source, attribute));
    let wrong = |message: &str| {
        any_name(blame(scope, source, attribute, format!("invalid for_each argument: {message}")), Type::Dynamic)
    };
    if value.is_null() {
        return wrong("the given \"for_each\" argument value is null; a map or a set of strings is required");
    }
    if !value.marks().is_none() {
        return wrong("sensitive or ephemeral values cannot be used as for_each");
    }
    let ty = value.ty();
    let element = match &ty {
        Type::Set(element) if matches!(**element, Type::String | Type::Dynamic) => Type::String,
        Type::Map(element) => (**element).clone(),
        Type::Object(_) | Type::Dynamic => Type::Dynamic,
        other => {
            return wrong(&format!(
                "must be a map or a set of strings, and you have provided a value of type {}",
                other.friendly()
            ));
        }
    };
    let names: Vec<(Arc<str>, Value)> = match (value.data(), value.as_seq(), value.as_dict()) {
        (Data::Unknown(_), _, _) => return any_name(cause_of(&value), element),
        (_, Some(items), _) => {
            if items.iter().any(Value::is_null) {
                return wrong("must not contain null values");
            }
            items.iter().filter_map(|v| v.as_str().map(|s| (Arc::from(s), v.clone()))).collect()
        }
        (_, _, Some(items)) => items.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        _ => return any_name(cause_of(&value), element),
    };
    if names.len() > MAX_INSTANCES {
        return any_name(Cause::new(CauseKind::Budget, "more instances than are looked at"), element);
    }
    names
        .into_iter()
        .map(|(name, v)| {
            let each = (Value::string(&name), v);
            Each { key: Key::Name(name), exists: Exists::Yes, each: Some(each), count: None }
        })
        .collect()
}

/// An attribute as it is in one instance.
#[derive(Clone, Debug)]
pub struct AttributeView {
    /// Its name.
    pub name: Arc<str>,
    /// Where the name stands.
    pub name_site: Site,
    /// Where the expression stands.
    pub site: Site,
    /// Its value, or the error that Terraform has too.
    pub value: Evaluated,
}

/// A block as it is in one instance; dynamic ones are expanded.
#[derive(Clone, Debug)]
pub struct BlockView {
    /// Its type.
    pub kind: Arc<str>,
    /// Labels; unknown ones are absent.
    pub labels: Vec<Arc<str>>,
    /// Where its header stands.
    pub site: Site,
    /// Whether it is there: one that may be stands for any number.
    pub exists: Exists,
    /// What is in it.
    pub body: BodyView,
}

/// A body as it is in one instance.
#[derive(Clone, Debug, Default)]
pub struct BodyView {
    /// Attributes in order of the file.
    pub attributes: Vec<AttributeView>,
    /// Blocks in order.
    pub blocks: Vec<BlockView>,
}

impl BodyView {
    /// The value of an attribute, if it is there and has no error.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|a| &*a.name == name).and_then(|a| a.value.as_ref().ok())
    }
}

/// One instance of a resource.
#[derive(Clone, Debug)]
pub struct ResourceView {
    /// Kind, type and name.
    pub id: ResourceId,
    /// Which instance.
    pub key: Key,
    /// Whether it is there.
    pub exists: Exists,
    /// Header of the block.
    pub site: Site,
    /// What is in it.
    pub body: BodyView,
}

impl<'a> Graph<'a> {
    /// The instances of a resource with everything in them. A resource without instances is shown by
    /// [`Graph::resource_as_if`].
    pub fn resource_views(&self, instance: &Rc<Instance>, id: &ResourceId) -> Vec<ResourceView> {
        if let Some(known) = instance.views.borrow().get(id) {
            return known.to_vec();
        }
        let Some(definition) = self.definitions(instance).resources.get(id) else { return Vec::new() };
        let views: Vec<ResourceView> = self
            .resource_instances(instance, id)
            .iter()
            .map(|each| self.resource_view(instance, id, definition, each))
            .collect();
        if instance.callers.get() > 1 {
            instance.views.borrow_mut().insert(id.clone(), Rc::new(views.clone()));
        }
        views
    }

    /// A resource as if it had one instance with nothing known of its key: to check the body of one that has none.
    pub fn resource_as_if(&self, instance: &Rc<Instance>, id: &ResourceId) -> Option<ResourceView> {
        let definition = self.definitions(instance).resources.get(id)?;
        let cause = Cause::new(CauseKind::Input, "an instance");
        let each = if definition.attribute("for_each").is_some() {
            any_name(cause, Type::Dynamic)
        } else if definition.attribute("count").is_some() {
            any_index(cause)
        } else {
            vec![Each::single()]
        };
        each.first().map(|each| self.resource_view(instance, id, definition, each))
    }

    /// The value of an expression of a module: in the first instance of the resource that it stands in, if it stands in one.
    ///
    /// # Errors
    /// What Terraform refuses too, and names that only a part of the expression around it binds.
    pub fn value_of(
        &self,
        instance: &Rc<Instance>,
        source: Source<'a>,
        id: ExprId,
        within: Option<&ResourceId>,
    ) -> Evaluated {
        let instances = within.map(|id| self.resource_instances(instance, id));
        let each = instances.as_ref().and_then(|all| all.first());
        self.evaluate(&Scope { graph: self, instance, each, bound: None }, source, id)
    }

    fn resource_view(
        &self,
        instance: &Rc<Instance>,
        id: &ResourceId,
        definition: &Definition<'a>,
        each: &Each,
    ) -> ResourceView {
        let scope = Scope { graph: self, instance, each: Some(each), bound: None };
        let attributes = definition.attributes();
        let mut attributes: Vec<AttributeView> =
            attributes.into_values().map(|(source, attribute)| view(&scope, source, attribute)).collect();
        attributes.sort_by_key(|a| a.name_site);
        let mut blocks = Vec::new();
        for (source, block) in definition.blocks() {
            push_block(&scope, source, block, &mut blocks);
        }
        let (key, exists) = (each.key.clone(), each.exists.clone());
        ResourceView { id: id.clone(), key, exists, site: definition.site, body: BodyView { attributes, blocks } }
    }
}

fn view(scope: &Scope<'_, '_>, source: Source<'_>, attribute: &Attribute) -> AttributeView {
    let bare = match source.ast.expr(attribute.value) {
        // Names of providers, resources and attributes are no values.
        Expr::Variable(_) | Expr::Traversal { .. } if &*attribute.name.text == "provider" => true,
        _ => &*attribute.name.text == "depends_on",
    };
    let value = if bare { Ok(Value::null(Type::Dynamic)) } else { scope.attribute(source, attribute) };
    AttributeView {
        name: attribute.name.text.clone(),
        name_site: site(source, attribute.name.span),
        site: site(source, source.ast.span(attribute.value)),
        value,
    }
}

fn body_view(scope: &Scope<'_, '_>, source: Source<'_>, body: &Body) -> BodyView {
    let attributes = body.attributes.iter().map(|a| view(scope, source, a)).collect();
    let mut blocks = Vec::new();
    for block in &body.blocks {
        push_block(scope, source, block, &mut blocks);
    }
    BodyView { attributes, blocks }
}

/// Blocks that configure Terraform and not the resource; their references are no values.
const META_BLOCKS: [&str; 3] = ["connection", "lifecycle", "provisioner"];

fn push_block(scope: &Scope<'_, '_>, source: Source<'_>, block: &Block, out: &mut Vec<BlockView>) {
    if META_BLOCKS.contains(&&*block.kind.text) {
        return;
    }
    if &*block.kind.text != "dynamic" {
        out.push(BlockView {
            kind: block.kind.text.clone(),
            labels: block.labels.iter().map(|l| l.text.clone()).collect(),
            site: site(source, block.header),
            exists: Exists::Yes,
            body: body_view(scope, source, &block.body),
        });
        return;
    }
    let (Some(kind), Some(content)) = (block.labels.first(), block.body.blocks_of("content").next()) else { return };
    let Some(for_each) = block.body.attribute("for_each") else { return };
    let iterator = match block.body.attribute("iterator").map(|a| source.ast.expr(a.value)) {
        Some(Expr::Variable(name)) => name.text.clone(),
        _ => kind.text.clone(),
    };
    let mut push = |key: Value, value: Value, exists: Exists| {
        let pair: BTreeMap<Arc<str>, Value> =
            [(Arc::from("key"), key), (Arc::from("value"), value)].into_iter().collect();
        let bound = Bound { name: &iterator, value: Value::object(pair), outer: scope.bound };
        let inner = Scope { graph: scope.graph, instance: scope.instance, each: scope.each, bound: Some(&bound) };
        out.push(BlockView {
            kind: kind.text.clone(),
            labels: labels(&inner, source, block),
            site: site(source, block.header),
            exists,
            body: body_view(&inner, source, &content.body),
        });
    };
    let value = scope.graph.settled(scope.attribute(source, for_each));
    if value.is_null() {
        blame(scope, source, for_each, "invalid dynamic for_each value: cannot use a null value in for_each".into());
        return;
    }
    let marks = Marks::NONE.union(value.marks());
    match (value.as_seq(), value.as_dict()) {
        (_, Some(items)) if items.len() <= MAX_INSTANCES => {
            for (k, v) in items {
                push(Value::string(k), v.clone().marked(marks), Exists::Yes);
            }
        }
        (Some(items), _) if items.len() <= MAX_INSTANCES => {
            let is_set = matches!(value.data(), Data::Set(_));
            for (i, item) in items.iter().enumerate() {
                let key = if is_set { item.clone() } else { Value::count(i) };
                push(key, item.clone().marked(marks), Exists::Yes);
            }
        }
        _ if !value.is_known() => {
            let cause = cause_of(&value);
            let element = value.ty().element().cloned().unwrap_or(Type::Dynamic);
            let key = Value::unknown_not_null(Type::Dynamic, cause.clone());
            push(key, Value::unknown(element, cause.clone()), Exists::Maybe(cause));
        }
        (None, None) => {
            let ty = value.ty().friendly();
            blame(
                scope,
                source,
                for_each,
                format!("invalid dynamic for_each value: cannot use a {ty} value in for_each"),
            );
        }
        _ => {
            let cause = Cause::new(CauseKind::Budget, "more blocks than are looked at");
            let key = Value::unknown_not_null(Type::Dynamic, cause.clone());
            push(key, Value::unknown(Type::Dynamic, cause.clone()), Exists::Maybe(cause));
        }
    }
}

fn labels(scope: &Scope<'_, '_>, source: Source<'_>, block: &Block) -> Vec<Arc<str>> {
    let Some(attribute) = block.body.attribute("labels") else { return Vec::new() };
    let value = scope.graph.settled(scope.attribute(source, attribute));
    value.as_seq().into_iter().flatten().filter_map(|v| v.as_str().map(Arc::from)).collect()
}
