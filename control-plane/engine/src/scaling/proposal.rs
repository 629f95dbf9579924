//! What one metric asks for.

use sampan_schema::scaling_rule::{Metric, MetricType, TargetType};
use serde::{Deserialize, Serialize};

use super::sample::{InstanceSample, Reading, Sample, Unusable};

/// The processor time of an instance that is not ready does not count so long after its start.
const WARMING_MS: i64 = 60_000;
/// A burst of so many times what is ready begins the panic.
const PANIC: f64 = 2.0;
const MOST_OUT: f64 = 1000.0;
/// Response times above the target ask for so many times as many at most.
const MOST_SLOW: f64 = 2.0;

/// What a metric was, and how many instances it asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its name in the rule.
    pub metric: String,
    #[serde(rename = "type")]
    pub kind: MetricType,
    pub target_type: TargetType,
    pub target: f64,
    /// Per instance for utilization, else of all instances together; null when it cannot be read.
    pub value: Option<f64>,
    /// Null when it has nothing to say.
    pub wanted: Option<u32>,
    /// It allows fewer instances than there are.
    pub lowers: bool,
    /// Why it has nothing to say, or does not lower.
    pub gap: Option<Gap>,
    /// Of `qps` and `concurrency`: what the burst alone asks for when it begins a panic.
    pub panic: Option<u32>,
}

/// What is missing of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Gap {
    Missing {
        why: Unusable,
        /// What the last try said.
        problem: String,
    },
    /// So many ready instances have no value.
    Partial { instances: u32 },
    /// It covers less than its window.
    Young { covers_ms: i64 },
}

/// The size that a proposal is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub current: u32,
    pub ready: u32,
}

/// Around the target nothing changes: shares, such as 0.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub out: f64,
    pub back: f64,
}

/// How many instances the load is for: at least when it asks for more, at most when it asks for fewer.
struct Demand {
    low: f64,
    high: f64,
}

/// A whole number of instances for a demand. What is a hair above a number is that number.
pub(super) fn instances(demand: f64) -> u32 {
    // The cast saturates; what is no number becomes 0.
    (demand - 1e-9).ceil().max(0.0) as u32
}

impl Demand {
    fn of(load: f64) -> Self {
        Self { low: load, high: load }
    }

    /// Grows with the load, whatever the present size is.
    fn wanted(&self, current: u32, tolerance: Tolerance) -> u32 {
        let n = f64::from(current);
        if self.low > n * (1.0 + tolerance.out) {
            instances(self.low).max(current)
        } else if self.high < n * (1.0 - tolerance.back) {
            instances(self.high).min(current)
        } else {
            current
        }
    }
}

/// `concurrency`: the target of the rule's metric of that type, for response times.
pub(super) fn proposal(
    name: &str,
    metric: &Metric,
    sample: Option<&Sample>,
    size: Size,
    tolerance: Tolerance,
    concurrency: Option<f64>,
    now: i64,
) -> Proposal {
    let mut p = Proposal {
        metric: name.to_owned(),
        kind: metric.kind,
        target_type: metric.target_type(),
        target: metric.target,
        value: None,
        wanted: None,
        lowers: false,
        gap: None,
        panic: None,
    };
    let missing = |why| Gap::Missing { why, problem: sample.map_or_else(String::new, |s| s.problem.clone()) };
    let reading = match sample.map_or(Err(Unusable::NeverRead), |s| s.usable(now)) {
        Ok(reading) => reading,
        Err(why) => {
            p.gap = Some(missing(why));
            return p;
        }
    };
    let target = metric.target.max(f64::MIN_POSITIVE);
    let demand = match (metric.kind, reading) {
        (MetricType::Memory, Reading::Instances(all)) => {
            memory(&mut p, all, target, size, tolerance);
            return p;
        }
        (MetricType::Cpu | MetricType::TcpConnections, Reading::Instances(all)) => {
            per_instance(&mut p, all, target, metric.kind == MetricType::Cpu)
        }
        (MetricType::Qps | MetricType::Concurrency, Reading::Load { stable, burst }) => {
            p.value = Some(*stable);
            let ready = f64::from(size.ready.max(1));
            let bursting = instances(burst / target);
            p.panic = Some(bursting).filter(|n| f64::from(*n) / ready >= PANIC);
            let demand = (stable / target).min(MOST_OUT * ready);
            // At most halved at once.
            Demand { low: demand, high: demand.max(f64::from(size.ready / 2)) }
        }
        (MetricType::ResponseTimeMs, Reading::ResponseTime { ms, qps }) => {
            slow(&mut p, *ms, *qps, target, concurrency, size, tolerance);
            return p;
        }
        (MetricType::Prometheus | MetricType::External | MetricType::TcpConnections, Reading::Total(v)) => {
            p.value = Some(*v);
            match metric.target_type() {
                TargetType::Value => Demand::of(f64::from(size.ready) * v / target),
                _ => Demand::of(v / target),
            }
        }
        _ => {
            p.gap = Some(missing(Unusable::OtherShape));
            return p;
        }
    };
    let covers = sample.map_or(0, |s| s.covers_ms);
    if p.gap.is_none() && covers < metric.window_seconds.saturating_mul(1000) {
        p.gap = Some(Gap::Young { covers_ms: covers });
    }
    p.lowers = p.gap.is_none();
    let wanted = demand.wanted(size.current, tolerance);
    p.wanted = Some(if p.lowers { wanted } else { wanted.max(size.current) });
    p
}

/// Values that count, instances whose value does not count yet, and ready ones without a value.
fn counted(all: &[InstanceSample], cpu: bool) -> (f64, u32, u32, u32) {
    let (mut sum, mut with, mut warming, mut unread) = (0.0, 0, 0, 0);
    for i in all {
        let early = !i.ready && (!cpu || i.age_ms < WARMING_MS);
        match i.value {
            _ if early => warming += 1,
            Some(v) => {
                sum += v;
                with += 1;
            }
            None => unread += 1,
        }
    }
    (sum, with, warming, unread)
}

/// Instances that are not ready count nothing when more are asked for, and as much as the target when fewer are.
fn per_instance(p: &mut Proposal, all: &[InstanceSample], target: f64, cpu: bool) -> Demand {
    let (sum, with, warming, unread) = counted(all, cpu);
    let mean = p.target_type == TargetType::Utilization;
    p.value = (with > 0).then(|| if mean { sum / f64::from(with) } else { sum });
    if unread > 0 || all.is_empty() {
        p.gap = Some(Gap::Partial { instances: unread });
    }
    Demand { low: sum / target, high: sum / target + f64::from(warming) }
}

/// Asks for more above the target; keeps what there is while the smaller number could not hold it.
fn memory(p: &mut Proposal, all: &[InstanceSample], target: f64, size: Size, tolerance: Tolerance) {
    let demand = per_instance(p, all, target, false);
    p.wanted = Some(match demand.wanted(size.current, tolerance) {
        more if more > size.current => more,
        _ => instances(demand.high).min(size.current),
    });
    if p.gap.is_some() {
        p.wanted = p.wanted.map(|n| n.max(size.current));
    }
}

/// Above the target it asks for more, and lets none go. What the requests need at once by Little's law is the least.
fn slow(p: &mut Proposal, ms: f64, qps: f64, target: f64, concurrency: Option<f64>, size: Size, tolerance: Tolerance) {
    p.value = Some(ms);
    let needed = concurrency.map(|each| Demand::of(qps * ms / 1000.0 / each.max(f64::MIN_POSITIVE)));
    let needed = needed.map(|demand| demand.wanted(size.current, tolerance)).filter(|n| *n > size.current);
    let ratio = ms / target;
    let slower = if ratio > 1.0 + tolerance.out {
        Some(instances(f64::from(size.current) * ratio.min(MOST_SLOW)))
    } else if ratio > 1.0 {
        Some(size.current)
    } else {
        None
    };
    p.wanted = needed.max(slower);
}
