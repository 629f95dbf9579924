//! `sampan dev`: why it does not start, and a real start and stop.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end at once, and says why it is skipped")]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use common::{Running, line_of, run, sampan, text};
use rustix::process::Signal;

const ANY: [&str; 4] = ["--api", "127.0.0.1:0", "--gateway", "127.0.0.1:0"];
const NOBODY: u32 = 65534;

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("sc").tempdir_in("/tmp").unwrap()
}

fn dev(data_dir: &Path, more: &[&str]) -> std::process::Command {
    let mut command = sampan(&["dev", "--data-dir", data_dir.to_str().unwrap()]);
    command.args(more);
    command
}

/// One line that begins with `error: `, exit code 1, and nothing on stdout.
fn one_error(output: &Output) -> String {
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(output.stdout.is_empty());
    let errors: Vec<&str> = shown.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{shown}");
    errors[0].to_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn without_root_it_says_so() {
    let data = folder();
    let program = folder();
    let mut command;
    if is_root() {
        // The program where another user can run it.
        for path in [data.path(), program.path()] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let copy = program.path().join("sampan");
        std::fs::copy(env!("CARGO_BIN_EXE_sampan"), &copy).unwrap();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        command = std::process::Command::new(copy);
        command.args(["dev", "--data-dir", data.path().to_str().unwrap()]).uid(NOBODY).gid(NOBODY);
    } else {
        command = dev(data.path(), &[]);
    }
    assert_eq!(one_error(&run(command.args(ANY))), "error: a node needs root: run it with sudo");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let data = folder();
    let file = data.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("data");
    let shown = one_error(&run(&mut dev(&inside, &ANY)));
    assert!(shown.starts_with(&format!("error: data folder {}: ", inside.display())), "{shown}");
    assert!(shown.ends_with("choose a writable --data-dir"), "{shown}");
}

#[test]
fn a_port_in_use_is_named() {
    let data = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let shown = one_error(&run(&mut dev(data.path(), &["--api", &address, "--gateway", "127.0.0.1:0"])));
    assert!(shown.contains(&address) && shown.contains("--api"), "{shown}");
    let shown = one_error(&run(&mut dev(data.path(), &["--api", "127.0.0.1:0", "--gateway", &address])));
    assert!(shown.contains(&address) && shown.contains("in use"), "{shown}");
}

#[test]
fn a_folder_of_another_server_is_named() {
    let data = folder();
    let lock = std::fs::File::create(data.path().join("node.lock")).unwrap();
    lock.try_lock().unwrap();
    // With a runtime that is not ours root is not asked for.
    let mut args = vec!["--cri-endpoint", "unix:///no/such/socket"];
    args.extend(ANY);
    let shown = one_error(&run(&mut dev(data.path(), &args)));
    assert!(shown.contains("is used by another sampan process") && shown.contains("--data-dir"), "{shown}");
}

/// Says why no container can run here.
fn missing() -> Option<String> {
    let output = run(&mut sampan(&["doctor", "-o", "json"]));
    if output.status.success() {
        return None;
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = report["missing"].to_string();
    assert!(std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref() != Ok("1"), "containers are required: {reason}");
    println!("skipped: this host lacks {reason}");
    Some(reason)
}

/// Tears down at the end, whatever happened.
struct Data(tempfile::TempDir);

impl Drop for Data {
    fn drop(&mut self) {
        let output = run(&mut dev(self.0.path(), &["--teardown"]));
        println!("teardown: {}", text(&output.stderr));
    }
}

#[test]
fn it_serves_stops_and_cleans_up_after_a_kill() {
    if missing().is_some() {
        return;
    }
    let data = Data(folder());
    let path = data.0.path();
    let mut server = Running::start(&mut dev(path, &ANY));
    let line = line_of(server.child.stdout.take().unwrap(), Duration::from_secs(90));
    let Some(line) = line else { panic!("not ready: {}", text(&server.wait(Duration::from_secs(5)).stderr)) };
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["event"], "ready");
    assert!(ready["gateway"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let (api, token) = (ready["api"].as_str().unwrap(), ready["token_file"].as_str().unwrap());
    assert_eq!(Path::new(token), path.canonicalize().unwrap().join("admin.token"));
    assert_eq!(std::fs::metadata(token).unwrap().permissions().mode() & 0o077, 0, "the token is for its owner only");

    let output = run(&mut sampan(&["get", "namespaces", "--endpoint", api, "--token-file", token]));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "no namespaces\n".into()));
    let wrong = run(sampan(&["get", "namespaces", "--endpoint", api]).env("SAMPAN_TOKEN", "wrong"));
    assert!(text(&wrong.stderr).contains("401"), "{wrong:?}");
    for (verb, kind) in [(["describe", "app", "a/b"], "application"), (["get", "routes", "a/b"], "route")] {
        let output = run(sampan(&verb).args(["--endpoint", api, "--token-file", token]));
        assert!(text(&output.stderr).contains(&format!("{kind} \"a/b\" does not exist")), "{output:?}");
    }
    // A second server of the same folder.
    let shown = one_error(&run(&mut dev(path, &ANY)));
    assert!(shown.contains("is used by another sampan process"), "{shown}");
    // The folder is not torn down under a running server.
    let shown = one_error(&run(&mut dev(path, &["--teardown"])));
    assert!(shown.contains("is used by another sampan process"), "{shown}");

    server.signal(Signal::TERM);
    let output = server.wait(Duration::from_mins(1));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("SIGTERM: stopping"));

    // Again on the same folder, and without a farewell.
    let mut server = Running::start(&mut dev(path, &ANY));
    assert!(line_of(server.child.stdout.take().unwrap(), Duration::from_secs(90)).is_some());
    server.signal(Signal::KILL);
    let _ = server.wait(Duration::from_secs(10));
    for _ in 0..2 {
        let output = run(&mut dev(path, &["--teardown"]));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    assert!(path.join("sampan.db").exists(), "objects stay");
}

#[test]
fn conformance_of_runc_passes_and_an_absent_class_never_does() {
    if missing().is_some() {
        return;
    }
    let output = Running::start(&mut sampan(&["conformance", "--isolation", "runc", "--updates", "3", "-o", "json"]))
        .wait(Duration::from_mins(4));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), report["result"].as_str()), (Some(0), Some("passed")), "{report:#}");
    let outcome = |name: &str| {
        let cases = report["cases"].as_array().unwrap();
        cases.iter().find(|case| case["name"] == name).unwrap()["outcome"].clone()
    };
    assert_eq!(outcome("boundary"), "skipped", "runc proves no boundary");
    for name in ["in_place_updates", "sigterm_ignored_then_killed", "crash_seen", "nothing_left", "probe_http"] {
        assert_eq!(outcome(name), "passed", "{name}");
    }

    let doctor = text(&run(&mut sampan(&["doctor", "-o", "json"])).stdout);
    let doctor: serde_json::Value = serde_json::from_str(&doctor).unwrap();
    let present = |class: &str| {
        let name = format!("isolation class {class}");
        doctor["checks"].as_array().unwrap().iter().any(|check| check["name"] == name && check["ok"] == true)
    };
    for class in ["kata", "gvisor"] {
        if present(class) {
            println!("skipped: class {class} is present");
            continue;
        }
        let args = ["conformance", "--isolation", class, "-o", "json"];
        let output = Running::start(&mut sampan(&args)).wait(Duration::from_mins(2));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), report["result"].as_str()), (Some(3), Some("skipped")), "{report:#}");
        assert!(report["cases"][0]["detail"].as_str().unwrap().contains("absent"), "{report:#}");
    }
}
