//! A new application whose image the node does not have: the pull and the sandbox at the same time.

mod throttle;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sampan_node::oci::{File, Image, ImageSpec, build};
use sampan_testacc::hello;

use super::Ground;
use super::figure::Figure;
use super::raw::Raw;
use super::statistic::{median, ms};
use super::workload::{PORT, application, first_answer, path};
use throttle::Throttle;

const ROUNDS: u32 = 7;
/// Pulls until the line is as slow as it shall be.
const TRIES: u32 = 5;
const REPOSITORY: &str = "bench/pull";
/// Bytes of an image that do not shrink: more than what is said around them.
const PADDING: usize = 1 << 18;

/// For image and sandbox to be there.
const LIMIT: Duration = Duration::from_mins(1);

/// What one pull and one sandbox took, in milliseconds.
struct Serial {
    whole: f64,
    pull: f64,
    sandbox: f64,
}

/// An image that no node has: its only layer differs from all others.
fn image(round: u32) -> Result<Image, String> {
    // A generator of no quality; gzip finds nothing in it.
    let mut state = ((u64::from(round) + u64::from(std::process::id())) << 32) | 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    let built = build(&ImageSpec {
        files: vec![
            File { path: "/bin/hello".into(), mode: 0o755, content: hello::BINARY.to_vec() },
            File { path: "/padding".into(), mode: 0o644, content: noise.take(PADDING).collect() },
        ],
        entrypoint: vec!["/bin/hello".into()],
        ..ImageSpec::default()
    });
    built.map_err(|error| error.to_string())
}

fn serial(raw: &mut Raw, image: &str) -> Result<Serial, String> {
    let begun = Instant::now();
    raw.pull(image)?;
    let pull = ms(begun.elapsed());
    let (pod, sandbox) = raw.run_timed(image)?;
    let address: SocketAddr = format!("{}:{PORT}", pod.ip).parse().map_err(|_| format!("no address: {:?}", pod.ip))?;
    first_answer(address, "pull.bench");
    let whole = ms(begun.elapsed());
    raw.end(pod)?;
    Ok(Serial { whole, pull, sandbox: ms(sandbox) })
}

pub fn measure(ground: &mut Ground) -> Result<Vec<Figure>, String> {
    let api = &ground.api;
    let registry = ground.registry()?;
    let throttle = Throttle::start(registry)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let push = |round: u32| -> Result<String, String> {
        let image = image(round)?;
        let pushed = runtime.block_on(image.push(&registry.to_string(), REPOSITORY, &round.to_string()));
        pushed.map_err(|error| format!("the image cannot be pushed: {error}"))?;
        Ok(format!("{}/{REPOSITORY}@{}", throttle.address, image.digest()))
    };
    let mut raw = Raw::new(&ground.dev.data_dir)?;

    let mut more = 0.0;
    for attempt in 1..=TRIES {
        ground.progress.step(&format!("how long a pull and a sandbox take, {attempt} of {TRIES}"));
        let (image, before) = (push(ROUNDS + attempt)?, throttle.forwarded());
        let one = serial(&mut raw, &image)?;
        raw.remove_image(&image)?;
        // To sleep for a piece takes longer than asked for, and one sandbox differs from the next: half of what is
        // left each time, after the first.
        more += (one.sandbox - one.pull) * if attempt == 1 { 1.0 } else { 0.5 };
        throttle.last_as_long(throttle.forwarded() - before, more);
        Ground::settle();
    }
    let [mut straight, mut ours, mut whole, mut ready, mut pulls, mut sandboxes] = [const { Vec::new() }; 6];
    for round in 1..=ROUNDS {
        ground.progress.step(&format!("pull beside the sandbox, round {round} of {ROUNDS}"));
        let image = push(round)?;
        let before = throttle.forwarded();
        let one = serial(&mut raw, &image)?;
        raw.remove_image(&image)?;
        let once = throttle.forwarded();
        Ground::settle();
        let name = format!("pull-{round}");
        let begun = Instant::now();
        let answer = api.create(&path(&name), &application(&image, 1, "64Mi", 0))?;
        raw.both(&image, &[("sampan.app", &name)], LIMIT)?;
        ours.push(ms(begun.elapsed()));
        api.finish(&answer)?;
        ready.push(ms(begun.elapsed()));
        let twice = throttle.forwarded();
        if once - before < PADDING as u64 || twice - once < PADDING as u64 {
            return Err(format!("the node had the image already: {} and {} bytes", once - before, twice - once));
        }
        ground.remove(&path(&name), None)?;
        raw.remove_image(&image)?;
        straight.push(one.pull + one.sandbox);
        whole.push(one.whole);
        pulls.push(one.pull);
        sandboxes.push(one.sandbox);
        Ground::settle();
    }
    Ok(vec![Figure::ratio(
        "pull and sandbox of a new application",
        &ours,
        ("one after the other, straight to CRI", &straight),
        0.7,
        &format!(
            "from sending the PUT of a new application with 1 replica until containerd has its image and its sandbox \
             is ready, looked for every 3 ms; each round another image, from a registry throttled until a pull takes \
             about as long as a sandbox; median of {ROUNDS}. Compared with: PullImage ({:.0} ms) and then \
             RunPodSandbox ({:.0} ms), interleaved. To the end of the operation, by which the readiness probe has \
             passed, it takes {:.0} ms; straight to CRI, one after the other, with CreateContainer, StartContainer \
             and the first answer {:.0} ms.",
            median(&pulls),
            median(&sandboxes),
            median(&ready),
            median(&whole)
        ),
    )])
}
