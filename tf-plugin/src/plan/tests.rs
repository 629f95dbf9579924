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
    assert_eq!(planned(&schema(), Some(&state()), &config().with("token_wo", "s")), state(), "write-only is no change");
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
    assert_eq!(replaced(&s, &prior, &o(Value::Null, Value::Null).with("x", "y")), [""; 0], "c only becomes unknown");
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
    let s =
        Schema::new(0).attr(attr).attr(Attr::string("b").computed().keep_state().unknown_when([path!("a", [0], "in")]));
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
