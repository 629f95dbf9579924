//! `cargo xtask bench-gateway`: the measured gateway in a process of its own, with one route to one upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use sampan_engine::route::{Backend, Endpoint, Host, PathKind, RouteTable, Rule};
use sampan_gateway::Gateway;

pub const HOST: &str = "app.bench";
/// Before the address, in the only line it writes.
pub const READY: &str = "gateway at ";

fn table(upstream: SocketAddr) -> RouteTable {
    let endpoint = Endpoint { key: "a-1/1/1".into(), addr: upstream, revision: "r1".into(), warmup: None };
    let backend = Backend {
        namespace: "bench".into(),
        application: "app".into(),
        weight: 10_000,
        endpoints: [endpoint].into(),
        gray: None,
        lane: None,
    };
    let rule = Rule { name: "bench/app/all".into(), path: (PathKind::PathPrefix, "/".into()), backends: vec![backend] };
    let host = Host { public: true, rules: vec![rule] };
    RouteTable { generation: 1, hosts: [(HOST.to_owned(), host)].into(), ..RouteTable::default() }
}

/// Serves until it is killed.
pub fn run(upstream: &str) -> Result<(), String> {
    let upstream: SocketAddr = upstream.parse().map_err(|_| format!("{upstream}: want IP:PORT"))?;
    // As in the server, with one worker.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let gateway = Gateway::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(|error| error.to_string())?;
        gateway.apply(Arc::new(table(upstream))).map_err(|error| error.to_string())?;
        crate::say(&format!("{READY}{}", gateway.public_addr()));
        std::future::pending().await
    })
}
