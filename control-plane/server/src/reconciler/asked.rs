//! Questions of analyses to somebody else: each is asked once, beside the loop.

use sampan_engine::analysis::{Asked, Sample};
use sampan_engine::release::Question;

use super::execute::beside;
use super::{Heard, Reconciler};
use crate::objects;
use crate::sample::{self, Subject};

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
            let secret = question.analysis.auth_secret.as_deref();
            let token = secret.map(|secret| sample::token(&self.parts.store, namespace, secret)).transpose();
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
}
