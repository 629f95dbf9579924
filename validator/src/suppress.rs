//! Comments that take findings away: `# sampan:ignore SMP301 reason="…" until=2027-03-31`.
//!
//! At the end of a line, for that line. On a line of its own, for what begins below it: an argument, or a block with
//! everything in it, and above a `module` call with everything the module makes. `sampan:ignore-file` is for the file.
//! The reason is required, and one that takes nothing away is a finding itself.

use std::sync::Arc;

use crate::ast::{Body, Span};
use crate::finding::{Edit, Finding, Fix, Place, Severity};
use crate::module::SourceFile;
use crate::policy::{self, Enforcement, Policy};

/// Findings that no comment takes away: what was not read, and secrets.
const MANDATORY: &[&str] = &["SMP401", "SMP900", "SMP908"];

/// Whether a comment can take findings of this rule away.
pub fn can_be_ignored(rule: &str) -> bool {
    // What is wrong with a comment is said after all of them were heard.
    !MANDATORY.contains(&rule) && rule != "SMP604"
}

#[derive(Debug)]
struct Marker {
    place: Place,
    ids: Vec<String>,
    /// Findings that begin here.
    scope: Span,
    /// Name of the module call it stands above.
    module: Option<String>,
    /// Why it takes nothing away.
    broken: Option<String>,
    /// Its last day, when that is over.
    over: Option<String>,
    used: bool,
}

/// Takes away what is ignored; how many that were. Adds what is wrong with the comments.
///
/// `today` is a date as `2027-03-31`. Unless everything is `certain`, a comment without use may still be of use, and is
/// not offered to be removed.
pub fn apply(
    files: &[Arc<SourceFile>],
    findings: &mut Vec<Finding>,
    policies: &[Policy],
    today: &str,
    certain: bool,
) -> usize {
    let mut markers: Vec<Marker> = Vec::new();
    for (index, file) in files.iter().enumerate() {
        for comment in &file.ast.comments {
            markers.extend(marker(file, index as u32, comment.span, policies, today));
        }
    }
    let before = findings.len();
    findings.retain(|finding| {
        let mut keep = true;
        for marker in
            markers.iter_mut().filter(|m| m.broken.is_none() && m.over.is_none() && m.covers(finding, policies))
        {
            marker.used = true;
            keep = false;
        }
        keep
    });
    let suppressed = before - findings.len();
    for marker in markers {
        let (message, removable) = match (marker.broken, marker.over) {
            (Some(why), _) => (why, false),
            (None, Some(day)) => (format!("the comment was good until {day}"), true),
            (None, None) if !marker.used => ("this comment takes no finding away: remove it".into(), certain),
            (None, None) => continue,
        };
        let mut finding = Finding::new("SMP604", Severity::Warning, marker.place, message);
        finding.fix =
            files.get(marker.place.file as usize).filter(|_| removable).and_then(|f| removal(f, marker.place));
        findings.push(finding);
    }
    suppressed
}

fn is_mandatory(policies: &[Policy], id: &str) -> bool {
    MANDATORY.contains(&id) || policy::is(policies, id, Enforcement::Mandatory)
}

impl Marker {
    fn covers(&self, finding: &Finding, policies: &[Policy]) -> bool {
        if is_mandatory(policies, finding.rule) || !self.ids.iter().any(|id| id == finding.rule) {
            return false;
        }
        let below = |name: &String| {
            let call = format!("module.{name}");
            finding
                .address
                .split('.')
                .zip(finding.address.split('.').skip(1))
                .any(|(a, b)| a == "module" && format!("module.{}", b.split('[').next().unwrap_or(b)) == call)
        };
        let here = |place: Place| {
            place.file == self.place.file && self.scope.contains(Span::new(place.span.start, place.span.start))
        };
        finding.place.is_some_and(here) || self.module.as_ref().is_some_and(below)
    }
}

/// The comment with its line, or with the blanks before it. Not of one that says more.
fn removal(file: &SourceFile, place: Place) -> Option<Fix> {
    let comment = String::from_utf8_lossy(place.span.of(&file.text)).into_owned();
    let text = comment.trim_start_matches(['#', '/', '*']).trim_end_matches("*/").trim();
    let rest = text.strip_prefix("sampan:ignore")?;
    let rest = rest.strip_prefix("-file").unwrap_or(rest).trim_start();
    let rest = &rest[rest.find(char::is_whitespace).unwrap_or(rest.len())..];
    let after_reason = match rest.split_once("reason=\"") {
        Some((before, after)) => format!("{before} {}", after.split_once('"')?.1),
        None => rest.to_owned(),
    };
    if after_reason.split_whitespace().any(|word| !word.starts_with("until=")) {
        return None;
    }
    let line = file.lines.span_of(&file.text, file.lines.line(place.span.start));
    let (before, after) = (Span::new(line.start, place.span.start), Span::new(place.span.end, line.end));
    if !after.of(&file.text).trim_ascii().is_empty() || place.span.end > line.end {
        return None;
    }
    let before = before.of(&file.text);
    let blank = before.trim_ascii().is_empty();
    let next = line.end.saturating_add(1).min(file.text.len() as u32);
    let kept = before.trim_ascii_end().len() as u32;
    let span = if blank { Span::new(line.start, next) } else { Span::new(line.start + kept, place.span.end) };
    let edits = vec![Edit { place: Place { file: place.file, span }, text: String::new() }];
    Some(Fix { title: "remove the comment", edits })
}

fn marker(file: &SourceFile, index: u32, comment: Span, policies: &[Policy], today: &str) -> Option<Marker> {
    let text = String::from_utf8_lossy(comment.of(&file.text)).into_owned();
    let at = text.find("sampan:ignore")?;
    let rest = &text[at + "sampan:ignore".len()..];
    let (whole_file, rest) = match rest.strip_prefix("-file") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_end_matches("*/").trim();
    let ids_end = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
    let ids: Vec<String> =
        rest[..ids_end].split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).collect();
    let last_day = until(&rest[ids_end..]);
    let broken = broken(&ids, policies, &rest[ids_end..]);
    let over = last_day.filter(|day| is_date(day) && *day < today).map(str::to_owned);
    let (scope, module) = if whole_file { (Span::new(0, u32::MAX), None) } else { scope(file, comment) };
    let place = Place { file: index, span: comment };
    Some(Marker { place, ids, scope, module, broken, over, used: false })
}

/// What is wrong with a comment, if something is.
fn broken(ids: &[String], policies: &[Policy], rest: &str) -> Option<String> {
    if ids.is_empty() {
        return Some("the comment names no rule: write sampan:ignore SMP301 reason=\"…\"".into());
    }
    if let Some(id) = ids.iter().find(|id| !policy::exists(policies, id)) {
        return Some(format!("there is no rule {id}"));
    }
    if let Some(id) = ids.iter().find(|id| is_mandatory(policies, id)) {
        return Some(format!("{id} cannot be ignored"));
    }
    let reason = rest.split_once("reason=\"").and_then(|(_, r)| r.split_once('"')).map(|(reason, _)| reason.trim());
    if reason.is_none_or(str::is_empty) {
        return Some("the comment gives no reason: add reason=\"…\"".into());
    }
    let day = until(rest)?;
    (!is_date(day)).then(|| format!("until={day} is no date: write it as 2027-03-31"))
}

/// What is written as the last day.
fn until(rest: &str) -> Option<&str> {
    Some(rest.split_once("until=")?.1.split_whitespace().next().unwrap_or_default())
}

/// Whether a text is a date as `2027-03-31`.
pub fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |s: &&str, len: usize| s.len() == len && s.bytes().all(|b| b.is_ascii_digit());
    matches!(parts.as_slice(), [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2)
        && ("01"..="12").contains(m) && ("01"..="31").contains(d))
}

fn scope(file: &SourceFile, comment: Span) -> (Span, Option<String>) {
    let own = file.lines.line(comment.start);
    let line = file.lines.span_of(&file.text, own);
    let before = Span::new(line.start, comment.start).of(&file.text);
    if !before.trim_ascii().is_empty() {
        return (line, None);
    }
    // Comments may stand between the marker and what it is about.
    let last = file.lines.line(file.text.len() as u32);
    let mut at = file.lines.line(comment.end) + 1;
    while at < last && is_comment(file, at) {
        at += 1;
    }
    let below = file.lines.span_of(&file.text, at);
    begins_in(&file.ast.body, below).unwrap_or((below, None))
}

fn is_comment(file: &SourceFile, line: u32) -> bool {
    let text = file.lines.span_of(&file.text, line);
    text.of(&file.text).trim_ascii_start().starts_with(b"#")
        || text.of(&file.text).trim_ascii_start().starts_with(b"//")
}

/// The argument or block that begins on a line.
fn begins_in(body: &Body, line: Span) -> Option<(Span, Option<String>)> {
    let starts = |span: Span| line.start <= span.start && span.start <= line.end;
    if let Some(attribute) = body.attributes.iter().find(|a| starts(a.span)) {
        return Some((attribute.span, None));
    }
    for block in &body.blocks {
        if starts(block.span) {
            let module = (&*block.kind.text == "module").then(|| block.label(0).unwrap_or_default().to_owned());
            return Some((block.span, module));
        }
        if block.span.contains(line) {
            return begins_in(&block.body, line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Arc<SourceFile> {
        Arc::new(SourceFile::new("main.tf".into(), text.as_bytes().to_vec(), false))
    }

    fn run(text: &str, rule: &'static str, word: &str) -> (usize, Vec<String>) {
        let start = text.find(word).unwrap() as u32;
        let place = Place { file: 0, span: Span::new(start, start + 1) };
        let mut findings = vec![Finding::new(rule, Severity::Warning, place, "it")];
        let count = apply(&[file(text)], &mut findings, &[], "2027-01-15", true);
        (count, findings.into_iter().map(|f| f.message).collect())
    }

    #[test]
    fn a_comment_takes_findings_away_on_its_line_below_it_and_in_its_block() {
        for text in [
            "a {\n  x = 1 # sampan:ignore SMP301 reason=\"r\"\n}\n",
            "a {\n  // sampan:ignore SMP302,SMP301 reason=\"r\" until=2027-01-15\n  # more\n  x = 1\n}\n",
            "# sampan:ignore SMP301 reason=\"r\"\na {\n  b {\n    x = 1\n  }\n}\n",
            "a {\n  x = 1\n}\n/* sampan:ignore-file SMP301 reason=\"r\" */\n",
        ] {
            assert_eq!(run(text, "SMP301", "x ="), (1, vec![]), "{text}");
        }
    }

    #[test]
    fn a_comment_without_reason_or_use_or_after_its_day_is_a_finding() {
        let broken =
            |marker: &str| run(&format!("# sampan:ignore {marker}\nx = 1\n"), "SMP301", "x =").1.pop().unwrap();
        assert!(broken("SMP301").contains("no reason"));
        assert!(broken("SMP301 reason=\" \"").contains("no reason"));
        assert!(broken("SMP999 reason=\"r\"").contains("no rule SMP999"));
        assert!(broken("").contains("names no rule"));
        assert!(broken("SMP301 reason=\"r\" until=2027-01-14").contains("until 2027-01-14"));
        assert!(broken("SMP301 reason=\"r\" until=soon").contains("no date"));
        assert!(broken("SMP302 reason=\"r\"").contains("takes no finding away"));
        assert!(broken("SMP401 reason=\"r\"").contains("cannot be ignored"));
    }
}
