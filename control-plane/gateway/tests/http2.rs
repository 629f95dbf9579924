//! HTTP/2 by prior knowledge: towards HTTP/1.1 endpoints, gRPC through to HTTP/2, and vectors on raw frames (G8).
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

type Body = BoxBody<Bytes, Infallible>;

async fn dial(addr: SocketAddr) -> SendRequest<Body> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn full(text: &str) -> Body {
    Full::new(Bytes::from(text.to_owned())).boxed()
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("http://app.test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

async fn text(response: Response<Incoming>) -> (StatusCode, HeaderMap, String, Option<HeaderMap>) {
    let (parts, body) = response.into_parts();
    let all = within("a body", body.collect()).await.unwrap();
    let trailers = all.trailers().cloned();
    (parts.status, parts.headers, String::from_utf8(all.to_bytes().to_vec()).unwrap(), trailers)
}

/// An endpoint of gRPC: answers each message with itself, after what `release` lets pass, and ends with a trailer.
struct Echo {
    addr: SocketAddr,
    heads: Mutex<Vec<(Version, String, HeaderMap)>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    release: Semaphore,
}

impl Echo {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = Arc::new(Self {
            addr: listener.local_addr().unwrap(),
            heads: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            release: Semaphore::new(0),
        });
        let this = echo.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                this.connections.fetch_add(1, Ordering::SeqCst);
                this.open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|r| this.clone().answer(r));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    this.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        echo
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (parts, mut body) = request.into_parts();
        let held = parts.uri.path() == "/hold";
        self.heads.lock().unwrap().push((parts.version, parts.uri.to_string(), parts.headers));
        let (send, receive) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                if held {
                    self.release.acquire().await.unwrap().forget();
                }
                if send.send(Ok(Frame::data(frame.into_data().unwrap_or_default()))).await.is_err() {
                    return;
                }
            }
            let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
            let _ = send.send(Ok(Frame::trailers(trailers))).await;
        });
        let stream = futures_util::stream::unfold(receive, |mut r| async move { Some((r.recv().await?, r)) });
        let answer =
            Response::builder().header("content-type", "application/grpc").body(StreamBody::new(stream).boxed());
        Ok(answer.unwrap())
    }
}

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

#[tokio::test]
async fn plain_requests_go_on_as_http1() {
    let (gateway, origin) = one("a").await;
    let mut client = dial(gateway.public_addr()).await;
    let mut all = JoinSet::new();
    for n in 0..50 {
        let sent = [("cookie", "a=1"), ("cookie", "b=2"), ("x-sampan-lane", "gray"), ("te", "trailers")];
        let answer = client.send_request(request("POST", &format!("/x?n={n}"), &sent, full("body")));
        all.spawn(async move { text(answer.await.unwrap()).await });
    }
    for (status, headers, body, trailers) in within("answers", all.join_all()).await {
        assert_eq!((status, body.as_str(), trailers), (StatusCode::OK, "a", None));
        assert_eq!(headers["x-sampan-revision"], "rev-a");
    }
    for seen in origin.seen() {
        assert_eq!((seen.header("host"), seen.header("cookie")), (vec!["app.test"], vec!["a=1; b=2"]));
        assert_eq!((seen.body.as_slice(), seen.header("x-forwarded-for")), (&b"body"[..], vec!["127.0.0.1"]));
        assert!(seen.header("x-sampan-lane").is_empty() && seen.header("te").is_empty(), "{}", seen.head);
    }
    assert_eq!((origin.count(), origin.malformed.lock().unwrap().len()), (50, 0));
    // Also without a body, for a HEAD, in chunks, and for what the gateway answers itself.
    let answer = text(client.send_request(request("GET", "/stream", &[], full(""))).await.unwrap());
    origin.release.add_permits(1);
    assert_eq!(answer.await.2, "firstlast");
    let (status, headers, ..) = text(client.send_request(request("HEAD", "/", &[], full(""))).await.unwrap()).await;
    assert_eq!((status, &headers["content-length"]), (StatusCode::OK, &"1".parse().unwrap()));
    let (status, headers, ..) =
        text(client.send_request(request("GET", "/a/../b", &[], full(""))).await.unwrap()).await;
    assert_eq!((status, headers.get("connection")), (StatusCode::BAD_REQUEST, None));
    within("idle", gateway.idle("a")).await;
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_both_ways_at_once() {
    let gateway = gateway().await;
    let echo = Echo::start().await;
    gateway.apply(table(1, vec![endpoint("a", echo.addr)])).unwrap();
    let mut client = dial(gateway.public_addr()).await;
    // A stream each way: the answer to the first message comes before the second is sent.
    let (send, receive) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let stream = futures_util::stream::unfold(receive, |mut r| async move { Some((r.recv().await?, r)) });
    let sent = [GRPC, ("te", "trailers"), ("x-sampan-lane", "gray"), ("baggage", "a=1")];
    let answer = client.send_request(request("POST", "/pkg.Service/Method", &sent, StreamBody::new(stream).boxed()));
    let mut response = within("a head", answer).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["x-sampan-revision"]),
        (StatusCode::OK, &"rev-a".parse().unwrap())
    );
    for message in ["one", "two", "three"] {
        send.send(Ok(Frame::data(Bytes::from(message)))).await.unwrap();
        let frame = within("a message", response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    assert_eq!(gateway.in_flight("a"), 1);
    drop(send);
    let trailers = within("trailers", response.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert!(response.frame().await.is_none());
    within("idle", gateway.idle("a")).await;
    let (version, uri, headers) = echo.heads.lock().unwrap()[0].clone();
    assert_eq!((version, uri.as_str()), (Version::HTTP_2, "http://app.test/pkg.Service/Method"));
    assert_eq!(
        (&headers["te"], &headers["x-forwarded-for"]),
        (&"trailers".parse().unwrap(), &"127.0.0.1".parse().unwrap())
    );
    assert!(!headers.contains_key("x-sampan-lane") && !headers.contains_key("host"));
    // Many share one connection.
    let calls = (0..100).map(|n| client.send_request(request("POST", "/", &[GRPC], full(&n.to_string()))));
    for (n, answer) in within("answers", futures_util::future::join_all(calls)).await.into_iter().enumerate() {
        let (status, _, body, trailers) = text(answer.unwrap()).await;
        assert_eq!((status, body, trailers.is_some()), (StatusCode::OK, n.to_string(), true));
    }
    assert_eq!(echo.connections.load(Ordering::SeqCst), 1);
    assert_eq!(gateway.revision_counters("shop/app")["rev-a"].requests, 101);
}

#[tokio::test]
async fn grpc_drains_and_goes_to_the_new_endpoint() {
    let gateway = gateway().await;
    let (old, new) = (Echo::start().await, Echo::start().await);
    gateway.apply(table(1, vec![endpoint("old", old.addr)])).unwrap();
    let mut client = dial(gateway.public_addr()).await;
    let held = within("a head", client.send_request(request("POST", "/hold", &[GRPC], full("late")))).await.unwrap();
    gateway.apply(table(2, vec![endpoint("new", new.addr)])).unwrap();
    let idle = tokio::spawn(gateway.idle("old"));
    for _ in 0..20 {
        let answer = within("an answer", client.send_request(request("POST", "/", &[GRPC], full("x")))).await.unwrap();
        assert_eq!(answer.headers()["x-sampan-revision"], "rev-new");
        text(answer).await;
    }
    assert!(!idle.is_finished());
    old.release.add_permits(1);
    let (status, _, body, trailers) = text(held).await;
    assert_eq!((status, body.as_str(), trailers.is_some()), (StatusCode::OK, "late", true));
    within("idle", idle).await.unwrap();
    until("no connection to the old one", || old.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(old.heads.lock().unwrap().len(), 1);
    // The gateway says good-bye and finishes what is open.
    let held = within("a head", client.send_request(request("POST", "/hold", &[GRPC], full("last")))).await.unwrap();
    let copy = gateway.clone();
    let stopping = tokio::spawn(async move { copy.shutdown(DEADLINE).await });
    let addr = gateway.public_addr();
    until("it accepts no more", || std::net::TcpStream::connect(addr).is_err()).await;
    assert!(!stopping.is_finished());
    new.release.add_permits(1);
    assert_eq!(text(held).await.2, "last");
    assert!(within("shutdown", stopping).await.unwrap());
}

#[tokio::test]
async fn shutdown_cuts_streams_at_its_deadline() {
    let gateway = gateway().await;
    let (echo, plain) = (Echo::start().await, Origin::start("plain").await);
    let mut client = dial(gateway.public_addr()).await;
    gateway.apply(table(1, vec![endpoint("a", echo.addr)])).unwrap();
    let held = within("a head", client.send_request(request("POST", "/hold", &[GRPC], full("x")))).await.unwrap();
    gateway.apply(table(2, vec![endpoint("b", plain.addr)])).unwrap();
    let waiting = tokio::spawn(client.send_request(request("GET", "/hold", &[], full(""))));
    until("both are there", || gateway.in_flight("a") + gateway.in_flight("b") == 2 && plain.count() == 1).await;
    assert!(!within("shutdown", gateway.shutdown(Duration::from_millis(50))).await);
    assert!(within("the stream", held.into_body().collect()).await.is_err());
    assert!(within("the request", waiting).await.unwrap().is_err());
    within("idle", gateway.idle("a")).await;
    within("idle", gateway.idle("b")).await;
}

#[tokio::test]
async fn grpc_to_an_endpoint_that_is_gone_or_speaks_http1() {
    let gateway = gateway().await;
    let (echo, plain) = (Echo::start().await, Origin::start("plain").await);
    let mut client = dial(gateway.public_addr()).await;
    let call = |client: &mut SendRequest<Body>| {
        let answer = client.send_request(request("POST", "/", &[GRPC], full("x")));
        async move { within("an answer", answer).await.unwrap().status() }
    };
    // No connection: elsewhere, whatever the method.
    gateway.apply(table(1, vec![endpoint("gone", refusing().await), endpoint("a", echo.addr)])).unwrap();
    for _ in 0..20 {
        assert_eq!(call(&mut client).await, StatusCode::OK);
    }
    gateway.apply(table(2, vec![endpoint("gone", refusing().await)])).unwrap();
    assert_eq!(call(&mut client).await, StatusCode::BAD_GATEWAY);
    gateway.apply(table(3, vec![endpoint("plain", plain.addr)])).unwrap();
    assert_eq!(call(&mut client).await, StatusCode::BAD_GATEWAY);
    gateway.apply(table(4, vec![])).unwrap();
    assert_eq!(call(&mut client).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(plain.count(), 0);
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let options = sampan_gateway::Options { header_timeout: Duration::from_millis(100), ..Default::default() };
    let gateway = sampan_gateway::Gateway::bind_with("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let origin = Origin::start("a").await;
    gateway.apply(table(1, vec![endpoint("a", origin.addr)])).unwrap();
    // A request that takes longer than that, by far, keeps it open.
    let mut client = dial(gateway.public_addr()).await;
    let slow = within("a head", client.send_request(request("GET", "/stream", &[], full("")))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    origin.release.add_permits(1);
    assert_eq!(text(slow).await.2, "firstlast");
    until("closed", || client.is_closed()).await;
    // One that does not even answer is cut.
    let mut mute = Client::connect(gateway.public_addr()).await;
    mute.send(PREFACE).await;
    mute.rest().await;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let stream = u32::from(kind != 4);
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literals that no encoder would write. Values are shorter than 127 bytes.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |t: &str| [&[t.len() as u8], t.as_bytes()].concat();
    headers.iter().flat_map(|(n, v)| [vec![0], text(n), text(v)].concat()).collect()
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Sends one request of these headers and this body, and returns how often the origin was asked.
async fn run(
    name: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
    trailers: &[(&str, &str)],
) -> Result<usize, String> {
    let gateway = impatient().await;
    let origin = Origin::start("ok").await;
    gateway.apply(table(1, vec![endpoint("ok", origin.addr)])).unwrap();
    let mut bytes = [PREFACE, &frame(4, 0, &[])].concat();
    let last = body.is_none() && trailers.is_empty();
    bytes.extend(frame(1, END_HEADERS | u8::from(last), &block(headers)));
    if let Some(body) = body {
        bytes.extend(frame(0, u8::from(trailers.is_empty()), body.as_bytes()));
    }
    if !trailers.is_empty() {
        bytes.extend(frame(1, END_HEADERS | END_STREAM, &block(trailers)));
    }
    let mut client = Client::connect(gateway.public_addr()).await;
    client.send_quietly(&bytes).await;
    client.rest().await;
    within("idle", gateway.idle("ok")).await;
    let (seen, malformed) = (origin.seen(), origin.malformed.lock().unwrap().clone());
    let heads: String = seen.iter().map(|s| s.head.to_lowercase()).collect();
    if !malformed.is_empty() || seen.len() > 1 || heads.contains("evil") || heads.contains("sampan") {
        return Err(format!("{name}: {seen:?} {malformed:?}"));
    }
    Ok(seen.len())
}

/// The four pseudo-headers, the last of which is replaced by `more` where it has one of the same name.
fn head<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")];
    let replaced = |name: &str| more.iter().any(|(n, _)| *n == name);
    let (pseudo, plain): (Vec<_>, Vec<_>) = more.iter().partition(|(n, _)| n.starts_with(':'));
    usual.into_iter().filter(|(n, _)| !replaced(n)).chain(pseudo).chain(plain).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_http2_vectors() {
    // How many requests the origin may see.
    let heads: &[(&str, &[(&str, &str)], usize)] = &[
        ("plain", &[], 1),
        ("crlf in the path", &[(":path", "/\r\nx: y")], 0),
        ("a request in the path", &[(":path", "/ HTTP/1.1\r\nHost: app.test\r\n\r\nGET /evil")], 0),
        ("a space in the path", &[(":path", "/ HTTP/1.1 evil")], 0),
        ("nul in the path", &[(":path", "/\0")], 0),
        ("dots in the path", &[(":path", "/a/../evil")], 0),
        ("no slash in the path", &[(":path", "evil")], 0),
        ("an empty path", &[(":path", "")], 0),
        ("crlf in the method", &[(":method", "GET /evil HTTP/1.1\r\nx: ")], 0),
        ("a space in the method", &[(":method", "GET /evil")], 0),
        ("connect", &[(":method", "CONNECT")], 0),
        ("crlf in the authority", &[(":authority", "app.test\r\nx: evil")], 0),
        ("a user in the authority", &[(":authority", "evil@app.test")], 0),
        ("an authority of another host", &[(":authority", "other.test")], 0),
        ("host differs", &[("host", "evil.test")], 0),
        ("host twice", &[("host", "app.test"), ("host", "app.test")], 0),
        ("host the same", &[("host", "app.test")], 1),
        ("crlf in a value", &[("x-a", "b\r\nx-evil: c")], 0),
        ("lf in a value", &[("x-a", "b\nx-evil: c")], 0),
        ("nul in a value", &[("x-a", "evil\0")], 0),
        ("crlf in a name", &[("x-a: b\r\nx-evil", "c")], 0),
        ("a colon in a name", &[("x-evil:", "c")], 0),
        ("upper case in a name", &[("X-Evil", "c")], 0),
        ("an empty name", &[("", "evil")], 0),
        ("transfer-encoding", &[("transfer-encoding", "chunked")], 0),
        ("connection", &[("connection", "close, x-a"), ("x-a", "evil")], 0),
        ("upgrade", &[("upgrade", "websocket")], 0),
        ("keep-alive", &[("keep-alive", "timeout=5")], 0),
        ("te", &[("te", "gzip")], 0),
        ("an unknown pseudo-header", &[(":evil", "1")], 0),
        ("a pseudo-header twice", &[(":path", "/evil"), (":path", "/")], 0),
        ("content-length without a body", &[("content-length", "40")], 0),
        ("content-length twice", &[("content-length", "0"), ("content-length", "40")], 0),
        ("content-length that is none", &[("content-length", "+0")], 0),
        ("a lane", &[("x-sampan-lane", "gray"), ("x_sampan_lane", "gray"), ("baggage", "sampan.lane=gray")], 1),
        ("expect", &[("expect", "100-continue")], 1),
    ];
    let bodies: &[(&str, &str, &str, usize)] = &[
        ("a body of its length", "4", "body", 1),
        ("a body longer than its length", "1", "GET /evil HTTP/1.1\r\nHost: app.test\r\n\r\n", 0),
        ("a body shorter than its length", "90", "body", 0),
        ("a body of length 0", "0", "GET /evil HTTP/1.1\r\nHost: app.test\r\n\r\n", 0),
    ];
    let mut set = JoinSet::new();
    let mut check =
        |name: &'static str, headers: Vec<(&'static str, &'static str)>, body, trailers: &'static [_], most| {
            set.spawn(async move {
                match run(name, &headers, body, trailers).await {
                    Ok(n) if n == most => Ok(()),
                    Ok(n) => Err(format!("{name}: {n} at the origin")),
                    Err(what) => Err(what),
                }
            });
        };
    for (name, more, most) in heads {
        check(name, head(more), None, &[], *most);
    }
    for (name, length, body, most) in bodies {
        check(name, head(&[("content-length", length)]), Some(body), &[], *most);
    }
    let end: &[(&str, &str)] = &[("x-sampan-lane", "gray"), ("content-length", "9"), ("host", "evil")];
    check("trailers", head(&[]), Some("body"), end, 1);
    check("a pseudo-header in trailers", head(&[]), Some("body"), &[(":path", "/evil")], 1);
    let mut late = head(&[]);
    late.insert(0, ("x-first", "evil"));
    check("a pseudo-header after others", late, None, &[], 0);
    let failed: Vec<String> = within("all", set.join_all()).await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}
