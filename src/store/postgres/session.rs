//! The settings of a session or, behind a pooler in transaction mode, of a transaction.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, PgExecutor, Row};
use thiserror::Error;

/// The server is a replica.
#[derive(Debug, Error)]
#[error("this PostgreSQL server is a replica: it may be behind, so that a revoked key would still work")]
struct IsReplica;

/// The code of `set transaction read write` on a replica.
const NOT_SUPPORTED: &str = "0A000";

/// Prepares a new session. A replica is an error.
pub(super) async fn prepare(session: impl PgExecutor<'_>, operation_timeout: Duration) -> Result<(), sqlx::Error> {
    let limit = limit(operation_timeout);
    let settings = format!(
        "select pg_is_in_recovery() as is_replica,
            set_config('statement_timeout', '{limit}', false),
            -- A commit that notifies waits behind other such commits; no statement timeout ends that wait.
            set_config('lock_timeout', '{limit}', false),
            set_config('idle_in_transaction_session_timeout', '{limit}', false),
            set_config('default_transaction_isolation', 'read committed', false),
            -- Every ordered query has an index with its order, whatever the statistics say.
            set_config('enable_sort', 'off', false),
            set_config('jit', 'off', false),
            set_config('tcp_keepalives_idle', '60', false)"
    );
    let row = sqlx::raw_sql(AssertSqlSafe(settings)).fetch_one(session).await?;
    if row.try_get("is_replica")? { Err(replica()) } else { Ok(()) }
}

/// Returns the statements that begin a transaction with the settings of [`prepare`], which end with
/// it. They fail on a replica, since no transaction there may write.
pub(super) fn begin_with_settings(operation_timeout: Duration) -> String {
    let limit = limit(operation_timeout);
    format!(
        "begin isolation level read committed, read write;
        set local statement_timeout = {limit}; set local lock_timeout = {limit};
        set local idle_in_transaction_session_timeout = {limit};
        set local enable_sort = off; set local jit = off"
    )
}

/// Begins a transaction with these statements. A replica is an error.
pub(super) async fn begin(connection: &mut PgConnection, statements: &str) -> Result<(), sqlx::Error> {
    match sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NOT_SUPPORTED) => Err(replica()),
        begun => begun.map(drop),
    }
}

pub(super) fn is_replica(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Configuration(why) if why.is::<IsReplica>())
}

fn replica() -> sqlx::Error {
    sqlx::Error::Configuration(IsReplica.into())
}

/// Returns the timeouts of the server in milliseconds. The server times out a little before its
/// client, so the client gets an error with the reason. The server also ends the session of a
/// client that is gone.
fn limit(operation_timeout: Duration) -> u128 {
    (operation_timeout.as_millis() * 9 / 10).clamp(1, i32::MAX as u128)
}
