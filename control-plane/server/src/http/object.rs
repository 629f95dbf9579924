//! Objects of every kind: list, read, write, delete, dry run.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use sampan_engine::application::Cause;
use sampan_engine::revision;
use sampan_schema::change::{self, Change, Class};
use sampan_schema::operation::Phase;
use sampan_schema::problem::Problem;
use sampan_schema::route::{self, Visibility};
use sampan_schema::{Kind, normalise};
use sampan_store::{NewObject, Object, Reader, StoreError, Tx};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Api;
use super::answer::{StoreProblem, mismatch, not_found, ok, read, write};
use super::idempotency::once;
use super::operation::{start, wake};
use crate::auth::Caller;
use crate::clock::{now_ms, random_hex, rfc3339};
use crate::reconciler::Note;
use crate::{admission, objects, pull_secret, quota};

/// So long a write of a route waits for the gateways; it is written, and follows by itself, if they take longer.
const ROUTES_IN_FORCE: Duration = Duration::from_secs(5);

pub(super) fn get(api: &Api, kind: &Kind, ns: &str, name: &str) -> Result<Response, Problem> {
    read(&api.store, |r| {
        let o = r.object(kind.name, stored_ns(kind, ns), name)?;
        let o = o.ok_or_else(|| not_found(kind.name, &kind.id(ns, name)))?;
        Ok(ok(200, &shown(api, r, &o)?))
    })
}

pub(super) fn list(api: &Api, kind: &Kind, ns: &str, query: &HashMap<String, String>) -> Result<Response, Problem> {
    let limit = query.get("limit").and_then(|l| l.parse().ok()).unwrap_or(100_usize).clamp(1, 500);
    let after = query.get("page_token").map(|t| t.split_once('/').unwrap_or(("", t)));
    read(&api.store, |r| {
        if kind.namespaced && r.object("namespace", "", ns)?.is_none() {
            return Err(not_found("namespace", ns).into());
        }
        let found = r.objects(kind.name, kind.namespaced.then_some(ns), after, limit + 1)?;
        let next = (found.len() > limit).then(|| format!("{}/{}", found[limit - 1].namespace, found[limit - 1].name));
        let items = found.iter().take(limit).map(|o| shown(api, r, o)).collect::<Result<Vec<_>, _>>()?;
        let mut body = json!({ "items": items });
        if let Some(next) = next {
            body["next_page_token"] = next.into();
        }
        Ok(ok(200, &body))
    })
}

pub(super) async fn put(
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
    let expected = Expected {
        absent: text("if-none-match").is_some_and(|v| v.trim() == "*"),
        generation: text("if-match").and_then(|v| v.trim().trim_matches('"').parse().ok()),
        class: text("sampan-expected-change-class").and_then(|w| serde_json::from_value(w.into()).ok()),
    };
    let request = [kind.name.as_bytes(), ns.as_bytes(), name.as_bytes(), body].join(&b'/');
    let (status, shown) = write(&api.store, |tx| {
        once(tx, caller, headers, &request, now, || {
            let old = tx.object(kind.name, sns, name)?;
            store_spec(api, tx, kind, ns, name, &spec, secret.as_ref(), old, &expected, now)
        })
    })?;
    tell(api, kind, ns, name).await;
    if kind.name == "application" && spec.pointer("/idle/mode").is_some_and(|mode| mode == "stop") {
        api.board.rules_changed();
    }
    Ok(ok(status, &shown))
}

pub(super) async fn delete(
    api: &Api,
    kind: &'static Kind,
    ns: &str,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
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
        let waiting = [state.request.take(), state.queued.take().map(|queued| queued.request)];
        let running = state.release.as_ref().map(|r| r.operation.clone());
        for id in waiting.into_iter().flatten().map(|r| r.operation).chain(running) {
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
    tell(api, kind, ns, name).await;
    Ok(match answer {
        Some(body) => ok(202, &body),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

pub(super) async fn dry_run(
    api: &Api,
    kind: &'static Kind,
    ns: &str,
    name: &str,
    body: &Bytes,
) -> Result<Response, Problem> {
    let spec = spec_of(kind, ns, name, body)?;
    let sns = stored_ns(kind, ns);
    let (old, image, classes, unresolved, mut warnings) = read(&api.store, |r| {
        let mut warnings: Vec<String> = Vec::new();
        let old = r.object(kind.name, sns, name)?;
        if let Some(p) = admission::rules(r, kind, ns, name, &spec)? {
            return Err(p.into());
        }
        // The same apply may allow more, or remove others: a write decides.
        if let Some(p) = quota::exceeded(r, kind, ns, name, &spec, old.as_ref())? {
            warnings.extend(p.errors.into_iter().map(|e| format!("{}: {}", e.field_path, e.message)));
        }
        // The policy of an application may be changed by the same apply, and first: a write decides.
        let one = admission::divisible(r, kind, ns, name, &spec)?;
        if let Some(p) = one.clone().filter(|_| kind.name != "application") {
            return Err(p.into());
        }
        // What the same apply creates does not exist yet, so nobody is warned of it; a write refuses it.
        let mut found = admission::references(r, kind, ns, &spec)?.map(|p| p.errors).unwrap_or_default();
        if kind.name == "route" {
            found.extend(admission::hostnames(r, ns, name, &spec)?.into_iter().flat_map(|p| p.errors));
        }
        let (absent, wrong): (Vec<_>, Vec<_>) = found.into_iter().partition(|e| e.rule == admission::ABSENT);
        let unresolved: Vec<_> = absent.into_iter().chain(one.into_iter().flat_map(|p| p.errors)).collect();
        warnings.extend(wrong.into_iter().map(|e| format!("{}: {}", e.field_path, e.message)));
        let image = objects::state(r, &objects::key(ns, name))?.image;
        Ok((old, image, Classes::of(r, ns, name, &spec, &api.default_class)?, unresolved, warnings))
    })?;
    let mut change = old.as_ref().map(|o| change::between(kind, &o.spec, &spec)).unwrap_or_default();
    let mut answer = json!({});
    if kind.name == "application" {
        let class = &classes.wanted;
        let status = api.runtime.classes().into_iter().find(|c| c.class == *class);
        let (available, reason) =
            status.map_or((false, "this server does not know the class".to_owned()), |s| (s.available, s.reason));
        if !available {
            warnings.push(format!(
                "isolation class {class} is not available: {reason}. The application would stay Pending"
            ));
        }
        answer["isolation"] = json!({ "class": class, "available": available, "reason": reason });
        classes.soften(&mut change);
        if let Some(p) = admission::in_place(&spec, &change) {
            return Err(p);
        }
        let wanted = spec.pointer("/container/image").and_then(Value::as_str).unwrap_or_default();
        let never = spec.pointer("/container/image_pull_policy").and_then(Value::as_str) == Some("Never");
        let secret = spec.get("image_pull_secret").and_then(Value::as_str);
        // A secret that the same apply creates says later what it is.
        let known = secret.is_none_or(|_| unresolved.iter().all(|e| e.field_path != "image_pull_secret"));
        if image.as_ref().is_none_or(|i| i.image != wanted) && !never && known {
            let pass = read(&api.store, |r| Ok(pull_secret::pass(r, ns, secret, wanted)))?;
            let found = match pass {
                Ok(pass) => api.registry.resolve(wanted, pass.login.as_ref(), pass.guarded).await,
                Err(e) => Err(e),
            };
            match found {
                Ok(found) => {
                    if image.is_some_and(|i| i.digest == found.digest) {
                        soften(&mut change, "container.image");
                    }
                    answer["resolved_image_digest"] = found.digest.into();
                }
                Err(e) => warnings.push(format!("container.image: {}", e.message)),
            }
        }
    }
    answer["change_class"] = change.class.word().into();
    answer["reasons"] = serde_json::to_value(&change.reasons).unwrap_or_default();
    answer["unresolved"] = serde_json::to_value(unresolved).unwrap_or_default();
    answer["warnings"] = warnings.into();
    Ok(ok(200, &answer))
}

/// The isolation class that a spec would be in force with, and that of the running instances.
pub(super) struct Classes {
    wanted: String,
    current: Option<String>,
}

impl Classes {
    pub(super) fn of(r: &Reader<'_>, ns: &str, name: &str, spec: &Value, default: &str) -> Result<Self, StoreError> {
        let inherited = r.object("namespace", "", ns)?.and_then(|n| n.spec.get("isolation_class").cloned());
        let inherited = inherited.as_ref().and_then(Value::as_str).unwrap_or(default);
        let app = objects::key(ns, name);
        let state = objects::state(r, &app)?;
        let current = objects::revisions(r, &app)?.into_iter().find(|r| state.current.as_ref() == Some(&r.hash));
        let wanted = revision::class_in_force(spec, inherited, current.as_ref());
        Ok(Self { wanted, current: current.map(|r| r.class) })
    }

    /// A class that is named and in force already needs no new sandboxes.
    pub(super) fn soften(&self, change: &mut Change) {
        if self.current.as_ref() == Some(&self.wanted) {
            soften(change, "isolation_class");
        }
    }
}

/// An object as the API shows it: the spec as it was sent, and what the server adds.
fn shown(api: &Api, r: &Reader<'_>, o: &Object) -> Result<Value, StoreError> {
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
    if o.kind == "gray_policy" {
        let used_by: Vec<_> =
            admission::followers(r, &o.namespace, &o.name)?.into_iter().map(|(app, _)| app.name).collect();
        status = json!({ "used_by": used_by });
    }
    if o.kind == "scaling_rule" {
        status = super::scaling::status(api, r, o)?;
    }
    if o.kind == "environment_schedule" {
        status = super::environment_schedule::status(r, o, now_ms())?;
    }
    if o.kind == "route" {
        status = json!({ "urls": urls(&o.spec, api.gateway.port()) });
    }
    v.insert("id".into(), o.id().into());
    v.insert("uid".into(), o.uid.clone().into());
    v.insert("generation".into(), o.generation.into());
    v.insert("create_time".into(), rfc3339(o.create_time).into());
    v.insert("update_time".into(), rfc3339(o.update_time).into());
    v.insert("status".into(), status);
    Ok(Value::Object(v))
}

/// Where the gateway answers: a public route's hosts, at the gateway's port. A wildcard is no place to go to.
fn urls(spec: &Value, port: u16) -> Vec<String> {
    let Ok(route) = sampan_schema::read::<route::Spec>(spec) else { return Vec::new() };
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    let hosts = route.hostnames.iter().filter(|h| route.visibility == Visibility::Public && !h.starts_with("*."));
    hosts.map(|host| format!("http://{host}{port}/")).collect()
}

fn stored_ns<'a>(kind: &Kind, ns: &'a str) -> &'a str {
    if kind.namespaced { ns } else { "" }
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

async fn tell(api: &Api, kind: &Kind, ns: &str, name: &str) {
    if kind.name == "scaling_rule" {
        // The loop that reads the rules wakes whom they are about.
        api.board.rules_changed();
        return;
    }
    let note = match kind.name {
        "environment_schedule" => Note::Schedules,
        "application" => Note::Wake(objects::key(ns, name)),
        "route" => {
            let (told, in_force) = oneshot::channel();
            let _ = api.notes.send(Note::Routes(told));
            // Who has written a route sends requests next.
            let _ = tokio::time::timeout(ROUTES_IN_FORCE, in_force).await;
            return;
        }
        "namespace" => Note::Config(name.to_owned()),
        _ => Note::Config(ns.to_owned()),
    };
    let _ = api.notes.send(note);
}

/// What the caller of a write takes for granted.
struct Expected {
    /// `If-None-Match: *`: there is no such object yet.
    absent: bool,
    /// `If-Match`: the object has this generation.
    generation: Option<i64>,
    /// The change does nothing harsher than this.
    class: Option<Class>,
}

/// One write: preconditions, references, the row, and the operation that follows from the change.
fn store_spec(
    api: &Api,
    tx: &Tx<'_>,
    kind: &'static Kind,
    ns: &str,
    name: &str,
    spec: &Value,
    secret: Option<&Value>,
    old: Option<Object>,
    expected: &Expected,
    now: i64,
) -> Result<(u16, Value), StoreProblem> {
    let sns = stored_ns(kind, ns);
    let id = kind.id(ns, name);
    let refuse = |p: Option<Problem>| p.map_or(Ok(()), |p| Err(StoreProblem::from(p)));
    if let Some(o) = &old {
        if expected.absent {
            let detail = format!("{} {id:?} exists already: import it, or choose another name", kind.name);
            return Err(Problem::new(409, "ALREADY_EXISTS", "exists already", detail).with("id", id).into());
        }
        if o.deleting {
            let detail = format!("{} {id:?} is being deleted: try again when it is gone", kind.name);
            return Err(Problem::new(409, "OPERATION_RUNNING", "being deleted", detail).into());
        }
        match expected.generation {
            None => {
                let detail = "send If-Match with the generation you have read, or If-None-Match: * to create";
                return Err(Problem::new(428, "PRECONDITION_REQUIRED", "precondition required", detail).into());
            }
            Some(g) if g != o.generation => return Err(mismatch(o.generation).into()),
            Some(_) => {}
        }
    } else if !expected.absent {
        return Err(if expected.generation.is_some() {
            not_found(kind.name, &id).into()
        } else {
            let detail = "send If-None-Match: * to create";
            Problem::new(428, "PRECONDITION_REQUIRED", "precondition required", detail).into()
        });
    }
    refuse(admission::references(tx, kind, ns, spec)?)?;
    refuse(admission::divisible(tx, kind, ns, name, spec)?)?;
    refuse(admission::rules(tx, kind, ns, name, spec)?)?;
    refuse(quota::exceeded(tx, kind, ns, name, spec, old.as_ref())?)?;
    if kind.name == "route" {
        refuse(admission::hostnames(tx, ns, name, spec)?)?;
    }
    let change = old.as_ref().map(|o| change::between(kind, &o.spec, spec)).unwrap_or_default();
    if let Some(planned) = expected.class
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
    if kind.name == "application" && old.is_some() {
        let mut real = change.clone();
        Classes::of(tx, ns, name, spec, &api.default_class)?.soften(&mut real);
        refuse(admission::in_place(spec, &real))?;
    }
    let status = computed_status(tx, kind, ns, spec, secret, old.as_ref())?;
    let created = old.is_none();
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
        let cause = match change.class {
            _ if created || retry => Some(Cause::Deploy),
            Class::Scale => Some(Cause::Scale),
            Class::InPlaceRestart | Class::Recreate => Some(Cause::Deploy),
            _ => None,
        };
        if cause.is_none() && !unchanged {
            wake(tx, ns, name, now)?;
        }
        if let Some(cause) = cause {
            if let Some(o) = &old {
                refuse(admission::rejected(tx, o, &objects::state(tx, &objects::key(ns, name))?)?)?;
            }
            let before = old.as_ref().map_or(spec, |o| &o.spec);
            started = Some(start(tx, cause, ns, name, object.generation, before, now)?);
            if !created {
                code = 202;
            }
        } else if let Some(o) = last.filter(|o| !o.phase.is_terminal()) {
            // Nothing new to do, but work is under way: the caller follows that.
            started = Some(serde_json::to_value(o).unwrap_or_default());
        }
    }
    let mut body = shown(api, tx, &object)?;
    if let Some(op) = started {
        body["operation"] = op;
    }
    Ok((code, body))
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
        _ => Value::Null,
    })
}

/// The field says something else and means what is in force already.
fn soften(change: &mut Change, field: &str) {
    for r in change.reasons.iter_mut().filter(|r| r.field == field) {
        r.class = Class::Metadata;
    }
    change.class = change.reasons.iter().map(|r| r.class).max().unwrap_or_default();
}
