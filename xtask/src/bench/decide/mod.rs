//! How long decisions take that are made for every request, for every change of what serves, and in every tick of a
//! release.

mod node;
mod routes;

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use sampan_engine::route::{Choice, Facts, Listener, RouteTable, route};
use sampan_gateway::Gateway;

use super::Progress;
use super::figure::Figure;
use super::statistic::{median, ms, percentile};
use node::Node;
use routes::{ENDPOINTS, HOSTS, PATHS, Routes};

/// Decisions that are timed together: a clock is no finer than one.
const BATCH: u64 = 1000;
const BATCHES: u64 = 300;
const TABLES: u64 = 21;
const INSTANCES: u64 = 100;
const RELEASES: u32 = 10;
/// Goes through all routes in an order that no cache likes.
const STRIDE: u64 = 617;
const HEADERS: [(&str, &str); 8] = [
    ("host", "h-1.bench"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("cookie", "session=0123456789abcdef; theme=dark; sampan_bucket=00112233445566778899aabbccddeeff"),
    ("x-user", "user-17"),
    ("x-request-id", "4be5a9bb-7d41-4d3c-9f0c-9d9c1c1a2a31"),
];

pub fn measure(progress: Progress) -> Result<Vec<Figure>, String> {
    let mut routes = Routes::new()?;
    progress.step(&format!("{} route decisions", BATCH * BATCHES));
    let decision = decision(&routes.table(1))?;
    progress.step(&format!("{TABLES} tables with {ENDPOINTS} endpoints"));
    let swap = swap(&mut routes)?;
    progress.step(&format!("{RELEASES} releases of {INSTANCES} instances"));
    Ok(vec![decision, swap, tick()?])
}

fn decision(table: &RouteTable) -> Result<Figure, String> {
    let targets: Vec<(String, String)> = (0..BATCH).map(|n| routes::target(n * STRIDE)).collect();
    let mut times = Vec::new();
    for batch in 0..BATCHES {
        let begun = Instant::now();
        for (at, (host, path)) in targets.iter().enumerate() {
            let facts = Facts {
                listener: Listener::Public,
                host,
                path,
                method: "GET",
                query: "page=2&sort=name",
                headers: &HEADERS,
                client: [192, 0, 2, 7].into(),
                lane: None,
                fresh: u128::from(batch),
                now: 1_000_000,
            };
            if !matches!(black_box(route(table, &facts, batch * BATCH + at as u64)), Choice::Forward(_)) {
                return Err(format!("{host}{path} has no route"));
            }
        }
        times.push(ms(begun.elapsed()));
    }
    Ok(Figure::limit(
        "route decision",
        median(&times) * 1000.0 / BATCH as f64,
        "µs",
        2.0,
        &format!(
            "`route` of the engine with {} routes ({HOSTS} hosts with {PATHS} paths each; a tenth of the applications \
             with a split, a sticky cookie and three matches, a tenth of the rules with two backends), for a request \
             with {} headers, all routes in turn; median of {BATCHES} batches of {BATCH}.",
            HOSTS * PATHS,
            HEADERS.len()
        ),
    ))
}

fn swap(routes: &mut Routes) -> Result<Figure, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let gateway = runtime.block_on(Gateway::bind(any)).map_err(|error| error.to_string())?;
    let (mut builds, mut swaps) = (Vec::new(), Vec::new());
    for generation in 0..TABLES {
        routes.change(generation);
        let begun = Instant::now();
        let table = Arc::new(routes.table(generation));
        builds.push(ms(begun.elapsed()));
        let begun = Instant::now();
        gateway.apply(table).map_err(|error| error.to_string())?;
        swaps.push(ms(begun.elapsed()));
    }
    let (build, swap) = (median(&builds), median(&swaps));
    Ok(Figure::limit(
        "route table, build and swap",
        build + swap,
        "ms",
        10.0,
        &format!(
            "{ENDPOINTS} endpoints of {} applications, of which each table changes a tenth: the engine's `table` from \
             routes and instances, which are held as the server holds them, takes {build:.2} ms, the gateway's `apply` of \
             it {swap:.2} ms; medians of {TABLES}.",
            HOSTS * PATHS
        ),
    ))
}

fn tick() -> Result<Figure, String> {
    let mut times = Vec::new();
    for _ in 0..RELEASES {
        times.extend(Node::new(INSTANCES)?.release()?);
    }
    Ok(Figure::limit(
        "release tick of 100 instances, 99th percentile",
        percentile(&times, 99.0),
        "ms",
        1.0,
        &format!(
            "`reconcile` of the engine in all {} ticks of {RELEASES} releases in two steps under a gray policy, on a \
             made-up node that carries out at once; the median is {:.2} ms, the longest {:.2} ms.",
            times.len(),
            median(&times),
            percentile(&times, 100.0)
        ),
    ))
}
