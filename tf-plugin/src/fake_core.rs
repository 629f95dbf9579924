//! A client that plays Terraform core: it starts a provider as Terraform does, merges configuration and prior state,
//! and applies core's own rules to every answer.

use crate::context::Lifecycle;
use crate::core_checks::{Violation, check_apply, check_plan};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::json;
use crate::log::Secrets;
use crate::path::Path;
use crate::plan::PlanInput;
use crate::proto::goplugin::Empty;
use crate::proto::goplugin::grpc_controller_client::GrpcControllerClient;
use crate::proto::tfplugin6 as pb;
use crate::proto::tfplugin6::provider_client::ProviderClient;
use crate::proto::{MESSAGE_LIMIT, SchemaFields};
use crate::provider::Provider;
use crate::schema::{Attr, Body, Kind, Nesting, Schema};
use crate::serve::{COOKIE_KEY, COOKIE_VALUE, Connection, Io, router};
use crate::service::{Service, wire};
use crate::tls::self_signed;
use crate::value::{Object, Value};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

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
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The values.
    pub object: Object,
    /// Data beside them.
    pub private: Bytes,
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
    resources: BTreeMap<String, Schema>,
    data_sources: BTreeMap<String, Schema>,
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
        Ok(Self {
            rpc,
            channel,
            schema: read_schema(&fields.provider.unwrap_or_default())?,
            resources: all(fields.resource_schemas)?,
            data_sources: all(fields.data_source_schemas)?,
            child,
            log,
            line,
        })
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
                client_capabilities: None,
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
            config: Some(wire::value(Some(&filled(schema, config)), &schema.object_type())?),
            client_capabilities: Some(capabilities()),
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
        let schema = self.resource_schema(type_name)?;
        let ty = schema.object_type();
        let config = config.map(|config| filled(schema, config));
        let before = prior.map(|state| &state.object);
        let proposed = config.as_ref().map(|config| merge(&schema.body, before, config));
        let rq = pb::plan_resource_change::Request {
            type_name: type_name.to_owned(),
            prior_state: Some(wire::value(before, &ty)?),
            proposed_new_state: Some(wire::value(proposed.as_ref(), &ty)?),
            config: Some(wire::value(config.as_ref(), &ty)?),
            prior_private: prior.map(|state| state.private.clone()).unwrap_or_default(),
            client_capabilities: Some(capabilities()),
            ..Default::default()
        };
        let answer = self.rpc().plan_resource_change(rq).await?.into_inner();
        let mut diagnostics = read_diagnostics(answer.diagnostics);
        let requires_replace: Vec<Path> = answer.requires_replace.iter().map(wire::read_path).collect();
        let planned = wire::object(answer.planned_state.as_ref(), &ty)?;
        if !diagnostics.has_errors() {
            let input = PlanInput { schema, prior: before, proposed: proposed.as_ref(), config: config.as_ref() };
            complain(&mut diagnostics, check_plan(input, planned.as_ref(), &requires_replace));
        }
        Ok(Planned {
            type_name: type_name.to_owned(),
            prior: prior.cloned(),
            config,
            private: answer.planned_private,
            planned,
            requires_replace,
            diagnostics,
        })
    }

    /// Applies a plan.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn apply(&self, plan: &Planned) -> Result<(Option<State>, Diagnostics), FakeError> {
        let schema = self.resource_schema(&plan.type_name)?;
        let ty = schema.object_type();
        let before = plan.prior.as_ref().map(|state| &state.object);
        let rq = pb::apply_resource_change::Request {
            type_name: plan.type_name.clone(),
            prior_state: Some(wire::value(before, &ty)?),
            planned_state: Some(wire::value(plan.planned.as_ref(), &ty)?),
            config: Some(wire::value(plan.config.as_ref(), &ty)?),
            planned_private: plan.private.clone(),
            ..Default::default()
        };
        let answer = self.rpc().apply_resource_change(rq).await?.into_inner();
        let mut d = read_diagnostics(answer.diagnostics);
        let new = wire::object(answer.new_state.as_ref(), &ty)?;
        if !d.has_errors() {
            complain(&mut d, check_apply(schema, plan.planned.as_ref(), new.as_ref()));
        }
        Ok((new.map(|object| State { object, private: answer.private }), d))
    }

    /// Plans and applies; stops at errors of the plan.
    ///
    /// # Errors
    /// A call failed; the provider's own errors are in the result.
    pub async fn change(
        &self,
        type_name: &str,
        prior: Option<&State>,
        config: Option<Object>,
    ) -> Result<(Option<State>, Diagnostics), FakeError> {
        let mut plan = self.plan(type_name, prior, config).await?;
        if plan.diagnostics.has_errors() {
            return Ok((prior.cloned(), plan.diagnostics));
        }
        let (state, d) = self.apply(&plan).await?;
        plan.diagnostics.extend(d);
        Ok((state, plan.diagnostics))
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
            client_capabilities: Some(capabilities()),
            ..Default::default()
        };
        let answer = self.rpc().read_resource(rq).await?.into_inner();
        let new = wire::object(answer.new_state.as_ref(), &schema.object_type())?;
        let state = new.map(|object| State { object, private: answer.private });
        Ok((state, read_diagnostics(answer.diagnostics)))
    }

    /// Imports by id and reads, as Terraform does.
    ///
    /// # Errors
    /// A call failed; the provider's own errors are in the result.
    pub async fn import(&self, type_name: &str, id: &str) -> Result<(Option<State>, Diagnostics), FakeError> {
        let schema = self.resource_schema(type_name)?;
        let rq = pb::import_resource_state::Request {
            type_name: type_name.to_owned(),
            id: id.to_owned(),
            ..Default::default()
        };
        let answer = self.rpc().import_resource_state(rq).await?.into_inner();
        let mut d = read_diagnostics(answer.diagnostics);
        let Some(imported) = answer.imported_resources.into_iter().next() else { return Ok((None, d)) };
        let Some(object) = wire::object(imported.state.as_ref(), &schema.object_type())? else { return Ok((None, d)) };
        let (state, more) = self.read(type_name, &State { object, private: imported.private }).await?;
        d.extend(more);
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
        Ok((state, read_diagnostics(answer.diagnostics)))
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
        let rq = pb::read_data_source::Request { type_name: type_name.to_owned(), config, ..Default::default() };
        let answer = self.rpc().read_data_source(rq).await?.into_inner();
        d.extend(read_diagnostics(answer.diagnostics));
        Ok((wire::object(answer.state.as_ref(), &schema.object_type())?, d))
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

fn capabilities() -> pb::ClientCapabilities {
    pb::ClientCapabilities { write_only_attributes_allowed: true, ..Default::default() }
}

fn complain(d: &mut Diagnostics, violations: Vec<Violation>) {
    for v in violations {
        d.error(v.path, format!("core refuses: {}", v.rule), v.text);
    }
}

/// A channel over one open stream.
async fn channel(io: Box<dyn Io>) -> Result<Channel, FakeError> {
    let io = Mutex::new(Some(io));
    let connector = tower::service_fn(move |_: http::Uri| {
        let io = io.lock().ok().and_then(|mut io| io.take());
        async move { io.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    Ok(Endpoint::from_static("http://localhost").connect_with_connector(connector).await?)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

type Identity = (CertificateDer<'static>, rustls::pki_types::PrivateKeyDer<'static>);

fn client_config(server: CertificateDer<'static>, shown: Option<Identity>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedServer(server)));
    let mut config = match shown {
        Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Takes the certificate of the handshake line and no other.
#[derive(Debug)]
struct PinnedServer(CertificateDer<'static>);

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A configuration in which everything that was left out is null, at every depth.
fn filled(schema: &Schema, config: Object) -> Object {
    let mut all = schema.empty_object();
    for (name, value) in config {
        let value = match schema.find(&name) {
            Some(attr) => filled_attr(attr, value),
            None => value,
        };
        all.set(name, value);
    }
    all
}

fn filled_attr(attr: &Attr, value: Value) -> Value {
    let Some((_, attrs)) = attr.nested_attrs() else { return value };
    let one = |value: Value| match value {
        Value::Object(mut object) => {
            attrs.iter().map(|a| (a.name.clone(), filled_attr(a, object.take(&a.name)))).collect::<Object>().into()
        }
        other => other,
    };
    match value {
        Value::List(items) => Value::list(items.into_iter().map(one)),
        Value::Set(items) => Value::set(items.into_iter().map(one)),
        Value::Map(items) => Value::map(items.into_iter().map(|(key, item)| (key, one(item)))),
        other => one(other),
    }
}

fn read_diagnostics(all: Vec<pb::Diagnostic>) -> Diagnostics {
    let one = |d: pb::Diagnostic| {
        let path = d.attribute.as_ref().map(wire::read_path);
        let made = match d.severity() {
            pb::diagnostic::Severity::Warning => Diagnostic::warning(d.summary, d.detail),
            _ => Diagnostic::error(d.summary, d.detail),
        };
        made.at(path)
    };
    all.into_iter().map(one).collect()
}

/// A schema of the wire without what is not on the wire: defaults, modifiers, validators.
fn read_schema(schema: &pb::Schema) -> Result<Schema, Diagnostic> {
    let empty = pb::schema::Block::default();
    Ok(Schema { version: schema.version, body: read_body(schema.block.as_ref().unwrap_or(&empty))? })
}

fn read_body(block: &pb::schema::Block) -> Result<Body, Diagnostic> {
    let mut body = Body::new().describe(block.description.clone());
    for attr in &block.attributes {
        body = body.attr(read_attribute(attr)?);
    }
    for nested in &block.block_types {
        use pb::schema::nested_block::NestingMode;
        let inner = read_body(nested.block.as_ref().unwrap_or(&pb::schema::Block::default()))?;
        let name = nested.type_name.as_str();
        let (min, max) = (nested.min_items.unsigned_abs(), nested.max_items.unsigned_abs());
        let mut made = match nested.nesting() {
            NestingMode::Single => crate::schema::Block::single(name, inner),
            NestingMode::List => crate::schema::Block::list(name, inner),
            NestingMode::Set => crate::schema::Block::set(name, inner),
            NestingMode::Map => crate::schema::Block::map(name, inner),
            NestingMode::Group => crate::schema::Block::group(name, inner),
            NestingMode::Invalid => return Err(Diagnostic::error("invalid nesting", name)),
        };
        (made.min_items, made.max_items) = (min, max);
        body = body.block(made);
    }
    Ok(body)
}

fn read_attribute(attr: &pb::schema::Attribute) -> Result<Attr, Diagnostic> {
    let kind = match &attr.nested_type {
        Some(_) if !attr.r#type.is_empty() => {
            return Err(Diagnostic::error("Type and NestedType cannot both be set", attr.name.clone()));
        }
        Some(object) => {
            use pb::schema::object::NestingMode;
            let nesting = match object.nesting() {
                NestingMode::Single => Nesting::Single,
                NestingMode::List => Nesting::List,
                NestingMode::Set => Nesting::Set,
                NestingMode::Map => Nesting::Map,
                NestingMode::Invalid => return Err(Diagnostic::error("invalid nesting", attr.name.clone())),
            };
            Kind::Nested(nesting, object.attributes.iter().map(read_attribute).collect::<Result<_, _>>()?)
        }
        None => {
            use crate::value::Type;
            match json::decode_type(&attr.r#type)? {
                Type::String => Kind::String,
                Type::Bool => Kind::Bool,
                Type::Number => Kind::Number,
                Type::List(t) => Kind::List(*t),
                Type::Set(t) => Kind::Set(*t),
                Type::Map(t) => Kind::Map(*t),
                Type::Object(attributes) => Kind::Object(attributes),
                Type::Dynamic | Type::Tuple(_) => Kind::Dynamic,
            }
        }
    };
    let mut made = Attr::new(attr.name.clone(), kind).describe(attr.description.clone());
    made.required = attr.required;
    made.optional = attr.optional;
    made.computed = attr.computed;
    made.sensitive = attr.sensitive;
    made.write_only = attr.write_only;
    Ok(made)
}

/// Terraform's merge: what is configured, else what is computed and was there before. Elements of sets are taken as
/// they are configured.
fn merge(body: &Body, prior: Option<&Object>, config: &Object) -> Object {
    let mut out = config.clone();
    for attr in &body.attrs {
        let before = prior.map_or(&Value::Null, |prior| prior.attr(&attr.name));
        out.set(attr.name.clone(), merge_attr(attr, before, config.attr(&attr.name)));
    }
    out
}

fn merge_attr(attr: &Attr, prior: &Value, config: &Value) -> Value {
    if config.is_null() && attr.computed {
        return prior.clone();
    }
    let Some((_, attrs)) = attr.nested_attrs() else { return config.clone() };
    let one = |prior: &Value, config: &Value| match config {
        Value::Object(object) => {
            let before = prior.as_object();
            let merged = attrs.iter().map(|a| {
                let before = before.map_or(&Value::Null, |prior| prior.attr(&a.name));
                (a.name.clone(), merge_attr(a, before, object.attr(&a.name)))
            });
            merged.collect::<Object>().into()
        }
        other => other.clone(),
    };
    match config {
        Value::List(items) => {
            let before = prior.as_elements().unwrap_or_default();
            Value::List(
                items.iter().enumerate().map(|(i, item)| one(before.get(i).unwrap_or(&Value::Null), item)).collect(),
            )
        }
        Value::Map(items) => {
            let before = prior.as_map();
            let found = |key: &String| before.and_then(|b| b.get(key)).unwrap_or(&Value::Null);
            Value::Map(items.iter().map(|(key, item)| (key.clone(), one(found(key), item))).collect())
        }
        config => one(prior, config),
    }
}
