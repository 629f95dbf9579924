//! Slow start: a fresh instance gets a part of its share, which grows.

use sampan_schema::application::{Online, WarmupCurve};
use serde::{Deserialize, Serialize};

use super::{Endpoint, bucket};

/// Of a full share, at the beginning.
const FIRST: f64 = 0.1;

/// How an endpoint warms up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Warmup {
    /// When it began to take requests, in milliseconds since the epoch.
    pub since: i64,
    /// For so many milliseconds.
    pub lasts: i64,
    pub quadratic: bool,
}

impl Warmup {
    /// `None` when nothing is asked for. `ready_since` is in milliseconds since the epoch.
    pub fn of(online: &Online, ready_since: Option<i64>) -> Option<Self> {
        let since = ready_since? + online.registration_delay_seconds.max(0) * 1000;
        let lasts = online.warmup_seconds.max(0) * 1000;
        (lasts > 0).then_some(Self { since, lasts, quadratic: online.warmup_curve == WarmupCurve::Quadratic })
    }

    /// The part of a full share at `now`.
    pub fn share(&self, now: i64) -> f64 {
        if now >= self.since + self.lasts {
            return 1.0;
        }
        let t = (now - self.since).max(0) as f64 / self.lasts as f64;
        (if self.quadratic { t * t } else { t }).max(FIRST)
    }
}

/// The index of the endpoint for request `seq`: in turn, and one that warms up passes on what is above its share. Those
/// that all warm up share alike.
pub(super) fn turn(endpoints: &[Endpoint], seq: u64, now: i64) -> usize {
    let n = endpoints.len().max(1);
    let first = (seq % n as u64) as usize;
    let share = |e: &Endpoint| e.warmup.map_or(1.0, |w| w.share(now));
    let most = endpoints.iter().map(share).fold(0.0, f64::max);
    if most <= 0.0 || endpoints.iter().all(|e| e.warmup.is_none()) {
        return first;
    }
    let round = seq / n as u64;
    let takes = |at: usize| {
        let share = endpoints.get(at).map_or(0.0, share) / most;
        // Each endpoint has a sequence of its own, so that not all pass on in the same round.
        share >= 1.0 || bucket::is_in(bucket::point(round), at as u64, (share * f64::from(bucket::WHOLE)) as u32)
    };
    (0..n).map(|k| (first + k) % n).find(|at| takes(*at)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn endpoint(n: u8, warmup: Option<Warmup>) -> Endpoint {
        let addr = SocketAddr::from(([10, 0, 0, n], 80));
        Endpoint { key: n.to_string().into(), addr, revision: "r".into(), warmup }
    }

    fn counts(endpoints: &[Endpoint], now: i64) -> Vec<usize> {
        let mut found = vec![0; endpoints.len()];
        for seq in 0..3000 {
            found[turn(endpoints, seq, now)] += 1;
        }
        found
    }

    #[test]
    fn a_share_grows_from_a_tenth_to_a_full_one() {
        let linear = Warmup { since: 1000, lasts: 1000, quadratic: false };
        let quadratic = Warmup { quadratic: true, ..linear };
        let shares = |w: Warmup| [0, 1000, 1500, 1900, 2000, 9000].map(|now| (w.share(now) * 100.0).round() as i32);
        assert_eq!(shares(linear), [10, 10, 50, 90, 100, 100]);
        assert_eq!(shares(quadratic), [10, 10, 25, 81, 100, 100]);
    }

    #[test]
    fn a_fresh_endpoint_gets_less_and_later_as_much_as_the_others() {
        let warmup = Some(Warmup { since: 0, lasts: 1000, quadratic: false });
        let mixed = [endpoint(1, None), endpoint(2, warmup), endpoint(3, None)];
        let half = counts(&mixed, 500);
        assert!((450..550).contains(&half[1]), "{half:?}");
        assert_eq!(counts(&mixed, 1000), [1000; 3]);
        // Of those that all began at the same time each gets as much.
        let all = [endpoint(1, warmup), endpoint(2, warmup), endpoint(3, warmup)];
        assert_eq!(counts(&all, 100), [1000; 3]);
    }
}
