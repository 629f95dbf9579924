//! The real API, store and reconciler of a server against a made-up node, made-up gateways and a made-up clock.
//!
//! One thread, one seed, one order of events: a run that fails is run again by its seed or by the number of its crash
//! point. The server can be killed around every commit and around every call of the runtime; what the node had done by
//! then stays done, what it was about to do may come late. `SAMPAN_SEED=n` runs one seed, `SAMPAN_SEEDS=n` so many.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod cases;
mod chance;
mod client;
mod gateways;
mod life;
mod node;
mod schedules;
mod whatever;
mod world;
