//! `sampan lint --policy`: from the command line and from the settings.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::path::Path;

use common::{run, sampan, text};
use serde_json::Value;

const MAIN: &str = r#"
resource "sampan_scaling_rule" "web" {
  namespace    = "shop"
  application  = "web"
  name         = "load"
  min_replicas = 2
  max_replicas = 60
  metrics      = { requests = { type = "qps", target = 50 } }
}
"#;

fn policy(most: u32, more: &str) -> String {
    format!(
        "policy \"cap\" {{\n  resource  = \"sampan_scaling_rule\"\n  deny_when = r.max_replicas > {most}\n  \
         message   = \"${{r.name}}: at most {most} instances\"\n{more}}}\n"
    )
}

fn folder(settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("main.tf", MAIN);
    write(".sampanlint.hcl", settings);
    for (name, text) in [("team", policy(50, "")), ("platform", policy(10, "  enforcement = \"mandatory\"\n"))] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        write(&format!("{name}/size.policy.hcl"), &text);
    }
    folder
}

/// Exit code, stdout, stderr.
fn lint(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = sampan(&["lint", "--today", "2027-01-15"]);
    let output = run(command.args(arguments).current_dir(folder));
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn policies_of_the_settings_count_and_those_of_the_command_line_before_them() {
    let folder = folder("policies = [\"team\"]\n");
    let (code, out, _) = lint(folder.path(), &["--format", "compact"]);
    assert!(code == 1 && out.contains("main.tf:7:18: error[cap] load: at most 50 instances"), "{code}: {out}");
    let (code, out, _) = lint(folder.path(), &["--format", "compact", "--policy", "platform"]);
    assert!(code == 1 && out.contains("at most 10 instances") && !out.contains("at most 50"), "{code}: {out}");
    assert_eq!(lint(folder.path(), &["--ignore", "cap"]).0, 0);
    assert_eq!(lint(folder.path(), &["--select", "cap"]).0, 1);
}

#[test]
fn every_form_of_a_report_has_its_findings() {
    let folder = folder("policies = [\"team/size.policy.hcl\"]\n");
    for form in ["human", "compact", "json", "sarif", "junit", "github", "gitlab", "checkstyle"] {
        let (code, out, _) = lint(folder.path(), &["--format", form]);
        assert!(code == 1 && out.contains("cap") && out.contains("load: at most 50 instances"), "{form}: {out}");
    }
    let (_, out, _) = lint(folder.path(), &["--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    let found = &report["findings"][0];
    assert_eq!((&found["rule"], &found["path"], &found["line"]), (&"cap".into(), &"max_replicas".into(), &7.into()));
}

#[test]
fn a_policy_that_cannot_be_is_wrong_usage() {
    let folder = folder("");
    let wrong = policy(1, "").replace("r.max_replicas", "r.max_replica");
    std::fs::write(folder.path().join("team/wrong.policy.hcl"), wrong.replace("\"cap\"", "\"other\"")).unwrap();
    let (code, _, error) = lint(folder.path(), &["--policy", "team"]);
    let says =
        "wrong.policy.hcl:3: deny_when of policy \"other\": sampan_scaling_rule has no max_replica; did you mean";
    assert!(code == 3 && error.contains(says), "{code}: {error}");
    let (code, _, error) = lint(folder.path(), &["--policy", "absent"]);
    assert!(code == 3 && error.contains("policies absent: No such file"), "{code}: {error}");
    assert_eq!(lint(folder.path(), &["--ignore", "nothing"]).0, 3);
}
