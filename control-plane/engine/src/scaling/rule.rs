//! What one rule wants.

use sampan_schema::scaling_rule::{DuringRollout, Metric, MetricType, PredictionMode, Spec};
use serde::{Deserialize, Serialize};

use super::history::{Extremes, Limited, Way};
use super::plan::Plan;
use super::proposal::{self, Gap, Proposal, Size, Tolerance, proposal};
use super::reason::{Direction, Reason};
use super::{Bounds, Forecast, Gate, LimitedBy, Rollout, Rule, Track, View};

/// The tries that `fallback.failure_threshold` counts are so far apart.
const TRY_MS: i64 = 15_000;
/// Memory that was needed within this time is kept room for.
const MEMORY_MS: i64 = 3_600_000;

/// What a rule remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleState {
    /// When it was first looked at.
    since: i64,
    plan: Plan,
    /// When a metric could last be read by all; `None` while all can be.
    failing_since: Option<i64>,
    /// The panic and what it never goes below.
    panic_until: i64,
    panic_floor: u32,
    /// Instances that memory needed.
    memory: Extremes,
    /// The size as it would be without the forecast, which therefore takes nothing away from it.
    own: u32,
    reactive: Track,
    /// Sizes of `reactive`, to tell which would be ready.
    sizes: Extremes,
    /// The size as it is.
    real: Track,
    /// The forecast holds the size above that of `reactive`.
    lifted: bool,
    /// The last decision of all rules, and when it was made.
    decided: Option<(i64, u32)>,
}

/// How a rule came to its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleDecision {
    pub rule: String,
    pub bounds: Bounds,
    /// The window it is in.
    pub window: Option<String>,
    pub proposals: Vec<Proposal>,
    /// In panic a burst has begun, and no instance goes.
    pub panic: bool,
    /// The forecast and the instances it is for.
    pub forecast: Option<(Forecast, u32)>,
    /// Within the bounds, before the behaviour.
    pub wanted: u32,
    pub result: u32,
    pub limited_by: LimitedBy,
    pub reasons: Vec<Reason>,
}

impl RuleState {
    pub(super) fn new(now: i64) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// `to` is what all rules together came to.
    pub(super) fn settle(&mut self, now: i64, to: u32) {
        self.decided = Some((now, to));
        self.lifted &= to > self.own;
    }

    /// Name of the window that it is in.
    pub fn window(&self) -> Option<&str> {
        self.plan.window.as_deref()
    }
}

fn ways(spec: &Spec) -> (Way<'_>, Way<'_>) {
    let (up, down) = (&spec.behavior.scale_up, &spec.behavior.scale_down);
    let out = Way {
        window_ms: up.stabilization_window_seconds * 1000,
        period_ms: up.period_seconds * 1000,
        max_step: &up.max_step,
        disabled: up.disabled,
    };
    let back = Way {
        window_ms: down.stabilization_window_seconds * 1000,
        period_ms: down.period_seconds * 1000,
        max_step: &down.max_step,
        disabled: down.disabled,
    };
    (out, back)
}

fn tolerance(spec: &Spec) -> Tolerance {
    let share = |percent: i64| percent as f64 / 100.0;
    Tolerance {
        out: share(spec.behavior.scale_up.tolerance_percent),
        back: share(spec.behavior.scale_down.tolerance_percent),
    }
}

/// The longest window of a metric, at least a minute.
fn stable_ms(spec: &Spec) -> i64 {
    spec.metrics.values().map(|m| m.window_seconds).max().unwrap_or(0).max(60) * 1000
}

/// One rule on its way to a number.
struct Work<'a, 'v> {
    view: &'a View<'v>,
    spec: &'a Spec,
    bounds: Bounds,
    size: Size,
    reasons: Vec<Reason>,
    limited_by: LimitedBy,
    wake_at: i64,
}

pub(super) fn decide(view: &View<'_>, rule: &Rule<'_>, state: &mut RuleState, wake_at: &mut i64) -> RuleDecision {
    let (now, spec) = (view.now, rule.spec);
    // A clock that went back.
    state.since = state.since.min(now);
    state.plan.at(spec, rule.generation, now);
    let (bounds, early) = state.plan.bounds(now, view.start_lag_ms);
    let early = early.map(str::to_owned);
    let (out, back) = ways(spec);
    let size = state.size(view, &out, &back);
    let mut work = Work {
        view,
        spec,
        bounds,
        size,
        reasons: Vec::new(),
        limited_by: LimitedBy::None,
        wake_at: state.plan.wake_at(now, view.start_lag_ms),
    };
    if let Some(window) = early {
        work.reasons.push(Reason::Early { window });
    }
    if let Some(problem) = &state.plan.problem {
        work.reasons.push(Reason::Window { problem: problem.clone() });
    }
    let proposals = work.proposals(rule, state);
    let idle = work.idle(&proposals);
    let wanted = if idle { 0 } else { work.reactive(&proposals, state) };
    let wanted = if idle { 0 } else { work.clamp(wanted, state) };
    let since = state.since.max(view.started.min(now));
    let mut result = if idle {
        work.idle_result(&back)
    } else {
        let limited = state.reactive.limit(now, wanted, since, &out, &back);
        work.behave(wanted, &limited, &back, since)
    };
    state.own = result;
    let forecast = rule.forecast.map(|f| (f.clone(), work.forecast(f)));
    let floor = work.floor(forecast.as_ref());
    result = work.lift(result, floor, state, since, &out, &back);
    let result = work.last(result);
    *wake_at = (*wake_at).min(work.wake_at);
    RuleDecision {
        rule: spec.name.clone(),
        bounds,
        window: state.plan.window.clone(),
        proposals,
        panic: state.panic_until > now,
        forecast,
        wanted: wanted.max(floor.unwrap_or(0)),
        result,
        limited_by: work.limited_by,
        reasons: work.reasons,
    }
}

impl RuleState {
    /// The size that metrics are held against: the real one, or that without the forecast's floor.
    fn size(&mut self, view: &View<'_>, out: &Way<'_>, back: &Way<'_>) -> Size {
        self.lifted &= view.current > self.own;
        let current = if self.lifted { self.own } else { view.current };
        // What was decided counts from then on, and what others did from when it is seen.
        let at = self.decided.filter(|(_, to)| *to == view.current).map_or(view.now, |(at, _)| at.min(view.now));
        self.reactive.observe(at, current, out, back);
        self.real.observe(at, view.current, out, back);
        let started = self.sizes.lowest(view.now, current, view.start_lag_ms.max(1));
        let ready = if self.lifted { view.ready.min(started) } else { view.ready };
        Size { current, ready: ready.min(current) }
    }
}

impl Work<'_, '_> {
    fn proposals(&mut self, rule: &Rule<'_>, state: &mut RuleState) -> Vec<Proposal> {
        let now = self.view.now;
        let concurrency = |m: &&Metric| m.kind == MetricType::Concurrency;
        let concurrency = self.spec.metrics.values().find(concurrency).map(|m| m.target);
        let tolerance = tolerance(self.spec);
        let mut found = Vec::with_capacity(self.spec.metrics.len());
        for (name, metric) in &self.spec.metrics {
            let sample = rule.metrics.get(name);
            let mut p = proposal(name, metric, sample, self.size, tolerance, concurrency, now);
            if metric.kind == MetricType::Memory {
                self.remember(&mut p, state);
            }
            found.push(p);
        }
        // Without instances nothing can be read from them, and that is no failure.
        if self.size.current == 0 {
            found.retain(|p| p.kind.is_load() && p.kind != MetricType::Cpu);
        }
        found
    }

    /// What memory needed within the hour is kept room for.
    fn remember(&self, p: &mut Proposal, state: &mut RuleState) {
        let Some(wanted) = p.wanted else { return };
        let most = state.memory.highest(self.view.now, wanted, MEMORY_MS);
        p.wanted = Some(if wanted > self.size.current { wanted } else { most.min(self.size.current).max(wanted) });
    }

    /// What the metrics together ask for.
    fn reactive(&mut self, proposals: &[Proposal], state: &mut RuleState) -> u32 {
        let (now, n) = (self.view.now, self.size.current);
        if self.spec.metrics.is_empty() {
            return self.bounds.min;
        }
        if n == 0 {
            return self.wake(proposals);
        }
        let lowers = proposals.iter().any(|p| p.lowers) && proposals.iter().all(|p| p.gap.is_none());
        let mut wanted = proposals.iter().filter_map(|p| p.wanted).max().unwrap_or(n);
        if !lowers && wanted <= n {
            if let Some(p) = proposals.iter().find(|p| p.gap.is_some()) {
                self.reasons.push(Reason::Held { metric: p.metric.clone() });
            } else if wanted < n {
                self.reasons.push(Reason::OnlyOut);
            }
            wanted = n;
        }
        wanted = self.fallback(proposals, wanted, state);
        self.panic(proposals, wanted, now, state)
    }

    fn fallback(&mut self, proposals: &[Proposal], wanted: u32, state: &mut RuleState) -> u32 {
        let missing = |p: &Proposal| matches!(p.gap, Some(Gap::Missing { .. }));
        if !proposals.iter().any(missing) {
            state.failing_since = None;
            return wanted;
        }
        let now = self.view.now;
        let since = state.failing_since.get_or_insert(now);
        *since = (*since).min(now);
        let Some(floor) = self.spec.fallback.replicas.map(|n| u32::try_from(n).unwrap_or(0)) else { return wanted };
        let from = *since + self.spec.fallback.failure_threshold * TRY_MS;
        if now < from {
            self.wake_at = self.wake_at.min(from);
            return wanted;
        }
        if floor > wanted {
            self.limited_by = LimitedBy::Fallback;
            self.reasons.push(Reason::Fallback { floor, for_ms: now - *since });
        }
        wanted.max(floor)
    }

    /// A burst counts at once, and until it has been over for a whole window no instance goes.
    fn panic(&mut self, proposals: &[Proposal], wanted: u32, now: i64, state: &mut RuleState) -> u32 {
        let window = stable_ms(self.spec);
        let burst = proposals.iter().filter_map(|p| p.panic).max();
        if state.panic_until <= now || state.panic_until > now + window {
            (state.panic_until, state.panic_floor) = (0, 0);
        }
        if let Some(burst) = burst {
            state.panic_until = now + window;
            state.panic_floor = state.panic_floor.max(burst).max(self.size.current);
        }
        if state.panic_until <= now {
            return wanted;
        }
        state.panic_floor = state.panic_floor.max(wanted);
        if state.panic_floor > wanted {
            self.reasons.push(Reason::Panic { floor: state.panic_floor, left_ms: state.panic_until - now });
        }
        self.wake_at = self.wake_at.min(state.panic_until);
        state.panic_floor
    }

    /// From no instance to the first.
    fn wake(&mut self, proposals: &[Proposal]) -> u32 {
        let waiting = self.view.requests.waiting;
        if waiting > 0 {
            self.reasons.push(Reason::Woken { waiting });
            return 1;
        }
        let above = |p: &&Proposal| {
            let least = self.spec.metrics.get(&p.metric).map_or(0.0, |m| m.activation_target);
            p.value.is_some_and(|v| v > least)
        };
        let active = proposals.iter().find(above);
        let Some(p) = active else { return 0 };
        let wanted = proposals.iter().filter_map(|p| p.wanted).max().unwrap_or(1).max(1);
        self.reasons.push(Reason::Active { metric: p.metric.clone() });
        wanted
    }

    /// Whether the last instance may go: no request for long enough, nothing to do, and everything is known.
    fn idle(&mut self, proposals: &[Proposal]) -> bool {
        let Some(zero) = self.spec.scale_to_zero.as_ref().filter(|_| self.bounds.min == 0) else { return false };
        if self.size.current == 0 {
            return false;
        }
        let now = self.view.now;
        let quiet = |p: &Proposal| !p.kind.is_load() || (p.gap.is_none() && p.value.is_some_and(|v| v <= 0.0));
        // What instances use is never nothing: requests and connections tell.
        let tells = |p: &&Proposal| p.kind != MetricType::Cpu;
        if self.view.requests.waiting > 0 || !proposals.iter().filter(tells).all(quiet) {
            return false;
        }
        let last = self.view.requests.last.unwrap_or(self.view.started).max(self.view.started).min(now);
        let over = last + zero.cooldown_seconds * 1000;
        if now < over {
            self.wake_at = self.wake_at.min(over);
            return false;
        }
        self.reasons.push(Reason::Idle { for_ms: now - last });
        true
    }

    fn idle_result(&mut self, back: &Way<'_>) -> u32 {
        if back.disabled {
            self.limited_by = LimitedBy::Behavior;
            self.reasons.push(Reason::Disabled { direction: Direction::In });
            return self.size.current;
        }
        0
    }

    /// Into the bounds. Before it is idle an application keeps one instance.
    fn clamp(&mut self, wanted: u32, state: &RuleState) -> u32 {
        let Bounds { min, max } = self.bounds;
        let asleep = self.size.current == 0 && wanted == 0;
        let least = if min == 0 && !asleep { 1.min(max) } else { min };
        let window = state.plan.window.clone();
        let by = |own| if window.is_some() { LimitedBy::Schedule } else { own };
        if wanted < least {
            if !self.spec.metrics.is_empty() {
                self.limited_by = by(LimitedBy::Min);
                self.reasons.push(Reason::Min { min: least, window });
            }
            return least;
        }
        if wanted > max {
            self.limited_by = by(LimitedBy::Max);
            self.reasons.push(Reason::Max { max, window });
            return max;
        }
        wanted
    }

    /// Tells what the behaviour did. Bounds hold at once, but leaving a window obeys the behaviour.
    fn behave(&mut self, wanted: u32, limited: &Limited, back: &Way<'_>, since: i64) -> u32 {
        let now = self.view.now;
        let most = u32::try_from(self.spec.max_replicas).unwrap_or(0).max(self.bounds.min);
        let result = limited.result.clamp(self.bounds.min, most);
        if result == wanted {
            return result;
        }
        self.wake_at = self.wake_at.min(limited.wake_at);
        if let Some(kept) = limited.stabilised {
            self.limited_by = LimitedBy::Behavior;
            if wanted < kept && now - since < back.window_ms {
                self.reasons.push(Reason::Restarted { wanted, kept, left_ms: since + back.window_ms - now });
            } else {
                self.reasons.push(Reason::Stabilised { wanted, kept });
            }
        }
        if let Some(step) = limited.step {
            self.limited_by = LimitedBy::Behavior;
            self.reasons.push(Reason::Step { wanted, step });
        }
        if limited.disabled {
            self.limited_by = LimitedBy::Behavior;
            let direction = if wanted > self.size.current { Direction::Out } else { Direction::In };
            self.reasons.push(Reason::Disabled { direction });
        }
        result
    }

    /// Instances that the forecast is for. What is within the tolerance of the size is no reason for more.
    fn forecast(&self, forecast: &Forecast) -> u32 {
        let target = self.spec.forecast_metric().map_or(f64::INFINITY, |(_, m)| m.target);
        let demand = forecast.load.max(0.0) / target.max(f64::MIN_POSITIVE);
        let wanted = proposal::instances(demand);
        let n = self.view.current;
        let more = demand > f64::from(n) * (1.0 + tolerance(self.spec).out);
        if wanted > n && !more { n } else { wanted }
    }

    /// The floor, if the forecast may act.
    fn floor(&mut self, forecast: Option<&(Forecast, u32)>) -> Option<u32> {
        let prediction = self.spec.prediction.as_ref()?;
        let (forecast, n) = forecast?;
        if prediction.mode == PredictionMode::Observe {
            self.reasons.push(Reason::Observed { wanted: *n });
            return None;
        }
        if forecast.gate != Gate::Open {
            self.reasons.push(Reason::GateShut { wanted: *n, gate: forecast.gate.clone() });
            return None;
        }
        Some((*n).min(self.bounds.max))
    }

    /// Raises the result to the floor; the size that the forecast brought goes the same slow way as any other.
    fn lift(
        &mut self,
        result: u32,
        floor: Option<u32>,
        state: &mut RuleState,
        since: i64,
        out: &Way<'_>,
        back: &Way<'_>,
    ) -> u32 {
        let now = self.view.now;
        let real = &mut state.real;
        if self.spec.prediction.is_none() || self.spec.metrics.is_empty() {
            state.lifted = false;
            return result;
        }
        // An application that sleeps is not woken up by a forecast.
        let floor = floor.filter(|_| result > 0);
        let wanted = result.max(floor.unwrap_or(0));
        let limited = real.limit(now, wanted, since, out, back);
        let most = u32::try_from(self.spec.max_replicas).unwrap_or(0);
        let lifted = if floor.is_some() || state.lifted { limited.result.min(most).max(result) } else { result };
        if let Some(wanted) = floor.filter(|floor| *floor > result) {
            self.reasons.push(Reason::Forecast { wanted });
        }
        if lifted > result {
            self.wake_at = self.wake_at.min(limited.wake_at);
            self.limited_by = if limited.result < wanted { LimitedBy::Behavior } else { LimitedBy::None };
        }
        state.lifted = lifted > result;
        lifted
    }

    /// What a release allows.
    fn last(&mut self, result: u32) -> u32 {
        let n = self.view.current;
        if self.view.rollout == Rollout::None {
            return result;
        }
        let kept = match self.spec.during_rollout {
            DuringRollout::Freeze => n,
            DuringRollout::FreezeScaleDown => result.max(n),
            DuringRollout::Normal => result,
        };
        if kept != result {
            self.limited_by = LimitedBy::Rollout;
            self.reasons.push(Reason::Rollout { wanted: result, kept });
        }
        kept
    }
}
