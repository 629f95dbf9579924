//! The autoscaler: how long a tick takes, what the forecast keeps in memory, and what it saves on a made-up load.

use std::time::Instant;

use sampan_engine::scaling::forecast::{Series, Settings};
use sampan_engine::scaling::simulate::{Minute, Policy, Setting, Shape, simulate, workload};
use sampan_engine::scaling::{Metrics, Reading, Requests, Rollout, Rule, Sample, State, View, decide};
use sampan_schema::scaling_rule::{Prediction, Spec};
use serde_json::json;

use super::figure::Figure;
use super::plot::{Line, svg};
use super::statistic::{median, ms};
use super::{Measured, Progress};

const APPLICATIONS: usize = 10_000;
const TICKS: i64 = 31;
/// A Monday, in milliseconds since the epoch.
const BEGIN: i64 = 1_767_571_200_000;
const SEED: u64 = 1;
const DAYS: usize = 28;
const KEPT_DAYS: usize = 28;
const DAY: usize = 1440;

pub fn measure(progress: Progress) -> Measured {
    progress.step(&format!("{TICKS} ticks of {APPLICATIONS} applications"));
    let tick = tick()?;
    progress.step(&format!("policies on {DAYS} days of a made-up load"));
    let load = workload(Shape::Seasonal, SEED, DAYS);
    let run = |policy| {
        let mut minutes: Vec<Minute> = Vec::new();
        let outcome = simulate(&load, BEGIN, &Setting::new(policy, &load), |minute| minutes.push(minute));
        (outcome, minutes)
    };
    let ((reactive, alone), (both, with)) = (run(Policy::Reactive), run(Policy::Both));
    draw(&load, &alone, &with)?;
    let about = format!("`simulate` with seed {SEED} over {DAYS} days, the first two without a forecast");
    Ok(vec![
        tick,
        memory(&load),
        Figure {
            name: "scaling, minutes short with the forecast".into(),
            unit: "min",
            measured: both.minutes_short as f64,
            reference: Some(("without it".into(), reactive.minutes_short as f64)),
            goal: super::figure::Goal::Times(0.25),
            how: format!("{about}; minutes in which the load was above what the ready instances carry."),
        },
        Figure {
            name: "scaling, cost with the forecast".into(),
            unit: "h",
            measured: both.instance_hours,
            reference: Some(("without it".into(), reactive.instance_hours)),
            goal: super::figure::Goal::Times(1.05),
            how: format!("{about}; instance hours of ready and starting instances."),
        },
    ])
}

fn spec() -> Result<Spec, String> {
    let document = json!({
        "namespace": "n", "application": "a", "name": "r", "min_replicas": 2, "max_replicas": 50,
        "metrics": {
            "qps": { "type": "qps", "target": 50 }, "rt": { "type": "response_time_ms", "target": 300 },
            "cpu": { "type": "cpu", "target": 70 },
        },
        "schedules": [
            { "name": "day", "start": "0 8 * * *", "end": "0 20 * * *", "time_zone": "Asia/Shanghai",
              "min_replicas": 4, "max_replicas": 50 },
        ],
    });
    serde_json::from_value(document).map_err(|error| format!("made-up rule: {error}"))
}

fn tick() -> Result<Figure, String> {
    let spec = spec()?;
    let mut states = vec![State::default(); APPLICATIONS];
    let mut current = vec![5_u32; APPLICATIONS];
    let mut times = Vec::new();
    for tick in 0..TICKS {
        let now = BEGIN + tick * 1000;
        let load = |app: usize| 200.0 + ((app as i64 * 37 + tick * 11) % 100) as f64;
        // What the collector has is not part of the decision.
        let samples: Vec<Metrics> = (0..APPLICATIONS)
            .map(|app| {
                let of = |reading| Sample::fresh(reading, now);
                let instance =
                    sampan_engine::scaling::InstanceSample { value: Some(60.0), ready: true, age_ms: 900_000 };
                Metrics::from([
                    ("qps".to_owned(), of(Reading::Load { stable: load(app), burst: load(app) })),
                    ("rt".to_owned(), of(Reading::ResponseTime { ms: 120.0, qps: load(app) })),
                    ("cpu".to_owned(), of(Reading::Instances(vec![instance; current[app] as usize]))),
                ])
            })
            .collect();
        let begun = Instant::now();
        for app in 0..APPLICATIONS {
            let rules = [Rule { spec: &spec, generation: 1, metrics: &samples[app], forecast: None }];
            let view = View {
                now,
                started: BEGIN - 86_400_000,
                rules: &rules,
                current: current[app],
                ready: current[app],
                start_lag_ms: 5000,
                rollout: Rollout::None,
                quota: None,
                requests: Requests { last: Some(now), waiting: 0 },
            };
            current[app] = decide(&view, &mut states[app]).to;
        }
        // In the first one the windows are read.
        if tick > 0 {
            times.push(ms(begun.elapsed()));
        }
    }
    Ok(Figure::limit(
        "scaling tick of 10,000 applications",
        median(&times),
        "ms",
        200.0,
        &format!(
            "`decide` of the engine for {APPLICATIONS} applications with three metrics and a window each, on one core; \
             median of {} ticks.",
            times.len()
        ),
    ))
}

fn memory(load: &[f64]) -> Figure {
    let settings = Settings::of(&Prediction::default(), 300_000);
    let mut series = Series::default();
    for (minute, load) in load.iter().cycle().take((KEPT_DAYS + 2) * DAY).enumerate() {
        series.push(BEGIN + minute as i64 * 60_000, *load, &settings);
    }
    Figure::limit(
        "forecast memory per series and day kept",
        series.bytes() as f64 / KEPT_DAYS as f64 / 1024.0,
        "KB",
        2.0,
        &format!("a series of {KEPT_DAYS} days, as allocated, with the forecasts of the last 7 days for the backtest."),
    )
}

/// Pictures for the guide: a day with a steep hour, without the forecast and with it.
fn draw(load: &[f64], alone: &[Minute], with: &[Minute]) -> Result<(), String> {
    let capacity = load.iter().copied().fold(0.0, f64::max) / 40.0;
    // Monday of the third week, 08:00 to 13:00.
    let (from, to) = (14 * DAY + 8 * 60, 14 * DAY + 13 * 60);
    let marks: Vec<(usize, String)> = (0..=5).map(|hour| (hour * 60, format!("{:02}:00", 8 + hour))).collect();
    let needed = || load[from..to].iter().map(|load| load / capacity).collect();
    let ready = |minutes: &[Minute]| minutes[from..to].iter().map(|m| f64::from(m.ready)).collect();
    for (name, title, minutes) in [
        ("scaling-reactive.svg", "A metric alone: new instances are ready after the load has come", alone),
        ("scaling-both.svg", "With the forecast: they are ready when it comes", with),
    ] {
        let lines = [
            Line { name: "needed", colour: "#c33", values: needed() },
            Line { name: "ready", colour: "#36c", values: ready(minutes) },
        ];
        let path = sampan_testacc::repository().join("docs/guides").join(name);
        std::fs::write(&path, svg(title, "instances", &lines, &marks))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}
