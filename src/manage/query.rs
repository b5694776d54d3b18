//! What there is: one key, some keys, what the holder of a key may do.

use super::{Actor, KeyManager, ManageError};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Owner},
    store::KeyFilter,
};

/// Some keys of a list, and where it goes on.
///
/// ```
/// use tower_api_key::{KeyManager, manage::{Actor, ManageError}, store::KeyFilter};
///
/// async fn count(manager: &KeyManager, actor: &Actor) -> Result<usize, ManageError> {
///     let mut filter = KeyFilter::default();
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
    /// What [`KeyFilter::after`] takes for the next page, if there is one.
    pub next: Option<KeyId>,
}

impl KeyManager {
    /// One key.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`read`).
    pub async fn get(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.as_actor(actor, Action::READ, move |manager, actor| {
            let id = id.clone();
            async move { manager.visible_key(&actor, &id).await }
        })
        .await
    }

    /// The keys that `filter` admits, newest first; a limit of 0 counts as 1. Its organization is the actor's, whatever it says, and so is
    /// its environment, if the actor is confined to one. So is its owner, if the actor is confined to its own keys.
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`] (`read`).
    pub async fn list(&self, actor: &Actor, filter: KeyFilter) -> Result<Page, ManageError> {
        self.as_actor(actor, Action::READ, move |manager, actor| {
            let mut filter = filter.clone();
            async move {
                filter.organization = actor.organization().map(str::to_owned);
                filter.environment = actor.environment().map(str::to_owned).or(filter.environment);
                if actor.is_own_keys_only() {
                    filter.owner = actor.owner().filter(|owner| matches!(owner, Owner::User(_))).cloned();
                    if filter.owner.is_none() {
                        return manager.own_key(&actor, &filter).await;
                    }
                }
                let limit = filter.limit.max(1);
                filter.limit = limit.saturating_add(1);
                let mut records = manager.0.registry.clone().list(filter).await?;
                let goes_on = records.len() > limit;
                records.truncate(limit);
                let next = records.last().filter(|_| goes_on).map(|last| last.id().clone());
                Ok(Page { records, next })
            }
        })
        .await
    }

    /// The one key that an actor owns which is no user.
    async fn own_key(&self, actor: &Actor, filter: &KeyFilter) -> Result<Page, ManageError> {
        let record = match actor.key_id() {
            Some(id) => self.0.registry.clone().get(id.clone()).await?,
            None => None,
        };
        let is_behind = |id: &KeyId| filter.after.as_ref().is_none_or(|after| id.as_str() < after.as_str());
        let is_listed = |record: &KeyRecord| actor.sees(record) && filter.matches(record) && is_behind(record.id());
        Ok(Page { records: record.into_iter().filter(is_listed).collect(), next: None })
    }

    /// What the holder of this key may do now, or nothing if it does not work any more or was replaced. For a session that somebody has
    /// begun with a key: keep the id, and ask at every request. Confine the actor at every request too.
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`].
    pub async fn actor(&self, id: &KeyId) -> Result<Option<Actor>, ManageError> {
        let id = id.clone();
        self.spawn_uncancellable(async move |manager| {
            let record = manager.0.registry.clone().get(id).await?;
            Ok(record.and_then(|record| manager.actor_of(&record, &Action::UPDATE)))
        })
        .await
    }
}
