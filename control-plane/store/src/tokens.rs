//! API tokens. Only their SHA-256 is stored.

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{StoreError, is_taken};
use crate::{Reader, Tx};

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// How stale `last_used` may be: not every request costs a synced write.
const TOUCH_EVERY_MS: i64 = 60_000;

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: String,
    pub name: String,
    pub role: String,
    pub created_at: i64,
    pub last_used: Option<i64>,
    pub revoked_at: Option<i64>,
    /// `None`: it does not end by itself.
    pub expires_at: Option<i64>,
    /// Id of the token that it was made with.
    pub made_by: Option<String>,
}

/// What is stored of a new token.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub role: &'a str,
    pub hash: &'a TokenHash,
    pub expires_at: Option<i64>,
    pub made_by: Option<&'a str>,
}

/// The hash to store and to find a token by.
pub fn hash_token(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

const COLUMNS: &str = "id, name, role, created_at, last_used, revoked_at, expires_at, made_by";

/// Neither revoked nor past its end; `?1` is now.
const LIVING: &str = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)";

fn row(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        created_at: row.get(3)?,
        last_used: row.get(4)?,
        revoked_at: row.get(5)?,
        expires_at: row.get(6)?,
        made_by: row.get(7)?,
    })
}

impl Reader<'_> {
    /// The token with this hash, if it lives at `now`.
    pub fn token_find(&self, hash: &TokenHash, now: i64) -> Result<Option<Token>, StoreError> {
        Ok(self
            .conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM tokens WHERE hash = ?2 AND {LIVING}"))?
            .query_row(params![now, &hash[..]], row)
            .optional()?)
    }

    /// The token with this id, if it lives at `now`.
    pub fn token(&self, id: &str, now: i64) -> Result<Option<Token>, StoreError> {
        Ok(self
            .conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM tokens WHERE id = ?2 AND {LIVING}"))?
            .query_row(params![now, id], row)
            .optional()?)
    }

    /// All tokens, also revoked ones, by id.
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens ORDER BY id"))?;
        let rows = statement.query_map([], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Tx<'_> {
    /// Stores a token, or `AlreadyExists`.
    pub fn token_add(&self, new: NewToken<'_>, now: i64) -> Result<(), StoreError> {
        let NewToken { id, name, role, hash, expires_at, made_by } = new;
        let result = self
            .conn
            .prepare_cached(
                "INSERT INTO tokens (id, name, role, hash, created_at, expires_at, made_by)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![id, name, role, &hash[..], now, expires_at, made_by]);
        match result {
            Err(error) if is_taken(&error) => Err(StoreError::AlreadyExists),
            other => other.map(|_| ()).map_err(StoreError::from),
        }
    }

    /// Lets a token that lives at `now` end at `expires_at`, never earlier than before. `false` when it does not live or
    /// has no end.
    pub fn token_extend(&self, id: &str, expires_at: i64, now: i64) -> Result<bool, StoreError> {
        let sql = format!(
            "UPDATE tokens SET expires_at = max(expires_at, ?3) WHERE id = ?2 AND expires_at IS NOT NULL AND {LIVING}"
        );
        Ok(self.conn.prepare_cached(&sql)?.execute(params![now, id, expires_at])? > 0)
    }

    /// Revokes a token and all that were made with it; `false` if it was already.
    pub fn token_revoke(&self, id: &str, now: i64) -> Result<bool, StoreError> {
        let count = self.conn.execute(
            "WITH RECURSIVE family(id) AS (
                VALUES (?1) UNION SELECT tokens.id FROM tokens JOIN family ON tokens.made_by = family.id
             )
             UPDATE tokens SET revoked_at = ?2 WHERE revoked_at IS NULL AND id IN (SELECT id FROM family)",
            params![id, now],
        )?;
        if count == 0 {
            let known: bool =
                self.conn.query_row("SELECT count(*) > 0 FROM tokens WHERE id = ?1", [id], |row| row.get(0))?;
            if !known {
                return Err(StoreError::NotFound);
            }
        }
        Ok(count > 0)
    }

    /// Forgets tokens that were revoked or ended before `before`; returns how many.
    pub fn purge_tokens(&self, before: i64) -> Result<usize, StoreError> {
        Ok(self.conn.execute("DELETE FROM tokens WHERE revoked_at < ?1 OR expires_at < ?1", [before])?)
    }

    /// Notes that a token was used; precise to a minute.
    pub fn token_touch(&self, id: &str, now: i64) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "UPDATE tokens SET last_used = ?2 WHERE id = ?1 AND (last_used IS NULL OR last_used <= ?3)",
            )?
            .execute(params![id, now, now.saturating_sub(TOUCH_EVERY_MS)])?;
        Ok(())
    }
}
