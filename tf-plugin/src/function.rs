//! A function: a pure computation that a configuration calls as `provider::acme::name(…)` (protocol 6.5).

use crate::validate::Validator;
use crate::value::{Type, Value};
use std::collections::BTreeSet;

/// A function of a provider.
///
/// It is pure: the same known arguments give the same known result, and it works without configured provider.
pub trait Function: Send + Sync + 'static {
    /// Its name, without the provider's: `parse_id`.
    fn name(&self) -> &str;

    /// Parameters and result. Asked once for the schema, and again for each call.
    fn definition(&self) -> FunctionDef;

    /// Computes. There is one argument for each parameter, then those of the variadic one.
    ///
    /// Null and unknown arguments come only where the parameter allows them.
    ///
    /// # Errors
    /// A text for the user, and the argument that is wrong, if it is one.
    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError>;
}

/// What a function takes and gives.
#[derive(Clone, Debug)]
pub struct FunctionDef {
    /// Parameters by position.
    pub parameters: Vec<Parameter>,
    /// Takes all further arguments, also none.
    pub variadic: Option<Parameter>,
    /// Type of the result.
    pub returns: Type,
    /// One line.
    pub summary: String,
    /// Markdown.
    pub description: String,
    /// Text for those who still call it.
    pub deprecated: Option<String>,
}

impl FunctionDef {
    /// A function without parameters.
    pub fn new(returns: Type) -> Self {
        Self {
            parameters: Vec::new(),
            variadic: None,
            returns,
            summary: String::new(),
            description: String::new(),
            deprecated: None,
        }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Takes any number of further arguments.
    #[must_use]
    pub fn variadic(mut self, parameter: Parameter) -> Self {
        self.variadic = Some(parameter);
        self
    }

    /// One line for the documentation.
    #[must_use]
    pub fn summary(mut self, text: impl Into<String>) -> Self {
        self.summary = text.into();
        self
    }

    /// Markdown for the documentation.
    #[must_use]
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Terraform warns those who call it with this text.
    #[must_use]
    pub fn deprecated(mut self, text: impl Into<String>) -> Self {
        self.deprecated = Some(text.into());
        self
    }

    /// The parameter of an argument, by its index.
    pub fn parameter_of(&self, argument: usize) -> Option<&Parameter> {
        self.parameters.get(argument).or(self.variadic.as_ref())
    }

    /// Finds what Terraform refuses.
    pub(crate) fn problems(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        if !is_identifier(name) {
            found.push(format!("{name:?} is no name of a function"));
        }
        let mut names = BTreeSet::new();
        for parameter in self.parameters.iter().chain(&self.variadic) {
            if !is_identifier(&parameter.name) {
                found.push(format!("{:?} is no name of a parameter", parameter.name));
            }
            if !names.insert(&parameter.name) {
                found.push(format!("two parameters have the name {:?}", parameter.name));
            }
            found.extend(parameter.validators.iter().filter_map(|v| v.problem()).map(str::to_owned));
        }
        found
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Name, for documentation and messages.
    pub name: String,
    /// Type; Terraform converts arguments to it.
    pub ty: Type,
    /// Null may arrive; otherwise Terraform refuses it.
    pub allow_null: bool,
    /// Unknown values may arrive; otherwise the result is unknown without a call.
    pub allow_unknown: bool,
    /// Markdown.
    pub description: String,
    /// Checks of the argument.
    pub validators: Vec<Validator>,
}

impl Parameter {
    /// A parameter that takes known values other than null.
    pub fn new(name: impl Into<String>, ty: Type) -> Self {
        Self {
            name: name.into(),
            ty,
            allow_null: false,
            allow_unknown: false,
            description: String::new(),
            validators: Vec::new(),
        }
    }

    /// Null arrives too.
    #[must_use]
    pub fn allow_null(mut self) -> Self {
        self.allow_null = true;
        self
    }

    /// Unknown values arrive too.
    #[must_use]
    pub fn allow_unknown(mut self) -> Self {
        self.allow_unknown = true;
        self
    }

    /// Markdown for the documentation.
    #[must_use]
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// A check of every known argument.
    #[must_use]
    pub fn validate(mut self, validator: Validator) -> Self {
        self.validators.push(validator);
        self
    }
}

/// Why a function has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct FunctionError {
    /// For the user.
    pub text: String,
    /// Index of the argument that is wrong, if it is one; Terraform shows its place.
    pub argument: Option<usize>,
}

impl FunctionError {
    /// An error of the call as a whole.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), argument: None }
    }

    /// An error of one argument.
    pub fn at(argument: usize, text: impl Into<String>) -> Self {
        Self { text: text.into(), argument: Some(argument) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_the_variadic_parameter_takes_the_rest() {
        let def = FunctionDef::new(Type::String)
            .parameter(Parameter::new("one", Type::String))
            .variadic(Parameter::new("rest", Type::Number));
        assert!(def.problems("join_all").is_empty());
        assert_eq!(def.parameter_of(0).map(|p| p.name.as_str()), Some("one"));
        assert_eq!(def.parameter_of(7).map(|p| p.name.as_str()), Some("rest"));
        let twice = def.clone().parameter(Parameter::new("one", Type::Bool)).parameter(Parameter::new("1", Type::Bool));
        assert_eq!(twice.problems("no good").len(), 3);
        assert!(FunctionDef::new(Type::String).parameter_of(0).is_none());
    }
}
