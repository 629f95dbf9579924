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

/// The first time after `after` at which an expression fires, RFC 3339 with the offset of the zone at that time.
///
/// # Errors
/// Which of expression, zone and time (0, 1 or 2) is wrong, and why.
pub fn next_after(expression: &str, zone_name: &str, after: &str) -> Result<String, (usize, String)> {
    let zone =
        zone(zone_name).ok_or_else(|| (1, format!("{zone_name:?} is no IANA time zone such as Europe/Berlin")))?;
    let schedule = Schedule::new(expression, zone.clone()).map_err(|why| (0, format!("{expression:?} {why}")))?;
    let after: Timestamp = after.parse().map_err(|e| (2, format!("{after:?} is no RFC 3339 time: {e}")))?;
    let next = schedule.next(after.as_millisecond()).and_then(|ms| schedule.at(ms));
    let next = next.ok_or_else(|| (0, format!("{expression:?} never fires after that")))?;
    Ok(next.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end at once")]

    use super::*;

    #[test]
    fn the_next_time_has_the_offset_of_its_day() {
        let next = |expression: &str, after: &str| next_after(expression, "Europe/Berlin", after).unwrap();
        assert_eq!(next("0 8 * * *", "2026-03-28T06:59:59Z"), "2026-03-28T08:00:00+01:00");
        // Exactly at the time, the next one is meant.
        assert_eq!(next("0 8 * * *", "2026-03-28T07:00:00Z"), "2026-03-29T08:00:00+02:00");
        assert_eq!(next("0 8 * * *", "2026-03-28T08:00:00+01:00"), "2026-03-29T08:00:00+02:00");
        assert_eq!(next("0 0 29 2 *", "2026-03-01T00:00:00Z"), "2028-02-29T00:00:00+01:00");
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        let wrong = |e: &str, z: &str, a: &str| next_after(e, z, a).unwrap_err().0;
        assert_eq!(wrong("0 8 * *", "UTC", "2026-03-28T07:00:00Z"), 0);
        assert_eq!(wrong("0 0 30 2 *", "UTC", "2026-03-28T07:00:00Z"), 0);
        assert_eq!(wrong("0 8 * * *", "Mars/Olympus", "2026-03-28T07:00:00Z"), 1);
        assert_eq!(wrong("0 8 * * *", "UTC", "2026-03-28"), 2);
        assert_eq!(wrong("0 8 * * *", "UTC", "2026-03-28T07:00:00"), 2);
    }
}
