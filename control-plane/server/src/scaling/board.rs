//! What the reconciler, the autoscaler and the API tell each other. Nothing here is truth: after a restart it is
//! empty, and until the reconciler has looked at an application nothing is decided about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sampan_engine::scaling::Decision;
use tokio::sync::Notify;

/// An application as the reconciler saw it last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `replicas` of the spec.
    pub replicas: u32,
    /// A release is under way, or waits to begin.
    pub releasing: bool,
    /// A schedule has stopped it.
    pub stopped: bool,
    /// Those that shall stay.
    pub instances: Vec<Instance>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub name: String,
    pub ready: bool,
    pub cpu_millis: u64,
    pub memory_bytes: u64,
}

impl Facts {
    pub fn ready(&self) -> u32 {
        self.instances.iter().filter(|i| i.ready).count() as u32
    }
}

/// What was decided about an application last.
#[derive(Debug, Clone)]
pub struct Shown {
    pub decision: Decision,
    /// Requests that wait for an instance.
    pub waiting: u32,
}

#[derive(Default)]
struct Inner {
    watched: BTreeSet<String>,
    facts: BTreeMap<String, Facts>,
    shown: BTreeMap<String, Shown>,
}

/// By application (`namespace/application`).
#[derive(Default)]
pub struct Board {
    inner: Mutex<Inner>,
    rules: Notify,
}

impl Board {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rules were written.
    pub fn rules_changed(&self) {
        self.rules.notify_one();
    }

    pub async fn next_change_of_rules(&self) {
        self.rules.notified().await;
    }

    /// Those with an enabled rule. Returns which are new.
    pub fn watch(&self, applications: BTreeSet<String>) -> Vec<String> {
        let mut inner = self.inner();
        let new = applications.difference(&inner.watched).cloned().collect();
        inner.facts.retain(|app, _| applications.contains(app));
        inner.shown.retain(|app, _| applications.contains(app));
        inner.watched = applications;
        new
    }

    /// What the reconciler has seen, of those who are asked about.
    pub fn tell(&self, app: &str, facts: impl FnOnce() -> Facts) {
        let mut inner = self.inner();
        if inner.watched.contains(app) {
            inner.facts.insert(app.to_owned(), facts());
        }
    }

    pub fn facts(&self, app: &str) -> Option<Facts> {
        self.inner().facts.get(app).cloned()
    }

    pub fn show(&self, app: &str, shown: Shown) {
        let mut inner = self.inner();
        if inner.watched.contains(app) {
            inner.shown.insert(app.to_owned(), shown);
        }
    }

    /// Nothing is decided about it for a while.
    pub fn hide(&self, app: &str) {
        self.inner().shown.remove(app);
    }

    pub fn shown(&self, app: &str) -> Option<Shown> {
        self.inner().shown.get(app).cloned()
    }
}
