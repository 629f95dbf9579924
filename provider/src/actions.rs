//! Actions on an application: thin tables over the verbs of the API.

use crate::report;
use crate::settings::Connection;
use crate::wait::{self, Waited};
use sampan_client::{Error, ReleaseVerb};
use sampan_schema::name::is_name;
use sampan_schema::operation::{Operation, Phase};
use std::time::Duration;
use tf_plugin::resource::parse_duration;
use tf_plugin::{Action, Attr, Context, Diagnostic, Diagnostics, Object, Progress, Registry, Schema, path, validate};

/// How long an action waits for what it started, unless it says otherwise.
const TIMEOUT: Duration = Duration::from_mins(20);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Restart,
    Rollback,
    Promote,
    Pause,
    Resume,
    Abort,
}

impl Verb {
    const ALL: [Self; 6] = [Self::Restart, Self::Rollback, Self::Promote, Self::Pause, Self::Resume, Self::Abort];

    fn type_name(self) -> &'static str {
        match self {
            Self::Restart => "sampan_restart",
            Self::Rollback => "sampan_rollback",
            Self::Promote => "sampan_promote",
            Self::Pause => "sampan_pause",
            Self::Resume => "sampan_resume",
            Self::Abort => "sampan_abort",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Restart => "Restarts every instance of an application, a few at a time, and waits for it.",
            Self::Rollback => "Returns an application to an earlier revision, and waits for it.",
            Self::Promote => "Takes the release of an application to its next step, or to the end.",
            Self::Pause => "Lets the release of an application take no further step.",
            Self::Resume => "Lets the release of an application go on where it was paused.",
            Self::Abort => "Sends all requests of an application to the stable revision and ends the release.",
        }
    }

    /// Whether it starts an operation that can be waited for.
    fn waits(self) -> bool {
        matches!(self, Self::Restart | Self::Rollback)
    }
}

/// One of them.
struct AppAction(Verb);

/// Registers all of them.
pub(crate) fn register(registry: &mut Registry<Connection>) {
    for verb in Verb::ALL {
        registry.action(AppAction(verb));
    }
}

impl AppAction {
    async fn done(
        &self,
        cx: &Context,
        to: &Connection,
        (ns, name): (&str, &str),
        config: &Object,
        progress: &Progress,
    ) -> Diagnostics {
        let summary = format!("{} of {ns}/{name} has not succeeded", self.0.type_name());
        let verb = match self.0 {
            Verb::Restart => {
                let started = cx.run(to.client.restart(ns, name)).await;
                return self.follow(cx, to, started.map_err(|e| e.to_string()), progress, &summary).await;
            }
            Verb::Rollback => {
                let revision = config.attr("to_revision").as_i64().and_then(|n| u64::try_from(n).ok());
                let started = cx.run(to.client.rollback(ns, name, revision)).await;
                return self.follow(cx, to, started.map_err(|e| e.to_string()), progress, &summary).await;
            }
            Verb::Promote => {
                ReleaseVerb::Promote { full: config.attr("full").as_bool().unwrap_or_default(), step: None }
            }
            Verb::Pause => ReleaseVerb::Pause,
            Verb::Resume => ReleaseVerb::Resume,
            Verb::Abort => ReleaseVerb::Abort,
        };
        match cx.run(to.client.tell(ns, name, verb)).await {
            Ok(Ok(taken)) => {
                let r = &taken.rollout;
                let already = if taken.already { "It was so already" } else { "Taken" };
                let stood = format!("{} at step {} of {}", r.phase, r.step, r.total_steps);
                progress.say(format!("{already}: the release of {ns}/{name} was {stood}")).await;
                Diagnostics::new()
            }
            Ok(Err(error)) => report::plain(summary, &error).into(),
            Err(why) => Diagnostic::error(summary, format!("No answer came before {why}.")).into(),
        }
    }

    async fn follow(
        &self,
        cx: &Context,
        to: &Connection,
        started: Result<Result<Operation, Error>, String>,
        progress: &Progress,
        summary: &str,
    ) -> Diagnostics {
        let operation = match started {
            Ok(Ok(operation)) => operation,
            Ok(Err(error)) => return report::plain(summary, &error).into(),
            Err(why) => return Diagnostic::error(summary, format!("No answer came before {why}.")).into(),
        };
        let id = operation.id.clone();
        match wait::told(cx, &to.client, operation, "", true, Some(progress)).await {
            Waited::Over(operation) if operation.phase == Phase::Succeeded => Diagnostics::new(),
            Waited::Over(operation) => Diagnostic::error(summary, wait::outcome(&operation)).into(),
            Waited::Interrupted(_) => {
                let text = format!("The operation {id} goes on at the server.");
                Diagnostic::warning("Waiting was interrupted", text).into()
            }
            Waited::Late(_) => {
                let text = format!("The time has passed. The operation {id} goes on at the server.");
                Diagnostic::error(summary, text).into()
            }
            Waited::Lost(error) => {
                Diagnostic::error(summary, format!("The operation {id} cannot be followed: {error}.")).into()
            }
        }
    }
}

impl Action<Connection> for AppAction {
    fn type_name(&self) -> &str {
        self.0.type_name()
    }

    fn schema(&self) -> Schema {
        let mut schema = Schema::new(0)
            .describe(self.0.describe())
            .attr(Attr::string("name").required().describe("Name of the application."))
            .attr(Attr::string("namespace").optional().describe("Its namespace; null means the provider's."));
        if self.0 == Verb::Rollback {
            let to = Attr::int64("to_revision").optional().validate(validate::range(1..));
            schema = schema.attr(to.describe("Number of the revision; null means the one before."));
        }
        if self.0 == Verb::Promote {
            let full = Attr::bool("full").optional();
            schema = schema.attr(full.describe("To the end, past every step that is left."));
        }
        if self.0.waits() {
            let timeout = Attr::string("timeout").optional().validate(validate::duration());
            schema = schema.attr(timeout.describe("How long to wait, such as `10m`; 20 minutes when it is null."));
        }
        schema
    }

    async fn validate(&self, _: &Context, config: &Object, d: &mut Diagnostics) {
        for name in ["name", "namespace"] {
            if let Some(text) = config.attr(name).as_str().filter(|text| !is_name(text)) {
                d.error(tf_plugin::Path::attr(name), "Invalid name", format!("{text:?} is no name."));
            }
        }
    }

    async fn invoke(&self, cx: &Context, to: &Connection, config: Object, progress: Progress) -> Diagnostics {
        let namespace = config.attr("namespace").as_str().map(str::to_owned).or_else(|| to.namespace.clone());
        let Some(ns) = namespace else {
            let text = "Set namespace here or in the provider block.";
            return Diagnostic::error("Which namespace?", text).at(path!("namespace")).into();
        };
        let name = config.attr("name").as_str().unwrap_or_default();
        let timeout = config.attr("timeout").as_str().and_then(parse_duration).unwrap_or(TIMEOUT);
        self.done(&cx.with_timeout(timeout), to, (&ns, name), &config, &progress).await
    }
}
