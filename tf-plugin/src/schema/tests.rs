use super::*;
use crate::diagnostic::Diagnostic;
use crate::validate::{exactly_one_of, length, range, regex};
use crate::{Number, path};

fn one(attr: Attr) -> Schema {
    Schema::new(0).attr(attr)
}

fn good() -> Schema {
    Schema::new(2)
        .attr(Attr::string("name").required().replace_on_change().validate(length(1..=40)))
        .attr(Attr::int64("replicas").optional().validate(range(0..=10_000)))
        .attr(Attr::int32("size").default(3))
        .attr(Attr::string("id").computed().keep_state().unknown_when([path!("ports", ["x"], "number")]))
        .attr(Attr::string("token").optional().sensitive())
        .attr(Attr::string("token_wo").optional().write_only())
        .attr(
            Attr::nested_map(
                "ports",
                [Attr::int64("number").required(), Attr::string("key_wo").optional().write_only()],
            )
            .optional(),
        )
        .attr(Attr::nested_set("tags", [Attr::string("k").required(), Attr::string("v").default("x")]).optional())
        .attr(Attr::nested_list("many", [Attr::string("p").optional().write_only()]).optional())
        .attr(Attr::timeouts(["create"]))
        .block(
            Block::list(
                "rule",
                Body::new()
                    .attr(Attr::string("a").optional())
                    .attr(Attr::bool("b").optional())
                    .rule(exactly_one_of(["a", "b"])),
            )
            .items(..=16),
        )
        .block(Block::single("one", Body::new()).required())
}

#[test]
fn a_good_schema_passes() {
    assert_eq!(good().check(), Ok(()));
}

#[test]
fn each_fault_of_a_schema_is_found() {
    let s = |n| Attr::string(n).optional();
    let table = [
        (one(Attr::string("a")), "neither required"),
        (one(Attr::string("a").required().optional()), "required excludes"),
        (one(Attr::string("a").required().default("x")), "required excludes"),
        (one(s("a").computed().write_only()), "not computed"),
        (one(Attr::string("a").default("x").write_only()), "not computed"),
        (one(s("a").keep_state()), "only a computed"),
        (one(s("a").computed().unknown_when([path!("a")])), "unknown_when is for"),
        (one(s("a").computed().keep_state().unknown_when([path!("b", "c")])), "names b.c"),
        (one(Attr::string("a").default("x").keep_state()), "with a default"),
        (one(Attr::int64("a").default("x")), "not of the type"),
        (one(Attr::int32("a").default(3_000_000_000_u32)), "does not fit"),
        (one(Attr::string("a").default("").validate(length(1..))), "refused by a validator"),
        (one(Attr::string("a").default(Value::UNKNOWN)), "is known"),
        (one(s("a").validate(regex("("))), "cannot work"),
        (one(s("a").rule(exactly_one_of(["b"]))), "only nested"),
        (one(s("a").write_only().replace_on_change()), "never seen"),
        (one(s("A")), "lowercase"),
        (one(s("")), "lowercase"),
        (one(s("1a")), "digit"),
        (one(s("a")).attr(s("a")), "twice"),
        (one(s("a")).block(Block::list("a", Body::new())), "twice"),
        (one(s("count")), "takes this name"),
        (one(Attr::nested("a", Nesting::Group, [s("b")]).optional()), "group"),
        (one(Attr::nested_set("a", [s("b").write_only()]).optional()), "write-only"),
        (
            one(Attr::nested_set("a", [Attr::nested_single("b", [Attr::dynamic("c").optional()]).optional()])
                .optional()),
            "dynamic",
        ),
        (one(Attr::set("a", Type::Dynamic).optional()), "dynamic"),
        (one(Attr::nested_single("a", [s("b").computed()]).optional().write_only()), "within a write-only"),
        (one(Attr::nested_list("a", [Attr::string("b")]).optional()), "neither required"),
        (Schema::new(0).block(Block::set("a", Body::new().attr(Attr::dynamic("b").optional()))), "dynamic"),
        (Schema::new(0).block(Block::single("a", Body::new()).items(0..=1)), "limits"),
        (Schema::new(0).block(Block::map("a", Body::new()).items(1..)), "limits"),
        (Schema::new(0).block(Block { min_items: 3, ..Block::list("a", Body::new()).items(..=2) }), "limits"),
        (one(s("a")).rule(exactly_one_of(["a", "z"])), "\"z\""),
        (Schema::new(-1), "negative"),
    ];
    for (schema, wanted) in table {
        let found = schema.check().expect_err(wanted);
        assert!(found.to_string().contains(wanted), "{wanted}: {found}");
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused_at_their_place() {
    let s = one(Attr::nested_list("l", [Attr::int64("i").optional(), Attr::float32("f").optional()]).optional());
    let e = |i: &str, f: &str| {
        Value::object([("i", Number::parse(i).unwrap().into()), ("f", Number::parse(f).unwrap().into())])
    };
    let mut d = Diagnostics::new();
    s.check_values(&Object::new().with("l", Value::list([e("1", "0.1"), e("1.5", "1e39")])), &mut d);
    let found: Vec<String> = d.iter().filter_map(|d| d.path.as_ref()).map(Path::to_string).collect();
    assert_eq!(found, ["l[1].i", "l[1].f"]);
}

#[test]
fn validators_and_rules_run_at_every_depth() {
    let rule = |a: Value, b: Value| Value::object([("a", a), ("b", b)]);
    let config = good()
        .empty_object()
        .with("name", "")
        .with("replicas", 10_001)
        .with("timeouts", Value::object([("create", "soon".into())]))
        .with("rule", Value::list([rule("x".into(), Value::Null), rule("x".into(), true.into())]));
    let mut d = Diagnostics::new();
    good().validate(&config, &mut d);
    let found: Vec<String> = d.iter().filter_map(|d| d.path.as_ref()).map(Path::to_string).collect();
    assert_eq!(found, ["name", "replicas", "timeouts.create", "rule[1]"]);
}

#[test]
fn a_rule_sees_an_absent_block_as_null() {
    let s = one(Attr::string("a").optional()).block(Block::list("b", Body::new())).rule(exactly_one_of(["a", "b"]));
    let mut d = Diagnostics::new();
    s.validate(&s.empty_object().with("a", "x"), &mut d);
    assert!(d.is_empty());
    s.validate(&s.empty_object(), &mut d);
    assert_eq!(d.len(), 1);
}

#[test]
fn write_only_values_are_taken_out_with_their_place() {
    let port = |key: Value| Value::object([("number", 1.into()), ("key_wo", key)]);
    let item = |p: Value| Value::object([("p", p)]);
    let mut o = good()
        .empty_object()
        .with("name", "n")
        .with("token_wo", "s")
        .with("ports", Value::map([("a", port("k".into())), ("b", port(Value::Null))]))
        .with("many", Value::list([item(Value::Null), item(Value::UNKNOWN)]));
    let taken = good().take_write_only(&mut o);
    let wanted = Object::new()
        .with("token_wo", "s")
        .with("ports", Value::map([("a", Value::object([("key_wo", "k".into())]))]))
        .with("many", Value::list([Object::new().into(), item(Value::UNKNOWN)]));
    assert_eq!(taken, wanted);
    assert!(o.at("token_wo").unwrap().is_null() && o.at(r#"ports["a"].key_wo"#).unwrap().is_null());
    assert_eq!(o.at(r#"ports["a"].number"#), Some(&1.into()));
    assert!(good().take_write_only(&mut o).is_empty());
}

#[test]
fn secrets_are_masked_in_every_form() {
    let o = good()
        .empty_object()
        .with("name", "public")
        .with("token", "line-one-x\nline \"two\" y")
        .with("token_wo", "wo-secret");
    let secrets = good().secrets(&o);
    let text = format!("got {:?}, {} and line-one-x; public", "line-one-x\nline \"two\" y", "wo-secret");
    let d = Diagnostic::error(text, "line \"two\" y").redacted(&secrets);
    assert_eq!(d.summary, "got \"(sensitive)\", (sensitive) and (sensitive); public");
    assert_eq!(d.detail, "(sensitive)");
}
