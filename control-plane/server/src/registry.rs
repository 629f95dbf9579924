//! Tag -> digest, by the registry's HTTP API. One request per revision, through the egress guard.

use std::time::Duration;

use reqwest::Url;
use sampan_engine::runtime::{Login, RuntimeError};
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

/// An image that the caller may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// `sha256:…`.
    pub digest: String,
    /// `host/path@digest`.
    pub pull_reference: String,
    /// Not everybody may have it.
    pub private: bool,
}

enum Auth {
    Token(String),
    Password(Login),
}

impl Registry {
    pub fn new(allowed: Allowed) -> Self {
        Self { guard: Guard::new(allowed) }
    }

    /// The digest of `image`. One that is written in the reference is taken as it is, unless the registry has to say
    /// whether the caller may have it: with a login, and where `guarded`, because it was pulled with one before.
    ///
    /// # Errors
    /// `ImageNotFound`, `ImageDenied` and `RegistryNotAllowed` are permanent, `RegistryUnreachable` is not.
    pub async fn resolve(&self, image: &str, login: Option<&Login>, guarded: bool) -> Result<Resolved, RuntimeError> {
        let r = image_ref::parse(image)
            .map_err(|e| RuntimeError::permanent("InvalidImage", format!("container.image {image:?} {e}")))?;
        // Also where nothing is left to ask: the runtime pulls from there.
        let checked = self.guard(&r.host).await?;
        let (digest, private) = match &r.digest {
            Some(d) if login.is_none() && !guarded => (d.clone(), false),
            _ => self.ask(&checked, &r, image, login).await?,
        };
        let pull_reference = r.with_digest(&digest);
        Ok(Resolved { digest, pull_reference, private })
    }

    /// Digest, and whether the login was needed: what everybody may have is asked for without.
    async fn ask(
        &self,
        checked: &Checked,
        r: &ImageRef,
        image: &str,
        login: Option<&Login>,
    ) -> Result<(String, bool), RuntimeError> {
        let scheme = if checked.plain { "http" } else { "https" };
        let version = r.digest.as_deref().or(r.tag.as_deref()).unwrap_or("latest");
        let url = format!("{scheme}://{}/v2/{}/manifests/{version}", r.host, r.path);
        let mut answer = self.attempt(checked, &url, r, None).await?;
        let private = login.is_some() && matches!(answer.status().as_u16(), 401 | 403 | 404);
        if private {
            answer = self.attempt(checked, &url, r, login).await?;
        }
        let status = answer.status().as_u16();
        match status {
            200 if r.digest.is_some() => Ok((r.digest.clone().unwrap_or_default(), private)),
            200 => answer
                .headers()
                .get("docker-content-digest")
                .and_then(|h| h.to_str().ok())
                .filter(|d| d.starts_with("sha256:") && d.len() == 71)
                .map(|digest| (digest.to_owned(), private))
                .ok_or_else(|| unreachable(&r.host, "sent no digest")),
            404 => Err(RuntimeError::permanent(
                "ImageNotFound",
                format!("{image:?} is not in its registry: check repository and tag, or push it"),
            )),
            401 | 403 => {
                let next = match login {
                    Some(login) => format!("the login of {:?} in image_pull_secret may not pull it", login.username),
                    None => format!("if it is private, name a secret with a login for {} in image_pull_secret", r.host),
                };
                Err(RuntimeError::permanent("ImageDenied", format!("the registry refuses {image:?}: {next}")))
            }
            other => Err(unreachable(&r.host, &format!("answered {other}"))),
        }
    }

    /// The manifest's head, asked for in the way that the registry wants.
    async fn attempt(
        &self,
        checked: &Checked,
        url: &str,
        r: &ImageRef,
        login: Option<&Login>,
    ) -> Result<reqwest::Response, RuntimeError> {
        let answer = send(&checked.client, url, None, r).await?;
        if answer.status().as_u16() != 401 {
            return Ok(answer);
        }
        let auth = match self.token(&answer, r, login).await {
            Some(token) => Auth::Token(token),
            None if wants_password(&answer) => match login {
                Some(login) => Auth::Password(login.clone()),
                None => return Ok(answer),
            },
            None => return Ok(answer),
        };
        send(&checked.client, url, Some(auth), r).await
    }

    /// A pull token, anonymous without a login, when the registry says where to get one on its own host's terms.
    async fn token(&self, answer: &reqwest::Response, r: &ImageRef, login: Option<&Login>) -> Option<String> {
        let header = answer.headers().get("www-authenticate")?.to_str().ok()?.strip_prefix("Bearer ")?.to_owned();
        let field = |name: &str| {
            let from = header.find(&format!("{name}=\""))? + name.len() + 2;
            header[from..].split('"').next().map(str::to_owned)
        };
        let mut url = Url::parse(&field("realm")?).ok()?;
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        let checked =
            self.guard(&host).await.ok().filter(|c| url.scheme() == if c.plain { "http" } else { "https" })?;
        url.query_pairs_mut()
            .append_pair("service", &field("service").unwrap_or_default())
            .append_pair("scope", &format!("repository:{}:pull", r.path));
        let request = checked.client.get(url);
        let request = match login {
            Some(login) => request.basic_auth(&login.username, Some(&login.password)),
            None => request,
        };
        let mut answer = request.send().await.ok()?;
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

fn wants_password(answer: &reqwest::Response) -> bool {
    let asked = answer.headers().get_all("www-authenticate").iter();
    asked.filter_map(|h| h.to_str().ok()).any(|h| h.get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("basic")))
}

async fn send(
    client: &reqwest::Client,
    url: &str,
    auth: Option<Auth>,
    r: &ImageRef,
) -> Result<reqwest::Response, RuntimeError> {
    let request = client.head(url).header("accept", ACCEPT);
    let request = match auth {
        None => request,
        Some(Auth::Token(token)) => request.bearer_auth(token),
        Some(Auth::Password(login)) => request.basic_auth(login.username, Some(login.password)),
    };
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

    /// What everybody may have.
    fn open(digest: String, pull_reference: String) -> Resolved {
        Resolved { digest, pull_reference, private: false }
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
                let error = real.resolve(&reference, None, false).await.unwrap_err();
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
                let error = named.resolve(&format!("registry.example/a{tail}"), None, false).await.unwrap_err();
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
            assert_eq!(real.resolve(&reference, None, false).await.unwrap(), open(digest(), reference));
        }
        for host in ["10.1.2.3", "10.1.2.3:5001", "10.1.2.4:5000"] {
            let error = real.resolve(&format!("{host}/a@{}", digest()), None, false).await.unwrap_err();
            assert_eq!(error.reason, "RegistryNotAllowed", "{host}");
        }
        let (mapped, _) = registry(dev, "::ffff:127.0.0.1");
        assert!(mapped.resolve(&format!("registry.example/a@{}", digest()), None, false).await.is_ok());
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
        let resolved = rebound.resolve(&format!("{host}/team/app:1"), None, false).await.unwrap();
        assert_eq!(resolved, open(digest(), format!("{host}/team/app@{}", digest())));
        assert!(server.await.unwrap().starts_with("HEAD /v2/team/app/manifests/1 "));
        assert_eq!(asked.load(Ordering::SeqCst), 1, "a second answer of DNS is not asked for");
    }

    /// A registry on loopback whose answers depend on the head of a request; gives its address and what was asked.
    async fn private(answer: fn(&str, &str) -> (u16, String)) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (asked, address) = (Arc::new(std::sync::Mutex::new(Vec::new())), host.clone());
        let heads = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let auth = head.lines().find_map(|l| l.strip_prefix("authorization: ")).unwrap_or("").to_owned();
                let line = head.lines().next().unwrap_or("").to_owned();
                let (status, rest) = answer(&format!("{line} {auth}"), &address);
                heads.lock().unwrap().push(format!("{line} {auth}").replace(" HTTP/1.1", ""));
                let _ =
                    stream.write_all(format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{rest}").as_bytes()).await;
            }
        });
        (host, asked)
    }

    fn login(password: &str) -> Login {
        Login { username: "team".into(), password: password.into() }
    }

    fn found() -> (u16, String) {
        (200, format!("docker-content-digest: {}\r\n\r\n", digest()))
    }

    #[tokio::test]
    async fn a_login_is_sent_only_to_who_wants_one_and_makes_an_image_private() {
        // dGVhbTpodXNo is team:hush.
        let (host, asked) = private(|request, _| match request {
            r if r.contains("/open/") || r.ends_with("Basic dGVhbTpodXNo") => found(),
            _ => (401, "www-authenticate: Basic realm=\"x\"\r\n\r\n".into()),
        })
        .await;
        let dev = Registry::new(Allowed { loopback: true, named: Vec::new() });
        let (right, wrong) = (login("hush"), login("other"));
        let open = dev.resolve(&format!("{host}/open/app:1"), Some(&right), false).await.unwrap();
        assert!(!open.private, "{open:?}");
        assert_eq!(asked.lock().unwrap().drain(..).collect::<Vec<_>>(), ["HEAD /v2/open/app/manifests/1 "]);
        let by_digest = format!("{host}/team/app@{}", digest());
        for image in [format!("{host}/team/app:1"), by_digest.clone()] {
            let found = dev.resolve(&image, Some(&right), false).await.unwrap();
            assert_eq!((found.private, found.pull_reference.as_str()), (true, by_digest.as_str()));
            for (login, says) in [(Some(&wrong), "the login of \"team\""), (None, "image_pull_secret")] {
                let error = dev.resolve(&image, login, true).await.unwrap_err();
                assert_eq!((error.reason.as_str(), error.permanent), ("ImageDenied", true), "{error}");
                assert!(error.message.contains(says) && !error.message.contains("other"), "{error}");
            }
        }
        // Nobody is asked about the digest of an image that nobody needed a login for.
        asked.lock().unwrap().clear();
        assert!(dev.resolve(&by_digest, None, false).await.is_ok());
        assert!(asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_token_is_fetched_with_the_login_where_the_registry_says() {
        let (host, asked) = private(|request, host| match request {
            r if r.starts_with("GET /token") && r.ends_with("Basic dGVhbTpodXNo") => {
                (200, "\r\n{\"token\": \"granted\"}".into())
            }
            r if r.starts_with("GET /token") => (200, "\r\n{\"token\": \"nobody\"}".into()),
            r if r.ends_with("Bearer granted") => found(),
            r if r.ends_with("Bearer nobody") => (403, "\r\n".into()),
            _ => {
                let header = format!("Bearer realm=\"http://{host}/token\",service=\"reg\"");
                (401, format!("www-authenticate: {header}\r\n\r\n"))
            }
        })
        .await;
        let dev = Registry::new(Allowed { loopback: true, named: Vec::new() });
        let image = format!("{host}/team/app:1");
        assert!(dev.resolve(&image, Some(&login("hush")), false).await.unwrap().private);
        let asked: Vec<String> = asked.lock().unwrap().drain(..).collect();
        let token = "GET /token?service=reg&scope=repository%3Ateam%2Fapp%3Apull ";
        assert_eq!(
            (asked[1].as_str(), asked[4].as_str()),
            (token, &*format!("{token}Basic dGVhbTpodXNo")),
            "{asked:?}"
        );
        assert_eq!(dev.resolve(&image, Some(&login("other")), false).await.unwrap_err().reason, "ImageDenied");
    }

    #[tokio::test(start_paused = true)]
    async fn dns_that_does_not_answer_is_not_waited_for() {
        let guard = Guard::with_lookup(Allowed::default(), |_| Box::pin(std::future::pending()));
        let silent = Registry { guard };
        let error = silent.resolve("registry.example/a:1", None, false).await.unwrap_err();
        assert_eq!((error.reason.as_str(), error.permanent), ("RegistryUnreachable", false));
        assert!(error.message.contains("DNS gave no answer"), "{error}");
    }
}
