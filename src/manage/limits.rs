//! How many keys there may be, and how much they may ask for.

use super::KeyManagerBuilder;
#[cfg(feature = "limits")]
use crate::{
    limit::{Limits, Remaining},
    manage::{Actor, KeyManager, ManageError},
    record::KeyId,
};

impl KeyManagerBuilder {
    /// Limits the keys of a user in one organization; the default is 1,000.
    ///
    /// Disabled keys count, and replaced keys until the end of their grace period. Expired and
    /// revoked keys do not count. Replacing a key is always possible. Beyond the limit, every actor
    /// gets [`RegistryError::LimitReached`](crate::store::RegistryError::LimitReached).
    pub fn keys_per_user(mut self, max: u32) -> Self {
        self.keys_per_user = max;
        self
    }

    /// Limits the service-account keys of one organization; the default is 1,000.
    ///
    /// The limit keeps an actor with `apiKeys: create` from filling the disk. It counts keys as
    /// [`keys_per_user`](Self::keys_per_user) does, and applies to trusted actors too. Keys without
    /// an organization share one limit.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new())
    ///     .format(KeyFormat::new("acme")?)
    ///     .service_accounts_per_organization(50_000)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn service_accounts_per_organization(mut self, max: u32) -> Self {
        self.bots_per_organization = max;
        self
    }

    /// Limits how much each key may ask for, in all layers of this manager: see
    /// [`ApiKeyLayerBuilder::limits`](crate::layer::ApiKeyLayerBuilder::limits). Set no other ones
    /// on such a layer: [`KeyManager::remaining`](super::KeyManager::remaining) reads these.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, limit::{Limit, Limits, Plans, Rate}, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let plans = Plans::new().plan("free", [Limit::rate("burst", Rate::per_second(10))]).default_plan("free");
    /// let manager = KeyManager::builder(MemoryStore::new())
    ///     .format(KeyFormat::new("acme")?)
    ///     .limits(Limits::in_process(plans).build()?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "limits")]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        #[cfg(feature = "admin-api")]
        {
            self.http.is_limited = true;
        }
        self
    }
}

#[cfg(feature = "limits")]
impl KeyManager {
    /// Returns what is left of the limits of a key on all nodes: see [`Limits::look`]. Charges
    /// nothing. Returns `None` if the manager has no limits, or if the key has an unknown plan.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, manage::{Actor, ManageError}};
    ///
    /// async fn print(manager: &KeyManager, actor: &Actor) -> Result<(), ManageError> {
    ///     for left in manager.remaining(actor, "key_1").await?.unwrap_or_default() {
    ///         println!("{}: {} of {}", left.limit, left.requests, left.most);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`read`).
    pub async fn remaining(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<Option<Vec<Remaining>>, ManageError> {
        let look = |limits: Limits, record| async move { Ok(limits.look(&record).await?) };
        self.with_limits(actor, id.into(), look).await.map(Option::flatten)
    }
}
