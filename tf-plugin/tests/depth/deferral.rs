//! Deferral.

use crate::lab::{created, lab, named, offline};
use tf_plugin::fake_core::State;
use tf_plugin::{DeferredReason, Object, Value};

#[tokio::test]
async fn deferred_plan_with_each_reason() {
    let (core, _) = lab().await;
    let core = core.deferring();
    let plan = core.plan("lab_case", None, Some(named("a").with("act", "defer"))).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert_eq!(plan.deferred, Some(DeferredReason::AbsentPrerequisite));
    let config = named("a").with("act", "defer when unknown").with("size", Value::UNKNOWN);
    let plan = core.plan("lab_case", None, Some(config)).await.unwrap();
    assert_eq!(plan.deferred, Some(DeferredReason::ResourceConfigUnknown));
    assert!(plan.planned.unwrap().attr("size").is_unknown());
    let plan = offline().await.deferring().plan("lab_case", None, Some(named("a"))).await.unwrap();
    assert_eq!(plan.deferred, Some(DeferredReason::ProviderConfigUnknown));
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
}

#[tokio::test]
async fn deferred_plan_is_refused_by_name_when_the_client_takes_none() {
    let (core, _) = lab().await;
    let config = named("a").with("act", "defer when unknown").with("size", Value::UNKNOWN);
    let plan = core.plan("lab_case", None, Some(config)).await.unwrap();
    assert!(plan.deferred.is_none());
    assert!(plan.diagnostics.to_string().contains("(size)"), "{}", plan.diagnostics);
    // An unknown provider block alone refuses no plan.
    let plan = offline().await.plan("lab_case", None, Some(named("a"))).await.unwrap();
    assert!(plan.deferred.is_none() && plan.diagnostics.is_empty(), "{}", plan.diagnostics);
}

#[tokio::test]
async fn deferred_read_leaves_the_state_as_it_is() {
    let (core, _) = lab().await;
    let state = State { object: stored("deferred"), ..State::default() };
    let (_, d) = core.read("lab_case", &state).await.unwrap();
    assert!(d.to_string().contains("does not exist yet"), "{d}");
    let core = core.deferring();
    let (read, d) = core.read("lab_case", &state).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(read.unwrap().object, state.object);
    let state = created(&core, "lab_case", named("a")).await;
    let (read, d) = offline().await.deferring().read("lab_case", &state).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(read, Some(state));
}

fn stored(name: &str) -> Object {
    crate::lab::case_schema().empty_object().with("name", name)
}

#[tokio::test]
async fn deferred_data_source_has_unknowns_for_what_is_computed() {
    let (core, _) = lab().await;
    let (data, d) = core.data("lab_probe", named("defer")).await.unwrap();
    assert!(data.is_none() && d.has_errors());
    let (data, d) = core.deferring().data("lab_probe", named("defer")).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let data = data.unwrap();
    assert_eq!(data.attr("name").as_str(), Some("defer"));
    assert!(data.attr("module").is_unknown());
}

#[tokio::test]
async fn deferred_import_imports_nothing_and_is_no_error() {
    let (core, _) = lab().await;
    let (state, d) = core.import("lab_case", "defer").await.unwrap();
    assert!(state.is_none() && d.has_errors());
    let (state, d) = core.deferring().import("lab_case", "defer").await.unwrap();
    assert!(state.is_none() && d.is_empty(), "{d}");
    let (state, d) = offline().await.deferring().import("lab_case", "a").await.unwrap();
    assert!(state.is_none() && d.is_empty(), "{d}");
}
