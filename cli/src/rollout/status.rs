//! `sampan rollout status`.

use std::process::ExitCode;
use std::time::Duration;

use sampan_client::{Client, Error};
use tokio::time::Instant;

use super::shown::{Seen, Stop};
use super::{App, newest};
use crate::connection::Connection;
use crate::error::Failure;
use crate::output::Output;
use crate::progress::{self, Block};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// For one request of a watch: the next one may be luckier.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: App,
    /// Wait until the release is over or paused; exit code 1 when it failed, was aborted or rolled back.
    #[arg(short, long)]
    watch: bool,
    /// How long to watch; exit code 1 when it is not over then.
    #[arg(long, requires = "watch", value_name = "TIME", default_value = "30m", value_parser = super::limit)]
    timeout: Duration,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = args.app.resolve()?;
    if args.watch {
        let client = connection.patient_client(PATIENCE)?;
        return watch(&client, (&ns, &name), args.timeout, out).await;
    }
    let client = connection.client()?;
    let seen = progress::during("asking the server", find(&client, &ns, &name)).await?;
    out.show(&seen.rollout, || seen.page())?;
    Ok(ExitCode::SUCCESS)
}

/// The release first: the operation that is read after it is never older.
async fn find(client: &Client, ns: &str, name: &str) -> Result<Seen, Error> {
    let rollout = client.rollout(ns, name).await?;
    let operation = newest(client, ns, name).await?;
    Ok(Seen { id: format!("{ns}/{name}"), rollout, operation })
}

/// Tells how the release goes on until it is over or waits for somebody. Once it has been seen, a server that is away
/// for a while is waited for.
async fn watch(
    client: &Client,
    (ns, name): (&str, &str),
    limit: Duration,
    out: &mut Output,
) -> Result<ExitCode, Failure> {
    let end = Instant::now() + limit;
    let mut block = Block::new();
    let mut last: Option<Seen> = None;
    loop {
        match (tokio::time::timeout_at(end, find(client, ns, name)).await, &last) {
            (Ok(Ok(seen)), _) => {
                block.update(&seen.page(), &seen.line());
                let stop = seen.stop();
                // A verb that was just taken may not have been obeyed yet: a pause counts when it lasts.
                let lasts = stop != Some(Stop::Paused) || last.as_ref() == Some(&seen);
                if let Some(stop) = stop.filter(|_| lasts) {
                    block.end();
                    out.show(&seen.rollout, || seen.page())?;
                    return Ok(stop.code());
                }
                last = Some(seen);
            }
            (Ok(Err(error)), Some(seen)) if error.is_not_found() && is_deleted(seen) => {
                block.end();
                out.show(&seen.rollout, || format!("{} is deleted", seen.id))?;
                return Ok(ExitCode::SUCCESS);
            }
            (Ok(Err(error)), Some(seen)) if is_passing(&error) => {
                block.update(&format!("{}\n{error}", seen.page()), &format!("{error}; trying again"));
            }
            (Ok(Err(error)), _) => return Err(error.into()),
            (Err(_), _) => {}
        }
        if Instant::now() + PAUSE >= end {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    block.end();
    let so_far = match &last {
        Some(seen) => {
            out.show(&seen.rollout, || seen.page())?;
            seen.line()
        }
        None => "the server has not answered".into(),
    };
    Err(Failure::Failed(format!("{ns}/{name}: not over within {} s: {so_far}", limit.as_secs_f64())))
}

fn is_deleted(seen: &Seen) -> bool {
    seen.operation.as_ref().is_some_and(|op| op.kind == "delete")
}

/// The server may answer the next time.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Connection { .. } => true,
        Error::Foreign { status, .. } => *status >= 500 || *status == 429,
        Error::Problem(problem) => problem.status >= 500 || problem.status == 429,
        _ => false,
    }
}
