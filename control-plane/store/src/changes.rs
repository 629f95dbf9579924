//! The change log: which object changed, in commit order. The new content is read from the object.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::objects::Object;
use crate::{Reader, Tx};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOp {
    Insert,
    Spec,
    Private,
    Status,
    Deleting,
    Remove,
}

impl ChangeOp {
    fn text(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Spec => "spec",
            Self::Private => "private",
            Self::Status => "status",
            Self::Deleting => "deleting",
            Self::Remove => "remove",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        Ok(match text {
            "insert" => Self::Insert,
            "spec" => Self::Spec,
            "private" => Self::Private,
            "status" => Self::Status,
            "deleting" => Self::Deleting,
            "remove" => Self::Remove,
            other => return Err(StoreError::Other(format!("change log: unknown operation {other}"))),
        })
    }
}

/// One entry of the change log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub rev: i64,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub op: ChangeOp,
    /// The object's generation after the change.
    pub generation: i64,
    pub at: i64,
}

/// The newest revision ever given, also when its entry is compacted.
pub(crate) fn newest(conn: &Connection) -> Result<i64, StoreError> {
    let seq = conn
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'changes'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(seq.unwrap_or(0))
}

impl Reader<'_> {
    /// The newest revision; a list read through the same [`Reader`] is of exactly this revision.
    pub fn revision(&self) -> Result<i64, StoreError> {
        newest(self.conn)
    }

    /// Up to `limit` changes after `rev`, oldest first. `Compacted` if some are gone, or if `rev` is of another history
    /// (a restored backup): then list again.
    pub fn changes_since(&self, rev: i64, limit: usize) -> Result<Vec<Change>, StoreError> {
        let compacted: i64 =
            self.conn.prepare_cached("SELECT compacted FROM change_log")?.query_row([], |row| row.get(0))?;
        if rev < compacted || rev > newest(self.conn)? {
            return Err(StoreError::Compacted { oldest: compacted + 1 });
        }
        let mut statement = self.conn.prepare_cached(
            "SELECT rev, kind, namespace, name, op, generation, at FROM changes WHERE rev > ?1 ORDER BY rev LIMIT ?2",
        )?;
        let rows = statement.query_map(params![rev, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((
                row.get::<_, String>(4)?,
                Change {
                    rev: row.get(0)?,
                    kind: row.get(1)?,
                    namespace: row.get(2)?,
                    name: row.get(3)?,
                    op: ChangeOp::Insert,
                    generation: row.get(5)?,
                    at: row.get(6)?,
                },
            ))
        })?;
        rows.map(|row| {
            let (op, change) = row?;
            Ok(Change { op: ChangeOp::parse(&op)?, ..change })
        })
        .collect()
    }
}

impl Tx<'_> {
    pub(crate) fn log(&self, object: &Object, op: ChangeOp, now: i64) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO changes (kind, namespace, name, op, generation, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![object.kind, object.namespace, object.name, op.text(), object.generation, now])?;
        self.revision.set(Some(self.conn.last_insert_rowid()));
        Ok(())
    }

    /// Forgets changes before revision `before`; returns how many.
    pub fn compact_changes(&self, before: i64) -> Result<usize, StoreError> {
        let upto = before.saturating_sub(1).min(newest(self.conn)?);
        self.conn.execute("UPDATE change_log SET compacted = max(compacted, ?1)", [upto])?;
        Ok(self.conn.execute("DELETE FROM changes WHERE rev <= ?1", [upto])?)
    }

    /// Forgets changes older than the time `before`, but keeps the newest one; returns how many.
    pub fn compact_changes_until(&self, before: i64) -> Result<usize, StoreError> {
        let keep: Option<i64> = self.conn.query_row(
            "SELECT coalesce(min(rev), (SELECT max(rev) FROM changes)) FROM changes WHERE at >= ?1",
            [before],
            |row| row.get(0),
        )?;
        keep.map_or(Ok(0), |keep| self.compact_changes(keep))
    }
}
