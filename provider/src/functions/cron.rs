//! When a schedule of a scaling rule fires.

use super::text;
use sampan_schema::calendar;
use tf_plugin::{FunctionDef, FunctionError, Parameter, Type, Value};

pub(super) fn definition() -> FunctionDef {
    FunctionDef::new(Type::String)
        .summary("When a cron expression fires next.")
        .describe(
            "`cron_next(\"0 8 * * 1-5\", \"Europe/Berlin\", \"2026-03-27T12:00:00Z\")` is \
             `2026-03-30T08:00:00+02:00`: the same rules as in the schedules of a scaling rule. Give a fixed time or \
             `plantimestamp()`; the function reads no clock.",
        )
        .parameter(
            Parameter::new("expression", Type::String)
                .describe("Five fields: minute, hour, day of month, month, day of week."),
        )
        .parameter(Parameter::new("zone", Type::String).describe("Time zone of IANA, such as `Europe/Berlin`."))
        .parameter(Parameter::new("after", Type::String).describe("RFC 3339; the first time after it is the result."))
}

pub(super) fn next(arguments: &[Value]) -> Result<Value, FunctionError> {
    calendar::next_after(text(arguments, 0), text(arguments, 1), text(arguments, 2))
        .map(Value::from)
        .map_err(|(argument, why)| FunctionError::at(argument, format!("{why}.")))
}
