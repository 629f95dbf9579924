//! `environment_schedule`: when the applications of an environment are stopped, and when they run again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calendar::{self, Window};
use crate::violation::Violation;

/// Starts that are looked at for one that takes effect.
const STARTS: usize = 400;
/// A leap year, so that every date comes. Beginning of 2024, in milliseconds since the epoch.
const YEAR_BEGIN: i64 = 1_704_067_200_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Namespace. Null means the provider's.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace", "reference": "namespace"}))]
    pub namespace: String,
    /// Name, unique in the namespace.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace"}))]
    pub name: String,
    /// Free text.
    #[schemars(length(max = 255), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels, returned verbatim. The prefix `sampan.` is reserved.
    #[schemars(extend("maxProperties" = 64), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Which applications of the namespace it is about: exactly one of its attributes. Of several enabled schedules that
    /// choose one application any can stop it.
    #[schemars(extend("x-sampan" = {"class": "scale"}))]
    pub selector: Selector,
    /// Cron expression of five fields: when they are stopped. A stopped application has no instances; its spec stays as
    /// it is. A release that is under way ends first.
    #[schemars(length(min = 9, max = 200), extend("x-sampan" = {"class": "scale"}))]
    pub stop: String,
    /// The same: when they run again. When both come at one time, they stop.
    #[schemars(length(min = 9, max = 200), extend("x-sampan" = {"class": "scale"}))]
    pub start: String,
    /// IANA name, such as `Asia/Shanghai`. An hour that the zone skips fires at its end, one that comes twice once.
    #[schemars(length(min = 1, max = 64), extend("x-sampan" = {"class": "scale"}))]
    #[serde(default = "utc")]
    pub time_zone: String,
    /// First day, such as `2026-12-01`, in the zone. Before it everything runs.
    #[schemars(length(min = 10, max = 10), extend("x-sampan" = {"class": "scale"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin_date: Option<String>,
    /// Last day. After it everything runs.
    #[schemars(length(min = 10, max = 10), extend("x-sampan" = {"class": "scale"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<String>,
    /// Days, in the zone, on which `start` does nothing: what is stopped stays so until the next start.
    #[schemars(length(max = 366), extend("x-sampan" = {"class": "scale"}))]
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub holidays: BTreeSet<String>,
    /// Waves of applications. One wave starts when all of the wave before are ready; the stop goes the other way round.
    /// What is in no wave starts last and stops first.
    #[schemars(length(max = 20), extend("x-sampan" = {"class": "metadata", "reference": "application"}))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_order: Vec<BTreeSet<String>>,
    /// So long a wave is waited for; then the next one goes, and a release that keeps an application from its stop is
    /// aborted.
    #[schemars(range(min = 1, max = 86400), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default = "ten_minutes")]
    pub wave_timeout_seconds: i64,
    /// A schedule that is off stops nothing; what it has stopped starts.
    #[schemars(extend("x-sampan" = {"class": "scale"}))]
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn utc() -> String {
    "UTC".into()
}

fn ten_minutes() -> i64 {
    600
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    /// These, by name. They must exist.
    #[schemars(length(max = 500), extend("x-sampan" = {"reference": "application"}))]
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub applications: BTreeSet<String>,
    /// Those that have all of these labels.
    #[schemars(extend("maxProperties" = 64))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// All of the namespace.
    pub all: bool,
}

impl Selector {
    /// Whether it chooses an application with this name and these labels.
    pub fn chooses(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let labelled = || self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        self.all || self.applications.contains(name) || (!self.match_labels.is_empty() && labelled())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `Running`, `Stopping`, `Stopped` or `Starting`; `Disabled` when it is off.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub phase: String,
    /// When it last came to what it asks for now; empty when it has never asked for anything else.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub last_boundary: String,
    /// When it asks for something else next; empty when it never does.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub next_boundary: String,
    /// The applications that it chooses.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub applications: BTreeSet<String>,
    /// Those of them that are stopped, by this or another schedule.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub stopped: BTreeSet<String>,
}

impl Spec {
    /// The wave of an application: from 0 on, what is in none after all others.
    pub fn wave(&self, application: &str) -> usize {
        self.start_order.iter().position(|wave| wave.contains(application)).unwrap_or(self.start_order.len())
    }

    /// Every application that it names, with the path of the name.
    pub fn applications(&self) -> impl Iterator<Item = (String, &str)> {
        let chosen = self.selector.applications.iter().map(|name| ("selector.applications".to_owned(), name.as_str()));
        let waves = self.start_order.iter().enumerate();
        let waves = waves.flat_map(|(i, wave)| wave.iter().map(move |n| (format!("start_order[{i}]"), n.as_str())));
        chosen.chain(waves)
    }
}

/// When a schedule stops and starts.
#[derive(Debug, Clone)]
pub struct Times {
    /// Stops, within the days of the schedule.
    pub stop: Window,
    pub start: calendar::Schedule,
    /// Days without a start.
    pub holidays: BTreeSet<Date>,
}

type Wrong = (String, &'static str, String);

/// The times that a spec describes.
///
/// # Errors
/// Each field that cannot be read: its path, the rule, why.
pub fn times(spec: &Spec) -> Result<Times, Vec<Wrong>> {
    let mut wrong: Vec<Wrong> = Vec::new();
    let zone = calendar::zone(&spec.time_zone);
    if zone.is_none() {
        let text = format!("{:?} is no time zone: write an IANA name, such as Asia/Shanghai or UTC", spec.time_zone);
        wrong.push(("time_zone".into(), "SMP130", text));
    }
    let zone = zone.unwrap_or(jiff::tz::TimeZone::UTC);
    let mut cron = |field: &str, text: &String| match calendar::Schedule::new(text, zone.clone()) {
        Ok(read) if read.next(YEAR_BEGIN).is_some() => Some(read),
        Ok(_) => {
            wrong.push((field.into(), "SMP130", format!("{text:?} never comes: there is no such day")));
            None
        }
        Err(e) => {
            wrong.push((field.into(), "SMP130", format!("{text:?} is no cron expression: {e}")));
            None
        }
    };
    let (stop, start) = (cron("stop", &spec.stop), cron("start", &spec.start));
    let mut day = |field: String, text: &str| {
        let read = calendar::date(text);
        if read.is_none() {
            wrong.push((field, "SMP131", format!("{text:?} is no date: write one such as 2026-12-24")));
        }
        read
    };
    let begin_date = spec.begin_date.as_ref().and_then(|text| day("begin_date".into(), text));
    let end_date = spec.end_date.as_ref().and_then(|text| day("end_date".into(), text));
    let holidays = spec.holidays.iter().filter_map(|text| day("holidays".into(), text)).collect();
    if let (Some(begin), Some(end)) = (begin_date, end_date)
        && begin > end
    {
        wrong.push(("begin_date".into(), "SMP131", format!("is {begin}, after end_date {end}")));
    }
    match (stop, start) {
        (Some(stop), Some(start)) if wrong.is_empty() => {
            Ok(Times { stop: Window { start: stop, end: None, begin_date, end_date }, start, holidays })
        }
        _ => Err(wrong),
    }
}

/// Every rule that needs nothing but the document.
pub fn validate(spec: &Spec) -> Vec<Violation> {
    let mut v = crate::namespace::labels(&spec.labels);
    selector(&spec.selector, &mut v);
    match times(spec) {
        Ok(times) if !starts(&times) => {
            let text = "comes only when stop comes too, and then they stop: nothing would ever start";
            v.push(Violation::new("start", "SMP132", text));
        }
        Ok(_) => {}
        Err(wrong) => v.extend(wrong.into_iter().map(|(field, rule, text)| Violation::new(field, rule, text))),
    }
    waves(spec, &mut v);
    v
}

/// Whether a start ever takes effect.
fn starts(times: &Times) -> bool {
    let mut at = YEAR_BEGIN;
    for _ in 0..STARTS {
        let Some(start) = times.start.next(at) else { return false };
        if times.stop.start.last(start) != Some(start) {
            return true;
        }
        at = start;
    }
    false
}

fn selector(selector: &Selector, v: &mut Vec<Violation>) {
    let ways = [!selector.applications.is_empty(), !selector.match_labels.is_empty(), selector.all];
    if ways.into_iter().filter(|is| *is).count() != 1 {
        let text = "write exactly one of applications, match_labels and all = true";
        v.push(Violation::new("selector", "SMP133", text));
    }
    if let Some(wrong) = selector.applications.iter().find(|name| !crate::name::is_name(name)) {
        v.push(Violation::new("selector.applications", "SMP133", format!("{wrong:?} is no name of an application")));
    }
}

fn waves(spec: &Spec, v: &mut Vec<Violation>) {
    let mut say = |i: usize, text: String| v.push(Violation::new(format!("start_order[{i}]"), "SMP134", text));
    let mut seen = BTreeSet::new();
    for (i, wave) in spec.start_order.iter().enumerate() {
        if wave.is_empty() {
            say(i, "names no application: leave the wave out".into());
        }
        for name in wave {
            if !crate::name::is_name(name) {
                say(i, format!("{name:?} is no name of an application"));
            } else if !seen.insert(name) {
                say(i, format!("{name:?} is in an earlier wave already"));
            } else if !spec.selector.applications.is_empty() && !spec.selector.applications.contains(name) {
                say(i, format!("{name:?} is not in selector.applications: add it there, or leave it out here"));
            }
        }
    }
}
