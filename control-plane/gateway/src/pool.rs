//! Endpoints: their connections, what is in flight, and their counters.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::HeaderValue;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::body::RequestBody;
use crate::gauge::{Gauge, Held};
use crate::io::{Look, Peek, SharedStream};
use crate::load::LoadMeter;
use crate::meter::Meter;
use crate::outlier::Outlier;
use crate::serve::PING;

/// Idle connections kept per endpoint.
const MAX_IDLE: usize = 64;
/// How long a connection may idle before it is not used again.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// How often those that cannot be used are looked for among all.
const SWEEP: Duration = Duration::from_secs(1);

pub(crate) struct EndpointState {
    pub(crate) key: Arc<str>,
    /// `namespace/application`.
    pub(crate) application: String,
    pub(crate) revision: String,
    /// The revision as answers name it.
    pub(crate) header: Option<HeaderValue>,
    pub(crate) meter: Meter,
    pub(crate) revision_meter: Arc<Meter>,
    pub(crate) in_flight: Arc<Gauge>,
    live: AtomicBool,
    /// Lists of the table that have it. Read and written under the registry's lock.
    lists: AtomicUsize,
    outlier: Mutex<Outlier>,
    idle: Mutex<Idle>,
    shared: Mutex<Option<Shared>>,
}

/// Connections that wait for a request, the one used last at the end.
#[derive(Default)]
struct Idle {
    all: Vec<Upstream>,
    swept: Option<Instant>,
}

impl Idle {
    fn sweep(&mut self, now: Instant) {
        if self.all.len() < MAX_IDLE && self.swept.is_some_and(|t| now.duration_since(t) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.all.retain(|u| now.duration_since(u.since) < IDLE_TIMEOUT && !u.sender.is_closed());
    }
}

/// A connection of HTTP/2 to an endpoint, for many requests at once. It ends with its last clone and request.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) sender: http2::SendRequest<RequestBody>,
    addr: SocketAddr,
}

/// One connection to an endpoint.
pub(crate) struct Upstream {
    pub(crate) sender: SendRequest<RequestBody>,
    pub(crate) peek: Peek,
    /// For its requests, one after the other: to move a timer on is cheaper than to make one.
    pub(crate) timer: Pin<Box<Sleep>>,
    addr: SocketAddr,
    since: Instant,
}

/// A request that waits for its answer. Dropped before that: the client has given up, and how long it waited counts
/// as the latency, which would have been longer. Else an endpoint that hangs would look as if nobody asked it.
pub(crate) struct Waiting<'a> {
    state: &'a EndpointState,
    since: Instant,
    is_over: bool,
}

impl Waiting<'_> {
    pub(crate) fn answered(mut self, failed: bool) {
        self.is_over = true;
        self.state.answered(failed, self.since.elapsed());
    }

    pub(crate) fn unanswered(mut self) {
        self.is_over = true;
        self.state.meter.unanswered();
        self.state.revision_meter.unanswered();
    }

    /// It was the client's fault, which says nothing about the endpoint.
    pub(crate) fn forget(mut self) {
        self.is_over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.state.answered(false, self.since.elapsed());
        }
    }
}

impl EndpointState {
    pub(crate) fn new(
        key: Arc<str>,
        application: &str,
        revision: &str,
        revision_meter: Arc<Meter>,
        load: Arc<LoadMeter>,
    ) -> Self {
        Self {
            key,
            application: application.to_owned(),
            revision: revision.to_owned(),
            header: HeaderValue::from_str(revision).ok(),
            meter: Meter::default(),
            revision_meter,
            in_flight: Arc::new(Gauge::of(load)),
            live: AtomicBool::new(true),
            lists: AtomicUsize::new(0),
            outlier: Mutex::default(),
            idle: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// Counts a request in, unless the endpoint has left the table. Counting comes before looking: whoever takes the
    /// endpoint out and then sees nothing in flight can rely on it.
    pub(crate) fn enter(&self) -> Option<Held> {
        let held = self.in_flight.hold();
        self.is_live().then_some(held)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::SeqCst)
    }

    /// One more list has it.
    pub(crate) fn join(&self) {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.live.store(true, Ordering::SeqCst);
    }

    /// A list that had it is gone: whether that was the last one.
    pub(crate) fn is_last_list_gone(&self) -> bool {
        self.lists.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Takes no new request from now on; idle connections are closed.
    pub(crate) fn leave(&self) {
        self.live.store(false, Ordering::SeqCst);
        self.idle().all.clear();
        self.shared().take();
    }

    fn answered(&self, failed: bool, latency: Duration) {
        self.meter.answered(failed, latency);
        self.revision_meter.answered(failed, latency);
        if let Some(load) = self.in_flight.load() {
            load.answered(latency);
        }
    }

    /// Begins to wait for an answer. See [`Waiting`].
    pub(crate) fn wait(&self) -> Waiting<'_> {
        Waiting { state: self, since: Instant::now(), is_over: false }
    }

    pub(crate) fn outlier(&self) -> MutexGuard<'_, Outlier> {
        self.outlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection that the peer has not closed, as far as `look` shows.
    pub(crate) fn take_idle(&self, addr: SocketAddr, look: Look) -> Option<Upstream> {
        let (mut idle, now) = (self.idle(), Instant::now());
        while let Some(upstream) = idle.all.pop() {
            let usable = upstream.addr == addr
                && now.duration_since(upstream.since) < IDLE_TIMEOUT
                && upstream.sender.is_ready()
                && upstream.peek.is_quiet(look);
            if usable {
                return Some(upstream);
            }
        }
        None
    }

    /// Keeps a connection for the next request once it is ready for one.
    pub(crate) fn give_back(self: &Arc<Self>, mut upstream: Upstream) {
        if upstream.sender.is_ready() {
            self.keep(upstream);
            return;
        }
        let state = self.clone();
        tokio::spawn(async move {
            if upstream.sender.ready().await.is_ok() {
                state.keep(upstream);
            }
        });
    }

    fn keep(&self, mut upstream: Upstream) {
        upstream.since = Instant::now();
        let mut idle = self.idle();
        // Under the lock: `leave` clears what was kept before it.
        if self.is_live() {
            idle.sweep(upstream.since);
            if idle.all.len() < MAX_IDLE {
                idle.all.push(upstream);
            }
        }
    }

    /// The connection of HTTP/2, if there is one that takes requests.
    pub(crate) fn take_shared(&self, addr: SocketAddr) -> Option<Shared> {
        self.shared().as_ref().filter(|s| s.addr == addr && !s.sender.is_closed()).cloned()
    }

    pub(crate) fn keep_shared(&self, connection: &Shared) {
        let mut shared = self.shared();
        // Under the lock, as above.
        if self.is_live() {
            *shared = Some(connection.clone());
        }
    }

    fn shared(&self) -> MutexGuard<'_, Option<Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn idle_connections(&self) -> usize {
        self.idle().all.len()
    }

    /// Those in use, and those that idle.
    pub(crate) fn connections(&self) -> u64 {
        (self.in_flight.get() + self.idle_connections()) as u64
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no connection.
pub(crate) enum ConnectError {
    Failed(String),
    Timeout,
}

pub(crate) async fn connect(addr: SocketAddr, timeout: Duration) -> Result<Upstream, ConnectError> {
    let connecting = async {
        let stream = TcpStream::connect(addr).await.map_err(|e| ConnectError::Failed(e.to_string()))?;
        // Only latency is lost without it.
        let _ = stream.set_nodelay(true);
        let (stream, peek) = SharedStream::new(stream);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(256 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| ConnectError::Failed(e.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%addr, %error, "upstream connection ended");
            }
        });
        let timer = Box::pin(tokio::time::sleep(timeout));
        Ok(Upstream { sender, peek, timer, addr, since: Instant::now() })
    };
    tokio::time::timeout(timeout, connecting).await.unwrap_or(Err(ConnectError::Timeout))
}

pub(crate) async fn connect_http2(addr: SocketAddr, timeout: Duration) -> Result<Shared, ConnectError> {
    let connecting = async {
        let stream = TcpStream::connect(addr).await.map_err(|e| ConnectError::Failed(e.to_string()))?;
        // Only latency is lost without it.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| ConnectError::Failed(e.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%addr, %error, "upstream connection ended");
            }
        });
        Ok(Shared { sender, addr })
    };
    tokio::time::timeout(timeout, connecting).await.unwrap_or(Err(ConnectError::Timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_takes_nothing_new() {
        let state = EndpointState::new("k".into(), "n/a", "r", Arc::default(), Arc::default());
        let held = state.enter().unwrap();
        state.leave();
        // A request that still holds the old table.
        assert!(state.enter().is_none());
        assert_eq!(state.in_flight.get(), 1);
        drop(held);
        assert_eq!(state.in_flight.get(), 0);
        state.join();
        assert!(state.enter().is_some());
    }

    #[tokio::test]
    async fn closed_by_the_peer_before_we_noticed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(EndpointState::new("k".into(), "n/a", "r", Arc::default(), Arc::default()));
        let Ok(mut upstream) = connect(addr, Duration::from_secs(5)).await else { panic!("connect") };
        let (peer, _) = listener.accept().await.unwrap();
        upstream.sender.ready().await.unwrap();
        state.give_back(upstream);
        let upstream = state.take_idle(addr, Look::Socket).unwrap();
        state.give_back(upstream);
        // No await from here on: the connection's task cannot have seen the end.
        drop(peer);
        assert!(state.take_idle(addr, Look::Socket).is_none());
        assert_eq!(state.idle_connections(), 0);
    }
}
