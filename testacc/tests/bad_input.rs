//! What a user gets wrong, through the real terraform: said at the earliest point, with its place, and nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use sampan_testacc::load::{Kind, Load};
use sampan_testacc::terraform::Run;
use sampan_testacc::{Dev, Registry, Terraform, push_hello, require, wait_for};
use serde_json::{Value, json};

/// Every line of it has something that a test replaces.
const MAIN: &str = r#"
terraform {
  required_providers {
    sampan = { source = "sampan/sampan" }
  }
}
provider "sampan" {}
variable "image" { default = "registry.example.com/team/app:1" }
variable "env" {
  type    = map(string)
  default = {}
}
resource "sampan_namespace" "NAME" {
  name = "NAME"
}
resource "sampan_application" "a" {
  namespace       = sampan_namespace.NAME.name
  name            = "a"
  replicas        = 2
  isolation_class = "runc"
  resources       = { cpu = "100m", memory = "64Mi" }
  container = {
    image  = var.image
    env    = var.env
    probes = { readiness = { http_get = { path = "/healthz", port = "http" }, period_seconds = 1 } }
  }
  network         = { ports = { http = { container_port = 8080, protocol = "HTTP" } } }
  update_strategy = { progress_deadline_seconds = 5 }
}
resource "sampan_route" "a" {
  namespace  = sampan_namespace.NAME.name
  name       = "a"
  visibility = "public"
  hostnames  = ["NAME.test"]
  rules      = [{ name = "all", backends = [{ application = sampan_application.a.name, port = "http" }] }]
}
"#;

/// The configuration, with parts of it replaced.
fn configured(terraform: &Terraform, name: &str, changes: &[(&str, &str)]) {
    let mut text = MAIN.trim_start().replace("NAME", name);
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in the configuration");
        text = text.replace(from, to);
    }
    terraform.write("main.tf", &text);
}

/// The diagnostics of a run with `-json`, each as `severity file:line [source]: summary: detail`.
fn told(run: &Run) -> Vec<String> {
    let whole: Option<Value> = serde_json::from_str(&run.stdout).ok();
    let lines = || run.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let all: Vec<Value> = match whole.as_ref().and_then(|whole| whole["diagnostics"].as_array()) {
        Some(all) => all.clone(),
        None => lines().filter(|line| line["type"] == "diagnostic").map(|line| line["diagnostic"].clone()).collect(),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().replace('\n', " ");
    let first = |code: &Value| code.as_str().unwrap_or_default().trim().lines().next().unwrap_or_default().to_owned();
    all.iter()
        .filter(|d| d["summary"] != "Provider development overrides are in effect")
        .map(|d| {
            let place = match &d["range"] {
                Value::Null => String::new(),
                range => format!(
                    " {}:{} [{}]",
                    text(&range["filename"]),
                    range["start"]["line"],
                    first(&d["snippet"]["code"])
                ),
            };
            format!("{}{place}: {}: {}", text(&d["severity"]), text(&d["summary"]), text(&d["detail"]))
        })
        .collect()
}

/// One diagnostic has all these words.
#[track_caller]
fn says(run: &Run, words: &[&str]) {
    let told = told(run);
    let found = told.iter().any(|one| words.iter().all(|word| one.contains(word)));
    assert!(found, "nothing says {words:?} at once:\n{}\n{}", told.join("\n"), run.text());
}

fn plan(terraform: &Terraform, vars: &[&str], exit: i32) -> Run {
    json_run(terraform, &["plan", "-json"], vars, exit)
}

fn apply(terraform: &Terraform, vars: &[&str], exit: i32) -> Run {
    json_run(terraform, &["apply", "-json", "-auto-approve"], vars, exit)
}

fn json_run(terraform: &Terraform, args: &[&str], vars: &[&str], exit: i32) -> Run {
    let vars: Vec<String> = vars.iter().map(|var| format!("-var={var}")).collect();
    let args: Vec<&str> = args.iter().copied().chain(vars.iter().map(String::as_str)).collect();
    terraform.expect(&args, exit)
}

#[test]
fn broken_rules_are_refused_by_validate_all_at_once_and_each_at_its_line() {
    if !require() {
        return;
    }
    // Nobody is asked: there is no server.
    let terraform = Terraform::new().env("SAMPAN_ENDPOINT", "http://127.0.0.1:1");
    configured(
        &terraform,
        "rules",
        &[
            (r#"name            = "a""#, r#"name            = "Not_A_Label""#),
            ("replicas        = 2", "replicas        = -1"),
            (r#"cpu = "100m""#, r#"cpu = "abc""#),
            ("var.image", r#""nginx""#),
            ("[\"rules.test\"]", "[\"rules.test:80\"]"),
        ],
    );
    let run = terraform.expect(&["validate", "-json"], 1);
    let told = told(&run);
    let label =
        r#"name is "Not_A_Label", want a name: 1 to 40 lower-case letters, digits and "-", beginning with a letter"#;
    says(&run, &["error main.tf:17 [name            = \"Not_A_Label\"]", label]);
    says(&run, &["error main.tf:18 [replicas        = -1]", "replicas is -1, want 0 to 10000"]);
    says(
        &run,
        &["error main.tf:20 [resources       = { cpu = \"abc\"", "\"abc\" is no quantity: write for example 100m"],
    );
    says(
        &run,
        &["error main.tf:21 [container = {]", "container.image", "\"nginx\" does not name a registry: write it as"],
    );
    assert_eq!(told.iter().filter(|one| one.starts_with("error")).count(), 4, "{told:#?}");

    configured(&terraform, "rules", &[]);
    terraform.expect(&["validate", "-json"], 0);
    configured(&terraform, "rules", &[("replicas        = 2", "replicass       = 2")]);
    let run = terraform.expect(&["validate", "-json"], 1);
    says(&run, &["error main.tf:18 [replicass       = 2]", "Did you mean \"replicas\"?"]);
}

/// Answers every request as a server with another version of the API.
fn other_version() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = json!({ "version": "3.1.0", "api_version": "v9" }).to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{address}")
}

/// The wrong server, or a token that is not its own.
fn a_server_that_cannot_be_worked_with(dev: &Dev) {
    let endpoint = dev.endpoint();
    let with = |settings: &[(&str, &str)]| {
        let terraform = settings.iter().fold(Terraform::new(), |terraform, (key, value)| terraform.env(key, value));
        configured(&terraform, "server", &[]);
        // The first plan, with nothing in the state that would have to be read.
        plan(&terraform, &[], 1)
    };
    let block = "error main.tf:6 [provider \"sampan\" {}]";
    let run = with(&[("SAMPAN_ENDPOINT", &endpoint), ("SAMPAN_TOKEN", "not-a-token")]);
    says(&run, &["The server refuses the token", "the variable SAMPAN_TOKEN", "SAMPAN_TOKEN_FILE"]);
    assert!(!run.text().contains("not-a-token"), "a token is a secret");
    let run = with(&[("SAMPAN_ENDPOINT", &endpoint)]);
    says(&run, &["The server wants a token", "No token is set", "token_file", "`sampan dev`"]);
    let run = with(&[("SAMPAN_ENDPOINT", &endpoint), ("SAMPAN_TOKEN_FILE", "/no/such/file")]);
    says(&run, &["the token file /no/such/file cannot be read: No such file"]);
    let run = with(&[("SAMPAN_ENDPOINT", "http://127.0.0.1:1"), ("SAMPAN_TOKEN", "t")]);
    says(&run, &[block, "http://127.0.0.1:1 cannot be reached: Connection refused", "sampan dev --data-dir DIR"]);
    let run = with(&[("SAMPAN_ENDPOINT", &other_version()), ("SAMPAN_TOKEN", "t")]);
    says(&run, &[block, "API version v9 (release 3.1.0)", "speaks API version v1", "use releases that fit"]);
    let run = with(&[("SAMPAN_ENDPOINT", &format!("http://{}", dev.gateway)), ("SAMPAN_TOKEN", "t")]);
    says(&run, &[block, "Is endpoint the address of the API"]);
    let run = with(&[("SAMPAN_TOKEN", "t")]);
    says(&run, &[block, "Where is the server?", "SAMPAN_ENDPOINT"]);

    // May read, may not write: refused before anything is changed.
    let reader = dev.data_dir.join("read-only.token").display().to_string();
    let terraform = Terraform::new().env("SAMPAN_ENDPOINT", &endpoint).env("SAMPAN_TOKEN_FILE", &reader);
    configured(&terraform, "server", &[]);
    says(&apply(&terraform, &[], 1), &["error main.tf:12", "was not created", "a read-only token has not"]);
    assert_eq!(dev.api("GET", "/v1/namespaces/server", &Value::Null).status, 404);
}

/// A warning of the plan, an error of the apply; after the correction it works.
fn an_image_that_cannot_be_had(dev: &Dev, registry: &str, good: &str) {
    let terraform = dev.terraform();
    configured(&terraform, "image", &[]);
    let missing = format!("{registry}/demo/hello:never-pushed");
    let var = format!("image={missing}");
    let why = format!("\"{missing}\" is not in its registry: check repository and tag, or push it");
    let run = plan(&terraform, &[&var], 0);
    says(&run, &["warning main.tf:21 [container = {]", "container.image", &why]);
    let run = apply(&terraform, &[&var], 1);
    says(&run, &["error main.tf:15", "The deploy of image/a has not succeeded", "ImageNotFound", &why]);

    let away = "127.0.0.1:1/demo/hello:1";
    let var = format!("image={away}");
    let why = "registry 127.0.0.1:1 cannot be reached: Connection refused";
    let run = plan(&terraform, &[&var], 0);
    says(&run, &["warning main.tf:21", why, "check that container.image names the right registry"]);
    let run = apply(&terraform, &[&var], 1);
    says(&run, &["error main.tf:15", "no progress for 5 s; RegistryUnreachable", why]);

    let var = format!("image={good}");
    apply(&terraform, &[&var], 0);
    assert_eq!(terraform.plan_is_empty(&[&var]), Ok(()));
    // As an update it costs nothing: the instances serve on, untouched.
    let before = dev.instances("image", "a");
    let run = apply(&terraform, &[&format!("image={missing}")], 1);
    says(&run, &["error main.tf:15", "ImageNotFound", "the next plan shows an update that tries again"]);
    let ids = |all: &[Value]| all.iter().map(|i| (i["container_id"].clone(), i["ready"].clone())).collect::<Vec<_>>();
    assert_eq!(ids(&dev.instances("image", "a")), ids(&before));
    terraform.destroy(&[&var]);
}

/// The first release crashes: the apply fails with the exit code; after the correction it works.
fn a_first_release_that_crashes(dev: &Dev, image: &str) {
    let terraform = dev.terraform();
    configured(&terraform, "crash", &[]);
    let image = format!("image={image}");
    let bad = [image.as_str(), r#"env={CRASH_ON_START="1"}"#];
    let run = apply(&terraform, &bad, 1);
    says(
        &run,
        &["error main.tf:15", "The deploy of crash/a has not succeeded", "no progress for 5 s", "Crashed: exit code 3"],
    );
    says(&run, &["see `sampan logs crash/a`", "0 of 2 instances are ready"]);
    // What the message names shows what the program said last.
    let log = dev.api("GET", "/v1/namespaces/crash/applications/a/logs", &Value::Null);
    assert!(log.text().contains("CRASH_ON_START is set"), "{}", log.text());
    apply(&terraform, &[&image], 0);
    assert_eq!(terraform.plan_is_empty(&[&image]), Ok(()));
    terraform.destroy(&[&image]);
}

/// Updates that fail: an error with the reason, no replacement, and the revision before serves all the time.
fn an_update_that_fails(dev: &Dev, image: &str) {
    let terraform = dev.terraform();
    configured(&terraform, "update", &[]);
    let image = format!("image={image}");
    let good = [image.as_str(), r#"env={VERSION="1"}"#];
    apply(&terraform, &good, 0);
    let serving = dev.api("GET", "/v1/namespaces/update/applications/a", &Value::Null).json();
    let serving = serving["status"]["current_revision"].as_str().unwrap().to_owned();
    let load = Load::start(dev.gateway, "update.test", 50, Kind::Mixed);
    for (env, reason) in [
        (r#"env={VERSION="2", READY="false"}"#, "NotReady: http /healthz: status 503"),
        (r#"env={VERSION="3", CRASH_ON_START="1"}"#, "Crashed: exit code 3"),
    ] {
        let bad = [image.as_str(), env];
        let run = apply(&terraform, &bad, 1);
        says(&run, &["error main.tf:15", "The deploy of update/a has not succeeded", "no progress for 5 s", reason]);
        wait_for("both instances on the revision before", Duration::from_mins(1), || {
            let all = dev.instances("update", "a");
            let back = all.iter().filter(|i| i["ready"] == true && i["revision"] == serving.as_str()).count();
            if back == 2 { Ok(()) } else { Err(format!("{all:?}")) }
        });
        let answered = load.answered();
        wait_for("requests afterwards", Duration::from_mins(1), || {
            if load.answered() > answered + 50 { Ok(()) } else { Err(load.answered().to_string()) }
        });
        // Saved as an update that has to be made again, and never as something to replace.
        assert!(!terraform.state().contains("tainted"), "{}", terraform.state());
        let planned = terraform.plan(&bad);
        let changes = planned["resource_changes"].as_array().unwrap();
        let actions = |name: &str| changes.iter().find(|c| c["type"] == name).unwrap()["change"]["actions"].clone();
        assert_eq!(actions("sampan_application"), json!(["update"]));
        says(&plan(&terraform, &bad, 0), &["warning main.tf:15", "has not succeeded", reason, "Applying tries again"]);
    }
    // Although the containers that crashed are gone.
    let log = dev.api("GET", "/v1/namespaces/update/applications/a/logs", &Value::Null);
    assert!(log.text().contains("hello 3: CRASH_ON_START is set"), "{}", log.text());
    let report = load.stop();
    assert_eq!(report.failures(), Vec::<&str>::new());
    assert_eq!(report.versions().keys().collect::<Vec<_>>(), ["1"], "nothing of the failed revisions was served");
    let fixed = [image.as_str(), r#"env={VERSION="4"}"#];
    apply(&terraform, &fixed, 0);
    assert_eq!(dev.get("update.test", "/").unwrap().json()["version"], "4");
    assert_eq!(terraform.plan_is_empty(&fixed), Ok(()));
    terraform.destroy(&fixed);
}

/// Two routes want one host name, or a port that is not there.
fn routes_that_clash(dev: &Dev, image: &str) {
    let terraform = dev.terraform();
    configured(&terraform, "route", &[]);
    let image = format!("image={image}");
    apply(&terraform, &[&image], 0);
    let second = |hostname: &str, port: &str| {
        let text = MAIN[MAIN.find("resource \"sampan_route\"").unwrap()..].replace("NAME", "route");
        let text = text.replace("\"a\" {", "\"b\" {").replace("= \"a\"", "= \"b\"");
        terraform.write(
            "b.tf",
            &text.replace("route.test", hostname).replace("port = \"http\"", &format!("port = \"{port}\"")),
        );
    };
    second("route.test", "http");
    let taken = r#"host name "route.test" is taken by route "route/a": choose another one"#;
    says(&plan(&terraform, &[&image], 0), &["warning b.tf:5 [hostnames  = [\"route.test\"]]", taken]);
    says(&apply(&terraform, &[&image], 1), &["error b.tf:5 [hostnames  = [\"route.test\"]]", taken]);
    second("other.test", "admin");
    let absent = r#""admin" is no port of "a": it has http"#;
    says(&plan(&terraform, &[&image], 0), &["warning b.tf:6 [rules", absent]);
    says(&apply(&terraform, &[&image], 1), &["error b.tf:6 [rules", absent]);
    // The first one serves as before, and the second one is made once it is right.
    assert_eq!(dev.get("route.test", "/").unwrap().status, 200);
    second("other.test", "http");
    apply(&terraform, &[&image], 0);
    wait_for("an answer for the second host", Duration::from_secs(20), || {
        let answer = dev.get("other.test", "/")?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    terraform.destroy(&[&image]);
}

#[test]
fn what_the_server_or_the_runtime_refuses_is_told_with_its_place_and_can_be_corrected() {
    if !require() {
        return;
    }
    let registry = Registry::start();
    let image = push_hello(&registry.address, "1", &[]);
    let dev = Dev::start();
    // Side by side: most of it waits for deadlines.
    std::thread::scope(|scope| {
        scope.spawn(|| a_server_that_cannot_be_worked_with(&dev));
        scope.spawn(|| an_image_that_cannot_be_had(&dev, &registry.address, &image));
        scope.spawn(|| a_first_release_that_crashes(&dev, &image));
        scope.spawn(|| an_update_that_fails(&dev, &image));
        scope.spawn(|| routes_that_clash(&dev, &image));
    });
}
