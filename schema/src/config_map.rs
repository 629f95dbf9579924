//! `config_map`: plain configuration.

use std::collections::BTreeMap;

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
    /// Keys and values, together at most 1 MiB. A change restarts only applications that ask for it with
    /// `container.restart_on_config_change`.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Hash of the content.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub content_hash: String,
}

pub fn validate(spec: &Spec) -> Vec<Violation> {
    let mut v = crate::namespace::labels(&spec.labels);
    v.extend(keys("data", &spec.data));
    v
}

/// Rules of the keys and the size of a map of content.
pub fn keys(field: &str, data: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut v = Vec::new();
    for key in data.keys() {
        if key.is_empty() || key.len() > 253 || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            v.push(Violation::new(
                format!("{field}[{key:?}]"),
                "SMP014",
                "a key has 1 to 253 characters out of letters, digits, \"-\", \".\" and \"_\"",
            ));
        }
    }
    let size: usize = data.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > 1 << 20 {
        v.push(Violation::new(field, "SMP015", format!("is {size} bytes, above the limit of 1 MiB")));
    }
    v
}
