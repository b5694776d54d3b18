//! The life of a key: issue, show once, regenerate, rotate, edit, disable, revoke.
//!
//! | who asks                 | is                                                              |
//! |--------------------------|-----------------------------------------------------------------|
//! | a caller with a key      | `Actor::from(&principal)`                                       |
//! | somebody who signed in   | [`Actor::trusted`], vouched for by the product                  |
//! | the first start          | [`Actor::trusted`], with [`KeyManager::bootstrap`]              |
//!
//! Every call checks the actor, changes the registry in one atomic step that checks the actor's key once more, and then tells the hooks. It goes on to its end when its
//! caller goes away, so that no hook misses a change: for that it needs a tokio runtime. Besides what its `# Errors` say it may answer
//! [`ManageError::ActorInvalid`], and [`ManageError::Store`] when the registry fails.
//!
//! Every `Failed` is logged with its cause: as an ERROR event of the target `tower_api_key` with the feature `tracing`, otherwise as a line
//! on standard error. The feature `metrics` counts it in `api_key_manage_errors_total`. Uses that cannot be written are logged once in an
//! interval, and each attempt is counted in `api_key_usage_errors_total`; keys that cannot be moved to another pepper likewise, in
//! `api_key_rehash_errors_total`.

mod actor;
mod builder;
mod concurrency;
mod edit;
mod erased;
mod error;
mod event;
mod failure_log;
mod formats;
#[cfg(feature = "admin-api")]
mod http;
mod issue;
mod presentable;
mod query;
mod rehash;
mod request;
mod revoke;
mod rotate;
mod usage;
mod validation;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use actor::Actor;
pub use builder::KeyManagerBuilder;
pub use error::ManageError;
pub use event::{KeyEvent, KeyEventKind};
pub use query::Page;
pub use request::{Issued, NewKey, Rotation, UpdateKey};

use crate::{
    clock::Clock,
    key::{ApiKey, KeyHasher, Mask},
    layer::ApiKeyLayerBuilder,
    permission::{Action, Permissions},
    record::{KeyId, KeyRecord, Owner},
    store::{ActorKey, ErasedStore, KeyLimit, KeyRegistry, RegistryError},
};
use concurrency::{ActorQueues, WorkKind};
use erased::ErasedRegistry;
use event::Hook;
use formats::Formats;
use presentable::Policies;
use rehash::Rehash;
use usage::Usage;
use validation::{check_permissions, checked_name};

/// Makes keys and manages their life, over any [`KeyRegistry`]. Clones share everything.
///
/// Its methods run on a tokio runtime, and panic without one.
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
/// // At the first start nobody has a key yet: the service itself makes one.
/// let all = Permissions::new().grant("apiKeys", "create").grant("stats", "read");
/// let service = Actor::trusted(Owner::ServiceAccount, all.clone());
/// if let Some(issued) = manager.bootstrap(&service, NewKey::service_account("first").permissions(all)).await? {
///     println!("key first: {}", issued.key().expose());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyManager(Arc<ManagerState>);

struct ManagerState {
    store: Arc<dyn ErasedStore>,
    registry: Arc<dyn ErasedRegistry>,
    formats: Formats,
    hasher: KeyHasher,
    mask: Mask,
    unseen_bits: u32,
    policies: Arc<Policies>,
    clock: Clock,
    max_key_len: usize,
    keys_per_user: u32,
    bots_per_organization: u32,
    turns: ActorQueues,
    usage: Arc<Usage>,
    rehash: Arc<Rehash>,
    hooks: Vec<Hook>,
}

/// How long a store is waited for beside the requests: as long as a layer waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a change is tried that others overtake.
const ATTEMPTS: u32 = 16;

// === impl KeyManager ===

impl KeyManager {
    /// A manager over `registry`.
    pub fn builder(registry: impl KeyRegistry) -> KeyManagerBuilder {
        KeyManagerBuilder::new(registry)
    }

    /// A layer that checks the keys of this manager: with its store, schemes, formats, hasher and clock; it counts uses, and moves a key
    /// that is used to the newest pepper. The rest is yours
    /// to set.
    pub fn layer(&self) -> ApiKeyLayerBuilder {
        let (usage, rehash) = (Arc::clone(&self.0.usage), Arc::clone(&self.0.rehash));
        let policies = Arc::clone(&self.0.policies);
        ApiKeyLayerBuilder::new(Arc::clone(&self.0.store))
            .schemes(self.0.policies.own().clone())
            .when_built(move |policy| policies.note(policy))
            .formats(self.0.formats.layer_formats())
            .hasher(self.0.hasher.clone())
            .max_key_len(self.0.max_key_len)
            .timed_by(self.0.clock.clone())
            .observe_keys(move |decision| usage.count(decision))
            .observe_keys(move |decision| rehash.note(decision))
    }

    /// Writes the uses that were counted since they were written last. Call it before the process ends.
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`]; the uses stay counted.
    pub async fn flush(&self) -> Result<(), ManageError> {
        let usage = Arc::clone(&self.0.usage);
        let done = tokio::spawn(async move { usage.flush().await }).await;
        done.unwrap_or_else(|error| Err(ManageError::Store(error.into())))
    }

    /// What the router tells the time by.
    #[cfg(feature = "admin-api")]
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }
}

impl KeyManager {
    /// The key with this id, if the actor knows of it.
    async fn visible_key(&self, actor: &Actor, id: &KeyId) -> Result<KeyRecord, ManageError> {
        let record = self.0.registry.clone().get(id.clone()).await?;
        record.filter(|record| actor.sees(record)).ok_or_else(|| ManageError::NotFound(id.clone()))
    }

    /// The actor as it is now, if it may do this: a body may have come slowly, and its key have been revoked meanwhile.
    async fn authorize(&self, actor: Actor, action: Action) -> Result<Actor, ManageError> {
        let actor = match actor.key_id() {
            None => actor,
            Some(id) => {
                let record = self.0.registry.clone().get(id.clone()).await?.ok_or(ManageError::ActorInvalid)?;
                self.actor_of(&record, &action).ok_or(ManageError::ActorInvalid)?.confined_like(&actor)
            }
        };
        if actor.may(&action) { Ok(actor) } else { Err(ManageError::PermissionDenied(action)) }
    }

    /// What the holder of this key may do now. A key in grace still reads, but changes nothing: least of all its heir.
    fn actor_of(&self, record: &KeyRecord, action: &Action) -> Option<Actor> {
        let is_in_time = record.replaced_by().is_none() || *action == Action::READ;
        (record.obstacle_at(&self.0.clock).is_none() && is_in_time).then(|| Actor::of_record(record))
    }

    /// Nobody makes a key without a cap; each key has an owner.
    fn cap(&self, record: &KeyRecord) -> Option<KeyLimit> {
        let most = match record.owner()? {
            Owner::User(_) => self.0.keys_per_user,
            Owner::ServiceAccount => self.0.bots_per_organization,
        };
        Some(KeyLimit { max: most, at: self.now() })
    }

    fn notify(&self, kind: KeyEventKind, record: &KeyRecord, replacement: Option<KeyId>, actor: &Actor) {
        let (key_id, version, at) = (record.id().clone(), record.version(), self.now());
        let change = KeyEvent { kind, key_id, version, replacement, actor: actor.clone(), at };
        for hook in &self.0.hooks {
            // The change stands, whatever a hook makes of it.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(&change)));
        }
    }

    /// What may be shown of this key later.
    fn mask(&self, key: &ApiKey) -> String {
        self.0.mask.apply_leaving(key.expose(), self.0.unseen_bits)
    }

    /// Now, to the microsecond: as exactly as every store keeps it.
    fn now(&self) -> SystemTime {
        to_micros(self.0.clock.now())
    }

    /// Does `work` for an actor who may. The registry looks at the actor's key again when it changes something; if the key has changed by
    /// then, the actor is looked up anew, and asked anew what it may do.
    async fn as_actor<T, W, F>(&self, actor: &Actor, action: Action, work: W) -> Result<T, ManageError>
    where
        T: Send + 'static,
        W: Fn(Self, Actor) -> F + Send + 'static,
        F: Future<Output = Result<T, ManageError>> + Send,
    {
        let takes_away = action == Action::DELETE;
        let reads = action == Action::READ;
        let kind = if takes_away {
            WorkKind::TakesAway
        } else if reads {
            WorkKind::Reads
        } else {
            WorkKind::Adds
        };
        self.in_turn(actor, action, kind, work).await
    }

    async fn in_turn<T, W, F>(&self, actor: &Actor, action: Action, kind: WorkKind, work: W) -> Result<T, ManageError>
    where
        T: Send + 'static,
        W: Fn(Self, Actor) -> F + Send + 'static,
        F: Future<Output = Result<T, ManageError>> + Send,
    {
        let turn = self.0.turns.take(actor, kind).await?;
        let actor = actor.clone();
        self.spawn_uncancellable(async move |manager| {
            let work = async move {
                for _ in 1..ATTEMPTS {
                    let actor = manager.authorize(actor.clone(), action.clone()).await?;
                    match work(manager.clone(), actor).await {
                        Err(ManageError::Registry(RegistryError::ActorChanged(_))) => tokio::task::yield_now().await,
                        done => return done,
                    }
                }
                let actor = manager.authorize(actor, action).await?;
                work(manager.clone(), actor).await
            };
            turn.spend(work).await
        })
        .await
    }

    /// What the registry looks at again: the actor's key, by this manager's clock.
    fn key_of(&self, actor: &Actor) -> Option<ActorKey> {
        actor.key().map(|key| key.timed_by(self.0.clock.clone()))
    }

    /// Runs `work` to its end, also when the caller goes away in the middle.
    async fn spawn_uncancellable<T, W, F>(&self, work: W) -> Result<T, ManageError>
    where
        T: Send + 'static,
        W: FnOnce(Self) -> F,
        F: Future<Output = Result<T, ManageError>> + Send + 'static,
    {
        let work = work(self.clone());
        // Reported in the task: the caller may have gone away.
        let done = tokio::spawn(async move { work.await.inspect_err(failure_log::failed_call) }).await;
        done.unwrap_or_else(|error| {
            let panicked = ManageError::Store(error.into());
            failure_log::failed_call(&panicked);
            Err(panicked)
        })
    }
}

/// Tries again, a few times, what another change has overtaken.
async fn retried<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ManageError>
where
    F: Future<Output = Result<T, ManageError>>,
{
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(ManageError::Registry(RegistryError::VersionConflict(_))) => tokio::task::yield_now().await,
            done => return done,
        }
    }
    attempt().await
}

/// Whether the actor holds all that the key is to hold.
fn check_no_escalation(actor: &Actor, permissions: &Permissions) -> Result<(), ManageError> {
    match actor.permissions().first_beyond(permissions) {
        Some((resource, action)) => {
            Err(ManageError::Escalation { resource: resource.to_owned(), action: action.clone() })
        }
        None => Ok(()),
    }
}

fn to_micros(instant: SystemTime) -> SystemTime {
    let since = instant.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    instant - Duration::from_nanos(u64::from(since.subsec_nanos() % 1000))
}

impl fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyManager").field("formats", &self.0.formats).finish_non_exhaustive()
    }
}
