//! A full link: front asks middle, middle asks back. Front and back have gray revisions on one lane, middle has none.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use sampan_testacc::{Dev, Registry, Terraform, http, push_hello, require, wait_for};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(1);
const HOST: &str = "shop.test";
const UNMARKED: &[(&str, &str)] = &[];
const MARKED: &[(&str, &str)] = &[("x-user", "tester")];

const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}
variable "images" { type = map(string) }
locals {
  applications = {
    front  = { next = "http://middle.shop.internal", gray_policy = sampan_gray_policy.testers.name }
    middle = { next = "http://back.shop.internal", gray_policy = null }
    back   = { next = null, gray_policy = sampan_gray_policy.testers.name }
  }
}
resource "sampan_namespace" "shop" {
  name = "shop"
}
resource "sampan_gray_policy" "testers" {
  namespace = sampan_namespace.shop.name
  name      = "testers"
  tag       = "testers"
  steps = [{
    replicas = "50%"
    matches  = [{ headers = [{ name = "x-user", value = "tester" }] }]
    pause    = { manual = true }
  }]
}
resource "sampan_application" "all" {
  for_each        = local.applications
  namespace       = sampan_namespace.shop.name
  name            = each.key
  isolation_class = "runc"
  replicas        = 2
  gray_policy     = each.value.gray_policy
  resources       = { cpu = "100m", memory = "64Mi" }
  container = {
    image  = var.images[each.key]
    env    = each.value.next == null ? {} : { NEXT = each.value.next }
    probes = { readiness = { http_get = { path = "/healthz", port = "http" }, period_seconds = 1 } }
  }
  network = { ports = { http = { container_port = 8080, protocol = "HTTP" } } }
}
resource "sampan_route" "shop" {
  namespace  = sampan_namespace.shop.name
  name       = "shop"
  visibility = "public"
  hostnames  = ["shop.test"]
  rules      = [{ name = "all", backends = [{ application = sampan_application.all["front"].name, port = "http" }] }]
}
"#;

fn write_images(terraform: &Terraform, front: &str, middle: &str, back: &str) {
    let images = json!({ "images": { "front": front, "middle": middle, "back": back } });
    terraform.write("images.auto.tfvars.json", &images.to_string());
}

/// Version and lane of each application that a request visited, first the one that was asked.
fn visited(chain: &Value) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut hop = chain;
    while hop.is_object() {
        let version = hop["version"].as_str().unwrap_or_else(|| panic!("{chain}"));
        found.push((version.to_owned(), hop["lane"].as_str().map(str::to_owned)));
        hop = &hop["next"];
    }
    found
}

/// One request to the front, from outside.
fn ask(dev: &Dev, headers: &[(&str, &str)]) -> Result<Value, String> {
    let headers = [&[("host", HOST)], headers].concat();
    let answer = http::request(dev.gateway, "GET", "/chain", &headers, &[])?;
    if answer.status == 200 { Ok(answer.json()) } else { Err(format!("{} {}", answer.status, answer.text())) }
}

/// Every one of so many requests goes this way.
fn all_visit(dev: &Dev, requests: usize, headers: &[(&str, &str)], versions: [&str; 3], lane: Option<&str>) {
    let wanted: Vec<_> = versions.map(|version| (version.to_owned(), lane.map(str::to_owned))).to_vec();
    for number in 1..=requests {
        let chain = ask(dev, headers).unwrap_or_else(|error| panic!("request {number} with {headers:?}: {error}"));
        assert_eq!(visited(&chain), wanted, "request {number} with {headers:?}");
    }
}

fn phase(dev: &Dev, application: &str) -> Value {
    dev.api("GET", &format!("/v1/namespaces/shop/applications/{application}/rollout"), &Value::Null).json()
}

fn reaches(dev: &Dev, application: &str, wanted: &str) {
    wait_for(&format!("{application} {wanted}"), DEADLINE, || {
        let now = phase(dev, application);
        if now["phase"] == wanted { Ok(()) } else { Err(now.to_string()) }
    });
}

#[test]
fn a_marked_request_stays_on_gray_across_a_gap_and_nothing_from_outside_gets_there() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let stable = push_hello(&registry.address, "stable", &[("VERSION", "stable")]);
    let gray = push_hello(&registry.address, "gray", &[("VERSION", "gray")]);
    let dev = Dev::start();
    let terraform = dev.terraform();
    terraform.write("main.tf", MAIN);
    write_images(&terraform, &stable, &stable, &stable);
    terraform.apply(&[]);
    wait_for("a whole chain", DEADLINE, || ask(&dev, UNMARKED));
    all_visit(&dev, 20, UNMARKED, ["stable"; 3], None);
    all_visit(&dev, 20, MARKED, ["stable"; 3], None);

    write_images(&terraform, &gray, &stable, &gray);
    let run = terraform.apply(&[]);
    for application in ["front", "back"] {
        let command = format!("sampan rollout promote shop/{application}");
        assert!(run.text().contains(&command), "no warning names {command}: {}", run.text());
        reaches(&dev, application, "Paused");
    }
    all_visit(&dev, 50, MARKED, ["gray", "stable", "gray"], Some("testers"));
    all_visit(&dev, 1000, UNMARKED, ["stable"; 3], None);
    forged_lanes_lead_nowhere(&dev);
    what_is_not_the_lane_passes(&dev);
    outside_of_a_namespace_no_lane_counts(&dev);
    a_lane_that_rejects_does_not_cross_the_gap(&dev, &terraform);

    for application in ["front", "back"] {
        let output = dev.sampan(&["rollout", "promote", &format!("shop/{application}")]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        reaches(&dev, application, "Succeeded");
    }
    all_visit(&dev, 20, UNMARKED, ["gray", "stable", "gray"], None);
    all_visit(&dev, 20, MARKED, ["gray", "stable", "gray"], None);
    assert_eq!(terraform.plan_is_empty(&[]), Ok(()));
    terraform.destroy(&[]);
}

/// What only the gateway may set is removed from what comes from outside, however it is written.
fn forged_lanes_lead_nowhere(dev: &Dev) {
    for forged in [
        &[("x-sampan-lane", "testers")][..],
        &[("X-SAMPAN-LANE", "testers"), ("X-Sampan-Lane", "testers")],
        &[("baggage", "sampan.lane=testers")],
        &[("x-sampan-lane", "testers"), ("baggage", "a=1, sampan.lane = testers;p")],
        &[("connection", "x-sampan-lane"), ("x-sampan-lane", "testers")],
    ] {
        all_visit(dev, 20, forged, ["stable"; 3], None);
    }
    // A marked request gets the lane that its mark leads to, whatever it claims.
    all_visit(dev, 20, &[MARKED, &[("x-sampan-lane", "other")]].concat(), ["gray", "stable", "gray"], Some("testers"));
}

/// Other members of baggage belong to the callers.
fn what_is_not_the_lane_passes(dev: &Dev) {
    let seen = |more: &[(&str, &str)]| {
        let headers = [&[("host", HOST), ("baggage", "a=1,sampan.lane=testers,b=2")], more].concat();
        http::request(dev.gateway, "GET", "/headers", &headers, &[]).unwrap().json()
    };
    let plain = seen(UNMARKED);
    assert_eq!((&plain["baggage"], &plain["x-sampan-lane"]), (&json!(["a=1,b=2"]), &Value::Null), "{plain}");
    let marked = seen(MARKED);
    assert_eq!(marked["x-sampan-lane"], json!(["testers"]), "{marked}");
    assert_eq!(marked["baggage"], json!(["sampan.lane=testers,a=1,b=2"]), "{marked}");
}

/// With `fallback = "reject"` no marked request goes through middle, which has no gray revision; all others do.
fn a_lane_that_rejects_does_not_cross_the_gap(dev: &Dev, terraform: &Terraform) {
    let tag = "  tag       = \"testers\"\n";
    let rejecting = MAIN.replace(tag, &format!("{tag}  fallback  = \"reject\"\n"));
    assert_ne!(rejecting, MAIN);
    terraform.write("main.tf", &rejecting);
    terraform.apply(&[]);
    wait_for("a rejection", DEADLINE, || match ask(dev, MARKED) {
        Err(told) if told.contains("503") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    all_visit(dev, 100, UNMARKED, ["stable"; 3], None);
    terraform.write("main.tf", MAIN);
    terraform.apply(&[]);
    wait_for("the way through the gap", DEADLINE, || ask(dev, MARKED));
}

/// The internal listener believes instances of the namespace and nobody else: not this machine itself.
fn outside_of_a_namespace_no_lane_counts(dev: &Dev) {
    let instance = dev.instances("shop", "back").first().map(|instance| instance["ip"].clone()).unwrap();
    let instance: IpAddr = instance.as_str().unwrap().parse().unwrap();
    // The address of this machine on the instances' bridge, where the listener is.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((instance, 9)).unwrap();
    let listener = SocketAddr::new(socket.local_addr().unwrap().ip(), 80);
    let headers = [("host", "back.shop.internal"), ("x-sampan-lane", "testers")];
    for _ in 0..20 {
        let chain = http::request(listener, "GET", "/chain", &headers, &[]).unwrap().json();
        assert_eq!(visited(&chain), [("stable".to_owned(), None)], "{chain}");
    }
}
