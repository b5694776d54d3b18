//! A transaction in memory: it collects writes, and applies them when it is committed.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use super::{MemoryState, index::Index, write_lock::WriteGuard};
use crate::{
    event::{KeyEvent, KeyEventKind},
    key::KeyDigest,
    record::{Author, Fields, KeyId, KeyRecord},
    store::{CountedKeys, IdempotencyRecord, OwnerScope, RegistryError, RegistryTransaction, UsageDelta},
};

/// A transaction of a [`MemoryStore`](super::MemoryStore). Other changes block until it ends.
///
/// See [`RegistryTransaction`](crate::store::RegistryTransaction) for an example.
pub struct MemoryTransaction<'s> {
    // Fields are dropped in this order: records must be dropped after unlocking, since their
    // extensions may run user code that enters the store.
    _lock: WriteGuard<'s>,
    state: &'s MemoryState,
    writes: Vec<Write>,
}

enum Write {
    Put(KeyRecord),
    Delete(KeyId),
    /// A record with a new digest, and its old digest.
    Rehash(KeyRecord, KeyDigest),
    Use(UsageDelta),
    /// An idempotency key, and the time of its request.
    Claim(IdempotencyRecord, SystemTime),
    Event(KeyEvent),
    /// The expiry of a key is announced.
    Announced(SystemTime, KeyId),
    /// Nothing: the record was rejected, and is dropped after unlocking.
    Rejected(KeyRecord),
}

// === impl MemoryTransaction ===

impl<'s> MemoryTransaction<'s> {
    pub(super) fn begin(state: &'s MemoryState) -> Self {
        Self { _lock: state.writer.acquire(), state, writes: Vec::new() }
    }

    pub(super) fn insert_record(&mut self, record: KeyRecord) -> Result<(), RegistryError> {
        let index = self.state.read_as_writer();
        let refusal = if index.find(record.id()).is_some() {
            Some(RegistryError::DuplicateId(record.id().clone()))
        } else if self.state.by_digest.has(&index.token, record.digest()) {
            Some(RegistryError::DuplicateDigest)
        } else {
            None
        };
        drop(index);
        if let Some(refusal) = refusal {
            self.writes.push(Write::Rejected(record));
            return Err(refusal);
        }
        self.writes.push(Write::Put(record));
        Ok(())
    }

    pub(super) fn add_usage(&mut self, delta: &UsageDelta) {
        self.writes.push(Write::Use(delta.clone()));
    }

    /// Writes the events of keys that have expired, and returns their number.
    pub(super) fn announce_expiries(mut self, now: SystemTime, limit: usize) -> usize {
        let index = self.state.read_as_writer();
        let due: Vec<_> = index.due(now).take(limit).cloned().collect();
        for (end, id) in &due {
            let Some(record) = index.find(id) else { continue };
            let event = KeyEvent::new(KeyEventKind::Expired, id.clone(), record.version(), Author::System, now)
                .with_organization(record.organization().map(str::to_owned))
                .with_environment(record.environment().map(str::to_owned));
            self.writes.extend([Write::Event(event), Write::Announced(*end, id.clone())]);
        }
        drop(index);
        self.apply();
        due.len()
    }

    /// Applies the collected writes. This cannot fail, since each operation has checked its write.
    pub(super) fn apply(mut self) {
        let writes = std::mem::take(&mut self.writes);
        let mut index = self.state.write();
        let mut replaced = Vec::new();
        for write in writes {
            self.state.apply(&mut index, write, &mut replaced);
        }
        drop(index);
        drop(self);
        drop(replaced);
    }
}

impl MemoryState {
    /// Applies one write. Adds the records that are no longer stored to `replaced`.
    fn apply(&self, index: &mut Index, write: Write, replaced: &mut Vec<Arc<Fields>>) {
        match write {
            Write::Put(record) => {
                let digest = *record.digest();
                self.upsert(index, record, replaced);
                self.notify(&digest);
            }
            Write::Delete(id) => {
                index.usage.remove(&id);
                if let Some(removed) = index.remove(&id) {
                    self.remove_digest(index, removed.digest(), replaced);
                    replaced.push(removed.into_fields());
                }
            }
            Write::Rehash(record, old) => {
                let digest = *record.digest();
                // The record is stored under both digests for a moment, so that every request finds
                // it.
                self.upsert(index, record, replaced);
                self.notify(&digest);
                self.remove_digest(index, &old, replaced);
            }
            Write::Use(delta) => {
                if let Some(record) = index.find(&delta.id) {
                    index.usage.add(&delta);
                    if delta.uses() > 0 {
                        self.upsert(index, delta.add_to(record), replaced);
                    }
                }
            }
            Write::Claim(record, now) => self.requests().put(&record, now),
            Write::Event(event) => self.events.push(event),
            Write::Announced(end, id) => index.announced(end, id),
            Write::Rejected(record) => replaced.push(record.into_fields()),
        }
    }

    fn upsert(&self, index: &mut Index, record: KeyRecord, replaced: &mut Vec<Arc<Fields>>) {
        let (fields, old) = index.upsert(record);
        replaced.extend(old);
        replaced.extend(self.by_digest.put(&mut index.token, &fields));
    }

    fn remove_digest(&self, index: &mut Index, digest: &KeyDigest, replaced: &mut Vec<Arc<Fields>>) {
        replaced.extend(self.by_digest.remove(&mut index.token, digest));
        self.notify(digest);
    }
}

impl RegistryTransaction for MemoryTransaction<'_> {
    type Error = Infallible;

    async fn lock(&mut self, ids: &[&KeyId], owner: Option<OwnerScope<'_>>) -> Result<Vec<KeyRecord>, Infallible> {
        let index = self.state.read_as_writer();
        let mut locked: Vec<KeyRecord> = ids.iter().filter_map(|id| index.find(id)).collect();
        locked.extend(owner.into_iter().flat_map(|owner| index.of_owner(owner)));
        Ok(locked)
    }

    async fn insert(&mut self, record: &KeyRecord) -> Result<Result<(), RegistryError>, Infallible> {
        Ok(self.insert_record(record.clone()))
    }

    async fn put(&mut self, record: &KeyRecord) -> Result<(), Infallible> {
        self.writes.push(Write::Put(record.clone()));
        Ok(())
    }

    async fn delete(&mut self, ids: &[&KeyId]) -> Result<(), Infallible> {
        self.writes.extend(ids.iter().map(|id| Write::Delete((*id).clone())));
        Ok(())
    }

    async fn count(&mut self, keys: CountedKeys<'_>, max: u32) -> Result<u32, Infallible> {
        let most = max as usize;
        let index = self.state.read_as_writer();
        let count = match keys {
            CountedKeys::All => index.len().min(most),
            CountedKeys::OfOwner(owner, at) => index.count(owner, at, most),
        };
        Ok(u32::try_from(count).unwrap_or(max))
    }

    async fn set_digest(&mut self, record: &KeyRecord) -> Result<Result<(), RegistryError>, Infallible> {
        let index = self.state.read_as_writer();
        let is_taken = self.state.by_digest.has(&index.token, record.digest());
        let stored = index.find(record.id());
        drop(index);
        Ok(match stored {
            Some(stored) if !is_taken => {
                self.writes.push(Write::Rehash(record.clone(), *stored.digest()));
                Ok(())
            }
            _ => {
                self.writes.push(Write::Rejected(record.clone()));
                Err(RegistryError::DuplicateDigest)
            }
        })
    }

    async fn claim(
        &mut self,
        claim: &IdempotencyRecord,
        now: SystemTime,
    ) -> Result<Result<(), RegistryError>, Infallible> {
        if let Some(stored) = self.state.requests().find(&claim.id).filter(|stored| stored.expires_at > now) {
            return Ok(Err(stored.answer(&claim.fingerprint)));
        }
        self.writes.push(Write::Claim(claim.clone(), now));
        Ok(Ok(()))
    }

    async fn record_events(&mut self, events: &[KeyEvent]) -> Result<(), Infallible> {
        self.writes.extend(events.iter().cloned().map(Write::Event));
        Ok(())
    }

    async fn commit(self) -> Result<(), Infallible> {
        self.apply();
        Ok(())
    }
}
