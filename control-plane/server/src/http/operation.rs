//! Operations: what a write starts and a caller waits for.

use std::collections::HashMap;
use std::time::Duration;

use axum::response::Response;
use sampan_engine::application::{Cause, Request};
use sampan_schema::operation::Phase;
use sampan_schema::problem::Problem;
use sampan_store::{StoreError, Tx};
use serde_json::Value;

use super::Api;
use super::answer::{not_found, ok, read};
use crate::clock::random_hex;
use crate::objects;

/// A new operation, and the request that the reconciler takes it from.
pub(super) fn start(
    tx: &Tx<'_>,
    cause: Cause,
    ns: &str,
    name: &str,
    generation: i64,
    now: i64,
) -> Result<Value, StoreError> {
    let id = random_hex(12).map_err(|e| StoreError::Other(e.to_string()))?;
    let op = objects::new_operation(tx, &id, cause.word(), ("application", ns, name), generation, now)?;
    let app = objects::key(ns, name);
    let mut state = objects::state(tx, &app)?;
    if let Some(waiting) = state.request.take() {
        let text = format!("operation {id} took over");
        objects::move_operation(tx, &waiting.operation, Phase::Superseded, "Superseded", &text, None, now)?;
    }
    // It was meant for what was under way.
    state.verb = None;
    state.request = Some(Request { operation: id, generation, cause });
    objects::put_state(tx, &app, &state)?;
    serde_json::to_value(op).map_err(|e| StoreError::Other(e.to_string()))
}

pub(super) async fn get(api: &Api, id: &str, query: &HashMap<String, String>) -> Result<Response, Problem> {
    let wait = query.get("wait").map_or(0, |w| w.trim_end_matches('s').parse().unwrap_or(0_u64)).min(60);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(wait);
    let mut changes = api.store.subscribe_operations();
    let mut first: Option<Value> = None;
    loop {
        changes.borrow_and_update();
        let op = read(&api.store, |r| {
            let o = r.operation(id)?.ok_or_else(|| not_found("operation", id))?;
            Ok(objects::operation(o)?)
        })?;
        let body = serde_json::to_value(&op).unwrap_or_default();
        // Progress is an answer too: the caller prints it and asks again.
        let moved = first.as_ref().is_some_and(|f| f != &body);
        if op.phase.is_terminal() || op.phase == Phase::Paused || wait == 0 || moved {
            return Ok(ok(200, &body));
        }
        first.get_or_insert(body.clone());
        if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
            return Ok(ok(200, &body));
        }
    }
}
