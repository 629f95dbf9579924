//! `secret`: values that go in and do not come out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::docker_config;
use crate::violation::Violation;

#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Keys and values, together at most 1 MiB. Sent again, complete, when `wo_version` changes; keys left out are
    /// removed. The key `.dockerconfigjson` holds logins of registries, see `image_pull_secret` of an application.
    #[schemars(extend("x-sampan" = {"class": "metadata", "write_only": true, "sensitive": true}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_wo: Option<BTreeMap<String, String>>,
    /// Raise it to send `data_wo` again.
    #[schemars(range(min = 1), extend("x-sampan" = {"class": "metadata"}))]
    pub wo_version: i64,
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "secret {}/{} version {}", self.namespace, self.name, self.wo_version)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Keys the secret holds, sorted.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub keys: Vec<String>,
}

pub fn validate(spec: &Spec) -> Vec<Violation> {
    let mut v = crate::namespace::labels(&spec.labels);
    if let Some(data) = &spec.data_wo {
        v.extend(crate::config_map::keys("data_wo", data));
        if let Some(Err(why)) = data.get(docker_config::KEY).map(|text| docker_config::check(text)) {
            v.push(Violation::new(format!("data_wo[{:?}]", docker_config::KEY), "SMP066", why));
        }
    }
    v
}
