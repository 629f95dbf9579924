//! `namespace`: a tenant's place.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::violation::Violation;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Name; the id of the namespace.
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
    /// Isolation class of applications that name none. Running instances change at their next recreate.
    /// Null means the server's default.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation_class: Option<String>,
    /// What its applications may take together. Null means no limit.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Most applications. Null means no limit.
    #[schemars(range(min = 0, max = 100000), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_applications: Option<i64>,
    /// Most instances of all applications. One counts with its `replicas` or with what its scaling rules want, whichever
    /// is more; instances that an update makes beside the others do not count. Null means no limit.
    #[schemars(range(min = 0, max = 100000), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `Active`: it takes objects.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub phase: String,
}

/// Names that only the server uses.
pub fn is_reserved(name: &str) -> bool {
    name == "default" || name == "system" || name.starts_with("sampan-")
}

pub fn validate(spec: &Spec) -> Vec<Violation> {
    let mut v = labels(&spec.labels);
    if is_reserved(&spec.name) {
        v.push(Violation::new("name", "SMP011", format!("{:?} is reserved: choose another name", spec.name)));
    }
    v
}

/// Rules of labels, the same for every kind.
pub fn labels(labels: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut v = Vec::new();
    for (key, value) in labels {
        let path = format!("labels[{key:?}]");
        if key.is_empty() || key.len() > 63 || value.len() > 63 {
            v.push(Violation::new(&path, "SMP012", "a label's key has 1 to 63 characters and its value at most 63"));
        }
        if key.starts_with("sampan.") {
            v.push(Violation::new(&path, "SMP013", "the prefix \"sampan.\" is reserved: choose another key"));
        }
    }
    v
}
