//! What the autoscaler knows and has decided, as callers see it.

use std::collections::HashMap;

use axum::response::Response;
use sampan_engine::scaling::{Gate, RuleDecision};
use sampan_schema::problem::Problem;
use sampan_schema::scaling::{Decision, Metric, Rule, Scaling};
use sampan_schema::scaling_rule::{ForecastStatus, MetricStatus, Spec, Status};
use sampan_store::{DECISIONS_PER_APPLICATION, Object, Reader, StoreError};
use serde_json::Value;

use super::Api;
use super::answer::{ok, read};
use super::application::existing;
use crate::clock::{now_ms, rfc3339};
use crate::scaling::board::Shown;
use crate::{admission, objects};

/// Decisions that are shown unless the caller says how many.
const SHOWN: usize = 20;

pub(super) fn get(api: &Api, ns: &str, name: &str, query: &HashMap<String, String>) -> Result<Response, Problem> {
    let limit = query.get("limit").and_then(|l| l.parse().ok()).unwrap_or(SHOWN).clamp(1, DECISIONS_PER_APPLICATION);
    let (app, rules, stored, instances, decisions, state) = read(&api.store, |r| {
        let key = objects::key(ns, name);
        let rules = admission::rules_of(r, ns, name)?;
        let (scaled, instances) = (objects::scaled(r, &key)?, objects::instances(r, &key)?);
        Ok((
            existing(r, ns, name)?,
            rules,
            scaled,
            instances,
            r.latest_decisions(ns, name, limit)?,
            objects::state(r, &key)?,
        ))
    })?;
    let key = objects::key(ns, name);
    let shown = api.board.shown(&key);
    let declared = app.spec.get("replicas").and_then(Value::as_i64).unwrap_or(1);
    let decisions = decisions.into_iter().filter_map(|d| serde_json::from_value::<Decision>(d.doc).ok());
    let stopped = state.stopped.map(|s| s.message(now_ms()));
    let desired = stored.map_or(declared, |s| i64::from(s.desired));
    let answer = Scaling {
        current: instances.iter().filter(|i| !i.terminating).count() as i64,
        ready: instances.iter().filter(|i| !i.terminating && i.ready_since.is_some()).count() as i64,
        desired: if stopped.is_some() { 0 } else { desired },
        limited_by: shown.as_ref().map_or("none", |s| s.decision.limited_by.word()).to_owned(),
        waiting: shown.as_ref().map_or(0, |s| i64::from(s.waiting)),
        reason: stopped.or_else(|| shown.as_ref().map(|s| s.decision.to_string())).unwrap_or_default(),
        rules: rules.iter().map(|(_, spec)| rule(spec, shown.as_ref())).collect(),
        decisions: decisions.collect(),
    };
    Ok(ok(200, &serde_json::to_value(answer).unwrap_or_default()))
}

/// What the rule came to at the last look.
fn decided<'a>(spec: &Spec, shown: Option<&'a Shown>) -> Option<&'a RuleDecision> {
    shown?.decision.rules.iter().find(|r| r.rule == spec.name && spec.enabled)
}

fn rule(spec: &Spec, shown: Option<&Shown>) -> Rule {
    let decided = decided(spec, shown);
    let proposal = |name: &str| decided.and_then(|d| d.proposals.iter().find(|p| p.metric == *name));
    let metrics = spec.metrics.iter().map(|(name, metric)| {
        let p = proposal(name);
        let shown = Metric {
            kind: metric.kind.word().to_owned(),
            target: metric.target,
            current: p.and_then(|p| p.value),
            wanted: p.and_then(|p| p.wanted).map(i64::from),
            problem: p.and_then(|p| p.gap.as_ref()).map_or_else(String::new, ToString::to_string),
        };
        (name.clone(), shown)
    });
    Rule {
        name: spec.name.clone(),
        enabled: spec.enabled,
        min: decided.map_or(spec.min_replicas, |d| i64::from(d.bounds.min)),
        max: decided.map_or(spec.max_replicas, |d| i64::from(d.bounds.max)),
        window: decided.and_then(|d| d.window.clone()).unwrap_or_default(),
        wanted: decided.map(|d| i64::from(d.wanted)),
        result: decided.map(|d| i64::from(d.result)),
        limited_by: decided.map_or("none", |d| d.limited_by.word()).to_owned(),
        metrics: metrics.collect(),
        reason: decided.map_or_else(String::new, ToString::to_string),
    }
}

/// The status of a rule: live numbers, which no row of the store is written for.
pub(super) fn status(api: &Api, r: &Reader<'_>, o: &Object) -> Result<Value, StoreError> {
    let Ok(spec) = sampan_schema::read::<Spec>(&o.spec) else { return Ok(Value::Null) };
    let key = objects::key(&o.namespace, &spec.application);
    let scaled = objects::scaled(r, &key)?;
    let declared = || {
        let app = r.object("application", &o.namespace, &spec.application)?;
        Ok::<_, StoreError>(app.and_then(|a| a.spec.get("replicas")?.as_i64()).unwrap_or(1))
    };
    let desired = match &scaled {
        _ if objects::state(r, &key)?.stopped.is_some() => 0,
        Some(scaled) => i64::from(scaled.desired),
        None => declared()?,
    };
    let shown = api.board.shown(&key);
    let decided = decided(&spec, shown.as_ref());
    let metrics = spec.metrics.iter().map(|(name, metric)| {
        let value = decided.and_then(|d| d.proposals.iter().find(|p| p.metric == *name)).and_then(|p| p.value);
        (name.clone(), MetricStatus { current: value, target: metric.target, healthy: value.is_some() })
    });
    let status = Status {
        kind: spec.kind().to_owned(),
        desired,
        current: objects::instances(r, &key)?.iter().filter(|i| !i.terminating).count() as i64,
        limited_by: decided.map_or("none", |d| d.limited_by.word()).to_owned(),
        last_scale_time: scaled.filter(|s| s.changed_at > 0).map_or_else(String::new, |s| rfc3339(s.changed_at)),
        active_schedule: decided.and_then(|d| d.window.clone()).unwrap_or_default(),
        metrics: metrics.collect(),
        forecast: decided.and_then(|d| d.forecast.as_ref()).map(|(forecast, replicas)| ForecastStatus {
            replicas: i64::from(*replicas),
            gate_open: forecast.gate == Gate::Open,
            reason: if forecast.gate == Gate::Open { String::new() } else { forecast.gate.to_string() },
        }),
    };
    Ok(serde_json::to_value(status).unwrap_or_default())
}
