//! Bytes of a file, and from a byte to line and column.

use crate::ast::Span;

/// A place for people: both start at 1, columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// Where the lines of a text begin.
#[derive(Debug, Clone)]
pub struct Lines {
    starts: Vec<u32>,
}

impl Lines {
    pub fn new(text: &[u8]) -> Self {
        let after = |(i, byte): (usize, &u8)| (*byte == b'\n').then(|| u32::try_from(i + 1).unwrap_or(u32::MAX));
        Self { starts: std::iter::once(0).chain(text.iter().enumerate().filter_map(after)).collect() }
    }

    /// Line of a byte, from 1.
    pub fn line(&self, byte: u32) -> u32 {
        u32::try_from(self.starts.partition_point(|start| *start <= byte)).unwrap_or(u32::MAX).max(1)
    }

    /// Line and column in characters. `text` is what the lines were made of; a byte beyond it counts as its end.
    pub fn position(&self, text: &[u8], byte: u32) -> Position {
        self.place(text, byte, char::len_utf8, false)
    }

    /// Line and column in UTF-16 units, both from 1: what SARIF and editors count.
    pub fn position_utf16(&self, text: &[u8], byte: u32) -> Position {
        self.place(text, byte, char::len_utf16, true)
    }

    fn place(&self, text: &[u8], byte: u32, width: fn(char) -> usize, utf16: bool) -> Position {
        let byte = byte.min(u32::try_from(text.len()).unwrap_or(u32::MAX));
        let line = self.line(byte);
        let start = self.starts.get(line as usize - 1).copied().unwrap_or(0);
        let before = Span::new(start, byte).of(text);
        let before = if start == 0 { before.strip_prefix(b"\xef\xbb\xbf").unwrap_or(before) } else { before };
        let before = String::from_utf8_lossy(before);
        let units = before.chars().map(|c| if utf16 { width(c) } else { 1 }).sum::<usize>();
        Position { line, column: u32::try_from(units + 1).unwrap_or(u32::MAX) }
    }

    /// The bytes of a line without its end; lines count from 1.
    pub fn span_of(&self, text: &[u8], line: u32) -> Span {
        let start = self.starts.get((line as usize).saturating_sub(1)).copied().unwrap_or(0);
        let end = self.starts.get(line as usize).map_or(text.len(), |next| *next as usize - 1);
        Span::new(start, u32::try_from(end).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_for_people_and_utf16_units_for_machines() {
        let text = "\u{feff}a\n\u{1f600}é=1\r\n".as_bytes();
        let lines = Lines::new(text);
        let equals = u32::try_from(text.iter().position(|b| *b == b'=').unwrap()).unwrap();
        assert_eq!(lines.position(text, equals), Position { line: 2, column: 3 });
        assert_eq!(lines.position_utf16(text, equals), Position { line: 2, column: 4 });
        assert_eq!(lines.position(text, 3), Position { line: 1, column: 1 });
        assert_eq!(lines.position(text, 1000).line, 3);
    }
}
