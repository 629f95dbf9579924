//! What one module defines, by name, as the evaluator needs it.
//!
//! A definition may be spread over several bodies: the one that introduced it, and those of override files, of which a later one wins
//! attribute by attribute, and whose blocks replace all blocks of their type.

use super::value::Site;
use crate::ast::{Ast, Attribute, Block, Body, Expr, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One file of a module.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Index in the caller's list of files.
    pub file: u32,
    /// Its tree.
    pub ast: &'a Ast,
    /// Whether the file overrides.
    pub overrides: bool,
}

/// A body and the file it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The file.
    pub source: Source<'a>,
    /// The body.
    pub body: &'a Body,
}

/// A block of configuration, perhaps overridden.
#[derive(Clone, Debug)]
pub struct Definition<'a> {
    /// Header of the block that introduced it.
    pub site: Site,
    /// Bodies, a later one overriding.
    pub parts: Vec<Part<'a>>,
}

impl<'a> Definition<'a> {
    /// The attribute that counts, and its file.
    pub fn attribute(&self, name: &str) -> Option<(Source<'a>, &'a Attribute)> {
        self.parts.iter().rev().find_map(|p| p.body.attribute(name).map(|a| (p.source, a)))
    }

    /// The attributes that count, sorted by name.
    pub fn attributes(&self) -> BTreeMap<&'a str, (Source<'a>, &'a Attribute)> {
        let mut all = BTreeMap::new();
        for part in &self.parts {
            all.extend(part.body.attributes.iter().map(|a| (&*a.name.text, (part.source, a))));
        }
        all
    }

    /// The blocks that count, in order.
    pub fn blocks(&self) -> Vec<(Source<'a>, &'a Block)> {
        let mut all: Vec<(Source<'a>, &'a Block)> = Vec::new();
        for (i, part) in self.parts.iter().enumerate() {
            if i > 0 {
                let replaced = |b: &Block| part.body.blocks.iter().any(|o| block_type(o) == block_type(b));
                all.retain(|(_, b)| !replaced(b));
            }
            all.extend(part.body.blocks.iter().map(|b| (part.source, b)));
        }
        all
    }
}

/// What a block is, also when `dynamic` makes it.
fn block_type(block: &Block) -> &str {
    if &*block.kind.text == "dynamic" { block.label(0).unwrap_or("dynamic") } else { &block.kind.text }
}

/// Whether a resource is managed, read, or short-lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `resource`
    Managed,
    /// `data`
    Data,
    /// `ephemeral`
    Ephemeral,
}

/// Type and name of a resource.
pub type ResourceId = (Kind, Arc<str>, Arc<str>);

/// All definitions of a module.
#[derive(Clone, Debug, Default)]
pub struct Definitions<'a> {
    /// `variable`
    pub variables: BTreeMap<Arc<str>, Definition<'a>>,
    /// Each local with the attribute that defines it.
    pub locals: BTreeMap<Arc<str>, (Source<'a>, &'a Attribute)>,
    /// `resource`, `data`, `ephemeral`
    pub resources: BTreeMap<ResourceId, Definition<'a>>,
    /// `module`
    pub calls: BTreeMap<Arc<str>, Definition<'a>>,
    /// `output`
    pub outputs: BTreeMap<Arc<str>, Definition<'a>>,
}

impl<'a> Definitions<'a> {
    /// Collects the definitions; override files come last, whatever their place in the list.
    ///
    /// A second definition of a name in files that do not override is an error elsewhere; the first one counts here.
    pub fn collect(sources: &[Source<'a>]) -> Self {
        let mut all = Self::default();
        for overrides in [false, true] {
            for source in sources.iter().filter(|s| s.overrides == overrides) {
                for block in &source.ast.body.blocks {
                    all.add(*source, block);
                }
            }
        }
        all
    }

    fn add(&mut self, source: Source<'a>, block: &'a Block) {
        let label = |n: usize| block.labels.get(n).map(|l| l.text.clone());
        match &*block.kind.text {
            "variable" => insert(&mut self.variables, label(0), source, block),
            "output" => insert(&mut self.outputs, label(0), source, block),
            "module" => insert(&mut self.calls, label(0), source, block),
            "locals" => {
                for attribute in &block.body.attributes {
                    let name = attribute.name.text.clone();
                    if source.overrides || !self.locals.contains_key(&name) {
                        self.locals.insert(name, (source, attribute));
                    }
                }
            }
            kind @ ("resource" | "data" | "ephemeral") => {
                let kind = match kind {
                    "resource" => Kind::Managed,
                    "data" => Kind::Data,
                    _ => Kind::Ephemeral,
                };
                let id = label(0).zip(label(1)).map(|(ty, name)| (kind, ty, name));
                insert(&mut self.resources, id, source, block);
            }
            // Data sources may stand inside of a check.
            "check" => {
                for inner in block.body.blocks_of("data") {
                    let id = inner.labels.first().zip(inner.labels.get(1));
                    let id = id.map(|(ty, name)| (Kind::Data, ty.text.clone(), name.text.clone()));
                    insert(&mut self.resources, id, source, inner);
                }
            }
            _ => {}
        }
    }
}

fn insert<'a, K: Ord>(map: &mut BTreeMap<K, Definition<'a>>, key: Option<K>, source: Source<'a>, block: &'a Block) {
    let Some(key) = key else { return };
    let part = Part { source, body: &block.body };
    match map.get_mut(&key) {
        Some(definition) if source.overrides => definition.parts.push(part),
        Some(_) => {}
        None => {
            map.insert(key, Definition { site: site(source, block.header), parts: vec![part] });
        }
    }
}

/// A span of a file.
pub fn site(source: Source<'_>, span: Span) -> Site {
    Site { file: source.file, start: span.start, end: span.end }
}

/// Names of locals that an expression mentions. Iterative, so that a chain of locals needs no deep recursion.
pub fn mentioned_locals(source: Source<'_>, attribute: &Attribute) -> Vec<Arc<str>> {
    let mut found = Vec::new();
    let mut open = vec![attribute.value];
    while let Some(id) = open.pop() {
        if let Some(path) = source.ast.path(id) {
            if &*path.root.text == "local" {
                found.extend(path.attr(0).map(|n| n.text.clone()));
            }
        }
        let expr: &Expr = source.ast.expr(id);
        expr.children(&mut |child| open.push(child));
    }
    found
}
