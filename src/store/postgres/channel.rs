//! The session that listens, and what is sent through the channel.

use std::{io, sync::Arc, time::Duration};

use sqlx::{
    Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow},
};
use tokio::runtime::Handle;

use super::{
    notification::{Beat, Notification},
    pool::{Pool, PooledConnection, Purpose, prepare},
    watched::{WATCHED, Watched, triggers_changed, watched},
};
use crate::{key::Hmac, store::Invalidation};

/// A session that listens, and takes the lock of the holder. All other statements use the pool: a
/// session's own notifications come back even behind a transaction pooler, which drops all others.
/// So the listening session sends none.
pub(super) struct Channel {
    /// `Some` until drop.
    listener: Option<PgListener>,
    pool: Arc<Pool>,
    watched: Arc<Watched>,
    signing_key: Hmac,
    /// Whether a notification arrived that may be a change of any key. The next proof reports it.
    /// This is soon enough for the revocation bound, and the cache invalidates all entries at most
    /// once per proof.
    is_any: bool,
    runtime: Handle,
}

/// What the session has heard.
pub(super) enum Received {
    Change(Invalidation),
    Beat(Beat),
    /// A node asks for a beat.
    Ask,
}

/// Selects which database of which server it is: a hash of its number and of when the server was
/// started. A copy of a database on the same server has the same triggers and keys.
macro_rules! server {
    () => {
        "(select hashtextextended(oid || ' ' || (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint, 0)
            from pg_catalog.pg_database where datname = current_database()) as server"
    };
}

/// Reads the newest number.
#[cfg(feature = "cache")]
const READ: &str = concat!("select last_value as number, ", server!(), " from api_keys_beat");

/// The same, and asks the holder for beats.
#[cfg(feature = "cache")]
const READ_AND_ASK: &str =
    concat!("select last_value as number, ", server!(), ", pg_notify($1, $2)::text from api_keys_beat");

/// Takes a number, and reads the triggers by a later statement, which sees what was committed
/// before it. In one statement, they could be read before the number is taken.
const TAKE_NUMBER_AND_WATCHED: &str =
    concat!("select nextval('api_keys_beat') as number, ", server!(), ";\n", watched!());

// === impl Channel ===

impl Channel {
    pub(super) async fn open(pool: &Arc<Pool>) -> Result<Self, sqlx::Error> {
        let watched = Arc::new(watched(pool).await?);
        let limit = pool.operation_timeout;
        // Boxed, since the future is large.
        let mut listener = Box::pin(pool.direct.first(limit, |host| listen(host, limit))).await?;
        // If the nonce has changed since it was read, the first beat detects it.
        listener.listen(&watched.channel()).await?;
        let signing_key = watched.signing_key();
        let (listener, pool, runtime) = (Some(listener), Arc::clone(pool), Handle::current());
        Ok(Self { listener, pool, watched, signing_key, is_any: false, runtime })
    }

    /// Waits for a notification that means something. Cancel safe.
    pub(super) async fn recv(&mut self) -> Result<Received, sqlx::Error> {
        loop {
            // `None` means that the connection was lost; the next call would reconnect.
            let notification = self.listener.as_mut().ok_or_else(lost)?.try_recv().await?.ok_or_else(lost)?;
            match Notification::parse(notification.payload(), &self.signing_key) {
                Notification::Change(Invalidation::All) => self.is_any = true,
                Notification::Change(change) => return Ok(Received::Change(change)),
                Notification::Beat(beat) => return Ok(Received::Beat(beat)),
                Notification::Ask => return Ok(Received::Ask),
                Notification::OtherBeat => {}
            }
        }
    }

    /// Rejects a beat that was sent with other triggers.
    pub(super) fn check(&self, beat: &Beat) -> Result<(), sqlx::Error> {
        if beat.triggers == self.watched.triggers() { Ok(()) } else { Err(triggers_changed()) }
    }

    /// Returns whether any key may have changed, once.
    pub(super) fn take_any(&mut self) -> Option<Invalidation> {
        std::mem::take(&mut self.is_any).then_some(Invalidation::All)
    }

    /// Returns the error of a listener and a pool that are connected to two servers. The idle
    /// connections are closed: after a failover, they may be those to the old server.
    #[cfg(feature = "cache")]
    pub(super) fn other_server(&self) -> sqlx::Error {
        self.pool.forget_idle();
        let why = "the listening session and the pool are connected to two servers: an address that moved, or two \
            primaries";
        sqlx::Error::Configuration(why.into())
    }

    pub(super) fn set_any(&mut self) {
        self.is_any = true;
    }

    /// Tries to become the holder, whose lock ends with the session.
    #[cfg(feature = "cache")]
    pub(super) async fn try_hold(&mut self) -> Result<bool, sqlx::Error> {
        let listener = self.listener.as_mut().ok_or_else(lost)?;
        let lock = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(self.watched.lock());
        lock.fetch_one(listener).await
    }

    /// Returns the newest number of the sequence, and its server. May ask the holder for beats.
    #[cfg(feature = "cache")]
    pub(super) fn read(&self, asks: bool) -> impl Future<Output = Result<(i64, i64), sqlx::Error>> + Send + use<> {
        let (pool, watched) = (Arc::clone(&self.pool), Arc::clone(&self.watched));
        async move {
            let read = |mut connection: PooledConnection| {
                let query = if asks {
                    connection.tables().query(READ_AND_ASK).bind(watched.channel()).bind(super::notification::ASK)
                } else {
                    connection.tables().query(READ)
                };
                async move {
                    let row = query.fetch_one(&mut *connection).await;
                    (connection, row)
                }
            };
            number_and_server(&pool.within(pool.read(Purpose::Proof, read)).await?)
        }
    }

    /// Sends a beat, and returns it. If it must get a certain number and gets another one, it sends
    /// nothing.
    pub(super) fn send_beat(
        &self,
        number: Option<i64>,
    ) -> impl Future<Output = Result<Option<Beat>, sqlx::Error>> + Send + use<> {
        let (pool, expected, key) = (Arc::clone(&self.pool), Arc::clone(&self.watched), self.signing_key.clone());
        async move {
            let send = |mut connection: PooledConnection| {
                let (expected, key) = (Arc::clone(&expected), key.clone());
                async move {
                    let sent = send_beat(&mut connection, &expected, &key, number).await;
                    (connection, sent)
                }
            };
            pool.within(pool.read(Purpose::Proof, send)).await
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // A sqlx listener spawns a task when it is dropped, and panics outside of a runtime.
        let _context = self.runtime.enter();
        drop(self.listener.take());
    }
}

async fn send_beat(
    connection: &mut PooledConnection,
    expected: &Watched,
    key: &Hmac,
    must_get: Option<i64>,
) -> Result<Option<Beat>, sqlx::Error> {
    let tables = connection.tables().clone();
    // In one round trip: the later a beat is, the older is the proof.
    let rows = sqlx::raw_sql(tables.sql(TAKE_NUMBER_AND_WATCHED)).fetch_all(&mut **connection).await?;
    let mut rows = rows.iter();
    let (number, server) = number_and_server(rows.next().ok_or(sqlx::Error::RowNotFound)?)?;
    if must_get.is_some_and(|expected| number != expected) {
        return Ok(None);
    }
    if Watched::read(rows.next())? != *expected {
        return Err(triggers_changed());
    }
    let beat = Beat { number, server, triggers: expected.triggers() };
    let notify = tables.query("select pg_notify($1, $2)::text").bind(expected.channel()).bind(beat.payload(key));
    notify.fetch_one(&mut **connection).await?;
    Ok(Some(beat))
}

async fn watched(pool: &Arc<Pool>) -> Result<Watched, sqlx::Error> {
    let read = |mut connection: PooledConnection| async move {
        let query = connection.tables().query(WATCHED);
        let row = query.fetch_optional(&mut *connection).await;
        (connection, row)
    };
    Watched::read(pool.read(Purpose::Proof, read).await?.as_ref())
}

async fn listen(options: PgConnectOptions, operation_timeout: Duration) -> Result<PgListener, sqlx::Error> {
    let name = format!("{} changes", options.get_application_name().unwrap_or_default());
    // A sqlx listener reconnects silently if its pool allows it. This pool has one connection and
    // belongs to this listener, so both are dropped together.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(operation_timeout);
    let mut listener = PgListener::connect_with(&pool.connect_lazy_with(options.application_name(&name))).await?;
    listener.eager_reconnect(false);
    prepare(&mut listener, operation_timeout).await?;
    Ok(listener)
}

fn number_and_server(row: &PgRow) -> Result<(i64, i64), sqlx::Error> {
    Ok((row.try_get("number")?, row.try_get("server")?))
}

pub(super) fn lost() -> sqlx::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection of the change feed is lost").into()
}
