//! `sampan lsp`: the rules of `sampan lint` in an editor, over stdin and stdout.

use std::process::ExitCode;

use sampan_validator::lsp::{Options, serve};
use sampan_validator::module::Flavor;

use crate::error::Failure;
use crate::lint;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Language of the files.
    #[arg(long, value_name = "NAME", default_value = "terraform", value_parser = ["terraform", "tofu"])]
    flavor: String,
    /// Talk over stdin and stdout. There is no other way; many editors say it all the same.
    #[arg(long)]
    stdio: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let options = Options {
        flavor: if args.flavor == "tofu" { Flavor::Tofu } else { Flavor::Terraform },
        environment: lint::environment(),
        today: lint::today,
        version: env!("CARGO_PKG_VERSION"),
    };
    let code = serve(std::io::stdin(), std::io::stdout(), options)
        .map_err(|error| Failure::Failed(format!("threads cannot be started: {error}")))?;
    Ok(ExitCode::from(code))
}
