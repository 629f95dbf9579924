//! The client against a server made for the test.

#![allow(clippy::unwrap_used)]

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use sampan_client::{Client, Config, Delete, Error, Precondition, ReleaseVerb, Secret, Token};
use sampan_schema::{APPLICATION, NAMESPACE};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers in order, and what was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, &'static str, String)>>>,
    asked: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
}

impl Script {
    fn then(self, status: u16, body: Value) -> Self {
        self.answers.lock().unwrap().push_back((status, "", body.to_string()));
        self
    }

    fn raw(self, status: u16, header: &'static str, body: &str) -> Self {
        self.answers.lock().unwrap().push_back((status, header, body.to_owned()));
        self
    }

    async fn serve(&self) -> String {
        async fn answer(State(s): State<Script>, m: Method, uri: Uri, headers: HeaderMap, body: String) -> Response {
            s.asked.lock().unwrap().push((format!("{m} {uri}"), headers, body));
            let (status, header, body) = s.answers.lock().unwrap().pop_front().unwrap_or((500, "", String::new()));
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            if let Some((name, value)) = header.split_once(": ") {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/")
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|a| a.0.clone()).collect()
    }

    fn header(&self, at: usize, name: &str) -> String {
        let asked = self.asked.lock().unwrap();
        asked[at].1.get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}

fn server() -> Value {
    json!({ "name": "sampan", "version": "0.1.0", "api_version": "v1" })
}

async fn client(script: &Script) -> Client {
    Client::new(Config::new(script.serve().await, Token::Text("t0ken".to_owned()))).unwrap()
}

fn problem(status: u16, code: &str) -> Value {
    json!({ "type": "about:blank", "status": status, "code": code, "title": "title", "detail": "detail" })
}

#[tokio::test]
async fn the_version_is_asked_once_and_objects_are_read_with_the_token() {
    let script =
        Script::default().then(200, server()).then(200, json!({ "id": "shop", "generation": 3 })).then(200, json!({}));
    let client = client(&script).await;
    let object = client.get(&NAMESPACE, "", "shop").await.unwrap();
    assert_eq!((object.id(), object.generation()), ("shop", 3));
    client.get(&NAMESPACE, "", "shop").await.unwrap();
    assert_eq!(script.asked(), ["GET /v1/server", "GET /v1/namespaces/shop", "GET /v1/namespaces/shop"]);
    assert_eq!(script.header(1, "authorization"), "Bearer t0ken");
}

#[tokio::test]
async fn another_version_of_the_api_is_an_error_that_names_both() {
    let script = Script::default().then(200, json!({ "version": "9.0.0", "api_version": "v7" }));
    let error = client(&script).await.get(&NAMESPACE, "", "shop").await.unwrap_err();
    assert!(error.to_string().contains("v7") && error.to_string().contains("v1"), "{error}");
    let script = Script::default().raw(404, "", "<html>nothing here</html>");
    let error = client(&script).await.get(&NAMESPACE, "", "shop").await.unwrap_err();
    assert!(matches!(error, Error::Version { .. }) && !error.is_not_found(), "{error}");
}

#[tokio::test]
async fn only_not_found_of_the_api_means_that_an_object_is_gone() {
    let script = Script::default().then(200, server()).then(404, problem(404, "NOT_FOUND")).raw(404, "", "nginx");
    let client = client(&script).await;
    assert!(client.get(&NAMESPACE, "", "shop").await.unwrap_err().is_not_found());
    assert!(!client.get(&NAMESPACE, "", "shop").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn passing_failures_are_tried_again_and_no_more_than_four_times() {
    let mut script = Script::default().then(200, server());
    for status in [503, 429, 502, 504] {
        script = script.raw(status, "retry-after: 0", "busy");
    }
    let script = script.then(201, json!({ "id": "shop", "operation": null }));
    let client = client(&script).await;
    let absent = Precondition::Absent { key: sampan_client::idempotency_key() };
    let written = client.put(&NAMESPACE, ("", "shop"), &json!({}), &absent, None).await.unwrap();
    assert_eq!(written.operation, None);
    let key = script.header(1, "idempotency-key");
    assert!(key.len() == 32 && (2..=5).all(|i| script.header(i, "idempotency-key") == key));

    let mut script = Script::default().then(200, server());
    for _ in 0..9 {
        script = script.raw(503, "retry-after: 0", "busy");
    }
    let client = self::client(&script).await;
    assert!(matches!(client.get(&NAMESPACE, "", "a").await, Err(Error::Foreign { status: 503, .. })));
    assert_eq!(script.asked().len(), 6);
}

#[tokio::test]
async fn writes_carry_their_precondition_and_return_the_operation() {
    let operation = json!({ "id": "op1", "phase": "Running", "progress": { "total": 3 } });
    let script = Script::default()
        .then(200, server())
        .then(202, json!({ "id": "shop/cart", "generation": 2, "operation": operation }))
        .then(202, json!({ "operation": operation }))
        .raw(204, "", "");
    let client = client(&script).await;
    let at = Precondition::Generation(1);
    let written = client.put(&APPLICATION, ("shop", "cart"), &json!({}), &at, Some("scale")).await.unwrap();
    assert_eq!(written.operation.unwrap().progress.total, 3);
    assert!(written.object.0.get("operation").is_none());
    assert_eq!(script.header(1, "if-match"), "\"1\"");
    assert_eq!(script.header(1, "sampan-expected-change-class"), "scale");
    assert!(
        matches!(client.delete(&APPLICATION, ("shop", "cart"), Some(2)).await.unwrap(), Delete::Started(o) if o.id == "op1")
    );
    assert_eq!(client.delete(&APPLICATION, ("shop", "cart"), None).await.unwrap(), Delete::Gone);
    assert_eq!(script.header(3, "if-match"), "*");
}

#[tokio::test]
async fn a_dry_run_is_tried_once_and_a_restart_has_one_key_for_all_tries() {
    let operation = json!({ "operation": { "id": "op1", "phase": "Running" } });
    let script = Script::default()
        .then(200, server())
        .raw(503, "retry-after: 0", "busy")
        .raw(503, "retry-after: 0", "busy")
        .then(202, operation);
    let client = client(&script).await;
    let at = ("shop", "cart");
    assert!(matches!(client.dry_run(&APPLICATION, at, &json!({})).await, Err(Error::Foreign { status: 503, .. })));
    assert_eq!(script.asked().len(), 2);
    assert_eq!(client.restart("shop", "cart").await.unwrap().id, "op1");
    let key = script.header(2, "idempotency-key");
    assert!(key.len() == 32 && script.header(3, "idempotency-key") == key, "{key:?}");
}

#[tokio::test]
async fn a_verb_on_a_release_has_one_key_for_all_tries_and_says_whether_it_was_so_already() {
    let rollout = |phase: &str| json!({ "phase": phase, "step": 1, "weight_percent": 5.5 });
    let script = Script::default()
        .then(200, server())
        .raw(503, "retry-after: 0", "busy")
        .then(202, rollout("Paused"))
        .then(200, rollout("Paused"))
        .then(409, problem(409, "NO_RELEASE"))
        .then(200, rollout("Updating"))
        .then(202, json!({ "operation": { "id": "op2", "kind": "rollback", "phase": "Pending" } }))
        .then(202, json!({ "operation": { "id": "op3", "kind": "rollback", "phase": "Pending" } }));
    let client = client(&script).await;
    let promote = |full, step| ReleaseVerb::Promote { full, step };
    let taken = client.tell("shop", "cart", promote(false, None)).await.unwrap();
    assert_eq!((taken.rollout.phase.as_str(), taken.rollout.weight_percent, taken.already), ("Paused", 5.5, false));
    let key = script.header(1, "idempotency-key");
    assert!(key.len() == 32 && script.header(2, "idempotency-key") == key, "{key:?}");
    assert!(client.tell("shop", "cart", promote(true, Some(2))).await.unwrap().already);
    assert_ne!(script.header(3, "idempotency-key"), key);
    assert_eq!(client.tell("shop", "cart", ReleaseVerb::Abort).await.unwrap_err().code(), "NO_RELEASE");
    assert_eq!(client.rollout("shop", "cart").await.unwrap().phase, "Updating");
    assert_eq!(client.rollback("shop", "cart", None).await.unwrap().id, "op2");
    assert_eq!(client.rollback("shop", "cart", Some(3)).await.unwrap().kind, "rollback");
    let at = "/v1/namespaces/shop/applications/cart";
    let sent: Vec<String> = script.asked.lock().unwrap()[2..].iter().map(|a| format!("{} {}", a.0, a.2)).collect();
    assert_eq!(
        sent,
        [
            format!(r#"POST {at}/rollout/promote {{"full":false}}"#),
            format!(r#"POST {at}/rollout/promote {{"full":true,"step":2}}"#),
            format!("POST {at}/rollout/abort {{}}"),
            format!("GET {at}/rollout "),
            format!("POST {at}/rollback {{}}"),
            format!(r#"POST {at}/rollback {{"to_revision":3}}"#),
        ]
    );
}

#[tokio::test]
async fn a_list_follows_pages_but_not_without_end() {
    let page = |token: Value| json!({ "items": [{ "id": "a" }], "next_page_token": token });
    let script = Script::default().then(200, server()).then(200, page("/a".into())).then(200, page(Value::Null));
    assert_eq!(client(&script).await.list(&NAMESPACE, "").await.unwrap().len(), 2);
    assert_eq!(script.asked()[2], "GET /v1/namespaces?limit=500&page_token=/a");
    let mut script = Script::default().then(200, server());
    for _ in 0..1000 {
        script = script.then(200, page("/a".into()));
    }
    let error = client(&script).await.list(&NAMESPACE, "").await.unwrap_err();
    assert!(error.to_string().contains("more than 200 pages"), "{error}");
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_is_refused() {
    let dir = std::env::temp_dir().join(format!("sampan-client-{}", sampan_client::idempotency_key()));
    std::fs::write(&dir, "old\n").unwrap();
    let script = Script::default().then(200, server()).then(401, problem(401, "UNAUTHENTICATED")).then(200, json!({}));
    let client = Client::new(Config::new(script.serve().await, Token::File(dir.clone()))).unwrap();
    client.server().await.unwrap();
    std::fs::write(&dir, "new\n").unwrap();
    client.get(&NAMESPACE, "", "shop").await.unwrap();
    assert_eq!(script.header(1, "authorization"), "Bearer old");
    assert_eq!(script.header(2, "authorization"), "Bearer new");
    std::fs::remove_file(&dir).unwrap();
}

#[tokio::test]
async fn names_cannot_leave_their_place_in_the_path() {
    let script = Script::default().then(200, server());
    let client = client(&script).await;
    for name in ["", "..", "a/b", "a?b", "A", "ä"] {
        assert!(matches!(client.get(&APPLICATION, "shop", name).await, Err(Error::Settings(_))), "{name}");
        assert!(matches!(client.get(&APPLICATION, name, "cart").await, Err(Error::Settings(_))), "{name}");
    }
    assert!(matches!(client.operation("../x", Duration::ZERO).await, Err(Error::Settings(_))));
}

#[tokio::test]
async fn an_endpoint_that_would_show_the_token_is_refused_and_no_server_is_a_clear_error() {
    for wrong in ["http://example.com", "ftp://localhost", "nonsense", "https://u:p@example.com", "https://h/?a=b"] {
        assert!(matches!(Client::new(Config::new(wrong, Token::None)), Err(Error::Settings(_))), "{wrong}");
    }
    for right in ["http://127.0.0.1:1", "http://localhost:1/x/", "http://[::1]:1", "https://example.com"] {
        Client::new(Config::new(right, Token::None)).unwrap();
    }
    let mut config = Config::new("http://127.0.0.1:1", Token::Text("t0ken".to_owned()));
    config.retries = 1;
    let error = Client::new(config.clone()).unwrap().server().await.unwrap_err();
    assert!(matches!(&error, Error::Connection { .. }) && error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(!format!("{config:?}{error:?}").contains("t0ken"));
}

#[tokio::test]
async fn a_request_id_is_in_the_error_whoever_answers() {
    let mut refused = problem(403, "FORBIDDEN");
    refused["request_id"] = "r-77".into();
    let script = Script::default().then(200, server()).then(403, refused).raw(418, "x-request-id: r-78", "<html>");
    let client = client(&script).await;
    for id in ["[request r-77]", "[request r-78]"] {
        let error = client.get(&NAMESPACE, "", "shop").await.unwrap_err().to_string();
        assert!(error.contains(id), "{id}: {error}");
    }
}

#[tokio::test]
async fn the_number_of_tries_is_a_setting() {
    for (retries, requests) in [(0, 2), (2, 4)] {
        let mut script = Script::default().then(200, server());
        for _ in 0..4 {
            script = script.raw(503, "retry-after: 0", "");
        }
        let mut config = Config::new(script.serve().await, Token::None);
        config.retries = retries;
        let error = Client::new(config).unwrap().get(&NAMESPACE, "", "shop").await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        assert_eq!(script.asked().len(), requests);
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_that_is_set() {
    // Nothing listens at the endpoint: only the proxy can have answered.
    let script = Script::default().then(200, server());
    let mut config = Config::new("http://127.0.0.1:1", Token::Text("t0ken".to_owned()));
    config.proxy = Some(Secret(script.serve().await));
    Client::new(config).unwrap().server().await.unwrap();
    assert_eq!(script.asked(), ["GET http://127.0.0.1:1/v1/server"]);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_and_show_no_password() {
    let refused = |endpoint: &str, proxy: Option<&str>, ca: Option<&str>| {
        let mut config = Config::new(endpoint, Token::None);
        config.proxy = proxy.map(|url| Secret(url.to_owned()));
        config.ca_certificates = ca.map(str::to_owned);
        Client::new(config).unwrap_err().to_string()
    };
    for (endpoint, proxy, word) in [
        ("https://a.example", "no url", "no URL"),
        ("https://a.example", "socks5://u:hunter2@b.example", "http://HOST:PORT"),
        ("http://127.0.0.1:1", "http://u:hunter2@b.example:3128", "in the clear"),
    ] {
        let error = refused(endpoint, Some(proxy), None);
        assert!(error.contains(word) && !error.contains("hunter2"), "{error}");
    }
    for pem in ["", "nonsense"] {
        let error = refused("https://a.example", None, Some(pem));
        assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}

/// A server with a certificate that no system trusts; returns its port.
async fn tls_server(pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let body = server().to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_of_an_own_authority_is_trusted_when_it_is_set() {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let port = tls_server(&pair).await;
    let client = |ca: Option<String>| {
        let mut config = Config::new(format!("https://localhost:{port}"), Token::None);
        (config.retries, config.ca_certificates) = (0, ca);
        Client::new(config).unwrap()
    };
    let error = client(None).server().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    client(Some(pair.cert.pem())).server().await.unwrap();
}

#[tokio::test]
async fn a_token_is_made_in_one_try_and_revoked_in_several() {
    let made = json!({ "id": "t1", "token": "s3cret", "name": "ci", "role": "admin" });
    let script = Script::default()
        .then(200, server())
        .raw(503, "retry-after: 0", "")
        .then(201, made)
        .raw(503, "retry-after: 0", "")
        .then(200, json!({ "id": "t1" }));
    let client = client(&script).await;
    let new = sampan_schema::token::NewToken { name: "ci".into(), role: "admin".into(), ttl_seconds: 60 };
    client.make_token(&new).await.unwrap_err();
    assert_eq!(client.make_token(&new).await.unwrap().token, "s3cret");
    assert_eq!(client.revoke_token("t1").await.unwrap().id, "t1");
    let asked = script.asked();
    assert_eq!(asked[1..], ["POST /v1/tokens", "POST /v1/tokens", "DELETE /v1/tokens/t1", "DELETE /v1/tokens/t1"]);
    assert!(client.revoke_token("../namespaces").await.unwrap_err().to_string().contains("is no id"));
}
