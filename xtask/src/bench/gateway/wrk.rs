//! `wrk`, a client that keeps connections busy.

use std::io::Write;
use std::net::SocketAddr;

use super::rival;
use super::serve::HOST;

/// What one run has shown.
#[derive(Debug, PartialEq)]
pub struct Run {
    pub requests: f64,
    pub seconds: f64,
    pub p99_ms: f64,
}

/// Says in one line what is read below: times in microseconds.
const SCRIPT: &str = r#"done = function(summary, latency)
  local e = summary.errors
  local bad = e.connect + e.read + e.write + e.timeout + e.status
  io.write(string.format("run %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(99), bad))
end
"#;

pub fn run(address: SocketAddr, connections: u32, seconds: u32, core: u32) -> Result<Run, String> {
    let failed = |error: std::io::Error| format!("wrk: {error}");
    let mut script = tempfile::Builder::new().suffix(".lua").tempfile().map_err(failed)?;
    script.write_all(SCRIPT.as_bytes()).map_err(failed)?;
    let output = rival::command("wrk", core)
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-H", &format!("Host: {HOST}"), "-s"])
        .arg(script.path())
        .arg(format!("http://{address}/"))
        .output()
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    read(&text).ok_or_else(|| format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// `None` also when a request failed: the figure would be one of errors.
fn read(text: &str) -> Option<Run> {
    let line = text.lines().find_map(|line| line.strip_prefix("run "))?;
    let values: Vec<f64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
    match values.as_slice() {
        [requests, microseconds, p99, bad] if *requests > 0.0 && *bad == 0.0 => {
            Some(Run { requests: *requests, seconds: microseconds / 1e6, p99_ms: p99 / 1e3 })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_errors_is_none() {
        let run = Run { requests: 30_000.0, seconds: 2.0, p99_ms: 1.5 };
        assert_eq!(read("Running 2s test\nrun 30000 2000000 1500 0\n"), Some(run));
        assert_eq!(read("run 30000 2000000 1500 1\n"), None);
        assert_eq!(read("run 0 2000000 0 0\n"), None);
        assert_eq!(read("unable to connect\n"), None);
    }
}
