//! Names and paths of one node, all made from its data folder so that two nodes on one machine do not meet.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A Unix socket path may have 107 bytes; containerd also makes `<socket>.ttrpc`.
pub const SOCKET_PATH_LIMIT: usize = 107 - ".ttrpc".len();

/// Hex SHA-256 of some bytes.
pub fn full_hash(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// First half of [`full_hash`].
pub fn short_hash(bytes: &[u8]) -> String {
    let mut text = full_hash(bytes);
    text.truncate(32);
    text
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub data_dir: PathBuf,
    hash: String,
}

impl Identity {
    /// `data_dir` must be absolute and free of links: the names depend on its text.
    pub fn new(data_dir: &Path) -> Self {
        let mut hash = short_hash(data_dir.as_os_str().as_encoded_bytes());
        hash.truncate(8);
        Self { data_dir: data_dir.to_path_buf(), hash }
    }
    /// Value of the label `sampan.node`.
    pub fn node(&self) -> String {
        format!("node-{}", self.hash)
    }
    /// Name of the CNI network.
    pub fn network(&self) -> String {
        format!("sampan-{}", self.hash)
    }
    /// Interface name of the bridge; 14 of at most 15 bytes.
    pub fn bridge(&self) -> String {
        format!("sampan{}", self.hash)
    }
    /// Parent of all cgroups of this node, relative to each hierarchy, without a leading slash.
    pub fn cgroup_root(&self) -> String {
        format!("sampan-{}", self.hash)
    }
    /// `linux.cgroup_parent` of one instance.
    pub fn cgroup_parent(&self, instance: &str, systemd: bool) -> String {
        if systemd {
            format!("sampan_{}-{}.slice", self.hash, instance.replace('-', "_"))
        } else {
            format!("/{}/{instance}", self.cgroup_root())
        }
    }
    /// The `attempt`-th choice of a /20 inside 10.64.0.0/10.
    pub fn subnet(&self, attempt: u32) -> Subnet {
        let seed = u32::from_str_radix(&self.hash, 16).unwrap_or_default();
        let slot = seed.wrapping_add(attempt.wrapping_mul(7919)) % 1024;
        Subnet { base: (10 << 24) | (64 << 16) | (slot << 12), bits: 20 }
    }
    pub fn containerd_root(&self) -> PathBuf {
        self.data_dir.join("containerd")
    }
    pub fn run(&self) -> PathBuf {
        self.data_dir.join("run")
    }
    pub fn state(&self) -> PathBuf {
        self.run().join("containerd")
    }
    pub fn socket(&self) -> PathBuf {
        self.run().join("containerd.sock")
    }
    pub fn pid_file(&self) -> PathBuf {
        self.run().join("containerd.pid")
    }
    pub fn containerd_log(&self) -> PathBuf {
        self.run().join("containerd.log")
    }
    pub fn containerd_config(&self) -> PathBuf {
        self.run().join("containerd.toml")
    }
    pub fn ipam(&self) -> PathBuf {
        self.run().join("ipam")
    }
    pub fn cni_conf(&self) -> PathBuf {
        self.run().join("cni")
    }
    pub fn registries(&self) -> PathBuf {
        self.run().join("registry.d")
    }
    pub fn logs(&self) -> PathBuf {
        self.data_dir.join("logs")
    }
    /// `log_directory` of one instance.
    pub fn log_directory(&self, namespace: &str, application: &str, instance: &str) -> PathBuf {
        self.logs().join(namespace).join(application).join(instance)
    }
    pub fn lock_file(&self) -> PathBuf {
        self.data_dir.join("node.lock")
    }
    pub fn subnet_file(&self) -> PathBuf {
        self.run().join("subnet")
    }
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    pub base: u32,
    pub bits: u8,
}

impl Subnet {
    /// `a.b.c.d/16` to `/28`; host bits are cleared.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.trim().split_once('/')?;
        let bits: u8 = bits.parse().ok().filter(|bits| (16..=28).contains(bits))?;
        let address: std::net::Ipv4Addr = address.parse().ok()?;
        Some(Self { base: u32::from(address) & Self { base: 0, bits }.mask(), bits })
    }
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0)
    }
    pub fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.base & mask == other.base & mask
    }
    pub fn contains(self, address: std::net::Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == self.base
    }
    /// The first address: that of the bridge.
    pub fn gateway(self) -> std::net::Ipv4Addr {
        std::net::Ipv4Addr::from(self.base + 1)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", std::net::Ipv4Addr::from(self.base), self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_data_folder_and_fit_their_limits() {
        let (a, b) = (Identity::new(Path::new("/a")), Identity::new(Path::new("/b")));
        assert_ne!(a.node(), b.node());
        assert_ne!(a.bridge(), b.bridge());
        assert!(a.bridge().len() <= 15);
        assert_eq!(a.cgroup_parent("web-1", false), format!("/{}/web-1", a.cgroup_root()));
        assert!(a.cgroup_parent("web-1", true).ends_with("-web_1.slice"));
    }

    #[test]
    fn subnets_overlap_when_one_holds_the_other() {
        let parse = |text| Subnet::parse(text).unwrap();
        assert!(parse("10.88.0.0/16").overlaps(parse("10.88.16.0/20")));
        assert!(!parse("10.88.0.0/20").overlaps(parse("10.88.16.0/20")));
        assert_eq!(parse("10.88.3.7/20").to_string(), "10.88.0.0/20");
        assert!(parse("10.88.0.0/20").contains([10, 88, 15, 255].into()));
        assert!(!parse("10.88.0.0/20").contains([10, 88, 16, 0].into()));
        assert_eq!(parse("10.88.0.0/20").gateway().to_string(), "10.88.0.1");
        assert_eq!(Subnet::parse("10.0.0.0/8"), None);
        assert_eq!(Subnet::parse("x"), None);
    }
}
