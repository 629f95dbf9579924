//! `sampan lint --fix` and `--diff`: what they change, and what they leave alone.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::path::Path;

use common::{run, sampan, text};

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
    let mut command = sampan(&["lint", "--today", "2027-01-15"]);
    let output = run(command.args(arguments).current_dir(folder));
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const BEFORE: &str = "\
variable \"x\" {
  default = [1, 2]
}

locals {
  a   = \"${var.x}\" # the first
  b   = \"${ var.x.0 + 1 }\"
  c   = 2 * \"${var.x[0] + 1}\"
  d   = { \"${local.a[0]}\" = \"${ \"${local.b}\" }\" }
  e   = \"${local.c /* why */ }\"
  f   = \"${local.d ==
    local.e}\"
  g   = \"${length(
    var.x
  )}\"
  all = [\"${local.f}\", \"${local.g}\", \"v-${local.e}\"] # sampan:ignore SMP301 reason=\"moved\"
  h   = [[1]].*.0
}

# sampan:ignore SMP302 reason=\"was not ready\" until=2026-01-01
# Keeps this.
output \"all\" {
  value = local.all
}

output \"h\" {
  value = local.h # see above: sampan:ignore SMP301 reason=\"not alone\"
}
";

const AFTER: &str = "\
variable \"x\" {
  default = [1, 2]
}

locals {
  a   = var.x # the first
  b   = var.x[0] + 1
  c   = 2 * (var.x[0] + 1)
  d   = { (local.a[0]) = local.b }
  e   = \"${local.c /* why */ }\"
  f   = \"${local.d ==
    local.e}\"
  g   = length(
    var.x
  )
  all = [local.f, local.g, \"v-${local.e}\"]
  h   = [[1]].*.0
}

# Keeps this.
output \"all\" {
  value = local.all
}

output \"h\" {
  value = local.h # see above: sampan:ignore SMP301 reason=\"not alone\"
}
";

#[test]
fn fixes_keep_format_comments_and_line_ends_and_are_made_once() {
    for line_end in ["\n", "\r\n"] {
        let (before, after) = (BEFORE.replace('\n', line_end), AFTER.replace('\n', line_end));
        let folder = folder(&[("main.tf", &before)]);
        let file = folder.path().join("main.tf");
        let (code, diff, _) = lint(folder.path(), &["--diff"]);
        assert_eq!(code, 1, "{diff}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "a diff changes nothing");
        let (_, stdout, stderr) = lint(folder.path(), &["--fix", "--format", "compact"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), after, "{stdout}");
        assert!(stderr.contains("fixed ") && stderr.contains(" in 1 files"), "{stderr}");
        assert_eq!(stdout.matches("SMP903").count(), 3, "what has no safe fix is still reported\n{stdout}");
        assert_eq!(lint(folder.path(), &["--diff"]), (0, String::new(), String::new()));
        let (_, _, stderr) = lint(folder.path(), &["--fix"]);
        assert!(stderr.is_empty(), "{stderr}");
        // Only the file itself is left in the folder.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_diff_is_what_git_can_apply() {
    let folder = folder(&[("a/main.tf", BEFORE), ("b/main.tf", BEFORE)]);
    let (code, diff, _) = lint(folder.path(), &["a", "b", "--diff"]);
    assert_eq!(code, 1);
    assert!(diff.starts_with("--- a/main.tf\n+++ a/main.tf\n@@ -3,"), "{diff}");
    std::fs::write(folder.path().join("all.diff"), &diff).unwrap();
    let mut git = std::process::Command::new("git");
    let applied = run(git.args(["apply", "-p0", "all.diff"]).current_dir(folder.path()));
    assert!(applied.status.success(), "{}\n{diff}", text(&applied.stderr));
    for name in ["a/main.tf", "b/main.tf"] {
        assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), AFTER);
    }
}

#[test]
fn a_comment_that_may_be_of_use_when_more_is_known_stays() {
    let application = |image: &str| {
        format!(
            "variable \"image\" {{\n  type = string\n}}\nresource \"sampan_application\" \"a\" {{\n  namespace = \"shop\"\n  name = \"a\"\n  \
             resources = {{ cpu = \"1\", memory = \"1Gi\" }}\n  container = {{\n    image = {image} # sampan:ignore SMP301 \
             reason=\"nightly\"\n    probes = {{ readiness = {{ http_get = {{ path = \"/\", port = \"80\" }} }} }}\n  }}\n}}\n"
        )
    };
    let unknown = folder(&[("main.tf", &application("var.image"))]);
    assert_eq!(lint(unknown.path(), &["--diff"]), (0, String::new(), String::new()));
    // With a value it is certain that nothing is silenced.
    let (code, diff, _) = lint(unknown.path(), &["--diff", "--var", "image=registry.example.com/a:1"]);
    assert!(code == 1 && diff.contains("-    image = var.image # sampan:ignore"), "{diff}");
    let broken = folder(&[("main.tf", &application("\"registry.example.com/a:1\"")), ("b.tf", "a = = 1\n")]);
    let (code, diff, _) = lint(broken.path(), &["--diff"]);
    assert_eq!((code, diff.as_str()), (2, ""));
}

#[test]
fn nothing_outside_of_the_named_folders_and_nothing_in_json_is_changed() {
    let child = "variable \"y\" {\n  type = string\n}\noutput \"y\" {\n  value = \"${var.y}\"\n}\n";
    let json = "{\"locals\": {\"z\": \"${1}\"}, \"output\": {\"z\": {\"value\": \"${local.z}\"}}}\n";
    let folder = folder(&[
        ("root/main.tf", "module \"c\" {\n  source = \"../child\"\n  y      = \"a\"\n}\n"),
        ("root/more.tf.json", json),
        ("child/main.tf", child),
    ]);
    let (code, stdout, stderr) = lint(folder.path(), &["root", "--fix", "--format", "compact"]);
    assert!(
        code == 1 && stdout.contains("child/main.tf:5:11: warning[SMP903]") && stderr.is_empty(),
        "{stdout}{stderr}"
    );
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!((read("child/main.tf").as_str(), read("root/more.tf.json").as_str()), (child, json));
    lint(folder.path(), &["root", "child", "--fix"]);
    assert!(read("child/main.tf").contains("value = var.y"));
    assert_eq!(lint(folder.path(), &["--fix", "--plan", "x"]).0, 3);
}
