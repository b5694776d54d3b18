//! Records with fewer permissions, kept for each thread.
//!
//! A thread keeps the last record of each slot, with what its owner's rights have left of it. While
//! the answer is recent, a request with that record needs no lock and no allocation. The handles of
//! a thread are its own, so that two threads do not share a reference count.

use std::{cell::Cell, sync::Arc};

use tokio::time::Instant;

use super::Rights;
use crate::record::{Fields, Generation, KeyRecord, LocalRecord};

/// What a thread keeps of one record.
struct Kept {
    /// The rights that it was narrowed by, and the epoch of their answers.
    of: (Generation, u64),
    until: Instant,
    /// The record as the store returns it. It is kept, so that no other record has its address.
    stored: Arc<Fields>,
    /// `None` if the owner may do all that the key may.
    narrowed: Option<LocalRecord>,
}

const SLOTS: usize = 64;

thread_local! {
    static KEPT: [Cell<Option<Box<Kept>>>; SLOTS] = const { [const { Cell::new(None) }; SLOTS] };
}

/// Returns the record as its owner's rights narrow it, if this thread has kept that.
#[inline]
pub(super) fn get(record: KeyRecord, of: (Generation, u64), now: Instant) -> Result<KeyRecord, KeyRecord> {
    let place = slot(&record);
    let found = KEPT.try_with(|kept| {
        let held = kept[place].take()?;
        let is_its_own = held.of == of && now < held.until && Arc::ptr_eq(&held.stored, record.shared_fields());
        let narrowed = is_its_own.then(|| held.narrowed.as_ref().map(LocalRecord::record));
        kept[place].set(Some(held));
        narrowed
    });
    match found {
        Ok(Some(narrowed)) => Ok(narrowed.unwrap_or(record)),
        Ok(None) | Err(_) => Err(record),
    }
}

/// Returns the record as these rights narrow it, and keeps that until an instant.
pub(super) fn insert(record: KeyRecord, rights: &Rights, of: (Generation, u64), until: Instant) -> KeyRecord {
    let narrowed = narrow(&record, rights).map(LocalRecord::new);
    let result = narrowed.as_ref().map(LocalRecord::record);
    let kept = Kept { of, until, stored: Arc::clone(record.shared_fields()), narrowed };
    // The old one is dropped outside of the cell: it may own values of the application.
    let place = slot(&record);
    let old = KEPT.try_with(|all| all[place].replace(Some(Box::new(kept))));
    drop(old);
    result.unwrap_or(record)
}

/// Returns the record with fewer permissions, or `None` if it stays as it is.
pub(super) fn narrow(record: &KeyRecord, rights: &Rights) -> Option<KeyRecord> {
    match rights {
        Rights::All => None,
        Rights::Only(most) if most.is_superset(record.permissions()) => None,
        Rights::Only(most) => {
            let left = record.permissions().intersection(most);
            Some(record.clone().with_permissions(left))
        }
        Rights::Blocked => Some(record.clone().blocked_by_owner()),
    }
}

#[inline]
fn slot(record: &KeyRecord) -> usize {
    let [.., last] = *record.digest().as_bytes();
    usize::from(last) % SLOTS
}
