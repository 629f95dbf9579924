//! The rows of an application that decisions read and write.

use sampan_schema::rollout::Rollout;
use serde::{Deserialize, Serialize};

use crate::environment_schedule::{Stopped, Waits};
use crate::gray_policy::Gray;
use crate::queue::Queued;

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
    /// A restart of what runs, whatever the spec says: the spec's revision was taken back.
    #[serde(default)]
    pub stays: bool,
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
    /// Somebody else was asked, and gave no answer that says anything.
    MetricsMissing,
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
            Self::MetricsMissing => "MetricsMissing",
            Self::AnalysisFailed => "AnalysisFailed",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Failures => "Failures",
            Self::TrafficOnStable => "TrafficOnStable",
        }
    }
}

impl State {
    /// Moves every time by so many milliseconds: the clock was set, and nothing is to come sooner or later for it.
    pub fn shift(&mut self, by: i64) {
        if let Some(waits) = &mut self.stop_waits {
            waits.since += by;
            waits.until += by;
        }
        let Some(r) = &mut self.release else { return };
        r.deadline += by;
        r.paused.iter_mut().for_each(|p| p.since += by);
        if let Some(gray) = &mut r.gray {
            gray.since += by;
            gray.switched_at.iter_mut().for_each(|at| *at += by);
            gray.checks.values_mut().for_each(|check| check.shift(by));
        }
    }
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
    /// `NO_RELEASE`, `NO_STEPS`, `ROLLING_BACK`.
    pub code: &'static str,
    pub message: String,
}

impl State {
    /// Why `verb` cannot be taken now; nothing when it can, also when it has been obeyed already.
    pub fn refuse(&self, verb: Verb) -> Option<Refusal> {
        let no = |code, message: &str| Some(Refusal { code, message: message.to_owned() });
        let active = self.release.as_ref().filter(|r| r.is_active());
        if self.request.is_none() && active.is_none() {
            return no("NO_RELEASE", "no release is under way");
        }
        if verb == Verb::Abort {
            return None;
        }
        // A request that waits is newer than what the release is about.
        let back = match (&self.request, active) {
            (Some(request), _) => request.cause == Cause::Rollback,
            (None, Some(r)) => r.phase == ReleasePhase::RollingBack || r.cause == Cause::Rollback,
            (None, None) => false,
        };
        if back || self.verb == Some(Verb::Abort) {
            return no("ROLLING_BACK", "the instances are on their way back, which only a new release ends");
        }
        match verb {
            Verb::Promote { .. } if self.request.is_some() => {
                no("NO_RELEASE", "a newer release is about to begin: look at it first")
            }
            Verb::Promote { .. } if self.rollout.total_steps == 0 => {
                no("NO_STEPS", "the release has no steps, so it goes to the end by itself; a pause ends with resume")
            }
            _ => None,
        }
    }

    /// Whether `verb` would change nothing, because what it asks for is so already.
    pub fn is_obeyed(&self, verb: Verb) -> bool {
        let paused = self.rollout.is_paused() && self.request.is_none();
        let back = || self.release.as_ref().is_some_and(|r| r.phase == ReleasePhase::RollingBack);
        match (verb, self.verb) {
            (asked, Some(waiting)) => asked == waiting,
            (Verb::Promote { .. }, None) => false,
            (Verb::Pause, None) => paused,
            (Verb::Resume, None) => !paused,
            (Verb::Abort, None) => self.request.is_none() && back(),
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub request: Option<Request>,
    /// A release that waits until the one under way has ended.
    pub queued: Option<Queued>,
    pub release: Option<Release>,
    /// Revision of the last release that succeeded.
    pub current: Option<String>,
    pub image: Option<ResolvedImage>,
    pub observed_generation: i64,
    pub restart_epoch: u64,
    /// Lane of the gray release that brought the revision in force, until another one begins: its instances are still
    /// what callers on the lane want.
    pub lane: Option<String>,
    /// Instances made so far: part of their names.
    pub made: u64,
    pub revisions: u64,
    /// Revisions that were released well, each once, the newest last.
    pub succeeded: Vec<String>,
    /// A verb that waits for the reconciler. See [`State::refuse`].
    pub verb: Option<Verb>,
    /// How the newest release stands; what callers read.
    pub rollout: Rollout,
    /// A schedule has stopped it: it has no instances, whatever the spec and its rules say.
    pub stopped: Option<Stopped>,
    /// A schedule would, and waits for the release.
    pub stop_waits: Option<Waits>,
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

    /// A release in a phase, with the steps and the phase that a caller sees.
    fn releasing(phase: ReleasePhase, cause: Cause, total_steps: u32, shown: &str, reason: &str) -> State {
        let release = Release {
            operation: "op".into(),
            generation: 2,
            from: Some("a".into()),
            to: "b".into(),
            phase,
            cause,
            ..Release::default()
        };
        let rollout = Rollout { phase: shown.into(), reason: reason.into(), total_steps, ..Rollout::default() };
        State { release: Some(release), rollout, ..State::default() }
    }

    #[test]
    fn verbs_are_refused_obeyed_already_or_taken() {
        use ReleasePhase::{Failed, RollingBack, Succeeded, Updating};
        const STEP: Verb = Verb::Promote { full: false };
        const ALL: [Verb; 4] = [STEP, Verb::Pause, Verb::Resume, Verb::Abort];
        let waiting = |state: State, cause| State {
            request: Some(Request { operation: "new".into(), generation: 3, cause }),
            ..state
        };
        let with = |state: State, verb| State { verb: Some(verb), ..state };
        let gray = |shown: &str, reason: &str| releasing(Updating, Cause::Deploy, 3, shown, reason);
        let back = releasing(RollingBack, Cause::Deploy, 3, "RollingBack", "AnalysisFailed");
        let over = releasing(Succeeded, Cause::Deploy, 0, "Succeeded", "");
        // Of promote, pause, resume and abort: the code, `obeyed`, or nothing when it is taken.
        for (what, state, wanted) in vec![
            ("nothing yet", State::default(), ["NO_RELEASE"; 4]),
            ("over", over.clone(), ["NO_RELEASE"; 4]),
            ("failed", releasing(Failed, Cause::Deploy, 0, "Failed", ""), ["NO_RELEASE"; 4]),
            ("plain", releasing(Updating, Cause::Deploy, 0, "Updating", ""), ["NO_STEPS", "", "obeyed", ""]),
            ("verifying", gray("Verifying", ""), ["", "", "obeyed", ""]),
            ("at a manual step", gray("Paused", "ManualStep"), ["", "obeyed", "", ""]),
            ("paused by a user", gray("Paused", "UserPaused"), ["", "obeyed", "", ""]),
            ("going back", back.clone(), ["ROLLING_BACK", "ROLLING_BACK", "ROLLING_BACK", "obeyed"]),
            (
                "a rollback",
                releasing(Updating, Cause::Rollback, 0, "Updating", ""),
                ["ROLLING_BACK", "ROLLING_BACK", "ROLLING_BACK", ""],
            ),
            (
                "abort waits",
                with(gray("Paused", ""), Verb::Abort),
                ["ROLLING_BACK", "ROLLING_BACK", "ROLLING_BACK", "obeyed"],
            ),
            ("promote waits", with(gray("Paused", "ManualStep"), STEP), ["obeyed", "", "", ""]),
            ("pause waits", with(gray("Verifying", ""), Verb::Pause), ["", "obeyed", "", ""]),
            ("about to begin", waiting(over, Cause::Deploy), ["NO_RELEASE", "", "obeyed", ""]),
            ("about to follow one that goes back", waiting(back, Cause::Deploy), ["NO_RELEASE", "", "obeyed", ""]),
            (
                "about to roll back",
                waiting(gray("Paused", "ManualStep"), Cause::Rollback),
                ["ROLLING_BACK", "ROLLING_BACK", "ROLLING_BACK", ""],
            ),
        ] {
            let answers = ALL.map(|verb| match state.refuse(verb) {
                Some(refusal) => refusal.code,
                None if state.is_obeyed(verb) => "obeyed",
                None => "",
            });
            assert_eq!(answers, wanted, "{what}");
        }
        let full = with(gray("Paused", "ManualStep"), STEP);
        assert!(!full.is_obeyed(Verb::Promote { full: true }), "more is asked than waits");
    }
}
