//! Environment schedules against a real server on a fake runtime, with the autoscaler and the gateway.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Bench, Fake, IMAGE_A, IMAGE_B, app, bench, wait_for};

const CART: &str = "/v1/namespaces/shop/applications/cart";
const RULE: &str = "/v1/namespaces/shop/scaling-rules/rows";

fn path(name: &str) -> String {
    format!("/v1/namespaces/shop/environment-schedules/{name}")
}

/// It is in its window now, and for months.
fn stopped() -> Value {
    let month = jiff::Zoned::now().month();
    let far = (month + 5) % 12 + 1;
    json!({ "selector": { "all": true }, "stop": "*/2 * * * *", "start": format!("1 0 1 {far} *") })
}

fn off() -> Value {
    let mut body = stopped();
    body["enabled"] = false.into();
    body
}

async fn ready(b: &Bench, n: usize) {
    wait_for(&format!("{n} ready instances"), async || {
        let all = b.instances().await;
        all.len() == n && all.iter().all(|i| i["ready"] == true)
    })
    .await;
}

async fn put(b: &Bench, name: &str, body: &Value) {
    let there = b.send("GET", &path(name), &[], None).await.0 == 200;
    let (status, answer) = if there { b.update(&path(name), body).await } else { b.create(&path(name), body).await };
    assert!((200..300).contains(&status), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_application_has_no_instances_until_no_schedule_says_so() {
    let mut b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let mut body = app(IMAGE_A, 2);
    body["labels"] = json!({ "stage": "test" });
    b.deployed(&body).await;
    let before = b.get(CART).await;
    let mut by_label = stopped();
    by_label["selector"] = json!({ "match_labels": { "stage": "test" } });
    put(&b, "labelled", &by_label).await;
    ready(&b, 0).await;
    put(&b, "all", &stopped()).await;
    let now = b.get(CART).await;
    for field in ["generation", "replicas", "update_time"] {
        assert_eq!(now[field], before[field], "nothing of it that a plan would see");
    }
    wait_for("the word for it", async || b.get(CART).await["status"]["stopped"] != "").await;
    let schedule = b.get(&path("labelled")).await["status"].clone();
    assert_eq!((&schedule["phase"], &schedule["stopped"]), (&json!("Stopped"), &json!(["cart"])), "{schedule}");
    assert!(schedule["next_boundary"] != "" && schedule["last_boundary"] != "", "{schedule}");
    b.restart().await;
    // One of two is off: the other still says so.
    put(&b, "labelled", &off()).await;
    wait_for("the other schedule", async || {
        b.get(CART).await["status"]["stopped"].as_str().unwrap().starts_with("stopped by schedule all until ")
    })
    .await;
    assert_eq!((b.instances().await.len(), b.fake.sandboxes().len()), (0, 0));
    // Another label of the application, another time, and no schedule at all.
    put(&b, "all", &off()).await;
    ready(&b, 2).await;
    assert_eq!(b.get(&path("all")).await["status"]["phase"], "Disabled");
    let mut turned = stopped();
    (turned["stop"], turned["start"]) = (turned["start"].clone(), turned["stop"].clone());
    put(&b, "all", &stopped()).await;
    ready(&b, 0).await;
    put(&b, "all", &turned).await;
    ready(&b, 2).await;
    put(&b, "all", &stopped()).await;
    ready(&b, 0).await;
    assert_eq!(b.send("DELETE", &path("all"), &[("if-match", "*")], None).await.0, 204);
    ready(&b, 2).await;
    put(&b, "labelled", &by_label).await;
    ready(&b, 0).await;
    body["labels"] = json!({});
    let (_, answer) = b.update(CART, &body).await;
    assert_ne!(answer["generation"], before["generation"], "{answer}");
    ready(&b, 2).await;
}

/// Answers every request with this number, until it is dropped.
async fn meter(value: f64) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/load", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let body = format!("{{\"value\": {value}}}");
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_waits_for_a_person_is_aborted_before_the_stop() {
    let mut b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let careful = json!({ "steps": [{ "weight_percent": 50, "pause": { "manual": true } }] });
    assert_eq!(b.create("/v1/namespaces/shop/gray-policies/careful", &careful).await.0, 201);
    let with = |image: &str| {
        let mut body = app(image, 2);
        body["gray_policy"] = "careful".into();
        body
    };
    b.deployed(&with(IMAGE_A)).await;
    let stable = b.get(CART).await["status"]["current_revision"].clone();
    let (status, release) = b.update(CART, &with(IMAGE_B)).await;
    assert_eq!((status, &b.finish(&release).await["reason"]), (202, &json!("ManualStep")));
    let mut nights = stopped();
    nights["wave_timeout_seconds"] = 3600.into();
    put(&b, "nights", &nights).await;
    b.restart().await;
    wait_for("the wish to stop", async || b.get("/v1/events").await.to_string().contains("stops 1 application")).await;
    assert_eq!(b.get(&format!("{CART}/rollout")).await["phase"], "Paused");
    nights["wave_timeout_seconds"] = 1.into();
    put(&b, "nights", &nights).await;
    ready(&b, 0).await;
    let operation = b.get(&format!("/v1/operations/{}", release["operation"]["id"].as_str().unwrap())).await;
    assert_eq!(operation["phase"], "Aborted", "{operation}");
    let message = operation["message"].as_str().unwrap();
    assert!(message.starts_with("aborted by schedule nights, which stops the application; rolled back"), "{message}");
    assert!(b.get("/v1/events").await.to_string().contains("ReleaseAborted"));
    // What was stable runs on the next day.
    put(&b, "nights", &off()).await;
    ready(&b, 2).await;
    assert!(b.instances().await.iter().all(|i| i["revision"] == stable), "{stable}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_autoscaler_rests_with_its_application_and_begins_at_its_floor() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let rule = json!({
        "application": "cart", "min_replicas": 2, "max_replicas": 9,
        "metrics": { "rows": { "type": "external", "target": 10, "endpoint": meter(45.0).await } },
    });
    assert_eq!(b.create(RULE, &rule).await.0, 201);
    ready(&b, 5).await;
    let decisions = async || {
        let shown = b.get(&format!("{CART}/scaling")).await;
        let all = shown["decisions"].as_array().unwrap().clone();
        (shown, all.iter().map(|d| (d["from"].as_i64().unwrap(), d["to"].as_i64().unwrap())).collect::<Vec<_>>())
    };
    let (_, before) = decisions().await;
    put(&b, "nights", &stopped()).await;
    ready(&b, 0).await;
    let status = async || b.get(RULE).await["status"].clone();
    wait_for("the rest of the rule", async || {
        status().await["active_schedule"] == "" && status().await["desired"] == 0
    })
    .await;
    let (shown, while_stopped) = decisions().await;
    assert_eq!((&shown["desired"], &shown["current"]), (&json!(0), &json!(0)), "{shown}");
    assert!(shown["reason"].as_str().unwrap().starts_with("stopped by schedule nights until "), "{shown}");
    assert_eq!(while_stopped, before, "nothing was decided");
    wait_for("its floor", async || {
        // What is stored is what a start begins with.
        b.get(&format!("{CART}/scaling")).await["rules"][0]["result"] == Value::Null
    })
    .await;
    put(&b, "nights", &off()).await;
    ready(&b, 5).await;
    let (shown, after) = decisions().await;
    assert_eq!(after[before.len()].0, 2, "{shown}");
    assert_eq!(after.last().unwrap().1, 5, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wake_nobody_up_whom_a_schedule_has_stopped() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 0)).await;
    let rule = json!({
        "application": "cart", "min_replicas": 0, "max_replicas": 3, "scale_to_zero": { "cooldown_seconds": 3600 },
        "metrics": { "busy": { "type": "concurrency", "target": 10 } },
    });
    assert_eq!(b.create(RULE, &rule).await.0, 201);
    let route = json!({
        "hostnames": ["cart.test"], "visibility": "public",
        "rules": [{ "name": "all", "backends": [{ "application": "cart", "port": "http" }] }],
    });
    assert_eq!(b.create("/v1/namespaces/shop/routes/cart", &route).await.0, 201);
    put(&b, "nights", &stopped()).await;
    wait_for("the stop", async || b.get(CART).await["status"]["stopped"] != "").await;
    let gateway = format!("http://{}/", b.server.as_ref().unwrap().gateway);
    let ask = || b.http.get(&gateway).header("host", "cart.test").timeout(Duration::from_mins(1)).send();
    wait_for("503 at once", async || ask().await.unwrap().status() == 503).await;
    for _ in 0..20 {
        assert_eq!(ask().await.unwrap().status(), 503);
    }
    assert_eq!(b.instances().await.len(), 0);
    put(&b, "nights", &off()).await;
    wait_for("the end of the stop", async || b.get(CART).await["status"]["stopped"] == "").await;
    // Until the gateway has the table, there is nobody to wait for.
    let request = b.http.get(&gateway).header("host", "cart.test").timeout(Duration::from_mins(1));
    let asking = tokio::spawn(async move {
        while request.try_clone().unwrap().send().await.is_ok_and(|answer| answer.status() == 503) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    ready(&b, 1).await;
    // Containers of the fake have addresses where nobody listens.
    asking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_that_cannot_be_are_refused() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let named = |selector: Value, order: Value| {
        let mut body = stopped();
        (body["selector"], body["start_order"]) = (selector, order);
        body
    };
    let cart = || named(json!({ "applications": ["cart"] }), json!([]));
    for (body, at) in
        [(cart(), "selector.applications"), (named(json!({ "all": true }), json!([["cart"]])), "start_order[0]")]
    {
        let (status, answer) = b.create(&path("nights"), &body).await;
        assert_eq!((status, &answer["errors"][0]["rule"]), (422, &json!("SMP041")), "{answer}");
        assert_eq!(answer["errors"][0]["field_path"], at);
    }
    let (status, answer) = b.create(&path("nights"), &named(json!({}), json!([]))).await;
    assert_eq!((status, &answer["errors"][0]["rule"]), (400, &json!("SMP133")), "{answer}");
    b.deployed(&app(IMAGE_A, 1)).await;
    put(&b, "nights", &cart()).await;
    let (status, answer) = b.send("DELETE", CART, &[("if-match", "*")], None).await;
    assert_eq!((status, &answer["code"]), (409, &json!("IN_USE")), "{answer}");
    assert!(answer["by"].to_string().contains("environment_schedule shop/nights"), "{answer}");
    let (status, answer) = b.send("DELETE", "/v1/namespaces/shop", &[("if-match", "*")], None).await;
    assert_eq!(status, 409, "{answer}");
}
