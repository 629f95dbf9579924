//! What was applied is what is read: plan, refresh, import and data sources; and a destroy leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeSet;
use std::time::Duration;

use sampan_schema::KINDS;
use sampan_testacc::{Dev, Registry, Terraform, push_hello, require, wait_for};
use serde_json::{Map, Value};

/// Every noun twice: with as much as it can say, and with as little as it must.
const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}
variable "image" { type = string }

resource "sampan_namespace" "full" {
  name            = "full"
  description     = "Everything there is: \"quotes\", ${"$"}{braces}, ünïcode."
  labels          = { team = "a", "example.com/empty" = "" }
  isolation_class = "runc"
}
resource "sampan_namespace" "plain" {
  name = "plain"
}

resource "sampan_config_map" "full" {
  namespace   = sampan_namespace.full.name
  name        = "settings"
  description = "Settings."
  labels      = { team = "a" }
  data        = { GREETING = "hello", EMPTY = "", "file.txt" = "two\nlines\n" }
}
resource "sampan_config_map" "plain" {
  namespace = sampan_namespace.plain.name
  name      = "plain"
}

resource "sampan_secret" "full" {
  namespace   = sampan_namespace.full.name
  name        = "keys"
  description = "Keys."
  labels      = { team = "a" }
  data_wo     = { API_KEY = "round-trip-value", OTHER = "" }
  wo_version  = 7
}
resource "sampan_secret" "logins" {
  namespace  = sampan_namespace.full.name
  name       = "logins"
  data_wo    = { ".dockerconfigjson" = jsonencode({ auths = { "registry.example.com" = { username = "u", password = "p" } } }) }
  wo_version = 1
}
resource "sampan_secret" "plain" {
  namespace  = sampan_namespace.plain.name
  name       = "plain"
  data_wo    = {}
  wo_version = 1
}

resource "sampan_gray_policy" "full" {
  namespace   = sampan_namespace.full.name
  name        = "careful"
  description = "Step by step."
  labels      = { team = "a" }
  strategy    = "canary"
  capacity    = "extra"
  steps = [
    {
      replicas = "1"
      matches = [{
        path         = { type = "Exact", value = "/env" }
        method       = "GET"
        headers      = [{ name = "x-user", type = "Mod", values = ["10", "3"] }]
        query_params = [{ name = "beta", value = "yes" }]
        cookies      = [{ name = "team", type = "In", values = ["b", "a"] }]
        source_cidrs = ["192.0.2.0/24", "10.0.0.0/8"]
      }]
      pause    = { manual = true }
      analysis = []
    },
    { replicas = "50%", weight_percent = 12.25, pause = { duration_seconds = 1 }, analysis = ["slow", "errors"] },
  ]
  allow_large_first_step    = true
  tag                       = "canary"
  fallback                  = "reject"
  sticky                    = { key = "header", name = "x-user" }
  on_failure                = "rollback"
  on_new_release            = "reject"
  promotion_timeout_seconds = 3600
  failure_threshold         = "20%"
  rollback_window_revisions = 5
  analysis = {
    errors = { type = "error_rate", max_percent = 5, max_delta_percent = 0.25, min_samples = 10 }
    slow   = { type = "response_time", max_p95_ms = 500, max_p95_ratio = 1.5, interval_seconds = 30 }
    alive  = { type = "restart_count", max = 0, failure_limit = 1 }
    burn = {
      type            = "prometheus"
      url             = "https://metrics.example.com/prefix"
      query           = "sum(rate(errors{revision=\"{{revision}}\"}[1m]))"
      min             = 0
      max             = 0.25
      timeout_seconds = 5
    }
    gate = { type = "webhook", url = "https://gate.example.com/", auth_secret = sampan_secret.full.name }
  }
}
resource "sampan_gray_policy" "plain" {
  namespace = sampan_namespace.plain.name
  name      = "plain"
  steps     = [{ weight_percent = 5 }]
}

resource "sampan_application" "full" {
  namespace       = sampan_namespace.full.name
  name            = "hello"
  description     = "Says everything."
  labels          = { team = "a" }
  replicas        = 2
  isolation_class = "runc"
  gray_policy     = sampan_gray_policy.full.name
  image_pull_secret = sampan_secret.logins.name
  resources       = { cpu = "0.2", memory = "65536Ki" }
  container = {
    image             = var.image
    image_pull_policy = "Always"
    command           = ["/bin/hello"]
    args              = []
    working_dir       = "/bin"
    env               = { VERSION = "1", EMPTY = "" }
    env_refs = {
      FROM_MAP    = { config_map = { name = sampan_config_map.full.name, key = "GREETING" } }
      FROM_SECRET = { secret = { name = sampan_secret.full.name, key = "API_KEY", optional = true } }
      NAME        = { field = "instance.name" }
    }
    env_from = [
      { config_map = "absent", optional = true },
      { secret = sampan_secret.full.name, prefix = "S_" },
    ]
    restart_on_config_change = true
    probes = {
      startup = { tcp_socket = { port = "http" }, period_seconds = 1, failure_threshold = 60 }
      readiness = {
        initial_delay_seconds = 0
        period_seconds        = 2
        timeout_seconds       = 2
        success_threshold     = 1
        failure_threshold     = 5
        http_get = {
          path          = "/healthz"
          port          = "8080"
          host          = "health.test"
          headers       = { x-probe = "yes" }
          expect_status = [200, 204]
        }
      }
      liveness = { http_get = { port = "http" }, period_seconds = 30 }
    }
  }
  network = {
    ports = {
      http = { container_port = 8080, protocol = "HTTP" }
      raw  = { container_port = 9000 }
    }
  }
  update_strategy = {
    type                      = "InPlaceIfPossible"
    max_unavailable           = "50%"
    max_surge                 = "1"
    min_ready_seconds         = 0
    progress_deadline_seconds = 120
  }
  lifecycle_hooks = {
    termination_grace_period_seconds = 5
    offline                          = { drain_timeout_seconds = 1 }
  }
  rollout  = { wait_for = "completed", on_failure = "rollback", on_create_failure = "warn" }
}
resource "sampan_application" "plain" {
  namespace = sampan_namespace.plain.name
  name      = "plain"
  resources = { cpu = "100m", memory = "64Mi" }
  container = { image = var.image }
}

resource "sampan_environment_schedule" "full" {
  namespace            = sampan_namespace.full.name
  name                 = "nights"
  description          = "Nobody works at night."
  labels               = { team = "a" }
  selector             = { applications = [sampan_application.full.name] }
  stop                 = "0 20 * * 1-5"
  start                = "0 8 * * 1-5"
  time_zone            = "Asia/Shanghai"
  begin_date           = "2026-01-01"
  end_date             = "2036-12-31"
  holidays             = ["2026-12-26", "2026-12-25"]
  start_order          = [[sampan_application.full.name]]
  wave_timeout_seconds = 30
  enabled              = false
}
resource "sampan_environment_schedule" "plain" {
  namespace = sampan_namespace.plain.name
  name      = "plain"
  selector  = { match_labels = { of = "nobody" } }
  stop      = "0 20 * * *"
  start     = "0 8 * * *"
}

resource "sampan_route" "full" {
  namespace   = sampan_namespace.full.name
  name        = "hello"
  description = "Leads to hello."
  labels      = { team = "a" }
  visibility  = "public"
  hostnames   = ["z.full.test", "*.full.test", "a.full.test"]
  rules = [
    {
      name    = "exact"
      matches = [{ path = { type = "Exact", value = "/env" } }, { path = { value = "/slow" } }]
      backends = [
        { application = sampan_application.full.name, port = "http", weight = 3 },
        { application = sampan_application.full.name, port = "8080", weight = 0 },
      ]
    },
    { name = "rest", backends = [{ application = sampan_application.full.name, port = "http" }] },
  ]
}
resource "sampan_route" "plain" {
  namespace = sampan_namespace.full.name
  name      = "plain"
  hostnames = ["plain.test"]
  rules     = [{ name = "all", backends = [{ application = sampan_application.full.name, port = "http" }] }]
}
"#;

/// Address and id of every resource.
const IDS: [(&str, &str); 15] = [
    ("sampan_namespace.full", "full"),
    ("sampan_namespace.plain", "plain"),
    ("sampan_config_map.full", "full/settings"),
    ("sampan_config_map.plain", "plain/plain"),
    ("sampan_secret.full", "full/keys"),
    ("sampan_secret.logins", "full/logins"),
    ("sampan_secret.plain", "plain/plain"),
    ("sampan_gray_policy.full", "full/careful"),
    ("sampan_gray_policy.plain", "plain/plain"),
    ("sampan_application.full", "full/hello"),
    ("sampan_application.plain", "plain/plain"),
    ("sampan_environment_schedule.full", "full/nights"),
    ("sampan_environment_schedule.plain", "plain/plain"),
    ("sampan_route.full", "full/hello"),
    ("sampan_route.plain", "full/plain"),
];

/// Everything that runs leaves traces in, each of which must be gone afterwards.
fn traces(dev: &Dev) -> Vec<String> {
    sampan_node::leftovers(&dev.data_dir).into_iter().chain(dev.in_containerd()).collect()
}

fn resources(terraform: &Terraform, mode: &str) -> Vec<Value> {
    let shown: Value = serde_json::from_str(&terraform.expect(&["show", "-json"], 0).stdout).unwrap();
    let all = shown["values"]["root_module"]["resources"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|resource| resource["mode"] == mode).collect()
}

/// The configuration with a data source beside every resource.
fn data_sources() -> String {
    let mut text = MAIN.to_owned();
    for (address, id) in IDS {
        let (kind, label) = address.split_once('.').unwrap();
        let (namespace, name) = id.split_once('/').map_or(("", id), |(ns, name)| (ns, name));
        let namespace = if namespace.is_empty() { String::new() } else { format!("namespace = \"{namespace}\"\n") };
        text.push_str(&format!(
            "data \"{kind}\" \"{label}\" {{\n{namespace}name = \"{name}\"\ndepends_on = [{address}]\n}}\n"
        ));
    }
    text
}

/// A data source has every value of its resource, and says it in the server's spelling.
fn data_sources_read_the_same(terraform: &Terraform) {
    let (managed, data) = (resources(terraform, "managed"), resources(terraform, "data"));
    assert_eq!((managed.len(), data.len()), (IDS.len(), IDS.len()));
    for resource in managed {
        let what = format!("{} {}", resource["type"], resource["name"]);
        let same = |d: &&Value| d["type"] == resource["type"] && d["name"] == resource["name"];
        let (ours, theirs) = (&resource["values"], &data.iter().find(same).unwrap()["values"]);
        assert!(!ours["id"].is_null(), "{what}: id is null");
        assert_eq!(ours["id"], theirs["id"], "{what}: id");
        for key in ["uid", "create_time", "generation", "update_time"] {
            assert!(!theirs[key].is_null() && ours.get(key).is_none(), "{what}: {key} is of the data source alone");
        }
        for (key, value) in ours.get("status").and_then(Value::as_object).into_iter().flatten() {
            assert_eq!(*value, theirs["status"][key], "{what}: status.{key}");
        }
        let kind = KINDS.iter().find(|kind| resource["type"] == format!("sampan_{}", kind.name)).unwrap();
        let spec = |of: &Value| {
            let known = kind.spec_schema()["properties"].as_object().unwrap();
            let members = of.as_object().unwrap().iter().filter(|(key, _)| known.contains_key(*key));
            kind.normalise(&Value::Object(members.map(|(k, v)| (k.clone(), v.clone())).collect::<Map<_, _>>()))
        };
        assert_eq!(spec(ours), spec(theirs), "{what}");
        assert!(!theirs.to_string().contains("round-trip-value") && theirs.get("data_wo").is_none(), "{what}");
    }
}

#[test]
fn every_noun_is_read_as_it_was_applied_and_leaves_nothing_behind() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = format!("image={}", push_hello(&registry.address, "1", &[]));
    let vars = [image.as_str()];
    let dev = Dev::start();
    assert_eq!(traces(&dev), Vec::<String>::new(), "before anything runs");
    let terraform = dev.terraform();
    terraform.write("main.tf", MAIN);
    terraform.apply(&vars);
    assert_eq!(terraform.plan_is_empty(&vars), Ok(()));
    assert_eq!(terraform.refresh_is_empty(&vars), Ok(()));
    terraform.write("main.tf", &data_sources());
    terraform.apply(&vars);
    assert_eq!(terraform.plan_is_empty(&vars), Ok(()));
    data_sources_read_the_same(&terraform);

    // Import, by command and by block, into workspaces that know nothing. What is write-only stays at the server: its
    // values are not compared, and not sent again while wo_version is the server's.
    let by_command = dev.terraform();
    by_command.write("main.tf", MAIN);
    for (address, id) in IDS {
        by_command.expect(&["import", "-var", &image, address, id], 0);
    }
    let by_block = dev.terraform();
    let blocks = IDS.map(|(to, id)| format!("import {{\n  to = {to}\n  id = \"{id}\"\n}}\n"));
    by_block.write("main.tf", &format!("{MAIN}{}", blocks.concat()));
    let imported = by_block.apply(&vars).text();
    assert!(imported.contains("15 imported, 0 added, 0 changed, 0 destroyed"), "{imported}");
    for imported in [&by_command, &by_block] {
        assert_eq!(imported.plan_is_empty(&vars), Ok(()));
        // `terraform import` leaves the edges between resources out of the state; the first apply puts them there.
        let applied = imported.apply(&vars).text();
        assert!(applied.contains("0 added, 0 changed, 0 destroyed"), "{applied}");
        assert_eq!(imported.refresh_is_empty(&vars), Ok(()));
        assert_eq!(resources(imported, "managed").len(), IDS.len());
        assert!(!imported.state().contains("round-trip-value"));
    }
    // None of this touched what runs or what the server knows.
    assert_eq!(terraform.plan_is_empty(&vars), Ok(()));
    assert_eq!(terraform.refresh_is_empty(&vars), Ok(()));

    // The list of leftovers sees every kind of trace while something runs, so that its silence afterwards means much.
    let running = traces(&dev);
    let kinds: BTreeSet<&str> =
        running.iter().filter_map(|trace| trace.split_once(": ")).map(|(kind, _)| kind).collect();
    for kind in [
        "shim process",
        "process",
        "cgroup",
        "mount",
        "address lease",
        "CNI result",
        "interface",
        "runc state",
        "shim socket",
        "log",
        "container",
        "snapshot",
    ] {
        assert!(kinds.contains(kind), "no {kind} is seen while containers run: {kinds:?}");
    }
    assert!(
        running.iter().any(|t| t.starts_with("mount: ") && t.contains("/netns/")),
        "network namespaces: {running:#?}"
    );

    terraform.destroy(&vars);
    wait_for("a clean machine", Duration::from_secs(20), || {
        let left = traces(&dev);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
}
