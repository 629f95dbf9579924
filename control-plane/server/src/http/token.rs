//! Tokens that end by themselves. A token is in the answer that makes it and nowhere else: it is stored as a hash, so
//! there is no `Idempotency-Key` here, whose stored answer would hold it.

use axum::body::Bytes;
use axum::response::Response;
use sampan_schema::problem::Problem;
use sampan_schema::token::{MadeToken, NewToken, Renewal, TokenInfo, ttl};
use sampan_store::Token;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Api;
use super::answer::{not_found, ok, read, write};
use crate::auth::{Caller, Fresh};
use crate::clock::{now_ms, rfc3339};

fn info(t: Token) -> TokenInfo {
    TokenInfo {
        id: t.id,
        name: t.name,
        role: t.role,
        create_time: rfc3339(t.created_at),
        expire_time: t.expires_at.map(rfc3339).unwrap_or_default(),
        made_by: t.made_by.unwrap_or_default(),
    }
}

fn answer(status: u16, body: &impl Serialize) -> Response {
    ok(status, &serde_json::to_value(body).unwrap_or(Value::Null))
}

fn asked<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| wrong(&e.to_string()))
}

fn wrong(detail: &str) -> Problem {
    Problem::new(400, "VALIDATION", "the body does not fit", detail)
}

/// When a token of the caller ends, in milliseconds since the epoch.
fn end(caller: &Caller, ttl_seconds: u64, now: i64) -> Result<i64, Problem> {
    ttl(ttl_seconds).map_err(|e| wrong(&e))?;
    let end = now.saturating_add_unsigned(ttl_seconds.saturating_mul(1000));
    match caller.expires_at {
        // Otherwise whoever holds a token for minutes would have one for ever.
        Some(own) if end > own => {
            let detail = format!("the caller's own token ends at {}: ask for less, or renew that one", rfc3339(own));
            Err(Problem::new(403, "FORBIDDEN", "no token outlives the one that makes it", detail))
        }
        _ => Ok(end),
    }
}

pub(super) fn list(api: &Api) -> Result<Response, Problem> {
    let now = now_ms();
    let living = |t: &Token| t.revoked_at.is_none() && t.expires_at.is_none_or(|end| end > now);
    let all = read(&api.store, |r| Ok(r.tokens()?))?;
    let items: Vec<TokenInfo> = all.into_iter().filter(living).map(info).collect();
    Ok(ok(200, &json!({ "items": items })))
}

pub(super) fn create(api: &Api, caller: &Caller, body: &Bytes) -> Result<Response, Problem> {
    let asked: NewToken = asked(body)?;
    let role = asked.checked().map_err(|e| wrong(&e))?;
    let now = now_ms();
    let end = end(caller, asked.ttl_seconds, now)?;
    let fresh = Fresh::new().map_err(|e| Problem::new(500, "INTERNAL", "no random numbers", e.to_string()))?;
    write(&api.store, |tx| Ok(fresh.add(tx, (&asked.name, role), Some(&caller.token_id), Some(end), now)?))?;
    tracing::info!(id = fresh.id, role = role.word(), made_by = caller.token_id, "token made");
    let info = TokenInfo {
        id: fresh.id,
        name: asked.name,
        role: role.word().into(),
        create_time: rfc3339(now),
        expire_time: rfc3339(end),
        made_by: caller.token_id.clone(),
    };
    Ok(answer(201, &MadeToken { info, token: fresh.token }))
}

pub(super) fn renew(api: &Api, caller: &Caller, id: &str, body: &Bytes) -> Result<Response, Problem> {
    let asked: Renewal = asked(body)?;
    let now = now_ms();
    let end = end(caller, asked.ttl_seconds, now)?;
    let renewed = write(&api.store, |tx| {
        let living = tx.token(id, now)?.ok_or_else(|| not_found("token", id))?;
        if living.expires_at.is_none() {
            return Err(Problem::new(409, "NO_END", "nothing to renew", "this token does not end by itself").into());
        }
        tx.token_extend(id, end, now)?;
        Ok(tx.token(id, now)?.ok_or_else(|| not_found("token", id))?)
    })?;
    Ok(answer(200, &info(renewed)))
}

pub(super) fn revoke(api: &Api, id: &str) -> Result<Response, Problem> {
    let now = now_ms();
    let revoked = write(&api.store, |tx| {
        let known = tx.tokens()?.into_iter().find(|t| t.id == id).ok_or_else(|| not_found("token", id))?;
        if known.made_by.is_none() {
            let detail = "this token belongs to a file of the server: delete the file and start the server again";
            return Err(Problem::new(409, "TOKEN_OF_A_FILE", "not revoked", detail).into());
        }
        tx.token_revoke(id, now)?;
        Ok(known)
    })?;
    tracing::info!(id, "token revoked");
    Ok(answer(200, &info(revoked)))
}
