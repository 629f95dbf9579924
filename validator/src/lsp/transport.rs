//! Messages on a pair of pipes: a head with the length, an empty line, JSON.
//!
//! What is malformed is answered with an error, and the next message is read: a client with one mistake keeps its
//! server.

use std::io::{self, BufRead, Read as _, Write};

use lsp_server::{ErrorCode, Message};
use serde_json::{Value, json};

/// A longer message is skipped.
const MAX_MESSAGE: usize = 128 << 20;
/// A longer line of a head is none.
const MAX_HEAD: u64 = 8 << 10;

/// What came from the client.
#[derive(Debug)]
pub enum Incoming {
    Message(Message),
    Malformed(Refusal),
}

/// An answer to something that is no request as the types of the protocol have it.
#[derive(Debug)]
pub struct Refusal {
    /// As the client sent it; null where there was none.
    pub id: Value,
    pub code: ErrorCode,
    pub why: String,
}

impl Refusal {
    fn new(code: ErrorCode, why: impl Into<String>) -> Self {
        Self { id: Value::Null, code, why: why.into() }
    }
}

/// What goes to the client.
#[derive(Debug)]
pub enum Outgoing {
    Message(Message),
    Refusal(Refusal),
}

/// The next message; `None` at the end of the input.
///
/// # Errors
/// When the input cannot be read.
pub fn read(input: &mut impl BufRead) -> io::Result<Option<Incoming>> {
    let (mut length, mut wrong, mut empty) = (None, None, true);
    loop {
        let mut line = Vec::new();
        if input.by_ref().take(MAX_HEAD).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(line.trim_ascii()).into_owned();
        if line.is_empty() {
            if empty {
                // Blank lines between messages mean nothing.
                continue;
            }
            break;
        }
        empty = false;
        match line.split_once(':') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("content-length") => {
                match value.trim().parse::<usize>() {
                    Ok(bytes) => length = Some(bytes),
                    Err(_) => wrong = Some(format!("Content-Length is no number: {:?}", value.trim())),
                }
            }
            Some(_) => {}
            None => wrong = Some("a line of the head has no colon".into()),
        }
    }
    let Some(length) = length else {
        let why = wrong.unwrap_or_else(|| "the head has no Content-Length".into());
        return Ok(Some(Incoming::Malformed(Refusal::new(ErrorCode::InvalidRequest, why))));
    };
    if length > MAX_MESSAGE {
        let skipped = io::copy(&mut input.by_ref().take(length as u64), &mut io::sink())?;
        let why = format!("the message has {skipped} bytes, and at most {MAX_MESSAGE} are read");
        return Ok(Some(Incoming::Malformed(Refusal::new(ErrorCode::InvalidRequest, why))));
    }
    let mut body = Vec::new();
    if input.by_ref().take(length as u64).read_to_end(&mut body)? < length {
        return Ok(None);
    }
    Ok(Some(understood(&body)))
}

fn understood(body: &[u8]) -> Incoming {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => {
            return Incoming::Malformed(Refusal::new(ErrorCode::ParseError, format!("this is no JSON: {error}")));
        }
    };
    let id = value.get("id").cloned().unwrap_or_default();
    match serde_json::from_value(value) {
        // A request whose id is neither text nor number would pass for a notification, and wait for ever.
        Ok(message) if id.is_null() || !matches!(message, Message::Notification(_)) => Incoming::Message(message),
        _ => {
            let why = "this is no request, notification or response of JSON-RPC 2.0";
            Incoming::Malformed(Refusal { id, ..Refusal::new(ErrorCode::InvalidRequest, why) })
        }
    }
}

/// Writes one message and flushes.
///
/// # Errors
/// When the output cannot be written.
pub fn write(output: &mut impl Write, message: &Outgoing) -> io::Result<()> {
    match message {
        Outgoing::Message(message) => message.write(output),
        Outgoing::Refusal(Refusal { id, code, why }) => {
            let error = json!({ "code": *code as i32, "message": why });
            let text = json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string();
            write!(output, "Content-Length: {}\r\n\r\n{text}", text.len())?;
            output.flush()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_malformed_is_told_and_the_next_message_is_read() {
        let good = r#"{"jsonrpc":"2.0","id":7,"method":"shutdown"}"#;
        let framed = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let input = format!(
            "\r\n{}{}Content-Length: many\r\n\r\nno head\r\n\r\n{}content-length:{}\r\nX: y\r\n\r\n{good}Content-Length: 9\r\n\r\n{{",
            framed("{no json"),
            framed(r#"{"id":[1],"method":"shutdown"}"#),
            framed(r#"{"id":8,"params":{}}"#),
            good.len()
        );
        let mut input = io::BufReader::new(input.as_bytes());
        let mut seen = Vec::new();
        while let Some(incoming) = read(&mut input).unwrap() {
            seen.push(match incoming {
                Incoming::Message(Message::Request(request)) => request.method,
                Incoming::Message(other) => format!("{other:?}"),
                Incoming::Malformed(refusal) => format!("{} {}", refusal.code as i32, refusal.id),
            });
        }
        let want = ["-32700 null", "-32600 [1]", "-32600 null", "-32600 null", "-32600 8", "shutdown"];
        assert_eq!(seen, want, "and a message that is cut off is the end");
    }

    #[test]
    fn an_answer_without_a_request_has_the_id_null() {
        let mut out = Vec::new();
        write(&mut out, &Outgoing::Refusal(Refusal::new(ErrorCode::ParseError, "no"))).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(head, format!("Content-Length: {}", body.len()));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32700, "message": "no" } }));
    }
}
