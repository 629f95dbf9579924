//! Gateways of their own: each gets a table some time after it was offered, may die, and comes back with what it had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sampan_engine::route::{Backend, RouteTable};
use sampan_engine::traffic::Counters;

use super::world::{World, lock};
use crate::reconciler::Gateways;

/// A request takes at most so long after its endpoint has left the table.
const LINGERS_MS: i64 = 700;

#[derive(Debug, Clone, Default)]
struct Member {
    table: Arc<RouteTable>,
    /// On its way, with the time of arrival.
    coming: Option<(i64, Arc<RouteTable>)>,
    dead: bool,
    /// Came back and has not fetched the newest table: it sends nothing.
    fetching: bool,
}

/// All gateways of the world.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    members: Vec<Member>,
    /// A table needs at most so long.
    pub lag_ms: i64,
    /// No table arrives.
    pub deaf: bool,
    newest: Arc<RouteTable>,
    /// The present server has offered it.
    fetchable: bool,
    /// When an endpoint left the last table.
    left: BTreeMap<String, i64>,
    traffic: BTreeMap<String, Counters>,
    counted_at: i64,
    /// Revisions whose requests fail.
    pub bad: BTreeSet<String>,
    /// No requests at all.
    pub silent: bool,
    /// So many instances of `shop/cart` have to carry requests.
    pub floor: usize,
}

fn backends(table: &RouteTable) -> impl Iterator<Item = &Backend> {
    table.hosts.values().flat_map(|h| &h.rules).flat_map(|r| &r.backends)
}

fn keys(table: &RouteTable) -> BTreeSet<String> {
    let of = |b: &Backend| {
        let gray = b.gray.iter().flat_map(|g| g.endpoints.iter());
        b.endpoints.iter().chain(gray).map(|e| e.key.to_string()).collect::<Vec<_>>()
    };
    backends(table).flat_map(of).collect()
}

impl Fleet {
    pub fn new(members: usize) -> Self {
        Self { members: vec![Member::default(); members], lag_ms: 50, ..Self::default() }
    }

    /// What a dead server has sent and has not arrived never does, and nobody can fetch it.
    pub fn server_died(&mut self) {
        self.fetchable = false;
        let newest = self.members.iter().max_by_key(|m| m.table.generation);
        self.newest = newest.map(|m| m.table.clone()).unwrap_or_default();
        for m in &mut self.members {
            m.coming = None;
        }
    }

    fn arrive(&mut self, now: i64) {
        let deaf = self.deaf;
        for m in self.members.iter_mut().filter(|m| !m.dead && !deaf) {
            if let Some((_, table)) = m.coming.take_if(|(at, _)| *at <= now)
                && table.generation >= m.table.generation
            {
                // One that fetches sends nothing, so nothing lingers.
                let before = if m.fetching { BTreeSet::new() } else { keys(&m.table) };
                for key in before.difference(&keys(&table)) {
                    self.left.insert(key.clone(), now);
                }
                m.table = table;
                m.fetching = false;
            }
        }
    }

    fn serving(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| !m.dead && !m.fetching)
    }

    pub fn dies(&mut self, at: usize) {
        let n = self.members.len();
        self.members[at % n].dead = true;
    }

    /// All that are dead come back with the table they had, and fetch the newest.
    pub fn return_all(&mut self, now: i64) {
        let coming = self.fetchable.then(|| (now + self.lag_ms, self.newest.clone()));
        for m in self.members.iter_mut().filter(|m| m.dead) {
            (m.dead, m.fetching, m.coming) = (false, true, coming.clone());
        }
    }

    /// Whether a gateway still sends requests there.
    pub fn sends_to(&mut self, key: &str, now: i64) -> bool {
        self.arrive(now);
        self.serving().any(|m| keys(&m.table).contains(key))
    }

    /// Whether all that send requests know the host; `None` when they differ.
    pub fn know(&mut self, host: &str, now: i64) -> Option<bool> {
        self.arrive(now);
        let mut known = self.serving().map(|m| m.table.hosts.contains_key(host));
        let first = known.next()?;
        known.all(|k| k == first).then_some(first)
    }

    fn lingers(&self, key: &str, now: i64) -> bool {
        self.left.get(key).is_some_and(|at| now < at + LINGERS_MS)
    }

    /// Endpoints of the newest table that `shop/cart` has, by revision; and the weight of gray.
    pub fn carrying(&self) -> (Vec<String>, u32) {
        let backend = self.newest.hosts.get("cart.shop.internal").and_then(|h| h.rules.first()?.backends.first());
        let Some(b) = backend else { return (Vec::new(), 0) };
        let gray = b.gray.iter().flat_map(|g| g.endpoints.iter());
        let mut all: Vec<String> = b.endpoints.iter().chain(gray).map(|e| e.revision.to_string()).collect();
        all.sort();
        (all, b.gray.as_ref().map_or(0, |g| g.weight))
    }

    /// Whether the newest table divides requests.
    pub fn divides(&self) -> bool {
        backends(&self.newest).any(|b| b.gray.is_some())
    }
}

/// The fleet as the server knows it.
pub struct Offered {
    world: Arc<World>,
}

impl Offered {
    pub fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    fn check(&self, table: &RouteTable) {
        let machine = lock(&self.world.machine);
        for rule in table.hosts.values().flat_map(|h| &h.rules) {
            let sum: u32 = rule.backends.iter().map(|b| b.weight).sum();
            if sum != 10_000 && sum != 0 {
                self.world.wrong(format!("the weights of {} sum to {sum}", rule.name));
            }
            for b in &rule.backends {
                let gray = b.gray.as_ref();
                if gray.is_some_and(|g| g.weight > 10_000) {
                    self.world.wrong(format!("gray of {} has more than all", rule.name));
                }
                for e in b.endpoints.iter().chain(gray.into_iter().flat_map(|g| g.endpoints.iter())) {
                    if let Some(text) = machine.unfit(&e.key, &b.namespace, &b.application) {
                        self.world.wrong(format!("{} leads to {}: {text}", rule.name, e.key));
                    }
                }
            }
        }
    }
}

impl Gateways for Offered {
    fn apply(&self, table: Arc<RouteTable>) {
        if self.world.is_killed() {
            return;
        }
        self.world.tell(format!("table {}: {:?}", table.generation, keys(&table)));
        self.check(&table);
        let now = self.world.steady_ms();
        let lag = lock(&self.world.fleet).lag_ms;
        let lags: Vec<i64> = (0..8).map(|_| self.world.below(lag as u64 + 1) as i64).collect();
        let mut fleet = lock(&self.world.fleet);
        fleet.arrive(now);
        for (m, lag) in fleet.members.iter_mut().zip(lags) {
            m.coming = Some((now + lag, table.clone()));
        }
        (fleet.newest, fleet.fetchable) = (table, true);
        let (carrying, floor) = (fleet.carrying().0.len(), fleet.floor);
        drop(fleet);
        if carrying < floor {
            self.world.wrong(format!("{carrying} instances carry requests, {floor} is the least"));
        }
    }

    fn newest(&self) -> u64 {
        lock(&self.world.fleet).members.iter().map(|m| m.table.generation).max().unwrap_or(0)
    }

    fn acked(&self, generation: u64) -> bool {
        let now = self.world.steady_ms();
        let mut fleet = lock(&self.world.fleet);
        fleet.arrive(now);
        fleet.members.iter().filter(|m| !m.dead).all(|m| !m.fetching && m.table.generation >= generation)
    }

    fn in_flight(&self, endpoint_key: &str) -> usize {
        let now = self.world.steady_ms();
        // One that takes requests has none at times: that alone does not say that it may be stopped.
        let busy = self.world.below(2) == 0;
        let mut fleet = lock(&self.world.fleet);
        usize::from(fleet.lingers(endpoint_key, now) || busy && fleet.sends_to(endpoint_key, now))
    }

    fn revision_counters(&self, _: &str) -> BTreeMap<String, Counters> {
        let now = self.world.steady_ms();
        let mut fleet = lock(&self.world.fleet);
        let count = if fleet.silent { 0 } else { ((now - fleet.counted_at) / 20).clamp(0, 200) };
        fleet.counted_at = now;
        for revision in fleet.carrying().0 {
            let failed = fleet.bad.contains(&revision);
            let counters = fleet.traffic.entry(revision).or_default();
            for _ in 0..count {
                counters.record(failed, Duration::from_millis(5));
            }
        }
        fleet.traffic.clone()
    }
}

impl World {
    /// Why a container must not be stopped now.
    pub fn in_use(&self, key: &str) -> Option<&'static str> {
        let now = self.steady_ms();
        let mut fleet = lock(&self.fleet);
        if fleet.sends_to(key, now) {
            return Some("a gateway sends it requests");
        }
        fleet.lingers(key, now).then_some("requests are in flight")
    }
}
