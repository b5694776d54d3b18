//! Replaces many keys, one at a time.

use std::{collections::HashSet, fmt, vec};

use super::{Actor, Issued, KeyManager, ManageError, Rotation, concurrency::WorkKind, many::BATCH};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Obstacle},
    store::KeyFilter,
};

/// The replacements of all keys that a filter matches, from [`KeyManager::replace_all`].
///
/// [`next`](Self::next) replaces one key, so each new text is returned once. If you drop this
/// value, the remaining keys are not replaced.
#[must_use = "a key is replaced when next() is called"]
pub struct Replacements {
    manager: KeyManager,
    actor: Actor,
    rotation: Rotation,
    /// The filter of the next page; `None` after the last one.
    next_page: Option<KeyFilter>,
    ids: vec::IntoIter<KeyId>,
    /// The actor's own key, which is replaced last: afterwards the actor is read-only.
    own: Option<KeyId>,
    /// The new keys, which may be on a later page.
    made: HashSet<KeyId>,
}

/// A key that was not replaced by [`Replacements`].
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
#[non_exhaustive]
pub struct NotReplaced {
    /// The id of the key; `None` if the keys could not be read. Nothing follows then.
    pub id: Option<KeyId>,
    /// Why it was not replaced, such as [`ManageError::NotOwner`] for the key of another user.
    #[source]
    pub error: ManageError,
}

// === impl Replacements, NotReplaced ===

impl Replacements {
    /// Replaces the next key. Returns `None` after the last one.
    ///
    /// If you drop the future, the key may be replaced, and its new text is lost. The old key then
    /// works until its grace period ends, and you can replace the new one.
    ///
    /// # Errors
    ///
    /// [`NotReplaced`] for a key that was not replaced. The next call replaces the key after it.
    pub async fn next(&mut self) -> Option<Result<Issued, NotReplaced>> {
        let id = loop {
            if let Some(id) = self.ids.next() {
                break id;
            }
            match self.next_page.take() {
                None => break self.own.take()?,
                Some(filter) => {
                    if let Err(error) = self.read(filter).await {
                        self.own = None;
                        return Some(Err(NotReplaced { id: None, error }));
                    }
                }
            }
        };
        let replaced = self.manager.rotate(&self.actor, id.clone(), self.rotation).await;
        if let Ok(issued) = &replaced {
            self.made.insert(issued.record().id().clone());
        }
        Some(replaced.map_err(|error| NotReplaced { id: Some(id), error }))
    }

    /// Reads one page of the keys that can be replaced.
    async fn read(&mut self, filter: KeyFilter) -> Result<(), ManageError> {
        let page = self.manager.list(&self.actor, filter.clone()).await?;
        let is_left = |record: &KeyRecord| {
            let obstacle = self.manager.0.validity.obstacle(record);
            let is_over = matches!(obstacle, Some(Obstacle::Revoked | Obstacle::Expired));
            !is_over && record.replaced_by().is_none() && !self.made.contains(record.id())
        };
        let left = page.records.iter().filter(|record| is_left(record)).map(|record| record.id().clone());
        let (own, ids): (Vec<_>, Vec<_>) = left.partition(|id| Some(id) == self.actor.key_id());
        self.own = own.into_iter().next().or(self.own.take());
        self.ids = ids.into_iter();
        self.next_page = page.next.map(|next| filter.after(next));
        Ok(())
    }
}

impl NotReplaced {
    fn text(&self) -> String {
        match &self.id {
            Some(id) => format!("the key {id} was not replaced"),
            None => "the keys could not be read".to_owned(),
        }
    }
}

impl fmt::Debug for Replacements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replacements").field("left_in_page", &self.ids.len()).finish_non_exhaustive()
    }
}

// === impl KeyManager ===

impl KeyManager {
    /// Replaces all keys that `filter` matches, among those that the actor sees, each with a grace
    /// period. [`Replacements`] returns the new keys one after the other.
    ///
    /// The default filter matches every key that the actor sees. Keys that are revoked, expired or
    /// replaced already are skipped. Only a user can replace the user's keys, so for other actors
    /// the result has an error for each of them. The actor's own key is replaced last.
    ///
    /// To finish a sequence that broke off, call it again with
    /// [`KeyFilter::created_before`] and the time of the first call. Without it, the new keys that
    /// the first call has made are replaced again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::{KeyManager, manage::{Actor, ManageError, Rotation}, store::KeyFilter};
    ///
    /// async fn after_a_leak(manager: &KeyManager, admin: &Actor) -> Result<(), ManageError> {
    ///     let rotation = Rotation::grace_period(Duration::from_secs(24 * 3600));
    ///     let mut replacements = manager.replace_all(admin, KeyFilter::default(), rotation).await?;
    ///     while let Some(replaced) = replacements.next().await {
    ///         match replaced {
    ///             Ok(issued) => println!("{}: {}", issued.record().id(), issued.key().expose()),
    ///             Err(not_replaced) => eprintln!("{not_replaced}: {}", not_replaced.error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`]: it needs `read` and `update`.
    pub async fn replace_all(
        &self,
        actor: &Actor,
        filter: KeyFilter,
        rotation: Rotation,
    ) -> Result<Replacements, ManageError> {
        self.run_as(actor, Action::UPDATE, WorkKind::Read, |_, _| async { Ok(()) }).await?;
        let mut actor = actor.clone();
        // An idempotency key is for one replacement only.
        actor.details.idempotency_key = None;
        let mut replacements = Replacements {
            manager: self.clone(),
            actor,
            rotation,
            next_page: None,
            ids: Vec::new().into_iter(),
            own: None,
            made: HashSet::new(),
        };
        replacements.read(filter.first_page().limit(BATCH)).await?;
        Ok(replacements)
    }
}
