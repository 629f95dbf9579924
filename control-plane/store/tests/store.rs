//! The store's promises, on real files.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use sampan_store::*;
use serde_json::{Value, json};

type Done = Result<(), StoreError>;

fn temp() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sampan.db");
    (dir, path)
}

fn new_object(namespace: &str, name: &str) -> NewObject {
    NewObject {
        kind: "app".into(),
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{namespace}-{name}"),
        spec: json!({"replicas": 1}),
        private: json!({"secret": "hidden"}),
        status: Value::Null,
    }
}

fn insert(store: &Store, namespace: &str, name: &str, now: i64) -> Result<Object, StoreError> {
    store.write(|tx| tx.insert_object(new_object(namespace, name), now))
}

fn integrity(path: &Path) -> String {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[test]
fn object_life() {
    let (_dir, path) = temp();
    let store = Store::open(&path).unwrap();
    let created = insert(&store, "shop", "web", 10).unwrap();
    assert_eq!((created.generation, created.create_time, created.id().as_str()), (1, 10, "shop/web"));
    assert_eq!(insert(&store, "shop", "web", 11), Err(StoreError::AlreadyExists));

    let updated = store.write(|tx| tx.update_spec("app", "shop", "web", 1, json!({"replicas": 2}), 20)).unwrap();
    assert_eq!((updated.generation, updated.update_time), (2, 20));
    let status = json!({"ready": 2, "phase": "running"});
    assert!(store.write(|tx| tx.set_status("app", "shop", "web", &status, 30)).unwrap());
    let reordered = json!({"phase": "running", "ready": 2});
    assert!(!store.write(|tx| tx.set_status("app", "shop", "web", &reordered, 31)).unwrap());
    store.write(|tx| tx.set_private("app", "shop", "web", &json!("other"), 32)).unwrap();
    assert!(store.write(|tx| tx.mark_deleting("app", "shop", "web", 40)).unwrap());
    assert!(!store.write(|tx| tx.mark_deleting("app", "shop", "web", 41)).unwrap());

    let read = store.read(|r| r.object("app", "shop", "web")).unwrap().unwrap();
    assert_eq!((read.generation, read.status.clone(), read.deleting), (2, status, true));
    assert_eq!(store.read(|r| r.object_private("app", "shop", "web")), Ok(Some(json!("other"))));
    store.write(|tx| tx.remove_object("app", "shop", "web", 50)).unwrap();
    assert_eq!(store.write(|tx| tx.remove_object("app", "shop", "web", 51)), Err(StoreError::NotFound));
    assert_eq!(store.read(|r| r.object("app", "shop", "web")), Ok(None));

    let ops: Vec<_> = store.read(|r| r.changes_since(0, 100)).unwrap().into_iter().map(|c| c.op).collect();
    use ChangeOp::*;
    assert_eq!(ops, [Insert, Spec, Status, Private, Deleting, Remove]);
}

#[test]
fn lists_page_in_order() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    for (ns, name) in [("b", "a"), ("a", "c"), ("a", "a"), ("c", "x"), ("a", "b")] {
        insert(&store, ns, name, 1).unwrap();
    }
    let ids = |ns: Option<&str>, after: Option<(&str, &str)>, limit| -> Vec<String> {
        store.read(|r| r.objects("app", ns, after, limit)).unwrap().iter().map(Object::id).collect()
    };
    assert_eq!(ids(None, None, 100), ["a/a", "a/b", "a/c", "b/a", "c/x"]);
    assert_eq!(ids(None, Some(("a", "b")), 2), ["a/c", "b/a"]);
    assert_eq!(ids(Some("a"), Some(("a", "a")), 100), ["a/b", "a/c"]);
    assert_eq!(ids(Some("b"), Some(("a", "z")), 100), ["b/a"]);
    assert!(ids(Some("a"), Some(("b", "a")), 100).is_empty());
    assert_eq!(store.read(|r| r.count_objects("app", Some("a"))), Ok(3));
}

#[test]
fn lost_update_refused() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    insert(&store, "shop", "web", 1).unwrap();
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let (store, barrier) = (store.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                store.write(|tx| tx.update_spec("app", "shop", "web", 1, json!({"writer": i}), 2))
            })
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|r| **r == Err(StoreError::Conflict { current: 2 })).count(), 7);
    assert_eq!(store.read(|r| r.object("app", "shop", "web")).unwrap().unwrap().generation, 2);
}

#[test]
fn failed_write_leaves_nothing() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    let mut watch = store.subscribe();
    let result: Done = store.write(|tx| {
        tx.insert_object(new_object("a", "b"), 1)?;
        tx.put_document("c", "k", "", &json!(1))?;
        Err(StoreError::Other("changed my mind".into()))
    });
    assert!(result.is_err());
    let copy = store.clone();
    let panicked = std::thread::spawn(move || {
        copy.write(|tx| -> Done {
            tx.insert_object(new_object("a", "b"), 1)?;
            panic!("on purpose")
        })
    })
    .join();
    assert!(panicked.is_err());
    assert_eq!(store.read(|r| r.object("app", "a", "b")), Ok(None));
    assert_eq!(store.read(|r| r.document("c", "k")), Ok(None));
    assert!(!watch.has_changed().unwrap());
    insert(&store, "a", "b", 1).unwrap();
    assert_eq!(*watch.borrow_and_update(), 1);
}

#[test]
fn watch_without_gap_across_reopen() {
    let (_dir, path) = temp();
    let mut seen = Vec::new();
    let mut last = 0;
    for round in 0..5 {
        let store = Store::open(&path).unwrap();
        let mut watch = store.subscribe();
        assert_eq!(*watch.borrow_and_update(), round * 40);
        let writers: Vec<_> = (0..4)
            .map(|w| {
                let store = store.clone();
                std::thread::spawn(move || {
                    for i in 0..10 {
                        insert(&store, &format!("n{round}"), &format!("w{w}-{i}"), 1).unwrap();
                    }
                })
            })
            .collect();
        let deadline = Instant::now() + Duration::from_mins(1);
        let target = i64::try_from(round + 1).unwrap() * 40;
        // Also after the reopen the follower goes on from where it was, while writers write.
        while last < target {
            assert!(Instant::now() < deadline, "stuck at {last}");
            for change in store.read(|r| r.changes_since(last, 7)).unwrap() {
                last = change.rev;
                seen.push(change);
            }
            std::thread::yield_now();
        }
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(*watch.borrow_and_update(), (round + 1) * 40);
    }
    let revs: Vec<_> = seen.iter().map(|c| c.rev).collect();
    assert_eq!(revs, (1..=200).collect::<Vec<i64>>());
    let mut ids: Vec<_> = seen.iter().map(|c| (&c.namespace, &c.name)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

#[test]
fn compacted_revision_is_an_error() {
    let (_dir, path) = temp();
    let store = Store::open(&path).unwrap();
    for i in 0..10 {
        insert(&store, "a", &format!("x{i}"), 100 + i).unwrap();
    }
    assert_eq!(store.write(|tx| tx.compact_changes(5)), Ok(4));
    assert_eq!(store.read(|r| r.changes_since(3, 10)), Err(StoreError::Compacted { oldest: 5 }));
    assert_eq!(store.read(|r| r.changes_since(4, 10)).unwrap().len(), 6);
    // Of a future that this database never had.
    assert_eq!(store.read(|r| r.changes_since(11, 10)), Err(StoreError::Compacted { oldest: 5 }));
    assert_eq!(store.write(|tx| tx.compact_changes_until(107)), Ok(3));
    assert_eq!(store.write(|tx| tx.compact_changes_until(9999)), Ok(2));
    assert_eq!(store.read(|r| r.changes_since(9, 10)).unwrap().len(), 1);
    store.write(|tx| tx.compact_changes(i64::MAX)).unwrap();
    drop(store);
    // Revisions go on although the log is empty.
    let store = Store::open(&path).unwrap();
    assert_eq!(*store.subscribe().borrow(), 10);
    assert_eq!(store.read(|r| r.changes_since(10, 10)), Ok(vec![]));
    insert(&store, "a", "y", 1).unwrap();
    assert_eq!(store.read(|r| r.changes_since(10, 10)).unwrap()[0].rev, 11);
}

#[test]
fn snapshot_is_of_one_moment() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    insert(&store, "a", "x", 1).unwrap();
    store
        .read(|r| -> Done {
            let before = r.revision()?;
            insert(&store, "a", "y", 1)?;
            assert_eq!(r.revision()?, before);
            assert_eq!(r.objects("app", None, None, 10)?.len(), 1);
            Ok(())
        })
        .unwrap();
    assert_eq!(store.read(|r| r.objects("app", None, None, 10)).unwrap().len(), 2);
}

#[test]
fn idempotency() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    let begin =
        |scope: &str, digest: &[u8], now| store.write(|tx| tx.idempotency_begin(scope, "k", digest, now)).unwrap();
    let answer = StoredAnswer { status: 201, headers: vec![("etag".into(), "\"1\"".into())], body: vec![0, 255, b'x'] };

    // A failed request forgets its key with everything else.
    let failed: Done = store.write(|tx| {
        assert_eq!(tx.idempotency_begin("t1", "k", b"d", 0)?, Begin::Fresh);
        Err(StoreError::Conflict { current: 3 })
    });
    assert!(failed.is_err());
    store
        .write(|tx| -> Done {
            assert_eq!(tx.idempotency_begin("t1", "k", b"d", 0)?, Begin::Fresh);
            tx.insert_object(new_object("a", "b"), 0)?;
            tx.idempotency_finish("t1", "k", &answer)
        })
        .unwrap();
    assert_eq!(begin("t1", b"d", 1), Begin::Replay(answer.clone()));
    assert_eq!(begin("t1", b"other", 1), Begin::Mismatch);
    // Another token's key is another key; unfinished, its twin is in flight.
    assert_eq!(begin("t2", b"other", 1), Begin::Fresh);
    assert_eq!(begin("t2", b"other", 1), Begin::InFlight);
    assert_eq!(begin("t2", b"d", 1), Begin::Mismatch);
    store.write(|tx| tx.idempotency_abandon("t2", "k")).unwrap();
    assert_eq!(begin("t2", b"d", 1), Begin::Fresh);
    assert_eq!(store.write(|tx| tx.idempotency_abandon_all()), Ok(1));
    assert_eq!(begin("t2", b"d", 2), Begin::Fresh);
    // 24 hours.
    assert_eq!(begin("t1", b"d", IDEMPOTENCY_TTL_MS - 1), Begin::Replay(answer));
    assert_eq!(begin("t1", b"other", IDEMPOTENCY_TTL_MS), Begin::Fresh);
    assert_eq!(store.write(|tx| tx.idempotency_purge(IDEMPOTENCY_TTL_MS + 2)), Ok(1));
    assert_eq!(
        store.write(|tx| tx.idempotency_finish(
            "none",
            "k",
            &StoredAnswer { status: 1, headers: vec![], body: vec![] }
        )),
        Err(StoreError::NotFound)
    );
}

#[test]
fn idempotent_twins_make_one_object() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let store = store.clone();
            std::thread::spawn(move || {
                store.write(|tx| -> Result<bool, StoreError> {
                    match tx.idempotency_begin("t", "k", b"d", 1)? {
                        Begin::Fresh => {
                            tx.insert_object(new_object("a", &format!("x{i}")), 1)?;
                            tx.idempotency_finish(
                                "t",
                                "k",
                                &StoredAnswer { status: 201, headers: vec![], body: vec![] },
                            )?;
                            Ok(true)
                        }
                        Begin::Replay(_) => Ok(false),
                        other => Err(StoreError::Other(format!("{other:?}"))),
                    }
                })
            })
        })
        .collect();
    let fresh = threads.into_iter().map(|t| t.join().unwrap().unwrap()).filter(|fresh| *fresh).count();
    assert_eq!((fresh, store.read(|r| r.count_objects("app", None)).unwrap()), (1, 1));
}

#[test]
fn newer_or_foreign_database_refused() {
    let (dir, path) = temp();
    insert(&Store::open(&path).unwrap(), "a", "b", 1).unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("INSERT INTO migrations (version) VALUES (?1)", [SCHEMA_VERSION + 1]).unwrap();
    drop(conn);
    let newer = StoreError::NewerDatabase { found: SCHEMA_VERSION + 1, known: SCHEMA_VERSION };
    assert_eq!(Store::open(&path).unwrap_err(), newer);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("DELETE FROM migrations WHERE version > ?1", [SCHEMA_VERSION]).unwrap();
    drop(conn);
    assert_eq!(Store::open(&path).unwrap().read(|r| r.count_objects("app", None)), Ok(1));

    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(matches!(Store::open(&foreign), Err(StoreError::Other(_))));
    let garbage = dir.path().join("garbage.db");
    std::fs::write(&garbage, "not a database, but long enough to have a header of 100 bytes".repeat(10)).unwrap();
    assert!(matches!(Store::open(&garbage), Err(StoreError::Other(_))));
    assert!(matches!(Store::open(dir.path()), Err(StoreError::NotWritable(_))));
    assert!(matches!(Store::open(dir.path().join("no/such/dir.db")), Err(StoreError::NotWritable(_))));
}

#[test]
fn files_are_private() {
    let (dir, path) = temp();
    let store = Store::open(&path).unwrap();
    insert(&store, "a", "b", 1).unwrap();
    store.read(|r| r.revision()).unwrap();
    store.backup(dir.path().join("copy.db")).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
    drop(store);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(Store::open(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn backup_under_load() {
    let (dir, path) = temp();
    let store = Store::open(&path).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|w| {
            let (store, stop) = (store.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut i = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Always in pairs: a backup with half of one is not of one moment.
                    store
                        .write(|tx| -> Done {
                            tx.insert_object(new_object("left", &format!("w{w}-{i}")), 1)?;
                            tx.insert_object(new_object("right", &format!("w{w}-{i}")), 1)?;
                            Ok(())
                        })
                        .unwrap();
                    i += 1;
                }
            })
        })
        .collect();
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut counts = Vec::new();
    while counts.len() < 5 {
        assert!(Instant::now() < deadline);
        let copy = dir.path().join(format!("copy{}.db", counts.len()));
        store.backup(&copy).unwrap();
        assert_eq!(integrity(&copy), "ok");
        let restored = Store::open(&copy).unwrap();
        let (left, right, revision, seen) = restored
            .read(|r| -> Result<_, StoreError> {
                let (left, right) = (r.count_objects("app", Some("left"))?, r.count_objects("app", Some("right"))?);
                Ok((left, right, r.revision()?, r.changes_since(0, usize::MAX)?.len()))
            })
            .unwrap();
        assert_eq!(left, right);
        assert_eq!(revision as u64, left + right);
        assert_eq!(seen as u64, left + right);
        insert(&restored, "z", "works", 1).unwrap();
        counts.push(left);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(store.backup(dir.path().join("copy0.db")), Err(StoreError::AlreadyExists));
    assert!(matches!(store.backup(dir.path().join("no/where")), Err(StoreError::NotWritable(_))));
}

fn token<'a>(id: &'a str, hash: &'a sampan_store::TokenHash) -> sampan_store::NewToken<'a> {
    sampan_store::NewToken { id, name: "ci", role: "editor", hash, expires_at: None, made_by: None }
}

#[test]
fn a_token_ends_by_itself_and_with_the_one_that_made_it() {
    let (_dir, path) = temp();
    let store = Store::open(&path).unwrap();
    let hashes = ["root", "child", "grandchild", "other"].map(hash_token);
    let made = [("root", None), ("child", Some("root")), ("grandchild", Some("child")), ("other", None)];
    for ((id, made_by), hash) in made.into_iter().zip(&hashes) {
        let new = sampan_store::NewToken { expires_at: Some(100), made_by, ..token(id, hash) };
        store.write(|tx| tx.token_add(new, 0)).unwrap();
    }
    let lives = |hash: &sampan_store::TokenHash, now| store.read(|r| r.token_find(hash, now)).unwrap().is_some();
    assert!(lives(&hashes[0], 99) && !lives(&hashes[0], 100), "its end is no part of its life");
    assert_eq!(store.write(|tx| tx.token_extend("root", 200, 99)), Ok(true));
    assert!(lives(&hashes[0], 199) && !lives(&hashes[0], 200));
    store.write(|tx| tx.token_extend("root", 150, 99)).unwrap();
    assert!(lives(&hashes[0], 199), "a renewal makes no life shorter");
    assert_eq!(store.write(|tx| tx.token_extend("child", 200, 100)), Ok(false), "what is over stays so");
    assert_eq!(store.write(|tx| tx.token_revoke("root", 50)), Ok(true));
    assert_eq!(hashes.each_ref().map(|hash| lives(hash, 60)), [false, false, false, true]);
    assert_eq!(store.write(|tx| tx.token_extend("root", 900, 60)), Ok(false), "what is revoked stays so");
    assert_eq!(store.write(|tx| tx.purge_tokens(51)), Ok(3));
    assert_eq!(store.read(|r| r.tokens()).unwrap().len(), 1);
}

#[test]
fn tokens_by_hash_only() {
    let (dir, path) = temp();
    let store = Store::open(&path).unwrap();
    let plain = "sampan_pat_0123456789abcdefghijklmnop";
    let hash = hash_token(plain);
    store.write(|tx| tx.token_add(token("t1", &hash), 5)).unwrap();
    assert_eq!(store.write(|tx| tx.token_add(token("t2", &hash), 5)), Err(StoreError::AlreadyExists));
    let found = store.read(|r| r.token_find(&hash, i64::MAX)).unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.role.as_str(), found.last_used), ("t1", "editor", None));
    assert_eq!(store.read(|r| r.token_find(&hash_token("other"), 5)), Ok(None));
    store.write(|tx| tx.token_touch("t1", 100)).unwrap();
    store.write(|tx| tx.token_touch("t1", 101)).unwrap();
    assert_eq!(store.read(|r| r.tokens()).unwrap()[0].last_used, Some(100));
    assert_eq!(store.write(|tx| tx.token_revoke("t1", 200)), Ok(true));
    assert_eq!(store.write(|tx| tx.token_revoke("t1", 201)), Ok(false));
    assert_eq!(store.write(|tx| tx.token_revoke("none", 201)), Err(StoreError::NotFound));
    assert_eq!(store.read(|r| r.token_find(&hash, 5)), Ok(None));
    store.backup(dir.path().join("copy.db")).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(plain.len()).any(|w| w == plain.as_bytes()));
        files += 1;
    }
    assert!(files >= 3, "database, WAL and backup were looked at");
}

fn operation(id: &str, name: &str) -> Operation {
    Operation {
        id: id.into(),
        kind: "update".into(),
        target_kind: "app".into(),
        namespace: "a".into(),
        name: name.into(),
        generation: 1,
        phase: "running".into(),
        doc: json!({"step": 1}),
        created_at: 1,
        updated_at: 1,
    }
}

#[test]
fn operations() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    let mut watch = store.subscribe_operations();
    for (id, name) in [("o1", "x"), ("o2", "y"), ("o3", "x")] {
        store.write(|tx| tx.insert_operation(&operation(id, name))).unwrap();
    }
    assert_eq!(*watch.borrow_and_update(), 3);
    assert_eq!(store.write(|tx| tx.insert_operation(&operation("o1", "x"))), Err(StoreError::AlreadyExists));
    assert!(!watch.has_changed().unwrap());
    assert_eq!(store.read(|r| r.latest_operation("app", "a", "x")).unwrap().unwrap().id, "o3");
    store.write(|tx| tx.update_operation("o1", "done", &json!({"step": 2}), 9)).unwrap();
    assert!(watch.has_changed().unwrap());
    let o1 = store.read(|r| r.operation("o1")).unwrap().unwrap();
    assert_eq!((o1.phase.as_str(), o1.doc, o1.updated_at), ("done", json!({"step": 2}), 9));
    assert_eq!(store.write(|tx| tx.update_operation("no", "done", &Value::Null, 9)), Err(StoreError::NotFound));
    let ids = |filter: &OperationFilter, before: Option<&str>| -> Vec<String> {
        store.read(|r| r.operations(filter, before, 10)).unwrap().into_iter().map(|o| o.id).collect()
    };
    assert_eq!(ids(&OperationFilter::default(), None), ["o3", "o2", "o1"]);
    assert_eq!(ids(&OperationFilter::default(), Some("o2")), ["o1"]);
    assert_eq!(ids(&OperationFilter { phase: Some("running".into()), ..Default::default() }, None), ["o3", "o2"]);
    assert_eq!(store.write(|tx| tx.purge_operations("done", 10)), Ok(1));
}

#[test]
fn documents() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    store
        .write(|tx| -> Done {
            tx.put_document("instances", "b", "app1", &json!({"n": 2}))?;
            tx.put_document("instances", "a", "app1", &json!({"n": 1}))?;
            tx.put_document("instances", "c", "app2", &json!({"n": 3}))?;
            tx.put_document("releases", "a", "app1", &json!("r"))?;
            tx.put_document("instances", "b", "app2", &json!({"n": 4}))
        })
        .unwrap();
    let keys = |parent: Option<&str>| -> Vec<String> {
        store.read(|r| r.documents("instances", parent)).unwrap().into_iter().map(|d| d.key).collect()
    };
    assert_eq!(keys(None), ["a", "b", "c"]);
    assert_eq!(keys(Some("app1")), ["a"]);
    assert_eq!(keys(Some("app2")), ["b", "c"]);
    let b = store.read(|r| r.document("instances", "b")).unwrap().unwrap();
    assert_eq!((b.parent.as_str(), b.doc), ("app2", json!({"n": 4})));
    assert_eq!(store.write(|tx| tx.remove_document("instances", "a")), Ok(true));
    assert_eq!(store.write(|tx| tx.remove_document("instances", "a")), Ok(false));
    assert_eq!(store.write(|tx| tx.remove_documents("instances", "app2")), Ok(2));
    assert_eq!(store.read(|r| r.documents("releases", None)).unwrap().len(), 1);
}

#[test]
fn events_collapse_and_are_capped() {
    let (_dir, path) = temp();
    let store = Store::open(path).unwrap();
    fn event<'a>(name: &'a str, message: &'a str) -> NewEvent<'a> {
        NewEvent { kind: "app", namespace: "a", name, event_type: EventType::Warning, reason: "Failed", message }
    }
    let all = EventFilter::default();
    let seqs: Vec<i64> = (0..3).map(|i| store.write(|tx| tx.append_event(event("x", "no"), i)).unwrap()).collect();
    store.write(|tx| tx.append_event(event("y", "no"), 5)).unwrap();
    store.write(|tx| tx.append_event(event("x", "no"), 6)).unwrap();
    let events = store.read(|r| r.events(&all, 0, 10)).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!((events[1].name.as_str(), events[1].at, events[1].last_at, events[1].count), ("x", 0, 6, 4));
    // A follower that saw the first occurrences sees the repeated event again.
    assert_eq!(store.read(|r| r.events(&all, seqs[2], 10)).unwrap().len(), 2);
    store.write(|tx| tx.append_event(event("x", "other"), 7)).unwrap();
    store.write(|tx| tx.append_event(event("x", "no"), 8)).unwrap();
    let x = EventFilter { name: Some("x".into()), event_type: Some(EventType::Warning), ..Default::default() };
    let counts: Vec<_> = store.read(|r| r.events(&x, 0, 10)).unwrap().iter().map(|e| e.count).collect();
    assert_eq!(counts, [4, 1, 1]);
    store
        .write(|tx| -> Done {
            for i in 0..EVENTS_PER_OBJECT + 50 {
                tx.append_event(event("x", &format!("m{i}")), 9)?;
            }
            Ok(())
        })
        .unwrap();
    let kept = store.read(|r| r.events(&x, 0, usize::MAX)).unwrap();
    assert_eq!(kept.len(), EVENTS_PER_OBJECT);
    assert_eq!(kept[0].message, "m50");
    assert_eq!(store.read(|r| r.latest_events(&x, 2)).unwrap()[1].message, format!("m{}", EVENTS_PER_OBJECT + 49));
    assert_eq!(store.read(|r| r.latest_events(&all, usize::MAX)).unwrap().len(), EVENTS_PER_OBJECT + 1);
}

/// A tmpfs of 2 MiB that is unmounted when the test ends.
struct Tiny(tempfile::TempDir);

impl Tiny {
    fn mount() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let out = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(dir.path())
            .output()
            .map_err(|e| format!("mount: {e}"))?;
        if out.status.success() { Ok(Self(dir)) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn disk_full() {
    let tiny = match Tiny::mount() {
        Ok(tiny) => tiny,
        Err(reason) => {
            assert!(std::env::var_os("SAMPAN_REQUIRE_CONTAINERS").is_none_or(|v| v != "1"), "cannot mount: {reason}");
            println!("skipped: cannot mount a small tmpfs (needs root): {reason}");
            return;
        }
    };
    let path = tiny.0.path().join("sampan.db");
    let store = Store::open(&path).unwrap();
    let ballast = tiny.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 256 * 1024]).unwrap();
    let mut stored = 0;
    let error = loop {
        let mut object = new_object("a", &format!("x{stored}"));
        object.spec = json!("x".repeat(20_000));
        match store.write(|tx| tx.insert_object(object, 1)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1000);
    };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    // Reads go on, nothing is half done, and a failed backup leaves no file.
    assert_eq!(store.read(|r| r.count_objects("app", None)), Ok(stored));
    let copy = tiny.0.path().join("copy.db");
    assert!(matches!(store.backup(&copy), Err(StoreError::Full(_))));
    assert!(!copy.exists());
    // With room again the same store goes on, and so does a reopened one.
    std::fs::remove_file(&ballast).unwrap();
    insert(&store, "b", "after", 1).unwrap();
    drop(store);
    assert_eq!(integrity(&path), "ok");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.read(|r| r.count_objects("app", None)), Ok(stored + 1));
    assert_eq!(store.read(|r| r.revision()), Ok(i64::try_from(stored).unwrap() + 1));
}

#[test]
fn truncated_wal_is_no_corruption() {
    let (dir, path) = temp();
    let store = Store::open(&path).unwrap();
    for i in 0..20 {
        insert(&store, "a", &format!("x{i}"), 1).unwrap();
    }
    // As after a power loss: the files as they are now, the WAL cut in the middle of a frame.
    let (copy, wal) = (dir.path().join("cut.db"), dir.path().join("sampan.db-wal"));
    std::fs::copy(&path, &copy).unwrap();
    let bytes = std::fs::read(wal).unwrap();
    std::fs::write(dir.path().join("cut.db-wal"), &bytes[..bytes.len() - 1000]).unwrap();
    let cut = Store::open(&copy).unwrap();
    let count = cut.read(|r| r.count_objects("app", None)).unwrap();
    assert_eq!(count, 19, "all but the transaction that was cut");
    assert_eq!(cut.read(|r| r.changes_since(0, 100)).unwrap().len() as u64, count);
    drop(cut);
    assert_eq!(integrity(&copy), "ok");
}

#[test]
fn decisions_are_kept_by_number_and_by_time() {
    let (_dir, path) = temp();
    let store = Store::open(&path).unwrap();
    let write = |name: &str, at: i64| {
        let done: Done = store.write(|tx| tx.append_decision("n", name, &json!({ "at": at }), at));
        done.unwrap();
    };
    let ats = |name: &str, limit: usize| -> Vec<i64> {
        let found = store.read(|r| r.latest_decisions("n", name, limit)).unwrap();
        assert!(found.iter().all(|d| d.doc["at"] == d.at));
        found.iter().map(|d| d.at).collect()
    };
    for at in 1..=5 {
        write("a", at);
    }
    write("b", 9);
    assert_eq!((ats("a", 3), ats("b", 3), ats("c", 3)), (vec![3, 4, 5], vec![9], vec![]));
    assert_eq!(store.write(|tx| tx.purge_decisions(4)), Ok(3));
    assert_eq!(ats("a", 9), [4, 5]);
    let most = DECISIONS_PER_APPLICATION as i64;
    let done: Done = store.write(|tx| {
        for at in 10..10 + most {
            tx.append_decision("n", "a", &json!({ "at": at }), at)?;
        }
        Ok(())
    });
    done.unwrap();
    let left = ats("a", DECISIONS_PER_APPLICATION + 1);
    assert_eq!((left.len(), left[0]), (DECISIONS_PER_APPLICATION, 10));
    assert_eq!(ats("b", 3), [9], "another application's stay");
    assert_eq!(store.write(|tx| tx.remove_decisions("n", "a")), Ok(DECISIONS_PER_APPLICATION));
    assert_eq!((ats("a", 1), ats("b", 1)), (vec![], vec![9]));
}

#[test]
fn a_database_of_the_first_release_is_migrated() {
    let (_dir, path) = temp();
    insert(&Store::open(&path).unwrap(), "a", "b", 1).unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(
        "DROP TABLE scaling_decisions; ALTER TABLE tokens DROP COLUMN expires_at;
         ALTER TABLE tokens DROP COLUMN made_by; DELETE FROM migrations WHERE version > 1;",
    )
    .unwrap();
    drop(conn);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.read(|r| r.count_objects("app", None)), Ok(1));
    let done: Done = store.write(|tx| tx.append_decision("n", "a", &json!({}), 1));
    done.unwrap();
    store.write(|tx| tx.token_add(token("t1", &hash_token("t")), 5)).unwrap();
    assert_eq!(store.read(|r| r.token_find(&hash_token("t"), i64::MAX)).unwrap().unwrap().expires_at, None);
}
