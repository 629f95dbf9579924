//! `application`: a container image that runs in a number of isolated instances.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::violation::Violation;
use crate::{int_or_percent, quantity};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Namespace. Null means the provider's.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace", "reference": "namespace"}))]
    pub namespace: String,
    /// Name, unique in the namespace.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "replace"}))]
    pub name: String,
    /// Free text.
    #[schemars(length(max = 255), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels, returned verbatim. The prefix `sampan.` is reserved.
    #[schemars(extend("maxProperties" = 64), extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Number of instances.
    #[schemars(range(min = 0, max = 10_000), extend("x-sampan" = {"class": "scale"}))]
    #[serde(default = "one")]
    pub replicas: i64,
    /// Isolation class; null means the namespace's, else the server's. Never downgraded: without a handler the
    /// application stays Pending with the reason.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "recreate", "remote": true}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation_class: Option<String>,
    /// Gray policy that releases follow; null means plain rolling. A policy that was changed meanwhile counts from the
    /// next step on.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "metadata", "reference": "gray_policy"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gray_policy: Option<String>,
    /// Secret of the namespace with the logins of registries: its key `.dockerconfigjson` is what `docker login` writes.
    /// Null means none.
    #[schemars(regex(pattern = crate::name::PATTERN), extend("x-sampan" = {"class": "metadata", "reference": "secret"}))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<String>,
    /// Size of one instance. Required, because a VM is sized from it.
    #[schemars(extend("x-sampan" = {"class": "recreate"}))]
    pub resources: Resources,
    #[schemars(extend("x-sampan" = {"class": "in_place_restart"}))]
    pub container: Container,
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub network: Network,
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub update_strategy: UpdateStrategy,
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub lifecycle_hooks: LifecycleHooks,
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub idle: Idle,
    #[schemars(extend("x-sampan" = {"class": "metadata"}))]
    #[serde(default)]
    pub rollout: Rollout,
}

fn one() -> i64 {
    1
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// CPU, request and limit: 100m to 64.
    #[schemars(extend("x-sampan" = {"semantic": "quantity", "range": ["100m", "64"]}))]
    pub cpu: String,
    /// Memory, request and limit: 64Mi to 512Gi.
    #[schemars(extend("x-sampan" = {"semantic": "quantity", "range": ["64Mi", "512Gi"]}))]
    pub memory: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Ports by name; routes and probes refer to them.
    #[schemars(extend("maxProperties" = 16))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, Port>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: i64,
    /// Routes lead to HTTP ports only.
    #[serde(default)]
    pub protocol: Protocol,
}

/// What a reference to a port means: its name, or a number.
pub fn container_port(ports: &BTreeMap<String, Port>, reference: &str) -> Option<u16> {
    match ports.get(reference) {
        Some(p) => p.container_port.try_into().ok(),
        None => reference.parse().ok().filter(|p| *p > 0),
    }
}

/// Whether requests come to it through the gateway: by a route, or by its internal host.
fn has_request_path(ports: &BTreeMap<String, Port>) -> bool {
    ports.contains_key("http") || ports.len() == 1 || ports.values().any(|p| p.protocol == Protocol::HTTP)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    #[default]
    TCP,
    HTTP,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateStrategy {
    /// `InPlaceIfPossible`: a change that needs a new sandbox gets one. `InPlaceOnly`: such a change is refused.
    #[serde(rename = "type")]
    pub kind: UpdateType,
    /// Instances that may be out of service during an update: a number or a percentage of `replicas`, rounded up
    /// when `max_surge` is 0, down otherwise, and at least 1 without surge.
    #[schemars(regex(pattern = int_or_percent::PATTERN), extend("x-sampan" = {"semantic": "int_or_percent"}))]
    pub max_unavailable: String,
    /// Extra instances during a recreate, rounded up.
    #[schemars(regex(pattern = int_or_percent::PATTERN), extend("x-sampan" = {"semantic": "int_or_percent"}))]
    pub max_surge: String,
    /// Seconds an instance must be ready before it counts.
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: i64,
    /// Seconds without progress after which a release fails.
    #[schemars(range(min = 5, max = 86400))]
    pub progress_deadline_seconds: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdateType {
    #[default]
    InPlaceIfPossible,
    InPlaceOnly,
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self {
            kind: UpdateType::default(),
            max_unavailable: "25%".into(),
            max_surge: "0".into(),
            min_ready_seconds: 0,
            progress_deadline_seconds: 600,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleHooks {
    /// Seconds that an instance gets to end: `pre_stop`, then TERM, and KILL when they are over.
    #[schemars(range(min = 0, max = 3600))]
    pub termination_grace_period_seconds: i64,
    /// What happens in a container before TERM, once it has no requests any more. A failure is in the server's log and
    /// holds nothing up.
    #[schemars(extend("x-sampan" = {"class": "in_place_restart"}))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<PreStop>,
    pub online: Online,
    pub offline: Offline,
}

impl Default for LifecycleHooks {
    fn default() -> Self {
        Self {
            termination_grace_period_seconds: 30,
            pre_stop: None,
            online: Online::default(),
            offline: Offline::default(),
        }
    }
}

/// Exactly one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreStop {
    /// Runs this in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<HookCommand>,
    /// Asks the container for this, and waits for the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HookGet>,
    /// Waits so long.
    #[schemars(range(min = 1, max = 3600))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_seconds: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookCommand {
    /// Program and arguments; no shell.
    #[schemars(length(min = 1, max = 64))]
    pub command: Vec<String>,
}

/// An HTTP GET on the instance's address. Any answer ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookGet {
    #[schemars(regex(pattern = r"^/[!-~]*$"))]
    #[serde(default = "slash")]
    pub path: String,
    /// Key of `network.ports`, or a port number.
    pub port: String,
    /// Request headers: names are HTTP tokens, values printable ASCII.
    #[schemars(extend("maxProperties" = 32))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

fn slash() -> String {
    "/".into()
}

/// How a ready instance comes into service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Online {
    /// Seconds between ready and the first request.
    #[schemars(range(min = 0, max = 3600))]
    pub registration_delay_seconds: i64,
    /// Seconds in which its share of the requests grows from a tenth to a full one.
    #[schemars(range(min = 0, max = 3600))]
    pub warmup_seconds: i64,
    /// How the share grows.
    pub warmup_curve: WarmupCurve,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarmupCurve {
    #[default]
    Linear,
    Quadratic,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Offline {
    /// Seconds that requests in flight get to finish before an instance is stopped.
    #[schemars(range(min = 0, max = 3600))]
    pub drain_timeout_seconds: i64,
}

impl Default for Offline {
    fn default() -> Self {
        Self { drain_timeout_seconds: 15 }
    }
}

/// What happens while nobody asks for the application. An enabled scaling rule owns the size, and this has no say then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Idle {
    /// `stop`: without a request through the gateway for `after_seconds` all instances go. `off`: they stay. A release
    /// under way keeps them, and `replicas` stays as it was written.
    pub mode: IdleMode,
    /// Seconds without a request. They begin anew with the server and with each write of the application.
    #[schemars(range(min = 60, max = 604_800))]
    pub after_seconds: i64,
    /// The gateway holds a request until an instance is ready, for 60 seconds at most. `false`: it answers 503 until
    /// the application is written, restarted or rolled back.
    pub wake_on_request: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdleMode {
    #[default]
    Off,
    Stop,
}

impl Default for Idle {
    fn default() -> Self {
        Self { mode: IdleMode::default(), after_seconds: 900, wake_on_request: true }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// What an apply waits for. `paused_or_completed`: the end of the release, or a step that waits for somebody, which
    /// is a warning. `completed`: the end alone. `started`: nothing.
    pub wait_for: WaitFor,
    /// What the server does when an update fails: `fail` keeps what is ready, failed instances go back; `rollback`
    /// returns all instances to the revision before. Either way the apply ends with an error.
    pub on_failure: OnFailure,
    /// `error` fails the apply of a first release that does not become ready; `warn` ends it with a warning.
    pub on_create_failure: OnCreateFailure,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    #[default]
    PausedOrCompleted,
    Completed,
    Started,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    #[default]
    Fail,
    Rollback,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCreateFailure {
    #[default]
    Error,
    Warn,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Status {
    /// `Pending`, `Progressing`, `Paused`, `Running`, `Degraded` or `Deleting`.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub phase: String,
    /// Stable reason, such as `IsolationUnavailable`; empty when all is well.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub reason: String,
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub message: String,
    /// Generation that the instances have reached.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub observed_generation: i64,
    /// Revision of the last successful release.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub current_revision: String,
    /// Revision that the instances go to; equal to `current_revision` when no release runs.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub update_revision: String,
    /// Digest of `update_revision`'s image.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub image_digest: String,
    /// Isolation class in force.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    pub isolation_class: String,
    /// True when every instance is proven; null for `runc`, where there is nothing to prove.
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation_verified: Option<bool>,
    #[schemars(extend("x-sampan" = {"computed": "stable"}))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// Instances that there shall be: `replicas`, or what its scaling rules have come to; none while it is stopped.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub desired_replicas: i64,
    /// Instances there are.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub replicas: i64,
    /// Instances that are ready.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub ready_replicas: i64,
    /// Instances on `update_revision`.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    pub updated_replicas: i64,
    /// By which environment schedule it is stopped, and until when; empty when none stops it.
    #[schemars(extend("x-sampan" = {"computed": "volatile"}))]
    #[serde(default)]
    pub stopped: String,
}

/// The newest operation of the application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastOperation {
    pub id: String,
    pub kind: String,
    pub phase: String,
    pub reason: String,
    pub message: String,
}

impl Spec {
    /// Port number of a reference: a key of `network.ports` or a number.
    pub fn port(&self, reference: &str) -> Option<u16> {
        container_port(&self.network.ports, reference)
    }
    /// Effective `max_unavailable` and `max_surge`.
    pub fn budget(&self) -> (u64, u64) {
        let n = self.replicas.max(0) as u64;
        let surge = int_or_percent::of(&self.update_strategy.max_surge, n, true).unwrap_or(0);
        let unavailable = int_or_percent::of(&self.update_strategy.max_unavailable, n, surge == 0).unwrap_or(0);
        (if surge == 0 { unavailable.max(1) } else { unavailable }, surge)
    }
}

pub fn validate(spec: &Spec) -> Vec<Violation> {
    let mut v = crate::namespace::labels(&spec.labels);
    if quantity::bytes(&spec.resources.memory).is_none() {
        let message = format!("{:?} is no whole number of bytes", spec.resources.memory);
        v.push(Violation::new("resources.memory", "SMP016", message));
    }
    let is_zero = |s: &str| s.trim_end_matches('%') == "0";
    if is_zero(&spec.update_strategy.max_surge) && is_zero(&spec.update_strategy.max_unavailable) {
        v.push(Violation::new(
            "update_strategy.max_unavailable",
            "SMP018",
            "max_unavailable and max_surge are both 0: no instance could ever be updated",
        ));
    }
    if spec.update_strategy.kind == UpdateType::InPlaceOnly && !is_zero(&spec.update_strategy.max_surge) {
        let text = "must be 0 with InPlaceOnly: extra instances have new sandboxes";
        v.push(Violation::new("update_strategy.max_surge", "SMP064", text));
    }
    let UpdateStrategy { min_ready_seconds, progress_deadline_seconds, .. } = spec.update_strategy;
    if min_ready_seconds >= progress_deadline_seconds {
        let message = format!(
            "is {min_ready_seconds}, not below progress_deadline_seconds {progress_deadline_seconds}: no release could succeed"
        );
        v.push(Violation::new("update_strategy.min_ready_seconds", "SMP037", message));
    }
    if let Some(hook) = &spec.lifecycle_hooks.pre_stop {
        pre_stop(spec, hook, &mut v);
    }
    let grace = spec.lifecycle_hooks.termination_grace_period_seconds;
    if let Some(sleep) = spec.lifecycle_hooks.pre_stop.as_ref().and_then(|h| h.sleep_seconds).filter(|s| *s >= grace) {
        let message =
            format!("is {sleep}, not below termination_grace_period_seconds {grace}: no time is left for TERM");
        v.push(Violation::new("lifecycle_hooks.pre_stop.sleep_seconds", "SMP068", message));
    }
    if spec.lifecycle_hooks.online.registration_delay_seconds >= progress_deadline_seconds {
        let message =
            format!("is not below progress_deadline_seconds {progress_deadline_seconds}: no release could succeed");
        v.push(Violation::new("lifecycle_hooks.online.registration_delay_seconds", "SMP069", message));
    }
    if spec.idle.mode == IdleMode::Stop && !has_request_path(&spec.network.ports) {
        let message =
            "no request could come through the gateway: declare an HTTP port in network.ports, or leave it off";
        v.push(Violation::new("idle.mode", "SMP135", message));
    }
    for name in spec.network.ports.keys() {
        if !crate::name::is_name(name) {
            let message = "a port's name is a DNS label that starts with a letter";
            v.push(Violation::new(format!("network.ports[{name:?}]"), "SMP019", message));
        }
    }
    v.extend(crate::container::validate(&spec.container, "container", &|p| spec.port(p).is_some()));
    v
}

/// The hook is one thing, and can be done.
fn pre_stop(spec: &Spec, hook: &PreStop, v: &mut Vec<Violation>) {
    let written = [hook.exec.is_some(), hook.http_get.is_some(), hook.sleep_seconds.is_some()];
    if written.into_iter().filter(|is| *is).count() != 1 {
        let message = "write exactly one of exec, http_get and sleep_seconds";
        v.push(Violation::new("lifecycle_hooks.pre_stop", "SMP067", message));
    }
    let Some(get) = &hook.http_get else { return };
    if spec.port(&get.port).is_none() {
        let message = format!("{:?} is neither a key of network.ports nor a port number", get.port);
        v.push(Violation::new("lifecycle_hooks.pre_stop.http_get.port", "SMP024", message));
    }
    for (name, value) in get.headers.iter().filter(|(name, value)| !crate::probe::is_header(name, value)) {
        let message = format!("{name:?} = {value:?} is no HTTP header: a token, and printable ASCII");
        v.push(Violation::new("lifecycle_hooks.pre_stop.http_get.headers", "SMP036", message));
    }
}
