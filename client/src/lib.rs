//! Typed client over the API table: one method per family of endpoints, retries, tokens, and errors that say what to
//! do next. Making a [`Client`] costs nothing; TLS and connections are set up at the first request.

mod client;
mod error;
mod object;
mod transport;

pub use client::{Client, Delete, Precondition, ReleaseVerb, Taken};
pub use error::Error;
pub use object::{DryRun, Isolation, Object, Page, ServerInfo, Written};
pub use transport::{Config, Secret, Token};

use std::hash::{BuildHasher, Hasher, RandomState};

/// A new key for a creating request; the same for all tries of that request.
pub fn idempotency_key() -> String {
    // Each `RandomState` has its own random keys.
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}
