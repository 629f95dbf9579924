//! Whoever is killed, whenever: what comes after leads to what was asked for, and what was running goes on.
//!
//! Moments are things that were observed, not times. One of them is the n-th change of anything that can be seen, n
//! from a seed that is printed; `SAMPAN_TEST_SEED` sets it.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sampan_testacc::app::Instance;
use sampan_testacc::load::{Kind, Load};
use sampan_testacc::process::Process;
use sampan_testacc::{App, Dev, Registry, http, push_hello, require, wait_for};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(1);
/// An instance needs this long to become ready, so that there is a middle to be killed in.
const START_DELAY_MS: &str = "700";

/// When to kill, by what can be seen of the application.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Stored,
    FirstSandbox,
    FirstContainer,
    FirstReady,
    /// So many changes of anything that can be seen.
    Change(u64),
}

/// Everything that can be seen of an application.
#[derive(Debug, Clone, PartialEq)]
struct View {
    operation: String,
    instances: Vec<Instance>,
}

fn view(dev: &Dev, app: &App) -> View {
    let operation = app.object(dev)["status"]["last_operation"]["id"].as_str().unwrap_or_default().to_owned();
    View { operation, instances: app.instances(dev) }
}

/// Waits for the moment, counted from `before`. The n-th change may never come; then the end of `process` is it.
fn wait_until(moment: Moment, dev: &Dev, app: &App, before: &View, process: &mut Process) {
    let (mut last, mut changes, end) = (before.clone(), 0, Instant::now() + DEADLINE);
    loop {
        // Ended first: what it did last must be seen.
        let over = process.ended().is_some();
        let now = view(dev, app);
        changes += u64::from(now != last);
        let new = |differs: fn(&Instance, &Instance) -> bool| {
            let old = |i: &Instance| before.instances.iter().find(|old| old.name == i.name).cloned();
            now.instances.iter().any(|i| old(i).is_none_or(|old| differs(i, &old)))
        };
        let reached = match moment {
            Moment::Stored => now.operation != before.operation,
            Moment::FirstSandbox => now.instances.iter().any(|i| !i.sandbox.is_empty()) && now != *before,
            Moment::FirstContainer => new(|i, old| i.container != old.container) && holds(&now, |i| &i.container),
            Moment::FirstReady => {
                new(|i, old| i.container != old.container && i.ready) && now.instances.iter().any(|i| i.ready)
            }
            Moment::Change(n) => changes >= n,
        };
        if reached {
            return;
        }
        if over {
            assert!(matches!(moment, Moment::Change(_)), "{moment:?} never came:\n{}", process.output());
            return;
        }
        last = now;
        assert!(Instant::now() < end, "{moment:?} was not seen; last: {last:?}\n{}", process.output());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn holds(view: &View, text: fn(&Instance) -> &String) -> bool {
    view.instances.iter().any(|i| !text(i).is_empty())
}

/// The named moments, and one by the seed.
fn moments() -> [Moment; 5] {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let given = std::env::var("SAMPAN_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(now.subsec_micros()));
    sampan_testacc::print(&format!("SAMPAN_TEST_SEED={seed}"));
    [Moment::Stored, Moment::FirstSandbox, Moment::FirstContainer, Moment::FirstReady, Moment::Change(1 + seed % 8)]
}

/// A server with an application that nobody touches. Its instance must not notice anything.
struct World {
    dev: Dev,
    image: String,
    calm: App,
    calm_instances: Vec<Instance>,
    _registry: Registry,
}

impl World {
    fn start() -> Self {
        let registry = Registry::start();
        let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
        let dev = Dev::start();
        let mut calm = App::new(&dev, "calm", &image);
        calm.set("replicas", 1);
        calm.apply();
        let calm_instances = calm.instances(&dev);
        Self { dev, image, calm, calm_instances, _registry: registry }
    }

    /// An application whose instances take their time to become ready.
    fn app(&self, name: &str, version: &str) -> App {
        let mut app = App::new(&self.dev, name, &self.image);
        app.set("env", env(version));
        app
    }

    /// Nothing is left to do, nothing is there twice, the gateway serves, and the calm one is as it was.
    fn converged(&self, app: &App, version: &str) -> Vec<Instance> {
        assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
        wait_for("all instances, each once", DEADLINE, || {
            let all = app.instances(&self.dev);
            let ready =
                all.len() == 2 && all.iter().all(|i| i.ready && !i.sandbox.is_empty() && !i.container.is_empty());
            let (apart, sandboxes) = (all[..].first().map(|i| &i.sandbox) != all.last().map(|i| &i.sandbox), 3);
            let (shims, leases) = (self.traces("shim process"), self.traces("address lease"));
            let once = apart && shims.len() == sandboxes && leases.len() == sandboxes;
            if ready && once { Ok(()) } else { Err(format!("{all:?}\n{shims:?}\n{leases:?}")) }
        });
        self.serves(app, version);
        self.serves(&self.calm, "1");
        assert_eq!(self.calm.instances(&self.dev), self.calm_instances, "who is not touched stays as it is");
        app.instances(&self.dev)
    }

    /// Destroys what is left of the application, and finds only the calm one on the machine.
    fn is_gone(&self, app: &App) {
        app.terraform.destroy(&[]);
        wait_for("the end of every instance", DEADLINE, || {
            let (shims, leases) = (self.traces("shim process"), self.traces("address lease"));
            if (shims.len(), leases.len()) == (1, 1) { Ok(()) } else { Err(format!("{shims:?}\n{leases:?}")) }
        });
        assert_eq!(self.calm.instances(&self.dev), self.calm_instances, "who is not touched stays as it is");
    }

    fn serves(&self, app: &App, version: &str) {
        wait_for("the gateway's answer", DEADLINE, || {
            let answer = self.dev.get(&app.host(), "/")?;
            let right = answer.status == 200 && answer.json()["version"] == version;
            if right { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        });
    }

    /// What of this kind is on the machine.
    fn traces(&self, kind: &str) -> Vec<String> {
        let mut found = sampan_node::leftovers(&self.dev.data_dir);
        found.retain(|trace| trace.starts_with(kind));
        found
    }
}

fn in_background(app: &App, what: &str) -> Process {
    Process::start(&format!("terraform {what}"), &mut app.terraform.command(&[what, "-auto-approve"]))
}

fn env(version: &str) -> Value {
    json!({"VERSION": version, "START_DELAY_MS": START_DELAY_MS})
}

/// Containers that were ready at the new version keep running: nobody starts them a second time.
fn assert_kept(at_kill: &View, before: &View, after: &[Instance]) {
    let was = |i: &Instance| before.instances.iter().any(|old| old.container == i.container);
    for done in at_kill.instances.iter().filter(|i| i.ready && i.phase == "Ready" && !was(i)) {
        assert!(after.iter().any(|i| i.container == done.container), "{done:?} was started again: {after:?}");
    }
}

/// Sandboxes and addresses that were there before an update are there after it.
fn assert_same_places(before: &View, after: &[Instance]) {
    let places: Vec<_> = before.instances.iter().map(Instance::place).collect();
    assert_eq!(places, after.iter().map(Instance::place).collect::<Vec<_>>());
}

#[test]
fn sampan_killed_in_the_middle_of_an_apply_converges_after_its_next_start() {
    if !require() {
        return;
    }
    let mut world = World::start();
    for (round, moment) in moments().into_iter().enumerate() {
        sampan_testacc::print(&format!("create, {moment:?}"));
        let mut app = world.app("web", "a");
        let nothing = view(&world.dev, &app);
        let at_kill = kill_sampan(&mut world, &app, moment, &nothing);
        let created = world.converged(&app, "a");
        assert_kept(&at_kill, &nothing, &created);

        sampan_testacc::print(&format!("update, {moment:?}"));
        let before = view(&world.dev, &app);
        app.set("env", env(&format!("b{round}")));
        let at_kill = kill_sampan(&mut world, &app, moment, &before);
        let updated = world.converged(&app, &format!("b{round}"));
        assert_kept(&at_kill, &before, &updated);
        assert_same_places(&before, &updated);

        sampan_testacc::print(&format!("destroy, change {}", round + 1));
        let before = view(&world.dev, &app);
        let mut destroy = in_background(&app, "destroy");
        wait_until(Moment::Change(round as u64 + 1), &world.dev, &app, &before, &mut destroy);
        world.dev.kill();
        world.dev.start_again();
        assert!(destroy.wait(DEADLINE).is_some(), "terraform does not end:\n{}", destroy.output());
        world.is_gone(&app);
    }
}

/// Kills the server in the middle of an apply, starts it again and applies again.
fn kill_sampan(world: &mut World, app: &App, moment: Moment, before: &View) -> View {
    let mut apply = in_background(app, "apply");
    wait_until(moment, &world.dev, app, before, &mut apply);
    let at_kill = view(&world.dev, app);
    world.dev.kill();
    world.dev.start_again();
    // It may have waited for the server to come back, or not.
    assert!(apply.wait(DEADLINE).is_some(), "terraform does not end:\n{}", apply.output());
    app.apply();
    at_kill
}

/// Applies until it is done. What an apply that was killed has created and not noted is imported, as the provider
/// proposes it.
fn apply_with_imports(app: &App) {
    let mut blocks = String::new();
    for _ in 0..4 {
        let run = app.terraform.run(&["apply", "-auto-approve"]);
        if run.exit == 0 {
            return;
        }
        let text: String =
            run.text().lines().map(|line| line.trim_start_matches('│').trim()).collect::<Vec<_>>().join("\n");
        let block = text.split_once("import {").and_then(|(_, rest)| rest.split_once('}'));
        let (block, _) = block.unwrap_or_else(|| panic!("no import block is proposed:\n{text}"));
        blocks.push_str(&format!("import {{{block}}}\n"));
        app.terraform.write("imports.tf", &blocks);
    }
    panic!("importing does not end:\n{blocks}");
}

/// Processes of the provider that talk to this server.
fn providers(dev: &Dev) -> Vec<i32> {
    let ours = format!("SAMPAN_ENDPOINT={}", dev.endpoint());
    let is_ours = |pid: &i32| {
        let name = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let env = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&name).contains("terraform-provider-sampan")
            && env.split(|byte| *byte == 0).any(|pair| pair == ours.as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
}

#[test]
fn terraform_killed_or_interrupted_in_the_middle_of_an_apply_goes_on_at_the_next_one() {
    if !require() {
        return;
    }
    let world = World::start();
    for (round, moment) in moments().into_iter().enumerate() {
        sampan_testacc::print(&format!("create, {moment:?}"));
        let mut app = world.app("web", "a");
        let nothing = view(&world.dev, &app);
        kill_terraform(&world, &app, moment, &nothing);
        let created = world.converged(&app, "a");

        sampan_testacc::print(&format!("update, {moment:?}"));
        let before = view(&world.dev, &app);
        assert_eq!(before.instances, created);
        app.set("env", env("b"));
        kill_terraform(&world, &app, moment, &before);
        assert_same_places(&before, &world.converged(&app, "b"));

        sampan_testacc::print(&format!("destroy, change {}", round + 1));
        let before = view(&world.dev, &app);
        let mut destroy = in_background(&app, "destroy");
        wait_until(Moment::Change(round as u64 + 1), &world.dev, &app, &before, &mut destroy);
        destroy.kill();
        world.is_gone(&app);
    }
    an_interrupted_apply_saves_its_state(&world);
    wait_for("the end of every provider", DEADLINE, || match providers(&world.dev) {
        all if all.is_empty() => Ok(()),
        all => Err(format!("{all:?}")),
    });
}

fn kill_terraform(world: &World, app: &App, moment: Moment, before: &View) {
    let mut apply = in_background(app, "apply");
    wait_until(moment, &world.dev, app, before, &mut apply);
    let at_kill = view(&world.dev, app);
    apply.kill();
    // At once: the provider of the killed one may still be there.
    apply_with_imports(app);
    assert_kept(&at_kill, before, &app.instances(&world.dev));
}

fn an_interrupted_apply_saves_its_state(world: &World) {
    let mut app = world.app("web", "a");
    // Longer than an interrupt takes; nobody waits for all of it.
    app.set("env", json!({"VERSION": "a", "START_DELAY_MS": "4000"}));
    let nothing = view(&world.dev, &app);
    let mut apply = in_background(&app, "apply");
    wait_until(Moment::FirstContainer, &world.dev, &app, &nothing, &mut apply);
    let at_interrupt = view(&world.dev, &app);
    apply.signal(Signal::INT);
    let ended = apply.wait(DEADLINE);
    assert!(ended.is_some_and(|status| !status.success()), "{ended:?}\n{}", apply.output());
    let state: Value = serde_json::from_str(&app.terraform.state()).unwrap();
    let saved: Vec<&Value> =
        state["resources"].as_array().unwrap().iter().filter(|r| r["type"] == "sampan_application").collect();
    assert_eq!(saved.len(), 1, "{state:#}\n{}", apply.output());
    assert_eq!(saved[0]["instances"][0]["status"], Value::Null, "it is not tainted");
    app.apply();
    let after = world.converged(&app, "a");
    let names = |all: &[Instance]| all.iter().map(|i| i.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&at_interrupt.instances), names(&after), "the same instances, not replaced ones");
    world.is_gone(&app);
}

/// The private containerd of this data folder, by its pid file and its command line.
fn containerd(data_dir: &Path) -> Option<Pid> {
    let run = data_dir.canonicalize().ok()?.join("run");
    let pid: i32 = std::fs::read_to_string(run.join("containerd.pid")).ok()?.trim().parse().ok()?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let config = run.join("containerd.toml");
    let ours = line.split(|byte| *byte == 0).any(|word| word == config.as_os_str().as_encoded_bytes());
    Pid::from_raw(pid).filter(|_| ours)
}

#[test]
fn containerd_killed_is_started_again_and_instances_do_not_notice() {
    if !require() {
        return;
    }
    let world = World::start();
    let kill_containerd = || {
        let old = containerd(&world.dev.data_dir).expect("containerd runs");
        kill_process(old, Signal::KILL).unwrap();
        old
    };
    let is_back = |old: Pid| {
        wait_for("another containerd", DEADLINE, || match containerd(&world.dev.data_dir) {
            Some(new) if new != old => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };

    let load = Load::start(world.dev.gateway, &world.calm.host(), 50, Kind::Mixed);
    let old = kill_containerd();
    is_back(old);
    let so_far = load.answered();
    wait_for("more answers", DEADLINE, || {
        let listed = world.calm.instances(&world.dev) == world.calm_instances;
        if listed && load.answered() > so_far + 50 { Ok(()) } else { Err(format!("{listed}")) }
    });
    let load = load.stop();
    assert_eq!(load.failures(), Vec::<&str>::new(), "of {} requests", load.0.len());

    for moment in [Moment::FirstSandbox, Moment::FirstReady] {
        sampan_testacc::print(&format!("create and update, {moment:?}"));
        let mut app = world.app("web", "a");
        let mut before = view(&world.dev, &app);
        for version in ["a", "b"] {
            app.set("env", env(version));
            let mut apply = in_background(&app, "apply");
            wait_until(moment, &world.dev, &app, &before, &mut apply);
            let at_kill = view(&world.dev, &app);
            let old = kill_containerd();
            let ended = apply.wait(Duration::from_mins(2));
            assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{}", apply.output());
            is_back(old);
            let after = world.converged(&app, version);
            assert_kept(&at_kill, &before, &after);
            if version == "b" {
                assert_same_places(&before, &after);
            }
            before = view(&world.dev, &app);
        }
        world.is_gone(&app);
    }
}

#[test]
fn a_server_that_stops_leaves_its_workloads_and_a_teardown_removes_what_a_killed_one_left() {
    if !require() {
        return;
    }
    let mut world = World::start();
    let calm = world.calm_instances.clone();
    // A server takes images from no registry on loopback; it takes over what a killed `dev` has left.
    world.dev.kill();
    world.dev.start_again_as("server");
    world.serves(&world.calm, "1");
    assert_eq!(world.calm.instances(&world.dev), calm, "taken over from the killed one");
    let left = sampan_node::leftovers(&world.dev.data_dir);

    world.dev.stop();
    assert_eq!(sampan_node::leftovers(&world.dev.data_dir), left, "everything is still there");
    let address = format!("{}:8080", calm[0].ip).parse().unwrap();
    let answer = http::get(address, "anybody", "/").unwrap();
    assert_eq!((answer.status, &answer.json()["version"]), (200, &json!("1")), "it runs without its server");
    world.dev.start_again_as("server");
    world.serves(&world.calm, "1");
    assert_eq!(world.calm.instances(&world.dev), calm, "taken over from the stopped one");

    world.dev.kill();
    assert_eq!(sampan_node::leftovers(&world.dev.data_dir), left);
    for _ in 0..2 {
        world.dev.teardown();
        assert_eq!(sampan_node::remains(&world.dev.data_dir), Vec::<String>::new());
    }
    // The objects are still there: the next start brings the application back.
    world.dev.start_again();
    world.serves(&world.calm, "1");
    assert_eq!(world.calm.terraform.plan_is_empty(&[]), Ok(()));
    world.dev.stop();
    let mut left = sampan_node::remains(&world.dev.data_dir);
    // Images stay in the folder for the next start.
    left.retain(|trace| !trace.starts_with("folder: "));
    assert_eq!(left, Vec::<String>::new());
}
