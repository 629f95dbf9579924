//! A whole configuration against `terraform plan`: the same instances, and the same values where both know them.

#![allow(clippy::unwrap_used, reason = "a test")]

use sampan_validator::eval::budget::Limits;
use sampan_validator::eval::definition::{Definitions, Source};
use sampan_validator::eval::disk::Disk;
use sampan_validator::eval::functions::{Env, NoFiles, call};
use sampan_validator::eval::graph::{Graph, Instance, Module, NoSchemas, Program, with_stack};
use sampan_validator::eval::value::Value;
use sampan_validator::module::{Flavor, Tree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

type Json = serde_json::Value;
/// `input` of each instance by its address; nothing where it is not known.
type Inputs = BTreeMap<String, Option<Json>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The plan as terraform sees it.
fn planned() -> Option<Json> {
    let terraform = std::env::var("TF_CLI_PATH").unwrap_or_else(|_| "terraform".into());
    if !Command::new(&terraform).arg("version").output().is_ok_and(|o| o.status.success()) {
        assert_ne!(std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref(), Ok("1"), "{terraform} is required");
        eprintln!("skipped: {terraform} cannot be run, so there is nothing to compare with");
        return None;
    }
    let work = tempfile::tempdir().unwrap();
    copy(&folder(), work.path());
    let run = |args: &[&str]| {
        let output = Command::new(&terraform).args(args).current_dir(work.path()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    run(&["init", "-input=false", "-no-color"]);
    run(&["plan", "-input=false", "-no-color", "-out=plan"]);
    Some(serde_json::from_slice(&run(&["show", "-json", "plan"])).unwrap())
}

/// Inputs of the plan: those of `planned_values`, known unless `after_unknown` says otherwise.
fn by_terraform(plan: &Json) -> Inputs {
    let mut inputs = Inputs::new();
    for change in plan["resource_changes"].as_array().unwrap() {
        let address = change["address"].as_str().unwrap().to_string();
        let unknown = &change["change"]["after_unknown"]["input"];
        let open = unknown == &Json::Bool(true) || unknown.to_string().contains("true");
        inputs.insert(address, (!open).then(|| change["change"]["after"]["input"].clone()));
    }
    inputs
}

fn json(value: &Value) -> Option<Json> {
    let text = call("jsonencode", vec![value.unmarked_deep()], Env { files: &NoFiles, max_bytes: 1 << 20 }).ok()?;
    serde_json::from_str(text.as_str()?).ok()
}

fn collect(graph: &Graph<'_>, instance: &Rc<Instance>, prefix: &str, inputs: &mut Inputs) {
    for id in graph.definitions(instance).resources.keys() {
        for view in graph.resource_views(instance, id) {
            let address = format!("{prefix}{}.{}{}", id.1, id.2, view.key);
            inputs.insert(address, view.body.value("input").and_then(json));
        }
    }
    for call in graph.calls(instance) {
        let prefix = format!("{prefix}module.{}{}.", call.name, call.each.key);
        collect(graph, &call.instance.unwrap(), &prefix, inputs);
    }
}

fn by_evaluator() -> (Inputs, Vec<String>, Option<Json>) {
    let mut tree = Tree::default();
    assert_eq!(tree.load(&folder(), Flavor::Terraform).unwrap(), 0);
    let modules = tree
        .folders
        .iter()
        .map(|module| {
            let sources: Vec<Source<'_>> = module
                .files
                .iter()
                .map(|file| Source { file: *file, ast: &tree.files[*file as usize].ast, overrides: false })
                .collect();
            let path = module.path.strip_prefix(folder()).unwrap().to_str().unwrap();
            let folder = if path.is_empty() { ".".into() } else { path.into() };
            Module { folder, definitions: Definitions::collect(&sources), calls: module.calls.clone() }
        })
        .collect();
    let files = Disk::new(&folder(), &folder(), 1 << 20).unwrap();
    let program = Program {
        modules,
        inputs: BTreeMap::new(),
        workspace: None,
        files: &files,
        schemas: &NoSchemas,
        short_circuit: false,
        limits: Limits::default(),
    };
    with_stack(|| {
        let graph = Graph::new(&program);
        graph.run();
        let (root, mut inputs) = (graph.root(), Inputs::new());
        collect(&graph, &root, "", &mut inputs);
        let failures = graph.failures().into_iter().map(|f| f.message).collect();
        (inputs, failures, graph.output(&root, "names").ok().as_ref().and_then(json))
    })
    .unwrap()
}

#[test]
fn instances_and_values_are_those_of_terraform_plan() {
    let (ours, failures, names) = by_evaluator();
    assert!(failures.is_empty(), "{failures:?}");
    assert!(ours.len() > 20, "{ours:?}");
    let Some(plan) = planned() else { return };
    let theirs = by_terraform(&plan);
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (address, theirs) in &theirs {
        match (&ours[address], theirs) {
            (Some(ours), Some(theirs)) => assert_eq!(ours, theirs, "{address}"),
            (Some(ours), None) => panic!("{address}: known here as {ours}, and not to terraform"),
            (None, Some(theirs)) => panic!("{address}: terraform knows {theirs}"),
            (None, None) => {}
        }
    }
    assert_eq!(names, Some(plan["planned_values"]["outputs"]["names"]["value"].clone()));
}
