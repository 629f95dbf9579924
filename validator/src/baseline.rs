//! Findings that were there before: a file of fingerprints, which have no line numbers and no values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::finding::Finding;

/// What was there, with how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub version: u32,
    pub findings: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub rule: String,
    pub address: String,
    pub path: String,
    pub count: u32,
}

/// Findings that no baseline takes away.
const MANDATORY: &[&str] = &["SMP401", "SMP900", "SMP908"];

impl Baseline {
    pub fn of(findings: &[Finding]) -> Self {
        let mut all: BTreeMap<String, Entry> = BTreeMap::new();
        for f in findings.iter().filter(|f| !MANDATORY.contains(&f.rule)) {
            let entry =
                || Entry { rule: f.rule.into(), address: f.address_without_keys(), path: f.path.clone(), count: 0 };
            all.entry(f.fingerprint()).or_insert_with(entry).count += 1;
        }
        Self { version: 1, findings: all }
    }

    /// Reads what [`Baseline::write`] wrote.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(text).map_err(|e| format!("this is no baseline: {e}"))?;
        if read.version == 1 { Ok(read) } else { Err(format!("the baseline has version {}, want 1", read.version)) }
    }

    /// The file.
    pub fn write(&self) -> String {
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// Takes away what was there, as often as it was; how many that are, and the entries that are gone.
    pub fn apply(mut self, findings: &mut Vec<Finding>) -> (usize, Vec<Entry>) {
        let before = findings.len();
        findings.retain(|f| match self.findings.get_mut(&f.fingerprint()) {
            Some(entry) if entry.count > 0 && !MANDATORY.contains(&f.rule) => {
                entry.count -= 1;
                false
            }
            _ => true,
        });
        (before - findings.len(), self.findings.into_values().filter(|e| e.count > 0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::Span;
    use crate::finding::{Place, Severity};

    fn finding(line: u32, address: &str, message: &str) -> Finding {
        let place = Place { file: 0, span: Span::new(line, line) };
        Finding { address: address.into(), ..Finding::new("SMP301", Severity::Warning, place, message) }
    }

    #[test]
    fn a_baseline_takes_away_what_was_there_wherever_it_moved() {
        let text = Baseline::of(&[finding(1, "a.b[\"x\"]", "tag \"v1\""), finding(9, "a.c", "gone")]).write();
        let read = Baseline::read(text.as_bytes()).unwrap();
        let mut now = vec![finding(7, "a.b[\"y\"]", "tag \"v2\""), finding(8, "a.b", "tag \"v3\"")];
        let (taken, stale) = read.apply(&mut now);
        assert_eq!((taken, now.len(), stale.len()), (1, 1, 1));
        assert_eq!(stale[0].address, "a.c");
        assert!(Baseline::read(b"{}").is_err() && Baseline::read(b"{\"version\":2,\"findings\":{}}").is_err());
    }
}
