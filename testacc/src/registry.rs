//! Debian's `docker-registry` on a free loopback port.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Process};

/// A registry that lives as long as the test. Its images are thrown away with it.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:PORT`.
    pub address: String,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Registry {
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("sampan-registry").tempdir().expect("a temporary folder");
        Self::serve(folder, "")
    }

    /// The same images on another port, for those who log in only: a line of an `htpasswd` file with a bcrypt hash.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn locked(self, htpasswd: &str) -> Self {
        let Self { _folder: folder, _process: process, .. } = self;
        drop(process);
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, htpasswd).expect("the temporary folder is writable");
        let file = file.display().to_string();
        Self::serve(folder, &format!("auth:\n  htpasswd: {{ realm: images, path: {file:?} }}\n"))
    }

    fn serve(folder: tempfile::TempDir, more: &str) -> Self {
        let settings = folder.path().join("registry.yml");
        let text = configuration(folder.path(), 0) + more;
        std::fs::write(&settings, text).expect("the temporary folder is writable");
        let program = process::find("docker-registry").expect("require() has found docker-registry");
        let mut command = Command::new(program);
        command.arg("serve").arg(&settings).env("OTEL_TRACES_EXPORTER", "none");
        let mut process = Process::start("docker-registry", &mut command);
        let address = process.wait_line(Duration::from_secs(20), listening);
        Self { address, _process: process, _folder: folder }
    }
}

/// Settings of a registry on loopback; port 0 takes a free one.
pub fn configuration(folder: &Path, port: u16) -> String {
    format!(
        "version: 0.1\nlog: {{ level: info }}\nstorage:\n  filesystem: {{ rootdirectory: {:?} }}\n  delete: {{ enabled: true }}\n\
         http: {{ addr: \"127.0.0.1:{port}\" }}\n",
        folder.join("data").display().to_string()
    )
}

/// The address in the line with which a registry says that it listens.
fn listening(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
    address.parse::<std::net::SocketAddr>().ok().map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_registry_is_read() {
        let line = r#"time="2024-01-01" level=info msg="listening on 127.0.0.1:37571" go.version=go1.19"#;
        assert_eq!(listening(line).as_deref(), Some("127.0.0.1:37571"));
        assert_eq!(listening("starting"), None);
    }
}
