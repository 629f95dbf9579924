//! `sampan lsp`: what an editor hears of a text that is not saved.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::path::Path;

use common::editor::{Editor, brief};
use common::{run, sampan, text};
use serde_json::{Value, json};

const GOOD: &str = "resource \"sampan_namespace\" \"shop\" {\n  name = \"shop\"\n}\n";
const BAD: &str = "resource \"sampan_application\" \"api\" {\n  namespace = \"shop\"\n  name      = \"api\"\n  replica   = 2\n  \
                   resources = { cpu = \"1\", memory = \"1Gi\" }\n  container = { image = \"registry.example.com/api:latest\" }\n}\n";

#[test]
fn findings_follow_the_text_with_its_version_and_go_when_it_is_right_or_closed() {
    let mut editor = Editor::open_folder(&[("main.tf", GOOD)]);
    editor.open("main.tf", 1, GOOD);
    assert_eq!(brief(&editor.diagnostics("main.tf", Some(1))), [] as [&str; 0]);
    // The disk still has the good text.
    editor.change("main.tf", 2, None, "resource \"sampan_namespace\" \"shop\" {\n  nam = \"shop\"\n}\n");
    let found = editor.diagnostics("main.tf", Some(2));
    assert_eq!(brief(&found), ["0:0-0:34 1 SMP001", "1:2-1:5 1 SMP008"]);
    assert!(found[1]["message"].as_str().unwrap().ends_with("did you mean \"name\"?"), "{found:#?}");
    assert!(found[1].get("codeDescription").is_none() && found[1]["source"] == "sampan");
    editor.change("main.tf", 3, Some([1, 5, 1, 5]), "e");
    assert_eq!(brief(&editor.diagnostics("main.tf", Some(3))), [] as [&str; 0]);
    editor.change("main.tf", 4, Some([1, 2, 1, 6]), "colour");
    assert_eq!(editor.diagnostics("main.tf", Some(4)).len(), 2);
    editor.close("main.tf");
    assert_eq!(brief(&editor.diagnostics("main.tf", None)), [] as [&str; 0], "the disk is right, and nobody looks");
}

#[test]
fn each_syntax_error_of_a_file_is_shown_and_the_rest_is_still_judged() {
    let broken = "a = = 1\n\nresource \"sampan_namespace\" \"shop\" {\n  name = \"Shop\"\n}\n\nb {\n  c = [1\n}\n";
    let mut editor = Editor::open_folder(&[]);
    editor.open("main.tf", 1, broken);
    let found = brief(&editor.diagnostics("main.tf", Some(1)));
    assert_eq!(found.iter().filter(|line| line.ends_with("1 SMP900")).count(), 2, "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("3:9-3:15 1 SMP0")), "{found:?}");
}

#[test]
fn columns_count_utf16_units() {
    let text = "locals {\n  a = { \"\u{1f600}é\" = \"${1}\" }\n}\noutput \"a\" {\n  value = local.a\n}\n";
    let mut editor = Editor::open_folder(&[]);
    editor.open("main.tf", 1, text);
    // The smile is two units, as in the editor, and four bytes.
    assert_eq!(brief(&editor.diagnostics("main.tf", Some(1))), ["1:16-1:22 2 SMP903"]);
    // Behind the smile: its units are counted on the way in as well.
    editor.change("main.tf", 2, Some([1, 16, 1, 22]), "1");
    assert_eq!(brief(&editor.diagnostics("main.tf", Some(2))), [] as [&str; 0]);
    editor.change("main.tf", 3, Some([1, 9, 1, 11]), "\u{1f680}\u{1f680}\" = \"${2}\", \"");
    assert_eq!(brief(&editor.diagnostics("main.tf", Some(3))), ["1:17-1:23 2 SMP903"]);
}

#[test]
fn many_changes_in_a_row_are_made_in_order_and_the_last_text_counts() {
    let mut editor = Editor::open_folder(&[("main.tf", GOOD)]);
    editor.open("main.tf", 1, "");
    // Letter by letter, as somebody types.
    let mut version = 1;
    let (mut line, mut column) = (0, 0);
    for letter in BAD.chars() {
        version += 1;
        editor.change("main.tf", version, Some([line, column, line, column]), &letter.to_string());
        (line, column) = if letter == '\n' { (line + 1, 0) } else { (line, column + 1) };
    }
    let typed = editor.diagnostics("main.tf", Some(version));
    assert_eq!(brief(&typed)[0], "3:2-3:9 1 SMP008");
    // Several changes in one message, each counted in the text that the one before has left.
    let changes = json!([
        { "range": { "start": { "line": 3, "character": 9 }, "end": { "line": 3, "character": 9 } }, "text": "s" },
        { "range": { "start": { "line": 5, "character": 55 }, "end": { "line": 5, "character": 61 } }, "text": "1" },
        { "range": { "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 0 } }, "text": "# top\n" },
    ]);
    let document = json!({ "uri": editor.uri("main.tf"), "version": version + 1 });
    editor.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
    let after = brief(&editor.diagnostics("main.tf", Some(version + 1)));
    assert!(!after.iter().any(|line| line.contains("SMP008") || line.contains("SMP301")), "{after:?}");
    // Nothing was ever said of a version after a later one.
    editor.ask("shutdown", Value::Null);
    editor.tell("exit", Value::Null);
    let (_, said) = editor.exit_code();
    let versions: Vec<i64> = said.iter().filter_map(|m| m["params"]["version"].as_i64()).collect();
    assert!(versions.is_sorted() && versions.last().is_none_or(|last| *last <= i64::from(version)), "{versions:?}");
}

/// The files of a folder by their path in it.
fn files_below(folder: &Path, prefix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path(), &format!("{name}/")));
        } else {
            found.push((name, std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn what_lint_says_of_a_file_on_disk_is_what_the_server_says_of_the_same_text_unsaved() {
    for (tree, at_least) in [("schema", 50), ("lint", 30), ("broken", 1)] {
        let files = files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../validator/tests/bad").join(tree), "");
        let (open, closed): (Vec<_>, Vec<_>) =
            files.iter().partition(|(name, _)| name.ends_with(".tf") && !name.contains('/'));
        // Nothing of what is open is on the disk.
        let on_disk: Vec<(&str, &str)> = closed.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mut editor = Editor::open_folder(&on_disk);
        for (name, text) in &open {
            editor.open(name, 1, text);
        }
        // Files are told of in the order of their names, so the others have come when the last one has its second version.
        let (last, text) = open.last().unwrap();
        editor.change(last, 2, None, text);
        let mut seen: Vec<String> = editor.diagnostics(last, Some(2)).iter().map(|found| told(last, found)).collect();
        for (name, _) in files.iter().filter(|(name, _)| name != last) {
            seen.extend(editor.last_diagnostics(name).iter().map(|found| told(name, found)));
        }
        for (name, text) in &open {
            std::fs::write(editor.path(name), text).unwrap();
        }
        let output = run(sampan(&["lint", "--format", "json"]).arg(editor.folder.path()).current_dir("/"));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = report["findings"].as_array().unwrap().iter().filter(|f| f["undetermined"] == false);
        let mut want: Vec<String> = found.map(|finding| reported(finding, editor.folder.path())).collect();
        assert!(want.len() >= at_least, "{tree}: {want:?}");
        seen.sort();
        want.sort();
        assert_eq!(seen, want, "{tree}");
    }
}

/// A diagnostic as one line.
fn told(name: &str, found: &Value) -> String {
    let start = &found["range"]["start"];
    let (line, column) = (start["line"].as_u64().unwrap() + 1, start["character"].as_u64().unwrap() + 1);
    let (rule, message) = (found["code"].as_str().unwrap(), found["message"].as_str().unwrap());
    format!("{name}:{line}:{column} {} {rule} {message}", found["severity"])
}

/// A finding of the report in JSON as the same line.
fn reported(finding: &Value, folder: &Path) -> String {
    let name = Path::new(finding["file"].as_str().unwrap()).strip_prefix(folder).unwrap().display().to_string();
    let severity = ["", "error", "warning", "note"].iter().position(|word| finding["severity"] == *word).unwrap();
    let (rule, message) = (finding["rule"].as_str().unwrap(), finding["message"].as_str().unwrap());
    format!("{name}:{}:{} {severity} {rule} {message}", finding["line"], finding["column"])
}

#[test]
fn the_file_of_settings_counts_as_it_does_for_lint() {
    let settings = "rule \"SMP301\" {\n  severity = \"error\"\n}\nper_path \"old/**\" {\n  ignore = [\"SMP301\"]\n}\nvar_file = [\"env.tfvars\"]\n";
    let app = |image: &str| {
        format!(
            "variable \"tag\" {{\n  type = string\n}}\n{}",
            BAD.replace("\"registry.example.com/api:latest\"", image).replace("  replica   = 2\n", "")
        )
    };
    let text = app("\"registry.example.com/api:${var.tag}\"");
    let mut editor = Editor::open_folder(&[
        (".sampanlint.hcl", settings),
        ("env.tfvars", "tag = \"latest\"\n"),
        ("old/main.tf", ""),
        ("new/main.tf", ""),
    ]);
    let rules = |found: Vec<Value>| -> Vec<String> {
        found.iter().map(|d| format!("{} {}", d["severity"], d["code"].as_str().unwrap())).collect()
    };
    editor.open("new/main.tf", 1, &text);
    assert!(rules(editor.diagnostics("new/main.tf", Some(1))).contains(&"1 SMP301".to_owned()));
    editor.open("old/main.tf", 1, &text);
    let old = rules(editor.diagnostics("old/main.tf", Some(1)));
    assert!(!old.iter().any(|rule| rule.ends_with("SMP301")) && !old.is_empty(), "{old:?}");
    // A value that is not known is nothing to show.
    std::fs::write(editor.path(".sampanlint.hcl"), "root = true\n").unwrap();
    editor.tell("textDocument/didSave", json!({ "textDocument": { "uri": editor.uri("new/main.tf") } }));
    let unknown = rules(editor.diagnostics("new/main.tf", Some(1)));
    assert!(!unknown.iter().any(|rule| rule.ends_with("SMP301")), "{unknown:?}");
    // Settings that are wrong end what is shown, and the reason is told once.
    std::fs::write(editor.path(".sampanlint.hcl"), "colour = 1\n").unwrap();
    editor.tell("workspace/didChangeWatchedFiles", json!({ "changes": [] }));
    assert!(editor.diagnostics("new/main.tf", Some(1)).is_empty());
    let message = editor.wait("message", |m| m["method"] == "window/showMessage");
    assert!(message["params"]["message"].as_str().unwrap().contains(":1: there is no setting \"colour\""), "{message}");
}

#[test]
fn values_in_a_file_that_is_not_saved_count_until_it_is_closed() {
    let app = BAD.replace("replica   = 2", "replicas  = var.replicas").replace(":latest", ":1");
    let main = format!("variable \"replicas\" {{\n  type = number\n}}\n{app}");
    let mut editor = Editor::open_folder(&[("main.tf", &main), ("a.auto.tfvars", "replicas = 1\n")]);
    let range = |found: &[Value]| found.iter().find(|d| d["code"] == "SMP006").cloned();
    editor.open("main.tf", 1, &main);
    assert_eq!(range(&editor.diagnostics("main.tf", Some(1))), None);
    // One that there is, and one that there is not yet and that comes later.
    editor.open("a.auto.tfvars", 1, "replicas = -1\n");
    let found = range(&editor.diagnostics("main.tf", Some(1))).unwrap();
    assert_eq!(found["relatedInformation"][0]["location"]["uri"], editor.uri("a.auto.tfvars"), "{found:#}");
    editor.open("b.auto.tfvars", 1, "replicas = 2\n");
    assert_eq!(range(&editor.diagnostics("main.tf", Some(1))), None);
    editor.change("b.auto.tfvars", 2, None, "replicas = -2\n");
    let found = range(&editor.diagnostics("main.tf", Some(1))).unwrap();
    assert!(found["message"].as_str().unwrap().contains("-2"), "{found:#}");
    editor.close("b.auto.tfvars");
    let found = range(&editor.diagnostics("main.tf", Some(1))).unwrap();
    assert!(found["message"].as_str().unwrap().contains("-1"), "{found:#}");
    editor.close("a.auto.tfvars");
    assert_eq!(range(&editor.diagnostics("main.tf", Some(1))), None);
}

#[test]
fn a_module_that_is_called_is_judged_as_it_is_called_and_follows_its_caller() {
    let child = format!(
        "variable \"image\" {{\n  type = string\n}}\n{}",
        BAD.replace("\"registry.example.com/api:latest\"", "var.image").replace("  replica   = 2\n", "")
    );
    let call = |tag: &str| {
        format!("module \"a\" {{\n  source = \"./child\"\n  image  = \"registry.example.com/api:{tag}\"\n}}\n")
    };
    let mut editor = Editor::open_folder(&[("main.tf", &call("1")), ("child/main.tf", &child)]);
    editor.open("main.tf", 1, &call("latest"));
    let of_child = editor.diagnostics("child/main.tf", None);
    let floating = of_child.iter().find(|d| d["code"] == "SMP301").unwrap();
    assert_eq!(floating["relatedInformation"][0]["location"]["uri"], editor.uri("main.tf"), "{floating:#}");
    // The child is changed and not saved; its caller knows.
    editor.open("child/main.tf", 7, &child.replace("var.image", "\"registry.example.com/api:1\""));
    assert!(!editor.diagnostics("child/main.tf", Some(7)).iter().any(|d| d["code"] == "SMP301"));
    editor.change("child/main.tf", 8, None, &child);
    assert!(editor.diagnostics("child/main.tf", Some(8)).iter().any(|d| d["code"] == "SMP301"));
    editor.change("main.tf", 2, None, &call("2"));
    editor.diagnostics("main.tf", Some(2));
    let again = editor.diagnostics("child/main.tf", Some(8));
    assert!(!again.iter().any(|d| d["code"] == "SMP301"), "{again:#?}");
}

/// Markdown of the hover at the first place of `word`, or at the letter after `|` in it.
fn hover(editor: &mut Editor, name: &str, text: &str, word: &str) -> String {
    let (line, column) = place(text, word);
    let at = editor.at(name, line, column);
    let hover = editor.ask("textDocument/hover", at);
    hover["contents"]["value"].as_str().unwrap_or_default().to_owned()
}

/// Line and UTF-16 unit of a word in a text, from 0; of the letter after `|`, if it has one.
fn place(text: &str, word: &str) -> (u32, u32) {
    let offset = word.find('|').unwrap_or(0);
    let word = word.replacen('|', "", 1);
    place_of(text, text.find(&word).unwrap_or_else(|| panic!("{word} is not in the text")) + offset)
}

/// Line and UTF-16 unit of a byte, from 0.
fn place_of(text: &str, at: usize) -> (u32, u32) {
    let line = text[..at].rsplit('\n').next().unwrap();
    (text[..at].matches('\n').count() as u32, line.encode_utf16().count() as u32)
}

#[test]
fn hover_says_what_an_argument_is_what_it_is_now_and_where_that_comes_from() {
    let text = "variable \"count_of\" {\n  type        = number\n  description = \"How many.\"\n}\n\
                variable \"key\" {\n  type      = string\n  sensitive = true\n}\n\
                locals {\n  image = \"registry.example.com/api:1\"\n}\n\
                resource \"sampan_application\" \"api\" {\n  for_each  = { a = 1, b = 2 }\n  namespace = \"shop\"\n  \
                name      = each.key # sampan:ignore SMP301,SMP006 reason=\"x\"\n  replicas  = var.count_of\n  \
                resources = { cpu = \"1\", memory = \"1Gi\" }\n  container = {\n    image = local.image\n    \
                env = { \"K\" = \"\u{1f600}${var.key}\", L = var.count_of }\n  }\n}\n\
                resource \"sampan_secret\" \"s\" {\n  namespace = \"shop\"\n  name = \"s\"\n  data_wo = { A = \"hunter2\" }\n}\n";
    let mut editor = Editor::open_folder(&[("terraform.tfvars", "# values\ncount_of = 3\n")]);
    editor.open("main.tf", 1, text);
    let said = hover(&mut editor, "main.tf", text, "repli|cas");
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/resources/application.md"))
        .unwrap();
    let line = page.lines().find(|line| line.starts_with("- `replicas` (Number) ")).unwrap();
    let of_page = line.strip_prefix("- `replicas` (Number) ").unwrap();
    assert!(said.starts_with(&format!("`replicas` (Number)\n\n{of_page}\n\nValue: `3`")), "{said}");
    assert!(said.contains("Change: `scale`."), "{said}");
    assert!(said.contains(&format!("from [terraform.tfvars:2]({}#L2)", editor.uri("terraform.tfvars"))), "{said}");
    let said = hover(&mut editor, "main.tf", text, "|image = local");
    assert!(said.starts_with("`container.image` (String, Required)"), "{said}");
    assert!(
        said.contains("Value: `\"registry.example.com/api:1\"` in the first of 2 instances, from [main.tf:"),
        "{said}"
    );
    assert!(hover(&mut editor, "main.tf", text, "sampan_appl|ication").contains("runs in a number of isolated"));
    assert!(hover(&mut editor, "main.tf", text, "each.|key").contains("Value: `\"a\"` in the first of 2"));
    let said = hover(&mut editor, "main.tf", text, "var.count_o|f }");
    assert!(said.starts_with("`var.count_of`\n\nHow many.\n\nValue: `3`"), "{said}");
    // What is secret is not repeated, and what is not known says what it waits for.
    let said = hover(&mut editor, "main.tf", text, "data_|wo");
    assert!(said.contains("Write-only") && !said.contains("hunter2"), "{said}");
    assert!(!hover(&mut editor, "main.tf", text, "A| = \"hunter2\"").contains("hunter2"));
    let said = hover(&mut editor, "main.tf", text, "var.k|ey");
    assert!(said.contains("sensitive, so it is not shown"), "{said}");
    let now = &text.replace("= local.image", "= var.tag").replace("locals {", "variable \"tag\" {}\nlocals {");
    editor.change("main.tf", 2, None, now);
    assert!(hover(&mut editor, "main.tf", now, "var.ta|g").contains("Value: not known before `var.tag` is"));
    // The text of a rule, of the linter and of the schema.
    assert!(hover(&mut editor, "main.tf", now, "SMP|301").starts_with("# SMP301: floating-image"));
    assert!(hover(&mut editor, "main.tf", now, "SMP|006").contains("outside of its range"));
    for nothing in ["|locals", "type  |", "resource| \"sampan_secret"] {
        assert_eq!(hover(&mut editor, "main.tf", now, nothing), "", "{nothing}");
    }
    let beyond = editor.at("main.tf", 9_999, 9_999);
    assert_eq!(editor.ask("textDocument/hover", beyond), Value::Null);
    let closed = editor.at("closed.tf", 0, 0);
    assert_eq!(editor.ask("textDocument/hover", closed), Value::Null);
    let wrong = editor.begin("textDocument/hover", json!({ "position": 1 }));
    assert_eq!(editor.answer(&wrong.into())["error"]["code"], -32602);
}

/// Titles of the actions at a word, with the whole actions.
fn actions(editor: &mut Editor, name: &str, text: &str, word: &str) -> Vec<(String, Value)> {
    let (line, character) = place(text, word);
    let here = json!({ "line": line, "character": character });
    let range = json!({ "start": here, "end": here });
    let params =
        json!({ "textDocument": { "uri": editor.uri(name) }, "range": range, "context": { "diagnostics": [] } });
    let all = editor.ask("textDocument/codeAction", params);
    let all = all.as_array().unwrap().iter();
    all.map(|action| (action["title"].as_str().unwrap().to_owned(), action.clone())).collect()
}

/// A text after the edits of an action, which do not overlap.
fn applied(text: &str, action: &Value, uri: &str) -> String {
    let mut edits = action["edit"]["changes"][uri].as_array().unwrap().clone();
    edits.sort_by_key(|edit| (edit["range"]["start"]["line"].as_u64(), edit["range"]["start"]["character"].as_u64()));
    let mut text = text.to_owned();
    for edit in edits.iter().rev() {
        let byte = |at: &Value| {
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let line = at["line"].as_u64().unwrap() as usize;
            let units: Vec<u16> = lines.get(line).unwrap_or(&"").encode_utf16().collect();
            let before = String::from_utf16(&units[..at["character"].as_u64().unwrap() as usize]).unwrap();
            lines[..line.min(lines.len())].iter().map(|line| line.len()).sum::<usize>() + before.len()
        };
        let (start, end) = (byte(&edit["range"]["start"]), byte(&edit["range"]["end"]));
        text.replace_range(start..end, edit["newText"].as_str().unwrap());
    }
    text
}

#[test]
fn an_action_makes_the_safe_fix_or_a_comment_whose_reason_is_still_to_be_written() {
    let text = "variable \"a\" {\n  type = string\n}\noutput \"a\" {\n  value = { \"\u{1f600}\" = \"${var.a}\" }\n}\n\
                resource \"sampan_application\" \"api\" {\n  namespace = \"shop\"\n  name      = \"api\"\n  \
                resources = { cpu = \"1\", memory = \"1Gi\" }\n  container = {\n    image = \"registry.example.com/api:latest\"\n  }\n}\n";
    let mut editor = Editor::open_folder(&[]);
    let uri = editor.uri("main.tf");
    editor.open("main.tf", 1, text);
    // Asked at once: the answer waits for what is judged of this very text.
    let found = actions(&mut editor, "main.tf", text, "${v|ar.a}");
    let titles: Vec<&str> = found.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(titles, ["remove the quotes around the expression (SMP903)", "ignore SMP903 here, with a reason"]);
    assert_eq!(found[0].1["kind"], "quickfix");
    assert_eq!((&found[0].1["isPreferred"], &found[1].1["isPreferred"]), (&json!(true), &json!(false)));
    assert_eq!(found[0].1["diagnostics"][0]["code"], "SMP903");
    let fixed = applied(text, &found[0].1, &uri);
    assert_eq!(fixed, text.replace("\"${var.a}\"", "var.a"));
    editor.change("main.tf", 2, None, &fixed);
    assert!(actions(&mut editor, "main.tf", &fixed, "var|.a").is_empty());
    // A comment without a reason takes nothing away, and says what it lacks.
    let found = actions(&mut editor, "main.tf", &fixed, "api:lat|est");
    let (_, ignore) = found.iter().find(|(title, _)| title.starts_with("ignore SMP301")).unwrap();
    let ignored = applied(&fixed, ignore, &uri);
    assert!(ignored.contains("{\n    # sampan:ignore SMP301 reason=\"\"\n    image = "), "{ignored}");
    editor.change("main.tf", 3, None, &ignored);
    let rules = |found: &[Value]| -> Vec<String> {
        found
            .iter()
            .map(|d| d["code"].as_str().unwrap().to_owned())
            .filter(|id| id == "SMP301" || id == "SMP604")
            .collect()
    };
    assert_eq!(rules(&editor.diagnostics("main.tf", Some(3))), ["SMP604", "SMP301"]);
    let of_comment = actions(&mut editor, "main.tf", &ignored, "sampan:ig|nore");
    assert!(of_comment.iter().all(|(title, _)| !title.contains("SMP604")), "{of_comment:?}");
    editor.change("main.tf", 4, None, &ignored.replace("reason=\"\"", "reason=\"nightly\""));
    assert_eq!(rules(&editor.diagnostics("main.tf", Some(4))), [] as [&str; 0]);
    // What may not be ignored has no such action.
    let broken = "a = = 1\n";
    editor.change("main.tf", 5, None, broken);
    assert!(actions(&mut editor, "main.tf", broken, "|= = 1").is_empty());
}

#[test]
fn answers_have_the_form_that_the_client_can_take_also_when_it_has_cancelled() {
    let mut editor = Editor::start(&[("main.tf", GOOD)]);
    let hover = json!({ "hover": { "contentFormat": ["plaintext"] } });
    let versioned = json!({ "workspace": { "workspaceEdit": { "documentChanges": true } }, "textDocument": hover });
    editor.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": versioned }));
    let text = "locals {\n  a = <<-E\n    x ${1}\n    y ${var.b.0}\n  E\n}\noutput \"a\" {\n  value = local.a\n}\nvariable \"b\" {\n  type = list(string)\n}\n";
    let range = json!({ "start": { "line": 3, "character": 0 }, "end": { "line": 3, "character": 20 } });
    let mut params =
        json!({ "textDocument": { "uri": editor.uri("main.tf") }, "range": range, "context": { "diagnostics": [] } });
    editor.open("main.tf", 3, text);
    // Answered by either: it was cancelled in time or it was not.
    let id = editor.begin("textDocument/codeAction", params.clone());
    editor.tell("$/cancelRequest", json!({ "id": id }));
    let answer = editor.answer(&id.into());
    assert!(answer["error"]["code"] == -32800 || answer["result"].is_array(), "{answer}");
    let all = editor.ask("textDocument/codeAction", params.clone());
    let edit = &all[0]["edit"]["documentChanges"][0];
    assert_eq!(edit["textDocument"]["version"], 3);
    assert_eq!(edit["edits"][0]["newText"], "[0]");
    // In a text of several lines a comment would be text, so it goes above the argument.
    let ignore = &all[1]["edit"]["documentChanges"][0]["edits"][0];
    assert_eq!(ignore["range"]["start"], json!({ "line": 1, "character": 0 }), "{all:#}");
    let at = editor.at("main.tf", 7, 13);
    assert_eq!(editor.ask("textDocument/hover", at)["contents"]["kind"], "plaintext");
    params["context"]["only"] = json!(["refactor"]);
    assert_eq!(editor.ask("textDocument/codeAction", params.clone()), json!([]));
    params["textDocument"]["uri"] = "untitled:1".into();
    assert_eq!(editor.ask("textDocument/codeAction", params), Value::Null);
}

/// Labels of what can be written at `|` in a text, which is not saved.
fn complete(editor: &mut Editor, version: i32, text: &str) -> Vec<Value> {
    let (line, column) = place_of(text, text.find('|').unwrap());
    editor.change("main.tf", version, None, &text.replacen('|', "", 1));
    let at = editor.at("main.tf", line, column);
    editor.ask("textDocument/completion", at).as_array().unwrap().clone()
}

fn labels(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["label"].as_str().unwrap()).collect()
}

#[test]
fn completion_offers_types_arguments_words_names_and_rules() {
    let application = |body: &str| {
        format!(
            "resource \"sampan_application\" \"api\" {{\n  namespace = \"shop\"\n{body}\n}}\nvariable \"size\" {{\n  description = \"Big.\"\n}}\n"
        )
    };
    let mut editor = Editor::open_folder(&[("more.tf", "locals {\n  tag = 1\n}\n")]);
    editor.open("main.tf", 1, "");
    let types = complete(&mut editor, 2, "resource \"sam|");
    assert!(
        labels(&types).contains(&"sampan_gray_policy") && types[0]["textEdit"]["range"]["start"]["character"] == 10
    );
    // Arguments that are not there yet, also in the middle of a word.
    let items = complete(&mut editor, 3, &application("  \u{1f600} = 1\n  rep|"));
    assert!(labels(&items).contains(&"replicas") && !labels(&items).contains(&"namespace"), "{:?}", labels(&items));
    let replicas = items.iter().find(|item| item["label"] == "replicas").unwrap();
    assert_eq!(replicas["textEdit"]["newText"], "replicas = ");
    assert_eq!(replicas["textEdit"]["range"]["start"], json!({ "line": 3, "character": 2 }));
    assert!(replicas["documentation"]["value"].as_str().unwrap().contains("Change: `scale`."), "{replicas}");
    assert!(labels(&items).contains(&"for_each"));
    let items = complete(&mut editor, 4, &application("  container = { image = \"x\", |}"));
    assert!(labels(&items).contains(&"env") && !labels(&items).contains(&"image"), "{:?}", labels(&items));
    let items =
        complete(&mut editor, 5, &application("  container = {\n    probes = {\n      readiness = {\n        pe|\n"));
    assert!(labels(&items).contains(&"period_seconds"), "{:?}", labels(&items));
    // A name that is changed keeps its value.
    let items = complete(&mut editor, 6, &application("  repl| = 3"));
    assert!(items.iter().any(|item| item["textEdit"]["newText"] == "replicas"), "{items:#?}");
    // Words, with quotes and without.
    for (version, value, end, written) in
        [(7, "\"|\"", " }", "Always"), (8, "\"Al|", "\n  }", "Always"), (9, "|", " }", "\"Always\"")]
    {
        let body = format!("  container = {{ image_pull_policy = {value}{end}");
        let items = complete(&mut editor, version, &application(&body));
        assert!(items.iter().any(|item| item["textEdit"]["newText"] == written), "{body}: {items:#?}");
    }
    let items = complete(&mut editor, 10, &application("  replicas = var.|"));
    assert_eq!((labels(&items), &items[0]["documentation"]["value"]), (vec!["size"], &json!("Big.")));
    let items = complete(&mut editor, 11, &application("  replicas = 1 + local.t|"));
    assert_eq!(labels(&items), ["tag"]);
    let rule = "resource \"sampan_scaling_rule\" \"r\" {\n  application = |\n}\n";
    let items = complete(&mut editor, 12, &format!("{}{rule}", application("")));
    assert_eq!(labels(&items), ["sampan_application.api.name"]);
    let items = complete(&mut editor, 13, &application("  replicas = 1 # sampan:ignore SMP301,SMP|"));
    assert!(labels(&items).contains(&"SMP302") && labels(&items).contains(&"SMP006"));
    assert!(!labels(&items).contains(&"SMP401"), "this one cannot be ignored");
    for (version, nothing) in [
        (14, "  replicas = 1 # sampan:ignore SMP301 reason=\"|\""),
        (15, "  lifecycle {\n    |\n  }"),
        (16, "  name = \"|\""),
    ] {
        let items = complete(&mut editor, version, &application(nothing));
        assert_eq!(labels(&items), [] as [&str; 0], "{nothing}");
    }
    assert!(complete(&mut editor, 17, "|").is_empty());
}

#[test]
fn definition_leads_to_variables_locals_resources_modules_and_their_outputs() {
    let child = "variable \"image\" {\n  type = string\n}\noutput \"url\" {\n  value = var.image\n}\n";
    let more = "variable \"tag\" {\n  type = string\n}\nlocals {\n  a = 1\n  image = \"api:${var.tag}\"\n}\n";
    let text = "module \"m\" {\n  source = \"./child\"\n  image  = local.image\n}\n\
                resource \"sampan_namespace\" \"shop\" {\n  name = var.tag\n}\ndata \"sampan_namespace\" \"d\" {\n  name = \"d\"\n}\n\
                output \"all\" {\n  value = [\"\u{1f600}${module.m.url}\", sampan_namespace.shop.name, data.sampan_namespace.d.id, upper(\"x\")]\n}\n";
    let mut editor = Editor::open_folder(&[("child/main.tf", child), ("child/a.tf", ""), ("more.tf", more)]);
    editor.open("main.tf", 1, text);
    for (word, want) in [
        ("var.t|ag", Some(("more.tf", 0))),
        ("local.im|age", Some(("more.tf", 5))),
        ("sampan_namespace.sh|op.name", Some(("main.tf", 4))),
        ("data.sampan_namespace.d.i|d", Some(("main.tf", 7))),
        ("module.|m.url", Some(("main.tf", 0))),
        ("module.m.u|rl", Some(("child/main.tf", 3))),
        ("\"./chi|ld\"", Some(("child/main.tf", 0))),
        ("im|age  =", Some(("child/main.tf", 0))),
        ("up|per", None),
        ("out|put", None),
    ] {
        let (line, column) = place(text, word);
        let at = editor.at("main.tf", line, column);
        let found = editor.ask("textDocument/definition", at);
        let found = (!found.is_null()).then(|| {
            let line = found["range"]["start"]["line"].as_u64().unwrap();
            (found["uri"].as_str().unwrap().to_owned(), line)
        });
        assert_eq!(found, want.map(|(name, line)| (editor.uri(name), line)), "{word}");
    }
    // Also in a text that was changed since it was judged, and in a file that is not saved.
    editor.open("more.tf", 1, &format!("# new\n{more}"));
    let (line, column) = place(text, "var.t|ag");
    let at = editor.at("main.tf", line, column);
    assert_eq!(editor.ask("textDocument/definition", at)["range"]["start"]["line"], 1);
}

#[test]
fn a_malformed_message_is_answered_with_an_error_and_is_not_the_end() {
    let mut editor = Editor::open_folder(&[("main.tf", GOOD)]);
    let framed = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
    editor.raw(framed("{ no json").as_bytes());
    assert_eq!(editor.answer(&Value::Null)["error"]["code"], -32700);
    editor.raw(b"this is no head\r\n\r\n");
    assert_eq!(editor.answer(&Value::Null)["error"]["code"], -32600);
    editor.raw(framed("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":1,\"error\":2,\"params\":[]}").as_bytes());
    editor.raw(framed("{\"jsonrpc\":\"2.0\",\"id\":{\"a\":1},\"method\":\"shutdown\"}").as_bytes());
    assert_eq!(editor.answer(&json!({ "a": 1 }))["error"]["code"], -32600);
    editor.message(&json!({ "jsonrpc": "2.0", "id": 90, "method": "textDocument/nothing" }));
    assert_eq!(editor.answer(&90.into())["error"]["code"], -32601);
    editor.message(&json!({ "jsonrpc": "2.0", "id": 91, "method": "initialize", "params": {} }));
    assert_eq!(editor.answer(&91.into())["error"]["code"], -32600);
    // A notification has no answer; the log says what is wrong.
    editor.tell("textDocument/didOpen", json!({ "textDocument": 1 }));
    let log = editor.wait("log", |m| m["method"] == "window/logMessage");
    assert!(log["params"]["message"].as_str().unwrap().starts_with("textDocument/didOpen: "), "{log}");
    editor.change("never-opened.tf", 1, None, "");
    editor.wait("log", |m| m["method"] == "window/logMessage");
    editor.tell("$/setTrace", json!({ "value": "off" }));
    editor.open("main.tf", 1, GOOD);
    assert!(editor.diagnostics("main.tf", Some(1)).is_empty());
}

#[test]
fn the_exit_code_says_whether_the_server_was_shut_down_first() {
    let orderly = |editor: &mut Editor| {
        assert_eq!(editor.ask("shutdown", Value::Null), Value::Null);
        let late = editor.begin("textDocument/hover", json!({}));
        assert_eq!(editor.answer(&late.into())["error"]["code"], -32600);
    };
    let mut editor = Editor::open_folder(&[]);
    orderly(&mut editor);
    editor.tell("exit", Value::Null);
    assert_eq!(editor.exit_code().0, 0);
    let mut editor = Editor::open_folder(&[]);
    orderly(&mut editor);
    editor.hang_up();
    assert_eq!(editor.exit_code().0, 0);
    let mut editor = Editor::open_folder(&[]);
    editor.tell("exit", Value::Null);
    assert_eq!(editor.exit_code().0, 1);
    let mut editor = Editor::open_folder(&[]);
    editor.hang_up();
    assert_eq!(editor.exit_code().0, 1);
    // Before the greeting there is nothing to ask.
    let mut editor = Editor::start(&[]);
    let early = editor.begin("shutdown", Value::Null);
    assert_eq!(editor.answer(&early.into())["error"]["code"], -32002);
    editor.tell("exit", Value::Null);
    assert_eq!(editor.exit_code().0, 1);
}

#[test]
fn the_client_is_asked_to_tell_of_files_that_change_elsewhere() {
    let mut editor = Editor::start(&[("main.tf", GOOD), ("terraform.tfvars", "")]);
    let watched = json!({ "workspace": { "didChangeWatchedFiles": { "dynamicRegistration": true } } });
    let greeting = editor.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": watched }));
    assert_eq!(greeting["serverInfo"]["name"], "sampan");
    assert_eq!(greeting["capabilities"]["textDocumentSync"]["change"], 2);
    editor.tell("initialized", json!({}));
    let asked = editor.wait("registration", |m| m["method"] == "client/registerCapability");
    assert_eq!(asked["params"]["registrations"][0]["method"], "workspace/didChangeWatchedFiles");
    editor.message(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": null }));
    editor.open("main.tf", 1, GOOD);
    assert!(editor.diagnostics("main.tf", Some(1)).is_empty());
    std::fs::write(editor.path("more.tf"), GOOD.replace("\"shop\" {", "\"other\" {")).unwrap();
    editor.tell("workspace/didChangeWatchedFiles", json!({ "changes": [] }));
    assert_eq!(brief(&editor.diagnostics("main.tf", Some(1))), ["1:9-1:15 1 SMP906"]);
    assert!(text(&run(&mut sampan(&["lsp", "--help"])).stdout).contains("--stdio"));
}
