//! Images that only who logs in may have, through the real terraform, containerd and registry.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::Path;
use std::time::Duration;

use sampan_testacc::{Dev, Registry, push_hello, require, wait_for};
use serde_json::{Value, json};

/// bcrypt of `PASSWORD`.
const HTPASSWD: &str = "team:$2b$05$abcdefghijklmnopqrstuudrZ3v15j.z7FKnijXcMU3/7Dd8mXWRC\n";
const PASSWORD: &str = "pass-of-the-team";

const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}
variable "image" { type = string }
variable "registry" { type = string }
variable "password" {
  type      = string
  sensitive = true
  ephemeral = true
}
variable "attempt" { type = number }
resource "sampan_namespace" "team" {
  name = "team"
}
resource "sampan_secret" "registry" {
  namespace  = sampan_namespace.team.name
  name       = "registry"
  wo_version = var.attempt
  data_wo    = { ".dockerconfigjson" = jsonencode({ auths = { (var.registry) = { username = "team", password = var.password } } }) }
}
resource "sampan_application" "app" {
  namespace         = sampan_namespace.team.name
  name              = "app"
  image_pull_secret = SECRET
  resources         = { cpu = "100m", memory = "64Mi" }
  container         = { image = var.image }
  network           = { ports = { http = { container_port = 8080, protocol = "HTTP" } } }
  update_strategy   = { progress_deadline_seconds = 10 }
}
resource "sampan_route" "app" {
  namespace  = sampan_namespace.team.name
  name       = "app"
  visibility = "public"
  hostnames  = ["team.test"]
  rules      = [{ name = "all", backends = [{ application = sampan_application.app.name, port = "http" }] }]
}
"#;

/// Files below a folder that hold the password.
fn holders(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let bytes = std::fs::read(&path).unwrap_or_default();
                if bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()) {
                    found.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
    }
    found
}

#[test]
fn a_private_image_runs_for_who_has_a_login_and_for_nobody_else() {
    if !require() {
        return;
    }
    let open = Registry::start();
    for version in ["1", "2"] {
        push_hello(&open.address, version, &[("VERSION", version)]);
    }
    let registry = open.locked(HTPASSWD);
    let image = |version: &str| format!("image={}/demo/hello:{version}", registry.address);
    let dev = Dev::start();
    let terraform = dev.terraform();
    let write = |secret: &str| terraform.write("main.tf", &MAIN.trim_start().replace("SECRET", secret));
    let (host, right) = (format!("registry={}", registry.address), format!("password={PASSWORD}"));
    let run = |verb: &str, image: &str, password: &str, attempt: &str, exit: i32| {
        let mut args = vec![verb, "-no-color", "-input=false"];
        if verb == "apply" {
            args.push("-auto-approve");
        }
        let vars = [image, &host, password, attempt].map(|var| format!("-var={var}"));
        args.extend(vars.iter().map(String::as_str));
        // Terraform breaks lines.
        terraform.expect(&args, exit).text().replace(['\n', '│'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
    };

    // Each attempt says what is missing.
    write("null");
    let refused = run("apply", &image("1"), "password=wrong-password", "attempt=1", 1);
    assert!(refused.contains("if it is private, name a secret with a login for"), "{refused}");
    write("sampan_secret.registry.name");
    let refused = run("apply", &image("1"), "password=wrong-password", "attempt=1", 1);
    assert!(refused.contains("the login of \"team\" in image_pull_secret may not pull it"), "{refused}");
    run("apply", &image("1"), &right, "attempt=2", 0);
    assert_eq!(dev.get("team.test", "/").unwrap().json()["version"], "1");
    let before = dev.instances("team", "app");
    // In place, with the same login.
    run("apply", &image("2"), &right, "attempt=2", 0);
    assert_eq!(dev.get("team.test", "/").unwrap().json()["version"], "2");
    let after = dev.instances("team", "app");
    assert_eq!(after[0]["sandbox_id"], before[0]["sandbox_id"]);
    assert!(run("plan", &image("2"), &right, "attempt=2", 0).contains("No changes."));

    // On the node it is; somebody else may not have it all the same.
    let shown = dev.api("GET", "/v1/namespaces/team/applications/app/revisions", &Value::Null).json();
    let digest = shown["items"][0]["image_digest"].as_str().unwrap().to_owned();
    let created = dev.api_with("PUT", "/v1/namespaces/other", &[("if-none-match", "*")], &json!({}));
    assert_eq!(created.status, 201, "{}", created.text());
    for policy in ["IfNotPresent", "Never"] {
        let thief = json!({
            "resources": { "cpu": "100m", "memory": "64Mi" },
            "container": {
                "image": format!("{}/demo/hello@{digest}", registry.address), "image_pull_policy": policy,
            },
            "update_strategy": { "progress_deadline_seconds": 10 },
        });
        let path = format!("/v1/namespaces/other/applications/thief-{}", policy.to_lowercase());
        let answer = dev.api_with("PUT", &path, &[("if-none-match", "*")], &thief).json();
        let id = answer["operation"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let operation = wait_for("the end of the deploy", Duration::from_mins(1), || {
            let operation = dev.api("GET", &format!("/v1/operations/{id}"), &Value::Null).json();
            if operation["finished_at"] == 0 { Err(operation.to_string()) } else { Ok(operation) }
        });
        assert_eq!(
            (&operation["phase"], &operation["reason"]),
            (&json!("Failed"), &json!("ImageDenied")),
            "{policy}: {operation}"
        );
    }
    // The store has to know it; nobody else does.
    assert!(!terraform.state().contains(PASSWORD));
    assert!(!dev.output().contains(PASSWORD));
    let mut held = holders(&dev.data_dir);
    held.retain(|name| !name.starts_with("sampan.db"));
    assert_eq!(held, Vec::<String>::new());
    let vars = [image("2"), host.clone(), right.clone(), "attempt=2".to_owned()];
    terraform.destroy(&vars.iter().map(String::as_str).collect::<Vec<_>>());
}
