//! What Terraform installs the release from: a network mirror and a provider registry, both of files alone, for any static
//! HTTPS server.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{VERSION, write};

/// The release, as both need it.
pub struct Release<'a> {
    /// Of the archive.
    pub file: &'a str,
    pub archive: &'a [u8],
    /// `linux_amd64`.
    pub platform: &'a str,
    /// Name and content of the checksums.
    pub sums: (&'a str, &'a [u8]),
    /// Hash of the archive, in hex.
    pub sum: &'a str,
    /// Hash of what is in it, see [`h1`].
    pub content: &'a str,
}

/// Hash of the files of an archive, by name and content: the `h1:` of Go's modules.
pub fn h1(files: &[(&str, &[u8])]) -> String {
    let mut lines: Vec<String> = files.iter().map(|(name, bytes)| format!("{}  {name}\n", super::sum(bytes))).collect();
    lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
    format!("h1:{}", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(lines.concat())))
}

fn put(path: &Path, value: &Value) -> Result<(), String> {
    write(path, format!("{value:#}\n").as_bytes())
}

/// The provider network mirror protocol below `folder`; `address` is `host/namespace/type`.
pub fn network_mirror(folder: &Path, address: &str, release: &Release<'_>) -> Result<(), String> {
    let folder = folder.join(address);
    put(&folder.join("index.json"), &json!({ "versions": { VERSION: {} } }))?;
    let hashes = [format!("zh:{}", release.sum), release.content.to_owned()];
    let archive = json!({ "url": release.file, "hashes": hashes });
    put(&folder.join(format!("{VERSION}.json")), &json!({ "archives": { release.platform: archive } }))?;
    write(&folder.join(release.file), release.archive)
}

/// The provider registry protocol with service discovery, for the root of a host; `name` is `namespace/type`.
pub fn registry(folder: &Path, name: &str, release: &Release<'_>, signed: &Signed) -> Result<(), String> {
    put(&folder.join(".well-known/terraform.json"), &json!({ "providers.v1": "/v1/providers/" }))?;
    let files = format!("/files/{name}/{VERSION}");
    for (file, bytes) in
        [(release.file, release.archive), release.sums, (&*format!("{}.sig", release.sums.0), &signed.signature)]
    {
        write(&folder.join(&files[1..]).join(file), bytes)?;
    }
    let (os, arch) = release.platform.split_once('_').unwrap_or((release.platform, ""));
    let (protocols, base) = (json!(["6.0"]), folder.join("v1/providers").join(name));
    let versions = json!({ "versions": [
        { "version": VERSION, "protocols": protocols, "platforms": [{ "os": os, "arch": arch }] },
    ] });
    put(&base.join("versions"), &versions)?;
    let download = json!({
        "protocols": protocols, "os": os, "arch": arch, "filename": release.file, "shasum": release.sum,
        "download_url": format!("{files}/{}", release.file),
        "shasums_url": format!("{files}/{}", release.sums.0),
        "shasums_signature_url": format!("{files}/{}.sig", release.sums.0),
        "signing_keys": { "gpg_public_keys": [{ "key_id": signed.key_id, "ascii_armor": signed.public }] },
    });
    put(&base.join(VERSION).join("download").join(os).join(arch), &download)
}

/// A detached signature of the checksums, and the key that proves it.
pub struct Signed {
    pub signature: Vec<u8>,
    pub public: String,
    pub key_id: String,
}

/// Signs by `gpg`, in a keyring of its own: with the secret key of a file, else with one that is made and thrown away.
///
/// # Errors
/// What gpg says. `Ok(None)`: there is no gpg, and no key was asked for.
pub fn sign(text: &[u8], key: Option<&Path>) -> Result<Option<Signed>, String> {
    let there = Command::new("gpg").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() && key.is_none() {
        return Ok(None);
    }
    let ring = Ring::new()?;
    match key {
        Some(key) => {
            if !key.is_file() {
                return Err(format!("--sign: {} is no file with a secret key", key.display()));
            }
            ring.gpg(&["--import", &key.display().to_string()])?;
        }
        None => {
            let who = "Sampan release <release@sampan.invalid>";
            ring.gpg(&["--passphrase", "", "--quick-generate-key", who, "rsa3072", "sign", "never"])?;
        }
    }
    let (from, to) = (ring.folder.path().join("text"), ring.folder.path().join("text.sig"));
    write(&from, text)?;
    let paths = [to.display().to_string(), from.display().to_string()];
    ring.gpg(&["--detach-sign", "--output", &paths[0], &paths[1]])?;
    let listed = ring.gpg(&["--with-colons", "--list-secret-keys"])?;
    let key_id = listed.lines().find_map(|line| line.strip_prefix("sec:")?.split(':').nth(3).map(str::to_owned));
    let key_id = key_id.ok_or("gpg: there is no secret key in what --sign names")?;
    let public = ring.gpg(&["--armor", "--export"])?;
    Ok(Some(Signed { signature: super::read(&to)?, public, key_id }))
}

/// A keyring of its own, whose agent ends with it.
struct Ring {
    folder: tempfile::TempDir,
}

impl Ring {
    fn new() -> Result<Self, String> {
        // The agent's socket has to fit into the name of a socket.
        let folder = tempfile::Builder::new().prefix("sp").tempdir();
        Ok(Self { folder: folder.map_err(|error| format!("a temporary folder: {error}"))? })
    }

    fn gpg(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.folder.path()).args(["--batch", "--yes", "--quiet"]);
        command.args(["--pinentry-mode", "loopback"]).args(args).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("gpg: {error}; Debian's package is gnupg"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("gpg {}: {}", args[0], said.trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        command.arg("--homedir").arg(self.folder.path()).args(["--kill", "all"]);
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_the_content_is_that_of_go() {
        // Of a folder with the files a ("1\n") and b ("2\n"), by golang.org/x/mod/sumdb/dirhash: lines
        // `4355a46b…  a` and `53c234e5…  b`, hashed.
        let lines = "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865  a\n\
                     53c234e5e8472b6ac51c1ae1cab3fe06fad053beb8ebfd8977b010655bfdd3c3  b\n";
        let wanted = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(lines));
        assert_eq!(h1(&[("b", b"2\n"), ("a", b"1\n")]), format!("h1:{wanted}"));
    }
}
