//! `sampan dev`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::Failure;
use crate::output::Output;
use crate::serve::{self, Serving};

/// Prints one JSON line when it serves, and stops cleanly on SIGTERM or Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for everything; short, since sockets are in it.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    serving: Serving,
}

pub async fn run(args: Args, out: &mut Output) -> Result<ExitCode, Failure> {
    serve::run(args.data_dir, args.serving, true, out).await
}
