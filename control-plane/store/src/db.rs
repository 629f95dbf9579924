//! Opening, connections and transactions.

use std::cell::Cell;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::watch;

use crate::error::{StoreError, io};
use crate::{changes, migrations};

const IDLE_READERS: usize = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const STATEMENTS: usize = 64;

/// Where a commit stands when a [`Store::open_told`] store tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Everything is written, nothing is committed yet.
    Begins,
    /// It is on disk; whoever waits for it has not heard so.
    Done,
}

type Told = Box<dyn Fn(Commit) + Send + Sync>;

/// The database. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    revision: watch::Sender<u64>,
    operations: watch::Sender<u64>,
    told: Option<Told>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

/// A consistent view: everything read through one `Reader` is of one moment.
pub struct Reader<'c> {
    pub(crate) conn: &'c Connection,
}

/// An open write transaction: reads as [`Reader`] does and mutates. Committed when the closure of [`Store::write`] returns `Ok`.
pub struct Tx<'c> {
    reader: Reader<'c>,
    pub(crate) revision: Cell<Option<i64>>,
    pub(crate) operations: Cell<bool>,
}

impl<'c> Deref for Tx<'c> {
    type Target = Reader<'c>;
    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}

impl Store {
    /// Opens the database, creating it (mode 0600) and migrating it as needed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref().to_owned(), None)
    }

    /// As [`Store::open`]; `told` hears of every commit before and after, on the thread that writes. A simulator ends
    /// the process there by a panic.
    pub fn open_told(
        path: impl AsRef<Path>,
        told: impl Fn(Commit) + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref().to_owned(), Some(Box::new(told)))
    }

    fn open_with(path: PathBuf, told: Option<Told>) -> Result<Self, StoreError> {
        prepare_file(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writer = Connection::open_with_flags(&path, flags)?;
        writer.busy_timeout(BUSY_TIMEOUT)?;
        if writer.is_readonly("main")? {
            return Err(StoreError::NotWritable(path.display().to_string()));
        }
        migrations::check(&writer)?;
        let mode: String = writer.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::Other(format!("SQLite refuses WAL for {} (it gave {mode})", path.display())));
        }
        pragmas(&writer)?;
        migrations::migrate(&mut writer)?;
        let newest = changes::newest(&writer)?;
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                writer: Mutex::new(writer),
                readers: Mutex::new(Vec::new()),
                revision: watch::Sender::new(u64::try_from(newest).unwrap_or(0)),
                operations: watch::Sender::new(0),
                told,
            }),
        })
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Runs `f` in one transaction. `Ok` commits and syncs before this returns; `Err` (or a panic) rolls back everything.
    pub fn write<T, E: From<StoreError>>(&self, f: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut conn = lock(&self.inner.writer);
        if !conn.is_autocommit() {
            conn.execute_batch("ROLLBACK").map_err(StoreError::from)?;
        }
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        let tx = Tx { reader: Reader { conn: &transaction }, revision: Cell::new(None), operations: Cell::new(false) };
        let value = f(&tx)?;
        let (revision, operations) = (tx.revision.get(), tx.operations.get());
        self.tell(Commit::Begins);
        transaction.commit().map_err(StoreError::from)?;
        self.tell(Commit::Done);
        // Still under the writer lock: subscribers see revisions in commit order.
        if let Some(revision) = revision {
            self.inner.revision.send_replace(u64::try_from(revision).unwrap_or(0));
        }
        if operations {
            self.inner.operations.send_modify(|count| *count += 1);
        }
        Ok(value)
    }

    /// Runs `f` on one consistent snapshot. Does not wait for writers.
    pub fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&Reader<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut conn = self.reader()?;
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Deferred).map_err(StoreError::from)?;
        let result = f(&Reader { conn: &transaction });
        if transaction.rollback().is_ok() {
            self.give_back(conn);
        }
        result
    }

    /// The newest revision of the change log, sent after each commit that has one.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.revision.subscribe()
    }

    /// A counter that grows after each commit that wrote an operation.
    pub fn subscribe_operations(&self) -> watch::Receiver<u64> {
        self.inner.operations.subscribe()
    }

    /// Writes a consistent copy to `path` (which must not exist), mode 0600, synced. Readers and writers go on.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), StoreError> {
        let path = path.as_ref();
        let target = path.to_str().ok_or_else(|| StoreError::Other("the backup path is not UTF-8".into()))?;
        create_private(path)?;
        let result = (|| {
            let conn = self.reader()?;
            conn.execute("VACUUM INTO ?1", [target])?;
            self.give_back(conn);
            sync(path)?;
            sync_parent(path)
        })();
        if result.is_err() {
            let _ = fs::remove_file(path);
        }
        result
    }

    fn tell(&self, commit: Commit) {
        if let Some(told) = &self.inner.told {
            told(commit);
        }
    }

    fn reader(&self) -> Result<Connection, StoreError> {
        if let Some(conn) = lock(&self.inner.readers).pop() {
            return Ok(conn);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.inner.path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        pragmas(&conn)?;
        Ok(conn)
    }

    fn give_back(&self, conn: Connection) {
        let mut readers = lock(&self.inner.readers);
        if readers.len() < IDLE_READERS {
            readers.push(conn);
        }
    }
}

/// Settings that SQLite keeps per connection.
fn pragmas(conn: &Connection) -> Result<(), StoreError> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    conn.query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))?;
    Ok(())
}

/// A panic in a closure rolled its transaction back, so a poisoned lock guards sound data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create_private(path: &Path) -> Result<(), StoreError> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| io(path, &e))?;
    Ok(())
}

/// Creates the file or tightens its mode. An existing file is never opened here: closing a second descriptor would drop the
/// POSIX locks of a connection this process already has.
fn prepare_file(path: &Path) -> Result<(), StoreError> {
    match create_private(path) {
        Ok(()) => sync_parent(path),
        Err(StoreError::AlreadyExists) => {
            let meta = fs::metadata(path).map_err(|e| io(path, &e))?;
            if !meta.is_file() {
                return Err(StoreError::NotWritable(format!("{} is not a file", path.display())));
            }
            if meta.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|e| io(path, &e))?;
            }
            Ok(())
        }
        Err(other) => Err(other),
    }
}

fn sync(path: &Path) -> Result<(), StoreError> {
    fs::File::open(path).and_then(|f| f.sync_all()).map_err(|e| io(path, &e))
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
        _ => sync(Path::new(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pragma(conn: &Connection, name: &str) -> String {
        conn.query_row(&format!("PRAGMA {name}"), [], |row| {
            row.get::<_, rusqlite::types::Value>(0).map(|v| format!("{v:?}"))
        })
        .unwrap()
    }

    #[test]
    fn pragmas_at_every_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.db");
        for _ in 0..3 {
            let store = Store::open(&path).unwrap();
            let writer = lock(&store.inner.writer);
            assert_eq!(pragma(&writer, "journal_mode"), "Text(\"wal\")");
            assert_eq!(pragma(&writer, "synchronous"), "Integer(2)");
            assert_eq!(pragma(&writer, "busy_timeout"), "Integer(10000)");
            drop(writer);
            let reader = store.reader().unwrap();
            assert_eq!(pragma(&reader, "synchronous"), "Integer(2)");
            assert_eq!(pragma(&reader, "busy_timeout"), "Integer(10000)");
            assert!(reader.is_readonly("main").unwrap());
        }
    }
}
