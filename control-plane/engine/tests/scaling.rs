//! The autoscaler as a whole: what it must never do, and how it explains itself.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use proptest::prelude::*;
use sampan_engine::scaling::{
    Decision, Forecast, Gate, InstanceSample, LimitedBy, Metrics, Reading, Requests, Rollout, Rule, Sample, State,
    View, decide,
};
use sampan_schema::scaling_rule::Spec;
use serde_json::{Value, json};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
/// Some Monday noon.
const NOON: i64 = 1_767_614_400_000;

fn spec(more: Value) -> Spec {
    let mut all = json!({ "namespace": "n", "application": "a", "name": "r", "min_replicas": 1, "max_replicas": 40 });
    for (k, v) in more.as_object().unwrap() {
        all[k] = v.clone();
    }
    serde_json::from_value(all).unwrap()
}

fn qps(more: Value) -> Spec {
    let mut all = json!({ "metrics": { "qps": { "type": "qps", "target": 50 } } });
    for (k, v) in more.as_object().unwrap() {
        all[k] = v.clone();
    }
    spec(all)
}

/// An application that follows its decisions at once.
#[derive(Clone)]
struct World {
    rules: Vec<(Spec, Metrics, Option<Forecast>)>,
    state: State,
    now: i64,
    started: i64,
    current: u32,
    lag: i64,
    rollout: Rollout,
    quota: Option<u32>,
    requests: Requests,
}

impl World {
    fn new(current: u32, rules: Vec<Spec>) -> Self {
        Self {
            rules: rules.into_iter().map(|spec| (spec, Metrics::new(), None)).collect(),
            state: State::default(),
            now: NOON,
            // Long enough ago that a restart plays no part.
            started: NOON - 24 * 60 * MINUTE,
            current,
            lag: 0,
            rollout: Rollout::None,
            quota: None,
            requests: Requests { last: Some(NOON), waiting: 0 },
        }
    }

    fn load(&mut self, total: f64) -> &mut Self {
        let reading = Reading::Load { stable: total, burst: total };
        self.set("qps", Sample::fresh(reading, self.now))
    }

    fn set(&mut self, name: &str, sample: Sample) -> &mut Self {
        for (spec, metrics, _) in &mut self.rules {
            if spec.metrics.contains_key(name) {
                metrics.insert(name.into(), sample.clone());
            }
        }
        self
    }

    fn look(&mut self) -> Decision {
        let rules: Vec<Rule<'_>> = self
            .rules
            .iter()
            .map(|(spec, metrics, forecast)| Rule { spec, generation: 1, metrics, forecast: forecast.as_ref() })
            .collect();
        let view = View {
            now: self.now,
            started: self.started,
            rules: &rules,
            current: self.current,
            ready: self.current,
            start_lag_ms: self.lag,
            rollout: self.rollout,
            quota: self.quota,
            requests: self.requests,
        };
        // The state survives a store.
        let text = serde_json::to_string(&self.state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), self.state);
        decide(&view, &mut self.state)
    }

    fn tick(&mut self, ms: i64) -> Decision {
        let decision = self.look();
        self.current = decision.to;
        self.now += ms;
        decision
    }

    /// With a steady load, until nothing is remembered of another one.
    fn settle(&mut self, total: f64) -> &mut Self {
        for _ in 0..90 {
            self.load(total);
            self.tick(10 * SECOND);
        }
        self
    }
}

#[test]
fn load_decides_and_the_sentence_says_how() {
    let mut w = World::new(5, vec![qps(json!({}))]);
    w.settle(230.0);
    assert_eq!(w.current, 5);
    let d = w.load(412.0).tick(SECOND);
    assert_eq!(d.to_string(), "5 → 9: qps wanted 9 (412/s ÷ 50)");
    assert_eq!(d.limited_by, LimitedBy::None);
}

#[test]
fn metric_outage_never_scales_in() {
    for sample in [
        Sample::missing("connection refused"),
        Sample::default(),
        Sample::fresh(Reading::Load { stable: f64::NAN, burst: 0.0 }, NOON * 2),
        Sample::fresh(Reading::Load { stable: f64::INFINITY, burst: 0.0 }, NOON * 2),
        Sample::fresh(Reading::Load { stable: -1.0, burst: 0.0 }, NOON * 2),
        Sample::fresh(Reading::Total(0.0), NOON * 2),
    ] {
        let mut w = World::new(8, vec![qps(json!({}))]);
        w.settle(400.0);
        w.set("qps", sample.clone());
        for _ in 0..400 {
            assert_eq!(w.tick(10 * SECOND).to, 8, "{sample:?}");
        }
    }
}

#[test]
fn a_stale_value_never_scales_in() {
    let mut w = World::new(8, vec![qps(json!({}))]);
    w.settle(400.0);
    let old = Sample::fresh(Reading::Load { stable: 1.0, burst: 1.0 }, w.now - 121 * SECOND);
    w.set("qps", old);
    for _ in 0..400 {
        let d = w.tick(10 * SECOND);
        assert_eq!(d.to, 8, "{d}");
    }
}

#[test]
fn what_is_readable_still_scales_out_and_the_fallback_is_a_floor() {
    let rule = spec(json!({
        "metrics": { "qps": { "type": "qps", "target": 50 }, "tcp": { "type": "tcp_connections", "target": 100 } },
        "fallback": { "failure_threshold": 3, "replicas": 10 },
    }));
    let mut w = World::new(4, vec![rule]);
    w.load(200.0).set("tcp", Sample::missing("timeout"));
    assert_eq!(w.tick(SECOND).to, 4);
    w.now += 44 * SECOND;
    let d = w.load(200.0).tick(SECOND);
    assert_eq!((d.to, d.limited_by), (8, LimitedBy::Behavior), "{d}");
    w.now += 15 * SECOND;
    let d = w.load(200.0).tick(SECOND);
    assert_eq!((d.to, d.limited_by), (10, LimitedBy::Fallback), "{d}");
    w.now += 15 * SECOND;
    assert_eq!(w.load(900.0).tick(SECOND).to, 18, "the fallback is no ceiling");
}

#[test]
fn a_restart_never_scales_in() {
    // With its state and without.
    for forgets in [false, true] {
        let mut w = World::new(12, vec![qps(json!({}))]);
        w.settle(600.0);
        w.started = w.now;
        if forgets {
            w.state = State::default();
        }
        for _ in 0..29 {
            let d = w.load(10.0).tick(10 * SECOND);
            assert_eq!(d.to, 12, "{d}");
        }
        for _ in 0..3 {
            w.load(10.0).tick(10 * SECOND);
        }
        assert!(w.current < 12, "after a whole window it does");
    }
}

#[test]
fn a_window_that_is_not_covered_yet_scales_out_only() {
    let mut w = World::new(4, vec![qps(json!({}))]);
    w.settle(200.0);
    for (load, wanted) in [(10.0, 4), (400.0, 8)] {
        let mut young = Sample::fresh(Reading::Load { stable: load, burst: load }, w.now);
        young.covers_ms = 20 * SECOND;
        for _ in 0..50 {
            young.at = w.now;
            w.set("qps", young.clone());
            w.tick(10 * SECOND);
        }
        assert_eq!(w.current, wanted);
    }
}

/// Ten times a minute, from `from` on: (minutes since then, size).
fn sizes(w: &mut World, from: &str, minutes: i64) -> Vec<u32> {
    w.now = from.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    w.started = w.now - 24 * 60 * MINUTE;
    (0..minutes * 10).map(|_| w.tick(6 * SECOND).to).collect()
}

#[test]
fn a_seam_between_two_windows_has_no_dip() {
    let rule = spec(json!({ "schedules": [
        { "name": "morning", "start": "0 8 * * *", "end": "0 12 * * *", "replicas": 10 },
        { "name": "noon", "start": "0 12 * * *", "end": "0 14 * * *", "replicas": 14 },
        { "name": "later", "start": "1 14 * * *", "end": "0 18 * * *", "replicas": 14 },
    ]}));
    let mut w = World::new(10, vec![rule]);
    w.lag = 30 * SECOND;
    let found = sizes(&mut w, "2026-01-05T11:50:00Z", 200);
    assert!(found.iter().all(|n| *n >= 10), "{found:?}");
    let noon = found.iter().position(|n| *n == 14).unwrap();
    assert!((95..100).contains(&noon), "so early that they are ready at noon: {noon}");
    assert!(found[noon..].iter().all(|n| *n == 14), "a minute without a window is no dip");
}

#[test]
fn leaving_a_window_obeys_the_scale_in_window() {
    let rule = spec(json!({ "min_replicas": 2, "schedules": [
        { "name": "day", "start": "0 8 * * *", "end": "0 12 * * *", "replicas": 10 },
    ]}));
    let mut w = World::new(10, vec![rule]);
    let found = sizes(&mut w, "2026-01-05T11:50:00Z", 30);
    assert!(found[..149].iter().all(|n| *n == 10), "{found:?}");
    assert_eq!(*found.last().unwrap(), 2);
}

#[test]
fn both_days_on_which_the_clock_changes() {
    let rule = |start: &str, end: &str| {
        spec(json!({ "schedules": [
            { "name": "w", "start": start, "end": end, "time_zone": "Europe/Berlin", "replicas": 10 },
        ], "behavior": { "scale_down": { "stabilization_window_seconds": 0 } } }))
    };
    // 29 March 2026: 02:00 is 03:00. What is skipped begins at the first valid minute.
    let mut w = World::new(1, vec![rule("30 2 * * *", "0 5 * * *")]);
    let found = sizes(&mut w, "2026-03-29T00:00:00Z", 240);
    assert_eq!(found.iter().position(|n| *n == 10), Some(600), "01:00Z is 03:00 there");
    assert_eq!(found.iter().rposition(|n| *n == 10), Some(1799), "until 05:00 there, 03:00Z");
    // 25 October 2026: 02:00 to 03:00 comes twice; the window begins once and lasts an hour longer.
    let mut w = World::new(1, vec![rule("30 2 * * *", "0 5 * * *")]);
    let found = sizes(&mut w, "2026-10-25T00:00:00Z", 300);
    let changes = found.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(changes, 2, "one beginning, one end");
    assert_eq!(found.iter().position(|n| *n == 10), Some(300), "00:30Z is the first 02:30");
    assert_eq!(found.iter().rposition(|n| *n == 10), Some(2399), "05:00 there is 04:00Z");
}

#[test]
fn two_rules_combine_by_the_maximum() {
    let day = spec(json!({ "name": "day", "min_replicas": 1, "max_replicas": 20, "schedules": [
        { "name": "day", "start": "0 8 * * *", "end": "0 18 * * *", "replicas": 6 },
    ]}));
    let mut w = World::new(6, vec![qps(json!({})), day]);
    w.settle(100.0);
    assert_eq!(w.current, 6, "the metric alone would be content with 2");
    let d = w.load(500.0).tick(SECOND);
    assert_eq!(d.to, 10, "{d}");
    w.rules[1].0.enabled = false;
    w.settle(100.0);
    assert_eq!(w.current, 2);
    w.rules[0].0.enabled = false;
    let d = w.tick(SECOND);
    assert_eq!((d.to, d.has_rules(), d.to_string().as_str()), (2, false, "2 stays: no rule is enabled"));
}

#[test]
fn flapping_changes_at_most_once_per_stabilisation_window() {
    for period in [20, 60, 120, 300, 590] {
        let mut w = World::new(20, vec![qps(json!({}))]);
        let mut changes: Vec<i64> = Vec::new();
        for second in 0..3 * 3600 {
            let up = (second / (period / 2)) % 2 == 0;
            w.load(1000.0 * if up { 1.15 } else { 0.85 });
            let d = w.tick(SECOND);
            if d.to != d.from {
                changes.push(second);
            }
        }
        assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= 300), "period {period}: {changes:?}");
    }
}

#[test]
fn a_burst_counts_at_once_and_lets_none_go_for_a_window() {
    let quick = json!({ "behavior": { "scale_down": { "stabilization_window_seconds": 0 } } });
    let mut w = World::new(2, vec![qps(quick)]);
    w.settle(90.0);
    w.set("qps", Sample::fresh(Reading::Load { stable: 90.0, burst: 300.0 }, w.now));
    let d = w.tick(SECOND);
    assert!(d.to == 6 && d.rules[0].panic, "{d}");
    for second in 0..59 {
        let d = w.load(90.0).tick(SECOND);
        assert_eq!(d.to, 6, "{second} {d}");
    }
    for _ in 0..5 {
        w.load(90.0).tick(SECOND);
    }
    assert!(w.current < 6);
}

fn each(values: &[(Option<f64>, bool, i64)]) -> Reading {
    let one = |(value, ready, age): &(Option<f64>, bool, i64)| InstanceSample {
        value: *value,
        ready: *ready,
        age_ms: age * SECOND,
    };
    Reading::Instances(values.iter().map(one).collect())
}

#[test]
fn processor_time_of_starting_instances_does_not_count() {
    let cpu = || spec(json!({ "metrics": { "cpu": { "type": "cpu", "target": 70 } } }));
    let wants = |values: &[(Option<f64>, bool, i64)]| {
        let mut w = World::new(values.len() as u32, vec![cpu()]);
        w.set("cpu", Sample::fresh(each(values), w.now));
        let d = w.look();
        d.rules[0].proposals[0].wanted
    };
    let (busy, calm) = ((Some(100.0), true, 900), (Some(10.0), true, 900));
    assert_eq!(wants(&[busy, busy]), Some(3));
    // The start burns a lot: it is not counted until it is ready or a minute old.
    assert_eq!(wants(&[calm, (Some(400.0), false, 20)]), Some(2));
    assert_eq!(wants(&[calm, (Some(400.0), false, 70)]), Some(6));
    // With two that start the four suffice: the direction would flip.
    assert_eq!(wants(&[busy, busy, (None, false, 5), (None, false, 5)]), Some(4));
    assert_eq!(wants(&[calm, calm, calm, calm]), Some(1));
    // One ready instance that cannot be read: none goes.
    assert_eq!(wants(&[calm, calm, calm, (None, true, 900)]), Some(4));
}

#[test]
fn memory_and_response_time_add_and_never_remove() {
    let memory = spec(json!({ "metrics": { "memory": { "type": "memory", "target": 80 } } }));
    let mut w = World::new(4, vec![memory]);
    w.set("memory", Sample::fresh(each(&[(Some(5.0), true, 900); 4]), w.now));
    for _ in 0..100 {
        w.set("memory", Sample::fresh(each(&[(Some(5.0), true, 900); 4]), w.now));
        assert_eq!(w.tick(10 * SECOND).to, 4);
    }
    w.set("memory", Sample::fresh(each(&[(Some(95.0), true, 900); 4]), w.now));
    assert_eq!(w.tick(SECOND).to, 5);

    let slow = spec(json!({ "metrics": {
        "qps": { "type": "qps", "target": 50 }, "rt": { "type": "response_time_ms", "target": 200 },
        "c": { "type": "concurrency", "target": 10 },
    }}));
    let mut w = World::new(4, vec![slow]);
    let rt = |w: &mut World, ms: f64, rate: f64| {
        let sample = Sample::fresh(Reading::ResponseTime { ms, qps: rate }, w.now);
        w.load(rate).set("rt", sample);
        let load = Reading::Load { stable: 1.0, burst: 1.0 };
        w.set("c", Sample::fresh(load, w.now));
    };
    // 100 a second that take 1.2 s are 120 at once: 12 instances by Little's law.
    rt(&mut w, 1200.0, 100.0);
    let d = w.look();
    assert_eq!(d.rules[0].wanted, 12, "{d}");
    // Above the target it keeps what the others would let go.
    for _ in 0..100 {
        rt(&mut w, 210.0, 10.0);
        assert_eq!(w.tick(10 * SECOND).to, 4);
    }
    for _ in 0..100 {
        rt(&mut w, 50.0, 10.0);
        w.tick(10 * SECOND);
    }
    assert_eq!(w.current, 1);
}

#[test]
fn steps_are_limited_in_both_directions() {
    let rule = qps(json!({ "behavior": {
        "scale_up": { "max_step": "2", "period_seconds": 60 },
        "scale_down": { "max_step": "10%", "period_seconds": 60, "stabilization_window_seconds": 0 },
    }}));
    let mut w = World::new(10, vec![rule]);
    w.settle(500.0);
    let d = w.load(1000.0).tick(15 * SECOND);
    assert_eq!((d.to, d.limited_by), (12, LimitedBy::Behavior), "{d}");
    assert_eq!(w.load(1000.0).tick(45 * SECOND).to, 12, "no more within the period");
    assert_eq!(w.load(1000.0).tick(SECOND).to, 14);
    w.settle(1000.0);
    assert_eq!(w.load(500.0).tick(SECOND).to, 18);
}

#[test]
fn a_release_freezes_what_the_rule_says() {
    for (mode, out, back) in [("freeze", 8, 8), ("freeze_scale_down", 16, 8), ("normal", 16, 2)] {
        for (load, wanted) in [(800.0, out), (100.0, back)] {
            let mut w = World::new(8, vec![qps(json!({ "during_rollout": mode }))]);
            w.settle(400.0);
            w.rollout = Rollout::Active;
            w.settle(load);
            assert_eq!(w.current, wanted, "{mode} {load}");
        }
    }
}

#[test]
fn a_quota_limits_growth_and_takes_nothing_away() {
    let mut w = World::new(8, vec![qps(json!({}))]);
    w.quota = Some(10);
    let d = w.load(1000.0).tick(SECOND);
    assert_eq!((d.to, d.limited_by), (10, LimitedBy::Quota), "{d}");
    w.quota = Some(3);
    assert_eq!(w.load(1000.0).tick(SECOND).to, 10);
}

#[test]
fn the_last_instance_goes_after_the_cooldown_and_the_first_request_wakes() {
    let rule = qps(json!({ "min_replicas": 0, "scale_to_zero": { "cooldown_seconds": 300 } }));
    let mut w = World::new(2, vec![rule]);
    w.requests.last = Some(w.now);
    let begun = w.now;
    while w.current > 0 {
        w.load(0.0).tick(SECOND);
        assert!(w.now - begun < 400 * SECOND);
    }
    assert!(w.now - begun >= 300 * SECOND, "not before the cooldown");
    for _ in 0..50 {
        assert_eq!(w.load(0.0).tick(10 * SECOND).to, 0);
    }
    w.requests.waiting = 200;
    let d = w.load(0.0).tick(SECOND);
    assert_eq!((d.to, d.to_string().as_str()), (1, "0 → 1: qps wanted 0 (0/s ÷ 50); woken up by 200 waiting requests"));
    // An outage is no silence.
    w.requests.waiting = 0;
    w.set("qps", Sample::missing("gone"));
    for _ in 0..200 {
        assert_eq!(w.tick(10 * SECOND).to, 1);
    }
}

fn predicted(load: f64, gate: Gate) -> Forecast {
    Forecast { load, base: load, uplift: 0.0, gate }
}

#[test]
fn the_forecast_is_a_floor_and_only_when_it_may() {
    for (mode, gate, wanted) in
        [("auto", Gate::Open, 14), ("observe", Gate::Open, 8), ("auto", Gate::NoSeason { autocorrelation: 0.1 }, 8)]
    {
        let mut w = World::new(8, vec![qps(json!({ "prediction": { "mode": mode } }))]);
        w.settle(400.0);
        w.rules[0].2 = Some(predicted(700.0, gate));
        assert_eq!(w.load(400.0).tick(SECOND).to, wanted);
    }
    // A low forecast takes nothing away, and a high one stays below the maximum.
    let mut w = World::new(8, vec![qps(json!({ "prediction": { "mode": "auto" } }))]);
    w.rules[0].2 = Some(predicted(1.0, Gate::Open));
    w.settle(400.0);
    assert_eq!(w.current, 8);
    w.rules[0].2 = Some(predicted(1e9, Gate::Open));
    w.settle(400.0);
    assert_eq!(w.current, 40);
    w.rules[0].2 = Some(predicted(1.0, Gate::Open));
    w.settle(400.0);
    assert_eq!(w.current, 8, "what the forecast brought goes when it is over");
}

#[test]
fn every_reason_renders() {
    let mut lines: Vec<String> = Vec::new();
    let mut say = |d: Decision| lines.push(d.to_string());
    let mut w = World::new(5, vec![qps(json!({ "prediction": { "mode": "auto" } }))]);
    w.settle(250.0);
    w.rules[0].2 = Some(predicted(350.0, Gate::Inaccurate { wape_percent: 31.4 }));
    say(w.clone().load(412.0).look());
    for gate in [
        Gate::Short { days: 1.5 },
        Gate::NoSeason { autocorrelation: 0.12 },
        Gate::NotBetter { mase: 1.3 },
        Gate::BadHours { until: NOON },
        Gate::Open,
    ] {
        w.rules[0].2 = Some(predicted(350.0, gate));
        say(w.clone().load(250.0).look());
    }
    w.rules[0].0.prediction.as_mut().unwrap().mode = sampan_schema::scaling_rule::PredictionMode::Observe;
    say(w.clone().load(250.0).look());
    w.rules[0].2 = None;
    say(w.clone().set("qps", Sample::missing("connection refused")).look());
    say(w.clone().set("qps", Sample::fresh(Reading::Load { stable: 1.0, burst: 1.0 }, w.now - 200 * SECOND)).look());
    say(w.clone().set("qps", Sample::fresh(Reading::Load { stable: f64::NAN, burst: 1.0 }, w.now)).look());
    say(w.clone().set("qps", Sample::fresh(Reading::Total(1.0), w.now)).look());
    let young = Sample { covers_ms: 9_000, ..Sample::fresh(Reading::Load { stable: 1.0, burst: 1.0 }, w.now) };
    say(w.clone().set("qps", young).look());
    say(w.clone().load(20.0).look());
    say(w.clone().load(9000.0).look());
    let panic = Sample::fresh(Reading::Load { stable: 250.0, burst: 600.0 }, w.now);
    say(w.clone().set("qps", panic).look());
    let mut quota = w.clone();
    quota.quota = Some(6);
    say(quota.load(500.0).look());
    let mut release = w.clone();
    release.rollout = Rollout::Active;
    release.rules[0].0.behavior.scale_down.stabilization_window_seconds = 0;
    say(release.load(10.0).look());
    let mut young = w.clone();
    young.started = w.now - 20 * SECOND;
    say(young.load(10.0).look());
    let mut fixed = w.clone();
    fixed.rules[0].0.behavior.scale_up.disabled = true;
    fixed.rules[0].0.behavior.scale_down.disabled = true;
    fixed.rules[0].0.behavior.scale_down.stabilization_window_seconds = 0;
    say(fixed.clone().load(10.0).look());
    say(fixed.load(800.0).look());
    let mut steps = w.clone();
    steps.rules[0].0.behavior.scale_up.max_step = "1".into();
    say(steps.load(800.0).look());

    let mut low = World::new(5, vec![qps(json!({ "min_replicas": 4 }))]);
    low.settle(10.0);
    say(low.load(10.0).look());
    let mut outage = World::new(3, vec![qps(json!({ "fallback": { "replicas": 7 } }))]);
    outage.set("qps", Sample::missing("503"));
    outage.look();
    outage.now += 60 * SECOND;
    say(outage.look());
    let mut idle = World::new(1, vec![qps(json!({ "min_replicas": 0, "scale_to_zero": {} }))]);
    idle.requests.last = Some(NOON - 400 * SECOND);
    say(idle.load(0.0).look());
    let mut asleep = World::new(0, vec![qps(json!({ "min_replicas": 0, "scale_to_zero": {} }))]);
    say(asleep.clone().load(70.0).look());
    asleep.requests.waiting = 3;
    say(asleep.load(0.0).look());

    let window = json!({ "name": "noon", "start": "1 12 * * *", "end": "0 14 * * *", "replicas": 9 });
    let mut timed = World::new(2, vec![spec(json!({ "schedules": [window] }))]);
    say(timed.look());
    timed.lag = 2 * MINUTE;
    say(timed.look());
    timed.now += 5 * MINUTE;
    timed.current = 9;
    say(timed.look());
    let mut broken = World::new(
        2,
        vec![spec(json!({
            "schedules": [{ "name": "odd", "start": "61 * * * *", "replicas": 9 }],
        }))],
    );
    say(broken.look());
    let mut mixed = World::new(
        2,
        vec![qps(json!({ "schedules": [
            { "name": "day", "start": "0 8 * * *", "end": "0 18 * * *", "min_replicas": 3, "max_replicas": 5 },
        ]}))],
    );
    say(mixed.clone().load(10.0).look());
    say(mixed.load(900.0).look());

    let many = spec(json!({ "name": "many", "metrics": {
        "cpu": { "type": "cpu", "target": 70 }, "cores": { "type": "cpu", "target": 0.5, "target_type": "average_value" },
        "memory": { "type": "memory", "target": 80 },
        "mib": { "type": "memory", "target": 256, "target_type": "average_value" },
        "rt": { "type": "response_time_ms", "target": 200 }, "at-once": { "type": "concurrency", "target": 10 },
        "queue": { "type": "prometheus", "target": 30, "query": "q", "endpoint": "http://p" },
        "lag": { "type": "external", "target": 5, "target_type": "value", "endpoint": "http://p" },
    }}));
    let mut all = World::new(2, vec![many.clone(), qps(json!({}))]);
    let now = all.now;
    let two = |a: f64, b: Option<f64>| Sample::fresh(each(&[(Some(a), true, 900), (b, true, 900)]), now);
    all.load(80.0).set("cpu", two(50.0, None)).set("cores", two(0.25, Some(0.4)));
    all.set("memory", two(60.0, Some(70.0))).set("mib", two(100.0, Some(110.5)));
    all.set("rt", Sample::fresh(Reading::ResponseTime { ms: 120.0, qps: 80.0 }, now));
    all.set("at-once", Sample::fresh(Reading::Load { stable: 9.6, burst: 9.6 }, now));
    all.set("queue", Sample::fresh(Reading::Total(91.0), now)).set("lag", Sample::fresh(Reading::Total(4.0), now));
    say(all.look());
    let mut memory = World::new(3, vec![spec(json!({ "metrics": { "memory": { "type": "memory", "target": 80 } } }))]);
    memory.set("memory", two(5.0, Some(5.0)));
    say(memory.look());
    memory.set("memory", Sample::fresh(Reading::Instances(Vec::new()), now));
    say(memory.look());
    insta::assert_snapshot!(lines.join("\n"));
}

fn any_sample(now: i64) -> impl Strategy<Value = Option<Sample>> {
    prop_oneof![
        Just(None),
        Just(Some(Sample::missing("x"))),
        (0.0..5000.0_f64, 0.0..5000.0_f64)
            .prop_map(move |(stable, burst)| Some(Sample::fresh(Reading::Load { stable, burst }, now))),
        (0.0..5000.0_f64).prop_map(move |v| Some(Sample::fresh(Reading::Load { stable: v, burst: v }, now - 200_000))),
        Just(Some(Sample::fresh(Reading::Load { stable: f64::NAN, burst: 0.0 }, now))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bounds_are_always_kept(
        min in 1..20_i64, more in 0..30_i64, current in 0..80_u32,
        samples in prop::collection::vec((any_sample(0), 1..400_i64), 1..40),
    ) {
        let mut w = World::new(current, vec![qps(json!({ "min_replicas": min, "max_replicas": min + more }))]);
        for (sample, seconds) in samples {
            match sample {
                Some(mut sample) => { sample.at += w.now; w.set("qps", sample); }
                None => w.rules[0].1.clear(),
            }
            let d = w.tick(seconds * SECOND);
            prop_assert!((min..=min + more).contains(&i64::from(d.to)), "{}", d);
            prop_assert!(d.wake_at.is_none_or(|at| at > d.at), "{:?}", d);
        }
    }

    #[test]
    fn missing_data_never_lowers_the_number(
        current in 1..40_u32, before in prop::collection::vec(0.0..3000.0_f64, 0..20), seconds in 1..4000_i64,
    ) {
        let mut w = World::new(current, vec![qps(json!({}))]);
        for load in before {
            w.load(load).tick(30 * SECOND);
        }
        let held = w.current;
        w.rules[0].1.clear();
        for _ in 0..10 {
            let d = w.tick(seconds * SECOND);
            prop_assert!(d.to >= held, "{}", d);
        }
    }

    #[test]
    fn more_load_never_means_fewer_instances(
        current in 1..40_u32, low in 0.0..3000.0_f64, more in 0.0..1000.0_f64,
        before in prop::collection::vec(0.0..3000.0_f64, 0..10),
    ) {
        let mut w = World::new(current, vec![qps(json!({}))]);
        for load in before {
            w.load(load).tick(60 * SECOND);
        }
        let (mut a, mut b) = (w.clone(), w);
        let (a, b) = (a.load(low).look(), b.load(low + more).look());
        prop_assert!(a.to <= b.to, "{} | {}", a, b);
    }
}
