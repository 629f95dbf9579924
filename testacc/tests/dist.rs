//! The files of a release, installed by the real Terraform.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::Path;
use std::process::Command;

use sampan_testacc::dev::bin_dir;
use sampan_testacc::https::Https;
use sampan_testacc::{Terraform, process, require_terraform, require_with};

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
    dist_with(out, &[])
}

fn dist_with(out: &Path, more: &[&str]) -> String {
    let mut command = Command::new(bin_dir().join("xtask"));
    command.arg("dist").arg("--out").arg(out).args(more);
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

/// Terraform that trusts the server, besides nobody.
fn trusting(server: &Https, folder: &Path) -> Terraform {
    let file = folder.join("ca.pem");
    std::fs::write(&file, &server.certificate).unwrap();
    Terraform::new().env("SSL_CERT_FILE", &file.display().to_string())
}

/// The line of the lock file with the hash of what was installed.
fn locked(terraform: &Terraform) -> String {
    let lock = std::fs::read_to_string(terraform.path().join(".terraform.lock.hcl")).unwrap();
    let line = lock.lines().find(|line| line.contains("\"h1:"));
    line.unwrap_or_else(|| panic!("{lock}")).trim().trim_matches([',', '"']).to_owned()
}

#[test]
fn terraform_installs_the_release_from_its_network_mirror_over_https() {
    if !require_terraform() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    dist(out.path());
    let mirror = out.path().join("network-mirror");
    let server = Https::serve(&mirror);
    let source = format!("  network_mirror {{\n    url = \"https://{}/\"\n  }}", server.host());
    let terraform = trusting(&server, out.path()).from_source(&source);
    terraform.write("main.tf", MAIN);
    terraform.expect(&["init"], 0);
    terraform.apply(&[]);
    assert_eq!(terraform.output("name"), "cart");
    // Terraform comes to the same hash of the content.
    let folder = mirror.join("registry.terraform.io/sampan/sampan");
    let index = std::fs::read_to_string(folder.join(format!("{}.json", env!("CARGO_PKG_VERSION")))).unwrap();
    assert!(index.contains(&locked(&terraform)), "{index}");
    // Who does not trust the server installs nothing, and neither is another archive taken.
    let stranger = Terraform::new().from_source(&source);
    stranger.write("main.tf", MAIN);
    assert!(stranger.expect(&["init"], 1).text().contains("certificate"));
    let zip = zip(&folder);
    let mut bytes = std::fs::read(&zip).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&zip, bytes).unwrap();
    let other = trusting(&server, out.path()).from_source(&source);
    other.write("main.tf", MAIN);
    assert!(other.expect(&["init"], 1).text().contains("checksum"));
}

/// A secret key without a passphrase, in a file.
fn key(folder: &Path) -> String {
    let ring = tempfile::Builder::new().prefix("sp").tempdir().unwrap();
    let gpg = |args: &[&str]| {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(ring.path()).args(["--batch", "--quiet", "--pinentry-mode", "loopback"]);
        let output = command.args(["--passphrase", ""]).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    gpg(&["--quick-generate-key", "Test <test@sampan.invalid>", "rsa3072", "sign", "never"]);
    let file = folder.join("secret.asc");
    std::fs::write(&file, gpg(&["--armor", "--export-secret-keys"])).unwrap();
    let mut end = Command::new("gpgconf");
    assert!(end.arg("--homedir").arg(ring.path()).args(["--kill", "all"]).status().unwrap().success());
    file.display().to_string()
}

#[test]
fn terraform_installs_the_signed_release_from_its_registry_by_service_discovery() {
    if !require_terraform() || !require_with("gpg") {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let key = key(out.path());
    dist_with(out.path(), &["--sign", &key]);
    let server = Https::serve(&out.path().join("registry"));
    let main = MAIN.replace("\"sampan/sampan\"", &format!("\"{}/sampan/sampan\"", server.host()));
    let terraform = trusting(&server, out.path()).from_source("  direct {}");
    terraform.write("main.tf", &main);
    let installed = terraform.expect(&["init"], 0).text();
    assert!(installed.contains("self-signed, key ID"), "{installed}");
    terraform.apply(&[]);
    assert_eq!(terraform.output("name"), "cart");

    // Checksums that the key did not sign are refused.
    let version = env!("CARGO_PKG_VERSION");
    let sums = format!("registry/files/sampan/sampan/{version}/terraform-provider-sampan_{version}_SHA256SUMS");
    let sums = out.path().join(sums);
    let text = std::fs::read_to_string(&sums).unwrap();
    std::fs::write(&sums, format!("{text}\n")).unwrap();
    let other = trusting(&server, out.path()).from_source("  direct {}");
    other.write("main.tf", &main);
    assert!(other.expect(&["init"], 1).text().contains("signature"));
    // A key that is not there is said, and nothing is signed with another.
    let mut command = Command::new(bin_dir().join("xtask"));
    command.args(["dist", "--sign", "/no/such/key", "--provider"]).arg(bin_dir().join("terraform-provider-sampan"));
    let refused = command.arg("--out").arg(out.path().join("other")).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/no/such/key is no file with a secret key"));
}
