//! Releases: how far one is, the verbs on it, and the way back to an earlier revision.

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use sampan_engine::application::{Cause, ReleasePhase, ResolvedImage, State, Verb};
use sampan_engine::revision::Revision;
use sampan_schema::problem::Problem;
use sampan_schema::rollout::Rollout;
use sampan_schema::{APPLICATION, change};
use sampan_store::{Object, Reader, Tx};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Api;
use super::answer::{StoreProblem, not_found, ok, read, write};
use super::application::existing;
use super::idempotency::once;
use super::object::Classes;
use super::operation::start;
use crate::auth::Caller;
use crate::clock::now_ms;
use crate::reconciler::Note;
use crate::{admission, objects};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Promote {
    /// To the end, not to the next step.
    full: bool,
    /// The step that is left.
    step: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rollback {
    /// Number of the revision; null means the one before.
    to_revision: Option<u64>,
}

/// What a verb was sent with; no body is an empty one.
fn asked<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    let wrong = |e: serde_json::Error| Problem::new(400, "VALIDATION", "the body does not fit", e.to_string());
    serde_json::from_slice(body).map_err(wrong)
}

/// What a caller reads. What waits for the reconciler counts already: nobody who has just started a release is told that
/// the one before is over, and nobody who has just promoted one that it stands still.
fn shown(state: &State) -> Value {
    let active = state.release.as_ref().is_some_and(|r| r.is_active());
    let queued = state.queued.as_ref().map(|queued| &queued.request);
    let waiting = state.request.as_ref().filter(|r| r.cause != Cause::Scale).or(queued.filter(|_| !active));
    let mut rollout = waiting.map_or_else(
        || state.rollout.clone(),
        |request| Rollout {
            phase: "Updating".into(),
            operation: request.operation.clone(),
            stable_revision: state.current.clone().unwrap_or_default(),
            message: "about to begin".into(),
            ..Rollout::default()
        },
    );
    if let Some((phase, message)) = about_to(state) {
        (rollout.phase, rollout.reason, rollout.message) = (phase.into(), String::new(), message.into());
    }
    if rollout.phase.is_empty() {
        rollout.phase = "None".into();
    }
    rollout.queued = queued.map_or_else(String::new, |r| r.operation.clone());
    serde_json::to_value(rollout).unwrap_or_default()
}

/// Phase and message of a pause that a verb is about to end.
pub(super) fn about_to(state: &State) -> Option<(&'static str, &'static str)> {
    match state.verb.filter(|_| state.request.is_none() && state.rollout.is_paused())? {
        Verb::Promote { .. } | Verb::Resume => Some(("Updating", "about to go on")),
        Verb::Abort => Some(("RollingBack", "about to go back")),
        Verb::Pause => None,
    }
}

pub(super) fn get(api: &Api, ns: &str, name: &str) -> Result<Response, Problem> {
    read(&api.store, |r| {
        existing(r, ns, name)?;
        Ok(ok(200, &shown(&objects::state(r, &objects::key(ns, name))?)))
    })
}

pub(super) fn promote(
    api: &Api,
    caller: &Caller,
    ns: &str,
    name: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let Promote { full, step } = asked(body)?;
    send(api, caller, Verb::Promote { full }, step, (ns, name), headers, body)
}

pub(super) fn verb(
    api: &Api,
    caller: &Caller,
    verb: Verb,
    ns: &str,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    send(api, caller, verb, None, (ns, name), headers, &[])
}

/// Leaves the verb for the reconciler: 202. 200 when there is nothing to do.
fn send(
    api: &Api,
    caller: &Caller,
    verb: Verb,
    step: Option<u32>,
    (ns, name): (&str, &str),
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let now = now_ms();
    let request = [format!("{verb:?}").as_bytes(), ns.as_bytes(), name.as_bytes(), body].join(&b'/');
    let (status, answer) =
        write(&api.store, |tx| once(tx, caller, headers, &request, now, || take(tx, ns, name, verb, step)))?;
    let _ = api.notes.send(Note::Wake(objects::key(ns, name)));
    Ok(ok(status, &answer))
}

fn take(tx: &Tx<'_>, ns: &str, name: &str, verb: Verb, step: Option<u32>) -> Result<(u16, Value), StoreProblem> {
    let o = existing(tx, ns, name)?;
    let app = objects::key(ns, name);
    let mut state = objects::state(tx, &app)?;
    if step.is_some_and(|step| is_passed(&state, step)) {
        return Ok((200, shown(&state)));
    }
    if let Some(refusal) = state.refuse(verb) {
        return Err(refused(tx, &o, &state, refusal.code, &refusal.message)?.into());
    }
    if let Some(step) = step.filter(|step| *step > state.rollout.step) {
        let text = format!("the release is at step {}, not yet at {step}", state.rollout.step);
        return Err(refused(tx, &o, &state, "STEP_NOT_REACHED", &text)?.into());
    }
    if state.is_obeyed(verb) {
        return Ok((200, shown(&state)));
    }
    // How it stood: a caller says from where it goes on.
    let found = shown(&state);
    state.verb = Some(verb);
    objects::put_state(tx, &app, &state)?;
    Ok((202, found))
}

/// The release has left the step, or has ended well.
fn is_passed(state: &State, step: u32) -> bool {
    let Rollout { phase, step: now, total_steps, .. } = &state.rollout;
    // A newer one, which waits to begin, has passed nothing.
    state.request.is_none() && (phase == "Succeeded" || phase == "Promoting" && step <= *total_steps || *now > step)
}

fn refused(r: &Reader<'_>, o: &Object, state: &State, code: &str, message: &str) -> Result<Problem, StoreProblem> {
    let newest = r.latest_operation("application", &o.namespace, &o.name)?.map(|op| op.id);
    let id = state.operation().map(|(id, _)| id.to_owned()).filter(|id| !id.is_empty()).or(newest);
    let detail = format!("application {}: {message}", o.id());
    let p = Problem::new(409, code, "the release does not take this", detail);
    Ok(match id {
        Some(id) => p.with("operation_id", id),
        None => p,
    })
}

/// Writes what restarts or recreates, as the revision has it, into the spec, and starts the operation. The image is
/// pinned to the revision's digest: a tag that has moved since does not count.
pub(super) fn rollback(
    api: &Api,
    caller: &Caller,
    ns: &str,
    name: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let Rollback { to_revision } = asked(body)?;
    let now = now_ms();
    let request = [b"rollback", ns.as_bytes(), name.as_bytes(), body].join(&b'/');
    let (status, answer) = write(&api.store, |tx| {
        once(tx, caller, headers, &request, now, || {
            let operation = go_back(tx, ns, name, to_revision, &api.default_class, now)?;
            Ok((202, json!({ "operation": operation })))
        })
    })?;
    let _ = api.notes.send(Note::Wake(objects::key(ns, name)));
    Ok(ok(status, &answer))
}

fn go_back(
    tx: &Tx<'_>,
    ns: &str,
    name: &str,
    to: Option<u64>,
    default_class: &str,
    now: i64,
) -> Result<Value, StoreProblem> {
    let o = existing(tx, ns, name)?;
    let state = objects::state(tx, &objects::key(ns, name))?;
    may_go_back(tx, &o, &state)?;
    let target = target(tx, &o, &state, to)?;
    let in_force = state.in_force(&o.spec);
    let near = is_near(&state, &target.hash, admission::rollback_window(tx, ns, &in_force)?);
    // The way back ends what is under way. What waits for that begins afterwards, with the spec as it is written.
    let leaves = near && state.queued.is_some();
    let from = if leaves { &in_force } else { &o.spec };
    let spec = change::restore(&APPLICATION, from, &target.template);
    may_be_written(tx, &o, from, &spec, default_class)?;
    let generation = if leaves || spec == o.spec {
        o.generation
    } else {
        tx.update_spec(&o.kind, ns, name, o.generation, spec.clone(), now)?.generation
    };
    let cause = if near { Cause::Rollback } else { Cause::Deploy };
    let operation = start(tx, cause, ns, name, generation, &o.spec, now)?;
    pin(tx, &o, &spec, &target, &operation)?;
    Ok(operation)
}

/// Whether a revision is one of the last `window` that were released well before the one in force, or that one itself.
/// Then going back to it needs no steps.
fn is_near(state: &State, hash: &str, window: usize) -> bool {
    let before = state.succeeded.iter().rev().filter(|h| Some(*h) != state.current.as_ref());
    state.current.as_deref() == Some(hash) || before.take(window).any(|h| h == hash)
}

fn may_go_back(tx: &Tx<'_>, o: &Object, state: &State) -> Result<(), StoreProblem> {
    if o.deleting {
        return Err(refused(tx, o, state, "OPERATION_RUNNING", "it is being deleted")?.into());
    }
    let waiting = state.request.as_ref().is_some_and(|r| r.cause == Cause::Rollback);
    let active = state.release.as_ref().filter(|r| r.is_active() && state.request.is_none());
    if waiting || active.is_some_and(|r| r.phase == ReleasePhase::RollingBack || r.cause == Cause::Rollback) {
        return Err(refused(tx, o, state, "OPERATION_RUNNING", "it is on its way back already: wait for that")?.into());
    }
    admission::rejected(tx, o, state)?.map_or(Ok(()), |p| Err(p.into()))
}

/// The revision that is named; without a name the last one that was released well, or, when that is the one in force,
/// the one before it.
fn target(r: &Reader<'_>, o: &Object, state: &State, number: Option<u64>) -> Result<Revision, StoreProblem> {
    let mut rows = objects::revisions(r, &objects::key(&o.namespace, &o.name))?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.number));
    if let Some(number) = number {
        let found = rows.into_iter().find(|row| row.number == number);
        return found.ok_or_else(|| not_found("revision", &format!("{} {number}", o.id())).into());
    }
    let current = rows.iter().find(|row| state.current.as_ref() == Some(&row.hash)).cloned();
    let before = |current: &Revision| {
        let mut well = state.succeeded.iter().rev().filter(|hash| **hash != current.hash);
        well.find_map(|hash| rows.iter().find(|row| row.hash == *hash)).cloned()
    };
    let elsewhere = state.request.is_some()
        || state
            .release
            .as_ref()
            .is_some_and(|r| r.phase != ReleasePhase::Succeeded && Some(&r.to) != state.current.as_ref());
    let found = match current {
        Some(current) if elsewhere => Some(current),
        Some(current) => before(&current),
        None => None,
    };
    found.ok_or_else(|| {
        let detail = format!("application {} has no revision before the one in force: see its revisions", o.id());
        Problem::new(422, "NO_EARLIER_REVISION", "nothing to go back to", detail).into()
    })
}

/// The same rules as for a write, for what an old template and a new remainder make together.
fn may_be_written(
    tx: &Tx<'_>,
    o: &Object,
    from: &Value,
    spec: &Value,
    default_class: &str,
) -> Result<(), StoreProblem> {
    let (ns, name) = (&o.namespace, &o.name);
    let broken = APPLICATION.validate(spec);
    if !broken.is_empty() {
        let text: Vec<_> = broken.iter().map(|v| format!("{}: {}", v.field_path, v.message)).collect();
        let mut p = Problem::new(422, "VALIDATION", "that revision does not fit the present spec", text.join("; "));
        p.errors = broken.into_iter().map(Into::into).collect();
        return Err(p.into());
    }
    let mut real = change::between(&APPLICATION, from, spec);
    Classes::of(tx, ns, name, spec, default_class)?.soften(&mut real);
    let problem = match admission::references(tx, &APPLICATION, ns, spec)? {
        None => admission::in_place(spec, &real),
        found => found,
    };
    problem.map_or(Ok(()), |p| Err(p.into()))
}

fn pin(tx: &Tx<'_>, o: &Object, spec: &Value, to: &Revision, operation: &Value) -> Result<(), StoreProblem> {
    let app = objects::key(&o.namespace, &o.name);
    let text = |v: Option<&Value>| v.and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut state = objects::state(tx, &app)?;
    let operation = text(operation.get("id"));
    let image = ResolvedImage {
        image: text(spec.pointer("/container/image")),
        digest: to.image_digest.clone(),
        pull_reference: to.pull_reference.clone(),
        operation: operation.clone(),
    };
    state.go_back(&operation, &to.template, image);
    Ok(objects::put_state(tx, &app, &state)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end at once")]

    use sampan_engine::application::{Release, Request};
    use sampan_engine::revision::{self, Inputs};
    use sampan_store::{NewObject, Store, StoreError};

    use super::*;

    const STEP: Verb = Verb::Promote { full: false };

    fn spec(tag: &str) -> Value {
        json!({
            "namespace": "shop", "name": "cart", "replicas": 2, "resources": { "cpu": "100m", "memory": "64Mi" },
            "container": { "image": format!("r.example.com/cart:{tag}") },
        })
    }

    /// A store with one application, of which nothing decides anything.
    fn store(spec: &Value, state: &State) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("s.db")).unwrap();
        let object = |kind: &str, namespace: &str, name: &str, spec: &Value| NewObject {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            uid: name.into(),
            spec: spec.clone(),
            private: Value::Null,
            status: Value::Null,
        };
        store
            .write(|tx| {
                tx.insert_object(object("namespace", "", "shop", &json!({ "name": "shop" })), 1)?;
                tx.insert_object(object("application", "shop", "cart", spec), 1)?;
                objects::put_state(tx, "shop/cart", state)
            })
            .unwrap();
        (dir, store)
    }

    fn stored(store: &Store) -> State {
        store.read(|r| objects::state(r, "shop/cart")).unwrap()
    }

    fn release(phase: ReleasePhase, to: &str) -> Release {
        Release {
            operation: "op".into(),
            generation: 1,
            from: Some("a".into()),
            to: to.into(),
            phase,
            cause: Cause::Deploy,
            ..Release::default()
        }
    }

    fn at_step(step: u32) -> State {
        let rollout =
            Rollout { phase: "Paused".into(), reason: "ManualStep".into(), step, total_steps: 3, ..Rollout::default() };
        State { release: Some(release(ReleasePhase::Updating, "b")), rollout, ..State::default() }
    }

    /// Status and, of a refusal, code and operation.
    fn told(result: Result<(u16, Value), StoreProblem>) -> (u16, String) {
        match result {
            Ok((status, _)) => (status, String::new()),
            Err(e) => {
                let p = Problem::from(e);
                let id = p.members.get("operation_id").and_then(Value::as_str).unwrap_or_default();
                (p.status, format!("{} {id}", p.code).trim_end().to_owned())
            }
        }
    }

    fn sent(store: &Store, verb: Verb, step: Option<u32>) -> (u16, String) {
        told(store.write(|tx| take(tx, "shop", "cart", verb, step)))
    }

    #[test]
    fn a_step_is_promoted_once_however_often_it_is_asked_for() {
        let (_dir, store) = store(&spec("1"), &at_step(2));
        assert_eq!(sent(&store, STEP, Some(1)), (200, String::new()), "it is passed");
        assert_eq!(stored(&store).verb, None);
        assert_eq!(sent(&store, STEP, Some(3)), (409, "STEP_NOT_REACHED op".into()));
        assert_eq!(sent(&store, STEP, Some(2)), (202, String::new()));
        assert_eq!(stored(&store).verb, Some(STEP));
        assert_eq!(sent(&store, STEP, Some(2)), (200, String::new()), "it waits for the reconciler");
        assert_eq!(sent(&store, Verb::Promote { full: true }, None), (202, String::new()));
        assert_eq!(stored(&store).verb, Some(Verb::Promote { full: true }));
        let over = State { rollout: Rollout { phase: "Succeeded".into(), ..Rollout::default() }, ..State::default() };
        store.write(|tx| objects::put_state(tx, "shop/cart", &over)).unwrap();
        assert_eq!(sent(&store, STEP, Some(2)), (200, String::new()), "the release has passed every step");
        assert_eq!(sent(&store, STEP, None), (409, "NO_RELEASE".into()));
    }

    #[test]
    fn a_pause_that_a_verb_is_about_to_end_is_over_for_who_reads() {
        for (verb, phase) in [
            (STEP, "Updating"),
            (Verb::Promote { full: true }, "Updating"),
            (Verb::Resume, "Updating"),
            (Verb::Abort, "RollingBack"),
            (Verb::Pause, "Paused"),
        ] {
            let state = State { verb: Some(verb), ..at_step(2) };
            let seen = shown(&state);
            assert_eq!((seen["phase"].as_str(), seen["step"].as_u64()), (Some(phase), Some(2)), "{verb:?}");
            assert_eq!(seen["reason"] == "ManualStep", verb == Verb::Pause, "{verb:?}");
        }
    }

    #[test]
    fn an_abort_is_taken_once_and_nothing_takes_it_back() {
        let (_dir, store) = store(&spec("1"), &at_step(1));
        assert_eq!(sent(&store, Verb::Resume, None).0, 202);
        assert_eq!(sent(&store, Verb::Abort, None).0, 202);
        assert_eq!(sent(&store, Verb::Abort, None).0, 200);
        for verb in [STEP, Verb::Pause, Verb::Resume] {
            assert_eq!(sent(&store, verb, None), (409, "ROLLING_BACK op".into()), "{verb:?}");
        }
        assert_eq!(stored(&store).verb, Some(Verb::Abort));
        store.write(|tx| start(tx, Cause::Deploy, "shop", "cart", 1, &spec("1"), 1).map(drop)).unwrap();
        let state = stored(&store);
        assert_eq!(state.verb, None, "it was not meant for the next release");
        let (seen, operation) = (shown(&state), state.request.unwrap().operation);
        assert_eq!((seen["phase"].as_str(), seen["operation"].as_str()), (Some("Updating"), Some(operation.as_str())));
        assert_eq!(shown(&State::default())["phase"], "None");
    }

    fn revision_of(spec: &Value, number: u64) -> Revision {
        let tag = spec["container"]["image"].as_str().unwrap().rsplit(':').next().unwrap();
        let (digest, pull) = (format!("sha256:{tag}"), format!("r.example.com/cart@sha256:{tag}"));
        let inputs = Inputs { class: "runc", image_digest: &digest, pull_reference: &pull, config_hash: None };
        Revision { number, ..revision::revision(spec, &sampan_schema::read(spec).unwrap(), &inputs, 1) }
    }

    fn back(store: &Store, to: Option<u64>) -> Result<Value, Problem> {
        store.write(|tx| go_back(tx, "shop", "cart", to, "runc", 5)).map_err(Problem::from)
    }

    fn put(store: &Store, rows: &[Revision], state: &State) {
        let write = |tx: &Tx<'_>| -> Result<(), StoreError> {
            rows.iter().try_for_each(|row| objects::put_revision(tx, "shop/cart", row))?;
            objects::put_state(tx, "shop/cart", state)
        };
        store.write(write).unwrap();
    }

    #[test]
    fn a_rollback_writes_the_template_and_pins_the_image() {
        let (_dir, store) = store(&spec("3"), &State::default());
        assert_eq!(back(&store, None).unwrap_err().code, "NO_EARLIER_REVISION");
        let rows = [
            revision_of(&spec("1"), 1),
            revision_of(&spec("2"), 2),
            revision_of(&spec("3"), 4),
            // Newer than the one before, and never released well.
            revision_of(&spec("4"), 3),
        ];
        let good = State {
            succeeded: rows[..3].iter().map(|row| row.hash.clone()).collect(),
            current: Some(rows[2].hash.clone()),
            release: Some(release(ReleasePhase::Succeeded, &rows[2].hash)),
            ..State::default()
        };
        put(&store, &rows, &good);
        assert_eq!(back(&store, Some(7)).unwrap_err().code, "NOT_FOUND");
        let operation = back(&store, None).unwrap();
        assert_eq!((operation["kind"].as_str(), operation["generation"].as_i64()), (Some("rollback"), Some(2)));
        let object = store.read(|r| r.object("application", "shop", "cart")).unwrap().unwrap();
        assert_eq!(object.spec, spec("2"));
        let state = stored(&store);
        let image = state.image.clone().unwrap();
        assert_eq!((image.digest.as_str(), image.pull_reference.as_str()), ("sha256:2", "r.example.com/cart@sha256:2"));
        assert!(!state.needs_resolving(&image.image, true), "a tag that moved meanwhile does not count");
        let again = back(&store, Some(1)).unwrap_err();
        assert_eq!((again.status, again.code.as_str()), (409, "OPERATION_RUNNING"));
        assert_eq!(again.members["operation_id"], operation["id"]);
        // Of a release that is under way or has failed, the way back is to the last good revision.
        for (phase, to) in [(ReleasePhase::Updating, ""), (ReleasePhase::Failed, "x"), (ReleasePhase::RolledBack, "x")]
        {
            put(&store, &[], &State { release: Some(release(phase, to)), ..good.clone() });
            back(&store, None).unwrap();
            assert_eq!(stored(&store).image.unwrap().digest, "sha256:3", "{phase:?}");
        }
        put(&store, &[], &State { release: Some(release(ReleasePhase::RollingBack, "x")), ..good });
        assert_eq!(back(&store, None).unwrap_err().code, "OPERATION_RUNNING");
    }

    #[test]
    fn a_rollback_that_the_present_spec_forbids_changes_nothing() {
        let mut now = spec("2");
        now["update_strategy"] = json!({ "type": "InPlaceOnly" });
        let (_dir, store) = store(&now, &State::default());
        let mut larger = spec("1");
        larger["resources"]["memory"] = "128Mi".into();
        let mut gone = spec("0");
        gone["container"]["env_from"] = json!([{ "config_map": "gone" }]);
        let rows = [revision_of(&larger, 1), revision_of(&now, 2), revision_of(&gone, 3)];
        put(&store, &rows, &State { current: Some(rows[1].hash.clone()), ..State::default() });
        let p = back(&store, Some(1)).unwrap_err();
        assert_eq!(
            (p.status, p.code.as_str(), &p.members["fields"]),
            (422, "IN_PLACE_NOT_POSSIBLE", &json!(["resources.memory"]))
        );
        let p = back(&store, Some(3)).unwrap_err();
        assert_eq!(
            (p.code.as_str(), p.errors[0].field_path.as_str()),
            ("REFERENCE_NOT_FOUND", "container.env_from[0].config_map")
        );
        let object = store.read(|r| r.object("application", "shop", "cart")).unwrap().unwrap();
        assert_eq!((object.generation, object.spec), (1, now));
        assert_eq!(stored(&store).request, None::<Request>);
    }
}
