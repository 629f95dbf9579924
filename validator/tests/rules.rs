//! The pages of the rules are tests: what a bad example says, that a good one says nothing, and what an unknown one waits
//! for.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeSet;
use std::path::Path;

use sampan_validator::config;
use sampan_validator::lint::{Report, Settings, lint};
use sampan_validator::rules::{RULES, SCHEMA_RULES, exists};

/// One section of a page: its files, and the text around them.
struct Section {
    files: Vec<(String, String)>,
    prose: String,
}

fn section(page: &str, title: &str) -> Option<Section> {
    let start = page.find(&format!("\n## {title}\n"))?;
    let body = &page[start + title.len() + 5..];
    let body = &body[..body.find("\n## ").unwrap_or(body.len())];
    let (mut files, mut prose) = (Vec::new(), String::new());
    for (i, part) in body.split("```").enumerate() {
        if i % 2 == 0 {
            prose.push_str(part);
            continue;
        }
        let (head, text) = part.split_once('\n').unwrap();
        let name = head.strip_prefix("hcl ").or_else(|| head.strip_prefix("json ")).unwrap();
        files.push((name.trim().to_owned(), text.to_owned()));
    }
    Some(Section { files, prose })
}

fn run(files: &[(String, String)]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut settings = Settings::new(vec![folder.path().to_owned()], "2027-01-15".into());
    let plan = folder.path().join("plan.json");
    settings.plan = plan.is_file().then_some(plan);
    let file = folder.path().join(config::FILE);
    if file.is_file() {
        let config = config::read(&file).unwrap();
        settings.required_labels = config.required_labels;
        settings.registries = config.registries;
        settings.budget = config.budget;
    }
    lint(&settings).unwrap()
}

/// `file:line severity [ID] "part"` of each comment, for its own line or, alone on a line, for the next one.
fn expected(files: &[(String, String)]) -> Vec<(String, u32, String, String)> {
    let mut all = Vec::new();
    for (name, text) in files {
        for (i, line) in text.lines().enumerate() {
            for severity in ["error", "warning", "note"] {
                let Some((before, comment)) = line.split_once(&format!("# {severity}: [")) else { continue };
                let (id, rest) = comment.split_once(']').unwrap();
                let own = if before.trim().is_empty() { 2 } else { 1 };
                let part: String = serde_json::from_str(rest.trim()).unwrap();
                all.push((name.clone(), i as u32 + own, format!("{severity} {id}"), part));
            }
        }
    }
    all
}

fn check(id: &str, title: &str, section: &Section) -> Report {
    let report = run(&section.files);
    let mut wanted = expected(&section.files);
    // A plan has no comments and no lines: what it says is written below it.
    let below = [("plan.json".to_owned(), section.prose.replace('`', "").replace("warning: [", "# warning: ["))];
    wanted.extend(expected(&below).into_iter().map(|(file, _, what, part)| (file, 1, what, part)));
    for finding in &report.findings {
        let (file, line, _) = report.position(finding);
        let what = format!("{} {}", finding.severity.word(), finding.rule);
        let fits = |w: &(String, u32, String, String)| {
            file.ends_with(&w.0) && w.1 == line && w.2 == what && finding.message.contains(&w.3)
        };
        let at = wanted.iter().position(fits);
        assert!(at.is_some(), "{id} {title}: not expected: {file}:{line} {what} {}", finding.message);
        wanted.remove(at.unwrap());
    }
    assert!(wanted.is_empty(), "{id} {title}: not found: {wanted:?}");
    report
}

#[test]
fn each_page_says_what_its_rule_does() {
    for rule in RULES {
        let meta = rule.meta();
        assert!(meta.page.starts_with(&format!("# {}: {}\n", meta.id, meta.name)), "{}: title", meta.id);
        let part = |title| section(meta.page, title).unwrap_or_else(|| panic!("{} has no section {title}", meta.id));
        let bad = check(meta.id, "bad", &part("bad"));
        let found: BTreeSet<&str> = bad.findings.iter().map(|f| f.rule).collect();
        assert!(found.contains(meta.id), "{}: the bad example does not break it", meta.id);
        let good = check(meta.id, "good", &part("good"));
        assert!(good.findings.iter().all(|f| f.rule != meta.id), "{}: the good example breaks it", meta.id);
        let unknown = part("unknown");
        let report = check(meta.id, "unknown", &unknown);
        let waits: BTreeSet<String> =
            report.undetermined.iter().map(|u| format!("{} needs {}", u.rule, u.needs)).collect();
        match unknown.prose.trim().strip_prefix("undetermined: ") {
            Some(wanted) => assert!(waits.contains(wanted.trim()), "{}: {wanted}, found {waits:?}", meta.id),
            None => assert!(unknown.prose.contains("nothing waits"), "{}: {}", meta.id, unknown.prose),
        }
    }
}

#[test]
fn every_id_of_the_schema_has_a_sentence_and_no_id_is_used_twice() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/src");
    let mut ids = BTreeSet::new();
    let mut left = vec![sources];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for (at, _) in text.match_indices("\"SMP") {
            let id = &text[at + 1..at + 7];
            if id[3..].bytes().all(|b| b.is_ascii_digit()) && text[at + 7..].starts_with('"') {
                ids.insert(id.to_owned());
            }
        }
    }
    assert!(ids.len() > 40, "{ids:?}");
    for id in &ids {
        assert!(exists(id), "{id} is in the schema and not in SCHEMA_RULES");
    }
    let linter: Vec<&str> = RULES.iter().map(|r| r.meta().id).collect();
    assert!(linter.is_sorted() && linter.iter().all(|id| SCHEMA_RULES.iter().all(|(known, _)| known != id)));
}
