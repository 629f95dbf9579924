//! Releases under gray policies in the made-up world, by seed. A failing seed is printed and runs again alone with
//! `SAMPAN_SEED=n`; `SAMPAN_SEEDS=n` sets how many run.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sampan_engine::application::{PauseReason, ReleasePhase, Verb};
use sampan_engine::release;
use sampan_schema::operation::Phase;
use serde_json::{Value, json};
use world::{Event, World};

const SEEDS: u64 = 500;
/// `make test-long` runs so many.
const LONG: u64 = 10_000;
const STEPS: usize = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn policy(w: &mut World) -> Value {
    let pause = |w: &mut World| match w.pick(4) {
        0 => json!({ "manual": true }),
        1 => json!({ "duration_seconds": 5 }),
        _ => Value::Null,
    };
    let mut steps = vec![];
    let mut weight = 0;
    for _ in 0..=w.pick(3) {
        weight += 1 + w.pick(30);
        let mut step = json!({});
        if w.pick(2) == 0 {
            step["weight_percent"] = weight.into();
        } else {
            step["replicas"] = format!("{weight}%").into();
        }
        let pause = pause(w);
        if !pause.is_null() {
            step["pause"] = pause;
        }
        steps.push(step);
    }
    let strategy = ["canary", "canary", "canary", "batch", "blue_green"][w.pick(5)];
    let capacity = ["shared", "extra"][w.pick(2)];
    let on_failure = ["pause", "abort", "rollback"][w.pick(3)];
    let on_new = ["supersede", "supersede", "queue"][w.pick(3)];
    let limit = 1 + w.pick(2);
    let mut policy = json!({
        "namespace": "n", "name": "p", "steps": steps, "scale_down_delay_seconds": 3, "promotion_timeout_seconds": 600,
        "strategy": strategy, "capacity": capacity, "on_failure": on_failure, "on_new_release": on_new,
    });
    if w.pick(2) == 0 {
        policy["analysis"] = json!({
            "errors": { "type": "error_rate", "interval_seconds": 5, "min_samples": 5, "failure_limit": limit },
        });
    }
    if w.pick(3) == 0 {
        policy["failure_threshold"] = ["0", "1", "50%"][w.pick(3)].into();
    }
    if w.pick(4) == 0 {
        policy["analysis"]["gate"] = json!({
            "type": "webhook", "url": "https://gate.example", "interval_seconds": 3, "failure_limit": limit,
            "timeout_seconds": 4,
        });
    }
    if w.pick(4) == 0 {
        policy["analysis"]["burn"] = json!({
            "type": "prometheus", "url": "https://metrics.example", "query": "burn", "max": 0.5, "interval_seconds": 4,
            "failure_limit": limit, "timeout_seconds": 1,
        });
    }
    policy
}

fn event(w: &mut World) -> Event {
    let n = w.pick(250) as u8;
    match w.pick(20) {
        0..4 => Event::Image(n % 4),
        4 => Event::Env(n % 3),
        5 => Event::Memory(n % 3),
        6 => Event::Replicas(n % 6),
        7 => Event::Restart,
        8 => Event::Verb(Verb::Promote { full: n.is_multiple_of(2) }),
        9 => Event::Verb(Verb::Pause),
        10 | 11 => Event::Verb(Verb::Resume),
        12 => Event::Verb(Verb::Abort),
        13 => Event::Crash(n),
        14 => Event::Lose(n),
        15 => Event::Fail,
        16 => Event::Kill,
        17 => Event::KillBeforeCommit,
        18 => Event::KillAfterCommit,
        _ => Event::Policy(policy(w)),
    }
}

fn strategy(w: &mut World) -> Value {
    [
        json!({}),
        json!({ "max_unavailable": "2" }),
        json!({ "max_unavailable": "0", "max_surge": "1" }),
        json!({ "max_unavailable": "1", "max_surge": "50%" }),
        json!({ "min_ready_seconds": 3 }),
    ][w.pick(5)]
    .clone()
}

fn run(seed: u64) -> BTreeSet<(String, String)> {
    let mut w = World::new(json!({}), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    w.spec["update_strategy"] = strategy(&mut w);
    w.spec["replicas"] = (w.pick(6) + 1).into();
    w.policy = Some(policy(&mut w));
    w.load = 3;
    w.bad = [("r.example.com/a:2".to_owned(), 60), ("r.example.com/a:3".to_owned(), 100)].into();
    let mut until_next = 30;
    for _ in 0..STEPS {
        if until_next == 0 {
            let event = event(&mut w);
            w.outside(&event);
            until_next = w.pick(20);
        }
        until_next = until_next.saturating_sub(1);
        w.step(300);
    }
    w.settle();
    w.transitions
}

/// Runs seeds and names those that fail. Returns what followed what.
fn seeds(count: u64) -> BTreeSet<(String, String)> {
    let all: Vec<u64> = number("SAMPAN_SEED").map_or_else(|| (0..count).collect(), |seed| vec![seed]);
    let (mut failed, mut transitions) = (Vec::new(), BTreeSet::new());
    for seed in all {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(seen) => transitions.extend(seen),
            Err(_) => failed.push(seed),
        }
    }
    assert!(failed.is_empty(), "{} seeds fail, the first with SAMPAN_SEED={}: {failed:?}", failed.len(), failed[0]);
    transitions
}

#[test]
fn whatever_happens_every_release_ends_and_nothing_is_left_over() {
    let count = number("SAMPAN_SEEDS").unwrap_or(SEEDS);
    let mut seen = seeds(count);
    seen.extend(failures());
    let documented: BTreeSet<_> =
        release::TRANSITIONS.iter().map(|(from, to, _)| ((*from).to_owned(), (*to).to_owned())).collect();
    let new: Vec<_> = seen.difference(&documented).collect();
    assert!(new.is_empty(), "release::TRANSITIONS lacks {new:?}");
    // Some are rare.
    let never: Vec<_> = documented.difference(&seen).collect();
    assert!(count < LONG || never.is_empty(), "release::TRANSITIONS has {never:?} for nothing");
}

/// Releases without a policy that fail, and one whose way back fails too.
fn failures() -> BTreeSet<(String, String)> {
    let mut seen = BTreeSet::new();
    for on_failure in ["fail", "rollback"] {
        let mut w = World::new(json!({ "progress_deadline_seconds": 20 }), 3);
        w.settle();
        w.spec["rollout"] = json!({ "on_failure": on_failure });
        w.outside(&Event::Image(7));
        until(&mut w, "the end", |w| {
            // On the way back the old revision is as bad.
            w.crash_new();
            w.crash_all_while_going_back();
            phase(w) == ReleasePhase::Failed
        });
        w.outside(&Event::Image(8));
        w.settle();
        seen.extend(w.transitions);
    }
    seen
}

/// A world that has come to rest under a policy, with four instances.
fn at_rest(policy: Value) -> World {
    let mut w = World::new(json!({ "max_unavailable": "1" }), 7);
    w.spec["replicas"] = 4.into();
    w.load = 5;
    w.outside(&Event::Replicas(4));
    w.settle();
    w.lost.clear();
    let mut spec = json!({ "namespace": "n", "name": "p" });
    for (key, value) in policy.as_object().unwrap() {
        spec[key] = value.clone();
    }
    w.policy = Some(spec);
    w
}

fn until(w: &mut World, what: &str, mut holds: impl FnMut(&mut World) -> bool) {
    for _ in 0..2000 {
        if holds(w) {
            return;
        }
        w.step(300);
    }
    panic!("{what} never came: {:#?}", w.state.release);
}

fn phase(w: &World) -> ReleasePhase {
    w.state.release.as_ref().unwrap().phase
}

fn pause(w: &World) -> Option<PauseReason> {
    w.state.release.as_ref().and_then(|r| r.paused.as_ref()).map(|p| p.reason)
}

fn updated(w: &World) -> usize {
    let to = &w.state.release.as_ref().unwrap().to;
    w.rows.iter().filter(|r| r.revision == *to).count()
}

#[test]
fn a_canary_waits_at_a_manual_step_and_promote_ends_it() {
    let mut w = at_rest(json!({ "steps": [
        { "weight_percent": 25, "pause": { "manual": true } },
        { "weight_percent": 50, "pause": { "duration_seconds": 2 } },
    ]}));
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    assert_eq!(updated(&w), 1);
    assert_eq!((w.state.rollout.phase.as_str(), w.state.rollout.step, w.state.rollout.total_steps), ("Paused", 1, 3));
    assert!((w.state.rollout.weight_percent - 25.0).abs() < 0.01, "{:?}", w.state.rollout);
    for _ in 0..100 {
        w.step(300);
    }
    assert_eq!(updated(&w), 1, "a pause does not end by itself");
    w.outside(&Event::Verb(Verb::Promote { full: false }));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
    assert_eq!(updated(&w), 4);
    assert!(w.lost.is_empty(), "{:?}", w.lost);
    w.settle();
}

#[test]
fn a_bad_canary_is_rolled_back_and_stable_keeps_its_capacity() {
    let mut w = at_rest(json!({
        "capacity": "extra", "on_failure": "rollback",
        "steps": [{ "weight_percent": 20, "pause": { "duration_seconds": 60 } }],
        "analysis": { "errors": { "type": "error_rate", "interval_seconds": 5, "min_samples": 10, "failure_limit": 1 } },
    }));
    w.bad = [("r.example.com/a:7".to_owned(), 100)].into();
    let stable = w.rows.clone();
    w.outside(&Event::Image(7));
    until(&mut w, "the way back", |w| phase(w) == ReleasePhase::RollingBack);
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::RolledBack);
    assert!(w.state.release.as_ref().unwrap().message.contains("100.00 %"), "{:?}", w.state.release);
    for row in &stable {
        let now = w.rows.iter().find(|r| r.name == row.name).unwrap();
        assert_eq!((now.attempt, &now.revision), (row.attempt, &row.revision), "stable was not touched");
    }
    assert!(w.lost.is_empty(), "{:?}", w.lost);
    w.settle();
}

#[test]
fn without_requests_the_release_pauses_and_says_so() {
    let mut w = at_rest(json!({
        "on_failure": "rollback", "steps": [{ "weight_percent": 25 }],
        "analysis": { "errors": { "type": "error_rate", "interval_seconds": 5 } },
    }));
    w.load = 0;
    w.outside(&Event::Image(7));
    until(&mut w, "the pause", |w| pause(w) == Some(PauseReason::NoTraffic));
    assert!(w.state.rollout.message.contains("0 requests"), "{:?}", w.state.rollout);
    w.outside(&Event::Verb(Verb::Promote { full: true }));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
}

/// A canary that a webhook and a number from outside judge.
fn judged_outside(on_failure: &str) -> Value {
    json!({
        "on_failure": on_failure, "steps": [{ "weight_percent": 25 }],
        "analysis": {
            "gate": { "type": "webhook", "url": "https://gate.example", "interval_seconds": 3, "failure_limit": 1 },
            "burn": {
                "type": "prometheus", "url": "https://metrics.example", "query": "burn", "max": 0.5,
                "interval_seconds": 3, "failure_limit": 1,
            },
        },
    })
}

#[test]
fn what_somebody_else_says_promotes_a_good_canary_and_takes_a_bad_one_back() {
    let mut w = at_rest(judged_outside("rollback"));
    w.load = 0;
    w.bad = [("r.example.com/a:8".to_owned(), 100)].into();
    w.outside(&Event::Image(7));
    until(&mut w, "both questions", |w| w.questioned == 2);
    // Now and then nobody answers in time; then somebody has to look again.
    until(&mut w, "the end", |w| {
        if pause(w) == Some(PauseReason::MetricsMissing) {
            w.outside(&Event::Verb(Verb::Resume));
        }
        phase(w) == ReleasePhase::Succeeded
    });
    let good = w.state.current.clone().unwrap();
    w.outside(&Event::Image(8));
    until(&mut w, "the way back", |w| {
        if pause(w) == Some(PauseReason::MetricsMissing) {
            w.outside(&Event::Verb(Verb::Resume));
        }
        phase(w) == ReleasePhase::RollingBack
    });
    let message = w.state.rollout.message.clone();
    assert!(message.contains("the webhook answered 500") || message.contains("the query gave 1"), "{message}");
    assert_back(&mut w, &good, ReleasePhase::RolledBack);
}

#[test]
fn metrics_that_are_missing_neither_promote_nor_take_back_and_a_restart_asks_again() {
    for on_failure in ["pause", "abort", "rollback"] {
        let mut w = at_rest(judged_outside(on_failure));
        w.load = 0;
        w.mute = true;
        w.outside(&Event::Image(7));
        until(&mut w, "a question", |w| w.questioned == 2);
        w.outside(&Event::Kill);
        until(&mut w, "the pause", |w| pause(w) == Some(PauseReason::MetricsMissing));
        assert!(w.questioned >= 3, "what the server forgot is asked again");
        assert_eq!(updated(&w), 1, "neither promoted nor taken back");
        let asked = w.questioned;
        for _ in 0..100 {
            w.step(300);
        }
        assert_eq!(
            (pause(&w), w.questioned),
            (Some(PauseReason::MetricsMissing), asked),
            "nobody is asked for nothing"
        );
        w.mute = false;
        w.outside(&Event::Verb(Verb::Promote { full: true }));
        until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
    }
}

#[test]
fn abort_keeps_the_gray_instances_for_a_look_without_requests() {
    let mut w = at_rest(json!({
        "on_failure": "abort", "steps": [{ "weight_percent": 50, "pause": { "duration_seconds": 600 } }],
        "analysis": { "errors": { "type": "error_rate", "interval_seconds": 5, "min_samples": 10, "failure_limit": 1 } },
    }));
    w.bad = [("r.example.com/a:7".to_owned(), 100)].into();
    w.outside(&Event::Image(7));
    until(&mut w, "the stop", |w| pause(w) == Some(PauseReason::TrafficOnStable));
    until(&mut w, "quiet", |w| w.state.rollout.weight_percent == 0.0);
    assert_eq!(updated(&w), 2, "the gray instances stay");
    w.outside(&Event::Verb(Verb::Abort));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Aborted);
    assert!(w.operations.values().any(|p| *p == Phase::Aborted));
    w.settle();
}

#[test]
fn what_was_released_in_a_lane_stays_in_it_until_the_next_gray_release() {
    let mut w = at_rest(json!({
        "tag": "blue", "fallback": "reject", "steps": [{ "weight_percent": 50, "pause": { "manual": true } }],
    }));
    let lanes = |w: &World| {
        let policy = w.policy.as_ref().map(|p| serde_json::from_value(p.clone()).unwrap());
        let found = release::lanes(&w.state, policy.as_ref());
        assert_eq!(found.rejecting.as_deref(), policy.is_some().then_some("blue"), "the policy alone says so");
        found.all
    };
    assert_eq!(lanes(&w), None);
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    assert_eq!(lanes(&w), None, "only the gray ones");
    w.outside(&Event::Verb(Verb::Promote { full: true }));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
    let blue = Some("blue".to_owned());
    for event in [Event::Replicas(3), Event::Restart] {
        assert_eq!(lanes(&w), blue);
        w.outside(&event);
        w.settle();
    }
    assert_eq!(lanes(&w), blue, "the revision is the same");
    w.outside(&Event::Image(8));
    until(&mut w, "the next one", |w| pause(w) == Some(PauseReason::ManualStep));
    assert_eq!(lanes(&w), None);
    w.outside(&Event::Verb(Verb::Abort));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Aborted);
    assert_eq!(lanes(&w), None, "what the lane is about was taken back");
    w.policy = None;
    assert_eq!(lanes(&w), None);
}

#[test]
fn a_newer_spec_brings_stable_back_first_and_then_begins_anew() {
    let mut w = at_rest(json!({ "steps": [{ "weight_percent": 50, "pause": { "manual": true } }] }));
    let stable = w.state.current.clone().unwrap();
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    w.outside(&Event::Image(8));
    until(&mut w, "stable", |w| w.rows.iter().all(|r| r.revision == stable));
    until(&mut w, "the manual step again", |w| pause(w) == Some(PauseReason::ManualStep));
    assert_eq!(updated(&w), 2);
    assert!(w.operations.values().any(|p| *p == Phase::Superseded));
    // A → B → A: the old content again is no release at all, only a way back.
    w.outside(&Event::Image(1));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
    assert!(w.rows.iter().all(|r| r.revision == stable));
    assert!(w.lost.is_empty(), "{:?}", w.lost);
}

#[test]
fn a_scale_in_mid_release_disturbs_neither() {
    let mut w = at_rest(json!({ "steps": [{ "weight_percent": 50, "pause": { "manual": true } }] }));
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    for n in [8, 2, 6] {
        w.outside(&Event::Replicas(n));
        until(&mut w, "the number", |w| w.serving() == usize::from(n) && w.rows.len() == usize::from(n));
        let newest = format!("op{}", w.generation);
        until(&mut w, "the end of the scale", |w| w.operations.get(&newest) == Some(&Phase::Succeeded));
        assert_eq!(pause(&w), Some(PauseReason::ManualStep));
        assert!((1..=usize::from(n) / 2).contains(&updated(&w)), "{} of {n}", updated(&w));
    }
    w.outside(&Event::Verb(Verb::Promote { full: true }));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
    assert!(w.lost.is_empty(), "{:?}", w.lost);
}

#[test]
fn a_second_set_takes_over_at_once_and_the_old_one_stays_for_a_while() {
    let mut w = at_rest(json!({
        "strategy": "blue_green", "scale_down_delay_seconds": 20, "steps": [{ "pause": { "manual": true } }],
    }));
    let old: Vec<String> = w.rows.iter().map(|r| r.name.clone()).collect();
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    assert_eq!((w.rows.len(), updated(&w)), (8, 4));
    assert!(w.state.rollout.weight_percent.abs() < 0.01, "a preview has no requests");
    w.outside(&Event::Verb(Verb::Promote { full: false }));
    until(&mut w, "the switch", |w| (w.state.rollout.weight_percent - 100.0).abs() < 0.01);
    let switched = w.now;
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
    assert!(w.now >= switched + 20_000);
    assert!(w.rows.iter().all(|r| !old.contains(&r.name)));
    assert!(w.lost.is_empty(), "{:?}", w.lost);
}

#[test]
fn a_crash_loop_in_a_step_follows_the_policy_and_the_deadline() {
    for (on_failure, ends) in [("rollback", ReleasePhase::RolledBack), ("pause", ReleasePhase::Updating)] {
        let mut w = at_rest(json!({ "on_failure": on_failure, "steps": [{ "weight_percent": 25 }] }));
        w.spec["update_strategy"]["progress_deadline_seconds"] = 30.into();
        w.outside(&Event::Image(7));
        until(&mut w, "the release", |w| updated(w) == 1);
        for _ in 0..400 {
            w.crash_new();
            w.step(300);
        }
        assert_eq!(phase(&w), ends, "{:#?}", w.state.release);
        assert_eq!(pause(&w), (on_failure == "pause").then_some(PauseReason::DeadlineExceeded));
        assert!(w.serving() >= 3);
    }
}

#[test]
fn more_crashing_gray_instances_than_the_threshold_follow_the_policy_at_once() {
    for (threshold, at_once) in [("0", true), ("1", true), ("50%", false)] {
        let mut w = at_rest(json!({
            "on_failure": "rollback", "capacity": "extra", "failure_threshold": threshold,
            "steps": [{ "replicas": "2" }],
        }));
        w.spec["update_strategy"]["progress_deadline_seconds"] = 3600.into();
        w.outside(&Event::Image(7));
        until(&mut w, "the release", |w| updated(w) == 2);
        for _ in 0..400 {
            w.crash_new();
            w.step(300);
        }
        // Both crash; of four instances half may.
        let ended = phase(&w) != ReleasePhase::Updating;
        assert_eq!(ended, at_once, "{threshold}: {:?}", w.state.rollout);
        assert_eq!(w.state.rollout.message.contains("gray instances crash"), at_once, "{:?}", w.state.rollout);
        assert_eq!(w.serving(), 4, "stable serves on");
    }
}

#[test]
fn no_release_takes_more_capacity_than_allowed() {
    for seed in 0..60 {
        let mut w = World::new(json!({}), seed * 77 + 1);
        w.spec["update_strategy"] = strategy(&mut w);
        w.spec["replicas"] = (w.pick(6) + 2).into();
        w.outside(&Event::Replicas(w.spec["replicas"].as_u64().unwrap() as u8));
        w.settle();
        w.lost.clear();
        w.load = 4;
        w.policy = Some(policy(&mut w));
        let (spec, _) = w.wanted();
        let floor = spec.replicas as usize - spec.budget().0 as usize;
        w.outside(&Event::Image(5 + (seed % 4) as u8));
        for step in 0..600 {
            if step % 97 == 96 {
                w.outside(&Event::Verb(Verb::Promote { full: step > 300 }));
            }
            w.step(300);
            // `carrying` is what the newest table has; every request found somebody.
            assert!(
                w.carrying() >= floor,
                "seed {seed}: {} of {} carry, {floor} is the least",
                w.carrying(),
                spec.replicas
            );
        }
        assert!(w.lost.is_empty(), "seed {seed}: {:?}", w.lost);
        w.settle();
    }
}

/// A canary of 25 %, then 50 %, each with a pause.
fn careful(on_failure: &str) -> Value {
    json!({
        "on_failure": on_failure,
        "steps": [
            { "weight_percent": 25, "pause": { "duration_seconds": 5 } },
            { "weight_percent": 50, "pause": { "manual": true } },
        ],
        "analysis": {
            "errors": { "type": "error_rate", "interval_seconds": 2, "min_samples": 5, "failure_limit": 1 },
            "restarts": { "type": "restart_count" },
        },
    })
}

/// Everything is as before the release, which ended in this phase.
fn assert_back(w: &mut World, stable: &str, ended: ReleasePhase) {
    until(w, "the end", |w| phase(w) == ended);
    w.settle();
    assert!(w.rows.iter().all(|r| r.revision == stable));
    assert!(w.lost.is_empty(), "{:?}", w.lost);
}

#[test]
fn an_abort_ends_at_stable_from_every_phase() {
    type At = fn(&mut World) -> bool;
    let phases: [(&str, At); 6] = [
        ("pulling", |w| updated(w) == 1),
        ("draining", |w| w.rows.iter().any(|r| r.traffic == sampan_engine::instance::Traffic::Draining)),
        ("verifying", |w| w.state.rollout.phase == "Verifying"),
        ("paused", |w| w.state.rollout.phase == "Paused"),
        ("promoting", |w| w.state.rollout.phase == "Promoting"),
        ("rolling back", |w| w.state.rollout.phase == "RollingBack"),
    ];
    for (name, at) in phases {
        let mut w = at_rest(careful("pause"));
        let stable = w.state.current.clone().unwrap();
        if name == "pulling" {
            w.pulls.insert("sha256:r.example.com/a:7".into(), sampan_engine::runtime::ImageState::Pulling);
        }
        w.outside(&Event::Image(7));
        if name == "promoting" {
            until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
            w.outside(&Event::Verb(Verb::Promote { full: true }));
        } else if name == "rolling back" {
            until(&mut w, "a step", |w| w.state.rollout.phase == "Verifying");
            w.outside(&Event::Verb(Verb::Abort));
        }
        until(&mut w, name, at);
        w.outside(&Event::Verb(Verb::Abort));
        assert_back(&mut w, &stable, ReleasePhase::Aborted);
    }
}

#[test]
fn an_image_that_cannot_be_had_follows_the_policy_at_once_and_touches_nothing() {
    for (on_failure, ended) in [("rollback", "RolledBack"), ("abort", "Paused"), ("pause", "Paused")] {
        let mut w = at_rest(careful(on_failure));
        let before = w.rows.clone();
        let error = sampan_engine::runtime::RuntimeError::permanent("ImageNotFound", "manifest unknown");
        w.pulls.insert("sha256:r.example.com/a:7".into(), sampan_engine::runtime::ImageState::Failed(error));
        w.outside(&Event::Image(7));
        let began = w.now;
        until(&mut w, ended, |w| w.state.rollout.phase == ended);
        assert!(w.now < began + 60_000, "without waiting for a deadline");
        assert!(w.state.rollout.message.contains("manifest unknown"), "{:?}", w.state.rollout);
        w.outside(&Event::Verb(Verb::Abort));
        w.settle();
        let places = |rows: &[sampan_engine::instance::Instance]| {
            rows.iter().map(|r| (r.name.clone(), r.attempt, r.revision.clone())).collect::<Vec<_>>()
        };
        assert_eq!(places(&w.rows), places(&before), "{on_failure}: the old containers were never stopped");
        assert!(w.lost.is_empty(), "{:?}", w.lost);
    }
}

#[test]
fn the_same_content_again_is_done_at_once() {
    let mut w = at_rest(careful("pause"));
    let before: Vec<u32> = w.rows.iter().map(|r| r.attempt).collect();
    w.outside(&Event::Image(1));
    until(&mut w, "the end", |w| w.operations.get(&format!("op{}", w.generation)) == Some(&Phase::Succeeded));
    assert_eq!(w.rows.iter().map(|r| r.attempt).collect::<Vec<_>>(), before);
}

#[test]
fn gray_instances_that_crash_only_under_requests_are_taken_back() {
    let mut w = at_rest(careful("rollback"));
    let stable = w.state.current.clone().unwrap();
    w.outside(&Event::Image(7));
    until(&mut w, "requests to gray", |w| w.state.rollout.phase == "Verifying" && w.state.rollout.weight_percent > 0.0);
    for _ in 0..3 {
        w.step(300);
    }
    w.crash_new();
    until(&mut w, "the way back", |w| phase(w) == ReleasePhase::RollingBack);
    assert!(w.state.rollout.message.contains("restarts of gray instances"), "{:?}", w.state.rollout);
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::RolledBack);
    assert!(w.rows.iter().all(|r| r.revision == stable));
}

#[test]
fn a_bad_stable_does_not_block_its_cure() {
    let mut w = at_rest(careful("rollback"));
    w.bad = [("r.example.com/a:1".to_owned(), 60)].into();
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    w.outside(&Event::Verb(Verb::Promote { full: true }));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
}

#[test]
fn another_number_in_the_same_change_is_reached_with_the_release() {
    for n in [2_u8, 8] {
        let mut w = at_rest(careful("rollback"));
        w.spec["replicas"] = n.into();
        w.outside(&Event::Image(7));
        until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
        w.outside(&Event::Verb(Verb::Promote { full: true }));
        until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
        assert_eq!((w.rows.len(), updated(&w)), (usize::from(n), usize::from(n)));
    }
}

#[test]
fn a_lost_gray_instance_is_replaced_as_gray() {
    let mut w = at_rest(careful("pause"));
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    let to = w.state.release.as_ref().unwrap().to.clone();
    let gray = w.rows.iter().find(|r| r.revision == to).unwrap().name.clone();
    let at = w.sandboxes.iter().position(|s| s.instance == gray).unwrap();
    w.outside(&Event::Lose(at as u8));
    until(&mut w, "the loss", |w| w.serving() < 4);
    until(&mut w, "its successor", |w| w.serving() == 4);
    assert_eq!((updated(&w), pause(&w)), (2, Some(PauseReason::ManualStep)));
}

#[test]
fn a_policy_that_changes_counts_from_the_next_step() {
    let mut w = at_rest(json!({ "steps": [
        { "weight_percent": 25, "pause": { "manual": true } },
        { "weight_percent": 50, "pause": { "manual": true } },
    ]}));
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    let mut policy = w.policy.clone().unwrap();
    policy["steps"] = json!([{ "weight_percent": 50, "pause": { "manual": true } }, { "weight_percent": 75 }]);
    w.outside(&Event::Policy(policy));
    for _ in 0..20 {
        w.step(300);
    }
    assert_eq!((updated(&w), w.state.rollout.step), (1, 1), "the present step stays as it began");
    w.outside(&Event::Verb(Verb::Promote { full: false }));
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
    assert!(w.lost.is_empty(), "{:?}", w.lost);
}

#[test]
fn one_two_and_three_instances_and_more_steps_than_instances() {
    for n in 1..=3_u8 {
        for capacity in ["shared", "extra"] {
            if n == 1 && capacity == "shared" {
                // Refused at plan: one instance cannot be divided.
                continue;
            }
            let steps: Vec<Value> = (1..8).map(|i| json!({ "weight_percent": i * 12 })).collect();
            let mut w = at_rest(json!({ "capacity": capacity, "steps": steps }));
            w.outside(&Event::Replicas(n));
            w.settle();
            w.lost.clear();
            w.outside(&Event::Image(7));
            until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
            w.settle();
            assert_eq!(updated(&w), usize::from(n));
            assert!(w.lost.is_empty(), "{n} {capacity}: {:?}", w.lost);
        }
    }
}

#[test]
fn a_release_that_nobody_promotes_follows_the_policy_in_the_end() {
    for (on_failure, ends) in [("rollback", "RolledBack"), ("abort", "RolledBack"), ("pause", "Paused")] {
        let mut policy = careful(on_failure);
        policy["promotion_timeout_seconds"] = 30.into();
        let mut w = at_rest(policy);
        w.outside(&Event::Image(7));
        until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
        if ends == "Paused" {
            for _ in 0..400 {
                w.step(300);
            }
        }
        until(&mut w, ends, |w| w.state.rollout.phase == ends);
    }
}

#[test]
fn a_clock_that_jumps_fires_no_deadline_that_is_not_due() {
    // Deadlines are wall times; back by an hour nothing is due, and forth by an hour a release that is ready goes on.
    for jump in [-3_600_000, 3_600_000] {
        let mut w = at_rest(careful("rollback"));
        w.outside(&Event::Image(7));
        until(&mut w, "a step", |w| w.state.rollout.phase == "Verifying");
        w.now += jump;
        for _ in 0..20 {
            w.step(300);
        }
        assert_ne!(phase(&w), ReleasePhase::RollingBack, "{:?}", w.state.rollout);
    }
}

#[test]
fn a_ready_instance_takes_requests_after_its_registration_delay() {
    let mut w = World::new(json!({}), 7);
    w.spec["lifecycle_hooks"] = json!({ "online": { "registration_delay_seconds": 5 } });
    w.outside(&Event::Replicas(1));
    until(&mut w, "ready", |w| w.rows.iter().any(|r| r.ready_since.is_some()));
    let ready = w.rows[0].ready_since.unwrap();
    assert_eq!(w.serving(), 0);
    until(&mut w, "service", |w| w.serving() == 1);
    assert!(w.now >= ready + 5000, "{} {ready}", w.now);
    w.settle();
}

#[test]
fn a_restart_after_an_abort_restarts_what_runs() {
    let mut w = at_rest(careful("pause"));
    let stable = w.state.current.clone().unwrap();
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step", |w| pause(w) == Some(PauseReason::ManualStep));
    w.outside(&Event::Verb(Verb::Abort));
    until(&mut w, "the abort", |w| phase(w) == ReleasePhase::Aborted);
    // As often as it is asked for, the spec's revision stays taken back.
    for _ in 0..2 {
        let attempts: Vec<u32> = w.rows.iter().map(|r| r.attempt).collect();
        w.outside(&Event::Restart);
        until(&mut w, "the end", |w| w.operations.get(&format!("op{}", w.generation)) == Some(&Phase::Succeeded));
        assert!(w.rows.iter().zip(attempts).all(|(r, before)| r.revision == stable && r.attempt > before));
        for _ in 0..50 {
            w.step(300);
        }
        assert!(w.rows.iter().all(|r| r.revision == stable), "nothing follows the spec by itself");
    }
    // A write does.
    w.outside(&Event::Image(7));
    until(&mut w, "the manual step again", |w| pause(w) == Some(PauseReason::ManualStep));
}

#[test]
fn a_container_whose_state_the_runtime_has_lost_is_replaced() {
    let mut w = at_rest(careful("pause"));
    w.policy = None;
    w.outside(&Event::Image(7));
    until(&mut w, "a created container", |w| {
        let mut all = w.sandboxes.iter_mut().flat_map(|s| &mut s.containers);
        let made = all.find(|c| c.state == sampan_engine::runtime::ContainerState::Created);
        made.map(|c| c.state = sampan_engine::runtime::ContainerState::Unknown).is_some()
    });
    until(&mut w, "the end", |w| phase(w) == ReleasePhase::Succeeded);
    w.settle();
}
