//! Internal documents (instances, revisions, releases): a key, a parent and JSON.

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use crate::error::StoreError;
use crate::{Reader, Tx};

/// One document of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub key: String,
    pub parent: String,
    pub doc: Value,
}

impl Reader<'_> {
    /// The document, if there is one.
    pub fn document(&self, collection: &str, key: &str) -> Result<Option<Document>, StoreError> {
        let row: Option<(String, String)> = self
            .conn
            .prepare_cached("SELECT parent, doc FROM documents WHERE collection = ?1 AND key = ?2")?
            .query_row([collection, key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        row.map(|(parent, doc)| Ok(Document { key: key.to_owned(), parent, doc: serde_json::from_str(&doc)? }))
            .transpose()
    }

    /// The documents of a collection, of one parent or all, sorted by key.
    pub fn documents(&self, collection: &str, parent: Option<&str>) -> Result<Vec<Document>, StoreError> {
        let sql = if parent.is_some() {
            "SELECT key, parent, doc FROM documents WHERE collection = ?1 AND parent = ?2 ORDER BY key"
        } else {
            "SELECT key, parent, doc FROM documents WHERE collection = ?1 AND ?2 IS NULL ORDER BY key"
        };
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map(params![collection, parent], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?;
        rows.map(|row| {
            let (key, parent, doc) = row?;
            Ok(Document { key, parent, doc: serde_json::from_str(&doc)? })
        })
        .collect()
    }
}

impl Tx<'_> {
    /// Stores a document under its key, replacing an earlier one. Does not write an equal one again.
    pub fn put_document(&self, collection: &str, key: &str, parent: &str, doc: &Value) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO documents (collection, key, parent, doc) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (collection, key) DO UPDATE SET parent = excluded.parent, doc = excluded.doc
                 WHERE parent <> excluded.parent OR doc <> excluded.doc",
            )?
            .execute(params![collection, key, parent, doc.to_string()])?;
        Ok(())
    }

    /// Removes a document; `false` if there was none.
    pub fn remove_document(&self, collection: &str, key: &str) -> Result<bool, StoreError> {
        let count = self
            .conn
            .prepare_cached("DELETE FROM documents WHERE collection = ?1 AND key = ?2")?
            .execute([collection, key])?;
        Ok(count > 0)
    }

    /// Removes all documents of a parent; returns how many.
    pub fn remove_documents(&self, collection: &str, parent: &str) -> Result<usize, StoreError> {
        Ok(self
            .conn
            .prepare_cached("DELETE FROM documents WHERE collection = ?1 AND parent = ?2")?
            .execute([collection, parent])?)
    }
}
