//! Checkstyle XML.

use std::collections::BTreeMap;

use super::{located, xml};
use crate::finding::Severity;
use crate::lint::Report;

pub(super) fn render(report: &Report) -> String {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for f in &report.findings {
        let (file, line, column) = report.position(f);
        let severity = match f.severity {
            Severity::Note => "info",
            other => other.word(),
        };
        files.entry(file).or_default().push_str(&format!(
            "    <error line=\"{line}\" column=\"{column}\" severity=\"{severity}\" message=\"{}\" source=\"{}\"/>\n",
            xml(&located(f)),
            f.rule
        ));
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<checkstyle version=\"8.0\">\n");
    for (file, errors) in files {
        out.push_str(&format!("  <file name=\"{}\">\n{errors}  </file>\n", xml(&file)));
    }
    out.push_str("</checkstyle>\n");
    out
}
