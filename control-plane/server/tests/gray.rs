//! Gray policies and the way back to an earlier revision, through the real API, store and reconciler.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod support;

use sampan_engine::runtime::RuntimeError;
use serde_json::{Value, json};
use support::{Bench, Fake, IMAGE_A, IMAGE_B, app, bench};

const CART: &str = "/v1/namespaces/shop/applications/cart";
const CAREFUL: &str = "/v1/namespaces/shop/gray-policies/careful";

fn policy(more: Value) -> Value {
    let mut policy = json!({ "steps": [{ "weight_percent": 5, "pause": { "manual": true } }] });
    for (name, value) in more.as_object().unwrap() {
        policy[name] = value.clone();
    }
    policy
}

fn gray(image: &str, replicas: u64) -> Value {
    let mut body = app(image, replicas);
    body["gray_policy"] = "careful".into();
    body
}

/// Status, code, and the field and rule of the first error.
fn refusal((status, p): &(u16, Value)) -> (u16, &str, &str, &str) {
    let text = |at: &str| p.pointer(at).and_then(Value::as_str).unwrap_or_default();
    (*status, text("/code"), text("/errors/0/field_path"), text("/errors/0/rule"))
}

async fn dry_run(b: &Bench, path: &str, body: &Value) -> (u16, Value) {
    b.send("POST", &format!("{path}/dry-run"), &[], Some(body)).await
}

async fn current_image(b: &Bench) -> Value {
    b.get(CART).await["container"]["image"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_held_by_the_applications_that_name_it() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let absent = (422, "REFERENCE_NOT_FOUND", "gray_policy", "SMP041");
    assert_eq!(refusal(&b.create(CART, &gray(IMAGE_A, 2)).await), absent);
    let (status, told) = dry_run(&b, CART, &gray(IMAGE_A, 2)).await;
    // The same apply may make it, so a plan is not refused.
    assert_eq!(status, 200, "{told}");
    let unresolved = &told["unresolved"][0];
    assert_eq!((&unresolved["field_path"], &unresolved["rule"]), (&json!("gray_policy"), &json!("SMP041")), "{told}");

    assert_eq!(b.create(CAREFUL, &policy(json!({}))).await.0, 201);
    assert_eq!(b.get(CAREFUL).await["status"], json!({ "used_by": [] }));
    b.deployed(&gray(IMAGE_A, 2)).await;
    assert_eq!(b.get(CAREFUL).await["status"], json!({ "used_by": ["cart"] }));
    let delete = async |path: &str| b.send("DELETE", path, &[("if-match", "*")], None).await;
    let (status, p) = delete(CAREFUL).await;
    assert_eq!((status, p["code"].as_str(), &p["by"]), (409, Some("IN_USE"), &json!(["application shop/cart"])));

    let (status, answer) = b.update(CART, &app(IMAGE_A, 2)).await;
    assert_eq!((status, answer.get("operation")), (200, None), "to follow another policy restarts nothing");
    assert_eq!(delete(CAREFUL).await.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_is_not_divided() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    assert_eq!(b.create(CAREFUL, &policy(json!({}))).await.0, 201);
    let one = (400, "VALIDATION", "gray_policy", "SMP065");
    // The same apply may change the policy first, so it is told and not refused.
    let (status, planned) = dry_run(&b, CART, &gray(IMAGE_A, 1)).await;
    let told = &planned["unresolved"][0];
    assert_eq!(
        (status, &told["field_path"], &told["rule"]),
        (200, &json!("gray_policy"), &json!("SMP065")),
        "{planned}"
    );
    assert!(told["message"].as_str().unwrap().contains("capacity = extra or more replicas"));
    assert_eq!(refusal(&b.create(CART, &gray(IMAGE_A, 1)).await), one);
    for replicas in [0, 2] {
        let (status, planned) = dry_run(&b, CART, &gray(IMAGE_A, replicas)).await;
        assert_eq!((status, &planned["unresolved"]), (200, &json!([])), "{replicas}");
    }
    assert_eq!(b.update(CAREFUL, &policy(json!({ "capacity": "extra" }))).await.0, 200);
    assert_eq!(b.create(CART, &gray(IMAGE_A, 1)).await.0, 201);
    let shared = (400, "VALIDATION", "capacity", "SMP065");
    assert_eq!(refusal(&dry_run(&b, CAREFUL, &policy(json!({}))).await), shared);
    let refused = b.update(CAREFUL, &policy(json!({}))).await;
    assert_eq!(refusal(&refused), shared);
    assert!(refused.1["detail"].as_str().unwrap().contains("shop/cart"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_only_refuses_what_needs_new_sandboxes() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let only = |image: &str, more: Value| {
        let mut body = app(image, 1);
        body["update_strategy"]["type"] = "InPlaceOnly".into();
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    b.deployed(&only(IMAGE_A, json!({}))).await;
    let larger = only(IMAGE_B, json!({ "resources": { "cpu": "200m", "memory": "64Mi" } }));
    for (how, answer) in [("plan", dry_run(&b, CART, &larger).await), ("write", b.update(CART, &larger).await)] {
        assert_eq!(refusal(&answer), (422, "IN_PLACE_NOT_POSSIBLE", "resources.cpu", "SMP066"), "{how}");
        assert_eq!(answer.1["fields"], json!(["resources.cpu"]), "{how}");
    }
    assert_eq!(b.get(CART).await["generation"], 1);
    // What is named is what is in force, and an image alone is changed in place.
    for body in [only(IMAGE_A, json!({ "isolation_class": "runc" })), only(IMAGE_B, json!({}))] {
        assert_eq!(dry_run(&b, CART, &body).await.0, 200, "{body}");
        let (status, answer) = b.update(CART, &body).await;
        assert!([200, 202].contains(&status), "{answer}");
        assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    }
    let mut both = larger;
    both["update_strategy"]["type"] = "InPlaceIfPossible".into();
    let (status, answer) = b.update(CART, &both).await;
    assert_eq!(status, 202, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_rejects_keeps_a_second_release_out() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    assert_eq!(b.create(CAREFUL, &policy(json!({ "on_new_release": "reject" }))).await.0, 201);
    b.deployed(&gray(IMAGE_A, 2)).await;
    b.fake.faults(|f| f.unready_env = Some(("SLOW".into(), "1".into())));
    let mut slow = gray(IMAGE_A, 2);
    slow["container"]["env"] = json!({ "SLOW": "1" });
    slow["update_strategy"]["progress_deadline_seconds"] = 600.into();
    let (status, answer) = b.update(CART, &slow).await;
    assert_eq!(status, 202, "{answer}");
    let id = answer["operation"]["id"].clone();
    let mut other = slow.clone();
    other["container"]["image"] = IMAGE_B.into();
    for (what, (status, p)) in [
        ("write", b.update(CART, &other).await),
        ("restart", b.send("POST", &format!("{CART}/restart"), &[], None).await),
        ("rollback", b.send("POST", &format!("{CART}/rollback"), &[], None).await),
    ] {
        assert_eq!((status, p["code"].as_str(), &p["operation_id"]), (409, Some("OPERATION_RUNNING"), &id), "{what}");
    }
    assert_eq!(b.get(CART).await["generation"], 2, "a refusal stores nothing");
    let (status, same) = b.update(CART, &slow).await;
    assert_eq!((status, &same["operation"]["id"]), (200, &id), "the same again follows what runs");
    slow["description"] = "d".into();
    assert_eq!(b.update(CART, &slow).await.0, 200, "what releases nothing is taken");
    assert_eq!(b.update(CAREFUL, &policy(json!({}))).await.0, 200);
    assert_eq!(b.update(CART, &other).await.0, 202, "the policy supersedes now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_queues_lets_the_newest_release_wait() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    assert_eq!(b.create(CAREFUL, &policy(json!({ "on_new_release": "queue" }))).await.0, 201);
    b.deployed(&gray(IMAGE_A, 2)).await;
    let version = |n: &str| {
        let mut body = gray(IMAGE_A, 2);
        body["container"]["env"] = json!({ "N": n });
        body
    };
    let put = async |body: &Value| {
        let (status, answer) = b.update(CART, body).await;
        assert_eq!(status, 202, "{answer}");
        answer
    };
    let operation = async |id: &Value| b.get(&format!("/v1/operations/{}", id.as_str().unwrap())).await;
    let send = async |verb: &str| b.send("POST", &format!("{CART}/{verb}"), &[], None).await;
    let rollout = async || b.get(&format!("{CART}/rollout")).await;
    let running = async || {
        let newest = b.get(&format!("{CART}/revisions")).await["items"][0]["hash"].clone();
        let on_newest = b.instances().await.iter().filter(|i| i["revision"] == newest).count();
        (newest, on_newest)
    };

    let first = put(&version("1")).await;
    assert_eq!(b.finish(&first).await["reason"], "ManualStep");
    let before = running().await;
    let first = first["operation"]["id"].clone();
    let second = put(&version("2")).await["operation"].clone();
    assert_eq!((&second["phase"], &second["reason"]), (&json!("Pending"), &json!("Queued")), "{second}");
    assert!(second["message"].as_str().unwrap().contains(first.as_str().unwrap()), "{second}");
    let shown = rollout().await;
    assert_eq!((&shown["phase"], &shown["operation"], &shown["queued"]), (&json!("Paused"), &first, &second["id"]));
    // The newest takes its place, with what it says that restarts nothing; its probes are not those of what runs.
    let mut newest = version("3");
    newest["description"] = "d".into();
    newest["gray_policy"] = Value::Null;
    let third = put(&newest).await["operation"].clone();
    let displaced = operation(&second["id"]).await;
    assert_eq!(
        (&displaced["phase"], &displaced["reason"]),
        (&json!("Superseded"), &json!("Superseded")),
        "{displaced}"
    );
    // What it names is not what runs goes by.
    assert_eq!(b.get(CART).await["container"]["env"]["N"], "3");
    assert_eq!(b.send("DELETE", CAREFUL, &[("if-match", "*")], None).await.0, 204);
    assert_eq!(b.create(CAREFUL, &policy(json!({ "on_new_release": "queue" }))).await.0, 201);
    // The same again follows what waits; another number does not wait.
    newest["description"] = "e".into();
    let (status, same) = b.update(CART, &newest).await;
    assert_eq!((status, &same["operation"]["id"]), (200, &third["id"]), "{same}");
    newest["replicas"] = 3.into();
    assert_eq!(b.finish(&put(&newest).await).await["phase"], "Succeeded");
    assert_eq!(b.instances().await.len(), 3);
    assert_eq!((running().await.0, rollout().await["phase"].clone()), (before.0, json!("Paused")));
    assert_eq!(send("restart").await.1["operation_id"], first);

    // A verb ends what is under way; then what waits begins, here without a policy.
    assert_eq!(send("rollout/abort").await.0, 202);
    let done = b.finish(&json!({ "operation": third })).await;
    assert_eq!((&done["phase"], operation(&first).await["phase"].clone()), (&json!("Succeeded"), json!("Aborted")));
    assert_eq!(running().await.1, 3);
    let now = b.get(CART).await;
    assert_eq!((&now["container"]["env"]["N"], &now["description"]), (&json!("3"), &json!("e")));
    assert_eq!(now["status"]["observed_generation"], now["generation"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_ends_what_is_under_way_and_leaves_what_waits() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    assert_eq!(b.create(CAREFUL, &policy(json!({ "on_new_release": "queue" }))).await.0, 201);
    let version = |n: &str| {
        let mut body = gray(IMAGE_A, 2);
        body["container"]["env"] = json!({ "N": n });
        body
    };
    b.deployed(&version("1")).await;
    let (_, first) = b.update(CART, &version("2")).await;
    assert_eq!(b.finish(&first).await["phase"], "Paused");
    let (_, second) = b.update(CART, &version("3")).await;
    let (status, back) = b.send("POST", &format!("{CART}/rollback"), &[], None).await;
    assert_eq!((status, &back["operation"]["kind"]), (202, &json!("rollback")), "{back}");
    assert_eq!(b.finish(&back).await["phase"], "Succeeded");
    assert_eq!(b.finish(&first).await["phase"], "Superseded");
    let begun = b.finish(&second).await;
    assert_eq!((&begun["phase"], &begun["reason"]), (&json!("Paused"), &json!("ManualStep")), "{begun}");
    assert_eq!(b.get(CART).await["container"]["env"]["N"], "3", "what is written is what waited");
    // And a deletion waits for nobody.
    let (_, third) = b.update(CART, &version("4")).await;
    assert_eq!(b.send("DELETE", CART, &[("if-match", "*")], None).await.0, 202);
    let gone = b.finish(&third).await;
    assert_eq!((&gone["phase"], &gone["reason"]), (&json!("Superseded"), &json!("Deleted")), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_a_failure_has_paused_goes_on_by_a_verb_and_not_by_the_same_spec() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    assert_eq!(b.create(CAREFUL, &policy(json!({ "steps": [{ "weight_percent": 50 }] }))).await.0, 201);
    b.deployed(&gray(IMAGE_A, 2)).await;
    b.fake.faults(|f| {
        let gone = RuntimeError::permanent("ImageNotFound", "manifest unknown");
        f.images.insert("bbbb".into(), gone);
    });
    let (_, answer) = b.update(CART, &gray(IMAGE_B, 2)).await;
    let id = answer["operation"]["id"].clone();
    let paused = b.finish(&answer).await;
    assert_eq!((&paused["phase"], &paused["reason"]), (&json!("Paused"), &json!("Failures")), "{paused}");
    assert!(paused["message"].as_str().unwrap().contains("manifest unknown"), "{paused}");
    let pulls = || b.fake.calls().iter().filter(|c| c.starts_with("pull ") && c.contains("bbbb")).count();
    let before = pulls();
    let (status, same) = b.update(CART, &gray(IMAGE_B, 2)).await;
    assert_eq!((status, &same["operation"]["id"]), (200, &id), "the same again follows what stands still");
    assert_eq!(b.get(&format!("/v1/operations/{}", id.as_str().unwrap())).await["phase"], "Paused");
    assert_eq!(pulls(), before, "and tries nothing");

    b.fake.faults(|f| f.images.clear());
    assert_eq!(b.send("POST", &format!("{CART}/rollout/resume"), &[], None).await.0, 202);
    support::wait_for("the end", async || {
        b.get(&format!("/v1/operations/{}", id.as_str().unwrap())).await["phase"] == "Succeeded"
    })
    .await;
    assert!(pulls() > before, "resume pulls again");
    assert_eq!(current_image(&b).await, IMAGE_B);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_returns_to_the_revision_before_or_to_the_one_that_is_named() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let at = format!("{CART}/rollback");
    let back = async |key: &str, body: Value| b.send("POST", &at, &[("idempotency-key", key)], Some(&body)).await;
    assert_eq!(back("k0", json!({})).await.1["code"], "NOT_FOUND");
    b.deployed(&app(IMAGE_A, 2)).await;
    assert_eq!(refusal(&back("k1", json!({})).await), (422, "NO_EARLIER_REVISION", "", ""));
    let mut second = app(IMAGE_B, 3);
    second["description"] = "kept".into();
    let (_, answer) = b.update(CART, &second).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let hashes = async || {
        let items = b.get(&format!("{CART}/revisions")).await["items"].clone();
        let one = |r: &Value| (r["number"].as_u64().unwrap(), r["image"].as_str().unwrap().to_owned());
        items.as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(hashes().await, [(2, IMAGE_B.to_owned()), (1, IMAGE_A.to_owned())]);

    let (status, answer) = back("k2", json!({})).await;
    assert_eq!((status, answer["operation"]["kind"].as_str()), (202, Some("rollback")), "{answer}");
    assert_eq!(back("k2", json!({})).await.1["operation"]["id"], answer["operation"]["id"]);
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    let now = b.get(CART).await;
    assert_eq!((&now["container"]["image"], &now["replicas"]), (&json!(IMAGE_A), &json!(3)), "{now}");
    assert_eq!((&now["description"], &now["generation"]), (&json!("kept"), &json!(3)));
    assert_eq!(hashes().await, [(3, IMAGE_A.to_owned()), (2, IMAGE_B.to_owned())], "what came back is the newest");
    assert!(b.instances().await.iter().all(|i| i["revision"] == now["status"]["current_revision"]));

    let (_, answer) = back("k3", json!({})).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    assert_eq!(current_image(&b).await, IMAGE_B, "twice back is where it began");
    let (_, answer) = back("k4", json!({ "to_revision": 3 })).await;
    assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    assert_eq!(current_image(&b).await, IMAGE_A);
    assert_eq!(refusal(&back("k5", json!({ "to_revision": 99 })).await), (404, "NOT_FOUND", "", ""));
    assert_eq!(refusal(&back("k6", json!({ "revision": 1 })).await), (400, "VALIDATION", "", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_further_back_than_the_window_goes_by_the_steps() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let window =
        json!({ "rollback_window_revisions": 1, "steps": [{ "weight_percent": 50, "pause": { "manual": true } }] });
    assert_eq!(b.create(CAREFUL, &policy(window)).await.0, 201);
    let version = |n: &str| {
        let mut body = app(IMAGE_A, 2);
        body["container"]["env"] = json!({ "N": n });
        body
    };
    b.deployed(&version("1")).await;
    for n in ["2", "3"] {
        let (_, answer) = b.update(CART, &version(n)).await;
        assert_eq!(b.finish(&answer).await["phase"], "Succeeded");
    }
    let mut follows = version("3");
    follows["gray_policy"] = "careful".into();
    assert_eq!(b.update(CART, &follows).await.0, 200);
    let back = async |n: u64| {
        let (status, answer) =
            b.send("POST", &format!("{CART}/rollback"), &[], Some(&json!({ "to_revision": n }))).await;
        assert_eq!(status, 202, "{answer}");
        b.finish(&answer).await
    };
    let far = back(1).await;
    assert_eq!(
        (&far["kind"], &far["phase"], &far["reason"]),
        (&json!("deploy"), &json!("Paused"), &json!("ManualStep"))
    );
    assert_eq!(b.send("POST", &format!("{CART}/rollout/promote"), &[], Some(&json!({ "full": true }))).await.0, 202);
    support::wait_for("the end", async || b.get(&format!("{CART}/rollout")).await["phase"] == "Succeeded").await;
    assert_eq!(b.get(CART).await["container"]["env"]["N"], "1");
    let near = back(3).await;
    assert_eq!((&near["kind"], &near["phase"]), (&json!("rollback"), &json!("Succeeded")), "one step");
    assert_eq!(b.get(CART).await["container"]["env"]["N"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_from_a_secret_that_stays_and_without_it_the_release_pauses() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let gate = json!({ "gate": {
        "type": "webhook", "url": "http://127.0.0.1:9/", "interval_seconds": 1, "failure_limit": 1, "auth_secret": "gate",
    } });
    let judged = policy(json!({ "on_failure": "rollback", "steps": [{ "weight_percent": 50 }], "analysis": gate }));
    let absent = (422, "REFERENCE_NOT_FOUND", "analysis[\"gate\"].auth_secret", "SMP041");
    assert_eq!(refusal(&b.create(CAREFUL, &judged).await), absent);
    let secret = "/v1/namespaces/shop/secrets/gate";
    assert_eq!(b.create(secret, &json!({ "data_wo": { "other": "hush" }, "wo_version": 1 })).await.0, 201);
    assert_eq!(b.create(CAREFUL, &judged).await.0, 201);
    let (status, p) = b.send("DELETE", secret, &[("if-match", "*")], None).await;
    assert_eq!((status, &p["by"]), (409, &json!(["gray_policy shop/careful"])), "{p}");

    b.deployed(&gray(IMAGE_A, 2)).await;
    let (_, answer) = b.update(CART, &gray(IMAGE_B, 2)).await;
    let paused = b.finish(&answer).await;
    assert_eq!((&paused["phase"], &paused["reason"]), (&json!("Paused"), &json!("MetricsMissing")), "{paused}");
    assert_eq!(paused["message"], "gate: secret \"gate\" has no key \"token\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_need_a_release_that_is_under_way() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let send =
        async |verb: &str, body: Value| b.send("POST", &format!("{CART}/rollout/{verb}"), &[], Some(&body)).await;
    assert_eq!(send("promote", json!({})).await.0, 404);
    b.deployed(&app(IMAGE_A, 2)).await;
    let last = b.get(CART).await["status"]["last_operation"]["id"].clone();
    for verb in ["promote", "pause", "resume", "abort"] {
        let (status, p) = send(verb, json!({})).await;
        assert_eq!((status, p["code"].as_str(), &p["operation_id"]), (409, Some("NO_RELEASE"), &last), "{verb}");
    }
    assert_eq!(send("promote", json!({ "fully": true })).await.1["code"], "VALIDATION");
    b.fake.faults(|f| f.unready_env = Some(("SLOW".into(), "1".into())));
    let mut slow = app(IMAGE_A, 2);
    slow["container"]["env"] = json!({ "SLOW": "1" });
    slow["update_strategy"]["progress_deadline_seconds"] = 600.into();
    let (_, answer) = b.update(CART, &slow).await;
    let id = &answer["operation"]["id"];
    let (status, p) = send("promote", json!({ "full": true })).await;
    assert_eq!(status, 409, "{p}");
    assert_eq!(p["operation_id"], *id, "{p}");
    assert_eq!(send("abort", json!({})).await.0, 202);
}
