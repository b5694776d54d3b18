//! The expiries that are not announced yet, in their order.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    record::{Fields, KeyId},
    store::ExpiryClaim,
};

#[derive(Default)]
pub(super) struct Announcements {
    /// The keys whose expiry can be announced and was not.
    due: BTreeSet<(SystemTime, KeyId)>,
    /// The announced expiry of each key.
    announced: HashMap<KeyId, SystemTime>,
}

// === impl Announcements ===

impl Announcements {
    /// Replaces a record by another one with its id, or by none.
    pub(super) fn exchange(&mut self, old: Option<&Arc<Fields>>, new: Option<&Arc<Fields>>) {
        let [before, after] = [old, new].map(|record| record.and_then(|record| end_of(record)));
        if before != after
            && let (Some(old), Some(end)) = (old, before)
        {
            self.due.remove(&(end, old.id.clone()));
        }
        match (new, after) {
            (Some(new), Some(end)) if before != after && self.announced.get(&new.id) != Some(&end) => {
                self.due.insert((end, new.id.clone()));
            }
            (None, _) => {
                if let Some(old) = old {
                    self.announced.remove(&old.id);
                }
            }
            (Some(_), _) => {}
        }
    }

    /// Marks the next expiries of the claim as announced. Returns the ids of their keys.
    pub(super) fn claim(&mut self, claim: &ExpiryClaim) -> Vec<KeyId> {
        let ExpiryClaim { after, until, limit } = *claim;
        let mut claimed = Vec::new();
        let Some(first) = after.checked_add(Duration::from_nanos(1)) else { return claimed };
        while claimed.len() < limit {
            let next = self.due.range((first, KeyId::from(""))..).next();
            let Some((end, id)) = next.filter(|(end, _)| *end <= until).cloned() else { break };
            self.due.remove(&(end, id.clone()));
            self.announced.insert(id.clone(), end);
            claimed.push(id);
        }
        claimed
    }

    /// Takes back the announcement of this expiry of the record.
    pub(super) fn release(&mut self, record: &Arc<Fields>, end: SystemTime) {
        if self.announced.get(&record.id) == Some(&end) {
            self.announced.remove(&record.id);
            if end_of(record) == Some(end) {
                self.due.insert((end, record.id.clone()));
            }
        }
    }
}

/// Returns an expiry that can be announced.
fn end_of(record: &Fields) -> Option<SystemTime> {
    let end = record.expires_at()?;
    ExpiryClaim::announces(record).then_some(end)
}
