//! Groups of records, searched from where a digest says on, until one has a free place.

use std::sync::Arc;

use super::group::{Group, PLACES, Tag};
use crate::{key::KeyDigest, record::Fields};

#[derive(Default)]
pub(super) struct Groups {
    /// A power of two of them, or none.
    groups: Box<[Group]>,
    /// How many free places may be taken yet: enough stay free for a search to end soon.
    room: usize,
}

/// Where the search for a digest begins, and what it looks for.
#[derive(Clone, Copy)]
pub(super) struct ProbeStart {
    pub(super) group: usize,
    pub(super) tag: Tag,
}

// === impl Groups ===

impl Groups {
    /// With room for so many, and a third more.
    pub(super) fn for_records(records: usize) -> Self {
        let mut groups = 1_usize;
        while room(groups) * 3 < records * 4 {
            groups *= 2;
        }
        Self { groups: (0..groups).map(|_| Group::default()).collect(), room: room(groups) }
    }

    pub(super) fn find(&self, start: ProbeStart, digest: &KeyDigest) -> Option<&Arc<Fields>> {
        self.search(start, digest).map(|(_, _, record)| record)
    }

    #[inline]
    fn search(&self, start: ProbeStart, digest: &KeyDigest) -> Option<(usize, usize, &Arc<Fields>)> {
        for number in self.from(start) {
            match self.groups[number].find(start.tag, digest) {
                Ok((place, record)) => return Some((number, place, record)),
                Err(goes_on) if goes_on => {}
                Err(_) => break,
            }
        }
        None
    }

    /// Whether one more may need more room than there is.
    pub(super) fn is_full(&self) -> bool {
        self.room == 0
    }

    /// Hands out the record that was in its place. There is room for it.
    pub(super) fn put(&mut self, start: ProbeStart, record: Arc<Fields>) -> Option<Arc<Fields>> {
        let known = self.search(start, &record.digest).map(|(number, place, _)| (number, place, false));
        let (number, place, is_free) = known.or_else(|| self.vacancy(start)).expect("some places always stay free");
        self.room -= usize::from(is_free);
        self.groups[number].put(place, start.tag, record)
    }

    fn vacancy(&self, start: ProbeStart) -> Option<(usize, usize, bool)> {
        self.from(start).find_map(|number| {
            let (place, is_free) = self.groups[number].vacancy()?;
            Some((number, place, is_free))
        })
    }

    pub(super) fn remove(&mut self, start: ProbeStart, digest: &KeyDigest) -> Option<Arc<Fields>> {
        let (number, place, _) = self.search(start, digest)?;
        let (record, is_free) = self.groups[number].clear(place);
        self.room += usize::from(is_free);
        record
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<Fields>> {
        self.groups.iter().flat_map(Group::records)
    }

    /// Every group once.
    #[inline]
    fn from(&self, start: ProbeStart) -> impl Iterator<Item = usize> + use<> {
        let count = self.groups.len();
        let last = count.wrapping_sub(1);
        let first = start.group & last;
        (0..count).map(move |step| (first + step) & last)
    }
}

/// Three places of four.
fn room(groups: usize) -> usize {
    groups * PLACES * 3 / 4
}
