//! The three-valued evaluator: what an expression means, as far as that can be known without a plan.

pub mod access;
pub mod budget;
pub mod constraint;
pub mod convert;
pub mod definition;
pub mod disk;
pub mod expand;
pub mod expr;
mod fingerprint;
pub mod functions;
pub mod graph;
pub mod number;
pub mod operator;
pub mod types;
pub mod value;
