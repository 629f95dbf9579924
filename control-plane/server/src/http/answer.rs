//! What answers are made of, and how handlers reach the store.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sampan_schema::problem::Problem;
use sampan_store::{Reader, Store, StoreError, Tx};
use serde_json::Value;

pub(super) fn problem(p: &Problem) -> Response {
    let status = StatusCode::from_u16(p.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut r = (status, serde_json::to_vec(p).unwrap_or_default()).into_response();
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if p.status == 401 {
        r.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    r
}

/// A refusal or a fault, out of a transaction.
pub(super) enum StoreProblem {
    Problem(Box<Problem>),
    Store(StoreError),
}

impl From<StoreError> for StoreProblem {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<Problem> for StoreProblem {
    fn from(p: Problem) -> Self {
        Self::Problem(Box::new(p))
    }
}

impl From<StoreProblem> for Problem {
    fn from(e: StoreProblem) -> Self {
        match e {
            StoreProblem::Problem(p) => *p,
            StoreProblem::Store(e) => store_problem(&e),
        }
    }
}

pub(super) fn store_problem(e: &StoreError) -> Problem {
    match e {
        StoreError::Full(_) => Problem::new(
            507,
            "STORAGE_FULL",
            "the server's disk is full",
            "nothing was changed: free space and try again",
        ),
        StoreError::Conflict { current } => mismatch(*current),
        StoreError::NotFound => Problem::new(404, "NOT_FOUND", "not found", "the object is gone"),
        StoreError::Compacted { oldest } => {
            Problem::new(410, "COMPACTED", "change log compacted", "list again and watch from there")
                .with("oldest", *oldest)
        }
        other => {
            // The text may hold paths of the server: it goes to the log, not to the client.
            tracing::error!(error = %other, "store");
            Problem::new(500, "INTERNAL", "internal error", "see the server's log")
        }
    }
}

pub(super) fn mismatch(current: i64) -> Problem {
    let detail = format!("the object has generation {current}: read it again and decide anew");
    Problem::new(412, "GENERATION_MISMATCH", "somebody else changed the object", detail).with("current", current)
}

pub(super) fn not_found(kind: &str, id: &str) -> Problem {
    let detail = format!("{kind} {id:?} does not exist");
    Problem::new(404, "NOT_FOUND", "not found", detail).with("kind", kind).with("id", id)
}

pub(super) fn ok(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut r = (status, serde_json::to_vec(body).unwrap_or_default()).into_response();
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(tag) = body.get("generation").and_then(Value::as_i64)
        && let Ok(v) = HeaderValue::from_str(&format!("\"{tag}\""))
    {
        r.headers_mut().insert(header::ETAG, v);
    }
    r
}

pub(super) use crate::blocking::blocking;

pub(super) fn read<T>(store: &Store, f: impl FnOnce(&Reader<'_>) -> Result<T, StoreProblem>) -> Result<T, Problem> {
    blocking(|| store.read(f)).map_err(Problem::from)
}

pub(super) fn write<T>(store: &Store, f: impl FnOnce(&Tx<'_>) -> Result<T, StoreProblem>) -> Result<T, Problem> {
    blocking(|| store.write(f)).map_err(Problem::from)
}
