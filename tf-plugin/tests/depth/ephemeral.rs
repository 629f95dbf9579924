//! Ephemeral resources.

use crate::lab::{assert_internal_error, lab, named, offline};
use std::time::{Duration, SystemTime};
use tf_plugin::{Object, Value};

#[tokio::test]
async fn an_ephemeral_resource_is_opened_renewed_and_closed_with_its_data() {
    let (core, seen) = lab().await;
    let (opened, d) = core.open("lab_token", named("a").with("seconds", 120)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let mut opened = opened.unwrap();
    assert_eq!(opened.result.attr("token").as_str(), Some("tok-a"));
    let left = opened.renew_at.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_mins(2), "{left:?}");
    // The first keeps the data and asks for another, the second changes the data and asks for none.
    let d = core.renew(&mut opened).await.unwrap();
    assert!(d.is_empty() && opened.renew_at.is_some(), "{d}");
    let d = core.renew(&mut opened).await.unwrap();
    assert!(d.is_empty() && opened.renew_at.is_none(), "{d}");
    let d = core.close(opened).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(*seen.closed.lock().unwrap(), ["a, renewed"]);
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_before_or_in_the_call() {
    let (core, seen) = lab().await;
    for (config, word) in [
        (named("invalid"), "Not this one"),
        (named(""), "Invalid value"),
        (named("a").with("seconds", tf_plugin::Number::parse("1.5").unwrap()), "Number does not fit"),
        (named("fail"), "There is none left"),
        (named("nothing"), "neither a value nor a reason"),
        (named("unknown"), "E2"),
        (named("other"), "E3"),
    ] {
        let (opened, d) = core.open("lab_token", config).await.unwrap();
        assert!(opened.is_none() && d.to_string().contains(word), "{word}: {d}");
    }
    // What was made and then refused is taken back, since Terraform does not know of it; the rest was never open.
    // The other one keeps no data.
    assert_eq!(*seen.closed.lock().unwrap(), ["unknown", ""]);
}

#[tokio::test]
async fn an_opened_secret_is_masked_in_diagnostics() {
    let (core, _) = lab().await;
    let (opened, d) = core.open("lab_token", named("leak")).await.unwrap();
    assert_eq!(opened.unwrap().result.attr("token").as_str(), Some("tok-leak"));
    assert!(d.len() == 1 && !d.to_string().contains("tok-leak"), "{d}");
}

#[tokio::test]
async fn a_warning_of_close_is_shown() {
    let (core, _) = lab().await;
    let (opened, _) = core.open("lab_token", named("stuck")).await.unwrap();
    let d = core.close(opened.unwrap()).await.unwrap();
    assert!(!d.has_errors() && d.to_string().contains("It stays"), "{d}");
}

#[tokio::test]
async fn panics_in_open_renew_and_close_are_diagnostics() {
    let (core, _) = lab().await;
    let (opened, d) = core.open("lab_token", named("panic")).await.unwrap();
    assert!(opened.is_none());
    assert_internal_error(&d);
    let (opened, _) = core.open("lab_token", named("panic in renew")).await.unwrap();
    assert_internal_error(&core.renew(&mut opened.unwrap()).await.unwrap());
    let (opened, _) = core.open("lab_token", named("panic in close")).await.unwrap();
    assert_internal_error(&core.close(opened.unwrap()).await.unwrap());
}

#[tokio::test]
async fn an_ephemeral_resource_is_deferred_or_refused_by_name() {
    let (core, _) = lab().await;
    let (opened, d) = core.open("lab_token", named("defer")).await.unwrap();
    assert!(opened.is_none() && d.to_string().contains("does not exist yet"), "{d}");
    let core = core.deferring();
    let (opened, d) = core.open("lab_token", named("defer")).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let opened = opened.unwrap();
    assert!(opened.deferred.is_some() && opened.result.attr("token").is_unknown());
    let (opened, d) = offline().await.open("lab_token", named("a")).await.unwrap();
    assert!(opened.is_none() && d.to_string().contains("region"), "{d}");
    let (opened, _) = offline().await.deferring().open("lab_token", named("a")).await.unwrap();
    assert!(opened.unwrap().deferred.is_some());
}

#[tokio::test]
async fn an_unknown_argument_is_no_defect_of_validation() {
    let (core, _) = lab().await;
    // Terraform opens only what is wholly known; validation sees more.
    let (_, d) = core.open("lab_token", Object::new().with("name", Value::UNKNOWN)).await.unwrap();
    assert!(!d.to_string().contains("Not this one"), "{d}");
}

#[tokio::test]
async fn close_after_stop() {
    let (core, seen) = lab().await;
    let (opened, _) = core.open("lab_token", named("a")).await.unwrap();
    core.stop().await.unwrap();
    let d = core.close(opened.unwrap()).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(*seen.closed.lock().unwrap(), ["a"]);
}
