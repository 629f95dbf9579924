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

    /// Line and UTF-16 unit of a byte, both from 0, as the language server protocol counts them.
    pub fn units(&self, text: &[u8], byte: u32) -> (u32, u32) {
        let byte = byte.min(u32::try_from(text.len()).unwrap_or(u32::MAX));
        let line = self.line(byte) - 1;
        let start = self.starts.get(line as usize).copied().unwrap_or(0);
        let before = String::from_utf8_lossy(Span::new(start, byte).of(text)).encode_utf16().count();
        (line, u32::try_from(before).unwrap_or(u32::MAX))
    }

    /// The byte of a line and UTF-16 unit, both from 0. A unit beyond the line counts as its end, a line beyond the text as
    /// the end of the text, the second unit of a character as its first.
    pub fn byte_of_units(&self, text: &[u8], line: u32, unit: u32) -> u32 {
        if line as usize >= self.starts.len() {
            return u32::try_from(text.len()).unwrap_or(u32::MAX);
        }
        let span = self.span_of(text, line + 1);
        let line = span.of(text).strip_suffix(b"\r").unwrap_or(span.of(text));
        let (mut byte, mut seen) = (span.start, 0);
        for c in String::from_utf8_lossy(line).chars() {
            seen += c.len_utf16() as u32;
            if seen > unit {
                break;
            }
            byte += c.len_utf8() as u32;
        }
        byte
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

    #[test]
    fn places_of_the_protocol_lead_to_their_bytes_and_back() {
        let text = "a\n\u{1f600}é=1\r\n".as_bytes();
        let lines = Lines::new(text);
        for (place, byte) in [((0, 0), 0), ((1, 0), 2), ((1, 2), 6), ((1, 3), 8), ((1, 5), 10), ((2, 0), 12)] {
            assert_eq!(lines.byte_of_units(text, place.0, place.1), byte, "{place:?}");
            assert_eq!(lines.units(text, byte), place, "{byte}");
        }
        assert_eq!(lines.byte_of_units(text, 1, 1), 2, "half a character");
        assert_eq!(lines.byte_of_units(text, 1, 99), 10, "beyond the line, before its end");
        assert_eq!(lines.byte_of_units(text, 9, 0), 12);
    }
}
