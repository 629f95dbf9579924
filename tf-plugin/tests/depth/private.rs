//! Private data, provider meta and equality in meaning.

use crate::lab::{created, lab, named};
use tf_plugin::Object;
use tf_plugin::fake_core::State;
use tf_plugin::proto::tfplugin6::ClientCapabilities;

fn private(state: &State, key: &str) -> Option<i64> {
    let all: serde_json::Value = serde_json::from_slice(&state.private).unwrap();
    all["values"][key].as_i64()
}

#[tokio::test]
async fn private_data_goes_from_plan_through_apply_read_and_update() {
    let (core, _) = lab().await;
    let state = created(&core, "lab_case", named("a")).await;
    assert_eq!(private(&state, "applies"), Some(1));
    // 6.11 gives the second plan what the first one left.
    assert_eq!(private(&state, "planned"), Some(2));
    let (read, _) = core.read("lab_case", &state).await.unwrap();
    let read = read.unwrap();
    assert_eq!((private(&read, "reads"), private(&read, "applies")), (Some(1), Some(1)));
    let (state, d) = core.change("lab_case", Some(&read), Some(named("a").with("size", 2))).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    assert_eq!((private(&state, "reads"), private(&state, "applies")), (Some(1), Some(2)));
}

#[tokio::test]
async fn private_data_of_an_earlier_terraform_starts_from_the_state_again() {
    let (core, _) = lab().await;
    let old = ClientCapabilities { write_only_attributes_allowed: true, ..Default::default() };
    let state = created(&core.with_capabilities(old), "lab_case", named("a")).await;
    assert_eq!(private(&state, "planned"), Some(1));
}

#[tokio::test]
async fn private_data_of_an_import_is_there_in_the_read() {
    let (core, _) = lab().await;
    created(&core, "lab_case", named("a")).await;
    let (imported, d) = core.import("lab_case", "a").await.unwrap();
    assert!(d.is_empty(), "{d}");
    let imported = imported.unwrap();
    assert_eq!(private(&imported, "reads"), Some(1));
    assert!(String::from_utf8_lossy(&imported.private).contains("\"imported\":true"));
}

#[tokio::test]
async fn private_data_of_another_program_is_an_error_in_every_call() {
    let (core, _) = lab().await;
    let state = created(&core, "lab_case", named("a")).await;
    let foreign = State { private: b"\x01binary".to_vec().into(), ..state };
    let (_, d) = core.read("lab_case", &foreign).await.unwrap();
    assert!(d.to_string().contains("Private data"), "{d}");
    let (kept, d) = core.change("lab_case", Some(&foreign), Some(named("a").with("size", 2))).await.unwrap();
    assert!(d.to_string().contains("Private data") && kept.as_ref() == Some(&foreign), "{d}");
}

#[tokio::test]
async fn provider_meta_reaches_resources_and_data_sources() {
    let (core, _) = lab().await;
    let core = core.with_meta(Object::new().with("module", "network"));
    let state = created(&core, "lab_case", named("a")).await;
    assert_eq!(state.object.attr("module").as_str(), Some("network"));
    let (data, d) = core.data("lab_probe", named("a")).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(data.unwrap().attr("module").as_str(), Some("network"));
}

#[tokio::test]
async fn a_custom_type_keeps_the_spelling_and_is_checked() {
    let (core, _) = lab().await;
    // The other side answers in capitals.
    let state = created(&core, "lab_case", named("a").with("label", "Shop")).await;
    assert_eq!(state.object.attr("label").as_str(), Some("Shop"));
    let (read, _) = core.read("lab_case", &state).await.unwrap();
    assert_eq!(read.unwrap().object.attr("label").as_str(), Some("Shop"));
    let plan = core.plan("lab_case", Some(&state), Some(named("a").with("label", "sHOP"))).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert_eq!(plan.planned.as_ref(), Some(&state.object));
    let d = core.validate("lab_case", named("a").with("label", "")).await.unwrap();
    assert!(d.has_errors());
}

#[tokio::test]
async fn delete_not_gone_is_error() {
    let (core, _) = lab().await;
    let state = created(&core, "lab_case", named("a").with("act", "stay")).await;
    let (left, d) = core.change("lab_case", Some(&state), None).await.unwrap();
    assert!(left.is_some() && d.to_string().contains("Object was not deleted"), "{d}");
}

#[tokio::test]
async fn a_replacement_deletes_and_creates() {
    let (core, seen) = lab().await;
    let state = created(&core, "lab_case", named("a")).await;
    let (state, d) = core.change("lab_case", Some(&state), Some(named("b"))).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(state.unwrap().object.attr("revision").as_i64(), Some(1));
    assert_eq!(seen.boxes.lock().unwrap().keys().collect::<Vec<_>>(), ["b"]);
}
