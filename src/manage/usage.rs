//! Counts the usage of keys in memory, and writes it to the registry in batches.
//!
//! Threads count in separate maps, so that requests do not contend. The first request after a write
//! starts a timer. After one interval, the counts are written, as one sum per key and day.

mod counts;
mod read;
mod settings;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(super) use settings::UsageSettings;
use tokio::sync::Notify;

use super::{
    ManageError,
    erased::ErasedRegistry,
    failure_log::{Alarm, Work},
};
use crate::{
    clock::Clock,
    observe::{Decision, Outcome},
    record::KeyId,
    rejection::{Problem, Reason},
    store::{DayUsage, UsageDelta, UtcDay},
    thread_index::{SHARDS, thread_index},
};
use counts::Counts;

pub(super) struct Usage {
    registry: Arc<dyn ErasedRegistry>,
    clock: Clock,
    settings: UsageSettings,
    counts: [Mutex<Counts>; SHARDS],
    /// The number of counts that could not be written.
    kept: AtomicUsize,
    is_due: AtomicBool,
    /// Ends the wait for the next write, because a shard has counts of many keys.
    early: Notify,
    alarm: Alarm,
    /// The day on which old days were last removed.
    pruned: Mutex<Option<UtcDay>>,
    /// Held during a write.
    turn: tokio::sync::Mutex<()>,
}

/// Counts that are being written. If a count is dropped before it is written, it is added back,
/// even after a panic of the registry.
struct Unwritten<'u> {
    usage: &'u Usage,
    uses: Vec<UsageDelta>,
}

/// The outcome of a request with a known key. Accepted and forbidden requests are uses.
#[derive(Clone, Copy)]
enum Counted {
    Accepted,
    Forbidden,
    Rejected,
    Limited,
}

/// The maximum number of days of keys in one write, which blocks other writers.
const BATCH: usize = 500;

/// The pause between two removals of old days, in which other writers have their turn.
const PRUNE_PAUSE: Duration = Duration::from_millis(20);

impl Usage {
    pub(super) fn new(registry: Arc<dyn ErasedRegistry>, clock: Clock, settings: UsageSettings) -> Arc<Self> {
        let counts = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self {
            registry,
            clock,
            settings,
            counts,
            kept: AtomicUsize::new(0),
            is_due: AtomicBool::new(false),
            early: Notify::new(),
            alarm: Alarm::new(Work::Usage, settings.interval),
            pruned: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Counts a request whose key the store has, by its outcome.
    pub(super) fn count(self: &Arc<Self>, decision: &Decision) {
        let counted = match decision.outcome() {
            Outcome::Accepted => Some(Counted::Accepted),
            Outcome::Refused(reason) => counted(reason),
            Outcome::Anonymous | Outcome::Skipped | Outcome::Preflight | Outcome::Abandoned => None,
        };
        if let Some((id, counted)) = decision.key_id().zip(counted) {
            let now = self.clock.now();
            let is_early = self.shard(thread_index()).count(id, counted, now, &self.kept);
            if is_early {
                self.early.notify_one();
            }
            self.write_in_an_interval();
        }
    }

    /// Waits for a running write, then writes all counts. Counts that cannot be written are kept.
    pub(super) async fn flush(&self) -> Result<(), ManageError> {
        let _turn = self.turn.lock().await;
        let mut unwritten = Unwritten { usage: self, uses: self.take() };
        while !unwritten.uses.is_empty() {
            let batch = unwritten.uses.len().min(BATCH);
            let written = Arc::clone(&self.registry).record_usage(unwritten.uses[..batch].to_vec()).await;
            written.inspect_err(|error| self.alarm.failed(error))?;
            unwritten.uses.drain(..batch);
        }
        Ok(())
    }

    fn take(&self) -> Vec<UsageDelta> {
        let mut all = HashMap::<(KeyId, UtcDay), UsageDelta>::new();
        for index in 0..SHARDS {
            let taken = self.shard(index).take();
            for delta in taken {
                let sum = all.entry((delta.id.clone(), delta.usage.day));
                sum.and_modify(|sum| sum.merge(&delta)).or_insert(delta);
            }
        }
        all.into_values().collect()
    }

    fn write_in_an_interval(self: &Arc<Self>) {
        if self.is_due.load(Ordering::Relaxed) || self.is_due.swap(true, Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.is_due.store(false, Ordering::Relaxed);
            return;
        };
        let usage = Arc::clone(self);
        runtime.spawn(async move {
            let _ = tokio::time::timeout(usage.settings.interval, usage.early.notified()).await;
            usage.is_due.store(false, Ordering::Relaxed);
            match usage.flush().await {
                Ok(()) => usage.prune().await,
                Err(_) => usage.write_in_an_interval(),
            }
        });
    }

    /// Removes old days, once a day.
    async fn prune(&self) {
        let today = UtcDay::from(self.clock.now());
        let last = self.pruned.lock().unwrap_or_else(PoisonError::into_inner).replace(today);
        if last == Some(today) {
            return;
        }
        let before = today.minus(self.settings.days);
        loop {
            match Arc::clone(&self.registry).prune_usage(before).await {
                Ok(0) => return,
                Ok(_) => tokio::time::sleep(PRUNE_PAUSE).await,
                Err(error) => {
                    self.alarm.failed(&error);
                    // The next write tries again.
                    *self.pruned.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return;
                }
            }
        }
    }

    fn shard(&self, index: usize) -> MutexGuard<'_, Counts> {
        self.counts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.usage.kept.store(self.uses.len(), Ordering::Relaxed);
        self.usage.shard(0).put_back(self.uses.drain(..));
    }
}

impl Counted {
    const ALL: [Self; 4] = [Self::Accepted, Self::Forbidden, Self::Rejected, Self::Limited];

    fn is_use(self) -> bool {
        matches!(self, Self::Accepted | Self::Forbidden)
    }

    fn of(self, usage: &mut DayUsage) -> &mut u64 {
        match self {
            Self::Accepted => &mut usage.accepted,
            Self::Forbidden => &mut usage.forbidden,
            Self::Rejected => &mut usage.rejected,
            Self::Limited => &mut usage.limited,
        }
    }
}

/// Returns how a rejection counts, if it has a key. It counts as a use if the key was verified, and
/// a guard rejected the request. A request from an address that the key does not allow is no use.
/// When you add a [`Problem`], add it to this match.
fn counted(reason: Reason) -> Option<Counted> {
    if matches!(reason, Reason::WrongAddress | Reason::UnknownAddress) {
        return Some(Counted::Rejected);
    }
    match reason.problem() {
        Problem::Forbidden | Problem::NotFound => Some(Counted::Forbidden),
        Problem::InvalidKey | Problem::TooManyFailures => Some(Counted::Rejected),
        Problem::TooManyRequests
        | Problem::RateLimited
        | Problem::QuotaExceeded
        | Problem::ConcurrencyLimited
        | Problem::CreditsExhausted
        | Problem::PaymentRequired => Some(Counted::Limited),
        Problem::MissingKey
        | Problem::MalformedCredential
        | Problem::AmbiguousCredential
        | Problem::InsecureTransport
        | Problem::Internal
        | Problem::Unavailable => None,
    }
}
