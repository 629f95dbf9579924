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
    pub spec_hash: String,
    pub sandbox_hash: String,
    pub image: String,
    pub image_digest: String,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}
