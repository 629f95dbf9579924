//! Placeholder of the counters.
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram(Vec<u64>);
impl Histogram {
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let mut v = self.0.clone();
        v.sort_unstable();
        v.get(((v.len() as f64) * q) as usize).map(|x| *x as f64)
    }
}
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    pub requests: u64,
    pub failures: u64,
    pub latency: Histogram,
}
impl Counters {
    pub fn record(&mut self, failed: bool, t: Duration) {
        self.requests += 1;
        self.failures += u64::from(failed);
        self.latency.0.push(t.as_millis() as u64);
    }
    pub fn merge(&mut self, o: &Self) {
        self.requests += o.requests;
        self.failures += o.failures;
        self.latency.0.extend(&o.latency.0);
    }
    pub fn since(&self, e: &Self) -> Self {
        if e.requests > self.requests || e.failures > self.failures {
            return self.clone();
        }
        Self {
            requests: self.requests - e.requests,
            failures: self.failures - e.failures,
            latency: Histogram(self.latency.0[e.latency.0.len()..].to_vec()),
        }
    }
}
