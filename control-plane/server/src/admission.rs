//! Rules that need other objects: references, names that are taken, objects in use.

use sampan_schema::application::{Protocol, Spec as Application};
use sampan_schema::problem::{FieldError, Problem};
use sampan_schema::{Kind, route};
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
            for (path, what, name) in config_references(&app) {
                if r.object(what, ns, &name)?.is_none() {
                    missing.push(field(path, format!("{what} {name:?} does not exist in namespace {ns:?}"), ABSENT));
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
        }
        "application" => {
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
