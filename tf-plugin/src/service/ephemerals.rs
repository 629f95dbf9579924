//! Calls about ephemeral resources.

use super::data_sources::with_unknowns;
use super::resources::private;
use super::{Inner, OPENED_LIMIT, complete, wire};
use crate::context::Context;
use crate::core_checks::check_ephemeral;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::ephemeral::{AnyEphemeral, OpenRequest, Opened};
use crate::log::SecretsGuard;
use crate::private::Private;
use crate::proto::tfplugin6 as pb;
use crate::provider::{Entry, Provider};
use crate::schema::Schema;
use crate::value::Object;
use bytes::Bytes;
use std::sync::PoisonError;

impl<P: Provider> Inner<P> {
    fn ephemeral(&self, name: &str) -> Result<&Entry<dyn AnyEphemeral<P::Client>>, Diagnostic> {
        self.registry().ephemerals.get(name).ok_or_else(|| {
            let text = format!("The provider has no ephemeral resource of the type {name}.");
            Diagnostic::error("Unknown ephemeral resource", text)
        })
    }

    pub(super) async fn validate_ephemeral(
        &self,
        cx: Context,
        rq: pb::validate_ephemeral_resource_config::Request,
    ) -> Diagnostics {
        let mut d = Diagnostics::new();
        let Some(entry) = d.ok(self.ephemeral(&rq.type_name)) else { return d };
        let schema = entry.schema();
        let Some(config) = Self::config(schema, rq.config.as_ref(), &mut d) else { return d };
        let held = self.secrets.hold(schema.secrets(&config));
        schema.validate(&config, &mut d);
        entry.handler.validate(&cx, &config, &mut d).await;
        let d = d.into_iter().map(|one| self.masked(one)).collect();
        drop(held);
        d
    }

    pub(super) async fn open(
        &self,
        cx: Context,
        rq: pb::open_ephemeral_resource::Request,
    ) -> pb::open_ephemeral_resource::Response {
        let mut d = Diagnostics::new();
        let answer = self.open_into(&cx, &rq, &mut d).await.unwrap_or_default();
        pb::open_ephemeral_resource::Response { diagnostics: self.wire(d), ..answer }
    }

    async fn open_into(
        &self,
        cx: &Context,
        rq: &pb::open_ephemeral_resource::Request,
        d: &mut Diagnostics,
    ) -> Option<pb::open_ephemeral_resource::Response> {
        let entry = d.ok(self.ephemeral(&rq.type_name))?;
        let schema = entry.schema();
        let config = Self::config(schema, rq.config.as_ref(), d)?;
        let _held = self.secrets.hold(schema.secrets(&config));
        let opened = match d.ok(self.client_or_deferral(cx))? {
            Ok(client) => entry.handler.open(cx, &client, OpenRequest { config: config.clone() }).await,
            Err(reason) => Opened::deferred(reason),
        };
        let result = opened.result.map(|result| complete(schema, result));
        let secrets = result.as_ref().map(|result| self.secrets.hold(schema.secrets(result)));
        d.extend(opened.diagnostics.into_iter().map(|one| self.masked(one)));
        if let Some(reason) = opened.deferred {
            let deferred = self.defer(cx, reason, Some(&config), d)?;
            let result = with_unknowns(schema, &config);
            return Some(pb::open_ephemeral_resource::Response {
                result: Some(d.ok(wire::value(Some(&result), &schema.object_type()))?),
                deferred: Some(deferred),
                ..Default::default()
            });
        }
        let was_opened = result.is_some();
        let result = Self::checked_result(schema, &config, result, d);
        // What was opened is closed even when the answer is refused: Terraform closes only what it knows of.
        let Some(result) = result.filter(|_| !d.has_errors()) else {
            if let (true, Ok(client)) = (was_opened, self.client()) {
                entry.handler.close(cx, &client, opened.private, d).await;
            }
            return None;
        };
        if let Some(secrets) = secrets {
            self.remember(secrets);
        }
        Some(pb::open_ephemeral_resource::Response {
            result: Some(result),
            private: kept(&opened.private),
            renew_at: opened.renew_at.map(Into::into),
            ..Default::default()
        })
    }

    fn checked_result(
        schema: &Schema,
        config: &Object,
        result: Option<Object>,
        d: &mut Diagnostics,
    ) -> Option<pb::DynamicValue> {
        let Some(result) = result else {
            if !d.has_errors() {
                d.error(None, "Ephemeral resource was not opened", "The provider gave neither a value nor a reason.");
            }
            return None;
        };
        for violation in check_ephemeral(schema, config, &result) {
            let summary = format!("Defect of the provider: open breaks rule {}", violation.rule);
            d.error(violation.path, summary, violation.text);
        }
        d.ok(wire::value(Some(&result), &schema.object_type()))
    }

    fn remember(&self, secrets: SecretsGuard) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() == OPENED_LIMIT {
            opened.pop_front();
        }
        opened.push_back(secrets);
    }

    pub(super) async fn renew(
        &self,
        cx: Context,
        rq: pb::renew_ephemeral_resource::Request,
    ) -> pb::renew_ephemeral_resource::Response {
        let mut d = Diagnostics::new();
        let answer = self.renew_into(&cx, &rq, &mut d).await.unwrap_or_default();
        pb::renew_ephemeral_resource::Response { diagnostics: self.wire(d), ..answer }
    }

    async fn renew_into(
        &self,
        cx: &Context,
        rq: &pb::renew_ephemeral_resource::Request,
        d: &mut Diagnostics,
    ) -> Option<pb::renew_ephemeral_resource::Response> {
        let entry = d.ok(self.ephemeral(&rq.type_name))?;
        let given = d.ok(private(rq.private.as_ref().unwrap_or(&Bytes::new())))?;
        let client = d.ok(self.client())?;
        let renewed = entry.handler.renew(cx, &client, given).await;
        d.extend(renewed.diagnostics);
        Some(pb::renew_ephemeral_resource::Response {
            renew_at: renewed.renew_at.map(Into::into),
            // Terraform forgets what is not sent back.
            private: renewed.private.map_or_else(|| rq.private.clone(), |private| kept(&private)),
            ..Default::default()
        })
    }

    pub(super) async fn close(&self, cx: Context, rq: pb::close_ephemeral_resource::Request) -> Diagnostics {
        let mut d = Diagnostics::new();
        let Some(entry) = d.ok(self.ephemeral(&rq.type_name)) else { return d };
        let Some(given) = d.ok(private(rq.private.as_ref().unwrap_or(&Bytes::new()))) else { return d };
        let Some(client) = d.ok(self.client()) else { return d };
        entry.handler.close(&cx, &client, given, &mut d).await;
        d
    }
}

fn kept(private: &Private) -> Option<Bytes> {
    (!private.is_empty()).then(|| private.encode().into())
}
