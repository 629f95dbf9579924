//! `timestamp,value` lines as a load, one value a minute.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

/// Two years.
pub const MOST_MINUTES: usize = 2 * 366 * 1440;
const MINUTE: i64 = 60;

/// A load over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Of the first minute, in milliseconds since the epoch.
    pub begin: i64,
    /// One value a minute; between two lines in a straight line.
    pub load: Vec<f64>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    #[error("line {line}: {found:?} is not timestamp,value such as 2026-01-31 14:05:00,412.5")]
    Columns { line: usize, found: String },
    #[error(
        "line {line}: {found:?} is no time: write one such as 2026-01-31 14:05:00, 2026-01-31T14:05:00Z, or seconds since 1970"
    )]
    Time { line: usize, found: String },
    #[error("line {line}: {found:?} is no load: write a number from 0 on")]
    Value { line: usize, found: String },
    #[error("line {line}: the time is not after that of the line before: sort the lines, one for each time")]
    Order { line: usize },
    #[error("line {line}: the trace is longer than two years: take a part of it")]
    Long { line: usize },
    #[error("the trace has {lines} lines with values: at least two are needed")]
    Short { lines: usize },
}

/// A part of it, without what a terminal does not show.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

fn seconds(text: &str) -> Option<i64> {
    let whole = || text.parse::<i64>().ok().filter(|s| (0..=253_402_300_799).contains(s));
    let zoned = || text.parse::<Timestamp>().ok().map(|t| t.as_second());
    let civil = || {
        let time: DateTime = text.parse().or_else(|_| text.parse::<civil::Date>().map(DateTime::from)).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    };
    whole().or_else(zoned).or_else(civil)
}

impl Trace {
    /// Reads a file. A first line without a number is a head. Times without a zone are UTC.
    ///
    /// # Errors
    /// The first line that does not fit.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut points: Vec<(i64, f64)> = Vec::new();
        for (at, row) in text.lines().enumerate() {
            let line = at + 1;
            let row = row.trim().trim_start_matches('\u{feff}');
            if row.is_empty() {
                continue;
            }
            let Some((time, value)) = row.split_once(',').map(|(t, v)| (t.trim(), v.trim())) else {
                return Err(TraceError::Columns { line, found: shown(row) });
            };
            if value.contains(',') {
                return Err(TraceError::Columns { line, found: shown(row) });
            }
            let (time_read, value_read) = (seconds(time), value.parse::<f64>().ok());
            if line == 1 && time_read.is_none() && value_read.is_none() {
                continue;
            }
            let time = time_read.ok_or_else(|| TraceError::Time { line, found: shown(time) })?;
            let value = value_read
                .filter(|v| v.is_finite() && *v >= 0.0)
                .ok_or_else(|| TraceError::Value { line, found: shown(value) })?;
            if points.last().is_some_and(|(before, _)| *before >= time) {
                return Err(TraceError::Order { line });
            }
            if points.first().is_some_and(|(first, _)| time - first > MOST_MINUTES as i64 * MINUTE) {
                return Err(TraceError::Long { line });
            }
            points.push((time, value));
        }
        Self::of(&points).ok_or(TraceError::Short { lines: points.len() })
    }

    fn of(points: &[(i64, f64)]) -> Option<Self> {
        let (first, last) = (points.first()?.0, points.last()?.0);
        let mut load = Vec::new();
        for pair in points.windows(2) {
            let ((from, a), (to, b)) = (pair[0], pair[1]);
            let mut at = first + load.len() as i64 * MINUTE;
            while at < to {
                let share = (at - from) as f64 / (to - from) as f64;
                load.push(a + (b - a) * share);
                at += MINUTE;
            }
        }
        (last > first).then_some(Self { begin: first * 1000, load })
    }
}
