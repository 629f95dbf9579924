//! Moved states and generated configurations.

use crate::lab::{created, lab, named};
use tf_plugin::{Number, Object, Type, Value};

#[tokio::test]
async fn moved_from_terraform_data_and_from_another_provider() {
    let (core, _) = lab().await;
    let json = r#"{"id": "x", "output": {"value": "a", "type": "string"}}"#;
    let source = ("terraform.io/builtin/terraform", "terraform_data", 0);
    let (state, d) = core.move_state(source, json, "lab_case").await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    assert_eq!(state.object.attr("id").as_str(), Some("id-a"));
    assert_eq!(state.identity, Some(Object::new().with("name", "a").with("region", Value::Null)));
    // A number of any size survives.
    let json = r#"{"title": "b", "amount": 12345678901234567890123, "dropped": true}"#;
    let (state, d) = core.move_state(("example.com/x/old", "any", 7), json, "lab_case").await.unwrap();
    assert!(d.is_empty(), "{d}");
    let amount = Value::from(Number::parse("12345678901234567890123").unwrap());
    assert_eq!(state.unwrap().object.attr("any"), &Value::Dynamic(Type::Number, Box::new(amount)));
}

#[tokio::test]
async fn moved_from_an_unknown_source_is_refused_and_a_broken_one_too() {
    let (core, _) = lab().await;
    for (source, json, target, word) in [
        (("example.com/x/new", "new_thing", 0), "{}", "lab_case", "does not know how"),
        (("example.com/x/old", "old_thing", 0), "{}", "lab_plain", "does not know how"),
        (("example.com/x/old", "old_thing", 0), "null", "lab_case", "null"),
        (("example.com/x/old", "old_thing", 0), "[", "lab_case", "JSON"),
        (("example.com/x/old", "old_thing", 0), "", "lab_case", "before 0.12"),
        (("terraform.io/builtin/terraform", "terraform_data", 0), "[", "lab_case", "JSON"),
    ] {
        let (state, d) = core.move_state(source, json, target).await.unwrap();
        assert!(state.is_none() && d.to_string().contains(word), "{word}: {d}");
    }
}

#[tokio::test]
async fn a_generated_configuration_is_valid_and_plans_empty() {
    let (core, _) = lab().await;
    let config = named("a")
        .with("label", "Shop")
        .with("size", 3)
        .with("secret_wo", "s3cr3t-text")
        .with("secret_version", 1)
        .with("tags", Value::set(["x".into(), "y".into()]));
    let state = created(&core, "lab_case", config).await;
    let (generated, d) = core.generate_config("lab_case", &state.object).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let generated = generated.unwrap();
    for name in ["id", "revision", "region", "secret_wo"] {
        assert!(generated.attr(name).is_null(), "{name}");
    }
    let d = core.validate("lab_case", generated.clone()).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let plan = core.plan("lab_case", Some(&state), Some(generated)).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert_eq!(plan.planned.as_ref(), Some(&state.object));
}
