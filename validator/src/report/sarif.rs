//! SARIF 2.1.0. Lines and columns start at 1, columns count UTF-16 units.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::located;
use crate::finding::{Edit, Finding, Fix, Place, Severity};
use crate::lint::Report;
use crate::rules;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

fn level(severity: Severity) -> &'static str {
    severity.word()
}

/// A relative reference: only what needs it is escaped.
fn uri(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn region(report: &Report, place: Place) -> Value {
    let Some(file) = report.tree.files.get(place.file as usize) else { return json!({ "startLine": 1 }) };
    let start = file.lines.position_utf16(&file.text, place.span.start);
    let end = file.lines.position_utf16(&file.text, place.span.end);
    json!({
        "startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column,
    })
}

fn location(report: &Report, place: Place) -> Value {
    let name = report.tree.files.get(place.file as usize).map_or("", |f| &f.name);
    json!({ "physicalLocation": { "artifactLocation": { "uri": uri(name) }, "region": region(report, place) } })
}

fn result(report: &Report, f: &Finding) -> Value {
    let mut place = match f.place {
        Some(place) => location(report, place),
        None => {
            json!({ "physicalLocation": { "artifactLocation": { "uri": uri(&f.file) }, "region": { "startLine": 1 } } })
        }
    };
    if !f.address.is_empty() {
        place["logicalLocations"] = json!([{ "fullyQualifiedName": f.address, "kind": "resource" }]);
    }
    let mut result = json!({
        "ruleId": f.rule, "level": level(f.severity), "message": { "text": located(f) }, "locations": [place],
        "partialFingerprints": { "sampan/v1": f.fingerprint() },
    });
    if let Some((related, text)) = &f.related {
        let mut location = location(report, *related);
        location["message"] = json!({ "text": text });
        result["relatedLocations"] = json!([location]);
    }
    if let Some(fix) = &f.fix {
        result["fixes"] = json!([changes(report, fix)]);
    }
    result
}

fn changes(report: &Report, fix: &Fix) -> Value {
    let file = fix.edits.first().and_then(|edit| report.tree.files.get(edit.place.file as usize));
    let name = file.map_or("", |file| &file.name);
    let one =
        |edit: &Edit| json!({ "deletedRegion": region(report, edit.place), "insertedContent": { "text": edit.text } });
    let replacements: Vec<Value> = fix.edits.iter().map(one).collect();
    json!({
        "description": { "text": fix.title },
        "artifactChanges": [{ "artifactLocation": { "uri": uri(name) }, "replacements": replacements }],
    })
}

fn rule(id: &str) -> Value {
    let text = match rules::find(id) {
        Some(meta) => meta.summary(),
        None => rules::SCHEMA_RULES.iter().find(|(known, _)| *known == id).map_or("", |(_, text)| *text).to_owned(),
    };
    let mut rule = json!({ "id": id, "shortDescription": { "text": text } });
    if let Some(meta) = rules::find(id) {
        rule["name"] = meta.name.into();
        rule["help"] = json!({ "text": meta.page, "markdown": meta.page });
        rule["defaultConfiguration"] = json!({ "level": level(meta.severity) });
    }
    rule
}

pub(super) fn render(report: &Report) -> String {
    let ids: BTreeSet<&str> = report.findings.iter().map(|f| f.rule).collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "sampan lint", "version": env!("CARGO_PKG_VERSION"),
                "rules": ids.into_iter().map(rule).collect::<Vec<_>>(),
            } },
            "columnKind": "utf16CodeUnits",
            "properties": { "suppressed": report.suppressed, "baselined": report.baselined },
            "results": report.findings.iter().map(|f| result(report, f)).collect::<Vec<_>>(),
        }],
    });
    serde_json::to_string_pretty(&document).map(|text| text + "\n").unwrap_or_default()
}
