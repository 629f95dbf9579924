//! Containers: creating or adopting an attempt, running our own probe, observing.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use sampan_engine::runtime::{
    ContainerSpec, ContainerState, ObservedContainer, ObservedSandbox, RuntimeError, SandboxSpec,
};

use crate::image::GUEST_PATH;
use crate::isolation::Kernel;
use crate::sandbox::{
    LABEL_APPLICATION, LABEL_CLASS, LABEL_INSTANCE, LABEL_INTERNAL, LABEL_NAMESPACE, LABEL_NODE, check_names,
    is_plain_name, namespace_options, resources,
};
use crate::{Inner, logs, proto};

pub const LABEL_SPEC_HASH: &str = "sampan.spec-hash";
pub const LABEL_REVISION: &str = "sampan.revision";
pub const LABEL_ATTEMPT: &str = "sampan.attempt";
const PROBE_NAME: &str = "sampan-probe";
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// File name of one attempt's log, inside the instance's log folder.
pub fn log_file(container: &str, attempt: u32) -> String {
    format!("{container}-{attempt}.log")
}

/// A container attempt as CRI wants it.
pub fn container_config(spec: &ContainerSpec, sandbox: &proto::PodSandboxConfig) -> proto::ContainerConfig {
    let mut labels = sandbox.labels.clone();
    labels.insert(LABEL_SPEC_HASH.into(), spec.spec_hash.clone());
    labels.insert(LABEL_REVISION.into(), spec.revision.clone());
    labels.insert(LABEL_ATTEMPT.into(), spec.attempt.to_string());
    proto::ContainerConfig {
        metadata: Some(proto::ContainerMetadata { name: spec.name.clone(), attempt: spec.attempt }),
        image: Some(proto::ImageSpec { image: spec.image.clone(), ..Default::default() }),
        command: spec.command.clone(),
        args: spec.args.clone(),
        working_dir: spec.working_dir.clone().unwrap_or_default(),
        envs: spec.env.iter().map(|(key, value)| proto::KeyValue { key: key.clone(), value: value.clone() }).collect(),
        labels,
        log_path: log_file(&spec.name, spec.attempt),
        linux: Some(proto::LinuxContainerConfig {
            resources: Some(resources(spec.cpu_millis, spec.memory_bytes)),
            security_context: Some(proto::LinuxContainerSecurityContext {
                namespace_options: Some(namespace_options()),
                // Left out, containerd would run it without any filter.
                seccomp: Some(proto::SecurityProfile::default()),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

impl Inner {
    pub(crate) async fn container_make(
        &self,
        sandbox_id: &str,
        sandbox: &SandboxSpec,
        spec: &ContainerSpec,
    ) -> Result<String, RuntimeError> {
        check_names(sandbox)?;
        if !is_plain_name(&spec.name) {
            return Err(RuntimeError::permanent(
                "Invalid",
                format!("container name {:?} is not a plain name", spec.name),
            ));
        }
        if spec.cpu_millis == 0 || spec.memory_bytes == 0 {
            return Err(RuntimeError::permanent("Invalid", "a container needs a CPU and a memory limit"));
        }
        if let Some(id) = self.container_adopt(sandbox_id, spec).await? {
            return Ok(id);
        }
        let sandbox_config = self.config_of(sandbox, false);
        let query = proto::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.into(),
            config: Some(container_config(spec, &sandbox_config)),
            sandbox_config: Some(sandbox_config),
        };
        match self.cri.create_container(query).await {
            Ok(answer) => Ok(answer.container_id),
            // An earlier try that timed out may have succeeded in the meantime.
            Err(error) if error.reason == "NameReserved" => self.container_adopt(sandbox_id, spec).await?.ok_or(error),
            // It was pulled, so it exists: only this node has lost it.
            Err(error) if error.reason == "ImageNotFound" => {
                Err(RuntimeError::transient("ImageMissing", format!("{}: it is pulled again", error.message)))
            }
            Err(error) => Err(error),
        }
    }

    async fn container_adopt(&self, sandbox_id: &str, spec: &ContainerSpec) -> Result<Option<String>, RuntimeError> {
        let present = self.containers(Some(sandbox_id)).await?.into_iter().find(|item| {
            item.metadata.as_ref().is_some_and(|data| data.name == spec.name && data.attempt == spec.attempt)
        });
        let Some(item) = present else { return Ok(None) };
        if item.labels.get(LABEL_SPEC_HASH) == Some(&spec.spec_hash) {
            return Ok(Some(item.id));
        }
        Err(RuntimeError::permanent(
            "NameReserved",
            format!(
                "attempt {} of container {} exists with another spec: use the next attempt",
                spec.attempt, spec.name
            ),
        ))
    }

    /// Containers of this node, of one sandbox or of all.
    async fn containers(&self, sandbox_id: Option<&str>) -> Result<Vec<proto::Container>, RuntimeError> {
        let node = self.identity.node();
        let filter = proto::ContainerFilter {
            pod_sandbox_id: sandbox_id.unwrap_or_default().into(),
            label_selector: HashMap::from([(LABEL_NODE.to_string(), node.clone())]),
            ..Default::default()
        };
        let mut found =
            self.cri.list_containers(proto::ListContainersRequest { filter: Some(filter) }).await?.containers;
        found.retain(|item| {
            item.labels.get(LABEL_NODE) == Some(&node) && sandbox_id.is_none_or(|id| item.pod_sandbox_id == id)
        });
        Ok(found)
    }

    pub(crate) async fn observe_all(&self) -> Result<Vec<ObservedSandbox>, RuntimeError> {
        let sandboxes = self.sandboxes(&[]).await?;
        let containers = self.containers(None).await?;
        let living: std::collections::HashSet<&str> = containers.iter().map(|item| item.id.as_str()).collect();
        self.statuses.lock().await.retain(|id, _| living.contains(id.as_str()));
        let known: std::collections::HashSet<&str> = sandboxes.iter().map(|item| item.id.as_str()).collect();
        self.addresses.lock().await.retain(|id, _| known.contains(id.as_str()));
        let mut found = Vec::new();
        for item in &sandboxes {
            if item.labels.contains_key(LABEL_INTERNAL) {
                continue;
            }
            found.push(self.observed(item, &containers, true).await?);
        }
        Ok(found)
    }

    pub(crate) async fn observe_one(&self, sandbox_id: &str) -> Result<Option<ObservedSandbox>, RuntimeError> {
        let filter = proto::PodSandboxFilter { id: sandbox_id.into(), ..Default::default() };
        let items = self.cri.list_pod_sandbox(proto::ListPodSandboxRequest { filter: Some(filter) }).await?.items;
        let ours = |item: &&proto::PodSandbox| {
            item.id == sandbox_id && item.labels.get(LABEL_NODE) == Some(&self.identity.node())
        };
        let Some(item) = items.iter().find(ours) else { return Ok(None) };
        let containers = self.containers(Some(sandbox_id)).await?;
        Ok(Some(self.observed(item, &containers, false).await?))
    }

    async fn observed(
        &self,
        item: &proto::PodSandbox,
        containers: &[proto::Container],
        cached: bool,
    ) -> Result<ObservedSandbox, RuntimeError> {
        let label = |key: &str| item.labels.get(key).cloned().unwrap_or_default();
        let ready = item.state == i32::from(proto::PodSandboxState::SandboxReady);
        let mut observed = Vec::new();
        for container in containers.iter().filter(|container| container.pod_sandbox_id == item.id) {
            if container.labels.get(LABEL_INTERNAL).is_some_and(|value| value == PROBE_NAME) {
                continue;
            }
            observed.extend(self.observed_container(container, cached).await?);
        }
        observed.sort_by(|a, b| (&a.name, a.attempt).cmp(&(&b.name, b.attempt)));
        Ok(ObservedSandbox {
            id: item.id.clone(),
            instance: label(LABEL_INSTANCE),
            namespace: label(LABEL_NAMESPACE),
            application: label(LABEL_APPLICATION),
            generation: item.metadata.as_ref().map(|data| data.attempt).unwrap_or_default(),
            ready,
            ip: if ready { self.address(&item.id).await? } else { None },
            created_at: item.created_at,
            containers: observed,
        })
    }

    async fn address(&self, sandbox_id: &str) -> Result<Option<std::net::IpAddr>, RuntimeError> {
        if let Some(ip) = self.addresses.lock().await.get(sandbox_id) {
            return Ok(Some(*ip));
        }
        let query = proto::PodSandboxStatusRequest { pod_sandbox_id: sandbox_id.into(), verbose: false };
        let status = match self.cri.pod_sandbox_status(query).await {
            Ok(answer) => answer.status,
            Err(error) if error.reason == "NotFound" => None,
            Err(error) => return Err(error),
        };
        let ip = status.and_then(|status| status.network).and_then(|network| network.ip.parse().ok());
        if let Some(ip) = ip {
            self.addresses.lock().await.insert(sandbox_id.into(), ip);
        }
        Ok(ip)
    }

    /// `None` when the container went away between the two calls.
    async fn observed_container(
        &self,
        item: &proto::Container,
        cached: bool,
    ) -> Result<Option<ObservedContainer>, RuntimeError> {
        let known = if cached { self.statuses.lock().await.get(&item.id).cloned() } else { None };
        let status = match known.filter(|status| status.state == item.state) {
            Some(status) => status,
            None => {
                let query = proto::ContainerStatusRequest { container_id: item.id.clone(), verbose: false };
                let status = match self.cri.container_status(query).await {
                    Ok(answer) => answer.status.unwrap_or_default(),
                    Err(error) if error.reason == "NotFound" => return Ok(None),
                    Err(error) => return Err(error),
                };
                self.statuses.lock().await.insert(item.id.clone(), status.clone());
                status
            }
        };
        let label = |key: &str| item.labels.get(key).cloned().unwrap_or_default();
        let state = state_of(status.state);
        let exited = state == ContainerState::Exited;
        Ok(Some(ObservedContainer {
            id: item.id.clone(),
            name: item.metadata.as_ref().map(|data| data.name.clone()).unwrap_or_default(),
            attempt: item.metadata.as_ref().map(|data| data.attempt).unwrap_or_default(),
            spec_hash: label(LABEL_SPEC_HASH),
            revision: label(LABEL_REVISION),
            state,
            exit_code: exited.then_some(status.exit_code),
            reason: if exited { status.reason } else { String::new() },
            message: status.message,
            started_at: status.started_at,
            // A process that ends at once can end before the runtime notes its start.
            finished_at: if exited { status.finished_at.max(status.started_at) } else { status.finished_at },
        }))
    }
}

fn state_of(state: i32) -> ContainerState {
    match proto::ContainerState::try_from(state) {
        Ok(proto::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(proto::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(proto::ContainerState::ContainerExited) => ContainerState::Exited,
        Ok(proto::ContainerState::ContainerUnknown) | Err(_) => ContainerState::Unknown,
    }
}

/// Runs the probe of our own tools image inside a sandbox and reads which kernel it saw.
pub(crate) async fn run_probe(node: &Inner, sandbox_id: &str, sandbox: &SandboxSpec) -> Result<Kernel, RuntimeError> {
    let sandbox_config = node.config_of(sandbox, false);
    let spec = ContainerSpec {
        name: PROBE_NAME.into(),
        attempt: 0,
        image: node.tools_image.clone(),
        command: vec![GUEST_PATH.into(), "probe".into()],
        args: Vec::new(),
        working_dir: None,
        env: Vec::new(),
        cpu_millis: sandbox.cpu_millis,
        memory_bytes: sandbox.memory_bytes,
        spec_hash: String::new(),
        revision: String::new(),
    };
    // A probe of an earlier, interrupted check is in the way.
    for old in node.containers(Some(sandbox_id)).await? {
        if old.labels.get(LABEL_INTERNAL).is_some_and(|value| value == PROBE_NAME) {
            node.cri.remove_container(&old.id).await?;
        }
    }
    let mut config = container_config(&spec, &sandbox_config);
    config.labels.insert(LABEL_INTERNAL.into(), PROBE_NAME.into());
    config.labels.insert(LABEL_CLASS.into(), sandbox.class.clone());
    let log = Path::new(&sandbox_config.log_directory).join(&config.log_path);
    let query = proto::CreateContainerRequest {
        pod_sandbox_id: sandbox_id.into(),
        config: Some(config),
        sandbox_config: Some(sandbox_config),
    };
    let id = node.cri.create_container(query).await?.container_id;
    let seen = wait_for_probe(node, &id, &log).await;
    let removed = node.cri.remove_container(&id).await;
    let _ = tokio::fs::remove_file(&log).await;
    let kernel = seen?;
    removed?;
    Ok(kernel)
}

async fn wait_for_probe(node: &Inner, id: &str, log: &Path) -> Result<Kernel, RuntimeError> {
    node.cri.start_container(id).await?;
    let end = tokio::time::Instant::now() + PROBE_LIMIT;
    loop {
        let query = proto::ContainerStatusRequest { container_id: id.into(), verbose: false };
        let status = node.cri.container_status(query).await?.status.unwrap_or_default();
        let exited = state_of(status.state) == ContainerState::Exited;
        // The log may lag a little behind the exit.
        let (lines, _) = logs::tail(log, 10, 64 * 1024).unwrap_or_default();
        let kernel = Kernel::parse(lines.iter().map(|line| line.text.as_str()));
        let late = tokio::time::Instant::now() >= end;
        if (exited && kernel.boot_id.is_some() && kernel.version.is_some()) || late {
            return Ok(kernel);
        }
        if exited && status.finished_at > 0 && tokio::time::Instant::now() + PROBE_LIMIT > end + Duration::from_secs(2)
        {
            return Ok(kernel);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_state_is_known_as_such() {
        assert_eq!(state_of(99), ContainerState::Unknown);
    }
}
