//! CRI v1 client and private containerd: runs sandboxes and containers.
//!
//! A [`Node`] carries out single steps for the engine and reports what it sees; it decides nothing. Objects without
//! this node's label are never touched, since a runtime may be shared.

mod cgroup;
mod config;
mod container;
mod containerd;
mod cri;
mod dns;
mod host;
mod identity;
mod image;
mod isolation;
mod logs;
mod network;
pub mod oci;
mod probe;
mod reason;
mod sandbox;
mod teardown;
mod usage;

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sampan_engine::runtime::{
    ClassStatus, ContainerSpec, ExecOutput, Isolation, LogLine, LogQuery, Login, ObservedSandbox, ProbeReport, Probes,
    Runtime, RuntimeError, Sandbox, SandboxSpec, Usage, Work,
};
use tokio::sync::Mutex;

pub use config::{NodeConfig, NodeError, Overhead};
/// The bare client. Public for benchmarks only.
#[doc(hidden)]
pub use cri::Cri;
pub use dns::{DnsError, KnownApplication};
pub use host::{HostCheck, host_report};
pub use isolation::{Kernel, compare as isolation_compare};
pub use teardown::{leftovers, remains, teardown};

use containerd::Containerd;
use identity::{Identity, Subnet};
use image::{OwnImage, Pulls};

/// Generated from `proto/cri.proto`. Public for tests only.
#[doc(hidden)]
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod proto {
    tonic::include_proto!("runtime.v1");
}

/// Generated from `proto/health.proto`.
#[allow(clippy::all, clippy::pedantic, missing_docs, dead_code)]
mod health {
    tonic::include_proto!("grpc.health.v1");
}

pub(crate) struct Inner {
    pub(crate) identity: Identity,
    pub(crate) config: NodeConfig,
    pub(crate) cri: Cri,
    pub(crate) private: Option<Containerd>,
    /// Set once the checks at start are done.
    pub(crate) classes: OnceLock<Vec<ClassStatus>>,
    pub(crate) systemd_cgroup: bool,
    pub(crate) dns_servers: Vec<String>,
    pub(crate) tools_image: String,
    /// Last status per container id; valid while the listed state is the same.
    pub(crate) statuses: Mutex<HashMap<String, proto::ContainerStatus>>,
    /// Address per sandbox id; it never changes.
    pub(crate) addresses: Mutex<HashMap<String, IpAddr>>,
    pulls: Pulls,
    watches: probe::Watches,
    runtime: tokio::runtime::Handle,
    /// That of the bridge. `None` with a runtime that is not ours.
    subnet: Option<Subnet>,
    /// Set once names are answered on the bridge.
    dns: OnceLock<dns::Responder>,
    /// Held as long as the node lives.
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watches.forget_all();
    }
}

/// One node: implements [`Runtime`]. Cheap to clone. Dropping it leaves containerd and workloads running.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

/// The right to run a node in a data folder, and so the first thing that a start takes: who has no right, or comes
/// second, hears of that and not of what follows from it.
#[derive(Debug)]
pub struct Claim {
    identity: Identity,
    lock: File,
}

impl Claim {
    /// # Errors
    /// Not root although a private containerd needs it; the folder cannot be written, or is another node's.
    pub fn take(config: &NodeConfig) -> Result<Self, NodeError> {
        if config.cri_endpoint.is_none() && !rustix::process::geteuid().is_root() {
            return Err(NodeError::NotRoot);
        }
        Self::of(&config.data_dir)
    }

    /// Makes the data folder and takes its lock. Names are made from the path without links.
    pub(crate) fn of(path: &Path) -> Result<Self, NodeError> {
        let broken = |error: std::io::Error| NodeError::DataDir { path: path.to_owned(), detail: error.to_string() };
        // Tokens, secrets and logs of applications are inside.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(broken)?;
        let identity = Identity::new(&path.canonicalize().map_err(broken)?);
        let lock = File::create(identity.lock_file()).map_err(broken)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { identity, lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(NodeError::DataDirLocked { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(error)) => Err(broken(error)),
        }
    }

    /// The data folder, without links.
    pub fn data_dir(&self) -> &Path {
        &self.identity.data_dir
    }
}

impl Node {
    /// Starts or adopts the container runtime, imports our image and checks every class. Workloads of an earlier
    /// run are left as they are: [`Runtime::list`] shows them.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        Self::start_in(Claim::take(&config)?, config).await
    }

    /// The same in a folder that was claimed before.
    pub async fn start_in(claim: Claim, config: NodeConfig) -> Result<Self, NodeError> {
        let Claim { identity, lock } = claim;
        let own_image = OwnImage::build()?;
        let (cri, private, subnet) = match &config.cri_endpoint {
            Some(endpoint) => {
                let cri = Cri::new(Path::new(endpoint.trim_start_matches("unix://")));
                cri.wait_ready(Duration::from_secs(15)).await.map_err(|error| NodeError::CriUnavailable {
                    endpoint: endpoint.clone(),
                    detail: error.to_string(),
                })?;
                // Without our image the runtime still serves class `runc`; the class checks will tell.
                if let Err(error) = containerd::import_missing(&cri, &own_image).await {
                    tracing::warn!(%error, "our image is not in the container runtime");
                }
                (cri, None, None)
            }
            None => {
                let private = Containerd::start(&identity, &config, &own_image).await?;
                let cri = Cri::new(&identity.socket());
                if let Err(error) = containerd::import_missing(&cri, &own_image).await {
                    private.stop().await;
                    return Err(error);
                }
                let subnet = network::choose_subnet(&identity, config.subnet.as_deref())?;
                (cri, Some(private), Some(subnet))
            }
        };
        let status = cri.status(proto::StatusRequest { verbose: true }).await.map_err(|error| {
            NodeError::CriUnavailable { endpoint: cri.socket.display().to_string(), detail: error.to_string() }
        })?;
        let handlers = sandbox::configured_handlers(&status);
        let used = |name: &String| config.handlers.values().any(|handler| handler == name);
        let systemd_cgroup =
            handlers.as_ref().is_some_and(|handlers| handlers.iter().any(|(name, systemd)| *systemd && used(name)));
        let dns_servers = if config.dns_servers.is_empty() {
            sandbox::host_dns(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
        } else {
            config.dns_servers.clone()
        };
        let inner = Inner {
            identity,
            cri,
            private,
            classes: OnceLock::new(),
            systemd_cgroup,
            dns_servers,
            tools_image: own_image.reference,
            statuses: Mutex::default(),
            addresses: Mutex::default(),
            pulls: Pulls::new(),
            watches: probe::Watches::default(),
            runtime: tokio::runtime::Handle::current(),
            subnet,
            dns: OnceLock::new(),
            config,
            _lock: lock,
        };
        inner.check_classes(handlers.as_ref()).await;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Address of the bridge, by which sandboxes reach the host. `None` with a runtime that is not ours.
    pub fn bridge_ip(&self) -> Option<IpAddr> {
        self.inner.subnet.map(|subnet| IpAddr::V4(subnet.gateway()))
    }

    /// Ends the probes and the answering of names. With `remove_workloads` all sandboxes of this node go too, and then
    /// the private containerd and its bridge; otherwise they stay and the next start adopts them.
    pub async fn shutdown(&self, remove_workloads: bool) -> Result<(), NodeError> {
        let inner = &self.inner;
        inner.watches.forget_all();
        if let Some(responder) = inner.dns.get() {
            responder.stop().await;
        }
        if !remove_workloads {
            return Ok(());
        }
        let failed = |error: RuntimeError| NodeError::Teardown { what: "sandboxes".into(), detail: error.to_string() };
        let items = inner.sandboxes(&[]).await.map_err(failed)?;
        let removals = items.iter().map(|item| inner.sandbox_end_listed(item));
        let results: Vec<_> = futures_util::StreamExt::collect(futures_util::StreamExt::buffer_unordered(
            futures_util::stream::iter(removals),
            4,
        ))
        .await;
        if let Some(private) = &inner.private {
            private.stop().await;
            cgroup::remove(&inner.identity.cgroup_root()).await;
            network::delete_interface(&inner.identity.bridge())
                .await
                .map_err(|detail| NodeError::Teardown { what: "the bridge".into(), detail })?;
        }
        results.into_iter().collect::<Result<(), _>>().map_err(failed)
    }

    /// Compares the kernel inside a sandbox with the host's, whatever its class. For conformance tests.
    pub async fn isolation_probe(&self, sandbox_id: &str, spec: &SandboxSpec) -> Result<Isolation, RuntimeError> {
        self.inner.isolation_compare(sandbox_id, spec).await
    }

    /// Removes an image from the node. Gone already is success.
    pub async fn image_remove(&self, reference: &str) -> Result<(), RuntimeError> {
        self.inner.cri.remove_image(reference).await
    }

    /// Imports an OCI archive under a whole name, without a registry. Such images are found by name or id only.
    pub async fn image_import(&self, reference: &str, archive: Vec<u8>) -> Result<(), NodeError> {
        containerd::import(&self.inner.cri.socket, reference, archive).await
    }
}

impl Inner {
    /// Configured is not enough: each class runs one throw-away sandbox. For ours this also makes the bridge.
    async fn check_classes(&self, handlers: Option<&std::collections::BTreeMap<String, bool>>) {
        if let Ok(old) = self.sandboxes(&[(sandbox::LABEL_INTERNAL, "true".into())]).await {
            for item in &old {
                let _ = self.sandbox_end_listed(item).await;
            }
        }
        let mut classes = Vec::new();
        for (class, handler) in &self.config.handlers {
            let mut status =
                ClassStatus { class: class.clone(), handler: handler.clone(), available: true, reason: String::new() };
            if handlers.is_some_and(|handlers| !handlers.contains_key(handler)) {
                let kind = self.config.runtime_types.get(handler).cloned();
                let kind = kind.unwrap_or_else(|| containerd::usual_runtime_type(class, handler));
                status.available = false;
                status.reason = format!(
                    "isolation class {class} is absent: the container runtime has no handler `{handler}`; install `{}`",
                    containerd::shim_of(&kind)
                );
            } else if let Err(error) = self.check_class(class).await {
                status.available = false;
                status.reason = format!("isolation class {class} is broken: {error}");
            }
            tracing::info!(class, handler, available = status.available, reason = %status.reason, "isolation class");
            classes.push(status);
        }
        let _ = self.classes.set(classes);
    }

    async fn check_class(&self, class: &str) -> Result<(), RuntimeError> {
        let spec = sandbox::check_spec(class);
        let made = self.sandbox_make(&spec, true).await?;
        self.sandbox_end(&made.id, &spec).await
    }
}

impl Runtime for Node {
    fn classes(&self) -> Vec<ClassStatus> {
        self.inner.classes.get().cloned().unwrap_or_default()
    }

    fn node(&self) -> String {
        self.inner.identity.node()
    }

    fn sandbox_run(&self, spec: SandboxSpec) -> Work<'_, Result<Sandbox, RuntimeError>> {
        Box::pin(async move { self.inner.sandbox_make(&spec, false).await })
    }

    fn sandbox_remove(&self, id: String, spec: SandboxSpec) -> Work<'_, Result<(), RuntimeError>> {
        Box::pin(async move { self.inner.sandbox_end(&id, &spec).await })
    }

    fn container_create(
        &self,
        sandbox_id: String,
        sandbox: SandboxSpec,
        spec: ContainerSpec,
    ) -> Work<'_, Result<String, RuntimeError>> {
        Box::pin(async move { self.inner.container_make(&sandbox_id, &sandbox, &spec).await })
    }

    fn container_start(&self, id: String) -> Work<'_, Result<(), RuntimeError>> {
        Box::pin(async move { self.inner.cri.start_container(&id).await })
    }

    fn container_stop(&self, id: String, grace_seconds: u64) -> Work<'_, Result<(), RuntimeError>> {
        Box::pin(async move { self.inner.cri.stop_container(&id, grace_seconds).await })
    }

    fn container_remove(&self, id: String) -> Work<'_, Result<(), RuntimeError>> {
        Box::pin(async move {
            self.inner.watches.forget(&id);
            self.inner.cri.remove_container(&id).await
        })
    }

    fn list(&self) -> Work<'_, Result<Vec<ObservedSandbox>, RuntimeError>> {
        Box::pin(self.inner.observe_all())
    }

    fn observe(&self, sandbox_id: String) -> Work<'_, Result<Option<ObservedSandbox>, RuntimeError>> {
        Box::pin(async move { self.inner.observe_one(&sandbox_id).await })
    }

    fn image_pull(&self, reference: String, login: Option<Login>) -> Work<'_, Result<(), RuntimeError>> {
        let inner = &self.inner;
        let ours = inner.private.is_some().then_some(&inner.identity);
        Box::pin(inner.pulls.pull(&inner.cri, &inner.config, ours, reference, login))
    }

    fn image_id(&self, reference: String) -> Work<'_, Result<Option<String>, RuntimeError>> {
        Box::pin(async move { image::image_id(&self.inner.cri, &reference).await })
    }

    fn probes_watch(
        &self,
        container_id: String,
        ip: IpAddr,
        probes: Probes,
        begun: ProbeReport,
        report: Box<dyn Fn(ProbeReport) + Send + Sync>,
    ) {
        let inner = &self.inner;
        inner.watches.watch(&inner.runtime, inner.cri.clone(), container_id, ip, probes, begun, report);
    }

    fn probes_forget(&self, container_id: &str) {
        self.inner.watches.forget(container_id);
    }

    fn exec(
        &self,
        container_id: String,
        command: Vec<String>,
        timeout_seconds: u64,
    ) -> Work<'_, Result<ExecOutput, RuntimeError>> {
        Box::pin(async move {
            let answer = self.inner.cri.exec_sync(&container_id, command, timeout_seconds).await?;
            Ok(ExecOutput { stdout: answer.stdout, stderr: answer.stderr, exit_code: answer.exit_code })
        })
    }

    fn usage(&self) -> Work<'_, Result<Vec<Usage>, RuntimeError>> {
        Box::pin(self.inner.usage())
    }

    fn logs(&self, query: LogQuery) -> Work<'_, Result<(Vec<LogLine>, u64), RuntimeError>> {
        Box::pin(async move {
            let names = [&query.namespace, &query.application, &query.instance, &query.container];
            if !names.iter().all(|name| sandbox::is_plain_name(name)) {
                return Err(RuntimeError::permanent("Invalid", "a name of the log query is not a plain name"));
            }
            let path = self
                .inner
                .identity
                .log_directory(&query.namespace, &query.application, &query.instance)
                .join(container::log_file(&query.container, query.attempt));
            let read = tokio::task::spawn_blocking(move || match query.tail {
                Some(count) => logs::tail(&path, count, query.max_bytes),
                None => logs::read(&path, query.offset, query.max_bytes),
            });
            match read.await {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => Err(RuntimeError::transient("LogUnreadable", error.to_string())),
                Err(error) => Err(RuntimeError::transient("LogUnreadable", error.to_string())),
            }
        })
    }
}
