//! The write side of a store: atomic changes.

use std::{ops::RangeInclusive, time::SystemTime};

use super::{
    ChangeContext, DayUsage, ExpiryClaim, IdempotencyRecord, KeyBatch, KeyFilter, KeyLimit, KeyPage, KeyStore,
    RegistryError, Replacement, UsageDelta, UtcDay, registry_defaults,
};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    key::KeyDigest,
    record::{KeyId, KeyRecord},
};

#[doc = include_str!("registry.md")]
pub trait KeyRegistry: KeyStore {
    /// Adds a record. With a limit, it adds the record only if the owner has fewer keys than the
    /// limit.
    ///
    /// Refuses with [`RegistryError::ActorChanged`], [`RegistryError::DuplicateId`],
    /// [`RegistryError::DuplicateDigest`], [`RegistryError::LimitReached`], in this order. Before
    /// the limit, a repeated idempotency key with [`IdempotencyRecord::answer`].
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn insert(
        &self,
        record: KeyRecord,
        limit: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<(), RegistryError>, Self::Error>> + Send;

    /// Adds a record if the store is empty. A record of any owner and status makes it non-empty. If
    /// several callers, also of several processes, race, one succeeds.
    ///
    /// Refuses with [`RegistryError::NotEmpty`].
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn insert_first(
        &self,
        record: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<(), RegistryError>, Self::Error>> + Send;

    /// Returns the record with this id.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn get(&self, id: &KeyId) -> impl Future<Output = Result<Option<KeyRecord>, Self::Error>> + Send;

    /// Returns the records that match `filter`: in descending order of their ids, after
    /// `filter.after`, at most `filter.limit`.
    ///
    /// Ids are compared by their bytes. See [`KeyPage`] for the fields that a store needs to know.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn list(&self, filter: &KeyFilter) -> impl Future<Output = Result<Vec<KeyRecord>, Self::Error>> + Send;

    /// Returns one page of the records that match `filter`, in its order. [`KeyPage`] has more.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn search(&self, filter: &KeyFilter) -> impl Future<Output = Result<KeyPage, Self::Error>> + Send {
        registry_defaults::search(self, filter)
    }

    /// Stores `changed` if the stored record has the same version, and returns it with the next
    /// version. An update does not change the stored use count.
    ///
    /// Refuses with [`RegistryError::ActorChanged`]; [`RegistryError::NotFound`]; the errors of
    /// [`KeyRecord::apply_update`].
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn update(
        &self,
        changed: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<KeyRecord, RegistryError>, Self::Error>> + Send;

    /// Updates `old` and inserts its replacement `new`, in one transaction and without a limit.
    ///
    /// The same transaction revokes the key that `old` itself has replaced, unless that key is
    /// already revoked or removed: see [`KeyRecord::end_of_grace`]. So in a chain of replaced keys,
    /// only the newest key and its predecessor work.
    ///
    /// Refuses as [`KeyRegistry::update`] does, then as [`KeyRegistry::insert`] without a limit.
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<Replacement, RegistryError>, Self::Error>> + Send;

    /// Permanently revokes a key, ignoring its version. The record is kept, so later use is
    /// reported as revoked, not unknown.
    ///
    /// Refuses with [`RegistryError::ActorChanged`]; [`RegistryError::NotFound`];
    /// [`RegistryError::Revoked`] if the key is revoked already.
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn revoke(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<KeyRecord, RegistryError>, Self::Error>> + Send;

    /// Disables a key, ignoring its version: an actor that keeps renaming a key cannot prevent it.
    /// A registry need not write a key that is already disabled.
    ///
    /// The default implementation reads and updates the record. It tries again, up to 16 times in
    /// total, if the record changes in between.
    ///
    /// Refuses with [`RegistryError::ActorChanged`]; [`RegistryError::NotFound`];
    /// [`RegistryError::Revoked`].
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn disable(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<KeyRecord, RegistryError>, Self::Error>> + Send {
        registry_defaults::disable(self, id, context)
    }

    /// Removes a record and returns it. A request with its key is then rejected as unknown.
    ///
    /// Refuses with [`RegistryError::ActorChanged`]; [`RegistryError::NotFound`].
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn remove(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<KeyRecord, RegistryError>, Self::Error>> + Send;

    /// Removes every key of a user in an organization (`None`: the keys without one), and returns
    /// them. Keys of service accounts stay. The actor's own key may be among them.
    ///
    /// Refuses with [`RegistryError::ActorChanged`].
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<Vec<KeyRecord>, RegistryError>, Self::Error>> + Send;

    /// Revokes, disables or removes those keys of `batch` to which it still
    /// [applies](KeyBatch::applies_to), and returns them. Ids without a record are skipped.
    ///
    /// A [`TransactionalStore`](super::TransactionalStore) changes them in one transaction. The
    /// default implementation changes one key after the other, the key of the actor last: if the
    /// store fails midway, the keys before that are changed.
    ///
    /// Refuses with [`RegistryError::ActorChanged`].
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn change_batch(
        &self,
        batch: &KeyBatch,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<Vec<KeyRecord>, RegistryError>, Self::Error>> + Send {
        registry_defaults::change_batch(self, batch, context)
    }

    /// Changes the digest of a key from `from` to `to`, another hash of the same key. Returns the
    /// changed record. `context` has the time of the change.
    ///
    /// Refuses with [`RegistryError::NotFound`]; the errors of [`KeyRecord::apply_rehash`];
    /// [`RegistryError::DuplicateDigest`] if another key has the digest `to`.
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
        context: Option<&ChangeContext>,
    ) -> impl Future<Output = Result<Result<KeyRecord, RegistryError>, Self::Error>> + Send;

    /// Returns the record of an idempotency key, expired or not. By default it refuses with
    /// [`RegistryError::IdempotencyUnsupported`]: a registry must not ignore idempotency keys.
    /// [`RegistryTransaction::claim`](super::RegistryTransaction::claim) says how to keep them.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn find_idempotency(
        &self,
        _id: &[u8; 32],
    ) -> impl Future<Output = Result<Result<Option<IdempotencyRecord>, RegistryError>, Self::Error>> + Send {
        async { Ok(Err(RegistryError::IdempotencyUnsupported)) }
    }

    /// Adds to the use counts of keys, and advances the times of their last use. Ids without a
    /// record are skipped. No other field of a record changes, and neither does its version.
    ///
    /// A registry that keeps usage by day adds to the days of each key in the same transaction.
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](KeyRegistry#failures).
    fn record_usage(&self, usage: &[UsageDelta]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Returns the recorded usage of a key on these days: the days with requests, in ascending
    /// order, each once. An unknown id and a removed key have none. Returns `None` if the registry
    /// does not keep usage by day, as the default implementation does.
    /// Fails if the store does.
    fn usage(
        &self,
        _id: &KeyId,
        _days: RangeInclusive<UtcDay>,
    ) -> impl Future<Output = Result<Option<Vec<DayUsage>>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Removes usage of days before this one, and returns how many days of keys it removed. It may
    /// stop after some of them, to hold its locks briefly: call it until it returns 0.
    /// Fails if the store does.
    fn prune_usage(&self, _before: UtcDay) -> impl Future<Output = Result<u64, Self::Error>> + Send {
        async { Ok(0) }
    }

    /// Returns at most `_limit` events after a cursor, in order; `None` if the registry keeps no
    /// events. See [`EventCursor`]. Fails if the store does.
    fn events_since(
        &self,
        _cursor: EventCursor,
        _limit: usize,
    ) -> impl Future<Output = Result<Option<Vec<KeyEvent>>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Returns the cursor after all committed events; `None` if the registry keeps no events.
    fn newest_event(&self) -> impl Future<Output = Result<Option<EventCursor>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Returns the events that match a filter, newest first; `None` if the registry keeps no
    /// events. Fails if the store does.
    fn events(&self, _filter: &EventFilter) -> impl Future<Output = Result<Option<Vec<KeyEvent>>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Deletes at most `_max` events from before an instant, and returns their number.
    /// Fails if the store does.
    fn prune_events(&self, _: SystemTime, _max: usize) -> impl Future<Output = Result<usize, Self::Error>> + Send {
        async { Ok(0) }
    }

    /// Writes at most `_max` events of keys that have expired by now and have none, and returns
    /// their number. Fails if the store does.
    fn record_expiries(&self, _: SystemTime, _max: usize) -> impl Future<Output = Result<usize, Self::Error>> + Send {
        async { Ok(0) }
    }

    /// Marks the next expiries of the claim as announced, and returns their records in the order of
    /// the expiries: each expiry once, even if several processes race. A mark does not change the
    /// record. Returns `None` if the registry keeps no marks. Fails if the store does.
    fn claim_expiring(
        &self,
        _claim: &ExpiryClaim,
    ) -> impl Future<Output = Result<Option<Vec<KeyRecord>>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Removes the marks that [`claim_expiring`](Self::claim_expiring) has set for the expiries of
    /// these records, so that it returns them once more. Ignores a record that has another expiry
    /// now. Fails if the store does.
    fn release_expiring(&self, _records: &[KeyRecord]) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }
}
