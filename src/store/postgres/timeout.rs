//! The error of an operation that takes too long.

use std::{io, time::Duration};

use tokio::time::timeout;

/// Fails with a timeout unless `work` ends within `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(timed_out(limit)))
}

pub(super) fn timed_out(limit: Duration) -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer from PostgreSQL within {limit:?}")).into()
}

pub(super) fn is_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}
