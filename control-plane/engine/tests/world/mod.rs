//! A node, two gateways, a store and a clock that are made up. Actions end one at a time in random order; gateways get
//! their tables late. What must always hold is checked after every step.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use sampan_engine::analysis::{Asked, Sample};
use sampan_engine::application::{Cause, PauseReason, Request, State, Verb};
use sampan_engine::instance::{Action, Instance, Seen, Traffic};
use sampan_engine::reconcile::{View, reconcile};
use sampan_engine::release::{self, Question};
use sampan_engine::revision::{Inputs, Revision, revision};
use sampan_engine::route::{Split, cap};
use sampan_engine::runtime::{
    ClassStatus, ContainerState, ImageState, Isolation, ObservedContainer, ObservedSandbox, ProbeReport, RuntimeError,
};
use sampan_engine::traffic::Counters;
use sampan_schema::application::Spec;
use sampan_schema::gray_policy;
use sampan_schema::operation::Phase;
use serde_json::{Value, json};

/// What happens from outside between two steps.
#[derive(Debug, Clone)]
pub enum Event {
    Image(u8),
    Env(u8),
    Memory(u8),
    Replicas(u8),
    Restart,
    /// A verb on the release under way.
    Verb(Verb),
    /// Another policy.
    Policy(Value),
    /// The running container of the n-th sandbox ends.
    Crash(u8),
    /// The n-th sandbox dies.
    Lose(u8),
    /// The next action fails.
    Fail,
    /// The server is killed: everything but rows and the runtime is forgotten.
    Kill,
    /// The server is killed when it has decided and stored nothing.
    KillBeforeCommit,
    /// The server is killed when it has stored its decision and done nothing of it.
    KillAfterCommit,
}

/// The table a gateway holds, of the one application.
#[derive(Debug, Clone, Default)]
struct Table {
    generation: u64,
    /// `(endpoint key, revision)`.
    endpoints: Vec<(String, String)>,
    split: Option<Split>,
}

impl Table {
    /// The weight of gray that the table gives: never more than its own endpoints can carry.
    fn weight(&self) -> u32 {
        let Some(split) = &self.split else { return 0 };
        let gray = self.endpoints.iter().filter(|(_, r)| *r == split.gray).count();
        match (gray, split.shared) {
            (0, _) => 0,
            (gray, _) if gray == self.endpoints.len() && split.shunned.is_none() => 10_000,
            (gray, true) => cap(split.weight, gray, self.endpoints.len()),
            (_, false) => split.weight,
        }
    }

    /// Who answers the request: `at` is in basis points.
    fn route(&self, at: u32, turn: usize) -> Option<&(String, String)> {
        let gray = self.split.as_ref().map(|s| s.gray.as_str());
        let to_gray = at < self.weight();
        let mut side: Vec<_> = self.endpoints.iter().filter(|(_, r)| (Some(r.as_str()) == gray) == to_gray).collect();
        if side.is_empty() {
            side = self.endpoints.iter().collect();
        }
        side.get(turn % side.len().max(1)).copied()
    }
}

pub struct World {
    pub spec: Value,
    pub policy: Option<Value>,
    pub generation: i64,
    pub state: State,
    pub rows: Vec<Instance>,
    pub revisions: BTreeMap<String, Revision>,
    pub sandboxes: Vec<ObservedSandbox>,
    pub running: Vec<Action>,
    pub operations: BTreeMap<String, Phase>,
    /// Digests whose containers fail that share of requests, in percent.
    pub bad: BTreeMap<String, u32>,
    /// Requests of each gateway in each step.
    pub load: u32,
    /// Requests that failed for want of an endpoint that runs, and why.
    pub lost: Vec<String>,
    pub now: i64,
    /// How a pull ends, unless at once and well.
    pub pulls: BTreeMap<String, ImageState>,
    /// Phases of the rollout that followed each other: `(from, to)`.
    pub transitions: BTreeSet<(String, String)>,
    failed: BTreeMap<String, RuntimeError>,
    images: BTreeMap<String, ImageState>,
    scales: BTreeSet<String>,
    gateways: [Table; 2],
    wanted_table: Table,
    traffic: BTreeMap<String, Counters>,
    /// What somebody else has answered, and who has been asked and has not.
    samples: BTreeMap<Asked, Sample>,
    questions: Vec<Question>,
    /// Nobody else answers anything that says something.
    pub mute: bool,
    /// How often somebody else was asked.
    pub questioned: u32,
    fail_next: bool,
    /// The server is killed in the next decision.
    kill: Option<bool>,
    made: u64,
    seed: u64,
    asked: u32,
    wake_at: Option<i64>,
    weight_before: u32,
    /// The document in force, its spec and its revision.
    read: Option<(Value, Spec, Revision)>,
}

impl World {
    pub fn new(strategy: Value, seed: u64) -> Self {
        let mut spec = json!({
            "namespace": "n", "name": "a", "replicas": 3, "resources": { "cpu": "100m", "memory": "64Mi" },
            "container": { "image": "r.example.com/a:1", "env": {} },
        });
        spec["update_strategy"] = strategy;
        let mut w = Self {
            spec,
            policy: None,
            generation: 1,
            state: State::default(),
            rows: vec![],
            revisions: BTreeMap::new(),
            sandboxes: vec![],
            running: vec![],
            operations: BTreeMap::new(),
            bad: BTreeMap::new(),
            load: 0,
            lost: vec![],
            now: 1_000_000,
            pulls: BTreeMap::new(),
            transitions: BTreeSet::new(),
            failed: BTreeMap::new(),
            images: BTreeMap::new(),
            scales: BTreeSet::new(),
            gateways: Default::default(),
            wanted_table: Table::default(),
            traffic: BTreeMap::new(),
            samples: BTreeMap::new(),
            questions: vec![],
            mute: false,
            questioned: 0,
            fail_next: false,
            kill: None,
            made: 0,
            seed,
            asked: 0,
            wake_at: None,
            weight_before: 0,
            read: None,
        };
        let spec = w.spec.clone();
        w.request(Cause::Deploy, &spec);
        w
    }

    pub fn pick(&mut self, n: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % n.max(1)
    }

    /// As the API takes a write or a verb; `before` is the spec ahead of it.
    fn request(&mut self, cause: Cause, before: &Value) {
        self.generation += 1;
        let operation = format!("op{}", self.generation);
        self.operations.insert(operation.clone(), Phase::Pending);
        if cause == Cause::Scale {
            self.scales.insert(operation.clone());
        }
        let queues = self.policy.as_ref().is_some_and(|p| p["on_new_release"] == "queue");
        let request = Request { operation, generation: self.generation, cause };
        for displaced in self.state.accept(request, before, queues) {
            self.operations.insert(displaced, Phase::Superseded);
        }
    }

    pub fn outside(&mut self, e: &Event) {
        let before = self.spec.clone();
        match e {
            Event::Image(n) => self.spec["container"]["image"] = format!("r.example.com/a:{n}").into(),
            Event::Env(n) => self.spec["container"]["env"] = json!({ "N": n.to_string() }),
            Event::Memory(n) => self.spec["resources"]["memory"] = format!("{}Mi", 64 + u32::from(*n)).into(),
            Event::Replicas(n) => self.spec["replicas"] = (*n).into(),
            Event::Restart => {}
            _ => return self.disturb(e),
        }
        let cause = match e {
            Event::Restart => Cause::Restart,
            Event::Replicas(_) => Cause::Scale,
            _ => Cause::Deploy,
        };
        self.request(cause, &before);
    }

    /// Whatever runs of the release's revision ends at once, so that it never becomes ready.
    pub fn crash_new(&mut self) {
        let to = self.state.release.as_ref().map(|r| r.to.clone()).unwrap_or_default();
        let mine = self.sandboxes.iter_mut().flat_map(|s| &mut s.containers).filter(|c| c.revision == to);
        for c in mine.filter(|c| c.state == ContainerState::Running) {
            c.state = ContainerState::Exited;
            c.exit_code = Some(1);
        }
    }

    pub fn crash_all_while_going_back(&mut self) {
        if self.state.rollout.phase == "RollingBack" {
            for n in 0..self.sandboxes.len() {
                self.disturb(&Event::Crash(n as u8));
            }
        }
    }

    fn disturb(&mut self, e: &Event) {
        match e {
            Event::Verb(verb) if self.state.refuse(*verb).is_none() => self.state.verb = Some(*verb),
            Event::Policy(policy) => self.policy = Some(policy.clone()),
            Event::Crash(n) => {
                let all: Vec<&mut ObservedContainer> = self
                    .sandboxes
                    .iter_mut()
                    .flat_map(|s| &mut s.containers)
                    .filter(|c| c.state == ContainerState::Running)
                    .collect();
                let count = all.len().max(1);
                if let Some(c) = all.into_iter().nth(usize::from(*n) % count) {
                    c.state = ContainerState::Exited;
                    c.exit_code = Some(1);
                }
            }
            Event::Lose(n) => {
                let count = self.sandboxes.len().max(1);
                if let Some(s) = self.sandboxes.get_mut(usize::from(*n) % count) {
                    s.ready = false;
                    for c in &mut s.containers {
                        c.state = ContainerState::Exited;
                    }
                }
            }
            Event::Fail => self.fail_next = true,
            Event::Kill => self.forget(),
            Event::KillBeforeCommit => self.kill = Some(false),
            Event::KillAfterCommit => self.kill = Some(true),
            _ => {}
        }
    }

    /// What only the killed server knew.
    fn forget(&mut self) {
        self.running.clear();
        self.failed.clear();
        self.images.clear();
        self.traffic.clear();
        self.samples.clear();
        self.questions.clear();
    }

    pub fn wanted(&mut self) -> (Spec, Revision) {
        let in_force = self.state.in_force(&self.spec);
        if let Some((known, spec, revision)) = &self.read
            && *known == in_force
        {
            return (spec.clone(), revision.clone());
        }
        let (spec, revision) = {
            let spec: Spec = sampan_schema::read(&in_force).unwrap();
            let digest = format!("sha256:{}", spec.container.image);
            let inputs = Inputs { class: "runc", image_digest: &digest, pull_reference: &digest, config_hash: None };
            let revision = revision(&in_force, &spec, &inputs, 0);
            (spec, revision)
        };
        self.read = Some((in_force, spec.clone(), revision.clone()));
        (spec, revision)
    }

    fn acked(&self) -> bool {
        self.gateways.iter().all(|g| g.generation == self.wanted_table.generation)
    }

    fn seen(&mut self) -> BTreeMap<String, Seen> {
        let acked = self.acked();
        let mut seen = BTreeMap::new();
        for r in &self.rows {
            let sandboxes: Vec<_> = self.sandboxes.iter().filter(|s| s.instance == r.name).cloned().collect();
            let ready = ProbeReport { started: Some(true), ready: true, live: None, message: String::new() };
            let probes = sandboxes.iter().flat_map(|s| &s.containers).map(|c| (c.id.clone(), ready.clone())).collect();
            let busy = self.running.iter().any(|a| instance_of(a) == Some(&r.name));
            let failed = if busy { None } else { self.failed.remove(&r.name) };
            let s = Seen { busy, listed: true, sandboxes, probes, acked, failed, ..Seen::default() };
            seen.insert(r.name.clone(), s);
        }
        seen
    }

    /// One pass; true when it changed nothing and asked for nothing.
    pub fn decide(&mut self) -> bool {
        if let Some(scale) = self.state.dequeue() {
            self.operations.insert(scale, Phase::Superseded);
        }
        let (spec, wanted) = self.wanted();
        self.revisions.entry(wanted.hash.clone()).or_insert_with(|| wanted.clone());
        let seen = self.seen();
        let class =
            ClassStatus { class: "runc".into(), handler: "runc".into(), available: true, reason: String::new() };
        let policy: Option<gray_policy::Spec> = self.policy.clone().map(|p| serde_json::from_value(p).unwrap());
        let d = reconcile(&View {
            namespace: "n",
            name: "a",
            uid: "abcd",
            spec: &spec,
            generation: self.generation,
            deleting: false,
            state: &self.state,
            instances: &self.rows,
            revisions: &self.revisions,
            wanted: Ok(&wanted),
            seen: &seen,
            images: &self.images,
            classes: &[("runc".to_owned(), class)].into(),
            policy: policy.as_ref(),
            traffic: &self.traffic,
            samples: &self.samples,
            acked: self.acked(),
            now: self.now,
        });
        let kill = self.kill.take();
        if kill == Some(false) {
            self.forget();
            return false;
        }
        let quiet = d.actions.is_empty() && d.instances == self.rows && d.state == self.state;
        for u in d.operations {
            let before = self.operations.insert(u.id.clone(), u.phase);
            assert!(
                before.is_none_or(|b| !b.is_terminal() || b == u.phase),
                "operation {} went from {before:?} to {:?}",
                u.id,
                u.phase
            );
        }
        self.rows = d.instances;
        if d.state.rollout.phase != self.state.rollout.phase {
            let before = Some(self.state.rollout.phase.clone()).filter(|p| !p.is_empty());
            self.transitions.insert((before.unwrap_or_else(|| "None".into()), d.state.rollout.phase.clone()));
        }
        self.state = d.state;
        self.wake_at = d.wake_at;
        self.ask(d.questions);
        self.publish();
        if kill == Some(true) {
            self.forget();
            return false;
        }
        for a in d.actions {
            match &a {
                Action::Pull { reference } => {
                    let state = self.pulls.get(reference).cloned().unwrap_or(ImageState::Present);
                    self.images.insert(reference.clone(), state);
                }
                Action::Stop { container_id, .. } => {
                    self.check_stop(container_id);
                    self.running.push(a);
                }
                _ => self.running.push(a),
            }
        }
        quiet
    }

    /// Somebody else is asked once, and what is not asked any more is forgotten.
    fn ask(&mut self, questions: Vec<Question>) {
        let open = |id: &Asked| questions.iter().any(|q| q.id == *id);
        self.samples.retain(|id, _| open(id));
        let new = |q: &&Question| !self.questions.contains(q) && !self.samples.contains_key(&q.id);
        self.questioned += questions.iter().filter(new).count() as u32;
        self.questions = questions.into_iter().filter(|q| !self.samples.contains_key(&q.id)).collect();
    }

    /// One of those who were asked answers, or never does.
    fn answers(&mut self) {
        if self.questions.is_empty() || self.pick(3) == 0 {
            return;
        }
        let at = self.pick(self.questions.len());
        let question = self.questions[at].clone();
        let image = self.revisions.get(&question.revision).map(|r| r.image.clone()).unwrap_or_default();
        let bad = self.bad.contains_key(&image);
        let sample = match self.pick(12) {
            _ if self.mute => Sample::Missing("nobody knows".into()),
            0 => Sample::Missing("nobody knows".into()),
            1 => Sample::Value(f64::NAN),
            _ if question.analysis.kind == gray_policy::AnalysisType::Webhook => {
                Sample::Status(if bad { 500 } else { 200 })
            }
            _ => Sample::Value(if bad { 1.0 } else { 0.0 }),
        };
        self.samples.insert(question.id, sample);
    }

    /// The table that follows from the rows.
    fn publish(&mut self) {
        let mut endpoints = Vec::new();
        for r in self.rows.iter().filter(|r| r.traffic == Traffic::On && !r.terminating) {
            let sandbox =
                self.sandboxes.iter().find(|s| s.instance == r.name && s.generation == r.sandbox.generation && s.ready);
            let runs = |c: &&ObservedContainer| c.state == ContainerState::Running;
            if let Some(c) = sandbox.and_then(|s| s.containers.iter().find(runs)) {
                endpoints.push((r.endpoint_key(c.attempt), c.revision.clone()));
            }
        }
        let replicas = self.spec["replicas"].as_u64().unwrap_or(0);
        let split = release::split(&self.state, replicas);
        let same = endpoints == self.wanted_table.endpoints && split == self.wanted_table.split;
        if !same {
            self.wanted_table = Table { generation: self.wanted_table.generation + 1, endpoints, split };
        }
    }

    /// Gateways fetch the newest table, sooner or later.
    pub fn deliver(&mut self, late: bool) {
        for at in 0..self.gateways.len() {
            if !late || self.pick(2) == 0 {
                self.gateways[at] = self.wanted_table.clone();
            }
        }
    }

    /// No container is stopped while a gateway still sends requests to it, unless it has ended by itself.
    fn check_stop(&self, id: &str) {
        for (s, c) in self.sandboxes.iter().flat_map(|s| s.containers.iter().map(move |c| (s, c))) {
            if c.id == id && c.state == ContainerState::Running && s.ready {
                let key = format!("{}/{}/{}", s.instance, s.generation, c.attempt);
                for g in &self.gateways {
                    assert!(!g.endpoints.iter().any(|(k, _)| *k == key), "{key} is stopped and still has requests");
                }
            }
        }
    }

    /// Some requests through every gateway.
    pub fn requests(&mut self) {
        for g in 0..self.gateways.len() {
            for _ in 0..self.load {
                self.asked += 1;
                let at = self.pick(10_000) as u32;
                let turn = self.asked as usize;
                let table = self.gateways[g].clone();
                let Some((key, revision)) = table.route(at, turn) else {
                    self.lost.push("no endpoint".into());
                    continue;
                };
                let runs = self.sandboxes.iter().any(|s| {
                    let is = |c: &ObservedContainer| {
                        format!("{}/{}/{}", s.instance, s.generation, c.attempt) == *key
                            && c.state == ContainerState::Running
                    };
                    s.ready && s.containers.iter().any(is)
                });
                if !runs {
                    self.lost.push(format!("{key} does not run"));
                }
                let image = self.revisions.get(revision).map(|r| r.image.clone()).unwrap_or_default();
                let fails = self.bad.get(&image).copied().unwrap_or(0);
                let failed = !runs || (self.pick(100) as u32) < fails;
                self.traffic.entry(revision.clone()).or_default().record(failed, Duration::from_millis(5));
            }
        }
    }

    /// Ends one action.
    pub fn act(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.pick(self.running.len());
        let action = self.running.remove(at);
        let name = instance_of(&action).cloned().unwrap_or_default();
        if std::mem::take(&mut self.fail_next) {
            self.failed.insert(name, RuntimeError::transient("DeadlineExceeded", "too slow"));
            return;
        }
        self.made += 1;
        let id = self.made;
        let set = |all: &mut Vec<ObservedSandbox>, id: &str, from: Option<ContainerState>, to: ContainerState| {
            for c in all.iter_mut().flat_map(|s| &mut s.containers).filter(|c| c.id == id) {
                if from.is_none_or(|f| f == c.state) {
                    c.state = to;
                }
            }
        };
        match action {
            Action::RunSandbox { instance, spec } => {
                if let Some(r) = self.rows.iter_mut().find(|r| r.name == instance) {
                    r.isolation = Some(Isolation { verified: None, evidence: String::new() });
                }
                self.sandboxes.push(ObservedSandbox {
                    id: format!("s{id}"),
                    instance,
                    namespace: "n".into(),
                    application: "a".into(),
                    generation: spec.generation,
                    ready: true,
                    ip: Some(IpAddr::from([10, 0, 0, 1])),
                    created_at: 0,
                    containers: vec![],
                });
            }
            Action::RemoveSandbox { id, .. } => self.sandboxes.retain(|s| s.id != id),
            Action::Create { sandbox_id, attempt, revision, .. } => {
                let spec_hash = self.revisions[&revision].spec_hash.clone();
                let Some(s) = self.sandboxes.iter_mut().find(|s| s.id == sandbox_id) else { return };
                assert!(s.containers.iter().all(|c| c.attempt != attempt), "an attempt's name is used twice");
                s.containers.push(ObservedContainer {
                    id: format!("c{id}"),
                    name: "main".into(),
                    attempt,
                    spec_hash,
                    revision,
                    state: ContainerState::Created,
                    exit_code: None,
                    reason: String::new(),
                    message: String::new(),
                    started_at: 0,
                    finished_at: 0,
                });
            }
            Action::Start { container_id, .. } => {
                set(&mut self.sandboxes, &container_id, Some(ContainerState::Created), ContainerState::Running);
            }
            Action::Stop { container_id, .. } => {
                set(&mut self.sandboxes, &container_id, None, ContainerState::Exited);
            }
            Action::Remove { container_id, .. } => {
                for s in &mut self.sandboxes {
                    s.containers.retain(|c| c.id != container_id);
                }
            }
            Action::Pull { .. } => {}
        }
    }

    fn runs(&self, r: &Instance) -> bool {
        let mine = self.sandboxes.iter().filter(|s| s.instance == r.name && s.ready);
        mine.flat_map(|s| &s.containers).any(|c| c.state == ContainerState::Running)
    }

    pub fn serving(&self) -> usize {
        self.rows.iter().filter(|r| r.traffic == Traffic::On && self.runs(r)).count()
    }

    /// Instances that get requests.
    pub fn carrying(&self) -> usize {
        let shunned = self.wanted_table.split.as_ref().and_then(|s| s.shunned.clone());
        self.wanted_table.endpoints.iter().filter(|(_, r)| Some(r) != shunned.as_ref()).count()
    }

    pub fn check(&mut self) {
        for s in &self.sandboxes {
            let running = s.containers.iter().filter(|c| c.state == ContainerState::Running).count();
            assert!(running <= 1, "two containers of one instance run at once: {s:?}");
        }
        let under_way = |(id, phase): &(&String, &Phase)| {
            matches!(phase, Phase::Running | Phase::Paused) && !self.scales.contains(*id)
        };
        let active = self.operations.iter().filter(under_way).count();
        assert!(active <= 1, "{:?}", self.operations);
        let release = self.state.release.as_ref();
        let is_active = release.is_some_and(|r| r.is_active());
        let weight = self.wanted_table.weight();
        assert!(weight <= 10_000);
        if !is_active {
            assert!(self.wanted_table.split.is_none(), "a release that is over divides no requests");
        }
        // An abort never raises the weight of gray.
        if self.wanted_table.split.as_ref().is_some_and(|s| s.shunned.is_some()) {
            assert!(weight <= self.weight_before, "the weight rose from {} to {weight}", self.weight_before);
        }
        self.weight_before = weight;
        let paused = release.and_then(|r| r.paused.as_ref());
        let by_user = paused.is_some_and(|p| p.reason == PauseReason::UserPaused);
        assert!(!is_active || by_user || self.wake_at.is_some(), "a wait without an end: {:#?}", self.state);
    }

    /// One step with everything in it.
    pub fn step(&mut self, ms: i64) -> bool {
        self.now += ms;
        let quiet = self.decide() && self.running.is_empty() && self.acked();
        self.deliver(true);
        self.requests();
        self.answers();
        self.act();
        self.check();
        quiet
    }

    /// Without faults from here on: everything ends as it should, and then nothing happens.
    pub fn settle(&mut self) {
        let (mut quiet, mut stood) = (0, 0);
        for _ in 0..6000 {
            let paused = self.state.release.as_ref().filter(|r| r.is_active()).is_some_and(|r| r.paused.is_some());
            stood = if paused { stood + 1 } else { 0 };
            if stood > 40 {
                stood = 0;
                let verb = if self.pick(2) == 0 { Verb::Promote { full: true } } else { Verb::Abort };
                self.disturb(&Event::Verb(verb));
            }
            quiet = if self.step(500) { quiet + 1 } else { 0 };
            let active = self.state.release.as_ref().is_some_and(|r| r.is_active());
            if quiet > 150 && !active {
                break;
            }
        }
        assert!(quiet > 150, "it never comes to rest: {:#?} {:#?}", self.rows, self.state);
        let (spec, wanted) = self.wanted();
        let r = self.state.release.as_ref().unwrap();
        let there = if self.operations.values().any(|p| matches!(p, Phase::RolledBack | Phase::Aborted)) {
            // It ended where it came from, or a later one where it should.
            let back = r.from.clone().unwrap_or_else(|| r.to.clone());
            if r.phase == sampan_engine::application::ReleasePhase::Succeeded { r.to.clone() } else { back }
        } else {
            wanted.hash.clone()
        };
        assert_eq!(self.rows.len(), spec.replicas as usize, "{:#?} {:#?}", self.rows, self.state);
        assert_eq!(self.serving(), spec.replicas as usize, "{:#?} {:#?}", self.rows, self.sandboxes);
        assert_eq!(self.sandboxes.len(), self.rows.len(), "nothing is left over");
        assert!(self.rows.iter().all(|r| r.revision == there && r.reason.is_empty()), "{there} {:#?}", self.rows);
        assert_eq!(self.state.current.as_ref(), Some(&there));
        assert!(self.operations.values().all(|p| p.is_terminal()), "{:?}", self.operations);
    }
}

fn instance_of(a: &Action) -> Option<&String> {
    match a {
        Action::RunSandbox { instance, .. }
        | Action::RemoveSandbox { instance, .. }
        | Action::Create { instance, .. }
        | Action::Start { instance, .. }
        | Action::Stop { instance, .. }
        | Action::Remove { instance, .. } => Some(instance),
        Action::Pull { .. } => None,
    }
}
