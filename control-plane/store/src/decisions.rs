//! Decisions of the autoscaler: what was decided about an application's size, and why.

use rusqlite::params;
use serde_json::Value;

use crate::error::StoreError;
use crate::{Reader, Tx};

/// How many decisions about one application are kept.
pub const DECISIONS_PER_APPLICATION: usize = 2000;

/// A stored decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub at: i64,
    pub doc: Value,
}

impl Reader<'_> {
    /// The newest `limit` decisions about an application, oldest first.
    pub fn latest_decisions(&self, namespace: &str, name: &str, limit: usize) -> Result<Vec<Decision>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT at, doc FROM scaling_decisions WHERE namespace = ?1 AND name = ?2 ORDER BY seq DESC LIMIT ?3",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement
            .query_map(params![namespace, name, limit], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        let mut found = rows
            .map(|row| {
                let (at, doc) = row?;
                Ok(Decision { at, doc: serde_json::from_str(&doc)? })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        found.reverse();
        Ok(found)
    }
}

impl Tx<'_> {
    /// Appends a decision. Of each application the newest [`DECISIONS_PER_APPLICATION`] are kept.
    pub fn append_decision(&self, namespace: &str, name: &str, doc: &Value, now: i64) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("INSERT INTO scaling_decisions (namespace, name, at, doc) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![namespace, name, now, doc.to_string()])?;
        self.conn
            .prepare_cached(
                "DELETE FROM scaling_decisions WHERE namespace = ?1 AND name = ?2 AND seq <=
                 (SELECT seq FROM scaling_decisions WHERE namespace = ?1 AND name = ?2
                  ORDER BY seq DESC LIMIT 1 OFFSET ?3)",
            )?
            .execute(params![namespace, name, DECISIONS_PER_APPLICATION as i64])?;
        Ok(())
    }

    /// Removes decisions from before `before`; returns how many.
    pub fn purge_decisions(&self, before: i64) -> Result<usize, StoreError> {
        Ok(self.conn.execute("DELETE FROM scaling_decisions WHERE at < ?1", [before])?)
    }

    /// Removes the decisions about an application.
    pub fn remove_decisions(&self, namespace: &str, name: &str) -> Result<usize, StoreError> {
        Ok(self
            .conn
            .prepare_cached("DELETE FROM scaling_decisions WHERE namespace = ?1 AND name = ?2")?
            .execute([namespace, name])?)
    }
}
