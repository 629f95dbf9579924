//! `sampan rollout`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;
use sampan_client::{Client, Error};
use sampan_schema::operation::{Operation, Phase};

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Output, member, plain};
use crate::progress::{self, Line};
use crate::target::InNamespace;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How the newest operation of an application stands; exit code 1 when it failed.
    Status(Status),
}

#[derive(Debug, clap::Args)]
struct Status {
    /// APP or NS/APP.
    app: String,
    #[command(flatten)]
    place: InNamespace,
    /// Wait until the operation ends.
    #[arg(short, long)]
    watch: bool,
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let Verb::Status(args) = args.verb;
    let (ns, name) = args.place.resolve(&args.app)?;
    let client = connection.client()?;
    let newest = progress::during("asking the server", newest(&client, &ns, &name)).await?;
    let Some(operation) = newest else {
        out.show(&serde_json::Value::Null, || format!("{ns}/{name} has had no operation"))?;
        return Ok(ExitCode::SUCCESS);
    };
    if args.watch {
        return follow(&client, (&ns, &name), operation, out).await;
    }
    out.show(&operation, || text(&operation))?;
    Ok(code(operation.phase))
}

/// The newest operation of an application.
async fn newest(client: &Client, ns: &str, name: &str) -> Result<Option<Operation>, Error> {
    let object = client.get(&sampan_schema::APPLICATION, ns, name).await?;
    let id = member(object.status(), "/last_operation/id");
    if id.is_empty() { Ok(None) } else { client.operation(&id, Duration::ZERO).await.map(Some) }
}

/// Tells how the operation goes on until it ends; of one that was superseded, how its successor does.
pub async fn follow(
    client: &Client,
    (ns, name): (&str, &str),
    mut operation: Operation,
    out: &mut Output,
) -> Result<ExitCode, Failure> {
    let mut line = Line::new();
    loop {
        line.update(&text(&operation));
        if operation.phase == Phase::Superseded {
            match newest(client, ns, name).await {
                Ok(Some(next)) if next.id != operation.id => {
                    operation = next;
                    continue;
                }
                Ok(_) => {}
                // A deleted application: nothing comes after this one.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if operation.phase.is_terminal() {
            break;
        }
        let asked = Instant::now();
        let next = client.operation(&operation.id, Duration::from_secs(30)).await?;
        // Paused is answered at once.
        if next == operation && asked.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        operation = next;
    }
    line.end();
    out.show(&operation, || text(&operation))?;
    Ok(code(operation.phase))
}

fn code(phase: Phase) -> ExitCode {
    match phase {
        Phase::Failed | Phase::Aborted | Phase::RolledBack => ExitCode::FAILURE,
        Phase::Superseded => ExitCode::FAILURE,
        Phase::Pending | Phase::Running | Phase::Paused | Phase::Succeeded => ExitCode::SUCCESS,
    }
}

/// One line: what, how far, why not further.
fn text(operation: &Operation) -> String {
    let p = &operation.progress;
    let mut text = format!(
        "{} of {}/{}: {}, {}/{} updated, {} ready",
        operation.kind,
        operation.namespace,
        operation.name,
        operation.phase.word(),
        p.updated,
        p.total,
        p.ready
    );
    let why = [&operation.reason, &operation.message];
    let why = why.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(": ");
    if !why.is_empty() {
        text.push_str(&format!("; {why}"));
    }
    if !p.failing.is_empty() {
        text.push_str(&format!("; failing: {}", p.failing.join("; ")));
    }
    plain(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_why_not_further() {
        let mut operation = Operation {
            kind: "deploy".into(),
            namespace: "shop".into(),
            name: "web".into(),
            phase: Phase::Failed,
            reason: "DeadlineExceeded".into(),
            ..Operation::default()
        };
        operation.progress.total = 3;
        operation.progress.updated = 1;
        operation.progress.failing.push("web-1: ImageNotFound".into());
        assert_eq!(
            text(&operation),
            "deploy of shop/web: Failed, 1/3 updated, 0 ready; DeadlineExceeded; failing: web-1: ImageNotFound"
        );
    }
}
