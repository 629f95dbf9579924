//! The three-valued evaluator: what an expression means, as far as that can be known without a plan.

pub mod access;
pub mod budget;
pub mod convert;
pub mod expr;
pub mod functions;
pub mod number;
pub mod operator;
pub mod types;
pub mod value;
