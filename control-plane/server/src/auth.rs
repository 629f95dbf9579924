//! Bearer tokens. Only their hashes are stored.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sampan_schema::permission::Role;
use sampan_store::{Store, StoreError, hash_token};

use crate::clock::{now_ms, random_hex};

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    pub token_id: String,
    pub role: Role,
}

/// The caller of an `Authorization` header; `None` when it names no living token.
///
/// # Errors
/// Those of the store.
pub fn caller(store: &Store, header: Option<&str>) -> Result<Option<Caller>, StoreError> {
    let Some(token) = header.and_then(|h| h.strip_prefix("Bearer ")).map(str::trim) else { return Ok(None) };
    let found = store.read(|r| r.token_find(&hash_token(token)))?;
    Ok(found.and_then(|t| {
        let role = serde_json::from_value(serde_json::Value::String(t.role)).ok()?;
        Some(Caller { token_id: t.id, role })
    }))
}

/// Makes sure that a token of the role exists and that `file` holds it. A file of a database that is gone, or the
/// other way round, gives a new token; the one it stands in for is revoked, so deleting a file takes a leaked token back.
///
/// # Errors
/// When file or store cannot be written.
pub fn ensure(store: &Store, file: &Path, role: Role, name: &str) -> Result<(), StoreError> {
    let other = |e: std::io::Error| StoreError::NotWritable(format!("{}: {e}", file.display()));
    if let Ok(text) = std::fs::read_to_string(file)
        && caller(store, Some(&format!("Bearer {}", text.trim())))?.is_some_and(|c| c.role == role)
    {
        return Ok(());
    }
    let token = format!("sampan_{}", random_hex(32).map_err(other)?);
    let id = random_hex(8).map_err(other)?;
    let role = serde_json::to_value(role).ok().and_then(|r| r.as_str().map(str::to_owned)).unwrap_or_default();
    let mut out =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file).map_err(other)?;
    // A file that was there keeps its mode otherwise.
    out.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(other)?;
    writeln!(out, "{token}").and_then(|()| out.sync_all()).map_err(other)?;
    let now = now_ms();
    store.write(|tx| {
        for old in tx.tokens()?.iter().filter(|t| t.name == name && t.revoked_at.is_none()) {
            tx.token_revoke(&old.id, now)?;
        }
        tx.token_add(&id, name, &role, &hash_token(&token), now)
    })
}
