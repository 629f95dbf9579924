//! The files of a release, installed by the real Terraform.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::Path;
use std::process::Command;

use sampan_testacc::dev::bin_dir;
use sampan_testacc::{Terraform, process, require_terraform};

const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
output "name" {
  value = provider::sampan::parse_id("shop/cart").name
}
"#;

/// Makes the release of the binary that was built for the tests; returns its checksums.
fn dist(out: &Path) -> String {
    let mut command = Command::new(bin_dir().join("xtask"));
    command.arg("dist").arg("--out").arg(out);
    let output = command.arg("--provider").arg(bin_dir().join("terraform-provider-sampan")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let version = env!("CARGO_PKG_VERSION");
    std::fs::read_to_string(out.join(format!("terraform-provider-sampan_{version}_SHA256SUMS"))).unwrap()
}

/// The zip below a folder.
fn zip(folder: &Path) -> std::path::PathBuf {
    let mut entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.extension().is_some_and(|ext| ext == "zip")).unwrap()
}

#[test]
fn terraform_installs_the_release_from_its_filesystem_mirror() {
    if !require_terraform() {
        return;
    }
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sums = dist(one.path());
    assert_eq!(sums, dist(two.path()), "the same binary gives the same release");
    assert_eq!(sums.lines().count(), 2, "{sums}");
    if process::find("sha256sum").is_some() {
        let mut check = Command::new("sha256sum");
        let file = format!("terraform-provider-sampan_{}_SHA256SUMS", env!("CARGO_PKG_VERSION"));
        assert!(check.args(["--check", "--strict", &file]).current_dir(one.path()).status().unwrap().success());
    }

    let mirror = one.path().join("filesystem-mirror");
    let terraform = Terraform::new().from_mirror(&mirror);
    terraform.write("main.tf", MAIN);
    terraform.expect(&["init"], 0);
    // Terraform writes down what it has installed.
    let lock = std::fs::read_to_string(terraform.path().join(".terraform.lock.hcl")).unwrap();
    let installed = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(lock.contains(&installed) && lock.contains("\"h1:"), "{lock}");
    terraform.apply(&[]);
    assert_eq!(terraform.output("name"), "cart");

    // Another archive under the same name is not taken.
    let zip = zip(&mirror.join("registry.terraform.io/sampan/sampan"));
    let mut bytes = std::fs::read(&zip).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&zip, bytes).unwrap();
    std::fs::remove_dir_all(terraform.path().join(".terraform")).unwrap();
    terraform.expect(&["init"], 1);
}
