//! Who may do what: role × verb.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Admin,
    ReadOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Read,
    Write,
    /// Run a command in a container: may read secrets, so never with a read-only role.
    Exec,
}

impl Role {
    pub fn may(self, verb: Verb) -> bool {
        match self {
            Self::Admin => true,
            Self::ReadOnly => verb == Verb::Read,
        }
    }
}
