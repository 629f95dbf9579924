//! `Idempotency-Key`: one effect for one key.

use axum::http::HeaderMap;
use sampan_schema::problem::Problem;
use sampan_store::{Begin, StoredAnswer, Tx};
use serde_json::Value;

use super::answer::StoreProblem;
use crate::auth::Caller;

/// Does `work`, but for one `Idempotency-Key` only once: the same request again gets the first answer. A refusal rolls
/// the key back with everything else.
pub(super) fn once(
    tx: &Tx<'_>,
    caller: &Caller,
    headers: &HeaderMap,
    request: &[u8],
    now: i64,
    work: impl FnOnce() -> Result<(u16, Value), StoreProblem>,
) -> Result<(u16, Value), StoreProblem> {
    use sha2::{Digest, Sha256};
    let Some(key) = headers.get("idempotency-key").and_then(|v| v.to_str().ok()) else { return work() };
    match tx.idempotency_begin(&caller.token_id, key, &Sha256::digest(request), now)? {
        Begin::Fresh => {}
        Begin::Replay(a) => return Ok((a.status, serde_json::from_slice(&a.body).unwrap_or(Value::Null))),
        Begin::Mismatch => {
            let detail = "this Idempotency-Key was used for another request: make a new key";
            return Err(Problem::new(422, "IDEMPOTENCY_KEY_REUSED", "key reused", detail).into());
        }
        Begin::InFlight => {
            let detail = "the same request is under way: ask again";
            return Err(Problem::new(409, "OPERATION_RUNNING", "request under way", detail).into());
        }
    }
    let (status, body) = work()?;
    let stored = StoredAnswer { status, headers: Vec::new(), body: serde_json::to_vec(&body).unwrap_or_default() };
    tx.idempotency_finish(&caller.token_id, key, &stored)?;
    Ok((status, body))
}
