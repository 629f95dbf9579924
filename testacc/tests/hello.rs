//! The demo program keeps its promises, without a container.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use sampan_testacc::process::Process;
use sampan_testacc::{hello, http, wait_for};

struct Hello {
    process: Process,
    address: SocketAddr,
}

fn command(env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(hello::PATH);
    command.env_clear().envs(env.iter().copied()).envs([("BIND", "127.0.0.1"), ("PORT", "0"), ("HOSTNAME", "box")]);
    command
}

fn start(env: &[(&str, &str)]) -> Hello {
    let mut process = Process::start("hello", &mut command(env));
    let address =
        process.wait_line(Duration::from_secs(10), |line| line.split_once("listening on ")?.1.trim().parse().ok());
    Hello { process, address }
}

impl Hello {
    fn get(&self, path: &str) -> Result<http::Answer, String> {
        http::get(self.address, "hello", path)
    }
}

#[test]
fn it_answers_with_version_instance_and_chosen_environment() {
    let hello = start(&[("VERSION", "7"), ("SHOW_ENV", "COLOR,NONE"), ("COLOR", "a \"b\"")]);
    let answer = hello.get("/").unwrap().json();
    assert_eq!((&answer["version"], &answer["instance"]), (&"7".into(), &"box".into()));
    assert_eq!(answer["env"], serde_json::json!({ "COLOR": "a \"b\"" }));
    assert_eq!(hello.get("/env?name=COLOR").unwrap().text(), "a \"b\"\n");
    assert_eq!(hello.get("/env?name=NONE").unwrap().status, 404);
    assert_eq!(hello.get("/big?bytes=100000").unwrap().body.len(), 100_000);
    assert_eq!(hello.get("/nothing").unwrap().status, 404);
    let chunks = b"3\r\nabc\r\n0\r\n\r\n";
    let headers = [("host", "x"), ("transfer-encoding", "chunked"), ("content-length", "0")];
    let answer = http::request(hello.address, "GET", "/", &headers, chunks);
    assert_eq!(answer.unwrap().status, 200);
}

#[test]
fn it_is_healthy_after_the_delay_and_never_while_ready_is_false() {
    let slow = start(&[("START_DELAY_MS", "300")]);
    assert_eq!(slow.get("/healthz").unwrap().status, 503);
    wait_for("health", Duration::from_secs(10), || match slow.get("/healthz")?.status {
        200 => Ok(()),
        other => Err(other.to_string()),
    });
    assert_eq!(start(&[("READY", "false")]).get("/healthz").unwrap().status, 503);
}

#[test]
fn a_term_lets_running_requests_end_and_exits_with_0() {
    let mut hello = start(&[("VERSION", "1")]);
    let address = hello.address;
    let slow = std::thread::spawn(move || http::get(address, "hello", "/slow?ms=800"));
    // The request counts from its first byte; its connection is there at once.
    wait_for("connection", Duration::from_secs(5), || connections(address).then_some(()).ok_or("none".into()));
    hello.process.signal(Signal::TERM);
    wait_for("refusal", Duration::from_secs(5), || match std::net::TcpStream::connect(address) {
        Err(_) => Ok(()),
        Ok(_) => Err("still accepts".into()),
    });
    assert!(hello.process.ended().is_none(), "it waits for the running request");
    assert_eq!(slow.join().unwrap().unwrap().status, 200);
    assert_eq!(hello.process.wait(Duration::from_secs(5)).and_then(|status| status.code()), Some(0));
}

/// Whether somebody is connected to this address, from the kernel's table.
fn connections(address: SocketAddr) -> bool {
    let port = format!(":{:04X} ", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Local address, and state 01: established.
        fields.len() > 3 && format!("{} ", fields[1]).ends_with(&port) && fields[3] == "01"
    })
}

#[test]
fn the_knobs_for_failures_work() {
    let mut crash = command(&[("CRASH_ON_START", "1")]);
    assert_eq!(crash.status().unwrap().code(), Some(3));
    let mut hello = start(&[]);
    assert!(hello.get("/crash").is_err());
    assert_eq!(hello.process.wait(Duration::from_secs(5)).and_then(|status| status.code()), Some(3));
    let mut stubborn = start(&[("IGNORE_TERM", "1")]);
    stubborn.process.signal(Signal::TERM);
    assert!(stubborn.process.wait(Duration::from_millis(300)).is_none());
    assert_eq!(stubborn.get("/").unwrap().status, 200);
}

#[test]
fn a_share_of_answers_fails_evenly() {
    let hello = start(&[("FAIL_PERCENT", "30"), ("DELAY_MS", "1")]);
    let statuses: Vec<u16> = (0..100).map(|_| hello.get("/").unwrap().status).collect();
    for ten in statuses.chunks(10) {
        assert_eq!(ten.iter().filter(|status| **status == 500).count(), 3, "{statuses:?}");
    }
    assert_eq!(hello.get("/healthz").unwrap().status, 200, "an instance that fails its callers is ready all the same");
    let broken = start(&[("FAIL_PERCENT", "100")]);
    assert!((0..10).all(|_| broken.get("/").unwrap().status == 500));
}

#[test]
fn headers_come_back_as_they_were_sent() {
    let hello = start(&[]);
    let sent = [("host", "x"), ("X-One", "a \"b\""), ("baggage", "a=1"), ("baggage", "b=2")];
    let shown = http::request(hello.address, "GET", "/headers", &sent, &[]).unwrap().json();
    assert_eq!(shown["x-one"], serde_json::json!(["a \"b\""]));
    assert_eq!(shown["baggage"], serde_json::json!(["a=1", "b=2"]));
}

#[test]
fn a_chain_passes_lane_and_baggage_on_and_says_what_the_next_one_answered() {
    let last = start(&[("VERSION", "last")]);
    let middle = start(&[("VERSION", "middle"), ("NEXT", &format!("http://{}", last.address))]);
    let first = start(&[("VERSION", "first"), ("NEXT", &format!("http://{}", middle.address))]);
    let alone = last.get("/chain").unwrap().json();
    assert_eq!(alone, serde_json::json!({"version": "last", "instance": "box", "lane": null, "next": null}));
    let marked = [("host", "x"), ("X-Sampan-Lane", "gray"), ("baggage", "sampan.lane=gray")];
    let answer = http::request(first.address, "GET", "/chain", &marked, &[]).unwrap();
    let body = answer.json();
    for (at, version) in [("", "first"), ("/next", "middle"), ("/next/next", "last")] {
        let hop = body.pointer(at).unwrap();
        assert_eq!((&hop["version"], &hop["lane"]), (&version.into(), &"gray".into()), "{body}");
    }
    drop(last);
    let answer = middle.get("/chain").unwrap();
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.json()["next"]["error"].as_str().unwrap().contains("127.0.0.1"), "{}", answer.text());
}
