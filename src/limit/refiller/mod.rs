//! Asks the store of meters for units, in the background: one call at a time, for all meters that
//! need some.

mod calls;

use std::{
    mem,
    panic::RefUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{sleep, timeout, timeout_at},
};

use super::{
    clock::LimitClock,
    counts::Counted,
    demand::Span,
    erased_meters::ErasedMeters,
    leased::Reaped,
    leasing::LeaseSettings,
    meter::{LeaseId, Return},
};
use crate::{clock::nanos, error::BoxError};

/// The store of meters, and the work that is to be done with it.
pub(super) struct Refiller {
    store: Arc<dyn ErasedMeters>,
    pub(super) settings: LeaseSettings,
    clock: LimitClock,
    /// The number of this node, and that of its next lease.
    node: [u8; 8],
    next_lease: AtomicU64,
    work: Mutex<Work>,
    wake: Notify,
    /// Held while the store is asked.
    calls: tokio::sync::Mutex<()>,
    /// Held while units are given back.
    returning: Arc<tokio::sync::Mutex<()>>,
    /// When the store has begun to fail, plus 1; 0 if it works.
    fails_since: AtomicU64,
    /// About how long a call takes, in nanoseconds.
    round_trip: AtomicU64,
}

#[derive(Default)]
struct Work {
    /// Meters that need units.
    due: Vec<Arc<Counted>>,
    /// Meters that have open leases.
    watched: Vec<Arc<Counted>>,
    returns: Vec<Return>,
    /// Whether a request waits for the next call.
    is_urgent: bool,
    is_running: bool,
}

/// When the next call is to be made.
enum Next {
    Now,
    /// With the next tick.
    Tick,
    /// If there is something to do again.
    Idle,
}

/// How many meters one call is about.
const BATCH: usize = 512;

/// So many ticks has a lease. Without a request that waits, a tick has one call, which is about all
/// meters that need units by then.
const TICKS: u32 = 20;

/// How long a call may take, with a lease that is longer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The pause after a call that has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Notes that the task has ended, also if its runtime ends.
struct Running(Option<Arc<Refiller>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(refiller) = &self.0 {
            refiller.work().is_running = false;
        }
    }
}

/// A panic of the store ends a call, and nothing is locked then.
impl RefUnwindSafe for Refiller {}

impl Refiller {
    pub(super) fn new(store: Arc<dyn ErasedMeters>, settings: LeaseSettings, clock: LimitClock, node: [u8; 8]) -> Self {
        Self {
            store,
            settings,
            clock,
            node,
            next_lease: AtomicU64::new(0),
            work: Mutex::default(),
            wake: Notify::new(),
            calls: tokio::sync::Mutex::default(),
            returning: Arc::default(),
            fails_since: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
        }
    }

    pub(super) fn store(&self) -> &dyn ErasedMeters {
        &*self.store
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.now(false).monotonic
    }

    /// Returns when the store has begun to fail, if it fails now.
    pub(super) fn fails_since(&self) -> Option<u64> {
        self.fails_since.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Returns an id that no other lease has.
    pub(super) fn new_lease(&self) -> LeaseId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.node);
        bytes[8..].copy_from_slice(&self.next_lease.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        LeaseId::from_bytes(bytes)
    }

    /// Returns for how long to ask, and how early: a tick and two calls may come before the units
    /// do.
    pub(super) fn span(&self) -> Span {
        let (lease, call) = (nanos(self.settings.lease), self.round_trip.load(Ordering::Relaxed));
        let lasts = (lease / 4).max(call.saturating_mul(3)).min(lease * 6 / 10);
        let ahead = call.saturating_mul(2).saturating_add(nanos(self.tick()));
        Span { lasts, ahead: ahead.clamp(lasts / 2, lasts) }
    }

    pub(super) fn tick(&self) -> Duration {
        self.settings.lease / TICKS
    }

    /// Asks for units of a meter, with the next tick or at once. Without a meter, one that is
    /// queued already is meant. Returns whether a task does it: without a runtime there is none.
    pub(super) fn queue(self: &Arc<Self>, counted: Option<&Arc<Counted>>, is_urgent: bool) -> bool {
        self.add(|work| {
            work.due.extend(counted.cloned());
            work.is_urgent |= is_urgent;
        })
    }

    /// Sees to it that the leases of a meter are closed.
    pub(super) fn watch(self: &Arc<Self>, counted: &Arc<Counted>) -> bool {
        self.add(|work| work.watched.push(Arc::clone(counted)))
    }

    /// Adds work, for a task that runs already or is started now. Returns `false` without a
    /// runtime.
    fn add(self: &Arc<Self>, add: impl FnOnce(&mut Work)) -> bool {
        let mut work = self.work();
        if work.is_running {
            // Under the lock: a task that ends has seen all work.
            add(&mut work);
            self.wake.notify_one();
            return true;
        }
        let Ok(runtime) = Handle::try_current() else { return false };
        add(&mut work);
        work.is_running = true;
        // Without the lock: a runtime that ends drops the task at once.
        drop(work);
        runtime.spawn(run(Running(Some(Arc::clone(self)))));
        true
    }

    /// Returns when the next call is to be made.
    fn next(&self) -> Next {
        let work = self.work();
        match work.due.is_empty() && work.returns.is_empty() {
            false if work.is_urgent => Next::Now,
            false => Next::Tick,
            true => Next::Idle,
        }
    }

    /// Returns whether the task ends, because there is nothing to do.
    fn ends(&self) -> bool {
        let mut work = self.work();
        work.is_running = !(work.due.is_empty() && work.returns.is_empty() && work.watched.is_empty());
        !work.is_running
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all leases, and waits until the store has what is left. It continues if it is
    /// dropped: requests may wait for its calls.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<(), BoxError> {
        let Ok(runtime) = Handle::try_current() else { return self.flush_all().await };
        let refiller = Arc::clone(self);
        runtime.spawn(async move { refiller.flush_all().await }).await?
    }

    async fn flush_all(self: &Arc<Self>) -> Result<(), BoxError> {
        // Units that belong to no lease get one first. Requests that still come take new leases.
        for _ in 0..3 {
            let calls = {
                let _calls = self.calls.lock().await;
                self.reap(true);
                let work = self.work();
                1 + work.due.len().max(work.returns.len()) / BATCH
            };
            for _ in 0..calls {
                {
                    let _returning = self.returning.lock().await;
                    self.give_back().await?;
                }
                let _calls = self.calls.lock().await;
                self.ask().await?;
            }
        }
        Ok(())
    }

    /// Closes the leases that are not used any more, or all with `is_end`.
    fn reap(self: &Arc<Self>, is_end: bool) {
        let watched = mem::take(&mut self.work().watched);
        let (mut kept, mut returns, now) = (Vec::new(), Vec::new(), self.now());
        for counted in watched {
            match counted.leased().map(|leased| leased.reap(&counted, now, is_end)) {
                Some(Reaped::Return(back)) => {
                    returns.push(back);
                    kept.push(counted);
                }
                Some(Reaped::Keep) => kept.push(counted),
                Some(Reaped::Forget) | None => {}
            }
        }
        let mut work = self.work();
        work.watched.append(&mut kept);
        work.returns.append(&mut returns);
    }
}

/// Asks and gives back until nothing is left to do.
async fn run(mut running: Running) {
    let Some(refiller) = running.0.clone() else { return };
    let pause = refiller.settings.lease / 2;
    let mut reaped_at = refiller.now();
    loop {
        let tick = sleep(refiller.tick()).deadline();
        let result = {
            let _call = refiller.calls.lock().await;
            if refiller.now().saturating_sub(reaped_at) >= nanos(pause) {
                reaped_at = refiller.now();
                refiller.reap(false);
            }
            refiller.give_back_meanwhile();
            refiller.ask().await
        };
        if result.is_err() {
            sleep(PAUSE).await;
            continue;
        }
        loop {
            let is_time = match refiller.next() {
                Next::Now => true,
                Next::Tick => timeout_at(tick, refiller.wake.notified()).await.is_err(),
                Next::Idle => timeout(pause, refiller.wake.notified()).await.is_err(),
            };
            if is_time {
                break;
            }
        }
        if refiller.ends() {
            running.0 = None;
            return;
        }
    }
}
