//! An immutable template of an application.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Revision {
    /// Hash of the content: A → B → A is revision A again.
    pub hash: String,
    /// Newest number of this content.
    pub number: u64,
    /// Hash of what is replaced with the container.
    pub spec_hash: String,
    /// Hash of what is replaced with the sandbox.
    pub sandbox_hash: String,
    /// Image as it was written.
    pub image: String,
    /// Digest that it had.
    pub image_digest: String,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}
