//! The one form of every refusal.

use serde::{Deserialize, Serialize};

/// A rule that a document breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// `container.env["A"]`, `rules[0].name`; empty for the whole document.
    pub field_path: String,
    /// `SMP###`, stable.
    pub rule: String,
    /// What was found, what is allowed.
    pub message: String,
}

impl Violation {
    pub fn new(field_path: impl Into<String>, rule: &str, message: impl Into<String>) -> Self {
        Self { field_path: field_path.into(), rule: rule.into(), message: message.into() }
    }
}
