//! Counters that many requests write at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sampan_engine::traffic::{BUCKETS, Counters, Histogram, bucket};

pub(crate) struct Meter {
    requests: AtomicU64,
    failures: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            latency: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl Meter {
    /// A request that was answered after `latency`.
    pub(crate) fn answered(&self, failed: bool, latency: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.latency.get(bucket(latency)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // After the request: nobody reads more failures than requests.
        self.failures.fetch_add(u64::from(failed), Ordering::Release);
    }

    pub(crate) fn unanswered(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn read(&self) -> Counters {
        let failures = self.failures.load(Ordering::Acquire);
        let latency = Histogram::from_counts(self.latency.iter().map(|c| c.load(Ordering::Relaxed)));
        Counters { requests: self.requests.load(Ordering::Relaxed), failures, latency }
    }
}
