//! Failures by name, each with the way in which it ends.

use std::time::Duration;

use sampan_engine::runtime::RuntimeError;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::client::{CAREFUL, CART, Client, NAMESPACE, Step, cart, rest, wait};
use super::world::{Fate, Server, World, lock};

/// A world with an application of two instances on image 1, which serve.
fn served() -> (std::sync::Arc<World>, Client) {
    let (world, client) = (World::new(7), Client::default());
    let (mut client, mut done) = (client, 0);
    let steps = [
        Step::Put(NAMESPACE, json!({}), ""),
        Step::Put(CAREFUL, json!({ "steps": [{ "weight_percent": 50, "pause": { "manual": true } }] }), ""),
        Step::Put(CART, with_hook(1), "Succeeded"),
    ];
    world.run(async |s| {
        while let Some(step) = steps.get(done) {
            client.step(s, step).await;
            done += 1;
        }
        rest(s, 5).await;
    });
    lock(&world.fleet).floor = 1;
    (world, client)
}

fn with_hook(image: u64) -> Value {
    let mut body = cart(image, 2, false);
    body["lifecycle_hooks"] = json!({
        "pre_stop": { "exec": { "command": ["/bin/flush"] } }, "termination_grace_period_seconds": 10,
    });
    body
}

/// Writes the application and follows the operation to its end. Returns it with the seconds that it took.
async fn release(s: &Server, body: &Value) -> (Value, i64) {
    let began = s.world.steady_ms();
    let id = write(s, body).await;
    let op = wait(s, &id, "").await;
    (op, (s.world.steady_ms() - began) / 1000)
}

async fn write(s: &Server, body: &Value) -> String {
    let tag = format!("\"{}\"", s.get(CART).await["generation"]);
    let (status, answer) = s.send("PUT", CART, &[("if-match", &tag)], body).await;
    assert!((200..300).contains(&status), "{answer}");
    answer["operation"]["id"].as_str().unwrap().to_owned()
}

fn sandboxes(world: &World) -> Vec<String> {
    lock(&world.machine).sandboxes.keys().cloned().collect()
}

async fn told(s: &Server, reason: &str) -> bool {
    s.get("/v1/events").await.to_string().contains(reason)
}

fn running(s: &Server) -> Vec<String> {
    lock(&s.world.machine).running("cart")
}

#[test]
fn a_hook_that_hangs_ends_with_its_time_and_the_update_goes_on() {
    let (world, _) = served();
    lock(&world.machine).hooks_hang = true;
    world.run(async |s| {
        let (op, seconds) = release(s, &with_hook(2)).await;
        assert_eq!(op["phase"], "Succeeded", "{op}");
        assert!((20..60).contains(&seconds), "two hooks of ten seconds each: {seconds}");
        assert_eq!(lock(&s.world.machine).hooks, 2);
        assert_eq!(running(s), ["2", "2"]);
        rest(s, 60).await;
    });
}

#[test]
fn a_stop_that_hangs_is_tried_again_and_then_gives_up_the_sandbox() {
    for heals in [true, false] {
        let (world, _) = served();
        let before = sandboxes(&world);
        lock(&world.machine).stops_hang = true;
        world.run(async |s| {
            let id = write(s, &with_hook(2)).await;
            // Until the first one has hung.
            for _ in 0..300 {
                if lock(&s.world.machine).stopped > 0 {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(running(s), ["1", "1"]);
            lock(&s.world.machine).stops_hang = !heals;
            let op = wait(s, &id, "").await;
            assert_eq!(op["phase"], "Succeeded", "{op}");
            assert_eq!(running(s), ["2", "2"]);
            assert_eq!(told(s, "SandboxGivenUp").await, !heals);
            let kept = sandboxes(&s.world).iter().filter(|id| before.contains(id)).count();
            assert_eq!(kept, if heals { 2 } else { 0 });
            if !heals {
                assert_eq!(lock(&s.world.machine).stopped, 4, "each of two with its grace, and once more without");
            }
            // Whatever it was, the next one works in place.
            lock(&s.world.machine).stops_hang = false;
            let before = sandboxes(&s.world);
            assert_eq!(release(s, &cart(3, 2, false)).await.0["phase"], "Succeeded");
            assert_eq!(sandboxes(&s.world), before);
            rest(s, 60).await;
        });
    }
}

#[test]
fn a_disk_that_is_full_during_a_pull_touches_nothing_and_the_pull_is_tried_again() {
    for heals in [true, false] {
        let (world, _) = served();
        lock(&world.machine).pulls.insert("2".into(), RuntimeError::transient("DiskFull", "no space left on device"));
        world.run(async |s| {
            lock(&s.world.fleet).floor = 2;
            let id = write(s, &with_hook(2)).await;
            sleep(Duration::from_mins(1)).await;
            assert_eq!(running(s), ["1", "1"]);
            if heals {
                lock(&s.world.machine).pulls.clear();
                lock(&s.world.fleet).floor = 1;
            }
            let op = wait(s, &id, "").await;
            assert_eq!(op["phase"], if heals { "Succeeded" } else { "Failed" }, "{op}");
            assert!(heals || op["message"].as_str().unwrap().contains("no space left"), "{op}");
            rest(s, 60).await;
            assert_eq!(running(s), if heals { ["2", "2"] } else { ["1", "1"] });
        });
    }
}

#[test]
fn a_pull_that_is_denied_ends_the_release_at_once_and_touches_nothing() {
    let (world, _) = served();
    let denied = RuntimeError::permanent("ImageDenied", "the registry refuses it");
    lock(&world.machine).pulls.insert("2".into(), denied);
    lock(&world.fleet).floor = 2;
    world.run(async |s| {
        let (op, seconds) = release(s, &with_hook(2)).await;
        assert_eq!((&op["phase"], &op["reason"]), (&json!("Failed"), &json!("ImageDenied")), "{op}");
        assert!(seconds < 10, "a permanent error waits for no deadline: {seconds}");
        rest(s, 60).await;
        assert_eq!(running(s), ["1", "1"]);
        // The same again, once it is allowed.
        lock(&s.world.machine).pulls.clear();
        lock(&s.world.fleet).floor = 1;
        assert_eq!(release(s, &with_hook(2)).await.0["phase"], "Succeeded");
        assert_eq!(running(s), ["2", "2"]);
    });
}

#[test]
fn a_gateway_that_never_acks_keeps_every_container_it_may_send_to() {
    let (world, _) = served();
    lock(&world.fleet).deaf = true;
    world.run(async |s| {
        let (op, _) = release(s, &with_hook(2)).await;
        assert_eq!((&op["phase"], &op["reason"]), (&json!("Failed"), &json!("ProgressDeadlineExceeded")), "{op}");
        assert_eq!(running(s), ["1", "1"], "no container is stopped before every gateway knows");
        s.world.check();
        lock(&s.world.fleet).deaf = false;
        assert_eq!(release(s, &with_hook(3)).await.0["phase"], "Succeeded");
        assert_eq!(running(s), ["3", "3"]);
        rest(s, 60).await;
    });
}

#[test]
fn a_route_is_in_force_when_its_write_is_answered() {
    let (world, _) = served();
    world.run(async |s| {
        lock(&s.world.fleet).lag_ms = 3000;
        let path = "/v1/namespaces/shop/routes/extra";
        let body = json!({
            "hostnames": ["new.shop.test"], "rules": [{ "name": "all", "backends": [{ "application": "cart", "port": "http" }] }],
        });
        let known = || lock(&s.world.fleet).know("new.shop.test", s.world.steady_ms());
        for _ in 0..5 {
            let (status, answer) = s.send("PUT", path, &[("if-none-match", "*")], &body).await;
            assert_eq!((status, known()), (201, Some(true)), "{answer}");
            let (status, answer) = s.send("DELETE", path, &[("if-match", "*")], &Value::Null).await;
            assert_eq!((status, known()), (204, Some(false)), "{answer}");
        }
        // A gateway that never has it holds nobody up.
        lock(&s.world.fleet).deaf = true;
        let began = s.world.steady_ms();
        let (status, answer) = s.send("PUT", path, &[("if-none-match", "*")], &body).await;
        assert_eq!((status, known()), (201, Some(false)), "{answer}");
        assert!((4000..7000).contains(&(s.world.steady_ms() - began)));
        lock(&s.world.fleet).deaf = false;
        s.send("DELETE", path, &[("if-match", "*")], &Value::Null).await;
        rest(s, 60).await;
    });
}

#[test]
fn a_gateway_that_lags_is_waited_for() {
    let (world, _) = served();
    lock(&world.fleet).lag_ms = 5000;
    world.run(async |s| {
        for image in 2..5 {
            assert_eq!(release(s, &with_hook(image)).await.0["phase"], "Succeeded");
        }
        rest(s, 60).await;
        assert_eq!(running(s), ["4", "4"]);
    });
}

#[test]
fn a_gateway_that_comes_back_with_an_old_table_sends_nothing_before_it_has_the_newest() {
    let (world, _) = served();
    world.run(async |s| {
        lock(&s.world.fleet).dies(0);
        // A dead one is not waited for.
        let (op, seconds) = release(s, &cart(2, 2, false)).await;
        assert_eq!(op["phase"], "Succeeded", "{op}");
        assert!(seconds < 30, "{seconds}");
        let id = write(s, &cart(3, 2, false)).await;
        let now = s.world.steady_ms();
        {
            let mut fleet = lock(&s.world.fleet);
            (fleet.lag_ms, fleet.deaf) = (3000, true);
            fleet.return_all(now);
        }
        sleep(Duration::from_secs(20)).await;
        // One that is back counts, whatever it holds.
        assert!(running(s).contains(&"2".to_owned()), "{:?}", running(s));
        lock(&s.world.fleet).deaf = false;
        assert_eq!(wait(s, &id, "").await["phase"], "Succeeded");
        rest(s, 60).await;
    });
}

#[test]
fn a_server_that_starts_again_gives_gateways_that_outlived_it_a_newer_table() {
    let (world, _) = served();
    for image in 2..5 {
        // Each time another server, before gateways that hold the last table of the one before.
        world.run(async |s| {
            assert_eq!(release(s, &cart(image, 2, false)).await.0["phase"], "Succeeded");
            rest(s, 5).await;
        });
    }
    assert_eq!(lock(&world.machine).running("cart"), ["4", "4"]);
}

#[test]
fn a_call_that_happened_and_whose_answer_was_lost_is_not_made_twice() {
    for call in ["run of", "creation of", "start of", "stop of", "removal of", "pull of", "look for"] {
        for fate in [Fate::AnswerLost, Fate::Late, Fate::Refused] {
            let (world, _) = served();
            world.faults(|f| f.next = Some((call, fate)));
            world.run(async |s| {
                let mut body = with_hook(2);
                if call == "run of" {
                    body["resources"]["memory"] = "128Mi".into();
                }
                let (op, _) = release(s, &body).await;
                assert_eq!(op["phase"], "Succeeded", "{call} {fate:?}: {op}");
                assert!(s.world.faults(|f| f.next.is_none()), "{call} was never made");
                rest(s, 60).await;
                assert_eq!(running(s), ["2", "2"], "{call} {fate:?}");
            });
        }
    }
}

#[test]
fn without_a_handler_nothing_runs_the_operation_ends_and_it_goes_on_when_there_is_one() {
    let world = World::new(7);
    lock(&world.machine).no_handler = true;
    let mut client = Client::default();
    world.run(async |s| {
        client.step(s, &Step::Put(NAMESPACE, json!({}), "")).await;
        client.step(s, &Step::Put(CART, cart(1, 2, false), "Failed")).await;
        let status = s.get(CART).await["status"].clone();
        assert!(status.to_string().contains("IsolationUnavailable"), "{status}");
        assert!(lock(&s.world.machine).sandboxes.is_empty());
    });
    // Handlers are looked for when the server starts.
    lock(&world.machine).no_handler = false;
    world.run(async |s| {
        client.step(s, &Step::Put(CART, cart(2, 2, false), "Succeeded")).await;
        rest(s, 60).await;
        assert_eq!(running(s), ["2", "2"]);
    });
}

#[test]
fn a_clock_that_is_set_by_an_hour_ends_no_release_early_and_holds_none_up() {
    for by in [3_600_000, -3_600_000] {
        let (world, _) = served();
        lock(&world.machine).pulls.insert("2".into(), RuntimeError::transient("DiskFull", "no space left on device"));
        world.run(async |s| {
            let id = write(s, &with_hook(2)).await;
            sleep(Duration::from_secs(40)).await;
            s.world.set_clock(by);
            sleep(Duration::from_secs(15)).await;
            let op = s.get(&format!("/v1/operations/{id}")).await;
            assert_eq!(op["phase"], "Running", "it has time left: {op}");
            lock(&s.world.machine).pulls.clear();
            let began = s.world.steady_ms();
            assert_eq!(wait(s, &id, "").await["phase"], "Succeeded");
            assert!(s.world.steady_ms() - began < 40_000, "tries come as they would have");
            rest(s, 60).await;
            // And one that makes no progress ends when its time is over, not an hour later.
            lock(&s.world.machine).unready.insert("3".into());
            let began = s.world.steady_ms();
            let id = write(s, &with_hook(3)).await;
            sleep(Duration::from_mins(1)).await;
            s.world.set_clock(by);
            let op = wait(s, &id, "").await;
            assert_eq!((&op["phase"], &op["reason"]), (&json!("Failed"), &json!("ProgressDeadlineExceeded")), "{op}");
            let seconds = (s.world.steady_ms() - began) / 1000;
            assert!((110..160).contains(&seconds), "{seconds}");
        });
    }
}

#[test]
fn a_policy_that_changes_in_mid_release_counts_from_the_next_step() {
    let (world, _) = served();
    world.run(async |s| {
        let of = |image| {
            let mut body = with_hook(image);
            (body["replicas"], body["gray_policy"]) = (4.into(), "careful".into());
            body
        };
        assert_eq!(release(s, &of(1)).await.0["phase"], "Succeeded");
        let id = write(s, &of(2)).await;
        assert_eq!(wait(s, &id, "Paused").await["phase"], "Paused");
        assert_eq!(running(s), ["1", "1", "2", "2"]);
        let tag = format!("\"{}\"", s.get(CAREFUL).await["generation"]);
        let steps = json!([
            { "weight_percent": 25, "pause": { "manual": true } }, { "weight_percent": 75, "pause": { "manual": true } },
        ]);
        let (status, answer) = s.send("PUT", CAREFUL, &[("if-match", &tag)], &json!({ "steps": steps })).await;
        assert_eq!(status, 200, "{answer}");
        sleep(Duration::from_secs(30)).await;
        assert_eq!(running(s), ["1", "1", "2", "2"], "the present step stays as it began");
        let (status, answer) = s.send("POST", &format!("{CART}/rollout/promote"), &[], &Value::Null).await;
        assert_eq!(status, 202, "{answer}");
        sleep(Duration::from_secs(30)).await;
        assert_eq!(running(s), ["1", "2", "2", "2"], "the next one is that of the new policy");
        s.send("POST", &format!("{CART}/rollout/promote"), &[], &Value::Null).await;
        assert_eq!(wait(s, &id, "").await["phase"], "Succeeded");
        rest(s, 60).await;
    });
}

#[test]
fn applications_of_the_same_name_in_two_namespaces_never_meet() {
    let world = World::new(7);
    world.run(async |s| {
        for ns in ["shop", "other"] {
            let at = format!("/v1/namespaces/{ns}");
            assert_eq!(s.send("PUT", &at, &[("if-none-match", "*")], &json!({})).await.0, 201);
            let (_, answer) =
                s.send("PUT", &format!("{at}/applications/cart"), &[("if-none-match", "*")], &cart(1, 2, false)).await;
            let op = wait(s, answer["operation"]["id"].as_str().unwrap(), "").await;
            assert_eq!(op["phase"], "Succeeded", "{op}");
        }
        // Each table is looked at by the world: a host of one namespace leads to nobody of another.
        assert_eq!(running(s).len(), 4);
        assert_eq!(lock(&s.world.fleet).carrying().0.len(), 2);
        s.send("DELETE", "/v1/namespaces/other/applications/cart", &[("if-match", "*")], &Value::Null).await;
        sleep(Duration::from_mins(1)).await;
        assert_eq!(lock(&s.world.fleet).carrying().0.len(), 2);
        rest(s, 60).await;
    });
}

#[test]
fn a_creation_that_comes_late_meets_no_container_of_its_name() {
    let (world, _) = served();
    world.faults(|f| f.next = Some(("creation of", Fate::Late)));
    world.run(async |s| {
        let mut more = with_hook(1);
        more["replicas"] = 3.into();
        write(s, &more).await;
        // The caller of the creation has just given up, and nothing is to be seen of it yet.
        let gave_up = || {
            let rows = s.store.read(|r| crate::objects::instances(r, "shop/cart")).unwrap();
            rows.iter().any(|row| row.reason == "DeadlineExceeded")
        };
        for _ in 0..1000 {
            if gave_up() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        // No image has to be looked for, so that the other content is asked for at once.
        more["container"]["env"] = json!({ "N": "1" });
        let (op, seconds) = release(s, &more).await;
        assert_eq!(op["phase"], "Succeeded", "{op}");
        assert!(seconds < 60, "{seconds}");
        rest(s, 60).await;
        assert_eq!(running(s), ["1", "1", "1"]);
    });
}

#[test]
fn a_server_that_starts_in_mid_update_keeps_the_requests_of_what_runs() {
    let (world, _) = served();
    world.faults(|f| f.next = Some(("creation of", Fate::KilledBefore)));
    lock(&world.fleet).floor = 2;
    let mut servers = 0;
    world.run(async |s| {
        servers += 1;
        if servers == 1 {
            write(s, &with_hook(2)).await;
            std::future::pending::<()>().await;
        }
        // Back before anything was stopped: nothing has to be proven again.
        let (op, _) = release(s, &with_hook(1)).await;
        assert_eq!(op["phase"], "Succeeded", "{op}");
        rest(s, 60).await;
        assert_eq!(lock(&s.world.machine).stopped, 0);
    });
    assert_eq!(servers, 2);
}
