//! Repository tasks: generate, bench, edges.
fn main() {}
