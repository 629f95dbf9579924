//! Proof that a sandbox does not run on the host's kernel. It shows "another kernel", not "a virtual machine".

use std::collections::BTreeMap;

use sampan_engine::runtime::Isolation;

/// What identifies a running kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    pub boot_id: Option<String>,
    pub version: Option<String>,
}

impl Kernel {
    /// The host's.
    pub fn host() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_string());
        Self {
            boot_id: read("/proc/sys/kernel/random/boot_id").filter(|text| !text.is_empty()),
            version: read("/proc/version").filter(|text| !text.is_empty()),
        }
    }

    /// From the output of our probe program: `boot_id=…`, `kernel_version=…`.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let values: BTreeMap<&str, &str> = lines.into_iter().filter_map(|line| line.trim().split_once('=')).collect();
        let get = |key| values.get(key).map(|value| (*value).to_string()).filter(|text| !text.is_empty());
        Self { boot_id: get("boot_id"), version: get("kernel_version") }
    }
}

/// Compares boot ids, else kernel versions. Nothing to compare is unknown, never true.
pub fn compare(host: &Kernel, guest: &Kernel) -> Isolation {
    let pairs = [("boot_id", &host.boot_id, &guest.boot_id), ("kernel_version", &host.version, &guest.version)];
    for (name, host, guest) in pairs {
        if let (Some(host), Some(guest)) = (host, guest) {
            return Isolation {
                verified: Some(host != guest),
                evidence: format!("{name}: host {host}, sandbox {guest}"),
            };
        }
    }
    Isolation { verified: None, evidence: "none".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(boot_id: &str, version: &str) -> Kernel {
        Kernel::parse([format!("boot_id={boot_id}").as_str(), format!("kernel_version={version}").as_str()])
    }

    #[test]
    fn boot_ids_decide_and_versions_stand_in() {
        let host = kernel("a", "Linux 1");
        assert_eq!(compare(&host, &kernel("b", "Linux 1")).verified, Some(true));
        assert_eq!(compare(&host, &kernel("a", "Linux 2")).verified, Some(false));
        assert_eq!(compare(&host, &kernel("", "Linux 2")).verified, Some(true));
        assert_eq!(compare(&host, &kernel("", "Linux 1")).verified, Some(false));
        assert_eq!(compare(&host, &kernel("", "")).verified, None);
        assert_eq!(compare(&Kernel::default(), &kernel("b", "x")).verified, None);
    }
}
