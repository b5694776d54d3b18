//! Seven records and what tells them apart at a glance, in one line of the processor's cache.

use std::sync::{
    Arc,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

use arc_swap::{ArcSwapOption, Guard};

use crate::{key::KeyDigest, record::Fields};

/// A place is free until it is taken, and then it is taken or left, so that a search which went past it still does.
/// Only in a group that was never full a place may become free again: no search has gone past that one.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Group {
    tags: AtomicU64,
    records: [ArcSwapOption<Fields>; PLACES],
}

/// A record that is not dropped meanwhile.
pub(super) type Held = Guard<Option<Arc<Fields>>>;

pub(super) const PLACES: usize = 7;

/// A few bits of a digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u8);

/// The tags of a group, a byte each; the highest byte is none.
#[derive(Clone, Copy)]
struct Tags(u64);

/// One in each byte that is a tag.
const ONES: u64 = 0x0001_0101_0101_0101;

// === impl Group ===

impl Group {
    /// Where this record is in the group, or else whether a search goes on behind it.
    #[inline]
    pub(super) fn find(&self, tag: Tag, digest: &KeyDigest) -> Result<(usize, Held), bool> {
        let tags = self.tags();
        for place in tags.places_of(tag) {
            let record = self.records[place].load();
            if record.as_ref().is_some_and(|record| record.digest == *digest) {
                return Ok((place, record));
            }
        }
        Err(tags.first(Tag::FREE).is_none())
    }

    /// A place for one more, and whether it was free and never taken.
    pub(super) fn vacancy(&self) -> Option<(usize, bool)> {
        let tags = self.tags();
        let left = tags.first(Tag::LEFT).map(|place| (place, false));
        left.or_else(|| tags.first(Tag::FREE).map(|place| (place, true)))
    }

    pub(super) fn put(&self, place: usize, tag: Tag, record: Arc<Fields>) -> Option<Arc<Fields>> {
        let old = self.records[place].swap(Some(record));
        self.tags.store(self.tags().with(place, tag).0, Release);
        old
    }

    /// Whether the place is free again.
    pub(super) fn clear(&self, place: usize) -> bool {
        let tags = self.tags();
        let is_free = tags.first(Tag::FREE).is_some();
        self.tags.store(tags.with(place, if is_free { Tag::FREE } else { Tag::LEFT }).0, Release);
        self.records[place].store(None);
        is_free
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Arc<Fields>> {
        self.records.iter().filter_map(ArcSwapOption::load_full)
    }

    fn tags(&self) -> Tags {
        Tags(self.tags.load(Acquire))
    }
}

// === impl Tag, Tags ===

impl Tag {
    const FREE: Self = Self(0);
    const LEFT: Self = Self(1);

    pub(super) fn new(bits: u8) -> Self {
        Self(bits.max(2))
    }
}

impl Tags {
    /// The first place with this tag.
    fn first(self, tag: Tag) -> Option<usize> {
        self.places_of(tag).next()
    }

    /// Every place with this tag, and sometimes one behind such a place that has another: a search looks at the record then.
    #[inline]
    fn places_of(self, tag: Tag) -> impl Iterator<Item = usize> {
        let others = self.0 ^ (ONES * u64::from(tag.0));
        let mut zeros = others.wrapping_sub(ONES) & !others & (ONES << 7);
        std::iter::from_fn(move || {
            let place = (zeros != 0).then_some(zeros.trailing_zeros() as usize / 8)?;
            zeros &= zeros - 1;
            Some(place)
        })
    }

    fn with(self, place: usize, tag: Tag) -> Self {
        Self(self.0 & !(0xFF << (8 * place)) | u64::from(tag.0) << (8 * place))
    }
}
