//! What the server keeps beside objects: rows of the engine, and how they are read and written.

use std::collections::BTreeMap;

use sampan_engine::application::State;
use sampan_engine::environment_schedule::Row;
use sampan_engine::instance::Instance;
use sampan_engine::revision::Revision;
use sampan_engine::scaling;
use sampan_engine::scaling::forecast::Series;
use sampan_engine::scaling::idle::Idle;
use sampan_schema::application;
use sampan_schema::operation::{Operation, Phase, Progress};
use sampan_store::{Object, Reader, StoreError, Tx};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const STATES: &str = "application-state";
pub const INSTANCES: &str = "instances";
pub const REVISIONS: &str = "revisions";

/// How far the waves of an environment schedule have come; the key is the uid of the schedule.
pub const WAVES: &str = "environment-waves";

pub const SCALING: &str = "scaling";
/// Loads of earlier days, of rules with `prediction`; the parent is the application.
pub const LOADS: &str = "scaling-loads";

/// What the autoscaler has decided about an application. There is one while a rule of the application is enabled, or
/// its `idle` is on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scaled {
    /// Instances that it shall have.
    pub desired: u32,
    /// When that last changed; 0 before the first time.
    pub changed_at: i64,
    /// Requests wait at the gateway while there is no instance: a rule goes down to none.
    pub holds: bool,
    /// It comes from the application's own `idle`: 0 instances mean that it was stopped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// What the rules remember.
    pub state: scaling::State,
}

fn decode<T: DeserializeOwned>(doc: Value) -> Result<T, StoreError> {
    serde_json::from_value(doc).map_err(|e| StoreError::Other(format!("a stored row does not decode: {e}")))
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Value, StoreError> {
    serde_json::to_value(value).map_err(|e| StoreError::Other(e.to_string()))
}

/// `ns/name`, the parent of all rows of an application.
pub fn key(ns: &str, name: &str) -> String {
    format!("{ns}/{name}")
}

pub fn state(r: &Reader<'_>, app: &str) -> Result<State, StoreError> {
    r.document(STATES, app)?.map_or_else(|| Ok(State::default()), |d| decode(d.doc))
}

pub fn put_state(tx: &Tx<'_>, app: &str, state: &State) -> Result<(), StoreError> {
    tx.put_document(STATES, app, app, &encode(state)?)
}

pub fn instances(r: &Reader<'_>, app: &str) -> Result<Vec<Instance>, StoreError> {
    r.documents(INSTANCES, Some(app))?.into_iter().map(|d| decode(d.doc)).collect()
}

pub fn put_instance(tx: &Tx<'_>, app: &str, row: &Instance) -> Result<(), StoreError> {
    tx.put_document(INSTANCES, &format!("{app}/{}", row.name), app, &encode(row)?)
}

pub fn revisions(r: &Reader<'_>, app: &str) -> Result<Vec<Revision>, StoreError> {
    r.documents(REVISIONS, Some(app))?.into_iter().map(|d| decode(d.doc)).collect()
}

pub fn put_revision(tx: &Tx<'_>, app: &str, row: &Revision) -> Result<(), StoreError> {
    tx.put_document(REVISIONS, &format!("{app}/{}", row.hash), app, &encode(row)?)
}

/// The labels of an object.
pub fn labels(object: &Object) -> BTreeMap<String, String> {
    let read = object.spec.get("labels").and_then(|labels| serde_json::from_value(labels.clone()).ok());
    read.unwrap_or_default()
}

/// By the uid of the schedule.
pub fn waves(r: &Reader<'_>) -> Result<BTreeMap<String, Row>, StoreError> {
    r.documents(WAVES, None)?.into_iter().map(|d| Ok((d.key, decode(d.doc)?))).collect()
}

pub fn wave(r: &Reader<'_>, uid: &str) -> Result<Row, StoreError> {
    r.document(WAVES, uid)?.map_or_else(|| Ok(Row::default()), |d| decode(d.doc))
}

/// `schedule`: its namespace and name.
pub fn put_wave(tx: &Tx<'_>, uid: &str, schedule: &str, row: &Row) -> Result<(), StoreError> {
    tx.put_document(WAVES, uid, schedule, &encode(row)?)
}

/// What the autoscaler has decided, while it has a say.
pub fn scaled(r: &Reader<'_>, app: &str) -> Result<Option<Scaled>, StoreError> {
    r.document(SCALING, app)?.map(|d| decode(d.doc)).transpose()
}

pub fn put_scaled(tx: &Tx<'_>, app: &str, scaled: &Scaled) -> Result<(), StoreError> {
    tx.put_document(SCALING, app, app, &encode(scaled)?)
}

/// The application was written, or an operation of it begins: whom `idle` has stopped is awake again, with as many
/// instances as the spec says, and the time without requests begins anew.
pub fn awake(tx: &Tx<'_>, app: &str, spec: &Value, now: i64) -> Result<(), StoreError> {
    let Ok(spec) = sampan_schema::read::<application::Spec>(spec) else { return Ok(()) };
    let stored = scaled(tx, app)?;
    // A rule's number stays, and with it the note that it was no silence that led to it.
    if stored.as_ref().is_some_and(|s| !s.idle) {
        return Ok(());
    }
    match Idle::of(&spec) {
        Some(idle) => {
            let (desired, holds) = (idle.replicas, idle.holds());
            put_scaled(tx, app, &Scaled { desired, changed_at: now, holds, idle: true, ..Scaled::default() })
        }
        None if stored.is_some() => tx.remove_document(SCALING, app).map(drop),
        None => Ok(()),
    }
}

/// By rule.
pub fn series(r: &Reader<'_>, app: &str) -> Result<BTreeMap<String, Series>, StoreError> {
    let rule = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
    r.documents(LOADS, Some(app))?.into_iter().map(|d| Ok((rule(&d.key), decode(d.doc)?))).collect()
}

/// Stores those there are, and forgets the others.
pub fn put_series(tx: &Tx<'_>, app: &str, all: &BTreeMap<String, Series>) -> Result<(), StoreError> {
    for d in tx.documents(LOADS, Some(app))? {
        if !all.keys().any(|rule| d.key == format!("{app}/{rule}")) {
            tx.remove_document(LOADS, &d.key)?;
        }
    }
    all.iter().try_for_each(|(rule, series)| tx.put_document(LOADS, &format!("{app}/{rule}"), app, &encode(series)?))
}

/// A new operation in phase Pending.
pub fn new_operation(
    tx: &Tx<'_>,
    id: &str,
    what: &str,
    target: (&str, &str, &str),
    generation: i64,
    now: i64,
) -> Result<Operation, StoreError> {
    let operation = Operation {
        id: id.to_owned(),
        kind: what.to_owned(),
        target_kind: target.0.to_owned(),
        namespace: target.1.to_owned(),
        name: target.2.to_owned(),
        generation,
        phase: Phase::Pending,
        started_at: now,
        ..Operation::default()
    };
    tx.insert_operation(&sampan_store::Operation {
        id: operation.id.clone(),
        kind: operation.kind.clone(),
        target_kind: operation.target_kind.clone(),
        namespace: operation.namespace.clone(),
        name: operation.name.clone(),
        generation,
        phase: operation.phase.word().to_owned(),
        doc: encode(&operation)?,
        created_at: now,
        updated_at: now,
    })?;
    Ok(operation)
}

/// Moves an operation; a terminal one stays as it is, an equal one is not written.
pub fn move_operation(
    tx: &Tx<'_>,
    id: &str,
    phase: Phase,
    reason: &str,
    message: &str,
    progress: Option<Progress>,
    now: i64,
) -> Result<(), StoreError> {
    let Some(stored) = tx.operation(id)? else { return Ok(()) };
    let old: Operation = decode(stored.doc)?;
    if old.phase.is_terminal() {
        return Ok(());
    }
    let new = Operation {
        phase,
        reason: reason.to_owned(),
        message: message.to_owned(),
        progress: progress.unwrap_or_else(|| old.progress.clone()),
        finished_at: if phase.is_terminal() { now } else { 0 },
        ..old.clone()
    };
    if new == old {
        return Ok(());
    }
    tx.update_operation(id, phase.word(), &encode(&new)?, now)
}

pub fn operation(stored: sampan_store::Operation) -> Result<Operation, StoreError> {
    decode(stored.doc)
}
