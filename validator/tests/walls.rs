//! `walls/*.md`: verdicts of Terraform that other parsers miss.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end at once, and says what was skipped")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use sampan_validator::parse::parse;

/// What `terraform fmt` says of a text; nothing where it is not installed.
fn terraform(text: &str) -> Option<bool> {
    let mut command = Command::new("terraform");
    command.args(["fmt", "-"]).env("CHECKPOINT_DISABLE", "1").env_remove("TF_CLI_ARGS_fmt");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Some(child.wait().unwrap().success())
}

#[test]
fn every_wall_has_the_verdict_of_terraform() {
    let mut count = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("walls")).unwrap() {
        let page = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for block in page.split("```").skip(1).step_by(2) {
            let (head, text) = block.split_once('\n').unwrap();
            let (verdict, name) = head.split_once(' ').unwrap();
            // A backslash at the end of a block takes the newline away.
            let text = text.strip_suffix("\\\n").unwrap_or(text);
            let accepts = verdict == "accepts";
            let (_, diagnostics) = parse(text.as_bytes());
            assert_eq!(diagnostics.is_empty(), accepts, "{name}: {diagnostics:?}");
            match terraform(text) {
                Some(theirs) => assert_eq!(theirs, accepts, "{name}: Terraform has another verdict"),
                None => println!("not compared: there is no terraform"),
            }
            count += 1;
        }
    }
    assert!(count >= 25, "{count} walls");
}
