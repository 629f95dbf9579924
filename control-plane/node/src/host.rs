//! What a host offers to a node, for `sampan doctor`. Looks only; starts nothing.

use std::path::Path;

use crate::{containerd, network};

/// One line of the report. `fix` says what to do when it is not `ok`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCheck {
    pub name: String,
    pub ok: bool,
    pub detail: String,
    pub fix: String,
}

fn check(name: &str, found: Result<String, String>, fix: &str) -> HostCheck {
    let ok = found.is_ok();
    let detail = found.unwrap_or_else(|missing| missing);
    HostCheck { name: name.into(), ok, detail, fix: if ok { String::new() } else { fix.into() } }
}

fn program(name: &str, package: &str) -> HostCheck {
    let found = containerd::find_program(name).map(|path| path.display().to_string());
    check(name, found.ok_or_else(|| "not installed".into()), &format!("apt-get install {package}"))
}

fn shim(class: &str, name: &str, fix: &str) -> HostCheck {
    let found = containerd::find_program(name).map(|path| path.display().to_string());
    check(
        &format!("isolation class {class}"),
        found.ok_or_else(|| format!("`{name}` is not installed: the class is absent")),
        fix,
    )
}

/// What this host offers to a node.
pub fn host_report() -> Vec<HostCheck> {
    let root = rustix::process::geteuid().is_root();
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let overlay = filesystems.lines().any(|line| line.trim_end().ends_with("overlay"))
        || Path::new("/sys/module/overlay").exists();
    let cgroup = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        Ok("version 2".to_string())
    } else if Path::new("/sys/fs/cgroup/memory").is_dir() && Path::new("/sys/fs/cgroup/cpu").is_dir() {
        Ok("version 1".to_string())
    } else {
        Err("no memory and cpu controllers under /sys/fs/cgroup".to_string())
    };
    vec![
        check("root", if root { Ok("yes".into()) } else { Err("no".into()) }, "run with sudo"),
        program("containerd", "containerd"),
        program("ctr", "containerd"),
        program("runc", "runc"),
        check(
            "CNI plugins",
            network::plugin_folder().map(|folder| folder.display().to_string()).map_err(|error| error.to_string()),
            "apt-get install containernetworking-plugins",
        ),
        program("iptables", "iptables"),
        program("ip", "iproute2"),
        check(
            "overlayfs",
            if overlay { Ok("known to the kernel".into()) } else { Err("not known to the kernel".into()) },
            "modprobe overlay",
        ),
        check("cgroups", cgroup, "mount the cgroup file systems"),
        check(
            "/dev/kvm",
            if Path::new("/dev/kvm").exists() { Ok("present".into()) } else { Err("absent: no class kata".into()) },
            "use a host with hardware virtualisation, and load kvm_intel or kvm_amd",
        ),
        shim("kata", "containerd-shim-kata-v2", "install Kata Containers"),
        shim("gvisor", "containerd-shim-runsc-v1", "install gVisor with its containerd shim"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failed_check_says_what_to_do() {
        let report = host_report();
        assert!(report.len() > 8);
        for check in report {
            assert_eq!(check.ok, check.fix.is_empty(), "{check:?}");
            assert!(!check.detail.is_empty());
        }
    }
}
