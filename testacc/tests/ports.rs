//! A port that changes together with the program: each container is asked at the port of its own revision.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeMap;
use std::time::Duration;

use sampan_testacc::load::{Kind, Load};
use sampan_testacc::{App, Dev, Registry, push_hello, require, wait_for};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_port_that_moves_with_an_update_loses_no_request_and_a_failed_one_keeps_the_old_port_serving() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[("VERSION", "1")]);
    let dev = Dev::start();
    let mut app = App::new(&dev, "ports", &image);
    app.apply();
    let load = Load::start(dev.gateway, &app.host(), 100, Kind::Mixed);
    let answered = |n: u32| {
        wait_for("answers", DEADLINE, || if load.answered() >= n { Ok(()) } else { Err(load.answered().to_string()) });
    };
    answered(50);
    app.set("env", json!({ "PORT": "9090", "VERSION": "2" }));
    app.set("port", 9090);
    app.apply();
    answered(load.answered() + 50);

    // The next revision listens at a third port and is never ready: those of the second keep theirs.
    app.set("env", json!({ "PORT": "9191", "VERSION": "3", "READY": "false" }));
    app.set("port", 9191);
    app.set("deadline", 5);
    let run = app.terraform.run(&["apply", "-auto-approve"]);
    assert_eq!(run.exit, 1, "{}", run.text());
    answered(load.answered() + 50);
    let report = load.stop();
    assert_eq!(report.failures(), Vec::<&str>::new());
    let versions: BTreeMap<String, usize> = report.versions();
    assert_eq!(versions.keys().collect::<Vec<_>>(), ["1", "2"], "{versions:?}");
}
