//! The route table and the choice made from it. The gateway executes both and adds no rule of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sampan_schema::application::{Port, container_port};
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

/// How the requests of an application are divided while a release with a gray policy runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Revision that is released: its instances are gray. Every other serving instance is baseline.
    pub gray: String,
    /// Share of gray in basis points, of the requests that no match chose. Wanted by the step; see [`cap`].
    pub weight: u32,
    /// Gray instances are a part of the application's capacity (`capacity = "shared"`): gray gets no larger share of
    /// the requests than its share of the ready instances.
    pub shared: bool,
    /// Any of them sends a request to gray, and marks it with the lane.
    pub matches: Vec<sampan_schema::gray_policy::Match>,
    pub sticky: Option<sampan_schema::gray_policy::Sticky>,
    /// Name of the lane.
    pub tag: String,
    /// Differs from release to release, so that the same callers are not always the first.
    pub salt: u64,
    /// A revision that gets no request at all while another one can answer: an aborted release's. Then `weight` is 0.
    pub shunned: Option<String>,
}

/// The share of gray that its ready instances can carry, in basis points.
pub fn cap(weight: u32, gray: usize, all: usize) -> u32 {
    if gray == 0 || all == 0 {
        return 0;
    }
    weight.min((10_000 * gray / all) as u32)
}

/// What serves of one application.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Served {
    pub instances: Vec<Serving>,
    pub split: Option<Split>,
}

/// An instance that may take requests, as the table builder sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    pub key: String,
    pub ip: std::net::IpAddr,
    pub revision: String,
    /// Ports of its revision, by name.
    pub ports: BTreeMap<String, Port>,
}

/// The whole table from every route and every application's serving instances. An instance whose revision lacks the
/// port is left out: 503, never a guess.
pub fn table<'a>(
    generation: u64,
    routes: impl IntoIterator<Item = &'a sampan_schema::route::Spec>,
    application: &dyn Fn(&str, &str) -> &'a [Serving],
) -> RouteTable {
    use sampan_schema::route::{PathType, Visibility};
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    for route in routes {
        for rule in &route.rules {
            let backends: Vec<Backend> = rule
                .backends
                .iter()
                .map(|b| {
                    let endpoint = |s: &Serving| {
                        let addr = SocketAddr::new(s.ip, container_port(&s.ports, &b.port)?);
                        Some(Endpoint { key: s.key.clone(), addr, revision: s.revision.clone() })
                    };
                    let serving = application(&route.namespace, &b.application);
                    Backend {
                        namespace: route.namespace.clone(),
                        application: b.application.clone(),
                        weight: b.weight.try_into().unwrap_or(0),
                        endpoints: serving.iter().filter_map(endpoint).collect(),
                    }
                })
                .collect();
            let mut paths: Vec<(PathKind, String)> = rule
                .matches
                .iter()
                .map(|m| {
                    let kind = match m.path.kind {
                        PathType::Exact => PathKind::Exact,
                        PathType::PathPrefix => PathKind::PathPrefix,
                    };
                    (kind, m.path.value.clone())
                })
                .collect();
            if paths.is_empty() {
                paths.push((PathKind::PathPrefix, "/".into()));
            }
            for host in &route.hostnames {
                let entry = hosts.entry(host.clone()).or_default();
                entry.public |= route.visibility == Visibility::Public;
                entry.rules.extend(paths.iter().map(|path| Rule {
                    name: format!("{}/{}/{}", route.namespace, route.name, rule.name),
                    path: path.clone(),
                    backends: backends.clone(),
                }));
            }
        }
    }
    for host in hosts.values_mut() {
        host.rules.sort_by_key(|r| (r.path.0 != PathKind::Exact, std::cmp::Reverse(r.path.1.len())));
    }
    RouteTable { generation, hosts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(n: u8) -> Endpoint {
        Endpoint { key: n.to_string(), addr: SocketAddr::from(([10, 0, 0, n], 80)), revision: "r".into() }
    }

    fn one(backends: Vec<Backend>) -> RouteTable {
        let rules = vec![Rule { name: "n/r/a".into(), path: (PathKind::PathPrefix, "/api".into()), backends }];
        RouteTable { generation: 1, hosts: [("a.example".to_owned(), Host { public: true, rules })].into() }
    }

    fn backend(weight: u32, endpoints: Vec<Endpoint>) -> Backend {
        Backend { namespace: "n".into(), application: "a".into(), weight, endpoints }
    }

    #[test]
    fn a_prefix_matches_whole_segments_only() {
        let t = one(vec![backend(1, vec![endpoint(1)])]);
        let at = |path| route(&t, Listener::Public, "A.Example", path, 0);
        assert!(matches!(at("/api/x"), Choice::Forward { .. }));
        assert!(matches!(at("/api"), Choice::Forward { .. }));
        assert_eq!(at("/apix"), Choice::NoRoute);
        assert_eq!(route(&t, Listener::Public, "b.example", "/api", 0), Choice::NoRoute);
    }

    #[test]
    fn an_endpoint_has_the_port_of_its_own_revision() {
        let port = |number| Port { container_port: number, protocol: sampan_schema::application::Protocol::HTTP };
        let serving = |n: u8, ports: &[(&str, i64)]| Serving {
            key: n.to_string(),
            ip: [10, 0, 0, n].into(),
            revision: n.to_string(),
            ports: ports.iter().map(|(name, number)| ((*name).to_owned(), port(*number))).collect(),
        };
        let all = [serving(1, &[("http", 8080)]), serving(2, &[("http", 9090)]), serving(3, &[])];
        let spec = serde_json::json!({
            "namespace": "n", "name": "r", "hostnames": ["a.example"],
            "rules": [{ "name": "all", "backends": [{ "application": "a", "port": "http" }] }],
        });
        let route: sampan_schema::route::Spec = serde_json::from_value(spec).unwrap();
        let t = table(1, [&route], &|_, _| &all);
        let found: Vec<_> = t.hosts["a.example"].rules[0].backends[0].endpoints.iter().map(|e| e.addr).collect();
        assert_eq!(found, [SocketAddr::from(([10, 0, 0, 1], 8080)), SocketAddr::from(([10, 0, 0, 2], 9090))]);
    }

    #[test]
    fn shares_are_near_exact_and_zero_gets_nothing() {
        let t = one(vec![backend(9, vec![endpoint(1)]), backend(1, vec![endpoint(2)]), backend(0, vec![endpoint(3)])]);
        let mut count = BTreeMap::new();
        for seq in 0..1000 {
            if let Choice::Forward { endpoints, .. } = route(&t, Listener::Public, "a.example", "/api", seq) {
                *count.entry(endpoints[0].key.clone()).or_insert(0) += 1;
            }
        }
        assert_eq!(count.get("3"), None);
        assert!((895..=905).contains(&count["1"]), "{count:?}");
    }

    #[test]
    fn an_internal_host_is_not_served_in_public() {
        let mut t = one(vec![backend(1, vec![endpoint(1)])]);
        t.hosts.get_mut("a.example").unwrap().public = false;
        assert_eq!(route(&t, Listener::Public, "a.example", "/api", 0), Choice::NoRoute);
        assert!(matches!(route(&t, Listener::Internal, "a.example", "/api", 0), Choice::Forward { .. }));
    }
}
