//! The example provider under the real `terraform`, when there is one.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

struct Cli {
    dir: tempfile::TempDir,
}

/// Where the provider was built.
fn examples() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples")
}

/// Name or path of Terraform: `TF_CLI_PATH` (such as `tofu`), or `terraform`.
fn program() -> String {
    std::env::var("TF_CLI_PATH").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "terraform".into())
}

impl Cli {
    /// Nothing when there is no Terraform; the reason is printed.
    fn new(config: &str) -> Option<Self> {
        let cli = Self::of("demo", "sampan/demo")?;
        cli.write(config);
        Some(cli)
    }

    /// With the provider of an example, under a source address.
    fn of(example: &str, source: &str) -> Option<Self> {
        if let Err(error) = Command::new(program()).arg("version").output() {
            let required = std::env::var("SAMPAN_REQUIRE_CONTAINERS").is_ok_and(|value| value == "1");
            assert!(!required, "SAMPAN_REQUIRE_CONTAINERS=1, and {} does not start: {error}", program());
            eprintln!("skipped: {} does not start: {error}", program());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let plugins = dir.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        let name = format!("terraform-provider-{example}");
        std::os::unix::fs::symlink(examples().join(example), plugins.join(name)).unwrap();
        std::fs::create_dir(dir.path().join("notes")).unwrap();
        let rc = format!(
            "provider_installation {{\n dev_overrides {{ {source:?} = {:?} }}\n direct {{}}\n}}\n\
             disable_checkpoint = true\n",
            plugins.display().to_string()
        );
        std::fs::write(dir.path().join("rc.tfrc"), rc).unwrap();
        Some(Self { dir })
    }

    fn write(&self, config: &str) {
        let head = format!(
            "terraform {{\n  required_providers {{\n    demo = {{ source = \"sampan/demo\" }}\n  }}\n}}\n\
             provider \"demo\" {{\n  dir = {:?}\n}}\n",
            self.dir.path().join("notes").display().to_string()
        );
        std::fs::write(self.dir.path().join("main.tf"), head + config).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .arg("-no-color")
            .current_dir(self.dir.path())
            .env("TF_CLI_CONFIG_FILE", self.dir.path().join("rc.tfrc"))
            .env("TF_IN_AUTOMATION", "1")
            .env_remove("TF_LOG")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs and wants the exit code.
    fn expect(&self, args: &[&str], code: i32) -> String {
        let out = self.run(args);
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "terraform {args:?}\n{text}");
        text
    }

    fn apply(&self) -> String {
        self.expect(&["apply", "-auto-approve"], 0)
    }

    fn plan_is_empty(&self) {
        self.expect(&["plan", "-detailed-exitcode"], 0);
    }

    fn state(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.dir.path().join("terraform.tfstate")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

#[test]
fn a_note_is_applied_twice_changed_replaced_imported_and_destroyed() {
    let config = r#"
        resource "demo_note" "a" {
          name = "a"
          text = "one"
          tags = ["x", "y"]
          ports = { http = { number = 80 } }
          secret_wo = "hunter22"
        }
        data "demo_note" "a" { name = demo_note.a.name }
        output "text" { value = data.demo_note.a.text }
    "#;
    let Some(cli) = Cli::new(config) else { return };
    cli.apply();
    cli.plan_is_empty();
    let state = cli.state();
    assert_eq!(state["resources"][1]["instances"][0]["attributes"]["size"], 1);
    assert!(!state.to_string().contains("hunter22"));
    cli.write(&config.replace("one", "two"));
    let text = cli.apply();
    assert!(text.contains("1 changed"), "{text}");
    cli.write(&config.replace("\"a\"\n", "\"b\"\n"));
    let text = cli.expect(&["plan", "-detailed-exitcode"], 2);
    assert!(text.contains("forces replacement"), "{text}");
    cli.apply();
    cli.expect(&["state", "rm", "demo_note.a"], 0);
    cli.expect(&["import", "demo_note.a", "b"], 0);
    cli.plan_is_empty();
    cli.expect(&["destroy", "-auto-approve"], 0);
    assert_eq!(std::fs::read_dir(cli.dir.path().join("notes")).unwrap().count(), 0);
}

#[test]
fn two_unknowns_in_a_set_and_5_mb_in_an_attribute_are_applied() {
    let big = "x".repeat(5 << 20);
    let config = format!(
        r#"
        resource "terraform_data" "one" {{ input = "1" }}
        resource "terraform_data" "two" {{ input = "2" }}
        resource "demo_note" "a" {{
          name = "a"
          tags = [terraform_data.one.id, terraform_data.two.id]
        }}
        resource "demo_note" "big" {{
          name = "big"
          text = "{big}"
        }}
    "#
    );
    let Some(cli) = Cli::new(&config) else { return };
    cli.apply();
    cli.plan_is_empty();
}

#[test]
fn a_wrong_number_points_at_its_attribute() {
    let Some(cli) = Cli::new("resource \"demo_note\" \"a\" {\n  name = \"a\"\n  size = 1.5\n}\n") else { return };
    let text = cli.expect(&["validate"], 1);
    assert!(text.contains("size = 1.5"), "{text}");
}

#[test]
fn an_interrupt_in_the_middle_of_an_apply_saves_the_state() {
    let Some(cli) = Cli::new("resource \"demo_note\" \"a\" {\n  name = \"a\"\n  wait = \"10m\"\n}\n") else { return };
    let mut child = cli.command(&["apply", "-auto-approve"]);
    // Its own process group, so that the interrupt reaches Terraform and the provider as a terminal sends it.
    std::os::unix::process::CommandExt::process_group(&mut child, 0);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let file = cli.dir.path().join("notes").join("a.json");
    let end = Instant::now() + Duration::from_mins(1);
    let mut child = child;
    while !file.exists() {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < end, "the note is written");
        std::thread::sleep(Duration::from_millis(20));
    }
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(!text.contains("did not respond") && !text.contains("bug in the provider"), "{text}");
    let state = cli.state();
    let instance = &state["resources"][0]["instances"][0];
    assert_eq!(instance["attributes"]["id"], "a", "{text}");
    assert!(instance["status"].is_null(), "a warning does not taint: {state}");
    cli.expect(&["plan", "-detailed-exitcode"], 0);
}

#[test]
fn a_state_of_the_first_version_is_upgraded_and_plans_empty() {
    let Some(cli) = Cli::new("resource \"demo_note\" \"a\" { name = \"a\" }\n") else { return };
    cli.apply();
    let mut state = cli.state();
    let instance = &mut state["resources"][0]["instances"][0];
    instance["schema_version"] = 0.into();
    instance["attributes"] = serde_json::json!({ "title": "a", "id": "a" });
    std::fs::write(cli.dir.path().join("terraform.tfstate"), state.to_string()).unwrap();
    cli.plan_is_empty();
}

#[test]
fn terraform_attaches_to_a_provider_that_a_person_has_started() {
    let config = "resource \"demo_note\" \"a\" {\n  name = \"a\"\n  text = \"by hand\"\n}\n";
    let Some(cli) = Cli::new(config) else { return };
    // No way to a provider of its own: Terraform has only what the person gives it.
    std::fs::write(cli.dir.path().join("rc.tfrc"), "disable_checkpoint = true\n").unwrap();
    let mut provider = Command::new(examples().join("demo"))
        .arg("-debug")
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(provider.stdout.take().unwrap()));
    let value = lines.find_map(|line| {
        let line = line.unwrap();
        Some(line.trim().strip_prefix("TF_REATTACH_PROVIDERS='")?.strip_suffix('\'')?.to_owned())
    });
    let value = value.unwrap();
    for arguments in [["apply", "-auto-approve"], ["plan", "-detailed-exitcode"], ["destroy", "-auto-approve"]] {
        let out = cli.command(&arguments).env("TF_REATTACH_PROVIDERS", &value).output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    assert!(provider.try_wait().unwrap().is_none(), "Terraform leaves a provider alone that it has not started");
    provider.kill().unwrap();
    provider.wait().unwrap();
}

#[test]
fn terraform_calls_functions_and_shows_the_argument_that_is_wrong() {
    let config = |args: &str| format!("output \"slug\" {{\n  value = provider::demo::slug({args})\n}}\n");
    let Some(cli) = Cli::new(&config("\"My Note\", null, \"2\"")) else { return };
    let text = cli.apply();
    assert!(text.contains("slug = \"my-note-2\""), "{text}");
    // Of an unknown argument the result is unknown, and known after the apply.
    cli.write(&(config("terraform_data.x.output") + "resource \"terraform_data\" \"x\" { input = \"B\" }\n"));
    let text = cli.apply();
    assert!(text.contains("known after apply") && text.contains("slug = \"b\""), "{text}");
    cli.write(&config("\"a\", \"b/c\""));
    let text = cli.expect(&["plan"], 1);
    assert!(text.contains("Invalid value for \"more\" parameter") && text.contains("has no place in a name"), "{text}");
}

#[test]
fn ephemeral_feeds_write_only() {
    let config = r#"
        ephemeral "demo_password" "p" { of = "a" }
        resource "demo_note" "a" {
          name      = "a"
          secret_wo = ephemeral.demo_password.p.value
        }
    "#;
    let Some(cli) = Cli::new(config) else { return };
    cli.expect(&["plan", "-out", "saved.plan"], 0);
    cli.expect(&["apply", "saved.plan"], 0);
    cli.plan_is_empty();
    for file in ["saved.plan", "terraform.tfstate"] {
        let bytes = std::fs::read(cli.dir.path().join(file)).unwrap();
        assert!(!bytes.windows(11).any(|part| part == b"pass-a-word"), "{file}");
    }
    assert!(!cli.dir.path().join("notes").join("a.open").exists(), "it was closed");
}

#[test]
fn moved_from_terraform_data() {
    let Some(cli) = Cli::new("resource \"terraform_data\" \"a\" { input = \"a\" }\n") else { return };
    cli.apply();
    // The note is there already, at the other side.
    let note = r#"{"name": "a", "text": null, "size": 1, "id": "a", "revision": 1, "line": []}"#;
    std::fs::write(cli.dir.path().join("notes").join("a.json"), note).unwrap();
    cli.write(
        r#"
        moved {
          from = terraform_data.a
          to   = demo_note.a
        }
        resource "demo_note" "a" { name = "a" }
    "#,
    );
    let text = cli.apply();
    assert!(text.contains("has moved to") && text.contains("0 added, 0 changed, 0 destroyed"), "{text}");
    cli.plan_is_empty();
}

#[test]
fn blocks_are_counted_and_a_dynamic_value_keeps_its_type() {
    let config = |lines: &str| {
        let any = "[1, \"two\", true, { three = [3] }]";
        format!("resource \"demo_note\" \"a\" {{\n  name = \"a\"\n  any = {any}\n{lines}}}\n")
    };
    let line = "  line {\n    text = \"x\"\n  }\n";
    let Some(cli) = Cli::new(&config(&line.repeat(2))) else { return };
    cli.apply();
    cli.plan_is_empty();
    let any = cli.state()["resources"][0]["instances"][0]["attributes"]["any"]["value"].clone();
    assert_eq!(any, serde_json::json!([1, "two", true, { "three": [3] }]));
    cli.write(&config(&line.repeat(3)));
    let text = cli.expect(&["validate"], 1);
    assert!(text.contains("Too many line blocks"), "{text}");
}

#[test]
fn a_generated_configuration_plans_empty() {
    let Some(cli) = Cli::new("resource \"demo_note\" \"a\" {\n  name = \"a\"\n  text = \"kept\"\n}\n") else { return };
    cli.apply();
    cli.expect(&["state", "rm", "demo_note.a"], 0);
    cli.write("import {\n  to = demo_note.b\n  id = \"a\"\n}\n");
    cli.expect(&["plan", "-generate-config-out", "generated.tf"], 0);
    let text = cli.apply();
    assert!(text.contains("1 imported, 0 added, 0 changed, 0 destroyed"), "{text}");
    cli.plan_is_empty();
}

/// The blocks of the README in a language.
fn readme(language: &str) -> Vec<String> {
    let text = include_str!("../README.md");
    let parts = text.split("```").skip(1).step_by(2);
    parts.filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n').map(str::to_owned)).collect()
}

#[test]
fn the_code_of_the_readme_is_the_example() {
    let code = readme("rust");
    let example = include_str!("../examples/hello.rs");
    // Without the line that says what the file is.
    let example = example.split_once("\n\n").unwrap().1;
    assert_eq!(code.first().map(|code| code.trim()), Some(example.trim()));
}

#[test]
fn the_readme_runs_against_terraform() {
    let Some(cli) = Cli::of("hello", "acme/hello") else { return };
    std::fs::write(cli.dir.path().join("main.tf"), &readme("hcl")[0]).unwrap();
    let text = cli.apply();
    assert!(text.contains("loud = \"GOOD MORNING!\""), "{text}");
    let written = std::fs::read_to_string(cli.dir.path().join("notes").join("world")).unwrap();
    assert_eq!(written, "Good morning");
    cli.plan_is_empty();
    cli.expect(&["destroy", "-auto-approve"], 0);
    assert!(!cli.dir.path().join("notes").join("world").exists());
}
