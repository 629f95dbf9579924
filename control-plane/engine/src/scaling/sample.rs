//! What was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A value that is older says nothing any more.
pub(super) const STALE_MS: i64 = 120_000;

/// The samples of a rule, by the name of the metric in the rule.
pub type Metrics = BTreeMap<String, Sample>;

/// The newest value of a metric and the tries since.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// `None` until the first success.
    pub reading: Option<Reading>,
    /// When it was read, in milliseconds since the epoch.
    pub at: i64,
    /// How much of the metric's window it covers, in milliseconds: less after a start. Then it removes nothing.
    pub covers_ms: i64,
    /// Why the last try failed; empty when it did not.
    pub problem: String,
}

/// In the unit of the target: `cpu` and `memory` in percent for `utilization`, else in cores and MiB; `qps` per second;
/// `response_time_ms` in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reading {
    /// Of each instance, averaged over the window: `cpu`, `memory`, `tcp_connections`.
    Instances(Vec<InstanceSample>),
    /// Of all instances together, averaged over the window and over a tenth of it (at least 6 s): `qps`,
    /// `concurrency`.
    Load { stable: f64, burst: f64 },
    /// Mean until the answer's head, and requests per second.
    ResponseTime { ms: f64, qps: f64 },
    /// One number for the application: `prometheus`, `external`, and `tcp_connections` where they are counted in one
    /// place.
    Total(f64),
}

/// One instance. Those that shall leave are left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InstanceSample {
    /// `None` when it could not be read.
    pub value: Option<f64>,
    pub ready: bool,
    /// Since its container started, in milliseconds.
    pub age_ms: i64,
}

impl Sample {
    /// A fresh value over the whole window.
    pub fn fresh(reading: Reading, at: i64) -> Self {
        Self { reading: Some(reading), at, covers_ms: i64::MAX, problem: String::new() }
    }

    /// One that could not be read.
    pub fn missing(problem: &str) -> Self {
        Self { problem: problem.into(), ..Self::default() }
    }

    /// The value, unless it is old or no number.
    pub(super) fn usable(&self, now: i64) -> Result<&Reading, Unusable> {
        let Some(reading) = &self.reading else { return Err(Unusable::NeverRead) };
        let age = now.saturating_sub(self.at);
        if age > STALE_MS {
            return Err(Unusable::Stale { age_ms: age });
        }
        let number = |v: f64| v.is_finite() && v >= 0.0;
        let fine = match reading {
            Reading::Instances(all) => all.iter().filter_map(|i| i.value).all(number),
            Reading::Load { stable, burst } => number(*stable) && number(*burst),
            Reading::ResponseTime { ms, qps } => number(*ms) && number(*qps),
            Reading::Total(v) => number(*v),
        };
        if fine { Ok(reading) } else { Err(Unusable::NoNumber) }
    }
}

/// Why a sample has no say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unusable {
    NeverRead,
    Stale {
        age_ms: i64,
    },
    /// NaN, infinite or negative.
    NoNumber,
    /// A reading of another shape than the metric has.
    OtherShape,
}
