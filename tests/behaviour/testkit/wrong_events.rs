//! A store with one mistake about its events.

use std::{convert::Infallible, time::SystemTime};

use tower_api_key::{
    Author, KeyDigest, KeyId, KeyRecord, KeyStore,
    manage::{EventCursor, EventFilter, KeyEvent, KeyEventKind},
    store::{
        ChangeKind, ChangeScope, IdempotencyRecord, KeyFilter, MemoryStore, MemoryTransaction, RegistryChange,
        RegistryError, RegistryTransaction, TransactionalStore, UsageDelta,
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum EventMistake {
    None,
    /// Revocations have no event.
    Missing,
    /// Each event is there twice.
    Twice,
    /// The newest event comes first.
    NewestFirst,
    /// A refused change has an event.
    OfRefused,
    /// A use has an event.
    OfUses,
    /// A reason shows the digest.
    ShowsDigest,
    /// The fields of a change are lost.
    WithoutFields,
    /// Where a key was found is lost.
    WithoutLeak,
    /// A page has the events of all organizations.
    OfEveryone,
    /// A page of all organizations has the events of keys without one.
    OfNoOrganization,
    /// A page ignores the key of its filter.
    OfAnyKey,
    /// Each expiry has an event at each call.
    ExpiryAgain,
    /// A key that is revoked has an event of its expiry.
    ExpiryOfRevoked,
    /// Events from the given instant are deleted too.
    PrunesTooMuch,
}

pub(super) struct WrongEvents {
    keys: MemoryStore,
    mistake: EventMistake,
}

// === impl WrongEvents ===

impl WrongEvents {
    pub(super) fn new(mistake: EventMistake) -> Self {
        Self { keys: MemoryStore::new(), mistake }
    }

    async fn tell(&self, kind: KeyEventKind, id: &KeyId) {
        let event = KeyEvent::new(kind, id, 0, Author::System, SystemTime::UNIX_EPOCH);
        let mut transaction = self.keys.begin(ChangeScope::new(ChangeKind::Maintain)).await.unwrap();
        transaction.record_events(&[event]).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

impl KeyStore for WrongEvents {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.find(digest).await
    }
}

impl TransactionalStore for WrongEvents {
    type Transaction<'s> = MemoryTransaction<'s>;

    async fn read(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.read(id).await
    }

    async fn read_page(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        self.keys.read_page(filter).await
    }

    async fn read_idempotency(&self, id: &[u8; 32]) -> Result<Option<IdempotencyRecord>, Infallible> {
        self.keys.read_idempotency(id).await
    }

    async fn begin(&self, scope: ChangeScope<'_>) -> Result<MemoryTransaction<'_>, Infallible> {
        self.keys.begin(scope).await
    }

    async fn transact<C: RegistryChange>(&self, change: &C) -> Result<Result<C::Output, RegistryError>, Infallible> {
        let mut transaction = self.keys.begin(change.scope()).await?;
        let done = change.apply(&mut transaction).await?;
        if done.is_ok() {
            transaction.commit().await?;
        } else {
            drop(transaction);
            if self.mistake == EventMistake::OfRefused {
                self.tell(KeyEventKind::Edited, &"a".into()).await;
            }
        }
        Ok(done)
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), Infallible> {
        if self.mistake == EventMistake::OfUses {
            self.tell(KeyEventKind::Edited, &usage[0].id).await;
        }
        TransactionalStore::record_usage(&self.keys, usage).await
    }

    async fn read_events_since(&self, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, Infallible> {
        let mut events = self.keys.read_events_since(cursor, limit).await?.unwrap();
        match self.mistake {
            EventMistake::Missing => events.retain(|event| event.kind() != KeyEventKind::Revoked),
            EventMistake::Twice => events = events.into_iter().flat_map(|event| [event.clone(), event]).collect(),
            EventMistake::NewestFirst => events.reverse(),
            EventMistake::ShowsDigest => {
                events = events.into_iter().map(|event| event.with_reason("digest".to_owned())).collect();
            }
            EventMistake::WithoutFields => {
                events = events.into_iter().map(|event| event.with_changes(Vec::new())).collect();
            }
            EventMistake::WithoutLeak => {
                events = events.into_iter().map(|event| event.with_leak(None)).collect();
            }
            _ => {}
        }
        Ok(Some(events))
    }

    async fn read_newest_event(&self) -> Result<Option<EventCursor>, Infallible> {
        self.keys.read_newest_event().await
    }

    async fn read_events(&self, filter: &EventFilter) -> Result<Option<Vec<KeyEvent>>, Infallible> {
        let mut filter = filter.clone();
        match self.mistake {
            EventMistake::OfEveryone if filter.organization.is_none() => filter.organization = Some("acme".into()),
            EventMistake::OfNoOrganization => filter.all_organizations = false,
            EventMistake::OfAnyKey => filter.key = None,
            _ => {}
        }
        self.keys.read_events(&filter).await
    }

    async fn delete_events(&self, before: SystemTime, limit: usize) -> Result<usize, Infallible> {
        let late = std::time::Duration::from_nanos(u64::from(self.mistake == EventMistake::PrunesTooMuch));
        self.keys.delete_events(before + late, limit).await
    }

    async fn write_expiries(&self, now: SystemTime, limit: usize) -> Result<usize, Infallible> {
        let count = self.keys.write_expiries(now, limit).await?;
        let found = match (self.mistake, count) {
            (EventMistake::ExpiryAgain, 0) => self.keys.read(&"a".into()).await?,
            (EventMistake::ExpiryOfRevoked, 0) => self.keys.read(&"d".into()).await?,
            _ => None,
        };
        let is_told =
            self.keys.read_events(&EventFilter::organization("told")).await?.is_some_and(|told| told.is_empty());
        if let Some(record) = found.filter(|record| is_told && record.expires_at().is_some_and(|end| end <= now)) {
            let event = KeyEvent::new(KeyEventKind::Expired, record.id(), 0, Author::System, now);
            let mut transaction = self.keys.begin(ChangeScope::new(ChangeKind::Maintain)).await?;
            transaction.record_events(&[event.with_organization("told".to_owned())]).await?;
            transaction.commit().await?;
            return Ok(1);
        }
        Ok(count)
    }
}
