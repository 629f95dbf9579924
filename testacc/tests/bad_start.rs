//! Why `sampan dev` does not start on a host that lacks something, and what it does when the disk is full.
//! What needs no host of its own is in `cli/tests/dev.rs`.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sampan_testacc::dev::bin_dir;
use sampan_testacc::http;
use sampan_testacc::process::{self, Process};
use sampan_testacc::{Registry, push_hello, require, wait_for};
use serde_json::{Value, json};

const START: Duration = Duration::from_mins(2);

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("sb").tempdir_in("/tmp").unwrap()
}

fn arguments(data_dir: &Path) -> Vec<String> {
    let text = [bin_dir().join("sampan").display().to_string(), "dev".into(), "--data-dir".into()];
    let more = ["--api", "127.0.0.1:0", "--gateway", "127.0.0.1:0"].map(str::to_owned);
    text.into_iter().chain([data_dir.display().to_string()]).chain(more).collect()
}

/// How a start ends in a mount namespace of its own, which `prepare` (a shell text) has changed: its one line of error.
fn refused(prepare: &str, data_dir: &Path) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", &format!("{prepare}\nexec \"$@\""), "sh"]).args(arguments(data_dir));
    let mut process = Process::start("sampan dev", &mut command);
    let status = process.wait(START);
    let output = wait_for("a line of error", Duration::from_secs(10), || {
        let output = process.output();
        if output.contains("error: ") { Ok(output) } else { Err(output) }
    });
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{output}");
    let errors: Vec<&str> = output.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{output}");
    errors[0].to_owned()
}

#[test]
fn what_the_host_lacks_is_named_with_its_package_and_nothing_is_left_running() {
    if !require() {
        return;
    }
    let data = folder();
    let path = |program: &str| process::find(program).unwrap().canonicalize().unwrap().display().to_string();
    // A device in the place of a program: it is there, and no program.
    let hidden = |program: &str| format!("mount --bind /dev/null {}", path(program));
    for (program, package) in [("containerd", "containerd"), ("runc", "runc"), ("iptables", "iptables")] {
        let shown = refused(&hidden(program), data.path());
        assert_eq!(shown, format!("error: `{program}` is not installed: apt-get install {package}"));
    }
    let plugins = "for at in /usr/lib/cni /opt/cni/bin; do if [ -d $at ]; then mount -t tmpfs none $at; fi; done";
    let shown = refused(plugins, data.path());
    assert!(shown.starts_with("error: CNI plugin `"), "{shown}");
    assert!(shown.ends_with("is not in /usr/lib/cni and /opt/cni/bin: apt-get install containernetworking-plugins"));
    assert_eq!(sampan_node::leftovers(data.path()), Vec::<String>::new());

    let read_only = format!("mount -t tmpfs -o ro none {}", data.path().display());
    let shown = refused(&read_only, data.path());
    let wanted = format!("error: data folder {}: Read-only file system", data.path().display());
    assert!(shown.starts_with(&wanted) && shown.ends_with("choose a writable --data-dir"), "{shown}");
}

/// A small file system, unmounted at the end whatever happens.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "sampan-test"]).arg(at).status();
        assert!(status.unwrap().success());
        Self(at.to_owned())
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A server in a folder of the test's choice.
struct Server {
    process: Process,
    ready: Value,
    data_dir: PathBuf,
}

impl Server {
    fn start(data_dir: &Path) -> Self {
        let args = arguments(data_dir);
        let mut process = Process::start("sampan dev", Command::new(&args[0]).args(&args[1..]));
        let ready = process
            .wait_line(START, |line| serde_json::from_str(line).ok().filter(|line: &Value| line["event"] == "ready"));
        Self { process, ready, data_dir: data_dir.to_owned() }
    }

    fn address(&self, key: &str) -> std::net::SocketAddr {
        self.ready[key].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> http::Answer {
        let token = std::fs::read_to_string(self.ready["token_file"].as_str().unwrap()).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let headers = [("host", "api"), ("authorization", bearer.as_str()), ("if-none-match", "*")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        http::request(self.address("api"), method, path, &headers, &body).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.stop(Duration::from_mins(1));
        if std::thread::panicking() {
            sampan_testacc::print(&self.process.output());
        }
        let args = arguments(&self.data_dir);
        let _ = Command::new(&args[0]).args(&args[1..4]).arg("--teardown").output();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else_and_loses_nothing() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[]);
    let folder = folder();
    let data_dir = folder.path().join("d");
    let disk = Small::mount(&data_dir);
    let mut server = Server::start(&data_dir);
    let app = json!({
        "replicas": 1, "resources": { "cpu": "100m", "memory": "64Mi" }, "container": { "image": image },
        "network": { "ports": { "http": { "container_port": 8080, "protocol": "HTTP" } } },
    });
    let route = json!({
        "visibility": "public", "hostnames": ["full.test"],
        "rules": [{ "name": "all", "backends": [{ "application": "a", "port": "http" }] }],
    });
    for (path, body) in
        [("", json!({})), ("/config-maps/old", json!({ "data": {} })), ("/applications/a", app), ("/routes/a", route)]
    {
        let answer = server.ask("PUT", &format!("/v1/namespaces/full{path}"), &body);
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    }
    let greeting = |server: &Server| http::get(server.address("gateway"), "full.test", "/").map(|answer| answer.status);
    wait_for("an answer of the application", Duration::from_mins(1), || match greeting(&server)? {
        200 => Ok(()),
        status => Err(status.to_string()),
    });

    disk.fill();
    // What was allocated before may still take a few writes.
    let mut taken = Vec::new();
    let refusal = wait_for("a refused write", Duration::from_secs(30), || {
        let path = format!("/v1/namespaces/full/config-maps/m{}", taken.len());
        let answer = server.ask("PUT", &path, &json!({ "data": { "text": "x".repeat(64 << 10) } }));
        if answer.status != 201 {
            return Ok(answer);
        }
        taken.push(path);
        Err("it was taken".to_owned())
    });
    let problem = refusal.json();
    assert_eq!((refusal.status, problem["code"].as_str()), (507, Some("STORAGE_FULL")), "{}", refusal.text());
    assert_eq!(problem["detail"], "nothing was changed: free space and try again");
    let refused = format!("/v1/namespaces/full/config-maps/m{}", taken.len());
    assert_eq!(server.ask("GET", &refused, &Value::Null).status, 404);
    assert_eq!(server.ask("GET", "/v1/namespaces/full/applications/a", &Value::Null).status, 200);
    assert_eq!(greeting(&server), Ok(200));

    disk.free();
    let answer = server.ask("PUT", &refused, &json!({ "data": { "text": "y" } }));
    assert_eq!(answer.status, 201, "{}", answer.text());
    // As after any stop, everything that was taken is there.
    assert!(server.process.stop(Duration::from_mins(1)).is_some_and(|status| status.success()));
    drop(server);
    let server = Server::start(&data_dir);
    for path in taken.iter().chain([&refused, &"/v1/namespaces/full/config-maps/old".to_owned()]) {
        assert_eq!(server.ask("GET", path, &Value::Null).status, 200, "{path}");
    }
    wait_for("an answer after the start", Duration::from_mins(1), || match greeting(&server)? {
        200 => Ok(()),
        status => Err(status.to_string()),
    });
}

#[test]
fn a_second_server_hears_of_the_first_and_not_of_the_port_that_it_has() {
    if !require() {
        return;
    }
    let folder = folder();
    let data_dir = folder.path().join("d");
    let server = Server::start(&data_dir);
    let mut args = arguments(&data_dir);
    args[5] = server.address("api").to_string();
    args[7] = server.address("gateway").to_string();
    let output = Command::new(&args[0]).args(&args[1..]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = format!(
        "data folder {} is used by another sampan process: stop it, or choose another --data-dir",
        data_dir.display()
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains(&wanted), "{shown}");
    // Elsewhere it is the port that is in the way.
    let other = folder.path().join("e");
    args[3] = other.display().to_string();
    let output = Command::new(&args[0]).args(&args[1..]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains(&format!("API address {}: Address already in use", args[5])), "{shown}");
    assert!(shown.contains("choose another --api"), "{shown}");
    assert_eq!(server.ask("GET", "/v1/server", &Value::Null).status, 200);
}
