//! What is around a server and outlives it: the clock, the node, the gateways, the files; and how a server is started in
//! it and killed.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use sampan_schema::permission::Role;
use sampan_store::{Commit, Store};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tower::ServiceExt;

use super::chance::Chance;
use super::gateways::Fleet;
use super::node::{Machine, Node};
use crate::clock::simulated;
use crate::egress::Allowed;
use crate::reconciler::{self, Parts};
use crate::registry::Registry;
use crate::sample::Sampler;
use crate::scaling::board::Board;
use crate::{auth, http};

/// 2028-02-28T23:50:00Z: the night to a leap day.
const BEGIN_MS: i64 = 1_835_394_600_000;

/// So much of what happened is told with what was wrong.
const STORY: usize = 60;

/// What goes wrong with the calls of the runtime and around commits.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Points at which the server can be killed, so far, and the one at which it is.
    pub points: u64,
    pub kill_at: Option<u64>,
    /// What each point was.
    pub trace: Vec<String>,
    /// One of so many calls goes wrong; 0: none.
    pub one_in: u64,
    /// How the next call ends whose name begins so.
    pub next: Option<(&'static str, Fate)>,
}

/// How a call of the runtime ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Fine,
    /// Nothing happened, and the caller is told.
    Refused,
    /// It happened, and the answer is lost.
    AnswerLost,
    /// No answer, and it happens after the caller has given up.
    Late,
    /// The server is killed before, after, or before what happens all the same.
    KilledBefore,
    KilledAfter,
    KilledAndLate,
}

#[derive(Debug, Clone, Default)]
struct Time {
    /// Milliseconds that have passed before the present server.
    passed: i64,
    began: Option<Instant>,
    /// By how much the wall clock was set.
    set: i64,
}

pub struct World {
    time: Mutex<Time>,
    chance: Mutex<Chance>,
    ids: Mutex<Chance>,
    faults: Mutex<Faults>,
    pub machine: Mutex<Machine>,
    pub fleet: Mutex<Fleet>,
    /// What must not be and was.
    wrong: Mutex<Vec<String>>,
    /// What happened of late, for whoever looks for the cause.
    story: Mutex<VecDeque<String>>,
    pub commits: AtomicU64,
    pub calls: AtomicU64,
    killed: AtomicBool,
    kill: Notify,
    files: tempfile::TempDir,
}

/// Where files are fast, if the machine has it.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            time: Mutex::default(),
            chance: Mutex::new(Chance::new(seed)),
            ids: Mutex::new(Chance::new(!seed)),
            faults: Mutex::default(),
            story: Mutex::default(),
            machine: Mutex::default(),
            fleet: Mutex::new(Fleet::new(2)),
            wrong: Mutex::default(),
            commits: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            kill: Notify::new(),
            files: folder(),
        })
    }

    /// Another world that goes on from here. No server runs.
    pub fn fork(&self) -> Arc<Self> {
        let files = folder();
        for entry in std::fs::read_dir(self.files.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), files.path().join(entry.file_name())).unwrap();
        }
        Arc::new(Self {
            time: Mutex::new(lock(&self.time).clone()),
            chance: Mutex::new(lock(&self.chance).clone()),
            ids: Mutex::new(lock(&self.ids).clone()),
            faults: Mutex::default(),
            story: Mutex::default(),
            machine: Mutex::new(lock(&self.machine).fork()),
            fleet: Mutex::new(lock(&self.fleet).clone()),
            wrong: Mutex::default(),
            commits: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            kill: Notify::new(),
            files,
        })
    }

    /// Milliseconds since the beginning. Nobody sets this clock.
    pub fn steady_ms(&self) -> i64 {
        let time = lock(&self.time);
        time.passed + time.began.map_or(0, |began| began.elapsed().as_millis() as i64)
    }

    pub fn set_clock(&self, by_ms: i64) {
        lock(&self.time).set += by_ms;
    }

    pub fn below(&self, n: u64) -> u64 {
        lock(&self.chance).below(n)
    }

    pub fn faults<T>(&self, f: impl FnOnce(&mut Faults) -> T) -> T {
        f(&mut lock(&self.faults))
    }

    /// What must not be. The first one comes with what went before it.
    pub fn wrong(&self, text: impl Into<String>) {
        let text = format!("at {} ms: {}", self.steady_ms(), text.into());
        let mut wrong = lock(&self.wrong);
        if wrong.is_empty() {
            wrong.extend(lock(&self.story).drain(..));
        }
        wrong.push(text);
    }

    /// What happens.
    pub fn tell(&self, text: impl Into<String>) {
        let text = format!("  {} ms: {}", self.steady_ms(), text.into());
        let mut story = lock(&self.story);
        if story.len() >= STORY {
            story.pop_front();
        }
        story.push_back(text);
    }

    /// # Panics
    /// When something was wrong.
    pub fn check(&self) {
        let wrong = lock(&self.wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// `kill -9` of the server.
    pub fn kill(&self) {
        if !self.killed.swap(true, Ordering::SeqCst) {
            self.kill.notify_one();
        }
    }

    /// One more place where the server can be killed; true when it is to be.
    fn point(&self, what: &str) -> bool {
        self.faults(|f| {
            f.points += 1;
            f.trace.push(what.to_owned());
            f.kill_at == Some(f.points)
        })
    }

    /// How the next call of the runtime ends.
    pub fn fate(&self, call: &str) -> Fate {
        let fate = self.choose(call);
        self.tell(format!("{call}: {fate:?}"));
        fate
    }

    fn choose(&self, call: &str) -> Fate {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let ends = [
            (Fate::KilledBefore, "before"),
            (Fate::KilledAfter, "after"),
            (Fate::KilledAndLate, "before, and it comes late:"),
        ];
        let mut fate = None;
        for (end, when) in ends {
            if self.point(&format!("{when} {call}")) {
                fate = Some(end);
            }
        }
        if let Some((_, fate)) = self.faults(|f| f.next.take_if(|(begins, _)| call.starts_with(*begins))) {
            return fate;
        }
        let one_in = self.faults(|f| f.one_in);
        fate.unwrap_or_else(|| {
            if one_in == 0 || self.below(one_in) > 0 {
                return Fate::Fine;
            }
            [Fate::Refused, Fate::AnswerLost, Fate::Late][self.below(3) as usize]
        })
    }

    fn commit(&self, commit: Commit) {
        if self.is_killed() {
            resume_unwind(Box::new("killed"));
        }
        if commit == Commit::Done {
            self.commits.fetch_add(1, Ordering::SeqCst);
        }
        let what = if commit == Commit::Begins { "before a commit" } else { "after a commit" };
        if self.point(what) {
            self.kill();
            resume_unwind(Box::new("killed"));
        }
    }

    /// Runs servers, one after the other as they are killed, until `body` is done with one.
    pub fn run<T>(self: &Arc<Self>, mut body: impl AsyncFnMut(&Server) -> T) -> T {
        simulated::enter(self.clone());
        for _ in 0..100 {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let done = runtime.block_on(async {
                lock(&self.time).began = Some(Instant::now());
                self.tell("a server starts");
                let server = Server::start(self);
                let done = tokio::select! {
                    biased;
                    () = self.kill.notified() => None,
                    done = body(&server) => Some(done),
                };
                let mut time = lock(&self.time);
                time.passed += time.began.take().map_or(0, |began| began.elapsed().as_millis() as i64);
                done
            });
            // Whatever is still under way dies with the server, but what the node does.
            self.killed.store(true, Ordering::SeqCst);
            drop(runtime);
            self.killed.store(false, Ordering::SeqCst);
            lock(&self.machine).server_died();
            lock(&self.fleet).server_died();
            if let Some(done) = done {
                return done;
            }
        }
        panic!("the server was killed a hundred times")
    }
}

impl simulated::World for World {
    fn now_ms(&self) -> i64 {
        let set = lock(&self.time).set;
        BEGIN_MS + set + self.steady_ms()
    }
    fn random(&self) -> u8 {
        lock(&self.ids).next() as u8
    }
}

/// A server that runs.
pub struct Server {
    pub world: Arc<World>,
    pub store: Store,
    router: Router,
    token: String,
}

impl Server {
    fn start(world: &Arc<World>) -> Self {
        let told = world.clone();
        // Not before it serves: an unfinished first start is another story.
        let serves = Arc::new(AtomicBool::new(false));
        let counts = serves.clone();
        let store = Store::open_told(world.files.path().join("sampan.db"), move |commit| {
            if counts.load(Ordering::SeqCst) {
                told.commit(commit);
            }
        });
        let store = store.unwrap();
        let file = world.files.path().join("admin.token");
        auth::ensure(&store, &file, Role::Admin, "admin").unwrap();
        serves.store(true, Ordering::SeqCst);
        let (notes, heard) = mpsc::unbounded_channel();
        let runtime = Arc::new(Node::new(world.clone()));
        let registry = Registry::new(Allowed::default());
        let board = Arc::new(Board::default());
        let parts = Parts {
            store: store.clone(),
            runtime: runtime.clone(),
            gateway: Arc::new(super::gateways::Offered::new(world.clone())),
            registry: registry.clone(),
            sampler: Sampler::new(Allowed::default()),
            default_class: "runc".into(),
            board: board.clone(),
        };
        let router = http::router(http::Api {
            store: store.clone(),
            runtime,
            registry,
            notes,
            board,
            default_class: "runc".into(),
            gateway: ([127, 0, 0, 1], 80).into(),
            body_timeout: Duration::from_secs(30),
        });
        tokio::spawn(reconciler::run(parts, heard));
        let token = std::fs::read_to_string(file).unwrap().trim().to_owned();
        Self { world: world.clone(), store, router, token }
    }

    /// One request. It never ends when the server is killed by it.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let mut request = Request::builder().method(method).uri(path).header("authorization", self.bearer());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        let Ok(Ok(answer)) = tokio::spawn(self.router.clone().oneshot(request)).await else {
            assert!(self.world.is_killed(), "{method} {path} broke off");
            return std::future::pending().await;
        };
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 24).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    pub async fn get(&self, path: &str) -> Value {
        self.send("GET", path, &[], &Value::Null).await.1
    }
}
