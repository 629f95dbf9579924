//! The rows of an application that decisions read and write.

use serde::{Deserialize, Serialize};

/// A write or verb that waits for the reconciler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Operation that the caller follows.
    pub operation: String,
    pub generation: i64,
    /// Restart every instance even if nothing differs.
    pub restart: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleasePhase {
    /// Instances go to `to`.
    #[default]
    Updating,
    /// `on_failure = rollback`: instances go back to `from`.
    RollingBack,
    Succeeded,
    /// Ready instances stay on `to`, others go back to `from`.
    Failed,
    RolledBack,
}

/// The newest release; the row is the state machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub operation: String,
    pub generation: i64,
    pub from: Option<String>,
    /// Empty until the image is resolved.
    pub to: String,
    pub phase: ReleasePhase,
    /// Milliseconds since the epoch; moved by progress.
    pub deadline: i64,
    /// Available instances of the target at the last progress.
    pub progress: u64,
    pub reason: String,
    pub message: String,
    /// Asked for by the verb `restart`: the image tag is resolved again.
    #[serde(default)]
    pub restart: bool,
}

impl State {
    /// Operation in force and whether it is a restart.
    pub fn operation(&self) -> Option<(&str, bool)> {
        let request = self.request.as_ref().map(|r| (r.operation.as_str(), r.restart));
        request.or_else(|| self.release.as_ref().map(|r| (r.operation.as_str(), r.restart)))
    }
    /// Whether `image` has to be resolved (again) for the operation in force.
    pub fn needs_resolving(&self, image: &str, always: bool) -> bool {
        match (&self.image, self.operation()) {
            (Some(r), Some((op, restart))) => r.image != image || (r.operation != op && (always || restart)),
            (Some(r), None) => r.image != image,
            (None, _) => true,
        }
    }
}

impl Release {
    pub fn is_active(&self) -> bool {
        matches!(self.phase, ReleasePhase::Updating | ReleasePhase::RollingBack)
    }
}

/// A tag resolved to a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedImage {
    pub image: String,
    pub digest: String,
    pub pull_reference: String,
    /// Operation for which it was resolved: `Always` and restarts resolve once per operation.
    pub operation: String,
}

/// Everything about an application that is neither spec nor instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub request: Option<Request>,
    pub release: Option<Release>,
    /// Revision of the last release that succeeded.
    pub current: Option<String>,
    pub image: Option<ResolvedImage>,
    pub observed_generation: i64,
    pub restart_epoch: u64,
    /// Instances made so far: part of their names.
    pub made: u64,
    pub revisions: u64,
}
