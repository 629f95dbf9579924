//! The newest release: begun, moved on, paused, taken back and ended.

use std::collections::BTreeMap;

use sampan_schema::application::OnFailure;
use sampan_schema::gray_policy::{self, Analysis};
use sampan_schema::int_or_percent;
use sampan_schema::operation::{Phase as OperationPhase, Progress};
use sampan_schema::rollout::{self, Rollout};

use crate::analysis::{self, Asked, Check, Sides, Verdict};
use crate::application::{Cause, PauseReason, Paused, Release, ReleasePhase, Request, State, Verb};
use crate::gray_policy::{Gray, Stage, shunned};
use crate::instance::{Instance, Traffic};
use crate::reconcile::{Decision, OperationUpdate, View, blocked, min_ready_ms, wake};
use crate::revision::Revision;
use crate::route::{Lanes, Split, cap};

/// Which phase of a rollout can follow which, and why. The guide's picture is drawn from it. The simulator sees no
/// other, and in its long run each of these.
pub const TRANSITIONS: &[(&str, &str, &str)] = &[
    ("None", "Updating", "a spec is written"),
    ("Updating", "Verifying", "the step's instances are ready"),
    ("Updating", "Succeeded", "without gray steps: all are ready"),
    ("Updating", "Promoting", "promote --full"),
    ("Updating", "Paused", "pause; or a failure, on_failure = pause or abort"),
    ("Updating", "RollingBack", "abort; a failure, on_failure = rollback; a newer spec clears the gray instances"),
    ("Updating", "Aborted", "abort when nothing has moved, or of a first release"),
    ("Updating", "Failed", "without a gray policy: a failure, or no progress"),
    ("Verifying", "Updating", "passed: the next step; or a newer spec"),
    ("Verifying", "Promoting", "passed: the last step"),
    ("Verifying", "Paused", "a manual step, too little traffic, missing metrics, pause, or a failure"),
    ("Verifying", "RollingBack", "abort; a failed analysis, on_failure = rollback; a newer spec"),
    ("Verifying", "Succeeded", "the spec is stable's again"),
    ("Verifying", "Aborted", "abort, and no instance is wanted"),
    ("Paused", "Updating", "resume or promote; or a newer spec"),
    ("Paused", "Verifying", "resume"),
    ("Paused", "Promoting", "promote of the last step"),
    ("Paused", "RollingBack", "abort; too old; a newer spec"),
    ("Paused", "Succeeded", "the spec is stable's again"),
    ("Paused", "Aborted", "abort when nothing has moved"),
    ("Promoting", "Succeeded", "all are ready, and gray's rules are gone"),
    ("Promoting", "Updating", "a newer spec"),
    ("Promoting", "Verifying", "a newer spec whose first step is there already"),
    ("Promoting", "Paused", "pause; or a failure, on_failure = pause or abort"),
    ("Promoting", "RollingBack", "abort; a failure, on_failure = rollback; a newer spec"),
    ("RollingBack", "RolledBack", "all are ready on stable"),
    ("RollingBack", "Aborted", "the same, asked for by a user"),
    ("RollingBack", "Failed", "stable does not come back in time"),
    ("RollingBack", "Updating", "cleared for the newer spec"),
    ("RollingBack", "Verifying", "cleared, and the first step is there already"),
    ("RollingBack", "Paused", "pause while clearing"),
    ("RollingBack", "Succeeded", "the spec is stable's again"),
    ("Succeeded", "Updating", "a spec is written, or one that waited begins"),
    ("Succeeded", "Paused", "pause before the next one begins"),
    ("Succeeded", "RollingBack", "abort as the next one begins"),
    ("RolledBack", "Updating", "a spec is written, or one that waited begins"),
    ("RolledBack", "Paused", "pause before the next one begins"),
    ("RolledBack", "Succeeded", "a spec that changes no instance"),
    ("Aborted", "Updating", "a spec is written, or one that waited begins"),
    ("Aborted", "Paused", "pause before the next one begins"),
    ("Aborted", "RollingBack", "abort as the next one begins"),
    ("Aborted", "Succeeded", "a spec that changes no instance"),
    ("Failed", "Updating", "a spec is written"),
];

/// So many revisions that were released well are remembered; the rows are kept for as many at most.
const REMEMBERED: usize = 10;

/// Where instances go.
pub(crate) struct Aim<'a> {
    pub(crate) target: &'a Revision,
    /// So many of them, and no more.
    pub(crate) wanted: u64,
    /// Instances that are there are taken for it; otherwise only new ones are made.
    pub(crate) converts: bool,
    /// All requests go to the target: the rest serves nobody.
    pub(crate) switched: bool,
    /// The rest stays on, or goes back to, this one.
    pub(crate) rest: &'a Revision,
}

pub(crate) fn deadline(v: &View<'_>) -> i64 {
    v.now + v.spec.update_strategy.progress_deadline_seconds * 1000
}

fn replicas(v: &View<'_>) -> u64 {
    v.spec.replicas.max(0) as u64
}

/// A number that differs from release to release.
fn salt(operation: &str) -> u64 {
    operation.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn begin(v: &View<'_>, request: Request, from: Option<String>) -> Release {
    Release {
        operation: request.operation,
        generation: request.generation,
        from,
        deadline: deadline(v),
        cause: request.cause,
        ..Release::default()
    }
}

/// A new request becomes the release; one that was under way is superseded.
pub(crate) fn take_request(v: &View<'_>, d: &mut Decision) {
    let Some(request) = d.state.request.take() else { return };
    for i in &mut d.instances {
        // A new try starts with a clean sheet.
        i.permanent = false;
        i.retry_at = i.retry_at.min(v.now);
    }
    let mut clearing = None;
    // What was taken back comes again by a write, and by nothing else.
    let taken_back = |r: &Release| matches!(r.phase, ReleasePhase::RolledBack | ReleasePhase::Aborted) || r.stays;
    let stays = request.cause == Cause::Restart && d.state.release.as_ref().is_some_and(taken_back);
    let to = d.state.current.clone().filter(|_| stays);
    if let Some(old) = d.state.release.as_mut().filter(|r| r.is_active()) {
        if request.cause == Cause::Scale && old.gray.is_some() {
            // The number is the application's, the shares are the release's: neither disturbs the other.
            old.generation = request.generation;
            if let Some(gray) = &mut old.gray {
                gray.scales.push(request.operation);
            }
            return;
        }
        d.operations.push(superseded(&old.operation, &request.operation));
        for scale in old.gray.iter().flat_map(|gray| &gray.scales) {
            d.operations.push(superseded(scale, &request.operation));
        }
        let abandoned = old.gray.is_some() && !old.to.is_empty() && old.from.as_ref() != Some(&old.to);
        clearing = old.clearing.clone().or_else(|| abandoned.then(|| old.to.clone()));
    }
    if request.cause == Cause::Restart {
        d.state.restart_epoch += 1;
    }
    let gray = v
        .policy
        .filter(|_| request.cause == Cause::Deploy && d.state.current.is_some() && replicas(v) > 0)
        .map(|policy| Gray::new(policy.clone(), v.now));
    if gray.is_some() {
        d.state.lane = None;
    }
    let stays = stays && to.is_some();
    let to = to.unwrap_or_default();
    d.state.release = Some(Release { to, gray, stays, clearing, ..begin(v, request, d.state.current.clone()) });
}

fn superseded(id: &str, by: &str) -> OperationUpdate {
    OperationUpdate {
        id: id.to_owned(),
        phase: OperationPhase::Superseded,
        reason: "Superseded".into(),
        message: format!("operation {by} took over"),
        progress: Progress::default(),
    }
}

/// The content of referenced configuration changed, and the application asked to follow it: a release that nobody
/// waits for. A change of an inherited class waits for the next recreate instead.
pub(crate) fn follow_config(v: &View<'_>, d: &mut Decision) {
    let (Some(last), Ok(wanted)) = (&d.state.release, v.wanted) else { return };
    let same_sandbox = v.revisions.get(&last.to).is_some_and(|r| r.sandbox_hash == wanted.sandbox_hash);
    if last.phase == ReleasePhase::Succeeded && !last.stays && last.to != wanted.hash && same_sandbox {
        d.events.push((
            "Normal",
            "ConfigChanged".into(),
            "referenced configuration changed: restarting in place".into(),
        ));
        let request = Request { operation: String::new(), generation: v.generation, cause: Cause::Deploy };
        let to = wanted.hash.clone();
        d.state.release = Some(Release { to, ..begin(v, request, d.state.current.clone()) });
    }
}

/// An active release follows the revision of the present spec. Gray is for what differs from stable.
pub(crate) fn follow_spec(v: &View<'_>, d: &mut Decision) {
    let (Some(r), Ok(wanted)) = (d.state.release.as_mut(), v.wanted) else { return };
    if r.phase == ReleasePhase::Updating && r.to != wanted.hash && !r.stays {
        r.to.clone_from(&wanted.hash);
    }
    if r.phase == ReleasePhase::Updating && r.from.as_ref() == Some(&r.to) {
        r.gray = None;
    }
}

/// Obeys a verb. One that does not fit any more is dropped: the caller was refused or was late.
pub(crate) fn take_verb(v: &View<'_>, d: &mut Decision) {
    let Some(verb) = d.state.verb.take() else { return };
    if d.state.refuse(verb).is_some() {
        return;
    }
    let Some(mut r) = d.state.release.take() else { return };
    if r.phase != ReleasePhase::Updating {
        d.state.release = Some(r);
        return;
    }
    match verb {
        Verb::Pause if r.paused.is_none() => {
            let message = "paused by a user; sampan rollout resume goes on".to_owned();
            r.paused = Some(Paused { reason: PauseReason::UserPaused, message, since: v.now });
        }
        Verb::Resume if r.paused.is_some() => {
            let failed = r.paused.take().is_some_and(|p| p.reason != PauseReason::UserPaused);
            r.deadline = deadline(v);
            if failed {
                try_again(v, d, &mut r);
            }
        }
        Verb::Promote { full } => {
            r.paused = None;
            r.deadline = deadline(v);
            if let Some(gray) = &mut r.gray {
                let step = if full { usize::MAX } else { gray.step + 1 };
                gray.enter(step, v.policy, v.now);
            }
            d.events.push(("Normal", "Promoted".into(), "a user promoted the release".into()));
        }
        Verb::Abort if !r.aborted => {
            r.aborted = true;
            let by = d.state.stop_waits.as_ref().filter(|w| w.aborted);
            let by = by.map_or("a user".into(), |w| format!("schedule {}, which stops the application", w.schedule));
            take_back(v, d, &mut r, "Aborted", &format!("aborted by {by}"));
        }
        Verb::Pause | Verb::Resume | Verb::Abort => {}
    }
    d.state.release = Some(r);
}

/// What failed gets another chance.
fn try_again(v: &View<'_>, d: &mut Decision, r: &mut Release) {
    for i in &mut d.instances {
        i.permanent = false;
        i.retry_at = i.retry_at.min(v.now);
    }
    if let Some(gray) = &mut r.gray {
        gray.checks.clear();
        gray.since = v.now;
    }
}

/// All requests to stable, then the instances back.
fn take_back(v: &View<'_>, d: &mut Decision, r: &mut Release, reason: &str, message: &str) {
    r.phase = ReleasePhase::RollingBack;
    r.paused = None;
    r.deadline = deadline(v);
    r.progress = 0;
    r.reason = reason.into();
    let to = r.from.as_deref().unwrap_or("");
    r.message = if to.is_empty() { message.to_owned() } else { format!("{message}; rolled back to revision {to}") };
    d.events.push(("Warning", reason.into(), r.message.clone()));
    wake(d, v.now);
}

/// The revision that requests avoid while another one can answer.
fn shuns(r: &Release) -> Option<&str> {
    let has_gray = r.gray.is_some();
    match r.phase {
        ReleasePhase::Updating if r.clearing.is_some() => r.clearing.as_deref(),
        ReleasePhase::Updating if r.paused.as_ref().is_some_and(|p| p.reason == PauseReason::TrafficOnStable) => {
            Some(&r.to)
        }
        ReleasePhase::RollingBack if has_gray && r.from.as_ref() != Some(&r.to) => Some(&r.to),
        _ => None,
    }
}

/// The revision whose instances get no requests, if there is one.
pub(crate) fn shunned_revision(state: &State) -> Option<&str> {
    state.release.as_ref().and_then(shuns)
}

/// What the table has to know of an application's lanes. `policy` is the one in force.
pub fn lanes(state: &State, policy: Option<&gray_policy::Spec>) -> Lanes {
    let released = state.release.as_ref().is_some_and(|r| r.is_active() && r.gray.is_some());
    Lanes {
        all: state.lane.clone().filter(|_| !released),
        rejecting: policy.filter(|p| p.fallback == gray_policy::Fallback::Reject).map(|p| p.tag.clone()),
    }
}

/// How requests are divided now.
pub fn split(state: &State, replicas: u64) -> Option<Split> {
    let r = state.release.as_ref().filter(|r| r.is_active())?;
    if let Some(revision) = shuns(r) {
        return Some(shunned(revision));
    }
    if r.phase != ReleasePhase::Updating || r.to.is_empty() {
        return None;
    }
    r.gray.as_ref()?.split(&r.to, salt(&r.operation), replicas)
}

/// Where instances go.
pub(crate) fn aim<'a>(v: &View<'a>, state: &State, on: &dyn Fn(&str) -> u64) -> Option<Aim<'a>> {
    let get = |hash: &str| v.revisions.get(hash);
    let all = |revision: &'a Revision| Aim {
        target: revision,
        wanted: u64::MAX,
        converts: true,
        switched: false,
        rest: revision,
    };
    let Some(r) = &state.release else { return state.current.as_deref().and_then(get).map(all) };
    let back = || r.from.as_deref().or((!r.to.is_empty()).then_some(r.to.as_str())).and_then(get).map(all);
    match r.phase {
        ReleasePhase::Succeeded => get(&r.to).map(all),
        ReleasePhase::Updating if !r.to.is_empty() && r.clearing.is_none() => {
            let target = get(&r.to)?;
            let rest = r.from.as_deref().and_then(get).unwrap_or(target);
            let wanted = match &r.gray {
                _ if r.paused.as_ref().is_some_and(|p| p.reason != PauseReason::ManualStep) => on(&target.hash),
                Some(gray) => gray.wanted(replicas(v)),
                None => u64::MAX,
            };
            let converts = r
                .gray
                .as_ref()
                .is_none_or(|gray| !gray.is_additional() || (gray.is_promoting() && !gray.is_blue_green()));
            let switched = r.gray.as_ref().is_some_and(|gray| gray.switched_at.is_some());
            Some(Aim { target, wanted, converts, switched, rest })
        }
        _ => back(),
    }
}

/// Instances beside the application's own number.
pub(crate) fn additional(v: &View<'_>, d: &Decision) -> u64 {
    let Some(r) = d.state.release.as_ref().filter(|r| r.phase == ReleasePhase::Updating && r.clearing.is_none()) else {
        return 0;
    };
    let Some(gray) = r.gray.as_ref().filter(|_| !r.to.is_empty()) else { return 0 };
    if gray.is_promoting() {
        let n = replicas(v);
        let over = if gray.is_blue_green() {
            let delay = gray.policy.as_ref().map_or(0, |p| p.scale_down_delay_seconds) * 1000;
            gray.switched_at.is_some_and(|at| v.now >= at + delay)
        } else {
            // Enough without them.
            let on = d.instances.iter().filter(|i| !i.terminating && i.revision == r.to);
            on.filter(|i| i.is_available(min_ready_ms(v), v.now)).count() as u64 >= n
        };
        return if over { 0 } else { gray.additional(n) };
    }
    gray.additional(replicas(v))
}

/// Numbers of the instances of an aim.
struct Count {
    updated: u64,
    ready: u64,
    /// All there are, also those on their way out.
    there: u64,
}

/// Ends, moves on, pauses or fails the release.
pub(crate) fn judge(v: &View<'_>, d: &mut Decision) {
    let Some(mut r) = d.state.release.clone().filter(Release::is_active) else { return };
    let n = replicas(v);
    let goal = if going_back(&r) { r.from.clone().or_else(|| Some(r.to.clone())) } else { Some(r.to.clone()) };
    let goal = goal.filter(|g| !g.is_empty());
    let on_goal = |i: &&Instance| {
        goal.as_deref() == Some(i.revision.as_str()) && i.restart_epoch == d.state.restart_epoch && !i.terminating
    };
    let min_ready = min_ready_ms(v);
    let count = Count {
        updated: d.instances.iter().filter(on_goal).count() as u64,
        ready: d.instances.iter().filter(on_goal).filter(|i| i.is_available(min_ready, v.now)).count() as u64,
        there: d.instances.len() as u64,
    };
    let failing: Vec<String> = d
        .instances
        .iter()
        .filter(|i| !i.reason.is_empty())
        .take(3)
        .map(|i| format!("{}: {}: {}", i.name, i.reason, i.message))
        .collect();
    let permanent = match v.wanted {
        Err(e) if r.to.is_empty() && e.permanent => Some((e.reason.clone(), e.message.clone())),
        _ => d
            .instances
            .iter()
            .filter(on_goal)
            .find(|i| i.permanent)
            .map(|i| (i.reason.clone(), format!("{}: {}", i.name, i.message))),
    };
    let permanent = permanent.or_else(|| too_many(v, d, &r));
    if count.ready > r.progress {
        r.progress = count.ready;
        r.deadline = deadline(v);
    }
    settle_scales(v, d, &mut r);
    let progress = Progress { total: n, updated: count.updated, ready: count.ready, failing };
    let trouble = trouble(v, d, &r, &progress, permanent);
    let end = match r.phase {
        _ if r.paused.is_some() => pause_goes_on(v, d, &mut r),
        ReleasePhase::Updating if r.clearing.is_some() => clear(v, d, &mut r, &count, trouble),
        ReleasePhase::Updating if r.gray.is_some() => gray_step(v, d, &mut r, &count, trouble),
        _ => plain(v, d, &mut r, &count, trouble),
    };
    conclude(v, d, r, progress, end);
}

/// More gray instances have crashed and are not ready again than the policy allows.
fn too_many(v: &View<'_>, d: &Decision, r: &Release) -> Option<(String, String)> {
    let gray = r.gray.as_ref().filter(|_| r.phase == ReleasePhase::Updating && r.clearing.is_none())?;
    let threshold = gray.policy.as_ref()?.failure_threshold.as_deref();
    let allowed = threshold.and_then(|t| int_or_percent::of(t, replicas(v), false));
    let allowed = allowed.unwrap_or_else(|| v.spec.budget().0.max(1));
    let crashed = |i: &&Instance| {
        let is_gray = i.revision == r.to && !i.terminating;
        is_gray && i.revision_restarts > 0 && !i.is_available(0, v.now)
    };
    let failing: Vec<&Instance> = d.instances.iter().filter(crashed).collect();
    let last = failing.first().filter(|_| failing.len() as u64 > allowed)?;
    let text = format!("{} gray instances crash, {allowed} may; {}: {}", failing.len(), last.name, last.message);
    Some(("TooManyFailures".into(), text))
}

fn going_back(r: &Release) -> bool {
    r.phase == ReleasePhase::RollingBack || r.clearing.is_some()
}

type End = Option<(OperationPhase, String, String)>;

/// What is wrong enough to end or pause the release: a failure that will not pass, or no progress for too long.
fn trouble(
    v: &View<'_>,
    d: &Decision,
    r: &Release,
    progress: &Progress,
    permanent: Option<(String, String)>,
) -> Option<(String, String)> {
    if permanent.is_some() || v.now < r.deadline {
        return permanent;
    }
    let waited = v.spec.update_strategy.progress_deadline_seconds;
    let cause = progress.failing.first().cloned();
    let cause = cause.or_else(|| blocked(v, &d.state).as_ref().or(v.wanted.err()).map(ToString::to_string));
    let cause = cause.unwrap_or_else(|| format!("{} of {} instances are ready", progress.ready, progress.total));
    Some(("ProgressDeadlineExceeded".into(), format!("no progress for {waited} s; {cause}")))
}

/// What waits says for whom, or is the next to begin.
pub(crate) fn next_in_line(v: &View<'_>, d: &mut Decision) {
    let Some(queued) = &d.state.queued else { return };
    let id = queued.request.operation.clone();
    let message = d.state.waits_for();
    d.state.dequeue();
    if d.state.queued.is_none() {
        wake(d, v.now);
        return;
    }
    d.operations.push(OperationUpdate {
        id,
        phase: OperationPhase::Pending,
        reason: "Queued".into(),
        message,
        progress: Progress::default(),
    });
}

/// Without gray steps, and the way back.
fn plain(v: &View<'_>, d: &mut Decision, r: &mut Release, count: &Count, trouble: Option<(String, String)>) -> End {
    let n = replicas(v);
    if r.aborted && r.from.is_none() {
        // Nothing was there before: it stops where it is.
        r.phase = ReleasePhase::Aborted;
        return Some((OperationPhase::Aborted, r.reason.clone(), r.message.clone()));
    }
    let resolved = !r.to.is_empty() || r.phase == ReleasePhase::RollingBack;
    if resolved && count.ready == n && count.there == n && v.acked {
        return Some(if r.phase == ReleasePhase::Updating {
            succeed(d, r)
        } else {
            r.phase = if r.aborted { ReleasePhase::Aborted } else { ReleasePhase::RolledBack };
            let phase = if r.aborted { OperationPhase::Aborted } else { OperationPhase::RolledBack };
            (phase, r.reason.clone(), r.message.clone())
        });
    }
    let Some((reason, message)) = trouble else {
        wake(d, r.deadline);
        return None;
    };
    let may_return = r.from.as_ref().is_some_and(|from| *from != r.to);
    if r.phase == ReleasePhase::Updating && v.spec.rollout.on_failure == OnFailure::Rollback && may_return {
        take_back(v, d, r, &reason, &message);
        return None;
    }
    let reason = if r.phase == ReleasePhase::RollingBack { "RollbackFailed".into() } else { reason };
    r.phase = ReleasePhase::Failed;
    // Failed instances go back at once.
    wake(d, v.now);
    Some((OperationPhase::Failed, reason, message))
}

fn succeed(d: &mut Decision, r: &mut Release) -> (OperationPhase, String, String) {
    r.phase = ReleasePhase::Succeeded;
    d.state.current = Some(r.to.clone());
    d.state.observed_generation = r.generation;
    // Neither another number nor a restart is another revision.
    if matches!(r.cause, Cause::Deploy | Cause::Rollback) && !r.operation.is_empty() {
        d.state.lane = None;
    }
    d.state.succeeded.retain(|hash| *hash != r.to);
    d.state.succeeded.push(r.to.clone());
    let surplus = d.state.succeeded.len().saturating_sub(REMEMBERED);
    d.state.succeeded.drain(..surplus);
    (OperationPhase::Succeeded, String::new(), String::new())
}

/// What was superseded goes back to stable first. A stable that cannot come back does not block the new release.
fn clear(v: &View<'_>, d: &mut Decision, r: &mut Release, count: &Count, trouble: Option<(String, String)>) -> End {
    let n = replicas(v);
    if (count.ready == n && count.there == n) || trouble.is_some() {
        r.clearing = None;
        r.progress = 0;
        r.deadline = deadline(v);
        if let Some(gray) = &mut r.gray {
            gray.enter(0, v.policy, v.now);
        }
        wake(d, v.now);
    } else {
        wake(d, r.deadline);
    }
    None
}

/// One look at a release under a gray policy.
fn gray_step(v: &View<'_>, d: &mut Decision, r: &mut Release, count: &Count, trouble: Option<(String, String)>) -> End {
    let n = replicas(v);
    let mut gray = r.gray.take()?;
    let (step, total) = (gray.step + 1, gray.total_steps());
    let wanted = gray.wanted(n);
    let mut end = None;
    if gray.is_promoting() {
        let switched = v.acked && gray.is_blue_green() && count.ready >= n;
        if switched && gray.switched_at.is_none() {
            gray.switched_at = Some(v.now);
            let message = "all requests go to the new instances".to_owned();
            d.events.push(("Normal", "Switched".into(), message));
        }
        if let (Some(at), Some(policy)) = (gray.switched_at, &gray.policy) {
            let until = at + policy.scale_down_delay_seconds * 1000;
            if until > v.now {
                r.deadline = deadline(v).max(until);
                wake(d, until);
            }
        }
        if count.ready == n && count.there == n && v.acked && (!gray.is_blue_green() || gray.switched_at.is_some()) {
            end = Some(succeed(d, r));
            d.state.lane = gray.lane().map(str::to_owned);
        } else if let Some((reason, message)) = trouble {
            fail(v, d, r, &gray, &reason, &message);
        } else {
            wake(d, r.deadline);
        }
    } else if gray.stage == Stage::Updating && !r.to.is_empty() && count.ready >= wanted && v.acked {
        gray.stage = Stage::Verifying;
        gray.since = v.now;
        r.deadline = deadline(v);
        let message = format!("step {step} of {total}: {} of {n} instances are on revision {}", count.updated, r.to);
        d.events.push(("Normal", "StepReady".into(), message));
        // With the table that follows from it.
        wake(d, v.now);
    } else if let Some((reason, message)) = trouble.filter(|_| gray.stage == Stage::Updating || count.ready < wanted) {
        fail(v, d, r, &gray, &reason, &message);
    } else if gray.stage == Stage::Verifying {
        if count.ready >= wanted {
            r.deadline = deadline(v);
        }
        verify(v, d, r, &mut gray);
    } else {
        wake(d, r.deadline);
    }
    r.gray = Some(gray);
    end
}

fn judged(gray: &Gray) -> BTreeMap<&String, &Analysis> {
    let Some((policy, step)) = gray.policy.as_ref().zip(gray.current()) else { return BTreeMap::new() };
    policy.analysis.iter().filter(|(name, _)| step.analysis.as_ref().is_none_or(|only| only.contains(*name))).collect()
}

/// Gray and stable, as the gateways have counted them.
fn sides(v: &View<'_>, d: &Decision, r: &Release) -> Sides {
    let of = |hash: Option<&String>| hash.and_then(|h| v.traffic.get(h)).cloned().unwrap_or_default();
    let restarts = d.instances.iter().filter(|i| i.revision == r.to).map(|i| u64::from(i.revision_restarts)).sum();
    Sides { gray: of(Some(&r.to)), stable: of(r.from.as_ref()), restarts, samples: v.samples.clone() }
}

/// What somebody else is asked, and has not answered yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub id: Asked,
    pub analysis: Analysis,
    pub revision: String,
    pub stable_revision: String,
    /// From 1.
    pub step: usize,
}

/// The questions that are open now. Each is asked once, and again when nobody remembers that it was.
pub(crate) fn questions(state: &State) -> Vec<Question> {
    let verifying = |r: &&Release| {
        let looks = r.paused.as_ref().is_none_or(|p| is_waited_out(p.reason));
        r.phase == ReleasePhase::Updating && r.clearing.is_none() && looks
    };
    let Some(r) = state.release.as_ref().filter(verifying) else { return Vec::new() };
    let Some(gray) = r.gray.as_ref().filter(|gray| gray.stage == Stage::Verifying) else { return Vec::new() };
    let open = |(name, analysis): (&String, &Analysis)| {
        let asked = gray.checks.get(name)?.asked?;
        Some(Question {
            id: (name.clone(), asked),
            analysis: analysis.clone(),
            revision: r.to.clone(),
            stable_revision: r.from.clone().unwrap_or_default(),
            step: gray.step + 1,
        })
    };
    judged(gray).into_iter().filter_map(open).collect()
}

/// A pause in which analyses go on.
fn is_waited_out(reason: PauseReason) -> bool {
    matches!(reason, PauseReason::ManualStep | PauseReason::UserPaused)
}

/// The verdict on the present step, and what follows.
fn verify(v: &View<'_>, d: &mut Decision, r: &mut Release, gray: &mut Gray) {
    let sides = sides(v, d, r);
    let pause = gray.current().and_then(|step| step.pause.clone()).unwrap_or_default();
    let until = gray.since + pause.duration_seconds.unwrap_or(0) * 1000;
    let over = v.now >= until;
    let mut checks = std::mem::take(&mut gray.checks);
    let verdict = analysis::judge(&mut checks, &judged(gray), &sides, over, v.now);
    gray.checks = checks;
    let stopped = r.paused.is_some();
    match verdict {
        Verdict::Failed(message) => fail(v, d, r, gray, "AnalysisFailed", &message),
        Verdict::Running(at) => {
            let at = if over { at } else { at.min(until) };
            if at < i64::MAX {
                wake(d, at);
            }
        }
        Verdict::Inconclusive(missing, message) if !stopped => stand(v, d, r, missing, message),
        Verdict::Passed if !stopped && pause.manual => {
            let message = format!("step {} of {} waits for a user", gray.step + 1, gray.total_steps());
            stand(v, d, r, PauseReason::ManualStep, message);
        }
        Verdict::Passed if !stopped => {
            gray.enter(gray.step + 1, v.policy, v.now);
            r.deadline = deadline(v);
            wake(d, v.now);
        }
        Verdict::Inconclusive(..) | Verdict::Passed => {
            if let Some(next) = gray.checks.values().map(|c| c.since).min() {
                let interval = judged(gray).values().map(|a| a.interval_seconds).min().unwrap_or(60);
                wake(d, next + interval * 1000);
            }
        }
    }
}

/// Stands still, with the reason.
fn stand(v: &View<'_>, d: &mut Decision, r: &mut Release, reason: PauseReason, message: String) {
    let kind = if reason == PauseReason::ManualStep { "Normal" } else { "Warning" };
    d.events.push((kind, reason.word().into(), message.clone()));
    r.paused = Some(Paused { reason, message, since: v.now });
    wake(d, v.now);
}

/// What the policy wants when a step fails.
fn fail(v: &View<'_>, d: &mut Decision, r: &mut Release, gray: &Gray, reason: &str, message: &str) {
    let wants = gray.policy.as_ref().map(|p| p.on_failure).unwrap_or_default();
    let text = format!("step {} of {}: {message}", gray.step + 1, gray.total_steps());
    match wants {
        gray_policy::OnFailure::Rollback => take_back(v, d, r, reason, &text),
        gray_policy::OnFailure::Abort => {
            let message = format!("{reason}: {text}; all requests go to revision {}", r.from.as_deref().unwrap_or(""));
            stand(v, d, r, PauseReason::TrafficOnStable, message);
        }
        gray_policy::OnFailure::Pause => {
            let why = match reason {
                "AnalysisFailed" => PauseReason::AnalysisFailed,
                "ProgressDeadlineExceeded" => PauseReason::DeadlineExceeded,
                _ => PauseReason::Failures,
            };
            let message = if why == PauseReason::Failures { format!("{reason}: {text}") } else { text };
            stand(v, d, r, why, message);
        }
    }
}

/// A pause ends by a verb, by a new spec, by an analysis that fails, or when it is too old.
fn pause_goes_on(v: &View<'_>, d: &mut Decision, r: &mut Release) -> End {
    let paused = r.paused.clone()?;
    let mut gray = r.gray.take()?;
    let policy = gray.policy.as_ref();
    let until = paused.since + policy.map_or(0, |p| p.promotion_timeout_seconds) * 1000;
    let on_failure = policy.map(|p| p.on_failure).unwrap_or_default();
    if is_waited_out(paused.reason) && gray.stage == Stage::Verifying && !gray.is_promoting() {
        verify(v, d, r, &mut gray);
    }
    let still = r.paused.as_ref() == Some(&paused);
    if still && v.now < until {
        wake(d, until);
    } else if still {
        let message = format!("{}; nobody went on: {}", paused.reason.word(), paused.message);
        match (on_failure, paused.reason) {
            (gray_policy::OnFailure::Rollback, _) | (_, PauseReason::TrafficOnStable) => {
                take_back(v, d, r, "PromotionTimeout", &message);
            }
            (gray_policy::OnFailure::Abort, _) => fail(v, d, r, &gray, "PromotionTimeout", &message),
            // It stays as it is; said again after as long a time.
            (gray_policy::OnFailure::Pause, _) => {
                d.events.push(("Warning", "PromotionTimeout".into(), message));
                r.paused = Some(Paused { since: v.now, ..paused });
            }
        }
    }
    r.gray = Some(gray);
    None
}

/// Scale operations that came during the release end when the number is there.
fn settle_scales(v: &View<'_>, d: &mut Decision, r: &mut Release) {
    let Some(gray) = r.gray.as_mut().filter(|gray| !gray.scales.is_empty()) else { return };
    let n = replicas(v) + gray.additional(replicas(v));
    let ready = d.instances.iter().filter(|i| i.is_available(min_ready_ms(v), v.now)).count() as u64;
    let done = ready >= n && d.instances.len() as u64 == n;
    let late = v.now >= r.deadline && r.paused.is_none();
    let (phase, reason) = match (done, late) {
        (true, _) => (OperationPhase::Succeeded, ""),
        (false, true) => (OperationPhase::Failed, "ProgressDeadlineExceeded"),
        (false, false) => (OperationPhase::Running, ""),
    };
    for id in &gray.scales {
        d.operations.push(OperationUpdate {
            id: id.clone(),
            phase,
            reason: reason.into(),
            message: if late && !done { format!("{ready} of {n} instances are ready") } else { String::new() },
            progress: Progress { total: n, updated: n, ready, failing: Vec::new() },
        });
    }
    if phase.is_terminal() {
        gray.scales.clear();
    }
}

/// Writes down what was decided.
fn conclude(v: &View<'_>, d: &mut Decision, mut r: Release, progress: Progress, end: End) {
    let (phase, reason, message) = match end {
        Some((phase, reason, message)) => {
            r.reason.clone_from(&reason);
            r.message.clone_from(&message);
            let event = if phase == OperationPhase::Succeeded { "Normal" } else { "Warning" };
            let title = if reason.is_empty() { "ReleaseSucceeded".to_owned() } else { reason.clone() };
            let text = if message.is_empty() { format!("revision {} is ready", r.to) } else { message.clone() };
            d.events.push((event, title, text));
            for id in r.gray.iter_mut().flat_map(|gray| std::mem::take(&mut gray.scales)) {
                let (reason, message) = (reason.clone(), message.clone());
                d.operations.push(OperationUpdate { id, phase, reason, message, progress: progress.clone() });
            }
            (phase, reason, message)
        }
        None => match &r.paused {
            Some(paused) => (OperationPhase::Paused, paused.reason.word().to_owned(), paused.message.clone()),
            None => {
                let waiting = v.wanted.err().map(|e| (e.reason.clone(), e.message.clone())).unwrap_or_default();
                (OperationPhase::Running, waiting.0, waiting.1)
            }
        },
    };
    d.operations.push(OperationUpdate { id: r.operation.clone(), phase, reason, message, progress });
    d.state.release = Some(r);
}

/// How the newest release stands, for callers.
pub(crate) fn rollout(v: &View<'_>, d: &Decision) -> Rollout {
    let Some(r) = &d.state.release else { return Rollout { phase: "None".into(), ..Rollout::default() } };
    let n = replicas(v);
    let on = |i: &&Instance| i.revision == r.to && !i.terminating;
    let ready = |i: &&Instance| i.is_available(min_ready_ms(v), v.now);
    let gray = r.gray.as_ref().filter(|_| r.is_active());
    let stage = match gray {
        _ if r.paused.is_some() => "Paused",
        _ if r.clearing.is_some() => "RollingBack",
        Some(gray) if gray.is_promoting() => "Promoting",
        Some(Gray { stage: Stage::Verifying, .. }) => "Verifying",
        _ => "Updating",
    };
    let phase = match r.phase {
        ReleasePhase::Updating => stage,
        ReleasePhase::RollingBack => "RollingBack",
        ReleasePhase::Succeeded => "Succeeded",
        ReleasePhase::Failed => "Failed",
        ReleasePhase::RolledBack => "RolledBack",
        ReleasePhase::Aborted => "Aborted",
    };
    let (reason, message) = match &r.paused {
        Some(paused) if r.is_active() => (paused.reason.word().to_owned(), paused.message.clone()),
        _ => (r.reason.clone(), r.message.clone()),
    };
    let serving = |gray: bool| {
        d.instances
            .iter()
            .filter(|i| i.traffic == Traffic::On && !i.terminating && (!gray || i.revision == r.to))
            .count()
    };
    let split = split(&d.state, n);
    let wanted = split.as_ref().map_or(0, |s| s.weight);
    let weight = match &split {
        Some(s) if s.shared => cap(s.weight, serving(true), serving(false)),
        Some(s) if serving(true) > 0 => s.weight,
        _ => 0,
    };
    let limited = || format!("{} of {} ready instances are gray", serving(true), serving(false));
    Rollout {
        phase: phase.into(),
        step: gray.map_or(0, |gray| gray.step as u32 + 1),
        total_steps: r.gray.as_ref().map_or(0, |gray| gray.total_steps() as u32),
        weight_percent: f64::from(weight) / 100.0,
        weight_limited_by: if weight < wanted { limited() } else { String::new() },
        revision: r.to.clone(),
        stable_revision: r.from.clone().unwrap_or_default(),
        reason,
        message,
        operation: r.operation.clone(),
        queued: d.state.queued.as_ref().map(|q| q.request.operation.clone()).unwrap_or_default(),
        wanted: gray.map_or(n, |gray| gray.wanted(n)),
        updated: d.instances.iter().filter(on).count() as u64,
        ready: d.instances.iter().filter(on).filter(ready).count() as u64,
        analysis: gray.map_or_else(Vec::new, verdicts),
    }
}

fn verdicts(gray: &Gray) -> Vec<rollout::Verdict> {
    let limit = |name: &String| gray.policy.as_ref().and_then(|p| p.analysis.get(name)).map_or(1, |a| a.failure_limit);
    let word = |name: &String, c: &Check| match c {
        c if i64::from(c.failed) >= limit(name) => "Failed",
        c if c.conclusive > 0 && !c.last_failed => "Passed",
        c if c.windows > 0 && c.conclusive == 0 => "Inconclusive",
        _ => "Running",
    };
    let one = |(name, c): (&String, &Check)| rollout::Verdict {
        name: name.clone(),
        result: word(name, c).into(),
        message: c.message.clone(),
    };
    gray.checks.iter().map(one).collect()
}
