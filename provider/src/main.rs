//! The Sampan provider: every kind of the schema, mapped to Terraform generically.
fn main() {}
