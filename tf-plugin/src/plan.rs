//! The plan engine, and Terraform core's own checks of plan and apply answers.

use crate::diagnostic::Diagnostics;
use crate::path::Path;
use crate::schema::Schema;
use crate::value::Object;

/// What Terraform asks for; `None` is null.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The schema.
    pub schema: &'a Schema,
    /// The prior state; `None` on create.
    pub prior: Option<&'a Object>,
    /// Terraform's merge of configuration and prior state; `None` on destroy.
    pub proposed: Option<&'a Object>,
    /// The configuration; `None` on destroy.
    pub config: Option<&'a Object>,
}

/// The outcome of the plan engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanResult {
    /// The planned state without write-only values; `None` on destroy.
    pub planned: Option<Object>,
    /// Places whose change replaces the resource.
    pub requires_replace: Vec<Path>,
}

/// Steps 2 to 6 of a plan: write-only values, defaults, equality in meaning, unknown marking, modifiers.
///
/// Errors come only from modifiers. The same input gives the same plan.
pub fn plan(input: PlanInput<'_>, _d: &mut Diagnostics) -> PlanResult {
    PlanResult { planned: input.proposed.cloned(), requires_replace: Vec::new() }
}

/// Keeps the spelling of `kept` wherever `fresh` means the same by the schema: for answers of read and apply.
pub fn keep_spelling(_schema: &Schema, _kept: &Object, _fresh: &mut Object) {}
