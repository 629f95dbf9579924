//! File functions: bounded by the folder, errors where Terraform has them, unknown where Terraform could see more.

#![allow(clippy::unwrap_used, reason = "a test")]

use sampan_validator::eval::budget::{Budget, Limits};
use sampan_validator::eval::disk::Disk;
use sampan_validator::eval::expr::{Evaluated, Expressions, Rendering, Variables};
use sampan_validator::eval::functions::Env;
use sampan_validator::eval::value::CauseKind;
use sampan_validator::parse::parse_expression;
use std::collections::BTreeMap;
use std::path::Path;

fn evaluate(bound: &Path, text: &str, short_circuit: bool) -> Evaluated {
    let (ast, id, diagnostics) = parse_expression(text.as_bytes());
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let files = Disk::new(bound, bound, 64).unwrap();
    let budget = Budget::new(Limits::default());
    let names = BTreeMap::new();
    let (names, env) = (Variables(&names), Env { files: &files, max_bytes: 1 << 20 });
    Expressions { ast: &ast, file: 0, names: &names, env, budget: &budget, short_circuit, rendering: Rendering::No }
        .evaluate(id.unwrap())
}

fn folder() -> tempfile::TempDir {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("in");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(outer.path().join("secret.txt"), "outside").unwrap();
    std::fs::write(inner.join("a.txt"), "hello").unwrap();
    std::fs::write(inner.join("big.txt"), "x".repeat(65)).unwrap();
    std::fs::write(inner.join("t.tftpl"), "${name}: %{ for x in list }<${x}>%{ endfor }").unwrap();
    std::fs::write(inner.join("loop.tftpl"), "${templatefile(\"loop.tftpl\", {})}").unwrap();
    std::os::unix::fs::symlink("../secret.txt", inner.join("link.txt")).unwrap();
    outer
}

#[test]
fn nothing_outside_of_the_folder_is_read() {
    let outer = folder();
    let inner = outer.path().join("in");
    assert_eq!(evaluate(&inner, "file(\"a.txt\")", false).unwrap().as_str(), Some("hello"));
    assert_eq!(evaluate(&inner, "file(\"./sub/../a.txt\")", false).unwrap().as_str(), Some("hello"));
    for path in ["../secret.txt", "/etc/hostname", "link.txt", "~/x", "big.txt"] {
        let value = evaluate(&inner, &format!("file(\"{path}\")"), false).unwrap();
        assert_eq!(value.cause().map(|c| c.kind), Some(CauseKind::NotAnalysed), "{path}: {value:?}");
        let there = evaluate(&inner, &format!("fileexists(\"{path}\")"), false).unwrap();
        assert!(!there.is_known() || path == "big.txt", "{path}");
    }
}

#[test]
fn a_missing_file_is_an_error_at_the_argument() {
    let outer = folder();
    for text in ["file(\"none.txt\")", "templatefile(\"none.tftpl\", {})", "filesha256(\"none.txt\")"] {
        let failure = evaluate(&outer.path().join("in"), text, false).unwrap_err();
        assert!(failure.message.contains("no file exists"), "{failure}");
        assert_eq!(failure.site.start as usize, text.find('"').unwrap(), "{text}");
    }
}

#[test]
fn templates_are_rendered_once_and_not_inside_of_templates() {
    let outer = folder();
    let inner = outer.path().join("in");
    let value = evaluate(&inner, "templatefile(\"t.tftpl\", {name = \"n\", list = [1, 2]})", false).unwrap();
    assert_eq!(value.as_str(), Some("n: <1><2>"));
    let missing = evaluate(&inner, "templatefile(\"t.tftpl\", {name = \"n\"})", false).unwrap_err();
    assert!(missing.message.contains("list"), "{missing}");
    assert!(evaluate(&inner, "templatefile(\"loop.tftpl\", {})", false).is_err());
}

#[test]
fn later_versions_leave_out_the_side_that_does_not_matter() {
    let outer = folder();
    for text in ["false && tobool(\"x\")", "true || tobool(\"x\")"] {
        assert!(evaluate(outer.path(), text, false).is_err(), "{text}");
        assert_eq!(evaluate(outer.path(), text, true).unwrap().as_bool(), Some(text.starts_with("true")), "{text}");
    }
}
