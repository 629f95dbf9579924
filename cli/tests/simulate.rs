//! `sampan simulate scaling`: needs no server, and its result is the one that others compare.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use common::{run, sampan, text};
use serde_json::Value;

#[test]
fn a_trace_is_simulated_with_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv");
    // An hour of 10, then an hour of 40: one instance carries 1.
    std::fs::write(&path, "timestamp,value\n2026-01-05 00:00:00,10\n2026-01-05 01:00:00,10\n2026-01-05 01:01:00,40\n2026-01-05 02:00:00,40\n").unwrap();
    let of = |policy: &str| -> Value {
        let args = ["simulate", "scaling", "--policy", policy, "-o", "json", "--trace"];
        let output = run(sampan(&args).arg(&path));
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let reactive = of("reactive");
    let names: Vec<&String> = reactive.as_object().unwrap().keys().collect();
    assert_eq!(names, ["minutes_short", "work_lost", "instance_hours", "changes", "gate_open_share"]);
    assert_eq!(reactive, of("both"), "two hours are no season");
    assert!((1..=15).contains(&reactive["minutes_short"].as_u64().unwrap()), "{reactive}");
    let fixed = of("fixed=40");
    assert_eq!((fixed["minutes_short"].as_u64(), fixed["changes"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn what_is_wrong_with_a_trace_is_said_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv");
    std::fs::write(&path, "timestamp,value\n2026-01-05 00:00:00,10\n2026-01-05 00:05:00,many\n").unwrap();
    let output = run(sampan(&["simulate", "scaling", "--trace"]).arg(&path));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("line 3: \"many\" is no load"), "{said}");
    for wrong in [["--policy", "best"], ["--capacity", "0"], ["--capacity", "NaN"], ["--days", "0"], ["--min", "200"]] {
        let output = run(sampan(&["simulate", "scaling"]).args(wrong));
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
