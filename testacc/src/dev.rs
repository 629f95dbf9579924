//! A real `sampan dev` in a folder of its own.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::http::{self, Answer};
use crate::process::{Process, find};
use crate::terraform::Terraform;

/// Long enough for a slow machine with several tests at once.
const START: Duration = Duration::from_mins(2);
const STOP: Duration = Duration::from_mins(1);

/// Folder of `sampan`, `terraform-provider-sampan` and `xtask`: `SAMPAN_BIN_DIR`, or the folder of this test's profile, into
/// which they are built first, so that a test never runs yesterday's binary.
///
/// # Panics
/// When they do not build.
pub fn bin_dir() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("SAMPAN_BIN_DIR") {
            return std::path::absolute(folder).expect("SAMPAN_BIN_DIR is a path");
        }
        let test = std::env::current_exe().expect("a test knows its own path");
        let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps").to_path_buf();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "-p", "sampan", "-p", "terraform-provider-sampan", "-p", "xtask"]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let target = folder.parent().expect("a profile lies in the target folder");
        let status = cargo.arg("--target-dir").arg(target).current_dir(crate::repository()).status();
        assert!(status.is_ok_and(|status| status.success()), "sampan, its provider and xtask do not build");
        folder
    })
}

/// A running `sampan dev`. When it is dropped, nothing of it stays on the machine.
#[derive(Debug)]
pub struct Dev {
    pub api: SocketAddr,
    pub gateway: SocketAddr,
    pub token_file: PathBuf,
    pub data_dir: PathBuf,
    process: Process,
    folder: Option<tempfile::TempDir>,
}

/// What the ready line says.
#[derive(Debug, PartialEq, Eq)]
struct Ready {
    api: SocketAddr,
    gateway: SocketAddr,
    token_file: PathBuf,
}

/// The line `{"event":"ready","api":"http://…","gateway":"http://…","token_file":"…"}`.
fn ready(line: &str) -> Option<Ready> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = |key: &str| line[key].as_str()?.strip_prefix("http://")?.parse().ok();
    (line["event"] == "ready").then_some(())?;
    Some(Ready { api: address("api")?, gateway: address("gateway")?, token_file: line["token_file"].as_str()?.into() })
}

fn command(verb: &str, data_dir: &Path) -> Command {
    let mut command = Command::new(bin_dir().join("sampan"));
    command.arg(verb).arg("--data-dir").arg(data_dir);
    command
}

/// Free addresses of loopback that stay ours while the server is down: below the range from which the system takes
/// ports by itself.
fn addresses() -> (SocketAddr, SocketAddr) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seed = u64::from(now.subsec_nanos()) / 100 + u64::from(std::process::id()) * 131;
    let free = |first: u64| {
        (0..1000)
            .map(|more| SocketAddr::from(([127, 0, 0, 1], 20_000 + ((first + more) % 12_000) as u16)))
            .find(|address| TcpListener::bind(address).is_ok())
            .expect("a port is free")
    };
    let api = free(seed);
    (api, free(seed + 1 + u64::from(api.port())))
}

impl Dev {
    /// Starts on free ports of loopback, in a new folder.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Dev::start`], with more in its environment until it is started again.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start_with(env: &[(&str, &str)]) -> Self {
        // Short: the path of containerd's socket has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("sa").tempdir_in("/tmp").expect("a folder in /tmp");
        let data_dir = folder.path().join("d");
        let (api, gateway) = addresses();
        let process = Self::spawn("dev", &data_dir, (api, gateway), env);
        // Ours before it is ready: what a failed start leaves is removed too.
        let mut dev = Self { api, gateway, token_file: PathBuf::new(), data_dir, process, folder: Some(folder) };
        dev.wait_ready();
        dev
    }

    fn spawn(verb: &str, data_dir: &Path, (api, gateway): (SocketAddr, SocketAddr), env: &[(&str, &str)]) -> Process {
        let mut command = command(verb, data_dir);
        command.args(["--api", &api.to_string(), "--gateway", &gateway.to_string()]);
        command.envs(env.iter().copied());
        Process::start(&format!("sampan {verb}"), &mut command)
    }

    fn wait_ready(&mut self) {
        let ready = self.process.wait_line(START, ready);
        assert_eq!((ready.api, ready.gateway), (self.api, self.gateway));
        self.token_file = ready.token_file;
    }

    /// Ends it as Ctrl-C would. Its objects stay for [`Dev::start_again`].
    ///
    /// # Panics
    /// When it does not end with success.
    pub fn stop(&mut self) {
        let status = self.process.stop(STOP);
        assert!(status.is_some_and(|status| status.success()), "sampan dev: {status:?}\n{}", self.process.output());
    }

    /// `kill -9`: workloads live on.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts again in the same folder, at the same addresses.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start_again(&mut self) {
        self.start_again_as("dev");
    }

    /// As [`Dev::start_again`], as `dev` or as `server`.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start_again_as(&mut self, verb: &str) {
        self.process = Self::spawn(verb, &self.data_dir, (self.api, self.gateway), &[]);
        self.wait_ready();
    }

    /// `sampan dev --teardown` of this folder.
    ///
    /// # Panics
    /// When it fails.
    pub fn teardown(&self) {
        let output = command("dev", &self.data_dir).arg("--teardown").output().expect("sampan starts");
        assert!(output.status.success(), "teardown: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The command line against this server, such as `restart`.
    pub fn sampan(&self, args: &[&str]) -> Command {
        let mut command = Command::new(bin_dir().join("sampan"));
        command.args(args).env("SAMPAN_ENDPOINT", self.endpoint()).env("SAMPAN_TOKEN_FILE", &self.token_file);
        command
    }

    /// What containerd itself has: containers, and snapshots that are no image's layers.
    ///
    /// # Panics
    /// When `ctr` does not answer.
    pub fn in_containerd(&self) -> BTreeSet<String> {
        let ctr = |args: &[&str]| {
            let mut command = Command::new(find("ctr").expect("ctr is there"));
            let socket = self.data_dir.join("run/containerd.sock");
            let output = command.arg("-a").arg(socket).args(["-n", "k8s.io"]).args(args).output().expect("ctr runs");
            assert!(output.status.success(), "ctr {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let mut found: BTreeSet<String> =
            ctr(&["containers", "ls", "-q"]).lines().map(|id| format!("container: {id}")).collect();
        let snapshots = ctr(&["snapshots", "ls"]);
        let active = snapshots.lines().filter(|line| line.trim_end().ends_with("Active"));
        found.extend(active.map(|line| format!("snapshot: {line}")));
        found
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// The address of the API.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.api)
    }

    /// GET at the gateway.
    ///
    /// # Errors
    /// What went wrong with the connection.
    pub fn get(&self, host: &str, path: &str) -> Result<Answer, String> {
        http::get(self.gateway, host, path)
    }

    /// A request at the API, with the administrator's token.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.api_with(method, path, &[], body)
    }

    /// As [`Dev::api`], with more headers.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn api_with(&self, method: &str, path: &str, more: &[(&str, &str)], body: &Value) -> Answer {
        let token = std::fs::read_to_string(&self.token_file).expect("sampan dev has written its token");
        let bearer = format!("Bearer {}", token.trim());
        let host = self.api.to_string();
        let mut headers = vec![("host", host.as_str()), ("authorization", bearer.as_str())];
        headers.extend(more);
        let mut bytes = Vec::new();
        if !body.is_null() {
            headers.push(("content-type", "application/json"));
            bytes = body.to_string().into_bytes();
        }
        http::request(self.api, method, path, &headers, &bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The instances of an application, sorted by name.
    pub fn instances(&self, namespace: &str, application: &str) -> Vec<Value> {
        let path = format!("/v1/namespaces/{namespace}/applications/{application}/instances");
        let answer = self.api("GET", &path, &Value::Null);
        answer.json()["items"].as_array().cloned().unwrap_or_default()
    }

    /// A Terraform workspace that talks to this server.
    pub fn terraform(&self) -> Terraform {
        let token = self.token_file.display().to_string();
        Terraform::new().env("SAMPAN_ENDPOINT", &self.endpoint()).env("SAMPAN_TOKEN_FILE", &token)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let clean = self.process.stop(STOP).is_some_and(|status| status.success());
        if std::thread::panicking() {
            crate::print(&format!("--- sampan dev\n{}", self.process.output()));
        }
        // Also after a clean end: what `dev` forgets must not stay on the machine.
        let torn = command("dev", &self.data_dir).arg("--teardown").output();
        let torn = torn.is_ok_and(|output| output.status.success());
        if !(clean && torn)
            && let Some(folder) = self.folder.take()
        {
            crate::print(&format!("kept {}: end clean {clean}, teardown clean {torn}", folder.keep().display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read() {
        let line = r#"{"event":"ready","api":"http://127.0.0.1:1","gateway":"http://127.0.0.1:2","token_file":"/x/admin.token"}"#;
        let found = ready(line).unwrap();
        assert_eq!((found.api.port(), found.gateway.port()), (1, 2));
        assert_eq!(found.token_file, Path::new("/x/admin.token"));
        assert_eq!(ready(r#"{"event":"stopped"}"#), None);
        assert_eq!(ready("already started"), None);
    }
}
