//! `sampan lsp` in a real editor: Neovim without a screen.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Running, text};
use serde_json::{Value, json};

/// What the editor does; each of its waits has a deadline. Old and new versions of Neovim start a client by other names.
const SCRIPT: &str = include_str!("lsp_neovim.lua");

#[test]
fn neovim_shows_findings_as_they_come_and_go_and_makes_fixes() {
    if !has_neovim() {
        let reason = "nvim: not on the PATH (apt-get install neovim)";
        assert!(std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref() != Ok("1"), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let main = "resource \"sampan_namespace\" \"shop\" {\n  name = \"Shop\"\n}\noutput \"id\" {\n  value = \"${sampan_namespace.shop.id}\"\n}\n";
    std::fs::write(folder.path().join("main.tf"), main).unwrap();
    std::fs::write(folder.path().join("test.lua"), SCRIPT).unwrap();
    let mut command = Command::new("nvim");
    command.args(["--headless", "-n", "-i", "NONE", "-u", "NONE", "-c", "luafile test.lua", "main.tf"]);
    // Nothing of the person who runs the test counts.
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME"] {
        command.env(name, folder.path());
    }
    command.env("SAMPAN_PROGRAM", env!("CARGO_BIN_EXE_sampan")).current_dir(folder.path()).stdin(Stdio::null());
    let output = Running::start(&mut command).wait(Duration::from_mins(8));
    let seen = std::fs::read_to_string(folder.path().join("seen.json"))
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
    let mut seen: Value = serde_json::from_str(&seen).unwrap();
    let hover = seen["hover"].take();
    assert!(hover.as_str().unwrap().starts_with("`name` (String, Required)"), "{hover}");
    let want = json!({
        "opened": ["1:9 1 SMP004", "4:10 2 SMP903"],
        "hover": null,
        "fixed": "  value = sampan_namespace.shop.id",
        "after": ["1:9 1 SMP004"],
        "clean": [],
        "broken": ["0:11 1 SMP900"],
        "exit": 0,
    });
    assert_eq!(seen, want, "{}", text(&output.stderr));
    let on_disk = std::fs::read_to_string(folder.path().join("main.tf")).unwrap();
    assert_eq!(on_disk, main, "nothing was saved");
}

fn has_neovim() -> bool {
    let asked = Command::new("nvim").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}
