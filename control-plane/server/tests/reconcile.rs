//! Releases through the real API, store and reconciler, on a fake runtime.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod support;

use sampan_engine::runtime::RuntimeError;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::{Fake, IMAGE_A, IMAGE_B, app, bench, wait_for};

const CART: &str = "/v1/namespaces/shop/applications/cart";

fn column(rows: &[Value], name: &str) -> Vec<String> {
    rows.iter().map(|r| r[name].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_change_replaces_containers_and_keeps_sandboxes() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 3)).await;
    let before = b.instances().await;
    let (status, answer) = b.update(CART, &app(IMAGE_B, 3)).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let after = b.instances().await;
    assert_eq!(column(&before, "sandbox_id"), column(&after, "sandbox_id"));
    for (old, new) in column(&before, "container_id").iter().zip(column(&after, "container_id")) {
        assert_ne!(*old, new);
    }
    assert!(after.iter().all(|i| i["ready"] == true && i["attempt"] == 1), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_probes_restart_nothing_and_scale_touches_no_running_instance() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 2)).await;
    let before = b.instances().await;
    let mut body = app(IMAGE_A, 2);
    body["labels"] = json!({ "team": "a" });
    body["container"]["probes"] = json!({ "readiness": { "tcp_socket": { "port": "http" } } });
    let (status, answer) = b.update(CART, &body).await;
    assert_eq!((status, answer.get("operation")), (200, None));
    body["replicas"] = 3.into();
    let (_, answer) = b.update(CART, &body).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let more = b.instances().await;
    assert_eq!(more.len(), 3);
    for old in column(&before, "container_id") {
        assert!(column(&more, "container_id").contains(&old));
    }
    body["replicas"] = 0.into();
    let (_, answer) = b.update(CART, &body).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    assert!(b.fake.sandboxes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_instance_keeps_its_traffic_until_new_probes_or_those_of_a_new_server_say_otherwise() {
    let mut b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 2)).await;
    let before = b.instances().await;
    b.fake.faults(|f| f.probes_wait = true);
    let asked = |b: &support::Bench| b.fake.calls().iter().filter(|c| c.starts_with("probe ")).count();
    let mut body = app(IMAGE_A, 2);
    body["container"]["probes"] =
        json!({ "readiness": { "tcp_socket": { "port": "http" }, "initial_delay_seconds": 600 } });
    let (known, (status, _)) = (asked(&b), b.update(CART, &body).await);
    assert_eq!(status, 200);
    wait_for("the new probes", async || asked(&b) == known + 2).await;
    assert!(b.instances().await.iter().all(|i| i["ready"] == true), "{:?}", b.instances().await);
    b.restart().await;
    wait_for("the probes of the new server", async || asked(&b) == known + 4).await;
    let after = b.instances().await;
    assert!(after.iter().all(|i| i["ready"] == true), "{after:?}");
    assert_eq!(column(&before, "container_id"), column(&after, "container_id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_give_new_sandboxes() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 2)).await;
    let before = b.instances().await;
    let mut body = app(IMAGE_A, 2);
    body["resources"]["memory"] = "128Mi".into();
    let (_, answer) = b.update(CART, &body).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let after = b.instances().await;
    assert_eq!(after.len(), 2);
    for old in column(&before, "sandbox_id") {
        assert!(!column(&after, "sandbox_id").contains(&old));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_then_b_then_a_is_revision_a_again() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let a = b.get(CART).await["status"]["current_revision"].clone();
    for (image, same) in [(IMAGE_B, false), (IMAGE_A, true)] {
        let (_, answer) = b.update(CART, &app(image, 1)).await;
        assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
        assert_eq!(b.get(CART).await["status"]["current_revision"] == a, same);
    }
    assert_eq!(b.get(&format!("{CART}/revisions")).await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_update_keeps_the_old_revision_serving_and_can_be_tried_again() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 2)).await;
    let before = b.instances().await;
    let error = RuntimeError::permanent("ImageNotFound", "no such image");
    b.fake.faults(|f| {
        f.images.insert("bbbb".into(), error);
    });
    let (_, answer) = b.update(CART, &app(IMAGE_B, 2)).await;
    let op = b.finish(&answer).await;
    assert_eq!((op["phase"].as_str(), op["reason"].as_str()), (Some("Failed"), Some("ImageNotFound")), "{op}");
    wait_for("all back on the old revision", async || b.instances().await.iter().all(|i| i["ready"] == true)).await;
    assert_eq!(column(&before, "container_id"), column(&b.instances().await, "container_id"), "nothing was restarted");
    b.fake.faults(|f| f.images.clear());
    let (status, retry) = b.update(CART, &app(IMAGE_B, 2)).await;
    assert_eq!(status, 202, "the same spec again is a new try: {retry}");
    let op = b.finish(&retry).await;
    assert_eq!(op["phase"], "Succeeded", "{op}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unready_update_fails_by_its_deadline_with_the_reason_and_rolls_back_when_asked() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 2)).await;
    b.fake.faults(|f| f.unready_env = Some(("BAD".into(), "1".into())));
    let mut body = app(IMAGE_A, 2);
    body["container"]["env"] = json!({ "BAD": "1" });
    body["rollout"] = json!({ "on_failure": "rollback" });
    let (_, answer) = b.update(CART, &body).await;
    let op = b.finish(&answer).await;
    assert_eq!((op["phase"].as_str(), op["reason"].as_str()), (Some("RolledBack"), Some("ProgressDeadlineExceeded")));
    assert!(op["message"].as_str().unwrap().contains("answered 503"), "{op}");
    let after = b.instances().await;
    assert!(after.iter().all(|i| i["ready"] == true), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_without_handler_stays_pending_and_runs_nothing() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let mut body = app(IMAGE_A, 1);
    body["isolation_class"] = "kata".into();
    let (_, answer) = b.create(CART, &body).await;
    let op = b.finish(&answer).await;
    assert_eq!(op["phase"], "Failed");
    assert!(op["message"].as_str().unwrap().contains("IsolationUnavailable"), "{op}");
    let status = b.get(CART).await["status"].clone();
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Pending"), &json!("IsolationUnavailable")), "{status}");
    assert!(b.fake.sandboxes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_to_a_class_without_handler_touches_no_instance() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 2)).await;
    let before = b.instances().await;
    let mut body = app(IMAGE_A, 2);
    body["isolation_class"] = "kata".into();
    let (_, answer) = b.update(CART, &body).await;
    let op = b.finish(&answer).await;
    assert_eq!(op["phase"], "Failed");
    assert!(op["message"].as_str().unwrap().contains("IsolationUnavailable"), "{op}");
    let status = b.get(CART).await["status"].clone();
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Pending"), &json!("IsolationUnavailable")), "{status}");
    assert_eq!(b.instances().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_panics_is_tried_again_and_its_instance_is_not_busy_for_ever() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.fake.faults(|f| f.panics = vec!["list", "run", "pull", "create", "start"]);
    let mut body = app(IMAGE_A, 1);
    body["update_strategy"]["progress_deadline_seconds"] = 40.into();
    b.deployed(&body).await;
    wait_for("every call panicked", async || {
        let mut left = 0;
        b.fake.faults(|f| left = f.panics.len());
        left == 0
    })
    .await;
    b.fake.faults(|f| f.panics = vec!["stop", "remove"]);
    let (_, answer) = b.send("DELETE", CART, &[("if-match", "*")], None).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    assert!(b.fake.sandboxes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_restarts_in_the_same_sandbox() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let before = b.instances().await;
    b.fake.crash(before[0]["container_id"].as_str().unwrap());
    wait_for("a new container is ready", async || {
        let now = b.instances().await;
        now[0]["ready"] == true && now[0]["container_id"] != before[0]["container_id"]
    })
    .await;
    let after = b.instances().await;
    assert_eq!(after[0]["sandbox_id"], before[0]["sandbox_id"]);
    assert_eq!(after[0]["restarts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_restarts_no_container() {
    let mut b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 2)).await;
    let before = b.instances().await;
    b.restart().await;
    let starts = |calls: Vec<String>| calls.iter().filter(|c| c.starts_with("start")).count();
    let (_, answer) = b.update(CART, &app(IMAGE_A, 3)).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let after = b.instances().await;
    for old in column(&before, "container_id") {
        assert!(column(&after, "container_id").contains(&old));
    }
    assert_eq!(starts(b.fake.calls()), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explicit_restart_replaces_every_container_in_place() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 2)).await;
    let before = b.instances().await;
    let (status, answer) = b.send("POST", &format!("{CART}/restart"), &[], Some(&json!({}))).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let after = b.instances().await;
    assert_eq!(column(&before, "sandbox_id"), column(&after, "sandbox_id"));
    assert!(column(&before, "container_id").iter().all(|c| !column(&after, "container_id").contains(c)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_ends_by_the_hook_of_its_own_revision_before_it_is_stopped() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let with_hook = |command: &str| {
        let mut body = app(IMAGE_A, 1);
        body["lifecycle_hooks"] = json!({ "pre_stop": { "exec": { "command": [command] } } });
        body
    };
    b.deployed(&with_hook("/old")).await;
    let id = column(&b.instances().await, "container_id").remove(0);
    let (_, answer) = b.update(CART, &with_hook("/new")).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let calls = b.fake.calls();
    let at = |call: String| calls.iter().position(|c| *c == call).unwrap_or_else(|| panic!("no {call} in {calls:?}"));
    assert!(at(format!("exec {id} /old")) < at(format!("stop {id}")));
    assert!(!calls.iter().any(|c| c.ends_with("/new")), "what starts now has not ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_asked_over_http_before_it_is_stopped_and_a_deaf_one_holds_nothing_up() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let with_hook = |image: &str| {
        let mut body = app(image, 1);
        // Of the name that the ports had when the container was made.
        body["network"]["ports"]["admin"] = json!({ "container_port": port });
        body["lifecycle_hooks"] = json!({
            "pre_stop": { "http_get": { "path": "/drain?now=1", "port": "admin", "headers": { "x-from": "sampan" } } },
        });
        body
    };
    b.deployed(&with_hook(IMAGE_A)).await;
    let id = column(&b.instances().await, "container_id").remove(0);
    let fake = b.fake.clone();
    let stopped = format!("stop {id}");
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.unwrap());
        }
        let early = fake.calls().contains(&stopped);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        (String::from_utf8(asked).unwrap(), early)
    });
    let (_, answer) = b.update(CART, &with_hook(IMAGE_B)).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let (asked, early) = heard.await.unwrap();
    assert!(asked.starts_with("GET /drain?now=1 HTTP/1.1\r\n") && asked.contains("x-from: sampan\r\n"), "{asked}");
    assert!(!early, "it is asked before it is stopped");
    assert!(b.fake.calls().contains(&format!("stop {id}")));
    // The listener is gone: nobody answers any more.
    let (_, answer) = b.update(CART, &with_hook(IMAGE_A)).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_change_restarts_only_who_asked_for_it() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let map = "/v1/namespaces/shop/config-maps/settings";
    b.create(map, &json!({ "data": { "COLOUR": "red" } })).await;
    for (ask, changes) in [(false, false), (true, true)] {
        let mut body = app(IMAGE_A, 1);
        body["container"]["env_from"] = json!([{ "config_map": "settings" }]);
        body["container"]["restart_on_config_change"] = ask.into();
        b.deployed(&body).await;
        let before = b.instances().await[0]["container_id"].clone();
        let colour = format!("blue-{ask}");
        b.update(map, &json!({ "data": { "COLOUR": colour } })).await;
        let now = async || b.instances().await[0].clone();
        if changes {
            wait_for("a restart", async || now().await["container_id"] != before && now().await["ready"] == true).await;
            let id = now().await["container_id"].as_str().unwrap().to_owned();
            assert!(b.fake.env_of(&id).contains(&("COLOUR".into(), colour)));
        } else {
            // Something else that is decided later shows that the config change was looked at.
            body["replicas"] = 2.into();
            let (_, answer) = b.update(CART, &body).await;
            b.finish(&answer).await;
            assert!(column(&b.instances().await, "container_id").contains(&before.as_str().unwrap().to_owned()));
        }
        let (_, answer) = b.send("DELETE", CART, &[("if-match", "*")], None).await;
        wait_for("deleted", async || b.send("GET", CART, &[], None).await.0 == 404).await;
        assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_pulled_while_the_sandbox_is_made() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.fake.faults(|f| f.meeting = Some(std::sync::Arc::new(tokio::sync::Barrier::new(2))));
    b.deployed(&app(IMAGE_A, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_no_row_names_is_removed_and_the_others_stay() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let mine = b.fake.sandboxes();
    b.fake.faults(|f| f.stuck = vec!["x3", "x4"]);
    for (id, application) in [("x1", "cart"), ("x2", "gone"), ("x3", "cart"), ("x4", "gone")] {
        let orphan = sampan_engine::runtime::ObservedSandbox {
            id: id.into(),
            instance: format!("{application}-0000-{id}"),
            application: application.into(),
            ..mine[0].clone()
        };
        b.fake.put_sandbox(orphan);
    }
    let tries = |id: &str| b.fake.calls().iter().filter(|c| **c == format!("remove sandbox {id}")).count();
    wait_for("a second try", async || tries("x3") >= 2 && tries("x4") >= 2).await;
    assert_eq!((tries("x1"), tries("x2")), (1, 1));
    // The pauses begin at half a second and double: a loop without them would have tried far more often by now.
    assert!(tries("x3") < 10 && tries("x4") < 10, "{} {}", tries("x3"), tries("x4"));
    b.fake.faults(|f| f.stuck.clear());
    wait_for("the end of the orphans", async || b.fake.sandboxes().len() == 1).await;
    assert_eq!(b.fake.sandboxes(), mine);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_has_gone_from_the_node_is_pulled_again() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    b.fake.faults(|f| f.images_gone = true);
    let (_, answer) = b.update(CART, &app(IMAGE_A, 2)).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    assert_eq!(b.fake.calls().iter().filter(|c| c.starts_with("pull ")).count(), 2);
}
