//! The default methods of a registry, by means of its other methods.

use super::{
    ActorKey, BulkChange, ChangeContext, KeyBatch, KeyFilter, KeyPage, KeyRegistry, RegistryError, search::Search,
};
use crate::record::{KeyId, KeyRecord, Status};

/// The default of [`KeyRegistry::search`].
pub(super) async fn search<R: KeyRegistry + ?Sized>(registry: &R, filter: &KeyFilter) -> Result<KeyPage, R::Error> {
    let mut search = Search::new(filter);
    loop {
        let records = registry.list(search.list()).await?;
        if let Some(page) = search.add(records) {
            return Ok(page);
        }
    }
}

/// The default of [`KeyRegistry::disable`].
pub(super) async fn disable<R: KeyRegistry + ?Sized>(
    registry: &R,
    id: &KeyId,
    context: Option<&ChangeContext>,
) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
    for _ in 1..DISABLE_ATTEMPTS {
        let stored = registry.get(id).await?;
        match registry.update(disabled(stored, id), context).await? {
            Err(RegistryError::VersionConflict(_)) => {}
            done => return Ok(done),
        }
    }
    let stored = registry.get(id).await?;
    registry.update(disabled(stored, id), context).await
}

/// The default of [`KeyRegistry::change_batch`].
pub(super) async fn change_batch<R: KeyRegistry + ?Sized>(
    registry: &R,
    batch: &KeyBatch,
    context: Option<&ChangeContext>,
) -> Result<Result<Vec<KeyRecord>, RegistryError>, R::Error> {
    let own = context.and_then(ChangeContext::actor_key).map(ActorKey::id);
    let (last, first): (Vec<&KeyId>, Vec<&KeyId>) = batch.ids.iter().partition(|id| Some(*id) == own);
    let mut changed = Vec::new();
    for id in first.into_iter().chain(last) {
        if !registry.get(id).await?.is_some_and(|record| batch.applies_to(&record)) {
            continue;
        }
        let done = match batch.change {
            BulkChange::Revoke => registry.revoke(id, context).await?,
            BulkChange::Disable => registry.disable(id, context).await?,
            BulkChange::Remove => registry.remove(id, context).await?,
        };
        match done {
            Ok(record) => changed.push(record),
            Err(RegistryError::NotFound(_) | RegistryError::Revoked(_)) => {}
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(changed))
}

/// The maximum number of attempts of the default [`KeyRegistry::disable`].
const DISABLE_ATTEMPTS: u32 = 16;

/// Returns the record to pass to `update`. Without a stored record it has an unknown id, so that
/// `update` checks the actor and then returns `NotFound`.
fn disabled(stored: Option<KeyRecord>, id: &KeyId) -> KeyRecord {
    stored.unwrap_or_else(|| KeyRecord::new(id.clone(), [0; 32])).with_status(Status::Disabled)
}
