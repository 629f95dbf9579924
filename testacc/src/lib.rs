//! Support of the acceptance tests: the real terraform against a real `sampan dev`, images from a real registry.
//!
//! Everything a test starts it ends by process id, also when the test fails, and every wait has a deadline.

pub mod app;
pub mod dev;
pub mod edges;
pub mod hello;
pub mod hey;
pub mod http;
pub mod https;
pub mod load;
pub mod process;
pub mod registry;
pub mod terraform;

use std::time::{Duration, Instant};

pub use app::App;
pub use dev::Dev;
pub use hello::push_hello;
pub use load::Load;
pub use registry::Registry;
pub use terraform::Terraform;

/// Whether this machine can run the acceptance tests. If not: prints why, so that the test can return.
///
/// # Panics
/// With `SAMPAN_REQUIRE_CONTAINERS=1` something missing is a failure, not a skip.
#[must_use]
pub fn require() -> bool {
    none_of(&missing())
}

/// As [`require`], for tests that need another program too: its name, which is that of its Debian package.
///
/// # Panics
/// As [`require`].
#[must_use]
pub fn require_with(program: &str) -> bool {
    let mut missing = missing();
    if process::find(program).is_none() {
        missing.push(format!("{program}: not on the PATH (apt-get install {program})"));
    }
    none_of(&missing)
}

/// As [`require`], for tests that need Terraform and no container.
///
/// # Panics
/// As [`require`].
#[must_use]
pub fn require_terraform() -> bool {
    none_of(&Vec::from_iter(terraform::missing()))
}

fn none_of(missing: &[String]) -> bool {
    if missing.is_empty() {
        return true;
    }
    let text = missing.join("; ");
    assert!(
        std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref() != Ok("1"),
        "SAMPAN_REQUIRE_CONTAINERS=1, and this machine lacks: {text}"
    );
    print(&format!("skipped: {text}"));
    false
}

/// What is missing on this machine, each with the remedy.
pub fn missing() -> Vec<String> {
    let needed = ["root", "containerd", "ctr", "runc", "CNI plugins", "iptables", "ip", "overlayfs", "cgroups"];
    let mut missing: Vec<String> = sampan_node::host_report()
        .into_iter()
        .filter(|check| needed.contains(&check.name.as_str()) && !check.ok)
        .map(|check| format!("{}: {} ({})", check.name, check.detail, check.fix))
        .collect();
    missing.extend(terraform::missing());
    if process::find("docker-registry").is_none() {
        missing.push("docker-registry: not on the PATH (apt-get install docker-registry)".into());
    }
    missing
}

/// Waits until `cond` gives a value.
///
/// # Panics
/// After `deadline`, naming what was waited for and what was seen last.
pub fn wait_for<T>(name: &str, deadline: Duration, mut cond: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + deadline;
    loop {
        match cond() {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < end, "{name}: not within {deadline:?}; last seen: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The root of the repository.
pub fn repository() -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Output of the tests themselves.
#[expect(clippy::print_stdout, reason = "tests explain themselves on stdout, which the test runner captures")]
pub fn print(line: &str) {
    println!("{line}");
}
