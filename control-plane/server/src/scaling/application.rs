//! One application: what was measured, what was decided.

use std::collections::{BTreeMap, VecDeque};

use sampan_engine::scaling::idle::{self, Idle};
use sampan_engine::scaling::{self, Decision, Metrics, Reading, Requests, Rollout, Sample, View};
use sampan_gateway::Load;
use sampan_schema::scaling_rule::Spec;
use sampan_store::{EventType, NewEvent, StoreError};
use serde_json::json;

use super::Parts;
use super::board::{Facts, Shown};
use super::history::{Loads, Usages};
use super::outlook::Outlook;
use super::signals::{self, Measured};
use crate::objects::{self, Scaled};
use crate::quota;
use crate::reconciler::Note;

/// What rules remember is stored with each decision, and else so often.
const STORE_MS: i64 = 60_000;
/// Start-up times that are remembered.
const LAGS: usize = 20;

#[derive(PartialEq)]
pub(super) struct Rule {
    pub spec: Spec,
    pub generation: i64,
}

pub(super) struct Application {
    pub rules: Vec<Rule>,
    /// Without an enabled rule: what the application itself says.
    pub idle: Option<Idle>,
    /// Answers of others, by rule and metric.
    pub answers: BTreeMap<(String, String), Sample>,
    /// `None` until the first decision is stored.
    stored: Option<Scaled>,
    stored_at: i64,
    state: scaling::State,
    started: i64,
    loads: Loads,
    last_request: Option<i64>,
    waiting: u32,
    /// Since when more instances are wanted than ready.
    growing: Option<i64>,
    lags: VecDeque<i64>,
    outlook: Outlook,
    /// When the floor was stored while a schedule keeps it stopped.
    rested_at: Option<i64>,
    /// What the last decision in the log came to, and what was wanted.
    logged: Option<(u32, Vec<u32>, scaling::LimitedBy)>,
}

impl Application {
    /// One that has no rule and is stopped when nobody asks for it.
    pub fn idle(idle: Idle, stored: Option<Scaled>, now: i64) -> Self {
        Self { idle: Some(idle), ..Self::new(Vec::new(), stored, Outlook::default(), now) }
    }

    pub fn new(rules: Vec<Rule>, stored: Option<Scaled>, outlook: Outlook, now: i64) -> Self {
        let state = stored.as_ref().map(|s| s.state.clone()).unwrap_or_default();
        Self {
            rules,
            idle: None,
            answers: BTreeMap::new(),
            stored,
            stored_at: now,
            state,
            started: now,
            loads: Loads::default(),
            last_request: None,
            waiting: 0,
            growing: None,
            lags: VecDeque::new(),
            outlook,
            rested_at: None,
            logged: None,
        }
    }

    /// The clock was set: what was seen has times that say nothing any more. As after a start, the size stays.
    pub fn begin_anew(&mut self, now: i64) {
        self.answers.clear();
        self.state = scaling::State::default();
        (self.started, self.stored_at) = (now, now);
        self.loads = Loads::default();
        (self.last_request, self.growing) = (None, None);
    }

    /// The rules as they are now. An answer to what was asked before says nothing about them.
    pub fn follow(&mut self, rules: Vec<Rule>) {
        if rules != self.rules {
            self.answers.clear();
            self.rested_at = None;
            self.rules = rules;
        }
    }

    /// What somebody else says of a metric. A value stays, with its age, while there is no newer one.
    pub fn answered(&mut self, of: (String, String), result: Result<f64, String>, now: i64) {
        match result {
            Ok(value) => {
                self.answers.insert(of, Sample::fresh(Reading::Total(value), now));
            }
            Err(why) => self.answers.entry(of).or_default().problem = why,
        }
    }

    /// What the gateway has counted.
    pub fn see(&mut self, load: Option<Load>, now: i64) {
        let Some(load) = load else {
            self.waiting = 0;
            return;
        };
        let before = self.loads.last().map(|(_, load)| load.requests);
        if load.in_flight > 0 || before.is_some_and(|before| load.requests != before) {
            self.last_request = Some(now);
        }
        self.waiting = u32::try_from(load.held).unwrap_or(u32::MAX);
        self.loads.push(now, load);
    }

    /// It is the idle application that it was at the last look.
    pub fn is(&self, idle: &Idle, stored: Option<&Scaled>) -> bool {
        self.idle.as_ref() == Some(idle) && self.stored.as_ref() == stored
    }

    /// Decides, and stores what changed. Nothing is decided until the reconciler has looked at the application.
    ///
    /// Returns false when somebody else has written meanwhile, so that it has to be read again.
    pub fn decide(&mut self, name: &str, parts: &Parts, usages: &Usages, now: i64) -> bool {
        let Some(facts) = parts.board.facts(name) else { return true };
        if facts.stopped {
            self.rest(name, parts, &facts, now);
            return true;
        }
        self.rested_at = None;
        let decision = match self.idle {
            Some(idle) => self.decide_idle(&idle, &facts, now),
            None => self.decide_rules(name, parts, &facts, usages, now),
        };
        let stored = self.store(name, parts, &decision, now);
        let stored = stored.unwrap_or_else(|error| {
            tracing::error!(app = name, %error, "a decision cannot be stored; trying again");
            true
        });
        parts.board.show(name, Shown { decision, waiting: self.waiting });
        stored
    }

    fn decide_idle(&mut self, idle: &Idle, facts: &Facts, now: i64) -> Decision {
        if facts.releasing {
            self.started = now;
        }
        let asleep = self.stored.as_ref().is_some_and(|s| s.idle && s.desired == 0);
        let view = idle::View {
            now,
            since: self.started,
            asleep,
            current: self.stored.as_ref().map_or(facts.replicas, |s| s.desired),
            ready: facts.ready(),
            rollout: if facts.releasing { Rollout::Active } else { Rollout::None },
            requests: Requests { last: self.last_request, waiting: self.waiting },
        };
        idle::decide(idle, &view)
    }

    fn decide_rules(&mut self, name: &str, parts: &Parts, facts: &Facts, usages: &Usages, now: i64) -> Decision {
        let current = self.stored.as_ref().map_or(facts.replicas, |s| s.desired);
        let measured = Measured { loads: &self.loads, usages, facts, answers: &self.answers };
        let metrics: Vec<Metrics> =
            self.rules.iter().map(|rule| signals::metrics(&rule.spec, &measured, now)).collect();
        let start_lag_ms = self.start_lag();
        let specs = self.rules.iter().map(|r| &r.spec).zip(&metrics);
        let forecasts = self.outlook.look(specs, start_lag_ms, now);
        let rules: Vec<scaling::Rule<'_>> = self
            .rules
            .iter()
            .zip(&metrics)
            .map(|(rule, metrics)| scaling::Rule {
                spec: &rule.spec,
                generation: rule.generation,
                metrics,
                forecast: forecasts.get(&rule.spec.name),
            })
            .collect();
        let view = View {
            now,
            started: self.started,
            rules: &rules,
            current,
            ready: facts.ready(),
            start_lag_ms,
            rollout: if facts.releasing { Rollout::Active } else { Rollout::None },
            quota: None,
            requests: Requests { last: self.last_request, waiting: self.waiting },
        };
        let mut state = self.state.clone();
        let mut decision = scaling::decide(&view, &mut state);
        if decision.to > current
            && let Some(room) = room(parts, name, current)
        {
            let view = View { quota: Some(room), ..view };
            state = self.state.clone();
            decision = scaling::decide(&view, &mut state);
        }
        self.measure_start(&decision, facts, now);
        self.state = state;
        decision
    }

    /// A schedule has stopped it: nothing is decided, and what was measured says nothing about the next start, which is
    /// at the floor of the rules.
    fn rest(&mut self, name: &str, parts: &Parts, facts: &Facts, now: i64) {
        self.begin_anew(now);
        parts.board.hide(name);
        if self.rested_at.is_some_and(|at| (at..at + STORE_MS).contains(&now)) {
            return;
        }
        let floor = match self.idle {
            Some(_) => Some(facts.replicas),
            None => scaling::floor(self.rules.iter().map(|rule| &rule.spec), now),
        };
        let Some(floor) = floor else { return };
        let scaled = Scaled {
            desired: floor,
            changed_at: self.stored.as_ref().map_or(0, |s| s.changed_at),
            holds: self.holds(),
            idle: self.idle.is_some(),
            state: self.state.clone(),
        };
        let (ns, app) = name.split_once('/').unwrap_or(("", name));
        let stored = parts.store.write(|tx| {
            if tx.object("application", ns, app)?.is_some() {
                objects::put_scaled(tx, name, &scaled)?;
            }
            Ok::<_, StoreError>(())
        });
        match stored {
            Ok(()) => (self.stored, self.rested_at) = (Some(scaled), Some(now)),
            Err(error) => tracing::error!(app = name, %error, "the floor of a start cannot be stored; trying again"),
        }
    }

    /// Whether requests wait while there is no instance.
    fn holds(&self) -> bool {
        let to_zero = self.rules.iter().any(|r| r.spec.scale_to_zero.is_some());
        self.idle.map_or(to_zero, |idle| idle.holds())
    }

    /// The time from a decision to ready instances, 90th percentile.
    fn start_lag(&self) -> i64 {
        let mut lags: Vec<i64> = self.lags.iter().copied().collect();
        lags.sort_unstable();
        lags.get((lags.len() * 9).div_ceil(10).saturating_sub(1)).copied().unwrap_or(0)
    }

    fn measure_start(&mut self, decision: &Decision, facts: &Facts, now: i64) {
        match self.growing {
            Some(since) if facts.ready() >= decision.to => {
                self.growing = None;
                self.lags.push_back(now - since);
                if self.lags.len() > LAGS {
                    self.lags.pop_front();
                }
            }
            None if decision.to > decision.from => self.growing = Some(now),
            // It shrank before it had grown.
            Some(_) if decision.to < decision.from => self.growing = None,
            _ => {}
        }
    }

    fn store(&mut self, name: &str, parts: &Parts, decision: &Decision, now: i64) -> Result<bool, StoreError> {
        let (ns, app) = name.split_once('/').unwrap_or(("", name));
        let idle = self.idle.is_some();
        let holds = self.holds();
        let before = self.stored.as_ref();
        let changed = before.is_none_or(|s| s.desired != decision.to || s.holds != holds || s.idle != idle);
        let wanted = decision.rules.iter().map(|r| r.wanted).collect();
        let outcome = (decision.to, wanted, decision.limited_by);
        // What is held back second after second is one line of the log.
        let log = decision.to != decision.from || (decision.is_notable() && self.logged.as_ref() != Some(&outcome));
        let loads = self.outlook.is_due(now);
        let due = loads || now - self.stored_at >= STORE_MS && before.is_none_or(|s| s.state != self.state);
        if !changed && !log && !due {
            return Ok(true);
        }
        let moved = decision.to != decision.from;
        let changed_at = if moved { now } else { before.map_or(0, |s| s.changed_at) };
        let scaled = Scaled { desired: decision.to, changed_at, holds, idle, state: self.state.clone() };
        let sentence = decision.to_string();
        // Some: it was not stored, and whether the present rules and what is stored still count.
        let kept = parts.store.write(|tx| {
            // It may have been deleted a moment ago, and somebody else may have taken what the quota left.
            let taken = moved && quota::room(tx, ns, app)?.is_some_and(|room| decision.to > room.max(decision.from));
            if tx.object("application", ns, app)?.is_none() || taken {
                return Ok::<_, StoreError>(Some(true));
            }
            // Or written: then it is not idle.
            if idle && objects::scaled(tx, name)? != self.stored {
                return Ok(Some(false));
            }
            objects::put_scaled(tx, name, &scaled)?;
            if loads {
                self.outlook.store(tx, name)?;
            }
            if log {
                tx.append_decision(ns, app, &logged(decision, &sentence), now)?;
            }
            if moved {
                let event = NewEvent {
                    kind: "application",
                    namespace: ns,
                    name: app,
                    event_type: EventType::Normal,
                    reason: "Scaled",
                    message: &sentence,
                };
                tx.append_event(event, now)?;
            }
            Ok(None)
        })?;
        if let Some(counts) = kept {
            return Ok(counts);
        }
        if loads {
            self.outlook.stored(now);
        }
        self.stored = Some(scaled);
        self.stored_at = now;
        if log {
            self.logged = Some(outcome);
        }
        if changed {
            tracing::info!(app = name, from = decision.from, to = decision.to, "{sentence}");
            let _ = parts.notes.send(Note::Wake(name.to_owned()));
        }
        Ok(true)
    }
}

/// What the namespace's quota leaves. When that cannot be read, nothing is added.
fn room(parts: &Parts, name: &str, current: u32) -> Option<u32> {
    let (ns, app) = name.split_once('/').unwrap_or(("", name));
    parts.store.read(|r| quota::room(r, ns, app)).unwrap_or_else(|error| {
        tracing::error!(app = name, %error, "the quota cannot be read; trying again");
        Some(current)
    })
}

/// A decision as it is kept and shown.
fn logged(decision: &Decision, sentence: &str) -> serde_json::Value {
    json!({
        "at": decision.at, "from": decision.from, "to": decision.to, "reason": sentence,
        "limited_by": decision.limited_by.word(),
        "inputs": { "ready": decision.ready, "quota": decision.quota, "rules": decision.rules },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise an hour of the clock would be an hour of silence, and the last instance would go.
    #[test]
    fn a_clock_that_is_set_is_a_start_and_not_an_hour_of_silence() {
        let seen = |requests| Some(Load { requests, ..Load::default() });
        let of = || ("rule".to_owned(), "metric".to_owned());
        for set_to in [3_602_000, -3_598_000] {
            let mut app = Application::new(Vec::new(), None, Outlook::default(), 0);
            app.see(seen(1), 1000);
            app.see(seen(2), 2000);
            app.answered(of(), Ok(1.0), 2000);
            app.growing = Some(2000);
            assert_eq!(app.last_request, Some(2000));
            app.begin_anew(set_to);
            assert_eq!((app.started, app.last_request, app.growing), (set_to, None, None));
            assert_eq!((app.state == scaling::State::default(), app.answers.len()), (true, 0));
            assert!(app.loads.last().is_none(), "no rate over an hour that was not");
            app.see(seen(2), set_to + 1000);
            assert_eq!(app.last_request, None, "what came before is no request of now");
        }
    }
}
