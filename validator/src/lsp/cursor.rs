//! What stands at a byte of a file.

use crate::ast::{Ast, Attribute, Block, Body, Expr, ExprId, Key, Part, Span, Step};
use crate::view::Segment;

/// The way from the file to a byte of it.
#[derive(Debug, Default)]
pub struct Cursor<'a> {
    /// Blocks around it, outermost first.
    pub blocks: Vec<&'a Block>,
    /// It is in the head of the last of the blocks.
    pub in_header: bool,
    /// The argument it is in, and from there on members and elements: `container`, `env`, `A`. The last one may be what
    /// is named just here.
    pub path: Vec<Segment>,
    /// The argument or member whose name it is in: the place of the name, and the value.
    pub named: Option<(Span, ExprId)>,
    /// The names beside it in the same body or object.
    pub beside: Vec<&'a str>,
    /// The innermost expression.
    pub expr: Option<ExprId>,
}

impl<'a> Cursor<'a> {
    pub fn new(ast: &'a Ast, byte: u32) -> Self {
        let mut cursor = Self::default();
        let mut body = &ast.body;
        while let Some(block) = body.blocks.iter().find(|block| has(block.span, byte)) {
            cursor.blocks.push(block);
            if byte <= block.header.end {
                cursor.in_header = true;
                return cursor;
            }
            body = &block.body;
        }
        cursor.item(ast, body, byte);
        cursor
    }

    /// Type and name, where it is in a block of that kind: `resource`, `data`.
    pub fn labels(&self, kind: &str) -> Option<(&'a str, &'a str)> {
        let block = self.blocks.first().filter(|block| &*block.kind.text == kind)?;
        Some((block.label(0)?, block.label(1).unwrap_or_default()))
    }

    /// The kind of the outermost block.
    pub fn kind(&self) -> Option<&'a str> {
        self.blocks.first().map(|block| &*block.kind.text)
    }

    fn item(&mut self, ast: &'a Ast, body: &'a Body, byte: u32) {
        self.beside = body.attributes.iter().map(|a| &*a.name.text).collect();
        let Some(attribute) = body.attributes.iter().find(|a| has(a.span, byte)) else { return };
        let Attribute { name, value, .. } = attribute;
        self.path.push(Segment::Name(name.text.to_string()));
        if has(name.span, byte) {
            self.named = Some((name.span, *value));
        } else {
            self.value(ast, *value, byte);
        }
    }

    /// Goes down into a value. Iterative, as a file may be deep.
    fn value(&mut self, ast: &'a Ast, mut id: ExprId, byte: u32) {
        loop {
            self.expr = Some(id);
            let inside = |child: &ExprId| has(ast.span(*child), byte);
            let next = match ast.expr(id) {
                Expr::Object(entries) => {
                    self.beside = entries.iter().filter_map(|entry| key_text(ast, &entry.key)).collect();
                    let Some(entry) = entries.iter().find(|entry| has(entry.span, byte)) else { return };
                    let key = match &entry.key {
                        Key::Name(name) => name.span,
                        Key::Expr(id) => ast.span(*id),
                    };
                    self.path.push(Segment::Name(key_text(ast, &entry.key).unwrap_or_default().to_owned()));
                    match &entry.key {
                        Key::Expr(inner) if has(key, byte) && ast.string(*inner).is_none() => Some(*inner),
                        _ if has(key, byte) => {
                            self.named = Some((key, entry.value));
                            return;
                        }
                        _ => Some(entry.value),
                    }
                }
                Expr::List(items) => {
                    let at = items.iter().position(inside);
                    self.path.extend(at.map(Segment::Index));
                    at.map(|at| items[at])
                }
                // Only what is in brackets is an expression of its own.
                Expr::Traversal { source, steps } => {
                    let in_step = steps.iter().find_map(|step| match step {
                        Step::Index { key, .. } => Some(*key).filter(|key| inside(key)),
                        _ => None,
                    });
                    let is_path = matches!(ast.expr(*source), Expr::Variable(_));
                    in_step.or_else(|| Some(*source).filter(|source| !is_path && inside(source)))
                }
                Expr::Template(template) => {
                    let mut found = None;
                    template.parts.iter().for_each(|part: &Part| {
                        part.children(&mut |child| found = found.or(Some(child).filter(|c| inside(c))));
                    });
                    found
                }
                other => {
                    let mut found = None;
                    other.children(&mut |child| found = found.or(Some(child).filter(|c| inside(c))));
                    found
                }
            };
            match next {
                Some(next) => id = next,
                None => return,
            }
        }
    }
}

/// The end counts: that is where somebody types.
fn has(span: Span, byte: u32) -> bool {
    span.start <= byte && byte <= span.end
}

fn key_text<'a>(ast: &'a Ast, key: &'a Key) -> Option<&'a str> {
    match key {
        Key::Name(name) => Some(&name.text),
        Key::Expr(id) => ast.string(*id),
    }
}

/// Whether a character can be in a name.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    const TEXT: &str = "resource \"a\" \"b\" {\n  container = { env = { \"A\" = var.x[local.y] }, p = [1, { q = 2 }] }\n  n {\n    m = \"${z}\"\n  }\n}\n";

    /// Path, whether at a name, and the text of the expression.
    fn at(word: &str) -> (String, bool, String) {
        let (ast, _) = parse(TEXT.as_bytes());
        let cursor = Cursor::new(&ast, TEXT.find(word).unwrap() as u32 + 1);
        let step = |segment: &Segment| match segment {
            Segment::Name(name) => name.clone(),
            Segment::Index(index) => index.to_string(),
        };
        let path: Vec<String> = cursor.path.iter().map(step).collect();
        let text = cursor.expr.map(|id| String::from_utf8_lossy(ast.span(id).of(TEXT.as_bytes())).into_owned());
        (path.join("."), cursor.named.is_some(), text.filter(|_| cursor.named.is_none()).unwrap_or_default())
    }

    #[test]
    fn a_byte_leads_to_the_argument_and_the_expression_around_it() {
        assert_eq!(at("container"), ("container".into(), true, String::new()));
        assert_eq!(at("\"A\""), ("container.env.A".into(), true, String::new()));
        assert_eq!(at("var.x"), ("container.env.A".into(), false, "var.x[local.y]".into()));
        assert_eq!(at("local.y"), ("container.env.A".into(), false, "local.y".into()));
        assert_eq!(at("q ="), ("container.p.1.q".into(), true, String::new()));
        assert_eq!(at("z}"), ("m".into(), false, "z".into()));
        let (ast, _) = parse(TEXT.as_bytes());
        let header = Cursor::new(&ast, 12);
        assert!(header.in_header && header.labels("resource") == Some(("a", "b")) && header.labels("data").is_none());
        let cursor = Cursor::new(&ast, TEXT.find("q =").unwrap() as u32);
        assert_eq!(cursor.beside, ["q"]);
        assert_eq!(Cursor::new(&ast, TEXT.len() as u32).kind(), None);
    }
}
