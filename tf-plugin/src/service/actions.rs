//! Calls about actions.

use super::{Events, Feed, Inner};
use crate::action::{AnyAction, Progress};
use crate::context::Context;
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::proto::tfplugin6 as pb;
use crate::provider::{Entry, Provider};
use futures_util::FutureExt as _;
use pb::invoke_action::Event;
use pb::invoke_action::event::{Completed, Progress as Said, Type};
use std::panic::AssertUnwindSafe;

/// The last event of an invocation; there is always exactly one.
pub(super) fn last_event(diagnostics: Vec<pb::Diagnostic>) -> Option<Event> {
    Some(Event { r#type: Some(Type::Completed(Completed { diagnostics })) })
}

impl<P: Provider> Inner<P> {
    fn action(&self, name: &str) -> Result<&Entry<dyn AnyAction<P::Client>>, Diagnostic> {
        self.registry().actions.get(name).ok_or_else(|| {
            Diagnostic::error("Unknown action", format!("The provider has no action of the type {name}."))
        })
    }

    pub(super) async fn validate_action(&self, cx: Context, rq: pb::validate_action_config::Request) -> Diagnostics {
        let mut d = Diagnostics::new();
        let Some(entry) = d.ok(self.action(&rq.type_name)) else { return d };
        let schema = entry.schema();
        let Some(config) = Self::config(schema, rq.config.as_ref(), &mut d) else { return d };
        let held = self.secrets.hold(schema.secrets(&config));
        schema.validate(&config, &mut d);
        entry.handler.validate(&cx, &config, &mut d).await;
        let d = d.into_iter().map(|one| self.masked(one)).collect();
        drop(held);
        d
    }

    pub(super) async fn plan_action(&self, cx: Context, rq: pb::plan_action::Request) -> pb::plan_action::Response {
        let mut d = Diagnostics::new();
        let deferred = self.plan_action_into(&cx, &rq, &mut d).await.flatten();
        pb::plan_action::Response { diagnostics: self.wire(d), deferred }
    }

    async fn plan_action_into(
        &self,
        cx: &Context,
        rq: &pb::plan_action::Request,
        d: &mut Diagnostics,
    ) -> Option<Option<pb::Deferred>> {
        let entry = d.ok(self.action(&rq.action_type))?;
        let schema = entry.schema();
        let config = Self::config(schema, rq.config.as_ref(), d)?;
        let held = self.secrets.hold(schema.secrets(&config));
        let client = self.client_if_any();
        let mut found = Diagnostics::new();
        let own = entry.handler.plan(cx, client.as_deref(), &config, &mut found).await;
        d.extend(found.into_iter().map(|one| self.masked(one)));
        drop(held);
        // An unknown provider block defers by itself, but is no error before the invocation.
        let offline = matches!(self.client_or_deferral(cx), Ok(Err(DeferredReason::ProviderConfigUnknown)));
        match own.or(offline.then_some(DeferredReason::ProviderConfigUnknown)) {
            Some(reason) => self.defer(cx, reason, Some(&config), d).map(Some),
            None => Some(None),
        }
    }

    pub(super) async fn invoke(
        &self,
        cx: Context,
        rq: pb::invoke_action::Request,
        events: Events<Event>,
    ) -> Diagnostics {
        let mut d = Diagnostics::new();
        let Some(entry) = d.ok(self.action(&rq.action_type)) else { return d };
        let schema = entry.schema();
        let Some(config) = Self::config(schema, rq.config.as_ref(), &mut d) else { return d };
        if !config.is_wholly_known() {
            let names = crate::provider::unknown_arguments(&config).join(", ");
            d.error(None, "Action cannot be invoked", format!("These arguments are not known: {names}."));
            return d;
        }
        let held = self.secrets.hold(schema.secrets(&config));
        let Some(client) = d.ok(self.client()) else { return d };
        let (sender, end, mut lines) = Feed::<String>::new();
        let forward = async {
            while let Some(line) = lines.next().await {
                let message = self.secrets.mask(&line);
                let event = Event { r#type: Some(Type::Progress(Said { message })) };
                if events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        };
        let invocation = async {
            let handler = entry.handler.invoke(&cx, &client, config, Progress(sender));
            // What was said before a panic is still shown.
            let found = AssertUnwindSafe(handler).catch_unwind().await;
            drop(end);
            found
        };
        let (found, ()) = tokio::join!(invocation, forward);
        let found = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        d.extend(found.into_iter().map(|one| self.masked(one)));
        drop(held);
        d
    }
}
