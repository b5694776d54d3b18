//! Replacements, which are two changes in one step, and changes that are cut short.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use super::{KeyId, KeyRecord, KeyRegistry, Refusal, find, insert, noon, of_alice, one_at, race, sound, stored};
use crate::record::Status;

fn retired(old: KeyRecord, by: &str) -> KeyRecord {
    old.with_status(Status::Revoked).with_replaced_by(by)
}

pub(super) async fn a_replacement_is_one_step(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let old = stored(&registry, "a").await;
    let new = of_alice("b", 2).with_replaces("a");
    let replaced = registry.replace(retired(old.clone(), "b"), new, Some(one_at(noon()))).await;
    assert_eq!(sound(replaced), Ok(()), "under a cap of one the old key makes room for the new one");
    let old_now = find(&registry, 1).await.expect("the record of a replaced key stays");
    assert_eq!((old_now.status(), old_now.replaced_by()), (Status::Revoked, Some(&KeyId::from("b"))));
    assert_eq!(old_now.version(), old.version() + 1);
    let new_now = find(&registry, 2).await.expect("the new key is there");
    assert_eq!((new_now.status(), new_now.replaces()), (Status::Active, Some(&KeyId::from("a"))));
}

pub(super) async fn a_replacement_that_is_refused_in_the_middle_changes_nothing(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    insert(&registry, of_alice("taken", 9).with_organization("globex")).await;
    let old = stored(&registry, "a").await;
    let replace = async |new| sound(registry.replace(retired(old.clone(), "b"), new, Some(one_at(noon()))).await);
    assert_eq!(replace(of_alice("b", 9)).await, Err(Refusal::DuplicateKey));
    assert_eq!(replace(of_alice("taken", 2)).await, Err(Refusal::DuplicateId("taken".into())));
    insert(&registry, of_alice("second", 3)).await;
    assert_eq!(replace(of_alice("b", 2)).await, Err(Refusal::Full(1)), "only the old key makes room");
    let now = find(&registry, 1).await.expect("the old key is there");
    assert_eq!((now.status(), now.version(), now.replaced_by()), (Status::Active, old.version(), None));
    assert!(find(&registry, 2).await.is_none(), "a key was half made");

    sound(registry.update(old.clone().with_name("renamed")).await).expect("an update");
    assert_eq!(replace(of_alice("b", 2)).await, Err(Refusal::Changed("a".into())));
    sound(registry.revoke(&"a".into()).await).expect("a revocation");
    assert_eq!(replace(of_alice("b", 2)).await, Err(Refusal::Revoked("a".into())));
    assert!(find(&registry, 2).await.is_none(), "a revoked key was replaced");
}

pub(super) async fn of_racing_replacements_exactly_one_wins(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 255)).await;
    let registry = Arc::new(registry);
    let old = stored(&*registry, "a").await;
    let won = race(&registry, |registry, number| {
        let id = format!("b{number}");
        let (old, new) = (retired(old.clone(), &id), of_alice(&id, number));
        async move { sound(registry.replace(old, new, Some(one_at(noon()))).await).is_ok() }
    });
    assert_eq!(won.await, 1, "of racing replacements");
    let mut working = 0;
    for number in 0..16 {
        working += usize::from(find(&*registry, number).await.is_some());
    }
    assert_eq!(working, 1, "keys that racing replacements have made");
}

/// Polls a replacement a few times and drops it, as a server does when its caller goes away.
pub(super) async fn a_change_that_is_dropped_happens_wholly_or_not_at_all(registry: impl KeyRegistry) {
    for polls in 0..12 {
        let (id, new_id) = (format!("a{polls}"), format!("b{polls}"));
        insert(&registry, of_alice(&id, polls)).await;
        let (old, new) = (stored(&registry, &id).await, of_alice(&new_id, 100 + polls));
        let mut change = Some(Box::pin(registry.replace(retired(old, &new_id), new, None)));
        for _ in 0..polls {
            if change.as_mut().is_some_and(|change| is_ready(change.as_mut())) {
                change = None;
            }
            tokio::task::yield_now().await;
        }
        drop(change);
        // Changes take turns, so this one comes after whatever has become of the dropped one.
        insert(&registry, of_alice(&format!("c{polls}"), 200 + polls)).await;
        let old = find(&registry, polls).await.map(|record| record.status());
        let new = find(&registry, 100 + polls).await.map(|record| record.status());
        let whole = (old, new) == (Some(Status::Revoked), Some(Status::Active));
        let nothing = (old, new) == (Some(Status::Active), None);
        assert!(whole || nothing, "a replacement dropped after {polls} polls left {old:?} and {new:?}");
    }
}

fn is_ready<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}
