//! Blocks and nested attributes in every nesting, and values of dynamic type.

use crate::lab::{created, lab, named};
use tf_plugin::{Nesting, Object, Type, Value};

fn one(n: &str) -> Value {
    Object::new().with("n", n).into()
}

fn all() -> Object {
    let deep = Object::new().with("deep", one("d"));
    let list = Object::new().with("n", "l").with("inner", Value::list([one("i")]));
    Object::new()
        .with("a_single", one("s"))
        .with("a_list", Value::list([one("l1"), one("l2")]))
        .with("a_set", Value::set([one("s1"), one("s2")]))
        .with("a_map", Value::map([("k", Value::from(deep))]))
        .with("b_single", one("s"))
        .with("b_list", Value::list([Value::from(list), one("l2")]))
        .with("b_set", Value::set([one("s1"), one("s2")]))
        .with("b_map", Value::map([("k", one("m"))]))
        .with("b_group", one("g"))
}

const EVERYWHERE: [&str; 11] = [
    "a_single.c",
    "a_list[0].c",
    "a_list[1].c",
    "a_map[\"k\"].deep.c",
    "b_single.c",
    "b_list[0].c",
    "b_list[1].c",
    "b_list[0].inner[0].c",
    "b_map[\"k\"].c",
    "b_group.c",
    "id",
];

#[tokio::test]
async fn nested_single_list_set_map_and_group_are_planned_applied_and_settled() {
    let (core, _) = lab().await;
    let plan = core.plan("lab_nest", None, Some(all())).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    for place in EVERYWHERE {
        assert!(plan.planned.as_ref().unwrap().at(place).is_some_and(Value::is_unknown), "{place}");
    }
    let (state, d) = core.apply(&plan).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    for place in EVERYWHERE {
        assert_eq!(state.object.at(place).and_then(Value::as_str), Some("made"), "{place}");
    }
    for set in ["a_set", "b_set"] {
        let elements = state.object.attr(set).as_elements().unwrap();
        assert!(elements.iter().all(|e| e.as_object().unwrap().attr("c").as_str() == Some("made")), "{set}");
    }
    let again = core.plan("lab_nest", Some(&state), Some(all())).await.unwrap();
    assert!(again.diagnostics.is_empty(), "{}", again.diagnostics);
    assert_eq!(again.planned.as_ref(), Some(&state.object), "a second plan changes nothing");
}

#[tokio::test]
async fn absent_blocks_and_attributes_are_empty_or_null() {
    let (core, _) = lab().await;
    let state = created(&core, "lab_nest", Object::new().with("b_list", Value::list([one("x")]))).await;
    let o = &state.object;
    for name in ["a_single", "a_list", "a_set", "a_map", "b_single"] {
        assert!(o.attr(name).is_null(), "{name}");
    }
    assert_eq!(o.attr("b_set"), &Value::set([]));
    assert_eq!(o.attr("b_map"), &Value::map::<&str>([]));
    assert!(o.at("b_group.n").is_some_and(Value::is_null));
}

#[tokio::test]
async fn the_nesting_and_the_limits_of_blocks_are_told() {
    let (core, _) = lab().await;
    let schema = core.resource_schema("lab_nest").unwrap();
    let told: Vec<(&str, Nesting, u64, u64)> =
        schema.body.blocks.iter().map(|b| (b.name.as_str(), b.nesting, b.min_items, b.max_items)).collect();
    assert_eq!(
        told,
        [
            ("b_single", Nesting::Single, 0, 0),
            ("b_list", Nesting::List, 1, 3),
            ("b_set", Nesting::Set, 0, 0),
            ("b_map", Nesting::Map, 0, 0),
            ("b_group", Nesting::Group, 0, 0),
            ("b_computed", Nesting::List, 0, 0),
        ]
    );
}

#[tokio::test]
async fn a_computed_block_is_made_by_the_provider_unless_it_is_configured_or_the_client_is_older() {
    let (core, _) = lab().await;
    let config = Object::new().with("b_list", Value::list([one("x")]));
    let state = created(&core, "lab_nest", config.clone()).await;
    assert_eq!(state.object.at("b_computed[0].n").and_then(Value::as_str), Some("by the provider"));
    let again = core.plan("lab_nest", Some(&state), Some(config.clone())).await.unwrap();
    assert!(again.diagnostics.is_empty(), "{}", again.diagnostics);
    assert_eq!(again.planned.as_ref(), Some(&state.object), "a second plan changes nothing");
    let own = config.clone().with("b_computed", Value::list([one("mine")]));
    let state = created(&core, "lab_nest", own).await;
    assert_eq!(state.object.at("b_computed[0].n").and_then(Value::as_str), Some("mine"));
    // A Terraform before 6.11 sends no blocks for none, and none there are.
    let old =
        tf_plugin::proto::tfplugin6::ClientCapabilities { write_only_attributes_allowed: true, ..Default::default() };
    let state = created(&core.with_capabilities(old), "lab_nest", config).await;
    assert_eq!(state.object.attr("b_computed"), &Value::list([]));
}

#[tokio::test]
async fn a_block_of_unknown_number_stays_unknown() {
    let (core, _) = lab().await;
    let config = all().with("b_set", Value::UNKNOWN);
    let plan = core.plan("lab_nest", None, Some(config)).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert!(plan.planned.as_ref().unwrap().attr("b_set").is_unknown());
    let (_, d) = core.apply_known(&plan, Some(all())).await.unwrap();
    assert!(d.is_empty(), "{d}");
}

#[tokio::test]
async fn dynamic_values_of_every_type_come_back() {
    let (core, _) = lab().await;
    let typed = |ty: Type, value: Value| Value::Dynamic(ty, Box::new(value));
    let mixed = Type::Tuple(vec![Type::String, Type::Number, Type::Bool, Type::list(Type::String)]);
    let object = Type::object([("a", Type::String), ("b", Type::list(Type::Number))]);
    for value in [
        Value::Null,
        typed(Type::String, "x".into()),
        typed(Type::Bool, true.into()),
        typed(Type::set(Type::Number), Value::set([1.into(), 2.into()])),
        typed(Type::map(Type::String), Value::map([("k", "v".into())])),
        typed(mixed, Value::Tuple(vec!["a".into(), 1.into(), true.into(), Value::list(["b".into()])])),
        typed(object, Value::object([("a", "x".into()), ("b", Value::list([1.into()]))])),
        typed(Type::String, Value::Null),
    ] {
        let state = created(&core, "lab_case", named("a").with("any", value.clone())).await;
        assert_eq!(state.object.attr("any"), &value);
        let (read, d) = core.read("lab_case", &state).await.unwrap();
        assert!(d.is_empty(), "{d}");
        assert_eq!(read.unwrap().object.attr("any"), &value);
    }
    let plan = core.plan("lab_case", None, Some(named("a").with("any", Value::UNKNOWN))).await.unwrap();
    assert!(plan.diagnostics.is_empty() && plan.planned.unwrap().attr("any").is_unknown());
}

#[tokio::test]
async fn two_unknowns_in_a_set_stay_two_and_may_become_one() {
    let (core, _) = lab().await;
    let tags = |values: [Value; 3]| named("a").with("tags", Value::set(values));
    let plan = core.plan("lab_case", None, Some(tags([Value::UNKNOWN, Value::UNKNOWN, "x".into()]))).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert_eq!(plan.planned.as_ref().unwrap().attr("tags").as_elements().map(<[Value]>::len), Some(3));
    let (state, d) = core.apply_known(&plan, Some(tags(["y".into(), "y".into(), "x".into()]))).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(state.unwrap().object.attr("tags").as_elements().map(<[Value]>::len), Some(2));
}

#[tokio::test]
async fn core_refuses_a_second_plan_that_knows_other_values() {
    let (core, _) = lab().await;
    let plan = core.plan("lab_case", None, Some(named("a").with("size", 1))).await.unwrap();
    let (_, d) = core.apply_known(&plan, Some(named("a").with("size", 2))).await.unwrap();
    assert!(d.to_string().contains("F1"), "{d}");
}
