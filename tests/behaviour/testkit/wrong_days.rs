//! A registry that keeps usage by day with one mistake.

use std::{collections::HashMap, convert::Infallible, ops::RangeInclusive};

use tower_api_key::{
    KeyDigest, KeyId, KeyRecord, KeyRegistry, KeyStore,
    store::{
        ChangeScope, DayUsage, IdempotencyRecord, KeyFilter, MemoryStore, MemoryTransaction, RegistryTransaction,
        TransactionalStore, UsageDelta, UtcDay,
    },
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DayMistake {
    None,
    /// The last day comes first.
    Backwards,
    /// All days are returned.
    AnyRange,
    /// Of several entries for one day of a batch, one is recorded.
    LastEntryWins,
    /// All counts of a batch are recorded on one day.
    OneDayPerBatch,
    /// A rejected request counts as a use.
    RejectionsAreUses,
    /// A key that is issued again under its id has the days of the removed one.
    OutlivesItsKey,
    /// Unknown ids have usage.
    UnknownIds,
    /// One day too many is removed.
    PrunesTheFirstKept,
    /// Nothing is ever removed.
    PrunesNothing,
}

pub(super) const DAY_MISTAKES: [DayMistake; 9] = [
    DayMistake::Backwards,
    DayMistake::AnyRange,
    DayMistake::LastEntryWins,
    DayMistake::OneDayPerBatch,
    DayMistake::RejectionsAreUses,
    DayMistake::OutlivesItsKey,
    DayMistake::UnknownIds,
    DayMistake::PrunesTheFirstKept,
    DayMistake::PrunesNothing,
];

pub(super) struct WrongDays {
    keys: MemoryStore,
    /// The days of keys that are never removed.
    shadow: MemoryStore,
    mistake: DayMistake,
}

impl WrongDays {
    pub(super) fn new(mistake: DayMistake) -> Self {
        Self { keys: MemoryStore::new(), shadow: MemoryStore::new(), mistake }
    }

    fn is(&self, mistake: DayMistake) -> bool {
        self.mistake == mistake
    }

    /// Records usage in the shadow.
    async fn record_in_shadow(&self, usage: &[UsageDelta]) -> Result<(), Infallible> {
        for delta in usage {
            let is_known = self.keys.get(&delta.id).await?.is_some();
            if is_known || self.is(DayMistake::UnknownIds) {
                let digest = delta.id.as_str().bytes().fold([0; 32], |mut digest: [u8; 32], byte| {
                    digest.rotate_left(1);
                    digest[0] ^= byte;
                    digest
                });
                let _ = self.shadow.add(KeyRecord::new(delta.id.clone(), digest));
            }
        }
        KeyRegistry::record_usage(&self.shadow, usage).await
    }
}

impl KeyStore for WrongDays {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.find(digest).await
    }
}

impl TransactionalStore for WrongDays {
    type Transaction<'s> = MemoryTransaction<'s>;

    async fn read(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.read(id).await
    }

    async fn read_page(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        self.keys.read_page(filter).await
    }

    async fn begin(&self, scope: ChangeScope<'_>) -> Result<MemoryTransaction<'_>, Infallible> {
        self.keys.begin(scope).await
    }

    async fn read_idempotency(&self, id: &[u8; 32]) -> Result<Option<IdempotencyRecord>, Infallible> {
        self.keys.read_idempotency(id).await
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), Infallible> {
        let mut usage = usage.to_vec();
        if self.is(DayMistake::LastEntryWins) {
            let last: HashMap<_, _> =
                usage.drain(..).map(|delta| ((delta.id.clone(), delta.usage.day), delta)).collect();
            usage.extend(last.into_values());
        }
        if self.is(DayMistake::OneDayPerBatch) {
            let last = usage.iter().map(|delta| delta.usage.day).max();
            for delta in &mut usage {
                delta.usage.day = last.unwrap();
            }
        }
        KeyRegistry::record_usage(&self.keys, &usage).await?;
        for delta in usage.iter().filter(|delta| self.is(DayMistake::RejectionsAreUses) && delta.usage.rejected > 0) {
            if let Some(record) = self.keys.read(&delta.id).await? {
                let uses = record.use_count().saturating_add(delta.usage.rejected);
                let last = record.last_used_at();
                let mut transaction =
                    self.keys.begin(ChangeScope::new(tower_api_key::store::ChangeKind::Maintain)).await?;
                transaction.put(&record.with_usage(uses, last)).await?;
                transaction.commit().await?;
            }
        }
        self.record_in_shadow(&usage).await
    }

    async fn read_usage(&self, id: &KeyId, days: RangeInclusive<UtcDay>) -> Result<Option<Vec<DayUsage>>, Infallible> {
        let every = UtcDay::from_number(0)..=UtcDay::from_number(u32::MAX);
        let days = if self.is(DayMistake::AnyRange) { every } else { days };
        let from_shadow = self.is(DayMistake::OutlivesItsKey) || self.is(DayMistake::UnknownIds);
        let kept = if from_shadow { &self.shadow } else { &self.keys }.read_usage(id, days).await?;
        Ok(kept.map(|mut days| {
            if self.is(DayMistake::Backwards) {
                days.reverse();
            }
            days
        }))
    }

    async fn prune_usage(&self, before: UtcDay) -> Result<u64, Infallible> {
        match self.mistake {
            DayMistake::PrunesNothing => Ok(0),
            DayMistake::PrunesTheFirstKept => {
                TransactionalStore::prune_usage(&self.keys, UtcDay::from_number(before.number() + 1)).await
            }
            _ => TransactionalStore::prune_usage(&self.keys, before).await,
        }
    }
}
