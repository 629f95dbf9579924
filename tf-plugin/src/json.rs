//! Values and type constraints as JSON.

use crate::diagnostic::Diagnostic;
use crate::value::{Type, Value};

/// Reads a value of a type, numbers with all digits. Errors carry the place.
pub fn decode(_bytes: &[u8], _ty: &Type) -> Result<Value, Diagnostic> {
    Err(Diagnostic::error("todo", ""))
}

/// Writes a value of a type. An unknown has no form in JSON and is an error. Errors carry the place.
pub fn encode(_value: &Value, _ty: &Type) -> Result<Vec<u8>, Diagnostic> {
    Err(Diagnostic::error("todo", ""))
}

/// Reads a type constraint such as `["list","string"]`.
pub fn decode_type(_bytes: &[u8]) -> Result<Type, Diagnostic> {
    Err(Diagnostic::error("todo", ""))
}

/// Writes a type constraint.
pub fn encode_type(_ty: &Type) -> Vec<u8> {
    Vec::new()
}
