//! Requests at a fixed rate, whatever becomes of them, so that a slow server cannot slow down its own test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{self, Answer};

/// Longer than any answer that a test asks for.
const PATIENCE: Duration = Duration::from_secs(30);
const BIG: usize = 50_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In turn: GET and POST, small and big answers, on new and on kept connections.
    Mixed,
    /// GET of the greeting, on kept connections.
    Greeting,
    /// An answer that takes so many milliseconds, on a new connection.
    Slow(u32),
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub began: Instant,
    pub ended: Instant,
    /// The greeting (null for a big answer), or what went wrong.
    pub result: Result<Value, String>,
}

/// Every request of a load.
#[derive(Debug, Default)]
pub struct Report(pub Vec<Outcome>);

impl Report {
    pub fn failures(&self) -> Vec<&str> {
        self.0.iter().filter_map(|outcome| outcome.result.as_ref().err().map(String::as_str)).collect()
    }

    /// Number of answers by version.
    pub fn versions(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for version in self.0.iter().filter_map(|outcome| outcome.result.as_ref().ok()?["version"].as_str()) {
            *found.entry(version.to_owned()).or_default() += 1;
        }
        found
    }

    /// Whether a request of this instance and version was in flight at that moment, and was answered.
    pub fn spans(&self, moment: Instant, instance: &str, version: &str) -> bool {
        self.0.iter().any(|outcome| {
            let answered = outcome.result.as_ref().is_ok_and(|a| a["instance"] == instance && a["version"] == version);
            answered && outcome.began < moment && moment < outcome.ended
        })
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    workers: Vec<JoinHandle<Vec<Outcome>>>,
}

impl Load {
    /// `rate` requests in a second, until [`Load::stop`].
    pub fn start(gateway: SocketAddr, host: &str, rate: u32, kind: Kind) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (next, start) = (Arc::new(AtomicU32::new(0)), Instant::now());
        // Enough for every request that is due while the slowest one is answered.
        let workers = match kind {
            Kind::Mixed | Kind::Greeting => 48,
            Kind::Slow(ms) => rate * (ms / 1000 + 2),
        };
        let worker = |_| {
            let mut client = Client { gateway, host: host.to_owned(), kept: None };
            let (stop, answered, next) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&next));
            std::thread::spawn(move || {
                let mut done = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let ticket = next.fetch_add(1, Ordering::Relaxed);
                    let due = start + Duration::from_secs(1) * ticket / rate;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let began = Instant::now();
                    let result = client.ask(kind, ticket);
                    answered.fetch_add(u32::from(result.is_ok()), Ordering::Relaxed);
                    done.push(Outcome { began, ended: Instant::now(), result });
                }
                done
            })
        };
        let workers = (0..workers).map(worker).collect();
        Self { stop, answered, workers }
    }

    /// Requests that were answered well so far.
    pub fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Lets every request that began end.
    ///
    /// # Panics
    /// When a worker did.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        Report(self.workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect())
    }
}

struct Client {
    gateway: SocketAddr,
    host: String,
    kept: Option<BufReader<TcpStream>>,
}

impl Client {
    fn ask(&mut self, kind: Kind, ticket: u32) -> Result<Value, String> {
        let (method, path, keep) = match (kind, ticket % 6) {
            (Kind::Slow(ms), _) => ("GET", format!("/slow?ms={ms}"), false),
            (Kind::Greeting, _) => ("GET", "/".to_owned(), true),
            (_, 0) => ("GET", "/".to_owned(), false),
            (_, 1 | 2) => ("GET", "/".to_owned(), true),
            (_, 3) => ("POST", "/".to_owned(), true),
            (_, 4) => ("GET", format!("/big?bytes={BIG}"), true),
            _ => ("POST", "/".to_owned(), false),
        };
        let body: &[u8] = if method == "POST" { b"a body" } else { b"" };
        let answer = if keep {
            self.on_kept(method, &path, body).map_err(|error| format!("{method} {path}, kept connection: {error}"))?
        } else {
            http::request(self.gateway, method, &path, &[("host", &self.host)], body)?
        };
        if answer.status != 200 {
            return Err(format!("{method} {path}: {} {}", answer.status, answer.text().trim()));
        }
        if path.starts_with("/big") {
            let whole = answer.body.len() == BIG && answer.body.iter().all(|byte| *byte == b'.');
            return if whole { Ok(Value::Null) } else { Err(format!("{path}: {} bytes", answer.body.len())) };
        }
        let greeting = answer.json();
        let whole = greeting["version"].is_string() && greeting["instance"].is_string();
        if whole { Ok(greeting) } else { Err(format!("{method} {path}: {:?}", answer.text())) }
    }

    /// One try, as strict as a client that must not repeat a request.
    fn on_kept(&mut self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        let mut stream = match self.kept.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.gateway, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                BufReader::new(stream)
            }
        };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n", self.host, body.len());
        stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let answer = read_answer(&mut stream)?;
        if answer.header("connection") != Some("close") {
            self.kept = Some(stream);
        }
        Ok(answer)
    }
}

/// An answer whose length is declared, so that the connection can be used again.
fn read_answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
    let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Err(cut());
        }
    }
    let length = String::from_utf8_lossy(&head).lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.ok_or_else(|| std::io::Error::other("the answer has no content-length"))?];
    stream.read_exact(&mut body)?;
    http::parse(&[head, body].concat()).ok_or_else(cut)
}
