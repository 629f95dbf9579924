//! What the provider block can say beside address and token.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Fake, problem};
use serde_json::json;
use terraform_provider_sampan::Sampan;
use tf_plugin::fake_core::{FakeCore, State};
use tf_plugin::{Diagnostics, Object, Value};

const TYPE: &str = "sampan_config_map";
const PATH: &str = "/v1/namespaces/shop/config-maps/settings";

fn labels(pairs: &[(&str, &str)]) -> Value {
    Value::map(pairs.iter().map(|(key, value)| (*key, Value::from(*value))))
}

/// A new process against the same server.
async fn core(endpoint: &str, more: Object) -> (FakeCore, Diagnostics) {
    let core = FakeCore::in_process(Sampan).await.unwrap();
    let mut config = Object::new().with("endpoint", endpoint).with("token", "t0ken").with("namespace", "shop");
    for (name, value) in more.iter() {
        config.set(name, value.clone());
    }
    let d = core.configure(config).await.unwrap();
    (core, d)
}

async fn with_defaults(endpoint: &str, pairs: &[(&str, &str)]) -> FakeCore {
    let (core, d) = core(endpoint, Object::new().with("default_labels", labels(pairs))).await;
    assert!(d.is_empty(), "{d}");
    core
}

fn settings(own: &[(&str, &str)]) -> Object {
    let config = Object::new().with("name", "settings").with("data", labels(&[("A", "1")]));
    if own.is_empty() { config } else { config.with("labels", labels(own)) }
}

async fn changed(core: &FakeCore, prior: Option<&State>, config: Object) -> State {
    let (state, d) = core.change(TYPE, prior, Some(config)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    state.unwrap()
}

/// Refreshes and plans; whether nothing is to be done.
async fn is_settled(core: &FakeCore, state: &State, config: Object) -> bool {
    let (read, d) = core.read(TYPE, state).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let read = read.unwrap();
    let plan = core.plan(TYPE, Some(&read), Some(config)).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    plan.planned.as_ref() == Some(&read.object)
}

#[tokio::test]
async fn default_labels_are_added_and_those_of_the_resource_win() {
    let (fake, endpoint) = Fake::start().await;
    let core = with_defaults(&endpoint, &[("team", "a"), ("stage", "test")]).await;
    let config = settings(&[("stage", "live"), ("own", "1")]);
    let state = changed(&core, None, config.clone()).await;
    let all = json!({ "own": "1", "stage": "live", "team": "a" });
    assert_eq!(fake.last("PUT")["labels"], all);
    assert_eq!(state.object.attr("labels"), &labels(&[("stage", "live"), ("own", "1")]));
    assert_eq!(state.object.attr("effective_labels"), &labels(&[("own", "1"), ("stage", "live"), ("team", "a")]));
    assert!(is_settled(&core, &state, config.clone()).await);

    // Somebody takes one away, or adds one: both are seen.
    fake.world().objects.get_mut(PATH).unwrap()["labels"].as_object_mut().unwrap().remove("team");
    assert!(!is_settled(&core, &state, config.clone()).await);
    fake.world().objects.get_mut(PATH).unwrap()["labels"] = all.clone();
    fake.world().objects.get_mut(PATH).unwrap()["labels"]["foreign"] = "x".into();
    assert!(!is_settled(&core, &state, config.clone()).await);
    fake.world().objects.get_mut(PATH).unwrap()["labels"] = all;
    assert!(is_settled(&core, &state, config).await);
}

#[tokio::test]
async fn other_default_labels_are_one_update_and_none_take_them_back() {
    let (fake, endpoint) = Fake::start().await;
    let config = settings(&[]);
    let first = with_defaults(&endpoint, &[("team", "a")]).await;
    let mut state = changed(&first, None, config.clone()).await;
    assert!(state.object.attr("labels").is_null(), "{:?}", state.object);
    for (pairs, wanted) in [
        (vec![("team", "b")], json!({ "team": "b" })),
        (vec![("team", "b"), ("more", "1")], json!({ "more": "1", "team": "b" })),
        (vec![], json!(null)),
    ] {
        let next = if pairs.is_empty() {
            let (core, d) = core(&endpoint, Object::new()).await;
            assert!(d.is_empty(), "{d}");
            core
        } else {
            with_defaults(&endpoint, &pairs).await
        };
        assert!(!is_settled(&next, &state, config.clone()).await, "{pairs:?}");
        let (read, _) = next.read(TYPE, &state).await.unwrap();
        assert!(read.as_ref().unwrap().object.attr("labels").is_null(), "what the block put there is no drift");
        state = changed(&next, read.as_ref(), config.clone()).await;
        assert_eq!(fake.world().objects[PATH]["labels"], wanted);
        assert!(is_settled(&next, &state, config.clone()).await, "{pairs:?}");
    }
    assert!(state.object.attr("effective_labels").is_null());
}

#[tokio::test]
async fn an_import_takes_default_labels_for_those_of_the_block() {
    let (_fake, endpoint) = Fake::start().await;
    let core = with_defaults(&endpoint, &[("team", "a")]).await;
    let config = settings(&[("own", "1")]);
    changed(&core, None, config.clone()).await;
    let (imported, d) = core.import(TYPE, "shop/settings").await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert!(is_settled(&core, &imported.unwrap(), config).await);
}

#[tokio::test]
async fn a_setting_that_cannot_work_is_an_error_at_its_place() {
    let (fake, endpoint) = Fake::start().await;
    for (name, value, word) in [
        ("default_labels", labels(&[("sampan.x", "1")]), "reserved"),
        ("retries", Value::from(21), "20"),
        ("proxy", Value::from("nonsense"), "proxy"),
        ("proxy", Value::from("http://user:hunter2@proxy.example:3128"), "in the clear"),
        ("ca_file", Value::from("/nowhere/ca.pem"), "/nowhere/ca.pem"),
    ] {
        let (_, d) = core(&endpoint, Object::new().with(name, value)).await;
        let text = d.to_string();
        assert!(d.has_errors() && text.contains(word) && !text.contains("hunter2"), "{name}: {text}");
    }
    assert_eq!(fake.count("GET", "/v1/server"), 0);
}

#[tokio::test]
async fn the_proxy_and_the_number_of_tries_are_those_of_the_block() {
    // Nothing listens at the endpoint: only the proxy can have answered.
    let (fake, proxy) = Fake::start().await;
    let more = Object::new().with("proxy", proxy.as_str()).with("retries", 0);
    let (core, d) = core("http://127.0.0.1:1", more).await;
    assert!(d.is_empty(), "{d}");
    assert_eq!(fake.count("GET", "/v1/server"), 1);
    fake.world().refuse.push((503, problem(503, "UNAVAILABLE", json!([]))));
    let (state, d) = core.change(TYPE, None, Some(settings(&[]))).await.unwrap();
    assert!(state.is_none() && d.has_errors(), "{d}");
    assert!(d.to_string().contains("[request r1]"), "{d}");
    assert_eq!(fake.count("PUT", PATH), 1, "no other try");
}
