//! Releases under real load and under gray policies: who gets what, who notices, and how a bad one comes back.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sampan_testacc::app::Instance;
use sampan_testacc::hey::{Client, Hey};
use sampan_testacc::load::{Kind, Load, Outcome};
use sampan_testacc::{App, Dev, Registry, print, push_hello, require, require_with, wait_for};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_mins(1);

/// 500 requests a second in all: kept and new connections, and some that take their time.
const CLIENTS: &[Client<'_>] = &[
    Client { workers: 20, rate: 10, path: "/", options: &[] },
    Client { workers: 20, rate: 10, path: "/", options: &["-m", "POST", "-d", "a body"] },
    Client { workers: 8, rate: 10, path: "/", options: &["-disable-keepalive"] },
    Client { workers: 20, rate: 1, path: "/slow?ms=500", options: &[] },
];

/// Versions 0, 1, … as images whose answers say so.
fn versions(registry: &Registry, number: usize) -> Vec<String> {
    let push = |version: usize| {
        let version = version.to_string();
        push_hello(&registry.address, &version, &[("VERSION", &version)])
    };
    (0..number).map(push).collect()
}

fn sandboxes(all: &[Instance]) -> Vec<&str> {
    all.iter().map(|instance| instance.sandbox.as_str()).collect()
}

/// Releases every image but the first, which is there, one after the other under load. The first and the last go by
/// Terraform, the others past it, for speed. `check` sees the instances before and after each.
fn release_all(dev: &Dev, app: &mut App, images: &[String], check: impl Fn(&[Instance], &[Instance])) {
    let load = Hey::start(dev.gateway, &app.host(), CLIENTS);
    let began = Instant::now();
    let mut before = app.instances(dev);
    for (number, image) in images.iter().enumerate().skip(1) {
        if number == 1 || number + 1 == images.len() {
            app.set("image", image.as_str());
            app.apply();
        } else {
            app.release(dev, image, DEADLINE);
        }
        let after = app.instances(dev);
        check(&before, &after);
        assert_eq!(dev.get(&app.host(), "/").unwrap().json()["version"], number.to_string());
        before = after;
    }
    let took = began.elapsed();
    let report = load.stop();
    print(&format!("{} releases in {took:?} under {:?}", images.len() - 1, report.statuses));
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(report.statuses.keys().collect::<Vec<_>>(), [&200], "{:?}", report.statuses);
    assert!(report.statuses[&200] > 1000, "that was no load: {:?}", report.statuses);
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
}

#[test]
fn twenty_releases_in_place_under_500_requests_a_second_lose_none() {
    if !require_with("hey") {
        return;
    }
    let registry = Registry::start();
    let images = versions(&registry, 21);
    let dev = Dev::start();
    let mut app = App::new(&dev, "web", &images[0]);
    app.apply();
    release_all(&dev, &mut app, &images, |before, after| {
        assert_eq!(sandboxes(before), sandboxes(after), "sandboxes stay");
        for (old, new) in before.iter().zip(after) {
            assert_ne!(old.container, new.container, "the container is a new one");
        }
    });
}

#[test]
fn twenty_blue_green_releases_under_500_requests_a_second_lose_none() {
    if !require_with("hey") {
        return;
    }
    let registry = Registry::start();
    let images = versions(&registry, 21);
    let dev = Dev::start();
    let policy = r#"
  strategy                 = "blue_green"
  steps                    = [{}]
  scale_down_delay_seconds = 0"#;
    let mut app = App::with_policy(&dev, "web", &images[0], policy);
    app.apply();
    release_all(&dev, &mut app, &images, |before, after| {
        assert_eq!(after.len(), 2, "the old set is gone: {after:?}");
        assert!(sandboxes(after).iter().all(|new| !sandboxes(before).contains(new)), "{before:?} became {after:?}");
    });
}

const CANARY: &str = r#"
  capacity   = "extra"
  on_failure = "rollback"
  steps      = [{ weight_percent = 20 }]
  analysis = {
    errors = { type = "error_rate", interval_seconds = 3, failure_limit = 1, min_samples = 20 }
  }"#;

#[test]
fn a_canary_that_fails_its_callers_is_rolled_back_by_itself_and_most_callers_never_see_it() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let good = push_hello(&registry.address, "good", &[("VERSION", "good")]);
    let bad = push_hello(&registry.address, "bad", &[("VERSION", "bad"), ("FAIL_PERCENT", "100")]);
    let dev = Dev::start();
    let mut app = App::with_policy(&dev, "web", &good, CANARY);
    app.apply();
    let before = app.instances(&dev);
    let load = Load::start(dev.gateway, &app.host(), 200, Kind::Greeting);
    wait_for(
        "answers under load",
        DEADLINE,
        || {
            if load.answered() >= 100 { Ok(()) } else { Err("too few".to_owned()) }
        },
    );

    app.set("image", bad.as_str());
    let run = app.terraform.run(&["apply", "-auto-approve"]);
    assert_eq!(run.exit, 1, "{}", run.text());
    for part in ["AnalysisFailed", "errors: ", "rolled back to revision"] {
        assert!(run.text().contains(part), "the error does not say {part}: {}", run.text());
    }
    assert_eq!(app.rollout(&dev)["phase"], "RolledBack");
    assert_eq!(app.instances(&dev), before, "stable is as it was, and gray is gone");
    let (over, enough) = (Instant::now(), load.answered() + 200);
    wait_for("answers after the rollback", DEADLINE, || {
        let answered = load.answered();
        if answered >= enough { Ok(()) } else { Err(answered.to_string()) }
    });
    judge_the_damage(&load.stop().0, over);
}

/// A server beside the cluster that answers every request with this status, and keeps what it was sent.
fn gate(status: u16) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(DEADLINE));
            let (mut text, mut part) = (String::new(), [0; 4096]);
            // The body is one JSON object and comes last.
            while !text.contains("\r\n\r\n") || !text.ends_with('}') {
                let Ok(n) = stream.read(&mut part) else { break };
                if n == 0 {
                    break;
                }
                text.push_str(&String::from_utf8_lossy(&part[..n]));
            }
            told.lock().unwrap().push(text);
            let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, heard)
}

/// A canary that a webhook judges, with a token out of a secret.
fn gated(address: SocketAddr) -> String {
    format!(
        r#"
  on_failure = "rollback"
  steps      = [{{ weight_percent = 20 }}]
  analysis = {{
    gate = {{
      type = "webhook", url = "http://{address}/gate", interval_seconds = 1, failure_limit = 1
      auth_secret = sampan_secret.gate.name
    }}
  }}
}}
resource "sampan_secret" "gate" {{
  namespace  = sampan_namespace.web.name
  name       = "gate"
  data_wo    = {{ token = "sesame" }}
  wo_version = 1"#
    )
}

#[test]
fn a_webhook_that_says_no_takes_a_release_back_and_one_that_says_yes_lets_it_through() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let images = versions(&registry, 2);
    let ((no, told), (yes, agreed)) = (gate(500), gate(204));
    let dev = Dev::start();
    let mut app = App::with_policy(&dev, "web", &images[0], &gated(no));
    app.apply();
    let before = app.revision(&dev);
    app.set("image", images[1].as_str());
    let run = app.terraform.run(&["apply", "-auto-approve"]);
    assert_eq!(run.exit, 1, "{}", run.text());
    for part in ["AnalysisFailed", "gate: the webhook answered 500", "rolled back to revision"] {
        assert!(run.text().contains(part), "the error does not say {part}: {}", run.text());
    }
    assert!(!run.text().contains("sesame"), "{}", run.text());
    let back = app.rollout(&dev);
    assert_eq!((&back["phase"], &back["stable_revision"]), (&"RolledBack".into(), &before.as_str().into()), "{back}");
    assert!(app.instances(&dev).iter().all(|instance| instance.revision == before), "{:?}", app.instances(&dev));
    let request = told.lock().unwrap().first().cloned().expect("nobody was asked");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /gate HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer sesame"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["namespace"], &body["application"], &body["step"], &body["analysis"], &body["stable_revision"]),
        (&"web".into(), &"web".into(), &1.into(), &"gate".into(), &before.as_str().into()),
        "{body}"
    );

    app.set_policy(&gated(yes));
    app.apply();
    assert_eq!(app.rollout(&dev)["phase"], "Succeeded");
    assert!(!agreed.lock().unwrap().is_empty(), "nobody was asked");
    all_get(&dev, &app, "1");
    app.terraform.destroy(&[]);
}

/// While the analysis looked, one request in five failed; before and afterwards none.
fn judge_the_damage(all: &[Outcome], over: Instant) {
    let failed: Vec<&Outcome> = all.iter().filter(|outcome| outcome.result.is_err()).collect();
    for outcome in &failed {
        let text = outcome.result.as_ref().unwrap_err();
        assert!(text.contains("500 FAIL_PERCENT"), "not an answer of gray: {text}");
        assert!(outcome.began < over, "failed after the rollback: {text}");
    }
    let first = failed.iter().map(|outcome| outcome.began).min().expect("gray was asked");
    let last = failed.iter().map(|outcome| outcome.ended).max().unwrap();
    let during = all.iter().filter(|outcome| outcome.ended >= first && outcome.began <= last).count();
    print(&format!(
        "{} of {during} requests failed in a window of {:?}, of {} in all",
        failed.len(),
        last - first,
        all.len()
    ));
    // Shares are exact within a request or two, and so are the window's two edges.
    assert!(failed.len() <= during / 5 + 5, "{} of {during} requests failed", failed.len());
}

/// The second step ends by itself long after every test has.
const MANUAL: &str = "
  steps = [
    { weight_percent = 25, pause = { manual = true } },
    { weight_percent = 50, pause = { duration_seconds = 86400 } },
  ]";

/// Keys of `sampan rollout status -o json`, as the guide has them.
const STATUS: [&str; 15] = [
    "analysis",
    "message",
    "operation",
    "phase",
    "queued",
    "ready",
    "reason",
    "revision",
    "stable_revision",
    "step",
    "total_steps",
    "updated",
    "wanted",
    "weight_limited_by",
    "weight_percent",
];

fn rollout(dev: &Dev, args: &[&str]) -> String {
    let output = dev.sampan(&[&["rollout"], args].concat()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "sampan rollout {}: {text}{error}", args.join(" "));
    text
}

/// Waits until the release is in this phase, with this reason unless it is empty.
fn reaches(dev: &Dev, app: &App, phase: &str, reason: &str) -> Value {
    wait_for(&format!("{phase} {reason}"), DEADLINE, || {
        let now = app.rollout(dev);
        let there = now["phase"] == phase && (reason.is_empty() || now["reason"] == reason);
        if there { Ok(now) } else { Err(now.to_string()) }
    })
}

/// Number of answers by version and by the revision in the header, of so many requests.
fn shares(dev: &Dev, app: &App, requests: usize) -> BTreeMap<(String, String), usize> {
    let mut found = BTreeMap::new();
    for _ in 0..requests {
        let answer = dev.get(&app.host(), "/").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let version = answer.json()["version"].as_str().unwrap().to_owned();
        let revision = answer.header("x-sampan-revision").unwrap_or_default().to_owned();
        *found.entry((version, revision)).or_default() += 1;
    }
    found
}

/// Everybody gets this version.
fn all_get(dev: &Dev, app: &App, version: &str) {
    let found = shares(dev, app, 40);
    assert!(found.keys().all(|(found, _)| found == version), "not {version} alone: {found:?}");
}

#[test]
fn a_manual_step_is_promoted_paused_resumed_aborted_and_undone_from_the_command_line() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let images = versions(&registry, 3);
    let dev = Dev::start();
    let mut app = App::with_policy(&dev, "web", &images[0], MANUAL);
    app.set("replicas", 4);
    app.apply();
    let first = app.instances(&dev);
    all_get(&dev, &app, "0");

    release_up_to_the_step(&dev, &mut app, &images[1]);
    a_quarter_of_the_requests_is_gray(&dev, &app);
    rollout(&dev, &["promote", "web/web"]);
    let second = reaches(&dev, &app, "Verifying", "");
    assert_eq!((&second["step"], &second["weight_percent"], &second["ready"]), (&2.into(), &50.0.into(), &2.into()));
    rollout(&dev, &["pause", "web/web"]);
    reaches(&dev, &app, "Paused", "UserPaused");
    assert_eq!(shares(&dev, &app, 40).len(), 2, "what is reached stays");
    rollout(&dev, &["resume", "web/web"]);
    reaches(&dev, &app, "Verifying", "");
    rollout(&dev, &["promote", "web/web"]);
    let over = reaches(&dev, &app, "Succeeded", "");
    assert_eq!((&over["step"], &over["weight_limited_by"]), (&0.into(), &"".into()), "{over}");
    all_get(&dev, &app, "1");
    assert_eq!(sandboxes(&app.instances(&dev)), sandboxes(&first), "gray was made in place");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));

    aborted_everything_is_as_before(&dev, &mut app, &images[2]);
    undone_the_plan_shows_the_difference(&dev, &mut app, &images);
    app.terraform.destroy(&[]);
}

fn release_up_to_the_step(dev: &Dev, app: &mut App, image: &str) {
    app.set("image", image);
    let run = app.terraform.apply(&[]);
    assert!(run.text().contains("Warning: "), "{}", run.text());
    assert!(run.text().contains("sampan rollout promote web/web"), "{}", run.text());
    reaches(dev, app, "Paused", "ManualStep");
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()), "a release that waits is no difference");
}

fn a_quarter_of_the_requests_is_gray(dev: &Dev, app: &App) {
    let status: Value = serde_json::from_str(&rollout(dev, &["status", "web/web", "-o", "json"])).unwrap();
    let mut keys: Vec<&String> = status.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, STATUS, "{status}");
    let numbers = ["step", "total_steps", "wanted", "updated", "ready"].map(|key| status[key].as_u64().unwrap());
    assert_eq!((numbers, status["weight_percent"].as_f64()), ([1, 3, 1, 1, 1], Some(25.0)), "{status}");
    let text = |key: &str| status[key].as_str().unwrap().to_owned();
    let (gray, stable) = (text("revision"), text("stable_revision"));
    assert_ne!(gray, stable);

    let found = shares(dev, app, 200);
    let both = [("0".to_owned(), stable), ("1".to_owned(), gray)];
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), both, "version and revision of every answer");
    // The weight is exact within a request or two; what else asks meanwhile may take some of its turns.
    let share = found[&both[1]];
    assert!((40..=60).contains(&share), "{share} of 200 requests were gray: {found:?}");
}

fn aborted_everything_is_as_before(dev: &Dev, app: &mut App, image: &str) {
    release_up_to_the_step(dev, app, image);
    assert_eq!(shares(dev, app, 40).len(), 2);
    rollout(dev, &["abort", "web/web"]);
    let over = reaches(dev, app, "Aborted", "");
    assert_eq!((&over["step"], &over["weight_percent"]), (&0.into(), &0.0.into()), "{over}");
    all_get(dev, app, "1");
    let instances = app.instances(dev);
    assert_eq!(instances.len(), 4, "{instances:?}");
    assert!(instances.iter().all(|instance| instance.ready && instance.revision == app.revision(dev)), "{instances:?}");
    // What nobody can go on with any more is refused, with the reason.
    let output = dev.sampan(&["rollout", "promote", "web/web"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("no release is under way"), "{text}");
}

fn undone_the_plan_shows_the_difference(dev: &Dev, app: &mut App, images: &[String]) {
    app.set("image", images[1].as_str());
    app.apply();
    reaches(dev, app, "Succeeded", "");
    rollout(dev, &["undo", "web/web"]);
    wait_for("the version before", DEADLINE, || {
        let found = shares(dev, app, 20);
        if found.keys().all(|(version, _)| version == "0") { Ok(()) } else { Err(format!("{found:?}")) }
    });
    reaches(dev, app, "Succeeded", "");
    assert!(app.instances(dev).iter().all(|instance| instance.revision == app.revision(dev)));
    let plan = app.terraform.run(&["plan", "-detailed-exitcode"]);
    assert_eq!(plan.exit, 2, "the configuration still has the image that was undone: {}", plan.text());
    assert!(plan.text().contains(&images[1]), "{}", plan.text());
    app.set("image", images[0].as_str());
    let back = app.terraform.apply(&[]);
    assert!(back.text().contains("Apply complete"), "{}", back.text());
    all_get(dev, app, "0");
}
