//! The write side of a store of one's own, and how it is tested: a ledger in memory stands for the database.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tower_api_key::{
    KeyDigest, KeyId, KeyRecord, KeyRegistry, KeyStore, Owner, Status,
    store::{ActorKey, Answered, KeyFilter, KeyLimit, RegistryError, Replacement, UsageDelta, testkit},
};

#[derive(Default)]
struct Ledger(Mutex<Vec<KeyRecord>>);

type Rows<'l> = MutexGuard<'l, Vec<KeyRecord>>;

impl Ledger {
    /// One lock is one transaction.
    fn rows(&self) -> Rows<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for Ledger {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.rows().iter().find(|row| row.digest() == digest).cloned())
    }
}

impl KeyRegistry for Ledger {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Answered<(), Infallible> {
        let mut rows = self.rows();
        let checked = check_actor(&rows, actor).and_then(|()| check_insert(&rows, &record, cap));
        Ok(checked.map(|()| rows.push(record)))
    }

    async fn insert_first(&self, record: KeyRecord) -> Answered<(), Infallible> {
        let mut rows = self.rows();
        if !rows.is_empty() {
            return Ok(Err(RegistryError::NotEmpty));
        }
        rows.push(record);
        Ok(Ok(()))
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.rows().iter().find(|row| row.id() == id).cloned())
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        let mut listed = self.rows().clone();
        listed.retain(|row| filter.matches(row) && filter.after.as_ref().is_none_or(|after| row.id() < after));
        listed.sort_by(|a, b| b.id().cmp(a.id()));
        listed.truncate(filter.limit);
        Ok(listed)
    }

    async fn update(&self, changed: KeyRecord, actor: Option<&ActorKey>) -> Answered<KeyRecord, Infallible> {
        let mut rows = self.rows();
        Ok(check_actor(&rows, actor).and_then(|()| update(&mut rows, changed)))
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Answered<Replacement, Infallible> {
        let mut rows = self.rows();
        let checked = check_actor(&rows, actor).and_then(|()| row(&mut rows, old.id())?.apply_update(old.clone()));
        let checked = checked.and_then(|_| check_insert(&rows, &new, None));
        Ok(checked.and_then(|()| update(&mut rows, old)).map(|old| {
            rows.push(new);
            // Of the keys that replaced one another, one is in grace at most.
            let earlier = old.replaces().and_then(|id| row(&mut rows, id).ok());
            let ended = earlier.and_then(|row| {
                *row = row.end_of_grace(&old)?;
                Some(row.clone())
            });
            Replacement::new(old, ended)
        }))
    }

    async fn revoke(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, Infallible> {
        let mut rows = self.rows();
        let checked = check_actor(&rows, actor).and_then(|()| row(&mut rows, id));
        let revoked = checked.map(|row| row.clone().with_status(Status::Revoked));
        Ok(revoked.and_then(|revoked| update(&mut rows, revoked)))
    }

    async fn remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, Infallible> {
        let mut rows = self.rows();
        let place = rows.iter().position(|row| row.id() == id).ok_or_else(|| RegistryError::NotFound(id.clone()));
        Ok(check_actor(&rows, actor).and_then(|()| Ok(rows.remove(place?))))
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Answered<Vec<KeyRecord>, Infallible> {
        let leaves =
            |row: &KeyRecord| row.organization() == organization && row.owner() == Some(&Owner::User(user.to_owned()));
        let mut rows = self.rows();
        Ok(check_actor(&rows, actor).map(|()| rows.extract_if(.., |row| leaves(row)).collect()))
    }

    async fn rehash(&self, id: &KeyId, from: &KeyDigest, to: &KeyDigest) -> Answered<KeyRecord, Infallible> {
        let mut rows = self.rows();
        let is_taken = rows.iter().any(|row| row.digest() == to);
        Ok(row(&mut rows, id).and_then(|row| {
            let rehashed = row.apply_rehash(from, *to)?;
            if is_taken {
                return Err(RegistryError::DuplicateDigest);
            }
            *row = rehashed;
            Ok(row.clone())
        }))
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), Infallible> {
        let mut rows = self.rows();
        for one in uses {
            if let Ok(row) = row(&mut rows, &one.id) {
                let last = row.last_used_at().max(Some(one.last_used_at));
                *row = row.clone().with_usage(row.use_count().saturating_add(one.count), last);
            }
        }
        Ok(())
    }
}

fn row<'r>(rows: &'r mut Rows<'_>, id: &KeyId) -> Result<&'r mut KeyRecord, RegistryError> {
    rows.iter_mut().find(|row| row.id() == id).ok_or_else(|| RegistryError::NotFound(id.clone()))
}

/// On whose behalf something is changed: under the lock of the change, so that nobody revokes that key meanwhile.
fn check_actor(rows: &Rows<'_>, actor: Option<&ActorKey>) -> Result<(), RegistryError> {
    let Some(actor) = actor else { return Ok(()) };
    actor.check(rows.iter().find(|row| row.id() == actor.id()))
}

fn check_insert(rows: &Rows<'_>, new: &KeyRecord, cap: Option<KeyLimit>) -> Result<(), RegistryError> {
    if rows.iter().any(|row| row.id() == new.id()) {
        return Err(RegistryError::DuplicateId(new.id().clone()));
    }
    if rows.iter().any(|row| row.digest() == new.digest()) {
        return Err(RegistryError::DuplicateDigest);
    }
    let Some(cap) = cap else { return Ok(()) };
    let of_the_owner = |row: &&KeyRecord| row.owner() == new.owner() && row.organization() == new.organization();
    let counted = rows.iter().filter(of_the_owner).filter(|row| cap.counts(row));
    if counted.count() < cap.max as usize { Ok(()) } else { Err(RegistryError::LimitReached(cap.max)) }
}

/// What may not be changed, and when, is the same for every registry.
fn update(rows: &mut Rows<'_>, changed: KeyRecord) -> Result<KeyRecord, RegistryError> {
    let row = row(rows, changed.id())?;
    *row = row.apply_update(changed)?;
    Ok(row.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_a_registry() {
    testkit::check(async || Ledger::default()).await;
}
