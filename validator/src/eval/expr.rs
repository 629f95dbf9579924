//! What an expression means.
//!
//! Laziness is Terraform's: `try` and `can` swallow errors, a conditional drops those of the side it does not take, and nothing else does.
//! Unknown values are carried along more precisely than Terraform does where that is certain.

use super::access;
use super::budget::Budget;
use super::convert::convert;
use super::functions::{self, Env};
use super::number::{Number, Parsed};
use super::operator::{self, Branch};
use super::types::Type;
use super::value::{Cause, CauseKind, Data, Marks, Refinement, Site, Value, safe_prefix};
use crate::ast::{Ast, BinaryOp, Entry, Expr, ExprId, For, Key, Literal, Name, NotAnalysed, Part, Span, Step, UnaryOp};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An error that Terraform has as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The expression to blame.
    pub site: Site,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What evaluation gives.
pub type Evaluated = Result<Value, Failure>;

/// What a reference means: its value, and how many of the steps it used up.
pub type Resolved = Result<(Value, usize), String>;

/// The names that an expression may refer to, besides those that it binds itself.
pub trait Names {
    /// The value of `root` followed by as many of the steps as belong to the name. `site` is where it is mentioned.
    fn resolve(&self, root: &Name, steps: &[Step], site: Site) -> Resolved;
}

/// Only what is in a map: the variables of a template.
#[derive(Debug)]
pub struct Variables<'a>(pub &'a BTreeMap<Arc<str>, Value>);

impl Names for Variables<'_> {
    fn resolve(&self, root: &Name, _: &[Step], _: Site) -> Resolved {
        match self.0.get(&root.text) {
            Some(value) => Ok((value.clone(), 0)),
            None => Err(format!("vars map does not contain key \"{}\"", root.text)),
        }
    }
}

/// A name that the expression itself binds.
#[derive(Clone, Copy)]
struct Local<'l> {
    /// Nothing for the element of a splat.
    name: Option<&'l str>,
    value: &'l Value,
    outer: Option<&'l Local<'l>>,
}

impl<'l> Local<'l> {
    fn find(this: Option<&'l Self>, name: Option<&str>) -> Option<&'l Value> {
        let mut at = this;
        while let Some(local) = at {
            if local.name == name {
                return Some(local.value);
            }
            at = local.outer;
        }
        None
    }
}

/// Evaluates the expressions of one file.
#[derive(Clone, Copy)]
pub struct Expressions<'a> {
    /// The file.
    pub ast: &'a Ast,
    /// Its index in the caller's list.
    pub file: u32,
    /// What references mean.
    pub names: &'a dyn Names,
    /// Files and limits of functions.
    pub env: Env<'a>,
    /// What may still be spent.
    pub budget: &'a Budget,
    /// Whether `&&` and `||` leave out the right side when the left decides, as Terraform does from 1.12 on.
    pub short_circuit: bool,
    /// Whether the expression is the content of a template that a function renders.
    pub rendering: Rendering,
}

/// Templates must not render templates, and those from a string must not read files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendering {
    /// Not inside of a rendered template.
    No,
    /// Inside of `templatefile`.
    File,
    /// Inside of `templatestring`.
    String,
}

type Scope<'l> = Option<&'l Local<'l>>;

impl Expressions<'_> {
    /// The value of an expression.
    pub fn evaluate(&self, id: ExprId) -> Evaluated {
        self.eval(id, None)
    }

    fn site(&self, span: Span) -> Site {
        Site { file: self.file, start: span.start, end: span.end }
    }

    fn fail(&self, id: ExprId, message: impl Into<String>) -> Failure {
        Failure { site: self.site(self.ast.span(id)), message: message.into() }
    }

    fn unknown(&self, cause: Cause) -> Value {
        self.budget.note_unknown();
        Value::unknown(Type::Dynamic, cause)
    }

    /// Notes for an enclosing `try` that the value may still change.
    fn noted(&self, value: Value) -> Value {
        if !value.is_wholly_known() {
            self.budget.note_unknown();
        }
        value
    }

    fn eval(&self, id: ExprId, scope: Scope<'_>) -> Evaluated {
        let _level = match self.budget.descend() {
            Ok(level) => level,
            Err(cause) => return Ok(self.unknown(cause)),
        };
        if let Err(cause) = self.budget.spend(1) {
            return Ok(self.unknown(cause));
        }
        let value = self.form(id, scope)?;
        Ok(self.budget.admit(value).at(self.site(self.ast.span(id))))
    }

    fn form(&self, id: ExprId, scope: Scope<'_>) -> Evaluated {
        match self.ast.expr(id) {
            Expr::Literal(literal) => Ok(self.literal(literal)),
            Expr::Template(template) if template.is_wrapper() => match template.parts.first() {
                Some(Part::Interpolation(inner)) => self.eval(*inner, scope),
                _ => self.parts(&template.parts, scope),
            },
            Expr::Template(template) => self.parts(&template.parts, scope),
            Expr::Variable(name) => self.reference(id, name, &[], scope),
            Expr::Traversal { source, steps } => match self.ast.expr(*source) {
                Expr::Variable(name) => self.reference(id, name, steps, scope),
                _ => {
                    let value = self.eval(*source, scope)?;
                    self.steps(id, value, steps, scope)
                }
            },
            Expr::Splat { source, each, .. } => self.splat(id, *source, *each, scope),
            Expr::SplatItem => Ok(Local::find(scope, None)
                .cloned()
                .unwrap_or_else(|| self.unknown(Cause::new(CauseKind::NotAnalysed, "splat")))),
            Expr::Call { name, args, expand } => self.call(id, name, args, *expand, scope),
            Expr::Unary { op, operand } => {
                let value = self.eval(*operand, scope)?;
                operator::unary(*op, &value).map_err(|e| self.fail(id, e))
            }
            Expr::Binary { op, left, right } => self.binary(id, *op, *left, *right, scope),
            Expr::Conditional { condition, yes, no } => self.conditional(id, *condition, *yes, *no, scope),
            Expr::For(it) => self.comprehension(id, it, scope),
            Expr::List(items) => {
                let items: Result<Vec<Value>, Failure> = items.iter().map(|i| self.eval(*i, scope)).collect();
                Ok(Value::tuple(items?))
            }
            Expr::Object(entries) => self.object(entries, scope),
            Expr::Parentheses(inner) => self.eval(*inner, scope),
            Expr::NotAnalysed(why) => Ok(self.unknown(match why {
                NotAnalysed::TooDeep => Cause::new(CauseKind::NotAnalysed, "an expression that is nested too deeply"),
                NotAnalysed::Syntax => Cause::new(CauseKind::Failed, "a syntax error"),
            })),
        }
    }

    fn literal(&self, literal: &Literal) -> Value {
        match literal {
            Literal::Null => Value::null(Type::Dynamic),
            Literal::Bool(b) => Value::bool(*b),
            Literal::String(text) => Value::string(text),
            Literal::Number(text) => match Number::parse(text) {
                Parsed::Number(n) => Value::number(n),
                _ => {
                    self.budget.note_unknown();
                    let needs = "a number outside the range that is computed here";
                    Value::unknown_not_null(Type::Number, Cause::new(CauseKind::NotAnalysed, needs))
                }
            },
        }
    }

    fn reference(&self, id: ExprId, root: &Name, steps: &[Step], scope: Scope<'_>) -> Evaluated {
        if let Some(value) = Local::find(scope, Some(&root.text)) {
            let value = value.clone();
            return self.steps(id, value, steps, scope);
        }
        let (value, used) =
            self.names.resolve(root, steps, self.site(self.ast.span(id))).map_err(|e| self.fail(id, e))?;
        self.steps(id, value, steps.get(used..).unwrap_or_default(), scope)
    }

    fn steps(&self, id: ExprId, mut value: Value, steps: &[Step], scope: Scope<'_>) -> Evaluated {
        for step in steps {
            let (next, span) = match step {
                Step::Attr(name) => (access::attribute(&value, &name.text), name.span),
                Step::Index { key, span } => {
                    let key = self.eval(*key, scope)?;
                    (access::index(&value, &key), *span)
                }
                Step::LegacyIndex { index, span } => match Number::parse(index) {
                    Parsed::Number(n) => (access::index(&value, &Value::number(n)), *span),
                    _ => (Err("invalid index".into()), *span),
                },
            };
            value = next.map_err(|message| Failure { site: self.site(span), message })?;
        }
        if self.ast.path(id).is_some() || !steps.is_empty() {
            return Ok(self.noted(value));
        }
        Ok(value)
    }

    fn binary(&self, id: ExprId, op: BinaryOp, left: ExprId, right: ExprId, scope: Scope<'_>) -> Evaluated {
        let a = self.eval(left, scope)?;
        if self.short_circuit && operator::decisive(op).is_some() {
            let decided = convert(&a, &Type::Bool).ok().and_then(|v| v.as_bool());
            if decided.is_some() && decided == operator::decisive(op) {
                return Ok(Value::bool(decided == Some(true)).marked(a.marks()));
            }
        }
        let b = self.eval(right, scope)?;
        operator::binary(op, &a, &b).map_err(|e| self.fail(id, e))
    }

    fn conditional(&self, id: ExprId, condition: ExprId, yes: ExprId, no: ExprId, scope: Scope<'_>) -> Evaluated {
        let (a, a_may_fail) = self.side(yes, scope);
        let (b, b_may_fail) = self.side(no, scope);
        let condition_value = self.eval(condition, scope)?;
        let marks = condition_value.marks();
        if condition_value.is_null() {
            return Err(self.fail(condition, "null condition: conditions must either be true or false"));
        }
        let known = convert(&condition_value, &Type::Bool)
            .map_err(|e| self.fail(condition, format!("incorrect condition type: {e}")))?;
        let branch = |side: &Evaluated, may_fail: bool, id: ExprId| match side {
            Ok(value) if may_fail => Branch::Fallible(value.clone()),
            Ok(value) => Branch::Value(value.clone()),
            Err(_) => Branch::Failed(self.type_of_failure(id)),
        };
        let result = match known.as_bool() {
            Some(true) => operator::choose(&a.clone()?, &branch(&b, b_may_fail, no)),
            Some(false) => operator::choose(&b.clone()?, &branch(&a, a_may_fail, yes)),
            None => {
                self.budget.note_unknown();
                let cause = known.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::Failed, "condition"));
                operator::either(&branch(&a, a_may_fail, yes), &branch(&b, b_may_fail, no), cause)
            }
        };
        result.map(|v| v.marked(marks)).map_err(|e| self.fail(id, e))
    }

    /// One side of a conditional, and whether it could still fail when what is unknown becomes known.
    fn side(&self, id: ExprId, scope: Scope<'_>) -> (Evaluated, bool) {
        let before = self.budget.replace_met_unknown(false);
        let result = self.eval(id, scope);
        let met = self.budget.replace_met_unknown(before);
        if met {
            self.budget.note_unknown();
        }
        let plain = |path: crate::ast::Path<'_>| path.steps.iter().all(|s| matches!(s, Step::Attr(_)));
        let reference = self.ast.path(self.ast.bare(id)).is_some_and(plain);
        (result, met && !reference)
    }

    /// The type that Terraform gives an expression of this form in spite of its error, if that is certain.
    fn type_of_failure(&self, id: ExprId) -> Option<Type> {
        match self.ast.expr(self.ast.bare(id)) {
            Expr::Binary { op, .. } => Some(match op {
                BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo => {
                    Type::Number
                }
                _ => Type::Bool,
            }),
            Expr::Unary { op, .. } => Some(if *op == UnaryOp::Not { Type::Bool } else { Type::Number }),
            Expr::Template(template) => match template.parts.first() {
                Some(Part::Interpolation(inner)) if template.is_wrapper() => self.type_of_failure(*inner),
                _ => Some(Type::String),
            },
            Expr::Variable(_) | Expr::Call { .. } => Some(Type::Dynamic),
            Expr::Traversal { .. } if self.ast.path(id).is_some() => Some(Type::Dynamic),
            _ => None,
        }
    }

    fn object(&self, entries: &[Entry], scope: Scope<'_>) -> Evaluated {
        let mut items = BTreeMap::new();
        let mut marks = Marks::NONE;
        let mut open: Option<Cause> = None;
        for entry in entries {
            let key = match &entry.key {
                Key::Name(name) => Value::string(&name.text),
                Key::Expr(key) => {
                    if let Expr::Traversal { .. } = self.ast.expr(*key) {
                        let message =
                            "ambiguous attribute key: wrap a reference in parentheses, or a literal name in quotes";
                        return Err(self.fail(*key, message));
                    }
                    let value = self.eval(*key, scope)?;
                    if value.is_null() {
                        return Err(self.fail(*key, "null value as key: can't use a null value as a key"));
                    }
                    convert(&value, &Type::String).map_err(|e| {
                        self.fail(*key, format!("incorrect key type: can't use this value as a key: {e}"))
                    })?
                }
            };
            let value = self.eval(entry.value, scope)?;
            marks = marks.union(key.marks());
            match key.as_str() {
                Some(name) => {
                    items.insert(Arc::from(name), value);
                }
                None => open = open.or_else(|| key.deep_cause()),
            }
        }
        Ok(match open {
            Some(cause) => self.unknown(cause).marked(marks),
            None => Value::object(items).marked(marks),
        })
    }

    /// Elements with their keys, or why they are not known.
    fn iterate(
        &self,
        id: ExprId,
        collection: &Value,
        what: &str,
    ) -> Result<Result<Vec<(Value, Value)>, Cause>, Failure> {
        if collection.is_null() {
            return Err(self.fail(
                id,
                format!("iteration over null value: a null value cannot be used as the collection in a {what}"),
            ));
        }
        let ty = collection.shape();
        if !(ty.is_sequence() || ty.is_mapping() || ty == Type::Dynamic) {
            let ty = ty.friendly();
            return Err(self.fail(id, format!("iteration over non-iterable value: a value of type {ty} cannot be used as the collection in a {what}")));
        }
        if let Some(items) = collection.as_dict() {
            return Ok(Ok(items.iter().map(|(k, v)| (Value::string(k), v.clone())).collect()));
        }
        let is_set = matches!(collection.data(), Data::Set(_));
        match collection.as_seq() {
            Some(items) => Ok(Ok(items
                .iter()
                .enumerate()
                .map(|(i, v)| (if is_set { v.clone() } else { Value::count(i) }, v.clone()))
                .collect())),
            None => Ok(Err(collection.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::Failed, "collection")))),
        }
    }

    /// Whether the element stays; `None` if that is unknown.
    fn keeps(&self, condition: ExprId, scope: Scope<'_>, marks: &mut Marks) -> Result<Option<bool>, Failure> {
        let value = self.eval(condition, scope)?;
        *marks = marks.union(value.marks());
        if value.is_null() {
            return Err(self.fail(condition, "invalid 'for' condition: the value of the 'if' clause must not be null"));
        }
        let value = convert(&value, &Type::Bool).map_err(|e| {
            self.fail(condition, format!("invalid 'for' condition: the 'if' clause value is invalid: {e}"))
        })?;
        Ok(value.as_bool())
    }

    fn comprehension(&self, id: ExprId, it: &For, scope: Scope<'_>) -> Evaluated {
        let collection = self.eval(it.collection, scope)?;
        let mut marks = collection.marks();
        let pairs = match self.iterate(it.collection, &collection, "'for' expression")? {
            Ok(pairs) => pairs,
            Err(cause) => return Ok(self.unknown(cause).marked(marks)),
        };
        if let Some(condition) = it.condition {
            // The clause must make sense even for elements that are not known, as Terraform checks before the first.
            let open = Value::unknown(Type::Dynamic, Cause::new(CauseKind::NotAnalysed, "for"));
            let met = self.budget.replace_met_unknown(false);
            let checked = bound(it.key_name.as_ref(), &it.value_name, &open, &open, scope, |inner| {
                self.keeps(condition, inner, &mut Marks::default())
            });
            let met_here = self.budget.replace_met_unknown(met);
            if met_here && pairs.is_empty() {
                // No element will show whether the clause fails.
                self.budget.note_unknown();
            }
            checked?;
        }
        let mut list = Vec::new();
        let mut object: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
        let mut open: Option<Cause> = None;
        for (key, value) in &pairs {
            if let Err(cause) = self.budget.spend(1) {
                return Ok(self.unknown(cause).marked(marks));
            }
            let element = bound(it.key_name.as_ref(), &it.value_name, key, value, scope, |inner| {
                self.element(it, inner, &mut marks)
            })?;
            match element {
                Element::Left => {}
                Element::Open(cause) => open = open.or(Some(cause)),
                Element::Item(None, value) => list.push(value),
                Element::Item(Some(name), value) => {
                    let values = object.entry(name).or_default();
                    if !values.is_empty() && !it.group {
                        let message = "duplicate object key: two different items produced the same key in this 'for' expression; use ... after the value to group by key";
                        return Err(self.fail(it.key.unwrap_or(id), message));
                    }
                    values.push(value);
                }
            }
        }
        if let Some(cause) = open {
            return Ok(self.unknown(cause).marked(marks));
        }
        let result = match (it.key.is_some(), it.group) {
            (false, _) => Value::tuple(list),
            (true, true) => Value::object(object.into_iter().map(|(k, v)| (k, Value::tuple(v))).collect()),
            (true, false) => {
                Value::object(object.into_iter().filter_map(|(k, v)| Some((k, v.into_iter().next()?))).collect())
            }
        };
        Ok(result.marked(marks))
    }

    fn element(&self, it: &For, scope: Scope<'_>, marks: &mut Marks) -> Result<Element, Failure> {
        let undecided =
            |cause: Option<Cause>| Element::Open(cause.unwrap_or_else(|| Cause::new(CauseKind::NotAnalysed, "for")));
        if let Some(condition) = it.condition {
            match self.keeps(condition, scope, marks)? {
                Some(true) => {}
                Some(false) => return Ok(Element::Left),
                None => return Ok(undecided(self.eval(condition, scope)?.deep_cause())),
            }
        }
        let name = match it.key {
            None => None,
            Some(id) => {
                let key = self.eval(id, scope)?;
                if key.is_null() {
                    return Err(self.fail(
                        id,
                        "invalid object key: key expression in 'for' expression must not produce a null value",
                    ));
                }
                let key = convert(&key, &Type::String).map_err(|e| {
                    self.fail(id, format!("invalid object key: the key expression produced an invalid result: {e}"))
                })?;
                *marks = marks.union(key.marks());
                match key.as_str() {
                    Some(name) => Some(Arc::from(name)),
                    None => return Ok(undecided(key.deep_cause())),
                }
            }
        };
        Ok(Element::Item(name, self.eval(it.value, scope)?))
    }

    fn splat(&self, id: ExprId, source: ExprId, each: ExprId, scope: Scope<'_>) -> Evaluated {
        let value = self.eval(source, scope)?;
        let ty = value.shape();
        let marks = value.marks();
        if value.is_null() {
            return if ty.is_sequence() {
                Err(self.fail(id, "splat of null value: splat expressions cannot be applied to null sequences"))
            } else {
                Ok(Value::tuple(Vec::new()).marked(marks))
            };
        }
        let each = |item: &Value| self.eval(each, Some(&Local { name: None, value: item, outer: scope }));
        if let Some(unknown) = value.as_unknown() {
            let cause = unknown.cause.clone();
            let refinement = unknown.refinement.clone();
            return Ok(match &unknown.ty {
                Type::List(element) | Type::Set(element) => {
                    self.budget.note_unknown();
                    match each(&Value::unknown((**element).clone(), cause.clone())) {
                        Ok(item) if item.is_settled() || !item.ty().has_dynamic() => {
                            let kept = Refinement {
                                not_null: true,
                                min_len: refinement.min_len,
                                max_len: refinement.max_len,
                                ..Refinement::default()
                            };
                            Value::refined(Type::list(item.ty()), kept, cause)
                        }
                        _ => self.unknown(cause),
                    }
                }
                Type::Dynamic | Type::Tuple(_) => self.unknown(cause),
                _ if refinement.not_null => Value::tuple(vec![each(&value.clone().unmarked())?]),
                _ => self.unknown(cause),
            }
            .marked(marks));
        }
        let Some(items) = value.as_seq() else {
            return Ok(Value::tuple(vec![each(&value.clone().unmarked())?]).marked(marks));
        };
        self.budget.spend(items.len() as u64).ok();
        let results: Result<Vec<Value>, Failure> = items.iter().map(each).collect();
        let results = results?;
        let (Type::List(element) | Type::Set(element)) = &ty else { return Ok(Value::tuple(results).marked(marks)) };
        let Some(first) = results.first().map(Value::ty) else {
            // The type comes from what the elements would have given.
            let open = Value::unknown((**element).clone(), Cause::new(CauseKind::NotAnalysed, "splat"));
            let met = self.budget.replace_met_unknown(false);
            let item = each(&open);
            self.budget.replace_met_unknown(met);
            // What no element could give is an error without elements too.
            return Ok(Value::list(item?.ty(), Vec::new()).marked(marks));
        };
        if results.iter().all(|v| v.ty() == first) {
            return Ok(Value::list(first, results).marked(marks));
        }
        if results.iter().all(Value::is_settled) {
            return Err(self.fail(id, "invalid nested splat expressions: the elements have different types"));
        }
        let cause =
            results.iter().find_map(Value::deep_cause).unwrap_or_else(|| Cause::new(CauseKind::Failed, "splat"));
        Ok(self.unknown(cause).marked(marks))
    }

    /// The text of a template.
    fn parts(&self, parts: &[Part], scope: Scope<'_>) -> Evaluated {
        let mut text = Text::default();
        self.render(parts, scope, &mut text)?;
        if text.bytes.len() as u64 > self.budget.limits().value_bytes {
            text.open = text.open.or_else(|| Some(Cause::new(CauseKind::Budget, "the value is too large")));
        }
        Ok(match text.open {
            None => Value::string(&text.bytes),
            Some(cause) => {
                self.budget.note_unknown();
                let prefix = Some(safe_prefix(&text.bytes)).filter(|p| !p.is_empty()).map(Arc::from);
                Value::refined(Type::String, Refinement { not_null: true, prefix, ..Refinement::default() }, cause)
            }
        }
        .marked(text.marks))
    }

    fn render(&self, parts: &[Part], scope: Scope<'_>, text: &mut Text) -> Result<(), Failure> {
        for part in parts {
            if text.bytes.len() as u64 > self.budget.limits().value_bytes {
                text.open = Some(Cause::new(CauseKind::Budget, "the value is too large"));
            }
            match part {
                Part::Literal(literal, _) => text.push(literal),
                Part::Interpolation(inner) => {
                    let value = self.eval(*inner, scope)?;
                    self.append(*inner, &value, text)?;
                }
                Part::If { condition, yes, no, .. } => {
                    let value = self.eval(*condition, scope)?;
                    text.marks = text.marks.union(value.marks());
                    if value.is_null() {
                        return Err(self.fail(*condition, "null condition: conditions must either be true or false"));
                    }
                    let known = convert(&value, &Type::Bool)
                        .map_err(|e| self.fail(*condition, format!("incorrect condition type: {e}")))?;
                    match known.as_bool() {
                        Some(taken) => {
                            self.render(if taken { yes } else { no }, scope, text)?;
                        }
                        None => text.stop(known.deep_cause()),
                    }
                }
                Part::For { key, value, collection, body, .. } => {
                    let items = self.eval(*collection, scope)?;
                    text.marks = text.marks.union(items.marks());
                    match self.iterate(*collection, &items, "'for' directive")? {
                        Err(cause) => text.stop(Some(cause)),
                        Ok(pairs) => {
                            for (k, v) in &pairs {
                                if let Err(cause) = self.budget.spend(1) {
                                    text.stop(Some(cause));
                                    break;
                                }
                                bound(key.as_ref(), value, k, v, scope, |inner| self.render(body, inner, text))?;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn append(&self, id: ExprId, value: &Value, text: &mut Text) -> Result<(), Failure> {
        text.marks = text.marks.union(value.marks());
        if value.is_null() {
            return Err(self.fail(id, "invalid template interpolation value: the expression result is null"));
        }
        let converted = convert(value, &Type::String).map_err(|e| {
            self.fail(
                id,
                format!(
                    "invalid template interpolation value: cannot include the given value in a string template: {e}"
                ),
            )
        })?;
        match (converted.as_str(), converted.as_unknown()) {
            (Some(known), _) => text.push(known),
            (None, Some(unknown)) => {
                if let Some(prefix) = &unknown.refinement.prefix {
                    text.push(prefix);
                }
                text.stop(Some(unknown.cause.clone()));
            }
            (None, None) => text.stop(None),
        }
        Ok(())
    }

    fn call(&self, id: ExprId, name: &Name, args: &[ExprId], expand: bool, scope: Scope<'_>) -> Evaluated {
        let plain = name.text.strip_prefix("core::").unwrap_or(&name.text);
        if plain.contains("::") {
            for arg in args {
                self.eval(*arg, scope)?;
            }
            return Ok(self.unknown(Cause::new(CauseKind::Function, format!("{}()", name.text))));
        }
        match plain {
            "try" if !expand => return self.attempt(id, args, scope),
            "can" if !expand && args.len() == 1 => return Ok(self.can(args, scope)),
            "try" | "can" => return Ok(self.unknown(Cause::new(CauseKind::Function, format!("{plain}()")))),
            _ => {}
        }
        if functions::signature(plain).is_none() {
            return if LATER.contains(&plain) {
                Ok(self.unknown(Cause::new(CauseKind::Function, format!("{plain}()"))))
            } else {
                Err(self.fail(id, format!("call to unknown function: there is no function named \"{plain}\"")))
            };
        }
        let mut values = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            let value = self.eval(*arg, scope)?;
            if !(expand && i + 1 == args.len()) {
                values.push(value);
                continue;
            }
            if value.is_null() {
                return Err(
                    self.fail(*arg, "invalid expanding argument value: the expanding argument must not be null")
                );
            }
            if !value.ty().is_sequence() && value.ty() != Type::Dynamic {
                return Err(self.fail(
                    *arg,
                    "invalid expanding argument value: the expanding argument must be a tuple, list, or set",
                ));
            }
            let Some(items) = value.as_seq() else {
                let cause = value.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::Failed, "argument"));
                return Ok(self.unknown(cause).marked(value.deep_marks()));
            };
            values.extend(items.iter().map(|v| v.clone().marked(value.marks())));
        }
        let at = |index: Option<usize>| index.and_then(|i| args.get(i).or(args.last())).copied().unwrap_or(id);
        let size = values.iter().map(Value::size).fold(0u64, u64::saturating_add);
        let cost = if CONSTANT_TIME.contains(&plain) { 1 } else { size / 64 };
        if let Err(cause) = self.budget.spend(cost) {
            return Ok(self.unknown(cause));
        }
        let recursive = self.rendering != Rendering::No && matches!(plain, "templatefile" | "templatestring");
        if recursive || self.rendering == Rendering::String && plain.starts_with("file") {
            return Err(self.fail(id, format!("cannot call {plain} from inside a template function")));
        }
        let result = match plain {
            "templatefile" => self.templatefile(&values),
            "templatestring" => self.templatestring(args, &values),
            _ => functions::call(plain, values, self.env),
        };
        match result {
            Ok(value) => Ok(self.noted(value)),
            Err(fault) => Err(self.fail(at(fault.argument), format!("{plain}(): {}", fault.message))),
        }
    }

    /// The first argument that has no error. As soon as something unknown could still fail, so is the choice.
    fn attempt(&self, id: ExprId, args: &[ExprId], scope: Scope<'_>) -> Evaluated {
        let mut messages = Vec::new();
        for arg in args {
            let before = self.budget.replace_met_unknown(false);
            let result = self.eval(*arg, scope);
            let met = self.budget.replace_met_unknown(before);
            match result {
                Ok(value) if met || !value.is_wholly_known() => {
                    let cause = value.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::NotAnalysed, "try()"));
                    return Ok(self.unknown(cause).marked(value.deep_marks()));
                }
                Ok(value) => return Ok(value),
                Err(failure) => messages.push(failure.message),
            }
        }
        Err(self.fail(id, format!("no expression succeeded: {}", messages.join("; "))))
    }

    fn can(&self, args: &[ExprId], scope: Scope<'_>) -> Value {
        let Some(arg) = args.first() else { return Value::bool(false) };
        let before = self.budget.replace_met_unknown(false);
        let result = self.eval(*arg, scope);
        let met = self.budget.replace_met_unknown(before);
        match result {
            Ok(value) if met || !value.is_wholly_known() => {
                self.budget.note_unknown();
                let cause = value.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::NotAnalysed, "can()"));
                Value::unknown_not_null(Type::Bool, cause)
            }
            Ok(_) => Value::bool(true),
            Err(_) => Value::bool(false),
        }
    }

    fn templatefile(&self, args: &[Value]) -> functions::Outcome {
        let fault = |i: usize, message: String| functions::Fault { argument: Some(i), message };
        let [path, variables] = args else { return Err(fault(0, "expects two arguments: path and vars".into())) };
        let path_text = convert(path, &Type::String).map_err(|e| fault(0, e.to_string()))?;
        let content = functions::call("file", vec![path_text], self.env)?;
        let marks = content.marks().union(variables.deep_marks());
        let Some(text) = content.as_str() else {
            let cause = content.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::NotAnalysed, "templatefile()"));
            return Ok(Value::unknown(Type::Dynamic, cause).marked(marks));
        };
        self.render_text(text, variables, Rendering::File).map(|v| v.marked(marks))
    }

    fn templatestring(&self, exprs: &[ExprId], args: &[Value]) -> functions::Outcome {
        let fault = |i: usize, message: &str| functions::Fault { argument: Some(i), message: message.into() };
        let ([template, variables], Some(first)) = (args, exprs.first()) else {
            return Err(fault(0, "expects two arguments: template and vars"));
        };
        if self.ast.path(*first).is_none()
            && !matches!(self.ast.expr(*first), Expr::Traversal { .. } | Expr::Splat { .. })
        {
            return Err(fault(
                0,
                "invalid template expression: must be a direct reference to a single string from elsewhere",
            ));
        }
        let Some(text) = template.as_str() else {
            return if template.is_known() {
                Err(fault(0, "invalid template value: a string is required"))
            } else {
                Ok(template.clone())
            };
        };
        let result = self.render_text(text, variables, Rendering::String)?;
        let result = convert(&result, &Type::String).map_err(|e| fault(0, &format!("invalid template result: {e}")))?;
        Ok(result.marked(template.marks()))
    }

    /// Renders template text with variables, from a fresh scope.
    fn render_text(&self, text: &str, variables: &Value, rendering: Rendering) -> functions::Outcome {
        let fault = |i: usize, message: String| functions::Fault { argument: Some(i), message };
        if !variables.ty().is_mapping() && !variables.is_untyped() {
            return Err(fault(1, "invalid vars value: must be a map".into()));
        }
        let plain = variables.unmarked_deep();
        let Some(names) = plain.as_dict() else {
            let cause = plain.deep_cause().unwrap_or_else(|| Cause::new(CauseKind::Failed, "vars"));
            return Ok(Value::unknown(Type::Dynamic, cause));
        };
        let (ast, id, diagnostics) = crate::parse::parse_template(text.as_bytes());
        let Some(id) = id else {
            let limit = diagnostics.iter().any(|d| d.reason == crate::diagnostic::Reason::Limit);
            if limit {
                return Ok(Value::unknown(Type::Dynamic, Cause::new(CauseKind::NotAnalysed, "a template")));
            }
            let message = diagnostics.first().map_or_else(String::new, |d| d.message.clone());
            return Err(fault(0, format!("invalid template: {message}")));
        };
        let inner = Expressions { ast: &ast, names: &Variables(names), rendering, ..*self };
        let value = inner.evaluate(id).map_err(|f| fault(0, f.message))?;
        if value.is_null() {
            return Err(fault(0, "template result is null".into()));
        }
        Ok(value)
    }
}

/// Functions of later Terraform versions and of OpenTofu: not an error, and not computed.
const LATER: [&str; 6] = ["base64gunzip", "cidrcontains", "convert", "list", "map", "urldecode"];

/// Functions whose time does not depend on the size of their arguments.
const CONSTANT_TIME: [&str; 8] =
    ["coalesce", "element", "issensitive", "length", "lookup", "nonsensitive", "one", "sensitive"];

/// What one turn of a `for` gives.
enum Element {
    Left,
    Open(Cause),
    Item(Option<Arc<str>>, Value),
}

/// A text that grows until something unknown stops it.
#[derive(Default)]
struct Text {
    bytes: String,
    open: Option<Cause>,
    marks: Marks,
}

impl Text {
    fn push(&mut self, more: &str) {
        if self.open.is_none() {
            self.bytes.push_str(more);
        }
    }

    fn stop(&mut self, cause: Option<Cause>) {
        if self.open.is_none() {
            self.open = Some(cause.unwrap_or_else(|| Cause::new(CauseKind::NotAnalysed, "template")));
        }
    }
}

fn bound<R>(
    key_name: Option<&Name>,
    value_name: &Name,
    key: &Value,
    value: &Value,
    scope: Scope<'_>,
    f: impl FnOnce(Scope<'_>) -> R,
) -> R {
    let keyed;
    let outer = match key_name {
        Some(name) => {
            keyed = Local { name: Some(&name.text), value: key, outer: scope };
            Some(&keyed)
        }
        None => scope,
    };
    f(Some(&Local { name: Some(&value_name.text), value, outer }))
}
