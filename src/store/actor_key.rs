//! The key of the actor that makes a change, checked in the transaction of the change.

use std::time::SystemTime;

use super::RegistryError;
use crate::{
    clock::Clock,
    record::{KeyId, KeyRecord},
};

/// The key of the actor that makes a change, as it was when the manager checked it.
///
/// Between that check and the change, the key can be revoked, disabled, edited, replaced or
/// removed, or it can expire. So every change of a [`KeyRegistry`](crate::KeyRegistry) takes this
/// key, reads and locks its record in the transaction of the change, and calls [`ActorKey::check`].
///
/// ```
/// use tower_api_key::{KeyRecord, KeyRegistry, Status, store::{ActorKey, MemoryStore, RegistryError}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// let admin = KeyRecord::new("admin", [1; 32]);
/// keys.add(admin.clone())?;
/// let actor = ActorKey::of(&admin).into();
/// keys.insert(KeyRecord::new("k1", [2; 32]), None, Some(&actor)).await??;
///
/// keys.revoke(&"admin".into(), None).await??;
/// let late = keys.insert(KeyRecord::new("k2", [3; 32]), None, Some(&actor)).await?;
/// assert_eq!(late, Err(RegistryError::ActorChanged("admin".into())));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ActorKey {
    id: KeyId,
    version: u64,
    /// `Some` to accept another version that gives the same access as this record.
    read: Option<KeyRecord>,
    clock: Clock,
    /// When the key stops working, if a policy ends it before its own expiry.
    end: Option<SystemTime>,
}

// === impl ActorKey ===

impl ActorKey {
    /// Returns the key with this id and version. Its expiry is checked by the system clock.
    pub fn new(id: impl Into<KeyId>, version: u64) -> Self {
        Self { id: id.into(), version, read: None, clock: Clock::system(), end: None }
    }

    /// Returns the key of this record, in the version of the record.
    pub fn of(record: &KeyRecord) -> Self {
        Self::new(record.id().clone(), record.version())
    }

    /// Returns the key of this record. Unlike [`ActorKey::of`], it also accepts another version of
    /// the record that gives the same access, for example with a new name or digest. So an actor
    /// that renames an administrator's key again and again cannot block the administrator's
    /// changes.
    pub(crate) fn as_read(record: &KeyRecord) -> Self {
        Self { read: Some(record.clone()), ..Self::of(record) }
    }

    /// Sets the clock that checks the expiry.
    #[must_use]
    pub fn with_clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.timed_by(Clock::new(now))
    }

    pub(crate) fn timed_by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Sets when the key stops working, in addition to its expiry.
    pub(crate) fn until(self, end: Option<SystemTime>) -> Self {
        Self { end, ..self }
    }

    /// Returns the id of the key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Returns the version that the manager checked.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Checks that the key still works. `stored` is the record with the id of this key. Read it in
    /// the transaction of the change, after all locks are taken.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, Status, store::{ActorKey, RegistryError}};
    ///
    /// let record = KeyRecord::new("k1", [7; 32]);
    /// let actor = ActorKey::of(&record);
    /// assert_eq!(actor.check(Some(&record)), Ok(()));
    /// let changed = Err(RegistryError::ActorChanged("k1".into()));
    /// assert_eq!(actor.check(None), changed);
    /// assert_eq!(actor.check(Some(&record.clone().with_version(1))), changed);
    /// assert_eq!(actor.check(Some(&record.with_status(Status::Revoked))), changed);
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegistryError::ActorChanged`] if there is no record, if it has another version, or if the
    /// key does not work now: it is revoked, disabled, expired or not yet valid.
    pub fn check(&self, stored: Option<&KeyRecord>) -> Result<(), RegistryError> {
        let works = |record: &KeyRecord| {
            let is_as_checked = record.version() == self.version
                || self.read.as_ref().is_some_and(|read| has_same_access(read, record));
            let is_over = self.end.is_some_and(|end| self.clock.now() >= end);
            *record.id() == self.id && is_as_checked && !is_over && record.obstacle_at(&self.clock).is_none()
        };
        if stored.is_some_and(works) { Ok(()) } else { Err(RegistryError::ActorChanged(self.id.clone())) }
    }
}

/// Returns whether two versions of a record give the same access, and the same limits and addresses
/// to a key that they issue.
fn has_same_access(one: &KeyRecord, other: &KeyRecord) -> bool {
    one.status() == other.status()
        && one.permissions() == other.permissions()
        && one.owner() == other.owner()
        && one.organization() == other.organization()
        && one.environment() == other.environment()
        && one.not_before() == other.not_before()
        && one.expires_at() == other.expires_at()
        && one.replaced_by() == other.replaced_by()
        && one.role_names() == other.role_names()
        && one.allowed_addresses() == other.allowed_addresses()
        && one.plan() == other.plan()
        && one.limits().eq(other.limits())
        && one.meter() == other.meter()
}
