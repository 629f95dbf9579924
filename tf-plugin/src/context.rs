//! What a call knows about its surroundings: cancellation, deadline, progress, the client's abilities.

use crate::log::Secrets;
use crate::proto::tfplugin6::ClientCapabilities;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Surroundings of one call. Cheap to clone; clones share cancellation.
#[derive(Clone)]
pub struct Context {
    call: Arc<Call>,
    deadline: Option<Instant>,
}

struct Call {
    id: String,
    rpc: &'static str,
    type_name: String,
    stop: watch::Receiver<bool>,
    dropped: watch::Receiver<bool>,
    capabilities: ClientCapabilities,
    secrets: Secrets,
}

/// Why [`Context::run`] gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// Terraform asked to stop, the process is to end, or the connection is gone.
    #[error("the operation was interrupted")]
    Cancelled,
    /// The deadline passed.
    #[error("the time for the operation has passed")]
    DeadlinePassed,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.call.id)
            .field("rpc", &self.call.rpc)
            .field("type_name", &self.call.type_name)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context that belongs to no call and is never cancelled: for tests of resources without a server.
    pub fn background() -> Self {
        Self::new("background".to_owned(), "none", String::new(), ClientCapabilities::default(), Secrets::default(), {
            watch::channel(false).1
        })
        .0
    }

    /// A context and the guard that cancels it when it is dropped before [`CallGuard::finish`].
    pub(crate) fn new(
        id: String,
        rpc: &'static str,
        type_name: String,
        capabilities: ClientCapabilities,
        secrets: Secrets,
        stop: watch::Receiver<bool>,
    ) -> (Self, CallGuard) {
        let (sender, dropped) = watch::channel(false);
        let call = Call { id, rpc, type_name, stop, dropped, capabilities, secrets };
        (Self { call: Arc::new(call), deadline: None }, CallGuard(Some(sender)))
    }

    /// Returns when the call should end soon: `StopProvider`, SIGTERM, or a closed connection.
    ///
    /// A call that sees it returns what was reached; its state is saved.
    pub async fn cancelled(&self) {
        tokio::select! {
            () = fired(self.call.stop.clone()) => {}
            () = fired(self.call.dropped.clone()) => {}
        }
    }

    /// Whether [`Context::cancelled`] would return at once.
    pub fn is_cancelled(&self) -> bool {
        *self.call.stop.borrow() || *self.call.dropped.borrow()
    }

    /// The moment at which the call has used its time, if it has a limit.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time left until the deadline, zero when it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// The same call with a deadline this far from now, or the earlier one that it already has.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let at = Instant::now().checked_add(timeout);
        let deadline = match (self.deadline, at) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
        Self { call: self.call.clone(), deadline }
    }

    /// Waits for the future, for cancellation or for the deadline, whichever comes first.
    ///
    /// # Errors
    /// Says which of the two came first; the future is dropped.
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Interrupted> {
        let expired = async {
            match self.deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            value = future => Ok(value),
            () = self.cancelled() => Err(Interrupted::Cancelled),
            () = expired => Err(Interrupted::DeadlinePassed),
        }
    }

    /// Tells a reader of the log how far the call is.
    pub fn progress(&self, text: &str) {
        tracing::info!(target: "progress", progress = true, "{text}");
    }

    /// An id for this call, the same in every log record of it.
    pub fn request_id(&self) -> &str {
        &self.call.id
    }

    /// The name of the remote procedure, such as `ApplyResourceChange`.
    pub fn rpc(&self) -> &'static str {
        self.call.rpc
    }

    /// The resource or data source type of the call; empty when it has none.
    pub fn type_name(&self) -> &str {
        &self.call.type_name
    }

    /// What the client said that it can do.
    pub fn capabilities(&self) -> &ClientCapabilities {
        &self.call.capabilities
    }

    /// Values that are kept out of logs and diagnostics; hold further ones that did not come from the configuration.
    pub fn secrets(&self) -> &Secrets {
        &self.call.secrets
    }
}

/// Returns when the value becomes true; never when the sender is gone without it.
async fn fired(mut signal: watch::Receiver<bool>) {
    if signal.wait_for(|fired| *fired).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Cancels its context when it is dropped early: the client gave up or its connection is gone.
#[derive(Debug)]
pub(crate) struct CallGuard(Option<watch::Sender<bool>>);

impl CallGuard {
    /// The call ended by itself.
    pub(crate) fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            sender.send_replace(true);
        }
    }
}

/// Why the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The host said so through its controller; it kills the process two seconds later.
    Shutdown,
    /// A signal.
    Signal,
    /// Every connection was closed and none came back, or the process that started this one has ended.
    HostGone,
}

/// State that all calls and connections of a server share: who runs, who is to stop.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Replaced by each stop, because a debug process outlives many runs of Terraform.
    stop: Mutex<watch::Sender<bool>>,
    end: watch::Sender<Option<End>>,
    running: watch::Sender<usize>,
    connections: watch::Sender<Connections>,
}

/// Connections that passed the TLS handshake.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connections {
    pub ever: u64,
    pub open: u64,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            stop: Mutex::new(watch::channel(false).0),
            end: watch::channel(None).0,
            running: watch::channel(0).0,
            connections: watch::channel(Connections::default()).0,
        }))
    }

    /// The signal that calls which start now listen to.
    pub(crate) fn stop_signal(&self) -> watch::Receiver<bool> {
        self.0.stop.lock().unwrap_or_else(PoisonError::into_inner).subscribe()
    }

    /// Cancels every running call. Later calls are not touched, unless the process is to end.
    pub(crate) fn stop(&self) {
        let ending = self.0.end.borrow().is_some();
        let mut stop = self.0.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.send_replace(true);
        if !ending {
            *stop = watch::channel(false).0;
        }
    }

    /// Cancels every call, also later ones, and lets the server end. The first cause counts.
    pub(crate) fn end(&self, cause: End) {
        self.0.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(cause);
            first
        });
        self.stop();
    }

    /// Waits until the server is to end.
    pub(crate) async fn ended(&self) -> End {
        let mut end = self.0.end.subscribe();
        loop {
            if let Some(cause) = *end.borrow_and_update() {
                return cause;
            }
            // The sender lives in `self`, so this does not fail.
            let _ = end.changed().await;
        }
    }

    /// Counts a call until the guard is dropped.
    pub(crate) fn call(&self) -> RunningCall {
        self.0.running.send_modify(|n| *n += 1);
        RunningCall(self.clone())
    }

    /// Waits until no call runs.
    pub(crate) async fn idle(&self) {
        let _ = self.0.running.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.0.connections.send_modify(|c| {
            c.ever += 1;
            c.open += 1;
        });
        OpenConnection(self.clone())
    }

    pub(crate) fn connections(&self) -> watch::Receiver<Connections> {
        self.0.connections.subscribe()
    }
}

#[derive(Debug)]
pub(crate) struct RunningCall(Lifecycle);

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.0.running.send_modify(|n| *n -= 1);
    }
}

#[derive(Debug)]
pub(crate) struct OpenConnection(Lifecycle);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.connections.send_modify(|c| c.open -= 1);
    }
}
