//! One lookup through the cache.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    Cache, CacheError, CachedStore,
    entries::CacheEntry,
    freshness::Epoch,
    lookup_limit::Turn,
    single_flight::{self, FlightKey, Leader, LookupResult, Outcome, Waiter},
};
use crate::{
    clock::{monotonic, nanos, note},
    key::KeyDigest,
    record::{Generation, KeyRecord, Status, ThreadCache},
    store::{KeyStore, Lookup},
};

/// When a thread may answer from its own cache.
#[derive(Clone, Copy)]
struct Stamp {
    cache: Generation,
    epoch: Epoch,
    /// The end of the lease, of the entry's TTL or of [`STAMP_TTL`], whichever is first.
    until: Instant,
}

/// The cached result is negative, and the feed has not been confirmed since the request arrived.
struct Unproven;

/// How long an abandoned lookup keeps running, because clients usually retry.
const ABANDONED_FOR: Duration = Duration::from_secs(1);

/// 2 ms in nanoseconds. After this time a thread reads the shared map again, so that the map
/// records which keys are in use and evicts others.
const STAMP_TTL: u64 = 2_000_000;

thread_local! {
    static FOUND: ThreadCache<Stamp, 64> = const { ThreadCache::new() };
}

impl<S: KeyStore> KeyStore for CachedStore<S> {
    type Error = CacheError;

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        let now = monotonic();
        note(now);
        self.cache.good(digest, now).map_or(Lookup::Pending, Lookup::Found)
    }

    async fn find(&self, digest: &KeyDigest) -> LookupResult {
        let arrived = self.cache.feed.now();
        // A lookup that started before this request may be used to accept the key, like a cache
        // entry, but not to reject it.
        let mut earliest = self.cache.feed.lease_start(arrived);
        loop {
            match self.cache.confirmed(digest, arrived).await {
                Ok(Lookup::Found(record)) => return Ok(Some(record)),
                Ok(Lookup::Absent) => return Ok(None),
                Ok(Lookup::Pending) => {}
                Err(Unproven) => earliest = arrived,
            }
            let is_known = || earliest < arrived && !matches!(self.cache.current(digest, arrived), Lookup::Pending);
            let Some(waiter) = self.join(digest, earliest, is_known) else {
                earliest = arrived;
                continue;
            };
            let Outcome { started, result } = self.outcome(digest, waiter).await;
            let is_new = started.is_none_or(|started| started >= arrived);
            match result {
                Ok(found) if is_new || found.as_ref().is_some_and(is_good) => return Ok(found),
                Err(error) if is_new => return Err(error),
                // The lookup started before this request arrived, so the key may be valid by now.
                _ => earliest = arrived,
            }
        }
    }
}

// === impl CachedStore ===

impl<S: KeyStore> CachedStore<S> {
    /// Joins a lookup that begins at `earliest` or later, or begins one. Returns `None` instead of
    /// beginning one if `is_known` finds the result in the cache.
    fn join(&self, digest: &KeyDigest, earliest: u64, is_known: impl FnOnce() -> bool) -> Option<Waiter> {
        match self.cache.flights.join(digest, earliest, self.cache.flight_key(digest), is_known) {
            single_flight::Join::Known => None,
            single_flight::Join::Joined(waiter) => Some(waiter),
            single_flight::Join::First(waiter, leader) => {
                // In its own task: a client that disconnects does not cancel the lookup of others.
                tokio::spawn(Arc::clone(&self.cache).look_up(*digest, leader));
                Some(waiter)
            }
        }
    }

    async fn outcome(&self, digest: &KeyDigest, waiter: Waiter) -> Outcome {
        let Some(max_staleness) = self.stale_for else {
            return waiter.outcome().await;
        };
        let stale = || self.cache.stale(digest, max_staleness).map(Some);
        let mut outcome = pin!(waiter.outcome());
        match timeout(self.cache.feed.lease, outcome.as_mut()).await {
            Ok(Outcome { started, result }) => {
                Outcome { started, result: result.or_else(|error| stale().ok_or(error)) }
            }
            Err(_) => match stale() {
                Some(stale) => Outcome { started: None, result: Ok(stale) },
                None => outcome.await,
            },
        }
    }
}

impl<S> Cache<S> {
    /// Returns the cached record of an active key, from this thread's cache or the shared one.
    fn good(&self, digest: &KeyDigest, now: Instant) -> Option<KeyRecord> {
        let is_valid =
            |stamp: Stamp| stamp.cache == self.id && now <= stamp.until && self.feed.is_current(digest, stamp.epoch);
        if let Ok(Some(record)) = FOUND.try_with(|cache| cache.get(digest, is_valid)) {
            return Some(record);
        }
        let (proven_until, at) = (self.feed.proven_until(), self.feed.at(now));
        let entry = self.entries.record(digest)?;
        if !is_good(&entry.value) || !self.is_current(digest, &entry, at) {
            return None;
        }
        let CacheEntry { value, epoch, asked_at } = entry;
        let expires = asked_at.saturating_add(self.ttl);
        let until = self.feed.instant(proven_until.min(expires).min(at + STAMP_TTL));
        let (found, stamp) = (value.into_fields(), Stamp { cache: self.id, epoch, until });
        Some(FOUND.try_with(|cache| cache.insert(Arc::clone(&found), stamp)).unwrap_or_else(|_| found.into()))
    }

    /// Returns the cached record if it was true one lease before `now`, or later.
    fn record(&self, digest: &KeyDigest, now: u64) -> Option<KeyRecord> {
        let entry = self.entries.record(digest)?;
        self.is_current(digest, &entry, now).then_some(entry.value)
    }

    /// Returns the cached result, record or negative entry, if it was true one lease before `now`,
    /// or later.
    fn current(&self, digest: &KeyDigest, now: u64) -> Lookup {
        if let Some(record) = self.record(digest, now) {
            return Lookup::Found(record);
        }
        match self.entries.negative(digest) {
            Some(entry) if self.is_current(digest, &entry, now) => Lookup::Absent,
            _ => Lookup::Pending,
        }
    }

    /// Returns the cached result if it accepts the key, or if it was still true when this request
    /// arrived.
    async fn confirmed(&self, digest: &KeyDigest, arrived: u64) -> Result<Lookup, Unproven> {
        match self.current(digest, arrived) {
            Lookup::Found(record) if is_good(&record) => Ok(Lookup::Found(record)),
            Lookup::Pending => Ok(Lookup::Pending),
            _ if self.feed.prove_since(arrived).await => Ok(self.current(digest, self.feed.now())),
            _ => Err(Unproven),
        }
    }

    fn flight_key(&self, digest: &KeyDigest) -> FlightKey {
        FlightKey { at: self.feed.now(), epoch: self.feed.epoch(digest) }
    }

    fn is_current<T>(&self, digest: &KeyDigest, entry: &CacheEntry<T>, now: u64) -> bool {
        entry.asked_at >= now.saturating_sub(self.ttl) && self.feed.is_fresh(digest, entry.epoch, now)
    }

    /// Returns the cached record of an active key if it was true `max_staleness` ago, or later.
    fn stale(&self, digest: &KeyDigest, max_staleness: Duration) -> Option<KeyRecord> {
        let now = self.feed.now();
        let since = now.saturating_sub(nanos(max_staleness));
        let entry = self.entries.record(digest)?;
        let is_known = self.feed.was_fresh_at(digest, entry.epoch, entry.asked_at, since);
        (is_known && is_good(&entry.value)).then_some(entry.value)
    }
}

impl<S: KeyStore> Cache<S> {
    /// Queries the store and caches the result, unless the key was changed in the meantime.
    async fn look_up(self: Arc<Self>, digest: KeyDigest, leader: Leader) {
        let Some((FlightKey { at, epoch }, _turn)) = self.begin(&digest, &leader).await else { return };
        self.lookups.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!("api_key_cache_lookups_total").increment(1);
        let found = tokio::select! {
            found = self.store.find(&digest) => found,
            () = abandoned_until(&leader, self.feed.instant(at) + ABANDONED_FOR) => return,
        };
        // If the key was changed during the lookup, an active record may be outdated, so it is not
        // cached. Any other result is cached: it replaces an active record, and it rejects no
        // request without a confirmation.
        if let Ok(found) = &found
            && (self.feed.is_current(&digest, epoch) || !found.as_ref().is_some_and(is_good))
        {
            self.entries.insert(digest, found.clone(), epoch, at);
        }
        leader.complete(found.map_err(|error| CacheError::Store(error.into().into())));
    }

    /// Waits for the turn of this lookup. Returns `None` if it is abandoned before.
    ///
    /// Its instant and epoch are read in its turn, not when it joins the queue. The proof in
    /// [`freshness`](super::freshness) requires only that they are read before the store is
    /// queried. If they were read earlier, the result would count as older than it is: requests
    /// that arrived in the meantime would begin another lookup, and a change in the meantime would
    /// keep the result out of the cache.
    async fn begin(&self, digest: &KeyDigest, leader: &Leader) -> Option<(FlightKey, Turn<'_>)> {
        let mut turn = pin!(async {
            if let Some(wait) = self.feed.jitter() {
                sleep(wait).await;
            }
            self.limit.turn(self.entries.has_record(digest)).await
        });
        let turn = loop {
            tokio::select! {
                turn = &mut turn => break turn?,
                () = leader.abandoned() => if leader.end_if_abandoned() { return None },
            }
        };
        Some((leader.begin(|| self.flight_key(digest))?, turn))
    }
}

/// Returns whether a cached record may accept its key without confirmation.
fn is_good(record: &KeyRecord) -> bool {
    record.status() == Status::Active
}

/// Completes when the lookup has no waiters at `end` or later. The lookup has then ended.
async fn abandoned_until(leader: &Leader, end: Instant) {
    loop {
        leader.abandoned().await;
        sleep_until(end).await;
        if leader.end_if_abandoned() {
            return;
        }
    }
}
