//! What the server answers.

use sampan_schema::change::{Class, Reason};
use sampan_schema::operation::Operation;
use sampan_schema::problem::FieldError;
use sampan_schema::{Kind, normalise};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An object as the API returns it: the spec as it was sent, and what the server adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// A member, null when it is absent.
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    /// `ns` or `ns/name`.
    pub fn id(&self) -> &str {
        self.get("id").as_str().unwrap_or_default()
    }

    /// Number of spec changes.
    pub fn generation(&self) -> i64 {
        self.get("generation").as_i64().unwrap_or_default()
    }

    /// What the server observes.
    pub fn status(&self) -> &Value {
        self.get("status")
    }

    /// The members that are spec of the kind, without nulls.
    pub fn spec(&self, kind: &Kind) -> Value {
        let properties = kind.spec_schema().get("properties").and_then(Value::as_object);
        let known = |name: &str| properties.is_some_and(|p| p.contains_key(name));
        let spec = self.0.iter().filter(|(name, _)| known(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
        normalise::strip_nulls(&Value::Object(spec))
    }
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The object as it is stored now.
    pub object: Object,
    /// The work that was started, or runs already.
    pub operation: Option<Operation>,
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Page<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// Where the next page begins; nothing on the last one.
    pub next_page_token: Option<String>,
}

/// What a write would do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DryRun {
    /// What it would do to instances.
    pub change_class: Class,
    /// Fields that differ.
    pub reasons: Vec<Reason>,
    /// What to know before.
    pub warnings: Vec<String>,
    /// What a write would be refused for, unless another object is written first.
    pub unresolved: Vec<FieldError>,
    /// The isolation class that would be in force; only of applications.
    pub isolation: Option<Isolation>,
}

/// An isolation class, and whether it can be had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// Its name.
    pub class: String,
    /// Whether the server can start it now.
    pub available: bool,
    /// Why not.
    pub reason: String,
}

/// Who the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    /// Release.
    pub version: String,
    /// Version of the API.
    pub api_version: String,
}
