//! Workflow commands of GitHub Actions.

use super::{located, summary};
use crate::finding::Severity;
use crate::lint::Report;

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for f in &report.findings {
        let (file, line, column) = report.position(f);
        let command = match f.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let (file, title) = (property(&file), property(f.rule));
        out.push_str(&format!(
            "::{command} file={file},line={line},col={column},title={title}::{}\n",
            data(&located(f))
        ));
    }
    out.push_str(&format!("{}\n", summary(report)));
    out
}
