//! Rules about what a plan changes.

use super::{Check, Meta, Sink, rule};
use crate::eval::value::Value;
use crate::plan::{Change, Planned};
use crate::view::Resource;

rule!(ReleaseWithoutPolicy, "SMP211", "release-without-policy", Warning);
impl Check for ReleaseWithoutPolicy {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn change(&self, r: &Resource, planned: &Planned, out: &mut Sink<'_>) {
        if planned.change != Change::Update || r.noun.name != "application" {
            return;
        }
        let before = planned.before.as_dict().and_then(|all| all.get("container")?.as_dict()?.get("image"));
        let Some(before) = before.and_then(Value::as_str) else { return };
        let Some(policy) = out.known(&Self::META, r, "gray_policy").filter(crate::view::Leaf::is_absent) else {
            return;
        };
        let Some(after) = out.known(&Self::META, r, "container.image") else { return };
        if policy.is_absent() && after.text().is_some_and(|after| after != before) {
            let message = "the plan releases another image to all instances at once: no gray policy governs it";
            out.push(r.finding(Self::META.id, Self::META.severity, "container.image", message));
        }
    }
}
