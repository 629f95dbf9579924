//! What a namespace allows, and what is used of it.

use sampan_schema::application::Spec as Application;
use sampan_schema::namespace::{Quota, Spec as Namespace};
use sampan_schema::problem::{FieldError, Problem};
use sampan_schema::{Kind, scaling_rule};
use sampan_store::{Object, Reader, StoreError};
use serde_json::Value;

use crate::objects;

/// The rule of everything that takes more than its namespace allows.
const RULE: &str = "SMP038";

/// What the applications of a namespace take.
#[derive(Debug, Default, PartialEq, Eq)]
struct Used {
    applications: i64,
    instances: i64,
}

/// Of all applications but `without`. One counts with its `replicas` or with what its scaling rules want, whichever is
/// more: it may go back to either at any time. Instances that an update makes beside the others do not count.
fn used(r: &Reader<'_>, ns: &str, without: Option<&str>) -> Result<Used, StoreError> {
    let mut used = Used::default();
    for o in r.objects("application", Some(ns), None, usize::MAX)? {
        if without != Some(o.name.as_str()) {
            used.applications += 1;
            used.instances += replicas(&o).max(wanted(r, &o.namespace, &o.name)?);
        }
    }
    Ok(used)
}

fn replicas(o: &Object) -> i64 {
    o.spec["replicas"].as_i64().unwrap_or(1)
}

fn wanted(r: &Reader<'_>, ns: &str, app: &str) -> Result<i64, StoreError> {
    Ok(objects::scaled(r, &objects::key(ns, app))?.map_or(0, |s| i64::from(s.desired)))
}

fn quota(r: &Reader<'_>, ns: &str) -> Result<Option<Quota>, StoreError> {
    Ok(r.object("namespace", "", ns)?.and_then(|o| sampan_schema::read::<Namespace>(&o.spec).ok()?.quota))
}

/// Most instances that an application may have; `None` without a quota.
pub fn room(r: &Reader<'_>, ns: &str, app: &str) -> Result<Option<u32>, StoreError> {
    let Some(most) = quota(r, ns)?.and_then(|q| q.max_instances) else { return Ok(None) };
    let left = most - used(r, ns, Some(app))?.instances;
    Ok(Some(u32::try_from(left.max(0)).unwrap_or(u32::MAX)))
}

/// A limit that a write breaks.
struct Over {
    path: &'static str,
    resource: &'static str,
    limit: i64,
    used: i64,
    requested: i64,
    message: String,
}

/// Refuses what would take more than the namespace allows. What takes no more than before is never refused: a quota that
/// others have used up holds no other change up.
pub fn exceeded(
    r: &Reader<'_>,
    kind: &Kind,
    ns: &str,
    name: &str,
    spec: &Value,
    old: Option<&Object>,
) -> Result<Option<Problem>, StoreError> {
    let over = match kind.name {
        "namespace" => lowered(r, name, spec)?,
        "application" => more(r, ns, name, spec, old)?,
        "scaling_rule" => {
            let most = quota(r, ns)?.and_then(|q| q.max_instances);
            let rule = sampan_schema::read::<scaling_rule::Spec>(spec).ok();
            most.zip(rule).filter(|(most, rule)| rule.max_replicas > *most).map(|(limit, rule)| Over {
                path: "max_replicas",
                resource: "instances",
                limit,
                used: 0,
                requested: rule.max_replicas,
                message: format!("namespace {ns:?} allows {limit} instances in all (quota.max_instances)"),
            })
        }
        _ => None,
    };
    Ok(over.map(|over| {
        let detail = format!("{}: {}", over.path, over.message);
        let mut p = Problem::new(403, "QUOTA_EXCEEDED", "the namespace does not allow so much", detail)
            .with("resource", over.resource)
            .with("limit", over.limit)
            .with("used", over.used)
            .with("requested", over.requested);
        p.errors.push(FieldError { field_path: over.path.into(), message: over.message, rule: RULE.into() });
        p
    }))
}

fn more(r: &Reader<'_>, ns: &str, name: &str, spec: &Value, old: Option<&Object>) -> Result<Option<Over>, StoreError> {
    let Some(quota) = quota(r, ns)? else { return Ok(None) };
    let Ok(app) = sampan_schema::read::<Application>(spec) else { return Ok(None) };
    let others = used(r, ns, Some(name))?;
    if let Some(limit) = quota.max_applications.filter(|most| old.is_none() && others.applications >= *most) {
        let used = others.applications;
        let message = format!("namespace {ns:?} allows {limit} applications (quota.max_applications) and has {used}");
        return Ok(Some(Over { path: "name", resource: "applications", limit, used, requested: used + 1, message }));
    }
    let more = app.replicas > old.map_or(0, replicas);
    Ok(quota.max_instances.filter(|most| more && others.instances + app.replicas > *most).map(|limit| {
        let used = others.instances;
        let message = format!(
            "namespace {ns:?} allows {limit} instances (quota.max_instances) and its other applications have {used}, \
             which leaves {}",
            (limit - used).max(0)
        );
        Over { path: "replicas", resource: "instances", limit, used, requested: app.replicas, message }
    }))
}

fn lowered(r: &Reader<'_>, ns: &str, spec: &Value) -> Result<Option<Over>, StoreError> {
    let quota_of = |spec: &Value| sampan_schema::read::<Namespace>(spec).ok().and_then(|n| n.quota).unwrap_or_default();
    let new = quota_of(spec);
    let old = quota(r, ns)?.unwrap_or_default();
    let used = used(r, ns, None)?;
    let limits = [
        ("quota.max_applications", "applications", new.max_applications, old.max_applications, used.applications),
        ("quota.max_instances", "instances", new.max_instances, old.max_instances, used.instances),
    ];
    Ok(limits.into_iter().filter(|(_, _, new, old, _)| new != old).find_map(|(path, resource, limit, _, used)| {
        let limit = limit.filter(|limit| *limit < used)?;
        let message = format!("{used} {resource} are in use: remove some first, or allow as many");
        Some(Over { path, resource, limit, used, requested: limit, message })
    }))
}
