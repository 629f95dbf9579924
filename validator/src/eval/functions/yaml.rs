//! YAML in the form that Terraform writes, and the part of the language whose reading is beyond doubt: block mappings and sequences,
//! quoted text, plain words, numbers and truth values. Any other text gives an unknown result.

use super::{Call, Outcome};
use crate::eval::number::{Number, Parsed};
use crate::eval::types::Type;
use crate::eval::value::{Data, Value, normal_form};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Levels that are read.
const MAX_DEPTH: usize = 64;

pub(super) fn yamlencode(call: &Call<'_>) -> Outcome {
    let value = call.arg(0)?;
    if !call.fits(value.size().saturating_mul(2)) {
        return Ok(call.too_large(Type::String));
    }
    let mut out = String::new();
    let written = write(value, 0, &mut out);
    if matches!(value.data(), Data::Null(_) | Data::Bool(_) | Data::Number(_)) {
        // A lone plain scalar is ended explicitly.
        out.push_str("...\n");
    }
    Ok(match written {
        Some(()) => Value::string(out),
        None => call.unknown(Type::String),
    })
}

/// Longest text that is certainly written on one line.
const MAX_LINE: usize = 60;

/// Writes a value that starts on the current line, and the newline after it. `None` for text that would need escapes.
fn write(value: &Value, indent: usize, out: &mut String) -> Option<()> {
    match value.data() {
        Data::List(_) | Data::Set(_) | Data::Tuple(_) if !value.is_empty() => {
            for (i, item) in value.as_seq()?.iter().enumerate() {
                if i > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str("- ");
                write(item, indent + 2, out)?;
            }
        }
        Data::Map(_) | Data::Object(_) if !value.is_empty() => {
            for (i, (name, item)) in value.as_dict()?.iter().enumerate() {
                if i > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&quoted(name)?);
                out.push(':');
                match (item.as_seq().is_some(), item.as_dict().is_some(), item.is_empty()) {
                    (true, _, false) => {
                        out.push('\n');
                        out.push_str(&" ".repeat(indent));
                        write(item, indent, out)?;
                    }
                    (_, true, false) => {
                        out.push('\n');
                        out.push_str(&" ".repeat(indent + 2));
                        write(item, indent + 2, out)?;
                    }
                    _ => {
                        out.push(' ');
                        write(item, indent + 2, out)?;
                    }
                }
            }
        }
        _ => {
            out.push_str(&scalar(value)?);
            out.push('\n');
        }
    }
    Some(())
}

fn scalar(value: &Value) -> Option<String> {
    Some(match value.data() {
        Data::Null(_) => "null".into(),
        Data::Bool(b) => b.to_string(),
        Data::Number(n) => n.to_string(),
        Data::String(s) => quoted(s)?,
        Data::List(_) | Data::Set(_) | Data::Tuple(_) => "[]".into(),
        Data::Map(_) | Data::Object(_) => "{}".into(),
        Data::Unknown(_) => return None,
    })
}

fn quoted(text: &str) -> Option<String> {
    let plain = |c: char| matches!(c, ' '..='~');
    (text.len() <= MAX_LINE && text.chars().all(plain))
        .then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

pub(super) fn yamldecode(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    if !call.fits((text.len() as u64).saturating_mul(8)) {
        return Ok(call.too_large(Type::Dynamic));
    }
    Ok(decode(text).unwrap_or_else(|| call.undecided()))
}

/// A line: its number of leading spaces and what follows, without a comment.
struct Line<'a> {
    indent: usize,
    text: &'a str,
}

fn decode(text: &str) -> Option<Value> {
    if text.trim_start().starts_with(['{', '[', '"']) {
        return super::json::decode(text).ok().filter(json_is_yaml);
    }
    let mut lines = Vec::new();
    for (i, raw) in text.lines().enumerate() {
        if raw.trim_start().starts_with('#') || raw.trim().is_empty() || i == 0 && raw == "---" {
            continue;
        }
        let body = raw.trim_start_matches(' ');
        if body.starts_with('\t')
            || body.contains(" #")
            || raw.starts_with("---")
            || raw.starts_with("...")
            || raw.starts_with('%')
        {
            return None;
        }
        lines.push(Line { indent: raw.len() - body.len(), text: body.trim_end() });
    }
    let mut at = 0;
    let value = block(&mut lines, &mut at, 0)?;
    (at == lines.len()).then_some(value)
}

/// JSON text is YAML, but a repeated key or an escaped surrogate may be judged differently.
fn json_is_yaml(value: &Value) -> bool {
    value.is_wholly_known()
}

/// The block that starts at the line `at`.
fn block(lines: &mut [Line<'_>], at: &mut usize, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let (indent, text) = lines.get(*at).map(|l| (l.indent, l.text))?;
    if text == "-" || text.starts_with("- ") {
        return sequence(lines, at, indent, depth);
    }
    if entry(text).is_some() {
        return mapping(lines, at, indent, depth);
    }
    *at += 1;
    // A scalar over several lines would be folded.
    if lines.get(*at).is_some_and(|l| l.indent >= indent) {
        return None;
    }
    plain(text)
}

fn sequence(lines: &mut [Line<'_>], at: &mut usize, indent: usize, depth: usize) -> Option<Value> {
    let mut items = Vec::new();
    while let Some(line) = lines.get_mut(*at).filter(|l| l.indent == indent) {
        let Some(rest) = line.text.strip_prefix('-') else { break };
        let inner = rest.trim_start_matches(' ');
        if inner.is_empty() {
            *at += 1;
            items.push(match lines.get(*at) {
                Some(next) if next.indent > indent => block(lines, at, depth + 1)?,
                _ => Value::null(Type::Dynamic),
            });
            continue;
        }
        if !rest.starts_with(' ') {
            break;
        }
        *line = Line { indent: indent + 1 + (rest.len() - inner.len()), text: inner };
        items.push(block(lines, at, depth + 1)?);
    }
    lines.get(*at).is_none_or(|l| l.indent < indent).then(|| Value::tuple(items))
}

fn mapping(lines: &mut [Line<'_>], at: &mut usize, indent: usize, depth: usize) -> Option<Value> {
    let mut items: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    while let Some(line) = lines.get(*at).filter(|l| l.indent == indent) {
        let (name, rest) = entry(line.text)?;
        let name = normal_form(plain(name)?.as_str()?);
        *at += 1;
        let value = if rest.is_empty() {
            match lines.get(*at) {
                Some(next) if next.indent > indent => block(lines, at, depth + 1)?,
                Some(next) if next.indent == indent && (next.text == "-" || next.text.starts_with("- ")) => {
                    list_at_same_indent(lines, at, indent, depth)?
                }
                _ => Value::null(Type::Dynamic),
            }
        } else {
            // A value that goes on in the next line would be folded.
            if lines.get(*at).is_some_and(|l| l.indent > indent) {
                return None;
            }
            plain(rest)?
        };
        if items.insert(name, value).is_some() {
            return None;
        }
    }
    lines.get(*at).is_none_or(|l| l.indent < indent).then(|| Value::object(items))
}

/// A list under a key may start in the key's own column.
fn list_at_same_indent(lines: &mut [Line<'_>], at: &mut usize, indent: usize, depth: usize) -> Option<Value> {
    let end = lines[*at..].iter().position(|l| l.indent < indent || l.indent == indent && !l.text.starts_with('-'));
    let end = end.map_or(lines.len(), |n| *at + n);
    let part = &mut lines[..end];
    let value = sequence(part, at, indent, depth + 1)?;
    (*at == end).then_some(value)
}

/// Key and value of `key: value`, the key a plain or quoted word.
fn entry(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['"', '\'']) {
        let quote = text.chars().next()?;
        let end = text[1..].find(quote)? + 2;
        let rest = text[end..].strip_prefix(':')?;
        return (rest.is_empty() || rest.starts_with(' ')).then(|| (&text[..end], rest.trim_start_matches(' ')));
    }
    if let Some(name) = text.strip_suffix(':').filter(|n| !n.contains(": ")) {
        return Some((name, ""));
    }
    text.split_once(": ").map(|(name, rest)| (name, rest.trim_start_matches(' ')))
}

/// A scalar that has one meaning in all versions of the language.
fn plain(text: &str) -> Option<Value> {
    if let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return (text.len() > 1 && !inner.contains(['"', '\\'])).then(|| Value::string(inner));
    }
    if let Some(inner) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return (text.len() > 1 && !inner.contains('\'')).then(|| Value::string(inner));
    }
    match text {
        "true" => return Some(Value::bool(true)),
        "false" => return Some(Value::bool(false)),
        "null" | "~" => return Some(Value::null(Type::Dynamic)),
        "{}" => return Some(Value::object(BTreeMap::new())),
        "[]" => return Some(Value::tuple(Vec::new())),
        _ => {}
    }
    let first = text.chars().next()?;
    if first.is_ascii_digit() || matches!(first, '-' | '+' | '.') {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let decimal = |s: &str| !s.is_empty() && s.len() < 16 && s.bytes().all(|b| b.is_ascii_digit());
        let leading = whole.len() > 1 && whole.starts_with('0');
        if !decimal(whole) || !decimal(fraction) || leading || digits.contains('.') {
            return None;
        }
        return match Number::parse(text) {
            Parsed::Number(n) => Some(Value::number(n)),
            _ => None,
        };
    }
    let ambiguous = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    let safe = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '.' | '/' | '-' | ':' | '+' | '=' | '(' | ')' | ',')
    };
    let word = first.is_ascii_alphabetic() || first == '/' || first == '_';
    (word
        && text.chars().all(safe)
        && !text.contains(": ")
        && !text.ends_with(':')
        && !ambiguous.contains(&text.to_ascii_lowercase().as_str()))
    .then(|| Value::string(text))
}
