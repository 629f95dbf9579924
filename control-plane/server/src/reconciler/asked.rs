//! Questions of analyses to somebody else: each is asked once, beside the loop.

use sampan_engine::analysis::{Asked, Sample};
use sampan_engine::release::Question;
use sampan_store::StoreError;
use serde_json::Value;

use super::execute::beside;
use super::{Heard, Reconciler};
use crate::objects;
use crate::sample::Subject;

/// Key of a secret whose value is sent as bearer token.
const TOKEN: &str = "token";

impl Reconciler {
    /// Asks what has not been asked yet, and forgets the answers that nobody waits for any more.
    pub(super) fn ask(&mut self, namespace: &str, application: &str, questions: Vec<Question>) {
        let app = objects::key(namespace, application);
        let open = |id: &Asked| questions.iter().any(|q| q.id == *id);
        if let Some(samples) = self.samples.get_mut(&app) {
            samples.retain(|id, _| open(id));
        }
        for question in questions {
            let known = self.samples.get(&app).is_some_and(|samples| samples.contains_key(&question.id));
            let asked = (app.clone(), question.id.clone());
            if known || !self.asking.insert(asked.clone()) {
                continue;
            }
            let token = self.token(namespace, &question);
            let sampler = self.parts.sampler.clone();
            let about = Subject { namespace: namespace.to_owned(), application: application.to_owned() };
            let work = async move {
                match token {
                    Ok(token) => sampler.sample(&question, &about, token.as_deref()).await,
                    Err(why) => Sample::Missing(why),
                }
            };
            beside(self.tell.clone(), work, move |result| {
                let sample = result.unwrap_or_else(|e| Sample::Missing(e.message));
                Heard::Sampled { asked, sample }
            });
        }
    }

    pub(super) fn sampled(&mut self, (app, id): (String, Asked), sample: Sample) {
        self.asking.remove(&(app.clone(), id.clone()));
        self.samples.entry(app.clone()).or_default().insert(id, sample);
        self.dirty.insert(app);
    }

    /// The bearer token of a question, when it has one.
    fn token(&self, namespace: &str, question: &Question) -> Result<Option<String>, String> {
        let Some(secret) = &question.analysis.auth_secret else { return Ok(None) };
        let data: Result<_, StoreError> = self.parts.store.read(|r| r.object_private("secret", namespace, secret));
        let data = data.map_err(|_| format!("secret {secret:?} cannot be read"))?;
        let token = data.as_ref().and_then(|data| data.get(TOKEN)).and_then(Value::as_str);
        token.map(|token| Some(token.to_owned())).ok_or_else(|| format!("secret {secret:?} has no key {TOKEN:?}"))
    }
}
