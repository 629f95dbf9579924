//! `sampan server`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::Failure;
use crate::output::Output;
use crate::serve::{self, Serving};

/// Prints one JSON line when it serves; the next start takes over the workloads.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for everything; short, since sockets are in it.
    #[arg(long, default_value = "/var/lib/sampan", value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    serving: Serving,
}

pub async fn run(args: Args, out: &mut Output) -> Result<ExitCode, Failure> {
    serve::run(args.data_dir, args.serving, false, out).await
}
