//! The gateway against nginx, on one core each: requests in a second, and how long the slowest of a hundred takes.

mod rival;
pub mod serve;
mod wrk;

use std::time::Instant;

use super::Progress;
use super::figure::Figure;
use super::statistic::median;
use rival::Rival;
use wrk::Run;

const ROUNDS: u32 = 9;
/// For show only, hence less often.
const HAPROXY_EVERY: u32 = 3;
/// Each sends its next request when it has its answer.
const CONNECTIONS: u32 = 32;
const SECONDS: u32 = 1;
/// The measured proxy has this core for itself.
const PROXY_CORE: u32 = 0;
/// The client and the upstream.
const OTHER_CORE: u32 = 1;

/// All runs of one proxy.
#[derive(Default)]
struct Runs {
    /// Microseconds from one answer to the next.
    time: Vec<f64>,
    /// Milliseconds.
    p99: Vec<f64>,
    /// Microseconds that the proxy's threads ran, for a request.
    cpu: Vec<f64>,
}

impl Runs {
    fn measure(&mut self, rival: &Rival) -> Result<(), String> {
        let before = rival.cpu_seconds()?;
        let Run { requests, seconds, p99_ms } = wrk::run(rival.address, CONNECTIONS, SECONDS, OTHER_CORE)?;
        self.time.push(seconds / requests * 1e6);
        self.cpu.push((rival.cpu_seconds()? - before) / requests * 1e6);
        self.p99.push(p99_ms);
        Ok(())
    }

    fn words(&self) -> String {
        let time = median(&self.time);
        format!(
            "{:.0} requests/s, {:.1} µs of CPU each, p99 {:.2} ms",
            1e6 / time,
            median(&self.cpu),
            median(&self.p99)
        )
    }
}

/// What this machine lacks, with the remedy.
fn missing() -> Option<String> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Some("two cores: one for the proxy, one for its client".into());
    }
    let absent: Vec<&str> =
        [("nginx", "nginx-light"), ("haproxy", "haproxy"), ("wrk", "wrk"), ("taskset", "util-linux")]
            .into_iter()
            .filter(|(program, _)| sampan_testacc::process::find(program).is_none())
            .map(|(_, package)| package)
            .collect();
    (!absent.is_empty()).then(|| format!("Debian packages: {} (apt-get install)", absent.join(", ")))
}

pub fn measure(progress: Progress) -> Result<Vec<Figure>, String> {
    if let Some(missing) = missing() {
        return Err(format!("this machine cannot measure the gateway: {missing}"));
    }
    let folder = tempfile::Builder::new().prefix("sampan-bench").tempdir().map_err(|error| error.to_string())?;
    let upstream = rival::upstream(folder.path(), OTHER_CORE)?;
    let gateway = rival::gateway(upstream.address, PROXY_CORE)?;
    let nginx = rival::nginx(folder.path(), upstream.address, PROXY_CORE)?;
    let haproxy = rival::haproxy(folder.path(), upstream.address, PROXY_CORE)?;
    let [mut ours, mut theirs, mut other] = [(); 3].map(|()| Runs::default());
    let begun = Instant::now();
    for round in 0..ROUNDS {
        progress.step(&format!("gateway and nginx, round {} of {ROUNDS}", round + 1));
        theirs.measure(&nginx)?;
        ours.measure(&gateway)?;
        if round % HAPROXY_EVERY == 0 {
            other.measure(&haproxy)?;
        }
    }
    let took = begun.elapsed().as_secs();
    Ok(figures(&ours, &theirs, &other, took))
}

fn figures(ours: &Runs, theirs: &Runs, other: &Runs, took: u64) -> Vec<Figure> {
    let how = format!(
        "`wrk` with {CONNECTIONS} kept connections in a closed loop; proxy alone on one core, client and upstream \
         (nginx, an answer of 12 bytes) on another. The gateway has one worker and one route; nginx is Debian's, one \
         worker, kept upstream connections, no log, and sets the same headers. Median of {ROUNDS} runs of {SECONDS} s \
         each, interleaved, in {took} s"
    );
    let time = Figure {
        unit: "µs",
        ..Figure::ratio(
            "gateway, time of a core per request",
            &ours.cpu,
            ("nginx", &theirs.cpu),
            1.25,
            &format!(
                "{how}. CPU time, so that a busy client makes no proxy look better: 1.25 times nginx's is 0.8 of its requests \
                 per second and core. Gateway: {}; nginx: {}; for \
                 comparison haproxy, one thread: {}.",
                ours.words(),
                theirs.words(),
                other.words()
            ),
        )
    };
    let p99 = Figure::ratio(
        "gateway, 99th percentile of latency",
        &ours.p99,
        ("nginx", &theirs.p99),
        1.5,
        "in the same runs: with a closed loop the core is always busy, so this includes waiting for it.",
    );
    vec![time, p99]
}
