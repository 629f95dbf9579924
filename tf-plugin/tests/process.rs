//! The example provider as a process, driven by the client that plays Terraform core.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tf_plugin::fake_core::{FakeCore, FakeError, State, Tls};
use tf_plugin::{Object, Value};
use tokio::process::Command;

fn demo() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join("demo")
}

fn command(tmp: &Path) -> Command {
    let mut command = Command::new(demo());
    // The variables of whoever runs the tests must not matter.
    for key in ["TF_LOG", "TF_LOG_PROVIDER", "PLUGIN_CLIENT_CERT", "TF_PLUGIN_MAGIC_COOKIE", "RUST_BACKTRACE"] {
        command.env_remove(key);
    }
    command.env("TMPDIR", tmp);
    command
}

async fn configured(tmp: &Path) -> FakeCore {
    started(command(tmp), tmp).await
}

async fn started(command: Command, tmp: &Path) -> FakeCore {
    let core = FakeCore::start(command, Tls::Pinned).await.unwrap();
    let d = core.configure(Object::new().with("dir", tmp.to_str().unwrap())).await.unwrap();
    assert!(!d.has_errors(), "{d}");
    core
}

fn note(name: &str) -> Object {
    Object::new().with("name", name)
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn without_a_cookie_it_exits_with_1_and_a_silent_stdout() {
    let out = Command::new(demo()).env_remove("TF_PLUGIN_MAGIC_COOKIE").stdin(Stdio::null()).output().await.unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(out.stdout.is_empty());
    assert!(String::from_utf8_lossy(&out.stderr).contains("Terraform provider"));
}

#[tokio::test]
async fn a_client_without_certificate_with_another_one_or_without_tls_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for tls in [Tls::Without, Tls::Other] {
        let refused = tokio::time::timeout(Duration::from_secs(20), FakeCore::start(command(dir.path()), tls)).await;
        assert!(matches!(refused, Ok(Err(_))), "{tls:?}");
    }
    let core = FakeCore::start(command(dir.path()), Tls::Pinned).await.unwrap();
    let place = core.line.split('|').nth(3).unwrap().to_owned();
    let mut plain = tokio::net::UnixStream::connect(place).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(15), plain.read_to_end(&mut answer)).await.unwrap();
    // At most a TLS alert, never a frame of HTTP/2.
    assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
}

#[tokio::test]
async fn without_a_certificate_in_the_environment_there_is_no_tls() {
    let dir = tempfile::tempdir().unwrap();
    let core = FakeCore::start(command(dir.path()), Tls::Off).await.unwrap();
    assert_eq!(core.line.trim_end().split('|').nth(5), Some(""));
    core.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_socket_is_private_and_removed_at_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let core = FakeCore::start(command(dir.path()), Tls::Pinned).await.unwrap();
    let socket = PathBuf::from(core.line.split('|').nth(3).unwrap());
    let folder = socket.parent().unwrap().to_owned();
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let (_, code) = core.shutdown().await.unwrap();
    assert_eq!(code, Some(0));
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_host_that_dies_takes_the_provider_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let core = FakeCore::start(command(dir.path()), Tls::Pinned).await.unwrap();
    let folder = Path::new(core.line.split('|').nth(3).unwrap()).parent().unwrap().to_owned();
    let pid = core.pid().unwrap();
    let terminated = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.unwrap();
    assert!(terminated.success());
    until("the socket is gone after SIGTERM", || !folder.exists()).await;
}

#[tokio::test]
async fn a_host_that_dies_before_its_first_connection_takes_the_provider_with_it() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let dir = tempfile::tempdir().unwrap();
    // The shell is the host: it ends when its input does. `:` keeps it from becoming the provider itself.
    let mut host = Command::new("sh")
        .args(["-c", "\"$0\" & read -r _; :"])
        .arg(demo())
        .env("TMPDIR", dir.path())
        .env(tf_plugin::COOKIE_KEY, tf_plugin::COOKIE_VALUE)
        .env_remove("PLUGIN_CLIENT_CERT")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(host.stdout.take().unwrap()).lines();
    assert!(out.next_line().await.unwrap().unwrap().starts_with("1|6|unix|"));
    drop(host.stdin.take());
    host.wait().await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(30), out.next_line()).await.expect("the provider ends");
    assert_eq!(end.unwrap(), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the socket is gone too");
}

#[tokio::test]
async fn a_note_lives_through_create_read_update_replace_import_and_delete() {
    let dir = tempfile::tempdir().unwrap();
    let core = configured(dir.path()).await;
    let ports = Value::map([("http", Value::from(Object::new().with("number", 80)))]);
    let config = note("a").with("text", "one").with("ports", ports);
    let (state, d) = core.change("demo_note", None, Some(config.clone())).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    assert_eq!(state.object.attr("id").as_str(), Some("a"));
    assert_eq!(state.object.attr("size").as_i64(), Some(1));
    assert_eq!(state.object.at("ports[\"http\"].protocol").and_then(Value::as_str), Some("TCP"));

    let same = core.plan("demo_note", Some(&state), Some(config.clone())).await.unwrap();
    assert_eq!(same.planned.as_ref(), Some(&state.object), "a second plan changes nothing");

    let changed = core.plan("demo_note", Some(&state), Some(config.clone().with("text", "two"))).await.unwrap();
    assert!(changed.diagnostics.is_empty(), "{}", changed.diagnostics);
    assert!(changed.planned.as_ref().unwrap().attr("revision").is_unknown());
    assert_eq!(changed.planned.as_ref().unwrap().attr("id").as_str(), Some("a"));
    let (state, d) = core.apply(&changed).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    assert_eq!(state.object.attr("revision").as_i64(), Some(2));

    let renamed = core.plan("demo_note", Some(&state), Some(note("b"))).await.unwrap();
    assert_eq!(renamed.requires_replace, [tf_plugin::path!("name")]);

    let (imported, d) = core.import("demo_note", "a").await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(imported.unwrap().object.attr("text").as_str(), Some("two"));
    let (data, _) = core.data("demo_note", note("a")).await.unwrap();
    assert_eq!(data.unwrap().attr("text").as_str(), Some("two"));

    let (gone, d) = core.change("demo_note", Some(&state), None).await.unwrap();
    assert!(gone.is_none() && d.is_empty(), "{d}");
    let (gone, _) = core.read("demo_note", &state).await.unwrap();
    assert!(gone.is_none());
}

#[tokio::test]
async fn a_write_only_value_is_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let core = configured(dir.path()).await;
    let plan = core.plan("demo_note", None, Some(note("a").with("secret_wo", "hunter22"))).await.unwrap();
    assert!(plan.planned.as_ref().unwrap().attr("secret_wo").is_null());
    let (state, d) = core.apply(&plan).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert!(state.unwrap().object.attr("secret_wo").is_null());
    assert!(!std::fs::read_to_string(dir.path().join("a.json")).unwrap().contains("hunter22"));
}

#[tokio::test]
async fn stop_cancels_an_apply_and_its_state_is_returned() {
    let dir = tempfile::tempdir().unwrap();
    let core = configured(dir.path()).await;
    let plan = core.plan("demo_note", None, Some(note("a").with("wait", "10m"))).await.unwrap();
    let file = dir.path().join("a.json");
    let stop = async {
        until("the note is written", || file.exists()).await;
        let before = Instant::now();
        core.stop().await.unwrap();
        assert!(before.elapsed() < Duration::from_secs(2), "stop answers at once");
    };
    let (applied, ()) = tokio::join!(core.apply(&plan), stop);
    let (state, d) = applied.unwrap();
    assert_eq!(state.unwrap().object.attr("id").as_str(), Some("a"));
    assert!(!d.has_errors() && d.iter().any(|d| d.summary == "Interrupted"), "{d}");
}

#[tokio::test]
async fn a_panic_is_a_diagnostic_without_a_backtrace_and_keeps_the_prior_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.env("RUST_BACKTRACE", "full").env("TF_LOG", "TRACE");
    let core = started(command, dir.path()).await;
    let (state, _) = core.change("demo_note", None, Some(note("a"))).await.unwrap();
    let state = state.unwrap();
    let (after, d) = core.change("demo_note", Some(&state), Some(note("a").with("panic", true))).await.unwrap();
    assert_eq!(after.unwrap().object, state.object);
    assert!(d.has_errors());
    for part in ["demo.rs", "backtrace", "wants a panic", "::"] {
        assert!(!d.to_string().contains(part), "{part}: {d}");
    }
    // The process goes on.
    let (again, d) = core.change("demo_note", Some(&state), Some(note("a").with("text", "x"))).await.unwrap();
    assert!(again.is_some() && !d.has_errors(), "{d}");
    let (log, _) = core.shutdown().await.unwrap();
    assert!(log.contains("wants a panic"), "{log}");
}

#[tokio::test]
async fn every_line_of_the_log_parses_and_none_holds_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.env("TF_LOG", "TRACE");
    let core = FakeCore::start(command, Tls::Pinned).await.unwrap();
    let config = Object::new().with("token", "s3cr3t-token");
    let d = core.configure(config.clone().with("dir", "/nonexistent/dir")).await.unwrap();
    assert!(d.has_errors() && !d.to_string().contains("s3cr3t-token"), "{d}");
    let d = core.configure(config.with("dir", dir.path().to_str().unwrap())).await.unwrap();
    assert!(!d.has_errors(), "{d}");
    core.change("demo_note", None, Some(note("a"))).await.unwrap();
    let (log, _) = core.shutdown().await.unwrap();
    assert!(log.lines().count() > 3, "{log}");
    for line in log.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(record["@level"].is_string() && record["@message"].is_string(), "{line}");
        let time = record["@timestamp"].as_str().unwrap();
        assert_eq!(time.split('.').nth(1).map(str::len), Some("123456Z".len()), "{time}");
    }
    assert!(log.contains("\"tf_rpc\":\"ApplyResourceChange\""), "{log}");
    assert!(!log.contains("s3cr3t-token"));
}

#[tokio::test]
async fn states_of_every_version_are_upgraded() {
    let dir = tempfile::tempdir().unwrap();
    let core = configured(dir.path()).await;
    let (state, d) = core.upgrade("demo_note", 0, r#"{"title": "a", "id": "a"}"#).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(state.unwrap().attr("name").as_str(), Some("a"));
    let (state, d) = core.upgrade("demo_note", 1, r#"{"name": "a", "body": "hello", "size": 3}"#).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(state.unwrap().attr("text").as_str(), Some("hello"));
    let same = r#"{"name": "a", "removed": [1], "secret_wo": "leaked", "size": 1}"#;
    let (state, d) = core.upgrade("demo_note", 2, same).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    assert!(state.attr("secret_wo").is_null() && state.attr("text").is_null());
    for (version, json, word) in
        [(3, "{}", "later release"), (-1, "{}", "no upgrade"), (2, "", "before 0.12"), (1, "[", "JSON")]
    {
        let (state, d) = core.upgrade("demo_note", version, json).await.unwrap();
        assert!(state.is_none() && d.to_string().contains(word), "{version}: {d}");
    }
}

#[tokio::test]
async fn two_unknowns_in_a_set_stay_two() {
    let dir = tempfile::tempdir().unwrap();
    let core = configured(dir.path()).await;
    let tags = Value::set([Value::UNKNOWN, Value::UNKNOWN, Value::from("x")]);
    let plan = core.plan("demo_note", None, Some(note("a").with("tags", tags))).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert_eq!(plan.planned.unwrap().attr("tags").as_elements().map(<[Value]>::len), Some(3));
}

#[tokio::test]
async fn a_value_of_5_mb_passes_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let core = configured(dir.path()).await;
    let text = "x".repeat(5 << 20);
    let (state, d) = core.change("demo_note", None, Some(note("a").with("text", text.as_str()))).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(state.unwrap().object.attr("text").as_str().map(str::len), Some(5 << 20));
}

#[tokio::test]
async fn broken_messages_are_diagnostics_and_unknown_types_too() {
    use tf_plugin::proto::tfplugin6 as pb;
    let dir = tempfile::tempdir().unwrap();
    let core = configured(dir.path()).await;
    let broken = || Some(pb::DynamicValue { msgpack: vec![0xc1, 0xff].into(), json: Default::default() });
    for type_name in ["demo_note", "demo_other"] {
        let rq = pb::plan_resource_change::Request {
            type_name: type_name.to_owned(),
            config: broken(),
            prior_state: broken(),
            ..Default::default()
        };
        let answer = core.rpc().plan_resource_change(rq).await.unwrap().into_inner();
        assert_eq!(answer.diagnostics.len(), 1);
    }
    let rq = pb::apply_resource_change::Request {
        type_name: "demo_note".to_owned(),
        planned_private: b"nonsense".to_vec().into(),
        ..Default::default()
    };
    let answer = core.rpc().apply_resource_change(rq).await.unwrap().into_inner();
    assert!(answer.diagnostics[0].summary.contains("Private data"));
    let unimplemented = core.rpc().get_states(pb::get_states::Request::default()).await.unwrap_err();
    assert_eq!(unimplemented.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn unknown_arguments_of_the_provider_refuse_a_read_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let core = FakeCore::start(command(dir.path()), Tls::Pinned).await.unwrap();
    let d = core.configure(Object::new().with("dir", Value::UNKNOWN)).await.unwrap();
    assert!(!d.has_errors(), "{d}");
    let plan = core.plan("demo_note", None, Some(note("a"))).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    let state = State::of(plan.planned.unwrap().with("id", "a").with("revision", 1));
    let (_, d) = core.read("demo_note", &state).await.unwrap();
    assert!(d.to_string().contains("dir"), "{d}");
}

#[tokio::test]
async fn the_handshake_line_comes_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let core = FakeCore::start(command(dir.path()), Tls::Pinned).await;
    assert!(!matches!(core, Err(FakeError::Handshake(_))));
}
