//! The socket of an upstream connection: hyper owns it, the pool may look whether the peer has closed it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

struct Socket {
    stream: TcpStream,
    received: AtomicU64,
}

/// The owner's end.
pub(crate) struct SharedStream(Arc<Socket>);

/// The pool's view. Does not keep the socket open.
pub(crate) struct Peek {
    socket: Weak<Socket>,
}

impl SharedStream {
    pub(crate) fn new(stream: TcpStream) -> (Self, Peek) {
        let socket = Arc::new(Socket { stream, received: AtomicU64::new(0) });
        let peek = Peek { socket: Arc::downgrade(&socket) };
        (Self(socket), peek)
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
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    self.0.received.fetch_add(n as u64, Ordering::AcqRel);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(cx))?;
            match self.0.stream.try_write(buf) {
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
            ready!(self.0.stream.poll_write_ready(cx))?;
            match self.0.stream.try_write_vectored(bufs) {
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
        match rustix::net::shutdown(&self.0.stream, Shutdown::Write) {
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(e) => Poll::Ready(Err(e.into())),
        }
    }
}
