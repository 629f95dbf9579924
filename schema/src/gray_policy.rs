//! `gray_policy`: how a release of an application goes to some first, then to all.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::int_or_percent;
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
    /// Keeps a caller at the side it was sent to; null sends every request by its own. A higher weight moves callers
    /// only to gray, a lower one only back.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Checks of gray against stable, by name.
    #[schemars(extend("maxProperties" = 10), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub analysis: BTreeMap<String, Analysis>,
    /// What follows when a step fails. `pause` keeps everything as it is. `abort` sends all requests to stable and keeps
    /// the gray instances for a look. `rollback` also returns the instances.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What a new release does to one that is under way. `supersede`: back to stable first, then the new one.
    /// `reject`: refuses the write.
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub on_new_release: OnNewRelease,
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
    Reject,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Gray instances: a number or a percentage of `replicas`, rounded up. Null means the share that the weight needs.
    #[schemars(regex(pattern = int_or_percent::PATTERN), extend("x-sampan" = {"semantic": "int_or_percent"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,
    /// Share of requests that goes to gray, in percent with two decimals. Null means the share of instances; with
    /// `matches` only what matches.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_percent: Option<f64>,
    /// Requests that go to gray: any of these, in written order.
    #[schemars(length(max = 16))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// What happens when the instances of the step are ready; null goes on once the analysis has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Names of the analyses that judge this step; null means all.
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
    /// Name of the header, parameter or cookie; headers in any case.
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
    #[serde(rename = "type")]
    pub kind: AnalysisType,
    /// Length of a window in which gray is compared with stable.
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
    /// Of `restart_count`: restarts of gray instances that are still well; 0 when null.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
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
}

pub fn validate(spec: &Spec) -> Vec<Violation> {
    crate::namespace::labels(&spec.labels)
}
