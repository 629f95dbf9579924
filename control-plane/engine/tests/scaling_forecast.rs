//! The forecast against made-up and recorded loads: never worse than the metric alone, and quiet where it knows nothing.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::Path;

use sampan_engine::scaling::Gate;
use sampan_engine::scaling::forecast::{Series, Settings};
use sampan_engine::scaling::simulate::{Outcome, Policy, Setting, Shape, Trace, TraceError, simulate, workload};

const MONDAY: i64 = 1_767_571_200_000;
const MINUTE: i64 = 60_000;

fn outcome(policy: Policy, load: &[f64], begin: i64) -> Outcome {
    simulate(load, begin, &Setting::new(policy, load), |_| {})
}

/// Reactive and both; what holds on any load is checked here.
fn compared(name: &str, load: &[f64], begin: i64) -> (Outcome, Outcome) {
    let (reactive, both) = (outcome(Policy::Reactive, load, begin), outcome(Policy::Both, load, begin));
    assert!(both.minutes_short <= reactive.minutes_short, "{name}: {both:?} {reactive:?}");
    assert!(both.work_lost <= reactive.work_lost, "{name}: {both:?} {reactive:?}");
    if both.gate_open_share == 0.0 {
        assert!(both.instance_hours <= 1.05 * reactive.instance_hours, "{name}: {both:?} {reactive:?}");
    }
    (reactive, both)
}

#[test]
fn on_seasonal_load_a_quarter_of_the_shortage_is_left_at_hardly_more_cost() {
    // Without the first two days, which have no forecast, and bursts that nobody foresees it would be far less. Seed 1
    // is the reference; how many such bursts there are differs from seed to seed.
    for (seed, share) in [(1, 0.25), (2, 0.25), (3, 0.3)] {
        let load = workload(Shape::Seasonal, seed, 28);
        let (reactive, both) = compared("seasonal", &load, MONDAY);
        assert!(reactive.minutes_short > 100, "{seed}: there is something to save: {reactive:?}");
        let left = both.minutes_short as f64 / reactive.minutes_short as f64;
        assert!(left <= share, "{seed}: {left} {both:?} {reactive:?}");
        assert!(both.work_lost * 4.0 <= reactive.work_lost, "{seed}: {both:?} {reactive:?}");
        assert!(both.instance_hours <= 1.05 * reactive.instance_hours, "{seed}: {both:?} {reactive:?}");
        assert!(both.gate_open_share > 0.8, "{seed}: {both:?}");
    }
}

#[test]
fn on_white_noise_the_gate_stays_shut() {
    for seed in 1..=3 {
        let load = workload(Shape::Noise, seed, 14);
        let (reactive, both) = compared("noise", &load, MONDAY);
        // To the last number, and so without a minute in which it acted.
        assert_eq!(both, reactive);
    }
}

#[test]
fn the_forecast_is_never_worse_than_the_metric_alone_on_any_shape() {
    // Loads on which a forecast is easily wrong: a season that ends, a level that jumps, single peaks, silence.
    let season = workload(Shape::Seasonal, 7, 12);
    let shapes: Vec<(&str, Vec<f64>)> = vec![
        ("gone", season.iter().enumerate().map(|(i, v)| if i > 8 * 1440 { 20.0 } else { *v }).collect()),
        ("jump", season.iter().enumerate().map(|(i, v)| if i > 8 * 1440 { v * 3.0 } else { *v }).collect()),
        ("late", season.iter().take(8 * 1440).chain(season.iter().skip(180)).copied().collect()),
        ("peaks", (0..10 * 1440).map(|i| if i % 1440 == 600 + (i / 1440) * 7 { 500.0 } else { 30.0 }).collect()),
        ("steps", (0..10 * 1440).map(|i| f64::from(1 + (i / 360) % 4) * 25.0).collect()),
        ("none", vec![0.0; 4 * 1440]),
    ];
    for (name, load) in &shapes {
        compared(name, load, MONDAY);
    }
}

#[test]
fn recorded_traces() {
    let folder = std::env::var("SAMPAN_TRACES").unwrap_or_else(|_| "traces".into());
    for (name, most) in [("elb_request_count.csv", usize::MAX), ("nyc_taxi.csv", 40 * 1440)] {
        let path = Path::new(&folder).join(name);
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: there is no {}; SAMPAN_TRACES names the folder of traces", path.display());
            continue;
        };
        let trace = Trace::parse(&text).unwrap();
        compared(name, &trace.load[..trace.load.len().min(most)], trace.begin);
    }
}

const SETTINGS: Settings = Settings { lag_ms: 300_000, quantile: 0.8, max_uplift: 0.5 };

fn pushed(load: &[f64]) -> Series {
    let mut series = Series::default();
    for (minute, load) in load.iter().enumerate() {
        series.push(MONDAY + minute as i64 * MINUTE, *load, &SETTINGS);
    }
    series
}

#[test]
fn a_week_is_recognised_and_a_ramp_is_foreseen() {
    // Days off are silent, so yesterday says little on Saturday.
    let load: Vec<f64> = (0..28 * 1440)
        .map(|i| match (i / 1440 % 7, i % 1440) {
            (0..5, 540..1080) => 400.0,
            _ => 20.0,
        })
        .collect();
    let series = pushed(&load);
    assert_eq!((series.season_days(), series.gate()), (7, &Gate::Open));
    let at = |minute: i64| series.forecast(MONDAY + (28 * 1440 + minute) * MINUTE, &SETTINGS).unwrap().load;
    assert!(at(0) < 30.0, "{}", at(0));
    assert!((390.0..450.0).contains(&at(536)), "five minutes before: {}", at(536));
}

#[test]
fn the_gate_closes_after_three_bad_hours_and_opens_again() {
    let day = |i: usize| if (540..1080).contains(&(i % 1440)) { 400.0 } else { 100.0 };
    // On the tenth day nobody comes.
    let load: Vec<f64> =
        (0..13 * 1440).map(|i| if (9 * 1440 + 540..10 * 1440).contains(&i) { 10.0 } else { day(i) }).collect();
    let gate = |minutes: usize| pushed(&load[..minutes]).gate().clone();
    assert_eq!(gate(9 * 1440 + 540), Gate::Open);
    assert!(matches!(gate(9 * 1440 + 760), Gate::BadHours { .. } | Gate::Inaccurate { .. }));
    assert_eq!(gate(13 * 1440), Gate::Open);
}

#[test]
fn a_day_that_is_kept_takes_less_than_two_kilobytes() {
    let series = pushed(&workload(Shape::Seasonal, 1, 40));
    assert!(series.bytes() <= 28 * 2048, "{}", series.bytes());
    let text = serde_json::to_string(&series).unwrap();
    assert_eq!(serde_json::from_str::<Series>(&text).unwrap(), series);
}

#[test]
fn gaps_and_nonsense_do_no_harm() {
    let mut series = pushed(&workload(Shape::Seasonal, 1, 3));
    let end = MONDAY + 3 * 1440 * MINUTE;
    let before = series.clone();
    for load in [f64::NAN, f64::INFINITY, -1.0] {
        series.push(end, load, &SETTINGS);
    }
    series.push(MONDAY, 1e9, &SETTINGS);
    assert_eq!(series, before, "left out");
    // Hours without a value, then a clock that is years ahead.
    series.push(end + 300 * MINUTE, 100.0, &SETTINGS);
    assert!(series.forecast(end + 300 * MINUTE, &SETTINGS).is_some());
    series.push(i64::MAX / 2, 100.0, &SETTINGS);
    assert_eq!(series.forecast(i64::MAX / 2, &SETTINGS), None);
    series.push(i64::MIN, 100.0, &SETTINGS);
}

#[test]
fn a_trace_is_read_or_its_line_is_named() {
    let read = Trace::parse("timestamp,value\n2026-01-05 00:00:00,10\n\n2026-01-05T00:04:00Z, 30.0\n1767571500,0\n");
    let trace = read.unwrap();
    assert_eq!((trace.begin, trace.load), (MONDAY, vec![10.0, 15.0, 20.0, 25.0, 30.0]));
    let line = |text: &str| Trace::parse(text).unwrap_err();
    assert_eq!(line("timestamp,value\n1,2\n3\n"), TraceError::Columns { line: 3, found: "3".into() });
    assert_eq!(line("1,2\n2,3,4\n"), TraceError::Columns { line: 2, found: "2,3,4".into() });
    assert_eq!(line("1,2\nyesterday,3\n"), TraceError::Time { line: 2, found: "yesterday".into() });
    for bad in ["x", "-1", "NaN", "inf", ""] {
        assert_eq!(line(&format!("1,2\n61,{bad}\n")), TraceError::Value { line: 2, found: bad.into() });
    }
    assert_eq!(line("120,2\n60,3\n"), TraceError::Order { line: 2 });
    assert_eq!(line("1,2\n99999999,3\n"), TraceError::Long { line: 2 });
    assert_eq!(line(""), TraceError::Short { lines: 0 });
    assert_eq!(line("1,2"), TraceError::Short { lines: 1 });
    assert!(line("1,2\n0,3").to_string().starts_with("line 2: "));
}
