//! A tree in which every rule finds something, and what exactly is found there.
//!
//! `SAMPAN_UPDATE=1 cargo test -p sampan-validator --test bad` writes the expected text anew.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sampan_validator::config;
use sampan_validator::lint::{Report, Settings, lint};
use sampan_validator::report::{Detail, Format, render};
use sampan_validator::rules::{RULES, SCHEMA_RULES};

/// Rules of the schema that no configuration can break alone, and why.
const UNREACHABLE: &[(&str, &str)] = &[
    ("SMP000", "stands for an id that is not in the list, and a test holds the list complete"),
    ("SMP038", "counts what the server has; SMP106 says it of a configuration"),
    ("SMP121", "counts the rules that the server has"),
];

fn bad() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn reports() -> Vec<(&'static str, Report)> {
    let of = |name: &'static str| {
        let path = bad().join(name);
        let mut settings = Settings::new(vec![path.clone()], "2027-01-15".into());
        settings.plan = path.is_file().then(|| path.clone());
        let file = path.join(config::FILE);
        if file.is_file() {
            let config = config::read(&file).unwrap();
            settings.required_labels = config.required_labels;
            settings.registries = config.registries;
            settings.budget = config.budget;
        }
        (name, lint(&settings).unwrap())
    };
    ["broken", "lint", "plan.json", "schema"].map(of).into()
}

#[test]
fn every_rule_finds_something_in_the_bad_tree() {
    let reports = reports();
    let found: BTreeSet<&str> = reports.iter().flat_map(|(_, r)| &r.findings).map(|f| f.rule).collect();
    let linter = RULES.iter().map(|rule| rule.meta().id);
    let schema = SCHEMA_RULES.iter().map(|(id, _)| *id);
    let missing: Vec<&str> = linter.chain(schema).filter(|id| !found.contains(id)).collect();
    let allowed: Vec<&str> = UNREACHABLE.iter().map(|(id, _)| *id).collect();
    assert_eq!(missing, allowed, "a rule that finds nothing here is not tested: add what it is about to tests/bad");
}

#[test]
fn what_is_found_in_the_bad_tree_is_what_was_found_before() {
    let root = bad().display().to_string();
    let mut text = String::new();
    for (name, report) in reports() {
        text.push_str(&format!("== {name}\n{}", render(&report, Format::Compact, Detail::default())));
    }
    let text = text.replace(&format!("{root}/"), "");
    let file = bad().join("expected.txt");
    if std::env::var_os("SAMPAN_UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    for (found, wanted) in text.lines().zip(expected.lines()) {
        assert_eq!(found, wanted, "see the first lines of this test");
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}
