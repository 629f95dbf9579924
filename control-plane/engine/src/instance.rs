//! One instance: what to do next with its sandbox and its container.

use std::collections::BTreeMap;

use sampan_schema::application::PreStop;
use serde::{Deserialize, Serialize};

use crate::runtime::{
    ClassStatus, ContainerState, ImageState, Isolation, ObservedContainer, ObservedSandbox, ProbeReport, RuntimeError,
    SandboxSpec,
};

/// Whether the gateway sends requests to the instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Traffic {
    #[default]
    Off,
    On,
    /// Out of the table; requests in flight finish.
    Draining,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    Pending,
    Starting,
    Ready,
    Updating,
    Draining,
    Failed,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Starting => "Starting",
            Self::Ready => "Ready",
            Self::Updating => "Updating",
            Self::Draining => "Draining",
            Self::Failed => "Failed",
        }
    }
}

/// The intent for one instance; committed before anything is done about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub name: String,
    pub sandbox: SandboxSpec,
    /// Sandbox hash of the revision the sandbox was made for.
    pub sandbox_hash: String,
    /// The revision it goes to or is on.
    pub revision: String,
    /// The container attempt that should run.
    pub attempt: u32,
    /// The highest attempt that was ever meant to run in the present sandbox.
    #[serde(default)]
    pub highest: u32,
    /// Restart requests it has obeyed.
    pub restart_epoch: u64,
    /// What isolation check found in the present sandbox.
    #[serde(default)]
    pub isolation: Option<Isolation>,
    /// The present sandbox, once made. Lost when it is gone or dead.
    #[serde(default)]
    pub sandbox_id: Option<String>,
    #[serde(default)]
    pub phase: Phase,
    #[serde(default)]
    pub traffic: Traffic,
    /// Times are milliseconds since the epoch.
    /// Since every gateway knows that it gets no requests: before that none can be waited for.
    #[serde(default)]
    pub draining_since: Option<i64>,
    #[serde(default)]
    pub ready_since: Option<i64>,
    /// No try before this.
    #[serde(default)]
    pub retry_at: i64,
    /// The last failure was that of a pull, which is made again already: when it succeeds, nothing is waited for.
    #[serde(default)]
    pub pulling: bool,
    /// Failures in a row.
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub restarts: u32,
    /// Restarts since it went to its revision.
    #[serde(default)]
    pub revision_restarts: u32,
    /// The last action was to stop a container.
    #[serde(default)]
    pub stopping: bool,
    /// Stops in a row that did not end in their time.
    #[serde(default)]
    pub hung_stops: u32,
    /// On its way out.
    #[serde(default)]
    pub terminating: bool,
    /// The last failure was permanent: the same input fails again.
    #[serde(default)]
    pub permanent: bool,
    /// Last failure; empty when all is well.
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
    pub created_at: i64,
}

impl Instance {
    /// Key of its endpoint in the route table: requests in flight are counted per attempt.
    pub fn endpoint_key(&self, attempt: u32) -> String {
        format!("{}/{}/{}", self.name, self.sandbox.generation, attempt)
    }
    /// A new attempt. Its name was never asked for: a call that nobody waits for any more may still make what it names.
    pub fn raise_attempt(&mut self, sandbox: &ObservedSandbox) {
        let seen = sandbox.containers.iter().map(|c| c.attempt).max().unwrap_or(0);
        self.highest = seen.max(self.attempt).max(self.highest).saturating_add(1);
        self.attempt = self.highest;
    }
    /// Back to what still runs.
    pub fn keep_attempt(&mut self, attempt: u32) {
        self.highest = self.highest.max(self.attempt);
        self.attempt = attempt;
    }
    /// Moves every time that counts by so many milliseconds: the clock was set.
    pub fn shift(&mut self, by: i64) {
        self.draining_since.iter_mut().for_each(|at| *at += by);
        self.ready_since.iter_mut().for_each(|at| *at += by);
        self.retry_at += by;
    }
    /// Ready for `min_ready_ms`, taking traffic, and not on its way out.
    pub fn is_available(&self, min_ready_ms: i64, now: i64) -> bool {
        !self.terminating
            && self.phase == Phase::Ready
            && self.traffic == Traffic::On
            && self.ready_since.is_some_and(|t| now >= t + min_ready_ms)
    }
    fn fail(&mut self, error: &RuntimeError, now: i64) {
        self.failures += 1;
        self.permanent = error.permanent;
        self.reason.clone_from(&error.reason);
        self.message.clone_from(&error.message);
        self.retry_at = now + backoff_ms(self.failures);
    }
    fn clear_failure(&mut self) {
        self.hung_stops = 0;
        self.failures = 0;
        self.permanent = false;
        self.reason.clear();
        self.message.clear();
    }
}

/// Reason of an action that did not end in its time.
const DEADLINE: &str = "DeadlineExceeded";
/// Stops that may hang, the last one without grace, before the sandbox is given up.
const HUNG_STOPS: u32 = 2;

/// Reason of an instance whose sandbox was given up.
pub const GIVEN_UP: &str = "SandboxGivenUp";

/// 0.5 s doubling to 60 s.
pub fn backoff_ms(failures: u32) -> i64 {
    (250_i64 << failures.clamp(1, 9)).min(60_000)
}

/// What is known about one instance from outside.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// An action on it is under way: decide nothing.
    pub busy: bool,
    /// Its sandboxes have been listed since the last action. False: wait.
    pub listed: bool,
    pub sandboxes: Vec<ObservedSandbox>,
    /// By container id.
    pub probes: BTreeMap<String, ProbeReport>,
    /// The route table in force at every gateway was made from the rows as they are.
    pub acked: bool,
    /// Requests in flight by endpoint key.
    pub in_flight: BTreeMap<String, usize>,
    /// How the last action ended, when it failed.
    pub failed: Option<RuntimeError>,
}

/// One step for the executor. Each is idempotent and carries the identity of its intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Pull {
        reference: String,
    },
    RunSandbox {
        instance: String,
        spec: SandboxSpec,
    },
    RemoveSandbox {
        instance: String,
        id: String,
        spec: SandboxSpec,
    },
    Create {
        instance: String,
        sandbox_id: String,
        spec: SandboxSpec,
        attempt: u32,
        revision: String,
    },
    Start {
        instance: String,
        container_id: String,
    },
    /// `pre_stop` runs first; both have `grace_seconds` together.
    Stop {
        instance: String,
        container_id: String,
        grace_seconds: u64,
        pre_stop: Option<PreStop>,
    },
    Remove {
        instance: String,
        container_id: String,
    },
}

/// What of the application's spec the steps need.
#[derive(Clone)]
pub struct Knobs<'a> {
    pub grace_seconds: u64,
    pub drain_timeout_ms: i64,
    pub class: &'a ClassStatus,
    /// State of the image that the instance needs, `None` when not asked for yet.
    pub image: Option<&'a ImageState>,
    pub pull_reference: &'a str,
    /// Spec hash of the revision it goes to.
    pub spec_hash: &'a str,
    /// Between ready and the first request.
    pub registration_delay_ms: i64,
    /// The hook of a revision: a container ends as its own says.
    pub pre_stop: &'a dyn Fn(&str) -> Option<PreStop>,
    pub now: i64,
}

/// The outcome of a step.
#[derive(Debug)]
pub struct Step {
    /// `None`: the instance is gone.
    pub instance: Option<Instance>,
    pub actions: Vec<Action>,
    /// Look again at this time even if nothing happens.
    pub wake_at: Option<i64>,
    /// Probes should run against this container.
    pub probe: Option<String>,
}

/// What to do next with one instance. Level-triggered: it is told nothing about what changed.
pub fn step(mut row: Instance, seen: &Seen, k: &Knobs<'_>) -> Step {
    let mut out = Step { instance: None, actions: Vec::new(), wake_at: None, probe: None };
    let present = current_sandbox(&row, seen);
    // Until the new one runs, the old one serves, and may stay after all: what is known of it must not be lost.
    let runs = |c: &&ObservedContainer| c.state == ContainerState::Running;
    let served = |s| wanted(&row, s).filter(runs).or_else(|| s.containers.iter().find(runs));
    out.probe = present.and_then(served).map(|c| c.id.clone());
    if seen.busy || !seen.listed {
        out.instance = Some(row);
        return out;
    }
    let was_stopping = std::mem::take(&mut row.stopping);
    if let Some(e) = &seen.failed {
        row.hung_stops += u32::from(was_stopping && e.reason == DEADLINE);
        row.fail(e, k.now);
        if !row.terminating && present.is_none() {
            row.phase = Phase::Failed;
        }
    }
    if row.terminating { terminate(row, seen, k, out) } else { run(row, seen, k, out) }
}

fn current_sandbox<'a>(row: &Instance, seen: &'a Seen) -> Option<&'a ObservedSandbox> {
    seen.sandboxes.iter().find(|s| s.generation == row.sandbox.generation)
}

fn wanted<'a>(row: &Instance, sandbox: &'a ObservedSandbox) -> Option<&'a ObservedContainer> {
    sandbox.containers.iter().find(|c| c.attempt == row.attempt)
}

/// Takes the instance out of traffic. True once nothing is in flight or the time is over.
fn drained(row: &mut Instance, seen: &Seen, k: &Knobs<'_>, out: &mut Step) -> bool {
    if row.traffic == Traffic::Off {
        return true;
    }
    if row.traffic == Traffic::On {
        row.traffic = Traffic::Draining;
        row.draining_since = None;
        out.wake_at = Some(k.now + k.drain_timeout_ms);
        return false;
    }
    if !seen.acked {
        // All that is waited for is a gateway, which may be long.
        out.wake_at = Some(k.now + 1000);
        return false;
    }
    let prefix = format!("{}/{}/", row.name, row.sandbox.generation);
    let busy: usize = seen.in_flight.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, n)| n).sum();
    if busy == 0 {
        row.traffic = Traffic::Off;
        row.draining_since = None;
        return true;
    }
    let until = *row.draining_since.get_or_insert(k.now) + k.drain_timeout_ms;
    if k.now >= until {
        row.traffic = Traffic::Off;
        row.draining_since = None;
        return true;
    }
    out.wake_at = Some((k.now + 20).min(until));
    false
}

fn terminate(mut row: Instance, seen: &Seen, k: &Knobs<'_>, mut out: Step) -> Step {
    row.phase = Phase::Draining;
    row.ready_since = None;
    if !drained(&mut row, seen, k, &mut out) {
        out.instance = Some(row);
        return out;
    }
    if seen.failed.is_some() && k.now < row.retry_at {
        out.wake_at = Some(row.retry_at);
        out.instance = Some(row);
        return out;
    }
    let running = seen
        .sandboxes
        .iter()
        .filter(|s| s.ready)
        .flat_map(|s| &s.containers)
        .find(|c| c.state == ContainerState::Running);
    if let Some(c) = running.filter(|_| row.hung_stops < HUNG_STOPS) {
        out.actions.push(stop(&mut row, c, k));
    } else if let Some(s) = seen.sandboxes.first() {
        out.actions.push(remove_sandbox(&row, s));
    } else {
        return out;
    }
    out.instance = Some(row);
    out
}

/// What has not ended in its time is killed at once, and its hook has run.
fn stop(row: &mut Instance, container: &ObservedContainer, k: &Knobs<'_>) -> Action {
    row.stopping = true;
    let first = row.hung_stops == 0;
    Action::Stop {
        instance: row.name.clone(),
        container_id: container.id.clone(),
        grace_seconds: if first { k.grace_seconds } else { 0 },
        pre_stop: (k.pre_stop)(&container.revision).filter(|_| first),
    }
}

/// Stops a container that another one takes the place of. What hangs even when it is killed goes with its sandbox.
fn stop_or_give_up(
    row: &mut Instance,
    container: &ObservedContainer,
    sandbox: &ObservedSandbox,
    k: &Knobs<'_>,
    out: &mut Step,
) {
    if row.hung_stops < HUNG_STOPS {
        out.actions.push(stop(row, container, k));
        return;
    }
    row.reason = GIVEN_UP.into();
    row.message = "its container did not end, not even when it was killed: it gets another sandbox".into();
    out.actions.push(remove_sandbox(row, sandbox));
    lose_sandbox(row);
    row.hung_stops = 0;
    row.phase = Phase::Starting;
}

fn remove_sandbox(row: &Instance, s: &ObservedSandbox) -> Action {
    let spec = SandboxSpec { generation: s.generation, ..row.sandbox.clone() };
    Action::RemoveSandbox { instance: row.name.clone(), id: s.id.clone(), spec }
}

fn run(mut row: Instance, seen: &Seen, k: &Knobs<'_>, mut out: Step) -> Step {
    let now = k.now;
    if row.pulling && k.image == Some(&ImageState::Present) {
        row.pulling = false;
        row.retry_at = row.retry_at.min(now);
    }
    // What is not the present sandbox, or is dead, goes first: its processes may still run.
    let stale = seen
        .sandboxes
        .iter()
        .find(|s| s.generation != row.sandbox.generation || !s.ready || s.ip.is_none() || row.isolation.is_none());
    if let Some(s) = stale {
        if s.generation == row.sandbox.generation {
            lose_sandbox(&mut row);
        }
        out.actions.push(remove_sandbox(&row, s));
        out.instance = Some(row);
        return out;
    }
    let Some(sandbox) = current_sandbox(&row, seen) else {
        if row.sandbox_id.is_some() {
            lose_sandbox(&mut row);
        }
        row.traffic = Traffic::Off;
        row.ready_since = None;
        if !k.class.available {
            row.phase = Phase::Pending;
            row.reason = "IsolationUnavailable".into();
            row.message = format!("isolation class {}: {}", k.class.class, k.class.reason);
        } else if now < row.retry_at {
            out.wake_at = Some(row.retry_at);
        } else {
            if row.failures == 0 {
                row.phase = Phase::Starting;
            }
            // The pull runs beside the sandbox: neither waits for the other.
            pull(&mut row, k, &mut out);
            if row.permanent {
                out.actions.clear();
            } else {
                out.actions.push(Action::RunSandbox { instance: row.name.clone(), spec: row.sandbox.clone() });
            }
        }
        out.instance = Some(row);
        return out;
    };
    row.sandbox_id = Some(sandbox.id.clone());
    // Of what has ended only the last attempt stays, for its log: a crash loop must not fill the disk.
    let mut ended: Vec<&ObservedContainer> =
        sandbox.containers.iter().filter(|c| c.attempt != row.attempt && c.state == ContainerState::Exited).collect();
    ended.sort_by_key(|c| c.attempt);
    if let [oldest, _, ..] = ended[..] {
        out.actions.push(Action::Remove { instance: row.name.clone(), container_id: oldest.id.clone() });
        out.instance = Some(row);
        return out;
    }
    let serving = sandbox.containers.iter().find(|c| c.attempt != row.attempt && c.state == ContainerState::Running);
    match wanted(&row, sandbox) {
        None => {
            if serving.is_none() {
                row.traffic = Traffic::Off;
                row.ready_since = None;
            }
            if now < row.retry_at {
                out.wake_at = Some(row.retry_at);
            } else if pull(&mut row, k, &mut out) {
                out.actions.push(Action::Create {
                    instance: row.name.clone(),
                    sandbox_id: sandbox.id.clone(),
                    spec: row.sandbox.clone(),
                    attempt: row.attempt,
                    revision: row.revision.clone(),
                });
            }
        }
        Some(c) => match c.state {
            ContainerState::Created => {
                if row.permanent || now < row.retry_at {
                    out.wake_at = (now < row.retry_at).then_some(row.retry_at);
                } else if let Some(old) = serving {
                    row.phase = Phase::Updating;
                    if drained(&mut row, seen, k, &mut out) {
                        row.ready_since = None;
                        stop_or_give_up(&mut row, old, sandbox, k, &mut out);
                    }
                } else {
                    row.traffic = Traffic::Off;
                    row.ready_since = None;
                    row.hung_stops = 0;
                    out.actions.push(Action::Start { instance: row.name.clone(), container_id: c.id.clone() });
                }
            }
            ContainerState::Running => running(&mut row, c, sandbox, seen, k, &mut out),
            ContainerState::Exited => {
                row.traffic = Traffic::Off;
                row.ready_since = None;
                if seen.failed.is_none() {
                    row.fail(&exit_error(c, &row), now);
                }
                row.phase = Phase::Failed;
                row.restarts += 1;
                row.revision_restarts += 1;
                row.raise_attempt(sandbox);
                out.wake_at = Some(row.retry_at);
            }
            ContainerState::Unknown => {
                // The runtime was killed while it made it, and will never know more: it goes, and another one is made.
                row.fail(
                    &RuntimeError::transient("Unknown", "the runtime does not know its state; it is replaced"),
                    now,
                );
                row.raise_attempt(sandbox);
                out.actions.push(Action::Remove { instance: row.name.clone(), container_id: c.id.clone() });
            }
        },
    }
    out.instance = Some(row);
    out
}

fn running(
    row: &mut Instance,
    c: &ObservedContainer,
    sandbox: &ObservedSandbox,
    seen: &Seen,
    k: &Knobs<'_>,
    out: &mut Step,
) {
    // One attempt serves: the one the row names. Anything else that runs is stopped.
    if let Some(other) = sandbox.containers.iter().find(|o| o.id != c.id && o.state == ContainerState::Running) {
        stop_or_give_up(row, other, sandbox, k, out);
        return;
    }
    let report = seen.probes.get(&c.id).cloned().unwrap_or_default();
    let failed = [(report.started, "StartupProbeFailed"), (report.live, "LivenessProbeFailed")]
        .into_iter()
        .find(|(verdict, _)| *verdict == Some(false));
    if let Some((_, reason)) = failed {
        row.reason = reason.into();
        row.message.clone_from(&report.message);
        if drained(row, seen, k, out) {
            stop_or_give_up(row, c, sandbox, k, out);
        }
        return;
    }
    if report.ready && report.started == Some(true) {
        let since = *row.ready_since.get_or_insert(k.now);
        row.phase = Phase::Ready;
        if k.now >= since + k.registration_delay_ms || row.traffic == Traffic::On {
            row.traffic = Traffic::On;
        } else {
            out.wake_at = Some(since + k.registration_delay_ms);
        }
        row.draining_since = None;
        row.clear_failure();
        if let Some(old) = sandbox.containers.iter().find(|o| o.id != c.id) {
            out.actions.push(Action::Remove { instance: row.name.clone(), container_id: old.id.clone() });
        }
    } else {
        // It gets no more, and has what it got: before it is stopped, that is waited for.
        if row.traffic == Traffic::On {
            (row.traffic, row.draining_since) = (Traffic::Draining, None);
        }
        row.ready_since = None;
        row.phase = Phase::Starting;
        if !report.message.is_empty() {
            not_ready(row, c, sandbox, &report.message);
        }
    }
}

/// Why it is not ready. Between two crashes a probe finds only that nothing listens, so the crash is named first.
fn not_ready(row: &mut Instance, c: &ObservedContainer, sandbox: &ObservedSandbox, probe: &str) {
    let ended = sandbox
        .containers
        .iter()
        .filter(|o| o.state == ContainerState::Exited && o.revision == c.revision && o.attempt < c.attempt)
        .max_by_key(|o| o.attempt);
    match ended.filter(|_| row.failures > 0) {
        Some(_) if row.reason.ends_with("ProbeFailed") => {}
        Some(ended) => {
            let crash = exit_error(ended, row);
            row.reason = crash.reason;
            row.message = format!("{}; started again, and not ready: {probe}", crash.message);
        }
        None => {
            row.reason = "NotReady".into();
            row.message = probe.to_owned();
        }
    }
}

/// True when the image is on the node. Asks for it otherwise, and takes over its failure.
fn pull(row: &mut Instance, k: &Knobs<'_>, out: &mut Step) -> bool {
    match k.image {
        Some(ImageState::Present) => return true,
        Some(ImageState::Pulling) => {}
        Some(ImageState::Failed(e)) if e.permanent => {
            row.reason.clone_from(&e.reason);
            row.message.clone_from(&e.message);
            row.permanent = true;
            if row.traffic == Traffic::Off {
                row.phase = Phase::Failed;
            }
        }
        Some(ImageState::Failed(e)) => {
            row.fail(e, k.now);
            row.pulling = true;
            out.wake_at = Some(row.retry_at);
            out.actions.push(Action::Pull { reference: k.pull_reference.to_owned() });
        }
        None => out.actions.push(Action::Pull { reference: k.pull_reference.to_owned() }),
    }
    false
}

fn lose_sandbox(row: &mut Instance) {
    row.sandbox_id = None;
    row.isolation = None;
    row.sandbox.generation += 1;
    (row.attempt, row.highest) = (0, 0);
    row.traffic = Traffic::Off;
    row.ready_since = None;
}

fn exit_error(c: &ObservedContainer, row: &Instance) -> RuntimeError {
    let code = c.exit_code.unwrap_or(-1);
    if row.reason.ends_with("ProbeFailed") {
        return RuntimeError::transient(&row.reason, row.message.clone());
    }
    if c.reason == "StartError" {
        return RuntimeError::permanent("StartError", c.message.clone());
    }
    let log = format!("see `sampan logs {}/{}`", row.sandbox.namespace, row.sandbox.application);
    let (reason, hint) = match c.reason.as_str() {
        "OOMKilled" => ("OOMKilled", "it used more than resources.memory"),
        "Completed" => ("Completed", "the process ended; a service has to keep running"),
        _ => ("Crashed", log.as_str()),
    };
    RuntimeError::transient(reason, format!("exit code {code}: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(attempt: u32, state: ContainerState, exit_code: Option<i32>) -> ObservedContainer {
        ObservedContainer {
            id: format!("c{attempt}"),
            name: "main".into(),
            attempt,
            spec_hash: "s".into(),
            revision: "r".into(),
            state,
            exit_code,
            reason: if exit_code.is_some() { "Error".into() } else { String::new() },
            message: String::new(),
            started_at: 0,
            finished_at: 0,
        }
    }

    #[test]
    fn between_two_crashes_the_crash_is_named_and_not_what_a_probe_finds() {
        let row = serde_json::json!({
            "name": "a-1", "sandbox_hash": "h", "revision": "r", "attempt": 1, "restart_epoch": 0, "created_at": 0,
            "sandbox": { "instance": "a-1", "namespace": "n", "application": "a", "class": "runc", "generation": 0,
                         "cpu_millis": 100, "memory_bytes": 1 },
        });
        let mut row: Instance = serde_json::from_value(row).unwrap();
        let now = container(1, ContainerState::Running, None);
        let sandbox = |containers| ObservedSandbox {
            id: "s".into(),
            instance: "a-1".into(),
            namespace: "n".into(),
            application: "a".into(),
            generation: 0,
            ready: true,
            ip: None,
            created_at: 0,
            containers,
        };
        not_ready(&mut row, &now, &sandbox(vec![now.clone()]), "refused");
        assert_eq!((row.reason.as_str(), row.message.as_str()), ("NotReady", "refused"));
        row.failures = 1;
        let both = sandbox(vec![container(0, ContainerState::Exited, Some(3)), now.clone()]);
        // Looked at again and again, the text stays.
        for _ in 0..2 {
            not_ready(&mut row, &now, &both, "refused");
            assert_eq!(row.reason, "Crashed");
            assert_eq!(row.message, "exit code 3: see `sampan logs n/a`; started again, and not ready: refused");
        }
        row.reason = "LivenessProbeFailed".into();
        row.message = "status 500".into();
        not_ready(&mut row, &now, &both, "refused");
        assert_eq!((row.reason.as_str(), row.message.as_str()), ("LivenessProbeFailed", "status 500"));
    }
}
