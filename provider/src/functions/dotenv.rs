//! Environment variables from a `.env` file.

use super::text;
use std::collections::BTreeMap;
use tf_plugin::{FunctionDef, FunctionError, Parameter, Type, Value};

pub(super) fn definition() -> FunctionDef {
    FunctionDef::new(Type::map(Type::String))
        .summary("Variables from the text of a .env file.")
        .describe(
            "Reads lines `NAME=value`, also with `export`, comments and quotes: in single quotes everything stands for \
             itself, in double quotes `\\n`, `\\t`, `\\\"` and `\\\\` are escapes. Nothing is substituted. A name that \
             is there twice is an error.",
        )
        .parameter(Parameter::new("text", Type::String).describe("Such as `file(\"app.env\")`."))
}

pub(super) fn env(arguments: &[Value]) -> Result<Value, FunctionError> {
    let mut found = BTreeMap::new();
    for (index, line) in text(arguments, 0).lines().enumerate() {
        // The value is not repeated: it may be a secret.
        let wrong = |why: &str| FunctionError::at(0, format!("Line {}: {why}.", index + 1));
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("it is not NAME=value"))?;
        let name = name.trim_end();
        if !is_variable(name) {
            return Err(wrong("the name has letters, digits and _ only, and begins with no digit"));
        }
        let value = read_value(value.trim_start()).map_err(wrong)?;
        if found.insert(name.to_owned(), Value::from(value)).is_some() {
            return Err(wrong(&format!("{name} is there twice")));
        }
    }
    Ok(Value::Map(found))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn read_value(text: &str) -> Result<String, &'static str> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        // A comment begins after a blank.
        let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
        return Ok(text[..end].trim_end().to_owned());
    };
    let mut value = String::new();
    let mut rest = text[1..].chars();
    loop {
        match rest.next().ok_or("the quote is not closed")? {
            c if c == quote => break,
            '\\' if quote == '"' => match rest.next().ok_or("the quote is not closed")? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                c @ ('"' | '\\') => value.push(c),
                _ => return Err("in double quotes a backslash stands before n, t, \" or another backslash"),
            },
            c => value.push(c),
        }
    }
    let after = rest.as_str().trim_start();
    if after.is_empty() || after.starts_with('#') { Ok(value) } else { Err("something follows the closing quote") }
}
