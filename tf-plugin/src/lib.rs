//! A Terraform plugin framework for protocol 6.11.
//!
//! Start with [`Provider`] and [`Resource`]; [`serve()`] is a whole `main`. The README has a provider of one page, and
//! `examples/demo.rs` one of everything. With the feature `testkit`, `fake_core` plays Terraform in tests.
#![deny(missing_docs)]

pub mod action;
pub mod catalogue;
pub mod context;
pub mod core_checks;
pub mod data_source;
pub mod deferred;
pub mod diagnostic;
pub mod ephemeral;
#[cfg(feature = "testkit")]
pub mod fake_core;
pub mod function;
pub mod generate;
pub mod identity;
pub mod json;
pub mod list;
pub mod log;
pub mod moved;
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

pub use action::{Action, Progress};
pub use catalogue::Catalogue;
pub use context::{Context, Interrupted};
pub use data_source::{DataAnswer, DataRequest, DataSource};
pub use deferred::DeferredReason;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use ephemeral::{EphemeralResource, OpenRequest, Opened, Renewed};
pub use function::{Function, FunctionDef, FunctionError, Parameter};
pub use identity::{IdentitySchema, IdentityUpgrade};
pub use list::{ListRequest, ListResource, ListSink, Listed};
pub use moved::{MoveSource, Moved, StateMove};
pub use path::{Path, Step};
pub use private::Private;
pub use provider::{Configured, Provider, Registry};
pub use resource::{
    Applied, CreateRequest, DeleteRequest, ImportRequest, Imported, Observed, Plan, ReadRequest, Resource,
    StateUpgrade, UpdateRequest,
};
pub use schema::{Attr, Block, Body, CustomType, Kind, Nesting, Schema, Semantic, Usage};
pub use serve::{COOKIE_KEY, COOKIE_VALUE, serve};
pub use value::{Number, Object, Refinements, Set, Type, Value};
