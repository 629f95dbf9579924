//! What each function takes and gives, read once from the checked-in table.

use super::Fault;
use crate::eval::types::Type;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Terraform's own table, without its prose.
const TABLE: &str = include_str!("../../../data/functions-1.11.json");

/// One parameter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// As the documentation names it.
    pub name: String,
    /// What an argument is converted to.
    #[serde(rename = "type", deserialize_with = "type_of")]
    pub ty: Type,
    /// Whether null is allowed.
    #[serde(default)]
    pub nullable: bool,
}

/// One function.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Type of the result; `Dynamic` where it depends on the arguments.
    #[serde(deserialize_with = "type_of")]
    pub returns: Type,
    /// Parameters by position.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// What further arguments are.
    #[serde(default)]
    pub variadic: Option<Parameter>,
}

impl Signature {
    /// The parameter that the argument at `index` belongs to.
    pub fn parameter(&self, index: usize) -> Option<&Parameter> {
        self.parameters.get(index).or(self.variadic.as_ref())
    }

    /// Fails for too few or too many arguments.
    pub(super) fn check_count(&self, given: usize) -> Result<(), Fault> {
        if let Some(missing) = self.parameters.get(given) {
            let least = if self.variadic.is_some() { "at least " } else { "" };
            let wanted = self.parameters.len();
            return Err(Fault::call(format!(
                "expects {least}{wanted} argument(s); missing value for \"{}\"",
                missing.name
            )));
        }
        if self.variadic.is_none() && given > self.parameters.len() {
            return Err(Fault::call(format!("expects only {} argument(s)", self.parameters.len())));
        }
        Ok(())
    }
}

static SIGNATURES: LazyLock<BTreeMap<String, Signature>> =
    LazyLock::new(|| serde_json::from_str(TABLE).unwrap_or_default());

/// The signature of a function of the core.
pub fn signature(name: &str) -> Option<&'static Signature> {
    SIGNATURES.get(name)
}

/// All names of the core, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    SIGNATURES.keys().map(String::as_str)
}

fn type_of<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Type, D::Error> {
    let json = serde_json::Value::deserialize(from)?;
    parse(&json).ok_or_else(|| serde::de::Error::custom(format!("no type: {json}")))
}

/// `"string"`, `["list", "string"]`, as in Terraform's JSON.
fn parse(json: &serde_json::Value) -> Option<Type> {
    match json {
        serde_json::Value::String(name) => match name.as_str() {
            "bool" => Some(Type::Bool),
            "number" => Some(Type::Number),
            "string" => Some(Type::String),
            "dynamic" => Some(Type::Dynamic),
            _ => None,
        },
        serde_json::Value::Array(parts) => {
            let element = parse(parts.get(1)?)?;
            match parts.first()?.as_str()? {
                "list" => Some(Type::list(element)),
                "set" => Some(Type::set(element)),
                "map" => Some(Type::map(element)),
                _ => None,
            }
        }
        _ => None,
    }
}
