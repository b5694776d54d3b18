//! Replacements, which are two changes in one transaction, and cancelled changes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use super::{KeyId, KeyRecord, KeyRegistry, RegistryError, find, insert, noon, of_alice, race, sound, stored};
use crate::record::Status;

fn retired(old: KeyRecord, by: &str) -> KeyRecord {
    old.with_status(Status::Revoked).with_replaced_by(by)
}

pub(super) async fn a_replacement_is_one_step(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    insert(&registry, of_alice("second", 3)).await;
    let old = stored(&registry, "a").await;
    find(&registry, 1).await.expect("the old key must exist");
    find(&registry, 2).await.ok_or(()).expect_err("the new key must not exist yet");
    let new = of_alice("b", 2).with_replaces("a");
    let answered = sound(registry.replace(retired(old.clone(), "b"), new, None).await).expect("a replacement").old;
    assert_eq!((answered.id(), answered.version()), (old.id(), old.version() + 1), "the returned old record");
    let old_now = find(&registry, 1).await.expect("the record of a replaced key must be kept");
    assert_eq!((old_now.status(), old_now.replaced_by()), (Status::Revoked, Some(&KeyId::from("b"))));
    assert_eq!(old_now.version(), old.version() + 1);
    let new_now = find(&registry, 2).await.expect("the new key must exist");
    assert_eq!((new_now.status(), new_now.replaces()), (Status::Active, Some(&KeyId::from("a"))));

    let in_grace = stored(&registry, "second").await.with_replaced_by("c").with_expires_at(noon());
    assert!(sound(registry.replace(in_grace, of_alice("c", 4), None).await).is_ok());
    let again = stored(&registry, "second").await.with_replaced_by("d");
    assert_eq!(
        sound(registry.replace(again, of_alice("d", 5), None).await).map(drop),
        Err(RegistryError::Replaced("second".into()))
    );
    assert!(find(&registry, 5).await.is_none(), "a key was replaced twice");
}

pub(super) async fn a_replacement_that_is_refused_in_the_middle_changes_nothing(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    insert(&registry, of_alice("taken", 9).with_organization("globex")).await;
    let old = stored(&registry, "a").await;
    let replace = async |new| sound(registry.replace(retired(old.clone(), "b"), new, None).await).map(drop);
    assert_eq!(replace(of_alice("b", 9)).await, Err(RegistryError::DuplicateDigest));
    assert_eq!(replace(of_alice("taken", 2)).await, Err(RegistryError::DuplicateId("taken".into())));
    let now = find(&registry, 1).await.expect("the old key must exist");
    assert_eq!((now.status(), now.version(), now.replaced_by()), (Status::Active, old.version(), None));
    assert!(find(&registry, 2).await.is_none(), "a failed replacement added a key");

    sound(registry.update(old.clone().with_name("renamed"), None).await).expect("an update");
    assert_eq!(replace(of_alice("b", 2)).await, Err(RegistryError::VersionConflict("a".into())));
    sound(registry.revoke(&"a".into(), None).await).expect("a revocation");
    assert_eq!(replace(of_alice("b", 2)).await, Err(RegistryError::Revoked("a".into())));
    assert!(find(&registry, 2).await.is_none(), "a revoked key was replaced");
}

/// A chain of replacements: only the newest key and the one before it may work.
pub(super) async fn a_replacement_ends_an_earlier_grace(registry: impl KeyRegistry) {
    insert(&registry, of_alice("k0", 0)).await;
    for number in 1..6_u8 {
        let (old, new) = (format!("k{}", number - 1), format!("k{number}"));
        let read = stored(&registry, &old).await;
        // The regenerated key is revoked already. The lookup below loads the other keys into a
        // cache, which must then invalidate them.
        let ends = number >= 2 && number != 5;
        if ends {
            let in_grace = find(&registry, number - 2).await.map(|record| record.status());
            assert_eq!(in_grace, Some(Status::Active), "a key must work in its grace period");
        }
        // The fourth replacement is a regeneration, the others are rotations.
        let status = if number == 4 { Status::Revoked } else { Status::Active };
        let read = read.with_replaced_by(new.as_str()).with_status(status);
        let done = registry.replace(read, of_alice(&new, number).with_replaces(old.as_str()), None).await;
        let done = sound(done).expect("a replacement");
        assert_eq!(done.old.id().as_str(), old);
        assert_eq!(done.ended.is_some(), ends, "whether replacement {number} has ended a grace period");
        if number >= 2 {
            let ended = format!("k{}", number - 2);
            let now = find(&registry, number - 2).await.expect("the record of a replaced key must be kept");
            assert_eq!(now.status(), Status::Revoked, "the grace period of {ended} has not ended");
            // The replacement is one change. The end of the grace period is another.
            assert_eq!(now.version(), if ends { 2 } else { 1 }, "the version of {ended}");
            if let Some(returned) = &done.ended {
                assert_eq!(
                    (returned.id().as_str(), returned.version(), returned.status()),
                    (&*ended, 2, Status::Revoked)
                );
            }
        }
    }
    // A key that only names another key in `replaces` has not replaced it.
    insert(&registry, of_alice("other", 10)).await;
    insert(&registry, of_alice("liar", 11).with_replaces("other")).await;
    insert(&registry, of_alice("orphan", 12).with_replaces("unknown")).await;
    for (id, new, byte) in [("liar", "liar's", 13), ("orphan", "orphan's", 14)] {
        let read = stored(&registry, id).await.with_replaced_by(new);
        let done = sound(registry.replace(read, of_alice(new, byte).with_replaces(id), None).await);
        assert!(done.expect("a replacement").ended.is_none(), "{id} has replaced no key");
    }
    assert_eq!(find(&registry, 10).await.map(|other| (other.status(), other.version())), Some((Status::Active, 0)));

    // A replacement that fails ends no grace period.
    let read = stored(&registry, "k5").await.with_replaced_by("taken");
    let refused = sound(registry.replace(read, of_alice("taken", 10).with_replaces("k5"), None).await);
    assert_eq!(refused.map(drop), Err(RegistryError::DuplicateDigest));
    assert_eq!(
        find(&registry, 4).await.map(|old| old.status()),
        Some(Status::Active),
        "a failed replacement ended a grace period"
    );
}

/// Tasks rotate a key while another revokes it. The key must be revoked in the end, in any order.
pub(super) async fn a_replacement_in_flight_never_undoes_a_revocation(registry: impl KeyRegistry) {
    let registry = Arc::new(registry);
    for round in 0..16 {
        let id = format!("a{round}");
        insert(&*registry, of_alice(&id, round)).await;
        let old = stored(&*registry, &id).await;
        race(&registry, |registry, number| {
            let new = KeyRecord::new(format!("{round}-{number}"), [100 + number; 32]);
            let (old, id) = (old.clone().with_replaced_by(new.id().clone()).with_expires_at(noon()), id.clone());
            async move {
                if number == 7 {
                    sound(registry.revoke(&id.into(), None).await).is_ok()
                } else {
                    sound(registry.replace(old, new, None).await).is_ok()
                }
            }
        })
        .await;
        assert_eq!(find(&*registry, round).await.map(|old| old.status()), Some(Status::Revoked));
        for number in 0..16 {
            let _ = sound(registry.remove(&format!("{round}-{number}").into(), None).await);
        }
    }
}

pub(super) async fn of_racing_replacements_exactly_one_wins(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 255)).await;
    let registry = Arc::new(registry);
    let old = stored(&*registry, "a").await;
    let won = race(&registry, |registry, number| {
        let id = format!("b{number}");
        let (old, new) = (retired(old.clone(), &id), of_alice(&id, number));
        async move { sound(registry.replace(old, new, None).await).is_ok() }
    });
    assert_eq!(won.await, 1, "racing replacements that succeed");
    let mut working = 0;
    for number in 0..16 {
        working += usize::from(find(&*registry, number).await.is_some());
    }
    assert_eq!(working, 1, "keys that racing replacements have added");
}

/// Polls a replacement a few times and drops it, as a server does when its client disconnects.
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
        // Changes are serialized, so this one happens after the dropped one has ended.
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
