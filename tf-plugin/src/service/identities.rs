//! Identities of resources.

use super::{Inner, wire};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::identity::{IdentityHow, IdentitySchema, continues, is_complete};
use crate::json::{self, Attributes};
use crate::proto::tfplugin6 as pb;
use crate::provider::Provider;
use crate::resource::Plan;
use crate::value::Object;

impl<P: Provider> Inner<P> {
    pub(super) fn identity_schemas(&self) -> pb::get_resource_identity_schemas::Response {
        let of = |schema: &IdentitySchema| pb::ResourceIdentitySchema {
            version: schema.version,
            identity_attributes: (schema.attributes.iter())
                .map(|attribute| pb::resource_identity_schema::IdentityAttribute {
                    name: attribute.name.clone(),
                    r#type: json::encode_type(&attribute.ty).into(),
                    required_for_import: attribute.required,
                    optional_for_import: !attribute.required,
                    description: attribute.description.clone(),
                })
                .collect(),
        };
        let resources = self.registry().resources.iter();
        pb::get_resource_identity_schemas::Response {
            identity_schemas: resources
                .filter_map(|(name, entry)| Some((name.clone(), of(entry.identity()?))))
                .collect(),
            diagnostics: Vec::new(),
        }
    }

    pub(super) fn upgrade_identity(
        &self,
        rq: &pb::upgrade_resource_identity::Request,
    ) -> pb::upgrade_resource_identity::Response {
        let mut d = Diagnostics::new();
        let upgraded_identity = match self.upgraded_identity(rq) {
            Ok(identity) => Some(identity),
            Err(found) => {
                d.extend(found);
                None
            }
        };
        pb::upgrade_resource_identity::Response { upgraded_identity, diagnostics: self.wire(d) }
    }

    fn upgraded_identity(
        &self,
        rq: &pb::upgrade_resource_identity::Request,
    ) -> Result<pb::ResourceIdentityData, Diagnostics> {
        let entry = self.resource(&rq.type_name)?;
        let failed = |detail: String| Diagnostic::error("Identity cannot be upgraded", detail);
        let Some(schema) = entry.identity() else {
            return Err(failed(format!("{} has no identity in this release of the provider.", rq.type_name)).into());
        };
        let raw = rq.raw_identity.as_ref().map(|raw| raw.json.clone()).unwrap_or_default();
        let (stored, current) = (rq.version, schema.version);
        if stored > current {
            return Err(failed(format!(
                "The identity of this {} was written by a later release of the provider (version {stored}, this \
                 release knows up to {current}). Use that release or a later one.",
                rq.type_name
            ))
            .into());
        }
        let ty = schema.object_type();
        let empty = || failed("There is none.".to_owned());
        let identity = if stored == current {
            json::decode_object(&raw, &ty, Attributes::Lenient)?.ok_or_else(empty)?
        } else {
            let Some(upgrade) = entry.resource.identity_upgrades().into_iter().find(|u| u.from == stored) else {
                return Err(failed(format!(
                    "This release of the provider has no upgrade of the identity of {} from version {stored} to \
                     {current}. Use an earlier release first.",
                    rq.type_name
                ))
                .into());
            };
            match upgrade.how {
                IdentityHow::Typed(old, how) => {
                    let old = json::decode_object(&raw, &old.object_type(), Attributes::Lenient)?.ok_or_else(empty)?;
                    schema.complete(&how(old)?)
                }
                IdentityHow::Json(how) => {
                    let value = serde_json::from_slice(&raw).map_err(|e| failed(format!("It is not JSON: {e}.")))?;
                    let bytes = serde_json::to_vec(&how(value)?).map_err(|e| failed(e.to_string()))?;
                    json::decode_object(&bytes, &ty, Attributes::Lenient)?.ok_or_else(empty)?
                }
            }
        };
        if !is_complete(&identity) {
            return Err(failed("The upgraded identity names no object.".to_owned()).into());
        }
        Ok(wire::identity_data(&identity, schema)?)
    }
}

/// The identity of a plan: what the resource says, else what is stored, else what is in the planned state.
pub(super) fn planned(
    schema: &IdentitySchema,
    stored: Option<Object>,
    plan: &Plan,
    after: Option<&Object>,
) -> Option<Object> {
    if let Some(own) = &plan.identity {
        return Some(schema.complete(own));
    }
    let of_prior = || plan.prior.as_ref().map(|prior| schema.of(prior)).filter(is_complete);
    match after {
        Some(after) if plan.prior.is_none() || schema.mutable => Some(schema.of(after)),
        _ => stored.filter(is_complete).or_else(of_prior),
    }
}

/// The identity of a state: what the resource says, else what is in the state. Nothing where that names no object.
pub(super) fn of_state(schema: &IdentitySchema, own: Option<Object>, state: &Object) -> Option<Object> {
    let identity = own.map_or_else(|| schema.of(state), |own| schema.complete(&own));
    is_complete(&identity).then_some(identity)
}

/// Refuses an identity that a refresh changed, unless that may be: Terraform would refuse it with fewer words.
pub(super) fn check_stable(
    schema: &IdentitySchema,
    stored: Option<&Object>,
    fresh: Option<&Object>,
    d: &mut Diagnostics,
) {
    let (Some(stored), Some(fresh)) = (stored.filter(|stored| is_complete(stored)), fresh) else { return };
    if !schema.mutable && !continues(stored, fresh) {
        d.error(
            None,
            "Identity has changed",
            "The object that was read has another identity than the one in the state. If it was replaced outside of \
             Terraform, remove it from the state and import it again.",
        );
    }
}
