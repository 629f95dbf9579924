//! The gRPC services: what Terraform calls, in front of the traits of the crate.

mod actions;
mod data_sources;
mod ephemerals;
mod functions;
mod host;
mod identities;
mod lists;
mod moves;
mod resources;
mod schemas;
pub(crate) mod wire;

pub(crate) use host::Host;

use crate::context::{CallGuard, Context, Lifecycle, RunningCall};
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::log::{Secrets, SecretsGuard};
use crate::proto::SchemaAnswer;
use crate::proto::tfplugin6 as pb;
use crate::provider::{Configured, Provider, Registry};
use crate::schema::Schema;
use crate::value::Object;
use futures_util::stream;
use pb::provider_server::Provider as Rpc;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

/// Newest minor version whose messages this crate knows.
const PROTOCOL: &str = "6.11";
/// Events of a stream that wait for a slow client.
const STREAM_BUFFER: usize = 16;
/// Opened values whose secrets are still masked; a debug process opens more than can be kept.
const OPENED_LIMIT: usize = 1024;

/// The provider behind the protocol. Cheap to clone.
pub(crate) struct Service<P: Provider>(Arc<Inner<P>>);

impl<P: Provider> Clone for Service<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Inner<P: Provider> {
    provider: P,
    address: String,
    registry: OnceLock<Registry<P::Client>>,
    schema: OnceLock<Schema>,
    meta: OnceLock<Option<Schema>>,
    answer: OnceLock<SchemaAnswer>,
    client: Mutex<ClientState<P::Client>>,
    /// Secrets of the provider block, for as long as its client lives.
    held: Mutex<Option<SecretsGuard>>,
    /// Secrets of opened ephemeral resources: Terraform hands them to other calls without saying so.
    opened: Mutex<VecDeque<SecretsGuard>>,
    lifecycle: Lifecycle,
    secrets: Secrets,
    calls: AtomicU64,
}

/// What came of the provider block.
enum ClientState<C> {
    NotConfigured,
    Failed,
    Ready(Arc<C>),
    Offline { client: Option<Arc<C>>, unknown: Vec<String> },
}

impl<C> Clone for ClientState<C> {
    fn clone(&self) -> Self {
        match self {
            Self::NotConfigured => Self::NotConfigured,
            Self::Failed => Self::Failed,
            Self::Ready(client) => Self::Ready(client.clone()),
            Self::Offline { client, unknown } => Self::Offline { client: client.clone(), unknown: unknown.clone() },
        }
    }
}

/// An answer that can say that it went wrong.
trait Answer: Send + 'static {
    /// What it says already.
    fn said(&self) -> &[pb::Diagnostic];
    /// Makes it say that the call has failed.
    fn fail(&mut self, why: Vec<pb::Diagnostic>);
}

macro_rules! answers {
    ($($module:ident),* $(,)?) => {
        $(impl Answer for pb::$module::Response {
            fn said(&self) -> &[pb::Diagnostic] {
                &self.diagnostics
            }

            fn fail(&mut self, why: Vec<pb::Diagnostic>) {
                self.diagnostics.extend(why);
            }
        })*
    };
}
answers!(
    get_metadata,
    validate_provider_config,
    validate_resource_config,
    validate_data_resource_config,
    upgrade_resource_state,
    configure_provider,
    read_resource,
    plan_resource_change,
    apply_resource_change,
    import_resource_state,
    read_data_source,
    move_resource_state,
    get_functions,
    get_resource_identity_schemas,
    upgrade_resource_identity,
    generate_resource_config,
    validate_ephemeral_resource_config,
    open_ephemeral_resource,
    renew_ephemeral_resource,
    close_ephemeral_resource,
    validate_list_resource_config,
    validate_action_config,
    plan_action,
);

impl Answer for SchemaAnswer {
    fn said(&self) -> &[pb::Diagnostic] {
        &self.fields.diagnostics
    }

    fn fail(&mut self, why: Vec<pb::Diagnostic>) {
        self.fields.diagnostics.extend(why);
    }
}

impl Answer for pb::call_function::Response {
    fn said(&self) -> &[pb::Diagnostic] {
        &[]
    }

    fn fail(&mut self, why: Vec<pb::Diagnostic>) {
        let text = why.into_iter().map(|d| format!("{}: {}", d.summary, d.detail)).collect();
        self.error = Some(pb::FunctionError { text, function_argument: None });
    }
}

/// A call that has begun.
struct Begun {
    cx: Context,
    guard: CallGuard,
    running: RunningCall,
    span: tracing::Span,
    id: String,
}

/// A sender of events that a client may no longer want.
pub(super) type Events<E> = mpsc::Sender<Result<E, Status>>;

impl<P: Provider> Service<P> {
    pub(crate) fn new(provider: P, address: &str, lifecycle: Lifecycle, secrets: Secrets) -> Self {
        Self(Arc::new(Inner {
            provider,
            address: address.to_owned(),
            registry: OnceLock::new(),
            schema: OnceLock::new(),
            meta: OnceLock::new(),
            answer: OnceLock::new(),
            client: Mutex::new(ClientState::NotConfigured),
            held: Mutex::new(None),
            opened: Mutex::new(VecDeque::new()),
            lifecycle,
            secrets,
            calls: AtomicU64::new(1),
        }))
    }

    /// Runs one call in a task of its own: when the client goes away the call is cancelled and still finishes, and a
    /// panic becomes a diagnostic in `fallback`.
    async fn call<A, W, F>(
        &self,
        (rpc, type_name): (&'static str, String),
        capabilities: Option<pb::ClientCapabilities>,
        mut fallback: A,
        work: W,
    ) -> Result<Response<A>, Status>
    where
        A: Answer,
        W: FnOnce(Arc<Inner<P>>, Context) -> F + Send + 'static,
        F: Future<Output = A> + Send,
    {
        let inner = self.0.clone();
        let Begun { cx, guard, running, span, id } = self.begin((rpc, type_name), capabilities);
        let task = async move {
            let _running = running;
            let started = std::time::Instant::now();
            tracing::trace!("received");
            let answer = work(inner, cx).await;
            log_diagnostics(answer.said());
            tracing::trace!(tf_req_duration_ms = started.elapsed().as_millis() as u64, "answered");
            answer
        };
        let answer = match tokio::spawn(task.instrument(span)).await {
            Ok(answer) => answer,
            Err(_) => {
                fallback.fail(self.panicked(&id));
                fallback
            }
        };
        guard.finish();
        Ok(Response::new(answer))
    }

    fn begin(&self, (rpc, type_name): (&'static str, String), capabilities: Option<pb::ClientCapabilities>) -> Begun {
        let inner = &self.0;
        let id = format!("{:x}-{}", std::process::id(), inner.calls.fetch_add(1, Ordering::Relaxed));
        let span = tracing::error_span!(
            "call",
            tf_req_id = id,
            tf_rpc = rpc,
            tf_resource_type = type_name,
            tf_provider_addr = inner.address,
            tf_proto_version = PROTOCOL,
        );
        let stop = inner.lifecycle.stop_signal();
        let secrets = inner.secrets.clone();
        let (cx, guard) = Context::new(id.clone(), rpc, type_name, capabilities.unwrap_or_default(), secrets, stop);
        Begun { cx, guard, running: inner.lifecycle.call(), span, id }
    }

    /// What a call says that has panicked. The text and the backtrace are in the log and nowhere else.
    fn panicked(&self, id: &str) -> Vec<pb::Diagnostic> {
        let detail = format!(
            "The provider has a defect and stopped in the middle of this call. Its log (TF_LOG=ERROR) says more; the \
             id of the call is {id}."
        );
        let panicked = Diagnostics::from(Diagnostic::error("Internal error of the provider", detail));
        wire::diagnostics(panicked, &self.0.secrets)
    }

    /// Runs a call that answers with a stream. `last` makes its last event of what the call has to say at the end.
    ///
    /// A client that no longer reads cancels the call.
    fn stream<E, W, F>(
        &self,
        of: (&'static str, String),
        capabilities: Option<pb::ClientCapabilities>,
        last: fn(Vec<pb::Diagnostic>) -> Option<E>,
        work: W,
    ) -> Response<BoxStream<E>>
    where
        E: Send + 'static,
        W: FnOnce(Arc<Inner<P>>, Context, Events<E>) -> F + Send + 'static,
        F: Future<Output = Diagnostics> + Send,
    {
        let Begun { cx, guard, running, span, id } = self.begin(of, capabilities);
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        let (service, inner, events) = (self.clone(), self.0.clone(), sender.clone());
        let task = async move {
            tracing::trace!("received");
            let d = work(inner.clone(), cx, events).await;
            let said = inner.wire(d);
            log_diagnostics(&said);
            said
        };
        let task = tokio::spawn(task.instrument(span));
        tokio::spawn(async move {
            let _running = running;
            let said = match task.await {
                Ok(said) => said,
                Err(_) => service.panicked(&id),
            };
            if let Some(event) = last(said) {
                // Fails when nobody listens any more.
                let _ = sender.send(Ok(event)).await;
            }
        });
        let events = stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
            match receiver.recv().await {
                Some(event) => Some((event, (receiver, guard))),
                None => {
                    guard.finish();
                    None
                }
            }
        });
        Response::new(Box::pin(events))
    }
}

/// What a handler sends while it runs. It ends with the handler, also when that has left a sender somewhere.
struct Feed<T> {
    receiver: mpsc::Receiver<T>,
    ended: Option<oneshot::Receiver<()>>,
}

impl<T> Feed<T> {
    /// The sender for the handler, what is to be dropped when the handler ends, and the other side.
    fn new() -> (mpsc::Sender<T>, oneshot::Sender<()>, Self) {
        // Nothing is read ahead of a slow client.
        let (sender, receiver) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        (sender, end, Self { receiver, ended: Some(ended) })
    }

    async fn next(&mut self) -> Option<T> {
        if let Some(ended) = &mut self.ended {
            tokio::select! {
                biased;
                item = self.receiver.recv() => return item,
                _ = ended => {}
            }
            self.ended = None;
            self.receiver.close();
        }
        self.receiver.recv().await
    }
}

fn log_diagnostics(said: &[pb::Diagnostic]) {
    for d in said {
        tracing::debug!(diagnostic_summary = d.summary, diagnostic_severity = d.severity, "diagnostic");
    }
}

impl<P: Provider> Inner<P> {
    fn registry(&self) -> &Registry<P::Client> {
        self.registry.get_or_init(|| Registry::of(&self.provider))
    }

    fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.provider.schema())
    }

    fn meta_schema(&self) -> Option<&Schema> {
        self.meta.get_or_init(|| self.provider.meta_schema()).as_ref()
    }

    /// The `provider_meta` block of a request.
    fn meta(&self, value: Option<&pb::DynamicValue>) -> Result<Option<Object>, Diagnostic> {
        match self.meta_schema() {
            Some(schema) => wire::object(value, &schema.object_type()),
            None => Ok(None),
        }
    }

    fn wire(&self, d: Diagnostics) -> Vec<pb::Diagnostic> {
        wire::diagnostics(d, &self.secrets)
    }

    fn state(&self) -> ClientState<P::Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The client for a plan: whatever there is.
    fn client_if_any(&self) -> Option<Arc<P::Client>> {
        match self.state() {
            ClientState::Ready(client) => Some(client),
            ClientState::Offline { client, .. } => client,
            ClientState::NotConfigured | ClientState::Failed => None,
        }
    }

    /// The client for a call that talks to the other side.
    fn client(&self) -> Result<Arc<P::Client>, Diagnostic> {
        match self.state() {
            ClientState::Ready(client) => Ok(client),
            ClientState::Offline { unknown, .. } => Err(Diagnostic::error(
                "Provider configuration is not known yet",
                format!(
                    "The provider block has values that are known only after an apply: {}. Apply what they come from \
                     first, for example with -target, or write them as they are.",
                    unknown.join(", ")
                ),
            )),
            ClientState::Failed => Err(Diagnostic::error(
                "Provider is not configured",
                "The configuration of the provider has failed; see its error.",
            )),
            ClientState::NotConfigured => Err(Diagnostic::error(
                "Provider is not configured",
                "The call came before the configuration of the provider.",
            )),
        }
    }

    /// The client, or a deferral when the provider block is not known and Terraform takes one.
    fn client_or_deferral(&self, cx: &Context) -> Result<Result<Arc<P::Client>, DeferredReason>, Diagnostic> {
        match self.state() {
            ClientState::Offline { .. } if cx.capabilities().deferral_allowed => {
                Ok(Err(DeferredReason::ProviderConfigUnknown))
            }
            _ => self.client().map(Ok),
        }
    }

    /// A deferral as Terraform takes it; an error that names what is unknown when it takes none.
    fn defer(
        &self,
        cx: &Context,
        reason: DeferredReason,
        config: Option<&Object>,
        d: &mut Diagnostics,
    ) -> Option<pb::Deferred> {
        if cx.capabilities().deferral_allowed {
            return Some(reason.wire());
        }
        let names = match (reason, self.state()) {
            (DeferredReason::ProviderConfigUnknown, ClientState::Offline { unknown, .. }) => unknown,
            _ => config.map(crate::provider::unknown_arguments).unwrap_or_default(),
        };
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        let text = format!(
            "It would have to wait: {}{names}. This Terraform does not put it off; apply what it depends on first, \
             for example with -target.",
            reason.describe()
        );
        d.error(None, "It cannot be decided yet", text);
        None
    }

    async fn validate_provider(&self, cx: Context, config: Option<pb::DynamicValue>) -> Diagnostics {
        let mut d = Diagnostics::new();
        let schema = self.schema();
        if let Some(config) = Self::config(schema, config.as_ref(), &mut d) {
            let _held = self.secrets.hold(schema.secrets(&config));
            schema.validate(&config, &mut d);
            self.provider.validate(&cx, &config, &mut d).await;
        }
        d
    }

    async fn configure(&self, cx: Context, config: Option<pb::DynamicValue>) -> Diagnostics {
        let mut d = Diagnostics::new();
        let schema = self.schema();
        let Some(config) = Self::config(schema, config.as_ref(), &mut d) else { return d };
        let held = self.secrets.hold(schema.secrets(&config));
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        let made = match self.provider.configure(&cx, config, &mut d).await {
            Configured::Ready(client) => ClientState::Ready(Arc::new(client)),
            Configured::Offline { client, unknown } => ClientState::Offline { client: client.map(Arc::new), unknown },
            Configured::Failed => ClientState::Failed,
        };
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = made;
        d
    }

    /// Reads a configuration; a null one is empty.
    fn config(schema: &Schema, value: Option<&pb::DynamicValue>, d: &mut Diagnostics) -> Option<Object> {
        let config = d.ok(wire::object(value, &schema.object_type()))?.unwrap_or_else(|| schema.empty_object());
        schema.check_values(&config, d);
        (!d.has_errors()).then_some(config)
    }
}

/// The object with every name of the schema: what a handler left out is null.
fn complete(schema: &Schema, mut object: Object) -> Object {
    for (name, value) in schema.empty_object() {
        if object.get(&name).is_none() {
            object.set(name, value);
        }
    }
    object
}

#[tonic::async_trait]
impl<P: Provider> Rpc for Service<P> {
    async fn get_metadata(
        &self,
        _: Request<pb::get_metadata::Request>,
    ) -> Result<Response<pb::get_metadata::Response>, Status> {
        self.call(("GetMetadata", String::new()), None, Default::default(), |inner, _| async move { inner.metadata() })
            .await
    }

    async fn get_provider_schema(
        &self,
        _: Request<pb::get_provider_schema::Request>,
    ) -> Result<Response<SchemaAnswer>, Status> {
        self.call(("GetProviderSchema", String::new()), None, SchemaAnswer::default(), |inner, _| async move {
            inner.schemas()
        })
        .await
    }

    async fn validate_provider_config(
        &self,
        rq: Request<pb::validate_provider_config::Request>,
    ) -> Result<Response<pb::validate_provider_config::Response>, Status> {
        let rq = rq.into_inner();
        self.call(("ValidateProviderConfig", String::new()), None, Default::default(), |inner, cx| async move {
            let d = inner.validate_provider(cx, rq.config).await;
            pb::validate_provider_config::Response { diagnostics: inner.wire(d) }
        })
        .await
    }

    async fn configure_provider(
        &self,
        rq: Request<pb::configure_provider::Request>,
    ) -> Result<Response<pb::configure_provider::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ConfigureProvider", String::new());
        self.call(of, rq.client_capabilities, Default::default(), |inner, cx| async move {
            let d = inner.configure(cx, rq.config).await;
            pb::configure_provider::Response { diagnostics: inner.wire(d) }
        })
        .await
    }

    async fn stop_provider(
        &self,
        _: Request<pb::stop_provider::Request>,
    ) -> Result<Response<pb::stop_provider::Response>, Status> {
        self.0.lifecycle.stop();
        Ok(Response::new(pb::stop_provider::Response::default()))
    }

    async fn validate_resource_config(
        &self,
        rq: Request<pb::validate_resource_config::Request>,
    ) -> Result<Response<pb::validate_resource_config::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ValidateResourceConfig", rq.type_name.clone());
        self.call(of, rq.client_capabilities, Default::default(), |inner, cx| async move {
            let d = inner.validate_resource(cx, rq).await;
            pb::validate_resource_config::Response { diagnostics: inner.wire(d) }
        })
        .await
    }

    async fn upgrade_resource_state(
        &self,
        rq: Request<pb::upgrade_resource_state::Request>,
    ) -> Result<Response<pb::upgrade_resource_state::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("UpgradeResourceState", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, _| async move { inner.upgrade(&rq) }).await
    }

    async fn read_resource(
        &self,
        rq: Request<pb::read_resource::Request>,
    ) -> Result<Response<pb::read_resource::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ReadResource", rq.type_name.clone());
        let fallback = pb::read_resource::Response {
            new_state: rq.current_state.clone(),
            private: rq.private.clone(),
            ..Default::default()
        };
        self.call(of, rq.client_capabilities, fallback.clone(), |inner, cx| async move {
            inner.read(cx, rq, fallback).await
        })
        .await
    }

    async fn plan_resource_change(
        &self,
        rq: Request<pb::plan_resource_change::Request>,
    ) -> Result<Response<pb::plan_resource_change::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("PlanResourceChange", rq.type_name.clone());
        self.call(of, rq.client_capabilities, Default::default(), |inner, cx| async move { inner.plan(cx, rq).await })
            .await
    }

    async fn apply_resource_change(
        &self,
        rq: Request<pb::apply_resource_change::Request>,
    ) -> Result<Response<pb::apply_resource_change::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ApplyResourceChange", rq.type_name.clone());
        // Whatever goes wrong, what was there is not forgotten.
        let fallback = pb::apply_resource_change::Response {
            new_state: Some(rq.prior_state.clone().unwrap_or_else(wire::null)),
            private: rq.planned_private.clone(),
            ..Default::default()
        };
        self.call(of, None, fallback.clone(), |inner, cx| async move { inner.apply(cx, rq, fallback).await }).await
    }

    async fn import_resource_state(
        &self,
        rq: Request<pb::import_resource_state::Request>,
    ) -> Result<Response<pb::import_resource_state::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ImportResourceState", rq.type_name.clone());
        self.call(of, rq.client_capabilities, Default::default(), |inner, cx| async move { inner.import(cx, rq).await })
            .await
    }

    async fn validate_data_resource_config(
        &self,
        rq: Request<pb::validate_data_resource_config::Request>,
    ) -> Result<Response<pb::validate_data_resource_config::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ValidateDataResourceConfig", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, cx| async move {
            let d = inner.validate_data(cx, rq).await;
            pb::validate_data_resource_config::Response { diagnostics: inner.wire(d) }
        })
        .await
    }

    async fn read_data_source(
        &self,
        rq: Request<pb::read_data_source::Request>,
    ) -> Result<Response<pb::read_data_source::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ReadDataSource", rq.type_name.clone());
        self.call(
            of,
            rq.client_capabilities,
            Default::default(),
            |inner, cx| async move { inner.read_data(cx, rq).await },
        )
        .await
    }

    async fn get_functions(
        &self,
        _: Request<pb::get_functions::Request>,
    ) -> Result<Response<pb::get_functions::Response>, Status> {
        self.call(
            ("GetFunctions", String::new()),
            None,
            Default::default(),
            |inner, _| async move { inner.function_list() },
        )
        .await
    }

    async fn call_function(
        &self,
        rq: Request<pb::call_function::Request>,
    ) -> Result<Response<pb::call_function::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("CallFunction", rq.name.clone());
        self.call(of, None, Default::default(), |inner, _| async move { inner.call_function(&rq) }).await
    }

    async fn get_resource_identity_schemas(
        &self,
        _: Request<pb::get_resource_identity_schemas::Request>,
    ) -> Result<Response<pb::get_resource_identity_schemas::Response>, Status> {
        self.call(("GetResourceIdentitySchemas", String::new()), None, Default::default(), |inner, _| async move {
            inner.identity_schemas()
        })
        .await
    }

    async fn upgrade_resource_identity(
        &self,
        rq: Request<pb::upgrade_resource_identity::Request>,
    ) -> Result<Response<pb::upgrade_resource_identity::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("UpgradeResourceIdentity", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, _| async move { inner.upgrade_identity(&rq) }).await
    }

    async fn move_resource_state(
        &self,
        rq: Request<pb::move_resource_state::Request>,
    ) -> Result<Response<pb::move_resource_state::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("MoveResourceState", rq.target_type_name.clone());
        self.call(of, None, Default::default(), |inner, _| async move { inner.move_state(rq) }).await
    }

    async fn generate_resource_config(
        &self,
        rq: Request<pb::generate_resource_config::Request>,
    ) -> Result<Response<pb::generate_resource_config::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("GenerateResourceConfig", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, _| async move { inner.generate_config(&rq) }).await
    }

    async fn validate_ephemeral_resource_config(
        &self,
        rq: Request<pb::validate_ephemeral_resource_config::Request>,
    ) -> Result<Response<pb::validate_ephemeral_resource_config::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ValidateEphemeralResourceConfig", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, cx| async move {
            let d = inner.validate_ephemeral(cx, rq).await;
            pb::validate_ephemeral_resource_config::Response { diagnostics: inner.wire(d) }
        })
        .await
    }

    async fn open_ephemeral_resource(
        &self,
        rq: Request<pb::open_ephemeral_resource::Request>,
    ) -> Result<Response<pb::open_ephemeral_resource::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("OpenEphemeralResource", rq.type_name.clone());
        self.call(of, rq.client_capabilities, Default::default(), |inner, cx| async move { inner.open(cx, rq).await })
            .await
    }

    async fn renew_ephemeral_resource(
        &self,
        rq: Request<pb::renew_ephemeral_resource::Request>,
    ) -> Result<Response<pb::renew_ephemeral_resource::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("RenewEphemeralResource", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, cx| async move { inner.renew(cx, rq).await }).await
    }

    async fn close_ephemeral_resource(
        &self,
        rq: Request<pb::close_ephemeral_resource::Request>,
    ) -> Result<Response<pb::close_ephemeral_resource::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("CloseEphemeralResource", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, cx| async move {
            let d = inner.close(cx, rq).await;
            pb::close_ephemeral_resource::Response { diagnostics: inner.wire(d) }
        })
        .await
    }

    async fn validate_list_resource_config(
        &self,
        rq: Request<pb::validate_list_resource_config::Request>,
    ) -> Result<Response<pb::validate_list_resource_config::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ValidateListResourceConfig", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, cx| async move {
            let d = inner.validate_list(cx, rq).await;
            pb::validate_list_resource_config::Response { diagnostics: inner.wire(d) }
        })
        .await
    }

    async fn list_resource(
        &self,
        rq: Request<pb::list_resource::Request>,
    ) -> Result<Response<BoxStream<pb::list_resource::Event>>, Status> {
        let rq = rq.into_inner();
        let of = ("ListResource", rq.type_name.clone());
        Ok(self.stream(
            of,
            None,
            lists::last_event,
            |inner, cx, events| async move { inner.list(cx, rq, events).await },
        ))
    }

    async fn validate_action_config(
        &self,
        rq: Request<pb::validate_action_config::Request>,
    ) -> Result<Response<pb::validate_action_config::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("ValidateActionConfig", rq.type_name.clone());
        self.call(of, None, Default::default(), |inner, cx| async move {
            let d = inner.validate_action(cx, rq).await;
            pb::validate_action_config::Response { diagnostics: inner.wire(d) }
        })
        .await
    }

    async fn plan_action(
        &self,
        rq: Request<pb::plan_action::Request>,
    ) -> Result<Response<pb::plan_action::Response>, Status> {
        let rq = rq.into_inner();
        let of = ("PlanAction", rq.action_type.clone());
        self.call(
            of,
            rq.client_capabilities,
            Default::default(),
            |inner, cx| async move { inner.plan_action(cx, rq).await },
        )
        .await
    }

    async fn invoke_action(
        &self,
        rq: Request<pb::invoke_action::Request>,
    ) -> Result<Response<BoxStream<pb::invoke_action::Event>>, Status> {
        let rq = rq.into_inner();
        let of = ("InvokeAction", rq.action_type.clone());
        let capabilities = rq.client_capabilities;
        Ok(self.stream(of, capabilities, actions::last_event, |inner, cx, events| async move {
            inner.invoke(cx, rq, events).await
        }))
    }
}
