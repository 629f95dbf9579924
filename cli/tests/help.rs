//! What the program says about itself.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use common::{run, sampan, text};

#[test]
fn every_verb_explains_itself() {
    let verbs: [&[&str]; 34] = [
        &[],
        &["dev"],
        &["server"],
        &["get"],
        &["describe"],
        &["export"],
        &["logs"],
        &["events"],
        &["exec"],
        &["restart"],
        &["rollout"],
        &["rollout", "status"],
        &["rollout", "promote"],
        &["rollout", "pause"],
        &["rollout", "resume"],
        &["rollout", "abort"],
        &["rollout", "undo"],
        &["rollout", "history"],
        &["token"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
        &["doctor"],
        &["conformance"],
        &["simulate"],
        &["simulate", "scaling"],
        &["lint"],
        &["lint", "rules"],
        &["explain"],
        &["lsp"],
        &["version"],
        &["completions"],
        &["get", "instances"],
        &["get", "revisions"],
    ];
    let mut all = String::new();
    for verb in verbs {
        let output = run(sampan(verb).arg("--help"));
        assert!(output.status.success(), "{verb:?}");
        all.push_str(&format!("$ sampan {}\n{}\n", [verb, &["--help"]].concat().join(" "), text(&output.stdout)));
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn values_of_the_surroundings_are_not_in_the_help() {
    let mut command = sampan(&["get", "--help"]);
    command.env("SAMPAN_TOKEN_FILE", "/very/private").env("SAMPAN_TOKEN", "hunter2").env("SAMPAN_ENDPOINT", "http://h");
    let shown = text(&run(&mut command).stdout);
    assert!(shown.contains("SAMPAN_TOKEN_FILE"));
    assert!(!shown.contains("private") && !shown.contains("hunter2") && !shown.contains("http://h\""), "{shown}");
}

#[test]
fn version_and_completions_are_there() {
    let output = run(&mut sampan(&["version"]));
    assert_eq!(text(&output.stdout), format!("sampan {} (API v1)\n", env!("CARGO_PKG_VERSION")));
    let output = run(&mut sampan(&["version", "-o", "yaml"]));
    assert_eq!(text(&output.stdout), format!("version: \"{}\"\napi_version: v1\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&mut sampan(&["completions", shell]));
        assert!(output.status.success() && text(&output.stdout).contains("conformance"), "{shell}");
    }
}

#[test]
fn doctor_names_each_package() {
    let output = run(&mut sampan(&["doctor", "-o", "json"]));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.success(), report["runc"].as_bool().unwrap());
    for check in report["checks"].as_array().unwrap() {
        assert_ne!(check["ok"].as_bool().unwrap(), !check["fix"].as_str().unwrap().is_empty(), "{check}");
    }
    let table = text(&run(&mut sampan(&["doctor"])).stdout);
    assert!(table.starts_with("CHECK") && table.contains("containerd"), "{table}");
}
