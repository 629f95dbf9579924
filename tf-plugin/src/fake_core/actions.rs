//! Calls about actions.

use super::schemas::{filled, read_diagnostics};
use super::{FakeCore, FakeError};
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::proto::tfplugin6 as pb;
use crate::schema::Schema;
use crate::service::wire;
use crate::value::Object;
use pb::invoke_action::event::Type;

/// What came of an invocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invoked {
    /// What was shown while it ran.
    pub progress: Vec<String>,
    /// What it said at the end, and what core says.
    pub diagnostics: Diagnostics,
}

impl FakeCore {
    /// The schema of an action, as it came over the wire.
    ///
    /// # Errors
    /// There is no such action.
    pub fn action_schema(&self, type_name: &str) -> Result<&Schema, FakeError> {
        self.actions.get(type_name).ok_or_else(|| Diagnostic::error("no such action", type_name).into())
    }

    /// Validates and plans an action; attributes that are not given are null.
    ///
    /// # Errors
    /// A call failed; the provider's own errors are in the result.
    pub async fn plan_action(
        &self,
        type_name: &str,
        config: Object,
    ) -> Result<(Option<DeferredReason>, Diagnostics), FakeError> {
        let schema = self.action_schema(type_name)?;
        let config = Some(wire::value(Some(&filled(schema, config)), &schema.object_type())?);
        let rq = pb::validate_action_config::Request { type_name: type_name.to_owned(), config: config.clone() };
        let mut d = read_diagnostics(self.rpc().validate_action_config(rq).await?.into_inner().diagnostics);
        if d.has_errors() {
            return Ok((None, d));
        }
        let rq = pb::plan_action::Request {
            action_type: type_name.to_owned(),
            config,
            client_capabilities: Some(self.capabilities),
        };
        let answer = self.rpc().plan_action(rq).await?.into_inner();
        d.extend(read_diagnostics(answer.diagnostics));
        let deferred = self.deferral(answer.deferred.as_ref(), &mut d);
        Ok((deferred, d))
    }

    /// Validates, plans and invokes an action.
    ///
    /// # Errors
    /// A call failed; the provider's own errors are in the result.
    pub async fn invoke(&self, type_name: &str, config: Object) -> Result<Invoked, FakeError> {
        let (deferred, diagnostics) = self.plan_action(type_name, config.clone()).await?;
        let mut invoked = Invoked { diagnostics, ..Invoked::default() };
        if deferred.is_some() || invoked.diagnostics.has_errors() {
            return Ok(invoked);
        }
        let schema = self.action_schema(type_name)?;
        let rq = pb::invoke_action::Request {
            action_type: type_name.to_owned(),
            config: Some(wire::value(Some(&filled(schema, config)), &schema.object_type())?),
            client_capabilities: Some(self.capabilities),
        };
        let mut events = self.rpc().invoke_action(rq).await?.into_inner();
        let mut completed = 0_u32;
        while let Some(event) = events.message().await? {
            if completed > 0 {
                invoked.diagnostics.error(None, "core refuses: an event", "it came after the last one");
            }
            match event.r#type {
                Some(Type::Progress(said)) => invoked.progress.push(said.message),
                Some(Type::Completed(end)) => {
                    completed += 1;
                    invoked.diagnostics.extend(read_diagnostics(end.diagnostics));
                }
                None => invoked.diagnostics.error(None, "core refuses: an event", "it says nothing"),
            }
        }
        if completed != 1 {
            invoked.diagnostics.error(None, "core refuses: the end", "an action completes exactly once");
        }
        Ok(invoked)
    }
}
