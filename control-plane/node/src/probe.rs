//! Runs the probes of containers. Thresholds and pace are pure; the rest asks over HTTP, TCP, gRPC or exec.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use sampan_engine::runtime::{ProbeAction, ProbeReport, ProbeSpec, Probes};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cri::Cri;

const FIRST_PERIOD: Duration = Duration::from_millis(50);

/// Turns single results into a verdict: so many in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    success: u32,
    failure: u32,
    good: u32,
    bad: u32,
    /// `None` until one of the two thresholds was reached.
    pub verdict: Option<bool>,
}

impl Threshold {
    pub fn new(success: u32, failure: u32) -> Self {
        Self { success: success.max(1), failure: failure.max(1), good: 0, bad: 0, verdict: None }
    }

    /// Takes one result; true if the verdict changed.
    pub fn record(&mut self, ok: bool) -> bool {
        if ok {
            self.good = self.good.saturating_add(1);
            self.bad = 0;
        } else {
            self.bad = self.bad.saturating_add(1);
            self.good = 0;
        }
        let before = self.verdict;
        if self.good >= self.success {
            self.verdict = Some(true);
        } else if self.bad >= self.failure {
            self.verdict = Some(false);
        }
        self.verdict != before
    }
}

/// When to ask next. Until the first success it asks often, and such early failures count once per period only:
/// a fast first look must not use up the time that the thresholds grant.
#[derive(Debug, Clone)]
pub struct Pace {
    period: Duration,
    next: Duration,
    settled: bool,
    counted: Duration,
}

impl Pace {
    pub fn new(period: Duration, eager: bool) -> Self {
        let period = period.max(Duration::from_millis(1));
        Self { period, next: FIRST_PERIOD.min(period), settled: !eager, counted: Duration::ZERO }
    }

    /// After a result at `elapsed` since the first try: whether it counts, and how long to wait.
    pub fn after(&mut self, ok: bool, elapsed: Duration) -> (bool, Duration) {
        self.settled |= ok;
        if self.settled {
            return (true, self.period);
        }
        let wait = self.next;
        self.next = (self.next * 2).min(self.period);
        let counts = elapsed.saturating_sub(self.counted) >= self.period;
        if counts {
            self.counted = elapsed;
        }
        (counts, wait)
    }
}

/// All probes that run.
#[derive(Default)]
pub struct Watches {
    running: Mutex<HashMap<String, JoinHandle<()>>>,
}

impl Watches {
    pub fn watch(
        &self,
        runtime: &tokio::runtime::Handle,
        cri: Cri,
        id: String,
        ip: IpAddr,
        probes: Probes,
        begun: ProbeReport,
        report: Box<dyn Fn(ProbeReport) + Send + Sync>,
    ) {
        let target = Target { cri, id: id.clone(), ip };
        let task = runtime.spawn(watch(target, probes, begun, report));
        if let Some(old) = self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, task) {
            old.abort();
        }
    }

    pub fn forget(&self, id: &str) {
        if let Some(task) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
            task.abort();
        }
    }

    pub fn forget_all(&self) {
        for (_, task) in self.running.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            task.abort();
        }
    }
}

struct Target {
    cri: Cri,
    id: String,
    ip: IpAddr,
}

/// Holds the report and passes it on when it changed.
struct Reporter {
    state: Mutex<ProbeReport>,
    report: Box<dyn Fn(ProbeReport) + Send + Sync>,
}

impl Reporter {
    fn update(&self, change: impl FnOnce(&mut ProbeReport)) {
        let changed = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let before = state.clone();
            change(&mut state);
            (*state != before).then(|| state.clone())
        };
        if let Some(state) = changed {
            (self.report)(state);
        }
    }
}

/// The report before the first probe has run: what is not probed passes, what has passed stands.
fn first_report(probes: &Probes, begun: &ProbeReport) -> ProbeReport {
    let started = probes.startup.is_none() || begun.started == Some(true);
    let live = probes.liveness.is_none() || begun.live == Some(true);
    ProbeReport {
        started: started.then_some(true),
        ready: started && (probes.readiness.is_none() || begun.ready),
        live: live.then_some(true),
        message: String::new(),
    }
}

async fn watch(target: Target, probes: Probes, begun: ProbeReport, report: Box<dyn Fn(ProbeReport) + Send + Sync>) {
    let first = first_report(&probes, &begun);
    report(first.clone());
    let (ready, live) = (first.ready.then_some(true), first.live);
    let reporter = Arc::new(Reporter { state: Mutex::new(first.clone()), report });
    if let Some(startup) = probes.startup.as_ref().filter(|_| first.started != Some(true)) {
        let started = follow(&target, startup, None, true, true, |verdict, message| {
            reporter.update(|state| {
                state.started = verdict;
                state.message = message;
                if verdict == Some(true) {
                    state.ready = probes.readiness.is_none();
                }
            });
        })
        .await;
        if started != Some(true) {
            return;
        }
    }
    let readiness = async {
        if let Some(probe) = &probes.readiness {
            follow(&target, probe, ready, ready.is_none(), false, |verdict, message| {
                reporter.update(|state| {
                    state.ready = verdict == Some(true);
                    state.message = message;
                });
            })
            .await;
        }
    };
    let liveness = async {
        if let Some(probe) = &probes.liveness {
            follow(&target, probe, live, false, false, |verdict, message| {
                reporter.update(|state| {
                    state.live = verdict;
                    // Readiness usually says the same, and says it first.
                    if verdict == Some(false) || !message.is_empty() {
                        state.message = message;
                    }
                });
            })
            .await;
        }
    };
    futures_util::future::join(readiness, liveness).await;
}

/// Probes for ever, or until the first verdict. `verdict` is the one so far.
async fn follow(
    target: &Target,
    probe: &ProbeSpec,
    verdict: Option<bool>,
    eager: bool,
    once: bool,
    mut tell: impl FnMut(Option<bool>, String),
) -> Option<bool> {
    tokio::time::sleep(Duration::from_millis(probe.initial_delay_ms)).await;
    let mut threshold = Threshold { verdict, ..Threshold::new(probe.success_threshold, probe.failure_threshold) };
    let mut pace = Pace::new(Duration::from_millis(probe.period_ms), eager);
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let result = target.ask(probe).await;
        let (counts, wait) = pace.after(result.is_ok(), begun.elapsed());
        let changed = counts && threshold.record(result.is_ok());
        match result {
            Ok(()) if changed => tell(threshold.verdict, String::new()),
            Ok(()) => {}
            Err(message) => tell(threshold.verdict, message),
        }
        if once && threshold.verdict.is_some() {
            return threshold.verdict;
        }
        tokio::time::sleep_until(asked + wait).await;
    }
}

impl Target {
    async fn ask(&self, probe: &ProbeSpec) -> Result<(), String> {
        let limit = Duration::from_millis(probe.timeout_ms.max(1));
        let work = async {
            match &probe.action {
                ProbeAction::Tcp { port } => connect(self.ip, *port).await.map(|_| ()),
                ProbeAction::Http { port, path, host, headers, expect_status } => {
                    http_get(self.ip, *port, path, host.as_deref(), headers, expect_status).await
                }
                ProbeAction::Grpc { port, service } => grpc_check(self.ip, *port, service).await,
                ProbeAction::Exec { command } => {
                    let seconds = probe.timeout_ms.div_ceil(1000);
                    match self.cri.exec_sync(&self.id, command.clone(), seconds).await {
                        Ok(answer) if answer.exit_code == 0 => Ok(()),
                        Ok(answer) => Err(format!("exec: exit code {}", answer.exit_code)),
                        Err(error) => Err(format!("exec: {error}")),
                    }
                }
            }
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} ms", probe.timeout_ms)),
        }
    }
}

async fn connect(ip: IpAddr, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect(SocketAddr::new(ip, port)).await.map_err(|error| format!("port {port}: {error}"))
}

async fn http_get(
    ip: IpAddr,
    port: u16,
    path: &str,
    host: Option<&str>,
    headers: &BTreeMap<String, String>,
    expect_status: &[u16],
) -> Result<(), String> {
    let address = SocketAddr::new(ip, port);
    let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    let mut request = http::Request::get(path.as_str())
        .header(http::header::HOST, host.map_or_else(|| address.to_string(), ToString::to_string))
        .header(http::header::USER_AGENT, "sampan-probe")
        .header(http::header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| format!("http request: {error}"))?;
    let stream = connect(ip, port).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("http: {error}"))?;
    // Dropped with this future, so a probe that is given up leaves no connection.
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| format!("http: {error}"))?;
        Ok::<_, String>(answer.status())
    };
    tokio::pin!(connection);
    tokio::pin!(answer);
    let status = tokio::select! {
        biased;
        status = &mut answer => status?,
        _ = &mut connection => answer.await?,
    };
    let fine = if expect_status.is_empty() {
        (200..400).contains(&status.as_u16())
    } else {
        expect_status.contains(&status.as_u16())
    };
    if fine { Ok(()) } else { Err(format!("http {path}: status {}", status.as_u16())) }
}

async fn grpc_check(ip: IpAddr, port: u16, service: &str) -> Result<(), String> {
    use crate::health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", SocketAddr::new(ip, port)))
        .map_err(|error| format!("grpc: {error}"))?;
    let channel = endpoint.connect().await.map_err(|error| format!("grpc port {port}: {error}"))?;
    let query = HealthCheckRequest { service: service.to_string() };
    let answer =
        HealthClient::new(channel).check(query).await.map_err(|status| format!("grpc: {}", status.message()))?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(format!("grpc: {}", other.as_str_name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_need_results_in_a_row() {
        let mut state = Threshold::new(2, 3);
        let mut seen = Vec::new();
        for ok in [true, false, true, true, false, false, true, false, false, false, true, true] {
            state.record(ok);
            seen.push(state.verdict);
        }
        let (none, good, bad) = (None, Some(true), Some(false));
        assert_eq!(seen, [none, none, none, good, good, good, good, good, good, bad, bad, good]);
    }

    #[test]
    fn a_threshold_of_zero_is_one() {
        let mut state = Threshold::new(0, 0);
        assert!(state.record(false));
        assert!(state.record(true));
        assert!(!state.record(true));
    }

    #[test]
    fn early_tries_double_and_count_once_per_period() {
        let mut pace = Pace::new(Duration::from_secs(1), true);
        let (mut now, mut counted, mut waits) = (Duration::ZERO, Vec::new(), Vec::new());
        while now < Duration::from_secs(5) {
            let (counts, wait) = pace.after(false, now);
            if counts {
                counted.push(now);
            }
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits[..6], [50, 100, 200, 400, 800, 1000]);
        assert_eq!(counted.len(), 4, "{counted:?}");
        assert_eq!(pace.after(true, now), (true, Duration::from_secs(1)));
        assert_eq!(pace.after(false, now), (true, Duration::from_secs(1)));
    }

    #[test]
    fn liveness_does_not_hurry() {
        assert_eq!(
            Pace::new(Duration::from_secs(3), false).after(false, Duration::ZERO),
            (true, Duration::from_secs(3))
        );
    }

    #[tokio::test]
    async fn http_and_tcp_ask_a_real_server() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    let count = stream.read(&mut buffer).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    let status = if text.starts_with("GET /ok ") { "204 No Content" } else { "503 Busy" };
                    let _ =
                        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
                });
            }
        });
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        let none = BTreeMap::new();
        assert_eq!(http_get(ip, port, "/ok", None, &none, &[]).await, Ok(()));
        assert_eq!(http_get(ip, port, "no", None, &none, &[503]).await, Ok(()));
        assert_eq!(http_get(ip, port, "/no", None, &none, &[]).await, Err("http /no: status 503".into()));
        assert!(connect(ip, port).await.is_ok());
        assert!(connect(ip, 1).await.is_err());
    }

    struct Health;

    #[tonic::async_trait]
    impl crate::health::health_server::Health for Health {
        async fn check(
            &self,
            request: tonic::Request<crate::health::HealthCheckRequest>,
        ) -> Result<tonic::Response<crate::health::HealthCheckResponse>, tonic::Status> {
            match request.get_ref().service.as_str() {
                "" => Ok(tonic::Response::new(crate::health::HealthCheckResponse { status: 1 })),
                "asleep" => Ok(tonic::Response::new(crate::health::HealthCheckResponse { status: 2 })),
                _ => Err(tonic::Status::not_found("no such service")),
            }
        }
    }

    #[tokio::test]
    async fn grpc_health_is_understood() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(crate::health::health_server::HealthServer::new(Health))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        tokio::spawn(server);
        let ask = |service: &'static str| grpc_check(address.ip(), address.port(), service);
        assert_eq!(ask("").await, Ok(()));
        assert_eq!(ask("asleep").await, Err("grpc: NOT_SERVING".into()));
        assert_eq!(ask("other").await, Err("grpc: no such service".into()));
        assert!(grpc_check(address.ip(), 1, "").await.is_err());
    }
}
