//! The load of earlier days, of rules with `prediction`: kept in the store, since it is worth something after weeks.

use std::collections::BTreeMap;

use sampan_engine::scaling::forecast::{SLOT_MS, Series, Settings};
use sampan_engine::scaling::{Forecast, Metrics, Reading};
use sampan_schema::scaling_rule::Spec;
use sampan_store::{Reader, StoreError, Tx};

use crate::objects;

/// A load is taken in so often.
const EVERY_MS: i64 = 60_000;

/// By rule.
#[derive(Debug, Default)]
pub struct Outlook {
    series: BTreeMap<String, Series>,
    pushed_at: i64,
    stored_slot: i64,
}

impl Outlook {
    pub fn read(r: &Reader<'_>, app: &str) -> Result<Self, StoreError> {
        Ok(Self { series: objects::series(r, app)?, ..Self::default() })
    }

    /// Takes in what was measured, at most once a minute. Returns what the load will be, by rule.
    pub fn look<'a>(
        &mut self,
        rules: impl Iterator<Item = (&'a Spec, &'a Metrics)>,
        lag_ms: i64,
        now: i64,
    ) -> BTreeMap<String, Forecast> {
        let due = now - self.pushed_at >= EVERY_MS || now < self.pushed_at;
        let mut found = BTreeMap::new();
        let mut named = Vec::new();
        for (rule, metrics) in rules {
            let Some(prediction) = &rule.prediction else { continue };
            let settings = Settings::of(prediction, lag_ms);
            let series = self.series.entry(rule.name.clone()).or_default();
            named.push(rule.name.clone());
            if let Some(load) = load(rule, metrics, now).filter(|_| due) {
                series.push(now, load, &settings);
            }
            found.extend(series.forecast(now, &settings).map(|forecast| (rule.name.clone(), forecast)));
        }
        self.series.retain(|name, _| named.contains(name));
        if due {
            self.pushed_at = now;
        }
        found
    }

    /// A slot has ended since it was stored.
    pub fn is_due(&self, now: i64) -> bool {
        !self.series.is_empty() && now.div_euclid(SLOT_MS) != self.stored_slot
    }

    pub fn store(&self, tx: &Tx<'_>, app: &str) -> Result<(), StoreError> {
        objects::put_series(tx, app, &self.series)
    }

    pub fn stored(&mut self, now: i64) {
        self.stored_slot = now.div_euclid(SLOT_MS);
    }
}

/// All of the load, in the unit of the metric that the forecast is about. `None` when it is not known as a whole.
fn load(rule: &Spec, metrics: &Metrics, now: i64) -> Option<f64> {
    let (name, _) = rule.forecast_metric()?;
    let sample = metrics.get(name).filter(|s| s.problem.is_empty() && now - s.at < EVERY_MS)?;
    match sample.reading.as_ref()? {
        Reading::Load { stable, .. } => Some(*stable).filter(|_| sample.covers_ms >= EVERY_MS / 2),
        Reading::Total(value) => Some(*value),
        Reading::Instances(all) => {
            let known = |ready: bool| all.iter().filter(move |i| i.ready == ready);
            let ready: Option<f64> = known(true).map(|i| i.value).sum();
            Some(ready? + known(false).filter_map(|i| i.value).sum::<f64>())
        }
        Reading::ResponseTime { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use sampan_engine::scaling::{Gate, InstanceSample, Sample};
    use serde_json::json;

    use super::*;

    fn rule(kind: &str) -> Spec {
        serde_json::from_value(json!({
            "namespace": "n", "application": "a", "name": "r", "min_replicas": 1, "max_replicas": 9,
            "metrics": { "m": { "type": kind, "target": 10 } }, "prediction": {},
        }))
        .unwrap()
    }

    #[test]
    fn a_load_that_is_not_known_as_a_whole_is_none() {
        let of = |kind: &str, reading, at| {
            load(&rule(kind), &[("m".to_owned(), Sample::fresh(reading, at))].into(), 100_000)
        };
        let one = |value, ready| InstanceSample { value, ready, age_ms: 0 };
        assert_eq!(of("qps", Reading::Load { stable: 7.0, burst: 70.0 }, 100_000), Some(7.0));
        assert_eq!(of("qps", Reading::Load { stable: 7.0, burst: 70.0 }, 1_000), None, "it is old");
        let all = vec![one(Some(50.0), true), one(Some(70.0), true), one(None, false)];
        assert_eq!(of("cpu", Reading::Instances(all.clone()), 100_000), Some(120.0));
        assert_eq!(of("cpu", Reading::Instances([all, vec![one(None, true)]].concat()), 100_000), None);
        assert_eq!(load(&rule("qps"), &[("m".to_owned(), Sample::missing("away"))].into(), 0), None);
    }

    #[test]
    fn days_of_load_are_kept_and_become_a_forecast() {
        let (spec, mut outlook) = (rule("qps"), Outlook::default());
        let mut forecast = None;
        for minute in 0..3 * 1440_i64 {
            let now = minute * EVERY_MS;
            let stable = if (minute / 60) % 24 < 12 { 10.0 } else { 100.0 };
            let metrics: Metrics =
                [("m".to_owned(), Sample::fresh(Reading::Load { stable, burst: stable }, now))].into();
            forecast = outlook.look([(&spec, &metrics)].into_iter(), 60_000, now).remove("r");
            // At another rate nothing more is taken in.
            outlook.look([(&spec, &metrics)].into_iter(), 60_000, now + 1000);
        }
        let forecast = forecast.unwrap();
        assert_eq!(forecast.gate, Gate::Open, "{forecast:?}");
        assert!((10.0..=150.0).contains(&forecast.load), "{forecast:?}");
        // Across the store, and gone with its rule.
        let text = serde_json::to_string(&outlook.series).unwrap();
        let mut read = Outlook { series: serde_json::from_str(&text).unwrap(), ..Outlook::default() };
        let metrics = Metrics::new();
        let now = 3 * 1440 * EVERY_MS;
        assert!(read.look([(&spec, &metrics)].into_iter(), 60_000, now).contains_key("r"));
        assert!(read.is_due(now));
        read.stored(now);
        assert!(!read.is_due(now + 1000) && read.is_due(now + SLOT_MS));
        assert!(read.look(std::iter::empty(), 60_000, now).is_empty() && !read.is_due(now + SLOT_MS));
    }
}
