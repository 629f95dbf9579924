//! Tag -> digest, by the registry's HTTP API. One request per revision, through the egress guard.

use std::time::Duration;

use reqwest::Url;
use sampan_engine::runtime::RuntimeError;
use sampan_schema::image_ref::{self, ImageRef};

use crate::egress::{self, Allowed, Guard, Refused};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// For one request to a registry.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer with a token.
const TOKEN_LIMIT: usize = 1 << 20;

/// Resolves tags. Clone is cheap.
#[derive(Debug, Clone)]
pub struct Registry {
    guard: Guard,
}

/// A host that passed the guard. Registries that somebody named, and those on loopback, speak plain HTTP.
struct Checked {
    plain: bool,
    client: reqwest::Client,
}

impl Registry {
    pub fn new(allowed: Allowed) -> Self {
        Self { guard: Guard::new(allowed) }
    }

    /// The digest of `image`; one that is written in the reference is taken as it is.
    ///
    /// # Errors
    /// `ImageNotFound`, `ImageDenied` and `RegistryNotAllowed` are permanent, `RegistryUnreachable` is not.
    pub async fn resolve(&self, image: &str) -> Result<(String, String), RuntimeError> {
        let r = image_ref::parse(image)
            .map_err(|e| RuntimeError::permanent("InvalidImage", format!("container.image {image:?} {e}")))?;
        // Also where nothing is left to ask: the runtime pulls from there.
        let checked = self.guard(&r.host).await?;
        let digest = match &r.digest {
            Some(d) => d.clone(),
            None => self.ask(&checked, &r, image).await?,
        };
        let reference = r.with_digest(&digest);
        Ok((digest, reference))
    }

    async fn ask(&self, checked: &Checked, r: &ImageRef, image: &str) -> Result<String, RuntimeError> {
        let scheme = if checked.plain { "http" } else { "https" };
        let tag = r.tag.as_deref().unwrap_or("latest");
        let url = format!("{scheme}://{}/v2/{}/manifests/{tag}", r.host, r.path);
        let mut answer = send(&checked.client, &url, None, r).await?;
        if answer.status().as_u16() == 401
            && let Some(token) = self.token(&answer, r).await
        {
            answer = send(&checked.client, &url, Some(&token), r).await?;
        }
        let status = answer.status().as_u16();
        match status {
            200 => answer
                .headers()
                .get("docker-content-digest")
                .and_then(|h| h.to_str().ok())
                .filter(|d| d.starts_with("sha256:") && d.len() == 71)
                .map(str::to_owned)
                .ok_or_else(|| unreachable(&r.host, "sent no digest")),
            404 => Err(RuntimeError::permanent(
                "ImageNotFound",
                format!("{image:?} is not in its registry: check repository and tag, or push it"),
            )),
            401 | 403 => Err(RuntimeError::permanent("ImageDenied", format!("the registry refuses {image:?}"))),
            other => Err(unreachable(&r.host, &format!("answered {other}"))),
        }
    }

    /// An anonymous pull token, when the registry says where to get one on its own host's terms.
    async fn token(&self, answer: &reqwest::Response, r: &ImageRef) -> Option<String> {
        let header = answer.headers().get("www-authenticate")?.to_str().ok()?.strip_prefix("Bearer ")?.to_owned();
        let field = |name: &str| {
            let from = header.find(&format!("{name}=\""))? + name.len() + 2;
            header[from..].split('"').next().map(str::to_owned)
        };
        let mut url = Url::parse(&field("realm")?).ok().filter(|u| u.scheme() == "https")?;
        let checked = self.guard(url.host_str()?).await.ok().filter(|c| !c.plain)?;
        url.query_pairs_mut()
            .append_pair("service", &field("service").unwrap_or_default())
            .append_pair("scope", &format!("repository:{}:pull", r.path));
        let mut answer = checked.client.get(url).send().await.ok()?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.ok()? {
            if body.len() + part.len() > TOKEN_LIMIT {
                return None;
            }
            body.extend_from_slice(&part);
        }
        let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(body.get("token").or_else(|| body.get("access_token"))?.as_str()?.to_owned())
    }

    /// Looks up `host[:port]` once, and refuses what this server may not speak to.
    async fn guard(&self, host: &str) -> Result<Checked, RuntimeError> {
        let passed = self.guard.check(host).await.map_err(|refused| match refused {
            Refused::Unknown(why) => unreachable(host, &why),
            Refused::Inside => RuntimeError::permanent(
                "RegistryNotAllowed",
                format!(
                    "registry {host} is on a private or loopback address, which this server does not allow: use a \
                     public registry, or start the server with --insecure-registry {host} if it is trusted"
                ),
            ),
        })?;
        let mut client = passed.client(REQUEST_TIMEOUT);
        if passed.trusted {
            client = client.no_proxy();
        }
        let client =
            client.build().map_err(|e| RuntimeError::transient("Unknown", format!("TLS cannot be set up: {e}")))?;
        Ok(Checked { plain: passed.trusted, client })
    }
}

async fn send(
    client: &reqwest::Client,
    url: &str,
    token: Option<&str>,
    r: &ImageRef,
) -> Result<reqwest::Response, RuntimeError> {
    let mut request = client.head(url).header("accept", ACCEPT);
    if let Some(t) = token {
        request = request.bearer_auth(t);
    }
    request.send().await.map_err(|e| unreachable(&r.host, &format!("cannot be reached: {}", egress::cause(&e))))
}

fn unreachable(host: &str, what: &str) -> RuntimeError {
    let next = "check that container.image names the right registry, and that it runs";
    RuntimeError::transient("RegistryUnreachable", format!("registry {host} {what}; {next}"))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    /// A registry client whose DNS gives `ip` once and something public ever after.
    fn registry(allowed: Allowed, ip: &str) -> (Registry, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let (ip, count): (IpAddr, _) = (ip.parse().unwrap(), asked.clone());
        let guard = Guard::with_lookup(allowed, move |_| {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            let ip = if first { ip } else { IpAddr::from([192, 0, 2, 1]) };
            Box::pin(async move { Ok(vec![ip]) })
        });
        (Registry { guard }, asked)
    }

    #[tokio::test]
    async fn hosts_inside_are_refused_by_tag_and_by_digest() {
        let real = Registry::new(Allowed::default());
        for host in ["127.0.0.1:5000", "10.1.2.3", "172.16.0.1:5000", "192.168.0.1", "169.254.169.254", "127.1"] {
            for reference in [format!("{host}/a/b:1"), format!("{host}/a/b@{}", digest())] {
                let error = real.resolve(&reference).await.unwrap_err();
                assert_eq!((error.reason.as_str(), error.permanent), ("RegistryNotAllowed", true), "{reference}");
                assert!(error.message.contains(&format!("--insecure-registry {host}")), "{error}");
            }
        }
        for ip in [
            "0.0.0.0",
            "127.8.8.8",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            for tail in [":1".to_owned(), format!("@{}", digest())] {
                let (named, _) = registry(Allowed::default(), ip);
                let error = named.resolve(&format!("registry.example/a{tail}")).await.unwrap_err();
                assert_eq!(error.reason, "RegistryNotAllowed", "{ip}");
            }
        }
    }

    #[tokio::test]
    async fn loopback_is_allowed_under_dev_and_other_private_hosts_where_they_are_named() {
        let dev = Allowed { loopback: true, named: vec!["10.1.2.3:5000".into()] };
        let real = Registry::new(dev.clone());
        for host in ["127.0.0.1:5000", "localhost:5000", "10.1.2.3:5000"] {
            let reference = format!("{host}/a@{}", digest());
            assert_eq!(real.resolve(&reference).await.unwrap(), (digest(), reference));
        }
        for host in ["10.1.2.3", "10.1.2.3:5001", "10.1.2.4:5000"] {
            let error = real.resolve(&format!("{host}/a@{}", digest())).await.unwrap_err();
            assert_eq!(error.reason, "RegistryNotAllowed", "{host}");
        }
        let (mapped, _) = registry(dev, "::ffff:127.0.0.1");
        assert!(mapped.resolve(&format!("registry.example/a@{}", digest())).await.is_ok());
    }

    #[tokio::test]
    async fn requests_go_to_the_address_that_was_checked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("registry.invalid:{}", listener.local_addr().unwrap().port());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            let answer = format!("HTTP/1.1 200 OK\r\ndocker-content-digest: {}\r\n\r\n", digest());
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        let (rebound, asked) = registry(Allowed { loopback: true, named: Vec::new() }, "127.0.0.1");
        let resolved = rebound.resolve(&format!("{host}/team/app:1")).await.unwrap();
        assert_eq!(resolved, (digest(), format!("{host}/team/app@{}", digest())));
        assert!(server.await.unwrap().starts_with("HEAD /v2/team/app/manifests/1 "));
        assert_eq!(asked.load(Ordering::SeqCst), 1, "a second answer of DNS is not asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn dns_that_does_not_answer_is_not_waited_for() {
        let guard = Guard::with_lookup(Allowed::default(), |_| Box::pin(std::future::pending()));
        let silent = Registry { guard };
        let error = silent.resolve("registry.example/a:1").await.unwrap_err();
        assert_eq!((error.reason.as_str(), error.permanent), ("RegistryUnreachable", false));
        assert!(error.message.contains("DNS gave no answer"), "{error}");
    }
}
