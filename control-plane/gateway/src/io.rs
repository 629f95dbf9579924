//! The socket of a connection over HTTP/1.1: hyper owns it, others may look whether the peer has closed it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

struct Socket {
    stream: TcpStream,
    received: AtomicU64,
}

/// Bytes asked for in the first read: memory is cleared for as many. A response that fills them is read in larger
/// pieces.
const FIRST_READ: usize = 2 * 1024;

/// Between two looks at a socket with bytes that nobody reads yet.
const LOOK: Duration = Duration::from_millis(100);

/// The owner's end.
pub(crate) struct SharedStream {
    socket: Arc<Socket>,
    /// Bytes to ask for.
    next: usize,
}

/// Another's view. Does not keep the socket open.
#[derive(Clone)]
pub(crate) struct Peek {
    socket: Weak<Socket>,
}

impl SharedStream {
    pub(crate) fn new(stream: TcpStream) -> (Self, Peek) {
        let socket = Arc::new(Socket { stream, received: AtomicU64::new(0) });
        let peek = Peek { socket: Arc::downgrade(&socket) };
        (Self { socket, next: FIRST_READ }, peek)
    }
}

impl Peek {
    /// Open, and nothing to read: an idle connection has nothing to say.
    pub(crate) fn is_quiet(&self) -> bool {
        let Some(socket) = self.socket.upgrade() else { return false };
        let mut byte = [0_u8; 1];
        let result = rustix::net::recv(&socket.stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(result, Err(e) if e == rustix::io::Errno::WOULDBLOCK || e == rustix::io::Errno::INTR)
    }

    /// Resolves when the peer has closed its end, also when there is something left to read before that.
    pub(crate) async fn closed(&self) {
        while let Some(socket) = self.socket.upgrade() {
            match socket.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                Ok(_) | Err(_) => return,
            }
            // What is there to read stays there, so that readiness says nothing new before the next look.
            drop(socket);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A counter of the received bytes that outlives the connection.
    pub(crate) fn received(&self) -> Received {
        let socket = self.socket.upgrade();
        let before = socket.as_ref().map_or(0, |s| s.received.load(Ordering::Acquire));
        Received { socket, before }
    }
}

/// Whether bytes arrived since this was made. Held only while a request waits for its response.
pub(crate) struct Received {
    socket: Option<Arc<Socket>>,
    before: u64,
}

impl Received {
    pub(crate) fn any(&self) -> bool {
        self.socket.as_ref().is_some_and(|s| s.received.load(Ordering::Acquire) != self.before)
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wanted = self.next.min(buf.remaining());
        if wanted == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.socket.stream.poll_read_ready(cx))?;
            let mut read = None;
            let tried = self.socket.stream.try_io(Interest::READABLE, || {
                let n =
                    rustix::net::recv(&self.socket.stream, buf.initialize_unfilled_to(wanted), RecvFlags::empty())?.0;
                read = Some(n);
                // Less than asked for: the socket is empty now, and reading again only to hear so is a call for
                // nothing. It is not readable until the next event, as after a read that would block.
                if n > 0 && n < wanted { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (read, tried) {
                (Some(n), _) => {
                    self.next = if n == wanted { wanted * 2 } else { FIRST_READ.max(n) };
                    buf.advance(n);
                    self.socket.received.fetch_add(n as u64, Ordering::AcqRel);
                    return Poll::Ready(Ok(()));
                }
                (None, Err(e)) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                (None, tried) => return Poll::Ready(tried),
            }
        }
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.stream.poll_write_ready(cx))?;
            match self.socket.stream.try_write(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.stream.poll_write_ready(cx))?;
            match self.socket.stream.try_write_vectored(bufs) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(&self.socket.stream, Shutdown::Write) {
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(e) => Poll::Ready(Err(e.into())),
        }
    }
}
