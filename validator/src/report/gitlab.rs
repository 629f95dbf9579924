//! Code quality of GitLab.

use serde_json::{Value, json};

use super::located;
use crate::finding::Severity;
use crate::lint::Report;

pub(super) fn render(report: &Report) -> String {
    let mut seen: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    let one = |f: &crate::finding::Finding| -> Value {
        let (file, line, _) = report.position(f);
        let severity = match f.severity {
            Severity::Error => "critical",
            Severity::Warning => "major",
            Severity::Note => "info",
        };
        // GitLab wants each fingerprint once.
        let count = seen.entry(f.fingerprint()).or_default();
        let fingerprint = if *count == 0 { f.fingerprint() } else { format!("{}-{count}", f.fingerprint()) };
        *count += 1;
        json!({
            "description": located(f), "check_name": f.rule, "fingerprint": fingerprint, "severity": severity,
            "location": { "path": file, "lines": { "begin": line } },
        })
    };
    let all: Vec<Value> = report.findings.iter().map(one).collect();
    serde_json::to_string_pretty(&all).map(|text| text + "\n").unwrap_or_default()
}
