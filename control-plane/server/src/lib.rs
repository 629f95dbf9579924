//! HTTP API, authentication, reconcile loop. Contains no rule that could live in `engine`.

mod admission;
pub mod app;
mod auth;
mod blocking;
pub mod clock;
mod container;
mod egress;
mod http;
mod objects;
mod pull_secret;
mod quota;
mod reconciler;
mod registry;
mod retention;
mod sample;
mod scaling;
mod serve;
#[cfg(test)]
mod simulation;

pub use app::{Config, Error, Server};
