//! The process: handshake with the host, socket, connections, signals, end.

use crate::context::{End, Lifecycle, OpenConnection};
use crate::log::{self, Secrets};
use crate::proto::MESSAGE_LIMIT;
use crate::proto::tfplugin6::provider_server::ProviderServer;
use crate::provider::Provider;
use crate::service::{Host, Service};
use crate::tls::{AutoMtls, auto_mtls};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::ServerConfig;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Variable by which a host shows that it is one.
pub const COOKIE_KEY: &str = "TF_PLUGIN_MAGIC_COOKIE";
/// Its value. It protects a person from starting a plugin by hand; it is no secret.
pub const COOKIE_VALUE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";
/// Longest path of a unix socket without the closing zero.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const TLS_HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// The host waits two seconds after its shutdown call.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1500);
const SIGNAL_LIMIT: Duration = Duration::from_mins(1);
/// Nobody is left to take what a call answers; this is for what it has to put away.
const HOST_GONE_LIMIT: Duration = Duration::from_secs(5);
/// The host gives up a plugin that it has not reached within a minute.
const FIRST_CONNECTION_LIMIT: Duration = Duration::from_mins(2);
#[cfg(unix)]
const PARENT_INTERVAL: Duration = Duration::from_millis(500);
const RECONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What the surroundings ask of the process, read once from environment and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    mode: Mode,
    socket_dir: PathBuf,
    socket_group: Option<String>,
    ports: (u16, u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    /// Started by Terraform.
    Host { client_pem: Option<String>, seventh_field: bool },
    /// Started by a person with `-debug`.
    Debug,
}

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("{0}")]
    Tls(#[from] crate::tls::TlsError),
    #[error("no socket could be opened: {0}")]
    Listen(#[source] io::Error),
    #[error("the group {0:?} of PLUGIN_UNIX_SOCKET_GROUP does not exist")]
    Group(String),
    #[error(
        "the path of the unix socket is too long ({0} bytes). Debug mode does not listen on TCP, because it has no \
         TLS; set TMPDIR or PLUGIN_UNIX_SOCKET_DIR to a shorter directory"
    )]
    DebugPathTooLong(usize),
    #[error("the runtime could not be started: {0}")]
    Runtime(#[source] io::Error),
    #[error("the server failed: {0}")]
    Serve(#[source] tonic::transport::Error),
}

/// Decides what to do; `None` when neither a host nor `-debug` started the process.
fn settings(arguments: impl IntoIterator<Item = OsString>, var: impl Fn(&str) -> Option<String>) -> Option<Settings> {
    let debug = arguments.into_iter().skip(1).any(|a| a == "-debug" || a == "--debug");
    let mode = if debug {
        Mode::Debug
    } else if var(COOKIE_KEY).as_deref() == Some(COOKIE_VALUE) {
        let set = |key| var(key).filter(|value: &String| !value.is_empty());
        Mode::Host { client_pem: set("PLUGIN_CLIENT_CERT"), seventh_field: set("PLUGIN_MULTIPLEX_GRPC").is_some() }
    } else {
        return None;
    };
    let set = |key| var(key).filter(|value: &String| !value.is_empty());
    let port = |key| set(key).and_then(|text| text.parse().ok());
    Some(Settings {
        mode,
        socket_dir: set("PLUGIN_UNIX_SOCKET_DIR").map_or_else(std::env::temp_dir, PathBuf::from),
        socket_group: set("PLUGIN_UNIX_SOCKET_GROUP"),
        ports: match (port("PLUGIN_MIN_PORT"), port("PLUGIN_MAX_PORT")) {
            (Some(low), Some(high)) if low <= high => (low, high),
            _ => (0, 0),
        },
    })
}

/// Serves the provider until the host says that it may end; a whole `main` of a provider.
///
/// `address` is the source address, such as `registry.terraform.io/acme/my`; its last part names the variable
/// `TF_LOG_PROVIDER_MY` and the address is the key for `-debug`. Without a host the exit code is 1 and a text on
/// stderr says what the program is.
pub fn serve<P: Provider>(provider: P, address: &str) -> ExitCode {
    let Some(settings) = settings(std::env::args_os(), |key| std::env::var(key).ok()) else {
        let _ = writeln!(
            io::stderr(),
            "This program is a Terraform provider ({address}) and not meant to be run by itself.\n\
             Terraform starts it. To attach a debugger, run it with -debug and give Terraform what it prints."
        );
        return ExitCode::FAILURE;
    };
    let secrets = Secrets::default();
    log::init(address.rsplit('/').next().unwrap_or(address), secrets.clone());
    log_panics();
    match run(provider, address, &settings, secrets) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            let _ = writeln!(io::stderr(), "{address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A panic goes to the log in the host's form, never to stdout, and never into a diagnostic.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("panic without a text");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(target: "panic", place, %backtrace, "{text}");
    }));
}

fn run<P: Provider>(provider: P, address: &str, settings: &Settings, secrets: Secrets) -> Result<(), ServeError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let entered = runtime.enter();
    let lifecycle = Lifecycle::new();
    // Before the handshake line: from then on an interrupt in the terminal reaches this process too.
    signals(&lifecycle, settings.mode == Mode::Debug).map_err(ServeError::Runtime)?;
    let tls = match &settings.mode {
        Mode::Host { client_pem: Some(pem), .. } => Some(auto_mtls(pem)?),
        _ => None,
    };
    let listener = Listener::open(settings)?;
    // Before the host can have read the line and died of it.
    let parent = parent_id();
    announce(&listener, address, settings, tls.as_ref()).map_err(ServeError::Listen)?;
    drop(entered);

    let service = Service::new(provider, address, lifecycle.clone(), secrets);
    let config = tls.map(|tls| tls.config);
    let host = (settings.mode != Mode::Debug).then_some(parent);
    let served = runtime.block_on(serve_on(service, listener, config, lifecycle, host));
    // Tasks that are left have had their time.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

/// The handshake line, or for a person the variable to set.
fn announce(listener: &Listener, address: &str, settings: &Settings, tls: Option<&AutoMtls>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (network, place) = (listener.network, &listener.place);
    match &settings.mode {
        Mode::Host { seventh_field, .. } => {
            let certificate = tls.map(|tls| STANDARD_NO_PAD.encode(&tls.certificate)).unwrap_or_default();
            let more = if *seventh_field { "|false" } else { "" };
            writeln!(out, "1|6|{network}|{place}|grpc|{certificate}{more}")?;
        }
        Mode::Debug => {
            let value = serde_json::json!({ address: {
                "Protocol": "grpc",
                "ProtocolVersion": 6,
                "Pid": std::process::id(),
                "Test": true,
                "Addr": { "Network": network, "String": place },
            }});
            writeln!(
                out,
                "Provider started. To attach Terraform, set this variable:\n\n\tTF_REATTACH_PROVIDERS='{value}'\n"
            )?;
        }
    }
    out.flush()
}

async fn serve_on<P: Provider>(
    service: Service<P>,
    listener: Listener,
    tls: Option<Arc<ServerConfig>>,
    lifecycle: Lifecycle,
    host: Option<u32>,
) -> Result<(), ServeError> {
    let (sender, receiver) = mpsc::channel(16);
    let Listener { socket, dir, .. } = listener;
    let accepting = tokio::spawn(accept(socket, tls.map(TlsAcceptor::from), sender, lifecycle.clone()));
    let watching = host.map(|host| tokio::spawn(watch_host_process(lifecycle.clone(), host)));
    let router = router(service, &lifecycle);
    let until = lifecycle.clone();
    let server = tokio::spawn(router.serve_with_incoming_shutdown(ReceiverStream::new(receiver), async move {
        until.ended().await;
    }));
    let cause = lifecycle.ended().await;
    accepting.abort();
    if let Some(watching) = watching {
        watching.abort();
    }
    // No new connection: the socket goes at once, the calls that run go on.
    drop(dir);
    let limit = match cause {
        End::Shutdown => SHUTDOWN_LIMIT,
        End::HostGone => HOST_GONE_LIMIT,
        End::Signal => SIGNAL_LIMIT,
    };
    let _ = tokio::time::timeout(limit, lifecycle.idle()).await;
    match tokio::time::timeout(Duration::from_millis(500), server).await {
        Ok(Ok(Err(error))) => Err(ServeError::Serve(error)),
        _ => Ok(()),
    }
}

/// All services on one router, with the message limits of the protocol.
pub(crate) fn router<P: Provider>(service: Service<P>, lifecycle: &Lifecycle) -> tonic::transport::server::Router {
    let host = Host::new(lifecycle.clone());
    let provider =
        ProviderServer::new(service).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT);
    tonic::transport::Server::builder()
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .add_service(provider)
        .add_service(crate::proto::goplugin::grpc_controller_server::GrpcControllerServer::new(host.clone()))
        .add_service(crate::proto::goplugin::grpc_broker_server::GrpcBrokerServer::new(host.clone()))
        .add_service(crate::proto::goplugin::grpc_stdio_server::GrpcStdioServer::new(host.clone()))
        .add_service(crate::proto::health::health_server::HealthServer::new(host))
}

/// Each TLS handshake is a task of its own, so that a silent client keeps no one waiting.
async fn accept(
    socket: Socket,
    tls: Option<TlsAcceptor>,
    sender: mpsc::Sender<io::Result<Connection>>,
    lifecycle: Lifecycle,
) {
    loop {
        let io = match socket.accept().await {
            Ok(io) => io,
            Err(error) => {
                // Out of descriptors, most likely: another try at once would spin.
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, sender, lifecycle) = (tls.clone(), sender.clone(), lifecycle.clone());
        tokio::spawn(async move {
            let io: Box<dyn Io> = match tls {
                None => io,
                Some(tls) => match tokio::time::timeout(TLS_HANDSHAKE_LIMIT, tls.accept(io)).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(error)) => return tracing::warn!("a client was refused: {error}"),
                    Err(_) => return tracing::warn!("a client was refused: it did not finish the TLS handshake"),
                },
            };
            // The server is gone when this fails, and the connection with it.
            let _ = sender.send(Ok(Connection { io, _open: lifecycle.connection() })).await;
        });
    }
}

/// Ends the process when the host died without saying so: its connections closed, or the parent is another one.
/// The parent is looked at too because a host can die before its first connection.
async fn watch_host_process(lifecycle: Lifecycle, host: u32) {
    tokio::select! {
        () = watch_connections(&lifecycle) => {}
        () = watch_parent(host) => {}
    }
    lifecycle.end(End::HostGone);
}

#[cfg(unix)]
fn parent_id() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(not(unix))]
fn parent_id() -> u32 {
    0
}

#[cfg(unix)]
async fn watch_parent(parent: u32) {
    while parent_id() == parent {
        tokio::time::sleep(PARENT_INTERVAL).await;
    }
}

#[cfg(not(unix))]
async fn watch_parent(_: u32) {
    std::future::pending().await
}

/// Returns when no connection came, or when the last one closed and none came back.
async fn watch_connections(lifecycle: &Lifecycle) {
    let mut connections = lifecycle.connections();
    let first = tokio::time::timeout(FIRST_CONNECTION_LIMIT, connections.wait_for(|c| c.ever > 0)).await.is_ok();
    if !first {
        return;
    }
    while connections.wait_for(|c| c.open == 0).await.is_ok() {
        if tokio::time::timeout(RECONNECT_LIMIT, connections.wait_for(|c| c.open > 0)).await.is_err() {
            return;
        }
    }
}

/// SIGTERM ends the process. SIGINT does so only for a person: run by Terraform, it is Terraform that decides.
#[cfg(unix)]
fn signals(lifecycle: &Lifecycle, interrupt_ends: bool) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let lifecycle = lifecycle.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => lifecycle.end(End::Signal),
                _ = interrupt.recv() => if interrupt_ends { lifecycle.end(End::Signal) },
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn signals(lifecycle: &Lifecycle, interrupt_ends: bool) -> io::Result<()> {
    let lifecycle = lifecycle.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if interrupt_ends {
                lifecycle.end(End::Signal);
            }
        }
    });
    Ok(())
}

/// A bound socket, its place in the words of the handshake line, and the directory that goes with it.
struct Listener {
    socket: Socket,
    dir: Option<SocketDir>,
    network: &'static str,
    place: String,
}

enum Socket {
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    Tcp(tokio::net::TcpListener),
}

impl Listener {
    #[cfg(unix)]
    fn open(settings: &Settings) -> Result<Self, ServeError> {
        let dir = SocketDir::create(&settings.socket_dir).map_err(ServeError::Listen)?;
        let path = dir.0.join("plugin.sock");
        let length = path.as_os_str().len();
        let Some(place) = path.to_str().filter(|_| length <= SOCKET_PATH_LIMIT) else {
            if settings.mode == Mode::Debug {
                return Err(ServeError::DebugPathTooLong(length));
            }
            return Self::open_tcp(settings.ports);
        };
        let socket = tokio::net::UnixListener::bind(&path).map_err(ServeError::Listen)?;
        if let Some(group) = &settings.socket_group {
            share_with_group(&dir.0, &path, group)?;
        }
        Ok(Self { socket: Socket::Unix(socket), network: "unix", place: place.to_owned(), dir: Some(dir) })
    }

    #[cfg(not(unix))]
    fn open(settings: &Settings) -> Result<Self, ServeError> {
        Self::open_tcp(settings.ports)
    }

    fn open_tcp((low, high): (u16, u16)) -> Result<Self, ServeError> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for port in low..=high {
            match std::net::TcpListener::bind(("127.0.0.1", port)) {
                Ok(listener) => {
                    let place = listener.local_addr().map_err(ServeError::Listen)?.to_string();
                    listener.set_nonblocking(true).map_err(ServeError::Listen)?;
                    let socket = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Listen)?;
                    return Ok(Self { socket: Socket::Tcp(socket), network: "tcp", place, dir: None });
                }
                Err(error) => last = error,
            }
        }
        Err(ServeError::Listen(last))
    }
}

impl Socket {
    async fn accept(&self) -> io::Result<Box<dyn Io>> {
        match self {
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// A directory that only its owner may enter; removed with what it holds.
#[derive(Debug)]
struct SocketDir(PathBuf);

impl SocketDir {
    #[cfg(unix)]
    fn create(parent: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for attempt in 0..64_u32 {
            // The name need not be secret: creation fails when something is there, and nobody else may enter.
            let path = parent.join(format!("tfp{:x}-{attempt:x}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.join("plugin.sock"));
        // The host may have removed it already.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Lets a group pass through the directory and write to the socket, as the host asked.
#[cfg(unix)]
fn share_with_group(dir: &Path, socket: &Path, group: &str) -> Result<(), ServeError> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let gid = group_id(group).ok_or_else(|| ServeError::Group(group.to_owned()))?;
    let set = |path: &Path, mode| {
        chown(path, None, Some(gid))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    set(socket, 0o660).and_then(|()| set(dir, 0o710)).map_err(ServeError::Listen)
}

/// A number, or a name of the local group file.
#[cfg(unix)]
fn group_id(group: &str) -> Option<u32> {
    if let Ok(id) = group.parse() {
        return Some(id);
    }
    let text = std::fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Any byte stream of a client.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A client's stream, plain or TLS, counted while it is open.
pub(crate) struct Connection {
    io: Box<dyn Io>,
    _open: OpenConnection,
}

impl Connection {
    #[cfg(feature = "testkit")]
    pub(crate) fn new(io: Box<dyn Io>, lifecycle: &Lifecycle) -> Self {
        Self { io, _open: lifecycle.connection() }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn given(arguments: &[&str], vars: &[(&str, &str)]) -> Option<Settings> {
        let vars: BTreeMap<String, String> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        settings(arguments.iter().map(OsString::from), |key| vars.get(key).cloned())
    }

    #[test]
    fn without_the_cookie_only_debug_starts() {
        assert_eq!(given(&["me"], &[]), None);
        assert_eq!(given(&["me"], &[(COOKIE_KEY, "other")]), None);
        assert_eq!(given(&["me", "-debug"], &[]).unwrap().mode, Mode::Debug);
        assert_eq!(given(&["me", "--debug"], &[]).unwrap().mode, Mode::Debug);
    }

    #[test]
    fn the_host_decides_on_directory_group_ports_and_certificate() {
        let settings = given(
            &["me"],
            &[
                (COOKIE_KEY, COOKIE_VALUE),
                ("PLUGIN_CLIENT_CERT", "pem"),
                ("PLUGIN_UNIX_SOCKET_DIR", "/run/x"),
                ("PLUGIN_UNIX_SOCKET_GROUP", "staff"),
                ("PLUGIN_MIN_PORT", "10000"),
                ("PLUGIN_MAX_PORT", "10010"),
                ("PLUGIN_MULTIPLEX_GRPC", "true"),
            ],
        )
        .unwrap();
        assert_eq!(settings.mode, Mode::Host { client_pem: Some("pem".to_owned()), seventh_field: true });
        assert_eq!(settings.socket_dir, PathBuf::from("/run/x"));
        assert_eq!(settings.socket_group.as_deref(), Some("staff"));
        assert_eq!(settings.ports, (10000, 10010));
    }
}
