//! Configuration in JSON: the same module in another form.
//!
//! Strings are templates, except where Terraform wants a name: types, `depends_on`, `provider`, `source` of a module.
//! `"//"` is a comment. Ranges are those of the JSON text; what stands inside of a string has the range of the string.

use std::sync::Arc;

use crate::ast::{Ast, Attribute, Block, Body, Comment, Entry, Expr, ExprId, Key, Literal, Name, Part, Span, Step};
use crate::diagnostic::Diagnostic;
use crate::parse::{parse_expression, parse_template};

/// Deeper JSON is not read.
const MAX_DEPTH: usize = 100;

/// A value with its range.
struct Node {
    span: Span,
    value: Json,
}

enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(Name, Node)>),
}

/// How a string is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strings {
    Template,
    /// As an expression, as in `depends_on`.
    Expression,
    Plain,
}

/// Reads a `.tf.json` file.
pub fn parse_json(text: &[u8]) -> (Ast, Vec<Diagnostic>) {
    let mut ast = Ast::default();
    let mut reader = Reader { text, at: if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }, depth: 0 };
    let root = match reader.document() {
        Ok(root) => root,
        Err(diagnostic) => return (ast, vec![diagnostic]),
    };
    let mut builder = Builder { ast: &mut ast, diagnostics: Vec::new() };
    let mut body = Body { span: root.span, ..Body::default() };
    match root.value {
        Json::Object(members) => builder.file(members, &mut body),
        _ => builder.wrong(root.span, "configuration in JSON is one object"),
    }
    let diagnostics = builder.diagnostics;
    ast.body = body;
    (ast, diagnostics)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

type Read<T> = Result<T, Diagnostic>;

impl Reader<'_> {
    fn span(&self, start: usize) -> Span {
        Span::new(start as u32, self.at as u32)
    }

    fn wrong<T>(&self, message: &str) -> Read<T> {
        let end = (self.at + 1).min(self.text.len());
        Err(Diagnostic::syntax(Span::new(self.at.min(end) as u32, end as u32), message))
    }

    fn document(&mut self) -> Read<Node> {
        let root = self.value()?;
        self.space();
        if self.at < self.text.len() { self.wrong("found more text after the object") } else { Ok(root) }
    }

    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Read<Node> {
        self.space();
        let start = self.at;
        let value = match self.text.get(self.at) {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::list)?,
            Some(b'"') => Json::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Json::Bool(true))?,
            Some(b'f') => self.word("false", Json::Bool(false))?,
            Some(b'n') => self.word("null", Json::Null)?,
            Some(_) => return self.wrong("want a JSON value here"),
            None => return self.wrong("the text ends where a JSON value is wanted"),
        };
        Ok(Node { span: self.span(start), value })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Read<Json>) -> Read<Json> {
        if self.depth >= MAX_DEPTH {
            let why = format!("JSON is nested more than {MAX_DEPTH} levels deep");
            return Err(Diagnostic::limit(self.span(self.at), &why));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self, word: &str, value: Json) -> Read<Json> {
        if self.text[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        self.wrong("want a JSON value here")
    }

    fn number(&mut self) -> Read<Json> {
        let rest = &self.text[self.at..];
        let len = rest
            .iter()
            .position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        match std::str::from_utf8(&rest[..len]).ok().filter(|t| serde_json::from_str::<serde_json::Number>(t).is_ok()) {
            Some(text) => {
                self.at += len;
                Ok(Json::Number(text.to_owned()))
            }
            None => self.wrong("this is no JSON number"),
        }
    }

    fn string(&mut self) -> Read<String> {
        let rest = &self.text[self.at..];
        let mut len = 1;
        while let Some(byte) = rest.get(len) {
            match byte {
                b'"' => break,
                b'\\' => len += 2,
                _ => len += 1,
            }
        }
        match rest.get(..=len).and_then(|raw| serde_json::from_slice(raw).ok()) {
            Some(text) => {
                self.at += len + 1;
                Ok(text)
            }
            None => self.wrong("this string is not closed, or has a wrong escape or byte in it"),
        }
    }

    fn list(&mut self) -> Read<Json> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.space();
            match self.text.get(self.at) {
                Some(b']') if items.is_empty() => break,
                _ => items.push(self.value()?),
            }
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.wrong("want \",\" or \"]\" after an element"),
            }
        }
        self.at += 1;
        Ok(Json::List(items))
    }

    fn object(&mut self) -> Read<Json> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.space();
            match self.text.get(self.at) {
                Some(b'}') if members.is_empty() => break,
                Some(b'"') => {
                    let start = self.at;
                    let text: Arc<str> = self.string()?.into();
                    let name = Name { text, span: self.span(start) };
                    self.space();
                    if self.text.get(self.at) != Some(&b':') {
                        return self.wrong("want \":\" after a name");
                    }
                    self.at += 1;
                    members.push((name, self.value()?));
                }
                _ => return self.wrong("want a name in quotes, or \"}\""),
            }
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.wrong("want \",\" or \"}\" after a value"),
            }
        }
        self.at += 1;
        Ok(Json::Object(members))
    }
}

/// Names of the blocks at the top, and how many labels each has.
const BLOCKS: &[(&str, usize)] = &[
    ("resource", 2),
    ("data", 2),
    ("ephemeral", 2),
    ("variable", 1),
    ("output", 1),
    ("module", 1),
    ("provider", 1),
    ("check", 1),
    ("locals", 0),
    ("terraform", 0),
    ("moved", 0),
    ("import", 0),
    ("removed", 0),
];

/// Blocks inside of blocks; everything else is an argument.
fn is_block(parent: &str, name: &str) -> Option<usize> {
    match (parent, name) {
        (_, "lifecycle" | "connection" | "precondition" | "postcondition" | "validation" | "content" | "assert") => {
            Some(0)
        }
        (_, "provisioner" | "dynamic") | ("terraform", "backend") => Some(1),
        ("check", "data") => Some(2),
        ("terraform", "required_providers" | "cloud") => Some(0),
        _ => None,
    }
}

struct Builder<'a> {
    ast: &'a mut Ast,
    diagnostics: Vec<Diagnostic>,
}

impl Builder<'_> {
    fn wrong(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::syntax(span, message));
    }

    fn file(&mut self, members: Vec<(Name, Node)>, body: &mut Body) {
        for (name, node) in members {
            match BLOCKS.iter().find(|(known, _)| *known == &*name.text) {
                Some((_, labels)) => self.blocks(&name, Vec::new(), *labels, node, body),
                None if &*name.text == "//" => self.ast.comments.push(Comment { span: node.span }),
                None => self.wrong(name.span, format!("there is no block {:?} at the top", name.text)),
            }
        }
    }

    /// `{"label": {"label": {…}}}`, where any level may be a list of such.
    fn blocks(&mut self, kind: &Name, labels: Vec<Name>, missing: usize, node: Node, out: &mut Body) {
        match node.value {
            Json::List(items) => {
                for item in items {
                    self.blocks(kind, labels.clone(), missing, item, out);
                }
            }
            Json::Object(members) if missing > 0 => {
                for (label, node) in members.into_iter().filter(|(name, _)| &*name.text != "//") {
                    let labels = labels.iter().cloned().chain([label]).collect();
                    self.blocks(kind, labels, missing - 1, node, out);
                }
            }
            Json::Object(members) => {
                let mut body = Body { span: node.span, ..Body::default() };
                self.members(&kind.text, members, &mut body);
                let header = labels.last().map_or(kind.span, |label| label.span);
                let span = header.to(node.span);
                out.blocks.push(Block { kind: kind.clone(), labels, body, span, header });
            }
            Json::Null => {}
            _ => self.wrong(node.span, format!("want an object for the block {:?}", kind.text)),
        }
    }

    fn members(&mut self, kind: &str, members: Vec<(Name, Node)>, body: &mut Body) {
        for (name, node) in members {
            if &*name.text == "//" {
                self.ast.comments.push(Comment { span: node.span });
            } else if let Some(labels) = is_block(kind, &name.text) {
                self.blocks(&name, Vec::new(), labels, node, body);
            } else if body.attribute(&name.text).is_some() {
                self.wrong(name.span, format!("{:?} is set twice", name.text));
            } else {
                let span = name.span.to(node.span);
                let value = self.expression(&node, strings_of(kind, &name.text));
                body.attributes.push(Attribute { name, value, span });
            }
        }
    }

    fn expression(&mut self, node: &Node, strings: Strings) -> ExprId {
        let literal = match &node.value {
            Json::Null => Literal::Null,
            Json::Bool(b) => Literal::Bool(*b),
            Json::Number(text) => match text.strip_prefix('-') {
                Some(digits) => {
                    let operand = self.ast.push(Expr::Literal(Literal::Number(digits.into())), node.span);
                    return self.ast.push(Expr::Unary { op: crate::ast::UnaryOp::Negate, operand }, node.span);
                }
                None => Literal::Number(text.as_str().into()),
            },
            Json::Text(text) => return self.text(text, node.span, strings),
            Json::List(items) => {
                let items = items.iter().map(|item| self.expression(item, strings)).collect();
                return self.ast.push(Expr::List(items), node.span);
            }
            Json::Object(members) => {
                let mut entries = Vec::new();
                for (name, value) in members {
                    let key = Key::Expr(self.text(&name.text, name.span, strings));
                    let value = self.expression(value, strings);
                    entries.push(Entry { key, value, span: name.span.to(self.ast.span(value)) });
                }
                return self.ast.push(Expr::Object(entries), node.span);
            }
        };
        self.ast.push(Expr::Literal(literal), node.span)
    }

    /// A string, which is read on its own and copied into this tree.
    fn text(&mut self, text: &str, span: Span, strings: Strings) -> ExprId {
        let is_plain = strings == Strings::Plain || strings == Strings::Template && !text.contains(['$', '%']);
        if is_plain {
            return self.ast.push(Expr::Literal(Literal::String(text.into())), span);
        }
        let read = if strings == Strings::Template { parse_template } else { parse_expression };
        let (other, id, diagnostics) = read(text.as_bytes());
        for diagnostic in diagnostics {
            self.diagnostics.push(Diagnostic { span, related: None, ..diagnostic });
        }
        match id {
            Some(id) => self.ast.graft(&other, id, span),
            None => self.ast.push(Expr::NotAnalysed(crate::ast::NotAnalysed::Syntax), span),
        }
    }
}

/// How the strings of an argument are read.
fn strings_of(block: &str, name: &str) -> Strings {
    match (block, name) {
        ("variable", "type")
        | (_, "depends_on" | "provider" | "providers" | "ignore_changes" | "replace_triggered_by") => {
            Strings::Expression
        }
        ("moved" | "removed", "from") | ("moved" | "import", "to") => Strings::Expression,
        ("module", "source" | "version") | ("terraform" | "required_providers", _) => Strings::Plain,
        ("variable", "default") => Strings::Plain,
        _ => Strings::Template,
    }
}

impl Ast {
    /// Copies an expression of another tree, everything in it at one range.
    fn graft(&mut self, other: &Self, id: ExprId, span: Span) -> ExprId {
        let mut expr = other.expr(id).clone();
        relocate(&mut expr, span, &mut |child| self.graft(other, child, span));
        self.push(expr, span)
    }
}

fn relocate(expr: &mut Expr, at: Span, copy: &mut dyn FnMut(ExprId) -> ExprId) {
    match expr {
        Expr::Literal(_) | Expr::SplatItem | Expr::NotAnalysed(_) => {}
        Expr::Variable(name) => name.span = at,
        // It stays one without quotes of its own: in JSON there is no other form of an expression alone.
        Expr::Template(template) => {
            template.parts.iter_mut().for_each(|part| relocate_part(part, at, copy));
        }
        Expr::Traversal { source, steps } => {
            *source = copy(*source);
            for step in steps {
                match step {
                    Step::Attr(name) => name.span = at,
                    Step::Index { key, span } => (*key, *span) = (copy(*key), at),
                    Step::LegacyIndex { span, .. } => *span = at,
                }
            }
        }
        Expr::Splat { source, each, .. } => (*source, *each) = (copy(*source), copy(*each)),
        Expr::Call { name, args, .. } => {
            name.span = at;
            for id in args {
                *id = copy(*id);
            }
        }
        Expr::List(items) => items.iter_mut().for_each(|id| *id = copy(*id)),
        Expr::Unary { operand: one, .. } | Expr::Parentheses(one) => *one = copy(*one),
        Expr::Binary { left, right, .. } => (*left, *right) = (copy(*left), copy(*right)),
        Expr::Conditional { condition, yes, no } => {
            (*condition, *yes, *no) = (copy(*condition), copy(*yes), copy(*no));
        }
        Expr::For(it) => {
            it.key_name.iter_mut().for_each(|n| n.span = at);
            it.value_name.span = at;
            it.collection = copy(it.collection);
            it.key = it.key.map(&mut *copy);
            it.value = copy(it.value);
            it.condition = it.condition.map(&mut *copy);
        }
        Expr::Object(entries) => {
            for entry in entries {
                entry.span = at;
                match &mut entry.key {
                    Key::Name(name) => name.span = at,
                    Key::Expr(id) => *id = copy(*id),
                }
                entry.value = copy(entry.value);
            }
        }
    }
}

fn relocate_part(part: &mut Part, at: Span, copy: &mut dyn FnMut(ExprId) -> ExprId) {
    match part {
        Part::Literal(_, span) => *span = at,
        Part::Interpolation(id) => *id = copy(*id),
        Part::If { condition, yes, no, span } => {
            (*condition, *span) = (copy(*condition), at);
            yes.iter_mut().chain(no).for_each(|p| relocate_part(p, at, copy));
        }
        Part::For { key, value, collection, body, span } => {
            if let Some(key) = key {
                key.span = at;
            }
            value.span = at;
            (*collection, *span) = (copy(*collection), at);
            for part in body {
                relocate_part(part, at, copy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_module_comes_out_of_json() {
        let text = br#"{
          "//": "a comment",
          "variable": { "n": { "type": "list(string)", "default": ["$x"] } },
          "resource": { "sampan_namespace": { "a": { "name": "${var.n[0]}-x", "labels": { "k": "v" },
            "lifecycle": { "prevent_destroy": true }, "depends_on": ["sampan_namespace.b"], "count": -1 } } },
          "output": [ { "o": { "value": "${var.n}" } } ]
        }"#;
        let (ast, diagnostics) = parse_json(text);
        assert_eq!(diagnostics, []);
        let kinds: Vec<_> = ast.body.blocks.iter().map(|b| (&*b.kind.text, b.labels.len())).collect();
        assert_eq!(kinds, [("variable", 1), ("resource", 2), ("output", 1)]);
        let resource = &ast.body.blocks[1].body;
        assert_eq!(resource.blocks_of("lifecycle").count(), 1);
        let name = resource.attribute("name").unwrap();
        assert!(matches!(ast.expr(name.value), Expr::Template(t) if t.parts.len() == 2));
        assert_eq!(name.span.of(text), b"\"name\": \"${var.n[0]}-x\"");
        let Expr::List(items) = ast.expr(resource.attribute("depends_on").unwrap().value) else { panic!("no list") };
        assert_eq!(&*ast.path(items[0]).unwrap().root.text, "sampan_namespace");
        let output = ast.body.blocks[2].body.attribute("value").unwrap();
        assert!(matches!(ast.expr(output.value), Expr::Template(t) if t.is_wrapper()));
    }

    #[test]
    fn wrong_json_is_said_with_its_place_and_deep_json_is_a_limit() {
        for text in [
            "",
            "[",
            "{\"a\" 1}",
            "{\"locals\": {\"a\": 01x}}",
            "[]",
            "{\"x\": {}}",
            "{\"locals\": {\"a\": \"${\"}}",
            "{}x",
            "{\"locals\": {\"a\": tru",
        ] {
            let (_, diagnostics) = parse_json(text.as_bytes());
            assert_eq!(diagnostics.len(), 1, "{text}");
            assert!(diagnostics[0].span.end as usize <= text.len().max(1), "{text}");
        }
        let (_, diagnostics) = parse_json("[".repeat(100_000).as_bytes());
        assert_eq!(diagnostics[0].reason, crate::diagnostic::Reason::Limit);
    }
}
