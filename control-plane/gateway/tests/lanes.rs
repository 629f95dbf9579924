//! Lanes: who may name one, where they lead, and that they go on.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

mod common;

use std::sync::Arc;

use common::*;
use sampan_engine::route::{Lanes, Served, Split};
use sampan_gateway::Gateway;
use sampan_gateway::Listener::Internal;

/// `app` and `back` have a gray revision, `middle` has none.
struct Shop {
    gateway: Gateway,
    internal: std::net::SocketAddr,
    origins: [Arc<Origin>; 5],
}

const LANE: &str = "x-sampan-lane: gray";

async fn shop() -> Shop {
    shop_with(Lanes::default()).await
}

/// `lanes` are those of `app`.
async fn shop_with(lanes: Lanes) -> Shop {
    let gateway = gateway().await;
    let internal = gateway.add_listener("127.0.0.1:0".parse().unwrap(), Internal).await.unwrap();
    let start = |name| Origin::start(name);
    let origins = [
        start("app").await,
        start("app-gray").await,
        start("middle").await,
        start("back").await,
        start("back-gray").await,
    ];
    let [app, app_gray, middle, back, back_gray] = &origins;
    let matches =
        serde_json::from_value(serde_json::json!([{ "headers": [{ "name": "x-tester", "value": "yes" }] }])).unwrap();
    let mut table = table_from(
        1,
        [
            (
                "app",
                Served { lanes, ..served(&[(app, "old"), (app_gray, "new")], Some(Split { matches, ..split(0) })) },
            ),
            ("middle", served(&[(middle, "one")], None)),
            ("back", served(&[(back, "old"), (back_gray, "new")], Some(split(0)))),
        ],
    )
    .as_ref()
    .clone();
    table.sources.insert([127, 0, 0, 2].into(), "other".into());
    gateway.apply(Arc::new(table)).unwrap();
    Shop { gateway, internal, origins }
}

impl Shop {
    /// Lane and baggage that an origin saw last.
    fn seen(&self, name: &str) -> (Vec<String>, Vec<String>) {
        let origin = self.origins.iter().find(|o| o.name == name).unwrap();
        let seen = origin.seen().pop().unwrap();
        let all = |header| seen.header(header).into_iter().map(str::to_owned).collect();
        (all("x-sampan-lane"), all("baggage"))
    }

    fn count(&self, name: &str) -> usize {
        self.origins.iter().find(|o| o.name == name).unwrap().count()
    }
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|v| (*v).to_owned()).collect()
}

#[tokio::test]
async fn a_matched_request_goes_through_a_gap() {
    let shop = shop().await;
    let mut outside = Client::connect(shop.gateway.public_addr()).await;
    let reply = outside.get_with("app.test", "/", &["X-Tester: yes", "Baggage: a=1"]).await;
    assert_eq!((reply.body.as_str(), reply.header("x-sampan-revision")), ("app-gray", Some("new")));
    let marked = (owned(&["gray"]), owned(&["sampan.lane=gray,a=1"]));
    assert_eq!(shop.seen("app-gray"), marked);

    // As an instance passes on what it was sent: the header, or only baggage, or both.
    let mut inside = Client::connect(shop.internal).await;
    for lines in
        [&["Baggage: sampan.lane=gray,a=1"][..], &[LANE, "Baggage: a=1"], &[LANE, "baggage: a=1,sampan.lane=x"]]
    {
        let reply = inside.get_with("middle.shop.internal", "/", lines).await;
        assert_eq!((reply.body.as_str(), reply.header("x-sampan-revision")), ("middle", Some("one")));
        assert_eq!(shop.seen("middle"), marked);
        assert_eq!(inside.get_with("back.shop.internal", "/", lines).await.body, "back-gray");
        assert_eq!(shop.seen("back-gray"), marked);
    }
    // Without it, and with another one, baseline; another one goes on as well.
    assert_eq!(inside.get_with("back.shop.internal", "/", &[]).await.body, "back");
    assert_eq!(shop.seen("back"), (vec![], vec![]));
    assert_eq!(inside.get_with("back.shop.internal", "/", &["x-sampan-lane: blue"]).await.body, "back");
    assert_eq!(shop.seen("back"), (owned(&["blue"]), owned(&["sampan.lane=blue"])));
    // Two that differ are none.
    assert_eq!(inside.get_with("back.shop.internal", "/", &[LANE, "x-sampan-lane: blue"]).await.body, "back");
    assert_eq!(shop.seen("back"), (vec![], vec![]));
}

#[tokio::test]
async fn a_lane_that_rejects_is_answered_503_where_it_has_no_instance() {
    let shop = shop_with(Lanes { rejecting: Some("gray".into()), ..Lanes::default() }).await;
    // From outside nothing is rejected.
    let mut outside = Client::connect(shop.gateway.public_addr()).await;
    assert_eq!(outside.get_with("app.test", "/", &["X-Tester: yes"]).await.body, "app-gray");
    assert_eq!(outside.get_with("app.test", "/", &[LANE]).await.body, "app");

    let mut inside = Client::connect(shop.internal).await;
    assert_eq!(inside.get_with("back.shop.internal", "/", &[LANE]).await.body, "back-gray");
    let reply = inside.get_with("middle.shop.internal", "/", &[LANE]).await;
    assert_eq!((reply.status, reply.header("content-type")), (503, Some("application/problem+json")));
    let told: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((told["code"].as_str(), told["status"].as_u64()), (Some("no_lane"), Some(503)), "{told}");
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("shop/middle") && detail.contains("lane gray"), "{detail}");
    assert_eq!(shop.count("middle"), 0, "it has seen nothing");
    // The connection goes on, and so do all that are on no lane, or on one that does not reject.
    assert_eq!(inside.get_with("middle.shop.internal", "/", &[]).await.body, "middle");
    assert_eq!(inside.get_with("middle.shop.internal", "/", &["x-sampan-lane: blue"]).await.body, "middle");
    // A body is not waited for.
    inside
        .send(format!("POST / HTTP/1.1\r\nHost: middle.shop.internal\r\n{LANE}\r\nContent-Length: 4\r\n\r\nbody"))
        .await;
    assert_eq!(inside.reply().await.status, 503);
    // Another namespace's instance is on no lane here.
    let mut foreign = Client::connect_from([127, 0, 0, 2], shop.internal).await;
    assert_eq!(foreign.get_with("middle.shop.internal", "/", &[LANE]).await.body, "middle");
    assert_eq!(shop.count("middle"), 3);
}

#[tokio::test]
async fn a_lane_does_not_cross_namespaces() {
    let shop = shop().await;
    // 127.0.0.2 is an instance of another namespace, 127.0.0.3 is nobody known.
    for from in [2, 3] {
        let mut client = Client::connect_from([127, 0, 0, from], shop.internal).await;
        let reply = client.get_with("back.shop.internal", "/", &[LANE, "baggage: sampan.lane=gray,k=v"]).await;
        assert_eq!(reply.body, "back");
        assert_eq!(shop.seen("back"), (vec![], owned(&["k=v"])));
    }
    // Internal hosts are not seen from outside.
    let mut outside = Client::connect(shop.gateway.public_addr()).await;
    assert_eq!(outside.get_with("back.shop.internal", "/", &[]).await.status, 404);
}

#[tokio::test]
async fn forged_lanes_lead_nowhere() {
    let shop = shop().await;
    let addr = shop.gateway.public_addr();
    let forged: &[&[&str]] = &[
        &[LANE],
        &[LANE, LANE],
        &["X-SAMPAN-LANE: gray"],
        &["x_sampan_lane: gray"],
        &["X-Sampan_Lane: gray"],
        &["x-sampan-lane:gray", "x-sampan-lane: other"],
        &[LANE, "Connection: x-sampan-lane"],
        &["Connection: keep-alive, X-Sampan-Lane, baggage", LANE, "baggage: sampan.lane=gray"],
        &["baggage: sampan.lane=gray"],
        &["Baggage: SAMPAN.LANE=gray"],
        &["baggage:  sampan.lane =\tgray ; p=1 "],
        &["baggage: sampan.lane=a", "Baggage: sampan.lane=gray"],
        &["baggage: sampan.lane=gray,sampan.lane=gray"],
        &["x-sampan-revision: new", "x-sampan-anything: gray"],
        &["forwarded: for=127.0.0.1", "x-forwarded-for: 127.0.0.1", LANE],
    ];
    for lines in forged {
        let mut client = Client::connect(addr).await;
        assert_eq!(client.get_with("app.test", "/", lines).await.body, "app", "{lines:?}");
        let origin = &shop.origins[0];
        let head = origin.seen().pop().unwrap().head.to_lowercase();
        assert!(!head.contains("sampan") && !head.contains("gray"), "{head}");
    }
    // Other members of baggage pass, in their order.
    let mut client = Client::connect(addr).await;
    client.get_with("app.test", "/", &["baggage: a=1;p, Sampan.Lane=gray ,b=2", "baggage: c=3"]).await;
    assert_eq!(shop.seen("app"), (vec![], owned(&["a=1;p,b=2", "c=3"])));
    // In trailers, announced or not.
    for announced in ["", "Trailer: x-sampan-lane\r\n"] {
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: app.test\r\n{announced}Transfer-Encoding: chunked\r\n\r\n\
                 1\r\nx\r\n0\r\nx-sampan-lane: gray\r\nbaggage: sampan.lane=gray\r\n\r\n"
            ))
            .await;
        assert_eq!(client.reply().await.body, "app");
        assert_eq!(shop.seen("app"), (vec![], vec![]));
        client = Client::connect(addr).await;
    }
    // A lane in the header is not matched by, and nothing that is stripped is.
    assert_eq!(shop.count("app-gray"), 0);
    assert!(shop.origins.iter().all(|o| o.malformed.lock().unwrap().is_empty()));
}

#[tokio::test]
async fn a_thousand_untagged_requests_never_touch_gray() {
    let shop = shop().await;
    let (mut outside, mut inside) =
        (Client::connect(shop.gateway.public_addr()).await, Client::connect(shop.internal).await);
    for n in 0..500 {
        let tester = if n % 2 == 0 { "x-tester: no" } else { "x-testers: yes" };
        assert_eq!(outside.get_with("app.test", "/", &[tester]).await.body, "app");
        assert_eq!(inside.get_with("back.shop.internal", "/", &[]).await.body, "back");
    }
    assert_eq!((shop.count("app-gray"), shop.count("back-gray")), (0, 0));
}
