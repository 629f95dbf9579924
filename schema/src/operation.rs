//! What a caller waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// The set is closed: a client treats another word as a protocol error.
/// How far it is.
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
    /// Instances that are wanted.
    pub total: u64,
    /// Instances on the revision.
    pub updated: u64,
    /// Instances that are ready on it.
    pub ready: u64,
    /// `instance: reason: message`.
    pub failing: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Operation {
    /// What a caller follows it by.
    pub id: String,
    /// `deploy`, `scale`, `restart`, `rollback`, `delete`.
    pub kind: String,
    /// Kind of the object it is about.
    pub target_kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Generation of the spec that it carries out.
    pub generation: i64,
    /// `Pending`, `Running`, `Paused`, `Succeeded`, `Failed`, `Aborted`, `RolledBack` or `Superseded`.
    pub phase: Phase,
    /// Why it is paused or has not succeeded, as a stable word.
    pub reason: String,
    /// The same for a person.
    pub message: String,
    /// Instances on their way.
    pub progress: Progress,
    /// Milliseconds since the epoch.
    pub started_at: i64,
    /// 0 until it is over.
    pub finished_at: i64,
}
