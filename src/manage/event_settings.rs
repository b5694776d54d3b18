//! The settings of a manager's events.

use std::{sync::Arc, time::Duration};

use super::{KeyManagerBuilder, follower::FollowerSettings};
use crate::event::{EventCursor, KeyEvent};

/// How often a manager with hooks looks for the changes of other nodes.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// How long events are kept.
const KEEP: Duration = Duration::from_secs(90 * 24 * 3_600);

// === impl KeyManagerBuilder, FollowerSettings ===

impl KeyManagerBuilder {
    /// Calls `hook` for every change of a key, after the change is durable. [`KeyEvent`] has an
    /// example.
    ///
    /// If the registry keeps events, the hook sees the changes of all nodes and of other programs,
    /// and the expiry of keys, in the order of the events. A change by this manager reaches it at
    /// once, in another task; any other change within a second
    /// ([`event_interval`](Self::event_interval)). Each process with the hook calls it once for
    /// each event, even if the registry fails in between. The hook sees the changes made while the
    /// process runs. For earlier ones, see [`events_from`](Self::events_from).
    ///
    /// If the registry keeps no events, the hook sees the changes by this manager only, before the
    /// call that made the change returns.
    ///
    /// Several hooks run in the order in which you add them. A hook must not block. If it panics,
    /// the change remains, and the other hooks run. Call [`build`](Self::build) in a tokio runtime:
    /// without one, the hooks see the changes from the first call of the manager on.
    pub fn on_event(mut self, hook: impl Fn(&KeyEvent) + Send + Sync + 'static) -> Self {
        self.events.hooks.push(Arc::new(hook));
        self
    }

    /// Sets the event after which the hooks start; the default is the newest one when the process
    /// starts.
    ///
    /// Store the cursor of each event that a hook has handled. At the next start, the hooks see
    /// each later event. They see an event again if the process ended before its cursor was stored.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, manage::EventCursor, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let stored = "0"; // from a file, or a table of your own
    /// let manager = KeyManager::builder(MemoryStore::new())
    ///     .format(KeyFormat::new("acme")?)
    ///     .on_event(|event| println!("{}, and store {:?}", event.kind(), event.cursor()))
    ///     .events_from(stored.parse()?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn events_from(mut self, cursor: EventCursor) -> Self {
        self.events.start = Some(cursor);
        self
    }

    /// Sets how often a manager with hooks looks for the changes of other nodes and programs; the
    /// default is one second.
    pub fn event_interval(mut self, interval: Duration) -> Self {
        self.events.interval = interval;
        self
    }

    /// Sets how long events are kept; the default is 90 days.
    ///
    /// Every node that manages keys deletes older events once a minute. If nodes have different
    /// settings, the shortest one counts. A consumer that is further behind misses events.
    pub fn keep_events(mut self, time: Duration) -> Self {
        self.events.keep = time;
        self
    }
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self { hooks: Vec::new(), start: None, interval: FOLLOW_INTERVAL, keep: KEEP }
    }
}
