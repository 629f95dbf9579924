//! Rules about scaling rules, alone and beside the applications that they scale.

use std::collections::{BTreeMap, BTreeSet};

use super::relation::{Key, by_key, key_of};
use super::{Check, Meta, Sink, rule};
use crate::finding::Severity;
use crate::view::{Leaf, Resource};

fn is_rule(r: &Resource) -> bool {
    r.noun.name == "scaling_rule"
}

/// A whole number, or what counts where none is written; `None` when it is not certain.
fn whole(r: &Resource, meta: &'static Meta, path: &str, absent: Option<i64>, out: &mut Sink<'_>) -> Option<i64> {
    match out.known(meta, r, path)? {
        Leaf::Known(value) => value.as_i64().or_else(|| value.as_str()?.parse().ok()),
        _ => absent,
    }
}

fn is_true(r: &Resource, meta: &'static Meta, path: &str, absent: bool, out: &mut Sink<'_>) -> Option<bool> {
    match out.known(meta, r, path)? {
        Leaf::Known(value) => value.as_bool(),
        _ => Some(absent),
    }
}

fn is_enabled(r: &Resource, meta: &'static Meta, out: &mut Sink<'_>) -> Option<bool> {
    is_true(r, meta, "enabled", true, out)
}

/// Whether a list or map is absent or empty.
fn is_empty(r: &Resource, meta: &'static Meta, path: &str, out: &mut Sink<'_>) -> Option<bool> {
    match out.known(meta, r, path)? {
        Leaf::Known(value) => Some(value.is_empty()),
        _ => Some(true),
    }
}

/// Names of the metrics; none when they are not certain.
fn metrics(r: &Resource, meta: &'static Meta, out: &mut Sink<'_>) -> Vec<String> {
    match out.known(meta, r, "metrics") {
        Some(Leaf::Known(value)) => value.as_dict().into_iter().flatten().map(|(name, _)| name.to_string()).collect(),
        _ => Vec::new(),
    }
}

rule!(ColdZero, "SMP102", "cold-zero", Warning);
impl Check for ColdZero {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn all(&self, resources: &[Resource], out: &mut Sink<'_>) {
        let applications = by_key(resources, "application", "name");
        for r in resources.iter().filter(|r| is_rule(r)) {
            let least = whole(r, &Self::META, "min_replicas", None, out);
            if least != Some(0) || is_enabled(r, &Self::META, out) != Some(true) {
                continue;
            }
            let application = match key_of(r, "application") {
                Key::Known(key) => applications.get(&key).copied(),
                Key::Unknown(path, cause) => {
                    out.waits(&Self::META, r, path, &cause);
                    continue;
                }
            };
            let Some(application) = application.filter(|a| !a.leaf("container").is_absent()) else { continue };
            let Some(probe) = out.known(&Self::META, application, "container.probes.readiness") else { continue };
            if probe.is_absent() {
                let message = format!(
                    "{} is woken up by a request and has no readiness probe: that request comes before it can answer",
                    application.address
                );
                let mut finding = r.finding(Self::META.id, Self::META.severity, "min_replicas", message);
                finding.related = application.header.map(|place| (place, "the application".into()));
                out.push(finding);
            }
        }
    }
}

rule!(IdleRule, "SMP103", "idle-rule", Warning);
impl Check for IdleRule {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_rule(r) {
            return;
        }
        let least = whole(r, &Self::META, "min_replicas", None, out);
        let most = whole(r, &Self::META, "max_replicas", None, out);
        let (Some(least), Some(most)) = (least, most) else { return };
        // A window may still make it fewer.
        if least == most && is_empty(r, &Self::META, "schedules", out) == Some(true) {
            let message = format!("never changes the number of instances: both bounds are {least}");
            out.push(r.finding(Self::META.id, Self::META.severity, "max_replicas", message));
        }
    }
}

rule!(ExtremeTarget, "SMP104", "extreme-target", Warning);
impl Check for ExtremeTarget {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_rule(r) {
            return;
        }
        for name in metrics(r, &Self::META, out) {
            let at = |field: &str| format!("metrics[{name:?}].{field}");
            let Some(kind) = out.known(&Self::META, r, &at("type")) else { continue };
            if !matches!(kind.text(), Some("cpu" | "memory")) {
                continue;
            }
            let Some(form) = out.known(&Self::META, r, &at("target_type")) else { continue };
            if !form.is_absent() && form.text() != Some("utilization") {
                continue;
            }
            let Some(Leaf::Known(target)) = out.known(&Self::META, r, &at("target")) else { continue };
            let Some(target) = target.as_number().and_then(crate::eval::number::Number::to_f64) else { continue };
            let message = match target {
                // The schema refuses what is no share at all.
                t if t > 90.0 && t <= 100.0 => {
                    format!("{t} percent leave no room for what comes while an instance starts: 20 to 90")
                }
                t if t > 0.0 && t < 20.0 => format!("{t} percent: most of each instance is never used: 20 to 90"),
                _ => continue,
            };
            out.push(r.finding(Self::META.id, Self::META.severity, &at("target"), message));
        }
    }
}

/// Seconds below which a number of instances goes up and down with every peak.
const CALM: i64 = 30;

rule!(Flapping, "SMP105", "flapping", Warning);
impl Check for Flapping {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_rule(r) {
            return;
        }
        let path = "behavior.scale_down.stabilization_window_seconds";
        let Some(seconds) = whole(r, &Self::META, path, Some(CALM), out).filter(|s| (0..CALM).contains(s)) else {
            return;
        };
        if is_true(r, &Self::META, "behavior.scale_down.disabled", false, out) == Some(false)
            && is_empty(r, &Self::META, "metrics", out) == Some(false)
        {
            let message = format!(
                "{seconds} seconds: instances go in every short lull and come back after it; write {CALM} or more"
            );
            out.push(r.finding(Self::META.id, Self::META.severity, path, message));
        }
    }
}

rule!(OverQuota, "SMP106", "over-quota", Error);
impl Check for OverQuota {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn all(&self, resources: &[Resource], out: &mut Sink<'_>) {
        let rules = rules_by_application(resources);
        let mut applications: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (key, one) in by_key(resources, "application", "name") {
            applications.entry(key.0.clone()).or_default().push((key, one));
        }
        for r in resources.iter().filter(|r| r.noun.name == "namespace" && r.condition.is_none()) {
            let limit = |path: &str, out: &mut Sink<'_>| whole(r, &Self::META, path, Some(i64::MAX), out);
            let most = (limit("quota.max_applications", out), limit("quota.max_instances", out));
            if most == (Some(i64::MAX), Some(i64::MAX)) {
                continue;
            }
            let Some(Leaf::Known(name)) = out.known(&Self::META, r, "name") else { continue };
            let name = name.as_str().unwrap_or_default();
            let own = applications.get(name).map(Vec::as_slice).unwrap_or_default();
            let of = |key| rules.get(key).map(Vec::as_slice).unwrap_or_default();
            let instances = own.iter().map(|(key, one)| least_of(one, of(key), out)).fold(0, i64::saturating_add);
            let count = i64::try_from(own.len()).unwrap_or(i64::MAX);
            for (path, needed, most, what) in [
                ("quota.max_applications", count, most.0, "applications"),
                ("quota.max_instances", instances, most.1, "instances"),
            ] {
                if let Some(most) = most.filter(|most| needed > *most) {
                    let message = format!("this configuration has {needed} {what} at least, and the quota is {most}");
                    out.push(r.finding(Self::META.id, Self::META.severity, path, message));
                }
            }
        }
    }
}

/// Scaling rules by namespace and name of what they scale.
fn rules_by_application(resources: &[Resource]) -> BTreeMap<(String, String), Vec<&Resource>> {
    let mut rules: BTreeMap<(String, String), Vec<&Resource>> = BTreeMap::new();
    for r in resources.iter().filter(|r| is_rule(r)) {
        if let Key::Known(key) = key_of(r, "application") {
            rules.entry(key).or_default().push(r);
        }
    }
    rules
}

/// Fewest instances that an application counts with. What is not certain counts as none and is noted.
fn least_of(application: &Resource, rules: &[&Resource], out: &mut Sink<'_>) -> i64 {
    let mut least = whole(application, &OverQuota::META, "replicas", Some(1), out).unwrap_or(0);
    for r in rules.iter().filter(|r| r.condition.is_none()) {
        if is_enabled(r, &OverQuota::META, out) == Some(true) {
            // A window may make it fewer than the minimum.
            let has_windows = is_empty(r, &OverQuota::META, "schedules", out) != Some(true);
            let minimum = whole(r, &OverQuota::META, "min_replicas", None, out).filter(|_| !has_windows);
            least = least.max(minimum.unwrap_or(0));
        }
    }
    least
}

rule!(ReplicasAndRule, "SMP107", "replicas-and-rule", Note);
impl Check for ReplicasAndRule {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn all(&self, resources: &[Resource], out: &mut Sink<'_>) {
        let rules = rules_by_application(resources);
        for (key, application) in by_key(resources, "application", "name") {
            let Some(rules) = rules.get(&key) else { continue };
            let Some(replicas) = whole(application, &Self::META, "replicas", None, out) else { continue };
            // A plan does not tell the default from what was written.
            if application.planned.is_some() && replicas == 1 {
                continue;
            }
            let Some((least, most, last)) = range_of(rules, out) else { continue };
            if replicas < least || replicas > most {
                let message = format!("replicas = {replicas} never counts: scaling rules keep {least} to {most}");
                let mut finding = application.finding(Self::META.id, Severity::Note, "replicas", message);
                finding.related = last.header.map(|place| (place, "a scaling rule".into()));
                out.push(finding);
            }
        }
    }
}

/// Least and most instances that enabled rules allow together: the largest result counts. A window may make it fewer
/// than the minimum, so a rule with windows has none.
fn range_of<'r>(rules: &[&'r Resource], out: &mut Sink<'_>) -> Option<(i64, i64, &'r Resource)> {
    let (meta, mut all): (_, Option<(i64, i64, &Resource)>) = (&ReplicasAndRule::META, None);
    for r in rules {
        if !is_enabled(r, meta, out)? {
            continue;
        }
        let least = if is_empty(r, meta, "schedules", out)? { whole(r, meta, "min_replicas", None, out)? } else { 0 };
        let most = whole(r, meta, "max_replicas", None, out)?;
        all = Some(all.map_or((least, most, *r), |(a, b, _)| (a.max(least), b.max(most), *r)));
    }
    all
}

rule!(CompetingRules, "SMP108", "competing-rules", Warning);
impl Check for CompetingRules {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn all(&self, resources: &[Resource], out: &mut Sink<'_>) {
        let mut seen: BTreeMap<(String, String, String), &Resource> = BTreeMap::new();
        for r in resources.iter().filter(|r| is_rule(r) && r.condition.is_none()) {
            let (namespace, application) = match key_of(r, "application") {
                Key::Known(key) => key,
                Key::Unknown(path, cause) => {
                    out.waits(&Self::META, r, path, &cause);
                    continue;
                }
            };
            if is_enabled(r, &Self::META, out) != Some(true) {
                continue;
            }
            let mut own = BTreeSet::new();
            for name in metrics(r, &Self::META, out) {
                let Some(what) = measured(r, &name, out).filter(|what| own.insert(what.clone())) else { continue };
                let key = (namespace.clone(), application.clone(), what);
                let Some(first) = seen.get(&key) else {
                    seen.insert(key, r);
                    continue;
                };
                let path = format!("metrics[{name:?}]");
                let message =
                    format!("{} looks at the same metric of this application: the larger result counts", first.address);
                let mut finding = r.finding(Self::META.id, Self::META.severity, &path, message);
                finding.related = first.header.map(|place| (place, "the other rule".into()));
                out.push(finding);
            }
        }
    }
}

/// What a metric reads: its type, and where that is asked.
fn measured(r: &Resource, name: &str, out: &mut Sink<'_>) -> Option<String> {
    let mut text = String::new();
    for field in ["type", "endpoint", "query"] {
        let leaf = out.known(&CompetingRules::META, r, &format!("metrics[{name:?}].{field}"))?;
        text.push_str(leaf.text().unwrap_or_default());
        text.push('\n');
    }
    Some(text)
}

/// Instances that are many for what is no production.
const MANY: i64 = 10;

rule!(OversizedMinimum, "SMP502", "oversized-minimum", Warning);
impl Check for OversizedMinimum {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_rule(r) {
            return;
        }
        let least = whole(r, &Self::META, "min_replicas", None, out);
        let Some(least) = least.filter(|n| *n > MANY) else { return };
        let Some(Leaf::Known(namespace)) = out.known(&Self::META, r, "namespace") else { return };
        let Some(namespace) = namespace.as_str().filter(|name| !out.settings.is_production(name)) else { return };
        let message =
            format!("{least} instances run at any hour in {namespace:?}, which is no production: {MANY} or fewer");
        out.push(r.finding(Self::META.id, Self::META.severity, "min_replicas", message));
    }
}

rule!(OverBudget, "SMP501", "over-budget", Warning);
impl Check for OverBudget {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn all(&self, resources: &[Resource], out: &mut Sink<'_>) {
        if out.settings.budget == crate::config::Budget::default() {
            return;
        }
        let mut most = BTreeMap::new();
        let mut open = BTreeSet::new();
        for r in resources.iter().filter(|r| is_rule(r)) {
            let Key::Known(key) = key_of(r, "application") else { continue };
            match (is_enabled(r, &Self::META, out), whole(r, &Self::META, "max_replicas", None, out)) {
                (Some(false), _) => {}
                (Some(true), Some(n)) => {
                    let most = most.entry(key).or_insert(n);
                    *most = n.max(*most);
                }
                _ => {
                    open.insert(key);
                }
            }
        }
        for r in resources.iter().filter(|r| r.noun.name == "application") {
            let Key::Known(key) = key_of(r, "name") else { continue };
            let scaled = most.get(&key).copied();
            let instances = match scaled {
                Some(n) => Some(n),
                None if open.contains(&key) => None,
                None => whole(r, &Self::META, "replicas", Some(1), out),
            };
            if let Some(instances) = instances {
                over_budget(r, instances, out);
            }
        }
    }
}

fn over_budget(r: &Resource, instances: i64, out: &mut Sink<'_>) {
    let (budget, count) = (out.settings.budget, u128::try_from(instances).unwrap_or(0));
    for (field, unit, limit) in [("cpu", 1000, budget.cpu_millis), ("memory", 1000 << 30, budget.memory_millis)] {
        let (Some(limit), path) = (limit, format!("resources.{field}")) else { continue };
        let Some(leaf) = out.known(&OverBudget::META, r, &path) else { continue };
        let Some(size) = leaf.text().and_then(sampan_schema::quantity::millis) else { continue };
        let sum = size.saturating_mul(count);
        if sum > limit {
            let shown = |millis: u128| (millis * 100 / unit) as f64 / 100.0;
            let of = if field == "cpu" { "cpu" } else { "GiB of memory" };
            let message =
                format!("{instances} instances have {} {of}, above the budget of {}", shown(sum), shown(limit));
            out.push(r.finding(OverBudget::META.id, OverBudget::META.severity, &path, message));
        }
    }
}
