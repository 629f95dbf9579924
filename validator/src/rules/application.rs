//! Rules about applications, and what applications share with other resources.

use std::collections::BTreeMap;

use super::{Check, Meta, Sink, rule};
use crate::config::matches;
use crate::finding::Severity;
use crate::plan::{Change, Planned};
use crate::view::{Leaf, Resource};

fn is_application(resource: &Resource) -> bool {
    resource.noun.name == "application"
}

rule!(FloatingImage, "SMP301", "floating-image", Warning);
impl Check for FloatingImage {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        let path = "container.image";
        if !is_application(r) {
            return;
        }
        let Some(image) = out.known(&Self::META, r, path).and_then(|leaf| leaf.text()) else { return };
        let Ok(image) = sampan_schema::image_ref::parse(image) else { return };
        let message = match (&image.digest, image.tag.as_deref()) {
            (Some(_), _) => return,
            (None, None) => {
                format!("{} has neither tag nor digest, so nobody can say what runs: name a version", image.path)
            }
            (None, Some("latest")) => "the tag \"latest\" moves: name a version or a digest".to_owned(),
            (None, Some(_)) => return,
        };
        out.push(r.finding(Self::META.id, Self::META.severity, path, message));
    }
}

rule!(NoReadiness, "SMP302", "no-readiness", Warning);
impl Check for NoReadiness {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_application(r) || r.leaf("container").is_absent() {
            return;
        }
        let Some(probe) = out.known(&Self::META, r, "container.probes.readiness") else { return };
        if probe.is_absent() {
            let path = if r.leaf("container.probes").is_absent() { "container" } else { "container.probes" };
            let message = "there is no readiness probe: an instance gets requests as soon as its process runs";
            out.push(r.finding(Self::META.id, Self::META.severity, path, message));
        }
    }
}

/// Whether the namespace is one of production, by the patterns of the settings.
fn is_production(r: &Resource, rule: &'static Meta, out: &mut Sink<'_>) -> Option<bool> {
    let path = if r.noun.namespaced { "namespace" } else { "name" };
    let leaf = out.known(rule, r, path)?;
    Some(leaf.text().is_some_and(|name| out.settings.is_production(name)))
}

rule!(SingleInstance, "SMP303", "single-instance", Warning);
impl Check for SingleInstance {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_application(r) || is_production(r, &Self::META, out) != Some(true) {
            return;
        }
        let replicas = match out.known(&Self::META, r, "replicas") {
            Some(Leaf::Absent) => 1,
            Some(Leaf::Known(value)) => value.as_i64().unwrap_or(2),
            _ => return,
        };
        if replicas == 1 {
            let message = "one instance in production: an update, or the loss of one, takes the application down";
            out.push(r.finding(Self::META.id, Self::META.severity, "replicas", message));
        }
    }
}

rule!(NoGrace, "SMP305", "no-grace", Note);
impl Check for NoGrace {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_application(r) {
            return;
        }
        let path = "lifecycle_hooks.termination_grace_period_seconds";
        let mut seconds = |path: &str, default: i64| match out.known(&Self::META, r, path) {
            Some(Leaf::Absent) => Some(default),
            Some(Leaf::Known(value)) => value.as_i64(),
            _ => None,
        };
        let (Some(grace), Some(drain)) =
            (seconds(path, 30), seconds("lifecycle_hooks.offline.drain_timeout_seconds", 15))
        else {
            return;
        };
        if grace < drain {
            let message = format!("{grace} seconds to end are fewer than the {drain} in which requests may finish");
            out.push(r.finding(Self::META.id, Self::META.severity, path, message));
        }
    }
}

rule!(UnprotectedProduction, "SMP306", "unprotected-production", Warning);
impl Check for UnprotectedProduction {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        // A plan does not say what is protected, and what it destroys is seen in `change`.
        if r.noun.name != "namespace"
            || r.planned.is_some()
            || r.prevent_destroy
            || is_production(r, &Self::META, out) != Some(true)
        {
            return;
        }
        let message = "a production namespace that a plan may destroy: write lifecycle { prevent_destroy = true }";
        let mut finding = r.finding(Self::META.id, Self::META.severity, "", message);
        finding.place = r.header;
        out.push(finding);
    }
    fn change(&self, r: &Resource, planned: &Planned, out: &mut Sink<'_>) {
        let what = match planned.change {
            Change::Delete => "deletes",
            Change::Replace => "deletes and makes anew",
            _ => return,
        };
        if r.noun.name == "namespace" && is_production(r, &Self::META, out) == Some(true) {
            let message = format!("the plan {what} a production namespace, with everything in it");
            out.push(r.finding(Self::META.id, Severity::Error, "", message));
        }
    }
}

rule!(RegistryNotAllowed, "SMP405", "registry-not-allowed", Error);
impl Check for RegistryNotAllowed {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        let (path, allowed) = ("container.image", &out.settings.registries);
        if !is_application(r) || allowed.is_empty() {
            return;
        }
        let Some(image) = out.known(&Self::META, r, path).and_then(|leaf| leaf.text()) else { return };
        let Ok(image) = sampan_schema::image_ref::parse(image) else { return };
        let repository = image.repository();
        let is_allowed = |pattern: &String| matches(pattern, &image.host) || matches(pattern, &repository);
        if !allowed.iter().any(is_allowed) {
            let message = format!("{repository} is of no registry that is allowed: {}", allowed.join(", "));
            out.push(r.finding(Self::META.id, Self::META.severity, path, message));
        }
    }
}

rule!(MissingLabels, "SMP602", "missing-labels", Warning);
impl Check for MissingLabels {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        for label in &out.settings.required_labels {
            let path = format!("labels[{label:?}]");
            let leaf = r.leaf(&path);
            if let Some(cause) = leaf.cause() {
                out.waits(&Self::META, r, "labels", cause);
                return;
            }
        }
        let missing = |label: &&String| r.leaf(&format!("labels[{label:?}]")).is_absent();
        let missing: Vec<&str> = out.settings.required_labels.iter().filter(missing).map(String::as_str).collect();
        if !missing.is_empty() {
            let message = format!("required labels are absent: {}", missing.join(", "));
            out.push(r.finding(Self::META.id, Self::META.severity, "labels", message));
        }
    }
}

rule!(SameIdentity, "SMP906", "same-identity", Error);
impl Check for SameIdentity {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn all(&self, resources: &[Resource], out: &mut Sink<'_>) {
        let mut seen: BTreeMap<(&str, &str, &str), &Resource> = BTreeMap::new();
        for r in resources.iter().filter(|r| r.condition.is_none()) {
            let namespace = match r.leaf("namespace") {
                Leaf::Known(value) => value.as_str(),
                Leaf::Absent => Some(""),
                Leaf::Unknown(_) => None,
            };
            let (Some(namespace), Some(name)) = (namespace, r.leaf("name").text()) else { continue };
            if let Some(first) = seen.get(&(r.noun.name, namespace, name)) {
                let message =
                    format!("{} is the same {} as {}", r.noun.id(namespace, name), r.noun.name, first.address);
                let mut finding = r.finding(Self::META.id, Severity::Error, "name", message);
                finding.related = first.header.map(|place| (place, "the other one".into()));
                out.push(finding);
            } else {
                seen.insert((r.noun.name, namespace, name), r);
            }
        }
    }
}
