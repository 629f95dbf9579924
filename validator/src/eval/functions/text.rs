//! Functions over text. Positions and lengths count grapheme clusters.

use super::{Call, Fault, Outcome};
use crate::eval::types::Type;
use crate::eval::value::Value;
use unicode_segmentation::UnicodeSegmentation;

/// The grapheme clusters, or nothing where Terraform's older tables may divide the text elsewhere: in scripts whose conjuncts
/// the newer rule joins.
pub fn graphemes(text: &str) -> Option<Vec<&str>> {
    if text.is_ascii() {
        return Some(ascii_clusters(text));
    }
    let joined_since = |c: char| matches!(c as u32, 0x0900..=0x0dff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x1a20..=0x1bff | 0xa8e0..=0xa8ff | 0x11000..=0x11fff);
    if text.chars().any(joined_since) {
        return None;
    }
    Some(text.graphemes(true).collect())
}

/// Bytes, with a carriage return and its line feed as one.
fn ascii_clusters(text: &str) -> Vec<&str> {
    let mut parts = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let step = if text[at..].starts_with("\r\n") { 2 } else { 1 };
        parts.push(&text[at..at + step]);
        at += step;
    }
    parts
}

/// One character to one character; `None` where the full mapping gives several and the simple one is not at hand.
fn mapped<I: Iterator<Item = char>>(text: &str, map: impl Fn(char) -> I) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let mut to = map(c);
        let first = to.next()?;
        if to.next().is_some() {
            return None;
        }
        out.push(first);
    }
    Some(out)
}

fn text_or_unknown(call: &Call<'_>, text: Option<String>) -> Value {
    text.map_or_else(|| call.unknown(Type::String), Value::string)
}

pub(super) fn upper(call: &Call<'_>) -> Outcome {
    Ok(text_or_unknown(call, mapped(call.text(0)?, char::to_uppercase)))
}

pub(super) fn lower(call: &Call<'_>) -> Outcome {
    Ok(text_or_unknown(call, mapped(call.text(0)?, char::to_lowercase)))
}

/// The first letter of each word in upper case. What separates words is decided for ASCII, and for letters beyond it.
pub(super) fn title(call: &Call<'_>) -> Outcome {
    let mut out = String::new();
    let mut previous = ' ';
    for c in call.text(0)?.chars() {
        if is_separator(previous) {
            let mut upper = c.to_uppercase();
            let (Some(first), None) = (upper.next(), upper.next()) else { return Ok(call.unknown(Type::String)) };
            if !c.is_ascii() && first != c && matches!(c as u32, 0x01c4..=0x01cc | 0x01f1..=0x01f3 | 0x10d0..=0x10ff) {
                return Ok(call.unknown(Type::String));
            }
            out.push(first);
        } else {
            out.push(c);
        }
        previous = c;
    }
    Ok(Value::string(out))
}

fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        return !(c.is_ascii_alphanumeric() || c == '_');
    }
    !c.is_alphanumeric() && c.is_whitespace()
}

pub(super) fn chomp(call: &Call<'_>) -> Outcome {
    Ok(Value::string(call.text(0)?.trim_end_matches(['\r', '\n'])))
}

pub(super) fn indent(call: &Call<'_>) -> Outcome {
    let (spaces, text) = (call.int(0)?, call.text(1)?);
    let Ok(spaces) = usize::try_from(spaces) else { return Err(Fault::argument(0, "must not be negative")) };
    let lines = text.matches('\n').count();
    if !call.fits((spaces as u64).saturating_mul(lines as u64).saturating_add(text.len() as u64)) {
        return Ok(call.too_large(Type::String));
    }
    Ok(Value::string(text.replace('\n', &format!("\n{}", " ".repeat(if lines == 0 { 0 } else { spaces })))))
}

pub(super) fn join(call: &Call<'_>) -> Outcome {
    let separator = call.text(0)?;
    if call.args.len() < 2 {
        return Err(Fault::call("at least one list is required"));
    }
    let mut parts = Vec::new();
    let mut bytes = 0u64;
    for (i, list) in call.args.iter().enumerate().skip(1) {
        for item in list.as_seq().unwrap_or_default() {
            let Some(text) = item.as_str() else {
                return Err(Fault::argument(i, "an element is null; cannot concatenate null values"));
            };
            bytes += (text.len() + separator.len()) as u64;
            parts.push(text);
        }
    }
    if !call.fits(bytes) {
        return Ok(call.too_large(Type::String));
    }
    Ok(Value::string(parts.join(separator)))
}

pub(super) fn split(call: &Call<'_>) -> Outcome {
    let (separator, text) = (call.text(0)?, call.text(1)?);
    let parts: Vec<Value> = if separator.is_empty() {
        text.chars().map(|c| Value::string(c.to_string())).collect()
    } else {
        text.split(separator).map(Value::string).collect()
    };
    Ok(Value::list(Type::String, parts))
}

pub(super) fn replace(call: &Call<'_>) -> Outcome {
    let (text, pattern, with) = (call.text(0)?, call.text(1)?, call.text(2)?);
    if pattern.len() > 1 && pattern.starts_with('/') && pattern.ends_with('/') {
        return super::pattern::replace_all(call, text, &pattern[1..pattern.len() - 1], with);
    }
    let count = if pattern.is_empty() { text.chars().count() + 1 } else { text.matches(pattern).count() };
    if !call.fits((count as u64).saturating_mul(with.len() as u64).saturating_add(text.len() as u64)) {
        return Ok(call.too_large(Type::String));
    }
    Ok(Value::string(text.replace(pattern, with)))
}

pub(super) fn strrev(call: &Call<'_>) -> Outcome {
    Ok(text_or_unknown(call, graphemes(call.text(0)?).map(|g| g.into_iter().rev().collect())))
}

pub(super) fn substr(call: &Call<'_>) -> Outcome {
    let (text, offset, length) = (call.text(0)?, call.int(1)?, call.int(2)?);
    let Some(parts) = graphemes(text) else { return Ok(call.unknown(Type::String)) };
    let offset = if offset < 0 {
        offset + parts.len() as i64
    } else if length == 0 {
        return Ok(Value::string(""));
    } else {
        offset
    };
    // Terraform's loop leaves the text alone for what is still negative, and takes all of it for a length of 0.
    let start = usize::try_from(offset).unwrap_or(0).min(parts.len());
    let rest = &parts[start..];
    let take = if length <= 0 { rest.len() } else { rest.len().min(length as usize) };
    Ok(Value::string(rest[..take].concat()))
}

pub(super) fn startswith(call: &Call<'_>) -> Outcome {
    let Some(prefix) = call.arg(1)?.as_str() else { return Ok(call.unknown(Type::Bool)) };
    if let Some(text) = call.arg(0)?.as_str() {
        return Ok(Value::bool(text.starts_with(prefix)));
    }
    let known = call.arg(0)?.as_unknown().and_then(|u| u.refinement.prefix.as_deref()).unwrap_or("");
    if known.starts_with(prefix) {
        return Ok(Value::bool(true));
    }
    if known.len() >= prefix.len() || !prefix.starts_with(known) {
        return Ok(Value::bool(false));
    }
    Ok(call.unknown(Type::Bool))
}

pub(super) fn endswith(call: &Call<'_>) -> Outcome {
    Ok(Value::bool(call.text(0)?.ends_with(call.text(1)?)))
}

pub(super) fn strcontains(call: &Call<'_>) -> Outcome {
    Ok(Value::bool(call.text(0)?.contains(call.text(1)?)))
}

pub(super) fn trim(call: &Call<'_>) -> Outcome {
    let cut: Vec<char> = call.text(1)?.chars().collect();
    Ok(Value::string(call.text(0)?.trim_matches(&cut[..])))
}

pub(super) fn trimprefix(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    Ok(Value::string(text.strip_prefix(call.text(1)?).unwrap_or(text)))
}

pub(super) fn trimsuffix(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    Ok(Value::string(text.strip_suffix(call.text(1)?).unwrap_or(text)))
}

pub(super) fn trimspace(call: &Call<'_>) -> Outcome {
    Ok(Value::string(call.text(0)?.trim()))
}
