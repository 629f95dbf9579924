//! What was wanted and done lately, in bounded memory.

use serde::{Deserialize, Serialize};

/// The highest or lowest of what was pushed within a window.
///
/// Only what can still become the extreme is kept, and what is close together in time is one entry with the later time:
/// then an extreme counts a little longer, never shorter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Extremes(Vec<(i64, u32, i64)>);

/// So many entries fit into a window, and a few more.
const PARTS: i64 = 32;

impl Extremes {
    fn push(&mut self, now: i64, value: u32, window_ms: i64, beaten: impl Fn(u32) -> bool) {
        // (counts from, value, first seen). A clock that went back: what was later is now.
        for entry in &mut self.0 {
            entry.0 = entry.0.min(now);
        }
        self.0.retain(|(at, ..)| *at > now - window_ms);
        while self.0.last().is_some_and(|(_, last, _)| beaten(*last)) {
            self.0.pop();
        }
        match self.0.last_mut() {
            Some(last) if last.1 == value => *last = (now, value, now),
            Some(last) if now - last.2 < window_ms / PARTS => last.0 = now,
            _ => self.0.push((now, value, now)),
        }
    }

    /// The highest within the window that ends now, `value` included.
    pub fn highest(&mut self, now: i64, value: u32, window_ms: i64) -> u32 {
        self.push(now, value, window_ms, |last| last < value);
        self.0.first().map_or(value, |(_, first, _)| (*first).max(value))
    }

    /// The lowest within the window that ends now, `value` included.
    pub fn lowest(&mut self, now: i64, value: u32, window_ms: i64) -> u32 {
        self.push(now, value, window_ms, |last| last > value);
        self.0.first().map_or(value, |(_, first, _)| (*first).min(value))
    }

    /// When the present extreme is over, if another one is behind it.
    pub fn expires(&self, window_ms: i64) -> Option<i64> {
        (self.0.len() > 1).then(|| self.0[0].0 + window_ms)
    }
}

/// How many were added or removed, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Steps(Vec<(i64, u32)>);

impl Steps {
    fn push(&mut self, now: i64, count: u32, period_ms: i64) {
        self.forget(now, period_ms);
        match self.0.last_mut() {
            Some(last) if now - last.0 < period_ms / PARTS => *last = (now, last.1.saturating_add(count)),
            _ => self.0.push((now, count)),
        }
    }

    fn forget(&mut self, now: i64, period_ms: i64) {
        self.0.retain(|(at, _)| *at > now - period_ms && *at <= now);
    }

    /// In the period that ends now.
    fn sum(&mut self, now: i64, period_ms: i64) -> u32 {
        self.forget(now, period_ms);
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    fn expires(&self, period_ms: i64) -> Option<i64> {
        self.0.first().map(|(at, _)| at + period_ms)
    }
}

/// A number of instances over time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Track {
    pub(super) size: Option<u32>,
    added: Steps,
    removed: Steps,
    /// What was wanted, for both stabilisation windows.
    highs: Extremes,
    lows: Extremes,
}

/// One direction of a rule's behaviour.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    pub window_ms: i64,
    pub period_ms: i64,
    pub max_step: &'a str,
    pub disabled: bool,
}

/// What the behaviour made of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limited {
    pub result: u32,
    /// What the stabilisation window made of it.
    pub stabilised: Option<u32>,
    /// What the step limit allows.
    pub step: Option<u32>,
    /// The direction is switched off.
    pub disabled: bool,
    /// When it may come out otherwise.
    pub wake_at: i64,
}

/// A percentage adds at least so many.
const LEAST_STEP: u32 = 4;

impl Track {
    /// Notes that the size has been `size` since `now`, in milliseconds since the epoch.
    pub fn observe(&mut self, now: i64, size: u32, out: &Way<'_>, back: &Way<'_>) {
        let before = self.size.replace(size).unwrap_or(size);
        if size > before {
            self.added.push(now, size - before, out.period_ms);
        }
        if size < before {
            self.removed.push(now, before - size, back.period_ms);
        }
    }

    /// From the present size towards `wanted`, as far as the behaviour lets it. `since`: nothing is known from before;
    /// until a whole window has passed nothing is removed.
    pub fn limit(&mut self, now: i64, wanted: u32, since: i64, out: &Way<'_>, back: &Way<'_>) -> Limited {
        let size = self.size.unwrap_or(wanted);
        let young = now - since < back.window_ms;
        let high = self.highs.highest(now, wanted, back.window_ms).max(if young { size } else { 0 });
        let low = self.lows.lowest(now, wanted, out.window_ms);
        let mut found = Limited { result: wanted, wake_at: i64::MAX, ..Limited::default() };
        if wanted < size {
            let stable = high.min(size);
            if stable > wanted {
                found.stabilised = Some(stable);
                found.result = stable;
                let opens = if young { since + back.window_ms } else { i64::MAX };
                found.wake_at = self.highs.expires(back.window_ms).map_or(opens, |at| at.max(now + 1));
            }
            self.step_in(now, size, back, &mut found);
        } else if wanted > size {
            let stable = low.max(size);
            if stable < wanted {
                found.stabilised = Some(stable);
                found.result = stable;
                found.wake_at = self.lows.expires(out.window_ms).unwrap_or(i64::MAX);
            }
            self.step_out(now, size, out, &mut found);
        }
        found
    }

    fn step_out(&mut self, now: i64, size: u32, out: &Way<'_>, found: &mut Limited) {
        if found.result <= size {
            return;
        }
        if out.disabled {
            (found.disabled, found.result) = (true, size);
            return;
        }
        let base = size.saturating_sub(self.added.sum(now, out.period_ms));
        let most = base.saturating_add(step(out.max_step, base, LEAST_STEP)).max(size);
        if most < found.result {
            (found.step, found.result) = (Some(most), most);
            found.wake_at = found.wake_at.min(self.added.expires(out.period_ms).unwrap_or(now + out.period_ms));
        }
    }

    fn step_in(&mut self, now: i64, size: u32, back: &Way<'_>, found: &mut Limited) {
        if found.result >= size {
            return;
        }
        if back.disabled {
            (found.disabled, found.result) = (true, size);
            return;
        }
        let base = size.saturating_add(self.removed.sum(now, back.period_ms));
        let least = base.saturating_sub(step(back.max_step, base, 0)).min(size);
        if least > found.result {
            (found.step, found.result) = (Some(least), least);
            found.wake_at = found.wake_at.min(self.removed.expires(back.period_ms).unwrap_or(now + back.period_ms));
        }
    }
}

/// Instances of a step: a number as it is, a percentage of `base` and at least `least`.
fn step(text: &str, base: u32, least: u32) -> u32 {
    let of = sampan_schema::int_or_percent::of(text, u64::from(base), true).unwrap_or(u64::from(base));
    let of = u32::try_from(of).unwrap_or(u32::MAX);
    if text.ends_with('%') { of.max(least) } else { of }
}
