//! A registry behind a slow line: a TCP proxy that lets so many bytes a second through.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes that are let through at once.
const PIECE: usize = 16 * 1024;

/// Serves until the program ends.
pub struct Throttle {
    pub address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    /// Of one piece; 0 is no limit.
    nanoseconds: AtomicU64,
    bytes: AtomicU64,
}

impl Throttle {
    pub fn start(to: SocketAddr) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("slow line to the registry: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let line = Arc::new(Line::default());
        let shared = Arc::clone(&line);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let Ok((back, there)) = client.try_clone().and_then(|c| Ok((c, server.try_clone()?))) else { continue };
                let slow = Arc::clone(&shared);
                std::thread::spawn(move || copy(client, there, &Line::default()));
                std::thread::spawn(move || copy(server, back, &slow));
            }
        });
        Ok(Self { address, line })
    }

    /// Bytes that came from the registry so far.
    pub fn forwarded(&self) -> u64 {
        self.line.bytes.load(Ordering::Relaxed)
    }

    /// From now on `bytes` take `more` milliseconds, as one connection carries them.
    pub fn last_as_long(&self, bytes: u64, more: f64) {
        let pieces = (bytes as f64 / PIECE as f64).max(1.0);
        self.line.nanoseconds.store((more.max(0.0) * 1e6 / pieces) as u64, Ordering::Relaxed);
    }
}

/// Until either end closes.
fn copy(mut from: TcpStream, mut to: TcpStream, line: &Line) {
    let mut piece = vec![0; PIECE];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        line.bytes.fetch_add(n as u64, Ordering::Relaxed);
        let whole = line.nanoseconds.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_nanos(whole * n as u64 / PIECE as u64));
        if to.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
