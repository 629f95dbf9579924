//! Images: our own one, and pulls joined per reference.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use sampan_engine::runtime::{Login, RuntimeError};
use tokio::sync::Semaphore;

use crate::config::{NodeConfig, NodeError};
use crate::cri::Cri;
use crate::identity::Identity;
use crate::{containerd, oci, proto};

/// The program inside our image, see `guest/main.rs`.
const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest"));
/// Where it is inside the image.
pub const GUEST_PATH: &str = "/sampan-guest";
const PULLS_AT_ONCE: usize = 3;

/// The image that comes with Sampan: it holds sandboxes open, and probes them. Its tag follows its content, so a newer
/// Sampan imports a newer one.
pub struct OwnImage {
    pub reference: String,
    pub image: oci::Image,
}

impl OwnImage {
    pub fn build() -> Result<Self, NodeError> {
        let image = oci::build(&oci::ImageSpec {
            files: vec![oci::File { path: GUEST_PATH.into(), mode: 0o755, content: GUEST.to_vec() }],
            entrypoint: vec![GUEST_PATH.into(), "pause".into()],
            ..oci::ImageSpec::default()
        })
        .map_err(|error| NodeError::Import { image: "sampan.internal/tools".into(), detail: error.to_string() })?;
        let tag: String = image.digest().trim_start_matches("sha256:").chars().take(12).collect();
        Ok(Self { reference: format!("sampan.internal/tools:{tag}"), image })
    }
}

type Pull = Shared<BoxFuture<'static, Result<(), RuntimeError>>>;

/// Pulls under way.
pub struct Pulls {
    running: Arc<Mutex<HashMap<String, Pull>>>,
    slots: Arc<Semaphore>,
}

impl Pulls {
    pub fn new() -> Self {
        Self { running: Arc::default(), slots: Arc::new(Semaphore::new(PULLS_AT_ONCE)) }
    }

    /// Pulls, or waits for the pull of the same reference. Goes on when the caller gives up.
    /// `ours`: the runtime is our own, so we tell it which registries have no TLS.
    pub async fn pull(
        &self,
        cri: &Cri,
        config: &NodeConfig,
        ours: Option<&Identity>,
        reference: String,
        login: Option<Login>,
    ) -> Result<(), RuntimeError> {
        if image_id(cri, &reference).await?.is_some() {
            return Ok(());
        }
        if let Some(registry) = containerd::registry_of(&reference).filter(|r| containerd::is_loopback(r)) {
            // The runtime itself would speak plain HTTP to any registry on loopback.
            if !config.loopback_registries && !config.insecure_registries.iter().any(|r| r == registry) {
                let text = format!(
                    "registry {registry} is on loopback, which only `sampan dev` allows: use another registry, or start \
                     the server with --insecure-registry {registry} if it is trusted"
                );
                return Err(RuntimeError::permanent("RegistryNotAllowed", text));
            }
            if let Some(identity) = ours {
                containerd::allow_plain_http(identity, registry).map_err(|error| {
                    RuntimeError::transient("Unknown", format!("registry configuration for {registry}: {error}"))
                })?;
            }
        }
        let pull = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            match running.get(&reference) {
                Some(pull) => pull.clone(),
                None => {
                    let pull = self.begin(cri.clone(), reference.clone(), login);
                    running.insert(reference, pull.clone());
                    pull
                }
            }
        };
        pull.await
    }

    fn begin(&self, cri: Cri, reference: String, login: Option<Login>) -> Pull {
        let (slots, running) = (self.slots.clone(), self.running.clone());
        let task = tokio::spawn(async move {
            let slot = slots.acquire().await;
            let image = proto::ImageSpec { image: reference.clone(), ..Default::default() };
            let auth = login.map(|login| proto::AuthConfig {
                username: login.username,
                password: login.password,
                ..Default::default()
            });
            let query = proto::PullImageRequest { image: Some(image), auth, ..Default::default() };
            let result = cri.pull_image(query).await.map(|_| ());
            drop(slot);
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&reference);
            result
        });
        async move {
            task.await.unwrap_or_else(|error| Err(RuntimeError::transient("Unknown", format!("PullImage: {error}"))))
        }
        .boxed()
        .shared()
    }
}

/// Id of an image that is on the node.
pub async fn image_id(cri: &Cri, reference: &str) -> Result<Option<String>, RuntimeError> {
    let image = proto::ImageSpec { image: reference.into(), ..Default::default() };
    let query = proto::ImageStatusRequest { image: Some(image), verbose: false };
    Ok(cri.image_status(query).await?.image.map(|image| image.id))
}
