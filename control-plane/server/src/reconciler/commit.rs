//! Rows before actions: what a decision changes is stored in one transaction.

use sampan_engine::application::State;
use sampan_engine::instance::Instance;
use sampan_engine::reconcile::{Decision, OperationUpdate};
use sampan_engine::revision::Revision;
use sampan_schema::operation::Phase;
use sampan_store::{EventType, NewEvent, Object, StoreError};

use super::Reconciler;
use crate::objects;

impl Reconciler {
    /// Writes rows, status, operations and events in one transaction, before anything is done. False, and nothing is
    /// written, when what waited was to begin and something else came in that moment: that is to be decided again.
    pub(super) fn commit(
        &self,
        app: &str,
        ns: &str,
        name: &str,
        object: &Object,
        before: &(Vec<Instance>, State),
        fresh: Option<Revision>,
        d: &Decision,
        now: i64,
    ) -> Result<bool, StoreError> {
        let changed: Vec<&Instance> = d.instances.iter().filter(|i| !before.0.contains(i)).collect();
        let status = serde_json::to_value(&d.status).unwrap_or_default();
        let stored = self.parts.store.read(|r| objects::state(r, app))?;
        let rows_stand = changed.is_empty()
            && d.gone.is_empty()
            && fresh.is_none()
            && d.state == stored
            && d.events.is_empty()
            && !d.finished
            && status == object.status;
        if rows_stand && self.operations_stand(&d.operations)? {
            return Ok(true);
        }
        self.parts.store.write(|tx| {
            // A request or verb that came since the rows were read must not be lost.
            let mut state = d.state.clone();
            let latest = objects::state(tx, app)?;
            let stands = latest.queued == before.1.queued;
            let begins = before.1.queued.is_some() && d.state.queued.is_none();
            if begins && (!stands || latest.request != before.1.request) {
                return Ok(false);
            }
            if !stands {
                state.queued.clone_from(&latest.queued);
            }
            if latest.request != before.1.request {
                state.request.clone_from(&latest.request);
            }
            if latest.verb != before.1.verb {
                state.verb = latest.verb;
            }
            if latest.image != before.1.image {
                state.image.clone_from(&latest.image);
            }
            if d.finished {
                for collection in
                    [objects::INSTANCES, objects::REVISIONS, objects::STATES, objects::SCALING, objects::LOADS]
                {
                    tx.remove_documents(collection, app)?;
                }
                if let Some(o) = tx.latest_operation("application", ns, name)? {
                    objects::move_operation(tx, &o.id, Phase::Succeeded, "", "", None, now)?;
                }
                tx.remove_decisions(ns, name)?;
                tx.remove_object("application", ns, name, now)?;
                return Ok::<_, StoreError>(true);
            }
            objects::put_state(tx, app, &state)?;
            if let Some(r) = &fresh {
                objects::put_revision(tx, app, r)?;
            }
            for row in &changed {
                objects::put_instance(tx, app, row)?;
            }
            for gone in &d.gone {
                tx.remove_document(objects::INSTANCES, &format!("{app}/{gone}"))?;
            }
            for u in &d.operations {
                objects::move_operation(tx, &u.id, u.phase, &u.reason, &u.message, Some(u.progress.clone()), now)?;
            }
            for (kind, reason, message) in &d.events {
                let event_type = if *kind == "Warning" { EventType::Warning } else { EventType::Normal };
                let event = NewEvent { kind: "application", namespace: ns, name, event_type, reason, message };
                tx.append_event(event, now)?;
            }
            for row in &changed {
                let old = before.0.iter().find(|i| i.name == row.name);
                if !row.reason.is_empty() && old.is_none_or(|o| o.reason != row.reason || o.message != row.message) {
                    let message = format!("{}: {}", row.name, row.message);
                    let event = NewEvent {
                        kind: "application",
                        namespace: ns,
                        name,
                        event_type: EventType::Warning,
                        reason: &row.reason,
                        message: &message,
                    };
                    tx.append_event(event, now)?;
                }
            }
            tx.set_status("application", ns, name, &status, now)?;
            Ok(true)
        })
    }

    /// Whether the operations are stored as the decision wants them, or over.
    fn operations_stand(&self, wanted: &[OperationUpdate]) -> Result<bool, StoreError> {
        self.parts.store.read(|r| {
            for u in wanted {
                let Some(o) = r.operation(&u.id)?.map(objects::operation).transpose()? else { continue };
                let same =
                    o.phase == u.phase && o.reason == u.reason && o.message == u.message && o.progress == u.progress;
                if !same && !o.phase.is_terminal() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}
