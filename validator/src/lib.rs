//! Reads Terraform configuration that describes Sampan resources and says what is wrong, what is risky and what cannot
//! be decided yet.
//!
//! It never opens a socket, never starts a process and needs no provider. What the API server would refuse is decided
//! by `sampan_schema` alone; the rules of this crate add what only a reader of configuration can see.
//!
//! The way of a file: bytes, [`parse::parse`], [`ast::Ast`], modules, [`eval`], typed views, rules, reports.

pub mod ast;
pub mod baseline;
pub mod config;
pub mod diagnostic;
pub mod eval;
pub mod finding;
pub mod fix;
pub mod lint;
pub mod lsp;
pub mod module;
pub mod parallel;
pub mod parse;
pub mod plan;
pub mod policy;
pub mod report;
pub mod rules;
pub mod source;
pub mod suppress;
pub mod view;
