//! What is known of a place: the schema of an argument, the text of a rule, the value and where it comes from.

use std::path::Path;

use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind};
use sampan_schema::{Kind as Noun, doc};
use serde_json::Value as Json;

use super::cursor::{Cursor, is_word};
use super::view::{View, location};
use crate::ast::{Ast, Expr, ExprId, Span};
use crate::eval::definition::{Kind, ResourceId};
use crate::eval::functions::encode;
use crate::eval::value::{Marks, Value};
use crate::finding::Place;
use crate::lint;
use crate::module::Tree;
use crate::rules;
use crate::view::{Segment, below};

/// A longer value is cut.
const MAX_VALUE: usize = 400;

/// `kind` is the form of text that the client can show.
pub fn hover(view: &mut View, byte: u32, kind: MarkupKind) -> Option<Hover> {
    let (text, span) = rule(view, byte).or_else(|| schema(view, byte)).or_else(|| reference(view, byte))?;
    let contents = HoverContents::Markup(MarkupContent { kind, value: text });
    Some(Hover { contents, range: Some(view.range(span)) })
}

/// The rule that a comment names, without its examples.
fn rule(view: &View, byte: u32) -> Option<(String, Span)> {
    let source = view.source();
    let comment = source.ast.comments.iter().find(|c| c.span.start <= byte && byte <= c.span.end)?;
    let text = comment.span.of(&source.text);
    if !String::from_utf8_lossy(text).contains("sampan:ignore") {
        return None;
    }
    let word = word_at(&source.text, byte);
    let page = rules::page(std::str::from_utf8(word.of(&source.text)).ok()?)?;
    let end = page.find("\n## bad").unwrap_or(page.len());
    Some((page[..end].trim_end().to_owned(), word))
}

/// The word around a byte.
fn word_at(text: &[u8], byte: u32) -> Span {
    let at = (byte as usize).min(text.len());
    let start = text[..at].iter().rposition(|b| !is_word(*b)).map_or(0, |i| i + 1);
    let end = text[at..].iter().position(|b| !is_word(*b)).map_or(text.len(), |i| at + i);
    Span::new(start as u32, end as u32)
}

/// A type of resource, or an argument of one, with its value.
fn schema(view: &mut View, byte: u32) -> Option<(String, Span)> {
    let cursor = Cursor::new(&view.source().ast, byte);
    let (ty, name) = cursor.labels("resource").or_else(|| cursor.labels("data"))?;
    let noun = sampan_schema::kind(ty.strip_prefix("sampan_")?)?;
    if cursor.in_header {
        let label = cursor.blocks.first()?.labels.first()?;
        let here = label.span.start <= byte && byte <= label.span.end;
        return here.then(|| (format!("**{ty}**\n\n{}", noun.about), label.span));
    }
    let (span, value) = cursor.named?;
    if cursor.kind() != Some("resource") || cursor.blocks.len() > 1 {
        return None;
    }
    let text = argument(noun, &cursor.path)?;
    if is_secret(noun, &cursor.path) {
        return Some((text, span));
    }
    let id = (Kind::Managed, ty.into(), name.into());
    Some((with_value(view, text, value, Some(&id)), span))
}

/// What the pages of the Registry say of an argument.
pub fn argument(noun: &Noun, path: &[Segment]) -> Option<String> {
    let (mut schema, mut class) = (noun.spec_schema(), "metadata");
    let mut shown = String::new();
    for segment in path {
        schema = below(schema, segment)?;
        class = doc::class(schema, class);
        match segment {
            Segment::Name(name) if shown.is_empty() => shown.push_str(name),
            Segment::Name(name) => shown.push_str(&format!(".{name}")),
            Segment::Index(index) => shown.push_str(&format!("[{index}]")),
        }
    }
    let mut kind = doc::type_name(schema);
    for (key, word) in [("sensitive", ", Sensitive"), ("write_only", ", Write-only")] {
        if doc::extension(schema, key).is_some() {
            kind.push_str(word);
        }
    }
    if is_required(noun.spec_schema(), path) {
        kind.push_str(", Required");
    }
    Some(format!("`{shown}` ({kind})\n\n{}", doc::words(schema, class).join(" ")))
}

/// Whether what stands there is not to be shown, whatever it is.
fn is_secret(noun: &Noun, path: &[Segment]) -> bool {
    let mut schema = noun.spec_schema();
    path.iter().any(|segment| match below(schema, segment) {
        Some(next) => {
            schema = next;
            ["sensitive", "write_only"].iter().any(|key| doc::extension(schema, key).is_some())
        }
        None => false,
    })
}

fn is_required(schema: &Json, path: &[Segment]) -> bool {
    let Some((Segment::Name(last), above)) = path.split_last() else { return false };
    // The provider block may name the namespace.
    let own = above.iter().try_fold(schema, below).filter(|_| !above.is_empty() || last != "namespace");
    let names = own.and_then(|own| own.get("required")).and_then(Json::as_array);
    names.into_iter().flatten().any(|name| name == last.as_str())
}

/// A name that stands for a value.
fn reference(view: &mut View, byte: u32) -> Option<(String, Span)> {
    let ast = &view.source().ast;
    let cursor = Cursor::new(ast, byte);
    let id = cursor.expr?;
    let path = ast.path(id)?;
    let span = ast.span(id);
    let text = String::from_utf8_lossy(span.of(&view.source().text)).into_owned();
    let mut shown = format!("`{}`", text.split_whitespace().collect::<Vec<_>>().join(" "));
    if &*path.root.text == "var"
        && let Some(described) = path.attr(0).and_then(|name| described(view, &name.text))
    {
        shown.push_str(&format!("\n\n{described}"));
    }
    let within = cursor.labels("resource").map(|(ty, name)| (Kind::Managed, ty.into(), name.into()));
    let within = within.or_else(|| cursor.labels("data").map(|(ty, name)| (Kind::Data, ty.into(), name.into())));
    let with = with_value(view, shown.clone(), id, within.as_ref());
    // Names without a value, such as those that a `for` binds, have nothing to show.
    (with != shown || shown.contains('\n')).then_some((with, span))
}

/// The description of a variable, if it is plain text.
fn described(view: &View, variable: &str) -> Option<String> {
    let (_, definitions) = view.definitions();
    let (source, attribute) = definitions.variables.get(variable)?.attribute("description")?;
    source.ast.string(attribute.value).map(str::to_owned)
}

fn with_value(view: &mut View, text: String, value: ExprId, within: Option<&ResourceId>) -> String {
    match evaluated(view, value, within) {
        Some(value) => format!("{text}\n\n{value}"),
        None => text,
    }
}

/// The value of an expression of the document, and where it comes from if that is elsewhere.
fn evaluated(view: &mut View, id: ExprId, within: Option<&ResourceId>) -> Option<String> {
    let View { settings, tree, root, file } = view;
    let index = *file;
    let shown = lint::explore(settings, tree, *root, |tree, graph| {
        let source = tree.files.get(index as usize)?;
        let found = crate::eval::definition::Source { file: index, ast: &source.ast, overrides: source.overrides };
        let value = graph.value_of(&graph.root(), found, id, within).ok()?;
        let mut text = shown(&value)?;
        if let Some(instances) = within.map(|id| graph.resource_instances(&graph.root(), id).len()).filter(|n| *n > 1) {
            text.push_str(&format!(" in the first of {instances} instances"));
        }
        text.push_str(&origin(tree, &source.ast, index, id, &value));
        Some(text)
    });
    shown.ok().flatten()
}

/// A value on one line; nothing of what is sensitive.
fn shown(value: &Value) -> Option<String> {
    if value.deep_marks().has(Marks::SENSITIVE) {
        return Some("Value: sensitive, so it is not shown".into());
    }
    if !value.is_wholly_known() {
        let cause = value.deep_cause()?;
        return Some(format!("Value: not known before `{}` is", cause.needs));
    }
    let mut text = encode(value);
    if text.len() > MAX_VALUE {
        let end = (0..=MAX_VALUE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    // A fence that is longer than any in the value keeps the value inside.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    Some(format!("Value: {fence}{pad}{text}{pad}{fence}"))
}

/// `, from main.tf:3`; empty for what is written just here.
fn origin(tree: &Tree, ast: &Ast, file: u32, id: ExprId, value: &Value) -> String {
    if matches!(ast.expr(id), Expr::Literal(_)) {
        return String::new();
    }
    let Some(site) = value.origin().site else { return String::new() };
    let place = Place { file: site.file, span: Span::new(site.start, site.end) };
    if place.file == file && ast.span(id).contains(place.span) {
        return String::new();
    }
    let (Some(source), Some(location)) = (tree.files.get(place.file as usize), location(tree, place)) else {
        return String::new();
    };
    let name = Path::new(&source.name).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let line = location.range.start.line + 1;
    format!(", from [{name}:{line}]({}#L{line})", location.uri.as_str())
}
