//! `file:line:column: severity[rule] message`.

use super::{located, plain, summary, waiting};
use crate::lint::Report;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for f in &report.findings {
        let (file, line, column) = report.position(f);
        let text = plain(&located(f));
        out.push_str(&format!("{}:{line}:{column}: {}[{}] {text}\n", plain(&file), f.severity.word(), f.rule));
    }
    out.push_str(&summary(report));
    out.push('\n');
    if let Some(text) = waiting(report) {
        out.push_str(&text);
        out.push('\n');
    }
    out
}
