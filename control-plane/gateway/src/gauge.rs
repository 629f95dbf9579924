//! A count that can be waited on until it is zero.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::load::LoadMeter;

#[derive(Default)]
pub(crate) struct Gauge {
    count: AtomicUsize,
    zero: Notify,
    /// Of the application, when what is counted is its requests.
    load: Option<Arc<LoadMeter>>,
}

/// One unit of a [`Gauge`], given back on drop.
pub(crate) struct Held(Arc<Gauge>);

impl Gauge {
    pub(crate) fn of(load: Arc<LoadMeter>) -> Self {
        Self { load: Some(load), ..Self::default() }
    }

    pub(crate) fn load(&self) -> Option<&Arc<LoadMeter>> {
        self.load.as_ref()
    }

    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        self.count.fetch_add(1, Ordering::SeqCst);
        if let Some(load) = &self.load {
            load.begin();
        }
        Held(self.clone())
    }

    /// As [`Gauge::hold`], unless there are `most` already.
    pub(crate) fn try_hold(self: &Arc<Self>, most: usize) -> Option<Held> {
        let more = |count| (count < most).then_some(count + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        if let Some(load) = &self.load {
            load.begin();
        }
        Some(Held(self.clone()))
    }

    pub(crate) fn get(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) async fn zero(&self) {
        loop {
            let mut notified = std::pin::pin!(self.zero.notified());
            notified.as_mut().enable();
            if self.get() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(load) = &self.0.load {
            load.end();
        }
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.zero.notify_waiters();
        }
    }
}
