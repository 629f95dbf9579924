//! Modules, variables, expansion and laziness of the evaluator, on configuration as it is written.

#![allow(clippy::unwrap_used, reason = "a test")]

use sampan_validator::ast::Ast;
use sampan_validator::eval::budget::Limits;
use sampan_validator::eval::definition::{Definitions, Kind, Source};
use sampan_validator::eval::expand::{Exists, Key};
use sampan_validator::eval::functions::NoFiles;
use sampan_validator::eval::graph::{Graph, Instance, Module, NoSchemas, Program, with_stack};
use sampan_validator::eval::types::Type;
use sampan_validator::eval::value::{CauseKind, Marks, Value};
use sampan_validator::parse::parse;
use std::rc::Rc;
use std::sync::Arc;

/// A root and modules by name; `source = "./name"` calls one. Each text may be several files, parted by a line `----`; a part that
/// begins with `# override` overrides.
fn on<R: Send>(
    modules: &[(&str, &str)],
    inputs: &[(&str, Value)],
    f: impl FnOnce(&Graph<'_>, &Rc<Instance>) -> R + Send,
) -> R {
    with_limits(modules, inputs, Limits::default(), f)
}

fn with_limits<R: Send>(
    modules: &[(&str, &str)],
    inputs: &[(&str, Value)],
    limits: Limits,
    f: impl FnOnce(&Graph<'_>, &Rc<Instance>) -> R + Send,
) -> R {
    let texts: Vec<(usize, bool, Ast)> = modules
        .iter()
        .enumerate()
        .flat_map(|(m, (_, text))| text.split("----\n").map(move |part| (m, part)))
        .map(|(m, part)| {
            let (ast, diagnostics) = parse(part.as_bytes());
            assert!(diagnostics.is_empty(), "{diagnostics:?} in {part}");
            (m, part.trim_start().starts_with("# override"), ast)
        })
        .collect();
    let modules = modules
        .iter()
        .enumerate()
        .map(|(index, (name, _))| {
            let sources: Vec<Source<'_>> = texts
                .iter()
                .enumerate()
                .filter(|(_, (m, _, _))| *m == index)
                .map(|(file, (_, overrides, ast))| Source { file: file as u32, ast, overrides: *overrides })
                .collect();
            let definitions = Definitions::collect(&sources);
            let calls = definitions
                .calls
                .iter()
                .filter_map(|(call, d)| {
                    let (source, attribute) = d.attribute("source")?;
                    let target = source.ast.string(attribute.value)?.strip_prefix("./")?;
                    Some((call.clone(), modules.iter().position(|(n, _)| *n == target)?))
                })
                .collect();
            Module { folder: Arc::from(if index == 0 { "." } else { *name }), definitions, calls }
        })
        .collect();
    let program = Program {
        modules,
        inputs: inputs.iter().map(|(n, v)| (Arc::from(*n), v.clone())).collect(),
        workspace: None,
        files: &NoFiles,
        schemas: &NoSchemas,
        short_circuit: false,
        limits,
    };
    with_stack(|| {
        let graph = Graph::new(&program);
        let root = graph.root();
        f(&graph, &root)
    })
    .unwrap()
}

/// A local of a single module in a form that can be compared.
fn local(text: &str, name: &str) -> String {
    on(&[("", text)], &[], |graph, root| show(&graph.local(root, name).unwrap()))
}

fn show(value: &Value) -> String {
    match value.cause() {
        Some(cause) => format!("unknown {} until {}", value.ty(), cause.needs),
        None if value.is_wholly_known() => {
            let env = sampan_validator::eval::functions::Env { files: &NoFiles, max_bytes: 1 << 24 };
            let json = sampan_validator::eval::functions::call("jsonencode", vec![value.unmarked_deep()], env).unwrap();
            json.as_str().unwrap().to_string()
        }
        None => format!("partly unknown until {}", value.deep_cause().unwrap().needs),
    }
}

fn failures(text: &str) -> Vec<String> {
    on(&[("", text)], &[], |graph, _| {
        graph.run();
        graph.failures().into_iter().map(|f| f.message).collect()
    })
}

#[test]
fn an_argument_that_is_unknown_never_falls_back_to_the_default_of_the_child() {
    let root = r#"
variable "size" { type = number }
module "a" {
  source = "./child"
  size   = var.size
}
module "b" { source = "./child" }
module "c" {
  source = "./child"
  size   = null
}
locals {
  a = module.a.size
  b = module.b.size
  c = module.c.size
}
"#;
    let child = r#"
variable "size" {
  type     = number
  default  = 3
  nullable = false
}
output "size" { value = var.size + 1 }
"#;
    let seen = on(&[("", root), ("child", child)], &[], |graph, root| {
        ["a", "b", "c"].map(|n| show(&graph.local(root, n).unwrap()))
    });
    assert_eq!(seen, ["unknown number until var.size", "4", "4"]);
}

#[test]
fn a_module_is_evaluated_once_for_each_distinct_tuple_of_arguments() {
    let mut root = String::new();
    for i in 0..50 {
        root.push_str(&format!("module \"m{i}\" {{\n  source = \"./child\"\n  n = {}\n}}\n", i % 2));
    }
    let child = "variable \"n\" {}\noutput \"n\" { value = var.n }\n";
    let distinct = on(&[("", &root), ("child", child)], &[], |graph, _| {
        graph.run();
        graph.distinct_instances()
    });
    assert_eq!(distinct, 3, "the root and two of the child");
}

#[test]
fn an_argument_may_depend_on_another_output_of_the_same_call() {
    let root = r#"
module "m" {
  source = "./child"
  second = module.m.first
}
locals { x = module.m.second }
"#;
    let child = r#"
variable "second" {}
output "first"  { value = "one" }
output "second" { value = "${var.second}-two" }
"#;
    on(&[("", root), ("child", child)], &[], |graph, root| {
        assert_eq!(show(&graph.local(root, "x").unwrap()), "\"one-two\"");
        graph.run();
        assert!(graph.failures().is_empty(), "{:?}", graph.failures());
    });
}

#[test]
fn cycles_are_errors_and_not_a_stack_overflow() {
    let cyclic = failures("locals {\n a = local.b\n b = local.c\n c = local.a\n}\n");
    assert!(cyclic.iter().any(|m| m.contains("cycle")), "{cyclic:?}");
    let root = "module \"m\" {\n source = \"./child\"\n x = module.m.x\n}\n";
    let child = "variable \"x\" {}\noutput \"x\" { value = var.x }\n";
    let through_a_call = on(&[("", root), ("child", child)], &[], |graph, _| {
        graph.run();
        graph.failures()
    });
    assert!(through_a_call.iter().any(|f| f.message.contains("cycle")), "{through_a_call:?}");
    let recursive = "variable \"n\" { default = 0 }\nmodule \"again\" {\n source = \"./again\"\n n = var.n + 1\n}\noutput \"x\" { value = module.again.x }\n";
    on(&[("", recursive), ("again", recursive)], &[], |graph, _| graph.run());
}

#[test]
fn a_chain_of_ten_thousand_locals_is_evaluated() {
    let mut text = String::from("locals {\n l0 = 1\n");
    for i in 1..10_000 {
        text.push_str(&format!(" l{i} = local.l{} + 1\n", i - 1));
    }
    text.push_str("}\n");
    assert_eq!(local(&text, "l9999"), "10000");
}

#[test]
fn a_chain_of_resources_that_repeat_each_other_is_bounded() {
    let mut text = String::from("resource \"x\" \"r0\" { for_each = toset([\"a\"]) }\n");
    for i in 1..6_000 {
        text.push_str(&format!("resource \"x\" \"r{i}\" {{ for_each = toset(keys(x.r{})) }}\n", i - 1));
    }
    let last = (Kind::Managed, Arc::from("x"), Arc::from("r5999"));
    let views = on(&[("", &text)], &[], |graph, root| graph.resource_views(root, &last).len());
    assert_eq!(views, 1);
}

#[test]
fn indexing_a_long_list_in_a_loop_is_not_quadratic() {
    let text = "locals {\n a = flatten([for i in range(100) : range(100)])\n o = { for i, x in local.a : \"k${i}\" => { n = x } }\n b = [for i, x in local.a : local.a[i] + length(local.a) + local.o[\"k${i}\"].n + lookup(local.o, \"k${i}\", null).n + element(local.a, i)]\n s = sum(local.b)\n}\n";
    let limits = Limits { steps: 1_000_000, ..Limits::default() };
    let sum = with_limits(&[("", text)], &[], limits, |graph, root| show(&graph.local(root, "s").unwrap()));
    assert_eq!(sum, "101980000");
}

#[test]
fn a_doubling_chain_becomes_unknown_and_takes_no_memory() {
    let mut text = String::from("locals {\n l0 = [\"xxxxxxxxxxxxxxxx\"]\n s0 = \"xxxxxxxxxxxxxxxx\"\n");
    for i in 1..60 {
        text.push_str(&format!(
            " l{i} = concat(local.l{0}, local.l{0})\n s{i} = \"${{local.s{0}}}${{local.s{0}}}\"\n",
            i - 1
        ));
    }
    text.push_str("}\n");
    for name in ["l59", "s59"] {
        let kind = on(&[("", &text)], &[], |graph, root| graph.local(root, name).unwrap().cause().unwrap().kind);
        assert_eq!(kind, CauseKind::Budget, "{name}");
    }
}

#[test]
fn steps_are_bounded() {
    let text = "locals {\n a = range(1000)\n b = [for x in local.a : [for y in local.a : [for z in local.a : x + y + z]]]\n}\n";
    let limits = Limits { steps: 100_000, ..Limits::default() };
    let (kind, steps) = with_limits(&[("", text)], &[], limits, |graph, root| {
        (graph.local(root, "b").unwrap().deep_cause().unwrap().kind, graph.budget().steps())
    });
    assert_eq!(kind, CauseKind::Budget);
    assert!(steps < 1_000_000, "{steps}");
}

#[test]
fn optional_attributes_get_their_defaults_before_anything_looks_at_them() {
    let text = r#"
variable "app" {
  type = object({
    name  = string
    size  = optional(number, 2)
    probe = optional(object({ path = optional(string, "/"), port = optional(number) }), {})
    tags  = optional(map(string))
  })
  default = { name = "a", size = null, extra = 1 }
}
variable "apps" {
  type    = map(object({ size = optional(number, 1) }))
  default = { x = {}, y = { size = "7" } }
}
locals {
  app  = var.app
  apps = var.apps
}
"#;
    assert_eq!(local(text, "app"), r#"{"name":"a","probe":{"path":"/","port":null},"size":2,"tags":null}"#);
    assert_eq!(local(text, "apps"), r#"{"x":{"size":1},"y":{"size":7}}"#);
}

#[test]
fn a_value_of_the_wrong_type_is_an_error_at_the_place_that_gave_it() {
    let text = "variable \"n\" {\n  type    = number\n  default = \"many\"\n}\nlocals { n = var.n }\n";
    let found = on(&[("", text)], &[], |graph, _| {
        graph.run();
        graph.failures()
    });
    assert_eq!(found.len(), 1, "{found:?}");
    let at = text.find("default").unwrap() as u32;
    assert_eq!(found[0].site.start, at, "{found:?}");
}

#[test]
fn unknown_logic_is_more_precise_than_terraforms_and_never_wrong() {
    let text = r#"
variable "b" { type = bool }
variable "n" { type = number }
variable "s" { type = string }
variable "l" { type = list(string) }
locals {
  and    = var.b && false
  or     = true || var.b
  same   = var.b ? "x" : "x"
  other  = var.b ? 1 : 2
  low    = (var.b ? 1 : 2) > 0
  zero   = length(var.l) >= 0
  prefix = startswith("prod-${var.s}", "prod")
  not    = startswith("prod-${var.s}", "test")
  keys   = length({ a = var.s, b = var.n })
  known  = [for x in ["a", var.s] : "k"]
  count  = length([for x in [var.s, var.n] : x])
  eq     = var.s == null
  try    = try(var.s, "fallback")
  tried  = try(tonumber(var.s), 1)
  can    = can(tonumber(var.s))
}
"#;
    for (name, wanted) in [
        ("and", "false"),
        ("or", "true"),
        ("same", "\"x\""),
        ("other", "unknown number until var.b"),
        ("low", "true"),
        ("zero", "true"),
        ("prefix", "true"),
        ("not", "false"),
        ("keys", "2"),
        ("known", "[\"k\",\"k\"]"),
        ("count", "2"),
        ("eq", "unknown bool until var.s"),
        ("try", "unknown any until var.s"),
        ("tried", "unknown any until var.s"),
        ("can", "unknown bool until var.s"),
    ] {
        assert_eq!(local(text, name), wanted, "{name}");
    }
}

#[test]
fn try_does_not_choose_while_an_argument_could_still_fail() {
    let text = "variable \"s\" { type = string }\nlocals {\n a = try([\"ok\", tonumber(var.s)][0], \"fallback\")\n b = can([1, tonumber(var.s)][0])\n c = try({ a = 1, b = var.s }.a, 2)\n}\n";
    assert_eq!(local(text, "a"), "unknown any until try()");
    assert_eq!(local(text, "b"), "unknown bool until can()");
    let cfg = "variable \"s\" { type = string }\nlocals {\n cfg = { a = 1, b = var.s }\n c = try(local.cfg.a, 2)\n d = try(local.cfg.z, 2)\n}\n";
    assert_eq!(local(cfg, "c"), "1");
    assert_eq!(local(cfg, "d"), "2");
}

#[test]
fn only_try_can_and_the_side_not_taken_swallow_errors() {
    assert!(
        failures(
            "locals {\n a = try(tonumber(\"x\"), 1)\n b = can(tonumber(\"x\"))\n c = true ? 1 : tonumber(\"x\")\n}\n"
        )
        .is_empty()
    );
    for text in [
        "coalesce(\"a\", tonumber(\"x\"))",
        "lookup({a = 1}, \"a\", tonumber(\"x\"))",
        "false && tobool(\"x\")",
        "true || tobool(\"x\")",
    ] {
        let found = failures(&format!("locals {{\n a = {text}\n}}\n"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
}

#[test]
fn count_and_for_each_make_instances_or_one_that_may_be_there() {
    let text = r#"
variable "create" { type = bool }
variable "names" { type = set(string) }
variable "off" { default = false }
locals { apps = { a = { on = true }, b = { on = false }, c = { on = true } } }
resource "x" "one" {}
resource "x" "three" {
  count = 3
  name  = "n-${count.index}"
}
resource "x" "perhaps" {
  count = var.create ? 1 : 0
  name  = "certain"
}
resource "x" "never" { count = var.off ? 1 : 0 }
resource "x" "some" {
  for_each = { for k, v in local.apps : k => v if v.on }
  name     = each.key
}
resource "x" "any" {
  for_each = var.names
  name     = each.value
  fixed    = "f"
}
"#;
    on(&[("", text)], &[], |graph, root| {
        let views = |name: &str| graph.resource_views(root, &(Kind::Managed, Arc::from("x"), Arc::from(name)));
        assert_eq!(views("one").len(), 1);
        let three = views("three");
        assert_eq!(
            three.iter().map(|v| v.body.value("name").unwrap().as_str().unwrap().to_string()).collect::<Vec<_>>(),
            ["n-0", "n-1", "n-2"]
        );
        let perhaps = views("perhaps");
        assert_eq!(perhaps.len(), 1);
        assert_eq!(perhaps[0].key, Key::AnyIndex);
        let Exists::Maybe(cause) = &perhaps[0].exists else { panic!("{perhaps:?}") };
        assert_eq!(&*cause.needs, "var.create");
        assert_eq!(perhaps[0].body.value("name").unwrap().as_str(), Some("certain"));
        assert!(views("never").is_empty());
        assert!(graph.resource_as_if(root, &(Kind::Managed, Arc::from("x"), Arc::from("never"))).is_some());
        let some = views("some");
        assert_eq!(some.iter().map(|v| v.key.to_string()).collect::<Vec<_>>(), ["[\"a\"]", "[\"c\"]"]);
        let any = views("any");
        assert_eq!(any[0].key, Key::AnyName);
        assert_eq!(any[0].body.value("name").unwrap().cause().unwrap().needs.to_string(), "var.names");
        assert_eq!(any[0].body.value("fixed").unwrap().as_str(), Some("f"));
        assert!(graph.failures().is_empty());
    });
}

#[test]
fn dynamic_blocks_expand_with_iterator_and_nesting() {
    let text = r#"
variable "rules" { type = list(object({ port = number })) }
resource "x" "r" {
  dynamic "rule" {
    for_each = { a = [1, 2], b = [] }
    iterator = it
    content {
      name = it.key
      dynamic "port" {
        for_each = it.value
        content { number = port.value + port.key }
      }
    }
  }
  dynamic "open" {
    for_each = var.rules
    content {
      port  = open.value.port
      fixed = 1
    }
  }
}
"#;
    on(&[("", text)], &[], |graph, root| {
        let views = graph.resource_views(root, &(Kind::Managed, Arc::from("x"), Arc::from("r")));
        let blocks = &views[0].body.blocks;
        assert_eq!(blocks.iter().map(|b| &*b.kind).collect::<Vec<_>>(), ["rule", "rule", "open"]);
        assert_eq!(blocks[0].body.value("name").unwrap().as_str(), Some("a"));
        let ports: Vec<_> = blocks[0].body.blocks.iter().map(|b| b.body.value("number").unwrap().as_i64()).collect();
        assert_eq!(ports, [Some(1), Some(3)]);
        assert!(blocks[1].body.blocks.is_empty());
        assert!(matches!(blocks[2].exists, Exists::Maybe(_)));
        assert_eq!(blocks[2].body.value("port").unwrap().ty(), Type::Number);
        assert_eq!(blocks[2].body.value("fixed").unwrap().as_i64(), Some(1));
        assert!(graph.failures().is_empty(), "{:?}", graph.failures());
    });
}

#[test]
fn validations_that_are_not_met_are_reported_at_the_argument_of_the_caller() {
    let root = "module \"m\" {\n  source = \"./child\"\n  size = 9\n}\nmodule \"n\" {\n  source = \"./child\"\n  size = 2\n}\n";
    let child = r#"
variable "size" {
  type = number
  validation {
    condition     = var.size < 5
    error_message = "at most 4, not ${var.size}"
  }
}
variable "open" {
  default = "x"
  validation {
    condition     = var.open == "x"
    error_message = "no"
  }
}
"#;
    let found = on(&[("", root), ("child", child)], &[], |graph, _| {
        graph.run();
        graph.failures()
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].message, "validation failed: at most 4, not 9");
    assert_eq!((found[0].site.file, found[0].site.start as usize), (0, root.find("size = 9").unwrap()));
}

#[test]
fn preconditions_are_checked_for_each_instance_and_unknown_ones_are_silent() {
    let text = r#"
variable "open" { type = number }
resource "x" "r" {
  for_each = { a = 1, b = 9 }
  lifecycle {
    precondition {
      condition     = each.value < 5
      error_message = "${each.key} is too large"
    }
    precondition {
      condition     = var.open < 5
      error_message = "open"
    }
    postcondition {
      condition     = self.ready
      error_message = "later"
    }
  }
}
output "o" {
  value = 1
  precondition {
    condition     = "x"
    error_message = "no bool"
  }
}
"#;
    let found = failures(text);
    assert_eq!(found, ["precondition failed: b is too large", "invalid condition: a bool is required"]);
}

#[test]
fn what_has_no_instances_is_an_empty_list_or_map() {
    let text = r#"
resource "x" "c" { count = 0 }
resource "x" "f" { for_each = {} }
module "m" {
  source   = "./child"
  for_each = toset(["p", "q"])
  n        = each.key
}
locals {
  c = length(x.c)
  s = x.c[*].id
  o = one(x.c[*].id)
  f = keys(x.f)
  m = { for k, m in module.m : k => m.n }
  q = module.m["q"].n
}
"#;
    let child = "variable \"n\" {}\noutput \"n\" { value = upper(var.n) }\n";
    on(&[("", text), ("child", child)], &[], |graph, root| {
        let seen = ["c", "s", "o", "f", "m", "q"].map(|n| show(&graph.local(root, n).unwrap()));
        assert_eq!(seen, ["0", "[]", "null", "[]", r#"{"p":"P","q":"Q"}"#, "\"Q\""]);
        assert!(graph.failures().is_empty(), "{:?}", graph.failures());
    });
}

#[test]
fn json_text_keeps_its_structure_and_decodes_to_the_same() {
    let text = "variable \"n\" { type = number }\nlocals {\n t = jsonencode({ a = [1, \"x\"], b = null })\n d = jsondecode(local.t).a[1]\n u = jsonencode({ a = var.n })\n}\n";
    assert_eq!(local(text, "t"), r#""{\"a\":[1,\"x\"],\"b\":null}""#);
    assert_eq!(local(text, "d"), "\"x\"");
    assert_eq!(local(text, "u"), "unknown string until var.n");
}

#[test]
fn marks_spread_and_are_taken_off_by_name_only() {
    let text = r#"
variable "secret" {
  type      = string
  default   = "s3cret"
  sensitive = true
}
locals {
  text   = "x-${var.secret}"
  object = { a = 1, b = var.secret }
  part   = local.object.a
  upper  = upper(var.secret)
  choice = var.secret == "" ? 1 : 2
  list   = [for c in split("", var.secret) : c]
  plain  = nonsensitive(var.secret)
  asked  = issensitive(var.secret)
}
"#;
    on(&[("", text)], &[], |graph, root| {
        let marks = |n: &str| graph.local(root, n).unwrap();
        for name in ["text", "upper", "choice", "list"] {
            assert!(marks(name).deep_marks().has(Marks::SENSITIVE), "{name}");
        }
        assert!(marks("object").marks().is_none());
        assert!(marks("object").deep_marks().has(Marks::SENSITIVE));
        assert!(marks("part").deep_marks().is_none());
        assert!(marks("plain").deep_marks().is_none());
        assert_eq!(marks("asked").as_bool(), Some(true));
    });
}

#[test]
fn override_files_win_attribute_by_attribute_and_replace_blocks_of_a_type() {
    let text = r#"
resource "x" "r" {
  a = 1
  b = 1
  rule { n = 1 }
  rule { n = 2 }
  other { n = 3 }
}
locals { l = "base" }
----
# override
resource "x" "r" {
  b = 2
  rule { n = 9 }
}
locals { l = "override" }
"#;
    on(&[("", text)], &[], |graph, root| {
        let view = &graph.resource_views(root, &(Kind::Managed, Arc::from("x"), Arc::from("r")))[0];
        assert_eq!(view.body.value("a").unwrap().as_i64(), Some(1));
        let b = view.body.attributes.iter().find(|a| &*a.name == "b").unwrap();
        assert_eq!((b.value.as_ref().unwrap().as_i64(), b.site.file), (Some(2), 1));
        let blocks: Vec<_> =
            view.body.blocks.iter().map(|b| (b.kind.to_string(), b.body.value("n").unwrap().as_i64())).collect();
        assert_eq!(blocks, [("other".to_string(), Some(3)), ("rule".to_string(), Some(9))]);
        assert_eq!(show(&graph.local(root, "l").unwrap()), "\"override\"");
    });
}

#[test]
fn a_value_remembers_the_places_it_came_through() {
    let root = "locals { size = 7 }\nmodule \"m\" {\n  source = \"./child\"\n  n = local.size\n}\n";
    let child = "variable \"n\" {}\nresource \"x\" \"r\" { n = var.n }\n";
    on(&[("", root), ("child", child)], &[], |graph, instance| {
        let call = graph.calls(instance).remove(0);
        let view =
            graph.resource_views(&call.instance.unwrap(), &(Kind::Managed, Arc::from("x"), Arc::from("r"))).remove(0);
        let origin = view.body.value("n").unwrap().origin().clone();
        let text =
            |s: sampan_validator::eval::value::Site| &[root, child][s.file as usize][s.start as usize..s.end as usize];
        assert_eq!(text(origin.site.unwrap()), "7");
        assert_eq!(origin.via.unwrap().iter().map(|s| text(*s)).collect::<Vec<_>>(), ["size", "n"]);
    });
}

#[test]
fn a_module_that_is_not_at_hand_has_unknown_outputs() {
    let text = "module \"net\" { source = \"registry.example/net\" }\nlocals { x = module.net.id }\n";
    assert_eq!(local(text, "x"), "unknown any until module.net");
}

#[test]
fn inputs_of_the_root_are_given_by_name() {
    let text = "variable \"env\" { type = string }\nvariable \"n\" { type = number }\nlocals {\n e = \"${var.env}!\"\n n = var.n + 1\n w = terraform.workspace\n p = path.module\n}\n";
    let seen = on(&[("", text)], &[("env", Value::string("prod")), ("n", Value::string("4"))], |graph, root| {
        ["e", "n", "w", "p"].map(|n| show(&graph.local(root, n).unwrap()))
    });
    assert_eq!(seen, ["\"prod!\"", "5", "unknown string until terraform.workspace", "\".\""]);
}

#[test]
fn the_order_of_definitions_does_not_matter() {
    let forward = "locals {\n a = 1\n b = local.a + 1\n}\n";
    let backward = "locals {\n b = local.a + 1\n a = 1\n}\n";
    assert_eq!(local(forward, "b"), local(backward, "b"));
}
