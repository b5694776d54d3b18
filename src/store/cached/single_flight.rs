//! Look-ups that are on their way. Who asks for a key that is being looked up waits for that answer.

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

/// A look-up on its way.
#[derive(Clone)]
struct Flight {
    start: FlightKey,
    /// For so many nanoseconds others may join.
    joinable: u64,
    outcome: watch::Sender<Option<LookupResult>>,
}

/// When a look-up began, and which changes of its key had been told by then.
#[derive(Clone, Copy)]
pub(super) struct FlightKey {
    pub(super) at: u64,
    pub(super) epoch: Epoch,
}

/// The look-up's own end. However it ends, nobody waits for it afterwards.
pub(super) struct Leader {
    flights: Arc<SingleFlight>,
    digest: KeyDigest,
    flight: Flight,
}

/// Somebody who waits.
pub(super) struct Waiter {
    pub(super) started: u64,
    outcome: watch::Receiver<Option<LookupResult>>,
}

/// What came of wanting an answer.
pub(super) enum Join {
    /// The answer is there already.
    Known,
    Joined(Waiter),
    /// Nobody is asking: it is to be asked now.
    First(Waiter, Leader),
}

/// 250 ms.
const JOINABLE: u64 = 250_000_000;

// === impl Flights ===

impl SingleFlight {
    /// Joins the look-up of this key that began at `earliest` or later, with no change told since; else begins one, unless the answer
    /// `is_known` by now. One that takes long may be lost, or the store is slow: so the next one may be joined for twice as long.
    pub(super) fn join(
        self: &Arc<Self>,
        digest: &KeyDigest,
        earliest: u64,
        start: FlightKey,
        is_known: impl FnOnce() -> bool,
    ) -> Join {
        let mut flights = self.lock();
        let place = flights.entry(*digest);
        let mut joinable = JOINABLE;
        if let Entry::Occupied(flight) = &place {
            let flight = flight.get();
            let is_young = start.at.saturating_sub(flight.start.at) <= flight.joinable;
            if is_young && flight.start.at >= earliest && flight.start.epoch == start.epoch {
                return Join::Joined(flight.waiter());
            }
            joinable = if is_young { flight.joinable } else { flight.joinable.saturating_mul(2) };
        }
        // A look-up keeps its answer before it leaves the list, so between here and there nothing is missed.
        if is_known() {
            return Join::Known;
        }
        let flight = Flight { start, joinable, outcome: watch::Sender::new(None) };
        place.insert_entry(flight.clone());
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

    /// Waits until nobody is waiting.
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
