//! The checks that Terraform core makes on the answers of a provider. A violation is "a bug in the provider".

use crate::path::Path;
use crate::plan::PlanInput;
use crate::schema::Schema;
use crate::value::Object;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the rule: `P3`, `A4`.
    pub rule: &'static str,
    /// The place.
    pub path: Path,
    /// What is wrong; holds no values.
    pub text: String,
}

/// P1 to P11 over the answer to a plan.
pub fn check_plan(_input: PlanInput<'_>, _planned: Option<&Object>, _requires_replace: &[Path]) -> Vec<Violation> {
    Vec::new()
}

/// A1 to A8 over the answer to an apply without error diagnostics.
pub fn check_apply(_schema: &Schema, _planned: Option<&Object>, _new: Option<&Object>) -> Vec<Violation> {
    Vec::new()
}
