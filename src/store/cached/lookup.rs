//! The way of one look-up through the cache.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Cache, CacheError, CachedStore,
    entries::Entry,
    flights::{Boarding, Outcome, Passenger, Pilot, Start},
};
use crate::{
    clock::nanos,
    key::KeyDigest,
    record::{KeyRecord, Status},
    store::{KeyStore, Lookup},
};

/// A look-up that began longer ago may be lost: whoever comes now asks again.
const JOINABLE: Duration = Duration::from_millis(250);

/// A look-up that nobody waits for any more goes on for so long: the key is soon asked for again.
const UNWATCHED: Duration = Duration::from_secs(5);

impl<S: KeyStore> KeyStore for CachedStore<S> {
    type Error = CacheError;

    fn find_now(&self, digest: &KeyDigest) -> Lookup {
        match self.cache.record(digest, self.cache.following.now()) {
            Some(record) if is_good(&record) => Lookup::Found(record),
            _ => Lookup::Wait,
        }
    }

    async fn find(&self, digest: &KeyDigest) -> Outcome {
        let arrived = self.cache.following.now();
        // What others have begun to ask is worth as much as what is in memory: good enough to let in, not to refuse.
        let joinable = self.cache.following.earliest(arrived).max(arrived.saturating_sub(nanos(JOINABLE)));
        for earliest in [joinable, arrived] {
            match self.cache.confirmed(digest, arrived).await {
                Lookup::Found(record) => return Ok(Some(record)),
                Lookup::Absent => return Ok(None),
                Lookup::Wait => {}
            }
            let is_known = || earliest < arrived && !matches!(self.cache.current(digest, arrived), Lookup::Wait);
            let Some(passenger) = self.board(digest, earliest, is_known) else { continue };
            let started = passenger.started;
            let found = self.outcome(digest, passenger).await?;
            if started >= arrived || found.as_ref().is_some_and(is_good) {
                return Ok(found);
            }
        }
        Err(CacheError::Ended)
    }
}

// === impl CachedStore ===

impl<S: KeyStore> CachedStore<S> {
    /// A place in a look-up that began at `earliest` or later, or in a new one; none if the answer `is_known` by now.
    fn board(&self, digest: &KeyDigest, earliest: u64, is_known: impl FnOnce() -> bool) -> Option<Passenger> {
        let start = Start { at: self.cache.following.now(), epoch: self.cache.following.epoch(digest) };
        match self.cache.flights.board(digest, earliest, start, is_known) {
            Boarding::Known => None,
            Boarding::Joined(passenger) => Some(passenger),
            Boarding::First(passenger, pilot) => {
                // In a task of its own: a caller who goes away does not take the look-up of the others along.
                tokio::spawn(Arc::clone(&self.cache).look_up(*digest, pilot));
                Some(passenger)
            }
        }
    }

    async fn outcome(&self, digest: &KeyDigest, passenger: Passenger) -> Outcome {
        let Some(max_staleness) = self.stale_for else {
            return passenger.outcome().await;
        };
        let stale = || self.cache.stale(digest, max_staleness).map(Some);
        let mut outcome = Box::pin(passenger.outcome());
        match timeout(self.cache.following.lease, &mut outcome).await {
            Ok(outcome) => outcome.or_else(|error| stale().ok_or(error)),
            Err(_) => match stale() {
                Some(stale) => Ok(stale),
                None => outcome.await,
            },
        }
    }
}

impl<S> Cache<S> {
    /// The record in memory, if it was true a lease before `now`, or later.
    fn record(&self, digest: &KeyDigest, now: u64) -> Option<KeyRecord> {
        let entry = self.entries.record(digest)?;
        self.is_current(digest, &entry, now).then_some(entry.value)
    }

    /// The same, where it may be known that there is none.
    fn current(&self, digest: &KeyDigest, now: u64) -> Lookup {
        if let Some(record) = self.record(digest, now) {
            return Lookup::Found(record);
        }
        match self.entries.absence(digest) {
            Some(entry) if self.is_current(digest, &entry, now) => Lookup::Absent,
            _ => Lookup::Wait,
        }
    }

    /// What is in memory, if it lets the key in, or was no better when this request arrived.
    async fn confirmed(&self, digest: &KeyDigest, arrived: u64) -> Lookup {
        match self.current(digest, arrived) {
            Lookup::Found(record) if is_good(&record) => Lookup::Found(record),
            Lookup::Wait => Lookup::Wait,
            _ if self.following.prove_since(arrived).await => self.current(digest, self.following.now()),
            _ => Lookup::Wait,
        }
    }

    fn is_current<T>(&self, digest: &KeyDigest, entry: &Entry<T>, now: u64) -> bool {
        entry.asked_at >= now.saturating_sub(self.ttl) && self.following.trusts(digest, entry.epoch, now)
    }

    /// A good record that was true `max_staleness` ago, or later.
    fn stale(&self, digest: &KeyDigest, max_staleness: Duration) -> Option<KeyRecord> {
        let now = self.following.now();
        let since = now.saturating_sub(nanos(max_staleness));
        let entry = self.entries.record(digest)?;
        let is_known = self.following.remembers(digest, entry.epoch, entry.asked_at, since);
        (is_known && is_good(&entry.value)).then_some(entry.value)
    }
}

impl<S: KeyStore> Cache<S> {
    /// Asks the store, and keeps what it says, unless the key was changed meanwhile.
    async fn look_up(self: Arc<Self>, digest: KeyDigest, pilot: Pilot) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!("api_key_cache_lookups_total").increment(1);
        let Start { at, epoch } = pilot.start();
        let found = tokio::select! {
            found = self.store.find(&digest) => found,
            () = unwatched(&pilot, self.following.instant(at) + UNWATCHED) => return,
        };
        if let Ok(found) = &found
            && self.following.stands(&digest, epoch)
        {
            self.entries.keep(digest, found.clone(), epoch, at);
        }
        pilot.land(found.map_err(|error| CacheError::Store(error.into().into())));
    }
}

/// Memory lets such a key in at once.
fn is_good(record: &KeyRecord) -> bool {
    record.status() == Status::Active
}

/// Done at `end`, or when nobody waits any more, whichever is later.
async fn unwatched(pilot: &Pilot, end: Instant) {
    loop {
        pilot.deserted().await;
        sleep_until(end).await;
        if pilot.is_deserted() {
            return;
        }
    }
}
