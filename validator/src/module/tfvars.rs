//! Values of the root's variables, later ones winning: `TF_VAR_*`, `terraform.tfvars`, `terraform.tfvars.json`,
//! `*.auto.tfvars` and `*.auto.tfvars.json` by name, then what the command line says in its order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{Overlay, Tree};
use crate::ast::{Ast, Expr};
use crate::eval::budget::{Budget, Limits};
use crate::eval::definition::Definitions;
use crate::eval::expr::{Expressions, Rendering, Variables};
use crate::eval::functions::{Env, NoFiles};
use crate::eval::number::{Number, Parsed};
use crate::eval::value::{Site, Value};
use crate::finding::{Finding, Severity};
use crate::parse::parse_expression;

/// A value from outside of the files, in the order of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// `--var name=value`.
    Var(String, String),
    /// `--var-file path`.
    File(std::path::PathBuf),
}

pub type Inputs = BTreeMap<Arc<str>, Value>;

/// Whether a text for this variable is taken as it is, or read as an expression.
fn is_text(definitions: &Definitions<'_>, name: &str) -> bool {
    let Some(definition) = definitions.variables.get(name) else { return true };
    match definition.attribute("type").map(|(source, a)| source.ast.expr(a.value)) {
        None => true,
        Some(Expr::Variable(word)) => matches!(&*word.text, "string" | "number" | "bool"),
        Some(_) => false,
    }
}

fn constant(ast: &Ast, id: crate::ast::ExprId, file: u32) -> Result<Value, String> {
    let (none, budget) = (BTreeMap::new(), Budget::new(Limits::default()));
    let names = Variables(&none);
    let env = Env { files: &NoFiles, max_bytes: Limits::default().value_bytes };
    let all =
        Expressions { ast, file, names: &names, env, budget: &budget, short_circuit: false, rendering: Rendering::No };
    all.evaluate(id).map_err(|failure| failure.message)
}

fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::null(crate::eval::types::Type::Dynamic),
        Json::Bool(b) => Value::bool(*b),
        Json::Number(n) => match Number::parse(&n.to_string()) {
            Parsed::Number(n) => Value::number(n),
            _ => Value::string(n.to_string()),
        },
        Json::String(s) => Value::string(s),
        Json::Array(items) => Value::tuple(items.iter().map(from_json).collect()),
        Json::Object(items) => Value::object(items.iter().map(|(k, v)| (k.as_str().into(), from_json(v))).collect()),
    }
}

/// Collects the values; what is wrong with a file of them is a finding of the tree.
///
/// # Errors
/// A `--var` that cannot be read, or a `--var-file` that is not there: wrong usage.
pub fn collect(
    tree: &mut Tree,
    folder: &Path,
    environment: &BTreeMap<String, String>,
    given: &[Given],
    text_variables: &BTreeMap<String, bool>,
) -> Result<Inputs, String> {
    let mut inputs = Inputs::new();
    let set = |inputs: &mut Inputs, name: &str, text: &str| -> Result<(), String> {
        let Some(is_text) = text_variables.get(name) else { return Ok(()) };
        let value = if *is_text { Value::string(text) } else { expression(text)? };
        inputs.insert(name.into(), value);
        Ok(())
    };
    for (name, text) in environment {
        if let Some(name) = name.strip_prefix("TF_VAR_") {
            set(&mut inputs, name, text).map_err(|e| format!("TF_VAR_{name}: {e}"))?;
        }
    }
    for name in automatic(folder, &tree.overlay) {
        let path = folder.join(&name);
        if let Err(why) = file(tree, &path, &mut inputs) {
            let shown = super::shown(&path);
            tree.findings.push(Finding::without_place("SMP908", Severity::Error, shown, why));
        }
    }
    for one in given {
        match one {
            Given::Var(name, text) => {
                if !text_variables.contains_key(name) {
                    return Err(format!("--var {name}: the configuration has no such variable"));
                }
                set(&mut inputs, name, text).map_err(|e| format!("--var {name}: {e}"))?;
            }
            Given::File(path) => {
                file(tree, path, &mut inputs).map_err(|e| format!("--var-file {}: {e}", path.display()))?;
            }
        }
    }
    Ok(inputs)
}

fn expression(text: &str) -> Result<Value, String> {
    let (ast, id, diagnostics) = parse_expression(text.as_bytes());
    match id {
        Some(id) => constant(&ast, id, 0),
        None => Err(diagnostics.first().map_or_else(|| "no expression".into(), |d| d.message.clone())),
    }
}

/// The files that Terraform takes by itself, in its order.
fn automatic(folder: &Path, overlay: &Overlay) -> Vec<String> {
    let unsaved = overlay.names(folder);
    let listed =
        std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    let names: BTreeSet<String> = listed
        .chain(unsaved.iter().cloned())
        .filter(|n| n.ends_with(".auto.tfvars") || n.ends_with(".auto.tfvars.json"))
        .collect();
    let fixed = ["terraform.tfvars", "terraform.tfvars.json"].map(str::to_owned);
    fixed.into_iter().filter(|n| unsaved.contains(n) || folder.join(n).is_file()).chain(names).collect()
}

fn file(tree: &mut Tree, path: &Path, inputs: &mut Inputs) -> Result<(), String> {
    let text = tree.text(path)?;
    if path.extension().is_some_and(|e| e == "json") {
        let json: Json = serde_json::from_slice(&text).map_err(|e| format!("this is no JSON: {e}"))?;
        let Json::Object(items) = json else { return Err("want one object of values".into()) };
        inputs.extend(items.iter().map(|(name, json)| (name.as_str().into(), from_json(json))));
        return Ok(());
    }
    let (index, _) = tree.add(super::shown(path), text, false);
    let (mut failures, mut values) = (Vec::new(), Vec::new());
    let ast = &tree.files[index as usize].ast;
    for attribute in &ast.body.attributes {
        let span = ast.span(attribute.value);
        match constant(ast, attribute.value, index) {
            Ok(value) => values.push((
                attribute.name.text.clone(),
                value.through(Site { file: index, start: attribute.name.span.start, end: attribute.name.span.end }),
            )),
            Err(message) => failures.push((span, message)),
        }
    }
    for (span, message) in failures {
        let place = crate::finding::Place { file: index, span };
        tree.findings.push(Finding::new("SMP901", Severity::Error, place, message));
    }
    inputs.extend(values);
    Ok(())
}

/// Each variable of a module, and whether a text for it is taken as it is.
pub fn text_variables(definitions: &Definitions<'_>) -> BTreeMap<String, bool> {
    definitions.variables.keys().map(|name| (name.to_string(), is_text(definitions, name))).collect()
}
