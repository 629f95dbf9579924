//! Scaling rules against a real server on a fake runtime.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Bench, Fake, IMAGE_A, IMAGE_B, app, bench, wait_for};

const CART: &str = "/v1/namespaces/shop/applications/cart";

fn rule_path(name: &str) -> String {
    format!("/v1/namespaces/shop/scaling-rules/{name}")
}

/// So many instances at any time.
fn always(replicas: u64) -> Value {
    json!({
        "application": "cart", "min_replicas": 1, "max_replicas": 9,
        "schedules": [{ "name": "always", "start": "* * * * *", "replicas": replicas }],
        "behavior": { "scale_down": { "stabilization_window_seconds": 0, "period_seconds": 1 } },
    })
}

fn by_requests() -> Value {
    json!({
        "application": "cart", "min_replicas": 1, "max_replicas": 9,
        "metrics": { "qps": { "type": "qps", "target": 50 } },
        "behavior": { "scale_down": { "stabilization_window_seconds": 0, "period_seconds": 1 } },
    })
}

async fn scaling(b: &Bench) -> Value {
    b.get(&format!("{CART}/scaling")).await
}

async fn ready(b: &Bench, n: usize) {
    wait_for(&format!("{n} ready instances"), async || {
        let all = b.instances().await;
        all.len() == n && all.iter().all(|i| i["ready"] == true)
    })
    .await;
}

/// Stays true for a while of looks.
async fn stays(what: &str, time: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(holds().await, "{what} no more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_owns_the_size_and_the_spec_stays_as_it_was_written() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let before = b.get(CART).await;
    let (status, answer) = b.create(&rule_path("by-time"), &always(3)).await;
    assert_eq!((status, &answer["status"]["type"]), (201, &json!("timing")), "{answer}");
    wait_for("three instances, and no damage on the way", async || {
        let shown = b.get(CART).await["status"].clone();
        assert_ne!(shown["phase"], "Degraded", "{shown}");
        shown["ready_replicas"] == 3 && shown["phase"] == "Running"
    })
    .await;
    // Nothing of the object has changed that a plan would see.
    let after = b.get(CART).await;
    assert_eq!((&after["replicas"], &after["generation"]), (&before["replicas"], &before["generation"]));
    assert_eq!(after["status"]["desired_replicas"], 3);
    let shown = scaling(&b).await;
    assert_eq!((&shown["current"], &shown["desired"], &shown["ready"]), (&json!(3), &json!(3), &json!(3)), "{shown}");
    let decision = &shown["decisions"][0];
    assert_eq!((&decision["from"], &decision["to"]), (&json!(1), &json!(3)), "{shown}");
    assert!(decision["reason"].as_str().unwrap().starts_with("1 → 3: "), "{decision}");
    assert_eq!(decision["inputs"]["rules"][0]["rule"], "by-time", "{decision}");
    let rule = b.get(&rule_path("by-time")).await;
    assert_eq!((&rule["status"]["desired"], &rule["status"]["current"]), (&json!(3), &json!(3)), "{rule}");
    assert_eq!(rule["status"]["active_schedule"], "always", "{rule}");
    assert!(!rule["status"]["last_scale_time"].as_str().unwrap().is_empty(), "{rule}");
    let events = b.get("/v1/events?kind=application&name=cart").await;
    assert!(events["items"].as_array().unwrap().iter().any(|e| e["reason"] == "Scaled"), "{events}");

    // Terraform writes its number again, and another image: the rule keeps the size.
    let (_, answer) = b.update(CART, &app(IMAGE_B, 2)).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    ready(&b, 3).await;
    // Without a say of the rule the spec's number is in force.
    let mut off = always(3);
    off["enabled"] = false.into();
    assert_eq!(b.update(&rule_path("by-time"), &off).await.0, 200);
    ready(&b, 2).await;
    assert_eq!(b.update(&rule_path("by-time"), &always(4)).await.0, 200);
    ready(&b, 4).await;
    assert_eq!(b.send("DELETE", &rule_path("by-time"), &[("if-match", "*")], None).await.0, 204);
    ready(&b, 2).await;
    assert_eq!(scaling(&b).await["rules"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_never_scales_in() {
    let mut b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    b.create(&rule_path("by-time"), &always(4)).await;
    b.create(&rule_path("by-load"), &by_requests()).await;
    ready(&b, 4).await;
    // From now on only requests would keep them, and there are none: the new server has to know that by itself.
    let generation = b.get(&rule_path("by-time")).await["generation"].to_string();
    let server = b.url.clone();
    b.restart().await;
    assert_ne!(server, b.url, "it is another one");
    assert_eq!(b.send("DELETE", &rule_path("by-time"), &[("if-match", &generation)], None).await.0, 204);
    stays("four instances", Duration::from_secs(5), async || {
        b.instances().await.len() == 4 && scaling(&b).await["desired"] == 4
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_request_wakes_an_application_without_instances() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 0)).await;
    let rule = json!({
        "application": "cart", "min_replicas": 0, "max_replicas": 3, "scale_to_zero": { "cooldown_seconds": 3600 },
        "metrics": { "busy": { "type": "concurrency", "target": 10 } },
    });
    assert_eq!(b.create(&rule_path("zero"), &rule).await.0, 201);
    let route = json!({
        "hostnames": ["cart.test"], "visibility": "public",
        "rules": [{ "name": "all", "backends": [{ "application": "cart", "port": "http" }] }],
    });
    assert_eq!(b.create("/v1/namespaces/shop/routes/cart", &route).await.0, 201);
    wait_for("the rule's first look", async || scaling(&b).await["reason"] != "").await;
    assert_eq!(b.instances().await.len(), 0);
    let gateway = format!("http://{}/", b.server.as_ref().unwrap().gateway);
    let asking = tokio::spawn(b.http.get(gateway).header("host", "cart.test").timeout(Duration::from_mins(1)).send());
    ready(&b, 1).await;
    let shown = scaling(&b).await;
    let decision = &shown["decisions"][0];
    assert_eq!((&decision["from"], &decision["to"]), (&json!(0), &json!(1)), "{shown}");
    assert!(decision["reason"].as_str().unwrap().contains("woken up by 1 waiting request"), "{decision}");
    // Containers of the fake have addresses where nobody listens.
    asking.abort();
}

/// Two instances, which a minute of silence stops.
fn idle(wake: bool) -> Value {
    let mut spec = app(IMAGE_A, 2);
    spec["idle"] = json!({ "mode": "stop", "after_seconds": 60, "wake_on_request": wake });
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_application_is_stopped_and_a_request_or_a_restart_wakes_it() {
    let mut b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&idle(true)).await;
    let route = json!({
        "hostnames": ["cart.test"], "visibility": "public",
        "rules": [{ "name": "all", "backends": [{ "application": "cart", "port": "http" }] }],
    });
    assert_eq!(b.create("/v1/namespaces/shop/routes/cart", &route).await.0, 201);
    ready(&b, 2).await;
    let written = b.get(CART).await;
    // The time begins anew with the server.
    let begun = Instant::now();
    b.restart().await;
    stops(&b).await;
    assert!(begun.elapsed() >= Duration::from_mins(1), "{:?}", begun.elapsed());
    let shown = scaling(&b).await;
    assert_eq!(shown["decisions"][0]["to"], 0, "{shown}");
    assert!(shown["decisions"][0]["reason"].as_str().unwrap().contains("2 → 0: no request for "), "{shown}");
    let stopped = b.get(CART).await;
    assert_eq!((&stopped["replicas"], &stopped["generation"]), (&json!(2), &written["generation"]), "{stopped}");
    // It stays down across a restart of the server.
    b.restart().await;
    wait_for("a first look", async || scaling(&b).await["reason"] != "").await;
    stays("no instance", Duration::from_secs(2), async || b.instances().await.is_empty()).await;

    let ask = |b: &Bench| {
        let gateway = format!("http://{}/", b.server.as_ref().unwrap().gateway);
        tokio::spawn(b.http.get(gateway).header("host", "cart.test").timeout(Duration::from_mins(1)).send())
    };
    let asking = ask(&b);
    ready(&b, 2).await;
    let shown = scaling(&b).await;
    let last = shown["decisions"].as_array().unwrap().last().unwrap();
    assert!(last["reason"].as_str().unwrap().contains("0 → 2: woken up by 1 waiting"), "{shown}");
    // Containers of the fake have addresses where nobody listens.
    asking.abort();

    // Without waking, a request gets its answer at once, and a restart wakes it.
    let (_, answer) = b.update(CART, &idle(false)).await;
    assert!(answer["operation"].is_null(), "{answer}");
    stops(&b).await;
    let answer = ask(&b).await.unwrap().unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(b.instances().await.len(), 0);
    let (status, answer) = b.send("POST", &format!("{CART}/restart"), &[], Some(&json!({}))).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    ready(&b, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_or_a_rule_wakes_an_idle_application_with_all_of_its_instances() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&idle(false)).await;
    ready(&b, 2).await;
    stops(&b).await;
    let mut other = idle(true);
    other["container"]["image"] = IMAGE_B.into();
    let (_, answer) = b.update(CART, &other).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    ready(&b, 2).await;
    // A rule owns the size, and without it what is declared counts again.
    assert_eq!(b.create(&rule_path("by-time"), &always(3)).await.0, 201);
    ready(&b, 3).await;
    assert_eq!(b.send("DELETE", &rule_path("by-time"), &[("if-match", "*")], None).await.0, 204);
    ready(&b, 2).await;
    let (_, answer) = b.update(CART, &app(IMAGE_B, 2)).await;
    assert!(answer["operation"].is_null(), "{answer}");
    ready(&b, 2).await;
}

/// A minute of silence has to pass first.
async fn stops(b: &Bench) {
    let until = Instant::now() + Duration::from_mins(3);
    while !b.instances().await.is_empty() {
        assert!(Instant::now() < until, "it is never idle: {}", scaling(b).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_cannot_be_are_refused() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let (status, answer) = b.create(&rule_path("one"), &always(3)).await;
    assert_eq!((status, &answer["errors"][0]["rule"]), (422, &json!("SMP041")), "{answer}");
    assert_eq!(answer["errors"][0]["field_path"], "application");
    b.deployed(&app(IMAGE_A, 1)).await;
    for n in 1..=5 {
        assert_eq!(b.create(&rule_path(&format!("r{n}")), &always(1)).await.0, 201);
    }
    for method in ["PUT", "POST"] {
        let path = if method == "PUT" { rule_path("r6") } else { format!("{}/dry-run", rule_path("r6")) };
        let (status, answer) = b.send(method, &path, &[("if-none-match", "*")], Some(&always(1))).await;
        assert_eq!((status, &answer["errors"][0]["rule"]), (400, &json!("SMP121")), "{answer}");
    }
    // One of the five can still be changed.
    assert_eq!(b.update(&rule_path("r5"), &always(2)).await.0, 200);
    let (status, answer) = b.send("DELETE", CART, &[("if-match", "*")], None).await;
    assert_eq!((status, &answer["code"]), (409, &json!("IN_USE")), "{answer}");
    assert!(answer["by"].to_string().contains("scaling_rule shop/r1"), "{answer}");
    let mut turned = always(1);
    turned["min_replicas"] = 10.into();
    let (status, answer) = b.update(&rule_path("r5"), &turned).await;
    assert_eq!((status, &answer["errors"][0]["field_path"]), (400, &json!("min_replicas")), "{answer}");
}

/// Answers every request with this number, until it is dropped.
async fn meter(value: f64) -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/load", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let body = format!("{{\"value\": {value}}}");
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (address, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_somebody_else_counts_and_its_outage_never_scales_in() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let (address, serving) = meter(35.0).await;
    let mut rule = by_requests();
    rule["metrics"] = json!({ "rows": { "type": "external", "target": 10, "endpoint": address } });
    rule["prediction"] = json!({});
    assert_eq!(b.create(&rule_path("rows"), &rule).await.0, 201);
    ready(&b, 4).await;
    let shown = scaling(&b).await;
    let metric = &shown["rules"][0]["metrics"]["rows"];
    assert_eq!((&metric["current"], &metric["wanted"]), (&json!(35.0), &json!(4)), "{shown}");
    assert_eq!(b.get(&rule_path("rows")).await["status"]["metrics"]["rows"]["healthy"], true);
    serving.abort();
    // Another generation of the rule, of which nothing was read.
    rule["max_replicas"] = 8.into();
    assert_eq!(b.update(&rule_path("rows"), &rule).await.0, 200);
    wait_for("the outage", async || scaling(&b).await["rules"][0]["metrics"]["rows"]["problem"] != "").await;
    stays("four instances", Duration::from_secs(3), async || scaling(&b).await["desired"] == 4).await;
    assert_eq!(b.get(&rule_path("rows")).await["status"]["metrics"]["rows"]["healthy"], false);
}

/// Answers 35 to who has the token, which may change, and 401 to everybody else.
async fn guarded_meter() -> (String, std::sync::Arc<std::sync::Mutex<String>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/load", listener.local_addr().unwrap());
    let wanted = std::sync::Arc::new(std::sync::Mutex::new(String::from("first-token")));
    let token = wanted.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let known = head.contains(&format!("authorization: bearer {}\r\n", token.lock().unwrap()));
            let (status, body) = if known { ("200 OK", r#"{"value": 35}"#) } else { ("401 Unauthorized", "{}") };
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_is_asked_with_the_token_of_its_secret() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let (address, wanted) = guarded_meter().await;
    let mut rule = by_requests();
    let rows = json!({ "type": "external", "target": 10, "endpoint": address, "auth_secret": "rows" });
    rule["metrics"] = json!({ "rows": rows });
    let (status, answer) = b.create(&rule_path("rows"), &rule).await;
    assert_eq!((status, &answer["errors"][0]["rule"]), (422, &json!("SMP041")), "{answer}");
    assert_eq!(answer["errors"][0]["field_path"], "metrics[\"rows\"].auth_secret");

    let secret = "/v1/namespaces/shop/secrets/rows";
    let body = |data: Value, version: u64| json!({ "data_wo": data, "wo_version": version });
    assert_eq!(b.create(secret, &body(json!({ "other": "hush" }), 1)).await.0, 201);
    assert_eq!(b.create(&rule_path("rows"), &rule).await.0, 201);
    let (status, answer) = b.send("DELETE", secret, &[("if-match", "*")], None).await;
    assert_eq!((status, &answer["by"]), (409, &json!(["scaling_rule shop/rows"])), "{answer}");
    let problem = async || scaling(&b).await["rules"][0]["metrics"]["rows"]["problem"].clone();
    wait_for("no token", async || problem().await.as_str().is_some_and(|p| p.contains("has no key \"token\""))).await;

    assert_eq!(b.update(secret, &body(json!({ "token": "first-token" }), 2)).await.0, 200);
    ready(&b, 4).await;
    // It is read with every question. What was measured belongs to the generation of the rule.
    *wanted.lock().unwrap() = "second-token".into();
    rule["max_replicas"] = 8.into();
    assert_eq!(b.update(&rule_path("rows"), &rule).await.0, 200);
    wait_for("a refusal", async || problem().await.as_str().is_some_and(|p| p.contains("401"))).await;
    assert!(!scaling(&b).await.to_string().contains("first-token"));
    assert_eq!(b.update(secret, &body(json!({ "token": "second-token" }), 3)).await.0, 200);
    wait_for("the new token", async || problem().await == "").await;
}

/// A namespace with a limit of so many instances.
async fn limited(b: &Bench, instances: u64) {
    let (status, answer) = b.create("/v1/namespaces/shop", &json!({ "quota": { "max_instances": instances } })).await;
    assert_eq!(status, 201, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_autoscaler_takes_what_the_quota_leaves_and_says_so() {
    let b = bench(Fake::new()).await;
    limited(&b, 5).await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let other = "/v1/namespaces/shop/applications/other";
    let (_, answer) = b.create(other, &app(IMAGE_A, 2)).await;
    b.finish(&answer).await;
    let (status, answer) = b.create(&rule_path("by-time"), &always(9)).await;
    assert_eq!((status, &answer["code"]), (403, &json!("QUOTA_EXCEEDED")), "{answer}");
    assert_eq!(answer["errors"][0]["field_path"], "max_replicas", "{answer}");
    let mut rule = always(5);
    rule["max_replicas"] = 5.into();
    assert_eq!(b.create(&rule_path("by-time"), &rule).await.0, 201);
    ready(&b, 3).await;
    let shown = scaling(&b).await;
    assert_eq!((&shown["desired"], &shown["limited_by"]), (&json!(3), &json!("quota")), "{shown}");
    assert!(shown["reason"].as_str().unwrap().contains("the namespace's quota leaves 3"), "{shown}");
    // What it has, nobody else can take.
    let (status, answer) = b.update(other, &app(IMAGE_A, 3)).await;
    assert_eq!((status, &answer["code"], &answer["used"]), (403, &json!("QUOTA_EXCEEDED"), &json!(3)), "{answer}");
    // What another one leaves, it takes.
    assert_eq!(b.update(other, &app(IMAGE_A, 1)).await.0, 202);
    ready(&b, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_never_exceeded_however_many_ask_at_once() {
    let b = bench(Fake::new()).await;
    limited(&b, 5).await;
    let path = |n: usize| format!("/v1/namespaces/shop/applications/app-{n}");
    let one = app(IMAGE_A, 2);
    let asked: Vec<_> = (0..12)
        .map(|n| {
            let (path, one) = (path(n), one.clone());
            let b = &b;
            async move { b.create(&path, &one).await }
        })
        .collect();
    let answers = futures_util::future::join_all(asked).await;
    let taken = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(taken, 2, "two instances each, and five in all: {answers:?}");
    for (status, answer) in answers.iter().filter(|(status, _)| *status != 201) {
        assert_eq!((*status, &answer["code"]), (403, &json!("QUOTA_EXCEEDED")), "{answer}");
        assert_eq!(answer["errors"][0]["field_path"], "replicas", "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("which leaves 1"), "{answer}");
    }
    // A quota is not lowered below what is in use, and what takes no more is not held up.
    let namespace = "/v1/namespaces/shop";
    let (status, answer) = b.update(namespace, &json!({ "quota": { "max_instances": 3 } })).await;
    assert_eq!((status, &answer["errors"][0]["field_path"]), (403, &json!("quota.max_instances")), "{answer}");
    let at_most_two = json!({ "quota": { "max_applications": 2, "max_instances": 4 } });
    assert_eq!(b.update(namespace, &at_most_two).await.0, 200);
    let (status, answer) = b.create("/v1/namespaces/shop/applications/third", &app(IMAGE_A, 0)).await;
    assert_eq!((status, &answer["errors"][0]["field_path"]), (403, &json!("name")), "{answer}");
    let first = (0..12).find(|n| answers[*n].0 == 201).unwrap();
    assert_eq!(b.update(&path(first), &app(IMAGE_B, 2)).await.0, 202);
    let dry = b.send("POST", &format!("{}/dry-run", path(first)), &[], Some(&app(IMAGE_B, 3))).await;
    assert!(dry.1["warnings"].to_string().contains("replicas: namespace \\\"shop\\\" allows 4"), "{dry:?}");
}
