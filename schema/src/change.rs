//! Two specs -> the class of the change, and why. The classes are declared on the properties (`x-sampan.class`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Kind, normalise};

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

/// `spec` with all that restarts or recreates instances as an earlier, normalised `template` has it. The rest stays,
/// and so does the user's spelling of what means the same.
pub fn restore(kind: &Kind, spec: &Value, template: &Value) -> Value {
    back(kind.spec_schema(), Some(spec), Some(template), Class::Metadata).unwrap_or_default()
}

fn back(schema: &Value, now: Option<&Value>, then: Option<&Value>, above: Class) -> Option<Value> {
    let class = Class::of(schema).unwrap_or(above);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let member = |of: Option<&Value>, name: &str| of.and_then(|o| o.get(name)).cloned();
        let one = |(name, below): (&String, &Value)| {
            let (now, then) = (member(now, name), member(then, name));
            Some((name.clone(), back(below, now.as_ref(), then.as_ref(), class)?))
        };
        let members: Map<_, _> = properties.iter().filter_map(one).collect();
        return if members.is_empty() {
            now.filter(|o| o.as_object().is_some_and(Map::is_empty)).cloned()
        } else {
            Some(members.into())
        };
    }
    let whole = json!({ "type": "object", "properties": { "it": schema } });
    let of = |v: Option<&Value>| v.map_or_else(|| json!({}), |v| json!({ "it": v }));
    let stays =
        !matches!(class, Class::InPlaceRestart | Class::Recreate) || normalise::equal(&whole, &of(now), &of(then));
    if stays { now } else { then }.cloned()
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
