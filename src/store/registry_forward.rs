//! The methods that a registry passes on to the one that it wraps.

/// Implements the methods of `KeyRegistry` that change no key, and its upkeep, by those of the
/// wrapped registry. `map` maps its errors.
macro_rules! forward_reads {
    ($this:ident, $registry:expr, $map:expr) => {
        async fn get(&$this, id: &KeyId) -> Result<Option<KeyRecord>, Self::Error> {
            $map($registry.get(id).await)
        }

        async fn list(&$this, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Self::Error> {
            $map($registry.list(filter).await)
        }

        async fn search(&$this, filter: &KeyFilter) -> Result<KeyPage, Self::Error> {
            $map($registry.search(filter).await)
        }

        async fn find_idempotency(
            &$this,
            id: &[u8; 32],
        ) -> Result<Result<Option<IdempotencyRecord>, RegistryError>, Self::Error> {
            $map($registry.find_idempotency(id).await)
        }

        async fn record_usage(&$this, usage: &[UsageDelta]) -> Result<(), Self::Error> {
            $map($registry.record_usage(usage).await)
        }

        async fn usage(&$this, id: &KeyId, days: RangeInclusive<UtcDay>) -> Result<Option<Vec<DayUsage>>, Self::Error> {
            $map($registry.usage(id, days).await)
        }

        async fn prune_usage(&$this, before: UtcDay) -> Result<u64, Self::Error> {
            $map($registry.prune_usage(before).await)
        }

        async fn events_since(&$this, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, Self::Error> {
            $map($registry.events_since(cursor, limit).await)
        }

        async fn newest_event(&$this) -> Result<Option<EventCursor>, Self::Error> {
            $map($registry.newest_event().await)
        }

        async fn events(&$this, filter: &EventFilter) -> Result<Option<Vec<KeyEvent>>, Self::Error> {
            $map($registry.events(filter).await)
        }

        async fn prune_events(&$this, before: SystemTime, limit: usize) -> Result<usize, Self::Error> {
            $map($registry.prune_events(before, limit).await)
        }

        async fn record_expiries(&$this, now: SystemTime, limit: usize) -> Result<usize, Self::Error> {
            $map($registry.record_expiries(now, limit).await)
        }

        async fn claim_expiring(&$this, claim: &ExpiryClaim) -> Result<Option<Vec<KeyRecord>>, Self::Error> {
            $map($registry.claim_expiring(claim).await)
        }

        async fn release_expiring(&$this, records: &[KeyRecord]) -> Result<(), Self::Error> {
            $map($registry.release_expiring(records).await)
        }
    };
}

pub(super) use forward_reads;
