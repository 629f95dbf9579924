//! A Terraform plugin framework for protocol 6. Knows nothing of Sampan.
pub mod proto;
pub mod core_checks;
pub mod diagnostic;
pub mod json;
pub mod msgpack;
pub mod path;
pub mod plan;
pub mod schema;
pub mod validate;
pub mod value;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use path::{Path, Step};
pub use schema::{Attr, Block, Body, Kind, Nesting, Schema, Semantic};
pub use value::{Number, Object, Refinements, Set, Type, Value};
