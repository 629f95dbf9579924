//! Two specs -> the class of the change, and why. The classes are declared on the properties (`x-sampan.class`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Kind;

/// What a change does to running instances, from nothing to everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nothing differs.
    #[default]
    None,
    /// Stored and applied live; no container restarts.
    Metadata,
    /// Instances are added or removed; running ones are not touched.
    Scale,
    /// A new container in the same sandbox.
    InPlaceRestart,
    /// A new sandbox.
    Recreate,
    /// Terraform destroys and creates.
    Replace,
}

impl Class {
    /// The word in JSON, Terraform and docs.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Metadata => "metadata",
            Self::Scale => "scale",
            Self::InPlaceRestart => "in_place_restart",
            Self::Recreate => "recreate",
            Self::Replace => "replace",
        }
    }
    fn of(schema: &Value) -> Option<Self> {
        serde_json::from_value(schema.get("x-sampan")?.get("class")?.clone()).ok()
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub field: String,
    pub class: Class,
    /// The real class may be milder: only the server knows (an image tag with the same digest).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remote: bool,
}

/// The class of a set of changes is that of its worst member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub class: Class,
    pub reasons: Vec<Reason>,
}

impl Change {
    /// False when the class hangs on a fact that only the server knows.
    pub fn is_certain(&self) -> bool {
        let sure = self.reasons.iter().filter(|r| !r.remote).map(|r| r.class).max().unwrap_or_default();
        sure == self.class
    }
}

/// Compares two specs of a kind, each in any spelling. Write-only members are left out: nobody has the old ones.
pub fn between(kind: &Kind, old: &Value, new: &Value) -> Change {
    let mut reasons = Vec::new();
    walk(kind.spec_schema(), Some(&kind.normalise(old)), Some(&kind.normalise(new)), Class::Metadata, "", &mut reasons);
    Change { class: reasons.iter().map(|r| r.class).max().unwrap_or_default(), reasons }
}

fn walk(schema: &Value, old: Option<&Value>, new: Option<&Value>, above: Class, path: &str, out: &mut Vec<Reason>) {
    let x = schema.get("x-sampan");
    if old == new || x.and_then(|x| x.get("write_only")).is_some() {
        return;
    }
    let class = Class::of(schema).unwrap_or(above);
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    let values = schema.get("additionalProperties").filter(|a| a.is_object());
    let object = |v: Option<&Value>| v.is_none_or(Value::is_object);
    if (properties.is_some() || values.is_some()) && object(old) && object(new) {
        let old = old.and_then(Value::as_object).unwrap_or(&empty);
        let new = new.and_then(Value::as_object).unwrap_or(&empty);
        let added = new.keys().filter(|k| !old.contains_key(*k));
        for name in old.keys().chain(added) {
            let (below, at) = match properties.and_then(|p| p.get(name)) {
                Some(p) if path.is_empty() => (p, name.clone()),
                Some(p) => (p, format!("{path}.{name}")),
                None => (values.unwrap_or(&Value::Null), format!("{path}[{name:?}]")),
            };
            walk(below, old.get(name), new.get(name), class, &at, out);
        }
        return;
    }
    let remote = x.and_then(|x| x.get("remote")).is_some();
    out.push(Reason { field: path.to_owned(), class, remote });
}

/// The part of a normalised spec whose class is `class`: what a hash of that class is taken over.
pub fn project(kind: &Kind, spec: &Value, class: Class) -> Value {
    part(kind.spec_schema(), &kind.normalise(spec), Class::Metadata, class).unwrap_or(Value::Null)
}

fn part(schema: &Value, v: &Value, above: Class, want: Class) -> Option<Value> {
    let class = Class::of(schema).unwrap_or(above);
    if let (Value::Object(o), Some(p)) = (v, schema.get("properties").and_then(Value::as_object)) {
        let kept: Map<_, _> = o
            .iter()
            .filter_map(|(k, v)| Some((k.clone(), part(p.get(k).unwrap_or(&Value::Null), v, class, want)?)))
            .collect();
        return (!kept.is_empty()).then_some(Value::Object(kept));
    }
    (class == want).then(|| v.clone())
}
