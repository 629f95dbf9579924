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

/// Several lines that tell the state of something long: drawn anew in place on a terminal, one plain line for each
/// change elsewhere.
#[derive(Debug)]
pub struct Block {
    terminal: bool,
    /// Lines on the terminal.
    drawn: usize,
    last: String,
}

impl Block {
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), drawn: 0, last: String::new() }
    }

    /// Shows `page` on a terminal, elsewhere `line` when it is another one.
    pub fn update(&mut self, page: &str, line: &str) {
        if self.terminal {
            let (text, drawn) = frame(self.drawn, page);
            let mut stderr = std::io::stderr().lock();
            let _ = stderr.write_all(text.as_bytes());
            let _ = stderr.flush();
            self.drawn = drawn;
            return;
        }
        let line = plain(line);
        if line != self.last {
            say(&line);
            self.last = line;
        }
    }

    /// Erases what was drawn; plain lines stay.
    pub fn end(&mut self) {
        if self.drawn > 0 {
            self.update("", "");
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.end();
    }
}

/// What erases `drawn` lines and draws a page, and how many lines that has. Lines that wrap or scroll away could not be
/// erased.
fn frame(drawn: usize, page: &str) -> (String, usize) {
    const WIDTH: usize = 78;
    const HEIGHT: usize = 22;
    let mut text = if drawn > 0 { format!("\x1b[{drawn}A\r\x1b[J") } else { String::new() };
    let lines: Vec<&str> = page.lines().take(HEIGHT).collect();
    for line in &lines {
        text.extend(plain(line).chars().take(WIDTH));
        text.push('\n');
    }
    (text, lines.len())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_drawn_over_the_one_before() {
        assert_eq!(frame(0, "a\nb"), ("a\nb\n".into(), 2));
        assert_eq!(frame(2, "c"), ("\x1b[2A\r\x1b[Jc\n".into(), 1));
        assert_eq!(frame(1, ""), ("\x1b[1A\r\x1b[J".into(), 0));
        let (text, lines) = frame(0, &format!("{}\u{1b}[2J\n", "x".repeat(77)).repeat(50));
        assert_eq!(lines, 22);
        assert!(text.lines().all(|line| line == format!("{} ", "x".repeat(77))), "{text:?}");
    }
}
