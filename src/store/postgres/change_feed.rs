//! The change feed of PostgreSQL: `LISTEN`, and a heartbeat that another session sends through the
//! same channel.

use std::{fmt, io, time::Duration};

use sqlx::{
    Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow},
};
use tokio::runtime::Handle;

use super::pool::{Pool, prepare, within};
use crate::store::{ChangeFeed, Invalidation, tables::Tables};

/// Reports the changes of keys in a [`PostgresStore`](super::PostgresStore), by `LISTEN`/`NOTIFY`.
///
/// The feed opens two connections: one listens, the other sends the heartbeats. Triggers send the
/// notifications, so manual SQL changes propagate like those of this library. A notification is
/// sent when the change is committed, and contains at most two bytes of a digest. Each heartbeat
/// also verifies that the table and its triggers have not been replaced.
///
/// The channel name has a random part that only roles with read access to the table
/// `api_keys_schema` know, so no other role can listen or notify. A notification that this version
/// cannot parse counts as a change of any key ([`Invalidation::All`]). It is reported once, with
/// the next heartbeat, however often it arrives.
///
/// Notifications do not pass through a transaction pooler, such as `PgBouncer` in transaction
/// mode: then no heartbeat comes back, which is an error.
///
/// ```no_run
/// use tower_api_key::store::{ChangeFeed, PostgresStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::open("postgres://keys@db.example/keys?sslmode=verify-full").await?;
/// let mut changes = store.change_feed();
/// changes.subscribe().await?;
/// println!("{:?}", changes.next().await?);
/// # Ok(())
/// # }
/// ```
pub struct PostgresChangeFeed {
    options: PgConnectOptions,
    operation_timeout: Duration,
    tables: Tables,
    /// `None` before `subscribe` and after an error: a connection in doubt is not used again.
    channel: Option<Channel>,
}

/// Two sessions: one listens, the other notifies.
///
/// A session's own notifications come back even behind a transaction pooler, which drops all
/// others. So the heartbeats need a second session.
struct Channel {
    /// `Some` until drop.
    listener: Option<PgListener>,
    notifier: PgConnection,
    tables: Tables,
    watched: Watched,
    /// Whether a notification arrived that may be a change of any key. The next heartbeat reports
    /// it. This is soon enough for the revocation bound, and the cache invalidates all entries at
    /// most once per heartbeat.
    is_any: bool,
    runtime: Handle,
}

/// The parts of the schema that must not change while the feed is open.
#[derive(PartialEq)]
struct Watched {
    /// The random part of the channel name.
    nonce: String,
    /// The object ids of the triggers, which differ if the table was replaced.
    triggers: String,
}

/// A parsed notification.
enum Notification {
    Change(Invalidation),
    Heartbeat(String),
}

/// The most changes in one heartbeat. There are no more digest prefixes than this, so more changes
/// count as a change of any key.
const MAX_CHANGES: usize = 1 << 16;

/// Selects the nonce, and the triggers of the key table. That table must be in the schema of the
/// nonce, since the triggers read the nonce from their own schema.
macro_rules! watched {
    () => {
        "(select nonce::text from api_keys_schema where nonce is not null order by version limit 1) as nonce,
        (select string_agg(trigger.oid::text, ' ' order by trigger.oid) from pg_catalog.pg_trigger as trigger
            join pg_catalog.pg_class as keys on keys.oid = trigger.tgrelid
            join pg_catalog.pg_class as versions on versions.relnamespace = keys.relnamespace
            where keys.oid = to_regclass('api_keys') and versions.oid = to_regclass('api_keys_schema')
            and not keys.relhassubclass and trigger.tgenabled = 'A'
            and trigger.tgname in ('api_keys_tell', 'api_keys_tell_change', 'api_keys_tell_all')
            having count(*) = 3) as triggers"
    };
}

/// Sends a random payload made by the server: any role that knows the channel can notify, so a
/// predictable payload could be forged.
const HEARTBEAT: &str = concat!(
    "with beat as materialized (select 'beat ' || gen_random_uuid() as payload)
        select pg_notify($1, payload)::text, payload, ",
    watched!(),
    " from beat"
);

// === impl PostgresChangeFeed ===

impl PostgresChangeFeed {
    pub(super) fn new(pool: &Pool) -> Self {
        let (options, tables) = (pool.options.clone(), pool.tables.clone());
        Self { options, operation_timeout: pool.operation_timeout, tables, channel: None }
    }
}

impl ChangeFeed for PostgresChangeFeed {
    type Error = sqlx::Error;

    async fn subscribe(&mut self) -> Result<(), sqlx::Error> {
        self.channel = None;
        let opening = Channel::open(&self.options, self.operation_timeout, &self.tables);
        self.channel = Some(within(self.operation_timeout, opening).await?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Invalidation, sqlx::Error> {
        let channel = self.channel.as_mut().ok_or_else(lost)?;
        loop {
            match channel.recv().await {
                Ok(Notification::Change(Invalidation::All)) => channel.is_any = true,
                Ok(Notification::Change(change)) => return Ok(change),
                Ok(Notification::Heartbeat(_)) => {}
                Err(error) => {
                    self.channel = None;
                    return Err(error);
                }
            }
        }
    }

    /// Not cancel safe: dropping the future closes the channel.
    async fn heartbeat(&mut self) -> Result<Vec<Invalidation>, sqlx::Error> {
        let mut channel = self.channel.take().ok_or_else(lost)?;
        let changes = within(self.operation_timeout, channel.send_heartbeat()).await?;
        self.channel = Some(channel);
        Ok(changes)
    }
}

impl fmt::Debug for PostgresChangeFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresChangeFeed")
            .field("host", &self.options.get_host())
            .field("port", &self.options.get_port())
            .field("database", &self.options.get_database())
            .field("is_connected", &self.channel.is_some())
            .finish_non_exhaustive()
    }
}

// === impl Channel ===

impl Channel {
    async fn open(
        options: &PgConnectOptions,
        operation_timeout: Duration,
        tables: &Tables,
    ) -> Result<Self, sqlx::Error> {
        // A sqlx listener reconnects silently if its pool allows it. This pool has one connection
        // and belongs to this channel, so both are dropped together.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(operation_timeout);
        let mut listener = PgListener::connect_with(&pool.connect_lazy_with(named(options, "changes"))).await?;
        listener.eager_reconnect(false);
        prepare(&mut listener, operation_timeout).await?;
        let mut notifier = PgConnection::connect_with(&named(options, "heartbeats")).await?;
        prepare(&mut notifier, operation_timeout).await?;
        let watched = sqlx::query(tables.sql(concat!("select ", watched!()))).fetch_one(&mut notifier).await?;
        let watched = Watched::read(&watched)?;
        // If the nonce has changed since it was read, the first heartbeat detects it.
        listener.listen(&watched.channel()).await?;
        let (tables, runtime) = (tables.clone(), Handle::current());
        Ok(Self { listener: Some(listener), notifier, tables, watched, is_any: false, runtime })
    }

    /// Sends a notification and returns the changes that arrive before it. Notifications arrive in
    /// commit order.
    async fn send_heartbeat(&mut self) -> Result<Vec<Invalidation>, sqlx::Error> {
        let row =
            sqlx::query(self.tables.sql(HEARTBEAT)).bind(self.watched.channel()).fetch_one(&mut self.notifier).await?;
        if Watched::read(&row)? != self.watched {
            return Err(triggers_changed());
        }
        let sent: String = row.try_get("payload")?;
        let mut changes = Vec::new();
        loop {
            match self.recv().await? {
                Notification::Change(Invalidation::All) => self.is_any = true,
                Notification::Change(_) if changes.len() == MAX_CHANGES => self.is_any = true,
                Notification::Change(change) => changes.push(change),
                Notification::Heartbeat(received) if received == sent => break,
                Notification::Heartbeat(_) => {}
            }
        }
        changes.extend(std::mem::take(&mut self.is_any).then_some(Invalidation::All));
        Ok(changes)
    }

    async fn recv(&mut self) -> Result<Notification, sqlx::Error> {
        // `None` means that the connection was lost; the next call would reconnect.
        let notification = self.listener.as_mut().ok_or_else(lost)?.try_recv().await?.ok_or_else(lost)?;
        Ok(Notification::from(notification.payload()))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // A sqlx listener spawns a task when it is dropped, and panics outside of a runtime.
        let _context = self.runtime.enter();
        drop(self.listener.take());
    }
}

/// Returns the options with the purpose of the session appended to the application name.
fn named(options: &PgConnectOptions, purpose: &str) -> PgConnectOptions {
    let name = format!("{} {purpose}", options.get_application_name().unwrap_or_default());
    options.clone().application_name(&name)
}

// === impl Watched ===

impl Watched {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let text = |column| row.try_get::<Option<String>, _>(column)?.ok_or_else(triggers_changed);
        Ok(Self { triggers: text("triggers")?, nonce: text("nonce")? })
    }

    /// Returns the channel name, which the triggers build in the same way.
    fn channel(&self) -> String {
        format!("tower_api_key_{}", self.nonce)
    }
}

fn triggers_changed() -> sqlx::Error {
    let why = "the triggers of the change feed are missing, were replaced, or are not `enable always`, the table has child \
        tables, or the nonce of the channel is missing or was replaced: see \"A stuck change feed\" in the guide";
    sqlx::Error::Configuration(why.into())
}

fn lost() -> sqlx::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection of the change feed is lost").into()
}

// === impl Notification ===

impl From<&str> for Notification {
    fn from(payload: &str) -> Self {
        if payload.starts_with("beat ") {
            return Self::Heartbeat(payload.to_owned());
        }
        let is_hex = payload.len() == 4 && payload.bytes().all(|byte| byte.is_ascii_hexdigit());
        let prefix = is_hex.then(|| u16::from_str_radix(payload, 16).ok()).flatten();
        // A payload of a newer version may be any change.
        Self::Change(prefix.map_or(Invalidation::All, |bytes| Invalidation::DigestPrefix(bytes.to_be_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_payload_invalidates_all_keys() {
        for (payload, expected) in [
            ("00ff", Some(Invalidation::DigestPrefix([0, 255]))),
            ("*", Some(Invalidation::All)),
            ("", Some(Invalidation::All)),
            ("00f", Some(Invalidation::All)),
            ("00ff0", Some(Invalidation::All)),
            ("zzzz", Some(Invalidation::All)),
            ("+1ff", Some(Invalidation::All)),
            ("beat 1 2", None),
        ] {
            let change = match Notification::from(payload) {
                Notification::Change(change) => Some(change),
                Notification::Heartbeat(_) => None,
            };
            assert_eq!(change, expected, "{payload:?}");
        }
    }
}
