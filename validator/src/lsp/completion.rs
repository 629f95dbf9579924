//! What can be written at a place: types of resources, arguments, words, names, ids of rules.

use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionTextEdit, Documentation, MarkupContent, MarkupKind, TextEdit,
};
use sampan_schema::{KINDS, Kind as Noun, doc};
use serde_json::Value as Json;

use super::cursor::{Cursor, is_word};
use super::hover::argument;
use super::view::View;
use crate::ast::Span;
use crate::eval::definition::Kind;
use crate::parse::parse;
use crate::rules;
use crate::suppress::can_be_ignored;
use crate::view::{META, Segment, below, properties};

/// Stands in for what is being written, so that the text around it can be read.
const HERE: &str = "sampan__here";
/// Braces that may be open besides.
const MAX_OPEN: usize = 6;

/// A thing to write instead of `over`.
struct Offer {
    label: String,
    kind: CompletionItemKind,
    /// What is written, when that is not the label.
    text: Option<String>,
    detail: String,
    about: String,
}

impl Offer {
    fn new(label: impl Into<String>, kind: CompletionItemKind, detail: impl Into<String>) -> Self {
        Self { label: label.into(), kind, text: None, detail: detail.into(), about: String::new() }
    }
}

pub fn complete(view: &View, byte: u32) -> Vec<CompletionItem> {
    let text = &view.source().text;
    let at = (byte as usize).min(text.len());
    let start = text[..at].iter().rposition(|b| !is_word(*b)).map_or(0, |i| i + 1);
    let line = text[..start].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let before = String::from_utf8_lossy(&text[line..start]).into_owned();
    let end = text[at..].iter().position(|b| !is_word(*b)).map_or(text.len(), |i| at + i);
    let over = Span::new(start as u32, end as u32);
    let offers = offers(view, &before, over);
    let range = view.range(over);
    let item = |offer: Offer| CompletionItem {
        text_edit: Some(CompletionTextEdit::Edit(TextEdit {
            range,
            new_text: offer.text.unwrap_or_else(|| offer.label.clone()),
        })),
        label: offer.label,
        kind: Some(offer.kind),
        detail: Some(offer.detail).filter(|text| !text.is_empty()),
        documentation: Some(offer.about)
            .filter(|text| !text.is_empty())
            .map(|value| Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value })),
        ..CompletionItem::default()
    };
    offers.into_iter().map(item).collect()
}

/// `before` is the line up to the word that is being written, and `over` that word.
fn offers(view: &View, before: &str, over: Span) -> Vec<Offer> {
    let comment = before.rfind(['#', '/']).and_then(|at| before[at..].split_once("sampan:ignore"));
    if let Some((_, rest)) = comment {
        // Behind the ids come the reason and the day.
        let is_id = rest.trim_start_matches("-file").trim_start().chars().all(|c| !c.is_whitespace() && c != '=');
        return if is_id { ids() } else { Vec::new() };
    }
    if let Some(("resource" | "data", rest)) = before.trim_start().split_once(char::is_whitespace) {
        return if rest.trim_start() == "\"" { types() } else { Vec::new() };
    }
    for (root, names) in [("var.", names_of(view, "var")), ("local.", names_of(view, "local"))] {
        if before.strip_suffix(root).is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '.')) {
            return names;
        }
    }
    match value_of(before) {
        Some(quoted) => words(view, over, quoted),
        None => arguments(view, over),
    }
}

fn ids() -> Vec<Offer> {
    let own = rules::RULES.iter().map(|rule| {
        let meta = rule.meta();
        (meta.id, Offer { about: meta.summary(), ..Offer::new(meta.id, CompletionItemKind::VALUE, meta.name) })
    });
    let schema = rules::SCHEMA_RULES.iter().map(|(id, says)| (*id, Offer::new(*id, CompletionItemKind::VALUE, *says)));
    let mut all: Vec<(&str, Offer)> = own.chain(schema).filter(|(id, _)| can_be_ignored(id)).collect();
    all.sort_by_key(|(id, _)| *id);
    all.into_iter().map(|(_, offer)| offer).collect()
}

fn types() -> Vec<Offer> {
    let one = |noun: &&Noun| Offer::new(format!("sampan_{}", noun.name), CompletionItemKind::CLASS, noun.about);
    KINDS.iter().map(one).collect()
}

/// Variables or locals of the module.
fn names_of(view: &View, root: &str) -> Vec<Offer> {
    let (_, definitions) = view.definitions();
    if root == "local" {
        let one = |name| Offer::new(String::from(name), CompletionItemKind::VARIABLE, "local");
        return definitions.locals.keys().map(|name| one(&**name)).collect();
    }
    let described = |definition: &crate::eval::definition::Definition<'_>| {
        let (source, attribute) = definition.attribute("description")?;
        source.ast.string(attribute.value).map(str::to_owned)
    };
    let one = |(name, definition): (&std::sync::Arc<str>, _)| Offer {
        about: described(definition).unwrap_or_default(),
        ..Offer::new(name.to_string(), CompletionItemKind::VARIABLE, "variable")
    };
    definitions.variables.iter().map(one).collect()
}

/// Whether the line ends where a value is written: `None` if not, else whether its quote is open.
fn value_of(before: &str) -> Option<bool> {
    let before = before.trim_end();
    let (head, quoted) = match before.strip_suffix('"') {
        Some(head) => (head.trim_end(), true),
        None => (before, false),
    };
    let is_value = head.ends_with('=') && !head.ends_with("==") || quoted && head.ends_with('[');
    is_value.then_some(quoted)
}

/// The text with `stand_in` instead of what is being written, read as far as that goes.
fn around<R>(view: &View, over: Span, stand_in: &str, f: impl FnOnce(&Cursor<'_>) -> Option<R>) -> Option<R> {
    let text = &view.source().text;
    let (before, after) = (text.get(..over.start as usize)?, text.get(over.end as usize..)?);
    let (ast, _) = parse(&[before, stand_in.as_bytes(), after].concat());
    f(&Cursor::new(&ast, over.start + 1))
}

/// The kind of resource of Sampan whose arguments are around, and not those of a block in it.
fn noun(cursor: &Cursor<'_>) -> Option<&'static Noun> {
    let (ty, _) = cursor.labels("resource").filter(|_| cursor.blocks.len() == 1 && !cursor.in_header)?;
    sampan_schema::kind(ty.strip_prefix("sampan_")?)
}

/// Arguments, or members of an object, that are not there yet.
fn arguments(view: &View, over: Span) -> Vec<Offer> {
    let after = view.source().text.get(over.end as usize..).unwrap_or_default();
    let has_value = after.trim_ascii_start().starts_with(b"=") || after.trim_ascii_start().starts_with(b":");
    // Braces that are not closed yet are closed for this moment.
    let stand_ins = (0..=MAX_OPEN).map(|open| match (has_value, open) {
        (true, _) => HERE.to_owned(),
        (false, open) => format!("{HERE} = null{}", "\n}".repeat(open)),
    });
    let found = stand_ins.into_iter().find_map(|stand_in| members(view, over, &stand_in, has_value));
    found.unwrap_or_default()
}

fn members(view: &View, over: Span, stand_in: &str, has_value: bool) -> Option<Vec<Offer>> {
    around(view, over, stand_in, |cursor| {
        let noun = noun(cursor)?;
        let (last, above) = cursor.path.split_last()?;
        if *last != Segment::Name(HERE.into()) {
            return None;
        }
        let schema = above.iter().try_fold(noun.spec_schema(), below)?;
        let is_new = |name: &str| !cursor.beside.contains(&name);
        let own = properties(schema).filter(|(name, _)| is_new(name)).map(|(name, schema)| {
            let path: Vec<Segment> = above.iter().cloned().chain([Segment::Name(name.clone())]).collect();
            let text = if has_value { name.clone() } else { format!("{name} = ") };
            Offer {
                text: Some(text),
                about: argument(noun, &path).unwrap_or_default(),
                ..Offer::new(name, CompletionItemKind::PROPERTY, doc::type_name(schema))
            }
        });
        let meta = META.iter().filter(|name| above.is_empty() && is_new(name)).map(|name| Offer {
            text: Some(if has_value { (*name).to_owned() } else { format!("{name} = ") }),
            ..Offer::new(*name, CompletionItemKind::KEYWORD, "of every resource")
        });
        Some(own.chain(meta).collect())
    })
}

/// Words that a value may be, and names of what it may refer to.
fn words(view: &View, over: Span, quoted: bool) -> Vec<Offer> {
    let text = &view.source().text;
    let mut hole = over;
    if quoted {
        // The quotes go with the word, also where the last one is not written yet.
        hole.start = text[..over.start as usize].iter().rposition(|b| *b == b'"').map_or(over.start, |at| at as u32);
        hole.end += u32::from(text.get(over.end as usize) == Some(&b'"'));
    }
    let found = around(view, hole, "null", |cursor| {
        let noun = noun(cursor)?;
        let schema = cursor.path.iter().try_fold(noun.spec_schema(), below)?;
        Some(values(view, schema, quoted))
    });
    found.unwrap_or_default()
}

fn values(view: &View, schema: &Json, quoted: bool) -> Vec<Offer> {
    let value = |text: String, written: String| Offer {
        text: Some(written),
        ..Offer::new(text, CompletionItemKind::ENUM_MEMBER, doc::type_name(schema))
    };
    let mut all: Vec<Offer> = Vec::new();
    for word in schema.get("enum").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
        all.push(value(word.to_owned(), if quoted { word.to_owned() } else { format!("\"{word}\"") }));
    }
    if quoted {
        return all;
    }
    if schema.get("type").and_then(Json::as_str) == Some("boolean") {
        all.extend(["true", "false"].map(|word| value(word.to_owned(), word.to_owned())));
    }
    let is_text = schema.get("type").and_then(Json::as_str) == Some("string");
    if let Some(target) = doc::extension(schema, "reference").and_then(Json::as_str).filter(|_| is_text) {
        let (_, definitions) = view.definitions();
        let ty = format!("sampan_{target}");
        let named = definitions.resources.keys().filter(|(kind, of, _)| *kind == Kind::Managed && **of == *ty);
        all.extend(named.map(|(_, _, name)| {
            Offer::new(format!("{ty}.{name}.name"), CompletionItemKind::REFERENCE, format!("the name of a {ty}"))
        }));
    }
    all
}
