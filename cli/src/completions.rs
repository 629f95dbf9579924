//! `sampan completions`.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::error::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub struct Args {
    shell: clap_complete::Shell,
}

pub fn run(args: Args, out: &mut Output) -> Result<ExitCode, Failure> {
    // Into memory first: the generator panics when its writer fails.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "sampan", &mut text);
    out.raw(&text)?;
    Ok(ExitCode::SUCCESS)
}
