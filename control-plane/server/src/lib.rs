//! HTTP API, authentication, reconcile loop. Contains no rule that could live in `engine`.

mod admission;
pub mod app;
mod auth;
pub mod clock;
mod container;
mod egress;
mod http;
mod objects;
mod reconciler;
mod registry;
mod retention;
mod sample;
mod serve;

pub use app::{Config, Error, Server};
