//! What the loop asks of whoever sends requests to instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use sampan_engine::route::RouteTable;
use sampan_engine::traffic::Counters;
use sampan_gateway::Gateway;

/// The gateways. That of `sampan` runs in its process and has a table as soon as it is offered one; the simulator's lag,
/// die and come back.
pub trait Gateways: Send + Sync + 'static {
    /// Offers a table, which each gateway swaps to unless it holds a newer one.
    fn apply(&self, table: Arc<RouteTable>);
    /// The newest table that a gateway holds: the next one has a higher number.
    fn newest(&self) -> u64;
    /// Whether every gateway that sends requests has this table or a newer one.
    fn acked(&self, generation: u64) -> bool;
    /// Requests in flight at an endpoint, over all gateways.
    fn in_flight(&self, endpoint_key: &str) -> usize;
    /// Counters of an application (`namespace/application`), by revision.
    fn revision_counters(&self, app: &str) -> BTreeMap<String, Counters>;
}

impl Gateways for Gateway {
    fn apply(&self, table: Arc<RouteTable>) {
        if let Err(e) = Self::apply(self, table) {
            tracing::error!(error = %e, "the gateway refuses the route table");
        }
    }
    fn newest(&self) -> u64 {
        self.generation()
    }
    fn acked(&self, generation: u64) -> bool {
        self.generation() >= generation
    }
    fn in_flight(&self, endpoint_key: &str) -> usize {
        Self::in_flight(self, endpoint_key)
    }
    fn revision_counters(&self, app: &str) -> BTreeMap<String, Counters> {
        Self::revision_counters(self, app)
    }
}
