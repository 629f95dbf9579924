//! Probes of a container.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::violation::Violation;

/// Startup gates the others; readiness decides about traffic; liveness restarts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// The others wait until it has passed once; over its failure threshold the container is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// Decides whether the instance gets traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Over its failure threshold the container is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
}

/// Exactly one of `http_get`, `tcp_socket`, `grpc`, `exec`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Seconds before the first try.
    #[schemars(range(min = 0, max = 3600))]
    #[serde(default)]
    pub initial_delay_seconds: i64,
    /// Seconds between tries. Until the first success tries begin at 50 ms and double up to this.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(default = "ten")]
    pub period_seconds: i64,
    /// Seconds one try may take.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(default = "one")]
    pub timeout_seconds: i64,
    /// Successes in a row that count as passed.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default = "one")]
    pub success_threshold: i64,
    /// Failures in a row that count as failed.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(default = "three")]
    pub failure_threshold: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocket>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
}

fn one() -> i64 {
    1
}
fn three() -> i64 {
    3
}
fn ten() -> i64 {
    10
}
fn slash() -> String {
    "/".into()
}

/// HTTP GET on the instance's address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpGet {
    #[schemars(regex(pattern = r"^/[!-~]*$"))]
    #[serde(default = "slash")]
    pub path: String,
    /// Key of `network.ports`, or a port number.
    pub port: String,
    /// Value of the Host header; the instance's address if null.
    #[schemars(regex(pattern = r"^[!-~]+$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Request headers: names are HTTP tokens, values printable ASCII.
    #[schemars(extend("maxProperties" = 32))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Statuses that pass, each 100 to 599; empty means 200 to 399.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect_status: Vec<i64>,
}

/// A TCP connection that opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpSocket {
    /// Key of `network.ports`, or a port number.
    pub port: String,
}

/// `grpc.health.v1.Health/Check` answers SERVING.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Key of `network.ports`, or a port number.
    pub port: String,
    #[serde(default)]
    pub service: String,
}

/// A command in the container that exits with 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
}

/// A field name as in RFC 9110, and a value without control characters.
pub(crate) fn is_header(name: &str, value: &str) -> bool {
    is_token(name) && value.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// A token as in RFC 9110: what names of headers and cookies are.
pub(crate) fn is_token(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token)
}

/// Rules across fields. `is_port` tells whether a port reference resolves.
pub fn validate(probes: &Probes, path: &str, is_port: &dyn Fn(&str) -> bool) -> Vec<Violation> {
    let mut v = Vec::new();
    for (name, probe) in
        [("startup", &probes.startup), ("readiness", &probes.readiness), ("liveness", &probes.liveness)]
    {
        let Some(p) = probe else { continue };
        let path = format!("{path}.{name}");
        let count = usize::from(p.http_get.is_some())
            + usize::from(p.tcp_socket.is_some())
            + usize::from(p.grpc.is_some())
            + usize::from(p.exec.is_some());
        if count != 1 {
            v.push(Violation::new(
                &path,
                "SMP021",
                format!("has {count} of http_get, tcp_socket, grpc and exec: write exactly one"),
            ));
        }
        if p.timeout_seconds > p.period_seconds {
            v.push(Violation::new(
                format!("{path}.timeout_seconds"),
                "SMP022",
                format!("is {}, above period_seconds {}", p.timeout_seconds, p.period_seconds),
            ));
        }
        if name != "readiness" && p.success_threshold != 1 {
            v.push(Violation::new(format!("{path}.success_threshold"), "SMP023", "must be 1 except for readiness"));
        }
        if let Some(h) = &p.http_get {
            let path = format!("{path}.http_get");
            if let Some(s) = h.expect_status.iter().find(|s| !(100..=599).contains(*s)) {
                v.push(Violation::new(format!("{path}.expect_status"), "SMP035", format!("{s} is no HTTP status")));
            }
            for (name, value) in h.headers.iter().filter(|(name, value)| !is_header(name, value)) {
                let text = format!("{name:?} = {value:?} is no HTTP header: a token, and printable ASCII");
                v.push(Violation::new(format!("{path}.headers"), "SMP036", text));
            }
        }
        let port = p
            .http_get
            .as_ref()
            .map(|h| (&h.port, "http_get"))
            .or(p.tcp_socket.as_ref().map(|t| (&t.port, "tcp_socket")))
            .or(p.grpc.as_ref().map(|g| (&g.port, "grpc")));
        if let Some((port, action)) = port
            && !is_port(port)
        {
            v.push(Violation::new(
                format!("{path}.{action}.port"),
                "SMP024",
                format!("{port:?} is neither a key of network.ports nor a port number"),
            ));
        }
    }
    v
}
