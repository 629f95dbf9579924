//! Actions.

use crate::lab::{assert_internal_error, lab, offline, until};
use tf_plugin::Object;
use tf_plugin::proto::tfplugin6 as pb;

fn host(name: &str) -> Object {
    Object::new().with("host", name)
}

#[tokio::test]
async fn action_progress_then_completed_once() {
    let (core, _) = lab().await;
    let invoked = core.invoke("lab_ping", host("a").with("count", 40)).await.unwrap();
    assert!(invoked.diagnostics.is_empty(), "{}", invoked.diagnostics);
    assert_eq!(invoked.progress.len(), 40);
    assert_eq!((invoked.progress[0].as_str(), invoked.progress[39].as_str()), ("1 of 40 ", "40 of 40 "));
}

#[tokio::test]
async fn an_action_that_is_invalid_or_fails_says_so_without_its_secrets() {
    let (core, _) = lab().await;
    for (config, word) in [
        (host("invalid"), "No such host"),
        (host("a").with("count", 1000), "Invalid value"),
        (host("a").with("count", tf_plugin::Number::parse("1.5").unwrap()), "Number does not fit"),
        (host("fail").with("password", "pa55-word"), "No answer"),
    ] {
        let invoked = core.invoke("lab_ping", config).await.unwrap();
        assert!(invoked.diagnostics.has_errors() && invoked.diagnostics.to_string().contains(word), "{word}");
        assert!(!format!("{invoked:?}").contains("pa55-word"), "{invoked:?}");
    }
    let invoked = core.invoke("lab_ping", host("warned")).await.unwrap();
    assert!(!invoked.diagnostics.has_errors() && invoked.diagnostics.len() == 1);
    // What core would not send.
    let rq = pb::invoke_action::Request { action_type: "lab_other".to_owned(), ..Default::default() };
    let mut events = core.rpc().invoke_action(rq).await.unwrap().into_inner();
    let last = events.message().await.unwrap().unwrap();
    assert!(matches!(last.r#type, Some(pb::invoke_action::event::Type::Completed(end)) if end.diagnostics.len() == 1));
    assert!(events.message().await.unwrap().is_none());
}

#[tokio::test]
async fn action_cancel_by_stop_and_by_a_client_that_goes_away() {
    let (core, seen) = lab().await;
    let stop = async {
        // Running, because its one line of progress comes before the wait.
        let rq = pb::invoke_action::Request {
            action_type: "lab_ping".to_owned(),
            config: Some(config_bytes()),
            client_capabilities: None,
        };
        let mut events = core.rpc().invoke_action(rq).await.unwrap().into_inner();
        assert!(events.message().await.unwrap().is_some());
        core.stop().await.unwrap();
        let last = events.message().await.unwrap().unwrap();
        assert!(matches!(last.r#type, Some(pb::invoke_action::event::Type::Completed(_))), "{last:?}");
        assert!(events.message().await.unwrap().is_none());
    };
    stop.await;
    assert_eq!(seen.cancellations(), 1);
    let rq = pb::invoke_action::Request {
        action_type: "lab_ping".to_owned(),
        config: Some(config_bytes()),
        client_capabilities: None,
    };
    let mut events = core.rpc().invoke_action(rq).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    drop(events);
    until("the action is cancelled", || seen.cancellations() == 2).await;
}

/// `{host: "wait", count: null, password: null}`.
fn config_bytes() -> pb::DynamicValue {
    pb::DynamicValue { json: br#"{"host":"wait","count":null,"password":null}"#.to_vec().into(), ..Default::default() }
}

#[tokio::test]
async fn an_action_ends_with_its_handler_even_if_a_sender_is_left() {
    let (core, _) = lab().await;
    let invoked = core.invoke("lab_ping", host("leave").with("count", 3)).await.unwrap();
    assert!(invoked.diagnostics.is_empty() && invoked.progress.len() == 3);
}

#[tokio::test]
async fn panics_in_plan_and_invoke_of_an_action_are_diagnostics() {
    let (core, _) = lab().await;
    let (_, d) = core.plan_action("lab_ping", host("panic in plan")).await.unwrap();
    assert_internal_error(&d);
    let invoked = core.invoke("lab_ping", host("panic").with("count", 2)).await.unwrap();
    assert_internal_error(&invoked.diagnostics);
    assert_eq!(invoked.progress.len(), 2);
}

#[tokio::test]
async fn deferred_actions_are_put_off_or_refused() {
    let (core, _) = lab().await;
    let (deferred, d) = core.plan_action("lab_ping", host("defer")).await.unwrap();
    assert!(deferred.is_none() && d.has_errors());
    let (deferred, d) = core.deferring().plan_action("lab_ping", host("defer")).await.unwrap();
    assert!(deferred.is_some() && d.is_empty(), "{d}");
    let (deferred, _) = offline().await.deferring().plan_action("lab_ping", host("a")).await.unwrap();
    assert_eq!(deferred, Some(tf_plugin::DeferredReason::ProviderConfigUnknown));
    let invoked = offline().await.invoke("lab_ping", host("a")).await.unwrap();
    assert!(invoked.diagnostics.to_string().contains("region"), "{}", invoked.diagnostics);
}
