//! The parser against Terraform: the judge is `terraform fmt`, whose verdicts are written down.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may end at once, and says why it was skipped")]

use std::path::{Path, PathBuf};

use sampan_validator::ast::{Ast, Expr};
use sampan_validator::diagnostic::{Diagnostic, Reason};
use sampan_validator::parse::{parse, parse_expression, parse_template};

fn read(text: &str) -> (Ast, Vec<Diagnostic>) {
    parse(text.as_bytes())
}

fn messages(text: &str) -> Vec<String> {
    read(text).1.into_iter().map(|d| d.message).collect()
}

/// Every range lies in the text and in the range around it.
fn check_spans(ast: &Ast, text: &[u8]) {
    for id in ast.ids() {
        let span = ast.span(id);
        assert!(span.start <= span.end && span.end as usize <= text.len(), "{span:?}");
        ast.expr(id).children(&mut |child| assert!(span.contains(ast.span(child)), "{id:?} {span:?}"));
    }
}

fn cases() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hcl-syntax-cases");
    let folder = std::env::var_os("SAMPAN_SYNTAX_CASES").map_or(beside, PathBuf::from);
    folder.join("verdicts.tsv").is_file().then_some(folder)
}

#[test]
fn every_verdict_is_that_of_terraform() {
    let Some(folder) = cases() else {
        println!("skipped: SAMPAN_SYNTAX_CASES names no folder with verdicts.tsv");
        return;
    };
    let table = std::fs::read_to_string(folder.join("verdicts.tsv")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let text = std::fs::read(folder.join(columns[0])).unwrap();
        let (ast, diagnostics) = parse(&text);
        check_spans(&ast, &text);
        count += 1;
        let ours = match diagnostics.first().map(|d| d.reason) {
            None => "accepts",
            Some(Reason::Syntax) => "rejects",
            Some(Reason::Limit) => continue,
        };
        if ours != columns[1] {
            wrong.push(format!("{}: terraform {}, we {ours}: {diagnostics:?}", columns[0], columns[1]));
        }
    }
    assert!(count > 90 && wrong.is_empty(), "{count} cases\n{}", wrong.join("\n"));
}

#[test]
fn several_errors_are_said_and_every_good_item_is_kept() {
    let text = r#"
resource "a" "one" {
  x = = 1
  y = 2
}
resource "a" "two" {
  z = [1, 2
}
locals {
  good = "yes"
  bad  = "no
}
variable "last" {}
"#;
    let (ast, diagnostics) = read(text);
    let lines = sampan_validator::source::Lines::new(text.as_bytes());
    let at: Vec<u32> = diagnostics.iter().map(|d| lines.line(d.span.start)).collect();
    assert_eq!(at, [3, 8, 11], "{diagnostics:?}");
    let blocks: Vec<&str> = ast.body.blocks.iter().map(|b| &*b.kind.text).collect();
    assert_eq!(blocks, ["resource", "resource", "locals", "variable"]);
    assert_eq!(ast.body.blocks[0].body.attributes.len(), 2, "x is set, to something that cannot be read");
    assert!(ast.body.blocks[2].body.attribute("good").is_some());
}

#[test]
fn a_brace_that_is_never_closed_costs_one_item() {
    let text = "resource \"a\" \"b\" {\n  x = {\n    y = 1\n}\n\nresource \"c\" \"d\" {\n  z = 1\n}\nv = ${\nw = 1\n";
    let (ast, diagnostics) = read(text);
    assert_eq!(diagnostics[0].message, "\"{\" is never closed");
    assert_eq!(ast.body.blocks.len(), 1, "{diagnostics:?}");
    assert_eq!(ast.body.blocks[0].label(0), Some("c"));
    assert!(ast.body.attribute("w").is_some(), "{diagnostics:?}");
}

#[test]
fn messages_say_what_was_found_and_where_a_bracket_was_opened() {
    assert_eq!(messages("a = 'x'\n"), ["found ', strings are quoted with \""]);
    assert_eq!(messages("a = [1 2]\n"), ["found \"2\", want \",\" or \"]\" after an element"]);
    assert_eq!(messages("a = f(1\nb = 2\n")[0], "found \"b\", want \",\" or \")\" after an argument");
    assert_eq!(read("a = (1\nb = 2\n").1[0].related.as_ref().unwrap().0.start, 4);
    assert_eq!(messages("a = 1.2.3\n"), ["1.2.3 is no number; text goes in quotes"]);
    assert_eq!(messages("a = 1 b = 2\n"), ["found \"b\", want a new line after the argument"]);
    assert_eq!(messages("a = 1 & 2\n").len(), 1);
    assert_eq!(messages("a = 1\na = 2\n"), ["\"a\" is set twice"]);
}

#[test]
fn depth_is_bounded_and_a_limit_is_no_error_of_the_user() {
    for (open, middle, close) in
        [("(", "1", ")"), ("[", "", "]"), ("{a=", "1", "}"), ("!", "true", ""), ("\"${", "1", "}\"")]
    {
        for depth in [200, 10_000, 100_000] {
            let text = format!("a = {}{middle}{}\nb = 1\n", open.repeat(depth), close.repeat(depth));
            let (ast, diagnostics) = read(&text);
            let limited = diagnostics.iter().all(|d| d.reason == Reason::Limit);
            assert!(limited && diagnostics.len() == usize::from(depth > 256), "{open} {depth}: {diagnostics:?}");
            assert!(ast.body.attribute("a").is_some() && ast.body.attribute("b").is_some(), "{open} {depth}");
        }
    }
    let blocks = format!("{}{}c {{}}\n", "b {\n".repeat(10_000), "}\n".repeat(10_000));
    let (ast, diagnostics) = read(&blocks);
    assert!(diagnostics.len() == 1 && diagnostics[0].reason == Reason::Limit, "{diagnostics:?}");
    assert_eq!(ast.body.blocks.len(), 2);
    for chain in [" && x", " ? y : z", "[*].x", ".a", "[0]"] {
        let text = format!("a = x{}\n", chain.repeat(20_000));
        let (ast, diagnostics) = read(&text);
        assert!(diagnostics.iter().all(|d| d.reason == Reason::Limit), "{chain}: {diagnostics:?}");
        assert!(ast.ids().all(|id| ast.height(id) <= sampan_validator::ast::MAX_HEIGHT));
    }
}

#[test]
fn a_large_object_is_read_whole() {
    let entries: String = (0..20_000).map(|i| format!("  k{i} = {i}\n")).collect();
    let (ast, diagnostics) = read(&format!("a = {{\n{entries}}}\n"));
    assert_eq!(diagnostics, []);
    let Expr::Object(entries) = ast.expr(ast.body.attribute("a").unwrap().value) else { panic!("no object") };
    assert_eq!(entries.len(), 20_000);
}

#[test]
fn bytes_that_are_no_text_are_said_except_in_comments() {
    let (ast, diagnostics) = parse(b"# \xff\na = \"\xfe\xfe\"\nb = 1\n");
    assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
    assert!(ast.body.attribute("b").is_some());
    assert!(parse(&[0xff; 4096]).1.len() <= 102);
    let (_, diagnostics) = parse(&(0..=255).cycle().take(65536).map(|b: u32| b as u8).collect::<Vec<_>>());
    assert!(!diagnostics.is_empty() && diagnostics.len() < 400);
}

#[test]
fn no_prefix_and_no_cut_of_a_text_makes_the_parser_panic() {
    let text = "\u{feff}resource \"a\" \"b\" {\n  x = <<-E\n    ${f(\"a\\u00e9\", [for k, v in y : k if v]...)}\n  %{ if a ~}\n  b\n  %{ endif }\n  E\n  z = {for k in y : (k) => v...}[*].a.0 /* c */ # d\n}\r\n";
    for cut in 0..=text.len() {
        let bytes = text.as_bytes();
        let (ast, _) = parse(&bytes[..cut]);
        check_spans(&ast, &bytes[..cut]);
        parse(&bytes[cut..]);
        let mut holed = bytes.to_vec();
        if cut < holed.len() {
            holed.remove(cut);
        }
        let (ast, _) = parse(&holed);
        check_spans(&ast, &holed);
    }
}

#[test]
fn texts_inside_of_texts_have_their_own_entry() {
    let (ast, id, diagnostics) = parse_expression(b"{ a = [1,\n 2] }");
    assert!(matches!(ast.expr(id.unwrap()), Expr::Object(_)) && diagnostics.is_empty());
    assert!(parse_expression(b"1 2").1.is_none());
    let (ast, id, _) = parse_template(b"a ${b}\nE\n\"c\"");
    let Expr::Template(template) = ast.expr(id.unwrap()) else { panic!("no template") };
    assert_eq!(template.parts.len(), 3);
    assert!(parse_template(b"a ${").1.is_none());
}

#[test]
fn the_text_of_templates_is_that_of_terraform() {
    // Each was applied by Terraform 1.11.4 as an output.
    let text = |source: &str| {
        let (ast, diagnostics) = read(source);
        assert_eq!(diagnostics, []);
        let id = ast.body.attribute("a").unwrap().value;
        match ast.expr(id) {
            Expr::Template(t) => format!("{:?}", t.parts.iter().map(shown).collect::<Vec<_>>()),
            _ => ast.string(id).unwrap().to_owned(),
        }
    };
    assert_eq!(text(r#"a = "$$${1}|$${x}|$$$${x}|%%{x}|100%|a$""#), "$${1}|${x}|$$${x}|%{x}|100%|a$");
    assert_eq!(text("a = <<E\r\nhello\r\nE\r\n"), "hello\r\n");
    assert_eq!(text("a = <<-E\n    x\n\n      y\n  E\n"), "x\n\n  y\n");
    let trimmed = "a = <<-E\n    a\n      ${\"b\"} ~\n    %{~ if true ~}\n    y\n    %{~ endif ~}\n  E\n";
    assert_eq!(text(trimmed), r#"["    a\n      ", "?", " ~\n", "if [    y\n]", ""]"#);
    assert_eq!(text("a = \"x ${~ y ~} z\""), r#"["x", "?", "z"]"#);
}

fn shown(part: &sampan_validator::ast::Part) -> String {
    use sampan_validator::ast::Part;
    match part {
        Part::Literal(text, _) => text.to_string(),
        Part::Interpolation(_) => "?".into(),
        Part::If { yes, .. } => format!("if [{}]", yes.iter().map(shown).collect::<String>()),
        Part::For { body, .. } => format!("for [{}]", body.iter().map(shown).collect::<String>()),
    }
}
