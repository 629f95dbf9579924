//! List resources.

use crate::lab::{assert_internal_error, lab, offline, until};
use std::sync::atomic::Ordering;
use tf_plugin::proto::tfplugin6 as pb;
use tf_plugin::{Object, Value};

fn act(what: &str) -> Object {
    Object::new().with("act", what)
}

#[tokio::test]
async fn a_list_gives_identities_and_objects_when_asked() {
    let (core, _) = lab().await;
    let found = core.list("lab_case", Object::new().with("prefix", "x-"), false, 0).await.unwrap();
    assert_eq!(found.len(), 3);
    for (n, one) in found.iter().enumerate() {
        assert!(one.diagnostics.is_empty() && one.object.is_none(), "{one:?}");
        assert_eq!(one.display_name, format!("Case {n}"));
        assert_eq!(one.identity.as_ref().unwrap().attr("name").as_str(), Some(format!("x-{n}").as_str()));
    }
    let found = core.list("lab_case", Object::new(), true, 0).await.unwrap();
    let object = found[1].object.as_ref().unwrap();
    assert_eq!(object.attr("name").as_str(), Some("case-1"));
    assert!(object.attr("secret_wo").is_null());
}

#[tokio::test]
async fn list_limit() {
    let (core, seen) = lab().await;
    let found = core.list("lab_case", Object::new().with("count", 1000), false, 5).await.unwrap();
    assert_eq!(found.len(), 5);
    let listed = seen.listed.load(Ordering::SeqCst);
    assert!(listed <= 8, "{listed} were read for 5");
    // An endless list ends too.
    assert_eq!(core.list("lab_case", act("endless"), true, 7).await.unwrap().len(), 7);
}

#[tokio::test]
async fn list_error_event_continues() {
    let (core, _) = lab().await;
    let found = core.list("lab_case", act("broken"), false, 0).await.unwrap();
    let errors: Vec<bool> = found.iter().map(|one| one.diagnostics.has_errors()).collect();
    assert_eq!(errors, [false, true, false]);
    // It does not count against the limit.
    assert_eq!(core.list("lab_case", act("broken"), false, 2).await.unwrap().len(), 3);
}

#[tokio::test]
async fn list_cancel_and_back_pressure() {
    let (core, seen) = lab().await;
    let rq = pb::list_resource::Request {
        type_name: "lab_case".to_owned(),
        config: Some(pb::DynamicValue {
            json: br#"{"count":null,"act":"endless","prefix":null}"#.to_vec().into(),
            ..Default::default()
        }),
        include_resource_object: true,
        limit: 0,
    };
    let mut events = core.rpc().list_resource(rq).await.unwrap().into_inner();
    for _ in 0..10 {
        assert!(events.message().await.unwrap().is_some());
    }
    drop(events);
    until("the list is cancelled", || seen.cancellations() == 1).await;
    // Bounded by the windows of the connection, not by what could be listed.
    let listed = seen.listed.load(Ordering::SeqCst);
    assert!(listed < 1_000_000, "{listed}");
}

#[tokio::test]
async fn what_a_list_must_not_send_is_an_error_of_its_event() {
    let (core, _) = lab().await;
    let found = core.list("lab_case", act("anonymous"), false, 0).await.unwrap();
    assert!(found.iter().all(|one| one.diagnostics.to_string().contains("no identity")), "{found:?}");
    let found = core.list("lab_case", act("incomplete"), true, 0).await.unwrap();
    assert!(found.iter().all(|one| one.diagnostics.to_string().contains("not read")), "{found:?}");
    let found = core.list("lab_case", act("incomplete"), false, 0).await.unwrap();
    assert!(found.iter().all(|one| one.diagnostics.is_empty()), "{found:?}");
}

#[tokio::test]
async fn a_list_that_is_invalid_panics_or_has_no_client_says_so() {
    let (core, _) = lab().await;
    let found = core.list("lab_case", Object::new().with("prefix", "too long"), false, 0).await.unwrap();
    assert!(found.len() == 1 && found[0].diagnostics.to_string().contains("Invalid value"));
    let found = core.list("lab_case", Object::new(), false, -1).await.unwrap();
    assert!(found[0].diagnostics.to_string().contains("limit"), "{found:?}");
    let found = core.list("lab_case", act("panic"), false, 0).await.unwrap();
    assert_internal_error(&found[0].diagnostics);
    let found = offline().await.list("lab_case", Object::new(), false, 0).await.unwrap();
    assert!(found.len() == 1 && found[0].diagnostics.to_string().contains("region"), "{found:?}");
    let unknown = Object::new().with("prefix", Value::UNKNOWN);
    assert_eq!(core.list("lab_case", unknown, false, 0).await.unwrap().len(), 3);
}
