//! Calls about ephemeral resources.

use super::schemas::{filled, read_diagnostics};
use super::{FakeCore, FakeError, complain};
use crate::core_checks::check_ephemeral;
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::proto::tfplugin6 as pb;
use crate::schema::Schema;
use crate::service::wire;
use crate::value::Object;
use bytes::Bytes;
use std::time::SystemTime;

/// An opened ephemeral resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Ephemeral {
    type_name: String,
    private: Option<Bytes>,
    /// Its value.
    pub result: Object,
    /// When it is to be renewed, if at all.
    pub renew_at: Option<SystemTime>,
    /// Why it is not open yet, if it is not.
    pub deferred: Option<DeferredReason>,
}

fn time(at: Option<prost_types::Timestamp>) -> Result<Option<SystemTime>, FakeError> {
    let bad = |_| Diagnostic::error("core refuses: a time", "renew_at is no time");
    Ok(at.map(SystemTime::try_from).transpose().map_err(bad)?)
}

impl FakeCore {
    /// The schema of an ephemeral resource, as it came over the wire.
    ///
    /// # Errors
    /// There is no such ephemeral resource.
    pub fn ephemeral_schema(&self, type_name: &str) -> Result<&Schema, FakeError> {
        self.ephemerals.get(type_name).ok_or_else(|| Diagnostic::error("no such ephemeral resource", type_name).into())
    }

    /// Validates and opens; attributes that are not given are null.
    ///
    /// # Errors
    /// A call failed; the provider's own errors are in the result.
    pub async fn open(&self, type_name: &str, config: Object) -> Result<(Option<Ephemeral>, Diagnostics), FakeError> {
        let schema = self.ephemeral_schema(type_name)?;
        let ty = schema.object_type();
        let told = filled(schema, config);
        let config = Some(wire::value(Some(&told), &ty)?);
        let type_name = type_name.to_owned();
        let rq =
            pb::validate_ephemeral_resource_config::Request { type_name: type_name.clone(), config: config.clone() };
        let checked = self.rpc().validate_ephemeral_resource_config(rq).await?.into_inner();
        let mut d = read_diagnostics(checked.diagnostics);
        if d.has_errors() {
            return Ok((None, d));
        }
        let rq = pb::open_ephemeral_resource::Request {
            type_name: type_name.clone(),
            config,
            client_capabilities: Some(self.capabilities),
        };
        let answer = self.rpc().open_ephemeral_resource(rq).await?.into_inner();
        d.extend(read_diagnostics(answer.diagnostics));
        let deferred = self.deferral(answer.deferred.as_ref(), &mut d);
        if d.has_errors() {
            return Ok((None, d));
        }
        let Some(result) = wire::object(answer.result.as_ref(), &ty)? else {
            d.error(None, "core refuses: E0", "it was opened and is null");
            return Ok((None, d));
        };
        if deferred.is_none() {
            complain(&mut d, check_ephemeral(schema, &told, &result));
        }
        let renew_at = time(answer.renew_at)?;
        Ok((Some(Ephemeral { type_name, private: answer.private, result, renew_at, deferred }), d))
    }

    /// Renews, with what the last answer left.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn renew(&self, opened: &mut Ephemeral) -> Result<Diagnostics, FakeError> {
        let rq = pb::renew_ephemeral_resource::Request {
            type_name: opened.type_name.clone(),
            private: opened.private.clone(),
        };
        let answer = self.rpc().renew_ephemeral_resource(rq).await?.into_inner();
        opened.private = answer.private;
        opened.renew_at = time(answer.renew_at)?;
        Ok(read_diagnostics(answer.diagnostics))
    }

    /// Closes, once.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn close(&self, opened: Ephemeral) -> Result<Diagnostics, FakeError> {
        let rq = pb::close_ephemeral_resource::Request { type_name: opened.type_name, private: opened.private };
        Ok(read_diagnostics(self.rpc().close_ephemeral_resource(rq).await?.into_inner().diagnostics))
    }
}
