//! A load, minute by minute, against a policy: what would have been short, and what it would have cost.

mod trace;
mod workload;

use std::collections::VecDeque;

use sampan_schema::scaling_rule::{Metric, MetricType, Prediction, PredictionMode, Spec};
use serde::{Deserialize, Serialize};

use super::forecast::{Series, Settings};
use super::proposal::instances;
use super::{Gate, Metrics, Reading, Requests, Rollout, Rule, Sample, State, View, decide};

pub use trace::{MOST_MINUTES, Trace, TraceError};
pub use workload::{Shape, workload};

const MINUTE_MS: i64 = 60_000;
const METRIC: &str = "qps";
/// Of what an instance can carry.
pub const TARGET: f64 = 0.7;
/// The default capacity is the trace's peak by this.
pub const PEAK_INSTANCES: f64 = 40.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A rule with a metric.
    Reactive,
    /// The forecast alone, whether or not it has proven itself; the metric until there is a forecast.
    Predictive,
    /// A rule with a metric and `prediction` in `auto`.
    Both,
    Fixed(u32),
}

impl std::str::FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("fixed=").map(str::parse)) {
            ("reactive", _) => Ok(Self::Reactive),
            ("predictive", _) => Ok(Self::Predictive),
            ("both", _) => Ok(Self::Both),
            (_, Some(Ok(n))) if n <= 10_000 => Ok(Self::Fixed(n)),
            _ => Err(format!("{text:?} is no policy: write reactive, predictive, both, or fixed=N with N up to 10000")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    pub policy: Policy,
    /// What one instance carries, in the unit of the load.
    pub capacity: f64,
    /// From the decision to a ready instance.
    pub start_lag_ms: i64,
    /// So old is what is known of the load.
    pub metric_delay_ms: i64,
    pub min: u32,
    pub max: u32,
}

impl Setting {
    /// The defaults for a load: a peak of 40 instances, 300 s to start one, a delay of 60 s, 1 to 100 instances.
    pub fn new(policy: Policy, load: &[f64]) -> Self {
        let peak = load.iter().copied().fold(0.0, f64::max);
        let capacity = if peak > 0.0 { peak / PEAK_INSTANCES } else { 1.0 };
        Self { policy, capacity, start_lag_ms: 300_000, metric_delay_ms: 60_000, min: 1, max: 100 }
    }
}

/// What came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Minutes in which the load was above what the ready instances carry.
    pub minutes_short: u64,
    /// Load that was above it: its unit times minutes.
    pub work_lost: f64,
    /// Instances that were there, ready or starting, times hours.
    pub instance_hours: f64,
    /// How often the number changed.
    pub changes: u64,
    /// Share of the time in which the forecast was allowed to act; 0 for policies without one.
    pub gate_open_share: f64,
}

/// One minute, for a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Minute {
    pub load: f64,
    pub size: u32,
    pub ready: u32,
    pub gate_open: bool,
}

/// The rule that the policy stands for.
fn rule(setting: &Setting) -> Spec {
    let metric = Metric {
        kind: MetricType::Qps,
        target: setting.capacity * TARGET,
        target_type: None,
        activation_target: 0.0,
        window_seconds: 60,
        query: None,
        endpoint: None,
        auth_secret: None,
    };
    let prediction = Prediction { mode: PredictionMode::Auto, ..Prediction::default() };
    Spec {
        namespace: "simulated".into(),
        application: "simulated".into(),
        name: "simulated".into(),
        enabled: true,
        min_replicas: i64::from(setting.min),
        max_replicas: i64::from(setting.max),
        metrics: [(METRIC.to_owned(), metric)].into(),
        schedules: Vec::new(),
        behavior: Default::default(),
        scale_to_zero: None,
        fallback: Default::default(),
        prediction: (setting.policy == Policy::Both).then_some(prediction),
        during_rollout: Default::default(),
    }
}

/// Runs a policy on a load, one value a minute, that begins at `begin` (milliseconds since the epoch). `each` sees
/// every minute.
pub fn simulate(load: &[f64], begin: i64, setting: &Setting, mut each: impl FnMut(Minute)) -> Outcome {
    let spec = rule(setting);
    let settings = Settings::of(&Prediction::default(), setting.start_lag_ms);
    let forecasts = matches!(setting.policy, Policy::Predictive | Policy::Both);
    let (mut state, mut series, mut out) = (State::default(), Series::default(), Outcome::default());
    let target = setting.capacity * TARGET;
    let clamp = |n: u32| n.max(setting.min).min(setting.max);
    // As it would stand if it had always been like that.
    let mut size = match setting.policy {
        Policy::Fixed(n) => n,
        _ => clamp(instances(load.first().copied().unwrap_or(0.0) / target)),
    };
    let delay = usize::try_from((setting.metric_delay_ms.max(0) + MINUTE_MS - 1) / MINUTE_MS).unwrap_or(0);
    let mut sizes: VecDeque<(i64, u32)> = VecDeque::new();
    let mut open = 0_u64;
    for (minute, now_load) in load.iter().enumerate() {
        let now = begin + minute as i64 * MINUTE_MS;
        sizes.push_back((now, size));
        // Of two that start and one that goes, one that starts goes: ready is what there was all the time.
        while sizes.front().is_some_and(|(at, _)| *at <= now - setting.start_lag_ms.max(1)) {
            sizes.pop_front();
        }
        let ready = sizes.iter().map(|(_, n)| *n).min().unwrap_or(size);
        let missing = now_load - f64::from(ready) * setting.capacity;
        if missing > setting.capacity * 1e-9 {
            out.minutes_short += 1;
            out.work_lost += missing;
        }
        out.instance_hours += f64::from(size) / 60.0;
        let gate_open = forecasts && *series.gate() == Gate::Open;
        open += u64::from(gate_open);
        each(Minute { load: *now_load, size, ready, gate_open });
        let to = match setting.policy {
            Policy::Fixed(n) => n,
            _ => {
                let seen = load[minute.saturating_sub(delay)];
                if forecasts && minute >= delay {
                    series.push(now - delay as i64 * MINUTE_MS, seen, &settings);
                }
                let forecast = if forecasts { series.forecast(now, &settings) } else { None };
                match (setting.policy, &forecast) {
                    (Policy::Predictive, Some(forecast)) => clamp(instances(forecast.load / target)),
                    _ => {
                        let reading = Reading::Load { stable: seen, burst: seen };
                        let metrics = Metrics::from([(METRIC.to_owned(), Sample::fresh(reading, now))]);
                        let forecast = forecast.as_ref().filter(|_| setting.policy == Policy::Both);
                        let rules = [Rule { spec: &spec, generation: 1, metrics: &metrics, forecast }];
                        let view = View {
                            now,
                            started: begin,
                            rules: &rules,
                            current: size,
                            ready,
                            start_lag_ms: setting.start_lag_ms,
                            rollout: Rollout::None,
                            quota: None,
                            requests: Requests { last: Some(now), waiting: 0 },
                        };
                        decide(&view, &mut state).to
                    }
                }
            }
        };
        out.changes += u64::from(to != size);
        size = to;
    }
    out.gate_open_share = if load.is_empty() { 0.0 } else { open as f64 / load.len() as f64 };
    out
}
