//! `sampan doctor`.

use std::process::ExitCode;

use sampan_node::{HostCheck, host_report};
use serde_json::json;

use crate::error::Failure;
use crate::output::{Output, Table};

/// Without these not even class `runc` can run.
const NEEDED: [&str; 9] =
    ["root", "containerd", "ctr", "runc", "CNI plugins", "iptables", "ip", "overlayfs", "cgroups"];

/// Names of the checks that stand in the way of class `runc`.
fn missing(report: &[HostCheck]) -> Vec<&str> {
    report.iter().filter(|check| !check.ok && NEEDED.contains(&check.name.as_str())).map(|c| c.name.as_str()).collect()
}

pub fn run(out: &mut Output) -> Result<ExitCode, Failure> {
    let report = host_report();
    let missing = missing(&report);
    let checks: Vec<_> =
        report.iter().map(|c| json!({ "name": c.name, "ok": c.ok, "detail": c.detail, "fix": c.fix })).collect();
    let value = json!({ "runc": missing.is_empty(), "missing": missing, "checks": checks });
    out.show(&value, || {
        let mut table = Table::new(&["CHECK", "OK", "FOUND", "WHAT TO DO"]);
        for c in &report {
            let ok = if c.ok { "yes" } else { "no" };
            table.row([c.name.clone(), ok.into(), c.detail.clone(), c.fix.clone()]);
        }
        let verdict = if missing.is_empty() {
            "this host can run isolation class runc".to_owned()
        } else {
            format!("this host cannot run isolation class runc: {}", missing.join(", "))
        };
        format!("{table}\n\n{verdict}")
    })?;
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_needed_check_is_in_the_report() {
        let report = host_report();
        for name in NEEDED {
            assert!(report.iter().any(|check| check.name == name), "{name}");
        }
        let check = |name: &str| HostCheck { name: name.into(), ok: false, detail: "x".into(), fix: "y".into() };
        assert_eq!(missing(&[check("runc"), check("/dev/kvm")]), ["runc"]);
    }
}
