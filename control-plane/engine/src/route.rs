//! The route table and the choice made from it. The gateway executes both and adds no rule of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One instance's container attempt that may receive requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// `instance/attempt`: requests in flight are counted under this key, across tables.
    pub key: String,
    pub addr: SocketAddr,
    pub revision: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    pub namespace: String,
    pub application: String,
    /// Relative to the other backends of the rule; 0 gets nothing.
    pub weight: u32,
    /// Ready ones only. Empty: the gateway answers 503 for requests that choose this backend.
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathKind {
    Exact,
    PathPrefix,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `namespace/route/rule`.
    pub name: String,
    pub path: (PathKind, String),
    pub backends: Vec<Backend>,
}

/// Rules of one host, most specific first: exact before prefix, longer before shorter, then written order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Served on the public listener too; internal hosts only on the internal one.
    pub public: bool,
    pub rules: Vec<Rule>,
}

/// The whole table. Never patched: computed from desired state and swapped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    pub generation: u64,
    /// Lower-case host, without port. A key `*.rest` is a wildcard for one leftmost label.
    pub hosts: BTreeMap<String, Host>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Public,
    Internal,
}

/// What the gateway does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<'a> {
    /// Try these in order: the first is chosen, the rest are where a safe retry goes.
    Forward { rule: &'a str, endpoints: Vec<&'a Endpoint> },
    /// No host or rule: 404.
    NoRoute,
    /// A backend without a ready endpoint: 503.
    NoEndpoint { rule: &'a str, application: String },
}

/// Picks host, rule, backend and endpoint order. `seq` is the rule's request counter: the backend is taken by the
/// golden-ratio sequence, so shares are near exact even over few requests; endpoints go round robin.
pub fn route<'a>(table: &'a RouteTable, listener: Listener, host: &str, path: &str, seq: u64) -> Choice<'a> {
    let host = host.to_ascii_lowercase();
    let found = table.hosts.get(&host).or_else(|| {
        let (_, rest) = host.split_once('.')?;
        table.hosts.get(&format!("*.{rest}"))
    });
    let Some(entry) = found.filter(|h| h.public || listener == Listener::Internal) else { return Choice::NoRoute };
    let Some(rule) = entry.rules.iter().find(|r| path_matches(&r.path, path)) else { return Choice::NoRoute };
    let total: u64 = rule.backends.iter().map(|b| u64::from(b.weight)).sum();
    if total == 0 {
        return Choice::NoEndpoint { rule: &rule.name, application: String::new() };
    }
    let fraction = (seq as f64 * 0.618_033_988_749_894_9).fract();
    let mut at = (fraction * total as f64) as u64;
    let mut chosen = &rule.backends[0];
    for backend in &rule.backends {
        if at < u64::from(backend.weight) {
            chosen = backend;
            break;
        }
        at -= u64::from(backend.weight);
    }
    if chosen.endpoints.is_empty() {
        return Choice::NoEndpoint {
            rule: &rule.name,
            application: format!("{}/{}", chosen.namespace, chosen.application),
        };
    }
    let start = (seq % chosen.endpoints.len() as u64) as usize;
    let endpoints = chosen.endpoints[start..].iter().chain(&chosen.endpoints[..start]).collect();
    Choice::Forward { rule: &rule.name, endpoints }
}

fn path_matches((kind, value): &(PathKind, String), path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    match kind {
        PathKind::Exact => path == value,
        PathKind::PathPrefix => {
            let prefix = value.trim_end_matches('/');
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}
