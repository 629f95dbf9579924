//! `sampan lint`: what it prints, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::path::{Path, PathBuf};

use common::{run, sampan, text};
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Exit code, stdout, stderr.
fn lint(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = sampan(&["lint"]);
    let output = run(command.args(arguments).current_dir(folder).env_remove("TF_VAR_replicas"));
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const BAD: &str = "resource \"sampan_application\" \"api\" {\n  namespace = \"shop\"\n  name      = \"api\"\n  replica   = 2\n  \
                   resources = { cpu = \"1\", memory = \"1Gi\" }\n  container = { image = \"registry.example.com/api:latest\" }\n}\n";

#[test]
fn the_examples_of_this_repository_have_no_findings() {
    let (code, stdout, stderr) = lint(&repository(), &["examples", "--format", "json", "--fail-on", "note"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let found: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().filter(|f| f["undetermined"] == false).collect();
    assert!(code == 0 && found.is_empty(), "{found:#?}\n{stderr}");
    assert!(report["summary"]["resources"].as_u64().unwrap() > 20, "{}", report["summary"]);
}

#[test]
fn json_has_the_members_that_programs_rely_on() {
    let folder = folder(&[("main.tf", BAD)]);
    let (code, stdout, _) = lint(folder.path(), &[".", "--format", "json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let first = &report["findings"][0];
    let want = serde_json::json!({
        "rule": "SMP008", "severity": "error", "file": "main.tf", "line": 4, "column": 3,
        "address": "sampan_application.api", "path": "replica", "undetermined": false,
    });
    for (name, value) in want.as_object().unwrap() {
        assert_eq!(&first[name], value, "{name} of {first}");
    }
    assert!(first["message"].as_str().unwrap().ends_with("did you mean \"replicas\"?"), "{first}");
    for name in ["errors", "warnings", "notes", "undetermined", "files", "resources"] {
        assert!(report["summary"][name].is_u64(), "{name}");
    }
}

#[test]
fn exit_codes_tell_findings_from_input_and_from_usage() {
    let good = folder(&[("main.tf", "resource \"sampan_namespace\" \"a\" {\n  name = \"shop\"\n}\n")]);
    assert_eq!(lint(good.path(), &[]).0, 0);
    let bad = folder(&[("main.tf", BAD)]);
    assert_eq!(lint(bad.path(), &[]).0, 1);
    assert_eq!(lint(bad.path(), &["--fail-on", "never"]).0, 0);
    assert_eq!(lint(bad.path(), &["--select", "SMP302", "--fail-on", "error"]).0, 0);
    let broken = folder(&[("main.tf", BAD), ("b.tf", "a = = 1\n")]);
    assert_eq!(lint(broken.path(), &[]).0, 2);
    for usage in [
        &["no-such-folder"][..],
        &["--format", "xml"],
        &["--format", "json", "--format", "sarif"],
        &["--select", "SMP999"],
        &["--fail-on", "blue"],
        &["--today", "soon"],
        &["--var", "x"],
        &["--var", "nobody=1"],
        &["--colour"],
    ] {
        let (code, _, stderr) = lint(good.path(), usage);
        assert!(code == 3 && !stderr.is_empty(), "{usage:?}: {code} {stderr}");
    }
    let config = folder(&[("main.tf", BAD), (".sampanlint.hcl", "colour = 1\n")]);
    assert_eq!(lint(config.path(), &[]).0, 3);
}

#[test]
fn several_formats_come_from_one_run_and_carry_the_same_findings() {
    let folder = folder(&[("main.tf", BAD)]);
    let formats = ["sarif", "junit", "github", "gitlab", "checkstyle", "compact", "json"];
    let mut arguments = vec!["--format".to_owned(), "human".to_owned()];
    for format in formats {
        arguments.extend(["--format".to_owned(), format!("{format}=out.{format}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, human, stderr) = lint(folder.path(), &arguments);
    assert!(code == 1 && human.contains("--> main.tf:4:3"), "{human}{stderr}");
    for format in formats {
        let report = std::fs::read_to_string(folder.path().join(format!("out.{format}"))).unwrap();
        for id in ["SMP008", "SMP301", "SMP302"] {
            assert!(report.contains(id), "{format} has no {id}");
        }
    }
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(folder.path().join(name)).unwrap()).unwrap()
    };
    let sarif = read("out.sarif");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 4);
    // Lines move, fingerprints stay.
    std::fs::write(folder.path().join("main.tf"), format!("# one\n\n{BAD}")).unwrap();
    lint(folder.path(), &["--format", "sarif=moved.sarif"]);
    let moved = &read("moved.sarif")["runs"][0]["results"][0];
    assert_eq!(result["partialFingerprints"], moved["partialFingerprints"]);
    assert_ne!(result["locations"], moved["locations"]);
}

#[test]
fn a_baseline_silences_what_was_there_and_nothing_else() {
    let folder = folder(&[("main.tf", BAD)]);
    assert_eq!(lint(folder.path(), &["--write-baseline", "base.json"]).0, 0);
    assert_eq!(lint(folder.path(), &["--baseline", "base.json"]).0, 0);
    std::fs::write(folder.path().join("more.tf"), BAD.replace("\"api\"", "\"web\"")).unwrap();
    assert_eq!(lint(folder.path(), &["--baseline", "base.json"]).0, 1);
}

#[test]
fn values_come_from_files_environment_and_command_line_and_the_later_wins() {
    let app = BAD.replace("replica   = 2", "replicas  = var.replicas").replace(":latest", ":1");
    let main = format!("variable \"replicas\" {{\n  type = number\n}}\n{app}");
    let folder = folder(&[("main.tf", &main)]);
    let found = |arguments: &[&str], environment: &str| {
        let mut command = sampan(&["lint", ".", "--format", "compact", "--select", "SMP006"]);
        command.args(arguments).current_dir(folder.path()).env_remove("TF_VAR_replicas");
        if !environment.is_empty() {
            command.env("TF_VAR_replicas", environment);
        }
        text(&run(&mut command).stdout)
    };
    assert!(found(&[], "").contains("1 needs var.replicas"), "{}", found(&[], ""));
    assert!(found(&[], "-1").contains("SMP006") && !found(&[], "1").contains("SMP006"));
    std::fs::write(folder.path().join("terraform.tfvars"), "replicas = -2\n").unwrap();
    assert!(found(&[], "1").contains("is -2"));
    std::fs::write(folder.path().join("a.auto.tfvars.json"), "{\"replicas\": -3}").unwrap();
    assert!(found(&[], "1").contains("is -3"));
    assert!(found(&["--var", "replicas=-4"], "1").contains("is -4"));
}

#[test]
fn modules_overrides_and_hostile_folders_are_read_within_bounds() {
    let bad_app = BAD.replace("  replica   = 2\n", "");
    let child = format!("variable \"tag\" {{\n  type = string\n}}\n{}", bad_app.replace(":latest", ":${var.tag}"));
    let folder = folder(&[
        (
            "main.tf",
            "module \"a\" {\n  source = \"./child\"\n  tag    = \"latest\"\n}\nmodule \"b\" {\n  source = \"./child\"\n  tag    = \"1\"\n}\nmodule \"c\" {\n  source = \"./loop\"\n}\n",
        ),
        ("child/main.tf", &child),
        ("child/override.tf", "resource \"sampan_application\" \"api\" {\n  replicas = -1\n}\n"),
        ("loop/main.tf", "module \"again\" {\n  source = \"../loop\"\n}\n"),
        ("binary.tf", "\u{1}\u{2}\0\u{3}"),
        ("crlf.tf", "\u{feff}locals {\r\n  x = 1\r\n}\r\noutput \"x\" {\r\n  value = local.x\r\n}\r\n"),
    ]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("child/up")).unwrap();
    let large = std::fs::File::create(folder.path().join("large.tf")).unwrap();
    large.set_len(1 << 30).unwrap();
    std::fs::write(folder.path().join("latin.tf"), b"output \"y\" {\n  value = \"\xe9\"\n}\n").unwrap();
    let (code, stdout, _) = lint(folder.path(), &[".", "--format", "compact"]);
    assert_eq!(code, 2, "{stdout}");
    for part in [
        "child/main.tf:8:25: warning[SMP301]",
        "child/override.tf:2:14: error[SMP006]",
        "large.tf:1:1: error[SMP908] the file has 1073741824 bytes",
        "latin.tf:2:12: error[SMP900] these bytes are no UTF-8",
        "loop/main.tf:2:3: error[SMP908] module.again calls itself",
        "binary.tf:1:1: error[SMP900]",
    ] {
        assert!(stdout.contains(part), "{part} is not in\n{stdout}");
    }
    assert!(!stdout.contains("crlf.tf"), "{stdout}");
    assert_eq!(stdout.matches("SMP301").count(), 1, "only module.a has latest\n{stdout}");
}

#[test]
fn each_rule_can_be_listed_and_explained() {
    let list = text(&run(sampan(&["lint"]).args(["rules", "-o", "json"])).stdout);
    let rules: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert!(rules.len() > 70);
    for rule in rules {
        let id = rule["id"].as_str().unwrap();
        assert!(!rule["says"].as_str().unwrap().is_empty(), "{id} says nothing");
    }
    for (id, part) in [("smp301", "floating-image"), ("SMP006", "range")] {
        let output = run(&mut sampan(&["explain", id]));
        assert!(output.status.success() && text(&output.stdout).contains(part), "{id}");
    }
    assert!(!run(&mut sampan(&["explain", "SMP999"])).status.success());
}
