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
}

/// The hash to store and to find a token by.
pub fn hash_token(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

const COLUMNS: &str = "id, name, role, created_at, last_used, revoked_at";

fn row(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        created_at: row.get(3)?,
        last_used: row.get(4)?,
        revoked_at: row.get(5)?,
    })
}

impl Reader<'_> {
    /// The token with this hash, unless it is revoked.
    pub fn token_find(&self, hash: &TokenHash) -> Result<Option<Token>, StoreError> {
        Ok(self
            .conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM tokens WHERE hash = ?1 AND revoked_at IS NULL"))?
            .query_row([&hash[..]], row)
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
    pub fn token_add(&self, id: &str, name: &str, role: &str, hash: &TokenHash, now: i64) -> Result<(), StoreError> {
        let result = self
            .conn
            .prepare_cached("INSERT INTO tokens (id, name, role, hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![id, name, role, &hash[..], now]);
        match result {
            Err(error) if is_taken(&error) => Err(StoreError::AlreadyExists),
            other => other.map(|_| ()).map_err(StoreError::from),
        }
    }

    /// Revokes a token; `false` if it was already.
    pub fn token_revoke(&self, id: &str, now: i64) -> Result<bool, StoreError> {
        let count = self
            .conn
            .execute("UPDATE tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL", params![id, now])?;
        if count == 0 {
            let known: bool =
                self.conn.query_row("SELECT count(*) > 0 FROM tokens WHERE id = ?1", [id], |row| row.get(0))?;
            if !known {
                return Err(StoreError::NotFound);
            }
        }
        Ok(count > 0)
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
