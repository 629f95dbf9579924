//! Random writes and faults against the decisions, with a world that carries them out one at a time in random order.
//! A failing case is shrunk and printed by proptest and can be run again.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod world;

use proptest::prelude::*;
use serde_json::{Value, json};
use world::{Event, World};

fn write() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u8..4).prop_map(Event::Image),
        (0u8..4).prop_map(Event::Env),
        (0u8..3).prop_map(Event::Memory),
        (0u8..5).prop_map(Event::Replicas),
        Just(Event::Restart),
    ]
}

fn anything() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => write(),
        1 => any::<u8>().prop_map(Event::Crash),
        1 => any::<u8>().prop_map(Event::Lose),
        1 => Just(Event::Fail),
        1 => Just(Event::Kill),
    ]
}

fn strategy() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({ "max_unavailable": "2" })),
        Just(json!({ "max_unavailable": "0", "max_surge": "1" })),
        Just(json!({ "max_unavailable": "1", "max_surge": "50%" })),
        Just(json!({ "min_ready_seconds": 3 })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_the_last_fault_everything_is_as_declared(
        strategy in strategy(),
        events in proptest::collection::vec((anything(), 0usize..25), 0..8),
        seed in any::<u64>(),
    ) {
        let mut w = World::new(strategy, seed);
        for (event, steps) in events {
            w.outside(&event);
            for _ in 0..steps {
                w.step(300);
            }
        }
        w.settle();
    }

    #[test]
    fn an_update_never_takes_more_out_of_service_than_allowed(
        strategy in strategy(),
        change in prop_oneof![
            (5u8..9).prop_map(Event::Image),
            (5u8..9).prop_map(Event::Env),
            (5u8..9).prop_map(Event::Memory),
            Just(Event::Restart),
        ],
        seed in any::<u64>(),
    ) {
        let mut w = World::new(strategy, seed);
        w.settle();
        let (spec, _) = w.wanted();
        let (max_unavailable, surge) = spec.budget();
        let floor = spec.replicas as usize - max_unavailable as usize;
        w.outside(&change);
        for _ in 0..400 {
            w.step(300);
            prop_assert!(w.serving() >= floor, "{} of {} serve", w.serving(), spec.replicas);
            prop_assert!(w.rows.len() <= (spec.replicas as u64 + surge) as usize);
        }
        w.settle();
    }
}
