//! Everything that protocol 6.11 has, over real gRPC, with the client that plays Terraform core.

#![allow(clippy::unwrap_used)]

mod actions;
mod deferral;
mod ephemeral;
mod functions;
mod identity;
mod lab;
mod limits;
mod lists;
mod moves;
mod nesting;
mod private;
mod write_only;
