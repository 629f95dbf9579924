//! Values as MessagePack.

use crate::diagnostic::Diagnostic;
use crate::value::{Type, Value};

/// Reads a value of a type. Errors carry the place.
pub fn decode(_bytes: &[u8], _ty: &Type) -> Result<Value, Diagnostic> {
    Err(Diagnostic::error("todo", ""))
}

/// Writes a value of a type. Errors carry the place.
pub fn encode(_value: &Value, _ty: &Type) -> Result<Vec<u8>, Diagnostic> {
    Err(Diagnostic::error("todo", ""))
}
