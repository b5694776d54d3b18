//! The announcement of expiries: each once.

use std::sync::{Arc, Mutex};

use super::{KeyRegistry, SECOND, insert, noon, of_alice, race, sound, stored};
use crate::{
    record::{KeyRecord, Status},
    store::ExpiryClaim,
};

async fn claimed(registry: &impl KeyRegistry, claim: ExpiryClaim) -> Vec<String> {
    let records = sound(registry.claim_expiring(&claim).await).unwrap_or_default();
    records.iter().map(|record| record.id().to_string()).collect()
}

fn within_a_minute() -> ExpiryClaim {
    ExpiryClaim::new(noon(), noon() + SECOND * 60, 100)
}

/// Returns whether the registry keeps the marks of announcements. It need not.
async fn keeps_marks(registry: &impl KeyRegistry) -> bool {
    sound(registry.claim_expiring(&within_a_minute()).await).is_some()
}

pub(super) async fn each_expiry_is_announced_once(registry: impl KeyRegistry) {
    if !keeps_marks(&registry).await {
        return;
    }
    let until = |id: &str, byte: u8, seconds: u32| of_alice(id, byte).with_expires_at(noon() + SECOND * seconds);
    for record in [
        until("third", 1, 60),
        until("first", 2, 1),
        until("second", 3, 30).with_organization("other"),
        until("late", 4, 60).with_expires_at(noon() + SECOND * 61),
        until("over", 5, 0),
        until("off", 6, 2).with_status(Status::Disabled),
        until("revoked", 7, 2).with_status(Status::Revoked),
        until("replaced", 8, 2).with_replaced_by("first"),
        of_alice("forever", 9),
    ] {
        insert(&registry, record).await;
    }
    assert_eq!(claimed(&registry, ExpiryClaim::new(noon(), noon() + SECOND * 60, 0)).await, [""; 0]);
    let two = ExpiryClaim::new(noon(), noon() + SECOND * 60, 2);
    assert_eq!(claimed(&registry, two).await, ["first", "second"], "the next expiries, in their order");
    assert_eq!(claimed(&registry, two).await, ["third"], "each expiry once");
    assert_eq!(claimed(&registry, within_a_minute()).await, [""; 0]);
    assert_eq!(stored(&registry, "first").await, until("first", 2, 1), "a mark changes no field and no version");

    let renewed = stored(&registry, "first").await.with_expires_at(noon() + SECOND * 5);
    sound(registry.update(renewed, None).await).expect("an update");
    let named = stored(&registry, "third").await.with_name("another name");
    sound(registry.update(named, None).await).expect("an update");
    let on = stored(&registry, "off").await.with_status(Status::Active);
    sound(registry.update(on, None).await).expect("an update");
    assert_eq!(claimed(&registry, within_a_minute()).await, ["off", "first"], "a new expiry, and a new chance");

    let records: Vec<KeyRecord> = vec![until("third", 1, 60), until("first", 2, 1)];
    sound(registry.release_expiring(&records).await);
    assert_eq!(claimed(&registry, within_a_minute()).await, ["third"], "only the announced expiry is taken back");
}

pub(super) async fn of_racing_claims_one_gets_each_key(registry: impl KeyRegistry) {
    if !keeps_marks(&registry).await {
        return;
    }
    for number in 0..64 {
        let end = noon() + SECOND * (1 + u32::from(number) % 7);
        insert(&registry, of_alice(&format!("k{number}"), number).with_expires_at(end)).await;
    }
    let (registry, all) = (Arc::new(registry), Arc::new(Mutex::new(Vec::new())));
    race(&registry, |registry, _| {
        let all = Arc::clone(&all);
        async move {
            // Claims of racing callers may skip keys that others have locked.
            for _ in 0..16 {
                let some = claimed(&*registry, ExpiryClaim::new(noon(), noon() + SECOND * 60, 3)).await;
                if let Ok(mut all) = all.lock() {
                    all.extend(some);
                }
            }
            true
        }
    })
    .await;
    let mut all = all.lock().map(|all| all.clone()).unwrap_or_default();
    all.extend(claimed(&*registry, within_a_minute()).await);
    all.sort();
    let count = all.len();
    all.dedup();
    assert_eq!((count, all.len()), (64, 64), "each key is handed out once, and none is left out");
}
