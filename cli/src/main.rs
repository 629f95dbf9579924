//! sampan: server and command line.
fn main() {}
