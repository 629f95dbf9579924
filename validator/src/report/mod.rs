//! Reports, one file per format. Equal input gives equal bytes; no format has a time in it.

mod checkstyle;
mod compact;
mod github;
mod gitlab;
mod human;
mod json;
mod junit;
mod sarif;

use crate::finding::Finding;
use crate::lint::Report;

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people, with the lines around.
    Human,
    /// One line for each finding.
    Compact,
    Json,
    Sarif,
    Junit,
    /// Workflow commands.
    Github,
    /// Code quality.
    Gitlab,
    Checkstyle,
}

impl Format {
    pub const ALL: &[(&str, Self)] = &[
        ("human", Self::Human),
        ("compact", Self::Compact),
        ("json", Self::Json),
        ("sarif", Self::Sarif),
        ("junit", Self::Junit),
        ("github", Self::Github),
        ("gitlab", Self::Gitlab),
        ("checkstyle", Self::Checkstyle),
    ];

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, format)| *format)
    }
}

/// How much a report for people says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detail {
    /// Every undetermined rule, not only how many.
    pub verbose: bool,
}

/// The whole report as text.
pub fn render(report: &Report, format: Format, detail: Detail) -> String {
    match format {
        Format::Human => human::render(report, detail),
        Format::Compact => compact::render(report),
        Format::Json => json::render(report),
        Format::Sarif => sarif::render(report),
        Format::Junit => junit::render(report),
        Format::Github => github::render(report),
        Format::Gitlab => gitlab::render(report),
        Format::Checkstyle => checkstyle::render(report),
    }
}

/// The message, with the other instances it is about.
pub(crate) fn sentence(finding: &Finding) -> String {
    match finding.others.len() {
        0 => finding.message.clone(),
        n => format!("{} (and {n} more instances)", finding.message),
    }
}

/// The same with the address where a place does not tell what it is about.
fn located(finding: &Finding) -> String {
    match (finding.place, finding.address.as_str()) {
        (Some(_), _) | (None, "") => sentence(finding),
        (None, address) => format!("{address}: {}", sentence(finding)),
    }
}

/// Text on one line, without anything that steers a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) { ' ' } else { c }).collect()
}

/// For XML 1.0: what it cannot carry is left out.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\r' | '\t' => out.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

/// How many were suppressed and what waits, for the end of a report.
fn summary(report: &Report) -> String {
    use crate::finding::Severity::{Error, Note, Warning};
    let mut text = format!(
        "{}, {}, {} in {} and {}",
        counted(report.count(Error), "error"),
        counted(report.count(Warning), "warning"),
        counted(report.count(Note), "note"),
        counted(report.resources, "resource"),
        counted(report.files(), "file")
    );
    for (count, what) in [(report.suppressed, "suppressed by comments"), (report.baselined, "in the baseline")] {
        if count > 0 {
            text.push_str(&format!("; {count} {what}"));
        }
    }
    if !report.stale.is_empty() {
        text.push_str(&format!("; {} entries of the baseline are gone", report.stale.len()));
    }
    text
}

/// `1 file`, `2 files`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `12 undetermined: 8 need var.env, 4 need module.net`.
fn waiting(report: &Report) -> Option<String> {
    if report.undetermined.is_empty() {
        return None;
    }
    let mut causes: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for one in &report.undetermined {
        *causes.entry(&one.needs).or_default() += 1;
    }
    let mut causes: Vec<(&str, usize)> = causes.into_iter().collect();
    causes.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let main: Vec<String> = causes
        .iter()
        .take(5)
        .map(|(name, count)| format!("{count} need{} {name}", if *count == 1 { "s" } else { "" }))
        .collect();
    Some(format!("{} undetermined: {}", report.undetermined.len(), plain(&main.join(", "))))
}
