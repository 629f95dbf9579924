//! Write-only attributes.

use crate::lab::{created, lab, named};
use tf_plugin::fake_core::State;
use tf_plugin::proto::tfplugin6::ClientCapabilities;
use tf_plugin::{Object, Value};

fn secret(name: &str) -> Object {
    let login = Object::new().with("key_wo", "k3y-secret");
    named(name).with("secret_wo", "s3cr3t-text").with("secret_version", 1).with("login", login)
}

fn holds_no_secret(object: &Object) {
    assert!(object.attr("secret_wo").is_null() && object.at("login.key_wo").is_none_or(Value::is_null), "{object:?}");
}

#[tokio::test]
async fn a_write_only_value_reaches_create_and_update_and_is_null_everywhere_else() {
    let (core, seen) = lab().await;
    let plan = core.plan("lab_case", None, Some(secret("a"))).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    holds_no_secret(plan.planned.as_ref().unwrap());
    let (state, d) = core.apply(&plan).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    holds_no_secret(&state.object);
    let (read, d) = core.read("lab_case", &state).await.unwrap();
    assert!(d.is_empty(), "{d}");
    holds_no_secret(&read.unwrap().object);
    let again = secret("a").with("secret_version", 2);
    let (state, d) = core.change("lab_case", Some(&state), Some(again)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    holds_no_secret(&state.unwrap().object);
    assert_eq!(*seen.secrets.lock().unwrap(), ["s3cr3t-text", "k3y-secret", "s3cr3t-text", "k3y-secret"]);
}

#[tokio::test]
async fn write_only_unknown_in_plan() {
    let (core, _) = lab().await;
    let config = named("a").with("secret_wo", Value::UNKNOWN).with("secret_version", 1);
    let plan = core.plan("lab_case", None, Some(config.clone())).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    holds_no_secret(plan.planned.as_ref().unwrap());
    let known = config.with("secret_wo", "now-known");
    let (state, d) = core.apply_known(&plan, Some(known)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    holds_no_secret(&state.unwrap().object);
}

#[tokio::test]
async fn write_only_old_client() {
    let (core, _) = lab().await;
    let core = core.with_capabilities(ClientCapabilities::default());
    let d = core.validate("lab_case", secret("a")).await.unwrap();
    assert!(d.to_string().contains("Terraform 1.11") && d.len() == 2, "{d}");
    let d = core.validate("lab_case", named("a")).await.unwrap();
    assert!(d.is_empty(), "{d}");
}

#[tokio::test]
async fn a_write_only_value_is_null_after_upgrade_import_and_move() {
    let (core, _) = lab().await;
    let json = r#"{"name": "a", "secret_wo": "old", "login": {"key_wo": "old"}}"#;
    let (state, d) = core.upgrade("lab_case", 1, json).await.unwrap();
    assert!(d.is_empty(), "{d}");
    holds_no_secret(&state.unwrap());
    created(&core, "lab_case", named("a")).await;
    let (state, d) = core.import("lab_case", "secret").await.unwrap();
    assert!(d.is_empty(), "{d}");
    holds_no_secret(&state.unwrap().object);
    let (state, d) =
        core.move_state(("example.com/x/old", "old_case", 0), r#"{"title": "a"}"#, "lab_case").await.unwrap();
    assert!(d.is_empty(), "{d}");
    holds_no_secret(&state.unwrap().object);
}

#[tokio::test]
async fn a_write_only_value_is_masked_in_diagnostics_also_of_validation() {
    let (core, _) = lab().await;
    let d = core.validate("lab_case", secret("a").with("act", "invalid")).await.unwrap();
    assert!(d.has_errors() && !d.to_string().contains("s3cr3t-text"), "{d}");
    let (state, d) = core.change("lab_case", None, Some(secret("a").with("act", "fail"))).await.unwrap();
    assert!(d.has_errors() && !d.to_string().contains("s3cr3t-text"), "{d}");
    // What was made is saved, with the error.
    let State { object, .. } = state.unwrap();
    assert_eq!(object.attr("id").as_str(), Some("id-a"));
}

#[tokio::test]
async fn a_rule_over_several_attributes_sees_a_write_only_one() {
    let (core, _) = lab().await;
    let d = core.validate("lab_case", named("a").with("secret_wo", "alone-here")).await.unwrap();
    assert!(d.to_string().contains("secret_version") && !d.to_string().contains("alone-here"), "{d}");
}
