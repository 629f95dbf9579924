//! What an application has beside its object: instances, revisions, restart, logs, exec.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use sampan_engine::application::Cause;
use sampan_engine::instance::Instance as Row;
use sampan_engine::runtime::{ContainerState, LogQuery, ObservedContainer, ObservedSandbox, RuntimeError};
use sampan_schema::instance::Instance;
use sampan_schema::problem::Problem;
use sampan_store::{Object, Reader};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::Api;
use super::answer::{StoreProblem, blocking, not_found, ok, read, write};
use super::idempotency::once;
use super::operation::start;
use crate::auth::Caller;
use crate::clock::now_ms;
use crate::objects;
use crate::reconciler::Note;

pub(super) async fn instances(api: &Api, ns: &str, name: &str) -> Result<Response, Problem> {
    // The row is the intent; container ids and addresses are those of a fresh list.
    let mut rows = read(&api.store, |r| {
        existing(r, ns, name)?;
        Ok(objects::instances(r, &objects::key(ns, name))?)
    })?;
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    // A runtime that is away takes away what only it knows, not the answer.
    let listed = api.runtime.list().await.unwrap_or_default();
    let node = api.runtime.node();
    let items: Vec<_> = rows.iter().map(|row| instance(row, &listed, &node)).collect();
    Ok(ok(200, &json!({ "items": items })))
}

fn instance(row: &Row, listed: &[ObservedSandbox], node: &str) -> Instance {
    let sandbox = listed.iter().find(|s| s.instance == row.name && s.generation == row.sandbox.generation);
    let running = sandbox.and_then(|s| {
        let is = |c: &&ObservedContainer| c.state == ContainerState::Running;
        s.containers.iter().find(is).or_else(|| s.containers.iter().max_by_key(|c| c.attempt))
    });
    Instance {
        name: row.name.clone(),
        sandbox_id: sandbox.map(|s| s.id.clone()).or_else(|| row.sandbox_id.clone()).unwrap_or_default(),
        container_id: running.map(|c| c.id.clone()).unwrap_or_default(),
        ip: sandbox.and_then(|s| s.ip).map(|ip| ip.to_string()).unwrap_or_default(),
        node: node.to_owned(),
        revision: running.map_or_else(|| row.revision.clone(), |c| c.revision.clone()),
        phase: row.phase.word().into(),
        ready: row.ready_since.is_some() && !row.terminating,
        attempt: running.map_or(row.attempt, |c| c.attempt),
        restarts: row.restarts,
        isolation_class: row.sandbox.class.clone(),
        isolation_verified: row.isolation.as_ref().and_then(|x| x.verified),
        isolation_evidence: row.isolation.as_ref().map(|x| x.evidence.clone()).unwrap_or_default(),
        reason: row.reason.clone(),
        message: row.message.clone(),
    }
}

pub(super) fn revisions(api: &Api, ns: &str, name: &str) -> Result<Response, Problem> {
    read(&api.store, |r| {
        existing(r, ns, name)?;
        let mut rows = objects::revisions(r, &objects::key(ns, name))?;
        rows.sort_by_key(|r| std::cmp::Reverse(r.number));
        let items: Vec<_> = rows
            .into_iter()
            .map(|r| sampan_schema::revision::Revision {
                hash: r.hash,
                number: r.number,
                spec_hash: r.spec_hash,
                sandbox_hash: r.sandbox_hash,
                image: r.image,
                image_digest: r.image_digest,
                created_at: r.created_at,
            })
            .collect();
        Ok(ok(200, &json!({ "items": items })))
    })
}

pub(super) fn restart(
    api: &Api,
    caller: &Caller,
    ns: &str,
    name: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let now = now_ms();
    let request = [b"restart", ns.as_bytes(), name.as_bytes(), body].join(&b'/');
    let (status, answer) = write(&api.store, |tx| {
        once(tx, caller, headers, &request, now, || {
            let o = existing(tx, ns, name)?;
            let state = objects::state(tx, &objects::key(ns, name))?;
            let active = state.is_busy();
            if let Some((id, _)) = state.operation().filter(|_| active) {
                let detail = format!("operation {id} is under way: wait for it");
                return Err(Problem::new(409, "OPERATION_RUNNING", "a release is running", detail)
                    .with("operation_id", id)
                    .into());
            }
            Ok((202, json!({ "operation": start(tx, Cause::Restart, ns, name, o.generation, &o.spec, now)? })))
        })
    })?;
    let _ = api.notes.send(Note::Wake(objects::key(ns, name)));
    Ok(ok(status, &answer))
}

/// Attempts before the newest whose logs are shown too: why an update failed is asked when its containers have made
/// room for those of the revision before.
const EARLIER: u32 = 4;

/// JSON lines `{instance, attempt, time, stream, text}`; with `follow` until the caller leaves.
pub(super) async fn logs(
    api: &Api,
    ns: &str,
    name: &str,
    query: &HashMap<String, String>,
) -> Result<Response, Problem> {
    let rows = read(&api.store, |r| {
        existing(r, ns, name)?;
        Ok(objects::instances(r, &objects::key(ns, name))?)
    })?;
    let only = query.get("instance");
    if let Some(i) = only
        && !rows.iter().any(|r| r.name == *i)
    {
        return Err(not_found("instance", i));
    }
    let follow = query.get("follow").is_some_and(|f| f == "true");
    let tail: usize = query.get("tail").and_then(|t| t.parse().ok()).unwrap_or(100);
    let (send, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(64);
    let (runtime, ns, name, only) = (api.runtime.clone(), ns.to_owned(), name.to_owned(), only.cloned());
    let store = api.store.clone();
    tokio::spawn(async move {
        let mut offsets: BTreeMap<(String, u32), u64> = BTreeMap::new();
        let mut first = true;
        loop {
            let listed = runtime.list().await.unwrap_or_default();
            let mine = listed.iter().filter(|s| s.namespace == ns && s.application == name);
            for s in mine.filter(|s| only.as_ref().is_none_or(|o| *o == s.instance)) {
                let Some(newest) = s.containers.iter().max_by_key(|c| c.attempt) else { continue };
                for attempt in newest.attempt.saturating_sub(EARLIER)..=newest.attempt {
                    let key = (s.instance.clone(), attempt);
                    let known = offsets.get(&key).copied();
                    let q = LogQuery {
                        namespace: ns.clone(),
                        application: name.clone(),
                        instance: s.instance.clone(),
                        container: newest.name.clone(),
                        attempt,
                        offset: known.unwrap_or(0),
                        tail: (first && known.is_none()).then_some(tail),
                        max_bytes: 1 << 20,
                    };
                    let Ok((lines, next)) = runtime.logs(q).await else { continue };
                    for l in lines {
                        let stream = if l.stderr { "stderr" } else { "stdout" };
                        let line = json!({ "instance": s.instance, "attempt": attempt, "time": l.time, "stream": stream, "text": l.text });
                        if send.send(Ok(Bytes::from(format!("{line}\n")))).await.is_err() {
                            return;
                        }
                    }
                    offsets.insert(key, next);
                }
            }
            first = false;
            if !follow || send.is_closed() {
                return;
            }
            let gone = blocking(|| store.read(|r| r.object("application", &ns, &name))).is_ok_and(|o| o.is_none());
            if gone {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receive));
    let mut r = Response::new(body);
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    Ok(r)
}

pub(super) async fn exec(api: &Api, ns: &str, name: &str, body: &Bytes) -> Result<Response, Problem> {
    let asked: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|e| Problem::new(400, "VALIDATION", "body is no JSON object", e.to_string()))?;
    let command: Vec<String> = asked
        .get("command")
        .and_then(|c| serde_json::from_value(c.clone()).ok())
        .filter(|c: &Vec<String>| !c.is_empty())
        .ok_or_else(|| Problem::new(400, "VALIDATION", "no command", "send {\"command\": [\"/bin/sh\", …]}"))?;
    let timeout = asked.get("timeout_seconds").and_then(Value::as_u64).unwrap_or(30).clamp(1, 600);
    let rows = read(&api.store, |r| {
        existing(r, ns, name)?;
        Ok(objects::instances(r, &objects::key(ns, name))?)
    })?;
    let wanted = asked.get("instance").and_then(Value::as_str);
    let row = rows
        .iter()
        .find(|r| wanted.map_or(r.ready_since.is_some(), |w| r.name == w))
        .ok_or_else(|| not_found("instance", wanted.unwrap_or("(any that is ready)")))?;
    let failed = |e: RuntimeError| Problem::new(422, "EXEC_FAILED", "the command did not run", e.to_string());
    let listed = api.runtime.list().await.map_err(failed)?;
    let container = listed
        .iter()
        .filter(|s| s.instance == row.name)
        .flat_map(|s| &s.containers)
        .find(|c| c.state == ContainerState::Running)
        .ok_or_else(|| {
            Problem::new(409, "NOT_RUNNING", "no running container", format!("instance {} runs nothing", row.name))
        })?;
    let out = api.runtime.exec(container.id.clone(), command, timeout).await.map_err(failed)?;
    Ok(ok(
        200,
        &json!({
            "instance": row.name, "exit_code": out.exit_code,
            "stdout": String::from_utf8_lossy(&out.stdout), "stderr": String::from_utf8_lossy(&out.stderr),
        }),
    ))
}

/// The application, or that there is none.
pub(super) fn existing(r: &Reader<'_>, ns: &str, name: &str) -> Result<Object, StoreProblem> {
    let o = r.object("application", ns, name)?;
    o.ok_or_else(|| not_found("application", &objects::key(ns, name)).into())
}
