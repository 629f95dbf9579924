//! OpenAPI 3.1, made from the endpoint table and the schemas. JSON Schema 2020-12 is its dialect: nothing is converted.

use serde_json::{Map, Value, json};

use crate::api::API;
use crate::{KINDS, instance, operation, problem, revision};

/// The whole document.
pub fn document() -> Value {
    let mut schemas = Map::new();
    for kind in KINDS {
        schemas.insert(format!("{}_spec", kind.name), kind.spec_schema().clone());
        schemas.insert(kind.name.to_owned(), object_schema(kind));
    }
    schemas.insert("instance".into(), crate::json_schema::<instance::Instance>());
    schemas.insert("operation".into(), crate::json_schema::<operation::Operation>());
    schemas.insert("revision".into(), crate::json_schema::<revision::Revision>());
    schemas.insert("problem".into(), crate::json_schema::<problem::Problem>());
    let mut paths: Map<String, Value> = Map::new();
    for e in API {
        let mut op = json!({
            "operationId": e.name, "summary": e.about, "security": [{ "token": [] }], "x-sampan-verb": e.verb,
            "parameters": e.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).map(|p| json!({
                "name": p, "in": "path", "required": true, "schema": { "type": "string" }
            })).collect::<Vec<_>>(),
            "responses": { "default": { "description": "problem", "content": {
                "application/problem+json": { "schema": { "$ref": "#/components/schemas/problem" } } } } },
        });
        let answer = match e.name.rsplit('_').next() {
            Some("instances") => "instance",
            Some("revisions") => "revision",
            _ if e.name == "operation_get" => "operation",
            _ => e.kind,
        };
        op["responses"]["200"] = if answer.is_empty() {
            json!({ "description": "ok" })
        } else {
            json!({ "description": "ok", "content": { "application/json": {
                "schema": { "$ref": format!("#/components/schemas/{answer}") } } } })
        };
        if e.name.ends_with("_put") || e.name.ends_with("_dry_run") {
            op["requestBody"] = json!({ "required": true, "content": { "application/json": {
                "schema": { "$ref": format!("#/components/schemas/{}_spec", e.kind) } } } });
        }
        let entry = paths.entry(e.path).or_insert_with(|| json!({}));
        entry[e.method.to_lowercase()] = op;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Sampan", "version": crate::API_VERSION, "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
    })
}

/// An object as the API returns it: the spec as it was sent, and what the server adds.
pub fn object_schema(kind: &crate::Kind) -> Value {
    let mut v = kind.spec_schema().clone();
    if let Some(p) = v.get_mut("properties").and_then(Value::as_object_mut) {
        p.retain(|_, s| s.get("x-sampan").and_then(|x| x.get("write_only")).is_none());
        for (name, schema) in [
            ("id", json!({ "type": "string" })),
            ("uid", json!({ "type": "string" })),
            ("generation", json!({ "type": "integer" })),
            ("create_time", json!({ "type": "string", "format": "date-time" })),
            ("update_time", json!({ "type": "string", "format": "date-time" })),
            ("status", kind.status_schema().clone()),
        ] {
            p.insert(name.into(), schema);
        }
    }
    v
}
