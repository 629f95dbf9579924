//! Logins of applications for registries, and which images are guarded by one.

use sampan_engine::runtime::{Login, RuntimeError};
use sampan_schema::{docker_config, image_ref};
use sampan_store::{Reader, StoreError, Tx};
use serde_json::{Value, json};

/// Images that were pulled with a login, by digest. On the node everybody could start them.
const GUARDED: &str = "guarded-images";

/// What the registry of an image is to be asked with.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// Of the secret, when it has one for the registry.
    pub login: Option<Login>,
    /// The image's digest is known, and it was pulled with a login before.
    pub guarded: bool,
}

/// The pass of an application's spec for an image, as its secret is now.
///
/// # Errors
/// `ImagePullSecretInvalid`, which a write of the secret ends, when there is no use in asking.
pub fn pass(r: &Reader<'_>, ns: &str, secret: Option<&str>, image: &str) -> Result<Pass, RuntimeError> {
    let store = |e: StoreError| RuntimeError::transient("StoreUnavailable", e.to_string());
    let Ok(parsed) = image_ref::parse(image) else { return Ok(Pass::default()) };
    let guarded = match &parsed.digest {
        Some(digest) => r.document(GUARDED, digest).map_err(store)?.is_some(),
        None => false,
    };
    let Some(secret) = secret else { return Ok(Pass { login: None, guarded }) };
    let wrong = |why: &str| {
        let text = format!("image_pull_secret: secret {secret:?} {why}");
        RuntimeError::permanent("ImagePullSecretInvalid", text)
    };
    let data = r.object_private("secret", ns, secret).map_err(store)?.ok_or_else(|| wrong("does not exist"))?;
    let text = data.get(docker_config::KEY).and_then(Value::as_str);
    let text = text.ok_or_else(|| wrong(&format!("has no key {:?}", docker_config::KEY)))?;
    let login = docker_config::login(text, &parsed).map_err(|why| wrong(&format!("{}: {why}", docker_config::KEY)))?;
    Ok(Pass { login, guarded })
}

/// From now on the registry says who may have it.
pub fn guard(tx: &Tx<'_>, digest: &str, pull_reference: &str) -> Result<(), StoreError> {
    tx.put_document(GUARDED, digest, "", &json!({ "pull_reference": pull_reference }))
}
