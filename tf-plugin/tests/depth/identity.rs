//! Identity of resources, and import by it.

use crate::lab::{Lab, created, lab, named};
use tf_plugin::fake_core::{FakeCore, State};
use tf_plugin::{Object, Value};

fn identity(name: &str, region: &str) -> Object {
    Object::new().with("name", name).with("region", region)
}

#[tokio::test]
async fn identity_schema_is_told() {
    let (core, _) = lab().await;
    let schema = core.identity_schema("lab_case").unwrap();
    assert_eq!(schema.version, 2);
    let told: Vec<(&str, bool)> = schema.attributes.iter().map(|a| (a.name.as_str(), a.required)).collect();
    assert_eq!(told, [("name", true), ("region", false)]);
    assert!(core.identity_schema("lab_plain").is_err());
}

#[tokio::test]
async fn identity_is_filled_from_the_state_in_plan_apply_and_read() {
    let (core, _) = lab().await;
    let plan = core.plan("lab_case", None, Some(named("a"))).await.unwrap();
    assert_eq!(plan.identity, Some(identity("a", "north")));
    let state = created(&core, "lab_case", named("a")).await;
    assert_eq!(state.identity, Some(identity("a", "north")));
    let (read, d) = core.read("lab_case", &state).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(read.unwrap().identity, state.identity);
    // A state of a time before identities gets one.
    let (read, d) = core.read("lab_case", &State { identity: None, ..state.clone() }).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(read.unwrap().identity, state.identity);
    let plan = core.plan("lab_case", Some(&state), Some(named("a").with("size", 2))).await.unwrap();
    assert_eq!(plan.identity, state.identity, "{}", plan.diagnostics);
    let (gone, d) = core.change("lab_case", Some(&state), None).await.unwrap();
    assert!(gone.is_none() && d.is_empty(), "{d}");
}

#[tokio::test]
async fn identity_may_be_unknown_only_while_a_create_is_planned() {
    let (core, _) = lab().await;
    let config = Object::new().with("name", Value::UNKNOWN);
    let plan = core.plan("lab_case", None, Some(config)).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert!(plan.identity.as_ref().unwrap().attr("name").is_unknown());
    let (state, d) = core.apply_known(&plan, Some(named("b"))).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    assert_eq!(state.identity, Some(identity("b", "north")));
    // A replacement by a name that is not known yet: the object that is there keeps its identity.
    let plan = core.plan("lab_case", Some(&state), Some(Object::new().with("name", Value::UNKNOWN))).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert_eq!(plan.identity, state.identity);
}

#[tokio::test]
async fn identity_that_a_refresh_changes_is_refused() {
    let (core, _) = lab().await;
    let state = created(&core, "lab_case", named("a").with("act", "shift")).await;
    let (_, d) = core.read("lab_case", &state).await.unwrap();
    assert!(d.to_string().contains("Identity has changed"), "{d}");
}

#[tokio::test]
async fn identity_imports_an_object() {
    let (core, _) = lab().await;
    let state = created(&core, "lab_case", named("a").with("region", "south")).await;
    let (imported, d) = core.import_identity("lab_case", &identity("a", "south")).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let imported = imported.unwrap();
    assert_eq!((imported.object, imported.identity), (state.object.clone(), state.identity.clone()));
    let (imported, d) = core.import("lab_case", "a").await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(imported.unwrap().identity, state.identity, "an import by id has an identity after it is read");
}

#[tokio::test]
async fn identity_import_that_is_incomplete_wrong_or_of_nothing_is_refused() {
    let (core, _) = lab().await;
    let (state, d) = core.import_identity("lab_case", &Object::new().with("region", "south")).await.unwrap();
    assert!(state.is_none() && d.to_string().contains("needs name"), "{d}");
    let (state, d) = core.import_identity("lab_case", &identity("absent", "south")).await.unwrap();
    assert!(state.is_none() && d.to_string().contains("non-existent"), "{d}");
    let (state, d) = core.import("lab_plain", "a").await.unwrap();
    assert!(state.is_none() && d.to_string().contains("has no import"), "{d}");
}

#[tokio::test]
async fn identity_of_every_version_is_upgraded() {
    let (core, _) = lab().await;
    for (version, json, wanted) in [
        (0, r#"{"title": "a"}"#, Object::new().with("name", "a").with("region", Value::Null)),
        (1, r#"{"name": "a", "place": "south"}"#, identity("a", "south")),
        (2, r#"{"name": "a", "gone": 1}"#, Object::new().with("name", "a").with("region", Value::Null)),
    ] {
        let (upgraded, d) = core.upgrade_identity("lab_case", version, json).await.unwrap();
        assert!(d.is_empty(), "{d}");
        assert_eq!(upgraded, Some(wanted), "{version}");
    }
    for (type_name, version, json, word) in [
        ("lab_case", 3, "{}", "later release"),
        ("lab_case", -1, "{}", "no upgrade"),
        ("lab_case", 2, "{}", "names no object"),
        ("lab_case", 1, "[", "JSON"),
        ("lab_plain", 0, "{}", "has no identity"),
    ] {
        let (upgraded, d) = core.upgrade_identity(type_name, version, json).await.unwrap();
        assert!(upgraded.is_none() && d.to_string().contains(word), "{word}: {d}");
    }
}

#[tokio::test]
async fn identity_of_a_failed_update_stays() {
    let (core, _) = lab().await;
    let state = created(&core, "lab_case", named("a")).await;
    let (after, d) = core.change("lab_case", Some(&state), Some(named("a").with("act", "fail"))).await.unwrap();
    assert!(d.has_errors());
    assert_eq!(after.unwrap().identity, state.identity);
}

#[tokio::test]
async fn identity_calls_work_before_the_provider_is_configured() {
    let core = FakeCore::in_process(Lab::default()).await.unwrap();
    let (upgraded, d) = core.upgrade_identity("lab_case", 0, r#"{"title": "a"}"#).await.unwrap();
    assert!(upgraded.is_some() && d.is_empty(), "{d}");
}
