//! One request: token, retries, and the reading of refusals.

use crate::Error;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Method, Response, StatusCode, Url};
use sampan_schema::API_VERSION;
use sampan_schema::problem::Problem;
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Longest pause that a `Retry-After` of the server is followed for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How a client shows who it is.
#[derive(Clone, Default)]
pub enum Token {
    /// Not at all.
    #[default]
    None,
    /// With this token.
    Text(String),
    /// With the content of this file, which is read again when the server refuses it.
    File(PathBuf),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// Settings of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// `https://…`, or `http://…` on loopback.
    pub endpoint: String,
    /// How the client shows who it is.
    pub token: Token,
    /// What the server's log calls the client.
    pub user_agent: String,
    /// For one request, not for the waiting.
    pub timeout: Duration,
    /// Further tries after connection errors, 429, 502, 503 and 504.
    pub retries: u32,
    /// URL of the proxy; without it that of the environment (`HTTPS_PROXY`, `NO_PROXY`), and none for loopback.
    pub proxy: Option<Secret>,
    /// Certificates in PEM form that are trusted beside those of the system.
    pub ca_certificates: Option<String>,
}

/// Text that may hold a password: not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Config {
    /// Usual settings.
    pub fn new(endpoint: impl Into<String>, token: Token) -> Self {
        Self {
            endpoint: endpoint.into(),
            token,
            user_agent: concat!("sampan-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Duration::from_secs(30),
            retries: 4,
            proxy: None,
            ca_certificates: None,
        }
    }
}

/// A request, ready to be sent several times.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Value>,
    /// Time beyond the usual, for a long poll; nothing for a stream without an end.
    pub extra: Option<Duration>,
    pub retry: bool,
}

pub(crate) struct Transport {
    pub config: Config,
    base: String,
    loopback: bool,
    proxy: Option<reqwest::Proxy>,
    certificates: Vec<reqwest::Certificate>,
    http: OnceLock<reqwest::Client>,
    token: Mutex<Option<HeaderValue>>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Transport {
    pub fn new(config: Config) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Settings(format!("the endpoint {:?} {why}", config.endpoint));
        let url = Url::parse(&config.endpoint).map_err(|e| wrong(&format!("is no URL: {e}")))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = is_loopback(host);
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(wrong("would send the token in the clear: use https, or http on loopback only")),
            _ => return Err(wrong("must begin with https://, or http:// on loopback")),
        }
        if host.is_empty() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must be scheme, host, and possibly port and path"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::Settings("the endpoint holds a user name or password: use the token".to_owned()));
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        let proxy = config.proxy.as_ref().map(|proxy| the_proxy(&proxy.0, url.scheme() == "http")).transpose()?;
        let certificates = config.ca_certificates.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let http = OnceLock::new();
        Ok(Self { config, base, loopback, proxy, certificates, http, token: Mutex::new(None) })
    }

    pub fn endpoint(&self) -> &str {
        &self.base
    }

    fn http(&self) -> Result<&reqwest::Client, Error> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        builder = match &self.proxy {
            Some(proxy) => builder.proxy(proxy.clone()),
            None if self.loopback => builder.no_proxy(),
            None => builder,
        };
        if self.base.starts_with("http://") {
            // Redirects are not followed, so no certificate is ever checked: spares reading those of the system.
            builder = builder.tls_certs_only([]);
        } else if !self.certificates.is_empty() {
            builder = builder.tls_certs_merge(self.certificates.clone());
        }
        let client = builder
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| Error::Settings(format!("HTTP cannot be set up: {}", cause_of(&e))))?;
        Ok(self.http.get_or_init(|| client))
    }

    /// The header with the token; `again` reads the file anew.
    fn authorization(&self, again: bool) -> Result<Option<HeaderValue>, Error> {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_some() && !again {
            return Ok(kept.clone());
        }
        let text = match &self.config.token {
            Token::None => return Ok(None),
            Token::Text(text) => text.clone(),
            Token::File(path) => std::fs::read_to_string(path)
                .map_err(|e| Error::Settings(format!("the token file {} cannot be read: {e}", path.display())))?,
        };
        let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .map_err(|_| Error::Settings("the token has characters that no header can hold".to_owned()))?;
        value.set_sensitive(true);
        *kept = Some(value.clone());
        Ok(Some(value))
    }

    /// Sends until there is an answer that is no passing failure. Refusals are errors.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        let (mut tries, mut renewed) = (0, false);
        loop {
            let more = request.retry && tries < self.config.retries;
            let pause = match self.once(request, renewed).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && !renewed && self.has_file() => {
                    renewed = true;
                    continue;
                }
                Ok(answer) if more && is_passing(answer.status()) => pause(tries, answer.headers()),
                Ok(answer) => return Err(self.refusal(request, answer).await),
                Err(error) if more && matches!(error, Error::Connection { .. }) => pause(tries, &HeaderMap::new()),
                Err(error) => return Err(error),
            };
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    fn has_file(&self) -> bool {
        matches!(self.config.token, Token::File(_))
    }

    async fn once(&self, request: &Request, renew: bool) -> Result<Response, Error> {
        let url = format!("{}{}", self.base, request.target);
        let mut builder = self.http()?.request(request.method.clone(), url).header(USER_AGENT, &self.config.user_agent);
        if let Some(extra) = request.extra {
            builder = builder.timeout(self.config.timeout + extra);
        }
        if let Some(value) = self.authorization(renew)? {
            builder = builder.header(AUTHORIZATION, value);
        }
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        builder.send().await.map_err(|e| self.broken(&e))
    }

    pub fn broken(&self, error: &reqwest::Error) -> Error {
        Error::Connection { endpoint: self.base.clone(), cause: cause_of(error) }
    }

    async fn refusal(&self, request: &Request, answer: Response) -> Error {
        let status = answer.status().as_u16();
        let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = answer.bytes().await.unwrap_or_default();
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        match problem {
            // The server knows the API and not this endpoint: another release.
            Some(problem) if problem.code == "NO_ENDPOINT" => Error::Version {
                endpoint: self.base.clone(),
                server: format!("no endpoint {} {}", request.method, path(&request.target)),
            },
            Some(problem) => problem.into(),
            None if status == 404 => Error::Version {
                endpoint: self.base.clone(),
                server: format!(
                    "no endpoint {} {} (404 without an explanation; is it a Sampan server with API {API_VERSION}?)",
                    request.method,
                    path(&request.target)
                ),
            },
            None => match (self.foreign(request, status, &body), id) {
                // What stands in between may have noted it too.
                (Error::Foreign { endpoint, request, status, body }, Some(id)) => {
                    Error::Foreign { endpoint, request, status, body: format!("{body} [request {id}]") }
                }
                (error, _) => error,
            },
        }
    }

    pub fn foreign(&self, request: &Request, status: u16, body: &[u8]) -> Error {
        let text = String::from_utf8_lossy(body);
        Error::Foreign {
            endpoint: self.base.clone(),
            request: format!("{} {}", request.method, path(&request.target)),
            status,
            body: text.chars().filter(|c| !c.is_control()).take(200).collect(),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The proxy of a URL. `clear`: requests go through it as they are, with the token. Errors do not repeat the URL, which
/// may hold a password.
fn the_proxy(text: &str, clear: bool) -> Result<reqwest::Proxy, Error> {
    let wrong = |why: &str| Error::Settings(format!("the proxy {why}"));
    let url = Url::parse(text).map_err(|e| wrong(&format!("is no URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("must be http://HOST:PORT or https://HOST:PORT"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if clear && !is_loopback(host) {
        return Err(wrong("would see the token in the clear, since the endpoint is http: use https, or no proxy"));
    }
    reqwest::Proxy::all(text).map_err(|e| wrong(&cause_of(&e)))
}

/// The certificates of a PEM text, at least one.
fn certificates(pem: &str) -> Result<Vec<reqwest::Certificate>, Error> {
    let wrong = |why: String| Error::Settings(format!("the CA certificates cannot be used: {why}"));
    let all = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| wrong(cause_of(&e)))?;
    if all.is_empty() {
        return Err(wrong("there is no -----BEGIN CERTIFICATE----- in them".to_owned()));
    }
    Ok(all)
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// What the server asks for, else longer each time.
fn pause(tries: u32, headers: &HeaderMap) -> Duration {
    let asked = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok());
    let asked = asked.map(Duration::from_secs);
    asked.unwrap_or(FIRST_PAUSE * 2_u32.saturating_pow(tries.min(8))).min(LONGEST_PAUSE)
}

/// What is at the bottom of it: the layers above say only that a request failed, and to where.
fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
