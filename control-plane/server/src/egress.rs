//! The guard of everything that this server calls: a host is looked up once, every address is checked, and requests go
//! to the addresses that were checked. A second answer of DNS could be another one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

/// For one answer of DNS, and for one connection.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom a server may speak to beside public hosts.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// `sampan dev`: hosts on loopback.
    pub loopback: bool,
    /// `host[:port]` that the operator named, wherever they are.
    pub named: Vec<String>,
}

type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// Says who may be spoken to. Clone is cheap.
#[derive(Clone)]
pub struct Guard {
    allowed: Arc<Allowed>,
    lookup: Arc<Lookup>,
}

/// A host that passed.
#[derive(Debug)]
pub struct Passed {
    /// It is allowed because somebody said so, not because it is public.
    pub trusted: bool,
    name: String,
    addresses: Vec<SocketAddr>,
}

/// Why a host did not pass.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has no address now; the text says why.
    Unknown(String),
    /// It is on this host, in its network, or nowhere.
    Inside,
}

impl Guard {
    pub fn new(allowed: Allowed) -> Self {
        Self::with_lookup(allowed, |name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|a| a.ip()).collect()) })
        })
    }

    /// With another DNS: tests have their own.
    pub fn with_lookup(
        allowed: Allowed,
        lookup: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self { allowed: Arc::new(allowed), lookup: Arc::new(lookup) }
    }

    /// Looks up `host[:port]` once.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn check(&self, host: &str) -> Result<Passed, Refused> {
        let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
        let name = name.trim_matches(['[', ']']);
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, (self.lookup)(name.to_owned())).await.map_err(|_| {
            Refused::Unknown(format!("has no address: DNS gave no answer within {} s", LOOKUP_TIMEOUT.as_secs()))
        })?;
        let found = found.map_err(|e| Refused::Unknown(format!("has no address: {e}")))?;
        let trusted = is_trusted(&self.allowed, host, &found)?;
        let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
        Ok(Passed { trusted, name: name.to_owned(), addresses })
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guard({:?})", self.allowed)
    }
}

impl Passed {
    /// A client that connects to the addresses that were checked, follows no redirect, and ends a request after
    /// `timeout`.
    pub fn client(&self, timeout: Duration) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .connect_timeout(LOOKUP_TIMEOUT)
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .resolve_to_addrs(&self.name, &self.addresses)
    }
}

/// The innermost cause: the others repeat the address, and with it what a user may have written into it.
pub fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, error) { "the request failed".to_owned() } else { cause.to_string() }
}

/// Whether a host with these addresses is allowed because somebody said so, or the refusal to speak to it.
fn is_trusted(allowed: &Allowed, host: &str, found: &[IpAddr]) -> Result<bool, Refused> {
    if allowed.named.iter().any(|i| i == host) {
        return Ok(true);
    }
    if found.is_empty() {
        return Err(Refused::Unknown("has no address".into()));
    }
    if allowed.loopback && found.iter().all(|ip| ip.to_canonical().is_loopback()) {
        return Ok(true);
    }
    if found.iter().any(is_inside) {
        return Err(Refused::Inside);
    }
    Ok(false)
}

/// Addresses that lead to this host, its network or nowhere, also where IPv6 carries an IPv4 address.
fn is_inside(ip: &IpAddr) -> bool {
    let v6 = match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            return v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b));
        }
        IpAddr::V6(v6) => v6,
    };
    let s = v6.segments();
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_inside(&IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match s {
        // Unspecified, loopback and IPv4-compatible; the translation prefixes; 6to4.
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => carried(high, low),
        [0x2002, high, low, ..] => carried(high, low),
        [first, ..] => v6.is_multicast() || first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_hosts_pass_and_one_inside_address_among_them_is_enough_to_refuse() {
        for ip in ["192.0.2.1", "100.128.0.1", "2001:db8::1", "64:ff9b::c000:201", "::ffff:192.0.2.1"] {
            assert_eq!(is_trusted(&Allowed::default(), "h.example", &[ip.parse().unwrap()]), Ok(false), "{ip}");
        }
        let mixed = ["192.0.2.1".parse().unwrap(), "10.0.0.1".parse().unwrap()];
        assert_eq!(is_trusted(&Allowed::default(), "h.example", &mixed), Err(Refused::Inside));
        assert!(matches!(is_trusted(&Allowed::default(), "h.example", &[]), Err(Refused::Unknown(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn dns_that_does_not_answer_is_not_waited_for() {
        let silent = Guard::with_lookup(Allowed::default(), |_| Box::pin(std::future::pending()));
        let Err(Refused::Unknown(why)) = silent.check("h.example").await else { panic!("it passed") };
        assert!(why.contains("DNS gave no answer"), "{why}");
    }
}
