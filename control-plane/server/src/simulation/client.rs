//! A caller who does not give up: what was not answered is looked up and sent again.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::world::{Server, lock};
use crate::objects;

pub const CART: &str = "/v1/namespaces/shop/applications/cart";
pub const CAREFUL: &str = "/v1/namespaces/shop/gray-policies/careful";
pub const NAMESPACE: &str = "/v1/namespaces/shop";

/// For whatever has to end: far above every deadline of the server.
const PATIENCE: Duration = Duration::from_hours(2);

/// An application; the tag of the image is a number.
pub fn cart(image: u64, replicas: u64, policy: bool) -> Value {
    let mut body = json!({
        "replicas": replicas, "resources": { "cpu": "100m", "memory": "64Mi" },
        "container": { "image": format!("made.example/cart:{image}"), "image_pull_policy": "Never" },
        "network": { "ports": { "http": { "container_port": 8080, "protocol": "HTTP" } } },
        "update_strategy": { "max_unavailable": "1", "progress_deadline_seconds": 120 },
    });
    if policy {
        body["gray_policy"] = "careful".into();
    }
    body
}

/// One thing that a caller does, and how it ends.
#[derive(Debug, Clone)]
pub enum Step {
    /// A write; the operation that it starts, if any, has to end in this phase.
    Put(&'static str, Value, &'static str),
    /// A verb of a rollout.
    Verb(&'static str, Value, &'static str),
    Delete(&'static str),
}

/// What the caller remembers over the deaths of servers.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Generation of the object before the write under way; `Some(None)`: there was none.
    before: Option<Option<i64>>,
    /// The write under way was answered or found, with its operation.
    sent: Option<Option<String>>,
    /// What was answered with success.
    acked: BTreeMap<&'static str, i64>,
    operation: String,
    verbs: u64,
    /// Content of revisions seen, by hash.
    revisions: BTreeMap<String, Value>,
}

impl Client {
    /// One step to its end, also when it was begun with another server.
    pub async fn step(&mut self, s: &Server, step: &Step) {
        self.look_back(s).await;
        let ends = match step {
            Step::Put(path, body, ends) => {
                self.put(s, path, body).await;
                ends
            }
            Step::Verb(verb, body, ends) => {
                self.verb(s, verb, body).await;
                ends
            }
            Step::Delete(path) => {
                self.delete(s, path).await;
                ""
            }
        };
        if let Some(id) = self.sent.clone().flatten() {
            self.operation = id;
        }
        if !ends.is_empty() {
            self.follow(s, ends).await;
        }
        (self.before, self.sent) = (None, None);
    }

    /// What was answered is there, and what was written once stays as it was.
    async fn look_back(&mut self, s: &Server) {
        for (path, generation) in &self.acked {
            let now = s.get(path).await;
            if now["generation"].as_i64().is_none_or(|g| g < *generation) && now["code"] != "NOT_FOUND" {
                s.world.wrong(format!("{path} was answered with generation {generation} and is {now}"));
            }
        }
        let rows = s.store.read(|r| objects::revisions(r, "shop/cart")).unwrap();
        for r in rows {
            let content = json!([r.spec_hash, r.sandbox_hash, r.image_digest, r.class]);
            let known = self.revisions.entry(r.hash.clone()).or_insert_with(|| content.clone());
            if *known != content {
                s.world.wrong(format!("revision {} was {known} and is {content}", r.hash));
            }
        }
    }

    async fn put(&mut self, s: &Server, path: &'static str, body: &Value) {
        if self.sent.is_some() {
            return;
        }
        let there = s.get(path).await;
        let generation = there["generation"].as_i64();
        let before = *self.before.get_or_insert(generation);
        if before != generation {
            // It was written, and the answer was lost.
            self.sent = Some(there["status"]["last_operation"]["id"].as_str().map(str::to_owned));
            return;
        }
        let tag = generation.map(|g| format!("\"{g}\""));
        let header = tag.as_deref().map_or(("if-none-match", "*"), |tag| ("if-match", tag));
        let (status, answer) = s.send("PUT", path, &[header], body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        self.acked.insert(path, answer["generation"].as_i64().unwrap_or(0));
        self.sent = Some(answer["operation"]["id"].as_str().map(str::to_owned));
    }

    async fn verb(&mut self, s: &Server, verb: &str, body: &Value) {
        if self.sent.is_some() {
            return;
        }
        let key = format!("verb-{}", self.verbs);
        let (status, answer) = s.send("POST", &format!("{CART}/{verb}"), &[("idempotency-key", &key)], body).await;
        assert!((200..300).contains(&status), "{verb}: {status} {answer}");
        self.verbs += 1;
        self.sent = Some(answer["operation"]["id"].as_str().map(str::to_owned));
    }

    async fn delete(&mut self, s: &Server, path: &'static str) {
        for _ in 0..PATIENCE.as_secs() {
            let (status, answer) = s.send("DELETE", path, &[("if-match", "*")], &Value::Null).await;
            if status == 404 {
                self.acked.remove(path);
                return;
            }
            assert!((200..300).contains(&status) || status == 409, "{path}: {status} {answer}");
            sleep(Duration::from_secs(1)).await;
        }
        panic!("{path} does not go");
    }

    /// Waits until the last operation is in the phase.
    async fn follow(&self, s: &Server, ends: &str) {
        let op = wait(s, &self.operation, ends).await;
        assert_eq!(op["phase"], ends, "{op}");
    }

    /// What there is in the end, in words.
    pub async fn describe(&self, s: &Server) -> String {
        let op = s.get(&format!("/v1/operations/{}", self.operation)).await;
        let rollout = s.get(&format!("{CART}/rollout")).await;
        let (rows, revisions) = s
            .store
            .read(|r| {
                Ok::<_, sampan_store::StoreError>((
                    objects::instances(r, "shop/cart")?,
                    objects::revisions(r, "shop/cart")?,
                ))
            })
            .unwrap();
        let running = lock(&s.world.machine).running("cart");
        let (carrying, weight) = lock(&s.world.fleet).carrying();
        format!(
            "operation {} {}; rollout {} {}; {} rows, all {}; images {running:?}; carrying {carrying:?}, gray {weight}; {} revisions",
            op["kind"],
            op["phase"],
            rollout["phase"],
            rollout["reason"],
            rows.len(),
            if rows.iter().all(|r| r.reason.is_empty()) { "well" } else { "not well" },
            revisions.len(),
        )
    }
}

/// Waits until an operation is over or in a phase, and returns it.
pub async fn wait(s: &Server, id: &str, or: &str) -> Value {
    let end = s.world.steady_ms() + PATIENCE.as_millis() as i64;
    loop {
        let op = s.get(&format!("/v1/operations/{id}?wait=10")).await;
        let phase = op["phase"].as_str().unwrap_or_default();
        if phase == or || !matches!(phase, "Pending" | "Running" | "Paused") {
            return op;
        }
        assert!(s.world.steady_ms() < end, "the operation never ends: {op}");
        // A paused one is answered at once.
        sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until nothing happens for so many seconds, and checks that nothing is left over.
pub async fn rest(s: &Server, seconds: u32) {
    let done = || s.world.commits.load(Ordering::SeqCst) + s.world.calls.load(Ordering::SeqCst);
    let (mut before, mut still) = (done(), 0_u32);
    for _ in 0..PATIENCE.as_secs() {
        sleep(Duration::from_secs(1)).await;
        let now = done();
        still = if now == before { still + 1 } else { 0 };
        before = now;
        if still >= seconds {
            break;
        }
    }
    let rows = s.store.read(|r| objects::instances(r, "shop/cart")).unwrap();
    assert!(still >= seconds, "it never comes to rest: {rows:#?}");
    let sandboxes = lock(&s.world.machine).sandboxes.len();
    assert_eq!(sandboxes, rows.len(), "sandboxes are left over, or missing");
    let state = s.store.read(|r| objects::state(r, "shop/cart")).unwrap();
    let active = state.release.as_ref().is_some_and(|r| r.is_active());
    assert!(active || !lock(&s.world.fleet).divides(), "a release that is over divides requests");
    s.world.check();
}
