//! Calls of functions.

use super::{Inner, wire};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::function::{FunctionDef, FunctionError, Parameter};
use crate::json;
use crate::path::Path;
use crate::proto::tfplugin6 as pb;
use crate::provider::Provider;
use crate::value::Value;
use std::collections::BTreeMap;

impl<P: Provider> Inner<P> {
    pub(super) fn functions(&self) -> BTreeMap<String, pb::Function> {
        self.registry().functions.iter().map(|(name, function)| (name.clone(), wired(&function.definition()))).collect()
    }

    pub(super) fn function_list(&self) -> pb::get_functions::Response {
        pb::get_functions::Response { functions: self.functions(), diagnostics: Vec::new() }
    }

    pub(super) fn call_function(&self, rq: &pb::call_function::Request) -> pb::call_function::Response {
        match self.called(rq) {
            Ok(result) => pb::call_function::Response { result: Some(result), error: None },
            Err(error) => pb::call_function::Response {
                result: None,
                error: Some(pb::FunctionError {
                    text: self.secrets.mask(&error.text),
                    function_argument: error.argument.and_then(|index| i64::try_from(index).ok()),
                }),
            },
        }
    }

    fn called(&self, rq: &pb::call_function::Request) -> Result<pb::DynamicValue, FunctionError> {
        let Some(function) = self.registry().functions.get(&rq.name) else {
            return Err(FunctionError::new(format!("The provider has no function {}.", rq.name)));
        };
        let definition = function.definition();
        let arguments = arguments(&definition, &rq.arguments)?;
        let known = arguments.iter().all(Value::is_wholly_known);
        let result = function.call(arguments)?;
        let defect = |what: String| FunctionError::new(format!("{what} This is a defect of the provider."));
        if known && !result.is_wholly_known() {
            return Err(defect(format!("{} of known arguments has no known result.", rq.name)));
        }
        wire::dynamic(&result, &definition.returns).map_err(|d| defect(text(&d)))
    }
}

fn text(d: &Diagnostic) -> String {
    match &d.path {
        Some(place) => format!("{} at {place}: {}", d.summary, d.detail),
        None => format!("{}: {}", d.summary, d.detail),
    }
}

/// The arguments by the types of their parameters, each allowed there.
fn arguments(definition: &FunctionDef, given: &[pb::DynamicValue]) -> Result<Vec<Value>, FunctionError> {
    let wanted = definition.parameters.len();
    if given.len() < wanted || (given.len() > wanted && definition.variadic.is_none()) {
        return Err(FunctionError::new(format!("{wanted} arguments are needed, {} are given.", given.len())));
    }
    let mut read = Vec::with_capacity(given.len());
    for (index, value) in given.iter().enumerate() {
        // There is one for each, as the numbers agree.
        let Some(parameter) = definition.parameter_of(index) else { break };
        read.push(argument(parameter, value).map_err(|why| FunctionError::at(index, why))?);
    }
    Ok(read)
}

fn argument(parameter: &Parameter, value: &pb::DynamicValue) -> Result<Value, String> {
    let value = wire::single(Some(value), &parameter.ty).map_err(|d| text(&d))?;
    if value.is_null() && !parameter.allow_null {
        return Err(format!("{} must not be null.", parameter.name));
    }
    if !parameter.allow_unknown && !value.is_wholly_known() {
        return Err(format!("{} must be known.", parameter.name));
    }
    let mut d = Diagnostics::new();
    for validator in &parameter.validators {
        validator.run(&value, &Path::root(), &mut d);
    }
    match d.iter().find(|d| d.is_error()) {
        Some(error) => Err(format!("{}: {}", error.summary, error.detail)),
        None => Ok(value),
    }
}

fn wired(definition: &FunctionDef) -> pb::Function {
    pb::Function {
        parameters: definition.parameters.iter().map(parameter).collect(),
        variadic_parameter: definition.variadic.as_ref().map(parameter),
        r#return: Some(pb::function::Return { r#type: json::encode_type(&definition.returns).into() }),
        summary: definition.summary.clone(),
        description: definition.description.clone(),
        description_kind: pb::StringKind::Markdown.into(),
        deprecation_message: definition.deprecated.clone().unwrap_or_default(),
    }
}

fn parameter(parameter: &Parameter) -> pb::function::Parameter {
    pb::function::Parameter {
        name: parameter.name.clone(),
        r#type: json::encode_type(&parameter.ty).into(),
        allow_null_value: parameter.allow_null,
        allow_unknown_values: parameter.allow_unknown,
        description: parameter.description.clone(),
        description_kind: pb::StringKind::Markdown.into(),
    }
}
