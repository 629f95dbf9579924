//! Names inside sandboxes: `<app>.<ns>.internal` is the bridge's address, where the gateway listens; every other name
//! is asked of the host's name servers, byte for byte.
//!
//! A sandbox never learns another sandbox's address here, and nobody outside the bridge's subnet gets an answer.

mod answer;
mod limit;
mod relay;
mod serve;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use crate::Node;
use crate::identity::Subnet;
use relay::Upstreams;
pub use relay::name_servers;

/// Whether a namespace (first argument) has an application (second). Both come lower-case, and as they were asked:
/// they need not be names that an application can have.
pub type KnownApplication = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

const PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why names are not answered. Sandboxes then keep the host's name servers.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("the container runtime is not ours, so there is no bridge to listen on")]
    NoBridge,
    #[error(
        "{address} cannot be listened on: {detail}; if a name server of this host listens on all addresses, bind it to \
         its own ones, then restart sampan"
    )]
    Bind { address: SocketAddr, detail: String },
    #[error("name server `{text}` is not an IP address: configure one that is")]
    NameServer { text: String },
}

/// What a responder works with.
struct Settings {
    gateway: Ipv4Addr,
    /// Who may ask.
    subnet: Subnet,
    known: KnownApplication,
    upstreams: Upstreams,
}

/// A running responder on UDP and TCP. Ends when dropped.
pub(crate) struct Responder {
    address: SocketAddr,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Responder {
    /// Listens on `address`; with port 0 on a free one.
    async fn start(address: SocketAddr, settings: Settings) -> Result<Self, DnsError> {
        let failed = |error: std::io::Error| DnsError::Bind { address, detail: error.to_string() };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        let udp = UdpSocket::bind(address).await.map_err(failed)?;
        let shared = Arc::new(serve::Shared::new(settings));
        let tasks = vec![tokio::spawn(serve::udp(udp, shared.clone())), tokio::spawn(serve::tcp(tcp, shared))];
        Ok(Self { address, tasks: Mutex::new(tasks) })
    }

    /// Returns once both sockets are closed, so that the next start finds the port free.
    pub(crate) async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Node {
    /// Answers names on port 53 of the bridge until the node is shut down. Sandboxes made from now on ask here, those
    /// of an earlier run that asked here do so again.
    ///
    /// Names outside of `.internal` go to the configured name servers, or else to those of the host's `resolv.conf`.
    /// It is read again for each of them, since a host may change its network.
    ///
    /// # Errors
    /// [`DnsError`]; nothing is changed.
    pub async fn dns_start(&self, known: KnownApplication) -> Result<(), DnsError> {
        let subnet = self.inner.subnet.ok_or(DnsError::NoBridge)?;
        self.dns_serve(SocketAddr::from((subnet.gateway(), PORT)), subnet, known).await
    }

    /// The same with any runtime, on an address of this host that lies in `subnet`. Public for tests only.
    ///
    /// # Errors
    /// [`DnsError`]; nothing is changed.
    #[doc(hidden)]
    pub async fn dns_start_at(
        &self,
        address: SocketAddr,
        subnet: &str,
        known: KnownApplication,
    ) -> Result<(), DnsError> {
        self.dns_serve(address, Subnet::parse(subnet).ok_or(DnsError::NoBridge)?, known).await
    }

    async fn dns_serve(&self, address: SocketAddr, subnet: Subnet, known: KnownApplication) -> Result<(), DnsError> {
        let gateway = subnet.gateway();
        let server = |text: &String| match text.parse::<IpAddr>() {
            Ok(ip) => Ok(SocketAddr::new(ip, PORT)),
            Err(_) => Err(DnsError::NameServer { text: text.clone() }),
        };
        let fixed = self.inner.config.dns_servers.iter().map(server).collect::<Result<Vec<_>, _>>()?;
        let upstreams =
            if fixed.is_empty() { Upstreams::File(PathBuf::from(RESOLV_CONF)) } else { Upstreams::Fixed(fixed) };
        let responder = Responder::start(address, Settings { gateway, subnet, known, upstreams }).await?;
        // A second start cannot come here: its address is in use.
        let _ = self.inner.dns.set(responder);
        Ok(())
    }
}

impl crate::Inner {
    /// Name servers for a sandbox that is made now.
    pub(crate) fn name_servers(&self) -> Vec<String> {
        match self.dns.get() {
            Some(responder) => vec![responder.address.ip().to_string()],
            None => self.dns_servers.clone(),
        }
    }
}
