//! Environment schedules with the real Terraform and real containers.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::time::Duration;

use sampan_testacc::{App, Dev, Registry, push_hello, require, wait_for};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_mins(4);

/// Its window is now, whenever that is: since the last even minute, until the next 29th of February.
const STOPPED: &str = r#"
  stop  = "*/2 * * * *"
  start = "1 0 29 2 *""#;
/// The other way round.
const RUNNING: &str = r#"
  stop  = "1 0 29 2 *"
  start = "*/2 * * * *""#;

fn schedule(app: &App, attributes: &str) {
    let name = &app.name;
    let text = format!(
        "resource \"sampan_environment_schedule\" \"{name}\" {{\n  namespace = sampan_namespace.{name}.name\n  \
         name      = \"nights\"\n  selector  = {{ applications = [sampan_application.{name}.name] }}\n{attributes}\n}}\n"
    );
    app.terraform.write("schedule.tf", &text);
}

fn has(dev: &Dev, app: &App, n: usize) {
    wait_for(&format!("{n} ready instances"), DEADLINE, || {
        let all = app.instances(dev);
        if all.len() == n && all.iter().all(|i| i.ready) { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

/// The applied configuration is what there is, with so many containers, and the gateway answers so.
fn stands(dev: &Dev, app: &App, instances: usize, answer: u16) {
    app.apply();
    has(dev, app, instances);
    wait_for("the answer of the gateway", DEADLINE, || match dev.get(&app.host(), "/") {
        Ok(found) if found.status == answer => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(app.terraform.plan_is_empty(&[]), Ok(()));
    assert_eq!(app.terraform.refresh_is_empty(&[]), Ok(()));
    let running = sampan_node::leftovers(&dev.data_dir).iter().filter(|l| l.starts_with("shim process")).count();
    assert_eq!(running > 0, instances > 0, "{running} shims with {instances} instances");
}

fn said(dev: &Dev, args: &[&str]) -> String {
    let output = dev.sampan(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_schedule_stops_containers_and_starts_them_and_the_plan_is_empty_all_the_time() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let mut dev = Dev::start();
    let app = App::new(&dev, "web", &image);
    app.apply();
    has(&dev, &app, 2);
    schedule(&app, STOPPED);
    stands(&dev, &app, 0, 503);
    let text = said(&dev, &["describe", "application", "web/web"]);
    assert!(text.contains("Stopped") && text.contains("stopped by schedule nights until 20"), "{text}");
    let text = said(&dev, &["get", "applications", "-n", "web"]);
    assert!(text.contains("stopped by schedule nights until "), "{text}");
    let text = said(&dev, &["get", "schedules", "-n", "web"]);
    assert!(text.contains("Stopped") && text.contains("1/1"), "{text}");
    let replicas = dev.api("GET", "/v1/namespaces/web/applications/web", &Value::Null).json()["replicas"].clone();
    assert_eq!(replicas, 2, "the spec stays as it was written");

    // The server that comes back knows it by its clock.
    dev.kill();
    dev.start_again();
    stands(&dev, &app, 0, 503);
    schedule(&app, &format!("{STOPPED}\n  enabled = false"));
    stands(&dev, &app, 2, 200);
    schedule(&app, STOPPED);
    stands(&dev, &app, 0, 503);
    schedule(&app, RUNNING);
    stands(&dev, &app, 2, 200);
    let events = said(&dev, &["events", "-n", "web", "-o", "json"]);
    for reason in ["Stopping", "Starting", "Stopped", "Started"] {
        assert!(events.contains(&format!("\"{reason}\"")), "no event {reason}: {events}");
    }
    app.terraform.destroy(&[]);
}
