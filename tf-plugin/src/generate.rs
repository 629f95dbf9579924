//! A configuration made of a state, for `-generate-config-out`.

use crate::schema::{Fields, Schema};
use crate::value::{Object, Value};

/// The configuration that would lead to a state: without what only the provider sets, what is write-only or deprecated,
/// and without values that are the default anyway.
///
/// A resource that knows more, for example which of two attributes excludes the other, changes the result.
pub fn default_config(schema: &Schema, state: &Object) -> Object {
    pruned(schema.fields(), state)
}

fn pruned(fields: Fields<'_>, state: &Object) -> Object {
    fields.iter().map(|field| (field.name().to_owned(), kept(field, state.attr(field.name())))).collect()
}

fn kept(field: crate::schema::Field<'_>, value: &Value) -> Value {
    if let Some(attr) = field.attr() {
        let only_computed = attr.computed && !attr.optional;
        let is_default = attr.default.as_ref().is_some_and(|default| default.same(value));
        if only_computed || attr.write_only || attr.deprecated.is_some() || is_default {
            return Value::Null;
        }
    }
    let Some((_, below)) = field.nested() else { return value.clone() };
    let one = |value: &Value| match value {
        Value::Object(object) => Value::Object(pruned(below, object)),
        other => other.clone(),
    };
    match value {
        Value::List(elements) => Value::list(elements.iter().map(one)),
        Value::Set(elements) => Value::set(elements.iter().map(one)),
        Value::Map(elements) => Value::map(elements.iter().map(|(key, value)| (key.clone(), one(value)))),
        other => one(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Attr, Block, Body};

    #[test]
    fn only_what_a_person_would_write_is_kept() {
        let ports = [Attr::int64("number").required(), Attr::string("protocol").default("TCP")];
        let schema = Schema::new(0)
            .attr(Attr::string("name").required())
            .attr(Attr::string("id").computed())
            .attr(Attr::int64("size").default(1))
            .attr(Attr::string("old").optional().deprecated("no"))
            .attr(Attr::string("secret_wo").optional().write_only())
            .attr(Attr::nested_map("ports", ports).optional())
            .block(Block::list("rule", Body::new().attr(Attr::string("id").computed())));
        let port = Object::new().with("number", 80).with("protocol", "TCP");
        let state = schema
            .empty_object()
            .with("name", "a")
            .with("id", "1")
            .with("size", 1)
            .with("old", "x")
            .with("ports", Value::map([("http", Value::from(port))]))
            .with("rule", Value::list([Object::new().with("id", "r").into()]));
        let config = default_config(&schema, &state);
        for name in ["id", "size", "old", "secret_wo"] {
            assert!(config.attr(name).is_null(), "{name}");
        }
        assert_eq!(config.attr("name").as_str(), Some("a"));
        assert_eq!(config.at("ports[\"http\"].number").and_then(Value::as_i64), Some(80));
        assert!(config.at("ports[\"http\"].protocol").is_some_and(Value::is_null));
        assert!(config.at("rule[0].id").is_some_and(Value::is_null));
        assert!(Value::from(config).conforms(&schema.object_type()).is_ok());
    }
}
