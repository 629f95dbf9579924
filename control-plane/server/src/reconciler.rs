//! The loop: gathers what is, lets `engine` decide, commits the rows, carries out the actions.
//!
//! One task owns everything that is remembered, so one application is never decided about twice at once. It is woken
//! by writes, ended actions, probe verdicts, the list of every second, and the times that decisions name. Nothing of
//! what it remembers is truth: after a restart rows and runtime labels give it back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sampan_engine::instance::{Action, Instance, Seen, Traffic};
use sampan_engine::reconcile::{self, Decision, View};
use sampan_engine::revision::{self, Inputs, Revision};
use sampan_engine::route::{self, Serving};
use sampan_engine::runtime::{
    ClassStatus, ContainerSpec, ContainerState, ImageState, Isolation, ObservedContainer, ObservedSandbox, ProbeReport,
    Probes, Runtime, RuntimeError, SandboxSpec,
};
use sampan_gateway::Gateway;
use sampan_schema::application::Spec;
use sampan_schema::container::PullPolicy;
use sampan_schema::operation::Phase;
use sampan_store::{EventType, NewEvent, Object, Store, StoreError};
use tokio::sync::mpsc;

use crate::clock::now_ms;
use crate::container;
use crate::objects;
use crate::registry::Registry;

/// What the loop is told. None of it is trusted for long: the next list corrects it.
#[derive(Debug)]
pub enum Note {
    /// Something about the application was written.
    Wake(String),
    /// Routes changed.
    Routes,
    /// Config maps or secrets of the namespace changed.
    Config(String),
    Stop,
}

#[derive(Debug)]
enum Heard {
    Note(Note),
    Done { app: String, instance: String, ended: Ended },
    Pulled { reference: String, result: Result<(), RuntimeError> },
    Resolved { app: String, image: String, operation: String, result: Result<(String, String), RuntimeError> },
    Probed { container: String, report: ProbeReport },
    Listed { began: u64, result: Result<Vec<ObservedSandbox>, RuntimeError> },
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
    pub gateway: Gateway,
    pub registry: Registry,
    pub default_class: String,
}

struct Reconciler {
    parts: Parts,
    tell: mpsc::UnboundedSender<Heard>,
    classes: BTreeMap<String, ClassStatus>,
    /// By instance.
    sandboxes: HashMap<String, Vec<ObservedSandbox>>,
    listed_once: bool,
    listing: bool,
    /// Instances with an action under way.
    busy: BTreeSet<String>,
    /// Instances whose sandboxes must be listed before anything is decided.
    unseen: BTreeSet<String>,
    failed: HashMap<String, RuntimeError>,
    made: HashMap<String, (u32, Isolation)>,
    /// When (in heard events) an instance was last touched by an action.
    touched: HashMap<String, u64>,
    heard: u64,
    images: BTreeMap<String, ImageState>,
    resolving: HashMap<String, Resolving>,
    probing: HashMap<String, Probing>,
    /// App -> time to look again.
    wakes: HashMap<String, i64>,
    dirty: BTreeSet<String>,
    routes_dirty: bool,
    /// What serves, by app; the route table is made from it.
    serving: BTreeMap<String, Vec<Serving>>,
    generation: u64,
}

/// Runs until [`Note::Stop`] or until every sender is gone.
pub async fn run(parts: Parts, mut notes: mpsc::UnboundedReceiver<Note>) {
    let (tell, mut heard) = mpsc::unbounded_channel();
    let classes = parts.runtime.classes().into_iter().map(|c| (c.class.clone(), c)).collect();
    let mut r = Reconciler {
        parts,
        tell,
        classes,
        sandboxes: HashMap::new(),
        listed_once: false,
        listing: false,
        busy: BTreeSet::new(),
        unseen: BTreeSet::new(),
        failed: HashMap::new(),
        made: HashMap::new(),
        touched: HashMap::new(),
        heard: 0,
        images: BTreeMap::new(),
        resolving: HashMap::new(),
        probing: HashMap::new(),
        wakes: HashMap::new(),
        dirty: BTreeSet::new(),
        routes_dirty: true,
        serving: BTreeMap::new(),
        generation: 0,
    };
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = r.wakes.values().min().map_or(1000, |at| (at - now_ms()).clamp(0, 1000)) as u64;
        tokio::select! {
            note = notes.recv() => match note {
                None | Some(Note::Stop) => return,
                Some(note) => r.hear(Heard::Note(note)),
            },
            Some(h) = heard.recv() => r.hear(h),
            _ = tick.tick() => r.list(),
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
            Heard::Note(Note::Routes) => self.routes_dirty = true,
            Heard::Note(Note::Config(ns)) => {
                let prefix = format!("{ns}/");
                self.dirty.extend(self.serving.keys().filter(|k| k.starts_with(&prefix)).cloned());
            }
            Heard::Note(Note::Stop) => {}
            Heard::Done { app, instance, ended } => {
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
            Heard::Listed { began, result } => self.listed(began, result),
        }
    }

    /// Asks the runtime what there is; one list at a time.
    fn list(&mut self) {
        if self.listing {
            return;
        }
        self.listing = true;
        let (runtime, tell, began) = (self.parts.runtime.clone(), self.tell.clone(), self.heard);
        let work = async move { runtime.list().await };
        beside(tell, work, move |result| Heard::Listed { began, result: result.flatten() });
    }

    fn listed(&mut self, began: u64, result: Result<Vec<ObservedSandbox>, RuntimeError>) {
        self.listing = false;
        let list = match result {
            Ok(list) => list,
            Err(e) => {
                tracing::warn!(reason = e.reason, message = e.message, "the runtime cannot be listed");
                return;
            }
        };
        let mut found: HashMap<String, Vec<ObservedSandbox>> = HashMap::new();
        for s in list {
            found.entry(s.instance.clone()).or_default().push(s);
        }
        let known: BTreeSet<String> = found.keys().chain(self.sandboxes.keys()).cloned().collect();
        for instance in known {
            // A list that began before the last action ended tells about the past.
            if self.busy.contains(&instance) || self.touched.get(&instance).is_some_and(|t| *t > began) {
                continue;
            }
            let now = found.remove(&instance).unwrap_or_default();
            let before = self.sandboxes.get(&instance);
            if before != Some(&now) {
                let owner = now.first().or_else(|| before.and_then(|b| b.first()));
                if let Some(s) = owner {
                    self.dirty.insert(objects::key(&s.namespace, &s.application));
                }
            }
            if now.is_empty() {
                self.sandboxes.remove(&instance);
            } else {
                self.sandboxes.insert(instance, now);
            }
        }
        let seen_again: Vec<String> = self
            .unseen
            .iter()
            .filter(|i| !self.busy.contains(*i) && self.touched.get(*i).is_none_or(|t| *t <= began))
            .cloned()
            .collect();
        if !seen_again.is_empty() {
            self.dirty.extend(self.serving.keys().cloned());
        }
        for i in seen_again {
            self.unseen.remove(&i);
        }
        if !self.listed_once {
            self.listed_once = true;
            match self.parts.store.read(|r| r.objects("application", None, None, usize::MAX)) {
                Ok(all) => self.dirty.extend(all.iter().map(|o| objects::key(&o.namespace, &o.name))),
                Err(e) => {
                    tracing::error!(error = %e, "applications cannot be read");
                    self.listed_once = false;
                }
            }
            let orphans: Vec<String> =
                self.sandboxes.values().flatten().map(|s| objects::key(&s.namespace, &s.application)).collect();
            self.dirty.extend(orphans);
        }
    }

    fn resolved(&mut self, app: String, image: &str, operation: &str, result: Result<(String, String), RuntimeError>) {
        let Some(r) = self.resolving.get_mut(&app).filter(|r| r.image == image && r.operation == operation) else {
            return;
        };
        self.dirty.insert(app.clone());
        match result {
            Err(e) => {
                r.tries += 1;
                r.retry_at = now_ms() + sampan_engine::instance::backoff_ms(r.tries);
                r.error = Some(e);
            }
            Ok((digest, pull_reference)) => {
                let row = sampan_engine::application::ResolvedImage {
                    image: image.to_owned(),
                    digest,
                    pull_reference,
                    operation: operation.to_owned(),
                };
                let stored = self.parts.store.write(|tx| {
                    let mut state = objects::state(tx, &app)?;
                    state.image = Some(row);
                    objects::put_state(tx, &app, &state)
                });
                match stored {
                    Ok::<(), StoreError>(()) => {
                        self.resolving.remove(&app);
                    }
                    Err(e) => tracing::error!(error = %e, "a resolved image cannot be stored"),
                }
            }
        }
    }

    /// Decides about everything that is due.
    fn work(&mut self) {
        if !self.listed_once {
            return;
        }
        let now = now_ms();
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
                if let Err(e) = tokio::task::block_in_place(|| self.application(&app)) {
                    tracing::error!(app, error = %e, "application cannot be reconciled; trying again");
                    self.wakes.insert(app, now_ms() + 1000);
                }
            }
            if self.routes_dirty
                && let Err(e) = tokio::task::block_in_place(|| self.apply_routes())
            {
                tracing::error!(error = %e, "routes cannot be read; trying again");
            }
        }
        if self.routes_dirty
            && let Err(e) = tokio::task::block_in_place(|| self.apply_routes())
        {
            tracing::error!(error = %e, "routes cannot be read; trying again");
        }
    }

    fn apply_routes(&mut self) -> Result<(), StoreError> {
        let routes: Vec<sampan_schema::route::Spec> = self
            .parts
            .store
            .read(|r| r.objects("route", None, None, usize::MAX))?
            .into_iter()
            .filter_map(|o: Object| sampan_schema::read(&o.spec).ok())
            .collect();
        self.generation += 1;
        let serving = &self.serving;
        let table = route::table(self.generation, &routes, &|ns, name| {
            serving.get(&objects::key(ns, name)).map(Vec::as_slice).unwrap_or_default()
        });
        if let Err(e) = self.parts.gateway.apply(Arc::new(table)) {
            tracing::error!(error = %e, "the gateway refuses the route table");
        }
        self.routes_dirty = false;
        Ok(())
    }

    fn application(&mut self, app: &str) -> Result<(), StoreError> {
        let (ns, name) = app.split_once('/').unwrap_or(("", app));
        let loaded = self.parts.store.read(|r| {
            let Some(object) = r.object("application", ns, name)? else { return Ok::<_, StoreError>(None) };
            let namespace = r.object("namespace", "", ns)?;
            let state = objects::state(r, app)?;
            let rows = objects::instances(r, app)?;
            let revisions = objects::revisions(r, app)?;
            Ok(Some((object, namespace, state, rows, revisions)))
        })?;
        let Some((object, namespace, mut state, mut rows, revisions)) = loaded else {
            self.forget(app);
            return Ok(());
        };
        let Ok(spec) = sampan_schema::read::<Spec>(&object.spec) else {
            return Err(StoreError::Other("the stored spec does not decode".into()));
        };
        let now = now_ms();
        if state.request.is_some() {
            // A new try asks the registry again.
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
            // Ports and probes are not part of the content, and those in force belong to the newest spec.
            if known.is_none_or(|known| known.template != w.template) {
                state.revisions += u64::from(known.is_none());
                let number = known.map_or(state.revisions, |known| known.number);
                let row = Revision { number, ..w.clone() };
                revisions.insert(row.hash.clone(), row.clone());
                fresh = Some(row);
            }
        }
        let mut seen = self.seen(&rows);
        self.adopt_orphans(app, &rows);
        let d = reconcile::reconcile(&View {
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
            now,
        });
        for s in seen.values_mut() {
            s.failed = None;
        }
        let before = (rows, state);
        self.commit(app, ns, name, &object, &before, fresh, &d, now)?;
        for row in &d.instances {
            if row.isolation.is_some() {
                self.made.remove(&row.name);
            }
        }
        self.carry_out(app, &revisions, &d);
        if let Some(at) = d.wake_at {
            self.wakes.insert(app.to_owned(), at);
        } else {
            self.wakes.remove(app);
        }
        if d.finished {
            self.forget(app);
        } else if d.instances != before.0 || d.state.release != before.1.release {
            // Rows moved: look again, with the table that follows from them in force.
            self.dirty.insert(app.to_owned());
        }
        Ok(())
    }

    /// Writes rows, status, operations and events in one transaction, before anything is done.
    fn commit(
        &self,
        app: &str,
        ns: &str,
        name: &str,
        object: &Object,
        before: &(Vec<Instance>, sampan_engine::application::State),
        fresh: Option<Revision>,
        d: &Decision,
        now: i64,
    ) -> Result<(), StoreError> {
        let changed: Vec<&Instance> = d.instances.iter().filter(|i| !before.0.contains(i)).collect();
        let status = serde_json::to_value(&d.status).unwrap_or_default();
        let stored = self.parts.store.read(|r| objects::state(r, app))?;
        let nothing = changed.is_empty()
            && d.gone.is_empty()
            && fresh.is_none()
            && d.state == stored
            && d.events.is_empty()
            && !d.finished
            && status == object.status;
        let moves = d.operations.iter().any(|_| true);
        if nothing && !moves {
            return Ok(());
        }
        let unmoved = nothing
            && self.parts.store.read(|r| {
                for u in &d.operations {
                    if let Some(o) = r.operation(&u.id)? {
                        let o = objects::operation(o)?;
                        if (o.phase, &o.reason, &o.message, &o.progress)
                            != (u.phase, &u.reason, &u.message, &u.progress)
                            && !o.phase.is_terminal()
                        {
                            return Ok::<_, StoreError>(false);
                        }
                    }
                }
                Ok(true)
            })?;
        if unmoved {
            return Ok(());
        }
        self.parts.store.write(|tx| {
            // A request that came since the rows were read must not be lost.
            let mut state = d.state.clone();
            let latest = objects::state(tx, app)?;
            if latest.request != before.1.request {
                state.request.clone_from(&latest.request);
            }
            if latest.image != before.1.image {
                state.image.clone_from(&latest.image);
            }
            if d.finished {
                for collection in [objects::INSTANCES, objects::REVISIONS, objects::STATES] {
                    tx.remove_documents(collection, app)?;
                }
                if let Some(o) = tx.latest_operation("application", ns, name)? {
                    objects::move_operation(tx, &o.id, Phase::Succeeded, "", "", None, now)?;
                }
                tx.remove_object("application", ns, name, now)?;
                return Ok::<_, StoreError>(());
            }
            objects::put_state(tx, app, &state)?;
            if let Some(r) = &fresh {
                objects::put_revision(tx, app, r)?;
            }
            for row in &changed {
                objects::put_instance(tx, app, row)?;
            }
            for gone in &d.gone {
                tx.remove_document(objects::INSTANCES, &format!("{app}/{gone}"))?;
            }
            for u in &d.operations {
                objects::move_operation(tx, &u.id, u.phase, &u.reason, &u.message, Some(u.progress.clone()), now)?;
            }
            for (kind, reason, message) in &d.events {
                let event_type = if *kind == "Warning" { EventType::Warning } else { EventType::Normal };
                let event = NewEvent { kind: "application", namespace: ns, name, event_type, reason, message };
                tx.append_event(event, now)?;
            }
            for row in &changed {
                let old = before.0.iter().find(|i| i.name == row.name);
                if !row.reason.is_empty() && old.is_none_or(|o| o.reason != row.reason || o.message != row.message) {
                    let message = format!("{}: {}", row.name, row.message);
                    let event = NewEvent {
                        kind: "application",
                        namespace: ns,
                        name,
                        event_type: EventType::Warning,
                        reason: &row.reason,
                        message: &message,
                    };
                    tx.append_event(event, now)?;
                }
            }
            tx.set_status("application", ns, name, &status, now)?;
            Ok(())
        })
    }

    fn forget(&mut self, app: &str) {
        self.wakes.remove(app);
        self.resolving.remove(app);
        if self.serving.remove(app).is_some() {
            self.routes_dirty = true;
        }
        let gone: Vec<String> = self.probing.iter().filter(|(_, p)| p.app == app).map(|(c, _)| c.clone()).collect();
        for container in gone {
            self.parts.runtime.probes_forget(&container);
            self.probing.remove(&container);
        }
        self.adopt_orphans(app, &[]);
    }

    /// Sandboxes that carry our label and that no row names are removed.
    fn adopt_orphans(&mut self, app: &str, rows: &[Instance]) {
        let orphans: Vec<(String, ObservedSandbox)> = self
            .sandboxes
            .iter()
            .filter(|(instance, _)| !self.busy.contains(*instance) && !rows.iter().any(|r| r.name == **instance))
            .flat_map(|(i, all)| all.iter().map(move |s| (i.clone(), s.clone())))
            .filter(|(_, s)| objects::key(&s.namespace, &s.application) == app)
            .collect();
        for (instance, s) in orphans {
            tracing::warn!(instance, sandbox = s.id, "no row names this sandbox; removing it");
            let spec = SandboxSpec {
                instance: s.instance.clone(),
                namespace: s.namespace.clone(),
                application: s.application.clone(),
                class: String::new(),
                generation: s.generation,
                cpu_millis: 0,
                memory_bytes: 0,
            };
            self.spawn(app, Action::RemoveSandbox { instance, id: s.id, spec }, None);
        }
    }

    fn seen(&mut self, rows: &[Instance]) -> BTreeMap<String, Seen> {
        let mut out = BTreeMap::new();
        for row in rows {
            let sandboxes = self.sandboxes.get(&row.name).cloned().unwrap_or_default();
            let mut probes = BTreeMap::new();
            let mut in_flight = BTreeMap::new();
            for c in sandboxes.iter().flat_map(|s| &s.containers) {
                probes.insert(c.id.clone(), self.verdict(row, c));
                let key = row.endpoint_key(c.attempt);
                let n = self.parts.gateway.in_flight(&key);
                if n > 0 {
                    in_flight.insert(key, n);
                }
            }
            let busy = self.busy.contains(&row.name);
            let seen = Seen {
                busy,
                listed: !self.unseen.contains(&row.name),
                sandboxes,
                probes,
                acked: true,
                in_flight,
                failed: if busy { None } else { self.failed.remove(&row.name) },
            };
            out.insert(row.name.clone(), seen);
        }
        out
    }

    /// What is known of a container's probes. A row that says ready is believed until a probe says otherwise: the
    /// probes of a server that was restarted have not run yet.
    fn verdict(&self, row: &Instance, c: &ObservedContainer) -> ProbeReport {
        match self.probing.get(&c.id) {
            Some(probing) => probing.report.clone(),
            None if row.attempt == c.attempt && row.ready_since.is_some() => ProbeReport::passing(),
            None => ProbeReport::default(),
        }
    }

    /// The revision of the present spec, or why there is none yet.
    fn wanted(
        &mut self,
        app: &str,
        object: &Object,
        namespace: Option<&Object>,
        spec: &Spec,
        state: &sampan_engine::application::State,
        current: Option<&Revision>,
    ) -> Result<Revision, RuntimeError> {
        let inherited = namespace.and_then(|n| n.spec.get("isolation_class")?.as_str());
        let inherited = inherited.unwrap_or(&self.parts.default_class);
        let class = revision::class_in_force(&object.spec, inherited, current);
        let image = &spec.container.image;
        let policy = spec.container.image_pull_policy;
        if state.needs_resolving(image, policy == PullPolicy::Always) {
            return Err(self.resolve(app, image, policy, state.operation().map_or("", |o| o.0)));
        }
        let Some(resolved) = &state.image else {
            return Err(RuntimeError::transient("ResolvingImage", "the image is being resolved"));
        };
        let config = if spec.container.restart_on_config_change {
            let hash = self.parts.store.read(|r| container::config_hash(r, spec));
            Some(hash.map_err(|e| RuntimeError::transient("StoreUnavailable", e.to_string()))?)
        } else {
            None
        };
        let inputs = Inputs {
            class: &class,
            image_digest: &resolved.digest,
            pull_reference: &resolved.pull_reference,
            config_hash: config.as_deref(),
        };
        Ok(revision::revision(&object.spec, spec, &inputs, now_ms()))
    }

    /// Starts to resolve the image unless that is under way; answers what to say meanwhile.
    fn resolve(&mut self, app: &str, image: &str, policy: PullPolicy, operation: &str) -> RuntimeError {
        let known = self.resolving.get(app).filter(|r| r.image == image && r.operation == operation);
        let (tries, wait) = match known {
            Some(r) => match &r.error {
                None => return RuntimeError::transient("ResolvingImage", "the image is being resolved"),
                Some(e) if e.permanent => return e.clone(),
                Some(e) if now_ms() < r.retry_at => {
                    self.wakes.insert(app.to_owned(), r.retry_at);
                    return e.clone();
                }
                Some(e) => (r.tries, e.clone()),
            },
            None => (0, RuntimeError::transient("ResolvingImage", "the image is being resolved")),
        };
        let (image, operation) = (image.to_owned(), operation.to_owned());
        let row = Resolving { image: image.clone(), operation: operation.clone(), error: None, tries, retry_at: 0 };
        self.resolving.insert(app.to_owned(), row);
        let (registry, runtime) = (self.parts.registry.clone(), self.parts.runtime.clone());
        let (app, reference) = (app.to_owned(), image.clone());
        let work = async move {
            if policy == PullPolicy::Never {
                let id = runtime.image_id(reference.clone()).await?.ok_or_else(|| {
                    let text = format!("{reference:?} is not on the node and image_pull_policy is Never");
                    RuntimeError::permanent("ImageNotFound", text)
                })?;
                Ok((id.clone(), id))
            } else {
                registry.resolve(&reference).await
            }
        };
        beside(self.tell.clone(), work, move |result| {
            let result = result.flatten();
            Heard::Resolved { app, image, operation, result }
        });
        wait
    }

    fn carry_out(&mut self, app: &str, revisions: &BTreeMap<String, Revision>, d: &Decision) {
        // A container has the ports and probes of its own revision: the newest spec may be that of another one.
        let mut specs: BTreeMap<&str, Option<Spec>> = BTreeMap::new();
        let mut spec = |hash: &str| {
            let (hash, revision) = revisions.get_key_value(hash)?;
            specs.entry(hash).or_insert_with(|| serde_json::from_value(revision.template.clone()).ok()).clone()
        };
        self.watch_probes(app, &mut spec, d);
        let serving: Vec<Serving> = d.instances.iter().filter_map(|i| self.serves(i, &mut spec)).collect();
        if self.serving.get(app) != Some(&serving) {
            self.serving.insert(app.to_owned(), serving);
            self.routes_dirty = true;
        }
        for action in d.actions.clone() {
            let prepared =
                match &action {
                    Action::Create { instance, revision, .. } => {
                        let row = d.instances.iter().find(|i| i.name == *instance);
                        let ip = self.sandboxes.get(instance).and_then(|s| s.iter().find_map(|s| s.ip));
                        match (row, revisions.get(revision)) {
                            (Some(row), Some(r)) => {
                                let made = self
                                    .parts
                                    .store
                                    .read(|reader| Ok::<_, StoreError>(container::create_spec(reader, row, r, ip)));
                                Some(made.unwrap_or_else(|e| {
                                    Err(RuntimeError::transient("StoreUnavailable", e.to_string()))
                                }))
                            }
                            _ => continue,
                        }
                    }
                    _ => None,
                };
            self.spawn(app, action, prepared);
        }
    }

    /// The container that takes requests: the running one, while the row says that there is traffic.
    fn serves(&self, row: &Instance, spec: &mut dyn FnMut(&str) -> Option<Spec>) -> Option<Serving> {
        if row.traffic != Traffic::On || row.terminating {
            return None;
        }
        let sandbox =
            self.sandboxes.get(&row.name)?.iter().find(|s| s.generation == row.sandbox.generation && s.ready)?;
        let c = sandbox.containers.iter().find(|c| c.state == ContainerState::Running)?;
        let ports = spec(&c.revision).map(|spec| spec.network.ports).unwrap_or_default();
        Some(Serving { key: row.endpoint_key(c.attempt), ip: sandbox.ip?, revision: c.revision.clone(), ports })
    }

    fn watch_probes(&mut self, app: &str, spec: &mut dyn FnMut(&str) -> Option<Spec>, d: &Decision) {
        let keep: BTreeSet<&String> = d.probes.iter().map(|(_, c)| c).collect();
        let gone: Vec<String> =
            self.probing.iter().filter(|(c, p)| p.app == app && !keep.contains(c)).map(|(c, _)| c.clone()).collect();
        for c in gone {
            self.parts.runtime.probes_forget(&c);
            self.probing.remove(&c);
        }
        for (instance, container) in &d.probes {
            let Some(row) = d.instances.iter().find(|row| row.name == *instance) else { continue };
            let sandboxes = self.sandboxes.get(instance).map(Vec::as_slice).unwrap_or_default();
            let found = sandboxes.iter().flat_map(|s| &s.containers).find(|c| c.id == *container);
            let Some((found, spec)) = found.and_then(|c| Some((c, spec(&c.revision)?))) else { continue };
            let wanted = container::probes(&spec);
            if self.probing.get(container).is_some_and(|p| p.probes == wanted) {
                continue;
            }
            let Some(ip) = sandboxes.iter().find_map(|s| s.ip) else { continue };
            let (tell, id) = (self.tell.clone(), container.clone());
            let begun = self.verdict(row, found);
            let probing = Probing { probes: wanted.clone(), app: app.to_owned(), report: begun.clone() };
            self.probing.insert(container.clone(), probing);
            let on_change = move |report| {
                let _ = tell.send(Heard::Probed { container: id.clone(), report });
            };
            self.parts.runtime.probes_watch(container.clone(), ip, wanted, begun, Box::new(on_change));
        }
    }

    /// Carries out one action beside the loop. Its end is heard.
    fn spawn(&mut self, app: &str, action: Action, prepared: Option<Result<ContainerSpec, RuntimeError>>) {
        let (runtime, tell, app) = (self.parts.runtime.clone(), self.tell.clone(), app.to_owned());
        if let Action::Pull { reference } = action {
            self.images.insert(reference.clone(), ImageState::Pulling);
            let pulled = reference.clone();
            let work = async move { runtime.image_pull(pulled).await };
            beside(tell, work, move |result| Heard::Pulled { reference, result: result.flatten() });
            return;
        }
        let instance = match &action {
            Action::RunSandbox { instance, .. }
            | Action::RemoveSandbox { instance, .. }
            | Action::Create { instance, .. }
            | Action::Start { instance, .. }
            | Action::Stop { instance, .. }
            | Action::Remove { instance, .. } => instance.clone(),
            Action::Pull { .. } => return,
        };
        if !self.busy.insert(instance.clone()) {
            return;
        }
        let known = self.sandboxes.get(&instance).and_then(|s| {
            let holds = |id: &str| s.iter().find(|s| s.containers.iter().any(|c| c.id == id)).map(|s| s.id.clone());
            match &action {
                Action::Start { container_id, .. }
                | Action::Stop { container_id, .. }
                | Action::Remove { container_id, .. } => holds(container_id),
                _ => None,
            }
        });
        let work = async move {
            let mut made = None;
            let (result, sandbox) = match action {
                Action::RunSandbox { spec, .. } => {
                    let generation = spec.generation;
                    match runtime.sandbox_run(spec).await {
                        Ok(s) => {
                            made = Some((generation, s.isolation));
                            (Ok(()), Some(s.id))
                        }
                        Err(e) => (Err(e), None),
                    }
                }
                Action::RemoveSandbox { id, spec, .. } => (runtime.sandbox_remove(id.clone(), spec).await, Some(id)),
                Action::Create { sandbox_id, spec, .. } => match prepared {
                    Some(Ok(container)) => (
                        runtime.container_create(sandbox_id.clone(), spec, container).await.map(|_| ()),
                        Some(sandbox_id),
                    ),
                    Some(Err(e)) => (Err(e), Some(sandbox_id)),
                    None => (Ok(()), Some(sandbox_id)),
                },
                Action::Start { container_id, .. } => (runtime.container_start(container_id).await, known),
                Action::Stop { container_id, grace_seconds, .. } => {
                    (runtime.container_stop(container_id, grace_seconds).await, known)
                }
                Action::Remove { container_id, .. } => (runtime.container_remove(container_id).await, known),
                Action::Pull { .. } => (Ok(()), None),
            };
            let look = match sandbox {
                Some(id) => runtime.observe(id.clone()).await.ok().map(|now| (id, now)),
                None => None,
            };
            Ended { error: result.err(), made, look }
        };
        beside(tell, work, move |result| {
            let ended = result.unwrap_or_else(|e| Ended { error: Some(e), made: None, look: None });
            Heard::Done { app, instance, ended }
        });
    }
}

/// Works beside the loop and tells how it ended. A panic is an end too: nothing stays under way for ever.
fn beside<T: Send + 'static>(
    tell: mpsc::UnboundedSender<Heard>,
    work: impl Future<Output = T> + Send + 'static,
    heard: impl FnOnce(Result<T, RuntimeError>) -> Heard + Send + 'static,
) {
    tokio::spawn(async move {
        let result = tokio::spawn(work).await.map_err(|e| {
            tracing::error!(error = %e, "a task broke off; this is a bug");
            RuntimeError::transient("Unknown", "a task of the server broke off, see its log; it is tried again")
        });
        let _ = tell.send(heard(result));
    });
}
