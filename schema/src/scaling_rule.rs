//! `scaling_rule`: how many instances an application has, by time and by what it does.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::int_or_percent;

mod rules;
pub use rules::{over_limit, validate, window};

/// Rules that one application may have.
pub const MAX_RULES: usize = 5;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Namespace. Null means the provider's.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace", "reference": "namespace"}))]
    pub namespace: String,
    /// Application that it scales. Of several enabled rules the largest result counts.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace", "reference": "application"}))]
    pub application: String,
    /// Name, unique in the namespace.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace"}))]
    pub name: String,
    /// A rule that is off has no say. When all are off, the application's `replicas` count.
    #[schemars(extend("x-sampan" = {"class": "scale"}))]
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Fewest instances outside of any window. 0 needs `scale_to_zero`.
    #[schemars(range(min = 0, max = 10_000), extend("x-sampan" = {"class": "scale"}))]
    pub min_replicas: i64,
    /// Most instances, in windows too.
    #[schemars(range(min = 1, max = 10_000), extend("x-sampan" = {"class": "scale"}))]
    pub max_replicas: i64,
    /// What is measured, by name. The largest proposal counts: any metric adds instances, all together remove them.
    #[schemars(extend("maxProperties" = 10), extend("x-sampan" = {"class": "scale"}))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Metric>,
    /// Windows in time. They may not overlap.
    #[schemars(length(max = 20), extend("x-sampan" = {"class": "scale"}))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Schedule>,
    /// How fast it may go, by direction.
    #[schemars(extend("x-sampan" = {"class": "scale"}))]
    #[serde(default)]
    pub behavior: Behavior,
    /// No instance at all while there are no requests.
    #[schemars(extend("x-sampan" = {"class": "scale"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_to_zero: Option<ScaleToZero>,
    /// What follows when a metric cannot be read. Never fewer instances.
    #[schemars(extend("x-sampan" = {"class": "scale"}))]
    #[serde(default)]
    pub fallback: Fallback,
    /// A floor from what the load was at this time on earlier days.
    #[schemars(extend("x-sampan" = {"class": "scale"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
    /// While a release is under way. `freeze`: the number stays. `freeze_scale_down`: it only grows.
    #[schemars(extend("x-sampan" = {"class": "scale"}))]
    #[serde(default)]
    pub during_rollout: DuringRollout,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// `cpu` and `memory` of what an instance may use; `concurrency`, `qps` and `response_time_ms` of requests through
    /// the gateway; `tcp_connections`; the answer of a `prometheus` query; a number that an `external` address returns.
    /// `memory` and `response_time_ms` only add instances, or keep them.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// What is wanted per instance; about 70 % of what one can carry.
    pub target: f64,
    /// `utilization`: percent of what an instance may use. `average_value`: amount per instance. `value`: amount as it
    /// is read. Null means the type's first: `utilization` of `cpu` and `memory`, `value` of `response_time_ms`,
    /// `average_value` of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_type: Option<TargetType>,
    /// Of an application without instances: the first one comes when the metric is above this.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub activation_target: f64,
    /// Seconds over which it is averaged.
    #[schemars(range(min = 6, max = 3600))]
    #[serde(default = "minute")]
    pub window_seconds: i64,
    /// Of `prometheus`: the expression. Its answer is one number.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Of `prometheus` and `external`: the address, `http://` or `https://`. `external` answers `{"value": 12.5}`.
    #[schemars(regex(pattern = "^https?://[^/?#@ ]+[^# ]*$"), length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Of `prometheus` and `external`: a secret of the namespace whose key `token` is sent as bearer token.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"reference": "secret"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(v: &f64) -> bool {
    *v == 0.0
}

fn minute() -> i64 {
    60
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    Cpu,
    Memory,
    Concurrency,
    Qps,
    ResponseTimeMs,
    TcpConnections,
    Prometheus,
    External,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetType {
    Utilization,
    AverageValue,
    Value,
}

impl MetricType {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Concurrency => "concurrency",
            Self::Qps => "qps",
            Self::ResponseTimeMs => "response_time_ms",
            Self::TcpConnections => "tcp_connections",
            Self::Prometheus => "prometheus",
            Self::External => "external",
        }
    }

    /// Allowed target types, the default first.
    pub fn target_types(self) -> &'static [TargetType] {
        use TargetType::{AverageValue, Utilization, Value};
        match self {
            Self::Cpu | Self::Memory => &[Utilization, AverageValue],
            Self::Concurrency | Self::Qps | Self::TcpConnections => &[AverageValue],
            Self::ResponseTimeMs => &[Value],
            Self::Prometheus | Self::External => &[AverageValue, Value],
        }
    }

    /// Whether it grows with the work and shrinks with it: only such a metric removes instances and can be forecast.
    pub fn is_load(self) -> bool {
        !matches!(self, Self::Memory | Self::ResponseTimeMs)
    }
}

impl TargetType {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Utilization => "utilization",
            Self::AverageValue => "average_value",
            Self::Value => "value",
        }
    }
}

impl Metric {
    /// The target type in force.
    pub fn target_type(&self) -> TargetType {
        self.target_type.unwrap_or(self.kind.target_types()[0])
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Name, unique in the rule.
    #[schemars(regex(pattern = crate::name::PATTERN))]
    pub name: String,
    /// Cron expression of five fields: when it begins.
    #[schemars(length(min = 9, max = 200))]
    pub start: String,
    /// The same: when it ends. Null means when the next window begins.
    #[schemars(length(min = 9, max = 200))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// IANA name, such as `Asia/Shanghai`. An hour that the zone skips fires at its end, one that comes twice once.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default = "utc")]
    pub time_zone: String,
    /// First day, such as `2026-12-01`, in the zone.
    #[schemars(length(min = 10, max = 10))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin_date: Option<String>,
    /// Last day.
    #[schemars(length(min = 10, max = 10))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<String>,
    /// So many instances, whatever is measured.
    #[schemars(range(min = 0, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Bounds inside which the metrics work, instead of `replicas`.
    #[schemars(range(min = 0, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i64>,
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i64>,
}

fn utc() -> String {
    "UTC".into()
}

impl Schedule {
    /// Least and most instances inside the window.
    pub fn bounds(&self) -> (i64, i64) {
        match (self.replicas, self.min_replicas, self.max_replicas) {
            (Some(n), ..) => (n, n),
            (None, least, most) => (least.unwrap_or(0), most.unwrap_or(i64::MAX)),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Behavior {
    pub scale_up: ScaleUp,
    pub scale_down: ScaleDown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScaleUp {
    /// The least of what was wanted in these seconds counts.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: i64,
    /// Instances that may be added in a period: a number, or a percentage of those there are and at least 4.
    #[schemars(regex(pattern = int_or_percent::PATTERN), extend("x-sampan" = {"semantic": "int_or_percent"}))]
    pub max_step: String,
    #[schemars(range(min = 1, max = 3600))]
    pub period_seconds: i64,
    /// So much above the target is not worth an instance.
    #[schemars(range(min = 0, max = 50))]
    pub tolerance_percent: i64,
    /// Metrics and windows add none.
    pub disabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScaleDown {
    /// The most of what was wanted in these seconds counts.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: i64,
    /// Instances that may be removed in a period: a number, or a percentage of those there are.
    #[schemars(regex(pattern = int_or_percent::PATTERN), extend("x-sampan" = {"semantic": "int_or_percent"}))]
    pub max_step: String,
    #[schemars(range(min = 1, max = 3600))]
    pub period_seconds: i64,
    /// So much below the target is no reason to remove one.
    #[schemars(range(min = 0, max = 50))]
    pub tolerance_percent: i64,
    /// None is removed.
    pub disabled: bool,
}

impl Default for ScaleUp {
    fn default() -> Self {
        Self {
            stabilization_window_seconds: 0,
            max_step: "100%".into(),
            period_seconds: 15,
            tolerance_percent: 10,
            disabled: false,
        }
    }
}

impl Default for ScaleDown {
    fn default() -> Self {
        Self {
            stabilization_window_seconds: 300,
            max_step: "100%".into(),
            period_seconds: 15,
            tolerance_percent: 10,
            disabled: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScaleToZero {
    /// Seconds without a request until the last instance goes. The gateway holds the first request after that until one
    /// is ready.
    #[schemars(range(min = 10, max = 86400))]
    pub cooldown_seconds: i64,
}

impl Default for ScaleToZero {
    fn default() -> Self {
        Self { cooldown_seconds: 300 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// So many times 15 seconds without a value until `replicas` count.
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: i64,
    /// Then at least so many instances. Null means as many as there are.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
}

impl Default for Fallback {
    fn default() -> Self {
        Self { failure_threshold: 3, replicas: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prediction {
    /// `observe`: it is computed and shown. `auto`: it is a floor, while it has proven itself on the last 7 days.
    pub mode: PredictionMode,
    /// Above the forecast, at most so much.
    #[schemars(range(min = 0, max = 200))]
    pub max_uplift_percent: i64,
    /// Share of the time in which the load is not above the floor.
    #[schemars(range(min = 50, max = 99))]
    pub quantile_percent: i64,
}

impl Default for Prediction {
    fn default() -> Self {
        Self { mode: PredictionMode::Observe, max_uplift_percent: 50, quantile_percent: 80 }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PredictionMode {
    #[default]
    Observe,
    Auto,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DuringRollout {
    Freeze,
    #[default]
    FreezeScaleDown,
    Normal,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `timing`, `metric` or `mix`: from what the rule has.
    #[serde(rename = "type")]
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub kind: String,
    /// Instances that the rules of the application want together; none while a schedule keeps it stopped.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub desired: i64,
    /// Instances that there are.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub current: i64,
    /// What kept it from what was wanted: `none`, `min`, `max`, `quota`, `behavior`, `fallback`, `rollout` or `schedule`.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub limited_by: String,
    /// When the number last changed; empty before the first time.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub last_scale_time: String,
    /// Name of the window that it is in; empty outside of any.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub active_schedule: String,
    /// What was read last, by the name of the metric.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub metrics: BTreeMap<String, MetricStatus>,
    /// What the forecast says; null without `prediction`.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastStatus>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricStatus {
    /// Null when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<f64>,
    pub target: f64,
    pub healthy: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForecastStatus {
    /// Instances.
    pub replicas: i64,
    /// Whether it has proven itself.
    pub gate_open: bool,
    /// Why not, with numbers; empty when it has.
    pub reason: String,
}

impl Spec {
    /// `timing`, `metric` or `mix`.
    pub fn kind(&self) -> &'static str {
        match (self.schedules.is_empty(), self.metrics.is_empty()) {
            (false, true) => "timing",
            (false, false) => "mix",
            (true, _) => "metric",
        }
    }

    /// The metric whose load the forecast is about, with its name: the one that is nearest to the work.
    pub fn forecast_metric(&self) -> Option<(&String, &Metric)> {
        let rank = |kind: MetricType| match kind {
            MetricType::Qps => 0,
            MetricType::Concurrency => 1,
            MetricType::Cpu => 2,
            MetricType::TcpConnections => 3,
            _ => 4,
        };
        let fits = |m: &Metric| m.kind.is_load() && m.target_type() != TargetType::Value;
        self.metrics.iter().filter(|(_, m)| fits(m)).min_by_key(|(_, m)| rank(m.kind))
    }
}
