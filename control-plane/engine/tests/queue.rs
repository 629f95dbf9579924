//! Releases that wait for the one under way, in the made-up world.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod world;

use sampan_engine::application::{PauseReason, ReleasePhase, Verb};
use sampan_schema::operation::Phase;
use serde_json::{Value, json};
use world::{Event, World};

/// Four instances at rest, and then a policy that queues.
fn at_rest(on_failure: &str) -> World {
    let mut w = World::new(json!({ "max_unavailable": "1", "progress_deadline_seconds": 60 }), 7);
    w.spec["replicas"] = 4.into();
    w.load = 5;
    w.outside(&Event::Replicas(4));
    w.settle();
    w.lost.clear();
    w.policy = Some(json!({
        "namespace": "n", "name": "p", "on_new_release": "queue", "on_failure": on_failure,
        "steps": [{ "weight_percent": 50, "pause": { "manual": true } }],
    }));
    w
}

fn until(w: &mut World, what: &str, mut holds: impl FnMut(&mut World) -> bool) {
    for _ in 0..2000 {
        if holds(w) {
            return;
        }
        w.step(300);
    }
    panic!("{what} never came: {:#?}", w.state);
}

fn at_manual_step(w: &World) -> bool {
    let release = w.state.release.as_ref();
    release.and_then(|r| r.paused.as_ref()).is_some_and(|p| p.reason == PauseReason::ManualStep)
}

/// Writes an image. Returns the operation.
fn write(w: &mut World, image: u8) -> String {
    w.outside(&Event::Image(image));
    format!("op{}", w.generation)
}

/// Image of the revision that is released.
fn released(w: &World) -> Value {
    let to = &w.state.release.as_ref().unwrap().to;
    w.revisions[to].image.clone().into()
}

#[test]
fn a_newer_spec_waits_until_the_release_under_way_has_ended() {
    for (verb, ends) in [(Verb::Promote { full: true }, Phase::Succeeded), (Verb::Abort, Phase::Aborted)] {
        let mut w = at_rest("pause");
        let first = write(&mut w, 7);
        until(&mut w, "the manual step", |w| at_manual_step(w));
        let second = write(&mut w, 8);
        for _ in 0..50 {
            w.step(300);
        }
        assert!(at_manual_step(&w), "what is under way goes on by its own spec: {:?}", w.state);
        assert_eq!((w.operations[&first], w.operations[&second]), (Phase::Paused, Phase::Pending));
        assert_eq!((&w.state.rollout.operation, &w.state.rollout.queued), (&first, &second));
        assert_eq!(released(&w), "r.example.com/a:7");

        let third = write(&mut w, 9);
        assert_eq!(w.operations[&second], Phase::Superseded, "only the newest waits");
        w.outside(&Event::Replicas(6));
        let scale = format!("op{}", w.generation);
        until(&mut w, "the number", |w| w.operations[&scale] == Phase::Succeeded && w.serving() == 6);
        assert!(at_manual_step(&w) && released(&w) == "r.example.com/a:7", "{:?}", w.state);
        // Whatever the server forgets, it goes on the same way.
        w.outside(&Event::Kill);
        w.outside(&Event::Verb(verb));
        until(&mut w, "the end", |w| w.operations[&first].is_terminal());
        assert_eq!(w.operations[&first], ends);
        until(&mut w, "the next one's manual step", |w| at_manual_step(w));
        assert_eq!((w.operations[&third], w.state.rollout.queued.as_str()), (Phase::Paused, ""));
        assert_eq!(released(&w), "r.example.com/a:9");
        w.outside(&Event::Verb(Verb::Promote { full: true }));
        until(&mut w, "the last end", |w| w.operations[&third] == Phase::Succeeded);
        assert_eq!(w.state.observed_generation, w.generation);
        assert!(w.rows.iter().all(|r| w.revisions[&r.revision].image == "r.example.com/a:9"));
        assert!(w.lost.is_empty(), "{:?}", w.lost);
        w.settle();
    }
}

#[test]
fn a_release_that_fails_at_its_deadline_makes_room_for_the_one_that_waits() {
    let mut w = at_rest("rollback");
    let first = write(&mut w, 7);
    until(&mut w, "the first container", |w| w.rows.iter().any(|r| w.revisions[&r.revision].image.ends_with(":7")));
    let second = write(&mut w, 8);
    until(&mut w, "the way back", |w| {
        w.crash_new();
        w.state.release.as_ref().unwrap().phase == ReleasePhase::RollingBack
    });
    assert_eq!(w.operations[&second], Phase::Pending, "the way back is a part of the release");
    until(&mut w, "the next one", |w| at_manual_step(w));
    assert_eq!((w.operations[&first], w.operations[&second]), (Phase::RolledBack, Phase::Paused));
    w.outside(&Event::Verb(Verb::Promote { full: true }));
    w.settle();
    assert_eq!(w.operations[&second], Phase::Succeeded);
}

#[test]
fn without_a_gray_release_nothing_waits_and_another_policy_lets_nothing_wait() {
    let mut w = at_rest("pause");
    w.policy = Some(json!({ "namespace": "n", "name": "p", "on_new_release": "queue", "steps": [{}] }));
    let first = write(&mut w, 7);
    // It has not begun.
    let second = write(&mut w, 8);
    assert_eq!((w.operations[&first], w.operations[&second]), (Phase::Superseded, Phase::Pending));
    assert!(w.state.queued.is_none());
    w.settle();
    w.policy.as_mut().unwrap()["steps"] = json!([{ "pause": { "manual": true } }]);
    let third = write(&mut w, 9);
    until(&mut w, "the manual step", |w| at_manual_step(w));
    let fourth = write(&mut w, 7);
    w.policy.as_mut().unwrap()["on_new_release"] = "supersede".into();
    let fifth = write(&mut w, 6);
    w.step(300);
    assert_eq!((w.operations[&third], w.operations[&fourth]), (Phase::Superseded, Phase::Superseded));
    w.settle();
    assert!(w.operations[&fifth].is_terminal());
}
