//! What is written wrongly about gray releases is said at the plan, with the field, before anything is touched.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use sampan_testacc::terraform::Run;
use sampan_testacc::{Dev, Registry, Terraform, push_hello, require};
use serde_json::Value;

const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}
variable "image" { default = "registry.example.com/team/app:1" }
resource "sampan_namespace" "shop" {
  name = "shop"
}
resource "sampan_gray_policy" "careful" {
  namespace = sampan_namespace.shop.name
  name      = "careful"
  steps     = [{ weight_percent = 10 }, { weight_percent = 20 }]
}
resource "sampan_application" "web" {
  namespace       = sampan_namespace.shop.name
  name            = "web"
  isolation_class = "runc"
  replicas        = 2
  gray_policy     = sampan_gray_policy.careful.name
  resources       = { cpu = "100m", memory = "64Mi" }
  container       = { image = var.image }
  update_strategy = { type = "InPlaceOnly" }
}
"#;
const STEPS: &str = "[{ weight_percent = 10 }, { weight_percent = 20 }]";
const REFERENCE: &str = "sampan_gray_policy.careful.name";

/// The configuration, with parts of it replaced.
fn configured(terraform: &Terraform, changes: &[(&str, &str)]) {
    let mut text = MAIN.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in the configuration");
        text = text.replace(from, to);
    }
    terraform.write("main.tf", &text);
}

/// Errors of a run with `-json`: the line of the configuration, then summary and detail.
fn errors(run: &Run) -> Vec<String> {
    let lines = run.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let diagnostics = lines.filter(|line| line["type"] == "diagnostic").map(|line| line["diagnostic"].clone());
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
    diagnostics
        .filter(|d| d["severity"] == "error")
        .map(|d| format!("{}: {}: {}", text(&d["snippet"]["code"]), text(&d["summary"]), text(&d["detail"])))
        .collect()
}

/// The run fails, and one of its errors has all these words.
#[track_caller]
fn refuses(terraform: &Terraform, args: &[&str], words: &[&str]) {
    let run = terraform.expect(args, 1);
    let errors = errors(&run);
    let found = errors.iter().any(|error| words.iter().all(|word| error.contains(word)));
    assert!(found, "nothing says {words:?} at once:\n{}", errors.join("\n"));
}

const PLAN: &[&str] = &["plan", "-json"];
const APPLY: &[&str] = &["apply", "-json", "-auto-approve"];

#[test]
fn a_policy_that_makes_no_sense_is_refused_at_the_plan_with_its_field() {
    if !require() {
        return;
    }
    let dev = Dev::start();
    let terraform = dev.terraform();
    for (steps, words) in [
        ("[{ weight_percent = 20 }, { weight_percent = 20 }]", &["steps[1].weight_percent"][..]),
        ("[{ weight_percent = 20 }, { weight_percent = 10 }]", &["steps[1].weight_percent"]),
        (
            r#"[{ replicas = "1", weight_percent = 5, matches = [{ method = "GET" }] }]"#,
            &["steps[0].weight_percent", "matches"],
        ),
        (r#"[{ replicas = "60%" }]"#, &["steps[0].replicas", "allow_large_first_step"]),
        ("[{ weight_percent = 60 }]", &["steps[0].weight_percent", "allow_large_first_step"]),
        (r#"[{ matches = [{ method = "GET" }] }]"#, &["steps[0].replicas"]),
        ("[{ weight_percent = 101 }]", &["steps[0].weight_percent", "100"]),
        ("[{ weight_percent = 5, pause = { manual = true, duration_seconds = 5 } }]", &["steps[0].pause"]),
        (
            r#"[{ replicas = "1", matches = [{ headers = [{ name = "x-sampan-lane", value = "a" }] }] }]"#,
            &["steps[0].matches[0].headers[0].name"],
        ),
        ("[]", &["steps"]),
    ] {
        configured(&terraform, &[(STEPS, steps)]);
        refuses(&terraform, PLAN, words);
    }
    // A large first step is a matter of being asked for.
    configured(&terraform, &[(STEPS, "[{ weight_percent = 60 }]\n  allow_large_first_step = true")]);
    terraform.expect(PLAN, 0);
}

#[test]
fn an_application_and_its_policy_have_to_fit_and_a_policy_in_use_stays() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[]);
    let dev = Dev::start();
    let terraform = dev.terraform();
    terraform.write("image.auto.tfvars", &format!("image = {image:?}\n"));
    configured(&terraform, &[]);
    terraform.apply(&[]);
    let before = dev.instances("shop", "web");

    let single = [("replicas        = 2", "replicas        = 1")];
    configured(&terraform, &single);
    refuses(&terraform, PLAN, &["gray_policy", "one instance cannot be divided", "capacity = extra"]);
    configured(&terraform, &[(REFERENCE, r#""reckless""#)]);
    let absent = r#"gray_policy "reckless" does not exist in namespace "shop""#;
    refuses(&terraform, PLAN, &["gray_policy", absent, "sampan_gray_policy.NAME.name"]);
    // One that the same apply makes is there in time, when it is referred to.
    let other = "resource \"sampan_gray_policy\" \"reckless\" {\n  namespace = sampan_namespace.shop.name\n  \
                 name      = \"reckless\"\n  steps     = [{ weight_percent = 20 }]\n}\n";
    terraform.write("other.tf", other);
    configured(&terraform, &[(REFERENCE, "sampan_gray_policy.reckless.name")]);
    terraform.expect(PLAN, 0);
    terraform.write("other.tf", "");
    configured(&terraform, &[("64Mi", "96Mi")]);
    refuses(&terraform, PLAN, &["resources", "needs new sandboxes", "InPlaceOnly"]);

    let policy = "/v1/namespaces/shop/gray-policies/careful";
    let used = dev.api("GET", policy, &Value::Null).json();
    assert_eq!(used["status"]["used_by"], serde_json::json!(["web"]), "{used}");
    let generation = used["generation"].to_string();
    let answer = dev.api_with("DELETE", policy, &[("if-match", &generation)], &Value::Null);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("IN_USE")), "{}", answer.text());
    assert!(answer.text().contains("application shop/web"), "{}", answer.text());
    the_policy_is_taken_away_and_the_application_still_names_it(&terraform);
    assert_eq!(dev.instances("shop", "web"), before, "none of it touched an instance");

    // With additional instances also a single one can be released in steps, and one apply brings both.
    let extra = (STEPS, "[{ weight_percent = 10 }]\n  capacity = \"extra\"");
    configured(&terraform, &[single[0], extra]);
    terraform.apply(&[]);
    assert_eq!(terraform.plan_is_empty(&[]), Ok(()));
    terraform.destroy(&[]);
    assert_eq!(dev.api("GET", policy, &Value::Null).status, 404);
}

fn the_policy_is_taken_away_and_the_application_still_names_it(terraform: &Terraform) {
    let from = MAIN.find(r#"resource "sampan_gray_policy""#).unwrap();
    let to = MAIN.find(r#"resource "sampan_application""#).unwrap();
    let without = [&MAIN[..from], &MAIN[to..]].concat().replace(REFERENCE, r#""careful""#);
    terraform.write("main.tf", &without);
    refuses(terraform, APPLY, &["application shop/web"]);
}
