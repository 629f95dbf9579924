//! An ephemeral resource: a value that lives for one run of Terraform and is stored nowhere (protocol 6.7).

use crate::context::Context;
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::private::Private;
use crate::resource::BoxFuture;
use crate::schema::Schema;
use crate::value::Object;
use std::future::Future;
use std::time::SystemTime;

/// An ephemeral resource of a provider whose client is `C`.
pub trait EphemeralResource<C: Sync>: Send + Sync + 'static {
    /// Its type, such as `acme_token`.
    fn type_name(&self) -> &str;

    /// Its schema. Asked once.
    fn schema(&self) -> Schema;

    /// Checks the configuration beyond what the schema says. Unknown values may occur.
    fn validate(&self, _cx: &Context, _config: &Object, _d: &mut Diagnostics) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Makes the value. The configuration is wholly known, and so must the answer be.
    fn open(&self, cx: &Context, client: &C, request: OpenRequest) -> impl Future<Output = Opened> + Send;

    /// Makes the value last longer. Called before [`Opened::renew_at`], as often as that is set.
    fn renew(&self, _cx: &Context, _client: &C, _private: Private) -> impl Future<Output = Renewed> + Send {
        async { Renewed::default() }
    }

    /// Takes the value back. Called once at the end, also after an interrupt.
    fn close(
        &self,
        _cx: &Context,
        _client: &C,
        _private: Private,
        _d: &mut Diagnostics,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// What [`EphemeralResource::open`] is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenRequest {
    /// The configuration, with nulls at computed attributes: fill them in and return it.
    pub config: Object,
}

/// What [`EphemeralResource::open`] answers.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Opened {
    pub(crate) result: Option<Object>,
    pub(crate) private: Private,
    pub(crate) renew_at: Option<SystemTime>,
    pub(crate) deferred: Option<DeferredReason>,
    pub(crate) diagnostics: Diagnostics,
}

impl Opened {
    /// It is open, with this value.
    pub fn result(result: Object) -> Self {
        Self { result: Some(result), ..Self::default() }
    }

    /// It could not be opened.
    pub fn failed(diagnostics: impl Into<Diagnostics>) -> Self {
        Self { diagnostics: diagnostics.into(), ..Self::default() }
    }

    /// It cannot be opened yet.
    pub fn deferred(reason: DeferredReason) -> Self {
        Self { deferred: Some(reason), ..Self::default() }
    }

    /// The same with data for renew and close.
    pub fn with_private(mut self, private: Private) -> Self {
        self.private = private;
        self
    }

    /// The same; Terraform calls [`EphemeralResource::renew`] before this time.
    pub fn renew_at(mut self, time: SystemTime) -> Self {
        self.renew_at = Some(time);
        self
    }

    /// The same with more to say.
    pub fn with_diagnostics(mut self, more: impl IntoIterator<Item = Diagnostic>) -> Self {
        self.diagnostics.extend(more);
        self
    }
}

/// What [`EphemeralResource::renew`] answers. By default nothing follows and the data stays.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Renewed {
    pub(crate) private: Option<Private>,
    pub(crate) renew_at: Option<SystemTime>,
    pub(crate) diagnostics: Diagnostics,
}

impl Renewed {
    /// To be renewed again before this time.
    pub fn until(time: SystemTime) -> Self {
        Self { renew_at: Some(time), ..Self::default() }
    }

    /// It could not be renewed.
    pub fn failed(diagnostics: impl Into<Diagnostics>) -> Self {
        Self { diagnostics: diagnostics.into(), ..Self::default() }
    }

    /// The same with other data. Without it, the data of the request is kept.
    pub fn with_private(mut self, private: Private) -> Self {
        self.private = Some(private);
        self
    }

    /// The same with more to say.
    pub fn with_diagnostics(mut self, more: impl IntoIterator<Item = Diagnostic>) -> Self {
        self.diagnostics.extend(more);
        self
    }
}

/// The twin of [`EphemeralResource`] that can be boxed.
pub(crate) trait AnyEphemeral<C>: Send + Sync {
    fn schema(&self) -> Schema;
    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()>;
    fn open<'a>(&'a self, cx: &'a Context, client: &'a C, rq: OpenRequest) -> BoxFuture<'a, Opened>;
    fn renew<'a>(&'a self, cx: &'a Context, client: &'a C, private: Private) -> BoxFuture<'a, Renewed>;
    fn close<'a>(
        &'a self,
        cx: &'a Context,
        client: &'a C,
        private: Private,
        d: &'a mut Diagnostics,
    ) -> BoxFuture<'a, ()>;
}

impl<C: Sync + 'static, T: EphemeralResource<C>> AnyEphemeral<C> for T {
    fn schema(&self) -> Schema {
        EphemeralResource::schema(self)
    }

    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()> {
        Box::pin(EphemeralResource::validate(self, cx, config, d))
    }

    fn open<'a>(&'a self, cx: &'a Context, client: &'a C, rq: OpenRequest) -> BoxFuture<'a, Opened> {
        Box::pin(EphemeralResource::open(self, cx, client, rq))
    }

    fn renew<'a>(&'a self, cx: &'a Context, client: &'a C, private: Private) -> BoxFuture<'a, Renewed> {
        Box::pin(EphemeralResource::renew(self, cx, client, private))
    }

    fn close<'a>(
        &'a self,
        cx: &'a Context,
        client: &'a C,
        private: Private,
        d: &'a mut Diagnostics,
    ) -> BoxFuture<'a, ()> {
        Box::pin(EphemeralResource::close(self, cx, client, private, d))
    }
}
