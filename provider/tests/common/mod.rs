//! A server that keeps objects in memory and does what a test tells it.

#![allow(clippy::unwrap_used, dead_code)]

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use sampan_schema::{KINDS, Kind, normalise};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What the test decides, and what there is.
#[derive(Debug)]
pub struct World {
    pub objects: BTreeMap<String, Value>,
    pub operations: BTreeMap<String, Value>,
    /// Answers to reads of what is no object, by path.
    pub reports: BTreeMap<String, Value>,
    /// Method, path and body of every request.
    pub asked: Vec<(String, String, Value)>,
    /// The phase in which releases end; nothing keeps them running.
    pub ends: Option<(&'static str, &'static str, &'static str)>,
    pub dry_run: Value,
    /// Answers before anything else, once each.
    pub refuse: Vec<(u16, Value)>,
    pub api_version: &'static str,
    /// Ids of living tokens.
    pub tokens: Vec<String>,
    next: u64,
}

#[derive(Clone)]
pub struct Fake(Arc<Mutex<World>>);

impl Fake {
    pub async fn start() -> (Self, String) {
        let world = World {
            objects: BTreeMap::new(),
            operations: BTreeMap::new(),
            reports: BTreeMap::new(),
            asked: Vec::new(),
            ends: Some(("Succeeded", "", "")),
            dry_run: json!({ "change_class": "none" }),
            refuse: Vec::new(),
            api_version: "v1",
            tokens: Vec::new(),
            next: 1,
        };
        let fake = Self(Arc::new(Mutex::new(world)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (fake, format!("http://{address}"))
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// How often a method was used on a path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.world().asked.iter().filter(|(m, p, _)| m == method && p == path).count()
    }

    /// The body of the last request with a method.
    pub fn last(&self, method: &str) -> Value {
        self.world().asked.iter().rev().find(|(m, _, _)| m == method).unwrap().2.clone()
    }
}

pub fn problem(status: u16, code: &str, errors: Value) -> Value {
    json!({ "type": "about:blank", "status": status, "code": code, "title": code.to_lowercase(), "detail": "said the server",
            "request_id": "r1", "errors": errors })
}

async fn answer(State(fake): State<Fake>, method: Method, uri: Uri, headers: HeaderMap, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let path = uri.path().to_owned();
    if path.starts_with("/v1/operations/") {
        // A long poll, shortened.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (status, answer) = fake.world().answer(method.as_str(), &path, &headers, body);
    let status = StatusCode::from_u16(status).unwrap();
    if answer.is_null() { status.into_response() } else { (status, axum::Json(answer)).into_response() }
}

impl World {
    fn answer(&mut self, method: &str, path: &str, headers: &HeaderMap, body: Value) -> (u16, Value) {
        self.asked.push((method.to_owned(), path.to_owned(), body.clone()));
        if let Some((status, answer)) = self.refuse.pop() {
            return (status, answer);
        }
        if path == "/v1/server" {
            return (200, json!({ "version": "0.1.0", "api_version": self.api_version }));
        }
        if let Some(id) = path.strip_prefix("/v1/operations/") {
            return self.operation(id);
        }
        if let Some(item) = path.strip_suffix("/dry-run") {
            let _ = item;
            return (200, self.dry_run.clone());
        }
        if let Some(report) = self.reports.get(path) {
            return (200, report.clone());
        }
        if let Some(rest) = path.strip_prefix("/v1/tokens") {
            return self.tokens(method, rest, &body);
        }
        if method == "POST" {
            return self.verb(path);
        }
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        if method == "GET" && KINDS.iter().any(|k| k.collection == parts[parts.len() - 1]) && parts.len() % 2 == 1 {
            let below = format!("{path}/");
            let direct = |key: &&String| key.strip_prefix(&below).is_some_and(|rest| !rest.contains('/'));
            let items: Vec<&Value> = self.objects.keys().filter(direct).map(|key| &self.objects[key]).collect();
            return (200, json!({ "items": items }));
        }
        let kind = KINDS.iter().find(|k| k.collection == parts[parts.len() - 2]).unwrap();
        let not_found = || (404, problem(404, "NOT_FOUND", json!([])));
        let stored = self.objects.get(path).cloned();
        let generation = |o: &Value| format!("\"{}\"", o["generation"]);
        let wanted = headers.get("if-match").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let stale = |o: &Value| wanted != "*" && wanted != generation(o);
        match (method, stored) {
            ("GET", Some(object)) => (200, object),
            ("GET" | "DELETE", None) => not_found(),
            ("PUT", None) if headers.contains_key("if-match") => not_found(),
            ("PUT", Some(_)) if headers.contains_key("if-none-match") => {
                (409, problem(409, "ALREADY_EXISTS", json!([])))
            }
            ("PUT" | "DELETE", Some(o)) if stale(&o) => (412, problem(412, "GENERATION_MISMATCH", json!([]))),
            ("PUT", stored) => self.put(kind, path, stored, &body),
            ("DELETE", Some(_)) if kind.name == "application" => {
                let operation = self.begin("delete", path);
                (202, json!({ "operation": operation }))
            }
            ("DELETE", Some(_)) => {
                self.objects.remove(path);
                (204, Value::Null)
            }
            _ => (405, Value::Null),
        }
    }

    fn put(&mut self, kind: &Kind, path: &str, stored: Option<Value>, body: &Value) -> (u16, Value) {
        let mut object = normalise::strip_nulls(body);
        object.as_object_mut().unwrap().remove("data_wo");
        let before = stored.as_ref().map(|o| {
            let mut spec = o.clone();
            for name in ["id", "uid", "generation", "status"] {
                spec.as_object_mut().unwrap().remove(name);
            }
            spec
        });
        let same = before.as_ref() == Some(&object);
        let generation = stored.as_ref().map_or(1, |o| o["generation"].as_i64().unwrap() + i64::from(!same));
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        object["id"] = kind.id(&text("namespace"), &text("name")).into();
        object["uid"] = "u1".into();
        object["generation"] = generation.into();
        object["status"] = match kind.name {
            "application" => json!({ "phase": "Running", "observed_generation": generation, "current_revision": "r1",
                "update_revision": format!("r{generation}"), "image_digest": "sha256:1", "isolation_class": "runc",
                "reason": "", "message": "", "replicas": 2, "ready_replicas": 2, "updated_replicas": 2 }),
            "secret" => json!({ "keys": ["A"] }),
            "gray_policy" => json!({ "used_by": [] }),
            "scaling_rule" => json!({ "type": "metric", "desired": 1, "current": 1, "limited_by": "none",
                "last_scale_time": "", "active_schedule": "", "metrics": {} }),
            "environment_schedule" => json!({ "phase": "Running", "last_boundary": "", "next_boundary": "",
                "applications": [], "stopped": [] }),
            "route" => json!({ "urls": ["http://shop.example/"] }),
            "config_map" => json!({ "content_hash": format!("h{generation}") }),
            _ => json!({ "phase": "Active" }),
        };
        self.objects.insert(path.to_owned(), object);
        let mut status = if stored.is_some() { 200 } else { 201 };
        let mut operation = Value::Null;
        let failed = stored.as_ref().is_some_and(|o| o["status"]["last_operation"]["phase"] == "Failed");
        if kind.name == "application" && (!same || failed) {
            operation = self.begin("deploy", path);
            status = if stored.is_some() { 202 } else { 201 };
        }
        let mut answer = self.objects[path].clone();
        if !operation.is_null() {
            answer["operation"] = operation;
        }
        (status, answer)
    }

    fn tokens(&mut self, method: &str, rest: &str, body: &Value) -> (u16, Value) {
        let id = rest.trim_start_matches('/').trim_end_matches("/renew").to_owned();
        let info = |id: &str| json!({ "id": id, "expire_time": "2030-01-01T00:00:00.000Z" });
        if method == "POST" && id.is_empty() {
            let id = format!("t{}", self.next);
            self.next += 1;
            self.tokens.push(id.clone());
            let mut made = info(&id);
            made["role"] = body["role"].clone();
            made["token"] = format!("sampan_secret-of-{id}").into();
            return (201, made);
        }
        if !self.tokens.contains(&id) {
            return (404, problem(404, "NOT_FOUND", json!([])));
        }
        self.tokens.retain(|living| method != "DELETE" || *living != id);
        (200, info(&id))
    }

    /// What is told to an application: the verb is the last part of the path.
    fn verb(&mut self, path: &str) -> (u16, Value) {
        let (of, verb) = path.rsplit_once('/').unwrap();
        if verb == "restart" || verb == "rollback" {
            let operation = self.begin(verb, of);
            return (202, json!({ "operation": operation }));
        }
        let rollout = json!({ "phase": "Paused", "step": 1, "total_steps": 3 });
        (if verb == "pause" { 200 } else { 202 }, rollout)
    }

    fn begin(&mut self, what: &str, path: &str) -> Value {
        let id = format!("op{}", self.next);
        self.next += 1;
        let operation = json!({ "id": id, "kind": what, "target_kind": "application", "namespace": "shop", "name": "cart",
            "path": path, "phase": "Running",
            "reason": "", "message": "", "progress": { "total": 2, "updated": 1, "ready": 1, "failing": [] } });
        self.operations.insert(id, operation.clone());
        self.note(path, &operation);
        operation
    }

    fn note(&mut self, path: &str, operation: &Value) {
        if let Some(object) = self.objects.get_mut(path) {
            let mut last = operation.clone();
            last.as_object_mut()
                .unwrap()
                .retain(|k, _| ["id", "kind", "phase", "reason", "message"].contains(&k.as_str()));
            object["status"]["last_operation"] = last;
        }
    }

    fn operation(&mut self, id: &str) -> (u16, Value) {
        let Some(mut operation) = self.operations.get(id).cloned() else {
            return (404, problem(404, "NOT_FOUND", json!([])));
        };
        let open = operation["phase"] == "Running" || operation["phase"] == "Paused";
        if let Some((phase, reason, message)) = self.ends.filter(|_| open) {
            operation["phase"] = phase.into();
            operation["reason"] = reason.into();
            operation["message"] = message.into();
            self.operations.insert(id.to_owned(), operation.clone());
            let path = operation["path"].as_str().unwrap().to_owned();
            if operation["kind"] == "delete" && phase == "Succeeded" {
                self.objects.remove(&path);
            } else {
                self.note(&path, &operation);
            }
        }
        (200, operation)
    }
}
