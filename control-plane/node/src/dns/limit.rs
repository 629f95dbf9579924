//! How much may be under way at once: in all, and for one sandbox, so that none can starve the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone)]
pub struct Limit {
    total: usize,
    each: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    each: HashMap<IpAddr, usize>,
}

/// A place that is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    held: Arc<Mutex<Held>>,
    source: IpAddr,
}

impl Limit {
    pub fn new(total: usize, each: usize) -> Self {
        Self { total, each, held: Arc::default() }
    }

    /// `None`: full.
    pub fn enter(&self, source: IpAddr) -> Option<Place> {
        let mut held = lock(&self.held);
        let own = held.each.get(&source).copied().unwrap_or(0);
        if held.total >= self.total || own >= self.each {
            return None;
        }
        held.total += 1;
        held.each.insert(source, own + 1);
        Some(Place { held: self.held.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        held.total = held.total.saturating_sub(1);
        let own = held.each.get(&self.source).copied().unwrap_or(0);
        if own <= 1 {
            held.each.remove(&self.source);
        } else {
            held.each.insert(self.source, own - 1);
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_does_not_take_all_places() {
        let limit = Limit::new(3, 2);
        let source = |last: u8| IpAddr::from([10, 0, 0, last]);
        let first = limit.enter(source(1)).unwrap();
        let _second = limit.enter(source(1)).unwrap();
        assert!(limit.enter(source(1)).is_none());
        let third = limit.enter(source(2)).unwrap();
        assert!(limit.enter(source(3)).is_none(), "all are taken");
        drop(first);
        let _again = limit.enter(source(1)).unwrap();
        drop(third);
        assert_eq!(lock(&limit.held).each.len(), 1, "nothing is kept of who is gone");
    }
}
