//! The checks that Terraform core makes on the answers of a provider. A violation is "a bug in the provider".
//!
//! Terraform itself judges in the end; these checks find the bug before a user does (facts 8).

use crate::identity::{IdentitySchema, is_complete};
use crate::path::{Path, Step};
use crate::plan::PlanInput;
use crate::schema::{Field, Fields, Nesting, Schema, objects};
use crate::value::{Object, Set, Type, Value};

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the rule: `P3`, `A4`.
    pub rule: &'static str,
    /// The place.
    pub path: Path,
    /// What is wrong; holds no values.
    pub text: String,
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, rule: &'static str, path: &Path, text: impl Into<String>) {
        self.0.push(Violation { rule, path: path.clone(), text: text.into() });
    }
}

static NULL: Value = Value::Null;

/// P1 to P11 over the answer to a plan.
///
/// P5 and P6 say what is allowed, so nothing breaks them. Without conformity to the type (P1) nothing more is checked.
pub fn check_plan(input: PlanInput<'_>, planned: Option<&Object>, requires_replace: &[Path]) -> Vec<Violation> {
    let mut found = Found::default();
    let root = Path::root();
    let fields = input.schema.fields();
    match (planned, input.config) {
        (None, None) => {}
        (Some(_), None) => found.add("P2", &root, "an object is planned where the configuration wants none"),
        (None, Some(_)) => found.add("P2", &root, "no object is planned where the configuration wants one"),
        (Some(planned), Some(config)) => {
            if conforms(planned, &input.schema.object_type(), "P1", &mut found) {
                planned_fields(fields, input.prior, config, planned, &mut Path::root(), &mut found);
            }
        }
    }
    if input.prior.is_some() {
        let ty = input.schema.object_type();
        for place in requires_replace {
            let sides = [input.prior, planned].into_iter().flatten();
            if !sides.into_iter().any(|o| leads_somewhere(o, &ty, place)) {
                found.add("P11", place, "the place is asked to be replaced but is neither in prior state nor in plan");
            }
        }
    }
    found.0
}

fn conforms(object: &Object, ty: &Type, rule: &'static str, found: &mut Found) -> bool {
    match Value::Object(object.clone()).conforms(ty) {
        Ok(()) => true,
        Err((path, text)) => {
            found.add(rule, &path, text);
            false
        }
    }
}

/// Whether Terraform could follow a place: an unknown on the way leads to unknowns.
fn leads_somewhere(object: &Object, ty: &Type, place: &Path) -> bool {
    let Some((Step::Attr(first), rest)) = place.wire_steps().split_first() else { return false };
    let (Some(mut value), Type::Object(types)) = (object.get(first), ty) else { return false };
    let mut ty = types.get(first);
    for step in rest {
        ty = match (ty, step) {
            (Some(Type::Object(types)), Step::Attr(name)) => types.get(name),
            (Some(Type::Map(t)), Step::Key(_)) | (Some(Type::List(t)), Step::Index(_)) => Some(t),
            (Some(Type::Tuple(types)), Step::Index(i)) => types.get(*i),
            (Some(Type::Dynamic), _) => Some(&Type::Dynamic),
            _ => None,
        };
        if ty.is_none() {
            return false;
        }
        if value.is_unknown() {
            continue;
        }
        match value.step(step) {
            Some(v) => value = v,
            None => return false,
        }
    }
    ty.is_some()
}

fn planned_fields(
    fields: Fields<'_>,
    prior: Option<&Object>,
    config: &Object,
    planned: &Object,
    path: &mut Path,
    found: &mut Found,
) {
    for field in fields.iter() {
        let name = field.name();
        let sides = [prior.map_or(&NULL, |o| o.attr(name)), config.attr(name), planned.attr(name)];
        path.push(Step::Attr(name.to_owned()));
        match field {
            Field::Attr(_) => planned_attr(field, sides, path, found),
            Field::Block(_) => planned_block(field, sides, path, found),
        }
        path.pop();
    }
}

fn planned_attr(field: Field<'_>, [prior, config, planned]: [&Value; 3], path: &mut Path, found: &mut Found) {
    if field.write_only() {
        if !planned.is_null() {
            found.add("P10", path, "a write-only attribute is planned with a value");
        }
        return;
    }
    let accepted = planned.same(config)
        || (config.is_null() && field.computed())
        || (!config.is_null() && !prior.is_null() && planned.same(prior));
    if let Some((nesting, below)) = field.nested()
        && !config.is_null()
        && !accepted
    {
        planned_nested(nesting, below, [prior, config, planned], path, found);
        return;
    }
    if accepted {
        // Within an object that was taken over as it is, write-only attributes must be null all the same.
        if let Some((_, below)) = field.nested() {
            stored_write_only(below, planned, "P10", path, found);
        }
    } else if config.is_null() {
        found.add("P4", path, "a value is planned for an attribute that is not configured and not computed");
    } else {
        found.add("P3", path, "the planned value is neither the configured one nor the prior one");
    }
}

fn planned_nested(
    nesting: Nesting,
    fields: Fields<'_>,
    [prior, config, planned]: [&Value; 3],
    path: &mut Path,
    found: &mut Found,
) {
    if planned.is_null() {
        return found.add("P7", path, "a configured nested attribute is planned to be absent");
    }
    if config.is_unknown() {
        return found.add("P7", path, "a nested attribute is planned with a value while its configuration is unknown");
    }
    if planned.is_unknown() {
        return found.add("P7", path, "a configured nested attribute is planned unknown as a whole");
    }
    if nesting == Nesting::Set {
        if let (Value::Set(c), Value::Set(p)) = (config, planned)
            && !lengths_overlap(c, p)
        {
            found.add("P8", path, "the planned set has another number of elements than the configured one");
        }
        return stored_write_only(fields, planned, "P10", path, found);
    }
    planned_elements("P7", fields, [prior, config, planned], path, found);
}

/// Elements of lists and maps, or the one object, one to one.
fn planned_elements(
    rule: &'static str,
    fields: Fields<'_>,
    [prior, config, planned]: [&Value; 3],
    path: &mut Path,
    found: &mut Found,
) {
    let pair = |step: Option<Step>, [p, c, n]: [&Value; 3], path: &mut Path, found: &mut Found| {
        path.down(step, |path| match (c, n) {
            (Value::Object(c), Value::Object(n)) => planned_fields(fields, p.as_object(), c, n, path, found),
            (c, n) if c.same(n) => {}
            (_, Value::Unknown(_)) => found.add(rule, path, "an element is planned unknown as a whole"),
            _ => found.add(rule, path, "an element is not planned as it is configured"),
        });
    };
    match (config, planned) {
        (Value::List(c), Value::List(n)) => {
            let p = prior.as_elements().unwrap_or_default();
            for (i, (c, n)) in c.iter().zip(n).enumerate() {
                pair(Some(Step::Index(i)), [p.get(i).unwrap_or(&NULL), c, n], path, found);
            }
            if c.len() != n.len() {
                found.add(rule, path, "the planned list has another number of elements than the configured one");
            }
        }
        (Value::Map(c), Value::Map(n)) => {
            for (k, c) in c {
                let p = prior.as_map().and_then(|m| m.get(k)).unwrap_or(&NULL);
                match n.get(k) {
                    Some(n) => pair(Some(Step::Key(k.clone())), [p, c, n], path, found),
                    None => found.add(rule, &path.child(Step::Key(k.clone())), "a configured key is not planned"),
                }
            }
            for k in n.keys().filter(|k| !c.contains_key(*k)) {
                found.add(rule, &path.child(Step::Key(k.clone())), "a key is planned that is not configured");
            }
        }
        (c, n) => pair(None, [prior, c, n], path, found),
    }
}

fn planned_block(field: Field<'_>, [prior, config, planned]: [&Value; 3], path: &mut Path, found: &mut Found) {
    let Some((nesting, fields)) = field.nested() else { return };
    if config.is_null() && field.computed() {
        return stored_write_only(fields, planned, "P10", path, found);
    }
    if config.is_unknown() {
        if !planned.is_unknown() {
            found.add("P9", path, "a block whose number is unknown must stay unknown");
        }
        return;
    }
    if planned.is_unknown() {
        return found.add("P9", path, "a block is planned unknown as a whole");
    }
    match nesting {
        Nesting::Single | Nesting::Group if planned.is_null() && config.is_null() => {}
        _ if planned.is_null() => found.add("P9", path, "a configured block is planned null"),
        Nesting::Set => {
            if let (Value::Set(c), Value::Set(p)) = (config, planned)
                && !lengths_overlap(c, p)
            {
                found.add("P9", path, "another number of blocks is planned than configured");
            }
            stored_write_only(fields, planned, "P10", path, found);
        }
        _ => planned_elements("P9", fields, [prior, config, planned], path, found),
    }
}

/// The possible numbers of elements once everything is known: unknown elements may turn out to be equal.
fn possible_lengths(set: &Set) -> (usize, usize) {
    let known = set.iter().filter(|v| v.is_wholly_known()).count();
    (if known < set.len() { known.max(1) } else { known }, set.len())
}

fn lengths_overlap(a: &Set, b: &Set) -> bool {
    let ((a_low, a_high), (b_low, b_high)) = (possible_lengths(a), possible_lengths(b));
    a_low <= b_high && b_low <= a_high
}

/// Finds write-only values within a nested value.
fn stored_write_only(fields: Fields<'_>, value: &Value, rule: &'static str, path: &mut Path, found: &mut Found) {
    if !fields.any(&|a| a.write_only) {
        return;
    }
    for (step, object) in objects(value) {
        path.down(step, |path| write_only_fields(fields, object, rule, path, found));
    }
}

fn write_only_fields(fields: Fields<'_>, object: &Object, rule: &'static str, path: &mut Path, found: &mut Found) {
    for field in fields.iter() {
        let value = object.attr(field.name());
        path.push(Step::Attr(field.name().to_owned()));
        if field.write_only() {
            if !value.is_null() {
                found.add(rule, path, "a write-only attribute holds a value");
            }
        } else if let Some((_, below)) = field.nested() {
            stored_write_only(below, value, rule, path, found);
        }
        path.pop();
    }
}

/// A1 to A8 over the answer to an apply without error diagnostics.
///
/// A8 asks for messages without values, which all of them are.
pub fn check_apply(schema: &Schema, planned: Option<&Object>, new: Option<&Object>) -> Vec<Violation> {
    let mut found = Found::default();
    let root = Path::root();
    let (planned, new) = match (planned, new) {
        (None, None) => return Vec::new(),
        (None, Some(_)) => {
            found.add("A3", &root, "an object is there that was planned to be deleted");
            return found.0;
        }
        (Some(_), None) => {
            found.add("A3", &root, "the object is absent although no error was reported");
            return found.0;
        }
        (Some(planned), Some(new)) => (planned, new),
    };
    if !conforms(new, &schema.object_type(), "A1", &mut found) {
        return found.0;
    }
    new.walk(&mut |path, value| {
        if matches!(value, Value::Unknown(_)) {
            found.add("A2", path, "the value is still unknown after apply");
        }
    });
    write_only_fields(schema.fields(), new, "A7", &mut Path::root(), &mut found);
    applied_fields(schema.fields(), planned, new, &mut Path::root(), &mut found);
    found.0
}

/// F1 and F2 over the two plans of one change: the second knows no less, and nothing known has changed.
pub fn check_final_plan(first: Option<&Object>, second: Option<&Object>) -> Vec<Violation> {
    let mut found = Found::default();
    match (first, second) {
        (None, None) => {}
        (Some(first), Some(second)) => {
            for (name, planned) in first.iter() {
                settled(planned, second.attr(name), &mut Path::attr(name), &mut found);
            }
        }
        _ => found.add("F2", &Path::root(), "the second plan is for another action than the first"),
    }
    found.0
}

fn settled(first: &Value, second: &Value, path: &mut Path, found: &mut Found) {
    let mut differs = Found::default();
    // An unknown that stays unknown is no violation here, so only what became known is compared.
    applied_value(first, second, path, &mut differs);
    for violation in differs.0 {
        found.add("F1", &violation.path, "the second plan has another value than the first, where that was known");
    }
    if first.is_wholly_known() && !second.is_wholly_known() {
        found.add("F1", path, "a value was known in the first plan and is unknown in the second");
    }
}

/// R over a state that is stored without a plan: the answer to read, import, upgrade and move, a listed object, the
/// result of a data source.
///
/// R1: it is of the type. R2: it is wholly known. R3: write-only attributes are null.
pub fn check_state(schema: &Schema, state: &Object) -> Vec<Violation> {
    let mut found = Found::default();
    if conforms(state, &schema.object_type(), "R1", &mut found) {
        unknowns(state, "R2", &mut found);
        write_only_fields(schema.fields(), state, "R3", &mut Path::root(), &mut found);
    }
    found.0
}

/// E over an opened ephemeral resource.
///
/// E1: it is of the type. E2: it is wholly known. E3: what is configured is as it is configured.
pub fn check_ephemeral(schema: &Schema, config: &Object, result: &Object) -> Vec<Violation> {
    let mut found = Found::default();
    if conforms(result, &schema.object_type(), "E1", &mut found) {
        unknowns(result, "E2", &mut found);
        configured(schema.fields(), config, result, &mut Path::root(), &mut found);
    }
    found.0
}

fn unknowns(object: &Object, rule: &'static str, found: &mut Found) {
    object.walk(&mut |path, value| {
        if matches!(value, Value::Unknown(_)) {
            found.add(rule, path, "the value is unknown");
        }
    });
}

fn configured(fields: Fields<'_>, config: &Object, result: &Object, path: &mut Path, found: &mut Found) {
    for field in fields.iter() {
        let (told, got) = (config.attr(field.name()), result.attr(field.name()));
        if told.is_null() && field.computed() || told.same(got) {
            continue;
        }
        path.push(Step::Attr(field.name().to_owned()));
        match (field.nested(), told, got) {
            (Some((_, below)), Value::Object(told), Value::Object(got)) => configured(below, told, got, path, found),
            (Some((_, below)), _, _) if below.any(&|attr| attr.computed) => {}
            _ => found.add("E3", path, "the value is not the configured one"),
        }
        path.pop();
    }
}

/// I over an identity.
///
/// I1: it is there and names an object. I2: it is of the type. I3: it is wholly known, except in the plan of a create.
pub fn check_identity(schema: &IdentitySchema, identity: Option<&Object>, in_create_plan: bool) -> Vec<Violation> {
    let mut found = Found::default();
    let Some(identity) = identity else {
        found.add("I1", &Path::root(), "there is no identity");
        return found.0;
    };
    if conforms(identity, &schema.object_type(), "I2", &mut found) && !in_create_plan {
        unknowns(identity, "I3", &mut found);
        if found.0.is_empty() && !is_complete(identity) {
            found.add("I1", &Path::root(), "every attribute of the identity is null");
        }
    }
    found.0
}

fn applied_fields(fields: Fields<'_>, planned: &Object, new: &Object, path: &mut Path, found: &mut Found) {
    for field in fields.iter() {
        // A write-only value in plan or state is reported as such.
        if !field.write_only() {
            path.push(Step::Attr(field.name().to_owned()));
            applied_value(planned.attr(field.name()), new.attr(field.name()), path, found);
            path.pop();
        }
    }
}

fn applied_value(planned: &Value, new: &Value, path: &mut Path, found: &mut Found) {
    match (planned, new) {
        // Reported as A2.
        (_, Value::Unknown(_)) => {}
        (Value::Unknown(refinements), new) => {
            if refinements.as_ref().is_some_and(|r| !r.admit(new)) {
                found.add("A5", path, "the value is not what the plan said about the unknown one");
            }
        }
        (p, n) if p.is_null() || n.is_null() => match (p.is_null(), n.is_null()) {
            (true, false) => found.add("A4", path, "the value was planned null and is not"),
            (false, true) => found.add("A4", path, "the value was planned and is null"),
            _ => {}
        },
        (Value::Dynamic(pt, p), Value::Dynamic(nt, n)) => {
            if pt == nt {
                applied_value(p, n, path, found);
            } else {
                found.add("A4", path, format!("the type was planned as {pt} and is {nt}"));
            }
        }
        (Value::List(p), Value::List(n)) | (Value::Tuple(p), Value::Tuple(n)) => {
            for (i, (p, n)) in p.iter().zip(n).enumerate() {
                path.push(Step::Index(i));
                applied_value(p, n, path, found);
                path.pop();
            }
            for i in n.len()..p.len() {
                found.add("A4", &path.child(i), "a planned element has vanished");
            }
            for i in p.len()..n.len() {
                found.add("A4", &path.child(i), "an element has appeared that was not planned");
            }
        }
        (Value::Map(p), Value::Map(n)) => {
            for (k, v) in p {
                let step = Step::Key(k.clone());
                match n.get(k) {
                    Some(n) => {
                        path.push(step);
                        applied_value(v, n, path, found);
                        path.pop();
                    }
                    None => found.add("A4", &path.child(step), "a planned key has vanished"),
                }
            }
            for k in n.keys().filter(|k| !p.contains_key(*k)) {
                found.add("A4", &path.child(Step::Key(k.clone())), "a key has appeared that was not planned");
            }
        }
        (Value::Object(p), Value::Object(n)) => {
            for (k, v) in p.iter() {
                path.push(Step::Attr(k.to_owned()));
                applied_value(v, n.attr(k), path, found);
                path.pop();
            }
        }
        (Value::Set(p), Value::Set(n)) => applied_set(p, n, path, found),
        (p, n) => {
            if p != n {
                found.add("A4", path, "the value is not the planned one");
            }
        }
    }
}

fn applied_set(planned: &Set, new: &Set, path: &Path, found: &mut Found) {
    if new.len() > planned.len() {
        found.add("A6", path, "the set has more elements than planned");
    }
    let correlates = |p: &Value, n: &Value| {
        let mut inner = Found::default();
        applied_value(p, n, &mut Path::root(), &mut inner);
        inner.0.is_empty()
    };
    if planned.iter().any(|p| !new.iter().any(|n| correlates(p, n))) {
        found.add("A6", path, "a planned element of the set is not there");
    }
    if new.iter().any(|n| !planned.iter().any(|p| correlates(p, n))) {
        found.add("A6", path, "an element of the set was not planned");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;
    use crate::schema::{Attr, Block, Body};
    use crate::value::{Number, Refinements};

    fn schema() -> Schema {
        let ports =
            || [Attr::string("n").optional(), Attr::string("c").computed(), Attr::string("w").optional().write_only()];
        let flat = || [Attr::string("n").optional(), Attr::string("c").computed()];
        Schema::new(0)
            .attr(Attr::string("name").optional())
            .attr(Attr::string("id").computed())
            .attr(Attr::string("both").optional().computed())
            .attr(Attr::string("secret").optional().sensitive())
            .attr(Attr::string("wo").optional().write_only())
            .attr(Attr::dynamic("any").optional())
            .attr(Attr::nested_single("one", ports()).optional())
            .attr(Attr::nested_list("list", ports()).optional())
            .attr(Attr::nested_map("map", ports()).optional())
            .attr(Attr::nested_set("set", flat()).optional())
            .attr(Attr::nested_single("out", flat()).computed())
            .block(Block::list("rule", Body::new().attr(Attr::string("n").optional())))
            .block(Block::set("tag", Body::new().attr(Attr::string("n").optional())))
            .block(Block::map("label", Body::new().attr(Attr::string("n").optional())))
            .block(Block::group("group", Body::new().attr(Attr::string("n").optional())))
    }

    fn base() -> Object {
        schema().empty_object()
    }

    fn port(n: impl Into<Value>, c: impl Into<Value>) -> Value {
        Value::object([("n", n.into()), ("c", c.into()), ("w", Value::Null)])
    }

    fn flat(n: impl Into<Value>, c: impl Into<Value>) -> Value {
        Value::object([("n", n.into()), ("c", c.into())])
    }

    fn named(n: impl Into<Value>) -> Value {
        Value::object([("n", n.into())])
    }

    /// The rules that a plan breaks at one attribute, with that attribute in prior state, configuration and plan.
    fn broken(name: &str, prior: Option<Value>, config: Value, planned: Value) -> Vec<String> {
        let schema = schema();
        let prior = prior.map(|p| base().with(name, p));
        let (config, planned) = (base().with(name, config), base().with(name, planned));
        let input =
            PlanInput { schema: &schema, prior: prior.as_ref(), proposed: Some(&config), config: Some(&config) };
        check_plan(input, Some(&planned), &[]).into_iter().map(|v| format!("{} {}", v.rule, v.path)).collect()
    }

    #[test]
    fn each_rule_of_a_plan_is_checked() {
        const NULL: Value = Value::Null;
        const UNKNOWN: Value = Value::UNKNOWN;
        let v = |s: &str| Value::from(s);
        let list = |e: Vec<Value>| Value::List(e);
        let map = |e: Vec<(&str, Value)>| Value::map(e);
        let wo = |w: Value| Value::object([("n", v("a")), ("c", NULL), ("w", w)]);
        let table: Vec<(&str, Option<Value>, Value, Value, &[&str])> = vec![
            // P1
            ("name", None, v("a"), 1.into(), &["P1 name"]),
            ("list", None, NULL, list(vec![v("a")]), &["P1 list[0]"]),
            // P3
            ("name", None, v("a"), v("a"), &[]),
            ("name", None, v("a"), v("A"), &["P3 name"]),
            ("name", Some(v("A")), v("a"), v("A"), &[]),
            ("name", Some(v("B")), v("a"), v("A"), &["P3 name"]),
            ("name", None, v("a"), UNKNOWN, &["P3 name"]),
            ("name", None, v("a"), NULL, &["P3 name"]),
            ("name", None, UNKNOWN, UNKNOWN, &[]),
            ("name", None, UNKNOWN, Value::unknown_not_null(), &[]),
            ("name", None, UNKNOWN, v("a"), &["P3 name"]),
            ("both", None, v("a"), v("b"), &["P3 both"]),
            (
                "any",
                None,
                Value::Dynamic(Type::String, Box::new(v("1"))),
                Value::Dynamic(Type::Number, Box::new(1.into())),
                &["P3 any"],
            ),
            // P4
            ("name", None, NULL, v("a"), &["P4 name"]),
            ("name", None, NULL, UNKNOWN, &["P4 name"]),
            ("name", Some(v("a")), NULL, v("a"), &["P4 name"]),
            ("one", None, NULL, port(NULL, NULL), &["P4 one"]),
            // P5 and P6
            ("both", None, NULL, v("a"), &[]),
            ("both", Some(v("b")), NULL, UNKNOWN, &[]),
            ("id", Some(v("b")), NULL, v("c"), &[]),
            ("out", None, NULL, flat("x", UNKNOWN), &[]),
            // P7
            ("one", None, port("a", NULL), port("a", UNKNOWN), &[]),
            ("one", None, port("a", NULL), port("b", UNKNOWN), &["P3 one.n"]),
            ("one", None, port(NULL, NULL), port("b", NULL), &["P4 one.n"]),
            ("one", None, port("a", NULL), UNKNOWN, &["P7 one"]),
            ("one", None, port("a", NULL), NULL, &["P7 one"]),
            ("one", None, UNKNOWN, port("a", NULL), &["P7 one"]),
            ("one", Some(port("b", "c")), port("a", NULL), port("b", "c"), &[]),
            ("list", None, list(vec![port("a", NULL)]), list(vec![port("a", "c")]), &[]),
            ("list", None, list(vec![port("a", NULL)]), list(vec![]), &["P7 list"]),
            ("list", None, list(vec![port("a", NULL)]), list(vec![UNKNOWN]), &["P7 list[0]"]),
            ("list", None, list(vec![UNKNOWN]), list(vec![port("a", NULL)]), &["P7 list[0]"]),
            (
                "list",
                Some(list(vec![port("A", NULL)])),
                list(vec![port("a", NULL), port("b", NULL)]),
                list(vec![port("A", UNKNOWN), port("B", NULL)]),
                &["P3 list[1].n"],
            ),
            ("map", None, map(vec![("k", port("a", NULL))]), map(vec![("k", port("a", UNKNOWN))]), &[]),
            (
                "map",
                None,
                map(vec![("k", port("a", NULL))]),
                map(vec![("l", port("a", NULL))]),
                &["P7 map[\"k\"]", "P7 map[\"l\"]"],
            ),
            // P8
            ("set", None, Value::set([flat("a", NULL)]), Value::set([flat("x", "y")]), &[]),
            ("set", None, Value::set([flat("a", NULL)]), Value::set([flat("a", NULL), flat("b", NULL)]), &["P8 set"]),
            (
                "set",
                None,
                Value::set([flat(UNKNOWN, NULL), flat(UNKNOWN, NULL)]),
                Value::set([flat(UNKNOWN, UNKNOWN)]),
                &[],
            ),
            ("set", None, Value::set([flat("a", NULL), flat("b", NULL)]), Value::set([flat("a", "c")]), &["P8 set"]),
            // P9
            ("rule", None, list(vec![named("a")]), list(vec![named("a")]), &[]),
            ("rule", None, list(vec![named("a")]), list(vec![named("b")]), &["P3 rule[0].n"]),
            ("rule", None, list(vec![]), list(vec![named("a")]), &["P9 rule"]),
            ("rule", None, list(vec![]), NULL, &["P9 rule"]),
            ("rule", None, list(vec![named("a")]), UNKNOWN, &["P9 rule"]),
            ("rule", None, list(vec![named("a")]), list(vec![UNKNOWN]), &["P9 rule[0]"]),
            ("rule", None, UNKNOWN, UNKNOWN, &[]),
            ("rule", None, UNKNOWN, list(vec![]), &["P9 rule"]),
            ("tag", None, Value::set([named("a")]), Value::set([named("b")]), &[]),
            ("tag", None, Value::set([named("a")]), Value::set([]), &["P9 tag"]),
            ("tag", None, Value::set([]), NULL, &["P9 tag"]),
            ("label", None, map(vec![("k", named("a"))]), map(vec![]), &["P9 label[\"k\"]"]),
            ("group", None, named(NULL), NULL, &["P9 group"]),
            // P10
            ("wo", None, v("s"), NULL, &[]),
            ("wo", None, v("s"), v("s"), &["P10 wo"]),
            ("wo", None, UNKNOWN, UNKNOWN, &["P10 wo"]),
            ("one", None, wo(v("s")), wo(NULL), &[]),
            ("one", None, wo(v("s")), wo(v("s")), &["P10 one.w"]),
            ("list", None, list(vec![wo(v("s"))]), list(vec![wo(UNKNOWN)]), &["P10 list[0].w"]),
        ];
        for (name, prior, config, planned, wanted) in table {
            let shown = format!("{name}: prior {prior:?}, config {config:?}, planned {planned:?}");
            assert_eq!(broken(name, prior, config, planned), wanted, "{shown}");
        }
    }

    #[test]
    fn a_plan_is_null_exactly_when_the_configuration_is() {
        let (schema, o) = (schema(), base());
        let rules = |config: Option<&Object>, planned: Option<&Object>| -> Vec<&str> {
            let input = PlanInput { schema: &schema, prior: Some(&o), proposed: config, config };
            check_plan(input, planned, &[]).iter().map(|v| v.rule).collect()
        };
        assert_eq!(rules(None, None), [""; 0]);
        assert_eq!(rules(Some(&o), Some(&o)), [""; 0]);
        assert_eq!(rules(None, Some(&o)), ["P2"]);
        assert_eq!(rules(Some(&o), None), ["P2"]);
    }

    #[test]
    fn places_to_replace_must_be_there() {
        let schema = schema();
        let prior = base().with("list", Value::list([port("a", "b")]));
        let planned = base().with("out", Value::UNKNOWN).with("map", Value::map([("k", port("a", Value::Null))]));
        let config = planned.clone().with("out", Value::Null);
        let rules = |prior: Option<&Object>, place: Path| {
            let input = PlanInput { schema: &schema, prior, proposed: Some(&config), config: Some(&config) };
            check_plan(input, Some(&planned), &[place]).iter().map(|v| v.rule).collect::<Vec<_>>()
        };
        let in_set = Path::from_steps([Step::Attr("set".into()), Step::Element(Box::new(Value::Null))]);
        for good in [path!("name"), path!("list", [0], "n"), path!("out", "n"), path!("map", ["k"], "c"), in_set] {
            assert_eq!(rules(Some(&prior), good.clone()), [""; 0], "{good}");
        }
        let bad = [
            path!("gone"),
            path!("list", [1]),
            path!("list", ["k"]),
            path!("out", "gone"),
            path!("map", ["l"]),
            path!("name", "x"),
            Path::root(),
        ];
        for bad in bad {
            assert_eq!(rules(Some(&prior), bad.clone()), ["P11"], "{bad}");
            assert_eq!(rules(None, bad.clone()), [""; 0], "on create the list is ignored: {bad}");
        }
    }

    #[test]
    fn each_rule_of_an_apply_is_checked() {
        const NULL: Value = Value::Null;
        const UNKNOWN: Value = Value::UNKNOWN;
        let v = |s: &str| Value::from(s);
        let list = |e: Vec<Value>| Value::List(e);
        let map = |e: Vec<(&str, Value)>| Value::map(e);
        let dynamic = |t: Type, v: Value| Value::Dynamic(t, Box::new(v));
        let sure = Value::unknown_not_null;
        let low = Value::refined(Refinements { lower: Some((Number::from(5), true)), ..Refinements::default() });
        let table: Vec<(&str, Value, Value, &[&str])> = vec![
            // A1
            ("name", v("a"), 1.into(), &["A1 name"]),
            // A2
            ("id", UNKNOWN, UNKNOWN, &["A2 id"]),
            ("list", list(vec![port("a", UNKNOWN)]), list(vec![port("a", UNKNOWN)]), &["A2 list[0].c"]),
            // A4
            ("name", v("a"), v("a"), &[]),
            ("name", v("a"), v("b"), &["A4 name"]),
            ("name", v("a"), NULL, &["A4 name"]),
            ("name", NULL, v("a"), &["A4 name"]),
            ("any", dynamic(Type::String, v("1")), dynamic(Type::Number, 1.into()), &["A4 any"]),
            ("any", dynamic(Type::String, v("1")), dynamic(Type::String, v("2")), &["A4 any"]),
            ("one", port("a", UNKNOWN), port("b", "x"), &["A4 one.n"]),
            ("one", port("a", UNKNOWN), NULL, &["A4 one"]),
            ("list", list(vec![port("a", UNKNOWN)]), list(vec![]), &["A4 list[0]"]),
            ("list", list(vec![]), list(vec![port("a", "b")]), &["A4 list[0]"]),
            (
                "map",
                map(vec![("k", port("a", NULL))]),
                map(vec![("l", port("a", NULL))]),
                &["A4 map[\"k\"]", "A4 map[\"l\"]"],
            ),
            ("rule", list(vec![named("a")]), list(vec![]), &["A4 rule[0]"]),
            ("rule", UNKNOWN, list(vec![named("a")]), &[]),
            // A5
            ("id", UNKNOWN, NULL, &[]),
            ("id", UNKNOWN, v("a"), &[]),
            ("id", sure(), v("a"), &[]),
            ("id", sure(), NULL, &["A5 id"]),
            ("any", dynamic(Type::Number, low.clone()), dynamic(Type::Number, 5.into()), &[]),
            ("any", dynamic(Type::Number, low), dynamic(Type::Number, 4.into()), &["A5 any"]),
            // A6
            ("set", Value::set([flat("a", UNKNOWN)]), Value::set([flat("a", "x")]), &[]),
            ("set", Value::set([flat("a", UNKNOWN)]), Value::set([flat("b", "x")]), &["A6 set", "A6 set"]),
            ("set", Value::set([flat("a", UNKNOWN)]), Value::set([flat("a", "x"), flat("a", "y")]), &["A6 set"]),
            ("set", Value::set([flat(UNKNOWN, NULL), flat(UNKNOWN, NULL)]), Value::set([flat("a", NULL)]), &[]),
            ("set", Value::set([flat("a", NULL), flat("b", NULL)]), Value::set([flat("a", NULL)]), &["A6 set"]),
            ("tag", Value::set([named("a")]), Value::set([]), &["A6 tag"]),
            // A7
            ("wo", NULL, v("s"), &["A7 wo"]),
            (
                "one",
                port("a", NULL),
                Value::object([("n", v("a")), ("c", NULL), ("w", v("s"))]),
                &["A7 one.w", "A4 one.w"],
            ),
            // A8
            ("secret", v("geheim"), v("anders"), &["A4 secret"]),
        ];
        for (name, planned, new, wanted) in table {
            let shown = format!("{name}: planned {planned:?}, new {new:?}");
            let found = check_apply(&schema(), Some(&base().with(name, planned)), Some(&base().with(name, new)));
            assert!(found.iter().all(|v| !v.text.contains("geheim") && !v.text.contains("anders")));
            let found: Vec<String> = found.into_iter().map(|v| format!("{} {}", v.rule, v.path)).collect();
            assert_eq!(found, wanted, "{shown}");
        }
    }

    #[test]
    fn a_new_state_is_null_exactly_when_the_plan_was() {
        let o = base();
        let rules = |p: Option<&Object>, n: Option<&Object>| {
            check_apply(&schema(), p, n).iter().map(|v| v.rule).collect::<Vec<_>>()
        };
        assert_eq!(rules(None, None), [""; 0]);
        assert_eq!(rules(Some(&o), Some(&o)), [""; 0]);
        assert_eq!(rules(None, Some(&o)), ["A3"]);
        assert_eq!(rules(Some(&o), None), ["A3"]);
    }
}
