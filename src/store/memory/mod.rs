//! Keys in memory, changeable while they are served.

mod changes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    convert::Infallible,
    hash::{BuildHasherDefault, Hasher},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::broadcast;

pub use changes::MemoryChanges;

use super::{Answered, Cap, Change, Filter, KeyRegistry, KeyStore, Lookup, Refusal, Use};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Owner, Status},
};

/// Keys in memory. Clones share the keys; a change is seen by the next request.
///
/// A look-up takes no lock. Everything else takes turns, so each change sees what the one before has done, and none undoes a
/// revocation. Keys are added here, or issued and changed by a [`KeyManager`](crate::KeyManager).
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
pub struct MemoryStore(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// What requests read.
    by_digest: ByDigest,
    /// What changes go through, one at a time.
    books: Mutex<Books>,
    /// Whom changes are told, in their order, once somebody follows them.
    changes: OnceLock<broadcast::Sender<Change>>,
}

type ByDigest = papaya::HashMap<KeyDigest, KeyRecord, BuildHasherDefault<FirstBytes>>;

/// Every record by its id, and whose keys are which.
#[derive(Default)]
struct Books {
    by_id: BTreeMap<KeyId, KeyRecord>,
    by_user: HashMap<User, Keys>,
}

/// The keys of a user: those that a cap may count, and those that it never counts again.
#[derive(Default)]
struct Keys {
    open: BTreeSet<KeyId>,
    over: BTreeSet<KeyId>,
}

/// A user in an organization, or in none.
#[derive(Clone, PartialEq, Eq, Hash)]
struct User {
    organization: Option<Box<str>>,
    id: Box<str>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// A store without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record, at once and without a cap.
    ///
    /// # Errors
    ///
    /// [`Refusal::DuplicateId`], [`Refusal::DuplicateKey`].
    pub fn add(&self, record: KeyRecord) -> Result<(), Refusal> {
        self.insert_under(&mut self.books(), record, None)
    }

    /// What is changed from when they are connected, for a `CachedStore`.
    pub fn changes(&self) -> MemoryChanges {
        MemoryChanges::new(self.clone())
    }

    fn insert_under(&self, books: &mut Books, record: KeyRecord, cap: Option<Cap>) -> Result<(), Refusal> {
        self.check_insert(books, &record)?;
        if let Some(cap) = cap.filter(|cap| books.has_no_room(&record, *cap)) {
            return Err(Refusal::Full(cap.most));
        }
        self.put(books, record);
        Ok(())
    }

    fn check_insert(&self, books: &Books, record: &KeyRecord) -> Result<(), Refusal> {
        if books.by_id.contains_key(record.id()) {
            return Err(Refusal::DuplicateId(record.id().clone()));
        }
        if self.look_up(record.digest()).is_some() {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }

    fn put(&self, books: &mut Books, record: KeyRecord) {
        self.0.by_digest.pin().insert(*record.digest(), record.clone());
        self.tell(record.digest());
        if let Some(user) = User::of(&record) {
            let keys = books.by_user.entry(user).or_default();
            let is_over = record.status() == Status::Revoked || record.replaced_by().is_some();
            if is_over {
                keys.open.remove(record.id());
            }
            let keys = if is_over { &mut keys.over } else { &mut keys.open };
            keys.insert(record.id().clone());
        }
        books.by_id.insert(record.id().clone(), record);
    }

    /// Takes a digest away.
    fn strike(&self, digest: &KeyDigest) {
        self.0.by_digest.pin().remove(digest);
        self.tell(digest);
    }

    fn tell(&self, changed: &KeyDigest) {
        if let Some(changes) = self.0.changes.get() {
            // Fails where nobody follows any more.
            let _ = changes.send(Change::Key(*changed));
        }
    }

    fn look_up(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        self.0.by_digest.pin().get(digest).cloned()
    }

    /// Every change checks first and cannot fail afterwards, so a poisoned lock is as good as new.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn get(&self, id: &KeyId) -> Result<&KeyRecord, Refusal> {
        self.by_id.get(id).ok_or_else(|| Refusal::NotFound(id.clone()))
    }

    fn has_no_room(&self, record: &KeyRecord, cap: Cap) -> bool {
        let of_the_owner: Box<dyn Iterator<Item = &KeyRecord>> = match User::of(record) {
            Some(user) => {
                let open = self.by_user.get(&user).into_iter().flat_map(|keys| &keys.open);
                Box::new(open.filter_map(|id| self.by_id.get(id)))
            }
            None => Box::new(
                self.by_id
                    .values()
                    .filter(|other| other.owner() == record.owner() && other.organization() == record.organization()),
            ),
        };
        let counted = of_the_owner.filter(|other| cap.counts(other));
        counted.take(cap.most as usize).count() == cap.most as usize
    }
}

impl User {
    fn of(record: &KeyRecord) -> Option<Self> {
        let Some(Owner::User(id)) = record.owner() else {
            return None;
        };
        Some(Self { organization: record.organization().map(Into::into), id: id.as_str().into() })
    }
}

impl KeyStore for MemoryStore {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.look_up(digest))
    }

    fn find_now(&self, digest: &KeyDigest) -> Lookup {
        self.look_up(digest).into()
    }
}

impl KeyRegistry for MemoryStore {
    async fn insert(&self, record: KeyRecord, cap: Option<Cap>) -> Answered<(), Infallible> {
        Ok(self.insert_under(&mut self.books(), record, cap))
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.books().by_id.get(id).cloned())
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<KeyRecord>, Infallible> {
        let end = filter.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let books = self.books();
        let records = books.by_id.range::<KeyId, _>((Bound::Unbounded, end)).rev().map(|(_, record)| record);
        Ok(records.filter(|record| filter.admits(record)).take(filter.limit).cloned().collect())
    }

    async fn update(&self, changed: KeyRecord) -> Answered<KeyRecord, Infallible> {
        let mut books = self.books();
        let updated = books.get(changed.id()).and_then(|stored| stored.updated_to(changed.clone()));
        Ok(updated.inspect(|record| self.put(&mut books, record.clone())))
    }

    async fn replace(&self, old: KeyRecord, new: KeyRecord) -> Answered<KeyRecord, Infallible> {
        let mut books = self.books();
        let updated = books.get(old.id()).and_then(|stored| stored.updated_to(old.clone()));
        let checked = updated.and_then(|old| self.check_insert(&books, &new).map(|()| old));
        Ok(checked.inspect(|old| {
            self.put(&mut books, new);
            self.put(&mut books, old.clone());
        }))
    }

    async fn revoke(&self, id: &KeyId) -> Answered<KeyRecord, Infallible> {
        let mut books = self.books();
        let updated = books.get(id).and_then(|stored| stored.updated_to(stored.clone().with_status(Status::Revoked)));
        Ok(updated.inspect(|revoked| self.put(&mut books, revoked.clone())))
    }

    async fn remove(&self, id: &KeyId) -> Answered<KeyRecord, Infallible> {
        let mut books = self.books();
        let Some(removed) = books.by_id.remove(id) else {
            return Ok(Err(Refusal::NotFound(id.clone())));
        };
        self.strike(removed.digest());
        if let Some(user) = User::of(&removed)
            && let Entry::Occupied(mut keys) = books.by_user.entry(user)
        {
            keys.get_mut().open.remove(id);
            keys.get_mut().over.remove(id);
            if keys.get().open.is_empty() && keys.get().over.is_empty() {
                keys.remove();
            }
        }
        Ok(Ok(removed))
    }

    async fn remove_user(&self, organization: Option<&str>, user: &str) -> Result<Vec<KeyRecord>, Infallible> {
        let mut books = self.books();
        let user = User { organization: organization.map(Into::into), id: user.into() };
        let keys = books.by_user.remove(&user).unwrap_or_default();
        let ids = keys.open.iter().chain(&keys.over);
        let removed: Vec<_> = ids.filter_map(|id| books.by_id.remove(id)).collect();
        for record in &removed {
            self.strike(record.digest());
        }
        Ok(removed)
    }

    async fn rehash(&self, id: &KeyId, from: &KeyDigest, to: &KeyDigest) -> Answered<KeyRecord, Infallible> {
        let mut books = self.books();
        let rehashed = books.get(id).and_then(|stored| stored.rehashed(from, *to));
        let checked = rehashed
            .and_then(|record| if self.look_up(to).is_some() { Err(Refusal::DuplicateKey) } else { Ok(record) });
        Ok(checked.inspect(|record| {
            // Under both for a moment, so that no request misses it.
            self.put(&mut books, record.clone());
            self.strike(from);
        }))
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), Infallible> {
        let mut books = self.books();
        for one in uses {
            if let Some(record) = books.by_id.get_mut(&one.id) {
                let count = record.use_count().saturating_add(one.count);
                let last = record.last_used_at().max(Some(one.last_at));
                *record = record.clone().with_use(count, last);
                self.0.by_digest.pin().insert(*record.digest(), record.clone());
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("keys", &self.0.by_digest.len()).finish()
    }
}

/// Takes the eight bytes that a digest hands over for its hash.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
