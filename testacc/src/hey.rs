//! Load from a client that is none of ours: Debian's `hey`, which reports every status and every error.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{self, Process};

/// No test runs longer; without a duration `hey` would end after 200 requests.
const LONGEST: &str = "600s";
/// For the answers in flight and the report.
const END: Duration = Duration::from_mins(1);

/// One client: how many connections or workers, how many requests a second each, and what more it is told.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub workers: u32,
    pub rate: u32,
    pub path: &'a str,
    pub options: &'a [&'a str],
}

/// Several that run until [`Hey::stop`].
#[derive(Debug)]
pub struct Hey(Vec<Process>);

/// What all of them saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer: lines of the reports.
    pub errors: Vec<String>,
}

impl Hey {
    /// # Panics
    /// When there is no `hey`.
    pub fn start(gateway: SocketAddr, host: &str, clients: &[Client<'_>]) -> Self {
        let program = process::find("hey").expect("require_with() has found hey");
        let start = |client: &Client<'_>| {
            let mut command = Command::new(&program);
            command.args(["-z", LONGEST, "-host", host]).args(client.options);
            command.args(["-c", &client.workers.to_string(), "-q", &client.rate.to_string()]);
            command.arg(format!("http://{gateway}{}", client.path));
            // A proxy of the machine is no part of the test.
            for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
                command.env_remove(name);
            }
            Process::start("hey", &mut command)
        };
        Self(clients.iter().map(start).collect())
    }

    /// Ends them as Ctrl-C would, which lets what is in flight end, and reads their reports.
    ///
    /// # Panics
    /// When one does not end, or has no report.
    pub fn stop(mut self) -> Report {
        let mut all = Report::default();
        for client in &self.0 {
            client.signal(Signal::INT);
        }
        for client in &mut self.0 {
            let status = client.wait(END);
            assert!(status.is_some_and(|status| status.success()), "hey: {status:?}\n{}", client.output());
            let text =
                crate::wait_for("the report of hey", END, || client.whole_output().ok_or_else(|| client.output()));
            assert!(text.contains("Status code distribution"), "hey has no report:\n{text}");
            let report = report(&text);
            for (status, number) in report.statuses {
                *all.statuses.entry(status).or_default() += number;
            }
            all.errors.extend(report.errors);
        }
        all
    }
}

/// Lines `[200]\t3 responses` and, after the title of the errors, `[2]\tGet "http://…": EOF`.
fn report(text: &str) -> Report {
    let mut found = Report::default();
    let mut in_errors = false;
    for line in text.lines() {
        in_errors |= line.starts_with("Error distribution");
        let Some((number, rest)) = line.trim().strip_prefix('[').and_then(|line| line.split_once(']')) else {
            continue;
        };
        if in_errors {
            found.errors.push(format!("{number} x {}", rest.trim()));
        } else if let (Ok(status), Some(Ok(count))) = (number.parse(), rest.split_whitespace().next().map(str::parse)) {
            found.statuses.insert(status, count);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = "Summary:\n  Total:\t1.0 secs\n\nStatus code distribution:\n  [200]\t31 responses\n  [503]\t2 responses\n\n\
                    Error distribution:\n  [4]\tGet \"http://127.0.0.1:1/\": EOF\n";
        let found = report(text);
        assert_eq!(found.statuses, BTreeMap::from([(200, 31), (503, 2)]));
        assert_eq!(found.errors, ["4 x Get \"http://127.0.0.1:1/\": EOF"]);
    }
}
