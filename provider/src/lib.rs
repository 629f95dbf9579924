//! The Sampan provider: every kind of `sampan_schema`, mapped to Terraform generically. There is no list of fields
//! here; a new kind or field of the schema appears by itself.

mod actions;
mod api_token;
mod data_source;
mod functions;
mod labels;
mod list;
mod mapping;
mod report;
mod report_data;
mod resource;
mod settings;
mod wait;

pub use settings::{Connection, Sampan};
