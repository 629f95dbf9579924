//! A secret reaches the container that asks for it, and no other place that anybody can read.
//!
//! What may hold it: the store's database (`sampan.db`, readable by its owner only), the container's own specification
//! in containerd's folders, which is how an environment reaches a container, and the process itself.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sampan_schema::api::API;
use sampan_testacc::{Dev, Registry, Terraform, push_hello, require, wait_for};
use serde_json::{Value, json};

/// Distinct words without a character that any encoding would change.
const CANARY: &str = "canary4first7value";
const ROTATED: &str = "canary4second8value";
const WRONG_TOKEN: &str = "canary4wrong9token";
/// What all of them have in common.
const MARK: &str = "canary4";

const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
variable "token" {
  type      = string
  ephemeral = true
}
variable "value" {
  type      = string
  sensitive = true
  ephemeral = true
}
variable "image" { type = string }
variable "version_of_value" { type = number }
variable "key" { type = string }
provider "sampan" {
  token = var.token
}
resource "sampan_namespace" "vault" {
  name = "vault"
}
resource "sampan_secret" "keys" {
  namespace  = sampan_namespace.vault.name
  name       = "keys"
  wo_version = var.version_of_value
  data_wo    = { API_KEY = var.value, "${var.key}" = var.value }
}
resource "sampan_application" "vault" {
  namespace = sampan_namespace.vault.name
  name      = "vault"
  resources = { cpu = "100m", memory = "64Mi" }
  container = {
    image                    = var.image
    restart_on_config_change = true
    env_from                 = [{ secret = sampan_secret.keys.name, prefix = "ALL_" }]
    env_refs                 = { KEY = { secret = { name = sampan_secret.keys.name, key = "API_KEY" } } }
    probes                   = { readiness = { http_get = { path = "/healthz", port = "http" }, period_seconds = 1 } }
  }
  network         = { ports = { http = { container_port = 8080, protocol = "HTTP" } } }
  update_strategy = { progress_deadline_seconds = 60 }
  lifecycle_hooks = { termination_grace_period_seconds = 2, offline = { drain_timeout_seconds = 1 } }
}
resource "sampan_route" "vault" {
  namespace  = sampan_namespace.vault.name
  name       = "vault"
  visibility = "public"
  hostnames  = ["vault.test"]
  rules      = [{ name = "all", backends = [{ application = sampan_application.vault.name, port = "http" }] }]
}
data "sampan_secret" "keys" {
  namespace  = "vault"
  name       = "keys"
  depends_on = [sampan_secret.keys]
}
"#;

/// Everything that was looked at; a place that shows a secret ends the test.
#[derive(Default)]
struct Search {
    /// Beside the canaries: the administrator's token.
    token: String,
    places: usize,
}

impl Search {
    fn bytes(&mut self, place: &str, bytes: &[u8]) {
        self.places += 1;
        for secret in [MARK, self.token.as_str(), &base64(CANARY), &base64(ROTATED)] {
            assert!(!holds(bytes, secret), "{place} shows {secret}:\n{}", String::from_utf8_lossy(bytes));
        }
    }
    /// Runs terraform with the most verbose log, and looks through everything it says.
    fn terraform(&mut self, terraform: &Terraform, args: &[&str], exit: i32) -> String {
        let output = terraform.command(args).env("TF_LOG", "trace").output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(exit), "terraform {args:?}\n{stdout}\n{stderr}");
        self.bytes(&format!("stdout of terraform {args:?}"), &output.stdout);
        self.bytes(&format!("stderr and TF_LOG of terraform {args:?}"), &output.stderr);
        assert!(stderr.contains("[TRACE]"), "there is no log to look through");
        format!("{stdout}{stderr}")
    }
    fn folder(&mut self, folder: &Path, skip: &dyn Fn(&Path) -> bool) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if skip(&path) {
                continue;
            }
            if kind.is_dir() {
                self.folder(&path, skip);
            } else if kind.is_file() {
                self.bytes(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default());
            }
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The whole triples of the standard alphabet; enough to find a value that begins at one.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let whole = text.as_bytes().chunks_exact(3).flat_map(|c| {
        let n = u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(n >> shift) as usize & 63]))
    });
    whole.collect()
}

/// The entries of a zip file, unpacked. Deflated ones go through `gzip`, whose header and trailer are put around them.
fn unzip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let long = |at: usize| word(at) | word(at + 2) << 16;
    let end = (0..bytes.len() - 21).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06")).unwrap();
    let mut at = long(end + 16);
    let mut found = Vec::new();
    for _ in 0..word(end + 10) {
        let (method, packed, local) = (word(at + 10), long(at + 20), long(at + 42));
        let name = String::from_utf8_lossy(&bytes[at + 46..at + 46 + word(at + 28)]).into_owned();
        let data = local + 30 + word(local + 26) + word(local + 28);
        let data = &bytes[data..data + packed];
        let content = match method {
            0 => data.to_vec(),
            8 => {
                let head: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
                gunzip(&[head, data, &bytes[at + 16..at + 20], &bytes[at + 24..at + 28]].concat())
            }
            other => panic!("{name} is packed by method {other}"),
        };
        found.push((name, content));
        at += 46 + word(at + 28) + word(at + 30) + word(at + 32);
    }
    found
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, bytes) = (gzip.stdin.take().unwrap(), bytes.to_vec());
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// What the container says to have in its environment.
fn in_container(dev: &Dev, name: &str, value: &str) {
    wait_for(&format!("{name} in the container"), Duration::from_mins(1), || {
        let answer = dev.get("vault.test", &format!("/env?name={name}"))?;
        let text = answer.text();
        if answer.status == 200 && text.trim() == value { Ok(()) } else { Err(format!("{} {text}", answer.status)) }
    });
}

/// The change log from its beginning to the object `marker`, which is written for it.
fn watched(dev: &Dev, token: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(dev.api).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request =
        format!("GET /v1/watch?since=0 HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n", dev.api);
    stream.write_all(request.as_bytes()).unwrap();
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    while !holds(&seen, "\"marker\"") {
        let n = stream.read(&mut buffer).expect("the change log comes to the marker");
        assert!(n > 0, "the change log ended: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..n]);
    }
    assert!(holds(&seen, "\"keys\""), "the secret is in the change log by name");
    seen
}

/// Every GET of the API table, with the names of what there is.
fn every_answer(search: &mut Search, dev: &Dev) {
    let marker = json!({ "name": "marker" });
    let token = search.token.clone();
    let create = [("host", "x"), ("authorization", &format!("Bearer {token}")), ("if-none-match", "*")];
    let answer = sampan_testacc::http::request(
        dev.api,
        "PUT",
        "/v1/namespaces/marker",
        &[&create[..], &[("content-type", "application/json")]].concat(),
        marker.to_string().as_bytes(),
    );
    assert_eq!(answer.unwrap().status, 201);
    let operation = dev.api("GET", "/v1/namespaces/vault/applications/vault", &Value::Null).json();
    let operation = operation["status"]["last_operation"]["id"].as_str().unwrap().to_owned();
    for endpoint in API.iter().filter(|endpoint| endpoint.method == "GET") {
        if endpoint.name == "watch" {
            search.bytes("watch", &watched(dev, &token));
            continue;
        }
        let name = match (endpoint.name, endpoint.kind) {
            ("operation_get", _) => operation.as_str(),
            (_, "secret") => "keys",
            (_, "config_map") => "settings",
            _ => "vault",
        };
        let answer = dev.api("GET", &endpoint.url("vault", name), &Value::Null);
        let absent = ["config_map", "gray_policy", "scaling_rule", "environment_schedule"].contains(&endpoint.kind);
        assert!(answer.status == 200 || absent, "{}: {}", endpoint.name, answer.text());
        search.bytes(endpoint.name, &answer.body);
        search.bytes(endpoint.name, format!("{:?}", answer.headers).as_bytes());
    }
}

/// Writes that are refused, and dry runs, say nothing of what was in them.
fn every_refusal(search: &mut Search, dev: &Dev) {
    let path = "/v1/namespaces/vault/secrets/keys";
    let spec = |data: Value| json!({ "namespace": "vault", "name": "keys", "wo_version": 1, "data_wo": data });
    let bodies = [
        spec(json!(CANARY)),
        spec(json!([CANARY])),
        spec(json!({ "KEY": { "nested": CANARY } })),
        spec(json!({ "no key!": CANARY })),
        json!({ "namespace": "vault", "name": "keys", "wo_version": CANARY.len(), "data": { "KEY": CANARY } }),
    ];
    for (body, dry) in bodies.iter().flat_map(|body| [(body, ""), (body, "/dry-run")]) {
        let method = if dry.is_empty() { "PUT" } else { "POST" };
        let answer = dev.api(method, &format!("{path}{dry}"), body);
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        search.bytes(&format!("{method} of {}", body["data_wo"]), &answer.body);
    }
    let answer = dev.api("POST", &format!("{path}/dry-run"), &spec(json!({ "KEY": CANARY })));
    search.bytes("dry run of a secret", &answer.body);
    // Nothing was said about If-Match: also a good body is refused.
    let answer = dev.api("PUT", path, &spec(json!({ "KEY": CANARY })));
    assert_eq!(answer.status, 428);
    search.bytes("a write without precondition", &answer.body);
}

#[test]
fn a_secret_is_in_the_container_and_nowhere_else() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[]);
    let dev = Dev::start_with(&[("SAMPAN_LOG", "trace")]);
    let token = std::fs::read_to_string(&dev.token_file).unwrap().trim().to_owned();
    let mut search = Search { token: token.clone(), places: 0 };
    // Ephemeral values come from the environment: an argument would be in the list of processes.
    let with = |value: &str, key: &str, version: u8| {
        let terraform = Terraform::new()
            .env("SAMPAN_ENDPOINT", &dev.endpoint())
            .env("TF_VAR_token", &token)
            .env("TF_VAR_value", value)
            .env("TF_VAR_key", key)
            .env("TF_VAR_image", &image)
            .env("TF_VAR_version_of_value", &version.to_string());
        terraform.write("main.tf", MAIN);
        terraform
    };
    let first = with(CANARY, "MORE", 1);
    search.terraform(&first, &["plan", "-out=plan.bin"], 0);
    let entries = unzip(&std::fs::read(first.path().join("plan.bin")).unwrap());
    assert!(
        entries.iter().any(|(name, content)| name == "tfplan" && holds(content, "sampan_secret")),
        "no plan is read"
    );
    for (name, content) in &entries {
        search.bytes(&format!("{name} in the plan file"), content);
    }
    search.terraform(&first, &["show", "-json", "plan.bin"], 0);
    search.terraform(&first, &["apply", "plan.bin"], 0);
    for name in ["KEY", "ALL_API_KEY", "ALL_MORE"] {
        in_container(&dev, name, CANARY);
    }
    assert!(first.state().contains("sampan_secret"));
    search.terraform(&first, &["show", "-json"], 0);
    search.terraform(&first, &["plan", "-detailed-exitcode"], 0);

    // A new value goes the same way, once its version is raised.
    let second = with(ROTATED, "MORE", 2);
    std::fs::copy(first.path().join("terraform.tfstate"), second.path().join("terraform.tfstate")).unwrap();
    search.terraform(&second, &["apply", "-auto-approve"], 0);
    for name in ["KEY", "ALL_MORE"] {
        in_container(&dev, name, ROTATED);
    }

    // Errors: a key that is none, a wrong token, a reference to a key that is not there.
    let bad = with(CANARY, "no key!", 1);
    assert!(search.terraform(&bad, &["plan"], 1).contains("no key!"));
    let stranger = with(CANARY, "MORE", 1).env("TF_VAR_token", WRONG_TOKEN);
    search.terraform(&stranger, &["apply", "-auto-approve"], 1);
    let wrong = MAIN.replace("key = \"API_KEY\"", "key = \"ABSENT\"").replace("seconds = 60", "seconds = 5");
    assert_ne!(wrong, MAIN);
    second.write("main.tf", &wrong);
    let said = search.terraform(&second, &["apply", "-auto-approve"], 1);
    assert!(said.contains("ABSENT"), "{said}");
    in_container(&dev, "KEY", ROTATED);

    every_answer(&mut search, &dev);
    every_refusal(&mut search, &dev);
    for args in [&["events"][..], &["describe", "secret", "vault/keys"], &["get", "secrets", "-o", "json"]] {
        let output = dev.sampan(args).output().unwrap();
        search.bytes(&format!("sampan {args:?}"), &[output.stdout, output.stderr].concat());
    }

    // Files: workspaces, and the data folder but for what the first lines of this file name.
    let any = |_: &Path| false;
    for workspace in [&first, &second, &bad, &stranger] {
        search.folder(workspace.path(), &any);
    }
    let holders = [dev.data_dir.join("containerd"), dev.data_dir.join("run/containerd"), dev.token_file.clone()];
    let database = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with("sampan.db");
    let before = search.places;
    search.folder(&dev.data_dir, &|path| database(path) || holders.iter().any(|holder| path == holder));
    assert!(search.places > before + 3, "logs and settings are there to be looked at");
    for file in std::fs::read_dir(&dev.data_dir).unwrap().flatten().filter(|file| database(&file.path())) {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} can be read by others: {mode:o}", file.path().display());
    }
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        search.bytes("a command line", &std::fs::read(process.path().join("cmdline")).unwrap_or_default());
    }
    second.destroy(&[]);
    let log = dev.output();
    assert!(log.contains("TRACE"), "the log is not verbose: {log}");
    search.bytes("the log of sampan", log.as_bytes());
}

#[test]
fn what_is_searched_would_be_found() {
    assert!(holds(b"a canary4first7value b", CANARY) && !holds(b"canary", CANARY) && CANARY.starts_with(MARK));
    assert_eq!(base64("canary"), "Y2FuYXJ5");
    assert!([ROTATED, WRONG_TOKEN].iter().all(|secret| secret.starts_with(MARK)));
}
