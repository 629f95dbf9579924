//! How many instances an application has: rules, samples and a forecast in, one number with its reasons out.
//!
//! `samples → proposal per metric → per rule: bounds, stabilisation, step limit, forecast → max over rules → quota`.
//! Missing data never removes an instance, and neither does a restart of the control plane: what is not known votes for
//! as many as there are. Nothing here writes a spec.

pub mod forecast;
mod history;
pub mod idle;
mod plan;
mod proposal;
mod reason;
mod rule;
mod sample;
pub mod simulate;

use std::collections::BTreeMap;

use sampan_schema::scaling_rule::Spec;
use serde::{Deserialize, Serialize};

pub use history::Track;
pub use plan::{Bounds, Plan};
pub use proposal::{Gap, Proposal};
pub use reason::{Direction, Reason};
pub use rule::{RuleDecision, RuleState};
pub use sample::{InstanceSample, Metrics, Reading, Sample, Unusable};

/// Everything that is known about one application. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub now: i64,
    /// When this process began to decide for the application: what it measured before is gone.
    pub started: i64,
    /// All rules of the application.
    pub rules: &'a [Rule<'a>],
    /// Instances that it shall have at present, whether or not they are there yet: the last decision, or the spec's
    /// `replicas` before the first.
    pub current: u32,
    /// Instances that are ready.
    pub ready: u32,
    /// From the decision to a ready instance, 90th percentile; 0 while it is not known.
    pub start_lag_ms: i64,
    pub rollout: Rollout,
    /// Most instances that the namespace's quota leaves for it; `None` without a quota.
    pub quota: Option<u32>,
    pub requests: Requests,
}

/// A rule with what was measured for it.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    pub spec: &'a Spec,
    /// Generation of the object: another one reads the windows anew.
    pub generation: i64,
    /// By the name of the metric in the rule. One that is not there was never read.
    pub metrics: &'a Metrics,
    /// Of a rule with `prediction`; see [`forecast::Series`].
    pub forecast: Option<&'a Forecast>,
}

/// What a release does at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rollout {
    #[default]
    None,
    /// Under way, waiting for a person, or going back: anything that is not over.
    Active,
}

/// Requests at the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// When the last one came; `None` when none has come since the start.
    pub last: Option<i64>,
    /// How many wait for an instance.
    pub waiting: u32,
}

/// What the forecast says at `now`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Highest load within the start-up lag, uplift included, in the unit of the metric.
    pub load: f64,
    /// Of one season before, corrected by the level.
    pub base: f64,
    /// Share above the base, 0.1 for 10 %.
    pub uplift: f64,
    pub gate: Gate,
}

/// Whether the forecast has proven itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Gate {
    Open,
    /// Fewer than two seasons of data.
    Short {
        days: f64,
    },
    /// The load of one season before says too little about the load now.
    NoSeason {
        autocorrelation: f64,
    },
    /// Weighted absolute percentage error over the last 7 days, in percent.
    Inaccurate {
        wape_percent: f64,
    },
    /// Not better than the value of one season before: the ratio of both errors.
    NotBetter {
        mase: f64,
    },
    /// Three bad hours in a row; closed until then, in milliseconds since the epoch.
    BadHours {
        until: i64,
    },
}

/// What is remembered from tick to tick. Kept in the store with the application; an empty one is always allowed and
/// removes no instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// By the name of the rule.
    pub rules: BTreeMap<String, RuleState>,
}

/// What kept the result from what was wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    #[default]
    None,
    Min,
    Max,
    Quota,
    Behavior,
    Fallback,
    Rollout,
    Schedule,
}

impl LimitedBy {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Min => "min",
            Self::Max => "max",
            Self::Quota => "quota",
            Self::Behavior => "behavior",
            Self::Fallback => "fallback",
            Self::Rollout => "rollout",
            Self::Schedule => "schedule",
        }
    }
}

/// One decision, with everything that led to it. Its `Display` is one sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// In milliseconds since the epoch.
    pub at: i64,
    pub from: u32,
    pub ready: u32,
    pub to: u32,
    pub limited_by: LimitedBy,
    pub quota: Option<u32>,
    /// Of the enabled rules, in the order of the view.
    pub rules: Vec<RuleDecision>,
    /// When it can come out otherwise without any new sample, in milliseconds since the epoch; `None` if never.
    pub wake_at: Option<i64>,
}

impl Decision {
    /// Whether it belongs into the log: it changes something, or was kept from it.
    pub fn is_notable(&self) -> bool {
        self.to != self.from || self.rules.iter().any(|r| r.wanted != self.to && r.wanted > self.from)
    }

    /// Whether any rule has a say. Without one the application's `replicas` are in force.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }
}

/// Instances that a start begins with: the largest of the rules' lower bounds at `now`. `None` without an enabled rule.
pub fn floor<'a>(rules: impl Iterator<Item = &'a Spec>, now: i64) -> Option<u32> {
    let least = |spec: &Spec| {
        let mut plan = Plan::default();
        // No generation of an object, so that it is read.
        plan.at(spec, -1, now);
        plan.bounds.min
    };
    rules.filter(|spec| spec.enabled).map(least).max()
}

/// Decides, and moves the state on. Without an enabled rule nothing changes. Call it at any rate: once a second for
/// metrics of the gateway, and at once when a request waits.
pub fn decide(view: &View<'_>, state: &mut State) -> Decision {
    let enabled = || view.rules.iter().filter(|rule| rule.spec.enabled);
    state.rules.retain(|name, _| enabled().any(|rule| rule.spec.name == *name));
    let mut wake_at = i64::MAX;
    let mut rules: Vec<RuleDecision> = Vec::new();
    for rule in enabled() {
        if !state.rules.contains_key(&rule.spec.name) {
            state.rules.insert(rule.spec.name.clone(), RuleState::new(view.now));
        }
        let Some(mine) = state.rules.get_mut(&rule.spec.name) else { continue };
        rules.push(rule::decide(view, rule, mine, &mut wake_at));
    }
    let wanted = rules.iter().max_by_key(|rule| rule.result);
    let (mut to, mut limited_by) = wanted.map_or((view.current, LimitedBy::None), |r| (r.result, r.limited_by));
    // A quota that was lowered takes nothing away.
    if let Some(most) = view.quota.map(|quota| quota.max(view.current)).filter(|most| to > *most) {
        (to, limited_by) = (most, LimitedBy::Quota);
    }
    for rule in enabled() {
        if let Some(mine) = state.rules.get_mut(&rule.spec.name) {
            mine.settle(view.now, to);
        }
    }
    Decision {
        at: view.now,
        from: view.current,
        ready: view.ready,
        to,
        limited_by,
        quota: view.quota,
        rules,
        wake_at: Some(wake_at).filter(|at| *at < i64::MAX),
    }
}
