//! The responder over sockets, with name servers in the same process.
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside of test functions")]

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::TcpStream;

use super::relay::{read_message, write_message};
use super::*;

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
/// Generous: a busy machine must not fail a test.
const DEADLINE: Duration = Duration::from_secs(20);

/// How a name server of a test behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Answers each name with [`OUTSIDE`], after a packet with a wrong id and one with a wrong question.
    Answers,
    Refuses,
    Silent,
}

struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    /// A query came with the id of the client.
    same_id: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

const CLIENT_ID: u16 = 0xbeef;

fn answer_of(asked: &Message, manner: Manner) -> Message {
    let mut message = Message::response(asked.metadata.id, OpCode::Query);
    message.add_queries(asked.queries.clone());
    match manner {
        Manner::Answers => {
            message.add_answer(Record::from_rdata(asked.queries[0].name.clone(), 60, RData::A(A::from(OUTSIDE))));
        }
        _ => message.metadata.response_code = ResponseCode::Refused,
    }
    message
}

async fn upstream(manner: Manner) -> Upstream {
    let (tcp, udp) = both().await;
    let address = tcp.local_addr().unwrap();
    let (asked, same_id) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let note = {
        let (asked, same_id) = (asked.clone(), same_id.clone());
        move |message: &Message| {
            asked.fetch_add(1, Ordering::SeqCst);
            if message.metadata.id == CLIENT_ID {
                same_id.store(true, Ordering::SeqCst);
            }
        }
    };
    let note_tcp = note.clone();
    let over_udp = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (size, peer) = udp.recv_from(&mut buffer).await.unwrap();
            let message = Message::from_vec(&buffer[..size]).unwrap();
            note(&message);
            if manner == Manner::Silent {
                continue;
            }
            let mut wrong = answer_of(&message, Manner::Refuses);
            wrong.metadata.id = message.metadata.id.wrapping_add(1);
            udp.send_to(&wrong.to_vec().unwrap(), peer).await.unwrap();
            let mut other = answer_of(&message, Manner::Refuses);
            other.queries = vec![Query::query(Name::from_str("other.example.").unwrap(), RecordType::A)];
            udp.send_to(&other.to_vec().unwrap(), peer).await.unwrap();
            udp.send_to(&answer_of(&message, manner).to_vec().unwrap(), peer).await.unwrap();
        }
    });
    let over_tcp = tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let Ok(bytes) = read_message(&mut stream).await else { continue };
            let message = Message::from_vec(&bytes).unwrap();
            note_tcp(&message);
            if manner != Manner::Silent {
                write_message(&mut stream, &answer_of(&message, manner).to_vec().unwrap()).await.unwrap();
            }
        }
    });
    Upstream { address, asked, same_id, tasks: vec![over_udp, over_tcp] }
}

/// Both sockets on one port that was free for both.
async fn both() -> (TcpListener, UdpSocket) {
    for _ in 0..50 {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (tcp, udp);
        }
    }
    panic!("no port is free for both");
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let (tcp, _udp) = both().await;
    tcp.local_addr().unwrap()
}

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

async fn responder(subnet: &str, servers: Vec<SocketAddr>) -> Responder {
    responder_for(GATEWAY, subnet, || Upstreams::Fixed(servers.clone())).await
}

async fn responder_for(gateway: Ipv4Addr, subnet: &str, upstreams: impl Fn() -> Upstreams) -> Responder {
    for _ in 0..50 {
        let settings = Settings {
            gateway,
            subnet: Subnet::parse(subnet).unwrap(),
            known: Arc::new(|ns, app| (ns, app) == ("shop", "web")),
            upstreams: upstreams(),
        };
        if let Ok(responder) = Responder::start("127.0.0.1:0".parse().unwrap(), settings).await {
            return responder;
        }
    }
    panic!("no port is free for both");
}

fn query(name: &str) -> Message {
    let mut message = Message::new(CLIENT_ID, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_str(name).unwrap(), RecordType::A));
    message
}

async fn ask_udp(server: SocketAddr, name: &str) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(&query(name).to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 4096];
    let size = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    Message::from_vec(&buffer[..size]).unwrap()
}

async fn ask_tcp(server: SocketAddr, names: &[&str]) -> Vec<Message> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut found = Vec::new();
    for name in names {
        write_message(&mut stream, &query(name).to_vec().unwrap()).await.unwrap();
        let bytes = tokio::time::timeout(DEADLINE, read_message(&mut stream)).await.unwrap().unwrap();
        found.push(Message::from_vec(&bytes).unwrap());
    }
    found
}

fn address(message: &Message) -> Option<Ipv4Addr> {
    assert_eq!(message.metadata.id, CLIENT_ID);
    message.answers.iter().find_map(|record| if let RData::A(ip) = &record.data { Some(ip.0) } else { None })
}

#[tokio::test]
async fn own_names_are_answered_and_others_are_asked_upstream() {
    let upstream = upstream(Manner::Answers).await;
    let responder = responder("127.0.0.0/16", vec![upstream.address]).await;
    let gateway = Some(GATEWAY);
    assert_eq!(address(&ask_udp(responder.address, "web.shop.internal.").await), gateway);
    let absent = ask_udp(responder.address, "api.shop.internal.").await;
    assert_eq!(absent.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 0, "own names never leave the host");
    assert_eq!(address(&ask_udp(responder.address, "out.example.").await), Some(OUTSIDE));

    let found = ask_tcp(responder.address, &["web.shop.internal.", "out.example.", "none.internal."]).await;
    assert_eq!((address(&found[0]), address(&found[1])), (gateway, Some(OUTSIDE)));
    assert_eq!(found[2].metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 2);
    assert!(!upstream.same_id.load(Ordering::SeqCst), "the id is ours");
}

#[tokio::test]
async fn the_next_name_server_is_asked_when_one_fails() {
    let (refuses, answers) = (upstream(Manner::Refuses).await, upstream(Manner::Answers).await);
    let servers = vec![nobody().await, refuses.address, answers.address];
    let responder = responder("127.0.0.0/16", servers).await;
    assert_eq!(address(&ask_udp(responder.address, "out.example.").await), Some(OUTSIDE));
    assert_eq!(address(&ask_tcp(responder.address, &["out.example."]).await[0]), Some(OUTSIDE));
    assert_eq!(refuses.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_silent_name_server_is_given_up() {
    let (silent, answers) = (upstream(Manner::Silent).await, upstream(Manner::Answers).await);
    let responder = responder("127.0.0.0/16", vec![silent.address, answers.address]).await;
    assert_eq!(address(&ask_udp(responder.address, "out.example.").await), Some(OUTSIDE));
    assert_eq!(address(&ask_tcp(responder.address, &["out.example."]).await[0]), Some(OUTSIDE));
    assert_eq!(silent.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_an_answer_upstream_the_client_hears_of_the_failure() {
    let silent = upstream(Manner::Silent).await;
    let down = responder("127.0.0.0/16", vec![silent.address, nobody().await]).await;
    let found = ask_udp(down.address, "out.example.").await;
    assert_eq!((found.metadata.response_code, found.metadata.id), (ResponseCode::ServFail, CLIENT_ID));
    assert_eq!(found.queries, query("out.example.").queries);
    let found = ask_tcp(down.address, &["out.example."]).await;
    assert_eq!(found[0].metadata.response_code, ResponseCode::ServFail);

    // A refusal is an answer, if no one gives a better one.
    let refuses = upstream(Manner::Refuses).await;
    let refused = responder("127.0.0.0/16", vec![refuses.address, nobody().await]).await;
    let found = ask_udp(refused.address, "out.example.").await;
    assert_eq!((found.metadata.response_code, found.metadata.id), (ResponseCode::Refused, CLIENT_ID));
}

#[tokio::test]
async fn the_responder_never_asks_itself() {
    let upstream = upstream(Manner::Answers).await;
    let servers = || Upstreams::Fixed(vec![upstream.address]);
    let responder = responder_for(Ipv4Addr::LOCALHOST, "127.0.0.0/16", servers).await;
    let found = ask_udp(responder.address, "out.example.").await;
    assert_eq!(found.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 0);
    assert_eq!(address(&ask_udp(responder.address, "web.shop.internal.").await), Some(Ipv4Addr::LOCALHOST));
}

#[tokio::test]
async fn who_is_not_of_the_subnet_gets_no_answer() {
    let upstream = upstream(Manner::Answers).await;
    let responder = responder("127.1.0.0/16", vec![upstream.address]).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for name in ["web.shop.internal.", "out.example."] {
        stranger.send_to(&query(name).to_vec().unwrap(), responder.address).await.unwrap();
    }
    // One socket's packets come in order: once a later one is answered, the earlier ones were left.
    let guest = UdpSocket::bind("127.1.0.7:0").await.unwrap();
    guest.send_to(&query("web.shop.internal.").to_vec().unwrap(), responder.address).await.unwrap();
    let mut buffer = [0; 512];
    tokio::time::timeout(DEADLINE, guest.recv(&mut buffer)).await.unwrap().unwrap();
    assert!(stranger.try_recv(&mut buffer).is_err());
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 0);

    let mut stream = TcpStream::connect(responder.address).await.unwrap();
    // The connection may be closed before the query is written.
    let _ = write_message(&mut stream, &query("web.shop.internal.").to_vec().unwrap()).await;
    assert!(tokio::time::timeout(DEADLINE, read_message(&mut stream)).await.unwrap().is_err());
}

#[tokio::test]
async fn one_sandbox_cannot_take_all_places() {
    // Three of them: an answer for want of time comes late, whatever the machine does meanwhile.
    let silent = [upstream(Manner::Silent).await, upstream(Manner::Silent).await, upstream(Manner::Silent).await];
    let responder = responder("127.0.0.0/16", silent.iter().map(|server| server.address).collect()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(responder.address).await.unwrap();
    for number in 0..40_u16 {
        let mut message = query("out.example.");
        message.metadata.id = number;
        socket.send(&message.to_vec().unwrap()).await.unwrap();
    }
    // The first one to fail is not the first one that was asked, which still waits for its name server.
    let mut buffer = [0; 512];
    let size = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    let found = Message::from_vec(&buffer[..size]).unwrap();
    assert_eq!((found.metadata.response_code, found.metadata.id), (ResponseCode::ServFail, 32));
    // Another address of the subnet has its own places.
    let other = UdpSocket::bind("127.0.0.9:0").await.unwrap();
    other.send_to(&query("web.shop.internal.").to_vec().unwrap(), responder.address).await.unwrap();
    tokio::time::timeout(DEADLINE, other.recv(&mut buffer)).await.unwrap().unwrap();
}

#[tokio::test]
async fn junk_is_survived_and_a_stop_frees_the_port() {
    let responder = responder("127.0.0.0/16", Vec::new()).await;
    let junk = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for size in [0, 1, 11, 12, 100, 4000] {
        junk.send_to(&vec![0xff; size], responder.address).await.unwrap();
    }
    let mut stream = TcpStream::connect(responder.address).await.unwrap();
    write_message(&mut stream, &[0xff; 40]).await.unwrap();
    assert!(tokio::time::timeout(DEADLINE, read_message(&mut stream)).await.unwrap().is_err());
    assert!(address(&ask_udp(responder.address, "web.shop.internal.").await).is_some());
    responder.stop().await;
    UdpSocket::bind(responder.address).await.unwrap();
    TcpListener::bind(responder.address).await.unwrap();
}
