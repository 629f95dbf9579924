//! Every endpoint of the table, asked for real: what it answers is what the OpenAPI document says.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sampan_schema::api::{API, Action, Endpoint};
use sampan_schema::{check, openapi};
use serde_json::{Value, json};
use support::{Bench, Fake, IMAGE_A, IMAGE_B, app, bench, wait_for};

fn spec_of(kind: &str) -> Value {
    match kind {
        "config_map" => json!({ "data": { "A": "1" } }),
        "secret" => json!({ "data_wo": { "B": "2" }, "wo_version": 1 }),
        "gray_policy" => json!({ "steps": [{ "weight_percent": 5, "pause": { "manual": true } }] }),
        "application" => app(IMAGE_A, 1),
        "scaling_rule" => json!({
            "application": "cart", "min_replicas": 1, "max_replicas": 3,
            "metrics": { "qps": { "type": "qps", "target": 50 }, "cpu": { "type": "cpu", "target": 60 } },
        }),
        "environment_schedule" => {
            json!({ "selector": { "all": true }, "stop": "0 20 * * *", "start": "0 8 * * *", "enabled": false })
        }
        "route" => json!({
            "hostnames": ["cart.test"], "visibility": "public",
            "rules": [{ "name": "all", "backends": [{ "application": "cart", "port": "http" }] }],
        }),
        _ => json!({}),
    }
}

fn name_of(kind: &str) -> &'static str {
    if kind == "namespace" { "shop" } else { "cart" }
}

/// Status, media type and body; of a stream, what comes first.
async fn ask(b: &Bench, e: &Endpoint, target: &str, headers: &[(&str, String)], body: &Value) -> (u16, String, String) {
    let mut r = b.http.request(e.method.parse().unwrap(), format!("{}{target}", b.url)).bearer_auth(&b.admin);
    for (name, value) in headers {
        r = r.header(*name, value);
    }
    if !body.is_null() {
        r = r.json(body);
    }
    let answer = r.timeout(Duration::from_secs(30)).send().await.unwrap();
    let status = answer.status().as_u16();
    let media = answer.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let text = if e.action == Action::Watch {
        String::from_utf8(answer.bytes_stream().next().await.unwrap().unwrap().to_vec()).unwrap()
    } else {
        answer.text().await.unwrap()
    };
    (status, media, text)
}

fn assert_fits(e: &Endpoint, (status, media, text): &(u16, String, String)) {
    let document = openapi::document();
    let answers = openapi::answers(e);
    let said = answers.iter().find(|(s, ..)| s == status);
    let (_, wanted, schema) = said.unwrap_or_else(|| panic!("{}: {status} is not in the document: {text}", e.name));
    if schema.is_null() {
        return assert!(text.is_empty(), "{}: {text}", e.name);
    }
    assert_eq!(media, wanted, "{}", e.name);
    let schema = openapi::resolved(&document, schema);
    let values: Vec<Value> = match e.action {
        Action::Logs => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        Action::Watch => vec![text.clone().into()],
        _ => vec![serde_json::from_str(text).unwrap()],
    };
    assert!(!values.is_empty(), "{}: nothing came", e.name);
    for value in values {
        assert_eq!(check::check(&schema, &value), [], "{}: {value:#}", e.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_openapi_document_says() {
    let b = bench(Fake::new()).await;
    let order = [
        "namespace",
        "config_map",
        "secret",
        "gray_policy",
        "application",
        "scaling_rule",
        "environment_schedule",
        "route",
    ];
    let puts: Vec<&Endpoint> =
        order.iter().map(|k| API.iter().find(|e| e.kind == *k && e.action == Action::Put).unwrap()).collect();
    for e in &puts {
        let create = [("if-none-match", "*".to_owned()), ("idempotency-key", format!("key-of-{}", e.kind))];
        let answer = ask(&b, e, &e.url("shop", name_of(e.kind)), &create, &spec_of(e.kind)).await;
        assert_eq!(answer.0, 201, "{}: {}", e.name, answer.2);
        assert_fits(e, &answer);
        if e.kind == "application" {
            assert_eq!(b.finish(&serde_json::from_str(&answer.2).unwrap()).await["phase"], "Succeeded");
        }
    }
    let operation = b.get("/v1/namespaces/shop/applications/cart").await["status"]["last_operation"]["id"].clone();
    let generation = async |e: &Endpoint| {
        let path = e.url("shop", name_of(e.kind));
        ("if-match", format!("\"{}\"", b.get(path.trim_end_matches("/dry-run")).await["generation"]))
    };
    let changes = |e: &&Endpoint| {
        use Action::{Abort, Pause, Promote, Resume};
        let tokens = matches!(e.action, Action::TokenCreate | Action::TokenRenew | Action::TokenRevoke);
        tokens
            || matches!(
                e.action,
                Action::Delete | Action::Restart | Action::Rollback | Promote | Pause | Resume | Abort
            )
    };
    for e in API.iter().filter(|e| !changes(e)) {
        let mut target = e.url("shop", if e.kind.is_empty() { operation.as_str().unwrap() } else { name_of(e.kind) });
        let (mut headers, mut body) = (Vec::new(), Value::Null);
        match e.action {
            Action::Put => (headers, body) = (vec![generation(e).await], spec_of(e.kind)),
            Action::DryRun => body = spec_of(e.kind),
            Action::Exec => body = json!({ "command": ["true"] }),
            Action::Watch => target += "?since=0",
            _ => {}
        }
        assert_fits(e, &ask(&b, e, &target, &headers, &body).await);
    }
    let mut token = String::new();
    for (action, body) in [
        (Action::TokenCreate, json!({ "name": "ci", "role": "admin", "ttl_seconds": 60 })),
        (Action::TokenRenew, json!({ "ttl_seconds": 120 })),
        (Action::TokenRevoke, Value::Null),
    ] {
        let e = API.iter().find(|e| e.action == action).unwrap();
        let answer = ask(&b, e, &e.url("", &token), &[], &body).await;
        assert_fits(e, &answer);
        token = serde_json::from_str::<Value>(&answer.2).unwrap()["id"].as_str().unwrap().to_owned();
    }
    // An application in mid-work answers 202.
    let put = puts[4];
    let answer =
        ask(&b, put, "/v1/namespaces/shop/applications/cart", &[generation(put).await], &app(IMAGE_B, 1)).await;
    assert_eq!(answer.0, 202, "{}", answer.2);
    assert_fits(put, &answer);
    assert_eq!(b.finish(&serde_json::from_str(&answer.2).unwrap()).await["phase"], "Succeeded");
    let restart = API.iter().find(|e| e.action == Action::Restart).unwrap();
    let answer = ask(&b, restart, &restart.url("shop", "cart"), &[], &Value::Null).await;
    assert_fits(restart, &answer);
    b.finish(&serde_json::from_str(&answer.2).unwrap()).await;
    let rollback = API.iter().find(|e| e.action == Action::Rollback).unwrap();
    let answer = ask(&b, rollback, &rollback.url("shop", "cart"), &[], &json!({ "to_revision": 1 })).await;
    assert_fits(rollback, &answer);
    assert_eq!(b.finish(&serde_json::from_str(&answer.2).unwrap()).await["phase"], "Succeeded");
    // A release that gets nowhere takes verbs.
    b.fake.faults(|f| f.unready_env = Some(("SLOW".into(), "1".into())));
    let mut slow = app(IMAGE_B, 1);
    slow["container"]["env"] = json!({ "SLOW": "1" });
    slow["update_strategy"]["progress_deadline_seconds"] = 600.into();
    let answer = ask(&b, put, "/v1/namespaces/shop/applications/cart", &[generation(put).await], &slow).await;
    assert_eq!(answer.0, 202, "{}", answer.2);
    for (action, status) in [(Action::Resume, 200), (Action::Pause, 202), (Action::Abort, 202)] {
        let e = API.iter().find(|e| e.action == action).unwrap();
        let answer = ask(&b, e, &e.url("shop", "cart"), &[], &Value::Null).await;
        assert_eq!(answer.0, status, "{}: {}", e.name, answer.2);
        assert_fits(e, &answer);
    }
    for kind in order.iter().rev() {
        let e = API.iter().find(|e| e.kind == *kind && e.action == Action::Delete).unwrap();
        let target = e.url("shop", name_of(kind));
        let answer = ask(&b, e, &target, &[generation(e).await], &Value::Null).await;
        assert_fits(e, &answer);
        wait_for("the end of the object", async || b.send("GET", &target, &[], None).await.0 == 404).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_object_once() {
    let b = bench(Fake::new()).await;
    for n in 0..7 {
        b.namespace(&format!("n{n}")).await;
    }
    let (mut found, mut target) = (Vec::new(), "/v1/namespaces?limit=3".to_owned());
    for _ in 0..5 {
        let page = b.get(&target).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        found.extend(items.iter().map(|i| i["name"].as_str().unwrap().to_owned()));
        let Some(token) = page["next_page_token"].as_str() else { break };
        target = format!("/v1/namespaces?limit=3&page_token={token}");
    }
    assert_eq!(found, (0..7).map(|n| format!("n{n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_waits_for_the_change_and_no_longer() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.fake.faults(|f| f.unready_env = Some(("SLOW".into(), "1".into())));
    let mut body = app(IMAGE_A, 1);
    body["container"]["env"] = json!({ "SLOW": "1" });
    let (_, answer) = b.create("/v1/namespaces/shop/applications/cart", &body).await;
    let id = answer["operation"]["id"].as_str().unwrap().to_owned();
    // Nothing becomes ready, so the operation moves only when its deadline of 5 s ends it.
    let (asked, mut last) = (Instant::now(), Value::Null);
    let mut answers = 0;
    while last["phase"] != "Failed" {
        last = b.get(&format!("/v1/operations/{id}?wait=30")).await;
        answers += 1;
        assert!(asked.elapsed() < Duration::from_secs(25), "{last}");
    }
    assert!(answers < 10, "{answers} answers: it does not wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_every_write_in_order() {
    let b = bench(Fake::new()).await;
    let r = b.http.get(format!("{}/v1/watch?since=0", b.url)).bearer_auth(&b.admin);
    let mut stream = r.send().await.unwrap().bytes_stream();
    for n in 0..3 {
        b.namespace(&format!("n{n}")).await;
    }
    let mut text = String::new();
    let revisions = async {
        loop {
            text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
            let data: Vec<Value> =
                text.lines().filter_map(|l| serde_json::from_str(l.strip_prefix("data: ")?).ok()).collect();
            let names: Vec<_> = data.iter().filter(|c| c["kind"] == "namespace").map(|c| c["name"].clone()).collect();
            if names.iter().filter(|n| n.as_str().is_some_and(|n| n.starts_with('n'))).count() == 3 {
                return (names, data.iter().map(|c| c["rev"].as_i64().unwrap()).collect::<Vec<_>>());
            }
        }
    };
    let (names, revisions) = tokio::time::timeout(Duration::from_secs(20), revisions).await.unwrap();
    assert_eq!(names, [json!("n0"), json!("n1"), json!("n2")]);
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}
