//! Reports for machines have what their readers require, also for hostile names and texts.
//!
//! The requirements are those of the published formats: SARIF 2.1.0, the JUnit schema of Jenkins, checkstyle, GitLab's
//! code quality, and the workflow commands of GitHub. They are written down here, so no test fetches a schema.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

#[path = "support/xml.rs"]
mod xml;

use std::collections::BTreeSet;
use std::path::Path;

use sampan_validator::lint::{Report, Settings, lint};
use sampan_validator::report::{Detail, Format, render};
use serde_json::{Value, json};

const MAIN: &str = "\
# sampan:ignore SMP302 reason=\"of no use\"
locals {
  \u{1f600} = 1
}
resource \"sampan_application\" \"api\" {
  namespace = \"a <b> & 'c' \\\"d\\\" \\u0001 \u{202e} %0A::error::x\"
  name      = \"api\"
  replica   = 2
  resources = { cpu = \"1\", memory = \"1Gi\" }
  container = {
    image = \"registry.example.com/a:latest\"
    env   = { DB_PASSWORD = \"hunter2-hunter2\" }
  }
  lifecycle_hooks = { termination_grace_period_seconds = 5 }
}
output \"x\" { value = \"${sampan_application.api.name}\" }
";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn report(folder: &Path) -> Report {
    let mut settings = Settings::new(vec![folder.to_owned()], "2027-01-15".into());
    settings.recursive = true;
    lint(&settings).unwrap()
}

/// Findings of every severity, with and without place, in files with odd names.
fn hostile() -> (tempfile::TempDir, Report) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "main.tf", &MAIN.replace("  \u{1f600} = 1\n", "").replace("\\u0001 ", ""));
    write(
        folder.path(),
        "a b#c%<&\"/m\u{e9}.tf",
        "resource \"sampan_namespace\" \"n\" {\n  name = \"My_App\"\n}\nx = = 1\n",
    );
    std::fs::create_dir(folder.path().join("d.tf")).unwrap();
    let report = report(folder.path());
    let severities: BTreeSet<&str> = report.findings.iter().map(|f| f.severity.word()).collect();
    assert_eq!(severities.into_iter().collect::<Vec<_>>(), ["error", "note", "warning"]);
    assert!(report.findings.iter().any(|f| f.place.is_none()) && report.findings.iter().any(|f| f.fix.is_some()));
    (folder, report)
}

fn text(report: &Report, format: Format) -> String {
    render(report, format, Detail::default())
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// An object has all of `required` and nothing but these and `optional`.
fn shape(value: &Value, required: &[&str], optional: &[&str]) {
    let found = keys(value);
    assert!(required.iter().all(|key| found.contains(key)), "{required:?} are required: {value}");
    let all: BTreeSet<&str> = required.iter().chain(optional).copied().collect();
    assert!(found.is_subset(&all), "{:?} are no members: {value}", found.difference(&all));
}

fn location(value: &Value) {
    shape(value, &["physicalLocation"], &["logicalLocations", "message"]);
    let physical = &value["physicalLocation"];
    shape(physical, &["artifactLocation", "region"], &[]);
    artifact(&physical["artifactLocation"]);
    region(&physical["region"]);
    for logical in value["logicalLocations"].as_array().into_iter().flatten() {
        shape(logical, &["fullyQualifiedName"], &["kind"]);
    }
}

fn artifact(value: &Value) {
    shape(value, &["uri"], &[]);
    let uri = value["uri"].as_str().unwrap();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
    assert!(!uri.is_empty() && uri.chars().all(plain), "{uri} is no reference of a URI");
}

fn region(value: &Value) {
    shape(value, &["startLine"], &["startColumn", "endLine", "endColumn"]);
    let number = |name: &str| value[name].as_u64().unwrap_or(1);
    assert!(value.as_object().unwrap().values().all(|n| n.as_u64().is_some_and(|n| n >= 1)), "{value}");
    let end =
        (value["endLine"].as_u64().unwrap_or(number("startLine")), value["endColumn"].as_u64().unwrap_or(u64::MAX));
    assert!((number("startLine"), number("startColumn")) <= end, "{value}");
}

#[test]
fn sarif_has_what_the_standard_requires_and_nothing_that_it_does_not_know() {
    let (_folder, report) = hostile();
    let log: Value = serde_json::from_str(&text(&report, Format::Sarif)).unwrap();
    shape(&log, &["version", "runs"], &["$schema"]);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    shape(run, &["tool", "results"], &["columnKind", "properties"]);
    assert_eq!(run["columnKind"], "utf16CodeUnits");
    let driver = &run["tool"]["driver"];
    shape(driver, &["name", "version", "rules"], &[]);
    let mut ids = BTreeSet::new();
    for rule in driver["rules"].as_array().unwrap() {
        shape(rule, &["id", "shortDescription"], &["name", "help", "defaultConfiguration"]);
        assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty(), "{rule}");
        assert!(ids.insert(rule["id"].as_str().unwrap()), "{rule} is there twice");
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), report.findings.len());
    for result in results {
        let optional = ["relatedLocations", "fixes"];
        shape(result, &["ruleId", "level", "message", "locations", "partialFingerprints"], &optional);
        assert!(ids.contains(result["ruleId"].as_str().unwrap()), "{result}");
        assert!(["note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        assert!(result["partialFingerprints"].as_object().unwrap().values().all(Value::is_string));
        let related = result["relatedLocations"].as_array().into_iter().flatten();
        result["locations"].as_array().unwrap().iter().chain(related).for_each(location);
        for fix in result["fixes"].as_array().into_iter().flatten() {
            shape(fix, &["artifactChanges"], &["description"]);
            for change in fix["artifactChanges"].as_array().unwrap() {
                shape(change, &["artifactLocation", "replacements"], &[]);
                artifact(&change["artifactLocation"]);
                assert!(!change["replacements"].as_array().unwrap().is_empty());
                for replacement in change["replacements"].as_array().unwrap() {
                    shape(replacement, &["deletedRegion"], &["insertedContent"]);
                    region(&replacement["deletedRegion"]);
                }
            }
        }
    }
}

#[test]
fn junit_has_what_its_readers_require_and_its_counts_are_right() {
    let (_folder, report) = hostile();
    let root = xml::parse(&text(&report, Format::Junit));
    assert_eq!(root.name, "testsuites");
    root.has_only(&["name", "tests", "failures", "errors", "time"]);
    let suite = &root.children[0];
    suite.has_only(&["name", "tests", "failures", "errors", "skipped", "time"]);
    let cases: Vec<_> = suite.children.iter().filter(|child| child.name == "testcase").collect();
    let failing = cases.iter().filter(|case| case.children.iter().any(|child| child.name == "failure")).count();
    for counted in [&root, suite] {
        assert_eq!(counted.attribute("tests"), cases.len().to_string());
        assert_eq!(counted.attribute("failures"), failing.to_string());
        assert_eq!(counted.attribute("errors"), "0");
    }
    assert_eq!(cases.len(), report.findings.len());
    for case in cases {
        case.has_only(&["name", "classname", "time"]);
        assert!(!case.attribute("name").is_empty() && !case.attribute("classname").is_empty());
        for child in &case.children {
            match child.name.as_str() {
                "failure" => assert!(!child.attribute("message").is_empty() && !child.attribute("type").is_empty()),
                other => assert_eq!(other, "system-out"),
            }
        }
    }
    let nothing = report_of_nothing();
    let root = xml::parse(&text(&nothing, Format::Junit));
    assert_eq!((root.attribute("tests"), root.attribute("failures")), ("1", "0"), "a suite without cases is an error");
}

fn report_of_nothing() -> Report {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "main.tf", "");
    report(folder.path())
}

#[test]
fn checkstyle_has_files_with_errors_of_known_severities() {
    let (_folder, report) = hostile();
    let root = xml::parse(&text(&report, Format::Checkstyle));
    assert_eq!((root.name.as_str(), root.attribute("version")), ("checkstyle", "8.0"));
    let (mut names, mut count) = (BTreeSet::new(), 0);
    for file in &root.children {
        file.has_only(&["name"]);
        assert!(file.name == "file" && names.insert(file.attribute("name").to_owned()), "{file:?}");
        for error in &file.children {
            error.has_only(&["line", "column", "severity", "message", "source"]);
            assert!(error.attribute("line").parse::<u32>().unwrap() >= 1);
            assert!(error.attribute("column").parse::<u32>().unwrap() >= 1);
            assert!(["info", "warning", "error"].contains(&error.attribute("severity")));
            assert!(!error.attribute("message").is_empty() && error.attribute("source").starts_with("SMP"));
            count += 1;
        }
    }
    assert_eq!(count, report.findings.len());
    assert!(names.iter().any(|name| name.contains("a b#c%<&\"")), "{names:?}");
}

#[test]
fn gitlab_has_what_code_quality_requires_and_no_fingerprint_twice() {
    let (_folder, report) = hostile();
    let all: Value = serde_json::from_str(&text(&report, Format::Gitlab)).unwrap();
    let mut seen = BTreeSet::new();
    for one in all.as_array().unwrap() {
        shape(one, &["description", "check_name", "fingerprint", "severity", "location"], &[]);
        assert!(seen.insert(one["fingerprint"].as_str().unwrap()), "{one}");
        assert!(["info", "minor", "major", "critical", "blocker"].contains(&one["severity"].as_str().unwrap()));
        shape(&one["location"], &["path", "lines"], &[]);
        assert!(one["location"]["lines"]["begin"].as_u64().unwrap() >= 1);
        assert!(!one["location"]["path"].as_str().unwrap().starts_with("./"));
    }
    assert_eq!(seen.len(), report.findings.len());
}

#[test]
fn github_has_one_command_a_line_whatever_a_value_says() {
    let (_folder, report) = hostile();
    let text = text(&report, Format::Github);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), report.findings.len() + 1, "a command each, and the summary\n{text}");
    for line in &lines[..lines.len() - 1] {
        let command = line.strip_prefix("::").unwrap();
        let (head, message) = command.split_once("::").unwrap();
        let (name, properties) = head.split_once(' ').unwrap();
        assert!(["error", "warning", "notice"].contains(&name), "{line}");
        let names: Vec<&str> = properties.split(',').map(|p| p.split_once('=').unwrap().0).collect();
        assert_eq!(names, ["file", "line", "col", "title"], "{line}");
        assert!(!message.is_empty());
    }
}

#[test]
fn fingerprints_keep_when_lines_move_and_differ_between_findings() {
    let of = |main: &str| -> Vec<BTreeSet<String>> {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "main.tf", main);
        let report = report(folder.path());
        let read = |format| serde_json::from_str::<Value>(&text(&report, format)).unwrap();
        let (sarif, gitlab, json) = (read(Format::Sarif), read(Format::Gitlab), read(Format::Json));
        let words = |all: &Value, path: &str| -> BTreeSet<String> {
            let all = all.as_array().unwrap().iter();
            all.filter_map(|one| one.pointer(path)?.as_str().map(str::to_owned)).collect()
        };
        vec![
            words(&sarif["runs"][0]["results"], "/partialFingerprints/sampan~1v1"),
            words(&gitlab, "/fingerprint"),
            words(&json["findings"], "/fingerprint"),
        ]
    };
    let main = MAIN.replace("  \u{1f600} = 1\n", "").replace("\\u0001 ", "");
    let before = of(&main);
    assert_eq!(before, of(&format!("\n\n# moved\n{}", main.replace("  container", "\n  # more\n  container"))));
    assert!(before[0].len() > 5 && before[0] == before[2]);
    let other =
        of(&main.replace("\"api\" {", "\"other\" {").replace("sampan_application.api", "sampan_application.other"));
    assert!(before[0].intersection(&other[0]).count() < before[0].len(), "another address is another finding");
    assert_eq!(json!(before[0]), json!(before[1]), "GitLab has the same ones while none is there twice");
}
