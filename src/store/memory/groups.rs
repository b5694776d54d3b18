//! Groups of records, searched from where a digest says on, until one has a free place.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use arc_swap::Guard;

use super::group::{Group, Held, PLACES, Tag};
use crate::{key::KeyDigest, record::Fields};

pub(super) struct Groups {
    /// A power of two of them.
    groups: Box<[Group]>,
    /// How many free places may be taken yet: enough stay free for a search to end soon.
    room: AtomicUsize,
}

/// Where the search for a digest begins, and what it looks for.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub(super) group: usize,
    pub(super) tag: Tag,
}

/// No place may be taken any more.
pub(super) struct Full;

// === impl Groups ===

impl Groups {
    /// With room for so many, and a third more.
    pub(super) fn for_records(records: usize) -> Self {
        let mut groups = 1_usize;
        while room(groups) * 3 < records * 4 {
            groups *= 2;
        }
        let room = AtomicUsize::new(room(groups));
        Self { groups: (0..groups).map(|_| Group::default()).collect(), room }
    }

    #[inline]
    pub(super) fn find(&self, start: Start, digest: &KeyDigest) -> Option<Arc<Fields>> {
        self.search(start, digest).and_then(|(_, _, record)| Guard::into_inner(record))
    }

    #[inline]
    fn search(&self, start: Start, digest: &KeyDigest) -> Option<(&Group, usize, Held)> {
        for group in self.from(start) {
            match group.find(start.tag, digest) {
                Ok((place, record)) => return Some((group, place, record)),
                Err(goes_on) if goes_on => {}
                Err(_) => break,
            }
        }
        None
    }

    /// Hands out the record that was in its place.
    pub(super) fn put(&self, start: Start, record: &Arc<Fields>) -> Result<Option<Arc<Fields>>, Full> {
        if let Some((group, place, _)) = self.search(start, &record.digest) {
            return Ok(group.put(place, start.tag, Arc::clone(record)));
        }
        let vacancy = |group| Group::vacancy(group).map(|(place, is_free)| (group, place, is_free));
        let (group, place, is_free) = self.from(start).find_map(vacancy).ok_or(Full)?;
        if is_free {
            let room = self.room.load(Relaxed).checked_sub(1).ok_or(Full)?;
            self.room.store(room, Relaxed);
        }
        Ok(group.put(place, start.tag, Arc::clone(record)))
    }

    pub(super) fn remove(&self, start: Start, digest: &KeyDigest) -> Option<Arc<Fields>> {
        let (group, place, record) = self.search(start, digest)?;
        if group.clear(place) {
            self.room.store(self.room.load(Relaxed) + 1, Relaxed);
        }
        Guard::into_inner(record)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Arc<Fields>> {
        self.groups.iter().flat_map(Group::records)
    }

    /// Every group once.
    #[inline]
    fn from(&self, start: Start) -> impl Iterator<Item = &Group> {
        let last = self.groups.len() - 1;
        let first = start.group & last;
        (first..=first + last).map(move |number| &self.groups[number & last])
    }
}

/// Three places of four.
fn room(groups: usize) -> usize {
    groups * PLACES * 3 / 4
}
