//! What Sampan is compared with: the same calls, made straight to the CRI of the same containerd, one after the other.

use std::path::Path;
use std::time::{Duration, Instant};

use sampan_node::Cri;
use sampan_node::proto::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, DnsConfig, ImageSpec, ImageStatusRequest, KeyValue,
    LinuxContainerConfig, LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, ListPodSandboxRequest, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxFilter, PodSandboxMetadata, PodSandboxState, PodSandboxStateValue, PodSandboxStatusRequest,
    PullImageRequest, RunPodSandboxRequest, SecurityProfile,
};

use super::workload::{CPU_MILLIS, GRACE_SECONDS, MEMORY_BYTES};

/// A client with a runtime of its own.
pub struct Raw {
    cri: Cri,
    runtime: tokio::runtime::Runtime,
    logs: tempfile::TempDir,
    made: u32,
}

/// A sandbox, and the container in it that serves.
pub struct Pod {
    pub ip: String,
    id: String,
    config: PodSandboxConfig,
    container: String,
    attempt: u32,
}

fn text(error: &impl std::fmt::Display) -> String {
    format!("straight to CRI: {error}")
}

fn namespaces() -> NamespaceOption {
    NamespaceOption {
        network: NamespaceMode::Pod.into(),
        pid: NamespaceMode::Container.into(),
        ipc: NamespaceMode::Pod.into(),
        target_id: String::new(),
    }
}

fn resources() -> LinuxContainerResources {
    LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: CPU_MILLIS * 100,
        cpu_shares: CPU_MILLIS * 1024 / 1000,
        memory_limit_in_bytes: MEMORY_BYTES,
        ..Default::default()
    }
}

impl Raw {
    /// Talks to the containerd of the `sampan dev` in this folder.
    pub fn new(data_dir: &Path) -> Result<Self, String> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| text(&error))?;
        let logs = tempfile::Builder::new().prefix("sampan-bench").tempdir().map_err(|error| text(&error))?;
        let cri = runtime.block_on(async { Cri::new(&data_dir.join("run/containerd.sock")) });
        runtime.block_on(cri.wait_ready(std::time::Duration::from_secs(10))).map_err(|error| text(&error))?;
        Ok(Self { cri, runtime, logs, made: 0 })
    }

    /// PullImage.
    pub fn pull(&self, image: &str) -> Result<(), String> {
        let image = ImageSpec { image: image.into(), ..Default::default() };
        let query = PullImageRequest { image: Some(image), ..Default::default() };
        self.runtime.block_on(self.cri.pull_image(query)).map(|_| ()).map_err(|error| text(&error))
    }

    /// Waits for an image and for a ready sandbox with these labels, which somebody else makes. It looks every 3 ms, so
    /// it may see them so much too late, and takes a little of the machine from who makes them.
    pub fn both(&self, image: &str, labels: &[(&str, &str)], limit: Duration) -> Result<(), String> {
        let spec = ImageSpec { image: image.into(), ..Default::default() };
        let filter = PodSandboxFilter {
            state: Some(PodSandboxStateValue { state: PodSandboxState::SandboxReady.into() }),
            label_selector: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..Default::default()
        };
        let end = Instant::now() + limit;
        self.runtime.block_on(async {
            while Instant::now() < end {
                let query = ListPodSandboxRequest { filter: Some(filter.clone()) };
                let sandboxes = self.cri.list_pod_sandbox(query).await.map_err(|error| text(&error))?;
                let query = ImageStatusRequest { image: Some(spec.clone()), verbose: false };
                let pulled = self.cri.image_status(query).await.map_err(|error| text(&error))?;
                if !sandboxes.items.is_empty() && pulled.image.is_some() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            Err(format!("no image and sandbox within {limit:?}"))
        })
    }

    /// RemoveImage. Its content goes with it, when no other image has it.
    pub fn remove_image(&self, image: &str) -> Result<(), String> {
        self.runtime.block_on(self.cri.remove_image(image)).map_err(|error| text(&error))
    }

    /// RunPodSandbox, CreateContainer, StartContainer. The status call is for the address.
    pub fn run(&mut self, image: &str) -> Result<Pod, String> {
        Ok(self.run_timed(image)?.0)
    }

    /// As [`Raw::run`]; also how long RunPodSandbox took.
    pub fn run_timed(&mut self, image: &str) -> Result<(Pod, Duration), String> {
        self.made += 1;
        let name = format!("bench-{}-{}", std::process::id(), self.made);
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.clone(),
                uid: name.clone(),
                namespace: "bench".into(),
                attempt: 0,
            }),
            hostname: name.clone(),
            log_directory: self.logs.path().join(&name).to_string_lossy().into_owned(),
            dns_config: Some(DnsConfig::default()),
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces()),
                    seccomp: Some(SecurityProfile::default()),
                    ..Default::default()
                }),
                resources: Some(resources()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let query = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: "runc".into() };
        let begun = Instant::now();
        let made = self.runtime.block_on(self.cri.run_pod_sandbox(query)).map_err(|error| text(&error))?;
        let took = begun.elapsed();
        let mut pod = Pod { ip: String::new(), id: made.pod_sandbox_id, config, container: String::new(), attempt: 0 };
        match self.fill(&mut pod, image) {
            Ok(()) => Ok((pod, took)),
            Err(error) => {
                let _ = self.end(pod);
                Err(error)
            }
        }
    }

    fn fill(&self, pod: &mut Pod, image: &str) -> Result<(), String> {
        pod.container = self.start(pod, image)?;
        let query = PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: false };
        let answer = self.runtime.block_on(self.cri.pod_sandbox_status(query)).map_err(|error| text(&error))?;
        pod.ip = answer.status.and_then(|status| status.network).map(|network| network.ip).unwrap_or_default();
        Ok(())
    }

    /// CreateContainer, StartContainer.
    fn start(&self, pod: &Pod, image: &str) -> Result<String, String> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "main".into(), attempt: pod.attempt }),
            image: Some(ImageSpec { image: image.into(), ..Default::default() }),
            envs: vec![KeyValue { key: "ROUND".into(), value: pod.attempt.to_string() }],
            log_path: format!("main-{}.log", pod.attempt),
            linux: Some(LinuxContainerConfig {
                resources: Some(resources()),
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: Some(namespaces()),
                    seccomp: Some(SecurityProfile::default()),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        };
        let query = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        self.runtime.block_on(async {
            let made = self.cri.create_container(query).await.map_err(|error| text(&error))?;
            self.cri.start_container(&made.container_id).await.map_err(|error| text(&error))?;
            Ok(made.container_id)
        })
    }

    /// StopContainer, CreateContainer, StartContainer in the same sandbox. The old container is removed by
    /// [`Raw::sweep`], when nobody measures.
    pub fn replace(&self, pod: &mut Pod, image: &str) -> Result<String, String> {
        self.runtime.block_on(self.cri.stop_container(&pod.container, GRACE_SECONDS)).map_err(|error| text(&error))?;
        pod.attempt += 1;
        let old = std::mem::take(&mut pod.container);
        pod.container = self.start(pod, image)?;
        Ok(old)
    }

    /// Removes a container that has been replaced.
    pub fn sweep(&self, container: &str) -> Result<(), String> {
        self.runtime.block_on(self.cri.remove_container(container)).map_err(|error| text(&error))
    }

    /// StopPodSandbox, RemovePodSandbox.
    pub fn end(&self, pod: Pod) -> Result<(), String> {
        self.runtime.block_on(async {
            self.cri.stop_pod_sandbox(&pod.id).await.map_err(|error| text(&error))?;
            self.cri.remove_pod_sandbox(&pod.id).await.map_err(|error| text(&error))
        })
    }
}
