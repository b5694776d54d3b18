//! Handles that no other thread counts.
//!
//! The count of an `Arc` that two threads clone goes from core to core, and both wait for it. So each thread has a few handles of its
//! own: an `Arc` around the record's, which only this thread hands out. A handle is handed out again only under the stamp that its store
//! gave when it was found, and a store never gives a stamp again that it has changed something under.

use std::{
    cell::Cell,
    ops::Deref,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Fields, KeyRecord};
use crate::key::KeyDigest;

/// How a record is held.
#[derive(Clone)]
pub(super) enum Handle {
    Own(Arc<Fields>),
    Local(Arc<LocalArc>),
}

/// What a handle of a thread's own counts.
pub(super) struct LocalArc(Arc<Fields>);

/// A handle of this thread, for one record of many.
struct Slot {
    /// Under which the handle may be handed out.
    stamp: Cell<Generation>,
    lent: Cell<Option<Arc<LocalArc>>>,
    /// What was found last and is not lent: where it was. It may be there no more.
    seen: Cell<*const Fields>,
}

/// What a store, or a part of one, has become by its changes so far.
pub(crate) struct GenerationCounter(AtomicU64);

/// Tells a state from every other one, of whatever store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// One for each last byte of a digest.
const PLACES: usize = 256;

thread_local! {
    static HANDLES: [Slot; PLACES] =
        const { [const { Slot { stamp: Cell::new(Generation(0)), lent: Cell::new(None), seen: Cell::new(ptr::null()) } }; PLACES] };
}

/// The record with this digest, if it was found under this stamp.
#[inline]
pub(crate) fn get(digest: &KeyDigest, stamp: Generation) -> Option<KeyRecord> {
    let recalled = HANDLES.try_with(|handles| {
        let place = &handles[slot_of(digest)];
        if place.stamp.get() != stamp {
            return None;
        }
        let lent = place.lent.take()?;
        let record = (lent.0.digest == *digest).then(|| {
            // Of two that take turns one keeps its handle, and nothing is allocated.
            place.seen.set(ptr::null());
            KeyRecord(Handle::Local(Arc::clone(&lent)))
        });
        place.lent.set(Some(lent));
        record
    });
    recalled.ok().flatten()
}

/// The record that was found under this stamp, by a handle of this thread once it was found twice in a row.
pub(crate) fn insert(found: Arc<Fields>, stamp: Generation) -> KeyRecord {
    let remembered = HANDLES.try_with(|handles| {
        let place = &handles[slot_of(&found.digest)];
        let held = place.lent.take();
        let lent = match &held {
            Some(lent) if Arc::ptr_eq(&lent.0, &found) => Arc::clone(lent),
            _ if place.seen.get() == Arc::as_ptr(&found) => Arc::new(LocalArc(Arc::clone(&found))),
            _ => {
                place.seen.set(Arc::as_ptr(&found));
                place.lent.set(held);
                return None;
            }
        };
        place.stamp.set(stamp);
        place.seen.set(ptr::null());
        place.lent.set(Some(Arc::clone(&lent)));
        Some((lent, held))
    });
    match remembered {
        // What was held before goes here, where its values may ask for whatever they like.
        Ok(Some((lent, _held))) => KeyRecord(Handle::Local(lent)),
        _ => found.into(),
    }
}

#[inline]
fn slot_of(digest: &KeyDigest) -> usize {
    usize::from(digest.as_bytes()[31])
}

// === impl State ===

impl GenerationCounter {
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.0.load(Ordering::Acquire))
    }

    /// What was changed is there already: whoever sees the new stamp sees it.
    pub(crate) fn advance(&self) {
        let Self(new) = Self::default();
        self.0.store(new.into_inner(), Ordering::Release);
    }
}

/// With a stamp that nobody else has.
impl Default for GenerationCounter {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed).into())
    }
}

// === impl Handle ===

impl Handle {
    #[cfg(feature = "cache")]
    pub(super) fn into_local(self) -> Self {
        Self::Local(Arc::new(LocalArc(self.into_fields())))
    }

    pub(super) fn into_fields(self) -> Arc<Fields> {
        match self {
            Self::Own(fields) => fields,
            Self::Local(lent) => Arc::clone(&lent.0),
        }
    }
}

impl Deref for Handle {
    type Target = Fields;

    #[inline]
    fn deref(&self) -> &Fields {
        match self {
            Self::Own(fields) => fields,
            Self::Local(lent) => &lent.0,
        }
    }
}
