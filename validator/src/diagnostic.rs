//! What the parser has to say about a file.

use crate::ast::Span;

/// Why something was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Terraform refuses it too.
    Syntax,
    /// A limit of ours; Terraform may well accept it.
    Limit,
}

/// One place that was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub reason: Reason,
    pub span: Span,
    /// What was found and what is allowed there.
    pub message: String,
    /// Another place that explains it: where a bracket was opened.
    pub related: Option<(Span, String)>,
}

impl Diagnostic {
    pub fn syntax(span: Span, message: impl Into<String>) -> Self {
        Self { reason: Reason::Syntax, span, message: message.into(), related: None }
    }
    /// "not analysed: " and why.
    pub fn limit(span: Span, why: &str) -> Self {
        Self { reason: Reason::Limit, span, message: format!("not analysed: {why}"), related: None }
    }
    #[must_use]
    pub fn with_related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related = Some((span, message.into()));
        self
    }
}
