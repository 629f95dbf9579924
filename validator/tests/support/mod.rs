//! What the tests of the evaluator share.

pub mod generator;
