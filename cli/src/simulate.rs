//! `sampan simulate`: a scaling policy on a load, with the very code that the server decides with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use sampan_engine::scaling::simulate::{Outcome, Policy, Setting, Shape, Trace, simulate, workload};

use crate::error::Failure;
use crate::output::{Output, pairs};

/// Two years of minutes with long lines are smaller.
const MOST_BYTES: u64 = 64 << 20;
/// Monday, 5 January 2026, in milliseconds since the epoch: made-up loads begin then.
const BEGIN: i64 = 1_767_571_200_000;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Minutes in which instances were short, and what the others cost.
    Scaling(Scaling),
}

#[derive(Debug, ClapArgs)]
struct Scaling {
    /// CSV file with lines `timestamp,value`; without it a load is made up.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// What the made-up load is like.
    #[arg(long, value_enum, default_value = "seasonal", conflicts_with = "trace")]
    shape: MadeUp,
    /// Another made-up load for another number.
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "trace")]
    seed: u64,
    /// Length of the made-up load.
    #[arg(long, default_value_t = 28, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=732), conflicts_with = "trace")]
    days: u16,
    /// reactive, predictive, both, or fixed=N.
    #[arg(long, default_value = "both", value_name = "POLICY")]
    policy: Policy,
    /// Load that one instance carries; a 40th of the peak when it is left out. A rule aims at 70 % of it.
    #[arg(long, value_name = "UNITS")]
    capacity: Option<f64>,
    /// Seconds from the decision to a ready instance.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..=3600))]
    start_lag: i64,
    /// Seconds until the load is known.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..=3600))]
    metric_delay: i64,
    /// Fewest instances.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    min: u32,
    /// Most instances.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MadeUp {
    /// Day, week, a slow rise, steep hours, bursts that nobody foresees, noise.
    Seasonal,
    /// White noise around a constant.
    Noise,
}

pub fn run(args: Args, out: &mut Output) -> Result<ExitCode, Failure> {
    let What::Scaling(args) = args.what;
    let trace = match &args.trace {
        Some(path) => read(path)?,
        None => {
            let shape = match args.shape {
                MadeUp::Seasonal => Shape::Seasonal,
                MadeUp::Noise => Shape::Noise,
            };
            Trace { begin: BEGIN, load: workload(shape, args.seed, usize::from(args.days)) }
        }
    };
    let setting = setting(&args, &trace.load)?;
    let outcome = simulate(&trace.load, trace.begin, &setting, |_| {});
    out.show(&outcome, || table(&outcome, &setting, trace.load.len()))?;
    Ok(ExitCode::SUCCESS)
}

fn setting(args: &Scaling, load: &[f64]) -> Result<Setting, Failure> {
    if args.min > args.max {
        return Err(Failure::Usage(format!("--min {} is above --max {}: swap them", args.min, args.max)));
    }
    let mut setting = Setting::new(args.policy, load);
    if let Some(capacity) = args.capacity {
        if !capacity.is_finite() || capacity <= 0.0 {
            return Err(Failure::Usage(format!("--capacity {capacity}: want a number above 0")));
        }
        setting.capacity = capacity;
    }
    (setting.start_lag_ms, setting.metric_delay_ms) = (args.start_lag * 1000, args.metric_delay * 1000);
    (setting.min, setting.max) = (args.min, args.max);
    Ok(setting)
}

fn read(path: &Path) -> Result<Trace, Failure> {
    let failed = |what: String| Failure::Failed(format!("--trace {}: {what}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(failed(format!("is larger than {} MiB: take a part of it", MOST_BYTES >> 20)));
    }
    Trace::parse(&text).map_err(|error| failed(error.to_string()))
}

fn table(outcome: &Outcome, setting: &Setting, minutes: usize) -> String {
    let policy = match setting.policy {
        Policy::Reactive => "reactive".to_owned(),
        Policy::Predictive => "predictive".to_owned(),
        Policy::Both => "both".to_owned(),
        Policy::Fixed(n) => format!("{n} instances"),
    };
    let share = outcome.minutes_short as f64 / minutes.max(1) as f64 * 100.0;
    let hours = minutes as f64 / 60.0;
    pairs(&[
        ("Policy", policy),
        ("Time", format!("{:.1} days", hours / 24.0)),
        ("One instance", format!("carries {:.2}, starts in {} s", setting.capacity, setting.start_lag_ms / 1000)),
        ("Minutes short", format!("{} ({share:.2} %)", outcome.minutes_short)),
        ("Work lost", format!("{:.1} (load times minutes)", outcome.work_lost)),
        (
            "Instance hours",
            format!("{:.1} (mean {:.1} instances)", outcome.instance_hours, outcome.instance_hours / hours.max(0.001)),
        ),
        ("Changes", outcome.changes.to_string()),
        ("Gate open", format!("{:.0} % of the time", outcome.gate_open_share * 100.0)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_told_in_words() {
        let load = workload(Shape::Seasonal, 1, 1);
        let setting = Setting::new(Policy::Fixed(40), &load);
        let outcome = Outcome { minutes_short: 3, work_lost: 12.5, instance_hours: 960.0, ..Outcome::default() };
        let setting = Setting { capacity: 7.5, ..setting };
        insta::assert_snapshot!(table(&outcome, &setting, load.len()), @r"
        Policy:         40 instances
        Time:           1.0 days
        One instance:   carries 7.50, starts in 300 s
        Minutes short:  3 (0.21 %)
        Work lost:      12.5 (load times minutes)
        Instance hours: 960.0 (mean 40.0 instances)
        Changes:        0
        Gate open:      0 % of the time
        ");
    }
}
