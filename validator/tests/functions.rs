//! The table of functions against Terraform's own, and the rule that no name of it is an error.

#![allow(clippy::unwrap_used, reason = "a test")]

use sampan_validator::eval::functions::{
    Env, NOT_COMPUTED, NoFiles, call, is_computed, is_unpredictable, names, signature,
};
use sampan_validator::eval::types::Type;
use sampan_validator::eval::value::{Cause, CauseKind, Marks, Value};
use std::collections::BTreeSet;
use std::process::Command;

const ENV: Env<'static> = Env { files: &NoFiles, max_bytes: 1 << 20 };

fn unknown(ty: Type) -> Value {
    Value::unknown(ty, Cause::new(CauseKind::Input, "var.x"))
}

/// Parameters without their descriptions, as the checked-in table has them.
fn parameter(json: &serde_json::Value) -> serde_json::Value {
    let mut kept = serde_json::json!({"name": json["name"], "type": json["type"]});
    if json["is_nullable"] == serde_json::json!(true) {
        kept["nullable"] = true.into();
    }
    kept
}

#[test]
fn the_table_is_what_terraform_1_11_prints() {
    let terraform = std::env::var("TF_CLI_PATH").unwrap_or_else(|_| "terraform".into());
    let output = Command::new(&terraform).args(["metadata", "functions", "-json"]).output();
    let Some(output) = output.ok().filter(|o| o.status.success()) else {
        assert_ne!(std::env::var("SAMPAN_REQUIRE_CONTAINERS").as_deref(), Ok("1"), "{terraform} is required");
        eprintln!("skipped: {terraform} cannot be run, so there is nothing to compare with");
        return;
    };
    let version = Command::new(&terraform).arg("version").output().unwrap();
    if !String::from_utf8_lossy(&version.stdout).contains("Terraform v1.11.") {
        eprintln!("skipped: {terraform} is not version 1.11");
        return;
    }
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut wanted = serde_json::Map::new();
    for (name, function) in theirs["function_signatures"].as_object().unwrap() {
        if name.contains("::") {
            continue;
        }
        let mut kept = serde_json::json!({"returns": function["return_type"]});
        if let Some(parameters) = function["parameters"].as_array().filter(|p| !p.is_empty()) {
            kept["parameters"] = parameters.iter().map(parameter).collect();
        }
        if function["variadic_parameter"].is_object() {
            kept["variadic"] = parameter(&function["variadic_parameter"]);
        }
        wanted.insert(name.clone(), kept);
    }
    let ours: serde_json::Value = serde_json::from_str(include_str!("../data/functions-1.11.json")).unwrap();
    for (name, theirs) in &wanted {
        assert_eq!(&ours[name], theirs, "data/functions-1.11.json, {name}");
    }
    assert_eq!(ours.as_object().unwrap().len(), wanted.len());
}

#[test]
fn every_name_is_computed_or_unpredictable_or_listed() {
    let all: BTreeSet<&str> = names().collect();
    assert_eq!(all.len(), 118);
    let missing: Vec<&str> = all.iter().copied().filter(|n| !is_computed(n) && !is_unpredictable(n)).collect();
    assert_eq!(missing, NOT_COMPUTED);
    for name in NOT_COMPUTED.iter().copied().chain(all.iter().copied().filter(|n| is_unpredictable(n))) {
        let signature = signature(name).unwrap();
        let args = signature.parameters.iter().map(|_| Value::string("x")).collect();
        let value = call(name, args, ENV).unwrap();
        assert_eq!(value.ty(), signature.returns, "{name}");
        assert!(!value.is_known(), "{name} is {value:?}");
    }
}

#[test]
fn an_unknown_argument_is_never_an_error_and_keeps_its_cause_and_marks() {
    for name in names().filter(|n| !["try", "can", "templatefile", "templatestring", "lookup"].contains(n)) {
        let signature = signature(name).unwrap();
        let mut args: Vec<Value> =
            signature.parameters.iter().map(|p| unknown(p.ty.clone()).marked(Marks::EPHEMERAL)).collect();
        if signature.variadic.is_some() {
            args.extend([unknown(Type::Dynamic), unknown(Type::Dynamic).marked(Marks::EPHEMERAL)]);
        }
        if args.is_empty() {
            continue;
        }
        let value = call(name, args, ENV).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert!(!value.is_known() || name == "ephemeralasnull", "{name} is {value:?}");
        if name != "ephemeralasnull" {
            let needs = value.cause().map(|c| c.needs.to_string());
            assert!(
                needs.as_deref() == Some("var.x") || is_unpredictable(name) || NOT_COMPUTED.contains(&name),
                "{name}: {needs:?}"
            );
            assert!(value.deep_marks().has(Marks::EPHEMERAL) || name == "issensitive", "{name} loses the mark");
        }
    }
}

#[test]
fn results_that_would_be_too_large_are_unknown() {
    let big = Value::string("x".repeat(600_000));
    let joined = call("join", vec![Value::string(","), Value::tuple(vec![big.clone(), big.clone()])], ENV).unwrap();
    assert_eq!(joined.cause().unwrap().kind, CauseKind::Budget);
    let replaced = call("replace", vec![big, Value::string("x"), Value::string("yyyy")], ENV).unwrap();
    assert_eq!(replaced.cause().unwrap().kind, CauseKind::Budget);
    let list = Value::tuple((0..2_000).map(Value::count).collect());
    let product = call("setproduct", vec![list.clone(), list], ENV).unwrap();
    assert_eq!(product.cause().unwrap().kind, CauseKind::Budget);
    let padded = call("format", vec![Value::string("%999999999s"), Value::string("x")], ENV).unwrap();
    assert!(!padded.is_known());
}

#[test]
fn patterns_that_the_two_dialects_read_differently_are_unknown() {
    for pattern in
        ["\\pL+", "a{1001}", "[a-z&&[^b]]", "(?x)a b", "\\Qa.b\\E", "(a*)+", "a**", "x{", "\\<a", "[[:word:]]"]
    {
        let result = call("regex", vec![Value::string(pattern), Value::string("ab x{")], ENV);
        assert!(result.as_ref().is_ok_and(|v| !v.is_known()), "{pattern}: {result:?}");
    }
}
