//! `sampan rollout promote`, `pause`, `resume` and `abort`.

use std::process::ExitCode;

use sampan_client::{ReleaseVerb, Taken};

use super::App;
use crate::connection::Connection;
use crate::error::Failure;
use crate::output::{Output, plain};
use crate::progress;

#[derive(Debug, clap::Args)]
pub struct Promote {
    #[command(flatten)]
    app: App,
    /// To the end, past all steps.
    #[arg(long)]
    full: bool,
    /// Only out of this step: a release that has left it stays as it is.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    step: Option<u32>,
}

pub async fn promote(args: Promote, connection: &Connection, out: &mut Output) -> Result<ExitCode, Failure> {
    tell(&args.app, ReleaseVerb::Promote { full: args.full, step: args.step }, connection, out).await
}

pub async fn tell(
    app: &App,
    verb: ReleaseVerb,
    connection: &Connection,
    out: &mut Output,
) -> Result<ExitCode, Failure> {
    let (ns, name) = app.resolve()?;
    let client = connection.client()?;
    let taken = progress::during("asking the server", client.tell(&ns, &name, verb)).await?;
    out.show(&taken.rollout, || plain(&now(&format!("{ns}/{name}"), verb, &taken)))?;
    Ok(ExitCode::SUCCESS)
}

/// What happens now.
fn now(id: &str, verb: ReleaseVerb, taken: &Taken) -> String {
    let r = &taken.rollout;
    let at = if r.step > 0 { format!(" at step {} of {}", r.step, r.total_steps) } else { String::new() };
    let follow = format!("follow it: sampan rollout status {id} --watch");
    match (verb, taken.already) {
        (ReleaseVerb::Promote { step: Some(step), .. }, true) => format!("{id} has left step {step} already; {follow}"),
        (ReleaseVerb::Promote { .. }, true) => format!("{id} goes on already; {follow}"),
        (ReleaseVerb::Promote { full, .. }, false) => {
            let next = r.step + 1;
            let where_to = if !full && next < r.total_steps {
                format!("on to step {next} of {}", r.total_steps)
            } else {
                format!("to the end, with everything to revision {}", r.revision)
            };
            format!("{id} goes {where_to}; {follow}")
        }
        (ReleaseVerb::Pause, already) => {
            let word = if already { "is paused already" } else { "stands still" };
            format!("{id} {word}{at}; go on: sampan rollout resume {id}")
        }
        (ReleaseVerb::Resume, true) => format!("{id} is not paused; {follow}"),
        (ReleaseVerb::Resume, false) if r.reason == "ManualStep" => {
            format!("{id} judges step {} again, which then still waits for: sampan rollout promote {id}", r.step)
        }
        (ReleaseVerb::Resume, false) => format!("{id} goes on{at}; {follow}"),
        (ReleaseVerb::Abort, true) => format!("{id} is on its way back already; {follow}"),
        (ReleaseVerb::Abort, false) if r.stable_revision.is_empty() => format!("the release of {id} ends; {follow}"),
        (ReleaseVerb::Abort, false) => {
            format!("all requests to {id} go to revision {}, then the instances; {follow}", r.stable_revision)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_schema::rollout::Rollout;

    #[test]
    fn each_verb_says_what_happens_now() {
        let promote = |full, step| ReleaseVerb::Promote { full, step };
        let rollout = |step, reason: &str| Rollout {
            phase: "Paused".into(),
            step,
            total_steps: 3,
            revision: "bbbb".into(),
            stable_revision: "aaaa".into(),
            reason: reason.into(),
            ..Rollout::default()
        };
        let first = Rollout { step: 0, total_steps: 0, stable_revision: String::new(), ..rollout(0, "") };
        let all: Vec<String> = [
            (promote(false, None), false, rollout(1, "ManualStep")),
            (promote(false, Some(2)), false, rollout(2, "ManualStep")),
            (promote(true, None), false, rollout(1, "")),
            (promote(false, Some(1)), true, rollout(2, "")),
            (promote(false, None), true, rollout(2, "")),
            (ReleaseVerb::Pause, false, rollout(2, "")),
            (ReleaseVerb::Pause, true, rollout(2, "UserPaused")),
            (ReleaseVerb::Pause, false, first.clone()),
            (ReleaseVerb::Resume, false, rollout(2, "UserPaused")),
            (ReleaseVerb::Resume, false, rollout(2, "ManualStep")),
            (ReleaseVerb::Resume, true, rollout(2, "")),
            (ReleaseVerb::Abort, false, rollout(2, "")),
            (ReleaseVerb::Abort, false, first),
            (ReleaseVerb::Abort, true, rollout(2, "")),
        ]
        .into_iter()
        .map(|(verb, already, rollout)| now("shop/cart", verb, &Taken { rollout, already }))
        .collect();
        insta::assert_snapshot!(all.join("\n"));
    }
}
