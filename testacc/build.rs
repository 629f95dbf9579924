//! Builds `hello/` into one static binary. The gnu target is enough: `std` alone links statically with it.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["build.rs", "hello"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("hello");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-name", "hello", "--crate-type", "bin", "-D", "warnings"]);
    for option in ["target-feature=+crt-static", "opt-level=s", "panic=abort", "strip=symbols"] {
        command.args(["-C", option]);
    }
    command.arg("--target").arg(std::env::var("TARGET")?);
    command.arg("-o").arg(&out).arg("hello/main.rs");
    let status = command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").status()?;
    if !status.success() {
        return Err(format!("hello did not compile: rustc ended with {status}").into());
    }
    Ok(())
}
