//! An action: something that is done on request and leaves nothing in the state (protocol 6.10).

use crate::context::Context;
use crate::deferred::DeferredReason;
use crate::diagnostic::Diagnostics;
use crate::resource::BoxFuture;
use crate::schema::Schema;
use crate::value::Object;
use std::future::Future;
use tokio::sync::mpsc;

/// An action of a provider whose client is `C`.
pub trait Action<C: Sync>: Send + Sync + 'static {
    /// Its type, such as `acme_restart`.
    fn type_name(&self) -> &str;

    /// Its schema; nothing in it is computed. Asked once.
    fn schema(&self) -> Schema;

    /// Checks the configuration beyond what the schema says. Unknown values may occur.
    fn validate(&self, _cx: &Context, _config: &Object, _d: &mut Diagnostics) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Looks at the action before it is invoked, without a client when the provider block is not known yet.
    /// A reason puts it off.
    fn plan(
        &self,
        _cx: &Context,
        _client: Option<&C>,
        _config: &Object,
        _d: &mut Diagnostics,
    ) -> impl Future<Output = Option<DeferredReason>> + Send {
        async { None }
    }

    /// Does it. The configuration is wholly known. What is said to `progress` is shown to the user while it runs.
    fn invoke(
        &self,
        cx: &Context,
        client: &C,
        config: Object,
        progress: Progress,
    ) -> impl Future<Output = Diagnostics> + Send;
}

/// Tells the user how far an action is.
#[derive(Clone, Debug)]
pub struct Progress(pub(crate) mpsc::Sender<String>);

impl Progress {
    /// Shows one line. Waits while Terraform is slow to take it; nothing happens when it no longer listens.
    pub async fn say(&self, text: impl Into<String>) {
        let _ = self.0.send(text.into()).await;
    }
}

/// The twin of [`Action`] that can be boxed.
pub(crate) trait AnyAction<C>: Send + Sync {
    fn schema(&self) -> Schema;
    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()>;
    fn plan<'a>(
        &'a self,
        cx: &'a Context,
        client: Option<&'a C>,
        config: &'a Object,
        d: &'a mut Diagnostics,
    ) -> BoxFuture<'a, Option<DeferredReason>>;
    fn invoke<'a>(
        &'a self,
        cx: &'a Context,
        client: &'a C,
        config: Object,
        progress: Progress,
    ) -> BoxFuture<'a, Diagnostics>;
}

impl<C: Sync + 'static, T: Action<C>> AnyAction<C> for T {
    fn schema(&self) -> Schema {
        Action::schema(self)
    }

    fn validate<'a>(&'a self, cx: &'a Context, config: &'a Object, d: &'a mut Diagnostics) -> BoxFuture<'a, ()> {
        Box::pin(Action::validate(self, cx, config, d))
    }

    fn plan<'a>(
        &'a self,
        cx: &'a Context,
        client: Option<&'a C>,
        config: &'a Object,
        d: &'a mut Diagnostics,
    ) -> BoxFuture<'a, Option<DeferredReason>> {
        Box::pin(Action::plan(self, cx, client, config, d))
    }

    fn invoke<'a>(
        &'a self,
        cx: &'a Context,
        client: &'a C,
        config: Object,
        progress: Progress,
    ) -> BoxFuture<'a, Diagnostics> {
        Box::pin(Action::invoke(self, cx, client, config, progress))
    }
}
