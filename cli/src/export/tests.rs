//! What is written, read again by the linter's parser and evaluator, and formatted by terraform.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use sampan_client::Object;
use sampan_schema::{KINDS, Kind, kind, name};
use sampan_validator::eval::budget::Limits;
use sampan_validator::eval::definition::{Definitions, Source};
use sampan_validator::eval::functions::NoFiles;
use sampan_validator::eval::graph::{Graph, Module, Program, with_stack};
use sampan_validator::parse::parse;
use sampan_validator::view::{Resource, SampanSchemas};
use serde_json::{Map, Value, json};

use super::configuration::{File, file_names, files};

fn object(value: Value) -> Object {
    let Value::Object(map) = value else { panic!("an object") };
    Object(map)
}

fn all(objects: &[(&str, Value)]) -> Vec<(&'static Kind, Object)> {
    objects.iter().map(|(name, value)| (kind(name).unwrap(), object(value.clone()))).collect()
}

fn text(files: &[File]) -> String {
    files.iter().map(|file| format!("# --- {}\n{}", file.name, file.text)).collect::<Vec<_>>().join("\n")
}

#[test]
fn names_become_references_and_defaults_are_left_out() {
    // In no order, with what only the server sets.
    let objects = all(&[
        (
            "route",
            json!({
                "id": "my-shop/web", "uid": "u", "generation": 3, "create_time": "2026-01-01T00:00:00Z",
                "namespace": "my-shop", "name": "web", "visibility": "public", "hostnames": ["b.test", "a.test"],
                "rules": [
                    { "name": "all", "matches": [], "backends": [
                        { "application": "web-1", "port": "http", "weight": 1 },
                        { "application": "gone", "port": "http", "weight": 0 } ] },
                ],
                "status": { "urls": ["http://a.test"] },
            }),
        ),
        (
            "secret",
            json!({ "namespace": "my-shop", "name": "keys", "wo_version": 3, "status": { "keys": ["A", "B"] } }),
        ),
        (
            "application",
            json!({
                "namespace": "my-shop", "name": "web-1", "replicas": 1, "gray_policy": "careful", "description": null,
                "labels": { "team": "a", "sampan.internal": "x" },
                "resources": { "cpu": "100m", "memory": "64Mi" },
                "container": {
                    "image": "r.test/web:1", "image_pull_policy": "IfNotPresent", "command": [], "env": {},
                    "env_refs": {
                        "KEY": { "secret": { "name": "keys", "key": "A", "optional": false } },
                        "NAME": { "field": "instance.name" },
                    },
                    "env_from": [{ "config_map": "settings", "prefix": "" }, { "secret": "absent", "optional": true }],
                    "probes": { "readiness": { "http_get": { "path": "/healthz", "port": "http" } } },
                },
                "network": { "ports": { "http": { "container_port": 8080, "protocol": "HTTP" } } },
                "update_strategy": { "max_unavailable": "25%" },
                "lifecycle_hooks": { "termination_grace_period_seconds": 30, "offline": { "drain_timeout_seconds": 1 } },
                "status": { "phase": "Running" },
            }),
        ),
        (
            "application",
            json!({
                "namespace": "my-shop", "name": "api", "replicas": 2, "resources": { "cpu": "1", "memory": "1Gi" },
                "container": { "image": "r.test/api:1" },
            }),
        ),
        (
            "gray_policy",
            json!({
                "namespace": "my-shop", "name": "careful",
                "steps": [{ "weight_percent": 12.5, "pause": { "duration_seconds": 1 } }, { "weight_percent": 50.0 }],
                "analysis": { "gate": { "type": "webhook", "url": "https://gate.test/", "auth_secret": "keys" } },
            }),
        ),
        (
            "scaling_rule",
            json!({
                "namespace": "my-shop", "name": "zero", "application": "web-1", "enabled": true, "min_replicas": 0,
                "max_replicas": 4, "scale_to_zero": { "cooldown_seconds": 300 },
                "metrics": { "busy": { "type": "concurrency", "target": 10, "activation_target": 0 } },
            }),
        ),
        (
            "environment_schedule",
            json!({
                "namespace": "my-shop", "name": "nights", "stop": "0 20 * * *", "start": "0 8 * * *", "time_zone": "UTC",
                "selector": { "applications": ["web-1", "api"] }, "start_order": [["web-1"]],
            }),
        ),
        (
            "config_map",
            json!({
                "namespace": "my-shop", "name": "settings",
                "data": { "site.conf": "server {\n  root ${dir};\n}\n", "GREETING": "say \"%{hi}\"" },
            }),
        ),
        ("namespace", json!({ "name": "my-shop", "description": "", "status": { "phase": "Active" } })),
    ]);
    let mut turned = objects.clone();
    turned.reverse();
    let written = files(&objects);
    assert_eq!(written, files(&turned), "the order is ours");
    insta::assert_snapshot!("everything", text(&written));
    assert!(written.iter().all(|file| file_names().any(|name| name == file.name)));
}

#[test]
fn a_namespace_alone_has_no_empty_files() {
    let written = files(&all(&[("namespace", json!({ "name": "alone" }))]));
    let names: Vec<&str> = written.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["main.tf", "namespaces.tf", "imports.tf"]);
}

// ---- generated specs

/// Characters that mean something in HCL, to a terminal or to neither; none of them combines with its neighbour.
const CHARACTERS: &[char] = &[
    'a', 'Z', '0', ' ', '-', '_', '.', '/', '"', '\'', '\\', '$', '$', '%', '{', '{', '}', '(', '[', '#', '=', ',',
    ':', '<', '\n', '\t', '\r', '\0', '\u{7f}', '\u{85}', '\u{202e}', '\u{feff}', 'é', '世', '🦀',
];

fn some_text() -> BoxedStrategy<String> {
    let line = || proptest::collection::vec(prop::sample::select(CHARACTERS), 0..10).prop_map(String::from_iter);
    let clean = line()
        .prop_map(|line: String| line.replace(['\r', '\n', '\0', '\u{7f}', '\u{85}', '\u{202e}', '\u{feff}'], " "));
    let special =
        prop::sample::select(&["EOT", " EOT ", "EOF", "for", "null", "true", "$${a}", "%%{a}", "é\\u0041"][..]);
    let whole = prop_oneof![3 => clean, 1 => special.clone().prop_map(str::to_owned)];
    let lines = proptest::collection::vec(whole, 2..5).prop_map(|lines| lines.join("\n") + "\n");
    prop_oneof![4 => line(), 1 => special.prop_map(str::to_owned), 2 => lines].boxed()
}

/// Values that a schema takes, as far as the writer can see: patterns other than that of names do not matter to it.
fn some(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(words) = schema["enum"].as_array() {
        return prop::sample::select(words.clone()).boxed();
    }
    let bound = |key: &str, other: i64| schema[key].as_f64().map_or(other, |n| n as i64);
    match schema["type"].as_str().unwrap_or("string") {
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "integer" => {
            let usual = schema.get("default").cloned().unwrap_or_else(|| bound("minimum", 0).into());
            let range = bound("minimum", -9)..=bound("maximum", 1 << 40);
            prop_oneof![Just(usual), range.prop_map(Value::from)].boxed()
        }
        "number" => (-4000_i64..4000).prop_map(|n| json!(n as f64 / 4.0)).boxed(),
        "array" => {
            let least = bound("minItems", 0) as usize;
            proptest::collection::vec(some(&schema["items"]), least..least + 3).prop_map(Value::from).boxed()
        }
        "object" if schema["properties"].as_object().is_some_and(|p| !p.is_empty()) => members(schema),
        "object" => {
            let value = some(&schema["additionalProperties"]);
            let map = proptest::collection::btree_map(some_text(), value, 0..4);
            map.prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())).boxed()
        }
        _ if schema["pattern"] == name::PATTERN || schema.pointer("/x-sampan/reference").is_some() => {
            prop::sample::select(&["web-1", "absent"][..]).prop_map(Value::from).boxed()
        }
        _ if schema.pointer("/x-sampan/semantic") == Some(&"quantity".into()) => {
            prop::sample::select(&["1", "0.5", "1024Mi"][..]).prop_map(Value::from).boxed()
        }
        _ => match schema.get("default").cloned() {
            Some(usual) => prop_oneof![Just(usual), some_text().prop_map(Value::from)].boxed(),
            None => some_text().prop_map(Value::from).boxed(),
        },
    }
}

fn members(schema: &Value) -> BoxedStrategy<Value> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut all = Just(Map::new()).boxed();
    for (name, below) in schema["properties"].as_object().unwrap() {
        let (name, value) = (name.clone(), some(below));
        let value = if required.contains(&name.as_str()) {
            value.prop_map(Some).boxed()
        } else {
            proptest::option::of(value).boxed()
        };
        all = (all, value)
            .prop_map(move |(mut map, value)| {
                map.extend(value.map(|value| (name.clone(), value)));
                map
            })
            .boxed();
    }
    all.prop_map(Value::from).boxed()
}

/// A spec of every kind, each called `web-1`, in a namespace of that name.
fn some_objects() -> impl Strategy<Value = Vec<(&'static Kind, Object)>> {
    let one = |kind: &'static Kind| {
        some(kind.spec_schema()).prop_map(move |mut spec| {
            spec["name"] = "web-1".into();
            if kind.namespaced {
                spec["namespace"] = "web-1".into();
            }
            (kind, object(spec))
        })
    };
    KINDS.iter().map(|kind| one(kind).boxed()).collect::<Vec<_>>()
}

/// What every resource says, by address, without what is write-only.
fn evaluated(files: &[File]) -> Result<BTreeMap<String, Value>, String> {
    let mut asts = Vec::new();
    for file in files {
        let (ast, diagnostics) = parse(file.text.as_bytes());
        if !diagnostics.is_empty() {
            return Err(format!("{diagnostics:?}"));
        }
        asts.push(ast);
    }
    let sources: Vec<Source<'_>> = (0..).zip(&asts).map(|(file, ast)| Source { file, ast, overrides: false }).collect();
    let module = Module {
        folder: Arc::from("."),
        definitions: Definitions::collect(&sources),
        calls: BTreeMap::new().into_iter().collect(),
    };
    let program = Program {
        modules: vec![module],
        inputs: BTreeMap::new().into_iter().collect(),
        workspace: None,
        files: &NoFiles,
        schemas: &SampanSchemas,
        short_circuit: false,
        limits: Limits::default(),
    };
    let said = with_stack(|| {
        let graph = Graph::new(&program);
        let root = graph.root();
        let mut all = BTreeMap::new();
        for (id, definition) in &graph.definitions(&root).resources {
            for view in graph.resource_views(&root, id) {
                let resource = Resource::new("", view, definition).ok_or("no resource of ours")?;
                let names = resource.noun.spec_schema()["properties"].as_object().into_iter().flatten();
                let spec = names.filter_map(|(name, _)| Some((name.clone(), resource.json(name)?)));
                all.insert(resource.address.clone(), Value::from(spec.collect::<Map<_, _>>()));
            }
        }
        graph.run();
        match graph.failures().first() {
            Some(failure) => Err(failure.message.clone()),
            None => Ok(all),
        }
    });
    said.map_err(|error| error.to_string())?
}

/// One form for what means the same; of numbers too.
fn meant(kind: &Kind, spec: &Value) -> Value {
    fn floats(value: &mut Value) {
        match value {
            Value::Number(number) => *value = json!(number.as_f64().unwrap()),
            Value::Array(items) => items.iter_mut().for_each(floats),
            Value::Object(items) => items.values_mut().for_each(floats),
            _ => {}
        }
    }
    let mut spec = spec.clone();
    spec.as_object_mut().unwrap().remove("data_wo");
    let mut spec = kind.normalise(&spec);
    floats(&mut spec);
    spec
}

proptest! {
    #![proptest_config(Config::with_cases(100))]
    #[test]
    fn what_is_written_is_read_as_the_same_spec(objects in some_objects()) {
        let written = files(&objects);
        let read = evaluated(&written);
        prop_assert!(read.is_ok(), "{}\n{}", read.unwrap_err(), text(&written));
        let read = read.unwrap();
        prop_assert_eq!(read.len(), objects.len());
        for (kind, object) in &objects {
            let found = &read[&format!("sampan_{}.web_1", kind.name)];
            prop_assert_eq!(meant(kind, found), meant(kind, &Value::Object(object.0.clone())), "{}", text(&written));
        }
    }
}

#[test]
fn terraform_formats_nothing_anew() {
    let terraform = std::env::var("TF_CLI_PATH").unwrap_or_else(|_| "terraform".into());
    if !Command::new(&terraform).arg("version").output().is_ok_and(|output| output.status.success()) {
        assert_ne!(std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref(), Ok("1"), "{terraform} is required");
        crate::progress::say(&format!("skipped: {terraform} cannot be run"));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::deterministic();
    for case in 0..100 {
        let objects = some_objects().new_tree(&mut runner).unwrap().current();
        for file in files(&objects) {
            std::fs::write(folder.path().join(format!("{case}-{}", file.name)), file.text).unwrap();
        }
    }
    let output = Command::new(&terraform).args(["fmt", "-check", "-diff"]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
