//! Environment schedules under a made-up clock, which begins ten minutes before midnight.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::client::{CAREFUL, CART, Client, NAMESPACE, Step, cart, rest, wait};
use super::world::{Server, World, lock};

const SCHEDULE: &str = "/v1/namespaces/shop/environment-schedules/nights";
const DB: &str = "/v1/namespaces/shop/applications/db";

fn nights() -> Value {
    json!({ "selector": { "all": true }, "stop": "0 0 * * *", "start": "30 0 * * *", "start_order": [["db"]] })
}

/// Two applications that serve, and a schedule for both.
fn scheduled() -> std::sync::Arc<World> {
    let world = World::new(7);
    let (mut client, mut done) = (Client::default(), 0);
    let steps = [
        Step::Put(NAMESPACE, json!({}), ""),
        Step::Put(CAREFUL, json!({ "steps": [{ "weight_percent": 50, "pause": { "manual": true } }] }), ""),
        Step::Put(DB, cart(1, 1, false), "Succeeded"),
        Step::Put(CART, cart(1, 2, false), "Succeeded"),
        Step::Put(SCHEDULE, nights(), ""),
    ];
    world.run(async |s| {
        while let Some(step) = steps.get(done) {
            client.step(s, step).await;
            done += 1;
        }
    });
    world
}

fn running(s: &Server, app: &str) -> Vec<String> {
    lock(&s.world.machine).running(app)
}

/// Waits until so many minutes of the world have passed.
async fn until(s: &Server, minutes: i64) {
    let left = minutes * 60_000 - s.world.steady_ms();
    sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
}

/// Reasons of the events of an object, oldest first.
async fn told(s: &Server, kind: &str, name: &str) -> Vec<String> {
    let events = s.get(&format!("/v1/events?namespace=shop&kind={kind}&name={name}")).await;
    let reasons = events["items"].as_array().unwrap().iter().map(|e| e["reason"].as_str().unwrap().to_owned());
    reasons.filter(|r| ["Stopping", "Starting", "WaveTimeout", "Stopped", "Started"].contains(&r.as_str())).collect()
}

#[test]
fn a_schedule_stops_and_starts_in_waves_and_the_spec_stays_as_it_was_written() {
    let world = scheduled();
    world.run(async |s| {
        let (before, db) = (s.get(CART).await, s.get(DB).await);
        let schedule = s.get(SCHEDULE).await["status"].clone();
        assert_eq!(
            (&schedule["phase"], &schedule["last_boundary"]),
            (&json!("Running"), &json!("2028-02-28T00:30:00.000Z"))
        );
        assert_eq!(schedule["next_boundary"], "2028-02-29T00:00:00.000Z", "{schedule}");
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (2, 1));
        until(s, 12).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (0, 0));
        let status = s.get(CART).await["status"].clone();
        assert_eq!(status["stopped"], "stopped by schedule nights until 2028-02-29T00:30:00Z");
        // What a state file has of it says nothing of the time.
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Running"), &json!("")), "{status}");
        assert_eq!(status["desired_replicas"], 0, "{status}");
        let schedule = s.get(SCHEDULE).await["status"].clone();
        let names = json!(["cart", "db"]);
        assert_eq!(
            (&schedule["phase"], &schedule["stopped"], &schedule["applications"]),
            (&json!("Stopped"), &names, &names)
        );
        for (path, before) in [(CART, &before), (DB, &db)] {
            let now = s.get(path).await;
            assert_eq!((&now["generation"], &now["replicas"]), (&before["generation"], &before["replicas"]), "{path}");
        }
        rest(s, 60).await;
        // A release of what is stopped ends, and wakes nobody up.
        let tag = format!("\"{}\"", before["generation"]);
        let (status, answer) = s.send("PUT", CART, &[("if-match", &tag)], &cart(2, 3, false)).await;
        assert_eq!(status, 202, "{answer}");
        let op = wait(s, answer["operation"]["id"].as_str().unwrap(), "").await;
        assert_eq!(op["phase"], "Succeeded", "{op}");
        assert_eq!(running(s, "cart").len(), 0);
        // The database does not get ready, so the other waits for it.
        lock(&s.world.machine).unready.insert("1".into());
        until(s, 45).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (0, 1));
        let waits = s.get(CART).await["status"].clone();
        assert_eq!(waits["stopped"], "stopped by schedule nights until its wave starts", "{waits}");
        assert_eq!(s.get(SCHEDULE).await["status"]["phase"], "Starting");
        until(s, 52).await;
        assert_eq!(running(s, "cart"), ["2", "2", "2"], "after the time of the wave");
        assert_eq!(s.get(SCHEDULE).await["status"]["phase"], "Running");
        assert_eq!(told(s, "environment_schedule", "nights").await, ["Stopping", "Starting", "WaveTimeout"]);
        assert_eq!(told(s, "application", "cart").await, ["Stopped", "Started"]);
        s.world.check();
    });
}

#[test]
fn the_last_wave_stops_first_and_the_first_starts_first() {
    let world = scheduled();
    world.run(async |s| {
        // It does not end within its grace, so the wave behind it is still there.
        lock(&s.world.machine).stops_hang = true;
        until(s, 10).await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (2, 1));
        assert_eq!(s.get(DB).await["status"]["stopped"], "");
        assert_ne!(s.get(CART).await["status"]["stopped"], "");
        lock(&s.world.machine).stops_hang = false;
        until(s, 15).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (0, 0));
        until(s, 45).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (2, 1));
        assert_eq!(told(s, "environment_schedule", "nights").await, ["Stopping", "Starting"]);
    });
}

#[test]
fn a_stop_waits_for_the_release_that_is_under_way() {
    let world = scheduled();
    world.run(async |s| {
        let mut body = cart(2, 2, true);
        body["update_strategy"]["progress_deadline_seconds"] = 600.into();
        let tag = format!("\"{}\"", s.get(CART).await["generation"]);
        let (_, answer) = s.send("PUT", CART, &[("if-match", &tag)], &body).await;
        let id = answer["operation"]["id"].as_str().unwrap().to_owned();
        assert_eq!(wait(s, &id, "Paused").await["phase"], "Paused");
        until(s, 13).await;
        assert_eq!(running(s, "cart"), ["1", "2"], "its release is not over");
        assert_eq!(s.get(CART).await["status"]["phase"], "Paused");
        let (status, answer) = s.send("POST", &format!("{CART}/rollout/promote"), &[], &Value::Null).await;
        assert_eq!(status, 202, "{answer}");
        assert_eq!(wait(s, &id, "").await["phase"], "Succeeded");
        until(s, 15).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (0, 0));
        until(s, 45).await;
        assert_eq!(running(s, "cart"), ["2", "2"]);
    });
}

#[test]
fn a_server_that_was_off_over_the_boundary_does_the_same() {
    let world = scheduled();
    world.set_clock(3_600_000 / 2);
    // 0:20 or so: it should have stopped at midnight.
    world.run(async |s| {
        sleep(Duration::from_mins(2)).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (0, 0));
        assert_eq!(told(s, "environment_schedule", "nights").await, ["Stopping"]);
    });
    // Off over a whole day: the same night again, so nothing has happened.
    world.set_clock(24 * 3_600_000);
    world.run(async |s| {
        sleep(Duration::from_mins(1)).await;
        assert_eq!(told(s, "environment_schedule", "nights").await, ["Stopping"]);
    });
    world.set_clock(3_600_000);
    world.run(async |s| {
        sleep(Duration::from_mins(2)).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (2, 1));
        assert_eq!(told(s, "environment_schedule", "nights").await, ["Stopping", "Starting"]);
        assert_eq!(told(s, "application", "cart").await, ["Stopped", "Started"]);
    });
}

#[test]
fn a_clock_that_is_set_puts_the_environment_where_its_time_says() {
    let world = scheduled();
    world.run(async |s| {
        // Over a whole night: nothing fires.
        s.world.set_clock(3_600_000);
        sleep(Duration::from_mins(1)).await;
        assert_eq!(running(s, "cart").len(), 2);
        s.world.set_clock(-3_600_000);
        until(s, 12).await;
        assert_eq!(running(s, "cart").len(), 0);
        // Back into the evening, and once more over midnight.
        s.world.set_clock(-3_600_000 / 2);
        until(s, 15).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (2, 1));
        until(s, 43).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (0, 0));
        assert_eq!(told(s, "application", "cart").await, ["Stopped", "Started", "Stopped"]);
    });
}

#[test]
fn a_server_that_is_killed_anywhere_on_the_way_stops_and_starts_all_the_same() {
    let night = async |s: &Server| {
        // One that starts in the second half has the second half to show.
        if s.world.steady_ms() < 15 * 60_000 {
            until(s, 15).await;
            assert_eq!((running(s, "cart").len(), running(s, "db").len()), (0, 0));
        }
        until(s, 45).await;
        assert_eq!((running(s, "cart").len(), running(s, "db").len()), (2, 1));
        assert_eq!(told(s, "environment_schedule", "nights").await, ["Stopping", "Starting"]);
        for app in ["cart", "db"] {
            assert_eq!(told(s, "application", app).await, ["Stopped", "Started"], "{app}");
        }
        s.world.check();
    };
    let begin = scheduled();
    begin.run(async |s| until(s, 5).await);
    let world = begin.fork();
    world.run(async |s| night(s).await);
    let points = world.faults(|f| f.points);
    assert!(points > 20, "{points}");
    for point in (1..=points).step_by(3) {
        let world = begin.fork();
        world.faults(|f| f.kill_at = Some(point));
        world.run(async |s| night(s).await);
    }
}
