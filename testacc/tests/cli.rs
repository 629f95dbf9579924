//! The verbs of `sampan` on a running application, as a person uses them.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::time::Duration;

use rustix::process::Signal;
use sampan_testacc::process::Process;
use sampan_testacc::{App, Dev, Registry, push_hello, require, wait_for};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);

/// Exit code, stdout and stderr.
fn sampan(dev: &Dev, args: &[&str]) -> (i32, String, String) {
    let output = dev.sampan(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn shown(dev: &Dev, args: &[&str]) -> String {
    let (code, stdout, stderr) = sampan(dev, args);
    assert_eq!(code, 0, "{args:?}: {stderr}");
    stdout
}

#[test]
fn every_verb_works_on_a_running_application() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let dev = Dev::start();
    let app = App::new(&dev, "verbs", &image);
    app.apply();
    let before = app.instances(&dev);

    let table = shown(&dev, &["get", "apps"]);
    assert!(table.lines().any(|l| l.starts_with("verbs ") && l.contains("2/2") && l.contains(&image)), "{table}");
    let list: Value = serde_json::from_str(&shown(&dev, &["get", "instances", "verbs/verbs", "-o", "json"])).unwrap();
    let ids: Vec<_> = list["items"].as_array().unwrap().iter().map(|i| i["container_id"].clone()).collect();
    assert_eq!(ids, before.iter().map(|i| Value::from(i.container.as_str())).collect::<Vec<_>>());
    assert!(shown(&dev, &["get", "app", "verbs/verbs", "-o", "yaml"]).contains("phase: Running"));

    let told = shown(&dev, &["describe", "app", "verbs/verbs"]);
    for wanted in [&image, &before[0].name, &before[1].ip, "ReleaseSucceeded", "2 wanted, 2 there"] {
        assert!(told.contains(wanted), "no {wanted:?} in\n{told}");
    }
    let events = shown(&dev, &["events", "-n", "verbs"]);
    assert!(events.contains("ReleaseSucceeded"), "{events}");

    // The program of the image prints its start, and has no other binary: exec runs it where its port is taken.
    let log = shown(&dev, &["logs", "verbs/verbs", "--instance", &before[0].name]);
    assert_eq!(log.lines().filter(|l| l.contains("listening on")).count(), 1, "{log}");
    let (code, _, stderr) = sampan(&dev, &["exec", "verbs/verbs", "--", "/bin/hello"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("Address already in use"), "{stderr}");
    let (code, _, stderr) = sampan(&dev, &["exec", "verbs/verbs", "--", "/bin/absent"]);
    assert!(code != 0 && stderr.contains("/bin/absent"), "{code} {stderr}");

    // A log that is followed goes on with the containers that come after a restart.
    let mut follow = Process::start("sampan logs -f", &mut dev.sampan(&["logs", "-f", "verbs/verbs"]));
    let count = |output: &str| output.lines().filter(|l| l.contains("listening on")).count();
    wait_for(
        "the lines of both",
        DEADLINE,
        || if count(&follow.output()) == 2 { Ok(()) } else { Err(follow.output()) },
    );
    let (code, stdout, stderr) = sampan(&dev, &["restart", "verbs/verbs", "--watch"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("Succeeded"), "{stdout}");
    wait_for("the new lines", DEADLINE, || if count(&follow.output()) == 4 { Ok(()) } else { Err(follow.output()) });
    follow.signal(Signal::TERM);
    follow.wait(DEADLINE).unwrap();
    let after = app.instances(&dev);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old.place(), new.place());
        assert_ne!(old.container, new.container);
    }
    let status = shown(&dev, &["rollout", "status", "verbs/verbs"]);
    assert!(status.contains("verbs/verbs: Succeeded"), "{status}");
    let revisions = shown(&dev, &["get", "revisions", "verbs/verbs"]);
    assert!(revisions.contains(&app.revision(&dev)), "{revisions}");

    let (code, _, stderr) = sampan(&dev, &["describe", "app", "verbs/absent"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("\"verbs/absent\" does not exist"), "{stderr}");
}
