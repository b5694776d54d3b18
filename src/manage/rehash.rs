//! Rehashes used keys to the current pepper, in the background.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    CALL_TIMEOUT, ManageError,
    erased::ErasedRegistry,
    failure_log::{Alarm, Work},
};
use crate::{
    clock::Clock,
    observe::{Decision, PreviousPepper},
    record::Author,
    store::ChangeContext,
};

/// Rehashes one key at a time, so that other changes do not wait for many rehashes. A key that is
/// used during a rehash is skipped, and rehashed at a later use.
pub(super) struct Rehash {
    registry: Arc<dyn ErasedRegistry>,
    clock: Clock,
    is_moving: AtomicBool,
    alarm: Alarm,
}

/// The interval in which at most one failed rehash is logged.
const ALARM_INTERVAL: Duration = Duration::from_secs(10);

/// Marks that a rehash is running. Dropping the value removes the mark.
struct Moving(Arc<Rehash>);

impl Rehash {
    pub(super) fn new(registry: Arc<dyn ErasedRegistry>, clock: Clock) -> Arc<Self> {
        let alarm = Alarm::new(Work::Rehash, ALARM_INTERVAL);
        Arc::new(Self { registry, clock, is_moving: AtomicBool::new(false), alarm })
    }

    /// Rehashes the key of a request that used a previous pepper.
    pub(super) fn note(self: &Arc<Self>, decision: &Decision) {
        let (Some(id), Some(&PreviousPepper { used, newest, moves: true })) = (decision.key_id(), decision.outdated())
        else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.is_moving.swap(true, Ordering::Relaxed) {
            let (moving, id) = (Moving(Arc::clone(self)), id.clone());
            runtime.spawn(async move {
                let context = ChangeContext::new(Author::System).at(moving.0.clock.now());
                let moved = Arc::clone(&moving.0.registry).rehash(id, used, newest, context);
                let slow = |_| Err(ManageError::Store("the key store timed out".into()));
                if let Err(error @ ManageError::Store(_)) =
                    tokio::time::timeout(CALL_TIMEOUT, moved).await.unwrap_or_else(slow)
                {
                    moving.0.alarm.failed(&error);
                }
            });
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.is_moving.store(false, Ordering::Relaxed);
    }
}
