//! Calls about list resources.

use super::{Events, Feed, Inner, complete, wire};
use crate::context::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::identity::is_complete;
use crate::list::{AnyList, ListRequest, ListSink, Listed};
use crate::proto::tfplugin6 as pb;
use crate::provider::{Entry, Provider, ResourceEntry};
use crate::resource::{unknown_places, without_write_only};
use crate::value::Type;
use futures_util::FutureExt as _;
use pb::list_resource::Event;
use std::panic::AssertUnwindSafe;

/// The last event of a list: only when something went wrong with the list as a whole.
pub(super) fn last_event(diagnostic: Vec<pb::Diagnostic>) -> Option<Event> {
    (!diagnostic.is_empty()).then(|| Event { diagnostic, ..Default::default() })
}

impl<P: Provider> Inner<P> {
    fn list_entry(&self, name: &str) -> Result<&Entry<dyn AnyList<P::Client>>, Diagnostic> {
        self.registry().lists.get(name).ok_or_else(|| {
            Diagnostic::error("Unknown list resource", format!("The provider has no list of the type {name}."))
        })
    }

    pub(super) async fn validate_list(
        &self,
        cx: Context,
        rq: pb::validate_list_resource_config::Request,
    ) -> Diagnostics {
        let mut d = Diagnostics::new();
        let Some(entry) = d.ok(self.list_entry(&rq.type_name)) else { return d };
        let schema = entry.schema();
        let Some(config) = Self::config(schema, rq.config.as_ref(), &mut d) else { return d };
        if let Some(limit) = d.ok(wire::single(rq.limit.as_ref(), &Type::Number))
            && limit.as_number().is_some_and(|n| n.to_u64().is_err())
        {
            d.error(None, "Invalid limit", "The limit of a list is a whole number that is not negative.");
        }
        d.ok(wire::single(rq.include_resource_object.as_ref(), &Type::Bool));
        let held = self.secrets.hold(schema.secrets(&config));
        schema.validate(&config, &mut d);
        entry.handler.validate(&cx, &config, &mut d).await;
        let d = d.into_iter().map(|one| self.masked(one)).collect();
        drop(held);
        d
    }

    pub(super) async fn list(&self, cx: Context, rq: pb::list_resource::Request, events: Events<Event>) -> Diagnostics {
        let mut d = Diagnostics::new();
        let Some(entry) = d.ok(self.list_entry(&rq.type_name)) else { return d };
        let Some(resource) = d.ok(self.resource(&rq.type_name)) else { return d };
        let schema = entry.schema();
        let Some(config) = Self::config(schema, rq.config.as_ref(), &mut d) else { return d };
        let _held = self.secrets.hold(schema.secrets(&config));
        let Some(client) = d.ok(self.client()) else { return d };
        // Terraform takes a limit that is not positive for none.
        let limit = u64::try_from(rq.limit).ok().filter(|limit| *limit > 0).unwrap_or(u64::MAX);
        let include = rq.include_resource_object;
        let (sender, end, found) = Feed::new();
        let request = ListRequest { config, include_resource: include, limit };
        let listing = async {
            let handler = entry.handler.list(&cx, &client, request, ListSink(sender));
            // What was found before a panic is still sent.
            let listed = AssertUnwindSafe(handler).catch_unwind().await;
            drop(end);
            listed
        };
        let (listed, ()) = tokio::join!(listing, self.forward(resource, found, include, limit, events));
        if let Err(panic) = listed {
            std::panic::resume_unwind(panic);
        }
        d
    }

    /// Sends at most `limit` objects; dropping the receiver tells the lister that nobody wants more.
    async fn forward(
        &self,
        resource: &ResourceEntry<P::Client>,
        mut found: Feed<Listed>,
        include: bool,
        limit: u64,
        events: Events<Event>,
    ) {
        let mut left = limit;
        while left > 0 {
            let Some(listed) = found.next().await else { return };
            left -= u64::from(listed.identity.is_some());
            let event = self.event(resource, listed, include);
            if events.send(Ok(event)).await.is_err() {
                return;
            }
        }
    }

    fn event(&self, resource: &ResourceEntry<P::Client>, listed: Listed, include: bool) -> Event {
        let mut d = listed.diagnostics;
        let mut event = Event { display_name: listed.display_name, ..Default::default() };
        if let (Some(identity), Some(schema)) = (&listed.identity, resource.identity()) {
            let identity = schema.complete(identity);
            if !is_complete(&identity) {
                d.error(None, "A listed object has no identity", "This is a defect of the provider.");
            }
            event.identity = d.ok(wire::identity_data(&identity, schema));
        }
        if listed.identity.is_some() && event.display_name.is_empty() {
            d.error(None, "A listed object has no name", "This is a defect of the provider.");
        }
        if include && !d.has_errors() && listed.identity.is_some() {
            event.resource_object = Self::listed_object(resource, listed.resource, &mut d);
        }
        event.diagnostic = self.wire(d);
        event
    }

    fn listed_object(
        entry: &ResourceEntry<P::Client>,
        object: Option<crate::value::Object>,
        d: &mut Diagnostics,
    ) -> Option<pb::DynamicValue> {
        let Some(object) = object else {
            d.error(
                None,
                "A listed object was not read",
                "It was asked for as a whole. This is a defect of the provider.",
            );
            return None;
        };
        let schema = entry.schema();
        let object = without_write_only(schema, complete(schema, object));
        for place in unknown_places(&object) {
            d.error(place, "A listed object has an unknown value", "This is a defect of the provider.");
        }
        d.ok(wire::value(Some(&object), &schema.object_type()))
    }
}
