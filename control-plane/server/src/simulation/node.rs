//! A node whose containers are entries in a table.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sampan_engine::runtime::*;
use tokio::time::sleep;

use super::world::{Fate, World, lock};

type Effect = Box<dyn FnOnce(&World) + Send>;

/// A reason that passes; the caller tries again.
fn transient<T>(reason: &str, message: &str) -> Result<T, RuntimeError> {
    Err(RuntimeError::transient(reason, message))
}

/// What is on the node.
#[derive(Default)]
pub struct Machine {
    made: u64,
    pub sandboxes: BTreeMap<String, ObservedSandbox>,
    /// By container.
    images: BTreeMap<String, String>,
    env: BTreeMap<String, Vec<(String, String)>>,
    dies_at: BTreeMap<String, i64>,
    pulled: BTreeSet<String>,
    /// Content by the name of an attempt, whether or not it came to be.
    asked: BTreeMap<String, String>,
    /// What happens although nobody waits for it any more.
    late: Vec<(i64, Effect)>,
    /// Calls under way on sandboxes and containers, by sandbox.
    under_way: BTreeMap<String, u32>,
    /// Containers whose start came late: nobody could know that they run.
    strays: BTreeSet<String>,
    /// Endpoints that ended by themselves.
    died: BTreeSet<String>,
    /// Images whose containers end after a moment, never get ready, or cannot be had.
    pub crashing: BTreeSet<String>,
    pub unready: BTreeSet<String>,
    pub pulls: BTreeMap<String, RuntimeError>,
    /// The runtime answers no list.
    pub mute: bool,
    /// Classes without a handler.
    pub no_handler: bool,
    pub hooks_hang: bool,
    pub stops_hang: bool,
    pub stopped: u64,
    pub hooks: u64,
}

impl Machine {
    /// The same again. Nothing may be late.
    pub fn fork(&self) -> Self {
        assert!(self.late.is_empty(), "something is still to come");
        Self {
            made: self.made,
            sandboxes: self.sandboxes.clone(),
            images: self.images.clone(),
            env: self.env.clone(),
            dies_at: self.dies_at.clone(),
            pulled: self.pulled.clone(),
            asked: self.asked.clone(),
            late: Vec::new(),
            under_way: BTreeMap::new(),
            died: self.died.clone(),
            crashing: self.crashing.clone(),
            unready: self.unready.clone(),
            pulls: self.pulls.clone(),
            ..Self::default()
        }
    }

    pub fn server_died(&mut self) {
        self.under_way.clear();
    }

    fn container(&mut self, id: &str) -> Option<&mut ObservedContainer> {
        self.sandboxes.values_mut().flat_map(|s| &mut s.containers).find(|c| c.id == id)
    }

    fn key_of(&self, id: &str) -> Option<String> {
        self.sandboxes.values().find_map(|s| {
            let c = s.containers.iter().find(|c| c.id == id)?;
            Some(key(s, c))
        })
    }

    /// Why an endpoint of this application cannot be there.
    pub fn unfit(&self, wanted: &str, namespace: &str, application: &str) -> Option<String> {
        if self.died.contains(wanted) {
            return None;
        }
        let all = self.sandboxes.values().flat_map(|s| s.containers.iter().map(move |c| (s, c)));
        let Some((s, c)) = all.into_iter().find(|(s, c)| key(s, c) == wanted) else {
            return Some("it is not on the node".into());
        };
        if (s.namespace.as_str(), s.application.as_str()) != (namespace, application) {
            return Some(format!("it belongs to {}/{}", s.namespace, s.application));
        }
        (c.state != ContainerState::Running).then(|| format!("it is {:?}", c.state))
    }

    /// Images of the running containers of an application, sorted.
    pub fn running(&self, application: &str) -> Vec<String> {
        let mine = self.sandboxes.values().filter(|s| s.application == application && s.ready);
        let running = mine.flat_map(|s| &s.containers).filter(|c| c.state == ContainerState::Running);
        let mut all: Vec<String> = running.map(|c| self.images[&c.id].clone()).collect();
        all.sort();
        all
    }

    fn ends(&mut self, id: &str, code: i32) {
        self.died.extend(self.key_of(id));
        if let Some(c) = self.container(id).filter(|c| c.state == ContainerState::Running) {
            c.state = ContainerState::Exited;
            c.exit_code = Some(code);
            c.reason = "Error".into();
        }
    }

    /// The process of the nth running container ends.
    pub fn crash(&mut self, n: u64) {
        let all = self.sandboxes.values().flat_map(|s| &s.containers);
        let running: Vec<String> = all.filter(|c| c.state == ContainerState::Running).map(|c| c.id.clone()).collect();
        if let Some(id) = running.get(n as usize % running.len().max(1)) {
            self.ends(id, 1);
        }
    }

    /// The nth sandbox is gone with what was in it.
    pub fn lose(&mut self, n: u64) {
        let Some(id) = self.sandboxes.keys().nth(n as usize % self.sandboxes.len().max(1)).cloned() else { return };
        if let Some(s) = self.sandboxes.remove(&id) {
            self.died.extend(s.containers.iter().map(|c| key(&s, c)));
        }
    }

    /// Images were removed from the disk.
    pub fn forget_images(&mut self) {
        self.pulled.clear();
    }
}

fn key(s: &ObservedSandbox, c: &ObservedContainer) -> String {
    format!("{}/{}/{}", s.instance, s.generation, c.attempt)
}

impl World {
    /// Lets happen what is due.
    pub fn catch_up(&self) {
        let now = self.steady_ms();
        let due: Vec<Effect> = {
            let mut m = lock(&self.machine);
            let dead: Vec<String> = m.dies_at.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
            for id in dead {
                m.dies_at.remove(&id);
                m.ends(&id, 1);
            }
            let (due, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut m.late).into_iter().partition(|(at, _)| *at <= now);
            m.late = later;
            due.into_iter().map(|(_, effect)| effect).collect()
        };
        for effect in due {
            self.tell("something comes late");
            effect(self);
        }
    }
}

/// The node as the server knows it.
pub struct Node {
    world: Arc<World>,
}

impl Node {
    pub fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// One call on something, with the end that the world has for it. `effect` hears whether it comes late.
    fn call<T: Send + 'static>(
        &self,
        what: String,
        on: Option<String>,
        effect: impl FnOnce(&World, bool) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Work<'static, Result<T, RuntimeError>> {
        let world = self.world.clone();
        Box::pin(async move {
            let fate = world.fate(&what);
            let pause = world.below(200) + 1;
            if let Some(on) = &on {
                let mut m = lock(&world.machine);
                let count = m.under_way.entry(on.clone()).or_default();
                *count += 1;
                if *count > 1 {
                    drop(m);
                    world.wrong(format!("two calls at once on {on}: {what}"));
                }
            }
            sleep(Duration::from_millis(pause)).await;
            if world.is_killed() {
                return pending().await;
            }
            world.catch_up();
            let late = |ms: i64, effect: Effect| lock(&world.machine).late.push((world.steady_ms() + ms, effect));
            let lost = || transient("DeadlineExceeded", "no answer");
            let answer = match fate {
                Fate::Fine => effect(&world, false),
                Fate::Refused => transient("RuntimeUnavailable", "not now"),
                Fate::AnswerLost => {
                    let _ = effect(&world, false);
                    sleep(Duration::from_secs(10)).await;
                    lost()
                }
                Fate::Late => {
                    sleep(Duration::from_secs(10)).await;
                    late(1500, Box::new(move |world| drop(effect(world, true))));
                    lost()
                }
                Fate::KilledBefore => {
                    world.kill();
                    return pending().await;
                }
                Fate::KilledAfter => {
                    let _ = effect(&world, false);
                    world.kill();
                    return pending().await;
                }
                Fate::KilledAndLate => {
                    late(1500, Box::new(move |world| drop(effect(world, true))));
                    world.kill();
                    return pending().await;
                }
            };
            if let Some(on) = &on {
                lock(&world.machine).under_way.remove(on);
            }
            answer
        })
    }

    /// The sandbox that a container is in, for the rule of one call at a time.
    fn sandbox_of(&self, container: &str) -> Option<String> {
        let m = lock(&self.world.machine);
        m.sandboxes.values().find(|s| s.containers.iter().any(|c| c.id == container)).map(|s| s.instance.clone())
    }
}

/// A container that takes requests is not stopped; only what nobody waits for any more may be wrong about it.
fn check_use(world: &World, container: &str, late: bool) {
    let key = {
        let mut m = lock(&world.machine);
        let runs = m.container(container).is_some_and(|c| c.state == ContainerState::Running);
        if !runs || late {
            return;
        }
        m.key_of(container)
    };
    if let Some((key, why)) = key.and_then(|key| Some((key.clone(), world.in_use(&key)?))) {
        world.wrong(format!("{key} is stopped while {why}"));
    }
}

impl Runtime for Node {
    fn classes(&self) -> Vec<ClassStatus> {
        let available = !lock(&self.world.machine).no_handler;
        let reason = if available { String::new() } else { "no handler on this node".into() };
        vec![ClassStatus { class: "runc".into(), handler: "runc".into(), available, reason }]
    }

    fn node(&self) -> String {
        "made-up".into()
    }

    fn sandbox_run(&self, spec: SandboxSpec) -> Work<'_, Result<Sandbox, RuntimeError>> {
        let on = Some(spec.instance.clone());
        self.call(format!("run of {}/{}", spec.instance, spec.generation), on, move |world, _| {
            let mut m = lock(&world.machine);
            if m.sandboxes.values().any(|s| s.instance == spec.instance && s.generation == spec.generation) {
                return transient("NameReserved", "there is such a sandbox already");
            }
            m.made += 1;
            let ip = IpAddr::from([10, 0, (m.made >> 8) as u8, m.made as u8]);
            let s = ObservedSandbox {
                id: format!("s{}", m.made),
                instance: spec.instance,
                namespace: spec.namespace,
                application: spec.application,
                generation: spec.generation,
                ready: true,
                ip: Some(ip),
                created_at: 0,
                containers: Vec::new(),
            };
            let made =
                Sandbox { id: s.id.clone(), ip, isolation: Isolation { verified: None, evidence: "none".into() } };
            m.sandboxes.insert(s.id.clone(), s);
            Ok(made)
        })
    }

    fn sandbox_remove(&self, id: String, spec: SandboxSpec) -> Work<'_, Result<(), RuntimeError>> {
        self.call(format!("removal of sandbox {id}"), Some(spec.instance), move |world, late| {
            let inside: Vec<String> = {
                let m = lock(&world.machine);
                m.sandboxes.get(&id).map(|s| s.containers.iter().map(|c| c.id.clone()).collect()).unwrap_or_default()
            };
            for container in inside {
                check_use(world, &container, late);
                if late {
                    lock(&world.machine).ends(&container, 0);
                }
            }
            lock(&world.machine).sandboxes.remove(&id);
            Ok(())
        })
    }

    fn container_create(
        &self,
        sandbox_id: String,
        sandbox: SandboxSpec,
        spec: ContainerSpec,
    ) -> Work<'_, Result<String, RuntimeError>> {
        let name = format!("{}/{}/{}", sandbox.instance, sandbox.generation, spec.attempt);
        let what = format!("creation of {name}");
        let before = lock(&self.world.machine).asked.insert(name, spec.spec_hash.clone());
        if before.is_some_and(|before| before != spec.spec_hash) {
            // What was asked for first may come first, too.
            self.world.wrong(format!("{what} is asked for again with another content"));
        }
        self.call(what, Some(sandbox.instance), move |world, _| {
            let mut m = lock(&world.machine);
            if !m.pulled.contains(&spec.image) {
                return transient("ImageMissing", "it is not on the node");
            }
            let Some(s) = m.sandboxes.get(&sandbox_id) else { return transient("NotFound", "no such sandbox") };
            if let Some(c) = s.containers.iter().find(|c| c.attempt == spec.attempt) {
                return if c.spec_hash == spec.spec_hash {
                    Ok(c.id.clone())
                } else {
                    Err(RuntimeError::permanent("NameReserved", "there is such a container already"))
                };
            }
            m.made += 1;
            let id = format!("c{}", m.made);
            m.images.insert(id.clone(), spec.image);
            m.env.insert(id.clone(), spec.env);
            let c = ObservedContainer {
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
            };
            if let Some(s) = m.sandboxes.get_mut(&sandbox_id) {
                s.containers.push(c);
            }
            Ok(id)
        })
    }

    fn container_start(&self, id: String) -> Work<'_, Result<(), RuntimeError>> {
        self.call(format!("start of {id}"), self.sandbox_of(&id), move |world, late| {
            let now = world.steady_ms();
            let mut m = lock(&world.machine);
            let other = m.sandboxes.values().any(|s| {
                let known = |c: &ObservedContainer| c.id != id && !m.strays.contains(&c.id);
                let runs = |c: &ObservedContainer| c.state == ContainerState::Running && known(c);
                s.containers.iter().any(|c| c.id == id) && s.containers.iter().any(runs)
            });
            let crashes = m.images.get(&id).is_some_and(|image| m.crashing.contains(image));
            let Some(c) = m.container(&id) else { return transient("NotFound", "no such container") };
            if c.state == ContainerState::Created {
                c.state = ContainerState::Running;
                if late {
                    m.strays.insert(id.clone());
                }
                if crashes {
                    m.dies_at.insert(id, now + 1500);
                }
                drop(m);
                if other && !late {
                    world.wrong("two containers of one instance run at once");
                }
            }
            Ok(())
        })
    }

    fn container_stop(&self, id: String, grace_seconds: u64) -> Work<'_, Result<(), RuntimeError>> {
        let hangs = lock(&self.world.machine).stops_hang;
        let (world, on) = (self.world.clone(), self.sandbox_of(&id));
        if hangs {
            return Box::pin(async move {
                sleep(Duration::from_secs(grace_seconds + 10)).await;
                lock(&world.machine).stopped += 1;
                transient("DeadlineExceeded", "it does not end")
            });
        }
        self.call(format!("stop of {id}"), on, move |world, late| {
            check_use(world, &id, late);
            let mut m = lock(&world.machine);
            if late {
                m.ends(&id, 0);
            } else if let Some(c) = m.container(&id).filter(|c| c.state == ContainerState::Running) {
                c.state = ContainerState::Exited;
                c.exit_code = Some(0);
                c.reason = "Completed".into();
            }
            m.stopped += 1;
            Ok(())
        })
    }

    fn container_remove(&self, id: String) -> Work<'_, Result<(), RuntimeError>> {
        self.call(format!("removal of {id}"), self.sandbox_of(&id), move |world, late| {
            check_use(world, &id, late);
            let mut m = lock(&world.machine);
            for s in m.sandboxes.values_mut() {
                s.containers.retain(|c| c.id != id);
            }
            Ok(())
        })
    }

    fn list(&self) -> Work<'_, Result<Vec<ObservedSandbox>, RuntimeError>> {
        let world = self.world.clone();
        Box::pin(async move {
            let pause = world.below(50) + 1;
            world.catch_up();
            let (all, mute) = {
                let m = lock(&world.machine);
                (m.sandboxes.values().cloned().collect(), m.mute)
            };
            sleep(Duration::from_millis(pause)).await;
            if mute { transient("RuntimeUnavailable", "not now") } else { Ok(all) }
        })
    }

    fn observe(&self, id: String) -> Work<'_, Result<Option<ObservedSandbox>, RuntimeError>> {
        let world = self.world.clone();
        Box::pin(async move {
            world.catch_up();
            let m = lock(&world.machine);
            if m.mute { transient("RuntimeUnavailable", "not now") } else { Ok(m.sandboxes.get(&id).cloned()) }
        })
    }

    fn image_pull(&self, reference: String, _: Option<Login>) -> Work<'_, Result<(), RuntimeError>> {
        self.call(format!("pull of {reference}"), None, move |world, _| {
            let mut m = lock(&world.machine);
            if let Some(e) = m.pulls.get(&reference) {
                return Err(e.clone());
            }
            m.pulled.insert(reference);
            Ok(())
        })
    }

    /// Tags are numbers, and so are the digests here.
    fn image_id(&self, reference: String) -> Work<'_, Result<Option<String>, RuntimeError>> {
        self.call(format!("look for {reference}"), None, move |_, _| {
            Ok(reference.rsplit_once(':').map(|(_, tag)| tag.to_owned()))
        })
    }

    fn probes_watch(
        &self,
        id: String,
        _: IpAddr,
        _: Probes,
        _: ProbeReport,
        report: Box<dyn Fn(ProbeReport) + Send + Sync>,
    ) {
        let world = self.world.clone();
        let pause = world.below(600) + 100;
        tokio::spawn(async move {
            sleep(Duration::from_millis(pause)).await;
            let m = lock(&world.machine);
            let ready = m.images.get(&id).is_none_or(|image| !m.unready.contains(image));
            drop(m);
            let message = if ready { String::new() } else { "GET / answered 503".into() };
            report(ProbeReport { started: Some(true), ready, live: None, message });
        });
    }

    fn probes_forget(&self, _: &str) {}

    fn exec(&self, id: String, _: Vec<String>, timeout_seconds: u64) -> Work<'_, Result<ExecOutput, RuntimeError>> {
        let hangs = {
            let mut m = lock(&self.world.machine);
            m.hooks += 1;
            m.hooks_hang
        };
        if hangs {
            return Box::pin(async move {
                sleep(Duration::from_secs(timeout_seconds)).await;
                transient("DeadlineExceeded", "the command does not end")
            });
        }
        self.call(format!("hook in {id}"), self.sandbox_of(&id), |_, _| {
            Ok(ExecOutput { stdout: Vec::new(), stderr: Vec::new(), exit_code: 0 })
        })
    }

    fn usage(&self) -> Work<'_, Result<Vec<Usage>, RuntimeError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn logs(&self, _: LogQuery) -> Work<'_, Result<(Vec<LogLine>, u64), RuntimeError>> {
        Box::pin(async { Ok((Vec::new(), 0)) })
    }
}
