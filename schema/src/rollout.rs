//! How far a release is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The newest release of an application, as a caller sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Rollout {
    /// `None` before the first release, `Updating`, `Verifying`, `Paused`, `Promoting`, `RollingBack`, `Succeeded`,
    /// `Failed`, `RolledBack` or `Aborted`.
    pub phase: String,
    /// The step it is at, from 1; 0 without a gray policy and once the release is over.
    pub step: u32,
    /// Steps of the policy, with the last one, which is everything.
    pub total_steps: u32,
    /// Share of requests that goes to the gray revision, in percent.
    pub weight_percent: f64,
    /// Why the weight is below that of the step; empty when it is not.
    pub weight_limited_by: String,
    /// Revision that is released.
    pub revision: String,
    /// Revision before, which takes the rest of the requests.
    pub stable_revision: String,
    /// Why it is paused or has ended, such as `ManualStep`.
    pub reason: String,
    /// The same for a person.
    pub message: String,
    /// Operation that a caller can follow.
    pub operation: String,
    /// Operation of a newer release that waits for this one to end; empty when none does.
    pub queued: String,
    /// Instances that are wanted on `revision` in this step.
    pub wanted: u64,
    /// Instances that are on it.
    pub updated: u64,
    /// Instances that are ready on it.
    pub ready: u64,
    /// What each analysis says, sorted by name.
    pub analysis: Vec<Verdict>,
}

/// What one analysis says about the present step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Verdict {
    /// Its key in the policy.
    pub name: String,
    /// `Running`, `Passed`, `Failed` or `Inconclusive`.
    pub result: String,
    /// Numbers behind it.
    pub message: String,
}

impl Rollout {
    /// The release is over, or there was none.
    pub fn is_over(&self) -> bool {
        matches!(self.phase.as_str(), "" | "None" | "Succeeded" | "Failed" | "RolledBack" | "Aborted")
    }
    /// It waits for somebody.
    pub fn is_paused(&self) -> bool {
        self.phase == "Paused"
    }
}
