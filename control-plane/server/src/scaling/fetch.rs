//! Numbers that others measure: a Prometheus query, or an address that answers with one number.

use std::time::Duration;

use reqwest::Url;
use sampan_engine::analysis;
use sampan_schema::scaling_rule::{Metric, MetricType};
use serde_json::Value;

use crate::sample::{self, Sampler};

/// For all of one answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The number. It comes in bounded time.
///
/// # Errors
/// Why there is none, without what a user may have written into the address.
pub async fn fetch(sampler: &Sampler, metric: &Metric, token: Option<&str>) -> Result<f64, String> {
    let url = address(metric).ok_or("its endpoint is no address")?;
    let (host, body) = match tokio::time::timeout(LIMIT, sampler.get(url, token, LIMIT)).await {
        Ok(answer) => answer?,
        Err(_) => return Err(format!("there was no answer within {} s", LIMIT.as_secs())),
    };
    number(metric.kind, &body).map_err(|why| format!("{host} {why}"))
}

fn address(metric: &Metric) -> Option<Url> {
    let endpoint = metric.endpoint.as_deref()?;
    if metric.kind != MetricType::Prometheus {
        return Url::parse(endpoint).ok();
    }
    let mut url = Url::parse(&format!("{}/api/v1/query", endpoint.trim_end_matches('/'))).ok()?;
    url.query_pairs_mut().append_pair("query", metric.query.as_deref()?);
    Some(url)
}

fn number(kind: MetricType, body: &Value) -> Result<f64, String> {
    if kind == MetricType::Prometheus {
        return match sample::number(body)? {
            analysis::Sample::Value(value) => Ok(value),
            analysis::Sample::Status(_) | analysis::Sample::Missing(_) => Err("did not answer with a number".into()),
        };
    }
    let value = body.get("value").and_then(Value::as_f64);
    value.ok_or_else(|| "did not answer as {\"value\": 12.5}".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::egress::Allowed;

    fn metric(kind: &str, endpoint: &str) -> Metric {
        let mut metric = json!({ "type": kind, "target": 1, "endpoint": endpoint });
        if kind == "prometheus" {
            metric["query"] = "sum(rate(x[1m])) > 0".into();
        }
        serde_json::from_value(metric).unwrap()
    }

    /// Answers one request; gives back its first line.
    async fn server(body: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head).unwrap().lines().next().unwrap().to_owned()
        });
        (address, asked)
    }

    #[tokio::test]
    async fn a_number_is_read_from_either() {
        let dev = Sampler::new(Allowed { loopback: true, named: Vec::new() });
        let (address, asked) = server(r#"{"value": 12.5, "unit": "rows"}"#).await;
        assert_eq!(fetch(&dev, &metric("external", &format!("{address}/queue?of=a")), None).await, Ok(12.5));
        assert_eq!(asked.await.unwrap(), "GET /queue?of=a HTTP/1.1");
        let (address, asked) = server(r#"{"data": {"resultType": "vector", "result": [{"value": [1, "7"]}]}}"#).await;
        assert_eq!(fetch(&dev, &metric("prometheus", &format!("{address}/")), None).await, Ok(7.0));
        assert!(asked.await.unwrap().starts_with("GET /api/v1/query?query=sum%28rate"));
    }

    #[tokio::test]
    async fn what_is_no_number_or_not_allowed_is_a_reason() {
        let dev = Sampler::new(Allowed { loopback: true, named: Vec::new() });
        for body in ["{}", r#"{"value": "12"}"#, "[1]", "nothing"] {
            let (address, _asked) = server(body).await;
            let why = fetch(&dev, &metric("external", &format!("{address}/secret-path")), None).await.unwrap_err();
            assert!(why.contains("did not answer") && !why.contains("secret-path"), "{why}");
        }
        let public = Sampler::new(Allowed::default());
        let why = fetch(&public, &metric("external", "http://127.0.0.1:9/"), None).await.unwrap_err();
        assert!(why.contains("--allow-egress 127.0.0.1:9"), "{why}");
    }
}
