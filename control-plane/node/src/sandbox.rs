//! Sandboxes: how one is described to the runtime, made, proven and removed.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use sampan_engine::runtime::{Isolation, RuntimeError, Sandbox, SandboxSpec};

use crate::config::Overhead;
use crate::identity::{Identity, short_hash};
use crate::isolation::{self, Kernel};
use crate::{Inner, cgroup, container, network, proto, reason};

pub const LABEL_NODE: &str = "sampan.node";
pub const LABEL_INSTANCE: &str = "sampan.instance";
pub const LABEL_NAMESPACE: &str = "sampan.namespace";
pub const LABEL_APPLICATION: &str = "sampan.app";
pub const LABEL_CLASS: &str = "sampan.class";
pub const LABEL_SANDBOX_HASH: &str = "sampan.sandbox-hash";
/// On throw-away sandboxes and on our probe container; such objects are never listed.
pub const LABEL_INTERNAL: &str = "sampan.internal";

/// Namespaces of sandbox and containers; both must agree. The zero value of `pid` would be `POD`, hence explicit.
pub fn namespace_options() -> proto::NamespaceOption {
    proto::NamespaceOption {
        network: proto::NamespaceMode::Pod.into(),
        pid: proto::NamespaceMode::Container.into(),
        ipc: proto::NamespaceMode::Pod.into(),
        target_id: String::new(),
    }
}

/// Both limits as CRI wants them.
pub fn resources(cpu_millis: u64, memory_bytes: u64) -> proto::LinuxContainerResources {
    const PERIOD: u64 = 100_000;
    proto::LinuxContainerResources {
        cpu_period: PERIOD as i64,
        // The kernel takes no quota under 1 ms.
        cpu_quota: (cpu_millis.saturating_mul(PERIOD) / 1000).clamp(1000, i64::MAX as u64) as i64,
        cpu_shares: (cpu_millis.saturating_mul(1024) / 1000).clamp(2, 262_144) as i64,
        memory_limit_in_bytes: i64::try_from(memory_bytes).unwrap_or(i64::MAX),
        ..Default::default()
    }
}

/// Everything about a sandbox that needs a new one when it changes.
pub fn sandbox_hash(spec: &SandboxSpec) -> String {
    short_hash(&serde_json::to_vec(spec).unwrap_or_default())
}

/// Name servers for sandboxes: the host's, without those on loopback, which no sandbox reaches.
pub fn host_dns(resolv_conf: &str) -> Vec<String> {
    let servers = crate::dns::name_servers(resolv_conf).into_iter();
    servers.filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()).collect()
}

/// What the requests for one sandbox depend on besides its spec.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    pub identity: &'a Identity,
    pub overhead: Option<Overhead>,
    pub dns_servers: &'a [String],
    pub systemd_cgroup: bool,
    pub internal: bool,
}

/// Names become folders and cgroups, so they must be plain.
pub fn check_names(spec: &SandboxSpec) -> Result<(), RuntimeError> {
    for (what, name) in
        [("instance", &spec.instance), ("namespace", &spec.namespace), ("application", &spec.application)]
    {
        if !is_plain_name(name) {
            return Err(RuntimeError::permanent("Invalid", format!("{what} name {name:?} is not a plain name")));
        }
    }
    if spec.cpu_millis == 0 || spec.memory_bytes == 0 {
        return Err(RuntimeError::permanent("Invalid", "a sandbox needs a CPU and a memory limit"));
    }
    Ok(())
}

/// Usable as one part of a path.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The sandbox as CRI wants it. The same config goes with every container of the sandbox.
pub fn sandbox_config(spec: &SandboxSpec, around: &Surroundings<'_>) -> proto::PodSandboxConfig {
    let identity = around.identity;
    let mut labels: HashMap<String, String> = [
        (LABEL_NODE, identity.node()),
        (LABEL_INSTANCE, spec.instance.clone()),
        (LABEL_NAMESPACE, spec.namespace.clone()),
        (LABEL_APPLICATION, spec.application.clone()),
        (LABEL_CLASS, spec.class.clone()),
        (LABEL_SANDBOX_HASH, sandbox_hash(spec)),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .into();
    if around.internal {
        labels.insert(LABEL_INTERNAL.into(), "true".into());
    }
    proto::PodSandboxConfig {
        metadata: Some(proto::PodSandboxMetadata {
            name: spec.instance.clone(),
            uid: format!("{}-{}", identity.node(), spec.instance),
            namespace: spec.namespace.clone(),
            attempt: spec.generation,
        }),
        hostname: host_name(&spec.instance),
        log_directory: identity
            .log_directory(&spec.namespace, &spec.application, &spec.instance)
            .to_string_lossy()
            .into_owned(),
        dns_config: Some(proto::DnsConfig {
            servers: around.dns_servers.to_vec(),
            searches: vec![format!("{}.internal", spec.namespace)],
            options: Vec::new(),
        }),
        labels,
        // Annotations reach the runtime and may name host paths: only the backend writes them, and it needs none.
        annotations: HashMap::new(),
        linux: Some(proto::LinuxPodSandboxConfig {
            cgroup_parent: identity.cgroup_parent(&spec.instance, around.systemd_cgroup),
            security_context: Some(proto::LinuxSandboxSecurityContext {
                namespace_options: Some(namespace_options()),
                seccomp: Some(proto::SecurityProfile::default()),
                ..Default::default()
            }),
            sysctls: HashMap::new(),
            overhead: around.overhead.map(|extra| resources(extra.cpu_millis, extra.memory_bytes)),
            resources: Some(resources(spec.cpu_millis, spec.memory_bytes)),
        }),
    }
}

/// A host name has at most 63 bytes; longer instance names keep their end, which tells them apart.
fn host_name(instance: &str) -> String {
    let skip = instance.len().saturating_sub(63);
    instance.get(skip..).unwrap_or_default().trim_start_matches(['-', '.', '_']).replace(['_', '.'], "-")
}

impl Inner {
    pub(crate) fn config_of(&self, spec: &SandboxSpec, internal: bool) -> proto::PodSandboxConfig {
        let dns_servers = self.name_servers();
        sandbox_config(
            spec,
            &Surroundings {
                identity: &self.identity,
                overhead: self.config.overheads.get(&spec.class).copied(),
                dns_servers: &dns_servers,
                systemd_cgroup: self.systemd_cgroup,
                internal,
            },
        )
    }

    /// Makes a sandbox, isolates its port, proves its kernel. On failure nothing is left.
    pub(crate) async fn sandbox_make(&self, spec: &SandboxSpec, internal: bool) -> Result<Sandbox, RuntimeError> {
        check_names(spec)?;
        let Some(handler) = self.config.handlers.get(&spec.class) else {
            return Err(RuntimeError::permanent(
                "IsolationUnavailable",
                format!("node {} has no handler for isolation class {}", self.identity.node(), spec.class),
            ));
        };
        let known = self.classes.get().and_then(|classes| classes.iter().find(|status| status.class == spec.class));
        if let Some(status) = known.filter(|status| !status.available) {
            return Err(RuntimeError::permanent("IsolationUnavailable", status.reason.clone()));
        }
        let config = self.config_of(spec, internal);
        let folder = config.log_directory.clone();
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(|error| RuntimeError::transient("DiskFailed", format!("log folder {folder}: {error}")))?;
        let query = proto::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.clone() };
        let id = match self.run_or_adopt(spec, query).await {
            Ok(id) => id,
            Err(error) => {
                // After a deadline the sandbox may have appeared all the same.
                if let Ok(Some(id)) = self.find_sandbox(spec).await.map(|found| found.map(|item| item.id)) {
                    let _ = self.sandbox_end(&id, spec).await;
                } else {
                    self.sandbox_sweep(spec).await;
                }
                return Err(error);
            }
        };
        match self.sandbox_finish(&id, spec).await {
            Ok(sandbox) => Ok(sandbox),
            Err(error) => {
                if let Err(second) = self.sandbox_end(&id, spec).await {
                    tracing::warn!(sandbox = %id, error = %second, "a failed sandbox could not be removed");
                }
                Err(error)
            }
        }
    }

    /// A name stays reserved while an earlier try is cleaned up, or because that try succeeded unseen.
    async fn run_or_adopt(
        &self,
        spec: &SandboxSpec,
        query: proto::RunPodSandboxRequest,
    ) -> Result<String, RuntimeError> {
        let mut pause = Duration::from_millis(100);
        let mut last = RuntimeError::transient("NameReserved", "the sandbox's name is still reserved");
        for _ in 0..6 {
            match self.cri.run_pod_sandbox(query.clone()).await {
                Ok(answer) => return Ok(answer.pod_sandbox_id),
                Err(error) if error.reason == "NameReserved" => last = error,
                Err(error) => return Err(error),
            }
            if let Some(present) = self.find_sandbox(spec).await? {
                let same = present.labels.get(LABEL_SANDBOX_HASH) == Some(&sandbox_hash(spec));
                if same && present.state == i32::from(proto::PodSandboxState::SandboxReady) {
                    return Ok(present.id);
                }
                self.sandbox_end(&present.id, spec).await?;
                tokio::fs::create_dir_all(self.log_directory(spec)).await.ok();
            } else {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        Err(last)
    }

    pub(crate) fn log_directory(&self, spec: &SandboxSpec) -> std::path::PathBuf {
        self.identity.log_directory(&spec.namespace, &spec.application, &spec.instance)
    }

    async fn find_sandbox(&self, spec: &SandboxSpec) -> Result<Option<proto::PodSandbox>, RuntimeError> {
        let selector = [(LABEL_INSTANCE, spec.instance.clone()), (LABEL_NAMESPACE, spec.namespace.clone())];
        let found = self.sandboxes(&selector).await?;
        Ok(found.into_iter().find(|item| item.metadata.as_ref().map(|data| data.attempt) == Some(spec.generation)))
    }

    /// Sandboxes of this node that also carry the given labels.
    pub(crate) async fn sandboxes(&self, more: &[(&str, String)]) -> Result<Vec<proto::PodSandbox>, RuntimeError> {
        let mut label_selector = HashMap::from([(LABEL_NODE.to_string(), self.identity.node())]);
        label_selector.extend(more.iter().map(|(key, value)| ((*key).to_string(), value.clone())));
        let filter = proto::PodSandboxFilter { label_selector: label_selector.clone(), ..Default::default() };
        let items = self.cri.list_pod_sandbox(proto::ListPodSandboxRequest { filter: Some(filter) }).await?.items;
        // A runtime that ignores the filter must not make us touch what is not ours.
        let ours =
            |item: &proto::PodSandbox| label_selector.iter().all(|(key, value)| item.labels.get(key) == Some(value));
        Ok(items.into_iter().filter(ours).collect())
    }

    async fn sandbox_finish(&self, id: &str, spec: &SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let query = proto::PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: true };
        let answer = self.cri.pod_sandbox_status(query).await?;
        let text = answer.status.and_then(|status| status.network).map(|network| network.ip).unwrap_or_default();
        let ip: IpAddr = text
            .parse()
            .map_err(|_| RuntimeError::transient("NetworkFailed", format!("the sandbox has no address ({text:?})")))?;
        let ports = network::host_interfaces(answer.info.get("info").map(String::as_str).unwrap_or_default());
        if self.private.is_some() && ports.is_empty() {
            return Err(RuntimeError::transient("NetworkNotIsolated", "the sandbox's bridge port was not found"));
        }
        for port in &ports {
            // With a runtime that is not ours the network may have no bridge at all.
            let bridged = std::path::Path::new("/sys/class/net").join(port).join("brport").exists();
            if self.private.is_some() || bridged {
                network::isolate(port).await?;
            }
        }
        let isolation = if spec.class == "runc" {
            Isolation { verified: None, evidence: "none".into() }
        } else {
            self.isolation_prove(id, spec).await?
        };
        Ok(Sandbox { id: id.into(), ip, isolation })
    }

    async fn isolation_prove(&self, id: &str, spec: &SandboxSpec) -> Result<Isolation, RuntimeError> {
        let refused = |detail: String| {
            RuntimeError::permanent(
                "IsolationNotVerified",
                format!("isolation class {}: {detail}; the sandbox was removed", spec.class),
            )
        };
        let found = self.isolation_compare(id, spec).await.map_err(|error| refused(error.to_string()))?;
        match found.verified {
            Some(true) => Ok(found),
            Some(false) => Err(refused(format!("the sandbox runs on the host's kernel ({})", found.evidence))),
            None => Err(refused("the sandbox's kernel could not be read".into())),
        }
    }

    /// Compares the kernel inside a sandbox with the host's, by our own probe container.
    pub(crate) async fn isolation_compare(&self, id: &str, spec: &SandboxSpec) -> Result<Isolation, RuntimeError> {
        let guest = container::run_probe(self, id, spec).await?;
        Ok(isolation::compare(&Kernel::host(), &guest))
    }

    /// Ends a sandbox, its containers, cgroup and log folder. A hung stop does not hold up the removal.
    pub(crate) async fn sandbox_end(&self, id: &str, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        if !id.is_empty() {
            let stopped = self.cri.stop_pod_sandbox(id).await;
            if let Err(error) = &stopped {
                tracing::warn!(sandbox = %id, %error, "the sandbox did not stop, it is removed by force");
            }
            self.cri.remove_pod_sandbox(id).await?;
            if self.private.is_some() {
                crate::teardown::sweep_shim(&self.identity, id).await;
            }
        }
        self.sandbox_sweep(spec).await;
        Ok(())
    }

    /// Removes what the runtime leaves of an instance, unless another sandbox of it is still there.
    async fn sandbox_sweep(&self, spec: &SandboxSpec) {
        if check_names(spec).is_err() {
            return;
        }
        let selector = [(LABEL_INSTANCE, spec.instance.clone()), (LABEL_NAMESPACE, spec.namespace.clone())];
        if !self.sandboxes(&selector).await.is_ok_and(|left| left.is_empty()) {
            return;
        }
        cgroup::remove(&self.identity.cgroup_parent(&spec.instance, self.systemd_cgroup)).await;
        let folder = self.log_directory(spec);
        let _ = tokio::fs::remove_dir_all(&folder).await;
        // Empty parents go too; one that is in use stays.
        for parent in folder.ancestors().skip(1).take(2) {
            let _ = tokio::fs::remove_dir(parent).await;
        }
    }

    /// Removes a sandbox that is known by its labels only.
    pub(crate) async fn sandbox_end_listed(&self, item: &proto::PodSandbox) -> Result<(), RuntimeError> {
        let label = |key: &str| item.labels.get(key).cloned().unwrap_or_default();
        let spec = SandboxSpec {
            instance: label(LABEL_INSTANCE),
            namespace: label(LABEL_NAMESPACE),
            application: label(LABEL_APPLICATION),
            class: label(LABEL_CLASS),
            generation: item.metadata.as_ref().map(|data| data.attempt).unwrap_or_default(),
            cpu_millis: 1,
            memory_bytes: 1,
        };
        reason::gone_is_fine(self.sandbox_end(&item.id, &spec).await)
    }
}

/// The throw-away sandbox by which a class is checked.
pub fn check_spec(class: &str) -> SandboxSpec {
    SandboxSpec {
        instance: format!("sampan-check-{class}"),
        namespace: "sampan-check".into(),
        application: "check".into(),
        class: class.into(),
        generation: 0,
        cpu_millis: 500,
        memory_bytes: 256 * 1024 * 1024,
    }
}

/// Handlers of a runtime: name to whether its cgroups are systemd's. `None` when the runtime does not say.
pub fn configured_handlers(status: &proto::StatusResponse) -> Option<BTreeMap<String, bool>> {
    let config: Option<serde_json::Value> = status.info.get("config").and_then(|text| serde_json::from_str(text).ok());
    let runtimes = config.as_ref().and_then(|config| config["containerd"]["runtimes"].as_object());
    let systemd = |runtime: &serde_json::Value| runtime["options"]["SystemdCgroup"].as_bool().unwrap_or(false);
    if let Some(runtimes) = runtimes {
        return Some(runtimes.iter().map(|(name, runtime)| (name.clone(), systemd(runtime))).collect());
    }
    if status.runtime_handlers.is_empty() {
        return None;
    }
    Some(status.runtime_handlers.iter().map(|handler| (handler.name.clone(), false)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_always_both_set() {
        let found = resources(250, 64 << 20);
        assert_eq!((found.cpu_quota, found.cpu_period, found.memory_limit_in_bytes), (25_000, 100_000, 64 << 20));
        assert_eq!(resources(1, 1).cpu_quota, 1000);
        assert!(resources(u64::MAX, u64::MAX).cpu_quota > 0);
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        for name in ["", "..", ".x", "a/b", "a b", "ü"] {
            assert!(!is_plain_name(name), "{name}");
        }
        assert!(is_plain_name("web-7f3a.0_x"));
        assert_eq!(host_name(&"a".repeat(70)).len(), 63);
    }

    #[test]
    fn name_servers_on_loopback_are_left_out() {
        assert_eq!(host_dns("nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch x\nnameserver junk\n"), ["192.0.2.1"]);
    }
}
