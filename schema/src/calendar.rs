//! Cron expressions in a time zone, and the windows between two of them. No clock: `now` comes in.
//!
//! A time that a zone skips fires at the first valid minute; one that comes twice fires once. Zones are those of the
//! table that is built in, so that every host has the same.

use std::sync::LazyLock;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan, Zoned};

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The zone of an IANA name; `None` when there is none.
pub fn zone(name: &str) -> Option<TimeZone> {
    ZONES.get(name).ok()
}

/// A date such as `2026-12-24`.
pub fn date(text: &str) -> Option<Date> {
    let shaped = text.len() == 10 && text.bytes().enumerate().all(|(i, b)| (b == b'-') == (i == 4 || i == 7));
    text.parse().ok().filter(|_| shaped)
}

/// Five fields: minute, hour, day of month, month, day of week. In a zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// # Errors
    /// What is wrong with the expression.
    pub fn new(expression: &str, zone: TimeZone) -> Result<Self, String> {
        let fields = expression.split_whitespace().count();
        if fields != 5 {
            return Err(format!("has {fields} fields, want 5: minute, hour, day of month, month, day of week"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| error.to_string())?;
        Ok(Self { cron, zone })
    }

    fn at(&self, ms: i64) -> Option<Zoned> {
        Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone()))
    }

    /// The day of the zone that `ms` is in, when it began and when the next one begins, in milliseconds since the epoch.
    pub fn day(&self, ms: i64) -> Option<(Date, i64, i64)> {
        let date = self.at(ms)?.date();
        let midnight = |date: Date| Some(date.to_zoned(self.zone.clone()).ok()?.timestamp().as_millisecond());
        Some((date, midnight(date)?, midnight(date.tomorrow().ok()?)?))
    }

    /// The first time after `ms`, in milliseconds since the epoch; `None` when it never comes.
    pub fn next(&self, ms: i64) -> Option<i64> {
        let found = self.cron.find_next_occurrence(&self.at(ms)?, false).ok()?;
        Some(found.timestamp().as_millisecond())
    }

    /// The last time that is not after `ms`, in milliseconds since the epoch; `None` when it never came.
    pub fn last(&self, ms: i64) -> Option<i64> {
        let found = self.cron.find_previous_occurrence(&self.at(ms)?, true).ok()?;
        Some(found.timestamp().as_millisecond())
    }
}

/// A time that comes again and again: from `start` to the next `end`.
#[derive(Debug, Clone)]
pub struct Window {
    pub start: Schedule,
    /// `None`: until another window starts.
    pub end: Option<Schedule>,
    /// First and last day, in the zone; both count.
    pub begin_date: Option<Date>,
    pub end_date: Option<Date>,
}

impl Window {
    /// When the days begin and are over, in milliseconds since the epoch.
    pub fn days(&self) -> (i64, i64) {
        let zone = &self.start.zone;
        let midnight = |date: Date| date.to_zoned(zone.clone()).ok().map(|z| z.timestamp().as_millisecond());
        let from = self.begin_date.and_then(midnight).unwrap_or(i64::MIN);
        let to = self.end_date.and_then(|d| d.checked_add(1.day()).ok()).and_then(midnight).unwrap_or(i64::MAX);
        (from, to)
    }

    /// The last time, not after `now`, at which it started, within its days.
    pub fn last_start(&self, now: i64) -> Option<i64> {
        let (from, to) = self.days();
        self.start.last(now.min(to - 1)).filter(|start| *start >= from)
    }

    /// When the present one began; `None` outside of any. Of one without `end` that is its last start: the caller
    /// knows the others. In milliseconds since the epoch.
    pub fn since(&self, now: i64) -> Option<i64> {
        let start = self.last_start(now).filter(|_| now < self.days().1)?;
        match self.end.as_ref().and_then(|end| end.last(now)) {
            Some(end) if end > start => None,
            // At one time an end yields to a start.
            _ => Some(start),
        }
    }

    /// The next time after `now` at which it starts, within its days.
    pub fn next_start(&self, now: i64) -> Option<i64> {
        let (from, to) = self.days();
        let after = if from > now { from - 1 } else { now };
        self.start.next(after).filter(|start| *start < to)
    }

    /// When the one that began at `start` is over; `None` when nothing ends it but another window.
    pub fn over(&self, start: i64) -> Option<i64> {
        let (_, to) = self.days();
        let end = self.end.as_ref().and_then(|end| end.next(start));
        let last = Some(to).filter(|to| *to < i64::MAX);
        end.into_iter().chain(last).min()
    }
}
