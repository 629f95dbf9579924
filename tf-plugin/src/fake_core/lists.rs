//! Calls about list resources.

use super::schemas::{filled, read_diagnostics};
use super::{FakeCore, FakeError, complain};
use crate::core_checks::{check_identity, check_state};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::proto::tfplugin6 as pb;
use crate::schema::Schema;
use crate::service::wire;
use crate::value::{Number, Object, Type, Value};

/// A found object, or what went wrong with one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Its identity.
    pub identity: Option<Object>,
    /// Its name to show.
    pub display_name: String,
    /// The object as a whole, when that was asked for.
    pub object: Option<Object>,
    /// What the event said, and what core says.
    pub diagnostics: Diagnostics,
}

impl FakeCore {
    /// The schema of a list resource, as it came over the wire.
    ///
    /// # Errors
    /// There is no such list resource.
    pub fn list_schema(&self, type_name: &str) -> Result<&Schema, FakeError> {
        self.lists.get(type_name).ok_or_else(|| Diagnostic::error("no such list resource", type_name).into())
    }

    /// Validates and lists; attributes that are not given are null.
    ///
    /// # Errors
    /// A call failed. Errors of the validation stand alone in the result.
    pub async fn list(
        &self,
        type_name: &str,
        config: Object,
        include_resource_object: bool,
        limit: i64,
    ) -> Result<Vec<Found>, FakeError> {
        let schema = self.list_schema(type_name)?;
        let config = Some(wire::value(Some(&filled(schema, config)), &schema.object_type())?);
        let rq = pb::validate_list_resource_config::Request {
            type_name: type_name.to_owned(),
            config: config.clone(),
            include_resource_object: Some(wire::dynamic(&Value::Bool(include_resource_object), &Type::Bool)?),
            limit: Some(wire::dynamic(&Number::from(limit).into(), &Type::Number)?),
        };
        let d = read_diagnostics(self.rpc().validate_list_resource_config(rq).await?.into_inner().diagnostics);
        if d.has_errors() {
            return Ok(vec![Found { diagnostics: d, ..Found::default() }]);
        }
        let rq = pb::list_resource::Request { type_name: type_name.to_owned(), config, include_resource_object, limit };
        let mut events = self.rpc().list_resource(rq).await?.into_inner();
        let mut found = Vec::new();
        while let Some(event) = events.message().await? {
            found.push(self.found(type_name, event, include_resource_object)?);
        }
        let objects = found.iter().filter(|one| one.identity.is_some()).count();
        if limit > 0 && objects as i64 > limit {
            return Err(Diagnostic::error("core refuses: L4", "there are more objects than the limit").into());
        }
        Ok(found)
    }

    fn found(&self, type_name: &str, event: pb::list_resource::Event, include: bool) -> Result<Found, FakeError> {
        let schema = self.resource_schema(type_name)?;
        let mut d = read_diagnostics(event.diagnostic);
        let identity = self.read_identity(type_name, event.identity.as_ref())?;
        let object = wire::object(event.resource_object.as_ref(), &schema.object_type())?;
        if !d.has_errors() {
            if let Some(schema) = self.identities.get(type_name) {
                complain(&mut d, check_identity(schema, identity.as_ref(), false));
            }
            if event.display_name.is_empty() {
                d.error(None, "core refuses: L2", "a listed object has no name");
            }
            match &object {
                Some(object) => complain(&mut d, check_state(schema, object)),
                None if include => d.error(None, "core refuses: L3", "the object was asked for and is not there"),
                None => {}
            }
        }
        Ok(Found { identity, display_name: event.display_name, object, diagnostics: d })
    }
}
