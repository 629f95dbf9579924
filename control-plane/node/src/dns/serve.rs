//! The two listeners.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::Settings;
use super::answer::{Verdict, failure, verdict};
use super::limit::Limit;
use super::relay::{Transport, read_message, write_message};

/// Queries under way upstream over UDP; what comes beyond is answered SERVFAIL at once.
const QUERIES: (usize, usize) = (256, 32);
/// Connections; what comes beyond is closed.
const CONNECTIONS: (usize, usize) = (64, 8);
/// For the next query on a connection, and for its answer to be taken.
const IDLE: Duration = Duration::from_secs(10);
/// On one connection, so that none is kept for ever.
const QUERIES_EACH: usize = 256;
/// After an error of a listener, which may last.
const PAUSE: Duration = Duration::from_millis(50);

pub struct Shared {
    settings: Settings,
    queries: Limit,
    connections: Limit,
}

impl Shared {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            queries: Limit::new(QUERIES.0, QUERIES.1),
            connections: Limit::new(CONNECTIONS.0, CONNECTIONS.1),
        }
    }

    fn may_ask(&self, source: IpAddr) -> bool {
        matches!(source, IpAddr::V4(ip) if self.settings.subnet.contains(ip))
    }

    fn verdict(&self, packet: &[u8]) -> Verdict {
        verdict(packet, self.settings.gateway, &*self.settings.known)
    }

    async fn relay(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        self.settings.upstreams.ask(packet, self.settings.gateway.into(), transport).await
    }
}

/// Runs until it is aborted, and its queries end with it.
pub async fn udp(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let mut relays = JoinSet::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let (size, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "no query can be received");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while relays.try_join_next().is_some() {}
        if !shared.may_ask(peer.ip()) {
            continue;
        }
        let packet = buffer.get(..size).unwrap_or_default();
        match shared.verdict(packet) {
            Verdict::Drop => {}
            Verdict::Answer(answer) => send(&socket, &answer, peer).await,
            Verdict::Relay => match shared.queries.enter(peer.ip()) {
                Some(place) => {
                    let (socket, shared, packet) = (socket.clone(), shared.clone(), packet.to_vec());
                    relays.spawn(async move {
                        if let Some(answer) = shared.relay(&packet, Transport::Udp).await {
                            send(&socket, &answer, peer).await;
                        }
                        drop(place);
                    });
                }
                None => {
                    if let Some(answer) = failure(packet) {
                        send(&socket, &answer, peer).await;
                    }
                }
            },
        }
    }
}

/// An answer that cannot be sent is lost, as any packet may be: the client asks again.
async fn send(socket: &UdpSocket, answer: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(answer, peer).await {
        tracing::debug!(%peer, %error, "an answer cannot be sent");
    }
}

/// Runs until it is aborted, and its connections end with it.
pub async fn tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        if !shared.may_ask(peer.ip()) {
            continue;
        }
        if let Some(place) = shared.connections.enter(peer.ip()) {
            let shared = shared.clone();
            connections.spawn(async move {
                let _ = connection(stream, &shared).await;
                drop(place);
            });
        }
    }
}

/// Query after query until the client is done, falls silent, or sends what is no query.
async fn connection(mut stream: TcpStream, shared: &Shared) -> Result<(), std::io::Error> {
    for _ in 0..QUERIES_EACH {
        let packet = tokio::time::timeout(IDLE, read_message(&mut stream)).await??;
        let answer = match shared.verdict(&packet) {
            Verdict::Drop => None,
            Verdict::Answer(answer) => Some(answer),
            Verdict::Relay => shared.relay(&packet, Transport::Tcp).await,
        };
        let Some(answer) = answer else { return Ok(()) };
        tokio::time::timeout(IDLE, write_message(&mut stream, &answer)).await??;
    }
    Ok(())
}
