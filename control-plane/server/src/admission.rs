//! Rules that need other objects: references, names that are taken, objects in use.

use sampan_engine::application::{Cause, State};
use sampan_schema::application::{Protocol, Spec as Application};
use sampan_schema::change::{Change, Class};
use sampan_schema::gray_policy::{self, OnNewRelease};
use sampan_schema::problem::{FieldError, Problem};
use sampan_schema::{Kind, docker_config, environment_schedule, route, scaling_rule};
use sampan_store::{Object, Reader, StoreError};
use serde_json::Value;

/// The rule of a reference to what does not exist (yet).
pub const ABSENT: &str = "SMP041";

fn field(path: impl Into<String>, message: impl Into<String>, rule: &str) -> FieldError {
    FieldError { field_path: path.into(), message: message.into(), rule: rule.into() }
}

/// Objects that must exist when the write is accepted.
pub fn references(r: &Reader<'_>, kind: &Kind, ns: &str, spec: &Value) -> Result<Option<Problem>, StoreError> {
    let mut missing = Vec::new();
    if kind.namespaced {
        match r.object("namespace", "", ns)? {
            None => {
                missing.push(field("namespace", format!("namespace {ns:?} does not exist: create it first"), ABSENT));
            }
            Some(n) if n.deleting => {
                missing.push(field("namespace", format!("namespace {ns:?} is being deleted"), "SMP040"));
            }
            Some(_) => {}
        }
    }
    match kind.name {
        "application" => {
            let Ok(app) = sampan_schema::read::<Application>(spec) else { return Ok(None) };
            let policy = app.gray_policy.iter().map(|name| ("gray_policy".to_owned(), "gray_policy", name.clone()));
            for (path, what, name) in config_references(&app).into_iter().chain(policy) {
                let Some(found) = r.object(what, ns, &name)? else {
                    missing.push(field(path, format!("{what} {name:?} does not exist in namespace {ns:?}"), ABSENT));
                    continue;
                };
                let keys = found.status.get("keys").and_then(Value::as_array);
                let holds = keys.is_some_and(|keys| keys.iter().any(|key| key == docker_config::KEY));
                if path == "image_pull_secret" && !holds {
                    let text = format!("secret {name:?} has no key {:?}: write the logins there", docker_config::KEY);
                    missing.push(field(path, text, "SMP065"));
                }
            }
        }
        "scaling_rule" => {
            let Ok(rule) = sampan_schema::read::<scaling_rule::Spec>(spec) else { return Ok(None) };
            match r.object("application", ns, &rule.application)? {
                None => {
                    let text = format!("application {:?} does not exist in namespace {ns:?}", rule.application);
                    missing.push(field("application", text, ABSENT));
                }
                Some(app) if app.deleting => {
                    missing.push(field("application", format!("{:?} is being deleted", rule.application), "SMP040"));
                }
                Some(_) => {}
            }
            for (path, name) in tokens_of_metrics(&rule) {
                if r.object("secret", ns, name)?.is_none() {
                    missing.push(field(path, format!("secret {name:?} does not exist in namespace {ns:?}"), ABSENT));
                }
            }
        }
        "environment_schedule" => {
            let Ok(schedule) = sampan_schema::read::<environment_schedule::Spec>(spec) else { return Ok(None) };
            for (path, name) in schedule.applications() {
                match r.object("application", ns, name)? {
                    None => {
                        let text = format!("application {name:?} does not exist in namespace {ns:?}");
                        missing.push(field(path, text, ABSENT));
                    }
                    Some(app) if app.deleting => {
                        missing.push(field(path, format!("{name:?} is being deleted"), "SMP040"));
                    }
                    Some(_) => {}
                }
            }
        }
        "gray_policy" => {
            let Ok(policy) = sampan_schema::read::<gray_policy::Spec>(spec) else { return Ok(None) };
            for (path, name) in tokens(&policy) {
                if r.object("secret", ns, name)?.is_none() {
                    missing.push(field(path, format!("secret {name:?} does not exist in namespace {ns:?}"), ABSENT));
                }
            }
        }
        "route" => {
            let Ok(route) = sampan_schema::read::<route::Spec>(spec) else { return Ok(None) };
            for (i, rule) in route.rules.iter().enumerate() {
                for (j, b) in rule.backends.iter().enumerate() {
                    let at = format!("rules[{i}].backends[{j}]");
                    let Some(object) = r.object("application", ns, &b.application)? else {
                        let text = format!("application {:?} does not exist in namespace {ns:?}", b.application);
                        missing.push(field(format!("{at}.application"), text, ABSENT));
                        continue;
                    };
                    let Ok(app) = sampan_schema::read::<Application>(&object.spec) else { continue };
                    let port = app.network.ports.get(&b.port);
                    if app.port(&b.port).is_none() {
                        let names: Vec<_> = app.network.ports.keys().map(String::as_str).collect();
                        let text =
                            format!("{:?} is no port of {:?}: it has {}", b.port, b.application, names.join(", "));
                        missing.push(field(format!("{at}.port"), text, "SMP043"));
                    } else if port.is_some_and(|p| p.protocol != Protocol::HTTP) {
                        let text = format!("port {:?} of {:?} is not declared as HTTP", b.port, b.application);
                        missing.push(field(format!("{at}.port"), text, "SMP044"));
                    }
                }
            }
        }
        _ => {}
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let detail = missing.iter().map(|e| format!("{}: {}", e.field_path, e.message)).collect::<Vec<_>>().join("; ");
    let mut p = Problem::new(422, "REFERENCE_NOT_FOUND", "a reference does not resolve", detail);
    p.errors = missing;
    Ok(Some(p))
}

/// `(path, kind, name)` of every config map and secret that has to exist.
fn config_references(app: &Application) -> Vec<(String, &'static str, String)> {
    let mut out = Vec::new();
    out.extend(app.image_pull_secret.iter().map(|name| ("image_pull_secret".into(), "secret", name.clone())));
    for (key, e) in &app.container.env_refs {
        for (what, k) in [("config_map", &e.config_map), ("secret", &e.secret)] {
            if let Some(k) = k.as_ref().filter(|k| !k.optional) {
                out.push((format!("container.env_refs[{key:?}].{what}.name"), what, k.name.clone()));
            }
        }
    }
    for (i, e) in app.container.env_from.iter().enumerate().filter(|(_, e)| !e.optional) {
        for (what, name) in [("config_map", &e.config_map), ("secret", &e.secret)] {
            if let Some(name) = name {
                out.push((format!("container.env_from[{i}].{what}"), what, name.clone()));
            }
        }
    }
    out
}

/// `(path, name)` of every secret whose token a policy's analyses send.
fn tokens(policy: &gray_policy::Spec) -> impl Iterator<Item = (String, &str)> {
    policy.analysis.iter().filter_map(|(name, a)| {
        a.auth_secret.as_deref().map(|secret| (format!("analysis[{name:?}].auth_secret"), secret))
    })
}

/// `(path, name)` of every secret whose token is sent with the questions of a scaling rule.
fn tokens_of_metrics(rule: &scaling_rule::Spec) -> impl Iterator<Item = (String, &str)> {
    rule.metrics.iter().filter_map(|(name, m)| {
        m.auth_secret.as_deref().map(|secret| (format!("metrics[{name:?}].auth_secret"), secret))
    })
}

/// The applications of a namespace that name a policy, with their specs.
pub fn followers(r: &Reader<'_>, ns: &str, policy: &str) -> Result<Vec<(Object, Application)>, StoreError> {
    let all = r.objects("application", Some(ns), None, usize::MAX)?.into_iter();
    let read = all.filter_map(|o| sampan_schema::read::<Application>(&o.spec).ok().map(|spec| (o, spec)));
    Ok(read.filter(|(_, spec)| spec.gray_policy.as_deref() == Some(policy)).collect())
}

fn policy(r: &Reader<'_>, ns: &str, name: &str) -> Result<Option<gray_policy::Spec>, StoreError> {
    Ok(r.object("gray_policy", ns, name)?.and_then(|o| sampan_schema::read(&o.spec).ok()))
}

/// The policy that the spec of an application names.
fn named_policy(r: &Reader<'_>, ns: &str, spec: &Value) -> Result<Option<gray_policy::Spec>, StoreError> {
    let named = spec.get("gray_policy").and_then(Value::as_str);
    Ok(named.map(|named| policy(r, ns, named)).transpose()?.flatten())
}

/// The policy that a spec in force names. The newer spec, which waits, may name another one, so this one may be gone.
pub fn policy_in_force(
    r: &Reader<'_>,
    ns: &str,
    state: &State,
    spec: &Value,
) -> Result<Option<gray_policy::Spec>, StoreError> {
    let kept = || state.release.as_ref().filter(|_| state.queued.is_some())?.gray.as_ref()?.policy.clone();
    Ok(named_policy(r, ns, spec)?.or_else(kept))
}

/// One instance cannot be divided between gray and stable. Of none nothing is released step by step.
pub fn divisible(
    r: &Reader<'_>,
    kind: &Kind,
    ns: &str,
    name: &str,
    spec: &Value,
) -> Result<Option<Problem>, StoreError> {
    const HOW: &str = "one instance cannot be divided: use capacity = extra or more replicas";
    let (at, detail) = match kind.name {
        "application" => {
            let Ok(app) = sampan_schema::read::<Application>(spec) else { return Ok(None) };
            let Some(named) = app.gray_policy.filter(|_| app.replicas == 1) else { return Ok(None) };
            if !policy(r, ns, &named)?.is_some_and(|p| p.divides()) {
                return Ok(None);
            }
            ("gray_policy", format!("{named:?} makes gray instances of stable ones, and {HOW}"))
        }
        "gray_policy" => {
            let Ok(policy) = sampan_schema::read::<gray_policy::Spec>(spec) else { return Ok(None) };
            let found = if policy.divides() { followers(r, ns, name)? } else { Vec::new() };
            let single: Vec<_> = found.iter().filter(|(_, app)| app.replicas == 1).map(|(o, _)| o.id()).collect();
            if single.is_empty() {
                return Ok(None);
            }
            ("capacity", format!("{} has one instance only, and {HOW}", single.join(", ")))
        }
        _ => return Ok(None),
    };
    let mut p = Problem::new(400, "VALIDATION", "the spec breaks rules", format!("{at}: {detail}"));
    p.errors.push(field(at, detail, "SMP065"));
    Ok(Some(p))
}

/// Scaling rules of an application, with their specs, sorted by name.
pub fn rules_of(r: &Reader<'_>, ns: &str, app: &str) -> Result<Vec<(Object, scaling_rule::Spec)>, StoreError> {
    let all = r.objects("scaling_rule", Some(ns), None, usize::MAX)?.into_iter();
    let read = all.filter_map(|o| sampan_schema::read::<scaling_rule::Spec>(&o.spec).ok().map(|spec| (o, spec)));
    Ok(read.filter(|(_, spec)| spec.application == app).collect())
}

/// An application has no more than a few rules.
pub fn rules(r: &Reader<'_>, kind: &Kind, ns: &str, name: &str, spec: &Value) -> Result<Option<Problem>, StoreError> {
    let rule = (kind.name == "scaling_rule").then(|| sampan_schema::read::<scaling_rule::Spec>(spec).ok()).flatten();
    let Some(rule) = rule else { return Ok(None) };
    let others = rules_of(r, ns, &rule.application)?.iter().filter(|(o, _)| o.name != name).count();
    let Some(over) = scaling_rule::over_limit(others) else { return Ok(None) };
    let detail = format!("{}: {:?} {}", over.field_path, rule.application, over.message);
    let mut p = Problem::new(400, "VALIDATION", "the spec breaks rules", detail);
    p.errors.push(over.into());
    Ok(Some(p))
}

/// `update_strategy.type = "InPlaceOnly"` takes no change that needs new sandboxes.
pub fn in_place(spec: &Value, change: &Change) -> Option<Problem> {
    let only = spec.pointer("/update_strategy/type").and_then(Value::as_str) == Some("InPlaceOnly");
    if !only || change.class != Class::Recreate {
        return None;
    }
    let fields: Vec<&str> =
        change.reasons.iter().filter(|r| r.class == Class::Recreate).map(|r| r.field.as_str()).collect();
    let text =
        "needs new sandboxes, and update_strategy.type is InPlaceOnly: leave it as it is, or allow InPlaceIfPossible";
    let detail = format!("{}: {text}", fields.join(", "));
    let mut p = Problem::new(422, "IN_PLACE_NOT_POSSIBLE", "the change cannot be made in place", detail);
    p.errors = fields.iter().map(|f| field(*f, text, "SMP066")).collect();
    Some(p.with("fields", fields))
}

/// `on_new_release = "reject"`: nothing new begins while a release follows this policy. The first release follows none,
/// and neither does a rollback or another number of instances.
pub fn rejected(r: &Reader<'_>, app: &Object, state: &State) -> Result<Option<Problem>, StoreError> {
    let Some((id, Cause::Deploy | Cause::Restart)) = state.operation().filter(|_| state.is_busy()) else {
        return Ok(None);
    };
    let named = app.spec.get("gray_policy").and_then(Value::as_str).filter(|_| state.current.is_some());
    let Some(named) = named else { return Ok(None) };
    if policy(r, &app.namespace, named)?.is_none_or(|p| p.on_new_release != OnNewRelease::Reject) {
        return Ok(None);
    }
    let detail = format!(
        "a release is under way and gray policy {named:?} rejects another one: wait for operation {id}, or promote or abort it"
    );
    Ok(Some(Problem::new(409, "OPERATION_RUNNING", "a release is running", detail).with("operation_id", id)))
}

/// `on_new_release = "queue"`, of the policy that a spec names: a newer release waits until the one under way has ended.
pub fn queues(r: &Reader<'_>, ns: &str, state: &State, before: &Value) -> Result<bool, StoreError> {
    let policy = policy_in_force(r, ns, state, &state.in_force(before))?;
    Ok(policy.is_some_and(|p| p.on_new_release == OnNewRelease::Queue))
}

/// How far back a rollback needs no steps, in revisions. Without a policy there are no steps.
pub fn rollback_window(r: &Reader<'_>, ns: &str, spec: &Value) -> Result<usize, StoreError> {
    let policy = named_policy(r, ns, spec)?;
    Ok(policy.map_or(usize::MAX, |p| p.rollback_window_revisions.max(0).unsigned_abs() as usize))
}

/// A host name belongs to one route.
pub fn hostnames(r: &Reader<'_>, ns: &str, name: &str, spec: &Value) -> Result<Option<Problem>, StoreError> {
    let Ok(mine) = sampan_schema::read::<route::Spec>(spec) else { return Ok(None) };
    for other in r.objects("route", None, None, usize::MAX)? {
        if other.namespace == ns && other.name == name {
            continue;
        }
        let Ok(theirs) = sampan_schema::read::<route::Spec>(&other.spec) else { continue };
        if let Some(host) = mine.hostnames.intersection(&theirs.hostnames).next() {
            // Another tenant's names are not told.
            let by = if other.namespace == ns { format!("route {:?}", other.id()) } else { "another namespace".into() };
            let detail = format!("host name {host:?} is taken by {by}: choose another one, or remove it there");
            let mut p = Problem::new(409, "HOSTNAME_TAKEN", "host name taken", detail.clone()).with("by", vec![by]);
            p.errors.push(field("hostnames", detail, "SMP045"));
            return Ok(Some(p));
        }
    }
    Ok(None)
}

/// What keeps the object from being deleted.
pub fn users(r: &Reader<'_>, object: &Object) -> Result<Option<Problem>, StoreError> {
    let mut by = Vec::new();
    match object.kind.as_str() {
        "namespace" => {
            for kind in sampan_schema::KINDS.iter().filter(|k| k.namespaced) {
                let left = r.objects(kind.name, Some(&object.name), None, 5)?;
                by.extend(left.iter().map(|o| format!("{} {}", kind.name, o.id())));
            }
            if !by.is_empty() {
                let detail = format!("namespace {:?} still holds {}", object.name, by.join(", "));
                return Ok(Some(Problem::new(409, "NOT_EMPTY", "namespace is not empty", detail).with("by", by)));
            }
        }
        "config_map" | "secret" => {
            for app in r.objects("application", Some(&object.namespace), None, usize::MAX)? {
                let Ok(spec) = sampan_schema::read::<Application>(&app.spec) else { continue };
                let used = config_references(&spec).iter().any(|(_, k, n)| *k == object.kind && *n == object.name);
                if used && !app.deleting {
                    by.push(format!("application {}", app.id()));
                }
            }
            if object.kind == "secret" {
                for other in r.objects("gray_policy", Some(&object.namespace), None, usize::MAX)? {
                    let Ok(policy) = sampan_schema::read::<gray_policy::Spec>(&other.spec) else { continue };
                    if tokens(&policy).any(|(_, name)| name == object.name) {
                        by.push(format!("gray_policy {}", other.id()));
                    }
                }
                for other in r.objects("scaling_rule", Some(&object.namespace), None, usize::MAX)? {
                    let Ok(rule) = sampan_schema::read::<scaling_rule::Spec>(&other.spec) else { continue };
                    if tokens_of_metrics(&rule).any(|(_, name)| name == object.name) {
                        by.push(format!("scaling_rule {}", other.id()));
                    }
                }
            }
        }
        "gray_policy" => {
            let found = followers(r, &object.namespace, &object.name)?;
            by.extend(found.iter().filter(|(o, _)| !o.deleting).map(|(o, _)| format!("application {}", o.id())));
        }
        "application" => {
            let rules = rules_of(r, &object.namespace, &object.name)?;
            by.extend(rules.iter().map(|(o, _)| format!("scaling_rule {}", o.id())));
            for other in r.objects("environment_schedule", Some(&object.namespace), None, usize::MAX)? {
                let Ok(spec) = sampan_schema::read::<environment_schedule::Spec>(&other.spec) else { continue };
                if spec.applications().any(|(_, name)| name == object.name) {
                    by.push(format!("environment_schedule {}", other.id()));
                }
            }
            for other in r.objects("route", Some(&object.namespace), None, usize::MAX)? {
                let Ok(spec) = sampan_schema::read::<route::Spec>(&other.spec) else { continue };
                if spec.rules.iter().flat_map(|r| &r.backends).any(|b| b.application == object.name) {
                    by.push(format!("route {}", other.id()));
                }
            }
        }
        _ => {}
    }
    if by.is_empty() {
        return Ok(None);
    }
    let detail = format!("{} {} is used by {}", object.kind, object.id(), by.join(", "));
    Ok(Some(Problem::new(409, "IN_USE", "object is in use", detail).with("by", by)))
}
