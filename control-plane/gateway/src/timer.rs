//! The timer of one connection. Its deadlines only move on, and to move the runtime's timer is much cheaper than to make
//! and remove one for each request.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// The runtime's, while nobody waits for it. It may then still wake the connection's task, once and for nothing.
type Spare = Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>;

#[derive(Clone, Default)]
pub(crate) struct OneTimer {
    spare: Spare,
}

struct Waiting {
    /// `None` only once dropped.
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    spare: Spare,
}

impl OneTimer {
    fn until(&self, deadline: tokio::time::Instant) -> Pin<Box<dyn Sleep>> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sleep = match spare {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            None => Box::pin(tokio::time::sleep_until(deadline)),
        };
        Box::pin(Waiting { sleep: Some(sleep), spare: self.spare.clone() })
    }
}

impl Timer for OneTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.until(tokio::time::Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.until(deadline.into())
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().map_or(Poll::Ready(()), |sleep| sleep.as_mut().poll(cx))
    }
}

impl Sleep for Waiting {}

impl Drop for Waiting {
    fn drop(&mut self) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = self.sleep.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_was_used_before_waits_for_its_own_deadline() {
        let timer = OneTimer::default();
        timer.sleep(Duration::from_millis(1)).await;
        // Neither the past of the last one nor its deadline ends the next.
        let (begun, short) = (Instant::now(), Duration::from_millis(30));
        timer.sleep_until(begun + short).await;
        assert!(begun.elapsed() >= short);
        drop(timer.sleep(Duration::from_hours(1)));
        timer.sleep(short).await;
        assert!(begun.elapsed() >= 2 * short);
    }

    #[tokio::test]
    async fn two_at_once_are_both_kept() {
        let (timer, begun) = (OneTimer::default(), Instant::now());
        let (first, second) = (timer.sleep(Duration::from_millis(10)), timer.sleep(Duration::from_millis(20)));
        tokio::join!(first, second);
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }
}
