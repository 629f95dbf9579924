//! Results on stdout: tables for people, JSON and YAML for programs.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::error::Failure;

/// Form of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; not stable.
    #[default]
    Table,
    /// As the API has it.
    Json,
    /// As the API has it.
    Yaml,
}

/// Stdout. Nothing else writes there.
#[derive(Debug)]
pub struct Output {
    pub format: Format,
    stdout: std::io::Stdout,
}

impl Output {
    pub fn new(format: Format) -> Self {
        Self { format, stdout: std::io::stdout() }
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = self.stdout.lock();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes one line.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Writes a value in the chosen form; `table` is asked only when a person reads.
    pub fn show<T: Serialize>(&mut self, value: &T, table: impl FnOnce() -> String) -> Result<(), Failure> {
        let broken = |detail: String| Failure::Failed(format!("the result cannot be written: {detail}"));
        let text = match self.format {
            Format::Table => table(),
            Format::Json => serde_json::to_string_pretty(value).map_err(|error| broken(error.to_string()))?,
            Format::Yaml => serde_saphyr::to_string(value).map_err(|error| broken(error.to_string()))?,
        };
        self.line(text.trim_end_matches('\n'))
    }
}

/// Rows under a head, without lines.
#[derive(Debug)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; empty cells become `-`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cell = |text: String| if text.is_empty() { "-".into() } else { plain(&text) };
        self.rows.push(cells.into_iter().map(cell).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        table.set_header(&self.head);
        table.add_rows(&self.rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Named values, one per line, names aligned. Empty values are left out.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let shown: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let line = |(name, value): &&(&str, String)| format!("{:width$}{}", format!("{name}:"), plain(value));
    shown.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Text of others on our terminal: control characters become spaces.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A value as YAML, each line indented.
pub fn indented(value: &Value) -> String {
    let text = serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string());
    text.trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// A member as text: strings as they are, null as nothing. `path` is a JSON pointer.
pub fn member(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Milliseconds since the epoch as RFC 3339 in UTC; nothing for 0.
pub fn time(ms: i64) -> String {
    if ms == 0 {
        return String::new();
    }
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| format!("{time:.0}"))
}

/// How long ago an RFC 3339 time was: `5s`, `3m`, `7h`, `12d`.
pub fn age(time: &str, now: jiff::Timestamp) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else { return String::new() };
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_never_has_empty_cells() {
        let mut table = Table::new(&["NAME", "PHASE"]);
        table.row(["a-long-name".into(), String::new()]);
        table.row(["b\u{1b}[2J".into(), "Ready".into()]);
        insta::assert_snapshot!(table.to_string(), @r"
        NAME         PHASE
        a-long-name  -
        b [2J        Ready
        ");
    }

    #[test]
    fn ages_have_one_unit() {
        let now: jiff::Timestamp = "2026-01-03T00:00:00Z".parse().unwrap();
        for (time, shown) in [
            ("2026-01-02T23:59:55Z", "5s"),
            ("2026-01-02T23:00:00Z", "60m"),
            ("2026-01-01T12:00:00.5Z", "36h"),
            ("2025-12-01T00:00:00Z", "33d"),
            ("2027-01-01T00:00:00Z", "0s"),
            ("never", ""),
        ] {
            assert_eq!(age(time, now), shown);
        }
    }

    #[test]
    fn yaml_keeps_text_that_looks_like_something_else() {
        let text = indented(&serde_json::json!({ "a": "true", "b": ["1", null, {}], "c": "x: y" }));
        insta::assert_snapshot!(text);
    }
}
