//! When a schedule asks applications to stop, in which order they go and come, and what an application makes of it.
//!
//! What is asked for is a function of the time ([`at`]), not an event: a server that was off at the boundary asks for
//! the same as one that was not. Only the order has a memory, the [`Row`]: how far the waves have come.

use sampan_schema::environment_schedule::{Spec, Times};
use serde::{Deserialize, Serialize};

use crate::application::{ReleasePhase, State, Verb};

/// Times that are looked at for one that takes effect.
const LOOKS: usize = 800;
/// Every wave runs.
const ALL: usize = usize::MAX;

/// What a schedule asks for at a time, and how long it has done and will do so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    pub stopped: bool,
    /// In milliseconds since the epoch; `None`: it has never asked for anything else.
    pub since: Option<i64>,
    /// `None`: it never will.
    pub until: Option<i64>,
}

/// The period that `now` is in.
pub fn at(times: &Times, now: i64) -> Period {
    let (_, to) = times.stop.days();
    let end = Some(to).filter(|to| *to < i64::MAX);
    let stop = times.stop.last_start(now);
    let start = last_start(times, now);
    let stops = stop.filter(|stop| start.is_none_or(|start| *stop > start));
    match stops {
        Some(stop) if now < to => {
            let first = start.and_then(|start| times.stop.next_start(start)).unwrap_or(stop);
            let until = next_start(times, now).into_iter().chain(end).min();
            Period { stopped: true, since: Some(first), until }
        }
        // Over since its last day.
        Some(_) => Period { stopped: false, since: end, until: None },
        None => {
            let since = stop.and_then(|stop| next_start(times, stop)).filter(|since| *since <= now);
            Period { stopped: false, since, until: times.stop.next_start(now) }
        }
    }
}

/// Whether a start at that time does nothing, because a stop comes with it.
fn yields(times: &Times, start: i64) -> bool {
    let (from, to) = times.stop.days();
    (from..to).contains(&start) && times.stop.start.last(start) == Some(start)
}

/// The last start that takes effect, not after `now`.
fn last_start(times: &Times, now: i64) -> Option<i64> {
    let mut at = now;
    for _ in 0..LOOKS {
        let start = times.start.last(at)?;
        let (date, began, _) = times.start.day(start)?;
        if times.holidays.contains(&date) {
            at = began - 1;
        } else if yields(times, start) {
            at = start - 1;
        } else {
            return Some(start);
        }
    }
    None
}

/// The first start that takes effect, after `now`.
fn next_start(times: &Times, now: i64) -> Option<i64> {
    let mut at = now;
    for _ in 0..LOOKS {
        let start = times.start.next(at)?;
        let (date, _, over) = times.start.day(start)?;
        if times.holidays.contains(&date) {
            at = over - 1;
        } else if yields(times, start) {
            at = start;
        } else {
            return Some(start);
        }
    }
    None
}

/// How far the waves have come. An absent row is the default: everything runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// What the schedule asked for at the last look.
    pub stopped: bool,
    /// So many waves run, from the first on; those behind are stopped, or wait for their turn.
    pub running: usize,
    /// Since when the present wave is waited for, in milliseconds since the epoch.
    pub since: i64,
}

impl Default for Row {
    fn default() -> Self {
        Self { stopped: false, running: ALL, since: 0 }
    }
}

impl Row {
    /// Whether waves are still on their way.
    pub fn is_moving(&self) -> bool {
        if self.stopped { self.running > 0 } else { self.running != ALL }
    }

    /// `Running`, `Stopping`, `Stopped` or `Starting`.
    pub fn phase(&self) -> &'static str {
        match (self.stopped, self.is_moving()) {
            (true, true) => "Stopping",
            (true, false) => "Stopped",
            (false, true) => "Starting",
            (false, false) => "Running",
        }
    }
}

/// An application that a schedule chooses, as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// A schedule has stopped it: it shall have no instances.
    pub stopped: bool,
    /// Another schedule asks for its stop.
    pub elsewhere: bool,
    /// A release is under way, or waits to begin.
    pub releasing: bool,
    pub replicas: u64,
    pub ready: u64,
    pub desired: u64,
}

impl Member {
    fn is_up(&self) -> bool {
        self.elsewhere || (!self.stopped && self.ready >= self.desired)
    }

    fn is_down(&self) -> bool {
        self.replicas == 0
    }

    /// Why it is waited for.
    fn state(&self) -> String {
        match self.releasing {
            true => format!("{} has a release under way", self.name),
            false if self.stopped && self.replicas == 0 => format!("{} is stopped", self.name),
            false => format!("{} has {} of {} instances ready", self.name, self.ready, self.desired),
        }
    }
}

/// `(type, reason, message)`.
pub type Event = (&'static str, &'static str, String);

/// Moves the waves on by what is seen, and tells what happened.
pub fn step(spec: &Spec, period: &Period, members: &[Member], row: &mut Row, now: i64) -> Vec<Event> {
    let last = spec.start_order.len();
    let mut events = Vec::new();
    if row.stopped != period.stopped {
        let running = if period.stopped { last } else { 1 };
        *row = Row { stopped: period.stopped, running, since: now };
        events.push(began(period, members.len()));
    }
    for _ in 0..=last {
        if !row.is_moving() {
            break;
        }
        if !row.stopped && row.running > last {
            // Nobody waits for the last wave.
            row.running = ALL;
            break;
        }
        let wave = if row.stopped { row.running } else { row.running - 1 };
        let is_done = |m: &&Member| if row.stopped { m.is_down() } else { m.is_up() };
        let waits: Vec<_> = members.iter().filter(|m| spec.wave(&m.name) == wave && !is_done(m)).collect();
        if !waits.is_empty() {
            if now - row.since < spec.wave_timeout_seconds * 1000 {
                break;
            }
            let who: Vec<_> = waits.iter().map(|m| m.state()).collect();
            let text = format!(
                "wave {} was waited for for {} s, and {}: the next one goes",
                wave + 1,
                spec.wave_timeout_seconds,
                who.join(", ")
            );
            events.push(("Warning", "WaveTimeout", text));
        }
        row.running = if row.stopped { row.running.min(last + 1) - 1 } else { row.running + 1 };
        row.since = now;
    }
    events
}

fn began(period: &Period, members: usize) -> Event {
    let (reason, verb, other) =
        if period.stopped { ("Stopping", "stops", "start") } else { ("Starting", "starts", "stop") };
    let next =
        period.until.map_or_else(|| format!("there is no next {other}"), |at| format!("next {other} {}", time(at)));
    ("Normal", reason, format!("{verb} {members} application{}; {next}", if members == 1 { "" } else { "s" }))
}

/// RFC 3339 in UTC, seconds.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_second(ms.div_euclid(1000)).map_or_else(|_| String::new(), |t| t.to_string())
}

/// Why an application is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Name of the schedule.
    pub schedule: String,
    /// In milliseconds since the epoch; `None`: for ever.
    pub until: Option<i64>,
}

impl Stopped {
    /// One sentence.
    pub fn message(&self, now: i64) -> String {
        let until = match self.until {
            None => "until the schedule is changed".into(),
            Some(at) if at > now => format!("until {}", time(at)),
            Some(_) => "until its wave starts".into(),
        };
        format!("stopped by schedule {} {until}", self.schedule)
    }
}

/// A stop that waits for a release to end. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Name of the schedule.
    pub schedule: String,
    pub since: i64,
    /// Then the release is aborted.
    pub until: i64,
    /// It has been.
    pub aborted: bool,
}

/// What schedules ask of one application. The later one in this order counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Asks {
    #[default]
    Run,
    /// It is not its wave's turn: what is stopped stays so, what runs goes on.
    Stay,
    Stop {
        by: Stopped,
        /// So long a release may take to end, in milliseconds.
        patience_ms: i64,
    },
}

/// What one schedule asks of an application that it chooses.
pub fn asks(spec: &Spec, period: &Period, row: &Row, application: &str) -> Asks {
    if spec.wave(application) < row.running {
        return if row.stopped { Asks::Stay } else { Asks::Run };
    }
    if !row.stopped {
        return Asks::Stay;
    }
    let by = Stopped { schedule: spec.name.clone(), until: period.until };
    Asks::Stop { by, patience_ms: spec.wave_timeout_seconds * 1000 }
}

impl Asks {
    /// What both ask for together: one stop is enough, and the longest is told. A release has the longer time.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let end = |s: &Stopped| (s.until.unwrap_or(i64::MAX), s.schedule.clone());
        match (self, other) {
            (Self::Stop { by: a, patience_ms: x }, Self::Stop { by: b, patience_ms: y }) => {
                Self::Stop { by: if end(&b) > end(&a) { b } else { a }, patience_ms: x.max(y) }
            }
            (stop @ Self::Stop { .. }, _) | (_, stop @ Self::Stop { .. }) => stop,
            (Self::Stay, _) | (_, Self::Stay) => Self::Stay,
            _ => Self::Run,
        }
    }
}

/// What the application makes of it. A release that is under way may end first, and is aborted when it does not.
pub fn follow(state: &mut State, asks: &Asks, now: i64) -> Option<Event> {
    match asks {
        Asks::Stop { by, patience_ms } if state.stopped.is_none() && state.is_busy() => {
            return wait(state, &by.schedule, *patience_ms, now);
        }
        _ => state.stop_waits = None,
    }
    match (asks, &state.stopped) {
        (Asks::Run, Some(stopped)) => {
            let text = format!("runs again, was stopped by schedule {}", stopped.schedule);
            state.stopped = None;
            Some(("Normal", "Started", text))
        }
        (Asks::Stop { by, .. }, before) => {
            let event = before.is_none().then(|| ("Normal", "Stopped", by.message(i64::MIN)));
            state.stopped = Some(by.clone());
            event
        }
        _ => None,
    }
}

/// One that waits for somebody would do so all night.
fn wait(state: &mut State, schedule: &str, patience_ms: i64, now: i64) -> Option<Event> {
    let under_way = state.release.as_ref().is_some_and(|r| r.phase == ReleasePhase::Updating && !r.aborted);
    let mut waits = state.stop_waits.take().filter(|w| !(w.aborted && under_way)).unwrap_or_else(|| Waits {
        schedule: String::new(),
        since: now,
        until: 0,
        aborted: false,
    });
    schedule.clone_into(&mut waits.schedule);
    waits.until = waits.since.saturating_add(patience_ms);
    let aborts = under_way && state.verb.is_none() && now >= waits.until;
    waits.aborted |= aborts;
    state.stop_waits = Some(waits);
    aborts.then(|| {
        state.verb = Some(Verb::Abort);
        let text = format!("schedule {schedule} stops it, and its release has not ended in {} s", patience_ms / 1000);
        ("Warning", "ReleaseAborted", text)
    })
}
