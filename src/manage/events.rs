//! Reading events: a page for an actor, and the stream for a consumer.

use super::{Actor, KeyManager, ManageError, concurrency::WorkKind, run::spawn_uncancellable};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    permission::Action,
    record::Owner,
};

/// One page of events, from [`KeyManager::events`].
///
/// ```
/// use tower_api_key::{KeyManager, manage::{Actor, EventFilter, ManageError}};
///
/// async fn history(manager: &KeyManager, actor: &Actor, id: &str) -> Result<(), ManageError> {
///     let mut filter = EventFilter::default().key(id);
///     loop {
///         let page = manager.events(actor, filter.clone()).await?;
///         for event in &page.events {
///             println!("{} by {}: {:?}", event.kind(), event.author(), event.changes());
///         }
///         let Some(next) = page.next else { return Ok(()) };
///         filter = filter.after(next);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventPage {
    /// The events, newest first.
    pub events: Vec<KeyEvent>,
    /// The argument of [`EventFilter::after`] for the next page; `None` on the last page.
    pub next: Option<String>,
}

impl KeyManager {
    /// Returns one page of the events of the actor's organization, newest first, even of removed
    /// keys. [`EventPage`] has an example.
    ///
    /// An actor that is confined to an environment sees the events of keys in that environment.
    /// With [`Actor::own_keys_only`], the actor sees the events of its own keys until they are
    /// removed. A filter for another organization, environment or owner matches nothing, as in
    /// [`KeyManager::list`]. A registry that keeps no events has empty pages.
    ///
    /// An actor [across organizations](Actor::across_organizations) sees the events of the
    /// organization of the filter, or of all organizations if the filter has none.
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`] (`read`); [`ManageError::TrustedActorRequired`] for a
    /// filter of all organizations and any other actor; [`ManageError::NotFound`] if the filter has
    /// a key, and the actor sees neither that key nor an event of it.
    pub async fn events(&self, actor: &Actor, filter: EventFilter) -> Result<EventPage, ManageError> {
        self.run_as(actor, Action::READ, WorkKind::Read, move |manager, actor| {
            let filter = filter.clone();
            async move { manager.page_of_events(&actor, filter).await }
        })
        .await
    }

    /// Returns the events of all organizations after this cursor, in order, at most `limit`; `None`
    /// if the registry keeps no events. For a consumer in your own service: [`EventCursor`] has an
    /// example.
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`].
    pub async fn events_since(&self, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, ManageError> {
        let registry = self.0.registry.clone();
        spawn_uncancellable(async move { registry.events_since(cursor, limit).await }).await
    }

    /// Returns the cursor after all events until now; `None` if the registry keeps no events. For a
    /// new consumer that needs none of the events before.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, manage::{EventCursor, ManageError}};
    ///
    /// async fn from_now_on(manager: &KeyManager) -> Result<EventCursor, ManageError> {
    ///     Ok(manager.newest_event().await?.unwrap_or(EventCursor::START))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`].
    pub async fn newest_event(&self) -> Result<Option<EventCursor>, ManageError> {
        let registry = self.0.registry.clone();
        spawn_uncancellable(async move { registry.newest_event().await }).await
    }

    async fn page_of_events(&self, actor: &Actor, mut filter: EventFilter) -> Result<EventPage, ManageError> {
        let EventFilter { organization, environment, owner, .. } = &filter;
        let is_outside = actor.is_outside(organization.as_deref(), environment.as_deref(), owner.as_ref());
        if actor.is_across_organizations() {
            filter.all_organizations |= filter.organization.is_none();
        } else if filter.all_organizations {
            return Err(ManageError::TrustedActorRequired);
        } else {
            filter.organization = actor.organization().map(str::to_owned);
        }
        if is_outside {
            return Ok(EventPage { events: Vec::new(), next: None });
        }
        filter.environment = actor.environment().map(str::to_owned).or(filter.environment);
        if actor.is_own_keys_only() {
            match actor.owner() {
                Some(user @ Owner::User(_)) => filter.owner = Some(user.clone()),
                // An actor that is not a user owns the key that it authenticated with.
                _ => match filter.key.take().or_else(|| actor.key_id().cloned()) {
                    Some(key) => filter.key = Some(key),
                    None => return Ok(EventPage { events: Vec::new(), next: None }),
                },
            }
            if let Some(key) = &filter.key {
                self.visible_key(actor, key).await?;
            }
        }
        let limit = filter.limit.max(1);
        filter.limit = limit.saturating_add(1);
        let mut events = self.0.registry.clone().events(filter.clone()).await?.unwrap_or_default();
        if let Some(key) = filter.key.filter(|_| events.is_empty() && filter.after.is_none()) {
            self.visible_key(actor, &key).await?;
        }
        let goes_on = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| goes_on).and_then(KeyEvent::id).map(str::to_owned);
        Ok(EventPage { events, next })
    }
}
