//! The ephemeral token.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Fake, problem};
use serde_json::json;
use std::time::{Duration, SystemTime};
use terraform_provider_sampan::Sampan;
use tf_plugin::Object;
use tf_plugin::fake_core::FakeCore;

const TYPE: &str = "sampan_api_token";

async fn core() -> (FakeCore, Fake) {
    let (fake, endpoint) = Fake::start().await;
    let core = FakeCore::in_process(Sampan).await.unwrap();
    let d = core.configure(Object::new().with("endpoint", endpoint).with("token", "t0ken")).await.unwrap();
    assert!(d.is_empty(), "{d}");
    (core, fake)
}

fn reader() -> Object {
    Object::new().with("role", "read_only")
}

#[tokio::test]
async fn a_token_is_made_renewed_and_revoked() {
    let (core, fake) = core().await;
    let (opened, d) = core.open(TYPE, reader().with("ttl_seconds", 90)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let mut opened = opened.unwrap();
    assert_eq!(opened.result.attr("token").as_str(), Some("sampan_secret-of-t1"));
    assert_eq!(opened.result.attr("id").as_str(), Some("t1"));
    assert_eq!(fake.last("POST"), json!({ "name": "terraform", "role": "read_only", "ttl_seconds": 90 }));
    // Before its end, with time for another try.
    let left = opened.renew_at.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_mins(1), "{left:?}");
    let d = core.renew(&mut opened).await.unwrap();
    assert!(d.is_empty() && opened.renew_at.is_some(), "{d}");
    assert_eq!(fake.count("POST", "/v1/tokens/t1/renew"), 1);
    let d = core.close(opened).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert!(fake.world().tokens.is_empty());
}

#[tokio::test]
async fn what_no_token_can_be_is_refused_before_the_server_is_asked() {
    let (core, fake) = core().await;
    for (config, word) in [
        (Object::new().with("role", "root"), "read_only"),
        (reader().with("ttl_seconds", 59), "60"),
        (reader().with("ttl_seconds", 86_401), "86400"),
        (reader().with("name", "Not A Name"), "name"),
    ] {
        let (opened, d) = core.open(TYPE, config).await.unwrap();
        assert!(opened.is_none() && d.to_string().contains(word), "{word}: {d}");
    }
    assert_eq!(fake.count("POST", "/v1/tokens"), 0);
}

#[tokio::test]
async fn a_refusal_is_an_error_and_a_revocation_that_fails_a_warning() {
    let (core, fake) = core().await;
    fake.world().refuse.push((403, problem(403, "FORBIDDEN", json!([]))));
    let (opened, d) = core.open(TYPE, reader()).await.unwrap();
    assert!(opened.is_none() && d.to_string().contains("role admin"), "{d}");

    let (opened, _) = core.open(TYPE, reader()).await.unwrap();
    let mut opened = opened.unwrap();
    fake.world().tokens.clear();
    let d = core.renew(&mut opened).await.unwrap();
    assert!(d.has_errors(), "what is gone is not renewed: {d}");
    let d = core.close(opened).await.unwrap();
    assert!(d.is_empty(), "what is gone is revoked: {d}");

    let (opened, _) = core.open(TYPE, reader()).await.unwrap();
    fake.world().refuse.push((500, problem(500, "INTERNAL", json!([]))));
    let d = core.close(opened.unwrap()).await.unwrap();
    assert!(!d.has_errors() && d.to_string().contains("not revoked"), "{d}");
    assert!(!d.to_string().contains("sampan_secret"), "{d}");
}
