//! What analyses ask of somebody else: a number of Prometheus, or a webhook's yes or no. Through the egress guard, and
//! never longer than the analysis says. What goes wrong is no answer, and says so without the address's path, its
//! query or a token.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, Url};
use sampan_engine::analysis::Sample;
use sampan_engine::release::Question;
use sampan_schema::gray_policy::AnalysisType;
use sampan_store::{Store, StoreError};
use serde_json::{Value, json};

use crate::egress::{self, Allowed, Guard, Refused};

/// All of them together have the time of one.
const TRIES: u32 = 3;
/// Before the second try; doubled before the third.
const PAUSE: Duration = Duration::from_millis(200);
/// Largest answer of Prometheus: one number takes far less.
const BODY_LIMIT: usize = 1 << 20;

/// Asks. Clone is cheap.
#[derive(Debug, Clone)]
pub struct Sampler {
    guard: Guard,
}

/// Key of a secret whose value is sent as bearer token.
const TOKEN: &str = "token";

/// The token in a secret of a namespace, as it is stored now.
///
/// # Errors
/// Why there is none.
pub fn token(store: &Store, namespace: &str, secret: &str) -> Result<String, String> {
    let data: Result<_, StoreError> = store.read(|r| r.object_private("secret", namespace, secret));
    let data = data.map_err(|_| format!("secret {secret:?} cannot be read"))?;
    let token = data.as_ref().and_then(|data| data.get(TOKEN)).and_then(Value::as_str);
    token.map(str::to_owned).ok_or_else(|| format!("secret {secret:?} has no key {TOKEN:?}"))
}

/// Whose release a question is about.
#[derive(Debug, Clone)]
pub struct Subject {
    pub namespace: String,
    pub application: String,
}

impl Sampler {
    pub fn new(allowed: Allowed) -> Self {
        Self { guard: Guard::new(allowed) }
    }

    /// The answer. It comes within the time that the analysis gives.
    pub async fn sample(&self, question: &Question, about: &Subject, token: Option<&str>) -> Sample {
        let seconds = question.analysis.timeout_seconds();
        let limit = Duration::from_secs(seconds.max(1).unsigned_abs());
        match tokio::time::timeout(limit, self.ask(question, about, token, limit)).await {
            Ok(Ok(sample)) => sample,
            Ok(Err(why)) => Sample::Missing(why),
            Err(_) => Sample::Missing(format!("there was no answer within {seconds} s")),
        }
    }

    /// One GET, for a JSON answer; with the host that gave it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get(&self, url: Url, token: Option<&str>, limit: Duration) -> Result<(String, Value), String> {
        let (host, client) = self.open(&url, limit).await?;
        let request = client.get(url);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let answer = request.send().await;
        let answer = answer.map_err(|e| format!("{host} cannot be reached: {}", egress::cause(&e)))?;
        let body = json_of(answer, &host).await?;
        Ok((host, body))
    }

    /// A client for the host of an address, when it may be asked.
    async fn open(&self, url: &Url, limit: Duration) -> Result<(String, reqwest::Client), String> {
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let passed = self.guard.check(&host).await.map_err(|refused| match refused {
            Refused::Unknown(why) => format!("{host} {why}"),
            Refused::Inside => format!(
                "{host} is on a private or loopback address, which this server does not allow: start it with \
                 --allow-egress {host} if it is trusted"
            ),
        })?;
        // A proxy would look the name up again.
        let client = passed.client(limit).no_proxy().build().map_err(|_| "TLS cannot be set up".to_owned())?;
        Ok((host, client))
    }

    async fn ask(
        &self,
        question: &Question,
        about: &Subject,
        token: Option<&str>,
        limit: Duration,
    ) -> Result<Sample, String> {
        let url = address(question, about).ok_or("its url is no address")?;
        let (host, client) = self.open(&url, limit).await?;
        let is_webhook = question.analysis.kind == AnalysisType::Webhook;
        let mut wait = PAUSE;
        let mut why = String::new();
        for number in 0..TRIES {
            if number > 0 {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            let request =
                if is_webhook { posted(client.post(url.clone()), question, about) } else { client.get(url.clone()) };
            let request = token.map_or(request.try_clone(), |token| Some(request.bearer_auth(token)));
            let Some(request) = request else { return Err("the request cannot be made".into()) };
            match request.send().await {
                // Whatever a webhook answers is its answer.
                Ok(answer) if is_webhook => return Ok(Sample::Status(answer.status().as_u16())),
                Ok(answer) if is_passing(&answer) => why = format!("{host} answered {}", answer.status().as_u16()),
                Ok(answer) => return number_of(answer, &host).await,
                // It may have been heard, and a webhook is not to hear twice.
                Err(e) if is_webhook && !e.is_connect() => {
                    return Err(format!("{host} gave no answer: {}", egress::cause(&e)));
                }
                Err(e) => why = format!("{host} cannot be reached: {}", egress::cause(&e)),
            }
        }
        Err(why)
    }
}

/// Where the question goes; of Prometheus with the expression.
fn address(question: &Question, about: &Subject) -> Option<Url> {
    let url = question.analysis.url.as_deref()?;
    if question.analysis.kind == AnalysisType::Webhook {
        return Url::parse(url).ok();
    }
    let mut url = Url::parse(&format!("{}/api/v1/query", url.trim_end_matches('/'))).ok()?;
    let query = question
        .analysis
        .query
        .as_deref()?
        .replace("{{namespace}}", &about.namespace)
        .replace("{{application}}", &about.application)
        .replace("{{revision}}", &question.revision)
        .replace("{{stable_revision}}", &question.stable_revision);
    url.query_pairs_mut().append_pair("query", &query);
    Some(url)
}

fn posted(request: RequestBuilder, question: &Question, about: &Subject) -> RequestBuilder {
    request.json(&json!({
        "namespace": about.namespace,
        "application": about.application,
        "revision": question.revision,
        "stable_revision": question.stable_revision,
        "step": question.step,
        "analysis": question.id.0,
    }))
}

/// The server is not well or has too much to do: that passes.
fn is_passing(answer: &Response) -> bool {
    answer.status().is_server_error() || answer.status().as_u16() == 429
}

async fn number_of(answer: Response, host: &str) -> Result<Sample, String> {
    let body = json_of(answer, host).await?;
    number(&body).map_err(|why| format!("{host} {why}"))
}

async fn json_of(mut answer: Response, host: &str) -> Result<Value, String> {
    if !answer.status().is_success() {
        return Err(format!("{host} answered {}", answer.status().as_u16()));
    }
    let broken = |e: &reqwest::Error| format!("{host} broke off its answer: {}", egress::cause(e));
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|e| broken(&e))? {
        if body.len() + part.len() > BODY_LIMIT {
            return Err(format!("{host} answered more than {BODY_LIMIT} bytes: ask for one number"));
        }
        body.extend_from_slice(&part);
    }
    serde_json::from_slice(&body).map_err(|_| format!("{host} did not answer with JSON"))
}

/// The one number of an instant query.
pub fn number(body: &Value) -> Result<Sample, String> {
    let value = match body.pointer("/data/resultType").and_then(Value::as_str) {
        Some("scalar") => body.pointer("/data/result/1"),
        Some("vector") => match body.pointer("/data/result").and_then(Value::as_array).map(Vec::as_slice) {
            Some([]) => return Err("has no data for the query".into()),
            Some([one]) => one.pointer("/value/1"),
            Some(many) => return Err(format!("gave {} series for the query: sum them up to one", many.len())),
            None => None,
        },
        _ => None,
    };
    let value = value.and_then(Value::as_str).and_then(|text| text.parse().ok());
    value.map(Sample::Value).ok_or_else(|| "did not answer with a number".into())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// What the server of a test does with a request.
    #[derive(Clone)]
    enum Does {
        Answers(&'static str, String),
        Hangs,
        /// Begins an answer that never ends.
        Pours,
    }

    /// A server that does one after the other, and tells what it was asked. The last one again and again.
    async fn server(does: Vec<Does>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let what = does[turn.min(does.len() - 1)].clone();
                turn += 1;
                tokio::spawn(serve(stream, what, tell.clone()));
            }
        });
        (address, asked)
    }

    async fn serve(mut stream: tokio::net::TcpStream, does: Does, tell: mpsc::UnboundedSender<String>) {
        let mut asked = Vec::new();
        let mut part = [0; 4096];
        let whole = |asked: &[u8]| {
            let text = String::from_utf8_lossy(asked).into_owned();
            let (head, body) = text.split_once("\r\n\r\n")?;
            let head = head.to_lowercase();
            let length =
                head.split("content-length: ").nth(1).and_then(|l| l.lines().next()?.parse().ok()).unwrap_or(0);
            (body.len() >= length).then(|| text.clone())
        };
        let text = loop {
            let n = stream.read(&mut part).await.unwrap_or(0);
            if n == 0 {
                return;
            }
            asked.extend_from_slice(&part[..n]);
            if let Some(text) = whole(&asked) {
                break text;
            }
        };
        let _ = tell.send(text);
        match does {
            Does::Answers(head, body) => {
                let text =
                    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                let _ = stream.write_all(text.as_bytes()).await;
            }
            Does::Hangs => std::future::pending().await,
            Does::Pours => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
            }
        }
    }

    fn ok(body: &str) -> Does {
        Does::Answers("200 OK", body.to_owned())
    }

    fn vector(values: &[&str]) -> Does {
        let series: Vec<Value> = values.iter().map(|v| json!({ "metric": {}, "value": [1.5, v] })).collect();
        ok(&json!({ "status": "success", "data": { "resultType": "vector", "result": series } }).to_string())
    }

    fn question(analysis: &Value) -> Question {
        Question {
            id: ("gate".into(), 7),
            analysis: serde_json::from_value(analysis.clone()).unwrap(),
            revision: "abc".into(),
            stable_revision: "def".into(),
            step: 2,
        }
    }

    async fn asked_of(allowed: Allowed, analysis: &Value, token: Option<&str>) -> Sample {
        let about = Subject { namespace: "shop".into(), application: "cart".into() };
        Sampler::new(allowed).sample(&question(analysis), &about, token).await
    }

    fn dev() -> Allowed {
        Allowed { loopback: true, named: Vec::new() }
    }

    fn prometheus(address: SocketAddr) -> Value {
        json!({ "type": "prometheus", "url": format!("http://{address}/base/"), "timeout_seconds": 60, "max": 1,
                "query": "rate(x{app=\"{{namespace}}/{{application}}\",r=\"{{revision}}\",s=\"{{stable_revision}}\"}[1m])" })
    }

    fn webhook(address: SocketAddr) -> Value {
        json!({ "type": "webhook", "url": format!("http://{address}/gate?key=hush"), "timeout_seconds": 60 })
    }

    #[track_caller]
    fn assert_missing(sample: &Sample, part: &str) {
        let Sample::Missing(why) = sample else { panic!("it says something: {sample:?}") };
        assert!(why.contains(part), "{why}");
        for secret in ["hush", "bearer"] {
            assert!(!why.contains(secret), "{why}");
        }
    }

    #[tokio::test]
    async fn prometheus_is_asked_for_the_release_and_gives_one_number() {
        let (address, mut asked) = server(vec![vector(&["0.25"])]).await;
        assert_eq!(asked_of(dev(), &prometheus(address), Some("hush")).await, Sample::Value(0.25));
        let request = asked.recv().await.unwrap();
        let query = "query=rate%28x%7Bapp%3D%22shop%2Fcart%22%2Cr%3D%22abc%22%2Cs%3D%22def%22%7D%5B1m%5D%29";
        assert!(request.starts_with(&format!("GET /base/api/v1/query?{query} HTTP/1.1\r\n")), "{request}");
        assert!(request.contains("authorization: Bearer hush\r\n"), "{request}");
        let scalar = json!({ "data": { "resultType": "scalar", "result": [1, "3"] } }).to_string();
        let (address, _asked) = server(vec![ok(&scalar)]).await;
        assert_eq!(asked_of(dev(), &prometheus(address), None).await, Sample::Value(3.0));
    }

    #[tokio::test]
    async fn what_is_no_number_is_no_answer() {
        let matrix = json!({ "data": { "resultType": "matrix", "result": [] } }).to_string();
        for (does, part) in [
            (vector(&[]), "has no data"),
            (vector(&["1", "2"]), "2 series"),
            (vector(&["many"]), "with a number"),
            (ok(&matrix), "with a number"),
            (ok("<html>"), "with JSON"),
            (Does::Answers("400 Bad Request", "{}".into()), "answered 400"),
            (Does::Answers("302 Found\r\nlocation: http://169.254.169.254/", String::new()), "answered 302"),
            (Does::Pours, "more than 1048576 bytes"),
        ] {
            let (address, _asked) = server(vec![does]).await;
            assert_missing(&asked_of(dev(), &prometheus(address), Some("hush")).await, part);
        }
        let (address, _asked) = server(vec![vector(&["NaN"])]).await;
        let Sample::Value(value) = asked_of(dev(), &prometheus(address), None).await else { panic!("no value") };
        assert!(value.is_nan(), "the engine says what it means");
    }

    #[tokio::test]
    async fn a_server_that_is_not_well_is_asked_again_and_not_for_ever() {
        let unwell = Does::Answers("503 Service Unavailable", String::new());
        let (address, mut asked) = server(vec![unwell.clone(), unwell.clone(), vector(&["1"])]).await;
        assert_eq!(asked_of(dev(), &prometheus(address), None).await, Sample::Value(1.0));
        for _ in 0..3 {
            asked.recv().await.unwrap();
        }
        let (address, mut asked) = server(vec![unwell]).await;
        assert_missing(&asked_of(dev(), &prometheus(address), None).await, "answered 503");
        for _ in 0..3 {
            asked.recv().await.unwrap();
        }
        assert!(asked.try_recv().is_err(), "a fourth try");
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_waited_for_as_long_as_the_analysis_says() {
        for make in [prometheus as fn(SocketAddr) -> Value, webhook] {
            let (address, mut asked) = server(vec![Does::Hangs]).await;
            let mut analysis = make(address);
            analysis["timeout_seconds"] = 1.into();
            let sample = tokio::time::timeout(Duration::from_mins(1), asked_of(dev(), &analysis, None)).await;
            assert_missing(&sample.unwrap(), "");
            asked.recv().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_webhook_hears_once_what_it_is_about_and_its_status_is_the_answer() {
        for status in [200, 204, 302, 404, 500] {
            let head: &'static str = match status {
                200 => "200 OK",
                204 => "204 No Content",
                302 => "302 Found\r\nlocation: http://169.254.169.254/",
                404 => "404 Not Found",
                _ => "500 Internal Server Error",
            };
            let (address, mut asked) = server(vec![Does::Answers(head, String::new())]).await;
            assert_eq!(asked_of(dev(), &webhook(address), Some("hush")).await, Sample::Status(status));
            let request = asked.recv().await.unwrap();
            assert!(request.starts_with("POST /gate?key=hush HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("authorization: Bearer hush\r\n"), "{request}");
            let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            let wanted = json!({ "namespace": "shop", "application": "cart", "revision": "abc",
                                 "stable_revision": "def", "step": 2, "analysis": "gate" });
            assert_eq!(body, wanted);
            assert!(asked.try_recv().is_err(), "{status} is asked again");
        }
    }

    #[tokio::test]
    async fn who_is_inside_is_not_asked_unless_named() {
        let (address, mut asked) = server(vec![Does::Answers("200 OK", String::new())]).await;
        assert_missing(
            &asked_of(Allowed::default(), &webhook(address), None).await,
            &format!("--allow-egress {address}"),
        );
        let named = Allowed { loopback: false, named: vec![address.to_string()] };
        assert_eq!(asked_of(named, &webhook(address), None).await, Sample::Status(200));
        asked.recv().await.unwrap();
        assert!(asked.try_recv().is_err(), "one request, not two");
        for host in ["169.254.169.254", "2852039166", "0x7f.1", "[::ffff:10.0.0.1]", "10.0.0.1:9090", "localhost"] {
            let analysis = json!({ "type": "webhook", "url": format!("http://{host}/"), "timeout_seconds": 60 });
            assert_missing(&asked_of(Allowed::default(), &analysis, None).await, "does not allow");
        }
        // Loopback under dev, and nothing else inside.
        let metadata = json!({ "type": "webhook", "url": "http://169.254.169.254/", "timeout_seconds": 60 });
        assert_missing(&asked_of(dev(), &metadata, None).await, "does not allow");
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        for analysis in [webhook(address), prometheus(address)] {
            assert_missing(&asked_of(dev(), &analysis, Some("hush")).await, "cannot be reached");
        }
    }
}
