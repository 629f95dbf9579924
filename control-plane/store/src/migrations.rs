//! The schema, as an append-only list of migrations.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::StoreError;

/// Marks the file as ours: "SAMP".
const APPLICATION_ID: i64 = 0x5341_4d50;

/// Never edited once released, only appended to.
const MIGRATIONS: &[&str] = &[
    // 1: everything of the first release.
    "CREATE TABLE objects (
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        uid TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL,
        spec TEXT NOT NULL, private TEXT NOT NULL, status TEXT NOT NULL,
        create_time INTEGER NOT NULL, update_time INTEGER NOT NULL, deleting INTEGER NOT NULL,
        PRIMARY KEY (kind, namespace, name)
    ) WITHOUT ROWID;
    CREATE TABLE changes (
        rev INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        op TEXT NOT NULL, generation INTEGER NOT NULL, at INTEGER NOT NULL
    );
    CREATE TABLE change_log (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), compacted INTEGER NOT NULL);
    INSERT INTO change_log VALUES (1, 0);
    CREATE TABLE documents (
        collection TEXT NOT NULL, key TEXT NOT NULL, parent TEXT NOT NULL, doc TEXT NOT NULL,
        PRIMARY KEY (collection, key)
    ) WITHOUT ROWID;
    CREATE INDEX documents_parent ON documents (collection, parent, key);
    CREATE TABLE operations (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
        target_kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        generation INTEGER NOT NULL, phase TEXT NOT NULL, doc TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
    );
    CREATE INDEX operations_target ON operations (target_kind, namespace, name, seq);
    CREATE INDEX operations_phase ON operations (phase, seq);
    CREATE TABLE idempotency (
        scope TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, at INTEGER NOT NULL,
        status INTEGER, headers TEXT, body BLOB,
        PRIMARY KEY (scope, key)
    );
    CREATE INDEX idempotency_at ON idempotency (at);
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,
        created_at INTEGER NOT NULL, last_used INTEGER, revoked_at INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, last_at INTEGER NOT NULL, count INTEGER NOT NULL,
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        type TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL
    );
    CREATE INDEX events_object ON events (kind, namespace, name, seq);",
    // 2: decisions of the autoscaler.
    "CREATE TABLE scaling_decisions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, name TEXT NOT NULL,
        at INTEGER NOT NULL, doc TEXT NOT NULL
    );
    CREATE INDEX scaling_decisions_application ON scaling_decisions (namespace, name, seq);
    CREATE INDEX scaling_decisions_at ON scaling_decisions (at);",
    // 3: tokens that end by themselves, and with the one that they were made with.
    "ALTER TABLE tokens ADD COLUMN expires_at INTEGER;
    ALTER TABLE tokens ADD COLUMN made_by TEXT;",
];

/// The version after all migrations.
pub(crate) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Refuses a database that is not ours or newer than this build. Writes nothing.
pub(crate) fn check(conn: &Connection) -> Result<(), StoreError> {
    let id: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        return Err(StoreError::Other("the file is a database of another program".into()));
    }
    let found = version(conn)?;
    if found > NEWEST {
        return Err(StoreError::NewerDatabase { found, known: NEWEST });
    }
    Ok(())
}

/// Applies what is missing, in one transaction.
pub(crate) fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY)")?;
    check_version(&tx)?;
    for (version, sql) in (1_i64..).zip(MIGRATIONS).skip(usize::try_from(version(&tx)?).unwrap_or(0)) {
        tx.execute_batch(sql)?;
        tx.execute("INSERT INTO migrations (version) VALUES (?1)", [version])?;
    }
    if tx.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0))? != APPLICATION_ID {
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    tx.commit()?;
    Ok(())
}

/// Again under the write lock: another process may have migrated in between.
fn check_version(conn: &Connection) -> Result<(), StoreError> {
    let found = version(conn)?;
    if found > NEWEST { Err(StoreError::NewerDatabase { found, known: NEWEST }) } else { Ok(()) }
}

fn version(conn: &Connection) -> Result<i64, StoreError> {
    let exists: bool =
        conn.query_row("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'migrations'", [], |row| row.get(0))?;
    if !exists {
        return Ok(0);
    }
    Ok(conn.query_row("SELECT coalesce(max(version), 0) FROM migrations", [], |row| row.get(0))?)
}
