//! Rules about what is never chosen: requests that an earlier match takes, and batches without an instance.

use serde_json::Value as Json;

use super::relation::{Key, by_key, key_of};
use super::{Check, Meta, Sink, rule};
use crate::view::{Leaf, Resource};

rule!(EmptyStep, "SMP208", "empty-step", Warning);
impl Check for EmptyStep {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn all(&self, resources: &[Resource], out: &mut Sink<'_>) {
        let policies = by_key(resources, "gray_policy", "name");
        for r in resources.iter().filter(|r| r.noun.name == "application" && !r.leaf("gray_policy").is_absent()) {
            let policy = match key_of(r, "gray_policy") {
                Key::Known(key) => policies.get(&key).copied(),
                Key::Unknown(path, cause) => {
                    out.waits(&Self::META, r, path, &cause);
                    continue;
                }
            };
            let Some(policy) = policy.filter(|p| p.leaf("strategy").text() == Some("batch")) else { continue };
            let replicas = match out.known(&Self::META, r, "replicas") {
                Some(Leaf::Absent) => 1,
                Some(Leaf::Known(value)) => value.as_i64().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                _ => continue,
            };
            // Without instances no step has one.
            if replicas > 0 {
                steps(r, policy, replicas, out);
            }
        }
    }
}

fn steps(r: &Resource, policy: &Resource, replicas: u64, out: &mut Sink<'_>) {
    let Some(Leaf::Known(list)) = out.known(&EmptyStep::META, policy, "steps") else { return };
    let mut before = 0;
    for step in 0..list.len().unwrap_or(0) {
        let path = format!("steps[{step}].replicas");
        let Some(leaf) = out.known(&EmptyStep::META, policy, &path) else { return };
        let Some(count) = leaf.text().and_then(|text| sampan_schema::int_or_percent::of(text, replicas, true)) else {
            return;
        };
        let count = count.min(replicas);
        if count <= before {
            let message = format!(
                "this step updates no further one of the {replicas} instances of {}: {count} are already",
                r.address
            );
            let mut finding = policy.finding(EmptyStep::META.id, EmptyStep::META.severity, &path, message);
            finding.related = r.header.map(|place| (place, "the application".into()));
            out.push(finding);
        }
        before = count;
    }
}

rule!(ShadowedMatch, "SMP210", "shadowed-match", Warning);
impl Check for ShadowedMatch {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        match r.noun.name {
            "route" => shadowed_paths(r, out),
            "gray_policy" => {
                let Some(Leaf::Known(list)) = out.known(&Self::META, r, "steps") else { return };
                for step in 0..list.len().unwrap_or(0) {
                    covered_matches(r, &format!("steps[{step}].matches"), out);
                }
            }
            _ => {}
        }
    }
}

/// A list as the schema sees it; `None` when a part of it is not certain, which is noted.
fn items(r: &Resource, path: &str, out: &mut Sink<'_>) -> Option<Vec<Json>> {
    let Leaf::Known(value) = out.known(&ShadowedMatch::META, r, path)? else { return None };
    if let Some(cause) = value.deep_cause() {
        out.waits(&ShadowedMatch::META, r, path, &cause);
        return None;
    }
    match r.json(path)? {
        Json::Array(items) => Some(items),
        _ => None,
    }
}

/// Of equal paths the first one counts, so a later rule with the same path gets nothing.
fn shadowed_paths(r: &Resource, out: &mut Sink<'_>) {
    let mut seen: std::collections::BTreeMap<(String, String), String> = std::collections::BTreeMap::new();
    for (i, rule) in items(r, "rules", out).into_iter().flatten().enumerate() {
        let name = rule["name"].as_str().unwrap_or_default().to_owned();
        let matches = rule["matches"].as_array().filter(|all| !all.is_empty()).cloned();
        let matches = matches.unwrap_or_else(|| vec![serde_json::json!({ "path": { "value": "/" } })]);
        for (j, one) in matches.iter().enumerate() {
            let kind = one["path"]["type"].as_str().unwrap_or("PathPrefix").to_owned();
            let value = one["path"]["value"].as_str().unwrap_or_default();
            // A prefix is whole segments, so a slash at its end says nothing.
            let value = if kind == "PathPrefix" { value.trim_end_matches('/') } else { value };
            let Some(first) = seen.get(&(kind.clone(), value.to_owned())) else {
                seen.insert((kind, value.to_owned()), name.clone());
                continue;
            };
            let path = if rule["matches"].as_array().is_some_and(|all| !all.is_empty()) {
                format!("rules[{i}].matches[{j}]")
            } else {
                format!("rules[{i}]")
            };
            let shown = if value.is_empty() { "/" } else { value };
            let message = format!("the rule {first:?} has this path {shown:?} already, and the first one counts");
            out.push(r.finding(ShadowedMatch::META.id, ShadowedMatch::META.severity, &path, message));
        }
    }
}

/// A match all of whose conditions an earlier one has in part only adds nothing: what it takes is taken.
fn covered_matches(r: &Resource, path: &str, out: &mut Sink<'_>) {
    let all = items(r, path, out).unwrap_or_default();
    for (j, later) in all.iter().enumerate() {
        if let Some(i) = all[..j].iter().position(|earlier| covers(earlier, later)) {
            let message = format!("every request of this match is one of match {} already: leave it out", i + 1);
            out.push(r.finding(ShadowedMatch::META.id, ShadowedMatch::META.severity, &format!("{path}[{j}]"), message));
        }
    }
}

/// Whether each condition of `earlier` is a condition of `later` too.
fn covers(earlier: &Json, later: &Json) -> bool {
    let is_set = |value: &Json| match value {
        Json::Null => false,
        Json::Array(items) => !items.is_empty(),
        _ => true,
    };
    let mut conditions = earlier.as_object().into_iter().flatten().filter(|(_, value)| is_set(value)).peekable();
    let some = conditions.peek().is_some();
    // The same one again is an error of the schema.
    some && earlier != later
        && conditions.all(|(name, value)| match (value, &later[name]) {
            // Any of them is enough: more networks are more requests.
            (Json::Array(a), Json::Array(b)) if name == "source_cidrs" => {
                !b.is_empty() && b.iter().all(|x| a.contains(x))
            }
            (Json::Array(a), Json::Array(b)) => a.iter().all(|x| b.contains(x)),
            (a, b) => a == b,
        })
}
