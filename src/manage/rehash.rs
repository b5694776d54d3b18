//! Moves keys to the newest pepper when they are used, beside the requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    ManageError, PATIENCE,
    erased::ErasedRegistry,
    failure_log::{Alarm, Work},
};
use crate::observe::{Decision, PreviousPepper};

/// One key at a time, so that other changes do not wait behind a crowd of them. A key that is not moved now is at a later use.
pub(super) struct Rehash {
    registry: Arc<dyn ErasedRegistry>,
    is_moving: AtomicBool,
    alarm: Alarm,
}

/// One line in so long says that keys do not move.
const ALARM_INTERVAL: Duration = Duration::from_secs(10);

/// A key that is being moved, until this is dropped.
struct Moving(Arc<Rehash>);

impl Rehash {
    pub(super) fn new(registry: Arc<dyn ErasedRegistry>) -> Arc<Self> {
        Arc::new(Self { registry, is_moving: AtomicBool::new(false), alarm: Alarm::new(Work::Rehash, ALARM_INTERVAL) })
    }

    /// Moves the key of a request, if it has to be.
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
                let moved = Arc::clone(&moving.0.registry).rehash(id, used, newest);
                let slow = |_| Err(ManageError::Store("the key store is too slow".into()));
                if let Err(error @ ManageError::Store(_)) =
                    tokio::time::timeout(PATIENCE, moved).await.unwrap_or_else(slow)
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
