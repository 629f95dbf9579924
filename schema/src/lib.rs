//! The nouns of Sampan, declared once. API, Terraform schema, linter and docs derive from here. No IO, no async.
//!
//! A noun is a [`Kind`]: a serde + schemars type for its spec and one for its status. What JSON Schema cannot say is
//! in the extension `x-sampan` on a property:
//!
//! | key | values |
//! | --- | --- |
//! | `class` | change class, see [`change::Class`]; inherited by what is below |
//! | `write_only` | never returned, never stored in state |
//! | `sensitive` | masked |
//! | `computed` | `stable` or `volatile` (data sources only) |
//! | `semantic` | `quantity`, `int_or_percent`, `image_ref`: how values compare |
//! | `range` | least and most of a quantity |
//! | `reference` | kind of the same namespace that it names; of a list each element, of an object its `name` |
//! | `empty` | `value`: an empty list is not the same as null |
//! | `remote` | the class depends on a fact only the server knows |

pub mod api;
pub mod application;
pub mod calendar;
pub mod change;
pub mod check;
pub mod config_map;
pub mod container;
pub mod doc;
pub mod docker_config;
pub mod environment_schedule;
pub mod event;
pub mod gray_policy;
pub mod image_ref;
pub mod instance;
pub mod int_or_percent;
pub mod name;
pub mod namespace;
pub mod normalise;
pub mod openapi;
pub mod operation;
pub mod permission;
pub mod probe;
pub mod problem;
pub mod quantity;
pub mod report;
pub mod revision;
pub mod rollout;
pub mod route;
pub mod scaling;
pub mod scaling_rule;
pub mod secret;
pub mod token;
pub mod violation;

use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use change::{Change, Class};
pub use violation::Violation;

/// Version of the HTTP API. A client refuses a server of another one.
pub const API_VERSION: &str = "v1";

/// One noun.
#[derive(Debug)]
pub struct Kind {
    /// Singular snake case: `config_map`. The Terraform type is `sampan_` + this.
    pub name: &'static str,
    /// Path segment of the collection: `config-maps`.
    pub collection: &'static str,
    /// One sentence for docs.
    pub about: &'static str,
    /// False for namespaces only.
    pub namespaced: bool,
    /// A remote fact can change what a write does, so a plan asks the server (`/dry-run`).
    pub dry_run: bool,
    /// Default timeouts of create, update, delete, in seconds.
    pub timeouts: [u64; 3],
    spec: fn() -> Value,
    status: fn() -> Value,
    validate: fn(&Value) -> Vec<Violation>,
    schemas: OnceLock<(Value, Value)>,
}

impl Kind {
    /// JSON Schema (2020-12, inlined, without null types) of the spec.
    pub fn spec_schema(&self) -> &Value {
        &self.schemas().0
    }
    /// JSON Schema of the status.
    pub fn status_schema(&self) -> &Value {
        &self.schemas().1
    }
    fn schemas(&self) -> &(Value, Value) {
        self.schemas.get_or_init(|| ((self.spec)(), (self.status)()))
    }
    /// Every rule that needs nothing but the document itself. Unknown parts (see [`check::unknown`]) satisfy any
    /// rule; the rules that look at several fields run only when nothing is unknown.
    pub fn validate(&self, spec: &Value) -> Vec<Violation> {
        let mut found = check::check(self.spec_schema(), spec);
        if !check::has_unknown(spec) {
            let more = (self.validate)(&normalise::strip_nulls(spec));
            // One finding for one field, and none about the whole that says no more than those about its parts.
            let said: Vec<String> = found.iter().map(|v| v.field_path.clone()).collect();
            found.extend(
                more.into_iter()
                    .filter(|v| said.is_empty() || !v.field_path.is_empty() && !said.contains(&v.field_path)),
            );
        }
        found
    }
    /// The spec with defaults in force, quantities in canonical form and sets sorted. Idempotent.
    pub fn normalise(&self, spec: &Value) -> Value {
        normalise::normalise(self.spec_schema(), spec)
    }
    /// Whether a write can start an operation, for which a caller may wait.
    pub fn has_operations(&self) -> bool {
        self.status_schema()["properties"].get("last_operation").is_some()
    }
    /// Id from names: `ns` or `ns/name`.
    pub fn id(&self, namespace: &str, name: &str) -> String {
        if self.namespaced { format!("{namespace}/{name}") } else { name.to_owned() }
    }
}

macro_rules! kinds {
    ($($konst:ident, $module:ident, $collection:literal, $namespaced:literal, $dry:literal, $timeouts:expr, $about:literal;)*) => {
        $(pub static $konst: Kind = Kind {
            name: stringify!($module), collection: $collection, about: $about, namespaced: $namespaced, dry_run: $dry,
            timeouts: $timeouts,
            spec: || json_schema::<$module::Spec>(), status: || json_schema::<$module::Status>(),
            validate: |v| typed::<$module::Spec>(v, $module::validate),
            schemas: OnceLock::new(),
        };)*
        /// Every noun, in the order in which they depend on each other.
        pub static KINDS: &[&Kind] = &[$(&$konst),*];
    };
}
kinds! {
    NAMESPACE, namespace, "namespaces", false, false, [300, 300, 1200], "A tenant's place: names, defaults and limits of everything inside.";
    CONFIG_MAP, config_map, "config-maps", true, false, [300, 300, 300], "Plain configuration, read by applications as environment.";
    SECRET, secret, "secrets", true, false, [300, 300, 300], "Secret values, write-only, read by applications as environment.";
    GRAY_POLICY, gray_policy, "gray-policies", true, true, [300, 300, 300], "How a release goes to some instances and requests first, is judged, and then goes to all.";
    APPLICATION, application, "applications", true, true, [1800, 1800, 600], "A container image that runs in a number of isolated instances.";
    SCALING_RULE, scaling_rule, "scaling-rules", true, true, [300, 300, 300], "How many instances an application has, by time and by what it does.";
    ENVIRONMENT_SCHEDULE, environment_schedule, "environment-schedules", true, false, [300, 300, 300], "When the applications of an environment are stopped, and when they run again.";
    ROUTE, route, "routes", true, true, [300, 300, 300], "Maps host names and paths of the gateway to applications.";
}

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|k| k.name == name)
}

fn typed<T: DeserializeOwned>(v: &Value, rules: fn(&T) -> Vec<Violation>) -> Vec<Violation> {
    match serde_json::from_value::<T>(v.clone()) {
        Ok(spec) => rules(&spec),
        Err(e) => vec![Violation::new("", "SMP000", e.to_string())],
    }
}

/// Reads a spec that has passed [`Kind::validate`].
///
/// # Errors
/// What does not fit the type, when validation was skipped.
pub fn read<T: DeserializeOwned>(spec: &Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(normalise::strip_nulls(spec))
}

fn json_schema<T: schemars::JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut v = settings.into_generator().into_root_schema_for::<T>().to_value();
    remove_nulls(&mut v);
    v
}

/// `Option<T>` says "or null"; here null is absence everywhere, so the schema says only what a value looks like.
fn remove_nulls(v: &mut Value) {
    if let Value::Object(o) = v {
        if let Some(Value::Array(types)) = o.get_mut("type") {
            types.retain(|t| t != "null");
            if types.len() == 1 {
                let only = types.remove(0);
                o.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(any)) = o.get_mut("anyOf") {
            any.retain(|t| t.get("type") != Some(&"null".into()));
            if any.len() == 1
                && let Some(Value::Object(only)) = any.pop()
            {
                o.remove("anyOf");
                for (k, val) in only {
                    o.entry(k).or_insert(val);
                }
            }
        }
        if o.get("default") == Some(&Value::Null) {
            o.remove("default");
        }
        o.values_mut().for_each(remove_nulls);
    } else if let Value::Array(a) = v {
        a.iter_mut().for_each(remove_nulls);
    }
}

/// JSON with sorted keys and no spaces; equal values give equal bytes.
pub fn canonical<T: Serialize>(v: &T) -> String {
    fn sorted(v: Value) -> Value {
        match v {
            Value::Object(o) => {
                let mut entries: Vec<_> = o.into_iter().map(|(k, v)| (k, sorted(v))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Object(entries.into_iter().collect())
            }
            Value::Array(a) => Value::Array(a.into_iter().map(sorted).collect()),
            v => v,
        }
    }
    sorted(serde_json::to_value(v).unwrap_or(Value::Null)).to_string()
}

/// First 16 hex digits of the SHA-256 of the canonical JSON.
pub fn content_hash<T: Serialize>(v: &T) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(canonical(v).as_bytes());
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}
