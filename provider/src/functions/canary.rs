//! Steps of a gray policy from their weights.

use tf_plugin::{FunctionDef, FunctionError, Number, Parameter, Type, Value, validate};

pub(super) fn definition() -> FunctionDef {
    let pause = Type::object([("duration_seconds", Type::Number), ("manual", Type::Bool)]);
    FunctionDef::new(Type::list(Type::object([("weight_percent", Type::Number), ("pause", pause)])))
        .summary("Steps of a gray policy from weights.")
        .describe(
            "`steps = provider::sampan::canary_steps(300, 5, 25, 50)` is three steps, each with five minutes before \
             the next. A pause of null waits for a person after every step.",
        )
        .parameter(
            Parameter::new("pause_seconds", Type::Number)
                .allow_null()
                .describe("Time after each step; null waits for `promote`.")
                .validate(validate::range(1..=2_592_000)),
        )
        .variadic(
            Parameter::new("weight_percent", Type::Number)
                .describe("Share of requests of the next step, above 0 and at most 100, rising.")
                .validate(validate::range(0..=100)),
        )
}

pub(super) fn steps(arguments: &[Value]) -> Result<Value, FunctionError> {
    let (pause, weights) = arguments.split_first().map_or((&Value::Null, arguments), |(first, rest)| (first, rest));
    if weights.is_empty() {
        return Err(FunctionError::new("At least one weight is needed, such as canary_steps(300, 10, 50)."));
    }
    if pause.as_number().is_some_and(|seconds| seconds.to_i64().is_err()) {
        return Err(FunctionError::at(0, "The pause is a whole number of seconds."));
    }
    let manual = if pause.is_null() { Value::Bool(true) } else { Value::Null };
    let mut before = Number::from(0);
    let mut steps = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let Some(number) = weight.as_number().filter(|number| **number > before) else {
            let text = format!("Weights rise from step to step; this one is not above {before}.");
            return Err(FunctionError::at(index + 1, text));
        };
        before = number.clone();
        let pause = Value::object([("duration_seconds", pause.clone()), ("manual", manual.clone())]);
        steps.push(Value::object([("weight_percent", weight.clone()), ("pause", pause)]));
    }
    Ok(Value::List(steps))
}
