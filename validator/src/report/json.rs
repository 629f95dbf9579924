//! The form that programs rely on.

use serde::Serialize;

use crate::finding::Severity;
use crate::lint::Report;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    findings: Vec<One<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct One<'a> {
    rule: &'a str,
    severity: Severity,
    file: String,
    line: u32,
    column: u32,
    address: &'a str,
    path: &'a str,
    message: &'a str,
    undetermined: bool,
    /// Further instances of a finding; causes of an undetermined one.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    instances: &'a [String],
    #[serde(skip_serializing_if = "String::is_empty")]
    fingerprint: String,
}

#[derive(Serialize)]
struct Summary {
    errors: usize,
    warnings: usize,
    notes: usize,
    undetermined: usize,
    files: usize,
    resources: usize,
    suppressed: usize,
    baselined: usize,
}

pub(super) fn render(report: &Report) -> String {
    let mut findings: Vec<One<'_>> = Vec::new();
    for f in &report.findings {
        let (file, line, column) = report.position(f);
        findings.push(One {
            rule: f.rule,
            severity: f.severity,
            file,
            line,
            column,
            address: &f.address,
            path: &f.path,
            message: &f.message,
            undetermined: false,
            instances: &f.others,
            fingerprint: f.fingerprint(),
        });
    }
    let needs: Vec<String> = report.undetermined.iter().map(|u| format!("needs {}", u.needs)).collect();
    for (one, message) in report.undetermined.iter().zip(&needs) {
        findings.push(One {
            rule: one.rule,
            severity: Severity::Note,
            file: String::new(),
            line: 1,
            column: 1,
            address: &one.address,
            path: &one.path,
            message,
            undetermined: true,
            instances: &[],
            fingerprint: String::new(),
        });
    }
    let summary = Summary {
        errors: report.count(Severity::Error),
        warnings: report.count(Severity::Warning),
        notes: report.count(Severity::Note),
        undetermined: report.undetermined.len(),
        files: report.files(),
        resources: report.resources,
        suppressed: report.suppressed,
        baselined: report.baselined,
    };
    serde_json::to_string_pretty(&Document { version: 1, findings, summary }).map(|t| t + "\n").unwrap_or_default()
}
