//! Routing, draining, retries and streaming over real sockets.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use sampan_engine::route::RouteTable;
use sampan_gateway::Listener::{Internal, Public};
use sampan_gateway::{Gateway, GatewayError};

#[tokio::test]
async fn own_answers_are_problems() {
    let gateway = gateway().await;
    let mut client = Client::connect(gateway.public_addr()).await;
    let reply = client.get("/").await;
    assert_eq!((reply.status, reply.header("content-type")), (404, Some("application/problem+json")));
    assert!(reply.body.contains(r#""status":404"#) && reply.body.contains(r#""code":"no_route""#), "{}", reply.body);

    gateway.apply(table(1, vec![])).unwrap();
    let reply = client.get("/").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert!(reply.body.contains(r#""code":"no_endpoint""#));

    gateway.apply(table(2, vec![endpoint("gone", refusing().await)])).unwrap();
    let reply = client.get("/").await;
    assert_eq!(reply.status, 502);
    assert!(reply.body.contains(r#""code":"connect_failed""#));
}

#[tokio::test]
async fn forwards_and_marks() {
    let (gateway, origin) = one("a").await;
    let mut client = Client::connect(gateway.public_addr()).await;
    client
        .send(
            "POST /x/y?q=%20 HTTP/1.1\r\nHost: App.test:80\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
             Connection: keep-alive, x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
             X-Sampan-Lane: forged\r\nx-sampan-lane: twice\r\nBaggage: a=1,SAMPAN.lane=forged,b=2\r\n\
             Content-Length: 4\r\n\r\nbody",
        )
        .await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.body.as_str(), reply.header("x-sampan-revision")), (200, "a", Some("rev-a")));
    assert!(!reply.head.contains("forged"));
    let seen = &origin.seen()[0];
    assert_eq!((seen.target(), seen.body.as_slice()), ("/x/y?q=%20", b"body".as_slice()));
    assert_eq!(seen.header("host"), ["App.test:80"]);
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.header("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.header("x-forwarded-host"), ["App.test:80"]);
    assert_eq!(seen.header("baggage"), ["a=1,b=2"]);
    assert_eq!(seen.header("content-length"), ["4"]);
    for gone in ["x-real-ip", "x-mine", "keep-alive", "te", "connection", "x-sampan-lane"] {
        assert!(seen.header(gone).is_empty(), "{gone}: {}", seen.head);
    }
    // The same connections serve on, to both sides.
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
        until("the connection is idle again", || gateway.metrics().endpoints[0].idle_connections == 1).await;
    }
    assert_eq!(origin.connections.load(Ordering::SeqCst), 1);
    let metrics = gateway.metrics();
    let counters = &metrics.endpoints[0].counters;
    assert_eq!((counters.requests, counters.failures), (21, 0));
    assert_eq!(counters.latency.total(), 21);
    assert_eq!(gateway.revision_counters("shop/app"), [("rev-a".to_owned(), counters.clone())].into());
    assert!(gateway.revision_counters("shop/ap").is_empty() && gateway.revision_counters("shop/app2").is_empty());
    assert_eq!(client.get("/error").await.status, 500);
    assert_eq!(gateway.metrics().endpoints[0].counters.failures, 1);
}

#[tokio::test]
async fn internal_listener_trusts_lanes_of_the_namespace_and_sees_internal_hosts() {
    let (gateway, origin) = one("a").await;
    let mut hidden = RouteTable::clone(&table(2, vec![endpoint("a", origin.addr)]));
    hidden.hosts.get_mut("app.test").unwrap().public = false;
    hidden.sources.insert([127, 0, 0, 1].into(), "shop".into());
    gateway.apply(Arc::new(hidden)).unwrap();
    assert_eq!(Client::connect(gateway.public_addr()).await.get("/").await.status, 404);
    let internal = gateway.add_listener("127.0.0.1:0".parse().unwrap(), Internal).await.unwrap();
    let mut client = Client::connect(internal).await;
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\nx-sampan-lane: gray\r\nbaggage: sampan.lane=gray\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(origin.seen()[0].header("x-sampan-lane"), ["gray"]);
    assert_eq!(origin.seen()[0].header("baggage"), ["sampan.lane=gray"]);
}

#[tokio::test]
async fn body_kinds_pass() {
    let (gateway, origin) = one("a").await;
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert!(client.head().await.contains("content-length: 1"));
    assert_eq!(client.get("/interim").await.body, "a");
    assert_eq!(client.get("/until-close").await.body, "until close");
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 100"));
    client.send("late").await;
    assert_eq!(client.reply().await.status, 200);
    client
        .send("POST /last HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
        .await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    let bodies: Vec<_> = origin.seen().into_iter().map(|s| String::from_utf8(s.body).unwrap()).collect();
    assert_eq!(bodies, ["", "", "", "late", "abcdef"]);
    assert!(origin.malformed.lock().unwrap().is_empty());

    // A response that breaks off is not made to look whole.
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("GET /cut-body HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    assert!(client.rest().await.ends_with("\r\n\r\nhalf"));
    // A large body streams through.
    let mut client = Client::connect(gateway.public_addr()).await;
    let large = "x".repeat(5_000_000);
    assert_eq!(client.post("/", &large).await.status, 200);
    assert_eq!(origin.seen().last().unwrap().body.len(), large.len());
}

#[tokio::test]
async fn drain_finishes_old_while_new_go_to_new() {
    let gateway = gateway().await;
    let (old, new) = (Origin::start("old").await, Origin::start("new").await);
    gateway.apply(table(1, vec![endpoint("old", old.addr)])).unwrap();
    let addr = gateway.public_addr();
    let (mut held, mut streaming, mut tunnel) =
        (Client::connect(addr).await, Client::connect(addr).await, Client::connect(addr).await);
    held.send("POST /hold HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\n\r\nx").await;
    streaming.send("GET /stream HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let head = streaming.head().await;
    assert!(!head.contains("x-hop") && head.contains("x-sampan-revision: rev-old"), "{head}");
    streaming.read_past("first").await;
    tunnel.send("GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert!(tunnel.head().await.starts_with("HTTP/1.1 101"));
    assert_eq!(Client::connect(addr).await.get("/").await.body, "old");
    until("three in flight", || gateway.in_flight("old") == 3 && old.count() == 4).await;
    until("an idle connection", || gateway.metrics().endpoints[0].idle_connections == 1).await;

    assert_eq!(gateway.apply(table(2, vec![endpoint("new", new.addr)])).unwrap(), 2);
    let idle = tokio::spawn(gateway.idle("old"));
    until("the idle connection is closed", || old.open.load(Ordering::SeqCst) == 3).await;
    for _ in 0..20 {
        assert_eq!(Client::connect(addr).await.get("/").await.body, "new");
    }
    assert!(matches!(gateway.apply(table(1, vec![])), Err(GatewayError::OlderTable { held: 2, offered: 1 })));
    assert!(!idle.is_finished());
    old.release.add_permits(2);
    assert_eq!(held.reply().await.body, "old");
    streaming.read_past("last").await;
    until("only the tunnel is left", || gateway.in_flight("old") == 1).await;
    tunnel.send("ping").await;
    tunnel.read_past("ping").await;
    assert!(!idle.is_finished());
    drop(tunnel);
    within("idle", idle).await.unwrap();
    assert_eq!((gateway.in_flight("old"), old.count()), (0, 4));
    until("no connection to the old one", || old.open.load(Ordering::SeqCst) == 0).await;
    // The connection that was held goes on, at the new one.
    assert_eq!(held.get("/").await.body, "new");
    gateway.apply(table(3, vec![endpoint("new", new.addr)])).unwrap();
    assert_eq!(gateway.metrics().endpoints.len(), 1);
    within("idle of an unknown one", gateway.idle("old")).await;
}

#[tokio::test]
async fn in_flight_ends_when_the_client_goes() {
    let (gateway, origin) = one("a").await;
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("GET /stream HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    client.read_past("first").await;
    assert_eq!(gateway.in_flight("a"), 1);
    drop(client);
    within("idle", gateway.idle("a")).await;
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    until("it arrived", || origin.count() == 2).await;
    assert_eq!(gateway.in_flight("a"), 1);
    drop(client);
    within("idle", gateway.idle("a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn table_swaps_under_load_lose_nothing() {
    let gateway = gateway().await;
    let mut origins = vec![Origin::start("o0").await, Origin::start("o1").await];
    let set = |origins: &[Arc<Origin>]| origins.iter().map(|o| endpoint(&o.name, o.addr)).collect::<Vec<_>>();
    gateway.apply(table(1, set(&origins))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|i| {
            let (addr, stop) = (gateway.public_addr(), stop.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(addr).await;
                let mut done = 0_u64;
                while !stop.load(Ordering::Relaxed) || done < 50 {
                    // Some without a safe retry.
                    let reply = if i % 2 == 0 { client.get("/").await } else { client.post("/", "body").await };
                    assert_eq!(reply.status, 200, "{} {}", reply.head, reply.body);
                    done += 1;
                }
                done
            })
        })
        .collect();
    for generation in 2..42 {
        let fresh = Origin::start(&format!("o{generation}")).await;
        origins.push(fresh);
        let leaving = origins.remove(0);
        gateway.apply(table(generation, set(&origins))).unwrap();
        // The ack and nothing in flight: from here on the instance may be stopped.
        within("drained", gateway.idle(&leaving.name)).await;
        let after = leaving.count();
        until("some more requests", || origins[1].count() > 2).await;
        assert_eq!(leaving.count(), after, "a request after the drain");
        until("its connections are closed", || leaving.open.load(Ordering::SeqCst) == 0).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for client in clients {
        total += within("client", client).await.unwrap();
    }
    assert!(total >= 400);
}

#[tokio::test]
async fn stale_connections_do_not_surface() {
    let (gateway, origin) = one("a").await;
    let mut client = Client::connect(gateway.public_addr()).await;
    for i in 0..50 {
        assert_eq!(client.get("/close-after").await.status, 200, "{i}");
    }
    for i in 0..20 {
        assert_eq!(client.post("/close-after", "x").await.status, 200, "{i}");
        until("the origin has closed", || origin.open.load(Ordering::SeqCst) == 0).await;
    }
    assert_eq!(origin.count(), 70);
    assert_eq!(gateway.metrics().endpoints[0].counters.failures, 0);
}

#[tokio::test]
async fn connection_closed_under_the_request() {
    let gateway = gateway().await;
    let origin = Origin::one_shot("a").await;
    gateway.apply(table(1, vec![endpoint("a", origin.addr)])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    assert_eq!(client.get("/").await.status, 200);
    until("kept", || gateway.metrics().endpoints[0].idle_connections == 1).await;
    // The origin reads the request and closes: safe to repeat, on a fresh connection.
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(origin.count(), 3);
    until("kept", || gateway.metrics().endpoints[0].idle_connections == 1).await;
    // Not safe: it was sent and may have taken effect.
    assert_eq!(client.post("/", "x").await.status, 502);
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn retries_once_elsewhere_when_safe() {
    let gateway = gateway().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    // Refused connections: any method.
    gateway.apply(table(1, vec![endpoint("dead", refusing().await), endpoint("b", b.addr)])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    for _ in 0..10 {
        assert_eq!(client.post("/", "x").await.body, "b");
    }
    assert_eq!(b.count(), 10);
    let dead = &gateway.metrics().endpoints[1];
    assert_eq!((dead.key.as_str(), dead.counters.failures > 0), ("dead", true));

    // No byte of a response: idempotent ones go to the other, once.
    gateway.apply(table(2, vec![endpoint("a", a.addr), endpoint("b", b.addr)])).unwrap();
    b.seen.lock().unwrap().clear();
    assert_eq!(client.get("/drop").await.status, 502);
    assert_eq!((a.count(), b.count()), (1, 1));
    // Others, and those of which a byte of the response came, do not.
    assert_eq!(client.post("/drop", "x").await.status, 502);
    assert_eq!(a.count() + b.count(), 3);
    assert_eq!(client.get("/partial").await.status, 502);
    assert_eq!(a.count() + b.count(), 4);
    assert_eq!(client.get("/garbage").await.status, 502);
    assert_eq!(a.count() + b.count(), 5);
}

#[tokio::test]
async fn timeouts() {
    let gateway = impatient().await;
    let origin = Origin::start("a").await;
    gateway.apply(table(1, vec![endpoint("a", origin.addr)])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    let reply = client.get("/never").await;
    assert_eq!(reply.status, 504);
    assert!(reply.body.contains(r#""code":"upstream_timeout""#));
    assert_eq!((gateway.in_flight("a"), origin.count()), (0, 1));
    // A body that stops coming is the client's fault and ends the connection.
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nhalf").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (408, Some("close")));
    client.rest().await;
    // One that comes slowly is not.
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\n").await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.send("x").await;
    }
    assert_eq!(client.reply().await.status, 200);
    // A head that does not end.
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("GET / HTTP/1.1\r\nHost: app").await;
    client.rest().await;
}

#[tokio::test]
async fn weights_are_followed() {
    let gateway = gateway().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let backends = vec![backend(90, vec![endpoint("a", a.addr)]), backend(10, vec![endpoint("b", b.addr)])];
    gateway.apply(table_of(1, backends)).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    for _ in 0..100 {
        client.get("/").await;
    }
    assert!((9..=11).contains(&b.count()), "{}", b.count());
    // The rule's counter goes on over a swap.
    let backends = vec![backend(0, vec![endpoint("a", a.addr)]), backend(10, vec![])];
    gateway.apply(table_of(2, backends)).unwrap();
    assert_eq!(client.get("/").await.status, 503);
}

#[tokio::test]
async fn upgrade_not_granted_closes() {
    let (gateway, origin) = one("a").await;
    let mut client = Client::connect(gateway.public_addr()).await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
             GET /evil HTTP/1.1\r\nHost: app.test\r\n\r\n",
        )
        .await;
    let all = client.rest().await;
    assert!(all.starts_with("HTTP/1.1 200") && all.matches("HTTP/1.1").count() == 1, "{all}");
    assert_eq!(origin.count(), 1);
    assert_eq!(origin.seen()[0].header("upgrade"), ["websocket"]);
    // HTTP/2 is not upgraded to.
    let mut client = Client::connect(gateway.public_addr()).await;
    client
        .send("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 200);
    assert!(origin.seen()[1].header("upgrade").is_empty() && origin.seen()[1].header("http2-settings").is_empty());
    // A switch nobody asked for.
    assert_eq!(client.get("/ws").await.status, 502);
    within("idle", gateway.idle("a")).await;
}

#[tokio::test]
async fn port_in_use() {
    let gateway = gateway().await;
    let addr = gateway.public_addr();
    assert!(matches!(Gateway::bind(addr).await, Err(GatewayError::PortInUse(a)) if a == addr));
    assert!(matches!(gateway.add_listener(addr, Public).await, Err(GatewayError::PortInUse(_))));
}

#[tokio::test]
async fn shutdown_lets_requests_finish() {
    let (gateway, origin) = one("a").await;
    let addr = gateway.public_addr();
    let (mut busy, mut quiet) = (Client::connect(addr).await, Client::connect(addr).await);
    assert_eq!(quiet.get("/").await.status, 200);
    busy.send("GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    until("it arrived", || origin.count() == 2).await;
    let copy = gateway.clone();
    let stopping = tokio::spawn(async move { copy.shutdown(DEADLINE).await });
    quiet.rest().await;
    assert!(!stopping.is_finished());
    origin.release.add_permits(1);
    let reply = busy.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert!(within("shutdown", stopping).await.unwrap());
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    assert!(matches!(gateway.add_listener(addr, Public).await, Err(GatewayError::ShuttingDown)));
}

#[tokio::test]
async fn shutdown_cuts_at_its_deadline() {
    let (gateway, origin) = one("a").await;
    let (mut tunnel, mut busy) =
        (Client::connect(gateway.public_addr()).await, Client::connect(gateway.public_addr()).await);
    tunnel.send("GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert!(tunnel.head().await.starts_with("HTTP/1.1 101"));
    busy.send("GET /hold HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    until("it arrived", || origin.count() == 2).await;
    assert!(!within("shutdown", gateway.shutdown(Duration::from_millis(50))).await);
    tunnel.rest().await;
    busy.rest().await;
    within("idle", gateway.idle("a")).await;
}
