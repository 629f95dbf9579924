//! A data source: something that is read and not managed.

use crate::context::Context;
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::BoxFuture;
use crate::schema::Schema;
use crate::value::Object;
use std::future::Future;

/// A data source of a provider whose client is `C`.
pub trait DataSource<C: Sync>: Send + Sync + 'static {
    /// Its type, such as `acme_thing`.
    fn type_name(&self) -> &str;

    /// Its schema. Asked once.
    fn schema(&self) -> Schema;

    /// Checks the configuration beyond what the schema says. Unknown values may occur.
    fn validate(&self, _cx: &Context, _config: &Object, _d: &mut Diagnostics) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Reads. The configuration is wholly known, and so must the answer be.
    fn read(&self, cx: &Context, client: &C, request: DataRequest) -> impl Future<Output = DataAnswer> + Send;
}

/// What a data source is asked.
#[derive(Clone, Debug)]
pub struct DataRequest {
    /// The configuration, with nulls at computed attributes: fill them in and return it.
    pub config: Object,
    /// The `provider_meta` block of the module, where the provider has one.
    pub meta: Option<Object>,
}

/// What a data source answers.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct DataAnswer {
    pub(crate) state: Option<Object>,
    pub(crate) deferred: Option<DeferredReason>,
    pub(crate) diagnostics: Diagnostics,
}

impl DataAnswer {
    /// It was read.
    pub fn state(state: Object) -> Self {
        Self { state: Some(state), ..Self::default() }
    }

    /// It could not be read.
    pub fn failed(diagnostics: impl Into<Diagnostics>) -> Self {
        Self { diagnostics: diagnostics.into(), ..Self::default() }
    }

    /// It cannot be read yet.
    pub fn deferred(reason: DeferredReason) -> Self {
        Self { deferred: Some(reason), ..Self::default() }
    }

    /// The same with more to say.
    pub fn with_diagnostics(mut self, more: impl IntoIterator<Item = Diagnostic>) -> Self {
        self.diagnostics.extend(more);
        self
    }
}

/// The twin of [`DataSource`] that can be boxed.
pub(crate) trait AnyDataSource<C>: Send + Sync {
    fn schema(&self) -> Schema;
    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()>;
    fn read<'a>(&'a self, cx: &'a Context, client: &'a C, request: DataRequest) -> BoxFuture<'a, DataAnswer>;
}

impl<C: Sync + 'static, T: DataSource<C>> AnyDataSource<C> for T {
    fn schema(&self) -> Schema {
        DataSource::schema(self)
    }

    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()> {
        Box::pin(DataSource::validate(self, cx, config, d))
    }

    fn read<'a>(&'a self, cx: &'a Context, client: &'a C, request: DataRequest) -> BoxFuture<'a, DataAnswer> {
        Box::pin(DataSource::read(self, cx, client, request))
    }
}
