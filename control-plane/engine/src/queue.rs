//! What a write or a verb becomes: the next release, or one that waits until the release under way has ended.
//!
//! A release goes by the spec of its application. While another one waits, the spec from before it was written stays in
//! force, but for the number of instances, which is the application's and not a release's.

use sampan_schema::{APPLICATION, change};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::application::{Cause, Release, Request, ResolvedImage, State};

/// A release that waits, and what the one under way goes by meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    pub request: Request,
    /// Spec of the application before the first one that waits was written.
    pub before: Value,
    /// What its image is pinned to when it goes back to an earlier revision.
    #[serde(default)]
    pub image: Option<ResolvedImage>,
}

impl State {
    /// Takes a write or verb. `before` is the spec ahead of it, `queues` what the policy in force says about a newer
    /// release. Returns the operations that are displaced.
    pub fn accept(&mut self, mut request: Request, before: &Value, queues: bool) -> Vec<String> {
        let mut displaced = Vec::new();
        if queues && request.cause == Cause::Deploy && self.can_wait() {
            let before = match self.queued.take() {
                Some(old) => {
                    displaced.push(old.request.operation);
                    old.before
                }
                None => before.clone(),
            };
            self.queued = Some(Queued { request, before, image: None });
            return displaced;
        }
        if let Some(old) = self.request.take() {
            if request.cause == Cause::Scale {
                // The spec has both changes: the harsher one says what follows.
                request.cause = old.cause;
            }
            displaced.push(old.operation);
        }
        match (&mut self.queued, request.cause) {
            (Some(queued), Cause::Scale | Cause::Rollback) => {
                // What is written last is carried out when the one that waits has ended.
                let own = self.release.as_ref().map_or(request.generation, |r| r.generation);
                queued.request.generation = std::mem::replace(&mut request.generation, own);
            }
            (queued, _) => displaced.extend(queued.take().map(|old| old.request.operation)),
        }
        // It was meant for what was under way.
        self.verb = None;
        self.request = Some(request);
        displaced
    }

    /// Something is under way, or about to begin.
    pub fn is_busy(&self) -> bool {
        let active = self.release.as_ref().is_some_and(Release::is_active);
        self.request.is_some() || self.queued.is_some() || active
    }

    /// There is something to wait for. What has not begun is not waited for.
    fn can_wait(&self) -> bool {
        let gray = self.release.as_ref().is_some_and(|r| r.is_active() && r.gray.is_some());
        let newer = self.request.as_ref().is_some_and(|r| matches!(r.cause, Cause::Deploy | Cause::Restart));
        self.queued.is_some() || (gray && !newer)
    }

    /// What waited is the next when nothing is under way any more. Returns the operation of a scale that it displaces:
    /// its spec has that number.
    pub fn dequeue(&mut self) -> Option<String> {
        let busy = self.release.as_ref().is_some_and(Release::is_active);
        if busy || self.request.as_ref().is_some_and(|r| r.cause != Cause::Scale) {
            return None;
        }
        let queued = self.queued.take()?;
        self.verb = None;
        if queued.image.is_some() {
            self.image = queued.image;
        }
        self.request.replace(queued.request).map(|scale| scale.operation)
    }

    /// The spec that counts now, of an application whose spec is `written`.
    pub fn in_force(&self, written: &Value) -> Value {
        let Some(queued) = &self.queued else { return written.clone() };
        let mut spec = queued.before.clone();
        if let Some(members) = spec.as_object_mut() {
            match written.get("replicas") {
                Some(replicas) => members.insert("replicas".into(), replicas.clone()),
                None => members.remove("replicas"),
            };
        }
        spec
    }

    /// The spec in force is that of an earlier revision from now on, with the image pinned to that revision's: of the
    /// release that waits when `operation` is its, else of what is under way.
    pub fn go_back(&mut self, operation: &str, template: &Value, image: ResolvedImage) {
        match &mut self.queued {
            Some(queued) if queued.request.operation == operation => queued.image = Some(image),
            Some(queued) => {
                queued.before = change::restore(&APPLICATION, &queued.before, template);
                self.image = Some(image);
            }
            None => self.image = Some(image),
        }
    }

    /// What the one that waits says.
    pub fn waits_for(&self) -> String {
        format!("waits for operation {} to end", self.operation().map_or("", |(id, _)| id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end at once")]

    use serde_json::json;

    use super::*;
    use crate::application::{ReleasePhase, Verb};
    use crate::gray_policy::Gray;

    fn request(operation: &str, cause: Cause) -> Request {
        Request { operation: operation.into(), generation: 9, cause }
    }

    fn releasing(gray: bool, phase: ReleasePhase) -> State {
        let release = Release {
            operation: "now".into(),
            generation: 7,
            phase,
            gray: gray.then(Gray::default),
            ..Release::default()
        };
        State { release: Some(release), verb: Some(Verb::Pause), ..State::default() }
    }

    fn with(state: State, operation: &str, cause: Cause) -> State {
        State { request: Some(request(operation, cause)), ..state }
    }

    fn queue(mut state: State) -> State {
        state.queued =
            Some(Queued { request: request("queued", Cause::Deploy), before: json!({ "a": 1 }), image: None });
        state
    }

    #[test]
    fn a_write_waits_only_for_a_gray_release_under_a_policy_that_queues() {
        use Cause::{Deploy, Restart, Rollback, Scale};
        let gray = || releasing(true, ReleasePhase::Updating);
        let plain = || releasing(false, ReleasePhase::Updating);
        // What is written, whether the policy queues; what begins, what waits, and what is displaced.
        for (what, state, cause, queues, next, waits, displaced) in vec![
            ("nothing runs", State::default(), Deploy, true, "new", "", vec![]),
            ("over", releasing(true, ReleasePhase::Succeeded), Deploy, true, "new", "", vec![]),
            ("no steps", plain(), Deploy, true, "new", "", vec![]),
            ("gray", gray(), Deploy, true, "", "new", vec![]),
            ("gray, taken back", releasing(true, ReleasePhase::RollingBack), Deploy, true, "", "new", vec![]),
            ("another policy", gray(), Deploy, false, "new", "", vec![]),
            ("a scale", gray(), Scale, true, "new", "", vec![]),
            ("a rollback", gray(), Rollback, true, "new", "", vec![]),
            ("beside a scale", with(gray(), "scale", Scale), Deploy, true, "scale", "new", vec![]),
            ("beside a rollback", with(gray(), "back", Rollback), Deploy, true, "back", "new", vec![]),
            ("one about to begin", with(gray(), "old", Deploy), Deploy, true, "new", "", vec!["old"]),
            ("the second", queue(gray()), Deploy, true, "", "new", vec!["queued"]),
            ("the second, after a rollback", queue(plain()), Deploy, true, "", "new", vec!["queued"]),
            ("the policy has changed", queue(gray()), Deploy, false, "new", "", vec!["queued"]),
            ("a restart", queue(gray()), Restart, true, "new", "", vec!["queued"]),
            ("a scale beside it", queue(gray()), Scale, true, "new", "queued", vec![]),
            ("a rollback beside it", queue(gray()), Rollback, true, "new", "queued", vec![]),
            ("a scale of a scale", with(queue(gray()), "scale", Scale), Scale, true, "new", "queued", vec!["scale"]),
        ] {
            let mut after = state.clone();
            let gone = after.accept(request("new", cause), &json!({ "b": 1 }), queues);
            let id = |r: Option<&Request>| r.map_or(String::new(), |r| r.operation.clone());
            let queued = id(after.queued.as_ref().map(|q| &q.request));
            assert_eq!(
                (id(after.request.as_ref()).as_str(), queued.as_str(), gone),
                (next, waits, displaced.into_iter().map(str::to_owned).collect()),
                "{what}"
            );
            // A verb is for what is under way, which goes on when the new one waits.
            assert_eq!(after.verb, state.verb.filter(|_| queued == "new"), "{what}");
        }
    }

    #[test]
    fn a_number_that_is_written_with_a_release_that_has_not_begun_changes_nothing_of_it() {
        for cause in [Cause::Deploy, Cause::Rollback, Cause::Restart] {
            let mut state = with(State::default(), "old", cause);
            state.accept(request("new", Cause::Scale), &json!({}), false);
            assert_eq!(state.request.unwrap().cause, cause);
        }
    }

    #[test]
    fn while_one_waits_only_the_number_of_instances_is_new() {
        let mut state = releasing(true, ReleasePhase::Updating);
        let first = json!({ "image": 1, "replicas": 2, "labels": {} });
        let second = json!({ "image": 2, "replicas": 4, "labels": { "a": "b" } });
        assert_eq!(state.in_force(&first), first);
        state.accept(request("new", Cause::Deploy), &first, true);
        assert_eq!(state.in_force(&second), json!({ "image": 1, "replicas": 4, "labels": {} }));
        assert_eq!(state.in_force(&json!({ "image": 2 })), json!({ "image": 1, "labels": {} }));
        state.accept(request("newer", Cause::Deploy), &second, true);
        assert_eq!(
            state.in_force(&json!({ "image": 3, "replicas": 5 })),
            json!({ "image": 1, "replicas": 5, "labels": {} })
        );
        let scale = Request { generation: 11, ..request("scale", Cause::Scale) };
        state.accept(scale, &second, true);
        let generations =
            (state.request.as_ref().unwrap().generation, state.queued.as_ref().unwrap().request.generation);
        assert_eq!(generations, (7, 11), "what runs does not carry out what waits");
    }

    #[test]
    fn what_waits_begins_when_nothing_is_under_way() {
        let ended = |state: State| State { release: None, ..state };
        let id = |state: &State| state.request.as_ref().map(|r| r.operation.clone());
        let gray = || queue(releasing(true, ReleasePhase::Updating));
        for (what, state, displaced, next) in [
            ("it runs", gray(), None, None),
            ("nothing waits", releasing(true, ReleasePhase::Succeeded), None, None),
            ("over", queue(releasing(true, ReleasePhase::RolledBack)), None, Some("queued")),
            ("a rollback is first", with(ended(gray()), "back", Cause::Rollback), None, Some("back")),
            ("a scale is part of it", with(ended(gray()), "scale", Cause::Scale), Some("scale"), Some("queued")),
        ] {
            let mut after = state.clone();
            assert_eq!(after.dequeue().as_deref(), displaced, "{what}");
            assert_eq!(id(&after).as_deref(), next, "{what}");
            let began = next == Some("queued");
            assert_eq!(after.queued.is_none(), state.queued.is_none() || began, "{what}");
            assert_eq!(after.verb, state.verb.filter(|_| !began), "{what}");
        }
    }

    #[test]
    fn an_image_is_pinned_for_the_release_that_goes_back() {
        let image = ResolvedImage {
            image: "a:1".into(),
            digest: "sha256:1".into(),
            pull_reference: "a@sha256:1".into(),
            operation: "back".into(),
        };
        let template = json!({ "container": { "image": "a:1" } });
        let mut far = queue(releasing(true, ReleasePhase::Updating));
        far.go_back("queued", &template, image.clone());
        assert_eq!((&far.image, far.queued.as_ref().unwrap().before.clone()), (&None, json!({ "a": 1 })));
        far.release = None;
        far.dequeue();
        assert_eq!(far.image, Some(image.clone()), "once it begins");
        let mut near = queue(releasing(true, ReleasePhase::Updating));
        near.queued.as_mut().unwrap().before = json!({ "replicas": 3, "container": { "image": "a:2" } });
        near.go_back("back", &template, image.clone());
        assert_eq!(near.image, Some(image));
        assert_eq!(near.queued.unwrap().before, json!({ "replicas": 3, "container": { "image": "a:1" } }));
    }
}
