//! `sampan lint` against `terraform validate` of the same tree, by the time of a core that each takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sampan_testacc::Terraform;
use sampan_testacc::dev::bin_dir;

use super::figure::Figure;
use super::provider::memory_mb;
use super::statistic::{median, ms};
use super::{Measured, Progress};

/// One lint is short against a tick of the kernel's clock.
const LINTS: u32 = 20;
const ROUNDS: u32 = 5;
const STARTS: u32 = 21;
const MEMORY_MB: f64 = 200.0;
const START_MS: f64 = 10.0;

const HEAD: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {
  endpoint = "http://127.0.0.1:1"
  token    = "unused"
}
"#;

/// Four resources that refer to each other.
fn group(number: u32) -> String {
    format!(
        r#"
resource "sampan_namespace" "n{number}" {{
  name        = "team-{number}"
  description = "Of team ${{local.team}} {number}."
}}
resource "sampan_gray_policy" "n{number}" {{
  namespace = sampan_namespace.n{number}.name
  name      = "careful"
  steps = [
    {{ weight_percent = 10, pause = {{ duration_seconds = 300 }} }},
    {{ weight_percent = 50, pause = {{ manual = true }} }},
  ]
  analysis = {{ errors = {{ type = "error_rate", max_delta_percent = 0.5 }} }}
}}
resource "sampan_application" "n{number}" {{
  namespace   = sampan_namespace.n{number}.name
  name        = "web"
  replicas    = {replicas}
  gray_policy = sampan_gray_policy.n{number}.name
  resources   = {{ cpu = "500m", memory = "512Mi" }}
  container = {{
    image = "registry.example.com/team/web:1.${{var.minor}}"
    env   = {{ NUMBER = "{number}", TEAM = upper(local.team) }}
    probes = {{
      readiness = {{ http_get = {{ path = "/healthz", port = "http" }}, period_seconds = 5 }}
    }}
  }}
  network = {{ ports = {{ http = {{ container_port = 8080, protocol = "HTTP" }} }} }}
}}
resource "sampan_scaling_rule" "n{number}" {{
  namespace    = sampan_namespace.n{number}.name
  application  = sampan_application.n{number}.name
  name         = "load"
  min_replicas = 2
  max_replicas = 2 + {replicas}
  metrics      = {{ requests = {{ type = "qps", target = 50 }} }}
}}
"#,
        replicas = 2 + number % 5,
    )
}

/// A tree of so many resources, fifty in a file.
fn tree(terraform: &Terraform, resources: u32) {
    let head = "locals {\n  team = \"shop\"\n}\nvariable \"minor\" {\n  type    = number\n  default = 4\n}\n";
    terraform.write("main.tf", &format!("{}{head}", HEAD.trim_start()));
    let groups: Vec<String> = (0..resources / 4).map(group).collect();
    for (number, groups) in groups.chunks(12).enumerate() {
        terraform.write(&format!("part{number}.tf"), &groups.concat());
    }
}

/// Time of a core that every child that has ended took, in milliseconds.
fn children_ms() -> Result<f64, String> {
    let text = std::fs::read_to_string("/proc/self/stat").map_err(|error| format!("/proc/self/stat: {error}"))?;
    // Behind the name, which may hold anything: user and system time of children are the 14th and 15th.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> = rest.split_whitespace().skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    // USER_HZ is 100 on every platform of Linux.
    Ok(ticks.iter().sum::<f64>() * 10.0)
}

/// What `work` took of a core, in milliseconds.
fn cpu(work: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
    let before = children_ms()?;
    work()?;
    Ok(children_ms()? - before)
}

fn lint(folder: &Path) -> Command {
    let mut command = Command::new(bin_dir().join("sampan"));
    command.args(["lint", "--format", "json"]).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Findings are no failure here; input that cannot be read is one.
fn linted(folder: &Path) -> Result<(), String> {
    let status = lint(folder).status().map_err(|error| format!("sampan: {error}"))?;
    if matches!(status.code(), Some(0 | 1)) { Ok(()) } else { Err(format!("sampan lint: {status}")) }
}

fn validated(terraform: &Terraform) -> Result<(), String> {
    let run = terraform.run(&["validate"]);
    if run.exit == 0 { Ok(()) } else { Err(format!("terraform validate\n{}", run.text())) }
}

/// Most memory of one lint, in MB.
fn peak(folder: &Path) -> Result<f64, String> {
    let mut child = lint(folder).spawn().map_err(|error| format!("sampan: {error}"))?;
    let stat = PathBuf::from(format!("/proc/{}", child.id()));
    let mut most = 0.0_f64;
    loop {
        match child.try_wait() {
            Ok(None) => most = most.max(memory_mb(&stat, "VmHWM").unwrap_or_default()),
            Ok(Some(_)) => return Ok(most),
            Err(error) => return Err(format!("sampan: {error}")),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn against_validate(
    progress: Progress,
    resources: u32,
    rounds: u32,
    lints: u32,
) -> Result<(Figure, Terraform), String> {
    let terraform = Terraform::new();
    tree(&terraform, resources);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress.step(&format!("lint and validate of {resources} resources, round {round} of {rounds}"));
        theirs.push(cpu(|| validated(&terraform))?);
        let all = cpu(|| (0..lints).try_for_each(|_| linted(terraform.path())))?;
        ours.push(all / f64::from(lints));
    }
    let how = format!(
        "time of a core, user and system, of `sampan lint` over {resources} resources (namespaces, gray policies, \
         applications and scaling rules that refer to each other, 48 in a file); medians of {rounds}, {lints} lints each. \
         Compared with: `terraform validate` of the same folder with this provider, which checks less."
    );
    let name = format!("lint of {resources} resources, time of a core");
    Ok((Figure::ratio(&name, &ours, ("terraform validate", &theirs), 0.1, &how), terraform))
}

pub fn measure(progress: Progress) -> Measured {
    let missing = sampan_testacc::terraform::missing();
    if let Some(missing) = missing {
        return Err(format!("the linter is held against terraform: {missing}"));
    }
    let (small, _) = against_validate(progress, 1000, ROUNDS, LINTS)?;
    let (large, terraform) = against_validate(progress, 10_000, 1, 3)?;
    let memory = Figure::limit(
        "lint of 10000 resources, memory",
        peak(terraform.path())?,
        "MB",
        MEMORY_MB,
        "highest resident set of one `sampan lint`, looked at every millisecond.",
    );
    progress.step("lint of an empty folder");
    let empty = Terraform::new();
    std::fs::remove_file(empty.path().join("rc.tfrc")).map_err(|error| format!("rc.tfrc: {error}"))?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let status = lint(empty.path()).status().map_err(|error| format!("sampan: {error}"))?;
        starts.push(ms(begun.elapsed()));
        if status.code().is_none() {
            return Err(format!("sampan lint of an empty folder: {status}"));
        }
    }
    let how = format!("from starting `sampan lint` on an empty folder to its end; median of {STARTS}.");
    let start = Figure::limit("lint of an empty folder", median(&starts), "ms", START_MS, &how);
    Ok(vec![small, large, memory, start])
}
