//! What the gateway saw of a revision's requests, in numbers that only grow.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets of a [`Histogram`]: one up to 0.1 ms, five for each doubling up to 105 s, one beyond.
pub const BUCKETS: usize = 102;
const FIRST_MICROS: f64 = 100.0;
/// A bucket is 14.9 % wide.
const PER_DOUBLING: f64 = 5.0;

/// The bucket of a latency: the first whose bound is not below it.
pub fn bucket(latency: Duration) -> usize {
    let doublings = (latency.as_secs_f64() * 1e6 / FIRST_MICROS).log2();
    // Negative, and minus infinity of 0, become 0.
    ((doublings * PER_DOUBLING).ceil().max(0.0) as usize).min(BUCKETS - 1)
}

/// The upper bound of a bucket. Of the last, which has none, that of the one before.
pub fn bound(bucket: usize) -> Duration {
    let doublings = bucket.min(BUCKETS - 2) as f64 / PER_DOUBLING;
    Duration::from_secs_f64(FIRST_MICROS * doublings.exp2() / 1e6)
}

/// Counts by latency, in fixed logarithmic buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    /// By [`bucket`]. Without zeros at the end, so that equal ones look equal.
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts by bucket; what is beyond [`BUCKETS`] is cut off.
    pub fn from_counts(counts: impl IntoIterator<Item = u64>) -> Self {
        let mut counts: Vec<u64> = counts.into_iter().take(BUCKETS).collect();
        counts.truncate(counts.iter().rposition(|c| *c > 0).map_or(0, |last| last + 1));
        Self { counts }
    }

    pub fn record(&mut self, latency: Duration) {
        let bucket = bucket(latency);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
    }

    pub fn merge(&mut self, other: &Self) {
        let longest = self.counts.len().max(other.counts.len());
        *self = Self::from_counts((0..longest).map(|i| self.at(i).saturating_add(other.at(i))));
    }

    /// What came since `earlier`; `None` if that one is ahead anywhere.
    pub fn difference(&self, earlier: &Self) -> Option<Self> {
        let longest = self.counts.len().max(earlier.counts.len());
        let counts: Option<Vec<u64>> = (0..longest).map(|i| self.at(i).checked_sub(earlier.at(i))).collect();
        counts.map(Self::from_counts)
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, c| sum.saturating_add(*c))
    }

    /// The latency that the share `q` (0 to 1) of all does not exceed: at most a bucket's width above the exact one.
    /// `None` without any.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((q.clamp(0.0, 1.0) * self.total() as f64).ceil() as u64).max(1);
        let mut seen = 0_u64;
        self.counts
            .iter()
            .position(|c| {
                seen = seen.saturating_add(*c);
                seen >= rank
            })
            .map(bound)
    }

    fn at(&self, bucket: usize) -> u64 {
        self.counts.get(bucket).copied().unwrap_or(0)
    }
}

/// Requests of a revision, since the gateway first knew it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Sent to an instance, whether or not it answered. Of a retry, each try counts. A body that the client broke off
    /// does not.
    pub requests: u64,
    /// Status 500 and above, or no answer.
    pub failures: u64,
    /// Until the answer's head; or until the client gave up, which is no failure by itself. Without an answer there is
    /// no latency: a refused connection is no fast one.
    pub latency: Histogram,
}

impl Counters {
    /// Counts a request that ended.
    pub fn record(&mut self, failed: bool, latency: Duration) {
        self.requests += 1;
        self.failures += u64::from(failed);
        self.latency.record(latency);
    }

    /// What came since `earlier`. One that is ahead is from before a restart of the gateway: then everything is new.
    pub fn since(&self, earlier: &Self) -> Self {
        let difference = || {
            Some(Self {
                requests: self.requests.checked_sub(earlier.requests)?,
                failures: self.failures.checked_sub(earlier.failures)?,
                latency: self.latency.difference(&earlier.latency)?,
            })
        };
        difference().unwrap_or_else(|| self.clone())
    }

    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
        self.latency.merge(&other.latency);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(micros: &[u64]) -> Histogram {
        let mut all = Histogram::default();
        for m in micros {
            all.record(Duration::from_micros(*m));
        }
        all
    }

    #[test]
    fn buckets_are_between_ten_and_twenty_percent_wide() {
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::from_micros(100))), (0, 0));
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert!(bound(BUCKETS - 2) >= Duration::from_secs(100));
        for i in 1..BUCKETS - 1 {
            let ratio = bound(i).as_secs_f64() / bound(i - 1).as_secs_f64();
            assert!((1.1..1.2).contains(&ratio), "{i}: {ratio}");
            assert_eq!(bucket(bound(i).mul_f64(0.999)), i);
            assert_eq!(bucket(bound(i).mul_f64(1.001)), i + 1);
        }
    }

    #[test]
    fn quantiles() {
        assert_eq!(Histogram::default().quantile(0.95), None);
        let mut all = histogram(&[1_000; 95]);
        all.merge(&histogram(&[500_000; 5]));
        let millis = |q| all.quantile(q).unwrap().as_secs_f64() * 1e3;
        assert!((1.0..1.15).contains(&millis(0.95)) && (1.0..1.15).contains(&millis(0.0)), "{}", millis(0.95));
        assert!((500.0..575.0).contains(&millis(0.96)) && (500.0..575.0).contains(&millis(1.0)));
        assert_eq!(all.total(), 100);
    }

    #[test]
    fn a_restart_begins_anew() {
        let counters = |requests, failures, micros: &[u64]| Counters { requests, failures, latency: histogram(micros) };
        let (before, after) = (counters(2, 1, &[100, 900]), counters(5, 1, &[100, 900, 900, 4_000, 9_000]));
        assert_eq!(after.since(&before), counters(3, 0, &[900, 4_000, 9_000]));
        assert_eq!(after.since(&after), Counters::default());
        assert_eq!(before.since(&after), before);
        // More requests, but other ones.
        assert_eq!(after.since(&counters(1, 0, &[60_000_000])), after);
        let text = serde_json::to_string(&after).unwrap();
        assert_eq!(serde_json::from_str::<Counters>(&text).unwrap(), after);
    }

    proptest! {
        #[test]
        fn merge_and_difference_undo_each_other(
            a in prop::collection::vec(0..200_000_000_u64, 0..30), b in prop::collection::vec(0..200_000_000_u64, 0..30),
        ) {
            let (first, second) = (histogram(&a), histogram(&b));
            let mut both = first.clone();
            both.merge(&second);
            prop_assert_eq!(both.difference(&first), Some(second));
            prop_assert_eq!(both.total() as usize, a.len() + b.len());
        }

        #[test]
        fn a_quantile_is_within_a_bucket_of_the_exact_one(
            mut micros in prop::collection::vec(100..100_000_000_u64, 1..200), q in 0.0..=1.0_f64,
        ) {
            let found = histogram(&micros).quantile(q).unwrap().as_secs_f64() * 1e6;
            micros.sort_unstable();
            let rank = ((q * micros.len() as f64).ceil() as usize).clamp(1, micros.len());
            let exact = micros[rank - 1] as f64;
            prop_assert!(found >= exact * 0.999 && found <= exact * 1.15, "{} {}", found, exact);
        }
    }
}
