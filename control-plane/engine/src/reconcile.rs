//! One application: release, scale, and the steps of its instances.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sampan_schema::application::{OnFailure, Spec, Status};
use sampan_schema::operation::{Phase as OperationPhase, Progress};
use sampan_schema::quantity;

use crate::application::{Cause, Release, ReleasePhase, State};
use crate::instance::{self, Action, Instance, Knobs, Phase, Seen, Traffic};
use crate::revision::Revision;
use crate::runtime::{ClassStatus, ImageState, RuntimeError, SandboxSpec};

/// Everything a decision may look at.
#[derive(Debug)]
pub struct View<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    /// Makes instance names unique across re-creations of the application.
    pub uid: &'a str,
    pub spec: &'a Spec,
    pub generation: i64,
    pub deleting: bool,
    pub state: &'a State,
    pub instances: &'a [Instance],
    /// By hash; holds every revision that state and instances name.
    pub revisions: &'a BTreeMap<String, Revision>,
    /// The revision of the present spec; `Err` says why there is none yet.
    pub wanted: Result<&'a Revision, &'a RuntimeError>,
    /// By instance name.
    pub seen: &'a BTreeMap<String, Seen>,
    /// By pull reference.
    pub images: &'a BTreeMap<String, ImageState>,
    /// By class.
    pub classes: &'a BTreeMap<String, ClassStatus>,
    /// Milliseconds since the epoch.
    pub now: i64,
}

/// How an operation changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationUpdate {
    pub id: String,
    pub phase: OperationPhase,
    pub reason: String,
    pub message: String,
    pub progress: Progress,
}

/// What follows. Rows are committed before actions are carried out.
#[derive(Debug)]
pub struct Decision {
    pub instances: Vec<Instance>,
    /// Names of rows that are gone.
    pub gone: Vec<String>,
    pub state: State,
    pub status: Status,
    pub operations: Vec<OperationUpdate>,
    pub actions: Vec<Action>,
    /// `(instance, container id)` whose probes should run.
    pub probes: Vec<(String, String)>,
    pub wake_at: Option<i64>,
    /// Deleting, and nothing is left.
    pub finished: bool,
    /// `(type, reason, message)`.
    pub events: Vec<(&'static str, String, String)>,
}

/// Decides about one application.
pub fn reconcile(v: &View<'_>) -> Decision {
    let mut d = Decision {
        instances: v.instances.to_vec(),
        gone: Vec::new(),
        state: v.state.clone(),
        status: Status::default(),
        operations: Vec::new(),
        actions: Vec::new(),
        probes: Vec::new(),
        wake_at: None,
        finished: false,
        events: Vec::new(),
    };
    if v.deleting {
        for i in &mut d.instances {
            i.terminating = true;
        }
    } else {
        take_request(v, &mut d);
        follow_config(v, &mut d);
        aim(v, &mut d);
        retarget(v, &mut d);
        scale(v, &mut d);
    }
    steps(v, &mut d);
    if v.deleting {
        d.finished = d.instances.is_empty();
    } else {
        judge(v, &mut d);
    }
    d.status = status(v, &d);
    d
}

fn wake(d: &mut Decision, at: i64) {
    d.wake_at = Some(d.wake_at.map_or(at, |w| w.min(at)));
}

fn deadline(v: &View<'_>) -> i64 {
    v.now + v.spec.update_strategy.progress_deadline_seconds * 1000
}

/// A new request becomes the release; one that was under way is superseded.
fn take_request(v: &View<'_>, d: &mut Decision) {
    let Some(request) = d.state.request.take() else { return };
    if let Some(old) = d.state.release.take().filter(Release::is_active) {
        d.operations.push(OperationUpdate {
            id: old.operation,
            phase: OperationPhase::Superseded,
            reason: "Superseded".into(),
            message: format!("operation {} took over", request.operation),
            progress: Progress::default(),
        });
    }
    if request.cause == Cause::Restart {
        d.state.restart_epoch += 1;
    }
    for i in &mut d.instances {
        // A new try starts with a clean sheet.
        i.permanent = false;
        i.retry_at = i.retry_at.min(v.now);
    }
    d.state.release = Some(Release {
        operation: request.operation,
        generation: request.generation,
        from: d.state.current.clone(),
        to: String::new(),
        phase: ReleasePhase::Updating,
        deadline: deadline(v),
        progress: 0,
        reason: String::new(),
        message: String::new(),
        cause: request.cause,
    });
}

/// The content of referenced configuration changed, and the application asked to follow it: a release that nobody
/// waits for. A change of an inherited class waits for the next recreate instead.
fn follow_config(v: &View<'_>, d: &mut Decision) {
    let (Some(last), Ok(wanted)) = (&d.state.release, v.wanted) else { return };
    let same_sandbox = v.revisions.get(&last.to).is_some_and(|r| r.sandbox_hash == wanted.sandbox_hash);
    if last.phase == ReleasePhase::Succeeded && last.to != wanted.hash && same_sandbox {
        d.events.push((
            "Normal",
            "ConfigChanged".into(),
            "referenced configuration changed: restarting in place".into(),
        ));
        d.state.release = Some(Release {
            operation: String::new(),
            generation: v.generation,
            from: d.state.current.clone(),
            to: wanted.hash.clone(),
            phase: ReleasePhase::Updating,
            deadline: deadline(v),
            progress: 0,
            reason: String::new(),
            message: String::new(),
            cause: Cause::Deploy,
        });
    }
}

/// An active release follows the revision of the present spec.
fn aim(v: &View<'_>, d: &mut Decision) {
    if let (Some(r), Ok(wanted)) = (d.state.release.as_mut(), v.wanted)
        && r.phase == ReleasePhase::Updating
        && r.to != wanted.hash
    {
        r.to.clone_from(&wanted.hash);
    }
}

/// The revision that new instances get, and that instances go to unless they may stay.
fn goal(state: &State) -> Option<&str> {
    match &state.release {
        Some(r) if r.phase == ReleasePhase::Updating && !r.to.is_empty() => Some(&r.to),
        Some(r) if !r.is_active() && r.phase == ReleasePhase::Succeeded => Some(&r.to),
        Some(r) => r.from.as_deref().or_else(|| (!r.to.is_empty()).then_some(r.to.as_str())),
        None => state.current.as_deref(),
    }
}

fn min_ready_ms(v: &View<'_>) -> i64 {
    v.spec.update_strategy.min_ready_seconds * 1000
}

/// Why the release can make no sandbox: the class of its revision has no handler. Running instances stay untouched.
fn blocked(v: &View<'_>, state: &State) -> Option<RuntimeError> {
    let release =
        state.release.as_ref().filter(|r| matches!(r.phase, ReleasePhase::Updating | ReleasePhase::Failed))?;
    let class = &v.revisions.get(&release.to)?.class;
    let message = match v.classes.get(class) {
        Some(known) if known.available => return None,
        Some(known) => known.reason.clone(),
        None => format!("isolation class {class} is not known to this server"),
    };
    Some(RuntimeError::permanent("IsolationUnavailable", message))
}

/// Sends instances to the goal, as many at once as the budget allows.
fn retarget(v: &View<'_>, d: &mut Decision) {
    let Some(goal) = goal(&d.state).and_then(|g| v.revisions.get(g)) else { return };
    let failed = d.state.release.as_ref().is_some_and(|r| r.phase == ReleasePhase::Failed);
    let failed_to = d.state.release.as_ref().filter(|_| failed).map(|r| r.to.clone());
    let epoch = d.state.restart_epoch;
    let now = v.now;
    let min_ready = min_ready_ms(v);
    let n = v.spec.replicas.max(0) as u64;
    let (max_unavailable, _) = v.spec.budget();
    let differs = |i: &Instance| {
        let stays = failed_to.as_deref() == Some(i.revision.as_str()) && i.is_available(0, now);
        !i.terminating && !stays && (i.revision != goal.hash || (i.restart_epoch < epoch && !failed))
    };
    let recreate = |i: &Instance| i.sandbox_hash != goal.sandbox_hash;
    let can_be_had = v.classes.get(&goal.class).is_some_and(|class| class.available);
    let available = d.instances.iter().filter(|i| i.is_available(min_ready, now)).count() as u64;
    // With surge, the extra instances carry the update: available ones above `n - max_unavailable` may go.
    let floor = n.saturating_sub(max_unavailable);
    let mut spare = available.saturating_sub(floor);
    let mut order: Vec<usize> = (0..d.instances.len()).filter(|i| differs(&d.instances[*i])).collect();
    order.sort_by_key(|i| (d.instances[*i].is_available(min_ready, now), d.instances[*i].name.clone()));
    for at in order {
        let i = &mut d.instances[at];
        let costs = i.is_available(min_ready, now);
        if costs && spare == 0 {
            continue;
        }
        if recreate(i) {
            // What cannot be replaced is kept.
            if !can_be_had {
                continue;
            }
            i.terminating = true;
        } else {
            let listed = v.seen.get(&i.name).filter(|s| s.listed && !s.busy);
            let Some(seen) = listed else { continue };
            let sandbox = seen.sandboxes.iter().find(|s| s.generation == i.sandbox.generation);
            // Back to what still runs: nothing is restarted.
            let still = sandbox
                .and_then(|s| {
                    s.containers
                        .iter()
                        .find(|c| c.state == crate::runtime::ContainerState::Running && c.revision == goal.hash)
                })
                .filter(|_| i.restart_epoch == epoch);
            i.attempt = match (still, sandbox) {
                (Some(c), _) => c.attempt,
                (None, Some(s)) => {
                    instance::next_attempt(s).max(i.attempt.saturating_add(u32::from(!s.containers.is_empty())))
                }
                (None, None) => i.attempt,
            };
            // Its old container may serve on; it counts again once the new one is ready.
            i.phase = Phase::Updating;
            i.ready_since = None;
            i.revision.clone_from(&goal.hash);
            i.restart_epoch = epoch;
            i.permanent = false;
            i.failures = 0;
            i.retry_at = 0;
        }
        if costs {
            spare -= 1;
        }
    }
}

/// Adds and removes instances until there are as many as wanted.
fn scale(v: &View<'_>, d: &mut Decision) {
    let Some(goal) = goal(&d.state).and_then(|g| v.revisions.get(g)).cloned() else { return };
    let n = v.spec.replicas.max(0) as usize;
    let (_, surge) = v.spec.budget();
    let epoch = d.state.restart_epoch;
    let outdated =
        d.instances.iter().filter(|i| i.revision != goal.hash || i.restart_epoch < epoch || i.terminating).count();
    let active = d.state.release.as_ref().is_some_and(Release::is_active);
    let extra = if active { outdated.min(surge as usize) } else { 0 };
    let alive = d.instances.iter().filter(|i| !i.terminating).count();
    // Without surge an old instance has to be gone before its successor is made.
    let room = (n + extra).saturating_sub(d.instances.len()).min((n + extra).saturating_sub(alive));
    for _ in 0..room {
        d.state.made += 1;
        let name = format!("{}-{}-{}", v.name, &v.uid[..v.uid.len().min(4)], d.state.made);
        let resources = &v.spec.resources;
        let template: Option<Spec> = serde_json::from_value(goal.template.clone()).ok();
        let resources = template.as_ref().map_or(resources, |t| &t.resources);
        d.instances.push(Instance {
            sandbox: SandboxSpec {
                instance: name.clone(),
                namespace: v.namespace.to_owned(),
                application: v.name.to_owned(),
                class: goal.class.clone(),
                generation: 0,
                cpu_millis: quantity::cpu_millis(&resources.cpu).unwrap_or(100),
                memory_bytes: quantity::bytes(&resources.memory).unwrap_or(64 << 20),
            },
            name,
            sandbox_hash: goal.sandbox_hash.clone(),
            revision: goal.hash.clone(),
            attempt: 0,
            restart_epoch: d.state.restart_epoch,
            isolation: None,
            sandbox_id: None,
            phase: Phase::Pending,
            traffic: Traffic::Off,
            draining_since: None,
            ready_since: None,
            retry_at: 0,
            failures: 0,
            restarts: 0,
            terminating: false,
            permanent: false,
            reason: String::new(),
            message: String::new(),
            created_at: v.now,
        });
    }
    let surplus = alive.saturating_sub(n + extra);
    if surplus > 0 {
        let mut order: Vec<usize> = (0..d.instances.len()).filter(|i| !d.instances[*i].terminating).collect();
        order.sort_by_key(|i| {
            let i = &d.instances[*i];
            (i.is_available(0, v.now), i.revision == goal.hash, Reverse(i.created_at), Reverse(i.name.clone()))
        });
        for at in order.into_iter().take(surplus) {
            d.instances[at].terminating = true;
        }
    }
}

fn steps(v: &View<'_>, d: &mut Decision) {
    let unseen = Seen::default();
    let mut rows = Vec::new();
    let mut pulls: Vec<String> = Vec::new();
    for row in std::mem::take(&mut d.instances) {
        let fresh = Seen { listed: true, acked: true, ..Seen::default() };
        let is_new = !v.instances.iter().any(|i| i.name == row.name);
        let seen = v.seen.get(&row.name).unwrap_or(if is_new { &fresh } else { &unseen });
        let revision = v.revisions.get(&row.revision);
        let missing = ClassStatus {
            class: row.sandbox.class.clone(),
            handler: String::new(),
            available: false,
            reason: "this server does not know the class".into(),
        };
        let reference = revision.map_or("", |r| r.pull_reference.as_str());
        let knobs = Knobs {
            grace_seconds: v.spec.lifecycle_hooks.termination_grace_period_seconds.max(0) as u64,
            drain_timeout_ms: v.spec.lifecycle_hooks.offline.drain_timeout_seconds.max(0) * 1000,
            class: v.classes.get(&row.sandbox.class).unwrap_or(&missing),
            image: v.images.get(reference),
            pull_reference: reference,
            spec_hash: revision.map_or("", |r| r.spec_hash.as_str()),
            now: v.now,
        };
        let name = row.name.clone();
        let step = instance::step(row, seen, &knobs);
        for a in step.actions {
            match &a {
                Action::Pull { reference } if pulls.contains(reference) => {}
                Action::Pull { reference } => {
                    pulls.push(reference.clone());
                    d.actions.push(a);
                }
                _ => d.actions.push(a),
            }
        }
        if let Some(at) = step.wake_at {
            wake(d, at);
        }
        if let Some(container) = step.probe {
            d.probes.push((name.clone(), container));
        }
        match step.instance {
            Some(row) => {
                let min_ready = min_ready_ms(v);
                if let Some(at) = row.ready_since.map(|t| t + min_ready).filter(|at| *at > v.now) {
                    wake(d, at);
                }
                rows.push(row);
            }
            None => d.gone.push(name),
        }
    }
    d.instances = rows;
}

/// Ends, moves on or fails the release.
fn judge(v: &View<'_>, d: &mut Decision) {
    let Some(mut r) = d.state.release.clone() else { return };
    if !r.is_active() {
        return;
    }
    let goal = goal(&d.state).map(str::to_owned);
    let min_ready = min_ready_ms(v);
    let n = v.spec.replicas.max(0) as u64;
    let on_goal = |i: &&Instance| {
        goal.as_deref() == Some(i.revision.as_str()) && i.restart_epoch == d.state.restart_epoch && !i.terminating
    };
    let updated = d.instances.iter().filter(on_goal).count() as u64;
    let ready = d.instances.iter().filter(on_goal).filter(|i| i.is_available(min_ready, v.now)).count() as u64;
    let failing: Vec<String> = d
        .instances
        .iter()
        .filter(|i| !i.reason.is_empty())
        .take(3)
        .map(|i| format!("{}: {}: {}", i.name, i.reason, i.message))
        .collect();
    if ready > r.progress {
        r.progress = ready;
        r.deadline = deadline(v);
    }
    let resolved = !r.to.is_empty() || r.phase == ReleasePhase::RollingBack;
    let all = resolved && ready == n && d.instances.len() as u64 == n;
    let permanent = match v.wanted {
        Err(e) if r.to.is_empty() && e.permanent => Some((e.reason.clone(), e.message.clone())),
        _ => d
            .instances
            .iter()
            .filter(on_goal)
            .find(|i| i.permanent)
            .map(|i| (i.reason.clone(), format!("{}: {}", i.name, i.message))),
    };
    let late = v.now >= r.deadline;
    let blocked = blocked(v, &d.state);
    let why = || {
        let cause = failing.first().cloned();
        let cause = cause.or_else(|| blocked.as_ref().or(v.wanted.err()).map(ToString::to_string));
        let waited = v.spec.update_strategy.progress_deadline_seconds;
        match cause {
            Some(c) => format!("no progress for {waited} s; {c}"),
            None => format!("no progress for {waited} s; {ready} of {n} instances are ready"),
        }
    };
    let mut end: Option<(OperationPhase, String, String)> = None;
    match r.phase {
        ReleasePhase::Updating if all => {
            r.phase = ReleasePhase::Succeeded;
            d.state.current = Some(r.to.clone());
            d.state.observed_generation = r.generation;
            end = Some((OperationPhase::Succeeded, String::new(), String::new()));
        }
        ReleasePhase::RollingBack if all => {
            r.phase = ReleasePhase::RolledBack;
            end = Some((OperationPhase::RolledBack, r.reason.clone(), r.message.clone()));
        }
        _ if permanent.is_some() || late => {
            let (reason, message) = permanent.unwrap_or_else(|| ("ProgressDeadlineExceeded".into(), why()));
            let roll_back = r.phase == ReleasePhase::Updating
                && v.spec.rollout.on_failure == OnFailure::Rollback
                && r.from.as_ref().is_some_and(|f| *f != r.to);
            if roll_back {
                r.phase = ReleasePhase::RollingBack;
                r.deadline = deadline(v);
                r.progress = 0;
                r.reason.clone_from(&reason);
                r.message = format!("{message}; rolled back to revision {}", r.from.as_deref().unwrap_or(""));
                d.events.push(("Warning", reason, r.message.clone()));
                wake(d, v.now);
            } else {
                let reason = if r.phase == ReleasePhase::RollingBack { "RollbackFailed".into() } else { reason };
                r.phase = ReleasePhase::Failed;
                end = Some((OperationPhase::Failed, reason, message));
                // Failed instances go back at once.
                wake(d, v.now);
            }
        }
        _ => wake(d, r.deadline),
    }
    let progress = Progress { total: n, updated, ready, failing };
    let (phase, reason, message) = match end {
        Some((phase, reason, message)) => {
            r.reason.clone_from(&reason);
            r.message.clone_from(&message);
            let event = if phase == OperationPhase::Succeeded { "Normal" } else { "Warning" };
            let title = if reason.is_empty() { "ReleaseSucceeded".to_owned() } else { reason.clone() };
            let text = if message.is_empty() { format!("revision {} is ready", r.to) } else { message.clone() };
            d.events.push((event, title, text));
            (phase, reason, message)
        }
        None => {
            let waiting = v.wanted.err().map(|e| (e.reason.clone(), e.message.clone())).unwrap_or_default();
            (OperationPhase::Running, waiting.0, waiting.1)
        }
    };
    d.operations.push(OperationUpdate { id: r.operation.clone(), phase, reason, message, progress });
    d.state.release = Some(r);
}

fn status(v: &View<'_>, d: &Decision) -> Status {
    let release = d.state.release.as_ref();
    let active = release.is_some_and(Release::is_active);
    let n = v.spec.replicas.max(0) as u64;
    let ready = d.instances.iter().filter(|i| i.is_available(0, v.now)).count() as u64;
    let update = release.map(|r| r.to.clone()).filter(|t| !t.is_empty());
    let first_bad = d.instances.iter().find(|i| !i.reason.is_empty());
    let failed = release.is_some_and(|r| matches!(r.phase, ReleasePhase::Failed | ReleasePhase::RolledBack));
    let blocked = blocked(v, &d.state);
    let (reason, message) = match (first_bad, v.wanted, release) {
        _ if let Some(e) = &blocked => (e.reason.clone(), e.message.clone()),
        (_, _, Some(r)) if failed => (r.reason.clone(), r.message.clone()),
        (Some(i), _, _) => (i.reason.clone(), format!("{}: {}", i.name, i.message)),
        (None, Err(e), _) => (e.reason.clone(), e.message.clone()),
        _ => Default::default(),
    };
    let phase = if v.deleting {
        "Deleting"
    } else if blocked.is_some() {
        "Pending"
    } else if failed || (!active && ready < n) {
        "Degraded"
    } else if active {
        if d.instances.is_empty() && n > 0 { "Pending" } else { "Progressing" }
    } else {
        "Running"
    };
    let digest = update.as_ref().and_then(|u| v.revisions.get(u)).map(|r| r.image_digest.clone());
    let verdicts: Vec<Option<bool>> =
        d.instances.iter().filter_map(|i| i.isolation.as_ref()).map(|i| i.verified).collect();
    let verified = if verdicts.is_empty() || verdicts.iter().any(Option::is_none) {
        None
    } else {
        Some(verdicts.iter().all(|x| *x == Some(true)))
    };
    let class = v.wanted.map(|w| w.class.clone()).ok();
    Status {
        phase: phase.into(),
        reason,
        message,
        observed_generation: d.state.observed_generation,
        current_revision: d.state.current.clone().unwrap_or_default(),
        update_revision: update.clone().unwrap_or_default(),
        image_digest: digest.unwrap_or_default(),
        isolation_class: class.unwrap_or_default(),
        isolation_verified: verified,
        last_operation: None,
        replicas: d.instances.len() as i64,
        ready_replicas: ready as i64,
        updated_replicas: d.instances.iter().filter(|i| Some(&i.revision) == update.as_ref()).count() as i64,
    }
}
