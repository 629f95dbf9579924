//! What one evaluation may cost. Past a limit values become unknown with that cause; nothing fails and nothing hangs.

use super::types::Type;
use super::value::{Cause, CauseKind, Value};
use std::cell::Cell;

/// Limits of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Expressions evaluated and elements made; stands for processor time, so that equal input gives equal output.
    pub steps: u64,
    /// Bytes of one value, shared parts counted each time.
    pub value_bytes: u64,
    /// Levels of nested containers of one value.
    pub value_depth: u16,
    /// Levels of module calls.
    pub call_depth: u16,
    /// Levels of expressions and definitions that wait for each other.
    pub recursion: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 20_000_000, value_bytes: 16 << 20, value_depth: 100, call_depth: 64, recursion: 3_000 }
    }
}

/// What is left of them.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    steps: Cell<u64>,
    recursion: Cell<u32>,
    /// Whether an expression met something unknown since it was last asked.
    met_unknown: Cell<bool>,
}

impl Budget {
    /// Everything still to spend.
    pub fn new(limits: Limits) -> Self {
        Self { limits, steps: Cell::new(0), recursion: Cell::new(0), met_unknown: Cell::new(false) }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Takes steps; the cause if there are none left.
    pub(super) fn spend(&self, steps: u64) -> Result<(), Cause> {
        let spent = self.steps.get().saturating_add(steps);
        self.steps.set(spent);
        if spent > self.limits.steps { Err(cause("the evaluation takes too many steps")) } else { Ok(()) }
    }

    /// Goes one level down; the guard comes back up.
    pub(super) fn descend(&self) -> Result<Descent<'_>, Cause> {
        let level = self.recursion.get() + 1;
        if level > self.limits.recursion {
            return Err(cause("definitions depend on each other over too many levels"));
        }
        self.recursion.set(level);
        Ok(Descent(self))
    }

    /// The value, or an unknown one in its place if it is too large.
    pub(super) fn admit(&self, value: Value) -> Value {
        if value.size() <= self.limits.value_bytes && value.depth() <= self.limits.value_depth {
            return value;
        }
        self.note_unknown();
        Value::unknown(Type::Dynamic, cause("the value is too large")).marked(value.deep_marks()).like(&value)
    }

    pub(super) fn note_unknown(&self) {
        self.met_unknown.set(true);
    }

    /// Whether something unknown was met since the flag was last replaced.
    pub(super) fn replace_met_unknown(&self, with: bool) -> bool {
        self.met_unknown.replace(with)
    }
}

fn cause(what: &str) -> Cause {
    Cause::new(CauseKind::Budget, what)
}

/// One level of recursion.
#[derive(Debug)]
pub(super) struct Descent<'a>(&'a Budget);

impl Drop for Descent<'_> {
    fn drop(&mut self) {
        self.0.recursion.set(self.0.recursion.get().saturating_sub(1));
    }
}
