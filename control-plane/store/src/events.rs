//! Events: what happened to an object, for people.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::{Reader, Tx};

/// How many events of one object are kept.
pub const EVENTS_PER_OBJECT: usize = 1000;

/// Whether somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    Normal,
    Warning,
}

impl ToSql for EventType {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
        .into())
    }
}

impl FromSql for EventType {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "Normal" => Ok(Self::Normal),
            "Warning" => Ok(Self::Warning),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// An event to append.
#[derive(Debug, Clone, Copy)]
pub struct NewEvent<'a> {
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub event_type: EventType,
    pub reason: &'a str,
    pub message: &'a str,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Grows when the event happens again, so that a follower sees it again.
    pub seq: i64,
    /// The first time.
    pub at: i64,
    /// The last time.
    pub last_at: i64,
    pub count: i64,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    #[serde(rename = "type")]
    pub event_type: EventType,
    pub reason: String,
    pub message: String,
}

/// Which events to list; empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub kind: Option<String>,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub event_type: Option<EventType>,
}

const COLUMNS: &str = "seq, at, last_at, count, kind, namespace, name, type, reason, message";
const FILTER: &str = "(?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3)
    AND (?4 IS NULL OR type = ?4)";

fn row(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        seq: row.get(0)?,
        at: row.get(1)?,
        last_at: row.get(2)?,
        count: row.get(3)?,
        kind: row.get(4)?,
        namespace: row.get(5)?,
        name: row.get(6)?,
        event_type: row.get(7)?,
        reason: row.get(8)?,
        message: row.get(9)?,
    })
}

impl Reader<'_> {
    /// Up to `limit` events after `since`, oldest first.
    pub fn events(&self, filter: &EventFilter, since: i64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.query_events(filter, since, limit, "ASC")
    }

    /// The newest `limit` events, oldest first.
    pub fn latest_events(&self, filter: &EventFilter, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut events = self.query_events(filter, 0, limit, "DESC")?;
        events.reverse();
        Ok(events)
    }

    fn query_events(&self, f: &EventFilter, since: i64, limit: usize, order: &str) -> Result<Vec<Event>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE {FILTER} AND seq > ?5 ORDER BY seq {order} LIMIT ?6");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![f.kind, f.namespace, f.name, f.event_type, since, limit], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Tx<'_> {
    /// Appends an event and returns its number. If the object's last event is the same, that one is counted up and moved
    /// to the end instead. Of each object the newest [`EVENTS_PER_OBJECT`] are kept.
    pub fn append_event(&self, new: NewEvent<'_>, now: i64) -> Result<i64, StoreError> {
        let last = self
            .conn
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM events WHERE kind = ?1 AND namespace = ?2 AND name = ?3 ORDER BY seq DESC LIMIT 1"
            ))?
            .query_row([new.kind, new.namespace, new.name], row)
            .optional()?;
        let same =
            last.filter(|e| e.event_type == new.event_type && e.reason == new.reason && e.message == new.message);
        let (at, count) = match &same {
            Some(event) => {
                self.conn.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([event.seq])?;
                (event.at, event.count.saturating_add(1))
            }
            None => (now, 1),
        };
        self.conn
            .prepare_cached(
                "INSERT INTO events (at, last_at, count, kind, namespace, name, type, reason, message)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                at,
                now,
                count,
                new.kind,
                new.namespace,
                new.name,
                new.event_type,
                new.reason,
                new.message
            ])?;
        let seq = self.conn.last_insert_rowid();
        self.conn
            .prepare_cached(
                "DELETE FROM events WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND seq <=
                 (SELECT seq FROM events WHERE kind = ?1 AND namespace = ?2 AND name = ?3 ORDER BY seq DESC LIMIT 1 OFFSET ?4)",
            )?
            .execute(params![new.kind, new.namespace, new.name, EVENTS_PER_OBJECT as i64])?;
        Ok(seq)
    }

    /// Removes events that last happened before `before` to objects that are gone; returns how many.
    pub fn purge_events(&self, before: i64) -> Result<usize, StoreError> {
        let sql = "DELETE FROM events WHERE last_at < ?1 AND NOT EXISTS (SELECT 1 FROM objects
                WHERE objects.kind = events.kind AND objects.namespace = events.namespace AND objects.name = events.name)";
        Ok(self.conn.execute(sql, [before])?)
    }

    /// Removes the events of an object.
    pub fn remove_events(&self, kind: &str, namespace: &str, name: &str) -> Result<usize, StoreError> {
        Ok(self
            .conn
            .prepare_cached("DELETE FROM events WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?
            .execute([kind, namespace, name])?)
    }
}
