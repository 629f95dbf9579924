//! From the request to a ready instance, with the image on the node.

use std::net::SocketAddr;
use std::time::Instant;

use super::Ground;
use super::figure::Figure;
use super::raw::Raw;
use super::statistic::ms;
use super::workload::{PORT, application, first_answer, path};

const ROUNDS: u32 = 11;

pub fn measure(ground: &mut Ground) -> Result<Vec<Figure>, String> {
    let image = ground.image.clone();
    let api = &ground.api;
    let mut raw = Raw::new(&ground.dev.data_dir)?;
    let (mut straight, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        ground.progress.step(&format!("request to ready, round {round} of {ROUNDS}"));
        let begun = Instant::now();
        let pod = raw.run(&image)?;
        let address: SocketAddr =
            format!("{}:{PORT}", pod.ip).parse().map_err(|_| format!("no address: {:?}", pod.ip))?;
        first_answer(address, "start.bench");
        straight.push(ms(begun.elapsed()));
        raw.end(pod)?;
        Ground::settle();
        let name = format!("start-{round}");
        let begun = Instant::now();
        let answer = api.create(&path(&name), &application(&image, 1, "64Mi", 0))?;
        api.finish(&answer)?;
        ours.push(ms(begun.elapsed()));
        ground.remove(&path(&name), None)?;
        Ground::settle();
    }
    Ok(vec![Figure::ratio(
        "request to ready, image present",
        &ours,
        ("the same calls straight to CRI", &straight),
        1.3,
        &format!(
            "from sending the PUT of a new application with 1 replica to the end of its operation, by which its \
             readiness probe has passed; median of {ROUNDS}. Compared with: RunPodSandbox, CreateContainer, \
             StartContainer and the first answer, interleaved."
        ),
    )])
}
