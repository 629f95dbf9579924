//! The table, from routes and from what serves.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sampan_schema::route::{PathType, Spec, Visibility};

use super::application::App;
use super::bucket::WHOLE;
use super::{Backend, Host, PathKind, RouteTable, Rule, Served};

/// The table of a [`Builder`] that has made none before.
pub fn table<'a>(
    generation: u64,
    routes: impl IntoIterator<Item = &'a Spec>,
    applications: &BTreeMap<String, Arc<Served>>,
    sources: BTreeMap<IpAddr, Arc<str>>,
) -> RouteTable {
    Builder::default().table(generation, routes, applications, sources)
}

/// Makes one table after the other. A table follows from what it is made from alone, whichever were made before: only
/// work is spared, for applications of which the same [`Served`] is given again.
#[derive(Default)]
pub struct Builder {
    /// By `namespace/application`.
    apps: BTreeMap<String, App>,
}

impl Builder {
    /// The whole table from every route and every application (`namespace/application`), also those of which nothing
    /// serves. `sources` are addresses of instances that serve nothing and may call others all the same, with their
    /// namespace: those that start or drain. What serves is added to them.
    ///
    /// An instance whose revision lacks the port is left out: 503, never a guess.
    pub fn table<'a>(
        &mut self,
        generation: u64,
        routes: impl IntoIterator<Item = &'a Spec>,
        applications: &BTreeMap<String, Arc<Served>>,
        sources: BTreeMap<IpAddr, Arc<str>>,
    ) -> RouteTable {
        self.renew(applications);
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        for route in routes {
            for hostname in &route.hostnames {
                if !is_foreign(hostname, &route.namespace, applications) {
                    add(hosts.entry(hostname.clone()).or_default(), route, &mut self.apps);
                }
            }
        }
        let internal = self.internal(&hosts);
        hosts.extend(internal);
        for host in hosts.values_mut() {
            host.rules.sort_by_key(|r| (r.path.0 != PathKind::Exact, Reverse(r.path.1.len())));
        }
        self.apps.values_mut().for_each(App::sweep);
        // The last one of an address counts.
        let serving = self.apps.values().flat_map(|app| {
            app.served().instances.iter().map(|instance| (instance.ip.to_canonical(), app.namespace.clone()))
        });
        RouteTable {
            generation,
            hosts,
            sources: sources.into_iter().chain(serving).collect(),
            buffers: BTreeMap::new(),
            rejecting: self.apps.values().filter_map(App::rejecting).collect(),
        }
    }

    /// From now on there are these applications.
    fn renew(&mut self, applications: &BTreeMap<String, Arc<Served>>) {
        self.apps.retain(|name, _| applications.contains_key(name));
        for (name, served) in applications {
            let before = self.apps.get(name);
            if before.is_some_and(|app| app.is_of(served)) {
                continue;
            }
            let Some((namespace, application)) = name.split_once('/') else { continue };
            let app = App::new(namespace, application, served, before);
            self.apps.insert(name.clone(), app);
        }
    }

    /// Internal hosts of all that no route stands in for.
    fn internal(&mut self, hosts: &BTreeMap<String, Host>) -> Vec<(String, Host)> {
        let is_written = |app: &App| hosts.contains_key(&*app.host) || hosts.contains_key(&*app.wildcard);
        let apps = self.apps.values_mut().filter(|app| app.has_port && !is_written(app));
        apps.map(|app| {
            let (name, path) = (app.host.clone(), (PathKind::PathPrefix, "/".to_owned()));
            let rule = Rule { name: name.clone(), path, backends: vec![app.backend(WHOLE, None)] };
            (name.to_string(), Host { public: false, rules: vec![rule] })
        })
        .collect()
    }
}

/// The internal host of an application of another namespace: not this namespace's to write.
fn is_foreign(hostname: &str, namespace: &str, applications: &BTreeMap<String, Arc<Served>>) -> bool {
    let Some((app, owner)) = hostname.strip_suffix(".internal").and_then(|h| h.split_once('.')) else { return false };
    owner != namespace && applications.contains_key(&format!("{owner}/{app}"))
}

fn add(host: &mut Host, route: &Spec, apps: &mut BTreeMap<String, App>) {
    host.public |= route.visibility == Visibility::Public;
    for rule in &route.rules {
        let weights: Vec<i64> = rule.backends.iter().map(|b| b.weight).collect();
        let backends: Vec<Backend> = rule
            .backends
            .iter()
            .zip(apportion(&weights))
            .map(|(b, weight)| match apps.get_mut(&format!("{}/{}", route.namespace, b.application)) {
                Some(app) => app.backend(weight, Some(&b.port)),
                None => Backend {
                    namespace: route.namespace.as_str().into(),
                    application: b.application.as_str().into(),
                    weight,
                    endpoints: [].into(),
                    gray: None,
                    lane: None,
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
        let name: Arc<str> = format!("{}/{}/{}", route.namespace, route.name, rule.name).into();
        let rule = |path| Rule { name: name.clone(), path, backends: backends.clone() };
        host.rules.extend(paths.into_iter().map(rule));
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;
    use sampan_schema::application::{Port, Protocol};

    use super::super::{Endpoint, Key, Lanes, Serving, Split, cap};
    use super::*;

    fn serving(n: u8, revision: &str, ports: &[(&str, i64, Protocol)]) -> Serving {
        let port = |(name, number, protocol): &(&str, i64, Protocol)| {
            ((*name).to_owned(), Port { container_port: *number, protocol: *protocol })
        };
        Serving {
            key: n.to_string().into(),
            ip: [10, 0, 0, n].into(),
            revision: revision.into(),
            ports: ports.iter().map(port).collect(),
            warmup: None,
        }
    }

    fn plain(n: u8, revision: &str) -> Serving {
        serving(n, revision, &[("http", 8080, Protocol::HTTP)])
    }

    fn served(instances: Vec<Serving>, split: Option<Split>) -> BTreeMap<String, Arc<Served>> {
        [("n/a".to_owned(), Arc::new(Served { instances, split, ..Served::default() }))].into()
    }

    fn route(namespace: &str, host: &str) -> Spec {
        let spec = serde_json::json!({
            "namespace": namespace, "name": "r", "hostnames": [host],
            "rules": [{ "name": "all", "backends": [{ "application": "a", "port": "http" }] }],
        });
        serde_json::from_value(spec).unwrap()
    }

    fn built(applications: &BTreeMap<String, Arc<Served>>, routes: &[Spec]) -> RouteTable {
        table(1, routes, applications, BTreeMap::new())
    }

    /// Keys of baseline and of gray, and the effective weight.
    fn sides(instances: Vec<Serving>, split: Split) -> (Vec<String>, Vec<String>, u32) {
        let t = built(&served(instances, Some(split)), &[]);
        let backend = &t.hosts["a.n.internal"].rules[0].backends[0];
        let keys = |all: &[Endpoint]| all.iter().map(|e| e.key.to_string()).collect::<Vec<_>>();
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
    fn one_application_that_rejects_is_enough_for_its_lane() {
        let of = |all: Option<&str>, rejecting: Option<&str>| {
            let lanes = Lanes { all: all.map(Into::into), rejecting: rejecting.map(Into::into) };
            Arc::new(Served { instances: vec![plain(1, "r")], lanes, ..Served::default() })
        };
        let apps = [
            ("n/a".to_owned(), of(Some("gray"), None)),
            ("n/b".to_owned(), of(None, Some("gray"))),
            ("m/a".to_owned(), of(None, None)),
        ];
        let t = built(&apps.into(), &[route("n", "a.example")]);
        assert_eq!(t.rejecting, [("n".into(), "gray".into())].into());
        let lane = |host: &str| t.hosts[host].rules[0].backends[0].lane.as_deref().map(str::to_owned);
        assert_eq!((lane("a.example"), lane("a.n.internal")), (Some("gray".into()), Some("gray".into())));
        assert_eq!((lane("b.n.internal"), lane("a.m.internal")), (None, None));
    }

    #[test]
    fn written_routes_win_over_internal_hosts_of_their_namespace() {
        let apps = served(vec![plain(1, "r")], None);
        let name = |t: &RouteTable, host: &str| t.hosts.get(host).map(|h| h.rules[0].name.to_string());
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
        let given = [("10.0.0.9".parse().unwrap(), "m".into())].into();
        let t = table(1, [], &served(vec![plain(1, "r")], None), given);
        let found: Vec<_> = t.sources.iter().map(|(ip, ns)| (ip.to_string(), &**ns)).collect();
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

    /// Two policies that differ in nothing but a match.
    fn any_split() -> impl Strategy<Value = Option<Split>> {
        let matches = |value: &str| {
            serde_json::from_value(serde_json::json!([{ "path": { "type": "RegularExpression", "value": value } }]))
                .unwrap()
        };
        let of = move |value: &'static str, weight| Split { matches: matches(value), ..split(weight) };
        let some = (prop::sample::select(vec!["/a", "/b"]), prop::sample::select(vec![0, 5_000]))
            .prop_map(move |(v, w)| of(v, w));
        prop::option::of(some)
    }

    fn any_served() -> impl Strategy<Value = Served> {
        use Protocol::HTTP;
        let ports =
            prop::sample::select(vec![vec![], vec![("http", 80, HTTP)], vec![("admin", 81, HTTP), ("http", 80, HTTP)]]);
        let instance = (0..20_u8, prop::sample::select(vec!["old", "new"]), ports);
        let instances =
            prop::collection::vec(instance.prop_map(|(n, revision, ports)| serving(n, revision, &ports)), 0..4);
        let lane = || prop::option::of(prop::sample::select(vec!["gray", "blue"]).prop_map(str::to_owned));
        let lanes = (lane(), lane()).prop_map(|(all, rejecting)| Lanes { all, rejecting });
        (instances, any_split(), lanes).prop_map(|(instances, split, lanes)| Served { instances, split, lanes })
    }

    fn any_route() -> impl Strategy<Value = Spec> {
        let host = prop::sample::select(vec!["x.example", "a.n.internal", "*.n.internal", "b.m.internal"]);
        let backend = (prop::sample::select(vec!["a", "b", "gone"]), prop::sample::select(vec!["http", "admin", "80"]));
        let backends = prop::collection::vec(backend, 1..3);
        (prop::sample::select(vec!["n", "m"]), host, backends).prop_map(|(namespace, host, backends)| {
            let backends: Vec<_> =
                backends.iter().map(|(a, p)| serde_json::json!({ "application": a, "port": p })).collect();
            let rules = serde_json::json!([{ "name": "all", "backends": backends }]);
            let spec = serde_json::json!({ "namespace": namespace, "name": "r", "hostnames": [host], "rules": rules });
            serde_json::from_value(spec).unwrap()
        })
    }

    /// What is desired at one time: applications by name, and routes.
    type Desired = (BTreeMap<String, Served>, Vec<Spec>);

    fn any_desired() -> impl Strategy<Value = Desired> {
        let name = prop::sample::select(vec!["n/a", "n/b", "m/a", "m/b"]).prop_map(str::to_owned);
        (prop::collection::btree_map(name, any_served(), 0..4), prop::collection::vec(any_route(), 0..3))
    }

    /// As the server holds it: what did not change stays the same one.
    fn hold(held: &mut BTreeMap<String, Arc<Served>>, wanted: BTreeMap<String, Served>) {
        held.retain(|name, _| wanted.contains_key(name));
        for (name, served) in wanted {
            if held.get(&name).map(|known| &**known) != Some(&served) {
                held.insert(name, Arc::new(served));
            }
        }
    }

    #[test]
    fn what_did_not_change_is_shared_by_routes_and_by_tables() {
        let mut apps = served(vec![plain(1, "r"), plain(2, "r")], None);
        apps.insert("n/b".into(), Arc::new(Served { instances: vec![plain(3, "r")], ..Served::default() }));
        let (mut builder, routes) = (Builder::default(), [route("n", "x.example")]);
        let lists = |t: &RouteTable| {
            ["x.example", "a.n.internal", "b.n.internal"].map(|h| t.hosts[h].rules[0].backends[0].endpoints.clone())
        };
        let [by_route, a, b] = lists(&builder.table(1, &routes, &apps, BTreeMap::new()));
        assert!(Arc::ptr_eq(&by_route, &a));
        apps.insert("n/a".into(), Arc::new(Served { instances: vec![plain(1, "r")], ..Served::default() }));
        let [_, a_then, b_then] = lists(&builder.table(2, &routes, &apps, BTreeMap::new()));
        assert!(!Arc::ptr_eq(&a, &a_then) && Arc::ptr_eq(&b, &b_then));
        assert_eq!(a_then.len(), 1);
    }

    proptest! {
        #[test]
        fn a_table_follows_from_what_is_desired_alone(times in prop::collection::vec(any_desired(), 1..6)) {
            let (mut builder, mut held) = (Builder::default(), BTreeMap::new());
            for (generation, (wanted, routes)) in times.into_iter().enumerate() {
                let generation = generation as u64;
                hold(&mut held, wanted);
                let made = builder.table(generation, &routes, &held, BTreeMap::new());
                prop_assert_eq!(made, table(generation, &routes, &held, BTreeMap::new()));
            }
        }

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
