//! Lookups in flight. Concurrent requests for one key share one lookup.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{CacheError, freshness::Epoch};
use crate::{key::KeyDigest, record::KeyRecord};

#[derive(Default)]
pub(super) struct SingleFlight(Mutex<HashMap<KeyDigest, Flight>>);

pub(super) type LookupResult = Result<Option<KeyRecord>, CacheError>;

/// A lookup in flight.
#[derive(Clone)]
struct Flight {
    start: FlightKey,
    /// How long after the start other requests may join, in nanoseconds.
    join_window: u64,
    outcome: watch::Sender<Option<LookupResult>>,
}

/// The start of a lookup: the instant, and the epoch of its key.
#[derive(Clone, Copy)]
pub(super) struct FlightKey {
    pub(super) at: u64,
    pub(super) epoch: Epoch,
}

/// The handle of the task that performs the lookup. Dropping it fails all waiters that have no
/// result yet.
pub(super) struct Leader {
    flights: Arc<SingleFlight>,
    digest: KeyDigest,
    flight: Flight,
}

/// A request that waits for a lookup.
pub(super) struct Waiter {
    /// When the lookup began.
    pub(super) started: u64,
    outcome: watch::Receiver<Option<LookupResult>>,
}

/// The result of [`SingleFlight::join`].
pub(super) enum Join {
    /// The result is in the cache already.
    Known,
    /// A lookup is in flight.
    Joined(Waiter),
    /// No lookup is in flight: the caller has to perform it.
    First(Waiter, Leader),
}

/// The join window of the first lookup of a key: 250 ms.
const JOIN_WINDOW: u64 = 250_000_000;

// === impl SingleFlight ===

impl SingleFlight {
    /// Joins the lookup of this key that began at `earliest` or later, if no change of the key was
    /// reported since. Otherwise begins a lookup, unless `is_known` finds the result in the cache.
    ///
    /// If a lookup takes longer than its join window, the next request begins another one, since
    /// the first may be lost. The store may also be slow, so the window of the next lookup is twice
    /// as long.
    pub(super) fn join(
        self: &Arc<Self>,
        digest: &KeyDigest,
        earliest: u64,
        start: FlightKey,
        is_known: impl FnOnce() -> bool,
    ) -> Join {
        let mut flights = self.lock();
        let entry = flights.entry(*digest);
        let mut join_window = JOIN_WINDOW;
        if let Entry::Occupied(flight) = &entry {
            let flight = flight.get();
            let is_in_window = start.at.saturating_sub(flight.start.at) <= flight.join_window;
            if is_in_window && flight.start.at >= earliest && flight.start.epoch == start.epoch {
                return Join::Joined(flight.waiter());
            }
            join_window = if is_in_window { flight.join_window } else { flight.join_window.saturating_mul(2) };
        }
        // A lookup inserts its result into the cache before it leaves this map, so at any time a
        // result is found in one of them.
        if is_known() {
            return Join::Known;
        }
        let flight = Flight { start, join_window, outcome: watch::Sender::new(None) };
        entry.insert_entry(flight.clone());
        let waiter = flight.waiter();
        Join::First(waiter, Leader { flights: Arc::clone(self), digest: *digest, flight })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyDigest, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn waiter(&self) -> Waiter {
        Waiter { started: self.start.at, outcome: self.outcome.subscribe() }
    }
}

impl Leader {
    pub(super) fn start(&self) -> FlightKey {
        self.flight.start
    }

    pub(super) fn complete(self, outcome: LookupResult) {
        self.flight.outcome.send_replace(Some(outcome));
    }

    /// Completes when the lookup has no waiters.
    pub(super) async fn abandoned(&self) {
        self.flight.outcome.closed().await;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.flight.outcome.is_closed()
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if let Entry::Occupied(flight) = self.flights.lock().entry(self.digest)
            && flight.get().outcome.same_channel(&self.flight.outcome)
        {
            flight.remove();
        }
    }
}

impl Waiter {
    pub(super) async fn outcome(mut self) -> LookupResult {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(CacheError::Ended)),
            Err(_) => Err(CacheError::Ended),
        }
    }
}
