//! `sampan rollout`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;
use sampan_client::{Client, Error};
use sampan_schema::operation::{Operation, Phase};
use sampan_schema::rollout::Rollout;
use serde_json::json;

use crate::connection::Connection;
use crate::error::Failure;
use crate::get::revisions_table;
use crate::output::{Format, Output, member, plain};
use crate::progress::{self, Line};
use crate::target::InNamespace;

/// Pause between two looks at a release.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How far the newest release is: step, share of requests, analyses; exit code 1 when it failed.
    Status(Status),
    /// Revisions, newest first, the one in force marked.
    History(Target),
    /// Go on to the next step, or to the end, without analysis.
    Promote(Promote),
    /// Take no further step; healing and scaling go on.
    Pause(Target),
    /// Go on where the release was paused.
    Resume(Target),
    /// Send all requests to the stable revision, then return the instances to it.
    Abort(Target),
    /// Return to the revision before, or to a named one, in one step.
    Undo(Undo),
}

#[derive(Debug, clap::Args)]
struct Target {
    /// APP or NS/APP.
    app: String,
    #[command(flatten)]
    place: InNamespace,
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    target: Target,
    /// Show how it goes on until it is over or paused.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, clap::Args)]
struct Promote {
    #[command(flatten)]
    target: Target,
    /// To the end, not to the next step.
    #[arg(long)]
    full: bool,
    /// Only if the release is at this step; one that is passed is no failure.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    step: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct Undo {
    #[command(flatten)]
    target: Target,
    /// Number of the revision, as `history` shows it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// Wait until it is done; exit code 1 when it failed.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    limit: Limit,
}

/// How long a wait may last.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Limit {
    /// With --watch: seconds, or a time such as 90s, 10m or 2h, after which the waiting ends with exit code 1.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    timeout: Duration,
}

/// `90`, `90s`, `10m`, `2h`; at most a year, so that no sum overflows.
fn time(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[number.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    let seconds = seconds.filter(|s| (1..=31_536_000).contains(s));
    seconds.map(Duration::from_secs).ok_or_else(|| "write a time such as 90s, 10m or 2h".into())
}

pub async fn run(args: Args, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let verb = |target: Target, endpoint: &'static str| (target, endpoint, json!({}));
    let (target, endpoint, body) = match args.verb {
        Verb::Status(args) => return status(args, connection, out).await,
        Verb::History(args) => return history(args, connection, out).await,
        Verb::Undo(args) => return undo(args, connection, out).await,
        Verb::Promote(Promote { target, full, step }) => {
            let mut body = json!({ "full": full });
            if let Some(step) = step {
                body["step"] = step.into();
            }
            (target, "rollout_promote", body)
        }
        Verb::Pause(target) => verb(target, "rollout_pause"),
        Verb::Resume(target) => verb(target, "rollout_resume"),
        Verb::Abort(target) => verb(target, "rollout_abort"),
    };
    let (ns, name) = target.place.resolve(&target.app)?;
    let client = connection.client()?;
    let sent = client.rollout_verb(endpoint, (&ns, &name), body);
    let rollout = progress::during("asking the server", sent).await?;
    out.show(&rollout, || {
        let word = endpoint.trim_start_matches("rollout_");
        format!("{word} of {ns}/{name} accepted; follow it: sampan rollout status {ns}/{name} --watch")
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn status(args: Status, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = args.target.place.resolve(&args.target.app)?;
    let client = connection.client()?;
    let id = format!("{ns}/{name}");
    let mut rollout = progress::during("asking the server", client.rollout(&ns, &name)).await?;
    if !args.watch {
        out.show(&rollout, || block(&id, &rollout))?;
        return Ok(outcome(&rollout));
    }
    let end = Instant::now() + args.limit.timeout;
    let mut board = Board::new(out.format);
    loop {
        board.show(out, &id, &rollout)?;
        if rollout.is_over() || rollout.is_paused() {
            break;
        }
        if Instant::now() >= end {
            board.end(out, &id, &rollout)?;
            let text = format!("{id} is still {} after {} s; it goes on", rollout.phase, args.limit.timeout.as_secs());
            return Err(Failure::Failed(text));
        }
        tokio::time::sleep(LOOK.min(end.saturating_duration_since(Instant::now()))).await;
        rollout = client.rollout(&ns, &name).await?;
    }
    board.end(out, &id, &rollout)?;
    Ok(outcome(&rollout))
}

fn outcome(rollout: &Rollout) -> ExitCode {
    match rollout.phase.as_str() {
        "Failed" | "RolledBack" | "Aborted" => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Where a release that is watched is drawn: over and over in the same place on a terminal, else a line whenever it is
/// another one. Stdout belongs to the result alone when that is for a program.
struct Board {
    terminal: bool,
    stdout: bool,
    /// Lines that stand there.
    drawn: usize,
    last: String,
    line: Line,
}

impl Board {
    fn new(format: Format) -> Self {
        let stdout = format == Format::Table;
        let terminal = stdout && std::io::stdout().is_terminal();
        Self { terminal, stdout, drawn: 0, last: String::new(), line: Line::new() }
    }

    fn show(&mut self, out: &mut Output, id: &str, rollout: &Rollout) -> Result<(), Failure> {
        if !self.stdout {
            self.line.update(&sentence(id, rollout));
            return Ok(());
        }
        let text = if self.terminal { block(id, rollout) } else { sentence(id, rollout) };
        if text == self.last {
            return Ok(());
        }
        if self.terminal && self.drawn > 0 {
            // To the first line of what stands there, and away with it.
            let mut stdout = std::io::stdout().lock();
            write!(stdout, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        out.line(&text)?;
        self.drawn = text.lines().count();
        self.last = text;
        Ok(())
    }

    /// What stands there is the result, unless a program reads it.
    fn end(&mut self, out: &mut Output, id: &str, rollout: &Rollout) -> Result<(), Failure> {
        self.line.end();
        if self.stdout { Ok(()) } else { out.show(rollout, || sentence(id, rollout)) }
    }
}

/// All of a release on a few lines.
fn block(id: &str, r: &Rollout) -> String {
    let mut lines = vec![sentence(id, r)];
    if r.wanted > 0 {
        let full = |n: u64| usize::try_from((n * 20 / r.wanted).min(20)).unwrap_or(20);
        let (ready, updated) = (full(r.ready), full(r.updated.max(r.ready)));
        let bar = format!("{}{}{}", "#".repeat(ready), "+".repeat(updated - ready), ".".repeat(20 - updated));
        lines.push(format!("  instances  [{bar}] {} ready, {} updated of {}", r.ready, r.updated, r.wanted));
    }
    if !r.stable_revision.is_empty() && r.stable_revision != r.revision {
        lines.push(format!("  revision   {} -> {}", r.stable_revision, r.revision));
    }
    for verdict in &r.analysis {
        lines.push(format!("  analysis   {}: {} {}", verdict.name, verdict.result, verdict.message));
    }
    if r.is_paused() {
        lines.push(format!("  next       sampan rollout {} {id}, or sampan rollout abort {id}", way_on(r)));
    }
    lines.iter().map(|line| plain(line).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn way_on(r: &Rollout) -> &'static str {
    if r.reason == "UserPaused" { "resume" } else { "promote" }
}

/// A release on one line.
fn sentence(id: &str, r: &Rollout) -> String {
    if r.phase.is_empty() || r.phase == "None" {
        return format!("{id} has had no release");
    }
    let mut text = format!("{id}: {}", r.phase);
    if r.total_steps > 0 && r.step > 0 {
        text.push_str(&format!(", step {}/{}, {}% of requests", r.step, r.total_steps, r.weight_percent));
    }
    if !r.weight_limited_by.is_empty() {
        text.push_str(&format!(" (limited by {})", r.weight_limited_by));
    }
    if !r.is_over() {
        text.push_str(&format!(", {}/{} updated, {} ready", r.updated, r.wanted, r.ready));
    }
    for part in [&r.reason, &r.message].into_iter().filter(|part| !part.is_empty()) {
        text.push_str(&format!("; {part}"));
    }
    plain(&text)
}

async fn history(args: Target, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = args.place.resolve(&args.app)?;
    let client = connection.client()?;
    let asked = async {
        let object = client.get(&sampan_schema::APPLICATION, &ns, &name).await?;
        Ok::<_, Error>((member(object.status(), "/current_revision"), client.revisions(&ns, &name).await?))
    };
    let (current, items) = progress::during("asking the server", asked).await?;
    out.show(&json!({ "current": current, "items": items }), || revisions_table(&items, Some(&current)))?;
    Ok(ExitCode::SUCCESS)
}

async fn undo(args: Undo, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    let (ns, name) = args.target.place.resolve(&args.target.app)?;
    let client = connection.client()?;
    let started = progress::during("asking the server", client.rollback(&ns, &name, args.to)).await?;
    if args.watch {
        let id = started.id.clone();
        let following = follow(&client, (&ns, &name), started, out);
        return tokio::time::timeout(args.limit.timeout, following).await.unwrap_or_else(|_| {
            let text = format!("operation {id} has not ended after {} s; it goes on", args.limit.timeout.as_secs());
            Err(Failure::Failed(text))
        });
    }
    out.show(&started, || {
        format!("operation {} returns {ns}/{name}; follow it: sampan rollout status {ns}/{name} --watch", started.id)
    })?;
    Ok(ExitCode::SUCCESS)
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

    #[test]
    fn times_have_a_unit_and_an_end() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "0", "m", "1d", "1ms", "-1", "1.5h", "99999999999999999h", "9000h", "ä"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_release_is_drawn_with_batches_weight_and_verdicts() {
        use sampan_schema::rollout::Verdict;
        let verdict = |name: &str, result: &str, message: &str| Verdict {
            name: name.into(),
            result: result.into(),
            message: message.into(),
        };
        let verifying = Rollout {
            phase: "Verifying".into(),
            step: 2,
            total_steps: 3,
            weight_percent: 12.5,
            weight_limited_by: "ready gray instances".into(),
            revision: "bb".into(),
            stable_revision: "aa".into(),
            wanted: 4,
            updated: 3,
            ready: 2,
            analysis: vec![verdict("errors", "Running", "12 of 50 samples"), verdict("slow", "Passed", "")],
            ..Rollout::default()
        };
        let paused = Rollout { phase: "Paused".into(), reason: "ManualStep".into(), ..verifying.clone() };
        let over = Rollout {
            phase: "RolledBack".into(),
            reason: "AnalysisFailed".into(),
            message: "errors: 9 %".into(),
            ..Rollout::default()
        };
        let all = [block("shop/web", &verifying), block("shop/web", &paused), block("shop/web", &over)];
        insta::assert_snapshot!(all.join("\n---\n"));
        assert_eq!(sentence("shop/web", &Rollout::default()), "shop/web has had no release");
    }
}
