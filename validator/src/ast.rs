//! The tree of one file. Every node has the range of bytes that it was read from.
//!
//! Expressions live in an arena and refer to each other by [`ExprId`], so a tree of any depth is dropped without
//! recursion. No expression is higher than [`MAX_HEIGHT`]: what is deeper has become [`Expr::NotAnalysed`]. Code that
//! walks a tree may therefore recurse.
//!
//! Terraform's own forms are kept apart where they mean different things: see [`Key`], [`Expr::Splat`],
//! [`Template::is_wrapper`].

use std::sync::Arc;

/// The greatest height of an expression, and the greatest depth of nested blocks.
pub const MAX_HEIGHT: u16 = 256;

/// A range of bytes, `start..end`, in the file that the tree was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(start: u32, end: u32) -> Self {
        Self { start, end: end.max(start) }
    }
    /// From the start of this to the end of `last`.
    pub fn to(self, last: Self) -> Self {
        Self::new(self.start, last.end)
    }
    /// Whether `other` lies inside.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
    /// The bytes of it; empty when it does not lie in `text`.
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// An identifier, or the text of a name, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub text: Arc<str>,
    pub span: Span,
}

/// An expression of an [`Ast`]. Meaningless in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExprId(pub(crate) u32);

/// One file.
#[derive(Debug, Clone, Default)]
pub struct Ast {
    nodes: Vec<Node>,
    /// The first expression since the last look that was too high.
    too_deep: Option<Span>,
    pub body: Body,
    /// In order of the file. Comments inside of expressions are here as well.
    pub comments: Vec<Comment>,
}

#[derive(Debug, Clone)]
struct Node {
    expr: Expr,
    span: Span,
    height: u16,
}

impl Ast {
    /// Adds an expression whose parts are in the arena already. Too high a tree becomes [`Expr::NotAnalysed`].
    pub fn push(&mut self, expr: Expr, span: Span) -> ExprId {
        let mut below = 0;
        expr.children(&mut |child| below = below.max(self.height(child)));
        let node = if below >= MAX_HEIGHT {
            self.too_deep.get_or_insert(span);
            Node { expr: Expr::NotAnalysed(NotAnalysed::TooDeep), span, height: 1 }
        } else {
            Node { expr, span, height: below + 1 }
        };
        let id = ExprId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
    }
    /// Where an expression became too high since this was last asked.
    pub(crate) fn take_too_deep(&mut self) -> Option<Span> {
        self.too_deep.take()
    }
    /// The expression itself.
    pub fn expr(&self, id: ExprId) -> &Expr {
        self.nodes.get(id.0 as usize).map_or(&Expr::NotAnalysed(NotAnalysed::Syntax), |n| &n.expr)
    }
    /// Where it stands.
    pub fn span(&self, id: ExprId) -> Span {
        self.nodes.get(id.0 as usize).map(|n| n.span).unwrap_or_default()
    }
    /// 1 for a leaf; at most [`MAX_HEIGHT`].
    pub fn height(&self, id: ExprId) -> u16 {
        self.nodes.get(id.0 as usize).map_or(1, |n| n.height)
    }
    /// Number of expressions; ids below it are valid.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
    /// Whether there is no expression at all.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
    /// Every expression of the file in the order in which they were finished, children first.
    pub fn ids(&self) -> impl Iterator<Item = ExprId> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(ExprId)
    }
    /// Without parentheses around it.
    pub fn bare(&self, mut id: ExprId) -> ExprId {
        while let Expr::Parentheses(inner) = self.expr(id) {
            id = *inner;
        }
        id
    }
    /// `var.a["b"][0].c` as a path of constant steps, when the expression is nothing else.
    pub fn path(&self, id: ExprId) -> Option<Path<'_>> {
        match self.expr(id) {
            Expr::Variable(name) => Some(Path { root: name, steps: &[] }),
            Expr::Traversal { source, steps } => match self.expr(*source) {
                Expr::Variable(name) => Some(Path { root: name, steps }),
                _ => None,
            },
            _ => None,
        }
    }
    /// The text of an expression that is a plain string without templates.
    pub fn string(&self, id: ExprId) -> Option<&str> {
        match self.expr(self.bare(id)) {
            Expr::Literal(Literal::String(text)) => Some(text),
            _ => None,
        }
    }
}

/// A variable and what is taken from it.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    pub root: &'a Name,
    pub steps: &'a [Step],
}

impl<'a> Path<'a> {
    /// The name of the n-th step, when that is `.name`.
    pub fn attr(&self, n: usize) -> Option<&'a Name> {
        match self.steps.get(n)? {
            Step::Attr(name) => Some(name),
            _ => None,
        }
    }
}

/// `# …`, `// …` or `/* … */`, without the newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comment {
    pub span: Span,
}

/// What stands between braces, or in a whole file.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// In order; no name occurs twice.
    pub attributes: Vec<Attribute>,
    /// In order.
    pub blocks: Vec<Block>,
    /// Between the braces.
    pub span: Span,
}

impl Body {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| &*a.name.text == name)
    }
    /// The blocks of that type, in order.
    pub fn blocks_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |b| &*b.kind.text == kind)
    }
}

/// `name = value`.
#[derive(Debug, Clone)]
pub struct Attribute {
    pub name: Name,
    pub value: ExprId,
    /// Name to value, without the newline.
    pub span: Span,
}

/// `kind "label" … { body }`.
#[derive(Debug, Clone)]
pub struct Block {
    pub kind: Name,
    pub labels: Vec<Name>,
    pub body: Body,
    /// Kind to closing brace.
    pub span: Span,
    /// Kind and labels.
    pub header: Span,
}

impl Block {
    /// The text of the n-th label.
    pub fn label(&self, n: usize) -> Option<&str> {
        self.labels.get(n).map(|l| &*l.text)
    }
}

/// An expression.
#[derive(Debug, Clone)]
pub enum Expr {
    /// `null`, `true`, `12`, `"text"`, and a heredoc that is text only.
    Literal(Literal),
    /// A quoted string or heredoc with at least one `${…}` or `%{…}`.
    Template(Template),
    /// A name at the root: `var`, `local`, `each`, the type of a resource.
    Variable(Name),
    /// `source.a[0]["b"]`; at least one step.
    Traversal {
        source: ExprId,
        steps: Vec<Step>,
    },
    /// `source[*]…` or `source.*…`. `each` is evaluated for every element, which is [`Expr::SplatItem`] there. Null is
    /// no element; what is no list, set or tuple is one element.
    Splat {
        source: ExprId,
        each: ExprId,
        form: Splat,
    },
    /// The element of the nearest [`Expr::Splat`] around it.
    SplatItem,
    /// `name(args…)`; the name may have a namespace: `provider::sampan::merge`. With `expand` the last argument is
    /// followed by `...`.
    Call {
        name: Name,
        args: Vec<ExprId>,
        expand: bool,
    },
    Unary {
        op: UnaryOp,
        operand: ExprId,
    },
    Binary {
        op: BinaryOp,
        left: ExprId,
        right: ExprId,
    },
    /// `condition ? yes : no`.
    Conditional {
        condition: ExprId,
        yes: ExprId,
        no: ExprId,
    },
    For(Box<For>),
    /// `[a, b]`.
    List(Vec<ExprId>),
    /// `{ k = v }`; a key can occur twice, and then the last one counts.
    Object(Vec<Entry>),
    /// `(a)`.
    Parentheses(ExprId),
    /// Not read, and why. Its value is unknown.
    NotAnalysed(NotAnalysed),
}

/// Why there is no expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAnalysed {
    /// Higher than [`MAX_HEIGHT`].
    TooDeep,
    /// It has a syntax error, which is reported.
    Syntax,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    /// As written: digits, a point, an exponent. Never empty, never signed.
    Number(Arc<str>),
    /// With escapes resolved.
    String(Arc<str>),
}

/// Text with holes.
#[derive(Debug, Clone)]
pub struct Template {
    pub parts: Vec<Part>,
    pub heredoc: bool,
}

impl Template {
    /// `"${x}"` means `x` itself, with its type: no text is made of it.
    pub fn is_wrapper(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Interpolation(_)])
    }
}

/// A part of a template. Whitespace marks (`~`) and the indentation of `<<-` are applied already.
#[derive(Debug, Clone)]
pub enum Part {
    Literal(Arc<str>, Span),
    /// `${…}`.
    Interpolation(ExprId),
    /// `%{ if c }…%{ else }…%{ endif }`.
    If {
        condition: ExprId,
        yes: Vec<Part>,
        no: Vec<Part>,
        span: Span,
    },
    /// `%{ for k, v in c }…%{ endfor }`.
    For {
        key: Option<Name>,
        value: Name,
        collection: ExprId,
        body: Vec<Part>,
        span: Span,
    },
}

/// What is taken from a value.
#[derive(Debug, Clone)]
pub enum Step {
    /// `.name`.
    Attr(Name),
    /// `[key]`.
    Index { key: ExprId, span: Span },
    /// `.0`, which means `[0]`.
    LegacyIndex { index: Arc<str>, span: Span },
}

impl Step {
    /// Where it stands; of what follows a point, without the point.
    pub fn span(&self) -> Span {
        match self {
            Self::Attr(name) => name.span,
            Self::Index { span, .. } | Self::LegacyIndex { span, .. } => *span,
        }
    }
}

/// How a splat was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splat {
    /// `[*]`.
    Full,
    /// `.*`.
    Attr,
}

/// `[for k, v in collection : value if condition]` or `{for … : key => value... if condition}`.
#[derive(Debug, Clone)]
pub struct For {
    /// The first of two names.
    pub key_name: Option<Name>,
    pub value_name: Name,
    pub collection: ExprId,
    /// Of an object; absent in a list.
    pub key: Option<ExprId>,
    pub value: ExprId,
    /// `...`: values of equal keys become a list.
    pub group: bool,
    pub condition: Option<ExprId>,
}

/// `key = value` in an object.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Key,
    pub value: ExprId,
    pub span: Span,
}

/// A key of an object.
#[derive(Debug, Clone)]
pub enum Key {
    /// A bare word, which means its text, also `null` and `true`.
    Name(Name),
    /// Everything else. A traversal without parentheses is an error when it is evaluated: it is ambiguous.
    Expr(ExprId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`.
    Negate,
    /// `!`.
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Expr {
    /// Calls `f` for each expression directly below, in order.
    pub fn children(&self, f: &mut dyn FnMut(ExprId)) {
        match self {
            Self::Literal(_) | Self::Variable(_) | Self::SplatItem | Self::NotAnalysed(_) => {}
            Self::Template(template) => template.parts.iter().for_each(|p| p.children(f)),
            Self::Traversal { source, steps } => {
                f(*source);
                for step in steps {
                    if let Step::Index { key, .. } = step {
                        f(*key);
                    }
                }
            }
            Self::Splat { source, each, .. } => [*source, *each].into_iter().for_each(f),
            Self::Call { args: items, .. } | Self::List(items) => items.iter().copied().for_each(f),
            Self::Unary { operand: one, .. } | Self::Parentheses(one) => f(*one),
            Self::Binary { left, right, .. } => [*left, *right].into_iter().for_each(f),
            Self::Conditional { condition, yes, no } => [*condition, *yes, *no].into_iter().for_each(f),
            Self::For(it) => {
                let all = [Some(it.collection), it.key, Some(it.value), it.condition];
                all.into_iter().flatten().for_each(f);
            }
            Self::Object(entries) => {
                for entry in entries {
                    if let Key::Expr(key) = entry.key {
                        f(key);
                    }
                    f(entry.value);
                }
            }
        }
    }
}

impl Part {
    /// Calls `f` for each expression directly below, in order.
    pub fn children(&self, f: &mut dyn FnMut(ExprId)) {
        match self {
            Self::Literal(..) => {}
            Self::Interpolation(id) => f(*id),
            Self::If { condition, yes, no, .. } => {
                f(*condition);
                yes.iter().chain(no).for_each(|p| p.children(f));
            }
            Self::For { collection, body, .. } => {
                f(*collection);
                for part in body {
                    part.children(f);
                }
            }
        }
    }
}
