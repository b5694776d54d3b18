//! The change feed of PostgreSQL: `LISTEN`, and the beat that all nodes share.

#[cfg(feature = "cache")]
use std::convert::Infallible;
use std::{fmt, sync::Arc};

use super::{
    channel::{Channel, Received, lost},
    pool::Pool,
    watched::triggers_changed,
};
#[cfg(feature = "cache")]
use crate::store::{BoxError, cached::FeedState};
use crate::store::{ChangeFeed, Invalidation};

/// Reports the changes of keys in a [`PostgresStore`](super::PostgresStore), by `LISTEN`/`NOTIFY`.
///
/// The feed opens one connection, which listens. Triggers send the notifications, so manual SQL
/// changes propagate like those of this library. A notification is sent when the change is
/// committed, and contains at most two bytes of a digest.
///
/// In a [`CachedStore`](crate::store::CachedStore), all nodes share one heartbeat, which a single
/// node sends. Each node proves with it that it has missed no change: it reads the number of the
/// newest heartbeat, and then hears one with a larger number. So many nodes cost the server little.
/// If that node stops, another one takes its place within a lease. Each heartbeat also verifies
/// that the table and its triggers have not been replaced. [`ChangeFeed::heartbeat`] itself sends
/// one of its own.
///
/// The channel name has a random part that only roles with read access to the table
/// `api_keys_schema` know, so no other role can listen or notify. A notification that this version
/// cannot parse counts as a change of any key ([`Invalidation::All`]). It is reported once, with
/// the next heartbeat, however often it arrives. Heartbeats are signed.
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
    pool: Arc<Pool>,
    /// `None` before `subscribe` and after an error: a connection in doubt is not used again.
    channel: Option<Channel>,
}

/// The most changes in one heartbeat. There are no more digest prefixes than this, so more changes
/// count as a change of any key.
const MAX_CHANGES: usize = 1 << 16;

// === impl PostgresChangeFeed ===

impl PostgresChangeFeed {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self { pool: Arc::clone(pool), channel: None }
    }
}

impl ChangeFeed for PostgresChangeFeed {
    type Error = sqlx::Error;

    async fn subscribe(&mut self) -> Result<(), sqlx::Error> {
        self.channel = None;
        self.channel = Some(self.pool.within(Channel::open(&self.pool)).await?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Invalidation, sqlx::Error> {
        let channel = self.channel.as_mut().ok_or_else(lost)?;
        loop {
            match channel.recv().await {
                Ok(Received::Change(change)) => return Ok(change),
                Ok(Received::Ask) => {}
                Ok(Received::Beat(beat)) if channel.check(&beat).is_ok() => {}
                Ok(Received::Beat(_)) => {
                    self.channel = None;
                    return Err(triggers_changed());
                }
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
        let changes = self.pool.within(heartbeat(&mut channel)).await?;
        self.channel = Some(channel);
        Ok(changes)
    }

    #[cfg(feature = "cache")]
    async fn follow(&mut self, cache: &FeedState) -> Result<Infallible, BoxError> {
        self.subscribe().await?;
        let mut channel = self.channel.take().ok_or_else(lost)?;
        let Err(error) = super::follow::follow(&mut channel, cache).await;
        Err(error)
    }
}

/// Sends a beat and returns the changes that arrive before it. Notifications arrive in the order of
/// commits.
async fn heartbeat(channel: &mut Channel) -> Result<Vec<Invalidation>, sqlx::Error> {
    let sent = channel.send_beat(None).await?;
    let mut changes = Vec::new();
    loop {
        match channel.recv().await? {
            Received::Change(_) if changes.len() == MAX_CHANGES => channel.set_any(),
            Received::Change(change) => changes.push(change),
            Received::Beat(beat) => {
                channel.check(&beat)?;
                if Some(beat) == sent {
                    break;
                }
            }
            Received::Ask => {}
        }
    }
    changes.extend(channel.take_any());
    Ok(changes)
}

impl fmt::Debug for PostgresChangeFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresChangeFeed")
            .field("pool", &self.pool)
            .field("is_connected", &self.channel.is_some())
            .finish()
    }
}
