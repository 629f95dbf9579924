//! Carries a decision out: actions beside the loop, probes, what serves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sampan_engine::instance::{Action, Instance, Traffic};
use sampan_engine::reconcile::Decision;
use sampan_engine::release;
use sampan_engine::revision::Revision;
use sampan_engine::route::{Served, Serving, Warmup};
use sampan_engine::runtime::{ContainerSpec, ContainerState, ImageState, ObservedContainer, Runtime, RuntimeError};
use sampan_schema::application::{HookGet, PreStop, Spec};
use sampan_schema::gray_policy;
use sampan_store::StoreError;
use tokio::sync::mpsc;

use super::{Ended, Heard, Probing, Reconciler};
use crate::pull_secret::Pass;
use crate::{container, egress};

/// Seconds between TERM and KILL after a hook that took all of the time.
const LEAST_GRACE: u64 = 2;

impl Reconciler {
    pub(super) fn carry_out(
        &mut self,
        app: &str,
        replicas: u64,
        revisions: &BTreeMap<String, Revision>,
        policy: Option<&gray_policy::Spec>,
        d: &Decision,
    ) {
        // A container has the ports and probes of its own revision: the newest spec may be that of another one.
        let mut specs: BTreeMap<&str, Option<Spec>> = BTreeMap::new();
        let mut spec = |hash: &str| {
            let (hash, revision) = revisions.get_key_value(hash)?;
            specs.entry(hash).or_insert_with(|| serde_json::from_value(revision.template.clone()).ok()).clone()
        };
        self.watch_probes(app, &mut spec, d);
        let instances: Vec<Serving> = d.instances.iter().filter_map(|i| self.serves(i, &mut spec)).collect();
        let split = release::split(&d.state, replicas);
        let serving = Served { instances, split, lanes: release::lanes(&d.state, policy) };
        if self.serving.get(app).map(|known| &**known) != Some(&serving) {
            self.serving.insert(app.to_owned(), Arc::new(serving));
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

    /// With what an application pulls. One that is gone has nothing.
    fn pass_of(&self, app: &str, reference: &str) -> Result<Pass, RuntimeError> {
        let (ns, name) = app.split_once('/').unwrap_or(("", app));
        let object = self.parts.store.read(|r| r.object("application", ns, name));
        let object = object.map_err(|e: StoreError| RuntimeError::transient("StoreUnavailable", e.to_string()))?;
        let spec = object.and_then(|o| sampan_schema::read::<Spec>(&o.spec).ok());
        spec.map_or_else(|| Ok(Pass::default()), |spec| self.pass(&spec, reference))
    }

    /// The container that takes requests: the running one, while the row says that there is traffic.
    pub(super) fn serves(&self, row: &Instance, spec: &mut dyn FnMut(&str) -> Option<Spec>) -> Option<Serving> {
        if row.traffic != Traffic::On || row.terminating {
            return None;
        }
        let sandbox =
            self.sandboxes.get(&row.name)?.iter().find(|s| s.generation == row.sandbox.generation && s.ready)?;
        let runs = |c: &&ObservedContainer| c.state == ContainerState::Running;
        let wanted = sandbox.containers.iter().filter(runs).find(|c| c.attempt == row.attempt);
        let c = wanted.or_else(|| sandbox.containers.iter().find(runs))?;
        let spec = spec(&c.revision);
        let warmup = spec.as_ref().and_then(|spec| Warmup::of(&spec.lifecycle_hooks.online, row.ready_since));
        let ports = spec.map(|spec| spec.network.ports).unwrap_or_default();
        let key = row.endpoint_key(c.attempt).into();
        Some(Serving { key, ip: sandbox.ip?, revision: c.revision.as_str().into(), ports, warmup })
    }

    pub(super) fn watch_probes(&mut self, app: &str, spec: &mut dyn FnMut(&str) -> Option<Spec>, d: &Decision) {
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
    pub(super) fn spawn(&mut self, app: &str, action: Action, prepared: Option<Result<ContainerSpec, RuntimeError>>) {
        let (runtime, tell, app) = (self.parts.runtime.clone(), self.tell.clone(), app.to_owned());
        if let Action::Pull { reference } = action {
            self.images.insert(reference.clone(), ImageState::Pulling);
            let (pulled, pass) = (reference.clone(), self.pass_of(&app, &reference));
            let work = async move { runtime.image_pull(pulled, pass?.login).await };
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
        let image = match &prepared {
            Some(Ok(container)) => Some(container.image.clone()),
            _ => None,
        };
        let known = self.sandboxes.get(&instance).and_then(|s| {
            let holds = |id: &str| s.iter().find(|s| s.containers.iter().any(|c| c.id == id)).map(|s| s.id.clone());
            match &action {
                Action::Start { container_id, .. }
                | Action::Stop { container_id, .. }
                | Action::Remove { container_id, .. } => holds(container_id),
                _ => None,
            }
        });
        let ip = self.sandboxes.get(&instance).and_then(|s| s.iter().find(|s| known.as_ref() == Some(&s.id))?.ip);
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
                Action::Stop { container_id, grace_seconds, pre_stop, .. } => {
                    let left = before_stop(runtime.as_ref(), &container_id, ip, grace_seconds, pre_stop).await;
                    (runtime.container_stop(container_id, left).await, known)
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
            Heard::Done { app, instance, image, ended }
        });
    }
}

/// Runs the hook of a container that is about to stop, and returns the seconds that are left for it.
async fn before_stop(
    runtime: &dyn Runtime,
    container: &str,
    ip: Option<IpAddr>,
    grace: u64,
    hook: Option<PreStop>,
) -> u64 {
    let Some(hook) = hook else { return grace };
    let began = tokio::time::Instant::now();
    if let Some(exec) = hook.exec {
        match runtime.exec(container.to_owned(), exec.command, grace.max(1)).await {
            Ok(out) if out.exit_code == 0 => {}
            Ok(out) => tracing::warn!(container, exit_code = out.exit_code, "pre_stop did not succeed"),
            Err(error) => tracing::warn!(container, %error, "pre_stop did not run"),
        }
    } else if let (Some(get), Some(ip)) = (hook.http_get, ip) {
        match ask(ip, &get, Duration::from_secs(grace)).await {
            Ok(status) if status < 400 => {}
            Ok(status) => tracing::warn!(container, status, "pre_stop did not succeed"),
            Err(error) => tracing::warn!(container, error, "pre_stop did not run"),
        }
    } else if let Some(seconds) = hook.sleep_seconds {
        tokio::time::sleep(Duration::from_secs(seconds.max(0) as u64).min(Duration::from_secs(grace))).await;
    }
    // Whatever the hook took, TERM is heard.
    grace.saturating_sub(began.elapsed().as_secs()).max(LEAST_GRACE.min(grace))
}

/// The status of an HTTP GET on an instance.
async fn ask(ip: IpAddr, get: &HookGet, limit: Duration) -> Result<u16, String> {
    let port = get.port.parse().map_err(|_| format!("{:?} is no port", get.port))?;
    let url = format!("http://{}{}", SocketAddr::new(ip, port), get.path);
    let client = reqwest::Client::builder().timeout(limit).no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.build().map_err(|e| egress::cause(&e))?;
    let request = get.headers.iter().fold(client.get(url), |request, (name, value)| request.header(name, value));
    request.send().await.map(|answer| answer.status().as_u16()).map_err(|e| egress::cause(&e))
}

/// Works beside the loop and tells how it ended. A panic is an end too: nothing stays under way for ever.
pub(super) fn beside<T: Send + 'static>(
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
