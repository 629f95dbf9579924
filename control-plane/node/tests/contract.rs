//! What a node sends to a container runtime, and how it takes what comes back. The runtime is played in-process: it
//! records every call and misbehaves on script, so that class `kata` can be checked where no VM can run.

// Helpers of tests are outside of test functions, where the workspace allows these anyway.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sampan_engine::runtime::{ContainerSpec, ContainerState, Login, Runtime, SandboxSpec};
use sampan_node::proto::{self, image_service_server::*, runtime_service_server::*};
use sampan_node::{Node, NodeConfig};
use tonic::{Request, Response, Status};

/// What the runtime does next, per call name.
enum Act {
    Fail(Status),
    Hang,
    /// Does its work and answers with a failure all the same.
    DoneButFail(Status),
}

#[derive(Default)]
struct State {
    calls: Vec<String>,
    timeouts: HashMap<String, String>,
    script: HashMap<String, VecDeque<Act>>,
    runs: Vec<proto::RunPodSandboxRequest>,
    creates: Vec<proto::CreateContainerRequest>,
    stops: Vec<proto::StopContainerRequest>,
    pulls: Vec<proto::PullImageRequest>,
    sandboxes: Vec<proto::PodSandbox>,
    containers: Vec<proto::Container>,
    stats: Vec<proto::ContainerStats>,
    next: u32,
    /// What the probe program prints inside a sandbox; empty: nothing.
    kernel: String,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

type Answer<T> = Result<Response<T>, Status>;

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
    fn will(&self, call: &str, act: Act) {
        self.state().script.entry(call.into()).or_default().push_back(act);
    }
    fn calls_since(&self, mark: usize) -> Vec<String> {
        self.state().calls[mark..].to_vec()
    }
    fn mark(&self) -> usize {
        self.state().calls.len()
    }
    async fn enter<T>(&self, call: &str, request: &Request<T>) -> Result<Option<Status>, Status> {
        let act = {
            let mut state = self.state();
            state.calls.push(call.into());
            if let Some(value) = request.metadata().get("grpc-timeout") {
                state.timeouts.insert(call.into(), value.to_str().unwrap().into());
            }
            state.script.get_mut(call).and_then(VecDeque::pop_front)
        };
        match act {
            None => Ok(None),
            Some(Act::Fail(status)) => Err(status),
            Some(Act::DoneButFail(status)) => Ok(Some(status)),
            Some(Act::Hang) => std::future::pending().await,
        }
    }
}

fn done<T>(late: Option<Status>, answer: T) -> Answer<T> {
    late.map_or_else(|| Ok(Response::new(answer)), Err)
}

#[tonic::async_trait]
impl RuntimeService for Fake {
    async fn version(&self, request: Request<proto::VersionRequest>) -> Answer<proto::VersionResponse> {
        let late = self.enter("Version", &request).await?;
        done(late, proto::VersionResponse::default())
    }
    async fn status(&self, request: Request<proto::StatusRequest>) -> Answer<proto::StatusResponse> {
        let late = self.enter("Status", &request).await?;
        let runtimes = r#"{"containerd":{"runtimes":{"kata":{"options":{}},"runc":{"options":{}}}}}"#;
        done(late, proto::StatusResponse { info: [("config".into(), runtimes.into())].into(), ..Default::default() })
    }
    async fn run_pod_sandbox(&self, request: Request<proto::RunPodSandboxRequest>) -> Answer<proto::PodSandboxId> {
        let late = self.enter("RunPodSandbox", &request).await?;
        let query = request.into_inner();
        let mut state = self.state();
        state.next += 1;
        let id = format!("sandbox-{}", state.next);
        let config = query.config.clone().unwrap();
        state.sandboxes.push(proto::PodSandbox {
            id: id.clone(),
            metadata: config.metadata,
            labels: config.labels,
            ..Default::default()
        });
        state.runs.push(query);
        done(late, proto::PodSandboxId { pod_sandbox_id: id })
    }
    async fn stop_pod_sandbox(&self, request: Request<proto::PodSandboxId>) -> Answer<proto::Empty> {
        let late = self.enter("StopPodSandbox", &request).await?;
        done(late, proto::Empty {})
    }
    async fn remove_pod_sandbox(&self, request: Request<proto::PodSandboxId>) -> Answer<proto::Empty> {
        let late = self.enter("RemovePodSandbox", &request).await?;
        let id = request.into_inner().pod_sandbox_id;
        let mut state = self.state();
        state.sandboxes.retain(|item| item.id != id);
        state.containers.retain(|item| item.pod_sandbox_id != id);
        done(late, proto::Empty {})
    }
    async fn pod_sandbox_status(
        &self,
        request: Request<proto::PodSandboxStatusRequest>,
    ) -> Answer<proto::PodSandboxStatusResponse> {
        let late = self.enter("PodSandboxStatus", &request).await?;
        let network = Some(proto::PodSandboxNetworkStatus { ip: "10.99.0.7".into(), additional_ips: Vec::new() });
        let status = Some(proto::PodSandboxStatus { network, ..Default::default() });
        done(late, proto::PodSandboxStatusResponse { status, info: HashMap::new() })
    }
    /// Ignores filters on purpose: a node must not rely on them to keep off what is not its own.
    async fn list_pod_sandbox(
        &self,
        request: Request<proto::ListPodSandboxRequest>,
    ) -> Answer<proto::ListPodSandboxResponse> {
        let late = self.enter("ListPodSandbox", &request).await?;
        let items = self.state().sandboxes.clone();
        done(late, proto::ListPodSandboxResponse { items })
    }
    async fn create_container(&self, request: Request<proto::CreateContainerRequest>) -> Answer<proto::ContainerId> {
        let late = self.enter("CreateContainer", &request).await?;
        let query = request.into_inner();
        let mut state = self.state();
        state.next += 1;
        let id = format!("container-{}", state.next);
        let config = query.config.clone().unwrap();
        state.containers.push(proto::Container {
            id: id.clone(),
            pod_sandbox_id: query.pod_sandbox_id.clone(),
            metadata: config.metadata,
            labels: config.labels,
            ..Default::default()
        });
        state.creates.push(query);
        done(late, proto::ContainerId { container_id: id })
    }
    async fn start_container(&self, request: Request<proto::ContainerId>) -> Answer<proto::Empty> {
        let late = self.enter("StartContainer", &request).await?;
        let id = request.into_inner().container_id;
        let mut state = self.state();
        let kernel = state.kernel.clone();
        let last = state.creates.last().cloned().unwrap();
        let config = last.config.unwrap();
        let probe = config.command.iter().any(|word| word == "probe");
        if probe {
            let path = PathBuf::from(last.sandbox_config.unwrap().log_directory).join(config.log_path);
            let line = |text: &str| format!("2026-01-01T00:00:00.000000000Z stdout F {text}\n");
            std::fs::write(path, kernel.lines().map(line).collect::<String>()).unwrap();
        }
        if let Some(item) = state.containers.iter_mut().find(|item| item.id == id) {
            item.state = if probe { 2 } else { 1 };
        }
        done(late, proto::Empty {})
    }
    async fn stop_container(&self, request: Request<proto::StopContainerRequest>) -> Answer<proto::Empty> {
        let late = self.enter("StopContainer", &request).await?;
        self.state().stops.push(request.into_inner());
        done(late, proto::Empty {})
    }
    async fn remove_container(&self, request: Request<proto::ContainerId>) -> Answer<proto::Empty> {
        let late = self.enter("RemoveContainer", &request).await?;
        let id = request.into_inner().container_id;
        self.state().containers.retain(|item| item.id != id);
        done(late, proto::Empty {})
    }
    async fn list_containers(
        &self,
        request: Request<proto::ListContainersRequest>,
    ) -> Answer<proto::ListContainersResponse> {
        let late = self.enter("ListContainers", &request).await?;
        let containers = self.state().containers.clone();
        done(late, proto::ListContainersResponse { containers })
    }
    async fn container_status(
        &self,
        request: Request<proto::ContainerStatusRequest>,
    ) -> Answer<proto::ContainerStatusResponse> {
        let late = self.enter("ContainerStatus", &request).await?;
        let id = request.into_inner().container_id;
        let found = self.state().containers.iter().find(|item| item.id == id).cloned();
        let item = found.ok_or_else(|| Status::not_found("container not found"))?;
        let status = proto::ContainerStatus {
            id,
            state: item.state,
            started_at: 10,
            finished_at: if item.state == 2 { 20 } else { 0 },
            exit_code: 3,
            reason: "Error".into(),
            ..Default::default()
        };
        done(late, proto::ContainerStatusResponse { status: Some(status), info: HashMap::new() })
    }
    async fn update_container_resources(
        &self,
        request: Request<proto::UpdateContainerResourcesRequest>,
    ) -> Answer<proto::Empty> {
        let late = self.enter("UpdateContainerResources", &request).await?;
        done(late, proto::Empty {})
    }
    async fn reopen_container_log(&self, request: Request<proto::ContainerId>) -> Answer<proto::Empty> {
        let late = self.enter("ReopenContainerLog", &request).await?;
        done(late, proto::Empty {})
    }
    async fn exec_sync(&self, request: Request<proto::ExecSyncRequest>) -> Answer<proto::ExecSyncResponse> {
        let late = self.enter("ExecSync", &request).await?;
        done(late, proto::ExecSyncResponse { stdout: b"out".to_vec(), stderr: Vec::new(), exit_code: 0 })
    }
    async fn list_container_stats(
        &self,
        request: Request<proto::ListContainerStatsRequest>,
    ) -> Answer<proto::ListContainerStatsResponse> {
        let late = self.enter("ListContainerStats", &request).await?;
        let stats = self.state().stats.clone();
        done(late, proto::ListContainerStatsResponse { stats })
    }
}

#[tonic::async_trait]
impl ImageService for Fake {
    async fn list_images(&self, request: Request<proto::ListImagesRequest>) -> Answer<proto::ListImagesResponse> {
        let late = self.enter("ListImages", &request).await?;
        done(late, proto::ListImagesResponse::default())
    }
    async fn image_status(&self, request: Request<proto::ImageStatusRequest>) -> Answer<proto::ImageStatusResponse> {
        let late = self.enter("ImageStatus", &request).await?;
        let name = request.into_inner().image.unwrap().image;
        let image = name
            .starts_with("sampan.internal/")
            .then(|| proto::Image { id: "sha256:own".into(), ..Default::default() });
        done(late, proto::ImageStatusResponse { image, info: HashMap::new() })
    }
    async fn pull_image(&self, request: Request<proto::PullImageRequest>) -> Answer<proto::PullImageResponse> {
        let late = self.enter("PullImage", &request).await?;
        self.state().pulls.push(request.into_inner());
        tokio::time::sleep(Duration::from_millis(100)).await;
        done(late, proto::PullImageResponse { image_ref: "sha256:x".into() })
    }
    async fn remove_image(&self, request: Request<proto::RemoveImageRequest>) -> Answer<proto::Empty> {
        let late = self.enter("RemoveImage", &request).await?;
        done(late, proto::Empty {})
    }
}

const OTHER_KERNEL: &str = "boot_id=00000000-0000-0000-0000-000000000001\nkernel_version=Linux guest";

struct Scene {
    fake: Fake,
    node: Arc<dyn Runtime>,
    concrete: Node,
    folder: tempfile::TempDir,
}

async fn scene_with(fake: Fake) -> Scene {
    scene_of(fake, &[]).await
}

async fn scene_of(fake: Fake, dns_servers: &[&str]) -> Scene {
    let folder = tempfile::Builder::new().prefix("sc").tempdir_in("/tmp").unwrap();
    let socket = folder.path().join("cri.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    let server = tonic::transport::Server::builder()
        .add_service(RuntimeServiceServer::new(fake.clone()))
        .add_service(ImageServiceServer::new(fake.clone()))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    let mut config = NodeConfig::new(folder.path().join("d"));
    config.insecure_registries = vec!["localhost:5000".into()];
    config.dns_servers = dns_servers.iter().map(ToString::to_string).collect();
    config.cri_endpoint = Some(format!("unix://{}", socket.display()));
    let concrete = Node::start(config).await.unwrap();
    Scene { fake, node: Arc::new(concrete.clone()), concrete, folder }
}

async fn scene() -> Scene {
    let fake = Fake::default();
    fake.state().kernel = OTHER_KERNEL.into();
    scene_with(fake).await
}

fn sandbox_spec(class: &str) -> SandboxSpec {
    SandboxSpec {
        instance: "web-1".into(),
        namespace: "shop".into(),
        application: "web".into(),
        class: class.into(),
        generation: 2,
        cpu_millis: 1500,
        memory_bytes: 512 << 20,
    }
}

fn container_spec(attempt: u32) -> ContainerSpec {
    ContainerSpec {
        name: "main".into(),
        attempt,
        image: "registry.example/web@sha256:0".into(),
        command: vec!["/web".into()],
        args: vec!["-v".into()],
        working_dir: Some("/srv".into()),
        env: vec![("B".into(), "2".into()), ("A".into(), "1".into())],
        cpu_millis: 1000,
        memory_bytes: 256 << 20,
        spec_hash: "h1".into(),
        revision: "r7".into(),
    }
}

#[tokio::test]
async fn a_kata_sandbox_is_asked_for_in_full() {
    let scene = scene().await;
    let mark = scene.fake.mark();
    let made = scene.node.sandbox_run(sandbox_spec("kata")).await.unwrap();
    assert_eq!((made.ip.to_string().as_str(), made.isolation.verified), ("10.99.0.7", Some(true)));
    assert!(made.isolation.evidence.contains("00000000-0000-0000-0000-000000000001"));
    let expected = [
        "RunPodSandbox",
        "PodSandboxStatus",
        "ListContainers",
        "CreateContainer",
        "StartContainer",
        "ContainerStatus",
        "RemoveContainer",
    ];
    assert_eq!(scene.fake.calls_since(mark), expected);

    let state = scene.fake.state();
    let run = state.runs.last().unwrap();
    assert_eq!(run.runtime_handler, "kata");
    let config = run.config.as_ref().unwrap();
    let metadata = config.metadata.as_ref().unwrap();
    assert_eq!((metadata.name.as_str(), metadata.namespace.as_str(), metadata.attempt), ("web-1", "shop", 2));
    assert_eq!(config.hostname, "web-1");
    assert!(config.annotations.is_empty(), "annotations reach the VMM");
    assert!(config.log_directory.ends_with("/d/logs/shop/web/web-1"));
    assert_eq!(config.dns_config.as_ref().unwrap().searches, ["shop.internal"]);
    for (key, value) in [
        ("sampan.instance", "web-1"),
        ("sampan.namespace", "shop"),
        ("sampan.app", "web"),
        ("sampan.class", "kata"),
        ("sampan.node", &scene.node.node()),
    ] {
        assert_eq!(config.labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    let linux = config.linux.as_ref().unwrap();
    assert!(linux.cgroup_parent.starts_with("/sampan-") && linux.cgroup_parent.ends_with("/web-1"));
    let options = linux.security_context.as_ref().unwrap().namespace_options.as_ref().unwrap();
    assert_eq!((options.network, options.pid, options.ipc), (0, 1, 0));
    let resources = linux.resources.as_ref().unwrap();
    assert_eq!(
        (resources.cpu_period, resources.cpu_quota, resources.memory_limit_in_bytes),
        (100_000, 150_000, 512 << 20)
    );
    let overhead = linux.overhead.as_ref().unwrap();
    assert_eq!((overhead.cpu_quota, overhead.memory_limit_in_bytes), (25_000, 320 << 20));
    // The VM's probe is ours, in the same sandbox.
    let probe = state.creates.last().unwrap();
    assert_eq!(probe.pod_sandbox_id, made.id);
    assert!(probe.config.as_ref().unwrap().image.as_ref().unwrap().image.starts_with("sampan.internal/tools:"));
    for call in expected {
        assert!(state.timeouts.contains_key(call), "{call} without a deadline");
    }
}

#[tokio::test]
async fn sandboxes_ask_the_responder_for_names_once_it_runs() {
    let scene = scene_of(Fake::default(), &["192.0.2.53"]).await;
    let known: sampan_node::KnownApplication = Arc::new(|_, _| true);
    let dns = |state: &State| state.runs.last().unwrap().config.as_ref().unwrap().dns_config.clone().unwrap();
    let wanted = |server: &str| proto::DnsConfig {
        servers: vec![server.into()],
        searches: vec!["shop.internal".into()],
        options: Vec::new(),
    };
    // With a runtime that is not ours there is no bridge, and where the port is taken there is no responder.
    let error = scene.concrete.dns_start(known.clone()).await.unwrap_err();
    assert!(matches!(error, sampan_node::DnsError::NoBridge), "{error}");
    let holder = tokio::net::UdpSocket::bind("127.77.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap();
    let error = scene.concrete.dns_start_at(taken, "127.77.0.0/16", known.clone()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{taken} cannot be listened on: ")), "{error}");
    scene.node.sandbox_run(sandbox_spec("runc")).await.unwrap();
    assert_eq!(dns(&scene.fake.state()), wanted("192.0.2.53"));

    let free = std::net::SocketAddr::from(([127, 77, 0, 1], 0));
    // A port that is free for TCP may be taken for UDP.
    let mut tries = 0;
    while let Err(error) = scene.concrete.dns_start_at(free, "127.77.0.0/16", known.clone()).await {
        tries += 1;
        assert!(tries < 50, "{error}");
    }
    scene.node.sandbox_run(sandbox_spec("runc")).await.unwrap();
    assert_eq!(dns(&scene.fake.state()), wanted("127.77.0.1"));
}

#[tokio::test]
async fn runc_has_no_overhead_and_nothing_to_prove() {
    let scene = scene().await;
    let mark = scene.fake.mark();
    let made = scene.node.sandbox_run(sandbox_spec("runc")).await.unwrap();
    assert_eq!(made.isolation.verified, None);
    assert_eq!(scene.fake.calls_since(mark), ["RunPodSandbox", "PodSandboxStatus"]);
    assert_eq!(scene.fake.state().runs.last().unwrap().config.as_ref().unwrap().linux.as_ref().unwrap().overhead, None);
}

#[tokio::test]
async fn classes_without_a_handler_say_what_to_install() {
    let scene = scene().await;
    let classes = scene.node.classes();
    let available: Vec<&str> =
        classes.iter().filter(|status| status.available).map(|status| status.class.as_str()).collect();
    assert_eq!(available, ["kata", "runc"]);
    let gvisor = classes.iter().find(|status| status.class == "gvisor").unwrap();
    assert!(gvisor.reason.contains("containerd-shim-runsc-v1"), "{}", gvisor.reason);
    for class in ["gvisor", "unheard-of"] {
        let error = scene.node.sandbox_run(sandbox_spec(class)).await.unwrap_err();
        assert_eq!((error.reason.as_str(), error.permanent), ("IsolationUnavailable", true));
    }
    assert!(scene.fake.state().sandboxes.is_empty(), "the checks leave nothing");
}

#[tokio::test]
async fn a_sandbox_on_the_hosts_kernel_is_refused_and_removed() {
    let scene = scene().await;
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let version = std::fs::read_to_string("/proc/version").unwrap();
    for kernel in [format!("boot_id={host}"), format!("kernel_version={version}")] {
        scene.fake.state().kernel = kernel;
        let error = scene.node.sandbox_run(sandbox_spec("kata")).await.unwrap_err();
        assert_eq!((error.reason.as_str(), error.permanent), ("IsolationNotVerified", true), "{error}");
        let state = scene.fake.state();
        assert!(state.sandboxes.is_empty() && state.containers.is_empty());
        assert!(state.calls.iter().any(|call| call == "StopPodSandbox"));
    }
    assert!(!scene.folder.path().join("d/logs/shop").exists());
}

#[tokio::test]
async fn a_kernel_that_cannot_be_read_is_never_taken_for_proof() {
    let scene = scene().await;
    scene.fake.state().kernel.clear();
    let error = scene.node.sandbox_run(sandbox_spec("kata")).await.unwrap_err();
    assert_eq!(error.reason, "IsolationNotVerified");
    scene.fake.state().kernel = OTHER_KERNEL.into();
    scene.fake.will("StartContainer", Act::Fail(Status::unknown("agent is gone")));
    let error = scene.node.sandbox_run(sandbox_spec("kata")).await.unwrap_err();
    assert_eq!(error.reason, "IsolationNotVerified");
    assert!(scene.fake.state().sandboxes.is_empty());
}

#[tokio::test]
async fn a_handler_that_shares_the_kernel_is_absent_from_the_start() {
    let fake = Fake::default();
    fake.state().kernel =
        format!("boot_id={}", std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
    let scene = scene_with(fake).await;
    let kata = scene.node.classes().into_iter().find(|status| status.class == "kata").unwrap();
    assert!(!kata.available && kata.reason.contains("IsolationNotVerified"), "{}", kata.reason);
}

#[tokio::test]
async fn a_container_is_created_with_both_limits_and_the_sandboxs_config() {
    let scene = scene().await;
    let spec = sandbox_spec("runc");
    let made = scene.node.sandbox_run(spec.clone()).await.unwrap();
    let id = scene.node.container_create(made.id.clone(), spec.clone(), container_spec(4)).await.unwrap();
    {
        let state = scene.fake.state();
        let create = state.creates.last().unwrap();
        assert_eq!(create.sandbox_config, state.runs.last().unwrap().config);
        let config = create.config.as_ref().unwrap();
        assert_eq!(config.metadata, Some(proto::ContainerMetadata { name: "main".into(), attempt: 4 }));
        assert_eq!((config.command.clone(), config.args.clone()), (vec!["/web".into()], vec!["-v".into()]));
        assert_eq!((config.working_dir.as_str(), config.log_path.as_str()), ("/srv", "main-4.log"));
        let env: Vec<(&str, &str)> = config.envs.iter().map(|item| (item.key.as_str(), item.value.as_str())).collect();
        assert_eq!(env, [("B", "2"), ("A", "1")]);
        for (key, value) in [("sampan.spec-hash", "h1"), ("sampan.revision", "r7"), ("sampan.attempt", "4")] {
            assert_eq!(config.labels[key], value);
        }
        let linux = config.linux.as_ref().unwrap();
        let resources = linux.resources.as_ref().unwrap();
        assert_eq!((resources.cpu_quota, resources.memory_limit_in_bytes), (100_000, 256 << 20));
        let security = linux.security_context.as_ref().unwrap();
        assert!(!security.privileged);
        assert_eq!(security.namespace_options.as_ref().unwrap().pid, 1);
        assert!(security.seccomp.is_some(), "left out means unconfined");
        assert!(config.mounts.is_empty() && config.annotations.is_empty());
    }
    // Again: adopted, not made twice.
    let mark = scene.fake.mark();
    assert_eq!(scene.node.container_create(made.id.clone(), spec, container_spec(4)).await, Ok(id.clone()));
    assert_eq!(scene.fake.calls_since(mark), ["ListContainers"]);
    scene.node.container_stop(id, 12).await.unwrap();
    assert_eq!(scene.fake.state().stops.last().unwrap().timeout, 12);
    assert_eq!(scene.fake.state().timeouts["StopContainer"], "42000000u");
}

#[tokio::test]
async fn a_create_that_succeeded_unseen_is_adopted() {
    let scene = scene().await;
    let spec = sandbox_spec("runc");
    let made = scene.node.sandbox_run(spec.clone()).await.unwrap();
    scene.fake.will("CreateContainer", Act::DoneButFail(Status::cancelled("Timeout expired")));
    let error = scene.node.container_create(made.id.clone(), spec.clone(), container_spec(0)).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.permanent), ("DeadlineExceeded", false));
    let created = scene.fake.state().containers.last().unwrap().id.clone();
    assert_eq!(scene.node.container_create(made.id.clone(), spec.clone(), container_spec(0)).await, Ok(created));
    // The node has lost the image: to be pulled again, not the end of the release.
    let lost = Status::not_found("failed to resolve image \"r.test/a@sha256:0\": not found");
    scene.fake.will("CreateContainer", Act::Fail(lost));
    let error = scene.node.container_create(made.id.clone(), spec.clone(), container_spec(1)).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.permanent), ("ImageMissing", false));
    // Reserved, but not there: the next attempt's business.
    scene.fake.will("CreateContainer", Act::Fail(Status::unknown("failed to reserve container name \"x\"")));
    let error = scene.node.container_create(made.id, spec, container_spec(1)).await.unwrap_err();
    assert_eq!(error.reason, "NameReserved");
}

#[tokio::test]
async fn a_sandbox_that_failed_leaves_nothing() {
    let scene = scene().await;
    for (act, reason) in [
        (Act::Fail(Status::unknown("failed to setup network for sandbox \"x\": no")), "NetworkFailed"),
        (Act::DoneButFail(Status::deadline_exceeded("late")), "DeadlineExceeded"),
        (Act::DoneButFail(Status::unknown("half made")), "Unknown"),
    ] {
        scene.fake.will("RunPodSandbox", act);
        let error = scene.node.sandbox_run(sandbox_spec("runc")).await.unwrap_err();
        assert_eq!(error.reason, reason);
        assert!(scene.fake.state().sandboxes.is_empty(), "{reason}");
        assert!(!scene.folder.path().join("d/logs/shop").exists(), "{reason}");
    }
}

#[tokio::test]
async fn a_reserved_sandbox_name_is_waited_for() {
    let scene = scene().await;
    for _ in 0..2 {
        scene.fake.will("RunPodSandbox", Act::Fail(Status::unknown("failed to reserve sandbox name \"x\"")));
    }
    let made = scene.node.sandbox_run(sandbox_spec("runc")).await.unwrap();
    // It exists already, made by a try whose answer was lost: the same one is taken.
    scene.fake.will("RunPodSandbox", Act::Fail(Status::unknown("failed to reserve sandbox name \"x\"")));
    assert_eq!(scene.node.sandbox_run(sandbox_spec("runc")).await.unwrap().id, made.id);
}

#[tokio::test]
async fn a_hung_stop_does_not_hold_up_the_removal() {
    let scene = scene().await;
    let spec = sandbox_spec("runc");
    let made = scene.node.sandbox_run(spec.clone()).await.unwrap();
    scene.fake.will("StopPodSandbox", Act::Fail(Status::deadline_exceeded("shim")));
    scene.node.sandbox_remove(made.id.clone(), spec.clone()).await.unwrap();
    assert!(scene.fake.state().sandboxes.is_empty());
    scene.fake.will("StopPodSandbox", Act::Fail(Status::not_found("gone")));
    scene.fake.will("RemovePodSandbox", Act::Fail(Status::not_found("gone")));
    scene.node.sandbox_remove(made.id, spec).await.unwrap();
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    let scene = scene().await;
    scene.fake.will("ExecSync", Act::Hang);
    let begun = Instant::now();
    let error = scene.node.exec("container-1".into(), vec!["/x".into()], 1).await.unwrap_err();
    assert_eq!((error.reason.as_str(), error.permanent), ("DeadlineExceeded", false));
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn usage_is_one_call_with_a_deadline_and_without_strangers() {
    let scene = scene().await;
    let record = |node: &str| proto::ContainerStats {
        attributes: Some(proto::ContainerAttributes {
            id: "c".into(),
            metadata: Some(proto::ContainerMetadata { name: "main".into(), attempt: 1 }),
            labels: [
                ("sampan.node", node),
                ("sampan.namespace", "shop"),
                ("sampan.app", "web"),
                ("sampan.instance", "web-1"),
            ]
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .into(),
        }),
        ..Default::default()
    };
    scene.fake.state().stats = vec![record(&scene.node.node()), record("node-other")];
    let mark = scene.fake.mark();
    let usage = scene.node.usage().await.unwrap();
    assert_eq!(usage.iter().map(|u| (u.instance.as_str(), u.attempt)).collect::<Vec<_>>(), [("web-1", 1)]);
    assert_eq!(scene.fake.calls_since(mark), ["ListContainerStats"]);
    assert!(scene.fake.state().timeouts.contains_key("ListContainerStats"));
    scene.fake.will("ListContainerStats", Act::Fail(Status::deadline_exceeded("slow")));
    assert_eq!(scene.node.usage().await.unwrap_err().reason, "DeadlineExceeded");
}

#[tokio::test]
async fn only_own_objects_are_listed() {
    let scene = scene().await;
    let spec = sandbox_spec("runc");
    let made = scene.node.sandbox_run(spec.clone()).await.unwrap();
    let id = scene.node.container_create(made.id.clone(), spec, container_spec(0)).await.unwrap();
    scene.node.container_start(id.clone()).await.unwrap();
    {
        let mut state = scene.fake.state();
        let foreign = proto::PodSandbox { id: "foreign".into(), ..Default::default() };
        state.sandboxes.push(foreign);
        let other = HashMap::from([("sampan.node".to_string(), "node-other".to_string())]);
        state.sandboxes.push(proto::PodSandbox { id: "other".into(), labels: other, ..Default::default() });
        let sandbox = made.id.clone();
        state.containers.push(proto::Container { id: "x".into(), pod_sandbox_id: sandbox, ..Default::default() });
    }
    let seen = scene.node.list().await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].id.as_str(), seen[0].generation, seen[0].containers.len()), (made.id.as_str(), 2, 1));
    let main = &seen[0].containers[0];
    assert_eq!((main.state, main.exit_code, main.spec_hash.as_str()), (ContainerState::Running, None, "h1"));
    // A second look asks for no status that cannot have changed; an exit is seen at once.
    let mark = scene.fake.mark();
    scene.node.list().await.unwrap();
    assert_eq!(scene.fake.calls_since(mark), ["ListPodSandbox", "ListContainers"]);
    scene.fake.state().containers.iter_mut().find(|item| item.id == id).unwrap().state = 2;
    let seen = scene.node.list().await.unwrap();
    let main = &seen[0].containers[0];
    assert_eq!((main.state, main.exit_code, main.reason.as_str()), (ContainerState::Exited, Some(3), "Error"));
    assert_eq!(scene.node.observe("other".into()).await, Ok(None));
    // Nothing of others is removed either.
    scene.concrete.shutdown(true).await.unwrap();
    let left: Vec<String> = scene.fake.state().sandboxes.iter().map(|item| item.id.clone()).collect();
    assert_eq!(left, ["foreign", "other"]);
}

#[tokio::test]
async fn pulls_of_one_reference_are_joined() {
    let scene = scene().await;
    let reference = "registry.example/web@sha256:0".to_string();
    let mark = scene.fake.mark();
    let pulls = (0..4).map(|_| scene.node.image_pull(reference.clone(), None));
    assert!(futures_util::future::join_all(pulls).await.iter().all(Result::is_ok));
    let count = |calls: Vec<String>| calls.iter().filter(|call| *call == "PullImage").count();
    assert_eq!(count(scene.fake.calls_since(mark)), 1);
    // A failed pull is not remembered.
    scene.fake.will("PullImage", Act::Fail(Status::unknown("dial tcp: connect: connection refused")));
    assert_eq!(scene.node.image_pull(reference.clone(), None).await.unwrap_err().reason, "RegistryUnreachable");
    assert_eq!(scene.node.image_pull(reference, None).await, Ok(()));
}

#[tokio::test]
async fn a_pull_carries_the_login_that_it_was_given() {
    let scene = scene().await;
    let login = Login { username: "team".into(), password: "hush".into() };
    scene.node.image_pull("registry.example/web@sha256:0".into(), Some(login)).await.unwrap();
    scene.node.image_pull("registry.example/other@sha256:0".into(), None).await.unwrap();
    let pulls = scene.fake.state().pulls.clone();
    let auth = pulls[0].auth.clone().unwrap();
    assert_eq!((auth.username.as_str(), auth.password.as_str(), auth.server_address.as_str()), ("team", "hush", ""));
    assert_eq!(pulls[1].auth, None);
}

#[tokio::test]
async fn a_registry_on_loopback_is_pulled_from_only_where_that_is_allowed() {
    let scene = scene().await;
    let mark = scene.fake.mark();
    for registry in ["127.0.0.1:5000", "127.9.9.9", "localhost:5001", "localhost"] {
        let error = scene.node.image_pull(format!("{registry}/web@sha256:0"), None).await.unwrap_err();
        assert_eq!((error.reason.as_str(), error.permanent), ("RegistryNotAllowed", true), "{registry}");
        assert!(error.message.contains(&format!("--insecure-registry {registry}")), "{error}");
    }
    assert!(!scene.fake.calls_since(mark).contains(&"PullImage".to_owned()));
    // The scene's operator named this one.
    assert_eq!(scene.node.image_pull("localhost:5000/web@sha256:0".into(), None).await, Ok(()));
}

#[tokio::test]
async fn a_runtime_that_is_still_starting_is_waited_for() {
    let fake = Fake::default();
    fake.state().kernel = OTHER_KERNEL.into();
    for _ in 0..3 {
        fake.will("Version", Act::Fail(Status::unknown("server is not initialized yet")));
    }
    let scene = scene_with(fake).await;
    assert!(scene.fake.state().calls.iter().filter(|call| *call == "Version").count() >= 4);
}

#[test]
fn a_new_data_folder_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = NodeConfig::new(folder.path().join("new"));
    config.cri_endpoint = Some("unix:///nothing".into());
    let claim = sampan_node::Claim::take(&config).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&claim.data_dir().metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn names_that_are_paths_never_reach_the_runtime() {
    let scene = scene().await;
    let mark = scene.fake.mark();
    let mut spec = sandbox_spec("runc");
    spec.instance = "../../etc".into();
    assert_eq!(scene.node.sandbox_run(spec.clone()).await.unwrap_err().reason, "Invalid");
    let mut container = container_spec(0);
    container.name = "a/b".into();
    let error = scene.node.container_create("x".into(), sandbox_spec("runc"), container).await.unwrap_err();
    assert_eq!(error.reason, "Invalid");
    assert!(scene.fake.calls_since(mark).is_empty());
}
