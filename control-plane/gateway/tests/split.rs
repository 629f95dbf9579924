//! A release seen from outside: stickiness, switches, endpoints that fail, counters.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use sampan_engine::route::Split;
use sampan_gateway::{Gateway, Options, Source};

async fn with(options: Options) -> Gateway {
    Gateway::bind_with("127.0.0.1:0".parse().unwrap(), options).await.unwrap()
}

#[tokio::test]
async fn requests_follow_the_weight_and_a_swap() {
    let gateway = gateway().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    let apply = |generation, weight| {
        let app = served(&[(&old, "old"), (&new, "new")], Some(split(weight)));
        gateway.apply(table_from(generation, [("app", app)])).unwrap();
    };
    let mut client = Client::connect(gateway.public_addr()).await;
    for (generation, weight, wanted) in
        [(1, 0, 0..=0), (2, 100, 4..=6), (3, 5_000, 248..=252), (4, 10_000, 500..=500), (5, 0, 0..=0)]
    {
        apply(generation, weight);
        let before = new.count();
        for _ in 0..500 {
            let reply = client.get("/").await;
            assert_eq!(reply.header("x-sampan-revision"), Some(reply.body.as_str()));
            assert_eq!(reply.header("set-cookie"), None);
        }
        let gray = new.count() - before;
        assert!(wanted.contains(&gray), "{weight}: {gray}");
    }
    // No request that was not marked carries a lane, whichever side it went to.
    assert!(old.seen().iter().chain(&new.seen()).all(|s| s.header("x-sampan-lane").is_empty()));
    let counters = gateway.revision_counters("shop/app");
    let total: u64 = counters.values().map(|c| c.requests).sum();
    assert_eq!((total, counters["new"].requests), (2_500, new.count() as u64));
}

#[tokio::test]
async fn a_cookie_keeps_the_caller() {
    let next = Arc::new(AtomicU64::new(0));
    let random = Source::new(move || u128::from(next.fetch_add(1, Ordering::Relaxed)));
    let gateway = with(Options { random, ..Options::default() }).await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    let apply = |generation, weight| {
        let split = Split { sticky: serde_json::from_str(r#"{ "max_age_seconds": 60 }"#).unwrap(), ..split(weight) };
        let app = served(&[(&old, "old"), (&new, "new")], Some(split));
        gateway.apply(table_from(generation, [("app", app)])).unwrap();
    };
    apply(1, 5_000);
    let mut client = Client::connect(gateway.public_addr()).await;
    let mut known = Vec::new();
    for n in 0..40 {
        let reply = client.get("/").await;
        let cookie = reply.header("set-cookie").unwrap().to_owned();
        assert_eq!(cookie, format!("sampan_bucket={n:032x}; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"));
        known.push((cookie.split(';').next().unwrap().to_owned(), reply.body));
    }
    assert_eq!(known.iter().map(|k| k.1.as_str()).collect::<BTreeSet<_>>(), ["new", "old"].into());
    let mut generation = 1;
    for weight in [5_000, 7_000, 10_000, 5_000, 100] {
        generation += 1;
        apply(generation, weight);
        for (cookie, before) in &known {
            let reply = client.get_with("app.test", "/", &[&format!("Cookie: a=b; {cookie}")]).await;
            assert_eq!(reply.header("set-cookie"), None);
            match weight {
                5_000 => assert_eq!(&reply.body, before),
                10_000 => assert_eq!(reply.body, "new"),
                100 => assert!(reply.body == "old" || before == "new"),
                _ => assert!(reply.body == "new" || before == "old"),
            }
        }
    }
}

#[tokio::test]
async fn a_header_and_an_address_keep_the_caller() {
    let gateway = gateway().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    let apply = |generation, key| {
        let split = Split { sticky: serde_json::from_value(key).unwrap(), ..split(5_000) };
        let app = served(&[(&old, "old"), (&new, "new")], Some(split));
        gateway.apply(table_from(generation, [("app", app)])).unwrap();
    };
    apply(1, serde_json::json!({ "key": "header", "name": "X-User" }));
    let mut client = Client::connect(gateway.public_addr()).await;
    let mut sides = BTreeSet::new();
    for user in 0..20 {
        let line = format!("x-user: {user}");
        let first = client.get_with("app.test", "/", &[&line]).await.body;
        for _ in 0..5 {
            assert_eq!(client.get_with("app.test", "/", &[&line]).await.body, first);
        }
        sides.insert(first);
    }
    assert_eq!(sides.len(), 2);
    apply(2, serde_json::json!({ "key": "client_ip" }));
    let mut sides = BTreeSet::new();
    for n in 2..22 {
        let mut client = Client::connect_from([127, 0, 0, n], gateway.public_addr()).await;
        // What a caller says about its address counts for nothing.
        let first = client.get("/").await.body;
        for forged in 0..5 {
            let line = format!("X-Forwarded-For: 10.0.0.{forged}");
            assert_eq!(client.get_with("app.test", "/", &[&line]).await.body, first);
        }
        sides.insert(first);
    }
    assert_eq!(sides.len(), 2);
}

#[tokio::test]
async fn a_kept_connection_and_a_tunnel_over_an_abort() {
    let gateway = gateway().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    let both = [(&*old, "old"), (&*new, "new")];
    gateway.apply(table_from(1, [("app", served(&both, Some(split(10_000))))])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    let mut tunnel = Client::connect(gateway.public_addr()).await;
    assert_eq!(client.get("/").await.body, "new");
    tunnel.send("GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert!(tunnel.head().await.contains("x-sampan-revision: new"));

    // The release is aborted: the gray instance stays, without requests.
    let aborted = Split { shunned: Some("new".into()), ..split(0) };
    gateway.apply(table_from(2, [("app", served(&both, Some(aborted)))])).unwrap();
    for _ in 0..50 {
        assert_eq!(client.get("/").await.body, "old");
    }
    // The tunnel is where it was, and ends there.
    tunnel.send("ping").await;
    tunnel.read_past("ping").await;
    assert_eq!((gateway.in_flight("new"), new.count(), old.count()), (1, 2, 50));
    assert!(gateway.revision_counters("shop/app").contains_key("new"));
    drop(tunnel);
    within("idle", gateway.idle("new")).await;
    until("no connection to gray", || new.open.load(Ordering::SeqCst) == 0).await;
    // The only one that is left answers, whatever became of it.
    let aborted = Split { shunned: Some("new".into()), ..split(0) };
    gateway.apply(table_from(3, [("app", served(&both[1..], Some(aborted)))])).unwrap();
    assert_eq!(client.get("/").await.body, "new");
}

#[tokio::test]
async fn counters_end_with_the_revision() {
    let gateway = gateway().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    let both = [(&*old, "old"), (&*new, "new")];
    gateway.apply(table_from(1, [("app", served(&both, Some(split(10_000))))])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    for path in ["/", "/", "/error", "/partial"] {
        client.get(path).await;
    }
    let seen = gateway.revision_counters("shop/app");
    assert_eq!((seen["new"].requests, seen["new"].failures, seen["new"].latency.total()), (4, 2, 3));
    assert!(seen["new"].latency.quantile(0.95).is_some());
    assert_eq!(seen["old"].requests, 0);
    // No gray instance is ready for a while: the release still compares with what was.
    for generation in 2..5 {
        gateway.apply(table_from(generation, [("app", served(&both[..1], Some(split(100))))])).unwrap();
        assert_eq!(gateway.revision_counters("shop/app")["new"], seen["new"]);
    }
    // The release is over. What left with the last table is readable until the next.
    for generation in 5..7 {
        gateway.apply(table_from(generation, [("app", served(&both[..1], None))])).unwrap();
    }
    assert_eq!(gateway.revision_counters("shop/app").into_keys().collect::<Vec<_>>(), ["old"]);
}

#[tokio::test]
async fn an_endpoint_that_does_not_accept_is_passed_over_for_a_while() {
    let now = Arc::new(Mutex::new(Instant::now()));
    let clock = {
        let now = now.clone();
        Source::new(move || *now.lock().unwrap())
    };
    let gateway = with(Options { clock, ..Options::default() }).await;
    let good = Origin::start("good").await;
    let dead = endpoint("dead", refusing().await);
    gateway.apply(table(1, vec![dead.clone(), endpoint("good", good.addr)])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    let tries = || gateway.metrics().endpoints.iter().find(|e| e.key == "dead").unwrap().counters.requests;
    for _ in 0..40 {
        assert_eq!(client.post("/", "x").await.body, "good");
    }
    assert_eq!(tries(), 5);
    // Then it has one more chance at a time.
    for round in 1..4 {
        *now.lock().unwrap() += Duration::from_secs(10);
        for _ in 0..10 {
            assert_eq!(client.get("/").await.body, "good");
        }
        assert_eq!(tries(), 5 + round);
    }
    // Never the last one: it is tried every time, and its failure is told.
    gateway.apply(table(2, vec![dead.clone()])).unwrap();
    for n in 1..4 {
        assert_eq!(client.get("/").await.status, 502);
        assert_eq!(tries(), 8 + n);
    }
    // The other side is no substitute: its share is what it is.
    let gray = Origin::start("new").await;
    let mut split_table = table_from(3, [("app", served(&[(&gray, "new")], Some(split(0))))]).as_ref().clone();
    split_table.hosts.get_mut("app.test").unwrap().rules[0].backends[0].endpoints = [dead].into();
    split_table.hosts.get_mut("app.test").unwrap().rules[0].backends[0].gray.as_mut().unwrap().weight = 0;
    gateway.apply(Arc::new(split_table)).unwrap();
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(gray.count(), 0);
}

#[tokio::test]
async fn a_client_that_gives_up_leaves_the_time_it_waited() {
    let (gateway, origin) = one("a").await;
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    until("it arrived", || origin.count() == 1).await;
    drop(client);
    within("idle", gateway.idle("a")).await;
    let counters = || gateway.revision_counters("shop/app").remove("rev-a").unwrap();
    until("it is counted", || counters().requests == 1).await;
    assert_eq!((counters().failures, counters().latency.total()), (0, 1));
    // A body that breaks off is no request of the endpoint.
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400"));
    within("idle", gateway.idle("a")).await;
    assert_eq!(counters().requests, 1);
}
