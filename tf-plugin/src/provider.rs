//! The provider itself: its block, what it registers, and the client that every resource receives.

use crate::action::{Action, AnyAction};
use crate::context::Context;
use crate::data_source::{AnyDataSource, DataSource};
use crate::diagnostic::Diagnostics;
use crate::ephemeral::{AnyEphemeral, EphemeralResource};
use crate::function::Function;
use crate::identity::IdentitySchema;
use crate::list::{AnyList, ListResource};
use crate::resource::{AnyResource, Resource};
use crate::schema::Schema;
use crate::value::{Object, Value};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::OnceLock;

/// A provider. One value serves the whole process; nothing needs to be global.
pub trait Provider: Send + Sync + 'static {
    /// What [`Provider::configure`] makes; every resource receives it.
    type Client: Send + Sync + 'static;

    /// Schema of the provider block. Asked once.
    fn schema(&self) -> Schema;

    /// Schema of the `provider_meta` block of modules, for those few providers that have one. Asked once.
    fn meta_schema(&self) -> Option<Schema> {
        None
    }

    /// Names the resources, data sources, functions and the rest. Asked once.
    fn register(&self, registry: &mut Registry<Self::Client>);

    /// Checks the provider block beyond what the schema says. Unknown values may occur.
    fn validate(&self, _cx: &Context, _config: &Object, _d: &mut Diagnostics) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Makes the client. Unknown values may occur while Terraform plans; see [`Configured::Offline`].
    fn configure(
        &self,
        cx: &Context,
        config: Object,
        d: &mut Diagnostics,
    ) -> impl Future<Output = Configured<Self::Client>> + Send;
}

/// Outcome of [`Provider::configure`].
#[derive(Debug)]
pub enum Configured<C> {
    /// Everything works.
    Ready(C),
    /// Arguments of the provider block are not known yet. Plans work; a read or an apply is refused with an error
    /// that names the arguments.
    Offline {
        /// What plans receive, if something can be made.
        client: Option<C>,
        /// The arguments, such as `endpoint`.
        unknown: Vec<String>,
    },
    /// It did not work; the diagnostics say why.
    Failed,
}

impl<C> Configured<C> {
    /// [`Configured::Offline`] without a client when an argument of the block is unknown.
    pub fn offline_if_unknown(config: &Object) -> Option<Self> {
        let unknown = unknown_arguments(config);
        (!unknown.is_empty()).then_some(Self::Offline { client: None, unknown })
    }
}

/// Names of the arguments that are unknown or hold an unknown.
pub fn unknown_arguments(config: &Object) -> Vec<String> {
    let unknown = |value: &Value| !value.is_wholly_known();
    config.iter().filter(|(_, value)| unknown(value)).map(|(name, _)| name.to_owned()).collect()
}

/// What a provider offers, by type name.
pub struct Registry<C> {
    pub(crate) resources: BTreeMap<String, ResourceEntry<C>>,
    pub(crate) data_sources: BTreeMap<String, DataSourceEntry<C>>,
    pub(crate) ephemerals: BTreeMap<String, Entry<dyn AnyEphemeral<C>>>,
    pub(crate) actions: BTreeMap<String, Entry<dyn AnyAction<C>>>,
    pub(crate) lists: BTreeMap<String, Entry<dyn AnyList<C>>>,
    pub(crate) functions: BTreeMap<String, Box<dyn Function>>,
    pub(crate) problems: Vec<String>,
}

pub(crate) struct ResourceEntry<C> {
    pub(crate) resource: Box<dyn AnyResource<C>>,
    schema: OnceLock<Schema>,
    identity: OnceLock<Option<IdentitySchema>>,
}

pub(crate) struct DataSourceEntry<C> {
    pub(crate) data_source: Box<dyn AnyDataSource<C>>,
    schema: OnceLock<Schema>,
}

impl<C> ResourceEntry<C> {
    /// Made at the first use: Terraform asks most processes about few types only.
    pub(crate) fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.resource.schema())
    }

    pub(crate) fn identity(&self) -> Option<&IdentitySchema> {
        self.identity.get_or_init(|| self.resource.identity()).as_ref()
    }
}

/// A handler with its schema.
pub(crate) struct Entry<H: ?Sized> {
    pub(crate) handler: Box<H>,
    schema: OnceLock<Schema>,
}

impl<H: ?Sized> Entry<H> {
    fn new(handler: Box<H>) -> Self {
        Self { handler, schema: OnceLock::new() }
    }
}

impl<C> Entry<dyn AnyEphemeral<C>> {
    pub(crate) fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.handler.schema())
    }
}

impl<C> Entry<dyn AnyAction<C>> {
    pub(crate) fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.handler.schema())
    }
}

impl<C> Entry<dyn AnyList<C>> {
    pub(crate) fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.handler.schema())
    }
}

impl<C> DataSourceEntry<C> {
    pub(crate) fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.data_source.schema())
    }
}

impl<C> std::fmt::Debug for Registry<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("resources", &self.resources.keys())
            .field("data_sources", &self.data_sources.keys())
            .field("ephemeral_resources", &self.ephemerals.keys())
            .field("actions", &self.actions.keys())
            .field("list_resources", &self.lists.keys())
            .field("functions", &self.functions.keys())
            .finish_non_exhaustive()
    }
}

impl<C: Send + Sync + 'static> Registry<C> {
    /// What the provider registers.
    pub(crate) fn of<P: Provider<Client = C>>(provider: &P) -> Self {
        let mut registry = Self {
            resources: BTreeMap::new(),
            data_sources: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            actions: BTreeMap::new(),
            lists: BTreeMap::new(),
            functions: BTreeMap::new(),
            problems: Vec::new(),
        };
        provider.register(&mut registry);
        registry
    }

    /// Adds a resource. The same implementation may be added many times under different names.
    pub fn resource(&mut self, resource: impl Resource<C>) -> &mut Self {
        let name = resource.type_name().to_owned();
        let entry = ResourceEntry { resource: Box::new(resource), schema: OnceLock::new(), identity: OnceLock::new() };
        if self.resources.insert(name.clone(), entry).is_some() {
            self.problems.push(format!("the resource {name} is registered twice"));
        }
        self
    }

    /// Adds a data source.
    pub fn data_source(&mut self, data_source: impl DataSource<C>) -> &mut Self {
        let name = data_source.type_name().to_owned();
        let entry = DataSourceEntry { data_source: Box::new(data_source), schema: OnceLock::new() };
        if self.data_sources.insert(name.clone(), entry).is_some() {
            self.problems.push(format!("the data source {name} is registered twice"));
        }
        self
    }

    /// Adds an ephemeral resource.
    pub fn ephemeral(&mut self, ephemeral: impl EphemeralResource<C>) -> &mut Self {
        let name = ephemeral.type_name().to_owned();
        let before = self.ephemerals.insert(name.clone(), Entry::new(Box::new(ephemeral)));
        self.once("ephemeral resource", &name, before.is_none())
    }

    /// Adds an action.
    pub fn action(&mut self, action: impl Action<C>) -> &mut Self {
        let name = action.type_name().to_owned();
        let before = self.actions.insert(name.clone(), Entry::new(Box::new(action)));
        self.once("action", &name, before.is_none())
    }

    /// Adds the list of a resource that is registered too and has an identity.
    pub fn list(&mut self, list: impl ListResource<C>) -> &mut Self {
        let name = list.type_name().to_owned();
        let before = self.lists.insert(name.clone(), Entry::new(Box::new(list)));
        self.once("list resource", &name, before.is_none())
    }

    /// Adds a function.
    pub fn function(&mut self, function: impl Function) -> &mut Self {
        let name = function.name().to_owned();
        let before = self.functions.insert(name.clone(), Box::new(function));
        self.once("function", &name, before.is_none())
    }

    fn once(&mut self, what: &str, name: &str, is_first: bool) -> &mut Self {
        if !is_first {
            self.problems.push(format!("the {what} {name} is registered twice"));
        }
        self
    }

    /// What does not fit together.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut found = self.problems.clone();
        for (name, entry) in &self.resources {
            let problems = entry.identity().map(IdentitySchema::problems).unwrap_or_default();
            found.extend(problems.into_iter().map(|problem| format!("resource {name}: {problem}")));
        }
        for name in self.lists.keys() {
            if self.resources.get(name).is_none_or(|entry| entry.identity().is_none()) {
                found.push(format!("the list resource {name} has no resource of that type with an identity"));
            }
        }
        for (name, function) in &self.functions {
            let problems = function.definition().problems(name);
            found.extend(problems.into_iter().map(|problem| format!("function {name}: {problem}")));
        }
        found
    }
}
