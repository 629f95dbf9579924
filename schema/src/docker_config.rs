//! Logins of registries as `docker login` keeps them: `{"auths": {"registry.example.com": {"username", "password"}}}`.

use std::fmt;

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::image_ref::ImageRef;

/// Key of a secret that holds such a text; the same as in Kubernetes.
pub const KEY: &str = ".dockerconfigjson";
/// Names of one registry.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Who pulls.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a login")
    }
}

/// Whether the text can be used, every login of it.
///
/// # Errors
/// What is wrong, for people; nothing of the text but names of registries.
pub fn check(text: &str) -> Result<(), String> {
    let auths = auths(text)?;
    if auths.is_empty() {
        return Err("has no login under auths".into());
    }
    auths.iter().try_for_each(|(registry, entry)| login_of(registry, entry).map(|_| ()))
}

/// The login for an image: that of the longest name that fits its registry or repository.
///
/// # Errors
/// Like [`check`].
pub fn login(text: &str, image: &ImageRef) -> Result<Option<Login>, String> {
    let auths = auths(text)?;
    let fitting = auths.iter().filter(|(registry, _)| fits(name(registry), image));
    let found = fitting.max_by_key(|(registry, _)| name(registry).len());
    found.map(|(registry, entry)| login_of(registry, entry)).transpose()
}

fn auths(text: &str) -> Result<Map<String, Value>, String> {
    // What serde says of it may quote it.
    let value: Value = serde_json::from_str(text).map_err(|_| "is not JSON".to_owned())?;
    match value {
        Value::Object(mut all) => match all.remove("auths") {
            Some(Value::Object(auths)) => Ok(auths),
            _ => Err("has no object auths: is it what `docker login` writes?".into()),
        },
        _ => Err("is no object".into()),
    }
}

/// Of an address, `registry.example.com[:port][/path]`.
fn name(registry: &str) -> &str {
    let name = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://")).unwrap_or(registry);
    let name = name.trim_end_matches('/');
    name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2")).unwrap_or(name)
}

fn fits(name: &str, image: &ImageRef) -> bool {
    let (host, path) = name.split_once('/').unwrap_or((name, ""));
    let hub = |host: &str| HUB.contains(&host);
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    (host == image.host || (hub(host) && hub(&image.host)))
        && (path.is_empty() || image.path.strip_prefix(path).is_some_and(below))
}

fn login_of(registry: &str, entry: &Value) -> Result<Login, String> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Ok(Login { username: username.to_owned(), password: password.to_owned() });
    }
    let wrong = |what: &str| format!("has for {registry:?} {what}: write username and password");
    let Some(auth) = text("auth") else {
        let what = if text("identitytoken").is_some() { "an identity token" } else { "no login" };
        return Err(wrong(what));
    };
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(auth).map_err(|_| wrong("an auth that is not base64"))?;
    let pair = String::from_utf8(bytes).ok();
    let pair = pair.as_deref().and_then(|pair| pair.trim_end_matches('\0').split_once(':'));
    let (username, password) = pair.ok_or_else(|| wrong("an auth that is not user:password"))?;
    Ok(Login { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, image: &str) -> Option<String> {
        let login = login(text, &crate::image_ref::parse(image).unwrap()).unwrap();
        login.map(|l| format!("{}:{}", l.username, l.password))
    }

    #[test]
    fn the_longest_name_that_fits_is_taken() {
        // c2VjcmV0 and its like are base64 of user:password.
        let text = r#"{ "auths": {
            "https://registry.example.com/v2/": { "username": "all", "password": "p:1" },
            "registry.example.com/team": { "auth": "dGVhbTpwMg==" },
            "registry.example.com:5000": { "username": "port", "password": "p3" },
            "https://index.docker.io/v1/": { "username": "hub", "password": "p4" }
        }, "credsStore": "desktop" }"#;
        assert_eq!(check(text), Ok(()));
        for (image, login) in [
            ("registry.example.com/other/app:1", Some("all:p:1")),
            ("registry.example.com/team/app:1", Some("team:p2")),
            ("registry.example.com/teams/app:1", Some("all:p:1")),
            ("registry.example.com:5000/team/app:1", Some("port:p3")),
            ("docker.io/library/nginx:1", Some("hub:p4")),
            ("example.com/team/app:1", None),
            ("registry.example.com.evil.example/team/app:1", None),
        ] {
            assert_eq!(found(text, image).as_deref(), login, "{image}");
        }
        let login = Login { username: "u".into(), password: "hush".into() };
        assert_eq!(format!("{login:?}"), "a login");
    }

    #[test]
    fn what_cannot_be_used_is_said_without_what_it_holds() {
        for (text, says) in [
            ("hush", "is not JSON"),
            ("[\"hush\"]", "is no object"),
            (r#"{"auth": "hush"}"#, "has no object auths"),
            (r#"{"auths": {}}"#, "has no login under auths"),
            (r#"{"auths": {"r.example": {}}}"#, "has for \"r.example\" no login"),
            (r#"{"auths": {"r.example": "hush"}}"#, "has for \"r.example\" no login"),
            (r#"{"auths": {"r.example": {"username": "hush"}}}"#, "has for \"r.example\" no login"),
            (r#"{"auths": {"r.example": {"identitytoken": "hush"}}}"#, "an identity token"),
            (r#"{"auths": {"r.example": {"auth": "hush!"}}}"#, "not base64"),
            (r#"{"auths": {"r.example": {"auth": "aHVzaA=="}}}"#, "not user:password"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("hush"), "{text}: {error}");
        }
    }
}
