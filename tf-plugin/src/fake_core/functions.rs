//! Calls of functions.

use super::{FakeCore, FakeError};
use crate::diagnostic::Diagnostic;
use crate::function::FunctionError;
use crate::json;
use crate::proto::tfplugin6 as pb;
use crate::service::wire;
use crate::value::Value;

impl FakeCore {
    /// Calls a function as core does: null where it is not allowed is an error, and an unknown one gives an unknown
    /// result, both without a call. With known arguments it is called twice, since the result must be the same.
    ///
    /// # Errors
    /// The call failed, or the answer breaks a rule. The function's own error is in the result.
    pub async fn call(&self, name: &str, arguments: &[Value]) -> Result<Result<Value, FunctionError>, FakeError> {
        let unknown = || Diagnostic::error("no such function", name);
        let function = self.functions.get(name).ok_or_else(unknown)?;
        let returns = json::decode_type(&function.r#return.clone().unwrap_or_default().r#type)?;
        let mut wired = Vec::with_capacity(arguments.len());
        for (index, value) in arguments.iter().enumerate() {
            let Some(parameter) = function.parameters.get(index).or(function.variadic_parameter.as_ref()) else {
                return Ok(Err(FunctionError::at(index, "too many arguments")));
            };
            if value.is_null() && !parameter.allow_null_value {
                return Ok(Err(FunctionError::at(index, "argument must not be null")));
            }
            if !value.is_wholly_known() && !parameter.allow_unknown_values {
                return Ok(Ok(Value::UNKNOWN));
            }
            wired.push(wire::dynamic(value, &json::decode_type(&parameter.r#type)?)?);
        }
        if arguments.len() < function.parameters.len() {
            return Ok(Err(FunctionError::new("not enough arguments")));
        }
        let rq = pb::call_function::Request { name: name.to_owned(), arguments: wired };
        let first = self.call_raw(rq.clone(), &returns).await?;
        if let (Ok(first), true) = (&first, arguments.iter().all(Value::is_wholly_known)) {
            if !first.is_wholly_known() {
                return Err(Diagnostic::error("core refuses: an unknown result of known arguments", name).into());
            }
            if self.call_raw(rq, &returns).await?.as_ref() != Ok(first) {
                return Err(Diagnostic::error("core refuses: two results of the same arguments", name).into());
            }
        }
        Ok(first)
    }

    /// Calls a function without core's rules about arguments.
    async fn call_raw(
        &self,
        rq: pb::call_function::Request,
        returns: &crate::value::Type,
    ) -> Result<Result<Value, FunctionError>, FakeError> {
        let answer = self.rpc().call_function(rq).await?.into_inner();
        if let Some(error) = answer.error {
            let argument = error.function_argument.and_then(|index| usize::try_from(index).ok());
            return Ok(Err(FunctionError { text: error.text, argument }));
        }
        Ok(Ok(wire::single(answer.result.as_ref(), returns)?))
    }

    /// The functions as they came over the wire.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &pb::Function)> {
        self.functions.iter().map(|(name, function)| (name.as_str(), function))
    }
}
