//! What the evaluator says of an expression with unknown parts holds for every value that they can take; and nothing makes it panic.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use sampan_validator::ast::Ast;
use sampan_validator::eval::budget::{Budget, Limits};
use sampan_validator::eval::expr::{Evaluated, Expressions, Rendering, Variables};
use sampan_validator::eval::functions::{Env, NoFiles};
use sampan_validator::eval::graph::with_stack;
use sampan_validator::eval::types::Type;
use sampan_validator::eval::value::{Cause, CauseKind, Value};
use sampan_validator::parse::{parse_expression, parse_template};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::generator::{Kind, Random, expression};

type Names = BTreeMap<Arc<str>, Value>;

fn evaluate_with(ast: &Ast, id: sampan_validator::ast::ExprId, names: &Names, limits: Limits) -> Evaluated {
    let budget = Budget::new(limits);
    Expressions {
        ast,
        file: 0,
        names: &Variables(names),
        env: Env { files: &NoFiles, max_bytes: limits.value_bytes },
        budget: &budget,
        short_circuit: false,
        rendering: Rendering::No,
    }
    .evaluate(id)
}

fn value_of(text: &str) -> Value {
    let (ast, id, _) = parse_expression(text.as_bytes());
    evaluate_with(&ast, id.unwrap(), &Names::new(), Limits::default()).unwrap()
}

/// Values that each variable can take, all of its type.
fn candidates() -> Vec<(Type, Vec<Value>)> {
    let of = |texts: &[&str]| texts.iter().map(|t| value_of(t)).collect::<Vec<_>>();
    let object = "{n = 1, s = \"a\"}";
    [
        of(&["0", "7", "-1.5", "1000000"]),
        of(&["\"\"", "\"a\"", "\"12\"", "\"true\"", "\"Héllo wörld\""]),
        of(&["true", "false"]),
        of(&["tolist([\"a\"])", "tolist([\"b\", \"a\", \"b\"])", "slice(tolist([\"x\"]), 0, 0)"]),
        of(&[object, "{n = 10, s = \"\"}", "{n = 0, s = \"x\"}"]),
        of(&["tolist([{n = 1, s = \"a\"}])", "tolist([{n = 1, s = \"a\"}, {n = 2, s = \"b\"}])"]),
    ]
    .into_iter()
    .map(|values| (values[0].ty(), values))
    .collect()
}

fn shown(names: &Names) -> String {
    let json = |v: &Value| {
        sampan_validator::eval::functions::call(
            "jsonencode",
            vec![v.clone()],
            Env { files: &NoFiles, max_bytes: 1 << 20 },
        )
    };
    names
        .iter()
        .map(|(k, v)| format!("{k} = {:?}; ", json(v).ok().and_then(|v| v.as_str().map(str::to_string))))
        .collect()
}

/// Whether what is certain of the unknown holds for the value.
fn admits(unknown: &Value, value: &Value) -> Result<(), String> {
    let Some(u) = unknown.as_unknown() else {
        return parts_admit(unknown, value);
    };
    if u.refinement.not_null && value.is_null() {
        return Err("null, but said not to be".into());
    }
    if !u.ty.has_dynamic() && value.ty() != u.ty && !value.is_null() {
        return Err(format!("of type {}, said to be {}", value.ty(), u.ty));
    }
    if let (Some(prefix), Some(text)) = (&u.refinement.prefix, value.as_str()) {
        if !text.starts_with(&**prefix) {
            return Err(format!("{text:?} does not begin with {prefix:?}"));
        }
    }
    if let Some(n) = value.as_number() {
        let low = u.refinement.min.as_ref().is_some_and(|(m, _)| n < m);
        let high = u.refinement.max.as_ref().is_some_and(|(m, _)| n > m);
        if low || high {
            return Err(format!("{n} is out of bounds"));
        }
    }
    if let Some(len) = value.len().filter(|_| u.ty.element().is_some()) {
        if len < u.refinement.min_len || u.refinement.max_len.is_some_and(|max| len > max) {
            return Err(format!("{len} elements are out of bounds"));
        }
    }
    Ok(())
}

/// Equal, where a null is a null whatever its type.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_seq(), b.as_seq(), a.as_dict(), b.as_dict()) {
        (Some(x), Some(y), _, _) => {
            std::mem::discriminant(a.data()) == std::mem::discriminant(b.data())
                && x.len() == y.len()
                && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (_, _, Some(x), Some(y)) => {
            std::mem::discriminant(a.data()) == std::mem::discriminant(b.data())
                && x.keys().eq(y.keys())
                && x.values().zip(y.values()).all(|(x, y)| same(x, y))
        }
        _ => a.is_null() && b.is_null() || a.equals(b).as_bool() == Some(true),
    }
}

fn parts_admit(partly: &Value, value: &Value) -> Result<(), String> {
    if partly.is_wholly_known() {
        return if same(partly, value) { Ok(()) } else { Err(format!("said to be {partly:?}")) };
    }
    match (partly.as_seq(), value.as_seq(), partly.as_dict(), value.as_dict()) {
        (Some(a), Some(b), _, _) if a.len() == b.len() => a.iter().zip(b).try_for_each(|(x, y)| admits(x, y)),
        (_, _, Some(a), Some(b)) if a.keys().eq(b.keys()) => {
            a.values().zip(b.values()).try_for_each(|(x, y)| admits(x, y))
        }
        _ => Err(format!("said to have the form of {partly:?}")),
    }
}

#[test]
fn what_is_said_with_unknown_inputs_holds_for_every_value_of_them() {
    let seed = std::env::var("SAMPAN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    let (checked, known) = with_stack(|| {
        let mut random = Random::new(seed);
        random.variables = 45;
        let candidates = candidates();
        let (mut checked, mut known) = (0, 0);
        for round in 0..4_000 {
            let text = expression(&mut random, Kind::Any, 3);
            let (ast, id, diagnostics) = parse_expression(text.as_bytes());
            let Some(id) = id else { panic!("{text}: {diagnostics:?}") };
            let typed = round % 2 == 0;
            let mut open = Names::new();
            let mut closed = Names::new();
            for (i, (ty, values)) in candidates.iter().enumerate() {
                let name: Arc<str> = format!("u{i}").into();
                let ty = if typed { ty.clone() } else { Type::Dynamic };
                open.insert(name.clone(), Value::unknown_not_null(ty, Cause::new(CauseKind::Input, name.clone())));
                closed.insert(name, values[random.below(values.len())].clone());
            }
            let said = evaluate_with(&ast, id, &open, Limits::default());
            let is = evaluate_with(&ast, id, &closed, Limits::default());
            match (&said, &is) {
                (Ok(said), Ok(is)) if is.is_wholly_known() => {
                    checked += 1;
                    known += usize::from(said.is_wholly_known());
                    if let Err(why) = admits(said, is) {
                        panic!("{text}\nwith {}\nis {is:?}\nwhich is {why}", shown(&closed));
                    }
                }
                (Err(failure), Ok(is)) if is.is_wholly_known() => {
                    panic!("{text}\nsaid to fail ({failure}), but with {}\nis {is:?}", shown(&closed))
                }
                _ => {}
            }
        }
        (checked, known)
    })
    .unwrap();
    eprintln!("seed {seed}: {checked} checked, {known} of them known in spite of unknown inputs");
    assert!(checked > 1_500 && known > 100, "{checked} {known}");
}

/// Lines of the comparison with terraform, as a start for random changes.
const LINES: &str = include_str!("console/expressions.txt");

#[test]
fn no_text_makes_the_evaluator_panic() {
    let seed = std::env::var("SAMPAN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(11);
    let evaluated = with_stack(|| {
        let mut random = Random::new(seed);
        random.variables = 20;
        let lines: Vec<&str> = LINES.lines().collect();
        let limits = Limits { steps: 50_000, value_bytes: 1 << 20, ..Limits::default() };
        let mut names = Names::new();
        for (i, (ty, values)) in candidates().into_iter().enumerate() {
            let value =
                if i % 2 == 0 { values[0].clone() } else { Value::unknown(ty, Cause::new(CauseKind::Input, "u")) };
            names.insert(format!("u{i}").into(), value);
        }
        let mut evaluated = 0;
        for _ in 0..20_000 {
            let mut bytes = match random.below(3) {
                0 => lines[random.below(lines.len())].as_bytes().to_vec(),
                1 => expression(&mut random, Kind::Any, 3).into_bytes(),
                _ => {
                    let (a, b) = (lines[random.below(lines.len())], lines[random.below(lines.len())]);
                    format!("[{a}, {b}][{}]", random.below(3)).into_bytes()
                }
            };
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len() + 1);
                match random.below(5) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, random.next() as u8),
                    2 if at < bytes.len() => {
                        bytes.remove(at);
                    }
                    3 => {
                        let piece = random.pick(&[
                            "u0",
                            "u1",
                            "u3",
                            "null",
                            "\"",
                            "${",
                            "}",
                            "[",
                            "]",
                            "(",
                            ")",
                            "1e999",
                            "-",
                            "...",
                            "[*]",
                            ".0",
                            "~}",
                            "%{ for x in u3 }",
                        ]);
                        bytes.splice(at..at, piece.bytes());
                    }
                    _ => {
                        let digit = random.pick(&["9", "99999999999", "-1", "0.5", "1e300"]);
                        bytes.splice(at..at, digit.bytes());
                    }
                }
            }
            let (ast, id, _) = if random.below(5) == 0 { parse_template(&bytes) } else { parse_expression(&bytes) };
            if let Some(id) = id {
                evaluated += 1;
                if let Ok(value) = evaluate_with(&ast, id, &names, limits) {
                    assert!(value.size() <= limits.value_bytes && value.depth() <= limits.value_depth);
                }
            }
        }
        evaluated
    })
    .unwrap();
    eprintln!("seed {seed}: {evaluated} evaluated");
    assert!(evaluated > 5_000, "{evaluated}");
}

#[test]
fn deep_expressions_and_values_are_bounded() {
    let limits = Limits::default();
    let nested = with_stack(|| {
        let text = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let (ast, id, _) = parse_expression(text.as_bytes());
        evaluate_with(&ast, id.unwrap(), &Names::new(), limits).unwrap()
    })
    .unwrap();
    assert!(!nested.is_wholly_known());
    let json = with_stack(|| {
        let text = format!("jsondecode(\"{}1{}\")", "[".repeat(5_000), "]".repeat(5_000));
        let (ast, id, _) = parse_expression(text.as_bytes());
        evaluate_with(&ast, id.unwrap(), &Names::new(), limits)
    })
    .unwrap();
    assert!(json.is_err() || json.is_ok_and(|v| !v.is_wholly_known()));
}
