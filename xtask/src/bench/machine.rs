//! The machine and the programs on it, in words.

use std::process::Command;

use sampan_testacc::process;
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub struct Machine {
    pub cores: usize,
    pub memory_gib: f64,
    pub system: String,
    pub kernel: String,
    pub programs: Vec<(&'static str, String)>,
    /// Mean number of processes that wanted to run in the last minute, when the bench began.
    pub load: f64,
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The first word of the output with a digit in it: every program words its version in another way.
fn version(program: &str, argument: &str) -> String {
    // A name that holds a path is one already.
    let path = process::find(program).unwrap_or_else(|| program.into());
    let found = Command::new(path).arg(argument).output().ok();
    let text = found.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    version_in(&text)
}

fn version_in(text: &str) -> String {
    let is_version = |word: &&str| {
        let word = word.trim_start_matches('v');
        word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
    };
    text.split_whitespace().find(is_version).unwrap_or("unknown").trim_start_matches('v').to_owned()
}

/// The load of the last minute.
pub fn load() -> f64 {
    file("/proc/loadavg").split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

impl Machine {
    pub fn look() -> Self {
        let memory = file("/proc/meminfo");
        let kib =
            memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse().ok());
        let release = file("/etc/os-release");
        let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.unwrap_or(0.0) / f64::from(1 << 20),
            system: name.unwrap_or("Linux").trim_matches('"').to_owned(),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            programs: vec![
                ("containerd", version("containerd", "--version")),
                ("runc", version("runc", "--version")),
                ("Terraform", version(&sampan_testacc::terraform::program(), "version")),
            ],
            load: load(),
        }
    }

    pub fn words(&self) -> String {
        let programs: Vec<String> = self.programs.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "{} cores, {:.0} GiB of memory, {} (kernel {}), {}; load average {:.1} when it began",
            self.cores,
            self.memory_gib,
            self.system,
            self.kernel,
            programs.join(", "),
            self.load
        )
    }

    pub fn json(&self) -> Value {
        let programs: serde_json::Map<String, Value> =
            self.programs.iter().map(|(name, version)| (name.to_lowercase(), version.as_str().into())).collect();
        json!({
            "cores": self.cores, "memory_gib": self.memory_gib, "system": self.system, "kernel": self.kernel,
            "programs": programs, "load": self.load,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version_in("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1"), "1.6.20~ds1");
        assert_eq!(version_in("runc version 1.1.5+ds1\ncommit: 1.1.5"), "1.1.5+ds1");
        assert_eq!(version_in("Terraform v1.11.4\non linux_amd64"), "1.11.4");
        assert_eq!(version_in(""), "unknown");
    }
}
