//! From the start of the provider's process to its handshake line, as Terraform starts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use sampan_testacc::dev::bin_dir;

use super::Ground;
use super::figure::Figure;
use super::statistic::{median, ms};

const ROUNDS: u32 = 21;
pub const LIMIT_MB: f64 = 20.0;
/// As go-plugin says it; it keeps people from starting a provider by hand and is no secret.
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// A line of `/proc/PID/status` in MB (1,000,000 bytes).
pub fn memory_mb(process: &Path, key: &str) -> Option<f64> {
    memory_in(&std::fs::read_to_string(process.join("status")).ok()?, key)
}

fn memory_in(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// Time to the handshake line, and the memory then.
fn once(certificate: &str) -> Result<(f64, f64), String> {
    let program = bin_dir().join("terraform-provider-sampan");
    let mut command = Command::new(program);
    command
        .env("TF_PLUGIN_MAGIC_COOKIE", COOKIE)
        .env("PLUGIN_PROTOCOL_VERSIONS", "6")
        .env("PLUGIN_CLIENT_CERT", certificate)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("the provider does not start: {error}"))?;
    let mut line = String::new();
    let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    let took = ms(begun.elapsed());
    let memory = memory_mb(Path::new(&format!("/proc/{}", child.id())), "VmRSS");
    let _ = child.kill();
    let _ = child.wait();
    // CORE-VERSION|6|unix|PATH|grpc|CERTIFICATE
    if !matches!(read, Some(Ok(_))) || line.split('|').nth(1) != Some("6") || line.split('|').count() < 6 {
        return Err(format!("the provider's handshake line is {line:?}"));
    }
    Ok((took, memory.ok_or("the provider's memory cannot be read")?))
}

pub fn measure(ground: &mut Ground) -> Result<Vec<Figure>, String> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let certificate = made.map_err(|error| format!("no certificate for the handshake: {error}"))?.cert.pem();
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    ground.progress.step(&format!("provider, {ROUNDS} starts"));
    for _ in 0..ROUNDS {
        let (took, rss) = once(&certificate)?;
        times.push(took);
        memory.push(rss);
    }
    Ok(vec![
        Figure::limit(
            "provider start to handshake",
            median(&times),
            "ms",
            10.0,
            &format!("from exec to the handshake line, with AutoMTLS as Terraform asks for it; median of {ROUNDS}."),
        ),
        Figure::limit(
            "provider memory at the handshake",
            median(&memory),
            "MB",
            LIMIT_MB,
            &format!("VmRSS; median of {ROUNDS}."),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_a_status_file() {
        let status = "Name:\tx\nVmHWM:\t   20000 kB\nVmRSS:\t    1000 kB\n";
        assert!((memory_in(status, "VmRSS").unwrap_or_default() - 1.024).abs() < 1e-9);
        assert_eq!(memory_in(status, "VmSwap"), None);
    }
}
