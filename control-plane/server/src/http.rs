//! The HTTP API: one dispatcher over the endpoint table. Every kind goes through the same code.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use sampan_engine::revision;
use sampan_engine::runtime::{LogQuery, Runtime};
use sampan_schema::api::{API, Endpoint};
use sampan_schema::change::{self, Change, Class};
use sampan_schema::operation::Phase;
use sampan_schema::problem::Problem;
use sampan_schema::{Kind, normalise};
use sampan_store::{Begin, EventFilter, NewObject, Object, Store, StoreError, StoredAnswer, Tx};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::auth::{self, Caller};
use crate::clock::{now_ms, random_hex, rfc3339};
use crate::reconciler::Note;
use crate::registry::Registry;
use crate::{admission, objects};

/// Largest body of a request.
const BODY_LIMIT: usize = 10 << 20;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    pub store: Store,
    pub runtime: Arc<dyn Runtime>,
    pub registry: Registry,
    pub notes: mpsc::UnboundedSender<Note>,
    pub default_class: String,
    pub gateway_url: String,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
}

/// Router with every endpoint of the table.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for endpoint in API {
        let filter = match endpoint.method {
            "GET" => MethodFilter::GET,
            "PUT" => MethodFilter::PUT,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::POST,
        };
        let handler = move |State(api): State<Api>,
                            Path(path): Path<HashMap<String, String>>,
                            Query(query): Query<HashMap<String, String>>,
                            headers: HeaderMap,
                            body: Body| async move {
            let request_id = random_hex(8).unwrap_or_default();
            let answer = dispatch(&api, endpoint, &path, &query, &headers, body).await;
            let mut response = match answer {
                Ok(r) => r,
                Err(mut p) => {
                    p.request_id.clone_from(&request_id);
                    if p.status >= 500 {
                        tracing::error!(request_id, code = p.code, detail = p.detail, "request failed");
                    }
                    problem(&p)
                }
            };
            if let Ok(v) = HeaderValue::from_str(&request_id) {
                response.headers_mut().insert("x-request-id", v);
            }
            response
        };
        router = router.route(endpoint.path, on(filter, handler));
    }
    router
        .fallback(|method: Method, uri: axum::http::Uri| async move {
            problem(&Problem::new(
                404,
                "NO_ENDPOINT",
                "no such endpoint",
                format!("{method} {} is not in this API", uri.path()),
            ))
        })
        .method_not_allowed_fallback(|| async {
            problem(&Problem::new(405, "METHOD_NOT_ALLOWED", "method not allowed", "see the OpenAPI document"))
        })
        .with_state(api)
}

fn problem(p: &Problem) -> Response {
    let status = StatusCode::from_u16(p.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut r = (status, serde_json::to_vec(p).unwrap_or_default()).into_response();
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if p.status == 401 {
        r.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    r
}

impl From<StoreProblem> for Problem {
    fn from(e: StoreProblem) -> Self {
        match e {
            StoreProblem::Problem(p) => *p,
            StoreProblem::Store(e) => store_problem(&e),
        }
    }
}

/// A refusal or a fault, out of a transaction.
enum StoreProblem {
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

fn store_problem(e: &StoreError) -> Problem {
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

fn mismatch(current: i64) -> Problem {
    let detail = format!("the object has generation {current}: read it again and decide anew");
    Problem::new(412, "GENERATION_MISMATCH", "somebody else changed the object", detail).with("current", current)
}

fn not_found(kind: &str, id: &str) -> Problem {
    let detail = format!("{kind} {id:?} does not exist");
    Problem::new(404, "NOT_FOUND", "not found", detail).with("kind", kind).with("id", id)
}

fn ok(status: u16, body: &Value) -> Response {
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

async fn dispatch(
    api: &Api,
    e: &'static Endpoint,
    path: &HashMap<String, String>,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let caller = auth::caller(&api.store, text("authorization")).map_err(|e| store_problem(&e))?;
    let Some(caller) = caller else {
        let detail = "send a living token as `Authorization: Bearer …`; `sampan dev` writes one to its token_file";
        return Err(Problem::new(401, "UNAUTHENTICATED", "who are you?", detail));
    };
    if !caller.role.may(e.verb) {
        let detail = format!("{} needs the permission {:?}, which a read-only token has not", e.name, e.verb);
        return Err(Problem::new(403, "FORBIDDEN", "not permitted", detail).with("permission", e.name));
    }
    let body = tokio::time::timeout(api.body_timeout, axum::body::to_bytes(body, BODY_LIMIT))
        .await
        .map_err(|_| {
            let detail = format!("the body was not complete after {} s: send it again", api.body_timeout.as_secs());
            Problem::new(408, "REQUEST_TIMEOUT", "body too slow", detail)
        })?
        .map_err(|_| Problem::new(413, "TOO_LARGE", "body too large", "a request has at most 10 MiB"))?;
    let empty = String::new();
    let (ns, name) = (path.get("ns").unwrap_or(&empty), path.get("name").unwrap_or(&empty));
    let kind = sampan_schema::kind(e.kind);
    match (e.name, kind) {
        ("application_instances", _) => instances(api, ns, name),
        ("application_revisions", _) => revisions(api, ns, name),
        ("application_restart", _) => restart(api, &caller, ns, name, headers, &body),
        ("application_logs", _) => logs(api, ns, name, query).await,
        ("application_exec", _) => exec(api, ns, name, &body).await,
        ("operation_get", _) => operation(api, path.get("id").unwrap_or(&empty), query).await,
        ("event_list", _) => events(api, query),
        ("watch", _) => watch(api, query),
        ("server_get", _) => Ok(ok(200, &server(api))),
        ("isolation_class_list", _) => Ok(ok(200, &json!({ "items": api.runtime.classes() }))),
        (n, Some(kind)) if n.ends_with("_list") => list(api, kind, ns, query),
        (n, Some(kind)) if n.ends_with("_get") => get(api, kind, ns, name),
        (n, Some(kind)) if n.ends_with("_put") => put(api, kind, &caller, ns, name, headers, &body),
        (n, Some(kind)) if n.ends_with("_delete") => delete(api, kind, ns, name, headers),
        (n, Some(kind)) if n.ends_with("_dry_run") => dry_run(api, kind, ns, name, &body).await,
        _ => Err(Problem::new(500, "INTERNAL", "no handler", format!("{} has no handler", e.name))),
    }
}

/// Reading and writing the database blocks; the runtime is told so.
fn blocking<T>(f: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(f)
}

fn read<T>(store: &Store, f: impl FnOnce(&sampan_store::Reader<'_>) -> Result<T, StoreProblem>) -> Result<T, Problem> {
    blocking(|| store.read(f)).map_err(Problem::from)
}

fn write<T>(store: &Store, f: impl FnOnce(&Tx<'_>) -> Result<T, StoreProblem>) -> Result<T, Problem> {
    blocking(|| store.write(f)).map_err(Problem::from)
}

/// An object as the API shows it: the spec as it was sent, and what the server adds.
fn shown(r: &sampan_store::Reader<'_>, o: &Object) -> Result<Value, StoreError> {
    let mut v = o.spec.as_object().cloned().unwrap_or_default();
    let mut status = o.status.clone();
    if o.kind == "application" {
        if status.is_null() {
            status = json!({ "phase": "Pending", "observed_generation": 0 });
        }
        if let Some(op) = r.latest_operation("application", &o.namespace, &o.name)? {
            let op = objects::operation(op)?;
            status["last_operation"] = json!({
                "id": op.id, "kind": op.kind, "phase": op.phase, "reason": op.reason, "message": op.message
            });
        }
        if o.deleting {
            status["phase"] = "Deleting".into();
        }
    }
    v.insert("id".into(), o.id().into());
    v.insert("uid".into(), o.uid.clone().into());
    v.insert("generation".into(), o.generation.into());
    v.insert("create_time".into(), rfc3339(o.create_time).into());
    v.insert("update_time".into(), rfc3339(o.update_time).into());
    v.insert("status".into(), status);
    Ok(Value::Object(v))
}

fn stored_ns<'a>(kind: &Kind, ns: &'a str) -> &'a str {
    if kind.namespaced { ns } else { "" }
}

fn get(api: &Api, kind: &Kind, ns: &str, name: &str) -> Result<Response, Problem> {
    read(&api.store, |r| {
        let o = r.object(kind.name, stored_ns(kind, ns), name)?;
        let o = o.ok_or_else(|| not_found(kind.name, &kind.id(ns, name)))?;
        Ok(ok(200, &shown(r, &o)?))
    })
}

fn list(api: &Api, kind: &Kind, ns: &str, query: &HashMap<String, String>) -> Result<Response, Problem> {
    let limit = query.get("limit").and_then(|l| l.parse().ok()).unwrap_or(100_usize).clamp(1, 500);
    let after = query.get("page_token").map(|t| t.split_once('/').unwrap_or(("", t)));
    read(&api.store, |r| {
        if kind.namespaced && r.object("namespace", "", ns)?.is_none() {
            return Err(not_found("namespace", ns).into());
        }
        let found = r.objects(kind.name, kind.namespaced.then_some(ns), after, limit + 1)?;
        let next = (found.len() > limit).then(|| format!("{}/{}", found[limit - 1].namespace, found[limit - 1].name));
        let items = found.iter().take(limit).map(|o| shown(r, o)).collect::<Result<Vec<_>, _>>()?;
        let mut body = json!({ "items": items });
        if let Some(next) = next {
            body["next_page_token"] = next.into();
        }
        Ok(ok(200, &body))
    })
}

/// The body as a spec of the object that the path names.
fn spec_of(kind: &Kind, ns: &str, name: &str, body: &Bytes) -> Result<Value, Problem> {
    let parsed: Value =
        serde_json::from_slice(body).map_err(|e| Problem::new(400, "VALIDATION", "body is no JSON", format!("{e}")))?;
    let Value::Object(mut spec) = parsed else {
        return Err(Problem::new(400, "VALIDATION", "body is no object", "send the spec as a JSON object"));
    };
    let mut places = vec![("name", name)];
    if kind.namespaced {
        places.push(("namespace", ns));
    }
    for (field, value) in places {
        match spec.get(field) {
            None | Some(Value::Null) => {
                spec.insert(field.into(), value.into());
            }
            Some(v) if v == value => {}
            Some(_) => {
                let mut p = Problem::new(
                    422,
                    "IMMUTABLE_FIELD",
                    "name differs from the path",
                    format!("{field} cannot change"),
                );
                p.errors
                    .push(sampan_schema::Violation::new(field, "SMP009", format!("the path says {value:?}")).into());
                return Err(p);
            }
        }
    }
    let spec = Value::Object(spec);
    let found = kind.validate(&spec);
    if !found.is_empty() {
        let detail = found.iter().map(|v| format!("{}: {}", v.field_path, v.message)).collect::<Vec<_>>().join("; ");
        let mut p = Problem::new(400, "VALIDATION", "the spec breaks rules", detail);
        p.errors = found.into_iter().map(Into::into).collect();
        return Err(p);
    }
    Ok(normalise::strip_nulls(&spec))
}

fn put(
    api: &Api,
    kind: &'static Kind,
    caller: &Caller,
    ns: &str,
    name: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let text = |n: &str| headers.get(n).and_then(|v| v.to_str().ok());
    let mut spec = spec_of(kind, ns, name, body)?;
    let (now, sns) = (now_ms(), stored_ns(kind, ns));
    let secret = (kind.name == "secret").then(|| spec.as_object_mut().and_then(|o| o.remove("data_wo"))).flatten();
    let create = text("if-none-match").is_some_and(|v| v.trim() == "*");
    let expect = text("if-match").and_then(|v| v.trim().trim_matches('"').parse::<i64>().ok());
    let planned: Option<Class> =
        text("sampan-expected-change-class").and_then(|w| serde_json::from_value(w.into()).ok());
    let request = [kind.name.as_bytes(), ns.as_bytes(), name.as_bytes(), body].join(&b'/');
    let (status, shown) = write(&api.store, |tx| {
        once(tx, caller, headers, &request, now, || {
            let old = tx.object(kind.name, sns, name)?;
            store_spec(tx, kind, ns, name, &spec, secret.as_ref(), old, (create, expect, planned), now)
        })
    })?;
    tell(api, kind, ns, name);
    Ok(ok(status, &shown))
}

/// Does `work`, but for one `Idempotency-Key` only once: the same request again gets the first answer. A refusal rolls
/// the key back with everything else.
fn once(
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

fn tell(api: &Api, kind: &Kind, ns: &str, name: &str) {
    let note = match kind.name {
        "application" => Note::Wake(objects::key(ns, name)),
        "route" => Note::Routes,
        "namespace" => Note::Config(name.to_owned()),
        _ => Note::Config(ns.to_owned()),
    };
    let _ = api.notes.send(note);
}

/// One write: preconditions, references, the row, and the operation that follows from the change.
fn store_spec(
    tx: &Tx<'_>,
    kind: &'static Kind,
    ns: &str,
    name: &str,
    spec: &Value,
    secret: Option<&Value>,
    old: Option<Object>,
    (create, expect, planned): (bool, Option<i64>, Option<Class>),
    now: i64,
) -> Result<(u16, Value), StoreProblem> {
    let sns = stored_ns(kind, ns);
    let id = kind.id(ns, name);
    let refuse = |p: Option<Problem>| p.map_or(Ok(()), |p| Err(StoreProblem::from(p)));
    if let Some(o) = &old {
        if create {
            let detail = format!("{} {id:?} exists already: import it, or choose another name", kind.name);
            return Err(Problem::new(409, "ALREADY_EXISTS", "exists already", detail).with("id", id).into());
        }
        if o.deleting {
            let detail = format!("{} {id:?} is being deleted: try again when it is gone", kind.name);
            return Err(Problem::new(409, "OPERATION_RUNNING", "being deleted", detail).into());
        }
        match expect {
            None => {
                let detail = "send If-Match with the generation you have read, or If-None-Match: * to create";
                return Err(Problem::new(428, "PRECONDITION_REQUIRED", "precondition required", detail).into());
            }
            Some(g) if g != o.generation => return Err(mismatch(o.generation).into()),
            Some(_) => {}
        }
    } else if !create {
        return Err(if expect.is_some() {
            not_found(kind.name, &id).into()
        } else {
            let detail = "send If-None-Match: * to create";
            Problem::new(428, "PRECONDITION_REQUIRED", "precondition required", detail).into()
        });
    }
    refuse(admission::references(tx, kind, ns, spec)?)?;
    if kind.name == "route" {
        refuse(admission::hostnames(tx, ns, name, spec)?)?;
    }
    let change = old.as_ref().map(|o| change::between(kind, &o.spec, spec)).unwrap_or_default();
    if let Some(planned) = planned
        && change.class > planned
    {
        let fields: Vec<_> = change.reasons.iter().map(|r| r.field.clone()).collect();
        let detail = format!("planned as {}, but it is {} now: plan again", planned.word(), change.class.word());
        let p = Problem::new(409, "PLAN_STALE", "the plan is stale", detail)
            .with("planned_class", planned.word())
            .with("actual_class", change.class.word())
            .with("fields", fields);
        return Err(p.into());
    }
    let status = computed_status(tx, kind, ns, spec, secret, old.as_ref())?;
    let created = old.is_none();
    let app = objects::key(ns, name);
    let unchanged = old.as_ref().is_some_and(|o| o.spec == *spec);
    let object = match &old {
        None => {
            if kind.name == "secret" && secret.is_none() {
                let mut p = Problem::new(400, "VALIDATION", "a new secret needs its data", "send data_wo");
                p.errors
                    .push(sampan_schema::Violation::new("data_wo", "SMP001", "is required to create a secret").into());
                return Err(p.into());
            }
            let uid = random_hex(8).map_err(|e| StoreError::Other(e.to_string()))?;
            let new = NewObject {
                kind: kind.name.into(),
                namespace: sns.into(),
                name: name.into(),
                uid,
                spec: spec.clone(),
                private: secret.cloned().unwrap_or(Value::Null),
                status,
            };
            tx.insert_object(new, now)?
        }
        Some(o) if unchanged && secret.is_none() => o.clone(),
        Some(o) => {
            if let Some(data) = secret {
                tx.set_private(kind.name, sns, name, data, now)?;
            }
            let o = tx.update_spec(kind.name, sns, name, o.generation, spec.clone(), now)?;
            if kind.name != "application" {
                tx.set_status(kind.name, sns, name, &status, now)?;
            }
            tx.object(kind.name, sns, name)?.unwrap_or(o)
        }
    };
    let mut code = if created { 201 } else { 200 };
    let mut started = None;
    if kind.name == "application" {
        let last = tx.latest_operation("application", ns, name)?.map(objects::operation).transpose()?;
        // Any write of an application whose last release failed is a new try.
        let retry =
            last.as_ref().is_some_and(|o| matches!(o.phase, Phase::Failed | Phase::Aborted | Phase::RolledBack));
        let what = match change.class {
            _ if created || retry => Some("deploy"),
            Class::Scale => Some("scale"),
            Class::InPlaceRestart | Class::Recreate => Some("deploy"),
            _ => None,
        };
        if let Some(what) = what {
            started = Some(start(tx, what, ns, name, object.generation, false, now)?);
            if !created {
                code = 202;
            }
        } else if let Some(o) = last.filter(|o| !o.phase.is_terminal()) {
            // Nothing new to do, but work is under way: the caller follows that.
            started = Some(serde_json::to_value(o).unwrap_or_default());
        }
        let _ = app;
    }
    let mut body = shown(tx, &object)?;
    if let Some(op) = started {
        body["operation"] = op;
    }
    Ok((code, body))
}

/// A new operation, and the request that the reconciler takes it from.
fn start(
    tx: &Tx<'_>,
    what: &str,
    ns: &str,
    name: &str,
    generation: i64,
    restart: bool,
    now: i64,
) -> Result<Value, StoreError> {
    let id = random_hex(12).map_err(|e| StoreError::Other(e.to_string()))?;
    let op = objects::new_operation(tx, &id, what, ("application", ns, name), generation, now)?;
    let app = objects::key(ns, name);
    let mut state = objects::state(tx, &app)?;
    if let Some(waiting) = state.request.take() {
        let text = format!("operation {id} took over");
        objects::move_operation(tx, &waiting.operation, Phase::Superseded, "Superseded", &text, None, now)?;
    }
    state.request = Some(sampan_engine::application::Request { operation: id, generation, restart });
    objects::put_state(tx, &app, &state)?;
    serde_json::to_value(op).map_err(|e| StoreError::Other(e.to_string()))
}

/// Status of kinds that the reconciler does not look after.
fn computed_status(
    tx: &Tx<'_>,
    kind: &Kind,
    ns: &str,
    spec: &Value,
    secret: Option<&Value>,
    old: Option<&Object>,
) -> Result<Value, StoreError> {
    Ok(match kind.name {
        "namespace" => json!({ "phase": "Active" }),
        "config_map" => json!({ "content_hash": sampan_schema::content_hash(&spec.get("data")) }),
        "secret" => {
            let data = match (secret, old) {
                (Some(d), _) => d.clone(),
                (None, Some(o)) => tx.object_private("secret", ns, &o.name)?.unwrap_or_default(),
                (None, None) => Value::Null,
            };
            let mut keys: Vec<String> = data.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default();
            keys.sort();
            json!({ "keys": keys })
        }
        "route" => {
            let mut hosts: Vec<String> = spec
                .get("hostnames")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|h| Some(format!("http://{}/", h.as_str()?)))
                .collect();
            hosts.sort();
            json!({ "urls": hosts })
        }
        _ => Value::Null,
    })
}

fn delete(api: &Api, kind: &'static Kind, ns: &str, name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let sns = stored_ns(kind, ns);
    let now = now_ms();
    let expect = headers.get("if-match").and_then(|v| v.to_str().ok()).map(|v| v.trim().trim_matches('"').to_owned());
    let answer = write(&api.store, |tx| {
        let Some(o) = tx.object(kind.name, sns, name)? else {
            return Err(not_found(kind.name, &kind.id(ns, name)).into());
        };
        match expect.as_deref() {
            None => {
                let detail = "send If-Match with the generation you have read, or If-Match: *";
                return Err(Problem::new(428, "PRECONDITION_REQUIRED", "precondition required", detail).into());
            }
            Some("*") => {}
            Some(g) if g.parse() == Ok(o.generation) => {}
            Some(_) => return Err(mismatch(o.generation).into()),
        }
        if o.deleting {
            let running = tx.latest_operation(kind.name, sns, name)?.map(objects::operation).transpose()?;
            return Ok(Some(json!({ "operation": running })));
        }
        if let Some(p) = admission::users(tx, &o)? {
            return Err(p.into());
        }
        if kind.name != "application" {
            tx.remove_object(kind.name, sns, name, now)?;
            return Ok(None);
        }
        tx.mark_deleting(kind.name, sns, name, now)?;
        let app = objects::key(ns, name);
        let mut state = objects::state(tx, &app)?;
        for id in [state.request.take().map(|r| r.operation), state.release.as_ref().map(|r| r.operation.clone())]
            .into_iter()
            .flatten()
        {
            objects::move_operation(
                tx,
                &id,
                Phase::Superseded,
                "Deleted",
                "the application is being deleted",
                None,
                now,
            )?;
        }
        objects::put_state(tx, &app, &state)?;
        let id = random_hex(12).map_err(|e| StoreError::Other(e.to_string()))?;
        let op = objects::new_operation(tx, &id, "delete", ("application", ns, name), o.generation, now)?;
        Ok(Some(json!({ "operation": op })))
    })?;
    tell(api, kind, ns, name);
    Ok(match answer {
        Some(body) => ok(202, &body),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

async fn dry_run(api: &Api, kind: &'static Kind, ns: &str, name: &str, body: &Bytes) -> Result<Response, Problem> {
    let spec = spec_of(kind, ns, name, body)?;
    let sns = stored_ns(kind, ns);
    let (old, image, class, current, unresolved, mut warnings) = read(&api.store, |r| {
        let mut warnings: Vec<String> = Vec::new();
        let old = r.object(kind.name, sns, name)?;
        // What the same apply creates does not exist yet, so nobody is warned of it; a write refuses it.
        let found = admission::references(r, kind, ns, &spec)?.map(|p| p.errors).unwrap_or_default();
        let (absent, wrong): (Vec<_>, Vec<_>) = found.into_iter().partition(|e| e.rule == admission::ABSENT);
        let unresolved: Vec<_> = absent.into_iter().map(|e| format!("{}: {}", e.field_path, e.message)).collect();
        warnings.extend(wrong.into_iter().map(|e| format!("{}: {}", e.field_path, e.message)));
        if kind.name == "route"
            && let Some(p) = admission::hostnames(r, ns, name, &spec)?
        {
            warnings.push(p.detail);
        }
        let inherited = r.object("namespace", "", ns)?.and_then(|n| n.spec.get("isolation_class").cloned());
        let inherited = inherited.as_ref().and_then(Value::as_str).unwrap_or(&api.default_class);
        let app = objects::key(ns, name);
        let state = objects::state(r, &app)?;
        let current = objects::revisions(r, &app)?.into_iter().find(|r| state.current.as_ref() == Some(&r.hash));
        let class = revision::class_in_force(&spec, inherited, current.as_ref());
        Ok((old, state.image, class, current.map(|r| r.class), unresolved, warnings))
    })?;
    let mut change = old.as_ref().map(|o| change::between(kind, &o.spec, &spec)).unwrap_or_default();
    let mut answer = json!({});
    if kind.name == "application" {
        let status = api.runtime.classes().into_iter().find(|c| c.class == class);
        let (available, reason) =
            status.map_or((false, "this server does not know the class".to_owned()), |s| (s.available, s.reason));
        if !available {
            warnings.push(format!(
                "isolation class {class} is not available: {reason}. The application would stay Pending"
            ));
        }
        answer["isolation"] = json!({ "class": class, "available": available, "reason": reason });
        if current.as_ref() == Some(&class) {
            soften(&mut change, "isolation_class");
        }
        let wanted = spec.pointer("/container/image").and_then(Value::as_str).unwrap_or_default();
        let never = spec.pointer("/container/image_pull_policy").and_then(Value::as_str) == Some("Never");
        if image.as_ref().is_none_or(|i| i.image != wanted) && !never {
            match api.registry.resolve(wanted).await {
                Ok((digest, _)) => {
                    if image.is_some_and(|i| i.digest == digest) {
                        soften(&mut change, "container.image");
                    }
                    answer["resolved_image_digest"] = digest.into();
                }
                Err(e) => warnings.push(format!("container.image: {}", e.message)),
            }
        }
    }
    answer["change_class"] = change.class.word().into();
    answer["reasons"] = serde_json::to_value(&change.reasons).unwrap_or_default();
    answer["unresolved"] = unresolved.into();
    answer["warnings"] = warnings.into();
    Ok(ok(200, &answer))
}

/// The field says something else and means what is in force already.
fn soften(change: &mut Change, field: &str) {
    for r in change.reasons.iter_mut().filter(|r| r.field == field) {
        r.class = Class::Metadata;
    }
    change.class = change.reasons.iter().map(|r| r.class).max().unwrap_or_default();
}

fn existing(r: &sampan_store::Reader<'_>, ns: &str, name: &str) -> Result<Object, StoreProblem> {
    let o = r.object("application", ns, name)?;
    o.ok_or_else(|| not_found("application", &objects::key(ns, name)).into())
}

fn instances(api: &Api, ns: &str, name: &str) -> Result<Response, Problem> {
    // The row is the intent; ids are those of the newest list.
    read(&api.store, |r| {
        existing(r, ns, name)?;
        let mut rows = objects::instances(r, &objects::key(ns, name))?;
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    })
    .map(|rows| (rows, api.runtime.clone()))
    .map(|(rows, runtime)| {
        let listed = blocking(|| tokio::runtime::Handle::current().block_on(runtime.list())).unwrap_or_default();
        let items: Vec<_> = rows
            .iter()
            .map(|i| {
                let sandbox = listed.iter().find(|s| s.instance == i.name && s.generation == i.sandbox.generation);
                let running = sandbox.and_then(|s| {
                    let is = |c: &&sampan_engine::runtime::ObservedContainer| {
                        c.state == sampan_engine::runtime::ContainerState::Running
                    };
                    s.containers.iter().find(is).or_else(|| s.containers.iter().max_by_key(|c| c.attempt))
                });
                sampan_schema::instance::Instance {
                    name: i.name.clone(),
                    sandbox_id: sandbox.map(|s| s.id.clone()).unwrap_or_default(),
                    container_id: running.map(|c| c.id.clone()).unwrap_or_default(),
                    ip: sandbox.and_then(|s| s.ip).map(|ip| ip.to_string()).unwrap_or_default(),
                    node: runtime.node(),
                    revision: running.map_or_else(|| i.revision.clone(), |c| c.revision.clone()),
                    phase: i.phase.word().into(),
                    ready: i.ready_since.is_some() && !i.terminating,
                    attempt: running.map_or(i.attempt, |c| c.attempt),
                    restarts: i.restarts,
                    isolation_class: i.sandbox.class.clone(),
                    isolation_verified: i.isolation.as_ref().and_then(|x| x.verified),
                    isolation_evidence: i.isolation.as_ref().map(|x| x.evidence.clone()).unwrap_or_default(),
                    reason: i.reason.clone(),
                    message: i.message.clone(),
                }
            })
            .collect();
        ok(200, &json!({ "items": items }))
    })
}

fn revisions(api: &Api, ns: &str, name: &str) -> Result<Response, Problem> {
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

fn restart(
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
            let active = state.request.is_some() || state.release.as_ref().is_some_and(|r| r.is_active());
            if let Some((id, _)) = state.operation().filter(|_| active) {
                let detail = format!("operation {id} is under way: wait for it");
                return Err(Problem::new(409, "OPERATION_RUNNING", "a release is running", detail)
                    .with("operation_id", id)
                    .into());
            }
            Ok((202, json!({ "operation": start(tx, "restart", ns, name, o.generation, true, now)? })))
        })
    })?;
    let _ = api.notes.send(Note::Wake(objects::key(ns, name)));
    Ok(ok(status, &answer))
}

async fn operation(api: &Api, id: &str, query: &HashMap<String, String>) -> Result<Response, Problem> {
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

fn events(api: &Api, query: &HashMap<String, String>) -> Result<Response, Problem> {
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
fn watch(api: &Api, query: &HashMap<String, String>) -> Result<Response, Problem> {
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

fn server(api: &Api) -> Value {
    json!({
        "name": "sampan", "version": env!("CARGO_PKG_VERSION"), "api_version": sampan_schema::API_VERSION,
        "node": api.runtime.node(), "default_isolation_class": api.default_class, "gateway": api.gateway_url,
        "isolation_classes": api.runtime.classes(),
    })
}

/// JSON lines `{instance, attempt, time, stream, text}`; with `follow` until the caller leaves.
async fn logs(api: &Api, ns: &str, name: &str, query: &HashMap<String, String>) -> Result<Response, Problem> {
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
                for c in &s.containers {
                    let key = (s.instance.clone(), c.attempt);
                    let known = offsets.get(&key).copied();
                    let q = LogQuery {
                        namespace: ns.clone(),
                        application: name.clone(),
                        instance: s.instance.clone(),
                        container: c.name.clone(),
                        attempt: c.attempt,
                        offset: known.unwrap_or(0),
                        tail: (first && known.is_none()).then_some(tail),
                        max_bytes: 1 << 20,
                    };
                    let Ok((lines, next)) = runtime.logs(q).await else { continue };
                    for l in lines {
                        let stream = if l.stderr { "stderr" } else { "stdout" };
                        let line = json!({ "instance": s.instance, "attempt": c.attempt, "time": l.time, "stream": stream, "text": l.text });
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

async fn exec(api: &Api, ns: &str, name: &str, body: &Bytes) -> Result<Response, Problem> {
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
    let failed = |e: sampan_engine::runtime::RuntimeError| {
        Problem::new(422, "EXEC_FAILED", "the command did not run", e.to_string())
    };
    let listed = api.runtime.list().await.map_err(failed)?;
    let container = listed
        .iter()
        .filter(|s| s.instance == row.name)
        .flat_map(|s| &s.containers)
        .find(|c| c.state == sampan_engine::runtime::ContainerState::Running)
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
