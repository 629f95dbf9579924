//! `gray_policy`: how a release of an application goes to some first, then to all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use regex_lite::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::int_or_percent;
use crate::probe::is_token;
use crate::violation::Violation;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// `canary`: requests are split between gray and stable. `batch`: instances are updated batch by batch, without a
    /// split. `blue_green`: a full second set of instances is made, and requests are switched to it.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub strategy: Strategy,
    /// Of `canary`. `shared`: gray instances are stable ones, updated in place. `extra`: gray instances are additional,
    /// and stable keeps all of its capacity until the last step has passed.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub capacity: Capacity,
    /// Steps before the last one, which is everything and need not be written.
    #[schemars(length(min = 1, max = 50), extend("x-sampan" = {"class": "metadata"}))]
    pub steps: Vec<Step>,
    /// Allows a first step of more than half of the instances.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub allow_large_first_step: bool,
    /// Name of the gray revision's lane: requests that `matches` chose carry it on to other applications.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default = "gray")]
    pub tag: String,
    /// What a call on the lane gets from an application of the namespace that has no ready instance of it. `baseline`:
    /// an answer of stable, and the lane goes on through it. `reject`: 503. One policy in use that rejects is enough.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub fallback: Fallback,
    /// Keeps a caller at the side it was sent to; null sends every request by its own. A higher weight moves callers
    /// only to gray, a lower one only back.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Checks of gray against stable, by name.
    #[schemars(extend("maxProperties" = 10), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub analysis: BTreeMap<String, Analysis>,
    /// Gray instances, a number or a percentage of `replicas` rounded down, that may crash and not be ready again before
    /// the step fails; with more it fails at once. Null means `max_unavailable` of the application, at least 1.
    #[schemars(regex(pattern = int_or_percent::PATTERN), extend("x-sampan" = {"class": "metadata", "semantic": "int_or_percent"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<String>,
    /// What follows when a step fails. `pause` keeps everything as it is. `abort` sends all requests to stable and keeps
    /// the gray instances for a look. `rollback` also returns the instances.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What a new release does to one that is under way. `supersede`: back to stable first, then the new one. `queue`:
    /// the new one waits until the other has ended, and a newer one takes its place. `reject`: refuses the write.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub on_new_release: OnNewRelease,
    /// `sampan rollout undo` to one of so many revisions that were released well before the present one takes one step
    /// and no analysis; further back it is a release like any other.
    #[schemars(range(min = 0, max = 10), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default = "window")]
    pub rollback_window_revisions: i64,
    /// Of `blue_green`: how long the old instances stay when all requests go to the new ones.
    #[schemars(range(min = 0, max = 86400), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default = "thirty")]
    pub scale_down_delay_seconds: i64,
    /// How long a release may stay paused; then `on_failure` follows.
    #[schemars(range(min = 1, max = 2_592_000), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default = "week")]
    pub promotion_timeout_seconds: i64,
}

fn gray() -> String {
    "gray".into()
}

fn thirty() -> i64 {
    30
}

fn window() -> i64 {
    3
}

fn week() -> i64 {
    604_800
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    #[default]
    Canary,
    Batch,
    BlueGreen,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capacity {
    #[default]
    Shared,
    Extra,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    #[default]
    Baseline,
    Reject,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    #[default]
    Pause,
    Abort,
    Rollback,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNewRelease {
    #[default]
    Supersede,
    Queue,
    Reject,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Gray instances: a number or a percentage of `replicas`, rounded up. Null means the share that the weight needs;
    /// `matches` of a canary and `batch` have to say it. Not of `blue_green`, where gray is a full set.
    #[schemars(regex(pattern = int_or_percent::PATTERN), extend("x-sampan" = {"semantic": "int_or_percent"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,
    /// Share of requests that goes to gray, in percent with two decimals; rises from step to step. Null means the share
    /// of instances; with `matches` only what matches; with `blue_green` none.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_percent: Option<f64>,
    /// Requests that go to gray: any of these, in written order. Instead of a weight.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// What happens when the instances of the step are ready; null goes on once the analysis has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Names of the analyses that judge this step; null means all, an empty set none.
    #[schemars(extend("x-sampan" = {"empty": "value"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<BTreeSet<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Goes on after this time.
    #[schemars(range(min = 1, max = 2_592_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// Waits for `sampan rollout promote`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub manual: bool,
}

/// All of what is set has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Request method, such as `GET`.
    #[schemars(regex(pattern = "^[A-Z]{1,20}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueMatch>,
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<ValueMatch>,
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<ValueMatch>,
    /// Networks of the caller, such as `192.0.2.0/24`: any of them.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub source_cidrs: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathMatch {
    #[serde(default, rename = "type")]
    pub kind: PathType,
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathType {
    Exact,
    #[default]
    PathPrefix,
    RegularExpression,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueMatch {
    /// Name of the header, parameter or cookie; headers in any case. The headers of lanes, `x-sampan-lane` and
    /// `baggage`, are the gateway's.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// `In` is any of `values`; `Mod` takes a whole number and `values = ["divisor", "remainder", …]`.
    #[serde(default, rename = "type")]
    pub kind: ValueType,
    /// Of `Exact`, `Prefix` and `RegularExpression`.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of `In` and `Mod`.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValueType {
    #[default]
    Exact,
    Prefix,
    RegularExpression,
    In,
    Mod,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// What a caller is known by. `cookie` is set by the gateway when it is missing.
    #[serde(default)]
    pub key: StickyKey,
    /// Name of the cookie or header; `sampan_bucket` is the cookie's when null. A header has to be named.
    #[schemars(length(min = 1, max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Age of the cookie.
    #[schemars(range(min = 1, max = 31_536_000))]
    #[serde(default = "day")]
    pub max_age_seconds: i64,
}

fn day() -> i64 {
    86_400
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StickyKey {
    #[default]
    Cookie,
    Header,
    ClientIp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// `error_rate`: share of answers with status 500 and above, and of requests without an answer. `response_time`:
    /// 95th percentile until the answer's head. `restart_count`: restarts of gray instances; fails at once.
    /// `prometheus`: one number that a Prometheus server computes. `webhook`: a `POST` of
    /// `{namespace, application, revision, stable_revision, step, analysis}`, and any answer but a 2xx fails.
    #[serde(rename = "type")]
    pub kind: AnalysisType,
    /// Length of a window in which gray is compared with stable; `prometheus` and `webhook` are asked at its end.
    #[schemars(range(min = 1, max = 86400))]
    #[serde(default = "minute")]
    pub interval_seconds: i64,
    /// So many windows may fail before the step does.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "three")]
    pub failure_limit: i64,
    /// Requests that each side needs in a window; with fewer the window says nothing.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(default = "fifty")]
    pub min_samples: i64,
    /// Of `error_rate`: gray's highest share, in percent.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_percent: Option<f64>,
    /// Of `error_rate`: how many percentage points gray may be above stable; 0.5 when null.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delta_percent: Option<f64>,
    /// Of `response_time`: gray may always be this fast, in milliseconds.
    #[schemars(range(min = 1, max = 3_600_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_p95_ms: Option<i64>,
    /// Of `response_time`: how many times as slow as stable gray may be; 1.25 when null.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_p95_ratio: Option<f64>,
    /// Of `prometheus`: the lowest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Of `prometheus`: the highest good value. Of `restart_count`: restarts of gray instances that are still well; 0
    /// when null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Address of the Prometheus server, without `/api/v1`; or what the webhook is sent to. `http` or `https`.
    /// Redirects are not followed.
    #[schemars(length(min = 1, max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of `prometheus`: an expression that gives one number. `{{namespace}}`, `{{application}}`, `{{revision}}` and
    /// `{{stable_revision}}` stand for those of the release.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Of `prometheus` and `webhook`: how long an answer is waited for, tries included; 10 when null.
    #[schemars(range(min = 1, max = 300))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// Of `prometheus` and `webhook`: a secret of the namespace whose key `token` is sent as bearer token.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"reference": "secret"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret: Option<String>,
}

/// Words that a query may have between double braces.
pub const PLACEHOLDERS: [&str; 4] = ["namespace", "application", "revision", "stable_revision"];
/// Of [`Analysis::timeout_seconds`].
const TIMEOUT_SECONDS: i64 = 10;

impl Analysis {
    /// How long an answer is waited for, in seconds.
    pub fn timeout_seconds(&self) -> i64 {
        self.timeout_seconds.unwrap_or(TIMEOUT_SECONDS).max(1)
    }
    /// Its numbers come from somebody else than the gateway and the runtime.
    pub fn is_external(&self) -> bool {
        matches!(self.kind, AnalysisType::Prometheus | AnalysisType::Webhook)
    }
}

fn minute() -> i64 {
    60
}

fn three() -> i64 {
    3
}

fn fifty() -> i64 {
    50
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnalysisType {
    ErrorRate,
    ResponseTime,
    RestartCount,
    Prometheus,
    Webhook,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Applications that name it, sorted.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub used_by: BTreeSet<String>,
}

impl Step {
    /// Weight in basis points, when the step has one of its own.
    pub fn weight(&self) -> Option<u32> {
        // Two decimals of at most 100: the product is a small whole number.
        self.weight_percent.map(|w| (w * 100.0).round().clamp(0.0, 10_000.0) as u32)
    }
    /// Percentage of instances, when it is written as one.
    fn percent(&self) -> Option<u32> {
        self.replicas.as_deref()?.strip_suffix('%')?.parse().ok()
    }
    /// Number of instances, when it is written as one.
    fn count(&self) -> Option<u32> {
        self.replicas.as_deref()?.parse().ok()
    }
    /// Weight in basis points that the document alone tells: its own, else the share of instances.
    fn certain_weight(&self) -> Option<u32> {
        let share = || self.percent().filter(|_| self.matches.is_empty()).map(|p| p * 100);
        self.weight().or_else(share)
    }
}

impl Spec {
    /// Whether gray instances are stable ones: then one instance alone cannot be divided.
    pub fn divides(&self) -> bool {
        self.strategy == Strategy::Canary && self.capacity == Capacity::Shared
    }
}

/// The gateway sets these for lanes and takes them from nobody outside.
const RESERVED: [&str; 2] = ["x-sampan-lane", "baggage"];

/// Every rule that needs nothing but the document.
pub fn validate(spec: &Spec) -> Vec<Violation> {
    let mut v = crate::namespace::labels(&spec.labels);
    strategy(spec, &mut v);
    rises(spec, &mut v);
    first_step(spec, &mut v);
    for (i, step) in spec.steps.iter().enumerate() {
        one_step(spec, step, &format!("steps[{i}]"), &mut v);
    }
    if let Some(s) = &spec.sticky {
        sticky(s, &mut v);
    }
    for (name, a) in &spec.analysis {
        analysis(name, a, &mut v);
    }
    v
}

/// Fields that belong to another strategy.
fn strategy(spec: &Spec, v: &mut Vec<Violation>) {
    if spec.strategy != Strategy::Canary && spec.capacity != Capacity::Shared {
        v.push(Violation::new("capacity", "SMP052", "is of strategy canary alone: leave it out"));
    }
    if spec.strategy != Strategy::BlueGreen && spec.scale_down_delay_seconds != thirty() {
        v.push(Violation::new("scale_down_delay_seconds", "SMP052", "is of strategy blue_green alone: leave it out"));
    }
    for (field, set) in [("sticky", spec.sticky.is_some()), ("fallback", spec.fallback != Fallback::Baseline)] {
        if spec.strategy == Strategy::Batch && set {
            v.push(Violation::new(field, "SMP048", "strategy batch does not split requests: leave it out"));
        }
    }
}

/// Weights rise, numbers of instances do not fall, as far as the document alone tells.
fn rises(spec: &Spec, v: &mut Vec<Violation>) {
    let (mut weight, mut percent, mut count) = (None, None, None);
    for (i, step) in spec.steps.iter().enumerate() {
        let at = |field: &str| format!("steps[{i}].{field}");
        if let (Some(now), true) = (step.certain_weight(), spec.strategy != Strategy::Batch) {
            if let Some(before) = weight.filter(|before| now <= *before) {
                let field = if step.weight_percent.is_some() { "weight_percent" } else { "replicas" };
                let shown = |bp: u32| f64::from(bp) / 100.0;
                let text = format!(
                    "gives gray {} % of requests, not above the {} % of an earlier step: weights rise from step to step",
                    shown(now),
                    shown(before)
                );
                v.push(Violation::new(at(field), "SMP046", text));
            }
            weight = weight.max(Some(now));
        }
        for (now, before, unit) in [(step.percent(), &mut percent, " %"), (step.count(), &mut count, "")] {
            let Some(now) = now else { continue };
            if let Some(before) = before.filter(|before| now < *before) {
                let text =
                    format!("is {now}{unit}, below the {before}{unit} of an earlier step: steps only add instances");
                v.push(Violation::new(at("replicas"), "SMP050", text));
            }
            *before = (*before).max(Some(now));
        }
    }
}

/// More than half at once is no careful beginning.
fn first_step(spec: &Spec, v: &mut Vec<Violation>) {
    let Some(first) = spec.steps.first().filter(|_| !spec.allow_large_first_step) else { return };
    let field = match (first.percent(), first.weight()) {
        (Some(p), _) if p > 50 => "replicas",
        (_, Some(bp)) if bp > 5000 => "weight_percent",
        _ => return,
    };
    let text = "the first step takes more than 50 %: begin smaller, or set allow_large_first_step";
    v.push(Violation::new(format!("steps[0].{field}"), "SMP051", text));
}

fn one_step(spec: &Spec, step: &Step, at: &str, v: &mut Vec<Violation>) {
    let mut say = |field: &str, rule: &str, text: String| v.push(Violation::new(format!("{at}.{field}"), rule, text));
    if step.weight_percent.is_some() && !step.matches.is_empty() {
        say("weight_percent", "SMP047", "excludes matches: requests are chosen by share or by content".into());
    }
    // Of binary fractions none is exact, so the distance to the next hundredth is compared.
    if step.weight_percent.is_some_and(|w| ((w * 100.0) - (w * 100.0).round()).abs() > 1e-6) {
        say("weight_percent", "SMP054", "has at most two decimals".into());
    }
    match spec.strategy {
        Strategy::Batch => {
            for (field, set) in
                [("weight_percent", step.weight_percent.is_some()), ("matches", !step.matches.is_empty())]
            {
                if set {
                    say(field, "SMP048", "strategy batch does not split requests: leave it out".into());
                }
            }
        }
        Strategy::BlueGreen if step.replicas.is_some() => {
            say("replicas", "SMP052", "strategy blue_green makes a full second set: leave it out".into());
        }
        Strategy::BlueGreen => {}
        Strategy::Canary if step.replicas.is_none() && step.weight_percent.is_none() => {
            let text = if step.matches.is_empty() {
                "replicas or weight_percent is required: how far does the step go?"
            } else {
                "is required with matches: how many instances serve them?"
            };
            say("replicas", "SMP049", text.into());
        }
        Strategy::Canary => {}
    }
    if step.percent() == Some(0) || step.count() == Some(0) {
        say("replicas", "SMP049", "is no instance: a step has at least one".into());
    }
    if let Some(p) = &step.pause
        && p.duration_seconds.is_some() == p.manual
    {
        say("pause", "SMP053", "write exactly one of duration_seconds and manual = true".into());
    }
    for name in step.analysis.iter().flatten().filter(|name| !spec.analysis.contains_key(*name)) {
        let known: Vec<_> = spec.analysis.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "there is none".into() } else { format!("there are {}", known.join(", ")) };
        say("analysis", "SMP055", format!("{name:?} is no key of analysis: {known}"));
    }
    for (i, m) in step.matches.iter().enumerate() {
        let at = format!("{at}.matches[{i}]");
        if let Some(first) = step.matches[..i].iter().position(|other| other == m) {
            v.push(Violation::new(
                &at,
                "SMP063",
                format!("is the same as matches[{first}]: it never decides anything"),
            ));
        }
        one_match(m, &at, v);
    }
}

fn one_match(m: &Match, at: &str, v: &mut Vec<Violation>) {
    if *m == Match::default() {
        v.push(Violation::new(at, "SMP057", "has no condition, so it would match everything: write at least one"));
    }
    if let Some(path) = &m.path {
        let at = format!("{at}.path.value");
        match path.kind {
            PathType::RegularExpression => regex(&path.value, &at, v),
            _ if !path.value.starts_with('/') => {
                v.push(Violation::new(
                    at,
                    "SMP057",
                    format!("is {:?}, want something that begins with \"/\"", path.value),
                ));
            }
            _ => {}
        }
    }
    for (field, list) in [("headers", &m.headers), ("query_params", &m.query_params), ("cookies", &m.cookies)] {
        for (i, condition) in list.iter().enumerate() {
            let at = format!("{at}.{field}[{i}]");
            let name = &condition.name;
            if field == "headers" && RESERVED.iter().any(|r| name.eq_ignore_ascii_case(r)) {
                v.push(Violation::new(
                    format!("{at}.name"),
                    "SMP061",
                    format!("{name:?} carries lanes and is set by the gateway: choose another header"),
                ));
            } else if field != "query_params" && !is_token(name) {
                v.push(Violation::new(
                    format!("{at}.name"),
                    "SMP061",
                    format!("{name:?} is no name of a header or cookie"),
                ));
            }
            values(condition, &at, v);
        }
    }
    for cidr in m.source_cidrs.iter().filter(|cidr| !is_cidr(cidr)) {
        let text = format!("{cidr:?} is no network: write an address and a length, such as 192.0.2.0/24");
        v.push(Violation::new(format!("{at}.source_cidrs"), "SMP060", text));
    }
}

/// `In` and `Mod` take `values`, the others `value`.
fn values(c: &ValueMatch, at: &str, v: &mut Vec<Violation>) {
    let many = matches!(c.kind, ValueType::In | ValueType::Mod);
    let (wanted, other) = if many { ("values", "value") } else { ("value", "values") };
    let has = |field: &str| if field == "value" { c.value.is_some() } else { !c.values.is_empty() };
    if has(other) {
        v.push(Violation::new(format!("{at}.{other}"), "SMP058", format!("type {:?} takes {wanted}", c.kind)));
    }
    if !has(wanted) {
        v.push(Violation::new(format!("{at}.{wanted}"), "SMP058", format!("is required with type {:?}", c.kind)));
        return;
    }
    match (c.kind, &c.value) {
        (ValueType::RegularExpression, Some(pattern)) => regex(pattern, &format!("{at}.value"), v),
        (ValueType::Mod, _) if modulus(&c.values).is_none() => v.push(Violation::new(
            format!("{at}.values"),
            "SMP058",
            "of type Mod is a divisor from 1 on and then remainders below it, all whole numbers, such as [\"100\", \"7\"]",
        )),
        _ => {}
    }
}

/// Divisor and remainders of `Mod`.
pub fn modulus(values: &[String]) -> Option<(u64, Vec<u64>)> {
    let numbers: Option<Vec<u64>> = values.iter().map(|text| text.parse().ok()).collect();
    let numbers = numbers?;
    let (divisor, remainders) = numbers.split_first()?;
    let fits = *divisor > 0 && !remainders.is_empty() && remainders.iter().all(|r| r < divisor);
    fits.then(|| (*divisor, remainders.to_vec()))
}

fn regex(pattern: &str, at: &str, v: &mut Vec<Violation>) {
    if let Err(e) = Regex::new(pattern) {
        v.push(Violation::new(at, "SMP059", format!("{pattern:?} is no regular expression: {e}")));
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) && length.parse::<u16>().is_ok_and(|l| l <= most)
}

fn sticky(s: &Sticky, v: &mut Vec<Violation>) {
    let mut say = |field: &str, text: String| v.push(Violation::new(format!("sticky.{field}"), "SMP062", text));
    match (s.key, &s.name) {
        (StickyKey::Header, None) => say("name", "is required with key header: which header is it?".into()),
        (StickyKey::ClientIp, Some(_)) => say("name", "an address has no name: leave it out with key client_ip".into()),
        (_, Some(name)) if !is_token(name) => say("name", format!("{name:?} is no name of a header or cookie")),
        _ => {}
    }
    if s.key != StickyKey::Cookie && s.max_age_seconds != day() {
        say("max_age_seconds", "is of key cookie alone: leave it out".into());
    }
}

/// Limits that the type of an analysis does not have.
fn analysis(name: &str, a: &Analysis, v: &mut Vec<Violation>) {
    let at = format!("analysis[{name:?}]");
    if !crate::name::is_name(name) {
        let text = "a name of an analysis is lower-case letters, digits and \"-\", from a letter on";
        v.push(Violation::new(&at, "SMP056", text));
    }
    use AnalysisType::{ErrorRate, Prometheus, ResponseTime, RestartCount, Webhook};
    for (field, set, owners) in [
        ("max_percent", a.max_percent.is_some(), &[ErrorRate][..]),
        ("max_delta_percent", a.max_delta_percent.is_some(), &[ErrorRate]),
        ("max_p95_ms", a.max_p95_ms.is_some(), &[ResponseTime]),
        ("max_p95_ratio", a.max_p95_ratio.is_some(), &[ResponseTime]),
        ("max", a.max.is_some(), &[RestartCount, Prometheus]),
        ("min", a.min.is_some(), &[Prometheus]),
        ("query", a.query.is_some(), &[Prometheus]),
        ("url", a.url.is_some(), &[Prometheus, Webhook]),
        ("timeout_seconds", a.timeout_seconds.is_some(), &[Prometheus, Webhook]),
        ("auth_secret", a.auth_secret.is_some(), &[Prometheus, Webhook]),
        ("min_samples", a.is_external() && a.min_samples != fifty(), &[ErrorRate, ResponseTime]),
    ] {
        if set && !owners.contains(&a.kind) {
            let owners = owners.iter().map(|o| o.word()).collect::<Vec<_>>().join(" and ");
            let text = format!("is of type {owners}, this is {}: leave it out", a.kind.word());
            v.push(Violation::new(format!("{at}.{field}"), "SMP056", text));
        }
    }
    if a.kind == RestartCount && a.max.is_some_and(|max| !(0.0..=1000.0).contains(&max) || max.fract() != 0.0) {
        v.push(Violation::new(format!("{at}.max"), "SMP056", "is a whole number from 0 to 1000 with restart_count"));
    }
    if a.is_external() {
        external(a, &at, v);
    }
}

/// What somebody else is asked, and where.
fn external(a: &Analysis, at: &str, v: &mut Vec<Violation>) {
    let mut say = |field: &str, rule: &str, text: String| v.push(Violation::new(format!("{at}.{field}"), rule, text));
    match a.url.as_deref().map(host_of) {
        None => say("url", "SMP070", format!("is required with type {}: who is asked?", a.kind.word())),
        Some(None) => {
            let text = "is no address: write http:// or https://, a host, and no user, password or fragment";
            say("url", "SMP070", text.into());
        }
        Some(Some((plain, host))) => {
            if a.kind == AnalysisType::Prometheus && a.url.as_deref().is_some_and(|url| url.contains('?')) {
                say("url", "SMP070", "is the address of the server alone: the expression belongs into query".into());
            }
            if a.auth_secret.is_some() && plain && !is_loopback(host) {
                say("auth_secret", "SMP073", "is not sent over plain HTTP: use https in url".into());
            }
        }
    }
    if a.kind != AnalysisType::Prometheus {
        return;
    }
    match &a.query {
        None => say("query", "SMP071", "is required with type prometheus: which number is it?".into()),
        Some(query) => {
            for word in placeholders(query).filter(|word| !PLACEHOLDERS.contains(word)) {
                let known = PLACEHOLDERS.join(", ");
                say("query", "SMP071", format!("has {{{{{word}}}}}, which stands for nothing: there are {known}"));
            }
        }
    }
    match (a.min, a.max) {
        (None, None) => say("max", "SMP072", "or min is required with type prometheus: which value is good?".into()),
        (Some(min), Some(max)) if min > max => {
            say("max", "SMP072", format!("is {max}, below min {min}: no value is good"));
        }
        _ => {}
    }
}

/// Whether an address is of plain HTTP, and its host without port; `None` for what is no address.
pub(crate) fn host_of(url: &str) -> Option<(bool, &str)> {
    let (plain, rest) = match url.split_once("://")? {
        ("http", rest) => (true, rest),
        ("https", rest) => (false, rest),
        _ => return None,
    };
    let is_written =
        |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '#');
    if !rest.chars().all(is_written) {
        return None;
    }
    let authority = rest.split(['/', '?']).next().filter(|a| !a.contains('@'))?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let named = !host.is_empty() && !host.contains('%');
    let fits = port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    (named && fits).then_some((plain, host))
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// What stands between double braces.
fn placeholders(query: &str) -> impl Iterator<Item = &str> {
    query.split("{{").skip(1).filter_map(|rest| rest.split_once("}}").map(|(word, _)| word))
}

impl AnalysisType {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::ResponseTime => "response_time",
            Self::RestartCount => "restart_count",
            Self::Prometheus => "prometheus",
            Self::Webhook => "webhook",
        }
    }
}
