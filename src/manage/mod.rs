//! The life of a key: issue, show once, regenerate, rotate, edit, disable, revoke.
//!
//! | who asks                 | is                                                              |
//! |--------------------------|-----------------------------------------------------------------|
//! | a caller with a key      | `Actor::from(&principal)`                                       |
//! | somebody who signed in   | [`Actor::trusted`], vouched for by the product                  |
//! | the first start          | [`Actor::trusted`], the same                                    |
//!
//! Every call checks the actor, changes the registry in one atomic step, and then tells the hooks. It goes on to its end when its
//! caller goes away, so that no hook misses a change: for that it needs a tokio runtime.

mod actor;
mod builder;
mod change;
mod erased;
mod error;
mod formats;
#[cfg(feature = "manage")]
mod http;
mod issue;
mod replace;
mod request;
mod usage;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use actor::Actor;
pub use builder::KeyManagerBuilder;
pub use change::{Change, ChangeKind};
pub use error::ManageError;
pub use request::{Edit, Issued, NewKey, Rotation};

use crate::{
    clock::Clock,
    key::{KeyHasher, Mask},
    layer::ApiKeyLayerBuilder,
    permission::{Action, Permissions},
    record::{KeyId, KeyRecord, Status},
    store::{Cap, ErasedStore, Filter, KeyRegistry, Refusal},
};
use change::Hook;
use erased::ErasedRegistry;
use formats::Formats;
use usage::Usage;

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
/// let service = Actor::trusted(Owner::Bot, all.clone());
/// let issued = manager.issue(&service, NewKey::bot("first").permissions(all)).await?;
/// println!("key first: {}", issued.key().expose());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyManager(Arc<Shared>);

struct Shared {
    store: Arc<dyn ErasedStore>,
    registry: Arc<dyn ErasedRegistry>,
    formats: Formats,
    hasher: KeyHasher,
    mask: Mask,
    clock: Clock,
    keys_per_user: Option<u32>,
    usage: Arc<Usage>,
    hooks: Vec<Hook>,
}

/// How often a change is tried again that another one has overtaken.
const ATTEMPTS: u32 = 16;

/// Some keys of a list, and where it goes on.
///
/// ```
/// use tower_api_key::{KeyManager, manage::{Actor, ManageError}, store::Filter};
///
/// async fn count(manager: &KeyManager, actor: &Actor) -> Result<usize, ManageError> {
///     let mut filter = Filter::default();
///     let mut count = 0;
///     loop {
///         let page = manager.list(actor, filter.clone()).await?;
///         count += page.records.len();
///         let Some(next) = page.next else { return Ok(count) };
///         filter = filter.after(next);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The records, newest first.
    pub records: Vec<KeyRecord>,
    /// What [`Filter::after`] takes for the next page, if there is one.
    pub next: Option<KeyId>,
}

// === impl KeyManager ===

impl KeyManager {
    /// A manager over `registry`.
    pub fn builder(registry: impl KeyRegistry) -> KeyManagerBuilder {
        KeyManagerBuilder::new(registry)
    }

    /// A layer that checks the keys of this manager: with its store, formats, hasher and clock, counting uses. The rest is yours
    /// to set.
    pub fn layer(&self) -> ApiKeyLayerBuilder {
        let usage = Arc::clone(&self.0.usage);
        ApiKeyLayerBuilder::new(Arc::clone(&self.0.store))
            .formats(self.0.formats.at_the_door())
            .hasher(self.0.hasher.clone())
            .timed_by(self.0.clock.clone())
            .observe(move |decision| usage.count(decision))
    }

    /// Changes the name or the permissions of a key, or switches it off or on. The next request sees it.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::MayNot`] (`update`), [`ManageError::Name`]; [`ManageError::NotGranted`] if the key would
    /// then hold what the actor lacks, even if it did so before; [`Refusal::Revoked`].
    pub async fn edit(&self, actor: &Actor, id: impl Into<KeyId>, edit: Edit) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.change(actor, Action::UPDATE, async move |manager, actor| {
            let (before, after) = manager.update(&actor, &id, &edit).await?;
            for kind in Self::kinds(&before, &after, &edit) {
                manager.tell(kind, &after, None, &actor);
            }
            Ok(after)
        })
        .await
    }

    /// Switches a key off, for now. This gives nobody anything, so it needs `apiKeys: update` and nothing else.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::MayNot`] (`update`), [`Refusal::Revoked`].
    pub async fn disable(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        self.edit(actor, id, Edit::new().enabled(false)).await
    }

    /// Switches a key on again.
    ///
    /// # Errors
    ///
    /// As [`KeyManager::edit`].
    pub async fn enable(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        self.edit(actor, id, Edit::new().enabled(true)).await
    }

    /// Switches a key off for good. The very next request with it is refused. A key that it has replaced, and that is still in grace,
    /// goes on. Revoking a revoked key changes nothing, and is told to nobody.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::MayNot`] (`delete`).
    pub async fn revoke(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.change(actor, Action::DELETE, async move |manager, actor| {
            manager.seen(&actor, &id).await?;
            match manager.0.registry.clone().revoke(id.clone()).await {
                Err(ManageError::Refused(Refusal::Revoked(_))) => manager.seen(&actor, &id).await,
                revoked => revoked.inspect(|revoked| manager.tell(ChangeKind::Revoked, revoked, None, &actor)),
            }
        })
        .await
    }

    /// Removes a key and its record, so that nothing is left to look up. [`KeyManager::revoke`] keeps the record.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::MayNot`] (`delete`).
    pub async fn remove(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.change(actor, Action::DELETE, async move |manager, actor| {
            manager.seen(&actor, &id).await?;
            let removed = manager.0.registry.clone().remove(id).await?;
            manager.tell(ChangeKind::Removed, &removed, None, &actor);
            Ok(removed)
        })
        .await
    }

    /// Removes every key of a user who leaves the actor's organization, and returns how many there were. Bot keys stay.
    ///
    /// # Errors
    ///
    /// [`ManageError::MayNot`] (`delete`), [`ManageError::OneEnvironment`].
    pub async fn remove_member(&self, actor: &Actor, user: impl Into<String>) -> Result<usize, ManageError> {
        let user = user.into();
        self.change(actor, Action::DELETE, async move |manager, actor| {
            if actor.environment().is_some() {
                return Err(ManageError::OneEnvironment);
            }
            let organization = actor.organization().map(str::to_owned);
            let removed = manager.0.registry.clone().remove_user(organization, user).await?;
            for record in &removed {
                manager.tell(ChangeKind::Removed, record, None, &actor);
            }
            Ok(removed.len())
        })
        .await
    }

    /// One key.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::MayNot`] (`read`).
    pub async fn get(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.change(actor, Action::READ, async move |manager, actor| manager.seen(&actor, &id).await).await
    }

    /// The keys that `filter` admits, at least one of a page. Its organization is the actor's, whatever it says, and so is its environment, if the actor is
    /// confined to one.
    ///
    /// # Errors
    ///
    /// [`ManageError::MayNot`] (`read`).
    pub async fn list(&self, actor: &Actor, mut filter: Filter) -> Result<Page, ManageError> {
        self.change(actor, Action::READ, async move |manager, actor| {
            filter.organization = actor.organization().map(str::to_owned);
            filter.environment = actor.environment().map(str::to_owned).or(filter.environment);
            let limit = filter.limit.max(1);
            filter.limit = limit.saturating_add(1);
            let mut records = manager.0.registry.clone().list(filter).await?;
            let goes_on = records.len() > limit;
            records.truncate(limit);
            let next = records.last().filter(|_| goes_on).map(|last| last.id().clone());
            Ok(Page { records, next })
        })
        .await
    }

    /// What the holder of this key may do now, or nothing if it does not work any more. For a session that somebody has begun with
    /// a key: keep the id, and ask at every request.
    ///
    /// # Errors
    ///
    /// [`ManageError::Failed`].
    pub async fn actor(&self, id: &KeyId) -> Result<Option<Actor>, ManageError> {
        let id = id.clone();
        self.to_the_end(async move |manager| {
            let record = manager.0.registry.clone().get(id).await?;
            let works = record.filter(|record| record.works_at(&manager.0.clock));
            Ok(works.map(|record| Actor::of_record(&record)))
        })
        .await
    }

    /// Writes the uses that were counted since they were written last. Call it before the process ends.
    ///
    /// # Errors
    ///
    /// [`ManageError::Failed`]; the uses stay counted.
    pub async fn flush(&self) -> Result<(), ManageError> {
        self.to_the_end(async |manager| manager.0.usage.flush().await).await
    }

    /// The state of a key by the manager's clock.
    #[cfg(feature = "manage")]
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }
}

impl KeyManager {
    /// Reads, checks and changes until nobody else has changed the key in between. A revocation in between ends that.
    async fn update(&self, actor: &Actor, id: &KeyId, edit: &Edit) -> Result<(KeyRecord, KeyRecord), ManageError> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            let before = self.seen(actor, id).await?;
            let changed = Self::edited(actor, before.clone(), edit)?;
            if edit.name.is_none() && edit.permissions.is_none() && before.status() == changed.status() {
                return Ok((before, changed));
            }
            match self.0.registry.clone().update(changed).await {
                Err(ManageError::Refused(Refusal::Changed(_))) if attempts.next().is_some() => {
                    tokio::task::yield_now().await;
                }
                updated => return Ok((before, updated?)),
            }
        }
    }

    fn edited(actor: &Actor, mut record: KeyRecord, edit: &Edit) -> Result<KeyRecord, ManageError> {
        if let Some(name) = &edit.name {
            record = record.with_name(checked_name(name)?);
        }
        if let Some(permissions) = &edit.permissions {
            record = record.with_permissions(permissions.clone());
        }
        match edit.enabled {
            // What only takes away is not asked what it hands on.
            Some(false) if edit.name.is_none() && edit.permissions.is_none() => {
                return Ok(record.with_status(Status::Disabled));
            }
            Some(enabled) => record = record.with_status(if enabled { Status::Active } else { Status::Disabled }),
            None => {}
        }
        grants(actor, record.permissions())?;
        Ok(record)
    }

    fn kinds(before: &KeyRecord, after: &KeyRecord, edit: &Edit) -> Vec<ChangeKind> {
        let switched = (before.status() != after.status())
            .then(|| if after.status() == Status::Active { ChangeKind::Enabled } else { ChangeKind::Disabled });
        let edited = (edit.name.is_some() || edit.permissions.is_some()).then_some(ChangeKind::Edited);
        edited.into_iter().chain(switched).collect()
    }

    /// The key with this id, if the actor knows of it.
    async fn seen(&self, actor: &Actor, id: &KeyId) -> Result<KeyRecord, ManageError> {
        let record = self.0.registry.clone().get(id.clone()).await?;
        record.filter(|record| actor.sees(record)).ok_or_else(|| ManageError::NotFound(id.clone()))
    }

    /// The actor as it is now, if it may do this: a body may have come slowly, and its key have been revoked meanwhile. A key in
    /// grace manages nothing: least of all its heir.
    async fn present(&self, actor: Actor, action: Action) -> Result<Actor, ManageError> {
        let actor = match actor.key_id() {
            None => Some(actor),
            Some(id) => {
                let record = self.0.registry.clone().get(id.clone()).await?;
                let works = record.filter(|record| record.works_at(&self.0.clock) && record.replaced_by().is_none());
                works.map(|record| Actor::of_record(&record))
            }
        };
        actor.filter(|actor| actor.may(&action)).ok_or(ManageError::MayNot(action))
    }

    fn cap(&self, record: &KeyRecord) -> Option<Cap> {
        let is_user = matches!(record.owner(), Some(crate::Owner::User(_)));
        self.0.keys_per_user.filter(|_| is_user).map(|most| Cap { most, now: self.now() })
    }

    fn tell(&self, kind: ChangeKind, record: &KeyRecord, replacement: Option<KeyId>, actor: &Actor) {
        let (key_id, version, at) = (record.id().clone(), record.version(), self.now());
        let change = Change { kind, key_id, version, replacement, actor: actor.clone(), at };
        for hook in &self.0.hooks {
            // The change stands, whatever a hook makes of it.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(&change)));
        }
    }

    /// Now, to the microsecond: as exactly as every store keeps it.
    fn now(&self) -> SystemTime {
        to_micros(self.0.clock.now())
    }

    /// Does `work` for an actor who may.
    async fn change<T, W, F>(&self, actor: &Actor, action: Action, work: W) -> Result<T, ManageError>
    where
        T: Send + 'static,
        W: FnOnce(Self, Actor) -> F + Send + 'static,
        F: Future<Output = Result<T, ManageError>> + Send,
    {
        let actor = actor.clone();
        self.to_the_end(async move |manager| {
            let actor = manager.present(actor, action).await?;
            work(manager, actor).await
        })
        .await
    }

    /// Runs `work` to its end, also when the caller goes away in the middle.
    async fn to_the_end<T, W, F>(&self, work: W) -> Result<T, ManageError>
    where
        T: Send + 'static,
        W: FnOnce(Self) -> F,
        F: Future<Output = Result<T, ManageError>> + Send + 'static,
    {
        let done = tokio::spawn(work(self.clone())).await;
        done.unwrap_or_else(|error| Err(ManageError::Failed(error.into())))
    }
}

/// Whether the actor holds all that the key is to hold.
fn grants(actor: &Actor, permissions: &Permissions) -> Result<(), ManageError> {
    match actor.permissions().first_beyond(permissions) {
        Some((resource, action)) => {
            Err(ManageError::NotGranted { resource: resource.to_owned(), action: action.clone() })
        }
        None => Ok(()),
    }
}

fn to_micros(instant: SystemTime) -> SystemTime {
    let since = instant.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    instant - Duration::from_nanos(u64::from(since.subsec_nanos() % 1000))
}

/// A name of a key or of an environment.
fn checked_name(name: &str) -> Result<&str, ManageError> {
    let length = name.chars().count();
    let is_good = (1..=100).contains(&length) && name.trim() == name && !name.contains(char::is_control);
    if is_good { Ok(name) } else { Err(ManageError::Name) }
}

impl fmt::Debug for KeyManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyManager").field("formats", &self.0.formats).finish_non_exhaustive()
    }
}
