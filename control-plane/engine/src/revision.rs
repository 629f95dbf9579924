//! Revisions: the immutable content of a release, named by its hash.

use sampan_schema::application::Spec;
use sampan_schema::change::{self, Class};
use sampan_schema::{APPLICATION, content_hash};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A template with its image resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    pub hash: String,
    /// Newest number of this content in its application.
    pub number: u64,
    /// Hash over what is replaced with the container.
    pub spec_hash: String,
    /// Hash over what is replaced with the sandbox.
    pub sandbox_hash: String,
    pub image: String,
    /// `sha256:…`, or an image id for images that only the node has.
    pub image_digest: String,
    /// What the runtime pulls: `repository@digest`, or the image id.
    pub pull_reference: String,
    /// Isolation class in force.
    pub class: String,
    /// The normalised spec it was made from.
    pub template: Value,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// What makes a revision beside the spec.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    /// Isolation class in force (application, namespace or server).
    pub class: &'a str,
    pub image_digest: &'a str,
    pub pull_reference: &'a str,
    /// Hash of referenced config maps and secrets, when the container restarts on their change.
    pub config_hash: Option<&'a str>,
}

/// The isolation class in force. An application that names none keeps the class its instances run in until something
/// else recreates them: a change of the namespace's or the server's class restarts nothing by itself.
pub fn class_in_force(spec_json: &Value, inherited: &str, current: Option<&Revision>) -> String {
    let sandbox = |spec: &Value| change::project(&APPLICATION, spec, Class::Recreate);
    let named = spec_json.get("isolation_class").and_then(Value::as_str);
    let kept = current.filter(|r| named.is_none() && sandbox(&r.template) == sandbox(spec_json));
    named.unwrap_or_else(|| kept.map_or(inherited, |r| r.class.as_str())).to_owned()
}

/// The revision of a spec. Scale and metadata fields do not enter it: A → B → A gives revision A again.
pub fn revision(spec_json: &Value, spec: &Spec, inputs: &Inputs<'_>, now: i64) -> Revision {
    let mut restart = change::project(&APPLICATION, spec_json, Class::InPlaceRestart);
    if let Some(c) = restart.get_mut("container").and_then(Value::as_object_mut) {
        c.insert("image".into(), inputs.image_digest.into());
    }
    let spec_hash = content_hash(&json!([restart, inputs.config_hash]));
    let mut sandbox = change::project(&APPLICATION, spec_json, Class::Recreate);
    sandbox["isolation_class"] = inputs.class.into();
    let sandbox_hash = content_hash(&sandbox);
    Revision {
        hash: content_hash(&json!([spec_hash, sandbox_hash])),
        number: 0,
        spec_hash,
        sandbox_hash,
        image: spec.container.image.clone(),
        image_digest: inputs.image_digest.to_owned(),
        pull_reference: inputs.pull_reference.to_owned(),
        class: inputs.class.to_owned(),
        template: APPLICATION.normalise(spec_json),
        created_at: now,
    }
}
