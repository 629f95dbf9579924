//! Clients that connect and do not send.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod support;

use std::time::Duration;

use support::{Bench, Fake, bench};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the server says to a client that sends `text` and then nothing, until the server ends the connection.
async fn told(b: &Bench, text: &str) -> String {
    let mut stream = TcpStream::connect(b.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let all = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("the server ends the connection").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_send_is_not_waited_for() {
    let b = bench(Fake::new()).await;
    let put = format!(
        "PUT /v1/namespaces/shop HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\n{{",
        b.admin
    );
    let (nothing, head, body) =
        tokio::join!(told(&b, ""), told(&b, "GET /v1/server HTTP/1.1\r\nhost:"), told(&b, &put));
    assert!(nothing.is_empty(), "{nothing}");
    assert!(!head.contains("200"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408 ") && body.contains("REQUEST_TIMEOUT"), "{body}");
    assert_eq!(b.get("/v1/server").await["api_version"], "v1", "others are served as ever");
}
