//! Tag -> digest, by the registry's HTTP API. One request per revision, through the egress guard.

use std::net::IpAddr;
use std::time::Duration;

use sampan_engine::runtime::RuntimeError;
use sampan_schema::image_ref::{self, ImageRef};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// Resolves tags. Clone is cheap.
#[derive(Debug, Clone)]
pub struct Registry {
    client: reqwest::Client,
    /// `sampan dev`: registries on loopback are spoken to over plain HTTP.
    allow_loopback: bool,
}

impl Registry {
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(allow_loopback: bool) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, allow_loopback })
    }

    /// The digest of `image`; one that is written in the reference is taken as it is.
    ///
    /// # Errors
    /// `ImageNotFound` and `ImageDenied` are permanent, `RegistryUnreachable` is not.
    pub async fn resolve(&self, image: &str) -> Result<(String, String), RuntimeError> {
        let r = image_ref::parse(image)
            .map_err(|e| RuntimeError::permanent("InvalidImage", format!("container.image {image:?} {e}")))?;
        let digest = match &r.digest {
            Some(d) => d.clone(),
            None => self.ask(&r, image).await?,
        };
        let reference = r.with_digest(&digest);
        Ok((digest, reference))
    }

    async fn ask(&self, r: &ImageRef, image: &str) -> Result<String, RuntimeError> {
        let scheme = if self.guard(r).await? { "http" } else { "https" };
        let tag = r.tag.as_deref().unwrap_or("latest");
        let url = format!("{scheme}://{}/v2/{}/manifests/{tag}", r.host, r.path);
        let mut answer = self.send(&url, None, r).await?;
        if answer.status().as_u16() == 401
            && let Some(token) = self.token(&answer, r).await
        {
            answer = self.send(&url, Some(&token), r).await?;
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

    async fn send(&self, url: &str, token: Option<&str>, r: &ImageRef) -> Result<reqwest::Response, RuntimeError> {
        let mut request = self.client.head(url).header("accept", ACCEPT);
        if let Some(t) = token {
            request = request.bearer_auth(t);
        }
        request.send().await.map_err(|e| {
            let mut cause: &dyn std::error::Error = &e;
            while let Some(source) = cause.source() {
                cause = source;
            }
            unreachable(&r.host, &format!("cannot be reached: {cause}"))
        })
    }

    /// An anonymous pull token, when the registry says where to get one on its own host's terms.
    async fn token(&self, answer: &reqwest::Response, r: &ImageRef) -> Option<String> {
        let header = answer.headers().get("www-authenticate")?.to_str().ok()?.strip_prefix("Bearer ")?.to_owned();
        let field = |name: &str| {
            let from = header.find(&format!("{name}=\""))? + name.len() + 2;
            header[from..].split('"').next().map(str::to_owned)
        };
        let realm = field("realm").filter(|u| u.starts_with("https://"))?;
        let host = realm.trim_start_matches("https://").split('/').next()?.to_owned();
        self.guard(&ImageRef { host, path: String::new(), tag: None, digest: None })
            .await
            .ok()
            .filter(|plain| !plain)?;
        let service = field("service").unwrap_or_default();
        let url = format!("{realm}?service={service}&scope=repository:{}:pull", r.path);
        let body: serde_json::Value = self.client.get(url).send().await.ok()?.json().await.ok()?;
        Some(body.get("token").or_else(|| body.get("access_token"))?.as_str()?.to_owned())
    }

    /// True when the registry is on loopback, and so plain HTTP. Private, link-local and loopback addresses are
    /// refused unless this server allows loopback.
    async fn guard(&self, r: &ImageRef) -> Result<bool, RuntimeError> {
        let (name, port) = r.host.rsplit_once(':').unwrap_or((&r.host, "443"));
        let port: u16 = port.parse().unwrap_or(443);
        let addresses: Vec<IpAddr> = tokio::net::lookup_host((name, port))
            .await
            .map_err(|e| unreachable(&r.host, &format!("has no address: {e}")))?
            .map(|a| a.ip().to_canonical())
            .collect();
        let loopback = !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback);
        if loopback && self.allow_loopback {
            return Ok(true);
        }
        if addresses.iter().any(is_inside) {
            return Err(RuntimeError::permanent(
                "RegistryNotAllowed",
                format!("registry {} is on a private or loopback address, which this server does not allow", r.host),
            ));
        }
        Ok(false)
    }
}

fn unreachable(host: &str, what: &str) -> RuntimeError {
    let next = "check that container.image names the right registry, and that it runs";
    RuntimeError::transient("RegistryUnreachable", format!("registry {host} {what}; {next}"))
}

fn is_inside(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || (v6.segments()[0] & 0xfe00) == 0xfc00
                || (v6.segments()[0] & 0xffc0) == 0xfe80
        }
    }
}
