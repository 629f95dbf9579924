//! The process that Terraform starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    tf_plugin::serve(terraform_provider_sampan::Sampan, "registry.terraform.io/sampan/sampan")
}
