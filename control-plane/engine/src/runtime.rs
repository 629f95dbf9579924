//! What a backend (node, Kubernetes) offers, in the engine's words: sandboxes, containers, images, probes.
//!
//! The trait is called by the server's executor only. It holds no policy: whoever implements it carries out one step,
//! with its own deadline, and reports what it saw.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

pub use sampan_schema::docker_config::Login;
use serde::{Deserialize, Serialize};

/// A boxed future, so that the trait stays usable as `dyn Runtime`.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything needed to make one sandbox. All of it belongs to the sandbox hash: a change needs a new sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Instance name; unique on the node, also the host name inside.
    pub instance: String,
    pub namespace: String,
    pub application: String,
    /// Isolation class (`kata`, `gvisor`, `runc`); the backend maps it to a runtime handler or refuses.
    pub class: String,
    /// Generation of the sandbox of this instance, from 0.
    pub generation: u32,
    /// Limits of the whole sandbox. Both are always set: a VM is sized from them.
    pub cpu_millis: u64,
    pub memory_bytes: u64,
}

/// Everything needed to make one container attempt inside a sandbox.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Name inside the sandbox, `main` for the main container.
    pub name: String,
    /// Number of the container inside its sandbox, from 0.
    pub attempt: u32,
    /// `repo@sha256:…` (pulled images) or an image id.
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    /// In order; values may be secrets, so `Debug` leaves them out.
    pub env: Vec<(String, String)>,
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    /// Label `sampan.spec-hash`.
    pub spec_hash: String,
    /// Label `sampan.revision`.
    pub revision: String,
}

impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ContainerSpec")
            .field("name", &self.name)
            .field("attempt", &self.attempt)
            .field("image", &self.image)
            .field("command", &self.command)
            .field("args", &self.args)
            .field("working_dir", &self.working_dir)
            .field("env", &env)
            .field("cpu_millis", &self.cpu_millis)
            .field("memory_bytes", &self.memory_bytes)
            .field("spec_hash", &self.spec_hash)
            .field("revision", &self.revision)
            .finish()
    }
}

/// What isolation check found, per sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// `Some(true)` proven by evidence; `None` for `runc`, where there is nothing to prove.
    pub verified: Option<bool>,
    /// `boot_id`, `kernel_version` or `none`, with the two values that were compared.
    pub evidence: String,
}

/// A made sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    pub id: String,
    pub ip: IpAddr,
    pub isolation: Isolation,
}

/// One sandbox as listed by the backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSandbox {
    pub id: String,
    pub instance: String,
    pub namespace: String,
    pub application: String,
    pub generation: u32,
    pub ready: bool,
    pub ip: Option<IpAddr>,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    pub containers: Vec<ObservedContainer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    Unknown,
}

/// One container attempt as listed by the backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedContainer {
    pub id: String,
    pub name: String,
    pub attempt: u32,
    pub spec_hash: String,
    pub revision: String,
    pub state: ContainerState,
    /// Set when exited.
    pub exit_code: Option<i32>,
    /// `OOMKilled`, `Error`, `Completed`, `StartError` when exited.
    pub reason: String,
    pub message: String,
    /// Nanoseconds since the epoch; 0 when not started.
    pub started_at: i64,
    pub finished_at: i64,
}

/// Why a step failed. `permanent` failures are not retried with the same input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct RuntimeError {
    /// Stable, e.g. `ImageNotFound`, `RegistryUnreachable`, `IsolationUnavailable`, `IsolationNotVerified`,
    /// `NetworkNotIsolated`, `CommandNotFound`, `DeadlineExceeded`, `RuntimeUnavailable`, `NotFound`, `Unknown`.
    pub reason: String,
    /// For people: what happened and what to do next. Never holds a secret.
    pub message: String,
    pub permanent: bool,
}

impl RuntimeError {
    pub fn transient(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), permanent: false }
    }
    pub fn permanent(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), permanent: true }
    }
}

/// Whether an isolation class can be had on this backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassStatus {
    pub class: String,
    pub handler: String,
    pub available: bool,
    /// Why not, and what to install.
    pub reason: String,
}

/// One probe to run against a container. Thresholds are applied by whoever runs it, see [`ProbeReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    pub action: ProbeAction,
    pub initial_delay_ms: u64,
    pub period_ms: u64,
    pub timeout_ms: u64,
    pub success_threshold: u32,
    pub failure_threshold: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeAction {
    /// GET; success is a status in `expect_status`, or 200–399 when it is empty.
    Http {
        port: u16,
        path: String,
        host: Option<String>,
        headers: BTreeMap<String, String>,
        expect_status: Vec<u16>,
    },
    Tcp {
        port: u16,
    },
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc {
        port: u16,
        service: String,
    },
    /// Exit code 0.
    Exec {
        command: Vec<String>,
    },
}

/// The probes of one container attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Probes {
    pub startup: Option<ProbeSpec>,
    pub readiness: Option<ProbeSpec>,
    pub liveness: Option<ProbeSpec>,
}

/// What the prober found for one container attempt. Readiness and liveness run only after startup has passed.
/// While no probe of a kind is declared, its verdict is the passing one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ProbeReport {
    /// `None` undecided, `Some(false)` over its failure threshold.
    pub started: Option<bool>,
    pub ready: bool,
    /// `Some(false)`: over its failure threshold, restart the container.
    pub live: Option<bool>,
    /// Last failure of any probe, for people.
    pub message: String,
}

impl ProbeReport {
    /// All is well.
    pub fn passing() -> Self {
        Self { started: Some(true), ready: true, live: Some(true), message: String::new() }
    }
}

/// State of an image on the node, keyed by the reference that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageState {
    Pulling,
    Present,
    Failed(RuntimeError),
}

/// CPU and memory of one container. Missing data is `None`, never zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Stats {
    /// Monotonic counter, nanoseconds of CPU.
    pub cpu_nanos: Option<u64>,
    pub memory_working_set_bytes: Option<u64>,
    /// Nanoseconds since the epoch of the record.
    pub at: i64,
}

/// What one container attempt has used since it was started, as of one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub namespace: String,
    pub application: String,
    pub instance: String,
    /// The counters of another container begin at zero again.
    pub container: String,
    pub attempt: u32,
    pub stats: Stats,
}

/// One log record. `stderr` is false for stdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// RFC 3339 with nanoseconds.
    pub time: String,
    pub stderr: bool,
    pub text: String,
}

/// One backend. Every method has a deadline of its own; after `DeadlineExceeded` the state is unknown: list again.
pub trait Runtime: Send + Sync + 'static {
    /// Classes and whether each can be had. Decided at start by a throw-away sandbox per configured handler.
    fn classes(&self) -> Vec<ClassStatus>;
    /// Node id; part of every label and of the instance's status.
    fn node(&self) -> String;

    /// Runs the sandbox, isolates its bridge port and proves isolation. On any failure nothing is left behind.
    fn sandbox_run(&self, spec: SandboxSpec) -> Work<'_, Result<Sandbox, RuntimeError>>;
    /// Stops and removes the sandbox with its containers, cgroup and log folder. Idempotent.
    fn sandbox_remove(&self, id: String, spec: SandboxSpec) -> Work<'_, Result<(), RuntimeError>>;

    /// Creates (does not start) a container. Returns its id; adopts one with the same attempt and spec hash.
    fn container_create(
        &self,
        sandbox_id: String,
        sandbox: SandboxSpec,
        spec: ContainerSpec,
    ) -> Work<'_, Result<String, RuntimeError>>;
    fn container_start(&self, id: String) -> Work<'_, Result<(), RuntimeError>>;
    /// TERM, then KILL after `grace_seconds`. Returns once the process is gone. "Not found" is success.
    fn container_stop(&self, id: String, grace_seconds: u64) -> Work<'_, Result<(), RuntimeError>>;
    fn container_remove(&self, id: String) -> Work<'_, Result<(), RuntimeError>>;

    /// Everything that carries this node's label, containers included.
    fn list(&self) -> Work<'_, Result<Vec<ObservedSandbox>, RuntimeError>>;
    /// The same for one sandbox, fresh; `None` when it is gone.
    fn observe(&self, sandbox_id: String) -> Work<'_, Result<Option<ObservedSandbox>, RuntimeError>>;

    /// Pulls by digest; joins a pull of the same reference that is under way. Present already: returns at once. Whether
    /// the caller may have the image was asked before.
    fn image_pull(&self, reference: String, login: Option<Login>) -> Work<'_, Result<(), RuntimeError>>;
    /// Image id if the reference is on the node.
    fn image_id(&self, reference: String) -> Work<'_, Result<Option<String>, RuntimeError>>;

    /// Starts or replaces the probes of one container attempt; `report` is called at every change of verdict.
    /// `begun` is the verdict so far, which stands until a probe says otherwise: the default of a container that has
    /// just started, the last report of one whose probes are replaced or that another server has left.
    fn probes_watch(
        &self,
        container_id: String,
        ip: IpAddr,
        probes: Probes,
        begun: ProbeReport,
        report: Box<dyn Fn(ProbeReport) + Send + Sync>,
    );
    fn probes_forget(&self, container_id: &str);

    fn exec(
        &self,
        container_id: String,
        command: Vec<String>,
        timeout_seconds: u64,
    ) -> Work<'_, Result<ExecOutput, RuntimeError>>;
    /// CPU and memory of every application's container on this node, in one call. A container without a record is
    /// there with empty [`Stats`], or not at all.
    fn usage(&self) -> Work<'_, Result<Vec<Usage>, RuntimeError>>;
    /// Records of one attempt from `offset` bytes on, whole records only, at most `max_bytes`; and the next offset.
    /// `tail` counts lines from the end and is used instead of `offset` when given.
    fn logs(&self, query: LogQuery) -> Work<'_, Result<(Vec<LogLine>, u64), RuntimeError>>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    pub namespace: String,
    pub application: String,
    pub instance: String,
    pub container: String,
    pub attempt: u32,
    pub offset: u64,
    pub tail: Option<usize>,
    pub max_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_code: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_environment_are_not_shown() {
        let spec = ContainerSpec {
            name: "main".into(),
            attempt: 3,
            image: "registry.example/web".into(),
            command: vec!["/web".into()],
            args: Vec::new(),
            working_dir: None,
            env: vec![("PASSWORD".into(), "hunter2".into())],
            cpu_millis: 100,
            memory_bytes: 1,
            spec_hash: "s".into(),
            revision: "r".into(),
        };
        for shown in [format!("{spec:?}"), format!("{spec:#?}")] {
            assert!(shown.contains("PASSWORD") && shown.contains("/web") && !shown.contains("hunter2"), "{shown}");
        }
    }
}
