//! What can be done about a finding: its safe fix, or a comment that takes it away.

use std::collections::HashMap;
use std::path::Path;

use lsp_types::{
    CodeAction, CodeActionKind, CodeActionParams, DocumentChanges, OneOf, OptionalVersionedTextDocumentIdentifier,
    TextDocumentEdit, TextEdit, WorkspaceEdit,
};

use super::diagnostic;
use super::document::{Document, range};
use crate::ast::{Body, Span};
use crate::finding::{Finding, Place};
use crate::fix;
use crate::lint::Report;
use crate::module::SourceFile;
use crate::parse::parse;
use crate::suppress::can_be_ignored;

/// Actions for a range of a document. The report is about its very text.
///
/// `versioned` says that the client takes edits of a version of a document, and drops those of another one.
pub fn actions(report: &Report, document: &Document, params: &CodeActionParams, versioned: bool) -> Vec<CodeAction> {
    let wanted = |kind: &CodeActionKind| "quickfix".starts_with(kind.as_str());
    if params.context.only.as_ref().is_some_and(|only| !only.iter().any(wanted)) {
        return Vec::new();
    }
    let Some(index) = report.tree.files.iter().position(|file| Path::new(&file.name) == document.path) else {
        return Vec::new();
    };
    let (file, here) = (&report.tree.files[index], document.span(params.range));
    let is_here =
        |place: Place| place.file as usize == index && place.span.start <= here.end && here.start <= place.span.end;
    let mut all = Vec::new();
    for finding in report.findings.iter().filter(|f| f.place.is_some_and(is_here)) {
        all.extend(fixing(report, finding).map(|(title, edits)| (title, edits, finding, true)));
        all.extend(ignoring(file, finding).map(|(title, edit)| (title, vec![edit], finding, false)));
    }
    let action = |(title, edits, finding, is_preferred): (String, Vec<(Span, String)>, &Finding, bool)| CodeAction {
        title,
        kind: Some(CodeActionKind::QUICKFIX),
        diagnostics: Some(vec![diagnostic::of(report, finding)]),
        edit: Some(workspace_edit(document, edits, versioned)),
        is_preferred: Some(is_preferred),
        ..CodeAction::default()
    };
    all.into_iter().map(action).collect()
}

fn workspace_edit(document: &Document, edits: Vec<(Span, String)>, versioned: bool) -> WorkspaceEdit {
    let edit = |(span, new_text)| TextEdit { range: range(&document.lines, &document.text, span), new_text };
    let edits = edits.into_iter().map(edit);
    if !versioned {
        return WorkspaceEdit::new(HashMap::from([(document.uri.clone(), edits.collect())]));
    }
    let text_document =
        OptionalVersionedTextDocumentIdentifier { uri: document.uri.clone(), version: Some(document.version) };
    let edit = TextDocumentEdit { text_document, edits: edits.map(OneOf::Left).collect() };
    WorkspaceEdit { document_changes: Some(DocumentChanges::Edits(vec![edit])), ..WorkspaceEdit::default() }
}

/// The fix, if what it makes can be read, as for `--fix`.
fn fixing(report: &Report, finding: &Finding) -> Option<(String, Vec<(Span, String)>)> {
    let fix = finding.fix.as_ref()?;
    let edits = fix::alone(report, fix)?;
    Some((
        format!("{} ({})", fix.title, finding.rule),
        edits.into_iter().map(|edit| (edit.place.span, edit.text)).collect(),
    ))
}

/// A comment above the line of the finding. Its reason is for a person to write: while it is empty, nothing is taken away.
fn ignoring(file: &SourceFile, finding: &Finding) -> Option<(String, (Span, String))> {
    let start = finding.place?.span.start;
    if file.is_json() || !can_be_ignored(finding.rule) {
        return None;
    }
    let own = file.lines.span_of(&file.text, file.lines.line(start));
    // In the middle of a text of several lines there is no place for a comment.
    let item = item_at(&file.ast.body, start).map(|item| file.lines.span_of(&file.text, file.lines.line(item)));
    let (at, comment) =
        [Some(own), item].into_iter().flatten().find_map(|line| comment_above(file, line, finding.rule))?;
    Some((format!("ignore {} here, with a reason", finding.rule), (Span::new(at, at), comment)))
}

/// Where the argument or block begins that a byte is in.
fn item_at(body: &Body, byte: u32) -> Option<u32> {
    let is_in = |span: Span| span.start <= byte && byte <= span.end;
    let block = body.blocks.iter().find(|block| is_in(block.span));
    let attribute = body.attributes.iter().find(|a| is_in(a.span)).map(|a| a.span.start);
    attribute.or_else(|| block.and_then(|block| item_at(&block.body, byte).or(Some(block.span.start))))
}

/// The comment with its line end, where it would be read as one and change nothing else.
fn comment_above(file: &SourceFile, line: Span, rule: &str) -> Option<(u32, String)> {
    let text = line.of(&file.text);
    let indent = text.len() - text.trim_ascii_start().len();
    let end = if text.ends_with(b"\r") { "\r\n" } else { "\n" };
    let blank = String::from_utf8_lossy(&text[..indent]).into_owned();
    // A byte order mark stays in front.
    let at = if line.start == 0 && file.text.starts_with(b"\xef\xbb\xbf") { 3 } else { line.start };
    let comment = format!("{blank}# sampan:ignore {rule} reason=\"\"{end}");
    let (before, after) = file.text.split_at_checked(at as usize)?;
    let (ast, diagnostics) = parse(&[before, comment.as_bytes(), after].concat());
    let mark = Span::new(at + blank.len() as u32, at + (comment.len() - end.len()) as u32);
    let is_comment = ast.comments.iter().any(|c| c.span == mark);
    (is_comment && diagnostics.len() <= file.diagnostics.len()).then_some((at, comment))
}
