//! A store that adds the permissions of roles to each record, and removes those that its owner
//! lacks.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Sources;
use crate::{
    clock::{after, monotonic, noted_or_now, take_noted},
    key::{Digests, KeyDigest},
    record::{DerivedCache, Generation, Kept, KeyRecord, LayerBounds},
    store::{ErasedStore, Fault, Lookup, PendingAnswer},
};

/// A store whose records have the permissions that they have now.
pub(crate) struct Resolving {
    id: Generation,
    store: Arc<dyn ErasedStore>,
    sources: Sources,
    bounds: LayerBounds,
}

/// What a record was resolved by.
struct ResolvedBy {
    store: Generation,
    epoch: u64,
    until: Instant,
}

thread_local! {
    static RESOLVED: DerivedCache<ResolvedBy> = const { DerivedCache::new() };
}

// === impl Resolving ===

impl Resolving {
    pub(crate) fn new(store: Arc<dyn ErasedStore>, sources: Sources, bounds: LayerBounds) -> Self {
        Self { id: Generation::unique(), store, sources, bounds }
    }

    /// Returns the record as the sources change it at this instant, if that is known without
    /// waiting.
    fn resolve_now(&self, record: KeyRecord, now: impl FnOnce() -> Instant) -> Result<KeyRecord, KeyRecord> {
        if !self.sources.apply_to(&record) {
            return Ok(record);
        }
        let (now, epoch, slot) = (now(), self.sources.epoch(), slot_of(&record));
        let is_current = |by: &ResolvedBy| by.store == self.id && by.epoch == epoch && now < by.until;
        match RESOLVED.try_with(|kept| kept.get(slot, &record, is_current)) {
            Ok(Some(Kept::AsItIs)) => return Ok(record),
            Ok(Some(Kept::Changed(resolved))) => return Ok(resolved),
            Ok(None) | Err(_) => {}
        }
        // A key that does not work is rejected in any case, whatever the sources say.
        if record.obstacle(&self.bounds).is_some() {
            return Ok(record);
        }
        if self.sources.are_asked_each_time(&record) {
            return Err(record);
        }
        let Some((resolution, until)) = self.sources.try_resolve(&record, now) else { return Err(record) };
        let by = ResolvedBy { store: self.id, epoch, until };
        let resolved = resolution.applied_to(&record);
        // A thread that ends keeps nothing more.
        let _ = RESOLVED.try_with(|kept| kept.insert(slot, &record, by, resolved.clone()));
        Ok(resolved.unwrap_or(record))
    }

    /// Asks the sources about the record.
    async fn resolve(&self, record: KeyRecord, deadline: Instant) -> Result<KeyRecord, Fault> {
        let record = match self.resolve_now(record, monotonic) {
            Ok(resolved) => return Ok(resolved),
            Err(record) => record,
        };
        let resolution = self.sources.resolve(&record, deadline).await?;
        Ok(resolution.applied_to(&record).unwrap_or(record))
    }
}

impl ErasedStore for Resolving {
    fn try_find(&self, digest: &KeyDigest) -> Result<Lookup, Fault> {
        // The store may read the clock.
        take_noted();
        Ok(match self.store.try_find(digest)? {
            Lookup::Found(record) => match self.resolve_now(record, noted_or_now) {
                Ok(record) => Lookup::Found(record),
                Err(_) => Lookup::Pending,
            },
            other => other,
        })
    }

    fn knows(&self, digest: &KeyDigest) -> bool {
        matches!(self.store.try_find(digest), Ok(Lookup::Found(_)))
    }

    fn find(self: Arc<Self>, digests: Digests, deadline: Duration) -> PendingAnswer {
        Box::pin(async move {
            let end = after(monotonic(), deadline);
            match Arc::clone(&self.store).find(digests, deadline).await? {
                Some(record) => self.resolve(record, end).await.map(Some),
                None => Ok(None),
            }
        })
    }
}

fn slot_of(record: &KeyRecord) -> u8 {
    let [.., last] = *record.digest().as_bytes();
    last
}
