//! Counts the usage of keys in memory, and writes it to the registry in batches.
//!
//! Threads count in separate maps, so that requests do not contend. The first use after a write
//! starts a timer. After one interval, the counts are written, as one sum per key.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{
    ManageError,
    erased::ErasedRegistry,
    failure_log::{Alarm, Work},
};
use crate::{
    clock::Clock,
    observe::{Decision, Outcome},
    record::KeyId,
    rejection::Problem,
    store::UsageDelta,
    thread_index::{SHARDS, thread_index},
};

pub(super) struct Usage {
    registry: Arc<dyn ErasedRegistry>,
    clock: Clock,
    interval: Duration,
    counts: [Mutex<Counts>; SHARDS],
    is_due: AtomicBool,
    alarm: Alarm,
    /// Held during a write.
    turn: tokio::sync::Mutex<()>,
}

/// Counts that are being written. If a count is dropped before it is written, it is added back,
/// even after a panic of the registry.
struct Unwritten<'u> {
    usage: &'u Usage,
    uses: Vec<UsageDelta>,
}

/// The number of uses and the last time, for each key.
type Counts = HashMap<KeyId, (u64, SystemTime)>;

/// The maximum number of keys in one write, which blocks other writers.
const BATCH: usize = 500;

impl Usage {
    pub(super) fn new(registry: Arc<dyn ErasedRegistry>, clock: Clock, interval: Duration) -> Arc<Self> {
        let counts = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self {
            registry,
            clock,
            interval,
            counts,
            is_due: AtomicBool::new(false),
            alarm: Alarm::new(Work::Usage, interval),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Counts the use of a verified key, even if a guard rejected the request.
    pub(super) fn count(self: &Arc<Self>, decision: &Decision) {
        let is_use = match decision.outcome() {
            Outcome::Accepted => true,
            Outcome::Refused(reason) => is_use(reason.problem()),
            Outcome::Anonymous | Outcome::Skipped | Outcome::Preflight | Outcome::Abandoned => false,
        };
        if let Some(id) = decision.key_id().filter(|_| is_use) {
            self.add(thread_index(), id.clone(), 1, self.clock.now());
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
        let mut all = Counts::new();
        for place in 0..SHARDS {
            for (id, (count, last_at)) in std::mem::take(&mut *self.place(place)) {
                add(&mut all, id, count, last_at);
            }
        }
        all.into_iter().map(|(id, (count, last_at))| UsageDelta { id, count, last_used_at: last_at }).collect()
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
            tokio::time::sleep(usage.interval).await;
            usage.is_due.store(false, Ordering::Relaxed);
            if usage.flush().await.is_err() {
                usage.write_in_an_interval();
            }
        });
    }

    fn add(&self, place: usize, id: KeyId, count: u64, last_at: SystemTime) {
        add(&mut self.place(place), id, count, last_at);
    }

    fn place(&self, place: usize) -> MutexGuard<'_, Counts> {
        self.counts[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        for UsageDelta { id, count, last_used_at: last_at } in self.uses.drain(..) {
            self.usage.add(0, id, count, last_at);
        }
    }
}

/// Returns whether a rejection counts as a use of the key: the key was verified, and a guard
/// rejected the request. When you add a [`Problem`], add it to this match.
fn is_use(problem: Problem) -> bool {
    match problem {
        Problem::Forbidden | Problem::NotFound => true,
        Problem::MissingKey
        | Problem::MalformedCredential
        | Problem::AmbiguousCredential
        | Problem::InvalidKey
        | Problem::TooManyRequests
        | Problem::Internal
        | Problem::Unavailable => false,
    }
}

fn add(counts: &mut Counts, id: KeyId, count: u64, last_at: SystemTime) {
    let entry = counts.entry(id).or_insert((0, last_at));
    *entry = (entry.0 + count, entry.1.max(last_at));
}
