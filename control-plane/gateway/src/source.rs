//! Time and chance come from outside, so that a test can hold both.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

/// Where the gateway takes a value from.
#[derive(Clone)]
pub struct Source<T>(Arc<dyn Fn() -> T + Send + Sync>);

impl<T> Source<T> {
    pub fn new(next: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    pub(crate) fn next(&self) -> T {
        (self.0)()
    }
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

pub(crate) fn clock() -> Source<Instant> {
    Source::new(Instant::now)
}

pub(crate) fn wall() -> Source<i64> {
    Source::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Numbers that do not repeat. They divide callers and keep no secret: who guesses one chooses its own bucket, which
/// a caller may do in any case.
pub(crate) fn random() -> Source<u128> {
    let (keyed, count) = (RandomState::new(), AtomicU64::new(0));
    Source::new(move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        u128::from(keyed.hash_one((n, 0_u8))) << 64 | u128::from(keyed.hash_one((n, 1_u8)))
    })
}
