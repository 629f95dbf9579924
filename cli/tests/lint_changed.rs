//! `sampan lint --changed-since`: what is reported, and that everything is read all the same.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{run, sampan, text};

/// Exit code, stdout, stderr.
fn lint(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = sampan(&["lint", "--format", "compact"]);
    let output = run(command.args(arguments).current_dir(folder));
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]);
    let output = run(command.args(arguments).current_dir(folder));
    assert!(output.status.success(), "git {arguments:?}: {}", text(&output.stderr));
}

fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn application(name: &str, image: &str) -> String {
    format!(
        "resource \"sampan_application\" \"{name}\" {{\n  namespace = \"shop\"\n  name = \"{name}\"\n  resources = {{ cpu = \"1\", \
         memory = \"1Gi\" }}\n  container = {{\n    image = {image}\n    probes = {{ readiness = {{ http_get = {{ path = \"/\", \
         port = \"80\" }} }} }}\n  }}\n}}\n"
    )
}

const LATEST: &str = "\"registry.example.com/a:latest\"";

/// Two files with a finding each, and a local value that a third one uses; all of it committed.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "live/a.tf", &application("a", LATEST));
    write(at, "live/b.tf", &application("b", LATEST));
    write(at, "live/c.tf", &application("c", "local.image"));
    write(at, "live/locals.tf", "locals {\n  image = \"registry.example.com/c:1\"\n}\n");
    write(at, "live/d.tf", &format!("{}variable \"d\" {{\n  type = string\n}}\n", application("d", "var.d")));
    git(at, &["init", "-q", "-b", "main"]);
    git(at, &["add", "."]);
    git(at, &["commit", "-q", "-m", "first"]);
    folder
}

#[test]
fn only_what_is_about_changed_files_is_reported() {
    let folder = repository();
    let live = folder.path().join("live");
    assert_eq!(lint(&live, &["--changed-since", "HEAD"]).0, 0, "nothing has changed");
    assert_eq!(lint(&live, &[]).1.matches("SMP301").count(), 2);
    write(&live, "b.tf", &format!("# changed\n{}", application("b", LATEST)));
    write(&live, "new.tf", &application("n", LATEST));
    let (code, stdout, _) = lint(&live, &["--changed-since", "HEAD"]);
    assert!(code == 1 && stdout.contains("b.tf:7:13: warning[SMP301]") && stdout.contains("new.tf:6:13"), "{stdout}");
    assert!(!stdout.contains("a.tf"), "{stdout}");
    // What waits is left out as well: `d` has not changed.
    assert!(!stdout.contains("var.d") && lint(&live, &[]).1.contains("var.d"), "{stdout}");
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "second"]);
    // From outside of the folder, and against an older commit.
    let (code, stdout, _) = lint(folder.path(), &["live", "--changed-since", "HEAD~1"]);
    assert!(code == 1 && stdout.contains("live/b.tf:7:13") && !stdout.contains("live/a.tf"), "{stdout}");
}

#[test]
fn a_value_that_changed_elsewhere_counts_and_what_others_did_since_does_not() {
    let folder = repository();
    let live = folder.path().join("live");
    git(folder.path(), &["checkout", "-q", "-b", "mine"]);
    write(&live, "locals.tf", &format!("locals {{\n  image = {LATEST}\n}}\n"));
    git(folder.path(), &["commit", "-q", "-a", "-m", "mine"]);
    git(folder.path(), &["checkout", "-q", "main"]);
    write(&live, "a.tf", &format!("# theirs\n{}", application("a", LATEST)));
    git(folder.path(), &["commit", "-q", "-a", "-m", "theirs"]);
    git(folder.path(), &["checkout", "-q", "mine"]);
    let (code, stdout, _) = lint(&live, &["--changed-since", "main"]);
    assert!(code == 1 && stdout.contains("c.tf:5:15: warning[SMP301]"), "{stdout}");
    assert!(!stdout.contains("a.tf"), "the branch did not change it\n{stdout}");
}

#[test]
fn input_that_cannot_be_analysed_is_said_wherever_it_is_and_no_repository_is_wrong_usage() {
    let folder = repository();
    let live = folder.path().join("live");
    write(&live, "broken.tf", "a = = 1\n");
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "broken"]);
    let (code, stdout, _) = lint(&live, &["--changed-since", "HEAD"]);
    assert!(code == 2 && stdout.contains("broken.tf:1:5: error[SMP900]"), "{stdout}");
    for (reference, part) in [("no-such-branch", "git diff"), ("--output=x", "name a commit"), ("", "name a commit")] {
        let (code, _, stderr) = lint(&live, &[&format!("--changed-since={reference}")]);
        assert!(code == 3 && stderr.contains(part), "{reference}: {stderr}");
    }
    let outside = tempfile::tempdir().unwrap();
    let mut command = sampan(&["lint", "--changed-since", "HEAD"]);
    let output = run(command.current_dir(outside.path()).env("GIT_CEILING_DIRECTORIES", outside.path()));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn a_report_does_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    for module in 0..20 {
        for file in 0..5 {
            let name = format!("a{file}");
            write(folder.path(), &format!("m{module}/f{file}.tf"), &application(&name, LATEST));
        }
        write(folder.path(), &format!("m{module}/x.tf"), "x = = 1\n");
    }
    let with = |jobs: &str| lint(folder.path(), &["--jobs", jobs, "--format", "json=out.json"]);
    let (code, one, _) = with("1");
    assert!(code == 2 && one.matches("SMP301").count() == 100, "{one}");
    for jobs in ["2", "16"] {
        assert_eq!(with(jobs).1, one, "{jobs}");
    }
    assert_eq!(lint(folder.path(), &["--jobs", "0"]).0, 3);
}
