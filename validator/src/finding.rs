//! What the linter has to say, and what it could not decide.

use std::sync::Arc;

use serde::Serialize;

use crate::ast::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Note,
    Warning,
    Error,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
    /// One less: what holds only if something is there.
    #[must_use]
    pub fn weaker(self) -> Self {
        match self {
            Self::Error => Self::Warning,
            Self::Note | Self::Warning => Self::Note,
        }
    }
}

/// A range of a file of the [`crate::module::Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: u32,
    pub span: Span,
}

/// One finding. It holds for every value that the unknown parts can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `SMP###`.
    pub rule: &'static str,
    pub severity: Severity,
    /// `None` for what has no file that was read.
    pub place: Option<Place>,
    /// The name of what could not be read, where there is no place.
    pub file: String,
    /// `module.a.sampan_application.b["c"]`, or empty.
    pub address: String,
    /// Further instances with the same finding.
    pub others: Vec<String>,
    /// `container.image`, or empty.
    pub path: String,
    pub message: String,
    /// Where the value comes from, when that is elsewhere.
    pub related: Option<(Place, String)>,
    /// What takes it away and keeps the meaning of the configuration.
    pub fix: Option<Fix>,
}

/// Edits that belong together, all in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What they do, as a command: `remove the quotes`.
    pub title: &'static str,
    pub edits: Vec<Edit>,
}

/// A range of bytes, and what comes instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub place: Place,
    pub text: String,
}

impl Finding {
    pub fn new(rule: &'static str, severity: Severity, place: Place, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity,
            place: Some(place),
            file: String::new(),
            address: String::new(),
            others: Vec::new(),
            path: String::new(),
            message: message.into(),
            related: None,
            fix: None,
        }
    }
    /// About something that is in no file, such as one that cannot be read.
    pub fn without_place(rule: &'static str, severity: Severity, file: String, message: impl Into<String>) -> Self {
        let nowhere = Place { file: 0, span: Span::default() };
        Self { place: None, file, ..Self::new(rule, severity, nowhere, message) }
    }
    /// The address with the keys of instances taken out: stable when elements come and go.
    pub fn address_without_keys(&self) -> String {
        let (mut out, mut inside) = (String::new(), false);
        for c in self.address.chars() {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                c if !inside => out.push(c),
                _ => {}
            }
        }
        out
    }
    /// Stays the same when lines move and values change: rule, address, path, and the message without what it quotes.
    pub fn fingerprint(&self) -> String {
        let mut words = String::new();
        let mut quoted = false;
        for c in self.message.chars() {
            match c {
                '"' => quoted = !quoted,
                c if !quoted && !c.is_ascii_digit() => words.push(c),
                _ => {}
            }
        }
        sampan_schema::content_hash(&(self.rule, self.address_without_keys(), &self.path, words))
    }
}

/// A rule that could not decide, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Undetermined {
    /// `SMP###`, or `schema` for all rules of the schema that look at several fields.
    pub rule: &'static str,
    pub address: String,
    pub path: String,
    /// `var.env`.
    pub needs: Arc<str>,
}
