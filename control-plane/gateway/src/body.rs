//! Bodies on their way through: streamed, watched for progress and end. Trailers pass only in answers of gRPC, which
//! tells its outcome there.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::gauge::Held;

/// How far a request body has come.
pub(crate) struct Progress {
    last: Mutex<Instant>,
    awaited: AtomicBool,
    done: AtomicBool,
    failed: AtomicBool,
}

impl Progress {
    pub(crate) fn new(done: bool) -> Arc<Self> {
        Arc::new(Self {
            last: Mutex::new(Instant::now()),
            awaited: AtomicBool::new(false),
            done: AtomicBool::new(done),
            failed: AtomicBool::new(false),
        })
    }

    pub(crate) fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When the client last sent something.
    pub(crate) fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More of the body is wanted, and it is the client that keeps it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Acquire) && !self.done.load(Ordering::Acquire)
    }

    /// The client's body broke off or was malformed.
    pub(crate) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// A request body towards the endpoint.
pub(crate) struct RequestBody {
    inner: Option<Incoming>,
    progress: Arc<Progress>,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, progress: Arc<Progress>) -> Self {
        Self { inner: (!inner.is_end_stream()).then_some(inner), progress }
    }

    pub(crate) fn empty(progress: Arc<Progress>) -> Self {
        Self { inner: None, progress }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
            let polled = Pin::new(inner).poll_frame(cx);
            self.progress.awaited.store(polled.is_pending(), Ordering::Release);
            match ready!(polled) {
                Some(Ok(frame)) => {
                    self.progress.touch();
                    // Trailers could repeat framing or reserved headers, and no endpoint was promised any.
                    if frame.is_data() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Some(Err(error)) => {
                    self.progress.failed.store(true, Ordering::Release);
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.progress.touch();
                    self.progress.done.store(true, Ordering::Release);
                    self.inner = None;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    /// hyper does not poll past the announced length.
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.progress.done.store(true, Ordering::Release);
        }
    }
}

/// A response body towards the client.
pub(crate) enum ResponseBody {
    /// The gateway's own answer.
    Own(Option<Bytes>),
    Upstream(Upstream),
}

/// An endpoint's.
pub(crate) struct Upstream {
    inner: Incoming,
    /// The request is in flight at the endpoint, and on its connection, until this ends or is dropped.
    held: [Option<Held>; 2],
    trailers: bool,
}

impl ResponseBody {
    pub(crate) fn upstream(inner: Incoming, held: Held, trailers: bool) -> Self {
        Self::Upstream(Upstream { inner, held: [Some(held), None], trailers })
    }

    /// Holds this too, until the end. The gateway's own answers are as good as sent.
    pub(crate) fn hold(&mut self, more: Held) {
        if let Self::Upstream(upstream) = self {
            upstream.held[1] = Some(more);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Upstream(Upstream { inner, held, trailers }) => loop {
                let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
                match frame {
                    Some(Ok(frame)) if !frame.is_data() && !*trailers => {}
                    Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                    end => {
                        *held = [None, None];
                        return Poll::Ready(end);
                    }
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Upstream(upstream) => upstream.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Upstream(upstream) => upstream.inner.size_hint(),
        }
    }
}
