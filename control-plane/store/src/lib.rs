//! SQLite store: objects, change log, operations, intents. Decides nothing.
//!
//! One writer connection and a small pool of readers, WAL, `synchronous=FULL`: when [`Store::write`] returns, the data are
//! on disk. Every method blocks, so async callers use `spawn_blocking`. The store reads no clock: `now` is an argument,
//! in milliseconds since the epoch.
//!
//! Reading functions are on [`Reader`]; [`Tx`] derefs to it and adds the mutating ones.

mod changes;
mod db;
mod decisions;
mod documents;
mod error;
mod events;
mod idempotency;
mod migrations;
mod objects;
mod operations;
mod tokens;

pub use changes::{Change, ChangeOp};
pub use db::{Commit, Reader, Store, Tx};
pub use decisions::{DECISIONS_PER_APPLICATION, Decision};
pub use documents::Document;
pub use error::StoreError;
pub use events::{EVENTS_PER_OBJECT, Event, EventFilter, EventType, NewEvent};
pub use idempotency::{Begin, IDEMPOTENCY_TTL_MS, StoredAnswer};
pub use objects::{NewObject, Object};
pub use operations::{Operation, OperationFilter};
pub use tokens::{NewToken, Token, TokenHash, hash_token};

/// The newest schema this build knows; a database beyond it is refused.
pub const SCHEMA_VERSION: i64 = migrations::NEWEST;
