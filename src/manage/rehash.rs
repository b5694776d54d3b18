//! Moves keys to the newest pepper when they are used, beside the requests.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::erased::ErasedRegistry;
use crate::{
    observe::{Decision, Outdated},
    record::KeyId,
};

pub(super) struct Rehash {
    registry: Arc<dyn ErasedRegistry>,
    /// The keys that are being moved, each once, however often they are used meanwhile.
    moving: Mutex<HashSet<KeyId>>,
}

/// A key that is being moved, until this is dropped.
struct Moving {
    rehash: Arc<Rehash>,
    id: KeyId,
}

impl Rehash {
    pub(super) fn new(registry: Arc<dyn ErasedRegistry>) -> Arc<Self> {
        Arc::new(Self { registry, moving: Mutex::default() })
    }

    /// Moves the key of an accepted request, if it has to be. What fails is tried again at the next use.
    pub(super) fn note(self: &Arc<Self>, decision: &Decision) {
        let (Some(id), Some(Outdated { used, newest })) = (decision.key_id(), decision.outdated()) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.moving().insert(id.clone()) {
            let moving = Moving { rehash: Arc::clone(self), id: id.clone() };
            runtime.spawn(async move {
                let registry = Arc::clone(&moving.rehash.registry);
                let _ = registry.rehash(moving.id.clone(), used, newest).await;
            });
        }
    }

    fn moving(&self) -> MutexGuard<'_, HashSet<KeyId>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.rehash.moving().remove(&self.id);
    }
}
