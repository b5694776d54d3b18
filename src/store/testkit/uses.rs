//! Usage: use counts, and the time of the last use.

use std::sync::Arc;

use super::{KeyRegistry, SECOND, insert, noon, of_alice, race, sound, stored};
use crate::store::UsageDelta;

fn used(id: &str, count: u64, last_at: std::time::SystemTime) -> UsageDelta {
    UsageDelta::accepted(id, count, last_at)
}

pub(super) async fn uses_add_up_and_never_go_back(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    insert(&registry, of_alice("b", 2)).await;
    assert_eq!(stored(&registry, "a").await.last_used_at(), None, "before its first use");
    let batch = [used("a", 1, noon()), used("unknown", 1, noon()), used("b", 1, noon() + SECOND), used("a", 1, noon())];
    sound(registry.record_usage(&batch).await);
    sound(registry.record_usage(&[used("a", 3, noon() - SECOND)]).await);
    sound(registry.record_usage(&[]).await);
    let (a, b) = (stored(&registry, "a").await, stored(&registry, "b").await);
    assert_eq!((a.use_count(), a.last_used_at()), (5, Some(noon())));
    assert_eq!((b.use_count(), b.last_used_at()), (1, Some(noon() + SECOND)));

    let registry = Arc::new(registry);
    race(&registry, |registry, _| async move {
        sound(registry.record_usage(&[used("b", 1, noon()), used("a", 1, noon())]).await);
        true
    })
    .await;
    assert_eq!(stored(&*registry, "a").await.use_count(), 21, "the sum of racing batches");
}

pub(super) async fn a_count_stays_at_its_most(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    for _ in 0..2 {
        sound(registry.record_usage(&[used("a", u64::MAX, noon())]).await);
    }
    assert!(stored(&registry, "a").await.use_count() >= u64::MAX >> 1);
}

/// Updates and usage of one key are recorded concurrently. No use may be lost.
pub(super) async fn an_update_in_flight_loses_no_use(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let registry = Arc::new(registry);
    for _ in 0..8 {
        race(&registry, |registry, number| async move {
            if number % 2 == 0 {
                sound(registry.record_usage(&[used("a", 1, noon())]).await);
            } else {
                let read = stored(&*registry, "a").await;
                drop(sound(registry.update(read.with_name(number.to_string()), None).await));
            }
            true
        })
        .await;
    }
    assert_eq!(stored(&*registry, "a").await.use_count(), 64, "an update must not lose uses");
}

pub(super) async fn uses_change_nothing_else(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let read = stored(&registry, "a").await;
    sound(registry.record_usage(&[used("a", 1, noon())]).await);
    let updated = sound(registry.update(read.clone().with_name("renamed").with_usage(99, None), None).await);
    let updated = updated.expect("usage must not change the version");
    assert_eq!(
        (updated.use_count(), updated.last_used_at()),
        (1, Some(noon())),
        "an update must keep the stored usage"
    );
    sound(registry.revoke(read.id(), None).await).expect("a revocation");
    assert_eq!(stored(&registry, "a").await.use_count(), 1);
    sound(registry.record_usage(&[used("a", 1, noon())]).await);
    let revoked = stored(&registry, "a").await;
    assert_eq!((revoked.use_count(), revoked.status()), (2, crate::Status::Revoked));
}
