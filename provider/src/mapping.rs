//! From JSON Schema to Terraform attributes, and values between the two.

use sampan_schema::{Kind as Noun, check, normalise, quantity};
use serde_json::{Map, Value as Json, json};
use tf_plugin::{Attr, Kind, Nesting, Number, Object, Type, Value};

/// What attributes are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Arguments of a resource.
    Input,
    /// Values that the server sets, of these the slow ones.
    Stable,
    /// Values that a data source reads, also fast ones.
    Read,
}

fn hint<'a>(schema: &'a Json, key: &str) -> Option<&'a Json> {
    schema.get("x-sampan")?.get(key)
}

fn is(schema: &Json, key: &str) -> bool {
    hint(schema, key) == Some(&Json::Bool(true))
}

/// Whether values go in and never come out.
pub(crate) fn is_write_only(schema: &Json) -> bool {
    is(schema, "write_only")
}

/// The properties of a schema with their names.
pub(crate) fn properties(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema.get("properties").and_then(Json::as_object).into_iter().flatten()
}

fn has_properties(schema: &Json) -> bool {
    schema.get("properties").and_then(Json::as_object).is_some_and(|p| !p.is_empty())
}

/// A default that Terraform can plan: a constant that is no collection.
fn constant(schema: &Json) -> Option<&Json> {
    schema.get("default").filter(|d| !d.is_null() && !d.is_object() && !d.is_array())
}

/// The attributes of all properties.
pub(crate) fn attributes(schema: &Json, what: Use) -> Vec<Attr> {
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    properties(schema)
        .filter(|(_, p)| match what {
            Use::Input => true,
            // Members of an object that is slow have no mark of their own.
            Use::Stable => hint(p, "computed").is_none_or(|speed| speed == "stable"),
            Use::Read => !is_write_only(p),
        })
        .map(|(name, p)| attribute(name, p, required.contains(&name.as_str()), what))
        .collect()
}

fn attribute(name: &str, schema: &Json, required: bool, what: Use) -> Attr {
    let mut attr = Attr::new(name, kind(schema, what)).describe(description(schema, what));
    if is(schema, "sensitive") {
        attr = attr.sensitive();
    }
    if what != Use::Input {
        return attr.computed();
    }
    if is_write_only(schema) {
        attr = attr.write_only();
    }
    attr = match constant(schema) {
        _ if required => attr.required(),
        Some(default) => {
            let value = from_json(&attr.kind, default);
            attr.default(value)
        }
        None => attr.optional(),
    };
    if hint(schema, "class").and_then(Json::as_str) == Some("replace") {
        attr = attr.replace_on_change();
    }
    if normalise::semantic(schema) == Some("quantity") {
        attr = attr.semantic("quantity", same_quantity);
    }
    attr
}

fn same_quantity(a: &Value, b: &Value) -> bool {
    match (a.as_str(), b.as_str()) {
        (Some(a), Some(b)) => quantity::canonical(a) == quantity::canonical(b),
        _ => a == b,
    }
}

fn description(schema: &Json, what: Use) -> String {
    let mut text = schema.get("description").and_then(Json::as_str).unwrap_or_default().replace('\n', " ");
    let mut add = |more: String| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&more);
    };
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        let words: Vec<String> = words.iter().map(|w| format!("`{}`", w.as_str().unwrap_or_default())).collect();
        add(format!("One of {}.", words.join(", ")));
    }
    if what == Use::Input {
        if let Some(default) = constant(schema) {
            add(format!("Default `{}`.", default.as_str().map_or_else(|| default.to_string(), str::to_owned)));
        }
        if let Some(class) = hint(schema, "class").and_then(Json::as_str) {
            add(format!("Change class `{class}`."));
        }
    }
    text
}

fn kind(schema: &Json, what: Use) -> Kind {
    let nested = |nesting, of: &Json| Kind::Nested(nesting, attributes(of, what));
    match schema.get("type").and_then(Json::as_str) {
        Some("boolean") => Kind::Bool,
        Some("integer") => Kind::Int64,
        Some("number") => Kind::Number,
        Some("array") => {
            let items = schema.get("items").unwrap_or(&Json::Null);
            match (schema.get("uniqueItems") == Some(&Json::Bool(true)), has_properties(items)) {
                (true, true) => nested(Nesting::Set, items),
                (false, true) => nested(Nesting::List, items),
                (true, false) => Kind::Set(wire_type(items)),
                (false, false) => Kind::List(wire_type(items)),
            }
        }
        Some("object") if has_properties(schema) => nested(Nesting::Single, schema),
        Some("object") => match schema.get("additionalProperties").filter(|a| a.is_object()) {
            Some(values) if has_properties(values) => nested(Nesting::Map, values),
            Some(values) => Kind::Map(wire_type(values)),
            None => Kind::Map(Type::String),
        },
        _ => Kind::String,
    }
}

/// The type of values that have no attributes of their own.
fn wire_type(schema: &Json) -> Type {
    Attr::new("element", kind(schema, Use::Read)).wire_type()
}

/// A value as JSON; unknown parts are the schema's marker.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Unknown(_) => check::unknown(),
        Value::String(text) => Json::String(text.clone()),
        Value::Bool(bool) => Json::Bool(*bool),
        Value::Number(number) => number_to_json(number),
        Value::Map(map) => map.iter().map(|(k, v)| (k.clone(), to_json(v))).collect::<Map<_, _>>().into(),
        Value::Object(object) => object.iter().map(|(k, v)| (k.to_owned(), to_json(v))).collect::<Map<_, _>>().into(),
        Value::Dynamic(_, inner) => to_json(inner),
        other => match other.as_elements() {
            Some(elements) => elements.iter().map(to_json).collect(),
            None => Json::Null,
        },
    }
}

fn number_to_json(number: &Number) -> Json {
    number.to_i64().map(Json::from).or_else(|_| number.to_f64_exact().map(Json::from)).unwrap_or_else(|_| {
        // Such a number fits nothing in the schema; its text makes the refusal readable.
        Json::String(number.to_string())
    })
}

/// A value of an attribute kind. What does not fit is null: an older provider meets a newer server.
pub(crate) fn from_json(kind: &Kind, json: &Json) -> Value {
    if json.is_null() {
        return Value::Null;
    }
    match kind {
        Kind::Nested(nesting, attrs) => {
            let object = |json: &Json| match json.as_object() {
                Some(o) => attrs
                    .iter()
                    .map(|a| (a.name.clone(), from_json(&a.kind, o.get(&a.name).unwrap_or(&Json::Null))))
                    .collect::<Object>()
                    .into(),
                None => Value::Null,
            };
            match (nesting, json) {
                (Nesting::Single | Nesting::Group, one) => object(one),
                (Nesting::List, Json::Array(items)) => Value::list(items.iter().map(object)),
                (Nesting::Set, Json::Array(items)) => Value::set(items.iter().map(object)),
                (Nesting::Map, Json::Object(items)) => Value::map(items.iter().map(|(k, v)| (k.clone(), object(v)))),
                _ => Value::Null,
            }
        }
        other => of_type(&Attr::new("element", other.clone()).wire_type(), json),
    }
}

fn of_type(ty: &Type, json: &Json) -> Value {
    match (ty, json) {
        (Type::String, Json::String(text)) => text.as_str().into(),
        (Type::String, Json::Number(_) | Json::Bool(_)) => json.to_string().into(),
        (Type::Bool, Json::Bool(bool)) => (*bool).into(),
        (Type::Number, Json::Number(number)) => Number::parse(&number.to_string()).map_or(Value::Null, Value::from),
        (Type::List(of), Json::Array(items)) => Value::list(items.iter().map(|item| of_type(of, item))),
        (Type::Set(of), Json::Array(items)) => Value::set(items.iter().map(|item| of_type(of, item))),
        (Type::Map(of), Json::Object(items)) => {
            Value::map(items.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), of_type(of, v))))
        }
        (Type::Object(of), Json::Object(items)) => {
            Value::object(of.iter().map(|(k, ty)| (k.clone(), items.get(k).map_or(Value::Null, |v| of_type(ty, v)))))
        }
        _ => Value::Null,
    }
}

/// The spec in an object of the resource. Write-only members are taken from `write_only`, or left out.
pub(crate) fn spec(noun: &Noun, object: &Object, write_only: Option<&Object>) -> Json {
    let mut spec = Map::new();
    for (name, property) in properties(noun.spec_schema()) {
        let from = if is_write_only(property) { write_only } else { Some(object) };
        if let Some(from) = from {
            spec.insert(name.clone(), to_json(from.attr(name)));
        }
    }
    spec.into()
}

/// Whether two specs mean the same; write-only members are left out, since nobody has the stored ones.
pub(crate) fn same_spec(noun: &Noun, a: &Json, b: &Json) -> bool {
    let visible = |spec: &Json| {
        let mut spec = noun.normalise(spec);
        if let Some(members) = spec.as_object_mut() {
            members.retain(|name, _| {
                !noun.spec_schema().get("properties").and_then(|p| p.get(name)).is_some_and(is_write_only)
            });
        }
        spec
    };
    visible(a) == visible(b)
}

/// What the server returned for an attribute, in the user's spelling where it means the same.
///
/// Null and an empty collection are the same, and a missing scalar is its constant default, as the plan has it.
pub(crate) fn reconcile(attr: &Attr, schema: &Json, stored: &Value, json: &Json) -> Value {
    if is_write_only(schema) {
        return Value::Null;
    }
    let known = !stored.is_null() && stored.is_wholly_known();
    let same = || means_the_same(schema, &to_json(stored), json);
    let collection = matches!(attr.kind, Kind::Nested(..) | Kind::List(_) | Kind::Set(_) | Kind::Map(_));
    if (known || collection && stored.is_null()) && same() {
        return stored.clone();
    }
    if json.is_null() {
        return constant(schema).map_or(Value::Null, |default| from_json(&attr.kind, default));
    }
    let Kind::Nested(nesting, attrs) = &attr.kind else { return from_json(&attr.kind, json) };
    let object = |schema: &Json, stored: &Value, json: &Json| match json.as_object() {
        None => Value::Null,
        Some(members) => {
            let before = stored.as_object();
            let one = |a: &Attr| {
                let below = schema.get("properties").and_then(|p| p.get(&a.name)).unwrap_or(&Json::Null);
                let stored = before.map_or(&Value::Null, |o| o.attr(&a.name));
                (a.name.clone(), reconcile(a, below, stored, members.get(&a.name).unwrap_or(&Json::Null)))
            };
            attrs.iter().map(one).collect::<Object>().into()
        }
    };
    match (nesting, json) {
        (Nesting::Single | Nesting::Group, one) => object(schema, stored, one),
        (Nesting::List, Json::Array(items)) => {
            let of = schema.get("items").unwrap_or(&Json::Null);
            let before = stored.as_elements().unwrap_or_default();
            Value::list(items.iter().enumerate().map(|(i, v)| object(of, before.get(i).unwrap_or(&Value::Null), v)))
        }
        (Nesting::Map, Json::Object(items)) => {
            let of = schema.get("additionalProperties").unwrap_or(&Json::Null);
            let before = |key: &String| stored.as_map().and_then(|m| m.get(key)).unwrap_or(&Value::Null);
            Value::map(items.iter().map(|(key, v)| (key.clone(), object(of, before(key), v))))
        }
        _ => from_json(&attr.kind, json),
    }
}

/// Compares as a member of an object, so that defaults and empty collections count.
fn means_the_same(schema: &Json, a: &Json, b: &Json) -> bool {
    let whole = json!({ "type": "object", "properties": { "it": schema } });
    normalise::equal(&whole, &json!({ "it": a }), &json!({ "it": b }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_schema::{APPLICATION, KINDS};

    fn attr_of<'a>(attrs: &'a [Attr], name: &str) -> &'a Attr {
        attrs.iter().find(|a| a.name == name).unwrap()
    }

    #[test]
    fn every_schema_of_every_kind_can_be_mapped() {
        fn walk(schema: &Json, path: &str) {
            let typed = schema.get("type").and_then(Json::as_str).is_some();
            let words = schema.get("enum").is_some();
            assert!(typed || words, "{path} has neither one type nor words: {schema}");
            for (name, below) in properties(schema) {
                walk(below, &format!("{path}.{name}"));
            }
            for key in ["items", "additionalProperties"] {
                if let Some(below) = schema.get(key).filter(|b| b.is_object()) {
                    walk(below, &format!("{path}.{key}"));
                }
            }
        }
        for kind in KINDS {
            walk(kind.spec_schema(), kind.name);
            walk(kind.status_schema(), &format!("{}.status", kind.name));
        }
    }

    #[test]
    fn what_is_written_as_json_is_read_back_the_same() {
        let attrs = attributes(APPLICATION.spec_schema(), Use::Input);
        let spec = json!({
            "labels": { "a": "b" }, "replicas": 3, "resources": { "cpu": "1", "memory": "1Gi" },
            "container": { "image": "r/x:1", "command": ["a"], "env_from": [{ "secret": "s", "prefix": "", "optional": true }],
                "probes": { "readiness": { "http_get": { "port": "http", "expect_status": [200] } } } },
            "network": { "ports": { "http": { "container_port": 80, "protocol": "HTTP" } } },
        });
        for (name, json) in spec.as_object().unwrap() {
            let value = from_json(&attr_of(&attrs, name).kind, json);
            assert_eq!(normalise::strip_nulls(&to_json(&value)), *json, "{name}");
        }
    }

    #[test]
    fn a_spelling_that_means_the_same_is_kept_and_a_change_is_not() {
        let attrs = attributes(APPLICATION.spec_schema(), Use::Input);
        let schema = |name: &str| &APPLICATION.spec_schema()["properties"][name];
        let resources = attr_of(&attrs, "resources");
        let stored = from_json(&resources.kind, &json!({ "cpu": "0.5", "memory": "1024Mi" }));
        let seen = |json| reconcile(resources, schema("resources"), &stored, &json);
        assert_eq!(seen(json!({ "cpu": "500m", "memory": "1Gi" })), stored);
        let changed = seen(json!({ "cpu": "2", "memory": "1Gi" }));
        assert_eq!(to_json(&changed), json!({ "cpu": "2", "memory": "1024Mi" }));

        let labels = attr_of(&attrs, "labels");
        let none = reconcile(labels, schema("labels"), &Value::Null, &json!({}));
        assert!(none.is_null());
        let empty = Value::map::<String>([]);
        assert_eq!(reconcile(labels, schema("labels"), &empty, &Json::Null), empty);
        let replicas = attr_of(&attrs, "replicas");
        assert_eq!(reconcile(replicas, schema("replicas"), &Value::Null, &Json::Null).as_i64(), Some(1));
        assert_eq!(reconcile(replicas, schema("replicas"), &Value::Null, &json!(1)).as_i64(), Some(1));
        let network = attr_of(&attrs, "network");
        assert!(reconcile(network, schema("network"), &Value::Null, &Json::Null).is_null());
    }

    #[test]
    fn json_that_does_not_fit_is_null_and_no_panic() {
        let attrs = attributes(APPLICATION.spec_schema(), Use::Input);
        for attr in &attrs {
            for json in [json!(1), json!("x"), json!([[]]), json!({ "a": [1] }), json!(true), json!(1e300)] {
                let _ = from_json(&attr.kind, &json);
                let schema = &APPLICATION.spec_schema()["properties"][&attr.name];
                let _ = reconcile(attr, schema, &Value::Null, &json);
            }
        }
    }
}
