//! The settings of usage: how often it is written, and how long it is kept.

use std::time::Duration;

use crate::manage::KeyManagerBuilder;

#[derive(Clone, Copy)]
pub(in crate::manage) struct UsageSettings {
    pub(super) interval: Duration,
    /// The number of days that are kept.
    pub(super) days: u32,
}

impl Default for UsageSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), days: 400 }
    }
}

impl KeyManagerBuilder {
    /// Sets the interval between usage writes; the default is 10 seconds. A crash loses the usage
    /// of one interval at most.
    pub fn usage_interval(mut self, interval: Duration) -> Self {
        self.usage.interval = interval;
        self
    }

    /// Sets for how many days, besides the current one, [`KeyManager::usage`] keeps the usage of a
    /// day; the default is 400. Older days are removed once a day, after a usage write. Use counts
    /// and the time of the last use are kept with the key.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new())
    ///     .format(KeyFormat::new("acme")?)
    ///     .usage_days(90)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`KeyManager::usage`]: crate::KeyManager::usage
    pub fn usage_days(mut self, days: u32) -> Self {
        self.usage.days = days;
        self
    }
}
