//! Random writes and faults against the decisions, with a world that carries them out one at a time in random order.
//! A failing case is shrunk and printed by proptest and can be run again.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use sampan_engine::application::{Cause, Request, State};
use sampan_engine::instance::{Action, Instance, Seen, Traffic};
use sampan_engine::reconcile::{View, reconcile};
use sampan_engine::revision::{Inputs, Revision, revision};
use sampan_engine::runtime::{
    ClassStatus, ContainerState, ImageState, Isolation, ObservedContainer, ObservedSandbox, ProbeReport, RuntimeError,
};
use sampan_schema::application::Spec;
use sampan_schema::operation::Phase;
use serde_json::{Value, json};

/// What happens from outside between two steps.
#[derive(Debug, Clone)]
enum Event {
    Image(u8),
    Env(u8),
    Memory(u8),
    Replicas(u8),
    Restart,
    /// The running container of the n-th sandbox ends.
    Crash(u8),
    /// The n-th sandbox dies.
    Lose(u8),
    /// The next action fails.
    Fail,
    /// The server is killed: everything but rows and the runtime is forgotten.
    Kill,
}

struct World {
    spec: Value,
    generation: i64,
    state: State,
    rows: Vec<Instance>,
    revisions: BTreeMap<String, Revision>,
    sandboxes: Vec<ObservedSandbox>,
    running: Vec<Action>,
    failed: BTreeMap<String, RuntimeError>,
    images: BTreeMap<String, ImageState>,
    operations: BTreeMap<String, Phase>,
    fail_next: bool,
    now: i64,
    made: u64,
    seed: u64,
    /// Spec and revision of the present document; forgotten when it changes.
    read: Option<(Spec, Revision)>,
}

impl World {
    fn new(strategy: Value, seed: u64) -> Self {
        let mut spec = json!({
            "namespace": "n", "name": "a", "replicas": 3, "resources": { "cpu": "100m", "memory": "64Mi" },
            "container": { "image": "r.example.com/a:1", "env": {} },
        });
        spec["update_strategy"] = strategy;
        let mut w = Self {
            spec,
            generation: 1,
            state: State::default(),
            rows: vec![],
            revisions: BTreeMap::new(),
            sandboxes: vec![],
            running: vec![],
            failed: BTreeMap::new(),
            images: BTreeMap::new(),
            operations: BTreeMap::new(),
            fail_next: false,
            now: 1_000_000,
            made: 0,
            seed,
            read: None,
        };
        w.request(Cause::Deploy);
        w
    }

    fn pick(&mut self, n: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % n.max(1)
    }

    fn request(&mut self, cause: Cause) {
        self.generation += 1;
        self.read = None;
        let operation = format!("op{}", self.generation);
        if let Some(r) = self.state.request.take() {
            self.operations.insert(r.operation, Phase::Superseded);
        }
        self.operations.insert(operation.clone(), Phase::Pending);
        self.state.request = Some(Request { operation, generation: self.generation, cause });
    }

    fn outside(&mut self, e: &Event) {
        match e {
            Event::Image(n) => self.spec["container"]["image"] = format!("r.example.com/a:{n}").into(),
            Event::Env(n) => self.spec["container"]["env"] = json!({ "N": n.to_string() }),
            Event::Memory(n) => self.spec["resources"]["memory"] = format!("{}Mi", 64 + u32::from(*n)).into(),
            Event::Replicas(n) => self.spec["replicas"] = (*n).into(),
            Event::Restart => {}
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
                return;
            }
            Event::Lose(n) => {
                let count = self.sandboxes.len().max(1);
                if let Some(s) = self.sandboxes.get_mut(usize::from(*n) % count) {
                    s.ready = false;
                    for c in &mut s.containers {
                        c.state = ContainerState::Exited;
                    }
                }
                return;
            }
            Event::Fail => {
                self.fail_next = true;
                return;
            }
            Event::Kill => {
                self.running.clear();
                self.failed.clear();
                self.images.clear();
                return;
            }
        }
        self.request(match e {
            Event::Restart => Cause::Restart,
            Event::Replicas(_) => Cause::Scale,
            _ => Cause::Deploy,
        });
    }

    fn wanted(&mut self) -> (Spec, Revision) {
        let read = || {
            let spec: Spec = sampan_schema::read(&self.spec).unwrap();
            let digest = format!("sha256:{}", spec.container.image);
            let inputs = Inputs { class: "runc", image_digest: &digest, pull_reference: &digest, config_hash: None };
            let revision = revision(&self.spec, &spec, &inputs, 0);
            (spec, revision)
        };
        self.read.get_or_insert_with(read).clone()
    }

    /// One pass; true when it changed nothing and asked for nothing.
    fn decide(&mut self) -> bool {
        let (spec, wanted) = self.wanted();
        self.revisions.entry(wanted.hash.clone()).or_insert_with(|| wanted.clone());
        let mut seen = BTreeMap::new();
        for r in &self.rows {
            let sandboxes: Vec<_> = self.sandboxes.iter().filter(|s| s.instance == r.name).cloned().collect();
            let ready = ProbeReport { started: Some(true), ready: true, live: None, message: String::new() };
            let probes = sandboxes.iter().flat_map(|s| &s.containers).map(|c| (c.id.clone(), ready.clone())).collect();
            let busy = self.running.iter().any(|a| instance_of(a) == Some(&r.name));
            let failed = if busy { None } else { self.failed.remove(&r.name) };
            let s = Seen { busy, listed: true, sandboxes, probes, acked: true, failed, ..Seen::default() };
            seen.insert(r.name.clone(), s);
        }
        let class =
            ClassStatus { class: "runc".into(), handler: "runc".into(), available: true, reason: String::new() };
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
            now: self.now,
        });
        let quiet = d.actions.is_empty() && d.instances == self.rows && d.state == self.state;
        for u in d.operations {
            self.operations.insert(u.id, u.phase);
        }
        self.rows = d.instances;
        self.state = d.state;
        for a in d.actions {
            match &a {
                Action::Pull { reference } => {
                    self.images.insert(reference.clone(), ImageState::Present);
                }
                _ => self.running.push(a),
            }
        }
        quiet
    }

    /// Ends one action.
    fn act(&mut self) {
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

    fn serving(&self) -> usize {
        self.rows.iter().filter(|r| r.traffic == Traffic::On && self.runs(r)).count()
    }

    fn check(&self) {
        for s in &self.sandboxes {
            let running = s.containers.iter().filter(|c| c.state == ContainerState::Running).count();
            assert!(running <= 1, "two containers of one instance run at once: {s:?}");
        }
        let active = self.operations.values().filter(|p| **p == Phase::Running).count();
        assert!(active <= 1, "{:?}", self.operations);
    }

    /// Without faults from here on: everything ends as it should, and then nothing happens.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..3000 {
            self.now += 500;
            let still = self.decide() && self.running.is_empty();
            self.act();
            self.check();
            quiet = if still { quiet + 1 } else { 0 };
            if quiet > 150 {
                break;
            }
        }
        assert!(quiet > 150, "it never comes to rest: {:#?} {:#?}", self.rows, self.state);
        let (spec, wanted) = self.wanted();
        let wanted = wanted.hash;
        assert_eq!(self.rows.len(), spec.replicas as usize, "{:#?}", self.rows);
        assert_eq!(self.serving(), spec.replicas as usize, "{:#?} {:#?}", self.rows, self.sandboxes);
        assert_eq!(self.sandboxes.len(), self.rows.len(), "nothing is left over");
        assert!(self.rows.iter().all(|r| r.revision == wanted && r.reason.is_empty()), "{:#?}", self.rows);
        assert_eq!(self.state.current.as_ref(), Some(&wanted));
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

fn write() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u8..4).prop_map(Event::Image),
        (0u8..4).prop_map(Event::Env),
        (0u8..3).prop_map(Event::Memory),
        (0u8..5).prop_map(Event::Replicas),
        Just(Event::Restart),
    ]
}

fn anything() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => write(),
        1 => any::<u8>().prop_map(Event::Crash),
        1 => any::<u8>().prop_map(Event::Lose),
        1 => Just(Event::Fail),
        1 => Just(Event::Kill),
    ]
}

fn strategy() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({ "max_unavailable": "2" })),
        Just(json!({ "max_unavailable": "0", "max_surge": "1" })),
        Just(json!({ "max_unavailable": "1", "max_surge": "50%" })),
        Just(json!({ "min_ready_seconds": 3 })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_the_last_fault_everything_is_as_declared(
        strategy in strategy(),
        events in proptest::collection::vec((anything(), 0usize..25), 0..8),
        seed in any::<u64>(),
    ) {
        let mut w = World::new(strategy, seed);
        for (event, steps) in events {
            w.outside(&event);
            for _ in 0..steps {
                w.now += 300;
                w.decide();
                w.act();
                w.check();
            }
        }
        w.settle();
    }

    #[test]
    fn an_update_never_takes_more_out_of_service_than_allowed(
        strategy in strategy(),
        change in prop_oneof![
            (5u8..9).prop_map(Event::Image),
            (5u8..9).prop_map(Event::Env),
            (5u8..9).prop_map(Event::Memory),
            Just(Event::Restart),
        ],
        seed in any::<u64>(),
    ) {
        let mut w = World::new(strategy, seed);
        w.settle();
        let (spec, _) = w.wanted();
        let (max_unavailable, surge) = spec.budget();
        let floor = spec.replicas as usize - max_unavailable as usize;
        w.outside(&change);
        for _ in 0..400 {
            w.now += 300;
            w.decide();
            w.act();
            w.check();
            prop_assert!(w.serving() >= floor, "{} of {} serve", w.serving(), spec.replicas);
            prop_assert!(w.rows.len() <= (spec.replicas as u64 + surge) as usize);
        }
        w.settle();
    }
}
