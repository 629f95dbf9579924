//! One text that the editor has open, kept as the client changes it.

use std::path::PathBuf;
use std::sync::Arc;

use lsp_types::{Position, Range, TextDocumentContentChangeEvent, Uri};

use crate::ast::Span;
use crate::source::Lines;

/// A text with its version.
#[derive(Debug, Clone)]
pub struct Document {
    /// As the client writes it.
    pub uri: Uri,
    pub path: PathBuf,
    pub version: i32,
    pub text: Arc<[u8]>,
    pub lines: Lines,
}

impl Document {
    pub fn new(uri: Uri, path: PathBuf, version: i32, text: &str) -> Self {
        let text: Arc<[u8]> = text.as_bytes().into();
        Self { uri, path, version, lines: Lines::new(&text), text }
    }

    /// Makes changes in their order. One without a range is the whole text.
    pub fn change(&mut self, version: i32, changes: &[TextDocumentContentChangeEvent]) {
        self.version = version;
        for change in changes {
            match change.range {
                None => self.text = change.text.as_bytes().into(),
                Some(range) => {
                    let span = self.span(range);
                    let before = Span::new(0, span.start).of(&self.text);
                    let after = self.text.get(span.end as usize..).unwrap_or_default();
                    self.text = [before, change.text.as_bytes(), after].concat().into();
                }
            }
            // The next change counts in the text as it is now.
            self.lines = Lines::new(&self.text);
        }
    }

    /// The byte of a place.
    pub fn byte(&self, position: Position) -> u32 {
        self.lines.byte_of_units(&self.text, position.line, position.character)
    }

    /// The bytes of a range; one that ends before it begins is empty.
    pub fn span(&self, range: Range) -> Span {
        Span::new(self.byte(range.start), self.byte(range.end))
    }
}

/// A range of bytes as the protocol counts.
pub fn range(lines: &Lines, text: &[u8], span: Span) -> Range {
    let at = |byte: u32| {
        let (line, character) = lines.units(text, byte);
        Position { line, character }
    };
    Range { start: at(span.start), end: at(span.end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsp::uri;

    fn edit(range: Option<[u32; 4]>, text: &str) -> TextDocumentContentChangeEvent {
        let at = |line, character| Position { line, character };
        let range = range.map(|[a, b, c, d]| Range { start: at(a, b), end: at(c, d) });
        TextDocumentContentChangeEvent { range, range_length: None, text: text.to_owned() }
    }

    #[test]
    fn changes_are_made_in_order_and_count_utf16_units() {
        let path = PathBuf::from("/a.tf");
        let mut document = Document::new(uri::of(&path).unwrap(), path, 1, "a = \"\u{1f600}x\"\r\nb = 2\r\n");
        let changes =
            [edit(Some([0, 7, 0, 8]), "yz"), edit(Some([0, 8, 0, 9]), ""), edit(Some([1, 99, 1, 99]), "\nc = 3")];
        document.change(4, &changes);
        assert_eq!(std::str::from_utf8(&document.text).unwrap(), "a = \"\u{1f600}y\"\r\nb = 2\nc = 3\r\n");
        assert_eq!(document.version, 4);
        document.change(5, &[edit(None, "x"), edit(Some([7, 0, 7, 0]), "y"), edit(Some([0, 1, 0, 0]), "-")]);
        assert_eq!(&*document.text, b"x-y");
        let span = document.span(Range::default());
        assert_eq!(range(&document.lines, &document.text, span), Range::default());
    }
}
