//! Usage by day, of registries that keep it.

use std::{ops::RangeInclusive, sync::Arc};

use super::{KeyRegistry, all_removed, insert, noon, of_alice, race, sound, stored};
use crate::store::{DayUsage, UsageDelta, UtcDay};

const ALL: RangeInclusive<UtcDay> = UtcDay::from_number(0)..=UtcDay::from_number(i32::MAX as u32);

/// Returns the day of the tests, this many days later.
fn day(later: u32) -> UtcDay {
    UtcDay::from_number(UtcDay::from(noon()).number() + later)
}

/// Returns a day with these counts: accepted, forbidden, rejected, limited.
fn usage(later: u32, [accepted, forbidden, rejected, limited]: [u64; 4]) -> DayUsage {
    DayUsage { accepted, forbidden, rejected, limited, ..DayUsage::new(day(later)) }
}

fn delta(id: &str, usage: DayUsage) -> UsageDelta {
    UsageDelta::new(id, usage, (usage.uses() > 0).then(|| usage.day.start()))
}

/// Returns the recorded days. Panics if the registry keeps none.
async fn days(registry: &impl KeyRegistry, id: &str, range: RangeInclusive<UtcDay>) -> Vec<DayUsage> {
    let kept = sound(registry.usage(&id.into(), range).await);
    kept.expect("a registry that keeps usage by day must keep it for every key")
}

/// Returns whether the registry keeps usage by day. It need not.
async fn keeps_days(registry: &impl KeyRegistry) -> bool {
    sound(registry.usage(&"unknown".into(), ALL).await).is_some()
}

pub(super) async fn days_add_up_and_come_in_order(registry: impl KeyRegistry) {
    if !keeps_days(&registry).await {
        return;
    }
    insert(&registry, of_alice("a", 1)).await;
    insert(&registry, of_alice("b", 2)).await;
    assert_eq!(days(&registry, "a", ALL).await, [], "the days of a new key");
    let batch = [
        delta("a", usage(2, [1, 0, 0, 0])),
        delta("unknown", usage(2, [1, 0, 0, 0])),
        delta("b", usage(2, [0, 0, 9, 0])),
        delta("a", usage(0, [0, 0, 2, 0])),
        delta("a", usage(2, [3, 4, 5, 6])),
    ];
    sound(registry.record_usage(&batch).await);
    sound(registry.record_usage(&[delta("a", usage(7, [0, 0, 0, 1])), delta("a", usage(0, [0, 1, 0, 0]))]).await);
    let expected = [usage(0, [0, 1, 2, 0]), usage(2, [4, 4, 5, 6]), usage(7, [0, 0, 0, 1])];
    assert_eq!(days(&registry, "a", ALL).await, expected, "each day with its own counts, in order");
    assert_eq!(days(&registry, "a", day(1)..=day(2)).await, expected[1..2], "the days of a range");
    assert_eq!(days(&registry, "a", day(0)..=day(0)).await, expected[..1], "one day");
    assert_eq!(days(&registry, "a", day(3)..=day(6)).await, [], "days without requests");
    assert_eq!(days(&registry, "b", ALL).await, [usage(2, [0, 0, 9, 0])], "another key");
    assert_eq!(days(&registry, "unknown", ALL).await, [], "an unknown key");
    let (a, b) = (stored(&registry, "a").await, stored(&registry, "b").await);
    assert_eq!((a.use_count(), a.last_used_at()), (9, Some(day(2).start())), "accepted and forbidden are uses");
    assert_eq!((b.use_count(), b.last_used_at()), (0, None), "a rejected key is not used");
    assert_eq!(b.version(), 0, "usage must not change the version");

    for _ in 0..2 {
        sound(registry.record_usage(&[delta("b", usage(3, [0, 0, u64::MAX, 0]))]).await);
    }
    let [_, most] = days(&registry, "b", ALL).await[..] else { panic!("two days") };
    assert!(most.rejected >= u64::MAX >> 1, "a count stays at its maximum");
    let registry = Arc::new(registry);
    race(&registry, |registry, _| async move {
        sound(registry.record_usage(&[delta("b", usage(9, [1, 0, 0, 0])), delta("a", usage(9, [0, 1, 1, 0]))]).await);
        true
    })
    .await;
    assert_eq!(days(&*registry, "a", day(9)..=day(9)).await, [usage(9, [0, 16, 16, 0])], "the sum of racing batches");
}

pub(super) async fn days_go_with_their_key(registry: impl KeyRegistry) {
    if !keeps_days(&registry).await {
        return;
    }
    for again in [false, true] {
        insert(&registry, of_alice("a", 1)).await;
        insert(&registry, of_alice("b", 2)).await;
        insert(&registry, of_alice("c", 3).with_organization("globex")).await;
        sound(registry.record_usage(&["a", "b", "c"].map(|id| delta(id, usage(0, [1, 0, 1, 0])))).await);
        for id in ["a", "b", "c"] {
            assert_eq!(days(&registry, id, ALL).await, [usage(0, [1, 0, 1, 0])], "{id}, a second key: {again}");
        }
        sound(registry.remove(&"a".into(), None).await).expect("a removal");
        all_removed(registry.remove_user(Some("acme"), "alice", None).await);
        assert_eq!((days(&registry, "a", ALL).await, days(&registry, "b", ALL).await), (Vec::new(), Vec::new()));
        assert_eq!(days(&registry, "c", ALL).await.len(), 1, "the days of another key");
        sound(registry.remove(&"c".into(), None).await).expect("a removal");
    }
}

pub(super) async fn old_days_are_pruned(registry: impl KeyRegistry) {
    if !keeps_days(&registry).await {
        return;
    }
    insert(&registry, of_alice("a", 1)).await;
    insert(&registry, of_alice("b", 2)).await;
    let batch: Vec<_> = (0..9).flat_map(|later| ["a", "b"].map(|id| delta(id, usage(later, [1, 0, 0, 0])))).collect();
    sound(registry.record_usage(&batch).await);
    let mut removed = 0;
    loop {
        let some = sound(registry.prune_usage(day(7)).await);
        if some == 0 {
            break;
        }
        removed += some;
    }
    assert_eq!(removed, 14, "removed days");
    for id in ["a", "b"] {
        assert_eq!(days(&registry, id, ALL).await, [7, 8].map(|later| usage(later, [1, 0, 0, 0])), "{id}");
        assert_eq!(stored(&registry, id).await.use_count(), 9, "use counts stay");
    }
}
