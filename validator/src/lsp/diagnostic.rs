//! What a run of the linter has to say, as an editor shows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsp_types::{Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, NumberOrString, Range};

use super::document::range;
use super::view::location;
use crate::finding::{Finding, Place, Severity};
use crate::lint::Report;
use crate::report::sentence;

/// By file. Every file that was read is there, so that one without findings is known to have none. What a rule could not
/// decide is nothing to show.
pub fn by_file(report: &Report) -> BTreeMap<PathBuf, Vec<Diagnostic>> {
    let mut all: BTreeMap<PathBuf, Vec<Diagnostic>> =
        report.tree.files.iter().map(|file| (PathBuf::from(&file.name), Vec::new())).collect();
    for finding in &report.findings {
        let file = finding.place.and_then(|place| report.tree.files.get(place.file as usize));
        let name = file.map_or(&finding.file, |file| &file.name);
        // What is about a folder as a whole has no text to be shown in.
        if file.is_none() && Path::new(name).is_dir() {
            continue;
        }
        all.entry(PathBuf::from(name)).or_default().push(of(report, finding));
    }
    all
}

/// One finding.
pub fn of(report: &Report, finding: &Finding) -> Diagnostic {
    let related = finding.related.as_ref().and_then(|(place, text)| {
        let location = location(&report.tree, *place)?;
        Some(vec![DiagnosticRelatedInformation { location, message: text.clone() }])
    });
    Diagnostic {
        range: finding.place.map_or_else(Range::default, |place| range_of(report, place)),
        severity: Some(match finding.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
            Severity::Note => DiagnosticSeverity::INFORMATION,
        }),
        code: Some(NumberOrString::String(finding.rule.to_owned())),
        source: Some("sampan".into()),
        message: sentence(finding),
        related_information: related,
        tags: match finding.rule {
            "SMP904" => Some(vec![DiagnosticTag::UNNECESSARY]),
            "SMP903" => Some(vec![DiagnosticTag::DEPRECATED]),
            _ => None,
        },
        ..Diagnostic::default()
    }
}

fn range_of(report: &Report, place: Place) -> Range {
    match report.tree.files.get(place.file as usize) {
        Some(file) => range(&file.lines, &file.text, place.span),
        None => Range::default(),
    }
}
