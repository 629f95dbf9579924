//! What is known about the size of an application: the wishes of its rules, and what was decided.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The size of an application, as a caller sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Scaling {
    /// Instances that there are.
    pub current: i64,
    /// Of these, ready ones.
    pub ready: i64,
    /// Instances that there shall be. Without an enabled rule the `replicas` of the application; none while a schedule
    /// keeps it stopped.
    pub desired: i64,
    /// What kept it from what was wanted: `none`, `min`, `max`, `quota`, `behavior`, `fallback`, `rollout` or `schedule`.
    pub limited_by: String,
    /// Requests that wait for an instance.
    pub waiting: i64,
    /// The last look of the rules as a sentence, or by which schedule it is stopped; empty without both.
    pub reason: String,
    /// Rules of the application, by name.
    pub rules: Vec<Rule>,
    /// The newest decisions, oldest first: what changed the number, and what was kept from it.
    pub decisions: Vec<Decision>,
}

/// JSON Schema without what led to a decision, which has another shape for every metric.
pub(crate) fn report_schema() -> Value {
    let mut schema = crate::json_schema::<Scaling>();
    if let Some(decision) = schema.pointer_mut("/properties/decisions/items/properties").and_then(Value::as_object_mut)
    {
        decision.remove("inputs");
    }
    schema
}

/// What one rule wants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Rule {
    /// Name of the rule.
    pub name: String,
    /// One that is off has no say.
    pub enabled: bool,
    /// Fewest instances, by the window that it is in.
    pub min: i64,
    /// Most instances, by the window that it is in.
    pub max: i64,
    /// Name of the window that it is in; empty outside of any.
    pub window: String,
    /// Within the bounds, before its behaviour; null until it was looked at.
    pub wanted: Option<i64>,
    /// After it; null until it was looked at.
    pub result: Option<i64>,
    /// As `limited_by` of the application.
    pub limited_by: String,
    /// By the name of the metric.
    pub metrics: BTreeMap<String, Metric>,
    /// How it came to its number, as a sentence.
    pub reason: String,
}

/// What a metric was, and what it asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Metric {
    /// What is measured.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wanted per instance.
    pub target: f64,
    /// Null when it cannot be read.
    pub current: Option<f64>,
    /// Null when it asks for nothing.
    pub wanted: Option<i64>,
    /// Why it cannot be read; empty when it can.
    pub problem: String,
}

/// One decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Decision {
    /// In milliseconds since the epoch.
    pub at: i64,
    /// Instances before.
    pub from: i64,
    /// Instances after.
    pub to: i64,
    /// The decision as a sentence.
    pub reason: String,
    /// As `limited_by` of the application.
    pub limited_by: String,
    /// Everything that led to it, as it was then.
    pub inputs: Value,
}
