//! JUnit XML: a case for each finding, and one that passes when there is none.

use super::{located, summary, xml};
use crate::finding::Severity;
use crate::lint::Report;

pub(super) fn render(report: &Report) -> String {
    let failing = report.findings.iter().filter(|f| f.severity != Severity::Note).count();
    let mut cases = String::new();
    for f in &report.findings {
        let (file, line, column) = report.position(f);
        let name = xml(&format!("{} {file}:{line}:{column}", f.rule));
        let class = xml(if f.address.is_empty() { &file } else { &f.address });
        let text = xml(&located(f));
        let content = match f.severity {
            Severity::Note => format!("<system-out>{text}</system-out>"),
            other => format!("<failure message=\"{text}\" type=\"{}\"/>", other.word()),
        };
        cases.push_str(&format!(
            "    <testcase name=\"{name}\" classname=\"{class}\" time=\"0\">{content}</testcase>\n"
        ));
    }
    let mut tests = report.findings.len();
    if tests == 0 {
        tests = 1;
        cases.push_str("    <testcase name=\"no findings\" classname=\"sampan lint\" time=\"0\"/>\n");
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"sampan lint\" tests=\"{tests}\" \
         failures=\"{failing}\" errors=\"0\" time=\"0\">\n  <testsuite name=\"sampan lint\" tests=\"{tests}\" \
         failures=\"{failing}\" errors=\"0\" skipped=\"0\" time=\"0\">\n{cases}    <system-out>{}</system-out>\n  \
         </testsuite>\n</testsuites>\n",
        xml(&summary(report))
    )
}
