//! Life of a server: open, serve, stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sampan_engine::route::Listener;
use sampan_engine::runtime::Runtime;
use sampan_gateway::{Gateway, GatewayError};
use sampan_node::{Claim, Node, NodeConfig, NodeError};
use sampan_schema::permission::Role;
use sampan_store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use crate::egress::Allowed;
use crate::reconciler::{self, Note, Parts};
use crate::registry::Registry;
use crate::sample::Sampler;
use crate::{auth, http, retention, serve};

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    pub api: SocketAddr,
    pub gateway: SocketAddr,
    /// Socket of a CRI runtime; none: a private containerd is started.
    pub cri_endpoint: Option<String>,
    /// `None`: `kata`; with `dev`, `runc` where the host has no `kata`.
    pub isolation_class: Option<String>,
    /// `sampan dev`: loopback is allowed, for registries and for what analyses ask, and workloads end with the server.
    pub dev: bool,
    /// Registries (`host[:port]`) that may be anywhere and are spoken to over plain HTTP.
    pub insecure_registries: Vec<String>,
    /// Hosts (`host[:port]`) that analyses may ask although they have a private address.
    pub egress_allowed: Vec<String>,
    /// Subnet of the sandboxes; `None`: one chosen from the data folder's path.
    pub subnet: Option<String>,
    /// Isolation class to runtime handler, beside the usual ones or instead of them.
    pub handlers: BTreeMap<String, String>,
    /// How long a client may take to send the head of a request, and then again its body.
    pub client_timeout: Duration,
}

impl Config {
    /// The usual settings of `sampan server`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            api: SocketAddr::from(([127, 0, 0, 1], 7080)),
            gateway: SocketAddr::from(([127, 0, 0, 1], 7081)),
            cri_endpoint: None,
            isolation_class: None,
            dev: false,
            insecure_registries: Vec::new(),
            egress_allowed: Vec::new(),
            subnet: None,
            handlers: BTreeMap::new(),
            client_timeout: Duration::from_secs(30),
        }
    }

    /// What of it is the node's.
    fn node(&self) -> NodeConfig {
        let mut node = NodeConfig::new(&self.data_dir);
        node.cri_endpoint.clone_from(&self.cri_endpoint);
        node.loopback_registries = self.dev;
        node.insecure_registries.clone_from(&self.insecure_registries);
        node.subnet.clone_from(&self.subnet);
        node.handlers.extend(self.handlers.clone());
        node
    }
}

/// Why a server does not start. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error("database: {0}")]
    Store(#[from] StoreError),
    #[error("API address {address}: {detail}; choose another --api")]
    Bind { address: SocketAddr, detail: String },
    #[error("{0}")]
    Other(String),
}

/// A running server.
pub struct Server {
    pub api: SocketAddr,
    pub gateway: SocketAddr,
    pub token_file: PathBuf,
    /// Lines for the user: what was chosen for them, what is missing.
    pub notices: Vec<String>,
    node: Option<Node>,
    proxy: Gateway,
    notes: mpsc::UnboundedSender<Note>,
    stop_api: Option<oneshot::Sender<()>>,
    tasks: Vec<JoinHandle<()>>,
    /// Ends with the server at any moment.
    tidy: AbortHandle,
    dev: bool,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sampan server, API {}", self.api)
    }
}

impl Server {
    /// Opens everything in the order in which it can fail cheaply: folder, addresses, runtime, database.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let node_config = config.node();
        // With the folder's lock, so the database is opened by one server only.
        let claim = Claim::take(&node_config)?;
        let data_dir = claim.data_dir().to_path_buf();
        let listener = tokio::net::TcpListener::bind(config.api)
            .await
            .map_err(|e| Error::Bind { address: config.api, detail: e.to_string() })?;
        let api = listener.local_addr().map_err(|e| Error::Bind { address: config.api, detail: e.to_string() })?;
        let proxy = Gateway::bind(config.gateway).await?;
        let gateway = proxy.public_addr();
        let node = Node::start_in(claim, node_config).await?;
        match Self::serve(&config, &data_dir, listener, proxy.clone(), Arc::new(node.clone()), Some(&node)).await {
            Ok(mut server) => {
                server.api = api;
                server.gateway = gateway;
                server.node = Some(node);
                Ok(server)
            }
            Err(e) => {
                proxy.shutdown(std::time::Duration::ZERO).await;
                let _ = node.shutdown(config.dev).await;
                Err(e)
            }
        }
    }

    /// The same on another runtime: tests use a fake one. The runtime is not stopped with the server.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start_with(config: Config, runtime: Arc<dyn Runtime>) -> Result<Self, Error> {
        let bind = |e: std::io::Error| Error::Bind { address: config.api, detail: e.to_string() };
        let listener = tokio::net::TcpListener::bind(config.api).await.map_err(bind)?;
        let api = listener.local_addr().map_err(bind)?;
        let proxy = Gateway::bind(config.gateway).await?;
        let mut server = Self::serve(&config, &config.data_dir, listener, proxy, runtime, None).await?;
        server.api = api;
        Ok(server)
    }

    async fn serve(
        config: &Config,
        data_dir: &std::path::Path,
        listener: tokio::net::TcpListener,
        proxy: Gateway,
        runtime: Arc<dyn Runtime>,
        node: Option<&Node>,
    ) -> Result<Self, Error> {
        let store = Store::open(data_dir.join("sampan.db"))?;
        let token_file = data_dir.join("admin.token");
        auth::ensure(&store, &token_file, Role::Admin, "admin")?;
        auth::ensure(&store, &data_dir.join("read-only.token"), Role::ReadOnly, "read-only")?;
        let mut notices = Vec::new();
        let has = |class: &str| runtime.classes().iter().any(|c| c.class == class && c.available);
        let default_class = match &config.isolation_class {
            Some(c) => c.clone(),
            None if config.dev && !has("kata") => {
                notices.push(
                    "isolation: this host has no kata handler, so instances run with class runc and share the host's kernel"
                        .into(),
                );
                "runc".into()
            }
            None => "kata".into(),
        };
        if !has(&default_class) {
            notices.push(format!(
                "isolation: class {default_class} is not available here; applications that use it stay Pending"
            ));
        }
        if config.dev {
            notices.push("loopback is allowed: registries over plain HTTP, and what analyses ask".into());
        }
        match node.and_then(|node| node.bridge_ip().map(|ip| (node, ip))) {
            Some((node, ip)) => {
                let internal = SocketAddr::new(ip, 80);
                if let Err(e) = proxy.add_listener(internal, Listener::Internal).await {
                    notices.push(format!("gateway: no internal listener, internal routes answer nowhere: {e}"));
                }
                let names = store.clone();
                if let Err(e) = node.dns_start(Arc::new(move |ns, app| has_application(&names, ns, app))).await {
                    notices.push(format!(
                        "dns: no responder, new instances ask the host's name servers and find no name under .internal: {e}"
                    ));
                }
            }
            None => notices.push("gateway: the runtime is not ours, so there is no internal listener".into()),
        }
        let allowed = |named: &[String]| Allowed { loopback: config.dev, named: named.to_vec() };
        let registry = Registry::new(allowed(&config.insecure_registries));
        let sampler = Sampler::new(allowed(&config.egress_allowed));
        let (notes, heard) = mpsc::unbounded_channel();
        let parts = Parts {
            store: store.clone(),
            runtime: runtime.clone(),
            gateway: proxy.clone(),
            registry: registry.clone(),
            sampler,
            default_class: default_class.clone(),
        };
        let tidy = tokio::spawn(retention::run(store.clone())).abort_handle();
        let gateway = proxy.public_addr();
        let router = http::router(http::Api {
            store,
            runtime,
            registry,
            notes: notes.clone(),
            default_class,
            gateway,
            body_timeout: config.client_timeout,
        });
        let (stop_api, stopped) = oneshot::channel::<()>();
        let reconcile = tokio::spawn(reconciler::run(parts, heard));
        let head_timeout = config.client_timeout;
        let serve = tokio::spawn(async move {
            let done = async {
                let _ = stopped.await;
            };
            serve::serve(listener, router, head_timeout, done).await;
        });
        Ok(Self {
            api: config.api,
            gateway,
            token_file,
            notices,
            node: None,
            proxy,
            notes,
            stop_api: Some(stop_api),
            tasks: vec![reconcile, serve],
            tidy,
            dev: config.dev,
        })
    }

    /// Stops serving. `sampan dev` ends its workloads and its containerd, `sampan server` leaves them running; the
    /// objects stay either way.
    ///
    /// # Errors
    /// What could not be cleaned up.
    pub async fn stop(mut self) -> Result<(), Error> {
        if let Some(stop) = self.stop_api.take() {
            let _ = stop.send(());
        }
        self.tidy.abort();
        let _ = self.notes.send(Note::Stop);
        self.proxy.shutdown(std::time::Duration::from_secs(5)).await;
        for task in self.tasks.drain(..) {
            let abort = task.abort_handle();
            if tokio::time::timeout(std::time::Duration::from_secs(5), task).await.is_err() {
                abort.abort();
            }
        }
        if let Some(node) = &self.node {
            node.shutdown(self.dev).await?;
        }
        Ok(())
    }
}

/// For the names of instances. A database that cannot be read has none: the answer is remembered for seconds only.
fn has_application(store: &Store, namespace: &str, name: &str) -> bool {
    let read = || store.read::<_, StoreError>(|r| r.object("application", namespace, name));
    match tokio::task::block_in_place(read) {
        Ok(found) => found.is_some(),
        Err(error) => {
            tracing::warn!(namespace, name, %error, "an application cannot be looked up for its name");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_says_reaches_the_node() {
        let mut config = Config::new("/data");
        let node = config.node();
        assert!(!node.loopback_registries && node.insecure_registries.is_empty() && node.subnet.is_none());
        config.dev = true;
        config.insecure_registries = vec!["10.0.0.1:5000".into()];
        config.subnet = Some("10.9.0.0/20".into());
        config.handlers = [("kata".into(), "kata-qemu".into()), ("wasm".into(), "spin".into())].into();
        let node = config.node();
        assert!(node.loopback_registries);
        assert_eq!(node.insecure_registries, config.insecure_registries);
        assert_eq!(node.subnet, config.subnet);
        let handlers: Vec<_> = node.handlers.iter().map(|(c, h)| format!("{c}={h}")).collect();
        assert_eq!(handlers, ["gvisor=runsc", "kata=kata-qemu", "runc=runc", "wasm=spin"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn names_are_those_of_stored_applications() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("sampan.db")).unwrap();
        let new = |kind: &str, namespace: &str, name: &str| sampan_store::NewObject {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            uid: name.into(),
            spec: serde_json::Value::Null,
            private: serde_json::Value::Null,
            status: serde_json::Value::Null,
        };
        for (kind, name) in [("application", "web"), ("route", "api")] {
            store.write::<_, StoreError>(|tx| tx.insert_object(new(kind, "shop", name), 1)).unwrap();
        }
        assert!(has_application(&store, "shop", "web"));
        for (namespace, name) in [("shop", "api"), ("other", "web"), ("", "web"), ("shop", "")] {
            assert!(!has_application(&store, namespace, name), "{namespace}/{name}");
        }
    }
}
