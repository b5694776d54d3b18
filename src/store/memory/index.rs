//! The records by id, by organization and by owner, for changes and lists.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use super::{
    announcements::Announcements,
    order::{End, ExpiryOrder, IdBound, IdOrder, OrganizationOrder, OwnerOrder, SortKey, Sorted, Whose},
    permission_interner::PermissionInterner,
    table::WriteToken,
    usage::UsageTable,
};
use crate::{
    record::{Fields, KeyId, KeyRecord},
    store::{CountedKeys, ExpiryClaim, KeyFilter, OwnerScope},
};

#[derive(Default)]
pub(super) struct Index {
    by_id: Sorted<IdOrder>,
    live: Partition,
    revoked: Partition,
    /// The records that a limit may count.
    open: Sorted<ExpiryOrder>,
    /// The keys whose expiry is not announced yet, by the expiry.
    expiring: BTreeSet<(SystemTime, KeyId)>,
    permissions: PermissionInterner,
    announcements: Announcements,
    pub(super) usage: UsageTable,
    pub(super) token: WriteToken,
}

/// The revoked records, or all others, in the orders of lists.
#[derive(Default)]
struct Partition {
    by_organization: Sorted<OrganizationOrder>,
    /// Only records with an owner.
    by_owner: Sorted<OwnerOrder>,
}

/// The maximum number of records that one call of [`Index::read_on`] visits.
pub(super) const MAX_VISITS: usize = 256;

// === impl Index ===

impl Index {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn find(&self, id: &KeyId) -> Option<KeyRecord> {
        self.by_id.get(SortKey::of_id(id.as_str())).map(record)
    }

    /// Adds the matching records after this id to a page. If it stops after `MAX_VISITS` records,
    /// returns the id after which to continue.
    pub(super) fn read_on(
        &self,
        filter: &KeyFilter,
        after: Option<&KeyId>,
        page: &mut Vec<KeyRecord>,
    ) -> Option<KeyId> {
        if page.len() >= filter.limit {
            return None;
        }
        let (everywhere, has_revoked) = (filter.all_organizations, filter.has_revoked());
        let mut live = if everywhere { self.behind(after) } else { self.live.behind(filter, after) }.peekable();
        let revoked = (has_revoked && !everywhere).then(|| self.revoked.behind(filter, after));
        let mut revoked = revoked.into_iter().flatten().peekable();
        for visits in 1.. {
            let is_live_next = match (live.peek(), revoked.peek()) {
                (Some(live), Some(revoked)) => live.id > revoked.id,
                (live, _) => live.is_some(),
            };
            let next = record(if is_live_next { live.next() } else { revoked.next() }?);
            let id = (visits == MAX_VISITS).then(|| next.id().clone());
            if filter.matches(&next) {
                page.push(next);
            }
            if page.len() >= filter.limit {
                return None;
            }
            if id.is_some() {
                return id;
            }
        }
        None
    }

    /// The records of all organizations after this id, in descending order.
    fn behind(&self, after: Option<&KeyId>) -> Box<dyn Iterator<Item = &Arc<Fields>> + '_> {
        let last = after.map_or(IdBound::Last, |id| IdBound::At(id.as_str()));
        Box::new(self.by_id.between(SortKey::of_id(""), SortKey { id: last, ..SortKey::of_id("") }).rev())
    }

    /// Stores the record; returns it and the one that it replaces.
    pub(super) fn upsert(&mut self, record: KeyRecord) -> (Arc<Fields>, Option<Arc<Fields>>) {
        let fields = self.permissions.intern(record).into_fields();
        let old = self.by_id.put(&fields);
        self.exchange(old.as_ref(), Some(&fields));
        (fields, old)
    }

    pub(super) fn remove(&mut self, id: &KeyId) -> Option<KeyRecord> {
        let removed = self.by_id.take(SortKey::of_id(id.as_str()))?;
        self.exchange(Some(&removed), None);
        Some(removed.into())
    }

    /// Returns every record of an owner. This takes time for each of them.
    pub(super) fn of_owner(&self, of: OwnerScope<'_>) -> Vec<KeyRecord> {
        let key = |id| SortKey { organization: of.organization, owner: Whose::of(of.owner), end: End::Never, id };
        let (first, last) = (key(IdBound::At("")), key(IdBound::Last));
        let records = [&self.live, &self.revoked].into_iter().flat_map(|partition| match of.owner {
            Some(_) => Box::new(partition.by_owner.between(first, last)) as Box<dyn Iterator<Item = &Arc<Fields>>>,
            None => Box::new(partition.by_organization.between(first, last).filter(|record| record.owner().is_none())),
        });
        records.map(record).collect()
    }

    /// Counts the keys of an owner that are neither revoked nor expired, up to `max`.
    pub(super) fn count(&self, of: OwnerScope<'_>, at: SystemTime, max: usize) -> usize {
        let key = |end, id| SortKey { organization: of.organization, owner: Whose::of(of.owner), end, id };
        if of.owner.is_some() {
            // A key that expires at this instant does not count.
            let (first, last) = (key(End::At(at), IdBound::Last), key(End::Never, IdBound::Last));
            return self.open.between(first, last).take(max).count();
        }
        let (first, last) = (key(End::Never, IdBound::At("")), key(End::Never, IdBound::Last));
        let counted = CountedKeys::OfOwner(of, at);
        let live = self.live.by_organization.between(first, last);
        live.filter(|other| counted.contains(&record(other))).take(max).count()
    }

    /// Returns the keys that have expired without an event, those that expired first at first.
    pub(super) fn due(&self, now: SystemTime) -> impl Iterator<Item = &(SystemTime, KeyId)> {
        self.expiring.iter().take_while(move |(end, _)| *end <= now)
    }

    pub(super) fn announced(&mut self, end: SystemTime, id: KeyId) {
        self.expiring.remove(&(end, id));
    }

    /// Marks the next expiries as announced, and returns their records.
    pub(super) fn claim_expiring(&mut self, claim: &ExpiryClaim) -> Vec<KeyRecord> {
        let claimed = self.announcements.claim(claim);
        claimed.iter().filter_map(|id| self.find(id)).collect()
    }

    /// Removes the marks of these expiries.
    pub(super) fn release_expiring(&mut self, records: &[KeyRecord]) {
        for record in records {
            let stored = self.by_id.get(SortKey::of_id(record.id().as_str()));
            if let (Some(stored), Some(end)) = (stored, record.expires_at()) {
                self.announcements.release(stored, end);
            }
        }
    }

    /// Replaces a record in every order except that of the ids.
    fn exchange(&mut self, old: Option<&Arc<Fields>>, new: Option<&Arc<Fields>>) {
        self.announcements.exchange(old, new);
        for (partition, is_here) in [(&mut self.live, false), (&mut self.revoked, true)] {
            let [old, new] = [old, new].map(|record| record.filter(|record| record.is_revoked() == is_here));
            partition.by_organization.exchange(old, new);
            let [old, new] = [old, new].map(|record| record.filter(|record| record.owner().is_some()));
            partition.by_owner.exchange(old, new);
        }
        let is_open = |record: &&Arc<Fields>| record.owner().is_some() && !record.is_revoked();
        self.open.exchange(old.filter(is_open), new.filter(is_open));
        let end = |record: Option<&Arc<Fields>>| record.filter(|record| !record.is_revoked())?.expires_at();
        let [was, is] = [end(old), end(new)];
        if was != is {
            if let Some((end, record)) = was.zip(old) {
                self.expiring.remove(&(end, record.id.clone()));
            }
            self.expiring.extend(is.zip(new.map(|record| record.id.clone())));
        }
    }
}

// === impl Partition ===

impl Partition {
    /// The records of the filter's organization and owner after this id, in descending order.
    fn behind<'s>(
        &'s self,
        filter: &KeyFilter,
        after: Option<&KeyId>,
    ) -> Box<dyn Iterator<Item = &'s Arc<Fields>> + 's> {
        let key = |id| SortKey {
            organization: filter.organization.as_deref(),
            owner: Whose::of(filter.owner.as_ref()),
            end: End::Never,
            id,
        };
        let (first, last) = (key(IdBound::At("")), key(after.map_or(IdBound::Last, |id| IdBound::At(id.as_str()))));
        match &filter.owner {
            Some(_) => Box::new(self.by_owner.between(first, last).rev()),
            None => Box::new(self.by_organization.between(first, last).rev()),
        }
    }
}

fn record(fields: &Arc<Fields>) -> KeyRecord {
    Arc::clone(fields).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Owner, Status};

    #[test]
    fn one_call_visits_a_bounded_number_of_records() {
        let mut index = Index::default();
        for number in 0..1000_u16 {
            let mut digest = [0; 32];
            digest[..2].copy_from_slice(&number.to_be_bytes());
            let record = KeyRecord::new(format!("{number:04}"), digest).with_organization("acme");
            index.upsert(if number % 2 == 0 {
                record.with_status(Status::Revoked)
            } else {
                record.with_owner(Owner::ServiceAccount)
            });
        }
        for (filter, all, turns) in [
            (KeyFilter::organization("acme"), 500, 2),
            (KeyFilter::organization("acme").with_revoked(), 1000, 4),
            (KeyFilter::organization("acme").owner(Owner::ServiceAccount), 500, 2),
            (KeyFilter::organization("acme").environment("live"), 0, 2),
            (KeyFilter::organization("acme").environment("live").with_revoked(), 0, 4),
            (KeyFilter::organization("globex").with_revoked(), 0, 1),
            (KeyFilter::default(), 0, 1),
        ] {
            let filter = filter.limit(usize::MAX);
            let (mut page, mut counted, mut after) = (Vec::new(), 0, None);
            loop {
                let before = page.len();
                after = index.read_on(&filter, after.as_ref(), &mut page);
                counted += 1;
                assert!(page.len() - before <= MAX_VISITS);
                if after.is_none() {
                    break;
                }
            }
            assert_eq!((page.len(), counted), (all, turns), "{filter:?}");
            assert!(page.is_sorted_by(|one, next| one.id() > next.id()));
        }
    }
}
