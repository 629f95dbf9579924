//! The HTTP API: one dispatcher over the endpoint table. Every kind goes through the same code.

mod answer;
mod application;
mod environment_schedule;
mod event;
mod idempotency;
mod object;
mod operation;
mod rollout;
mod scaling;
mod token;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use sampan_engine::application::Verb;
use sampan_engine::runtime::Runtime;
use sampan_schema::api::{API, Action, Endpoint};
use sampan_schema::problem::Problem;
use sampan_store::Store;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::answer::{blocking, ok, problem, store_problem};
use crate::auth;
use crate::clock::random_hex;
use crate::reconciler::Note;
use crate::registry::Registry;
use crate::scaling::board::Board;

/// Largest body of a request.
const BODY_LIMIT: usize = 10 << 20;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    pub store: Store,
    pub runtime: Arc<dyn Runtime>,
    pub registry: Registry,
    pub notes: mpsc::UnboundedSender<Note>,
    pub board: Arc<Board>,
    pub default_class: String,
    /// Public address of the gateway.
    pub gateway: SocketAddr,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
}

/// Router with every endpoint of the table.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for endpoint in API {
        let filter = match endpoint.method {
            "GET" => MethodFilter::GET,
            "PUT" => MethodFilter::PUT,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::POST,
        };
        let handler = move |State(api): State<Api>,
                            Path(path): Path<HashMap<String, String>>,
                            Query(query): Query<HashMap<String, String>>,
                            headers: HeaderMap,
                            body: Body| async move {
            let request_id = random_hex(8).unwrap_or_default();
            let answer = dispatch(&api, endpoint, &path, &query, &headers, body).await;
            let mut response = match answer {
                Ok(r) => r,
                Err(mut p) => {
                    p.request_id.clone_from(&request_id);
                    if p.status >= 500 {
                        tracing::error!(request_id, code = p.code, detail = p.detail, "request failed");
                    }
                    problem(&p)
                }
            };
            if let Ok(v) = HeaderValue::from_str(&request_id) {
                response.headers_mut().insert("x-request-id", v);
            }
            response
        };
        router = router.route(endpoint.path, on(filter, handler));
    }
    router
        .fallback(|method: Method, uri: axum::http::Uri| async move {
            problem(&Problem::new(
                404,
                "NO_ENDPOINT",
                "no such endpoint",
                format!("{method} {} is not in this API", uri.path()),
            ))
        })
        .method_not_allowed_fallback(|| async {
            problem(&Problem::new(405, "METHOD_NOT_ALLOWED", "method not allowed", "see the OpenAPI document"))
        })
        .with_state(api)
}

async fn dispatch(
    api: &Api,
    e: &'static Endpoint,
    path: &HashMap<String, String>,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let caller = blocking(|| auth::caller(&api.store, text("authorization"))).map_err(|e| store_problem(&e))?;
    let Some(caller) = caller else {
        let detail = "send a living token as `Authorization: Bearer …`; `sampan dev` writes one to its token_file";
        return Err(Problem::new(401, "UNAUTHENTICATED", "who are you?", detail));
    };
    if !caller.role.may(e.verb) {
        let detail = format!("{} needs the permission {:?}, which a read-only token has not", e.name, e.verb);
        return Err(Problem::new(403, "FORBIDDEN", "not permitted", detail).with("permission", e.name));
    }
    let body = tokio::time::timeout(api.body_timeout, axum::body::to_bytes(body, BODY_LIMIT))
        .await
        .map_err(|_| {
            let detail = format!("the body was not complete after {} s: send it again", api.body_timeout.as_secs());
            Problem::new(408, "REQUEST_TIMEOUT", "body too slow", detail)
        })?
        .map_err(|_| Problem::new(413, "TOO_LARGE", "body too large", "a request has at most 10 MiB"))?;
    let empty = String::new();
    let (ns, name) = (path.get("ns").unwrap_or(&empty), path.get("name").unwrap_or(&empty));
    let absent = || Problem::new(500, "INTERNAL", "no such kind", format!("{} names no kind", e.name));
    let kind = || sampan_schema::kind(e.kind).ok_or_else(absent);
    match e.action {
        Action::List => object::list(api, kind()?, ns, query),
        Action::Get => object::get(api, kind()?, ns, name),
        Action::Put => object::put(api, kind()?, &caller, ns, name, headers, &body).await,
        Action::Delete => object::delete(api, kind()?, ns, name, headers).await,
        Action::DryRun => object::dry_run(api, kind()?, ns, name, &body).await,
        Action::Instances => application::instances(api, ns, name).await,
        Action::Revisions => application::revisions(api, ns, name),
        Action::Restart => application::restart(api, &caller, ns, name, headers, &body),
        Action::Rollout => rollout::get(api, ns, name),
        Action::Scaling => scaling::get(api, ns, name, query),
        Action::Promote => rollout::promote(api, &caller, ns, name, headers, &body),
        Action::Pause => rollout::verb(api, &caller, Verb::Pause, ns, name, headers),
        Action::Resume => rollout::verb(api, &caller, Verb::Resume, ns, name, headers),
        Action::Abort => rollout::verb(api, &caller, Verb::Abort, ns, name, headers),
        Action::Rollback => rollout::rollback(api, &caller, ns, name, headers, &body),
        Action::Logs => application::logs(api, ns, name, query).await,
        Action::Exec => application::exec(api, ns, name, &body).await,
        Action::Operation => operation::get(api, path.get("id").unwrap_or(&empty), query).await,
        Action::Events => event::list(api, query),
        Action::Watch => event::watch(api, query),
        Action::Server => Ok(ok(200, &server(api))),
        Action::IsolationClasses => Ok(ok(200, &json!({ "items": api.runtime.classes() }))),
        Action::Tokens => token::list(api),
        Action::TokenCreate => token::create(api, &caller, &body),
        Action::TokenRenew => token::renew(api, &caller, path.get("id").unwrap_or(&empty), &body),
        Action::TokenRevoke => token::revoke(api, path.get("id").unwrap_or(&empty)),
    }
}

fn server(api: &Api) -> Value {
    json!({
        "name": "sampan", "version": env!("CARGO_PKG_VERSION"), "api_version": sampan_schema::API_VERSION,
        "node": api.runtime.node(), "default_isolation_class": api.default_class, "gateway": format!("http://{}", api.gateway),
        "isolation_classes": api.runtime.classes(),
    })
}
