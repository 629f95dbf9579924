//! What a rule must not say.

use std::collections::BTreeSet;

use super::{MAX_RULES, Metric, MetricType, Schedule, Spec, TargetType};
use crate::calendar::{self, Window};
use crate::gray_policy::{host_of, is_loopback};
use crate::violation::Violation;

/// Times of one window that are compared with those of the others.
const OCCURRENCES: usize = 800;
/// A leap year, so that every date is in it. Beginning of 2024, in milliseconds since the epoch.
const YEAR_BEGIN: i64 = 1_704_067_200_000;
const DAY: i64 = 86_400_000;
const YEAR: i64 = 366 * DAY;
/// From the first day of a window with days.
const SEASON: i64 = 40 * DAY;

/// Every rule that needs nothing but the document.
pub fn validate(spec: &Spec) -> Vec<Violation> {
    let mut v = Vec::new();
    bounds(spec, &mut v);
    for (name, m) in &spec.metrics {
        metric(m, &format!("metrics[{name:?}]"), &mut v);
        if !crate::name::is_name(name) {
            let text = "a name of a metric is lower-case letters, digits and \"-\", from a letter on";
            v.push(Violation::new(format!("metrics[{name:?}]"), "SMP112", text));
        }
    }
    windows(spec, &mut v);
    rest(spec, &mut v);
    v
}

/// An application has at most [`MAX_RULES`]. `others`: how many it has without this one.
pub fn over_limit(others: usize) -> Option<Violation> {
    let text = format!("has {others} scaling rules already, the limit is {MAX_RULES}: put metrics or windows into one");
    (others >= MAX_RULES).then(|| Violation::new("application", "SMP121", text))
}

fn bounds(spec: &Spec, v: &mut Vec<Violation>) {
    let mut say = |field: &str, rule: &str, text: String| v.push(Violation::new(field, rule, text));
    if spec.min_replicas > spec.max_replicas {
        let text = format!("is {}, above max_replicas {}", spec.min_replicas, spec.max_replicas);
        say("min_replicas", "SMP101", text);
    }
    match &spec.scale_to_zero {
        None if spec.min_replicas == 0 => {
            let text = "is 0, and nothing would wake the application up: set scale_to_zero, or at least 1 instance";
            say("min_replicas", "SMP111", text.into());
        }
        Some(_) if spec.min_replicas > 0 => {
            let text = format!("needs min_replicas = 0, this is {}: change one of them", spec.min_replicas);
            say("scale_to_zero", "SMP111", text);
        }
        _ => {}
    }
    if spec.metrics.is_empty() && spec.schedules.is_empty() {
        say("metrics", "SMP110", "neither metrics nor schedules: write at least one of them".into());
    }
    if spec.metrics.is_empty() && spec.scale_to_zero.is_some() {
        say("scale_to_zero", "SMP110", "needs a metric: what says how many instances there are with requests?".into());
    }
}

fn metric(m: &Metric, at: &str, v: &mut Vec<Violation>) {
    let mut say = |field: &str, rule: &str, text: String| v.push(Violation::new(format!("{at}.{field}"), rule, text));
    let kind = m.kind;
    if !m.target.is_finite() || m.target <= 0.0 {
        say("target", "SMP112", format!("is {}, want more than 0", m.target));
    } else if m.target_type() == TargetType::Utilization && m.target > 100.0 {
        say("target", "SMP112", format!("is {} percent of what an instance may use: at most 100", m.target));
    }
    if let Some(t) = m.target_type.filter(|t| !kind.target_types().contains(t)) {
        let allowed: Vec<_> = kind.target_types().iter().map(|t| t.word()).collect();
        let text = format!("is {}, of type {} is {}", t.word(), kind.word(), allowed.join(" or "));
        say("target_type", "SMP113", text);
    }
    if m.activation_target > 0.0 && !kind.is_load() {
        say("activation_target", "SMP112", format!("{} says nothing without instances: leave it out", kind.word()));
    }
    let outside = matches!(kind, MetricType::Prometheus | MetricType::External);
    for (field, set, wanted) in
        [("query", m.query.is_some(), kind == MetricType::Prometheus), ("endpoint", m.endpoint.is_some(), outside)]
    {
        match (set, wanted) {
            (false, true) => say(field, "SMP114", format!("is required with type {}", kind.word())),
            (true, false) => say(field, "SMP114", format!("type {} has none: leave it out", kind.word())),
            _ => {}
        }
    }
    if m.auth_secret.is_none() {
        return;
    }
    let plain = m.endpoint.as_deref().and_then(host_of).is_some_and(|(plain, host)| plain && !is_loopback(host));
    if !outside {
        say("auth_secret", "SMP114", format!("type {} asks nobody: leave it out", kind.word()));
    } else if plain {
        say("auth_secret", "SMP073", "is not sent over plain HTTP: use https in endpoint".into());
    }
}

fn windows(spec: &Spec, v: &mut Vec<Violation>) {
    let mut names = BTreeSet::new();
    let mut read = Vec::new();
    for (i, s) in spec.schedules.iter().enumerate() {
        let at = format!("schedules[{i}]");
        if !names.insert(&s.name) {
            v.push(Violation::new(format!("{at}.name"), "SMP118", format!("{:?} is taken by another window", s.name)));
        }
        window_bounds(spec, s, &at, v);
        match window(s) {
            Ok(w) => read.push((i, w)),
            Err(wrong) => v.extend(
                wrong.into_iter().map(|(field, rule, text)| Violation::new(format!("{at}.{field}"), rule, text)),
            ),
        }
    }
    // What cannot be read overlaps nothing yet.
    if read.len() == spec.schedules.len() {
        if let Some((a, b, text)) = overlap(&read) {
            let other = &spec.schedules[a].name;
            let text = format!("overlaps window {other:?} {text}: end that one earlier, or begin this one later");
            v.push(Violation::new(format!("schedules[{b}].start"), "SMP109", text));
        }
    }
}

fn window_bounds(spec: &Spec, s: &Schedule, at: &str, v: &mut Vec<Violation>) {
    let mut say = |field: &str, rule: &str, text: String| v.push(Violation::new(format!("{at}.{field}"), rule, text));
    let field = match (s.replicas, s.min_replicas, s.max_replicas) {
        (Some(_), None, None) => "replicas",
        (None, Some(least), Some(most)) => {
            if least > most {
                say("min_replicas", "SMP101", format!("is {least}, above max_replicas {most}"));
            }
            if spec.metrics.is_empty() {
                let text = "are bounds for metrics, and the rule has none: write replicas";
                say("min_replicas", "SMP115", text.into());
            }
            "max_replicas"
        }
        _ => {
            say("replicas", "SMP115", "write either replicas, or min_replicas and max_replicas".into());
            return;
        }
    };
    let (least, most) = s.bounds();
    if most > spec.max_replicas {
        say(field, "SMP116", format!("is {most}, above the rule's max_replicas {}", spec.max_replicas));
    }
    if least == 0 && spec.scale_to_zero.is_none() {
        let field = if s.replicas.is_some() { "replicas" } else { "min_replicas" };
        let text = "is 0, and nothing would wake the application up: set scale_to_zero, or at least 1 instance";
        say(field, "SMP111", text.into());
    }
}

type Wrong = (&'static str, &'static str, String);

/// The window that a schedule describes.
///
/// # Errors
/// Each field that cannot be read: its name, the rule, why.
pub fn window(s: &Schedule) -> Result<Window, Vec<Wrong>> {
    let mut wrong: Vec<Wrong> = Vec::new();
    let zone = calendar::zone(&s.time_zone);
    if zone.is_none() {
        let text = format!("{:?} is no time zone: write an IANA name, such as Asia/Shanghai or UTC", s.time_zone);
        wrong.push(("time_zone", "SMP109", text));
    }
    let zone = zone.unwrap_or(jiff::tz::TimeZone::UTC);
    let mut cron = |field, text: &String| {
        let read = calendar::Schedule::new(text, zone.clone());
        read.map_err(|e| wrong.push((field, "SMP109", format!("{text:?} is no cron expression: {e}")))).ok()
    };
    let start = cron("start", &s.start);
    let end = s.end.as_ref().map(|end| cron("end", end));
    if s.end.as_ref() == Some(&s.start) {
        wrong.push(("end", "SMP109", "is the same as start: then the window has no length".into()));
    }
    let mut day = |field, text: &Option<String>| {
        let text = text.as_ref()?;
        let read = calendar::date(text);
        if read.is_none() {
            wrong.push((field, "SMP117", format!("{text:?} is no date: write one such as 2026-12-24")));
        }
        read
    };
    let (begin_date, end_date) = (day("begin_date", &s.begin_date), day("end_date", &s.end_date));
    if let (Some(begin), Some(end)) = (begin_date, end_date)
        && begin > end
    {
        wrong.push(("begin_date", "SMP117", format!("is {begin}, after end_date {end}")));
    }
    match (start, end) {
        (Some(start), None) if wrong.is_empty() => Ok(Window { start, end: None, begin_date, end_date }),
        (Some(start), Some(Some(end))) if wrong.is_empty() => {
            Ok(Window { start, end: Some(end), begin_date, end_date })
        }
        _ => Err(wrong),
    }
}

/// Two windows that are at one time, and when: indices, the one that begins first before the other.
fn overlap(windows: &[(usize, Window)]) -> Option<(usize, usize, String)> {
    let midnight =
        |w: &Window| Some(w.begin_date?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond());
    let mut spans: BTreeSet<(i64, i64)> = BTreeSet::from([(YEAR_BEGIN, YEAR_BEGIN + YEAR)]);
    spans.extend(windows.iter().filter_map(|(_, w)| midnight(w)).map(|at| (at - 2 * DAY, at + SEASON)));
    spans.into_iter().find_map(|(from, to)| overlap_within(windows, from, to))
}

fn overlap_within(windows: &[(usize, Window)], from: i64, to: i64) -> Option<(usize, usize, String)> {
    let mut found: Vec<(i64, Option<i64>, usize)> = Vec::new();
    for (i, w) in windows {
        let mut at = from - 1;
        for _ in 0..OCCURRENCES {
            let Some(start) = w.next_start(at).filter(|start| *start < to) else { break };
            let over = w.end.as_ref().and_then(|_| w.over(start));
            found.push((start, over, *i));
            // Starts inside of it change nothing.
            at = over.map_or(start, |over| over.max(start + 1) - 1);
        }
    }
    found.sort_unstable();
    let mut latest: Option<(i64, usize)> = None;
    for (start, over, i) in found {
        if let Some((until, other)) = latest.filter(|(until, other)| *until > start && *other != i) {
            let _ = until;
            let when = jiff::Timestamp::from_millisecond(start).map(|t| t.to_string()).unwrap_or_default();
            return Some((other, i, format!("at {when}")));
        }
        if over > latest.map(|(until, _)| until) {
            latest = over.map(|over| (over, i));
        }
    }
    None
}

fn rest(spec: &Spec, v: &mut Vec<Violation>) {
    let mut say = |field: &str, rule: &str, text: String| v.push(Violation::new(field, rule, text));
    if spec.prediction.is_some() && spec.forecast_metric().is_none() {
        let text =
            "needs a metric whose load can be forecast: qps, concurrency, cpu, tcp_connections, or an average_value";
        say("prediction", "SMP119", text.into());
    }
    if let Some(n) = spec.fallback.replicas {
        if n > spec.max_replicas {
            say("fallback.replicas", "SMP120", format!("is {n}, above max_replicas {}", spec.max_replicas));
        }
        if spec.metrics.is_empty() {
            say("fallback.replicas", "SMP120", "is for metrics, and the rule has none: leave it out".into());
        }
    }
    for (direction, step, disabled) in [
        ("scale_up", &spec.behavior.scale_up.max_step, spec.behavior.scale_up.disabled),
        ("scale_down", &spec.behavior.scale_down.max_step, spec.behavior.scale_down.disabled),
    ] {
        if !disabled && (step == "0" || step == "0%") {
            let text = "is no step: set disabled = true when the number may not change in this direction";
            say(&format!("behavior.{direction}.max_step"), "SMP120", text.into());
        }
    }
}
