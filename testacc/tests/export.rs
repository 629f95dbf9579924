//! `sampan export`: what it writes is taken over by Terraform without a change.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::Path;
use std::process::Command;

use sampan_schema::KINDS;
use sampan_testacc::dev::bin_dir;
use sampan_testacc::{Dev, Registry, Terraform, print, push_hello, repository, require};
use serde_json::Value;

/// The configuration of the round trip: every noun with as much as it can say, and with as little as it must.
const ROUND_TRIP: &str = include_str!("round_trip.rs");

/// The noun that the round trip has not.
const SCALING_RULE: &str = r#"
resource "sampan_scaling_rule" "full" {
  namespace    = sampan_namespace.full.name
  application  = sampan_application.full.name
  name         = "by-load"
  min_replicas = 2
  max_replicas = 3
  metrics = {
    requests = { type = "qps", target = 20.5, window_seconds = 10 }
    number = {
      type        = "prometheus"
      target      = 100
      query       = "sum(rate(x{a=\"b\"}[1m]))"
      endpoint    = "https://metrics.example.com"
      auth_secret = sampan_secret.full.name
    }
  }
  schedules = [
    { name = "sale", start = "0 20 * * *", end = "0 23 * * *", time_zone = "Asia/Shanghai", min_replicas = 2, max_replicas = 3 },
  ]
  behavior       = { scale_up = { max_step = "1", disabled = true }, scale_down = {} }
  fallback       = { failure_threshold = 3, replicas = 2 }
  prediction     = { mode = "observe" }
  during_rollout = "freeze"
}
"#;

/// Texts that are no templates and no code, in keys and values, and labels beside those of the provider block.
const TEXTS: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {
  default_labels = { team = "a", "stage" = "test" }
}
resource "sampan_namespace" "it" {
  name        = "texts"
  description = "$${not} $$$${this} %%{or} \"that\" \\ \t \u200b 世界 \u007f"
  labels      = { "for" = "x", "日本" = "1", "a b" = "2", stage = "live" }
}
resource "sampan_config_map" "it" {
  namespace = sampan_namespace.it.name
  name      = "a-map"
  data = {
    "nginx.conf" = "server {\n\tlisten $${port};\n  # %%{if}\n\n  return 200 \"\\n\";\n}\n"
    "EOT.txt"    = "a\nEOT\n  EOF \nb\n"
    "crlf.txt"   = "a\r\nb\r\n"
    "end"        = "no\nend"
    "empty"      = ""
    "long"       = "${join("", [for i in range(200) : "word "])}"
    "END.txt"    = "EOT\nEOF\nEND\n"
  }
}
"#;

fn release(folder: &Path) {
    let mut command = Command::new(bin_dir().join("xtask"));
    command.arg("dist").arg("--out").arg(folder);
    let output = command.arg("--provider").arg(bin_dir().join("terraform-provider-sampan")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Exit code, stdout and stderr.
fn sampan(dev: &Dev, args: &[&str]) -> (i32, String, String) {
    let output = dev.sampan(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Addresses of the resources in the state.
fn managed(terraform: &Terraform) -> Vec<Value> {
    let shown: Value = serde_json::from_str(&terraform.expect(&["show", "-json"], 0).stdout).unwrap();
    let all = shown["values"]["root_module"]["resources"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|resource| resource["mode"] == "managed").collect()
}

/// Generations of everything in a namespace: they rise with each change of a spec.
fn generations(dev: &Dev, namespace: &str) -> Vec<(String, Value, Value)> {
    let mut all = Vec::new();
    let one = |object: &Value| (object["id"].to_string(), object["uid"].clone(), object["generation"].clone());
    all.push(one(&dev.api("GET", &format!("/v1/namespaces/{namespace}"), &Value::Null).json()));
    for kind in KINDS.iter().filter(|kind| kind.namespaced) {
        let path = format!("/v1/namespaces/{namespace}/{}?limit=500", kind.collection);
        let answer = dev.api("GET", &path, &Value::Null).json();
        all.extend(answer["items"].as_array().unwrap().iter().map(one));
    }
    all
}

/// Exports a namespace into a folder, and lets Terraform, as a stranger, take it over. Gives the workspace.
fn taken_over(dev: &Dev, mirror: &Path, namespace: &str) -> Terraform {
    let before = generations(dev, namespace);
    let terraform = dev.terraform().from_mirror(mirror);
    let folder = terraform.path().to_str().unwrap();
    let (code, told, stderr) = sampan(dev, &["export", namespace, "--out", folder]);
    assert_eq!(code, 0, "{stderr}");
    assert!(told.contains(" of namespace ") && told.contains("main.tf"), "{told}");
    let (code, written, stderr) = sampan(dev, &["export", namespace]);
    assert_eq!(code, 0, "{stderr}");

    terraform.expect(&["init"], 0);
    terraform.expect(&["fmt", "-check", "-diff"], 0);
    terraform.expect(&["validate"], 0);
    let (code, told, stderr) = sampan(dev, &["lint", folder, "--fail-on", "error"]);
    assert_eq!(code, 0, "{told}{stderr}");

    let applied = terraform.apply(&[]).text();
    let wanted = format!("{} imported, 0 added, 0 changed, 0 destroyed", before.len());
    assert!(applied.contains(&wanted), "not {wanted}: {applied}\n{written}");
    assert_eq!(terraform.plan_is_empty(&[]), Ok(()), "{written}");
    assert_eq!(terraform.refresh_is_empty(&[]), Ok(()), "{written}");
    std::fs::remove_file(terraform.path().join("imports.tf")).unwrap();
    assert_eq!(terraform.plan_is_empty(&[]), Ok(()), "without the import blocks:\n{written}");
    assert_eq!(managed(&terraform).len(), before.len());
    assert_eq!(generations(dev, namespace), before, "the server has seen a write:\n{written}");
    print(&written);
    terraform
}

/// The release of the provider that was built, so that `init` installs it as for anybody.
struct Place {
    release: tempfile::TempDir,
    registry: Registry,
    dev: Dev,
}

impl Place {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        release(folder.path());
        Self { release: folder, registry: Registry::start(), dev: Dev::start() }
    }

    fn taken_over(&self, namespace: &str) -> Terraform {
        taken_over(&self.dev, &self.release.path().join("filesystem-mirror"), namespace)
    }
}

#[test]
fn every_attribute_of_every_noun_is_taken_over_without_a_change() {
    if !require() {
        return;
    }
    let place = Place::start();
    let image = format!("image={}", push_hello(&place.registry.address, "1", &[]));
    let vars = [image.as_str()];
    let owner = place.dev.terraform();
    let (_, round_trip) = ROUND_TRIP.split_once("const MAIN: &str = r#\"").unwrap();
    owner.write("main.tf", round_trip.split_once("\"#;").unwrap().0);
    owner.write("rule.tf", SCALING_RULE);
    owner.apply(&vars);

    let full = place.taken_over("full");
    let kinds: Vec<Value> = managed(&full).iter().map(|resource| resource["type"].clone()).collect();
    for kind in KINDS {
        assert!(kinds.contains(&format!("sampan_{}", kind.name).into()), "no {} in {kinds:?}", kind.name);
    }
    // Not the values of secrets, which stay at the server.
    let secret = std::fs::read_to_string(full.path().join("variables.tf")).unwrap();
    assert!(secret.contains("Its keys: API_KEY, OTHER."), "{secret}");
    assert!(!full.state().contains("round-trip-value"));
    // What it refers to is where the schema says so.
    let application = std::fs::read_to_string(full.path().join("applications.tf")).unwrap();
    for reference in
        ["sampan_namespace.full", "sampan_gray_policy.careful", "sampan_secret.keys", "sampan_config_map.settings"]
    {
        assert!(application.contains(&format!("= {reference}.name")), "no {reference} in {application}");
    }
    // They are sent when somebody says so.
    let secrets = std::fs::read_to_string(full.path().join("secrets.tf")).unwrap();
    full.write("secrets.tf", &secrets.replace("wo_version  = 7", "wo_version  = 8"));
    let applied = full.apply(&[r#"secret_keys_data={"NEW":"another-value"}"#]).text();
    assert!(applied.contains("0 added, 1 changed, 0 destroyed"), "{applied}");
    let keys = place.dev.api("GET", "/v1/namespaces/full/secrets/keys", &Value::Null).json()["status"]["keys"].clone();
    assert_eq!(keys, serde_json::json!(["NEW"]));
    full.write("secrets.tf", &secrets);
    full.apply(&[]);
    place.taken_over("plain");
    assert_eq!(owner.plan_is_empty(&vars), Ok(()), "its owner sees nothing of it");

    // From now on it can be changed there.
    let text = std::fs::read_to_string(full.path().join("config_maps.tf")).unwrap();
    full.write("config_maps.tf", &text.replace("\"hello\"", "\"changed\""));
    let applied = full.apply(&[]).text();
    assert!(applied.contains("0 added, 1 changed, 0 destroyed"), "{applied}");
    owner.destroy(&vars);
}

#[test]
fn texts_and_labels_are_taken_over_as_they_are() {
    if !require() {
        return;
    }
    let place = Place::start();
    let owner = place.dev.terraform();
    owner.write("main.tf", TEXTS);
    owner.apply(&[]);
    let terraform = place.taken_over("texts");
    // The server does not know which labels come from a provider block: all are the resource's now.
    let maps = std::fs::read_to_string(terraform.path().join("config_maps.tf")).unwrap();
    assert!(maps.contains("labels    = { stage = \"test\", team = \"a\" }"), "{maps}");
    assert!(maps.contains("= <<EOT\nserver {\n\tlisten $${port};\n  # %%{if}\n"), "{maps}");
    assert_eq!(owner.plan_is_empty(&[]), Ok(()));
    owner.destroy(&[]);
}

#[test]
fn every_example_is_exported_and_taken_over_without_a_change() {
    if !require() {
        return;
    }
    let place = Place::start();
    let image = push_hello(&place.registry.address, "1", &[]);
    let one = format!("image={image}");
    let three = format!("images={{front=\"{image}\",middle=\"{image}\",back=\"{image}\"}}");
    let mut examples: Vec<String> = std::fs::read_dir(repository().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("main.tf").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    examples.sort();
    assert!(examples.len() >= 6, "{examples:?}");
    for example in examples {
        let (namespace, vars): (&str, &[&str]) = match example.as_str() {
            "gray-lane" => ("gray-lane", &[&three]),
            // Whatever the time is.
            "environment-schedule" => ("test", &[&one, "working_hours=false"]),
            other => (other, &[&one]),
        };
        let owner = place.dev.terraform();
        owner.copy(&format!("examples/{example}"));
        owner.apply(vars);
        place.taken_over(namespace);
        assert_eq!(owner.plan_is_empty(vars), Ok(()), "{example}");
        owner.destroy(vars);
    }
}
