//! The write side of a store of one's own, and how it is tested: a ledger in memory stands for the database.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tower_api_key::{
    KeyDigest, KeyId, KeyRecord, KeyRegistry, KeyStore, Owner, Status,
    store::{Answered, Cap, Filter, Refusal, Use, testkit},
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
    async fn insert(&self, record: KeyRecord, cap: Option<Cap>) -> Answered<(), Infallible> {
        let mut rows = self.rows();
        Ok(check_insert(&rows, &record, cap).map(|()| rows.push(record)))
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.rows().iter().find(|row| row.id() == id).cloned())
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<KeyRecord>, Infallible> {
        let mut listed = self.rows().clone();
        listed.retain(|row| filter.admits(row) && filter.after.as_ref().is_none_or(|after| row.id() < after));
        listed.sort_by(|a, b| b.id().cmp(a.id()));
        listed.truncate(filter.limit);
        Ok(listed)
    }

    async fn update(&self, changed: KeyRecord) -> Answered<KeyRecord, Infallible> {
        Ok(update(&mut self.rows(), changed))
    }

    async fn replace(&self, old: KeyRecord, new: KeyRecord) -> Answered<KeyRecord, Infallible> {
        let mut rows = self.rows();
        let checked = row(&mut rows, old.id()).and_then(|row| row.updated_to(old.clone()));
        let checked = checked.and_then(|_| check_insert(&rows, &new, None));
        Ok(checked.and_then(|()| update(&mut rows, old)).inspect(|_| rows.push(new)))
    }

    async fn revoke(&self, id: &KeyId) -> Answered<KeyRecord, Infallible> {
        let mut rows = self.rows();
        let revoked = row(&mut rows, id).map(|row| row.clone().with_status(Status::Revoked));
        Ok(revoked.and_then(|revoked| update(&mut rows, revoked)))
    }

    async fn remove(&self, id: &KeyId) -> Answered<KeyRecord, Infallible> {
        let mut rows = self.rows();
        let place = rows.iter().position(|row| row.id() == id);
        Ok(place.map(|place| rows.remove(place)).ok_or_else(|| Refusal::NotFound(id.clone())))
    }

    async fn remove_user(&self, organization: Option<&str>, user: &str) -> Result<Vec<KeyRecord>, Infallible> {
        let leaves =
            |row: &KeyRecord| row.organization() == organization && row.owner() == Some(&Owner::User(user.to_owned()));
        Ok(self.rows().extract_if(.., |row| leaves(row)).collect())
    }

    async fn rehash(&self, id: &KeyId, from: &KeyDigest, to: &KeyDigest) -> Answered<KeyRecord, Infallible> {
        let mut rows = self.rows();
        let is_taken = rows.iter().any(|row| row.digest() == to);
        Ok(row(&mut rows, id).and_then(|row| {
            let rehashed = row.rehashed(from, *to)?;
            if is_taken {
                return Err(Refusal::DuplicateKey);
            }
            *row = rehashed;
            Ok(row.clone())
        }))
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), Infallible> {
        let mut rows = self.rows();
        for one in uses {
            if let Ok(row) = row(&mut rows, &one.id) {
                let last = row.last_used_at().max(Some(one.last_at));
                *row = row.clone().with_use(row.use_count().saturating_add(one.count), last);
            }
        }
        Ok(())
    }
}

fn row<'r>(rows: &'r mut Rows<'_>, id: &KeyId) -> Result<&'r mut KeyRecord, Refusal> {
    rows.iter_mut().find(|row| row.id() == id).ok_or_else(|| Refusal::NotFound(id.clone()))
}

fn check_insert(rows: &Rows<'_>, new: &KeyRecord, cap: Option<Cap>) -> Result<(), Refusal> {
    if rows.iter().any(|row| row.id() == new.id()) {
        return Err(Refusal::DuplicateId(new.id().clone()));
    }
    if rows.iter().any(|row| row.digest() == new.digest()) {
        return Err(Refusal::DuplicateKey);
    }
    let Some(cap) = cap else { return Ok(()) };
    let of_the_owner = |row: &&KeyRecord| row.owner() == new.owner() && row.organization() == new.organization();
    let counted = rows.iter().filter(of_the_owner).filter(|row| cap.counts(row));
    if counted.count() < cap.most as usize { Ok(()) } else { Err(Refusal::Full(cap.most)) }
}

/// What may not be changed, and when, is the same for every registry.
fn update(rows: &mut Rows<'_>, changed: KeyRecord) -> Result<KeyRecord, Refusal> {
    let row = row(rows, changed.id())?;
    *row = row.updated_to(changed)?;
    Ok(row.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_a_registry() {
    testkit::check(async || Ledger::default()).await;
}
