//! A client of `sampan lsp` that plays an editor. Every wait has a deadline.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::sampan;

/// Longer than any answer takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

/// An editor with its server.
pub struct Editor {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Value>,
    /// Notifications that nobody has asked for yet.
    kept: Vec<Value>,
    next: i32,
    pub folder: tempfile::TempDir,
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message of the server, or the end.
fn read(output: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().ok()?,
            _ if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    output.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

impl Editor {
    /// Starts the server; nothing is said yet. The files are on the disk.
    pub fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut child = sampan(&["lsp"])
            .current_dir("/")
            .env_remove("TF_VAR_replicas")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = BufReader::new(child.stdout.take().unwrap());
        let (send, output) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut pipe) {
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, output, kept: Vec::new(), next: 0, folder }
    }

    /// Starts the server and greets it.
    pub fn open_folder(files: &[(&str, &str)]) -> Self {
        let mut editor = Self::start(files);
        editor.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} }));
        editor.tell("initialized", json!({}));
        editor
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    pub fn message(&mut self, message: &Value) {
        let text = message.to_string();
        self.raw(format!("Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes());
    }

    pub fn tell(&mut self, method: &str, params: Value) {
        self.message(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Asks without waiting; the id.
    pub fn begin(&mut self, method: &str, params: Value) -> i32 {
        self.next += 1;
        self.message(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        self.next
    }

    /// The whole answer to a request.
    pub fn answer(&mut self, id: &Value) -> Value {
        self.wait("an answer", |m| m.get("method").is_none() && m["id"] == *id)
    }

    /// The result of a request.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        let answer = self.answer(&id.into());
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The first message that fits, of those kept and those to come.
    pub fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&fits) {
            return self.kept.remove(at);
        }
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(message) = self.output.recv_timeout(left) else {
                panic!("no {what} came; kept are {:#?}", self.kept);
            };
            if fits(&message) {
                return message;
            }
            self.kept.push(message);
        }
    }

    pub fn open(&mut self, name: &str, version: i32, text: &str) {
        let document = json!({ "uri": self.uri(name), "languageId": "terraform", "version": version, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// Replaces a range, or with `None` all of it.
    pub fn change(&mut self, name: &str, version: i32, range: Option<[u32; 4]>, text: &str) {
        let mut change = json!({ "text": text });
        if let Some([a, b, c, d]) = range {
            change["range"] = json!({ "start": { "line": a, "character": b }, "end": { "line": c, "character": d } });
        }
        let document = json!({ "uri": self.uri(name), "version": version });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [change] }));
    }

    pub fn close(&mut self, name: &str) {
        self.tell("textDocument/didClose", json!({ "textDocument": { "uri": self.uri(name) } }));
    }

    /// Diagnostics of a file in that version; `None` is a file that is not open.
    pub fn diagnostics(&mut self, name: &str, version: Option<i32>) -> Vec<Value> {
        let uri = self.uri(name);
        let message = self.wait(&format!("diagnostics of {name} in version {version:?}"), |m| {
            m["method"] == "textDocument/publishDiagnostics"
                && m["params"]["uri"] == *uri
                && m["params"].get("version").and_then(Value::as_i64) == version.map(i64::from)
        });
        message["params"]["diagnostics"].as_array().unwrap().clone()
    }

    /// What was last said of a file, of what came while something else was waited for.
    pub fn last_diagnostics(&self, name: &str) -> Vec<Value> {
        let uri = self.uri(name);
        let of = |m: &&Value| m["method"] == "textDocument/publishDiagnostics" && m["params"]["uri"] == *uri;
        let last = self.kept.iter().rev().find(of);
        last.map(|m| m["params"]["diagnostics"].as_array().unwrap().clone()).unwrap_or_default()
    }

    /// Parameters of a request about a place.
    pub fn at(&self, name: &str, line: u32, character: u32) -> Value {
        json!({ "textDocument": { "uri": self.uri(name) }, "position": { "line": line, "character": character } })
    }

    /// Ends the input, as an editor that dies does.
    pub fn hang_up(&mut self) {
        self.input = None;
    }

    /// The exit code, and what was said that nobody asked for.
    pub fn exit_code(&mut self) -> (i32, Vec<Value>) {
        let end = Instant::now() + LIMIT;
        while let Ok(message) = self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.kept.push(message);
        }
        // The output is closed, so the end is near.
        let code = self.child.wait().unwrap().code().unwrap();
        (code, std::mem::take(&mut self.kept))
    }
}

/// Line, column, length of the range, severity and rule, as short text.
pub fn brief(diagnostics: &[Value]) -> Vec<String> {
    let one = |d: &Value| {
        let (start, end) = (&d["range"]["start"], &d["range"]["end"]);
        format!(
            "{}:{}-{}:{} {} {}",
            start["line"], start["character"], end["line"], end["character"], d["severity"], d["code"]
        )
        .replace('"', "")
    };
    diagnostics.iter().map(one).collect()
}
