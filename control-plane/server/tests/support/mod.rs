//! A server on a fake runtime: everything but containers is real.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sampan_engine::runtime::*;
use sampan_server::{Config, Server};
use serde_json::{Value, json};

/// What the fake has been told to do wrong.
#[derive(Debug, Default)]
pub struct Faults {
    /// Images that cannot be pulled, with the error.
    pub images: BTreeMap<String, RuntimeError>,
    /// Spec hashes or revisions whose containers never become ready.
    pub unready_env: Option<(String, String)>,
    /// Probes are in their initial delay: nothing but the verdict so far is reported.
    pub probes_wait: bool,
    /// Calls that panic, once each, by how they begin.
    pub panics: Vec<&'static str>,
    /// Sandboxes that cannot be removed.
    pub stuck: Vec<&'static str>,
    /// Containers are created only from images that were pulled since this was set.
    pub images_gone: bool,
    /// The pull and the sandbox each wait until the other is under way, and fail when it is not.
    pub meeting: Option<Arc<tokio::sync::Barrier>>,
}

#[derive(Default)]
struct World {
    next: u64,
    sandboxes: BTreeMap<String, ObservedSandbox>,
    env: BTreeMap<String, Vec<(String, String)>>,
    faults: Faults,
    calls: Vec<String>,
    /// References that were pulled with a login, and the login.
    logins: Vec<(String, String)>,
    usage: Vec<Usage>,
}

/// Containers that start at once and are ready unless told otherwise.
#[derive(Clone, Default)]
pub struct Fake {
    world: Arc<Mutex<World>>,
    pub classes: Vec<(String, bool)>,
}

impl Fake {
    pub fn new() -> Self {
        Self { world: Arc::default(), classes: vec![("runc".into(), true), ("kata".into(), false)] }
    }
    pub fn faults(&self, f: impl FnOnce(&mut Faults)) {
        f(&mut self.world.lock().unwrap().faults);
    }
    pub fn calls(&self) -> Vec<String> {
        self.world.lock().unwrap().calls.clone()
    }
    pub fn logins(&self) -> Vec<(String, String)> {
        self.world.lock().unwrap().logins.clone()
    }
    pub fn sandboxes(&self) -> Vec<ObservedSandbox> {
        self.world.lock().unwrap().sandboxes.values().cloned().collect()
    }
    pub fn env_of(&self, container: &str) -> Vec<(String, String)> {
        self.world.lock().unwrap().env.get(container).cloned().unwrap_or_default()
    }
    /// What the containers are said to have used from now on.
    pub fn set_usage(&self, usage: Vec<Usage>) {
        self.world.lock().unwrap().usage = usage;
    }
    /// A sandbox that another hand has made.
    pub fn put_sandbox(&self, s: ObservedSandbox) {
        self.world.lock().unwrap().sandboxes.insert(s.id.clone(), s);
    }
    /// The process of a running container ends by itself.
    pub fn crash(&self, container: &str) {
        let mut w = self.world.lock().unwrap();
        for c in w.sandboxes.values_mut().flat_map(|s| &mut s.containers).filter(|c| c.id == container) {
            c.state = ContainerState::Exited;
            c.exit_code = Some(1);
            c.reason = "Error".into();
        }
    }
    fn with<T>(&self, call: String, f: impl FnOnce(&mut World) -> T) -> T {
        self.stumble(&call);
        let mut w = self.world.lock().unwrap();
        w.calls.push(call);
        f(&mut w)
    }
    fn stumble(&self, call: &str) {
        let mut w = self.world.lock().unwrap();
        if let Some(at) = w.faults.panics.iter().position(|p| call.starts_with(p)) {
            w.faults.panics.remove(at);
            drop(w);
            panic!("asked for: {call}");
        }
    }
}

/// Waits for the other side, if there is to be a meeting.
async fn meet(meeting: Option<Arc<tokio::sync::Barrier>>) -> Result<(), RuntimeError> {
    let Some(meeting) = meeting else { return Ok(()) };
    let met = tokio::time::timeout(Duration::from_secs(3), meeting.wait()).await;
    met.map(drop).map_err(|_| RuntimeError::permanent("Alone", "the other call did not come"))
}

fn done<T: Send + 'static>(value: T) -> Work<'static, T> {
    Box::pin(async move { value })
}

impl Runtime for Fake {
    fn classes(&self) -> Vec<ClassStatus> {
        let status = |(class, available): &(String, bool)| ClassStatus {
            class: class.clone(),
            handler: class.clone(),
            available: *available,
            reason: if *available { String::new() } else { "no handler on this node".into() },
        };
        self.classes.iter().map(status).collect()
    }
    fn node(&self) -> String {
        "fake".into()
    }
    fn sandbox_run(&self, spec: SandboxSpec) -> Work<'_, Result<Sandbox, RuntimeError>> {
        let meeting = self.with(format!("run {}", spec.instance), |w| w.faults.meeting.clone());
        let made = self.with(format!("ran {}", spec.instance), |w| {
            w.next += 1;
            let ip = IpAddr::from([127, 0, 0, 1]);
            let s = ObservedSandbox {
                id: format!("s{}", w.next),
                instance: spec.instance.clone(),
                namespace: spec.namespace.clone(),
                application: spec.application.clone(),
                generation: spec.generation,
                ready: true,
                ip: Some(ip),
                created_at: 0,
                containers: Vec::new(),
            };
            w.sandboxes.insert(s.id.clone(), s.clone());
            Sandbox { id: s.id, ip, isolation: Isolation { verified: None, evidence: "none".into() } }
        });
        Box::pin(async move { meet(meeting).await.map(|()| made) })
    }
    fn sandbox_remove(&self, id: String, _: SandboxSpec) -> Work<'_, Result<(), RuntimeError>> {
        done(self.with(format!("remove sandbox {id}"), |w| {
            if w.faults.stuck.contains(&id.as_str()) {
                return Err(RuntimeError::transient("Unknown", "it does not go"));
            }
            w.sandboxes.remove(&id);
            Ok(())
        }))
    }
    fn container_create(
        &self,
        sandbox_id: String,
        _: SandboxSpec,
        spec: ContainerSpec,
    ) -> Work<'_, Result<String, RuntimeError>> {
        done(self.with(format!("create {sandbox_id} {}", spec.attempt), |w| {
            if w.faults.images_gone {
                return Err(RuntimeError::transient("ImageMissing", "not on the node"));
            }
            w.next += 1;
            let id = format!("c{}", w.next);
            let Some(s) = w.sandboxes.get_mut(&sandbox_id) else {
                return Err(RuntimeError::transient("NotFound", "no sandbox"));
            };
            s.containers.push(ObservedContainer {
                id: id.clone(),
                name: spec.name,
                attempt: spec.attempt,
                spec_hash: spec.spec_hash,
                revision: spec.revision,
                state: ContainerState::Created,
                exit_code: None,
                reason: String::new(),
                message: String::new(),
                started_at: 0,
                finished_at: 0,
            });
            w.env.insert(id.clone(), spec.env);
            Ok(id)
        }))
    }
    fn container_start(&self, id: String) -> Work<'_, Result<(), RuntimeError>> {
        done(self.set(&id, "start", ContainerState::Running))
    }
    fn container_stop(&self, id: String, _: u64) -> Work<'_, Result<(), RuntimeError>> {
        done(self.set(&id, "stop", ContainerState::Exited))
    }
    fn container_remove(&self, id: String) -> Work<'_, Result<(), RuntimeError>> {
        done(self.with(format!("remove {id}"), |w| {
            for s in w.sandboxes.values_mut() {
                s.containers.retain(|c| c.id != id);
            }
            Ok(())
        }))
    }
    fn list(&self) -> Work<'_, Result<Vec<ObservedSandbox>, RuntimeError>> {
        self.stumble("list");
        done(Ok(self.sandboxes()))
    }
    fn observe(&self, id: String) -> Work<'_, Result<Option<ObservedSandbox>, RuntimeError>> {
        done(Ok(self.world.lock().unwrap().sandboxes.get(&id).cloned()))
    }
    fn image_pull(&self, reference: String, login: Option<Login>) -> Work<'_, Result<(), RuntimeError>> {
        let (meeting, pulled) = self.with(format!("pull {reference}"), |w| {
            w.logins.extend(login.map(|l| (reference.clone(), format!("{}:{}", l.username, l.password))));
            let fault = w.faults.images.iter().find(|(i, _)| reference.contains(i.as_str()));
            w.faults.images_gone = false;
            (w.faults.meeting.clone(), fault.map_or(Ok(()), |(_, e)| Err(e.clone())))
        });
        Box::pin(async move { meet(meeting).await.and(pulled) })
    }
    fn image_id(&self, _: String) -> Work<'_, Result<Option<String>, RuntimeError>> {
        done(Ok(None))
    }
    fn probes_watch(
        &self,
        id: String,
        _: IpAddr,
        probes: Probes,
        begun: ProbeReport,
        report: Box<dyn Fn(ProbeReport) + Send + Sync>,
    ) {
        if self.with(format!("probe {id} begun ready={}", begun.ready), |w| w.faults.probes_wait) {
            // As the node does: what stands is said at once, and the rest only after the initial delay.
            report(ProbeReport { ready: probes.readiness.is_none() || begun.ready, ..ProbeReport::passing() });
            return;
        }
        let (unready, env) = {
            let w = self.world.lock().unwrap();
            (w.faults.unready_env.clone(), w.env.get(&id).cloned().unwrap_or_default())
        };
        let ready = unready.is_none_or(|u| !env.contains(&u));
        let message = if ready { String::new() } else { "GET /healthz answered 503".into() };
        report(ProbeReport { started: Some(true), ready, live: None, message });
    }
    fn probes_forget(&self, _: &str) {}
    fn exec(&self, id: String, command: Vec<String>, _: u64) -> Work<'_, Result<ExecOutput, RuntimeError>> {
        let command = command.join(" ");
        self.with(format!("exec {id} {command}"), |_| ());
        done(Ok(ExecOutput { stdout: command.into_bytes(), stderr: Vec::new(), exit_code: 0 }))
    }
    fn usage(&self) -> Work<'_, Result<Vec<Usage>, RuntimeError>> {
        done(Ok(self.world.lock().unwrap().usage.clone()))
    }
    fn logs(&self, _: LogQuery) -> Work<'_, Result<(Vec<LogLine>, u64), RuntimeError>> {
        done(Ok((vec![LogLine { time: "t".into(), stderr: false, text: "hello".into() }], 1)))
    }
}

impl Fake {
    fn set(&self, id: &str, verb: &str, state: ContainerState) -> Result<(), RuntimeError> {
        self.with(format!("{verb} {id}"), |w| {
            for c in w.sandboxes.values_mut().flat_map(|s| &mut s.containers).filter(|c| c.id == id) {
                c.state = state;
                c.started_at = 1;
            }
            Ok(())
        })
    }
}

/// A server in a folder of its own, with clients of each role.
pub struct Bench {
    pub fake: Fake,
    pub dir: tempfile::TempDir,
    pub server: Option<Server>,
    pub http: reqwest::Client,
    pub url: String,
    pub admin: String,
    pub read_only: String,
}

pub async fn bench(fake: Fake) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&fake, dir.path()).await;
    let url = format!("http://{}", server.api);
    let token = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap().trim().to_owned();
    Bench {
        fake,
        url,
        http: reqwest::Client::new(),
        admin: token("admin.token"),
        read_only: token("read-only.token"),
        server: Some(server),
        dir,
    }
}

/// Long for a client that sends, short for a test that waits for it.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

async fn start(fake: &Fake, dir: &std::path::Path) -> Server {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { api: any, gateway: any, dev: true, client_timeout: CLIENT_TIMEOUT, ..Config::new(dir) };
    Server::start_with(config, Arc::new(fake.clone())).await.unwrap()
}

pub const IMAGE_A: &str =
    "127.0.0.1:1/demo/hello@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const IMAGE_B: &str =
    "127.0.0.1:1/demo/hello@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

pub fn app(image: &str, replicas: u64) -> Value {
    json!({
        "replicas": replicas, "resources": { "cpu": "100m", "memory": "64Mi" }, "container": { "image": image },
        "network": { "ports": { "http": { "container_port": 8080, "protocol": "HTTP" } } },
        "update_strategy": { "progress_deadline_seconds": 5 },
    })
}

impl Bench {
    /// Stops the server and starts it again on the same folder, as after a crash of everything but containers.
    pub async fn restart(&mut self) {
        if let Some(s) = self.server.take() {
            s.stop().await.unwrap();
        }
        let server = start(&self.fake, self.dir.path()).await;
        self.url = format!("http://{}", server.api);
        self.server = Some(server);
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> (u16, Value) {
        let mut r = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .bearer_auth(&self.admin)
            .timeout(Duration::from_mins(1));
        for (k, v) in headers {
            r = r.header(*k, *v);
        }
        if let Some(b) = body {
            r = r.json(b);
        }
        let answer = r.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Value {
        self.send("GET", path, &[], None).await.1
    }

    pub async fn create(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("PUT", path, &[("if-none-match", "*")], Some(body)).await
    }

    /// Replaces what is there, with its present generation.
    pub async fn update(&self, path: &str, body: &Value) -> (u16, Value) {
        let generation = self.get(path).await["generation"].to_string();
        self.send("PUT", path, &[("if-match", &format!("\"{generation}\""))], Some(body)).await
    }

    /// Follows the operation of an answer to its end.
    pub async fn finish(&self, answer: &Value) -> Value {
        let id = answer["operation"]["id"].as_str().unwrap_or_else(|| panic!("no operation in {answer}")).to_owned();
        let until = Instant::now() + Duration::from_secs(40);
        loop {
            let op = self.get(&format!("/v1/operations/{id}?wait=10")).await;
            if !matches!(op["phase"].as_str(), Some("Pending" | "Running")) {
                return op;
            }
            assert!(Instant::now() < until, "operation does not end: {op}");
        }
    }

    pub async fn namespace(&self, name: &str) {
        let (status, body) = self.create(&format!("/v1/namespaces/{name}"), &json!({})).await;
        assert_eq!(status, 201, "{body}");
    }

    pub async fn deployed(&self, body: &Value) -> Value {
        let (status, answer) = self.create("/v1/namespaces/shop/applications/cart", body).await;
        assert_eq!(status, 201, "{answer}");
        let op = self.finish(&answer).await;
        assert_eq!(op["phase"], "Succeeded", "{op}");
        answer
    }

    pub async fn instances(&self) -> Vec<Value> {
        self.get("/v1/namespaces/shop/applications/cart/instances").await["items"].as_array().unwrap().clone()
    }
}

/// Waits for a condition, with a deadline and a name.
pub async fn wait_for<F: AsyncFnMut() -> bool>(name: &str, mut f: F) {
    let until = Instant::now() + Duration::from_secs(20);
    while !f().await {
        assert!(Instant::now() < until, "{name} did not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
