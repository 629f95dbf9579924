//! Every decision of the control plane, as pure functions over (spec, observed, now).
//!
//! This crate does no IO, reads no clock and spawns nothing. A decision that needs to wait returns a value that says
//! until when. The traits in [`runtime`] are what an executor offers; nothing here calls them.

pub mod analysis;
pub mod application;
pub mod environment_schedule;
pub mod gray_policy;
pub mod instance;
pub mod queue;
pub mod reconcile;
pub mod release;
pub mod revision;
pub mod route;
pub mod runtime;
pub mod scaling;
pub mod traffic;
