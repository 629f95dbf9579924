//! A table with what its requests need, and what is kept from one to the next: states by endpoint, counters by rule.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sampan_engine::route::{Backend, Endpoints, RouteTable, Rule};

use crate::hold;
use crate::load::{Load, LoadMeter};
use crate::meter::Meter;
use crate::pool::EndpointState;

#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) table: Arc<RouteTable>,
    /// By the address of the list, which the group keeps.
    groups: HashMap<usize, Arc<Group>>,
    counters: HashMap<Arc<str>, Arc<AtomicU64>>,
    pub(crate) rooms: hold::Rooms,
}

/// A list of endpoints, and their states in the same order. Tables with the same list have the same group.
struct Group {
    /// Kept so that no other list comes to be at its address.
    _list: Endpoints,
    states: Vec<Arc<EndpointState>>,
    /// The counters of their revisions.
    meters: Vec<Arc<Meter>>,
}

#[derive(Default)]
pub(crate) struct Registry {
    /// Also those that left and still have requests in flight.
    pub(crate) endpoints: HashMap<Arc<str>, Arc<EndpointState>>,
    /// Those that no table has any more.
    left: Vec<Arc<EndpointState>>,
    /// By application and revision.
    pub(crate) revisions: BTreeMap<(String, String), Arc<Meter>>,
    /// By application.
    pub(crate) loads: BTreeMap<String, Arc<LoadMeter>>,
    pub(crate) rooms: hold::Registry,
}

fn address(list: &Endpoints) -> usize {
    list.as_ptr().addr()
}

fn lists(backend: &Backend) -> impl Iterator<Item = &Endpoints> {
    std::iter::once(&backend.endpoints).chain(backend.gray.as_ref().map(|gray| &gray.endpoints))
}

impl Snapshot {
    /// The states of a list of this table, in its order.
    pub(crate) fn states(&self, list: &Endpoints) -> &[Arc<EndpointState>] {
        self.groups.get(&address(list)).map(|group| group.states.as_slice()).unwrap_or_default()
    }

    /// The number of the next request to a rule.
    pub(crate) fn count(&self, rule: &Rule) -> u64 {
        self.counters.get(&rule.name).map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed))
    }

    fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.table.hosts.values().flat_map(|host| &host.rules).flat_map(|rule| &rule.backends)
    }
}

impl Registry {
    /// What the table's requests need, with what `old` has of it. Endpoints take requests from now on.
    pub(crate) fn enter(&mut self, old: &Snapshot, table: Arc<RouteTable>) -> Snapshot {
        self.forget_done();
        let mut next = Snapshot { table, ..Snapshot::default() };
        next.groups.reserve(old.groups.len());
        next.counters.reserve(old.counters.len());
        let table = next.table.clone();
        for rule in table.hosts.values().flat_map(|host| &host.rules) {
            let counter = || old.counters.get(&rule.name).cloned().unwrap_or_default();
            next.counters.entry(rule.name.clone()).or_insert_with(counter);
            for backend in &rule.backends {
                for list in lists(backend).filter(|list| !list.is_empty()) {
                    let made = || old.groups.get(&address(list)).cloned().unwrap_or_else(|| self.group(backend, list));
                    next.groups.entry(address(list)).or_insert_with(made);
                }
            }
        }
        let Self { rooms, loads, .. } = self;
        next.rooms = rooms.rooms(&table, |application| loads.entry(application.to_owned()).or_default().clone());
        next
    }

    /// What was asked of an application, but for its connections.
    pub(crate) fn load(&self, app: &str) -> Option<Load> {
        let (held, handed) = self.rooms.counts(app);
        Some(self.loads.get(app)?.read(held, handed))
    }

    /// To be called when `next` is in force: what only `old` had takes no new request.
    pub(crate) fn leave(&mut self, old: &Snapshot, next: &Snapshot) {
        for group in old.groups.iter().filter(|(at, _)| !next.groups.contains_key(at)).map(|(_, group)| group) {
            for state in group.states.iter().filter(|state| state.is_last_list_gone()) {
                state.leave();
                self.left.push(state.clone());
            }
        }
        self.forget_revisions(next);
        self.forget_loads(next);
        self.rooms.wake(&next.table);
    }

    /// Those of applications that the table does not name, once nobody writes them. One without an endpoint for a
    /// moment keeps its numbers.
    fn forget_loads(&mut self, next: &Snapshot) {
        if self.loads.values().all(|load| Arc::strong_count(load) > 1) {
            return;
        }
        let named: HashSet<String> = next.backends().map(|b| format!("{}/{}", b.namespace, b.application)).collect();
        self.loads.retain(|name, load| Arc::strong_count(load) > 1 || named.contains(name));
    }

    /// Those that had left before and are done; what left with the last table stays readable until now.
    fn forget_done(&mut self) {
        let endpoints = &mut self.endpoints;
        self.left.retain(|state| {
            let is_done = !state.is_live() && state.in_flight.get() == 0;
            if is_done {
                endpoints.remove(&state.key);
            }
            // One that came back is not among them any more.
            !is_done && !state.is_live()
        });
    }

    fn forget_revisions(&mut self, next: &Snapshot) {
        // Meters by their address: there are as many names as endpoints, and most are the same.
        let mut named: HashSet<*const Meter> = HashSet::new();
        named.extend(next.groups.values().flat_map(|group| &group.meters).map(Arc::as_ptr));
        named.extend(self.left.iter().map(|state| Arc::as_ptr(&state.revision_meter)));
        for (backend, gray) in next.backends().filter_map(|b| Some((b, b.gray.as_ref()?))) {
            // It keeps its counters while none of its instances is ready.
            let name = (format!("{}/{}", backend.namespace, backend.application), gray.revision.to_string());
            named.extend(self.revisions.get(&name).map(Arc::as_ptr));
        }
        self.revisions.retain(|_, meter| named.contains(&Arc::as_ptr(meter)));
    }

    fn group(&mut self, backend: &Backend, list: &Endpoints) -> Arc<Group> {
        let application = format!("{}/{}", backend.namespace, backend.application);
        let states: Vec<_> = list.iter().map(|e| self.endpoint(&e.key, &application, &e.revision)).collect();
        let mut meters: Vec<Arc<Meter>> = Vec::new();
        for state in &states {
            state.join();
            if !meters.iter().any(|meter| Arc::ptr_eq(meter, &state.revision_meter)) {
                meters.push(state.revision_meter.clone());
            }
        }
        Arc::new(Group { _list: list.clone(), states, meters })
    }

    fn endpoint(&mut self, key: &Arc<str>, application: &str, revision: &str) -> Arc<EndpointState> {
        if let Some(state) = self.endpoints.get(key) {
            return state.clone();
        }
        let meter = self.revisions.entry((application.to_owned(), revision.to_owned())).or_default().clone();
        let load = self.loads.entry(application.to_owned()).or_default().clone();
        let state = Arc::new(EndpointState::new(key.clone(), application, revision, meter, load));
        self.endpoints.insert(key.clone(), state.clone());
        state
    }
}
