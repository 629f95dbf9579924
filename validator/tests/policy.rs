//! Policies of users: what they see of a resource, what they say, and what cannot be one.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use sampan_validator::lint::{Report, Settings, lint};
use sampan_validator::policy;

/// An application and a rule of it; `MORE` goes into the rule.
const MAIN: &str = r#"
variable "most" {
  type = number
}
variable "key" {
  type      = string
  sensitive = true
  default   = "hush"
}
resource "sampan_application" "web" {
  namespace = "shop"
  name      = "web"
  labels    = { key = var.key }
  resources = { cpu = "500m", memory = "512Mi" }
  container = {
    image  = "registry.example.com/team/web:1"
    probes = { readiness = { http_get = { path = "/healthz", port = "http" } } }
  }
  network = { ports = { http = { container_port = 8080, protocol = "HTTP" } } }
}
resource "sampan_scaling_rule" "web" {
  namespace    = "shop"
  application  = sampan_application.web.name
  name         = "load"
  min_replicas = 2
  max_replicas = MOST
  metrics      = { requests = { type = "qps", target = 50 } }
}
"#;

fn judged(policies: &str, most: &str) -> Report {
    judged_with(policies, &MAIN.replace("MOST", most))
}

fn judged_with(policies: &str, main: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.tf"), main).unwrap();
    let file = folder.path().join("a.policy.hcl");
    std::fs::write(&file, policies).unwrap();
    let mut settings = Settings::new(vec![folder.path().to_path_buf()], "2027-01-15".into());
    settings.policies = policy::read(&[folder.path().to_path_buf()]).unwrap();
    settings.ignore = ["SMP402", "SMP903", "SMP904"].map(str::to_owned).into();
    lint(&settings).unwrap()
}

/// Of the policies alone.
fn said(report: &Report) -> Vec<(String, String, String, u32)> {
    let ours = report.findings.iter().filter(|f| !f.rule.starts_with("SMP"));
    ours.map(|f| (f.severity.word().into(), f.path.clone(), f.message.clone(), report.position(f).1)).collect()
}

fn policy(body: &str) -> String {
    format!("policy \"cap\" {{\n  resource  = \"sampan_scaling_rule\"\n{body}\n}}\n")
}

const CAP: &str = "  deny_when = r.max_replicas > 50\n  message   = \"${r.name}: ${r.max_replicas}, at most 50\"\n";

#[test]
fn a_policy_denies_at_the_argument_that_it_reads() {
    let report = judged(&policy(CAP), "60");
    assert_eq!(said(&report), [("error".into(), "max_replicas".into(), "load: 60, at most 50".into(), 26)]);
    assert!(report.failed && report.exit_code() == 1);
    let report = judged(&policy(CAP), "50");
    assert_eq!((said(&report), report.exit_code()), (vec![], 0));
}

#[test]
fn it_sees_defaults_and_null_at_every_depth() {
    for (resource, deny, denied) in [
        ("application", "r.replicas == 1", true),
        ("application", "r.description == null", true),
        ("application", "r.container.image_pull_policy == \"IfNotPresent\"", true),
        ("application", "r.container.probes.readiness.period_seconds > 9", true),
        ("application", "r.container.probes.readiness.http_get.path != \"/healthz\"", false),
        ("application", "length([for name, port in r.network.ports : name if port.protocol == \"HTTP\"]) == 1", true),
        ("application", "!startswith(r.container.image, \"registry.example.com/\")", false),
        ("scaling_rule", "r.behavior.scale_down.stabilization_window_seconds < 300", false),
        ("scaling_rule", "alltrue([for metric in values(r.metrics) : metric.window_seconds == 60])", true),
        ("scaling_rule", "anytrue([for schedule in r.schedules : schedule.replicas == 0])", false),
    ] {
        let text = format!(
            "policy \"p\" {{\n  resource = \"sampan_{resource}\"\n  deny_when = {deny}\n  message = \"m\"\n}}\n"
        );
        let report = judged(&text, "9");
        assert_eq!(!said(&report).is_empty(), denied, "{deny}: {:?}", said(&report));
    }
}

#[test]
fn what_is_unknown_is_counted_warned_of_or_denied_as_the_policy_says() {
    let of = |more: &str| judged(&policy(&format!("{CAP}{more}")), "var.most");
    let report = of("");
    assert_eq!((said(&report), report.exit_code()), (vec![], 0));
    let waits = report.undetermined.iter().find(|u| u.rule == "cap").unwrap();
    assert_eq!((&*waits.needs, &*waits.path), ("var.most", "max_replicas"));
    let text = "policy cap cannot decide: it waits for var.most".to_owned();
    assert_eq!(said(&of("  on_unknown = \"warn\"")), [("warning".into(), "max_replicas".into(), text.clone(), 26)]);
    assert_eq!(said(&of("  on_unknown = \"fail\"")), [("error".into(), "max_replicas".into(), text, 26)]);
}

#[test]
fn enforcement_says_whether_it_fails_the_run_and_whether_a_comment_takes_it_away() {
    let ignored = MAIN.replace("MOST", "60 # sampan:ignore cap reason=\"sale\"");
    for (word, failed, exit_when_ignored) in
        [("advisory", false, 0), ("mandatory_overridable", true, 0), ("mandatory", true, 1)]
    {
        let text = policy(&format!("{CAP}  enforcement = \"{word}\""));
        let report = judged(&text, "60");
        assert_eq!((said(&report).len(), report.failed), (1, failed), "{word}");
        let report = judged_with(&text, &ignored);
        assert_eq!(report.exit_code(), exit_when_ignored, "{word}: {:?}", report.findings);
    }
    let report = judged_with(&policy(&format!("{CAP}  enforcement = \"mandatory\"")), &ignored);
    assert!(report.findings.iter().any(|f| f.rule == "SMP604" && f.message == "cap cannot be ignored"));
}

#[test]
fn a_sensitive_value_is_in_no_message() {
    let text = "policy \"p\" {\n  resource = \"sampan_application\"\n  deny_when = r.name == \"web\"\n  \
                message = \"has ${r.labels.key}\"\n  severity = \"warning\"\n}\n";
    let report = judged(text, "9");
    assert_eq!(said(&report), [("warning".into(), "name".into(), "policy p denies it".into(), 12)]);
}

#[test]
fn a_condition_that_fails_on_a_resource_is_a_finding() {
    let text = policy("  deny_when = r.metrics[\"cpu\"].target > 90\n  message = \"m\"");
    let found = said(&judged(&text, "9"));
    assert!(found[0].2.starts_with("policy cap cannot be evaluated: "), "{found:?}");
    let text = policy("  deny_when = r.name\n  message = \"m\"");
    assert_eq!(said(&judged(&text, "9"))[0].2, "deny_when of policy cap is neither true nor false");
}

#[test]
fn what_could_never_match_is_refused_with_its_place() {
    for (text, says) in [
        ("x = 1\n", "x.hcl:1: x stands in no block"),
        ("rule \"a\" {\n}\n", "x.hcl:1: there are no blocks rule, only policy"),
        ("policy \"SMP301\" {\n}\n", "\"SMP301\" is no name of a policy"),
        ("policy \"a\" {\n}\n", "policy \"a\" has no resource"),
        (
            "policy \"a\" {\n  resource = \"sampan_app\"\n}\n",
            "x.hcl:2: \"sampan_app\" is no resource: there are sampan_namespace",
        ),
        (&policy("  message = \"m\""), "policy \"cap\" has no deny_when"),
        (&policy(&format!("{CAP}  denywhen = true")), "a policy has no argument denywhen; did you mean \"deny_when\"?"),
        (&policy(&format!("{CAP}  severity = \"high\"")), "severity is one of error, warning, note"),
        (&policy(&format!("{CAP}  on_unknown = \"no\"")), "on_unknown is one of pass, warn, fail"),
        (
            &policy("  deny_when = r.max_replica > 1\n  message = \"m\""),
            "x.hcl:3: deny_when of policy \"cap\": sampan_scaling_rule has no max_replica; did you mean \"max_replicas\"?",
        ),
        (&policy("  deny_when = r.behavior.scale_up.step > 1\n  message = \"m\""), "behavior.scale_up has no step"),
        (&policy("  deny_when = var.a > 1\n  message = \"m\""), "there is no var: the resource is r"),
        (&policy("  deny_when = true\n  message = \"${each.key}\""), "message of policy \"cap\": there is no each"),
        (&policy("  deny_when = \n"), "x.hcl:"),
    ] {
        let error = policy::of_text(text.as_bytes(), "x.hcl").unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = [folder.path().to_path_buf()];
    assert!(policy::read(&path).unwrap_err().ends_with("no file there ends with .policy.hcl"));
    for name in ["a.policy.hcl", "b.policy.hcl"] {
        std::fs::write(folder.path().join(name), policy(CAP)).unwrap();
    }
    assert!(policy::read(&path).unwrap_err().ends_with("there are two policies \"cap\""));
}

#[test]
fn the_policies_of_the_guide_are_policies() {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/policies.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let blocks = text.split("```hcl\n").skip(1).filter_map(|rest| rest.split("```").next());
    let written: Vec<&str> = blocks.filter(|block| block.starts_with("policy ")).collect();
    let all: Vec<&str> =
        written.iter().flat_map(|text| policy::of_text(text.as_bytes(), "guide").unwrap()).map(|p| p.id).collect();
    assert_eq!(all, ["at-most-fifty", "team", "our-registry"]);
    let report = judged(&written[1..].concat(), "9");
    let found: Vec<String> = said(&report).into_iter().map(|(_, _, message, _)| message).collect();
    assert_eq!(found, ["web carries no label team"]);
}

#[test]
fn what_only_a_data_source_reads_is_no_attribute_of_a_resource() {
    let refer = |to: &str| format!("{}output \"it\" {{\n  value = {to}\n}}\n", MAIN.replace("MOST", "9"));
    let failed = |to: &str| judged_with(&policy(CAP), &refer(to)).findings.iter().any(|f| f.rule == "SMP901");
    assert!(failed("sampan_application.web.uid") && failed("sampan_application.web.create_time"));
    assert!(!failed("sampan_application.web.id"));
}
