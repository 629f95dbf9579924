//! The quickstart on a machine that has nothing: `make fresh`.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::process::{Command, Stdio};

use sampan_testacc::{print, repository, require};

/// What the script ends with when Debian's packages cannot be fetched: that says nothing about Sampan.
const UNREACHABLE: i32 = 75;

#[test]
#[ignore = "takes minutes and fetches Debian's packages; `make fresh` and .ci/run run it"]
fn the_quickstart_runs_on_a_fresh_debian_12() {
    if !require() {
        return;
    }
    let status = Command::new(repository().join("scripts/fresh.sh")).stdin(Stdio::null()).status().unwrap();
    if status.code() == Some(UNREACHABLE) {
        print("skipped: Debian's packages cannot be fetched now");
        return;
    }
    assert!(status.success(), "scripts/fresh.sh: {status}");
}
