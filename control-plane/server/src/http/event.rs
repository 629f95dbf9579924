//! Events for people, and the change log for programs.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use sampan_schema::problem::Problem;
use sampan_store::EventFilter;
use serde_json::json;
use tokio::sync::mpsc;

use super::Api;
use super::answer::{blocking, ok, read, store_problem};

pub(super) fn list(api: &Api, query: &HashMap<String, String>) -> Result<Response, Problem> {
    let filter = EventFilter {
        kind: query.get("kind").cloned(),
        namespace: query.get("namespace").cloned(),
        name: query.get("name").cloned(),
        ..EventFilter::default()
    };
    let since = query.get("since").and_then(|s| s.parse().ok()).unwrap_or(0);
    let limit = query.get("limit").and_then(|s| s.parse().ok()).unwrap_or(1000_usize).min(1000);
    let found = read(&api.store, |r| Ok(r.events(&filter, since, limit)?))?;
    let items: Vec<_> = found
        .iter()
        .map(|e| {
            json!({ "seq": e.seq, "at": e.last_at, "kind": e.kind, "namespace": e.namespace, "name": e.name,
                    "type": e.event_type, "reason": e.reason, "message": e.message, "count": e.count })
        })
        .collect();
    Ok(ok(200, &json!({ "items": items })))
}

/// Server-sent events of the change log, without gap.
pub(super) fn watch(api: &Api, query: &HashMap<String, String>) -> Result<Response, Problem> {
    let newest = read(&api.store, |r| Ok(r.revision()?))?;
    let since: i64 = query.get("since").and_then(|s| s.parse().ok()).unwrap_or(newest);
    read(&api.store, |r| Ok(r.changes_since(since, 1)?))?;
    let store = api.store.clone();
    let (send, receive) = mpsc::channel::<Result<Bytes, std::io::Error>>(16);
    tokio::spawn(async move {
        let mut at = since;
        let mut changes = store.subscribe();
        loop {
            changes.borrow_and_update();
            let batch = match blocking(|| store.read(|r| r.changes_since(at, 500))) {
                Ok(b) => b,
                Err(e) => {
                    let p = serde_json::to_string(&store_problem(&e)).unwrap_or_default();
                    let _ = send.send(Ok(Bytes::from(format!("event: error\ndata: {p}\n\n")))).await;
                    return;
                }
            };
            let drained = batch.is_empty();
            for c in batch {
                at = c.rev;
                let data = serde_json::to_string(&c).unwrap_or_default();
                if send.send(Ok(Bytes::from(format!("id: {}\ndata: {data}\n\n", c.rev)))).await.is_err() {
                    return;
                }
            }
            if drained {
                match tokio::time::timeout(Duration::from_secs(15), changes.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    // A comment keeps the connection alive, and tells us when it is not.
                    Err(_) => {
                        if send.send(Ok(Bytes::from_static(b": idle\n\n"))).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    });
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receive));
    let mut r = Response::new(body);
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(r)
}
