//! From the image of a spec to the revision that is wanted: tags are resolved beside the loop.

use sampan_engine::revision::{self, Inputs, Revision};
use sampan_engine::runtime::RuntimeError;
use sampan_schema::application::Spec;
use sampan_schema::container::PullPolicy;
use sampan_store::{Object, Reader, StoreError};

use super::execute::beside;
use super::{Heard, Reconciler, Resolving};
use crate::clock::now_ms;
use crate::pull_secret::{self, Pass};
use crate::registry::Resolved;
use crate::{container, objects};

impl Reconciler {
    /// The revision of the present spec, or why there is none yet.
    pub(super) fn wanted(
        &mut self,
        app: &str,
        object: &Object,
        namespace: Option<&Object>,
        spec: &Spec,
        state: &sampan_engine::application::State,
        current: Option<&Revision>,
    ) -> Result<Revision, RuntimeError> {
        let inherited = namespace.and_then(|n| n.spec.get("isolation_class")?.as_str());
        let inherited = inherited.unwrap_or(&self.parts.default_class);
        let class = revision::class_in_force(&object.spec, inherited, current);
        let image = &spec.container.image;
        let policy = spec.container.image_pull_policy;
        if state.needs_resolving(image, policy == PullPolicy::Always) {
            return Err(self.resolve(app, spec, state.operation().map_or("", |o| o.0)));
        }
        let Some(resolved) = &state.image else {
            return Err(RuntimeError::transient("ResolvingImage", "the image is being resolved"));
        };
        let config = if spec.container.restart_on_config_change {
            let hash = self.parts.store.read(|r| container::config_hash(r, spec));
            Some(hash.map_err(|e| RuntimeError::transient("StoreUnavailable", e.to_string()))?)
        } else {
            None
        };
        let inputs = Inputs {
            class: &class,
            image_digest: &resolved.digest,
            pull_reference: &resolved.pull_reference,
            config_hash: config.as_deref(),
        };
        Ok(revision::revision(&object.spec, spec, &inputs, now_ms()))
    }

    /// Starts to resolve the image unless that is under way; answers what to say meanwhile.
    pub(super) fn resolve(&mut self, app: &str, spec: &Spec, operation: &str) -> RuntimeError {
        let (image, policy) = (spec.container.image.as_str(), spec.container.image_pull_policy);
        let known = self.resolving.get(app).filter(|r| r.image == image && r.operation == operation);
        let (tries, wait) = match known {
            Some(r) => match &r.error {
                None => return RuntimeError::transient("ResolvingImage", "the image is being resolved"),
                Some(e) if e.permanent => return e.clone(),
                Some(e) if now_ms() < r.retry_at => {
                    self.wakes.insert(app.to_owned(), r.retry_at);
                    return e.clone();
                }
                Some(e) => (r.tries, e.clone()),
            },
            None => (0, RuntimeError::transient("ResolvingImage", "the image is being resolved")),
        };
        let (image, operation) = (image.to_owned(), operation.to_owned());
        let row = Resolving { image: image.clone(), operation: operation.clone(), error: None, tries, retry_at: 0 };
        self.resolving.insert(app.to_owned(), row);
        let (registry, runtime) = (self.parts.registry.clone(), self.parts.runtime.clone());
        let (app, reference) = (app.to_owned(), image.clone());
        let pass = self.pass(spec, &image);
        let work = async move {
            let Pass { login, guarded } = pass?;
            if policy == PullPolicy::Never && !guarded {
                let id = runtime.image_id(reference.clone()).await?.ok_or_else(|| {
                    let text = format!("{reference:?} is not on the node and image_pull_policy is Never");
                    RuntimeError::permanent("ImageNotFound", text)
                })?;
                Ok(Resolved { digest: id.clone(), pull_reference: id, private: false })
            } else {
                registry.resolve(&reference, login.as_ref(), guarded).await
            }
        };
        beside(self.tell.clone(), work, move |result| {
            let result = result.flatten();
            Heard::Resolved { app, image, operation, result }
        });
        wait
    }

    /// What the registry of an image is to be asked with.
    pub(super) fn pass(&self, spec: &Spec, image: &str) -> Result<Pass, RuntimeError> {
        let read = |r: &Reader<'_>| {
            Ok::<_, StoreError>(pull_secret::pass(r, &spec.namespace, spec.image_pull_secret.as_deref(), image))
        };
        self.parts.store.read(read).map_err(|e| RuntimeError::transient("StoreUnavailable", e.to_string()))?
    }

    pub(super) fn resolved(
        &mut self,
        app: String,
        image: &str,
        operation: &str,
        result: Result<Resolved, RuntimeError>,
    ) {
        let Some(r) = self.resolving.get_mut(&app).filter(|r| r.image == image && r.operation == operation) else {
            return;
        };
        self.dirty.insert(app.clone());
        match result {
            Err(e) => {
                r.tries += 1;
                r.retry_at = now_ms() + sampan_engine::instance::backoff_ms(r.tries);
                r.error = Some(e);
            }
            Ok(Resolved { digest, pull_reference, private }) => {
                let row = sampan_engine::application::ResolvedImage {
                    image: image.to_owned(),
                    digest,
                    pull_reference,
                    operation: operation.to_owned(),
                };
                let stored = self.parts.store.write(|tx| {
                    if private {
                        pull_secret::guard(tx, &row.digest, &row.pull_reference)?;
                    }
                    let mut state = objects::state(tx, &app)?;
                    state.image = Some(row);
                    objects::put_state(tx, &app, &state)
                });
                match stored {
                    Ok::<(), StoreError>(()) => {
                        self.resolving.remove(&app);
                    }
                    Err(e) => tracing::error!(error = %e, "a resolved image cannot be stored"),
                }
            }
        }
    }
}
