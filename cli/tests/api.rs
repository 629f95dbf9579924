//! Verbs against a server that is absent, refuses, or answers as the test wants.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::time::Duration;

use common::{Running, Server, run, sampan, text};
use serde_json::json;

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn an_absent_server_is_named_with_the_setting() {
    let endpoint = nobody();
    for verb in [
        vec!["get", "namespaces"],
        vec!["get", "instances", "a/b"],
        vec!["describe", "app", "a/b"],
        vec!["logs", "a/b"],
        vec!["events"],
        vec!["exec", "a/b", "--", "true"],
        vec!["restart", "a/b"],
        vec!["rollout", "status", "a/b"],
        vec!["rollout", "status", "a/b", "--watch"],
        vec!["rollout", "promote", "a/b"],
        vec!["rollout", "undo", "a/b"],
        vec!["rollout", "history", "a/b"],
        vec!["token", "list"],
        vec!["export", "a"],
    ] {
        let output = run(sampan(&verb).env("SAMPAN_ENDPOINT", &endpoint));
        let shown = text(&output.stderr).replace(&endpoint, "[endpoint]");
        assert_eq!(output.status.code(), Some(1), "{verb:?}: {shown}");
        assert!(output.stdout.is_empty());
        let (what, rest) = shown.split_once('\n').unwrap();
        assert!(what.starts_with("error: the server at [endpoint] cannot be reached: "), "{shown}");
        assert_eq!(
            rest,
            "  do: start one with `sampan dev --data-dir DIR`, or name another with --endpoint or SAMPAN_ENDPOINT\n"
        );
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    for (verb, wanted) in [
        (vec!["get", "pods"], "\"pods\" is no kind: use namespaces, config-maps, secrets, gray-policies, applications"),
        (vec!["rollout", "abort", "web"], "\"web\" has no namespace"),
        (vec!["rollout", "promote", "a/b", "--step", "0"], "--step"),
        (vec!["rollout", "status", "a/b", "--timeout", "5m"], "--watch"),
        (vec!["rollout", "status", "a/b", "--watch", "--timeout", "soon"], "write 90s, 30m, 2h"),
        (vec!["get", "instances"], "sampan get instances NS/APP"),
        (vec!["logs", "web"], "\"web\" has no namespace: write NS/web, or web -n NS, or set SAMPAN_NAMESPACE"),
        (vec!["logs", "a/../b"], "is no name"),
        (vec!["logs", "a/b", "-o", "yaml"], "no YAML form"),
        (vec!["get", "ns", "--endpoint", "nowhere"], "is no URL"),
        (vec!["get", "ns", "--endpoint", "http://192.0.2.1"], "would send the token in the clear"),
        (vec!["get", "ns", "--token-file", "/no/such/file"], "/no/such/file cannot be read"),
        (vec!["exec", "a/b"], "CMD"),
        (vec!["dev"], "--data-dir"),
        (vec!["dev", "--data-dir", "/tmp/x", "--cri-endpoint", "tcp://x"], "must be unix:///"),
        (vec!["conformance"], "--isolation"),
        (vec!["token", "create", "ci", "--ttl", "30s"], "1m to 24h"),
        (vec!["token", "create", "ci", "--role", "root"], "read_only"),
    ] {
        let output = run(&mut sampan(&verb));
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{verb:?}: {shown}");
        assert!(shown.contains(wanted), "{verb:?}: {shown}");
    }
    let output = run(sampan(&["version"]).env("SAMPAN_LOG", "a=b=c"));
    assert!(text(&output.stderr).contains("SAMPAN_LOG"), "{output:?}");
}

fn problem(status: u16, code: &str, title: &str, detail: &str) -> (u16, String) {
    let body = json!({ "type": "about:blank", "status": status, "code": code, "title": title, "detail": detail,
                       "request_id": "f00d" });
    (status, body.to_string())
}

#[test]
fn a_refused_token_is_told_with_its_file() {
    let server = Server::start(|_, _, _| problem(401, "UNAUTHENTICATED", "who are you?", "send a token"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    std::fs::write(&file, "wrong\n").unwrap();
    let endpoint = server.endpoint();
    let output = run(&mut sampan(&["get", "ns", "--endpoint", &endpoint, "--token-file", file.to_str().unwrap()]));
    let shown = text(&output.stderr).replace(file.to_str().unwrap(), "[file]");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(shown, @r"
    error: who are you? (401 UNAUTHENTICATED)
      where: the token of file [file]
      do: give the token of this server with --token-file, SAMPAN_TOKEN_FILE or SAMPAN_TOKEN; `sampan dev` prints its token_file when it is ready
      request: f00d
    ");
    let output = run(sampan(&["get", "apps", "--endpoint", &endpoint, "-n", "a"]).env("SAMPAN_TOKEN", "wrong"));
    let shown = text(&output.stderr);
    assert!(shown.contains("(401 UNAUTHENTICATED)") && shown.contains("the token of SAMPAN_TOKEN"), "{shown}");
    assert!(!shown.contains("wrong"), "a token is a secret: {shown}");
    let output = run(&mut sampan(&["get", "apps", "--endpoint", &endpoint, "-n", "a"]));
    assert!(text(&output.stderr).contains("no token was given"));
}

#[test]
fn lists_are_shown_in_three_forms() {
    let server = Server::start(|target, _, _| {
        let body = match target {
            "GET /v1/namespaces?limit=500" => {
                json!({ "items": [{ "id": "a", "name": "a" }, { "id": "b", "name": "b" }] })
            }
            "GET /v1/namespaces/a/routes?limit=500" => {
                let item = json!({ "namespace": "a", "name": "r", "hostnames": ["x.test"], "rules": [] });
                json!({ "items": [item], "next_page_token": "a/r" })
            }
            "GET /v1/namespaces/a/routes?limit=500&page_token=a/r" => {
                json!({ "items": [{ "namespace": "a", "name": "s", "hostnames": ["y.test"], "rules": [] }] })
            }
            // Deleted meanwhile.
            _ => return problem(404, "NOT_FOUND", "not found", "gone"),
        };
        (200, body.to_string())
    });
    let show = |more: &[&str]| {
        let endpoint = server.endpoint();
        let args = [&["get", "routes", "--endpoint", &endpoint], more].concat();
        let output = run(&mut sampan(&args));
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    insta::assert_snapshot!([show(&[]), show(&["-o", "json"]), show(&["-o", "yaml"])].join("---\n"));
}

#[test]
fn exec_passes_the_exit_code_and_both_streams() {
    let server = Server::start(|_, _, body| {
        assert_eq!(body, r#"{"command":["sh","-c","exit 42"],"timeout_seconds":30,"instance":"w-1"}"#);
        let answer = json!({ "instance": "w-1", "exit_code": 42, "stdout": "out\n", "stderr": "err\n" });
        (200, answer.to_string())
    });
    let args =
        ["exec", "web", "-n", "a", "--instance", "w-1", "--endpoint", &server.endpoint(), "--", "sh", "-c", "exit 42"];
    let output = run(&mut sampan(&args));
    assert_eq!(
        (output.status.code(), text(&output.stdout), text(&output.stderr)),
        (Some(42), "out\n".into(), "err\n".into())
    );
}

fn operation(id: &str, phase: &str, updated: u64) -> serde_json::Value {
    json!({ "id": id, "kind": "deploy", "namespace": "a", "name": "web", "phase": phase, "reason": "", "message": "",
            "progress": { "total": 3, "updated": updated, "ready": updated, "failing": [] } })
}

#[test]
fn a_restart_that_is_watched_tells_progress_and_fails_with_the_operation() {
    let asked = std::sync::atomic::AtomicU64::new(0);
    let server = Server::start(move |target, _, _| {
        let body = match target {
            "GET /v1/namespaces/a/applications/web" => {
                // The first operation is superseded by the second one.
                let newest = if asked.load(std::sync::atomic::Ordering::SeqCst) == 0 { "one" } else { "two" };
                json!({ "id": "a/web", "status": { "last_operation": { "id": newest } } })
            }
            "POST /v1/namespaces/a/applications/web/restart" => json!({ "operation": operation("one", "Running", 1) }),
            "GET /v1/operations/one?wait=30" => {
                asked.store(1, std::sync::atomic::Ordering::SeqCst);
                operation("one", "Superseded", 1)
            }
            "GET /v1/operations/two?wait=0" => operation("two", "Running", 2),
            "GET /v1/operations/two?wait=30" => operation("two", "Failed", 2),
            other => panic!("{other}"),
        };
        (200, body.to_string())
    });
    let args = ["restart", "a/web", "--watch", "--endpoint", &server.endpoint()];
    let output = run(&mut sampan(&args));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    insta::assert_snapshot!(format!("{}---\n{}", text(&output.stderr), text(&output.stdout)), @r"
    deploy of a/web: Running, 1/3 updated, 1 ready
    deploy of a/web: Superseded, 1/3 updated, 1 ready
    deploy of a/web: Running, 2/3 updated, 2 ready
    deploy of a/web: Failed, 2/3 updated, 2 ready
    ---
    deploy of a/web: Failed, 2/3 updated, 2 ready
    ");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let line = format!("{}\n", json!({ "instance": "w-1", "text": "x".repeat(1000) }));
    let server = Server::start(move |_, _, _| (200, line.repeat(5000)));
    let mut running = Running::start(&mut sampan(&["logs", "a/web", "--endpoint", &server.endpoint()]));
    drop(running.child.stdout.take());
    let output = running.wait(Duration::from_secs(30));
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn log_lines_begin_with_their_instance() {
    let lines = [("w-1", "one"), ("w-2", "two")].map(|(i, t)| json!({ "instance": i, "text": t }).to_string());
    let server = Server::start(move |target, _, _| {
        let tail = "GET /v1/namespaces/a/applications/web/logs?tail=7";
        assert!(target == tail || target == format!("{tail}&instance=w-1"), "{target}");
        // The last line has no end.
        (200, lines.join("\n"))
    });
    let mut args = vec!["logs", "web", "-n", "a", "--tail", "7", "--endpoint"];
    let endpoint = server.endpoint();
    args.push(&endpoint);
    assert_eq!(text(&run(&mut sampan(&args)).stdout), "w-1 | one\nw-2 | two\n");
    args.extend(["--instance", "w-1"]);
    assert_eq!(text(&run(&mut sampan(&args)).stdout), "one\ntwo\n");
}

#[test]
fn a_token_is_alone_on_stdout_when_it_is_made() {
    let server = Server::start(|target, _, body| {
        assert_eq!((target, body), ("POST /v1/tokens", r#"{"name":"ci","role":"read_only","ttl_seconds":900}"#));
        let made = json!({ "id": "t1", "name": "ci", "role": "read_only", "create_time": "", "made_by": "",
                           "expire_time": "2030-01-01T00:00:00.000Z", "token": "sampan_s3cret" });
        (201, made.to_string())
    });
    let output = run(sampan(&["token", "create", "ci"]).env("SAMPAN_ENDPOINT", server.endpoint()));
    assert_eq!(text(&output.stdout), "sampan_s3cret\n", "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("t1 ends at 2030-01-01") && !said.contains("s3cret"), "{said}");
}
