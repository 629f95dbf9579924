//! Our bytes against our listener: each vector is refused and the connection closed, or reaches the origin as one request.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Want {
    /// 4xx, closed, and nothing at the origin.
    Refused,
    /// Exactly one request at the origin.
    One,
    /// One of these.
    Either,
    /// Closed without an answer of HTTP/1.1, which the client would not understand.
    Closed,
    /// The first request is served, the second one is refused, and what follows is not looked at.
    Stopped,
}
use Want::{Closed, Either, One, Refused, Stopped};

const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: app.test\r\n\r\n";

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: app.test\r\n{headers}\r\n\r\n{body}").into_bytes()
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: app.test\r\n{headers}\r\n\r\n{EVIL}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked", body)
}

fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: app.test\r\n\r\n").into_bytes()
}

fn vectors() -> Vec<(&'static str, Vec<u8>, Want)> {
    let mut all = vec![
        // G1: lengths. What is after the body the origin would have seen must not become a request of its own.
        ("g1 cl+te", post("Content-Length: 5\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{EVIL}")), Either),
        ("g1 te+cl", post("Transfer-Encoding: chunked\r\nContent-Length: 5", &format!("0\r\n\r\n{EVIL}")), Either),
        ("g1 two cl", post("Content-Length: 0\r\nContent-Length: 40", EVIL), Refused),
        ("g1 cl list", post("Content-Length: 0, 40", EVIL), Refused),
        ("g1 cl list same", post("Content-Length: 1, 1", &format!("x{EVIL}")), Refused),
        ("g1 cl negative", post("Content-Length: -1", EVIL), Refused),
        ("g1 cl plus", post("Content-Length: +0", EVIL), Refused),
        ("g1 cl hex", post("Content-Length: 0x0", EVIL), Refused),
        ("g1 cl empty", post("Content-Length: ", EVIL), Refused),
        ("g1 cl overflow", post("Content-Length: 18446744073709551616", EVIL), Refused),
        ("g1 cl max", post("Content-Length: 18446744073709551615", EVIL), Refused),
        ("g1 cl inner space", post("Content-Length: 1 0", EVIL), Refused),
        // G2: transfer codings.
        (
            "g2 te twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{EVIL}")),
            Refused,
        ),
        ("g2 te list twice", post("Transfer-Encoding: chunked, chunked", &format!("0\r\n\r\n{EVIL}")), Refused),
        ("g2 te not last", post("Transfer-Encoding: chunked, identity", &format!("0\r\n\r\n{EVIL}")), Refused),
        ("g2 te identity", post("Transfer-Encoding: identity", EVIL), Refused),
        ("g2 te gzip", post("Transfer-Encoding: gzip, chunked", &format!("0\r\n\r\n{EVIL}")), Refused),
        ("g2 xchunked", post("Transfer-Encoding: xchunked", &format!("0\r\n\r\n{EVIL}")), Refused),
        ("g2 te vtab", post("Transfer-Encoding: \x0bchunked", &format!("0\r\n\r\n{EVIL}")), Refused),
        ("g2 te comma", post("Transfer-Encoding: chunked,", &format!("0\r\n\r\n{EVIL}")), Refused),
        ("g2 te empty", post("Transfer-Encoding:", EVIL), Refused),
        ("g2 te quoted", post("Transfer-Encoding: \"chunked\"", &format!("0\r\n\r\n{EVIL}")), Refused),
        ("g2 te tab", post("Transfer-Encoding:\tchunked", &format!("0\r\n\r\n{EVIL}")), Either),
        ("g2 te case", post("tRANSFER-eNCODING: Chunked", &format!("0\r\n\r\n{EVIL}")), Either),
        (
            "g2 te http/1.0",
            format!("POST / HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{EVIL}")
                .into_bytes(),
            Refused,
        ),
        (
            "g2 no length",
            format!("POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n{EVIL}").into_bytes(),
            One,
        ),
        // G3: chunks.
        ("g3 size overflow", chunked("10000000000000000\r\nx\r\n0\r\n\r\n"), Refused),
        ("g3 size wraps", chunked(&format!("fffffffffffffffff\r\n{EVIL}")), Refused),
        ("g3 size sign", chunked("-1\r\nx\r\n0\r\n\r\n"), Refused),
        ("g3 size 0x", chunked("0x1\r\nx\r\n0\r\n\r\n"), Refused),
        ("g3 size empty", chunked("\r\n0\r\n\r\n"), Refused),
        ("g3 size not hex", chunked("g\r\nx\r\n0\r\n\r\n"), Refused),
        ("g3 bare lf size", chunked(&format!("1\nx\r\n0\r\n\r\n{EVIL}")), Refused),
        ("g3 bare lf in extension", chunked(&format!("1;a\nx\r\n0\r\n\r\n{EVIL}")), Refused),
        ("g3 long chunk", chunked(&format!("1\r\nxx\r\n0\r\n\r\n{EVIL}")), Refused),
        ("g3 extension", chunked(&format!("1;a=b\r\nx\r\n0\r\n\r\n{EVIL}")), Either),
        ("g3 large extension", chunked(&format!("1;{}\r\nx\r\n0\r\n\r\n{EVIL}", "a".repeat(100_000))), Refused),
        ("g3 no final crlf", chunked("1\r\nx\r\n0\r\n"), Refused),
        ("g3 trailers", chunked(&format!("0\r\nContent-Length: 9\r\nX-Sampan-Lane: l\r\n\r\n{EVIL}")), Either),
        ("g3 bad trailer", chunked(&format!("0\r\nTransfer-Encoding\x00: x\r\n\r\n{EVIL}")), Refused),
        // G4: header syntax.
        ("g4 obs-fold", get("X-A: 1\r\n 2"), Refused),
        ("g4 obs-fold te", post("Transfer-Encoding:\r\n chunked", &format!("0\r\n\r\n{EVIL}")), Refused),
        ("g4 fold first", b"GET / HTTP/1.1\r\n Host: app.test\r\n\r\n".to_vec(), Refused),
        ("g4 space before colon", get("X-A : 1"), Refused),
        ("g4 space before cl colon", post("Content-Length : 40", EVIL), Refused),
        ("g4 bare cr", get("X-A: 1\rX-B: 2"), Refused),
        ("g4 nul in value", get("X-A: a\x00b"), Refused),
        ("g4 nul in name", get("X-\x00A: b"), Refused),
        ("g4 control in name", get("X-\x01A: b"), Refused),
        ("g4 empty name", get(": b"), Refused),
        ("g4 no colon", get("X-A"), Refused),
        ("g4 64 KB header", get(&format!("X-A: {}", "a".repeat(65_536))), Refused),
        ("g4 33 KB header", get(&format!("X-A: {}", "a".repeat(33 * 1024))), Refused),
        ("g4 10000 headers", get(&vec!["A: b"; 10_000].join("\r\n")), Refused),
        ("g4 long target", line(&format!("GET /{} HTTP/1.1", "a".repeat(70_000))), Refused),
        // G5: what follows a refused request.
        ("g5 after refused", format!("GET / HTTP/1.1\r\n\r\n{EVIL}").into_bytes(), Refused),
        (
            "g5 body of refused",
            format!("POST /../x HTTP/1.1\r\nHost: app.test\r\nContent-Length: 40\r\n\r\n{EVIL}").into_bytes(),
            Refused,
        ),
        ("g5 after upgrade", get("Connection: Upgrade\r\nUpgrade: websocket"), One),
        // G6: host and target.
        ("g6 no host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), Refused),
        ("g6 two hosts", get("Host: other.test"), Refused),
        ("g6 same host twice", get("Host: app.test"), Refused),
        ("g6 host list", b"GET / HTTP/1.1\r\nHost: app.test, other\r\n\r\n".to_vec(), Refused),
        ("g6 host user", b"GET / HTTP/1.1\r\nHost: x@app.test\r\n\r\n".to_vec(), Refused),
        ("g6 host path", b"GET / HTTP/1.1\r\nHost: app.test/x\r\n\r\n".to_vec(), Refused),
        (
            "g6 host in connection",
            format!("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: host, close\r\n\r\n{EVIL}").into_bytes(),
            One,
        ),
        (
            "g6 cl in connection",
            post("Connection: content-length, close\r\nContent-Length: 1", &format!("x{EVIL}")),
            One,
        ),
        (
            "g6 te in connection",
            post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{EVIL}")),
            One,
        ),
        ("g6 absolute differs", line("GET http://other.test/ HTTP/1.1"), Refused),
        ("g6 absolute same", line("GET http://app.test/ HTTP/1.1"), One),
        ("g6 absolute user", line("GET http://u@app.test/ HTTP/1.1"), Refused),
        ("g6 connect", line("CONNECT app.test:80 HTTP/1.1"), Refused),
        ("g6 double slash", line("GET //a HTTP/1.1"), One),
        ("g6 dots", line("GET /a/../b HTTP/1.1"), Refused),
        ("g6 encoded dots", line("GET /a/%2e%2E/b HTTP/1.1"), Refused),
        ("g6 encoded slash dots", line("GET /a/..%2fb HTTP/1.1"), Refused),
        ("g6 nul path", line("GET /%00 HTTP/1.1"), Refused),
        ("g6 raw nul path", line("GET /\x00 HTTP/1.1"), Refused),
        ("g6 method in target", line("GET / HTTP/1.1 GET /evil HTTP/1.1"), Refused),
        ("g6 crlf in target", line("GET /a%0d%0aX:%20y HTTP/1.1"), One),
        ("g6 no version", b"GET /\r\n\r\n".to_vec(), Refused),
        ("g6 http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Closed),
        ("g6 half a preface", b"PRI * HTTP/2.0\r\n\r\n".to_vec(), Closed),
        ("g6 almost a preface", b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n".to_vec(), Refused),
        ("g6 http/1.2", line("GET / HTTP/1.2"), Refused),
        ("g6 lowercase version", line("GET / http/1.1"), Refused),
        // G7: lanes.
        (
            "g7 lane named in connection",
            get("X-Sampan-Lane: a\r\nx-sampan-LANE: b\r\nConnection: x-sampan-lane, close"),
            One,
        ),
        ("g7 lane folded", get("X-Sampan-Lane: a\r\n b"), Refused),
        ("g7 baggage", get("Baggage: sampan.lane=a\r\nbaggage: k=v , Sampan.Lane=b;x\r\nConnection: close"), One),
        (
            "g7 lane twice with an underscore",
            get("x_sampan_lane: a\r\nX-Sampan_Lane: b\r\nx-SAMPAN-lane: c\r\nConnection: close"),
            One,
        ),
        ("g7 baggage folded", get("Baggage: k=v,\r\n sampan.lane=a"), Refused),
        (
            "g7 baggage twice",
            get("Baggage: sampan.lane=a,sampan.lane=b\r\nBAGGAGE:\tsampan.lane = c\r\nConnection: close, baggage"),
            One,
        ),
        (
            "g7 lane in announced trailers",
            post(
                "Trailer: X-Sampan-Lane, Baggage\r\nTransfer-Encoding: chunked",
                &format!("1\r\nx\r\n0\r\nX-Sampan-Lane: a\r\nBaggage: sampan.lane=a\r\n\r\n{EVIL}"),
            ),
            One,
        ),
        ("g7 lane named like a control", get("X-Sampan-Lane\x0b: a"), Refused),
        // What is left of the lists above.
        ("g1 cl with a tab inside", post("Content-Length: 1\t0", EVIL), Refused),
        (
            "g1 cl twice the same",
            post("Connection: close\r\nContent-Length: 1\r\nContent-Length: 1", &format!("x{EVIL}")),
            Either,
        ),
        ("g1 cl other digits", post("Content-Length: \u{663}", EVIL), Refused),
        ("g2 te trailing tab", post("Transfer-Encoding: chunked\t", &format!("0\r\n\r\n{EVIL}")), Either),
        ("g2 te in two lines", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), Refused),
        (
            "g2 cl http/1.0 kept",
            format!("POST / HTTP/1.0\r\nHost: app.test\r\nContent-Length: 1\r\n\r\nx{EVIL}").into_bytes(),
            One,
        ),
        ("g3 size with spaces", chunked(&format!("1 \r\nx\r\n0\r\n\r\n{EVIL}")), Either),
        ("g3 lf before the end", chunked(&format!("1\r\nx\n0\r\n\r\n{EVIL}")), Refused),
        (
            "g3 trailer that frames",
            chunked(&format!("0\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n{EVIL}")),
            Either,
        ),
        (
            "g5 upgrade with a body",
            post("Connection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 1", &format!("x{EVIL}")),
            Either,
        ),
        ("g5 upgrade to h2c", get("Connection: Upgrade, close\r\nUpgrade: h2c"), One),
        ("g5 upgrade list", get("Connection: Upgrade, close\r\nUpgrade: websocket, h2c"), One),
        (
            "g5 refused between good ones",
            format!("GET /ok HTTP/1.1\r\nHost: app.test\r\n\r\nGET /.. HTTP/1.1\r\nHost: app.test\r\n\r\n{EVIL}")
                .into_bytes(),
            Stopped,
        ),
        ("g6 options of everything", line("OPTIONS * HTTP/1.1"), Either),
        ("g6 target without a slash", line("GET evil HTTP/1.1"), Refused),
        ("g6 backslash dots", line("GET /a\\..\\evil HTTP/1.1"), Refused),
        ("g6 absolute with https", line("GET https://app.test/ HTTP/1.1"), Either),
        // G9: slow and broken off.
        (
            "g9 expect twice",
            post("Expect: 100-continue\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 1", "x"),
            One,
        ),
        ("g9 expect in http/1.0", b"POST / HTTP/1.0\r\nHost: app.test\r\nExpect: 100-continue\r\n\r\n".to_vec(), One),
        ("g9 chunk that does not come", chunked("5\r\nx"), Refused),
        ("g9 an answer as a request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), Refused),
        ("g9 short body", post("Content-Length: 5", "x"), Refused),
        ("g9 expect other", post("Expect: magic\r\nConnection: close\r\nContent-Length: 1", "x"), Either),
    ];
    all.push((
        "g4 not utf-8",
        [&b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nX-A: \xff\xfe\r\n\r\n"[..]].concat(),
        One,
    ));
    all.push(("g6 host not utf-8", b"GET / HTTP/1.1\r\nHost: app.t\xffst\r\n\r\n".to_vec(), Refused));
    all.push(("g9 tls hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), Refused));
    all
}

async fn run(name: &str, bytes: Vec<u8>, want: Want) -> Result<(), String> {
    let gateway = impatient().await;
    let origin = Origin::start("ok").await;
    gateway.apply(table(1, vec![endpoint("ok", origin.addr)])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    // The gateway may answer and close before all of it is read.
    let _ = client.stream.write_all(&bytes).await;
    let all = client.rest().await;
    within("idle", gateway.idle("ok")).await;
    let status: u16 = all.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let (seen, malformed) = (origin.seen(), origin.malformed.lock().unwrap().clone());
    let problem = |what: &str| Err(format!("{name} ({want:?}): {what}; status {status}, seen {seen:?}, {malformed:?}"));
    if !malformed.is_empty() {
        return problem("malformed at the origin");
    }
    if seen.iter().any(|s| s.target().contains("evil")) {
        return problem("smuggled");
    }
    let lanes = seen.iter().any(|s| {
        !s.header("x-sampan-lane").is_empty() || s.header("baggage").iter().any(|b| b.to_lowercase().contains("sampan"))
    });
    if lanes {
        return problem("lane from outside");
    }
    let refused = seen.is_empty() && (400..500).contains(&status) && all.matches("HTTP/1.1 ").count() == 1;
    let one = seen.len() == 1;
    let stopped = one && all.starts_with("HTTP/1.1 200") && all.matches("HTTP/1.1 ").count() == 2;
    match want {
        Stopped if !(stopped && all.contains("HTTP/1.1 400")) => problem("not stopped"),
        Closed if all.contains("HTTP/1") || !seen.is_empty() => problem("not closed"),
        Refused if !refused => problem("not refused"),
        One if !one => problem("not one request"),
        Either if !one && !refused => problem("neither refused nor one"),
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_vectors() {
    let mut set = JoinSet::new();
    let vectors = vectors();
    let count = vectors.len();
    for (name, bytes, want) in vectors {
        set.spawn(run(name, bytes, want));
    }
    let failed: Vec<String> = set.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed.join("\n"));
}

#[tokio::test]
async fn unread_body_is_not_the_next_request() {
    // The endpoint answers early and closes; the body that is still coming must not be parsed as a request.
    let (gateway, origin) = one("a").await;
    let mut client = Client::connect(gateway.public_addr()).await;
    gateway.apply(table(2, vec![])).unwrap();
    client.send(format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n", EVIL.len())).await;
    assert_eq!(client.reply().await.status, 503);
    gateway.apply(table(3, vec![endpoint("a", origin.addr)])).unwrap();
    let _ = client.stream.write_all(EVIL.as_bytes()).await;
    client.send_quietly("GET /after HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").await;
    client.rest().await;
    assert!(origin.seen().iter().all(|s| s.target() != "/evil"));
}

#[tokio::test]
async fn many_slow_connections_leave_it_usable() {
    let (gateway, _origin) = one("a").await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut client = Client::connect(gateway.public_addr()).await;
        client.send("GET / HTTP/1.1\r\nHost: ").await;
        slow.push(client);
    }
    assert_eq!(Client::connect(gateway.public_addr()).await.get("/").await.status, 200);
}

/// An endpoint that answers at the head of a request, once on a connection, and counts heads. One that came on a
/// connection that was used before counts 100.
async fn early(answer: &'static str) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, heads) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heads = counted.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
                    if stream.read_buf(&mut seen).await.is_ok_and(|n| n == 0) {
                        return;
                    }
                }
                heads.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(answer.as_bytes()).await;
                // Whatever comes on this connection now would be taken for another request.
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                if String::from_utf8_lossy(&rest).contains("x-forwarded-for") {
                    heads.fetch_add(100, Ordering::SeqCst);
                }
            });
        }
    });
    (addr, heads)
}

#[tokio::test]
async fn an_early_answer_leaves_no_connection_behind_that_is_used_again() {
    let gateway = gateway().await;
    let (addr, heads) = early("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
    gateway.apply(table(1, vec![endpoint("early", addr)])).unwrap();
    for n in 1..4 {
        let mut client = Client::connect(gateway.public_addr()).await;
        client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\nsome").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.as_str()), (413, "no"));
        // The rest of the body never comes; in its place comes what looks like a request.
        client.send_quietly(EVIL).await;
        drop(client);
        within("idle", gateway.idle("early")).await;
        assert_eq!(heads.load(Ordering::SeqCst), n, "each on a connection of its own");
    }
}

#[tokio::test]
async fn an_interim_answer_from_the_endpoint_is_not_the_answer() {
    let gateway = gateway().await;
    let answers = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                   HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (addr, heads) = early(answers).await;
    gateway.apply(table(1, vec![endpoint("early", addr)])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    let reply = client.get("/").await;
    assert_eq!((reply.status, reply.body.as_str(), heads.load(Ordering::SeqCst)), (200, "ok", 1));
}

#[tokio::test]
async fn what_follows_the_answer_of_an_endpoint_is_not_the_next_answer() {
    let gateway = gateway().await;
    let (addr, heads) =
        early("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await;
    gateway.apply(table(1, vec![endpoint("early", addr)])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    for n in 1..10 {
        let reply = client.get("/").await;
        assert_eq!((reply.status, reply.body.as_str(), heads.load(Ordering::SeqCst)), (200, "ok", n));
    }
}

#[tokio::test]
async fn expect_is_answered_before_the_body_and_by_nobody_when_there_is_none() {
    let (gateway, origin) = one("a").await;
    let head = "POST / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n";
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send(head).await;
    assert!(client.head().await.starts_with("HTTP/1.1 100"));
    client.send("0123456789012345678901234567890123456789").await;
    assert_eq!(client.reply().await.status, 200);
    assert!(origin.seen()[0].header("expect").is_empty());
    // A refusal comes at once, and what the client sends all the same is no request.
    gateway.apply(table(2, vec![])).unwrap();
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send(head).await;
    assert_eq!(client.reply().await.status, 503);
    gateway.apply(table(3, vec![endpoint("a", origin.addr)])).unwrap();
    client.send_quietly(EVIL).await;
    client.send_quietly(EVIL).await;
    client.rest().await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_client_that_half_closes_holds_nothing() {
    let (gateway, origin) = one("a").await;
    for bytes in
        ["GET / HTTP/1.1\r\nHost: app.test\r\n\r\n", "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nx"]
    {
        let before = origin.count();
        let mut client = Client::connect(gateway.public_addr()).await;
        client.send(bytes).await;
        client.stream.shutdown().await.unwrap();
        let all = client.rest().await;
        within("idle", gateway.idle("a")).await;
        assert!(all.matches("HTTP/1.1 ").count() <= 1 && origin.count() <= before + 1, "{all}");
    }
    assert!(origin.malformed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_it() {
    let (gateway, origin) = one("a").await;
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("GET /large HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.contains(&format!("content-length: {LARGE}")), "{head}");
    // Nothing is read until the endpoint cannot write on: the gateway does not collect it.
    until("it arrived", || origin.count() == 1).await;
    assert_eq!(gateway.in_flight("a"), 1);
    // Others are served meanwhile.
    assert_eq!(Client::connect(gateway.public_addr()).await.get("/").await.status, 200);
    client.stream.shutdown().await.unwrap_or_default();
    drop(client);
    within("idle", gateway.idle("a")).await;

    let mut client = Client::connect(gateway.public_addr()).await;
    client.send("GET /large HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").await;
    client.head().await;
    assert_eq!(client.rest().await.len(), LARGE);
}
