//! The one place that reads the clock and the random source.

use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    #[cfg(test)]
    if let Some(now) = simulated::now_ms() {
        return now;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// RFC 3339 in UTC, milliseconds.
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |t| format!("{t:.3}"))
}

/// The wall clock may drift or be slewed by so much between two looks.
const DRIFT_MS: u64 = 30_000;

/// Both clocks at the last look: a wall clock that was set is told from time that has passed.
pub struct Clocks {
    wall_ms: i64,
    steady: Instant,
}

impl Clocks {
    /// `wall_ms`: milliseconds since the epoch, now.
    pub fn new(wall_ms: i64) -> Self {
        Self { wall_ms, steady: Instant::now() }
    }

    /// By how many milliseconds the wall clock was set since the last look; 0 when it went on as time does.
    pub fn jump(&self, wall_ms: i64) -> i64 {
        let passed = i64::try_from(self.steady.elapsed().as_millis()).unwrap_or(i64::MAX);
        let by = wall_ms.saturating_sub(self.wall_ms).saturating_sub(passed);
        if by.unsigned_abs() > DRIFT_MS { by } else { 0 }
    }
}

/// `bytes` random bytes of the kernel, in hex.
///
/// # Errors
/// When the kernel's source cannot be read.
pub fn random_hex(bytes: usize) -> std::io::Result<String> {
    #[cfg(test)]
    if let Some(hex) = simulated::random_hex(bytes) {
        return Ok(hex);
    }
    let mut buffer = vec![0; bytes];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    Ok(buffer.iter().map(|b| format!("{b:02x}")).collect())
}

/// Time and chance of a simulation, which has its thread for itself.
#[cfg(test)]
pub mod simulated {
    use std::cell::RefCell;
    use std::sync::Arc;

    /// Where a simulated server has time and chance from.
    pub trait World {
        fn now_ms(&self) -> i64;
        /// One byte.
        fn random(&self) -> u8;
    }

    thread_local! {
        static WORLD: RefCell<Option<Arc<dyn World>>> = const { RefCell::new(None) };
    }

    /// From now on, on this thread.
    pub fn enter(world: Arc<dyn World>) {
        WORLD.with_borrow_mut(|w| *w = Some(world));
    }

    pub(super) fn now_ms() -> Option<i64> {
        WORLD.with_borrow(|w| w.as_ref().map(|w| w.now_ms()))
    }

    pub(super) fn random_hex(bytes: usize) -> Option<String> {
        WORLD.with_borrow(|w| w.as_ref().map(|w| (0..bytes).map(|_| format!("{:02x}", w.random())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_leap_day_is_a_day_and_the_next_one_follows() {
        let last = 1_835_481_599_999; // 2028-02-29T23:59:59.999Z
        assert_eq!(rfc3339(last - 86_400_000), "2028-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(last), "2028-02-29T23:59:59.999Z");
        assert_eq!(rfc3339(last + 1), "2028-03-01T00:00:00.000Z");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_is_told_from_time_that_passes_and_from_drift() {
        let clocks = Clocks::new(1_000_000);
        tokio::time::advance(Duration::from_hours(2)).await;
        let now = 1_000_000 + 7_200_000;
        for (by, jump) in [(0, 0), (30_000, 0), (-30_000, 0), (30_001, 30_001), (-3_600_000, -3_600_000)] {
            assert_eq!(clocks.jump(now + by), jump);
        }
    }
}
