//! What a schedule asks for, as callers see it.

use sampan_engine::environment_schedule as engine;
use sampan_schema::environment_schedule::{Spec, Status, times};
use sampan_store::{Object, Reader, StoreError};
use serde_json::Value;

use crate::clock::rfc3339;
use crate::objects;

/// The status at `now`: it follows from the spec, the clock and the rows, so none is written for it.
pub(super) fn status(r: &Reader<'_>, o: &Object, now: i64) -> Result<Value, StoreError> {
    let Ok(spec) = sampan_schema::read::<Spec>(&o.spec) else { return Ok(Value::Null) };
    let row = objects::wave(r, &o.uid)?;
    let times = times(&spec).ok().filter(|_| spec.enabled);
    let period = times.map(|times| engine::at(&times, now)).unwrap_or_default();
    let text = |at: Option<i64>| at.map_or_else(String::new, rfc3339);
    let is_off = !spec.enabled && !row.stopped && !row.is_moving();
    let mut status = Status {
        phase: if is_off { "Disabled" } else { row.phase() }.to_owned(),
        last_boundary: text(period.since),
        next_boundary: text(period.until),
        ..Status::default()
    };
    for app in r.objects("application", Some(&o.namespace), None, usize::MAX)? {
        if !spec.selector.chooses(&app.name, &objects::labels(&app)) {
            continue;
        }
        if objects::state(r, &app.id())?.stopped.is_some() {
            status.stopped.insert(app.name.clone());
        }
        status.applications.insert(app.name);
    }
    Ok(serde_json::to_value(status).unwrap_or_default())
}
