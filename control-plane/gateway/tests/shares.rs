//! A million routed requests over table swaps: shares, stickiness, and the ends of the scale.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sampan_engine::route::{Choice, Facts, Listener, RouteTable, Served, Serving, Side, Split, route, table};

/// The way of a release and back, in basis points.
const WEIGHTS: [u32; 6] = [0, 100, 500, 5_000, 10_000, 0];
const KEYLESS: u64 = 500_000;
const CALLERS: usize = 20_000;

/// Four instances of the old revision and some of the new one.
fn with(generation: u64, weight: u32, gray: u8, sticky: Option<&str>) -> RouteTable {
    let instance = |n: u8, revision: &str| Serving {
        key: format!("{revision}-{n}").into(),
        ip: [10, 0, u8::from(revision == "new"), n].into(),
        revision: revision.into(),
        ports: serde_json::from_str(r#"{ "http": { "container_port": 80, "protocol": "HTTP" } }"#).unwrap(),
        warmup: None,
    };
    let sticky = sticky.map(|s| serde_json::from_str(s).unwrap());
    let split = Split { gray: "new".into(), weight, sticky, tag: "gray".into(), salt: 0x5a17, ..Split::default() };
    let instances = (0..4).map(|n| instance(n, "old")).chain((0..gray).map(|n| instance(n, "new"))).collect();
    let apps = [("n/a".to_owned(), Arc::new(Served { instances, split: Some(split), ..Served::default() }))].into();
    table(generation, [], &apps, BTreeMap::new())
}

fn side(table: &RouteTable, headers: &[(&str, &str); 1], client: IpAddr, seq: u64) -> Side {
    let facts = Facts {
        listener: Listener::Internal,
        host: "a.n.internal",
        path: "/",
        method: "GET",
        query: "",
        headers,
        client,
        lane: None,
        fresh: 0,
        now: 0,
    };
    match route(table, &facts, seq) {
        Choice::Forward(f) => {
            let revision = if f.side == Side::Gray { "new" } else { "old" };
            assert!(f.endpoints.iter().all(|e| *e.revision == *revision), "sides are not mixed");
            assert_eq!(f.lane, None);
            f.side
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn shares_of_unknown_callers_are_near_exact_over_swaps() {
    let each = KEYLESS / WEIGHTS.len() as u64;
    let mut seq = 0;
    for (step, weight) in WEIGHTS.into_iter().enumerate() {
        let mut gray = 0;
        for part in 0..10_u8 {
            // Swapped for other reasons than the weight, too.
            let t = with(step as u64 * 10 + u64::from(part), weight, 1 + part % 3, None);
            for _ in 0..each / 10 {
                gray += u64::from(side(&t, &[("", "")], [192, 0, 2, 1].into(), seq) == Side::Gray);
                seq += 1;
            }
        }
        let (sent, wanted) = (each / 10 * 10, each / 10 * 10 * u64::from(weight) / 10_000);
        match weight {
            0 => assert_eq!(gray, 0),
            10_000 => assert_eq!(gray, sent),
            // Three standard deviations of a coin would be from 85 to 612.
            _ => assert!(gray.abs_diff(wanted) <= 5, "{weight}: {gray} of {sent}"),
        }
    }
}

#[test]
fn known_callers_stay_and_move_only_with_the_weight() {
    for (sticky, is_ip) in [
        (r#"{ "key": "cookie" }"#, false),
        (r#"{ "key": "header", "name": "X-User" }"#, false),
        (r#"{ "key": "client_ip" }"#, true),
    ] {
        let mut before = vec![Side::Baseline; CALLERS];
        let mut seq = 0;
        for (step, weight) in WEIGHTS.into_iter().enumerate() {
            let rises = step == 0 || weight >= WEIGHTS[step - 1];
            let now: Vec<Side> = (0..2)
                .map(|round| {
                    let t = with(step as u64 * 10 + round, weight, 1 + round as u8, Some(sticky));
                    (0..CALLERS)
                        .map(|caller| {
                            seq += 1;
                            let client: IpAddr = if is_ip {
                                [10, 9, (caller >> 8) as u8, caller as u8].into()
                            } else {
                                [192, 0, 2, 1].into()
                            };
                            let (cookie, user) =
                                (format!("x=1; sampan_bucket=user-{caller}"), format!("user-{caller}"));
                            let header =
                                if sticky.contains("cookie") { ("cookie", &cookie) } else { ("x-user", &user) };
                            side(&t, &[(header.0, header.1.as_str())], client, seq)
                        })
                        .collect::<Vec<_>>()
                })
                .reduce(|first, second| {
                    assert!(first == second, "{sticky} {weight}: a caller moved at the same weight");
                    second
                })
                .unwrap();
            for (was, is) in before.iter().zip(&now) {
                assert!(if rises { was <= is } else { is <= was }, "{sticky} {weight}: {was:?} to {is:?}");
            }
            let gray = now.iter().filter(|s| **s == Side::Gray).count() as f64;
            let (n, share) = (CALLERS as f64, f64::from(weight) / 10_000.0);
            // Exact at both ends, where there is no deviation.
            assert!((gray - n * share).abs() <= 3.0 * (n * share * (1.0 - share)).sqrt(), "{sticky} {weight}: {gray}");
            before = now;
        }
    }
}
