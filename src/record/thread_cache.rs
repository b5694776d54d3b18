//! Per-thread `Arc` handles that avoid contention on a shared reference count.
//!
//! When two threads clone one `Arc`, its count moves from core to core and both wait for it. So
//! each thread caches a few records behind an `Arc` of its own, which no other thread clones. The
//! store adds a stamp, such as a [`Generation`], to each cached record. The cache returns a record
//! only while the store accepts its stamp.

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

/// A reference to a record, shared by all threads or local to one.
#[derive(Clone)]
pub(super) enum Handle {
    Shared(Arc<Fields>),
    Local(Arc<LocalArc>),
}

/// A record with a reference count that belongs to one thread.
pub(super) struct LocalArc {
    fields: Arc<Fields>,
    /// The limits of the record, with their counts.
    #[cfg(feature = "limits")]
    metered: std::sync::OnceLock<Box<crate::limit::Metered>>,
    /// Whether the limits belong to a limiter that does not exist any more.
    #[cfg(feature = "limits")]
    is_outdated: std::sync::atomic::AtomicBool,
}

/// The records that one thread found recently. The last byte of a digest selects the slot of its
/// record.
///
/// A record takes its slot when it is found twice in a row. So if lookups alternate between two
/// records of one slot, the slot does not change, and nothing is allocated.
pub(crate) struct ThreadCache<S, const SLOTS: usize>([Slot<S>; SLOTS]);

struct Slot<S> {
    stamp: Cell<Option<S>>,
    held: Cell<Option<Arc<LocalArc>>>,
    /// The address of the last found record that is not in the slot. The cache compares the address
    /// but never reads from it, since the record may be freed.
    candidate: Cell<*const Fields>,
}

/// A record for one thread, which makes handles of it that other threads do not count.
pub(crate) struct LocalRecord(Arc<LocalArc>);

/// Counts the changes of a store, or of a part of a store.
pub(crate) struct GenerationCounter(AtomicU64);

/// Identifies one state of one store. No other state of any store in the process has the same
/// value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

// === impl ThreadCache ===

impl<S: Copy, const SLOTS: usize> ThreadCache<S, SLOTS> {
    pub(crate) const fn new() -> Self {
        Self(
            [const { Slot { stamp: Cell::new(None), held: Cell::new(None), candidate: Cell::new(ptr::null()) } };
                SLOTS],
        )
    }

    /// Returns the record with this digest if its stamp is still valid.
    #[inline]
    pub(crate) fn get(&self, digest: &KeyDigest, is_valid: impl FnOnce(S) -> bool) -> Option<KeyRecord> {
        let slot = self.slot(digest);
        if !slot.stamp.get().is_some_and(is_valid) {
            return None;
        }
        let held = slot.held.take()?;
        if held.is_outdated() {
            return None;
        }
        let record = (held.fields.digest == *digest).then(|| {
            slot.candidate.set(ptr::null());
            KeyRecord(Handle::Local(Arc::clone(&held)))
        });
        slot.held.set(Some(held));
        record
    }

    /// Returns the found record. Caches it with this stamp if it was found twice in a row.
    pub(crate) fn insert(&self, found: Arc<Fields>, stamp: S) -> KeyRecord {
        let slot = self.slot(&found.digest);
        let old = slot.held.take();
        let local = match &old {
            Some(held) if Arc::ptr_eq(&held.fields, &found) => Arc::clone(held),
            _ if slot.candidate.get() == Arc::as_ptr(&found) => Arc::new(LocalArc::new(found)),
            _ => {
                slot.candidate.set(Arc::as_ptr(&found));
                slot.held.set(old);
                return found.into();
            }
        };
        slot.stamp.set(Some(stamp));
        slot.candidate.set(ptr::null());
        slot.held.set(Some(Arc::clone(&local)));
        // Drops the old record last: it may own user values, and their `Drop` may use this cache.
        drop(old);
        KeyRecord(Handle::Local(local))
    }

    #[inline]
    fn slot(&self, digest: &KeyDigest) -> &Slot<S> {
        let [.., last] = *digest.as_bytes();
        &self.0[usize::from(last) % SLOTS]
    }
}

// === impl GenerationCounter, Generation ===

impl GenerationCounter {
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.0.load(Ordering::Acquire))
    }

    /// Called after the change: a thread that reads the new generation also sees the change.
    pub(crate) fn advance(&self) {
        let Generation(new) = Generation::unique();
        self.0.store(new, Ordering::Release);
    }
}

impl Default for GenerationCounter {
    fn default() -> Self {
        let Generation(first) = Generation::unique();
        Self(first.into())
    }
}

impl Generation {
    /// Identifies nothing.
    #[cfg(feature = "limits")]
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

// === impl LocalRecord, LocalArc, Handle ===

impl LocalRecord {
    pub(crate) fn new(record: KeyRecord) -> Self {
        Self(Arc::new(LocalArc::new(record.into_fields())))
    }

    #[inline]
    pub(crate) fn record(&self) -> KeyRecord {
        KeyRecord(Handle::Local(Arc::clone(&self.0)))
    }
}

impl LocalArc {
    fn new(fields: Arc<Fields>) -> Self {
        Self {
            fields,
            #[cfg(feature = "limits")]
            metered: std::sync::OnceLock::new(),
            #[cfg(feature = "limits")]
            is_outdated: false.into(),
        }
    }
}

impl LocalArc {
    #[inline]
    #[cfg_attr(not(feature = "limits"), expect(clippy::unused_self))]
    fn is_outdated(&self) -> bool {
        #[cfg(feature = "limits")]
        return self.is_outdated.load(Ordering::Relaxed);
        #[cfg(not(feature = "limits"))]
        return false;
    }
}

impl Handle {
    /// Makes the cache of a thread find the record again.
    #[cfg(feature = "limits")]
    pub(super) fn forget(&self) {
        if let Self::Local(local) = self {
            local.is_outdated.store(true, Ordering::Relaxed);
        }
    }

    /// Returns where to keep the limits of the record, if it is in the cache of a thread.
    #[cfg(feature = "limits")]
    #[inline]
    pub(super) fn metered(&self) -> Option<&std::sync::OnceLock<Box<crate::limit::Metered>>> {
        match self {
            Self::Shared(_) => None,
            Self::Local(local) => Some(&local.metered),
        }
    }

    #[inline]
    pub(super) fn shared(&self) -> &Arc<Fields> {
        match self {
            Self::Shared(fields) => fields,
            Self::Local(local) => &local.fields,
        }
    }

    pub(super) fn into_fields(self) -> Arc<Fields> {
        match self {
            Self::Shared(fields) => fields,
            Self::Local(local) => Arc::clone(&local.fields),
        }
    }
}

impl Deref for Handle {
    type Target = Fields;

    #[inline]
    fn deref(&self) -> &Fields {
        match self {
            Self::Shared(fields) => fields,
            Self::Local(local) => &local.fields,
        }
    }
}
