//! SPECIFICATION.md, ARCHITECTURE.md and docs/failure-cases.md name tests; these are there.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sampan_testacc::repository;
use serde_json::Value;

/// `crate::test` as it is written on a page, the crate named by its folder.
type Name = (String, String);

/// What can go wrong, with the tests that make it.
const FAILURES: &str = "docs/failure-cases.md";

fn page(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).unwrap()
}

/// The folders of the workspace's crates, by their last name.
fn crates() -> BTreeMap<String, PathBuf> {
    let output = std::process::Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let folders = packages.iter().map(|p| Path::new(p["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned());
    folders.map(|folder| (folder.file_name().unwrap().to_string_lossy().into_owned(), folder)).collect()
}

/// The functions of a file that come after `#[test]` or `#[tokio::test]`.
fn tests_of(source: &str) -> Vec<String> {
    let (mut found, mut marked) = (Vec::new(), false);
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some((head, rest)) = line.split_once("fn ").filter(|_| marked)
            && (head.is_empty() || head == "async ")
        {
            found.extend(rest.split('(').next().map(str::to_owned));
            marked = false;
        }
    }
    found
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn all_tests() -> BTreeSet<Name> {
    let mut all = BTreeSet::new();
    for (name, folder) in crates() {
        let mut files = Vec::new();
        for part in ["src", "tests"] {
            sources(&folder.join(part), &mut files);
        }
        for file in files {
            let source = std::fs::read_to_string(file).unwrap();
            all.extend(tests_of(&source).into_iter().map(|test| (name.clone(), test)));
        }
    }
    all
}

/// What is written as `crate::test`, with the number of its line.
fn named(text: &str) -> Vec<(usize, Name)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for code in line.split('`').skip(1).step_by(2) {
            let Some((krate, test)) = code.split_once("::") else { continue };
            // Types, calls and longer paths, such as `View::now` and `engine::reconcile::reconcile(…)`, are code.
            let lower = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
            if lower(krate) && lower(test) && !test.contains(['(', ':']) {
                found.push((number + 1, (krate.to_owned(), test.to_owned())));
            }
        }
    }
    found
}

/// Number and last cell of each promise.
fn promises(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let number = cells[0].trim_start_matches(|c: char| c.is_ascii_uppercase());
        if line.starts_with("| ") && cells.len() == 3 && number.parse::<u32>().is_ok() {
            found.push((cells[0].to_owned(), cells[2].to_owned()));
        }
    }
    found
}

#[test]
fn every_promise_names_tests_that_exist() {
    let tests = all_tests();
    assert!(tests.len() > 200, "only {} tests were found", tests.len());
    let mut wrong = Vec::new();
    for file in ["SPECIFICATION.md", "ARCHITECTURE.md", FAILURES] {
        let names = named(&page(file));
        assert!(names.len() > 5, "{file} names {names:?} only");
        for (line, name) in names.into_iter().filter(|(_, name)| !tests.contains(name)) {
            wrong.push(format!("{file}:{line}: there is no test {}::{}", name.0, name.1));
        }
    }
    let promises = promises(&page("SPECIFICATION.md"));
    assert!(promises.len() > 40, "{promises:?}");
    let mut seen = BTreeSet::new();
    for (number, by) in promises {
        if named(&by).is_empty() && !by.starts_with("no test yet") {
            wrong.push(format!("SPECIFICATION.md: {number} names no test and does not say `no test yet`"));
        }
        if !seen.insert(number.clone()) {
            wrong.push(format!("SPECIFICATION.md: {number} is there twice"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// First and last cell of each row of a table of two columns, but of its head.
fn cases(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let [case, by] = cells[..]
            && case != "Case"
        {
            found.push((case.to_owned(), by.to_owned()));
        }
    }
    found
}

#[test]
fn every_failure_case_names_a_test() {
    let cases = cases(&page(FAILURES));
    assert!(cases.len() > 35, "{cases:?}");
    let mut seen = BTreeSet::new();
    for (case, by) in cases {
        assert!(!named(&by).is_empty() || by.starts_with("no test yet"), "{case} names no test");
        assert!(seen.insert(case.clone()), "{case} is there twice");
    }
}

#[test]
fn a_test_is_what_is_marked_as_one() {
    let source = "#[test]\n#[ignore]\nfn a() {}\nfn b() {}\n  #[tokio::test(flavor = \"x\")]\n  async fn c() {\n";
    assert_eq!(tests_of(source), ["a", "c"]);
    let text = "`a::b`, `::` and `engine::reconcile::reconcile(&View)`, `Kind::validate`\n| A1 | x | `c-d::e_f` |";
    let names: Vec<Name> = named(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, [("a".into(), "b".into()), ("c-d".into(), "e_f".into())]);
    assert_eq!(promises(text), [("A1".to_owned(), "`c-d::e_f`".to_owned())]);
}
