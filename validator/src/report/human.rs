//! For people: the line itself, and what the finding points at.

use super::{Detail, plain, sentence, summary, waiting};
use crate::finding::{Finding, Place};
use crate::lint::Report;
use crate::rules;

/// A longer line is cut around the place.
const WIDTH: usize = 160;

pub(super) fn render(report: &Report, detail: Detail) -> String {
    let mut out = String::new();
    for f in &report.findings {
        out.push_str(&format!("{}[{}]: {}\n", f.severity.word(), f.rule, plain(&sentence(f))));
        match f.place {
            Some(place) => snippet(report, place, is_secret(f), &mut out),
            None => out.push_str(&format!("  --> {}\n", plain(&f.file))),
        }
        if let Some((place, text)) = &f.related {
            out.push_str(&format!("  note: {}\n", plain(text)));
            snippet(report, *place, is_secret(f), &mut out);
        }
        if !f.address.is_empty() {
            out.push_str(&format!("  in {}\n", plain(&f.address)));
        }
        if let Some(fix) = &f.fix {
            out.push_str(&format!("  fix: {}, which --fix does\n", fix.title));
        }
        if let Some(rule) = rules::find(f.rule) {
            out.push_str(&format!("  rule: {}; more with `sampan explain {}`\n", rule.name, rule.id));
        }
        out.push('\n');
    }
    for entry in &report.stale {
        out.push_str(&format!(
            "gone from the baseline: {} {} {}\n",
            entry.rule,
            plain(&entry.address),
            plain(&entry.path)
        ));
    }
    if detail.verbose {
        for one in &report.undetermined {
            let (address, path) = (plain(&one.address), plain(&one.path));
            out.push_str(&format!("undetermined: {} {address} {path} needs {}\n", one.rule, plain(&one.needs)));
        }
    }
    out.push_str(&summary(report));
    out.push('\n');
    if let Some(text) = waiting(report) {
        out.push_str(&text);
        out.push('\n');
    }
    out
}

/// Whether the place holds a secret, so that its text is not repeated.
fn is_secret(finding: &Finding) -> bool {
    finding.rule == "SMP401" || finding.path.starts_with("data_wo")
}

/// The place, its line and a mark below it.
fn snippet(report: &Report, place: Place, masked: bool, out: &mut String) {
    let (name, line, column) = report.locate(place);
    out.push_str(&format!("  --> {}:{line}:{column}\n", plain(&name)));
    let Some(file) = report.tree.files.get(place.file as usize) else { return };
    let span = file.lines.span_of(&file.text, line);
    let text = String::from_utf8_lossy(span.of(&file.text)).into_owned();
    let text: Vec<char> = text.trim_end().chars().collect();
    let at = (column as usize - 1).min(text.len());
    let marked = String::from_utf8_lossy(place.span.of(&file.text)).chars().take_while(|c| *c != '\n').count();
    let first = if at > WIDTH / 2 && text.len() > WIDTH { at - WIDTH / 2 } else { 0 };
    let marks = marked.clamp(1, (first + WIDTH).min(text.len()).saturating_sub(at).max(1));
    let cover = |(i, c): (usize, &char)| if masked && (at..at + marks).contains(&i) { '*' } else { *c };
    let shown: String = text.iter().enumerate().map(cover).skip(first).take(WIDTH).collect();
    let number = line.to_string();
    let gap = " ".repeat(number.len());
    out.push_str(&format!(" {gap} |\n {number} | {}\n", plain(&shown)));
    out.push_str(&format!(" {gap} | {}{}\n", " ".repeat(at - first), "^".repeat(marks)));
}
