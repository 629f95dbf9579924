//! A made-up node that carries out every action at once, and a gateway that is always up to date.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use sampan_engine::application::{Cause, Request, State};
use sampan_engine::instance::{Action, Instance, Seen};
use sampan_engine::reconcile::{View, reconcile};
use sampan_engine::revision::{Inputs, Revision, revision};
use sampan_engine::runtime::{
    ClassStatus, ContainerState, ImageState, Isolation, ObservedContainer, ObservedSandbox, ProbeReport,
};
use sampan_schema::application::Spec;
use sampan_schema::gray_policy;
use serde_json::{Value, json};

use crate::bench::statistic::ms;

/// More than a release needs.
const TICKS: u32 = 1000;
const TICK_MS: i64 = 500;

pub struct Node {
    document: Value,
    policy: gray_policy::Spec,
    classes: BTreeMap<String, ClassStatus>,
    generation: i64,
    state: State,
    rows: Vec<Instance>,
    revisions: BTreeMap<String, Revision>,
    sandboxes: Vec<ObservedSandbox>,
    images: BTreeMap<String, ImageState>,
    now: i64,
    made: u64,
}

impl Node {
    /// With an application whose instances are ready.
    pub fn new(instances: u64) -> Result<Self, String> {
        let policy = json!({
            "namespace": "n", "name": "p", "strategy": "canary", "capacity": "shared", "on_failure": "pause",
            "steps": [
                { "weight_percent": 10, "pause": { "duration_seconds": 2 } },
                { "weight_percent": 50, "pause": { "duration_seconds": 2 } },
            ],
        });
        let class =
            ClassStatus { class: "runc".into(), handler: "runc".into(), available: true, reason: String::new() };
        let mut node = Self {
            document: json!({
                "namespace": "n", "name": "a", "replicas": instances,
                "resources": { "cpu": "100m", "memory": "64Mi" },
                "container": { "image": "r.example.com/a:1", "env": { "A": "1", "B": "2" } },
                "update_strategy": { "max_unavailable": "10%" },
            }),
            policy: serde_json::from_value(policy).map_err(|error| format!("made-up policy: {error}"))?,
            classes: [("runc".to_owned(), class)].into(),
            generation: 0,
            state: State::default(),
            rows: Vec::new(),
            revisions: BTreeMap::new(),
            sandboxes: Vec::new(),
            images: BTreeMap::new(),
            now: 1_000_000,
            made: 0,
        };
        node.deploy()?;
        Ok(node)
    }

    /// Releases another image; how long each decision took, in milliseconds.
    pub fn release(&mut self) -> Result<Vec<f64>, String> {
        self.document["container"]["image"] = "r.example.com/a:2".into();
        self.deploy()
    }

    fn deploy(&mut self) -> Result<Vec<f64>, String> {
        self.generation += 1;
        let operation = format!("op{}", self.generation);
        self.state.request = Some(Request { operation, generation: self.generation, cause: Cause::Deploy });
        let spec: Spec = sampan_schema::read(&self.document).map_err(|error| format!("made-up spec: {error:?}"))?;
        let digest = format!("sha256:{}", spec.container.image);
        let inputs = Inputs { class: "runc", image_digest: &digest, pull_reference: &digest, config_hash: None };
        let wanted = revision(&self.document, &spec, &inputs, 0);
        self.revisions.insert(wanted.hash.clone(), wanted.clone());
        let mut times = Vec::new();
        for _ in 0..TICKS {
            times.push(self.tick(&spec, &wanted));
            let active = self.state.release.as_ref().is_none_or(|release| release.is_active());
            if !active && self.state.request.is_none() && self.state.current.as_ref() == Some(&wanted.hash) {
                return Ok(times);
            }
        }
        Err(format!("the made-up release does not end: {:?}", self.state.rollout))
    }

    fn tick(&mut self, spec: &Spec, wanted: &Revision) -> f64 {
        self.now += TICK_MS;
        let seen = self.seen();
        let view = View {
            namespace: "n",
            name: "a",
            uid: "abcd",
            spec,
            generation: self.generation,
            deleting: false,
            state: &self.state,
            instances: &self.rows,
            revisions: &self.revisions,
            wanted: Ok(wanted),
            seen: &seen,
            images: &self.images,
            classes: &self.classes,
            policy: Some(&self.policy),
            traffic: &BTreeMap::new(),
            samples: &BTreeMap::new(),
            acked: true,
            now: self.now,
        };
        let begun = Instant::now();
        let decision = reconcile(&view);
        let took = ms(begun.elapsed());
        self.rows = decision.instances;
        self.state = decision.state;
        for action in decision.actions {
            self.act(action);
        }
        took
    }

    fn seen(&self) -> BTreeMap<String, Seen> {
        let mut all: BTreeMap<String, Seen> = self.rows.iter().map(|row| (row.name.clone(), Seen::default())).collect();
        for seen in all.values_mut() {
            (seen.listed, seen.acked) = (true, true);
        }
        for sandbox in &self.sandboxes {
            let Some(seen) = all.get_mut(&sandbox.instance) else { continue };
            let ready = || ProbeReport { started: Some(true), ready: true, live: None, message: String::new() };
            seen.probes.extend(sandbox.containers.iter().map(|container| (container.id.clone(), ready())));
            seen.sandboxes.push(sandbox.clone());
        }
        all
    }

    fn act(&mut self, action: Action) {
        self.made += 1;
        let id = self.made;
        match action {
            Action::Pull { reference } => {
                self.images.insert(reference, ImageState::Present);
            }
            Action::RunSandbox { instance, spec } => {
                for row in self.rows.iter_mut().filter(|row| row.name == instance) {
                    row.isolation = Some(Isolation { verified: None, evidence: String::new() });
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
                    containers: Vec::new(),
                });
            }
            Action::RemoveSandbox { id, .. } => self.sandboxes.retain(|sandbox| sandbox.id != id),
            Action::Create { sandbox_id, attempt, revision, .. } => {
                let spec_hash = self.revisions.get(&revision).map(|r| r.spec_hash.clone()).unwrap_or_default();
                for sandbox in self.sandboxes.iter_mut().filter(|sandbox| sandbox.id == sandbox_id) {
                    sandbox.containers.push(ObservedContainer {
                        id: format!("c{id}"),
                        name: "main".into(),
                        attempt,
                        spec_hash: spec_hash.clone(),
                        revision: revision.clone(),
                        state: ContainerState::Created,
                        exit_code: None,
                        reason: String::new(),
                        message: String::new(),
                        started_at: 0,
                        finished_at: 0,
                    });
                }
            }
            Action::Start { container_id, .. } => self.set(&container_id, ContainerState::Running),
            Action::Stop { container_id, .. } => self.set(&container_id, ContainerState::Exited),
            Action::Remove { container_id, .. } => {
                for sandbox in &mut self.sandboxes {
                    sandbox.containers.retain(|container| container.id != container_id);
                }
            }
        }
    }

    fn set(&mut self, id: &str, state: ContainerState) {
        for container in self.sandboxes.iter_mut().flat_map(|sandbox| &mut sandbox.containers) {
            if container.id == id {
                container.state = state;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_goes_through_its_steps() {
        let mut node = Node::new(10).unwrap();
        let before = node.rows.iter().map(|row| row.revision.clone()).collect::<Vec<_>>();
        assert!(node.release().unwrap().len() > 10);
        assert_eq!(node.rows.len(), 10);
        assert!(node.rows.iter().all(|row| !before.contains(&row.revision) && row.reason.is_empty()));
    }
}
