//! Scaling rules with the real Terraform, real containers and a real client.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sampan_testacc::app::Instance;
use sampan_testacc::hey::{Client, Hey};
use sampan_testacc::load::{Kind, Load};
use sampan_testacc::{App, Dev, Registry, http, print, push_hello, require, require_with, wait_for};
use serde_json::{Value, json};

/// Out: new containers. In: after the burst a whole minute is quiet first.
const DEADLINE: Duration = Duration::from_mins(4);

/// 80 requests a second.
const CLIENTS: &[Client<'_>] = &[Client { workers: 8, rate: 10, path: "/", options: &[] }];

/// A rule called as the application.
fn rule(app: &App, attributes: &str) {
    let name = &app.name;
    let text = format!(
        "resource \"sampan_scaling_rule\" \"{name}\" {{\n  namespace   = sampan_namespace.{name}.name\n  \
         application = sampan_application.{name}.name\n  name        = \"{name}\"\n{attributes}\n}}\n"
    );
    app.terraform.write("scaling.tf", &text);
}

const BY_REQUESTS: &str = r#"
  min_replicas = 1
  max_replicas = 4
  metrics      = { requests = { type = "qps", target = 20, window_seconds = 10 } }
  behavior     = { scale_down = { stabilization_window_seconds = 10, period_seconds = 1 } }"#;

/// What `sampan describe scaling` says.
fn described(dev: &Dev, app: &App) -> Value {
    let id = format!("{0}/{0}", app.name);
    let output = dev.sampan(&["describe", "scaling", &id, "-o", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn has_ready(dev: &Dev, app: &App, n: usize) {
    wait_for(&format!("{n} ready instances"), DEADLINE, || {
        let all = app.instances(dev);
        let ready = all.iter().filter(|i| i.ready).count();
        if ready == n && all.len() == n { Ok(()) } else { Err(described(dev, app).to_string()) }
    });
}

#[test]
fn load_adds_instances_and_its_end_removes_them_while_a_release_runs_and_the_plan_is_empty() {
    if !require_with("hey") {
        return;
    }
    let registry = Registry::start();
    let image = |version: &str| push_hello(&registry.address, version, &[("VERSION", version)]);
    let (one, two) = (image("1"), image("2"));
    let dev = Dev::start();
    let mut app = App::new(&dev, "web", &one);
    app.set("replicas", 1);
    rule(&app, BY_REQUESTS);
    app.apply();
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));

    let (load, began) = (Hey::start(dev.gateway, &app.host(), CLIENTS), Instant::now());
    has_ready(&dev, &app, 4);
    print(&format!("1 -> 4 ready instances in {:?}", began.elapsed()));
    // What the autoscaler does is nothing to Terraform, and the other way round.
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
    let shown = described(&dev, &app);
    assert_eq!((&shown["desired"], &shown["current"]), (&json!(4), &json!(4)), "{shown}");
    let decisions = shown["decisions"].as_array().unwrap();
    assert_eq!(decisions.last().unwrap()["to"], 4, "{shown}");
    assert!(decisions.iter().all(|d| d["reason"].as_str().unwrap().contains("requests wanted")), "{shown}");
    let text = dev.sampan(&["describe", "scaling", "web/web"]).output().unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("size after each decision") && text.contains("→ 4: requests wanted"), "{text}");

    app.set("image", two.as_str());
    app.apply();
    has_ready(&dev, &app, 4);
    assert!(app.instances(&dev).iter().all(|i| i.revision == app.revision(&dev)), "all are of the new revision");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));

    let report = load.stop();
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(report.statuses.keys().collect::<Vec<_>>(), [&200], "{:?}", report.statuses);
    has_ready(&dev, &app, 1);
    let shown = described(&dev, &app);
    assert_eq!(shown["decisions"].as_array().unwrap().last().unwrap()["to"], 1, "{shown}");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
    app.terraform.destroy(&[]);
}

/// Ten requests a second that each keep a core busy for some hundredths of one.
const BURNING: &[Client<'_>] = &[Client { workers: 5, rate: 2, path: "/burn?millions=50", options: &[] }];

#[test]
fn a_busy_cpu_adds_instances_and_a_quiet_one_removes_them() {
    if !require_with("hey") {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let dev = Dev::start();
    let mut app = App::new(&dev, "web", &image);
    app.set("replicas", 1);
    // Low, so that it is reached on a machine that has little time for the program.
    rule(
        &app,
        r#"
  min_replicas = 1
  max_replicas = 3
  metrics      = { cpu = { type = "cpu", target = 5 } }
  behavior     = { scale_down = { stabilization_window_seconds = 10, period_seconds = 1 } }"#,
    );
    app.apply();
    let load = Hey::start(dev.gateway, &app.host(), BURNING);
    has_ready(&dev, &app, 3);
    let shown = described(&dev, &app);
    let last = shown["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!(last["to"], 3, "{shown}");
    assert!(last["reason"].as_str().unwrap().contains("cpu wanted"), "{shown}");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
    let report = load.stop();
    assert_eq!((report.errors, report.statuses.keys().collect::<Vec<_>>()), (vec![], vec![&200]));
    has_ready(&dev, &app, 1);
    app.terraform.destroy(&[]);
}

const A_QUARTER: &str = r"
  steps = [{ weight_percent = 25, pause = { manual = true } }]";

#[test]
fn load_adds_instances_in_the_middle_of_a_canary_and_nobody_notices_either() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = |version: &str| push_hello(&registry.address, version, &[("VERSION", version)]);
    let (one, two) = (image("1"), image("2"));
    let dev = Dev::start();
    let mut app = App::with_policy(&dev, "web", &one, A_QUARTER);
    app.set("replicas", 4);
    let size =
        BY_REQUESTS.replace("min_replicas = 1", "min_replicas = 4").replace("max_replicas = 4", "max_replicas = 8");
    rule(&app, &size);
    app.apply();
    let stable = app.revision(&dev);
    app.set("image", two.as_str());
    app.apply();
    assert_eq!(app.rollout(&dev)["reason"], "ManualStep");
    let gray = |all: &[Instance]| all.iter().filter(|i| i.revision != stable).count();
    assert_eq!(gray(&app.instances(&dev)), 1);

    // 160 a second, of which an instance shall have 20.
    let load = Load::start(dev.gateway, &app.host(), 160, Kind::Greeting);
    has_ready(&dev, &app, 8);
    let all = app.instances(&dev);
    let rollout = app.rollout(&dev);
    assert_eq!((&rollout["phase"], &rollout["weight_percent"]), (&json!("Paused"), &json!(25.0)), "{rollout}");
    assert_eq!(gray(&all), 2, "a quarter of more instances is more: {all:?}");
    let answers: Vec<Value> = (0..400).map(|_| dev.get(&app.host(), "/").unwrap().json()["version"].clone()).collect();
    let came = answers.iter().filter(|version| **version == "2").count();
    // A quarter of 400, and six standard deviations.
    assert!((48..=152).contains(&came), "{came} of 400 requests came to the new revision");
    let output = dev.sampan(&["rollout", "promote", "web/web"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for("the end of the release", DEADLINE, || {
        let rollout = app.rollout(&dev);
        if rollout["phase"] == "Succeeded" { Ok(()) } else { Err(rollout.to_string()) }
    });
    has_ready(&dev, &app, 8);
    assert_eq!(gray(&app.instances(&dev)), 8);
    let report = load.stop();
    assert_eq!(report.failures(), Vec::<&str>::new());
    assert!(report.versions().contains_key("1") && report.versions().contains_key("2"), "{:?}", report.versions());
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
    app.terraform.destroy(&[]);
}

#[test]
fn two_hundred_requests_at_once_wake_an_application_and_none_is_lost() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let dev = Dev::start();
    let mut app = App::new(&dev, "web", &image);
    app.set("replicas", 0);
    rule(
        &app,
        r#"
  min_replicas  = 0
  max_replicas  = 3
  metrics       = { busy = { type = "concurrency", target = 100 } }
  scale_to_zero = { cooldown_seconds = 10 }
  behavior      = { scale_down = { stabilization_window_seconds = 5, period_seconds = 1 } }"#,
    );
    app.apply();
    wait_for("the rule's first look", DEADLINE, || {
        let shown = described(&dev, &app);
        if shown["reason"] == "" { Err(shown.to_string()) } else { Ok(()) }
    });
    assert_eq!(app.instances(&dev), []);

    let (gateway, host, began) = (dev.gateway, app.host(), Instant::now());
    let ask = |_| {
        let host = host.clone();
        std::thread::spawn(move || http::request(gateway, "POST", "/", &[("host", &host)], b"a body"))
    };
    let clients: Vec<_> = (0..200).map(ask).collect();
    let answers: Vec<_> = clients.into_iter().map(|c| c.join().unwrap()).collect();
    let bad: Vec<String> = answers
        .iter()
        .filter_map(|a| match a {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(format!("{} {}", answer.status, answer.text())),
            Err(error) => Some(error.clone()),
        })
        .collect();
    assert_eq!(bad, Vec::<String>::new());
    print(&format!("200 requests from no instance answered in {:?}", began.elapsed()));
    let who: BTreeSet<String> = answers.iter().map(|a| a.as_ref().unwrap().json()["instance"].to_string()).collect();
    assert!(!who.is_empty(), "instances have answered");
    let shown = described(&dev, &app);
    let woken = |d: &Value| d["from"] == 0 && d["reason"].as_str().is_some_and(|r| r.contains("woken up by"));
    assert!(shown["decisions"].as_array().unwrap().iter().any(woken), "{shown}");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
    // And back to none, from where the next request gets its answer too.
    has_ready(&dev, &app, 0);
    assert_eq!(dev.get(&app.host(), "/").unwrap().status, 200);
    app.terraform.destroy(&[]);
}

#[test]
fn a_server_that_was_killed_under_load_comes_back_with_the_same_size() {
    if !require_with("hey") {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let mut dev = Dev::start();
    let mut app = App::new(&dev, "web", &image);
    app.set("replicas", 1);
    rule(&app, BY_REQUESTS);
    app.apply();
    let load = Hey::start(dev.gateway, &app.host(), CLIENTS);
    has_ready(&dev, &app, 4);
    let before = app.instances(&dev);
    dev.kill();
    // No request comes any more, and the new server has seen none.
    load.stop();
    dev.start_again();
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        assert_eq!(described(&dev, &app)["desired"], 4);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(app.instances(&dev), before, "the same instances, untouched");
    app.terraform.destroy(&[]);
}
