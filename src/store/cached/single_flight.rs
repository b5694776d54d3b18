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

/// A lookup that waits for its turn, or is in flight.
#[derive(Clone)]
struct Flight {
    /// How long after the start other requests may join, in nanoseconds.
    join_window: u64,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct Progress {
    /// `None` while the lookup waits for its turn.
    start: Option<FlightKey>,
    result: Option<LookupResult>,
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
pub(super) struct Waiter(watch::Receiver<Progress>);

/// The outcome of a lookup.
pub(super) struct Outcome {
    /// When the lookup began; `None` if it ended before its turn.
    pub(super) started: Option<u64>,
    pub(super) result: LookupResult,
}

/// The result of [`SingleFlight::join`].
pub(super) enum Join {
    /// The result is in the cache already.
    Known,
    /// A lookup waits for its turn, or is in flight.
    Joined(Waiter),
    /// There is no such lookup: the caller has to perform it.
    First(Waiter, Leader),
}

/// The join window of the first lookup of a key: 250 ms.
const JOIN_WINDOW: u64 = 250_000_000;

// === impl SingleFlight ===

impl SingleFlight {
    /// Joins the lookup of this key that waits for its turn, or that began at `earliest` or later
    /// if no change of the key was reported since. Otherwise begins a lookup, unless `is_known`
    /// finds the result in the cache.
    ///
    /// A lookup that waits begins later than now, so its result is new enough for every request
    /// that joins. It has no join window: another lookup of the key would only wait behind it.
    ///
    /// If a lookup takes longer than its join window, the next request begins another one, since
    /// the first may be lost. The store may also be slow, so the window of the next lookup is twice
    /// as long.
    pub(super) fn join(
        self: &Arc<Self>,
        digest: &KeyDigest,
        earliest: u64,
        now: FlightKey,
        is_known: impl FnOnce() -> bool,
    ) -> Join {
        let mut flights = self.lock();
        let entry = flights.entry(*digest);
        let mut join_window = JOIN_WINDOW;
        if let Entry::Occupied(flight) = &entry {
            let flight = flight.get();
            let Some(start) = flight.progress.borrow().start else {
                return Join::Joined(flight.waiter());
            };
            let is_in_window = now.at.saturating_sub(start.at) <= flight.join_window;
            if is_in_window && start.at >= earliest && start.epoch == now.epoch {
                return Join::Joined(flight.waiter());
            }
            join_window = if is_in_window { flight.join_window } else { flight.join_window.saturating_mul(2) };
        }
        // A lookup inserts its result into the cache before it leaves this map, so at any time a
        // result is found in one of them.
        if is_known() {
            return Join::Known;
        }
        let flight = Flight { join_window, progress: watch::Sender::default() };
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
        Waiter(self.progress.subscribe())
    }
}

impl Leader {
    /// Begins the lookup in its turn. Returns its start, or `None` if it has no waiters: it has
    /// then ended.
    ///
    /// `now` is read under the lock of the map. So the lookup begins after the arrival of every
    /// request that has joined it while it waited.
    pub(super) fn begin(&self, now: impl FnOnce() -> FlightKey) -> Option<FlightKey> {
        let mut flights = self.flights.lock();
        if self.flight.progress.is_closed() {
            self.remove_from(&mut flights);
            return None;
        }
        let start = now();
        // Without waking the waiters.
        self.flight.progress.send_if_modified(|progress| {
            progress.start = Some(start);
            false
        });
        Some(start)
    }

    pub(super) fn complete(self, result: LookupResult) {
        self.flight.progress.send_modify(|progress| progress.result = Some(result));
    }

    /// Completes when the lookup has no waiters.
    pub(super) async fn abandoned(&self) {
        self.flight.progress.closed().await;
    }

    /// Ends the lookup if it has no waiters, and returns whether it has ended. No request can join
    /// it in between, since requests join under the lock of the map.
    pub(super) fn end_if_abandoned(&self) -> bool {
        let mut flights = self.flights.lock();
        let is_abandoned = self.flight.progress.is_closed();
        if is_abandoned {
            self.remove_from(&mut flights);
        }
        is_abandoned
    }

    fn remove_from(&self, flights: &mut HashMap<KeyDigest, Flight>) {
        if let Entry::Occupied(flight) = flights.entry(self.digest)
            && flight.get().progress.same_channel(&self.flight.progress)
        {
            flight.remove();
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.remove_from(&mut self.flights.lock());
    }
}

impl Waiter {
    pub(super) async fn outcome(mut self) -> Outcome {
        // An error means that the lookup ended without a result.
        drop(self.0.wait_for(|progress| progress.result.is_some()).await);
        let progress = self.0.borrow();
        Outcome {
            started: progress.start.map(|start| start.at),
            result: progress.result.clone().unwrap_or(Err(CacheError::Ended)),
        }
    }
}
