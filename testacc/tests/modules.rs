//! The reusable modules: their own tests, and their examples applied for real.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::Path;
use std::time::Duration;

use sampan_testacc::{Dev, Registry, Terraform, push_hello, repository, require, require_terraform, wait_for};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Terraform in a folder of a copy of the modules; `terraform get` finds those that it calls.
fn at(terraform: &Terraform, folder: &str, args: &[&str], exit: i32) -> String {
    let output = terraform.command(args).current_dir(terraform.path().join("modules").join(folder)).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "terraform {}: {text}", args.join(" "));
    text
}

#[test]
fn the_tests_of_every_module_pass() {
    if !require_terraform() {
        return;
    }
    for module in ["web-service", "environment"] {
        let terraform = Terraform::new();
        copy(&repository().join("examples/modules"), &terraform.path().join("modules"));
        let run = at(&terraform, module, &["test"], 0);
        assert!(run.contains("Success!") && run.contains(" 0 failed"), "{module}: {run}");
    }
}

#[test]
fn the_examples_of_the_modules_are_applied_and_destroyed() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = format!("-var=image={}", push_hello(&registry.address, "1", &[]));
    let dev = Dev::start();
    for (folder, host, more) in [
        ("web-service/examples/shop", "cart.example.com", "-var=replicas={min=2,max=3}"),
        ("environment/examples/test", "cart.test.example.com", "-var=api_key=value-of-a-secret"),
    ] {
        let terraform = dev.terraform();
        copy(&repository().join("examples/modules"), &terraform.path().join("modules"));
        at(&terraform, folder, &["get"], 0);
        at(&terraform, folder, &["apply", "-auto-approve", &image, more], 0);
        // The clock may say that the environment sleeps.
        let stopped = || {
            let (ns, app) = if folder.starts_with("web") { ("shop", "cart") } else { ("test", "cart") };
            let path = format!("/v1/namespaces/{ns}/applications/{app}");
            let shown = dev.api("GET", &path, &serde_json::Value::Null).json();
            shown["status"]["stopped"].as_str().is_some_and(|stopped| !stopped.is_empty())
        };
        wait_for("the service", Duration::from_mins(1), || match dev.get(host, "/") {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) if answer.status == 503 && stopped() => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let plan = at(&terraform, folder, &["plan", "-detailed-exitcode", &image, more], 0);
        assert!(plan.contains("No changes."), "{plan}");
        let state = std::fs::read_to_string(terraform.path().join("modules").join(folder).join("terraform.tfstate"));
        assert!(!state.unwrap().contains("value-of-a-secret"));
        at(&terraform, folder, &["destroy", "-auto-approve", &image, more], 0);
    }
}
