//! The plan engine: a pure function of schema, prior state, proposed state and configuration.
//!
//! Elements of lists and maps correspond by index and key. Elements of sets have no identity: an element of the
//! configuration corresponds to one that agrees with it in everything that is configured.

use crate::diagnostic::Diagnostics;
use crate::path::{Path, Step};
use crate::schema::{Attr, Field, Fields, ModifyRequest, Nesting, Replace, Schema};
use crate::value::{Object, Set, Value};
use std::collections::BTreeMap;

/// What Terraform asks for; `None` is null.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The schema.
    pub schema: &'a Schema,
    /// The prior state; `None` on create.
    pub prior: Option<&'a Object>,
    /// Terraform's merge of configuration and prior state; `None` on destroy.
    pub proposed: Option<&'a Object>,
    /// The configuration; `None` on destroy.
    pub config: Option<&'a Object>,
}

/// The outcome of the plan engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanResult {
    /// The planned state without write-only values; `None` on destroy.
    pub planned: Option<Object>,
    /// Places whose change replaces the resource.
    pub requires_replace: Vec<Path>,
}

static NULL: Value = Value::Null;
static UNKNOWN: Value = Value::UNKNOWN;

/// Steps 2 to 6 of a plan: write-only values, defaults, equality in meaning, unknown marking, modifiers.
///
/// Errors come only from modifiers. The same input gives the same plan.
pub fn plan(input: PlanInput<'_>, d: &mut Diagnostics) -> PlanResult {
    let (Some(proposed), Some(config)) = (input.proposed, input.config) else { return PlanResult::default() };
    let fields = input.schema.fields();
    let mut planned = proposed.clone();
    input.schema.take_write_only(&mut planned);
    defaults(fields, Some(config), &mut planned, &mut Path::root());
    if let Some(prior) = input.prior {
        keep_spelling(input.schema, prior, &mut planned);
    }
    let mut kept = Vec::new();
    if input.prior.is_none_or(|prior| !planned.same(prior)) {
        let before = planned.clone();
        let mut marking = Marking { prior_state: input.prior, before: &before, kept: Vec::new() };
        marking.mark(fields, Some(config), input.prior, &mut planned, &mut Path::root());
        kept = marking.kept;
        forget_changed(&mut kept, input.prior, &mut planned);
    }
    let mut requires_replace = Vec::new();
    let root = planned.clone();
    let modifying = Modifying { prior_state: input.prior, config_root: config, plan_root: &root };
    modifying.run(fields, Some(config), input.prior, &mut planned, &mut Path::root(), &mut requires_replace, d);
    // Modifiers may have changed what others depend on.
    kept.retain(|k| !k.has_modifiers);
    forget_changed(&mut kept, input.prior, &mut planned);
    if let Some(prior) = input.prior {
        let side = Side { config: Some(config), prior: Some(prior), planned: Some(&planned), absent: &NULL };
        replacements(fields, side, &mut Path::root(), &mut requires_replace);
    } else {
        requires_replace.clear();
    }
    PlanResult { planned: Some(planned), requires_replace }
}

/// Keeps the spelling of `kept` wherever `fresh` means the same by the schema: for answers of read and apply.
pub fn keep_spelling(schema: &Schema, kept: &Object, fresh: &mut Object) {
    if schema.fields().any(&|a| a.semantic.is_some()) {
        keep_fields(schema.fields(), kept, fresh);
    }
}

fn keep_fields(fields: Fields<'_>, kept: &Object, fresh: &mut Object) {
    for field in fields.iter() {
        let (Some(new), old) = (fresh.get_mut(field.name()), kept.attr(field.name())) else { continue };
        if let Some(semantic) = field.attr().and_then(|a| a.semantic) {
            let comparable = |v: &Value| !v.is_null() && v.is_wholly_known();
            if old != new && comparable(old) && comparable(new) && (semantic.equal)(old, new) {
                *new = old.clone();
                continue;
            }
        }
        let Some((_, below)) = field.nested() else { continue };
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => keep_fields(below, old, new),
            (Value::List(old), Value::List(new)) => {
                old.iter().zip(new).for_each(|(old, new)| keep_element(below, old, new));
            }
            (Value::Map(old), Value::Map(new)) => {
                for (k, new) in new {
                    keep_element(below, old.get(k).unwrap_or(&NULL), new);
                }
            }
            _ => {}
        }
    }
}

fn keep_element(fields: Fields<'_>, old: &Value, new: &mut Value) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        keep_fields(fields, old, new);
    }
}

/// Whether an object agrees with one of the configuration (or of a plan): the same in everything but what is computed
/// and not told.
pub(crate) fn agrees(fields: Fields<'_>, told: &Object, other: &Object) -> bool {
    fields.iter().all(|field| {
        let (t, o) = (told.attr(field.name()), other.attr(field.name()));
        if t.same(o) || (field.computed() && (t.is_null() || t.is_unknown())) || field.write_only() {
            return true;
        }
        let Some((_, below)) = field.nested() else { return false };
        let pair = |t: &Value, o: &Value| matches!((t, o), (Value::Object(t), Value::Object(o)) if agrees(below, t, o));
        match (t, o) {
            (Value::List(t), Value::List(o)) => t.len() == o.len() && t.iter().zip(o).all(|(t, o)| pair(t, o)),
            (Value::Map(t), Value::Map(o)) => {
                t.len() == o.len() && t.iter().all(|(k, t)| o.get(k).is_some_and(|o| pair(t, o)))
            }
            (Value::Set(t), Value::Set(o)) => {
                t.len() == o.len() && correspond(below, t.as_slice(), o.as_slice()).iter().all(Option::is_some)
            }
            (t, o) => pair(t, o),
        }
    })
}

/// For each told element of a set the index of another that agrees with it; none is used twice, and as many as possible
/// are used.
pub(crate) fn correspond(fields: Fields<'_>, told: &[Value], others: &[Value]) -> Vec<Option<usize>> {
    let mut found = vec![None; told.len()];
    let mut used_by = vec![None; others.len()];
    for (i, t) in told.iter().enumerate() {
        if let Some(j) = (0..others.len()).find(|j| used_by[*j].is_none() && t.same(&others[*j])) {
            (found[i], used_by[j]) = (Some(j), Some(i));
        }
    }
    for i in 0..told.len() {
        if found[i].is_none() {
            assign(fields, told, others, i, &mut found, &mut used_by);
        }
    }
    found
}

/// Finds a partner for one element, where needed by giving others another partner (an augmenting path).
fn assign(
    fields: Fields<'_>,
    told: &[Value],
    others: &[Value],
    start: usize,
    found: &mut [Option<usize>],
    used_by: &mut [Option<usize>],
) {
    // For each visited partner the element that wants it.
    let mut wanted_by: Vec<Option<usize>> = vec![None; others.len()];
    let mut waiting = vec![start];
    while let Some(i) = waiting.pop() {
        let Value::Object(t) = &told[i] else { continue };
        for j in 0..others.len() {
            if wanted_by[j].is_some() || !matches!(&others[j], Value::Object(o) if agrees(fields, t, o)) {
                continue;
            }
            wanted_by[j] = Some(i);
            if let Some(owner) = used_by[j] {
                waiting.push(owner);
                continue;
            }
            let mut free = Some(j);
            while let (Some(j), Some(i)) = (free, free.and_then(|j| wanted_by[j])) {
                (used_by[j], free) = (Some(i), found[i].replace(j));
            }
            return;
        }
    }
}

type OnElement<'f> = dyn FnMut(Option<&Object>, Option<&Object>, &mut Object, &mut Path) + 'f;

/// Calls `f` with each object of a planned nested value and its counterparts in configuration and prior state.
fn each_element(
    nested: (Nesting, Fields<'_>),
    config: &Value,
    prior: &Value,
    planned: &mut Value,
    path: &mut Path,
    f: &mut OnElement<'_>,
) {
    let mut at = |step: Option<Step>, c: Option<&Value>, p: Option<&Value>, v: &mut Value, path: &mut Path| {
        let Value::Object(o) = v else { return };
        path.down(step, |path| f(c.and_then(Value::as_object), p.and_then(Value::as_object), o, path));
    };
    match planned {
        Value::Object(_) => at(None, Some(config), Some(prior), planned, path),
        Value::List(elements) => {
            for (i, v) in elements.iter_mut().enumerate() {
                let c = config.as_elements().and_then(|e| e.get(i));
                let p = prior.as_elements().and_then(|e| e.get(i));
                at(Some(Step::Index(i)), c, p, v, path);
            }
        }
        Value::Map(elements) => {
            for (k, v) in elements {
                let c = config.as_map().and_then(|m| m.get(k));
                let p = prior.as_map().and_then(|m| m.get(k));
                at(Some(Step::Key(k.clone())), c, p, v, path);
            }
        }
        Value::Set(elements) => {
            let planned_elements = std::mem::take(elements).into_vec();
            let priors = prior.as_elements().unwrap_or_default();
            let mut new = Vec::new();
            let (told, from_config) = match config {
                Value::Set(c) => (c.as_slice(), true),
                _ => (planned_elements.as_slice(), false),
            };
            let of_plan = correspond(nested.1, told, &planned_elements);
            let of_prior = correspond(nested.1, told, priors);
            for ((t, in_plan), in_prior) in told.iter().zip(of_plan).zip(of_prior) {
                let mut v = in_plan.map_or(t, |i| &planned_elements[i]).clone();
                let step = Step::Element(Box::new(v.clone()));
                at(Some(step), from_config.then_some(t), in_prior.map(|i| &priors[i]), &mut v, path);
                new.push(v);
            }
            *elements = new.into_iter().collect::<Set>();
        }
        _ => {}
    }
}

fn attr_of<'a>(object: Option<&'a Object>, name: &str) -> &'a Value {
    object.map_or(&NULL, |o| o.attr(name))
}

fn defaults(fields: Fields<'_>, config: Option<&Object>, planned: &mut Object, path: &mut Path) {
    if config.is_none() || !fields.any(&|a| a.default.is_some()) {
        return;
    }
    for field in fields.iter() {
        let name = field.name();
        let told = attr_of(config, name);
        let default = field.attr().filter(|a| !a.write_only).and_then(|a| a.default.as_ref());
        if let (Some(default), true) = (default, told.is_null()) {
            planned.set(name, default.clone());
        } else if let (Some(nested), Some(value), false) = (field.nested(), planned.get_mut(name), told.is_null()) {
            path.push(Step::Attr(name.to_owned()));
            each_element(nested, told, &NULL, value, path, &mut |c, _, o, path| defaults(nested.1, c, o, path));
            path.pop();
        }
    }
}

/// A value that was kept and becomes unknown when something else changes.
struct Kept<'a> {
    path: Path,
    unless: &'a [Path],
    has_modifiers: bool,
}

fn has_changed(prior: Option<&Object>, planned: &Object, place: &Path) -> bool {
    match (prior.and_then(|p| p.lookup(place)), planned.lookup(place)) {
        (Some(a), Some(b)) => !a.same(b),
        (Some(v), None) | (None, Some(v)) => !v.is_null(),
        (None, None) => false,
    }
}

/// Makes kept values unknown, until nothing more follows from it.
fn forget_changed(kept: &mut Vec<Kept<'_>>, prior: Option<&Object>, planned: &mut Object) {
    loop {
        let before = kept.len();
        kept.retain(|k| {
            let changed = k.unless.iter().any(|place| has_changed(prior, planned, place));
            !(changed && planned.set_at(&k.path, Value::UNKNOWN))
        });
        if kept.len() == before {
            return;
        }
    }
}

struct Marking<'a, 's> {
    prior_state: Option<&'a Object>,
    /// The plan before anything was marked.
    before: &'a Object,
    kept: Vec<Kept<'s>>,
}

impl<'s> Marking<'_, 's> {
    /// Marks what the configuration does not tell. `config` is nothing below a computed object that is kept in parts.
    fn mark(
        &mut self,
        fields: Fields<'s>,
        config: Option<&Object>,
        prior: Option<&Object>,
        planned: &mut Object,
        path: &mut Path,
    ) {
        for field in fields.iter() {
            let name = field.name();
            let told = attr_of(config, name);
            let Some(value) = planned.get_mut(name) else { continue };
            if field.write_only() {
                continue;
            }
            path.push(Step::Attr(name.to_owned()));
            let free = told.is_null() && (field.computed() || config.is_none());
            if !free {
                if let (Some(nested), false) = (field.nested(), told.is_null()) {
                    each_element(nested, told, attr_of(prior, name), value, path, &mut |c, p, o, path| {
                        if c.is_some() {
                            self.mark(nested.1, c, p, o, path);
                        }
                    });
                }
            } else if field.attr().is_none_or(|a| a.default.is_none()) || config.is_none() {
                self.mark_free(field, prior.map(|p| p.attr(name)), value, path);
            }
            path.pop();
        }
    }

    /// Decides about a computed value that is null in the configuration.
    fn mark_free(&mut self, field: Field<'s>, prior: Option<&Value>, value: &mut Value, path: &mut Path) {
        if let (Some(attr), Some(prior)) = (field.attr(), prior)
            && (attr.keep_state || (attr.keep_non_null_state && !prior.is_null()))
            && self.keeps(attr, path)
        {
            *value = prior.clone();
            return;
        }
        if let (Some((Nesting::Single, below)), Some(Value::Object(old))) = (field.nested(), prior)
            && below.any(&|a| a.keep_state || a.keep_non_null_state)
        {
            let mut parts = old.clone();
            self.mark(below, None, Some(old), &mut parts, path);
            *value = parts.into();
            return;
        }
        *value = Value::UNKNOWN;
    }

    fn keeps(&mut self, attr: &'s Attr, path: &Path) -> bool {
        if attr.unknown_when.is_empty() {
            return true;
        }
        if path.steps().iter().any(|s| matches!(s, Step::Element(_))) {
            // A place in a set cannot be found again, so it is decided now.
            return !attr.unknown_when.iter().any(|place| has_changed(self.prior_state, self.before, place));
        }
        self.kept.push(Kept {
            path: path.clone(),
            unless: &attr.unknown_when,
            has_modifiers: !attr.modifiers.is_empty(),
        });
        true
    }
}

struct Modifying<'a> {
    prior_state: Option<&'a Object>,
    config_root: &'a Object,
    plan_root: &'a Object,
}

impl Modifying<'_> {
    #[expect(clippy::too_many_arguments)]
    fn run(
        &self,
        fields: Fields<'_>,
        config: Option<&Object>,
        prior: Option<&Object>,
        planned: &mut Object,
        path: &mut Path,
        replace: &mut Vec<Path>,
        d: &mut Diagnostics,
    ) {
        if !fields.any(&|a| !a.modifiers.is_empty()) {
            return;
        }
        for field in fields.iter() {
            let name = field.name();
            let (told, old) = (attr_of(config, name), attr_of(prior, name));
            let Some(value) = planned.get_mut(name) else { continue };
            path.push(Step::Attr(name.to_owned()));
            for step in field.attr().map(|a| a.modifiers.as_slice()).unwrap_or_default() {
                let request = ModifyRequest {
                    path,
                    config: told,
                    prior: old,
                    prior_state: self.prior_state,
                    config_root: self.config_root,
                    plan_root: self.plan_root,
                };
                let mut asks = false;
                step(&request, value, &mut asks, d);
                if asks {
                    add_place(replace, path);
                }
            }
            if let Some(nested) = field.nested() {
                each_element(nested, told, old, value, path, &mut |c, p, o, path| {
                    self.run(nested.1, c, p, o, path, replace, d);
                });
            }
            path.pop();
        }
    }
}

/// Adds the part of a place that Terraform can follow.
fn add_place(places: &mut Vec<Path>, path: &Path) {
    let place = Path::from_steps(path.wire_steps().iter().cloned());
    if !places.contains(&place) {
        places.push(place);
    }
}

/// One object on all sides. Where the planned one is missing, its attributes are `absent`: null, or unknown.
#[derive(Clone, Copy)]
struct Side<'a> {
    config: Option<&'a Object>,
    prior: Option<&'a Object>,
    planned: Option<&'a Object>,
    absent: &'a Value,
}

fn replacements(fields: Fields<'_>, side: Side<'_>, path: &mut Path, found: &mut Vec<Path>) {
    if !fields.any(&|a| !matches!(a.replace, Replace::Never)) {
        return;
    }
    for field in fields.iter() {
        let name = field.name();
        let (told, old) = (attr_of(side.config, name), attr_of(side.prior, name));
        let new = side.planned.map_or(side.absent, |o| o.attr(name));
        if new.same(old) {
            continue;
        }
        path.push(Step::Attr(name.to_owned()));
        let replaces = match field.attr().map(|a| &a.replace) {
            None | Some(Replace::Never) => false,
            Some(Replace::OnChange) => true,
            Some(Replace::IfConfigured) => !told.is_null(),
            Some(Replace::If(test)) => test(old, new),
        };
        if replaces {
            add_place(found, path);
        }
        if let Some((_, below)) = field.nested() {
            nested_replacements(below, [told, old, new], path, found);
        }
        path.pop();
    }
}

fn nested_replacements(fields: Fields<'_>, [told, old, new]: [&Value; 3], path: &mut Path, found: &mut Vec<Path>) {
    let absent = if new.is_unknown() { &UNKNOWN } else { &NULL };
    let mut at = |step: Option<Step>, [told, old, new]: [Option<&Value>; 3]| {
        let object = |v: Option<&'_ Value>| v.and_then(Value::as_object).is_some();
        if !object(old) && !object(new) {
            return;
        }
        let side = Side {
            config: told.and_then(Value::as_object),
            prior: old.and_then(Value::as_object),
            planned: new.and_then(Value::as_object),
            absent: if new.is_some_and(Value::is_unknown) { &UNKNOWN } else { absent },
        };
        path.down(step, |path| replacements(fields, side, path, found));
    };
    let elements = |v: &'_ Value| -> Vec<Value> { v.as_elements().unwrap_or_default().to_vec() };
    match (old, new) {
        (Value::Set(_), _) | (_, Value::Set(_)) => {
            let (told, old, new) = (elements(told), elements(old), elements(new));
            let in_told = correspond(fields, &new, &told);
            let mut in_old = correspond(fields, &new, &old);
            // Others are taken for one that was changed in place, if that needs no replacement.
            for (i, v) in new.iter().enumerate() {
                let told = in_told[i].map(|i| &told[i]);
                if in_old[i].is_none() {
                    in_old[i] = (0..old.len()).find(|j| {
                        !in_old.contains(&Some(*j)) && {
                            let mut needed = Vec::new();
                            let sides = [told, Some(&old[*j]), Some(v)].map(|v| v.and_then(Value::as_object));
                            let side = Side { config: sides[0], prior: sides[1], planned: sides[2], absent };
                            replacements(fields, side, &mut Path::root(), &mut needed);
                            needed.is_empty()
                        }
                    });
                }
            }
            let step = || Some(Step::Element(Box::new(Value::Null)));
            for (i, v) in new.iter().enumerate() {
                at(step(), [in_told[i].map(|i| &told[i]), in_old[i].map(|i| &old[i]), Some(v)]);
            }
            for (_, v) in old.iter().enumerate().filter(|(i, _)| !in_old.contains(&Some(*i))) {
                at(step(), [None, Some(v), None]);
            }
        }
        (Value::List(_), _) | (_, Value::List(_)) => {
            let (told, old, new) = (elements(told), elements(old), elements(new));
            for i in 0..old.len().max(new.len()) {
                at(Some(Step::Index(i)), [told.get(i), old.get(i), new.get(i)]);
            }
        }
        (Value::Map(_), _) | (_, Value::Map(_)) => {
            let get = |v: &'_ Value| -> BTreeMap<String, Value> { v.as_map().cloned().unwrap_or_default() };
            let (told, old, new) = (get(told), get(old), get(new));
            for k in old.keys().chain(new.keys().filter(|k| !old.contains_key(*k))) {
                at(Some(Step::Key(k.clone())), [told.get(k), old.get(k), new.get(k)]);
            }
        }
        _ => at(None, [Some(told), Some(old), Some(new)]),
    }
}

/// Terraform core's merge of configuration and prior state: what it sends as the proposed new state.
pub fn proposed_new_state(schema: &Schema, prior: Option<&Object>, config: &Object) -> Object {
    propose(schema.fields(), prior, config)
}

fn propose(fields: Fields<'_>, prior: Option<&Object>, config: &Object) -> Object {
    let one = |field: Field<'_>| {
        let (told, old) = (config.attr(field.name()), attr_of(prior, field.name()));
        let value = match field.nested() {
            _ if told.is_null() && field.computed() => old.clone(),
            Some((_, below)) => propose_nested(below, told, old),
            None => told.clone(),
        };
        (field.name().to_owned(), value)
    };
    fields.iter().map(one).collect()
}

fn propose_nested(fields: Fields<'_>, told: &Value, old: &Value) -> Value {
    let element = |told: &Value, old: Option<&Value>| match told {
        Value::Object(o) => Value::Object(propose(fields, old.and_then(Value::as_object), o)),
        other => other.clone(),
    };
    match told {
        Value::List(e) => {
            let old = if let Value::List(old) = old { old.as_slice() } else { &[] };
            Value::list(e.iter().enumerate().map(|(i, v)| element(v, old.get(i))))
        }
        Value::Map(m) => {
            Value::map(m.iter().map(|(k, v)| (k.clone(), element(v, old.as_map().and_then(|m| m.get(k))))))
        }
        Value::Set(s) => {
            let old = old.as_elements().unwrap_or_default();
            let partners = correspond(fields, s.as_slice(), old);
            Value::set(s.iter().zip(partners).map(|(v, i)| element(v, i.map(|i| &old[i]))))
        }
        other => element(other, Some(old)),
    }
}

#[cfg(test)]
mod tests;
