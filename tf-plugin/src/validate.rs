//! Checks of a configuration.

use crate::diagnostic::Diagnostics;
use crate::path::Path;
use crate::value::{Object, Value};
use std::fmt;
use std::sync::Arc;

/// A check of one value. Null and unknown values are skipped.
#[derive(Clone)]
pub struct Validator {
    /// What is allowed, for the documentation and messages: `must be …`.
    pub describe: String,
    check: Arc<dyn Fn(&Value, &Path, &mut Diagnostics) + Send + Sync>,
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Validator({})", self.describe)
    }
}

impl Validator {
    /// An own check.
    pub fn new(
        describe: impl Into<String>,
        check: impl Fn(&Value, &Path, &mut Diagnostics) + Send + Sync + 'static,
    ) -> Self {
        Self { describe: describe.into(), check: Arc::new(check) }
    }

    /// Runs the check unless the value is null or unknown.
    pub fn run(&self, value: &Value, path: &Path, d: &mut Diagnostics) {
        if !value.is_null() && !value.is_unknown() {
            (self.check)(value, path, d);
        }
    }
}

/// A check over the attributes of one object.
#[derive(Clone)]
pub struct Rule {
    /// What is allowed, for the documentation.
    pub describe: String,
    check: Arc<dyn Fn(&Object, &Path, &mut Diagnostics) + Send + Sync>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({})", self.describe)
    }
}

impl Rule {
    /// An own check; the path is that of the object.
    pub fn new(
        describe: impl Into<String>,
        check: impl Fn(&Object, &Path, &mut Diagnostics) + Send + Sync + 'static,
    ) -> Self {
        Self { describe: describe.into(), check: Arc::new(check) }
    }

    /// Runs the check.
    pub fn run(&self, object: &Object, path: &Path, d: &mut Diagnostics) {
        (self.check)(object, path, d);
    }
}

/// A duration such as `90s`, `10m` or `1h30m`.
pub fn duration() -> Validator {
    Validator::new("a duration", |_, _, _| {})
}
