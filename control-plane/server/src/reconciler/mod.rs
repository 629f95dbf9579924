//! The loop: gathers what is, lets `engine` decide, commits the rows, carries out the actions.
//!
//! One task owns everything that is remembered, so one application is never decided about twice at once. It is woken
//! by writes, ended actions, probe verdicts, the list of every second, and the times that decisions name. Nothing of
//! what it remembers is truth: after a restart rows and runtime labels give it back.

mod asked;
mod commit;
mod execute;
mod gateways;
mod image;
mod jump;
mod observed;
mod schedules;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sampan_engine::analysis::{Asked, Sample};
use sampan_engine::application::{State, Verb};
use sampan_engine::environment_schedule;
use sampan_engine::reconcile::{self, Decision, OperationUpdate, View};
use sampan_engine::revision::Revision;
use sampan_engine::route::{self, Buffer, Served};
use sampan_engine::runtime::{
    ClassStatus, ImageState, Isolation, ObservedSandbox, ProbeReport, Probes, Runtime, RuntimeError,
};
use sampan_schema::application::Spec;
use sampan_schema::operation::{Phase, Progress};
use sampan_store::{Object, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

pub use self::gateways::Gateways;
use self::schedules::Schedules;
use crate::blocking::blocking;
use crate::clock::{Clocks, now_ms};
use crate::registry::{Registry, Resolved};
use crate::sample::Sampler;
use crate::scaling::board::{self, Board};
use crate::{admission, objects};

/// So many references are remembered as pulled; to ask the node again costs little.
const IMAGES: usize = 1000;

/// What the loop is told. None of it is trusted for long: the next list corrects it.
#[derive(Debug)]
pub enum Note {
    /// Something about the application was written.
    Wake(String),
    /// Routes changed. Told when every gateway has a table with the change.
    Routes(oneshot::Sender<()>),
    /// Config maps or secrets of the namespace changed.
    Config(String),
    /// Environment schedules changed.
    Schedules,
    Stop,
}

#[derive(Debug)]
enum Heard {
    Note(Note),
    Done {
        app: String,
        instance: String,
        /// What the container was to be made from.
        image: Option<String>,
        ended: Ended,
    },
    Pulled {
        reference: String,
        result: Result<(), RuntimeError>,
    },
    Resolved {
        app: String,
        image: String,
        operation: String,
        result: Result<Resolved, RuntimeError>,
    },
    Probed {
        container: String,
        report: ProbeReport,
    },
    Sampled {
        asked: (String, Asked),
        sample: Sample,
    },
    Listed {
        began: u64,
        result: Result<Vec<ObservedSandbox>, RuntimeError>,
    },
}

/// How an action ended, with a fresh look at its sandbox.
#[derive(Debug)]
struct Ended {
    error: Option<RuntimeError>,
    made: Option<(u32, Isolation)>,
    /// Sandbox id and what is there now; `None` when nobody could look.
    look: Option<(String, Option<ObservedSandbox>)>,
}

/// One container's probes, as last asked for.
struct Probing {
    probes: Probes,
    app: String,
    report: ProbeReport,
}

struct Resolving {
    image: String,
    operation: String,
    /// `None` while under way.
    error: Option<RuntimeError>,
    tries: u32,
    retry_at: i64,
}

/// What the loop needs from outside.
pub struct Parts {
    pub store: Store,
    pub runtime: Arc<dyn Runtime>,
    pub gateway: Arc<dyn Gateways>,
    pub registry: Registry,
    pub sampler: Sampler,
    pub default_class: String,
    pub board: Arc<Board>,
}

struct Reconciler {
    parts: Parts,
    tell: mpsc::UnboundedSender<Heard>,
    classes: BTreeMap<String, ClassStatus>,
    /// By instance.
    sandboxes: BTreeMap<String, Vec<ObservedSandbox>>,
    listed_once: bool,
    listing: bool,
    /// Instances with an action under way.
    busy: BTreeSet<String>,
    /// Instances whose sandboxes must be listed before anything is decided.
    unseen: BTreeSet<String>,
    failed: HashMap<String, RuntimeError>,
    /// Sandboxes that no row names, by instance: failed tries to remove them, and the time of the next one.
    orphans: HashMap<String, (u32, i64)>,
    made: HashMap<String, (u32, Isolation)>,
    /// When (in heard events) an instance was last touched by an action.
    touched: HashMap<String, u64>,
    heard: u64,
    images: BTreeMap<String, ImageState>,
    resolving: HashMap<String, Resolving>,
    probing: HashMap<String, Probing>,
    /// By app: what somebody else has answered to open questions.
    samples: HashMap<String, BTreeMap<Asked, Sample>>,
    /// By app: questions that are under way.
    asking: BTreeSet<(String, Asked)>,
    /// App -> time to look again.
    wakes: HashMap<String, i64>,
    dirty: BTreeSet<String>,
    routes_dirty: bool,
    /// Who has changed a route and waits until it is in force.
    told_of_routes: Vec<oneshot::Sender<()>>,
    /// What serves, by app; the route table is made from it.
    serving: BTreeMap<String, Arc<Served>>,
    tables: route::Builder,
    /// Applications that the gateway wakes up.
    buffers: BTreeMap<String, Buffer>,
    generation: u64,
    /// The newest table does not follow from the rows: there is none yet, or the store could not be read.
    stale: bool,
    /// Every gateway has the table that follows from the rows.
    acked: bool,
    schedules: Schedules,
    clocks: Clocks,
}

/// Runs until [`Note::Stop`] or until every sender is gone.
pub async fn run(parts: Parts, mut notes: mpsc::UnboundedReceiver<Note>) {
    let (tell, mut heard) = mpsc::unbounded_channel();
    let generation = parts.gateway.newest();
    let classes = parts.runtime.classes().into_iter().map(|c| (c.class.clone(), c)).collect();
    let mut r = Reconciler {
        parts,
        tell,
        classes,
        sandboxes: BTreeMap::new(),
        listed_once: false,
        listing: false,
        busy: BTreeSet::new(),
        unseen: BTreeSet::new(),
        failed: HashMap::new(),
        orphans: HashMap::new(),
        made: HashMap::new(),
        touched: HashMap::new(),
        heard: 0,
        images: BTreeMap::new(),
        resolving: HashMap::new(),
        probing: HashMap::new(),
        samples: HashMap::new(),
        asking: BTreeSet::new(),
        wakes: HashMap::new(),
        dirty: BTreeSet::new(),
        routes_dirty: true,
        told_of_routes: Vec::new(),
        serving: BTreeMap::new(),
        tables: route::Builder::default(),
        buffers: BTreeMap::new(),
        generation,
        stale: true,
        acked: false,
        schedules: Schedules::default(),
        clocks: Clocks::new(now_ms()),
    };
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = r.wakes.values().min().map_or(1000, |at| (at - now_ms()).clamp(0, 1000)) as u64;
        tokio::select! {
            // The list is due once a second, so it keeps nobody waiting; the order is the same in every run.
            biased;
            _ = tick.tick() => r.list(),
            note = notes.recv() => match note {
                None | Some(Note::Stop) => return,
                Some(note) => r.hear(Heard::Note(note)),
            },
            Some(h) = heard.recv() => r.hear(h),
            () = tokio::time::sleep(Duration::from_millis(next)) => {}
        }
        while let Ok(h) = heard.try_recv() {
            r.hear(h);
        }
        r.work();
    }
}
impl Reconciler {
    fn hear(&mut self, h: Heard) {
        self.heard += 1;
        match h {
            Heard::Note(Note::Wake(app)) => {
                self.dirty.insert(app);
            }
            Heard::Note(Note::Routes(told)) => {
                self.routes_dirty = true;
                self.told_of_routes.retain(|waits| !waits.is_closed());
                self.told_of_routes.push(told);
            }
            Heard::Note(Note::Config(ns)) => {
                let prefix = format!("{ns}/");
                self.dirty.extend(self.serving.keys().filter(|k| k.starts_with(&prefix)).cloned());
            }
            Heard::Note(Note::Schedules) => self.schedules.changed(),
            Heard::Note(Note::Stop) => {}
            Heard::Done { app, instance, image, ended } => {
                self.busy.remove(&instance);
                self.touched.insert(instance.clone(), self.heard);
                if let Some(made) = ended.made {
                    self.made.insert(instance.clone(), made);
                }
                match ended.look {
                    Some((id, now)) => {
                        let all = self.sandboxes.entry(instance.clone()).or_default();
                        all.retain(|s| s.id != id);
                        all.extend(now);
                    }
                    None => {
                        self.unseen.insert(instance.clone());
                        self.list();
                    }
                }
                if let (Some(image), true) = (image, ended.error.is_some()) {
                    // It may have been removed from the node since it was pulled: the next try looks again.
                    self.images.remove(&image);
                }
                if let Some(e) = ended.error {
                    tracing::warn!(app, instance, reason = e.reason, message = e.message, "action failed");
                    self.failed.insert(instance, e);
                }
                self.dirty.insert(app);
            }
            Heard::Pulled { reference, result } => {
                let state = match result {
                    Ok(()) => ImageState::Present,
                    Err(e) => ImageState::Failed(e),
                };
                if self.images.len() >= IMAGES {
                    self.images.retain(|_, s| *s == ImageState::Pulling);
                }
                self.images.insert(reference, state);
                self.dirty.extend(self.serving.keys().cloned());
            }
            Heard::Resolved { app, image, operation, result } => self.resolved(app, &image, &operation, result),
            Heard::Probed { container, report } => {
                if let Some(p) = self.probing.get_mut(&container) {
                    p.report = report;
                    self.dirty.insert(p.app.clone());
                }
            }
            Heard::Sampled { asked, sample } => self.sampled(asked, sample),
            Heard::Listed { began, result } => self.listed(began, result),
        }
    }

    /// Decides about everything that is due.
    fn work(&mut self) {
        if !self.listed_once {
            return;
        }
        let now = now_ms();
        if let Err(e) = blocking(|| self.look_at_clocks(now)) {
            tracing::error!(error = %e, "the clock was set, and rows cannot be moved along; trying again");
            return;
        }
        if let Err(e) = blocking(|| self.look_at_schedules(now)) {
            tracing::error!(error = %e, "environment schedules cannot be followed; trying again");
        }
        self.look_at_gateways();
        let due: Vec<String> = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(a, _)| a.clone()).collect();
        for app in due {
            self.wakes.remove(&app);
            self.dirty.insert(app);
        }
        // Bounded: a decision that changes a row is looked at again, but never for ever.
        for _ in 0..8 {
            let batch = std::mem::take(&mut self.dirty);
            if batch.is_empty() {
                break;
            }
            for app in batch {
                if let Err(e) = blocking(|| self.application(&app)) {
                    tracing::error!(app, error = %e, "application cannot be reconciled; trying again");
                    self.wakes.insert(app, now_ms() + 1000);
                }
            }
            if self.routes_dirty
                && let Err(e) = blocking(|| self.apply_routes())
            {
                tracing::error!(error = %e, "routes cannot be read; trying again");
            }
            self.look_at_gateways();
        }
        if self.routes_dirty
            && let Err(e) = blocking(|| self.apply_routes())
        {
            tracing::error!(error = %e, "routes cannot be read; trying again");
        }
        if !self.routes_dirty && !self.stale && self.parts.gateway.acked(self.generation) {
            for waits in self.told_of_routes.drain(..) {
                let _ = waits.send(());
            }
        }
    }

    /// A table that is in force everywhere lets those go on who wait for it.
    fn look_at_gateways(&mut self) {
        let acked = !self.stale && self.parts.gateway.acked(self.generation);
        if acked && !self.acked {
            self.dirty.extend(self.serving.keys().cloned());
        }
        self.acked = acked;
    }

    fn apply_routes(&mut self) -> Result<(), StoreError> {
        self.stale = true;
        let routes: Vec<sampan_schema::route::Spec> = self
            .parts
            .store
            .read(|r| r.objects("route", None, None, usize::MAX))?
            .into_iter()
            .filter_map(|o: Object| sampan_schema::read(&o.spec).ok())
            .collect();
        self.generation += 1;
        // Also those that drain: what they still answer may call others.
        let sandboxes = self.sandboxes.values().flatten().filter(|s| s.ready);
        let sources = sandboxes.filter_map(|s| Some((s.ip?.to_canonical(), s.namespace.as_str().into()))).collect();
        let mut table = self.tables.table(self.generation, &routes, &self.serving, sources);
        table.buffers.clone_from(&self.buffers);
        self.parts.gateway.apply(Arc::new(table));
        (self.routes_dirty, self.stale) = (false, false);
        Ok(())
    }

    fn application(&mut self, app: &str) -> Result<(), StoreError> {
        let (ns, name) = app.split_once('/').unwrap_or(("", app));
        let loaded = self.parts.store.read(|r| {
            let Some(mut object) = r.object("application", ns, name)? else { return Ok::<_, StoreError>(None) };
            let namespace = r.object("namespace", "", ns)?;
            let stored = objects::state(r, app)?;
            let mut state = stored.clone();
            let displaced = state.dequeue();
            object.spec = state.in_force(&object.spec);
            let rows = objects::instances(r, app)?;
            let revisions = objects::revisions(r, app)?;
            let policy = admission::policy_in_force(r, ns, &state, &object.spec)?;
            let read = (object, namespace, state, rows, revisions, policy, objects::scaled(r, app)?);
            Ok(Some((read, stored, displaced)))
        })?;
        let Some((read, stored, displaced)) = loaded else {
            self.forget(app);
            return Ok(());
        };
        let (object, namespace, mut state, mut rows, revisions, policy, scaled) = read;
        // What is decided now says when to look again, and so does a registry that is to be asked again.
        self.wakes.remove(app);
        let Ok(mut spec) = sampan_schema::read::<Spec>(&object.spec) else {
            return Err(StoreError::Other("the stored spec does not decode".into()));
        };
        let declared = spec.replicas.max(0) as u32;
        let now = now_ms();
        let told = if object.deleting {
            None
        } else {
            environment_schedule::follow(&mut state, &self.schedules.asks(ns, name, &spec.labels), now)
        };
        // The object stays as it was written: Terraform's number is in force again when the rules have no say.
        if let Some(scaled) = &scaled {
            spec.replicas = i64::from(scaled.desired);
        }
        if state.stopped.is_some() {
            spec.replicas = 0;
        }
        // Nobody wakes up what a schedule has stopped.
        self.hold(app, scaled.is_some_and(|s| s.holds) && !object.deleting && state.stopped.is_none());
        let again = state.request.is_some() || state.verb.is_some_and(|verb| verb != Verb::Pause);
        if again {
            // A new try asks the registry again.
            self.resolving.retain(|known, r| known != app || r.error.is_none());
            self.images.retain(|_, s| !matches!(s, ImageState::Failed(_)));
        }
        for row in &mut rows {
            if let Some((generation, isolation)) = self.made.get(&row.name)
                && *generation == row.sandbox.generation
                && row.isolation.is_none()
            {
                row.isolation = Some(isolation.clone());
            }
        }
        let mut revisions: BTreeMap<String, Revision> = revisions.into_iter().map(|r| (r.hash.clone(), r)).collect();
        let current = state.current.as_ref().and_then(|hash| revisions.get(hash));
        let wanted = if object.deleting {
            Err(RuntimeError::transient("Deleting", "being deleted"))
        } else {
            self.wanted(app, &object, namespace.as_ref(), &spec, &state, current)
        };
        let mut fresh = None;
        if let Ok(w) = &wanted {
            let known = revisions.get(&w.hash);
            // Ports and probes are not part of the content, and those in force belong to the newest spec. What comes
            // back is the newest again.
            let newest = known.is_some_and(|known| known.number == state.revisions);
            if !newest || known.is_some_and(|known| known.template != w.template) {
                state.revisions += u64::from(!newest);
                let row = Revision { number: state.revisions, ..w.clone() };
                revisions.insert(row.hash.clone(), row.clone());
                fresh = Some(row);
            }
        }
        let mut seen = self.seen(&rows);
        let judged = state.release.as_ref().is_some_and(|r| r.is_active() && r.gray.is_some());
        let traffic = if judged { self.parts.gateway.revision_counters(app) } else { BTreeMap::new() };
        let none = BTreeMap::new();
        let mut d = reconcile::reconcile(&View {
            namespace: ns,
            name,
            uid: &object.uid,
            spec: &spec,
            generation: object.generation,
            deleting: object.deleting,
            state: &state,
            instances: &rows,
            revisions: &revisions,
            wanted: wanted.as_ref(),
            seen: &seen,
            images: &self.images,
            classes: &self.classes,
            policy: policy.as_ref(),
            traffic: &traffic,
            samples: self.samples.get(app).unwrap_or(&none),
            acked: self.acked,
            now,
        });
        for s in seen.values_mut() {
            s.failed = None;
        }
        d.events.extend(told.map(|(kind, reason, message)| (kind, reason.to_owned(), message)));
        d.operations.extend(displaced.map(|scale| carried_along(scale, &state)));
        let before = (rows, stored);
        if !self.commit(app, ns, name, &object, &before, fresh, &d, now)? {
            self.dirty.insert(app.to_owned());
            return Ok(());
        }
        self.parts.board.tell(app, || facts(declared, &d, now));
        let known = d.instances.iter().filter(|row| row.isolation.is_some()).map(|row| &row.name);
        for name in known.chain(&d.gone) {
            self.made.remove(name);
        }
        for name in &d.gone {
            self.failed.remove(name);
        }
        self.ask(ns, name, std::mem::take(&mut d.questions));
        self.carry_out(app, spec.replicas.max(0) as u64, &revisions, policy.as_ref(), &d);
        let stop = d.state.stop_waits.as_ref().map(|w| w.until).filter(|until| *until > now);
        if let Some(at) = d.wake_at.into_iter().chain(stop).min() {
            self.wakes.entry(app.to_owned()).and_modify(|w| *w = at.min(*w)).or_insert(at);
        }
        self.remove_orphans(app, &d.instances);
        if d.finished {
            self.forget(app);
        } else if d.instances != before.0 || d.state.release != before.1.release {
            // Rows moved: look again, with the table that follows from them in force.
            self.dirty.insert(app.to_owned());
        }
        Ok(())
    }

    /// Whether requests of the application wait for an instance.
    fn hold(&mut self, app: &str, holds: bool) {
        if holds == self.buffers.contains_key(app) {
            return;
        }
        if holds {
            self.buffers.insert(app.to_owned(), Buffer::default());
        } else {
            self.buffers.remove(app);
        }
        self.routes_dirty = true;
    }

    fn forget(&mut self, app: &str) {
        self.wakes.remove(app);
        self.hold(app, false);
        self.samples.remove(app);
        self.resolving.remove(app);
        if self.serving.remove(app).is_some() {
            self.routes_dirty = true;
        }
        let gone: Vec<String> = self.probing.iter().filter(|(_, p)| p.app == app).map(|(c, _)| c.clone()).collect();
        for container in gone {
            self.parts.runtime.probes_forget(&container);
            self.probing.remove(&container);
        }
        self.remove_orphans(app, &[]);
    }
}

/// A change of the number that came just as what waited began: that one has the number.
fn carried_along(scale: String, state: &State) -> OperationUpdate {
    OperationUpdate {
        id: scale,
        phase: Phase::Superseded,
        reason: "Superseded".into(),
        message: format!("operation {} took over", state.operation().map_or("", |(id, _)| id)),
        progress: Progress::default(),
    }
}

/// What the autoscaler wants to know.
fn facts(replicas: u32, d: &Decision, now: i64) -> board::Facts {
    let releasing = d.state.is_busy();
    let staying = d.instances.iter().filter(|i| !i.terminating);
    let instances = staying.map(|i| board::Instance {
        name: i.name.clone(),
        ready: i.is_available(0, now),
        cpu_millis: i.sandbox.cpu_millis,
        memory_bytes: i.sandbox.memory_bytes,
    });
    board::Facts { replicas, releasing, stopped: d.state.stopped.is_some(), instances: instances.collect() }
}
