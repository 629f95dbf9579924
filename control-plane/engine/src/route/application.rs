//! What follows for backends from one application alone. It is made once for each [`Served`] and shared by all tables
//! until another one takes its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use sampan_schema::application::{Port, Protocol, container_port};
use sampan_schema::gray_policy::{Sticky, StickyKey};

use super::bucket::WHOLE;
use super::{Backend, Endpoint, Endpoints, Gray, Key, Matcher, Served, Split, cap};

/// Name of the cookie when the policy names none.
const COOKIE: &str = "sampan_bucket";

/// An application, with what is the same in all of its backends.
pub(super) struct App {
    pub(super) namespace: Arc<str>,
    application: Arc<str>,
    /// Its internal host.
    pub(super) host: Arc<str>,
    /// The host that, when a route has it, stands for all internal hosts of the namespace.
    pub(super) wildcard: Arc<str>,
    pub(super) has_port: bool,
    served: Arc<Served>,
    matches: Arc<[Matcher]>,
    sticky: Option<Key>,
    lane: Option<Arc<str>>,
    sides: Vec<Sides>,
}

/// Endpoints for one reference to a port; `None` is the port of the internal host.
struct Sides {
    port: Option<String>,
    used: bool,
    endpoints: Endpoints,
    gray: Option<Gray>,
}

impl App {
    /// `before` is the same application in the last table. Expressions are compiled once for each policy.
    pub(super) fn new(namespace: &str, application: &str, served: &Arc<Served>, before: Option<&Self>) -> Self {
        let split = served.split.as_ref();
        let wanted = |served: &Served| served.split.as_ref().map(|s| s.matches.clone()).unwrap_or_default();
        let known = before.filter(|b| wanted(&b.served) == wanted(served)).map(|b| b.matches.clone());
        let matches = known.unwrap_or_else(|| {
            split.into_iter().flat_map(|s| &s.matches).filter_map(|m| Matcher::new(m).ok()).collect()
        });
        // Nothing serving says nothing about ports: then the answer is 503, not 404.
        let instances = &served.instances;
        let has_port = instances.is_empty() || instances.iter().any(|i| internal_port(&i.ports).is_some());
        Self {
            namespace: namespace.into(),
            application: application.into(),
            host: format!("{application}.{namespace}.internal").into(),
            wildcard: format!("*.{namespace}.internal").into(),
            has_port,
            served: served.clone(),
            matches,
            sticky: split.and_then(|s| s.sticky.as_ref()).and_then(Key::new),
            lane: served.lanes.all.as_deref().map(Arc::from),
            sides: Vec::new(),
        }
    }

    pub(super) fn is_of(&self, served: &Arc<Served>) -> bool {
        Arc::ptr_eq(&self.served, served)
    }

    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    /// The lane that does not fall back because of this application's policy, with the namespace that it is of.
    pub(super) fn rejecting(&self) -> Option<(Arc<str>, Arc<str>)> {
        Some((self.namespace.clone(), self.served.lanes.rejecting.as_deref()?.into()))
    }

    /// The backend at a port by reference; `None` for that of the internal host.
    pub(super) fn backend(&mut self, weight: u32, port: Option<&str>) -> Backend {
        let (namespace, application) = (self.namespace.clone(), self.application.clone());
        let (endpoints, gray) = self.sides(port);
        Backend { namespace, application, weight, endpoints, gray, lane: self.lane.clone() }
    }

    /// Forgets what no backend was made from since the last call.
    pub(super) fn sweep(&mut self) {
        self.sides.retain_mut(|sides| std::mem::take(&mut sides.used));
    }

    fn sides(&mut self, port: Option<&str>) -> (Endpoints, Option<Gray>) {
        if let Some(known) = self.sides.iter_mut().find(|sides| sides.port.as_deref() == port) {
            known.used = true;
            return (known.endpoints.clone(), known.gray.clone());
        }
        let (baseline, gray) = self.divide(port);
        let endpoints = self.shared(baseline);
        let gray = gray.and_then(|(gray, weight)| self.gray(self.shared(gray), weight));
        let (port, used) = (port.map(str::to_owned), true);
        self.sides.push(Sides { port, used, endpoints: endpoints.clone(), gray: gray.clone() });
        (endpoints, gray)
    }

    /// The list that has just these, if there is one: most references lead to the same port.
    fn shared(&self, endpoints: Vec<Endpoint>) -> Endpoints {
        let gray = self.sides.iter().filter_map(|sides| Some(&sides.gray.as_ref()?.endpoints));
        let mut lists = self.sides.iter().map(|sides| &sides.endpoints).chain(gray);
        let same = lists.find(|list| ***list == *endpoints).cloned();
        same.unwrap_or_else(|| endpoints.into())
    }

    /// Endpoints of baseline, and while there is a split those of gray with its weight.
    fn divide(&self, port: Option<&str>) -> (Vec<Endpoint>, Option<(Vec<Endpoint>, u32)>) {
        let all = self.served.instances.iter().filter_map(|s| {
            let number = port.map_or_else(|| internal_port(&s.ports), |port| container_port(&s.ports, port))?;
            let addr = SocketAddr::new(s.ip, number);
            Some(Endpoint { key: s.key.clone(), addr, revision: s.revision.clone(), warmup: s.warmup })
        });
        let Some(split) = &self.served.split else { return (all.collect(), None) };
        let is_shunned = |e: &Endpoint| split.shunned.as_deref() == Some(&*e.revision);
        let (shunned, wanted): (Vec<_>, Vec<_>) = all.partition(is_shunned);
        let (gray, mut baseline): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|e| *e.revision == *split.gray);
        if gray.is_empty() && baseline.is_empty() {
            baseline = shunned;
        }
        let weight = effective(split, gray.len(), baseline.len());
        (baseline, Some((gray, weight)))
    }

    fn gray(&self, endpoints: Endpoints, weight: u32) -> Option<Gray> {
        let split = self.served.split.as_ref()?;
        Some(Gray {
            endpoints,
            revision: split.gray.as_str().into(),
            weight,
            matches: self.matches.clone(),
            sticky: self.sticky.clone(),
            tag: split.tag.as_str().into(),
            salt: split.salt,
        })
    }
}

/// The share of gray, in basis points, with so many ready instances of each side.
fn effective(split: &Split, gray: usize, baseline: usize) -> u32 {
    match (gray, baseline) {
        (0, _) => 0,
        (_, 0) => WHOLE,
        (g, b) if split.shared => cap(split.weight, g, g + b),
        _ => split.weight.min(WHOLE),
    }
}

/// The port of an internal host: the one named `http`, else the first of HTTP by name, else the only one.
fn internal_port(ports: &BTreeMap<String, Port>) -> Option<u16> {
    let http = || ports.values().find(|p| p.protocol == Protocol::HTTP);
    let only = || ports.values().next().filter(|_| ports.len() == 1);
    ports.get("http").or_else(http).or_else(only)?.container_port.try_into().ok()
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
