//! Bearer tokens. Only their hashes are stored.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sampan_schema::permission::Role;
use sampan_store::{NewToken, Store, StoreError, Tx, hash_token};

use crate::clock::{now_ms, random_hex};

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    pub token_id: String,
    pub role: Role,
    /// When the caller's token ends, in milliseconds since the epoch; `None` for one without an end.
    pub expires_at: Option<i64>,
}

/// The caller of an `Authorization` header; `None` when it names no living token.
///
/// # Errors
/// Those of the store.
pub fn caller(store: &Store, header: Option<&str>) -> Result<Option<Caller>, StoreError> {
    let Some(token) = header.and_then(|h| h.strip_prefix("Bearer ")).map(str::trim) else { return Ok(None) };
    let found = store.read(|r| r.token_find(&hash_token(token), now_ms()))?;
    Ok(found.and_then(|t| Some(Caller { role: Role::of(&t.role)?, token_id: t.id, expires_at: t.expires_at })))
}

/// A token that nobody has seen yet. Only [`Fresh::add`] stores anything, and of the token its hash alone.
pub(crate) struct Fresh {
    pub id: String,
    pub token: String,
}

impl Fresh {
    /// # Errors
    /// When the kernel's source of randomness cannot be read.
    pub fn new() -> std::io::Result<Self> {
        let token = format!("sampan_{}", random_hex(32)?);
        Ok(Self { id: random_hex(8)?, token })
    }

    /// # Errors
    /// Those of the store.
    pub fn add(
        &self,
        tx: &Tx<'_>,
        (name, role): (&str, Role),
        made_by: Option<&str>,
        expires_at: Option<i64>,
        now: i64,
    ) -> Result<(), StoreError> {
        let hash = hash_token(&self.token);
        tx.token_add(NewToken { id: &self.id, name, role: role.word(), hash: &hash, expires_at, made_by }, now)
    }
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
    let fresh = Fresh::new().map_err(other)?;
    let mut out =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file).map_err(other)?;
    // A file that was there keeps its mode otherwise.
    out.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(other)?;
    writeln!(out, "{}", fresh.token).and_then(|()| out.sync_all()).map_err(other)?;
    let now = now_ms();
    store.write(|tx| {
        // A token of the API may have the same name; those of files were made with no other.
        let mine = |t: &&sampan_store::Token| t.name == name && t.made_by.is_none() && t.revoked_at.is_none();
        for old in tx.tokens()?.iter().filter(mine) {
            tx.token_revoke(&old.id, now)?;
        }
        fresh.add(tx, (name, role), None, None, now)
    })
}
