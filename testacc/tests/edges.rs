//! The crates of the workspace see each other only as the table says.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeSet;

use sampan_testacc::edges::TABLE;
use serde_json::Value;

fn packages() -> Vec<Value> {
    let output = std::process::Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(sampan_testacc::repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn no_crate_depends_on_one_it_may_not_see() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            wrong.push(format!("{name} is not in the table of testacc/src/edges.rs"));
            continue;
        };
        // Dependencies of every sort: normal, build, dev.
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if ours.contains(to) && to != name && !row.may_use.contains(&to) {
                wrong.push(format!("{name} -> {to} ({})", dependency["kind"].as_str().unwrap_or("normal")));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the table does not have:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_names_no_crate_twice_and_has_no_circle() {
    let mut seen = BTreeSet::new();
    for row in TABLE {
        for to in row.may_use {
            assert!(seen.contains(to), "{} uses {to}, which must come before it in the table", row.name);
        }
        assert!(seen.insert(row.name), "{} is in the table twice", row.name);
    }
}
