//! What can go wrong in the store.

use std::path::Path;

use rusqlite::ErrorCode;

/// An error of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database file or its directory cannot be written.
    #[error("the database is not writable: {0}")]
    NotWritable(String),
    /// A later version of Sampan wrote this database.
    #[error("the database has schema version {found}, this build knows {known}: use the newer Sampan")]
    NewerDatabase { found: i64, known: i64 },
    /// The disk is full or fails; nothing of the transaction was stored.
    #[error("the database could not be written to disk: {0}")]
    Full(String),
    /// The object has another generation than the caller expected.
    #[error("the object is at generation {current}")]
    Conflict { current: i64 },
    /// The name is taken.
    #[error("it exists already")]
    AlreadyExists,
    /// No such row.
    #[error("not found")]
    NotFound,
    /// Changes after the asked revision are no longer (or never were) in the log: list again, then watch.
    #[error("the change log begins at revision {oldest}")]
    Compacted { oldest: i64 },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => Self::Full(text),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::NotWritable(text),
            _ if matches!(error, rusqlite::Error::QueryReturnedNoRows) => Self::NotFound,
            _ => Self::Other(text),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(format!("stored JSON: {error}"))
    }
}

/// An IO error at `path`.
pub(crate) fn io(path: &Path, error: &std::io::Error) -> StoreError {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        std::io::ErrorKind::AlreadyExists => StoreError::AlreadyExists,
        _ => StoreError::NotWritable(text),
    }
}

/// Whether an insert failed because its key is taken.
pub(crate) fn is_taken(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    matches!(error, rusqlite::Error::SqliteFailure(e, _)
        if e.extended_code == ffi::SQLITE_CONSTRAINT_PRIMARYKEY || e.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}
