//! Attributes, blocks, and how to go on after an error.

use std::collections::HashSet;
use std::sync::Arc;

use super::lex::{Kind, Token, Whole, ident_len, lex};
use super::{MAX_DIAGNOSTICS, Parser, Read, Stop};
use crate::ast::{Attribute, Block, Body, Expr, Name, NotAnalysed, Span};
use crate::diagnostic::{Diagnostic, Reason};

impl Parser<'_> {
    /// Items up to the end of the text. Never fails: what cannot be read is said and left out.
    pub(super) fn file(&mut self, start: usize) {
        let mut body = Body { span: Span::new(start as u32, self.text.len() as u32), ..Body::default() };
        let mut seen = HashSet::new();
        while self.skip_newlines().kind != Kind::End {
            if self.diagnostics.len() >= MAX_DIAGNOSTICS {
                let span = self.peek().span;
                self.diagnostics.push(Diagnostic::limit(span, "there are too many errors above"));
                break;
            }
            let first = self.at;
            // Braces that never balance: everything to the end of the file would be inside. So the item ends where
            // something new begins at the left margin.
            let said = self.diagnostics.len();
            if let Err(stop) = self.item_or_skip(&mut body, &mut seen) {
                let brace = (first..self.tokens.len()).map(|at| self.token(at)).find(|t| t.kind == Kind::OpenBrace);
                let next = self.restart_after(self.token(first).span.start as usize);
                let open = match (stop, brace) {
                    (Stop::Unclosed(open), _) if open.start < next => Some(open),
                    (_, brace) => brace.map(|t| t.span).filter(|span| span.start < next),
                };
                self.keep_diagnostics(said, next, open);
            }
        }
        self.ast.body = body;
    }

    fn skip_newlines(&mut self) -> Token {
        while self.token(self.at).kind == Kind::Newline {
            self.at += 1;
        }
        self.token(self.at)
    }

    /// Of what was said since the item began, drops what is about the items behind it, and says that it never ends.
    fn keep_diagnostics(&mut self, said: usize, next: u32, open: Option<Span>) {
        let new = self.diagnostics.split_off(said.min(self.diagnostics.len()));
        let opened = |d: &Diagnostic| d.related.as_ref().is_some_and(|(span, _)| span.start < next);
        let new: Vec<Diagnostic> = new.into_iter().filter(|d| d.span.start < next || opened(d)).collect();
        if let (Some(open), false) = (open, new.iter().any(|d| opened(d) || d.reason == Reason::Limit)) {
            let what = self.slice(open).chars().next().unwrap_or('{');
            self.diagnostics.push(Diagnostic::syntax(open, format!("\"{what}\" is never closed")));
        }
        self.diagnostics.extend(new);
    }

    /// Reads on from the next line after `item` that begins at the left margin with a word and something that may
    /// follow it in a body.
    fn restart_after(&mut self, item: usize) -> u32 {
        let text = self.text;
        let lines = (item..text.len()).filter(|at| text[*at] == b'\n').map(|at| at + 1);
        let next = lines.into_iter().find(|at| begins_item(&text[*at..])).unwrap_or(text.len());
        let (tokens, comments) = lex(text, next, Whole::Configuration);
        self.ast.comments.retain(|c| (c.span.start as usize) < next);
        self.ast.comments.extend(comments);
        (self.tokens, self.at) = (tokens, 0);
        (self.newlines, self.depth) = (true, 0);
        next as u32
    }

    /// One item into `body`. After an error, goes to the end of the item.
    ///
    /// # Errors
    /// When there is no such end.
    fn item_or_skip(&mut self, body: &mut Body, seen: &mut HashSet<Arc<str>>) -> Read<()> {
        let (first, depth) = (self.at, self.depth);
        match self.item(body, seen) {
            Err(Stop::Syntax | Stop::Limit) => {
                (self.newlines, self.depth) = (true, depth);
                self.skip_item(first)
            }
            other => other,
        }
    }

    fn item(&mut self, body: &mut Body, seen: &mut HashSet<Arc<str>>) -> Read<()> {
        let token = self.peek();
        if token.kind != Kind::Ident {
            return Err(self.unexpected("the name of an argument or block", None));
        }
        self.read();
        let name = self.name(token);
        match self.peek().kind {
            Kind::Equal => {
                let attribute = self.attribute(name, body)?;
                self.end_of_line("argument")?;
                self.keep(attribute, body, seen)
            }
            Kind::OpenQuote | Kind::Ident | Kind::OpenBrace => {
                let block = self.deeper(|p| p.block(name))?;
                body.blocks.push(block);
                self.end_of_line("block")
            }
            _ => Err(self.unexpected("\"=\" for an argument, or a label or \"{\" for a block", None)),
        }
    }

    fn keep(&mut self, attribute: Attribute, body: &mut Body, seen: &mut HashSet<Arc<str>>) -> Read<()> {
        if !seen.insert(attribute.name.text.clone()) {
            let first = body.attribute(&attribute.name.text).map(|a| a.name.span).unwrap_or_default();
            let message = format!("{:?} is set twice", attribute.name.text);
            let diagnostic = Diagnostic::syntax(attribute.name.span, message).with_related(first, "first set here");
            self.diagnostics.push(diagnostic);
            return Ok(());
        }
        body.attributes.push(attribute);
        Ok(())
    }

    fn end_of_line(&mut self, what: &str) -> Read<()> {
        match self.peek().kind {
            Kind::Newline => {
                self.at += 1;
                Ok(())
            }
            Kind::End => Ok(()),
            _ => Err(self.unexpected(&format!("a new line after the {what}"), None)),
        }
    }

    /// `= value`. With an error in the value, the name is kept: it is set, only nobody knows to what.
    fn attribute(&mut self, name: Name, body: &mut Body) -> Read<Attribute> {
        self.read();
        match self.expression() {
            Ok(value) => {
                self.note_depth();
                let span = name.span.to(self.ast.span(value));
                Ok(Attribute { name, value, span })
            }
            Err(stop) => {
                let why = match stop {
                    Stop::Limit => NotAnalysed::TooDeep,
                    Stop::Syntax | Stop::Unclosed(_) => NotAnalysed::Syntax,
                };
                if body.attribute(&name.text).is_none() {
                    let value = self.ast.push(Expr::NotAnalysed(why), self.last_end());
                    let span = name.span;
                    body.attributes.push(Attribute { name, value, span });
                }
                Err(stop)
            }
        }
    }

    fn block(&mut self, kind: Name) -> Read<Block> {
        let mut labels = Vec::new();
        let open = loop {
            let token = self.peek();
            match token.kind {
                Kind::OpenQuote => labels.push(self.plain_string()?),
                Kind::Ident => {
                    self.read();
                    labels.push(self.name(token));
                }
                Kind::OpenBrace => break self.read().span,
                _ => return Err(self.unexpected("a label or \"{\" of the block", None)),
            }
        };
        let header = labels.last().map_or(kind.span, |last| kind.span.to(last.span));
        let mut body = Body::default();
        let close = match self.peek().kind {
            Kind::Newline | Kind::End | Kind::CloseBrace => self.items(&mut body, open)?,
            _ => self.single(&mut body, open)?,
        };
        body.span = Span::new(open.end, close.start);
        let span = kind.span.to(close);
        Ok(Block { kind, labels, body, span, header })
    }

    /// The items of a block and its closing brace.
    fn items(&mut self, body: &mut Body, open: Span) -> Read<Span> {
        let mut seen = HashSet::new();
        loop {
            match self.skip_newlines() {
                Token { kind: Kind::CloseBrace, span } => {
                    self.at += 1;
                    return Ok(span);
                }
                Token { kind: Kind::End, .. } => return Err(Stop::Unclosed(open)),
                _ if self.diagnostics.len() >= MAX_DIAGNOSTICS => return Err(Stop::Syntax),
                _ => self.item_or_skip(body, &mut seen)?,
            }
        }
    }

    /// `{ name = value }` on one line.
    fn single(&mut self, body: &mut Body, open: Span) -> Read<Span> {
        let want = "one argument, or a new line for more";
        let token = self.expect(Kind::Ident, want, Some(open))?;
        let name = self.name(token);
        if self.peek().kind != Kind::Equal {
            return Err(self.unexpected(&format!("\"=\": a block on one line has {want}"), Some(open)));
        }
        let attribute = self.attribute(name, body)?;
        body.attributes.push(attribute);
        let close = self.expect(Kind::CloseBrace, "\"}\": a block on one line has one argument", Some(open))?;
        Ok(close.span)
    }

    /// Goes behind the item that began at token `first` and in which an error was found before `self.at`.
    ///
    /// Its end is the first newline after the error outside of every bracket that the item opened, or the brace that
    /// closes the body around it.
    ///
    /// # Errors
    /// When the file ends inside of a bracket of the item; what is wrong has been said.
    fn skip_item(&mut self, first: usize) -> Read<()> {
        let failed = self.at;
        let mut open: Vec<Token> = Vec::new();
        let mut at = first;
        loop {
            let token = self.token(at);
            match token.kind {
                Kind::End => {
                    self.at = at;
                    return open.first().map_or(Ok(()), |t| Err(Stop::Unclosed(t.span)));
                }
                Kind::Newline if open.is_empty() && at >= failed => break,
                Kind::OpenBrace | Kind::OpenBracket | Kind::OpenParen => open.push(token),
                Kind::OpenQuote | Kind::OpenHeredoc | Kind::Interpolation | Kind::Directive => open.push(token),
                // A brace is stronger than what is open inside of it.
                Kind::CloseBrace => match open.iter().rposition(|t| t.kind == Kind::OpenBrace) {
                    Some(brace) => open.truncate(brace),
                    None if at >= failed => {
                        self.at = at;
                        return Ok(());
                    }
                    None => {}
                },
                Kind::CloseQuote | Kind::NewlineInQuotes => close(&mut open, &[Kind::OpenQuote]),
                Kind::CloseHeredoc => close(&mut open, &[Kind::OpenHeredoc]),
                Kind::EndSequence => close(&mut open, &[Kind::Interpolation, Kind::Directive]),
                // Only its like on top: a wrong one closes nothing, and a search would be quadratic.
                Kind::CloseBracket | Kind::CloseParen => {
                    let like = if token.kind == Kind::CloseParen { Kind::OpenParen } else { Kind::OpenBracket };
                    open.pop_if(|t| t.kind == like);
                }
                _ => {}
            }
            at += 1;
        }
        self.at = at;
        Ok(())
    }
}

fn close(open: &mut Vec<Token>, kinds: &[Kind]) {
    if let Some(at) = open.iter().rposition(|t| kinds.contains(&t.kind)) {
        open.truncate(at);
    }
}

/// Whether a line looks like an attribute or the head of a block.
fn begins_item(text: &[u8]) -> bool {
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let word = ident_len(line);
    let rest = line[word..].trim_ascii_start();
    let spaced = rest.len() < line.len() - word;
    word > 0
        && match rest {
            [b'=', next, ..] => !matches!(next, b'=' | b'>'),
            [b'{' | b'"', ..] | [b'='] => true,
            _ => spaced && ident_len(rest) > 0 && rest.contains(&b'{'),
        }
}
