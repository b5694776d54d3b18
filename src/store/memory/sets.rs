//! Equal sets of permissions, kept once.

use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
};

use crate::{permission::Permissions, record::KeyRecord};

/// The sets that records have, and some that none has any more.
#[derive(Default)]
pub(super) struct Sets {
    known: HashSet<Known>,
    /// When there are so many, those that no record has are thrown away.
    sweep_at: usize,
}

#[derive(PartialEq, Eq)]
struct Known(Permissions);

/// So few are not worth a sweep.
const FEW: usize = 64;

// === impl Sets ===

impl Sets {
    /// The record with the copy of its permissions that is known.
    pub(super) fn share(&mut self, record: KeyRecord) -> KeyRecord {
        let own = record.permissions();
        if *own == Permissions::new() {
            return record;
        }
        let own = Known(own.clone());
        match self.known.get(&own) {
            Some(Known(known)) if known.is_same(&own.0) => record,
            Some(Known(known)) => record.with_permissions(known.clone()),
            None => {
                self.sweep();
                self.known.insert(own);
                record
            }
        }
    }

    /// Of twice as many each time as were left, so a set costs no more than two looks.
    fn sweep(&mut self) {
        if self.known.len() >= self.sweep_at.max(FEW) {
            self.known.retain(|Known(set)| set.is_shared());
            self.known.shrink_to(2 * self.known.len());
            self.sweep_at = 2 * self.known.len();
        }
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
