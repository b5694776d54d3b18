//! On whose behalf a change is made: checked in the transaction that makes it.

use std::time::SystemTime;

use super::RegistryError;
use crate::{
    clock::Clock,
    record::{KeyId, KeyRecord},
};

/// The key of the actor on whose behalf a change is made, as it was when the manager checked it.
///
/// Between that check and the change, the key may be revoked, disabled, edited, replaced, removed, or expire. So every change of a
/// [`KeyRegistry`](crate::KeyRegistry) takes this key, reads its record in the transaction that changes, and calls
/// [`ActorKey::check`]. The record must not change until the transaction ends: a row lock, or one writer at a time. Changes on behalf of one
/// key must not share that lock (`for share`): as long as some of them are always in flight, a revocation would never get it.
///
/// ```
/// use tower_api_key::{KeyRecord, KeyRegistry, Status, store::{ActorKey, MemoryStore, RegistryError}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// let admin = KeyRecord::new("admin", [1; 32]);
/// keys.add(admin.clone())?;
/// let actor = ActorKey::of(&admin);
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
    /// The record that was checked. What it may do decides, if its version has changed.
    read: Option<KeyRecord>,
    clock: Clock,
}

// === impl ActorKey ===

impl ActorKey {
    /// The key with this id, in this version. Its expiry is checked against the system's clock.
    pub fn new(id: impl Into<KeyId>, version: u64) -> Self {
        Self { id: id.into(), version, read: None, clock: Clock::system() }
    }

    /// The key of this record, in the record's version.
    pub fn of(record: &KeyRecord) -> Self {
        Self::new(record.id().clone(), record.version())
    }

    /// The same, but a change that takes nothing from the key and gives it nothing is no obstacle: a rename, or another digest. Otherwise
    /// whoever may rename the key of an administrator could keep the administrator from every change.
    pub(crate) fn as_read(record: &KeyRecord) -> Self {
        Self { read: Some(record.clone()), ..Self::of(record) }
    }

    /// Sets the clock that the expiry is checked against.
    #[must_use]
    pub fn with_clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.timed_by(Clock::new(now))
    }

    pub(crate) fn timed_by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The id of the key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The version that the manager checked.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the actor may still act. `stored` is the record with this id, read in the transaction that changes, when every lock is held.
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
    /// [`RegistryError::ActorChanged`] if there is no record, if it has another version, or if the key does not work now: it is revoked, disabled,
    /// expired or not yet valid.
    pub fn check(&self, stored: Option<&KeyRecord>) -> Result<(), RegistryError> {
        let works = |record: &KeyRecord| {
            let is_as_checked =
                record.version() == self.version || self.read.as_ref().is_some_and(|read| may_the_same(read, record));
            *record.id() == self.id && is_as_checked && record.obstacle_at(&self.clock).is_none()
        };
        if stored.is_some_and(works) { Ok(()) } else { Err(RegistryError::ActorChanged(self.id.clone())) }
    }
}

/// Whether what a key may do is the same in two versions of its record.
fn may_the_same(one: &KeyRecord, other: &KeyRecord) -> bool {
    one.status() == other.status()
        && one.permissions() == other.permissions()
        && one.owner() == other.owner()
        && one.organization() == other.organization()
        && one.environment() == other.environment()
        && one.not_before() == other.not_before()
        && one.expires_at() == other.expires_at()
        && one.replaced_by() == other.replaced_by()
}
