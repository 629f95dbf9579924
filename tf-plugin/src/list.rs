//! A list resource: finds objects that exist, for `terraform query` (protocol 6.10).

use crate::context::Context;
use crate::diagnostic::Diagnostics;
use crate::resource::BoxFuture;
use crate::schema::Schema;
use crate::value::Object;
use std::future::Future;
use tokio::sync::mpsc;

/// The list of a resource of a provider whose client is `C`.
pub trait ListResource<C: Sync>: Send + Sync + 'static {
    /// The type of a registered resource that has an identity.
    fn type_name(&self) -> &str;

    /// What the list can be narrowed by; nothing in it is computed. Asked once.
    fn schema(&self) -> Schema;

    /// Checks the configuration beyond what the schema says. Unknown values may occur.
    fn validate(&self, _cx: &Context, _config: &Object, _d: &mut Diagnostics) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Sends what there is to `out`, until that says that nobody wants more.
    fn list(&self, cx: &Context, client: &C, request: ListRequest, out: ListSink) -> impl Future<Output = ()> + Send;
}

/// What [`ListResource::list`] is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListRequest {
    /// The configuration, wholly known.
    pub config: Object,
    /// Whether each object is wanted as a whole, and not its identity only.
    pub include_resource: bool,
    /// Most objects that are taken.
    pub limit: u64,
}

/// One found object, or what went wrong with one.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Listed {
    pub(crate) identity: Option<Object>,
    pub(crate) display_name: String,
    pub(crate) resource: Option<Object>,
    pub(crate) diagnostics: Diagnostics,
}

impl Listed {
    /// An object by its identity, with a name to show.
    pub fn new(display_name: impl Into<String>, identity: Object) -> Self {
        Self { identity: Some(identity), display_name: display_name.into(), ..Self::default() }
    }

    /// The same as a whole; sent only when that is asked for.
    pub fn with_resource(mut self, resource: Object) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Something that could not be read. The list goes on.
    pub fn failed(diagnostics: impl Into<Diagnostics>) -> Self {
        Self { diagnostics: diagnostics.into(), ..Self::default() }
    }
}

/// Where found objects go.
#[derive(Clone, Debug)]
pub struct ListSink(pub(crate) mpsc::Sender<Listed>);

impl ListSink {
    /// Sends one. False when nobody wants more: the limit is reached, or Terraform no longer listens.
    ///
    /// Waits while Terraform is slow to take it, so a list of any length needs little memory.
    pub async fn push(&self, found: Listed) -> bool {
        self.0.send(found).await.is_ok()
    }
}

/// The twin of [`ListResource`] that can be boxed.
pub(crate) trait AnyList<C>: Send + Sync {
    fn schema(&self) -> Schema;
    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()>;
    fn list<'a>(&'a self, cx: &'a Context, client: &'a C, rq: ListRequest, out: ListSink) -> BoxFuture<'a, ()>;
}

impl<C: Sync + 'static, T: ListResource<C>> AnyList<C> for T {
    fn schema(&self) -> Schema {
        ListResource::schema(self)
    }

    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()> {
        Box::pin(ListResource::validate(self, cx, config, d))
    }

    fn list<'a>(&'a self, cx: &'a Context, client: &'a C, rq: ListRequest, out: ListSink) -> BoxFuture<'a, ()> {
        Box::pin(ListResource::list(self, cx, client, rq, out))
    }
}
