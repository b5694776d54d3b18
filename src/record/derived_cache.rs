//! Records that were derived from others, kept for each thread.
//!
//! A request may see a record with other permissions than the stored one: what its owner may do,
//! its roles, or a token. A thread keeps the last derived record of each slot, so that the next
//! request with the same stored record needs no allocation. The handles of a thread are its own, so
//! that two threads do not share a reference count.

use std::{cell::Cell, sync::Arc};

use super::{Fields, KeyRecord, LocalRecord};

/// The derived records of one thread. `B` is what a record was derived by.
pub(crate) struct DerivedCache<B>([Cell<Option<Box<Derived<B>>>>; SLOTS]);

struct Derived<B> {
    by: B,
    /// The record as the store returns it. It is kept, so that no other record has its address.
    stored: Arc<Fields>,
    /// `None` if the record stays as it is.
    changed: Option<LocalRecord>,
}

/// What a thread has kept of a record.
pub(crate) enum Kept {
    /// The record stays as it is.
    AsItIs,
    Changed(KeyRecord),
}

const SLOTS: usize = 64;

// === impl DerivedCache ===

impl<B> DerivedCache<B> {
    pub(crate) const fn new() -> Self {
        Self([const { Cell::new(None) }; SLOTS])
    }

    /// Returns what was derived from this record, if `is_current` accepts what it was derived by.
    #[inline]
    pub(crate) fn get(&self, slot: u8, record: &KeyRecord, is_current: impl FnOnce(&B) -> bool) -> Option<Kept> {
        let cell = &self.0[usize::from(slot) % SLOTS];
        let derived = cell.take()?;
        let is_its_own = Arc::ptr_eq(&derived.stored, record.shared_fields()) && is_current(&derived.by);
        let changed = || derived.changed.as_ref().map_or(Kept::AsItIs, |local| Kept::Changed(local.record()));
        let kept = is_its_own.then(changed);
        cell.set(Some(derived));
        kept
    }

    /// Keeps what was derived from this record.
    pub(crate) fn insert(&self, slot: u8, record: &KeyRecord, by: B, changed: Option<KeyRecord>) {
        let changed = changed.map(LocalRecord::new);
        let derived = Derived { by, stored: Arc::clone(record.shared_fields()), changed };
        // The old one is dropped outside of the cell: it may own values of the application.
        drop(self.0[usize::from(slot) % SLOTS].replace(Some(Box::new(derived))));
    }
}
