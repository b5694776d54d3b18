//! Where records are kept. A store is given a digest and nothing else, so it cannot leak a key, or be injected by one.

mod actor_key;
#[cfg(feature = "cache")]
mod cached;
mod change;
mod change_feed;
mod change_scope;
mod erased;
mod filter;
mod memory;
#[cfg(feature = "postgres-no-tls")]
mod postgres;
mod registry;
mod registry_error;
mod registry_impls;
mod registry_types;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;
mod static_keys;
#[cfg(feature = "testkit")]
pub mod testkit;
mod transaction;

use std::{error::Error, sync::Arc};

pub use actor_key::ActorKey;
#[cfg(feature = "cache")]
pub use cached::{CacheError, CacheStatus, CachedStore, CachedStoreBuilder};
pub use change::RegistryChange;
pub use change_feed::{ChangeFeed, Invalidation};
pub use change_scope::{ChangeKind, ChangeScope, CountedKeys, OwnerScope};
pub(crate) use erased::{Answer, ErasedStore, Fault, PendingAnswer};
pub use filter::KeyFilter;
pub use memory::{MemoryChangeFeed, MemoryStore, MemoryTransaction};
#[cfg(feature = "postgres-no-tls")]
pub use postgres::{PostgresChangeFeed, PostgresStore, PostgresStoreBuilder};
pub use registry::KeyRegistry;
pub use registry_error::RegistryError;
pub use registry_types::{KeyLimit, Replacement, UsageDelta};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteChangeFeed, SqliteFault, SqliteStore, SqliteTransaction};
pub use static_keys::{StaticKeys, StaticKeysError};
pub use transaction::{RegistryTransaction, TransactionalStore};

use crate::{key::KeyDigest, record::KeyRecord};

/// A boxed error of any type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Boxes the error of a store.
pub(crate) fn box_error<T, E: Into<BoxError>>(answer: Result<T, E>) -> Result<T, BoxError> {
    answer.map_err(Into::into)
}

/// Finds the record of a key by its digest: the one thing to implement for a database of your own.
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
///         // The row's digest, not ours: the layer compares the two.
///         Ok(Some(KeyRecord::new(id, KeyDigest::try_from(key_sha256)?)))
///     }
/// }
/// ```
///
/// # What a wrong answer does
///
/// A wrong `None` turns away a good caller. A wrong record is caught, since the layer compares the record's digest with that of the
/// presented key. An old record delays a revocation by its age. An error, a missed deadline and a panic are 503, and never let anyone in.
pub trait KeyStore: Send + Sync + 'static {
    /// Why the store could not answer. Observers see it; callers do not.
    type Error: Into<BoxError>;

    /// Finds the record that is stored under `digest`.
    ///
    /// # Errors
    ///
    /// Whatever keeps the store from answering; the caller is told 503. "No such key" is `Ok(None)`.
    fn find(&self, digest: &KeyDigest) -> impl Future<Output = Result<Option<KeyRecord>, Self::Error>> + Send;

    /// Answers without waiting, where the store can. It is asked first; only [`Lookup::Pending`] leads to [`KeyStore::find`].
    fn try_find(&self, _digest: &KeyDigest) -> Lookup {
        Lookup::Pending
    }
}

/// What a store knows without waiting.
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
    /// There is none.
    Absent,
    /// The store has to wait to know.
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
