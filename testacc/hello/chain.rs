//! `/chain`: one application asks the next, as services do, and passes the lane on.
//!
//! `NEXT` is the next one: `http://NAME_OR_ADDRESS[:PORT]`. Nothing is kept between requests: a connection and, for a
//! name, a question to the name server for each.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::{Answer, Hello, Request, env, json, json_answer};

/// For the name, the connection and the answer together.
const DEADLINE: Duration = Duration::from_secs(5);
/// A lost datagram is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What goes on with a request: the lane by itself, and the baggage that carries it too.
const PASSED_ON: [&str; 2] = ["x-sampan-lane", "baggage"];
const ANSWER_LIMIT: u64 = 1 << 20;

/// 502 when the next one cannot be asked, with the reason in `next.error`.
pub fn answer(hello: &Hello, request: &Request) -> Answer {
    let lane = request.headers.iter().find(|(name, _)| name == PASSED_ON[0]);
    let lane = lane.map_or_else(|| "null".to_owned(), |(_, value)| json(value));
    let (status, next) = match env("NEXT").map(|next| ask(&next, request)) {
        None => ("200 OK", "null".to_owned()),
        Some(Ok(body)) => ("200 OK", body),
        Some(Err(error)) => ("502 Bad Gateway", format!("{{\"error\":{}}}", json(&error))),
    };
    let (version, instance) = (json(&hello.version), json(&hello.instance));
    let body = format!("{{\"version\":{version},\"instance\":{instance},\"lane\":{lane},\"next\":{next}}}\n");
    json_answer(status, body)
}

/// The body of `NEXT/chain`, which has to be a JSON object with status 200.
fn ask(next: &str, request: &Request) -> Result<String, String> {
    let end = Instant::now() + DEADLINE;
    let host = next.strip_prefix("http://").unwrap_or(next).trim_end_matches('/');
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().map_err(|_| format!("NEXT={next}: {port} is no port"))?),
        None => (host, 80),
    };
    let address = resolve(name, end).map_err(|error| format!("{name}: {error}"))?;
    let address = SocketAddr::from((address, port));
    exchange(address, host, request, end).map_err(|error| format!("{host} at {address}: {error}"))
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn exchange(address: SocketAddr, host: &str, request: &Request, end: Instant) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, left(end)?)?;
    let mut head = format!("GET /chain HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in request.headers.iter().filter(|(name, _)| PASSED_ON.contains(&name.as_str())) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        stream.set_read_timeout(Some(left(end)?))?;
        let read = stream.read(&mut part)?;
        answer.extend_from_slice(&part[..read]);
        if read == 0 || answer.len() as u64 > ANSWER_LIMIT {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" && body.starts_with('{') {
        return Ok(body.trim_end().to_owned());
    }
    Err(io::Error::other(format!("status {status:?}: {}", body.trim_end())))
}

/// A static program has no resolver that works: this is the smallest one, an A query to the first name server.
fn resolve(name: &str, end: Instant) -> io::Result<IpAddr> {
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let settings = std::fs::read_to_string("/etc/resolv.conf")?;
    let server: IpAddr = settings
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .find_map(|server| server.trim().parse().ok())
        .ok_or_else(|| io::Error::other("/etc/resolv.conf has no nameserver"))?;
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect((server, 53))?;
    let (question, mut answer) = (question(name)?, [0; 1500]);
    loop {
        socket.send(&question)?;
        socket.set_read_timeout(Some(left(end)?.min(ASK_AGAIN)))?;
        match socket.recv(&mut answer) {
            Ok(length) if answer[..length].starts_with(&question[..2]) => {
                let found = address_in(&answer[..length], question.len());
                return found.map(IpAddr::V4).ok_or_else(|| no_address(&answer[..length], server));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}

fn no_address(answer: &[u8], server: IpAddr) -> io::Error {
    let code = answer.get(3).map_or(0, |flags| flags & 15);
    io::Error::other(format!("name server {server} has no address of it (response code {code})"))
}

/// One question of type A, with recursion desired.
fn question(name: &str) -> io::Result<Vec<u8>> {
    // The connected socket takes answers of the server alone, so the number only tells one question from another.
    let id = (std::process::id() as u16) ^ 0x5a5a;
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length));
        packet.push(length.ok_or_else(|| io::Error::other("not a name of a host"))?);
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    Ok(packet)
}

/// The first A record of an answer whose questions end at `at`.
fn address_in(answer: &[u8], mut at: usize) -> Option<Ipv4Addr> {
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?])));
    for _ in 0..number(6)? {
        // The owner: labels, and at their end a pointer or nothing.
        loop {
            match usize::from(*answer.get(at)?) {
                0 => break at += 1,
                length if length >= 0xc0 => break at += 2,
                length => at += length + 1,
            }
        }
        let (kind, length) = (number(at)?, number(at + 8)?);
        at += 10;
        if kind == 1 && length == 4 {
            return <[u8; 4]>::try_from(answer.get(at..at + 4)?).ok().map(Ipv4Addr::from);
        }
        at += length;
    }
    None
}
