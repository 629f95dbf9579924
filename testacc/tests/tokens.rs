//! Ephemeral tokens with the real Terraform: into another provider configuration and into a write-only argument, and
//! into no file and no log.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::Path;

use sampan_testacc::{Dev, Terraform, require};
use serde_json::Value;

const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}

ephemeral "sampan_api_token" "reader" {
  name        = "reader"
  role        = "read_only"
  ttl_seconds = 120
}
provider "sampan" {
  alias     = "reader"
  token     = ephemeral.sampan_api_token.reader.token
  namespace = "tokens"
}

ephemeral "sampan_api_token" "robot" {
  name = "robot"
  role = "admin"
}
resource "sampan_namespace" "it" {
  name = "tokens"
}
resource "sampan_secret" "robot" {
  namespace  = sampan_namespace.it.name
  name       = "robot"
  data_wo    = { TOKEN = ephemeral.sampan_api_token.robot.token }
  wo_version = 1
}
data "sampan_secret" "seen" {
  provider   = sampan.reader
  name       = "robot"
  depends_on = [sampan_secret.robot]
}
output "keys" {
  value = data.sampan_secret.seen.status.keys
}
"#;

/// A write through the provider that may only read.
const FORBIDDEN: &str = r#"
resource "sampan_config_map" "forbidden" {
  provider   = sampan.reader
  name       = "forbidden"
  data       = { A = "1" }
  depends_on = [sampan_secret.robot]
}
"#;

/// A token as the server makes it: `sampan_` and 64 digits.
fn token_in(bytes: &[u8]) -> Option<String> {
    let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let found = bytes.windows(71).find(|w| w.starts_with(b"sampan_") && w[7..].iter().all(digit))?;
    Some(String::from_utf8_lossy(found).into_owned())
}

/// Runs with the most verbose log and looks through what it says.
fn silent(terraform: &Terraform, args: &[&str], exit: i32) -> String {
    let output = terraform.command(args).env("TF_LOG", "trace").output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(exit), "terraform {args:?}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(text.contains("[TRACE]") && text.contains("OpenEphemeralResource"), "there is no log to look through");
    assert_eq!(token_in(text.as_bytes()), None, "terraform {args:?} shows a token");
    text
}

fn no_file_holds_a_token(folder: &Path) -> usize {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            seen += no_file_holds_a_token(&entry.path());
        } else {
            seen += 1;
            assert_eq!(token_in(&std::fs::read(entry.path()).unwrap()), None, "{}", entry.path().display());
        }
    }
    seen
}

/// Names of the living tokens that end by themselves, sorted.
fn living(dev: &Dev) -> Vec<String> {
    let all = dev.api("GET", "/v1/tokens", &Value::Null).json();
    let all = all["items"].as_array().unwrap().clone();
    assert!(all.len() >= 2, "those of the files are always there");
    let made = all.iter().filter(|token| token["expire_time"] != "");
    let mut names: Vec<String> = made.map(|token| token["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_token_lives_as_long_as_the_run_and_is_in_no_state_plan_or_log() {
    if !require() {
        return;
    }
    assert!(token_in(format!("x sampan_{} y", "0a".repeat(32)).as_bytes()).is_some(), "tokens are recognised");
    let dev = Dev::start();
    let terraform = dev.terraform();
    terraform.write("main.tf", MAIN);
    silent(&terraform, &["plan", "-out=plan.bin"], 0);
    assert_eq!(living(&dev), Vec::<String>::new(), "the plan's tokens ended with it");
    terraform.expect(&["show", "-json", "plan.bin"], 0);
    silent(&terraform, &["apply", "-auto-approve"], 0);
    assert_eq!(terraform.output("keys"), serde_json::json!(["TOKEN"]), "read with the reader's token");
    assert_eq!(living(&dev), Vec::<String>::new());
    assert_eq!(terraform.plan_is_empty(&[]), Ok(()));
    let shown = terraform.expect(&["show", "-json"], 0).text();
    assert_eq!(token_in(shown.as_bytes()), None);
    assert!(shown.contains("sampan_secret"), "{shown}");
    assert!(no_file_holds_a_token(terraform.path()) >= 4, "state, backup, plan and configuration");

    terraform.write("main.tf", &format!("{MAIN}{FORBIDDEN}"));
    let refused = silent(&terraform, &["apply", "-auto-approve"], 1);
    assert!(refused.contains("FORBIDDEN"), "a reader's token writes nothing");
    // Terraform 1.11 does not close what an apply that fails has opened. Their own end takes care of these.
    let called = |rpc: &str| {
        let wanted = format!("tf_rpc={rpc}EphemeralResource");
        refused.lines().filter(|line| line.contains(": received:") && line.contains(&wanted)).count()
    };
    assert!(called("Open") >= 2, "the names of calls in the log are others");
    assert_eq!(living(&dev).len(), called("Open") - called("Close"));
    terraform.write("main.tf", MAIN);
    terraform.destroy(&[]);
}
