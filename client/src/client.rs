//! The endpoints.

use crate::transport::{Request, Transport};
use crate::{Config, DryRun, Error, Object, Page, ServerInfo, Written};
use reqwest::Method;
use sampan_schema::api::{self, Endpoint};
use sampan_schema::event::Event;
use sampan_schema::instance::Instance;
use sampan_schema::operation::Operation;
use sampan_schema::revision::Revision;
use sampan_schema::rollout::Rollout;
use sampan_schema::scaling::Scaling;
use sampan_schema::token::{MadeToken, NewToken, TokenInfo};
use sampan_schema::{API_VERSION, Kind, name};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Pages of 500 objects that a list may have. A server that gives ever more is broken, and memory is not endless.
const LIST_PAGES: usize = 200;

/// A client of one server. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<Transport>,
    /// The server's version was looked at and fits.
    checked: Arc<OnceCell<ServerInfo>>,
}

/// What must be true of an object for it to be written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// It does not exist. The key makes a repeated request harmless; see [`crate::idempotency_key`].
    Absent {
        /// The same for all tries.
        key: String,
    },
    /// It has this generation.
    Generation(i64),
}

/// What a delete led to.
#[derive(Clone, Debug, PartialEq)]
pub enum Delete {
    /// The object is gone.
    Gone,
    /// It will be, when this is done.
    Started(Operation),
}

/// What a user tells a release under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseVerb {
    /// On to the next step, without analysis.
    Promote {
        /// To the end.
        full: bool,
        /// The step that is left: a release that has passed it stays as it is.
        step: Option<u32>,
    },
    /// No further step.
    Pause,
    /// On where it was paused.
    Resume,
    /// All requests to the stable revision, then the instances.
    Abort,
}

/// A verb that the server has taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// How the release stood when the verb came.
    pub rollout: Rollout,
    /// What the verb asks for was so already.
    pub already: bool,
}

impl Client {
    /// A client; sends nothing.
    ///
    /// # Errors
    /// An endpoint that is no URL or would send the token in the clear.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { transport: Arc::new(Transport::new(config)?), checked: Arc::new(OnceCell::new()) })
    }

    /// The server's address.
    pub fn endpoint(&self) -> &str {
        self.transport.endpoint()
    }

    /// Who the server is; asked once.
    ///
    /// # Errors
    /// It cannot be reached, or has another version of the API.
    pub async fn server(&self) -> Result<&ServerInfo, Error> {
        self.checked
            .get_or_try_init(|| async {
                let info: ServerInfo = self.json(Self::request("server_get", "", "", &[])?).await?;
                if info.api_version == API_VERSION {
                    Ok(info)
                } else {
                    let server = format!("API version {} (release {})", info.api_version, info.version);
                    Err(Error::Version { endpoint: self.endpoint().to_owned(), server })
                }
            })
            .await
    }

    /// Reads an object.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::is_not_found`] when there is none.
    pub async fn get(&self, kind: &Kind, ns: &str, name: &str) -> Result<Object, Error> {
        self.server().await?;
        self.json(Self::request(&format!("{}_get", kind.name), ns, name, &[])?).await
    }

    /// All objects of a kind in a namespace; namespaces themselves ignore `ns`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list(&self, kind: &Kind, ns: &str) -> Result<Vec<Object>, Error> {
        self.server().await?;
        let (mut all, mut token) = (Vec::new(), None);
        for _ in 0..LIST_PAGES {
            let mut query = vec![("limit", "500".to_owned())];
            query.extend(token.map(|token| ("page_token", token)));
            let request = Self::request(&format!("{}_list", kind.name), ns, "", &query)?;
            let page: Page<Object> = self.json(request).await?;
            all.extend(page.items);
            match page.next_page_token {
                Some(next) => token = Some(next),
                None => return Ok(all),
            }
        }
        let first = Self::request(&format!("{}_list", kind.name), ns, "", &[])?;
        let why = format!("more than {LIST_PAGES} pages");
        Err(self.transport.foreign(&first, 200, why.as_bytes()))
    }

    /// Creates an object or replaces its whole spec. `class` is the change that was announced to a person; the server
    /// refuses a more severe one.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::is_mismatch`] when somebody else changed the object.
    pub async fn put(
        &self,
        kind: &Kind,
        (ns, name): (&str, &str),
        spec: &Value,
        precondition: &Precondition,
        class: Option<&str>,
    ) -> Result<Written, Error> {
        self.server().await?;
        let mut request = Self::request(&format!("{}_put", kind.name), ns, name, &[])?;
        match precondition {
            Precondition::Absent { key } => {
                request.headers.push(("if-none-match", "*".to_owned()));
                request.headers.push(("idempotency-key", key.clone()));
            }
            Precondition::Generation(generation) => request.headers.push(("if-match", format!("\"{generation}\""))),
        }
        request.headers.extend(class.map(|class| ("sampan-expected-change-class", class.to_owned())));
        request.body = Some(spec.clone());
        let mut object: Object = self.json(request.clone()).await?;
        let operation = match object.0.remove("operation") {
            None | Some(Value::Null) => None,
            Some(operation) => Some(self.decode(&request, 200, operation)?),
        };
        Ok(Written { object, operation })
    }

    /// Deletes an object of a generation, or of any.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::is_not_found`] when there is none.
    pub async fn delete(
        &self,
        kind: &Kind,
        (ns, name): (&str, &str),
        generation: Option<i64>,
    ) -> Result<Delete, Error> {
        self.server().await?;
        let mut request = Self::request(&format!("{}_delete", kind.name), ns, name, &[])?;
        let tag = generation.map_or_else(|| "*".to_owned(), |generation| format!("\"{generation}\""));
        request.headers.push(("if-match", tag));
        let answer = self.transport.send(&request).await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|e| self.transport.broken(&e))?;
        if body.is_empty() {
            return Ok(Delete::Gone);
        }
        let mut body: Value = self.parse(&request, status, &body)?;
        match body.get_mut("operation").map(Value::take) {
            None | Some(Value::Null) => Ok(Delete::Gone),
            Some(operation) => Ok(Delete::Started(self.decode(&request, status, operation)?)),
        }
    }

    /// What a write of this spec would do. One try only: a plan must not hang on it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn dry_run(&self, kind: &Kind, (ns, name): (&str, &str), spec: &Value) -> Result<DryRun, Error> {
        self.server().await?;
        let mut request = Self::request(&format!("{}_dry_run", kind.name), ns, name, &[])?;
        request.retry = false;
        request.body = Some(spec.clone());
        self.json(request).await
    }

    /// An operation, when it changes or after `wait` at the latest.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn operation(&self, id: &str, wait: Duration) -> Result<Operation, Error> {
        self.server().await?;
        let seconds = wait.as_secs().min(60);
        let mut request = Self::request("operation_get", "", id, &[("wait", seconds.to_string())])?;
        request.extra = Some(wait);
        self.json(request).await
    }

    /// The instances of an application.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn instances(&self, ns: &str, name: &str) -> Result<Vec<Instance>, Error> {
        self.items("application_instances", ns, name, &[]).await
    }

    /// The revisions of an application, newest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revisions(&self, ns: &str, name: &str) -> Result<Vec<Revision>, Error> {
        self.items("application_revisions", ns, name, &[]).await
    }

    /// Events, oldest first; queries such as `("namespace", "shop")`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events(&self, query: &[(&str, String)]) -> Result<Vec<Event>, Error> {
        self.items("event_list", "", "", query).await
    }

    /// Restarts every instance of an application, once, however often the request must be sent.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn restart(&self, ns: &str, name: &str) -> Result<Operation, Error> {
        self.started("application_restart", (ns, name), json!({})).await
    }

    /// Returns an application to revision `to`, or to the one before, once, however often the request must be sent.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rollback(&self, ns: &str, name: &str, to: Option<u64>) -> Result<Operation, Error> {
        let body = to.map_or_else(|| json!({}), |to| json!({ "to_revision": to }));
        self.started("application_rollback", (ns, name), body).await
    }

    /// How far the newest release of an application is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rollout(&self, ns: &str, name: &str) -> Result<Rollout, Error> {
        self.server().await?;
        self.json(Self::request("application_rollout", ns, name, &[])?).await
    }

    /// The size of an application, with its newest decisions.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn scaling(&self, ns: &str, name: &str, decisions: usize) -> Result<Scaling, Error> {
        self.server().await?;
        let query = [("limit", decisions.to_string())];
        self.json(Self::request("application_scaling", ns, name, &query)?).await
    }

    /// Tells a release under way to go on, to stand or to return, once, however often the request must be sent.
    ///
    /// # Errors
    /// See [`Error`]; 409 when there is no release that takes it.
    pub async fn tell(&self, ns: &str, name: &str, verb: ReleaseVerb) -> Result<Taken, Error> {
        self.server().await?;
        let (endpoint, body) = match verb {
            ReleaseVerb::Promote { full, step: None } => ("rollout_promote", json!({ "full": full })),
            ReleaseVerb::Promote { full, step } => ("rollout_promote", json!({ "full": full, "step": step })),
            ReleaseVerb::Pause => ("rollout_pause", json!({})),
            ReleaseVerb::Resume => ("rollout_resume", json!({})),
            ReleaseVerb::Abort => ("rollout_abort", json!({})),
        };
        let request = Self::once(endpoint, (ns, name), body)?;
        let answer = self.transport.send(&request).await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|e| self.transport.broken(&e))?;
        Ok(Taken { rollout: self.parse(&request, status, &body)?, already: status == 200 })
    }

    /// An endpoint that starts an operation.
    async fn started(&self, endpoint: &str, at: (&str, &str), body: Value) -> Result<Operation, Error> {
        self.server().await?;
        let request = Self::once(endpoint, at, body)?;
        let mut answer: Value = self.json(request.clone()).await?;
        let inner = answer.get_mut("operation").map(Value::take);
        let operation = inner.unwrap_or(answer);
        self.decode(&request, 202, operation)
    }

    /// A request with one key for all tries, so that it has one effect.
    fn once(endpoint: &str, (ns, name): (&str, &str), body: Value) -> Result<Request, Error> {
        let mut request = Self::request(endpoint, ns, name, &[])?;
        request.headers.push(("idempotency-key", crate::idempotency_key()));
        request.body = Some(body);
        Ok(request)
    }

    /// The living tokens, without what is secret in them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, Error> {
        self.items("token_list", "", "", &[]).await
    }

    /// Makes a token. One try only: the answer to a first one that was lost would be the token, and nobody would have it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn make_token(&self, new: &NewToken) -> Result<MadeToken, Error> {
        let body = json!({ "name": new.name, "role": new.role, "ttl_seconds": new.ttl_seconds });
        self.call("token_create", ("", ""), &[], Some(body)).await
    }

    /// Lets a token end `ttl` from now, or when it would have ended, if that is later.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::is_not_found`] when it is over.
    pub async fn renew_token(&self, id: &str, ttl: Duration) -> Result<TokenInfo, Error> {
        self.server().await?;
        let mut request = Self::request("token_renew", "", id, &[])?;
        request.body = Some(json!({ "ttl_seconds": ttl.as_secs() }));
        self.json(request).await
    }

    /// Revokes a token and all that were made with it.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::is_not_found`] when the server has forgotten it.
    pub async fn revoke_token(&self, id: &str) -> Result<TokenInfo, Error> {
        self.call("token_revoke", ("", id), &[], None).await
    }

    /// Any endpoint by its name in the API table, for what has no method of its own.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        (ns, name): (&str, &str),
        query: &[(&str, String)],
        body: Option<Value>,
    ) -> Result<T, Error> {
        self.server().await?;
        let mut request = Self::request(endpoint, ns, name, query)?;
        // What is gone stays so, however often it is deleted.
        request.retry = request.method == Method::GET || request.method == Method::DELETE;
        request.body = body;
        self.json(request).await
    }

    /// Any endpoint whose answer has no end: logs that are followed, the watch. No time limit.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stream(
        &self,
        endpoint: &str,
        (ns, name): (&str, &str),
        query: &[(&str, String)],
    ) -> Result<reqwest::Response, Error> {
        self.server().await?;
        let mut request = Self::request(endpoint, ns, name, query)?;
        request.extra = None;
        self.transport.send(&request).await
    }

    async fn items<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        ns: &str,
        name: &str,
        query: &[(&str, String)],
    ) -> Result<Vec<T>, Error> {
        self.server().await?;
        #[derive(serde::Deserialize)]
        struct Items<T> {
            items: Vec<T>,
        }
        let all: Items<T> = self.json(Self::request(endpoint, ns, name, query)?).await?;
        Ok(all.items)
    }

    fn request(endpoint: &str, ns: &str, name: &str, query: &[(&str, String)]) -> Result<Request, Error> {
        let wrong = |what: &str| Error::Settings(what.to_owned());
        let row: &Endpoint = api::endpoint(endpoint).ok_or_else(|| wrong(&format!("no endpoint {endpoint}")))?;
        // Names go into the path as they are, so nothing else may.
        for (wanted, text) in [("{ns}", ns), ("{name}", name)] {
            if row.path.contains(wanted) && !name::is_name(text) {
                let why = "1 to 40 lower-case letters, digits and \"-\", beginning with a letter";
                return Err(wrong(&format!("{text:?} is no name: {why}")));
            }
        }
        if row.path.contains("{id}") && !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err(wrong(&format!("{name:?} is no id: letters, digits, - and _")));
        }
        let mut target = row.url(ns, name);
        for (i, (key, value)) in query.iter().enumerate() {
            let _ = write!(target, "{}{key}={}", if i == 0 { '?' } else { '&' }, encode(value));
        }
        Ok(Request {
            method: Method::from_bytes(row.method.as_bytes()).unwrap_or(Method::GET),
            target,
            headers: Vec::new(),
            body: None,
            extra: Some(Duration::ZERO),
            retry: true,
        })
    }

    async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let answer = self.transport.send(&request).await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|e| self.transport.broken(&e))?;
        self.parse(&request, status, &body)
    }

    fn parse<T: DeserializeOwned>(&self, request: &Request, status: u16, body: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|_| self.transport.foreign(request, status, body))
    }

    fn decode<T: DeserializeOwned>(&self, request: &Request, status: u16, value: Value) -> Result<T, Error> {
        let text = value.to_string();
        serde_json::from_value(value).map_err(|_| self.transport.foreign(request, status, text.as_bytes()))
    }
}

/// A value in a query.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~/:".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}
