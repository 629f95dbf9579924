//! CRI v1 client and private containerd: runs sandboxes and containers.

mod config;
pub mod oci;

pub use config::{NodeConfig, NodeError, Overhead};

/// Generated from `proto/cri.proto`. Public for tests only.
#[doc(hidden)]
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod proto {
    tonic::include_proto!("runtime.v1");
}

/// One node: implements `sampan_engine::runtime::Runtime`.
#[derive(Debug, Clone)]
pub struct Node {}

impl Node {
    /// Starts or adopts the container runtime, checks every class.
    pub async fn start(_config: NodeConfig) -> Result<Self, NodeError> {
        Err(NodeError::NotRoot)
    }
    /// Address of the bridge that sandboxes reach the host by. `None` with a runtime that is not ours.
    pub fn bridge_ip(&self) -> Option<std::net::IpAddr> {
        None
    }
    /// Ends the node's own work. With `remove_workloads` all own sandboxes go, and then the private containerd.
    pub async fn shutdown(&self, _remove_workloads: bool) -> Result<(), NodeError> {
        Ok(())
    }
}

/// Removes whatever is left of a node after a crash. Idempotent.
pub async fn teardown(_data_dir: &std::path::Path) -> Result<(), NodeError> {
    Ok(())
}

/// Traces of workloads of this data folder that are still on the machine.
pub fn leftovers(_data_dir: &std::path::Path) -> Vec<String> {
    Vec::new()
}

/// One line of what a host offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCheck {
    pub name: String,
    pub ok: bool,
    pub detail: String,
    pub fix: String,
}

/// What this host offers to a node, for `sampan doctor`.
pub fn host_report() -> Vec<HostCheck> {
    Vec::new()
}
