//! Removes the cgroups that the container runtime makes and leaves: the parents, one per instance and hierarchy.

use std::path::{Path, PathBuf};

/// Mount points of all cgroup hierarchies, v1 and v2, from `/proc/self/mountinfo`.
pub fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let kind = back.split(' ').next().unwrap_or_default();
        if kind == "cgroup" || kind == "cgroup2" {
            found.extend(front.split(' ').nth(4).map(PathBuf::from));
        }
    }
    found
}

fn host_hierarchies() -> Vec<PathBuf> {
    hierarchies(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// All existing folders of `path` (relative to a hierarchy).
pub fn folders(path: &str) -> Vec<PathBuf> {
    let path = path.trim_start_matches('/');
    if path.is_empty() || path.split('/').any(|part| part.is_empty() || part == "..") {
        return Vec::new();
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for root in host_hierarchies() {
        let folder = root.join(path);
        if folder.is_dir() {
            found.push(folder);
        }
        // The systemd driver nests `a-b.slice` in `a.slice`.
        if let Some((parent, _)) = path.strip_suffix(".slice").and_then(|name| name.split_once('-')) {
            let nested = root.join(format!("{parent}.slice")).join(path);
            if nested.is_dir() {
                found.push(nested);
            }
        }
    }
    found
}

/// Removes `folder` and the cgroups below it; those that hold processes stay.
fn remove_tree(folder: &Path) {
    if let Ok(entries) = std::fs::read_dir(folder) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&entry.path());
            }
        }
    }
    let _ = std::fs::remove_dir(folder);
}

/// Removes a cgroup in every hierarchy, trying for a short while: the kernel lags behind the exit of processes.
pub async fn remove(path: &str) -> bool {
    for _ in 0..20 {
        let left = folders(path);
        if left.is_empty() {
            return true;
        }
        for folder in &left {
            remove_tree(folder);
        }
        if folders(path).is_empty() {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    false
}

/// Processes in a cgroup and all below it, in every hierarchy.
pub fn processes(path: &str) -> Vec<i32> {
    fn collect(folder: &Path, found: &mut Vec<i32>) {
        let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                collect(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders(path) {
        collect(&folder, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_cgroup_versions_are_found() {
        let text = "25 20 0:22 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                    26 20 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                    27 20 0:24 / /tmp rw shared:1 - tmpfs tmpfs rw\n";
        assert_eq!(hierarchies(text), [PathBuf::from("/sys/fs/cgroup/cpu"), PathBuf::from("/sys/fs/cgroup/unified")]);
    }

    #[test]
    fn paths_never_leave_the_hierarchy() {
        assert!(folders("..").is_empty());
        assert!(folders("/").is_empty());
        assert!(folders("a//b").is_empty());
    }
}
