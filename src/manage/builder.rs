//! The builder of a [`KeyManager`].

use std::{fmt, sync::Arc, time::SystemTime};

use super::{
    KeyManager, ManagerState,
    concurrency::ActorQueues,
    erased::ErasedRegistry,
    follower::{Follower, FollowerSettings},
    formats::Formats,
    presentable::Policies,
    rehash::Rehash,
    usage::{Usage, UsageSettings},
};
use crate::{
    clock::Clock,
    error::ConfigError,
    key::{KeyFormat, KeyHasher, Mask},
    live::Sources,
    record::{ExpiryPolicies, Validity},
    scheme::{KEY_LEN_LIMIT, MAX_KEY_LEN, Reader, SchemePolicy},
    store::{ErasedStore, IDEMPOTENCY_LIFETIME, KeyRegistry},
};

/// Configures a [`KeyManager`]. Set at least one format; all other settings have defaults.
///
/// A clone of the builder shares the registry and the event hooks.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::{KeyFormat, KeyHasher, KeyManager, Mask, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = KeyManager::builder(MemoryStore::new())
///     .format(KeyFormat::new("acme")?)
///     .environment("test", KeyFormat::new("acme_test")?)
///     .hasher(KeyHasher::sha256())
///     .keys_per_user(1)
///     .mask(Mask::LastFour)
///     .unseen_bits(100)
///     .max_key_len(256)
///     .usage_interval(Duration::from_secs(60))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct KeyManagerBuilder {
    store: Arc<dyn ErasedStore>,
    registry: Arc<dyn ErasedRegistry>,
    formats: Formats,
    hasher: KeyHasher,
    mask: Mask,
    unseen_bits: u32,
    policy: SchemePolicy,
    clock: Clock,
    max_key_len: usize,
    pub(super) keys_per_user: u32,
    pub(super) bots_per_organization: u32,
    pub(super) idempotency_lifetime: std::time::Duration,
    pub(super) usage: UsageSettings,
    pub(super) events: FollowerSettings,
    #[cfg(feature = "admin-api")]
    pub(super) http: super::http::HttpSettings,
    pub(super) expiry: ExpiryPolicies,
    pub(super) sources: Sources,
    #[cfg(feature = "limits")]
    pub(super) limits: Option<crate::limit::Limits>,
}

/// The default limit of keys per user, and of service-account keys per organization.
const DEFAULT_KEY_LIMIT: u32 = 1_000;

impl KeyManagerBuilder {
    pub(super) fn new(registry: impl KeyRegistry) -> Self {
        let registry = Arc::new(registry);
        Self {
            store: Arc::clone(&registry) as Arc<dyn ErasedStore>,
            registry,
            formats: Formats::default(),
            hasher: KeyHasher::default(),
            mask: Mask::default(),
            unseen_bits: Mask::UNSEEN_BITS,
            policy: SchemePolicy::default(),
            clock: Clock::system(),
            max_key_len: MAX_KEY_LEN,
            keys_per_user: DEFAULT_KEY_LIMIT,
            bots_per_organization: DEFAULT_KEY_LIMIT,
            idempotency_lifetime: IDEMPOTENCY_LIFETIME,
            usage: UsageSettings::default(),
            events: FollowerSettings::default(),
            #[cfg(feature = "admin-api")]
            http: super::http::HttpSettings::default(),
            expiry: ExpiryPolicies::default(),
            sources: Sources::default(),
            #[cfg(feature = "limits")]
            limits: None,
        }
    }

    /// Sets the format of keys without an environment. It also applies to each environment for
    /// which you set no format.
    pub fn format(mut self, format: KeyFormat) -> Self {
        self.formats.plain = Some(format);
        self
    }

    /// Sets the format of keys in this environment. A second format for the same environment
    /// replaces the first.
    pub fn environment(mut self, environment: impl Into<String>, format: KeyFormat) -> Self {
        let environment = environment.into();
        self.formats.by_environment.retain(|(name, _)| *name != environment);
        self.formats.by_environment.push((environment, format));
        self
    }

    /// Also accepts keys of this format, which another system issued: see [`KeyManager::import`].
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new())
    ///     .format(KeyFormat::new("acme_v2")?)
    ///     .also_accept(KeyFormat::new("acme")?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn also_accept(mut self, format: KeyFormat) -> Self {
        self.formats.others.push(format);
        self
    }

    /// Accepts imported keys of any format. [`KeyManager::import`] has an example.
    ///
    /// The layer then looks up every key in the store, mistyped keys too.
    pub fn accept_any_format(mut self) -> Self {
        self.formats.any = true;
        self
    }

    /// Sets the hasher; the default is SHA-256.
    ///
    /// A new hasher makes all stored keys unknown, unless it includes the old one: see
    /// [`KeyHasher::with_previous`], which has an example.
    pub fn hasher(mut self, hasher: KeyHasher) -> Self {
        self.hasher = hasher;
        self
    }

    /// Sets which part of a key is shown in lists; the default is [`Mask::FirstAndLast`].
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self
    }

    /// Sets how many random bits of a key its mask must hide; the default is 80.
    pub fn unseen_bits(mut self, bits: u32) -> Self {
        self.unseen_bits = bits;
        self
    }

    /// Sets the default schemes of the manager's layers; without it, `Bearer`, `Token` and
    /// `X-API-Key`.
    ///
    /// A layer can replace them with
    /// [`ApiKeyLayerBuilder::schemes`](crate::layer::ApiKeyLayerBuilder::schemes).
    /// [`KeyManager::import`] rejects a key that no scheme can carry, such as `user1:part` with
    /// `Authorization: Bearer`, which allows token68 characters only.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, Scheme, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// # let format = KeyFormat::new("acme").unwrap();
    /// let manager = KeyManager::builder(MemoryStore::new())
    ///     .format(format)
    ///     .schemes([Scheme::bearer()])
    ///     .build()?;
    /// assert_eq!(manager.layer().build()?.schemes().schemes(), [Scheme::bearer()]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn schemes(mut self, schemes: impl Into<SchemePolicy>) -> Self {
        self.policy = schemes.into();
        self
    }

    /// Sets the maximum length of presented and imported keys in bytes, 1 to 4096; the default is
    /// [`MAX_KEY_LEN`]. [`KeyManager::layer`] passes it to
    /// [`ApiKeyLayerBuilder::max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len).
    pub fn max_key_len(mut self, bytes: usize) -> Self {
        self.max_key_len = bytes;
        self
    }

    /// Replaces the system clock, in the manager's layers too. For tests.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new())
    ///     .format(KeyFormat::new("acme")?)
    ///     .clock(|| SystemTime::UNIX_EPOCH)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }

    /// Checks the settings and builds the manager.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::NoFormat`] without a format: add one with [`format`](Self::format) or
    ///   [`environment`](Self::environment).
    /// - [`ConfigError::ForeignFormat`] for a format that cannot generate keys: use
    ///   [`also_accept`](Self::also_accept) for it.
    /// - [`ConfigError::MaxKeyLen`] for a length outside 1 to 4096, or shorter than the issued
    ///   keys.
    /// - [`ConfigError::ExpiryPolicy`] for a policy with bounds that contradict each other.
    /// - The errors of a scheme, as listed for
    ///   [`ApiKeyLayerBuilder::build`](crate::layer::ApiKeyLayerBuilder::build).
    pub fn build(self) -> Result<KeyManager, ConfigError> {
        self.formats.check()?;
        if !(self.formats.longest()..=KEY_LEN_LIMIT).contains(&self.max_key_len) {
            return Err(ConfigError::MaxKeyLen(self.max_key_len));
        }
        Reader::new(&self.policy, self.max_key_len)?;
        if let Some(why) = self.expiry.contradiction() {
            return Err(ConfigError::ExpiryPolicy(why.to_owned()));
        }
        let usage = Usage::new(Arc::clone(&self.registry), self.clock.clone(), self.usage);
        let rehash = Rehash::new(Arc::clone(&self.registry), self.clock.clone());
        let follower = Follower::new(Arc::clone(&self.registry), self.clock.clone(), self.events);
        follower.start();
        Ok(KeyManager(Arc::new(ManagerState {
            store: self.store,
            registry: self.registry,
            formats: self.formats,
            hasher: self.hasher,
            mask: self.mask,
            unseen_bits: self.unseen_bits,
            policies: Arc::new(Policies::new(self.policy)),
            validity: Validity::new(self.clock, self.expiry),
            sources: self.sources,
            max_key_len: self.max_key_len,
            keys_per_user: self.keys_per_user,
            bots_per_organization: self.bots_per_organization,
            idempotency_lifetime: self.idempotency_lifetime,
            turns: ActorQueues::new(),
            usage,
            rehash,
            follower,
            #[cfg(feature = "admin-api")]
            http: self.http,
            #[cfg(feature = "limits")]
            limits: self.limits,
        })))
    }
}

impl fmt::Debug for KeyManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyManagerBuilder").field("formats", &self.formats).finish_non_exhaustive()
    }
}
