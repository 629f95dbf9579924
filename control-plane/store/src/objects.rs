//! Objects: desired state (`spec`), server-internal data (`private`) and observed state (`status`).

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::changes::ChangeOp;
use crate::error::{StoreError, is_taken};
use crate::{Reader, Tx};

/// One stored object. Its private part is read only by [`Reader::object_private`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub kind: String,
    /// Empty for kinds without a namespace.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// 1 at creation, +1 with every change of the spec.
    pub generation: i64,
    pub spec: Value,
    pub status: Value,
    pub create_time: i64,
    /// The last change other than of the status.
    pub update_time: i64,
    pub deleting: bool,
}

impl Object {
    /// `namespace/name`, or `name` without a namespace.
    pub fn id(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }
}

/// What an insert needs.
#[derive(Debug, Clone)]
pub struct NewObject {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub spec: Value,
    pub private: Value,
    pub status: Value,
}

const COLUMNS: &str = "kind, namespace, name, uid, generation, spec, status, create_time, update_time, deleting";

/// A row's columns; JSON is parsed outside of rusqlite so that its errors keep their type.
fn row(row: &Row<'_>) -> rusqlite::Result<(Object, String, String)> {
    Ok((
        Object {
            kind: row.get(0)?,
            namespace: row.get(1)?,
            name: row.get(2)?,
            uid: row.get(3)?,
            generation: row.get(4)?,
            spec: Value::Null,
            status: Value::Null,
            create_time: row.get(7)?,
            update_time: row.get(8)?,
            deleting: row.get(9)?,
        },
        row.get(5)?,
        row.get(6)?,
    ))
}

fn parse((mut object, spec, status): (Object, String, String)) -> Result<Object, StoreError> {
    object.spec = serde_json::from_str(&spec)?;
    object.status = serde_json::from_str(&status)?;
    Ok(object)
}

impl Reader<'_> {
    /// The object, if there is one.
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Object>, StoreError> {
        self.conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3"))?
            .query_row([kind, namespace, name], row)
            .optional()?
            .map(parse)
            .transpose()
    }

    /// Up to `limit` objects of a kind, of one namespace or all, sorted by (namespace, name), after the given one.
    pub fn objects(
        &self,
        kind: &str,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Object>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (after_ns, after_name) = after.unwrap_or(("", ""));
        let rows: Vec<_> = if let Some(namespace) = namespace {
            // Of another namespace's object: everything before or nothing after it.
            let start = match after_ns.cmp(namespace) {
                std::cmp::Ordering::Less => "",
                std::cmp::Ordering::Equal => after_name,
                std::cmp::Ordering::Greater => return Ok(Vec::new()),
            };
            self.conn
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM objects WHERE kind = ?1 AND namespace = ?2 AND name > ?3 ORDER BY name LIMIT ?4"
                ))?
                .query_map(params![kind, namespace, start, limit], row)?
                .collect::<Result<_, _>>()?
        } else {
            self.conn
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM objects WHERE kind = ?1 AND (namespace, name) > (?2, ?3)
                     ORDER BY namespace, name LIMIT ?4"
                ))?
                .query_map(params![kind, after_ns, after_name, limit], row)?
                .collect::<Result<_, _>>()?
        };
        rows.into_iter().map(parse).collect()
    }

    /// How many objects of a kind there are.
    pub fn count_objects(&self, kind: &str, namespace: Option<&str>) -> Result<u64, StoreError> {
        let count: i64 = self
            .conn
            .prepare_cached("SELECT count(*) FROM objects WHERE kind = ?1 AND (?2 IS NULL OR namespace = ?2)")?
            .query_row(params![kind, namespace], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The server-internal part of an object, e.g. the bytes of a secret.
    pub fn object_private(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>, StoreError> {
        let text: Option<String> = self
            .conn
            .prepare_cached("SELECT private FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?
            .query_row([kind, namespace, name], |row| row.get(0))
            .optional()?;
        Ok(text.map(|t| serde_json::from_str(&t)).transpose()?)
    }

    fn existing(&self, kind: &str, namespace: &str, name: &str) -> Result<Object, StoreError> {
        self.object(kind, namespace, name)?.ok_or(StoreError::NotFound)
    }
}

impl Tx<'_> {
    /// Stores a new object with generation 1, or `AlreadyExists`.
    pub fn insert_object(&self, new: NewObject, now: i64) -> Result<Object, StoreError> {
        let result = self
            .conn
            .prepare_cached(
                "INSERT INTO objects (kind, namespace, name, uid, generation, spec, private, status, create_time,
                 update_time, deleting) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?8, 0)",
            )?
            .execute(params![
                new.kind,
                new.namespace,
                new.name,
                new.uid,
                new.spec.to_string(),
                new.private.to_string(),
                new.status.to_string(),
                now
            ]);
        match result {
            Err(error) if is_taken(&error) => return Err(StoreError::AlreadyExists),
            other => other?,
        };
        let object = Object {
            kind: new.kind,
            namespace: new.namespace,
            name: new.name,
            uid: new.uid,
            generation: 1,
            spec: new.spec,
            status: new.status,
            create_time: now,
            update_time: now,
            deleting: false,
        };
        self.log(&object, ChangeOp::Insert, now)?;
        Ok(object)
    }

    /// Replaces the spec if the object still has generation `expect`, else `Conflict`. The generation grows by one.
    pub fn update_spec(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        expect: i64,
        spec: Value,
        now: i64,
    ) -> Result<Object, StoreError> {
        let mut object = self.existing(kind, namespace, name)?;
        if object.generation != expect {
            return Err(StoreError::Conflict { current: object.generation });
        }
        object.generation += 1;
        object.spec = spec;
        object.update_time = now;
        self.conn
            .prepare_cached(
                "UPDATE objects SET spec = ?4, generation = ?5, update_time = ?6
                 WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
            )?
            .execute(params![kind, namespace, name, object.spec.to_string(), object.generation, now])?;
        self.log(&object, ChangeOp::Spec, now)?;
        Ok(object)
    }

    /// Replaces the status; `false` and nothing written if it is equal.
    pub fn set_status(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        status: &Value,
        now: i64,
    ) -> Result<bool, StoreError> {
        let object = self.existing(kind, namespace, name)?;
        if object.status == *status {
            return Ok(false);
        }
        self.conn
            .prepare_cached("UPDATE objects SET status = ?4 WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?
            .execute(params![kind, namespace, name, status.to_string()])?;
        self.log(&object, ChangeOp::Status, now)?;
        Ok(true)
    }

    /// Replaces the server-internal part.
    pub fn set_private(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        private: &Value,
        now: i64,
    ) -> Result<(), StoreError> {
        let object = self.existing(kind, namespace, name)?;
        self.conn
            .prepare_cached(
                "UPDATE objects SET private = ?4, update_time = ?5 WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
            )?
            .execute(params![kind, namespace, name, private.to_string(), now])?;
        self.log(&object, ChangeOp::Private, now)
    }

    /// Marks the object as on its way out; `false` if it was already.
    pub fn mark_deleting(&self, kind: &str, namespace: &str, name: &str, now: i64) -> Result<bool, StoreError> {
        let object = self.existing(kind, namespace, name)?;
        if object.deleting {
            return Ok(false);
        }
        self.conn
            .prepare_cached(
                "UPDATE objects SET deleting = 1, update_time = ?4 WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
            )?
            .execute(params![kind, namespace, name, now])?;
        self.log(&object, ChangeOp::Deleting, now)?;
        Ok(true)
    }

    /// Removes the object and returns it.
    pub fn remove_object(&self, kind: &str, namespace: &str, name: &str, now: i64) -> Result<Object, StoreError> {
        let object = self.existing(kind, namespace, name)?;
        self.conn
            .prepare_cached("DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?
            .execute([kind, namespace, name])?;
        self.log(&object, ChangeOp::Remove, now)?;
        Ok(object)
    }
}
