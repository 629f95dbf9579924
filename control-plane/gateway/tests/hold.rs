//! From no instance to one: requests wait, and each is sent once.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use sampan_engine::route::{Buffer, Endpoint, RouteTable};
use sampan_gateway::{Gateway, Load};
use tokio::io::AsyncWriteExt;

const APP: &str = "shop/app";

/// As [`table`], with a buffer for the application.
fn buffering(generation: u64, endpoints: Vec<Endpoint>, buffer: Buffer) -> Arc<RouteTable> {
    let mut table = RouteTable::clone(&table(generation, endpoints));
    table.buffers.insert(APP.into(), buffer);
    Arc::new(table)
}

/// A gateway that buffers for an application without instance.
async fn empty(buffer: Buffer) -> Gateway {
    let gateway = gateway().await;
    gateway.apply(buffering(1, vec![], buffer)).unwrap();
    gateway
}

fn load(gateway: &Gateway) -> Load {
    gateway.load(APP).unwrap()
}

async fn held(gateway: &Gateway, n: u64) {
    until("requests are held", || load(gateway).held == n).await;
}

/// A client whose request is under way.
async fn asking(gateway: &Gateway, request: &str) -> Client {
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send(request).await;
    client
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: app.test\r\n\r\n";

/// Clients, the gateway's two sides and the origin are all in this process.
fn allow_files(n: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= n) {
        return;
    }
    limit.current = limit.maximum.map_or(Some(n), |most| Some(n.min(most)));
    setrlimit(Resource::Nofile, limit).unwrap();
}

async fn from_zero_to_one(n: usize) {
    allow_files(n as u64 * 5 + 200);
    let (gateway, origin) = (empty(Buffer::default()).await, Origin::start("a").await);
    let clients: Vec<_> = (0..n)
        .map(|i| {
            let addr = gateway.public_addr();
            tokio::spawn(async move {
                let mut client = Client::connect(addr).await;
                client.post(&format!("/{i}"), &format!("body of {i}")).await
            })
        })
        .collect();
    held(&gateway, n as u64).await;
    assert_eq!(load(&gateway).in_flight, n as u64);
    assert_eq!(origin.count(), 0);
    gateway.apply(buffering(2, vec![endpoint("a", origin.addr)], Buffer::default())).unwrap();
    for client in clients {
        let reply = within("an answer", client).await.unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, "a"), "{}", reply.body);
    }
    // POST is never sent twice, and each came whole.
    let bodies: BTreeSet<_> =
        origin.seen().iter().map(|s| (s.target().to_owned(), String::from_utf8(s.body.clone()).unwrap())).collect();
    let wanted: BTreeSet<_> = (0..n).map(|i| (format!("/{i}"), format!("body of {i}"))).collect();
    assert_eq!((origin.count(), bodies), (n, wanted));
    assert!(origin.malformed.lock().unwrap().is_empty());
    until("nothing is in flight", || load(&gateway).in_flight == 0).await;
    let after = load(&gateway);
    assert_eq!((after.requests, after.held, after.answered), (n as u64, 0, n as u64));
    // To have waited is demand, and no latency.
    assert!(after.concurrency > after.latency, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_two_hundred_is_lost_or_sent_twice() {
    from_zero_to_one(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_a_thousand_is_lost_or_sent_twice() {
    from_zero_to_one(1000).await;
}

#[tokio::test]
async fn the_control_plane_hears_of_it_at_once() {
    let gateway = empty(Buffer::default()).await;
    let _first = asking(&gateway, GET).await;
    assert_eq!(within("demand", gateway.next_held()).await, [APP.to_owned()].into());
    let _second = asking(&gateway, GET).await;
    assert_eq!(within("demand again", gateway.next_held()).await, [APP.to_owned()].into());
    held(&gateway, 2).await;
}

#[tokio::test]
async fn too_many_are_refused_and_the_others_wait_on() {
    let buffer = Buffer { requests: 3, ..Buffer::default() };
    let (gateway, origin) = (empty(buffer).await, Origin::start("a").await);
    let mut waiting = Vec::new();
    for n in 1..=3 {
        waiting.push(asking(&gateway, GET).await);
        held(&gateway, n).await;
    }
    for _ in 0..2 {
        let reply = asking(&gateway, GET).await.reply().await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        assert!(reply.body.contains(r#""code":"buffer_full""#), "{}", reply.body);
    }
    assert_eq!((load(&gateway).held, load(&gateway).requests), (3, 3));
    gateway.apply(buffering(2, vec![endpoint("a", origin.addr)], buffer)).unwrap();
    for client in &mut waiting {
        assert_eq!(client.reply().await.status, 200);
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn after_the_deadline_it_is_an_answer_with_a_reason() {
    let buffer = Buffer { timeout_ms: 400, ..Buffer::default() };
    let (gateway, begun) = (empty(buffer).await, Instant::now());
    let mut client = asking(&gateway, GET).await;
    held(&gateway, 1).await;
    // Tables come and go; the deadline is one for all of the waiting.
    for generation in 2..6 {
        gateway.apply(buffering(generation, vec![], buffer)).unwrap();
    }
    let reply = client.reply().await;
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    assert!(reply.body.contains(r#""code":"activation_timeout""#), "{}", reply.body);
    assert_eq!(load(&gateway).held, 0);
    // An instance that never takes it does not make it longer.
    gateway.apply(buffering(6, vec![], buffer)).unwrap();
    let mut client = asking(&gateway, GET).await;
    held(&gateway, 1).await;
    gateway.apply(buffering(7, vec![endpoint("a", refusing().await)], buffer)).unwrap();
    let reply = client.reply().await;
    assert_eq!(reply.status, 502);
}

#[tokio::test]
async fn an_instance_that_does_not_accept_yet_loses_no_request() {
    let (gateway, origin) = (empty(Buffer::default()).await, Origin::start("a").await);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(asking(&gateway, "POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody").await);
    }
    held(&gateway, 5).await;
    gateway.apply(buffering(2, vec![endpoint("early", refusing().await)], Buffer::default())).unwrap();
    until("each was tried there", || gateway.metrics().endpoints.iter().any(|e| e.counters.failures >= 5)).await;
    gateway.apply(buffering(3, vec![endpoint("a", origin.addr)], Buffer::default())).unwrap();
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
    assert_eq!(origin.count(), 5);
    assert!(origin.seen().iter().all(|s| s.body == b"body"));
}

#[tokio::test]
async fn who_goes_away_gives_its_place_back() {
    let gateway = empty(Buffer::default()).await;
    let some_body = "POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nhalf";
    let whole_body = "POST /x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\n\r\nbody";
    let no_body_yet = "POST /x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for request in [GET, some_body, whole_body, no_body_yet] {
        let client = asking(&gateway, request).await;
        held(&gateway, 1).await;
        drop(client);
        held(&gateway, 0).await;
        // More comes after the head was taken, and then the end.
        let mut client = asking(&gateway, request).await;
        held(&gateway, 1).await;
        client.send_quietly(vec![b'x'; 100_000]).await;
        client.stream.shutdown().await.unwrap();
        held(&gateway, 0).await;
    }
    until("nothing is in flight", || load(&gateway).in_flight == 0).await;
}

#[tokio::test]
async fn bodies_are_left_with_the_client_until_there_is_an_instance() {
    let (gateway, origin) = (empty(Buffer::default()).await, Origin::start("a").await);
    let head = "POST /x HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let mut client = asking(&gateway, head).await;
    held(&gateway, 1).await;
    // The gateway would have asked for it by now: it holds the request.
    let mut byte = [0];
    assert!(client.stream.try_read(&mut byte).is_err());
    gateway.apply(buffering(2, vec![endpoint("a", origin.addr)], Buffer::default())).unwrap();
    assert!(client.head().await.starts_with("HTTP/1.1 100"));
    client.send("late").await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(origin.seen()[0].body, b"late");
}

#[tokio::test]
async fn a_gateway_that_stops_answers_those_who_wait() {
    let gateway = empty(Buffer::default()).await;
    let mut client = asking(&gateway, GET).await;
    held(&gateway, 1).await;
    let stopping = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.shutdown(DEADLINE).await }
    });
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(reply.body.contains(r#""code":"shutting_down""#), "{}", reply.body);
    assert!(within("the end", stopping).await.unwrap());
}

#[tokio::test]
async fn without_a_reason_to_wait_nobody_waits_on() {
    let gateway = empty(Buffer::default()).await;
    let mut client = asking(&gateway, GET).await;
    held(&gateway, 1).await;
    gateway.apply(table(2, vec![])).unwrap();
    let reply = client.reply().await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains(r#""code":"no_endpoint""#), "{}", reply.body);
    let reply = asking(&gateway, GET).await.reply().await;
    assert!(reply.body.contains(r#""code":"no_endpoint""#), "{}", reply.body);
}

#[tokio::test]
async fn load_is_counted_across_instances_and_kept_while_there_is_none() {
    let (gateway, a) = one("a").await;
    assert_eq!(gateway.load("shop/other"), None);
    let b = Origin::start("b").await;
    gateway.apply(table(2, vec![endpoint("a", a.addr), endpoint("b", b.addr)])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let mut long = asking(&gateway, "GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    until("one is in flight", || load(&gateway).in_flight == 1 && load(&gateway).requests == 11).await;
    let before = load(&gateway);
    assert_eq!((before.answered, before.held), (10, 0));
    // One to each instance: the one in use, and the one that idles.
    until("connections are counted", || load(&gateway).connections == 2).await;
    assert_eq!(gateway.loads().keys().map(String::as_str).collect::<Vec<_>>(), [APP]);
    // Time passes, and the request in it.
    until("it is counted while it lasts", || load(&gateway).concurrency > before.concurrency).await;
    a.release.add_permits(1);
    b.release.add_permits(1);
    assert_eq!(long.reply().await.status, 200);
    until("nothing is in flight", || load(&gateway).in_flight == 0).await;
    for generation in 3..6 {
        gateway.apply(table(generation, vec![])).unwrap();
    }
    assert_eq!((load(&gateway).requests, load(&gateway).answered), (11, 11));
    gateway.apply(Arc::new(RouteTable { generation: 6, ..RouteTable::default() })).unwrap();
    gateway.apply(Arc::new(RouteTable { generation: 7, ..RouteTable::default() })).unwrap();
    assert_eq!(gateway.load(APP), None);
}
