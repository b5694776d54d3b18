//! Stores of key records. A store receives only the digests of keys. So it cannot leak a key, and a
//! key cannot carry an SQL injection.

mod actor_key;
mod batch;
#[cfg(feature = "cache")]
mod cached;
mod change;
mod change_context;
mod change_feed;
mod change_scope;
mod day;
mod erased;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
mod event_row;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
mod event_sql;
mod expiry_claim;
mod filter;
mod idempotency;
mod join;
mod memory;
#[cfg(all(feature = "limits", any(feature = "postgres-no-tls", feature = "sqlite")))]
mod meter_row;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
mod migration;
mod operations;
#[cfg(feature = "postgres-no-tls")]
mod postgres;
mod registry;
mod registry_arc;
mod registry_defaults;
mod registry_error;
mod registry_forward;
mod registry_impls;
mod registry_types;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
mod row;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
mod row_text;
mod search;
#[cfg(feature = "sqlite")]
mod sqlite;
mod static_keys;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
mod tables;
#[cfg(feature = "testkit")]
pub mod testkit;
mod transaction;
mod usage;
#[cfg(all(feature = "webhooks", any(feature = "postgres-no-tls", feature = "sqlite")))]
mod webhook_sql;

use std::sync::Arc;

pub use actor_key::ActorKey;
pub use batch::{BulkChange, KeyBatch};
#[cfg(feature = "cache")]
pub use cached::{CacheError, CacheStatus, CachedStore, CachedStoreBuilder};
pub use change::RegistryChange;
pub use change_context::ChangeContext;
pub use change_feed::{ChangeFeed, Invalidation};
pub use change_scope::{ChangeKind, ChangeScope, CountedKeys, OwnerScope};
pub use day::{InvalidDay, UtcDay};
pub(crate) use erased::{Answer, ErasedStore, Fault, PendingAnswer, catch_panic};
pub use expiry_claim::ExpiryClaim;
pub use filter::{KeyFilter, KeyOrder, OwnerKind, PageCursor, TimeRange};
pub(crate) use idempotency::LIFETIME as IDEMPOTENCY_LIFETIME;
pub use idempotency::{IdempotencyKey, IdempotencyRecord};
pub use join::JoinStore;
pub(crate) use join::insert_joined;
pub use memory::{MemoryChangeFeed, MemoryStore, MemoryTransaction};
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
pub use migration::{Migration, MigrationIndex};
pub use operations::RegistryTransaction;
#[cfg(feature = "postgres-no-tls")]
pub use postgres::{PostgresChangeFeed, PostgresStore, PostgresStoreBuilder, PostgresTransaction};
pub use registry::KeyRegistry;
pub use registry_error::RegistryError;
pub use registry_types::{KeyLimit, Replacement};
pub use search::KeyPage;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteChangeFeed, SqliteFault, SqliteStore, SqliteStoreBuilder, SqliteTransaction};
#[cfg(feature = "static-files")]
pub use static_keys::{KeyEntryError, KeyFileError, KeyListError, StaticKeysFile};
pub use static_keys::{StaticKeys, StaticKeysError};
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
pub use tables::TablesError;
pub use transaction::TransactionalStore;
pub use usage::{DayUsage, UsageDelta};

use crate::{key::KeyDigest, record::KeyRecord};

pub use crate::error::BoxError;

/// Boxes the error of a store.
pub(crate) fn box_error<T, E: Into<BoxError>>(answer: Result<T, E>) -> Result<T, BoxError> {
    answer.map_err(Into::into)
}

/// Finds the record of a key by its digest.
///
/// This is the only trait to implement for keys in a database of your own.
///
/// ```
/// use tower_api_key::{KeyDigest, KeyRecord, KeyStore, store::BoxError};
///
/// struct Customers { /* a pool of connections */ }
/// # impl Customers { async fn row(&self, _: &[u8; 32]) -> Result<Option<(i64, Vec<u8>)>, BoxError> { Ok(None) } }
///
/// impl KeyStore for Customers {
///     type Error = BoxError;
///
///     async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, BoxError> {
///         // select id, key_sha256 from customers where key_sha256 = ?
///         let Some((id, key_sha256)) = self.row(digest.as_bytes()).await? else {
///             return Ok(None);
///         };
///         // Return the digest of the row, not `digest`: the layer compares the two.
///         Ok(Some(KeyRecord::new(id, KeyDigest::try_from(key_sha256)?)))
///     }
/// }
/// ```
///
/// # Wrong answers
///
/// - A false `None` rejects a valid key with 401.
/// - A wrong record is rejected too: the layer compares its digest with that of the presented key.
/// - A stale record delays a revocation by its age.
/// - An error, a timeout and a panic are answered with 503. They never authenticate a request.
///
/// Return revoked keys with [`Status::Revoked`](crate::Status::Revoked) instead of filtering them
/// out: clients see the same 401, and your logs show the reason.
pub trait KeyStore: Send + Sync + 'static {
    /// The failure of a lookup. Observers see it; callers do not.
    type Error: Into<BoxError>;

    /// Returns the record stored under `digest`.
    ///
    /// # Errors
    ///
    /// The store failed; the request is answered with 503. An unknown key is `Ok(None)`.
    fn find(&self, digest: &KeyDigest) -> impl Future<Output = Result<Option<KeyRecord>, Self::Error>> + Send;

    /// Returns the answer if the store knows it without waiting. The layer calls [`KeyStore::find`]
    /// only after [`Lookup::Pending`].
    ///
    /// The default implementation returns [`Lookup::Pending`].
    fn try_find(&self, _digest: &KeyDigest) -> Lookup {
        Lookup::Pending
    }
}

/// The answer of a store that does not wait.
///
/// ```
/// use tower_api_key::{KeyRecord, Lookup};
///
/// assert!(matches!(Lookup::from(Some(KeyRecord::new("k1", [7; 32]))), Lookup::Found(_)));
/// assert!(matches!(Lookup::from(None), Lookup::Absent));
/// ```
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The record stored under the digest.
    Found(KeyRecord),
    /// No record is stored under the digest.
    Absent,
    /// The store has to wait for the answer.
    Pending,
}

impl From<Option<KeyRecord>> for Lookup {
    fn from(record: Option<KeyRecord>) -> Self {
        record.map_or(Self::Absent, Self::Found)
    }
}

impl<S: KeyStore> KeyStore for Arc<S> {
    type Error = S::Error;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, S::Error> {
        S::find(self, digest).await
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        S::try_find(self, digest)
    }
}
