//! The table, from routes and from what serves.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sampan_schema::application::{Port, Protocol, container_port};
use sampan_schema::gray_policy::{Sticky, StickyKey};
use sampan_schema::route::{PathType, Spec, Visibility};

use super::bucket::WHOLE;
use super::{Backend, Endpoint, Gray, Host, Key, Matcher, PathKind, RouteTable, Rule, Served, Serving, Split, cap};

/// Name of the cookie when the policy names none.
const COOKIE: &str = "sampan_bucket";

/// The whole table from every route and every application (`namespace/application`), also those of which nothing
/// serves. `sources` are addresses of instances that serve nothing and may call others all the same, with their
/// namespace: those that start or drain. What serves is added to them.
///
/// An instance whose revision lacks the port is left out: 503, never a guess.
pub fn table<'a>(
    generation: u64,
    routes: impl IntoIterator<Item = &'a Spec>,
    applications: &BTreeMap<String, Served>,
    mut sources: BTreeMap<IpAddr, String>,
) -> RouteTable {
    let apps: BTreeMap<&str, App<'_>> = applications.iter().map(|(name, a)| (name.as_str(), App::new(a))).collect();
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    for route in routes {
        for hostname in &route.hostnames {
            if !is_foreign(hostname, &route.namespace, applications) {
                add(hosts.entry(hostname.clone()).or_default(), route, &apps);
            }
        }
    }
    for (name, app) in &apps {
        let Some((namespace, application)) = name.split_once('/') else { continue };
        for instance in &app.served.instances {
            sources.insert(instance.ip.to_canonical(), namespace.to_owned());
        }
        let host = format!("{application}.{namespace}.internal");
        if !hosts.contains_key(&host) && !hosts.contains_key(&format!("*.{namespace}.internal")) && app.has_port() {
            let backend = app.backend(namespace, application, WHOLE, internal_port);
            let rule = Rule { name: host.clone(), path: (PathKind::PathPrefix, "/".into()), backends: vec![backend] };
            hosts.insert(host, Host { public: false, rules: vec![rule] });
        }
    }
    for host in hosts.values_mut() {
        host.rules.sort_by_key(|r| (r.path.0 != PathKind::Exact, Reverse(r.path.1.len())));
    }
    RouteTable { generation, hosts, sources, buffers: BTreeMap::new() }
}

/// The internal host of an application of another namespace: not this namespace's to write.
fn is_foreign(hostname: &str, namespace: &str, applications: &BTreeMap<String, Served>) -> bool {
    let Some((app, owner)) = hostname.strip_suffix(".internal").and_then(|h| h.split_once('.')) else { return false };
    owner != namespace && applications.contains_key(&format!("{owner}/{app}"))
}

fn add(host: &mut Host, route: &Spec, apps: &BTreeMap<&str, App<'_>>) {
    host.public |= route.visibility == Visibility::Public;
    for rule in &route.rules {
        let weights: Vec<i64> = rule.backends.iter().map(|b| b.weight).collect();
        let backends: Vec<Backend> = rule
            .backends
            .iter()
            .zip(apportion(&weights))
            .map(|(b, weight)| match apps.get(format!("{}/{}", route.namespace, b.application).as_str()) {
                Some(app) => {
                    app.backend(&route.namespace, &b.application, weight, |ports| container_port(ports, &b.port))
                }
                None => Backend {
                    namespace: route.namespace.clone(),
                    application: b.application.clone(),
                    weight,
                    endpoints: Vec::new(),
                    gray: None,
                },
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
        host.rules.extend(paths.into_iter().map(|path| Rule {
            name: format!("{}/{}/{}", route.namespace, route.name, rule.name),
            path,
            backends: backends.clone(),
        }));
    }
}

/// Basis points in the proportion of the weights, which sum to 10 000 by largest remainder; 0 gets 0. All 0 stay so.
fn apportion(weights: &[i64]) -> Vec<u32> {
    let weights: Vec<u128> = weights.iter().map(|w| u128::try_from(*w).unwrap_or(0)).collect();
    let total: u128 = weights.iter().sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let whole = u128::from(WHOLE);
    let mut shares: Vec<u32> = weights.iter().map(|w| (w * whole / total) as u32).collect();
    let missing = WHOLE - shares.iter().sum::<u32>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| Reverse(weights[*i] * whole % total));
    // Fewer are missing than have a remainder, so that none of them has weight 0.
    for i in order.into_iter().take(missing as usize) {
        shares[i] += 1;
    }
    shares
}

/// The port of an internal host: the one named `http`, else the first of HTTP by name, else the only one.
fn internal_port(ports: &BTreeMap<String, Port>) -> Option<u16> {
    let http = || ports.values().find(|p| p.protocol == Protocol::HTTP);
    let only = || ports.values().next().filter(|_| ports.len() == 1);
    ports.get("http").or_else(http).or_else(only)?.container_port.try_into().ok()
}

/// An application, with what is the same in all of its backends.
struct App<'a> {
    served: &'a Served,
    matches: Arc<[Matcher]>,
    sticky: Option<Key>,
}

impl<'a> App<'a> {
    fn new(served: &'a Served) -> Self {
        let split = served.split.as_ref();
        let matches = split.into_iter().flat_map(|s| &s.matches).filter_map(|m| Matcher::new(m).ok()).collect();
        Self { served, matches, sticky: split.and_then(|s| s.sticky.as_ref()).and_then(Key::new) }
    }

    /// Nothing serving says nothing about ports: then the answer is 503, not 404.
    fn has_port(&self) -> bool {
        let instances = &self.served.instances;
        instances.is_empty() || instances.iter().any(|i| internal_port(&i.ports).is_some())
    }

    fn backend(
        &self,
        namespace: &str,
        application: &str,
        weight: u32,
        port: impl Fn(&BTreeMap<String, Port>) -> Option<u16>,
    ) -> Backend {
        let endpoint = |s: &Serving| {
            let addr = SocketAddr::new(s.ip, port(&s.ports)?);
            Some(Endpoint { key: s.key.clone(), addr, revision: s.revision.clone(), warmup: s.warmup })
        };
        let all: Vec<Endpoint> = self.served.instances.iter().filter_map(endpoint).collect();
        let (endpoints, gray) = match &self.served.split {
            None => (all, None),
            Some(split) => {
                let (baseline, gray) = self.sides(split, all);
                (baseline, Some(gray))
            }
        };
        Backend { namespace: namespace.to_owned(), application: application.to_owned(), weight, endpoints, gray }
    }

    fn sides(&self, split: &Split, all: Vec<Endpoint>) -> (Vec<Endpoint>, Gray) {
        let (shunned, wanted): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|e| split.shunned.as_ref() == Some(&e.revision));
        let (gray, mut baseline): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|e| e.revision == split.gray);
        if gray.is_empty() && baseline.is_empty() {
            baseline = shunned;
        }
        let weight = match (gray.len(), baseline.len()) {
            (0, _) => 0,
            (_, 0) => WHOLE,
            (g, b) if split.shared => cap(split.weight, g, g + b),
            _ => split.weight.min(WHOLE),
        };
        let gray = Gray {
            endpoints: gray,
            revision: split.gray.clone(),
            weight,
            matches: self.matches.clone(),
            sticky: self.sticky.clone(),
            tag: split.tag.clone(),
            salt: split.salt,
        };
        (baseline, gray)
    }
}

impl Key {
    /// `None` for a name that no cookie or header can have, or a header without one: then callers are unknown.
    /// Admission refuses it.
    pub fn new(sticky: &Sticky) -> Option<Self> {
        match sticky.key {
            StickyKey::Cookie => {
                let name = sticky.name.clone().unwrap_or_else(|| COOKIE.into());
                is_token(&name).then_some(Self::Cookie { name, max_age_seconds: sticky.max_age_seconds.max(1) })
            }
            StickyKey::Header => {
                let name = sticky.name.as_deref().filter(|n| is_token(n))?;
                Some(Self::Header(name.to_ascii_lowercase()))
            }
            StickyKey::ClientIp => Some(Self::ClientIp),
        }
    }
}

/// RFC 9110, 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn serving(n: u8, revision: &str, ports: &[(&str, i64, Protocol)]) -> Serving {
        let port = |(name, number, protocol): &(&str, i64, Protocol)| {
            ((*name).to_owned(), Port { container_port: *number, protocol: *protocol })
        };
        Serving {
            key: n.to_string(),
            ip: [10, 0, 0, n].into(),
            revision: revision.into(),
            ports: ports.iter().map(port).collect(),
            warmup: None,
        }
    }

    fn plain(n: u8, revision: &str) -> Serving {
        serving(n, revision, &[("http", 8080, Protocol::HTTP)])
    }

    fn served(instances: Vec<Serving>, split: Option<Split>) -> BTreeMap<String, Served> {
        [("n/a".to_owned(), Served { instances, split })].into()
    }

    fn route(namespace: &str, host: &str) -> Spec {
        let spec = serde_json::json!({
            "namespace": namespace, "name": "r", "hostnames": [host],
            "rules": [{ "name": "all", "backends": [{ "application": "a", "port": "http" }] }],
        });
        serde_json::from_value(spec).unwrap()
    }

    fn built(applications: &BTreeMap<String, Served>, routes: &[Spec]) -> RouteTable {
        table(1, routes, applications, BTreeMap::new())
    }

    /// Keys of baseline and of gray, and the effective weight.
    fn sides(instances: Vec<Serving>, split: Split) -> (Vec<String>, Vec<String>, u32) {
        let t = built(&served(instances, Some(split)), &[]);
        let backend = &t.hosts["a.n.internal"].rules[0].backends[0];
        let keys = |all: &[Endpoint]| all.iter().map(|e| e.key.clone()).collect::<Vec<_>>();
        let gray = backend.gray.as_ref().unwrap();
        (keys(&backend.endpoints), keys(&gray.endpoints), gray.weight)
    }

    fn split(weight: u32) -> Split {
        Split { gray: "new".into(), weight, tag: "gray".into(), ..Split::default() }
    }

    #[test]
    fn an_endpoint_has_the_port_of_its_own_revision() {
        let all = vec![
            serving(1, "1", &[("http", 8080, Protocol::HTTP)]),
            serving(2, "2", &[("http", 9090, Protocol::HTTP)]),
            serving(3, "3", &[]),
        ];
        let t = built(&served(all, None), &[route("n", "a.example")]);
        let found: Vec<_> = t.hosts["a.example"].rules[0].backends[0].endpoints.iter().map(|e| e.addr).collect();
        assert_eq!(found, [SocketAddr::from(([10, 0, 0, 1], 8080)), SocketAddr::from(([10, 0, 0, 2], 9090))]);
    }

    #[test]
    fn gray_is_capped_by_its_ready_instances() {
        let all = || vec![plain(1, "old"), plain(2, "old"), plain(3, "old"), plain(4, "new")];
        let (old, new) = (vec!["1".to_owned(), "2".into(), "3".into()], vec!["4".to_owned()]);
        assert_eq!(sides(all(), split(5_000)), (old.clone(), new.clone(), 5_000));
        assert_eq!(sides(all(), Split { shared: true, ..split(5_000) }), (old.clone(), new.clone(), 2_500));
        assert_eq!(sides(all(), Split { shared: true, ..split(100) }), (old.clone(), new.clone(), 100));
        assert_eq!(sides(all()[..3].to_vec(), split(5_000)), (old, vec![], 0));
        // Nothing else is there, whatever the step says.
        assert_eq!(sides(all()[3..].to_vec(), split(0)), (vec![], new, 10_000));
    }

    #[test]
    fn a_shunned_revision_serves_when_nothing_else_does() {
        let shun = |revision: &str| Split { shunned: Some(revision.into()), ..split(0) };
        let all = vec![plain(1, "old"), plain(2, "bad"), plain(3, "new")];
        assert_eq!(sides(all.clone(), shun("bad")), (vec!["1".into()], vec!["3".into()], 0));
        // Shunned and gray at once: no lane and no match leads there.
        assert_eq!(sides(all.clone(), shun("new")), (vec!["1".into(), "2".into()], vec![], 0));
        assert_eq!(sides(vec![plain(2, "bad"), plain(3, "new")], shun("bad")), (vec![], vec!["3".into()], 10_000));
        assert_eq!(sides(vec![plain(2, "bad")], shun("bad")), (vec!["2".into()], vec![], 0));
    }

    #[test]
    fn every_application_has_an_internal_host() {
        use Protocol::{HTTP, TCP};
        let port = |ports: &[(&str, i64, Protocol)]| {
            let t = built(&served(vec![serving(1, "r", ports)], None), &[]);
            let host = t.hosts.get("a.n.internal")?;
            assert!(!host.public);
            Some(host.rules[0].backends[0].endpoints[0].addr.port())
        };
        assert_eq!(port(&[("admin", 1, HTTP), ("http", 2, TCP)]), Some(2));
        assert_eq!(port(&[("a", 1, TCP), ("b", 2, HTTP), ("c", 3, HTTP)]), Some(2));
        assert_eq!(port(&[("a", 1, TCP)]), Some(1));
        assert_eq!(port(&[("a", 1, TCP), ("b", 2, TCP)]), None);
        assert_eq!(port(&[]), None);
        assert!(built(&served(vec![], None), &[]).hosts.contains_key("a.n.internal"), "503, not 404");
    }

    #[test]
    fn written_routes_win_over_internal_hosts_of_their_namespace() {
        let apps = served(vec![plain(1, "r")], None);
        let name = |t: &RouteTable, host: &str| t.hosts.get(host).map(|h| h.rules[0].name.clone());
        let t = built(&apps, &[route("n", "a.n.internal")]);
        assert_eq!(name(&t, "a.n.internal").as_deref(), Some("n/r/all"));
        let t = built(&apps, &[route("n", "*.n.internal")]);
        assert_eq!((name(&t, "a.n.internal"), name(&t, "*.n.internal").is_some()), (None, true));
        // Another namespace cannot take the host of an application.
        let t = built(&apps, &[route("evil", "a.n.internal"), route("evil", "b.n.internal")]);
        assert_eq!(name(&t, "a.n.internal").as_deref(), Some("a.n.internal"));
        assert_eq!(name(&t, "b.n.internal").as_deref(), Some("evil/r/all"));
    }

    #[test]
    fn sources_are_those_that_serve_and_those_that_are_given() {
        let given = [("10.0.0.9".parse().unwrap(), "m".to_owned())].into();
        let t = table(1, [], &served(vec![plain(1, "r")], None), given);
        let found: Vec<_> = t.sources.iter().map(|(ip, ns)| (ip.to_string(), ns.as_str())).collect();
        assert_eq!(found, [("10.0.0.1".to_owned(), "n"), ("10.0.0.9".to_owned(), "m")]);
    }

    #[test]
    fn matches_that_cannot_be_used_send_nothing() {
        let matches = serde_json::from_value(serde_json::json!([
            { "path": { "type": "RegularExpression", "value": "(" } }, { "path": { "value": "/a" } }, {},
        ]))
        .unwrap();
        let instances = vec![plain(1, "old"), plain(2, "new")];
        let t = built(&served(instances, Some(Split { matches, ..split(0) })), &[]);
        assert_eq!(t.hosts["a.n.internal"].rules[0].backends[0].gray.as_ref().unwrap().matches.len(), 1);
    }

    #[test]
    fn names_that_would_break_out_of_a_header_are_not_used() {
        let of = |json: serde_json::Value| Key::new(&serde_json::from_value(json).unwrap());
        let cookie = |name: &str| Some(Key::Cookie { name: name.into(), max_age_seconds: 86_400 });
        assert_eq!(of(serde_json::json!({})), cookie("sampan_bucket"));
        assert_eq!(of(serde_json::json!({ "name": "mine" })), cookie("mine"));
        assert_eq!(of(serde_json::json!({ "name": "a=b; Domain=x" })), None);
        assert_eq!(of(serde_json::json!({ "key": "header", "name": "X-User" })), Some(Key::Header("x-user".into())));
        assert_eq!(of(serde_json::json!({ "key": "header" })), None);
        assert_eq!(of(serde_json::json!({ "key": "client_ip" })), Some(Key::ClientIp));
    }

    proptest! {
        #[test]
        fn weights_sum_to_the_whole(weights in prop::collection::vec(0..=1_000_000_i64, 1..16)) {
            let shares = apportion(&weights);
            let total: i64 = weights.iter().sum();
            prop_assert_eq!(shares.iter().sum::<u32>(), if total == 0 { 0 } else { WHOLE });
            for (w, s) in weights.iter().zip(&shares) {
                // None is further off than one basis point, and nothing stays nothing.
                let exact = if total == 0 { 0.0 } else { *w as f64 * 10_000.0 / total as f64 };
                prop_assert!((exact - f64::from(*s)).abs() < 1.0 && (*w > 0 || *s == 0));
            }
        }

        #[test]
        fn no_instance_is_lost_or_on_both_sides(
            revisions in prop::collection::vec(prop::sample::select(vec!["old", "older", "new", "bad"]), 0..12),
            weight in 0..=10_000_u32, shared: bool, shunned in prop::option::of(prop::sample::select(vec!["bad", "new"])),
        ) {
            let instances: Vec<_> = revisions.iter().enumerate().map(|(i, r)| plain(i as u8, r)).collect();
            let split = Split { shared, shunned: shunned.map(Into::into), ..split(weight) };
            let (baseline, gray, effective) = sides(instances, split);
            let shun = revisions.iter().filter(|r| Some(**r) == shunned).count();
            let serving = baseline.len() + gray.len();
            // Shunned ones serve exactly when they are all there is.
            prop_assert_eq!(serving, if shun < revisions.len() { revisions.len() - shun } else { shun });
            prop_assert!(baseline.iter().all(|k| !gray.contains(k)));
            prop_assert!(effective <= WHOLE);
            prop_assert!(!gray.is_empty() || effective == 0);
            prop_assert!(gray.is_empty() || !baseline.is_empty() || effective == WHOLE);
            let most = if shared && !baseline.is_empty() { cap(weight, gray.len(), serving) } else { WHOLE };
            prop_assert!(effective <= most);
        }
    }
}
