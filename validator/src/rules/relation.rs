//! How resources of a configuration find each other: by namespace and name, as the server will.

use std::collections::BTreeMap;

use super::{Check, Meta, Sink, rule};
use crate::eval::value::Cause;
use crate::finding::Severity;
use crate::view::{Leaf, Resource};

/// Namespace and name of an object; the namespace is empty where the provider's counts.
pub enum Key {
    Known((String, String)),
    /// Which path is not certain, and why.
    Unknown(&'static str, Cause),
}

/// What a resource is, or what it names in the attribute `name`.
pub fn key_of(r: &Resource, name: &'static str) -> Key {
    let text = |path: &'static str| match r.leaf(path) {
        Leaf::Known(value) => Ok(value.as_str().unwrap_or_default().to_owned()),
        Leaf::Absent => Ok(String::new()),
        Leaf::Unknown(cause) => Err((path, cause)),
    };
    match (text("namespace"), text(name)) {
        (Ok(namespace), Ok(name)) => Key::Known((namespace, name)),
        (Err((path, cause)), _) | (_, Err((path, cause))) => Key::Unknown(path, cause),
    }
}

/// The resources of a noun by what they are. Those that may not exist are left out.
pub fn by_key<'r>(
    resources: &'r [Resource],
    noun: &str,
    name: &'static str,
) -> BTreeMap<(String, String), &'r Resource> {
    let certain = resources.iter().filter(|r| r.noun.name == noun && r.condition.is_none());
    certain
        .filter_map(|r| match key_of(r, name) {
            Key::Known(key) => Some((key, r)),
            Key::Unknown(..) => None,
        })
        .collect()
}

rule!(NamespaceMismatch, "SMP905", "namespace-mismatch", Error);
impl Check for NamespaceMismatch {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn all(&self, resources: &[Resource], out: &mut Sink<'_>) {
        let mut by_address: BTreeMap<String, Vec<&Resource>> = BTreeMap::new();
        for r in resources {
            by_address.entry(r.address_without_key()).or_default().push(r);
        }
        for r in resources.iter().filter(|r| r.noun.namespaced) {
            for (path, target) in &r.names_of {
                if let Some(targets) = by_address.get(&format!("{}{target}", r.module)) {
                    mismatch(r, path, target, targets, out);
                }
            }
        }
    }
}

/// Certain only when every instance that may be meant is in another namespace.
fn mismatch(r: &Resource, path: &str, target: &str, targets: &[&Resource], out: &mut Sink<'_>) {
    let Some(Leaf::Known(own)) = out.known(&NamespaceMismatch::META, r, "namespace") else { return };
    let mut other = None;
    for one in targets.iter().filter(|t| t.noun.namespaced) {
        match out.known(&NamespaceMismatch::META, one, "namespace") {
            Some(Leaf::Known(namespace)) if namespace.as_str() != own.as_str() => other = namespace.as_str(),
            // The same one, the provider's, or not known.
            _ => return,
        }
    }
    let (Some(other), Some(own)) = (other, own.as_str()) else { return };
    let message =
        format!("{target} is in the namespace {other:?}, and this is in {own:?}: names count in one namespace");
    let mut finding = r.finding(NamespaceMismatch::META.id, Severity::Error, path, message);
    finding.related = targets.first().and_then(|t| t.header).map(|place| (place, "what is named".into()));
    out.push(finding);
}
