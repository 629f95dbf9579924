//! `sampan rollout undo`.

use std::process::ExitCode;
use std::time::Duration;

use super::{App, follow};
use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Output, plain};
use crate::progress;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: App,
    /// Number of the revision, as `sampan rollout history` shows it; without it the one before.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// Wait until it is done; exit code 1 when it failed.
    #[arg(short, long)]
    wait: bool,
    /// How long to wait; exit code 1 when it is not done then.
    #[arg(long, requires = "wait", value_name = "TIME", default_value = "30m", value_parser = super::limit)]
    timeout: Duration,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = args.app.resolve()?;
    let client = connection.client()?;
    let started = progress::during("asking the server", client.rollback(&ns, &name, args.to)).await?;
    let id = plain(&started.id);
    if args.wait {
        let end = tokio::time::timeout(args.timeout, follow(&client, (&ns, &name), started, out)).await;
        return end.unwrap_or_else(|_| {
            let seconds = args.timeout.as_secs_f64();
            Err(Failure::Failed(format!(
                "operation {id} of {ns}/{name} has not ended within {seconds} s and goes on; follow it: sampan rollout \
                 status {ns}/{name} --watch"
            )))
        });
    }
    out.show(&started, || {
        let to = args.to.map_or_else(|| "the revision before".into(), |number| format!("revision {number}"));
        format!("operation {id} returns {ns}/{name} to {to}; follow it: sampan rollout status {ns}/{name} --watch")
    })?;
    Ok(ExitCode::SUCCESS)
}
