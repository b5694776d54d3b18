//! The idempotency keys of requests that have made a key.

use std::{
    collections::{BTreeSet, HashMap},
    time::SystemTime,
};

use crate::store::{IdempotencyRecord, idempotency::PRUNED};

/// The records by their id, and their ids in the order of their expiry.
#[derive(Default)]
pub(super) struct Requests {
    by_id: HashMap<[u8; 32], IdempotencyRecord>,
    by_end: BTreeSet<(SystemTime, [u8; 32])>,
}

// === impl Requests ===

impl Requests {
    pub(super) fn find(&self, id: &[u8; 32]) -> Option<&IdempotencyRecord> {
        self.by_id.get(id)
    }

    /// Stores a record in place of an expired one, and removes some expired records.
    pub(super) fn put(&mut self, record: &IdempotencyRecord, now: SystemTime) {
        self.by_end.insert((record.expires_at, record.id));
        if let Some(expired) = self.by_id.insert(record.id, record.clone())
            && expired.expires_at != record.expires_at
        {
            self.by_end.remove(&(expired.expires_at, expired.id));
        }
        for _ in 0..PRUNED {
            match self.by_end.pop_first() {
                Some((end, id)) if end <= now => drop(self.by_id.remove(&id)),
                Some(valid) => {
                    self.by_end.insert(valid);
                    return;
                }
                None => return,
            }
        }
    }
}
