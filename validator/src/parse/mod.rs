//! From bytes to [`Ast`]. The only place that knows the grammar.
//!
//! An own lexer and recursive-descent parser after the specification of HCL's native syntax, with Terraform 1.11 as the
//! judge (`tests/syntax.rs`). What it adds to Terraform's reading is recovery: one diagnostic for an item that cannot
//! be read, and every other item is kept.
//!
//! It is linear in the length of the text, and its recursion is bounded by [`MAX_HEIGHT`]: what is deeper is not
//! analysed, which is said, and is not called invalid.

mod body;
mod expr;
mod lex;
mod template;

use std::collections::HashSet;
use std::sync::Arc;

use crate::ast::{Ast, Comment, ExprId, MAX_HEIGHT, Name, Span};
use crate::diagnostic::Diagnostic;
use lex::{Kind, Token, Whole, lex};

/// More diagnostics than this help nobody; what follows is not read.
const MAX_DIAGNOSTICS: usize = 100;
/// Ranges are 32 bits wide, and no configuration is longer.
pub const MAX_BYTES: usize = 64 << 20;

/// Reads a file in Terraform's native syntax. What is wrong is said, and everything else is in the tree.
///
/// A byte order mark is skipped; ranges count its bytes. Longer texts than [`MAX_BYTES`] are not analysed.
pub fn parse(src: &[u8]) -> (Ast, Vec<Diagnostic>) {
    with_text(src, |text, start| {
        let mut parser = Parser::new(text, start, Whole::Configuration);
        parser.file(start);
        parser.finish()
    })
}

/// Reads one expression, such as the value of `--var`. `None` when it has an error.
pub fn parse_expression(src: &[u8]) -> (Ast, Option<ExprId>, Vec<Diagnostic>) {
    let mut id = None;
    let (ast, diagnostics) = with_text(src, |text, start| {
        let mut parser = Parser::new(text, start, Whole::Configuration);
        parser.newlines = false;
        id = parser.only_expression().ok();
        parser.finish()
    });
    (ast, id.filter(|_| diagnostics.is_empty()), diagnostics)
}

/// Reads a template without quotes, such as the file of `templatefile`. `None` when it has an error.
pub fn parse_template(src: &[u8]) -> (Ast, Option<ExprId>, Vec<Diagnostic>) {
    let mut id = None;
    let (ast, diagnostics) = with_text(src, |text, start| {
        let mut parser = Parser::new(text, start, Whole::Template);
        id = parser.bare_template().ok();
        parser.finish()
    });
    (ast, id.filter(|_| diagnostics.is_empty()), diagnostics)
}

/// Hands a text that is valid UTF-8 to `read`, with the offset behind a byte order mark.
///
/// Wrong bytes are replaced by a control character, one for one, so that ranges stay right. They are an error wherever
/// Terraform looks at them, which is everywhere but in comments.
fn with_text(src: &[u8], read: impl FnOnce(&[u8], usize) -> (Ast, Vec<Diagnostic>)) -> (Ast, Vec<Diagnostic>) {
    if src.len() > MAX_BYTES {
        let why = format!("the file has {} bytes, the limit is {MAX_BYTES}", src.len());
        return (Ast::default(), vec![Diagnostic::limit(Span::default(), &why)]);
    }
    let start = if src.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    if std::str::from_utf8(src).is_ok() {
        return read(src, start);
    }
    let (clean, bad) = replace_invalid(src);
    let (ast, mut diagnostics) = read(&clean, start);
    let in_comment = |span: Span| ast.comments.iter().any(|c: &Comment| c.span.contains(span));
    let wrong = bad.into_iter().filter(|span| !in_comment(*span)).take(MAX_DIAGNOSTICS);
    let message = "these bytes are no UTF-8: save the file in that encoding";
    diagnostics.splice(0..0, wrong.map(|span| Diagnostic::syntax(span, message)));
    diagnostics.sort_by_key(|d| d.span.start);
    (ast, diagnostics)
}

fn replace_invalid(src: &[u8]) -> (Vec<u8>, Vec<Span>) {
    let (mut clean, mut bad) = (Vec::with_capacity(src.len()), Vec::new());
    for chunk in src.utf8_chunks() {
        clean.extend_from_slice(chunk.valid().as_bytes());
        let wrong = chunk.invalid().len();
        if wrong > 0 {
            let start = u32::try_from(clean.len()).unwrap_or(u32::MAX);
            bad.push(Span::new(start, start + wrong as u32));
            clean.resize(clean.len() + wrong, 0x1a);
        }
    }
    (clean, bad)
}

/// Why an item could not be read. The diagnostic is written already, except where a bracket is open at the end.
enum Stop {
    Syntax,
    Limit,
    /// The text ended inside of what began here.
    Unclosed(Span),
}

type Read<T> = Result<T, Stop>;

struct Parser<'a> {
    text: &'a [u8],
    tokens: Vec<Token>,
    at: usize,
    /// Whether a newline is a token now. It is none inside of parentheses, brackets, `${…}` and `for`.
    newlines: bool,
    depth: u16,
    ast: Ast,
    diagnostics: Vec<Diagnostic>,
    names: HashSet<Arc<str>>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8], start: usize, whole: Whole) -> Self {
        let (tokens, comments) = lex(text, start, whole);
        let mut ast = Ast::default();
        ast.comments = comments;
        Self { text, tokens, at: 0, newlines: true, depth: 0, ast, diagnostics: Vec::new(), names: HashSet::new() }
    }

    fn finish(mut self) -> (Ast, Vec<Diagnostic>) {
        self.diagnostics.sort_by_key(|d| d.span.start);
        (self.ast, self.diagnostics)
    }

    fn only_expression(&mut self) -> Read<ExprId> {
        let id = self.expression()?;
        self.expect(Kind::End, "nothing more after the expression", None)?;
        self.note_depth();
        Ok(id)
    }

    // Tokens

    fn peek(&mut self) -> Token {
        while !self.newlines && self.token(self.at).kind == Kind::Newline {
            self.at += 1;
        }
        self.token(self.at)
    }

    fn token(&self, at: usize) -> Token {
        let end = Token { kind: Kind::End, span: Span::new(self.text.len() as u32, self.text.len() as u32) };
        self.tokens.get(at).copied().unwrap_or(end)
    }

    fn read(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn read_if(&mut self, kind: Kind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.read())
    }

    /// Where the token before the current one ends.
    fn last_end(&self) -> Span {
        self.at.checked_sub(1).map(|at| self.token(at).span).unwrap_or_default()
    }

    fn slice(&self, span: Span) -> &'a str {
        std::str::from_utf8(span.of(self.text)).unwrap_or_default()
    }

    fn is_word(&mut self, word: &str) -> bool {
        let token = self.peek();
        token.kind == Kind::Ident && self.slice(token.span) == word
    }

    /// The text as an `Arc` that equal texts of the file share.
    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.names.insert(new.clone());
        new
    }

    fn name(&mut self, token: Token) -> Name {
        Name { text: self.intern(self.slice(token.span)), span: token.span }
    }

    /// Without newlines as tokens, as inside of brackets. An error leaves the switch to the recovery.
    fn within<T>(&mut self, newlines: bool, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let before = std::mem::replace(&mut self.newlines, newlines);
        let result = read(self)?;
        self.newlines = before;
        Ok(result)
    }

    /// One level deeper, or a note that this is too deep.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= MAX_HEIGHT {
            let span = self.peek().span;
            let why = format!("nested more than {MAX_HEIGHT} levels deep");
            self.diagnostics.push(Diagnostic::limit(span, &why));
            return Err(Stop::Limit);
        }
        self.depth += 1;
        let result = read(self)?;
        self.depth -= 1;
        Ok(result)
    }

    /// Says where an expression has become too high without deep nesting: a long chain.
    fn note_depth(&mut self) {
        if let Some(span) = self.ast.take_too_deep() {
            let why = format!("a chain of more than {MAX_HEIGHT} operators");
            self.diagnostics.push(Diagnostic::limit(span, &why));
        }
    }

    // Errors

    fn expect(&mut self, kind: Kind, want: &str, opened: Option<Span>) -> Read<Token> {
        match self.read_if(kind) {
            Some(token) => Ok(token),
            None => Err(self.unexpected(want, opened)),
        }
    }

    /// What stands here is not what has to.
    fn unexpected(&mut self, want: &str, opened: Option<Span>) -> Stop {
        let token = self.peek();
        if let (Kind::End, Some(opened)) = (token.kind, opened) {
            return Stop::Unclosed(opened);
        }
        let message = match complaint(token.kind, self.slice(token.span)) {
            Some(complaint) => complaint,
            None => format!("found {}, want {want}", describe(token.kind, self.slice(token.span))),
        };
        let mut diagnostic = Diagnostic::syntax(token.span, message);
        if let Some(opened) = opened {
            diagnostic = diagnostic.with_related(opened, "opened here");
        }
        self.diagnostics.push(diagnostic);
        Stop::Syntax
    }

    fn wrong(&mut self, span: Span, message: impl Into<String>) -> Stop {
        self.diagnostics.push(Diagnostic::syntax(span, message));
        Stop::Syntax
    }
}

/// What is wrong with a token that is right nowhere.
fn complaint(kind: Kind, text: &str) -> Option<String> {
    Some(match kind {
        Kind::NewlineInQuotes => {
            "the string is not closed on its line: write \"\\n\" for a newline, or a heredoc".into()
        }
        Kind::OpenComment => "the comment is never closed with \"*/\"".into(),
        Kind::Invalid => match text {
            "'" | "\u{2018}" | "\u{2019}" | "\u{201c}" | "\u{201d}" | "`" => {
                format!("found {text}, strings are quoted with \"")
            }
            "&" | "|" | "^" | "~" => {
                format!("found {text:?}, there are no operators on bits; \"and\" is &&, \"or\" is ||")
            }
            ";" => "found \";\": what follows goes on a line of its own".into(),
            "\r" => "found a carriage return without newline: lines end with a newline".into(),
            _ => format!("the character {text:?} has no meaning here"),
        },
        _ => return None,
    })
}

fn describe(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Newline => "the end of the line".into(),
        Kind::End => "the end of the file".into(),
        Kind::OpenQuote | Kind::CloseQuote | Kind::Quoted => "a string".into(),
        Kind::OpenHeredoc | Kind::CloseHeredoc | Kind::Text => "a heredoc".into(),
        _ => format!("{text:?}"),
    }
}
