//! Data plane: executes the engine's route table.
//!
//! A request is counted in at its endpoint until its response body ends or is dropped. Once [`Gateway::apply`] returns, no
//! new request goes to an endpoint that the table does not have; [`Gateway::idle`] then says when the last one is done.

mod body;
mod gauge;
mod headers;
mod hold;
mod io;
mod lane;
mod load;
mod meter;
mod outlier;
mod pool;
mod proxy;
mod serve;
mod snapshot;
mod source;
mod timer;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
pub use sampan_engine::route::{Listener, RouteTable};
pub use sampan_engine::traffic::Counters;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::gauge::Gauge;
pub use crate::load::Load;
use crate::snapshot::{Registry, Snapshot};
pub use crate::source::Source;

/// What can go wrong in the gateway's own calls.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Another process listens there.
    #[error("{0} is in use by another process")]
    PortInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind { addr: SocketAddr, source: std::io::Error },
    /// The gateway holds a newer table.
    #[error("table {offered} is older than table {held}")]
    OlderTable { held: u64, offered: u64 },
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

/// Limits of time, and where time and chance come from.
#[derive(Debug, Clone)]
pub struct Options {
    /// For a connection to an endpoint.
    pub connect_timeout: Duration,
    /// For the head of a response, from the last byte of the request; also for a client that stops sending its body.
    pub response_timeout: Duration,
    /// For the head of a request. A connection of HTTP/2 without any for so long, or up to twice that, is closed.
    pub header_timeout: Duration,
    /// For passing over endpoints that do not accept connections.
    pub clock: Source<Instant>,
    /// Milliseconds since the epoch.
    pub wall: Source<i64>,
    /// For the cookies of callers.
    pub random: Source<u128>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_mins(1),
            header_timeout: Duration::from_secs(30),
            clock: source::clock(),
            wall: source::wall(),
            random: source::random(),
        }
    }
}

/// Counters of one endpoint, since it first was in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointMetrics {
    pub key: String,
    /// `namespace/application`.
    pub application: String,
    pub revision: String,
    /// Whether the current table has it.
    pub live: bool,
    pub in_flight: usize,
    pub idle_connections: usize,
    pub counters: Counters,
}

/// A moment's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// By key.
    pub endpoints: Vec<EndpointMetrics>,
}

/// The gateway. Clones share it; it runs until [`Gateway::shutdown`].
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
    public: SocketAddr,
}

pub(crate) struct Inner {
    options: Options,
    snapshot: ArcSwap<Snapshot>,
    registry: Mutex<Registry>,
    connections: Arc<Gauge>,
    stage: watch::Sender<Stage>,
    demand: hold::Demand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Running,
    Draining,
    Killed,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Listens for public requests, with an empty table.
    pub async fn bind(public: SocketAddr) -> Result<Self, GatewayError> {
        Self::bind_with(public, Options::default()).await
    }

    /// As [`Gateway::bind`], with other limits.
    pub async fn bind_with(public: SocketAddr, options: Options) -> Result<Self, GatewayError> {
        let inner = Arc::new(Inner {
            options,
            snapshot: ArcSwap::default(),
            registry: Mutex::default(),
            connections: Arc::default(),
            stage: watch::Sender::new(Stage::Running),
            demand: hold::Demand::default(),
        });
        let public = listen(&inner, public, Listener::Public).await?;
        Ok(Self { inner, public })
    }

    /// The address of the first public listener, with its real port.
    pub fn public_addr(&self) -> SocketAddr {
        self.public
    }

    /// Listens on one more address and returns it with its real port.
    pub async fn add_listener(&self, addr: SocketAddr, listener: Listener) -> Result<SocketAddr, GatewayError> {
        listen(&self.inner, addr, listener).await
    }

    /// Swaps the table and returns its generation. From then on no new request goes to an endpoint it does not have.
    pub fn apply(&self, table: Arc<RouteTable>) -> Result<u64, GatewayError> {
        let generation = table.generation;
        let mut registry = self.registry();
        let old = self.inner.snapshot.load_full();
        if generation < old.table.generation {
            return Err(GatewayError::OlderTable { held: old.table.generation, offered: generation });
        }
        let next = Arc::new(registry.enter(&old, table));
        self.inner.snapshot.store(next.clone());
        registry.leave(&old, &next);
        Ok(generation)
    }

    /// The generation of the table in use.
    pub fn generation(&self) -> u64 {
        self.inner.snapshot.load().table.generation
    }

    /// Requests and tunnels at an endpoint, whether or not the table still has it.
    pub fn in_flight(&self, endpoint_key: &str) -> usize {
        self.registry().endpoints.get(endpoint_key).map_or(0, |s| s.in_flight.get())
    }

    /// Resolves when nothing is in flight at the endpoint. Of use after a table without it was applied.
    pub fn idle(&self, endpoint_key: &str) -> impl Future<Output = ()> + Send + use<> {
        let state = self.registry().endpoints.get(endpoint_key).cloned();
        async move {
            if let Some(state) = state {
                state.in_flight.zero().await;
            }
        }
    }

    /// The counters now.
    pub fn metrics(&self) -> Metrics {
        let registry = self.registry();
        let mut endpoints: Vec<_> = registry
            .endpoints
            .iter()
            .map(|(key, state)| EndpointMetrics {
                key: key.to_string(),
                application: state.application.clone(),
                revision: state.revision.clone(),
                live: state.is_live(),
                in_flight: state.in_flight.get(),
                idle_connections: state.idle_connections(),
                counters: state.meter.read(),
            })
            .collect();
        endpoints.sort_by(|a, b| a.key.cmp(&b.key));
        Metrics { endpoints }
    }

    /// Counters of an application (`namespace/application`), by revision. A revision has them while the table or an
    /// endpoint with requests in flight names it.
    pub fn revision_counters(&self, app: &str) -> BTreeMap<String, Counters> {
        let first = (app.to_owned(), String::new());
        let registry = self.registry();
        let mine = registry.revisions.range(first..).take_while(|((application, _), _)| application == app);
        mine.map(|((_, revision), meter)| (revision.clone(), meter.read())).collect()
    }

    /// What was asked of an application (`namespace/application`). `None` while nothing of it was ever in the table.
    pub fn load(&self, app: &str) -> Option<Load> {
        let registry = self.registry();
        let mut load = registry.load(app)?;
        let mine = registry.endpoints.values().filter(|state| state.application == app);
        load.connections = mine.map(|state| state.connections()).sum();
        Some(load)
    }

    /// The same of all applications.
    pub fn loads(&self) -> BTreeMap<String, Load> {
        let registry = self.registry();
        let mut loads: BTreeMap<String, Load> =
            registry.loads.keys().filter_map(|app| Some((app.clone(), registry.load(app)?))).collect();
        for state in registry.endpoints.values() {
            if let Some(load) = loads.get_mut(&state.application) {
                load.connections += state.connections();
            }
        }
        loads
    }

    /// Waits until requests begin to wait for an instance, and says of which applications
    /// (`namespace/application`). Each is named to one caller only, and again with its next request.
    pub async fn next_held(&self) -> BTreeSet<String> {
        self.inner.demand.next().await
    }

    /// Stops accepting, lets requests finish until `deadline` from now, then cuts them. Returns whether all finished.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.inner.stage.send_if_modified(|s| {
            let first = *s == Stage::Running;
            if first {
                *s = Stage::Draining;
            }
            first
        });
        let finished = tokio::time::timeout(deadline, self.inner.connections.zero()).await.is_ok();
        self.inner.stage.send_replace(Stage::Killed);
        self.inner.connections.zero().await;
        finished
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.inner.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(inner: &Arc<Inner>, addr: SocketAddr, kind: Listener) -> Result<SocketAddr, GatewayError> {
    if *inner.stage.borrow() != Stage::Running {
        return Err(GatewayError::ShuttingDown);
    }
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => GatewayError::PortInUse(addr),
        _ => GatewayError::Bind { addr, source },
    };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let inner = inner.clone();
    // Counts as a connection: a finished shutdown has closed the listener too.
    let held = inner.connections.hold();
    tokio::spawn(async move {
        let mut stage = inner.stage.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stage.wait_for(|s| *s != Stage::Running) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let held = inner.connections.hold();
                    tokio::spawn(serve::serve(inner.clone(), stream, peer, kind, held));
                }
                Err(error) => {
                    // Most likely out of descriptors: accepting again at once would only spin.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        drop(listener);
        drop(held);
    });
    Ok(local)
}
