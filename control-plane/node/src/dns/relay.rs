//! Asks the name servers of the host, as libc would: one after the other, as they are written.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::answer;

/// For one server.
const DEADLINE: Duration = Duration::from_secs(2);
/// As many as libc uses of a `resolv.conf`.
const MOST_SERVERS: usize = 3;

#[derive(Debug)]
pub enum Upstreams {
    Fixed(Vec<SocketAddr>),
    /// A `resolv.conf`.
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Addresses of a `resolv.conf`, as they are written. Lines that are not understood are left out.
pub fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())?.and_then(|text| text.parse().ok())
    };
    resolv_conf.lines().filter_map(server).collect()
}

impl Upstreams {
    async fn list(&self) -> Vec<SocketAddr> {
        match self {
            Self::Fixed(servers) => servers.clone(),
            Self::File(path) => {
                let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
                name_servers(&text).into_iter().map(|ip| SocketAddr::new(ip, super::PORT)).collect()
            }
        }
    }

    /// The first good reply to a query, under the query's own id; else the first refusal; else SERVFAIL. `own` is where
    /// we listen ourselves: never asked. `None` only for a packet that is no query.
    pub async fn ask(&self, query: &[u8], own: IpAddr, transport: Transport) -> Option<Vec<u8>> {
        let mut refusal = None;
        for server in self.list().await.into_iter().filter(|server| server.ip() != own).take(MOST_SERVERS) {
            match tokio::time::timeout(DEADLINE, ask_one(server, query, transport)).await {
                Ok(Ok(reply)) if is_refusal(&reply) => refusal = refusal.or(Some(reply)),
                Ok(Ok(reply)) => return Some(reply),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a name server cannot be asked"),
                Err(_) => tracing::debug!(%server, "a name server does not answer"),
            }
        }
        refusal.or_else(|| answer::failure(query))
    }
}

/// Another server may do better.
fn is_refusal(reply: &[u8]) -> bool {
    let code = reply.get(3).map_or(0, |byte| byte & 0xf);
    [ResponseCode::ServFail, ResponseCode::NotImp, ResponseCode::Refused].iter().any(|bad| bad.low() == code)
}

/// Never ends by itself when nothing comes: the caller has the deadline.
async fn ask_one(server: SocketAddr, query: &[u8], transport: Transport) -> Result<Vec<u8>, Error> {
    // A guest does not choose the id that our own question goes out with; the library's are random.
    let id = Message::query().metadata.id.to_be_bytes();
    let sent = with_id(query, id);
    let mut reply = match transport {
        Transport::Udp => over_udp(server, &sent).await?,
        Transport::Tcp => over_tcp(server, &sent).await?,
    };
    if let (Some(to), Some(from)) = (reply.get_mut(..2), query.get(..2)) {
        to.copy_from_slice(from);
    }
    Ok(reply)
}

fn with_id(packet: &[u8], id: [u8; 2]) -> Vec<u8> {
    id.into_iter().chain(packet.iter().copied().skip(2)).collect()
}

async fn over_udp(server: SocketAddr, sent: &[u8]) -> Result<Vec<u8>, Error> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From here on the kernel takes packets of this server only.
    socket.connect(server).await?;
    socket.send(sent).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let size = socket.recv(&mut buffer).await?;
        let reply = buffer.get(..size).unwrap_or_default();
        if is_reply(sent, reply) {
            return Ok(reply.to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, sent: &[u8]) -> Result<Vec<u8>, Error> {
    let mut stream = TcpStream::connect(server).await?;
    write_message(&mut stream, sent).await?;
    let reply = read_message(&mut stream).await?;
    if is_reply(sent, &reply) { Ok(reply) } else { Err(Error::new(ErrorKind::InvalidData, "not an answer to this")) }
}

/// Same id, same question, and an answer.
fn is_reply(sent: &[u8], reply: &[u8]) -> bool {
    let (Some((asked, question)), Some((header, echoed))) = (answer::question(sent), answer::question(reply)) else {
        return false;
    };
    header.id == asked.id && header.message_type == MessageType::Response && question == echoed
}

/// One message as TCP carries it: its length in two bytes, then the message.
pub async fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>, Error> {
    let size = stream.read_u16().await?;
    let mut message = vec![0; usize::from(size)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub async fn write_message(stream: &mut TcpStream, message: &[u8]) -> Result<(), Error> {
    let size = u16::try_from(message.len()).map_err(|_| Error::new(ErrorKind::InvalidInput, "message too long"))?;
    // At once: some read the length and then expect the rest in the same packet.
    let framed: Vec<u8> = size.to_be_bytes().into_iter().chain(message.iter().copied()).collect();
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_read_as_libc_does() {
        let text = "# x\nnameserver 127.0.0.53 # local\nsearch a.example\n\tnameserver\t192.0.2.1\nnameserver fe80::1%eth0\n\
                    nameserver 2001:db8::1\nnameservers 192.0.2.2\nnameserver\nnameserver junk\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53", "192.0.2.1", "2001:db8::1"]);
    }

    #[tokio::test]
    async fn a_host_that_changes_its_network_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let upstreams = Upstreams::File(path.clone());
        assert!(upstreams.list().await.is_empty());
        for server in ["192.0.2.1", "192.0.2.2"] {
            std::fs::write(&path, format!("nameserver {server}\n")).unwrap();
            assert_eq!(upstreams.list().await, [SocketAddr::new(server.parse().unwrap(), 53)]);
        }
    }
}
