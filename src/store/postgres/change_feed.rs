//! The changes of keys as PostgreSQL tells them: `LISTEN`, and a heartbeat that goes the same way, from another session to this one.

use std::{fmt, io, time::Duration};

use sqlx::{
    Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow},
};
use tokio::runtime::Handle;

use super::pool::{prepare, within};
use crate::store::{ChangeFeed, Invalidation};

/// The changes of the keys in a [`PostgresStore`](super::PostgresStore), on two connections of their own: one listens, and the other sends the heartbeats.
///
/// Triggers tell them, so a change is told by whoever makes it: by this library in any process, or by hand in `psql`. A change is told
/// when it is committed, and as two bytes of a digest at most. Each heartbeat also proves that the table and its triggers are still those that were
/// there.
///
/// The name of the channel has a random part, which only a role that may read the table `api_keys_schema` knows: no other role can listen, or
/// notify. What is told and not understood counts as a change of any key ([`Invalidation::All`]); it is told with the next heartbeat, once, however often it was heard.
///
/// Notifications do not pass through a pooler that lends a connection for one transaction, such as `PgBouncer` in its transaction mode: then
/// no heartbeat comes back, which is an error.
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
    patience: Duration,
    /// `None` before `connect`, and once something has gone wrong: nothing is told over a connection that is in doubt.
    channel: Option<Channel>,
}

/// A session that listens, and one that speaks. What a session tells itself comes back also where nothing else gets through: behind
/// a pooler that lends its server for one transaction.
struct Channel {
    /// Always there, until the end.
    listener: Option<PgListener>,
    speaker: PgConnection,
    watched: Watched,
    /// Something was told that may be any change. It is passed on with the next heartbeat: that is soon enough for the bound, and however
    /// often it is told, a cache forgets everything once a heartbeat at most.
    is_any: bool,
    runtime: Handle,
}

/// What was there at first, and must be there still.
#[derive(PartialEq)]
struct Watched {
    /// What the channel is named by.
    nonce: String,
    /// A table in the place of the first one has others.
    triggers: String,
}

/// What a notification says.
enum Notification {
    Change(Invalidation),
    Beat(String),
}

/// So many changes in one heartbeat are as good as a change of any key: there are no more beginnings.
const MANY: usize = 1 << 16;

/// The nonce, and the triggers of a table in the same schema: they read the nonce there.
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

/// Says something that nobody could have said before.
const BEAT: &str = concat!(
    "with beat as materialized (select 'beat ' || gen_random_uuid() as payload)
        select pg_notify($1, payload)::text, payload, ",
    watched!(),
    " from beat"
);

// === impl PostgresChangeFeed ===

impl PostgresChangeFeed {
    pub(super) fn new(options: &PgConnectOptions, patience: Duration) -> Self {
        Self { options: options.clone(), patience, channel: None }
    }
}

impl ChangeFeed for PostgresChangeFeed {
    type Error = sqlx::Error;

    async fn subscribe(&mut self) -> Result<(), sqlx::Error> {
        self.channel = None;
        self.channel = Some(within(self.patience, Channel::open(&self.options, self.patience)).await?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Invalidation, sqlx::Error> {
        let channel = self.channel.as_mut().ok_or_else(lost)?;
        loop {
            match channel.recv().await {
                Ok(Notification::Change(Invalidation::All)) => channel.is_any = true,
                Ok(Notification::Change(change)) => return Ok(change),
                Ok(Notification::Beat(_)) => {}
                Err(error) => {
                    self.channel = None;
                    return Err(error);
                }
            }
        }
    }

    /// Cut short, it ends the channel.
    async fn heartbeat(&mut self) -> Result<Vec<Invalidation>, sqlx::Error> {
        let mut channel = self.channel.take().ok_or_else(lost)?;
        let changes = within(self.patience, channel.send_heartbeat()).await?;
        self.channel = Some(channel);
        Ok(changes)
    }
}

impl fmt::Debug for PostgresChangeFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresChanges")
            .field("host", &self.options.get_host())
            .field("port", &self.options.get_port())
            .field("database", &self.options.get_database())
            .field("is_connected", &self.channel.is_some())
            .finish_non_exhaustive()
    }
}

// === impl Channel ===

impl Channel {
    async fn open(options: &PgConnectOptions, patience: Duration) -> Result<Self, sqlx::Error> {
        // A listener of sqlx brings its connection back in silence if it can; from this pool it is given up together with it.
        let pool =
            PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).acquire_timeout(patience);
        let mut listener = PgListener::connect_with(&pool.connect_lazy_with(named(options, "changes"))).await?;
        listener.eager_reconnect(false);
        prepare(&mut listener, patience).await?;
        let mut speaker = PgConnection::connect_with(&named(options, "heartbeats")).await?;
        prepare(&mut speaker, patience).await?;
        let watched = Watched::read(&sqlx::query(concat!("select ", watched!())).fetch_one(&mut speaker).await?)?;
        // Should it be another by now, no heartbeat says so before the first one has looked again.
        listener.listen(&watched.channel()).await?;
        Ok(Self { listener: Some(listener), speaker, watched, is_any: false, runtime: Handle::current() })
    }

    /// Sends a notification, and returns the changes that come before it. Notifications come in the order of their commits.
    async fn send_heartbeat(&mut self) -> Result<Vec<Invalidation>, sqlx::Error> {
        let row = sqlx::query(BEAT).bind(self.watched.channel()).fetch_one(&mut self.speaker).await?;
        if Watched::read(&row)? != self.watched {
            return Err(without_triggers());
        }
        let beat: String = row.try_get("payload")?;
        let mut changes = Vec::new();
        loop {
            match self.recv().await? {
                Notification::Change(Invalidation::All) => self.is_any = true,
                Notification::Change(_) if changes.len() == MANY => self.is_any = true,
                Notification::Change(change) => changes.push(change),
                Notification::Beat(told) if told == beat => break,
                Notification::Beat(_) => {}
            }
        }
        changes.extend(std::mem::take(&mut self.is_any).then_some(Invalidation::All));
        Ok(changes)
    }

    async fn recv(&mut self) -> Result<Notification, sqlx::Error> {
        // `None` is a connection that was lost, and would be made anew by the next call.
        let notification = self.listener.as_mut().ok_or_else(lost)?.try_recv().await?.ok_or_else(lost)?;
        Ok(Notification::from(notification.payload()))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // A listener of sqlx says farewell in a task, and panics where there is no runtime.
        let _context = self.runtime.enter();
        drop(self.listener.take());
    }
}

/// With the name of the application, and what the session is for.
fn named(options: &PgConnectOptions, purpose: &str) -> PgConnectOptions {
    let name = format!("{} {purpose}", options.get_application_name().unwrap_or_default());
    options.clone().application_name(&name)
}

// === impl Watched ===

impl Watched {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let text = |column| row.try_get::<Option<String>, _>(column)?.ok_or_else(without_triggers);
        Ok(Self { triggers: text("triggers")?, nonce: text("nonce")? })
    }

    /// As the triggers name it.
    fn channel(&self) -> String {
        format!("tower_api_key_{}", self.nonce)
    }
}

fn without_triggers() -> sqlx::Error {
    let why = "the triggers that tell of changed keys are missing, were replaced, or are not `enable always`, the table has \
        children, or the nonce of the channel is missing or was replaced: see \"A stuck change feed\" in the guide";
    sqlx::Error::Configuration(why.into())
}

fn lost() -> sqlx::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection that tells of changed keys is lost").into()
}

// === impl Told ===

impl From<&str> for Notification {
    fn from(payload: &str) -> Self {
        if payload.starts_with("beat ") {
            return Self::Beat(payload.to_owned());
        }
        let is_hex = payload.len() == 4 && payload.bytes().all(|byte| byte.is_ascii_hexdigit());
        let beginning = is_hex.then(|| u16::from_str_radix(payload, 16).ok()).flatten();
        // What this version does not know may be any change.
        Self::Change(beginning.map_or(Invalidation::All, |bytes| Invalidation::DigestPrefix(bytes.to_be_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_and_not_understood_may_be_any_change() {
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
            let told = match Notification::from(payload) {
                Notification::Change(change) => Some(change),
                Notification::Beat(_) => None,
            };
            assert_eq!(told, expected, "{payload:?}");
        }
    }
}
