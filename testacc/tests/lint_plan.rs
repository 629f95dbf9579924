//! `sampan lint --plan` on a plan that the real Terraform made with the real provider.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::process::Command;

use sampan_testacc::{Dev, dev, require};
use serde_json::Value;

/// Added to the quickstart: what provider and server accept, and rules warn of.
const MORE: &str = r#"
variable "hidden" {
  type      = string
  sensitive = true
  default   = "hush-hush"
}

resource "terraform_data" "later" {}

resource "sampan_config_map" "more" {
  for_each  = toset(["a", "b"])
  namespace = sampan_namespace.quickstart.name
  name      = each.key
  data = {
    API_TOKEN = each.key == "a" ? var.hidden : terraform_data.later.id
  }
}
"#;

fn lint(folder: &std::path::Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(dev::bin_dir().join("sampan"));
    let output = command.arg("lint").args(args).current_dir(folder).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_plan_of_terraform_is_linted_like_its_configuration() {
    if !require() {
        return;
    }
    let dev = Dev::start();
    let terraform = dev.terraform();
    terraform.copy("examples/quickstart");
    terraform.write("more.tf", MORE);
    let image = "image=registry.example.com/demo/hello:latest";
    let plan = terraform.plan(&[image]);
    terraform.write("plan.json", &plan.to_string());
    let (code, stdout) = lint(terraform.path(), &["--plan", "plan.json", "--format", "json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 1, "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    let found: Vec<(&str, &str)> = findings
        .iter()
        .filter(|f| f["undetermined"] == false)
        .map(|f| (f["rule"].as_str().unwrap(), f["address"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [("SMP301", "sampan_application.hello")], "{report:#}");
    // Known after the apply, and what Terraform does not write into a plan at all.
    let waits = |rule: &str, address: &str, needs: &str| {
        findings.iter().any(|f| {
            f["undetermined"] == true
                && f["rule"] == rule
                && f["address"] == address
                && f["message"].as_str().unwrap().contains(needs)
        })
    };
    assert!(waits("SMP401", "sampan_config_map.more[\"b\"]", "needs"), "{report:#}");
    assert!(waits("SMP401", "sampan_secret.credentials", "not in a plan"), "{report:#}");
    assert!(!stdout.contains("hush-hush"), "{stdout}");
    // The configuration gives the same finding, with its line.
    let (_, stdout) = lint(terraform.path(), &["--var", image, "--format", "compact"]);
    assert!(stdout.contains("SMP301"), "{stdout}");
    // The file that Terraform keeps itself is told from the JSON.
    let (code, stdout) = lint(terraform.path(), &["--plan", "plan.bin", "--format", "compact"]);
    assert!(code == 2 && stdout.contains("terraform show -json"), "{stdout}");
}
