//! What is: the runtime's list, the ends of actions, the verdicts of probes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sampan_engine::instance::{Action, Instance, Seen, Traffic, backoff_ms};
use sampan_engine::runtime::{ObservedContainer, ObservedSandbox, ProbeReport, RuntimeError, SandboxSpec};

use super::execute::beside;
use super::{Heard, Reconciler};
use crate::clock::now_ms;
use crate::objects;

impl Reconciler {
    /// Asks the runtime what there is; one list at a time.
    pub(super) fn list(&mut self) {
        if self.listing {
            return;
        }
        self.listing = true;
        let (runtime, tell, began) = (self.parts.runtime.clone(), self.tell.clone(), self.heard);
        let work = async move { runtime.list().await };
        beside(tell, work, move |result| Heard::Listed { began, result: result.flatten() });
    }

    pub(super) fn listed(&mut self, began: u64, result: Result<Vec<ObservedSandbox>, RuntimeError>) {
        self.listing = false;
        let there = &self.sandboxes;
        self.orphans.retain(|instance, _| there.contains_key(instance));
        // The next list begins later than this one.
        self.touched.retain(|_, t| *t > began);
        let list = match result {
            Ok(list) => list,
            Err(e) => {
                tracing::warn!(reason = e.reason, message = e.message, "the runtime cannot be listed");
                return;
            }
        };
        let mut found: HashMap<String, Vec<ObservedSandbox>> = HashMap::new();
        for s in list {
            found.entry(s.instance.clone()).or_default().push(s);
        }
        let known: BTreeSet<String> = found.keys().chain(self.sandboxes.keys()).cloned().collect();
        for instance in known {
            // A list that began before the last action ended tells about the past.
            if self.busy.contains(&instance) || self.touched.get(&instance).is_some_and(|t| *t > began) {
                continue;
            }
            let now = found.remove(&instance).unwrap_or_default();
            let before = self.sandboxes.get(&instance);
            if before != Some(&now) {
                let owner = now.first().or_else(|| before.and_then(|b| b.first()));
                if let Some(s) = owner {
                    self.dirty.insert(objects::key(&s.namespace, &s.application));
                }
            }
            if now.is_empty() {
                self.sandboxes.remove(&instance);
            } else {
                self.sandboxes.insert(instance, now);
            }
        }
        let seen_again: Vec<String> = self
            .unseen
            .iter()
            .filter(|i| !self.busy.contains(*i) && self.touched.get(*i).is_none_or(|t| *t <= began))
            .cloned()
            .collect();
        if !seen_again.is_empty() {
            self.dirty.extend(self.serving.keys().cloned());
        }
        for i in seen_again {
            self.unseen.remove(&i);
        }
        if !self.listed_once {
            self.listed_once = true;
            match self.parts.store.read(|r| r.objects("application", None, None, usize::MAX)) {
                Ok(all) => self.dirty.extend(all.iter().map(|o| objects::key(&o.namespace, &o.name))),
                Err(e) => {
                    tracing::error!(error = %e, "applications cannot be read");
                    self.listed_once = false;
                }
            }
            let orphans: Vec<String> =
                self.sandboxes.values().flatten().map(|s| objects::key(&s.namespace, &s.application)).collect();
            self.dirty.extend(orphans);
        }
    }

    pub(super) fn seen(&mut self, rows: &[Instance]) -> BTreeMap<String, Seen> {
        let mut out = BTreeMap::new();
        for row in rows {
            let sandboxes = self.sandboxes.get(&row.name).cloned().unwrap_or_default();
            let mut probes = BTreeMap::new();
            let mut in_flight = BTreeMap::new();
            for c in sandboxes.iter().flat_map(|s| &s.containers) {
                probes.insert(c.id.clone(), self.verdict(row, c));
                let key = row.endpoint_key(c.attempt);
                let n = self.parts.gateway.in_flight(&key);
                if n > 0 {
                    in_flight.insert(key, n);
                }
            }
            let busy = self.busy.contains(&row.name);
            let seen = Seen {
                busy,
                listed: !self.unseen.contains(&row.name),
                sandboxes,
                probes,
                acked: self.acked,
                in_flight,
                failed: if busy { None } else { self.failed.remove(&row.name) },
            };
            out.insert(row.name.clone(), seen);
        }
        out
    }

    /// What is known of a container's probes. A row that says ready is believed until a probe says otherwise: the
    /// probes of a server that was restarted have not run yet. What takes requests was ready, also where the row is on
    /// its way to another container.
    pub(super) fn verdict(&self, row: &Instance, c: &ObservedContainer) -> ProbeReport {
        match self.probing.get(&c.id) {
            Some(probing) => probing.report.clone(),
            None if row.traffic == Traffic::On => ProbeReport::passing(),
            None if row.attempt == c.attempt && row.ready_since.is_some() => ProbeReport::passing(),
            None => ProbeReport::default(),
        }
    }

    /// Sandboxes that carry our label and that no row names are removed. One that does not go is tried again, ever
    /// more rarely.
    pub(super) fn remove_orphans(&mut self, app: &str, rows: &[Instance]) {
        let orphans: Vec<(String, ObservedSandbox)> = self
            .sandboxes
            .iter()
            .filter(|(instance, _)| !self.busy.contains(*instance) && !rows.iter().any(|r| r.name == **instance))
            .flat_map(|(i, all)| all.iter().map(move |s| (i.clone(), s.clone())))
            .filter(|(_, s)| objects::key(&s.namespace, &s.application) == app)
            .collect();
        for (instance, s) in orphans {
            let now = now_ms();
            // Of the try before: no row takes it.
            let failed = self.failed.remove(&instance).is_some();
            let (tries, retry_at) = self.orphans.entry(instance.clone()).or_default();
            if failed {
                *tries += 1;
                *retry_at = now + backoff_ms(*tries);
            }
            if now < *retry_at {
                let at = *retry_at;
                self.wakes.entry(app.to_owned()).and_modify(|w| *w = at.min(*w)).or_insert(at);
                continue;
            }
            tracing::warn!(instance, sandbox = s.id, "no row names this sandbox; removing it");
            let spec = SandboxSpec {
                instance: s.instance.clone(),
                namespace: s.namespace.clone(),
                application: s.application.clone(),
                class: String::new(),
                generation: s.generation,
                cpu_millis: 0,
                memory_bytes: 0,
            };
            self.spawn(app, Action::RemoveSandbox { instance, id: s.id, spec }, None);
        }
    }
}
