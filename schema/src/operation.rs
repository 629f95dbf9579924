//! What a caller waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The set is closed: a client treats another word as a protocol error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    #[default]
    Pending,
    Running,
    Paused,
    Succeeded,
    Failed,
    Aborted,
    RolledBack,
    Superseded,
}

impl Phase {
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Paused)
    }
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
            Self::RolledBack => "RolledBack",
            Self::Superseded => "Superseded",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Progress {
    pub total: u64,
    pub updated: u64,
    pub ready: u64,
    /// `instance: reason: message`.
    pub failing: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Operation {
    pub id: String,
    /// `deploy`, `scale`, `restart`, `rollback`, `delete`.
    pub kind: String,
    pub target_kind: String,
    pub namespace: String,
    pub name: String,
    pub generation: i64,
    pub phase: Phase,
    pub reason: String,
    pub message: String,
    pub progress: Progress,
    /// Milliseconds since the epoch.
    pub started_at: i64,
    pub finished_at: i64,
}
