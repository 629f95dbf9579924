//! How long nobody answers while the only instance of an application is updated.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Ground;
use super::figure::Figure;
use super::raw::{Pod, Raw};
use super::statistic::ms;
use super::workload::{Loop, NAMESPACE, PORT, application, first_answer, path, route};

const ROUNDS: u32 = 11;
const NAME: &str = "in-place";
const HOST: &str = "in-place.bench";
const ADDRESS: &str = "the address cannot be read";

fn address(pod: &Pod) -> Result<SocketAddr, String> {
    format!("{}:{PORT}", pod.ip).parse().map_err(|_| format!("{ADDRESS}: {:?}", pod.ip))
}

/// Stop, create and start in the same sandbox.
fn raw_in_place(raw: &Raw, pod: &mut Pod, image: &str) -> Result<Duration, String> {
    let requests = Loop::start(address(pod)?, HOST);
    let old = raw.replace(pod, image)?;
    first_answer(address(pod)?, HOST);
    std::thread::sleep(Duration::from_millis(20));
    let outage = requests.outage()?;
    raw.sweep(&old)?;
    Ok(outage)
}

/// The old sandbox is stopped and removed, then a new one is made.
fn raw_recreate(raw: &mut Raw, pod: Pod, image: &str) -> Result<(Duration, Pod), String> {
    let requests = Loop::start(address(&pod)?, HOST);
    let begun = Instant::now();
    raw.end(pod)?;
    let last = requests.stop()?.last().copied().unwrap_or(begun);
    let pod = raw.run(image)?;
    first_answer(address(&pod)?, HOST);
    Ok((last.elapsed(), pod))
}

pub fn measure(ground: &mut Ground) -> Result<Vec<Figure>, String> {
    let (image, gateway) = (ground.image.clone(), ground.dev.gateway);
    let api = &ground.api;
    api.finish(&api.create(&path(NAME), &application(&image, 1, "64Mi", 0))?)?;
    api.create(&format!("/v1/namespaces/{NAMESPACE}/routes/{NAME}"), &route(NAME, HOST))?;
    let update = |memory: &str, round: u32| -> Result<Duration, String> {
        let requests = Loop::start(gateway, HOST);
        let answer = api.replace(&path(NAME), &application(&image, 1, memory, round))?;
        api.finish(&answer)?;
        first_answer(gateway, HOST);
        std::thread::sleep(Duration::from_millis(20));
        requests.outage()
    };
    let mut raw = Raw::new(&ground.dev.data_dir)?;
    let mut pod = raw.run(&image)?;
    let [mut straight, mut ours, mut straight_new, mut ours_new] = [const { Vec::new() }; 4];
    let mut measured = || -> Result<(), String> {
        for round in 1..=ROUNDS {
            ground.progress.step(&format!("update in place and recreate, round {round} of {ROUNDS}"));
            let memory = if round % 2 == 0 { "64Mi" } else { "65Mi" };
            let before = if round % 2 == 0 { "65Mi" } else { "64Mi" };
            straight.push(ms(raw_in_place(&raw, &mut pod, &image)?));
            Ground::settle();
            ours.push(ms(update(before, round)?));
            Ground::settle();
            ours_new.push(ms(update(memory, round)?));
            Ground::settle();
            let old = std::mem::replace(&mut pod, raw.run(&image)?);
            // The spare one of this round takes its place after the measurement.
            let (outage, made) = raw_recreate(&mut raw, old, &image)?;
            straight_new.push(ms(outage));
            raw.end(made)?;
            Ground::settle();
        }
        Ok(())
    };
    let result = measured();
    raw.end(pod)?;
    result?;
    ground.remove(&path(NAME), Some(&format!("/v1/namespaces/{NAMESPACE}/routes/{NAME}")))?;
    let seen = "longest time without a good answer in a loop of requests (a new connection each, 1 ms apart)";
    let ours_seen = format!(
        "{seen} at the gateway, for an application with 1 replica, a readiness probe and runc; median of {ROUNDS}"
    );
    Ok(vec![
        Figure::ratio(
            "outage of an update in place",
            &ours,
            ("the same straight to CRI", &straight),
            1.3,
            &format!(
                "{ours_seen}. Compared with: the same loop straight at the container's address during StopContainer, \
                 CreateContainer, StartContainer, interleaved."
            ),
        ),
        Figure::ratio(
            "outage in place against recreate",
            &ours,
            ("recreate by Sampan, surge 0", &ours_new),
            0.45,
            &format!("{ours_seen}. Compared with: the same for a change of `resources`, which makes a new sandbox."),
        ),
        Figure::ratio(
            "outage in place against raw recreate",
            &ours,
            ("recreate straight to CRI", &straight_new),
            0.45,
            "the same in-place figure, compared with StopPodSandbox, RemovePodSandbox, RunPodSandbox, \
             CreateContainer, StartContainer, first answer.",
        ),
    ])
}
