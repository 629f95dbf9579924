//! One client's connection: HTTP/1.1, or HTTP/2 by prior knowledge.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sampan_engine::route::Listener;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::gauge::{Gauge, Held};
use crate::io::{ClientStream, Peek};
use crate::timer::OneTimer;
use crate::{Inner, Stage, headers, proxy};

const MAX_HEADERS: usize = 128;
const MAX_HEADER_BYTES: usize = 32 * 1024;
const MAX_BUFFER: usize = 64 * 1024;
const MAX_STREAMS: u32 = 128;
/// A client of HTTP/2 that does not answer for so long is gone.
pub(crate) const PING: Duration = Duration::from_secs(20);
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Who is connected, as its requests need it.
pub(crate) struct Client {
    pub(crate) inner: Arc<Inner>,
    pub(crate) listener: Listener,
    pub(crate) ip: IpAddr,
    /// The address as endpoints are told it.
    pub(crate) name: HeaderValue,
    /// Of HTTP/1.1, to see that it has gone while its request is held. hyper tells it of HTTP/2.
    pub(crate) peek: Option<Peek>,
}

impl Client {
    fn new(inner: Arc<Inner>, listener: Listener, peer: SocketAddr, peek: Option<Peek>) -> Arc<Self> {
        Arc::new(Self { inner, listener, ip: peer.ip(), name: headers::address(peer.ip()), peek })
    }
}

/// `_held` is dropped last: whoever waits for it knows that nothing of the connection is left.
pub(crate) async fn serve(inner: Arc<Inner>, stream: TcpStream, peer: SocketAddr, kind: Listener, _held: Held) {
    // Only latency is lost without it.
    let _ = stream.set_nodelay(true);
    let mut stage = inner.stage.subscribe();
    let limit = inner.options.header_timeout;
    let speaks = tokio::select! {
        speaks = tokio::time::timeout(limit, is_http2(&stream)) => speaks,
        _ = stage.wait_for(|s| *s > Stage::Running) => return,
    };
    match speaks {
        Ok(Ok(Some(true))) => serve_http2(&inner, stream, peer, kind).await,
        Ok(Ok(Some(false))) => serve_http1(&inner, stream, peer, kind).await,
        // Nothing came, or not in time.
        Ok(Ok(None)) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "connection ended"),
    }
}

/// Looks at the first bytes without taking them. `None`: the client closed.
async fn is_http2(stream: &TcpStream) -> std::io::Result<Option<bool>> {
    let mut seen = [0_u8; PREFACE.len()];
    loop {
        let n = stream.peek(&mut seen).await?;
        if n == 0 {
            return Ok(None);
        }
        if seen[..n] != PREFACE[..n] {
            return Ok(Some(false));
        }
        if n == PREFACE.len() {
            return Ok(Some(true));
        }
        // It began like HTTP/2, or with the P of POST. To peek does not wait for more than there is.
        sleep(Duration::from_millis(5)).await;
    }
}

async fn serve_http1(inner: &Arc<Inner>, stream: TcpStream, peer: SocketAddr, kind: Listener) {
    let (stream, peek) = ClientStream::new(stream);
    let client = Client::new(inner.clone(), kind, peer, Some(peek));
    let service = service_fn(|request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(proxy::handle(client, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(OneTimer::default())
        .header_read_timeout(inner.options.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    run(inner, peer, connection, |c| c.graceful_shutdown(), std::future::pending).await;
}

async fn serve_http2(inner: &Arc<Inner>, stream: TcpStream, peer: SocketAddr, kind: Listener) {
    let streams = Arc::new(Streams::default());
    let service = {
        let (client, streams) = (Client::new(inner.clone(), kind, peer, None), streams.clone());
        service_fn(move |request| {
            let (client, held) = (client.clone(), streams.enter());
            async move {
                let mut answer = proxy::handle(client, request).await;
                answer.body_mut().hold(held);
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .serve_connection(TokioIo::new(stream), service);
    let limit = inner.options.header_timeout;
    run(inner, peer, connection, |c| c.graceful_shutdown(), || streams.idle_for(limit)).await;
}

/// Requests on a connection of HTTP/2.
#[derive(Default)]
struct Streams {
    open: Arc<Gauge>,
    begun: AtomicU64,
}

impl Streams {
    fn enter(&self) -> Held {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.hold()
    }

    /// Resolves when nothing was asked for a whole `limit`, as HTTP/1.1 connections end.
    async fn idle_for(&self, limit: Duration) {
        let mut before = None;
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            if self.open.get() == 0 && before == Some(begun) {
                return;
            }
            before = Some(begun);
            sleep(limit).await;
        }
    }
}

/// Drives a connection until it ends. It is drained when the gateway is, or when it idles; one that idles on after
/// that is cut, for its client does not even answer to the farewell.
async fn run<C: Future<Output = hyper::Result<()>>, I: Future<Output = ()>>(
    inner: &Inner,
    peer: SocketAddr,
    connection: C,
    drain: impl Fn(Pin<&mut C>),
    idle: impl Fn() -> I,
) {
    let (mut connection, mut idling) = (std::pin::pin!(connection), std::pin::pin!(idle()));
    let mut stage = inner.stage.subscribe();
    let mut reached = Stage::Running;
    let mut idled = false;
    loop {
        tokio::select! {
            result = &mut connection => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "connection ended");
                }
                return;
            }
            next = stage.wait_for(|s| *s > reached) => {
                reached = next.map_or(Stage::Killed, |s| *s);
                if reached == Stage::Killed {
                    return;
                }
                drain(connection.as_mut());
            }
            () = &mut idling => {
                if idled {
                    return;
                }
                idled = true;
                drain(connection.as_mut());
                idling.set(idle());
            }
        }
    }
}
