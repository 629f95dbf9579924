//! Rules about the configuration as a text.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Meta, ModuleView, Sink, rule};
use crate::ast::{Ast, Block, Body, Expr, ExprId, Key, Part, Span, Step, Template};
use crate::finding::{Edit, Finding, Fix, Place};

rule!(Syntax, "SMP900", "syntax", Error);
impl Check for Syntax {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
}

rule!(Expression, "SMP901", "expression-error", Error);
impl Check for Expression {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
}

rule!(Unreadable, "SMP908", "unreadable", Error);
impl Check for Unreadable {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
}

rule!(UnknownType, "SMP911", "unknown-type", Error);
impl Check for UnknownType {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn module(&self, module: &ModuleView<'_>, out: &mut Sink<'_>) {
        let types: Vec<String> = sampan_schema::KINDS.iter().map(|k| format!("sampan_{}", k.name)).collect();
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        for source in &module.sources {
            for block in source.ast.body.blocks_of("resource") {
                let Some(label) = block.labels.first() else { continue };
                if label.text.starts_with("sampan_") && !types.contains(&&*label.text) {
                    let hint = crate::view::did_you_mean(&label.text, &types);
                    let message = format!("there is no resource {}: there are {}{hint}", label.text, types.join(", "));
                    out.push(finding(&Self::META, source.file, label.span, message));
                }
            }
        }
    }
}

rule!(ComputedSet, "SMP910", "computed-set", Error);
impl Check for ComputedSet {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
}

rule!(BadSuppression, "SMP604", "bad-suppression", Warning);
impl Check for BadSuppression {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
}

fn finding(meta: &'static Meta, file: u32, span: Span, message: String) -> Finding {
    Finding::new(meta.id, meta.severity, Place { file, span }, message)
}

rule!(DuplicateKey, "SMP902", "duplicate-key", Warning);
impl Check for DuplicateKey {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn module(&self, module: &ModuleView<'_>, out: &mut Sink<'_>) {
        for source in &module.sources {
            for id in source.ast.ids() {
                let Expr::Object(entries) = source.ast.expr(id) else { continue };
                let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
                for entry in entries {
                    let name = match &entry.key {
                        Key::Name(name) => Some((&*name.text, name.span)),
                        Key::Expr(id) => source.ast.string(*id).map(|text| (text, source.ast.span(*id))),
                    };
                    let Some((name, span)) = name else { continue };
                    if let Some(first) = seen.insert(name, span) {
                        let message = format!("the key {name:?} is written twice; the last one counts");
                        let mut finding = finding(&Self::META, source.file, span, message);
                        finding.related =
                            Some((Place { file: source.file, span: first }, "this one has no effect".into()));
                        out.push(finding);
                    }
                }
            }
        }
    }
}

rule!(DeprecatedForm, "SMP903", "deprecated-form", Warning);
impl Check for DeprecatedForm {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn module(&self, module: &ModuleView<'_>, out: &mut Sink<'_>) {
        for source in &module.sources {
            // Made only where it is asked.
            let around = std::cell::LazyCell::new(|| Surroundings::of(source.ast));
            for id in source.ast.ids() {
                let span = source.ast.span(id);
                match source.ast.expr(id) {
                    Expr::Template(t) if t.is_wrapper() && !t.heredoc => {
                        let message = "\"${…}\" alone means the expression itself: write it without quotes".to_owned();
                        let mut finding = finding(&Self::META, source.file, span, message);
                        finding.fix = around.unwrap(id, t, source.file);
                        out.push(finding);
                    }
                    Expr::Traversal { source: from, steps } => {
                        let mut end = source.ast.span(*from).end;
                        for step in steps {
                            if let Step::LegacyIndex { index, span } = step {
                                let message = format!("\".{index}\" is the old form of an index: write [{index}]");
                                let mut finding = finding(&Self::META, source.file, *span, message);
                                finding.fix = around.brackets(*from, index, Span::new(end, span.end), source.file);
                                out.push(finding);
                            }
                            end = step.span().end;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What stands around each expression of a file, to know where parentheses are needed.
struct Surroundings<'a> {
    ast: &'a Ast,
    parents: BTreeMap<ExprId, ExprId>,
    keys: BTreeSet<ExprId>,
}

impl<'a> Surroundings<'a> {
    fn of(ast: &'a Ast) -> Self {
        let (mut parents, mut keys) = (BTreeMap::new(), BTreeSet::new());
        for id in ast.ids() {
            let expr = ast.expr(id);
            expr.children(&mut |child| {
                parents.insert(child, id);
            });
            if let Expr::Object(entries) = expr {
                keys.extend(entries.iter().filter_map(|e| match e.key {
                    Key::Expr(key) => Some(key),
                    Key::Name(_) => None,
                }));
            }
        }
        Self { ast, parents, keys }
    }

    /// Writes `[0]` for `.0`, which is at `span` with its point.
    fn brackets(&self, source: ExprId, index: &str, span: Span, file: u32) -> Option<Fix> {
        // After `.*` the old form is about each element, and the new one about all.
        let in_splat = matches!(self.ast.expr(source), Expr::SplatItem);
        let lost = self.ast.comments.iter().any(|comment| span.contains(comment.span));
        let edits = vec![Edit { place: Place { file, span }, text: format!("[{index}]") }];
        (!in_splat && !lost).then_some(Fix { title: "write the index in brackets", edits })
    }

    /// Takes away `"${` and `}"`, and leaves everything between them as it is.
    fn unwrap(&self, id: ExprId, template: &Template, file: u32) -> Option<Fix> {
        let [Part::Interpolation(inner)] = template.parts.as_slice() else { return None };
        let (outer, span) = (self.ast.span(id), self.ast.span(*inner));
        let lost = |comment: Span| outer.contains(comment) && !span.contains(comment);
        if self.ast.comments.iter().any(|comment| lost(comment.span)) {
            return None;
        }
        let simple = self.ast.path(*inner).is_some()
            || matches!(self.ast.expr(*inner), Expr::Call { .. } | Expr::Parentheses(_));
        let closed = simple || matches!(self.ast.expr(*inner), Expr::List(_) | Expr::Object(_) | Expr::Literal(_));
        let parentheses = match self.parents.get(&id).map(|parent| self.ast.expr(*parent)) {
            // A bare word there would be a text.
            Some(Expr::Object(_)) if self.keys.contains(&id) => true,
            Some(Expr::Traversal { .. } | Expr::Splat { .. }) => !simple,
            Some(Expr::Binary { .. } | Expr::Unary { .. } | Expr::Conditional { .. } | Expr::For(_)) => !closed,
            _ => false,
        };
        let text = |open: &str| if parentheses { open.to_owned() } else { String::new() };
        let edit = |start, end, text| Edit { place: Place { file, span: Span::new(start, end) }, text };
        let edits = vec![edit(outer.start, span.start, text("(")), edit(span.end, outer.end, text(")"))];
        Some(Fix { title: "remove the quotes around the expression", edits })
    }
}

/// Every reference of a file: `var.a`, `local.b`, `data.t.n`, `module.m`.
fn references(ast: &Ast, found: &mut BTreeSet<String>) {
    // The root of a longer path is no reference of its own.
    let root_of = |id| match ast.expr(id) {
        Expr::Traversal { source, .. } => Some(*source),
        _ => None,
    };
    let mut is_root = vec![false; ast.len()];
    for root in ast.ids().filter_map(root_of) {
        is_root[root.0 as usize] = true;
    }
    for id in ast.ids().filter(|id| !is_root[id.0 as usize]) {
        let Some(path) = ast.path(id) else { continue };
        let root = &*path.root.text;
        let attr = |n| path.attr(n).map(|name| name.text.to_string());
        match (root, attr(0), attr(1)) {
            ("var" | "local" | "module", Some(name), _) => found.insert(format!("{root}.{name}")),
            ("data", Some(ty), Some(name)) => found.insert(format!("data.{ty}.{name}")),
            // `var["name"]` or `local` as a whole: anything may be meant.
            ("var" | "local" | "data", _, _) => found.insert(format!("{root}.*")),
            _ => continue,
        };
    }
}

rule!(UnusedDeclaration, "SMP904", "unused-declaration", Warning);
impl Check for UnusedDeclaration {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn module(&self, module: &ModuleView<'_>, out: &mut Sink<'_>) {
        if module.incomplete {
            return;
        }
        let mut used = BTreeSet::new();
        for source in &module.sources {
            references(source.ast, &mut used);
        }
        let mut unused = |what: &str, key: &str, file: u32, span: Span| {
            let any = key.split('.').next().is_some_and(|root| used.contains(&format!("{root}.*")));
            if !any && !used.contains(key) {
                out.push(finding(&Self::META, file, span, format!("nothing reads the {what} {key}")));
            }
        };
        for source in &module.sources {
            for block in &source.ast.body.blocks {
                match (&*block.kind.text, block.label(0), block.label(1)) {
                    ("variable", Some(name), _) => {
                        unused("variable", &format!("var.{name}"), source.file, block.header);
                    }
                    ("locals", _, _) => {
                        for a in &block.body.attributes {
                            unused("local value", &format!("local.{}", a.name.text), source.file, a.name.span);
                        }
                    }
                    ("data", Some(ty), Some(name)) => {
                        unused("data source", &format!("data.{ty}.{name}"), source.file, block.header);
                    }
                    _ => {}
                }
            }
        }
    }
}

rule!(ModuleArgument, "SMP907", "module-argument", Error);
impl Check for ModuleArgument {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn module(&self, module: &ModuleView<'_>, out: &mut Sink<'_>) {
        for (name, call) in &module.definitions.calls {
            let Some(called) = module.called(name).filter(|c| !c.incomplete) else { continue };
            let given = call.attributes();
            let known: Vec<&str> = called.definitions.variables.keys().map(|n| &**n).collect();
            for (argument, (source, attribute)) in &given {
                if MODULE_META.contains(argument) || known.contains(argument) {
                    continue;
                }
                let hint = crate::view::did_you_mean(argument, &known);
                let message = format!("module.{name} has no variable {argument:?}{hint}");
                out.push(finding(&Self::META, source.file, attribute.name.span, message));
            }
            for (variable, definition) in &called.definitions.variables {
                if definition.attribute("default").is_none() && !given.contains_key(&**variable) {
                    let site = call.site;
                    let message = format!("module.{name} needs a value for its variable {variable:?}");
                    out.push(finding(&Self::META, site.file, Span::new(site.start, site.end), message));
                }
            }
        }
    }
}

const MODULE_META: &[&str] = &["source", "version", "count", "for_each", "providers", "depends_on"];

rule!(Unpinned, "SMP603", "unpinned", Warning);
impl Check for Unpinned {
    fn meta(&self) -> &'static Meta {
        &Self::META
    }
    fn module(&self, module: &ModuleView<'_>, out: &mut Sink<'_>) {
        for source in &module.sources {
            for block in source.ast.body.blocks_of("module") {
                if let Some(message) = unpinned_source(source.ast, block) {
                    let span = block.body.attribute("source").map_or(block.header, |a| a.span);
                    out.push(finding(&Self::META, source.file, span, message));
                }
            }
            for terraform in source.ast.body.blocks_of("terraform") {
                for block in terraform.body.blocks_of("required_providers") {
                    providers(source.ast, &block.body, source.file, out);
                }
            }
        }
    }
}

fn unpinned_source(ast: &Ast, block: &Block) -> Option<String> {
    let source = ast.string(block.body.attribute("source")?.value)?;
    let is_local = source.starts_with("./") || source.starts_with("../");
    let is_fetched = source.contains("://")
        || source.starts_with("git@")
        || source.contains("::")
        || source.starts_with("github.com/");
    if is_local || block.body.attribute("version").is_some() {
        return None;
    }
    let is_git = source.starts_with("git") || source.contains(".git") || source.contains("bitbucket.org/");
    match (is_fetched, is_git) {
        (true, true) if !source.contains("ref=") => {
            Some("the module is the newest commit: add ?ref= with a tag or commit".into())
        }
        (true, _) => None,
        (false, _) => Some("the module is the newest version of the registry: write version".into()),
    }
}

/// The provider of Sampan is left to the lock file, which names one version with its checksum.
fn providers(ast: &Ast, body: &Body, file: u32, out: &mut Sink<'_>) {
    for attribute in &body.attributes {
        let Expr::Object(entries) = ast.expr(attribute.value) else { continue };
        let has = |wanted: &str| entries.iter().find(|e| matches!(&e.key, Key::Name(n) if &*n.text == wanted));
        let is_ours = has("source").and_then(|e| ast.string(e.value)).is_some_and(|s| s.ends_with("sampan/sampan"));
        if has("version").is_none() && !is_ours {
            let message = format!("the provider {} has no version: write a constraint", attribute.name.text);
            out.push(finding(&Unpinned::META, file, attribute.name.span, message));
        }
    }
}
