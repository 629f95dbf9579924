//! Requests that wait for the first instance of an application.
//!
//! Of a held request the head is kept; its body stays in the socket. It leaves for an endpoint of the table in force
//! and for nothing else, so it is sent once. All of its waiting is under one deadline.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use sampan_engine::route::{Buffer, RouteTable};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::gauge::{Gauge, Held};
use crate::io::Peek;
use crate::load::LoadMeter;
use crate::proxy::{Answer, no_endpoint, problem};
use crate::{Inner, Snapshot, Stage};

/// Until an endpoint is tried again that did not take a held request.
const AGAIN: Duration = Duration::from_millis(50);

/// Where the requests of one application wait.
pub(crate) struct Room {
    held: Arc<Gauge>,
    /// There is an endpoint, or no reason to wait any more.
    changed: Notify,
    /// Requests that left for an endpoint.
    handed: AtomicU64,
}

impl Room {
    fn new(load: Arc<LoadMeter>) -> Self {
        Self { held: Arc::new(Gauge::of(load)), changed: Notify::new(), handed: AtomicU64::new(0) }
    }
}

/// A place in a room. Given back when the request leaves, whatever the reason.
struct Slot {
    room: Arc<Room>,
    application: String,
    _held: Held,
}

/// The rooms of a table, by `namespace/application`.
pub(crate) type Rooms = HashMap<String, (Arc<Room>, Buffer)>;

/// Rooms across tables.
#[derive(Default)]
pub(crate) struct Registry {
    rooms: BTreeMap<String, Arc<Room>>,
}

impl Registry {
    /// The rooms of the next table. Those of no table stay while somebody is in them, and are woken by [`Self::wake`].
    pub(crate) fn rooms(&mut self, table: &RouteTable, mut load: impl FnMut(&str) -> Arc<LoadMeter>) -> Rooms {
        self.rooms.retain(|name, room| table.buffers.contains_key(name) || room.held.get() > 0);
        let mut next = Rooms::new();
        for (name, buffer) in &table.buffers {
            let room = self.rooms.entry(name.clone()).or_insert_with(|| Arc::new(Room::new(load(name))));
            next.insert(name.clone(), (room.clone(), *buffer));
        }
        next
    }

    /// After the table is in force: lets those look again who may find something else now.
    pub(crate) fn wake(&self, table: &RouteTable) {
        let waiting: BTreeMap<&str, &Arc<Room>> =
            self.rooms.iter().filter(|(_, room)| room.held.get() > 0).map(|(name, room)| (&**name, room)).collect();
        if waiting.is_empty() {
            return;
        }
        let served: BTreeSet<String> = table
            .hosts
            .values()
            .flat_map(|host| host.rules.iter().flat_map(|rule| &rule.backends))
            .filter(|b| !b.endpoints.is_empty() || b.gray.as_ref().is_some_and(|g| !g.endpoints.is_empty()))
            .map(|b| format!("{}/{}", b.namespace, b.application))
            .collect();
        for (name, room) in waiting {
            if served.contains(name) || !table.buffers.contains_key(name) {
                room.changed.notify_waiters();
            }
        }
    }

    /// Held now, and handed over so far.
    pub(crate) fn counts(&self, application: &str) -> (u64, u64) {
        let counts = |room: &Arc<Room>| (room.held.get() as u64, room.handed.load(Ordering::Acquire));
        self.rooms.get(application).map_or((0, 0), counts)
    }
}

/// Applications for which requests began to wait, for the control plane.
#[derive(Default)]
pub(crate) struct Demand {
    applications: Mutex<BTreeSet<String>>,
    some: Notify,
}

impl Demand {
    fn add(&self, application: &str) {
        let mut applications = self.applications.lock().unwrap_or_else(PoisonError::into_inner);
        if !applications.contains(application) {
            applications.insert(application.to_owned());
        }
        drop(applications);
        self.some.notify_one();
    }

    pub(crate) async fn next(&self) -> BTreeSet<String> {
        loop {
            let notified = self.some.notified();
            let found = std::mem::take(&mut *self.applications.lock().unwrap_or_else(PoisonError::into_inner));
            if !found.is_empty() {
                return found;
            }
            notified.await;
        }
    }
}

/// How long a request may still be held; nothing before it is.
#[derive(Default)]
pub(crate) struct Patience {
    slot: Option<Slot>,
    deadline: Option<Instant>,
}

impl Patience {
    /// Holds the request until the table may have an endpoint for it.
    ///
    /// # Errors
    /// The answer, when it is not to be held (any longer).
    pub(crate) async fn wait(
        &mut self,
        inner: &Inner,
        snapshot: &Snapshot,
        application: &str,
        client: Option<&Peek>,
    ) -> Result<(), Answer> {
        let Some((room, buffer)) = snapshot.rooms.get(application) else { return Err(no_endpoint()) };
        if self.slot.as_ref().is_none_or(|slot| slot.application != application) {
            let Some(held) = room.held.try_hold(buffer.requests as usize) else {
                let text = "no instance is ready, and as many requests as may wait for one do so already";
                return Err(unavailable("buffer_full", text, "1"));
            };
            self.slot = Some(Slot { room: room.clone(), application: application.to_owned(), _held: held });
            inner.demand.add(application);
        }
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + buffer.timeout());
        let mut changed = std::pin::pin!(room.changed.notified());
        changed.as_mut().enable();
        // A newer table than the one looked at wakes nobody who was not waiting yet.
        if inner.snapshot.load().table.generation != snapshot.table.generation {
            return Ok(());
        }
        let mut stage = inner.stage.subscribe();
        let gone = async {
            match client {
                Some(client) => client.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => Ok(()),
            () = sleep_until(deadline) => {
                Err(unavailable("activation_timeout", "no instance became ready in the time that a request may wait", "5"))
            }
            _ = stage.wait_for(|s| *s > Stage::Running) => {
                Err(unavailable("shutting_down", "the gateway stops, and no instance was ready for the request", "1"))
            }
            // Nobody reads the answer.
            () = gone => Err(unavailable("client_gone", "the client has closed the connection", "1")),
        }
    }

    /// The request came to an endpoint: its place is free.
    pub(crate) fn handed(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.room.handed.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether to route a request again that was held and that the endpoint has not taken: it may be ready a moment
    /// before it accepts so many connections at once.
    pub(crate) async fn again(&mut self) -> bool {
        let Some(deadline) = self.deadline.filter(|deadline| Instant::now() + AGAIN < *deadline) else { return false };
        sleep(AGAIN).await;
        Instant::now() < deadline
    }
}

fn unavailable(code: &str, detail: &str, retry_after: &'static str) -> Answer {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, code, detail);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
    // Its body was not read.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
