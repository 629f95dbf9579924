//! `sampan restart`.

use std::process::ExitCode;

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::Output;
use crate::target::InNamespace;
use crate::{progress, rollout};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// APP or NS/APP.
    app: String,
    #[command(flatten)]
    place: InNamespace,
    /// Wait until it is done; exit code 1 when it failed.
    #[arg(short, long)]
    watch: bool,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = args.place.resolve(&args.app)?;
    let client = connection.client()?;
    let started = progress::during("asking the server", client.restart(&ns, &name)).await?;
    if args.watch {
        return rollout::follow(&client, (&ns, &name), started, out).await;
    }
    out.show(&started, || {
        format!("operation {} restarts {ns}/{name}; follow it: sampan rollout status {ns}/{name} --watch", started.id)
    })?;
    Ok(ExitCode::SUCCESS)
}
