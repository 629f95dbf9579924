//! Whatever is written, breaks or is killed, in an order that a seed gives.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sampan_engine::runtime::RuntimeError;
use sampan_store::{OperationFilter, StoreError};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::client::{CAREFUL, CART, Client, NAMESPACE, Step, cart, rest};
use super::world::{Server, World, lock};

const SEEDS: u64 = 30;
const STEPS: u32 = 200;
/// Containers of the one end after a moment, those of the other are never ready, the third cannot be pulled.
const CRASHES: u64 = 4;
const UNREADY: u64 = 5;
const DENIED: u64 = 6;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn policy(w: &World) -> Value {
    let pauses = [json!({ "manual": true }), json!({ "duration_seconds": 5 }), json!({ "duration_seconds": 30 })];
    let pause = || pauses[w.below(3) as usize].clone();
    let count = 1 + w.below(3);
    let steps = |field: &str, value: &dyn Fn(u64) -> Value| -> Vec<Value> {
        let step = |at| json!({ field: value(10 + at * 30), "pause": pause() });
        (0..count).map(step).collect()
    };
    let mut policy = match w.below(4) {
        0 => json!({ "strategy": "batch", "steps": steps("replicas", &|percent| format!("{percent}%").into()) }),
        1 => json!({ "strategy": "blue_green", "steps": [{ "pause": pause() }], "scale_down_delay_seconds": 3 }),
        _ => json!({ "capacity": "extra", "steps": steps("weight_percent", &Value::from) }),
    };
    policy["on_failure"] = ["pause", "abort", "rollback"][w.below(3) as usize].into();
    policy["promotion_timeout_seconds"] = 600.into();
    policy["on_new_release"] = ["supersede", "queue"][w.below(2) as usize].into();
    if policy["strategy"] != "batch" && w.below(2) == 0 {
        policy["analysis"] = json!({
            "errors": { "type": "error_rate", "interval_seconds": 5, "min_samples": 5, "failure_limit": 1 },
        });
    }
    policy
}

/// Sends what may be refused; what breaks the rules of the world is told by the world.
async fn ask(s: &Server, method: &str, path: &str, body: &Value) {
    let there = s.get(path).await;
    let tag = there["generation"].as_i64().map(|g| format!("\"{g}\""));
    let header = tag.as_deref().map_or(("if-none-match", "*"), |tag| ("if-match", tag));
    let headers: &[_] = if method == "POST" { &[] } else { &[header] };
    let (status, answer) = s.send(method, path, headers, body).await;
    if status >= 500 || status == 400 && !answer.to_string().contains("SMP065") {
        s.world.wrong(format!("{method} {path}: {status} {answer}"));
    }
}

async fn write(s: &Server) {
    let w = &s.world;
    let mut body = cart(1 + w.below(6), w.below(5), w.below(2) == 0);
    body["container"]["env"] = json!({ "N": w.below(2).to_string() });
    if w.below(4) == 0 {
        body["resources"]["memory"] = "128Mi".into();
    }
    if w.below(4) == 0 {
        body["update_strategy"]["max_surge"] = "1".into();
    }
    if w.below(4) == 0 {
        body["rollout"] = json!({ "on_failure": "rollback" });
    }
    ask(s, "PUT", CART, &body).await;
}

async fn event(s: &Server) {
    let w = s.world.clone();
    let (n, what) = (w.below(1000), w.below(24));
    w.tell(format!("event {what}, {n}"));
    match what {
        0..6 => write(s).await,
        6 => ask(s, "PUT", CAREFUL, &policy(&w)).await,
        7 => {
            let verbs = ["rollout/promote", "rollout/pause", "rollout/resume", "rollout/abort", "restart", "rollback"];
            let path = format!("{CART}/{}", verbs[n as usize % verbs.len()]);
            ask(s, "POST", &path, &Value::Null).await;
        }
        8 => ask(s, "POST", &format!("{CART}/rollout/promote"), &json!({ "full": true })).await,
        9 => ask(s, "POST", &format!("{CART}/rollout/resume"), &Value::Null).await,
        10 if n < 300 => ask(s, "DELETE", CART, &Value::Null).await,
        10 | 11 => w.faults(|f| f.kill_at = Some(f.points + 1 + n % 40)),
        12 => w.kill(),
        13 => w.faults(|f| f.one_in = [0, 3, 10][n as usize % 3]),
        14 => lock(&w.machine).crash(n),
        15 => lock(&w.machine).lose(n),
        16 => lock(&w.machine).mute = n < 500,
        17 => lock(&w.machine).forget_images(),
        18 => lock(&w.fleet).lag_ms = [50, 1000, 4000][n as usize % 3],
        19 => lock(&w.fleet).deaf = n < 400,
        20 => lock(&w.fleet).dies(n as usize),
        21 => {
            let now = w.steady_ms();
            lock(&w.fleet).return_all(now);
        }
        22 => w.set_clock(if n < 500 { 3_600_000 } else { -3_600_000 }),
        _ => lock(&w.machine).stops_hang = n < 300,
    }
}

/// At most one release at a time, and no gap in what is told.
fn look(s: &Server) {
    let filter = OperationFilter {
        target_kind: Some("application".into()),
        namespace: Some("shop".into()),
        name: Some("cart".into()),
        phase: None,
    };
    let (operations, changes) = s
        .store
        .read(|r| Ok::<_, StoreError>((r.operations(&filter, None, 50)?, r.changes_since(0, usize::MAX)?)))
        .unwrap();
    let active = operations.iter().filter(|o| o.kind != "scale" && matches!(o.phase.as_str(), "Running" | "Paused"));
    let active: Vec<_> = active.map(|o| (&o.id, &o.kind, &o.phase)).collect();
    if active.len() > 1 {
        s.world.wrong(format!("two releases at once: {active:?}"));
    }
    for pair in changes.windows(2) {
        if pair[1].rev != pair[0].rev + 1 {
            s.world.wrong(format!("after change {} comes {}", pair[0].rev, pair[1].rev));
        }
    }
}

fn heal(w: &World) {
    w.faults(|f| (f.one_in, f.kill_at) = (0, None));
    let now = w.steady_ms();
    {
        let mut m = lock(&w.machine);
        (m.mute, m.stops_hang) = (false, false);
    }
    let mut fleet = lock(&w.fleet);
    (fleet.deaf, fleet.lag_ms) = (false, 50);
    fleet.return_all(now);
}

/// A step to its end; what it waits for is taken back.
async fn written(s: &Server, client: &mut Client, step: &Step) {
    let mut step = std::pin::pin!(client.step(s, step));
    loop {
        tokio::select! {
            biased;
            () = &mut step => return,
            () = sleep(Duration::from_secs(5)) => {
                if s.get(&format!("{CART}/rollout")).await["queued"].as_str().is_some_and(|id| !id.is_empty()) {
                    ask(s, "POST", &format!("{CART}/rollout/abort"), &Value::Null).await;
                }
            }
        }
    }
}

/// One life under one seed.
fn run(seed: u64) {
    let world = World::new(seed);
    {
        let mut m = lock(&world.machine);
        m.crashing.insert(CRASHES.to_string());
        m.unready.insert(UNREADY.to_string());
        let denied = RuntimeError::permanent("ImageDenied", "the registry refuses it");
        m.pulls.insert(DENIED.to_string(), denied);
    }
    let first = [
        Step::Put(NAMESPACE, json!({}), ""),
        Step::Put(CAREFUL, policy(&world), ""),
        Step::Put(CART, cart(1, 2, false), "Succeeded"),
    ];
    let last = Step::Put(CART, cart(9, 3, false), "Succeeded");
    let (mut client, mut begun, mut steps, mut until_next, mut ended) = (Client::default(), 0, STEPS, 0, false);
    let end = world.run(async |s| {
        while let Some(step) = first.get(begun) {
            client.step(s, step).await;
            begun += 1;
        }
        while steps > 0 {
            steps -= 1;
            if until_next == 0 {
                until_next = s.world.below(16);
                event(s).await;
            }
            until_next = until_next.saturating_sub(1);
            sleep(Duration::from_millis(s.world.below(1500))).await;
            look(s);
            s.world.check();
        }
        heal(&s.world);
        if !ended {
            // One that is being deleted has to be gone first.
            while s.get(CART).await["status"]["phase"] == "Deleting" {
                sleep(Duration::from_secs(1)).await;
            }
            written(s, &mut client, &last).await;
            ended = true;
        }
        rest(s, 90).await;
        look(s);
        s.world.check();
        client.describe(s).await
    });
    assert_eq!(lock(&world.machine).running("cart"), ["9", "9", "9"], "{end}");
    assert_eq!(lock(&world.fleet).carrying().0.len(), 3, "{end}");
    assert!(end.contains("3 rows, all well"), "{end}");
}

#[test]
fn whatever_is_written_breaks_or_is_killed_it_ends_as_declared() {
    let count = number("SAMPAN_SEEDS").unwrap_or(SEEDS);
    let all: Vec<u64> = number("SAMPAN_SEED").map_or_else(|| (0..count).collect(), |seed| vec![seed]);
    let mut failed = Vec::new();
    for seed in all {
        if catch_unwind(AssertUnwindSafe(|| run(seed))).is_err() {
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{} seeds fail, the first with SAMPAN_SEED={}: {failed:?}", failed.len(), failed[0]);
}
