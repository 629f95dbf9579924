//! A client that plays Terraform core: it starts a provider as Terraform does, merges configuration and prior state,
//! and applies core's own rules to every answer.

mod actions;
mod ephemeral;
mod functions;
mod identity;
mod lists;
mod schemas;
mod tls;

pub use actions::Invoked;
pub use ephemeral::Ephemeral;
pub use lists::Found;

use crate::context::Lifecycle;
use crate::core_checks::{Violation, check_apply, check_final_plan, check_identity, check_plan, check_state};
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::identity::{IdentitySchema, continues};
use crate::log::Secrets;
use crate::path::Path;
use crate::plan::{PlanInput, proposed_new_state};
use crate::proto::goplugin::Empty;
use crate::proto::goplugin::grpc_controller_client::GrpcControllerClient;
use crate::proto::tfplugin6 as pb;
use crate::proto::tfplugin6::provider_client::ProviderClient;
use crate::proto::{MESSAGE_LIMIT, SchemaFields};
use crate::provider::Provider;
use crate::schema::Schema;
use crate::serve::{COOKIE_KEY, COOKIE_VALUE, Connection, Io, router};
use crate::service::{Service, wire};
use crate::tls::self_signed;
use crate::value::{Object, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use rustls::pki_types::ServerName;
use schemas::{filled, read_diagnostics, read_identity, read_schema};
use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use tls::{channel, client_config, pem};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

/// How the client shows itself in TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// With the certificate that the provider was told, as Terraform does.
    Pinned,
    /// The provider was told a certificate, the client has none.
    Without,
    /// The client has another certificate than the provider was told.
    Other,
    /// No TLS at all, on either side.
    Off,
}

/// Why a provider could not be started or called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FakeError {
    /// The process or the connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The connection was refused.
    #[error("{0:?}")]
    Transport(#[from] tonic::transport::Error),
    /// A call failed.
    #[error("{0}")]
    Call(Box<tonic::Status>),
    /// The handshake line is not what it must be.
    #[error("handshake line: {0:?}")]
    Handshake(String),
    /// TLS could not be set up on this side.
    #[error("{0}")]
    Tls(String),
    /// An answer that the protocol does not allow.
    #[error("{0}")]
    Answer(Diagnostic),
}

impl From<tonic::Status> for FakeError {
    fn from(status: tonic::Status) -> Self {
        Self::Call(Box::new(status))
    }
}

impl From<Diagnostic> for FakeError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Answer(diagnostic)
    }
}

/// A state as Terraform stores it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The values.
    pub object: Object,
    /// Data beside them.
    pub private: Bytes,
    /// What the object is called, where its resource has an identity.
    pub identity: Option<Object>,
}

impl State {
    /// A state with nothing beside it.
    pub fn of(object: Object) -> Self {
        Self { object, ..Self::default() }
    }
}

/// The answer to a plan, with what is needed to apply it.
#[derive(Clone, Debug)]
pub struct Planned {
    type_name: String,
    prior: Option<State>,
    config: Option<Object>,
    private: Bytes,
    /// The planned state; nothing on destroy.
    pub planned: Option<Object>,
    /// The planned identity.
    pub identity: Option<Object>,
    /// Why the change was put off, if it was.
    pub deferred: Option<DeferredReason>,
    /// Places whose change replaces the resource.
    pub requires_replace: Vec<Path>,
    /// Errors and warnings, also those of core's rules.
    pub diagnostics: Diagnostics,
}

/// A running provider and the client.
#[derive(Debug)]
pub struct FakeCore {
    rpc: ProviderClient<Channel>,
    channel: Channel,
    schema: Schema,
    meta_schema: Option<Schema>,
    meta: Option<Object>,
    resources: BTreeMap<String, Schema>,
    data_sources: BTreeMap<String, Schema>,
    ephemerals: BTreeMap<String, Schema>,
    lists: BTreeMap<String, Schema>,
    actions: BTreeMap<String, Schema>,
    identities: BTreeMap<String, IdentitySchema>,
    functions: BTreeMap<String, pb::Function>,
    server: pb::ServerCapabilities,
    capabilities: pb::ClientCapabilities,
    child: Option<Child>,
    log: Option<tokio::task::JoinHandle<String>>,
    /// The handshake line; empty for a provider in this process.
    pub line: String,
}

impl FakeCore {
    /// Serves the provider in this process, without socket and TLS.
    ///
    /// # Errors
    /// The schemas could not be had, or have errors.
    pub async fn in_process<P: Provider>(provider: P) -> Result<Self, FakeError> {
        let (client, server) = tokio::io::duplex(1 << 20);
        let lifecycle = Lifecycle::new();
        let service =
            Service::new(provider, "registry.terraform.io/test/in-process", lifecycle.clone(), Secrets::default());
        let connection = Connection::new(Box::new(server), &lifecycle);
        let router = router(service, &lifecycle);
        let one = tokio_stream::iter([Ok::<_, io::Error>(connection)]);
        // The end of the stream would be the end of the server.
        let incoming = tokio_stream::StreamExt::chain(one, tokio_stream::pending());
        tokio::spawn(router.serve_with_incoming_shutdown(incoming, async move {
            lifecycle.ended().await;
        }));
        Self::connected(channel(Box::new(client)).await?, None, String::new()).await
    }

    /// Starts a provider, does the handshake and asks for the schemas.
    ///
    /// # Errors
    /// The process does not start, refuses the client, or its schemas have errors.
    pub async fn start(mut command: Command, tls: Tls) -> Result<Self, FakeError> {
        let fail = |e: &dyn std::fmt::Display| FakeError::Tls(e.to_string());
        let told = self_signed().map_err(|e| fail(&e))?;
        let shown = match tls {
            Tls::Other => Some(self_signed().map_err(|e| fail(&e))?),
            Tls::Pinned => Some((told.0.clone(), told.1.clone_key())),
            Tls::Without | Tls::Off => None,
        };
        command.env(COOKIE_KEY, COOKIE_VALUE).env("PLUGIN_PROTOCOL_VERSIONS", "5,6");
        if tls != Tls::Off {
            command.env("PLUGIN_CLIENT_CERT", pem(&told.0));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut line = String::new();
        let Some(stdout) = child.stdout.take() else { return Err(FakeError::Handshake(line)) };
        BufReader::new(stdout).read_line(&mut line).await?;
        let fields: Vec<&str> = line.trim_end().split('|').collect();
        let ["1", "6", network, place, "grpc", certificate, ..] = fields[..] else {
            return Err(FakeError::Handshake(line));
        };
        let io: Box<dyn Io> = match network {
            "unix" => Box::new(tokio::net::UnixStream::connect(place).await?),
            "tcp" => Box::new(tokio::net::TcpStream::connect(place).await?),
            _ => return Err(FakeError::Handshake(line.clone())),
        };
        let io: Box<dyn Io> = if tls == Tls::Off {
            io
        } else {
            let der = STANDARD_NO_PAD.decode(certificate).map_err(|e| fail(&e))?;
            let config = client_config(der.into(), shown).map_err(|e| fail(&e))?;
            let name = ServerName::try_from("localhost").map_err(|e| fail(&e))?;
            Box::new(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, io).await?)
        };
        let channel = channel(io).await?;
        Self::connected(channel, Some(child), line).await
    }

    async fn connected(channel: Channel, mut child: Option<Child>, line: String) -> Result<Self, FakeError> {
        let log = child.as_mut().and_then(|child| child.stderr.take()).map(|mut stderr| {
            tokio::spawn(async move {
                let mut text = String::new();
                let _ = stderr.read_to_string(&mut text).await;
                text
            })
        });
        let mut rpc = ProviderClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let fields: SchemaFields =
            rpc.get_provider_schema(pb::get_provider_schema::Request {}).await?.into_inner().fields;
        if let Some(error) = read_diagnostics(fields.diagnostics).into_iter().find(Diagnostic::is_error) {
            return Err(error.into());
        }
        let all = |schemas: BTreeMap<String, pb::Schema>| {
            schemas.iter().map(|(name, s)| Ok((name.clone(), read_schema(s)?))).collect::<Result<_, Diagnostic>>()
        };
        let actions = fields.action_schemas.into_iter().map(|(name, action)| (name, action.schema.unwrap_or_default()));
        Ok(Self {
            identities: identities(&mut rpc).await?,
            rpc,
            channel,
            schema: read_schema(&fields.provider.unwrap_or_default())?,
            meta_schema: fields.provider_meta.as_ref().map(read_schema).transpose()?,
            meta: None,
            resources: all(fields.resource_schemas)?,
            data_sources: all(fields.data_source_schemas)?,
            ephemerals: all(fields.ephemeral_resource_schemas)?,
            lists: all(fields.list_resource_schemas)?,
            actions: all(actions.collect())?,
            functions: fields.functions,
            server: fields.server_capabilities.unwrap_or_default(),
            capabilities: newest(),
            child,
            log,
            line,
        })
    }

    /// The same with other abilities than those of the newest Terraform without deferral.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: pb::ClientCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same as a Terraform that takes deferrals.
    #[must_use]
    pub fn deferring(self) -> Self {
        let capabilities = pb::ClientCapabilities { deferral_allowed: true, ..self.capabilities };
        self.with_capabilities(capabilities)
    }

    /// The same in a module with a `provider_meta` block.
    #[must_use]
    pub fn with_meta(mut self, meta: Object) -> Self {
        self.meta = Some(meta);
        self
    }

    /// What the provider says that it can do.
    pub fn server_capabilities(&self) -> &pb::ServerCapabilities {
        &self.server
    }

    fn meta(&self) -> Result<Option<pb::DynamicValue>, FakeError> {
        let Some(schema) = &self.meta_schema else { return Ok(None) };
        let meta = filled(schema, self.meta.clone().unwrap_or_default());
        Ok(Some(wire::value(Some(&meta), &schema.object_type())?))
    }

    /// The raw client, for calls that this type does not wrap.
    pub fn rpc(&self) -> ProviderClient<Channel> {
        self.rpc.clone()
    }

    /// The process id, when there is a process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// The schema of the provider block, as it came over the wire.
    pub fn provider_schema(&self) -> &Schema {
        &self.schema
    }

    /// The schema of a resource, as it came over the wire.
    ///
    /// # Errors
    /// There is no such resource.
    pub fn resource_schema(&self, type_name: &str) -> Result<&Schema, FakeError> {
        self.resources.get(type_name).ok_or_else(|| Diagnostic::error("no such resource", type_name).into())
    }

    /// The schema of a data source, as it came over the wire.
    ///
    /// # Errors
    /// There is no such data source.
    pub fn data_source_schema(&self, type_name: &str) -> Result<&Schema, FakeError> {
        self.data_sources.get(type_name).ok_or_else(|| Diagnostic::error("no such data source", type_name).into())
    }

    /// The configuration of a resource. A computed block that is absent is null, where core knows of such.
    fn filled_resource(&self, schema: &Schema, config: Object) -> Object {
        let absent = |name: &&str| config.get(name).is_none();
        let computed = schema.body.blocks.iter().filter(|block| block.computed).map(|block| block.name.as_str());
        let null: Vec<&str> = computed.filter(absent).filter(|_| self.capabilities.computed_blocks_allowed).collect();
        let mut filled = filled(schema, config.clone());
        for name in null {
            filled.set(name, Value::Null);
        }
        filled
    }

    /// The deferral of an answer. Core refuses one that it has not allowed.
    fn deferral(&self, deferred: Option<&pb::Deferred>, d: &mut Diagnostics) -> Option<DeferredReason> {
        let deferred = deferred?;
        if !self.capabilities.deferral_allowed {
            d.error(None, "core refuses: a deferral", "this client does not take one");
        }
        let reason = DeferredReason::read(deferred);
        if reason.is_none() {
            d.error(None, "core refuses: a deferral", "it has no reason");
        }
        reason
    }

    /// Configures the provider; attributes that are not given are null.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn configure(&self, config: Object) -> Result<Diagnostics, FakeError> {
        let config = Some(wire::value(Some(&filled(&self.schema, config)), &self.schema.object_type())?);
        let checked = pb::validate_provider_config::Request { config: config.clone() };
        let mut d = read_diagnostics(self.rpc().validate_provider_config(checked).await?.into_inner().diagnostics);
        if !d.has_errors() {
            let rq = pb::configure_provider::Request {
                terraform_version: "1.11.4".to_owned(),
                config,
                client_capabilities: Some(self.capabilities),
            };
            d.extend(read_diagnostics(self.rpc().configure_provider(rq).await?.into_inner().diagnostics));
        }
        Ok(d)
    }

    /// Validates a configuration; attributes that are not given are null.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn validate(&self, type_name: &str, config: Object) -> Result<Diagnostics, FakeError> {
        let schema = self.resource_schema(type_name)?;
        let rq = pb::validate_resource_config::Request {
            type_name: type_name.to_owned(),
            config: Some(wire::value(Some(&self.filled_resource(schema, config)), &schema.object_type())?),
            client_capabilities: Some(self.capabilities),
        };
        Ok(read_diagnostics(self.rpc().validate_resource_config(rq).await?.into_inner().diagnostics))
    }

    /// Plans; without a configuration it is a destroy.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn plan(
        &self,
        type_name: &str,
        prior: Option<&State>,
        config: Option<Object>,
    ) -> Result<Planned, FakeError> {
        self.plan_with(type_name, prior, config, Bytes::new()).await
    }

    async fn plan_with(
        &self,
        type_name: &str,
        prior: Option<&State>,
        config: Option<Object>,
        planned_private: Bytes,
    ) -> Result<Planned, FakeError> {
        let schema = self.resource_schema(type_name)?;
        let ty = schema.object_type();
        let config = config.map(|config| self.filled_resource(schema, config));
        let before = prior.map(|state| &state.object);
        let proposed = config.as_ref().map(|config| proposed_new_state(schema, before, config));
        let rq = pb::plan_resource_change::Request {
            type_name: type_name.to_owned(),
            prior_state: Some(wire::value(before, &ty)?),
            proposed_new_state: Some(wire::value(proposed.as_ref(), &ty)?),
            config: Some(wire::value(config.as_ref(), &ty)?),
            prior_private: prior.map(|state| state.private.clone()).unwrap_or_default(),
            prior_identity: self.identity_data(type_name, prior.and_then(|state| state.identity.as_ref()))?,
            provider_meta: self.meta()?,
            client_capabilities: Some(self.capabilities),
            planned_private,
        };
        let answer = self.rpc().plan_resource_change(rq).await?.into_inner();
        let mut diagnostics = read_diagnostics(answer.diagnostics);
        let requires_replace: Vec<Path> = answer.requires_replace.iter().map(wire::read_path).collect();
        let planned = wire::object(answer.planned_state.as_ref(), &ty)?;
        let deferred = self.deferral(answer.deferred.as_ref(), &mut diagnostics);
        let identity = self.read_identity(type_name, answer.planned_identity.as_ref())?;
        if answer.legacy_type_system {
            diagnostics.error(None, "core refuses: P13", "the provider claims the legacy type system");
        }
        if !diagnostics.has_errors() {
            let input = PlanInput { schema, prior: before, proposed: proposed.as_ref(), config: config.as_ref() };
            complain(&mut diagnostics, check_plan(input, planned.as_ref(), &requires_replace));
            if let (Some(schema), true) = (self.identities.get(type_name), config.is_some()) {
                let is_create = prior.is_none();
                if identity.is_some() || !is_create {
                    complain(&mut diagnostics, check_identity(schema, identity.as_ref(), is_create));
                }
            }
        }
        Ok(Planned {
            type_name: type_name.to_owned(),
            prior: prior.cloned(),
            config,
            private: answer.planned_private,
            planned,
            identity,
            deferred,
            requires_replace,
            diagnostics,
        })
    }

    /// Applies a plan as Terraform does: plans once more, holds the second plan against the first, and applies that.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn apply(&self, plan: &Planned) -> Result<(Option<State>, Diagnostics), FakeError> {
        self.apply_known(plan, plan.config.clone()).await
    }

    /// The same with a configuration in which unknown values have become known.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn apply_known(
        &self,
        plan: &Planned,
        config: Option<Object>,
    ) -> Result<(Option<State>, Diagnostics), FakeError> {
        if plan.planned.is_none() {
            return self.apply_planned(plan).await;
        }
        let kept = if self.capabilities.store_planned_private { plan.private.clone() } else { Bytes::new() };
        let mut second = self.plan_with(&plan.type_name, plan.prior.as_ref(), config, kept).await?;
        if !second.diagnostics.has_errors() {
            let broken = check_final_plan(plan.planned.as_ref(), second.planned.as_ref());
            complain(&mut second.diagnostics, broken);
        }
        if second.diagnostics.has_errors() {
            return Ok((plan.prior.clone(), second.diagnostics));
        }
        self.apply_planned(&second).await
    }

    async fn apply_planned(&self, plan: &Planned) -> Result<(Option<State>, Diagnostics), FakeError> {
        let type_name = &plan.type_name;
        let schema = self.resource_schema(type_name)?;
        let ty = schema.object_type();
        let before = plan.prior.as_ref().map(|state| &state.object);
        let rq = pb::apply_resource_change::Request {
            type_name: type_name.clone(),
            prior_state: Some(wire::value(before, &ty)?),
            planned_state: Some(wire::value(plan.planned.as_ref(), &ty)?),
            config: Some(wire::value(plan.config.as_ref(), &ty)?),
            planned_private: plan.private.clone(),
            provider_meta: self.meta()?,
            planned_identity: self.identity_data(type_name, plan.identity.as_ref())?,
        };
        let answer = self.rpc().apply_resource_change(rq).await?.into_inner();
        let mut d = read_diagnostics(answer.diagnostics);
        let new = wire::object(answer.new_state.as_ref(), &ty)?;
        let identity = self.read_identity(type_name, answer.new_identity.as_ref())?;
        if !d.has_errors() {
            complain(&mut d, check_apply(schema, plan.planned.as_ref(), new.as_ref()));
            if let (Some(schema), true) = (self.identities.get(type_name), new.is_some()) {
                complain(&mut d, check_identity(schema, identity.as_ref(), false));
            }
        }
        Ok((new.map(|object| State { object, private: answer.private, identity }), d))
    }

    /// Plans and applies; stops at errors of the plan. Where the plan asks for it, the object is replaced.
    ///
    /// # Errors
    /// A call failed; the provider's own errors are in the result.
    pub async fn change(
        &self,
        type_name: &str,
        prior: Option<&State>,
        config: Option<Object>,
    ) -> Result<(Option<State>, Diagnostics), FakeError> {
        let mut plan = self.plan(type_name, prior, config.clone()).await?;
        if plan.diagnostics.has_errors() || plan.deferred.is_some() {
            return Ok((prior.cloned(), plan.diagnostics));
        }
        if prior.is_some() && plan.planned.is_some() && !plan.requires_replace.is_empty() {
            return self.replace(type_name, prior, config).await;
        }
        let (state, d) = self.apply(&plan).await?;
        plan.diagnostics.extend(d);
        Ok((state, plan.diagnostics))
    }

    /// Deletes and creates; the second half is planned without a prior state.
    async fn replace(
        &self,
        type_name: &str,
        prior: Option<&State>,
        config: Option<Object>,
    ) -> Result<(Option<State>, Diagnostics), FakeError> {
        let mut create = self.plan(type_name, None, config).await?;
        if create.diagnostics.has_errors() {
            return Ok((prior.cloned(), create.diagnostics));
        }
        let destroy = self.plan(type_name, prior, None).await?;
        let mut d = std::mem::take(&mut create.diagnostics);
        d.extend(destroy.diagnostics.clone());
        if d.has_errors() {
            return Ok((prior.cloned(), d));
        }
        let (left, more) = self.apply(&destroy).await?;
        d.extend(more);
        if left.is_some() || d.has_errors() {
            return Ok((left, d));
        }
        let (state, more) = self.apply(&create).await?;
        d.extend(more);
        Ok((state, d))
    }

    /// Reads.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn read(&self, type_name: &str, state: &State) -> Result<(Option<State>, Diagnostics), FakeError> {
        let schema = self.resource_schema(type_name)?;
        let rq = pb::read_resource::Request {
            type_name: type_name.to_owned(),
            current_state: Some(wire::value(Some(&state.object), &schema.object_type())?),
            private: state.private.clone(),
            provider_meta: self.meta()?,
            client_capabilities: Some(self.capabilities),
            current_identity: self.identity_data(type_name, state.identity.as_ref())?,
        };
        let answer = self.rpc().read_resource(rq).await?.into_inner();
        let mut d = read_diagnostics(answer.diagnostics);
        let new = wire::object(answer.new_state.as_ref(), &schema.object_type())?;
        let identity = self.read_identity(type_name, answer.new_identity.as_ref())?;
        let deferred = self.deferral(answer.deferred.as_ref(), &mut d);
        if let (Some(object), false, None) = (&new, d.has_errors(), deferred) {
            complain(&mut d, check_state(schema, object));
            if let Some(schema) = self.identities.get(type_name) {
                complain(&mut d, check_identity(schema, identity.as_ref(), false));
                if let (Some(old), Some(new)) = (&state.identity, &identity)
                    && !continues(old, new)
                {
                    d.error(None, "core refuses: I4", "a refresh has changed the identity");
                }
            }
        }
        Ok((new.map(|object| State { object, private: answer.private, identity }), d))
    }

    /// Imports by id and reads, as Terraform does.
    ///
    /// # Errors
    /// A call failed; the provider's own errors are in the result.
    pub async fn import(&self, type_name: &str, id: &str) -> Result<(Option<State>, Diagnostics), FakeError> {
        let rq = pb::import_resource_state::Request {
            type_name: type_name.to_owned(),
            id: id.to_owned(),
            client_capabilities: Some(self.capabilities),
            identity: None,
        };
        self.imported(rq).await
    }

    async fn imported(
        &self,
        rq: pb::import_resource_state::Request,
    ) -> Result<(Option<State>, Diagnostics), FakeError> {
        let type_name = rq.type_name.clone();
        let schema = self.resource_schema(&type_name)?;
        let answer = self.rpc().import_resource_state(rq).await?.into_inner();
        let mut d = read_diagnostics(answer.diagnostics);
        if self.deferral(answer.deferred.as_ref(), &mut d).is_some() || d.has_errors() {
            return Ok((None, d));
        }
        let mut all = answer.imported_resources.into_iter();
        let Some(imported) = all.next() else {
            d.error(None, "core refuses: M1", "nothing was imported and no error says why");
            return Ok((None, d));
        };
        if imported.type_name != type_name {
            d.error(None, "core refuses: M2", "what was imported is of another type");
        }
        let Some(object) = wire::object(imported.state.as_ref(), &schema.object_type())? else { return Ok((None, d)) };
        complain(&mut d, check_state(schema, &object));
        let identity = self.read_identity(&type_name, imported.identity.as_ref())?;
        let (state, more) = self.read(&type_name, &State { object, private: imported.private, identity }).await?;
        d.extend(more);
        if state.is_none() && !d.has_errors() {
            d.error(None, "Cannot import non-existent remote object", "");
        }
        Ok((state, d))
    }

    /// Upgrades a stored state.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn upgrade(
        &self,
        type_name: &str,
        version: i64,
        json: &str,
    ) -> Result<(Option<Object>, Diagnostics), FakeError> {
        let schema = self.resource_schema(type_name)?;
        let rq = pb::upgrade_resource_state::Request {
            type_name: type_name.to_owned(),
            version,
            raw_state: Some(pb::RawState { json: json.to_owned().into(), ..Default::default() }),
        };
        let answer = self.rpc().upgrade_resource_state(rq).await?.into_inner();
        let state = wire::object(answer.upgraded_state.as_ref(), &schema.object_type())?;
        let mut d = read_diagnostics(answer.diagnostics);
        if let (Some(state), false) = (&state, d.has_errors()) {
            complain(&mut d, check_state(schema, state));
        }
        Ok((state, d))
    }

    /// Reads a data source; attributes that are not given are null.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn data(&self, type_name: &str, config: Object) -> Result<(Option<Object>, Diagnostics), FakeError> {
        let schema = self.data_source_schema(type_name)?;
        let config = Some(wire::value(Some(&filled(schema, config)), &schema.object_type())?);
        let checked =
            pb::validate_data_resource_config::Request { type_name: type_name.to_owned(), config: config.clone() };
        let mut d = read_diagnostics(self.rpc().validate_data_resource_config(checked).await?.into_inner().diagnostics);
        if d.has_errors() {
            return Ok((None, d));
        }
        let rq = pb::read_data_source::Request {
            type_name: type_name.to_owned(),
            config,
            provider_meta: self.meta()?,
            client_capabilities: Some(self.capabilities),
        };
        let answer = self.rpc().read_data_source(rq).await?.into_inner();
        d.extend(read_diagnostics(answer.diagnostics));
        let state = wire::object(answer.state.as_ref(), &schema.object_type())?;
        let deferred = self.deferral(answer.deferred.as_ref(), &mut d);
        match &state {
            Some(state) if deferred.is_none() => complain(&mut d, check_state(schema, state)),
            None if !d.has_errors() => d.error(None, "core refuses: D1", "a data source was read and is null"),
            _ => {}
        }
        Ok((state, d))
    }

    /// The gentle interrupt.
    ///
    /// # Errors
    /// The call failed.
    pub async fn stop(&self) -> Result<(), FakeError> {
        self.rpc().stop_provider(pb::stop_provider::Request {}).await?;
        Ok(())
    }

    /// Ends the provider as Terraform does and returns its log and exit code.
    ///
    /// # Errors
    /// The call failed, or the process did not end in the two seconds that Terraform gives it.
    pub async fn shutdown(mut self) -> Result<(String, Option<i32>), FakeError> {
        GrpcControllerClient::new(self.channel.clone()).shutdown(Empty {}).await?;
        let Some(mut child) = self.child.take() else { return Ok((String::new(), None)) };
        let limit = std::time::Duration::from_secs(2);
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the provider did not end in two seconds");
        let status = tokio::time::timeout(limit, child.wait()).await.map_err(late)??;
        let log = match self.log.take() {
            Some(log) => log.await.unwrap_or_default(),
            None => String::new(),
        };
        Ok((log, status.code()))
    }
}

/// What the newest Terraform can do by default: everything but deferral.
fn newest() -> pb::ClientCapabilities {
    pb::ClientCapabilities {
        deferral_allowed: false,
        write_only_attributes_allowed: true,
        store_planned_private: true,
        computed_blocks_allowed: true,
    }
}

/// The identities by resource; a provider before 6.9 has none.
async fn identities(rpc: &mut ProviderClient<Channel>) -> Result<BTreeMap<String, IdentitySchema>, FakeError> {
    let answer = match rpc.get_resource_identity_schemas(pb::get_resource_identity_schemas::Request {}).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == tonic::Code::Unimplemented => return Ok(BTreeMap::new()),
        Err(status) => return Err(status.into()),
    };
    if let Some(error) = read_diagnostics(answer.diagnostics).into_iter().find(Diagnostic::is_error) {
        return Err(error.into());
    }
    let all = answer.identity_schemas.iter().map(|(name, schema)| Ok((name.clone(), read_identity(schema)?)));
    Ok(all.collect::<Result<_, Diagnostic>>()?)
}

fn complain(d: &mut Diagnostics, violations: Vec<Violation>) {
    for v in violations {
        d.error(v.path, format!("core refuses: {}", v.rule), v.text);
    }
}
