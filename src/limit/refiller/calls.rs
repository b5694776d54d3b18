//! The calls of the store.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{BATCH, PAUSE, Refiller, TIMEOUT};
use crate::{
    error::BoxError,
    limit::{counts::Counted, lease_log},
};

impl Refiller {
    /// Asks for units of the meters that need some, in one call.
    pub(super) async fn ask(self: &Arc<Self>) -> Result<(), BoxError> {
        let due: Vec<_> = {
            let mut work = self.work();
            let due = work.due.len().min(BATCH);
            work.is_urgent &= work.due.len() > due;
            work.due.drain(..due).collect()
        };
        self.take(due).await
    }

    /// Gives back in another task, so that no request waits for it.
    pub(super) fn give_back_meanwhile(self: &Arc<Self>) {
        let Ok(one) = Arc::clone(&self.returning).try_lock_owned() else { return };
        if self.work().returns.is_empty() {
            return;
        }
        let refiller = Arc::clone(self);
        tokio::spawn(async move {
            while !refiller.work().returns.is_empty() {
                if refiller.give_back().await.is_err() {
                    sleep(PAUSE).await;
                    break;
                }
            }
            drop(one);
        });
    }

    /// Notes that a call has failed. The first one begins an outage.
    fn fail(&self, error: &BoxError) {
        let since = self.now().saturating_add(1);
        if self.fails_since.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            lease_log::failed(error);
        }
    }

    fn called(&self, sent: u64, is_ok: bool) {
        lease_log::called(is_ok, Duration::from_nanos(self.now().saturating_sub(sent)));
    }

    /// Gives back in one call. `returning` is locked.
    pub(super) async fn give_back(self: &Arc<Self>) -> Result<(), BoxError> {
        let returns: Vec<_> = self.work().returns.iter().take(BATCH).cloned().collect();
        if returns.is_empty() {
            return Ok(());
        }
        let (store, number, sent) = (Arc::clone(&self.store), returns.len(), self.now());
        let result = done(tokio::spawn(async move { store.give_back(&returns).await }), TIMEOUT).await;
        self.called(sent, result.is_ok());
        if result.is_ok() {
            // Until then they stay, since a lease may be closed twice.
            self.work().returns.drain(..number);
        }
        result
    }

    async fn take(self: &Arc<Self>, due: Vec<Arc<Counted>>) -> Result<(), BoxError> {
        let sent = self.now();
        let mut asked = Vec::with_capacity(due.len());
        for counted in due {
            if let Some(ask) = counted.leased().and_then(|leased| leased.ask(&counted, sent)) {
                asked.push((ask, counted));
            }
        }
        asked.sort_by(|(one, _), (other, _)| one.meter.cmp(&other.meter));
        // Records with different numbers of one limit have the same meter.
        let mut later = Vec::new();
        asked.dedup_by(|(one, counted), (kept, _)| {
            let is_same = one.meter == kept.meter;
            if is_same {
                later.push(Arc::clone(counted));
            }
            is_same
        });
        for counted in later {
            if let Some(leased) = counted.leased() {
                leased.ask_later(&counted);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let (asks, counted): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let store = Arc::clone(&self.store);
        let granted = tokio::spawn(async move {
            let grants = store.take(&asks).await?;
            let is_whole = grants.len() == asks.len();
            if is_whole { Ok(grants) } else { Err("the store of meters has not answered every ask".into()) }
        });
        // Units of a rate that come later would be over.
        let granted = done(granted, TIMEOUT.min(self.settings.lease * 3 / 4)).await;
        let now = self.now();
        self.called(sent, granted.is_ok());
        match granted {
            Ok(grants) => {
                let call = now.saturating_sub(sent);
                let before = self.round_trip.load(Ordering::Relaxed);
                self.round_trip
                    .store(if before == 0 { call } else { before - before / 8 + call / 8 }, Ordering::Relaxed);
                // The outage is over before a request looks again.
                if self.fails_since.swap(0, Ordering::Relaxed) > 0 {
                    lease_log::recovered();
                }
                for (counted, grant) in counted.iter().zip(&grants) {
                    if let Some(leased) = counted.leased() {
                        lease_log::granted(&leased.meter, grant);
                        leased.answered(counted, grant, now);
                    }
                }
                Ok(())
            }
            Err(error) => {
                // The outage begins before a request looks again.
                self.fail(&error);
                for counted in &counted {
                    if let Some(leased) = counted.leased() {
                        leased.failed(counted);
                    }
                }
                Err(error)
            }
        }
    }
}

/// Waits for a call, for a time. A panic of the store is an error.
async fn done<T>(call: tokio::task::JoinHandle<Result<T, BoxError>>, longest: Duration) -> Result<T, BoxError> {
    let abort = call.abort_handle();
    match timeout(longest, call).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => Err(panicked.into()),
        Err(_) => {
            abort.abort();
            Err("the store of meters has not answered in time".into())
        }
    }
}
