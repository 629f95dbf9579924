//! The rows of an application that decisions read and write.

use sampan_schema::rollout::Rollout;
use serde::{Deserialize, Serialize};

use crate::gray_policy::Gray;

/// What a release is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    #[default]
    Deploy,
    /// Another number of instances: those that run are not touched, so the image stays the one they have.
    Scale,
    /// Every instance is restarted, even if nothing differs, and the image tag is resolved again.
    Restart,
    /// Back to an earlier revision, in one step and without analysis.
    Rollback,
}

impl Cause {
    /// Kind of the operation.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Scale => "scale",
            Self::Restart => "restart",
            Self::Rollback => "rollback",
        }
    }
}

/// A write or verb that waits for the reconciler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Operation that the caller follows.
    pub operation: String,
    pub generation: i64,
    #[serde(default)]
    pub cause: Cause,
}

/// What a caller may ask of a release that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Goes on to the next step, or with `full` to the end, without analysis.
    Promote {
        full: bool,
    },
    Pause,
    Resume,
    /// All requests to stable, then the instances back.
    Abort,
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
    /// A user took it back.
    Aborted,
}

/// The newest release; the row is the state machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    #[serde(default)]
    pub cause: Cause,
    /// Under a gray policy; `None` of a plain release.
    #[serde(default)]
    pub gray: Option<Gray>,
    #[serde(default)]
    pub paused: Option<Paused>,
    /// A user took it back.
    #[serde(default)]
    pub aborted: bool,
    /// Revision of the release that this one superseded: its instances go back to `from` before anything else.
    #[serde(default)]
    pub clearing: Option<String>,
}

/// Why a release stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub reason: PauseReason,
    pub message: String,
    /// Milliseconds since the epoch.
    pub since: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PauseReason {
    /// The step says so; `promote` goes on.
    ManualStep,
    UserPaused,
    /// The analysis had too little to look at.
    NoTraffic,
    AnalysisFailed,
    DeadlineExceeded,
    /// Instances cannot become ready.
    Failures,
    /// All requests go to stable; the gray instances are kept for a look.
    TrafficOnStable,
}

impl PauseReason {
    pub fn word(self) -> &'static str {
        match self {
            Self::ManualStep => "ManualStep",
            Self::UserPaused => "UserPaused",
            Self::NoTraffic => "NoTraffic",
            Self::AnalysisFailed => "AnalysisFailed",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Failures => "Failures",
            Self::TrafficOnStable => "TrafficOnStable",
        }
    }
}

impl State {
    /// Operation in force and what it is for.
    pub fn operation(&self) -> Option<(&str, Cause)> {
        let request = self.request.as_ref().map(|r| (r.operation.as_str(), r.cause));
        request.or_else(|| self.release.as_ref().map(|r| (r.operation.as_str(), r.cause)))
    }
    /// Whether `image` has to be resolved (again) for the operation in force. `always`: with every release.
    pub fn needs_resolving(&self, image: &str, always: bool) -> bool {
        match (&self.image, self.operation()) {
            (Some(r), Some((op, cause))) => {
                let again = match cause {
                    Cause::Deploy => always,
                    Cause::Scale | Cause::Rollback => false,
                    Cause::Restart => true,
                };
                r.image != image || (r.operation != op && again)
            }
            (Some(r), None) => r.image != image,
            (None, _) => true,
        }
    }
}

/// Why a verb is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `NO_RELEASE`, `ROLLING_BACK`, `NOT_PAUSED`.
    pub code: &'static str,
    pub message: String,
}

impl State {
    /// Why `verb` cannot be taken now; nothing when it can, also when it has been obeyed already.
    pub fn refuse(&self, verb: Verb) -> Option<Refusal> {
        let _ = verb;
        None
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// A verb that waits for the reconciler. See [`State::refuse`].
    pub verb: Option<Verb>,
    /// How the newest release stands; what callers read.
    pub rollout: Rollout,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_resolved_for_another_image_for_a_restart_and_under_always_for_a_release_that_is_no_scale() {
        let mut state = State::default();
        assert!(state.needs_resolving("a:1", false), "never resolved before");
        state.image = Some(ResolvedImage {
            image: "a:1".into(),
            digest: "sha256:0".into(),
            pull_reference: "a@sha256:0".into(),
            operation: "one".into(),
        });
        for (operation, cause, always, again) in [
            ("one", Cause::Deploy, true, false),
            ("two", Cause::Deploy, false, false),
            ("two", Cause::Deploy, true, true),
            ("two", Cause::Scale, true, false),
            ("two", Cause::Restart, false, true),
            ("one", Cause::Restart, false, false),
        ] {
            state.request = Some(Request { operation: operation.into(), generation: 1, cause });
            assert_eq!(state.needs_resolving("a:1", always), again, "{operation} {cause:?} {always}");
            assert!(state.needs_resolving("a:2", always));
        }
    }
}
