//! Demand-driven evaluation of modules: a name is evaluated when it is asked for, once, and what asks for itself is a cycle.
//!
//! A module is evaluated once for each distinct tuple of arguments, however often it is called. An argument that is unknown stays
//! unknown and never falls back to the default of the variable.

use super::budget::{Budget, Limits};
use super::constraint::{Constraint, constraint};
use super::definition::{Definition, Definitions, Kind, ResourceId, Source, mentioned_locals, site};
use super::expand::{Each, Exists, Key, ResourceView, expand};
use super::expr::{Evaluated, Expressions, Failure, Names, Rendering, Resolved};
use super::functions::{Env, Files};
use super::types::Type;
use super::value::{Cause, CauseKind, Marks, Site, Value};
use crate::ast::{Attribute, Block, ExprId, Name, Step};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// Stack of the thread that evaluates; only what is used of it takes memory.
const STACK_BYTES: usize = 256 << 20;

/// One module: where it stands, what it defines, and which modules it calls.
#[derive(Clone, Debug, Default)]
pub struct Module<'a> {
    /// The folder as `path.module` shows it: `.` for the root.
    pub folder: Arc<str>,
    /// Its definitions.
    pub definitions: Definitions<'a>,
    /// Module of each call, as an index; a call that is absent here has a module that is not at hand.
    pub calls: BTreeMap<Arc<str>, usize>,
}

/// An attribute that a resource has after it was applied.
#[derive(Clone, Debug)]
pub struct AttributeSchema {
    /// Its type.
    pub ty: Type,
    /// Whether the provider may set it.
    pub computed: bool,
}

/// What is known of resource types.
pub trait Schemas: Sync {
    /// All attributes of a type, nested blocks among them; nothing for a type of another provider.
    fn attributes(&self, kind: Kind, ty: &str) -> Option<&BTreeMap<Arc<str>, AttributeSchema>>;
}

/// No type is known.
#[derive(Clone, Copy, Debug)]
pub struct NoSchemas;

impl Schemas for NoSchemas {
    fn attributes(&self, _: Kind, _: &str) -> Option<&BTreeMap<Arc<str>, AttributeSchema>> {
        None
    }
}

/// What is evaluated, and under which conditions.
pub struct Program<'a> {
    /// All modules; the first is the root.
    pub modules: Vec<Module<'a>>,
    /// Values of the root's variables.
    pub inputs: BTreeMap<Arc<str>, Value>,
    /// `terraform.workspace`, if it is certain.
    pub workspace: Option<Arc<str>>,
    /// Files for functions.
    pub files: &'a dyn Files,
    /// Types of resources.
    pub schemas: &'a dyn Schemas,
    /// Whether logical operators are lazy, as from Terraform 1.12 on.
    pub short_circuit: bool,
    /// What it may cost.
    pub limits: Limits,
}

/// Runs `f` where deep recursion is safe.
///
/// # Errors
/// If the system gives no thread.
pub fn with_stack<R: Send>(f: impl FnOnce() -> R + Send) -> std::io::Result<R> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("evaluate".into()).stack_size(STACK_BYTES).spawn_scoped(scope, f)?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Node {
    Variable(Arc<str>),
    Local(Arc<str>),
    Resource(ResourceId),
    /// A call, and the one output that is asked for, if only one is.
    Call(Arc<str>, Option<Arc<str>>),
    Output(Arc<str>),
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(n) => write!(f, "var.{n}"),
            Self::Local(n) => write!(f, "local.{n}"),
            Self::Resource((Kind::Managed, ty, n)) => write!(f, "{ty}.{n}"),
            Self::Resource((Kind::Data, ty, n)) => write!(f, "data.{ty}.{n}"),
            Self::Resource((Kind::Ephemeral, ty, n)) => write!(f, "ephemeral.{ty}.{n}"),
            Self::Call(n, Some(output)) => write!(f, "module.{n}.{output}"),
            Self::Call(n, None) => write!(f, "module.{n}"),
            Self::Output(n) => write!(f, "output.{n}"),
        }
    }
}

#[derive(Debug)]
enum State {
    Busy,
    Done(Value),
}

/// Where the arguments of a module come from.
#[derive(Debug)]
enum Inputs {
    /// All evaluated.
    Given(BTreeMap<Arc<str>, Value>),
    /// Evaluated one by one, because one of them depends on an output of the same call.
    OnDemand { parent: Rc<Instance>, call: Arc<str>, each: Each },
}

/// A module with arguments.
#[derive(Debug)]
pub struct Instance {
    /// Index of the module.
    pub module: usize,
    depth: u16,
    /// How many calls it stands for.
    pub(super) callers: Cell<u32>,
    inputs: Inputs,
    memo: RefCell<HashMap<Node, State>>,
    expansions: RefCell<HashMap<Node, Rc<Vec<Each>>>>,
    children: RefCell<HashMap<(Arc<str>, Key), Child>>,
    /// Resources as they are looked at, where several calls share them.
    pub(super) views: RefCell<HashMap<ResourceId, Rc<Vec<ResourceView>>>>,
}

#[derive(Debug)]
enum Child {
    /// Its arguments are being evaluated.
    Busy,
    Done(Rc<Instance>),
}

/// One call of a module: a step of an address.
#[derive(Clone, Debug)]
pub struct CallView {
    /// Name of the call.
    pub name: Arc<str>,
    /// Which instance.
    pub each: Each,
    /// The module with its arguments; nothing if the module is not at hand.
    pub instance: Option<Rc<Instance>>,
}

/// Evaluates a program.
pub struct Graph<'a> {
    program: &'a Program<'a>,
    budget: Budget,
    shared: RefCell<HashMap<(usize, Vec<u8>), Rc<Instance>>>,
    constraints: RefCell<HashMap<(usize, Arc<str>), Rc<Constraint>>>,
    failures: RefCell<BTreeSet<(Site, String)>>,
    entered: Cell<usize>,
}

impl<'a> Graph<'a> {
    /// Nothing evaluated yet.
    pub fn new(program: &'a Program<'a>) -> Self {
        Self {
            program,
            budget: Budget::new(program.limits),
            shared: RefCell::default(),
            constraints: RefCell::default(),
            failures: RefCell::default(),
            entered: Cell::new(0),
        }
    }

    /// The root with its inputs.
    pub fn root(&self) -> Rc<Instance> {
        self.instance(0, self.program.inputs.clone(), 0)
    }

    /// Errors met so far, in order of place.
    pub fn failures(&self) -> Vec<Failure> {
        self.failures.borrow().iter().map(|(site, message)| Failure { site: *site, message: message.clone() }).collect()
    }

    /// How many modules with distinct arguments were evaluated.
    pub fn distinct_instances(&self) -> usize {
        self.entered.get()
    }

    /// What was spent and what is left.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Definitions of the module of an instance.
    pub fn definitions(&self, instance: &Instance) -> &'a Definitions<'a> {
        &self.module(instance.module).definitions
    }

    fn module(&self, index: usize) -> &'a Module<'a> {
        &self.program.modules[index]
    }

    /// Notes an error once.
    pub(super) fn report(&self, failure: &Failure) {
        self.failures.borrow_mut().insert((failure.site, failure.message.clone()));
    }

    /// The value, or an unknown one in place of an error that is noted.
    pub(super) fn settled(&self, result: Evaluated) -> Value {
        result.unwrap_or_else(|failure| {
            self.report(&failure);
            failed(&failure.message)
        })
    }

    fn instance(&self, module: usize, inputs: BTreeMap<Arc<str>, Value>, depth: u16) -> Rc<Instance> {
        let mut key = Vec::new();
        for (name, value) in &inputs {
            super::fingerprint::push_text(name, &mut key);
            super::fingerprint::push(value, &mut key);
        }
        let key = (module, key);
        if let Some(known) = self.shared.borrow().get(&key) {
            return known.clone();
        }
        let fresh = self.fresh(module, Inputs::Given(inputs), depth);
        self.shared.borrow_mut().insert(key, fresh.clone());
        fresh
    }

    fn fresh(&self, module: usize, inputs: Inputs, depth: u16) -> Rc<Instance> {
        self.entered.set(self.entered.get() + 1);
        Rc::new(Instance {
            module,
            depth,
            callers: Cell::new(0),
            inputs,
            memo: RefCell::default(),
            expansions: RefCell::default(),
            children: RefCell::default(),
            views: RefCell::default(),
        })
    }

    /// Evaluates an expression of a module.
    pub(super) fn evaluate(&self, scope: &Scope<'_, 'a>, source: Source<'a>, id: ExprId) -> Evaluated {
        self.expressions(scope, source).evaluate(id)
    }

    fn expressions<'s>(&'s self, names: &'s dyn Names, source: Source<'s>) -> Expressions<'s> {
        let env = Env { files: self.program.files, max_bytes: self.program.limits.value_bytes };
        let short_circuit = self.program.short_circuit;
        let (budget, rendering) = (&self.budget, Rendering::No);
        Expressions { ast: source.ast, file: source.file, names, env, budget, short_circuit, rendering }
    }

    /// The value of a node: from the memo, or evaluated now.
    fn node(&self, instance: &Rc<Instance>, node: Node, f: impl FnOnce() -> Evaluated) -> Result<Value, String> {
        match instance.memo.borrow().get(&node) {
            Some(State::Done(value)) => return Ok(value.clone()),
            Some(State::Busy) => return Err(format!("cycle: {node} depends on itself")),
            None => {}
        }
        instance.memo.borrow_mut().insert(node.clone(), State::Busy);
        let value = self.settled(f());
        instance.memo.borrow_mut().insert(node, State::Done(value.clone()));
        Ok(value)
    }

    /// `var.name`
    pub fn variable(&self, instance: &Rc<Instance>, name: &str) -> Result<Value, String> {
        let Some((name, definition)) = self.definitions(instance).variables.get_key_value(name) else {
            return Err(format!("reference to undeclared input variable \"{name}\""));
        };
        self.node(instance, Node::Variable(name.clone()), || self.variable_value(instance, name, definition))
    }

    fn variable_value(&self, instance: &Rc<Instance>, name: &Arc<str>, definition: &Definition<'a>) -> Evaluated {
        let constraint = self.constraint_of(instance.module, name, definition);
        let nullable = self.constant(definition, "nullable").and_then(|v| v.as_bool()) != Some(false);
        let mut marks = Marks::NONE;
        for (attribute, mark) in [("sensitive", Marks::SENSITIVE), ("ephemeral", Marks::EPHEMERAL)] {
            if self.constant(definition, attribute).and_then(|v| v.as_bool()) == Some(true) {
                marks = marks.union(mark);
            }
        }
        let given = self.input(instance, name)?.filter(|v| nullable || !v.is_null());
        let value = match given {
            Some(value) => value,
            None => match definition.attribute("default") {
                Some((source, attribute)) => {
                    let value = self.expressions(&Nothing, source).evaluate(attribute.value)?;
                    value.through(site(source, attribute.name.span))
                }
                None if instance.module == 0 && instance.depth == 0 => Value::unknown(
                    constraint.ty().without_optional(),
                    Cause::new(CauseKind::Input, format!("var.{name}")),
                ),
                // The caller that leaves it out is reported by the rules of calls.
                None => Value::unknown(
                    constraint.ty().without_optional(),
                    Cause::new(CauseKind::Failed, format!("var.{name}")),
                ),
            },
        };
        let accepted = constraint.accept(&value).map_err(|e| Failure {
            site: value.origin().last().unwrap_or(definition.site),
            message: format!("invalid value for input variable \"{name}\": {e}"),
        })?;
        Ok(accepted.like(&value).marked(marks))
    }

    /// An argument of the caller, or of the user for the root.
    fn input(&self, instance: &Rc<Instance>, name: &Arc<str>) -> Result<Option<Value>, Failure> {
        match &instance.inputs {
            Inputs::Given(values) => Ok(values.get(name).cloned()),
            Inputs::OnDemand { parent, call, each } => {
                let Some(definition) = self.definitions(parent).calls.get(call) else { return Ok(None) };
                let Some((source, attribute)) = definition.attribute(name) else { return Ok(None) };
                let scope = Scope { graph: self, instance: parent, each: Some(each), bound: None };
                self.evaluate(&scope, source, attribute.value)
                    .map(|v| Some(v.through(site(source, attribute.name.span))))
            }
        }
    }

    fn constraint_of(&self, module: usize, name: &Arc<str>, definition: &Definition<'a>) -> Rc<Constraint> {
        if let Some(known) = self.constraints.borrow().get(&(module, name.clone())) {
            return known.clone();
        }
        let read = match definition.attribute("type") {
            None => Constraint::Plain(Type::Dynamic),
            Some((source, attribute)) => constraint(&self.expressions(&Nothing, source), attribute.value)
                .unwrap_or_else(|wrong| {
                    let site = site(source, source.ast.span(wrong.id));
                    self.report(&Failure { site, message: format!("invalid type specification: {}", wrong.message) });
                    Constraint::Plain(Type::Dynamic)
                }),
        };
        let read = Rc::new(read);
        self.constraints.borrow_mut().insert((module, name.clone()), read.clone());
        read
    }

    /// An attribute that takes no references.
    fn constant(&self, definition: &Definition<'a>, name: &str) -> Option<Value> {
        let (source, attribute) = definition.attribute(name)?;
        self.expressions(&Nothing, source).evaluate(attribute.value).ok()
    }

    /// `local.name`
    pub fn local(&self, instance: &Rc<Instance>, name: &str) -> Result<Value, String> {
        let locals = &self.definitions(instance).locals;
        let Some((name, _)) = locals.get_key_value(name) else {
            return Err(format!("reference to undeclared local value \"{name}\""));
        };
        self.locals_below(instance, name);
        self.one_local(instance, name)
    }

    fn one_local(&self, instance: &Rc<Instance>, name: &Arc<str>) -> Result<Value, String> {
        let Some((source, attribute)) = self.definitions(instance).locals.get(name) else {
            return Err(format!("reference to undeclared local value \"{name}\""));
        };
        self.node(instance, Node::Local(name.clone()), || {
            let scope = Scope { graph: self, instance, each: None, bound: None };
            let value = self.evaluate(&scope, *source, attribute.value)?;
            Ok(value.through(site(*source, attribute.name.span)))
        })
    }

    /// Evaluates the locals that a local mentions before itself, innermost first, so that a long chain needs no deep recursion.
    fn locals_below(&self, instance: &Rc<Instance>, name: &Arc<str>) {
        let locals = &self.definitions(instance).locals;
        let mut seen: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut stack = vec![(name.clone(), false)];
        while let Some((at, ready)) = stack.pop() {
            if instance.memo.borrow().contains_key(&Node::Local(at.clone())) {
                continue;
            }
            let Some((source, attribute)) = locals.get(&at) else { continue };
            if ready {
                if at != *name {
                    // An error is noted where it arises, and a cycle by whoever closes it.
                    self.one_local(instance, &at).ok();
                }
            } else if seen.insert(at.clone()) {
                stack.push((at, true));
                stack.extend(mentioned_locals(*source, attribute).into_iter().map(|n| (n, false)));
            }
        }
    }

    /// `output.name` of a module.
    pub fn output(&self, instance: &Rc<Instance>, name: &str) -> Result<Value, String> {
        let Some((name, definition)) = self.definitions(instance).outputs.get_key_value(name) else {
            return Err(format!("unsupported attribute: this object does not have an attribute named \"{name}\""));
        };
        self.node(instance, Node::Output(name.clone()), || {
            let Some((source, attribute)) = definition.attribute("value") else {
                return Ok(failed("output without a value"));
            };
            let scope = Scope { graph: self, instance, each: None, bound: None };
            let value = self.evaluate(&scope, source, attribute.value)?.through(site(source, attribute.name.span));
            let marked = |name, mark| {
                if self.constant(definition, name).and_then(|v| v.as_bool()) == Some(true) { mark } else { Marks::NONE }
            };
            Ok(value.marked(marked("sensitive", Marks::SENSITIVE)).marked(marked("ephemeral", Marks::EPHEMERAL)))
        })
    }

    /// Instances of a resource.
    pub fn resource_instances(&self, instance: &Rc<Instance>, id: &ResourceId) -> Rc<Vec<Each>> {
        let definition = self.definitions(instance).resources.get(id);
        self.expansion(instance, Node::Resource(id.clone()), definition)
    }

    fn expansion(&self, instance: &Rc<Instance>, node: Node, definition: Option<&Definition<'a>>) -> Rc<Vec<Each>> {
        if let Some(known) = instance.expansions.borrow().get(&node) {
            return known.clone();
        }
        let scope = Scope { graph: self, instance, each: None, bound: None };
        let instances = Rc::new(definition.map_or_else(Vec::new, |d| expand(&scope, d)));
        instance.expansions.borrow_mut().insert(node, instances.clone());
        instances
    }

    /// The value of a resource: an object, or one for each instance.
    fn resource(&self, instance: &Rc<Instance>, id: &ResourceId) -> Result<Value, String> {
        let Some(definition) = self.definitions(instance).resources.get(id) else {
            return Err(format!(
                "reference to undeclared resource: {} has not been declared",
                Node::Resource(id.clone())
            ));
        };
        let node = Node::Resource(id.clone());
        self.node(instance, node.clone(), || {
            let instances = self.expansion(instance, node.clone(), Some(definition));
            let values = instances.iter().map(|each| self.resource_object(instance, id, definition, each)).collect();
            Ok(joined(definition, &instances, values, &Cause::new(CauseKind::Computed, node.to_string())))
        })
    }

    fn resource_object(
        &self,
        instance: &Rc<Instance>,
        id: &ResourceId,
        definition: &Definition<'a>,
        each: &Each,
    ) -> Value {
        let address = Node::Resource(id.clone()).to_string();
        let Some(schema) = self.program.schemas.attributes(id.0, &id.1) else {
            return Value::unknown(Type::Dynamic, Cause::new(CauseKind::Computed, address));
        };
        let scope = Scope { graph: self, instance, each: Some(each), bound: None };
        let (written, blocks) = (definition.attributes(), definition.blocks());
        let attributes = schema.iter().map(|(name, schema)| {
            let computed =
                || Value::unknown(schema.ty.clone(), Cause::new(CauseKind::Computed, format!("{address}.{name}")));
            let configured = written.get(&**name).map(|(source, attribute)| {
                // What is wrong with it is said when the resource itself is looked at.
                match self.evaluate(&scope, *source, attribute.value) {
                    Ok(value) => super::convert::convert(&value, &schema.ty).unwrap_or_else(|_| failed(&address)),
                    Err(_) => failed(&address),
                }
            });
            let value = match configured {
                Some(value) if !value.is_null() || !schema.computed => value,
                _ if schema.computed
                    || blocks.iter().any(|(_, b)| &*b.kind.text == "dynamic" || b.kind.text == *name) =>
                {
                    computed()
                }
                _ => Value::null(schema.ty.clone()),
            };
            (name.clone(), value)
        });
        Value::object(attributes.collect())
    }

    /// Instances of a call with their modules.
    pub fn calls(&self, instance: &Rc<Instance>) -> Vec<CallView> {
        let mut views = Vec::new();
        for (name, definition) in &self.definitions(instance).calls {
            for each in self.expansion(instance, Node::Call(name.clone(), None), Some(definition)).iter() {
                views.push(CallView {
                    name: name.clone(),
                    each: each.clone(),
                    instance: self.child(instance, name, definition, each),
                });
            }
        }
        views
    }

    /// The module that a call instance stands for.
    fn child(
        &self,
        instance: &Rc<Instance>,
        name: &Arc<str>,
        definition: &Definition<'a>,
        each: &Each,
    ) -> Option<Rc<Instance>> {
        let module = *self.module(instance.module).calls.get(name)?;
        if instance.depth >= self.program.limits.call_depth || module >= self.program.modules.len() {
            return None;
        }
        let key = (name.clone(), each.key.clone());
        let busy = match instance.children.borrow().get(&key) {
            Some(Child::Done(child)) => return Some(child.clone()),
            Some(Child::Busy) => true,
            None => false,
        };
        let depth = instance.depth + 1;
        if busy {
            let inputs = Inputs::OnDemand { parent: instance.clone(), call: name.clone(), each: each.clone() };
            let child = self.fresh(module, inputs, depth);
            instance.children.borrow_mut().insert(key, Child::Done(child.clone()));
            return Some(child);
        }
        instance.children.borrow_mut().insert(key.clone(), Child::Busy);
        let scope = Scope { graph: self, instance, each: Some(each), bound: None };
        let inputs = definition
            .attributes()
            .into_iter()
            .filter(|(name, _)| !META.contains(name))
            .map(|(name, (source, attribute))| {
                let value = self.settled(self.evaluate(&scope, source, attribute.value));
                (Arc::from(name), value.through(site(source, attribute.name.span)))
            })
            .collect();
        if let Some(Child::Done(child)) = instance.children.borrow().get(&key) {
            return Some(child.clone());
        }
        let child = self.instance(module, inputs, depth);
        child.callers.set(child.callers.get().saturating_add(1));
        instance.children.borrow_mut().insert(key, Child::Done(child.clone()));
        Some(child)
    }

    /// The value of a call: an object of outputs, or one for each instance. `only` names the one output that is asked for.
    fn call(&self, instance: &Rc<Instance>, name: &str, only: Option<&Name>) -> Result<Value, String> {
        let Some((name, definition)) = self.definitions(instance).calls.get_key_value(name) else {
            return Err(format!("reference to undeclared module: no module call named \"{name}\" is declared"));
        };
        let cause = Cause::new(CauseKind::Module, format!("module.{name}"));
        let Some(module) = self.module(instance.module).calls.get(name).and_then(|m| self.program.modules.get(*m))
        else {
            return Ok(Value::unknown(Type::Dynamic, cause));
        };
        let only = only.filter(|o| module.definitions.outputs.contains_key(&o.text)).map(|o| o.text.clone());
        let node = Node::Call(name.clone(), only.clone());
        self.node(instance, node, || {
            let instances = self.expansion(instance, Node::Call(name.clone(), None), Some(definition));
            let values = instances
                .iter()
                .map(|each| {
                    let Some(child) = self.child(instance, name, definition, each) else {
                        return Ok(Value::unknown(Type::Dynamic, cause.clone()));
                    };
                    let wanted = module.definitions.outputs.keys().filter(|o| only.as_ref().is_none_or(|n| n == *o));
                    let outputs: Result<BTreeMap<_, _>, String> =
                        wanted.map(|o| self.output(&child, o).map(|v| (o.clone(), v))).collect();
                    outputs.map(Value::object).map_err(|message| Failure { site: definition.site, message })
                })
                .collect::<Result<Vec<Value>, Failure>>()?;
            Ok(joined(definition, &instances, values, &cause))
        })
    }

    /// Evaluates all of the program, so that every error is noted.
    pub fn run(&self) {
        let root = self.root();
        self.run_instance(&root, &mut BTreeSet::new());
    }

    fn run_instance(&self, instance: &Rc<Instance>, seen: &mut BTreeSet<usize>) {
        if !seen.insert(Rc::as_ptr(instance) as usize) {
            return;
        }
        let definitions = self.definitions(instance);
        let noted = |result: Result<Value, String>, site: Site| {
            if let Err(message) = result {
                self.report(&Failure { site, message });
            }
        };
        for (name, definition) in &definitions.variables {
            noted(self.variable(instance, name), definition.site);
            self.validate(instance, name, definition);
        }
        for (name, (source, attribute)) in &definitions.locals {
            noted(self.local(instance, name), site(*source, attribute.span));
        }
        for (name, definition) in &definitions.outputs {
            noted(self.output(instance, name), definition.site);
            self.conditions(instance, definition, None, "precondition");
        }
        for (id, definition) in &definitions.resources {
            for each in self.resource_instances(instance, id).iter() {
                self.lifecycle(instance, definition, each);
            }
        }
        for call in self.calls(instance) {
            if let Some(child) = call.instance {
                self.run_instance(&child, seen);
            }
        }
    }

    /// Notes validations that are certainly not met, at the argument that the caller wrote.
    fn validate(&self, instance: &Rc<Instance>, name: &Arc<str>, definition: &Definition<'a>) {
        let Ok(value) = self.variable(instance, name) else { return };
        let given = matches!(self.input(instance, name), Ok(Some(_)));
        let blame = if given { value.origin().last() } else { None };
        self.conditions(instance, definition, blame, "validation");
    }

    /// Checks `condition` and `error_message` of the blocks of a kind. What is unknown is silent.
    fn conditions(&self, instance: &Rc<Instance>, definition: &Definition<'a>, blame: Option<Site>, kind: &str) {
        let scope = Scope { graph: self, instance, each: None, bound: None };
        for (source, block) in definition.blocks() {
            if &*block.kind.text == kind {
                self.condition(&scope, source, block, blame);
            }
        }
    }

    /// Checks the conditions of one instance of a resource. Those that look at the result are unknown here.
    fn lifecycle(&self, instance: &Rc<Instance>, definition: &Definition<'a>, each: &Each) {
        let scope = Scope { graph: self, instance, each: Some(each), bound: None };
        for (source, block) in definition.blocks() {
            if &*block.kind.text == "lifecycle" {
                for inner in &block.body.blocks {
                    if matches!(&*inner.kind.text, "precondition" | "postcondition") {
                        self.condition(&scope, source, inner, None);
                    }
                }
            }
        }
    }

    fn condition(&self, scope: &Scope<'_, 'a>, source: Source<'a>, block: &'a Block, blame: Option<Site>) {
        let Some(condition) = block.body.attribute("condition") else { return };
        let place = site(source, source.ast.span(condition.value));
        let result = self.evaluate(scope, source, condition.value).and_then(|value| {
            super::convert::convert(&value, &Type::Bool)
                .map_err(|e| Failure { site: place, message: format!("invalid condition: {e}") })
        });
        match result {
            Err(failure) => self.report(&failure),
            Ok(value) if value.as_bool() == Some(false) => {
                let message = block.body.attribute("error_message").map(|m| self.evaluate(scope, source, m.value));
                let text = match message {
                    Some(Ok(v)) if v.deep_marks().is_none() => v.as_str().map(str::to_string),
                    _ => None,
                };
                let text = text.unwrap_or_else(|| "the condition is not met".into());
                let message = format!("{} failed: {text}", block.kind.text);
                self.report(&Failure { site: blame.unwrap_or(place), message });
            }
            Ok(_) => {}
        }
    }
}

/// Arguments of a call that are not inputs of the module.
const META: [&str; 6] = ["count", "depends_on", "for_each", "providers", "source", "version"];

fn failed(what: &str) -> Value {
    Value::unknown(Type::Dynamic, Cause::new(CauseKind::Failed, what))
}

/// The value of something repeated: itself, a tuple, or an object.
fn joined(definition: &Definition<'_>, instances: &[Each], mut values: Vec<Value>, cause: &Cause) -> Value {
    match instances.first().map(|e| &e.key) {
        Some(Key::Single) => values.pop().unwrap_or_else(|| Value::unknown(Type::Dynamic, cause.clone())),
        Some(Key::AnyIndex | Key::AnyName) => {
            let cause = match &instances[0].exists {
                Exists::Maybe(cause) => cause.clone(),
                Exists::Yes => cause.clone(),
            };
            Value::unknown(Type::Dynamic, cause)
        }
        Some(Key::Index(_)) => Value::tuple(values),
        Some(Key::Name(_)) => {
            let names = instances.iter().filter_map(|e| if let Key::Name(n) = &e.key { Some(n.clone()) } else { None });
            Value::object(names.zip(values).collect())
        }
        None if definition.attribute("for_each").is_some() => Value::object(BTreeMap::new()),
        None => Value::tuple(Vec::new()),
    }
}

/// No names at all, for what must be constant.
struct Nothing;

impl Names for Nothing {
    fn resolve(&self, root: &Name, _: &[Step], _: Site) -> Resolved {
        Err(format!("variables not allowed: \"{}\" may not be used here", root.text))
    }
}

/// Names that a dynamic block binds, innermost first.
pub(super) struct Bound<'s> {
    pub name: &'s str,
    pub value: Value,
    pub outer: Option<&'s Bound<'s>>,
}

/// The names of a module, seen from one of its blocks.
pub(super) struct Scope<'s, 'a> {
    pub graph: &'s Graph<'a>,
    pub instance: &'s Rc<Instance>,
    pub each: Option<&'s Each>,
    pub bound: Option<&'s Bound<'s>>,
}

impl Names for Scope<'_, '_> {
    fn resolve(&self, root: &Name, steps: &[Step], _: Site) -> Resolved {
        let attr = |n: usize| match steps.get(n) {
            Some(Step::Attr(name)) => Some(name),
            _ => None,
        };
        let mut bound = self.bound;
        while let Some(it) = bound {
            if *it.name == *root.text {
                return Ok((it.value.clone(), 0));
            }
            bound = it.outer;
        }
        let needs = |n: usize| {
            attr(n).ok_or_else(|| format!("invalid reference: \"{}\" must be followed by a name", root.text))
        };
        match &*root.text {
            "var" => Ok((self.graph.variable(self.instance, &needs(0)?.text)?, 1)),
            "local" => Ok((self.graph.local(self.instance, &needs(0)?.text)?, 1)),
            "module" => {
                let only = attr(1).or_else(|| attr(2));
                Ok((self.graph.call(self.instance, &needs(0)?.text, only)?, 1))
            }
            "data" => Ok((self.resource(Kind::Data, needs(0)?, needs(1)?)?, 2)),
            "ephemeral" => Ok((self.resource(Kind::Ephemeral, needs(0)?, needs(1)?)?.marked(Marks::EPHEMERAL), 2)),
            "resource" => Ok((self.resource(Kind::Managed, needs(0)?, needs(1)?)?, 2)),
            "each" => match (&*needs(0)?.text, self.each.and_then(|e| e.each.as_ref())) {
                ("key", Some((key, _))) => Ok((key.clone(), 1)),
                ("value", Some((_, value))) => Ok((value.clone(), 1)),
                ("key" | "value", None) => Err("reference to \"each\" in a context without for_each".into()),
                (other, _) => Err(format!("invalid \"each\" attribute: \"{other}\"")),
            },
            "count" => match (&*needs(0)?.text, self.each.and_then(|e| e.count.as_ref())) {
                ("index", Some(index)) => Ok((index.clone(), 1)),
                ("index", None) => Err("reference to \"count\" in a context without count".into()),
                (other, _) => Err(format!("invalid \"count\" attribute: \"{other}\"")),
            },
            "path" => match &*needs(0)?.text {
                "module" => Ok((Value::string(&self.graph.module(self.instance.module).folder), 1)),
                "root" => Ok((Value::string(&self.graph.module(0).folder), 1)),
                "cwd" => Ok((Value::unknown_not_null(Type::String, Cause::new(CauseKind::Input, "path.cwd")), 1)),
                other => Err(format!("invalid \"path\" attribute: \"{other}\"")),
            },
            "terraform" => match (&*needs(0)?.text, &self.graph.program.workspace) {
                ("workspace", Some(name)) => Ok((Value::string(name), 1)),
                ("workspace", None) => {
                    Ok((Value::unknown_not_null(Type::String, Cause::new(CauseKind::Input, "terraform.workspace")), 1))
                }
                ("applying", _) => {
                    let value =
                        Value::unknown_not_null(Type::Bool, Cause::new(CauseKind::Computed, "terraform.applying"));
                    Ok((value.marked(Marks::EPHEMERAL), 1))
                }
                (other, _) => Err(format!("invalid \"terraform\" attribute: \"{other}\"")),
            },
            "self" => Ok((Value::unknown_not_null(Type::Dynamic, Cause::new(CauseKind::Computed, "self")), 0)),
            _ => match attr(0) {
                Some(name) => Ok((self.resource(Kind::Managed, root, name)?, 1)),
                None => Err(format!(
                    "invalid reference: a reference to a resource type must be followed by a name: \"{}\"",
                    root.text
                )),
            },
        }
    }
}

impl Scope<'_, '_> {
    fn resource(&self, kind: Kind, ty: &Name, name: &Name) -> Result<Value, String> {
        self.graph.resource(self.instance, &(kind, ty.text.clone(), name.text.clone()))
    }

    /// Evaluates one attribute of a file of the module.
    pub(super) fn attribute(&self, source: Source<'_>, attribute: &Attribute) -> Evaluated {
        self.graph.expressions(self, source).evaluate(attribute.value)
    }
}
