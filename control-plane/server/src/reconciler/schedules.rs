//! Schedules of environments: what they ask for at present, and how far their waves have come.
//!
//! The period follows from the spec and the clock. Only the row of the waves is stored; without it everything would
//! start and stop at once, and nothing else would differ.

use std::collections::{BTreeMap, BTreeSet};

use sampan_engine::environment_schedule::{self as engine, Asks, Event, Member, Period, Row};
use sampan_schema::environment_schedule::{Spec, Times, times};
use sampan_store::{EventType, NewEvent, Object, Reader, StoreError};

use super::Reconciler;
use crate::objects;

/// A period is looked up anew at least so often.
const LONGEST_MS: i64 = 86_400_000;

/// One schedule, as it is stored.
struct Scheduled {
    uid: String,
    spec: Spec,
    /// `None` of one that cannot be read: it asks for nothing.
    times: Option<Times>,
    row: Row,
    period: Period,
    /// The period holds from then until before then, in milliseconds since the epoch.
    from: i64,
    until: i64,
}

/// All schedules. Nothing here is truth: it is read again after each write.
pub(super) struct Schedules {
    all: Vec<Scheduled>,
    /// They have to be read; what they ask for is not known.
    stale: bool,
}

impl Default for Schedules {
    fn default() -> Self {
        Self { all: Vec::new(), stale: true }
    }
}

impl Schedules {
    /// They were written.
    pub(super) fn changed(&mut self) {
        self.stale = true;
    }

    /// What they ask of an application together. While nobody knows, everything stays as it is.
    pub(super) fn asks(&self, ns: &str, name: &str, labels: &BTreeMap<String, String>) -> Asks {
        if self.stale { Asks::Stay } else { self.of_all_but(None, ns, name, labels) }
    }

    fn of_all_but(&self, but: Option<&str>, ns: &str, name: &str, labels: &BTreeMap<String, String>) -> Asks {
        let chosen = self
            .all
            .iter()
            .filter(|s| but != Some(s.uid.as_str()) && s.spec.namespace == ns && s.spec.selector.chooses(name, labels));
        chosen.fold(Asks::Run, |asks, s| asks.and(engine::asks(&s.spec, &s.period, &s.row, name)))
    }

    /// The clock was set by so much.
    pub(super) fn shift(&mut self, by: i64) {
        self.all.iter_mut().for_each(|s| s.row.since += by);
    }

    /// The applications that a schedule chooses, as they are.
    fn members(&self, r: &Reader<'_>, s: &Scheduled) -> Result<Vec<Member>, StoreError> {
        let mut members = Vec::new();
        for object in r.objects("application", Some(&s.spec.namespace), None, usize::MAX)? {
            let labels = objects::labels(&object);
            if object.deleting || !s.spec.selector.chooses(&object.name, &labels) {
                continue;
            }
            let state = objects::state(r, &object.id())?;
            let other = self.of_all_but(Some(&s.uid), &object.namespace, &object.name, &labels);
            let count = |field: &str| object.status.get(field).and_then(serde_json::Value::as_u64).unwrap_or(0);
            members.push(Member {
                stopped: state.stopped.is_some(),
                elsewhere: matches!(other, Asks::Stop { .. }),
                releasing: state.is_busy(),
                replicas: count("replicas"),
                ready: count("ready_replicas"),
                desired: count("desired_replicas"),
                name: object.name,
            });
        }
        Ok(members)
    }
}

impl Scheduled {
    fn new(object: &Object, row: Row) -> Option<Self> {
        let spec: Spec = sampan_schema::read(&object.spec).ok()?;
        let times = times(&spec).ok();
        Some(Self { uid: object.uid.clone(), spec, times, row, period: Period::default(), from: 0, until: 0 })
    }

    /// The period that `now` is in. One that is off asks for nothing.
    fn look(&mut self, now: i64) {
        if (self.from..self.until).contains(&now) {
            return;
        }
        let times = self.times.as_ref().filter(|_| self.spec.enabled);
        self.period = times.map(|times| engine::at(times, now)).unwrap_or_default();
        let longest = now.saturating_add(LONGEST_MS);
        (self.from, self.until) = (now, self.period.until.unwrap_or(longest).min(longest));
    }
}

impl Reconciler {
    /// Reads the schedules when they were written, and moves their waves on. Whoever is asked for something else is
    /// looked at.
    ///
    /// # Errors
    /// When they cannot be read, or a row cannot be written: what is stopped stays so.
    pub(super) fn look_at_schedules(&mut self, now: i64) -> Result<(), StoreError> {
        if self.schedules.stale {
            let namespaces = self.read_schedules()?;
            self.schedules.all.iter_mut().for_each(|s| s.look(now));
            let served =
                self.serving.keys().filter(|app| app.split_once('/').is_some_and(|(ns, _)| namespaces.contains(ns)));
            self.dirty.extend(served.cloned());
        }
        for at in 0..self.schedules.all.len() {
            self.schedules.all[at].look(now);
            let s = &self.schedules.all[at];
            if s.row.stopped == s.period.stopped && !s.row.is_moving() {
                continue;
            }
            let members = self.parts.store.read(|r| self.schedules.members(r, s))?;
            let mut row = s.row;
            let events = engine::step(&s.spec, &s.period, &members, &mut row, now);
            if row == s.row {
                continue;
            }
            self.store_row(&s.uid, &s.spec, &row, &events, now)?;
            let ns = s.spec.namespace.clone();
            self.schedules.all[at].row = row;
            self.dirty.extend(members.iter().map(|m| objects::key(&ns, &m.name)));
        }
        Ok(())
    }

    /// Returns the namespaces that have some now, or had before.
    fn read_schedules(&mut self) -> Result<BTreeSet<String>, StoreError> {
        let (found, rows) = self.parts.store.read(|r| {
            Ok::<_, StoreError>((r.objects("environment_schedule", None, None, usize::MAX)?, objects::waves(r)?))
        })?;
        let gone: Vec<&String> = rows.keys().filter(|uid| !found.iter().any(|o| o.uid == **uid)).collect();
        if !gone.is_empty() {
            self.parts
                .store
                .write(|tx| gone.iter().try_for_each(|uid| tx.remove_document(objects::WAVES, uid).map(drop)))?;
        }
        let mut namespaces: BTreeSet<String> = self.schedules.all.iter().map(|s| s.spec.namespace.clone()).collect();
        let row = |object: &Object| rows.get(&object.uid).copied().unwrap_or_default();
        self.schedules.all = found.iter().filter_map(|object| Scheduled::new(object, row(object))).collect();
        self.schedules.stale = false;
        namespaces.extend(self.schedules.all.iter().map(|s| s.spec.namespace.clone()));
        Ok(namespaces)
    }

    fn store_row(&self, uid: &str, spec: &Spec, row: &Row, events: &[Event], now: i64) -> Result<(), StoreError> {
        self.parts.store.write(|tx| {
            objects::put_wave(tx, uid, &objects::key(&spec.namespace, &spec.name), row)?;
            for (kind, reason, message) in events {
                let event_type = if *kind == "Warning" { EventType::Warning } else { EventType::Normal };
                let event = NewEvent {
                    kind: "environment_schedule",
                    namespace: &spec.namespace,
                    name: &spec.name,
                    event_type,
                    reason,
                    message,
                };
                tx.append_event(event, now)?;
            }
            Ok::<_, StoreError>(())
        })
    }
}
