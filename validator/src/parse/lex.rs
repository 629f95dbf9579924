//! Bytes to tokens. The whole file at once: it is three numbers a token, and the parser may look back.
//!
//! Strings and heredocs are templates, so the lexer keeps a stack of what it is inside of. The stack is on the heap
//! and grows with the text only.

use crate::ast::{Comment, Span};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ident,
    /// Digits, points and exponents; may still be no number, as `1.2.3`.
    Number,
    /// `"` that opens.
    OpenQuote,
    /// `"` that closes.
    CloseQuote,
    /// Text between quotes, with escapes.
    Quoted,
    /// `<<NAME` or `<<-NAME` with its newline.
    OpenHeredoc,
    /// The line of the end marker, without its newline.
    CloseHeredoc,
    /// A line of a heredoc with its newline, or a part of one.
    Text,
    /// `${` or `${~`.
    Interpolation,
    /// `%{` or `%{~`.
    Directive,
    /// `}` or `~}` that ends one of the two.
    EndSequence,
    Newline,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    OpenParen,
    CloseParen,
    Equal,
    Arrow,
    Question,
    Colon,
    DoubleColon,
    Comma,
    Dot,
    Ellipsis,
    Star,
    Plus,
    Minus,
    Slash,
    Percent,
    Bang,
    And,
    Or,
    EqualEqual,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// A newline inside of quotes; the string ends there for us.
    NewlineInQuotes,
    /// `/*` without end.
    OpenComment,
    /// A character that has no meaning in the language.
    Invalid,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// What the lexer is inside of.
#[derive(Debug, Clone, Copy)]
enum Mode {
    /// `${…}` or `%{…}`; the number of braces that are open in it.
    Sequence(u32),
    Quotes,
    Heredoc {
        marker: Span,
        line_start: bool,
    },
}

pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    modes: Vec<Mode>,
    pub(super) tokens: Vec<Token>,
    pub(super) comments: Vec<Comment>,
}

/// What the text as a whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Configuration,
    /// A template without quotes, read as the text of a heredoc that has no end marker.
    Template,
}

/// Every token from `from` on; the last one is [`Kind::End`].
pub(super) fn lex(text: &[u8], from: usize, whole: Whole) -> (Vec<Token>, Vec<Comment>) {
    let mut lexer = Lexer {
        text,
        at: from,
        modes: Vec::new(),
        tokens: Vec::with_capacity((text.len() - from.min(text.len())) / 5 + 8),
        comments: Vec::new(),
    };
    if whole == Whole::Template {
        // No line can equal a marker that contains a newline.
        lexer.modes.push(Mode::Heredoc { marker: Span::default(), line_start: false });
    }
    while lexer.at < text.len() {
        match lexer.modes.last().copied() {
            Some(Mode::Quotes) => lexer.quoted(),
            Some(Mode::Heredoc { marker, line_start }) => lexer.heredoc(marker, line_start, whole),
            Some(Mode::Sequence(_)) | None => lexer.normal(),
        }
    }
    let end = lexer.at;
    lexer.push(Kind::End, end);
    (lexer.tokens, lexer.comments)
}

/// Length of the identifier at the start of `text`; 0 when there is none.
pub(super) fn ident_len(text: &[u8]) -> usize {
    let mut len = 0;
    loop {
        match text.get(len) {
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => len += 1,
            Some(b'0'..=b'9' | b'-') if len > 0 => len += 1,
            Some(byte) if *byte >= 0x80 => {
                let Some(c) = first_char(&text[len..]) else { return len };
                let fits = if len == 0 { unicode_ident::is_xid_start(c) } else { unicode_ident::is_xid_continue(c) };
                if !fits {
                    return len;
                }
                len += c.len_utf8();
            }
            _ => return len,
        }
    }
}

/// The character at the start; `None` at the end or where the bytes are no UTF-8.
pub(super) fn first_char(text: &[u8]) -> Option<char> {
    let head = &text[..text.len().min(4)];
    match std::str::from_utf8(head) {
        Ok(s) => s.chars().next(),
        Err(e) => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?.chars().next(),
    }
}

impl Lexer<'_> {
    fn push(&mut self, kind: Kind, start: usize) {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.tokens.push(Token { kind, span: Span::new(offset(start), offset(self.at)) });
    }

    fn take(&mut self, kind: Kind, len: usize) {
        let start = self.at;
        self.at += len;
        self.push(kind, start);
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn normal(&mut self) {
        let (byte, next) = (self.peek(0), self.peek(1));
        match byte {
            b' ' | b'\t' => self.at += 1,
            b'\n' => self.take(Kind::Newline, 1),
            b'\r' if next == b'\n' => self.take(Kind::Newline, 2),
            b'#' => self.line_comment(),
            b'/' if next == b'/' => self.line_comment(),
            b'/' if next == b'*' => self.block_comment(),
            b'0'..=b'9' => self.number(),
            b'"' => {
                self.take(Kind::OpenQuote, 1);
                self.modes.push(Mode::Quotes);
            }
            b'<' if next == b'<' => self.open_heredoc(),
            b'{' => {
                if let Some(Mode::Sequence(braces)) = self.modes.last_mut() {
                    *braces += 1;
                }
                self.take(Kind::OpenBrace, 1);
            }
            b'}' => self.close_brace(1),
            b'~' if next == b'}' && matches!(self.modes.last(), Some(Mode::Sequence(0))) => self.close_brace(2),
            _ => self.word_or_sign(byte, next),
        }
    }

    fn close_brace(&mut self, len: usize) {
        match self.modes.last_mut() {
            Some(Mode::Sequence(0)) => {
                self.modes.pop();
                self.take(Kind::EndSequence, len);
            }
            Some(Mode::Sequence(braces)) => {
                *braces -= 1;
                self.take(Kind::CloseBrace, len);
            }
            _ => self.take(Kind::CloseBrace, len),
        }
    }

    fn word_or_sign(&mut self, byte: u8, next: u8) {
        let (kind, len) = match (byte, next) {
            (b'=', b'=') => (Kind::EqualEqual, 2),
            (b'=', b'>') => (Kind::Arrow, 2),
            (b'=', _) => (Kind::Equal, 1),
            (b'!', b'=') => (Kind::NotEqual, 2),
            (b'!', _) => (Kind::Bang, 1),
            (b'<', b'=') => (Kind::LessEqual, 2),
            (b'<', _) => (Kind::Less, 1),
            (b'>', b'=') => (Kind::GreaterEqual, 2),
            (b'>', _) => (Kind::Greater, 1),
            (b'&', b'&') => (Kind::And, 2),
            (b'|', b'|') => (Kind::Or, 2),
            (b':', b':') => (Kind::DoubleColon, 2),
            (b':', _) => (Kind::Colon, 1),
            (b'.', b'.') if self.peek(2) == b'.' => (Kind::Ellipsis, 3),
            (b'.', _) => (Kind::Dot, 1),
            (b'?', _) => (Kind::Question, 1),
            (b',', _) => (Kind::Comma, 1),
            (b'[', _) => (Kind::OpenBracket, 1),
            (b']', _) => (Kind::CloseBracket, 1),
            (b'(', _) => (Kind::OpenParen, 1),
            (b')', _) => (Kind::CloseParen, 1),
            (b'+', _) => (Kind::Plus, 1),
            (b'-', _) => (Kind::Minus, 1),
            (b'*', _) => (Kind::Star, 1),
            (b'/', _) => (Kind::Slash, 1),
            (b'%', _) => (Kind::Percent, 1),
            _ => match ident_len(&self.text[self.at..]) {
                0 => (Kind::Invalid, first_char(&self.text[self.at..]).map_or(1, char::len_utf8)),
                len => (Kind::Ident, len),
            },
        };
        self.take(kind, len);
    }

    fn number(&mut self) {
        let mut len = 1;
        loop {
            len += match self.peek(len) {
                b'0'..=b'9' | b'.' => 1,
                b'e' | b'E' if self.peek(len + 1).is_ascii_digit() => 2,
                b'e' | b'E' if matches!(self.peek(len + 1), b'+' | b'-') && self.peek(len + 2).is_ascii_digit() => 3,
                _ => break,
            };
        }
        while self.peek(len - 1) == b'.' {
            len -= 1;
        }
        self.take(Kind::Number, len);
    }

    fn comment(&mut self, len: usize) {
        let start = u32::try_from(self.at).unwrap_or(u32::MAX);
        self.at += len;
        self.comments.push(Comment { span: Span::new(start, u32::try_from(self.at).unwrap_or(u32::MAX)) });
    }

    /// Up to the newline, which is a token of its own.
    fn line_comment(&mut self) {
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let carriage_return = usize::from(len > 0 && len < rest.len() && rest[len - 1] == b'\r');
        self.comment(len - carriage_return);
    }

    fn block_comment(&mut self) {
        let rest = &self.text[self.at..];
        match rest[2..].windows(2).position(|w| w == b"*/") {
            Some(inner) => self.comment(inner + 4),
            None => self.take(Kind::OpenComment, rest.len()),
        }
    }

    /// `<<NAME` at the end of a line; anything else that begins so is two signs.
    fn open_heredoc(&mut self) {
        let rest = &self.text[self.at..];
        let dash = usize::from(rest.get(2) == Some(&b'-'));
        let name = ident_len(&rest[(2 + dash).min(rest.len())..]);
        let end = 2 + dash + name;
        let newline = match (rest.get(end), rest.get(end + 1)) {
            (Some(b'\n'), _) => 1,
            (Some(b'\r'), Some(b'\n')) => 2,
            _ => 0,
        };
        if name == 0 || newline == 0 {
            return self.take(Kind::Less, 1);
        }
        let start = u32::try_from(self.at + 2 + dash).unwrap_or(u32::MAX);
        let marker = Span::new(start, start + name as u32);
        self.take(Kind::OpenHeredoc, end + newline);
        self.modes.push(Mode::Heredoc { marker, line_start: true });
    }

    /// A sequence opener at `ahead`, and its length.
    fn opener(&self, ahead: usize) -> Option<(Kind, usize)> {
        let kind = match self.peek(ahead) {
            b'$' => Kind::Interpolation,
            b'%' => Kind::Directive,
            _ => return None,
        };
        (self.peek(ahead + 1) == b'{').then(|| (kind, if self.peek(ahead + 2) == b'~' { 3 } else { 2 }))
    }

    /// Length of `$${` or `%%{` at `ahead`.
    fn escaped_opener(&self, ahead: usize) -> usize {
        let sign = self.peek(ahead);
        let is = matches!(sign, b'$' | b'%') && self.peek(ahead + 1) == sign && self.peek(ahead + 2) == b'{';
        if is { 3 } else { 1 }
    }

    fn quoted(&mut self) {
        let mut len = 0;
        loop {
            match self.peek(len) {
                b'"' | b'\n' => break,
                b'\r' if self.peek(len + 1) == b'\n' => break,
                b'\\' if !matches!(self.peek(len + 1), b'\n' | b'\r') => len += 2,
                b'$' | b'%' => {
                    if self.opener(len).is_some() {
                        break;
                    }
                    len += self.escaped_opener(len);
                }
                _ => len += 1,
            }
            if self.at + len >= self.text.len() {
                len = self.text.len() - self.at;
                break;
            }
        }
        if len > 0 {
            return self.take(Kind::Quoted, len);
        }
        match self.peek(0) {
            b'"' => {
                self.modes.pop();
                self.take(Kind::CloseQuote, 1);
            }
            b'\n' | b'\r' => {
                // Whoever forgot the quote meant it to be on this line.
                self.modes.pop();
                self.push(Kind::NewlineInQuotes, self.at);
            }
            _ => self.open_sequence(),
        }
    }

    fn open_sequence(&mut self) {
        match self.opener(0) {
            Some((kind, len)) => {
                self.take(kind, len);
                self.modes.push(Mode::Sequence(0));
            }
            None => self.take(Kind::Invalid, 1),
        }
    }

    fn heredoc(&mut self, marker: Span, line_start: bool, whole: Whole) {
        let mut len = 0;
        let mut ends_line = false;
        while self.at + len < self.text.len() {
            match self.peek(len) {
                b'\n' => {
                    len += 1;
                    ends_line = true;
                    break;
                }
                b'$' | b'%' if self.opener(len).is_some() => break,
                b'$' | b'%' => len += self.escaped_opener(len),
                _ => len += 1,
            }
        }
        let len = len.min(self.text.len() - self.at);
        let is_template = whole == Whole::Template && self.modes.len() == 1;
        if ends_line && line_start && !is_template && self.is_marker(len, marker) {
            let newline = if len > 1 && self.peek(len - 2) == b'\r' { 2 } else { 1 };
            self.modes.pop();
            self.take(Kind::CloseHeredoc, len - newline);
            return self.take(Kind::Newline, newline);
        }
        if len == 0 {
            return self.open_sequence();
        }
        if let Some(Mode::Heredoc { line_start, .. }) = self.modes.last_mut() {
            *line_start = ends_line;
        }
        self.take(Kind::Text, len);
    }

    fn is_marker(&self, len: usize, marker: Span) -> bool {
        let line = &self.text[self.at..self.at + len];
        let marker = marker.of(self.text);
        std::str::from_utf8(line).map_or_else(|_| line.trim_ascii() == marker, |s| s.trim().as_bytes() == marker)
    }
}
