//! Expressions.

use super::lex::{Kind, Token};
use super::{Parser, Read};
use crate::ast::{BinaryOp, Entry, Expr, ExprId, For, Key, Literal, Name, Span, Splat, Step, UnaryOp};

/// The operator of a token and how strongly it binds.
fn operator(kind: Kind) -> Option<(BinaryOp, u8)> {
    Some(match kind {
        Kind::Or => (BinaryOp::Or, 1),
        Kind::And => (BinaryOp::And, 2),
        Kind::EqualEqual => (BinaryOp::Equal, 3),
        Kind::NotEqual => (BinaryOp::NotEqual, 3),
        Kind::Less => (BinaryOp::Less, 4),
        Kind::LessEqual => (BinaryOp::LessEqual, 4),
        Kind::Greater => (BinaryOp::Greater, 4),
        Kind::GreaterEqual => (BinaryOp::GreaterEqual, 4),
        Kind::Plus => (BinaryOp::Add, 5),
        Kind::Minus => (BinaryOp::Subtract, 5),
        Kind::Star => (BinaryOp::Multiply, 6),
        Kind::Slash => (BinaryOp::Divide, 6),
        Kind::Percent => (BinaryOp::Modulo, 6),
        _ => return None,
    })
}

/// Digits, perhaps a point, perhaps an exponent.
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    !whole.is_empty() && digits(whole) && digits(fraction) && !exponent.is_empty() && digits(exponent)
}

/// What a `for` says before its values.
pub(super) struct ForIntro {
    pub(super) key: Option<Name>,
    pub(super) value: Name,
    pub(super) collection: ExprId,
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Read<ExprId> {
        self.deeper(Self::conditional)
    }

    fn conditional(&mut self) -> Read<ExprId> {
        let condition = self.binary(1)?;
        if self.read_if(Kind::Question).is_none() {
            return Ok(condition);
        }
        let yes = self.expression()?;
        self.expect(Kind::Colon, "\":\" and the value for false", None)?;
        let no = self.expression()?;
        let span = self.ast.span(condition).to(self.ast.span(no));
        Ok(self.ast.push(Expr::Conditional { condition, yes, no }, span))
    }

    /// Operators of at least this strength; equal ones group to the left.
    fn binary(&mut self, least: u8) -> Read<ExprId> {
        let mut left = self.operand()?;
        while let Some((op, strength)) = operator(self.peek().kind) {
            if strength < least {
                break;
            }
            self.read();
            let right = self.binary(strength + 1)?;
            let span = self.ast.span(left).to(self.ast.span(right));
            left = self.ast.push(Expr::Binary { op, left, right }, span);
        }
        Ok(left)
    }

    /// Signs before a term; they bind weaker than what is taken from it.
    fn operand(&mut self) -> Read<ExprId> {
        let mut signs = Vec::new();
        loop {
            let token = self.peek();
            match token.kind {
                Kind::Minus => signs.push((UnaryOp::Negate, token.span)),
                Kind::Bang => signs.push((UnaryOp::Not, token.span)),
                _ => break,
            }
            self.read();
        }
        let term = self.term()?;
        let mut operand = self.steps(term)?;
        for (op, sign) in signs.into_iter().rev() {
            let span = sign.to(self.ast.span(operand));
            operand = self.ast.push(Expr::Unary { op, operand }, span);
        }
        Ok(operand)
    }

    fn term(&mut self) -> Read<ExprId> {
        let token = self.peek();
        match token.kind {
            Kind::Ident => self.word(),
            Kind::OpenQuote | Kind::OpenHeredoc => self.template(),
            Kind::Number => self.number(),
            Kind::OpenParen => self.parentheses(),
            Kind::OpenBracket => self.list(),
            Kind::OpenBrace => self.object(),
            _ => Err(self.unexpected("an expression", None)),
        }
    }

    fn number(&mut self) -> Read<ExprId> {
        let token = self.read();
        let text = self.slice(token.span);
        if !is_number(text) {
            return Err(self.wrong(token.span, format!("{text} is no number; text goes in quotes")));
        }
        let text = self.intern(text);
        Ok(self.ast.push(Expr::Literal(Literal::Number(text)), token.span))
    }

    fn word(&mut self) -> Read<ExprId> {
        let token = self.read();
        if matches!(self.peek().kind, Kind::OpenParen | Kind::DoubleColon) {
            return self.call(token);
        }
        let expr = match self.slice(token.span) {
            "true" => Expr::Literal(Literal::Bool(true)),
            "false" => Expr::Literal(Literal::Bool(false)),
            "null" => Expr::Literal(Literal::Null),
            _ => Expr::Variable(self.name(token)),
        };
        Ok(self.ast.push(expr, token.span))
    }

    fn parentheses(&mut self) -> Read<ExprId> {
        let open = self.read();
        let (inner, close) = self.within(false, |p| {
            let inner = p.expression()?;
            Ok((inner, p.expect(Kind::CloseParen, "an operator or \")\"", Some(open.span))?))
        })?;
        Ok(self.ast.push(Expr::Parentheses(inner), open.span.to(close.span)))
    }

    /// `name(…)`, where the name may be `a::b::c`.
    fn call(&mut self, first: Token) -> Read<ExprId> {
        let mut last = first;
        while self.read_if(Kind::DoubleColon).is_some() {
            last = self.expect(Kind::Ident, "the name of a function after \"::\"", None)?;
        }
        let span = first.span.to(last.span);
        // Spaces may stand around the colons, and are not part of the name.
        let text: String = self.slice(span).split_whitespace().collect();
        let name = Name { text: self.intern(&text), span };
        let open = self.expect(Kind::OpenParen, "\"(\" after the name of a function", None)?;
        let (args, expand, close) = self.within(false, |p| p.arguments(open.span))?;
        Ok(self.ast.push(Expr::Call { name, args, expand }, first.span.to(close)))
    }

    fn arguments(&mut self, open: Span) -> Read<(Vec<ExprId>, bool, Span)> {
        let mut args = Vec::new();
        loop {
            if let Some(close) = self.read_if(Kind::CloseParen) {
                return Ok((args, false, close.span));
            }
            args.push(self.expression()?);
            if self.read_if(Kind::Ellipsis).is_some() {
                let close = self.expect(Kind::CloseParen, "\")\" after \"...\"", Some(open))?;
                return Ok((args, true, close.span));
            }
            if self.peek().kind != Kind::CloseParen {
                self.expect(Kind::Comma, "\",\" or \")\" after an argument", Some(open))?;
            }
        }
    }

    fn list(&mut self) -> Read<ExprId> {
        let open = self.read().span;
        self.within(false, |p| {
            if p.is_word("for") {
                return p.for_expression(open, Kind::CloseBracket);
            }
            let mut items = Vec::new();
            loop {
                if let Some(close) = p.read_if(Kind::CloseBracket) {
                    return Ok(p.ast.push(Expr::List(items), open.to(close.span)));
                }
                items.push(p.expression()?);
                if p.peek().kind != Kind::CloseBracket {
                    p.expect(Kind::Comma, "\",\" or \"]\" after an element", Some(open))?;
                }
            }
        })
    }

    /// Whether the next word is `for`, with any newlines before it. Reads nothing.
    fn is_for(&self) -> bool {
        let next = self.tokens.iter().skip(self.at).find(|t| t.kind != Kind::Newline);
        next.is_some_and(|t| t.kind == Kind::Ident && self.slice(t.span) == "for")
    }

    fn object(&mut self) -> Read<ExprId> {
        let open = self.read().span;
        if self.is_for() {
            return self.within(false, |p| p.for_expression(open, Kind::CloseBrace));
        }
        self.within(true, |p| {
            let mut entries = Vec::new();
            loop {
                if p.read_if(Kind::Newline).is_some() {
                    continue;
                }
                if let Some(close) = p.read_if(Kind::CloseBrace) {
                    return Ok(p.ast.push(Expr::Object(entries), open.to(close.span)));
                }
                entries.push(p.entry(open)?);
                if p.peek().kind != Kind::CloseBrace && p.read_if(Kind::Comma).is_none() {
                    p.expect(Kind::Newline, "\",\", a new line or \"}\" after a value", Some(open))?;
                }
            }
        })
    }

    fn entry(&mut self, open: Span) -> Read<Entry> {
        if self.peek().kind == Kind::End {
            return Err(self.unexpected("a key", Some(open)));
        }
        let (at, token) = (self.at, self.peek());
        let key = self.expression()?;
        let bare = token.kind == Kind::Ident && self.at == at + 1;
        if self.read_if(Kind::Equal).is_none() && self.read_if(Kind::Colon).is_none() {
            return Err(self.unexpected("\"=\" or \":\" after a key", Some(open)));
        }
        let value = self.expression()?;
        let key = if bare { Key::Name(self.name(token)) } else { Key::Expr(key) };
        Ok(Entry { key, value, span: token.span.to(self.ast.span(value)) })
    }

    /// `k, v in collection` after `for`.
    pub(super) fn for_intro(&mut self) -> Read<ForIntro> {
        let want = "the name of a variable after \"for\"";
        let first = self.expect(Kind::Ident, want, None)?;
        let second = match self.read_if(Kind::Comma) {
            Some(_) => Some(self.expect(Kind::Ident, want, None)?),
            None => None,
        };
        if !self.is_word("in") {
            return Err(self.unexpected("\"in\" after the variables of \"for\"", None));
        }
        self.read();
        let collection = self.expression()?;
        let (key, value) = second.map_or((None, first), |second| (Some(first), second));
        Ok(ForIntro { key: key.map(|k| self.name(k)), value: self.name(value), collection })
    }

    fn for_expression(&mut self, open: Span, closer: Kind) -> Read<ExprId> {
        let word = self.read().span;
        let intro = self.for_intro()?;
        self.expect(Kind::Colon, "\":\" after the collection of \"for\"", Some(open))?;
        let (mut key, mut value) = (None, self.expression()?);
        if self.read_if(Kind::Arrow).is_some() {
            key = Some(value);
            value = self.expression()?;
        }
        let ellipsis = self.read_if(Kind::Ellipsis);
        let condition = if self.is_word("if") {
            self.read();
            Some(self.expression()?)
        } else {
            None
        };
        let is_object = closer == Kind::CloseBrace;
        let want =
            if is_object { "\"if\" or \"}\" at the end of \"for\"" } else { "\"if\" or \"]\" at the end of \"for\"" };
        let close = self.expect(closer, want, Some(open))?;
        if is_object && key.is_none() {
            return Err(self.wrong(word, "\"for\" in braces makes an object: write key => value"));
        }
        if let (false, Some(key)) = (is_object, key) {
            return Err(self.wrong(self.ast.span(key), "\"for\" in brackets makes a list, which has no keys"));
        }
        if let (false, Some(ellipsis)) = (is_object, ellipsis) {
            return Err(self.wrong(ellipsis.span, "\"...\" groups by key, and a list has no keys"));
        }
        let ForIntro { key: key_name, value: value_name, collection } = intro;
        let group = ellipsis.is_some();
        let it = For { key_name, value_name, collection, key, value, group, condition };
        Ok(self.ast.push(Expr::For(Box::new(it)), open.to(close.span)))
    }

    /// Everything that is taken from `source`: `.a`, `[0]`, `.0`, `[*]`, `.*`.
    fn steps(&mut self, source: ExprId) -> Read<ExprId> {
        let (mut source, mut steps) = (source, Vec::new());
        loop {
            match self.peek().kind {
                Kind::Dot => {
                    self.read();
                    if let Some(star) = self.read_if(Kind::Star) {
                        source = self.attr_splat(source, &mut steps, star.span)?;
                    } else {
                        steps.push(self.dotted("the name of an attribute after \".\"")?);
                    }
                }
                Kind::OpenBracket => {
                    let open = self.read().span;
                    if self.read_if(Kind::Star).is_some() {
                        let close = self.expect(Kind::CloseBracket, "\"]\" after \"[*\"", Some(open))?;
                        source = self.traversal(source, &mut steps);
                        let item = self.ast.push(Expr::SplatItem, open.to(close.span));
                        // All that follows is taken from each element.
                        let each = self.deeper(|p| p.steps(item))?;
                        return Ok(self.splat(source, each, Splat::Full));
                    }
                    steps.push(self.index(open)?);
                }
                _ => return Ok(self.traversal(source, &mut steps)),
            }
        }
    }

    fn index(&mut self, open: Span) -> Read<Step> {
        self.within(false, |p| {
            let key = p.expression()?;
            let close = p.expect(Kind::CloseBracket, "\"]\" after an index", Some(open))?;
            Ok(Step::Index { key, span: open.to(close.span) })
        })
    }

    /// `name` or `0` after a point.
    fn dotted(&mut self, want: &str) -> Read<Step> {
        let token = self.peek();
        match token.kind {
            Kind::Ident => {
                self.read();
                Ok(Step::Attr(self.name(token)))
            }
            Kind::Number => {
                self.read();
                let text = self.slice(token.span);
                if !text.bytes().all(|b| b.is_ascii_digit()) {
                    let message = format!("\".{text}\" is no index: write each one in brackets, such as [0][1]");
                    return Err(self.wrong(token.span, message));
                }
                Ok(Step::LegacyIndex { index: self.intern(text), span: token.span })
            }
            _ => Err(self.unexpected(want, None)),
        }
    }

    /// `.*` and the points after it; a bracket after them belongs to the whole.
    fn attr_splat(&mut self, source: ExprId, steps: &mut Vec<Step>, star: Span) -> Read<ExprId> {
        let source = self.traversal(source, steps);
        let item = self.ast.push(Expr::SplatItem, star);
        let mut each = Vec::new();
        while self.read_if(Kind::Dot).is_some() {
            each.push(self.dotted("the name of an attribute after \".\"; one \"*\" is all there can be")?);
        }
        let each = self.traversal(item, &mut each);
        Ok(self.splat(source, each, Splat::Attr))
    }

    fn splat(&mut self, source: ExprId, each: ExprId, form: Splat) -> ExprId {
        let span = self.ast.span(source).to(self.ast.span(each));
        self.ast.push(Expr::Splat { source, each, form }, span)
    }

    /// What was collected so far, as one expression.
    fn traversal(&mut self, source: ExprId, steps: &mut Vec<Step>) -> ExprId {
        let steps = std::mem::take(steps);
        let Some(last) = steps.last() else { return source };
        let end = match last {
            Step::Attr(name) => name.span,
            Step::Index { span, .. } | Step::LegacyIndex { span, .. } => *span,
        };
        let span = self.ast.span(source).to(end);
        self.ast.push(Expr::Traversal { source, steps }, span)
    }
}
