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
    Lent(Arc<Lent>),
}

/// What a handle of a thread's own counts.
pub(super) struct Lent(Arc<Fields>);

/// A handle of this thread, for one record of many.
struct Place {
    /// Under which the handle may be handed out.
    stamp: Cell<Stamp>,
    lent: Cell<Option<Arc<Lent>>>,
    /// What was found last and is not lent: where it was. It may be there no more.
    seen: Cell<*const Fields>,
}

/// What a store, or a part of one, has become by its changes so far.
pub(crate) struct State(AtomicU64);

/// Tells a state from every other one, of whatever store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

/// One for each last byte of a digest.
const PLACES: usize = 256;

thread_local! {
    static HANDLES: [Place; PLACES] =
        const { [const { Place { stamp: Cell::new(Stamp(0)), lent: Cell::new(None), seen: Cell::new(ptr::null()) } }; PLACES] };
}

/// The record with this digest, if it was found under this stamp.
#[inline]
pub(crate) fn recall(digest: &KeyDigest, stamp: Stamp) -> Option<KeyRecord> {
    let recalled = HANDLES.try_with(|handles| {
        let place = &handles[place_of(digest)];
        if place.stamp.get() != stamp {
            return None;
        }
        let lent = place.lent.take()?;
        let record = (lent.0.digest == *digest).then(|| {
            // Of two that take turns one keeps its handle, and nothing is allocated.
            place.seen.set(ptr::null());
            KeyRecord(Handle::Lent(Arc::clone(&lent)))
        });
        place.lent.set(Some(lent));
        record
    });
    recalled.ok().flatten()
}

/// The record that was found under this stamp, by a handle of this thread once it was found twice in a row.
pub(crate) fn remember(found: Arc<Fields>, stamp: Stamp) -> KeyRecord {
    let remembered = HANDLES.try_with(|handles| {
        let place = &handles[place_of(&found.digest)];
        let held = place.lent.take();
        let lent = match &held {
            Some(lent) if Arc::ptr_eq(&lent.0, &found) => Arc::clone(lent),
            _ if place.seen.get() == Arc::as_ptr(&found) => Arc::new(Lent(Arc::clone(&found))),
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
        Ok(Some((lent, _held))) => KeyRecord(Handle::Lent(lent)),
        _ => found.into(),
    }
}

#[inline]
fn place_of(digest: &KeyDigest) -> usize {
    usize::from(digest.as_bytes()[31])
}

// === impl State ===

impl State {
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.0.load(Ordering::Acquire))
    }

    /// What was changed is there already: whoever sees the new stamp sees it.
    pub(crate) fn changed(&self) {
        let Self(new) = Self::default();
        self.0.store(new.into_inner(), Ordering::Release);
    }
}

/// With a stamp that nobody else has.
impl Default for State {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed).into())
    }
}

// === impl Handle ===

impl Handle {
    #[cfg(feature = "cache")]
    pub(super) fn lent(self) -> Self {
        Self::Lent(Arc::new(Lent(self.into_fields())))
    }

    pub(super) fn into_fields(self) -> Arc<Fields> {
        match self {
            Self::Own(fields) => fields,
            Self::Lent(lent) => Arc::clone(&lent.0),
        }
    }
}

impl Deref for Handle {
    type Target = Fields;

    #[inline]
    fn deref(&self) -> &Fields {
        match self {
            Self::Own(fields) => fields,
            Self::Lent(lent) => &lent.0,
        }
    }
}
