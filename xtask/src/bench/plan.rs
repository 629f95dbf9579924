//! Terraform with 1,000 namespaces against Terraform with 1,000 `terraform_data`, which need no plugin.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sampan_testacc::Terraform;

use super::Ground;
use super::figure::Figure;
use super::provider::{LIMIT_MB, memory_mb};
use super::statistic::ms;

const COUNT: u32 = 1000;
const PLANS: u32 = 5;
const APPLIES: u32 = 3;

const NAMESPACES: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}
resource "sampan_namespace" "many" {
  count       = COUNT
  name        = "many-${count.index}"
  description = "number ${count.index}"
  labels      = { number = "${count.index}" }
}
"#;

const DATA: &str = r#"
resource "terraform_data" "many" {
  count = COUNT
  input = {
    name        = "many-${count.index}"
    description = "number ${count.index}"
    labels      = { number = "${count.index}" }
  }
}
"#;

fn timed(terraform: &Terraform, args: &[&str]) -> Result<f64, String> {
    let begun = Instant::now();
    let run = terraform.run(args);
    let took = ms(begun.elapsed());
    if run.exit == 0 { Ok(took) } else { Err(format!("terraform {}\n{}", args.join(" "), run.text())) }
}

/// Runs, and returns also the most memory that the provider took.
fn watched(terraform: &Terraform, args: &[&str]) -> Result<(f64, f64), String> {
    let begun = Instant::now();
    let mut command = terraform.command(args);
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
    let mut child = spawned.map_err(|error| format!("terraform: {error}"))?;
    let (mut most, mut provider) = (0.0_f64, None);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok((ms(begun.elapsed()), most)),
            Ok(Some(status)) => return Err(format!("terraform {}: {status}", args.join(" "))),
            Ok(None) => {}
            Err(error) => return Err(format!("terraform: {error}")),
        }
        provider = provider.filter(|folder: &PathBuf| folder.exists()).or_else(|| child_of(child.id()));
        if let Some(found) = &provider {
            most = most.max(memory_mb(found, "VmHWM").unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Terraform knows nothing any more.
fn forget(terraform: &Terraform) -> Result<(), String> {
    std::fs::remove_file(terraform.path().join("terraform.tfstate")).map_err(|error| format!("state: {error}"))
}

/// The provider that a terraform has started.
fn child_of(terraform: u32) -> Option<PathBuf> {
    let is_child = |folder: &Path| {
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok());
        parent == Some(terraform) && status.lines().next().is_some_and(|name| name.contains("terraform-provi"))
    };
    std::fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path()).find(|folder| is_child(folder))
}

pub fn measure(ground: &mut Ground) -> Result<Vec<Figure>, String> {
    let ours = ground.dev.terraform();
    ours.write("main.tf", &NAMESPACES.replace("COUNT", &COUNT.to_string()));
    let plain = Terraform::new();
    plain.write("main.tf", &DATA.replace("COUNT", &COUNT.to_string()));
    plain.expect(&["init"], 0);
    let plan = ["plan", "-input=false"];
    let mut plans = (Vec::new(), Vec::new());
    for round in 1..=PLANS {
        ground.progress.step(&format!("terraform plan of {COUNT} new namespaces, round {round} of {PLANS}"));
        plans.1.push(timed(&plain, &plan)?);
        plans.0.push(timed(&ours, &plan)?);
    }
    let (mut applies, mut again) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let mut memory = Vec::new();
    for round in 1..=APPLIES {
        ground.progress.step(&format!("terraform apply of {COUNT} namespaces, round {round} of {APPLIES}"));
        applies.1.push(timed(&plain, &["apply", "-auto-approve"])?);
        let (took, most) = watched(&ours, &["apply", "-auto-approve"])?;
        applies.0.push(took);
        memory.push(most);
        for _ in 0..2 {
            again.1.push(timed(&plain, &plan)?);
            again.0.push(timed(&ours, &plan)?);
        }
        // By hand: `terraform destroy` takes longer than all that is measured here.
        for number in 0..COUNT {
            ground.api.delete(&format!("/v1/namespaces/many-{number}"))?;
        }
        forget(&ours)?;
        forget(&plain)?;
    }
    let peak = memory.iter().copied().fold(0.0, f64::max);
    let name = "terraform_data";
    let how = |what: &str, times: usize| {
        format!(
            "time of `terraform {what}`, whole process, local state; median of {times}. Compared with: as many \
             `terraform_data` with the same values, interleaved."
        )
    };
    Ok(vec![
        Figure::ratio(
            "terraform plan, 1,000 new namespaces",
            &plans.0,
            (name, &plans.1),
            1.5,
            &how("plan with an empty state", plans.0.len()),
        ),
        Figure::ratio(
            "terraform plan, 1,000 namespaces to refresh",
            &again.0,
            (name, &again.1),
            1.5,
            &how("plan after the apply: every namespace is read from the API", again.0.len()),
        ),
        Figure::ratio(
            "terraform apply, 1,000 namespaces",
            &applies.0,
            (name, &applies.1),
            1.5,
            &how("apply from an empty state", applies.0.len()),
        ),
        Figure::limit(
            "provider memory, apply of 1,000",
            peak,
            "MB",
            LIMIT_MB,
            "VmHWM of the provider, the most of all applies above.",
        ),
    ])
}
