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
mod tests {
    use super::*;
    use crate::core_checks::{check_apply, check_plan};
    use crate::path;
    use crate::schema::{Block, Body};
    use proptest::prelude::*;

    fn run(schema: &Schema, prior: Option<&Object>, config: &Object) -> PlanResult {
        assert_eq!(schema.check(), Ok(()));
        let proposed = proposed_new_state(schema, prior, config);
        let input = PlanInput { schema, prior, proposed: Some(&proposed), config: Some(config) };
        let mut d = Diagnostics::new();
        let result = plan(input, &mut d);
        assert!(!d.has_errors(), "{d}");
        assert_eq!(check_plan(input, result.planned.as_ref(), &result.requires_replace), []);
        result
    }

    fn planned(schema: &Schema, prior: Option<&Object>, config: &Object) -> Object {
        run(schema, prior, config).planned.unwrap()
    }

    fn replaced(schema: &Schema, prior: &Object, config: &Object) -> Vec<String> {
        run(schema, Some(prior), config).requires_replace.iter().map(Path::to_string).collect()
    }

    fn ignoring_case(a: &Value, b: &Value) -> bool {
        a.as_str().zip(b.as_str()).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    fn schema() -> Schema {
        Schema::new(0)
            .attr(Attr::string("name").required().replace_on_change())
            .attr(Attr::string("id").computed().keep_state())
            .attr(Attr::int64("generation").computed())
            .attr(Attr::string("size").optional().semantic("case", ignoring_case))
            .attr(Attr::int64("replicas").default(2))
            .attr(Attr::string("token_wo").optional().write_only())
            .attr(Attr::string("address").optional().computed().keep_state().unknown_when([path!("size")]))
    }

    fn config() -> Object {
        schema().empty_object().with("name", "n").with("size", "Big")
    }

    fn state() -> Object {
        config().with("id", "i-1").with("generation", 1).with("replicas", 2).with("address", "10.0.0.1")
    }

    #[test]
    fn on_create_every_computed_attribute_is_unknown_and_defaults_are_known() {
        let p = planned(&schema(), None, &config().with("token_wo", "s"));
        let wanted = config()
            .with("id", Value::UNKNOWN)
            .with("generation", Value::UNKNOWN)
            .with("replicas", 2)
            .with("address", Value::UNKNOWN);
        assert_eq!(p, wanted);
    }

    #[test]
    fn without_a_change_nothing_is_unknown() {
        assert_eq!(planned(&schema(), Some(&state()), &config()), state());
        assert_eq!(
            planned(&schema(), Some(&state()), &config().with("token_wo", "s")),
            state(),
            "write-only is no change"
        );
    }

    #[test]
    fn a_change_makes_unknown_what_is_not_kept() {
        let p = planned(&schema(), Some(&state()), &config().with("replicas", 3));
        assert_eq!(p, state().with("replicas", 3).with("generation", Value::UNKNOWN));
        let p = planned(&schema(), Some(&state()), &config().with("size", "Small"));
        assert_eq!(p, state().with("size", "Small").with("generation", Value::UNKNOWN).with("address", Value::UNKNOWN));
    }

    #[test]
    fn a_default_that_differs_from_the_state_is_a_change() {
        let p = planned(&schema(), Some(&state().with("replicas", 7)), &config());
        assert_eq!(p, state().with("generation", Value::UNKNOWN));
    }

    #[test]
    fn another_spelling_of_the_same_meaning_is_no_change() {
        assert_eq!(planned(&schema(), Some(&state()), &config().with("size", "BIG")), state());
    }

    #[test]
    fn a_change_of_an_immutable_attribute_replaces() {
        assert_eq!(replaced(&schema(), &state(), &config().with("name", "m")), ["name"]);
        assert_eq!(replaced(&schema(), &state(), &config().with("name", Value::UNKNOWN)), ["name"]);
        assert_eq!(replaced(&schema(), &state(), &config().with("replicas", 9)), [""; 0]);
        assert!(run(&schema(), None, &config()).requires_replace.is_empty());
    }

    #[test]
    fn a_destroy_plans_nothing() {
        let (schema, state) = (schema(), state());
        let input = PlanInput { schema: &schema, prior: Some(&state), proposed: None, config: None };
        assert_eq!(plan(input, &mut Diagnostics::new()), PlanResult::default());
    }

    #[test]
    fn keeping_tells_null_from_a_value() {
        let s = Schema::new(0)
            .attr(Attr::string("x").optional())
            .attr(Attr::string("kept").computed().keep_state())
            .attr(Attr::string("kept_value").computed().keep_non_null_state());
        let prior = s.empty_object().with("x", "a");
        let p = planned(&s, Some(&prior), &s.empty_object().with("x", "b"));
        assert_eq!(p, s.empty_object().with("x", "b").with("kept_value", Value::UNKNOWN));
        let prior = prior.with("kept_value", "v");
        let p = planned(&s, Some(&prior), &s.empty_object().with("x", "b"));
        assert_eq!(p, prior.with("x", "b"));
    }

    #[test]
    fn what_depends_on_something_unknown_becomes_unknown_in_turn() {
        let s = Schema::new(0)
            .attr(Attr::string("x").optional())
            .attr(Attr::string("y").optional())
            .attr(Attr::string("c").computed().keep_state().unknown_when([path!("b")]))
            .attr(Attr::string("b").computed().keep_state().unknown_when([path!("a")]))
            .attr(Attr::string("a").computed().keep_state().unknown_when([path!("x")]));
        let full = |x: &str, y: &str| s.empty_object().with("x", x).with("y", y);
        let prior = full("1", "1").with("a", "a").with("b", "b").with("c", "c");
        assert_eq!(planned(&s, Some(&prior), &full("1", "2")), prior.clone().with("y", "2"));
        let p = planned(&s, Some(&prior), &full("2", "1"));
        assert_eq!(p, full("2", "1").with("a", Value::UNKNOWN).with("b", Value::UNKNOWN).with("c", Value::UNKNOWN));
    }

    fn nested(nesting: Nesting) -> Schema {
        let inner = [
            Attr::string("n").optional().replace_on_change(),
            Attr::string("d").default("dd"),
            Attr::string("c").computed(),
            Attr::string("k").computed().keep_state(),
            Attr::string("s").optional().semantic("case", ignoring_case),
        ];
        Schema::new(0).attr(Attr::nested("a", nesting, inner).optional()).attr(Attr::string("x").optional())
    }

    fn element(n: &str, [d, c, k, s]: [Value; 4]) -> Value {
        Value::object([("n", n.into()), ("d", d), ("c", c), ("k", k), ("s", s)])
    }

    fn told(n: &str, s: &str) -> Value {
        element(n, [Value::Null, Value::Null, Value::Null, s.into()])
    }

    fn stored(n: &str, s: &str) -> Value {
        element(n, ["dd".into(), format!("c-{n}").into(), format!("k-{n}").into(), s.into()])
    }

    fn wrap(nesting: Nesting, mut elements: Vec<Value>) -> Value {
        match nesting {
            Nesting::Single | Nesting::Group => elements.swap_remove(0),
            Nesting::List => Value::List(elements),
            Nesting::Set => Value::set(elements),
            Nesting::Map => {
                Value::map(elements.into_iter().enumerate().map(|(i, v)| (char::from(b'a' + i as u8).to_string(), v)))
            }
        }
    }

    const NESTINGS: [Nesting; 4] = [Nesting::Single, Nesting::List, Nesting::Set, Nesting::Map];

    #[test]
    fn nested_attributes_follow_the_same_rules() {
        for nesting in NESTINGS {
            let s = nested(nesting);
            let o = |v: Vec<Value>, x: &str| s.empty_object().with("a", wrap(nesting, v)).with("x", x);
            // Create: defaults where the parent is set, unknown where computed.
            let new = |n| element(n, ["dd".into(), Value::UNKNOWN, Value::UNKNOWN, "s".into()]);
            assert_eq!(planned(&s, None, &o(vec![told("1", "s")], "x")), o(vec![new("1")], "x"), "{nesting:?}");
            let absent = s.empty_object();
            assert_eq!(planned(&s, None, &absent), absent, "{nesting:?}: no default below an absent parent");
            // No change.
            let prior = o(vec![stored("1", "s")], "x");
            assert_eq!(planned(&s, Some(&prior), &o(vec![told("1", "s")], "x")), prior, "{nesting:?}");
            if nesting != Nesting::Set {
                assert_eq!(planned(&s, Some(&prior), &o(vec![told("1", "S")], "x")), prior, "{nesting:?}");
            }
            // A change elsewhere keeps what is to be kept.
            let kept = element("1", ["dd".into(), Value::UNKNOWN, "k-1".into(), "s".into()]);
            assert_eq!(planned(&s, Some(&prior), &o(vec![told("1", "s")], "y")), o(vec![kept], "y"), "{nesting:?}");
        }
    }

    #[test]
    fn a_new_element_keeps_no_state() {
        for nesting in [Nesting::List, Nesting::Set, Nesting::Map] {
            let s = nested(nesting);
            let o = |v: Vec<Value>| s.empty_object().with("a", wrap(nesting, v));
            let p = planned(&s, Some(&o(vec![stored("1", "s")])), &o(vec![told("1", "s"), told("2", "s")]));
            let old = element("1", ["dd".into(), Value::UNKNOWN, "k-1".into(), "s".into()]);
            let new = element("2", ["dd".into(), Value::UNKNOWN, Value::UNKNOWN, "s".into()]);
            assert_eq!(p, o(vec![old, new]), "{nesting:?}");
        }
    }

    #[test]
    fn nested_changes_replace_at_a_place_that_terraform_can_follow() {
        let place = |nesting, prior: Vec<Value>, config: Vec<Value>| {
            let s = nested(nesting);
            let o = |v: Vec<Value>| {
                let v = if v.is_empty() { Value::Null } else { wrap(nesting, v) };
                s.empty_object().with("a", v)
            };
            replaced(&s, &o(prior), &o(config))
        };
        let (one, two) = (|| vec![stored("1", "s")], || vec![told("2", "s")]);
        assert_eq!(place(Nesting::Single, one(), two()), ["a.n"]);
        assert_eq!(place(Nesting::List, one(), two()), ["a[0].n"]);
        assert_eq!(place(Nesting::Map, one(), two()), [r#"a["a"].n"#]);
        assert_eq!(place(Nesting::Set, one(), two()), ["a"]);
        for nesting in NESTINGS {
            assert_eq!(place(nesting, one(), vec![told("1", "t")]), [""; 0], "{nesting:?}");
            assert_eq!(place(nesting, one(), vec![]).len(), 1, "{nesting:?}: removed");
        }
    }

    #[test]
    fn unknown_elements_of_a_set_stay_apart() {
        let s = nested(Nesting::Set);
        let unknown = || element("n", [Value::Null, Value::Null, Value::Null, Value::UNKNOWN]);
        let config = s.empty_object().with("a", Value::set([unknown(), unknown()]));
        assert_eq!(planned(&s, None, &config).at("a").unwrap().as_elements().unwrap().len(), 2);
    }

    #[test]
    fn a_computed_object_is_kept_in_parts() {
        let s = Schema::new(0).attr(Attr::string("x").optional()).attr(
            Attr::nested_single(
                "status",
                [Attr::string("stable").computed().keep_state(), Attr::string("moving").computed()],
            )
            .computed(),
        );
        let o = |x: &str, status: Value| s.empty_object().with("x", x).with("status", status);
        let status = |m: Value| Value::object([("stable", "s".into()), ("moving", m)]);
        assert_eq!(planned(&s, None, &o("a", Value::Null)), o("a", Value::UNKNOWN));
        let p = planned(&s, Some(&o("a", status("m".into()))), &o("b", Value::Null));
        assert_eq!(p, o("b", status(Value::UNKNOWN)));
    }

    #[test]
    fn conditions_decide_about_replacement() {
        let grows = |a: &Value, b: &Value| b.as_i64() > a.as_i64();
        let s = Schema::new(0)
            .attr(Attr::int64("n").optional().computed().keep_state().replace_if(grows))
            .attr(Attr::string("c").optional().computed().replace_if_configured())
            .attr(Attr::string("x").optional());
        let o = |n: Value, c: Value| s.empty_object().with("n", n).with("c", c);
        let prior = o(2.into(), "c".into());
        assert_eq!(replaced(&s, &prior, &o(3.into(), Value::Null)), ["n"]);
        assert_eq!(replaced(&s, &prior, &o(1.into(), Value::Null)), [""; 0]);
        assert_eq!(replaced(&s, &prior, &o(Value::Null, "d".into())), ["c"]);
        assert_eq!(
            replaced(&s, &prior, &o(Value::Null, Value::Null).with("x", "y")),
            [""; 0],
            "c only becomes unknown"
        );
    }

    #[test]
    fn modifiers_see_all_sides_and_run_outermost_first() {
        let inner = Attr::string("in").optional().computed().modify(|rq, v, replace, d| {
            assert_eq!(rq.path.to_string(), "a[0].in");
            assert_eq!(rq.config_root.at("a[0].out"), Some(&"new".into()));
            assert_eq!(rq.prior, &Value::from("old"));
            assert!(rq.prior_state.is_some() && rq.config.is_null());
            assert_eq!(rq.plan_root.at("a[0].in"), Some(&Value::UNKNOWN));
            *v = "made".into();
            *replace = true;
            d.warn(rq.path.clone(), "Noticed", "");
        });
        let attr = Attr::nested_list("a", [inner, Attr::string("out").optional()]).optional();
        let s = Schema::new(0).attr(attr).attr(Attr::string("b").computed().keep_state().unknown_when([path!(
            "a",
            [0],
            "in"
        )]));
        let o = |i: Value, out: &str, b: Value| {
            s.empty_object().with("a", Value::list([Value::object([("in", i), ("out", out.into())])])).with("b", b)
        };
        let r = run(&s, Some(&o("old".into(), "old", "b".into())), &o(Value::Null, "new", Value::Null));
        assert_eq!(r.planned, Some(o("made".into(), "new", Value::UNKNOWN)));
        assert_eq!(r.requires_replace, [path!("a", [0], "in")]);
    }

    #[test]
    fn an_unknown_block_stays_unknown_and_known_ones_are_filled() {
        let body = Body::new().attr(Attr::string("n").optional()).attr(Attr::string("c").computed());
        let s = Schema::new(0)
            .block(Block::list("l", body.clone()))
            .block(Block::set("s", body.clone()))
            .block(Block::group("g", body));
        let p = planned(&s, None, &s.empty_object());
        assert_eq!(p, s.empty_object().with("g", Value::object([("n", Value::Null), ("c", Value::UNKNOWN)])));
        let p = planned(&s, None, &s.empty_object().with("l", Value::UNKNOWN));
        assert_eq!(p.at("l"), Some(&Value::UNKNOWN));
        let block = |c: Value| Value::object([("n", "n".into()), ("c", c)]);
        let p = planned(&s, None, &s.empty_object().with("s", Value::set([block(Value::Null)])));
        assert_eq!(p.at("s"), Some(&Value::set([block(Value::UNKNOWN)])));
    }

    #[test]
    fn spelling_is_kept_in_answers() {
        for nesting in [Nesting::Single, Nesting::List, Nesting::Map] {
            let s = nested(nesting);
            let o = |v: Value| s.empty_object().with("a", wrap(nesting, vec![v]));
            let mut fresh = o(stored("2", "ABC"));
            keep_spelling(&s, &o(stored("1", "abc")), &mut fresh);
            assert_eq!(fresh, o(stored("2", "abc")), "{nesting:?}");
        }
    }

    /// Numbers that look random, from a seed.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % n
        }

        fn attrs(&mut self, depth: u32, in_set: bool, free: bool) -> Vec<Attr> {
            (0..=self.roll(4)).map(|i| self.attr(format!("a{i}"), depth, in_set, free)).collect()
        }

        fn attr(&mut self, name: String, depth: u32, in_set: bool, free: bool) -> Attr {
            let nesting = NESTINGS[self.roll(4) as usize];
            let is_nested = depth > 0 && self.roll(2) == 0;
            let flags = self.roll(if in_set { 7 } else { 8 });
            let mut attr = if is_nested {
                let purely_computed = flags == 2;
                let attrs =
                    self.attrs(depth - 1, in_set || nesting == Nesting::Set, free && flags != 7 && !purely_computed);
                Attr::nested(name, nesting, attrs)
            } else if self.roll(3) == 0 {
                Attr::list(name, crate::Type::String)
            } else {
                Attr::string(name).semantic("case", ignoring_case)
            };
            if !free {
                return attr.computed();
            }
            attr = match flags {
                0 => attr.required(),
                1 => attr.optional(),
                2 => attr.computed(),
                3 => attr.computed().keep_state(),
                4 => attr.optional().computed(),
                5 => attr.optional().computed().keep_non_null_state(),
                6 if matches!(attr.kind, crate::Kind::String) => attr.default("Default"),
                7 if !is_nested => return attr.optional().write_only(),
                _ => attr.optional(),
            };
            if self.roll(4) == 0 { attr.replace_on_change() } else { attr }
        }

        fn text(&mut self) -> Value {
            ["a", "A", "b", "c"][self.roll(4) as usize].into()
        }

        fn config(&mut self, fields: Fields<'_>) -> Object {
            fields.iter().map(|f| (f.name().to_owned(), self.value(f))).collect()
        }

        fn value(&mut self, field: Field<'_>) -> Value {
            let Some(attr) = field.attr() else { return Value::Null };
            let may_be_null = !attr.required;
            if (attr.computed && !attr.optional) || (may_be_null && self.roll(3) == 0) {
                return Value::Null;
            }
            if self.roll(8) == 0 {
                return Value::UNKNOWN;
            }
            let Some((nesting, below)) = field.nested() else {
                return match attr.kind {
                    crate::Kind::List(_) => Value::List((0..self.roll(3)).map(|_| self.text()).collect()),
                    _ => self.text(),
                };
            };
            let n = if nesting == Nesting::Single { 1 } else { self.roll(4) };
            let elements: Vec<Value> = (0..n).map(|_| Value::Object(self.config(below))).collect();
            wrap(nesting, elements)
        }

        /// A change of a configuration at some of its places.
        fn changed(&mut self, fields: Fields<'_>, config: &Object) -> Object {
            fields
                .iter()
                .map(|f| {
                    let old = config.attr(f.name());
                    let new = match (self.roll(4), old, f.nested()) {
                        (0, ..) => self.value(f),
                        (_, Value::Object(o), Some((_, below))) => self.changed(below, o).into(),
                        _ => old.clone(),
                    };
                    (f.name().to_owned(), new)
                })
                .collect()
        }
    }

    fn known(v: &Value) -> Value {
        v.rebuild(&mut |v| matches!(v, Value::Unknown(_)).then_some(Value::Null))
    }

    fn set_elements(o: &Object) -> usize {
        let mut n = 0;
        o.walk(&mut |_, v| n += if let Value::Set(s) = v { s.len() } else { 0 });
        n
    }

    /// Fills in what is unknown, as a provider does.
    fn applied(schema: &Schema, planned: &Object) -> Object {
        fn fill(attr: Field<'_>, v: &Value) -> Value {
            match (v, attr.nested()) {
                (Value::Unknown(_), None) if attr.attr().is_some_and(|a| matches!(a.kind, crate::Kind::String)) => {
                    "new".into()
                }
                (Value::Unknown(_), _) => Value::Null,
                (Value::Object(o), Some((_, below))) => fields(below, o).into(),
                (Value::List(e), Some(_)) => Value::list(e.iter().map(|v| fill(attr, v))),
                (Value::Set(e), Some(_)) => Value::set(e.iter().map(|v| fill(attr, v))),
                (Value::Map(m), Some(_)) => Value::map(m.iter().map(|(k, v)| (k.clone(), fill(attr, v)))),
                (v, _) => known(v),
            }
        }
        fn fields(all: Fields<'_>, o: &Object) -> Object {
            all.iter().map(|f| (f.name().to_owned(), fill(f, o.attr(f.name())))).collect()
        }
        fields(schema.fields(), planned)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn every_plan_passes_the_checks_of_terraform_and_settles(seed: u64) {
            let mut dice = Dice(seed);
            let schema = Schema::new(0).attrs(dice.attrs(2, false, true));
            let first = dice.config(schema.fields());
            let first_plan = planned(&schema, None, &first);
            let state = applied(&schema, &first_plan);
            prop_assert_eq!(check_apply(&schema, Some(&first_plan), Some(&state)), []);
            // With the same, now known configuration nothing changes, unless elements of a set have become one.
            let now = known_config(&schema, &first, &state);
            if set_elements(&first_plan) == set_elements(&state) {
                let again = run(&schema, Some(&state), &now);
                prop_assert_eq!(again.planned.as_ref(), Some(&state));
                prop_assert_eq!(again.requires_replace, []);
            }
            // Any other configuration gives a plan that Terraform takes, always the same.
            let second = dice.changed(schema.fields(), &now);
            let one = run(&schema, Some(&state), &second);
            prop_assert_eq!(&one, &run(&schema, Some(&state), &second));
            let after = applied(&schema, one.planned.as_ref().unwrap());
            prop_assert_eq!(check_apply(&schema, one.planned.as_ref(), Some(&after)), []);
        }
    }

    /// The configuration once its unknowns have become what is in the state.
    fn known_config(schema: &Schema, config: &Object, state: &Object) -> Object {
        fn resolve(field: Field<'_>, told: &Value, state: &Value) -> Value {
            match (told, state, field.nested()) {
                (Value::Unknown(_), s, _) => {
                    if field.write_only() {
                        Value::Null
                    } else {
                        s.clone()
                    }
                }
                (Value::Object(t), Value::Object(s), Some((_, below))) => fields(below, t, s).into(),
                (Value::List(t), Value::List(s), Some(_)) => {
                    Value::list(t.iter().zip(s).map(|(t, s)| resolve(field, t, s)))
                }
                (Value::Map(t), Value::Map(s), Some(_)) => {
                    Value::map(t.iter().map(|(k, t)| (k.clone(), resolve(field, t, &s[k]))))
                }
                (Value::Set(t), _, Some(_)) => Value::set(t.iter().map(|t| match (t, field.nested()) {
                    (Value::Object(o), Some((_, below))) => applied_config(below, o).into(),
                    (t, _) => t.clone(),
                })),
                (t, ..) => known(t),
            }
        }
        fn applied_config(all: Fields<'_>, told: &Object) -> Object {
            all.iter()
                .map(|f| {
                    let is_text = f.attr().is_some_and(|a| matches!(a.kind, crate::Kind::String));
                    let told = told.attr(f.name());
                    let value = match (told, f.nested()) {
                        (Value::Unknown(_), None) if is_text => "new".into(),
                        (Value::Object(o), Some((_, below))) => applied_config(below, o).into(),
                        (Value::List(e), Some((_, below))) => Value::list(e.iter().map(|v| element_config(below, v))),
                        (Value::Set(e), Some((_, below))) => Value::set(e.iter().map(|v| element_config(below, v))),
                        (Value::Map(m), Some((_, below))) => {
                            Value::map(m.iter().map(|(k, v)| (k.clone(), element_config(below, v))))
                        }
                        (v, _) => known(v),
                    };
                    (f.name().to_owned(), value)
                })
                .collect()
        }
        fn element_config(below: Fields<'_>, v: &Value) -> Value {
            v.as_object().map_or_else(|| known(v), |o| applied_config(below, o).into())
        }
        fn fields(all: Fields<'_>, told: &Object, state: &Object) -> Object {
            all.iter().map(|f| (f.name().to_owned(), resolve(f, told.attr(f.name()), state.attr(f.name())))).collect()
        }
        fields(schema.fields(), config, state)
    }
}
