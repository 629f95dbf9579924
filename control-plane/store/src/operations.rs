//! Operations: what a caller started and can wait for.

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{StoreError, is_taken};
use crate::{Reader, Tx};

/// One operation on a target object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    pub id: String,
    pub kind: String,
    pub target_kind: String,
    pub namespace: String,
    pub name: String,
    /// The target's generation it was started for.
    pub generation: i64,
    pub phase: String,
    pub doc: Value,
    pub created_at: i64,
    pub updated_at: i64,
}

/// Which operations to list; empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationFilter {
    pub target_kind: Option<String>,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub phase: Option<String>,
}

const COLUMNS: &str = "id, kind, target_kind, namespace, name, generation, phase, doc, created_at, updated_at";

fn row(row: &Row<'_>) -> rusqlite::Result<(Operation, String)> {
    Ok((
        Operation {
            id: row.get(0)?,
            kind: row.get(1)?,
            target_kind: row.get(2)?,
            namespace: row.get(3)?,
            name: row.get(4)?,
            generation: row.get(5)?,
            phase: row.get(6)?,
            doc: Value::Null,
            created_at: row.get(8)?,
            updated_at: row.get(9)?,
        },
        row.get(7)?,
    ))
}

fn parse((mut operation, doc): (Operation, String)) -> Result<Operation, StoreError> {
    operation.doc = serde_json::from_str(&doc)?;
    Ok(operation)
}

impl Reader<'_> {
    /// The operation, if there is one.
    pub fn operation(&self, id: &str) -> Result<Option<Operation>, StoreError> {
        self.conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM operations WHERE id = ?1"))?
            .query_row([id], row)
            .optional()?
            .map(parse)
            .transpose()
    }

    /// The operation last started on a target.
    pub fn latest_operation(
        &self,
        target_kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Operation>, StoreError> {
        self.conn
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM operations WHERE target_kind = ?1 AND namespace = ?2 AND name = ?3
                 ORDER BY seq DESC LIMIT 1"
            ))?
            .query_row([target_kind, namespace, name], row)
            .optional()?
            .map(parse)
            .transpose()
    }

    /// Up to `limit` operations, newest first, started before the operation with id `before`.
    pub fn operations(
        &self,
        filter: &OperationFilter,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Operation>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM operations WHERE (?1 IS NULL OR target_kind = ?1) AND (?2 IS NULL OR namespace = ?2)
             AND (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR phase = ?4)
             AND (?5 IS NULL OR seq < (SELECT seq FROM operations WHERE id = ?5)) ORDER BY seq DESC LIMIT ?6"
        ))?;
        let rows = statement.query_map(
            params![
                filter.target_kind,
                filter.namespace,
                filter.name,
                filter.phase,
                before,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            row,
        )?;
        rows.map(|r| parse(r?)).collect()
    }
}

impl Tx<'_> {
    /// Stores a new operation, or `AlreadyExists`.
    pub fn insert_operation(&self, operation: &Operation) -> Result<(), StoreError> {
        let o = operation;
        let result = self
            .conn
            .prepare_cached(&format!(
                "INSERT INTO operations ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            ))?
            .execute(params![
                o.id,
                o.kind,
                o.target_kind,
                o.namespace,
                o.name,
                o.generation,
                o.phase,
                o.doc.to_string(),
                o.created_at,
                o.updated_at
            ]);
        match result {
            Err(error) if is_taken(&error) => return Err(StoreError::AlreadyExists),
            other => other?,
        };
        self.operations.set(true);
        Ok(())
    }

    /// Replaces phase and document.
    pub fn update_operation(&self, id: &str, phase: &str, doc: &Value, now: i64) -> Result<(), StoreError> {
        let count = self
            .conn
            .prepare_cached("UPDATE operations SET phase = ?2, doc = ?3, updated_at = ?4 WHERE id = ?1")?
            .execute(params![id, phase, doc.to_string(), now])?;
        if count == 0 {
            return Err(StoreError::NotFound);
        }
        self.operations.set(true);
        Ok(())
    }

    /// Removes operations of the given phase last updated before `before`, but the newest of each object that is there;
    /// returns how many.
    pub fn purge_operations(&self, phase: &str, before: i64) -> Result<usize, StoreError> {
        let sql = "DELETE FROM operations WHERE phase = ?1 AND updated_at < ?2 AND seq NOT IN (
                SELECT max(seq) FROM operations
                JOIN objects ON objects.kind = target_kind
                    AND objects.namespace = operations.namespace AND objects.name = operations.name
                GROUP BY target_kind, operations.namespace, operations.name)";
        Ok(self.conn.execute(sql, params![phase, before])?)
    }
}
