//! What the load will be within the start-up lag, from what it was one season before, and whether that can be trusted.
//!
//! `F = max over the lag of (median of up to 4 seasons × level) × (1 + uplift)`. The level is what the last 15 minutes
//! were against their forecast, the uplift a quantile of the errors of the last 24 hours, capped. Each forecast is kept
//! and held against what came: so the backtest walks forward by itself, with what was known at the time and the same
//! code. About 1.5 KB per day kept.

use std::collections::VecDeque;

use sampan_schema::scaling_rule::Prediction;
use serde::{Deserialize, Serialize};

use super::{Forecast, Gate};

/// Loads are kept as means of so many milliseconds.
pub const SLOT_MS: i64 = 300_000;
const DAY: usize = 288;
const KEPT: usize = 28 * DAY;
/// The backtest looks back so far.
const JUDGED: usize = 7 * DAY;
/// Slots of the level: 15 minutes.
const LEVEL: usize = 3;
const SEASONS: usize = 4;
const HOUR: usize = 12;
/// Of a day: so often the season is chosen anew.
const QUARTER: usize = DAY / 4;
const LEVEL_RANGE: (f64, f64) = (2.0 / 3.0, 1.5);
const MOST_WAPE: f64 = 0.25;
const LEAST_AUTOCORRELATION: f64 = 0.6;
/// An hour is bad when its error is twice what the gate allows.
const BAD_HOUR: f64 = 2.0 * MOST_WAPE;
const BAD_HOURS: u32 = 3;
const CLOSED_MS: i64 = 86_400_000;
/// Another season has to be so much better.
const BETTER: f64 = 0.02;
/// Below that many forecasts nothing is judged.
const LEAST_JUDGED: usize = DAY / 2;
/// No value.
const GAP: f32 = -1.0;

/// What the forecast is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// From the decision to a ready instance, in milliseconds.
    pub lag_ms: i64,
    /// 0 to 1.
    pub quantile: f64,
    /// 0.5 for 50 %.
    pub max_uplift: f64,
}

impl Settings {
    pub fn of(prediction: &Prediction, lag_ms: i64) -> Self {
        let share = |percent: i64| percent as f64 / 100.0;
        Self { lag_ms, quantile: share(prediction.quantile_percent), max_uplift: share(prediction.max_uplift_percent) }
    }

    fn ahead(&self) -> usize {
        usize::try_from(self.lag_ms.clamp(0, 3_600_000) / SLOT_MS).unwrap_or(0) + 1
    }
}

/// The load of one application: a total, such as requests per second or cores, never a utilization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Slot (milliseconds since the epoch by [`SLOT_MS`]) behind the last of `loads`.
    next: i64,
    loads: VecDeque<f32>,
    /// For the last slots and those ahead: the forecast of each, made one lag before it.
    forecasts: VecDeque<f32>,
    /// How far the last of `forecasts` is behind the last of `loads`.
    ahead: usize,
    /// Of the slot under way.
    sum: f64,
    count: u32,
    /// In slots.
    season: usize,
    autocorrelation: f64,
    uplift: f64,
    level: f64,
    bad_hours: u32,
    closed_until: i64,
    gate: Gate,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            next: 0,
            loads: VecDeque::new(),
            forecasts: VecDeque::new(),
            ahead: 0,
            sum: 0.0,
            count: 0,
            season: DAY,
            autocorrelation: 0.0,
            uplift: 0.0,
            level: 1.0,
            bad_hours: 0,
            closed_until: 0,
            gate: Gate::Short { days: 0.0 },
        }
    }
}

fn known(v: f32) -> Option<f64> {
    (v >= 0.0).then(|| f64::from(v))
}

impl Series {
    /// Takes in the load at `now`, in milliseconds since the epoch; at any rate, once a minute is enough. What is no
    /// number, or from an earlier slot, is left out.
    pub fn push(&mut self, now: i64, load: f64, settings: &Settings) {
        if !load.is_finite() || load < 0.0 {
            return;
        }
        let slot = now.div_euclid(SLOT_MS);
        if self.loads.is_empty() && self.count == 0 {
            self.next = slot;
        }
        if slot < self.next {
            return;
        }
        // After a gap of all that is kept nothing is known any more.
        if slot - self.next > KEPT as i64 {
            *self = Self { next: slot, ..Self::default() };
        }
        while self.next < slot {
            self.close(settings);
        }
        self.sum += load;
        self.count += 1;
    }

    /// Ends the slot under way.
    fn close(&mut self, settings: &Settings) {
        let mean = if self.count > 0 { (self.sum / f64::from(self.count)) as f32 } else { GAP };
        (self.sum, self.count) = (0.0, 0);
        self.loads.push_back(mean);
        self.next += 1;
        if self.loads.len() > KEPT {
            self.loads.pop_front();
        }
        let hour = self.next.rem_euclid(HOUR as i64) == 0;
        if self.next.rem_euclid(QUARTER as i64) == 0 {
            self.choose_season(settings);
        }
        if self.ahead != settings.ahead() {
            self.rebuild(settings);
        } else {
            let last = self.loads.len() - 1;
            self.forecasts.push_back(self.point(last + self.ahead, last));
        }
        while self.forecasts.len() > JUDGED + self.ahead {
            self.forecasts.pop_front();
        }
        self.level = self.level(self.loads.len() - 1);
        self.uplift = self.quantile(settings.quantile).clamp(0.0, settings.max_uplift);
        if hour {
            self.judge();
        }
    }

    /// All forecasts anew, as they would have been made: with another lag or season.
    fn rebuild(&mut self, settings: &Settings) {
        self.ahead = settings.ahead();
        let (n, judged) = (self.loads.len(), JUDGED.min(self.loads.len()));
        self.forecasts = (n - judged..n + self.ahead)
            .map(|slot| if slot < self.ahead { GAP } else { self.point(slot, slot - self.ahead) })
            .collect();
    }

    fn load(&self, slot: usize) -> Option<f64> {
        self.loads.get(slot).copied().and_then(known)
    }

    /// Median of the same slot in the seasons before `slot`.
    fn base(&self, slot: usize) -> Option<f64> {
        let mut found = [0.0; SEASONS];
        let mut n = 0;
        for k in 1..=SEASONS {
            if let Some(load) = slot.checked_sub(k * self.season).and_then(|at| self.load(at)) {
                found[n] = load;
                n += 1;
            }
        }
        let found = &mut found[..n];
        found.sort_unstable_by(f64::total_cmp);
        match n {
            0 => None,
            n if n % 2 == 1 => Some(found[n / 2]),
            n => Some(f64::midpoint(found[n / 2 - 1], found[n / 2])),
        }
    }

    /// What the last 15 minutes up to `last` were against their base.
    fn level(&self, last: usize) -> f64 {
        let (mut is, mut was) = (0.0, 0.0);
        for slot in (last + 1).saturating_sub(LEVEL)..=last {
            if let (Some(load), Some(base)) = (self.load(slot), self.base(slot)) {
                is += load;
                was += base;
            }
        }
        if was > 0.0 { (is / was).clamp(LEVEL_RANGE.0, LEVEL_RANGE.1) } else { 1.0 }
    }

    /// The forecast of `slot` when `last` is the last that is known.
    fn point(&self, slot: usize, last: usize) -> f32 {
        self.base(slot).map_or(GAP, |base| (base * self.level(last)) as f32)
    }

    /// (load, forecast) of the last `count` slots that have both.
    fn pairs(&self, count: usize) -> impl Iterator<Item = (usize, f64, f64)> + '_ {
        let n = self.loads.len();
        let first = (n + self.ahead).saturating_sub(self.forecasts.len());
        (n.saturating_sub(count).max(first)..n).filter_map(move |slot| {
            let forecast = known(*self.forecasts.get(slot - first)?)?;
            Some((slot, self.load(slot)?, forecast))
        })
    }

    /// Of the relative errors of the last day.
    fn quantile(&self, q: f64) -> f64 {
        let mut errors: Vec<f64> =
            self.pairs(DAY).filter(|(_, _, f)| *f > 0.0).map(|(_, load, f)| load / f - 1.0).collect();
        if errors.is_empty() {
            return 0.0;
        }
        let at = ((errors.len() as f64 * q).ceil() as usize).clamp(1, errors.len()) - 1;
        let (_, found, _) = errors.select_nth_unstable_by(at, f64::total_cmp);
        *found
    }

    /// Of means of 15 minutes, `season` slots apart; 0 with less than two seasons.
    fn correlation(&self, season: usize) -> f64 {
        if self.loads.len() < 2 * season {
            return 0.0;
        }
        let mean = |at: usize| {
            let (mut sum, mut n) = (0.0, 0.0);
            for load in (at..at + LEVEL).filter_map(|slot| self.load(slot)) {
                sum += load;
                n += 1.0;
            }
            (n > 0.0).then_some(sum / n)
        };
        let all: Vec<Option<f64>> = (0..self.loads.len() / LEVEL).map(|i| mean(i * LEVEL)).collect();
        let lag = season / LEVEL;
        let both = all.iter().skip(lag).zip(&all).filter_map(|(x, y)| Some(((*x)?, (*y)?)));
        let (mut n, mut x, mut y, mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (a, b) in both {
            n += 1.0;
            x += a;
            y += b;
            xx += a * a;
            yy += b * b;
            xy += a * b;
        }
        let spread = (n * xx - x * x) * (n * yy - y * y);
        if spread > 0.0 { (n * xy - x * y) / spread.sqrt() } else { 0.0 }
    }

    fn choose_season(&mut self, settings: &Settings) {
        // With one week behind each day of the backtest the forecast would be last week's value, and prove nothing.
        let weeks = self.loads.len() >= 3 * 7 * DAY;
        let (day, week) = (self.correlation(DAY), if weeks { self.correlation(7 * DAY) } else { 0.0 });
        let season = match self.season {
            DAY if week > day + BETTER => 7 * DAY,
            DAY => DAY,
            _ if day > week + BETTER => DAY,
            other => other,
        };
        if season != self.season {
            self.try_season(season, settings);
        }
        self.autocorrelation = if self.season == DAY { day } else { week };
    }

    /// Another season has to be better on the days that the present one was judged on.
    fn try_season(&mut self, season: usize, settings: &Settings) {
        let (before, (error, ..)) = (self.season, self.error(JUDGED));
        let forecasts = std::mem::take(&mut self.forecasts);
        self.season = season;
        self.rebuild(settings);
        let (new_error, new_ratio, _) = self.error(JUDGED);
        if new_error >= error || new_ratio >= 1.0 {
            self.season = before;
            self.forecasts = forecasts;
        }
    }

    /// Of the last `count` slots: the error by the load, the error by that of last season's value, and how many had both.
    fn error(&self, count: usize) -> (f64, f64, usize) {
        let (mut wrong, mut all, mut naive, mut n) = (0.0, 0.0, 0.0, 0);
        for (slot, load, forecast) in self.pairs(count) {
            wrong += (load - forecast).abs();
            all += load;
            naive += slot.checked_sub(self.season).and_then(|s| self.load(s)).map_or(0.0, |s| (load - s).abs());
            n += 1;
        }
        let share = |by: f64| match by {
            by if by > 0.0 => wrong / by,
            _ if wrong > 0.0 => f64::MAX,
            _ => 0.0,
        };
        (share(all), share(naive), n)
    }

    /// Once an hour: is the forecast good enough?
    fn judge(&mut self) {
        let (hour, _, n) = self.error(HOUR);
        self.bad_hours = if n > 0 && hour > BAD_HOUR { self.bad_hours + 1 } else { 0 };
        let now = self.next * SLOT_MS;
        if self.bad_hours >= BAD_HOURS {
            self.closed_until = now + CLOSED_MS;
        }
        let (wape, mase, n) = self.error(JUDGED);
        self.gate = if self.loads.len() < 2 * self.season || n < LEAST_JUDGED {
            Gate::Short { days: self.loads.len() as f64 / DAY as f64 }
        } else if self.autocorrelation < LEAST_AUTOCORRELATION {
            Gate::NoSeason { autocorrelation: self.autocorrelation }
        } else if wape > MOST_WAPE {
            Gate::Inaccurate { wape_percent: wape * 100.0 }
        } else if mase >= 1.0 {
            Gate::NotBetter { mase }
        } else if now < self.closed_until {
            Gate::BadHours { until: self.closed_until }
        } else {
            Gate::Open
        };
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// In days; 1 or 7.
    pub fn season_days(&self) -> usize {
        self.season / DAY
    }

    /// Memory of everything that is kept.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + (self.loads.capacity() + self.forecasts.capacity()) * size_of::<f32>()
    }

    /// From `now` until one lag later; `None` without a season of data. When nothing was pushed for a day, too.
    pub fn forecast(&self, now: i64, settings: &Settings) -> Option<Forecast> {
        let first = self.next - self.loads.len() as i64;
        let slot = |at: i64| usize::try_from(at.div_euclid(SLOT_MS) - first).ok();
        let (from, to) = (slot(now)?, slot(now + settings.lag_ms.clamp(0, 3_600_000))?);
        if from > self.loads.len() + DAY {
            return None;
        }
        let base = (from..=to)
            .filter_map(|slot| self.base(slot))
            .fold(None, |most: Option<f64>, base| Some(most.map_or(base, |most| most.max(base))))?;
        let load = base * self.level * (1.0 + self.uplift);
        Some(Forecast { load, base, uplift: self.uplift, gate: self.gate.clone() })
    }
}
