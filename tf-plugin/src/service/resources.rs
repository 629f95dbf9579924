//! Calls about resources.

use super::{Inner, complete, identities, wire};
use crate::context::Context;
use crate::core_checks::{Violation, check_apply, check_identity, check_plan};
use crate::deferred::DeferredReason;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::identity::IdentitySchema;
use crate::json::{self, Attributes};
use crate::plan::{PlanInput, keep_spelling, plan};
use crate::private::{Private, PrivateError};
use crate::proto::tfplugin6 as pb;
use crate::provider::{Provider, ResourceEntry};
use crate::resource::{
    Applied, CreateRequest, DeleteRequest, ImportOutcome, ImportRequest, Outcome, Plan, ReadRequest, UpdateRequest,
    UpgradeHow, unknown_places, without_write_only,
};
use crate::schema::Schema;
use crate::value::{Object, Value};
use bytes::Bytes;

/// Data beside a state, or an error that says what to do about it.
pub(super) fn private(bytes: &Bytes) -> Result<Private, Diagnostic> {
    Private::decode(bytes).map_err(|error| {
        let hint = match error {
            PrivateError::Format(_) => " Use at least the release of the provider that wrote it.",
            _ => "",
        };
        Diagnostic::error("Private data of the resource cannot be used", format!("{error}.{hint}"))
    })
}

fn is_set(object: &Object) -> bool {
    let mut set = false;
    object.walk(&mut |_, value| set |= !matches!(value, Value::Null | Value::Object(_)));
    set
}

/// What the handlers of an apply are given.
struct Change {
    prior: Option<Object>,
    planned: Option<Object>,
    config: Option<Object>,
    private: Private,
    identity: Option<Object>,
    meta: Option<Object>,
}

impl<P: Provider> Inner<P> {
    pub(super) fn resource(&self, name: &str) -> Result<&ResourceEntry<P::Client>, Diagnostic> {
        self.registry().resources.get(name).ok_or_else(|| {
            Diagnostic::error("Unknown resource", format!("The provider has no resource of the type {name}."))
        })
    }

    pub(super) async fn validate_resource(
        &self,
        cx: Context,
        rq: pb::validate_resource_config::Request,
    ) -> Diagnostics {
        let mut d = Diagnostics::new();
        let Some(entry) = d.ok(self.resource(&rq.type_name)) else { return d };
        let schema = entry.schema();
        let Some(config) = Self::config(schema, rq.config.as_ref(), &mut d) else { return d };
        let held = self.secrets.hold(schema.secrets(&config));
        if !cx.capabilities().write_only_attributes_allowed {
            let taken = schema.take_write_only(&mut config.clone());
            for (name, value) in taken.iter() {
                if is_set(&Object::new().with(name, value.clone())) {
                    d.error(
                        crate::Path::attr(name),
                        "Write-only argument needs Terraform 1.11",
                        "This Terraform would store the value in its state. Use Terraform 1.11 or later, or leave the \
                         argument out.",
                    );
                }
            }
        }
        schema.validate(&config, &mut d);
        entry.resource.validate(&cx, &config, &mut d).await;
        let d = d.into_iter().map(|one| self.masked(one)).collect();
        drop(held);
        d
    }

    pub(super) fn upgrade(&self, rq: &pb::upgrade_resource_state::Request) -> pb::upgrade_resource_state::Response {
        let mut d = Diagnostics::new();
        let upgraded = self.upgraded(rq);
        let upgraded_state = match upgraded {
            Ok(state) => state,
            Err(found) => {
                d.extend(found);
                None
            }
        };
        pb::upgrade_resource_state::Response { upgraded_state, diagnostics: self.wire(d) }
    }

    fn upgraded(&self, rq: &pb::upgrade_resource_state::Request) -> Result<Option<pb::DynamicValue>, Diagnostics> {
        let entry = self.resource(&rq.type_name)?;
        let schema = entry.schema();
        let failed = |detail: String| Diagnostic::error("State cannot be upgraded", detail);
        let raw = rq.raw_state.as_ref().map(|raw| raw.json.clone()).unwrap_or_default();
        if raw.is_empty() {
            let text = "The state is in the form of a Terraform before 0.12, which this provider does not read.";
            return Err(failed(text.to_owned()).into());
        }
        let (stored, current) = (rq.version, schema.version);
        let ty = schema.object_type();
        if stored > current {
            return Err(failed(format!(
                "The state of this {} was written by a later release of the provider (schema version {stored}, this \
                 release knows up to {current}). Use that release or a later one.",
                rq.type_name
            ))
            .into());
        }
        let state = if stored == current {
            json::decode_object(&raw, &ty, Attributes::Lenient)?
        } else {
            let Some(upgrade) = entry.resource.upgrades().into_iter().find(|u| u.from == stored) else {
                return Err(failed(format!(
                    "This release of the provider has no upgrade of {} from schema version {stored} to {current}. \
                     Use an earlier release first.",
                    rq.type_name
                ))
                .into());
            };
            match upgrade.how {
                UpgradeHow::Typed(old, how) => {
                    match json::decode_object(&raw, &old.object_type(), Attributes::Lenient)? {
                        None => None,
                        Some(state) => Some(complete(schema, how(state)?)),
                    }
                }
                UpgradeHow::Json(how) => {
                    let value = serde_json::from_slice(&raw).map_err(|e| failed(format!("It is not JSON: {e}.")))?;
                    let bytes = serde_json::to_vec(&how(value)?).map_err(|e| failed(e.to_string()))?;
                    json::decode_object(&bytes, &ty, Attributes::Lenient)?
                }
            }
        };
        let state = state.map(|state| without_write_only(schema, state));
        Ok(Some(wire::value(state.as_ref(), &ty)?))
    }

    pub(super) async fn read(
        &self,
        cx: Context,
        rq: pb::read_resource::Request,
        fallback: pb::read_resource::Response,
    ) -> pb::read_resource::Response {
        let mut d = Diagnostics::new();
        let answer = self.read_into(&cx, &rq, &mut d).await;
        let diagnostics = self.wire(d);
        pb::read_resource::Response { diagnostics, ..answer.unwrap_or(fallback) }
    }

    async fn read_into(
        &self,
        cx: &Context,
        rq: &pb::read_resource::Request,
        d: &mut Diagnostics,
    ) -> Option<pb::read_resource::Response> {
        let gone = || Some(pb::read_resource::Response { new_state: Some(wire::null()), ..Default::default() });
        let entry = d.ok(self.resource(&rq.type_name))?;
        let schema = entry.schema();
        let ty = schema.object_type();
        let Some(state) = d.ok(wire::object(rq.current_state.as_ref(), &ty))? else { return gone() };
        let held = self.secrets.hold(schema.secrets(&state));
        let private = d.ok(private(&rq.private))?;
        let stored = d.ok(identity(entry.identity(), rq.current_identity.as_ref()))?;
        let meta = d.ok(self.meta(rq.provider_meta.as_ref()))?;
        let client = match d.ok(self.client_or_deferral(cx))? {
            Ok(client) => client,
            Err(reason) => return self.read_deferred(cx, reason, rq, d),
        };
        let request = ReadRequest { state: state.clone(), private, identity: stored.clone(), meta };
        let observed = entry.resource.read(cx, &client, request).await;
        d.extend(observed.diagnostics.into_iter().map(|one| self.masked(one)));
        drop(held);
        if let Some(reason) = observed.deferred {
            return self.read_deferred(cx, reason, rq, d);
        }
        let fresh = match observed.outcome {
            Outcome::Gone => return gone(),
            Outcome::Unchanged => return None,
            Outcome::State(fresh) => fresh,
        };
        let mut fresh = without_write_only(schema, complete(schema, fresh));
        keep_spelling(schema, &state, &mut fresh);
        for place in unknown_places(&fresh) {
            d.error(place, "Read answered an unknown value", "This is a defect of the provider.");
        }
        let mut new_identity = None;
        if let Some(schema) = entry.identity() {
            let of_state = identities::of_state(schema, observed.identity, &fresh);
            identities::check_stable(schema, stored.as_ref(), of_state.as_ref(), d);
            new_identity = match of_state.or(stored) {
                Some(identity) => Some(d.ok(wire::identity_data(&identity, schema))?),
                None => None,
            };
        }
        if d.has_errors() {
            return None;
        }
        Some(pb::read_resource::Response {
            new_state: Some(d.ok(wire::value(Some(&fresh), &ty))?),
            private: observed.private.map_or_else(|| rq.private.clone(), |private| private.encode().into()),
            new_identity,
            ..Default::default()
        })
    }

    /// The state stays as it is.
    fn read_deferred(
        &self,
        cx: &Context,
        reason: DeferredReason,
        rq: &pb::read_resource::Request,
        d: &mut Diagnostics,
    ) -> Option<pb::read_resource::Response> {
        Some(pb::read_resource::Response {
            new_state: rq.current_state.clone(),
            private: rq.private.clone(),
            new_identity: rq.current_identity.clone(),
            deferred: Some(self.defer(cx, reason, None, d)?),
            ..Default::default()
        })
    }

    pub(super) async fn plan(
        &self,
        cx: Context,
        rq: pb::plan_resource_change::Request,
    ) -> pb::plan_resource_change::Response {
        let mut d = Diagnostics::new();
        let mut answer = self.plan_into(&cx, &rq, &mut d).await.unwrap_or_default();
        answer.diagnostics = self.wire(d);
        answer
    }

    async fn plan_into(
        &self,
        cx: &Context,
        rq: &pb::plan_resource_change::Request,
        d: &mut Diagnostics,
    ) -> Option<pb::plan_resource_change::Response> {
        let entry = d.ok(self.resource(&rq.type_name))?;
        let schema = entry.schema();
        let ty = schema.object_type();
        let prior = d.ok(wire::object(rq.prior_state.as_ref(), &ty))?;
        let proposed = d.ok(wire::object(rq.proposed_new_state.as_ref(), &ty))?;
        let config = d.ok(wire::object(rq.config.as_ref(), &ty))?;
        if let Some(config) = &config {
            schema.check_values(config, d);
            if d.has_errors() {
                return None;
            }
        }
        let held = self.secrets.hold(config.iter().flat_map(|config| schema.secrets(config)));
        // 6.11 sends back what the first plan of the same change left.
        let bytes = if rq.planned_private.is_empty() { &rq.prior_private } else { &rq.planned_private };
        let private = d.ok(private(bytes))?;
        let stored = d.ok(identity(entry.identity(), rq.prior_identity.as_ref()))?;
        let meta = d.ok(self.meta(rq.provider_meta.as_ref()))?;
        let input = PlanInput { schema, prior: prior.as_ref(), proposed: proposed.as_ref(), config: config.as_ref() };
        let mut found = Diagnostics::new();
        let first = plan(input, &mut found);
        let mut planned = Plan {
            prior: prior.clone(),
            config: config.clone(),
            planned: first.planned,
            requires_replace: first.requires_replace,
            private,
            identity: None,
            meta,
            deferred: None,
        };
        if !found.has_errors() {
            let client = self.client_if_any();
            entry.resource.modify_plan(cx, client.as_deref(), &mut planned, &mut found).await;
        }
        d.extend(found.into_iter().map(|one| self.masked(one)));
        drop(held);
        if d.has_errors() {
            return None;
        }
        if proposed.is_none() {
            planned.planned = None;
        }
        let after = planned.planned.take().map(|after| without_write_only(schema, complete(schema, after)));
        Self::complain("plan", check_plan(input, after.as_ref(), &planned.requires_replace), d);
        let mut planned_identity = None;
        if let Some(schema) = entry.identity()
            && let Some(identity) = identities::planned(schema, stored, &planned, after.as_ref())
        {
            Self::complain("plan", check_identity(schema, Some(&identity), prior.is_none()), d);
            planned_identity = Some(d.ok(wire::identity_data(&identity, schema))?);
        }
        let offline =
            matches!(self.client_or_deferral(cx), Ok(Err(_))).then_some(DeferredReason::ProviderConfigUnknown);
        let deferred = match planned.deferred.or(offline) {
            Some(reason) => Some(self.defer(cx, reason, config.as_ref(), d)?),
            None => None,
        };
        Some(pb::plan_resource_change::Response {
            planned_state: Some(d.ok(wire::value(after.as_ref(), &ty))?),
            requires_replace: wire::paths(&planned.requires_replace),
            planned_private: planned.private.encode().into(),
            planned_identity,
            deferred,
            ..Default::default()
        })
    }

    /// Broken rules: an error where defects are looked for, a log record elsewhere, since Terraform judges anyway.
    fn complain(what: &str, violations: Vec<Violation>, d: &mut Diagnostics) {
        for Violation { rule, path, text } in violations {
            if cfg!(debug_assertions) {
                d.error(path, format!("Defect of the provider: {what} breaks rule {rule}"), text);
            } else {
                tracing::error!(rule, tf_attribute_path = %path, "{what}: {text}");
            }
        }
    }

    pub(super) async fn apply(
        &self,
        cx: Context,
        rq: pb::apply_resource_change::Request,
        fallback: pb::apply_resource_change::Response,
    ) -> pb::apply_resource_change::Response {
        let mut d = Diagnostics::new();
        let answer = self.apply_into(&cx, &rq, &mut d).await.unwrap_or(fallback);
        pb::apply_resource_change::Response { diagnostics: self.wire(d), ..answer }
    }

    async fn apply_into(
        &self,
        cx: &Context,
        rq: &pb::apply_resource_change::Request,
        d: &mut Diagnostics,
    ) -> Option<pb::apply_resource_change::Response> {
        let entry = d.ok(self.resource(&rq.type_name))?;
        let schema = entry.schema();
        let ty = schema.object_type();
        let change = Change {
            prior: d.ok(wire::object(rq.prior_state.as_ref(), &ty))?,
            planned: d.ok(wire::object(rq.planned_state.as_ref(), &ty))?,
            config: d.ok(wire::object(rq.config.as_ref(), &ty))?,
            private: d.ok(private(&rq.planned_private))?,
            identity: d.ok(identity(entry.identity(), rq.planned_identity.as_ref()))?,
            meta: d.ok(self.meta(rq.provider_meta.as_ref()))?,
        };
        let secret = change.config.iter().chain(&change.prior).flat_map(|o| schema.secrets(o));
        let held = self.secrets.hold(secret);
        let client = d.ok(self.client())?;
        let (prior, planned) = (change.prior.clone(), change.planned.clone());
        let told = change.identity.clone();
        let applied = handle(entry, cx, &client, change).await;
        d.extend(applied.diagnostics.into_iter().map(|one| self.masked(one)));
        drop(held);
        let new = outcome(schema, applied.outcome, prior.as_ref(), planned.as_ref(), d);
        if !d.has_errors() {
            Self::complain("apply", check_apply(schema, planned.as_ref(), new.as_ref()), d);
        }
        let new_state = match wire::value(new.as_ref(), &ty) {
            Ok(value) => value,
            Err(misfit) => {
                d.push(misfit);
                // The object is there, and forgetting it would be worse than a state that the next refresh corrects.
                let instead = planned.as_ref().or(prior.as_ref()).map(|o| {
                    let known = Value::from(o.clone()).unknown_as_null();
                    known.as_object().cloned().unwrap_or_default()
                });
                wire::value(instead.as_ref(), &ty).unwrap_or_else(|_| wire::null())
            }
        };
        let private = match (&new, applied.private) {
            (None, _) => Bytes::new(),
            (Some(_), Some(private)) => private.encode().into(),
            (Some(_), None) => rq.planned_private.clone(),
        };
        let new_identity = match (entry.identity(), &new) {
            (Some(schema), Some(new)) => {
                let identity = identities::of_state(schema, applied.identity, new);
                if !d.has_errors() {
                    Self::complain("apply", check_identity(schema, identity.as_ref(), false), d);
                }
                // A failed update that says nothing leaves what was there.
                let identity = identity.or(told.filter(Object::is_wholly_known));
                identity.and_then(|identity| d.ok(wire::identity_data(&identity, schema)))
            }
            _ => None,
        };
        Some(pb::apply_resource_change::Response {
            new_state: Some(new_state),
            private,
            new_identity,
            ..Default::default()
        })
    }

    pub(super) async fn import(
        &self,
        cx: Context,
        rq: pb::import_resource_state::Request,
    ) -> pb::import_resource_state::Response {
        let mut d = Diagnostics::new();
        let answer = self.import_into(&cx, &rq, &mut d).await.unwrap_or_default();
        pb::import_resource_state::Response { diagnostics: self.wire(d), ..answer }
    }

    async fn import_into(
        &self,
        cx: &Context,
        rq: &pb::import_resource_state::Request,
        d: &mut Diagnostics,
    ) -> Option<pb::import_resource_state::Response> {
        let entry = d.ok(self.resource(&rq.type_name))?;
        let schema = entry.schema();
        let told = d.ok(identity(entry.identity(), rq.identity.as_ref()))?;
        if let (Some(schema), Some(told)) = (entry.identity(), &told) {
            schema.check_import(told, d);
            if d.has_errors() {
                return None;
            }
        }
        let deferral = |reason, d: &mut Diagnostics| {
            let deferred = Some(self.defer(cx, reason, None, d)?);
            Some(pb::import_resource_state::Response { deferred, ..Default::default() })
        };
        let client = match d.ok(self.client_or_deferral(cx))? {
            Ok(client) => client,
            Err(reason) => return deferral(reason, d),
        };
        let request = ImportRequest { id: rq.id.clone(), identity: told.clone(), empty: schema.empty_object() };
        let imported = entry.resource.import(cx, &client, request).await;
        d.extend(imported.diagnostics);
        let state = match imported.outcome {
            ImportOutcome::State(state) => without_write_only(schema, complete(schema, state)),
            ImportOutcome::Deferred(reason) => return deferral(reason, d),
            ImportOutcome::Failed => {
                if !d.has_errors() {
                    d.error(None, "Resource was not imported", "The provider gave no reason.");
                }
                return None;
            }
            ImportOutcome::Unsupported => {
                d.error(None, "Resource cannot be imported", format!("{} has no import.", rq.type_name));
                return None;
            }
        };
        let of_state = entry
            .identity()
            .and_then(|schema| Some((identities::of_state(schema, imported.identity.or(told), &state)?, schema)));
        let identity = match of_state {
            Some((identity, schema)) => Some(d.ok(wire::identity_data(&identity, schema))?),
            None => None,
        };
        let imported = pb::import_resource_state::ImportedResource {
            type_name: rq.type_name.clone(),
            state: Some(d.ok(wire::value(Some(&state), &schema.object_type()))?),
            private: imported.private.encode().into(),
            identity,
        };
        Some(pb::import_resource_state::Response { imported_resources: vec![imported], ..Default::default() })
    }
}

/// The identity of a message, where the resource has one.
fn identity(
    schema: Option<&IdentitySchema>,
    data: Option<&pb::ResourceIdentityData>,
) -> Result<Option<Object>, Diagnostic> {
    match schema {
        Some(schema) => wire::identity(data, schema),
        None => Ok(None),
    }
}

/// Calls the handler that the change asks for.
async fn handle<C: Send + Sync + 'static>(
    entry: &ResourceEntry<C>,
    cx: &Context,
    client: &C,
    change: Change,
) -> Applied {
    let Change { prior, planned, config, private, identity, meta } = change;
    let config = config.or_else(|| planned.clone()).unwrap_or_default();
    match (prior, planned) {
        (None, Some(plan)) => {
            entry.resource.create(cx, client, CreateRequest { plan, config, private, identity, meta }).await
        }
        (Some(prior), Some(plan)) => {
            entry.resource.update(cx, client, UpdateRequest { prior, plan, config, private, identity, meta }).await
        }
        (Some(state), None) => {
            let deleted = entry.resource.delete(cx, client, DeleteRequest { state, private, identity, meta }).await;
            if matches!(deleted.outcome, Outcome::Gone) || deleted.diagnostics.has_errors() {
                deleted
            } else {
                let text = "The provider did not say that the object is gone. This is a defect of the provider.";
                deleted.with_diagnostics([Diagnostic::error("Object was not deleted", text)])
            }
        }
        (None, None) => Applied::gone(),
    }
}

/// The state to save, wholly known.
fn outcome(
    schema: &Schema,
    outcome: Outcome,
    prior: Option<&Object>,
    planned: Option<&Object>,
    d: &mut Diagnostics,
) -> Option<Object> {
    match outcome {
        Outcome::State(state) => {
            let mut state = without_write_only(schema, complete(schema, state));
            if let Some(planned) = planned {
                keep_spelling(schema, planned, &mut state);
            }
            let unknown = unknown_places(&state);
            if !d.has_errors() {
                for place in &unknown {
                    d.error(place.clone(), "Apply left an unknown value", "This is a defect of the provider.");
                }
            }
            if unknown.is_empty() {
                return Some(state);
            }
            Value::from(state).unknown_as_null().as_object().cloned()
        }
        Outcome::Gone => {
            if planned.is_some() && !d.has_errors() {
                d.error(None, "Object is gone", "It was deleted by someone else while the change was made.");
            }
            None
        }
        Outcome::Unchanged => {
            if planned.is_some() && !d.has_errors() {
                d.error(None, "Nothing was done", "The provider gave no reason. This is a defect of the provider.");
            }
            prior.cloned()
        }
    }
}
