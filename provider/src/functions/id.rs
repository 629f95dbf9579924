//! Ids: `namespace/name`, or `name` of what is in no namespace.

use super::text;
use sampan_schema::name::is_name;
use tf_plugin::{FunctionDef, FunctionError, Parameter, Type, Value};

const NAME: &str = "at most 40 lower-case letters, digits and hyphens, beginning with a letter";

pub(super) fn parse_definition() -> FunctionDef {
    FunctionDef::new(Type::object([("namespace", Type::String), ("name", Type::String)]))
        .summary("The names in an id.")
        .describe("`shop/cart` has a namespace and a name; of `shop` the namespace is null.")
        .parameter(Parameter::new("id", Type::String).describe("`namespace/name` or `name`."))
}

pub(super) fn parse(arguments: &[Value]) -> Result<Value, FunctionError> {
    let id = text(arguments, 0);
    let (namespace, name) = match id.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, id),
    };
    if !is_name(name) || namespace.is_some_and(|namespace| !is_name(namespace)) {
        let text = format!("{id:?} is no id: it is namespace/name or name, and a name is {NAME}.");
        return Err(FunctionError::at(0, text));
    }
    Ok(Value::object([("namespace", namespace.into()), ("name", name.into())]))
}

pub(super) fn build_definition() -> FunctionDef {
    FunctionDef::new(Type::String)
        .summary("The id of an object.")
        .describe(
            "For `import` blocks: `build_id(\"shop\", \"cart\")` is `shop/cart`, `build_id(null, \"shop\")` is `shop`.",
        )
        .parameter(Parameter::new("namespace", Type::String).allow_null().describe("Null for a namespace itself."))
        .parameter(Parameter::new("name", Type::String).describe("Name of the object."))
}

pub(super) fn build(arguments: &[Value]) -> Result<Value, FunctionError> {
    let namespace = arguments.first().and_then(Value::as_str);
    let name = text(arguments, 1);
    for (index, part) in namespace.into_iter().map(|part| (0, part)).chain([(1, name)]) {
        if !is_name(part) {
            return Err(FunctionError::at(index, format!("{part:?} is no name: {NAME}.")));
        }
    }
    Ok(namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}")).into())
}
