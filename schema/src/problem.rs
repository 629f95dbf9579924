//! `application/problem+json` (RFC 9457). Codes are stable, texts are not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// HTTP status.
    pub status: u16,
    /// `VALIDATION`, `NOT_FOUND`, …
    pub code: String,
    pub title: String,
    /// What happened and what to do next.
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub request_id: String,
    /// Field errors of `VALIDATION`, `IMMUTABLE_FIELD`, `REFERENCE_NOT_FOUND`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Members of a code, such as `current`, `by`, `operation_id`.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

fn blank() -> String {
    "about:blank".into()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    pub field_path: String,
    pub message: String,
    pub rule: String,
}

impl Problem {
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: blank(),
            status,
            code: code.into(),
            title: title.into(),
            detail: detail.into(),
            request_id: String::new(),
            errors: Vec::new(),
            members: Map::new(),
        }
    }
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.members.insert(key.into(), value.into());
        self
    }
}

impl From<crate::Violation> for FieldError {
    fn from(v: crate::Violation) -> Self {
        Self { field_path: v.field_path, message: v.message, rule: v.rule }
    }
}
