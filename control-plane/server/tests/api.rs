//! The HTTP contract: permissions, preconditions, idempotency, errors.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod support;

use std::os::unix::fs::PermissionsExt;

use sampan_schema::api::API;
use serde_json::json;
use support::{Bench, Fake, IMAGE_A, app, bench, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_refuses_whom_it_must() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    for e in API {
        let path = e.url("shop", "nothing-here");
        for (who, token, expect) in [
            ("nobody", None, 401),
            ("a stranger", Some("sampan_wrong".to_owned()), 401),
            (
                "a reader",
                Some(b.read_only.clone()),
                if e.verb == sampan_schema::permission::Verb::Read { 0 } else { 403 },
            ),
            ("an admin", Some(b.admin.clone()), 0),
        ] {
            let mut r = b.http.request(e.method.parse().unwrap(), format!("{}{path}", b.url));
            if let Some(t) = token {
                r = r.bearer_auth(t);
            }
            let answer = r.body("{}").send().await.unwrap();
            let status = answer.status().as_u16();
            if expect == 0 {
                assert!(![401, 403, 405, 500, 501].contains(&status), "{who} at {}: {status}", e.name);
            } else {
                assert_eq!(status, expect, "{who} at {}", e.name);
                assert_eq!(answer.headers()["content-type"], "application/problem+json");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_stored_as_hashes_only() {
    let b = bench(Fake::new()).await;
    for entry in std::fs::read_dir(b.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "token") || path.is_dir() {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let holds = |t: &str| bytes.windows(t.len()).any(|w| w == t.as_bytes());
        assert!(!holds(&b.admin) && !holds(&b.read_only), "{} holds a token", path.display());
    }
}

/// Status and body of a request with a token.
async fn with(b: &Bench, token: &str, method: &str, path: &str, body: serde_json::Value) -> (u16, serde_json::Value) {
    let r = b.http.request(method.parse().unwrap(), format!("{}{path}", b.url)).bearer_auth(token).json(&body);
    let answer = r.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_renewed_and_revoked_with_all_that_it_made() {
    let b = bench(Fake::new()).await;
    let ask = |role: &str, ttl: u64| json!({ "name": "ci", "role": role, "ttl_seconds": ttl });
    let (status, made) = with(&b, &b.admin, "POST", "/v1/tokens", ask("admin", 600)).await;
    assert_eq!(status, 201, "{made}");
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap().to_owned());
    assert_eq!((made["role"].as_str(), made["name"].as_str()), (Some("admin"), Some("ci")));
    // It may what its role may, and no more.
    let (status, reader) = with(&b, &token, "POST", "/v1/tokens", ask("read_only", 60)).await;
    assert_eq!((status, reader["made_by"].as_str()), (201, Some(id)), "{reader}");
    let reader_token = reader["token"].as_str().unwrap().to_owned();
    assert_eq!(with(&b, &reader_token, "GET", "/v1/server", json!({})).await.0, 200);
    assert_eq!(with(&b, &reader_token, "POST", "/v1/tokens", ask("read_only", 60)).await.0, 403);
    // None outlives the one that makes it, also not by a renewal.
    let (status, refused) = with(&b, &token, "POST", "/v1/tokens", ask("read_only", 3600)).await;
    assert_eq!((status, refused["code"].as_str()), (403, Some("FORBIDDEN")), "{refused}");
    let renew = format!("/v1/tokens/{id}/renew");
    assert_eq!(with(&b, &token, "POST", &renew, json!({ "ttl_seconds": 3600 })).await.0, 403);
    let (status, renewed) = with(&b, &b.admin, "POST", &renew, json!({ "ttl_seconds": 3600 })).await;
    assert_eq!(status, 200, "{renewed}");
    assert!(renewed["expire_time"].as_str() > made["expire_time"].as_str(), "{made} {renewed}");
    assert!(renewed.get("token").is_none());
    // Nothing that lists it shows it, and no file holds it.
    let (_, list) = with(&b, &b.admin, "GET", "/v1/tokens", json!({})).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 4, "{list}");
    for entry in std::fs::read_dir(b.dir.path()).unwrap().flatten().filter(|e| e.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        let holds = |t: &str| bytes.windows(t.len()).any(|w| w == t.as_bytes());
        assert!(!holds(&token) && !holds(&reader_token), "{} holds a token", entry.path().display());
    }
    let path = format!("/v1/tokens/{id}");
    for _ in 0..2 {
        assert_eq!(with(&b, &b.admin, "DELETE", &path, json!({})).await.0, 200, "also when it is revoked already");
    }
    for token in [&token, &reader_token] {
        assert_eq!(with(&b, token, "GET", "/v1/server", json!({})).await.0, 401);
    }
    assert_eq!(with(&b, &b.admin, "POST", &renew, json!({ "ttl_seconds": 60 })).await.0, 404, "what is over stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_request_that_does_not_fit_is_refused() {
    let b = bench(Fake::new()).await;
    for (body, word) in [
        (json!({}), "name"),
        (json!({ "name": "ci", "role": "root", "ttl_seconds": 60 }), "role"),
        (json!({ "name": "ci", "role": "admin", "ttl_seconds": 5 }), "ttl_seconds"),
        (json!({ "name": "ci", "role": "admin", "ttl_seconds": 86_401 }), "ttl_seconds"),
        (json!({ "name": "ci", "role": "admin", "ttl_seconds": 60, "scope": "all" }), "scope"),
    ] {
        let (status, problem) = with(&b, &b.admin, "POST", "/v1/tokens", body).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("VALIDATION")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{word}: {problem}");
    }
    let (_, list) = with(&b, &b.admin, "GET", "/v1/tokens", json!({})).await;
    let own = list["items"].as_array().unwrap();
    assert_eq!(own.len(), 2, "{list}");
    for token in own {
        assert_eq!(token["expire_time"], "", "{token}");
        let path = format!("/v1/tokens/{}", token["id"].as_str().unwrap());
        let (status, problem) = with(&b, &b.admin, "DELETE", &path, json!({})).await;
        assert_eq!((status, problem["code"].as_str()), (409, Some("TOKEN_OF_A_FILE")), "{problem}");
        let (status, problem) =
            with(&b, &b.admin, "POST", &format!("{path}/renew"), json!({ "ttl_seconds": 60 })).await;
        assert_eq!((status, problem["code"].as_str()), (409, Some("NO_END")), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_file_is_deleted_is_revoked_by_the_next_start() {
    let mut b = bench(Fake::new()).await;
    let status = async |b: &Bench, token: &str| {
        b.http.get(format!("{}/v1/server", b.url)).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let (file, reader) = (b.dir.path().join("admin.token"), b.dir.path().join("read-only.token"));
    b.restart().await;
    assert_eq!(status(&b, &b.admin).await, 200, "a start by itself changes no token");
    std::fs::remove_file(&file).unwrap();
    // What is in the file is no token, and everybody may read it.
    std::fs::write(&reader, "nonsense").unwrap();
    std::fs::set_permissions(&reader, std::fs::Permissions::from_mode(0o644)).unwrap();
    b.restart().await;
    for (file, old) in [(file, &b.admin), (reader, &b.read_only)] {
        let new = std::fs::read_to_string(&file).unwrap();
        assert_eq!((status(&b, old).await, status(&b, new.trim()).await), (401, 200), "{}", file.display());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preconditions_prevent_lost_updates() {
    let b = bench(Fake::new()).await;
    let path = "/v1/namespaces/shop";
    assert_eq!(b.send("PUT", path, &[], Some(&json!({}))).await.0, 428);
    assert_eq!(b.create(path, &json!({})).await.0, 201);
    let (status, again) = b.create(path, &json!({})).await;
    assert_eq!((status, again["code"].as_str()), (409, Some("ALREADY_EXISTS")));
    assert_eq!(b.send("PUT", path, &[], Some(&json!({}))).await.0, 428);
    let (status, stale) = b.send("PUT", path, &[("if-match", "\"7\"")], Some(&json!({}))).await;
    assert_eq!(
        (status, stale["code"].as_str(), stale["current"].as_i64()),
        (412, Some("GENERATION_MISMATCH"), Some(1))
    );
    let (status, same) = b.update(path, &json!({})).await;
    assert_eq!((status, same["generation"].as_i64()), (200, Some(1)), "the same spec is no new generation");
    let (_, changed) = b.update(path, &json!({ "description": "d" })).await;
    assert_eq!(changed["generation"], 2);
    assert_eq!(b.send("DELETE", path, &[], None).await.0, 428);
    assert_eq!(b.send("DELETE", path, &[("if-match", "\"1\"")], None).await.0, 412);
    assert_eq!(b.send("DELETE", path, &[("if-match", "\"2\"")], None).await.0, 204);
    let (status, gone) = b.send("GET", path, &[], None).await;
    assert_eq!((status, gone["code"].as_str()), (404, Some("NOT_FOUND")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_creates_once() {
    let b = bench(Fake::new()).await;
    let headers = [("if-none-match", "*"), ("idempotency-key", "k1")];
    let (first, a) = b.send("PUT", "/v1/namespaces/shop", &headers, Some(&json!({}))).await;
    let (second, again) = b.send("PUT", "/v1/namespaces/shop", &headers, Some(&json!({}))).await;
    assert_eq!((first, second, &a["uid"]), (201, 201, &again["uid"]));
    let (status, other) = b.send("PUT", "/v1/namespaces/shop", &headers, Some(&json!({ "description": "x" }))).await;
    assert_eq!((status, other["code"].as_str()), (422, Some("IDEMPOTENCY_KEY_REUSED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_a_position_that_is_forgotten_is_gone_and_says_from_where_it_can_be() {
    let mut b = bench(Fake::new()).await;
    b.server.take().unwrap().stop().await.unwrap();
    let store = sampan_store::Store::open(b.dir.path().join("sampan.db")).unwrap();
    let object = |name: &str| sampan_store::NewObject {
        kind: "namespace".into(),
        namespace: String::new(),
        name: name.into(),
        uid: name.into(),
        spec: json!({ "name": name }),
        private: json!(null),
        status: json!({ "phase": "Active" }),
    };
    // Changes of long ago: a server forgets them shortly after its start, all but the newest.
    store
        .write(|tx| {
            tx.insert_object(object("old"), 1)?;
            tx.insert_object(object("older"), 1).map(|_| ())
        })
        .unwrap();
    drop(store);
    b.restart().await;
    let watch = async |since: i64| {
        let at = format!("{}/v1/watch?since={since}", b.url);
        b.http.get(at).bearer_auth(&b.admin).send().await.unwrap()
    };
    wait_for("the first round of forgetting", async || watch(0).await.status() == 410).await;
    let problem: serde_json::Value = watch(0).await.json().await.unwrap();
    assert_eq!((problem["code"].as_str(), problem["oldest"].as_i64()), (Some("COMPACTED"), Some(2)), "{problem}");
    assert_eq!(watch(1).await.status(), 200);
    assert_eq!(watch(3).await.status(), 410, "a position of another history");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_restarts_once() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let at = "/v1/namespaces/shop/applications/cart/restart";
    let send = async |key: &str| b.send("POST", at, &[("idempotency-key", key)], Some(&json!({}))).await;
    let (first, a) = send("k1").await;
    // While it runs and when it is done: a try whose answer was lost neither fails nor restarts again.
    let (second, again) = send("k1").await;
    assert_eq!((first, second, &a["operation"]["id"]), (202, 202, &again["operation"]["id"]));
    assert_eq!(b.finish(&a).await["phase"], "Succeeded");
    assert_eq!(send("k1").await.1["operation"]["id"], a["operation"]["id"]);
    let (status, other) = send("k2").await;
    assert_eq!(status, 202, "{other}");
    assert_ne!(other["operation"]["id"], a["operation"]["id"]);
    let name = "/v1/namespaces/shop/applications/other/restart";
    let (status, reused) = b.send("POST", name, &[("idempotency-key", "k1")], Some(&json!({}))).await;
    assert_eq!((status, reused["code"].as_str()), (422, Some("IDEMPOTENCY_KEY_REUSED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_specs_are_refused_with_their_paths() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let path = "/v1/namespaces/shop/applications/cart";
    for (change, field) in [
        (json!({ "replicas": -1 }), "replicas"),
        (json!({ "resources": { "cpu": "abc", "memory": "64Mi" } }), "resources.cpu"),
        (json!({ "container": { "image": "hello" } }), "container.image"),
        (json!({ "colour": "red" }), "colour"),
        (json!({ "container": { "image": IMAGE_A, "probes": { "readiness": {} } } }), "container.probes.readiness"),
        (json!({ "update_strategy": { "max_unavailable": "0" } }), "update_strategy.max_unavailable"),
    ] {
        let mut body = app(IMAGE_A, 1);
        for (k, v) in change.as_object().unwrap() {
            body[k] = v.clone();
        }
        let (status, p) = b.create(path, &body).await;
        assert_eq!((status, p["code"].as_str()), (400, Some("VALIDATION")), "{p}");
        assert_eq!(p["errors"][0]["field_path"], field, "{p}");
    }
    let (status, p) = b.create("/v1/namespaces/shop/applications/Cart", &app(IMAGE_A, 1)).await;
    assert_eq!((status, p["errors"][0]["field_path"].as_str()), (400, Some("name")));
    let (status, p) = b.create("/v1/namespaces/none/applications/cart", &app(IMAGE_A, 1)).await;
    assert_eq!((status, p["code"].as_str()), (422, Some("REFERENCE_NOT_FOUND")));
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_held_and_hosts_are_taken_once() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let route = |app: &str, port: &str| json!({ "hostnames": ["shop.example"], "rules": [{ "name": "all", "backends": [{ "application": app, "port": port }] }] });
    let at = "/v1/namespaces/shop/routes/web";
    assert_eq!(
        b.create(at, &route("none", "http")).await.1["errors"][0]["field_path"],
        "rules[0].backends[0].application"
    );
    assert_eq!(b.create(at, &route("cart", "grpc")).await.1["errors"][0]["field_path"], "rules[0].backends[0].port");
    assert_eq!(b.create(at, &route("cart", "http")).await.0, 201);
    let (status, p) = b.create("/v1/namespaces/shop/routes/other", &route("cart", "http")).await;
    assert_eq!((status, p["code"].as_str()), (409, Some("HOSTNAME_TAKEN")));
    let delete = async |path: &str| b.send("DELETE", path, &[("if-match", "*")], None).await;
    assert_eq!(delete("/v1/namespaces/shop/applications/cart").await.1["code"], "IN_USE");
    assert_eq!(delete("/v1/namespaces/shop").await.1["code"], "NOT_EMPTY");
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_values_never_come_back() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    let at = "/v1/namespaces/shop/secrets/db";
    let canary = "canary-7f3a";
    let (status, made) = b.create(at, &json!({ "wo_version": 1, "data_wo": { "password": canary } })).await;
    assert_eq!(status, 201);
    let (_, kept) = b.update(at, &json!({ "wo_version": 1, "description": "d" })).await;
    let mut body = app(IMAGE_A, 1);
    body["container"]["env_refs"] = json!({ "PASSWORD": { "secret": { "name": "db", "key": "password" } } });
    b.deployed(&body).await;
    for text in [
        made.to_string(),
        kept.to_string(),
        b.get(at).await.to_string(),
        b.get("/v1/namespaces/shop/secrets").await.to_string(),
        b.get("/v1/namespaces/shop/applications/cart").await.to_string(),
        b.get("/v1/namespaces/shop/applications/cart/instances").await.to_string(),
        b.get("/v1/events").await.to_string(),
    ] {
        assert!(!text.contains(canary), "{text}");
    }
    assert_eq!(b.get(at).await["status"]["keys"], json!(["password"]));
    let container = b.fake.sandboxes()[0].containers[0].id.clone();
    assert!(b.fake.env_of(&container).contains(&("PASSWORD".into(), canary.into())), "the container has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let b = bench(Fake::new()).await;
    b.namespace("shop").await;
    b.deployed(&app(IMAGE_A, 1)).await;
    let at = "/v1/namespaces/shop/applications/cart/dry-run";
    let mut body = app(IMAGE_A, 1);
    body["resources"]["cpu"] = "200m".into();
    body["isolation_class"] = "kata".into();
    let calls = b.fake.calls().len();
    let (status, answer) = b.send("POST", at, &[], Some(&body)).await;
    assert_eq!((status, answer["change_class"].as_str()), (200, Some("recreate")), "{answer}");
    assert_eq!(answer["isolation"]["available"], false);
    assert!(answer["warnings"][0].as_str().unwrap().contains("kata is not available"));
    assert_eq!(b.get("/v1/namespaces/shop/applications/cart").await["generation"], 1);
    assert_eq!(b.fake.calls().len(), calls);
}
