//! The container of an application.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::probe::Probes;
use crate::violation::Violation;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// OCI reference with registry. The tag is resolved to a digest once per revision; another tag of the digest
    /// that runs already restarts nothing.
    #[schemars(extend("x-sampan" = {"semantic": "image_ref", "remote": true}))]
    pub image: String,
    /// `IfNotPresent` resolves the tag when `image` changes and on a restart; `Always` with every release; `Never`
    /// uses what is on the node.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// Exec form; null means the image's, an empty list is a value.
    #[schemars(extend("x-sampan" = {"empty": "value"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Null means the image's, an empty list is a value.
    #[schemars(extend("x-sampan" = {"empty": "value"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Absolute path; null means the image's.
    #[schemars(regex(pattern = "^/"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Environment. Wins over `env_from`.
    #[schemars(extend("maxProperties" = 200))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Environment from a key of a config map or secret, or from a fact of the instance. Keys are disjoint from `env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_refs: BTreeMap<String, EnvRef>,
    /// Every key of config maps and secrets as environment; later wins over earlier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFrom>,
    /// Restart in place when the content of a referenced config map or secret changes.
    #[serde(default)]
    pub restart_on_config_change: bool,
    /// Applied live: a change restarts nothing.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub probes: Probes,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// Exactly one of `config_map`, `secret`, `field`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvRef {
    #[schemars(extend("x-sampan" = {"reference": "config_map"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyRef>,
    #[schemars(extend("x-sampan" = {"reference": "secret"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<FieldRef>,
}

/// One key of a config map or secret of the namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRef {
    #[schemars(regex(pattern = crate::name::PATTERN))]
    pub name: String,
    pub key: String,
    /// A missing object or key leaves the variable out instead of failing the start.
    #[serde(default)]
    pub optional: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FieldRef {
    #[serde(rename = "instance.name")]
    InstanceName,
    #[serde(rename = "instance.ip")]
    InstanceIp,
    #[serde(rename = "revision")]
    Revision,
    #[serde(rename = "namespace")]
    Namespace,
}

/// Exactly one of `config_map`, `secret`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvFrom {
    #[schemars(extend("x-sampan" = {"reference": "config_map"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<String>,
    #[schemars(extend("x-sampan" = {"reference": "secret"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Put before each key.
    #[serde(default)]
    pub prefix: String,
    /// A missing object leaves its variables out instead of failing the start.
    #[serde(default)]
    pub optional: bool,
}

fn is_env_name(s: &str) -> bool {
    s.bytes().enumerate().all(|(i, b)| b.is_ascii_alphabetic() || b == b'_' || (i > 0 && b.is_ascii_digit()))
        && !s.is_empty()
}

pub fn validate(c: &Container, path: &str, is_port: &dyn Fn(&str) -> bool) -> Vec<Violation> {
    let mut v = Vec::new();
    for key in c.env.keys() {
        if !is_env_name(key) {
            let message = "a variable's name is letters, digits and \"_\", not starting with a digit";
            v.push(Violation::new(format!("{path}.env[{key:?}]"), "SMP025", message));
        }
    }
    let size: usize = c.env.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > 256 << 10 {
        v.push(Violation::new(format!("{path}.env"), "SMP026", format!("is {size} bytes, above 256 KiB")));
    }
    for (key, r) in &c.env_refs {
        let at = format!("{path}.env_refs[{key:?}]");
        if !is_env_name(key) || c.env.contains_key(key) {
            v.push(Violation::new(&at, "SMP027", "is no variable name, or is set in env too"));
        }
        let n = usize::from(r.config_map.is_some()) + usize::from(r.secret.is_some()) + usize::from(r.field.is_some());
        if n != 1 {
            v.push(Violation::new(
                &at,
                "SMP028",
                format!("has {n} of config_map, secret and field: write exactly one"),
            ));
        }
    }
    for (i, f) in c.env_from.iter().enumerate() {
        if f.config_map.is_some() == f.secret.is_some() {
            let at = format!("{path}.env_from[{i}]");
            v.push(Violation::new(at, "SMP029", "write exactly one of config_map and secret"));
        }
    }
    v.extend(crate::probe::validate(&c.probes, &format!("{path}.probes"), is_port));
    v
}
