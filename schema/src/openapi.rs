//! OpenAPI 3.1, made from the endpoint table and the schemas. JSON Schema 2020-12 is its dialect: nothing is converted.

use serde_json::{Map, Value, json};

use crate::api::{API, Action, Endpoint};
use crate::{KINDS, event, instance, operation, problem, revision, rollout, scaling, token};

/// The whole document.
pub fn document() -> Value {
    let mut schemas = Map::new();
    for kind in KINDS {
        schemas.insert(format!("{}_spec", kind.name), kind.spec_schema().clone());
        schemas.insert(kind.name.to_owned(), object_schema(kind));
        schemas.insert(format!("{}_written", kind.name), written_schema(kind));
    }
    schemas.insert("instance".into(), crate::json_schema::<instance::Instance>());
    schemas.insert("event".into(), crate::json_schema::<event::Event>());
    schemas.insert("operation".into(), crate::json_schema::<operation::Operation>());
    schemas.insert("revision".into(), crate::json_schema::<revision::Revision>());
    schemas.insert("rollout".into(), crate::json_schema::<rollout::Rollout>());
    schemas.insert("scaling".into(), crate::json_schema::<scaling::Scaling>());
    schemas.insert("problem".into(), crate::json_schema::<problem::Problem>());
    schemas.insert("token".into(), crate::json_schema::<token::TokenInfo>());
    schemas.insert("token_made".into(), crate::json_schema::<token::MadeToken>());
    schemas.insert("token_request".into(), crate::json_schema::<token::NewToken>());
    schemas.insert("token_renewal".into(), crate::json_schema::<token::Renewal>());
    for (name, schema) in plain_schemas() {
        schemas.insert(name.into(), schema);
    }
    let mut paths: Map<String, Value> = Map::new();
    for e in API {
        let mut op = json!({
            "operationId": e.name, "summary": e.about, "security": [{ "token": [] }], "x-sampan-verb": e.verb,
            "parameters": parameters(e),
            "responses": { "default": { "description": "problem", "content": {
                "application/problem+json": { "schema": reference("problem") } } } },
        });
        for (status, media, schema) in answers(e) {
            op["responses"][status.to_string()] = match schema {
                Value::Null => json!({ "description": "no content" }),
                schema => json!({ "description": "ok", "content": { media: { "schema": schema } } }),
            };
        }
        let body = match e.action {
            Action::Put | Action::DryRun => Some((true, format!("{}_spec", e.kind))),
            Action::Exec => Some((true, "exec_request".to_owned())),
            Action::Promote => Some((false, "promote_request".to_owned())),
            Action::Rollback => Some((false, "rollback_request".to_owned())),
            Action::TokenCreate => Some((true, "token_request".to_owned())),
            Action::TokenRenew => Some((true, "token_renewal".to_owned())),
            _ => None,
        };
        if let Some((required, body)) = body {
            op["requestBody"] =
                json!({ "required": required, "content": { "application/json": { "schema": reference(&body) } } });
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

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn parameters(e: &Endpoint) -> Vec<Value> {
    let path = e.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let path = path.map(|p| json!({ "name": p, "in": "path", "required": true, "schema": { "type": "string" } }));
    let more = |place: &'static str| move |(name, about): &(&str, &str)| json!({ "name": name, "in": place, "description": about, "schema": { "type": "string" } });
    path.chain(e.action.query().iter().map(more("query")))
        .chain(e.action.headers().iter().map(more("header")))
        .collect()
}

/// Status, media type and schema of every answer that is no problem; null is an empty body.
pub fn answers(e: &Endpoint) -> Vec<(u16, &'static str, Value)> {
    const JSON: &str = "application/json";
    let items = |name: &str| {
        json!({ "type": "object", "required": ["items"], "additionalProperties": false,
                "properties": { "items": { "type": "array", "items": reference(name) } } })
    };
    let started = || {
        json!({ "type": "object", "required": ["operation"], "additionalProperties": false,
                "properties": { "operation": reference("operation") } })
    };
    match e.action {
        Action::List => {
            let mut page = items(e.kind);
            page["properties"]["next_page_token"] = json!({ "type": "string" });
            vec![(200, JSON, page)]
        }
        Action::Get => vec![(200, JSON, reference(e.kind))],
        Action::Put => [200, 201, 202].map(|status| (status, JSON, reference(&format!("{}_written", e.kind)))).to_vec(),
        Action::Delete => vec![(202, JSON, started()), (204, JSON, Value::Null)],
        Action::DryRun => vec![(200, JSON, reference("dry_run"))],
        Action::Instances => vec![(200, JSON, items("instance"))],
        Action::Revisions => vec![(200, JSON, items("revision"))],
        Action::Restart | Action::Rollback => vec![(202, JSON, started())],
        Action::Rollout => vec![(200, JSON, reference("rollout"))],
        Action::Scaling => vec![(200, JSON, reference("scaling"))],
        Action::Promote | Action::Pause | Action::Resume | Action::Abort => {
            [200, 202].map(|status| (status, JSON, reference("rollout"))).to_vec()
        }
        Action::Logs => vec![(200, "application/jsonl", reference("log_line"))],
        Action::Exec => vec![(200, JSON, reference("exec_result"))],
        Action::Operation => vec![(200, JSON, reference("operation"))],
        Action::Events => vec![(200, JSON, items("event"))],
        Action::Watch => vec![(200, "text/event-stream", json!({ "type": "string" }))],
        Action::Server => vec![(200, JSON, reference("server"))],
        Action::IsolationClasses => vec![(200, JSON, items("isolation_class"))],
        Action::Tokens => vec![(200, JSON, items("token"))],
        Action::TokenCreate => vec![(201, JSON, reference("token_made"))],
        Action::TokenRenew | Action::TokenRevoke => vec![(200, JSON, reference("token"))],
    }
}

/// Schemas of what is no object and has no type in this crate.
fn plain_schemas() -> Vec<(&'static str, Value)> {
    let text = || json!({ "type": "string" });
    let list = || json!({ "type": "array", "items": { "type": "string" } });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
    vec![
        (
            "isolation_class",
            object(
                &["class", "handler", "available", "reason"],
                json!({ "class": text(), "handler": text(), "available": { "type": "boolean" }, "reason": text() }),
            ),
        ),
        (
            "dry_run",
            object(
                &["change_class", "reasons", "warnings", "unresolved"],
                json!({
                    "change_class": text(),
                    "reasons": { "type": "array", "items": object(
                        &["field", "class"],
                        json!({ "field": text(), "class": text(), "remote": { "type": "boolean" } }),
                    ) },
                    "warnings": list(),
                    "unresolved": { "type": "array", "items": object(
                        &["field_path", "message", "rule"],
                        json!({ "field_path": text(), "message": text(), "rule": text() }),
                    ) },
                    "resolved_image_digest": text(),
                    "isolation": object(
                        &["class", "available", "reason"],
                        json!({ "class": text(), "available": { "type": "boolean" }, "reason": text() }),
                    ),
                }),
            ),
        ),
        (
            "exec_request",
            object(
                &["command"],
                json!({ "command": { "type": "array", "minItems": 1, "items": text() }, "instance": text(),
                        "timeout_seconds": { "type": "integer", "minimum": 1, "maximum": 600, "default": 30 } }),
            ),
        ),
        (
            "promote_request",
            object(
                &[],
                json!({ "full": { "type": "boolean", "default": false }, "step": { "type": "integer", "minimum": 1 } }),
            ),
        ),
        ("rollback_request", object(&[], json!({ "to_revision": { "type": "integer", "minimum": 1 } }))),
        (
            "exec_result",
            object(
                &["instance", "exit_code", "stdout", "stderr"],
                json!({ "instance": text(), "exit_code": { "type": "integer" }, "stdout": text(), "stderr": text() }),
            ),
        ),
        (
            "log_line",
            object(
                &["instance", "attempt", "time", "stream", "text"],
                json!({ "instance": text(), "attempt": { "type": "integer" }, "time": text(),
                        "stream": { "enum": ["stdout", "stderr"] }, "text": text() }),
            ),
        ),
        (
            "server",
            object(
                &["name", "version", "api_version", "node", "default_isolation_class", "gateway", "isolation_classes"],
                json!({
                    "name": text(), "version": text(), "api_version": text(), "node": text(),
                    "default_isolation_class": text(), "gateway": text(),
                    "isolation_classes": { "type": "array", "items": reference("isolation_class") },
                }),
            ),
        ),
    ]
}

/// What a write returns: the object, and the operation it has started or follows.
fn written_schema(kind: &crate::Kind) -> Value {
    let mut v = object_schema(kind);
    v["properties"]["operation"] = reference("operation");
    v
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

/// A schema of the document with its references filled in, for [`crate::check::check`].
pub fn resolved(document: &Value, schema: &Value) -> Value {
    match schema {
        Value::Object(o) => match o.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) {
            Some(pointer) => resolved(document, document.pointer(pointer).unwrap_or(&Value::Null)),
            None => o.iter().map(|(k, v)| (k.clone(), resolved(document, v))).collect::<Map<_, _>>().into(),
        },
        Value::Array(a) => a.iter().map(|v| resolved(document, v)).collect(),
        other => other.clone(),
    }
}
