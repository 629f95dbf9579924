//! What a node is started with, and why a start fails.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Extra CPU and memory that a class itself needs per sandbox (a VMM, a guest kernel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overhead {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
}

/// Settings of one node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Folder of this node; bridge name, subnet, cgroup parent and node id are made from its path.
    pub data_dir: PathBuf,
    /// Path of the socket of an existing CRI runtime. `None`: a private containerd is started under `data_dir`.
    pub cri_endpoint: Option<String>,
    /// Registries on loopback are pulled from, over plain HTTP. Otherwise they are refused.
    pub loopback_registries: bool,
    /// Registries (`host[:port]`) spoken to over plain HTTP.
    pub insecure_registries: Vec<String>,
    /// Isolation class to runtime handler name.
    pub handlers: BTreeMap<String, String>,
    /// Handler to containerd `runtime_type`, where it is not the usual one of its class. Private containerd only.
    pub runtime_types: BTreeMap<String, String>,
    /// Isolation class to overhead.
    pub overheads: BTreeMap<String, Overhead>,
    /// Addresses of the name servers that sandboxes ask, or that the node asks for them where it answers names itself.
    /// Empty: those of the host; where sandboxes ask them, without those on loopback.
    pub dns_servers: Vec<String>,
    /// Subnet of the sandboxes, e.g. `10.88.0.0/20`. `None`: one chosen from the data folder's path.
    pub subnet: Option<String>,
}

impl NodeConfig {
    /// A private containerd in `data_dir`, with the usual classes.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let pair = |class: &str, handler: &str| (class.to_string(), handler.to_string());
        Self {
            data_dir: data_dir.into(),
            cri_endpoint: None,
            loopback_registries: false,
            insecure_registries: Vec::new(),
            handlers: [pair("kata", "kata"), pair("gvisor", "runsc"), pair("runc", "runc")].into(),
            runtime_types: BTreeMap::new(),
            overheads: [("kata".to_string(), Overhead { cpu_millis: 250, memory_bytes: 320 * 1024 * 1024 })].into(),
            dns_servers: Vec::new(),
            subnet: None,
        }
    }
}

/// Why a node cannot start, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("a node needs root: run it with sudo")]
    NotRoot,
    #[error("`{binary}` is not installed: apt-get install {package}")]
    BinaryMissing { binary: String, package: String },
    #[error("CNI plugin `{plugin}` is not in {searched}: apt-get install containernetworking-plugins")]
    CniPluginMissing { plugin: String, searched: String },
    #[error("data folder {path}: {detail}; choose a writable --data-dir")]
    DataDir { path: PathBuf, detail: String },
    #[error("data folder {path} is used by another sampan process: stop it, or choose another --data-dir")]
    DataDirLocked { path: PathBuf },
    #[error("socket path {path} has {length} bytes, at most {limit} are possible: choose a shorter --data-dir")]
    SocketPathTooLong { path: PathBuf, length: usize, limit: usize },
    #[error("subnet {subnet} overlaps {taken}: choose another one with --subnet")]
    SubnetTaken { subnet: String, taken: String },
    #[error("subnet `{subnet}` is not an IPv4 network with a prefix of 16 to 28 bits, such as 10.88.0.0/20")]
    SubnetInvalid { subnet: String },
    #[error("containerd did not start: {detail}; its log is {log}")]
    Containerd { detail: String, log: PathBuf },
    #[error("container runtime at {endpoint} does not answer: {detail}")]
    CriUnavailable { endpoint: String, detail: String },
    #[error("import of Sampan's own image {image} failed: {detail}")]
    Import { image: String, detail: String },
    #[error("cleaning up {what} failed: {detail}")]
    Teardown { what: String, detail: String },
}
