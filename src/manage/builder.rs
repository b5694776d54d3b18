//! The settings of a manager, checked when it is built.

use std::{fmt, sync::Arc, time::Duration, time::SystemTime};

use super::{
    KeyManager, ManagerState,
    concurrency::ActorQueues,
    erased::ErasedRegistry,
    event::{Hook, KeyEvent},
    formats::Formats,
    presentable::Policies,
    rehash::Rehash,
    usage::Usage,
};
use crate::{
    clock::Clock,
    error::ConfigError,
    key::{KeyFormat, KeyHasher, Mask},
    scheme::{KEY_LEN_LIMIT, MAX_KEY_LEN, Reader, SchemePolicy},
    store::{ErasedStore, KeyRegistry},
};

/// The settings of a [`KeyManager`]. At least one format is needed; the other defaults stand at each setting.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyManager, Mask, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = KeyManager::builder(MemoryStore::new())
///     .environment("live", KeyFormat::new("acme_live")?)
///     .environment("test", KeyFormat::new("acme_test")?)
///     .keys_per_user(1)
///     .mask(Mask::LastFour)
///     .build()?;
/// # Ok(())
/// # }
/// ```
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
    keys_per_user: u32,
    bots_per_organization: u32,
    usage_interval: Duration,
    hooks: Vec<Hook>,
}

/// How many keys a user, and the bots of an organization, may have unless it is said.
const MOST_KEYS: u32 = 1_000;

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
            keys_per_user: MOST_KEYS,
            bots_per_organization: MOST_KEYS,
            usage_interval: Duration::from_secs(10),
            hooks: Vec::new(),
        }
    }

    /// Makes keys of this format, where no environment is named.
    pub fn format(mut self, format: KeyFormat) -> Self {
        self.formats.plain = Some(format);
        self
    }

    /// Makes keys of this format for this environment. Named twice, the second format counts.
    pub fn environment(mut self, environment: impl Into<String>, format: KeyFormat) -> Self {
        let environment = environment.into();
        self.formats.by_environment.retain(|(name, _)| *name != environment);
        self.formats.by_environment.push((environment, format));
        self
    }

    /// Takes keys of this format too, from elsewhere: see [`KeyManager::import`].
    pub fn also_accept(mut self, format: KeyFormat) -> Self {
        self.formats.others.push(format);
        self
    }

    /// Takes keys of whatever form from elsewhere. Every key is then looked up, mistyped ones too.
    pub fn accept_any_format(mut self) -> Self {
        self.formats.any = true;
        self
    }

    /// Hashes keys like this; with SHA-256 otherwise. Changing it makes every key that is stored unknown, unless the new hasher
    /// knows the old one: see [`KeyHasher::with_previous`].
    pub fn hasher(mut self, hasher: KeyHasher) -> Self {
        self.hasher = hasher;
        self
    }

    /// What is shown of a key later; the head and the tail otherwise.
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self
    }

    /// Shows a part of a key only if so many random bits of it stay unseen; 80 otherwise.
    pub fn unseen_bits(mut self, bits: u32) -> Self {
        self.unseen_bits = bits;
        self
    }

    /// The schemes that the manager's layers have, unless a layer names others: see
    /// [`ApiKeyLayerBuilder::schemes`](crate::layer::ApiKeyLayerBuilder::schemes). [`KeyManager::import`] refuses a key that none of them can
    /// carry: `user1:part` by `Authorization: Bearer`, which takes token68 alone. `Bearer`, `Token` and `X-API-Key` otherwise.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, Scheme, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// # let format = KeyFormat::new("acme").unwrap();
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).schemes([Scheme::bearer()]).build()?;
    /// assert_eq!(manager.layer().build()?.schemes().schemes(), [Scheme::bearer()]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn schemes(mut self, schemes: impl Into<SchemePolicy>) -> Self {
        self.policy = schemes.into();
        self
    }

    /// Reads and imports keys of up to this many bytes, 1 to 4096; up to [`MAX_KEY_LEN`] otherwise. See
    /// [`ApiKeyLayerBuilder::max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len), which [`KeyManager::layer`] sets to this.
    pub fn max_key_len(mut self, bytes: usize) -> Self {
        self.max_key_len = bytes;
        self
    }

    /// Sets the most keys that a user may have in one organization; 1,000 otherwise. A disabled key counts, and a replaced one until its
    /// grace ends; one that is expired or revoked does not. A replacement itself is always possible. One more is refused with
    /// [`RegistryError::LimitReached`](crate::store::RegistryError::LimitReached), whoever asks for it.
    pub fn keys_per_user(mut self, most: u32) -> Self {
        self.keys_per_user = most;
        self
    }

    /// Sets the most keys of bots that one organization may have; 1,000 otherwise, so that nobody who may create keys fills the disk with
    /// them. They are counted as those of a user are; bots without an organization count among themselves. A trusted actor has no
    /// more: set the limit higher.
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
    pub fn service_accounts_per_organization(mut self, most: u32) -> Self {
        self.bots_per_organization = most;
        self
    }

    /// Writes the uses of keys this long after the first of them: what a crash may lose. 10 seconds otherwise.
    pub fn usage_interval(mut self, interval: Duration) -> Self {
        self.usage_interval = interval;
        self
    }

    /// Tells `hook` of every change, after it is durable. May be called several times; all are told, in order. A hook must not
    /// block; if it panics, the change stands.
    pub fn on_event(mut self, hook: impl Fn(&KeyEvent) + Send + Sync + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Takes the time from `now`, in the layers too, for tests.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }

    /// Checks the settings, and makes the manager.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoFormat`] without a format; [`ConfigError::ForeignFormat`] for one that cannot make keys; what is wrong with a scheme;
    /// [`ConfigError::MaxKeyLen`] for a limit outside of 1 to 4096 bytes, or below the length of the keys that are made.
    pub fn build(self) -> Result<KeyManager, ConfigError> {
        self.formats.check()?;
        if !(self.formats.longest()..=KEY_LEN_LIMIT).contains(&self.max_key_len) {
            return Err(ConfigError::MaxKeyLen(self.max_key_len));
        }
        Reader::new(&self.policy, self.max_key_len)?;
        let usage = Usage::new(Arc::clone(&self.registry), self.clock.clone(), self.usage_interval);
        let rehash = Rehash::new(Arc::clone(&self.registry));
        Ok(KeyManager(Arc::new(ManagerState {
            store: self.store,
            registry: self.registry,
            formats: self.formats,
            hasher: self.hasher,
            mask: self.mask,
            unseen_bits: self.unseen_bits,
            policies: Arc::new(Policies::new(self.policy)),
            clock: self.clock,
            max_key_len: self.max_key_len,
            keys_per_user: self.keys_per_user,
            bots_per_organization: self.bots_per_organization,
            turns: ActorQueues::new(),
            usage,
            rehash,
            hooks: self.hooks,
        })))
    }
}

impl fmt::Debug for KeyManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyManagerBuilder").field("formats", &self.formats).finish_non_exhaustive()
    }
}
