//! Calls about identities, moved states and generated configurations.

use super::schemas::read_diagnostics;
use super::{FakeCore, FakeError, State, complain};
use crate::core_checks::{check_identity, check_state};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::identity::IdentitySchema;
use crate::proto::tfplugin6 as pb;
use crate::service::wire;
use crate::value::Object;

impl FakeCore {
    /// The identity of a resource, as it came over the wire.
    ///
    /// # Errors
    /// The resource has none.
    pub fn identity_schema(&self, type_name: &str) -> Result<&IdentitySchema, FakeError> {
        self.identities.get(type_name).ok_or_else(|| Diagnostic::error("no such identity", type_name).into())
    }

    pub(super) fn identity_data(
        &self,
        type_name: &str,
        identity: Option<&Object>,
    ) -> Result<Option<pb::ResourceIdentityData>, FakeError> {
        match (self.identities.get(type_name), identity) {
            (Some(schema), Some(identity)) => Ok(Some(wire::identity_data(identity, schema)?)),
            _ => Ok(None),
        }
    }

    /// The identity of an answer. Core refuses one of a resource without an identity schema.
    pub(super) fn read_identity(
        &self,
        type_name: &str,
        data: Option<&pb::ResourceIdentityData>,
    ) -> Result<Option<Object>, FakeError> {
        match (self.identities.get(type_name), data) {
            (Some(schema), data) => Ok(wire::identity(data, schema)?),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(Diagnostic::error("core refuses: I5", "there is no schema for this identity").into())
            }
        }
    }

    /// Imports by identity and reads, as Terraform does. Attributes that are not given are null.
    ///
    /// # Errors
    /// A call failed; the provider's own errors are in the result.
    pub async fn import_identity(
        &self,
        type_name: &str,
        identity: &Object,
    ) -> Result<(Option<State>, Diagnostics), FakeError> {
        let schema = self.identity_schema(type_name)?;
        let rq = pb::import_resource_state::Request {
            type_name: type_name.to_owned(),
            id: String::new(),
            client_capabilities: Some(self.capabilities),
            identity: Some(wire::identity_data(&schema.of(identity), schema)?),
        };
        self.imported(rq).await
    }

    /// Upgrades a stored identity.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn upgrade_identity(
        &self,
        type_name: &str,
        version: i64,
        json: &str,
    ) -> Result<(Option<Object>, Diagnostics), FakeError> {
        let rq = pb::upgrade_resource_identity::Request {
            type_name: type_name.to_owned(),
            version,
            raw_identity: Some(pb::RawState { json: json.to_owned().into(), ..Default::default() }),
        };
        let answer = self.rpc().upgrade_resource_identity(rq).await?.into_inner();
        let mut d = read_diagnostics(answer.diagnostics);
        let identity = self.read_identity(type_name, answer.upgraded_identity.as_ref())?;
        if let (Some(schema), false) = (self.identities.get(type_name), d.has_errors()) {
            complain(&mut d, check_identity(schema, identity.as_ref(), false));
        }
        Ok((identity, d))
    }

    /// Moves the state of another resource, given as JSON.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn move_state(
        &self,
        (source_provider, source_type, source_version): (&str, &str, i64),
        json: &str,
        target: &str,
    ) -> Result<(Option<State>, Diagnostics), FakeError> {
        let schema = self.resource_schema(target)?;
        let mut d = Diagnostics::new();
        if !self.server.move_resource_state {
            d.error(None, "core refuses: a move", "the provider does not say that it can");
            return Ok((None, d));
        }
        let rq = pb::move_resource_state::Request {
            source_provider_address: source_provider.to_owned(),
            source_type_name: source_type.to_owned(),
            source_schema_version: source_version,
            source_state: Some(pb::RawState { json: json.to_owned().into(), ..Default::default() }),
            target_type_name: target.to_owned(),
            ..Default::default()
        };
        let answer = self.rpc().move_resource_state(rq).await?.into_inner();
        d.extend(read_diagnostics(answer.diagnostics));
        let object = wire::object(answer.target_state.as_ref(), &schema.object_type())?;
        let identity = self.read_identity(target, answer.target_identity.as_ref())?;
        let Some(object) = object else {
            if !d.has_errors() {
                d.error(None, "core refuses: a move", "there is no state and no error says why");
            }
            return Ok((None, d));
        };
        complain(&mut d, check_state(schema, &object));
        if let (Some(schema), Some(identity)) = (self.identities.get(target), &identity) {
            complain(&mut d, check_identity(schema, Some(identity), false));
        }
        Ok((Some(State { object, private: answer.target_private, identity }), d))
    }

    /// The configuration that the provider generates of a state.
    ///
    /// # Errors
    /// The call failed; the provider's own errors are in the result.
    pub async fn generate_config(
        &self,
        type_name: &str,
        state: &Object,
    ) -> Result<(Option<Object>, Diagnostics), FakeError> {
        let schema = self.resource_schema(type_name)?;
        let ty = schema.object_type();
        let mut d = Diagnostics::new();
        if !self.server.generate_resource_config {
            d.error(None, "core refuses: a generated configuration", "the provider does not say that it can");
            return Ok((None, d));
        }
        let rq = pb::generate_resource_config::Request {
            type_name: type_name.to_owned(),
            state: Some(wire::value(Some(state), &ty)?),
        };
        let answer = self.rpc().generate_resource_config(rq).await?.into_inner();
        d.extend(read_diagnostics(answer.diagnostics));
        let config = wire::object(answer.config.as_ref(), &ty)?;
        if let Some(config) = &config {
            complain(&mut d, check_state(schema, config));
        }
        Ok((config, d))
    }
}
