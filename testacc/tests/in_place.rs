//! Updates in place: what stays, what is replaced, and that nobody who asks the gateway notices.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sampan_testacc::app::Instance;
use sampan_testacc::hello;
use sampan_testacc::load::{Kind, Load};
use sampan_testacc::{App, Dev, Registry, push_hello, require, wait_for};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
/// Shorter than the time that requests in flight get by default, and long enough to span the drain.
const SLOW: Kind = Kind::Slow(1000);

/// Sandboxes, addresses and names are as before, every container is another one.
fn assert_in_place(before: &[Instance], after: &[Instance]) {
    let place = |all: &[Instance]| all.iter().map(|i| format!("{:?}", i.place())).collect::<Vec<_>>();
    assert_eq!(place(before), place(after), "name, sandbox and address stay");
    for (old, new) in before.iter().zip(after) {
        assert!(![&new.sandbox, &new.container, &new.ip].contains(&&String::new()), "{new:?}");
        assert_ne!(old.container, new.container, "the container is a new one");
    }
}

/// The version that the gateway answers with.
fn version(dev: &Dev, app: &App) -> String {
    wait_for("an answer of the gateway", DEADLINE, || {
        let answer = dev.get(&app.host(), "/")?;
        let version = answer.json()["version"].as_str().map(str::to_owned);
        version.ok_or_else(|| format!("{} {}", answer.status, answer.text()))
    })
}

/// Applies, and notes for each instance the moment at which its update was first seen.
fn apply_and_watch(dev: &Dev, app: &App) -> BTreeMap<String, Instant> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = BTreeMap::new();
            while !done.load(Ordering::Relaxed) {
                for instance in app.instances(dev).into_iter().filter(|i| i.phase == "Updating") {
                    seen.entry(instance.name).or_insert_with(Instant::now);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            seen
        });
        // Terraform's failure must not leave the watch running.
        let run = app.terraform.run(&["apply", "-auto-approve"]);
        done.store(true, Ordering::Relaxed);
        let seen = watch.join().unwrap();
        assert_eq!(run.exit, 0, "{}", run.text());
        seen
    })
}

#[test]
fn updates_in_place_under_load_fail_no_request_and_keep_sandboxes_and_addresses() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let images = ["1", "2"].map(|tag| push_hello(&registry.address, tag, &[("VERSION", tag)]));
    let dev = Dev::start();
    let mut app = App::new(&dev, "web", &images[0]);
    app.apply();
    let first = app.instances(&dev);
    let revision_a = app.revision(&dev);
    assert_eq!((first.len(), version(&dev, &app).as_str()), (2, "1"));

    let began = Instant::now();
    let load = Load::start(dev.gateway, &app.host(), 200, Kind::Mixed);
    let slow = Load::start(dev.gateway, &app.host(), 10, SLOW);
    wait_for("answers under load", DEADLINE, || {
        if load.answered() >= 100 && slow.answered() >= 10 { Ok(()) } else { Err("too few".to_owned()) }
    });
    let mut before = first.clone();
    let mut moments = BTreeMap::new();
    for (image, env, shown) in [(1, json!({}), "2"), (1, json!({"VERSION": "2b"}), "2b"), (0, json!({}), "1")] {
        app.set("image", images[image].as_str());
        app.set("env", env);
        let seen = apply_and_watch(&dev, &app);
        if moments.is_empty() {
            moments = seen;
        }
        let after = app.instances(&dev);
        assert_in_place(&before, &after);
        assert_eq!(version(&dev, &app), shown);
        before = after;
    }
    assert_eq!(app.revision(&dev), revision_a, "A, B, A is revision A again");
    assert!(before.iter().all(|i| i.revision == revision_a), "{before:?}");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));

    let (load, took, slow) = (load.stop(), began.elapsed(), slow.stop());
    sampan_testacc::print(&format!("{} requests in {took:?}, and {} slow ones", load.0.len(), slow.0.len()));
    assert_eq!(load.failures(), Vec::<&str>::new(), "of {} requests", load.0.len());
    assert_eq!(slow.failures(), Vec::<&str>::new(), "of {} slow requests", slow.0.len());
    assert_eq!(load.versions().keys().collect::<Vec<_>>(), ["1", "2", "2b"], "every version has answered");
    assert_eq!(moments.len(), 2, "both instances were seen being updated: {moments:?}");
    for (instance, moment) in &moments {
        assert!(slow.spans(*moment, instance, "1"), "what was in flight at {instance} ended on its old container");
    }
    the_same_load_fails_where_nobody_waits_for_requests_in_flight(&dev, &mut app);
}

/// The control: without draining and without grace the same generator counts failures, so its zero means something.
fn the_same_load_fails_where_nobody_waits_for_requests_in_flight(dev: &Dev, app: &mut App) {
    let before = app.instances(dev);
    app.set("drain", 0);
    app.set("grace", 0);
    app.apply();
    assert_eq!(app.instances(dev), before, "how an instance ends is no reason to restart it");
    let slow = Load::start(dev.gateway, &app.host(), 10, SLOW);
    wait_for("slow answers", DEADLINE, || if slow.answered() >= 10 { Ok(()) } else { Err("too few".to_owned()) });
    app.set("env", json!({"VERSION": "cut"}));
    app.apply();
    assert_in_place(&before, &app.instances(dev));
    let slow = slow.stop();
    assert!(!slow.failures().is_empty(), "none of {} requests failed", slow.0.len());
}

#[test]
fn only_what_must_restart_restarts() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let dev = Dev::start();
    let mut app = App::new(&dev, "web", &image);
    app.apply();
    another_tag_of_the_same_digest_restarts_nothing(&dev, &mut app, &registry);
    a_moved_tag_is_followed_by_an_explicit_restart_only(&dev, &mut app, &registry);
    description_and_labels_restart_nothing(&dev, &mut app);
    replicas_leave_the_others_alone(&dev, &mut app);
    resources_need_new_sandboxes_and_the_plan_says_so(&dev, &mut app);
    app.terraform.destroy(&[]);
}

fn another_tag_of_the_same_digest_restarts_nothing(dev: &Dev, app: &mut App, registry: &Registry) {
    let (before, revision) = (app.instances(dev), app.revision(dev));
    let image = push_hello(&registry.address, "moving", &[("VERSION", "1")]);
    app.set("image", image.as_str());
    app.apply();
    assert_eq!(app.object(dev)["container"]["image"], image.as_str());
    assert_eq!(app.instances(dev), before);
    assert_eq!(app.revision(dev), revision);
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
}

fn a_moved_tag_is_followed_by_an_explicit_restart_only(dev: &Dev, app: &mut App, registry: &Registry) {
    let before = app.instances(dev);
    let old = app.object(dev)["status"]["image_digest"].clone();
    let moved = hello::push(&registry.address, "demo/hello", "moving", &[("VERSION", "3")]).unwrap();
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()), "what a tag names is no configuration");
    // Writes that make the server look at the application again, one of which replaces containers.
    app.set("description", "looked at again");
    app.apply();
    assert_eq!(app.instances(dev), before, "nothing restarts by itself");
    app.set("env", json!({"GREETING": "hello"}));
    app.apply();
    let with_env = app.instances(dev);
    assert_in_place(&before, &with_env);
    assert_eq!(version(dev, app), "1", "another setting brings no other code along");
    assert_eq!(app.object(dev)["status"]["image_digest"], old);

    let output = dev.sampan(&["restart", "web/web", "--watch"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_in_place(&with_env, &app.instances(dev));
    assert_eq!(version(dev, app), "3", "a restart pulls what the tag names now");
    let digest = app.object(dev)["status"]["image_digest"].clone();
    assert!(moved.ends_with(digest.as_str().unwrap()) && digest != old, "{digest} of {moved}");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));

    let before = app.instances(dev);
    let output = dev.sampan(&["restart", "web/web", "--watch"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_in_place(&before, &app.instances(dev));
}

fn description_and_labels_restart_nothing(dev: &Dev, app: &mut App) {
    let before = app.instances(dev);
    app.set("description", "another text");
    app.set("labels", json!({"team": "river"}));
    app.apply();
    assert_eq!(app.object(dev)["labels"], json!({"team": "river"}));
    assert_eq!(app.instances(dev), before);
}

fn replicas_leave_the_others_alone(dev: &Dev, app: &mut App) {
    let before = app.instances(dev);
    for replicas in [3, 1] {
        app.set("replicas", replicas);
        app.apply();
        let after = wait_for("as many instances as wanted", DEADLINE, || {
            let all = app.instances(dev);
            if all.len() == replicas { Ok(all) } else { Err(format!("{all:?}")) }
        });
        let kept = after.iter().filter(|i| before.contains(i)).count();
        assert_eq!(kept, replicas.min(before.len()), "{before:?} became {after:?}");
    }
    app.set("replicas", 2);
    app.apply();
}

fn resources_need_new_sandboxes_and_the_plan_says_so(dev: &Dev, app: &mut App) {
    let before = app.instances(dev);
    assert_eq!(before.len(), 2);
    app.set("cpu", "600m");
    let text = app.terraform.expect(&["plan"], 0).text();
    assert!(text.contains("Sandboxes of web/web are replaced") && text.contains("resources.cpu"), "{text}");
    let plan = app.terraform.plan(&[]);
    let changes = plan["resource_changes"].as_array().unwrap();
    let change: &Value = changes.iter().find(|c| c["type"] == "sampan_application").unwrap();
    assert_eq!(change["change"]["actions"], json!(["update"]));
    assert_eq!(change["change"]["after"]["last_change_class"], "recreate");
    app.apply();
    let after = app.instances(dev);
    assert_eq!(after.len(), 2, "{after:?}");
    for new in &after {
        assert!(new.ready && before.iter().all(|old| old.sandbox != new.sandbox), "{before:?} became {after:?}");
    }
    assert_eq!(version(dev, app), "3");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
}

/// What an instance holds on the machine: containers and snapshots of containerd, mounts, and the open descriptors of
/// every process that names this server's folder.
#[derive(Debug)]
struct Held {
    containers: usize,
    mounts: usize,
    descriptors: usize,
}

fn held(dev: &Dev) -> Held {
    let folder = dev.data_dir.to_str().unwrap();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let ours = |process: &std::path::Path| {
        std::fs::read(process.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(folder))
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(|path| ours(path));
    Held {
        containers: dev.in_containerd().len(),
        mounts: mounts.lines().filter(|line| line.contains(folder)).count(),
        descriptors: processes.filter_map(|path| Some(std::fs::read_dir(path.join("fd")).ok()?.count())).sum(),
    }
}

#[test]
fn fifty_updates_in_one_sandbox_leave_nothing_behind() {
    if !require() {
        return;
    }
    const FEW: usize = 5;
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let dev = Dev::start();
    let mut app = App::new(&dev, "web", &image);
    app.set("replicas", 1);
    app.apply();
    let first = app.instances(&dev);
    let mut after_few = None;
    for round in 1..=50 {
        app.release_as(&dev, &format!("update {round}"), DEADLINE, |spec| {
            spec["container"]["env"]["ROUND"] = json!(round.to_string());
        });
        if round == FEW {
            after_few = Some(held(&dev));
        }
    }
    let last = app.instances(&dev);
    assert_in_place(&first, &last);
    let few = after_few.unwrap();
    // Connections come and go; what leaks with each update would be at least 45.
    let most = few.descriptors + 20;
    wait_for("as much as after few updates", DEADLINE, || {
        let now = held(&dev);
        let same = now.containers == few.containers && now.mounts == few.mounts && now.descriptors <= most;
        if same { Ok(()) } else { Err(format!("{now:?}, and after {FEW} updates {few:?}")) }
    });
}
