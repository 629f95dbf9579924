//! A strict origin, a raw client and small helpers.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part; a test helper may panic")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sampan_engine::route::{Backend, Endpoint, Host, PathKind, RouteTable, Rule, Served, Serving, Split};
use sampan_gateway::{Gateway, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Bytes of an answer that no buffer on the way holds.
pub const LARGE: usize = 20_000_000;
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Waits for a condition, and fails when it does not come true.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// A request as the origin parsed it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
    pub connection: usize,
}

impl Seen {
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|l| l.split_once(':'))
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
            .collect()
    }
}

/// An origin that parses strictly, remembers what it saw, and behaves as the first part of the path says.
pub struct Origin {
    pub name: String,
    pub addr: SocketAddr,
    pub seen: Mutex<Vec<Seen>>,
    /// What it could not parse.
    pub malformed: Mutex<Vec<String>>,
    pub connections: AtomicUsize,
    pub open: AtomicUsize,
    /// A permit lets one held response go.
    pub release: Semaphore,
    /// A connection's second request gets no answer but a close.
    one_shot: bool,
}

impl Origin {
    pub async fn start(name: &str) -> Arc<Self> {
        Self::start_as(name, false).await
    }

    pub async fn one_shot(name: &str) -> Arc<Self> {
        Self::start_as(name, true).await
    }

    async fn start_as(name: &str, one_shot: bool) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Arc::new(Self {
            name: name.into(),
            addr: listener.local_addr().unwrap(),
            seen: Mutex::default(),
            malformed: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            release: Semaphore::new(0),
            one_shot,
        });
        let this = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                let number = this.connections.fetch_add(1, Ordering::SeqCst);
                this.open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    this.serve(stream, number).await;
                    this.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        origin
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn serve(&self, mut stream: TcpStream, connection: usize) {
        let mut buffer = Vec::new();
        let mut served = 0;
        loop {
            let (head, body) = match request(&mut stream, &mut buffer).await {
                Ok(Some(found)) => found,
                Ok(None) => return,
                Err(what) => {
                    self.malformed.lock().unwrap().push(what);
                    return;
                }
            };
            let seen = Seen { head, body, connection };
            let target = seen.target().to_owned();
            let is_head = seen.head.starts_with("HEAD ");
            self.seen.lock().unwrap().push(seen);
            if self.one_shot && served > 0 {
                return;
            }
            served += 1;
            let name = &self.name;
            let length = name.len();
            let plain =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-sampan-revision: forged\r\n\r\n{name}");
            match target.split('/').nth(1).unwrap_or_default() {
                "hold" => {
                    self.release.acquire().await.unwrap().forget();
                    stream.write_all(plain.as_bytes()).await.unwrap_or_default();
                }
                "close-after" => {
                    stream.write_all(plain.as_bytes()).await.unwrap_or_default();
                    return;
                }
                "drop" => return,
                "partial" => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.unwrap_or_default();
                    return;
                }
                "cut-body" => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap_or_default();
                    return;
                }
                "garbage" => {
                    stream.write_all(b"not http at all\r\n\r\n").await.unwrap_or_default();
                    return;
                }
                "stream" => {
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n5\r\nfirst\r\n";
                    stream.write_all(head.as_bytes()).await.unwrap_or_default();
                    self.release.acquire().await.unwrap().forget();
                    stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap_or_default();
                }
                "until-close" => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil close").await.unwrap_or_default();
                    return;
                }
                "interim" => {
                    stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n").await.unwrap_or_default();
                    stream.write_all(plain.as_bytes()).await.unwrap_or_default();
                }
                "error" => {
                    stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno").await.unwrap_or_default();
                }
                "large" => {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
                    stream.write_all(head.as_bytes()).await.unwrap_or_default();
                    stream.write_all(&vec![b'x'; LARGE]).await.unwrap_or_default();
                }
                "never" => {
                    let _ = stream.read_u8().await;
                    return;
                }
                "ws" => {
                    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-app: 1\r\n\r\n";
                    stream.write_all(head.as_bytes()).await.unwrap_or_default();
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    return;
                }
                _ if is_head => {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    stream.write_all(head.as_bytes()).await.unwrap_or_default();
                }
                _ => stream.write_all(plain.as_bytes()).await.unwrap_or_default(),
            }
        }
    }
}

/// Reads one request. `Ok(None)`: the connection ended, before or within one.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<(String, Vec<u8>)>, String> {
    let end = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        if !fill(stream, buffer).await {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut lengths = Vec::new();
    let mut codings = Vec::new();
    let mut hosts = 0;
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap_or_default();
    let parts: Vec<_> = line.split(' ').collect();
    if parts.len() != 3 || parts[2] != "HTTP/1.1" || !parts[1].starts_with(['/', '*']) {
        return Err(format!("request line {line:?}"));
    }
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("header line {line:?}"))?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            return Err(format!("header name {name:?}"));
        }
        if line.bytes().any(|b| b == 0 || b == b'\r' || b == b'\n') {
            return Err(format!("control character in {line:?}"));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => codings.push(value.trim().to_owned()),
            "host" => hosts += 1,
            _ => {}
        }
    }
    if hosts != 1 {
        return Err(format!("{hosts} hosts: {head:?}"));
    }
    let mut body = Vec::new();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => {}
        ([length], []) => {
            let length: usize = length.parse().map_err(|_| format!("length {length:?}"))?;
            while buffer.len() < length {
                if !fill(stream, buffer).await {
                    return Ok(None);
                }
            }
            body = buffer.drain(..length).collect();
        }
        ([], [coding]) if coding == "chunked" => loop {
            let Some(line) = take_line(stream, buffer).await else { return Ok(None) };
            let size = usize::from_str_radix(&line, 16).map_err(|_| format!("chunk size {line:?}"))?;
            while buffer.len() < size + 2 {
                if !fill(stream, buffer).await {
                    return Ok(None);
                }
            }
            if &buffer[size..size + 2] != b"\r\n" {
                return Err("chunk end".into());
            }
            body.extend(buffer.drain(..size));
            buffer.drain(..2);
            if size == 0 {
                break;
            }
        },
        _ => return Err(format!("framing {head:?}")),
    }
    Ok(Some((head, body)))
}

async fn take_line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = find(buffer, b"\r\n") {
            let line = String::from_utf8_lossy(&buffer[..at]).into_owned();
            buffer.drain(..at + 2);
            return Some(line);
        }
        if !fill(stream, buffer).await {
            return None;
        }
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    stream.read_buf(buffer).await.is_ok_and(|n| n > 0)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

/// A response as the client read it.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    }
}

/// A keep-alive connection to the gateway.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.unwrap(), buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// As [`Client::connect`], from an address of the loopback network.
    pub async fn connect_from(from: [u8; 4], addr: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        Self { stream: socket.connect(addr).await.unwrap(), buffer: Vec::new() }
    }

    /// A GET with these header lines.
    pub async fn get_with(&mut self, host: &str, path: &str, lines: &[&str]) -> Reply {
        let lines: String = lines.iter().map(|l| format!("{l}\r\n")).collect();
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")).await;
        self.reply().await
    }

    /// For when the gateway may have closed already.
    pub async fn send_quietly(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")).await;
        self.reply().await
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Reply {
        let length = body.len();
        self.send(format!("POST {path} HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n{body}")).await;
        self.reply().await
    }

    pub async fn head(&mut self) -> String {
        within("a response head", async {
            loop {
                if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                    let rest = self.buffer.split_off(at + 4);
                    return String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap();
                }
                let got = String::from_utf8_lossy(&self.buffer).into_owned();
                assert!(fill(&mut self.stream, &mut self.buffer).await, "closed within a head: {got:?}");
            }
        })
        .await
    }

    /// Reads one response to anything but HEAD.
    pub async fn reply(&mut self) -> Reply {
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: String::new() };
        let body = within("a response body", async {
            if let Some(length) = reply.header("content-length") {
                let length: usize = length.parse().unwrap();
                while self.buffer.len() < length {
                    assert!(fill(&mut self.stream, &mut self.buffer).await, "closed within a body");
                }
                self.buffer.drain(..length).collect()
            } else if reply.header("transfer-encoding").is_some() {
                let mut body = Vec::new();
                loop {
                    let line = take_line(&mut self.stream, &mut self.buffer).await.expect("chunk");
                    let size = usize::from_str_radix(&line, 16).unwrap();
                    while self.buffer.len() < size + 2 {
                        assert!(fill(&mut self.stream, &mut self.buffer).await, "closed within a chunk");
                    }
                    body.extend(self.buffer.drain(..size));
                    self.buffer.drain(..2);
                    if size == 0 {
                        break body;
                    }
                }
            } else {
                Vec::new()
            }
        })
        .await;
        reply.body = String::from_utf8(body).unwrap();
        reply
    }

    /// Reads until `text` arrived.
    pub async fn read_past(&mut self, text: &str) {
        within(text, async {
            loop {
                if let Some(at) = find(&self.buffer, text.as_bytes()) {
                    self.buffer.drain(..at + text.len());
                    return;
                }
                assert!(fill(&mut self.stream, &mut self.buffer).await, "closed before {text}");
            }
        })
        .await;
    }

    /// Everything until the gateway closes.
    pub async fn rest(&mut self) -> String {
        within("close", async {
            while fill(&mut self.stream, &mut self.buffer).await {}
            String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
        })
        .await
    }
}

pub fn endpoint(key: &str, addr: SocketAddr) -> Endpoint {
    Endpoint { key: key.into(), addr, revision: format!("rev-{key}").into(), warmup: None }
}

pub fn backend(weight: u32, endpoints: Vec<Endpoint>) -> Backend {
    Backend {
        namespace: "shop".into(),
        application: "app".into(),
        weight,
        endpoints: endpoints.into(),
        gray: None,
        lane: None,
    }
}

/// `app.test` with everything below `/` at these endpoints.
pub fn table(generation: u64, endpoints: Vec<Endpoint>) -> Arc<RouteTable> {
    table_of(generation, vec![backend(10_000, endpoints)])
}

pub fn table_of(generation: u64, backends: Vec<Backend>) -> Arc<RouteTable> {
    let rule = Rule { name: "shop/app/0".into(), path: (PathKind::PathPrefix, "/".into()), backends };
    let host = Host { public: true, rules: vec![rule] };
    Arc::new(RouteTable { generation, hosts: [("app.test".to_owned(), host)].into(), ..RouteTable::default() })
}

pub async fn gateway() -> Gateway {
    Gateway::bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

pub async fn impatient() -> Gateway {
    let short = Duration::from_secs(2);
    let options = Options { response_timeout: short, header_timeout: short, ..Options::default() };
    Gateway::bind_with("127.0.0.1:0".parse().unwrap(), options).await.unwrap()
}

/// A gateway with one origin.
pub async fn one(name: &str) -> (Gateway, Arc<Origin>) {
    let (gateway, origin) = (gateway().await, Origin::start(name).await);
    gateway.apply(table(1, vec![endpoint(name, origin.addr)])).unwrap();
    (gateway, origin)
}

/// An address that refuses connections.
pub async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Instances of an application at these origins, by revision, with the port `http`.
pub fn served(instances: &[(&Origin, &str)], split: Option<Split>) -> Served {
    let serving = |(origin, revision): &(&Origin, &str)| Serving {
        key: origin.name.as_str().into(),
        ip: origin.addr.ip(),
        revision: (*revision).into(),
        // The types are those of `schema`, which this crate does not see.
        ports: serde_json::from_value(
            serde_json::json!({ "http": { "container_port": origin.addr.port(), "protocol": "HTTP" } }),
        )
        .unwrap(),
        warmup: None,
    };
    Served { instances: instances.iter().map(serving).collect(), split, ..Served::default() }
}

/// `app.test` leads to the application `app`; each has its internal host. Everything is of the namespace `shop`.
pub fn table_from<const N: usize>(generation: u64, apps: [(&str, Served); N]) -> Arc<RouteTable> {
    let route = serde_json::json!({
        "namespace": "shop", "name": "app", "visibility": "public", "hostnames": ["app.test"],
        "rules": [{ "name": "all", "backends": [{ "application": "app", "port": "http" }] }],
    });
    let route = serde_json::from_value(route).unwrap();
    let apps = apps.into_iter().map(|(name, served)| (format!("shop/{name}"), Arc::new(served))).collect();
    Arc::new(sampan_engine::route::table(generation, [&route], &apps, BTreeMap::new()))
}

/// Revision `new` is gray, with this weight.
pub fn split(weight: u32) -> Split {
    Split { gray: "new".into(), weight, tag: "gray".into(), salt: 42, ..Split::default() }
}
