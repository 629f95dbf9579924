//! `sampan export` against a server that answers as the test wants.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::path::Path;

use common::{Server, run, sampan, text};
use serde_json::{Value, json};

/// A namespace `shop` with two pages of config maps, one of which is on its way out, and with routes.
fn shop(routes: &[&str]) -> Server {
    let routes: Vec<Value> = routes
        .iter()
        .map(|name| json!({ "namespace": "shop", "name": name, "hostnames": ["a.test"], "rules": [] }))
        .collect();
    Server::start(move |request, _, _| {
        let map = |name: &str, phase: &str| json!({ "namespace": "shop", "name": name, "status": { "phase": phase } });
        let answer = match request.split_once(' ').map(|(_, target)| target).unwrap_or_default() {
            "/v1/namespaces/shop" => json!({ "name": "shop", "labels": { "team": "a" } }),
            "/v1/namespaces/shop/config-maps?limit=500" => {
                json!({ "items": [map("b", ""), map("old", "Deleting")], "next_page_token": "two" })
            }
            "/v1/namespaces/shop/config-maps?limit=500&page_token=two" => json!({ "items": [map("a", "")] }),
            "/v1/namespaces/shop/routes?limit=500" => json!({ "items": routes }),
            "/v1/namespaces/leaving" => json!({ "name": "leaving", "status": { "phase": "Deleting" } }),
            "/v1/namespaces/bad" => json!({ "name": "bad" }),
            "/v1/namespaces/bad/secrets?limit=500" => json!({ "items": [{ "name": "x\" {}", "namespace": "bad" }] }),
            other if other.ends_with("?limit=500") => json!({ "items": [] }),
            _ => {
                let problem = json!({ "title": "not found", "status": 404, "code": "NOT_FOUND", "kind": "namespace" });
                return (404, problem.to_string());
            }
        };
        (200, answer.to_string())
    })
}

/// Exit code, stdout and stderr.
fn export(server: &Server, args: &[&str]) -> (i32, String, String) {
    let args = [&["export"], args].concat();
    let output = run(sampan(&args).env("SAMPAN_ENDPOINT", server.endpoint()));
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn everything_of_a_namespace_goes_to_stdout() {
    let (code, stdout, stderr) = export(&shop(&[]), &["shop"]);
    assert_eq!((code, stderr.as_str()), (0, "left out: config map shop/old is being deleted\n"));
    insta::assert_snapshot!(stdout);
}

#[test]
fn a_folder_is_written_once_and_again_only_by_force() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new/shop");
    let out = target.to_str().unwrap();
    let first = shop(&["web"]);
    let (code, stdout, stderr) = export(&first, &["shop", "--out", out]);
    assert_eq!(code, 0, "{stderr}");
    let wanted = "4 objects of namespace shop in [out]: main.tf, namespaces.tf, config_maps.tf, routes.tf, imports.tf\n\
                  next: terraform init and terraform apply, which imports them and changes nothing\n";
    assert_eq!(stdout.replace(out, "[out]"), wanted);
    assert_eq!(names(&target), ["config_maps.tf", "imports.tf", "main.tf", "namespaces.tf", "routes.tf"]);
    let routes = std::fs::read_to_string(target.join("routes.tf")).unwrap();
    assert!(
        routes.starts_with("# Written by `sampan export shop`.\n\nresource \"sampan_route\" \"web\" {\n"),
        "{routes}"
    );

    // What is there stays, whoever wrote it; and one file in the way keeps all others from being written.
    std::fs::write(target.join("main.tf"), "# mine\n").unwrap();
    std::fs::remove_file(target.join("imports.tf")).unwrap();
    let (code, stdout, stderr) = export(&first, &["shop", "--out", out]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("main.tf") && stderr.contains("already there") && stderr.contains("--force"), "{stderr}");
    assert_eq!(std::fs::read_to_string(target.join("main.tf")).unwrap(), "# mine\n");
    assert!(!target.join("imports.tf").exists());

    // By force they are replaced, and what an earlier export wrote goes when it is not needed; the rest is not ours.
    std::fs::write(target.join("secrets.tf"), "# not written by an export\n").unwrap();
    std::fs::write(target.join("backend.tf"), "# mine\n").unwrap();
    let (code, _, stderr) = export(&shop(&[]), &["shop", "--out", out, "--force"]);
    assert_eq!(code, 0, "{stderr}");
    let left = ["backend.tf", "config_maps.tf", "imports.tf", "main.tf", "namespaces.tf", "secrets.tf"];
    assert_eq!(names(&target), left);
    assert!(std::fs::read_to_string(target.join("main.tf")).unwrap().contains("provider \"sampan\" {}"));
}

#[test]
fn what_cannot_be_exported_is_told_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    for (args, code, wanted) in [
        (vec!["absent", "--out", out], 1, "see what there is: `sampan get namespace`"),
        (vec!["leaving", "--out", out], 1, "namespace leaving is being deleted"),
        (vec!["bad", "--out", out], 1, "the server has a secret \"x\\\" {}\", which is no name"),
        (vec!["shop", "-o", "json"], 2, "export writes HCL and has no other form"),
        (vec!["shop/web"], 2, "is no name"),
        (vec!["shop", "--force"], 2, "--out"),
        (vec![], 2, "<NS>"),
    ] {
        let (found, stdout, stderr) = export(&shop(&[]), &args);
        assert_eq!((found, stdout.as_str()), (code, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(wanted), "{args:?}: {stderr}");
    }
    assert_eq!(names(folder.path()), Vec::<String>::new());
}
