//! The evaluator against the real `terraform console`: the same value, or unknown, and never another one.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use sampan_validator::eval::budget::{Budget, Limits};
use sampan_validator::eval::disk::Disk;
use sampan_validator::eval::expr::{Expressions, Rendering, Variables};
use sampan_validator::eval::functions::Env;
use sampan_validator::eval::graph::with_stack;
use sampan_validator::eval::value::Value;
use sampan_validator::parse::parse_expression;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::generator::{Kind, Random, expression};

/// What stands for an error on both sides.
const FAILED: &str = "E!";
/// Expressions in one run of terraform.
const BATCH: usize = 200;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console")
}

fn terraform() -> Option<String> {
    let name = std::env::var("TF_CLI_PATH").unwrap_or_else(|_| "terraform".into());
    let found = Command::new(&name).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|s| s.success()) {
        return Some(name);
    }
    assert_ne!(std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref(), Ok("1"), "{name} is required and cannot be run");
    eprintln!("skipped: {name} cannot be run, so there is nothing to compare with");
    None
}

/// The expression as it is compared: its JSON, or the sign of an error.
fn probe(expression: &str) -> String {
    format!("try(nonsensitive(jsonencode({expression})), \"{FAILED}\")")
}

/// What terraform makes of each probe. A batch that terraform refuses as a whole is halved.
fn by_terraform(terraform: &str, expressions: &[String]) -> Vec<Option<String>> {
    let probes: Vec<String> = expressions.iter().map(|e| probe(e)).collect();
    let line = format!("jsonencode([{}])\n", probes.join(", "));
    let mut child = Command::new(terraform)
        .args(["console", "-no-color"])
        .current_dir(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Written from a thread of its own: the line may be longer than a pipe.
    let writer = std::thread::spawn(move || stdin.write_all(line.as_bytes()).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = text.lines().rev().find_map(|l| serde_json::from_str::<String>(l).ok());
    if let Some(answers) = answer.and_then(|a| serde_json::from_str::<Vec<String>>(&a).ok()) {
        assert_eq!(answers.len(), expressions.len());
        return answers.into_iter().map(Some).collect();
    }
    if expressions.len() == 1 {
        eprintln!(
            "terraform refuses {}: {}",
            expressions[0],
            String::from_utf8_lossy(&output.stderr).lines().take(8).collect::<Vec<_>>().join(" ")
        );
        return vec![None];
    }
    let (left, right) = expressions.split_at(expressions.len() / 2);
    let mut all = by_terraform(terraform, left);
    all.extend(by_terraform(terraform, right));
    all
}

/// What the evaluator makes of the probe.
fn by_evaluator(expression: &str) -> Value {
    let text = probe(expression);
    let (ast, id, diagnostics) = parse_expression(text.as_bytes());
    let Some(id) = id else { panic!("{text} does not parse: {diagnostics:?}") };
    let files = Disk::new(&folder(), &folder(), 1 << 20).unwrap();
    let budget = Budget::new(Limits::default());
    let names = BTreeMap::new();
    let expressions = Expressions {
        ast: &ast,
        file: 0,
        names: &Variables(&names),
        env: Env { files: &files, max_bytes: 1 << 24 },
        budget: &budget,
        short_circuit: false,
        rendering: Rendering::No,
    };
    expressions.evaluate(id).unwrap()
}

/// How many agreed, how many are known to terraform only; fails on any that differ.
fn compare(expressions: &[String]) -> Option<(usize, Vec<String>)> {
    let terraform = terraform()?;
    let mut gaps = Vec::new();
    let mut agreed = 0;
    let mut wrong = Vec::new();
    for batch in expressions.chunks(BATCH) {
        for (expression, theirs) in batch.iter().zip(by_terraform(&terraform, batch)) {
            let Some(theirs) = theirs else { continue };
            let ours = by_evaluator(expression);
            match ours.as_str() {
                Some(text) if text == theirs => agreed += 1,
                Some(text) => wrong.push(format!("{expression}\n  terraform: {theirs}\n  here:      {text}")),
                None => gaps.push(format!("{expression}  ({:?})", ours.cause())),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), expressions.len(), wrong.join("\n"));
    Some((agreed, gaps))
}

#[test]
fn known_values_are_terraforms_for_expressions_of_every_function() {
    let text = std::fs::read_to_string(folder().join("expressions.txt")).unwrap();
    let expressions: Vec<String> =
        text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(Into::into).collect();
    let Some((agreed, gaps)) = with_stack(|| compare(&expressions)).unwrap() else { return };
    eprintln!("{agreed} agree, {} are unknown here:\n{}", gaps.len(), gaps.join("\n"));
    assert!(gaps.len() * 20 <= expressions.len(), "too many are unknown: {}", gaps.len());
}

#[test]
fn known_values_are_terraforms_for_2400_generated_expressions() {
    let seed = std::env::var("SAMPAN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_251);
    let mut random = Random::new(seed);
    let expressions: Vec<String> = (0..2_400).map(|_| expression(&mut random, Kind::Any, 3)).collect();
    let Some((agreed, gaps)) = with_stack(|| compare(&expressions)).unwrap() else { return };
    eprintln!("seed {seed}: {agreed} agree, {} are unknown here", gaps.len());
    for gap in gaps.iter().take(20) {
        eprintln!("{gap}");
    }
    assert!(gaps.len() * 20 <= expressions.len(), "too many are unknown: {}", gaps.len());
}
