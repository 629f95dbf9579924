//! The route table and the choice made from it. The gateway executes both and adds no rule of its own.

mod application;
mod bucket;
mod candidates;
mod matches;
mod table;
mod warm;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sampan_schema::application::Port;
use serde::{Deserialize, Serialize};

use self::bucket::WHOLE;
pub use self::candidates::Candidates;
pub use self::matches::{MatchError, Matcher};
pub use self::table::{Builder, table};
pub use self::warm::Warmup;

/// One instance's container attempt that may receive requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// `instance/attempt`: requests in flight are counted under this key, across tables.
    pub key: Arc<str>,
    pub addr: SocketAddr,
    pub revision: Arc<str>,
    /// Slow start, while it lasts and after.
    pub warmup: Option<Warmup>,
}

/// Endpoints of one side. Backends with the same ones share the list, and so do tables of which each follows from the
/// one before: what was seen at the same address is the same.
pub type Endpoints = Arc<[Endpoint]>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub namespace: Arc<str>,
    pub application: Arc<str>,
    /// Basis points. Those of a rule sum to 10 000; 0 gets nothing.
    pub weight: u32,
    /// Ready ones of baseline: all of them while there is no split. Empty, with gray: the gateway answers 503 for
    /// requests that choose this backend.
    pub endpoints: Endpoints,
    /// The other side, while a release with a split runs.
    pub gray: Option<Gray>,
    /// The lane that baseline is of: a release in it has succeeded.
    pub lane: Option<Arc<str>>,
}

/// The gray side of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gray {
    /// Ready ones.
    pub endpoints: Endpoints,
    pub revision: Arc<str>,
    /// Share of what no match chose, in basis points: 0 when no endpoint is ready, 10 000 when baseline has none.
    pub weight: u32,
    pub matches: Arc<[Matcher]>,
    pub sticky: Option<Key>,
    /// Name of the lane.
    pub tag: Arc<str>,
    pub salt: u64,
}

/// What a caller is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Set by the gateway when it is missing.
    Cookie {
        name: String,
        max_age_seconds: i64,
    },
    /// In lower case. A caller without it is unknown.
    Header(String),
    ClientIp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    Exact,
    PathPrefix,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `namespace/route/rule`; the host of an internal host.
    pub name: Arc<str>,
    pub path: (PathKind, String),
    pub backends: Vec<Backend>,
}

/// Rules of one host, most specific first: exact before prefix, longer before shorter, then written order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Served on the public listener too; internal hosts only on the internal one.
    pub public: bool,
    pub rules: Vec<Rule>,
}

/// The whole table. Never patched: it follows from desired state as a whole, and is swapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteTable {
    pub generation: u64,
    /// Lower-case host, without port. A key `*.rest` is a wildcard for one leftmost label.
    pub hosts: BTreeMap<String, Host>,
    /// Namespace of an instance, by its address: a lane is believed only from the namespace it leads to.
    pub sources: BTreeMap<IpAddr, Arc<str>>,
    /// Applications (`namespace/application`) whose requests wait while none of their endpoints is there: something is
    /// being started for them. All others are answered with 503 then.
    pub buffers: BTreeMap<String, Buffer>,
    /// Lanes, with their namespaces, that do not fall back to baseline.
    pub rejecting: BTreeSet<(Arc<str>, Arc<str>)>,
}

/// How requests wait for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// No more than so many at once.
    pub requests: u32,
    /// No request longer than so many milliseconds, all in all.
    pub timeout_ms: u64,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { requests: 1000, timeout_ms: 60_000 }
    }
}

impl Buffer {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Public,
    Internal,
}

/// A request's headers.
pub trait Headers {
    /// Values of a header, by its name in lower case, in the order sent. What is not UTF-8 is left out.
    fn values(&self, name: &str) -> Vec<&str>;
}

impl<const N: usize> Headers for [(&str, &str); N] {
    fn values(&self, name: &str) -> Vec<&str> {
        self.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v).collect()
    }
}

/// What is known of a request.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub listener: Listener,
    /// Without port.
    pub host: &'a str,
    pub path: &'a str,
    pub method: &'a str,
    /// What is after the `?`.
    pub query: &'a str,
    /// As the instance will see them: nothing that only the gateway may set comes from the caller.
    pub headers: &'a dyn Headers,
    /// Who is connected: on the internal listener an instance.
    pub client: IpAddr,
    /// The lane that the caller claims. [`choose`] judges whether it counts.
    pub lane: Option<&'a str>,
    /// Random. Becomes the cookie of a caller who needs one and has none.
    pub fresh: u128,
    /// Milliseconds since the epoch.
    pub now: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Baseline,
    Gray,
}

/// A cookie to set with the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie<'a> {
    pub name: &'a str,
    pub value: String,
    pub max_age_seconds: i64,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward<'a> {
    pub rule: &'a str,
    pub side: Side,
    /// Try these in order: the first is chosen, the rest are where a safe retry goes. All are of one side.
    pub endpoints: Candidates<'a>,
    /// The lane that the request goes on with, whichever side it is.
    pub lane: Option<String>,
    pub cookie: Option<Cookie<'a>>,
}

/// What the gateway does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<'a> {
    Forward(Forward<'a>),
    /// No host or rule: 404.
    NoRoute,
    /// A backend without a ready endpoint: 503.
    NoEndpoint {
        rule: &'a str,
        application: String,
    },
    /// A backend without a ready endpoint of the caller's lane, which does not fall back to baseline: 503.
    NoLane {
        rule: &'a str,
        application: String,
        lane: String,
    },
}

/// Picks host, rule, backend, side and endpoint order. `seq` is the rule's request counter.
pub fn route<'a>(table: &'a RouteTable, facts: &Facts<'_>, seq: u64) -> Choice<'a> {
    match find(table, facts.listener, facts.host, facts.path) {
        Some(rule) => choose(table, rule, facts, seq),
        None => Choice::NoRoute,
    }
}

/// The rule of a request: the first half of [`route`], which says whose counter the second half needs.
pub fn find<'a>(table: &'a RouteTable, listener: Listener, host: &str, path: &str) -> Option<&'a Rule> {
    let is_lower = !host.bytes().any(|b| b.is_ascii_uppercase());
    let host = if is_lower { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) };
    let found = table.hosts.get(&*host).or_else(|| {
        let (_, rest) = host.split_once('.')?;
        table.hosts.get(&format!("*.{rest}"))
    });
    let entry = found.filter(|h| h.public || listener == Listener::Internal)?;
    entry.rules.iter().find(|r| path_matches(r.path.0, &r.path.1, path))
}

/// Picks backend, side and endpoint order. The backend, and the side of a caller who is not known, follow the
/// golden-ratio sequence, so that shares are near exact even over few requests; endpoints go round robin.
pub fn choose<'a>(table: &RouteTable, rule: &'a Rule, facts: &Facts<'_>, seq: u64) -> Choice<'a> {
    let nothing = |application| Choice::NoEndpoint { rule: &rule.name, application };
    let point = bucket::point(seq);
    // A point within the backend's part is as well spread as the sequence itself: the side does not depend on which
    // backend was chosen.
    let Some((index, point)) = bucket::part(point, rule.backends.iter().map(|b| b.weight)) else {
        return nothing(String::new());
    };
    let Some(backend) = rule.backends.get(index) else { return nothing(String::new()) };
    let claimed = trusted_lane(table, facts, &backend.namespace);
    let name = || format!("{}/{}", backend.namespace, backend.application);
    if let Some(lane) = claimed.filter(|lane| !backend.is_on(lane) && table.rejects(&backend.namespace, lane)) {
        return Choice::NoLane { rule: &rule.name, application: name(), lane: lane.to_owned() };
    }
    let Placed { side, lane, cookie } = place(backend, facts, claimed, point);
    let gray = backend.gray.as_ref().map_or(&backend.endpoints, |g| &g.endpoints);
    // A lane that leads to baseline is the one way to a side without an endpoint.
    let (side, endpoints) = match side {
        Side::Baseline if backend.endpoints.is_empty() => (Side::Gray, gray),
        Side::Baseline => (side, &backend.endpoints),
        Side::Gray => (side, gray),
    };
    if endpoints.is_empty() {
        return nothing(name());
    }
    let endpoints = Candidates::new(endpoints, warm::turn(endpoints, seq, facts.now));
    let lane = lane.map(str::to_owned);
    Choice::Forward(Forward { rule: &rule.name, side, endpoints, lane, cookie })
}

impl Backend {
    /// A call on the lane reaches the lane here.
    fn is_on(&self, lane: &str) -> bool {
        let is_gray = self.gray.as_ref().is_some_and(|gray| *gray.tag == *lane && !gray.endpoints.is_empty());
        is_gray || self.lane.as_deref() == Some(lane)
    }
}

impl RouteTable {
    fn rejects(&self, namespace: &Arc<str>, lane: &str) -> bool {
        !self.rejecting.is_empty() && self.rejecting.contains(&(namespace.clone(), lane.into()))
    }
}

/// A lane counts when an instance of the target's own namespace sends it.
fn trusted_lane<'a>(table: &RouteTable, facts: &Facts<'a>, namespace: &str) -> Option<&'a str> {
    let caller = table.sources.get(&facts.client.to_canonical());
    let trusted = facts.listener == Listener::Internal && caller.is_some_and(|c| **c == *namespace);
    facts.lane.filter(|lane| trusted && sampan_schema::name::is_name(lane))
}

struct Placed<'a, 'r> {
    side: Side,
    lane: Option<&'r str>,
    cookie: Option<Cookie<'a>>,
}

/// The side: by lane, by match, by the caller's bucket, by weight.
fn place<'a, 'r>(backend: &'a Backend, facts: &'r Facts<'_>, lane: Option<&'r str>, point: u64) -> Placed<'a, 'r>
where
    'a: 'r,
{
    let at = |side, lane, cookie| Placed { side, lane, cookie };
    // Without a ready gray endpoint everything is baseline's, and a lane goes on through it.
    let Some(gray) = backend.gray.as_ref().filter(|g| !g.endpoints.is_empty()) else {
        return at(Side::Baseline, lane, None);
    };
    if let Some(lane) = lane {
        let side = if *gray.tag == *lane { Side::Gray } else { Side::Baseline };
        return at(side, Some(lane), None);
    }
    if gray.matches.iter().any(|m| m.holds(facts)) {
        return at(Side::Gray, Some(&gray.tag), None);
    }
    match gray.weight {
        0 => return at(Side::Baseline, None, None),
        WHOLE.. => return at(Side::Gray, None, None),
        _ => {}
    }
    let (key, cookie) = gray.sticky.as_ref().map_or((None, None), |k| caller(k, facts));
    let is_gray = match key {
        Some(key) => bucket::bucket(key.as_bytes(), gray.salt) < gray.weight,
        None => bucket::is_in(point, gray.salt, gray.weight),
    };
    at(if is_gray { Side::Gray } else { Side::Baseline }, None, cookie)
}

/// Who it is, and the cookie to know the caller by next time. `None`: somebody unknown.
fn caller<'a, 'r>(key: &'a Key, facts: &'r Facts<'_>) -> (Option<Cow<'r, str>>, Option<Cookie<'a>>) {
    match key {
        Key::Header(name) => (facts.headers.values(name).first().map(|v| Cow::Borrowed(*v)), None),
        Key::ClientIp => (Some(facts.client.to_canonical().to_string().into()), None),
        Key::Cookie { name, max_age_seconds } => {
            match matches::cookie_values(facts, name).into_iter().find(|v| !v.is_empty()) {
                Some(value) => (Some(value.into()), None),
                None => {
                    let value = format!("{:032x}", facts.fresh);
                    let cookie = Cookie { name, value: value.clone(), max_age_seconds: *max_age_seconds };
                    (Some(value.into()), Some(cookie))
                }
            }
        }
    }
}

fn path_matches(kind: PathKind, value: &str, path: &str) -> bool {
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
    pub lanes: Lanes,
}

/// The lanes of an application beside that of its split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lanes {
    /// All instances are of this one: it was released to the end.
    pub all: Option<String>,
    /// Its policy lets no call on this one fall back to baseline, whichever application of the namespace is called.
    pub rejecting: Option<String>,
}

/// An instance that may take requests, as the table builder sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    pub key: Arc<str>,
    pub ip: IpAddr,
    pub revision: Arc<str>,
    /// Ports of its revision, by name.
    pub ports: BTreeMap<String, Port>,
    pub warmup: Option<Warmup>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(n: u8) -> Endpoint {
        let addr = SocketAddr::from(([10, 0, 0, n], 80));
        Endpoint { key: n.to_string().into(), addr, revision: "r".into(), warmup: None }
    }

    fn one(backends: Vec<Backend>) -> RouteTable {
        let rules = vec![Rule { name: "n/r/a".into(), path: (PathKind::PathPrefix, "/api".into()), backends }];
        RouteTable {
            generation: 1,
            hosts: [("a.example".to_owned(), Host { public: true, rules })].into(),
            sources: [(IpAddr::from([10, 0, 0, 1]), "n".into()), (IpAddr::from([10, 0, 0, 9]), "m".into())].into(),
            ..RouteTable::default()
        }
    }

    fn backend(weight: u32, endpoints: Vec<Endpoint>) -> Backend {
        Backend {
            namespace: "n".into(),
            application: "a".into(),
            weight,
            endpoints: endpoints.into(),
            gray: None,
            lane: None,
        }
    }

    /// Endpoint 1 is baseline, endpoint 2 gray.
    fn split(weight: u32, sticky: Option<Key>, matches: serde_json::Value) -> RouteTable {
        let matches: Vec<sampan_schema::gray_policy::Match> = serde_json::from_value(matches).unwrap();
        let gray = Gray {
            endpoints: vec![endpoint(2)].into(),
            revision: "r".into(),
            weight,
            matches: matches.iter().map(|m| Matcher::new(m).unwrap()).collect(),
            sticky,
            tag: "gray".into(),
            salt: 7,
        };
        one(vec![Backend { gray: Some(gray), ..backend(10_000, vec![endpoint(1)]) }])
    }

    fn facts(headers: &dyn Headers) -> Facts<'_> {
        Facts {
            listener: Listener::Public,
            host: "a.example",
            path: "/api",
            method: "GET",
            query: "",
            headers,
            client: [10, 0, 0, 1].into(),
            lane: None,
            fresh: 1,
            now: 0,
        }
    }

    fn forward<'a>(table: &'a RouteTable, facts: &Facts<'a>, seq: u64) -> Forward<'a> {
        match route(table, facts, seq) {
            Choice::Forward(f) => f,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_prefix_matches_whole_segments_only() {
        let t = one(vec![backend(10_000, vec![endpoint(1)])]);
        let at = |path| route(&t, &Facts { host: "A.Example", path, ..facts(&[]) }, 0);
        assert!(matches!(at("/api/x"), Choice::Forward { .. }));
        assert!(matches!(at("/api"), Choice::Forward { .. }));
        assert_eq!(at("/apix"), Choice::NoRoute);
        assert_eq!(route(&t, &Facts { host: "b.example", ..facts(&[]) }, 0), Choice::NoRoute);
    }

    #[test]
    fn shares_are_near_exact_and_zero_gets_nothing() {
        let t = one(vec![
            backend(9_000, vec![endpoint(1)]),
            backend(1_000, vec![endpoint(2)]),
            backend(0, vec![endpoint(3)]),
        ]);
        let mut count = BTreeMap::new();
        for seq in 0..1000 {
            *count.entry(forward(&t, &facts(&[]), seq).endpoints[0].key.clone()).or_insert(0) += 1;
        }
        assert_eq!(count.get("3"), None);
        assert!((898..=902).contains(&count["1"]), "{count:?}");
    }

    #[test]
    fn an_internal_host_is_not_served_in_public() {
        let mut t = one(vec![backend(10_000, vec![endpoint(1)])]);
        t.hosts.get_mut("a.example").unwrap().public = false;
        assert_eq!(route(&t, &facts(&[]), 0), Choice::NoRoute);
        let inside = Facts { listener: Listener::Internal, ..facts(&[]) };
        assert!(matches!(route(&t, &inside, 0), Choice::Forward { .. }));
    }

    #[test]
    fn a_split_is_exact_in_each_of_two_backends() {
        // The choice of the backend must not decide the side.
        let mut t = split(1_000, None, serde_json::json!([]));
        let rule = &mut t.hosts.get_mut("a.example").unwrap().rules[0];
        rule.backends[0].weight = 5_000;
        rule.backends.push(backend(5_000, vec![endpoint(3)]));
        let mut count = BTreeMap::new();
        for seq in 0..10_000 {
            *count.entry(forward(&t, &facts(&[]), seq).endpoints[0].key.clone()).or_insert(0) += 1;
        }
        assert!((495..=505).contains(&count["2"]) && (4_995..=5_005).contains(&count["3"]), "{count:?}");
    }

    #[test]
    fn matches_send_to_gray_with_the_lane_and_nothing_else_goes_there() {
        let t = split(0, None, serde_json::json!([{ "method": "PUT" }, { "path": { "value": "/api/new" } }]));
        for seq in 0..100 {
            let plain = forward(&t, &facts(&[]), seq);
            assert_eq!((plain.side, plain.lane.as_deref()), (Side::Baseline, None));
            for chosen in [Facts { method: "PUT", ..facts(&[]) }, Facts { path: "/api/new/x", ..facts(&[]) }] {
                let f = forward(&t, &chosen, seq);
                assert_eq!((f.side, f.lane.as_deref(), &*f.endpoints[0].key), (Side::Gray, Some("gray"), "2"));
            }
        }
    }

    #[test]
    fn a_lane_counts_from_inside_its_namespace_only() {
        let t = split(10_000, None, serde_json::json!([{ "method": "GET" }]));
        let other = Facts { listener: Listener::Internal, lane: Some("other"), ..facts(&[]) };
        // The lane of another release: baseline, whatever match and weight say, and the lane goes on.
        let f = forward(&t, &other, 0);
        assert_eq!((f.side, f.lane.as_deref()), (Side::Baseline, Some("other")));
        let f = forward(&t, &Facts { lane: Some("gray"), ..other }, 0);
        assert_eq!((f.side, f.lane.as_deref()), (Side::Gray, Some("gray")));
        // From outside, from another namespace, from nobody known, or no name at all: as if there were none.
        for foreign in [
            Facts { listener: Listener::Public, ..other },
            Facts { client: [10, 0, 0, 9].into(), ..other },
            Facts { client: [10, 0, 0, 7].into(), ..other },
            Facts { lane: Some("other, x"), ..other },
        ] {
            let f = forward(&t, &foreign, 0);
            assert_eq!((f.side, f.lane.as_deref()), (Side::Gray, Some("gray")), "by the match");
        }
    }

    #[test]
    fn a_lane_goes_on_where_gray_is_not_ready() {
        let mut t = split(0, None, serde_json::json!([]));
        t.hosts.get_mut("a.example").unwrap().rules[0].backends[0].gray.as_mut().unwrap().endpoints = [].into();
        let inside = Facts { listener: Listener::Internal, lane: Some("gray"), ..facts(&[]) };
        let f = forward(&t, &inside, 0);
        assert_eq!((f.side, f.lane.as_deref()), (Side::Baseline, Some("gray")));
        // And the other way round: baseline is empty, so the only side there is answers.
        let mut t = split(10_000, None, serde_json::json!([]));
        t.hosts.get_mut("a.example").unwrap().rules[0].backends[0].endpoints = [].into();
        let f = forward(&t, &Facts { lane: Some("other"), ..inside }, 0);
        assert_eq!((f.side, f.lane.as_deref()), (Side::Gray, Some("other")));
    }

    #[test]
    fn a_lane_that_rejects_falls_back_nowhere_in_its_namespace() {
        let rejecting = |table: RouteTable, namespace: &str| RouteTable {
            rejecting: [(namespace.into(), "gray".into())].into(),
            ..table
        };
        let with = |change: fn(&mut Backend)| {
            let mut t = rejecting(split(0, None, serde_json::json!([])), "n");
            change(&mut t.hosts.get_mut("a.example").unwrap().rules[0].backends[0]);
            t
        };
        let plain = || with(|b| b.gray = None);
        let inside = Facts { listener: Listener::Internal, lane: Some("gray"), ..facts(&[]) };
        let gone = |b: &mut Backend| b.gray.as_mut().unwrap().endpoints = [].into();
        for (what, table, facts, wanted) in vec![
            ("gray is ready", with(|_| {}), inside, "Gray"),
            ("gray is not ready", with(gone), inside, "rejected"),
            ("no gray", plain(), inside, "rejected"),
            ("of another lane", with(|b| b.gray.as_mut().unwrap().tag = "blue".into()), inside, "rejected"),
            (
                "the lane's release has succeeded",
                with(|b| (b.gray, b.lane) = (None, Some("gray".into()))),
                inside,
                "Baseline",
            ),
            ("another lane's has", with(|b| (b.gray, b.lane) = (None, Some("blue".into()))), inside, "rejected"),
            ("another lane", plain(), Facts { lane: Some("blue"), ..inside }, "Baseline"),
            ("no lane", plain(), Facts { lane: None, ..inside }, "Baseline"),
            ("from outside", plain(), Facts { listener: Listener::Public, ..inside }, "Baseline"),
            ("from another namespace", plain(), Facts { client: [10, 0, 0, 9].into(), ..inside }, "Baseline"),
            ("another namespace's lane", rejecting(plain(), "m"), inside, "Baseline"),
        ] {
            let found = match route(&table, &facts, 0) {
                Choice::NoLane { rule, application, lane } => {
                    assert_eq!((rule, &*application, &*lane), ("n/r/a", "n/a", "gray"), "{what}");
                    "rejected".to_owned()
                }
                Choice::Forward(f) => format!("{:?}", f.side),
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(found, wanted, "{what}");
        }
    }

    #[test]
    fn a_caller_without_a_cookie_is_given_one_and_stays() {
        let key = Key::Cookie { name: "who".into(), max_age_seconds: 60 };
        let t = split(5_000, Some(key.clone()), serde_json::json!([]));
        for fresh in 0..200 {
            let first = forward(&t, &Facts { fresh, ..facts(&[]) }, 0);
            let cookie = first.cookie.unwrap();
            assert_eq!((cookie.name, cookie.value.len(), cookie.max_age_seconds), ("who", 32, 60));
            let line = format!("a=b; who={}", cookie.value);
            let headers = [("cookie", line.as_str())];
            for seq in 0..10 {
                let again = forward(&t, &facts(&headers), seq);
                assert_eq!((again.side, again.cookie), (first.side, None));
            }
        }
        // Where all go the same way there is nothing to remember.
        for weight in [0, 10_000] {
            let t = split(weight, Some(key.clone()), serde_json::json!([]));
            assert_eq!(forward(&t, &facts(&[]), 0).cookie, None);
        }
    }

    #[test]
    fn callers_without_the_header_are_divided_by_weight() {
        let t = split(2_000, Some(Key::Header("x-user".into())), serde_json::json!([]));
        let gray = (0..1000).filter(|seq| forward(&t, &facts(&[]), *seq).side == Side::Gray).count();
        assert!((198..=202).contains(&gray), "{gray}");
    }

    proptest! {
        #[test]
        fn a_higher_weight_moves_callers_only_to_gray(user in "[ -~]{1,40}", a in 0..=10_000_u32, b in 0..=10_000_u32) {
            let headers = [("x-user", user.as_str())];
            let side = |weight, seq| {
                let t = split(weight, Some(Key::Header("x-user".into())), serde_json::json!([]));
                forward(&t, &facts(&headers), seq).side
            };
            prop_assert!(side(a.min(b), 1) <= side(a.max(b), 2));
            prop_assert_eq!(side(a, 3), side(a, 4));
            prop_assert_eq!((side(0, 5), side(10_000, 6)), (Side::Baseline, Side::Gray));
        }

        #[test]
        fn weights_of_nothing_and_of_everything_are_exact(seq: u64) {
            for (weight, want) in [(0, Side::Baseline), (10_000, Side::Gray)] {
                let t = split(weight, None, serde_json::json!([]));
                prop_assert_eq!(forward(&t, &facts(&[]), seq).side, want);
            }
        }

        #[test]
        fn any_request_gets_an_answer(host in "\\PC*", path in "\\PC*", query in "\\PC*", lane in "\\PC*", seq: u64) {
            let t = split(5_000, Some(Key::ClientIp), serde_json::json!([{ "query_params": [{ "name": "a", "value": "b" }] }]));
            let facts = Facts { host: &host, path: &path, query: &query, lane: Some(&lane), ..facts(&[]) };
            route(&t, &facts, seq);
            route(&t, &Facts { host: "a.example", path: "/api", listener: Listener::Internal, ..facts }, seq);
        }
    }
}
