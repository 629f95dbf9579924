//! Actions, lists, and import by identity.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Fake, problem};
use serde_json::json;
use terraform_provider_sampan::Sampan;
use tf_plugin::fake_core::{FakeCore, Invoked};
use tf_plugin::{Object, Value};

const CART: &str = "/v1/namespaces/shop/applications/cart";

async fn core() -> (FakeCore, Fake) {
    let (fake, endpoint) = Fake::start().await;
    let core = FakeCore::in_process(Sampan).await.unwrap();
    let config = Object::new().with("endpoint", endpoint).with("token", "t0ken").with("namespace", "shop");
    let d = core.configure(config).await.unwrap();
    assert!(d.is_empty(), "{d}");
    (core, fake)
}

fn cart() -> Object {
    Object::new().with("name", "cart")
}

async fn invoked(core: &FakeCore, action: &str, config: Object) -> Invoked {
    core.invoke(action, config).await.unwrap()
}

#[tokio::test]
async fn a_restart_is_followed_to_its_end_and_shown() {
    let (core, fake) = core().await;
    let done = invoked(&core, "sampan_restart", cart()).await;
    assert!(done.diagnostics.is_empty(), "{}", done.diagnostics);
    assert!(done.progress.iter().any(|line| line.contains("restart")), "{:?}", done.progress);
    assert_eq!(fake.count("POST", &format!("{CART}/restart")), 1);
    fake.world().ends = Some(("Failed", "ProbeFailed", "no instance became ready"));
    let done = invoked(&core, "sampan_restart", cart()).await;
    let text = done.diagnostics.to_string();
    assert!(text.contains("shop/cart") && text.contains("no instance became ready"), "{text}");
}

#[tokio::test]
async fn a_rollback_names_its_revision_and_a_namespace_wins_over_the_providers() {
    let (core, fake) = core().await;
    let config = cart().with("namespace", "other").with("to_revision", 3);
    let done = invoked(&core, "sampan_rollback", config).await;
    assert!(done.diagnostics.is_empty(), "{}", done.diagnostics);
    assert_eq!(fake.count("POST", "/v1/namespaces/other/applications/cart/rollback"), 1);
    assert_eq!(fake.last("POST"), json!({ "to_revision": 3 }));
    let done = invoked(&core, "sampan_rollback", cart().with("to_revision", 0)).await;
    assert!(done.diagnostics.has_errors() && fake.count("POST", &format!("{CART}/rollback")) == 0);
}

#[tokio::test]
async fn a_release_is_told_to_go_on_to_stand_and_to_return() {
    let (core, fake) = core().await;
    for (action, verb) in [
        ("sampan_promote", "promote"),
        ("sampan_pause", "pause"),
        ("sampan_resume", "resume"),
        ("sampan_abort", "abort"),
    ] {
        let done = invoked(&core, action, cart()).await;
        assert!(done.diagnostics.is_empty(), "{}", done.diagnostics);
        assert_eq!(fake.count("POST", &format!("{CART}/rollout/{verb}")), 1);
        assert!(done.progress[0].contains("at step 1 of 3"), "{:?}", done.progress);
        assert_eq!(done.progress[0].starts_with("It was so already"), verb == "pause");
    }
    invoked(&core, "sampan_promote", cart().with("full", true)).await;
    assert_eq!(fake.last("POST")["full"], true);
}

#[tokio::test]
async fn a_refusal_of_the_server_and_a_wrong_name_are_errors() {
    let (core, fake) = core().await;
    fake.world().refuse.push((409, problem(409, "NO_RELEASE", json!([]))));
    let done = invoked(&core, "sampan_promote", cart()).await;
    assert!(done.diagnostics.to_string().contains("said the server"), "{}", done.diagnostics);
    let done = invoked(&core, "sampan_abort", Object::new().with("name", "Cart")).await;
    assert!(done.diagnostics.to_string().contains("no name"), "{}", done.diagnostics);
    assert_eq!(fake.count("POST", &format!("{CART}/rollout/abort")), 0);
}

#[tokio::test]
async fn every_kind_has_an_identity_and_is_imported_by_it() {
    let (core, _) = core().await;
    for kind in sampan_schema::KINDS {
        let schema = core.identity_schema(&format!("sampan_{}", kind.name)).unwrap();
        let names: Vec<(&str, bool)> = schema.attributes.iter().map(|a| (a.name.as_str(), a.required)).collect();
        let wanted: &[(&str, bool)] =
            if kind.namespaced { &[("name", true), ("namespace", false)] } else { &[("name", true)] };
        assert_eq!(names, wanted, "{}", kind.name);
    }
    let config = Object::new().with("name", "settings").with("data", Value::map([("A", "1".into())]));
    let (state, d) = core.change("sampan_config_map", None, Some(config)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    let identity = Object::new().with("name", "settings").with("namespace", "shop");
    assert_eq!(state.identity, Some(identity.clone()));
    // With the namespace, and with the provider's in its place.
    for given in [identity.clone(), Object::new().with("name", "settings")] {
        let (imported, d) = core.import_identity("sampan_config_map", &given).await.unwrap();
        assert!(d.is_empty(), "{d}");
        let imported = imported.unwrap();
        assert_eq!(
            (imported.identity.as_ref(), imported.object.attr("id").as_str()),
            (Some(&identity), Some("shop/settings"))
        );
    }
    let (imported, d) = core.import("sampan_config_map", "shop/settings").await.unwrap();
    assert!(d.is_empty() && imported.unwrap().identity == Some(identity), "{d}");
    for wrong in [Object::new().with("name", "Settings"), Object::new().with("name", "a").with("namespace", "")] {
        let (imported, d) = core.import_identity("sampan_config_map", &wrong).await.unwrap();
        assert!(imported.is_none() && d.to_string().contains("Wrong identity"), "{d}");
    }
}

#[tokio::test]
async fn what_is_listed_is_what_a_read_would_say() {
    let (core, _) = core().await;
    let mut states = Vec::new();
    for name in ["one", "two"] {
        let config = Object::new().with("name", name).with("data", Value::map([("A", name.into())]));
        let (state, d) = core.change("sampan_config_map", None, Some(config)).await.unwrap();
        assert!(d.is_empty(), "{d}");
        states.push(state.unwrap());
    }
    let found = core.list("sampan_config_map", Object::new(), true, 0).await.unwrap();
    assert_eq!(found.len(), 2);
    for (found, state) in found.iter().zip(&states) {
        assert!(found.diagnostics.is_empty(), "{}", found.diagnostics);
        assert_eq!(found.identity, state.identity);
        assert_eq!(found.display_name, state.object.attr("id").as_str().unwrap());
        assert_eq!(found.object.as_ref(), Some(&state.object));
    }
    let found = core.list("sampan_config_map", Object::new(), false, 1).await.unwrap();
    assert!(found.len() == 1 && found[0].object.is_none());
    let other = Object::new().with("namespace", "other");
    assert!(core.list("sampan_config_map", other, false, 0).await.unwrap().is_empty());
    let wrong = Object::new().with("namespace", "Other");
    let found = core.list("sampan_config_map", wrong, false, 0).await.unwrap();
    assert!(found.len() == 1 && found[0].diagnostics.has_errors());
}
