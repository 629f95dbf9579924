//! Quoted strings, heredocs and what is inside of them.
//!
//! The order of the steps is HCL's, because it shows: marks of whitespace first, then the indentation of `<<-`, then
//! neighbouring texts become one, then directives become a tree.

use super::expr::ForIntro;
use super::lex::{Kind, Token};
use super::{Parser, Read};
use crate::ast::{Expr, ExprId, Literal, Name, Part, Span, Template};

/// A part before directives are nested.
enum Piece {
    Text(String, Span),
    Value(ExprId),
    If(ExprId, Span),
    Else(Span),
    EndIf(Span),
    For(ForIntro, Span),
    EndFor(Span),
}

/// What ended a run of parts.
enum Closer {
    Else(Span),
    If(Span),
    For(Span),
    Template,
}

impl Parser<'_> {
    /// A quoted string or a heredoc.
    pub(super) fn template(&mut self) -> Read<ExprId> {
        let open = self.read();
        let heredoc = open.kind == Kind::OpenHeredoc;
        let closer = if heredoc { Kind::CloseHeredoc } else { Kind::CloseQuote };
        let (mut pieces, close) = self.pieces(closer, open.span)?;
        if heredoc && self.slice(open.span).starts_with("<<-") {
            remove_indentation(&mut pieces);
        }
        self.assemble(pieces, heredoc, open.span.to(close))
    }

    /// The whole text as a template.
    pub(super) fn bare_template(&mut self) -> Read<ExprId> {
        let (pieces, close) = self.pieces(Kind::End, Span::default())?;
        let id = self.assemble(pieces, true, Span::new(0, close.end))?;
        self.note_depth();
        Ok(id)
    }

    /// A string that stands for a name, as a label: no templates in it.
    pub(super) fn plain_string(&mut self) -> Read<Name> {
        let open = self.read().span;
        let mut text = String::new();
        if let Some(token) = self.read_if(Kind::Quoted) {
            text = self.unescape(token)?;
        }
        let close = self.expect(Kind::CloseQuote, "a label without templates, and its closing quote", Some(open))?;
        Ok(Name { text: self.intern(&text), span: open.to(close.span) })
    }

    fn assemble(&mut self, pieces: Vec<Piece>, heredoc: bool, span: Span) -> Read<ExprId> {
        let mut pieces = meld(pieces).into_iter();
        let (mut parts, end) = self.nest(&mut pieces)?;
        match end {
            Closer::Template => {}
            Closer::Else(at) => return Err(self.wrong(at, "\"else\" without \"if\"")),
            Closer::If(at) => return Err(self.wrong(at, "\"endif\" without \"if\"")),
            Closer::For(at) => return Err(self.wrong(at, "\"endfor\" without \"for\"")),
        }
        let expr = match parts.as_mut_slice() {
            [] => Expr::Literal(Literal::String(self.intern(""))),
            [Part::Literal(text, _)] => Expr::Literal(Literal::String(text.clone())),
            _ => Expr::Template(Template { parts, heredoc }),
        };
        Ok(self.ast.push(expr, span))
    }

    /// Everything up to `closer`, and where that stands.
    fn pieces(&mut self, closer: Kind, open: Span) -> Read<(Vec<Piece>, Span)> {
        let mut pieces = Vec::new();
        // After `~}`, the next text loses its first spaces.
        let mut trim = false;
        loop {
            let token = self.token(self.at);
            if token.kind == closer {
                self.at += 1;
                return Ok((pieces, token.span));
            }
            match token.kind {
                Kind::Quoted | Kind::Text => {
                    self.at += 1;
                    let mut text = self.unescape(token)?;
                    if std::mem::take(&mut trim) {
                        text = text.trim_start().to_owned();
                    }
                    pieces.push(Piece::Text(text, token.span));
                }
                Kind::Interpolation | Kind::Directive => {
                    self.at += 1;
                    if self.slice(token.span).ends_with('~')
                        && let Some(Piece::Text(text, _)) = pieces.last_mut()
                    {
                        text.truncate(text.trim_end().len());
                    }
                    let (piece, end) = self.sequence(token)?;
                    trim = end.end - end.start == 2;
                    pieces.push(piece);
                }
                Kind::NewlineInQuotes | Kind::End => return Err(self.unclosed_text(token, open)),
                _ => return Err(self.unexpected("text", Some(open))),
            }
        }
    }

    fn unclosed_text(&mut self, token: Token, open: Span) -> super::Stop {
        if token.kind == Kind::End && !self.slice(open).starts_with('"') {
            let message =
                "the heredoc is never closed: its end marker stands alone on a line, which ends with a newline";
            return self.wrong(open, message);
        }
        if token.kind == Kind::End {
            return self.wrong(open, "the string is never closed");
        }
        self.unexpected("text", Some(open))
    }

    /// `${…}` or `%{…}`, and the range of its end.
    fn sequence(&mut self, open: Token) -> Read<(Piece, Span)> {
        self.within(false, |p| {
            let piece = match open.kind {
                Kind::Interpolation => Piece::Value(p.expression()?),
                _ => p.directive(open.span)?,
            };
            let want = "an operator or \"}\" at the end of the template sequence";
            let end = p.expect(Kind::EndSequence, want, Some(open.span))?.span;
            let piece = match piece {
                Piece::If(condition, at) => Piece::If(condition, at.to(end)),
                Piece::For(intro, at) => Piece::For(intro, at.to(end)),
                other => other,
            };
            Ok((piece, end))
        })
    }

    fn directive(&mut self, open: Span) -> Read<Piece> {
        let want = "if, else, endif, for or endfor";
        let word = self.expect(Kind::Ident, want, Some(open))?;
        Ok(match self.slice(word.span) {
            "if" => Piece::If(self.expression()?, open),
            "else" => Piece::Else(open),
            "endif" => Piece::EndIf(open),
            "for" => Piece::For(self.for_intro()?, open),
            "endfor" => Piece::EndFor(open),
            other => {
                let message = format!("{other:?} is no directive: there are {want}");
                return Err(self.wrong(word.span, message));
            }
        })
    }

    /// A tree of the pieces up to one that closes.
    fn nest(&mut self, pieces: &mut std::vec::IntoIter<Piece>) -> Read<(Vec<Part>, Closer)> {
        self.deeper(|p| {
            let mut parts = Vec::new();
            while let Some(piece) = pieces.next() {
                parts.push(match piece {
                    Piece::Text(text, span) => Part::Literal(p.intern(&text), span),
                    Piece::Value(id) => Part::Interpolation(id),
                    Piece::If(condition, span) => p.nest_if(condition, span, pieces)?,
                    Piece::For(intro, span) => p.nest_for(intro, span, pieces)?,
                    Piece::Else(span) => return Ok((parts, Closer::Else(span))),
                    Piece::EndIf(span) => return Ok((parts, Closer::If(span))),
                    Piece::EndFor(span) => return Ok((parts, Closer::For(span))),
                });
            }
            Ok((parts, Closer::Template))
        })
    }

    fn nest_if(&mut self, condition: ExprId, span: Span, pieces: &mut std::vec::IntoIter<Piece>) -> Read<Part> {
        let (yes, end) = self.nest(pieces)?;
        let (no, end) = match end {
            Closer::Else(_) => self.nest(pieces)?,
            other => (Vec::new(), other),
        };
        match end {
            Closer::If(end) => Ok(Part::If { condition, yes, no, span: span.to(end) }),
            Closer::Else(at) => Err(self.wrong(at, "a second \"else\" of one \"if\"")),
            Closer::For(at) => Err(self.wrong(at, "\"endfor\" inside of \"if\": \"endif\" is missing")),
            Closer::Template => Err(self.wrong(span, "\"if\" without \"endif\"")),
        }
    }

    fn nest_for(&mut self, intro: ForIntro, span: Span, pieces: &mut std::vec::IntoIter<Piece>) -> Read<Part> {
        let (body, end) = self.nest(pieces)?;
        let ForIntro { key, value, collection } = intro;
        match end {
            Closer::For(end) => Ok(Part::For { key, value, collection, body, span: span.to(end) }),
            Closer::Else(at) => Err(self.wrong(at, "\"else\" inside of \"for\"")),
            Closer::If(at) => Err(self.wrong(at, "\"endif\" inside of \"for\": \"endfor\" is missing")),
            Closer::Template => Err(self.wrong(span, "\"for\" without \"endfor\"")),
        }
    }

    /// The text that is meant. Only quoted text has backslashes; `$${` and `%%{` are everywhere.
    fn unescape(&mut self, token: Token) -> Read<String> {
        let text = self.slice(token.span);
        let quoted = token.kind == Kind::Quoted;
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(|c| matches!(c, '$' | '%') || quoted && c == '\\') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if rest.starts_with("$${") || rest.starts_with("%%{") {
                out.push_str(&rest[1..3]);
                rest = &rest[3..];
                continue;
            }
            if let Some(escape) = rest.strip_prefix('\\') {
                let (c, len) = match escaped(escape) {
                    Some(found) => found,
                    None => {
                        let start = token.span.start + (text.len() - rest.len()) as u32;
                        let len = 1 + escape.chars().next().map_or(0, char::len_utf8);
                        let message = format!(
                            "{} is no escape sequence: there are \\n, \\r, \\t, \\\", \\\\, \\uNNNN and \\UNNNNNNNN",
                            &rest[..len]
                        );
                        return Err(self.wrong(Span::new(start, start + len as u32), message));
                    }
                };
                out.push(c);
                rest = &escape[len..];
                continue;
            }
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The character of an escape without its backslash, and the length of it.
fn escaped(escape: &str) -> Option<(char, usize)> {
    let hex = |len: usize| {
        let digits = escape.get(1..=len).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), len + 1))
    };
    match escape.bytes().next()? {
        b'n' => Some(('\n', 1)),
        b'r' => Some(('\r', 1)),
        b't' => Some(('\t', 1)),
        b'"' => Some(('"', 1)),
        b'\\' => Some(('\\', 1)),
        b'u' => hex(4),
        b'U' => hex(8),
        _ => None,
    }
}

/// Takes the indentation that all lines share from each of them. A line of spaces alone does not count.
fn remove_indentation(pieces: &mut [Piece]) {
    let (mut least, mut adjusted, mut line_start) = (usize::MAX, Vec::new(), true);
    for (i, piece) in pieces.iter().enumerate() {
        let text = match piece {
            Piece::Text(text, _) => Some(text),
            _ => None,
        };
        if std::mem::take(&mut line_start) {
            let spaces = match text {
                Some(text) if text.trim_start().is_empty() && text.ends_with('\n') => usize::MAX,
                Some(text) => {
                    adjusted.push(i);
                    text.chars().take_while(|c| c.is_whitespace()).count()
                }
                None => 0,
            };
            least = least.min(spaces);
        }
        if text.is_some_and(|text| text.ends_with('\n')) {
            line_start = true;
        }
    }
    for i in adjusted {
        if let Piece::Text(text, span) = &mut pieces[i] {
            let cut = text.char_indices().nth(least).map_or(text.len(), |(at, _)| at);
            text.drain(..cut);
            span.start = (span.start + cut as u32).min(span.end);
        }
    }
}

/// Neighbouring texts as one.
fn meld(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (out.last_mut(), piece) {
            (Some(Piece::Text(text, span)), Piece::Text(more, end)) => {
                text.push_str(&more);
                *span = span.to(end);
            }
            (_, piece) => out.push(piece),
        }
    }
    out
}
