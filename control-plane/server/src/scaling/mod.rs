//! The autoscaler's loop: reads what is measured, lets `engine` decide, stores the decision, wakes the reconciler.
//!
//! It never writes a spec. What it remembers is lost with the server, and then nothing is removed: the size comes back
//! from the store, and the engine keeps it until it has measured long enough.

mod application;
pub mod board;
mod fetch;
mod history;
mod outlook;
mod signals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sampan_engine::runtime::{Runtime, RuntimeError, Usage};
use sampan_engine::scaling::idle::Idle;
use sampan_gateway::Gateway;
use sampan_schema::scaling_rule::{MetricType, Spec};
use sampan_store::{Store, StoreError};
use tokio::sync::{Semaphore, mpsc};

use self::application::Application;
use self::board::Board;
use self::history::Usages;
use self::outlook::Outlook;
use crate::blocking::blocking;
use crate::clock::{Clocks, now_ms};
use crate::objects::{self, Scaled};
use crate::reconciler::Note;
use crate::sample::{self, Sampler};

const TICK: Duration = Duration::from_secs(1);
/// The node is asked, and rules are read again, so often.
const SLOW_MS: i64 = 15_000;
/// Questions to others, at once.
const AT_ONCE: usize = 16;

/// What the loop needs from outside.
pub struct Parts {
    pub store: Store,
    pub runtime: Arc<dyn Runtime>,
    pub gateway: Gateway,
    pub board: Arc<Board>,
    pub notes: mpsc::UnboundedSender<Note>,
    pub sampler: Sampler,
}

enum Heard {
    Usage(Result<Vec<Usage>, RuntimeError>),
    Answer { of: Question, result: Result<f64, String> },
}

/// Application, rule and metric.
type Question = (String, String, String);

struct Scaler {
    parts: Parts,
    tell: mpsc::UnboundedSender<Heard>,
    applications: BTreeMap<String, Application>,
    usages: Usages,
    asking: bool,
    asked_at: i64,
    /// Questions to others that are under way.
    open: BTreeSet<Question>,
    /// So many are asked at once.
    room: Arc<Semaphore>,
    /// When the rules were read last; 0: they must be read.
    read_at: i64,
    clocks: Clocks,
}

/// Runs until it is aborted, which it may be at any moment.
pub async fn run(parts: Parts) {
    let (tell, mut heard) = mpsc::unbounded_channel();
    let mut scaler = Scaler {
        parts,
        tell,
        applications: BTreeMap::new(),
        usages: Usages::default(),
        asking: false,
        asked_at: 0,
        open: BTreeSet::new(),
        room: Arc::new(Semaphore::new(AT_ONCE)),
        read_at: 0,
        clocks: Clocks::new(now_ms()),
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (board, gateway) = (scaler.parts.board.clone(), scaler.parts.gateway.clone());
    loop {
        let woken = tokio::select! {
            _ = tick.tick() => None,
            () = board.next_change_of_rules() => {
                scaler.read_at = 0;
                None
            }
            held = gateway.next_held() => Some(held),
            Some(h) = heard.recv() => {
                scaler.hear(h);
                continue;
            }
        };
        tokio::task::block_in_place(|| match woken {
            None => scaler.look(),
            Some(held) => scaler.wake(&held),
        });
    }
}

impl Scaler {
    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Usage(result) => {
                self.asking = false;
                match result {
                    Ok(all) => self.usages.push(now_ms(), all),
                    Err(error) => {
                        tracing::warn!(reason = error.reason, message = error.message, "usage cannot be read");
                        self.usages.problem = error.message;
                    }
                }
            }
            Heard::Answer { of, result } => {
                self.open.remove(&of);
                let (app, rule, metric) = of;
                if let Some(app) = self.applications.get_mut(&app) {
                    app.answered((rule, metric), result, now_ms());
                }
            }
        }
    }

    /// Everything, once a second.
    fn look(&mut self) {
        let now = now_ms();
        self.look_at_clocks(now);
        if now - self.read_at >= SLOW_MS || now < self.read_at {
            match self.read(now) {
                Ok(()) => self.read_at = now,
                Err(error) => tracing::error!(%error, "scaling rules cannot be read; trying again"),
            }
        }
        if now - self.asked_at >= SLOW_MS || now < self.asked_at {
            self.asked_at = now;
            if self.wants_usage() {
                self.ask();
            }
            self.ask_others();
        }
        let mut loads = self.parts.gateway.loads();
        for (name, app) in &mut self.applications {
            app.see(loads.remove(name), now);
            if !app.decide(name, &self.parts, &self.usages, now) {
                self.read_at = 0;
            }
        }
    }

    /// A clock that was set is no silence, and ends no window of stabilisation.
    fn look_at_clocks(&mut self, now: i64) {
        if self.clocks.jump(now) != 0 {
            (self.read_at, self.asked_at) = (0, 0);
            self.usages = Usages::default();
            self.applications.values_mut().for_each(|app| app.begin_anew(now));
        }
        self.clocks = Clocks::new(now);
    }

    /// Requests wait for these.
    fn wake(&mut self, held: &BTreeSet<String>) {
        let now = now_ms();
        self.look_at_clocks(now);
        for name in held {
            let Some(app) = self.applications.get_mut(name) else { continue };
            app.see(self.parts.gateway.load(name), now);
            if !app.decide(name, &self.parts, &self.usages, now) {
                self.read_at = 0;
            }
        }
    }

    fn wants_usage(&self) -> bool {
        let node = |kind| matches!(kind, MetricType::Cpu | MetricType::Memory);
        let metrics = |app: &Application| app.rules.iter().any(|r| r.spec.metrics.values().any(|m| node(m.kind)));
        !self.asking && self.applications.values().any(metrics)
    }

    /// Asks the node beside the loop.
    fn ask(&mut self) {
        self.asking = true;
        let (runtime, tell) = (self.parts.runtime.clone(), self.tell.clone());
        tokio::spawn(async move {
            // A panic is an answer too: nothing stays under way for ever.
            let result = tokio::spawn(async move { runtime.usage().await }).await;
            let lost = |_| RuntimeError::transient("Unknown", "a task of the server broke off, see its log");
            let _ = tell.send(Heard::Usage(result.map_err(lost).flatten()));
        });
    }

    /// Asks each address that is not being asked already. An answer, or why there is none, comes in bounded time.
    fn ask_others(&mut self) {
        for (app, application) in &self.applications {
            for rule in &application.rules {
                for (name, metric) in &rule.spec.metrics {
                    let of = (app.clone(), rule.spec.name.clone(), name.clone());
                    let outside = matches!(metric.kind, MetricType::Prometheus | MetricType::External);
                    if !outside || !self.open.insert(of.clone()) {
                        continue;
                    }
                    let (tell, sampler, metric) = (self.tell.clone(), self.parts.sampler.clone(), metric.clone());
                    let room = self.room.clone();
                    let secret = metric.auth_secret.as_deref();
                    let namespace = &rule.spec.namespace;
                    let token = secret.map(|secret| blocking(|| sample::token(&self.parts.store, namespace, secret)));
                    tokio::spawn(async move {
                        let work = tokio::spawn(async move {
                            let _place = room.acquire().await;
                            fetch::fetch(&sampler, &metric, token.transpose()?.as_deref()).await
                        });
                        let result = work.await.unwrap_or_else(|_| Err("the server broke off, see its log".into()));
                        let _ = tell.send(Heard::Answer { of, result });
                    });
                }
            }
        }
    }

    /// The enabled rules as they are stored now.
    fn read(&mut self, now: i64) -> Result<(), StoreError> {
        let (objects, stored) = self.parts.store.read(|r| {
            let objects = r.objects("scaling_rule", None, None, usize::MAX)?;
            let stored = r.documents(objects::SCALING, None)?;
            Ok::<_, StoreError>((objects, stored))
        })?;
        let mut rules: BTreeMap<String, Vec<application::Rule>> = BTreeMap::new();
        for object in objects {
            let Ok(spec) = sampan_schema::read::<Spec>(&object.spec) else { continue };
            if spec.enabled {
                let app = objects::key(&object.namespace, &spec.application);
                rules.entry(app).or_default().push(application::Rule { spec, generation: object.generation });
            }
        }
        let without: Vec<String> = stored.into_iter().map(|d| d.key).filter(|app| !rules.contains_key(app)).collect();
        let idle = self.idle(&without)?;
        // Without a rule the spec's number is in force again.
        let over: Vec<String> = without.into_iter().filter(|app| !idle.contains_key(app)).collect();
        if !over.is_empty() {
            self.parts.store.write(|tx| {
                for app in &over {
                    tx.remove_document(objects::SCALING, app)?;
                    tx.remove_documents(objects::LOADS, app)?;
                }
                Ok::<_, StoreError>(())
            })?;
        }
        self.applications.retain(|app, _| rules.contains_key(app) || idle.contains_key(app));
        let watched = rules.keys().chain(idle.keys()).cloned().collect();
        for (name, (idle, stored)) in idle {
            if self.applications.get(&name).is_none_or(|app| !app.is(&idle, stored.as_ref())) {
                self.applications.insert(name, Application::idle(idle, stored, now));
            }
        }
        for (name, rules) in rules {
            match self.applications.get_mut(&name).filter(|app| app.idle.is_none()) {
                Some(app) => app.follow(rules),
                None => {
                    let read = |r: &sampan_store::Reader<'_>| {
                        Ok::<_, StoreError>((objects::scaled(r, &name)?, Outlook::read(r, &name)?))
                    };
                    let (stored, outlook) = self.parts.store.read(read)?;
                    self.applications.insert(name, Application::new(rules, stored, outlook, now));
                }
            }
        }
        for app in self.parts.board.watch(watched).into_iter().chain(over) {
            let _ = self.parts.notes.send(Note::Wake(app));
        }
        Ok(())
    }

    /// Those of these, all without an enabled rule, that are stopped when nobody asks for them.
    fn idle(&self, applications: &[String]) -> Result<BTreeMap<String, (Idle, Option<Scaled>)>, StoreError> {
        self.parts.store.read(|r| {
            let mut found = BTreeMap::new();
            for key in applications {
                let (ns, name) = key.split_once('/').unwrap_or(("", key));
                let Some(object) = r.object("application", ns, name)?.filter(|o| !o.deleting) else { continue };
                let Ok(spec) = sampan_schema::read(&object.spec) else { continue };
                if let Some(idle) = Idle::of(&spec) {
                    found.insert(key.clone(), (idle, objects::scaled(r, key)?));
                }
            }
            Ok(found)
        })
    }
}
