//! Moved states and generated configurations.

use super::{Inner, complete, identities, wire};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::moved::{MoveSource, Moved};
use crate::proto::tfplugin6 as pb;
use crate::provider::Provider;
use crate::resource::{unknown_places, without_write_only};

impl<P: Provider> Inner<P> {
    pub(super) fn move_state(&self, rq: pb::move_resource_state::Request) -> pb::move_resource_state::Response {
        let mut d = Diagnostics::new();
        let answer = self.moved(rq, &mut d).unwrap_or_default();
        pb::move_resource_state::Response { diagnostics: self.wire(d), ..answer }
    }

    fn moved(
        &self,
        rq: pb::move_resource_state::Request,
        d: &mut Diagnostics,
    ) -> Option<pb::move_resource_state::Response> {
        let entry = d.ok(self.resource(&rq.target_type_name))?;
        let source = MoveSource {
            provider_address: rq.source_provider_address,
            type_name: rq.source_type_name,
            schema_version: rq.source_schema_version,
            identity_version: rq.source_identity_schema_version,
            state: rq.source_state.map(|raw| raw.json).unwrap_or_default(),
            identity: rq.source_identity.map(|raw| raw.json).unwrap_or_default(),
            private: rq.source_private,
        };
        if source.state.is_empty() {
            d.error(None, "State cannot be moved", "It is in the form of a Terraform before 0.12.");
            return None;
        }
        let Some(moved) = entry.resource.moves().iter().find_map(|way| way.run(&source)) else {
            let text = format!(
                "The provider does not know how a {} of {} becomes a {}. Remove it from the state with a removed \
                 block and import it.",
                source.type_name, source.provider_address, rq.target_type_name
            );
            d.error(None, "State cannot be moved", text);
            return None;
        };
        let Moved { state, private, identity } = match moved {
            Ok(moved) => moved,
            Err(found) => {
                d.extend(found);
                return None;
            }
        };
        let schema = entry.schema();
        let state = without_write_only(schema, complete(schema, state));
        for place in unknown_places(&state) {
            d.error(place, "A moved state has an unknown value", "This is a defect of the provider.");
        }
        let identity = entry.identity().and_then(|s| Some((identities::of_state(s, identity, &state)?, s)));
        Some(pb::move_resource_state::Response {
            target_state: Some(d.ok(wire::value(Some(&state), &schema.object_type()))?),
            target_private: private.encode().into(),
            target_identity: match identity {
                Some((identity, schema)) => Some(d.ok(wire::identity_data(&identity, schema))?),
                None => None,
            },
            ..Default::default()
        })
    }

    pub(super) fn generate_config(
        &self,
        rq: &pb::generate_resource_config::Request,
    ) -> pb::generate_resource_config::Response {
        let mut d = Diagnostics::new();
        let config = self.generated(rq, &mut d);
        pb::generate_resource_config::Response { config, diagnostics: self.wire(d) }
    }

    fn generated(&self, rq: &pb::generate_resource_config::Request, d: &mut Diagnostics) -> Option<pb::DynamicValue> {
        let entry = d.ok(self.resource(&rq.type_name))?;
        let schema = entry.schema();
        let ty = schema.object_type();
        let Some(state) = d.ok(wire::object(rq.state.as_ref(), &ty))? else {
            d.push(Diagnostic::error("No configuration can be generated", "There is no state."));
            return None;
        };
        let config = without_write_only(schema, complete(schema, entry.resource.generate_config(&state)));
        d.ok(wire::value(Some(&config), &ty))
    }
}
