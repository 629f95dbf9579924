//! Who may do what: role × verb.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Admin,
    ReadOnly,
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Admin, Self::ReadOnly];

    /// As it is written in JSON and stored.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ReadOnly => "read_only",
        }
    }

    /// The role of a word; `None` when there is none.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Read,
    Write,
    /// Run a command in a container: may read secrets, so never with a read-only role.
    Exec,
    /// See, make and revoke tokens. Whoever may, may everything: no token comes from one that may less.
    Tokens,
}

impl Role {
    pub fn may(self, verb: Verb) -> bool {
        match self {
            Self::Admin => true,
            Self::ReadOnly => verb == Verb::Read,
        }
    }
}
