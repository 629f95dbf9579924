//! Data plane: executes the engine's route table.
//!
//! A request is counted in at its endpoint until its response body ends or is dropped. Once [`Gateway::apply`] returns, no
//! new request goes to an endpoint that the table does not have; [`Gateway::idle`] then says when the last one is done.

mod body;
mod gauge;
mod headers;
mod io;
mod pool;
mod proxy;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
pub use sampan_engine::route::{Listener, RouteTable};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::gauge::{Gauge, Held};
use crate::pool::{EndpointState, Stats};

const MAX_HEADERS: usize = 128;
const MAX_HEADER_BYTES: usize = 32 * 1024;
const MAX_BUFFER: usize = 64 * 1024;

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

/// Limits of time.
#[derive(Debug, Clone)]
pub struct Options {
    /// For a connection to an endpoint.
    pub connect_timeout: Duration,
    /// For the head of a response, from the last byte of the request; also for a client that stops sending its body.
    pub response_timeout: Duration,
    /// For the head of a request.
    pub header_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_mins(1),
            header_timeout: Duration::from_secs(30),
        }
    }
}

/// Counters of one endpoint, since it first was in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointMetrics {
    pub key: String,
    pub revision: String,
    /// Whether the current table has it.
    pub live: bool,
    pub in_flight: usize,
    pub idle_connections: usize,
    pub counters: Counters,
}

/// Request counters. A failure is a status of 500 or above, or no response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub requests: u64,
    pub failures: u64,
    /// Until the response's head.
    pub latency_micros_sum: u64,
}

/// A moment's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    pub endpoints: Vec<EndpointMetrics>,
    /// By revision; outlives the revision's endpoints while any of them is remembered.
    pub revisions: BTreeMap<String, Counters>,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Running,
    Draining,
    Killed,
}

/// A table with what its requests need.
#[derive(Default)]
pub(crate) struct Snapshot {
    table: Arc<RouteTable>,
    endpoints: HashMap<String, Arc<EndpointState>>,
    counters: HashMap<String, Arc<AtomicU64>>,
}

#[derive(Default)]
struct Registry {
    /// Also those that left and still have requests in flight.
    endpoints: HashMap<String, Arc<EndpointState>>,
    revisions: HashMap<String, Arc<Stats>>,
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
        // Those that had left before and are done; what left with the last table stays readable until now.
        registry.endpoints.retain(|_, state| state.is_live() || state.in_flight.get() > 0);
        let mut next = Snapshot { table: table.clone(), ..Snapshot::default() };
        for rule in table.hosts.values().flat_map(|h| &h.rules) {
            let counter = old.counters.get(&rule.name).cloned().unwrap_or_default();
            next.counters.insert(rule.name.clone(), counter);
            for endpoint in rule.backends.iter().flat_map(|b| &b.endpoints) {
                let state = registry.endpoint(&endpoint.key, &endpoint.revision);
                state.join();
                next.endpoints.insert(endpoint.key.clone(), state);
            }
        }
        let next = Arc::new(next);
        self.inner.snapshot.store(next.clone());
        for (key, state) in &registry.endpoints {
            if !next.endpoints.contains_key(key) {
                state.leave();
            }
        }
        let known: Vec<&str> = registry.endpoints.values().map(|s| s.revision.as_str()).collect();
        let unused: Vec<String> = registry.revisions.keys().filter(|r| !known.contains(&r.as_str())).cloned().collect();
        for revision in unused {
            registry.revisions.remove(&revision);
        }
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
                key: key.clone(),
                revision: state.revision.clone(),
                live: state.is_live(),
                in_flight: state.in_flight.get(),
                idle_connections: state.idle_connections(),
                counters: counters(&state.stats),
            })
            .collect();
        endpoints.sort_by(|a, b| a.key.cmp(&b.key));
        let revisions = registry.revisions.iter().map(|(name, stats)| (name.clone(), counters(stats))).collect();
        Metrics { endpoints, revisions }
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

impl Registry {
    fn endpoint(&mut self, key: &str, revision: &str) -> Arc<EndpointState> {
        if let Some(state) = self.endpoints.get(key) {
            return state.clone();
        }
        let stats = self.revisions.entry(revision.to_owned()).or_default().clone();
        let state = Arc::new(EndpointState::new(revision.to_owned(), stats));
        self.endpoints.insert(key.to_owned(), state.clone());
        state
    }
}

fn counters(stats: &Stats) -> Counters {
    Counters {
        requests: stats.requests.load(Ordering::Relaxed),
        failures: stats.failures.load(Ordering::Relaxed),
        latency_micros_sum: stats.latency_micros.load(Ordering::Relaxed),
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
                    tokio::spawn(serve(inner.clone(), stream, peer, kind, held));
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

/// `_held` is dropped last: whoever waits for it knows that nothing of the connection is left.
async fn serve(inner: Arc<Inner>, stream: TcpStream, peer: SocketAddr, kind: Listener, _held: Held) {
    // Only latency is lost without it.
    let _ = stream.set_nodelay(true);
    let service = {
        let inner = inner.clone();
        service_fn(move |request| {
            let inner = inner.clone();
            async move { Ok::<_, Infallible>(proxy::handle(inner, kind, peer, request).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(inner.options.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut stage = inner.stage.subscribe();
    let mut reached = Stage::Running;
    loop {
        tokio::select! {
            result = &mut connection => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "connection ended");
                }
                return;
            }
            next = stage.wait_for(|s| *s > reached) => {
                reached = next.map_or(Stage::Killed, |s| *s);
                if reached == Stage::Killed {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
