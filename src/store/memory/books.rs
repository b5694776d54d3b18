//! Every record by its id, and whose keys are which: what changes go through.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeSet, HashMap, hash_map::Entry},
    ops::Bound,
    sync::Arc,
};

use super::{sets::Sets, table::Pen};
use crate::{
    record::{Fields, KeyId, KeyRecord, Owner, Status},
    store::{ActorKey, Cap, Refusal},
};

#[derive(Default)]
pub(super) struct Books {
    by_id: BTreeSet<ById>,
    by_user: HashMap<User, Keys>,
    sets: Sets,
    pub(super) pen: Pen,
}

/// A record in the order of the ids, without a copy of its own.
struct ById(Arc<Fields>);

/// The keys of a user: those that a cap may count, and those that it never counts again.
#[derive(Default)]
struct Keys {
    open: BTreeSet<KeyId>,
    over: BTreeSet<KeyId>,
}

/// A user in an organization, or in none.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct User {
    pub(super) organization: Option<Box<str>>,
    pub(super) id: Box<str>,
}

// === impl Books ===

impl Books {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &KeyId) -> Result<KeyRecord, Refusal> {
        self.find(id).ok_or_else(|| Refusal::NotFound(id.clone()))
    }

    /// On whose behalf something is changed: while the books are locked, nobody else changes that key.
    pub(super) fn check_actor(&self, actor: Option<&ActorKey>) -> Result<(), Refusal> {
        actor.map_or(Ok(()), |actor| actor.check(self.find(actor.id()).as_ref()))
    }

    pub(super) fn get_for(&self, actor: Option<&ActorKey>, id: &KeyId) -> Result<KeyRecord, Refusal> {
        self.check_actor(actor)?;
        self.get(id)
    }

    pub(super) fn find(&self, id: &KeyId) -> Option<KeyRecord> {
        self.by_id.get(id.as_str()).map(ById::record)
    }

    /// The newest first, behind this id.
    pub(super) fn after(&self, id: Option<&KeyId>) -> impl Iterator<Item = KeyRecord> {
        let end = id.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_str()));
        self.by_id.range::<str, _>((Bound::Unbounded, end)).rev().map(ById::record)
    }

    /// Hands out what is written down, and what was before.
    pub(super) fn write(&mut self, record: KeyRecord) -> (Arc<Fields>, Option<Arc<Fields>>) {
        let record = self.sets.share(record);
        if let Some(user) = User::of(&record) {
            let keys = self.by_user.entry(user).or_default();
            let is_over = record.status() == Status::Revoked || record.replaced_by().is_some();
            if is_over {
                keys.open.remove(record.id());
            }
            let keys = if is_over { &mut keys.over } else { &mut keys.open };
            keys.insert(record.id().clone());
        }
        let fields = record.into_fields();
        let old = self.by_id.replace(ById(Arc::clone(&fields)));
        (fields, old.map(|ById(old)| old))
    }

    pub(super) fn strike(&mut self, id: &KeyId) -> Option<KeyRecord> {
        let ById(struck) = self.by_id.take(id.as_str())?;
        let struck = KeyRecord::from(struck);
        if let Some(user) = User::of(&struck)
            && let Entry::Occupied(mut keys) = self.by_user.entry(user)
        {
            keys.get_mut().open.remove(id);
            keys.get_mut().over.remove(id);
            if keys.get().open.is_empty() && keys.get().over.is_empty() {
                keys.remove();
            }
        }
        Some(struck)
    }

    pub(super) fn strike_all(&mut self, user: &User) -> Vec<KeyRecord> {
        let keys = self.by_user.remove(user).unwrap_or_default();
        let ids = keys.open.iter().chain(&keys.over);
        ids.filter_map(|id| self.by_id.take(id.as_str())).map(|ById(struck)| struck.into()).collect()
    }

    pub(super) fn has_no_room(&self, record: &KeyRecord, cap: Cap) -> bool {
        let of_the_owner: Box<dyn Iterator<Item = KeyRecord>> = match User::of(record) {
            Some(user) => {
                let open = self.by_user.get(&user).into_iter().flat_map(|keys| &keys.open);
                Box::new(open.filter_map(|id| self.find(id)))
            }
            None => Box::new(
                self.after(None)
                    .filter(|other| other.owner() == record.owner() && other.organization() == record.organization()),
            ),
        };
        let counted = of_the_owner.filter(|other| cap.counts(other));
        counted.take(cap.most as usize).count() == cap.most as usize
    }
}

// === impl ById, User ===

impl ById {
    fn record(&self) -> KeyRecord {
        Arc::clone(&self.0).into()
    }

    fn id(&self) -> &str {
        self.0.id.as_str()
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.id()
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id().cmp(other.id())
    }
}

impl User {
    fn of(record: &KeyRecord) -> Option<Self> {
        let Some(Owner::User(id)) = record.owner() else {
            return None;
        };
        Some(Self { organization: record.organization().map(Into::into), id: id.as_str().into() })
    }
}
