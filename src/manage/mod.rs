//! Managing keys: issue, regenerate, rotate, edit, disable, revoke.
//!
//! | the actor is             | write                                                           |
//! |--------------------------|-----------------------------------------------------------------|
//! | a caller with a key      | `Actor::from(&principal)`                                       |
//! | a signed-in user         | [`Actor::trusted`]: your application has authenticated the user |
//! | the first start          | [`Actor::trusted`], with [`KeyManager::bootstrap`]              |
//!
//! Each call checks the actor first. It then changes the registry in one transaction, which checks
//! the actor's key again. Last, it calls the event hooks. A call finishes even if its caller
//! disconnects, so that no hook misses a change; this requires a tokio runtime.
//!
//! # Errors
//!
//! Besides the errors that each method lists, any method can return [`ManageError::ActorInvalid`],
//! and [`ManageError::Store`] if the registry fails. [`ManageError::status`] maps an error to an
//! HTTP status. With the feature `axum` the error is a response too.
//!
//! # Logs and metrics
//!
//! A failure of the registry or of the random number generator is logged with its cause: as an
//! `ERROR` event with the target `tower_api_key` (feature `tracing`), otherwise as a line on
//! standard error. Failed usage writes and failed rehashes are logged once per interval.
//!
//! | counter (feature `metrics`)      | counts                                          |
//! |----------------------------------|-------------------------------------------------|
//! | `api_key_manage_errors_total`    | failed calls                                    |
//! | `api_key_usage_errors_total`     | failed attempts to write usage                  |
//! | `api_key_rehash_errors_total`    | failed attempts to rehash a key                 |
//! | `api_key_events_errors_total`    | failed attempts to follow the events            |

mod actor;
mod addresses;
mod builder;
mod call_details;
mod concurrency;
#[cfg(feature = "limits")]
mod credits;
mod edit;
mod erased;
mod error;
mod event_settings;
#[cfg(feature = "admin-api")]
mod event_view;
mod events;
mod expiring;
mod expiry;
mod failure_log;
mod find;
mod follower;
mod formats;
#[cfg(feature = "admin-api")]
mod http;
mod idempotency;
mod import;
mod import_many;
mod issue;
mod leak;
mod limiting;
mod limits;
mod many;
mod own;
#[cfg(feature = "admin-api")]
mod own_view;
mod prepared;
mod presentable;
#[cfg(feature = "axum")]
pub(crate) mod problem;
mod query;
mod rehash;
mod replace_all;
mod request;
mod revoke;
mod roles;
mod rotate;
mod run;
mod sources;
mod status;
mod sweep;
mod update_key;
mod usage;
mod validation;
#[cfg(feature = "admin-api")]
mod view;
#[cfg(feature = "admin-api")]
pub(crate) mod wiped;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use crate::event::{
    EventCursor, EventFilter, FieldChange, FieldValue, InvalidEventCursor, InvalidEventKind, KeyEvent, KeyEventKind,
    KeyField, Leak,
};
pub use crate::{record::ExpiryPolicy, store::BulkChange};
pub use actor::Actor;
pub use builder::KeyManagerBuilder;
pub use error::ManageError;
#[cfg(feature = "admin-api")]
pub use event_view::EventView;
pub use events::EventPage;
#[cfg(feature = "dashboard")]
pub(crate) use failure_log::failed_session;
pub use import_many::ImportKey;
pub use leak::{LeakAction, LeakOutcome};
pub use many::{BulkResult, ChangeMany};
#[cfg(feature = "admin-api")]
pub use own_view::OwnKeyView;
pub use prepared::PreparedKey;
pub use query::Page;
pub use replace_all::{NotReplaced, Replacements};
pub use request::{Issued, NewKey, Rotation};
pub use sweep::{SweepPolicy, SweepResult};
pub use update_key::UpdateKey;
#[cfg(feature = "admin-api")]
pub use view::KeyView;

use crate::{
    clock::to_micros,
    key::{ApiKey, KeyHasher, Mask},
    layer::ApiKeyLayerBuilder,
    live::Sources,
    record::{KeyId, KeyRecord, Owner, Validity},
    store::{ErasedStore, KeyLimit, KeyRegistry},
};
use concurrency::ActorQueues;
use erased::ErasedRegistry;
use follower::Follower;
use formats::Formats;
use presentable::Policies;
use rehash::Rehash;
use usage::Usage;

/// Issues and manages keys in any [`KeyRegistry`]. Clones share all state.
///
/// Call its methods on a tokio runtime; they panic without one.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyManager, Owner, Permissions, store::MemoryStore};
/// use tower_api_key::manage::{Actor, NewKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme")?).build()?;
/// let auth = manager.layer().realm("acme").build()?;
///
/// // At the first start the store is empty: the service itself issues the first key.
/// let all = Permissions::new().grant("apiKeys", "create").grant("stats", "read");
/// let service = Actor::trusted(Owner::ServiceAccount, all.clone());
/// let new = NewKey::service_account("first").permissions(all);
/// if let Some(issued) = manager.bootstrap(&service, new).await? {
///     println!("key first: {}", issued.key().expose());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyManager(Arc<ManagerState>);

type Hook = Arc<dyn Fn(&KeyEvent) + Send + Sync>;

struct ManagerState {
    store: Arc<dyn ErasedStore>,
    registry: Arc<dyn ErasedRegistry>,
    formats: Formats,
    hasher: KeyHasher,
    mask: Mask,
    unseen_bits: u32,
    policies: Arc<Policies>,
    validity: Validity,
    sources: Sources,
    max_key_len: usize,
    keys_per_user: u32,
    bots_per_organization: u32,
    idempotency_lifetime: Duration,
    turns: ActorQueues,
    usage: Arc<Usage>,
    rehash: Arc<Rehash>,
    follower: Arc<Follower>,
    #[cfg(feature = "admin-api")]
    http: http::HttpSettings,
    #[cfg(feature = "limits")]
    limits: Option<crate::limit::Limits>,
}

/// The timeout of a call of the registry. It equals the default timeout of a layer's store.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

// === impl KeyManager ===

impl KeyManager {
    /// Configures a manager of the keys in `registry`.
    pub fn builder(registry: impl KeyRegistry) -> KeyManagerBuilder {
        KeyManagerBuilder::new(registry)
    }

    /// Configures a layer that verifies this manager's keys. It has the manager's store, schemes,
    /// formats, hasher and clock. It counts usage, and rehashes a used key to the current pepper.
    ///
    /// ```
    /// use tower_api_key::{ConfigError, KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # let format = KeyFormat::new("acme").unwrap();
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).build()?;
    /// let auth = manager.layer().realm("acme").optional().build()?;
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn layer(&self) -> ApiKeyLayerBuilder {
        let (usage, rehash) = (Arc::clone(&self.0.usage), Arc::clone(&self.0.rehash));
        let policies = Arc::clone(&self.0.policies);
        let builder = ApiKeyLayerBuilder::new(Arc::clone(&self.0.store));
        #[cfg(feature = "limits")]
        let builder = builder.limits(self.0.limits.clone());
        builder
            .sources(self.0.sources.clone())
            .schemes(self.0.policies.own().clone())
            .when_built(move |policy| policies.note(policy))
            .formats(self.0.formats.layer_formats())
            .hasher(self.0.hasher.clone())
            .max_key_len(self.0.max_key_len)
            .valid_by(&self.0.validity)
            .observe_keys(move |decision| usage.count(decision))
            .observe_keys(move |decision| rehash.note(decision))
    }

    /// Writes the usage counted since the last write, and gives back what the
    /// [limits](KeyManagerBuilder::limits) have leased. Call it before the process exits.
    ///
    /// ```
    /// # async fn shutdown(manager: tower_api_key::KeyManager) {
    /// if let Err(error) = manager.flush().await {
    ///     eprintln!("usage of the last seconds is lost: {error}");
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`]; the usage stays counted, so you can call it again.
    pub async fn flush(&self) -> Result<(), ManageError> {
        let usage = Arc::clone(&self.0.usage);
        let done = tokio::spawn(async move { usage.flush().await }).await;
        #[cfg(feature = "limits")]
        if let Some(limits) = &self.0.limits {
            limits.flush().await?;
        }
        done.unwrap_or_else(|error| Err(ManageError::Store(error.into())))
    }

    /// Returns the clock of the manager.
    #[cfg(feature = "admin-api")]
    pub(crate) fn clock(&self) -> &crate::clock::Clock {
        self.0.validity.clock()
    }

    /// Returns when keys work, for the key views of the HTTP API.
    #[cfg(feature = "admin-api")]
    pub(crate) fn validity(&self) -> &Validity {
        &self.0.validity
    }

    /// Returns the limit that a new key counts against. Every issued key has an owner.
    fn limit_of(&self, record: &KeyRecord) -> Option<KeyLimit> {
        let max = match record.owner()? {
            Owner::User(_) => self.0.keys_per_user,
            Owner::ServiceAccount => self.0.bots_per_organization,
        };
        Some(KeyLimit { max, at: self.now() })
    }

    fn notify(&self, kind: KeyEventKind, record: &KeyRecord, replacement: Option<KeyId>, actor: &Actor) {
        self.0.follower.changed(|| {
            KeyEvent::new(kind, record.id(), record.version(), actor.author(), self.now())
                .with_organization(record.organization().map(str::to_owned))
                .with_environment(record.environment().map(str::to_owned))
                .with_replacement(replacement)
                .with_reason(actor.reason().map(str::to_owned))
                .with_request_id(actor.request_id().map(str::to_owned))
                .with_address(actor.address())
        });
    }

    fn mask(&self, key: &ApiKey) -> String {
        self.0.mask.apply_leaving(key.expose(), self.0.unseen_bits)
    }

    /// The current time in whole microseconds, the precision of every store.
    fn now(&self) -> SystemTime {
        to_micros(self.0.validity.clock().now())
    }
}

impl fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyManager").field("formats", &self.0.formats).finish_non_exhaustive()
    }
}
