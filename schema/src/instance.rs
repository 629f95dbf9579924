//! One running copy of an application, as the API reports it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Instance {
    pub name: String,
    pub sandbox_id: String,
    pub container_id: String,
    pub ip: String,
    pub node: String,
    pub revision: String,
    /// `Pending`, `Starting`, `Ready`, `Updating`, `Draining`, `Failed`.
    pub phase: String,
    pub ready: bool,
    /// Number of the container inside its sandbox, from 0.
    pub attempt: u32,
    pub restarts: u32,
    pub isolation_class: String,
    /// Null for `runc`, where there is nothing to verify.
    pub isolation_verified: Option<bool>,
    pub isolation_evidence: String,
    pub reason: String,
    pub message: String,
}
