//! The gRPC services: what Terraform calls, in front of the traits of the crate.

mod data_sources;
mod host;
mod resources;
mod schemas;
pub(crate) mod wire;

pub(crate) use host::Host;

use crate::context::{Context, Lifecycle};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::log::{Secrets, SecretsGuard};
use crate::proto::SchemaAnswer;
use crate::proto::tfplugin6 as pb;
use crate::provider::{Configured, Provider, Registry};
use crate::schema::Schema;
use crate::value::Object;
use pb::provider_server::Provider as Rpc;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

/// Newest minor version whose messages this crate knows.
const PROTOCOL: &str = "6.11";

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
    answer: OnceLock<SchemaAnswer>,
    client: Mutex<ClientState<P::Client>>,
    /// Secrets of the provider block, for as long as its client lives.
    held: Mutex<Option<SecretsGuard>>,
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
    fn diagnostics(&mut self) -> &mut Vec<pb::Diagnostic>;
}

macro_rules! answers {
    ($($module:ident),* $(,)?) => {
        $(impl Answer for pb::$module::Response {
            fn diagnostics(&mut self) -> &mut Vec<pb::Diagnostic> {
                &mut self.diagnostics
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
);

impl Answer for SchemaAnswer {
    fn diagnostics(&mut self) -> &mut Vec<pb::Diagnostic> {
        &mut self.fields.diagnostics
    }
}

impl<P: Provider> Service<P> {
    pub(crate) fn new(provider: P, address: &str, lifecycle: Lifecycle, secrets: Secrets) -> Self {
        Self(Arc::new(Inner {
            provider,
            address: address.to_owned(),
            registry: OnceLock::new(),
            schema: OnceLock::new(),
            answer: OnceLock::new(),
            client: Mutex::new(ClientState::NotConfigured),
            held: Mutex::new(None),
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
        let running = inner.lifecycle.call();
        let task = async move {
            let _running = running;
            let started = std::time::Instant::now();
            tracing::trace!("received");
            let mut answer = work(inner, cx).await;
            for d in answer.diagnostics() {
                tracing::debug!(diagnostic_summary = d.summary, diagnostic_severity = d.severity, "diagnostic");
            }
            tracing::trace!(tf_req_duration_ms = started.elapsed().as_millis() as u64, "answered");
            answer
        };
        let answer = match tokio::spawn(task.instrument(span)).await {
            Ok(answer) => answer,
            // The text and the backtrace are in the log and nowhere else.
            Err(_) => {
                let detail = format!(
                    "The provider has a defect and stopped in the middle of this call. Its log (TF_LOG=ERROR) says \
                     more; the id of the call is {id}."
                );
                let panicked = Diagnostics::from(Diagnostic::error("Internal error of the provider", detail));
                fallback.diagnostics().extend(wire::diagnostics(panicked, &self.0.secrets));
                fallback
            }
        };
        guard.finish();
        Ok(Response::new(answer))
    }
}

impl<P: Provider> Inner<P> {
    fn registry(&self) -> &Registry<P::Client> {
        self.registry.get_or_init(|| Registry::of(&self.provider))
    }

    fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| self.provider.schema())
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
        Ok(Response::new(pb::get_functions::Response::default()))
    }

    async fn get_resource_identity_schemas(
        &self,
        _: Request<pb::get_resource_identity_schemas::Request>,
    ) -> Result<Response<pb::get_resource_identity_schemas::Response>, Status> {
        Ok(Response::new(pb::get_resource_identity_schemas::Response::default()))
    }
}
