//! A step of load on one instance: when the autoscaler decides, and when what it asked for is ready.

use std::time::{Duration, Instant};

use sampan_testacc::load::{Kind, Load};
use serde_json::{Value, json};

use super::figure::Figure;
use super::statistic::{median, ms};
use super::workload::{NAMESPACE, application, path, route};
use super::{Ground, Measured};

const ROUNDS: usize = 5;
/// Requests a second, of which an instance shall have a quarter.
const RATE: u32 = 100;
const SIZE: u64 = 4;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_mins(1);

pub fn measure(ground: &mut Ground) -> Measured {
    let (mut decided, mut ready) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        ground.progress.step(&format!("step of load, round {round} of {ROUNDS}"));
        // Another application each time: what the last round measured must not help this one.
        let (one, all) = step(ground, &format!("step-{round}"))?;
        decided.push(one);
        ready.push(all);
    }
    let how = format!(
        "one ready instance without requests, image present, rule `qps` with a target of {} and {SIZE} instances at \
         most; from the first of {RATE} requests a second at the gateway, looked for every {} ms; median of {ROUNDS}",
        RATE / 4,
        PAUSE.as_millis()
    );
    Ok(vec![
        Figure::limit(
            "load step to decision",
            median(&decided),
            "ms",
            2000.0,
            &format!("{how}. To the first decision."),
        ),
        Figure::limit(
            "load step to ready instances",
            median(&ready),
            "ms",
            5000.0,
            &format!("{how}. To {SIZE} ready instances, which the load needs."),
        ),
    ])
}

/// Milliseconds to the first decision and to the last ready instance.
fn step(ground: &Ground, name: &str) -> Result<(f64, f64), String> {
    let (api, host) = (&ground.api, format!("{name}.bench"));
    let of = |kind: &str| format!("/v1/namespaces/{NAMESPACE}/{kind}/{name}");
    api.finish(&api.create(&path(name), &application(&ground.image, 1, "64Mi", 0))?)?;
    api.create(&of("routes"), &route(name, &host))?;
    let rule = json!({
        "application": name, "min_replicas": 1, "max_replicas": SIZE,
        "metrics": { "requests": { "type": "qps", "target": RATE / 4 } },
    });
    api.create(&of("scaling-rules"), &rule)?;
    let seen = |ready: bool| -> Result<bool, String> {
        let shown = api.get(&format!("{}/scaling", path(name)))?;
        Ok(if ready { shown["ready"] == SIZE } else { shown["desired"].as_u64() > Some(1) })
    };
    let quiet = api.get(&format!("{}/scaling", path(name)))?;
    if quiet["desired"] != 1 {
        return Err(format!("it is not at rest before the load: {quiet}"));
    }
    let (load, began) = (Load::start(ground.dev.gateway, &host, RATE, Kind::Greeting), Instant::now());
    let until = |ready: bool| -> Result<f64, String> {
        while began.elapsed() < LIMIT {
            if seen(ready)? {
                return Ok(ms(began.elapsed()));
            }
            std::thread::sleep(PAUSE);
        }
        Err(format!("nothing within {LIMIT:?}: {}", api.get(&path(name)).unwrap_or(Value::Null)))
    };
    let found = until(false).and_then(|decided| Ok((decided, until(true)?)));
    let failures = load.stop().failures().len();
    api.delete(&of("scaling-rules"))?;
    ground.remove(&path(name), Some(&of("routes")))?;
    let found = found?;
    if failures > 0 { Err(format!("{failures} requests failed")) } else { Ok(found) }
}
