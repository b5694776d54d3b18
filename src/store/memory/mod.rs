//! Keys in memory, changeable while they are served.

mod change_feed;
mod index;
mod order;
mod permission_interner;
mod table;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use tokio::sync::broadcast;

pub use change_feed::MemoryChangeFeed;

use super::{
    ActorKey, Answered, Invalidation, KeyFilter, KeyLimit, KeyRegistry, KeyStore, Lookup, RegistryError, Replacement,
    UsageDelta,
};
use crate::{
    key::KeyDigest,
    record::{Fields, KeyId, KeyRecord, Status},
};
use index::{Index, User};
use table::DigestTable;

/// Keys in memory. Clones share the keys; a change is seen by the next request.
///
/// A look-up of a key that this thread knows takes no lock. That of another reads one of 256 parts, which a change of a key in the same part
/// holds for some nanoseconds. Changes take turns, so each sees what the one before has done, and none undoes a revocation. Keys are added
/// here, or issued and changed by a [`KeyManager`](crate::KeyManager).
///
/// A list reads the keys of its organization, or of its owner there, revoked ones apart, and looks at 256 at most before it lets changes and other tasks
/// go on. So no change waits for a list of millions; a page that takes several turns is no snapshot, as pages are none of each other. A list by
/// environment looks at the keys of all environments. The removal of a user takes one turn for all keys of that user.
///
/// Equal sets of permissions are kept once. Each thread that looks keys up keeps handles of 256 records at most, which may outlive a
/// change or a removal in memory; they are not handed out any more.
///
/// A digest is found by a hash of its first eight bytes, with a seed of the store's own. So keys whose SHA-256 was ground to begin alike do
/// not meet, unless all eight bytes are the same, and they would have to be stored first: unknown keys never are.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyHasher, KeyRecord, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// let key = KeyFormat::new("acme")?.generate()?;
/// keys.add(KeyRecord::for_key("k1", &key, &KeyHasher::sha256()).grant("stats", "read"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<MemoryState>);

#[derive(Default)]
struct MemoryState {
    /// What requests read.
    by_digest: DigestTable,
    /// What changes go through, one at a time.
    books: RwLock<Index>,
    /// Whoever waits for the books holds it. So who comes later and only reads waits behind a change that waits, and not the other way round: the lock
    /// of the books alone lets a reader that comes at the right moment go first, again and again.
    gate: Mutex<()>,
    /// Whom changes are told, in their order, once somebody follows them.
    changes: OnceLock<broadcast::Sender<Invalidation>>,
}

/// One change. What is not kept any more goes when others may have their turn: its values may ask for it.
struct IndexGuard<'s> {
    books: RwLockWriteGuard<'s, Index>,
    gone: Vec<Arc<Fields>>,
}

/// The most uses that are recorded in one turn.
const USES_AT_ONCE: usize = 32;

// === impl MemoryStore, Turn ===

impl MemoryStore {
    /// A store without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record, at once and without a cap.
    ///
    /// # Errors
    ///
    /// [`RegistryError::DuplicateId`], [`RegistryError::DuplicateDigest`].
    pub fn add(&self, record: KeyRecord) -> Result<(), RegistryError> {
        self.insert_under(record, None, None)
    }

    /// What is changed from when they are connected, for a `CachedStore`.
    pub fn change_feed(&self) -> MemoryChangeFeed {
        MemoryChangeFeed::new(self.clone())
    }

    fn insert_under(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Result<(), RegistryError> {
        let mut turn = self.turn();
        turn.books.check_actor(actor)?;
        self.check_insert(&turn.books, &record)?;
        if let Some(cap) = cap.filter(|cap| turn.books.is_at_limit(&record, *cap)) {
            return Err(RegistryError::LimitReached(cap.max));
        }
        self.put(&mut turn, record);
        Ok(())
    }

    fn check_insert(&self, books: &Index, record: &KeyRecord) -> Result<(), RegistryError> {
        if books.find(record.id()).is_some() {
            return Err(RegistryError::DuplicateId(record.id().clone()));
        }
        if self.0.by_digest.has(&books.pen, record.digest()) {
            return Err(RegistryError::DuplicateDigest);
        }
        Ok(())
    }

    fn put(&self, turn: &mut IndexGuard<'_>, record: KeyRecord) -> KeyRecord {
        let (fields, old) = turn.books.upsert(record);
        turn.gone.extend(old);
        turn.gone.extend(self.0.by_digest.put(&mut turn.books.pen, &fields));
        self.tell(&fields.digest);
        fields.into()
    }

    /// Takes a digest away.
    fn strike(&self, turn: &mut IndexGuard<'_>, digest: &KeyDigest) {
        turn.gone.extend(self.0.by_digest.remove(&mut turn.books.pen, digest));
        self.tell(digest);
    }

    fn tell(&self, changed: &KeyDigest) {
        if let Some(changes) = self.0.changes.get() {
            // Fails where nobody follows any more.
            let _ = changes.send(Invalidation::Digest(*changed));
        }
    }

    #[inline]
    fn look_up(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        self.0.by_digest.find(digest)
    }

    /// Every change checks first and cannot fail afterwards, so a poisoned lock is as good as new.
    fn turn(&self) -> IndexGuard<'_> {
        let _gate = self.0.gate.lock();
        IndexGuard { books: self.0.books.write().unwrap_or_else(PoisonError::into_inner), gone: Vec::new() }
    }

    /// What is copied out of the books stays in them for as long, so nothing goes in here.
    fn look(&self) -> RwLockReadGuard<'_, Index> {
        let _gate = self.0.gate.lock();
        self.0.books.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IndexGuard<'_> {
    /// What is refused goes later too. A caller's own record goes with the caller's arguments, behind the turn.
    fn refuse(&mut self, record: KeyRecord, refusal: RegistryError) -> RegistryError {
        self.gone.push(record.into_fields());
        refusal
    }
}

impl KeyStore for MemoryStore {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.look_up(digest))
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        self.look_up(digest).into()
    }
}

impl MemoryStore {
    /// Takes a key that is not revoked to this status, whatever its version.
    fn switch(&self, id: &KeyId, status: Status, actor: Option<&ActorKey>) -> Result<KeyRecord, RegistryError> {
        let mut turn = self.turn();
        let updated = turn.books.get_for(actor, id).and_then(|stored| stored.apply_update(stored.clone()));
        updated.map(|record| self.put(&mut turn, record.with_status(status)))
    }
}

impl KeyRegistry for MemoryStore {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Answered<(), Infallible> {
        Ok(self.insert_under(record, cap, actor))
    }

    async fn insert_first(&self, record: KeyRecord) -> Answered<(), Infallible> {
        let mut turn = self.turn();
        if turn.books.len() > 0 {
            return Ok(Err(RegistryError::NotEmpty));
        }
        self.put(&mut turn, record);
        Ok(Ok(()))
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.look().find(id))
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        let mut page = Vec::new();
        let mut after = filter.after.clone();
        loop {
            after = self.look().read_on(filter, after.as_ref(), &mut page);
            if after.is_none() {
                return Ok(page);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn update(&self, changed: KeyRecord, actor: Option<&ActorKey>) -> Answered<KeyRecord, Infallible> {
        let mut turn = self.turn();
        let stored = turn.books.get_for(actor, changed.id());
        let updated = stored.and_then(|stored| stored.apply_update(changed.clone()));
        Ok(updated.map(|record| self.put(&mut turn, record)))
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Answered<Replacement, Infallible> {
        let mut turn = self.turn();
        let updated = turn.books.get_for(actor, old.id()).and_then(|stored| stored.apply_update(old.clone()));
        let checked = updated.and_then(|old| match self.check_insert(&turn.books, &new) {
            Ok(()) => Ok(old),
            Err(refusal) => Err(turn.refuse(old, refusal)),
        });
        Ok(checked.map(|old| {
            let earlier = old.replaces().and_then(|id| turn.books.find(id));
            let ended = earlier.and_then(|earlier| earlier.end_of_grace(&old));
            self.put(&mut turn, new.clone());
            let ended = ended.map(|ended| self.put(&mut turn, ended));
            Replacement::new(self.put(&mut turn, old), ended)
        }))
    }

    async fn revoke(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, Infallible> {
        Ok(self.switch(id, Status::Revoked, actor))
    }

    async fn disable(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, Infallible> {
        Ok(self.switch(id, Status::Disabled, actor))
    }

    async fn remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, Infallible> {
        let mut turn = self.turn();
        if let Err(refusal) = turn.books.check_actor(actor) {
            return Ok(Err(refusal));
        }
        let Some(removed) = turn.books.remove(id) else {
            return Ok(Err(RegistryError::NotFound(id.clone())));
        };
        self.strike(&mut turn, removed.digest());
        Ok(Ok(removed))
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Answered<Vec<KeyRecord>, Infallible> {
        let mut turn = self.turn();
        if let Err(refusal) = turn.books.check_actor(actor) {
            return Ok(Err(refusal));
        }
        let removed = turn.books.remove_user(&User { organization, id: user });
        for record in &removed {
            self.strike(&mut turn, record.digest());
        }
        Ok(Ok(removed))
    }

    async fn rehash(&self, id: &KeyId, from: &KeyDigest, to: &KeyDigest) -> Answered<KeyRecord, Infallible> {
        let mut turn = self.turn();
        let rehashed = turn.books.get(id).and_then(|stored| stored.apply_rehash(from, *to));
        let checked = rehashed.and_then(|record| {
            let is_taken = self.0.by_digest.has(&turn.books.pen, to);
            if is_taken { Err(turn.refuse(record, RegistryError::DuplicateDigest)) } else { Ok(record) }
        });
        Ok(checked.map(|record| {
            // Under both for a moment, so that no request misses it.
            let record = self.put(&mut turn, record);
            self.strike(&mut turn, from);
            record
        }))
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), Infallible> {
        // Nothing is awaited between the turns, so all are recorded.
        for some in uses.chunks(USES_AT_ONCE) {
            let mut turn = self.turn();
            for one in some {
                if let Some(record) = turn.books.find(&one.id) {
                    let count = record.use_count().saturating_add(one.count);
                    let last = record.last_used_at().max(Some(one.last_used_at));
                    let (fields, old) = turn.books.upsert(record.with_usage(count, last));
                    turn.gone.extend(old);
                    turn.gone.extend(self.0.by_digest.put(&mut turn.books.pen, &fields));
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("keys", &self.look().len()).finish()
    }
}
