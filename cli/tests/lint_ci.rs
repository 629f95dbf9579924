//! What `.pre-commit-hooks.yaml` and `action.yml` run is there, and ends as they say.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::{run, sampan, text};
use sampan_validator::eval::budget::{Budget, Limits};
use sampan_validator::eval::expr::{Expressions, Rendering, Variables};
use sampan_validator::eval::functions::{Env, NoFiles};
use sampan_validator::eval::value::Value as Known;
use sampan_validator::parse::parse_expression;
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A YAML file, read by the linter's own `yamldecode`.
fn yaml(name: &str) -> Value {
    let content = std::fs::read_to_string(repository().join(name)).unwrap();
    let content: Vec<&str> = content.lines().filter(|line| !line.starts_with('#')).collect();
    let content = content.join("\n") + "\n";
    let names = BTreeMap::from([(Arc::from("text"), Known::string(content))]);
    let (ast, id, diagnostics) = parse_expression(b"jsonencode(yamldecode(text))");
    assert!(diagnostics.is_empty());
    let (names, budget) = (Variables(&names), Budget::new(Limits::default()));
    let env = Env { files: &NoFiles, max_bytes: 1 << 20 };
    let expressions = Expressions {
        ast: &ast,
        file: 0,
        names: &names,
        env,
        budget: &budget,
        short_circuit: false,
        rendering: Rendering::No,
    };
    serde_json::from_str(expressions.evaluate(id.unwrap()).unwrap().as_str().unwrap()).unwrap()
}

const GOOD: &str = "resource \"sampan_namespace\" \"a\" {\n  name = \"shop\"\n}\n";
const BAD: &str = "resource \"sampan_namespace\" \"a\" {\n  name = \"${\"My_App\"}\"\n}\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// A folder with the program, as a PATH has it.
fn path() -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_sampan")).parent().unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

#[test]
fn the_hooks_of_pre_commit_run_on_the_files_of_a_commit() {
    let hooks = yaml(".pre-commit-hooks.yaml");
    let ids: Vec<&str> = hooks.as_array().unwrap().iter().map(|hook| hook["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["sampan-lint", "sampan-lint-fix"]);
    for hook in hooks.as_array().unwrap() {
        for member in ["id", "name", "entry", "language", "files"] {
            assert!(hook[member].is_string(), "{member} is required: {hook}");
        }
        // In pieces, two runs would change one module at the same time.
        assert_eq!(hook["require_serial"], true);
        let mut entry = hook["entry"].as_str().unwrap().split(' ');
        assert_eq!(entry.next(), Some("sampan"));
        let arguments: Vec<&str> = entry.collect();
        let folder = folder(&[("a/main.tf", GOOD), ("b/main.tf", BAD)]);
        let with = |files: &[&str]| run(sampan(&arguments).args(files).current_dir(folder.path())).status.code();
        assert_eq!(with(&["a/main.tf"]), Some(0), "{hook}");
        assert_eq!(with(&["a/main.tf", "b/main.tf"]), Some(1), "{hook}");
        let left = std::fs::read_to_string(folder.path().join("b/main.tf")).unwrap();
        assert_eq!(left.contains("${"), !arguments.contains(&"--fix"), "{hook}");
    }
}

fn lint_step(folder: &Path, paths: &str, arguments: &str) -> Output {
    let output = folder.join("output.txt");
    let script = repository().join("scripts/action-lint.sh");
    let mut command = Command::new("bash");
    command.arg(script).current_dir(folder).env("PATH", path()).env("PATHS", paths).env("ARGUMENTS", arguments);
    run(command.env("SARIF", "lint.sarif").env("GITHUB_OUTPUT", output))
}

#[test]
fn the_action_marks_lines_writes_sarif_and_passes_the_exit_code_on() {
    for (files, arguments, code) in [
        (&[("a b/main.tf", GOOD)][..], "", 0),
        (&[("main.tf", BAD)], "", 1),
        (&[("main.tf", BAD)], "--fail-on never", 0),
        (&[("main.tf", "a = = 1\n")], "", 2),
        (&[("main.tf", GOOD)], "--no-such-option", 3),
    ] {
        let folder = folder(files);
        let output = lint_step(folder.path(), ".", arguments);
        assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
        let said = std::fs::read_to_string(folder.path().join("output.txt")).unwrap();
        assert_eq!(said, format!("exit-code={code}\n"));
        if code == 3 {
            continue;
        }
        let sarif = std::fs::read(folder.path().join("lint.sarif")).unwrap();
        let sarif: Value = serde_json::from_slice(&sarif).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap().len();
        assert_eq!(text(&output.stdout).matches("::error file=").count() > 0, results > 0);
    }
}

#[test]
fn the_action_is_whole_and_its_steps_exist() {
    let action = yaml("action.yml");
    assert_eq!(action["runs"]["using"], "composite");
    let steps = action["runs"]["steps"].as_array().unwrap();
    for step in steps {
        assert_eq!(step["shell"], "bash", "a step of a composite action needs a shell: {step}");
        let script = step["run"].as_str().unwrap().strip_prefix("${{ github.action_path }}/").unwrap();
        let mode = std::fs::metadata(repository().join(script)).unwrap().permissions().mode();
        assert!(mode & 0o111 == 0o111, "{script} can be run");
        // Inputs come by the environment alone: in a script's text they could be commands.
        for value in step["env"].as_object().unwrap().values() {
            let name = value.as_str().unwrap().strip_prefix("${{ inputs.").unwrap().strip_suffix(" }}").unwrap();
            assert!(action["inputs"][name]["description"].is_string(), "{name} is an input");
        }
    }
    let outputs = action["outputs"].as_object().unwrap();
    assert!(outputs.values().all(|output| output["value"].is_string()));
}

#[test]
fn the_action_installs_nothing_with_another_checksum() {
    let folder = folder(&[("sampan", "#!/bin/sh\necho hello\n")]);
    let archive = folder.path().join("release.tar.gz");
    let mut tar = Command::new("tar");
    assert!(run(tar.arg("-czf").arg(&archive).arg("-C").arg(folder.path()).arg("sampan")).status.success());
    let sum = text(&run(Command::new("sha256sum").arg(&archive)).stdout);
    let sum = sum.split(' ').next().unwrap().to_owned();
    let install = |sha256: &str| {
        let mut command = Command::new("bash");
        command.arg(repository().join("scripts/action-install.sh")).env("VERSION", "1").env("SHA256", sha256);
        command.env("URL", format!("file://{}", archive.display())).env("RUNNER_TEMP", folder.path());
        run(command.env("GITHUB_PATH", folder.path().join("path.txt")))
    };
    for wrong in ["", &"0".repeat(64)] {
        let output = install(wrong);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
        assert!(text(&output.stdout).starts_with("::error::") && !folder.path().join("path.txt").exists());
    }
    let output = install(&sum);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let added = std::fs::read_to_string(folder.path().join("path.txt")).unwrap();
    assert!(Path::new(added.trim()).join("sampan").is_file(), "{added}");
}
