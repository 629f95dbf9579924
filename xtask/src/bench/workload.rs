//! The measured program, on both sides: through the API of Sampan, and straight at its address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sampan_testacc::http::{self, Answer};
use sampan_testacc::{Dev, wait_for};
use serde_json::{Value, json};

pub const NAMESPACE: &str = "bench";
pub const CPU_MILLIS: i64 = 1000;
pub const MEMORY_BYTES: i64 = 64 << 20;
pub const GRACE_SECONDS: u64 = 30;
pub const PORT: u16 = 8080;
/// Between two requests of the loop, and between two looks for a first answer.
const PAUSE: Duration = Duration::from_millis(1);
/// Longer than anything that is measured here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// The API with the administrator's token.
pub struct Api {
    address: SocketAddr,
    bearer: String,
}

impl Api {
    pub fn new(dev: &Dev) -> Result<Self, String> {
        let token =
            std::fs::read_to_string(&dev.token_file).map_err(|error| format!("token of sampan dev: {error}"))?;
        Ok(Self { address: dev.api, bearer: format!("Bearer {}", token.trim()) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn bearer(&self) -> &str {
        &self.bearer
    }

    fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: &Value) -> Result<Answer, String> {
        let host = self.address.to_string();
        let mut headers = vec![("host", host.as_str()), ("authorization", self.bearer.as_str())];
        headers.extend(more);
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = http::request(self.address, method, path, &headers, &bytes)?;
        if answer.status >= 400 {
            return Err(format!("{method} {path}: {} {}", answer.status, answer.text()));
        }
        Ok(answer)
    }

    pub fn get(&self, path: &str) -> Result<Value, String> {
        Ok(self.send("GET", path, &[], &Value::Null)?.json())
    }

    pub fn create(&self, path: &str, spec: &Value) -> Result<Value, String> {
        Ok(self.send("PUT", path, &[("if-none-match", "*")], spec)?.json())
    }

    pub fn replace(&self, path: &str, spec: &Value) -> Result<Value, String> {
        let tag = format!("\"{}\"", self.get(path)?["generation"]);
        Ok(self.send("PUT", path, &[("if-match", &tag)], spec)?.json())
    }

    pub fn delete(&self, path: &str) -> Result<Value, String> {
        let tag = format!("\"{}\"", self.get(path)?["generation"]);
        Ok(self.send("DELETE", path, &[("if-match", &tag)], &Value::Null)?.json())
    }

    /// Waits for the operation that an answer names.
    pub fn finish(&self, answer: &Value) -> Result<(), String> {
        let operation = if answer["operation"].is_object() { &answer["operation"] } else { answer };
        let Some(id) = operation["id"].as_str() else { return Err(format!("no operation in {answer}")) };
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let now = self.get(&format!("/v1/operations/{id}?wait=30"))?;
            match now["phase"].as_str().unwrap_or_default() {
                "Succeeded" => return Ok(()),
                "Pending" | "Running" => {}
                _ => return Err(format!("the operation did not succeed: {now}")),
            }
        }
        Err(format!("operation {id} is not over within {LIMIT:?}"))
    }
}

/// Path of an application of the bench.
pub fn path(name: &str) -> String {
    format!("/v1/namespaces/{NAMESPACE}/applications/{name}")
}

/// The application: hello with a readiness probe, as in the quickstart.
pub fn application(image: &str, replicas: u32, memory: &str, round: u32) -> Value {
    json!({
        "replicas": replicas,
        "isolation_class": "runc",
        "resources": { "cpu": "1", "memory": memory },
        "container": {
            "image": image,
            "env": { "ROUND": round.to_string() },
            "probes": { "readiness": { "http_get": { "path": "/healthz", "port": "http" } } },
        },
        "network": { "ports": { "http": { "container_port": PORT, "protocol": "HTTP" } } },
    })
}

pub fn route(application: &str, host: &str) -> Value {
    json!({
        "visibility": "public",
        "hostnames": [host],
        "rules": [{ "name": "all", "backends": [{ "application": application, "port": "http" }] }],
    })
}

/// One request on a new connection; whether it was answered with 200.
fn ask(address: SocketAddr, host: &str) -> bool {
    let asked = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(100))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    asked().unwrap_or(false)
}

/// Asks until there is an answer.
pub fn first_answer(address: SocketAddr, host: &str) {
    let end = Instant::now() + LIMIT;
    while !ask(address, host) && Instant::now() < end {
        std::thread::sleep(PAUSE);
    }
}

/// A client that asks again and again, one request after the other.
pub struct Loop {
    stop: Arc<AtomicBool>,
    worker: JoinHandle<Vec<Instant>>,
}

impl Loop {
    /// Begins once the first request has been answered.
    pub fn start(address: SocketAddr, host: &str) -> Self {
        wait_for("an answer", LIMIT, || if ask(address, host) { Ok(()) } else { Err("none".into()) });
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, host) = (Arc::clone(&stop), host.to_owned());
        let worker = std::thread::spawn(move || {
            let mut good = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                if ask(address, &host) {
                    good.push(Instant::now());
                }
                std::thread::sleep(PAUSE);
            }
            good
        });
        Self { stop, worker }
    }

    /// When good answers came.
    pub fn stop(self) -> Result<Vec<Instant>, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.worker.join().map_err(|_| "the request loop ended early".to_owned())
    }

    /// The longest time without a good answer.
    pub fn outage(self) -> Result<Duration, String> {
        Ok(longest_gap(&self.stop()?))
    }
}

fn longest_gap(moments: &[Instant]) -> Duration {
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_from_the_last_good_answer_to_the_next() {
        let start = Instant::now();
        let moments: Vec<Instant> = [0, 1, 2, 130, 131].map(|ms| start + Duration::from_millis(ms)).into();
        assert_eq!(longest_gap(&moments), Duration::from_millis(128));
        assert_eq!(longest_gap(&moments[..1]), Duration::ZERO);
    }
}
