//! The settings of a session.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgExecutor, Row};

/// Prepares a new session. A replica is an error.
pub(super) async fn prepare(session: impl PgExecutor<'_>, operation_timeout: Duration) -> Result<(), sqlx::Error> {
    // The server times out a little before its client, so the client gets an error with the reason.
    // The server also ends the session of a client that is gone.
    let limit = (operation_timeout.as_millis() * 9 / 10).clamp(1, i32::MAX as u128);
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
    if row.try_get("is_replica")? {
        let why = "this PostgreSQL server is a replica: it may be behind, so that a revoked key would still work";
        return Err(sqlx::Error::Configuration(why.into()));
    }
    Ok(())
}
