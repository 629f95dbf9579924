//! Regular expressions. Terraform uses RE2's dialect; the engine here is another one, so every pattern is first checked for forms
//! that the two read differently. Such a pattern gives an unknown result, and so does one that this engine refuses.

use super::{Call, Fault, Outcome};
use crate::eval::types::Type;
use crate::eval::value::{Cause, CauseKind, Value, normal_form};
use regex_lite::{Captures, Regex};
use std::collections::BTreeMap;

/// Longest pattern that is read.
const MAX_PATTERN: usize = 4_096;
/// Bound of pattern length times text length, which bounds the time.
const MAX_WORK: u64 = 200_000_000;

/// The compiled pattern, if it means the same in both dialects for this text.
fn compile(pattern: &str, text: &str) -> Option<Regex> {
    let work = (pattern.len() as u64 + 16).saturating_mul(text.len() as u64 + 16);
    if pattern.len() > MAX_PATTERN || work > MAX_WORK || differs(pattern, text) {
        return None;
    }
    regex_lite::RegexBuilder::new(pattern).build().ok()
}

/// Whether the dialects may disagree.
fn differs(pattern: &str, text: &str) -> bool {
    // Vertical tab is a space in one dialect only.
    if text.contains('\u{b}') && pattern.contains("\\s") || pattern.contains("\\S") && text.contains('\u{b}') {
        return true;
    }
    let chars: Vec<char> = pattern.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut i = 0;
    let mut class = 0usize;
    while i < chars.len() {
        match chars[i] {
            '\\' => {
                let known = matches!(
                    at(i + 1),
                    'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'b' | 'B' | 'A' | 'z' | 't' | 'n' | 'r' | 'f' | 'v' | 'a'
                ) || at(i + 1).is_ascii_punctuation() && !matches!(at(i + 1), '<' | '>');
                let in_class = class > 0 && matches!(at(i + 1), 'b' | 'B' | 'A' | 'z');
                if !known || in_class || at(i + 1) == 'b' && at(i + 2) == '{' {
                    return true;
                }
                i += 1;
            }
            '[' if class > 0 => return true,
            '[' => {
                class = i + 1;
                if at(i + 1) == '^' {
                    i += 1;
                }
                if at(i + 1) == ']' {
                    i += 1;
                }
            }
            ']' if class > 0 => class = 0,
            '&' | '~' | '-' if class > 0 && at(i + 1) == chars[i] => return true,
            _ if class > 0 => {}
            '(' if at(i + 1) == '?' => {
                let ok = match at(i + 2) {
                    ':' => true,
                    'P' => at(i + 3) == '<',
                    '<' => at(i + 3).is_ascii_alphanumeric() || at(i + 3) == '_',
                    'i' | 'm' | 's' | 'U' | '-' => flags_agree(&chars[i + 2..], pattern, text),
                    _ => false,
                };
                if !ok {
                    return true;
                }
            }
            '{' => {
                // A brace that opens no repetition is literal in one dialect; large counts are refused by it.
                let body: String = chars[i + 1..].iter().take_while(|c| **c != '}').collect();
                let (low, high) = body.split_once(',').unwrap_or((&body, "0"));
                let count = |s: &str, empty: bool| s.parse::<u32>().is_ok_and(|n| n <= 1_000) || empty && s.is_empty();
                if !(count(low, false) && count(high, true) && chars[i + 1..].contains(&'}')) {
                    return true;
                }
            }
            '}' if i == 0 => return true,
            // Repetition of what may be empty: captures can differ.
            ')' if matches!(at(i + 1), '*' | '+' | '{')
                && i > 0
                && matches!(chars[i - 1], '*' | '?' | '|' | '}' | ')' | '(' | '^' | '$' | '+') =>
            {
                return true;
            }
            '*' | '+' | '?'
                if matches!(at(i + 1), '*' | '+') || at(i + 1) == '?' && matches!(at(i + 2), '*' | '+' | '?') =>
            {
                return true;
            }
            _ => {}
        }
        i += 1;
    }
    false
}

/// Only flags that both dialects have; folding of case agrees on ASCII.
fn flags_agree(chars: &[char], pattern: &str, text: &str) -> bool {
    let flags: Vec<char> = chars.iter().copied().take_while(|c| !matches!(c, ':' | ')')).collect();
    flags.iter().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-'))
        && (!flags.contains(&'i') || pattern.is_ascii() && text.is_ascii())
}

fn not_analysed(call: &Call<'_>, ty: Type) -> Value {
    let cause = Cause::new(CauseKind::Function, format!("{}() with a pattern that is not analysed", call.name));
    Value::unknown_not_null(ty, cause)
}

/// The type of one match, by the groups of the pattern.
enum Groups<'r> {
    None,
    Unnamed(usize),
    Named(Vec<&'r str>),
}

fn groups(pattern: &Regex) -> Option<Groups<'_>> {
    let names: Vec<Option<&str>> = pattern.capture_names().skip(1).collect();
    let named: Vec<&str> = names.iter().flatten().copied().collect();
    match (names.len(), named.len()) {
        (0, _) => Some(Groups::None),
        (n, 0) => Some(Groups::Unnamed(n)),
        (n, m) if n == m => Some(Groups::Named(named)),
        _ => None,
    }
}

fn group(found: Option<regex_lite::Match<'_>>) -> Value {
    found.map_or_else(|| Value::null(Type::String), |m| Value::string(m.as_str()))
}

fn result(captures: &Captures<'_>, groups: &Groups<'_>) -> Value {
    match groups {
        Groups::None => group(captures.get(0)),
        Groups::Unnamed(n) => Value::tuple((1..=*n).map(|i| group(captures.get(i))).collect()),
        Groups::Named(names) => {
            let items: BTreeMap<_, _> = names.iter().map(|n| (normal_form(n), group(captures.name(n)))).collect();
            Value::object(items)
        }
    }
}

fn result_type(groups: &Groups<'_>) -> Type {
    match groups {
        Groups::None => Type::String,
        Groups::Unnamed(n) => Type::tuple(vec![Type::String; *n]),
        Groups::Named(names) => Type::object(names.iter().map(|n| (normal_form(n), Type::String)).collect()),
    }
}

fn mixed() -> Fault {
    Fault::argument(0, "invalid regexp pattern: cannot mix both named and unnamed capture groups")
}

pub(super) fn regex(call: &Call<'_>) -> Outcome {
    let (pattern, text) = (call.text(0)?, call.text(1)?);
    let Some(compiled) = compile(pattern, text) else { return Ok(not_analysed(call, Type::Dynamic)) };
    let groups = groups(&compiled).ok_or_else(mixed)?;
    match compiled.captures(text) {
        Some(captures) => Ok(result(&captures, &groups)),
        None => Err(Fault::call("pattern did not match any part of the given string")),
    }
}

pub(super) fn regexall(call: &Call<'_>) -> Outcome {
    let (pattern, text) = (call.text(0)?, call.text(1)?);
    let Some(compiled) = compile(pattern, text) else {
        return Ok(not_analysed(call, Type::list(Type::Dynamic)));
    };
    let groups = groups(&compiled).ok_or_else(mixed)?;
    let mut items = Vec::new();
    let mut bytes = 0u64;
    for captures in compiled.captures_iter(text) {
        let item = result(&captures, &groups);
        bytes = bytes.saturating_add(item.size());
        if !call.fits(bytes) {
            return Ok(call.too_large(Type::list(result_type(&groups))));
        }
        items.push(item);
    }
    Ok(Value::list(result_type(&groups), items))
}

/// `replace` with a pattern between slashes.
pub(super) fn replace_all(call: &Call<'_>, text: &str, pattern: &str, with: &str) -> Outcome {
    let Some(compiled) = compile(pattern, text) else { return Ok(not_analysed(call, Type::String)) };
    let plain_names = with.split("${").skip(1).all(|rest| {
        rest.split_once('}')
            .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    });
    if !plain_names || !with.is_ascii() && with.contains('$') {
        return Ok(not_analysed(call, Type::String));
    }
    let matches = compiled.find_iter(text).count() as u64;
    let each = with.len() as u64 + if with.contains('$') { text.len() as u64 } else { 0 };
    if !call.fits(matches.saturating_mul(each).saturating_add(text.len() as u64)) {
        return Ok(call.too_large(Type::String));
    }
    Ok(Value::string(compiled.replace_all(text, with)))
}
