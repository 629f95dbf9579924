//! What goes on, on stderr: one line that changes on a terminal, plain lines elsewhere.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::output::plain;

/// Writes a line to stderr. A closed stderr is nobody's concern.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A line that tells the state of something long.
#[derive(Debug)]
pub struct Line {
    terminal: bool,
    last: String,
}

impl Line {
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    /// Shows the text; elsewhere than on a terminal only when it is another one.
    pub fn update(&mut self, text: &str) {
        let text = plain(text);
        if self.terminal {
            // Longer than a line it could not be erased.
            let short: String = text.chars().take(78).collect();
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K{short}");
        } else if text != self.last {
            say(&text);
        }
        self.last = text;
    }

    /// Erases the line; plain lines stay.
    pub fn end(&mut self) {
        if self.terminal && !self.last.is_empty() {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[2K");
            let _ = stderr.flush();
        }
        self.last.clear();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for `work`, and says what for once that takes more than a second.
pub async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut line = Line::new();
    let begun = Instant::now();
    let mut pause = Duration::from_secs(1);
    loop {
        if let Ok(done) = tokio::time::timeout(pause, &mut work).await {
            line.end();
            return done;
        }
        line.update(&format!("{what} ({} s)", begun.elapsed().as_secs()));
        pause = Duration::from_secs(if line.terminal { 1 } else { 10 });
    }
}
