//! A store with one mistake about the roles of keys.

use std::convert::Infallible;

use tower_api_key::{
    KeyDigest, KeyId, KeyRecord, KeyStore,
    manage::{EventCursor, EventFilter, KeyEvent, KeyField},
    store::{
        ChangeScope, CountedKeys, IdempotencyRecord, KeyFilter, MemoryStore, MemoryTransaction, OwnerScope,
        RegistryError, RegistryTransaction, TransactionalStore, UsageDelta,
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RoleMistake {
    None,
    /// A key is stored without its roles.
    LostAtInsert,
    /// An update does not store the roles.
    UpdateKeepsThem,
    /// An update stores no roles, whatever it changes.
    UpdateLosesThem,
    /// An update to an empty list keeps the roles.
    NeverCleared,
    /// A list has the keys without their roles.
    LostInLists,
    /// Names that differ in case only are one name.
    WithoutCase,
    /// A key that replaces another is stored without roles.
    SuccessorWithout,
    /// Events have no roles.
    NotInEvents,
    /// A transaction reads the key of the actor without its roles.
    ActorWithout,
    /// A change of the roles of the actor keeps the version of its key.
    SameVersion,
}

/// Each mistake, with a part of the message of the rule that it breaks.
pub(super) const ROLE_MISTAKES: [(RoleMistake, &str); 10] = [
    (RoleMistake::LostAtInsert, "a record by its id"),
    (RoleMistake::LostInLists, "the roles of a key with many roles, in a list"),
    (RoleMistake::WithoutCase, "the roles of a new key, by its id"),
    (RoleMistake::UpdateKeepsThem, "the roles of an edited key, by its id"),
    (RoleMistake::UpdateLosesThem, "the roles of an edited key, by its id"),
    (RoleMistake::NeverCleared, "the roles of a key whose roles were removed, by its id"),
    (RoleMistake::SuccessorWithout, "the roles of a key that replaced another, by its id"),
    (RoleMistake::NotInEvents, "the roles in events"),
    (RoleMistake::ActorWithout, "a change by a renamed actor with the same roles"),
    (RoleMistake::SameVersion, "a change by an actor whose roles changed"),
];

pub(super) struct WrongRoles {
    keys: MemoryStore,
    mistake: RoleMistake,
}

pub(super) struct WrongTransaction<'s> {
    inner: MemoryTransaction<'s>,
    mistake: RoleMistake,
    locked: Vec<KeyRecord>,
}

// === impl WrongRoles, WrongTransaction ===

impl WrongRoles {
    pub(super) fn new(mistake: RoleMistake) -> Self {
        Self { keys: MemoryStore::new(), mistake }
    }
}

fn without(record: KeyRecord) -> KeyRecord {
    record.with_roles::<String>([])
}

impl KeyStore for WrongRoles {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.find(digest).await
    }
}

impl TransactionalStore for WrongRoles {
    type Transaction<'s> = WrongTransaction<'s>;

    async fn read(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.read(id).await
    }

    async fn read_page(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        let page = self.keys.read_page(filter).await?;
        if self.mistake == RoleMistake::LostInLists {
            return Ok(page.into_iter().map(without).collect());
        }
        Ok(page)
    }

    async fn read_idempotency(&self, id: &[u8; 32]) -> Result<Option<IdempotencyRecord>, Infallible> {
        self.keys.read_idempotency(id).await
    }

    async fn begin(&self, scope: ChangeScope<'_>) -> Result<WrongTransaction<'_>, Infallible> {
        Ok(WrongTransaction { inner: self.keys.begin(scope).await?, mistake: self.mistake, locked: Vec::new() })
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), Infallible> {
        TransactionalStore::record_usage(&self.keys, usage).await
    }

    async fn read_events_since(&self, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, Infallible> {
        self.keys.read_events_since(cursor, limit).await
    }

    async fn read_newest_event(&self) -> Result<Option<EventCursor>, Infallible> {
        self.keys.read_newest_event().await
    }

    async fn read_events(&self, filter: &EventFilter) -> Result<Option<Vec<KeyEvent>>, Infallible> {
        self.keys.read_events(filter).await
    }

    async fn delete_events(&self, before: std::time::SystemTime, limit: usize) -> Result<usize, Infallible> {
        self.keys.delete_events(before, limit).await
    }

    async fn write_expiries(&self, now: std::time::SystemTime, limit: usize) -> Result<usize, Infallible> {
        self.keys.write_expiries(now, limit).await
    }
}

impl RegistryTransaction for WrongTransaction<'_> {
    type Error = Infallible;

    async fn lock(&mut self, ids: &[&KeyId], owner: Option<OwnerScope<'_>>) -> Result<Vec<KeyRecord>, Infallible> {
        let mut records = self.inner.lock(ids, owner).await?;
        self.locked.clone_from(&records);
        for record in &mut records {
            if self.mistake == RoleMistake::ActorWithout && record.id().as_str() == "actor" {
                *record = without(record.clone());
            }
        }
        Ok(records)
    }

    async fn insert(&mut self, record: &KeyRecord) -> Result<Result<(), RegistryError>, Infallible> {
        let replaces_another = self.locked.iter().any(|locked| record.replaces() == Some(locked.id()));
        let record = match self.mistake {
            RoleMistake::LostAtInsert => without(record.clone()),
            RoleMistake::SuccessorWithout if replaces_another => without(record.clone()),
            RoleMistake::WithoutCase => {
                let roles: Vec<_> = record.roles().map(str::to_lowercase).collect();
                record.clone().with_roles(roles)
            }
            _ => record.clone(),
        };
        self.inner.insert(&record).await
    }

    async fn put(&mut self, record: &KeyRecord) -> Result<(), Infallible> {
        let locked = self.locked.iter().find(|locked| locked.id() == record.id()).unwrap();
        let roles: Vec<_> = locked.roles().map(str::to_owned).collect();
        let record = record.clone();
        let record = match self.mistake {
            RoleMistake::UpdateKeepsThem => record.with_roles(roles),
            RoleMistake::UpdateLosesThem => without(record),
            RoleMistake::NeverCleared if record.roles().next().is_none() => record.with_roles(roles),
            RoleMistake::SameVersion if record.id().as_str() == "actor" && !locked.roles().eq(record.roles()) => {
                record.with_version(locked.version())
            }
            _ => record,
        };
        self.inner.put(&record).await
    }

    async fn delete(&mut self, ids: &[&KeyId]) -> Result<(), Infallible> {
        self.inner.delete(ids).await
    }

    async fn count(&mut self, keys: CountedKeys<'_>, max: u32) -> Result<u32, Infallible> {
        self.inner.count(keys, max).await
    }

    async fn set_digest(&mut self, record: &KeyRecord) -> Result<Result<(), RegistryError>, Infallible> {
        self.inner.set_digest(record).await
    }

    async fn claim(
        &mut self,
        claim: &IdempotencyRecord,
        now: std::time::SystemTime,
    ) -> Result<Result<(), RegistryError>, Infallible> {
        self.inner.claim(claim, now).await
    }

    async fn record_events(&mut self, events: &[KeyEvent]) -> Result<(), Infallible> {
        if self.mistake != RoleMistake::NotInEvents {
            return self.inner.record_events(events).await;
        }
        let others = |event: &KeyEvent| {
            let changes = event.changes().iter().filter(|change| change.field != KeyField::Roles);
            event.clone().with_changes(changes.cloned().collect())
        };
        self.inner.record_events(&events.iter().map(others).collect::<Vec<_>>()).await
    }

    async fn commit(self) -> Result<(), Infallible> {
        self.inner.commit().await
    }
}
