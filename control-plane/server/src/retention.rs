//! What is forgotten. Nothing here is the present: logs of changes, answers for repeated requests, operations that are
//! over, revisions that nothing names. Without it the database would grow for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use sampan_engine::application::State;
use sampan_engine::instance::Instance;
use sampan_engine::revision::Revision;
use sampan_schema::operation::Phase;
use sampan_store::{Store, StoreError};

use crate::clock::now_ms;
use crate::objects;

/// Time between two rounds.
const EVERY: Duration = Duration::from_hours(1);
/// A watch resumes from any change that is younger, in milliseconds.
const CHANGES_MS: i64 = 24 * 3600 * 1000;
/// And from no more changes than this.
const CHANGES: i64 = 100_000;
/// An operation can be read for so long after its end; the newest one of an object that is there, always.
const OPERATIONS_MS: i64 = 7 * 24 * 3600 * 1000;
/// Events outlive their object for so long. Of an object that is there, the store keeps a number.
const EVENTS_MS: i64 = 7 * 24 * 3600 * 1000;
/// Decisions of the autoscaler.
const DECISIONS_MS: i64 = 28 * 24 * 3600 * 1000;
/// Tokens after their end.
const TOKENS_MS: i64 = 7 * 24 * 3600 * 1000;
/// Revisions of an application that are kept beside those in use.
const REVISIONS: usize = 10;

/// Forgets once an hour, for as long as the server runs.
pub async fn run(store: Store) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        match tokio::task::block_in_place(|| forget(&store, now_ms())) {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "forgot what nobody can need any more"),
            Err(error) => tracing::warn!(%error, "the database cannot be tidied; trying again in an hour"),
        }
    }
}

/// One round; returns how many rows have gone.
///
/// # Errors
/// What the database says; then nothing is gone.
pub fn forget(store: &Store, now: i64) -> Result<usize, StoreError> {
    store.write(|tx| {
        let mut rows = tx.purge_decisions(now - DECISIONS_MS)? + tx.purge_tokens(now - TOKENS_MS)?;
        rows += tx.compact_changes_until(now - CHANGES_MS)? + tx.idempotency_purge(now)?;
        rows += tx.compact_changes(tx.revision()? - CHANGES + 1)? + tx.purge_events(now - EVENTS_MS)?;
        for phase in [Phase::Succeeded, Phase::Failed, Phase::Aborted, Phase::RolledBack, Phase::Superseded] {
            rows += tx.purge_operations(phase.word(), now - OPERATIONS_MS)?;
        }
        for object in tx.objects("application", None, None, usize::MAX)? {
            let app = objects::key(&object.namespace, &object.name);
            let revisions = objects::revisions(tx, &app)?;
            for hash in surplus(&revisions, &objects::state(tx, &app)?, &objects::instances(tx, &app)?) {
                tx.remove_document(objects::REVISIONS, &format!("{app}/{hash}"))?;
                rows += 1;
            }
        }
        Ok(rows)
    })
}

/// Revisions that may go: neither among the newest nor named by the state or an instance.
fn surplus<'a>(revisions: &'a [Revision], state: &State, instances: &[Instance]) -> Vec<&'a str> {
    let release = state.release.iter().flat_map(|r| r.from.iter().chain([&r.to]).chain(&r.clearing));
    let named: BTreeSet<&str> = release
        .chain(&state.current)
        .chain(&state.succeeded)
        .chain(instances.iter().map(|i| &i.revision))
        .map(String::as_str)
        .collect();
    let mut newest: Vec<&Revision> = revisions.iter().collect();
    newest.sort_by_key(|r| std::cmp::Reverse(r.number));
    newest.iter().skip(REVISIONS).map(|r| r.hash.as_str()).filter(|hash| !named.contains(hash)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_engine::application::Release;

    fn revision(number: u64) -> Revision {
        Revision {
            hash: format!("r{number}"),
            number,
            spec_hash: String::new(),
            sandbox_hash: String::new(),
            image: String::new(),
            image_digest: String::new(),
            pull_reference: String::new(),
            class: String::new(),
            template: serde_json::Value::Null,
            created_at: 0,
        }
    }

    fn object(name: &str) -> sampan_store::NewObject {
        sampan_store::NewObject {
            kind: "application".into(),
            namespace: "n".into(),
            name: name.into(),
            uid: name.into(),
            spec: serde_json::json!({}),
            private: serde_json::Value::Null,
            status: serde_json::Value::Null,
        }
    }

    #[test]
    fn the_newest_revisions_and_those_in_use_stay() {
        let all: Vec<Revision> = (1..=15).map(revision).collect();
        assert_eq!(surplus(&all[..10], &State::default(), &[]), Vec::<&str>::new());
        let mut state = State { current: Some("r2".into()), ..State::default() };
        assert_eq!(surplus(&all, &state, &[]), ["r5", "r4", "r3", "r1"]);
        state.release = Some(Release { generation: 1, from: Some("r2".into()), to: "r4".into(), ..Release::default() });
        assert_eq!(surplus(&all, &state, &[]), ["r5", "r3", "r1"]);
    }

    #[test]
    fn old_changes_and_operations_go_and_the_newest_operation_of_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("db")).unwrap();
        store
            .write(|tx| {
                tx.insert_object(object("a"), 1)?;
                tx.insert_object(object("b"), 1)?;
                for (id, name) in [("1", "a"), ("2", "a"), ("3", "gone")] {
                    objects::new_operation(tx, id, "deploy", ("application", "n", name), 1, 1)?;
                    objects::move_operation(tx, id, Phase::Succeeded, "", "", None, 1)?;
                }
                objects::new_operation(tx, "4", "deploy", ("application", "n", "a"), 1, 1)?;
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let left = || {
            let found = ["1", "2", "3", "4"].into_iter();
            store
                .read(|r| found.filter_map(|id| r.operation(id).transpose()).collect::<Result<Vec<_>, StoreError>>())
                .unwrap()
                .into_iter()
                .map(|o| o.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(forget(&store, CHANGES_MS).unwrap(), 0);
        assert_eq!(left(), ["1", "2", "3", "4"]);
        assert!(forget(&store, OPERATIONS_MS + 2).unwrap() > 0);
        // What runs is never forgotten, however old.
        assert_eq!(left(), ["4"]);
        let finish = |tx: &sampan_store::Tx<'_>| objects::move_operation(tx, "4", Phase::Failed, "", "", None, 2);
        store.write(finish).unwrap();
        forget(&store, 3 * OPERATIONS_MS).unwrap();
        assert_eq!(left(), ["4"]);
        let error = store.read(|r| r.changes_since(0, 10)).unwrap_err();
        assert!(matches!(error, StoreError::Compacted { .. }), "{error}");
    }

    #[test]
    fn changes_are_kept_by_number_and_events_of_what_is_gone_by_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("db")).unwrap();
        let event = |name: &'static str| sampan_store::NewEvent {
            kind: "application",
            namespace: "n",
            name,
            event_type: sampan_store::EventType::Normal,
            reason: "Reason",
            message: "message",
        };
        store
            .write(|tx| {
                tx.insert_object(object("a"), 1)?;
                for at in 0..CHANGES {
                    tx.set_status("application", "n", "a", &serde_json::json!({ "at": at }), 1)?;
                }
                tx.append_event(event("a"), 1)?;
                tx.append_event(event("gone"), 1)?;
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let oldest = || match store.read(|r| r.changes_since(0, 1)) {
            Err(StoreError::Compacted { oldest }) => oldest,
            other => panic!("nothing was compacted: {other:?}"),
        };
        let events = || {
            let all = store.read(|r| r.events(&sampan_store::EventFilter::default(), 0, 9)).unwrap();
            all.into_iter().map(|e| e.name).collect::<Vec<_>>()
        };
        assert_eq!(forget(&store, 2).unwrap(), 1);
        assert_eq!((oldest(), events()), (2, vec!["a".to_owned(), "gone".to_owned()]));
        forget(&store, EVENTS_MS + 2).unwrap();
        assert_eq!((oldest(), events()), (CHANGES + 1, vec!["a".to_owned()]));
    }
}
