//! What is asked of an application, for those who decide how many instances it needs.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tries to read counters between two writes.
const READS: usize = 100;

/// What was asked of an application. All but the present numbers only grow, and begin anew with the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that came to an instance or that are held. Of a retry, each try counts.
    pub requests: u64,
    /// At an instance or held, now. A tunnel counts until it ends.
    pub in_flight: u64,
    /// Held until there is an instance, now.
    pub held: u64,
    /// Connections from the gateway to instances, now: one for each request or tunnel over HTTP/1.1, and those that idle.
    pub connections: u64,
    /// Requests in flight, integrated over time: the mean number of them is the difference of two readings, divided
    /// by the time between.
    pub concurrency: Duration,
    /// Requests that were answered, or that the client gave up.
    pub answered: u64,
    /// Of those, the time until the answer's head, summed up. The time in which a request was held does not count.
    pub latency: Duration,
}

/// Written by each request twice: when it comes to an endpoint, and when it leaves.
pub(crate) struct LoadMeter {
    since: Instant,
    begun: AtomicU64,
    ended: AtomicU64,
    /// Microseconds after `since`, of all ends less those of all beginnings.
    times: AtomicI64,
    /// Beginnings and ends whose time is in `times`. A reader who finds fewer has come between two writes.
    settled: AtomicU64,
    answered: AtomicU64,
    latency: AtomicU64,
    last: Mutex<Last>,
}

/// The last reading.
#[derive(Default)]
struct Last {
    /// In microseconds after [`LoadMeter::since`].
    at: i64,
    /// Microseconds of requests.
    integral: i64,
    requests: u64,
}

impl Default for LoadMeter {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            times: AtomicI64::new(0),
            settled: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            last: Mutex::default(),
        }
    }
}

impl LoadMeter {
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.times.fetch_sub(self.now(), Ordering::AcqRel);
        self.settled.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
        self.times.fetch_add(self.now(), Ordering::AcqRel);
        self.settled.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn answered(&self, latency: Duration) {
        self.latency.fetch_add(micros(latency), Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Release);
    }

    /// `held`: now. `handed`: those that were held and came to an endpoint, and so were counted twice.
    pub(crate) fn read(&self, held: u64, handed: u64) -> Load {
        let answered = self.answered.load(Ordering::Acquire);
        let latency = self.latency.load(Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (begun, in_flight) = self.integrate(&mut last);
        // One that just came to an endpoint may not be in `handed` yet.
        last.requests = last.requests.max(begun.saturating_sub(handed));
        Load {
            requests: last.requests,
            in_flight,
            held,
            connections: 0,
            concurrency: Duration::from_micros(last.integral as u64),
            answered,
            latency: Duration::from_micros(latency),
        }
    }

    /// Requests begun and in flight.
    fn integrate(&self, last: &mut Last) -> (u64, u64) {
        for _ in 0..READS {
            let settled = self.settled.load(Ordering::Acquire);
            let times = self.times.load(Ordering::Acquire);
            let ended = self.ended.load(Ordering::Acquire);
            let begun = self.begun.load(Ordering::Acquire);
            if begun.wrapping_add(ended) == settled {
                let (in_flight, now) = (begun.saturating_sub(ended), self.now());
                // A clock that two cores read may be a little behind for one of them.
                last.integral = last.integral.max(times + in_flight as i64 * now);
                last.at = now;
                return (begun, in_flight);
            }
            std::hint::spin_loop();
        }
        // So many requests come and go that none of the readings is good: those in flight now will do.
        let (ended, begun) = (self.ended.load(Ordering::Acquire), self.begun.load(Ordering::Acquire));
        let (in_flight, now) = (begun.saturating_sub(ended), self.now());
        last.integral += (now - last.at).max(0) * in_flight as i64;
        last.at = now;
        (begun, in_flight)
    }

    fn now(&self) -> i64 {
        micros(self.since.elapsed()) as i64
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn concurrency_is_the_time_that_requests_are_in_flight() {
        let meter = LoadMeter::default();
        let before = Instant::now();
        meter.begin();
        meter.begin();
        let after = Instant::now();
        while after.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let both = meter.read(0, 0);
        assert_eq!((both.requests, both.in_flight), (2, 2));
        assert!(both.concurrency >= Duration::from_millis(39), "{both:?}");
        assert!(both.concurrency <= before.elapsed() * 2 + Duration::from_millis(1), "{both:?}");
        meter.end();
        let middle = meter.read(0, 0);
        meter.end();
        meter.answered(Duration::from_millis(3));
        meter.answered(Duration::from_millis(4));
        let done = meter.read(0, 0);
        assert_eq!((done.requests, done.in_flight, done.answered), (2, 0, 2));
        assert_eq!(done.latency, Duration::from_millis(7));
        assert!(done.concurrency >= middle.concurrency && middle.concurrency >= both.concurrency);
        // Nobody is there any more, so nothing is added.
        assert_eq!(meter.read(0, 0), done);
    }

    #[test]
    fn one_that_was_held_counts_once_and_the_number_never_falls() {
        let meter = LoadMeter::default();
        meter.begin();
        assert_eq!(meter.read(1, 0).requests, 1);
        // It comes to an endpoint before its place is given back.
        meter.begin();
        assert_eq!(meter.read(1, 0).requests, 2);
        meter.end();
        assert_eq!(meter.read(0, 1).requests, 2);
        meter.begin();
        meter.begin();
        assert_eq!(meter.read(0, 1).requests, 3);
    }

    #[test]
    fn readings_among_writes_never_jump() {
        let meter = Arc::new(LoadMeter::default());
        let begun = Instant::now();
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let meter = meter.clone();
                std::thread::spawn(move || {
                    for _ in 0..20_000 {
                        meter.begin();
                        meter.end();
                    }
                })
            })
            .collect();
        let mut before = Load::default();
        while writers.iter().any(|w| !w.is_finished()) {
            let now = meter.read(0, 0);
            assert!(now.concurrency >= before.concurrency && now.requests >= before.requests, "{before:?} {now:?}");
            assert!(now.in_flight <= 3, "{now:?}");
            assert!(now.concurrency <= begun.elapsed() * 3 + Duration::from_millis(1), "{now:?}");
            before = now;
        }
        for writer in writers {
            writer.join().unwrap();
        }
        let last = meter.read(0, 0);
        assert_eq!((last.requests, last.in_flight), (60_000, 0));
    }
}
