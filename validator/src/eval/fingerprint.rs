//! Bytes that are equal exactly for values that no rule can tell apart, whatever their origin.

use super::value::{Data, Value};
use std::fmt::Write as _;

/// Appends a text with its length.
pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends a value.
pub(super) fn push(value: &Value, out: &mut Vec<u8>) {
    let mut head = String::new();
    let _ = write!(head, "{:?}", value.marks());
    push_text(&head, out);
    match value.data() {
        Data::Null(ty) => {
            out.push(0);
            push_text(&ty.to_string(), out);
        }
        Data::Unknown(unknown) => {
            out.push(1);
            push_text(&unknown.ty.to_string(), out);
            push_text(&format!("{:?}{:?}", unknown.refinement, unknown.cause), out);
        }
        Data::Bool(b) => out.push(2 + u8::from(*b)),
        Data::Number(n) => {
            out.push(4);
            push_text(&format!("{n:?}"), out);
        }
        Data::String(s) => {
            out.push(5);
            push_text(s, out);
        }
        Data::List(_) | Data::Set(_) | Data::Tuple(_) => {
            let items = value.as_seq().unwrap_or_default();
            out.push(match value.data() {
                Data::List(_) => 6,
                Data::Set(_) => 7,
                _ => 8,
            });
            if items.is_empty() {
                push_text(&value.ty().to_string(), out);
            }
            out.extend_from_slice(&(items.len() as u64).to_le_bytes());
            for item in items {
                push(item, out);
            }
        }
        Data::Map(_) | Data::Object(_) => {
            let len = value.as_dict().map_or(0, std::collections::BTreeMap::len);
            out.push(if matches!(value.data(), Data::Map(_)) { 9 } else { 10 });
            if len == 0 {
                push_text(&value.ty().to_string(), out);
            }
            out.extend_from_slice(&(len as u64).to_le_bytes());
            for (name, item) in value.as_dict().into_iter().flatten() {
                push_text(name, out);
                push(item, out);
            }
        }
    }
}
