//! Reading keys: one, a list or a search, the actor of a key.

use super::{Actor, KeyManager, ManageError, concurrency::WorkKind, run::spawn_uncancellable};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Owner},
    store::{KeyFilter, KeyPage, PageCursor},
};

/// One page of a list, from [`KeyManager::list`].
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
    /// The records, in the order of the filter. A page of a search may be short, even empty, while
    /// there is a `next`: one page reads a bounded number of keys.
    pub records: Vec<KeyRecord>,
    /// The argument of [`KeyFilter::after`] for the next page; `None` on the last page.
    pub next: Option<PageCursor>,
}

impl KeyManager {
    /// Returns one key.
    ///
    /// ```
    /// # use tower_api_key::{KeyManager, manage::{Actor, ManageError}};
    /// # async fn show(manager: &KeyManager, actor: &Actor) -> Result<(), ManageError> {
    /// let record = manager.get(actor, "key_1").await?;
    /// println!("{}: {:?}", record.id(), record.status());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`read`).
    pub async fn get(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.run_as(actor, Action::READ, WorkKind::Read, move |manager, actor| {
            let id = id.clone();
            async move { manager.visible_key(&actor, &id).await }
        })
        .await
    }

    /// Returns one page of the keys that `filter` matches, in its order. [`Page`] has an example.
    ///
    /// The bounds of the actor narrow the filter. The list always has the organization of the
    /// actor, unless the actor is [across organizations](Actor::across_organizations). It has the
    /// actor's environment if the actor is confined to one, and the actor's owner if the actor is
    /// confined to its own keys. A filter for another one matches nothing. A limit of 0 counts as
    /// 1.
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`] (`read`); [`ManageError::TrustedActorRequired`] for a
    /// filter of all organizations and any other actor.
    pub async fn list(&self, actor: &Actor, filter: KeyFilter) -> Result<Page, ManageError> {
        self.run_as(actor, Action::READ, WorkKind::Read, move |manager, actor| {
            let mut filter = filter.clone();
            async move {
                let KeyFilter { organization, environment, owner, .. } = &filter;
                let is_outside = actor.is_outside(organization.as_deref(), environment.as_deref(), owner.as_ref());
                filter = actor.within_organization(filter)?;
                if is_outside {
                    return Ok(Page { records: Vec::new(), next: None });
                }
                filter.environment = actor.environment().map(str::to_owned).or(filter.environment);
                filter.limit = filter.limit.max(1);
                if actor.is_own_keys_only() {
                    filter.owner = actor.owner().filter(|owner| matches!(owner, Owner::User(_))).cloned();
                    if filter.owner.is_none() {
                        return manager.own_page(&actor, &filter).await;
                    }
                }
                manager.page(&actor, filter).await
            }
        })
        .await
    }

    /// Returns one page of a search. Its `next` discloses nothing about keys that the actor does
    /// not see.
    async fn page(&self, actor: &Actor, mut filter: KeyFilter) -> Result<Page, ManageError> {
        // A store puts the owner and the environment of a list by id into its index. Another
        // search may also read keys outside these bounds, and its `next` may be one of them. A
        // lineage may be that of another organization.
        let is_confined = actor.is_own_keys_only() || actor.environment().is_some() || filter.lineage.is_some();
        let reads_others = is_confined && !filter.is_list();
        loop {
            let KeyPage { records, mut next, .. } = self.0.registry.clone().search(filter.clone()).await?;
            if let (true, Some(visited)) = (reads_others, &next) {
                let Some(last) = records.last() else {
                    filter = filter.after(visited.clone());
                    continue;
                };
                next = PageCursor::behind(last, filter.order);
            }
            return Ok(Page { records, next });
        }
    }

    /// Lists the key that the actor authenticated with. An actor that is not a user owns no other
    /// key.
    async fn own_page(&self, actor: &Actor, filter: &KeyFilter) -> Result<Page, ManageError> {
        let record = match actor.key_id() {
            Some(id) => self.0.registry.clone().get(id.clone()).await?,
            None => None,
        };
        let is_listed = |record: &KeyRecord| actor.sees(record) && filter.matches(record) && filter.is_behind(record);
        Ok(Page { records: record.into_iter().filter(is_listed).collect(), next: None })
    }

    /// Returns the actor of a key; `None` if the key is invalid or was replaced.
    ///
    /// Use it for a session that started with a key: keep the key's id in the session, and call
    /// this in each request. Apply bounds such as [`Actor::own_keys_only`] in each request too.
    /// [`Actor::key_version`] has an example.
    ///
    /// Start no session from a [token](crate::token): it would last longer than the token. The
    /// principal of a token [says so](crate::Principal::token_ends_at), but the actor of its key
    /// does not.
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`].
    pub async fn actor(&self, id: &KeyId) -> Result<Option<Actor>, ManageError> {
        let (manager, id) = (self.clone(), id.clone());
        spawn_uncancellable(async move {
            let record = manager.0.registry.clone().get(id).await?;
            match record {
                Some(record) => manager.actor_of(&record, &Action::UPDATE).await,
                None => Ok(None),
            }
        })
        .await
    }
}
