//! `sampan rollout` against a server that answers as the test wants.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Server, run, sampan, text};
use serde_json::{Value, json};

const WEB: &str = "/v1/namespaces/a/applications/web";

/// One look at the application: its rollout, and the phase of the newest operation and its id.
#[derive(Clone)]
struct Look {
    status: u16,
    rollout: Value,
    operation: Option<(&'static str, &'static str)>,
}

fn rollout(phase: &str, step: u32, updated: u64, operation: &str) -> Value {
    json!({
        "phase": phase, "step": step, "total_steps": 3, "weight_percent": f64::from(step) * 5.0,
        "weight_limited_by": "", "revision": "bbbb", "stable_revision": "aaaa", "reason": "", "message": "",
        "operation": operation, "queued": "", "wanted": 4, "updated": updated, "ready": updated, "analysis": [],
    })
}

fn look(phase: &str, step: u32, updated: u64, operation: (&'static str, &'static str)) -> Look {
    Look { status: 200, rollout: rollout(phase, step, updated, operation.0), operation: Some(operation) }
}

fn problem(status: u16, code: &str, detail: &str, more: &Value) -> (u16, String) {
    let mut body = json!({ "type": "about:blank", "status": status, "code": code, "title": "no", "detail": detail });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (status, body.to_string())
}

/// A server that shows one look after the other, the last one for ever.
fn looks(looks: Vec<Look>) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |target, _, _| {
        let at = |n: usize| looks[n.min(looks.len() - 1)].clone();
        let now = || at(asked.load(Ordering::SeqCst).saturating_sub(1));
        if target == format!("GET {WEB}/rollout") {
            let look = at(asked.fetch_add(1, Ordering::SeqCst));
            return match look.status {
                200 => (200, look.rollout.to_string()),
                404 => problem(404, "NOT_FOUND", "gone", &json!({ "kind": "application" })),
                status => problem(status, "INTERNAL", "broken", &json!({})),
            };
        }
        if target == format!("GET {WEB}") {
            let last = now().operation.map(|(id, phase)| json!({ "id": id, "phase": phase }));
            return (200, json!({ "id": "a/web", "status": { "last_operation": last } }).to_string());
        }
        let (id, phase) = now().operation.unwrap();
        assert_eq!(target, format!("GET /v1/operations/{id}?wait=0"));
        let kind = if id == "gone" { "delete" } else { "deploy" };
        let operation = json!({ "id": id, "kind": kind, "namespace": "a", "name": "web", "phase": phase });
        (200, operation.to_string())
    })
}

fn rollout_of(server: &Server, args: &[&str]) -> Output {
    let endpoint = server.endpoint();
    let args = [&["rollout"], args, &["--endpoint", &endpoint]].concat();
    run(&mut sampan(&args))
}

/// Exit code, stderr and stdout.
fn told(output: &Output) -> String {
    format!("{}\n{}---\n{}", output.status.code().unwrap(), text(&output.stderr), text(&output.stdout))
}

#[test]
fn status_is_a_page_for_people_and_the_api_object_for_programs() {
    let mut paused = look("Paused", 1, 1, ("one", "Paused"));
    paused.rollout["reason"] = "ManualStep".into();
    paused.rollout["message"] = "step 1 of 3 waits for a user: sampan rollout promote a/web".into();
    paused.rollout["analysis"] = json!([{ "name": "errors", "result": "Passed", "message": "0 % against 0 %" }]);
    let server = looks(vec![paused.clone()]);
    insta::assert_snapshot!(told(&rollout_of(&server, &["status", "a/web"])));
    let output = rollout_of(&server, &["status", "web", "-n", "a", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown, paused.rollout);
    let output = rollout_of(&server, &["status", "a/web", "-o", "yaml"]);
    assert!(text(&output.stdout).starts_with("phase: Paused\nstep: 1\ntotal_steps: 3\n"), "{output:?}");
    // A release that has failed is an answer, not a failure of the question.
    let output = rollout_of(&looks(vec![look("Failed", 0, 1, ("one", "Failed"))]), &["status", "a/web"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_application_that_was_never_released_has_none() {
    let none = Look { status: 200, rollout: json!({ "phase": "None" }), operation: None };
    for more in [&[][..], &["--watch"]] {
        let output = rollout_of(&looks(vec![none.clone()]), &[&["status", "a/web"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(text(&output.stdout), "a/web has had no release\n");
    }
}

#[test]
fn a_watch_tells_changes_and_ends_with_the_release() {
    // The newest operation has not begun yet, a server that fails for a moment is asked again, and the same state is
    // said once.
    let server = looks(vec![
        Look { operation: Some(("two", "Pending")), ..look("Succeeded", 0, 4, ("one", "Succeeded")) },
        look("Updating", 1, 0, ("two", "Running")),
        look("Updating", 1, 0, ("two", "Running")),
        Look { status: 500, ..look("", 0, 0, ("two", "Running")) },
        look("Verifying", 1, 1, ("two", "Running")),
        look("Succeeded", 0, 4, ("two", "Succeeded")),
    ]);
    let output = rollout_of(&server, &["status", "a/web", "--watch", "--timeout", "1m"]);
    insta::assert_snapshot!(told(&output));
}

#[test]
fn a_watch_fails_with_a_release_that_came_back() {
    for (phase, op) in [("Failed", "Failed"), ("RolledBack", "RolledBack"), ("Aborted", "Aborted")] {
        let mut end = look(phase, 0, 0, ("two", op));
        end.rollout["reason"] = "AnalysisFailed".into();
        let left = if phase == "Failed" { "0/4 updated, 0 ready" } else { "0 still on revision bbbb" };
        let server = looks(vec![look("RollingBack", 1, 1, ("two", "Running")), end]);
        let output = rollout_of(&server, &["status", "a/web", "--watch", "-o", "json"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["phase"], phase);
        assert!(text(&output.stderr).ends_with(&format!("{phase}, {left}; AnalysisFailed\n")), "{output:?}");
    }
}

#[test]
fn a_watch_ends_with_a_pause_that_lasts() {
    let mut paused = look("Paused", 1, 1, ("two", "Paused"));
    paused.rollout["reason"] = "ManualStep".into();
    let mut second = look("Paused", 2, 2, ("two", "Paused"));
    second.rollout["reason"] = "ManualStep".into();
    // Promoted a moment ago: the first look is still the old pause.
    let server = looks(vec![paused, look("Updating", 2, 1, ("two", "Running")), second]);
    let output = rollout_of(&server, &["status", "a/web", "--watch"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("step:      2 of 3") && shown.contains("sampan rollout promote a/web"), "{shown}");
}

#[test]
fn a_watch_ends_at_its_limit_with_what_it_saw() {
    let server = looks(vec![look("Updating", 1, 0, ("two", "Running"))]);
    let output = rollout_of(&server, &["status", "a/web", "--watch", "--timeout", "5s"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    assert!(shown.contains("error: a/web: not over within 5 s: deploy of a/web: Updating, step 1 of 3"), "{shown}");
    assert!(text(&output.stdout).contains("phase:     Updating"), "{output:?}");
}

#[test]
fn a_watch_of_what_is_deleted_ends_well_and_of_what_is_absent_does_not() {
    let absent = Look { status: 404, ..look("", 0, 0, ("gone", "Running")) };
    let deleting = Look { operation: Some(("gone", "Running")), ..look("Succeeded", 0, 4, ("one", "Succeeded")) };
    let output = rollout_of(&looks(vec![deleting, absent.clone()]), &["status", "a/web", "--watch"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "a/web is deleted\n".into()));
    let output = rollout_of(&looks(vec![absent]), &["status", "a/web", "--watch"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn verbs_are_sent_and_say_what_happens_now() {
    let server = Server::start(|target, _, body| {
        assert_eq!(target.split('/').nth_back(1), Some("rollout"), "{target} {body}");
        let status = if target.ends_with("pause") { 200 } else { 202 };
        (status, rollout("Paused", 1, 1, "two").to_string())
    });
    let mut all = String::new();
    for args in [
        &["promote", "a/web"][..],
        &["promote", "a/web", "--full"],
        &["promote", "a/web", "--step", "1"],
        &["pause", "web", "-n", "a"],
        &["resume", "a/web"],
        &["abort", "a/web"],
    ] {
        let output = rollout_of(&server, args);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{args:?}");
        all.push_str(&text(&output.stdout));
    }
    let sent: Vec<_> = server.requests.lock().unwrap().iter().filter(|r| r.starts_with("POST")).cloned().collect();
    insta::assert_snapshot!(format!("{all}---\n{}", sent.join("\n")));
    let output = rollout_of(&server, &["abort", "a/web", "-o", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["stable_revision"], "aaaa");
}

#[test]
fn a_refused_verb_ends_with_1_and_names_the_operation() {
    let server = Server::start(|_, _, _| {
        let detail = "application a/web: no release is under way";
        problem(409, "NO_RELEASE", detail, &json!({ "operation_id": "two" }))
    });
    for verb in ["promote", "pause", "resume", "abort", "undo"] {
        let output = rollout_of(&server, &[verb, "a/web"]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        let shown = text(&output.stderr);
        assert!(shown.contains("what: application a/web: no release is under way"), "{shown}");
        assert!(shown.contains("\n  operation: two\n") && output.stdout.is_empty(), "{shown}");
    }
}

/// A server whose rollback ends with the phase, after one look at it under way.
fn goes_back(phase: &'static str) -> Server {
    let operation = |phase: &str| {
        json!({ "id": "back", "kind": "rollback", "namespace": "a", "name": "web", "phase": phase,
                "progress": { "total": 2, "updated": 1, "ready": 1, "failing": [] } })
    };
    let asked = AtomicUsize::new(0);
    Server::start(move |target, _, _| {
        if target == format!("POST {WEB}/rollback") {
            return (202, json!({ "operation": operation("Pending") }).to_string());
        }
        assert_eq!(target, "GET /v1/operations/back?wait=30");
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        (200, operation(if first { "Running" } else { phase }).to_string())
    })
}

#[test]
fn undo_starts_an_operation_and_follows_it_when_asked() {
    let server = goes_back("Succeeded");
    let output = rollout_of(&server, &["undo", "a/web"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (
            Some(0),
            "operation back returns a/web to the revision before; follow it: sampan rollout status a/web --watch\n"
                .into()
        )
    );
    insta::assert_snapshot!(told(&rollout_of(&server, &["undo", "a/web", "--to", "3", "--wait"])), @r"
    0
    rollback of a/web: Pending, 1/2 updated, 1 ready
    rollback of a/web: Running, 1/2 updated, 1 ready
    rollback of a/web: Succeeded, 1/2 updated, 1 ready
    ---
    rollback of a/web: Succeeded, 1/2 updated, 1 ready
    ");
    let sent = server.requests.lock().unwrap();
    let sent: Vec<_> = sent.iter().filter(|r| r.starts_with("POST")).collect();
    assert_eq!(*sent, [&format!("POST {WEB}/rollback {{}}"), &format!("POST {WEB}/rollback {{\"to_revision\":3}}")]);
    let output = rollout_of(&goes_back("Failed"), &["undo", "a/web", "--wait"]);
    assert_eq!(output.status.code(), Some(1));
    let output = rollout_of(&goes_back("Running"), &["undo", "a/web", "--wait", "--timeout", "1500ms"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    assert!(shown.contains("error: operation back of a/web has not ended within 1.5 s and goes on"), "{shown}");
}

#[test]
fn a_revision_that_is_not_there_leads_to_the_history() {
    let server = Server::start(|_, _, _| problem(404, "NOT_FOUND", "revision a/web 9", &json!({ "kind": "revision" })));
    let output = rollout_of(&server, &["undo", "a/web", "--to", "9"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`sampan rollout history APP`"), "{output:?}");
}

#[test]
fn history_marks_the_stable_and_the_released_revision() {
    let revisions = || json!([revision(2, "bbbb"), revision(1, "aaaa")]);
    fn revision(number: u64, hash: &str) -> Value {
        json!({ "hash": hash, "number": number, "spec_hash": "", "sandbox_hash": "", "image": "r.test/web:1",
                "image_digest": "sha256:0123456789abcdef", "created_at": 0 })
    }
    let server = Server::start(move |target, _, _| {
        let body = match target.strip_prefix(&format!("GET {WEB}")).unwrap() {
            "" => json!({ "id": "a/web", "status": { "current_revision": "aaaa" } }),
            "/rollout" => rollout("Paused", 1, 1, "two"),
            "/revisions" => json!({ "items": revisions() }),
            other => panic!("{other}"),
        };
        (200, body.to_string())
    });
    insta::assert_snapshot!(told(&rollout_of(&server, &["history", "a/web"])), @r"
    0
    ---
    NUMBER  HASH  IMAGE         DIGEST               AGE  STATE
    2       bbbb  r.test/web:1  sha256:0123456789ab  -    release Paused
    1       aaaa  r.test/web:1  sha256:0123456789ab  -    stable
    ");
    let output = rollout_of(&server, &["history", "a/web", "-o", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), json!({ "items": revisions() }));
}
