//! The windows of a rule at a time.

use sampan_schema::calendar::Window;
use sampan_schema::scaling_rule::{Spec, window};
use serde::{Deserialize, Serialize};

/// Reads the windows anew at least so often.
const LONGEST_MS: i64 = 86_400_000;
/// A window's instances start so much before it at most.
const MOST_LEAD_MS: i64 = 600_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub min: u32,
    pub max: u32,
}

/// What the windows say from one time to another. Kept, because reading cron expressions in each tick is slow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    generation: i64,
    /// Holds from then until before then, in milliseconds since the epoch.
    from: i64,
    pub until: i64,
    pub bounds: Bounds,
    /// The window it is in.
    pub window: Option<String>,
    /// The next one: its name, when it begins, its bounds.
    pub next: Option<(String, i64, Bounds)>,
    /// A window that cannot be read has no say.
    pub problem: Option<String>,
}

fn count(n: i64) -> u32 {
    u32::try_from(n.max(0)).unwrap_or(u32::MAX)
}

impl Plan {
    /// As it is if it still holds, else a new one.
    pub fn at(&mut self, spec: &Spec, generation: i64, now: i64) {
        if self.generation != generation || now < self.from || now >= self.until {
            *self = Self::new(spec, generation, now);
        }
    }

    fn new(spec: &Spec, generation: i64, now: i64) -> Self {
        let most = count(spec.max_replicas);
        let within = |(min, max): (i64, i64)| Bounds { min: count(min).min(most), max: count(max).min(most) };
        let mut plan = Self {
            generation,
            from: now,
            until: now + LONGEST_MS,
            bounds: within((spec.min_replicas, spec.max_replicas)),
            ..Self::default()
        };
        let mut windows: Vec<(&str, Window, Bounds)> = Vec::new();
        for s in &spec.schedules {
            match window(s) {
                Ok(w) => windows.push((&s.name, w, within(s.bounds()))),
                Err(wrong) => {
                    let why = wrong.first().map_or_else(String::new, |(field, _, text)| format!("{field} {text}"));
                    plan.problem = Some(format!("window {:?}: {why}", s.name));
                }
            }
        }
        let newest = windows.iter().filter_map(|(_, w, _)| w.last_start(now)).max();
        let active = windows
            .iter()
            .filter_map(|(name, w, bounds)| {
                let since = w.since(now).filter(|since| w.end.is_some() || Some(*since) == newest)?;
                Some((since, name, w, bounds))
            })
            .max_by_key(|(since, ..)| *since);
        if let Some((since, name, w, bounds)) = active {
            plan.bounds = *bounds;
            plan.window = Some((*name).to_owned());
            plan.until = plan.until.min(w.over(since.max(now)).unwrap_or(i64::MAX).max(now + 1));
        }
        let next = windows.iter().filter_map(|(name, w, bounds)| Some((w.next_start(now)?, name, bounds)));
        if let Some((at, name, bounds)) = next.min_by_key(|(at, ..)| *at) {
            plan.until = plan.until.min(at);
            plan.next = Some(((*name).to_owned(), at, *bounds));
        }
        plan
    }

    /// The bounds in force. A window takes effect so early that its instances are ready when it begins: there is no dip
    /// where one ends and the next begins. With the window that is waited for.
    pub fn bounds(&self, now: i64, start_lag_ms: i64) -> (Bounds, Option<&str>) {
        let lead = start_lag_ms.clamp(0, MOST_LEAD_MS);
        match &self.next {
            Some((name, at, next)) if now >= at - lead && next.min > self.bounds.min => {
                (Bounds { min: next.min, max: self.bounds.max.max(next.min) }, Some(name))
            }
            _ => (self.bounds, None),
        }
    }

    /// When [`Self::bounds`] changes next.
    pub fn wake_at(&self, now: i64, start_lag_ms: i64) -> i64 {
        let lead = start_lag_ms.clamp(0, MOST_LEAD_MS);
        let early = self.next.as_ref().map(|(_, at, _)| at - lead).filter(|at| *at > now);
        early.unwrap_or(self.until).min(self.until)
    }
}
