//! Calls about data sources.

use super::{Inner, complete, wire};
use crate::context::Context;
use crate::data_source::DataRequest;
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::proto::tfplugin6 as pb;
use crate::provider::{DataSourceEntry, Provider};
use crate::resource::unknown_places;
use crate::schema::Schema;
use crate::value::{Object, Value};

impl<P: Provider> Inner<P> {
    fn data_source(&self, name: &str) -> Result<&DataSourceEntry<P::Client>, Diagnostic> {
        self.registry().data_sources.get(name).ok_or_else(|| {
            Diagnostic::error("Unknown data source", format!("The provider has no data source of the type {name}."))
        })
    }

    pub(super) async fn validate_data(
        &self,
        cx: Context,
        rq: pb::validate_data_resource_config::Request,
    ) -> Diagnostics {
        let mut d = Diagnostics::new();
        let Some(entry) = d.ok(self.data_source(&rq.type_name)) else { return d };
        let schema = entry.schema();
        let Some(config) = Self::config(schema, rq.config.as_ref(), &mut d) else { return d };
        let _held = self.secrets.hold(schema.secrets(&config));
        schema.validate(&config, &mut d);
        entry.data_source.validate(&cx, &config, &mut d).await;
        d
    }

    pub(super) async fn read_data(
        &self,
        cx: Context,
        rq: pb::read_data_source::Request,
    ) -> pb::read_data_source::Response {
        let mut d = Diagnostics::new();
        let (state, deferred) = self.read_data_into(&cx, &rq, &mut d).await.unwrap_or_default();
        pb::read_data_source::Response { state, diagnostics: self.wire(d), deferred }
    }

    async fn read_data_into(
        &self,
        cx: &Context,
        rq: &pb::read_data_source::Request,
        d: &mut Diagnostics,
    ) -> Option<(Option<pb::DynamicValue>, Option<pb::Deferred>)> {
        let entry = d.ok(self.data_source(&rq.type_name))?;
        let schema = entry.schema();
        let config = Self::config(schema, rq.config.as_ref(), d)?;
        let held = self.secrets.hold(schema.secrets(&config));
        let meta = d.ok(self.meta(rq.provider_meta.as_ref()))?;
        let client = match d.ok(self.client_or_deferral(cx))? {
            Ok(client) => client,
            Err(reason) => return self.data_deferred(cx, reason, schema, &config, d),
        };
        let answer = entry.data_source.read(cx, &client, DataRequest { config: config.clone(), meta }).await;
        // Here, because the guard ends with this function and the diagnostics do not.
        d.extend(answer.diagnostics.into_iter().map(|one| self.masked(one)));
        drop(held);
        if let Some(reason) = answer.deferred {
            return self.data_deferred(cx, reason, schema, &config, d);
        }
        let Some(state) = answer.state.map(|state| complete(schema, state)) else {
            if !d.has_errors() {
                d.error(None, "Data source was not read", "The provider gave neither data nor a reason.");
            }
            return None;
        };
        for place in unknown_places(&state) {
            d.error(place, "Data source answered an unknown value", "This is a defect of the provider.");
        }
        if d.has_errors() {
            return None;
        }
        Some((Some(d.ok(wire::value(Some(&state), &schema.object_type()))?), None))
    }

    /// What is known of a data source that is read later: its arguments.
    fn data_deferred(
        &self,
        cx: &Context,
        reason: DeferredReason,
        schema: &Schema,
        config: &Object,
        d: &mut Diagnostics,
    ) -> Option<(Option<pb::DynamicValue>, Option<pb::Deferred>)> {
        let deferred = self.defer(cx, reason, Some(config), d)?;
        let state = with_unknowns(schema, config);
        Some((Some(d.ok(wire::value(Some(&state), &schema.object_type()))?), Some(deferred)))
    }

    /// The diagnostic without any value that is known to be secret now.
    pub(super) fn masked(&self, mut d: Diagnostic) -> Diagnostic {
        d.summary = self.secrets.mask(&d.summary);
        d.detail = self.secrets.mask(&d.detail);
        d
    }
}

/// A configuration with unknown values at what the provider will set.
pub(super) fn with_unknowns(schema: &Schema, config: &Object) -> Object {
    let mut state = config.clone();
    for attr in schema.body.attrs.iter().filter(|attr| attr.computed && config.attr(&attr.name).is_null()) {
        state.set(attr.name.clone(), Value::UNKNOWN);
    }
    state
}
