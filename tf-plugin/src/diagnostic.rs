//! What a user is told: errors and warnings with a place.

use crate::path::{Path, Step};
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The call goes on.
    Warning,
    /// The call has failed.
    Error,
}

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub summary: String,
    /// The rest; may be empty.
    pub detail: String,
    /// The place in the configuration, if there is one.
    pub path: Option<Path>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { severity: Severity::Error, summary: summary.into(), detail: detail.into(), path: None }
    }

    /// A warning without a place.
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(summary, detail) }
    }

    /// The same at a place. The root is no place.
    pub fn at(mut self, path: impl Into<Option<Path>>) -> Self {
        self.path = path.into().filter(|p| !p.is_root());
        self
    }

    /// The same, one step further in; for decoders that meet the place from the inside.
    pub(crate) fn within(mut self, step: Step) -> Self {
        self.path = Some(self.path.unwrap_or_default().prepended(step));
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Steps for the wire and the text of the detail.
    ///
    /// Terraform shows the line of a place only when it is a root attribute, so a deeper place is cut there and
    /// written at the start of the detail.
    pub fn wire(&self) -> (&[Step], String) {
        let Some(path) = &self.path else { return (&[], self.detail.clone()) };
        let steps = path.wire_steps();
        if path.steps().len() <= 1 {
            return (steps, self.detail.clone());
        }
        let gap = if self.detail.is_empty() { "" } else { "\n\n" };
        (&steps[..steps.len().min(1)], format!("At {path}:{gap}{}", self.detail))
    }

    /// The same with every secret replaced by `(sensitive)`. Text of one or two bytes hides nothing and stays.
    pub fn redacted(mut self, secrets: &[String]) -> Self {
        // The longest first, so that a secret within another leaves no rest.
        let mut secrets: Vec<&str> = secrets.iter().map(String::as_str).filter(|s| s.len() > 2).collect();
        secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        for secret in secrets {
            for text in [&mut self.summary, &mut self.detail] {
                if text.contains(secret) {
                    *text = text.replace(secret, "(sensitive)");
                }
            }
        }
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_error() { "error" } else { "warning" };
        write!(f, "{severity}: {}", self.summary)?;
        if let Some(path) = &self.path {
            write!(f, " (at {path})")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for Diagnostic {}

/// Errors and warnings in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error. `path` is a [`Path`] or `None`.
    pub fn error(&mut self, path: impl Into<Option<Path>>, summary: impl Into<String>, detail: impl Into<String>) {
        self.push(Diagnostic::error(summary, detail).at(path));
    }

    /// Adds a warning. `path` is a [`Path`] or `None`.
    pub fn warn(&mut self, path: impl Into<Option<Path>>, summary: impl Into<String>, detail: impl Into<String>) {
        self.push(Diagnostic::warning(summary, detail).at(path));
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds the error of a result and returns its value otherwise.
    pub fn ok<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|d| self.push(d)).ok()
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(Diagnostic::is_error)
    }

    /// Whether there is neither error nor warning.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// All with every secret replaced by `(sensitive)`.
    pub fn redacted(self, secrets: &[String]) -> Self {
        Self(self.0.into_iter().map(|d| d.redacted(secrets)).collect())
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            write!(f, "{}{d}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;

    #[test]
    fn a_deep_place_is_cut_and_written_into_the_detail() {
        let d = Diagnostic::error("S", "why").at(path!("a", ["k"], "b"));
        assert_eq!(d.wire(), (path!("a").steps(), "At a[\"k\"].b:\n\nwhy".to_owned()));
        let d = Diagnostic::error("S", "why").at(path!("a"));
        assert_eq!(d.wire(), (path!("a").steps(), "why".to_owned()));
        let d = Diagnostic::error("S", "").at(Path::root());
        assert_eq!(d.wire(), (&[][..], String::new()));
    }

    #[test]
    fn secrets_are_masked_the_longest_first() {
        let d =
            Diagnostic::error("pass", "password pass ab").redacted(&["pass".into(), "password".into(), "ab".into()]);
        assert_eq!((d.summary.as_str(), d.detail.as_str()), ("(sensitive)", "(sensitive) (sensitive) ab"));
    }

    #[test]
    fn only_errors_are_errors() {
        let mut d = Diagnostics::new();
        d.warn(None, "w", "");
        assert!(!d.has_errors() && !d.is_empty());
        assert_eq!(d.ok(Err::<(), _>(Diagnostic::error("e", "x").at(path!("p")))), None);
        assert!(d.has_errors());
        assert_eq!(d.to_string(), "warning: w\nerror: e (at p): x");
    }
}
