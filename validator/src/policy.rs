//! Policies of users: files that end with `.policy.hcl`, each of blocks such as
//!
//! ```hcl
//! policy "at-most-fifty" {
//!   resource  = "sampan_scaling_rule"
//!   deny_when = r.max_replicas > 50
//!   message   = "${r.name}: at most 50 instances"
//! }
//! ```
//!
//! `deny_when` and `message` are evaluated like configuration, for each resource of the type, with `r` as the resource with
//! its defaults. What is unknown stays unknown.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sampan_schema::Kind as Noun;

use crate::ast::{Ast, Attribute, Block, Expr, ExprId, Name, Step};
use crate::eval::budget::{Budget, Limits};
use crate::eval::expr::{Evaluated, Expressions, Names, Rendering, Resolved};
use crate::eval::functions::{Env, NoFiles};
use crate::eval::value::{Marks, Site, Value};
use crate::finding::{Severity, Undetermined};
use crate::module::read_bounded;
use crate::parse::parse;
use crate::rules::{self, Sink};
use crate::source::Lines;
use crate::view::{Resource, Segment, below, did_you_mean, properties};

/// How the name of a file with policies ends.
pub const SUFFIX: &str = ".policy.hcl";
/// What a resource is called in a policy.
const RESOURCE: &str = "r";
const ARGUMENTS: [&str; 6] = ["resource", "deny_when", "message", "severity", "enforcement", "on_unknown"];

/// What a finding of the policy does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// It is told, and fails no run.
    Advisory,
    /// It fails the run, and a comment with a reason takes it away.
    #[default]
    MandatoryOverridable,
    /// It fails the run, and no comment takes it away.
    Mandatory,
}

/// What follows when `deny_when` cannot be decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is counted with what is undetermined.
    #[default]
    Pass,
    /// A warning.
    Warn,
    /// A finding like the others.
    Fail,
}

/// One policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub id: &'static str,
    noun: &'static Noun,
    ast: Arc<Ast>,
    deny_when: ExprId,
    message: ExprId,
    /// The first argument that `deny_when` reads.
    path: String,
    severity: Severity,
    /// What its findings do.
    pub enforcement: Enforcement,
    on_unknown: OnUnknown,
}

/// The policies of files, and of the files in folders.
///
/// # Errors
/// A sentence that names the place: no file, wrong syntax, an argument that a type does not have, which could never match.
pub fn read(paths: &[PathBuf]) -> Result<Arc<[Policy]>, String> {
    let mut all: Vec<Policy> = Vec::new();
    for path in paths {
        for file in files(path)? {
            let text = read_bounded(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            for policy in of_text(&text, &file.display().to_string())? {
                if all.iter().any(|known| known.id == policy.id) {
                    return Err(format!("{}: there are two policies {:?}", file.display(), policy.id));
                }
                all.push(policy);
            }
        }
    }
    Ok(all.into())
}

fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |e: std::io::Error| format!("policies {}: {e}", path.display());
    if !std::fs::metadata(path).map_err(wrong)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(wrong)? {
        let file = entry.map_err(wrong)?.path();
        if file.to_string_lossy().ends_with(SUFFIX) {
            found.push(file);
        }
    }
    if found.is_empty() {
        return Err(format!("policies {}: no file there ends with {SUFFIX}", path.display()));
    }
    found.sort();
    Ok(found)
}

/// The policies of a text; `name` is for errors.
///
/// # Errors
/// Like [`read`].
pub fn of_text(text: &[u8], name: &str) -> Result<Vec<Policy>, String> {
    let lines = Lines::new(text);
    let at = |start: u32, message: String| format!("{name}:{}: {message}", lines.line(start));
    let (ast, diagnostics) = parse(text);
    if let Some(d) = diagnostics.first() {
        return Err(at(d.span.start, d.message.clone()));
    }
    if let Some(a) = ast.body.attributes.first() {
        return Err(at(a.span.start, format!("{} stands in no block: write policy \"name\" {{ … }}", a.name.text)));
    }
    let ast = Arc::new(ast);
    ast.body.blocks.iter().map(|block| policy(&ast, block).map_err(|(start, why)| at(start, why))).collect()
}

type Wrong = (u32, String);

fn policy(ast: &Arc<Ast>, block: &Block) -> Result<Policy, Wrong> {
    let here = |why: String| (block.span.start, why);
    let kind = &*block.kind.text;
    if kind != "policy" {
        return Err(here(format!("there are no blocks {kind}, only policy")));
    }
    let id = block.label(0).unwrap_or_default();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if !id.starts_with(|c: char| c.is_ascii_lowercase()) || !id.chars().all(fits) || id.len() > 64 {
        let text =
            format!("{id:?} is no name of a policy: lower-case letters, digits, \"-\" and \"_\", from a letter on");
        return Err(here(text));
    }
    if let Some(inner) = block.body.blocks.first() {
        return Err((inner.span.start, format!("a policy has no block {}", inner.kind.text)));
    }
    if let Some(a) = block.body.attributes.iter().find(|a| !ARGUMENTS.contains(&&*a.name.text)) {
        let near = did_you_mean(&a.name.text, &ARGUMENTS);
        return Err((a.span.start, format!("a policy has no argument {}{near}", a.name.text)));
    }
    let get = |name: &str| block.body.attributes.iter().find(|a| &*a.name.text == name);
    let need = |name: &str| get(name).ok_or_else(|| here(format!("policy {id:?} has no {name}")));
    let resource = need("resource")?;
    let ty = ast.string(resource.value).unwrap_or_default();
    let noun = ty.strip_prefix("sampan_").and_then(sampan_schema::kind).ok_or_else(|| {
        let known: Vec<String> = sampan_schema::KINDS.iter().map(|kind| format!("sampan_{}", kind.name)).collect();
        (resource.span.start, format!("{ty:?} is no resource: there are {}", known.join(", ")))
    })?;
    let (deny_when, message) = (need("deny_when")?, need("message")?);
    let mut read = Reads { ast, noun, bound: BTreeSet::new(), first: None };
    read.bind(deny_when.value);
    read.bind(message.value);
    for a in [deny_when, message] {
        read.check(a.value).map_err(|why| (a.span.start, format!("{} of policy {id:?}: {why}", a.name.text)))?;
    }
    Ok(Policy {
        id: interned(id),
        noun,
        ast: ast.clone(),
        deny_when: deny_when.value,
        message: message.value,
        path: read.first.unwrap_or_default(),
        severity: word(
            ast,
            get("severity"),
            &[("error", Severity::Error), ("warning", Severity::Warning), ("note", Severity::Note)],
        )?
        .unwrap_or(Severity::Error),
        enforcement: word(
            ast,
            get("enforcement"),
            &[
                ("advisory", Enforcement::Advisory),
                ("mandatory_overridable", Enforcement::MandatoryOverridable),
                ("mandatory", Enforcement::Mandatory),
            ],
        )?
        .unwrap_or_default(),
        on_unknown: word(
            ast,
            get("on_unknown"),
            &[("pass", OnUnknown::Pass), ("warn", OnUnknown::Warn), ("fail", OnUnknown::Fail)],
        )?
        .unwrap_or_default(),
    })
}

fn word<T: Copy>(ast: &Ast, a: Option<&Attribute>, words: &[(&str, T)]) -> Result<Option<T>, Wrong> {
    let Some(a) = a else { return Ok(None) };
    let said = ast.string(a.value).unwrap_or_default();
    let found = words.iter().find(|(word, _)| *word == said).map(|(_, meaning)| *meaning);
    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let wrong = || (a.span.start, format!("{} is one of {}", a.name.text, all.join(", ")));
    found.map(Some).ok_or_else(wrong)
}

/// Findings have names that live as long as the program; equal ones are kept once.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}

/// What the expressions of a policy read of a resource.
struct Reads<'a> {
    ast: &'a Ast,
    noun: &'static Noun,
    /// Names that a `for` of the policy binds.
    bound: BTreeSet<Arc<str>>,
    first: Option<String>,
}

impl Reads<'_> {
    fn bind(&mut self, id: ExprId) {
        let expr = self.ast.expr(id);
        if let Expr::For(inner) = expr {
            self.bound.extend(inner.key_name.iter().chain([&inner.value_name]).map(|name| name.text.clone()));
        }
        let mut below = Vec::new();
        expr.children(&mut |child| below.push(child));
        for child in below {
            self.bind(child);
        }
    }

    fn check(&mut self, id: ExprId) -> Result<(), String> {
        let expr = self.ast.expr(id);
        let mut below = Vec::new();
        expr.children(&mut |child| below.push(child));
        match expr {
            Expr::Variable(name) => self.name(name, &[])?,
            Expr::Traversal { source, steps } => {
                if let Expr::Variable(name) = self.ast.expr(*source) {
                    self.name(name, steps)?;
                    below.retain(|child| child != source);
                }
            }
            _ => {}
        }
        below.into_iter().try_for_each(|child| self.check(child))
    }

    /// A type that has no such argument never matches.
    fn name(&mut self, name: &Name, steps: &[Step]) -> Result<(), String> {
        if self.bound.contains(&name.text) {
            return Ok(());
        }
        if &*name.text != RESOURCE {
            return Err(format!("there is no {}: the resource is {RESOURCE}", name.text));
        }
        let (mut schema, mut path) = (self.noun.spec_schema(), String::new());
        for step in steps {
            let Step::Attr(attr) = step else { break };
            let known: Vec<&str> = properties(schema).map(|(name, _)| name.as_str()).collect();
            if !known.is_empty() && !known.contains(&&*attr.text) {
                let of = if path.is_empty() { format!("sampan_{}", self.noun.name) } else { path };
                return Err(format!("{of} has no {}{}", attr.text, did_you_mean(&attr.text, &known)));
            }
            let Some(next) = below(schema, &Segment::Name(attr.text.to_string())) else { break };
            schema = next;
            path = if path.is_empty() { attr.text.to_string() } else { format!("{path}.{}", attr.text) };
        }
        if self.first.is_none() && !path.is_empty() {
            self.first = Some(path);
        }
        Ok(())
    }
}

/// The resource is all that a policy can name.
struct Only<'a>(&'a Value);

impl Names for Only<'_> {
    fn resolve(&self, root: &Name, _: &[Step], _: Site) -> Resolved {
        if &*root.text == RESOURCE { Ok((self.0.clone(), 0)) } else { Err(format!("there is no {}", root.text)) }
    }
}

impl Policy {
    fn evaluate(&self, id: ExprId, resource: &Value) -> Evaluated {
        let limits = Limits::default();
        let budget = Budget::new(limits);
        let env = Env { files: &NoFiles, max_bytes: limits.value_bytes };
        let names = &Only(resource);
        Expressions {
            ast: &self.ast,
            file: u32::MAX,
            names,
            env,
            budget: &budget,
            short_circuit: true,
            rendering: Rendering::No,
        }
        .evaluate(id)
    }

    /// What it says, without what must not be told.
    fn says(&self, resource: &Value) -> String {
        match self.evaluate(self.message, resource) {
            Ok(value) if !value.deep_marks().has(Marks::SENSITIVE) => value.as_str().map(str::to_owned),
            _ => None,
        }
        .unwrap_or_else(|| format!("policy {} denies it", self.id))
    }

    fn judge(&self, resource: &Resource, object: &Value, out: &mut Sink<'_>) {
        let (severity, message) = match self.evaluate(self.deny_when, object) {
            // What went wrong may repeat a value.
            Err(failure) => {
                let text = format!("policy {} cannot be evaluated: {}", self.id, failure.message);
                return out.push(resource.finding(self.id, self.severity, &self.path, text));
            }
            Ok(value) => match (value.as_bool(), value.deep_cause()) {
                (Some(false), _) => return,
                (Some(true), _) => (self.severity, self.says(object)),
                (None, Some(cause)) => {
                    let text = format!("policy {} cannot decide: it waits for {}", self.id, cause.needs);
                    match self.on_unknown {
                        OnUnknown::Pass => {
                            out.undetermined.insert(Undetermined {
                                rule: self.id,
                                address: resource.address.clone(),
                                path: self.path.clone(),
                                needs: cause.needs,
                            });
                            return;
                        }
                        OnUnknown::Warn => (self.severity.min(Severity::Warning), text),
                        OnUnknown::Fail => (self.severity, text),
                    }
                }
                (None, None) => (self.severity, format!("deny_when of policy {} is neither true nor false", self.id)),
            },
        };
        out.push(resource.finding_without_value(self.id, severity, &self.path, message));
    }
}

/// Judges one resource by all policies about its type.
pub fn judge(resource: &Resource, out: &mut Sink<'_>) {
    let policies = out.settings.policies.clone();
    let mut about = policies.iter().filter(|policy| policy.noun.name == resource.noun.name).peekable();
    if about.peek().is_none() {
        return;
    }
    let object = resource.object();
    for policy in about {
        policy.judge(resource, &object, out);
    }
}

/// Whether there is a rule, or a policy, with this id.
pub fn exists(policies: &[Policy], id: &str) -> bool {
    rules::exists(id) || policies.iter().any(|policy| policy.id == id)
}

/// Whether findings with this id have this enforcement.
pub fn is(policies: &[Policy], id: &str, enforcement: Enforcement) -> bool {
    policies.iter().any(|policy| policy.id == id && policy.enforcement == enforcement)
}
