//! Schedules of environments: what they ask for at any time, the waves, and what an application makes of it.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use sampan_engine::application::{Cause, Release, ReleasePhase, Request, State, Verb};
use sampan_engine::environment_schedule::{Asks, Member, Period, Row, asks, at, follow, step};
use sampan_schema::environment_schedule::{Spec, times};
use serde_json::{Value, json};

fn spec(more: Value) -> Spec {
    let mut all = json!({
        "namespace": "n", "name": "nights", "selector": { "all": true },
        "stop": "0 20 * * *", "start": "0 8 * * *", "time_zone": "Europe/Berlin",
    });
    for (k, v) in more.as_object().unwrap() {
        all[k] = v.clone();
    }
    serde_json::from_value(all).unwrap()
}

fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// Stopped, since and until at a time, as texts.
fn period(spec: &Spec, now: &str) -> (bool, String, String) {
    let p = at(&times(spec).unwrap(), ms(now));
    let text = |at: Option<i64>| {
        at.map_or_else(|| "-".into(), |at| jiff::Timestamp::from_millisecond(at).unwrap().to_string())
    };
    (p.stopped, text(p.since), text(p.until))
}

fn is(stopped: bool, since: &str, until: &str) -> (bool, String, String) {
    (stopped, since.into(), until.into())
}

#[test]
fn the_state_is_that_of_the_window_that_now_is_in() {
    let s = spec(json!({}));
    let night = is(true, "2026-01-14T19:00:00Z", "2026-01-15T07:00:00Z");
    assert_eq!(period(&s, "2026-01-14T19:00:00Z"), night, "from the minute on");
    assert_eq!(period(&s, "2026-01-15T06:59:59.999Z"), night);
    let day = is(false, "2026-01-15T07:00:00Z", "2026-01-15T19:00:00Z");
    assert_eq!(period(&s, "2026-01-15T07:00:00Z"), day);
    assert_eq!(period(&s, "2026-01-15T18:59:59Z"), day);
    // Several stops in a row are one: the first counts. Over the weekend.
    let week = spec(json!({ "start": "0 8 * * 1-5" }));
    let weekend = is(true, "2026-01-16T19:00:00Z", "2026-01-19T07:00:00Z");
    for now in ["2026-01-16T20:00:00Z", "2026-01-17T23:00:00Z", "2026-01-19T06:00:00Z"] {
        assert_eq!(period(&week, now), weekend, "{now}");
    }
    // Several starts in a row likewise.
    let rare = spec(json!({ "stop": "0 20 * * 5" }));
    assert_eq!(period(&rare, "2026-01-21T12:00:00Z"), is(false, "2026-01-17T07:00:00Z", "2026-01-23T19:00:00Z"));
}

#[test]
fn the_days_on_which_the_clock_changes() {
    // Berlin skips 2:00 to 3:00 on 2026-03-29 and has it twice on 2026-10-25.
    let s = spec(json!({ "stop": "30 2 * * *", "start": "0 6 * * *" }));
    let spring = is(true, "2026-03-29T01:00:00Z", "2026-03-29T04:00:00Z");
    assert_eq!(period(&s, "2026-03-29T01:00:00Z"), spring, "what is skipped comes at its end");
    assert!(!period(&s, "2026-03-29T00:59:59Z").0);
    let autumn = is(true, "2026-10-25T00:30:00Z", "2026-10-25T05:00:00Z");
    for now in ["2026-10-25T00:30:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:31:00Z"] {
        assert_eq!(period(&s, now), autumn, "once, at {now}");
    }
    // A start in the hour that comes twice starts once, and the second time stops nothing.
    let s = spec(json!({ "stop": "0 1 * * *", "start": "30 2 * * *" }));
    assert_eq!(period(&s, "2026-10-25T00:10:00Z"), is(true, "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z"));
    assert_eq!(period(&s, "2026-10-25T01:10:00Z"), is(false, "2026-10-25T00:30:00Z", "2026-10-26T00:00:00Z"));
    // Days of the zone, not of UTC.
    let s = spec(
        json!({ "begin_date": "2026-03-29", "end_date": "2026-03-29", "stop": "0 0 * * *", "start": "0 0 1 1 *" }),
    );
    assert_eq!(period(&s, "2026-03-29T12:00:00Z"), is(true, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"));
}

#[test]
fn days_and_holidays() {
    let s = spec(json!({ "begin_date": "2026-01-10", "end_date": "2026-01-12" }));
    assert_eq!(period(&s, "2026-01-09T20:00:00Z"), is(false, "-", "2026-01-10T19:00:00Z"), "before its first day");
    assert!(period(&s, "2026-01-10T20:00:00Z").0);
    // The last night ends with the last day.
    assert_eq!(period(&s, "2026-01-12T22:59:59Z"), is(true, "2026-01-12T19:00:00Z", "2026-01-12T23:00:00Z"));
    assert_eq!(period(&s, "2026-01-12T23:00:00Z"), is(false, "2026-01-12T23:00:00Z", "-"));
    let s = spec(json!({ "holidays": ["2026-12-25", "2026-12-26"] }));
    let feast = is(true, "2026-12-24T19:00:00Z", "2026-12-27T07:00:00Z");
    for now in ["2026-12-24T19:00:00Z", "2026-12-25T12:00:00Z", "2026-12-26T23:00:00Z"] {
        assert_eq!(period(&s, now), feast, "{now}");
    }
    // A holiday stops nothing by itself.
    let s = spec(json!({ "stop": "0 20 * * 5", "holidays": ["2026-01-21"] }));
    assert!(!period(&s, "2026-01-21T12:00:00Z").0);
}

#[test]
fn at_one_time_a_stop_wins() {
    let s = spec(json!({ "stop": "0 8 * * 1", "start": "0 8 * * *" }));
    // 2026-01-12 is a Monday.
    assert_eq!(period(&s, "2026-01-12T07:00:00Z"), is(true, "2026-01-12T07:00:00Z", "2026-01-13T07:00:00Z"));
    let s = spec(json!({ "stop": "0 8 * * 1-6", "start": "0 8 * * *" }));
    assert_eq!(period(&s, "2026-01-14T12:00:00Z"), is(true, "2026-01-12T07:00:00Z", "2026-01-18T07:00:00Z"));
}

fn up(name: &str) -> Member {
    Member { name: name.into(), replicas: 2, ready: 2, desired: 2, ..Member::default() }
}

fn down(name: &str) -> Member {
    Member { name: name.into(), stopped: true, ..Member::default() }
}

const STOP: Period = Period { stopped: true, since: None, until: Some(1_000_000) };
const RUN: Period = Period { stopped: false, since: None, until: None };

fn waves() -> Spec {
    spec(json!({ "start_order": [["db"], ["cache", "queue"]], "wave_timeout_seconds": 60 }))
}

/// Who is asked to stop, who to run.
fn asked(s: &Spec, row: &Row) -> (Vec<&'static str>, Vec<&'static str>) {
    let of = |want: fn(&Asks) -> bool| {
        ["db", "cache", "queue", "web"].into_iter().filter(|name| want(&asks(s, &STOP, row, name))).collect()
    };
    (of(|a| matches!(a, Asks::Stop { .. })), of(|a| *a == Asks::Run))
}

#[test]
fn waves_stop_from_behind_and_start_from_the_front() {
    let (s, mut row) = (waves(), Row::default());
    let all = |state: [bool; 4]| {
        let names = ["db", "cache", "queue", "web"].into_iter().zip(state);
        names.map(|(name, is_up)| if is_up { up(name) } else { down(name) }).collect::<Vec<_>>()
    };
    assert!(step(&s, &RUN, &all([true; 4]), &mut row, 0).is_empty());
    let events = step(&s, &STOP, &all([true; 4]), &mut row, 0);
    assert_eq!(events, [("Normal", "Stopping", "stops 4 applications; next start 1970-01-01T00:16:40Z".to_owned())]);
    assert_eq!((asked(&s, &row).0, row.phase()), (vec!["web"], "Stopping"));
    assert!(step(&s, &STOP, &all([true; 4]), &mut row, 1000).is_empty(), "told once");
    step(&s, &STOP, &all([true, true, true, false]), &mut row, 2000);
    assert_eq!(asked(&s, &row).0, ["cache", "queue", "web"]);
    step(&s, &STOP, &all([true, false, true, false]), &mut row, 3000);
    assert_eq!(asked(&s, &row).0, ["cache", "queue", "web"], "all of a wave");
    step(&s, &STOP, &all([true, false, false, false]), &mut row, 4000);
    assert_eq!((asked(&s, &row).0.len(), row.phase()), (4, "Stopped"));

    let events = step(&s, &RUN, &all([false; 4]), &mut row, 5000);
    assert_eq!(events, [("Normal", "Starting", "starts 4 applications; there is no next stop".to_owned())]);
    assert_eq!(asked(&s, &row), (vec![], vec!["db"]));
    step(&s, &RUN, &all([true, false, false, false]), &mut row, 6000);
    assert_eq!((asked(&s, &row).1, row.phase()), (vec!["db", "cache", "queue"], "Starting"));
    // One that is not ready again stops nobody.
    step(&s, &RUN, &all([false, true, false, false]), &mut row, 7000);
    assert_eq!(asked(&s, &row), (vec![], vec!["db", "cache", "queue"]));
    step(&s, &RUN, &all([true, true, true, false]), &mut row, 8000);
    assert_eq!((asked(&s, &row).1.len(), row.phase(), row.is_moving()), (4, "Running", false));
}

#[test]
fn a_wave_is_waited_for_so_long_and_no_longer() {
    let (s, mut row) = (waves(), Row::default());
    let mut web = up("web");
    web.releasing = true;
    let stuck = [up("db"), web];
    step(&s, &STOP, &stuck, &mut row, 0);
    assert!(step(&s, &STOP, &stuck, &mut row, 59_999).is_empty());
    let events = step(&s, &STOP, &stuck, &mut row, 60_000);
    assert_eq!((events[0].1, events.len()), ("WaveTimeout", 1), "{events:?}");
    assert!(events[0].2.contains("wave 3") && events[0].2.contains("web has a release under way"), "{events:?}");
    // Nobody is in the second wave, so the first goes with it.
    assert_eq!(row.running, 0);
    let late = [Member { ready: 0, ..up("db") }, down("web")];
    step(&s, &RUN, &late, &mut row, 100_000);
    let events = step(&s, &RUN, &late, &mut row, 160_000);
    assert!(events[0].2.contains("db has 0 of 2 instances ready"), "{events:?}");
    assert!(!row.is_moving());
    // What another schedule keeps stopped is not waited for.
    step(&s, &STOP, &[], &mut row, 200_000);
    let elsewhere = [Member { elsewhere: true, ..down("db") }, down("web")];
    step(&s, &RUN, &elsewhere, &mut row, 200_000);
    assert_eq!(row.phase(), "Running");
}

#[test]
fn a_restart_over_the_boundary_asks_for_the_same_and_fires_nothing_twice() {
    let s = spec(json!({}));
    let times = times(&s).unwrap();
    let members = [up("web")];
    let look = |row: &mut Row, now: &str| step(&s, &at(&times, ms(now)), &members, row, ms(now)).len();
    // Off from the afternoon until five minutes past the stop.
    let mut row = Row::default();
    assert_eq!(look(&mut row, "2026-01-14T12:00:00Z"), 0);
    let text = serde_json::to_string(&row).unwrap();
    let mut back: Row = serde_json::from_str(&text).unwrap();
    assert_eq!(back, row);
    assert_eq!((look(&mut back, "2026-01-14T19:05:00Z"), back.phase()), (1, "Stopped"));
    let mut again: Row = serde_json::from_str(&serde_json::to_string(&back).unwrap()).unwrap();
    assert_eq!(look(&mut again, "2026-01-14T19:06:00Z"), 0, "the same night");
    // Off over a whole night, or a whole day: nothing has happened.
    assert_eq!(look(&mut row, "2026-01-15T12:00:00Z"), 0);
    assert_eq!(look(&mut back, "2026-01-15T19:30:00Z"), 0);
    // A clock that is set back into the day, and on again.
    assert_eq!((look(&mut back, "2026-01-15T18:30:00Z"), back.phase()), (1, "Running"));
    assert_eq!((look(&mut back, "2026-01-15T19:30:00Z"), back.phase()), (1, "Stopped"));
}

#[test]
fn an_application_stops_when_any_schedule_says_so_and_after_its_release() {
    let (s, other) = (spec(json!({})), spec(json!({ "name": "weekends" })));
    let stopped = Row { stopped: true, running: 0, since: 0 };
    let by = |spec: &Spec, until| asks(spec, &Period { until, ..STOP }, &stopped, "web");
    let mut state = State::default();
    assert_eq!(follow(&mut state, &Asks::Run.and(Asks::Stay), 0), None);
    let both = by(&s, Some(2_000)).and(Asks::Run).and(by(&other, Some(3_000)));
    state.request = Some(Request { operation: "o".into(), generation: 1, cause: Cause::Deploy });
    assert_eq!((follow(&mut state, &both, 0), &state.stopped), (None, &None), "the release ends first");
    state.request = None;
    let told = follow(&mut state, &both, 0).unwrap();
    assert_eq!(told, ("Normal", "Stopped", "stopped by schedule weekends until 1970-01-01T00:00:03Z".to_owned()));
    assert_eq!(follow(&mut state, &both, 0), None, "told once");
    // A release of a stopped application wakes nobody up.
    state.request = Some(Request { operation: "p".into(), generation: 2, cause: Cause::Deploy });
    follow(&mut state, &by(&s, None), 0);
    let message = |state: &State| state.stopped.as_ref().unwrap().message(5_000);
    assert_eq!(message(&state), "stopped by schedule nights until the schedule is changed");
    follow(&mut state, &by(&s, Some(4_000)), 0);
    assert_eq!(follow(&mut state, &Asks::Stay, 0), None);
    assert_eq!(message(&state), "stopped by schedule nights until its wave starts");
    assert_eq!(follow(&mut state, &Asks::Run, 0).unwrap().1, "Started");
    assert_eq!((follow(&mut state, &Asks::Run, 0), state.stopped), (None, None));
}

/// A release that is under way and never ends by itself.
fn releasing() -> State {
    let release = Release { operation: "o".into(), from: Some("a".into()), to: "b".into(), ..Release::default() };
    State { release: Some(release), ..State::default() }
}

#[test]
fn a_release_that_keeps_an_application_from_its_stop_is_aborted_in_time() {
    let s = spec(json!({ "wave_timeout_seconds": 60 }));
    let stop = asks(&s, &STOP, &Row { stopped: true, running: 0, since: 0 }, "web");
    let mut state = releasing();
    assert_eq!((follow(&mut state, &stop, 1_000), state.verb), (None, None));
    assert_eq!((follow(&mut state, &stop, 60_999), state.verb), (None, None));
    let told = follow(&mut state, &stop, 61_000).unwrap();
    let text = "schedule nights stops it, and its release has not ended in 60 s".to_owned();
    assert_eq!((told, state.verb), (("Warning", "ReleaseAborted", text), Some(Verb::Abort)));
    // It goes back, which has the time that it needs.
    state.verb = None;
    state.release.as_mut().unwrap().aborted = true;
    state.release.as_mut().unwrap().phase = ReleasePhase::RollingBack;
    assert_eq!((follow(&mut state, &stop, 900_000), state.verb), (None, None));
    // What had waited for it begins, and has as long.
    state.release = releasing().release;
    assert_eq!((follow(&mut state, &stop, 1_000_000), state.verb), (None, None));
    assert_eq!((follow(&mut state, &stop, 1_059_999), state.verb), (None, None));
    let mut later = state.clone();
    assert!(follow(&mut later, &stop, 1_060_000).is_some());
    // The clock was set: the release loses nothing.
    later = state.clone();
    later.shift(-500_000);
    assert_eq!((follow(&mut later, &stop, 559_999), later.verb), (None, None));
    assert!(follow(&mut later, &stop, 560_000).is_some());
    // A verb of a person comes first.
    later = State { verb: Some(Verb::Promote { full: true }), ..state.clone() };
    assert_eq!(follow(&mut later, &stop, 1_060_000), None);
    // The schedule asks no more: another night begins anew.
    follow(&mut state, &Asks::Run, 1_030_000);
    assert_eq!((follow(&mut state, &stop, 1_060_000), state.verb), (None, None));
    state.release = None;
    assert_eq!(follow(&mut state, &stop, 1_061_000).unwrap().1, "Stopped");
    assert_eq!(state.stop_waits, None);
}
