//! The faults that a SQLite store detects itself.

use std::{error::Error, io, path::PathBuf};

use thiserror::Error;

/// A fault that [`SqliteStore`](crate::store::SqliteStore) detects itself. The store returns it as
/// the source of a [`sqlx::Error::Io`].
///
/// ```
/// use tower_api_key::store::{BoxError, SqliteFault};
///
/// // `error` comes from an observer or a `ManageError`.
/// fn must_reopen(error: &BoxError) -> bool {
///     matches!(SqliteFault::in_chain(&**error), Some(SqliteFault::Replaced(_)))
/// }
/// # assert!(!must_reopen(&"another".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SqliteFault {
    /// This file was replaced, moved or removed while it was open. Every call fails until the store
    /// is opened again.
    #[error(
        "{0} is no longer the file that was opened: it was replaced, moved or removed. Open the store again, \
        and repeat the changes that failed"
    )]
    Replaced(PathBuf),
    /// The disk is full. The store rejects new keys, so that keys can still be revoked, disabled
    /// and removed.
    #[error(
        "no key is added to {0} or edited there: the disk is full. Revoking, disabling and removing keys still works"
    )]
    DiskFull(PathBuf),
}

// === impl SqliteFault ===

impl SqliteFault {
    /// Returns the fault in `error` or one of its sources, if there is one.
    ///
    /// See [`SqliteFault`] for an example.
    #[must_use]
    pub fn in_chain<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        let mut error = Some(error);
        while let Some(link) = error {
            // `source` of an I/O error skips the error that it wraps, so `get_ref` is needed.
            let carried = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let fault = match carried {
                Some(carried) => carried.downcast_ref(),
                None => link.downcast_ref(),
            };
            if fault.is_some() {
                return fault;
            }
            error = link.source();
        }
        None
    }
}

impl From<SqliteFault> for sqlx::Error {
    fn from(fault: SqliteFault) -> Self {
        let kind = match fault {
            SqliteFault::Replaced(_) => io::ErrorKind::NotFound,
            SqliteFault::DiskFull(_) => io::ErrorKind::StorageFull,
        };
        Self::Io(io::Error::new(kind, fault))
    }
}
