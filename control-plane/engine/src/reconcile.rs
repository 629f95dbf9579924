//! One application: release, scale, and the steps of its instances.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sampan_schema::application::{Spec, Status};
use sampan_schema::gray_policy;
use sampan_schema::operation::{Phase as OperationPhase, Progress};
use sampan_schema::quantity;

use crate::analysis::{Asked, Sample};
use crate::application::{Release, ReleasePhase, State};
use crate::instance::{self, Action, Instance, Knobs, Phase, Seen, Traffic};
use crate::release::{self, Aim, Question};
use crate::revision::Revision;
use crate::runtime::{ClassStatus, ImageState, RuntimeError, SandboxSpec};
use crate::traffic::Counters;

/// Everything a decision may look at.
#[derive(Debug)]
pub struct View<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    /// Makes instance names unique across re-creations of the application.
    pub uid: &'a str,
    /// The one in force: see [`State::in_force`].
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
    /// The gray policy that the application names.
    pub policy: Option<&'a gray_policy::Spec>,
    /// What the gateways have counted of this application, by revision.
    pub traffic: &'a BTreeMap<String, Counters>,
    /// What somebody else has answered to the questions of an earlier decision.
    pub samples: &'a BTreeMap<Asked, Sample>,
    /// Every gateway has the route table that follows from the rows as they are.
    pub acked: bool,
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
    /// What somebody else is to be asked.
    pub questions: Vec<Question>,
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
        questions: Vec::new(),
        wake_at: None,
        finished: false,
        events: Vec::new(),
    };
    if v.deleting {
        for i in &mut d.instances {
            i.terminating = true;
        }
    } else {
        release::take_request(v, &mut d);
        release::take_verb(v, &mut d);
        release::follow_config(v, &mut d);
        release::follow_spec(v, &mut d);
        retarget(v, &mut d);
        scale(v, &mut d);
    }
    steps(v, &mut d);
    if v.deleting {
        d.finished = d.instances.is_empty();
    } else {
        release::judge(v, &mut d);
        release::next_in_line(v, &mut d);
    }
    d.questions = release::questions(&d.state);
    d.status = status(v, &d);
    d.state.rollout = release::rollout(v, &d);
    d
}

pub(crate) fn wake(d: &mut Decision, at: i64) {
    d.wake_at = Some(d.wake_at.map_or(at, |w| w.min(at)));
}

pub(crate) fn min_ready_ms(v: &View<'_>) -> i64 {
    v.spec.update_strategy.min_ready_seconds * 1000
}

/// Why the release can make no sandbox: the class of its revision has no handler. Running instances stay untouched.
pub(crate) fn blocked(v: &View<'_>, state: &State) -> Option<RuntimeError> {
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

/// Where each instance should be, of those that should be elsewhere than they are: its index and the revision.
fn moves<'a>(v: &View<'a>, d: &Decision, aim: &Aim<'a>) -> Vec<(usize, &'a Revision)> {
    let failed = d.state.release.as_ref().filter(|r| r.phase == ReleasePhase::Failed);
    let (epoch, now, min_ready) = (d.state.restart_epoch, v.now, min_ready_ms(v));
    let stays = |i: &Instance| failed.is_some_and(|r| r.to == i.revision) && i.is_available(0, now);
    let is_on = |i: &Instance| i.revision == aim.target.hash && (i.restart_epoch == epoch || failed.is_some());
    let on = d.instances.iter().filter(|i| !i.terminating && is_on(i)).count() as u64;
    let mut order: Vec<usize> = (0..d.instances.len())
        .filter(|at| !d.instances[*at].terminating && !stays(&d.instances[*at]) && !is_on(&d.instances[*at]))
        .collect();
    order.sort_by_key(|at| (d.instances[*at].is_available(min_ready, now), d.instances[*at].name.clone()));
    let mut room = if aim.converts { aim.wanted.saturating_sub(on) } else { 0 };
    let mut out = Vec::new();
    for at in order {
        if room > 0 {
            room -= 1;
            out.push((at, aim.target));
        } else if d.instances[at].revision != aim.rest.hash && d.instances[at].revision != aim.target.hash {
            out.push((at, aim.rest));
        }
    }
    out
}

/// Instances that are on a revision, and not on their way out.
fn on(instances: &[Instance]) -> impl Fn(&str) -> u64 {
    |hash| instances.iter().filter(|i| !i.terminating && i.revision == hash).count() as u64
}

/// Sends instances where they should be, as many at once as the budget allows.
fn retarget(v: &View<'_>, d: &mut Decision) {
    let Some(aim) = release::aim(v, &d.state, &on(&d.instances)) else { return };
    let epoch = d.state.restart_epoch;
    let now = v.now;
    let min_ready = min_ready_ms(v);
    let n = v.spec.replicas.max(0) as u64;
    let (max_unavailable, _) = v.spec.budget();
    let shunned = release::shunned_revision(&d.state).map(str::to_owned);
    // What gets no requests is no loss.
    let serves = |i: &Instance| i.is_available(min_ready, now) && shunned.as_ref() != Some(&i.revision);
    let available = d.instances.iter().filter(|i| serves(i)).count() as u64;
    // With surge, the extra instances carry the update: available ones above `n - max_unavailable` may go.
    let floor = n.saturating_sub(max_unavailable);
    let mut spare = available.saturating_sub(floor);
    let mut surplus = match &shunned {
        Some(_) => (d.instances.iter().filter(|i| !i.terminating).count() as u64).saturating_sub(n),
        None => 0,
    };
    for (at, goal) in moves(v, d, &aim) {
        let i = &mut d.instances[at];
        let recreate = i.sandbox_hash != goal.sandbox_hash;
        let can_be_had = v.classes.get(&goal.class).is_some_and(|class| class.available);
        let costs = serves(i);
        if costs && spare == 0 {
            continue;
        }
        if surplus > 0 && shunned.as_ref() == Some(&i.revision) {
            // It was made beside the others for the release that is taken back.
            surplus -= 1;
            i.terminating = true;
        } else if recreate {
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
            match (still, sandbox) {
                (Some(c), _) => i.keep_attempt(c.attempt),
                (None, Some(s)) => i.raise_attempt(s),
                (None, None) => {}
            }
            // Its old container may serve on; it counts again once the new one is ready.
            i.phase = Phase::Updating;
            i.ready_since = None;
            if i.revision != goal.hash {
                i.revision_restarts = 0;
            }
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
    let Some(aim) = release::aim(v, &d.state, &on(&d.instances)) else { return };
    let (own, additional) = (v.spec.replicas.max(0) as usize, release::additional(v, d) as usize);
    let n = own + additional;
    let (_, surge) = v.spec.budget();
    let terminating = d.instances.iter().filter(|i| i.terminating).count();
    let outdated = outdated(v, d, &aim) + terminating;
    let active = d.state.release.as_ref().is_some_and(Release::is_active);
    let extra = if active { outdated.min(surge as usize) } else { 0 };
    let alive = d.instances.len() - terminating;
    // Without surge an old instance has to be gone before its successor is made.
    let room = (n + extra).saturating_sub(d.instances.len()).min((n + extra).saturating_sub(alive));
    let mut on_target = on(&d.instances)(&aim.target.hash);
    for _ in 0..room {
        // What is missing of the released revision is made as such; the rest is stable.
        let goal = if on_target < aim.wanted { aim.target } else { aim.rest };
        on_target += u64::from(goal.hash == aim.target.hash);
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
            pulling: false,
            highest: 0,
            ready_since: None,
            retry_at: 0,
            failures: 0,
            restarts: 0,
            revision_restarts: 0,
            stopping: false,
            hung_stops: 0,
            terminating: false,
            permanent: false,
            reason: String::new(),
            message: String::new(),
            created_at: v.now,
        });
    }
    let surplus = alive.saturating_sub(n + extra);
    if surplus > 0 {
        remove(v, d, &aim, surplus);
    } else if additional > 0 && room == 0 && on_target < aim.wanted {
        make_room(v, d, &aim, own, (aim.wanted - on_target) as usize);
    }
}

/// What is made in addition needs the room that stable takes beyond its number: after a scale in that came when all of
/// the others were lost.
fn make_room(v: &View<'_>, d: &mut Decision, aim: &Aim<'_>, own: usize, lacking: usize) {
    let mut stable: Vec<&mut Instance> =
        d.instances.iter_mut().filter(|i| !i.terminating && i.revision != aim.target.hash).collect();
    let spare = stable.len().saturating_sub(own).min(lacking);
    stable.sort_by_key(|i| (i.is_available(0, v.now), Reverse(i.created_at), Reverse(i.name.clone())));
    stable.into_iter().take(spare).for_each(|i| i.terminating = true);
}

/// Instances that still have to leave where they are, for which surge may stand in. None once those of the step are
/// ready: what is then too much is removed.
fn outdated(v: &View<'_>, d: &Decision, aim: &Aim<'_>) -> usize {
    let alive = d.instances.iter().filter(|i| !i.terminating);
    let (on, off): (Vec<&Instance>, Vec<&Instance>) = alive.partition(|i| i.revision == aim.target.hash);
    let moves = moves(v, d, aim).len();
    if moves == 0 && on.iter().all(|i| i.is_available(0, v.now)) {
        return 0;
    }
    let stay = (v.spec.replicas.max(0) as u64).saturating_sub(aim.wanted);
    off.len().saturating_sub(stay as usize).max(moves)
}

/// Takes instances away: those first that serve nobody, then those that are not where they should be, then the newest.
fn remove(v: &View<'_>, d: &mut Decision, aim: &Aim<'_>, surplus: usize) {
    let shunned = release::shunned_revision(&d.state).map(str::to_owned);
    let mut over = on(&d.instances)(&aim.target.hash).saturating_sub(aim.wanted);
    for _ in 0..surplus {
        let key = |i: &Instance| {
            let on_target = i.revision == aim.target.hash;
            // Of a step's number only what is too much.
            let misplaced = if over > 0 { on_target } else { !on_target };
            (
                shunned.as_ref() != Some(&i.revision),
                aim.switched && !misplaced,
                i.is_available(0, v.now),
                !misplaced,
                Reverse(i.created_at),
                Reverse(i.name.clone()),
            )
        };
        let Some(victim) = d.instances.iter_mut().filter(|i| !i.terminating).min_by_key(|i| key(i)) else { return };
        over = over.saturating_sub(u64::from(victim.revision == aim.target.hash));
        victim.terminating = true;
    }
}

fn steps(v: &View<'_>, d: &mut Decision) {
    let unseen = Seen::default();
    let pre_stop = |hash: &str| {
        let template = v.revisions.get(hash).map(|r| r.template.clone())?;
        let spec = serde_json::from_value::<Spec>(template).ok()?;
        let mut hook = spec.lifecycle_hooks.pre_stop.clone()?;
        if let Some(get) = &mut hook.http_get
            && let Some(port) = spec.port(&get.port)
        {
            // A name means what it meant when the container was made.
            get.port = port.to_string();
        }
        Some(hook)
    };
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
            registration_delay_ms: v.spec.lifecycle_hooks.online.registration_delay_seconds.max(0) * 1000,
            pre_stop: &pre_stop,
            now: v.now,
        };
        let (name, generation) = (row.name.clone(), row.sandbox.generation);
        let step = instance::step(row, seen, &knobs);
        if let Some(given_up) =
            step.instance.as_ref().filter(|i| i.reason == instance::GIVEN_UP && i.sandbox.generation != generation)
        {
            d.events.push(("Warning", instance::GIVEN_UP.into(), format!("{name}: {}", given_up.message)));
        }
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
                if is_starting(&row, v.now) {
                    wake(d, row.created_at + YOUNG_MS);
                }
                rows.push(row);
            }
            None => d.gone.push(name),
        }
    }
    d.instances = rows;
}

/// How long an instance may take to get ready before its application counts as degraded.
const YOUNG_MS: i64 = 60_000;

/// Made a moment ago, and has not failed. Its probes may say for a while that nothing answers.
fn is_starting(i: &Instance, now: i64) -> bool {
    !i.terminating && i.phase != Phase::Ready && i.failures == 0 && i.restarts == 0 && now < i.created_at + YOUNG_MS
}

fn status(v: &View<'_>, d: &Decision) -> Status {
    let release = d.state.release.as_ref();
    let active = release.is_some_and(Release::is_active);
    let n = v.spec.replicas.max(0) as u64;
    let ready = d.instances.iter().filter(|i| i.is_available(0, v.now)).count() as u64;
    let update = release.map(|r| r.to.clone()).filter(|t| !t.is_empty());
    let first_bad = d.instances.iter().find(|i| !i.reason.is_empty());
    let failed = release
        .is_some_and(|r| matches!(r.phase, ReleasePhase::Failed | ReleasePhase::RolledBack | ReleasePhase::Aborted));
    // What an autoscaler has just asked for is on its way, and no damage.
    let starting = d.instances.iter().filter(|i| is_starting(i, v.now)).count() as u64;
    let paused = release.filter(|r| r.is_active()).and_then(|r| r.paused.as_ref());
    let blocked = blocked(v, &d.state);
    let (reason, message) = match (first_bad, v.wanted, release) {
        _ if let Some(e) = &blocked => (e.reason.clone(), e.message.clone()),
        _ if let Some(p) = paused => (p.reason.word().to_owned(), p.message.clone()),
        (_, _, Some(r)) if failed => (r.reason.clone(), r.message.clone()),
        (Some(i), _, _) => (i.reason.clone(), format!("{}: {}", i.name, i.message)),
        (None, Err(e), _) => (e.reason.clone(), e.message.clone()),
        _ => Default::default(),
    };
    let phase = if v.deleting {
        "Deleting"
    } else if blocked.is_some() {
        "Pending"
    } else if paused.is_some() {
        "Paused"
    } else if failed || (!active && ready + starting < n) {
        "Degraded"
    } else if active || ready < n {
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
        desired_replicas: n as i64,
        replicas: d.instances.len() as i64,
        ready_replicas: ready as i64,
        updated_replicas: d.instances.iter().filter(|i| Some(&i.revision) == update.as_ref()).count() as i64,
        stopped: d.state.stopped.as_ref().map(|s| s.message(v.now)).unwrap_or_default(),
    }
}
