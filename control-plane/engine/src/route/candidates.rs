//! Where a request may go, in the order to try.

use std::ops::Index;

use super::{Endpoint, Endpoints};

/// All endpoints of one side, from the one whose turn it is round to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidates<'a> {
    all: &'a Endpoints,
    first: usize,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(all: &'a Endpoints, first: usize) -> Self {
        Self { all, first }
    }

    /// In the order of the table.
    pub fn list(&self) -> &'a Endpoints {
        self.all
    }

    /// Places in [`Candidates::list`], in the order to try.
    pub fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, len) = (self.first, self.all.len());
        (0..len).map(move |n| (first + n) % len)
    }

    /// In the order to try.
    pub fn iter(&self) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
        let all = self.all;
        self.places().filter_map(move |at| all.get(at))
    }
}

/// In the order to try.
impl Index<usize> for Candidates<'_> {
    type Output = Endpoint;

    fn index(&self, n: usize) -> &Endpoint {
        &self.all[(self.first + n) % self.all.len()]
    }
}
