//! A Terraform plugin framework for protocol 6. Knows nothing of Sampan.
pub mod context;
pub mod core_checks;
pub mod data_source;
pub mod diagnostic;
#[cfg(feature = "testkit")]
pub mod fake_core;
pub mod json;
pub mod log;
pub mod msgpack;
mod number;
pub mod path;
pub mod plan;
pub mod private;
pub mod proto;
pub mod provider;
pub mod resource;
pub mod schema;
pub mod serve;
mod service;
pub mod tls;
pub mod validate;
pub mod value;

pub use context::{Context, Interrupted};
pub use data_source::{DataAnswer, DataRequest, DataSource};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use path::{Path, Step};
pub use private::Private;
pub use provider::{Configured, Provider, Registry};
pub use resource::{
    Applied, CreateRequest, DeleteRequest, ImportRequest, Imported, Observed, Plan, ReadRequest, Resource,
    StateUpgrade, UpdateRequest,
};
pub use schema::{Attr, Block, Body, Kind, Nesting, Schema, Semantic};
pub use serve::{COOKIE_KEY, COOKIE_VALUE, serve};
pub use value::{Number, Object, Refinements, Set, Type, Value};
