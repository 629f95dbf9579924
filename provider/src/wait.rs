//! Following an operation.

use sampan_client::{Client, Error};
use sampan_schema::operation::{Operation, Phase};
use std::time::{Duration, Instant};
use tf_plugin::{Context, Interrupted, Progress};

/// Longest wait of one request.
const POLL: Duration = Duration::from_secs(30);
/// Pause when the server cannot be reached, or answers at once although nothing has changed.
const PAUSE: Duration = Duration::from_secs(1);

/// How the waiting ended.
#[derive(Debug)]
pub(crate) enum Waited {
    /// The operation is over, or paused.
    Over(Operation),
    /// Terraform asked to stop.
    Interrupted(Operation),
    /// The time was too short.
    Late(Operation),
    /// The operation cannot be read.
    Lost(Error),
}

/// A pause that somebody asked for is no failure.
pub(crate) fn is_planned_pause(reason: &str) -> bool {
    matches!(reason, "ManualStep" | "WaitingApproval" | "NoTraffic" | "MetricsMissing" | "UserPaused")
}

/// What ends a planned pause.
pub(crate) fn way_on(operation: &Operation) -> String {
    let app = format!("{}/{}", operation.namespace, operation.name);
    match operation.reason.as_str() {
        "UserPaused" => format!("`sampan rollout resume {app}`, or `sampan rollout promote {app}` past the step"),
        "NoTraffic" | "MetricsMissing" => {
            format!("`sampan rollout resume {app}`, which looks again, or `sampan rollout promote {app}` past the step")
        }
        _ => format!("`sampan rollout promote {app}`"),
    }
}

/// What ends a pause after a failure.
pub(crate) fn ways_out(app: &str) -> String {
    format!(
        "`sampan rollout resume {app}` tries the step again, `sampan rollout promote {app}` goes on all the same, \
         `sampan rollout abort {app}` goes back; a change that repairs it begins anew. `sampan rollout status {app}` \
         says more."
    )
}

/// Waits until the operation is over or paused, tells a reader of the log how far it is, and never ends it. `through`:
/// a planned pause is waited out too.
pub(crate) async fn operation(cx: &Context, client: &Client, now: Operation, revision: &str, through: bool) -> Waited {
    told(cx, client, now, revision, through, None).await
}

/// The same; tells the user of an action how far it is.
pub(crate) async fn told(
    cx: &Context,
    client: &Client,
    mut now: Operation,
    revision: &str,
    through: bool,
    listener: Option<&Progress>,
) -> Waited {
    let mut told = String::new();
    loop {
        let stands = now.phase == Phase::Paused && !(through && is_planned_pause(&now.reason));
        if now.phase.is_terminal() || stands {
            return Waited::Over(now);
        }
        let text = progress(&now, revision);
        if text != told {
            match listener {
                Some(listener) => listener.say(text.clone()).await,
                None => cx.progress(&text),
            }
            told = text;
        }
        let asked = Instant::now();
        let wait = cx.remaining().map_or(POLL, |left| left.min(POLL));
        match cx.run(client.operation(&now.id, wait)).await {
            Err(Interrupted::Cancelled) => return Waited::Interrupted(now),
            Err(Interrupted::DeadlinePassed) => return Waited::Late(now),
            Ok(Ok(next)) => {
                let still = next == now;
                now = next;
                if !still || asked.elapsed() > PAUSE {
                    continue;
                }
            }
            // A server that restarts; the operation goes on.
            Ok(Err(error @ Error::Connection { .. })) => tracing::warn!("{error}; trying again"),
            Ok(Err(error)) => return Waited::Lost(error),
        }
        match cx.run(tokio::time::sleep(PAUSE)).await {
            Ok(()) => {}
            Err(Interrupted::Cancelled) => return Waited::Interrupted(now),
            Err(Interrupted::DeadlinePassed) => return Waited::Late(now),
        }
    }
}

/// `3/10 on revision 7f3a, 1 failing: cart-2: CrashLoop: exit code 1`.
pub(crate) fn progress(operation: &Operation, revision: &str) -> String {
    let p = &operation.progress;
    let mut text = format!("{}/{}", p.updated.min(p.ready), p.total);
    if !revision.is_empty() {
        text = format!("{text} on revision {revision}");
    }
    if let Some(first) = p.failing.first() {
        text = format!("{text}, {} failing: {first}", p.failing.len());
    }
    let id = &operation.id;
    match (operation.kind.as_str(), operation.phase) {
        (kind, Phase::Pending) if operation.message.is_empty() => {
            format!("{kind}: waiting to begin (operation {id})")
        }
        (kind, Phase::Pending) => format!("{kind}: {} (operation {id})", operation.message),
        (kind, Phase::Paused) => {
            format!("{kind}: {text}, paused: {} (operation {id}); go on with {}", operation.reason, way_on(operation))
        }
        (kind, _) => format!("{kind}: {text} (operation {id})"),
    }
}

/// What became of an operation, for the detail of a diagnostic.
pub(crate) fn outcome(operation: &Operation) -> String {
    let Operation { id, kind, phase, reason, message, progress, .. } = operation;
    let mut text = format!("The operation {id} ({kind}) ended as {}", phase.word());
    if !reason.is_empty() {
        text = format!("{text}: {reason}");
    }
    if !message.is_empty() {
        text = format!("{text}: {message}");
    }
    text.push('.');
    if !progress.failing.is_empty() {
        text = format!("{text}\n\n{} of {} instances are ready with the change.", progress.ready, progress.total);
        // What the message says already is not said again.
        let more = progress.failing.iter().filter(|failing| !message.contains(failing.as_str())).take(5);
        for failing in more {
            text = format!("{text}\n{failing}");
        }
    }
    text
}
