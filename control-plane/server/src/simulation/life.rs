//! The life of an application, and a `kill -9` at every point of it.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{CAREFUL, CART, Client, NAMESPACE, Step, cart, rest};
use super::world::{World, lock};

/// Created, updated in place, released in gray and aborted, scaled, released to the end, restarted, deleted.
fn life() -> Vec<Step> {
    let policy = json!({ "steps": [{ "weight_percent": 50, "pause": { "manual": true } }] });
    vec![
        Step::Put(NAMESPACE, json!({}), ""),
        Step::Put(CAREFUL, policy, ""),
        Step::Put(CART, cart(1, 2, false), "Succeeded"),
        Step::Put(CART, cart(2, 2, false), "Succeeded"),
        Step::Put(CART, cart(2, 2, true), ""),
        Step::Put(CART, cart(3, 2, true), "Paused"),
        Step::Verb("rollout/abort", Value::Null, "Aborted"),
        Step::Put(CART, cart(2, 2, true), "Succeeded"),
        Step::Put(CART, cart(2, 4, true), "Succeeded"),
        Step::Put(CART, cart(2, 2, true), "Succeeded"),
        Step::Put(CART, cart(3, 2, true), "Paused"),
        Step::Verb("rollout/promote", json!({ "full": true }), "Succeeded"),
        Step::Verb("restart", Value::Null, "Succeeded"),
        Step::Delete(CART),
    ]
}

/// Releases that wait for the one under way, which is aborted, promoted and rolled back.
fn queueing() -> Vec<Step> {
    let steps = json!([{ "weight_percent": 50, "pause": { "manual": true } }]);
    let policy = json!({ "on_new_release": "queue", "steps": steps });
    vec![
        Step::Put(NAMESPACE, json!({}), ""),
        Step::Put(CAREFUL, policy, ""),
        Step::Put(CART, cart(1, 2, true), "Succeeded"),
        Step::Put(CART, cart(2, 2, true), "Paused"),
        Step::Put(CART, cart(3, 2, true), "Pending"),
        Step::Put(CART, cart(4, 2, true), "Pending"),
        // The operation is that of what waited.
        Step::Verb("rollout/abort", Value::Null, "Paused"),
        Step::Put(CART, cart(5, 2, true), "Pending"),
        Step::Put(CART, cart(5, 3, true), ""),
        Step::Verb("rollout/promote", json!({ "full": true }), ""),
        Step::Put(CART, cart(6, 3, false), "Pending"),
        Step::Verb("rollback", Value::Null, "Succeeded"),
        Step::Put(CART, cart(6, 2, false), "Succeeded"),
    ]
}

/// One step in a world, and how it ends. No more than one instance is ever missing.
fn take(world: &Arc<World>, client: &Client, step: &Step) -> (Client, String) {
    let (mut client, mut done) = (client.clone(), false);
    let end = world.run(async |s| {
        if !done {
            client.step(s, step).await;
            done = true;
        }
        rest(s, 12).await;
        client.describe(s).await
    });
    (client, end)
}

/// Kills at each of the points of a life: what failed, and how many points there are. In `serves` two instances carry
/// requests before and after each step, of which one may be missing.
fn kill_at(life: &[Step], serves: &Range<usize>, points: impl Fn(u64) -> bool) -> (Vec<String>, u64) {
    let mut failed = Vec::new();
    let world = World::new(1);
    let (mut client, mut total) = (Client::default(), 0);
    for (at, step) in life.iter().enumerate() {
        lock(&world.fleet).floor = usize::from(serves.contains(&at));
        let start = (world.fork(), client.clone());
        // The one without a fault says what there is to be killed at, and how it should end.
        let (after, wanted) = take(&world, &client, step);
        let trace = world.faults(|f| std::mem::take(&mut f.trace));
        world.faults(|f| f.points = 0);
        for point in 1..=trace.len() as u64 {
            total += 1;
            if !points(total) {
                continue;
            }
            let fork = start.0.fork();
            fork.faults(|f| f.kill_at = Some(point));
            let end = catch_unwind(AssertUnwindSafe(|| take(&fork, &start.1, step).1));
            let what = &trace[point as usize - 1];
            match end {
                Ok(end) if end == wanted => {}
                Ok(end) => failed.push(format!("point {total}, {what} of {step:?}: {end}, not {wanted}")),
                Err(e) => {
                    let text = e.downcast_ref::<String>().cloned();
                    failed.push(format!("point {total}, {what} of {step:?}: {}", text.unwrap_or_default()));
                }
            }
        }
        client = after;
    }
    (failed, total)
}

fn assert_survives(life: &[Step], serves: &Range<usize>) {
    let only: Option<u64> = std::env::var("SAMPAN_POINT").ok().and_then(|p| p.parse().ok());
    let (failed, total) = kill_at(life, serves, |point| only.is_none_or(|only| only == point));
    assert!(failed.is_empty(), "{} of {total} points, again with SAMPAN_POINT=n:\n{}", failed.len(), failed.join("\n"));
    assert!(total > 300, "only {total} points");
}

#[test]
fn killed_at_every_commit_and_every_call_it_ends_as_if_it_had_not_been() {
    // While it is scaled in, the lower number counts.
    assert_survives(&life(), &(3..13));
}

#[test]
fn killed_while_a_release_waits_it_ends_as_if_it_had_not_been() {
    assert_survives(&queueing(), &(3..13));
}
