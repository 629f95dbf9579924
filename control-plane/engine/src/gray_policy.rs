//! A release under a gray policy: how many instances are gray in a step, and which requests they get.

use std::collections::BTreeMap;

use sampan_schema::gray_policy::{Capacity, Spec, Step, Strategy};
use sampan_schema::int_or_percent;
use serde::{Deserialize, Serialize};

use crate::analysis::Check;
use crate::route::Split;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Instances go to the revision until the step has its number.
    #[default]
    Updating,
    /// They are ready; time passes and analyses judge.
    Verifying,
}

/// What a release under a gray policy has beside a plain one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gray {
    /// As it was when the present step began: a change of the policy counts from the next step.
    pub policy: Option<Spec>,
    /// From 0. The number of the policy's steps stands for the last one, which is everything.
    pub step: usize,
    pub stage: Stage,
    /// When the stage began, in milliseconds since the epoch.
    pub since: i64,
    /// By the name of the analysis; of the present step.
    pub checks: BTreeMap<String, Check>,
    /// Scale operations that came meanwhile.
    pub scales: Vec<String>,
    /// Of `blue_green`: when all requests went to the new set.
    pub switched_at: Option<i64>,
}

/// Sizes of batches: `n` instances, the first batch `g`, the rest in `k` (SAE's rule: later ones are larger).
pub fn batches(n: u64, g: u64, k: u64) -> Vec<u64> {
    let mut out: Vec<u64> = if g > 0 { vec![g.min(n)] } else { vec![] };
    let rest = n - g.min(n);
    let k = k.min(rest);
    for i in 0..k {
        out.push(rest / k + u64::from(i >= k - rest % k));
    }
    out
}

impl Gray {
    /// At the first step of a policy; `now` in milliseconds since the epoch.
    pub fn new(policy: Spec, now: i64) -> Self {
        Self { policy: Some(policy), since: now, ..Self::default() }
    }

    fn steps(&self) -> &[Step] {
        self.policy.as_ref().map_or(&[], |p| &p.steps)
    }

    /// Steps with the last one, which is everything.
    pub fn total_steps(&self) -> usize {
        self.steps().len() + 1
    }

    /// The present step; `None` in the last one.
    pub fn current(&self) -> Option<&Step> {
        self.steps().get(self.step)
    }

    /// All instances go to the revision.
    pub fn is_promoting(&self) -> bool {
        self.current().is_none()
    }

    fn strategy(&self) -> Strategy {
        self.policy.as_ref().map(|p| p.strategy).unwrap_or_default()
    }

    /// The lane of the revision that is released.
    pub fn lane(&self) -> Option<&str> {
        let policy = self.policy.as_ref().filter(|p| p.strategy != Strategy::Batch)?;
        Some(&policy.tag)
    }

    /// Gray instances are made beside the stable ones.
    pub fn is_additional(&self) -> bool {
        match self.strategy() {
            Strategy::BlueGreen => true,
            Strategy::Canary => self.policy.as_ref().is_some_and(|p| p.capacity == Capacity::Extra),
            Strategy::Batch => false,
        }
    }

    /// A full second set that is switched to.
    pub fn is_blue_green(&self) -> bool {
        self.strategy() == Strategy::BlueGreen
    }

    /// Instances of `n` that are wanted on the revision in step `step`.
    fn wanted_in(&self, step: usize, n: u64) -> u64 {
        let steps = self.steps();
        if step >= steps.len() || self.is_blue_green() {
            return n;
        }
        let even = || {
            let sizes = batches(n, 0, self.total_steps() as u64);
            sizes.iter().take(step + 1).sum::<u64>()
        };
        let s = &steps[step];
        let wanted = match (&s.replicas, s.weight()) {
            (Some(replicas), _) => int_or_percent::of(replicas, n, true).unwrap_or(n),
            (None, Some(weight)) => (n * u64::from(weight)).div_ceil(10_000),
            (None, None) => even(),
        };
        let large = self.policy.as_ref().is_some_and(|p| p.allow_large_first_step);
        let most = if step == 0 && !large && !self.is_additional() { (n / 2).max(1) } else { n };
        wanted.clamp(u64::from(n > 0), most.min(n))
    }

    /// Instances of `n` that are wanted on the revision now. Never fewer than in a step before.
    pub fn wanted(&self, n: u64) -> u64 {
        (0..=self.step).map(|step| self.wanted_in(step, n)).max().unwrap_or(n)
    }

    /// Instances beside the `n` of the application.
    pub fn additional(&self, n: u64) -> u64 {
        match self.is_additional() {
            false => 0,
            // Once all are on the revision the surplus goes.
            true if self.is_promoting() && !self.is_blue_green() => self.wanted_before(n),
            true => self.wanted(n),
        }
    }

    fn wanted_before(&self, n: u64) -> u64 {
        (0..self.steps().len()).map(|step| self.wanted_in(step, n)).max().unwrap_or(0)
    }

    /// Which requests gray gets. `target` is the revision that is released; `n` instances are wanted in all.
    pub fn split(&self, target: &str, salt: u64, n: u64) -> Option<Split> {
        let policy = self.policy.as_ref()?;
        if self.strategy() == Strategy::Batch {
            return None;
        }
        let split = Split {
            gray: target.to_owned(),
            shared: !self.is_additional(),
            sticky: policy.sticky.clone(),
            tag: policy.tag.clone(),
            salt,
            ..Split::default()
        };
        if self.is_promoting() {
            // A full second set is switched to at once; else the share follows the instances.
            let shared = !self.is_blue_green();
            return Some(Split { weight: 10_000, shared, matches: self.matches_before(), ..split });
        }
        // Additional instances get the step's requests when all of them are ready. Of shared ones each takes its share
        // as it comes, so that no capacity is idle.
        let at = match (self.stage, self.is_additional()) {
            (Stage::Updating, true) => self.step.checked_sub(1),
            _ => Some(self.step),
        };
        let step = at.and_then(|at| policy.steps.get(at));
        let weight = match (step, at) {
            (Some(s), Some(at)) => match (s.weight(), s.matches.is_empty()) {
                (Some(weight), _) => weight,
                // Of a full second set nothing, until it is switched to.
                (None, true) if n > 0 && !self.is_blue_green() => (10_000 * self.wanted_in(at, n) / n) as u32,
                _ => 0,
            },
            _ => 0,
        };
        let matches = step.map(|s| s.matches.clone()).unwrap_or_default();
        Some(Split { weight, matches, ..split })
    }

    fn matches_before(&self) -> Vec<sampan_schema::gray_policy::Match> {
        self.steps().last().map(|s| s.matches.clone()).unwrap_or_default()
    }

    /// Enters a step, under the policy as it is now.
    pub fn enter(&mut self, step: usize, policy: Option<&Spec>, now: i64) {
        if let Some(policy) = policy {
            self.policy = Some(policy.clone());
        }
        self.step = step.min(self.steps().len());
        self.stage = Stage::Updating;
        self.since = now;
        self.checks.clear();
    }
}

/// All requests to what was before: the split of a release that is taken back.
pub fn shunned(revision: &str) -> Split {
    Split { gray: revision.to_owned(), shunned: Some(revision.to_owned()), ..Split::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gray(policy: serde_json::Value) -> Gray {
        let mut spec = json!({ "namespace": "n", "name": "p" });
        for (key, value) in policy.as_object().unwrap() {
            spec[key] = value.clone();
        }
        Gray::new(serde_json::from_value(spec).unwrap(), 0)
    }

    fn wanted(gray: &Gray, n: u64) -> Vec<u64> {
        (0..gray.total_steps()).map(|step| Gray { step, ..gray.clone() }.wanted(n)).collect()
    }

    #[test]
    fn batches_follow_the_rule_of_the_original() {
        assert_eq!(batches(10, 3, 3), [3, 2, 2, 3]);
        assert_eq!(batches(10, 0, 3), [3, 3, 4]);
        assert_eq!(batches(2, 1, 5), [1, 1]);
        assert_eq!(batches(1, 1, 3), [1]);
        assert_eq!(batches(0, 0, 3), Vec::<u64>::new());
    }

    #[test]
    fn steps_give_numbers_that_never_fall_and_end_with_everything() {
        let shared =
            gray(json!({ "steps": [{ "weight_percent": 5 }, { "replicas": "50%" }, { "weight_percent": 70 }] }));
        assert_eq!(wanted(&shared, 10), [1, 5, 7, 10]);
        assert_eq!(wanted(&shared, 4), [1, 2, 3, 4]);
        assert_eq!(wanted(&shared, 2), [1, 1, 2, 2]);
        assert_eq!(wanted(&shared, 0), [0, 0, 0, 0]);
        let even = gray(json!({ "strategy": "batch", "steps": [{}, {}, {}] }));
        assert_eq!(wanted(&even, 10), [2, 4, 7, 10]);
        assert_eq!(wanted(&even, 3), [1, 2, 3, 3]);
    }

    #[test]
    fn a_first_step_takes_half_at_most_unless_it_may_take_more() {
        let mut policy = json!({ "steps": [{ "replicas": "80%" }] });
        assert_eq!(wanted(&gray(policy.clone()), 10)[0], 5);
        policy["allow_large_first_step"] = true.into();
        assert_eq!(wanted(&gray(policy), 10)[0], 8);
    }

    #[test]
    fn additional_instances_get_a_steps_requests_when_all_are_ready_and_shared_ones_as_they_come() {
        let steps = json!([{ "weight_percent": 5 }, { "weight_percent": 20.25 }]);
        let weight = |gray: &Gray| gray.split("r2", 7, 10).unwrap().weight;
        let mut extra = gray(json!({ "capacity": "extra", "steps": steps }));
        assert_eq!((extra.additional(10), weight(&extra)), (1, 0));
        extra.stage = Stage::Verifying;
        assert_eq!(weight(&extra), 500);
        extra.enter(1, None, 0);
        assert_eq!((extra.additional(10), weight(&extra)), (3, 500));
        extra.enter(2, None, 0);
        assert_eq!((extra.additional(10), weight(&extra), extra.is_promoting()), (3, 10_000, true));
        let shared = gray(json!({ "steps": steps }));
        assert_eq!((shared.additional(10), weight(&shared)), (0, 500));
        assert!(shared.split("r2", 7, 10).unwrap().shared);
    }

    #[test]
    fn a_full_second_set_is_switched_to_at_once() {
        let mut gray = gray(json!({ "strategy": "blue_green", "steps": [{ "pause": { "manual": true } }] }));
        assert_eq!((gray.wanted(4), gray.additional(4)), (4, 4));
        gray.stage = Stage::Verifying;
        let preview = gray.split("r2", 7, 4).unwrap();
        assert_eq!((preview.weight, preview.shared), (0, false));
        gray.enter(1, None, 0);
        let all = gray.split("r2", 7, 4).unwrap();
        assert_eq!((all.weight, all.shared, gray.additional(4)), (10_000, false, 4));
    }
}
