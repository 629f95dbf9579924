//! What was measured, as far back as a window may reach, in bounded memory.

use std::collections::{HashMap, VecDeque};

use sampan_engine::runtime::Usage;
use sampan_gateway::Load;

/// The longest window of a metric, in milliseconds, and a little more.
const LONGEST: i64 = 3_620_000;
/// Points of the last minute and a half are kept as they come.
const FINE: i64 = 90_000;
/// Of older ones, one in so many milliseconds.
const COARSE: i64 = 10_000;
/// Points of a container: an hour at one every 15 s.
const POINTS: usize = 260;
/// A container whose last record is older has no value.
const FRESH: i64 = 60_000;

/// Readings of one application's counters at the gateway.
#[derive(Debug, Default)]
pub struct Loads {
    coarse: VecDeque<(i64, Load)>,
    fine: VecDeque<(i64, Load)>,
}

impl Loads {
    /// A reading at `at`. Counters that fell have begun anew, and so does the history.
    pub fn push(&mut self, at: i64, load: Load) {
        if let Some((before, last)) = self.fine.back() {
            if at <= *before {
                return;
            }
            if load.requests < last.requests || load.answered < last.answered || load.concurrency < last.concurrency {
                self.clear();
            }
        }
        self.fine.push_back((at, load));
        while self.fine.front().is_some_and(|(t, _)| *t < at - FINE) {
            let Some(point) = self.fine.pop_front() else { break };
            if self.coarse.back().is_none_or(|(t, _)| point.0 - t >= COARSE) {
                self.coarse.push_back(point);
            }
        }
        while self.coarse.front().is_some_and(|(t, _)| *t < at - LONGEST) {
            self.coarse.pop_front();
        }
    }

    pub fn clear(&mut self) {
        self.coarse.clear();
        self.fine.clear();
    }

    pub fn last(&self) -> Option<&(i64, Load)> {
        self.fine.back()
    }

    /// Two readings, a window apart or as far as there are any. `None` with fewer than two.
    pub fn over(&self, window: i64) -> Option<(&(i64, Load), &(i64, Load))> {
        let last = self.fine.back()?;
        let from = last.0 - window;
        let before = |points: &VecDeque<(i64, Load)>| points.partition_point(|(t, _)| *t <= from);
        // The last one that is a whole window old, else the first there is.
        let first = match (before(&self.fine), before(&self.coarse)) {
            (0, 0) => self.coarse.front().or_else(|| self.fine.front()),
            (0, n) => self.coarse.get(n - 1),
            (n, _) => self.fine.get(n - 1),
        }?;
        (first.0 < last.0).then_some((first, last))
    }

    /// Mean of what is counted at one moment, over the readings of a window.
    pub fn mean(&self, window: i64, value: impl Fn(&Load) -> f64) -> Option<f64> {
        let from = self.fine.back()?.0 - window;
        let points = self.coarse.iter().chain(&self.fine).filter(|(t, _)| *t > from);
        let (sum, n) = points.fold((0.0, 0_u32), |(sum, n), (_, load)| (sum + value(load), n + 1));
        (n > 0).then(|| sum / f64::from(n))
    }
}

/// One record of a container.
#[derive(Debug, Clone, Copy)]
struct Point {
    at: i64,
    cpu_nanos: Option<u64>,
    memory: Option<u64>,
}

#[derive(Debug)]
struct Track {
    instance: String,
    since: i64,
    points: VecDeque<Point>,
}

/// CPU and memory of all containers.
#[derive(Debug, Default)]
pub struct Usages {
    /// By container.
    tracks: HashMap<String, Track>,
    /// The first and the last list that there was, in milliseconds since the epoch; 0 before.
    pub since: i64,
    pub at: i64,
    /// Why the last try failed.
    pub problem: String,
}

impl Usages {
    pub fn push(&mut self, now: i64, all: Vec<Usage>) {
        self.problem.clear();
        self.at = now;
        if self.since == 0 {
            self.since = now;
        }
        let mut living: HashMap<String, Track> = HashMap::with_capacity(all.len());
        for usage in all {
            let known = self.tracks.remove(&usage.container);
            let new = || Track { instance: usage.instance.clone(), since: now, points: VecDeque::new() };
            let mut track = known.unwrap_or_else(new);
            let at = usage.stats.at / 1_000_000;
            // A record that is repeated says nothing new.
            if at > 0 && track.points.back().is_none_or(|p| at > p.at) {
                let Usage { stats, .. } = &usage;
                let point = Point { at, cpu_nanos: stats.cpu_nanos, memory: stats.memory_working_set_bytes };
                track.points.push_back(point);
                if track.points.len() > POINTS {
                    track.points.pop_front();
                }
            }
            living.insert(usage.container, track);
        }
        self.tracks = living;
    }

    /// The container of an instance with the newest record.
    fn track(&self, instance: &str, now: i64) -> Option<&Track> {
        let mine = self.tracks.values().filter(|t| t.instance == instance);
        let newest = mine.max_by_key(|t| (t.points.back().map(|p| p.at), t.since))?;
        newest.points.back().is_some_and(|p| p.at >= now - FRESH).then_some(newest)
    }

    /// Mean cores in use over a window, or as far as there are records.
    pub fn cores(&self, instance: &str, window: i64, now: i64) -> Option<f64> {
        let points: Vec<(i64, u64)> =
            self.track(instance, now)?.points.iter().filter_map(|p| Some((p.at, p.cpu_nanos?))).collect();
        let last = *points.last()?;
        let from = points.partition_point(|(at, _)| *at <= last.0 - window).saturating_sub(1);
        let first = *points.get(from)?;
        let nanos = last.1.checked_sub(first.1)?;
        (last.0 > first.0).then(|| nanos as f64 / 1e6 / (last.0 - first.0) as f64)
    }

    /// Mean bytes in use over a window.
    pub fn memory(&self, instance: &str, window: i64, now: i64) -> Option<f64> {
        let points = &self.track(instance, now)?.points;
        let from = points.back()?.at - window;
        let found: Vec<u64> = points.iter().filter(|p| p.at > from).filter_map(|p| p.memory).collect();
        (!found.is_empty()).then(|| found.iter().map(|b| *b as f64).sum::<f64>() / found.len() as f64)
    }

    /// Milliseconds for which the instance's container has been seen.
    pub fn age(&self, instance: &str, now: i64) -> i64 {
        self.track(instance, now).map_or(0, |t| now - t.since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sampan_engine::runtime::Stats;

    use super::*;

    fn load(requests: u64) -> Load {
        Load { requests, in_flight: requests % 7, concurrency: Duration::from_millis(requests), ..Load::default() }
    }

    #[test]
    fn a_window_is_found_as_far_as_there_are_readings() {
        let mut loads = Loads::default();
        assert!(loads.over(60_000).is_none());
        loads.push(0, load(0));
        assert!(loads.over(60_000).is_none(), "one reading is no rate");
        for s in 1..=20 {
            loads.push(s * 1000, load(s as u64 * 10));
        }
        let (first, last) = loads.over(60_000).unwrap();
        assert_eq!((first.0, last.0), (0, 20_000));
        let (first, last) = loads.over(6_000).unwrap();
        assert_eq!((last.0 - first.0, last.1.requests - first.1.requests), (6_000, 60));
        let mean = loads.mean(3_000, |l| l.requests as f64).unwrap();
        assert!((mean - 190.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn memory_is_bounded_and_an_hour_is_still_there() {
        let mut loads = Loads::default();
        for s in 0..8000 {
            loads.push(s * 1000, load(s as u64));
        }
        assert!(loads.fine.len() + loads.coarse.len() < 500);
        let (first, last) = loads.over(3_600_000).unwrap();
        assert!((3_600_000..=3_610_000).contains(&(last.0 - first.0)), "{first:?}");
    }

    #[test]
    fn counters_that_begin_anew_give_no_rate_across() {
        let mut loads = Loads::default();
        loads.push(0, load(100));
        loads.push(1000, load(200));
        loads.push(2000, load(5));
        assert!(loads.over(60_000).is_none());
        // A clock that goes back adds nothing.
        loads.push(1500, load(9));
        assert!(loads.over(60_000).is_none());
    }

    fn usage(container: &str, instance: &str, at: i64, cpu: Option<u64>, memory: Option<u64>) -> Usage {
        Usage {
            namespace: "n".into(),
            application: "a".into(),
            instance: instance.into(),
            container: container.into(),
            attempt: 0,
            stats: Stats { cpu_nanos: cpu, memory_working_set_bytes: memory, at: at * 1_000_000 },
        }
    }

    #[test]
    fn cores_are_differences_of_one_container() {
        let mut usages = Usages::default();
        usages.push(1000, vec![usage("c1", "i", 1000, Some(0), Some(10))]);
        assert_eq!(usages.cores("i", 60_000, 1000), None, "one record is no use");
        assert_eq!(usages.memory("i", 60_000, 1000), Some(10.0));
        // Half a core for 15 s; the record that is repeated changes nothing.
        let second = usage("c1", "i", 16_000, Some(7_500_000_000), Some(30));
        usages.push(16_000, vec![second.clone()]);
        usages.push(17_000, vec![second]);
        assert_eq!((usages.cores("i", 60_000, 17_000), usages.memory("i", 60_000, 17_000)), (Some(0.5), Some(20.0)));
        assert_eq!(usages.age("i", 17_000), 16_000);
        // Another container counts from zero; a missing record is no data.
        usages.push(20_000, vec![usage("c2", "i", 20_000, Some(1), None)]);
        assert_eq!((usages.cores("i", 60_000, 20_000), usages.memory("i", 60_000, 20_000)), (None, None));
        usages.push(21_000, vec![usage("c2", "i", 21_000, None, None)]);
        assert_eq!(usages.cores("i", 60_000, 21_000), None);
        // Nobody has heard of it for long.
        assert_eq!(usages.memory("i", 60_000, 121_001), None);
        usages.push(30_000, Vec::new());
        assert!(usages.tracks.is_empty());
    }
}
