//! Against a real private containerd with runc. Needs root; skipped with a reason elsewhere, unless
//! `SAMPAN_REQUIRE_CONTAINERS=1`.

// Helpers of tests are outside of test functions, where the workspace allows these anyway.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sampan_engine::runtime::{
    ContainerSpec, ContainerState, LogQuery, ProbeAction, ProbeReport, ProbeSpec, Probes, Runtime, Sandbox,
    SandboxSpec, Usage,
};
use sampan_node::{Node, NodeConfig, leftovers, oci, remains, teardown};

/// Says why these tests cannot run here.
fn missing() -> Option<String> {
    let needed = ["root", "containerd", "ctr", "runc", "CNI plugins", "iptables", "ip", "overlayfs", "cgroups"];
    let report = sampan_node::host_report();
    let failed = report.into_iter().find(|check| needed.contains(&check.name.as_str()) && !check.ok)?;
    let reason = format!("{}: {}", failed.name, failed.detail);
    assert!(std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref() != Ok("1"), "containers are required: {reason}");
    println!("skipped: {reason}");
    Some(reason)
}

/// A short data folder that is torn down also when the test fails.
struct Data {
    path: PathBuf,
    folder: Option<tempfile::TempDir>,
}

impl Data {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("sn").tempdir_in("/tmp").unwrap();
        Self { path: folder.path().canonicalize().unwrap(), folder: Some(folder) }
    }
    fn config(&self) -> NodeConfig {
        let mut config = NodeConfig::new(&self.path);
        config.loopback_registries = true;
        config.handlers.retain(|class, _| class == "runc");
        config
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let path = self.path.clone();
        // A runtime of its own: this also runs while the test's one unwinds.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                for _ in 0..50 {
                    match teardown(&path).await {
                        Err(sampan_node::NodeError::DataDirLocked { .. }) => {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                        other => return other.map_err(|error| error.to_string()),
                    }
                }
                Err("the node is still in use".into())
            })
        })
        .join();
        if !matches!(cleaned, Ok(Ok(()))) {
            println!("teardown: {cleaned:?}");
            // What could not be removed stays to be looked at.
            if let Some(folder) = self.folder.take() {
                let _ = folder.keep();
            }
        }
    }
}

fn app() -> Vec<u8> {
    static BUILT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("app");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/app.rs");
            let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
            let status = std::process::Command::new(rustc)
                .args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "opt-level=s", "-o"])
                .arg(&out)
                .arg(source)
                .status()
                .unwrap();
            assert!(status.success());
            std::fs::read(out).unwrap()
        })
        .clone()
}

fn image() -> oci::Image {
    oci::build(&oci::ImageSpec {
        files: vec![oci::File { path: "/bin/app".into(), mode: 0o755, content: app() }],
        entrypoint: vec!["/bin/app".into()],
        env: vec![("VERSION".into(), "1".into())],
        ..oci::ImageSpec::default()
    })
    .unwrap()
}

const IMAGE: &str = "test.internal/app:1";

async fn start(data: &Data) -> Node {
    let begun = Instant::now();
    let node = Node::start(data.config()).await.unwrap();
    println!("start {:?}", begun.elapsed());
    let classes = node.classes();
    assert!(classes.iter().all(|status| status.available), "{classes:?}");
    node.image_import(IMAGE, image().archive(IMAGE).unwrap()).await.unwrap();
    node
}

fn sandbox_spec(instance: &str) -> SandboxSpec {
    SandboxSpec {
        instance: instance.into(),
        namespace: "test".into(),
        application: "app".into(),
        class: "runc".into(),
        generation: 0,
        cpu_millis: 500,
        memory_bytes: 64 << 20,
    }
}

fn container_spec(attempt: u32, args: &[&str]) -> ContainerSpec {
    ContainerSpec {
        name: "main".into(),
        attempt,
        image: IMAGE.into(),
        command: Vec::new(),
        args: args.iter().map(ToString::to_string).collect(),
        working_dir: None,
        env: vec![("VERSION".into(), attempt.to_string())],
        cpu_millis: 500,
        memory_bytes: 64 << 20,
        spec_hash: format!("hash-{attempt}"),
        revision: "r1".into(),
    }
}

async fn run(node: &Node, sandbox: &Sandbox, spec: &SandboxSpec, attempt: u32, args: &[&str]) -> String {
    let id = node.container_create(sandbox.id.clone(), spec.clone(), container_spec(attempt, args)).await.unwrap();
    node.container_start(id.clone()).await.unwrap();
    id
}

async fn get(sandbox: &Sandbox) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        if let Ok(mut stream) = tokio::net::TcpStream::connect((sandbox.ip, 8080)).await {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut text = String::new();
            if stream.read_to_string(&mut text).await.is_ok() && text.starts_with("HTTP/1.1 200") {
                return text.rsplit("\r\n").next().unwrap_or_default().to_string();
            }
        }
        assert!(Instant::now() < end, "{} does not answer", sandbox.ip);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn wait_exit(node: &Node, sandbox: &str, attempt: u32) -> sampan_engine::runtime::ObservedContainer {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let seen = node.observe(sandbox.to_string()).await.unwrap().unwrap();
        if let Some(found) =
            seen.containers.into_iter().find(|item| item.attempt == attempt && item.state == ContainerState::Exited)
        {
            return found;
        }
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn log_query(instance: &str, attempt: u32) -> LogQuery {
    LogQuery {
        namespace: "test".into(),
        application: "app".into(),
        instance: instance.into(),
        container: "main".into(),
        attempt,
        offset: 0,
        tail: None,
        max_bytes: 1 << 20,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_replaced_in_its_sandbox_and_nothing_is_left() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    nothing_left(&data.path).await;

    let spec = sandbox_spec("web-1");
    let begun = Instant::now();
    let sandbox = node.sandbox_run(spec.clone()).await.unwrap();
    println!("sandbox {:?}", begun.elapsed());
    assert_eq!(sandbox.isolation.verified, None);
    let first = run(&node, &sandbox, &spec, 0, &["serve"]).await;
    assert_eq!(get(&sandbox).await, "0");

    // The same request adopts; another spec under the same attempt is refused.
    assert_eq!(
        node.container_create(sandbox.id.clone(), spec.clone(), container_spec(0, &["serve"])).await,
        Ok(first.clone())
    );
    let mut other = container_spec(0, &["serve"]);
    other.spec_hash = "other".into();
    let refused = node.container_create(sandbox.id.clone(), spec.clone(), other).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.permanent), ("NameReserved", true));

    let usage = node.usage().await.unwrap();
    let [used] = usage.as_slice() else { panic!("{usage:?}") };
    assert_eq!((used.instance.as_str(), used.container.as_str(), used.attempt), ("web-1", first.as_str(), 0));
    assert!(used.stats.memory_working_set_bytes.is_some_and(|bytes| bytes > 0), "{used:?}");

    let failed = node.exec(first.clone(), vec!["/bin/app".into(), "exit".into(), "3".into()], 5).await.unwrap();
    assert_eq!(failed.exit_code, 3);
    assert!(String::from_utf8_lossy(&failed.stdout).contains("mode exit"));
    let none = node.exec(first.clone(), vec!["/nope".into()], 5).await.unwrap_err();
    assert_eq!(none.reason, "CommandNotFound");
    let late = node.exec(first.clone(), vec!["/bin/app".into(), "sleep".into()], 1).await.unwrap_err();
    assert_eq!(late.reason, "DeadlineExceeded");

    let begun = Instant::now();
    let second = node.container_create(sandbox.id.clone(), spec.clone(), container_spec(1, &["serve"])).await.unwrap();
    node.container_stop(first.clone(), 0).await.unwrap();
    node.container_start(second.clone()).await.unwrap();
    assert_eq!(get(&sandbox).await, "1");
    println!("in-place {:?}", begun.elapsed());
    node.container_remove(first.clone()).await.unwrap();
    node.container_remove(first.clone()).await.unwrap();
    node.container_stop(first, 1).await.unwrap();
    let seen = node.list().await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].id.as_str(), seen[0].ip, seen[0].ready), (sandbox.id.as_str(), Some(sandbox.ip), true));
    assert_eq!(seen[0].containers.len(), 1);
    let main = &seen[0].containers[0];
    assert_eq!((main.attempt, main.spec_hash.as_str(), main.state), (1, "hash-1", ContainerState::Running));
    assert!(main.started_at > 0 && main.exit_code.is_none());

    let (lines, next) = node.logs(log_query("web-1", 1)).await.unwrap();
    let text: Vec<(&str, bool)> = lines.iter().map(|line| (line.text.as_str(), line.stderr)).collect();
    assert!(text.contains(&("mode serve version 1", false)) && text.contains(&("to stderr", true)), "{text:?}");
    assert_eq!(node.logs(LogQuery { offset: next, ..log_query("web-1", 1) }).await.unwrap(), (Vec::new(), next));

    node.sandbox_remove(sandbox.id.clone(), spec.clone()).await.unwrap();
    node.sandbox_remove(sandbox.id.clone(), spec).await.unwrap();
    assert_eq!(node.observe(sandbox.id).await, Ok(None));
    nothing_left(&data.path).await;
    node.shutdown(true).await.unwrap();
    drop(node);
    teardown(&data.path).await.unwrap();
    teardown(&data.path).await.unwrap();
    assert_eq!(remains(&data.path), Vec::<String>::new());
}

/// Waits until no trace is left. Shims of sandboxes that are removed take a moment to end, also that of the one with
/// which the node has tried its class.
/// The usage of one instance's container, once `holds` is true of it.
async fn usage_once(node: &Node, instance: &str, holds: impl Fn(&Usage) -> bool) -> Usage {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let all = node.usage().await.unwrap();
        if let Some(found) = all.iter().find(|usage| usage.instance == instance && holds(usage)) {
            return found.clone();
        }
        assert!(Instant::now() < end, "{all:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_of_all_instances_is_known_from_one_call() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    let mut sandboxes = Vec::new();
    for (instance, mode) in [("idle-1", "sleep"), ("busy-1", "burn")] {
        let spec = sandbox_spec(instance);
        let sandbox = node.sandbox_run(spec.clone()).await.unwrap();
        run(&node, &sandbox, &spec, 0, &[mode]).await;
        sandboxes.push((sandbox, spec));
    }
    let counted = |usage: &Usage| usage.stats.cpu_nanos.is_some_and(|nanos| nanos > 0) && usage.stats.at > 0;
    let first = usage_once(&node, "busy-1", counted).await;
    assert_eq!((first.namespace.as_str(), first.application.as_str(), first.attempt), ("test", "app", 0));
    let (was, since) = (first.stats.cpu_nanos.unwrap(), first.stats.at);
    // The counter grows, and with it the time of the record.
    let later = usage_once(&node, "busy-1", |usage| usage.stats.cpu_nanos.is_some_and(|n| n > was + 100_000_000)).await;
    assert!(later.stats.at > since);
    // Not more than half a core, which is its limit, with room for the edges of a quota's periods.
    let cores = (later.stats.cpu_nanos.unwrap() - was) as f64 / (later.stats.at - since) as f64;
    assert!(cores < 1.0, "{cores}");
    let idle = usage_once(&node, "idle-1", |usage| usage.stats.memory_working_set_bytes.is_some()).await;
    assert!(idle.stats.memory_working_set_bytes.unwrap() < 64 << 20);
    assert!(idle.stats.cpu_nanos < later.stats.cpu_nanos);
    for (sandbox, spec) in sandboxes {
        node.sandbox_remove(sandbox.id, spec).await.unwrap();
    }
    assert_eq!(node.usage().await.unwrap(), []);
}

async fn nothing_left(data: &Path) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let left = leftovers(data);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{left:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_of_containers_have_their_reasons() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    let spec = sandbox_spec("ends");
    let sandbox = node.sandbox_run(spec.clone()).await.unwrap();
    for (attempt, args, reason, code) in
        [(0, vec!["exit", "0"], "Completed", 0), (1, vec!["exit", "5"], "Error", 5), (2, vec!["eat"], "OOMKilled", 137)]
    {
        run(&node, &sandbox, &spec, attempt, &args).await;
        let seen = wait_exit(&node, &sandbox.id, attempt).await;
        assert_eq!((seen.reason.as_str(), seen.exit_code), (reason, Some(code)));
        assert!(seen.finished_at >= seen.started_at);
    }
    let mut wrong = container_spec(3, &[]);
    wrong.command = vec!["/nope".into()];
    let id = node.container_create(sandbox.id.clone(), spec.clone(), wrong).await.unwrap();
    let error = node.container_start(id).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.permanent), ("CommandNotFound", true));
    assert_eq!(wait_exit(&node, &sandbox.id, 3).await.reason, "StartError");
    let mut absent = container_spec(4, &[]);
    absent.image = "test.internal/none:1".into();
    let error = node.container_create(sandbox.id.clone(), spec.clone(), absent).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.permanent), ("ImageMissing", false));
    run(&node, &sandbox, &spec, 5, &["long"]).await;
    wait_exit(&node, &sandbox.id, 5).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (lines, _) = node.logs(log_query("ends", 5)).await.unwrap();
    assert!(lines.iter().any(|line| line.text == "x".repeat(40_000)));
    let (lines, _) = node.logs(LogQuery { tail: Some(1), ..log_query("ends", 5) }).await.unwrap();
    assert_eq!(lines.len(), 1);
    // A sandbox with running and ended containers goes in one step.
    run(&node, &sandbox, &spec, 6, &["sleep"]).await;
    node.sandbox_remove(sandbox.id.clone(), spec).await.unwrap();
    nothing_left(&data.path).await;
    node.shutdown(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_survive_the_node_and_are_adopted() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    let spec = sandbox_spec("stay");
    let sandbox = node.sandbox_run(spec.clone()).await.unwrap();
    let id = run(&node, &sandbox, &spec, 0, &["serve"]).await;
    get(&sandbox).await;
    let pid = std::fs::read_to_string(data.path.join("run/containerd.pid")).unwrap();
    assert!(matches!(Node::start(data.config()).await, Err(sampan_node::NodeError::DataDirLocked { .. })));
    let name = node.node();
    drop(node);

    let node = Node::start(data.config()).await.unwrap();
    assert_eq!(node.node(), name);
    assert_eq!(std::fs::read_to_string(data.path.join("run/containerd.pid")).unwrap(), pid, "not doubled");
    let seen = node.list().await.unwrap();
    assert_eq!((seen[0].id.as_str(), seen[0].containers[0].id.as_str()), (sandbox.id.as_str(), id.as_str()));
    assert_eq!(get(&sandbox).await, "0");

    // containerd is killed: it comes back by itself, the workload does not notice.
    let raw = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match node.list().await {
            Ok(seen) if seen[0].ready && seen[0].containers[0].state == ContainerState::Running => break,
            other => assert!(Instant::now() < end, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(get(&sandbox).await, "0");

    // Everything at once, as after a kill -9 of the whole server: containerd dies, nothing is told to it.
    let pid = std::fs::read_to_string(data.path.join("run/containerd.pid")).unwrap();
    drop(node);
    let raw = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    assert!(!leftovers(&data.path).is_empty());
    teardown(&data.path).await.unwrap();
    assert_eq!(remains(&data.path), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_node_is_torn_down_by_names_alone() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    let spec = sandbox_spec("torn");
    let sandbox = node.sandbox_run(spec.clone()).await.unwrap();
    run(&node, &sandbox, &spec, 0, &["sleep"]).await;
    let pid = std::fs::read_to_string(data.path.join("run/containerd.pid")).unwrap();
    drop(node);
    let raw = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Without its root folder containerd is not started: only names are left to go by.
    std::fs::rename(data.path.join("containerd"), data.path.join("lost")).unwrap();
    let before = leftovers(&data.path);
    for kind in
        ["shim process", "process", "cgroup", "mount", "address lease", "CNI result", "iptables rule", "interface"]
    {
        assert!(before.iter().any(|item| item.starts_with(kind)), "{kind} in {before:#?}");
    }
    assert!(before.iter().any(|item| item.contains(&format!("cni-loopback-{}-lo", sandbox.id))), "{before:#?}");
    teardown(&data.path).await.unwrap();
    assert_eq!(remains(&data.path), Vec::<String>::new());
    assert!(before.iter().filter_map(|item| item.strip_prefix("CNI result: ")).all(|path| !Path::new(path).exists()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_the_runtime_has_forgotten_ends_with_its_sandbox() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    // As after a kill -9 of containerd in the middle of a sandbox's start: the shim runs, and nobody knows of a task.
    let id = "5".repeat(64);
    let bundle = data.path.join("run/containerd/io.containerd.runtime.v2.task/k8s.io").join(&id);
    std::fs::create_dir_all(&bundle).unwrap();
    std::fs::write(bundle.join("config.json"), "{}").unwrap();
    // Where containerd reads what the shim logs; without it the shim ends at once.
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, bundle.join("log"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let shim = std::process::Command::new("containerd-shim-runc-v2")
        .args(["-namespace", "k8s.io", "-id", &id, "-address"])
        .arg(data.path.join("run/containerd.sock"))
        .arg("start")
        .current_dir(&bundle)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    assert!(shim.status.success(), "{}", String::from_utf8_lossy(&shim.stderr));
    // The command returns a moment before the shim that it has started shows its name.
    let runs = || leftovers(&data.path).iter().any(|trace| trace.starts_with("shim process"));
    let end = Instant::now() + Duration::from_secs(10);
    while !runs() {
        assert!(Instant::now() < end, "{:?}", leftovers(&data.path));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.sandbox_remove(id, sandbox_spec("lost-1")).await.unwrap();
    nothing_left(&data.path).await;
    assert!(!bundle.exists());
    node.shutdown(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_do_not_reach_each_other_but_the_bridge() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    let (a, b) = (sandbox_spec("a"), sandbox_spec("b"));
    let one = node.sandbox_run(a.clone()).await.unwrap();
    let two = node.sandbox_run(b.clone()).await.unwrap();
    run(&node, &one, &a, 0, &["serve"]).await;
    get(&one).await;
    let other = run(&node, &two, &b, 0, &["sleep"]).await;
    let connect = |target: String| node.exec(other.clone(), vec!["/bin/app".into(), "connect".into(), target], 5);
    assert_eq!(connect(format!("{}:8080", one.ip)).await.unwrap().exit_code, 7);
    let bridge = node.bridge_ip().unwrap();
    let listener = tokio::net::TcpListener::bind((bridge, 0)).await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    assert_eq!(connect(target).await.unwrap().exit_code, 0);
    node.shutdown(true).await.unwrap();
    nothing_left(&data.path).await;
}

/// A name server on port 53 of an address of its own on loopback: every name has the address 192.0.2.80.
async fn name_server() -> (std::net::Ipv4Addr, tokio::task::JoinHandle<()>) {
    let process = std::process::id().to_be_bytes();
    let address = std::net::Ipv4Addr::new(127, 53, process[2], process[3]);
    let socket = tokio::net::UdpSocket::bind((address, 53)).await.unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((size, peer)) = socket.recv_from(&mut buffer).await {
            // One question and nothing after it, as libc asks: the type is in front of the class.
            let mut answer = buffer[..size].to_vec();
            let is_a = answer[size - 4..size - 2] == [0, 1];
            answer[2] |= 0x80;
            if is_a {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80]);
            }
            let _ = socket.send_to(&answer, peer).await;
        }
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_inside_a_sandbox_lead_to_the_bridge_or_to_the_hosts_name_servers() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let (server, task) = name_server().await;
    let config = || {
        let mut config = data.config();
        config.dns_servers = vec![server.to_string()];
        config
    };
    let known: sampan_node::KnownApplication = Arc::new(|ns, app| (ns, app) == ("test", "web"));
    let node = Node::start(config()).await.unwrap();
    node.image_import(IMAGE, image().archive(IMAGE).unwrap()).await.unwrap();
    node.dns_start(known.clone()).await.unwrap();
    let spec = sandbox_spec("names");
    let sandbox = node.sandbox_run(spec.clone()).await.unwrap();
    let id = run(&node, &sandbox, &spec, 0, &["sleep"]).await;
    let bridge = node.bridge_ip().unwrap();
    let resolve = async |node: &Node| {
        let command = ["/bin/app", "resolve", "web.test.internal", "web", "none.test.internal", "out.example"];
        let answer = node.exec(id.clone(), command.map(String::from).to_vec(), 30).await.unwrap();
        let text = String::from_utf8(answer.stdout).unwrap();
        text.lines().filter(|line| line.contains(" is ")).map(String::from).collect::<Vec<_>>()
    };
    let check = |found: &[String]| {
        let [full, short, none, out] = found else { panic!("{found:#?}") };
        assert_eq!(full, &format!("web.test.internal is {bridge}"));
        assert_eq!(short, &format!("web is {bridge}"), "by the search domain");
        assert!(none.starts_with("none.test.internal is not found"), "{none}");
        assert_eq!(out, "out.example is 192.0.2.80");
    };
    check(&resolve(&node).await);

    // A server that starts again answers the sandboxes that it finds.
    node.shutdown(false).await.unwrap();
    drop(node);
    let node = Node::start(config()).await.unwrap();
    node.dns_start(known).await.unwrap();
    check(&resolve(&node).await);
    node.shutdown(true).await.unwrap();
    nothing_left(&data.path).await;
    task.abort();
}

fn probe(action: ProbeAction) -> ProbeSpec {
    ProbeSpec {
        action,
        initial_delay_ms: 0,
        period_ms: 500,
        timeout_ms: 1000,
        success_threshold: 1,
        failure_threshold: 2,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_find_a_start_and_an_end() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    let spec = sandbox_spec("probed");
    let sandbox = node.sandbox_run(spec.clone()).await.unwrap();
    let id = run(&node, &sandbox, &spec, 0, &["serve"]).await;
    let reports: Arc<Mutex<Vec<ProbeReport>>> = Arc::default();
    let http = ProbeAction::Http {
        port: 8080,
        path: "/".into(),
        host: None,
        headers: BTreeMap::new(),
        expect_status: Vec::new(),
    };
    let probes = Probes {
        startup: Some(probe(ProbeAction::Tcp { port: 8080 })),
        readiness: Some(probe(http)),
        liveness: Some(probe(ProbeAction::Exec { command: vec!["/bin/app".into(), "exit".into(), "0".into()] })),
    };
    let sink = reports.clone();
    let report = Box::new(move |report| sink.lock().unwrap().push(report));
    node.probes_watch(id.clone(), sandbox.ip, probes, ProbeReport::default(), report);
    let wait = async |wanted: fn(&ProbeReport) -> bool| {
        let end = Instant::now() + Duration::from_secs(10);
        while !reports.lock().unwrap().last().is_some_and(wanted) {
            assert!(Instant::now() < end, "{:?}", reports.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait(|report| report.started == Some(true) && report.ready && report.live == Some(true)).await;
    node.container_stop(id.clone(), 0).await.unwrap();
    wait(|report| !report.ready && report.live == Some(false) && !report.message.is_empty()).await;
    node.probes_forget(&id);
    node.shutdown(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_named_kata_that_shares_the_kernel_is_refused() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let mut config = data.config();
    config.handlers.insert("kata".into(), "kata".into());
    config.handlers.insert("other".into(), "absent".into());
    config.runtime_types.insert("kata".into(), "io.containerd.runc.v2".into());
    let node = Node::start(config).await.unwrap();
    let classes: BTreeMap<String, (bool, String)> =
        node.classes().into_iter().map(|status| (status.class, (status.available, status.reason))).collect();
    assert!(classes["runc"].0);
    assert!(!classes["kata"].0);
    assert!(classes["kata"].1.contains("IsolationNotVerified"), "{}", classes["kata"].1);
    assert!(classes["kata"].1.contains("boot_id"), "{}", classes["kata"].1);
    assert!(classes["other"].1.contains("containerd-shim-absent-v2"), "{}", classes["other"].1);
    let mut spec = sandbox_spec("vm");
    spec.class = "kata".into();
    let error = node.sandbox_run(spec).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.permanent), ("IsolationUnavailable", true));
    nothing_left(&data.path).await;
    node.shutdown(true).await.unwrap();
}

/// A registry of the Debian package, if it is there.
struct Registry {
    child: std::process::Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Registry {
    async fn start() -> Option<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            folder.path().join("store").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = std::process::Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let required = std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref() == Ok("1");
                assert!(!required, "containers are required: docker-registry does not start: {error}");
                println!("skipped: docker-registry does not start: {error}");
                return None;
            }
        };
        let registry = Self { child, address, _folder: folder };
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(&registry.address).await.is_ok() {
                return Some(registry);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the registry did not start");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pulled_by_digest_from_a_plain_registry() {
    if missing().is_some() {
        return;
    }
    let data = Data::new();
    let node = start(&data).await;
    let Some(registry) = Registry::start().await else { return };
    let reference = image().push(&registry.address, "team/app", "1").await.unwrap();
    assert_eq!(image().push(&registry.address, "team/app", "1").await.unwrap(), reference);
    assert_eq!(node.image_id(reference.clone()).await, Ok(None));
    let pulls = (0..5).map(|_| node.image_pull(reference.clone(), None));
    assert!(futures_util::future::join_all(pulls).await.iter().all(Result::is_ok));
    assert_eq!(node.image_id(reference.clone()).await, Ok(Some(image().id())));

    let spec = sandbox_spec("pulled");
    let sandbox = node.sandbox_run(spec.clone()).await.unwrap();
    let mut container = container_spec(0, &["serve"]);
    container.image = reference.clone();
    let id = node.container_create(sandbox.id.clone(), spec.clone(), container).await.unwrap();
    node.container_start(id).await.unwrap();
    assert_eq!(get(&sandbox).await, "0");
    node.sandbox_remove(sandbox.id, spec).await.unwrap();
    node.image_remove(&reference).await.unwrap();

    let absent = format!("{}/team/none@sha256:{}", registry.address, "0".repeat(64));
    let error = node.image_pull(absent, None).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.permanent), ("ImageNotFound", true), "{error}");
    let gone = registry.address.clone();
    drop(registry);
    let error = node.image_pull(format!("{gone}/team/app:2"), None).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.permanent), ("RegistryUnreachable", false), "{error}");
    node.shutdown(true).await.unwrap();
}
