//! `cargo xtask dist`: the files of a release of the provider for this platform, as the Terraform Registry names them, and
//! a filesystem mirror, a network mirror and a registry made of them. The same binary gives the same bytes, signatures
//! left aside.

mod publish;
mod zip;

use std::path::{Path, PathBuf};
use std::process::Command;

use sampan_testacc::repository;
use sha2::{Digest, Sha256};

const NAME: &str = "terraform-provider-sampan";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where Terraform looks for `sampan/sampan`.
const ADDRESS: &str = "registry.terraform.io/sampan/sampan";

const USAGE: &str = "usage: cargo xtask dist --out DIR [--provider FILE] [--sign SECRET_KEY_FILE]";

/// Where to, and the binary when there is one already.
struct Asked {
    out: PathBuf,
    provider: Option<PathBuf>,
    /// Secret key of OpenPGP, without a passphrase.
    sign: Option<PathBuf>,
}

fn asked(options: &[&str]) -> Result<Asked, String> {
    let (mut out, mut provider, mut sign) = (None, None, None);
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{option} needs a value\n{USAGE}"))?;
        match *option {
            "--out" => out = Some(PathBuf::from(value)),
            "--provider" => provider = Some(PathBuf::from(value)),
            "--sign" => sign = Some(PathBuf::from(value)),
            other => return Err(format!("unknown option {other}\n{USAGE}")),
        }
    }
    Ok(Asked { out: out.ok_or_else(|| format!("--out is required\n{USAGE}"))?, provider, sign })
}

/// As Go names a platform.
fn platform(os: &str, arch: &str) -> Result<String, String> {
    let os = match os {
        "macos" => "darwin",
        os @ ("linux" | "freebsd" | "openbsd" | "windows") => os,
        os => return Err(format!("the Registry has no name for the system {os}")),
    };
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "arm" => "arm",
        arch => return Err(format!("the Registry has no name for the processor {arch}")),
    };
    Ok(format!("{os}_{arch}"))
}

/// Builds the provider, optimised, and says where it is.
fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "-p", NAME, "--target-dir"])
        .arg(&target)
        .current_dir(repository())
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err(format!("{NAME} does not build: {status}"));
    }
    Ok(target.join("release").join(NAME))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the release.
pub fn run(options: &[&str]) -> Result<(), String> {
    let asked = asked(options)?;
    let binary = asked.provider.map_or_else(build, Ok)?;
    let platform = platform(std::env::consts::OS, std::env::consts::ARCH)?;
    let suffix = std::env::consts::EXE_SUFFIX;
    let inside = format!("{NAME}_v{VERSION}{suffix}");
    let (program, licence) = (read(&binary)?, read(&repository().join("LICENSE"))?);
    let content = publish::h1(&[("LICENSE", &licence), (&inside, &program)]);
    let archive = zip::archive(&[
        zip::Entry { name: "LICENSE", mode: 0o644, content: &licence },
        zip::Entry { name: &inside, mode: 0o755, content: &program },
    ])?;
    let manifest = read(&repository().join("terraform-registry-manifest.json"))?;
    let files = [
        (format!("{NAME}_{VERSION}_{platform}.zip"), &archive),
        (format!("{NAME}_{VERSION}_manifest.json"), &manifest),
    ];
    let sums: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", sum(bytes))).collect();
    for (name, bytes) in &files {
        write(&asked.out.join(name), bytes)?;
    }
    let sums_name = format!("{NAME}_{VERSION}_SHA256SUMS");
    write(&asked.out.join(&sums_name), sums.as_bytes())?;
    write(&asked.out.join("filesystem-mirror").join(ADDRESS).join(&files[0].0), &archive)?;
    let release = publish::Release {
        file: &files[0].0,
        archive: &archive,
        platform: &platform,
        sums: (&sums_name, sums.as_bytes()),
        sum: &sum(&archive),
        content: &content,
    };
    publish::network_mirror(&asked.out.join("network-mirror"), ADDRESS, &release)?;
    crate::say(sums.trim_end());
    match publish::sign(sums.as_bytes(), asked.sign.as_deref())? {
        Some(signed) => {
            publish::registry(&asked.out.join("registry"), "sampan/sampan", &release, &signed)?;
            // A key that nobody has proves nothing about a release.
            if asked.sign.is_some() {
                write(&asked.out.join(format!("{sums_name}.sig")), &signed.signature)?;
                crate::say(&format!("signed by {}", signed.key_id));
            } else {
                crate::say("registry/ is signed with a key made for it and thrown away: --sign FILE takes yours");
            }
        }
        None => crate::say("no registry/, which has to be signed: there is no gpg (Debian: gnupg)"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end at once")]

    use super::*;

    #[test]
    fn platforms_have_the_names_of_the_registry() {
        assert_eq!(platform("linux", "x86_64").unwrap(), "linux_amd64");
        assert_eq!(platform("macos", "aarch64").unwrap(), "darwin_arm64");
        assert!(platform("linux", "riscv64").is_err() && platform("haiku", "x86_64").is_err());
    }

    #[test]
    fn options_are_read_or_refused() {
        let found = asked(&["--out", "d", "--provider", "p", "--sign", "k"]).unwrap();
        assert_eq!((found.out, found.provider, found.sign), ("d".into(), Some("p".into()), Some("k".into())));
        for wrong in [&[][..], &["--out"], &["--provider", "p"], &["--out", "d", "--key", "k"]] {
            assert!(asked(wrong).is_err_and(|error| error.contains(USAGE)), "{wrong:?}");
        }
    }

    #[test]
    fn the_manifest_says_protocol_six() {
        let text = read(&repository().join("terraform-registry-manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let wanted = serde_json::json!({ "version": 1, "metadata": { "protocol_versions": ["6.0"] } });
        assert_eq!(manifest, wanted);
    }
}
