//! `sampan rollout`: how a release stands, the verbs on it, and the way back.

mod history;
mod shown;
mod status;
mod undo;
mod verbs;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;
use sampan_client::{Client, Error, ReleaseVerb};
use sampan_schema::operation::{Operation, Phase};

use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Output, member, plain};
use crate::progress::Line;
use crate::target::InNamespace;

/// Nobody watches longer: the longest that a gray policy lets a release stand.
const LONGEST_WAIT: Duration = Duration::from_hours(30 * 24);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How the newest release stands: phase, step, weight, instances, what the analyses say.
    Status(status::Args),
    /// Go on to the next step, without analysis.
    Promote(verbs::Promote),
    /// Take no further step; healing and scaling go on.
    Pause(App),
    /// Go on where the release was paused; what failed is tried again.
    Resume(App),
    /// All requests to the stable revision, then the instances back to it.
    Abort(App),
    /// Back to an earlier revision, in one step and without analysis.
    Undo(undo::Args),
    /// Revisions, newest first, and which one is in force.
    History(App),
}

/// The application that is meant.
#[derive(Debug, clap::Args)]
struct App {
    /// APP or NS/APP.
    app: String,
    #[command(flatten)]
    place: InNamespace,
}

impl App {
    fn resolve(&self) -> Result<(String, String), Failure> {
        self.place.resolve(&self.app)
    }
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    match args.verb {
        Verb::Status(args) => status::run(args, connection, out).await,
        Verb::Promote(args) => verbs::promote(args, connection, out).await,
        Verb::Pause(app) => verbs::tell(&app, ReleaseVerb::Pause, connection, out).await,
        Verb::Resume(app) => verbs::tell(&app, ReleaseVerb::Resume, connection, out).await,
        Verb::Abort(app) => verbs::tell(&app, ReleaseVerb::Abort, connection, out).await,
        Verb::Undo(args) => undo::run(args, connection, out).await,
        Verb::History(app) => history::run(&app, connection, out).await,
    }
}

/// A time to wait, such as `90s`, `30m` or `1h 30m`: more than nothing, at most 30 days.
fn limit(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let limit = parsed.ok().and_then(|time| Duration::try_from(time).ok());
    limit
        .filter(|time| !time.is_zero() && *time <= LONGEST_WAIT)
        .ok_or_else(|| "write 90s, 30m, 2h; at most 30d".into())
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
    Ok(if operation.phase == Phase::Succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    let why = because(&operation.reason, &operation.message);
    if !why.is_empty() {
        text.push_str(&format!("; {why}"));
    }
    if !p.failing.is_empty() {
        text.push_str(&format!("; failing: {}", p.failing.join("; ")));
    }
    plain(&text)
}

/// `reason: message`, of what there is.
fn because(reason: &str, message: &str) -> String {
    [reason, message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
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

    #[test]
    fn a_limit_is_a_time_that_can_be_waited_for() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h 30m", 5400), ("1h30m", 5400), ("720h", 2_592_000)] {
            assert_eq!(limit(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0s", "-5m", "5", "soon", "721h", "99999999999999h"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
