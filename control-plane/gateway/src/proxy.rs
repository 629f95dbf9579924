//! One request: route, send, retry where that is safe, answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sampan_engine::route::{Candidates, Choice, Endpoint, Facts, Listener, choose, find};
use tokio::time::{Instant, Sleep, sleep};

use crate::body::{Progress, RequestBody, ResponseBody};
use crate::gauge::Held;
use crate::hold::Patience;
use crate::io::Look;
use crate::pool::{ConnectError, EndpointState, Upstream, connect, connect_http2};
use crate::serve::Client;
use crate::{Inner, Snapshot, Stage, headers, lane};

/// Endpoints tried for one request.
const ATTEMPTS: usize = 2;
/// How often a request is routed again because its endpoint left the table just then.
const REROUTES: usize = 8;

pub(crate) type Answer = Response<ResponseBody>;

/// Why an endpoint gave no response. With `request`, nothing of it took effect and it may be sent elsewhere.
struct Failed {
    request: Option<Request<RequestBody>>,
    cause: Cause,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Connect,
    Broken,
    Timeout,
    ClientSlow,
    ClientBroken,
}

pub(crate) async fn handle(client: Arc<Client>, request: Request<Incoming>) -> Answer {
    let host = match headers::host(request.uri(), request.version(), request.headers()) {
        Ok(host) => host,
        Err(detail) => return refuse(detail),
    };
    let version = request.version();
    if let Err(detail) = headers::check(request.method(), request.uri(), version, request.headers()) {
        return refuse(detail);
    }
    // hyper drops a Content-Length next to it unseen. Who sent both may be smuggling, and a connection that a
    // request with both came on must not be used again.
    let close = request.headers().contains_key(TRANSFER_ENCODING);
    let mut answer = forward(&client, &host, request).await;
    if close {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if version == Version::HTTP_2 {
        // There a stream ends, not the connection.
        answer.headers_mut().remove(CONNECTION);
    }
    answer
}

async fn forward(client: &Client, host: &str, mut request: Request<Incoming>) -> Answer {
    let (inner, listener) = (&client.inner, client.listener);
    let bodyless = request.body().is_end_stream();
    let grpc = headers::is_grpc(request.version(), request.headers());
    let upgrade =
        if bodyless && request.version() == Version::HTTP_11 { headers::upgrade(request.headers()) } else { None };
    let on_client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let progress = Progress::new(bodyless);
    let (parts, body) = request.into_parts();
    let claimed = (listener == Listener::Internal).then(|| lane::claimed(&parts.headers)).flatten();
    let parts = outgoing(parts, client, upgrade.as_ref());
    let mut replay = (bodyless && upgrade.is_none() && is_idempotent(&parts.method)).then(|| parts.clone());
    let mut request = Request::from_parts(parts, RequestBody::new(body, progress.clone()));
    let mut fresh = None;

    let mut patience = Patience::default();
    let (mut routed, mut is_marked) = (0, false);
    while routed < REROUTES {
        let snapshot = inner.snapshot.load_full();
        let Some(rule) = find(&snapshot.table, listener, host, request.uri().path()) else { return no_route() };
        let seq = snapshot.count(rule);
        let choice = {
            // Only who is divided may need a cookie. It stays the same however often the request is routed.
            let divided = rule.backends.iter().any(|backend| backend.gray.is_some());
            let mut random = || *fresh.get_or_insert_with(|| inner.options.random.next());
            let facts = Facts {
                listener,
                host,
                path: request.uri().path(),
                method: request.method().as_str(),
                query: request.uri().query().unwrap_or_default(),
                headers: &headers::Seen(request.headers()),
                client: client.ip,
                lane: claimed.as_deref(),
                fresh: if divided { random() } else { 0 },
                now: inner.options.wall.next(),
            };
            choose(&snapshot.table, rule, &facts, seq)
        };
        let chosen = match choice {
            Choice::NoRoute => return no_route(),
            Choice::NoEndpoint { application, .. } => {
                if let Err(answer) = patience.wait(inner, &snapshot, &application, client.peek.as_ref()).await {
                    return answer;
                }
                progress.touch();
                continue;
            }
            Choice::NoLane { application, lane, .. } => return no_lane(&application, &lane),
            Choice::Forward(chosen) => chosen,
        };
        // None is in the headers before one was chosen.
        if is_marked || chosen.lane.is_some() {
            is_marked = true;
            lane::set(request.headers_mut(), chosen.lane.as_deref());
            if let Some(again) = &mut replay {
                lane::set(&mut again.headers, chosen.lane.as_deref());
            }
        }
        let mut cause = None;
        let (mut tried, mut tries) = ([None; ATTEMPTS], 0);
        for (endpoint, state) in in_order(inner, &snapshot, chosen.endpoints) {
            // It may have been passed over a moment ago, and turn up again as the last resort.
            if tried.contains(&Some(&*endpoint.key)) {
                continue;
            }
            let Some(place) = tried.get_mut(tries) else { break };
            let Some(held) = state.enter() else { continue };
            patience.handed();
            // Nothing is known of another endpoint's idle connections, and this is the last chance.
            let new = tries > 0;
            *place = Some(&endpoint.key);
            tries += 1;
            let waiting = state.wait();
            let exchanged = if grpc {
                exchange_shared(inner, state, endpoint, request, new, &progress).await.map(|response| (response, None))
            } else {
                let exchanged = exchange(inner, state, endpoint, request, new, &mut replay, &progress).await;
                exchanged.map(|(response, upstream)| (response, Some(upstream)))
            };
            match exchanged {
                Ok((mut response, upstream)) => {
                    waiting.answered(response.status().is_server_error());
                    if let Some(cookie) = chosen.cookie.as_ref().and_then(headers::set_cookie) {
                        response.headers_mut().append(SET_COOKIE, cookie);
                    }
                    return answer(inner, state, response, upstream, held, upgrade.as_ref(), on_client);
                }
                Err(failed) => {
                    cause = Some(failed.cause);
                    match failed.cause {
                        Cause::ClientSlow | Cause::ClientBroken => waiting.forget(),
                        Cause::Connect | Cause::Broken | Cause::Timeout => waiting.unanswered(),
                    }
                    tracing::debug!(endpoint = %endpoint.key, retry = failed.request.is_some(), "no response");
                    match failed.request {
                        Some(again) => request = again,
                        None => return failure(failed.cause),
                    }
                }
            }
        }
        if let Some(cause) = cause {
            if patience.again().await {
                progress.touch();
                continue;
            }
            return failure(cause);
        }
        routed += 1;
        // Every endpoint of this table has left since: the newest one is another.
    }
    no_endpoint()
}

/// Those that do not accept connections come last: they are tried only when there is no other.
fn in_order<'a>(
    inner: &'a Inner,
    snapshot: &'a Snapshot,
    chosen: Candidates<'a>,
) -> impl Iterator<Item = (&'a Endpoint, &'a Arc<EndpointState>)> + use<'a> {
    let states = snapshot.states(chosen.list());
    let at = move |place: usize| Some((chosen.list().get(place)?, states.get(place)?));
    let is_out = |state: &EndpointState| state.outlier().is_passed_over(|| inner.options.clock.next());
    let good = chosen.places().filter_map(at).filter(move |(_, state)| !is_out(state));
    good.chain(chosen.places().filter_map(at).filter(move |(_, state)| is_out(state)))
}

/// The head to send: origin form, this hop's headers dropped, ours set.
fn outgoing(mut parts: Parts, client: &Client, upgrade: Option<&HeaderValue>) -> Parts {
    let grpc = headers::is_grpc(parts.version, &parts.headers);
    if parts.version == Version::HTTP_2 {
        headers::from_http2(&parts.uri, &mut parts.headers);
    }
    headers::to_endpoint(&mut parts.headers, client.listener, &client.name);
    if let Some(protocol) = upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol.clone());
    }
    parts.uri = parts.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    if grpc { as_grpc(parts) } else { parts }
}

/// The head as HTTP/2 has it. Some servers of gRPC refuse a request that does not say that trailers are understood.
fn as_grpc(mut parts: Parts) -> Parts {
    let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let authority = parts.headers.remove(HOST);
    let authority = authority.as_ref().and_then(|h| h.to_str().ok()).unwrap_or_default();
    // Both were parts of a valid URI before.
    if let Ok(uri) = Uri::builder().scheme("http").authority(authority).path_and_query(path).build() {
        parts.uri = uri;
    }
    parts.version = Version::HTTP_2;
    parts.headers.insert(TE, HeaderValue::from_static("trailers"));
    parts
}

fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}

/// Sends the request to one endpoint, over an idle connection if there is a good one and `fresh` does not forbid it.
/// `replay` is taken when what may have been sent is sent again: that happens once for a request.
async fn exchange(
    inner: &Inner,
    state: &EndpointState,
    endpoint: &Endpoint,
    mut request: Request<RequestBody>,
    mut fresh: bool,
    replay: &mut Option<Parts>,
    progress: &Arc<Progress>,
) -> Result<(Response<Incoming>, Upstream), Failed> {
    loop {
        // What can be sent again needs no close look: if the connection turns out to be closed, it is.
        let look = if replay.is_some() { Look::Events } else { Look::Socket };
        let idle = if fresh { None } else { state.take_idle(endpoint.addr, look) };
        let reused = idle.is_some();
        let mut upstream = match idle {
            Some(upstream) => upstream,
            None => match connect(endpoint.addr, inner.options.connect_timeout).await {
                Ok(upstream) => {
                    state.outlier().connected();
                    upstream
                }
                Err(error) => return Err(refused(inner, state, endpoint, &error, request)),
            },
        };
        let received = upstream.peek.received();
        if !reused || fresh {
            // Time went by since the request came.
            progress.touch();
        }
        let sending = upstream.sender.try_send_request(request);
        let limit = inner.options.response_timeout;
        let Some(result) = until_stalled(sending, progress, limit, upstream.timer.as_mut()).await else {
            let cause = if progress.is_awaited() { Cause::ClientSlow } else { Cause::Timeout };
            return Err(Failed { request: None, cause });
        };
        let mut error = match result {
            Ok(response) => return Ok((response, upstream)),
            Err(error) => error,
        };
        if progress.is_failed() {
            return Err(Failed { request: None, cause: Cause::ClientBroken });
        }
        // hyper gives the message back if it sent nothing of it.
        let whole = error.take_message().or_else(|| {
            let parts = if received.any() { None } else { replay.take() }?;
            Some(Request::from_parts(parts, RequestBody::empty(progress.clone())))
        });
        tracing::debug!(endpoint = %endpoint.key, error = %error.error(), reused, "request failed");
        match whole {
            // The endpoint closed an idle connection just now: that says nothing about the endpoint.
            Some(again) if reused => {
                request = again;
                fresh = true;
            }
            request => return Err(Failed { request, cause: Cause::Broken }),
        }
    }
}

/// As [`exchange`], over the endpoint's connection of HTTP/2. Nothing that may have been sent is sent again.
async fn exchange_shared(
    inner: &Inner,
    state: &EndpointState,
    endpoint: &Endpoint,
    mut request: Request<RequestBody>,
    mut fresh: bool,
    progress: &Arc<Progress>,
) -> Result<Response<Incoming>, Failed> {
    loop {
        let shared = if fresh { None } else { state.take_shared(endpoint.addr) };
        let reused = shared.is_some();
        let mut shared = match shared {
            Some(shared) => shared,
            None => match connect_http2(endpoint.addr, inner.options.connect_timeout).await {
                Ok(shared) => {
                    state.outlier().connected();
                    state.keep_shared(&shared);
                    shared
                }
                Err(error) => return Err(refused(inner, state, endpoint, &error, request)),
            },
        };
        progress.touch();
        let sending = shared.sender.try_send_request(request);
        let (limit, timer) = (inner.options.response_timeout, std::pin::pin!(sleep(Duration::ZERO)));
        let Some(result) = until_stalled(sending, progress, limit, timer).await else {
            let cause = if progress.is_awaited() { Cause::ClientSlow } else { Cause::Timeout };
            return Err(Failed { request: None, cause });
        };
        let mut error = match result {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if progress.is_failed() {
            return Err(Failed { request: None, cause: Cause::ClientBroken });
        }
        tracing::debug!(endpoint = %endpoint.key, error = %error.error(), reused, "request failed");
        match error.take_message() {
            Some(again) if reused => {
                request = again;
                fresh = true;
            }
            request => return Err(Failed { request, cause: Cause::Broken }),
        }
    }
}

/// No connection: nothing was sent.
fn refused(
    inner: &Inner,
    state: &EndpointState,
    endpoint: &Endpoint,
    error: &ConnectError,
    request: Request<RequestBody>,
) -> Failed {
    state.outlier().failed(inner.options.clock.next());
    let cause = match error {
        ConnectError::Timeout => Cause::Timeout,
        ConnectError::Failed(reason) => {
            tracing::debug!(endpoint = %endpoint.key, reason, "connect failed");
            Cause::Connect
        }
    };
    Failed { request: Some(request), cause }
}

/// `None` if neither the client sent nor the endpoint answered for `limit`.
async fn until_stalled<F: Future>(
    future: F,
    progress: &Progress,
    limit: Duration,
    mut timer: Pin<&mut Sleep>,
) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    timer.as_mut().reset(progress.last() + limit);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        while timer.as_mut().poll(cx).is_ready() {
            let deadline = progress.last() + limit;
            if deadline <= Instant::now() {
                return Poll::Ready(None);
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    })
    .await
}

fn answer(
    inner: &Arc<Inner>,
    state: &Arc<EndpointState>,
    mut response: Response<Incoming>,
    upstream: Option<Upstream>,
    held: Held,
    upgrade: Option<&HeaderValue>,
    on_client: Option<OnUpgrade>,
) -> Answer {
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = switched.then(|| response.headers().get(UPGRADE).cloned()).flatten();
    headers::drop_hop_by_hop(response.headers_mut());
    match &state.header {
        Some(revision) => response.headers_mut().insert(headers::REVISION, revision.clone()),
        None => response.headers_mut().remove(headers::REVISION),
    };
    if switched {
        let (Some(on_client), Some(protocol)) = (on_client, protocol) else { return failure(Cause::Broken) };
        let on_upstream = hyper::upgrade::on(&mut response);
        tokio::spawn(tunnel(inner.clone(), on_client, on_upstream, held));
        let (mut parts, _) = response.into_parts();
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol);
        return Response::from_parts(parts, ResponseBody::Own(None));
    }
    // Without: it was gRPC, over a connection that is not taken and so not given back.
    let grpc = upstream.is_none();
    if let Some(upstream) = upstream {
        state.give_back(upstream);
    }
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_11;
    if upgrade.is_some() {
        // What follows an upgrade that was not granted may be of either protocol.
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Response::from_parts(parts, ResponseBody::upstream(body, held, grpc))
}

/// Passes bytes both ways until both ends are done. The request is in flight all the time.
async fn tunnel(inner: Arc<Inner>, client: OnUpgrade, upstream: OnUpgrade, held: Held) {
    let _connection = inner.connections.hold();
    let mut stage = inner.stage.subscribe();
    let passing = async {
        match tokio::try_join!(client, upstream) {
            Ok((client, upstream)) => {
                let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
                    tracing::debug!(%error, "tunnel broke");
                }
            }
            Err(error) => tracing::debug!(%error, "upgrade failed"),
        }
    };
    tokio::select! {
        () = passing => {}
        _ = stage.wait_for(|s| *s == Stage::Killed) => {}
    }
    drop(held);
}

pub(crate) fn problem(status: StatusCode, code: &str, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("error");
    // All parts are constants and names, without characters that JSON would escape.
    let json = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{detail}","code":"{code}"}}"#,
        status.as_u16()
    );
    let mut response = Response::new(ResponseBody::Own(Some(Bytes::from(json))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn refuse(detail: &str) -> Answer {
    let mut response = problem(StatusCode::BAD_REQUEST, "bad_request", detail);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn no_route() -> Answer {
    problem(StatusCode::NOT_FOUND, "no_route", "no route matches the host and path")
}

/// The caller is an instance of the same namespace, so it may know the names.
fn no_lane(application: &str, lane: &str) -> Answer {
    let detail =
        format!("{application} has no ready instance on lane {lane}, and the lane does not fall back to baseline");
    problem(StatusCode::SERVICE_UNAVAILABLE, "no_lane", &detail)
}

pub(crate) fn no_endpoint() -> Answer {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "no_endpoint", "no instance is ready");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn failure(cause: Cause) -> Answer {
    let mut response = match cause {
        Cause::Connect => {
            problem(StatusCode::BAD_GATEWAY, "connect_failed", "the instance does not accept connections")
        }
        Cause::Broken => problem(StatusCode::BAD_GATEWAY, "upstream_failed", "the instance gave no valid response"),
        Cause::Timeout => {
            problem(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "the instance did not respond in time")
        }
        Cause::ClientSlow => {
            problem(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request body did not arrive in time")
        }
        Cause::ClientBroken => problem(StatusCode::BAD_REQUEST, "bad_request", "the request body is not valid"),
    };
    if matches!(cause, Cause::ClientSlow | Cause::ClientBroken) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
