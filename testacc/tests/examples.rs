//! The examples are valid, and their demos run to the end: each fails when it does not show what it promises.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::process::Command;
use std::time::Duration;

use sampan_testacc::process::Process;
use sampan_testacc::{Terraform, dev, print, repository, require, require_terraform};

/// With its start, several releases and its end, on a machine that does other things too.
const DEADLINE: Duration = Duration::from_mins(5);

#[test]
fn every_example_is_valid() {
    if !require_terraform() {
        return;
    }
    for example in ["gray", "gray-lane", "blue-green", "scaling", "environment-schedule"] {
        let terraform = Terraform::new();
        terraform.copy(&format!("examples/{example}"));
        terraform.expect(&["validate"], 0);
    }
}

#[test]
fn the_tests_of_every_example_pass() {
    if !require_terraform() {
        return;
    }
    for example in ["quickstart", "gray", "gray-lane", "blue-green", "scaling"] {
        let terraform = Terraform::new();
        terraform.copy(&format!("examples/{example}"));
        let tests = terraform.path().join("tests");
        std::fs::create_dir(&tests).unwrap();
        let file = repository().join("examples").join(example).join("tests/plan.tftest.hcl");
        std::fs::copy(file, tests.join("plan.tftest.hcl")).unwrap();
        let run = terraform.expect(&["test"], 0).text();
        assert!(run.contains("Success!") && run.contains(" 0 failed"), "{example}: {run}");
    }
}

fn demo(example: &str, promised: &[&str]) {
    if !require() {
        return;
    }
    let folder = tempfile::Builder::new().prefix("sd").tempdir_in("/tmp").unwrap();
    let mut command = Command::new(repository().join("scripts/demo.sh"));
    command.arg(example).env("ONCE", "1").env("DEMO_DIR", folder.path().join("d"));
    command.env("SAMPAN_BIN_DIR", dev::bin_dir());
    let mut process = Process::start(&format!("the demo of {example}"), &mut command);
    // Not killed at the deadline but asked to end: it removes what it has started.
    let status = process.wait(DEADLINE).or_else(|| process.stop(Duration::from_mins(1)));
    let text = process.output();
    assert!(status.is_some_and(|status| status.success()), "{example}: {status:?}\n{text}");
    print(&text);
    for promised in promised {
        assert!(text.contains(promised), "{example} does not show {promised:?}:\n{text}");
    }
    assert!(!folder.path().join("d").exists(), "{example} leaves its folder");
}

#[test]
fn the_demo_of_the_quickstart_runs() {
    demo("quickstart", &["same sandboxes and addresses, new containers", "Destroy complete!"]);
}

#[test]
fn the_demo_of_a_canary_runs() {
    demo("gray", &["sampan rollout promote gray/hello", "AnalysisFailed", "Destroy complete!"]);
}

#[test]
fn the_demo_of_a_lane_runs() {
    demo("gray-lane", &["front   version 2  lane testers", "middle  version 1  lane testers", "Destroy complete!"]);
}

#[test]
fn the_demo_of_blue_and_green_runs() {
    demo("blue-green", &["version 2 answered 20", "another set of instances", "Destroy complete!"]);
}

#[test]
fn the_demo_of_scaling_runs() {
    demo("scaling", &["1 -> 4 ready instances", "requests wanted", "No changes", "answered 200", "Destroy complete!"]);
}
