//! An endpoint that does not accept connections is passed over for a while.

use std::time::{Duration, Instant};

/// Failed connections in a row until then.
const FAILURES: u32 = 5;
const PASSED_OVER: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Outlier {
    failures: u32,
    until: Option<Instant>,
}

impl Outlier {
    pub(crate) fn connected(&mut self) {
        *self = Self::default();
    }

    /// After the time one more failure is enough for the next: only a connection ends the row.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.until = now.checked_add(PASSED_OVER);
        }
    }

    /// The clock is read only when it matters.
    pub(crate) fn is_passed_over(&self, now: impl FnOnce() -> Instant) -> bool {
        self.until.is_some_and(|until| now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_row_and_then_each_one() {
        let (mut outlier, start) = (Outlier::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        for _ in 0..4 {
            outlier.failed(at(0));
        }
        assert!(!outlier.is_passed_over(|| at(0)));
        outlier.connected();
        for _ in 0..5 {
            assert!(!outlier.is_passed_over(|| at(1)));
            outlier.failed(at(1));
        }
        assert!(outlier.is_passed_over(|| at(1)) && outlier.is_passed_over(|| at(10)));
        assert!(!outlier.is_passed_over(|| at(11)));
        outlier.failed(at(11));
        assert!(outlier.is_passed_over(|| at(20)));
        outlier.connected();
        assert!(!outlier.is_passed_over(|| at(20)));
    }
}
