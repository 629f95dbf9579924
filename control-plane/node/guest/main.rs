//! The one program inside Sampan's own images. std only, static, no shell around it.
//!
//! `pause` holds a sandbox open; `probe` prints which kernel it runs on; `true` does nothing, successfully.
//! `pause` needs no signal handler and reaps nobody: each container has a PID namespace of its own, so it never gets
//! children, and the runtime ends a sandbox by SIGKILL.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None | Some("pause") => loop {
            std::thread::park();
        },
        Some("true") => ExitCode::SUCCESS,
        Some("probe") => {
            for (key, path) in [("boot_id", "/proc/sys/kernel/random/boot_id"), ("kernel_version", "/proc/version")] {
                if let Ok(text) = std::fs::read_to_string(path) {
                    println!("{key}={}", text.trim());
                }
            }
            ExitCode::SUCCESS
        }
        Some(_) => ExitCode::from(64),
    }
}
