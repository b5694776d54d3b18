//! Follows the events of the registry: calls the hooks, writes the events of keys that have
//! expired, and deletes old events.
//!
//! A manager has one follower. It keeps its position in the order of the events, so it calls each
//! hook once for each event, even if the registry fails in between. A failure is retried after a
//! pause.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::{
    CALL_TIMEOUT, Hook, ManageError,
    erased::{Done, ErasedRegistry},
    failure_log::{Alarm, Work},
};
use crate::{
    clock::{Clock, Stopwatch, to_micros},
    event::{EventCursor, KeyEvent},
};

pub(super) struct Follower {
    registry: Arc<dyn ErasedRegistry>,
    clock: Clock,
    settings: FollowerSettings,
    /// After the last event that the hooks have seen; `None` until the follower has started.
    position: tokio::sync::Mutex<Option<EventCursor>>,
    /// Whether the registry keeps events, once it has said so.
    is_kept: OnceLock<bool>,
    signals: Arc<Signals>,
    alarm: Alarm,
}

#[derive(Clone)]
pub(super) struct FollowerSettings {
    pub(super) hooks: Vec<Hook>,
    pub(super) start: Option<EventCursor>,
    pub(super) interval: Duration,
    pub(super) keep: Duration,
}

#[derive(Default)]
struct Signals {
    wake: Notify,
    is_running: AtomicBool,
}

/// The task of a follower, until it ends or its runtime does.
struct FollowerTask {
    follower: Weak<Follower>,
    signals: Arc<Signals>,
    expiries: Option<Stopwatch>,
    pruning: Option<Stopwatch>,
    pause: Duration,
}

/// The number of events that are read at a time.
const BATCH: usize = 100;

/// The number of expiries that are written, or of events that are deleted, in one transaction.
const UPKEEP_BATCH: usize = 500;

/// How often expired keys are looked for.
const EXPIRIES: Duration = Duration::from_secs(10);

/// How often old events are deleted.
const PRUNING: Duration = Duration::from_secs(60);

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

// === impl Follower ===

impl Follower {
    pub(super) fn new(registry: Arc<dyn ErasedRegistry>, clock: Clock, settings: FollowerSettings) -> Arc<Self> {
        Arc::new(Self {
            registry,
            clock,
            alarm: Alarm::new(Work::Events, LONGEST_PAUSE),
            settings,
            position: tokio::sync::Mutex::default(),
            is_kept: OnceLock::new(),
            signals: Arc::default(),
        })
    }

    /// Starts the task if there is a runtime, without waiting for its position.
    pub(super) fn start(self: &Arc<Self>) {
        if !self.settings.hooks.is_empty()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let follower = Arc::clone(self);
            runtime.spawn(async move { follower.started().await });
        }
    }

    /// Waits until the follower has its position, so that the hooks see every change that is made
    /// after this call. If the registry fails, the next call tries again.
    pub(super) async fn started(self: &Arc<Self>) {
        if self.signals.is_running.load(Ordering::Acquire) {
            return;
        }
        if self.settings.hooks.is_empty() {
            return self.spawn();
        }
        let mut position = self.position.lock().await;
        if position.is_none() && self.is_kept.get() != Some(&false) {
            match self.in_time(Arc::clone(&self.registry).newest_event()).await {
                Ok(newest) => {
                    let _ = self.is_kept.set(newest.is_some());
                    *position = newest.map(|newest| self.settings.start.unwrap_or(newest));
                }
                Err(error) => return self.alarm.failed(&error),
            }
        }
        self.spawn();
    }

    /// Wakes the follower after a change by this manager. If the registry keeps no events, calls
    /// the hooks with the event.
    pub(super) fn changed(&self, event: impl FnOnce() -> KeyEvent) {
        if self.settings.hooks.is_empty() {
            return;
        }
        if self.is_kept.get() == Some(&true) {
            self.signals.wake.notify_one();
        } else {
            self.call_hooks(&event());
        }
    }

    fn spawn(self: &Arc<Self>) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !self.signals.is_running.swap(true, Ordering::AcqRel)
        {
            let (follower, signals) = (Arc::downgrade(self), Arc::clone(&self.signals));
            let task = FollowerTask { follower, signals, expiries: None, pruning: None, pause: Duration::ZERO };
            runtime.spawn(task.run());
        }
    }

    /// Calls the hooks for all events that they have not seen.
    async fn deliver(&self) -> Result<(), ManageError> {
        let mut position = self.position.lock().await;
        while let Some(cursor) = *position {
            let events = self.in_time(Arc::clone(&self.registry).events_since(cursor, BATCH)).await?;
            let events = events.unwrap_or_default();
            if events.is_empty() {
                break;
            }
            for event in events {
                self.call_hooks(&event);
                *position = event.cursor().or(*position);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn call_hooks(&self, event: &KeyEvent) {
        for hook in &self.settings.hooks {
            // The change is durable already: a panic of a hook does not undo it.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(event)));
        }
    }

    async fn write_expiries(&self) -> Result<(), ManageError> {
        let now = to_micros(self.clock.now());
        let batch = || self.in_time(Arc::clone(&self.registry).record_expiries(now, UPKEEP_BATCH));
        while batch().await? == UPKEEP_BATCH {}
        Ok(())
    }

    async fn prune(&self) -> Result<(), ManageError> {
        let Some(before) = self.clock.now().checked_sub(self.settings.keep) else { return Ok(()) };
        let batch = || self.in_time(Arc::clone(&self.registry).prune_events(before, UPKEEP_BATCH));
        while batch().await? == UPKEEP_BATCH {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn in_time<T>(&self, work: Done<T>) -> Result<T, ManageError> {
        let slow = |_| Err(ManageError::Store("the key store timed out".into()));
        timeout(CALL_TIMEOUT, work).await.unwrap_or_else(slow)
    }
}

// === impl FollowerTask ===

impl FollowerTask {
    async fn run(mut self) {
        while let Some(follower) = self.follower.upgrade() {
            let usual = if follower.settings.hooks.is_empty() { EXPIRIES } else { follower.settings.interval };
            match self.turn(&follower).await {
                Ok(()) => self.pause = usual,
                Err(error) => {
                    follower.alarm.failed(&error);
                    self.pause = self.pause.saturating_mul(2).clamp(Duration::from_millis(100), LONGEST_PAUSE);
                }
            }
            // The managers are gone if nothing else holds the follower.
            drop(follower);
            let _ = timeout(self.pause, self.signals.wake.notified()).await;
        }
    }

    async fn turn(&mut self, follower: &Follower) -> Result<(), ManageError> {
        let is_due =
            |last: &Option<Stopwatch>, every| last.as_ref().is_none_or(|last: &Stopwatch| last.elapsed() >= every);
        if is_due(&self.expiries, EXPIRIES) {
            follower.write_expiries().await?;
            self.expiries = Some(Stopwatch::start());
        }
        follower.deliver().await?;
        if is_due(&self.pruning, PRUNING) {
            follower.prune().await?;
            self.pruning = Some(Stopwatch::start());
        }
        Ok(())
    }
}

impl Drop for FollowerTask {
    fn drop(&mut self) {
        self.signals.is_running.store(false, Ordering::Release);
    }
}
