//! Seven records and what tells them apart at a glance, in one line of the processor's cache.

use std::sync::Arc;

use crate::{key::KeyDigest, record::Fields};

/// A place is free until it is taken, and then it is taken or left, so that a search which went past it still does.
/// Only in a group that was never full a place may become free again: no search has gone past that one.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Group {
    tags: Tags,
    records: [Option<Arc<Fields>>; PLACES],
}

pub(super) const PLACES: usize = 7;

/// A few bits of a digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u8);

/// The tags of a group, a byte each; the highest byte is none.
#[derive(Clone, Copy, Default)]
struct Tags(u64);

/// One in each byte that is a tag.
const ONES: u64 = 0x0001_0101_0101_0101;

// === impl Group ===

impl Group {
    /// Where this record is in the group, or else whether a search goes on behind it.
    #[inline]
    pub(super) fn find(&self, tag: Tag, digest: &KeyDigest) -> Result<(usize, &Arc<Fields>), bool> {
        for place in self.tags.places_of(tag) {
            if let Some(record) = &self.records[place]
                && record.digest == *digest
            {
                return Ok((place, record));
            }
        }
        Err(self.tags.first(Tag::FREE).is_none())
    }

    /// A place for one more, and whether it was free and never taken.
    pub(super) fn vacancy(&self) -> Option<(usize, bool)> {
        let left = self.tags.first(Tag::LEFT).map(|place| (place, false));
        left.or_else(|| self.tags.first(Tag::FREE).map(|place| (place, true)))
    }

    pub(super) fn put(&mut self, place: usize, tag: Tag, record: Arc<Fields>) -> Option<Arc<Fields>> {
        self.tags.set(place, tag);
        self.records[place].replace(record)
    }

    /// What was in the place, and whether that is free again.
    pub(super) fn clear(&mut self, place: usize) -> (Option<Arc<Fields>>, bool) {
        let is_free = self.tags.first(Tag::FREE).is_some();
        self.tags.set(place, if is_free { Tag::FREE } else { Tag::LEFT });
        (self.records[place].take(), is_free)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<Fields>> {
        self.records.iter().flatten()
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

    fn set(&mut self, place: usize, tag: Tag) {
        self.0 = self.0 & !(0xFF << (8 * place)) | u64::from(tag.0) << (8 * place);
    }
}
