//! From what was measured to the samples that a rule is decided by.

use std::collections::BTreeMap;
use std::time::Duration;

use sampan_engine::scaling::{InstanceSample, Metrics, Reading, Sample};
use sampan_gateway::Load;
use sampan_schema::scaling_rule::{Metric, MetricType, Spec, TargetType};

use super::board::Facts;
use super::history::{Loads, Usages};

/// The window for bursts is a tenth of the metric's, and not less than this.
const LEAST_BURST: i64 = 6_000;
const MIB: f64 = (1 << 20) as f64;

/// Everything that was measured for an application.
pub struct Measured<'a> {
    pub loads: &'a Loads,
    pub usages: &'a Usages,
    pub facts: &'a Facts,
    /// Answers of others, by rule and metric.
    pub answers: &'a BTreeMap<(String, String), Sample>,
}

/// The samples of a rule's metrics at `now`.
pub fn metrics(rule: &Spec, m: &Measured<'_>, now: i64) -> Metrics {
    rule.metrics.iter().map(|(name, metric)| (name.clone(), sample(rule, name, metric, m, now))).collect()
}

fn sample(rule: &Spec, name: &str, metric: &Metric, m: &Measured<'_>, now: i64) -> Sample {
    let window = metric.window_seconds * 1000;
    match metric.kind {
        MetricType::Qps => load(m.loads, window, |l| l.requests as f64),
        MetricType::Concurrency => load(m.loads, window, |l| l.concurrency.as_secs_f64()),
        MetricType::ResponseTimeMs => response_time(m.loads, window),
        MetricType::TcpConnections => connections(m.loads, window),
        MetricType::Cpu | MetricType::Memory => instances(metric, m, window, now),
        MetricType::Prometheus | MetricType::External => {
            let answer = m.answers.get(&(rule.name.clone(), name.to_owned()));
            answer.cloned().unwrap_or_else(|| Sample::missing("it has not answered yet"))
        }
    }
}

/// Growth per second of a counter, over the window and over a part of it.
fn load(loads: &Loads, window: i64, counter: impl Fn(&Load) -> f64) -> Sample {
    let rate = |window: i64| {
        let ((from, first), (to, last)) = loads.over(window)?;
        let seconds = (to - from) as f64 / 1000.0;
        Some(((counter(last) - counter(first)) / seconds, to - from, *to))
    };
    let burst = rate((window / 10).max(LEAST_BURST));
    match (rate(window), burst) {
        (Some((stable, covers_ms, at)), Some((burst, ..))) => {
            Sample { reading: Some(Reading::Load { stable, burst }), at, covers_ms, problem: String::new() }
        }
        _ => Sample::missing(BEGINNING),
    }
}

const BEGINNING: &str = "the gateway has only begun to count";

fn response_time(loads: &Loads, window: i64) -> Sample {
    let Some(((from, first), (to, last))) = loads.over(window) else { return Sample::missing(BEGINNING) };
    let answered = last.answered.saturating_sub(first.answered) as f64;
    let total = last.latency.checked_sub(first.latency).unwrap_or(Duration::ZERO).as_secs_f64() * 1000.0;
    let qps = answered * 1000.0 / (to - from) as f64;
    // Without an answer nothing was slow.
    let ms = if answered > 0.0 { total / answered } else { 0.0 };
    let reading = Some(Reading::ResponseTime { ms, qps });
    Sample { reading, at: *to, covers_ms: to - from, problem: String::new() }
}

fn connections(loads: &Loads, window: i64) -> Sample {
    let mean = loads.mean(window, |l| l.connections as f64);
    match (mean, loads.over(window)) {
        (Some(mean), Some(((from, _), (to, _)))) => {
            Sample { reading: Some(Reading::Total(mean)), at: *to, covers_ms: to - from, problem: String::new() }
        }
        _ => Sample::missing(BEGINNING),
    }
}

fn instances(metric: &Metric, m: &Measured<'_>, window: i64, now: i64) -> Sample {
    let share = metric.target_type() == TargetType::Utilization;
    let percent = |used: f64, limit: f64| (limit > 0.0).then(|| 100.0 * used / limit);
    let value = |i: &super::board::Instance| match metric.kind {
        MetricType::Cpu => {
            let cores = m.usages.cores(&i.name, window, now)?;
            if share { percent(cores * 1000.0, i.cpu_millis as f64) } else { Some(cores) }
        }
        _ => {
            let bytes = m.usages.memory(&i.name, window, now)?;
            if share { percent(bytes, i.memory_bytes as f64) } else { Some(bytes / MIB) }
        }
    };
    let all = m.facts.instances.iter().map(|i| InstanceSample {
        value: value(i),
        ready: i.ready,
        age_ms: m.usages.age(&i.name, now),
    });
    let reading = (m.usages.at > 0).then(|| Reading::Instances(all.collect()));
    let problem = match (&reading, m.usages.problem.is_empty()) {
        (None, true) => "the node has not been asked yet".to_owned(),
        _ => m.usages.problem.clone(),
    };
    Sample { reading, at: m.usages.at, covers_ms: m.usages.at - m.usages.since, problem }
}

#[cfg(test)]
mod tests {
    use sampan_engine::runtime::{Stats, Usage};
    use serde_json::json;

    use super::super::board::Instance;
    use super::*;

    fn rule(metrics: serde_json::Value) -> Spec {
        serde_json::from_value(json!({
            "namespace": "n", "application": "a", "name": "r", "min_replicas": 1, "max_replicas": 9, "metrics": metrics,
        }))
        .unwrap()
    }

    fn instance(name: &str, ready: bool) -> Instance {
        Instance { name: name.into(), ready, cpu_millis: 500, memory_bytes: 64 << 20 }
    }

    fn read(spec: &Spec, loads: &Loads, usages: &Usages, now: i64) -> Metrics {
        let facts = Facts { instances: vec![instance("i", true), instance("new", false)], ..Facts::default() };
        let answers = [(("r".to_owned(), "rows".to_owned()), Sample::fresh(Reading::Total(4.0), now))].into();
        metrics(spec, &Measured { loads, usages, facts: &facts, answers: &answers }, now)
    }

    #[test]
    fn requests_become_rates_concurrency_and_times() {
        let spec = rule(json!({
            "qps": { "type": "qps", "target": 50 }, "busy": { "type": "concurrency", "target": 5 },
            "slow": { "type": "response_time_ms", "target": 100 }, "tcp": { "type": "tcp_connections", "target": 10 },
        }));
        let mut loads = Loads::default();
        let none = read(&spec, &loads, &Usages::default(), 0);
        assert!(none.values().all(|s| s.reading.is_none() && !s.problem.is_empty()), "{none:?}");
        // 10 a second, then 100 a second for the last 6 s; each takes 20 ms.
        let mut requests = 0;
        for s in 0..=60 {
            requests += if s > 54 { 100 } else { 10 };
            let took = Duration::from_millis(20) * requests;
            let requests = u64::from(requests);
            let load = Load {
                requests,
                answered: requests,
                concurrency: took,
                latency: took,
                connections: 3,
                ..Load::default()
            };
            loads.push(s * 1000, load);
        }
        let got = read(&spec, &loads, &Usages::default(), 60_000);
        assert_eq!(got["qps"].reading, Some(Reading::Load { stable: 19.0, burst: 100.0 }));
        assert_eq!((got["qps"].covers_ms, got["qps"].at), (60_000, 60_000));
        assert_eq!(got["tcp"].reading, Some(Reading::Total(3.0)));
        let Some(Reading::Load { stable, burst }) = got["busy"].reading else { panic!("{got:?}") };
        assert!((stable - 0.38).abs() < 1e-6 && (burst - 2.0).abs() < 1e-6, "{stable} {burst}");
        let Some(Reading::ResponseTime { ms, qps }) = got["slow"].reading else { panic!("{got:?}") };
        assert!((ms - 20.0).abs() < 1e-6 && (qps - 19.0).abs() < 1e-6, "{ms} {qps}");
    }

    #[test]
    fn instances_are_held_against_what_they_may_use() {
        let spec = rule(json!({
            "cpu": { "type": "cpu", "target": 60 }, "cores": { "type": "cpu", "target": 1, "target_type": "average_value" },
            "memory": { "type": "memory", "target": 70 },
            "mib": { "type": "memory", "target": 70, "target_type": "average_value" },
            "rows": { "type": "external", "target": 1, "endpoint": "http://x.example/" },
        }));
        let mut usages = Usages::default();
        assert!(read(&spec, &Loads::default(), &usages, 0)["cpu"].reading.is_none());
        for at in [1_000, 16_000_i64] {
            usages.push(
                at,
                vec![Usage {
                    namespace: "n".into(),
                    application: "a".into(),
                    instance: "i".into(),
                    container: "c".into(),
                    attempt: 0,
                    stats: Stats {
                        cpu_nanos: Some(at as u64 * 250_000),
                        memory_working_set_bytes: Some(32 << 20),
                        at: at * 1_000_000,
                    },
                }],
            );
        }
        let got = read(&spec, &Loads::default(), &usages, 16_000);
        let values = |name: &str| match &got[name].reading {
            Some(Reading::Instances(all)) => all.iter().map(|i| (i.value, i.ready)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(values("cpu"), [(Some(50.0), true), (None, false)]);
        assert_eq!(values("cores"), [(Some(0.25), true), (None, false)]);
        assert_eq!(values("memory"), [(Some(50.0), true), (None, false)]);
        assert_eq!(values("mib"), [(Some(32.0), true), (None, false)]);
        assert_eq!(got["cpu"].covers_ms, 15_000);
        assert_eq!(got["rows"].reading, Some(Reading::Total(4.0)));
        usages.problem = "the runtime is away".into();
        let got = read(&spec, &Loads::default(), &usages, 16_000);
        assert_eq!((got["cpu"].problem.as_str(), got["cpu"].at), ("the runtime is away", 16_000));
    }
}
