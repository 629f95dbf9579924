//! Rules about releases that go to some first.

use super::{Check, Meta, Sink, rule};
use crate::view::{Leaf, Resource};

fn is_policy(r: &Resource) -> bool {
    r.noun.name == "gray_policy"
}

/// Number of steps, if certain.
fn steps(r: &Resource, rule: &'static Meta, out: &mut Sink<'_>) -> Option<usize> {
    match out.known(rule, r, "steps")? {
        Leaf::Known(value) => value.as_seq().map(<[_]>::len),
        _ => None,
    }
}

fn number(leaf: &Leaf<'_>) -> Option<f64> {
    match leaf {
        Leaf::Known(value) => value.as_number().and_then(|n| n.to_f64()),
        _ => None,
    }
}

rule!(OpenEnd, "SMP202", "open-end", Warning);
impl Check for OpenEnd {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_policy(r) {
            return;
        }
        let Some(last) = steps(r, &Self::META, out).and_then(|n| n.checked_sub(1)) else { return };
        let path = format!("steps[{last}].weight_percent");
        let Some(leaf) = out.known(&Self::META, r, &path) else { return };
        if let Some(weight) = number(&leaf).filter(|w| *w < 50.0) {
            let message =
                format!("the last step has {weight} percent, so the rest is released in one jump: add a step");
            out.push(r.finding(Self::META.id, Self::META.severity, &path, message));
        }
    }
}

rule!(BigFirstStep, "SMP203", "big-first-step", Warning);
impl Check for BigFirstStep {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_policy(r) {
            return;
        }
        let path = "steps[0].weight_percent";
        let Some(leaf) = out.known(&Self::META, r, path) else { return };
        if let Some(weight) = number(&leaf).filter(|w| *w > 25.0) {
            let message =
                format!("the first step has {weight} percent: an error in it meets more than a quarter of requests");
            out.push(r.finding(Self::META.id, Self::META.severity, path, message));
        }
    }
}

/// Whether a step is judged: its own analyses, or those of the policy.
fn is_judged(r: &Resource, rule: &'static Meta, step: usize, out: &mut Sink<'_>) -> Option<bool> {
    match out.known(rule, r, &format!("steps[{step}].analysis"))? {
        Leaf::Known(value) => Some(!value.is_empty()),
        _ => match out.known(rule, r, "analysis")? {
            Leaf::Known(value) => Some(!value.is_empty()),
            _ => Some(false),
        },
    }
}

rule!(NoStop, "SMP204", "no-stop", Warning);
impl Check for NoStop {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_policy(r) {
            return;
        }
        for step in 0..steps(r, &Self::META, out).unwrap_or(0) {
            let Some(pause) = out.known(&Self::META, r, &format!("steps[{step}].pause")) else { continue };
            if pause.is_absent() && is_judged(r, &Self::META, step, out) == Some(false) {
                let path = format!("steps[{step}]");
                let message = "nothing is looked at after this step: write a pause or an analysis";
                out.push(r.finding(Self::META.id, Self::META.severity, &path, message));
            }
        }
    }
}

rule!(NoAnalysis, "SMP205", "no-analysis", Warning);
impl Check for NoAnalysis {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_policy(r) {
            return;
        }
        let Some(analysis) = out.known(&Self::META, r, "analysis") else { return };
        let empty = match analysis {
            Leaf::Known(value) => value.is_empty(),
            _ => true,
        };
        if empty && has_manual_step(r, &Self::META, out) == Some(false) {
            let message = "no step is judged, by an analysis or by somebody: a bad release goes to all";
            out.push(r.finding(Self::META.id, Self::META.severity, "analysis", message));
        }
    }
}

/// Whether some step waits for somebody.
fn has_manual_step(r: &Resource, rule: &'static Meta, out: &mut Sink<'_>) -> Option<bool> {
    let mut all_known = true;
    for step in 0..steps(r, rule, out)? {
        match r.leaf(&format!("steps[{step}].pause.manual")) {
            Leaf::Known(value) if value.as_bool() == Some(true) => return Some(true),
            Leaf::Unknown(cause) => {
                out.waits(rule, r, &format!("steps[{step}].pause.manual"), &cause);
                all_known = false;
            }
            _ => {}
        }
    }
    all_known.then_some(false)
}

rule!(NoRollback, "SMP206", "no-rollback", Warning);
impl Check for NoRollback {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if !is_policy(r) {
            return;
        }
        let pauses = match out.known(&Self::META, r, "on_failure") {
            Some(Leaf::Absent) => true,
            Some(leaf) => leaf.text() == Some("pause"),
            None => return,
        };
        if pauses && has_manual_step(r, &Self::META, out) == Some(false) {
            let message =
                "a step that fails stays as it is and nobody is asked: on_failure = \"rollback\" or \"abort\"";
            out.push(r.finding(Self::META.id, Self::META.severity, "on_failure", message));
        }
    }
}

rule!(GrayWithoutReadiness, "SMP209", "gray-without-readiness", Error);
impl Check for GrayWithoutReadiness {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn resource(&self, r: &Resource, out: &mut Sink<'_>) {
        if r.noun.name != "application" || r.leaf("container").is_absent() {
            return;
        }
        let Some(probe) = out.known(&Self::META, r, "container.probes.readiness") else { return };
        if !probe.is_absent() {
            return;
        }
        let Some(policy) = out.known(&Self::META, r, "gray_policy") else { return };
        if !policy.is_absent() {
            let message = "a gray release sends requests to new instances, and without readiness probe nobody knows whether they answer";
            out.push(r.finding(Self::META.id, Self::META.severity, "gray_policy", message));
        }
    }
}
