//! Idempotency keys: the answer is stored in the transaction of the write it answers.

use rusqlite::{OptionalExtension, params};

use crate::Tx;
use crate::error::StoreError;

/// How long a key is remembered.
pub const IDEMPOTENCY_TTL_MS: i64 = 24 * 60 * 60 * 1000;

/// An answer to give again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What is known about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// New, now noted: do the work and call [`Tx::idempotency_finish`].
    Fresh,
    /// Done before with the same request.
    Replay(StoredAnswer),
    /// Used before for another request.
    Mismatch,
    /// The same request is being worked on.
    InFlight,
}

impl Tx<'_> {
    /// Notes a key of `scope` (the token id) for the request with `digest`, or says what it was used for.
    pub fn idempotency_begin(&self, scope: &str, key: &str, digest: &[u8], now: i64) -> Result<Begin, StoreError> {
        type Row = (Vec<u8>, Option<u16>, Option<String>, Option<Vec<u8>>);
        self.conn
            .prepare_cached("DELETE FROM idempotency WHERE scope = ?1 AND key = ?2 AND at <= ?3")?
            .execute(params![scope, key, now.saturating_sub(IDEMPOTENCY_TTL_MS)])?;
        let found: Option<Row> = self
            .conn
            .prepare_cached("SELECT digest, status, headers, body FROM idempotency WHERE scope = ?1 AND key = ?2")?
            .query_row([scope, key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        Ok(match found {
            None => {
                self.conn
                    .prepare_cached("INSERT INTO idempotency (scope, key, digest, at) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![scope, key, digest, now])?;
                Begin::Fresh
            }
            Some((stored, ..)) if stored != digest => Begin::Mismatch,
            Some((_, Some(status), headers, body)) => Begin::Replay(StoredAnswer {
                status,
                headers: serde_json::from_str(headers.as_deref().unwrap_or("[]"))?,
                body: body.unwrap_or_default(),
            }),
            Some(_) => Begin::InFlight,
        })
    }

    /// Stores the answer of a key noted by [`Tx::idempotency_begin`].
    pub fn idempotency_finish(&self, scope: &str, key: &str, answer: &StoredAnswer) -> Result<(), StoreError> {
        let count = self
            .conn
            .prepare_cached(
                "UPDATE idempotency SET status = ?3, headers = ?4, body = ?5 WHERE scope = ?1 AND key = ?2",
            )?
            .execute(params![scope, key, answer.status, serde_json::to_string(&answer.headers)?, answer.body])?;
        if count == 0 { Err(StoreError::NotFound) } else { Ok(()) }
    }

    /// Forgets an unfinished key whose request changed nothing.
    pub fn idempotency_abandon(&self, scope: &str, key: &str) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("DELETE FROM idempotency WHERE scope = ?1 AND key = ?2 AND status IS NULL")?
            .execute([scope, key])?;
        Ok(())
    }

    /// Forgets every unfinished key: for the start of the server, when no request can be in flight.
    pub fn idempotency_abandon_all(&self) -> Result<usize, StoreError> {
        Ok(self.conn.execute("DELETE FROM idempotency WHERE status IS NULL", [])?)
    }

    /// Forgets keys older than 24 hours; returns how many.
    pub fn idempotency_purge(&self, now: i64) -> Result<usize, StoreError> {
        Ok(self.conn.execute("DELETE FROM idempotency WHERE at <= ?1", [now.saturating_sub(IDEMPOTENCY_TTL_MS)])?)
    }
}
