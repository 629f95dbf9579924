//! Times in RFC 3339. Nothing here reads a clock.

use super::{Call, Fault, Outcome};
use crate::eval::types::Type;
use crate::eval::value::Value;
use std::fmt::Write as _;

/// A moment, and the offset it was written with.
#[derive(Clone, Copy)]
struct Time {
    /// Seconds since 1970-01-01 in UTC.
    seconds: i64,
    nanos: i64,
    offset_minutes: i64,
}

/// A moment as its own clock shows it.
struct Shown {
    year: i64,
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    weekday: usize,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl Time {
    fn shown(self) -> Shown {
        let local = self.seconds + self.offset_minutes * 60;
        let (days, rest) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        Shown {
            year,
            month: (month - 1) as usize,
            day,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7) as usize,
        }
    }

    fn offset(self, colon: bool) -> String {
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let minutes = self.offset_minutes.abs();
        format!("{sign}{:02}{}{:02}", minutes / 60, if colon { ":" } else { "" }, minutes % 60)
    }

    fn rfc3339(self) -> String {
        let t = self.shown();
        let zone = if self.offset_minutes == 0 { "Z".to_string() } else { self.offset(true) };
        let (y, m, d) = (t.year, t.month + 1, t.day);
        format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}{zone}", t.hour, t.minute, t.second)
    }
}

/// Reads `2006-01-02T15:04:05[.999](Z|±07:00)`.
fn parse(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| -> Option<i64> {
        let part = bytes.get(from..from + len)?;
        if !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(part).ok()?.parse().ok()
    };
    let is = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b'.') {
        at += 1;
        let start = at;
        let mut unit = 100_000_000;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            nanos += i64::from(bytes[at] - b'0') * unit;
            unit /= 10;
            at += 1;
        }
        if at == start {
            return None;
        }
    }
    let offset_minutes = match bytes.get(at)? {
        b'Z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 && is(at + 3, b':') => {
            let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Time { seconds: seconds - offset_minutes * 60, nanos, offset_minutes })
}

fn time(call: &Call<'_>, index: usize) -> Result<Time, Fault> {
    parse(call.text(index)?).ok_or_else(|| Fault::argument(index, "not a valid RFC3339 timestamp"))
}

/// Nanoseconds of a text such as `-1h30m2.5s`.
fn duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') || number.len() > 30 {
            return None;
        }
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at(letters);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let mut value = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()?.checked_mul(scale)? };
        if !fraction.is_empty() {
            let digits: i128 = fraction.parse().ok()?;
            value += digits.checked_mul(scale)? / 10i128.pow(fraction.len() as u32);
        }
        total = total.checked_add(value).filter(|t| *t <= i128::from(i64::MAX))?;
        rest = after;
    }
    Some(if negative { -total } else { total })
}

pub(super) fn timeadd(call: &Call<'_>) -> Outcome {
    let start = time(call, 0)?;
    let text = call.text(1)?;
    let added = duration(text).ok_or_else(|| Fault::argument(1, format!("time: invalid duration {text:?}")))?;
    let total = i128::from(start.seconds) * 1_000_000_000 + i128::from(start.nanos) + added;
    let seconds = total.div_euclid(1_000_000_000) as i64;
    let moved = Time { seconds, nanos: 0, ..start };
    if !(0..=9_999).contains(&moved.shown().year) {
        return Ok(call.unknown(Type::String));
    }
    Ok(Value::string(moved.rfc3339()))
}

pub(super) fn timecmp(call: &Call<'_>) -> Outcome {
    let (a, b) = (time(call, 0)?, time(call, 1)?);
    let order = (a.seconds, a.nanos).cmp(&(b.seconds, b.nanos)) as i64;
    Ok(Value::number(crate::eval::number::Number::count(order)))
}

pub(super) fn formatdate(call: &Call<'_>) -> Outcome {
    let format = call.text(0)?;
    let moment = time(call, 1)?;
    let mut out = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let len = if first == '\'' {
            literal(rest, &mut out).ok_or_else(|| Fault::argument(0, "unterminated literal '"))?
        } else if first.is_ascii_alphabetic() {
            let len = rest.find(|c| c != first).unwrap_or(rest.len());
            verb(first, len, moment, &mut out)
                .ok_or_else(|| Fault::argument(0, format!("invalid date format verb {:?}", &rest[..len])))?;
            len
        } else {
            let len = rest.find(|c: char| c == '\'' || c.is_ascii_alphabetic()).unwrap_or(rest.len());
            out.push_str(&rest[..len]);
            len
        };
        rest = &rest[len..];
    }
    Ok(Value::string(out))
}

/// Copies a quoted part and returns its length with the quotes.
fn literal(text: &str, out: &mut String) -> Option<usize> {
    if text.starts_with("''") {
        out.push('\'');
        return Some(2);
    }
    let mut at = 1;
    loop {
        let next = at + text[at..].find('\'')?;
        out.push_str(&text[at..next]);
        if text[next + 1..].starts_with('\'') {
            out.push('\'');
            at = next + 2;
        } else {
            return Some(next + 1);
        }
    }
}

/// Writes one field; `None` if there is no such field of that length.
fn verb(letter: char, len: usize, moment: Time, out: &mut String) -> Option<()> {
    let t = moment.shown();
    let padded = |n: i64| match len {
        1 => Some(n.to_string()),
        2 => Some(format!("{n:02}")),
        _ => None,
    };
    let text = match (letter, len) {
        ('Y', 2) => format!("{:02}", t.year % 100),
        ('Y', 4) => format!("{:04}", t.year),
        ('M', 1 | 2) => padded(t.month as i64 + 1)?,
        ('M', 3) => MONTHS[t.month % 12][..3].to_string(),
        ('M', 4) => MONTHS[t.month % 12].to_string(),
        ('D', _) => padded(t.day)?,
        ('E', 3) => DAYS[t.weekday % 7][..3].to_string(),
        ('E', 4) => DAYS[t.weekday % 7].to_string(),
        ('h', _) => padded(t.hour)?,
        ('H', _) => padded((t.hour + 11) % 12 + 1)?,
        ('A', 2) => if t.hour < 12 { "AM" } else { "PM" }.to_string(),
        ('a', 2) => if t.hour < 12 { "am" } else { "pm" }.to_string(),
        ('m', _) => padded(t.minute)?,
        ('s', _) => padded(t.second)?,
        ('Z', 1) => {
            if moment.offset_minutes == 0 {
                "Z".to_string()
            } else {
                moment.offset(true)
            }
        }
        ('Z', 3) if moment.offset_minutes == 0 => "UTC".to_string(),
        ('Z', 3 | 4) => moment.offset(false),
        ('Z', 5) => moment.offset(true),
        _ => return None,
    };
    let _ = out.write_str(&text);
    Some(())
}
