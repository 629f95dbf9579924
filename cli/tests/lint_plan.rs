//! `sampan lint --plan`: the rules on what Terraform has planned.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::io::Write as _;
use std::process::Stdio;

use common::{run, sampan, text};
use serde_json::{Value, json};

fn change(kind: &str, name: &str, change: &Value) -> Value {
    json!({
        "address": format!("sampan_{kind}.{name}"), "mode": "managed", "type": format!("sampan_{kind}"), "name": name,
        "change": change,
    })
}

fn plan(changes: &[Value]) -> Value {
    json!({ "format_version": "1.2", "planned_values": {}, "resource_changes": changes })
}

fn application(image: &Value, unknown: &Value, sensitive: &Value) -> Value {
    let after = json!({
        "namespace": "shop", "name": "api", "replicas": 2, "resources": { "cpu": "1", "memory": "1Gi" },
        "container": { "image": image, "env": { "DB_PASSWORD": "hunter2-hunter2" },
            "probes": { "readiness": { "http_get": { "path": "/", "port": "80" } } } },
        "id": "shop/api", "last_change_class": "none",
    });
    let after_unknown = json!({ "container": { "image": unknown }, "uid": true, "status": true });
    let after_sensitive = json!({ "container": { "image": sensitive, "env": { "DB_PASSWORD": sensitive } } });
    change(
        "application",
        "api",
        &json!({
            "actions": ["create"], "before": null, "after": after, "after_unknown": after_unknown,
            "after_sensitive": after_sensitive,
        }),
    )
}

/// Exit code, report in JSON, stdout and stderr in the form `human`.
fn lint(plan: &str) -> (i32, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    std::fs::write(&file, plan).unwrap();
    let with = |more: &[&str]| {
        let mut command = sampan(&["lint", "--plan", "plan.json"]);
        run(command.args(more).current_dir(folder.path()))
    };
    let output = with(&["--format", "json"]);
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), report, text(&with(&["-v"]).stdout))
}

fn rules(report: &Value) -> Vec<(&str, &str)> {
    let word = |finding: &'_ Value, key: &str| finding[key].as_str().unwrap().to_owned().leak() as &str;
    let found = report["findings"].as_array().unwrap().iter().filter(|f| f["undetermined"] == false);
    found.map(|f| (word(f, "rule"), word(f, "address"))).collect()
}

#[test]
fn a_plan_is_judged_by_the_same_rules_and_findings_name_the_address() {
    let good_image = json!("registry.example.com/shop/api:1.0");
    let (code, report, _) = lint(
        &plan(&[application(&json!("registry.example.com/shop/api:latest"), &json!(false), &json!(false))]).to_string(),
    );
    assert_eq!(code, 1);
    let api = "sampan_application.api";
    assert_eq!(rules(&report), [("SMP301", api), ("SMP401", api)]);
    assert_eq!((&report["findings"][0]["file"], &report["findings"][0]["line"]), (&json!("plan.json"), &json!(1)));
    assert_eq!(report["summary"]["resources"], 1);
    // What the server refuses is refused here by the same rule of the schema.
    let mut wrong = application(&good_image, &json!(false), &json!(true));
    wrong["change"]["after"]["replicas"] = (-1).into();
    let (code, report, _) = lint(&plan(&[wrong]).to_string());
    assert_eq!((code, rules(&report)), (1, vec![("SMP006", api)]));
}

#[test]
fn what_is_known_after_the_apply_decides_nothing_and_what_is_sensitive_is_not_shown() {
    let (code, report, human) = lint(&plan(&[application(&Value::Null, &json!(true), &json!(true))]).to_string());
    assert_eq!((code, rules(&report)), (0, vec![]), "{human}");
    assert!(human.contains("undetermined: SMP301 sampan_application.api container.image needs the apply"), "{human}");
    let secret = json!("registry.example.com/hush-hush/api:latest");
    let (_, report, human) = lint(&plan(&[application(&secret, &json!(false), &json!(true))]).to_string());
    assert_eq!(rules(&report), [("SMP301", "sampan_application.api")]);
    assert!(!human.contains("hush-hush") && human.contains("has a sensitive value"), "{human}");
    assert!(!human.contains("hunter2") && !report.to_string().contains("hush-hush"), "{human}");
}

#[test]
fn a_production_namespace_that_a_plan_destroys_is_an_error() {
    let values = json!({ "name": "prod" });
    for (actions, found) in [
        (json!(["delete"]), true),
        (json!(["delete", "create"]), true),
        (json!(["create", "delete"]), true),
        (json!(["no-op"]), false),
        (json!(["forget"]), false),
    ] {
        let one = change("namespace", "prod", &json!({ "actions": actions, "before": values, "after": values }));
        let (code, report, _) = lint(&plan(&[one]).to_string());
        let want = if found { vec![("SMP306", "sampan_namespace.prod")] } else { vec![] };
        assert_eq!((code, rules(&report)), (i32::from(found), want), "{actions}");
    }
}

#[test]
fn what_is_no_plan_ends_with_2_and_what_is_not_there_with_3() {
    for (text, part) in [
        ("{}", "no format_version"),
        ("{\"format_version\":\"2.0\",\"resource_changes\":[]}", "format_version"),
        ("{\"format_version\":\"1.0\",\"values\":{}}", "a state and no plan"),
        ("{\"format_version\":\"1.2\",\"errored\":true}", "could not finish"),
        ("{\"format_version\":\"1.2\",\"resource_changes\":[{}]}", "no plan in JSON"),
        ("\u{0}\u{1}", "no plan in JSON"),
    ] {
        let (code, report, _) = lint(text);
        assert_eq!((code, rules(&report)), (2, vec![("SMP908", "")]), "{text}");
        assert!(report["findings"][0]["message"].as_str().unwrap().contains(part), "{text}: {report}");
    }
    let newer = change("future", "x", &json!({ "actions": ["create"], "after": {} }));
    assert_eq!(rules(&lint(&plan(&[newer]).to_string()).1), [("SMP911", "sampan_future.x")]);
    assert_eq!(run(&mut sampan(&["lint", "--plan", "no-such-file"])).status.code(), Some(3));
    assert_eq!(run(&mut sampan(&["lint", "--plan", "-", "folder"])).status.code(), Some(3));
}

#[test]
fn a_plan_comes_through_a_pipe() {
    let text = plan(&[application(&json!("registry.example.com/shop/api:latest"), &json!(false), &json!(true))]);
    let mut command = sampan(&["lint", "--plan", "-", "--format", "compact"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = common::text(&output.stdout);
    assert!(stdout.starts_with("stdin:1:1: warning[SMP301] sampan_application.api: "), "{stdout}");
    assert_eq!(output.status.code(), Some(1));
}
