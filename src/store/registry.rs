//! The write side of a store: every change is one step, that happens wholly or not at all.

use std::{sync::Arc, time::SystemTime};

use super::{ActorKey, KeyFilter, KeyStore, RegistryError};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Status},
};

/// A store whose keys can be changed while they are served. A [`KeyManager`](crate::KeyManager) works over any of them.
///
/// Each method is atomic: it happens wholly or not at all, also when two callers race, when the store fails in the middle and when the
/// future is dropped. What a method refuses is a [`RegistryError`], a value; an `Error` is a fault of the store alone. So an implementation
/// passes its database's errors on with `?`, and answers a refusal with `Ok(Err(refusal))`.
///
/// | rule                                                             | kept by                                |
/// |------------------------------------------------------------------|----------------------------------------|
/// | a change is made on behalf of a key that still works             | [`ActorKey::check`], in the changing transaction |
/// | of two first keys, one is                                        | one lock, and counting under it        |
/// | an id and a digest are there once                                | unique indexes                         |
/// | of two inserts under a cap of one, one succeeds                  | counting in the inserting transaction  |
/// | a revoked key stays revoked, a removed one stays away            | [`KeyRecord::apply_update`]            |
/// | an update is of the version that was read                        | [`KeyRecord::apply_update`]            |
/// | of the keys that replaced one another, one is in grace at most   | [`KeyRecord::end_of_grace`]          |
/// | a time is kept exactly, or a little earlier                      | rounding down                          |
/// | names are compared byte by byte                                  | a binary collation                     |
///
/// # On whose behalf
///
/// A change takes the key of the actor on whose behalf it is made; `None` is a trusted actor. In the transaction that changes, the store
/// reads the record of that key, keeps it from being changed until the transaction ends, and calls [`ActorKey::check`]. Somebody
/// who keeps changes in flight would go on after the revocation of the key: what was checked before is not true any more. So after a
/// revocation was answered, no change on behalf of that key is committed. [`RegistryError::ActorChanged`] comes before every other refusal.
///
/// ```
/// use tower_api_key::{KeyRecord, KeyRegistry, store::{MemoryStore, RegistryError}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// keys.insert(KeyRecord::new("k1", [7; 32]), None, None).await??;
///
/// let read = keys.get(&"k1".into()).await?.unwrap();
/// keys.revoke(&"k1".into(), None).await??;
/// let late = keys.update(read.with_name("late"), None).await?;
/// assert_eq!(late.err(), Some(RegistryError::Revoked("k1".into())));
/// # Ok(())
/// # }
/// ```
///
/// `store::testkit` (feature `testkit`) tests an implementation; the example `custom_store` shows one.
pub trait KeyRegistry: KeyStore {
    /// Adds a record. With a cap, only while its owner has room under it.
    ///
    /// Refuses with [`RegistryError::ActorChanged`], [`RegistryError::DuplicateId`], [`RegistryError::DuplicateDigest`], [`RegistryError::LimitReached`], in this order.
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was added.
    fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> impl Future<Output = Answered<(), Self::Error>> + Send;

    /// Adds the first record: only while the store holds none, of whatever owner and status. Of several callers at once, in whatever
    /// process, one succeeds.
    ///
    /// Refuses with [`RegistryError::NotEmpty`].
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was added.
    fn insert_first(&self, record: KeyRecord) -> impl Future<Output = Answered<(), Self::Error>> + Send;

    /// The record with this id.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn get(&self, id: &KeyId) -> impl Future<Output = Result<Option<KeyRecord>, Self::Error>> + Send;

    /// The records that `filter` admits: ids in descending order, those after `filter.after`, at most `filter.limit`.
    ///
    /// Ids of a [`KeyManager`](crate::KeyManager) begin with the time, so this is the newest first. Ids are compared by their bytes.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn list(&self, filter: &KeyFilter) -> impl Future<Output = Result<Vec<KeyRecord>, Self::Error>> + Send;

    /// Stores `changed` if the stored record still has its version, and returns it with the next version. The stored use is
    /// kept: an update does not change it.
    ///
    /// Refuses with [`RegistryError::ActorChanged`]; with [`RegistryError::NotFound`]; with whatever [`KeyRecord::apply_update`] says.
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was changed.
    fn update(
        &self,
        changed: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> impl Future<Output = Answered<KeyRecord, Self::Error>> + Send;

    /// In one step: an update to `old`, and the insert of `new`, which takes its place, under whatever cap. The key that `old` itself has
    /// replaced is revoked in the same step, if it is stored and not revoked yet: see [`KeyRecord::end_of_grace`]. So of the keys that
    /// replaced one another, none but the newest and the one before it works.
    ///
    /// Refuses as [`KeyRegistry::update`] does, and then as [`KeyRegistry::insert`] without a cap.
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was changed: the old key works as before.
    fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> impl Future<Output = Answered<Replacement, Self::Error>> + Send;

    /// Switches a key off for good, whatever its version. The record stays, so that observers tell its use from that of an unknown key.
    ///
    /// Refuses with [`RegistryError::ActorChanged`]; with [`RegistryError::NotFound`]; with [`RegistryError::Revoked`] for a key that was revoked before.
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was changed.
    fn revoke(
        &self,
        id: &KeyId,
        actor: Option<&ActorKey>,
    ) -> impl Future<Output = Answered<KeyRecord, Self::Error>> + Send;

    /// Switches a key off for now, whatever its version: so whoever may rename a key, again and again, keeps nobody from switching it off. A key that
    /// is off already may stay as it is.
    ///
    /// A store of one's own need not have this method. Without it the record is read and updated, a few times if it changes in between.
    ///
    /// Refuses with [`RegistryError::ActorChanged`]; with [`RegistryError::NotFound`]; with [`RegistryError::Revoked`].
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was changed.
    fn disable(
        &self,
        id: &KeyId,
        actor: Option<&ActorKey>,
    ) -> impl Future<Output = Answered<KeyRecord, Self::Error>> + Send {
        async move {
            for _ in 1..ATTEMPTS {
                let stored = self.get(id).await?;
                match self.update(switched_off(stored, id), actor).await? {
                    Err(RegistryError::VersionConflict(_)) => {}
                    done => return Ok(done),
                }
            }
            let stored = self.get(id).await?;
            self.update(switched_off(stored, id), actor).await
        }
    }

    /// Removes a record, and returns it: its key is then unknown.
    ///
    /// Refuses with [`RegistryError::ActorChanged`]; with [`RegistryError::NotFound`].
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was removed.
    fn remove(
        &self,
        id: &KeyId,
        actor: Option<&ActorKey>,
    ) -> impl Future<Output = Answered<KeyRecord, Self::Error>> + Send;

    /// Removes every key of this user in this organization (`None`: the keys without one), and returns them. Bot keys stay.
    /// The actor's own key may be among them.
    ///
    /// Refuses with [`RegistryError::ActorChanged`].
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was removed.
    fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> impl Future<Output = Answered<Vec<KeyRecord>, Self::Error>> + Send;

    /// Stores a key under the digest `to`, if it is stored under `from`: the same key, hashed otherwise. Returns its record as it is now.
    ///
    /// Refuses with [`RegistryError::NotFound`]; with whatever [`KeyRecord::apply_rehash`] says; with [`RegistryError::DuplicateDigest`] if `to` is another key's.
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was changed: the key works under `from` as before.
    fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
    ) -> impl Future<Output = Answered<KeyRecord, Self::Error>> + Send;

    /// Adds uses to the counts of keys, and moves their last use on, never back. An id that is not there is passed over. Neither
    /// a version nor anything else of a record is changed.
    ///
    /// # Errors
    ///
    /// The store failed, and nothing was recorded.
    fn record_usage(&self, uses: &[UsageDelta]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// How often a key is switched off that others change meanwhile.
const ATTEMPTS: u32 = 16;

/// A record that is not there is looked for again in the update, which checks the actor first.
fn switched_off(stored: Option<KeyRecord>, id: &KeyId) -> KeyRecord {
    stored.unwrap_or_else(|| KeyRecord::new(id.clone(), [0; 32])).with_status(Status::Disabled)
}

/// What a registry answers: a result, a refusal, or a fault of its own.
pub type Answered<T, E> = Result<Result<T, RegistryError>, E>;

/// What a replacement has changed, besides the new record.
///
/// ```
/// use tower_api_key::{KeyRecord, store::Replacement};
///
/// let old = KeyRecord::new("k1", [7; 32]).with_replaced_by("k2");
/// assert!(Replacement::new(old, None).ended.is_none());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replacement {
    /// The replaced record as it is now.
    pub old: KeyRecord,
    /// The record of the key whose grace has ended: the one that `old` itself has replaced, if it was not revoked yet.
    pub ended: Option<KeyRecord>,
}

/// How many keys an owner may have in an organization.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::{KeyRecord, store::KeyLimit};
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// let cap = KeyLimit { max: 1, at: now };
/// let record = KeyRecord::new("k1", [7; 32]);
/// assert!(cap.counts(&record));
/// assert!(!cap.counts(&record.with_expires_at(now)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimit {
    /// The most keys that may count.
    pub max: u32,
    /// The instant at which they are counted.
    pub at: SystemTime,
}

/// How often one key was used since the last time that was recorded.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::store::UsageDelta;
///
/// let once = UsageDelta { id: "k1".into(), count: 1, last_used_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) };
/// assert_eq!(once.count, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDelta {
    /// Which key.
    pub id: KeyId,
    /// How often.
    pub count: u64,
    /// When last.
    pub last_used_at: SystemTime,
}

impl<R: KeyRegistry> KeyRegistry for Arc<R> {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Answered<(), R::Error> {
        R::insert(self, record, cap, actor).await
    }

    async fn insert_first(&self, record: KeyRecord) -> Answered<(), R::Error> {
        R::insert_first(self, record).await
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, R::Error> {
        R::get(self, id).await
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, R::Error> {
        R::list(self, filter).await
    }

    async fn update(&self, changed: KeyRecord, actor: Option<&ActorKey>) -> Answered<KeyRecord, R::Error> {
        R::update(self, changed, actor).await
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Answered<Replacement, R::Error> {
        R::replace(self, old, new, actor).await
    }

    async fn revoke(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, R::Error> {
        R::revoke(self, id, actor).await
    }

    async fn disable(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, R::Error> {
        R::disable(self, id, actor).await
    }

    async fn remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, R::Error> {
        R::remove(self, id, actor).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Answered<Vec<KeyRecord>, R::Error> {
        R::remove_user(self, organization, user, actor).await
    }

    async fn rehash(&self, id: &KeyId, from: &KeyDigest, to: &KeyDigest) -> Answered<KeyRecord, R::Error> {
        R::rehash(self, id, from, to).await
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), R::Error> {
        R::record_usage(self, uses).await
    }
}

// === impl Replacement, KeyLimit ===

impl Replacement {
    /// A replacement of `old`, with the end of this grace.
    pub fn new(old: KeyRecord, ended: Option<KeyRecord>) -> Self {
        Self { old, ended }
    }
}

impl KeyLimit {
    /// Whether a key counts: a disabled one does, and a replaced one until its grace ends; a revoked and an expired one do not. If a replaced
    /// key did not count, who revokes its successor would have one more working key each time.
    pub fn counts(&self, record: &KeyRecord) -> bool {
        record.status() != Status::Revoked && record.expires_at().is_none_or(|end| self.at < end)
    }
}
