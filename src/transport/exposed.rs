//! Finds the keys that came in clear text and work, so that the application can revoke them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::runtime::Handle;

use crate::{key::Digests, record::KeyRecord};

/// Handles a key that works and came in clear text.
pub(crate) type OnExposed = Arc<dyn Fn(KeyRecord) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The handler of exposed keys, and how many lookups are left.
pub(crate) struct ExposedKeys {
    handle: OnExposed,
    window: Mutex<Window>,
}

/// The lookups of one minute.
struct Window {
    begin: SystemTime,
    left: u32,
}

/// How many keys are looked up in a minute. A client that guesses keys in clear text, to have them
/// revoked, has so many guesses.
const LOOKUPS: u32 = 60;

const MINUTE: Duration = Duration::from_secs(60);

impl ExposedKeys {
    pub(crate) fn new(handle: OnExposed) -> Self {
        Self { handle, window: Mutex::new(Window { begin: SystemTime::UNIX_EPOCH, left: 0 }) }
    }

    /// Looks up a key in a task of its own, so that the response does not wait for it. `find`
    /// returns the record of a key that works.
    pub(crate) fn look_up<F>(&self, now: SystemTime, digests: Digests, find: impl FnOnce(Digests) -> F)
    where
        F: Future<Output = Option<KeyRecord>> + Send + 'static,
    {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.takes(now) {
            return;
        }
        let (handle, found) = (Arc::clone(&self.handle), find(digests));
        runtime.spawn(async move {
            if let Some(record) = found.await {
                handle(record).await;
            }
        });
    }

    fn takes(&self, now: SystemTime) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // A minute begins also if the clock was set back.
        if !now.duration_since(window.begin).is_ok_and(|age| age < MINUTE) {
            *window = Window { begin: now, left: LOOKUPS };
        }
        let left = window.left.checked_sub(1);
        window.left = left.unwrap_or(0);
        left.is_some()
    }
}
