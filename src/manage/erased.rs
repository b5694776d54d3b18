//! Type-erased registries.

use std::{ops::RangeInclusive, pin::Pin, sync::Arc, time::SystemTime};

use super::ManageError;
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    key::KeyDigest,
    record::{KeyId, KeyRecord},
    store::{
        BoxError, ChangeContext, DayUsage, ExpiryClaim, IdempotencyRecord, KeyBatch, KeyFilter, KeyLimit, KeyPage,
        KeyRegistry, RegistryError, Replacement, UsageDelta, UtcDay, box_error,
    },
};

pub(super) type Done<T> = Pin<Box<dyn Future<Output = Result<T, ManageError>> + Send>>;

macro_rules! erased {
    ($($name:ident($($parameter:ident: $type:ty),*) -> $output:ty = $answer:ident($($argument:expr),*);)*) => {
        /// A [`KeyRegistry`] of any type.
        pub(super) trait ErasedRegistry: Send + Sync {
            $(fn $name(self: Arc<Self>, $($parameter: $type),*) -> Done<$output>;)*
        }

        impl<R: KeyRegistry> ErasedRegistry for R {
            $(fn $name(self: Arc<Self>, $($parameter: $type),*) -> Done<$output> {
                Box::pin(async move { $answer(KeyRegistry::$name(&*self, $($argument),*).await) })
            })*
        }
    };
}

// Each method with its owned parameters; then which function maps the answer of the registry, and
// what the registry receives.
erased! {
    insert(record: KeyRecord, cap: Option<KeyLimit>, context: ChangeContext) -> ()
        = refusable(record, cap, Some(&context));
    insert_first(record: KeyRecord, context: ChangeContext) -> () = refusable(record, Some(&context));
    get(id: KeyId) -> Option<KeyRecord> = plain(&id);
    search(filter: KeyFilter) -> KeyPage = plain(&filter);
    update(changed: KeyRecord, context: ChangeContext) -> KeyRecord
        = refusable(changed, Some(&context));
    replace(old: KeyRecord, new: KeyRecord, context: ChangeContext) -> Replacement
        = refusable(old, new, Some(&context));
    revoke(id: KeyId, context: ChangeContext) -> KeyRecord = refusable(&id, Some(&context));
    disable(id: KeyId, context: ChangeContext) -> KeyRecord = refusable(&id, Some(&context));
    remove(id: KeyId, context: ChangeContext) -> KeyRecord = refusable(&id, Some(&context));
    remove_user(organization: Option<String>, user: String, context: ChangeContext) -> Vec<KeyRecord>
        = refusable(organization.as_deref(), &user, Some(&context));
    change_batch(batch: KeyBatch, context: ChangeContext) -> Vec<KeyRecord>
        = refusable(&batch, Some(&context));
    rehash(id: KeyId, from: KeyDigest, to: KeyDigest, context: ChangeContext) -> KeyRecord
        = refusable(&id, &from, &to, Some(&context));
    find_idempotency(id: [u8; 32]) -> Option<IdempotencyRecord> = refusable(&id);
    record_usage(usage: Vec<UsageDelta>) -> () = plain(&usage);
    claim_expiring(claim: ExpiryClaim) -> Option<Vec<KeyRecord>> = plain(&claim);
    release_expiring(records: Vec<KeyRecord>) -> () = plain(&records);
    usage(id: KeyId, days: RangeInclusive<UtcDay>) -> Option<Vec<DayUsage>> = plain(&id, days);
    prune_usage(before: UtcDay) -> u64 = plain(before);
    events_since(cursor: EventCursor, limit: usize) -> Option<Vec<KeyEvent>> = plain(cursor, limit);
    newest_event() -> Option<EventCursor> = plain();
    events(filter: EventFilter) -> Option<Vec<KeyEvent>> = plain(&filter);
    prune_events(before: SystemTime, limit: usize) -> usize = plain(before, limit);
    record_expiries(now: SystemTime, limit: usize) -> usize = plain(now, limit);
}

fn plain<T, E: Into<BoxError>>(answer: Result<T, E>) -> Result<T, ManageError> {
    box_error(answer).map_err(ManageError::Store)
}

/// Maps an answer that may be a refusal.
fn refusable<T, E: Into<BoxError>>(answer: Result<Result<T, RegistryError>, E>) -> Result<T, ManageError> {
    Ok(plain(answer)??)
}
