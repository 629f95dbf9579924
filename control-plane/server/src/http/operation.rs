//! Operations: what a write starts and a caller waits for.

use std::collections::HashMap;
use std::time::Duration;

use axum::response::Response;
use sampan_engine::application::{Cause, Request};
use sampan_schema::operation::{Operation, Phase};
use sampan_schema::problem::Problem;
use sampan_store::{Reader, StoreError, Tx};
use serde_json::Value;

use super::Api;
use super::answer::{not_found, ok, read};
use super::rollout::about_to;
use crate::clock::random_hex;
use crate::{admission, objects};

/// How soon a verb that waits for the reconciler is looked at again.
const VERB: Duration = Duration::from_secs(1);

/// A new operation, and the request that the reconciler takes it from. `before` is the spec ahead of the write.
pub(super) fn start(
    tx: &Tx<'_>,
    cause: Cause,
    ns: &str,
    name: &str,
    generation: i64,
    before: &Value,
    now: i64,
) -> Result<Value, StoreError> {
    let id = random_hex(12).map_err(|e| StoreError::Other(e.to_string()))?;
    let op = objects::new_operation(tx, &id, cause.word(), ("application", ns, name), generation, now)?;
    let app = objects::key(ns, name);
    let mut state = objects::state(tx, &app)?;
    let queues = admission::queues(tx, ns, &state, before)?;
    for displaced in state.accept(Request { operation: id.clone(), generation, cause }, before, queues) {
        let text = format!("operation {id} took over");
        objects::move_operation(tx, &displaced, Phase::Superseded, "Superseded", &text, None, now)?;
    }
    objects::put_state(tx, &app, &state)?;
    wake(tx, ns, name, now)?;
    let waits_for = state.waits_for();
    let op = if state.queued.is_some_and(|queued| queued.request.operation == id) {
        objects::move_operation(tx, &id, Phase::Pending, "Queued", &waits_for, None, now)?;
        tx.operation(&id)?.map(objects::operation).transpose()?.unwrap_or(op)
    } else {
        op
    };
    serde_json::to_value(op).map_err(|e| StoreError::Other(e.to_string()))
}

/// Whom `idle` has stopped is awake again: what begins now is about all of its instances.
pub(super) fn wake(tx: &Tx<'_>, ns: &str, name: &str, now: i64) -> Result<(), StoreError> {
    match tx.object("application", ns, name)? {
        Some(object) => objects::awake(tx, &objects::key(ns, name), &object.spec, now),
        None => Ok(()),
    }
}

/// As a caller reads it: a pause that a verb is about to end holds nobody up.
fn seen(r: &Reader<'_>, op: Operation) -> Result<Operation, StoreError> {
    if op.phase != Phase::Paused || op.target_kind != "application" {
        return Ok(op);
    }
    let state = objects::state(r, &objects::key(&op.namespace, &op.name))?;
    let mine = state.operation().is_some_and(|(id, _)| id == op.id);
    Ok(match about_to(&state).filter(|_| mine) {
        Some((_, message)) => Operation { phase: Phase::Running, reason: String::new(), message: message.into(), ..op },
        None => op,
    })
}

pub(super) async fn get(api: &Api, id: &str, query: &HashMap<String, String>) -> Result<Response, Problem> {
    let wait = query.get("wait").map_or(0, |w| w.trim_end_matches('s').parse().unwrap_or(0_u64)).min(60);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(wait);
    let mut changes = api.store.subscribe_operations();
    let mut first: Option<Value> = None;
    loop {
        changes.borrow_and_update();
        let (op, about_to_move) = read(&api.store, |r| {
            let stored = objects::operation(r.operation(id)?.ok_or_else(|| not_found("operation", id))?)?;
            let op = seen(r, stored.clone())?;
            let about_to_move = op != stored;
            Ok((op, about_to_move))
        })?;
        let body = serde_json::to_value(&op).unwrap_or_default();
        // Progress is an answer too: the caller prints it and asks again.
        let moved = first.as_ref().is_some_and(|f| f != &body);
        if op.phase.is_terminal() || op.phase == Phase::Paused || wait == 0 || moved {
            return Ok(ok(200, &body));
        }
        first.get_or_insert(body.clone());
        // A verb may leave the operation as it was, which is no change to wait for.
        let until = if about_to_move { deadline.min(tokio::time::Instant::now() + VERB) } else { deadline };
        if tokio::time::timeout_at(until, changes.changed()).await.is_err() && until == deadline {
            return Ok(ok(200, &body));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end at once")]

    use sampan_engine::application::{Release, State, Verb};
    use sampan_schema::rollout::Rollout;
    use sampan_store::Store;

    use super::*;

    #[test]
    fn an_operation_is_paused_until_a_verb_on_its_own_release_waits() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("s.db")).unwrap();
        let cases = [
            ("op", None, Phase::Paused),
            ("op", Some(Verb::Promote { full: false }), Phase::Running),
            ("op", Some(Verb::Abort), Phase::Running),
            ("op", Some(Verb::Pause), Phase::Paused),
            ("another", Some(Verb::Resume), Phase::Paused),
        ];
        for (operation, verb, phase) in cases {
            let rollout = Rollout { phase: "Paused".into(), ..Rollout::default() };
            let release = Some(Release { operation: operation.into(), ..Release::default() });
            let state = State { release, rollout, verb, ..State::default() };
            let op = Operation {
                id: "op".into(),
                target_kind: "application".into(),
                namespace: "shop".into(),
                name: "cart".into(),
                phase: Phase::Paused,
                ..Operation::default()
            };
            store.write(|tx| objects::put_state(tx, "shop/cart", &state)).unwrap();
            assert_eq!(store.read(|r| seen(r, op)).unwrap().phase, phase, "{operation} {verb:?}");
        }
    }
}
