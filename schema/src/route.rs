//! `route`: host names and paths of the gateway. The words are those of Gateway API's `HTTPRoute`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::violation::Violation;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Namespace. Null means the provider's.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace", "reference": "namespace"}))]
    pub namespace: String,
    /// Name, unique in the namespace.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace"}))]
    pub name: String,
    /// Free text.
    #[schemars(length(max = 255), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels, returned verbatim. The prefix `sampan.` is reserved.
    #[schemars(extend("maxProperties" = 64), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `public`: answered on the gateway's address. `internal`: only on the listener that instances reach.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub visibility: Visibility,
    /// Lower-case host names; the leftmost label may be `*`. A host belongs to one route.
    #[schemars(length(min = 1, max = 16), extend("x-sampan" = {"class": "metadata"}))]
    pub hostnames: BTreeSet<String>,
    /// Exact paths win over prefixes, longer over shorter, then written order.
    #[schemars(length(min = 1, max = 16), extend("x-sampan" = {"class": "metadata"}))]
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    Public,
    #[default]
    Internal,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique in the route.
    #[schemars(regex(pattern = crate::name::PATTERN))]
    pub name: String,
    /// Any of them; none means every path.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// Where requests go, by weight.
    #[schemars(length(min = 1, max = 16))]
    pub backends: Vec<Backend>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    pub path: PathMatch,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathMatch {
    /// `PathPrefix` matches whole segments.
    #[serde(default, rename = "type")]
    pub kind: PathType,
    /// Begins with `/`.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub value: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathType {
    Exact,
    #[default]
    PathPrefix,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Application of the same namespace.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"reference": "application"}))]
    pub application: String,
    /// Key of the application's `network.ports`, or a port number.
    #[schemars(length(min = 1, max = 40))]
    pub port: String,
    /// Share relative to the other backends; 0 gets nothing.
    #[schemars(range(min = 0, max = 1_000_000))]
    #[serde(default = "one")]
    pub weight: i64,
}

fn one() -> i64 {
    1
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// URLs at which the gateway answers, sorted; none of an internal route or a wildcard.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub urls: Vec<String>,
}

pub fn validate(spec: &Spec) -> Vec<Violation> {
    let mut v = crate::namespace::labels(&spec.labels);
    for host in &spec.hostnames {
        let rest = host.strip_prefix("*.").unwrap_or(host);
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if host.len() > 253 || !rest.split('.').all(label) {
            v.push(Violation::new(
                "hostnames",
                "SMP031",
                format!("{host:?} is no host name: lower-case DNS labels, the leftmost may be \"*\", no port"),
            ));
        }
    }
    let mut names = BTreeSet::new();
    for (i, rule) in spec.rules.iter().enumerate() {
        if !names.insert(&rule.name) {
            v.push(Violation::new(format!("rules[{i}].name"), "SMP032", format!("{:?} is used twice", rule.name)));
        }
        if rule.backends.iter().all(|b| b.weight == 0) {
            v.push(Violation::new(format!("rules[{i}].backends"), "SMP033", "no backend has a weight above 0"));
        }
        for (j, b) in rule.backends.iter().enumerate() {
            if b.port.bytes().all(|c| c.is_ascii_digit()) && !b.port.parse::<u16>().is_ok_and(|p| p > 0) {
                let path = format!("rules[{i}].backends[{j}].port");
                v.push(Violation::new(path, "SMP034", format!("{:?} is no port: 1 to 65535, or a name", b.port)));
            }
        }
    }
    v
}
