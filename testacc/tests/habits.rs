//! What Terraform users do beside plan and apply: write configuration from what is there, rename resources, and run
//! hundreds of them at once.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use sampan_schema::KINDS;
use sampan_testacc::{Dev, Registry, Terraform, push_hello, require};

const HEAD: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}
"#;

/// One object of every noun, in the order in which they depend on each other.
const NOUNS: &str = r#"
variable "image" { type = string }
resource "sampan_namespace" "it" {
  name        = "found"
  description = "Made by somebody else: ${"$"}{not} %%{a} \"template\"."
  labels      = { team = "a" }
}
resource "sampan_config_map" "it" {
  namespace = sampan_namespace.it.name
  name      = "settings"
  data      = { GREETING = "hello", "file.txt" = "two\nlines\n" }
}
resource "sampan_secret" "it" {
  namespace  = sampan_namespace.it.name
  name       = "keys"
  data_wo    = { API_KEY = "value-of-a-secret" }
  wo_version = 4
}
resource "sampan_gray_policy" "it" {
  namespace = sampan_namespace.it.name
  name      = "careful"
  capacity  = "extra"
  steps     = [{ weight_percent = 12.5, pause = { duration_seconds = 1 } }, { weight_percent = 50 }]
}
resource "sampan_application" "it" {
  namespace   = sampan_namespace.it.name
  name        = "hello"
  gray_policy = sampan_gray_policy.it.name
  resources   = { cpu = "0.1", memory = "64Mi" }
  container = {
    image    = var.image
    env      = { B = "2", A = "1" }
    env_from = [{ secret = sampan_secret.it.name }]
    probes   = { readiness = { http_get = { path = "/healthz", port = "http" } } }
  }
  network         = { ports = { http = { container_port = 8080, protocol = "HTTP" } } }
  lifecycle_hooks = { termination_grace_period_seconds = 2, offline = { drain_timeout_seconds = 1 } }
}
resource "sampan_scaling_rule" "it" {
  namespace    = sampan_namespace.it.name
  application  = sampan_application.it.name
  name         = "by-requests"
  min_replicas = 1
  max_replicas = 4
  metrics      = { requests = { type = "qps", target = 20, window_seconds = 10 } }
}
resource "sampan_environment_schedule" "it" {
  namespace  = sampan_namespace.it.name
  name       = "nights"
  depends_on = [sampan_application.it]
  selector   = { match_labels = { of = "nobody" } }
  stop       = "0 20 * * 1-5"
  start      = "0 8 * * 1-5"
  holidays   = ["2036-12-26", "2036-12-25"]
}
resource "sampan_route" "it" {
  namespace = sampan_namespace.it.name
  name      = "hello"
  hostnames = ["b.found.test", "a.found.test"]
  rules     = [{ name = "all", backends = [{ application = sampan_application.it.name, port = "http" }] }]
}
"#;

const IDS: [(&str, &str); 8] = [
    ("namespace", "found"),
    ("config_map", "found/settings"),
    ("secret", "found/keys"),
    ("gray_policy", "found/careful"),
    ("application", "found/hello"),
    ("scaling_rule", "found/by-requests"),
    ("environment_schedule", "found/nights"),
    ("route", "found/hello"),
];

#[test]
fn configuration_that_terraform_writes_for_every_noun_plans_to_nothing() {
    if !require() {
        return;
    }
    let mut covered = IDS.map(|(kind, _)| kind);
    let mut kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    covered.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(covered.as_slice(), kinds, "a noun is missing here");

    let registry = Registry::start();
    let image = format!("image={}", push_hello(&registry.address, "1", &[]));
    let vars = [image.as_str()];
    let dev = Dev::start();
    let owner = dev.terraform();
    owner.write("main.tf", &format!("{HEAD}{NOUNS}"));
    owner.apply(&vars);

    let finder = dev.terraform();
    finder.write("main.tf", HEAD);
    let blocks = IDS.map(|(kind, id)| format!("import {{\n  to = sampan_{kind}.it\n  id = \"{id}\"\n}}\n"));
    finder.write("import.tf", &blocks.concat());
    let planned = finder.expect(&["plan", "-generate-config-out=generated.tf"], 0).text();
    assert!(planned.contains("8 to import, 0 to add, 0 to change, 0 to destroy"), "{planned}");
    let written = std::fs::read_to_string(finder.path().join("generated.tf")).unwrap();
    for (kind, _) in IDS {
        assert!(written.contains(&format!("resource \"sampan_{kind}\" \"it\"")), "{written}");
    }
    assert!(!written.contains("value-of-a-secret"), "{written}");
    let applied = finder.apply(&[]).text();
    assert!(applied.contains("8 imported, 0 added, 0 changed, 0 destroyed"), "{applied}");
    assert_eq!(finder.plan_is_empty(&[]), Ok(()), "{written}");
    assert_eq!(finder.refresh_is_empty(&[]), Ok(()));
    // Its owner sees nothing of it.
    assert_eq!(owner.plan_is_empty(&vars), Ok(()));
    owner.destroy(&vars);
}

#[test]
fn a_resource_that_is_renamed_in_the_configuration_stays_the_same_object() {
    if !require() {
        return;
    }
    let dev = Dev::start();
    let terraform = dev.terraform();
    let namespace = "resource \"sampan_namespace\" \"it\" {\n  name = \"moves\"\n}\n";
    let main = |rest: &str| format!("{HEAD}{namespace}{rest}");
    let map = |label: &str, more: &str, name: &str| {
        format!(
            "resource \"sampan_config_map\" \"{label}\" {{\n{more}  namespace = sampan_namespace.it.name\n  \
             name = {name}\n  data = {{ A = \"1\" }}\n}}\n"
        )
    };
    let uid = || dev.api("GET", "/v1/namespaces/moves/config-maps/one", &serde_json::Value::Null).json()["uid"].clone();
    let moved = |from: &str, to: &str| {
        format!("moved {{\n  from = sampan_config_map.{from}\n  to   = sampan_config_map.{to}\n}}\n")
    };
    terraform.write("main.tf", &main(&map("old", "", "\"one\"")));
    terraform.apply(&[]);
    let before = uid();
    assert!(before.is_string(), "{before}");

    // To another label, into a count, into a for_each: each without a change at the server.
    let steps = [
        (map("new", "", "\"one\""), moved("old", "new")),
        (map("new", "  count = 1\n", "\"one\""), moved("new", "new[0]")),
        (map("each", "  for_each = toset([\"one\"])\n", "each.key"), moved("new[0]", "each[\"one\"]")),
    ];
    for (resource, block) in steps {
        terraform.write("main.tf", &main(&format!("{resource}{block}")));
        let plan = terraform.plan(&[]);
        let change = |c: &&serde_json::Value| c["type"] == "sampan_config_map";
        let change = plan["resource_changes"].as_array().unwrap().iter().find(change).unwrap();
        assert_eq!(change["change"]["actions"], serde_json::json!(["no-op"]), "{change}");
        assert!(change["previous_address"].is_string(), "{change}");
        let applied = terraform.apply(&[]).text();
        assert!(applied.contains("0 added, 0 changed, 0 destroyed"), "{applied}");
        assert_eq!(terraform.plan_is_empty(&[]), Ok(()));
        assert_eq!(uid(), before);
    }
    terraform.destroy(&[]);
}

fn count(dev: &Dev, collection: &str) -> usize {
    let answer = dev.api("GET", &format!("/v1/{collection}?limit=500"), &serde_json::Value::Null).json();
    assert!(answer["next_page_token"].is_null(), "more than a page of {collection}");
    answer["items"].as_array().map_or(0, Vec::len)
}

fn many(terraform: &Terraform, resource: &str, n: usize) {
    let said = terraform.expect(&["apply", "-auto-approve", "-parallelism=50"], 0).text();
    assert!(said.contains(&format!("{n} added, 0 changed, 0 destroyed")), "{resource}: {said}");
    let plan = terraform.expect(&["plan", "-detailed-exitcode", "-parallelism=50"], 0).text();
    assert!(plan.contains("No changes"), "{plan}");
}

#[test]
fn five_hundred_resources_are_made_and_removed_fifty_at_a_time() {
    if !require() {
        return;
    }
    let dev = Dev::start();
    let terraform = dev.terraform();
    let text = "resource \"sampan_namespace\" \"it\" {\n  count = 250\n  name  = \"many-${count.index}\"\n}\n\
                resource \"sampan_config_map\" \"it\" {\n  count     = 250\n  namespace = \"many-0\"\n  \
                name      = \"map-${count.index}\"\n  data      = { INDEX = tostring(count.index) }\n  \
                depends_on = [sampan_namespace.it]\n}\n";
    terraform.write("main.tf", &format!("{HEAD}{text}"));
    many(&terraform, "namespaces and config maps", 500);
    assert_eq!((count(&dev, "namespaces"), count(&dev, "namespaces/many-0/config-maps")), (250, 250));
    let gone = terraform.expect(&["destroy", "-auto-approve", "-parallelism=50"], 0).text();
    assert!(gone.contains("500 destroyed"), "{gone}");
    assert_eq!(count(&dev, "namespaces"), 0);
}

#[test]
fn labels_of_the_provider_block_are_on_every_resource_and_follow_it() {
    if !require() {
        return;
    }
    let dev = Dev::start();
    let terraform = dev.terraform();
    let resources = "resource \"sampan_namespace\" \"it\" {\n  name = \"labelled\"\n}\n\
                     resource \"sampan_config_map\" \"it\" {\n  namespace = sampan_namespace.it.name\n  \
                     name      = \"settings\"\n  labels    = { own = \"1\", stage = \"live\" }\n  \
                     data      = { A = \"1\" }\n}\n";
    let head = |labels: &str| HEAD.replace("provider \"sampan\" {}", &format!("provider \"sampan\" {{\n{labels}}}\n"));
    let labels = |path: &str| {
        let mut found = dev.api("GET", path, &serde_json::Value::Null).json()["labels"].clone();
        if found.is_null() {
            found = serde_json::json!({});
        }
        found
    };
    let steps = [
        ("default_labels = { team = \"a\", stage = \"test\" }\n", "2 added, 0 changed", "a"),
        ("default_labels = { team = \"b\", stage = \"test\" }\n", "0 added, 2 changed", "b"),
        ("", "0 added, 2 changed", ""),
    ];
    for (block, said, team) in steps {
        terraform.write("main.tf", &format!("{}{resources}", head(block)));
        let applied = terraform.apply(&[]).text();
        assert!(applied.contains(&format!("{said}, 0 destroyed")), "{block}: {applied}");
        let mut wanted = serde_json::json!({ "own": "1", "stage": "live" });
        let mut bare = serde_json::json!({});
        if !team.is_empty() {
            (wanted["team"], bare["team"], bare["stage"]) = (team.into(), team.into(), "test".into());
        }
        assert_eq!(labels("/v1/namespaces/labelled/config-maps/settings"), wanted);
        assert_eq!(labels("/v1/namespaces/labelled"), bare);
        assert_eq!(terraform.plan_is_empty(&[]), Ok(()), "{block}");
        assert_eq!(terraform.refresh_is_empty(&[]), Ok(()), "{block}");
    }
    terraform.destroy(&[]);
}
